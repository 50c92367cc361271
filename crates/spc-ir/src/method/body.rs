//! What one hook of a method computes: values in order, each used only after it is defined.
//!
//! Every value lives in a [`Space`]. Pointwise work is one [`Compute::Map`] with a [`ScalarExpr`]; everything that looks at more
//! than one position (sums, roots, choices) is a value of its own. So a body lowers to loops directly: one loop for each
//! run of maps in one space, one reduction or selection between them.
use super::Schedule;
use crate::{DType, ScalarExpr};
use serde::{Deserialize, Serialize};

/// Position of a value in [`Body::values`].
pub type ValueId = u32;

/// Over what a value ranges. A narrower value repeats where a wider one is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// One value.
    Scalar,
    /// One for each set over which the constraint's amount is counted.
    Scope,
    /// One for each group: of the penalty, or of the constraint.
    Group,
    /// One for each weight.
    Element,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Float,
    Bool,
}

impl Kind {
    pub fn dtype(self) -> DType {
        match self {
            Kind::Float => DType::F32,
            Kind::Bool => DType::Bool,
        }
    }
}

/// A value that comes from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// The weights (Element).
    Weight,
    /// The gradient with respect to what `forward` returned (Element).
    Grad,
    /// One of the optimiser's moments (Element). A body that reads it is computed once for each.
    Moments,
    /// The learning rate (Scalar).
    Rate,
    /// What a penalty is a function of, at least 0: norms of groups, or magnitudes of elements (Group).
    Norms,
    /// Step length of a prox (Scalar).
    Tau,
    /// Number of elements of each group (Group).
    Size,
    /// Cost and energy declared with the group; 1 without (Group).
    Cost,
    Energy,
    State(String),
    Mask(String),
    /// A mask as it was before it was computed the last time.
    Previous(String),
    /// A number that never changes, exact in either precision.
    Number(#[serde(with = "super::serial::number")] f64),
    Schedule(Schedule),
    /// Steps done before this one, the length of the run, and their quotient.
    Step,
    Steps,
    Progress,
    /// A parameter of a definition that is checked without a use.
    Param(String),
    /// The unknown of a [`Compute::Root`].
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fold {
    Sum,
    Mean,
    Max,
    Min,
    /// How many are true.
    Count,
}

/// `factor * clip(slope * t + offset, low, high)` summed over groups; each part is a Scalar or a Group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clips {
    pub factor: ValueId,
    pub slope: ValueId,
    pub offset: ValueId,
    pub low: ValueId,
    pub high: ValueId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    Input(Input),
    /// Pointwise, in the widest space of its arguments.
    Map {
        expr: ScalarExpr,
        args: Vec<ValueId>,
    },
    /// Over all positions, or those where `guard` is true. Sum and count of nothing are 0; the others are NaN.
    Fold {
        fold: Fold,
        arg: ValueId,
        guard: Option<ValueId>,
    },
    /// Groups of the constraint with an element in the mask, in each scope.
    CountPer {
        mask: ValueId,
    },
    /// The constraint's choice among the weights as they are (Element, bool): exactly its amount.
    Select,
    /// A random choice of the same amount. The same seed gives the same choice.
    RandomChoice {
        seed: u64,
    },
    /// The `n` groups of greatest `by` in each scope, ties to the lower index, among those with an element in `among`.
    /// A group's value is the root of the sum of squares of its elements'.
    Top {
        n: ValueId,
        by: ValueId,
        among: Option<ValueId>,
    },
    /// A number in 0..1 for each element, fixed by the seed, the step and the element's place.
    Noise {
        seed: u64,
    },
    /// The t in `from..to` at which a sum of clips minus `less` is 0. The sum must not fall as t grows. Where it never gets
    /// there: the smallest t at which it is greatest (or `from`, where it is above everywhere).
    RootOfClips {
        sum: Clips,
        less: ValueId,
        from: ValueId,
        to: ValueId,
    },
    /// As [`Compute::RootOfClips`] for any nondecreasing function: `body` computes it from [`Input::Unknown`] and from the
    /// values before it, which `body` reads as [`Compute::Outer`]. Found by bisection to the last bit.
    Root {
        body: Box<Body>,
        from: ValueId,
        to: ValueId,
    },
    /// A value of the body around this one.
    Outer(ValueId),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Name in the program, where it has one.
    pub name: Option<String>,
    pub compute: Compute,
    pub space: Space,
    pub kind: Kind,
}

/// What a result replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The hook's own result: what `forward`, `grad`, `value`, `prox` give.
    Result,
    Weight,
    Moments,
    State(String),
    Mask(String),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Body {
    pub values: Vec<Value>,
    pub results: Vec<(Target, ValueId)>,
}

impl Body {
    pub fn result(&self, target: &Target) -> Option<ValueId> {
        self.results.iter().find(|(t, _)| t == target).map(|(_, v)| *v)
    }

    /// Ids that a computation reads.
    pub fn reads(c: &Compute) -> Vec<ValueId> {
        match c {
            Compute::Input(_)
            | Compute::Select
            | Compute::RandomChoice { .. }
            | Compute::Noise { .. }
            | Compute::Outer(_) => vec![],
            Compute::Map { args, .. } => args.clone(),
            Compute::Fold { arg, guard, .. } => std::iter::once(*arg).chain(*guard).collect(),
            Compute::CountPer { mask } => vec![*mask],
            Compute::Top { n, by, among } => [*n, *by].into_iter().chain(*among).collect(),
            Compute::RootOfClips { sum, less, from, to } => {
                vec![sum.factor, sum.slope, sum.offset, sum.low, sum.high, *less, *from, *to]
            }
            Compute::Root { body, from, to } => {
                let outer =
                    body.values.iter().filter_map(|v| if let Compute::Outer(o) = v.compute { Some(o) } else { None });
                [*from, *to].into_iter().chain(outer).collect()
            }
        }
    }

    /// Drops values that no result needs.
    pub fn prune(&mut self) {
        let mut live = vec![false; self.values.len()];
        let mut todo: Vec<ValueId> = self.results.iter().map(|(_, v)| *v).collect();
        while let Some(id) = todo.pop() {
            let Some(seen) = live.get_mut(id as usize) else { continue };
            if !std::mem::replace(seen, true) {
                todo.extend(Body::reads(&self.values[id as usize].compute));
            }
        }
        let mut next = 0;
        let new: Vec<ValueId> = live
            .iter()
            .map(|l| {
                next += u32::from(*l);
                next.saturating_sub(1)
            })
            .collect();
        let place = |id: &mut ValueId| *id = new.get(*id as usize).copied().unwrap_or(*id);
        let mut keep = live.iter();
        self.values.retain(|_| keep.next().copied().unwrap_or(false));
        for v in &mut self.values {
            match &mut v.compute {
                Compute::Map { args, .. } => args.iter_mut().for_each(place),
                Compute::Fold { arg, guard, .. } => std::iter::once(arg).chain(guard).for_each(place),
                Compute::CountPer { mask } => place(mask),
                Compute::Top { n, by, among } => [n, by].into_iter().chain(among).for_each(place),
                Compute::RootOfClips { sum, less, from, to } => {
                    let Clips { factor, slope, offset, low, high } = sum;
                    [factor, slope, offset, low, high, less, from, to].into_iter().for_each(place);
                }
                Compute::Root { body, from, to } => {
                    [from, to].into_iter().for_each(place);
                    for inner in &mut body.values {
                        if let Compute::Outer(o) = &mut inner.compute {
                            place(o);
                        }
                    }
                }
                _ => {}
            }
        }
        self.results.iter_mut().for_each(|(_, v)| place(v));
    }

    /// Checks that values come before their uses, that maps have the types they need, and that spaces fit.
    ///
    /// # Errors
    /// What is wrong, in words for a bug report.
    pub fn verify(&self) -> Result<(), String> {
        self.verify_in(None)
    }

    fn verify_in(&self, outer: Option<&[Value]>) -> Result<(), String> {
        for (i, v) in self.values.iter().enumerate() {
            let earlier = |id: &ValueId| {
                self.values[..i].get(*id as usize).ok_or(format!("value {i} reads {id}, which is not before it"))
            };
            if !matches!(v.compute, Compute::Root { .. }) {
                for id in Body::reads(&v.compute) {
                    earlier(&id)?;
                }
            }
            match &v.compute {
                Compute::Map { expr, args } => {
                    let values = args.iter().map(earlier).collect::<Result<Vec<_>, _>>()?;
                    let types: Vec<DType> = values.iter().map(|v| v.kind.dtype()).collect();
                    let ty = expr.dtype(&types).map_err(|e| format!("value {i}: {e}"))?;
                    if ty.is_some_and(|t| t != v.kind.dtype()) {
                        return Err(format!("value {i} is not {:?}", v.kind));
                    }
                    if values.iter().any(|a| a.space > v.space) {
                        return Err(format!("value {i} reads a wider space than its own"));
                    }
                }
                Compute::Root { body, from, to } => {
                    earlier(from)?;
                    earlier(to)?;
                    body.verify_in(Some(&self.values[..i]))?;
                    if body.result(&Target::Result).is_none() {
                        return Err(format!("value {i}: a root of nothing"));
                    }
                }
                Compute::Outer(o) => {
                    let there =
                        outer.and_then(|o2| o2.get(*o as usize)).ok_or(format!("value {i}: no outer value {o}"))?;
                    if (there.space, there.kind) != (v.space, v.kind) {
                        return Err(format!("value {i} differs from outer value {o}"));
                    }
                }
                _ => {}
            }
        }
        match self.results.iter().find(|(_, v)| *v as usize >= self.values.len()) {
            Some((_, v)) => Err(format!("a result is {v}, which is not there")),
            None => Ok(()),
        }
    }
}
