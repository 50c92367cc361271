//! Updates, penalties, and the rules of a program that use them.
use super::{Body, Kind, Ratio, Schedule};
use crate::Require;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// When something in an update is computed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// Before every forward pass.
    Always,
    /// Once, before the first forward pass of the update.
    Init,
    /// Every so many steps while the share of the run that has passed is below `until`. A mask: before steps 0, n, 2n, ..;
    /// a refresh: after n, 2n, .. steps.
    Every { count: Schedule, until: Option<Schedule> },
    /// Once, before the first step at which this share of the run has passed.
    At(Schedule),
}

/// Memory of an update: one value for each weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub name: String,
    pub kind: Kind,
    /// Its first value.
    pub init: Body,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mask {
    pub name: String,
    pub rule: Body,
    pub timing: Timing,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refresh {
    pub body: Body,
    pub timing: Timing,
}

/// A checked `update` with its arguments filled in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Update {
    pub name: String,
    pub states: Vec<State>,
    pub masks: Vec<Mask>,
    /// What the program reads instead of the weights.
    pub forward: Option<Body>,
    /// From the gradient with respect to what `forward` returned to that with respect to the weights; without it, the same.
    pub backward: Option<Body>,
    /// What the optimiser gets.
    pub grad: Option<Body>,
    /// Instead of the optimiser's own step.
    pub step: Option<Body>,
    /// A map of the weights after the optimiser.
    pub after: Option<Body>,
    pub refresh: Option<Refresh>,
    /// Metrics, which change nothing.
    pub observers: Vec<(String, Body)>,
}

/// What a term of a penalty is a function of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lift {
    /// Magnitudes of single weights.
    Elements,
    /// Norms of groups that share no weight.
    Groups,
    /// Norms of nested groups. The prox goes from the smallest to the greatest.
    Tree,
    /// Norms of groups that may share weights, added up.
    Sum,
    /// As [`Lift::Sum`] on the cheapest way to write the weights as a sum of one part per group.
    Latent,
}

/// What one group counts for, as declared with it.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupWeight {
    Number(f64),
    /// Its number of weights, and the root of it.
    Size,
    SqrtSize,
    /// What one element costs, by name of weight.
    PerElement(BTreeMap<String, u64>),
}

/// Cost and energy of the groups of one term.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighing {
    pub cost: GroupWeight,
    pub energy: GroupWeight,
}

impl Default for Weighing {
    fn default() -> Weighing {
        Weighing { cost: GroupWeight::Number(1.0), energy: GroupWeight::Number(1.0) }
    }
}

/// A term counts only on weights that the constraint keeps (`kept`), or only on those that it does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// Parameter that names the constraint.
    pub constraint: String,
    pub kept: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// A Scalar in front of value and prox.
    pub weight: Body,
    /// The penalty of all norms together (Scalar), or, of a radial one, of each (Group).
    pub value: Body,
    /// The norms after the prox (Group).
    pub prox: Option<Body>,
    /// A function of one number, the same for each.
    pub radial: bool,
    pub lift: Lift,
    pub guard: Option<Guard>,
    /// Which of the groups that the penalty is used on.
    pub over: usize,
}

/// A checked `penalty` with its arguments filled in: terms whose proxes are taken in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Penalty {
    pub name: String,
    pub terms: Vec<Term>,
}

impl Penalty {
    pub fn has_prox(&self) -> bool {
        self.terms.iter().all(|t| t.prox.is_some())
    }
}

/// How a prox measures distance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// As the optimiser does: where it divides each weight's step by a number of its own, the squares of a prox are weighted
    /// by these.
    #[default]
    Optimiser,
    Euclid,
}

/// How a penalty acts on the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    Prox(Metric),
    /// Its subgradient joins the gradient.
    Subgrad,
    /// Its subgradient joins the step, beside the optimiser's moments.
    Decay,
    /// Its gradient at a perturbed point joins the gradient.
    Probe,
}

impl Via {
    pub const ALL: [(&'static str, Via); 4] = [
        ("prox", Via::Prox(Metric::Optimiser)),
        ("subgrad", Via::Subgrad),
        ("decay", Via::Decay),
        ("probe", Via::Probe),
    ];

    pub fn is_prox(self) -> bool {
        matches!(self, Via::Prox(_))
    }
}

/// What a rule does.
// Rules are few; a box would help nobody.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum Does {
    /// A `require`: without an update, projected when it begins and whenever its amount changes.
    Keep { require: Require, amounts: Vec<Option<Schedule>>, update: Option<Update> },
    /// A `penalize`. The groups and weights of each of `over` are those that terms act on; their amounts mean nothing.
    /// `weighing` has one entry for each of `over`.
    Penalize { penalty: Penalty, over: Vec<Require>, weighing: Vec<Weighing>, via: Via, guards: Vec<(String, Require)> },
}

/// A `require` or `penalize` of a program, and when it acts.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub name: String,
    pub does: Does,
    /// Shares of the run, from inclusive, to exclusive, in order. The whole run without a `train`.
    pub active: Vec<(Ratio, Ratio)>,
    /// From here on its mask never changes.
    pub frozen: Option<Ratio>,
}

/// The rules of a program in file order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    pub list: Vec<Rule>,
    /// Length of the run in steps, where the program gives it.
    pub steps: Option<u64>,
}

impl Update {
    /// All its bodies.
    pub fn bodies(&self) -> Vec<&Body> {
        let hooks = [&self.forward, &self.backward, &self.grad, &self.step, &self.after].into_iter().flatten();
        let memory = self.states.iter().map(|s| &s.init).chain(self.masks.iter().map(|m| &m.rule));
        let rest = self.refresh.iter().map(|r| &r.body).chain(self.observers.iter().map(|(_, b)| b));
        hooks.chain(memory).chain(rest).collect()
    }
}

impl Penalty {
    /// All its bodies.
    pub fn bodies(&self) -> Vec<&Body> {
        self.terms.iter().flat_map(|t| [&t.weight, &t.value].into_iter().chain(&t.prox)).collect()
    }
}
