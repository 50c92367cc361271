//! Training steps under the rules of a program, in the fixed order: loss terms and backward (outside), gradient hooks, optimiser
//! with decoupled decay, prox or projection, mask weights, mask moments, observers.
use super::body::{Env, take};
use super::cover::{Cover, at};
use super::{Data, MethodError, Optimiser, penalty_prox, penalty_prox_in, penalty_slope};
use crate::Real;
use spc_base::Bug;
use spc_ir::Require;
use spc_ir::method::{
    Body, Compute, Does, Input, Metric, Moment, Penalty, Ratio, Rule, Rules, Schedule, Target, Term, Timing, Update,
    Via, Weighing,
};
use std::collections::BTreeMap;

/// Values by name of weight, row-major.
pub type Tensors<R> = BTreeMap<String, Vec<R>>;

/// How far from the weights `via probe` takes a penalty's gradient.
pub const PROBE: f64 = 0.05;

/// Memory of one rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Memory<R> {
    pub masks: BTreeMap<String, Vec<bool>>,
    pub previous: BTreeMap<String, Vec<bool>>,
    pub states: BTreeMap<String, Data<R>>,
    /// It has acted before.
    pub started: bool,
    /// Its mask never changes any more.
    pub frozen: bool,
}

impl<R> Default for Memory<R> {
    fn default() -> Memory<R> {
        let (masks, previous, states) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Memory { masks, previous, states, started: false, frozen: false }
    }
}

/// Name of the mask of a constraint without an update, and of a frozen one. No name of a program has a blank.
pub(super) const HARD: &str = "kept weights";

/// A number that an update reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub rule: String,
    pub name: String,
    pub value: f64,
}

/// Weights in training. Everything that a step reads or writes beside the gradients is here, so that a saved copy goes on
/// bit for bit.
#[derive(Clone, Debug)]
pub struct Updater<R> {
    rules: Rules,
    covers: Vec<Vec<Cover>>,
    optimiser: Optimiser,
    steps: u64,
    pub(super) done: u64,
    /// Masks of this step are computed.
    pub(super) prepared: bool,
    pub(super) weights: Tensors<R>,
    pub(super) moments: BTreeMap<String, Vec<Vec<R>>>,
    /// Gradients of the step before, of the weights that a constraint ranks by them; empty before the first step.
    pub(super) last: Tensors<R>,
    pub(super) memory: Vec<Memory<R>>,
}

/// What is done with the terms of a penalty over one of its groups, given the masks of their guards.
type OfTerms<'a, R> =
    dyn FnMut(&Penalty, &Cover, &[Option<Vec<bool>>], &mut Tensors<R>) -> Result<(), MethodError> + 'a;

impl<R: Real> Updater<R> {
    /// A run of `steps` steps from these weights.
    ///
    /// # Errors
    /// Weights that rules name and that are not there, of another size, or not finite; a run of no steps; a rule that this
    /// version does not run.
    pub fn new(rules: Rules, weights: Tensors<R>, optimiser: Optimiser, steps: u64) -> Result<Updater<R>, MethodError> {
        if Moment::step(0, steps).is_none() {
            return Err(MethodError::Step { step: 0, steps, next: 0 });
        }
        for (name, v) in &weights {
            if let Some(index) = v.iter().position(|x| !x.to_f64().is_finite()) {
                return Err(MethodError::NotFinite { what: "the value".into(), weight: name.clone(), index });
            }
        }
        let mut covers = Vec::new();
        for r in &rules.list {
            let list = match &r.does {
                Does::Keep { require, .. } => vec![Cover::of(require)?],
                Does::Penalize { over, weighing, .. } => {
                    let none = Weighing::default();
                    let weighed = |(i, r)| Ok(Cover::of(r)?.weighed(weighing.get(i).unwrap_or(&none)));
                    over.iter().enumerate().map(weighed).collect::<Result<_, MethodError>>()?
                }
            };
            for c in &list {
                c.gather(&weights)?;
            }
            covers.push(list);
        }
        let zeros = |v: &Vec<R>| vec![vec![R::ZERO; v.len()]; optimiser.moments()];
        let moments = weights.iter().map(|(n, v)| (n.clone(), zeros(v))).collect();
        let memory = rules.list.iter().map(|_| Memory::default()).collect();
        let last = Tensors::new();
        let mut u =
            Updater { rules, covers, optimiser, steps, done: 0, prepared: false, weights, moments, last, memory };
        for i in 0..u.rules.list.len() {
            u.first(i)?;
        }
        Ok(u)
    }

    pub fn weights(&self) -> &Tensors<R> {
        &self.weights
    }

    pub fn moments(&self) -> &BTreeMap<String, Vec<Vec<R>>> {
        &self.moments
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules.list
    }

    /// Steps taken.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// A mask of a rule's update, by the rule's name and the mask's own.
    pub fn mask(&self, rule: &str, name: &str) -> Option<&[bool]> {
        let i = self.rules.list.iter().position(|r| r.name == rule)?;
        self.memory.get(i)?.masks.get(name).map(Vec::as_slice)
    }

    fn moment(&self) -> Result<Moment, MethodError> {
        Moment::step(self.done, self.steps).filter(|_| self.done < self.steps).ok_or(MethodError::Step {
            step: self.done,
            steps: self.steps,
            next: self.done,
        })
    }

    fn rule(&self, i: usize) -> Result<&Rule, Bug> {
        self.rules.list.get(i).ok_or_else(|| Bug::new("no such rule"))
    }

    fn cover(&self, i: usize) -> Result<&Cover, Bug> {
        self.covers.get(i).and_then(|c| c.first()).ok_or_else(|| Bug::new("a rule without weights"))
    }

    /// First values of states and masks; they are made again when the rule starts.
    fn first(&mut self, i: usize) -> Result<(), MethodError> {
        let n = self.cover(i)?.elements();
        let Does::Keep { update, .. } = &self.rule(i)?.does else { return Ok(()) };
        let mut m = Memory::<R>::default();
        m.masks.insert(HARD.into(), vec![true; n]);
        if let Some(u) = update {
            for mask in &u.masks {
                m.masks.insert(mask.name.clone(), vec![true; n]);
                m.previous.insert(mask.name.clone(), vec![true; n]);
            }
            for s in &u.states {
                let zero = match s.kind {
                    spc_ir::method::Kind::Float => Data::F(vec![R::ZERO; n]),
                    spc_ir::method::Kind::Bool => Data::B(vec![false; n]),
                };
                m.states.insert(s.name.clone(), zero);
            }
        }
        self.memory[i] = m;
        Ok(())
    }

    /// What the program reads instead of the weights at this step: masks that are due are computed first.
    ///
    /// # Errors
    /// A step behind the end; weights that are not finite.
    pub fn forward(&mut self) -> Result<Tensors<R>, MethodError> {
        self.prepare()?;
        let m = self.moment()?;
        let mut view = self.weights.clone();
        for i in self.active(&m) {
            let Does::Keep { require, amounts, update } = &self.rule(i)?.does else { continue };
            let (cover, mem) = (self.cover(i)?, &self.memory[i]);
            let mut w = cover.gather(&view)?;
            if mem.frozen {
                keep(&mut w, &mem.masks[HARD]);
            } else if let Some(body) = update.as_ref().and_then(|u| u.forward.as_ref()) {
                let r = at(require, amounts, &m)?;
                let env = env(cover, r.as_ref(), m, (mem, &self.last), &w, &[], &[], R::ZERO);
                w = floats(env.result(body)?)?;
            }
            cover.scatter(&w, &mut view)?;
        }
        Ok(view)
    }

    /// Numbers of the rules that act at a moment.
    fn active(&self, m: &Moment) -> Vec<usize> {
        let acts =
            |r: &Rule| is_frozen(r, m) || r.active.iter().any(|(from, to)| *from <= m.progress && m.progress < *to);
        self.rules.list.iter().enumerate().filter(|(_, r)| acts(r)).map(|(i, _)| i).collect()
    }

    /// A constraint that ranks by gradients waits until a step has given some: it keeps everything before.
    fn waits(&self, r: &Require) -> bool {
        self.last.is_empty() && reads_gradients(r)
    }

    fn prepare(&mut self) -> Result<(), MethodError> {
        if self.prepared {
            return Ok(());
        }
        let m = self.moment()?;
        for i in self.active(&m) {
            let rule = self.rule(i)?.clone();
            let Does::Keep { require, amounts, update } = &rule.does else { continue };
            if self.waits(require) {
                continue;
            }
            let r = at(require, amounts, &m)?;
            if is_frozen(&rule, &m) {
                self.freeze(i, r.as_ref(), update.as_ref())?;
            } else if let Some(u) = update {
                self.masks(i, r.as_ref(), u, m)?;
            } else {
                self.project(i, r.as_ref(), amounts.iter().any(Option::is_some))?;
            }
            self.memory[i].started = true;
        }
        self.prepared = true;
        Ok(())
    }

    /// A constraint without an update: projected when it begins, and again while its amount falls.
    fn project(&mut self, i: usize, r: Option<&Require>, changes: bool) -> Result<(), MethodError> {
        let Some(r) = r else { return Ok(()) };
        if self.memory[i].started && !changes {
            return Ok(());
        }
        let cover = self.cover(i)?;
        let w = cover.gather(&self.weights)?;
        let mask = cover.select(r, &w, Some(&self.memory[i].masks[HARD]), Some(&self.last))?;
        self.harden(i, mask)
    }

    /// Sets what a mask leaves out to 0, weights and moments, and remembers the mask.
    fn harden(&mut self, i: usize, mask: Vec<bool>) -> Result<(), MethodError> {
        let cover = self.cover(i)?.clone();
        let mut w = cover.gather(&self.weights)?;
        keep(&mut w, &mask);
        cover.scatter(&w, &mut self.weights)?;
        self.each_moment(&cover, |v| {
            keep(v, &mask);
            Ok(())
        })?;
        self.memory[i].masks.insert(HARD.into(), mask);
        Ok(())
    }

    /// Healing: one hard projection on entry; the mask never changes after.
    fn freeze(&mut self, i: usize, r: Option<&Require>, update: Option<&Update>) -> Result<(), MethodError> {
        if self.memory[i].frozen {
            return Ok(());
        }
        let cover = self.cover(i)?;
        let w = cover.gather(&self.weights)?;
        let mem = &self.memory[i];
        let own = update.filter(|u| u.refresh.is_some()).and_then(|u| u.masks.first()).filter(|_| mem.started);
        let mask = match (own, r) {
            // A mask that moves holds the constraint already.
            (Some(m), _) => mem.masks[&m.name].clone(),
            (None, Some(r)) => cover.select(r, &w, Some(&mem.masks[HARD]), Some(&self.last))?,
            (None, None) => mem.masks[HARD].clone(),
        };
        self.harden(i, mask)?;
        self.memory[i].frozen = true;
        Ok(())
    }

    fn masks(&mut self, i: usize, r: Option<&Require>, u: &Update, m: Moment) -> Result<(), MethodError> {
        let cover = self.cover(i)?.clone();
        let w = cover.gather(&self.weights)?;
        if !self.memory[i].started {
            for s in &u.states {
                let n = w.len();
                let first = env(&cover, r, m, (&self.memory[i], &self.last), &w, &[], &[], R::ZERO).result(&s.init)?;
                self.memory[i].states.insert(s.name.clone(), first.spread(n));
            }
        }
        for mask in &u.masks {
            let started = self.memory[i].started;
            let due = match &mask.timing {
                Timing::Always => true,
                Timing::Init => !started,
                Timing::Every { count, until } => {
                    let n = whole(count, &m)?;
                    !started || (m.step.unwrap_or(0).is_multiple_of(n) && before(until.as_ref(), &m)?)
                }
                Timing::At(t) => {
                    let (now, last) = (m.progress.to_f64(), m.step.unwrap_or(0).saturating_sub(1));
                    let then = Moment::step(last, self.steps).map_or(0.0, |m| m.progress.to_f64());
                    let t = share(t, &m)?;
                    !started || (t <= now && then < t)
                }
            };
            if !due {
                continue;
            }
            let new = env(&cover, r, m, (&self.memory[i], &self.last), &w, &[], &[], R::ZERO).result(&mask.rule)?;
            let Data::B(new) = new else { return Err(Bug::new("a mask of numbers").into()) };
            let mem = &mut self.memory[i];
            let old = mem.masks.insert(mask.name.clone(), new.clone());
            mem.previous.insert(mask.name.clone(), old.filter(|_| started).unwrap_or(new));
        }
        Ok(())
    }

    fn each_moment(
        &mut self,
        cover: &Cover,
        mut f: impl FnMut(&mut Vec<R>) -> Result<(), MethodError>,
    ) -> Result<(), MethodError> {
        for k in 0..self.optimiser.moments() {
            let one: Tensors<R> =
                cover.weights().filter_map(|n| Some((n.to_string(), self.moments.get(n)?.get(k)?.clone()))).collect();
            let (mut flat, mut one) = (cover.gather(&one)?, one);
            f(&mut flat)?;
            cover.scatter(&flat, &mut one)?;
            for (n, v) in one {
                if let Some(slot) = self.moments.get_mut(&n).and_then(|m| m.get_mut(k)) {
                    *slot = v;
                }
            }
        }
        Ok(())
    }

    /// Takes the next step. `grads` are with respect to what [`Updater::forward`] gives; weights without a gradient stay.
    ///
    /// # Errors
    /// A step behind the end; gradients for weights that are not there, of another size, or not finite. Then nothing has
    /// changed.
    pub fn step(&mut self, grads: &Tensors<R>, rate: R) -> Result<Vec<Observed>, MethodError> {
        if let Optimiser::Outside { .. } = self.optimiser {
            return Err(MethodError::NotYet { what: "the caller's optimiser in the reference interpreter".into() });
        }
        let mut next = self.clone();
        let seen = next.advance(grads, rate)?;
        *self = next;
        Ok(seen)
    }

    fn advance(&mut self, grads: &Tensors<R>, rate: R) -> Result<Vec<Observed>, MethodError> {
        let m = self.moment()?;
        for (name, g) in grads {
            let w = self.weights.get(name).ok_or_else(|| MethodError::Missing { weight: name.clone() })?;
            if w.len() != g.len() {
                return Err(MethodError::Length {
                    what: format!("the gradient of {name}"),
                    want: w.len(),
                    got: g.len(),
                });
            }
            if let Some(index) = g.iter().position(|x| !x.to_f64().is_finite()) {
                return Err(MethodError::NotFinite { what: "the gradient".into(), weight: name.clone(), index });
            }
        }
        let active = self.active(&m);
        for i in &active {
            for name in self.cover(*i)?.weights() {
                if !grads.contains_key(name) {
                    let (weight, rule) = (name.to_string(), self.rule(*i)?.name.clone());
                    return Err(MethodError::MissingGradient { weight, rule });
                }
            }
        }
        self.prepare()?;
        let raw = grads;
        let mut given = grads.clone();
        // A penalty is a term of the loss, unless it acts by its prox or as a decay.
        for (via, at) in [(Via::Subgrad, 0.0), (Via::Probe, PROBE)] {
            for i in &active {
                self.soft(*i, &m, via, raw, at, &mut |g, s| g + s, &mut given)?;
            }
        }
        for i in &active {
            self.gradient(*i, &m, &mut given)?;
        }
        let before = self.weights.clone();
        let own = self.optimise(&active, &m, &given, rate)?;
        let mut after = std::mem::replace(&mut self.weights, before);
        for i in &active {
            self.soft(*i, &m, Via::Decay, raw, 0.0, &mut |w, s| w - rate * s, &mut after)?;
        }
        self.weights = after;
        for i in &active {
            self.prox(*i, &m, rate, &own)?;
        }
        for i in &active {
            self.after(*i, &m)?;
        }
        for i in &active {
            self.refresh(*i, &m, raw)?;
        }
        for i in &active {
            self.hold(*i)?;
        }
        let mut seen = Vec::new();
        for i in &active {
            self.observe(*i, &m, raw, &mut seen)?;
        }
        self.remember_gradients(raw);
        self.done += 1;
        self.prepared = false;
        Ok(seen)
    }

    fn remember_gradients(&mut self, raw: &Tensors<R>) {
        let ranked = |name: &String| {
            self.rules.list.iter().any(|r| {
                matches!(&r.does, Does::Keep { require, .. }
                    if reads_gradients(require) && require.weights().contains(&name.as_str()))
            })
        };
        self.last = raw.iter().filter(|(n, _)| ranked(n)).map(|(n, g)| (n.clone(), g.clone())).collect();
    }

    /// The update of a rule that acts and is not frozen, with its constraint at this moment.
    fn update(&self, i: usize, m: &Moment) -> Result<Option<(Update, Option<Require>)>, MethodError> {
        match &self.rule(i)?.does {
            Does::Keep { require, amounts, update: Some(u) } if !self.memory[i].frozen => {
                Ok(Some((u.clone(), at(require, amounts, m)?)))
            }
            _ => Ok(None),
        }
    }

    fn gradient(&mut self, i: usize, m: &Moment, grads: &mut Tensors<R>) -> Result<(), MethodError> {
        let Some((u, r)) = self.update(i, m)? else { return Ok(()) };
        let cover = self.cover(i)?;
        for body in [&u.backward, &u.grad].into_iter().flatten() {
            let (w, g) = (cover.gather(&self.weights)?, cover.gather(grads)?);
            let new = env(cover, r.as_ref(), *m, (&self.memory[i], &self.last), &w, &g, &[], R::ZERO).result(body)?;
            cover.scatter(&floats(new)?, grads)?;
        }
        Ok(())
    }

    /// The names of the weights that an update stepped by itself.
    fn optimise(
        &mut self,
        active: &[usize],
        m: &Moment,
        grads: &Tensors<R>,
        rate: R,
    ) -> Result<Vec<String>, MethodError> {
        // A weight is stepped once: by the first update that has a step of its own, else by the optimiser.
        let mut stepped: Vec<String> = Vec::new();
        for i in active {
            let Some((u, r)) = self.update(*i, m)? else { continue };
            let Some(body) = &u.step else { continue };
            let cover = self.cover(*i)?.clone();
            if let Some(twice) = cover.weights().find(|n| stepped.iter().any(|s| s == n)) {
                let what = format!("a second update with a step of its own on `{twice}`");
                return Err(MethodError::NotYet { what });
            }
            stepped.extend(cover.weights().map(str::to_string));
            let (w, g) = (cover.gather(&self.weights)?, cover.gather(grads)?);
            let values = env(&cover, r.as_ref(), *m, (&self.memory[*i], &self.last), &w, &g, &[], rate).run(body)?;
            self.remember(*i, body, &values, w.len())?;
            if body.result(&Target::Weight).is_some() {
                let new = floats(take(values, body, &Target::Weight)?)?;
                cover.scatter(&new, &mut self.weights)?;
            }
        }
        for (name, g) in grads {
            let (Some(w), Some(moments)) = (self.weights.get_mut(name), self.moments.get_mut(name)) else { continue };
            if !stepped.contains(name) {
                self.optimiser.step(self.done, rate, w, g, moments);
            }
        }
        Ok(stepped)
    }

    /// Stores the states and masks that a body assigned.
    fn remember(&mut self, i: usize, body: &Body, values: &[Data<R>], n: usize) -> Result<(), MethodError> {
        for (target, id) in &body.results {
            let v = values.get(*id as usize).cloned().ok_or_else(|| Bug::new("a result that is not there"))?;
            let mem = &mut self.memory[i];
            match (target, v.spread(n)) {
                (Target::State(name), v) => {
                    mem.states.insert(name.clone(), v);
                }
                (Target::Mask(name), Data::B(v)) => {
                    if let Some(old) = mem.masks.insert(name.clone(), v) {
                        mem.previous.insert(name.clone(), old);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The diagonals of the optimiser's metric, of the weights that it stepped; 1 for others. None where it has no such metric.
    fn diagonals(&self, own: &[String]) -> Option<Tensors<R>> {
        let one = |(n, w): (&String, &Vec<R>)| {
            let moments = self.moments.get(n)?;
            let d = self.optimiser.diagonal(self.done, moments)?;
            Some((n.clone(), if own.contains(n) { vec![R::from_f64(1.0); w.len()] } else { d }))
        };
        self.weights.iter().map(one).collect()
    }

    fn prox(&mut self, i: usize, m: &Moment, rate: R, own: &[String]) -> Result<(), MethodError> {
        let Does::Penalize { via: Via::Prox(metric), .. } = &self.rule(i)?.does else { return Ok(()) };
        let d = self.diagonals(own).filter(|_| *metric == Metric::Optimiser);
        let mut all = self.weights.clone();
        self.terms(i, &mut all, &mut |part, cover, inside, all| {
            let mut w = cover.gather(all)?;
            let cover_of = std::slice::from_ref(cover);
            match d.as_ref().filter(|_| !cover.weights().all(|n| own.iter().any(|o| o == n))) {
                Some(d) => penalty_prox_in(part, cover_of, inside, &mut w, &cover.gather(d)?, rate, *m)?,
                None => penalty_prox(part, cover_of, inside, &mut w, rate, *m)?,
            }
            cover.scatter(&w, all)
        })?;
        self.weights = all;
        Ok(())
    }

    /// Calls `f` with the terms of a penalty over each of its groups, the masks of their guards, and the weights.
    fn terms(&self, i: usize, all: &mut Tensors<R>, f: &mut OfTerms<'_, R>) -> Result<(), MethodError> {
        let Does::Penalize { penalty, guards, over, .. } = &self.rule(i)?.does else { return Ok(()) };
        let covers = self.covers.get(i).ok_or_else(|| Bug::new("a rule without weights"))?;
        for (t, cover) in covers.iter().enumerate().take(over.len()) {
            let mut part = penalty.clone();
            part.terms.retain(|x| x.over == t);
            let inside = part.terms.iter().map(|term| guard(term, guards, cover, all));
            let inside = inside.collect::<Result<Vec<_>, _>>()?;
            part.terms.iter_mut().for_each(|x| x.over = 0);
            f(&part, cover, &inside, all)?;
        }
        Ok(())
    }

    /// Joins the subgradient of a penalty that acts by `via` to gradients or to weights. It is taken at the weights, moved by
    /// `at` along the normalised gradient of the program.
    #[allow(clippy::too_many_arguments)]
    fn soft(
        &self,
        i: usize,
        m: &Moment,
        via: Via,
        raw: &Tensors<R>,
        at: f64,
        join: &mut dyn FnMut(R, R) -> R,
        to: &mut Tensors<R>,
    ) -> Result<(), MethodError> {
        if !matches!(&self.rule(i)?.does, Does::Penalize { via: v, .. } if *v == via) {
            return Ok(());
        }
        self.terms(i, &mut self.weights.clone(), &mut |part, cover, inside, all| {
            let mut w = cover.gather(all)?;
            super::rule::along(&mut w, cover, raw, at)?;
            let slope = penalty_slope(part, std::slice::from_ref(cover), inside, &w, *m)?;
            let mut x = cover.gather(to)?;
            x.iter_mut().zip(slope).for_each(|(x, s)| *x = join(*x, s));
            cover.scatter(&x, to)
        })
    }

    fn after(&mut self, i: usize, m: &Moment) -> Result<(), MethodError> {
        let Some((u, r)) = self.update(i, m)? else { return Ok(()) };
        let Some(body) = &u.after else { return Ok(()) };
        let cover = self.cover(i)?.clone();
        let w = cover.gather(&self.weights)?;
        let values = env(&cover, r.as_ref(), *m, (&self.memory[i], &self.last), &w, &[], &[], R::ZERO).run(body)?;
        let new = floats(take(values, body, &Target::Weight)?)?;
        cover.scatter(&new, &mut self.weights)
    }

    fn refresh(&mut self, i: usize, m: &Moment, raw: &Tensors<R>) -> Result<(), MethodError> {
        let Some((u, r)) = self.update(i, m)? else { return Ok(()) };
        let Some(refresh) = &u.refresh else { return Ok(()) };
        let due = match &refresh.timing {
            Timing::Every { count, until } => {
                (m.step.unwrap_or(0) + 1).is_multiple_of(whole(count, m)?) && before(until.as_ref(), m)?
            }
            _ => true,
        };
        if !due {
            return Ok(());
        }
        let (body, cover) = (&refresh.body, self.cover(i)?.clone());
        let (w, g) = (cover.gather(&self.weights)?, cover.gather(raw)?);
        let (mem, last) = (self.memory[i].clone(), self.last.clone());
        let n = w.len();
        if body.result(&Target::Moments).is_some() {
            self.each_moment(&cover, |v| {
                let values = env(&cover, r.as_ref(), *m, (&mem, &last), &w, &g, v, R::ZERO).run(body)?;
                *v = floats(take(values, body, &Target::Moments)?)?;
                Ok(())
            })?;
        }
        // Without moments, what a body says of them is of no weight.
        let none = vec![R::ZERO; n];
        let reads = body.values.iter().any(|v| v.compute == Compute::Input(Input::Moments));
        let moments: &[R] = if reads { &none } else { &[] };
        let values = env(&cover, r.as_ref(), *m, (&mem, &last), &w, &g, moments, R::ZERO).run(body)?;
        self.remember(i, body, &values, n)?;
        if body.result(&Target::Weight).is_some() {
            let new = floats(take(values, body, &Target::Weight)?)?;
            cover.scatter(&new, &mut self.weights)?;
        }
        Ok(())
    }

    /// What a constraint without an update, or a frozen one, leaves out stays 0.
    fn hold(&mut self, i: usize) -> Result<(), MethodError> {
        let hard = match &self.rule(i)?.does {
            Does::Keep { update, .. } => update.is_none() || self.memory[i].frozen,
            Does::Penalize { .. } => false,
        };
        if hard {
            let mask = self.memory[i].masks[HARD].clone();
            self.harden(i, mask)?;
        }
        Ok(())
    }

    fn observe(&self, i: usize, m: &Moment, raw: &Tensors<R>, out: &mut Vec<Observed>) -> Result<(), MethodError> {
        let Some((u, r)) = self.update(i, m)? else { return Ok(()) };
        let cover = self.cover(i)?;
        let (w, g) = (cover.gather(&self.weights)?, cover.gather(raw)?);
        for (name, body) in &u.observers {
            let value =
                env(cover, r.as_ref(), *m, (&self.memory[i], &self.last), &w, &g, &[], R::ZERO).scalar(body)?.to_f64();
            out.push(Observed { rule: self.rule(i)?.name.clone(), name: name.clone(), value });
        }
        Ok(())
    }

    /// The weights as they are deployed: every constraint holds, whether a phase applied it or not.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub fn finish(&self) -> Result<Tensors<R>, MethodError> {
        let mut out = self.weights.clone();
        for (i, rule) in self.rules.list.iter().enumerate() {
            let Does::Keep { require, amounts, update } = &rule.does else { continue };
            let Some(r) = at(require, amounts, &Moment::END.of(self.steps))? else { continue };
            let cover = self.cover(i)?;
            let mut w = cover.gather(&out)?;
            let mem = &self.memory[i];
            let moving = update.as_ref().filter(|u| u.refresh.is_some()).and_then(|u| u.masks.first());
            let own = if mem.frozen { Some(HARD) } else { moving.filter(|_| mem.started).map(|m| m.name.as_str()) };
            if let Some(mask) = own.and_then(|n| mem.masks.get(n)) {
                keep(&mut w, mask);
            }
            if self.waits(require) {
                continue;
            }
            let among: Vec<bool> = w.iter().map(|v| *v != R::ZERO).collect();
            let mask = cover.select(&r, &w, Some(&among), Some(&self.last))?;
            keep(&mut w, &mask);
            cover.scatter(&w, &mut out)?;
        }
        Ok(out)
    }
}

/// Where a term counts: the elements of its groups that its guard lets through.
pub(super) fn guard<R: Real>(
    term: &Term,
    guards: &[(String, Require)],
    cover: &Cover,
    all: &Tensors<R>,
) -> Result<Option<Vec<bool>>, MethodError> {
    let Some(g) = &term.guard else { return Ok(None) };
    let found = guards.iter().find(|(n, _)| *n == g.constraint);
    let (_, r) = found.ok_or_else(|| Bug::new(format!("no constraint `{}`", g.constraint)))?;
    let other = Cover::of(r)?;
    let kept = other.select(r, &other.gather(all)?, None, None)?;
    let mut flags: BTreeMap<String, Vec<bool>> = all.iter().map(|(n, v)| (n.clone(), vec![!g.kept; v.len()])).collect();
    let marks: Vec<bool> = kept.iter().map(|k| *k == g.kept).collect();
    other.scatter(&marks, &mut flags)?;
    Ok(Some(cover.gather(&flags)?))
}

fn reads_gradients(r: &Require) -> bool {
    r.keeps.iter().any(|k| k.score.needs_gradients())
}

fn is_frozen(r: &Rule, m: &Moment) -> bool {
    r.frozen.is_some_and(|f: Ratio| f <= m.progress)
}

/// +0 wherever the mask is false.
fn keep<R: Real>(w: &mut [R], mask: &[bool]) {
    w.iter_mut().zip(mask).filter(|(_, k)| !**k).for_each(|(v, _)| *v = R::ZERO);
}

fn floats<R: Real>(d: Data<R>) -> Result<Vec<R>, MethodError> {
    match d {
        Data::F(v) => Ok(v),
        Data::B(_) => Err(Bug::new("a mask where a number was checked").into()),
    }
}

fn whole(s: &Schedule, m: &Moment) -> Result<u64, MethodError> {
    let q = s.at(m).map_err(|_| Bug::new("a step without the length of its run"))?;
    Ok(if q.value >= 1.0 { q.value as u64 } else { 1 })
}

fn share(s: &Schedule, m: &Moment) -> Result<f64, MethodError> {
    Ok(s.at(m).map_err(|_| Bug::new("a step without the length of its run"))?.value)
}

/// Whether a window that ends at `until` is still open.
fn before(until: Option<&Schedule>, m: &Moment) -> Result<bool, MethodError> {
    match until {
        None => Ok(true),
        Some(s) => {
            let q = s.at(m).map_err(|_| Bug::new("a step without the length of its run"))?;
            Ok(q.exact.map_or(m.progress.to_f64() < q.value, |e| m.progress < e))
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn env<'a, R: Real>(
    cover: &'a Cover,
    require: Option<&'a Require>,
    moment: Moment,
    (mem, last): (&'a Memory<R>, &'a Tensors<R>),
    weight: &'a [R],
    grad: &'a [R],
    moments: &'a [R],
    rate: R,
) -> Env<'a, R> {
    Env {
        cover,
        require,
        last,
        moment,
        weight,
        grad,
        moments,
        rate,
        norms: &[],
        sizes: &[],
        costs: &[],
        energies: &[],
        tau: &[],
        masks: &mem.masks,
        previous: &mem.previous,
        states: &mem.states,
    }
}
