//! Penalties without passes of their own: the reference takes their prox or gradient between the passes of a compiled step.
use super::choice;
use super::cuts::cuts;
use super::metric;
use super::number::Number;
use super::program::{Builder, Phase};
use super::run::{Held, Run, spoiled, tensor};
use super::work::{Missing, Ref};
use spc_base::Bug;
use spc_interp::method::{MethodError, Tensors, prox_of_term, slope_of_penalty};
use spc_ir::method::{Body, Compute, Does, Kind, Lift, Metric, Moment, Space, Term, ValueId, Via};
use spc_ir::{BinFn, DType, Require, ScalarExpr as S};

/// The prox of one term of a penalty.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prox {
    pub rule: usize,
    /// Which of the groups, and which of the terms.
    pub term: (usize, usize),
    pub weights: Vec<Ref>,
    /// The optimiser's metric, where it has one: of each weight, 1 where none is said.
    pub d: Vec<Option<Ref>>,
    /// Number of the learning rate.
    pub rate: usize,
}

/// The gradient of a penalty, into arrays of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slope {
    pub rule: usize,
    pub weights: Vec<Ref>,
    pub grads: Vec<Ref>,
    /// How far along the gradient it is taken.
    pub at: f64,
    pub into: Vec<Ref>,
}

/// Whether passes can take a term's prox over groups.
pub(super) fn has_passes(b: &Builder<'_>, term: &Term, r: &Require, metric: Metric) -> bool {
    let Some(body) = &term.prox else { return false };
    let numbers =
        |ids: [ValueId; 3]| ids.iter().all(|i| body.values.get(*i as usize).is_some_and(|v| v.space == Space::Scalar));
    let fine = |c: &Compute, body: &Body| match c {
        Compute::Input(_) | Compute::Map { .. } => true,
        Compute::RootOfClips { less, from, to, .. } => numbers([*less, *from, *to]),
        Compute::Fold { arg, guard: None, .. } => {
            body.values.get(*arg as usize).is_some_and(|v| v.space == Space::Group)
        }
        _ => false,
    };
    let mut steps = cuts(b.core, r).map(|c| c.list.iter().map(|c| b.steps_itself(c.tensor)).collect::<Vec<_>>());
    if let Ok(list) = &mut steps {
        list.dedup();
    }
    // Groups that may share weights have one step length for all in the metric of an optimiser.
    let alone = matches!(term.lift, Lift::Elements | Lift::Groups);
    let scaled = metric == Metric::Optimiser && b.core.optimiser.square().is_some();
    term.guard.is_none()
        && (alone || !scaled)
        && body.values.iter().all(|v| fine(&v.compute, body))
        && steps.is_ok_and(|l| l.len() <= 1)
}

impl Builder<'_> {
    /// Whether an update steps the weights of a tensor by itself.
    fn steps_itself(&self, t: usize) -> bool {
        let own = |i: usize| self.core.keep(i).and_then(|(_, u)| u).is_some_and(|u| u.step.is_some());
        (0..self.core.info.len()).any(|i| self.core.info[i].members.contains(&t) && own(i))
    }

    /// Tensors that the guards of a penalty rank.
    fn guarded(&self, i: usize, tensors: &mut Vec<usize>) -> Result<(), Missing> {
        let Does::Penalize { guards, .. } = &self.core.rules.list[i].does else { return Ok(()) };
        for (_, r) in guards {
            for t in self.core.members(r).map_err(|e| Missing::Form(e.to_string()))? {
                if !tensors.contains(&t) {
                    tensors.push(t);
                }
            }
        }
        Ok(())
    }

    pub(super) fn whole_prox(
        &mut self,
        i: usize,
        term: (usize, usize),
        r: &Require,
        metric: Metric,
    ) -> Result<(), Missing> {
        let members = self.core.members(r).map_err(|e| Missing::Form(e.to_string()))?;
        let d: Vec<Option<Ref>> = members.iter().map(|t| metric::array(self, *t, metric)).collect();
        let mut all = members.clone();
        self.guarded(i, &mut all)?;
        self.flush(&all)?;
        let first = *members.first().ok_or_else(|| Bug::new("a penalty of nothing"))?;
        let rate = self.numbers.add(Number::Rate(first));
        self.same.push(members);
        let weights = all.iter().map(|t| self.dense(*t)).collect();
        self.phases.push(Phase::Prox(Prox { rule: i, term, weights, d, rate }));
        Ok(())
    }

    /// The gradient of a penalty at the weights as they are now, an array for each of its tensors.
    pub(super) fn slope(&mut self, i: usize, at: f64) -> Result<Vec<(usize, Ref)>, Missing> {
        let members = self.core.info[i].members.clone();
        let mut all = members.clone();
        self.guarded(i, &mut all)?;
        self.flush(&all)?;
        let into: Vec<Ref> = members.iter().map(|t| self.new_scratch(Kind::Float, *t)).collect();
        let weights = all.iter().map(|t| self.dense(*t)).collect();
        let grads = if at == 0.0 { Vec::new() } else { members.iter().map(|t| Ref::Grad(*t)).collect() };
        self.phases.push(Phase::Slope(Slope { rule: i, weights, grads, at, into: into.clone() }));
        Ok(members.into_iter().zip(into).collect())
    }

    /// The slopes of all penalties that act in one way, of those that act now.
    pub(super) fn slopes(&mut self, active: &[bool], via: Via, at: f64) -> Result<Vec<(usize, Ref)>, Missing> {
        let mut out = Vec::new();
        for (i, on) in active.iter().enumerate() {
            if *on && matches!(&self.core.rules.list[i].does, Does::Penalize { via: v, .. } if *v == via) {
                out.extend(self.slope(i, at)?);
            }
        }
        Ok(out)
    }

    /// What a penalty takes from the weights beside the optimiser's step: its slope times the learning rate.
    pub(super) fn decay(&mut self, slopes: Vec<(usize, Ref)>) {
        for (t, slope) in slopes {
            let x = self.weight(t);
            let rate = self.numbers.add(Number::Rate(t));
            let w = &mut self.works[t];
            let (s, rate) = (w.get(&slope), w.number(rate));
            let by = S::bin(BinFn::Mul, S::Arg(2), S::Arg(1));
            let new = w.map(S::bin(BinFn::Sub, S::Arg(0), by), vec![x, s, rate], DType::F32);
            self.set_weight(t, new);
        }
    }
}

impl Run<'_, '_, '_> {
    fn named(&self, refs: &[Ref]) -> Tensors<f32> {
        refs.iter().map(|r| (self.core.tensors[tensor(r)].name.clone(), self.floats(r).to_vec())).collect()
    }

    /// Writes arrays back; they must be finite.
    fn put_back(&mut self, refs: &[Ref], all: &Tensors<f32>) -> Result<(), MethodError> {
        for r in refs {
            let Some(v) = all.get(&self.core.tensors[tensor(r)].name) else { continue };
            if v.iter().any(|x| !x.is_finite()) {
                return Err(spoiled(self.core, tensor(r), v));
            }
            if let Ref::Param(t) = r {
                self.set_param(*t, v);
                continue;
            }
            let held = self.take(r);
            self.give(r, if let Held::F32(_) = held { Held::F32(v.clone()) } else { held });
        }
        Ok(())
    }

    pub(super) fn whole_prox(&mut self, p: &Prox, numbers: &[f32], m: Moment) -> Result<(), MethodError> {
        let does = &self.core.rules.list[p.rule].does;
        let mut all = self.named(&p.weights);
        let d: Option<Tensors<f32>> = p.d.iter().any(Option::is_some).then(|| {
            let one = |(w, d): (&Ref, &Option<Ref>)| {
                let t = &self.core.tensors[tensor(w)];
                (t.name.clone(), d.as_ref().map_or_else(|| vec![1.0; t.len], |d| self.floats(d).to_vec()))
            };
            p.weights.iter().zip(&p.d).map(one).collect()
        });
        let rate = numbers.get(p.rate).copied().unwrap_or(0.0);
        prox_of_term(does, p.term, &mut all, d.as_ref(), rate, m)?;
        self.put_back(&p.weights, &all)
    }

    pub(super) fn slope(&mut self, s: &Slope, m: Moment) -> Result<(), MethodError> {
        let does = &self.core.rules.list[s.rule].does;
        let (all, raw) = (self.named(&s.weights), self.named(&s.grads));
        let zero = |r: &Ref| (self.core.tensors[tensor(r)].name.clone(), vec![0.0; self.core.tensors[tensor(r)].len]);
        let mut to: Tensors<f32> = s.into.iter().map(zero).collect();
        slope_of_penalty(does, &all, &raw, s.at, &mut to, m)?;
        self.put_back(&s.into, &to)
    }

    /// The gradients by which a constraint ranks.
    pub(super) fn ranked(&self, r: &Require) -> Tensors<f32> {
        if !choice::reads_gradients(r) {
            return Tensors::new();
        }
        let one = |n: &str| {
            let t = self.core.index(n)?;
            Some((n.to_string(), self.gradient(t)?.to_vec()))
        };
        r.weights().into_iter().filter_map(one).collect()
    }
}
