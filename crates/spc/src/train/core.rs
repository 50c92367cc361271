//! What is known of a program's rules before any step.
use super::choice::{Choice, counts};
use spc_interp::method::{MethodError, Optimiser};
use spc_ir::Require;
use spc_ir::method::{Body, Compute, Does, Input, Rules, Target, Update, Via};

/// Name of the mask of a constraint without an update, and of a frozen one.
pub(super) const HARD: &str = "kept.weights";

#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub name: String,
    pub len: usize,
    pub shape: Vec<usize>,
    /// The weights are kept apart from what the program reads.
    pub dense: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Info {
    /// Tensors of the constraint, in the order of its last sentence.
    pub members: Vec<usize>,
    pub choice: Choice,
    /// Masks whose last value is read, too.
    pub previous: Vec<String>,
    /// It has, or may get, a mask of its own.
    pub hard: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Core {
    pub rules: Rules,
    pub optimiser: Optimiser,
    pub steps: u64,
    pub lanes: usize,
    pub tensors: Vec<Tensor>,
    pub info: Vec<Info>,
}

/// Whether a body gives back what it gets.
fn is_identity(b: &Body) -> bool {
    let result = b.result(&Target::Result).and_then(|r| b.values.get(r as usize));
    result.is_some_and(|v| v.compute == Compute::Input(Input::Weight))
}

/// The hook that changes what the program reads.
pub(super) fn view(u: &Update) -> Option<&Body> {
    u.forward.as_ref().filter(|b| !is_identity(b))
}

impl Core {
    pub fn index(&self, name: &str) -> Option<usize> {
        self.tensors.iter().position(|t| t.name == name)
    }

    /// Tensors that the last sentence of a constraint names, each once.
    pub fn members(&self, r: &Require) -> Result<Vec<usize>, MethodError> {
        let mut out = Vec::new();
        for m in r.keeps.last().map(|k| &k.members[..]).unwrap_or_default() {
            let i = self.index(&m.weight).ok_or_else(|| MethodError::Missing { weight: m.weight.clone() })?;
            let want: u64 = m.shape.iter().product();
            let t = &self.tensors[i];
            if want != t.len as u64 {
                return Err(MethodError::Length { what: t.name.clone(), want: want as usize, got: t.len });
            }
            if !out.contains(&i) {
                out.push(i);
            }
        }
        Ok(out)
    }

    pub fn new(
        rules: Rules,
        optimiser: Optimiser,
        steps: u64,
        lanes: usize,
        tensors: Vec<Tensor>,
    ) -> Result<Core, MethodError> {
        let mut c = Core { rules, optimiser, steps, lanes, tensors, info: Vec::new() };
        for i in 0..c.rules.list.len() {
            let rule = &c.rules.list[i];
            let info = match &rule.does {
                Does::Keep { require, update, .. } => {
                    let members = c.members(require)?;
                    let (mut previous, hard) = (Vec::new(), update.is_none() || rule.frozen.is_some());
                    for v in update.iter().flat_map(|u| u.bodies()).flat_map(|b| &b.values) {
                        if let Compute::Input(Input::Previous(n)) = &v.compute
                            && !previous.contains(n)
                        {
                            previous.push(n.clone());
                        }
                    }
                    let choice = match (Choice::of(require), require.keeps.last()) {
                        (Choice::Sets(s), Some(k)) if !counts(k, &s) => Choice::Reference,
                        (Choice::Nm(m), Some(k)) if super::choice::count(k, 0, m as u64).is_err() => Choice::Reference,
                        (c, _) => c,
                    };
                    let dense = update.as_ref().is_some_and(|u| view(u).is_some());
                    members.iter().for_each(|t| c.tensors[*t].dense |= dense);
                    Info { members, choice, previous, hard }
                }
                Does::Penalize { over, .. } => {
                    let mut members = Vec::new();
                    for r in over {
                        for t in c.members(r)? {
                            if !members.contains(&t) {
                                members.push(t);
                            }
                        }
                    }
                    Info { members, choice: Choice::Reference, previous: Vec::new(), hard: false }
                }
            };
            c.info.push(info);
        }
        Ok(c)
    }

    /// The update of a rule that keeps.
    pub fn keep(&self, i: usize) -> Option<(&Require, Option<&Update>)> {
        match &self.rules.list.get(i)?.does {
            Does::Keep { require, update, .. } => Some((require, update.as_ref())),
            Does::Penalize { .. } => None,
        }
    }

    /// Whether a rule changes the gradient of a tensor.
    pub fn maps_gradient(&self, t: usize) -> bool {
        let maps = |i: usize| match &self.rules.list[i].does {
            Does::Keep { update, .. } => update.as_ref().is_some_and(|u| u.backward.is_some() || u.grad.is_some()),
            Does::Penalize { via, .. } => matches!(via, Via::Subgrad | Via::Probe),
        };
        (0..self.info.len()).any(|i| self.info[i].members.contains(&t) && maps(i))
    }

    /// An update that steps by itself, in place of the optimiser.
    pub fn steps_itself(&self) -> Option<&str> {
        let steps = |i: &usize| self.keep(*i).and_then(|(_, u)| u).is_some_and(|u| u.step.is_some());
        (0..self.info.len()).find(steps).map(|i| self.rules.list[i].name.as_str())
    }
}
