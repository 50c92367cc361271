//! What a plan is priced for: a CPU or a GPU.
use crate::gpu::{GpuTable, family};
use crate::kernel::{Shape, bytes_ps};
use crate::table::{CostTable, Level};
use spc_formats::{CostFacts, Layout};
use spc_ir::{Act, CostTableRef};

/// The constants of a CPU or of a GPU.
#[derive(Clone, Copy, Debug)]
pub enum Machine<'a> {
    Cpu(&'a CostTable),
    Gpu(&'a GpuTable),
}

impl<'a> From<&'a CostTable> for Machine<'a> {
    fn from(table: &'a CostTable) -> Machine<'a> {
        Machine::Cpu(table)
    }
}

impl<'a> From<&'a GpuTable> for Machine<'a> {
    fn from(table: &'a GpuTable) -> Machine<'a> {
        Machine::Gpu(table)
    }
}

/// f32 operations that a function (exp, erf, division) takes on a GPU.
const CALL: u128 = 16;

impl Machine<'_> {
    pub fn name(&self) -> &str {
        match self {
            Machine::Cpu(t) => &t.name,
            Machine::Gpu(t) => &t.name,
        }
    }

    /// Where the numbers come from.
    pub fn source(&self) -> &str {
        match self {
            Machine::Cpu(t) => &t.source,
            Machine::Gpu(t) => &t.source,
        }
    }

    /// What a plan says of its table.
    pub fn reference(&self) -> CostTableRef {
        let hash = match self {
            Machine::Cpu(t) => t.hash(),
            Machine::Gpu(t) => t.hash(),
        };
        CostTableRef { name: self.name().into(), hash }
    }

    pub fn is_gpu(&self) -> bool {
        matches!(self, Machine::Gpu(_))
    }

    /// Whether it has a kernel of a layout that reads and writes `act`. On a GPU all activations lie token by token.
    pub fn has(&self, layout: Layout, act: Act) -> bool {
        match (self, act) {
            (Machine::Cpu(_), Act::Rm) => layout.row_major(),
            (Machine::Cpu(_), Act::Fm) => layout.feature_major(),
            (Machine::Gpu(_), Act::Rm) => family(layout).is_some(),
            (Machine::Gpu(_), Act::Fm) => false,
        }
    }

    /// Memory levels, smallest first; the last one holds what exceeds it, too.
    pub fn levels(&self) -> Vec<Level> {
        match self {
            Machine::Cpu(t) => t.levels.clone(),
            Machine::Gpu(t) => vec![
                Level { up_to_bytes: t.l2_bytes, bytes_per_us: t.l2_bytes_per_us },
                Level { up_to_bytes: u64::MAX, bytes_per_us: t.memory_bytes_per_us },
            ],
        }
    }

    /// The greatest rate of multiply-adds that it prices, in 10^9 operations a second.
    pub fn peak(&self) -> f64 {
        match self {
            Machine::Cpu(t) => {
                // Sixteen to a load.
                let each = |r: &crate::Rates| r.mul_fs as f64 + r.load_fs[0] as f64 / 16.0;
                let all = [&t.dense_rm, &t.dense_fm, &t.vx1, &t.bsr];
                2e6 / all.map(each).into_iter().fold(f64::INFINITY, f64::min).max(1e-3)
            }
            Machine::Gpu(t) => t.tensor_per_us as f64 * 2e-3,
        }
    }

    /// Tokens that are computed for `tokens` tokens.
    pub(crate) fn padded(&self, tokens: u64, act: Act) -> u64 {
        match self {
            Machine::Cpu(t) => t.padded(tokens, act),
            Machine::Gpu(_) => tokens,
        }
    }

    pub fn kernel_ps(&self, layout: Layout, facts: &CostFacts, act: Act, shape: Shape) -> u64 {
        match self {
            Machine::Cpu(t) => t.kernel_ps(layout, facts, act, shape),
            Machine::Gpu(t) => t.kernel_ps(layout, facts, shape),
        }
    }

    /// Cheap operations and calls of functions on each of so many elements, beside what else a kernel does.
    pub(crate) fn pointwise_ps(&self, elements: u128, (cheap, calls): (u128, u128)) -> u128 {
        let each = |n: u128, ps: u64| elements.saturating_mul(n).saturating_mul(u128::from(ps));
        match self {
            Machine::Cpu(t) => each(cheap, t.element_ps).saturating_add(each(calls, t.call_ps)),
            Machine::Gpu(t) => {
                let operations = elements.saturating_mul(cheap.saturating_add(calls.saturating_mul(CALL)));
                t.stream_ps(0, operations).saturating_sub(u128::from(t.launch_ps))
            }
        }
    }

    /// A kernel that reads and writes so many f32 numbers.
    pub(crate) fn stream_ps(&self, elements: u128) -> u128 {
        let bytes = elements.saturating_mul(4);
        match self {
            Machine::Cpu(t) => bytes_ps(bytes, t.activation_bytes_per_us).saturating_add(u128::from(t.launch_ps)),
            Machine::Gpu(t) => t.stream_ps(bytes, 0),
        }
    }

    /// So many multiply-adds of a contraction that is no linear.
    pub(crate) fn contract_ps(&self, work: u128) -> u128 {
        match self {
            Machine::Cpu(t) => work.saturating_mul(u128::from(t.contract_fs)) / 1000,
            Machine::Gpu(t) => t.stream_ps(0, work).saturating_sub(u128::from(t.launch_ps)),
        }
    }

    /// Writing so many f32 numbers in another order.
    pub(crate) fn convert_ps(&self, elements: u128) -> u128 {
        match self {
            Machine::Cpu(t) => {
                bytes_ps(elements.saturating_mul(4), t.convert_bytes_per_us).saturating_add(u128::from(t.launch_ps))
            }
            Machine::Gpu(_) => self.stream_ps(elements),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_a_table_is_its_fastest_family() {
        let r = crate::Rates::flat;
        let mut t = CostTable::clif_x86_64_v1();
        (t.dense_rm, t.dense_fm, t.vx1, t.bsr) =
            (r(99_000, 0, 0, 0), r(90_000, 0, 0, 0), r(9_000, 16_000, 0, 0), r(50_000, 0, 0, 0));
        assert!((Machine::from(&t).peak() - 200.0).abs() < 1e-9);
        let gpu = GpuTable::named("a100").unwrap();
        assert!((Machine::from(&gpu).peak() - 312_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_gpu_has_its_own_kernels() {
        let (cpu, gpu) = (CostTable::clif_x86_64_v1(), GpuTable::named("h100").unwrap());
        let has = |m: Machine<'_>, name: &str, act| m.has(name.parse().unwrap(), act);
        for (name, on_cpu, on_gpu) in [("csr", false, true), ("nm16(2,4)", true, false), ("mma24", false, true)] {
            assert_eq!(has((&cpu).into(), name, Act::Rm), on_cpu, "{name}");
            assert_eq!(has((&gpu).into(), name, Act::Rm), on_gpu, "{name}");
            assert!(!has((&gpu).into(), name, Act::Fm));
        }
    }
}
