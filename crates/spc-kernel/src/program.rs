//! A scheduled function: buffers, kernels, and the calls in order.
use crate::extent::Extent;
use crate::ir::Kernel;
use crate::templates::padded_tokens;
use spc_formats::{Blocking, Layout};
use spc_ir::{DType, Formula, NodeId, Sym, SymId};
use std::collections::BTreeMap;
use std::fmt;

/// `per * of`, with `of` rounded up by [`padded_tokens`] if `pad`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    pub per: u64,
    pub of: Extent,
    pub pad: bool,
}

impl Amount {
    pub fn exact(of: Extent) -> Amount {
        Amount { per: 1, of, pad: false }
    }

    /// The number under sizes of the free axes; `None` when it does not fit.
    pub fn bind(&self, sizes: &[u64]) -> Option<u64> {
        let n = self.of.bind(sizes)?;
        let n = if self.pad { padded_tokens(n)? } else { n };
        n.checked_mul(self.per)
    }
}

/// What a buffer holds, and who fills it before the first step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The input of that position.
    Input(usize),
    /// A weight as stored, row-major f32.
    Weight(String),
    /// One array of a packed weight of a linear, its entries in the order of `blocking` where there is one.
    Packed { weight: String, layout: Layout, array: &'static str, blocking: Option<Blocking> },
    /// Zero at first; after the call its first byte says what was wrong with the values (see [`crate::Fault::of_status`]).
    Status(NodeId),
    /// The output of that position.
    Output(usize),
    /// Values on the way. Undefined at first.
    Temp,
}

/// A buffer of at least as many bytes as the greatest of `bytes`. Packed arrays have the size of what is packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub role: Role,
    pub bytes: Vec<Amount>,
}

impl Buffer {
    pub fn size(&self, sizes: &[u64]) -> Option<u64> {
        self.bytes.iter().try_fold(0, |most, a| Some(a.bind(sizes)?.max(most)))
    }
}

/// An argument of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepArg {
    Buffer(usize),
    Amount(Amount),
    /// Begin and end of the part of the range that is to be computed.
    Lo,
    Hi,
}

/// A call of a kernel over a range, for a node of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub kernel: usize,
    pub args: Vec<StepArg>,
    pub range: Amount,
    pub node: NodeId,
}

/// A named input or output, contiguous and row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub dtype: DType,
    pub dims: Vec<Extent>,
    pub buffer: usize,
}

/// A packed weight that the program reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackedPort {
    pub weight: String,
    pub layout: Layout,
    pub rows: usize,
    pub cols: usize,
}

/// The result of [`crate::schedule`], and of nothing else: executors rely on its kernels staying inside its buffers.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub(crate) name: String,
    pub(crate) lanes: usize,
    pub(crate) syms: Vec<Sym>,
    pub(crate) formulas: BTreeMap<SymId, Formula>,
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) steps: Vec<Step>,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    pub(crate) packed: Vec<PackedPort>,
}

impl Program {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// The free axes, in the order in which calls give their sizes.
    pub fn syms(&self) -> &[Sym] {
        &self.syms
    }

    /// Free axes whose sizes follow from others. Calls give them as well, and are refused where they differ.
    pub fn formulas(&self) -> &BTreeMap<SymId, Formula> {
        &self.formulas
    }

    /// The distinct kernels.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Packed weights, ascending.
    pub fn packed(&self) -> &[PackedPort] {
        &self.packed
    }

    /// Bytes of intermediate values and outputs under sizes of the free axes.
    pub fn temporary_bytes(&self, sizes: &[u64]) -> Option<u64> {
        let own = self.buffers.iter().filter(|b| matches!(b.role, Role::Temp | Role::Output(_) | Role::Status(_)));
        own.map(|b| b.size(sizes)).try_fold(0u64, |sum, n| sum.checked_add(n?))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pad, self.per) {
            (true, 1) => write!(f, "pad({})", self.of),
            (true, p) => write!(f, "{p}*pad({})", self.of),
            (false, 1) => write!(f, "{}", self.of),
            (false, p) => match self.of.times(&Extent::fixed(p)) {
                Some(e) => write!(f, "{e}"),
                None => write!(f, "{p}*{}", self.of),
            },
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Input(i) => write!(f, "input {i}"),
            Role::Weight(w) => write!(f, "weight {w}"),
            Role::Packed { weight, layout, array, blocking: None } => write!(f, "packed {weight} {layout} {array}"),
            Role::Packed { weight, layout, array, blocking: Some(k) } => {
                write!(f, "packed {weight} {layout} {array} by {} columns and {} row blocks", k.cols, k.rows)?;
                if k.unit > 0 { write!(f, ", by length in each {}", k.unit) } else { Ok(()) }
            }
            Role::Status(n) => write!(f, "status {n}"),
            Role::Output(i) => write!(f, "output {i}"),
            Role::Temp => f.write_str("temp"),
        }
    }
}

fn port(kind: &str, p: &Port) -> String {
    let dims: Vec<String> = p.dims.iter().map(Extent::to_string).collect();
    format!("{kind} {}: {}[{}] = b{}", p.name, p.dtype, dims.join(", "), p.buffer)
}

/// Buffers and steps; the kernels by name only.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {} lanes {}", self.name, self.lanes)?;
        for (i, s) in self.syms.iter().enumerate() {
            writeln!(f, "axis s{i} = {} {}..{}", s.name, s.lo, s.hi)?;
        }
        for p in &self.inputs {
            writeln!(f, "{}", port("input", p))?;
        }
        for p in &self.outputs {
            writeln!(f, "{}", port("output", p))?;
        }
        for (i, b) in self.buffers.iter().enumerate() {
            let sizes: Vec<String> = b.bytes.iter().map(Amount::to_string).collect();
            writeln!(f, "b{i} = {} {}", b.role, sizes.join(" | "))?;
        }
        for s in &self.steps {
            let Some(k) = self.kernels.get(s.kernel) else { continue };
            let arg = |a: &StepArg| match a {
                StepArg::Buffer(b) => format!("b{b}"),
                StepArg::Amount(a) => a.to_string(),
                StepArg::Lo => "0".to_string(),
                StepArg::Hi => s.range.to_string(),
            };
            let args: Vec<String> =
                k.params.iter().zip(&s.args).map(|(p, a)| format!("{}={}", p.name, arg(a))).collect();
            writeln!(f, "{}: k{} {}({})", s.node, s.kernel, k.name, args.join(", "))?;
        }
        Ok(())
    }
}
