//! Where convolutions change between images and matrices: the windows side by side that their linears read, and the
//! transposes that put the features before the places again. What feature-major code does with these is copy runs.
use crate::structure::part_of;
use crate::{DType, Graph, NodeId, Op, Size};
use spc_base::Bug;

/// Whether a node is a matrix of windows: the last dimensions of a window, or of a transpose of one, as one dimension of a
/// known number of f32 features.
pub fn is_unfolded(g: &Graph, node: NodeId) -> Result<bool, Bug> {
    let n = g.node(node)?;
    let Op::Merge { dim, count } = n.op else { return Ok(false) };
    let first = |n: NodeId| g.inputs(n).first().copied().ok_or_else(|| Bug::new(format!("{n} has no operand")));
    let mut from = first(node)?;
    let last = dim as usize + count as usize == g.ty(from)?.rank();
    let matrix = n.ty.dtype == DType::F32 && n.ty.dims.last().is_some_and(|d| matches!(d.size, Size::Fixed(_)));
    while matches!(g.node(from)?.op, Op::Transpose { .. }) {
        from = first(from)?;
    }
    Ok(last && matrix && matches!(g.node(from)?.op, Op::Window { .. }) && part_of(g, from)?.is_none())
}

/// The operand of a transpose that moves its last dimension, the features, to before other dimensions and changes nothing
/// else, and the place of the features in the result.
pub fn channels_of(g: &Graph, node: NodeId) -> Result<Option<(NodeId, usize)>, Bug> {
    let n = g.node(node)?;
    let Op::Transpose { perm } = &n.op else { return Ok(None) };
    let from = g.inputs(node).first().copied().ok_or_else(|| Bug::new(format!("{node} has no operand")))?;
    let Some(last) = perm.len().checked_sub(1) else { return Ok(None) };
    let Some(at) = perm.iter().position(|p| *p as usize == last).filter(|at| *at < last) else { return Ok(None) };
    let rest = perm.iter().copied().filter(|p| *p as usize != last);
    let features = g.ty(from)?.dims.last().is_some_and(|d| matches!(d.size, Size::Fixed(_)));
    Ok((rest.eq(0..last as u32) && features && n.ty.dtype == DType::F32).then_some((from, at)))
}
