//! GPUs: their constants as data, and what a kernel takes on one.
//!
//! ```text
//! kernel = launch + longest of compute, memory, steps (+ next + terms) (+ next + sums of parts)
//! compute = multiply-adds of whole tiles / (rate * reached) / busy
//! memory = stored / level of all weights + activations of every row of tiles / L2 + results / memory, over the busy share
//! steps = dependent steps of one block of threads * step * waves
//! busy = blocks of threads / (waves * multiprocessors), waves = blocks of threads / multiprocessors, rounded up
//! ```
//!
//! Few blocks of threads leave multiprocessors idle, and those that work cannot ask for all the bandwidth. Nothing here was
//! measured: rates are those of the vendor's data sheets, the shares of them that kernels reach are assumptions.
use crate::kernel::Shape;
use serde::{Deserialize, Serialize};
use spc_formats::{CostFacts, Layout};

/// How the kernels of one family cut their work. `crates/spc/tests/gpu_cuts.rs` compares with the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The most tokens of a call that it is for; 0: any.
    pub up_to: u64,
    /// Outputs and tokens of a block of threads.
    pub rows: u64,
    pub tokens: u64,
    /// Columns of a step.
    pub step: u64,
}

/// A kernel family on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// f32 multiply-adds over whole tiles, over blocks with lists, and over positions in groups.
    Dense,
    Blocks,
    Nm,
    /// Codes with scales, f32 multiply-adds.
    Codes,
    /// Tensor cores: all columns, blocks with lists, and chosen columns of groups.
    Whole,
    Listed,
    Chosen,
}

/// What one GPU needs for each kind of work. Rates are whole numbers a microsecond, so that a multiply-add may take less than
/// a femtosecond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuTable {
    pub name: String,
    /// Where the numbers come from.
    pub source: String,
    pub multiprocessors: u64,
    /// Multiply-adds of the whole device: f32, and bf16 on tensor cores (without counting removed weights).
    pub fma_per_us: u64,
    pub tensor_per_us: u64,
    pub memory_bytes_per_us: u64,
    pub l2_bytes_per_us: u64,
    /// Weights that together take more are read from memory.
    pub l2_bytes: u64,
    /// Starting one kernel.
    pub launch_ps: u64,
    /// Starting another one after it, of a call that is recorded as a graph: no word of the host is waited for.
    pub next_ps: u64,
    /// One dependent step of a block of threads: its loads are in flight while the one before computes.
    pub step_ps: u64,
    /// bf16 numbers that an activation is on tensor cores.
    pub terms: u64,
    /// Thousandths of the rates that kernels reach: tensor cores, f32 tiles, f32 lists, and memory.
    pub tensor_permille: u64,
    pub tiles_permille: u64,
    pub lists_permille: u64,
    pub memory_permille: u64,
}

/// GPUs that have a table, by the name that `--gpu` takes.
pub const GPUS: [&str; 3] = ["a100", "h100", "h200"];

impl GpuTable {
    /// The table of a GPU of [`GPUS`], for exact activations (three bf16 numbers each).
    pub fn named(name: &str) -> Option<GpuTable> {
        let h100 = || {
            GpuTable {
            name: "h100-v1".into(),
            source: "data sheet of the H100 SXM: 67 TFLOP/s f32, 989 TFLOP/s bf16, 3.35 TB/s, 50 MB L2, 132 multiprocessors; \
                     L2 rate, latencies and reached shares are assumptions; not measured"
                .into(),
            multiprocessors: 132,
            fma_per_us: 33_500_000,
            tensor_per_us: 494_500_000,
            memory_bytes_per_us: 3_350_000,
            l2_bytes_per_us: 9_000_000,
            l2_bytes: 50_000_000,
            launch_ps: 2_500_000,
            next_ps: 1_300_000,
            step_ps: 250_000,
            terms: 3,
            // `mma` of single warps reaches about 60 % of what whole warp groups do.
            tensor_permille: 550,
            tiles_permille: 500,
            lists_permille: 250,
            memory_permille: 850,
        }
        };
        match name {
            "a100" => Some(GpuTable {
                name: "a100-v1".into(),
                source: "data sheet of the A100 SXM 80 GB: 19.5 TFLOP/s f32, 312 TFLOP/s bf16, 2.04 TB/s, 40 MB L2, 108 \
                         multiprocessors; L2 rate (5,120 bytes a clock), latencies and reached shares are assumptions; not \
                         measured"
                    .into(),
                multiprocessors: 108,
                fma_per_us: 9_750_000,
                tensor_per_us: 156_000_000,
                memory_bytes_per_us: 2_039_000,
                l2_bytes_per_us: 7_200_000,
                l2_bytes: 40_000_000,
                step_ps: 300_000,
                tensor_permille: 800,
                ..h100()
            }),
            "h100" => Some(h100()),
            "h200" => Some(GpuTable {
                name: "h200-v1".into(),
                source: "data sheet of the H200 SXM: 67 TFLOP/s f32, 989 TFLOP/s bf16, 4.8 TB/s, 50 MB L2, 132 \
                         multiprocessors; L2 rate, latencies and reached shares are assumptions; not measured"
                    .into(),
                memory_bytes_per_us: 4_800_000,
                ..h100()
            }),
            _ => None,
        }
    }

    /// The same GPU where an activation is so many bf16 numbers on tensor cores: 3 exact, 1 rounded.
    #[must_use]
    pub fn with_terms(self, terms: u64) -> GpuTable {
        let name = if terms == self.terms { self.name.clone() } else { format!("{}-{terms}t", self.name) };
        GpuTable { terms, name, ..self }
    }

    /// Hash of all fields, 16 hexadecimal digits (FNV-1a, 64 bits): the version of the table.
    pub fn hash(&self) -> String {
        crate::table::fnv(&format!("{self:?}"))
    }
}

/// The family of a layout's kernels; nothing for layouts that GPUs have no kernel for.
pub fn family(layout: Layout) -> Option<Family> {
    match layout.with_bf16() {
        Layout::Dense { .. } => Some(Family::Dense),
        Layout::Vx1 { .. } | Layout::Bsr { .. } | Layout::Csr => Some(Family::Blocks),
        Layout::Nm { .. } => Some(Family::Nm),
        Layout::Mma24 => Some(Family::Whole),
        Layout::Mma32 { .. } | Layout::Mma1 { .. } => Some(Family::Listed),
        Layout::Vnm { .. } => Some(Family::Chosen),
        Layout::Groups { .. } | Layout::I8 { .. } => Some(Family::Codes),
        _ => None,
    }
}

/// Blocks of threads for few tokens have more of the columns in flight at once.
const fn cut(up_to: u64, rows: u64, tokens: u64, step: u64) -> Cut {
    Cut { up_to, rows, tokens, step }
}

/// How a layout's kernels cut their work: those for few tokens first.
pub fn cuts(layout: Layout) -> Vec<Cut> {
    let blocks = |r: u64| {
        // Four warps, each up to 32 rows of blocks of `r` or several lower ones.
        let rows = r.div_ceil(r.div_ceil(32).max(1));
        cut(0, 4 * rows * (16 / rows.max(1)).clamp(1, 8), 64, 32)
    };
    match layout.with_bf16() {
        Layout::Dense { .. } => vec![cut(0, 64, 64, 32)],
        Layout::Vx1 { v: r } | Layout::Bsr { r, .. } => vec![blocks(u64::from(r))],
        Layout::Nm { n: _, m } => {
            let (m, wide) = (u64::from(m), 32 / u64::from(m).max(1) * u64::from(m));
            vec![cut(0, 32, if m <= 128 { 64 } else { 32 }, if m <= 32 { wide } else { m })]
        }
        Layout::Mma24 => vec![cut(8, 64, 8, 256), cut(32, 64, 32, 128), cut(64, 128, 64, 64), cut(0, 128, 128, 64)],
        Layout::Mma32 { r: 128 } => vec![cut(8, 128, 8, 64), cut(32, 128, 32, 64), cut(0, 128, 128, 32)],
        Layout::Mma32 { r } => {
            let r = u64::from(r);
            vec![cut(8, r, 8, 32 * (256 / r.max(1))), cut(32, r, 32, 128), cut(0, r, 64, 64)]
        }
        // Gathered columns.
        Layout::Mma1 { r: 128 } | Layout::Vnm { v: 128, .. } => {
            vec![cut(16, 128, 16, 64), cut(32, 128, 32, 64), cut(0, 128, 64, 32)]
        }
        Layout::Mma1 { r } | Layout::Vnm { v: r, .. } => {
            let r = u64::from(r);
            vec![cut(16, r, 16, 128), cut(32, r, 32, 128), cut(0, r, 64, 64)]
        }
        // Warps take whole rows of few tokens.
        Layout::Csr => vec![cut(1, 32, 1, 32), cut(8, 32, 8, 32), blocks(1)],
        Layout::I8 { .. } => vec![cut(0, 128, 8, 16)],
        // Dealt out evenly; four blocks of threads at once on a multiprocessor count as one.
        Layout::Groups { .. } => vec![cut(1, 128, 1, 512), cut(0, 128, 4, 512)],
        _ => vec![blocks(1)],
    }
}

/// How many blocks of threads share the columns of a row of tiles: where there are few rows of tiles and few tokens.
pub fn split(layout: Layout, outputs: u64, inputs: u64, cut: Cut) -> u64 {
    let (tiles_k, listed) = match layout.with_bf16() {
        Layout::Mma24 => (inputs.div_ceil(32), false),
        Layout::Vnm { m, .. } => (inputs.div_ceil(u64::from(m.max(1))).div_ceil(8), false),
        Layout::Mma32 { .. } | Layout::Mma1 { .. } => (inputs.div_ceil(32), true),
        _ => return 1,
    };
    let steps = tiles_k / (cut.step / 32).max(1) / if listed { 4 } else { 1 };
    let tiles = outputs.div_ceil(cut.rows.max(1)).max(1);
    if cut.up_to == 0 { 1 } else { (264 / tiles).min(steps / 4).clamp(1, 8) }
}

fn ratio(amount: u128, per_us: u64, permille: u64) -> u128 {
    // Picoseconds.
    let rate = u128::from(per_us.max(1)).saturating_mul(u128::from(permille.max(1)));
    amount.saturating_mul(1_000_000_000) / rate
}

impl GpuTable {
    /// The cut for a number of tokens.
    fn cut(layout: Layout, tokens: u64) -> Cut {
        let list = cuts(layout);
        let fits = list.iter().find(|c| c.up_to == 0 || tokens <= c.up_to).or(list.last());
        fits.copied().unwrap_or(Cut { up_to: 0, rows: 64, tokens: 64, step: 32 })
    }

    /// Picoseconds of a linear's kernel, without what is fused into it; with the kernel that makes its terms, where tensor
    /// cores read some. A layout without a kernel costs as much as can be.
    pub fn kernel_ps(&self, layout: Layout, facts: &CostFacts, shape: Shape) -> u64 {
        let Some(family) = family(layout) else { return u64::MAX / 4 };
        if shape.tokens == 0 || shape.outputs == 0 {
            return self.launch_ps;
        }
        let c = GpuTable::cut(layout, shape.tokens);
        let tensor = matches!(family, Family::Whole | Family::Listed | Family::Chosen);
        let (rate, reached, terms) = match family {
            Family::Whole | Family::Listed | Family::Chosen => (self.tensor_per_us, self.tensor_permille, self.terms),
            Family::Dense => (self.fma_per_us, self.tiles_permille, 1),
            Family::Blocks | Family::Nm | Family::Codes => (self.fma_per_us, self.lists_permille, 1),
        };
        let wide = |a: u64, b: u64| u128::from(a).saturating_mul(u128::from(b));
        let (groups, tiles) = (shape.tokens.div_ceil(c.tokens), shape.outputs.div_ceil(c.rows));
        let parts = split(layout, shape.outputs, shape.inputs, c);
        let blocks = wide(groups, tiles).saturating_mul(u128::from(parts)).max(1);
        let devices = u128::from(self.multiprocessors.max(1));
        let waves = blocks.div_ceil(devices);
        // Multiprocessors that work, in thousandths of all: in time, and at one moment.
        let busy = (blocks.saturating_mul(1000) / (waves.saturating_mul(devices))).max(1);
        let at_once = (blocks.saturating_mul(1000) / devices).clamp(1, 1000);
        let padded = u128::from(groups).saturating_mul(u128::from(c.tokens));
        // An f16 number is two bf16 numbers.
        let halves = if matches!(layout, Layout::Half { .. }) { 2 } else { 1 };
        let work =
            u128::from(facts.multiplies).saturating_mul(padded).saturating_mul(u128::from(terms.max(1)) * halves);
        let compute = ratio(work, rate, reached).saturating_mul(1000) / busy;

        // Columns of a row of tiles: all, or the share that its lists have.
        let dense = wide(shape.inputs, shape.outputs).max(1);
        let listed = match family {
            Family::Blocks | Family::Listed | Family::Codes => u128::from(facts.multiplies).min(dense),
            // Half of the chosen columns is kept.
            Family::Chosen => u128::from(facts.multiplies).saturating_mul(2).min(dense),
            Family::Dense | Family::Nm | Family::Whole => dense,
        };
        let columns = u128::from(shape.inputs).saturating_mul(listed) / dense;

        let weights = if shape.resident > self.l2_bytes { self.memory_bytes_per_us } else { self.l2_bytes_per_us };
        let stored = u128::from(facts.stored_bytes);
        let (x, y) = (wide(shape.tokens, shape.inputs), wide(shape.tokens, shape.outputs).saturating_mul(4));
        // Of one activation as the kernel reads it.
        let width = if tensor { 2 * u128::from(terms.max(1)) } else { 4 };
        let again = stored.saturating_mul(u128::from(groups - 1));
        let read = u128::from(shape.tokens).saturating_mul(columns).saturating_mul(width);
        let from_l2 = again.saturating_add(read.saturating_mul(u128::from(tiles)));
        let memory = ratio(stored, weights, self.memory_permille)
            .saturating_add(ratio(from_l2, self.l2_bytes_per_us, self.memory_permille))
            .saturating_add(ratio(y, self.memory_bytes_per_us, self.memory_permille));
        let memory = memory.saturating_mul(1000) / at_once;

        let steps = columns.div_ceil(u128::from(c.step.max(1))).div_ceil(u128::from(parts.max(1))).max(1);
        // A warp has eight rows of entries, one after the other, and asks for the place of each first.
        let steps = if layout == Layout::Csr && c.up_to > 0 { 8 * (steps + 1) } else { steps };
        let chain = steps.saturating_mul(u128::from(self.step_ps)).saturating_mul(waves);

        let mut total = compute.max(memory).max(chain).saturating_add(u128::from(self.launch_ps));
        if tensor {
            let bytes = x.saturating_mul(4 + 2 * u128::from(terms.max(1)));
            let made = ratio(bytes, self.memory_bytes_per_us, self.memory_permille);
            total = total.saturating_add(made).saturating_add(u128::from(self.next_ps));
        }
        if parts > 1 {
            // The sums of the parts are added by a kernel of its own.
            let sums = ratio(y.saturating_mul(u128::from(parts)), self.l2_bytes_per_us, self.memory_permille);
            total = total.saturating_add(sums).saturating_add(u128::from(self.next_ps));
        }
        u64::try_from(total).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
    }

    /// Picoseconds of a kernel that reads and writes so many bytes and does so many f32 operations.
    pub fn stream_ps(&self, bytes: u128, operations: u128) -> u128 {
        let memory = ratio(bytes, self.memory_bytes_per_us, self.memory_permille);
        memory.max(ratio(operations, self.fma_per_us, self.lists_permille)).saturating_add(u128::from(self.launch_ps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spc_formats::stats;

    /// 2:4, of bf16 numbers.
    fn facts(layout: &str, o: usize, k: usize) -> (Layout, CostFacts) {
        let w: Vec<f32> = (0..o * k).map(|i| f32::from(u8::from(i % k % 4 < 2))).collect();
        let layout: Layout = layout.parse().unwrap();
        (layout, stats(&layout, o, k, &w).unwrap())
    }

    fn ps(table: &GpuTable, layout: &str, tokens: u64) -> u64 {
        let (o, k) = (2048u64, 1024u64);
        let (layout, f) = facts(layout, o as usize, k as usize);
        table.kernel_ps(layout, &f, Shape { tokens, inputs: k, outputs: o, resident: 1 << 30 })
    }

    #[test]
    fn two_of_four_of_a_large_layer_is_cheapest_at_few_tokens() {
        // 14336 x 4096: half the multiplies and 9/16 of the bytes.
        let (o, k) = (14_336u64, 4096u64);
        let all = o * k;
        let facts = |multiplies: u64, bytes: u64| CostFacts { multiplies, stored_bytes: bytes, ..facts("csr", 1, 4).1 };
        let of = |t: &GpuTable, layout: &str, f: &CostFacts, tokens| {
            t.kernel_ps(layout.parse().unwrap(), f, Shape { tokens, inputs: k, outputs: o, resident: 1 << 30 })
        };
        for t in GPUS.map(|n| GpuTable::named(n).unwrap()) {
            for tokens in [1, 16, 64] {
                let two = of(&t, "mma24", &facts(all / 2, all * 9 / 8), tokens);
                for other in ["mma32(32)", "mma32(64)", "mma32(128)", "mma1(32)", "dense(16)"] {
                    let whole = of(&t, other, &facts(all, all * 2), tokens);
                    assert!(two < whole, "{} at {tokens}: {two} against {whole} of {other}", t.name);
                }
            }
        }
    }

    /// Small layers: starting kernels is most of their time, and blocks of 32 rows are twice as many as those of 2:4.
    #[test]
    fn two_of_four_of_small_layers_is_close_to_cheapest_and_cheapest_from_16_tokens_on() {
        for (o, k) in [(512u64, 1024u64), (1024, 1024), (384, 1536), (2048, 2048), (4096, 2048), (4096, 4096)] {
            let all = o * k;
            let facts =
                |multiplies: u64, bytes: u64| CostFacts { multiplies, stored_bytes: bytes, ..facts("csr", 1, 4).1 };
            for (t, resident) in GPUS.iter().flat_map(|n| [(n, all * 9 / 8), (n, 1 << 30)]) {
                let t = GpuTable::named(t).unwrap();
                for tokens in [1, 2, 4, 8, 16, 32, 64] {
                    let of = |layout: &str, f: &CostFacts| {
                        let shape = Shape { tokens, inputs: k, outputs: o, resident };
                        t.kernel_ps(layout.parse().unwrap(), f, shape)
                    };
                    let two = of("mma24", &facts(all / 2, all * 9 / 8));
                    let whole = ["mma32(32)", "mma32(64)", "mma32(128)"].map(|l| of(l, &facts(all, all * 2)));
                    let least = whole.into_iter().min().unwrap();
                    let said = || format!("{}: {o} x {k}, {tokens} tokens, {resident}: {two} against {least}", t.name);
                    assert!(two * 100 <= least * 110, "{}", said());
                    assert!(tokens < 16 || all >= 1 << 24 || two <= least, "{}", said());
                    assert!(resident < 1 << 30 || all < 1 << 22 || two < least, "{}", said());
                }
            }
        }
    }

    #[test]
    fn sums_of_several_blocks_cost_a_second_kernel_of_a_recorded_call() {
        let t = GpuTable::named("h200").unwrap();
        assert!((1_000_000..=2_000_000).contains(&t.next_ps) && t.next_ps < t.launch_ps);
        let (layout, f) = facts("mma24", 64, 4096);
        let shape = Shape { tokens: 8, inputs: 4096, outputs: 64, resident: 0 };
        let c = GpuTable::cut(layout, 8);
        assert!(split(layout, 64, 4096, c) > 1);
        let free = GpuTable { next_ps: 0, ..t.clone() };
        // The kernel of the terms, and that of the sums.
        assert_eq!(t.kernel_ps(layout, &f, shape) - free.kernel_ps(layout, &f, shape), 2 * t.next_ps);
    }

    #[test]
    fn every_gpu_has_a_table_that_says_what_is_assumed() {
        for name in GPUS {
            let t = GpuTable::named(name).unwrap();
            assert!(t.name.starts_with(name) && t.source.contains("not measured"), "{t:?}");
            assert!(t.source.len() <= 400 && t.memory_bytes_per_us < t.l2_bytes_per_us);
            let one = t.clone().with_terms(1);
            assert_ne!((one.hash(), &one.name), (t.hash(), &t.name));
            assert_eq!(t.clone().with_terms(3), t);
        }
        assert!(GpuTable::named("b200").is_none());
    }

    #[test]
    fn prices_follow_bytes_for_few_tokens_and_work_for_many() {
        let t = GpuTable::named("h200").unwrap().with_terms(1);
        // Finer than a nanosecond, and rising.
        let times: Vec<u64> = [1, 8, 64, 1024, 8192, 65_536].iter().map(|n| ps(&t, "mma24", *n)).collect();
        assert!(times.windows(2).all(|w| w[0] <= w[1]) && times[0] < times[5], "{times:?}");
        // At many tokens, half the multiply-adds are half the time, and tensor cores beat f32 by far.
        let (sparse, dense, f32s) =
            (ps(&t, "mma24", 65_536), ps(&t, "mma32(128)", 65_536), ps(&t, "dense(16)", 65_536));
        assert!(sparse < dense && dense < 2 * sparse + sparse / 4 && 5 * dense < f32s, "{sparse} {dense} {f32s}");
        let exact = GpuTable::named("h200").unwrap();
        let three = ps(&exact, "mma24", 65_536);
        assert!(3 * three > 5 * sparse, "three terms are three times the work: {three} {sparse}");
        // More bandwidth is less time where bytes decide.
        let slower = GpuTable { memory_bytes_per_us: t.memory_bytes_per_us / 64, ..t.clone() };
        assert!(ps(&slower, "mma24", 1) > 2 * times[0]);
    }

    #[test]
    fn few_blocks_leave_multiprocessors_idle() {
        let t = GpuTable { launch_ps: 0, step_ps: 0, ..GpuTable::named("a100").unwrap() };
        let (layout, f) = facts("dense(16)", 64, 4096);
        let shape = |outputs| Shape { tokens: 64, inputs: 4096, outputs, resident: 0 };
        let one = t.kernel_ps(layout, &f, shape(64));
        // A hundred times the work on a hundred times the multiprocessors.
        let many = CostFacts { stored_bytes: f.stored_bytes * 100, multiplies: f.multiplies * 100, ..f };
        let hundred = t.kernel_ps(layout, &many, shape(6400));
        assert!(hundred < one * 3 / 2, "{one} {hundred}");
    }

    #[test]
    fn odd_requests_have_a_price() {
        let t = GpuTable::named("h100").unwrap();
        let (layout, f) = facts("dense(16)", 64, 64);
        let at = |tokens, outputs| t.kernel_ps(layout, &f, Shape { tokens, inputs: 64, outputs, resident: 0 });
        assert_eq!((at(0, 64), at(4, 0)), (t.launch_ps, t.launch_ps));
        let huge = CostFacts { multiplies: u64::MAX, stored_bytes: u64::MAX, ..f };
        let shape = Shape { tokens: u64::MAX, inputs: u64::MAX, outputs: u64::MAX, resident: u64::MAX };
        assert_eq!(t.kernel_ps(layout, &huge, shape), u64::MAX / 4);
        assert_eq!(
            t.kernel_ps(Layout::Csr16, &f, Shape { tokens: 1, inputs: 64, outputs: 64, resident: 0 }),
            u64::MAX / 4
        );
        assert_eq!(t.stream_ps(0, 0), u128::from(t.launch_ps));
    }
}
