//! Proxes of penalties of single weights; which form others have.
use super::number::Number;
use super::program::{Builder, By, Phase};
use super::work::{Env, Missing, Ref, missing};
use super::{choice, groups, whole};
use spc_base::Bug;
use spc_ir::method::{Does, Kind, Lift, Metric, Penalty, Target, Term};
use spc_ir::{BinFn, DType, Require, ScalarExpr as S, UnFn};
use std::collections::BTreeMap;

impl Builder<'_> {
    pub(super) fn prox(&mut self, i: usize, p: &Penalty, over: &[Require], metric: Metric) -> Result<(), Missing> {
        for (o, r) in over.iter().enumerate() {
            for (k, term) in p.terms.iter().enumerate().filter(|(_, t)| t.over == o) {
                let members = self.core.members(r).map_err(|e| Missing::Form(e.to_string()))?;
                if term.lift == Lift::Elements
                    || (term.guard.is_none() && r.keeps.last().is_some_and(choice::of_elements))
                {
                    self.elements(i, term, &members, metric)?;
                } else if whole::has_passes(self, term, r, metric) {
                    groups::prox(self, i, term, r, o, metric)?;
                } else {
                    self.whole_prox(i, (o, k), r, metric)?;
                }
            }
        }
        Ok(())
    }

    /// The step length of a term's prox: learning rate times weight.
    pub fn tau(&mut self, i: usize, term: &Term, t: usize) -> Result<usize, Missing> {
        let weight = self.result(t, &term.weight, &Env { rule: i, ..Env::default() }, &Target::Result)?;
        let c = self.works[t].numbers(weight, &mut self.numbers);
        let Some(c) = c else { return missing("a weight of a penalty that is no number") };
        let rate = self.numbers.add(Number::Rate(t));
        Ok(self.numbers.expr(S::bin(BinFn::Mul, S::Arg(0), S::Arg(1)), vec![rate, c]))
    }

    pub(super) fn elements(&mut self, i: usize, term: &Term, members: &[usize], metric: Metric) -> Result<(), Missing> {
        let prox = term.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
        let mut guards: BTreeMap<usize, Ref> = BTreeMap::new();
        if let (Some(g), Does::Penalize { guards: list, .. }) = (&term.guard, &self.core.rules.list[i].does) {
            let k = list.iter().position(|(n, _)| *n == g.constraint).ok_or_else(|| Bug::new("no such constraint"))?;
            let tensors = self.core.members(&list[k].1).map_err(|e| Missing::Form(e.to_string()))?;
            self.flush(&tensors)?;
            let into: Vec<Ref> = tensors.iter().map(|t| self.new_scratch(Kind::Bool, *t)).collect();
            let weights = tensors.iter().map(|t| self.dense(*t)).collect();
            guards = tensors.iter().copied().zip(into.iter().cloned()).collect();
            self.phases.push(Phase::Choose { by: By::Guard(i, k), random: None, among: false, weights, into });
        }
        for t in members {
            let tau = self.tau(i, term, *t)?;
            let dense = self.dense(*t);
            let d = self.diagonal(*t, metric);
            let w = &mut self.works[*t];
            let (x, tau) = (w.get(&dense), w.number(tau));
            let step = match d {
                Some(d) => w.map(S::bin(BinFn::Div, S::Arg(0), S::Arg(1)), vec![tau, d], DType::F32),
                None => tau,
            };
            let norms = Some(w.map(S::un(UnFn::Abs, S::Arg(0)), vec![x], DType::F32));
            let one = Some(w.constant(1.0));
            let env = Env { rule: i, norms, tau: Some(step), group: [one; 3], ..Env::default() };
            let to = self.result(*t, prox, &env, &Target::Result)?;
            let w = &mut self.works[*t];
            // The sign stays; what goes to 0, and 0 itself, is +0; with a step of 0 nothing changes.
            let zero = |n| S::bin(BinFn::Eq, S::Arg(n), S::Const(0.0));
            let signed = S::select(S::bin(BinFn::Lt, S::Arg(0), S::Const(0.0)), S::un(UnFn::Neg, S::Arg(1)), S::Arg(1));
            let gone = S::bin(BinFn::Or, zero(1), zero(0));
            let new = S::select(zero(2), S::Arg(0), S::select(gone, S::Const(0.0), signed));
            let mut new = w.map(new, vec![x, to, tau], DType::F32);
            if let Some(g) = &term.guard {
                // Outside of the constraint's tensors nothing is kept or left out.
                let kept = guards.get(t).map(|r| w.get(r));
                new = match (kept, g.kept) {
                    (Some(k), true) => w.select(k, new, x),
                    (Some(k), false) => w.select(k, x, new),
                    (None, true) => x,
                    (None, false) => new,
                };
            }
            w.set(&dense, new);
        }
        Ok(())
    }
}
