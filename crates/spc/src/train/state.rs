//! The memory of a run.
use super::core::{Core, HARD};
use super::work::Ref;
use spc_interp::method::{Data, MethodError, Saved, Updater};
use spc_ir::method::{Does, Kind};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub started: bool,
    pub frozen: bool,
}

/// Everything beside what the program reads that a run needs to go on: the weights where they differ from it, moments, masks
/// and the states of updates.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) done: u64,
    /// The caller's optimiser has its turn: the first half of the next step is done.
    pub(super) between: bool,
    pub(super) floats: BTreeMap<Ref, Vec<f32>>,
    pub(super) truths: BTreeMap<Ref, Vec<u8>>,
    pub(super) flags: Vec<Flags>,
    /// Where the program runs by the reference interpreter.
    pub(super) reference: Option<Box<Updater<f32>>>,
}

const DENSE: &str = "dense/";

impl State {
    /// Steps taken.
    pub fn done(&self) -> u64 {
        self.done
    }

    pub(super) fn new(core: &Core) -> State {
        let mut s = State {
            done: 0,
            between: false,
            floats: BTreeMap::new(),
            truths: BTreeMap::new(),
            flags: vec![Flags::default(); core.info.len()],
            reference: None,
        };
        for (t, x) in core.tensors.iter().enumerate() {
            for k in 0..core.optimiser.moments() {
                s.floats.insert(Ref::Moment(k, t), vec![0.0; x.len]);
            }
            if x.dense {
                s.floats.insert(Ref::Dense(t), vec![0.0; x.len]);
            }
        }
        for (i, (rule, info)) in core.rules.list.iter().zip(&core.info).enumerate() {
            let Does::Keep { update, .. } = &rule.does else { continue };
            for t in &info.members {
                let n = core.tensors[*t].len;
                if info.hard {
                    s.truths.insert(Ref::Mask(i, HARD.into(), *t), vec![1; n]);
                }
                for m in update.iter().flat_map(|u| &u.masks) {
                    s.truths.insert(Ref::Mask(i, m.name.clone(), *t), vec![1; n]);
                    if info.previous.contains(&m.name) {
                        s.truths.insert(Ref::Previous(i, m.name.clone(), *t), vec![1; n]);
                    }
                }
                for x in update.iter().flat_map(|u| &u.states) {
                    match x.kind {
                        Kind::Float => _ = s.floats.insert(Ref::Float(i, x.name.clone(), *t), vec![0.0; n]),
                        Kind::Bool => _ = s.truths.insert(Ref::Truth(i, x.name.clone(), *t), vec![0; n]),
                    }
                }
            }
        }
        s
    }

    /// Names and lengths of the arrays.
    pub(super) fn shape(&self) -> Vec<(Ref, usize)> {
        let floats = self.floats.iter().map(|(r, v)| (r.clone(), v.len()));
        floats.chain(self.truths.iter().map(|(r, v)| (r.clone(), v.len()))).collect()
    }

    /// The state as named tensors, as the reference interpreter names them, with the weights that differ from what the
    /// program reads as `dense/NAME`.
    pub(super) fn save(&self, core: &Core) -> Saved<f32> {
        let mut out = BTreeMap::new();
        for (t, x) in core.tensors.iter().enumerate() {
            for k in 0..core.optimiser.moments() {
                let v = self.floats.get(&Ref::Moment(k, t)).cloned().unwrap_or_default();
                out.insert(format!("moments/{k}/{}", x.name), Data::F(v));
            }
            if let Some(v) = self.floats.get(&Ref::Dense(t)) {
                out.insert(format!("{DENSE}{}", x.name), Data::F(v.clone()));
            }
        }
        for (name, i) in rule_names(core).into_iter().zip(0..) {
            for (key, list) in memory(core, i) {
                let mut bools = Vec::new();
                let mut floats = Vec::new();
                for (r, n) in &list {
                    match (self.floats.get(r), self.truths.get(r)) {
                        (Some(f), _) => floats.extend_from_slice(f),
                        (_, Some(b)) => bools.extend(b.iter().map(|b| *b != 0)),
                        // A last mask that nothing reads is the mask.
                        _ => match r {
                            Ref::Previous(i, m, t) => {
                                let mask = self.truths.get(&Ref::Mask(*i, m.clone(), *t));
                                bools.extend(mask.into_iter().flatten().map(|b| *b != 0));
                            }
                            _ => bools.resize(bools.len() + n, true),
                        },
                    }
                }
                let data = if floats.is_empty() { Data::B(bools) } else { Data::F(floats) };
                out.insert(format!("rule/{name}/{key}"), data);
            }
            let f = self.flags[i];
            out.insert(format!("rule/{name}/flags"), Data::B(vec![f.started, f.frozen, true]));
        }
        Saved { done: self.done, tensors: out }
    }

    /// The state of saved tensors.
    pub(super) fn load(core: &Core, saved: &Saved<f32>) -> Result<State, MethodError> {
        let mut s = State::new(core);
        let want = s.save(core);
        let problem = |name: &str, problem: &str| MethodError::State { name: name.into(), problem: problem.into() };
        for (name, v) in &want.tensors {
            let x = saved.tensors.get(name).ok_or_else(|| problem(name, "is missing"))?;
            if x.kind() != v.kind() || x.len() != v.len() {
                return Err(problem(name, "is of another type or size"));
            }
        }
        if let Some(more) = saved.tensors.keys().find(|n| !want.tensors.contains_key(*n)) {
            return Err(problem(more, "belongs to another program"));
        }
        if saved.done > core.steps {
            return Err(problem("done", "is behind the end of the run"));
        }
        let get = |name: String| saved.tensors.get(&name).cloned().ok_or_else(|| problem(&name, "is missing"));
        for (t, x) in core.tensors.iter().enumerate() {
            for k in 0..core.optimiser.moments() {
                if let Data::F(v) = get(format!("moments/{k}/{}", x.name))? {
                    s.floats.insert(Ref::Moment(k, t), v);
                }
            }
            if x.dense
                && let Data::F(v) = get(format!("{DENSE}{}", x.name))?
            {
                s.floats.insert(Ref::Dense(t), v);
            }
        }
        for (name, i) in rule_names(core).into_iter().zip(0..) {
            for (key, list) in memory(core, i) {
                let data = get(format!("rule/{name}/{key}"))?;
                let mut at = 0;
                for (r, n) in list {
                    match (&data, s.floats.get_mut(&r), s.truths.get_mut(&r)) {
                        (Data::F(v), Some(to), _) => to.copy_from_slice(&v[at..at + n]),
                        (Data::B(v), _, Some(to)) => {
                            to.iter_mut().zip(&v[at..at + n]).for_each(|(a, b)| *a = u8::from(*b))
                        }
                        _ => {}
                    }
                    at += n;
                }
            }
            if let Data::B(f) = get(format!("rule/{name}/flags"))? {
                let flag = |k: usize| f.get(k).copied().unwrap_or(false);
                s.flags[i] = Flags { started: flag(0), frozen: flag(1) };
                if !flag(2) {
                    return Err(problem(&format!("rule/{name}/flags"), "is of a run whose masks are not computed yet"));
                }
            }
        }
        s.done = saved.done;
        Ok(s)
    }
}

/// What is left of a saved state for the reference interpreter.
pub(super) fn without_dense(mut s: Saved<f32>) -> Saved<f32> {
    s.tensors.retain(|n, _| !n.starts_with(DENSE));
    s
}

type Held = Vec<(String, Vec<(Ref, usize)>)>;

/// The arrays of a rule by their saved names.
fn memory(core: &Core, i: usize) -> Held {
    let mut out = Vec::new();
    let Some((_, update)) = core.keep(i) else { return out };
    let each = |f: &dyn Fn(usize) -> Ref| core.info[i].members.iter().map(|t| (f(*t), core.tensors[*t].len)).collect();
    out.push((format!("mask/{HARD}"), each(&|t| Ref::Mask(i, HARD.into(), t))));
    for m in update.iter().flat_map(|u| &u.masks) {
        out.push((format!("mask/{}", m.name), each(&|t| Ref::Mask(i, m.name.clone(), t))));
        out.push((format!("previous/{}", m.name), each(&|t| Ref::Previous(i, m.name.clone(), t))));
    }
    for s in update.iter().flat_map(|u| &u.states) {
        let list = match s.kind {
            Kind::Float => each(&|t| Ref::Float(i, s.name.clone(), t)),
            Kind::Bool => each(&|t| Ref::Truth(i, s.name.clone(), t)),
        };
        out.push((format!("state/{}", s.name), list));
    }
    out
}

/// Names of the rules, made different where two are the same.
pub(super) fn rule_names(core: &Core) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for r in &core.rules.list {
        let again = out.iter().filter(|o| **o == r.name).count();
        out.push(if again == 0 { r.name.clone() } else { format!("{}.{again}", r.name) });
    }
    out
}
