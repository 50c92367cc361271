//! Proxes of groups. A penalty that treats each tile of one tensor by itself is one pass. One over groups that tensors share, or
//! that looks at all groups together, is three: sums of squares, the new norms over the list of groups, and scaling.
use super::cuts::{Cut, Cuts, Part, cuts, fixed, roots, weigh};
use super::metric;
use super::program::{Builder, Operand, Phase};
use super::work::{Env, FoldUse, Missing, Ref, Source, missing};
use spc_base::Bug;
use spc_ir::method::{Body, Compute, Fold as Folded, Input, Kind as ValueKind, Metric, Space, Target, Term, ValueId};
use spc_ir::{BinFn, DType, Require, ScalarExpr as S};
use spc_kernel::update::{
    Chain, Fold, FoldKind, Kind, MetricWork, Node, NodeId, Work as Tile, group_pass, metric_pass,
};
use std::collections::BTreeMap;

pub(super) fn prox(
    b: &mut Builder<'_>,
    i: usize,
    term: &Term,
    r: &Require,
    over: usize,
    metric: Metric,
) -> Result<(), Missing> {
    let body = term.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
    let cuts = cuts(b.core, r)?;
    if body.is_separate() && !cuts.shared {
        for c in &cuts.list {
            one_pass(b, i, term, over, c, metric)?;
        }
        return Ok(());
    }
    let d = metric::arrays(b, &cuts, metric)?;
    match (d, body.soft_threshold()) {
        (Some(d), Some(cut)) => metric::shrink(b, (i, over), term, &cut, &cuts, &d),
        (d, _) => together(b, (i, over), term, &cuts, d.as_deref()),
    }
}

fn one_pass(b: &mut Builder<'_>, i: usize, term: &Term, over: usize, c: &Cut, metric: Metric) -> Result<(), Missing> {
    let body = term.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
    let (t, tau) = (c.tensor, b.tau(i, term, c.tensor)?);
    let d = metric::array(b, t, metric);
    let soft = body.soft_threshold().filter(|_| d.is_some());
    // The body over one norm, in a pass of its own.
    let mut chain = Chain::default();
    let from = soft.is_none().then(|| {
        chain.array(Kind::F32);
        chain.node(Node::Array(0))
    });
    let step = chain.node(Node::Number(tau));
    let mean = (d.is_some() && soft.is_none()).then(|| {
        chain.array(Kind::F32);
        chain.node(Node::Array(1))
    });
    let mut work = super::work::Work::of(chain, t);
    let by = match mean {
        Some(d) => work.map(S::bin(BinFn::Div, S::Arg(0), S::Arg(1)), vec![step, d], DType::F32),
        None => step,
    };
    let group = weigh(b, i, over, c)?.map(|x| Some(work.constant(x)));
    let env = Env { rule: i, norms: from, tau: Some(by), group, ..Env::default() };
    let body = soft.as_ref().unwrap_or(body);
    let values = work.inline(body, &env, &BTreeMap::new(), body.values.len(), &mut b.numbers)?;
    let id = body.result(&Target::Result).ok_or_else(|| Bug::new("a prox without a result"))?;
    let mut to = *values.get(id as usize).ok_or_else(|| Bug::new("a result that is not there"))?;
    if let Some(from) = from {
        // With a step of 0 nothing changes.
        let still = S::select(S::bin(BinFn::Eq, S::Arg(2), S::Const(0.0)), S::Arg(0), S::Arg(1));
        to = work.map(still, vec![from, to, step], DType::F32);
    }
    let (lanes, dense) = (b.core.lanes, b.dense(t));
    let pass = match (&d, from) {
        (None, _) => group_pass(c.grid, Tile::Prox(work.chain(), to), lanes)?,
        (Some(_), None) => metric_pass(c.grid, MetricWork::Shrink(work.chain(), to), lanes)?,
        (Some(_), Some(_)) => metric_pass(c.grid, MetricWork::Prox(work.chain(), to), lanes)?,
    };
    let of = if d.is_none() { Source::Resize(c.grid, work.chain().clone(), to) } else { Source::Other };
    let w = &mut b.works[t];
    w.flush(&mut b.passes, lanes)?;
    w.push_of(&mut b.passes, pass, of, std::iter::once(dense).chain(d).collect(), vec![FoldUse::Norm]);
    Ok(())
}

/// The norms of groups as a list, with what the groups count for.
pub(super) struct Norms {
    pub parts: Vec<Part>,
    pub list: usize,
    pub norms: Ref,
    pub of: [Option<Ref>; 3],
    pub sizes: Vec<f64>,
    pub tau: usize,
}

/// Passes that gather the norms of all groups; `body` says which of size, cost and energy are read.
pub(super) fn norms(
    b: &mut Builder<'_>,
    (i, over): (usize, usize),
    term: &Term,
    body: &Body,
    cuts: &Cuts,
) -> Result<Norms, Missing> {
    let lanes = b.core.lanes;
    let mut parts = Vec::new();
    let mut weights = vec![[0.0, 0.0, 0.0]; cuts.groups];
    for c in &cuts.list {
        let (t, dense) = (c.tensor, b.dense(c.tensor));
        let own = weigh(b, i, over, c)?;
        let fixed = fixed(b, i, over);
        for g in weights.iter_mut().skip(c.first).take(c.groups) {
            // What is declared as a number is one of the group, not of its parts.
            for k in 0..3 {
                g[k] = if fixed[k] { own[k] } else { g[k] + own[k] };
            }
        }
        let part = b.part(c);
        let w = &mut b.works[t];
        w.flush(&mut b.passes, lanes)?;
        let pass = group_pass(c.grid, Tile::Squares, lanes)?;
        w.push(&mut b.passes, pass, vec![dense, part.side.clone()], vec![FoldUse::Ignore]);
        parts.push(part);
    }
    roots(b, i, over, &mut weights);
    let tensors: Vec<usize> = cuts.list.iter().map(|c| c.tensor).collect();
    b.flush(&tensors)?;
    let list = b.new_list(cuts.groups);
    let norms = b.new_scratch(ValueKind::Float, list);
    let reads = |x: Input| body.values.iter().any(|v| v.compute == Compute::Input(x.clone()));
    let of = [Input::Size, Input::Cost, Input::Energy].map(|x| reads(x).then(|| b.new_scratch(ValueKind::Float, list)));
    let sizes = weights.iter().map(|w| w[0]).collect();
    b.phases.push(Phase::Gather { parts: parts.clone(), norms: norms.clone(), weights, of: of.clone() });
    let first = *tensors.first().ok_or_else(|| Bug::new("a penalty of nothing"))?;
    b.same.push(tensors);
    let tau = b.tau(i, term, first)?;
    Ok(Norms { parts, list, norms, of, sizes, tau })
}

fn together(
    b: &mut Builder<'_>,
    (i, over): (usize, usize),
    term: &Term,
    cuts: &Cuts,
    d: Option<&[Ref]>,
) -> Result<(), Missing> {
    let body = term.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
    let lanes = b.core.lanes;
    let n = norms(b, (i, over), term, body, cuts)?;
    let (list, tau, norms) = (n.list, n.tau, n.norms.clone());
    let step = match d {
        Some(d) => metric::step(b, cuts, d, &n, body.is_separate())?,
        None => Operand::Number(tau),
    };
    let mut l = List::new(b, i, &n, step);
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
    b.phases.push(Phase::Scatter { parts: n.parts.clone(), factors: norms });
    for (c, p) in cuts.list.iter().zip(n.parts) {
        let pass = group_pass(c.grid, Tile::Scale, lanes)?;
        b.works[c.tensor].push(&mut b.passes, pass, vec![p.weight, p.side], vec![FoldUse::Ignore]);
    }
    Ok(())
}

/// A body over a list of groups.
pub(super) struct List<'a, 'b> {
    b: &'a mut Builder<'b>,
    i: usize,
    list: usize,
    norms: Ref,
    of: [Option<Ref>; 3],
    /// The step length of all, or of each.
    step: Operand,
    given: BTreeMap<ValueId, usize>,
}

impl<'a, 'b> List<'a, 'b> {
    pub fn new(b: &'a mut Builder<'b>, i: usize, n: &Norms, step: Operand) -> List<'a, 'b> {
        List { b, i, list: n.list, norms: n.norms.clone(), of: n.of.clone(), step, given: BTreeMap::new() }
    }

    pub fn values(&mut self, body: &Body, end: usize) -> Result<Vec<NodeId>, Missing> {
        let w = &mut self.b.works[self.list];
        let tau = Some(match &self.step {
            Operand::Number(n) => w.number(*n),
            Operand::Array(r) => w.get(r),
        });
        let norms = Some(w.get(&self.norms));
        let group = [0, 1, 2].map(|k: usize| self.of[k].as_ref().map(|r| w.get(r)));
        let env = Env { rule: self.i, norms, tau, group, ..Env::default() };
        let given = self.given.iter().map(|(id, n)| (*id, w.number(*n))).collect();
        w.inline(body, &env, &given, end, &mut self.b.numbers)
    }

    fn number(&mut self, body: &Body, end: usize, id: ValueId) -> Result<usize, Missing> {
        match self.operand(body, end, id)? {
            Operand::Number(n) => Ok(n),
            Operand::Array(_) => missing("a root with bounds of its own for each group"),
        }
    }

    /// A value as a number, or as an array in memory.
    fn operand(&mut self, body: &Body, end: usize, id: ValueId) -> Result<Operand, Missing> {
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
