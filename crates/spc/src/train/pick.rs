//! Choices among weights, within a step.
use super::choice::{self, Choice};
use super::run::{Held, Run, spoiled, tensor};
use super::work::Ref;
use spc_base::Bug;
use spc_cpu::{Pool, between};
use spc_interp::method::MethodError;
use spc_ir::Require;
use spc_kernel::update::{Keys, Pivot, bracket, last_of, pivot};
use std::cmp::Ordering;

/// A choice of the greatest values.
pub(super) struct Top<'a> {
    pub keys: Keys,
    pub by: &'a [Ref],
    pub among: &'a [Option<Ref>],
    pub slots: &'a [(usize, usize)],
    pub scope: &'a [usize],
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

    /// [`greatest`] of arrays.
    fn sampled(&self, by: &[&Ref], among: &[Option<&Ref>], n: usize, pool: &Pool) -> Option<Pivot> {
        let parts: Vec<&[f32]> = by.iter().map(|r| self.floats(r)).collect();
        let masks: Vec<Option<&[u8]>> = among.iter().map(|r| r.map(|r| self.truths(r))).collect();
        greatest(&parts, &masks, n, pool)
    }

    /// The pivot of a set of whole tensors.
    fn pivot(&self, weights: &[Ref], set: &[usize], n: usize, pool: &Pool) -> Result<Option<Pivot>, MethodError> {
        let by: Vec<&Ref> = set.iter().map(|m| &weights[*m]).collect();
        if let Some(p) = self.sampled(&by, &vec![None; by.len()], n, pool) {
            return Ok(Some(p));
        }
        let parts: Vec<&[f32]> = by.iter().map(|r| self.floats(r)).collect();
        pivot(&parts, &[], Keys::Magnitude, n).map_err(|(p, _)| spoiled(self.core, tensor(by[p]), parts[p]))
    }

    pub(super) fn threshold(
        &mut self,
        require: &Require,
        weights: &[Ref],
        sets: &[Vec<usize>],
        slots: &[(usize, usize)],
        numbers: &mut [f32],
        pool: &Pool,
    ) -> Result<(), MethodError> {
        let k = require.keeps.last().ok_or_else(|| Bug::new("a constraint without a sentence"))?;
        for set in sets {
            let groups: usize = set.iter().map(|m| self.floats(&weights[*m]).len()).sum();
            let n = choice::count(k, set.first().copied().unwrap_or(0), groups as u64)? as usize;
            let found = self.pivot(weights, set, n, pool)?;
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

    pub(super) fn top(
        &mut self,
        t: &Top<'_>,
        counts: &[f32],
        numbers: &mut [f32],
        pool: &Pool,
    ) -> Result<(), MethodError> {
        for set in sets(t.scope) {
            let n = set.first().and_then(|i| counts.get(*i)).copied().unwrap_or(0.0);
            let n = if n >= 1.0 { n as usize } else { 0 };
            let by: Vec<&Ref> = set.iter().map(|i| &t.by[*i]).collect();
            let masks: Vec<Option<&Ref>> = set.iter().map(|i| t.among[*i].as_ref()).collect();
            let mut found = (t.keys == Keys::Magnitude).then(|| self.sampled(&by, &masks, n, pool)).flatten();
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

    pub(super) fn count(&mut self, masks: &[Ref], slots: &[usize], scope: &[usize], numbers: &mut [f32]) {
        let n = |r: &Ref| self.truths(r).iter().map(|b| u64::from(*b)).sum::<u64>();
        let each: Vec<u64> = masks.iter().map(n).collect();
        for set in sets(scope) {
            let all: u64 = set.iter().map(|i| each[*i]).sum();
            set.iter().for_each(|i| numbers[slots[*i]] = all as f32);
        }
    }
}

/// Members of the same scope, in order.
fn sets(scope: &[usize]) -> Vec<Vec<usize>> {
    let own = |s: usize| (0..scope.len()).filter(|i| scope[*i] == s).collect();
    (0..scope.len()).filter(|i| scope[*i] == *i).map(own).collect()
}

/// The pivot of the greatest magnitudes of some parts, in one pass over them: a sample tells nearly where it is. None where that
/// fails, or where one is not finite.
pub(super) fn greatest(parts: &[&[f32]], masks: &[Option<&[u8]>], n: usize, pool: &Pool) -> Option<Pivot> {
    let b = between(parts, masks, bracket(parts, masks, n)?, pool);
    if b.odd || b.many {
        return None;
    }
    let last = last_of(&b.keys, b.above, n)?;
    Some(Pivot { key: last.key, last: b.place(last.at, parts, masks)?, cuts: last.cuts })
}

/// The least value that is chosen in part `j`, of `len` values, and the place up to which equal ones are; `all` is below every
/// value.
pub(super) fn bounds(pivot: Option<&Pivot>, keys: Keys, j: usize, len: usize, all: f32) -> (f32, usize) {
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
