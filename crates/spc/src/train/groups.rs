//! Proxes of groups. A penalty that treats each tile of one tensor by itself is one pass. One over groups that tensors share, or
//! that looks at all groups together, is three: sums of squares, the new norms over the list of groups, and scaling.
use super::core::Core;
use super::program::{Builder, Operand, Phase};
use super::work::{Env, FoldUse, Missing, Ref, missing};
use spc_base::Bug;
use spc_ir::method::{
    Compute, Does, Fold as Folded, GroupWeight, Input, Kind as ValueKind, Lift, Space, Target, Term, ValueId,
};
use spc_ir::{BinFn, Cover, DType, Member, Require, ScalarExpr as S};
use spc_kernel::update::{Chain, Fold, FoldKind, Grid, Kind, Node, NodeId, Work as Tile, group_pass};
use std::collections::BTreeMap;

/// The tiles of one tensor that are groups, in order from `first` on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub weight: Ref,
    pub side: Ref,
    pub grid: Grid,
    pub len: usize,
    pub first: usize,
}

impl Part {
    fn across(&self) -> usize {
        self.grid.cols / self.grid.tile.max(1)
    }

    fn tiles(&self) -> usize {
        self.len / self.grid.unit().max(1) * self.across()
    }

    /// Entries of the side array that belong to one tile.
    pub fn spread(&self, lanes: usize) -> usize {
        let one = self.across().max(1);
        (self.grid.entries(lanes) / one).max(1)
    }

    /// Calls with group, first entry and tile.
    pub fn each(&self, lanes: usize, f: &mut dyn FnMut(usize, usize, usize)) {
        let (across, entries) = (self.across().max(1), self.grid.entries(lanes));
        for tile in 0..self.tiles() {
            let (strip, t) = (tile / across, tile % across);
            f(self.first + tile, strip * entries + self.grid.entry(t, lanes), tile);
        }
    }

    /// The sum of squares of a tile, in f64.
    pub fn squares(&self, w: &[f32], tile: usize) -> f64 {
        let (g, across) = (self.grid, self.across().max(1));
        let at = tile / across * g.unit() + tile % across * g.tile;
        let row = |r: usize| w.get(at + r * g.cols..at + r * g.cols + g.tile).unwrap_or_default();
        (0..g.rows).flat_map(row).map(|x| f64::from(*x) * f64::from(*x)).sum()
    }
}

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
    // Tiles within one row are runs, wherever rows end.
    let run = high == 1 && !(wide < 16 && wide.is_power_of_two());
    let cols = if run { wide } else { cols };
    dims.iter().all(|(_, t)| *t == 1).then_some(Grid { rows: high, cols, tile: wide })
}

/// A member with its tiles and the number of its first group.
struct Cut {
    tensor: usize,
    grid: Grid,
    first: usize,
    groups: usize,
}

struct Cuts {
    list: Vec<Cut>,
    /// Groups of all members, each once.
    groups: usize,
    /// Some groups have parts in several tensors.
    shared: bool,
}

fn cuts(core: &Core, r: &Require) -> Result<Cuts, Missing> {
    let Some(k) = r.keeps.last() else { return Err(Bug::new("a penalty of nothing").into()) };
    let mut out = Cuts { list: Vec::new(), groups: 0, shared: false };
    let mut families: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for m in &k.members {
        let t = core.index(&m.weight).ok_or_else(|| Bug::new("a penalty of a tensor that is not there"))?;
        if out.list.iter().any(|c| c.tensor == t) {
            return missing("a penalty of groups that share weights");
        }
        let Some(g) = grid(m).filter(|g| g.fits(core.lanes)) else {
            return missing(format!("a penalty of these groups of `{}`", m.weight));
        };
        let groups = core.tensors[t].len / g.unit().max(1) * (g.cols / g.tile);
        let first = match &m.cover {
            Cover::Slices(s) => match families.get(&s.family) {
                Some((first, n)) if *n == groups => {
                    out.shared = true;
                    *first
                }
                Some(_) => return missing("slices of several sizes"),
                None => {
                    families.insert(s.family, (out.groups, groups));
                    out.groups += groups;
                    out.groups - groups
                }
            },
            _ => {
                out.groups += groups;
                out.groups - groups
            }
        };
        out.list.push(Cut { tensor: t, grid: g, first, groups });
    }
    Ok(out)
}

pub(super) fn prox(b: &mut Builder<'_>, i: usize, term: &Term, r: &Require, over: usize) -> Result<(), Missing> {
    if term.lift == Lift::Tree {
        return missing("a penalty along a tree");
    }
    let body = term.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
    let separate = body.values.iter().all(|v| matches!(v.compute, Compute::Input(_) | Compute::Map { .. }));
    let cuts = cuts(b.core, r)?;
    if separate && !cuts.shared {
        for c in &cuts.list {
            one_pass(b, i, term, over, c)?;
        }
        return Ok(());
    }
    together(b, i, term, over, &cuts)
}

/// Size, cost and energy of a part of a group.
fn weigh(b: &Builder<'_>, i: usize, over: usize, c: &Cut) -> Result<[f64; 3], Missing> {
    let Does::Penalize { weighing, .. } = &b.core.rules.list[i].does else {
        return Err(Bug::new("a penalty that is none").into());
    };
    let w = weighing.get(over).cloned().unwrap_or_default();
    let size = (c.grid.rows * c.grid.tile) as f64;
    let name = &b.core.tensors[c.tensor].name;
    let one = |w: &GroupWeight| match w {
        GroupWeight::Number(x) => *x,
        GroupWeight::Size => size,
        GroupWeight::SqrtSize => size.sqrt(),
        GroupWeight::PerElement(costs) => size * costs.get(name).copied().unwrap_or(1) as f64,
    };
    Ok([size, one(&w.cost), one(&w.energy)])
}

fn one_pass(b: &mut Builder<'_>, i: usize, term: &Term, over: usize, c: &Cut) -> Result<(), Missing> {
    let body = term.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
    let (t, tau) = (c.tensor, b.tau(i, term, c.tensor)?);
    // The body over one norm, in a pass of its own.
    let mut chain = Chain::default();
    chain.array(Kind::F32);
    let (from, tau) = (chain.node(Node::Array(0)), chain.node(Node::Number(tau)));
    let mut work = super::work::Work::of(chain, t);
    let group = weigh(b, i, over, c)?.map(|x| Some(work.constant(x)));
    let env = Env { rule: i, norms: Some(from), tau: Some(tau), group, ..Env::default() };
    let values = work.inline(body, &env, &BTreeMap::new(), body.values.len(), &mut b.numbers)?;
    let id = body.result(&Target::Result).ok_or_else(|| Bug::new("a prox without a result"))?;
    let to = *values.get(id as usize).ok_or_else(|| Bug::new("a result that is not there"))?;
    // With a step of 0 nothing changes.
    let still = S::select(S::bin(BinFn::Eq, S::Arg(2), S::Const(0.0)), S::Arg(0), S::Arg(1));
    let to = work.map(still, vec![from, to, tau], DType::F32);
    let pass = group_pass(c.grid, Tile::Prox(work.chain(), to), b.core.lanes)?;
    let dense = b.dense(t);
    let w = &mut b.works[t];
    w.flush(&mut b.passes, b.core.lanes)?;
    w.push(&mut b.passes, pass, vec![dense], vec![FoldUse::Norm]);
    Ok(())
}

fn together(b: &mut Builder<'_>, i: usize, term: &Term, over: usize, cuts: &Cuts) -> Result<(), Missing> {
    let body = term.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
    let lanes = b.core.lanes;
    let mut parts = Vec::new();
    let mut weights = vec![[0.0, 0.0, 0.0]; cuts.groups];
    for c in &cuts.list {
        let (t, dense) = (c.tensor, b.dense(c.tensor));
        let len = b.core.tensors[t].len;
        let side = b.new_side(t, len / c.grid.unit().max(1) * c.grid.entries(lanes));
        let own = weigh(b, i, over, c)?;
        let fixed = fixed(b, i, over);
        for g in weights.iter_mut().skip(c.first).take(c.groups) {
            // What is declared as a number is one of the group, not of its parts.
            for k in 0..3 {
                g[k] = if fixed[k] { own[k] } else { g[k] + own[k] };
            }
        }
        let w = &mut b.works[t];
        w.flush(&mut b.passes, lanes)?;
        let pass = group_pass(c.grid, Tile::Squares, lanes)?;
        w.push(&mut b.passes, pass, vec![dense.clone(), side.clone()], vec![FoldUse::Ignore]);
        parts.push(Part { weight: dense, side, grid: c.grid, len, first: c.first });
    }
    roots(b, i, over, &mut weights);
    let tensors: Vec<usize> = cuts.list.iter().map(|c| c.tensor).collect();
    b.flush(&tensors)?;
    let list = b.new_list(cuts.groups);
    let norms = b.new_scratch(ValueKind::Float, list);
    let reads = |x: Input| body.values.iter().any(|v| v.compute == Compute::Input(x.clone()));
    let of = [Input::Size, Input::Cost, Input::Energy].map(|x| reads(x).then(|| b.new_scratch(ValueKind::Float, list)));
    b.phases.push(Phase::Gather { parts: parts.clone(), norms: norms.clone(), weights, of: of.clone() });
    let first = *tensors.first().ok_or_else(|| Bug::new("a penalty of nothing"))?;
    let tau = b.tau(i, term, first)?;
    let mut l = List { b, i, list, norms: norms.clone(), of, tau, given: BTreeMap::new() };
    for (id, v) in body.values.iter().enumerate() {
        match &v.compute {
            Compute::RootOfClips { sum, less, from, to } => {
                let ids = [sum.factor, sum.slope, sum.offset, sum.low, sum.high];
                let mut operands = Vec::new();
                for o in ids {
                    operands.push(l.operand(body, id, o)?);
                }
                let ends = [l.number(body, id, *less)?, l.number(body, id, *from)?, l.number(body, id, *to)?];
                l.b.flush(&[list])?;
                let slot = l.b.numbers.slot();
                let sum = operands.try_into().map_err(|_| Bug::new("a root of other than five operands"))?;
                let [less, from, to] = ends;
                l.b.phases.push(Phase::Root { sum, list, less, from, to, slot });
                l.given.insert(id as ValueId, slot);
            }
            Compute::Fold { fold, arg, guard: None } if body.values[*arg as usize].space == Space::Group => {
                let kinds: &[FoldKind] = match fold {
                    Folded::Sum => &[FoldKind::Sum],
                    Folded::Mean => &[FoldKind::Sum, FoldKind::Count],
                    Folded::Max => &[FoldKind::Max],
                    Folded::Min => &[FoldKind::Min],
                    Folded::Count => &[FoldKind::Count],
                };
                let values = l.values(body, id)?;
                for (part, kind) in kinds.iter().enumerate() {
                    let w = &mut l.b.works[list];
                    let value = if part == 1 { w.truth(true) } else { values[*arg as usize] };
                    w.fold(Fold { kind: *kind, value, guard: None }, FoldUse::Observe(l.b.folds, part));
                }
                l.b.flush(&[list])?;
                let slot = l.b.numbers.slot();
                l.b.phases.push(Phase::Folded { fold: *fold, id: l.b.folds, slot });
                l.b.folds += 1;
                l.given.insert(id as ValueId, slot);
            }
            Compute::Input(_) | Compute::Map { .. } => {}
            _ => return missing("a penalty that looks at all groups together"),
        }
    }
    let values = l.values(body, body.values.len())?;
    let id = body.result(&Target::Result).ok_or_else(|| Bug::new("a prox without a result"))?;
    let to = *values.get(id as usize).ok_or_else(|| Bug::new("a result that is not there"))?;
    let w = &mut b.works[list];
    let (from, tau) = (w.get(&norms), w.number(tau));
    let zero = |n| S::bin(BinFn::Eq, S::Arg(n), S::Const(0.0));
    let same = S::bin(BinFn::Or, zero(2), S::bin(BinFn::Eq, S::Arg(0), S::Arg(1)));
    let gone = S::bin(BinFn::Or, zero(0), zero(1));
    let ratio = S::bin(BinFn::Div, S::Arg(1), S::Arg(0));
    let f = S::select(zero(2), S::Const(1.0), S::select(gone, S::Const(0.0), S::select(same, S::Const(1.0), ratio)));
    let f = w.map(f, vec![from, to, tau], DType::F32);
    w.set(&norms, f);
    b.flush(&[list])?;
    b.phases.push(Phase::Scatter { parts: parts.clone(), factors: norms });
    for (c, p) in cuts.list.iter().zip(parts) {
        let pass = group_pass(c.grid, Tile::Scale, lanes)?;
        b.works[c.tensor].push(&mut b.passes, pass, vec![p.weight, p.side], vec![FoldUse::Ignore]);
    }
    Ok(())
}

/// Which of size, cost and energy are one number for each group, however many parts it has.
fn fixed(b: &Builder<'_>, i: usize, over: usize) -> [bool; 3] {
    let Does::Penalize { weighing, .. } = &b.core.rules.list[i].does else { return [false; 3] };
    let w = weighing.get(over).cloned().unwrap_or_default();
    [false, matches!(w.cost, GroupWeight::Number(_)), matches!(w.energy, GroupWeight::Number(_))]
}

/// Roots of sizes are roots of the whole group's.
fn roots(b: &Builder<'_>, i: usize, over: usize, weights: &mut [[f64; 3]]) {
    let Does::Penalize { weighing, .. } = &b.core.rules.list[i].does else { return };
    let w = weighing.get(over).cloned().unwrap_or_default();
    for (k, by) in [(1, &w.cost), (2, &w.energy)] {
        if *by == GroupWeight::SqrtSize {
            weights.iter_mut().for_each(|g| g[k] = g[0].sqrt());
        }
    }
}

/// A body over a list of groups.
struct List<'a, 'b> {
    b: &'a mut Builder<'b>,
    i: usize,
    list: usize,
    norms: Ref,
    of: [Option<Ref>; 3],
    tau: usize,
    given: BTreeMap<ValueId, usize>,
}

impl List<'_, '_> {
    fn values(&mut self, body: &spc_ir::method::Body, end: usize) -> Result<Vec<NodeId>, Missing> {
        let w = &mut self.b.works[self.list];
        let (norms, tau) = (Some(w.get(&self.norms)), Some(w.number(self.tau)));
        let group = [0, 1, 2].map(|k: usize| self.of[k].as_ref().map(|r| w.get(r)));
        let env = Env { rule: self.i, norms, tau, group, ..Env::default() };
        let given = self.given.iter().map(|(id, n)| (*id, w.number(*n))).collect();
        w.inline(body, &env, &given, end, &mut self.b.numbers)
    }

    fn number(&mut self, body: &spc_ir::method::Body, end: usize, id: ValueId) -> Result<usize, Missing> {
        match self.operand(body, end, id)? {
            Operand::Number(n) => Ok(n),
            Operand::Array(_) => missing("a root with bounds of its own for each group"),
        }
    }

    /// A value as a number, or as an array in memory.
    fn operand(&mut self, body: &spc_ir::method::Body, end: usize, id: ValueId) -> Result<Operand, Missing> {
        let values = self.values(body, end)?;
        let n = *values.get(id as usize).ok_or_else(|| Bug::new("a value that is not there"))?;
        if let Some(n) = self.b.works[self.list].numbers(n, &mut self.b.numbers) {
            return Ok(Operand::Number(n));
        }
        if let Some(r) = self.b.works[self.list].held(n) {
            return Ok(Operand::Array(r));
        }
        let r = self.b.new_scratch(ValueKind::Float, self.list);
        self.b.works[self.list].set(&r, n);
        Ok(Operand::Array(r))
    }
}
