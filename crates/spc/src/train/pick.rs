//! Choices among weights, within a step.
use super::choice::{self, Choice};
use super::run::{Held, Run, spoiled, tensor};
use super::work::Ref;
use spc_base::Bug;
use spc_cpu::{Call, Pool, Slot, Sweeps};
use spc_interp::method::MethodError;
use spc_ir::Require;
use spc_kernel::update::{Keys, Pivot, bracket, bracket_among, pivot, pivot_between};
use std::cmp::Ordering;

/// A choice of the greatest values.
pub(super) struct Top<'a> {
    pub keys: Keys,
    pub by: &'a [Ref],
    pub among: &'a [Option<Ref>],
    pub into: &'a [Ref],
    pub slots: &'a [(usize, usize)],
    pub joint: bool,
}

impl Run<'_, '_, '_> {
    pub(super) fn choose(
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
                    let last = self.ranked(&r);
                    let among = (!hard.is_empty()).then_some(&hard[..]);
                    let masks = choice::reference(&r, &names, &values, among, &last)?;
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

    pub(super) fn threshold(
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
                let (least, place) = bounds(found.as_ref(), Keys::Magnitude, j, part.len(), -1.0);
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

    /// The pivot of the greatest magnitudes of some parts, in one pass over them: a sample tells nearly where it is, and `into`
    /// marks what lies there. None where that fails.
    fn sampled(
        &mut self,
        t: &Top<'_>,
        set: &[usize],
        n: usize,
        (tools, pool): (&Sweeps, &Pool),
    ) -> Result<Option<Pivot>, MethodError> {
        if t.keys != Keys::Magnitude {
            return Ok(None);
        }
        let masked = set.iter().all(|i| t.among[*i].is_some());
        let values: Vec<&[f32]> = set.iter().map(|i| self.floats(&t.by[*i])).collect();
        let masks: Vec<&[u8]> = set.iter().filter_map(|i| t.among[*i].as_ref()).map(|r| self.truths(r)).collect();
        let found = if masked { bracket_among(&values, &masks, n) } else { bracket(&values, n) };
        let Some((low, high)) = found else { return Ok(None) };
        let (mut marks, mut above) = (Vec::new(), 0.0f64);
        for i in set {
            let Held::Bytes(mut inside) = self.take(&t.into[*i]) else {
                return Err(Bug::new("no room for marks").into());
            };
            let w = self.floats(&t.by[*i]);
            let mut slots = vec![Slot::Read(w), Slot::Bytes(&mut inside)];
            slots.extend(t.among[*i].as_ref().map(|a| Slot::ReadBytes(self.truths(a))));
            let call = [Call { pass: if masked { 2 } else { 1 }, slots: (0..slots.len()).collect() }];
            let folds = tools.run(w.len(), &mut slots, &[low, high], &call, pool)?;
            let folds = folds.first().map(Vec::as_slice).unwrap_or_default();
            let fine = folds.iter().skip(1).step_by(2).all(|x| x.is_finite() || *x == f32::NEG_INFINITY);
            above += if fine { folds.iter().step_by(2).map(|x| f64::from(*x)).sum::<f64>() } else { f64::INFINITY };
            marks.push(inside);
        }
        let values: Vec<&[f32]> = set.iter().map(|i| self.floats(&t.by[*i])).collect();
        let found = above
            .is_finite()
            .then(|| pivot_between(&values, &marks.iter().map(Vec::as_slice).collect::<Vec<_>>(), above as usize, n));
        for (i, m) in set.iter().zip(marks) {
            self.give(&t.into[*i], Held::Bytes(m));
        }
        Ok(found.flatten())
    }

    pub(super) fn top(
        &mut self,
        t: &Top<'_>,
        counts: &[f32],
        numbers: &mut [f32],
        with: (&Sweeps, &Pool),
    ) -> Result<(), MethodError> {
        let all: Vec<usize> = (0..t.by.len()).collect();
        let sets = if t.joint { vec![all] } else { all.into_iter().map(|i| vec![i]).collect() };
        for set in sets {
            let n = set.first().and_then(|i| counts.get(*i)).copied().unwrap_or(0.0);
            let n = if n >= 1.0 { n as usize } else { 0 };
            let mut found = self.sampled(t, &set, n, with)?;
            let parts: Vec<&[f32]> = set.iter().map(|i| self.floats(&t.by[*i])).collect();
            if found.is_none() {
                let bad = |(p, index): (usize, usize)| {
                    let weight = self.core.tensors[tensor(&t.by[set[p]])].name.clone();
                    MethodError::NotFinite { what: "the score".into(), weight, index }
                };
                if t.keys == Keys::Value {
                    let nan = |(p, v): (usize, &&[f32])| Some((p, v.iter().position(|x| x.is_nan())?));
                    parts.iter().enumerate().find_map(nan).map_or(Ok(()), |at| Err(bad(at)))?;
                }
                let among: Vec<&[u8]> =
                    set.iter().filter_map(|i| t.among[*i].as_ref()).map(|r| self.truths(r)).collect();
                found = pivot(&parts, &among, t.keys, n).map_err(bad)?;
            }
            for (j, (i, part)) in set.iter().zip(&parts).enumerate() {
                let (least, place) = bounds(found.as_ref(), t.keys, j, part.len(), f32::NEG_INFINITY);
                numbers[t.slots[*i].0] = least;
                numbers[t.slots[*i].1] = f32::from_bits(i32::try_from(place).unwrap_or(i32::MAX) as u32);
            }
        }
        Ok(())
    }

    pub(super) fn count(&mut self, masks: &[Ref], slots: &[usize], joint: bool, numbers: &mut [f32]) {
        let n = |r: &Ref| self.truths(r).iter().map(|b| u64::from(*b)).sum::<u64>();
        let each: Vec<u64> = masks.iter().map(n).collect();
        for (i, s) in slots.iter().enumerate() {
            numbers[*s] = (if joint { each.iter().sum() } else { each[i] }) as f32;
        }
    }
}

/// The least value that is chosen in part `j`, of `len` values, and the place up to which equal ones are; `all` is below every
/// value.
fn bounds(pivot: Option<&Pivot>, keys: Keys, j: usize, len: usize, all: f32) -> (f32, usize) {
    match pivot {
        None => (all, len),
        Some(p) if *p == Pivot::NONE => (f32::INFINITY, 0),
        Some(p) => {
            let place = match (p.cuts, j.cmp(&p.last.0)) {
                (false, _) | (_, Ordering::Less) => len,
                (_, Ordering::Equal) => p.last.1 + 1,
                (_, Ordering::Greater) => 0,
            };
            (keys.float(p.key), place)
        }
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
