//! What the passes of one step are, in order, for one situation.
use super::core::{Core, HARD, view};
use super::number::{Number, Numbers};
use super::situation::{Next, Now, Situation};
use super::work::{Env, FoldUse, Missing, Passes, Ref, Step, Work, missing};
use super::{choice, choice::Choice, groups};
use spc_base::Bug;
use spc_interp::method::Optimiser;
use spc_ir::method::{
    Body, Compute, Does, Fold as Folded, Input, Kind, Lift, Penalty, Space, Target, Term, Update, ValueId, Via,
};
use spc_ir::{BinFn, DType, Require, ScalarExpr as S, UnFn};
use spc_kernel::update::{Fold, FoldKind, Keys, NodeId, Pass, nm_pass};
use std::collections::BTreeMap;

/// A constraint that is chosen by.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum By {
    Rule(usize, bool),
    /// The guard of a penalty: the rule, and which of its guards.
    Guard(usize, usize),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// Passes over one tensor.
    Sweep(usize, Vec<Step>),
    /// The weights that a constraint keeps, as masks of its tensors.
    Choose { by: By, random: Option<u64>, among: bool, weights: Vec<Ref>, into: Vec<Ref> },
    /// The greatest values of each tensor, or of all together.
    Top { keys: Keys, count: Vec<usize>, by: Vec<Ref>, among: Vec<Option<Ref>>, into: Vec<Ref>, joint: bool },
    /// How many are true, in each tensor or in all together.
    Count { masks: Vec<Ref>, slots: Vec<usize>, joint: bool },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Observer {
    pub rule: usize,
    pub name: String,
    /// Slots with how parts become their number.
    pub folds: Vec<(usize, Folded, usize)>,
    pub result: usize,
}

pub(super) struct Program {
    pub passes: Vec<Pass>,
    pub phases: Vec<Phase>,
    pub numbers: Vec<Number>,
    pub observers: Vec<Observer>,
    /// Scratch arrays by their number's kind and tensor.
    pub scratch: Vec<Ref>,
}

pub(super) struct Builder<'a> {
    pub core: &'a Core,
    pub works: Vec<Work>,
    pub passes: Passes,
    pub numbers: Numbers,
    pub phases: Vec<Phase>,
    pub scratch: Vec<Ref>,
    observers: Vec<Observer>,
    folds: usize,
}

/// What a barrier of a body gave, tensor by tensor.
enum Given {
    Array(Ref),
    Number(usize),
}

pub(super) fn build(core: &Core, s: &Situation) -> Result<Program, Missing> {
    core.supported()?;
    let works = (0..core.tensors.len()).map(Work::new).collect();
    let mut b = Builder {
        core,
        works,
        passes: Passes::default(),
        numbers: Numbers::default(),
        phases: Vec::new(),
        scratch: Vec::new(),
        observers: Vec::new(),
        folds: 0,
    };
    if let Some(now) = &s.now {
        b.step(now, &s.grads)?;
    }
    if let Some(next) = &s.next {
        b.prepare(next)?;
        b.forward(next)?;
    }
    let all: Vec<usize> = (0..core.tensors.len()).collect();
    b.flush(&all)?;
    Ok(Program {
        passes: b.passes.list,
        phases: b.phases,
        numbers: b.numbers.list,
        observers: b.observers,
        scratch: b.scratch,
    })
}

impl<'a> Builder<'a> {
    pub fn dense(&self, t: usize) -> Ref {
        if self.core.tensors[t].dense { Ref::Dense(t) } else { Ref::Param(t) }
    }

    fn weight(&mut self, t: usize) -> NodeId {
        let r = self.dense(t);
        self.works[t].get(&r)
    }

    fn set_weight(&mut self, t: usize, n: NodeId) {
        let r = self.dense(t);
        self.works[t].set(&r, n);
    }

    /// Ends the passes of some tensors, so that what they compute is in memory.
    fn flush(&mut self, tensors: &[usize]) -> Result<(), Missing> {
        for t in tensors {
            let w = &mut self.works[*t];
            w.flush(&mut self.passes, self.core.lanes)?;
            let steps = std::mem::take(&mut w.steps);
            if !steps.is_empty() {
                self.phases.push(Phase::Sweep(*t, steps));
            }
        }
        Ok(())
    }

    fn new_scratch(&mut self, kind: Kind, t: usize) -> Ref {
        let id = self.scratch.len();
        let r = if kind == Kind::Bool { Ref::ScratchTruth(id, t) } else { Ref::Scratch(id, t) };
        self.scratch.push(r.clone());
        r
    }

    fn update(&self, i: usize, now: &[Now]) -> Option<&'a Update> {
        if !now[i].active || now[i].frozen {
            return None;
        }
        self.core.keep(i).and_then(|(_, u)| u)
    }

    fn inline(&mut self, t: usize, body: &Body, env: &Env) -> Result<Vec<NodeId>, Missing> {
        self.works[t].inline(body, env, &BTreeMap::new(), body.values.len(), &mut self.numbers)
    }

    fn result(&mut self, t: usize, body: &Body, env: &Env, target: &Target) -> Result<NodeId, Missing> {
        let values = self.inline(t, body, env)?;
        let id = body.result(target).ok_or_else(|| Bug::new("a body without its result"))?;
        values.get(id as usize).copied().ok_or_else(|| Bug::new("a result that is not there").into())
    }

    fn step(&mut self, now: &[Now], grads: &[bool]) -> Result<(), Missing> {
        let n = self.core.tensors.len();
        let mut given: Vec<Option<NodeId>> = Vec::new();
        for (t, there) in grads.iter().enumerate() {
            given.push(there.then(|| self.works[t].get(&Ref::Grad(t))));
        }
        for i in 0..now.len() {
            let Some(u) = self.update(i, now) else { continue };
            for body in [&u.backward, &u.grad].into_iter().flatten() {
                for t in self.core.info[i].members.clone() {
                    let weight = Some(self.weight(t));
                    let env = Env { rule: i, weight, grad: given[t], ..Env::default() };
                    given[t] = Some(self.result(t, body, &env, &Target::Result)?);
                }
            }
        }
        let mut stepped = vec![false; n];
        for i in 0..now.len() {
            let Some(u) = self.update(i, now) else { continue };
            let Some(body) = &u.step else { continue };
            for t in self.core.info[i].members.clone() {
                if std::mem::replace(&mut stepped[t], true) {
                    return missing("a second update with a step of its own on one weight");
                }
                let weight = Some(self.weight(t));
                let env = Env { rule: i, weight, grad: given[t], ..Env::default() };
                let values = self.inline(t, body, &env)?;
                self.assign(i, t, body, &values)?;
            }
        }
        for t in 0..n {
            if let (Some(g), false) = (given[t], stepped[t]) {
                self.optimise(t, g);
            }
        }
        for (i, n) in now.iter().enumerate() {
            if let (Does::Penalize { penalty, via, over, .. }, true) = (&self.core.rules.list[i].does, n.active) {
                if *via != Via::Prox {
                    return missing(format!("a penalty via {via}"));
                }
                self.prox(i, penalty, over)?;
            }
        }
        for i in 0..now.len() {
            let Some(u) = self.update(i, now) else { continue };
            let Some(body) = &u.after else { continue };
            for t in self.core.info[i].members.clone() {
                let weight = Some(self.weight(t));
                let new = self.result(t, body, &Env { rule: i, weight, ..Env::default() }, &Target::Weight)?;
                self.set_weight(t, new);
            }
        }
        for i in 0..now.len() {
            if let (Some(u), true) = (self.update(i, now), now[i].refresh)
                && let Some(r) = &u.refresh
            {
                self.refresh(i, &r.body)?;
            }
        }
        for (i, n) in now.iter().enumerate() {
            let hard = self.core.keep(i).is_some_and(|(_, u)| u.is_none() || n.frozen);
            if hard && n.active {
                self.harden(i);
            }
        }
        for i in 0..now.len() {
            let Some(u) = self.update(i, now) else { continue };
            for (name, body) in &u.observers {
                self.observe(i, name, body)?;
            }
        }
        Ok(())
    }

    /// Writes what a body assigns.
    fn assign(&mut self, i: usize, t: usize, body: &Body, values: &[NodeId]) -> Result<(), Missing> {
        for (target, id) in &body.results {
            let v = *values.get(*id as usize).ok_or_else(|| Bug::new("a result that is not there"))?;
            let truth = body.values.get(*id as usize).is_some_and(|v| v.kind == Kind::Bool);
            match target {
                Target::Weight => self.set_weight(t, v),
                Target::State(n) if truth => self.works[t].set(&Ref::Truth(i, n.clone(), t), v),
                Target::State(n) => self.works[t].set(&Ref::Float(i, n.clone(), t), v),
                Target::Mask(n) => {
                    self.keep_previous(i, n, t);
                    self.works[t].set(&Ref::Mask(i, n.clone(), t), v);
                }
                Target::Moments | Target::Result => {}
            }
        }
        Ok(())
    }

    fn keep_previous(&mut self, i: usize, mask: &str, t: usize) {
        if self.core.info[i].previous.iter().any(|p| p == mask) {
            let old = self.works[t].get(&Ref::Mask(i, mask.into(), t));
            self.works[t].set(&Ref::Previous(i, mask.into(), t), old);
        }
    }

    /// As the optimiser of the reference interpreter, operation by operation.
    fn optimise(&mut self, t: usize, g: NodeId) {
        let rate = self.numbers.input(&Input::Rate, false);
        let (dense, numbers, w) = (self.dense(t), &mut self.numbers, &mut self.works[t]);
        let bin = |w: &mut Work, f, a, b| w.map(S::bin(f, S::Arg(0), S::Arg(1)), vec![a, b], DType::F32);
        let (lr, x) = (w.number(rate), w.get(&dense));
        let decayed = |w: &mut Work, numbers: &mut Numbers, decay: f64, step: NodeId| {
            let by = numbers.constant(decay);
            let by = numbers.expr(S::bin(BinFn::Mul, S::Arg(0), S::Arg(1)), vec![rate, by]);
            let by = w.number(by);
            let lost = bin(w, BinFn::Mul, by, x);
            let left = bin(w, BinFn::Sub, x, lost);
            let step = bin(w, BinFn::Mul, lr, step);
            bin(w, BinFn::Sub, left, step)
        };
        let new = match self.core.optimiser {
            Optimiser::Sgd { momentum, weight_decay } => {
                let mut b = g;
                if momentum != 0.0 {
                    let (r, m) = (Ref::Moment(0, t), w.constant(momentum));
                    let old = w.get(&r);
                    let kept = bin(w, BinFn::Mul, m, old);
                    b = bin(w, BinFn::Add, kept, g);
                    w.set(&r, b);
                }
                decayed(w, numbers, weight_decay, b)
            }
            Optimiser::AdamW { beta1, beta2, eps, weight_decay } => {
                let (first, second) = (Ref::Moment(0, t), Ref::Moment(1, t));
                let ema = |w: &mut Work, beta: f64, r: &Ref, square: bool| {
                    let old = w.get(r);
                    let (b, rest) = (w.constant(beta), w.constant(f64::from(1.0 - beta as f32)));
                    let kept = bin(w, BinFn::Mul, b, old);
                    let mut new = bin(w, BinFn::Mul, rest, g);
                    if square {
                        new = bin(w, BinFn::Mul, new, g);
                    }
                    let sum = bin(w, BinFn::Add, kept, new);
                    w.set(r, sum);
                    sum
                };
                let (m, v) = (ema(w, beta1, &first, false), ema(w, beta2, &second, true));
                let fix = [beta1, beta2].map(|b| numbers.add(Number::Correction(b)));
                let (f1, f2) = (w.number(fix[0]), w.number(fix[1]));
                let (m, v) = (bin(w, BinFn::Div, m, f1), bin(w, BinFn::Div, v, f2));
                let root = w.map(S::un(UnFn::Sqrt, S::Arg(0)), vec![v], DType::F32);
                let eps = w.constant(eps);
                let below = bin(w, BinFn::Add, root, eps);
                let step = bin(w, BinFn::Div, m, below);
                decayed(w, numbers, weight_decay, step)
            }
        };
        w.set(&dense, new);
    }

    fn prox(&mut self, i: usize, p: &Penalty, over: &[Require]) -> Result<(), Missing> {
        for (o, r) in over.iter().enumerate() {
            for term in p.terms.iter().filter(|t| t.over == o) {
                let members = self.core.members(r).map_err(|e| Missing::Form(e.to_string()))?;
                if term.lift == Lift::Elements
                    || (term.guard.is_none() && r.keeps.last().is_some_and(choice::of_elements))
                {
                    self.elements(i, term, &members)?;
                } else if term.guard.is_some() {
                    return missing("a guarded penalty of groups");
                } else {
                    groups::prox(self, i, term, r, o)?;
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
        let rate = self.numbers.input(&Input::Rate, false);
        Ok(self.numbers.expr(S::bin(BinFn::Mul, S::Arg(0), S::Arg(1)), vec![rate, c]))
    }

    fn elements(&mut self, i: usize, term: &Term, members: &[usize]) -> Result<(), Missing> {
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
            let w = &mut self.works[*t];
            let (x, tau) = (w.get(&dense), w.number(tau));
            let norms = Some(w.map(S::un(UnFn::Abs, S::Arg(0)), vec![x], DType::F32));
            let env = Env { rule: i, norms, tau: Some(tau), group: [1.0; 3], ..Env::default() };
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

    /// Sets what the mask of a hard constraint leaves out to 0, weights and moments.
    fn harden(&mut self, i: usize) {
        for t in self.core.info[i].members.clone() {
            let moments = (0..self.core.optimiser.moments()).map(|k| Ref::Moment(k, t));
            let list: Vec<Ref> = std::iter::once(self.dense(t)).chain(moments).collect();
            let w = &mut self.works[t];
            let (mask, zero) = (w.get(&Ref::Mask(i, HARD.into(), t)), w.constant(0.0));
            for r in list {
                let x = w.get(&r);
                let x = w.select(mask, x, zero);
                w.set(&r, x);
            }
        }
    }

    fn choose(&mut self, i: usize, next: bool, random: Option<u64>, among: bool, into: &[Ref]) -> Result<(), Missing> {
        let members = self.core.info[i].members.clone();
        if let (Choice::Nm(m), None, false) = (&self.core.info[i].choice, random, among) {
            let n = self.numbers.add(Number::Keep(i, next, *m as u64));
            for (t, into) in members.iter().zip(into) {
                let dense = self.dense(*t);
                let w = &mut self.works[*t];
                w.flush(&mut self.passes, self.core.lanes)?;
                let pass = nm_pass(*m, n, false, self.core.lanes)?;
                w.push(&mut self.passes, pass, vec![dense, into.clone()], vec![FoldUse::Magnitude]);
            }
            return Ok(());
        }
        self.flush(&members)?;
        let weights = members.iter().map(|t| self.dense(*t)).collect();
        self.phases.push(Phase::Choose { by: By::Rule(i, next), random, among, weights, into: into.to_vec() });
        Ok(())
    }

    fn prepare(&mut self, next: &[Next]) -> Result<(), Missing> {
        for (i, n) in next.iter().enumerate() {
            let members = self.core.info[i].members.clone();
            let Some((_, update)) = self.core.keep(i).filter(|_| n.active) else { continue };
            let hard = |t: &usize| Ref::Mask(i, HARD.into(), *t);
            if n.frozen {
                if n.was_frozen {
                    continue;
                }
                let own = update.filter(|u| u.refresh.is_some() && n.started).and_then(|u| u.masks.first());
                match own {
                    Some(m) => {
                        for t in &members {
                            let v = self.works[*t].get(&Ref::Mask(i, m.name.clone(), *t));
                            self.works[*t].set(&hard(t), v);
                        }
                    }
                    None if n.all => {}
                    None => {
                        let into: Vec<Ref> = members.iter().map(hard).collect();
                        // Nothing was left out before, unless the constraint has been hard.
                        let among = update.is_none() && n.started;
                        self.choose(i, true, None, among, &into)?;
                    }
                }
                self.harden(i);
                continue;
            }
            let Some(u) = update else {
                if n.project && !n.all {
                    let into: Vec<Ref> = members.iter().map(hard).collect();
                    self.choose(i, true, None, n.started, &into)?;
                    self.harden(i);
                }
                continue;
            };
            if !n.started {
                for s in &u.states {
                    for t in &members {
                        let weight = Some(self.weight(*t));
                        let v = self.result(
                            *t,
                            &s.init,
                            &Env { rule: i, weight, next: true, ..Env::default() },
                            &Target::Result,
                        )?;
                        let r = match s.kind {
                            Kind::Float => Ref::Float(i, s.name.clone(), *t),
                            Kind::Bool => Ref::Truth(i, s.name.clone(), *t),
                        };
                        self.works[*t].set(&r, v);
                    }
                }
            }
            for (mask, due) in u.masks.iter().zip(&n.due) {
                if *due {
                    self.mask(i, n, &mask.name, &mask.rule)?;
                }
            }
        }
        Ok(())
    }

    /// Computes a mask of an update again.
    fn mask(&mut self, i: usize, n: &Next, name: &str, rule: &Body) -> Result<(), Missing> {
        let members = self.core.info[i].members.clone();
        if n.started {
            members.iter().for_each(|t| self.keep_previous(i, name, *t));
        }
        let into: Vec<Ref> = members.iter().map(|t| Ref::Mask(i, name.into(), *t)).collect();
        let result = rule.result(&Target::Result).and_then(|r| rule.values.get(r as usize));
        let whole = match result.map(|v| &v.compute) {
            Some(Compute::Select) => Some(None),
            Some(Compute::RandomChoice { seed }) => Some(Some(*seed)),
            _ => None,
        };
        match whole {
            Some(_) if n.all => {
                for (t, r) in members.iter().zip(&into) {
                    let yes = self.works[*t].truth(true);
                    self.works[*t].set(r, yes);
                }
            }
            Some(random) => self.choose(i, true, random, false, &into)?,
            None => {
                let given = self.barriers(i, rule, true, n.all)?;
                for (k, t) in members.iter().enumerate() {
                    let values = self.values(i, *t, k, rule, &given, None, true)?;
                    let id = rule.result(&Target::Result).ok_or_else(|| Bug::new("a mask without a rule"))?;
                    let v = *values.get(id as usize).ok_or_else(|| Bug::new("a result that is not there"))?;
                    self.works[*t].set(&into[k], v);
                }
            }
        }
        if !n.started && self.core.info[i].previous.iter().any(|p| p == name) {
            for t in &members {
                let v = self.works[*t].get(&Ref::Mask(i, name.into(), *t));
                self.works[*t].set(&Ref::Previous(i, name.into(), *t), v);
            }
        }
        Ok(())
    }

    /// The values of a body of rule `i` over its member number `k`.
    #[allow(clippy::too_many_arguments)]
    fn values(
        &mut self,
        i: usize,
        t: usize,
        k: usize,
        body: &Body,
        given: &BTreeMap<ValueId, Vec<Given>>,
        moment: Option<usize>,
        next: bool,
    ) -> Result<Vec<NodeId>, Missing> {
        self.values_until(i, t, k, body, given, moment, next, body.values.len())
    }

    #[allow(clippy::too_many_arguments)]
    fn values_until(
        &mut self,
        i: usize,
        t: usize,
        k: usize,
        body: &Body,
        given: &BTreeMap<ValueId, Vec<Given>>,
        moment: Option<usize>,
        next: bool,
        end: usize,
    ) -> Result<Vec<NodeId>, Missing> {
        let dense = self.dense(t);
        let w = &mut self.works[t];
        let mut map = BTreeMap::new();
        for (id, list) in given {
            map.insert(
                *id,
                match list.get(k) {
                    Some(Given::Array(r)) => w.get(r),
                    Some(Given::Number(n)) => w.number(*n),
                    None => return Err(Bug::new("a barrier without a member").into()),
                },
            );
        }
        let reads = |what: &Input| body.values.iter().any(|v| v.compute == Compute::Input(what.clone()));
        let mut env = Env { rule: i, next, ..Env::default() };
        env.weight = Some(w.get(&dense));
        if reads(&Input::Grad) && !next {
            env.grad = Some(w.get(&Ref::Grad(t)));
        }
        if reads(&Input::Moments) {
            env.moments = Some(match moment {
                Some(m) => w.get(&Ref::Moment(m, t)),
                None => w.constant(0.0),
            });
        }
        w.inline(body, &env, &map, end, &mut self.numbers)
    }

    /// Runs what a body needs that looks at more than one weight.
    fn barriers(
        &mut self,
        i: usize,
        body: &Body,
        next: bool,
        all: bool,
    ) -> Result<BTreeMap<ValueId, Vec<Given>>, Missing> {
        let members = self.core.info[i].members.clone();
        let mut given: BTreeMap<ValueId, Vec<Given>> = BTreeMap::new();
        for (id, v) in body.values.iter().enumerate() {
            let slot = id as ValueId;
            match &v.compute {
                Compute::Select | Compute::RandomChoice { .. } => {
                    let into: Vec<Ref> = members.iter().map(|t| self.new_scratch(Kind::Bool, *t)).collect();
                    let random = if let Compute::RandomChoice { seed } = v.compute { Some(seed) } else { None };
                    if all {
                        for (t, r) in members.iter().zip(&into) {
                            let yes = self.works[*t].truth(true);
                            self.works[*t].set(r, yes);
                        }
                    } else {
                        self.choose(i, next, random, false, &into)?;
                    }
                    given.insert(slot, into.into_iter().map(Given::Array).collect());
                }
                Compute::CountPer { mask } => {
                    let joint = self.joint(i)?;
                    let masks = self.arrays(i, body, &given, *mask, next, id)?;
                    self.flush(&members)?;
                    let slots: Vec<usize> = match joint {
                        true => vec![self.numbers.slot(); members.len()],
                        false => members.iter().map(|_| self.numbers.slot()).collect(),
                    };
                    given.insert(slot, slots.iter().map(|s| Given::Number(*s)).collect());
                    self.phases.push(Phase::Count { masks, slots, joint });
                }
                Compute::Top { n, by, among } => {
                    let joint = self.joint(i)?;
                    let mut count = Vec::new();
                    for (k, t) in members.iter().enumerate() {
                        let values = self.values_until(i, *t, k, body, &given, None, next, id)?;
                        let n = *values.get(*n as usize).ok_or_else(|| Bug::new("a count that is not there"))?;
                        let Some(n) = self.works[*t].numbers(n, &mut self.numbers) else {
                            return missing("a count that is no number");
                        };
                        count.push(n);
                    }
                    let (mut by, keys) = self.keyed(i, body, &given, *by, next, id)?;
                    let among = match among {
                        Some(a) => self.arrays(i, body, &given, *a, next, id)?.into_iter().map(Some).collect(),
                        None => vec![None; members.len()],
                    };
                    self.flush(&members)?;
                    let into: Vec<Ref> = members.iter().map(|t| self.new_scratch(Kind::Bool, *t)).collect();
                    given.insert(slot, into.iter().cloned().map(Given::Array).collect());
                    by.truncate(members.len());
                    self.phases.push(Phase::Top { keys, count, by, among, into, joint });
                }
                _ => {}
            }
        }
        Ok(given)
    }

    /// Whether the amount is counted over all tensors together; groups must be single weights.
    fn joint(&self, i: usize) -> Result<bool, Missing> {
        let k = self.core.keep(i).and_then(|(r, _)| r.keeps.last());
        match k.filter(|k| choice::of_elements(k)).map(|k| k.scope) {
            Some(spc_ir::Scope::Model) => Ok(true),
            Some(spc_ir::Scope::Tensor) => Ok(false),
            _ => missing("a choice in a hook over groups, or within tiles or layers"),
        }
    }

    /// A value of a body as arrays in memory, one for each member.
    fn arrays(
        &mut self,
        i: usize,
        body: &Body,
        given: &BTreeMap<ValueId, Vec<Given>>,
        id: ValueId,
        next: bool,
        end: usize,
    ) -> Result<Vec<Ref>, Missing> {
        let kind = body.values.get(id as usize).map_or(Kind::Float, |v| v.kind);
        let mut out = Vec::new();
        for (k, t) in self.core.info[i].members.clone().into_iter().enumerate() {
            let values = self.values_until(i, t, k, body, given, None, next, end)?;
            let n = *values.get(id as usize).ok_or_else(|| Bug::new("a value that is not there"))?;
            out.push(match self.works[t].held(n) {
                Some(r) => r,
                None => {
                    let r = self.new_scratch(kind, t);
                    self.works[t].set(&r, n);
                    r
                }
            });
        }
        Ok(out)
    }

    /// What choices are made by; of the magnitude of an array the array itself.
    fn keyed(
        &mut self,
        i: usize,
        body: &Body,
        given: &BTreeMap<ValueId, Vec<Given>>,
        id: ValueId,
        next: bool,
        end: usize,
    ) -> Result<(Vec<Ref>, Keys), Missing> {
        let magnitude = |c: &Compute| match c {
            Compute::Map { expr: S::Un(UnFn::Abs, x), args } => match **x {
                S::Arg(a) => args.get(usize::from(a)).copied(),
                _ => None,
            },
            _ => None,
        };
        if let Some(of) = body.values.get(id as usize).and_then(|v| magnitude(&v.compute))
            && body.values.get(of as usize).is_some_and(|v| v.space == Space::Element)
        {
            // Magnitudes are ordered by their bits; 0 is the smallest either way.
            return Ok((self.arrays(i, body, given, of, next, end)?, Keys::Magnitude));
        }
        Ok((self.arrays(i, body, given, id, next, end)?, Keys::Value))
    }

    fn refresh(&mut self, i: usize, body: &Body) -> Result<(), Missing> {
        let given = self.barriers(i, body, false, false)?;
        for (k, t) in self.core.info[i].members.clone().into_iter().enumerate() {
            let mut moments = Vec::new();
            if let Some(id) = body.result(&Target::Moments) {
                for m in 0..self.core.optimiser.moments() {
                    let values = self.values(i, t, k, body, &given, Some(m), false)?;
                    moments.push((Ref::Moment(m, t), values[id as usize]));
                }
            }
            let values = self.values(i, t, k, body, &given, None, false)?;
            self.assign(i, t, body, &values)?;
            for (r, v) in moments {
                self.works[t].set(&r, v);
            }
        }
        Ok(())
    }

    fn observe(&mut self, i: usize, name: &str, body: &Body) -> Result<(), Missing> {
        let members = self.core.info[i].members.clone();
        let mut given: BTreeMap<ValueId, Vec<Given>> = BTreeMap::new();
        let mut folds = Vec::new();
        for (id, v) in body.values.iter().enumerate() {
            let Compute::Fold { fold, arg, guard } = &v.compute else { continue };
            let slot = self.numbers.slot();
            let first = self.folds;
            for (k, t) in members.iter().enumerate() {
                let values = self.values_until(i, *t, k, body, &given, None, false, id)?;
                let of = |a: &ValueId| {
                    let element = body.values.get(*a as usize).is_some_and(|v| v.space == Space::Element);
                    values.get(*a as usize).copied().filter(|_| element)
                };
                let Some(value) = of(arg) else { return missing("an observer of groups") };
                let guard = match guard {
                    Some(g) => match of(g) {
                        Some(g) => Some(g),
                        None => return missing("an observer of groups"),
                    },
                    None => None,
                };
                let kinds: &[FoldKind] = match fold {
                    Folded::Sum => &[FoldKind::Sum],
                    Folded::Mean => &[FoldKind::Sum, FoldKind::Count],
                    Folded::Max => &[FoldKind::Max],
                    Folded::Min => &[FoldKind::Min],
                    Folded::Count => &[FoldKind::Count],
                };
                for (part, kind) in kinds.iter().enumerate() {
                    let counted = *fold == Folded::Mean && part == 1;
                    let value = if counted { self.works[*t].truth(true) } else { value };
                    self.works[*t].fold(Fold { kind: *kind, value, guard }, FoldUse::Observe(first, part));
                }
            }
            self.folds += 1;
            folds.push((slot, *fold, first));
            given.insert(id as ValueId, members.iter().map(|_| Given::Number(slot)).collect());
        }
        let t = *members.first().ok_or_else(|| Bug::new("a rule without weights"))?;
        let values = self.values(i, t, 0, body, &given, None, false)?;
        let id = body.result(&Target::Result).ok_or_else(|| Bug::new("an observer of nothing"))?;
        let result = values.get(id as usize).and_then(|n| self.works[t].numbers(*n, &mut self.numbers));
        let Some(result) = result else { return missing("an observer that is no number") };
        self.observers.push(Observer { rule: i, name: name.into(), folds, result });
        Ok(())
    }

    /// What the program reads in the next step.
    fn forward(&mut self, next: &[Next]) -> Result<(), Missing> {
        let mut now: BTreeMap<usize, NodeId> = BTreeMap::new();
        for t in 0..self.core.tensors.len() {
            if self.core.tensors[t].dense {
                let v = self.works[t].get(&Ref::Dense(t));
                now.insert(t, v);
            }
        }
        for (i, _) in next.iter().enumerate().filter(|(_, n)| n.active && !n.frozen) {
            let Some((_, Some(u))) = self.core.keep(i) else { continue };
            let Some(body) = view(u) else { continue };
            for t in self.core.info[i].members.clone() {
                let env = Env { rule: i, weight: now.get(&t).copied(), next: true, ..Env::default() };
                let v = self.result(t, body, &env, &Target::Result)?;
                now.insert(t, v);
            }
        }
        for (t, v) in now {
            self.works[t].set(&Ref::Param(t), v);
        }
        Ok(())
    }
}
