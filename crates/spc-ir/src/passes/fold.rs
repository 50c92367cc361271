//! Removes views that cancel: a transpose of a transpose, a merge of the split it undoes, an identity map.
//! Keeps: every value, bit for bit.
use super::{PassCx, Rule};
use crate::{Graph, NodeId, Op, Patch, PatchRef, ScalarExpr};
use spc_base::Bug;

pub const FOLD_VIEWS: Rule = Rule { name: "fold-views", apply };

fn apply(g: &Graph, n: NodeId, _: &PassCx) -> Result<Option<Patch>, Bug> {
    let Some(inner) = g.inputs(n).first().copied() else { return Ok(None) };
    // Nothing reads a dead node; leave it to compaction, or the sweep would not end.
    if g.readers(n).is_empty() && !g.is_output(n) {
        return Ok(None);
    }
    let mut p = Patch::new(FOLD_VIEWS.name);
    let same = match (&g.node(n)?.op, &g.node(inner)?.op) {
        (Op::Transpose { perm }, _) if perm.iter().copied().eq(0..perm.len() as u32) => PatchRef::Old(inner),
        (Op::Map { expr: ScalarExpr::Arg(0), at }, _)
            if at.len() == 1 && at[0].iter().copied().eq(0..at[0].len() as u32) =>
        {
            PatchRef::Old(inner)
        }
        (Op::Transpose { perm }, Op::Transpose { perm: first }) => {
            let base = g.inputs(inner)[0];
            let both: Vec<u32> = perm.iter().map(|i| first[*i as usize]).collect();
            p.add(g, Op::Transpose { perm: both }, &[PatchRef::Old(base)])?
        }
        (Op::Merge { dim, count }, Op::Split { dim: d, into }) if dim == d && *count as usize == into.len() => {
            PatchRef::Old(g.inputs(inner)[0])
        }
        _ => return Ok(None),
    };
    p.replace(g, n, same)?;
    Ok(Some(p))
}
