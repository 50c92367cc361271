//! Merges a pointwise node into the only pointwise node that reads it.
//! Needs: the inner value has one reader and is no output; an inner expression with costly functions is used once.
//! Keeps: every value, bit for bit. Never changes: the order of operations on an element.
use super::{PassCx, Rule};
use crate::{Graph, NodeId, Op, Patch, PatchRef, ScalarExpr, UnFn};
use spc_base::Bug;

pub const FUSE_MAPS: Rule = Rule { name: "fuse-maps", apply };

/// Most operands and most expression nodes of a merged map.
const MAX_OPERANDS: usize = 8;
const MAX_SIZE: usize = 64;

fn apply(g: &Graph, n: NodeId, _: &PassCx) -> Result<Option<Patch>, Bug> {
    let Op::Map { expr, at } = &g.node(n)?.op else { return Ok(None) };
    let inputs = g.inputs(n);
    for (i, inner) in inputs.iter().enumerate() {
        let Op::Map { expr: ie, at: iat } = &g.node(*inner)?.op else { continue };
        let sole = g.readers(*inner).iter().all(|r| *r == n) && !g.is_output(*inner);
        let same: Vec<usize> = (0..inputs.len()).filter(|j| inputs[*j] == *inner).collect();
        let uses = expr.uses(i as u8);
        if !sole || same.len() > 1 || (uses > 1 && costly(ie)) || expr.size() + uses * ie.size() > MAX_SIZE {
            continue;
        }
        let (mut nodes, mut places): (Vec<NodeId>, Vec<Vec<u32>>) = (Vec::new(), Vec::new());
        let mut slot = |node: NodeId, p: Vec<u32>| {
            let hit = nodes.iter().zip(&places).position(|(m, q)| *m == node && *q == p);
            hit.unwrap_or_else(|| {
                nodes.push(node);
                places.push(p);
                nodes.len() - 1
            }) as u8
        };
        let outer: Vec<u8> =
            (0..inputs.len()).map(|j| if j == i { 0 } else { slot(inputs[j], at[j].clone()) }).collect();
        let through = |p: &Vec<u32>| p.iter().map(|d| at[i][*d as usize]).collect::<Vec<u32>>();
        let inner_slots: Vec<u8> = g.inputs(*inner).into_iter().zip(iat).map(|(m, p)| slot(m, through(p))).collect();
        if nodes.len() > MAX_OPERANDS {
            continue;
        }
        let ie = ie.substitute(&|a| ScalarExpr::Arg(inner_slots[a as usize]));
        let merged =
            expr.substitute(&|a| if a as usize == i { ie.clone() } else { ScalarExpr::Arg(outer[a as usize]) });
        let mut p = Patch::new(FUSE_MAPS.name);
        let refs: Vec<PatchRef> = nodes.into_iter().map(PatchRef::Old).collect();
        // An operand may now only be needed for its shape; the merged node must still cover every position.
        let Ok(m) = p.add(g, Op::Map { expr: merged, at: places }, &refs) else { continue };
        if p.ty(g, m)?.sizes() != g.ty(n)?.sizes() {
            continue;
        }
        p.replace(g, n, m)?;
        return Ok(Some(p));
    }
    Ok(None)
}

fn costly(e: &ScalarExpr) -> bool {
    let own = match e {
        ScalarExpr::Un(f, _) => !matches!(f, UnFn::Neg | UnFn::Abs | UnFn::Not),
        ScalarExpr::Bin(f, ..) => matches!(f, crate::BinFn::Pow | crate::BinFn::Div),
        _ => false,
    };
    own || e.children().into_iter().any(costly)
}
