//! Bodies that look at more than one weight: their choices and counts are run apart, and the rest is joined to passes.
use super::choice;
use super::program::{Builder, Given, Observer, Phase};
use super::work::{Env, FoldUse, Missing, Ref, Work, missing};
use spc_base::Bug;
use spc_ir::method::{Body, Compute, Fold as Folded, Input, Kind, Space, Target, ValueId};
use spc_ir::{BinFn, DType, ScalarExpr as S, UnFn};
use spc_kernel::update::{Fold, FoldKind, Keys, NodeId};
use std::collections::BTreeMap;

/// A body of a rule; `next`: its numbers are those of the next step.
pub(super) struct Hook<'h> {
    pub rule: usize,
    pub body: &'h Body,
    pub next: bool,
}

/// The greatest of some values, as a mask that passes make from a threshold.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    by: Ref,
    among: Option<Ref>,
    keys: Keys,
    /// The least value, and the place up to which equal ones are chosen.
    slots: (usize, usize),
}

impl Chosen {
    fn mask(&self, w: &mut Work) -> NodeId {
        let (x, least, early) = (w.get(&self.by), w.number(self.slots.0), w.before(self.slots.1));
        let key = match self.keys {
            // 0 counts as the smallest magnitude.
            Keys::Magnitude => S::bin(BinFn::Max, S::un(UnFn::Abs, S::Arg(0)), S::Const(f64::from(f32::from_bits(1)))),
            Keys::Value => S::Arg(0),
        };
        let equal = S::bin(BinFn::And, S::bin(BinFn::Eq, key.clone(), S::Arg(1)), S::Arg(2));
        let mask = S::bin(BinFn::Or, S::bin(BinFn::Gt, key, S::Arg(1)), equal);
        let mask = w.map(mask, vec![x, least, early], DType::Bool);
        match &self.among {
            None => mask,
            Some(a) => {
                let a = w.get(a);
                w.map(S::bin(BinFn::And, S::Arg(0), S::Arg(1)), vec![mask, a], DType::Bool)
            }
        }
    }
}

/// What was computed apart: of each such value what it is for each member.
pub(super) type Barriers = BTreeMap<ValueId, Vec<Given>>;

impl Builder<'_> {
    /// The values of a hook over member `k`, tensor `t`, up to value `end`. Where it reads moments: of moment number `moment`.
    pub(super) fn values(
        &mut self,
        h: &Hook<'_>,
        (k, t): (usize, usize),
        given: &Barriers,
        moment: Option<usize>,
        end: usize,
    ) -> Result<Vec<NodeId>, Missing> {
        let (body, next) = (h.body, h.next);
        let dense = self.dense(t);
        let w = &mut self.works[t];
        let mut map = BTreeMap::new();
        for (id, list) in given {
            map.insert(
                *id,
                match list.get(k) {
                    Some(Given::Array(r)) => match self.chosen.get(r) {
                        Some(c) => c.mask(w),
                        None => w.get(r),
                    },
                    Some(Given::Number(n)) => w.number(*n),
                    None => return Err(Bug::new("a barrier without a member").into()),
                },
            );
        }
        let reads = |what: &Input| body.values.iter().any(|v| v.compute == Compute::Input(what.clone()));
        let mut env = Env { rule: h.rule, next, ..Env::default() };
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
    pub(super) fn barriers(&mut self, h: &Hook<'_>, all: bool) -> Result<Barriers, Missing> {
        let (i, body, next) = (h.rule, h.body, h.next);
        let members = self.core.info[i].members.clone();
        let mut given = Barriers::new();
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
                    if let Some(counts) = self.tally_within(h, &given, *mask, id)? {
                        given.insert(slot, counts);
                        continue;
                    }
                    let scope = self.scopes(i)?;
                    let masks = self.arrays(h, &given, *mask, id)?;
                    self.flush(&members)?;
                    if !self.of_elements(i) {
                        let counts = self.tally(h, masks)?;
                        given.insert(slot, counts);
                        continue;
                    }
                    let own: Vec<usize> = members.iter().map(|_| self.numbers.slot()).collect();
                    let slots: Vec<usize> = scope.iter().map(|s| own[*s]).collect();
                    given.insert(slot, slots.iter().map(|s| Given::Number(*s)).collect());
                    self.phases.push(Phase::Count { masks, slots, scope });
                }
                Compute::Top { n, by, among } => {
                    if let Some(masks) = self.best_within(h, &given, (*n, *by, *among), id)? {
                        given.insert(slot, masks);
                        continue;
                    }
                    let scope = self.scopes(i)?;
                    let mut count = Vec::new();
                    for (k, t) in members.iter().enumerate() {
                        let values = self.values(h, (k, *t), &given, None, id)?;
                        let n = *values.get(*n as usize).ok_or_else(|| Bug::new("a count that is not there"))?;
                        let Some(n) = self.works[*t].numbers(n, &mut self.numbers) else {
                            return missing("a count that is no number");
                        };
                        count.push(n);
                    }
                    if !self.of_elements(i) {
                        let masks = self.best(h, &given, (*by, *among), count, id)?;
                        given.insert(slot, masks.into_iter().map(Given::Array).collect());
                        continue;
                    }
                    let (mut by, keys) = self.keyed(h, &given, *by, id)?;
                    let among = match among {
                        Some(a) => self.arrays(h, &given, *a, id)?.into_iter().map(Some).collect(),
                        None => vec![None; members.len()],
                    };
                    self.flush(&members)?;
                    by.truncate(members.len());
                    if members.iter().any(|t| i32::try_from(self.core.tensors[*t].len).is_err()) {
                        return missing("a choice among more than 2^31 weights");
                    }
                    // The mask is made in the passes that read it; these only stand for it.
                    let into: Vec<Ref> = members.iter().map(|t| self.new_name(*t)).collect();
                    let slots: Vec<_> = members.iter().map(|_| (self.numbers.slot(), self.numbers.slot())).collect();
                    for (k, r) in into.iter().enumerate() {
                        let c = Chosen { by: by[k].clone(), among: among[k].clone(), keys, slots: slots[k] };
                        self.chosen.insert(r.clone(), c);
                    }
                    given.insert(slot, into.iter().cloned().map(Given::Array).collect());
                    self.phases.push(Phase::Top { keys, count, by, among, slots, scope });
                }
                _ => {}
            }
        }
        Ok(given)
    }

    /// Whether groups are single weights.
    fn of_elements(&self, i: usize) -> bool {
        self.core.keep(i).and_then(|(r, _)| r.keeps.last()).is_some_and(choice::of_elements)
    }

    /// A value of a body as arrays in memory, one for each member.
    pub(super) fn arrays(
        &mut self,
        h: &Hook<'_>,
        given: &Barriers,
        id: ValueId,
        end: usize,
    ) -> Result<Vec<Ref>, Missing> {
        let (i, body) = (h.rule, h.body);
        let kind = body.values.get(id as usize).map_or(Kind::Float, |v| v.kind);
        let mut out = Vec::new();
        for (k, t) in self.core.info[i].members.clone().into_iter().enumerate() {
            let values = self.values(h, (k, t), given, None, end)?;
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
    pub(super) fn keyed(
        &mut self,
        h: &Hook<'_>,
        given: &Barriers,
        id: ValueId,
        end: usize,
    ) -> Result<(Vec<Ref>, Keys), Missing> {
        let body = h.body;
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
            return Ok((self.arrays(h, given, of, end)?, Keys::Magnitude));
        }
        Ok((self.arrays(h, given, id, end)?, Keys::Value))
    }

    pub(super) fn refresh(&mut self, i: usize, body: &Body) -> Result<(), Missing> {
        let h = Hook { rule: i, body, next: false };
        let (given, end) = (self.barriers(&h, false)?, body.values.len());
        for (k, t) in self.core.info[i].members.clone().into_iter().enumerate() {
            let mut moments = Vec::new();
            if let Some(id) = body.result(&Target::Moments) {
                for m in 0..self.moments {
                    let values = self.values(&h, (k, t), &given, Some(m), end)?;
                    moments.push((Ref::Moment(m, t), values[id as usize]));
                }
            }
            let values = self.values(&h, (k, t), &given, None, end)?;
            self.assign(i, t, body, &values)?;
            for (r, v) in moments {
                self.works[t].set(&r, v);
            }
        }
        Ok(())
    }

    pub(super) fn observe(&mut self, i: usize, name: &str, body: &Body) -> Result<(), Missing> {
        let members = self.core.info[i].members.clone();
        let h = Hook { rule: i, body, next: false };
        let mut given = Barriers::new();
        let mut folds = Vec::new();
        for (id, v) in body.values.iter().enumerate() {
            let Compute::Fold { fold, arg, guard } = &v.compute else { continue };
            let slot = self.numbers.slot();
            let first = self.folds;
            for (k, t) in members.iter().enumerate() {
                let values = self.values(&h, (k, *t), &given, None, id)?;
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
        let values = self.values(&h, (0, t), &given, None, body.values.len())?;
        let id = body.result(&Target::Result).ok_or_else(|| Bug::new("an observer of nothing"))?;
        let result = values.get(id as usize).and_then(|n| self.works[t].numbers(*n, &mut self.numbers));
        let Some(result) = result else { return missing("an observer that is no number") };
        self.observers.push(Observer { rule: i, name: name.into(), folds, result });
        Ok(())
    }
}
