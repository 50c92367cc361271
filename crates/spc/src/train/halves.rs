//! Steps in two halves, around an optimiser of the caller's.
use super::situation::{Part, Situation};
use super::state::State;
use super::work::Ref;
use super::{Plan, Rates};
use spc_interp::method::{MethodError, Observed, Optimiser};
use std::collections::BTreeMap;

impl Plan {
    /// The first half of step `step` of a plan for the caller's optimiser: `params` become the weights themselves, `mapped` the
    /// gradients with respect to them, of the tensors where these differ from `grads`.
    pub fn before(
        &self,
        step: u64,
        given: &mut [(&str, &mut [f32])],
        grads: &[(&str, &[f32])],
        mapped: &mut [(&str, &mut [f32])],
        state: &mut State,
    ) -> Result<(), MethodError> {
        self.in_turn(step, state, false)?;
        self.outside()?;
        let mut params = self.params(given)?;
        let slopes = self.gradients(grads)?;
        let mut more = BTreeMap::new();
        for (name, v) in mapped.iter_mut() {
            let t = self.sized(name, v.len(), "the mapped gradient")?;
            more.insert(Ref::Mapped(t), &mut **v);
        }
        for (t, x) in self.core.tensors.iter().enumerate() {
            if slopes[t].is_some() && self.core.maps_gradient(t) && !more.contains_key(&Ref::Mapped(t)) {
                return Err(MethodError::Missing { weight: x.name.clone() });
            }
        }
        let (m, now) = self.now(step, &slopes, state)?;
        let grads = slopes.iter().map(Option::is_some).collect();
        let s = Situation { part: Part::Before, now: Some(now), grads, next: None };
        self.act(&s, &mut params, &slopes, &mut more, state, (m, m, &self.no_rates()))?;
        state.between = true;
        Ok(())
    }

    /// The second half: `params` are the weights as the caller's optimiser has moved them, and become what the program reads
    /// next. `moments` are what it remembers; masks clear them.
    pub fn after(
        &self,
        step: u64,
        given: &mut [(&str, &mut [f32])],
        grads: &[(&str, &[f32])],
        moments: &mut [(&str, Vec<&mut [f32]>)],
        rates: Rates<'_>,
        state: &mut State,
    ) -> Result<Vec<Observed>, MethodError> {
        self.in_turn(step, state, true)?;
        self.outside()?;
        let mut params = self.params(given)?;
        // The first half has looked whether they are finite.
        let (slopes, rates) = (self.matched(grads)?, self.rates(rates)?);
        let mut more = BTreeMap::new();
        for (name, list) in moments.iter_mut() {
            for (k, v) in list.iter_mut().enumerate() {
                let t = self.sized(name, v.len(), "a moment")?;
                more.insert(Ref::Moment(k, t), &mut **v);
            }
        }
        for (t, x) in self.core.tensors.iter().enumerate() {
            let wanted = self.core.info.iter().any(|i| i.members.contains(&t));
            let all = (0..self.core.optimiser.cleared()).all(|k| more.contains_key(&Ref::Moment(k, t)));
            if wanted && !all {
                return Err(MethodError::Missing { weight: format!("moments of {}", x.name) });
            }
        }
        let seen = self.finish_step(Part::After, &mut params, &slopes, &mut more, &rates, state)?;
        state.between = false;
        Ok(seen)
    }

    /// Whether a rule changes the gradient of a parameter, so that `before` needs room for it.
    pub fn maps_gradient(&self, name: &str) -> bool {
        self.core.index(name).is_some_and(|t| self.core.maps_gradient(t))
    }

    fn outside(&self) -> Result<(), MethodError> {
        match self.core.optimiser {
            Optimiser::Outside { .. } => Ok(()),
            _ => Err(MethodError::NotYet { what: "half a step of a plan that has an optimiser of its own".into() }),
        }
    }

    fn sized(&self, name: &str, got: usize, what: &str) -> Result<usize, MethodError> {
        let t = self.core.index(name).ok_or_else(|| MethodError::Missing { weight: name.into() })?;
        let want = self.core.tensors[t].len;
        if got == want { Ok(t) } else { Err(MethodError::Length { what: format!("{what} of {name}"), want, got }) }
    }
}
