//! Training updates as kernels of the loop IR.
//!
//! A training step is a list of passes over the weights. A pass reads arrays with one entry for each weight (values, gradients,
//! moments, masks), computes entry by entry, or within small groups, and writes arrays of the same length. All kernels here
//! have one calling convention: the arrays in the order of [`Pass::arrays`], then `numbers` (see [`IOTA`]), `folds`, `lo`, `hi`, `end` (the number of weights);
//! they work on the entries from `lo * unit` to `hi * unit`. So a step over a block of weights is a sequence of calls with one
//! range, and what the passes hand on stays in the cache.

mod chain;
mod frame;
mod groups;
mod lines;
mod metric;
mod nm;
mod root;
mod runs;
mod tall;
mod tiles;
mod top;

pub use chain::{Chain, Fold, FoldKind, Node, NodeId};
pub use groups::{Grid, Work, group_pass};
pub use lines::{Column, Lines};
pub use metric::{MetricWork, metric_pass};
pub use nm::{nm_in_place, nm_pass};
pub use root::{Line, root_of_lines};
pub use top::{Keys, Last, Pivot, bracket, last_of, pivot};

use crate::ir::Kernel;

/// Numbers of a call start with 0.0, 1.0, .., 15.0; those of the step follow.
pub const IOTA: usize = 16;

/// What an array of a pass holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One float for each weight.
    F32,
    /// One byte for each weight: a truth value.
    Bytes,
    /// So many floats for each unit.
    Side(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    pub kind: Kind,
    pub written: bool,
    /// What it holds before the pass may be read. Where not, every entry of a unit is written.
    pub read: bool,
}

/// A kernel with what its caller must know.
#[derive(Clone, Debug)]
pub struct Pass {
    pub kernel: Kernel,
    pub arrays: Vec<Array>,
    /// Weights for each step of `lo..hi`.
    pub unit: usize,
    /// Numbers of the step that it may read.
    pub numbers: usize,
    /// Floats that a call writes to `folds`.
    pub folds: usize,
    /// True where the last unit may be cut: entries past the end are computed and thrown away.
    pub cut: bool,
}
