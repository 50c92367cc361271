//! Proxes of groups: tiles of one tensor in one pass.
use super::program::Builder;
use super::work::{Env, FoldUse, Missing, missing};
use spc_base::Bug;
use spc_ir::method::{Compute, Does, GroupWeight, Lift, Target, Term};
use spc_ir::{BinFn, Cover, DType, Member, Require, ScalarExpr as S};
use spc_kernel::update::{Chain, Grid, Kind, Node, Work as Tile, group_pass};
use std::collections::BTreeMap;

/// The groups of a tensor as tiles of a matrix.
pub(super) fn grid(m: &Member) -> Option<Grid> {
    let shape: Vec<usize> = m.shape.iter().map(|d| *d as usize).collect();
    let tile: Vec<usize> = match &m.cover {
        Cover::Tile(t) => t.iter().map(|d| *d as usize).collect(),
        Cover::Slices(s) => match &s.parts[..] {
            [p] if p.start == 0 && p.inner == 1 && p.end == p.size => {
                let mut t = shape.clone();
                *t.get_mut(p.dim as usize)? = s.by as usize;
                (shape.get(p.dim as usize) == Some(&(p.size as usize))).then_some(t)?
            }
            _ => return None,
        },
        Cover::Pairs { .. } => return None,
    };
    // From the last dimension on, those that tiles span whole are one.
    let mut dims: Vec<(usize, usize)> = shape.into_iter().zip(tile).collect();
    if dims.iter().any(|(d, t)| *t == 0 || d % t != 0) {
        return None;
    }
    let (mut cols, mut wide) = dims.pop()?;
    while cols == wide
        && let Some((d, t)) = dims.pop()
    {
        (cols, wide) = (d * cols, t * wide);
    }
    let (mut rows, mut high) = (1, 1);
    while high == rows
        && let Some((d, t)) = dims.pop()
    {
        (rows, high) = (d * rows, t * high);
    }
    dims.iter().all(|(_, t)| *t == 1).then_some(Grid { rows: high, cols, tile: wide })
}

pub(super) fn prox(b: &mut Builder<'_>, i: usize, term: &Term, r: &Require, over: usize) -> Result<(), Missing> {
    let body = term.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
    let separate = body.values.iter().all(|v| matches!(v.compute, Compute::Input(_) | Compute::Map { .. }));
    if !separate {
        return missing("a penalty that looks at all groups together");
    }
    let Some(k) = r.keeps.last() else { return Err(Bug::new("a penalty of nothing").into()) };
    let mut names: Vec<&str> = k.members.iter().map(|m| m.weight.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut families: Vec<u32> = Vec::new();
    for m in &k.members {
        if let Cover::Slices(s) = &m.cover {
            if families.contains(&s.family) {
                return missing("a penalty of groups that several tensors share");
            }
            families.push(s.family);
        }
    }
    if names.len() != k.members.len() || term.lift == Lift::Tree {
        return missing("a penalty of groups that share weights");
    }
    let Does::Penalize { weighing, .. } = &b.core.rules.list[i].does else {
        return Err(Bug::new("a penalty that is none").into());
    };
    let weighing = weighing.get(over).cloned().unwrap_or_default();
    for m in &k.members {
        let t = b.core.index(&m.weight).ok_or_else(|| Bug::new("a penalty of a tensor that is not there"))?;
        let Some(g) = grid(m).filter(|g| g.fits(b.core.lanes)) else {
            return missing(format!("a penalty of these groups of `{}`", m.weight));
        };
        let size = (g.rows * g.tile) as f64;
        let weigh = |w: &GroupWeight| match w {
            GroupWeight::Number(x) => *x,
            GroupWeight::Size => size,
            GroupWeight::SqrtSize => size.sqrt(),
            GroupWeight::PerElement(costs) => size * costs.get(&m.weight).copied().unwrap_or(1) as f64,
        };
        let tau = b.tau(i, term, t)?;
        // The body over one norm, in a pass of its own.
        let mut chain = Chain::default();
        chain.array(Kind::F32);
        let norms = Some(chain.node(Node::Array(0)));
        let number = Some(chain.node(Node::Number(tau)));
        let group = [size, weigh(&weighing.cost), weigh(&weighing.energy)];
        let env = Env { rule: i, norms, tau: number, group, ..Env::default() };
        let mut work = super::work::Work::of(chain, t);
        let values = work.inline(body, &env, &BTreeMap::new(), body.values.len(), &mut b.numbers)?;
        let id = body.result(&Target::Result).ok_or_else(|| Bug::new("a prox without a result"))?;
        let to = *values.get(id as usize).ok_or_else(|| Bug::new("a result that is not there"))?;
        let (Some(from), Some(tau)) = (norms, number) else { continue };
        // With a step of 0 nothing changes.
        let still = S::select(S::bin(BinFn::Eq, S::Arg(2), S::Const(0.0)), S::Arg(0), S::Arg(1));
        let to = work.map(still, vec![from, to, tau], DType::F32);
        let pass = group_pass(g, Tile::Prox(work.chain(), to), b.core.lanes)?;
        let dense = b.dense(t);
        let w = &mut b.works[t];
        w.flush(&mut b.passes, b.core.lanes)?;
        w.push(&mut b.passes, pass, vec![dense], vec![FoldUse::Norm]);
    }
    Ok(())
}
