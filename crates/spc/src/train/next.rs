//! What is made ready for the next step: masks and projections that are due, and what the program reads.
use super::body::Hook;
use super::choice::Choice;
use super::core::{HARD, view};
use super::number::Number;
use super::program::{Builder, By, Phase};
use super::situation::Next;
use super::work::{Env, FoldUse, Missing, Ref, Source};
use spc_base::Bug;
use spc_ir::method::{Body, Compute, Kind, Target};
use spc_ir::{BinFn, DType, ScalarExpr as S, UnFn};
use spc_kernel::update::{NodeId, nm_pass};
use std::collections::BTreeMap;

impl Builder<'_> {
    /// Masks by a threshold of magnitudes, made in the pass that reads them.
    fn threshold(
        &mut self,
        i: usize,
        next: bool,
        sets: Vec<Vec<usize>>,
        members: &[usize],
        into: &[Ref],
    ) -> Result<(), Missing> {
        let weights = self.in_memory(members)?;
        let slots: Vec<(usize, usize)> = members.iter().map(|_| (self.numbers.slot(), self.numbers.slot())).collect();
        self.phases.push(Phase::Threshold { by: By::Rule(i, next), weights, sets, slots: slots.clone() });
        for ((t, (least, place)), r) in members.iter().zip(slots).zip(into) {
            let x = self.weight(*t);
            let w = &mut self.works[*t];
            let (least, early) = (w.number(least), w.before(place));
            // 0 counts as the smallest magnitude.
            let size = S::bin(BinFn::Max, S::un(UnFn::Abs, S::Arg(0)), S::Const(f64::from(f32::from_bits(1))));
            let equal = S::bin(BinFn::And, S::bin(BinFn::Eq, size.clone(), S::Arg(1)), S::Arg(2));
            let mask = S::bin(BinFn::Or, S::bin(BinFn::Gt, size, S::Arg(1)), equal);
            let mask = w.map(mask, vec![x, least, early], DType::Bool);
            w.set(r, mask);
        }
        Ok(())
    }

    /// Arrays that hold the weights as they are now. Passes in the making are ended only where there are none yet: what a caller's
    /// optimiser has moved lies in the parameters, and is chosen by before the pass that keeps a copy.
    fn in_memory(&mut self, members: &[usize]) -> Result<Vec<Ref>, Missing> {
        let mut out = Vec::new();
        for t in members {
            let x = self.weight(*t);
            let w = &self.works[*t];
            match w.held(x).filter(|_| w.steps.is_empty()) {
                Some(r) => out.push(r),
                None => {
                    self.flush(members)?;
                    return Ok(members.iter().map(|t| self.dense(*t)).collect());
                }
            }
        }
        Ok(out)
    }

    pub(super) fn choose(
        &mut self,
        i: usize,
        next: bool,
        random: Option<u64>,
        among: bool,
        into: &[Ref],
    ) -> Result<(), Missing> {
        let members = self.core.info[i].members.clone();
        if let (Choice::Nm(m), None, false) = (&self.core.info[i].choice, random, among) {
            let n = self.numbers.add(Number::Keep(i, next, *m as u64));
            for (t, into) in members.iter().zip(into) {
                let dense = self.dense(*t);
                let w = &mut self.works[*t];
                w.flush(&mut self.passes, self.core.lanes)?;
                let pass = nm_pass(*m, n, false, self.core.lanes)?;
                let of = Source::Kept { m: *m, number: n };
                w.push_of(&mut self.passes, pass, of, vec![dense, into.clone()], vec![FoldUse::Magnitude]);
            }
            return Ok(());
        }
        if let (Some(sets), None, false) = (self.core.whole(i), random, among) {
            return self.threshold(i, next, sets, &members, into);
        }
        self.flush(&members)?;
        let weights = members.iter().map(|t| self.dense(*t)).collect();
        self.phases.push(Phase::Choose { by: By::Rule(i, next), random, among, weights, into: into.to_vec() });
        Ok(())
    }

    pub(super) fn prepare(&mut self, next: &[Next]) -> Result<(), Missing> {
        for (i, n) in next.iter().enumerate() {
            let members = self.core.info[i].members.clone();
            let Some((_, update)) = self.core.keep(i).filter(|_| n.active && !n.waits) else { continue };
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
    pub(super) fn mask(&mut self, i: usize, n: &Next, name: &str, rule: &Body) -> Result<(), Missing> {
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
                let h = Hook { rule: i, body: rule, next: true };
                let given = self.barriers(&h, n.all)?;
                for (k, t) in members.iter().enumerate() {
                    let values = self.values(&h, (k, *t), &given, None, rule.values.len())?;
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

    /// What the program reads in the next step.
    pub(super) fn forward(&mut self, next: &[Next]) -> Result<(), Missing> {
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
