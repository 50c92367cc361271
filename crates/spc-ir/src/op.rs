//! The operators. `docs/ir.md` gives the meaning of each.
use crate::{DType, Dim, ScalarExpr, Size, SymId, Top, Type};

/// What a reduction computes over the removed dimensions. Over an empty set: sum 0, mean NaN, max -inf, min +inf,
/// product 1, any false, all true; argmax is an error of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReduceFn {
    Sum,
    Mean,
    Max,
    Min,
    Product,
    /// Of bools: one is true.
    Any,
    /// Of bools: none is false.
    All,
    /// The place of the greatest element, as i32, row-major over the removed dimensions; the lowest of several. NaN is an
    /// error of the call.
    ArgMax,
}

impl ReduceFn {
    pub const ALL: [ReduceFn; 8] = [
        ReduceFn::Sum,
        ReduceFn::Mean,
        ReduceFn::Max,
        ReduceFn::Min,
        ReduceFn::Product,
        ReduceFn::Any,
        ReduceFn::All,
        ReduceFn::ArgMax,
    ];
    /// Those that give f32.
    pub const NUMBERS: [ReduceFn; 5] = [ReduceFn::Sum, ReduceFn::Mean, ReduceFn::Max, ReduceFn::Min, ReduceFn::Product];

    pub fn name(self) -> &'static str {
        match self {
            ReduceFn::Sum => "sum",
            ReduceFn::Mean => "mean",
            ReduceFn::Max => "max",
            ReduceFn::Min => "min",
            ReduceFn::Product => "product",
            ReduceFn::Any => "any",
            ReduceFn::All => "all",
            ReduceFn::ArgMax => "argmax",
        }
    }

    pub fn from_name(name: &str) -> Option<ReduceFn> {
        ReduceFn::ALL.into_iter().find(|f| f.name() == name)
    }

    /// Types of the operand and of the result.
    pub fn types(self) -> (DType, DType) {
        match self {
            ReduceFn::Any | ReduceFn::All => (DType::Bool, DType::Bool),
            ReduceFn::ArgMax => (DType::F32, DType::I32),
            _ => (DType::F32, DType::F32),
        }
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
    /// Operands of one type but for dimension `dim`, joined along it in order. `axis` is the dimension of the result: the
    /// sum of the sizes.
    Concat { dim: u32, axis: Dim },
    /// Dimension `dim` is replaced by the dimensions `into`, read at `offset + sum coeff[j] * i[j]`. What lies outside is
    /// 0 (false).
    Window { dim: u32, into: Vec<Dim>, coeff: Vec<i64>, offset: i64 },
    /// The size of an axis, as an i32 scalar.
    Size { dim: Dim },
    /// Chooses groups by score: bool, of the shape of the score.
    Top(Top),
    /// Place of each element in the order of [`Top`] over `dims` (0 is the best), as i32. NaN is an error of the call that
    /// names `name`.
    Rank { dims: Vec<u32>, name: String },
    /// Rounds an f32 value to 8 bits over its last `last` dimensions, which share a scale: with m the largest absolute value
    /// (NaN if any is), in f32, the scale is `m / 127` and a value becomes `nearest(x * (127 / m)) * scale`, ties to even. A
    /// scale below the normal range gives zeros; one that is not finite makes all of them NaN.
    Round { last: u32 },
    /// Operands `(x [.., K], w [O, K])` and, with `bias`, `b [O]`: `y[.., o] = act(sum_k w[o, k] * x[.., k] + b[o])`.
    /// A weight of a higher rank is read as the matrix of its first dimension and all others ([`Type::matrix`]).
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
            Op::Concat { .. } => "concat",
            Op::Window { .. } => "window",
            Op::Size { .. } => "size",
            Op::Top(_) => "top",
            Op::Rank { .. } => "rank",
            Op::Round { .. } => "round",
            Op::Linear { .. } => "linear",
        }
    }

    /// The dimensions that the operator itself names.
    fn dims_mut(&mut self) -> Vec<&mut Dim> {
        match self {
            Op::Input { ty, .. } | Op::Weight { ty, .. } => ty.dims.iter_mut().collect(),
            Op::Iota { dim } | Op::Size { dim } | Op::Concat { axis: dim, .. } => vec![dim],
            Op::Broadcast { dims, .. } | Op::Split { into: dims, .. } | Op::Window { into: dims, .. } => {
                dims.iter_mut().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Calls `f` with every free axis that the operator itself names.
    pub(crate) fn free_axes(&self, f: &mut impl FnMut(SymId)) {
        for d in self.clone().dims_mut() {
            if let Size::Free(s) = d.size {
                f(s);
            }
        }
    }

    /// The same operator with its free axes numbered anew.
    pub(crate) fn renumbered(mut self, f: &dyn Fn(SymId) -> SymId) -> Op {
        for d in self.dims_mut() {
            if let Size::Free(s) = &mut d.size {
                *s = f(*s);
            }
        }
        self
    }
}
