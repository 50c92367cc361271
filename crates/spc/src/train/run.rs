//! Runs the program of a step.
use super::choice::{self, Choice};
use super::core::Core;
use super::groups::Part;
use super::number::Now;
use super::program::{By, Operand, Phase, Program};
use super::state::State;
use super::work::{FoldUse, Ref, Step};
use spc_base::Bug;
use spc_cpu::{Call, Isa, Pool, Slot, Sweeps};
use spc_interp::method::{MethodError, Observed, constraint_at};
use spc_ir::Require;
use spc_ir::method::{Does, Fold, Moment};
use spc_kernel::update::{Keys, Kind, Line, Pivot, bracket, pivot, pivot_between, root_of_lines};
use std::cmp::Ordering;
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

struct Run<'a, 'b, 'c> {
    core: &'a Core,
    arrays: &'a mut Arrays<'b, 'c>,
    state: &'a mut State,
    floats: BTreeMap<Ref, Vec<f32>>,
    truths: BTreeMap<Ref, Vec<u8>>,
    /// Folds of observers, by observer's fold and part.
    seen: BTreeMap<(usize, usize), Vec<f32>>,
    lists: &'a [usize],
}

fn spoiled(core: &Core, t: usize, v: &[f32]) -> MethodError {
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
        (moment, next, rate): (Moment, Moment, f32),
        (tools, pool): (&Sweeps, &Pool),
    ) -> Result<Vec<Observed>, MethodError> {
        let keep = |i: usize, later: bool, m: u64| -> Result<f64, Bug> {
            let at = if later { &next } else { &moment };
            let Some(Does::Keep { require, amounts, .. }) = core.rules.list.get(i).map(|r| &r.does) else {
                return Err(Bug::new("no such constraint"));
            };
            let r = constraint_at(require, amounts, at).map_err(|e| Bug::new(e.to_string()))?;
            match r.as_ref().and_then(|r| r.keeps.last()) {
                Some(k) => Ok(choice::count(k, 0, m)? as f64),
                None => Ok(m as f64),
            }
        };
        let now = Now { moment, next, rate, keep: &keep };
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
                Phase::Threshold { by, weights, into, sets, slots } => {
                    let require = match by {
                        By::Rule(i, later) => r.require(*i, if *later { &next } else { &moment })?,
                        By::Guard(..) => None,
                    };
                    let require = require.ok_or_else(|| Bug::new("a choice of everything"))?;
                    r.threshold(&require, (weights, into), sets, slots, &mut numbers, (tools, pool))?;
                }
                Phase::Top { keys, count, by, among, into, joint } => {
                    let counts: Vec<f32> = count.iter().map(|n| numbers[*n]).collect();
                    r.top(*keys, &counts, by, among, into, *joint)?;
                }
                Phase::Gather { parts, norms, weights, of } => r.gather(parts, norms, weights, of)?,
                Phase::Scatter { parts, factors } => r.scatter(parts, factors)?,
                Phase::Root { sum, list, less, from, to, slot } => {
                    numbers[*slot] = r.root(sum, r.len(*list), &numbers, (*less, *from, *to))?;
                }
                Phase::Folded { fold, id, slot } => numbers[*slot] = r.folded(*fold, *id),
                Phase::Count { masks, slots, joint } => r.count(masks, slots, *joint, &mut numbers),
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

    /// Takes an array out of where it is kept.
    fn take(&mut self, r: &Ref) -> Held {
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

    fn give(&mut self, r: &Ref, h: Held) {
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

    fn sweep(
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

    fn len(&self, t: usize) -> usize {
        match t.checked_sub(self.core.tensors.len()) {
            None => self.core.tensors[t].len,
            Some(list) => self.lists.get(list).copied().unwrap_or(0),
        }
    }

    /// Norms of groups, in f64 from sums of squares; those that are too large or too small for f32 squares again from the
    /// weights.
    fn gather(
        &mut self,
        parts: &[Part],
        norms: &Ref,
        weights: &[[f64; 3]],
        of: &[Option<Ref>; 3],
    ) -> Result<(), MethodError> {
        let Held::F32(mut out) = self.take(norms) else { return Err(Bug::new("norms that are no numbers").into()) };
        let mut sums = vec![0f64; out.len()];
        for p in parts {
            let (w, side) = (self.floats(&p.weight), self.floats(&p.side));
            p.each(self.core.lanes, &mut |group, entry, tile| {
                let x = side.get(entry).copied().unwrap_or(0.0);
                let usual = x > 1e-30 && x < 1e30;
                if let Some(s) = sums.get_mut(group) {
                    *s += if usual { f64::from(x) } else { p.squares(w, tile) };
                }
            });
        }
        for (o, s) in out.iter_mut().zip(&sums) {
            *o = s.sqrt() as f32;
        }
        let bad = out.iter().any(|x| !x.is_finite());
        self.give(norms, Held::F32(out));
        if bad {
            for p in parts {
                let (t, w) = (tensor(&p.weight), self.floats(&p.weight));
                if w.iter().any(|x| !x.is_finite()) {
                    return Err(spoiled(self.core, t, w));
                }
            }
        }
        for (k, r) in of.iter().enumerate() {
            let Some(r) = r else { continue };
            let v = weights.iter().map(|w| w[k] as f32).collect();
            self.give(r, Held::F32(v));
        }
        Ok(())
    }

    fn scatter(&mut self, parts: &[Part], factors: &Ref) -> Result<(), MethodError> {
        let f = self.floats(factors).to_vec();
        for p in parts {
            let Held::F32(mut side) = self.take(&p.side) else { return Err(Bug::new("no factors").into()) };
            let spread = p.spread(self.core.lanes);
            p.each(self.core.lanes, &mut |group, entry, _| {
                if let (Some(to), Some(f)) = (side.get_mut(entry..entry + spread), f.get(group)) {
                    to.fill(*f);
                }
            });
            self.give(&p.side, Held::F32(side));
        }
        Ok(())
    }

    fn root(
        &self,
        sum: &[Operand; 5],
        n: usize,
        numbers: &[f32],
        (less, from, to): (usize, usize, usize),
    ) -> Result<f32, MethodError> {
        let arrays: Vec<(&[f32], f64)> = sum
            .iter()
            .map(|o| match o {
                Operand::Array(r) => (self.floats(r), 0.0),
                Operand::Number(i) => (&[][..], f64::from(numbers[*i])),
            })
            .collect();
        let at = |k: usize, i: usize| arrays[k].0.get(i).map_or(arrays[k].1, |x| f64::from(*x));
        let line = |i| Line { factor: at(0, i), slope: at(1, i), offset: at(2, i), low: at(3, i), high: at(4, i) };
        let number = |i: usize| f64::from(numbers[i]);
        let t = root_of_lines((0..n).map(line), number(less), number(from), number(to));
        Ok(t.ok_or(MethodError::Falls)? as f32)
    }

    fn floats(&self, r: &Ref) -> &[f32] {
        match r {
            Ref::Param(t) => self.arrays.params[*t].as_deref().unwrap_or_default(),
            Ref::Grad(t) => self.arrays.grads[*t].unwrap_or_default(),
            _ => self.state.floats.get(r).or_else(|| self.floats.get(r)).map(Vec::as_slice).unwrap_or_default(),
        }
    }

    fn truths(&self, r: &Ref) -> &[u8] {
        self.state.truths.get(r).or_else(|| self.truths.get(r)).map(Vec::as_slice).unwrap_or_default()
    }

    fn choose(
        &mut self,
        require: &Require,
        rule: Option<usize>,
        random: Option<u64>,
        among: bool,
        weights: &[Ref],
        into: &[Ref],
    ) -> Result<(), MethodError> {
        let mut into_masks: Vec<Held> = into.iter().map(|r| self.take(r)).collect();
        let members: Vec<usize> = weights.iter().map(tensor).collect();
        let result = (|| {
            let mut outs: Vec<&mut Vec<u8>> = Vec::new();
            for (h, t) in into_masks.iter_mut().zip(&members) {
                if let Held::Bytes(v) = h {
                    v.resize(self.core.tensors[*t].len, 1);
                    outs.push(v);
                }
            }
            let values: Vec<&[f32]> = weights.iter().map(|r| self.floats(r)).collect();
            let hard: Vec<Vec<u8>> = match (among, rule) {
                // The masks that are being made are those chosen among.
                (true, Some(_)) => outs.iter().map(|v| v.to_vec()).collect(),
                _ => Vec::new(),
            };
            let hard: Vec<&[u8]> = hard.iter().map(Vec::as_slice).collect();
            let names: Vec<&str> = members.iter().map(|t| self.core.tensors[*t].name.as_str()).collect();
            let choice = match (random, rule) {
                (None, Some(i)) => self.core.info[i].choice.clone(),
                (None, None) => Choice::of(require),
                _ => Choice::Reference,
            };
            match (&choice, require.keeps.last()) {
                (Choice::Sets(sets), Some(k)) => {
                    for set in sets {
                        self.set(k, set, &members, &values, &hard, &mut outs)?;
                    }
                    Ok(())
                }
                _ => {
                    let mut r = require.clone();
                    let ones: Vec<Vec<f32>>;
                    let mut values = values;
                    if let Some(seed) = random {
                        r.keeps.iter_mut().for_each(|k| k.score = spc_ir::Score::Random(seed));
                        ones = values.iter().map(|v| vec![1.0; v.len()]).collect();
                        values = ones.iter().map(Vec::as_slice).collect();
                    }
                    let none = BTreeMap::new();
                    let among = (!hard.is_empty()).then_some(&hard[..]);
                    let masks = choice::reference(&r, &names, &values, among, &none)?;
                    outs.into_iter().zip(masks).for_each(|(o, m)| *o = m);
                    Ok(())
                }
            }
        })();
        for (r, h) in into.iter().zip(into_masks) {
            self.give(r, h);
        }
        result
    }

    /// The pivot of a set of whole tensors. Of many weights a sample tells nearly where it is, and one pass finds it; the masks
    /// that are being made hold what it saw meanwhile.
    fn pivot(
        &mut self,
        (weights, into): (&[Ref], &[Ref]),
        set: &[usize],
        n: usize,
        (tools, pool): (&Sweeps, &Pool),
    ) -> Result<Option<Pivot>, MethodError> {
        let bracket = bracket(&set.iter().map(|m| self.floats(&weights[*m])).collect::<Vec<_>>(), n);
        let mut found = None;
        if let Some((low, high)) = bracket {
            let (mut flags, mut above) = (Vec::new(), 0.0f64);
            for m in set {
                let Held::Bytes(mut inside) = self.take(&into[*m]) else { return Err(Bug::new("no mask").into()) };
                let w = self.floats(&weights[*m]);
                let call = [Call { pass: 1, slots: vec![0, 1] }];
                let mut slots = [Slot::Read(w), Slot::Bytes(&mut inside)];
                let folds = tools.run(w.len(), &mut slots, &[low, high], &call, pool)?;
                let folds = folds.first().map(Vec::as_slice).unwrap_or_default();
                if folds.iter().skip(1).step_by(2).any(|x| !x.is_finite() && *x != f32::NEG_INFINITY) {
                    return Err(spoiled(self.core, tensor(&weights[*m]), w));
                }
                above += folds.iter().step_by(2).map(|x| f64::from(*x)).sum::<f64>();
                flags.push(inside);
            }
            let parts: Vec<&[f32]> = set.iter().map(|m| self.floats(&weights[*m])).collect();
            found = pivot_between(&parts, &flags.iter().map(Vec::as_slice).collect::<Vec<_>>(), above as usize, n);
            for (m, f) in set.iter().zip(flags) {
                self.give(&into[*m], Held::Bytes(f));
            }
        }
        if found.is_some() {
            return Ok(found);
        }
        let parts: Vec<&[f32]> = set.iter().map(|m| self.floats(&weights[*m])).collect();
        pivot(&parts, &[], Keys::Magnitude, n).map_err(|(p, _)| spoiled(self.core, tensor(&weights[set[p]]), parts[p]))
    }

    fn threshold(
        &mut self,
        require: &Require,
        (weights, into): (&[Ref], &[Ref]),
        sets: &[Vec<usize>],
        slots: &[(usize, usize)],
        numbers: &mut [f32],
        with: (&Sweeps, &Pool),
    ) -> Result<(), MethodError> {
        let k = require.keeps.last().ok_or_else(|| Bug::new("a constraint without a sentence"))?;
        for set in sets {
            let groups: usize = set.iter().map(|m| self.floats(&weights[*m]).len()).sum();
            let n = choice::count(k, set.first().copied().unwrap_or(0), groups as u64)? as usize;
            let found = self.pivot((weights, into), set, n, with)?;
            let parts: Vec<&[f32]> = set.iter().map(|m| self.floats(&weights[*m])).collect();
            for (j, (m, part)) in set.iter().zip(&parts).enumerate() {
                let (least, place) = match &found {
                    None => (-1.0, 0),
                    Some(p) if *p == Pivot::NONE => (f32::INFINITY, 0),
                    Some(p) => {
                        let place = match (p.cuts, j.cmp(&p.last.0)) {
                            (false, _) | (_, Ordering::Less) => part.len(),
                            (_, Ordering::Equal) => p.last.1 + 1,
                            (_, Ordering::Greater) => 0,
                        };
                        (f32::from_bits(p.key), place)
                    }
                };
                numbers[slots[*m].0] = least;
                numbers[slots[*m].1] = f32::from_bits(i32::try_from(place).unwrap_or(i32::MAX) as u32);
            }
        }
        Ok(())
    }

    /// The greatest magnitudes of one set of parts.
    fn set(
        &self,
        k: &spc_ir::Keep,
        set: &[choice::Part],
        members: &[usize],
        values: &[&[f32]],
        hard: &[&[u8]],
        outs: &mut [&mut Vec<u8>],
    ) -> Result<(), MethodError> {
        let groups: usize = set.iter().map(|(_, a, b)| b - a).sum();
        let n = choice::count(k, set.first().map_or(0, |p| p.0), groups as u64)? as usize;
        let place = |p: &choice::Part| -> Result<usize, Bug> {
            // Members of the sentence are the tensors in order, each once.
            let name = k.members.get(p.0).map(|m| m.weight.as_str()).unwrap_or_default();
            let at = members.iter().position(|t| self.core.tensors[*t].name == name);
            at.ok_or_else(|| Bug::new("a set of another tensor"))
        };
        let mut places = Vec::new();
        for p in set {
            places.push(place(p)?);
        }
        let parts: Vec<&[f32]> = set.iter().zip(&places).map(|(p, i)| &values[*i][p.1..p.2]).collect();
        let among: Vec<&[u8]> = match hard.is_empty() {
            true => Vec::new(),
            false => set.iter().zip(&places).map(|(p, i)| &hard[*i][p.1..p.2]).collect(),
        };
        let found = match pivot(&parts, &among, Keys::Magnitude, n) {
            Ok(p) => p,
            Err((p, i)) => {
                let (weight, index) = (self.core.tensors[members[places[p]]].name.clone(), set[p].1 + i);
                return Err(MethodError::NotFinite { what: "the value".into(), weight, index });
            }
        };
        for (j, (p, i)) in set.iter().zip(&places).enumerate() {
            let out = &mut outs[*i][p.1..p.2];
            write(out, parts[j], among.get(j).copied(), Keys::Magnitude, found.as_ref(), j);
        }
        Ok(())
    }

    fn top(
        &mut self,
        keys: Keys,
        counts: &[f32],
        by: &[Ref],
        among: &[Option<Ref>],
        into: &[Ref],
        joint: bool,
    ) -> Result<(), MethodError> {
        let mut held: Vec<Held> = into.iter().map(|r| self.take(r)).collect();
        let result = (|| {
            let values: Vec<&[f32]> = by.iter().map(|r| self.floats(r)).collect();
            let allowed: Vec<&[u8]> = among.iter().flatten().map(|r| self.truths(r)).collect();
            let sets: Vec<Vec<usize>> =
                if joint { vec![(0..by.len()).collect()] } else { (0..by.len()).map(|i| vec![i]).collect() };
            for set in sets {
                let parts: Vec<&[f32]> = set.iter().map(|i| values[*i]).collect();
                let allowed: Vec<&[u8]> = set.iter().filter_map(|i| allowed.get(*i).copied()).collect();
                for (i, v) in set.iter().zip(&parts) {
                    if let Some(index) = v.iter().position(|x| x.is_nan()) {
                        let weight = self.core.tensors[tensor(&by[*i])].name.clone();
                        return Err(MethodError::NotFinite { what: "the score".into(), weight, index });
                    }
                }
                let n = counts.get(set[0]).copied().unwrap_or(0.0);
                let n = if n >= 1.0 { n as usize } else { 0 };
                let found = pivot(&parts, &allowed, keys, n).map_err(|_| Bug::new("a score that is no number"))?;
                for (j, i) in set.iter().enumerate() {
                    if let Held::Bytes(out) = &mut held[*i] {
                        write(out, parts[j], allowed.get(j).copied(), keys, found.as_ref(), j);
                    }
                }
            }
            Ok(())
        })();
        for (r, h) in into.iter().zip(held) {
            self.give(r, h);
        }
        result
    }

    fn count(&mut self, masks: &[Ref], slots: &[usize], joint: bool, numbers: &mut [f32]) {
        let n = |r: &Ref| self.truths(r).iter().map(|b| u64::from(*b)).sum::<u64>();
        let each: Vec<u64> = masks.iter().map(n).collect();
        for (i, s) in slots.iter().enumerate() {
            numbers[*s] = (if joint { each.iter().sum() } else { each[i] }) as f32;
        }
    }
}

/// An array out of its place.
enum Held {
    F32(Vec<f32>),
    Bytes(Vec<u8>),
    /// It belongs to the caller.
    Outside,
}

fn tensor(r: &Ref) -> usize {
    match r {
        Ref::Param(t) | Ref::Grad(t) | Ref::Mapped(t) | Ref::Dense(t) | Ref::Moment(_, t) => *t,
        Ref::Mask(_, _, t) | Ref::Previous(_, _, t) | Ref::Float(_, _, t) | Ref::Truth(_, _, t) => *t,
        Ref::Scratch(_, t) | Ref::ScratchTruth(_, t) | Ref::Side(_, t) => *t,
    }
}

/// The mask of one part of what was chosen.
fn write(out: &mut [u8], values: &[f32], among: Option<&[u8]>, keys: Keys, pivot: Option<&Pivot>, part: usize) {
    match pivot {
        None => out.fill(1),
        Some(p) if *p == Pivot::NONE => out.fill(0),
        Some(p) => {
            let key = p.key;
            out.iter_mut().zip(values).for_each(|(o, x)| *o = u8::from(keys.of(*x) >= key));
            if p.cuts {
                // Of equal values those up to a place stay.
                let from = match part.cmp(&p.last.0) {
                    Ordering::Less => values.len(),
                    Ordering::Equal => p.last.1 + 1,
                    Ordering::Greater => 0,
                };
                for (o, x) in out.iter_mut().zip(values).skip(from) {
                    if keys.of(*x) == key {
                        *o = 0;
                    }
                }
            }
        }
    }
    if let Some(a) = among {
        out.iter_mut().zip(a).for_each(|(o, a)| *o &= *a);
    }
}
