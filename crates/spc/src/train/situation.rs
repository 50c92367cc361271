//! What happens in a step: which rules act, which masks are due. Steps in which the same happens share one program.
use super::choice;
use super::core::Core;
use super::state::State;
use spc_base::Bug;
use spc_interp::method::MethodError;
use spc_interp::method::constraint_at;
use spc_ir::method::{Does, Moment, Ratio, Rule, Schedule, Timing};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Now {
    pub active: bool,
    pub frozen: bool,
    pub refresh: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Next {
    pub active: bool,
    pub started: bool,
    /// Frozen from now on, and whether already before.
    pub frozen: bool,
    pub was_frozen: bool,
    pub due: Vec<bool>,
    pub project: bool,
    /// The amount is everything.
    pub all: bool,
    /// It ranks by gradients, and there are none before the first step: all is kept.
    pub waits: bool,
}

/// What of a step is done: all of it, or what comes before or after the optimiser of the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    #[default]
    Whole,
    Before,
    After,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Situation {
    pub part: Part,
    /// None: the start of the run.
    pub now: Option<Vec<Now>>,
    /// Tensors with a gradient.
    pub grads: Vec<bool>,
    /// None: this step is the last.
    pub next: Option<Vec<Next>>,
}

fn acts(r: &Rule, m: &Moment) -> bool {
    is_frozen(r, m) || r.active.iter().any(|(from, to)| *from <= m.progress && m.progress < *to)
}

fn is_frozen(r: &Rule, m: &Moment) -> bool {
    r.frozen.is_some_and(|f: Ratio| f <= m.progress)
}

fn value(s: &Schedule, m: &Moment) -> Result<f64, Bug> {
    Ok(s.at(m).map_err(|_| Bug::new("a step without the length of its run"))?.value)
}

fn whole(s: &Schedule, m: &Moment) -> Result<u64, Bug> {
    let v = value(s, m)?;
    Ok(if v >= 1.0 { v as u64 } else { 1 })
}

fn before(until: Option<&Schedule>, m: &Moment) -> Result<bool, Bug> {
    let Some(s) = until else { return Ok(true) };
    let q = s.at(m).map_err(|_| Bug::new("a step without the length of its run"))?;
    Ok(q.exact.map_or(m.progress.to_f64() < q.value, |e| m.progress < e))
}

pub(super) fn now(core: &Core, state: &State, m: &Moment) -> Result<Vec<Now>, MethodError> {
    let mut out = Vec::new();
    for (r, mem) in core.rules.list.iter().zip(&state.flags) {
        let mut n = Now { active: acts(r, m), frozen: mem.frozen, refresh: false };
        if let (Does::Keep { update: Some(u), .. }, false) = (&r.does, mem.frozen)
            && let Some(refresh) = &u.refresh
        {
            n.refresh = match &refresh.timing {
                Timing::Every { count, until } => {
                    (m.step.unwrap_or(0) + 1).is_multiple_of(whole(count, m)?) && before(until.as_ref(), m)?
                }
                _ => true,
            };
        }
        out.push(n);
    }
    Ok(out)
}

pub(super) fn next(core: &Core, state: &State, m: &Moment) -> Result<Vec<Next>, MethodError> {
    let mut out = Vec::new();
    for (r, mem) in core.rules.list.iter().zip(&state.flags) {
        let mut n = Next { active: acts(r, m), started: mem.started, was_frozen: mem.frozen, ..Next::default() };
        let reads = matches!(&r.does, Does::Keep { require, .. } if choice::reads_gradients(require));
        n.waits = reads && m.step == Some(0);
        n.frozen = mem.frozen || (n.active && !n.waits && is_frozen(r, m));
        if let (Does::Keep { require, amounts, update }, true) = (&r.does, n.active) {
            n.all = constraint_at(require, amounts, m)?.is_none();
            n.project = update.is_none() && (!mem.started || amounts.iter().any(Option::is_some));
            for mask in update.iter().flat_map(|u| &u.masks) {
                n.due.push(match &mask.timing {
                    Timing::Always => true,
                    Timing::Init => !mem.started,
                    Timing::Every { count, until } => {
                        let every = whole(count, m)?;
                        !mem.started || (m.step.unwrap_or(0).is_multiple_of(every) && before(until.as_ref(), m)?)
                    }
                    Timing::At(t) => {
                        let t = value(t, m)?;
                        let last = m.step.unwrap_or(0).saturating_sub(1);
                        let then = Moment::step(last, core.steps).map_or(0.0, |m| m.progress.to_f64());
                        !mem.started || (t <= m.progress.to_f64() && then < t)
                    }
                });
            }
        }
        out.push(n);
    }
    Ok(out)
}
