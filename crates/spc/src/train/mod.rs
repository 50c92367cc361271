//! Training updates as compiled passes: the rules of a program, applied step by step to arrays of the caller.
//!
//! What a step does is fixed by the situation (which rules act, which masks are due); for each situation that occurs the hooks
//! of all rules are joined into as few passes as their meaning allows, and compiled once. Order inside a step: gradient hooks,
//! optimiser with decoupled decay, prox, `after`, `refresh`, mask of hard constraints on weights and moments, observers, then
//! the masks and the view of the next step. The reference interpreter of `spc-interp` is the meaning; see `docs/training.md`.

mod api;
mod body;
mod choice;
mod core;
mod cuts;
mod finish;
mod gpu;
mod gpu_text;
mod groups;
mod halves;
mod lists;
mod log;
mod metric;
mod next;
mod number;
mod optimise;
mod penalty;
mod pick;
mod program;
mod project;
mod run;
mod situation;
mod state;
mod ties;
mod tiles;
mod top;
mod whole;
mod work;

pub use api::UpdatePlan;
pub use gpu::{GpuArgument, GpuArray, GpuLaunch, GpuUpdates, LeftOut};
pub use log::Log as RunLog;
pub use state::State as UpdateState;

use self::core::{Core, Tensor};
use self::run::{Arrays, Compiled};
use self::situation::{Next, Now, Part, Situation};
use self::state::{Flags, State, without_dense};
use self::work::{Missing, Ref};
use spc_base::Bug;
use spc_cpu::{Call, Isa, Pool, Slot, Sweeps};
use spc_interp::method::{MethodError, Observed, Optimiser, Saved, Tensors, Updater};
use spc_ir::method::{Does, Moment, Rules};
use spc_ir::{DType, ScalarExpr, UnFn};
use spc_kernel::update::{Chain, Fold, FoldKind, Kind, Node};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Learning rates of a step.
#[derive(Clone, Copy, Debug)]
pub enum Rates<'a> {
    All(f32),
    /// By name, of every tensor.
    Each(&'a [(&'a str, f32)]),
}

/// The rules of a program, compiled for training runs of one length.
pub struct Plan {
    core: Core,
    isa: Isa,
    pool: Pool,
    /// Why the reference interpreter runs it, where it does.
    reason: Option<String>,
    /// Tensors that must have the same learning rate.
    same: Vec<Vec<usize>>,
    programs: Mutex<BTreeMap<Situation, Arc<Compiled>>>,
    /// Passes of projections, by M.
    projectors: Mutex<BTreeMap<usize, Arc<Sweeps>>>,
    /// Arrays of a state.
    shape: Vec<(work::Ref, usize)>,
    /// The greatest magnitude of a gradient.
    check: Sweeps,
}

impl Plan {
    pub fn new(
        rules: Rules,
        optimiser: Optimiser,
        steps: u64,
        shapes: Vec<(String, Vec<usize>)>,
        isa: Isa,
        threads: usize,
    ) -> Result<Plan, MethodError> {
        if Moment::step(0, steps).is_none() || steps == 0 {
            return Err(MethodError::Step { step: 0, steps, next: 0 });
        }
        let tensor =
            |(name, shape): (String, Vec<usize>)| Tensor { name, len: shape.iter().product(), shape, dense: false };
        let core = Core::new(rules, optimiser, steps, isa.lanes(), shapes.into_iter().map(tensor).collect())?;
        if let (Optimiser::Outside { .. }, Some(rule)) = (core.optimiser, core.steps_itself()) {
            let what = format!("an optimiser of the caller's beside `{rule}`, which takes steps of its own");
            return Err(MethodError::NotYet { what });
        }
        let (reason, same) = match supported(&core) {
            Ok(same) => (None, same),
            Err(Missing::Form(why)) => (Some(why), vec![(0..core.tensors.len()).collect()]),
            Err(Missing::Bug(b)) => return Err(b.into()),
        };
        if let (Optimiser::Outside { .. }, Some(why)) = (core.optimiser, &reason) {
            return Err(MethodError::NotYet { what: format!("an optimiser of the caller's with {why}") });
        }
        let check = Sweeps::new(vec![magnitude(isa.lanes())?], isa)?;
        let shape = State::new(&core).shape();
        Ok(Plan {
            core,
            shape,
            isa,
            pool: Pool::new(threads),
            reason,
            same,
            programs: Mutex::default(),
            projectors: Mutex::default(),
            check,
        })
    }

    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn program(&self, s: &Situation) -> Result<Arc<Compiled>, MethodError> {
        let mut all = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(p) = all.get(s) {
            return Ok(Arc::clone(p));
        }
        let program = program::build(&self.core, s).map_err(|m| match m {
            Missing::Bug(b) => MethodError::Bug(b),
            Missing::Form(what) => MethodError::NotYet { what },
        })?;
        let p = Arc::new(Compiled::new(program, self.isa)?);
        all.insert(s.clone(), Arc::clone(&p));
        Ok(p)
    }

    /// Parameters in the order of the plan's tensors.
    fn params<'a>(&self, given: &'a mut [(&str, &mut [f32])]) -> Result<Vec<Option<&'a mut [f32]>>, MethodError> {
        let mut out: Vec<Option<&'a mut [f32]>> = self.core.tensors.iter().map(|_| None).collect();
        for (name, v) in given.iter_mut() {
            let t = self.core.index(name).ok_or_else(|| MethodError::State {
                name: (*name).into(),
                problem: "is no weight of the plan, or given twice".into(),
            })?;
            let want = self.core.tensors[t].len;
            if v.len() != want {
                return Err(MethodError::Length { what: (*name).into(), want, got: v.len() });
            }
            if out[t].replace(v).is_some() {
                return Err(MethodError::State { name: (*name).into(), problem: "is given twice".into() });
            }
        }
        match out.iter().position(Option::is_none) {
            Some(t) => Err(MethodError::Missing { weight: self.core.tensors[t].name.clone() }),
            None => Ok(out),
        }
    }

    /// Begins a run: `params` are the weights, and become what the program reads in the first step.
    pub fn start(&self, given: &mut [(&str, &mut [f32])]) -> Result<State, MethodError> {
        let mut params = self.params(given)?;
        for (t, p) in self.core.tensors.iter().zip(&params) {
            if let Some(index) = self.spoiled(p.as_deref().unwrap_or_default())? {
                return Err(MethodError::NotFinite { what: "the value".into(), weight: t.name.clone(), index });
            }
        }
        let mut state = State::new(&self.core);
        if self.reason.is_some() {
            let mut u =
                Updater::new(self.core.rules.clone(), self.tensors(&params), self.core.optimiser, self.core.steps)?;
            self.show(&u.forward()?, &mut params);
            state.reference = Some(Box::new(u));
            return Ok(state);
        }
        for (t, p) in params.iter().enumerate() {
            if let (Some(d), Some(p)) = (state.floats.get_mut(&work::Ref::Dense(t)), p) {
                d.copy_from_slice(p);
            }
        }
        let m = Moment::step(0, self.core.steps).ok_or_else(|| Bug::new("a run of no steps"))?;
        let next = situation::next(&self.core, &state, &m)?;
        let s = Situation { grads: vec![false; self.core.tensors.len()], next: Some(next), ..Situation::default() };
        let none = vec![None; self.core.tensors.len()];
        self.act(&s, &mut params, &none, &mut BTreeMap::new(), &mut state, (m, m, &self.no_rates()))?;
        Ok(state)
    }

    fn tensors(&self, params: &[Option<&mut [f32]>]) -> Tensors<f32> {
        let one = |(t, p): (&Tensor, &Option<&mut [f32]>)| (t.name.clone(), p.as_deref().unwrap_or_default().to_vec());
        self.core.tensors.iter().zip(params).map(one).collect()
    }

    fn show(&self, from: &Tensors<f32>, params: &mut [Option<&mut [f32]>]) {
        for (t, p) in self.core.tensors.iter().zip(params) {
            if let (Some(v), Some(p)) = (from.get(&t.name), p) {
                p.copy_from_slice(v);
            }
        }
    }

    fn act(
        &self,
        s: &Situation,
        params: &mut [Option<&mut [f32]>],
        grads: &[Option<&[f32]>],
        more: &mut BTreeMap<Ref, &mut [f32]>,
        state: &mut State,
        when: (Moment, Moment, &[f32]),
    ) -> Result<Vec<Observed>, MethodError> {
        let program = self.program(s)?;
        // One lifetime for both kinds of arrays.
        let mut own: Vec<Option<&mut [f32]>> = params.iter_mut().map(|p| p.as_deref_mut()).collect();
        let mut more: BTreeMap<Ref, &mut [f32]> = more.iter_mut().map(|(r, v)| (r.clone(), &mut **v)).collect();
        let mut arrays = Arrays { params: &mut own, grads, more: &mut more };
        let seen = program.run(&self.core, &mut arrays, state, when, &self.pool)?;
        for (n, f) in s.next.iter().flatten().zip(&mut state.flags) {
            *f = Flags { started: f.started || (n.active && !n.waits), frozen: n.frozen };
        }
        Ok(seen)
    }

    /// Takes step `step`: `params` are what the program read, `grads` the gradients with respect to it; `params` become what
    /// it reads next, and after the last step the weights as they are deployed.
    pub fn update(
        &self,
        step: u64,
        given: &mut [(&str, &mut [f32])],
        grads: &[(&str, &[f32])],
        rates: Rates<'_>,
        state: &mut State,
    ) -> Result<Vec<Observed>, MethodError> {
        self.in_turn(step, state, false)?;
        if let Optimiser::Outside { .. } = self.core.optimiser {
            let what = "a whole step of a plan for the caller's optimiser: take it in two halves".into();
            return Err(MethodError::NotYet { what });
        }
        let mut params = self.params(given)?;
        let (slopes, rates) = (self.gradients(grads)?, self.rates(rates)?);
        let steps = self.core.steps;
        if let Some(u) = &mut state.reference {
            let given = self.core.tensors.iter().zip(&slopes);
            let given = given.filter_map(|(t, g)| Some((t.name.clone(), (*g)?.to_vec()))).collect();
            let seen = u.step(&given, rates.first().copied().unwrap_or(0.0))?;
            state.done += 1;
            let view = if state.done < steps { u.forward()? } else { u.finish()? };
            self.show(&view, &mut params);
            return Ok(seen);
        }
        self.finish_step(Part::Whole, &mut params, &slopes, &mut BTreeMap::new(), &rates, state)
    }

    /// Learning rates in the order of the plan's tensors.
    fn rates(&self, given: Rates<'_>) -> Result<Vec<f32>, MethodError> {
        let list = match given {
            Rates::All(r) => vec![r; self.core.tensors.len()],
            Rates::Each(list) => {
                if let Some((name, _)) = list.iter().find(|(n, _)| self.core.index(n).is_none()) {
                    return Err(MethodError::Missing { weight: (*name).into() });
                }
                let of = |t: &Tensor| list.iter().find(|(n, _)| *n == t.name).map(|(_, r)| *r);
                let all =
                    self.core.tensors.iter().map(|t| {
                        of(t).ok_or_else(|| MethodError::Missing { weight: format!("the rate of {}", t.name) })
                    });
                all.collect::<Result<_, _>>()?
            }
        };
        for set in &self.same {
            let own = |t: &usize| list.get(*t).map(|r| r.to_bits());
            if set.iter().any(|t| own(t) != set.first().and_then(own)) {
                let names: Vec<&str> = set.iter().map(|t| self.core.tensors[*t].name.as_str()).collect();
                let what = format!("several rates for weights that a rule treats together: {}", names.join(", "));
                return Err(MethodError::NotYet { what });
            }
        }
        Ok(list)
    }

    fn no_rates(&self) -> Vec<f32> {
        vec![0.0; self.core.tensors.len()]
    }

    /// This is the next step, and its first half is done or not.
    fn in_turn(&self, step: u64, state: &State, between: bool) -> Result<(), MethodError> {
        let steps = self.core.steps;
        if step != state.done || step >= steps {
            return Err(MethodError::Step { step, steps, next: state.done });
        }
        if state.between != between {
            let problem =
                if between { "has not done the first half of the step" } else { "is between the halves of a step" };
            return Err(MethodError::State { name: "the state".into(), problem: problem.into() });
        }
        self.fits(state)
    }

    /// The rules that act in a step; each has the gradients that it needs.
    fn now(&self, step: u64, slopes: &[Option<&[f32]>], state: &State) -> Result<(Moment, Vec<Now>), MethodError> {
        let m = Moment::step(step, self.core.steps).ok_or_else(|| Bug::new("a step behind the end"))?;
        let now = situation::now(&self.core, state, &m)?;
        for (n, (rule, info)) in now.iter().zip(self.core.rules.list.iter().zip(&self.core.info)) {
            if let (true, Some(t)) = (n.active, info.members.iter().find(|t| slopes[**t].is_none())) {
                let (weight, rule) = (self.core.tensors[*t].name.clone(), rule.name.clone());
                return Err(MethodError::MissingGradient { weight, rule });
            }
        }
        Ok((m, now))
    }

    /// A step, or its second half, and what the program reads next.
    fn finish_step(
        &self,
        part: Part,
        params: &mut [Option<&mut [f32]>],
        slopes: &[Option<&[f32]>],
        more: &mut BTreeMap<Ref, &mut [f32]>,
        rates: &[f32],
        state: &mut State,
    ) -> Result<Vec<Observed>, MethodError> {
        let (step, steps) = (state.done, self.core.steps);
        let (m, now) = self.now(step, slopes, state)?;
        let after = Moment::step(step + 1, steps).ok_or_else(|| Bug::new("a step behind the end"))?;
        let next = if step + 1 < steps { Some(situation::next(&self.core, state, &after)?) } else { None };
        let s = Situation { part, now: Some(now), grads: slopes.iter().map(Option::is_some).collect(), next };
        let seen = self.act(&s, params, slopes, more, state, (m, after, rates))?;
        state.done += 1;
        if state.done == steps {
            let mut weights = self.weights(state, params);
            finish::finish(&self.core, state, &mut weights, Some(slopes))?;
            for (p, w) in params.iter_mut().zip(&weights) {
                if let Some(p) = p {
                    p.copy_from_slice(w);
                }
            }
        }
        Ok(seen)
    }

    /// The weights themselves, where the program reads a view of them.
    fn weights(&self, state: &State, params: &[Option<&mut [f32]>]) -> Vec<Vec<f32>> {
        let own = |t: usize, p: &Option<&mut [f32]>| match state.floats.get(&work::Ref::Dense(t)) {
            Some(d) => d.clone(),
            None => p.as_deref().unwrap_or_default().to_vec(),
        };
        params.iter().enumerate().map(|(t, p)| own(t, p)).collect()
    }

    fn fits(&self, state: &State) -> Result<(), MethodError> {
        let other = state.reference.is_some() != self.reason.is_some() || state.flags.len() != self.core.info.len();
        if other || (state.reference.is_none() && state.shape() != self.shape) {
            let problem = "is of another plan".to_string();
            return Err(MethodError::State { name: "the state".into(), problem });
        }
        Ok(())
    }

    /// The first value that is not finite.
    fn spoiled(&self, v: &[f32]) -> Result<Option<usize>, Bug> {
        let calls = [Call { pass: 0, slots: vec![0] }];
        let tops = self.check.run(v.len(), &mut [Slot::Read(v)], &[], &calls, &self.pool)?;
        let bad = tops.iter().flatten().any(|x| !x.is_finite() && *x != f32::NEG_INFINITY);
        Ok(if bad { v.iter().position(|x| !x.is_finite()) } else { None })
    }

    /// Gradients in the order of the plan's tensors; each is finite.
    fn gradients<'b>(&self, given: &[(&str, &'b [f32])]) -> Result<Vec<Option<&'b [f32]>>, MethodError> {
        let out = self.matched(given)?;
        for (t, v) in self.core.tensors.iter().zip(&out) {
            if let Some(index) = v.map_or(Ok(None), |v| self.spoiled(v))? {
                return Err(MethodError::NotFinite { what: "the gradient".into(), weight: t.name.clone(), index });
            }
        }
        Ok(out)
    }

    /// Gradients in the order of the plan's tensors.
    fn matched<'b>(&self, given: &[(&str, &'b [f32])]) -> Result<Vec<Option<&'b [f32]>>, MethodError> {
        let mut out = vec![None; self.core.tensors.len()];
        for (name, v) in given {
            let t = self.core.index(name).ok_or_else(|| MethodError::Missing { weight: (*name).into() })?;
            let want = self.core.tensors[t].len;
            if v.len() != want {
                return Err(MethodError::Length { what: format!("the gradient of {name}"), want, got: v.len() });
            }
            out[t] = Some(*v);
        }
        Ok(out)
    }

    /// The state as named tensors.
    pub fn save(&self, state: &State) -> Saved<f32> {
        match &state.reference {
            Some(u) => {
                let mut s = u.save();
                for (n, v) in u.weights() {
                    s.tensors.insert(format!("dense/{n}"), spc_interp::method::Data::F(v.clone()));
                }
                s
            }
            None => state.save(&self.core),
        }
    }

    /// A state from named tensors, to go on from.
    pub fn load(&self, saved: &Saved<f32>) -> Result<State, MethodError> {
        if self.reason.is_none() {
            return State::load(&self.core, saved);
        }
        let mut weights = Tensors::new();
        for (n, v) in &saved.tensors {
            if let (Some(n), Some(v)) = (n.strip_prefix("dense/"), v.floats()) {
                weights.insert(n.to_string(), v.to_vec());
            }
        }
        let mut u = Updater::new(self.core.rules.clone(), weights, self.core.optimiser, self.core.steps)?;
        u.restore(&without_dense(saved.clone()))?;
        let mut state = State::new(&self.core);
        state.done = saved.done;
        state.reference = Some(Box::new(u));
        Ok(state)
    }

    /// The same run on a GPU.
    pub fn on_gpu(&self) -> Result<GpuUpdates, MethodError> {
        let shapes: Vec<_> = self.core.tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
        GpuUpdates::new(self.core.rules.clone(), self.core.optimiser, self.core.steps, &shapes)
    }

    /// Shapes by name.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.core.tensors.iter().map(|t| (t.name.as_str(), &t.shape[..]))
    }

    /// How many passes over memory, and of how many arrays, the usual step makes: for people and tests.
    pub fn passes(&self) -> Result<Vec<(String, usize)>, MethodError> {
        self.passes_of(&typical(&self.core, false, false))
    }

    /// The same of a step in which masks move.
    pub fn refresh_passes(&self) -> Result<Vec<(String, usize)>, MethodError> {
        let mut s = typical(&self.core, false, false);
        s.now.iter_mut().flatten().for_each(|n| n.refresh = true);
        s.next.iter_mut().flatten().for_each(|n| n.due.fill(false));
        self.passes_of(&s)
    }

    fn passes_of(&self, s: &Situation) -> Result<Vec<(String, usize)>, MethodError> {
        let program = program::build(&self.core, s).map_err(|_| Bug::new("no program of a plan"))?;
        let count = |p: &program::Phase| match p {
            program::Phase::Sweep(t, steps) => {
                let mut refs: Vec<&work::Ref> = steps.iter().flat_map(|s| &s.refs).collect();
                refs.sort();
                refs.dedup();
                let name = self.core.tensors.get(*t).map_or("groups", |t| t.name.as_str());
                (name.to_string(), refs.len())
            }
            program::Phase::Top { by, .. } => {
                let names = by.iter().filter_map(|r| self.core.tensors.get(run::tensor(r)));
                let names: Vec<&str> = names.map(|t| t.name.as_str()).collect();
                (format!("choice in {}", names.join(", ")), by.len())
            }
            program::Phase::Best(b) => {
                let names = b.parts.iter().filter_map(|p| self.core.tensors.get(run::tensor(&p.weight)));
                let names: Vec<&str> = names.map(|t| t.name.as_str()).collect();
                (format!("choice of groups in {}", names.join(", ")), b.parts.len())
            }
            program::Phase::Count { .. } | program::Phase::Tally(_) | program::Phase::TallyWithin(_) => {
                ("count".to_string(), 0)
            }
            _ => ("choice".to_string(), 0),
        };
        Ok(program.phases.iter().map(count).collect())
    }
}

/// A step in which all rules act.
fn typical(core: &Core, first: bool, frozen: bool) -> Situation {
    let frozen = |i: usize| frozen && core.rules.list[i].frozen.is_some();
    let masks = |i: usize| match &core.rules.list[i].does {
        Does::Keep { update: Some(u), .. } => u.masks.len(),
        _ => 0,
    };
    let n = core.rules.list.len();
    let now = (0..n).map(|i| Now { active: true, frozen: frozen(i), refresh: first }).collect();
    let next = |i: usize| Next {
        active: true,
        started: !first,
        frozen: frozen(i),
        was_frozen: false,
        due: vec![true; masks(i)],
        project: first,
        all: false,
        waits: false,
    };
    let (grads, next) = (vec![true; core.tensors.len()], Some((0..n).map(next).collect()));
    Situation { part: Part::Whole, now: Some(now), grads, next }
}

/// Every hook of every rule has a compiled form.
///
/// Gives the tensors that must have the same learning rate.
fn supported(core: &Core) -> Result<Vec<Vec<usize>>, Missing> {
    let mut same = Vec::new();
    for s in [typical(core, true, false), typical(core, false, false), typical(core, false, true)] {
        same.extend(program::build(core, &s)?.same);
    }
    same.sort();
    same.dedup();
    Ok(same)
}

/// The greatest magnitude of an array, NaN where it has one.
fn magnitude(lanes: usize) -> Result<spc_kernel::update::Pass, Bug> {
    let mut c = Chain::default();
    c.array(Kind::F32);
    let x = c.node(Node::Array(0));
    let value = c.map(ScalarExpr::un(UnFn::Abs, ScalarExpr::Arg(0)), vec![x], DType::F32);
    c.folds.push(Fold { kind: FoldKind::Max, value, guard: None });
    c.pass("magnitude", lanes)
}
