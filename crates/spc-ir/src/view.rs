//! Looks through splits and transposes: which part of which dimension of the base value a dimension is.
use crate::{Graph, NodeId, Op};
use spc_base::Bug;

/// One dimension of a view: the dimension of the base, and which of how many parts of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewDim {
    pub base: u32,
    pub part: u32,
    pub parts: u32,
}

/// The node below all splits and transposes, and what each dimension of `id` is of it. Nested splits end the walk.
pub fn trace(g: &Graph, id: NodeId) -> Result<(NodeId, Vec<ViewDim>), Bug> {
    let mut chain = Vec::new();
    let mut base = id;
    let mut split = false;
    loop {
        match &g.node(base)?.op {
            Op::Transpose { .. } => {}
            Op::Split { .. } if !split => split = true,
            _ => break,
        }
        chain.push(base);
        base = g.inputs(base).first().copied().ok_or_else(|| Bug::new("a view without an operand"))?;
    }
    let rank = g.ty(base)?.rank() as u32;
    let mut dims: Vec<ViewDim> = (0..rank).map(|b| ViewDim { base: b, part: 0, parts: 1 }).collect();
    for n in chain.into_iter().rev() {
        match &g.node(n)?.op {
            Op::Transpose { perm } => {
                dims = perm
                    .iter()
                    .map(|p| dims.get(*p as usize).copied().ok_or_else(|| Bug::new("transpose out of range")))
                    .collect::<Result<_, _>>()?;
            }
            Op::Split { dim, into } => {
                let at = *dim as usize;
                let old = dims.get(at).copied().ok_or_else(|| Bug::new("split out of range"))?;
                let parts = into.len() as u32;
                dims.splice(at..=at, (0..parts).map(|part| ViewDim { base: old.base, part, parts }));
            }
            _ => return Err(Bug::new("not a view")),
        }
    }
    Ok((base, dims))
}
