//! What a linear's kernel can do to its sums before it stores them: one pointwise node that reads the linear, and at most a few
//! other values beside it.
use crate::{DType, Graph, NodeId, Op, ScalarExpr};
use spc_base::Bug;

/// How an operand of an epilogue lies beside the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Beside {
    /// A value of the result's shape, read where the result is written.
    Residual,
    /// One number for each output.
    Channel,
    /// One number.
    Scalar,
}

impl Beside {
    /// Operands of this kind that an epilogue may have.
    pub const fn most(self) -> usize {
        match self {
            Beside::Residual | Beside::Scalar => 1,
            Beside::Channel => 2,
        }
    }
}

/// What follows a sum: argument 0 is the linear's value, the others are those of `beside`, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Epilogue {
    pub expr: ScalarExpr,
    pub beside: Vec<(NodeId, Beside)>,
}

impl Epilogue {
    /// What `map` does to `value`, if a kernel that makes `value` can do it: f32 lane by lane, each element in its place, and no
    /// more operands than [`Beside::most`] of each kind. Who else reads `value` is for the caller to ask.
    pub fn of(graph: &Graph, value: NodeId, map: NodeId) -> Result<Option<Epilogue>, Bug> {
        let node = graph.node(map)?;
        let Op::Map { expr, at } = &node.op else { return Ok(None) };
        let (inputs, shape, rank) = (graph.inputs(map), node.ty.sizes(), node.ty.rank());
        if node.ty.dtype != DType::F32 || expr.has_integers() || rank == 0 {
            return Ok(None);
        }
        let whole = |places: &[u32]| places.iter().copied().eq(0..rank as u32);
        let mut beside: Vec<(NodeId, Beside)> = Vec::new();
        let (mut args, mut seen) = (Vec::with_capacity(inputs.len()), false);
        for (input, places) in inputs.iter().zip(at) {
            let operand = graph.node(*input)?;
            if *input == value {
                if seen || !whole(places) || operand.ty.sizes() != shape {
                    return Ok(None);
                }
                seen = true;
                args.push(ScalarExpr::Arg(0));
                continue;
            }
            let float = operand.ty.dtype == DType::F32;
            let kind = match (&operand.op, places.as_slice()) {
                (Op::Const { value, dtype: dtype @ (DType::F32 | DType::Bool) }, _) => {
                    args.push(ScalarExpr::cast(*dtype, ScalarExpr::Const(*value)));
                    continue;
                }
                _ if !float || (rank < 2 && !places.is_empty()) => return Ok(None),
                (Op::Weight { .. }, p) if p.len() > 1 => return Ok(None),
                (_, []) => Beside::Scalar,
                (_, p) if whole(p) && operand.ty.sizes() == shape => Beside::Residual,
                (_, [last]) if *last as usize + 1 == rank && operand.ty.sizes().last() == shape.last() => {
                    Beside::Channel
                }
                _ => return Ok(None),
            };
            let at = beside.iter().position(|b| *b == (*input, kind)).unwrap_or_else(|| {
                beside.push((*input, kind));
                beside.len() - 1
            });
            args.push(ScalarExpr::Arg(u8::try_from(at + 1).unwrap_or(u8::MAX)));
        }
        let fits = |kind: Beside| beside.iter().filter(|b| b.1 == kind).count() <= kind.most();
        if !seen || ![Beside::Residual, Beside::Channel, Beside::Scalar].into_iter().all(fits) {
            return Ok(None);
        }
        let expr = expr.substitute(&|n| args.get(usize::from(n)).cloned().unwrap_or(ScalarExpr::Arg(n)));
        Ok(Some(Epilogue { expr, beside }))
    }

    /// The same for the kernel of a linear whose value nothing but `map` may need.
    pub fn fused(graph: &Graph, linear: NodeId, map: NodeId) -> Result<Option<Epilogue>, Bug> {
        let plain = matches!(graph.node(linear)?.op, Op::Linear { act: None, .. });
        if !plain || graph.readers(linear) != [map] || graph.is_output(linear) {
            return Ok(None);
        }
        Epilogue::of(graph, linear, map)
    }
}
