//! The state of a run as named tensors, and back.
use super::updater::{HARD, Updater};
use super::{Data, MethodError};
use crate::Real;
use std::collections::BTreeMap;

const GRADIENTS: &str = "gradients/";

/// What a saved state calls the mask of a frozen constraint, and of one without an update. No name of a program has a dot.
const KEPT: &str = "kept.weights";

/// Everything beside the weights that a run needs to go on: moments, masks, states, and where it is. Names are
/// `moments/0/WEIGHT` and `rule/RULE/mask|previous|state/NAME`, the values of a rule's weights one behind the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved<R> {
    /// Steps taken.
    pub done: u64,
    pub tensors: BTreeMap<String, Data<R>>,
}

impl<R: Real> Updater<R> {
    /// The state after the last step.
    pub fn save(&self) -> Saved<R> {
        let mut t = BTreeMap::new();
        for (name, list) in self.moments() {
            for (k, v) in list.iter().enumerate() {
                t.insert(format!("moments/{k}/{name}"), Data::F(v.clone()));
            }
        }
        for (name, g) in &self.last {
            t.insert(format!("gradients/{name}"), Data::F(g.clone()));
        }
        for (name, mem) in self.rule_names().into_iter().zip(&self.memory) {
            for (m, v) in &mem.masks {
                let m = if m == HARD { KEPT } else { m };
                t.insert(format!("rule/{name}/mask/{m}"), Data::B(v.clone()));
            }
            for (m, v) in &mem.previous {
                t.insert(format!("rule/{name}/previous/{m}"), Data::B(v.clone()));
            }
            for (s, v) in &mem.states {
                t.insert(format!("rule/{name}/state/{s}"), v.clone());
            }
            t.insert(format!("rule/{name}/flags"), Data::B(vec![mem.started, mem.frozen, self.prepared]));
        }
        Saved { done: self.done, tensors: t }
    }

    /// Goes on from a saved state of the same program; the weights are those of that moment.
    ///
    /// # Errors
    /// A tensor that is missing, unknown, or of another type or length; then nothing has changed.
    pub fn restore(&mut self, saved: &Saved<R>) -> Result<(), MethodError> {
        let mut mine = self.save();
        // A run that has not begun has no gradients yet.
        mine.tensors.retain(|n, _| !n.starts_with(GRADIENTS));
        let gradients =
            saved.tensors.iter().filter_map(|(n, v)| Some((n.strip_prefix(GRADIENTS)?.to_string(), v.clone())));
        let gradients: BTreeMap<String, Data<R>> = gradients.collect();
        let problem = |name: &str, problem: &str| MethodError::State { name: name.into(), problem: problem.into() };
        for (name, v) in &mine.tensors {
            let s = saved.tensors.get(name).ok_or_else(|| problem(name, "is missing"))?;
            if s.kind() != v.kind() || s.len() != v.len() {
                return Err(problem(name, "is of another type or size"));
            }
        }
        if let Some(more) = saved.tensors.keys().find(|n| !mine.tensors.contains_key(*n) && !n.starts_with(GRADIENTS)) {
            return Err(problem(more, "belongs to another program"));
        }
        let get = |name: &str| saved.tensors.get(name).cloned().ok_or_else(|| problem(name, "is missing"));
        let bools = |name: &str| match get(name)? {
            Data::B(v) => Ok(v),
            Data::F(_) => Err(problem(name, "is of another type")),
        };
        let mut next = self.clone();
        next.last = BTreeMap::new();
        for (name, g) in gradients {
            match (g, self.weights().get(&name)) {
                (Data::F(g), Some(w)) if g.len() == w.len() => _ = next.last.insert(name, g),
                _ => return Err(problem(&format!("{GRADIENTS}{name}"), "is of another type or size")),
            }
        }
        for (name, list) in &mut next.moments {
            for (k, v) in list.iter_mut().enumerate() {
                if let Data::F(s) = get(&format!("moments/{k}/{name}"))? {
                    *v = s;
                }
            }
        }
        let names = self.rule_names();
        for (name, mem) in names.iter().zip(&mut next.memory) {
            for (m, v) in &mut mem.masks {
                *v = bools(&format!("rule/{name}/mask/{}", if m == HARD { KEPT } else { m }))?;
            }
            for (m, v) in &mut mem.previous {
                *v = bools(&format!("rule/{name}/previous/{m}"))?;
            }
            for (s, v) in &mut mem.states {
                *v = get(&format!("rule/{name}/state/{s}"))?;
            }
            if let [started, frozen, prepared] = bools(&format!("rule/{name}/flags"))?[..] {
                mem.started = started;
                mem.frozen = frozen;
                next.prepared = prepared;
            }
        }
        next.done = saved.done;
        *self = next;
        Ok(())
    }

    /// Names of the rules, made different where two are the same.
    fn rule_names(&self) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for r in self.rules() {
            let again = out.iter().filter(|o| **o == r.name).count();
            out.push(if again == 0 { r.name.clone() } else { format!("{}.{again}", r.name) });
        }
        out
    }
}
