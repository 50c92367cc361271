//! The operators. `docs/ir.md` gives the meaning of each.
use crate::{DType, Dim, ScalarExpr, Type};

/// What a reduction computes over the removed dimensions. Over an empty set: sum 0, mean NaN, max -inf, min +inf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReduceFn {
    Sum,
    Mean,
    Max,
    Min,
}

impl ReduceFn {
    pub const ALL: [ReduceFn; 4] = [ReduceFn::Sum, ReduceFn::Mean, ReduceFn::Max, ReduceFn::Min];

    pub fn name(self) -> &'static str {
        match self {
            ReduceFn::Sum => "sum",
            ReduceFn::Mean => "mean",
            ReduceFn::Max => "max",
            ReduceFn::Min => "min",
        }
    }

    pub fn from_name(name: &str) -> Option<ReduceFn> {
        ReduceFn::ALL.into_iter().find(|f| f.name() == name)
    }
}

/// One operator. Positions count dimensions from 0, outermost first.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A named input of the function.
    Input { name: String, ty: Type },
    /// A named weight (`mlp.w1`, `mini.layer.0.wq`). Its values are bound later; its dimensions are all fixed.
    Weight { name: String, ty: Type },
    /// A scalar literal.
    Const { value: f64, dtype: DType },
    /// `0, 1, .., n-1` as i32 along one dimension.
    Iota { dim: Dim },
    /// Pointwise. `at[i][j]` is the output position of dimension j of operand i, strictly one to one within an operand;
    /// every output position is covered by some operand. An operand repeats along the positions it lacks.
    Map { expr: ScalarExpr, at: Vec<Vec<u32>> },
    /// Repeats a value along new dimensions: `at[j]` is the output position of operand dimension j.
    Broadcast { dims: Vec<Dim>, at: Vec<u32> },
    /// Sum of products of two f32 operands. Labels name dimensions; a label that `out` lacks is summed and must occur in
    /// both operands. Labels are unique within `lhs`, within `rhs` and within `out`.
    Contract { lhs: Vec<u32>, rhs: Vec<u32>, out: Vec<u32> },
    /// Removes the dimensions at these positions (ascending).
    Reduce { f: ReduceFn, dims: Vec<u32> },
    /// Operands `(table, ids)`: dimension `dim` of the table is replaced by the dimensions of `ids` (i32). An id outside
    /// `0..size` is a run-time error.
    Gather { dim: u32 },
    /// Output dimension j is operand dimension `perm[j]`.
    Transpose { perm: Vec<u32> },
    /// One dimension becomes several, outer first; the sizes multiply to the old one.
    Split { dim: u32, into: Vec<Dim> },
    /// `count` neighbouring fixed dimensions from `dim` on become one.
    Merge { dim: u32, count: u32 },
    /// Operands `(x [.., K], w [O, K])` and, with `bias`, `b [O]`: `y[.., o] = act(sum_k w[o, k] * x[.., k] + b[o])`.
    /// `act` has one argument. Made by passes from `Contract`.
    Linear { bias: bool, act: Option<ScalarExpr> },
}

impl Op {
    /// The word that the text form uses.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "input",
            Op::Weight { .. } => "weight",
            Op::Const { .. } => "const",
            Op::Iota { .. } => "iota",
            Op::Map { .. } => "map",
            Op::Broadcast { .. } => "broadcast",
            Op::Contract { .. } => "contract",
            Op::Reduce { .. } => "reduce",
            Op::Gather { .. } => "gather",
            Op::Transpose { .. } => "transpose",
            Op::Split { .. } => "split",
            Op::Merge { .. } => "merge",
            Op::Linear { .. } => "linear",
        }
    }
}
