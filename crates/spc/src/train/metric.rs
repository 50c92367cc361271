//! Proxes of groups in the metric of an optimiser that divides the step of each weight by a number `d` of its own; the reference
//! is `spc_interp::method::penalty_prox_in`.
use super::cuts::{Cuts, Part};
use super::groups::{List, Norms, norms};
use super::program::{Builder, Operand, Phase};
use super::work::{FoldUse, Missing, Ref, Step, missing};
use spc_base::Bug;
use spc_ir::method::{Body, Kind as ValueKind, Metric, Target, Term};
use spc_ir::{BinFn, DType, ScalarExpr as S};
use spc_kernel::update::{Grid, MetricWork, metric_pass};

/// What `d` becomes in the prox of a list of groups.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Means {
    /// The mean of each group, given their sizes.
    Groups(Ref, Vec<f64>),
    /// The mean of all, a slot, given how many there are.
    All(usize, f64),
}

/// What a root of norms over several tensors runs: passes of each tensor that begin it, and passes of each round. Side arrays of
/// each part: r, the cut, and two that the passes write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Newton {
    pub begin: Vec<(usize, Step)>,
    pub round: Vec<(usize, Step)>,
    pub sides: Vec<[Part; 4]>,
    pub norms: Ref,
    pub cuts: Ref,
}

/// The numbers `d` of a tensor as an array, of one that the optimiser steps in such a metric.
pub(super) fn array(b: &mut Builder<'_>, t: usize, metric: Metric) -> Option<Ref> {
    let d = b.diagonal(t, metric)?;
    let r = b.new_scratch(ValueKind::Float, t);
    b.works[t].set(&r, d);
    Some(r)
}

/// The same of all tensors of some groups.
pub(super) fn arrays(b: &mut Builder<'_>, cuts: &Cuts, metric: Metric) -> Result<Option<Vec<Ref>>, Missing> {
    let all: Vec<Option<Ref>> = cuts.list.iter().map(|c| array(b, c.tensor, metric)).collect();
    if all.iter().all(Option::is_none) {
        return Ok(None);
    }
    match all.into_iter().collect() {
        Some(list) => Ok(Some(list)),
        None => missing("groups of which an update steps a part by itself"),
    }
}

/// The step length of groups by means of `d`: one for each, or one for all where the prox looks at all together.
pub(super) fn step(b: &mut Builder<'_>, cuts: &Cuts, d: &[Ref], n: &Norms, separate: bool) -> Result<Operand, Missing> {
    let mut parts = Vec::new();
    for (c, d) in cuts.list.iter().zip(d) {
        let part = b.part(c);
        let pass = metric_pass(c.grid, MetricWork::Sums, b.core.lanes)?;
        b.works[c.tensor].push(&mut b.passes, pass, vec![d.clone(), part.side.clone()], vec![FoldUse::Ignore]);
        b.flush(&[c.tensor])?;
        parts.push(part);
    }
    let over = S::bin(BinFn::Div, S::Arg(0), S::Arg(1));
    if !separate {
        let slot = b.numbers.slot();
        b.phases.push(Phase::Means { parts, means: Means::All(slot, n.sizes.iter().sum()) });
        return Ok(Operand::Number(b.numbers.expr(over, vec![n.tau, slot])));
    }
    let mean = b.new_scratch(ValueKind::Float, n.list);
    b.phases.push(Phase::Means { parts, means: Means::Groups(mean.clone(), n.sizes.clone()) });
    let w = &mut b.works[n.list];
    let (tau, m) = (w.number(n.tau), w.get(&mean));
    let by = w.map(over, vec![tau, m], DType::F32);
    w.set(&mean, by);
    b.flush(&[n.list])?;
    Ok(Operand::Array(mean))
}

/// The group lasso of groups that lie in several tensors: a root for each group, in rounds of one pass over the tensors.
pub(super) fn shrink(
    b: &mut Builder<'_>,
    (i, over): (usize, usize),
    term: &Term,
    cut: &Body,
    cuts: &Cuts,
    d: &[Ref],
) -> Result<(), Missing> {
    let lanes = b.core.lanes;
    let n = norms(b, (i, over), term, cut, cuts)?;
    let values = List::new(b, i, &n, Operand::Number(n.tau)).values(cut, cut.values.len())?;
    let id = cut.result(&Target::Result).ok_or_else(|| Bug::new("a cut without a result"))?;
    let id = *values.get(id as usize).ok_or_else(|| Bug::new("a result that is not there"))?;
    let of = b.new_scratch(ValueKind::Float, n.list);
    b.works[n.list].set(&of, id);
    b.flush(&[n.list])?;
    let mut newton =
        Newton { begin: Vec::new(), round: Vec::new(), sides: Vec::new(), norms: n.norms.clone(), cuts: of };
    let mut last = Vec::new();
    let pass = |b: &mut Builder<'_>, g: Grid, work, refs| -> Result<Step, Missing> {
        Ok(Step { pass: b.passes.add(metric_pass(g, work, lanes)?), refs, folds: vec![FoldUse::Ignore] })
    };
    for (c, d) in cuts.list.iter().zip(d) {
        let w = b.dense(c.tensor);
        let sides: [Part; 4] = std::array::from_fn(|_| b.part(c));
        let [r, cut, one, two] = [0, 1, 2, 3].map(|k: usize| sides[k].side.clone());
        let refs = vec![w.clone(), d.clone(), cut.clone(), one.clone(), two.clone()];
        newton.begin.push((c.tensor, pass(b, c.grid, MetricWork::Begin, refs)?));
        let refs = vec![w.clone(), d.clone(), r.clone(), cut.clone(), one, two];
        newton.round.push((c.tensor, pass(b, c.grid, MetricWork::Secular, refs)?));
        last.push(vec![w, d.clone(), r, cut]);
        newton.sides.push(sides);
    }
    b.phases.push(Phase::Newton(newton));
    for (c, refs) in cuts.list.iter().zip(last) {
        let p = metric_pass(c.grid, MetricWork::Apply, lanes)?;
        b.works[c.tensor].push(&mut b.passes, p, refs, vec![FoldUse::Ignore]);
    }
    Ok(())
}
