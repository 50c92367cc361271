//! What the passes of one step are, in order, for one situation.
use super::body::Chosen;
use super::core::{Core, HARD};
use super::cuts;
use super::metric::{Means, Newton};
use super::number::{Number, Numbers};
use super::situation::{Now, Part, Situation};
use super::tiles::{BestWithin, TallyWithin};
use super::top::{Best, Tally};
use super::whole::{Prox, Slope};
use super::work::{Env, Missing, Passes, Ref, Source, Step, Work, missing};
use spc_base::Bug;
use spc_interp::method::{Optimiser, PROBE};
use spc_ir::method::{Body, Does, Fold as Folded, Kind, Rule, Target, Update, Via};
use spc_ir::{BinFn, DType, ScalarExpr as S};
use spc_kernel::update::{Keys, NodeId, Pass};
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
    Choose {
        by: By,
        random: Option<u64>,
        among: bool,
        weights: Vec<Ref>,
        into: Vec<Ref>,
    },
    /// The least magnitude that a constraint over whole tensors keeps, and the place in each tensor up to which equal ones stay:
    /// slots of both. The mask is made where it is used.
    Threshold {
        by: By,
        weights: Vec<Ref>,
        sets: Vec<Vec<usize>>,
        slots: Vec<(usize, usize)>,
    },
    /// The greatest values of each scope.
    Top {
        keys: Keys,
        count: Vec<usize>,
        by: Vec<Ref>,
        among: Vec<Option<Ref>>,
        /// Of each tensor: the least value, and the place up to which equal ones are chosen.
        slots: Vec<(usize, usize)>,
        /// Of each tensor; those of one scope are counted together.
        scope: Vec<usize>,
    },
    /// The groups of greatest norm.
    Best(Best),
    /// Norms of groups from sums of squares.
    Gather {
        parts: Vec<cuts::Part>,
        norms: Ref,
        weights: Vec<[f64; 3]>,
        of: [Option<Ref>; 3],
    },
    /// Factors of groups to where tiles are scaled by them.
    Scatter {
        parts: Vec<cuts::Part>,
        factors: Ref,
    },
    /// The root of a sum of clips over a list of groups.
    Root {
        sum: [Operand; 5],
        list: usize,
        less: usize,
        from: usize,
        to: usize,
        slot: usize,
    },
    /// Means of what an optimiser divides steps by, from sums over tiles.
    Means {
        parts: Vec<cuts::Part>,
        means: Means,
    },
    /// Roots of norms in an optimiser's metric.
    Newton(Newton),
    /// A fold over a list of groups, from its parts to its number.
    Folded {
        fold: Folded,
        id: usize,
        slot: usize,
    },
    /// A penalty that the reference takes.
    Prox(Prox),
    Slope(Slope),
    /// How many are true in the scope of each tensor.
    Count {
        masks: Vec<Ref>,
        slots: Vec<usize>,
        scope: Vec<usize>,
    },
    /// How many groups have an element that is true.
    Tally(Tally),
    /// The greatest values of each tile, and how many of each tile are true.
    BestWithin(BestWithin),
    TallyWithin(TallyWithin),
}

/// An array, or one number for all.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Array(Ref),
    Number(usize),
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
    /// What each pass was made of.
    pub sources: Vec<Source>,
    pub phases: Vec<Phase>,
    pub numbers: Vec<Number>,
    pub observers: Vec<Observer>,
    /// Arrays within a step, and their lengths.
    pub scratch: Vec<(Ref, usize)>,
    /// Lengths of lists of groups, which are numbered behind the tensors.
    pub lists: Vec<usize>,
    /// Tensors that must have the same learning rate.
    pub same: Vec<Vec<usize>>,
}

pub(super) struct Builder<'a> {
    pub core: &'a Core,
    pub works: Vec<Work>,
    /// Moments of each weight that masks clear. At the start of a run those of a caller's optimiser are not there yet.
    pub moments: usize,
    /// Tensors whose step the optimiser divides by a number for each weight.
    pub scaled: Vec<bool>,
    pub passes: Passes,
    pub numbers: Numbers,
    pub phases: Vec<Phase>,
    pub scratch: Vec<(Ref, usize)>,
    pub lists: Vec<usize>,
    pub observers: Vec<Observer>,
    pub folds: usize,
    pub same: Vec<Vec<usize>>,
    /// Masks that passes make from a threshold, by the array that stands for them.
    pub chosen: BTreeMap<Ref, Chosen>,
}

/// What a barrier of a body gave, tensor by tensor.
pub(super) type Given = Operand;

pub(super) fn build(core: &Core, s: &Situation) -> Result<Program, Missing> {
    let works = (0..core.tensors.len()).map(Work::new).collect();
    let mut b = Builder {
        core,
        works,
        moments: if s.now.is_some() { core.optimiser.cleared() } else { core.optimiser.moments() },
        scaled: vec![false; core.tensors.len()],
        passes: Passes::default(),
        numbers: Numbers::default(),
        phases: Vec::new(),
        scratch: Vec::new(),
        lists: Vec::new(),
        observers: Vec::new(),
        folds: 0,
        same: Vec::new(),
        chosen: BTreeMap::new(),
    };
    if let Some(now) = &s.now {
        match s.part {
            Part::Before => b.before(now, &s.grads)?,
            part => b.step(now, &s.grads, part)?,
        }
    }
    if let Some(next) = &s.next {
        b.prepare(next)?;
        b.forward(next)?;
    }
    let all: Vec<usize> = (0..b.works.len()).collect();
    b.flush(&all)?;
    Ok(Program {
        passes: b.passes.list,
        sources: b.passes.sources,
        phases: b.phases,
        numbers: b.numbers.list,
        observers: b.observers,
        scratch: b.scratch,
        lists: b.lists,
        same: b.same,
    })
}

/// Which rules act.
fn active(now: &[Now]) -> Vec<bool> {
    now.iter().map(|n| n.active).collect()
}

impl<'a> Builder<'a> {
    pub fn dense(&self, t: usize) -> Ref {
        if self.core.tensors[t].dense { Ref::Dense(t) } else { Ref::Param(t) }
    }

    pub(super) fn weight(&mut self, t: usize) -> NodeId {
        let r = self.dense(t);
        self.works[t].get(&r)
    }

    pub(super) fn set_weight(&mut self, t: usize, n: NodeId) {
        let r = self.dense(t);
        self.works[t].set(&r, n);
    }

    /// Ends the passes of some tensors, so that what they compute is in memory.
    pub fn flush(&mut self, tensors: &[usize]) -> Result<(), Missing> {
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

    pub fn new_scratch(&mut self, kind: Kind, t: usize) -> Ref {
        let id = self.scratch.len();
        let r = if kind == Kind::Bool { Ref::ScratchTruth(id, t) } else { Ref::Scratch(id, t) };
        let n = self.core.tensors.len();
        let len = if t < n { self.core.tensors[t].len } else { self.lists.get(t - n).copied().unwrap_or(0) };
        self.scratch.push((r.clone(), len));
        r
    }

    /// What stands for a mask that is never in memory.
    pub fn new_name(&mut self, t: usize) -> Ref {
        let r = Ref::ScratchTruth(self.scratch.len(), t);
        self.scratch.push((r.clone(), 0));
        r
    }

    /// Numbers for the groups of a tensor.
    pub fn new_side(&mut self, t: usize, len: usize) -> Ref {
        let r = Ref::Side(self.scratch.len(), t);
        self.scratch.push((r.clone(), len));
        r
    }

    /// A list of groups, which is handled as a tensor is.
    pub fn new_list(&mut self, len: usize) -> usize {
        self.works.push(Work::new(self.works.len()));
        self.lists.push(len);
        self.works.len() - 1
    }

    pub(super) fn update(&self, i: usize, now: &[Now]) -> Option<&'a Update> {
        if !now[i].active || now[i].frozen {
            return None;
        }
        self.core.keep(i).and_then(|(_, u)| u)
    }

    pub(super) fn inline(&mut self, t: usize, body: &Body, env: &Env) -> Result<Vec<NodeId>, Missing> {
        self.works[t].inline(body, env, &BTreeMap::new(), body.values.len(), &mut self.numbers)
    }

    pub(super) fn result(&mut self, t: usize, body: &Body, env: &Env, target: &Target) -> Result<NodeId, Missing> {
        let values = self.inline(t, body, env)?;
        let id = body.result(target).ok_or_else(|| Bug::new("a body without its result"))?;
        values.get(id as usize).copied().ok_or_else(|| Bug::new("a result that is not there").into())
    }

    /// The gradients with respect to the weights, from those with respect to what the program reads.
    fn gradients(&mut self, now: &[Now], grads: &[bool]) -> Result<Vec<Option<NodeId>>, Missing> {
        // A penalty is a term of the loss, unless it acts by its prox or as a decay. Slopes end the passes before them.
        let mut slopes = Vec::new();
        for (via, at) in [(Via::Subgrad, 0.0), (Via::Probe, PROBE)] {
            slopes.extend(self.slopes(&active(now), via, at)?);
        }
        let mut given: Vec<Option<NodeId>> = Vec::new();
        for (t, there) in grads.iter().enumerate() {
            given.push(there.then(|| self.works[t].get(&Ref::Grad(t))));
        }
        for (t, slope) in slopes {
            let w = &mut self.works[t];
            let s = w.get(&slope);
            let sum = S::bin(BinFn::Add, S::Arg(0), S::Arg(1));
            given[t] = given[t].map(|g| w.map(sum, vec![g, s], DType::F32));
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
        Ok(given)
    }

    /// Gives the caller's optimiser the weights and their gradients.
    fn before(&mut self, now: &[Now], grads: &[bool]) -> Result<(), Missing> {
        let given = self.gradients(now, grads)?;
        for (t, g) in given.into_iter().enumerate() {
            if let (Some(g), true) = (g, self.core.maps_gradient(t)) {
                self.works[t].set(&Ref::Mapped(t), g);
            }
            if self.core.tensors[t].dense {
                let w = self.weight(t);
                self.works[t].set(&Ref::Param(t), w);
            }
        }
        Ok(())
    }

    /// What the optimiser does, or takes the weights from the caller's.
    fn moved(&mut self, now: &[Now], grads: &[bool], part: Part) -> Result<(), Missing> {
        let n = self.core.tensors.len();
        let decays = |r: &Rule| matches!(&r.does, Does::Penalize { via: Via::Decay, .. });
        if let (Optimiser::Outside { .. }, true) = (self.core.optimiser, self.core.rules.list.iter().any(decays)) {
            return missing("a penalty via decay");
        }
        if part == Part::After {
            for t in (0..n).filter(|t| self.core.tensors[*t].dense) {
                let w = self.works[t].get(&Ref::Param(t));
                self.set_weight(t, w);
            }
            if self.core.optimiser.square().is_some() {
                self.scaled = grads.to_vec();
            }
            return Ok(());
        }
        let decays = self.slopes(&active(now), Via::Decay, 0.0)?;
        let given = self.gradients(now, grads)?;
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
        self.decay(decays);
        Ok(())
    }

    pub(super) fn step(&mut self, now: &[Now], grads: &[bool], part: Part) -> Result<(), Missing> {
        self.moved(now, grads, part)?;
        for (i, n) in now.iter().enumerate() {
            let does = &self.core.rules.list[i].does;
            if let (Does::Penalize { penalty, via: Via::Prox(metric), over, .. }, true) = (does, n.active) {
                self.prox(i, penalty, over, *metric)?;
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
    pub(super) fn assign(&mut self, i: usize, t: usize, body: &Body, values: &[NodeId]) -> Result<(), Missing> {
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

    pub(super) fn keep_previous(&mut self, i: usize, mask: &str, t: usize) {
        if self.core.info[i].previous.iter().any(|p| p == mask) {
            let old = self.works[t].get(&Ref::Mask(i, mask.into(), t));
            self.works[t].set(&Ref::Previous(i, mask.into(), t), old);
        }
    }

    /// Sets what the mask of a hard constraint leaves out to 0, weights and moments.
    pub(super) fn harden(&mut self, i: usize) {
        for t in self.core.info[i].members.clone() {
            let moments = (0..self.moments).map(|k| Ref::Moment(k, t));
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
}
