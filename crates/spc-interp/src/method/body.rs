//! Runs the body of a hook.
use super::cover::{Cover, NONE};
use super::root::{Clip, bisect, of_clips};
use super::{Data, MethodError};
use crate::Real;
use crate::scalar::{Args, Column, float, truth};
use crate::testing::splitmix64;
use spc_base::Bug;
use spc_ir::method::{Body, Compute, Fold, Input, Kind, Moment, Space, Target, Value, ValueId};
use spc_ir::{DType, Require};
use std::collections::BTreeMap;

/// Everything that a body may read.
pub(crate) struct Env<'a, R> {
    pub cover: &'a Cover,
    /// The constraint as it is at this moment, for choices; none where there is nothing to choose.
    pub require: Option<&'a Require>,
    /// Gradients of the step before, for its score.
    pub last: &'a BTreeMap<String, Vec<R>>,
    pub moment: Moment,
    pub weight: &'a [R],
    pub grad: &'a [R],
    pub moments: &'a [R],
    pub rate: R,
    /// What a penalty is a function of; the sizes of the groups go with it.
    pub norms: &'a [R],
    pub sizes: &'a [R],
    /// Cost and energy of each group; empty: 1.
    pub costs: &'a [R],
    pub energies: &'a [R],
    /// Step length of a prox: one for all, or one for each group. Empty: 0.
    pub tau: &'a [R],
    pub masks: &'a BTreeMap<String, Vec<bool>>,
    pub previous: &'a BTreeMap<String, Vec<bool>>,
    pub states: &'a BTreeMap<String, Data<R>>,
}

/// What a penalty sees of groups.
#[derive(Clone, Debug)]
pub(crate) struct Seen<R> {
    pub norms: Vec<R>,
    pub sizes: Vec<R>,
    pub costs: Vec<R>,
    pub energies: Vec<R>,
}

impl<R: Real> Seen<R> {
    pub fn nothing() -> Seen<R> {
        Seen { norms: Vec::new(), sizes: Vec::new(), costs: Vec::new(), energies: Vec::new() }
    }

    /// One of the groups.
    pub fn one(&self, i: usize) -> Seen<R> {
        let at = |v: &[R]| v.get(i).map(|x| vec![*x]).unwrap_or_default();
        Seen { norms: at(&self.norms), sizes: at(&self.sizes), costs: at(&self.costs), energies: at(&self.energies) }
    }
}

impl<'a, R: Real> Env<'a, R> {
    /// Nothing but what a penalty sees of groups.
    pub fn of_groups(cover: &'a Cover, moment: Moment, g: &'a Seen<R>, tau: &'a [R]) -> Env<'a, R> {
        static EMPTY: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        Env {
            cover,
            require: None,
            last: nothing(),
            moment,
            weight: &[],
            grad: &[],
            moments: &[],
            rate: R::ZERO,
            norms: &g.norms,
            sizes: &g.sizes,
            costs: &g.costs,
            energies: &g.energies,
            tau,
            masks: &EMPTY,
            previous: &EMPTY,
            states: empty(),
        }
    }

    pub(super) fn count(&self, space: Space) -> usize {
        match space {
            Space::Scalar => 1,
            Space::Scope => self.cover.scopes,
            Space::Group if self.norms.is_empty() => self.cover.groups(),
            Space::Group => self.norms.len(),
            Space::Element => self.weight.len(),
        }
    }

    /// Position in a narrower space.
    pub(super) fn place(&self, from: Space, to: Space, i: usize) -> usize {
        let group = |i: usize| self.cover.group.get(i).copied().filter(|g| *g != NONE).unwrap_or(0) as usize;
        let scope = |g: usize| self.cover.scope.get(g).copied().unwrap_or(0) as usize;
        match (from, to) {
            (a, b) if a == b => i,
            (_, Space::Scalar) => 0,
            (Space::Element, Space::Group) => group(i),
            (Space::Element, _) => scope(group(i)),
            (Space::Group, _) => scope(i),
            _ => i,
        }
    }

    /// All values of a body.
    pub fn run(&self, body: &Body) -> Result<Vec<Data<R>>, MethodError> {
        self.values(body, &[], R::ZERO)
    }

    /// The result of a body that has one.
    pub fn result(&self, body: &Body) -> Result<Data<R>, MethodError> {
        take(self.run(body)?, body, &Target::Result)
    }

    /// A single number.
    pub fn scalar(&self, body: &Body) -> Result<R, MethodError> {
        match self.result(body)? {
            Data::F(v) => v.first().copied().ok_or_else(|| Bug::new("a scalar without a value").into()),
            Data::B(_) => Err(Bug::new("a condition where a number was checked").into()),
        }
    }

    pub(super) fn values(&self, body: &Body, outer: &[Data<R>], unknown: R) -> Result<Vec<Data<R>>, MethodError> {
        let mut out: Vec<Data<R>> = Vec::with_capacity(body.values.len());
        for v in &body.values {
            let x = self.value(body, v, &out, outer, unknown)?;
            if x.len() != self.count(v.space) {
                return Err(Bug::new(format!("a value of {} positions in a {} space", x.len(), v.space)).into());
            }
            out.push(x);
        }
        Ok(out)
    }

    pub(super) fn value(
        &self,
        body: &Body,
        v: &Value,
        done: &[Data<R>],
        outer: &[Data<R>],
        unknown: R,
    ) -> Result<Data<R>, MethodError> {
        let lost = || Bug::new("a value is read before it is there");
        let get = |id: &ValueId| done.get(*id as usize).ok_or_else(lost);
        let floats = |id: &ValueId| get(id)?.floats().ok_or_else(|| Bug::new("a mask where a number was checked"));
        let truths = |id: &ValueId| get(id)?.truths().ok_or_else(|| Bug::new("a number where a mask was checked"));
        let one = |id: &ValueId| floats(id).and_then(|v| v.first().copied().ok_or_else(lost));
        Ok(match &v.compute {
            Compute::Input(i) => self.input(i, v, unknown)?,
            Compute::Outer(o) => outer.get(*o as usize).cloned().ok_or_else(lost)?,
            Compute::Map { expr, args } => {
                let spaces: Vec<Space> =
                    args.iter().filter_map(|a| body.values.get(*a as usize)).map(|v| v.space).collect();
                let data = args.iter().map(get).collect::<Result<Vec<_>, _>>()?;
                let types: Vec<DType> = data.iter().map(|d| d.kind().dtype()).collect();
                let columns: Vec<Column<R>> = data
                    .iter()
                    .map(|d| Column { f: d.floats().unwrap_or_default(), i: &[], b: d.truths().unwrap_or_default() })
                    .collect();
                let mut at = vec![0; args.len()];
                let n = self.count(v.space);
                let place = |i: usize, at: &mut Vec<usize>| {
                    for (a, s) in at.iter_mut().zip(&spaces) {
                        *a = self.place(v.space, *s, i);
                    }
                };
                match v.kind {
                    Kind::Float => {
                        let f = float::<R>(expr, &types)?;
                        Data::F(
                            (0..n)
                                .map(|i| {
                                    place(i, &mut at);
                                    f.eval(&Args { columns: &columns, at: &at })
                                })
                                .collect(),
                        )
                    }
                    Kind::Bool => {
                        let f = truth::<R>(expr, &types)?;
                        Data::B(
                            (0..n)
                                .map(|i| {
                                    place(i, &mut at);
                                    f.eval(&Args { columns: &columns, at: &at })
                                })
                                .collect(),
                        )
                    }
                }
            }
            Compute::Fold { fold, arg, guard } => {
                let guard = guard.as_ref().map(truths).transpose()?;
                let counts = |i: &usize| guard.is_none_or(|g| g.get(*i).copied().unwrap_or(false));
                if *fold == Fold::Count {
                    let n = truths(arg)?.iter().enumerate().filter(|(i, b)| **b && counts(i)).count();
                    return Ok(Data::F(vec![R::from_f64(n as f64)]));
                }
                let list: Vec<R> =
                    floats(arg)?.iter().enumerate().filter(|(i, _)| counts(i)).map(|(_, v)| *v).collect();
                let sum = || list.iter().fold(R::ZERO, |a, b| a + *b);
                let best = |f: fn(R, R) -> R| list.iter().copied().reduce(f).unwrap_or(R::from_f64(f64::NAN));
                Data::F(vec![match fold {
                    Fold::Sum | Fold::Count => sum(),
                    Fold::Mean => sum() / R::from_f64(list.len() as f64),
                    Fold::Max => best(R::maximum),
                    Fold::Min => best(R::minimum),
                }])
            }
            Compute::CountPer { mask } => {
                let mut n = vec![0u64; self.cover.scopes];
                for (g, here) in self.any(truths(mask)?).into_iter().enumerate() {
                    n[self.place(Space::Group, Space::Scope, g)] += u64::from(here);
                }
                Data::F(n.into_iter().map(|n| R::from_f64(n as f64)).collect())
            }
            Compute::Select => Data::B(match self.require {
                Some(r) => self.cover.select(r, self.weight, None, Some(self.last))?,
                None => vec![true; self.weight.len()],
            }),
            Compute::RandomChoice { seed } => Data::B(match self.require {
                Some(r) => self.cover.random(r, *seed)?,
                None => vec![true; self.weight.len()],
            }),
            Compute::Noise { seed } => {
                let step =
                    splitmix64(seed.wrapping_add(self.moment.step.unwrap_or(0).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
                let unit = |i: usize| (splitmix64(step.wrapping_add(i as u64)) >> 11) as f64 / (1u64 << 53) as f64;
                Data::F((0..self.weight.len()).map(|i| R::from_f64(unit(i))).collect())
            }
            Compute::Top { n, by, among } => {
                let among = among.as_ref().map(truths).transpose()?;
                Data::B(self.top(
                    get(n)?,
                    body.values.get(*n as usize).map_or(Space::Scalar, |v| v.space),
                    floats(by)?,
                    among,
                )?)
            }
            Compute::RootOfClips { sum, less, from, to } => {
                let n = self.count(Space::Group);
                let column = |id: &ValueId| -> Result<Vec<f64>, Bug> {
                    let v = floats(id)?;
                    let space = body.values.get(*id as usize).map_or(Space::Scalar, |v| v.space);
                    let at = |i: usize| v.get(self.place(Space::Group, space, i)).map_or(f64::NAN, |x| x.to_f64());
                    Ok((0..n).map(at).collect())
                };
                let [a, b, c, d, e] = [&sum.factor, &sum.slope, &sum.offset, &sum.low, &sum.high].map(column);
                let (a, b, c, d, e) = (a?, b?, c?, d?, e?);
                let clip = |i: usize| Clip { factor: a[i], slope: b[i], offset: c[i], low: d[i], high: e[i] };
                let clips: Vec<Clip> = (0..n).map(clip).collect();
                let t = of_clips(&clips, one(less)?.to_f64(), one(from)?.to_f64(), one(to)?.to_f64());
                Data::F(vec![R::from_f64(t.ok_or(MethodError::Falls)?)])
            }
            Compute::Root { body: inner, from, to } => {
                let mut f = |t: f64| -> Result<f64, MethodError> {
                    let x = take(self.values(inner, done, R::from_f64(t))?, inner, &Target::Result)?;
                    Ok(x.floats().and_then(|v| v.first()).map_or(f64::NAN, |x| x.to_f64()))
                };
                let t = bisect(one(from)?.to_f64(), one(to)?.to_f64(), &mut f)?;
                Data::F(vec![R::from_f64(t)])
            }
        })
    }

    fn input(&self, i: &Input, v: &Value, unknown: R) -> Result<Data<R>, MethodError> {
        let steps = |n: Option<u64>| Data::F(vec![R::from_f64(n.unwrap_or(0) as f64)]);
        let lost = |name: &str| MethodError::from(Bug::new(format!("the update has no `{name}`")));
        Ok(match i {
            Input::Weight => Data::F(self.weight.to_vec()),
            Input::Grad => Data::F(self.grad.to_vec()),
            Input::Moments => Data::F(self.moments.to_vec()),
            Input::Norms => Data::F(self.norms.to_vec()),
            Input::Size if self.sizes.is_empty() => {
                let mut n = vec![0u64; self.cover.groups()];
                self.cover.group.iter().filter(|g| **g != NONE).for_each(|g| n[*g as usize] += 1);
                Data::F(n.into_iter().map(|n| R::from_f64(n as f64)).collect())
            }
            Input::Size => Data::F(self.sizes.to_vec()),
            Input::Cost if !self.costs.is_empty() => Data::F(self.costs.to_vec()),
            Input::Energy if !self.energies.is_empty() => Data::F(self.energies.to_vec()),
            Input::Cost | Input::Energy => Data::F(vec![R::from_f64(1.0); self.count(Space::Group)]),
            Input::Rate => Data::F(vec![self.rate]),
            Input::Tau if v.space == Space::Group => Data::F(self.tau.to_vec()),
            Input::Tau => Data::F(vec![self.tau.first().copied().unwrap_or(R::ZERO)]),
            Input::State(n) => self.states.get(n).cloned().ok_or_else(|| lost(n))?,
            Input::Mask(n) => Data::B(self.masks.get(n).cloned().ok_or_else(|| lost(n))?),
            Input::Previous(n) => Data::B(self.previous.get(n).cloned().ok_or_else(|| lost(n))?),
            Input::Number(x) => Data::F(vec![R::from_f64(*x)]),
            Input::Schedule(s) => {
                let q = s.at(&self.moment).map_err(|_| Bug::new("a step without the length of its run"))?;
                Data::F(vec![R::from_f64(q.value)])
            }
            Input::Step => steps(self.moment.step),
            Input::Steps => steps(self.moment.steps),
            Input::Progress => Data::F(vec![R::from_f64(self.moment.progress.to_f64())]),
            Input::Param(p) => return Err(Bug::new(format!("the parameter `{p}` has no value in {v:?}")).into()),
            Input::Unknown => Data::F(vec![unknown]),
        })
    }

    /// Whether each group has an element in the mask.
    fn any(&self, mask: &[bool]) -> Vec<bool> {
        let mut out = vec![false; self.cover.groups()];
        for (g, m) in self.cover.group.iter().zip(mask) {
            if *g != NONE {
                out[*g as usize] |= *m;
            }
        }
        out
    }

    /// The best groups of each scope, as a mask of elements.
    fn top(&self, n: &Data<R>, space: Space, by: &[R], among: Option<&[bool]>) -> Result<Vec<bool>, MethodError> {
        let groups = self.cover.groups();
        let (mut score, mut size) = (vec![0.0f64; groups], vec![0u32; groups]);
        for (i, (g, x)) in self.cover.group.iter().zip(by).enumerate() {
            let v = x.to_f64();
            if v.is_nan() {
                let (weight, index) = self.cover.place(i);
                return Err(MethodError::NotFinite { what: "the score".into(), weight: weight.into(), index });
            }
            if *g != NONE {
                size[*g as usize] += 1;
                score[*g as usize] = if size[*g as usize] == 1 { v } else { score[*g as usize].hypot(v) };
            }
        }
        let allowed = among.map(|m| self.any(m));
        let mut scopes: Vec<Vec<u32>> = vec![Vec::new(); self.cover.scopes];
        for g in (0..groups).filter(|g| allowed.as_ref().is_none_or(|a| a[*g])) {
            scopes[self.cover.scope[g] as usize].push(g as u32);
        }
        let n = n.floats().ok_or_else(|| Bug::new("a mask as a number"))?;
        let mut best = vec![false; groups];
        for (s, mut list) in scopes.into_iter().enumerate() {
            let want = n.get(if space == Space::Scalar { 0 } else { s }).map_or(0.0, |x| x.to_f64());
            // Greatest first; -0 is 0; ties to the lower index.
            list.sort_unstable_by(|a, b| {
                let key = |g: &u32| score[*g as usize] + 0.0;
                key(b).total_cmp(&key(a)).then(a.cmp(b))
            });
            let want = if want >= 1.0 { want as usize } else { 0 };
            list.into_iter().take(want).for_each(|g| best[g as usize] = true);
        }
        Ok(self.cover.group.iter().map(|g| *g != NONE && best[*g as usize]).collect())
    }
}

fn nothing<R>() -> &'static BTreeMap<String, Vec<R>> {
    const { &BTreeMap::new() }
}

fn empty<R>() -> &'static BTreeMap<String, Data<R>> {
    const { &BTreeMap::new() }
}

/// One result of a body.
pub(crate) fn take<R: Real>(mut values: Vec<Data<R>>, body: &Body, target: &Target) -> Result<Data<R>, MethodError> {
    let id = body.result(target).ok_or_else(|| Bug::new("a body without its result"))? as usize;
    if id >= values.len() {
        return Err(Bug::new("a result that is not there").into());
    }
    Ok(values.swap_remove(id))
}
