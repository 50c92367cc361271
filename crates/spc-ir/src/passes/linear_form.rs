//! Turns a `contract` of a weight with an activation into `linear`, with views around it.
//! Needs: one operand is a stored weight (possibly split) whose first dimension is kept and whose other dimensions are
//! summed, in stored order. So is a convolution, whose other operand is a window.
//! Keeps: the value, up to the order of summation. Never changes: types, names.
use super::{PassCx, Rule};
use crate::view::trace;
use crate::{Graph, NodeId, Op, Patch, PatchRef};
use spc_base::Bug;

pub const LINEAR_FORM: Rule = Rule { name: "linear-form", apply };

fn apply(g: &Graph, n: NodeId, _: &PassCx) -> Result<Option<Patch>, Bug> {
    let weight = |base: NodeId| Ok(matches!(g.node(base)?.op, Op::Weight { .. }));
    let Some(found) = side(g, n, &weight)? else { return Ok(None) };
    let mut p = Patch::new(LINEAR_FORM.name);
    let y = found.linear(g, &mut p, PatchRef::Old(found.base))?;
    p.replace(g, n, y)?;
    Ok(Some(p))
}

/// A product that is a linear of the matrix `base`, with views around it.
pub(crate) struct Form {
    /// The matrix, below all views of it.
    pub base: NodeId,
    /// The operand that is a view of it.
    pub weight: NodeId,
    weight_labels: Vec<u32>,
    x: NodeId,
    x_labels: Vec<u32>,
    out: Vec<u32>,
}

/// How a `contract` is a linear of an operand below whose views `stands` says that a matrix lies.
pub(crate) fn side(g: &Graph, n: NodeId, stands: &dyn Fn(NodeId) -> Result<bool, Bug>) -> Result<Option<Form>, Bug> {
    let Op::Contract { lhs, rhs, out } = &g.node(n)?.op else { return Ok(None) };
    let [a, b] = g.inputs(n)[..] else { return Ok(None) };
    for (w, wl, x, xl) in [(a, lhs, b, rhs), (b, rhs, a, lhs)] {
        let (base, dims) = trace(g, w)?;
        if !stands(base)? || g.ty(base)?.matrix().is_none() {
            continue;
        }
        // The view must show the weight in stored order: no transpose between it and the product.
        let stored = dims.windows(2).all(|p| (p[0].base, p[0].part) < (p[1].base, p[1].part));
        let kept = wl.iter().filter(|l| out.contains(l));
        let summed = wl.iter().any(|l| !out.contains(l));
        let kept_is_rows = dims.iter().zip(wl).all(|(d, l)| (d.base == 0) == out.contains(l));
        if stored && kept_is_rows && summed && kept.clone().count() > 0 && !kept.clone().any(|l| xl.contains(l)) {
            let (weight_labels, x_labels, out) = (wl.clone(), xl.clone(), out.clone());
            return Ok(Some(Form { base, weight: w, weight_labels, x, x_labels, out }));
        }
    }
    Ok(None)
}

impl Form {
    /// The linear over `weight`, which has the shape of the matrix, and its views.
    pub fn linear(&self, g: &Graph, p: &mut Patch, weight: PatchRef) -> Result<PatchRef, Bug> {
        let (wl, xl, out) = (&self.weight_labels, &self.x_labels, &self.out);
        let kept: Vec<u32> = wl.iter().copied().filter(|l| out.contains(l)).collect();
        let summed: Vec<u32> = wl.iter().copied().filter(|l| !out.contains(l)).collect();
        let outer: Vec<u32> = xl.iter().copied().filter(|l| !summed.contains(l)).collect();
        // x with the summed labels last, in the weight's order, merged into one.
        let wanted: Vec<u32> = outer.iter().chain(&summed).copied().collect();
        let mut xv = transpose(p, g, PatchRef::Old(self.x), xl, &wanted)?;
        if summed.len() > 1 {
            let op = Op::Merge { dim: outer.len() as u32, count: summed.len() as u32 };
            xv = p.add(g, op, &[xv])?;
        }
        let mut y = p.add(g, Op::Linear { bias: false, act: None }, &[xv, weight])?;
        if kept.len() > 1 {
            let wt = g.ty(self.weight)?;
            let into = wl.iter().zip(&wt.dims).filter(|(l, _)| kept.contains(l)).map(|(_, d)| d.clone()).collect();
            y = p.add(g, Op::Split { dim: outer.len() as u32, into }, &[y])?;
        }
        let have: Vec<u32> = outer.iter().chain(&kept).copied().collect();
        transpose(p, g, y, &have, out)
    }
}

/// Reorders dimensions labelled `have` to `want`; nothing is added when they are in order.
fn transpose(p: &mut Patch, g: &Graph, v: PatchRef, have: &[u32], want: &[u32]) -> Result<PatchRef, Bug> {
    if have == want {
        return Ok(v);
    }
    let find = |l: &u32| have.iter().position(|h| h == l).map(|i| i as u32);
    let perm = want.iter().map(find).collect::<Option<Vec<u32>>>().ok_or_else(|| Bug::new("label lost"))?;
    p.add(g, Op::Transpose { perm }, &[v])
}
