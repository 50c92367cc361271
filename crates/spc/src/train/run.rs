//! Runs the program of a step.
use super::choice;
use super::core::Core;
use super::number::Now;
use super::pick::Top;
use super::program::{By, Phase, Program};
use super::state::State;
use super::work::{FoldUse, Ref, Step};
use spc_base::Bug;
use spc_cpu::{Call, Isa, Pool, Slot, Sweeps};
use spc_interp::method::{MethodError, Observed, constraint_at};
use spc_ir::Require;
use spc_ir::method::{Does, Fold, Moment};
use spc_kernel::update::Kind;
use std::collections::BTreeMap;

/// A program with its machine code.
pub(super) struct Compiled {
    program: Program,
    sweeps: Sweeps,
}

/// The arrays of a step that are not in the state.
pub(super) struct Arrays<'a, 'b> {
    pub params: &'a mut [Option<&'b mut [f32]>],
    pub grads: &'a [Option<&'b [f32]>],
    /// What belongs to the caller's optimiser: gradients for it, and moments.
    pub more: &'a mut BTreeMap<Ref, &'b mut [f32]>,
}

pub(super) struct Run<'a, 'b, 'c> {
    pub core: &'a Core,
    arrays: &'a mut Arrays<'b, 'c>,
    state: &'a mut State,
    floats: BTreeMap<Ref, Vec<f32>>,
    truths: BTreeMap<Ref, Vec<u8>>,
    /// Folds of observers, by observer's fold and part.
    seen: BTreeMap<(usize, usize), Vec<f32>>,
    lists: &'a [usize],
}

/// How many of each `m` a constraint keeps at a moment.
pub(super) fn kept(core: &Core, i: usize, at: &Moment, m: u64) -> Result<f64, Bug> {
    let Some(Does::Keep { require, amounts, .. }) = core.rules.list.get(i).map(|r| &r.does) else {
        return Err(Bug::new("no such constraint"));
    };
    let r = constraint_at(require, amounts, at).map_err(|e| Bug::new(e.to_string()))?;
    match r.as_ref().and_then(|r| r.keeps.last()) {
        Some(k) => Ok(choice::count(k, 0, m)? as f64),
        None => Ok(m as f64),
    }
}

pub(super) fn spoiled(core: &Core, t: usize, v: &[f32]) -> MethodError {
    let index = v.iter().position(|x| !x.is_finite()).unwrap_or(0);
    MethodError::NotFinite { what: "the value".into(), weight: core.tensors[t].name.clone(), index }
}

impl Compiled {
    pub fn new(program: Program, isa: Isa) -> Result<Compiled, Bug> {
        let sweeps = Sweeps::new(program.passes.clone(), isa)?;
        Ok(Compiled { program, sweeps })
    }

    pub fn run(
        &self,
        core: &Core,
        arrays: &mut Arrays<'_, '_>,
        state: &mut State,
        (moment, next, rates): (Moment, Moment, &[f32]),
        pool: &Pool,
    ) -> Result<Vec<Observed>, MethodError> {
        let keep = |i: usize, later: bool, m: u64| kept(core, i, if later { &next } else { &moment }, m);
        let now = Now { moment, next, rates, keep: &keep };
        let mut numbers = Vec::new();
        let mut r = Run {
            core,
            arrays,
            state,
            floats: BTreeMap::new(),
            truths: BTreeMap::new(),
            seen: BTreeMap::new(),
            lists: &self.program.lists,
        };
        for (s, n) in &self.program.scratch {
            match s.kind() {
                Kind::Bytes => _ = r.truths.insert(s.clone(), vec![0; *n]),
                _ => _ = r.floats.insert(s.clone(), vec![0.0; *n]),
            }
        }
        for p in &self.program.phases {
            now.fill(&self.program.numbers, &mut numbers)?;
            match p {
                Phase::Sweep(t, steps) => r.sweep(&self.sweeps, *t, steps, &numbers, pool)?,
                Phase::Choose { by, random, among, weights, into } => {
                    let (require, last) = match by {
                        By::Rule(i, later) => (r.require(*i, if *later { &next } else { &moment })?, Some(*i)),
                        By::Guard(i, k) => match &core.rules.list[*i].does {
                            Does::Penalize { guards, .. } => (guards.get(*k).map(|g| g.1.clone()), None),
                            Does::Keep { .. } => (None, None),
                        },
                    };
                    let require = require.ok_or_else(|| Bug::new("a choice of everything"))?;
                    r.choose(&require, last, *random, *among, weights, into)?;
                }
                Phase::Threshold { by, weights, sets, slots } => {
                    let require = match by {
                        By::Rule(i, later) => r.require(*i, if *later { &next } else { &moment })?,
                        By::Guard(..) => None,
                    };
                    let require = require.ok_or_else(|| Bug::new("a choice of everything"))?;
                    r.threshold(&require, weights, sets, slots, &mut numbers, pool)?;
                }
                Phase::Top { keys, count, by, among, slots, scope } => {
                    let counts: Vec<f32> = count.iter().map(|n| numbers[*n]).collect();
                    let top = Top { keys: *keys, by, among, slots, scope };
                    r.top(&top, &counts, &mut numbers, pool)?;
                }
                Phase::Gather { parts, norms, weights, of } => r.gather(parts, norms, weights, of)?,
                Phase::Scatter { parts, factors } => r.scatter(parts, factors)?,
                Phase::Root { sum, list, less, from, to, slot } => {
                    numbers[*slot] = r.root(sum, r.len(*list), &numbers, (*less, *from, *to))?;
                }
                Phase::Means { parts, means } => r.means(parts, means, &mut numbers)?,
                Phase::Newton(n) => r.newton(n, &self.sweeps, &numbers, pool)?,
                Phase::Folded { fold, id, slot } => numbers[*slot] = r.folded(*fold, *id),
                Phase::Best(b) => r.best(b, &numbers)?,
                Phase::Count { masks, slots, scope } => r.count(masks, slots, scope, &mut numbers),
                Phase::Tally(t) => r.tally(t, &mut numbers),
                Phase::BestWithin(b) => r.best_within(b)?,
                Phase::TallyWithin(t) => r.tally_within(t)?,
                Phase::Prox(p) => r.whole_prox(p, &numbers, moment)?,
                Phase::Slope(s) => r.slope(s, moment)?,
            }
        }
        let mut out = Vec::new();
        for o in &self.program.observers {
            for (slot, fold, first) in &o.folds {
                numbers[*slot] = r.folded(*fold, *first);
            }
        }
        now.fill(&self.program.numbers, &mut numbers)?;
        for o in &self.program.observers {
            let value = f64::from(numbers[o.result]);
            out.push(Observed { rule: core.rules.list[o.rule].name.clone(), name: o.name.clone(), value });
        }
        Ok(out)
    }
}

impl Run<'_, '_, '_> {
    fn require(&self, i: usize, m: &Moment) -> Result<Option<Require>, MethodError> {
        match &self.core.rules.list[i].does {
            Does::Keep { require, amounts, .. } => constraint_at(require, amounts, m),
            Does::Penalize { .. } => Ok(None),
        }
    }

    pub(super) fn set_param(&mut self, t: usize, v: &[f32]) {
        if let Some(p) = self.arrays.params.get_mut(t).and_then(|p| p.as_deref_mut()) {
            p.copy_from_slice(v);
        }
    }

    pub(super) fn gradient(&self, t: usize) -> Option<&[f32]> {
        self.arrays.grads.get(t).copied().flatten()
    }

    /// Takes an array out of where it is kept.
    pub(super) fn take(&mut self, r: &Ref) -> Held {
        match r {
            Ref::Param(_) | Ref::Grad(_) => Held::Outside,
            _ if self.arrays.more.contains_key(r) => Held::Outside,
            _ if r.kind() == Kind::Bytes => {
                let own = self.state.truths.get_mut(r).or_else(|| self.truths.get_mut(r));
                Held::Bytes(own.map(std::mem::take).unwrap_or_default())
            }
            _ => {
                let own = self.state.floats.get_mut(r).or_else(|| self.floats.get_mut(r));
                Held::F32(own.map(std::mem::take).unwrap_or_default())
            }
        }
    }

    pub(super) fn give(&mut self, r: &Ref, h: Held) {
        match h {
            Held::Outside => {}
            Held::Bytes(v) => {
                if let Some(own) = self.state.truths.get_mut(r).or_else(|| self.truths.get_mut(r)) {
                    *own = v;
                }
            }
            Held::F32(v) => {
                if let Some(own) = self.state.floats.get_mut(r).or_else(|| self.floats.get_mut(r)) {
                    *own = v;
                }
            }
        }
    }

    pub(super) fn sweep(
        &mut self,
        sweeps: &Sweeps,
        t: usize,
        steps: &[Step],
        numbers: &[f32],
        pool: &Pool,
    ) -> Result<(), MethodError> {
        let mut refs: Vec<Ref> = Vec::new();
        let mut calls = Vec::new();
        for s in steps {
            let mut slots = Vec::new();
            for r in &s.refs {
                let i = refs.iter().position(|x| x == r).unwrap_or_else(|| {
                    refs.push(r.clone());
                    refs.len() - 1
                });
                slots.push(i);
            }
            calls.push(Call { pass: s.pass, slots });
        }
        let mut held: Vec<Held> = refs.iter().map(|r| self.take(r)).collect();
        let n = self.len(t);
        let mut param = self.arrays.params.get_mut(t).and_then(|p| p.as_deref_mut());
        let mut more: BTreeMap<&Ref, &mut [f32]> = self.arrays.more.iter_mut().map(|(r, v)| (r, &mut **v)).collect();
        let mut slots: Vec<Slot<'_>> = Vec::new();
        for (r, h) in refs.iter().zip(&mut held) {
            slots.push(match h {
                Held::F32(v) => Slot::F32(v),
                Held::Bytes(v) => Slot::Bytes(v),
                Held::Outside => match r {
                    Ref::Grad(t) => Slot::Read(self.arrays.grads[*t].unwrap_or_default()),
                    Ref::Param(_) => Slot::F32(param.take().unwrap_or_default()),
                    _ => Slot::F32(more.remove(r).unwrap_or_default()),
                },
            });
        }
        let done = sweeps.run(n, &mut slots, numbers, &calls, pool);
        drop(slots);
        for (r, h) in refs.iter().zip(held) {
            self.give(r, h);
        }
        for (s, folds) in steps.iter().zip(done?) {
            let width = s.folds.len().max(1);
            for (k, what) in s.folds.iter().enumerate() {
                let mine = folds.iter().skip(k).step_by(width).copied();
                match what {
                    FoldUse::Observe(o, p) => self.seen.entry((*o, *p)).or_default().extend(mine),
                    FoldUse::Ignore => {}
                    FoldUse::Magnitude | FoldUse::Norm => {
                        if mine.into_iter().any(|x| !x.is_finite()) {
                            let v = s.refs.first().map(|r| self.floats(r)).unwrap_or_default();
                            return Err(spoiled(self.core, t, v));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The number of a fold, from what the passes gave.
    fn folded(&self, fold: Fold, id: usize) -> f32 {
        let part = |p: usize| self.seen.get(&(id, p)).map(Vec::as_slice).unwrap_or_default();
        let sum = |p: usize| part(p).iter().map(|x| f64::from(*x)).sum::<f64>();
        match fold {
            Fold::Sum | Fold::Count => sum(0) as f32,
            Fold::Mean => (sum(0) / sum(1)) as f32,
            Fold::Max | Fold::Min => {
                let best = |a: f32, b: f32| if (fold == Fold::Max) == (b > a) { b } else { a };
                let x = part(0).iter().copied().reduce(best).unwrap_or(f32::NAN);
                if x.is_infinite() { f32::NAN } else { x }
            }
        }
    }

    pub(super) fn len(&self, t: usize) -> usize {
        match t.checked_sub(self.core.tensors.len()) {
            None => self.core.tensors[t].len,
            Some(list) => self.lists.get(list).copied().unwrap_or(0),
        }
    }

    pub(super) fn floats(&self, r: &Ref) -> &[f32] {
        match r {
            Ref::Param(t) => self.arrays.params[*t].as_deref().unwrap_or_default(),
            Ref::Grad(t) => self.arrays.grads[*t].unwrap_or_default(),
            _ => self.state.floats.get(r).or_else(|| self.floats.get(r)).map(Vec::as_slice).unwrap_or_default(),
        }
    }

    pub(super) fn truths(&self, r: &Ref) -> &[u8] {
        self.state.truths.get(r).or_else(|| self.truths.get(r)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// An array out of its place.
pub(super) enum Held {
    F32(Vec<f32>),
    Bytes(Vec<u8>),
    /// It belongs to the caller.
    Outside,
}

pub(super) fn tensor(r: &Ref) -> usize {
    match r {
        Ref::Param(t) | Ref::Grad(t) | Ref::Mapped(t) | Ref::Dense(t) | Ref::Moment(_, t) => *t,
        Ref::Mask(_, _, t) | Ref::Previous(_, _, t) | Ref::Float(_, _, t) | Ref::Truth(_, _, t) => *t,
        Ref::Scratch(_, t) | Ref::ScratchTruth(_, t) | Ref::Side(_, t) => *t,
    }
}
