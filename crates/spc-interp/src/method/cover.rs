//! The weights, groups and scopes of a constraint, numbered one after the other.
use super::MethodError;
use crate::select::{Given, Masks, Ranking, Sentence, Values};
use crate::{Real, project_with};
use spc_base::Bug;
use spc_ir::method::{GroupWeight, Moment, Schedule, Unit, Weighing};
use spc_ir::{Amount, Require, Score};
use std::collections::BTreeMap;

/// No group holds the element.
pub(crate) const NONE: u32 = u32::MAX;

/// Weights laid one behind the other, and the groups and scopes of their elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cover {
    /// Weights with the place of their first element.
    members: Vec<(String, usize)>,
    elements: usize,
    /// Group of each element, or [`NONE`].
    pub(crate) group: Vec<u32>,
    /// Scope of each group.
    pub(crate) scope: Vec<u32>,
    pub(crate) scopes: usize,
    /// Groups by size where they overlap: elements of each.
    pub(crate) nested: Option<Vec<Vec<u32>>>,
    /// What each group counts for.
    pub(crate) weighing: Weighing,
}

impl Cover {
    /// Groups and scopes of the last sentence of a constraint.
    ///
    /// # Errors
    /// When groups or scopes do not fit the declared shapes.
    pub fn of(r: &Require) -> Result<Cover, MethodError> {
        let none = Masks::new();
        let last = r.keeps.len().checked_sub(1).ok_or_else(|| Bug::new("a constraint without a sentence"))?;
        let s = Sentence::new(r, last, &none)?;
        let (mut c, mut at) = (Cover::default(), Vec::new());
        let (mut alive, mut values) = (Masks::new(), BTreeMap::new());
        for (m, cut) in s.keep.members.iter().zip(&s.cuts) {
            // A weight may be cut twice, by two families of slices.
            match c.members.iter().find(|(n, _)| *n == m.weight) {
                Some((_, start)) => at.push(*start),
                None => {
                    at.push(c.elements);
                    c.members.push((m.weight.clone(), c.elements));
                    c.elements += cut.elements();
                    alive.insert(m.weight.clone(), vec![true; cut.elements()]);
                    values.insert(m.weight.clone(), vec![0.0f32; cut.elements()]);
                }
            }
        }
        c.group = vec![NONE; c.elements];
        let (mut first, mut lists, mut overlaps) = (Vec::new(), Vec::new(), false);
        for space in &s.spaces {
            let base = lists.len() as u32;
            first.push(base);
            lists.resize(lists.len() + space.groups, Vec::new());
            for i in &space.members {
                let start = at.get(*i).copied().unwrap_or(0);
                if let Some(cut) = s.cuts.get(*i) {
                    cut.each(|e, g| {
                        let group = &mut c.group[start + e];
                        overlaps |= *group != NONE;
                        *group = base + g as u32;
                        lists[(base + g as u32) as usize].push((start + e) as u32);
                    });
                }
            }
        }
        c.scope = vec![0; lists.len()];
        c.nested = overlaps.then_some(lists);
        let mut scopes = 0;
        let all = Values { weights: &values, given: Given::default() };
        s.choose(all, &alive, Ranking::Present, &mut |choice| {
            for (space, g) in choice.ranked {
                c.scope[(first[*space as usize] + g) as usize] = scopes;
            }
            scopes += 1;
            Ok(())
        })?;
        c.scopes = scopes as usize;
        Ok(c)
    }

    /// Groups given by their elements, which may be nested; one scope.
    pub fn nested(members: &[(&str, usize)], groups: Vec<Vec<u32>>) -> Cover {
        let mut c = Cover { scopes: 1, scope: vec![0; groups.len()], ..Cover::default() };
        for (name, n) in members {
            c.members.push(((*name).to_string(), c.elements));
            c.elements += n;
        }
        c.group = vec![NONE; c.elements];
        for (g, list) in groups.iter().enumerate() {
            for e in list {
                if let Some(slot) = c.group.get_mut(*e as usize) {
                    *slot = g as u32;
                }
            }
        }
        c.nested = Some(groups);
        c
    }

    /// The same groups with a cost and an energy.
    #[must_use]
    pub fn weighed(mut self, w: &Weighing) -> Cover {
        self.weighing = w.clone();
        self
    }

    /// What a group of these elements counts for.
    pub(crate) fn group_weight(&self, by: &GroupWeight, list: &[u32]) -> f64 {
        match by {
            GroupWeight::Number(x) => *x,
            GroupWeight::Size => list.len() as f64,
            GroupWeight::SqrtSize => (list.len() as f64).sqrt(),
            GroupWeight::PerElement(costs) => {
                let one = |e: &u32| costs.get(self.place(*e as usize).0).copied().unwrap_or(1) as f64;
                list.iter().map(one).sum()
            }
        }
    }

    pub fn elements(&self) -> usize {
        self.elements
    }

    pub fn groups(&self) -> usize {
        self.scope.len()
    }

    /// Names of the weights.
    pub fn weights(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(n, _)| n.as_str())
    }

    /// Name and index of an element.
    pub fn place(&self, element: usize) -> (&str, usize) {
        let at = self.members.partition_point(|(_, first)| *first <= element);
        match at.checked_sub(1).and_then(|i| self.members.get(i)) {
            Some((name, first)) => (name, element - first),
            None => ("", element),
        }
    }

    /// The values of all weights, one behind the other.
    pub(crate) fn gather<T: Copy>(&self, all: &BTreeMap<String, Vec<T>>) -> Result<Vec<T>, MethodError> {
        let mut out = Vec::with_capacity(self.elements);
        for (i, (name, first)) in self.members.iter().enumerate() {
            let end = self.members.get(i + 1).map_or(self.elements, |(_, e)| *e);
            let v = all.get(name).ok_or_else(|| MethodError::Missing { weight: name.clone() })?;
            if v.len() != end - first {
                return Err(MethodError::Length { what: name.clone(), want: end - first, got: v.len() });
            }
            out.extend_from_slice(v);
        }
        Ok(out)
    }

    /// Writes values back to their weights.
    pub(crate) fn scatter<T: Copy>(&self, from: &[T], all: &mut BTreeMap<String, Vec<T>>) -> Result<(), MethodError> {
        for (i, (name, first)) in self.members.iter().enumerate() {
            let end = self.members.get(i + 1).map_or(self.elements, |(_, e)| *e);
            let v = all.get_mut(name).ok_or_else(|| MethodError::Missing { weight: name.clone() })?;
            match from.get(*first..end) {
                Some(part) if part.len() == v.len() => v.copy_from_slice(part),
                _ => return Err(Bug::new(format!("{name}: {} values for {}", end - first, v.len())).into()),
            }
        }
        Ok(())
    }

    /// The mask that the constraint chooses, of exactly its amount: a weight that is 0 counts as the smallest of all, unless
    /// `among` leaves it out.
    pub(crate) fn select<R: Real>(
        &self,
        r: &Require,
        w: &[R],
        among: Option<&[bool]>,
        gradients: Option<&BTreeMap<String, Vec<R>>>,
    ) -> Result<Vec<bool>, MethodError> {
        let mut all: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for (i, (name, first)) in self.members.iter().enumerate() {
            let end = self.members.get(i + 1).map_or(self.elements, |(_, e)| *e);
            let tiny = f32::from_bits(1);
            let value = |e: usize| {
                let v = w[e].to_f32();
                match among {
                    Some(m) if !m[e] => 0.0,
                    _ if v == 0.0 => tiny,
                    _ => v,
                }
            };
            all.insert(name.clone(), (*first..end).map(value).collect());
        }
        let gradients: Option<BTreeMap<String, Vec<f32>>> = gradients
            .filter(|g| !g.is_empty())
            .map(|g| g.iter().map(|(n, v)| (n.clone(), v.iter().map(|x| x.to_f32()).collect())).collect());
        project_with(std::slice::from_ref(r), &mut all, gradients.as_ref().map(|g| g as &dyn crate::Weights))?;
        Ok(self.gather(&all)?.into_iter().map(|v| v != 0.0).collect())
    }

    /// A random choice of the constraint's amount.
    pub(crate) fn random(&self, r: &Require, seed: u64) -> Result<Vec<bool>, MethodError> {
        let mut r = r.clone();
        r.keeps.iter_mut().for_each(|k| k.score = Score::Random(seed));
        self.select(&r, &vec![1.0f32; self.elements], None, None)
    }
}

/// A constraint at a moment of the run; nothing when it keeps everything then.
///
/// # Errors
/// A schedule that needs the length of the run, at a moment without one.
pub fn at(r: &Require, amounts: &[Option<Schedule>], m: &Moment) -> Result<Option<Require>, MethodError> {
    let mut out = r.clone();
    for (k, a) in out.keeps.iter_mut().zip(amounts) {
        let Some(a) = a else { continue };
        let q = a.at(m).map_err(|_| MethodError::Length { what: r.name.clone(), want: 0, got: 0 })?;
        let budget = |num, den| match k.amount {
            Amount::Budget { of, .. } => Amount::Budget { num, den, of },
            _ => Amount::Share { num, den },
        };
        k.amount = match (q.unit, q.exact) {
            (Unit::Share, _) if q.value >= 1.0 => return Ok(None),
            (Unit::Share, Some(e)) if e.num() > 0 => budget(e.num().unsigned_abs(), e.den().unsigned_abs()),
            // A share that is no exact fraction, to 2^-40.
            (Unit::Share, _) => budget((q.value.max(0.0) * (1u64 << 40) as f64).ceil() as u64, 1 << 40),
            _ => match k.amount {
                Amount::OutOf { m, .. } if q.value >= m as f64 => return Ok(None),
                Amount::OutOf { m, .. } => Amount::OutOf { n: q.value.max(0.0).ceil() as u64, m },
                _ => Amount::Count(q.value.max(0.0).ceil() as u64),
            },
        };
    }
    Ok(Some(out))
}
