//! Proxes in the metric of an optimiser that scales each weight's step by itself: what of a prox's body such a metric changes.
//!
//! A step `w - rate * m / d` is a gradient step in the metric `diag(d)`, so the prox that belongs to it minimises
//! `sum(d[i] (x[i] - v[i])^2) / 2 + rate * p(x)` (Yun, Lozano and Yang 2021; Becker and Fadili 2012).
use super::{Body, Compute, Input, Kind, Lift, Space, Target, Term, Value, ValueId};
use crate::{BinFn, ScalarExpr as S};

/// How the prox of a term is taken in such a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InMetric {
    Exact,
    /// One step length for each group, by the mean of its d.
    ByGroup,
    /// One step length, by the mean of all d.
    Whole,
}

impl Term {
    /// How its prox is taken in a metric `diag(d)`. None without a prox.
    pub fn in_metric(&self) -> Option<InMetric> {
        let prox = self.prox.as_ref()?;
        Some(match self.lift {
            _ if !prox.is_separate() => InMetric::Whole,
            Lift::Elements => InMetric::Exact,
            Lift::Groups if prox.soft_threshold().is_some() => InMetric::Exact,
            Lift::Groups => InMetric::ByGroup,
            Lift::Tree | Lift::Sum | Lift::Latent => InMetric::Whole,
        })
    }
}

impl Body {
    /// Whether it treats each group by itself.
    pub fn is_separate(&self) -> bool {
        self.values.iter().all(|v| matches!(v.compute, Compute::Input(_) | Compute::Map { .. }))
    }

    /// The same of a prox with a step length for each group in place of one for all. Only for bodies that are
    /// [separate](Body::is_separate).
    #[must_use]
    pub fn with_steps_of_groups(&self) -> Body {
        let mut out = self.clone();
        for i in 0..out.values.len() {
            let wide = match &out.values[i].compute {
                Compute::Input(Input::Tau) => Some(Space::Group),
                Compute::Map { args, .. } => {
                    args.iter().filter_map(|a| out.values.get(*a as usize)).map(|v| v.space).max()
                }
                _ => None,
            };
            let own = out.values[i].space;
            out.values[i].space = wide.map_or(own, |w| w.max(own));
        }
        out
    }

    /// Of a prox that is `max(norm - x, 0)`, where `x` is a multiple of the step length and does not depend on norms: `x`
    /// (Group, or narrower). The norm of the group is such a penalty, under whatever name.
    pub fn soft_threshold(&self) -> Option<Body> {
        let mut leaves = Vec::new();
        let whole = self.expanded(self.result(&Target::Result)?, &mut leaves, &mut 0)?;
        let S::Bin(BinFn::Max, a, b) = &whole else { return None };
        let zero = |e: &S| *e == S::Const(0.0);
        let gap = if zero(b) { a } else { Some(b).filter(|_| zero(a))? };
        let S::Bin(BinFn::Sub, norm, less) = &**gap else { return None };
        let input = |e: &S| match e {
            S::Arg(i) => leaves.get(usize::from(*i)).and_then(|l: &ValueId| self.values.get(*l as usize)),
            _ => None,
        };
        let is = |e: &S, what: &Input| input(e).is_some_and(|v| v.compute == Compute::Input(what.clone()));
        if !is(norm, &Input::Norms)
            || reads(less, &|e| is(e, &Input::Norms))
            || !multiple(less, &|e| is(e, &Input::Tau))
        {
            return None;
        }
        let mut values: Vec<Value> = leaves.iter().filter_map(|l| self.values.get(*l as usize)).cloned().collect();
        let space = values.iter().map(|v| v.space).filter(|s| *s <= Space::Group).max()?;
        let args = (0..values.len() as ValueId).collect();
        let id = values.len() as ValueId;
        values.push(Value {
            name: None,
            compute: Compute::Map { expr: (**less).clone(), args },
            space,
            kind: Kind::Float,
        });
        let mut out = Body { values, results: vec![(Target::Result, id)] };
        out.drop_unread_arguments();
        out.prune();
        Some(out)
    }

    /// Arguments that the last value does not read leave it; its space is that of the others.
    fn drop_unread_arguments(&mut self) {
        let Some(last) = self.values.len().checked_sub(1) else { return };
        let Compute::Map { expr, args } = self.values[last].compute.clone() else { return };
        let read: Vec<usize> = (0..args.len()).filter(|i| expr.uses(*i as u8) > 0).collect();
        let new = |i: u8| S::Arg(read.iter().position(|r| *r == usize::from(i)).unwrap_or(0) as u8);
        let kept: Vec<ValueId> = read.iter().map(|i| args[*i]).collect();
        let space = kept.iter().filter_map(|a| self.values.get(*a as usize)).map(|v| v.space).max();
        self.values[last].space = space.unwrap_or(Space::Scalar);
        self.values[last].compute = Compute::Map { expr: expr.substitute(&new), args: kept };
    }

    /// A value as one expression of inputs, which `leaves` lists.
    fn expanded(&self, id: ValueId, leaves: &mut Vec<ValueId>, size: &mut usize) -> Option<S> {
        *size += 1;
        if *size > 64 {
            return None;
        }
        match &self.values.get(id as usize)?.compute {
            Compute::Input(Input::Number(x)) => Some(S::Const(*x)),
            Compute::Input(_) => {
                let at = leaves.iter().position(|l| *l == id).unwrap_or_else(|| {
                    leaves.push(id);
                    leaves.len() - 1
                });
                Some(S::Arg(u8::try_from(at).ok()?))
            }
            Compute::Map { expr, args } => {
                let args = args.iter().map(|a| self.expanded(*a, leaves, size)).collect::<Option<Vec<S>>>()?;
                let e = expr.substitute(&|i| args.get(usize::from(i)).cloned().unwrap_or(S::Arg(u8::MAX)));
                (e.size() <= 256).then_some(e)
            }
            _ => None,
        }
    }
}

/// Whether a part of an expression is such a leaf.
fn reads(e: &S, leaf: &dyn Fn(&S) -> bool) -> bool {
    leaf(e) || e.children().into_iter().any(|c| reads(c, leaf))
}

/// Whether an expression is a leaf times something without it.
fn multiple(e: &S, leaf: &dyn Fn(&S) -> bool) -> bool {
    match e {
        S::Bin(BinFn::Mul, a, b) => (multiple(a, leaf) && !reads(b, leaf)) || (multiple(b, leaf) && !reads(a, leaf)),
        S::Bin(BinFn::Div, a, b) => multiple(a, leaf) && !reads(b, leaf),
        _ => leaf(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(values: Vec<(Compute, Space)>) -> Body {
        let last = values.len() as ValueId - 1;
        let value = |(compute, space)| Value { name: None, compute, space, kind: Kind::Float };
        Body { values: values.into_iter().map(value).collect(), results: vec![(Target::Result, last)] }
    }

    fn arg(i: u8) -> S {
        S::Arg(i)
    }

    fn soft(cut: S) -> Body {
        let expr = S::bin(BinFn::Max, S::bin(BinFn::Sub, arg(0), cut), S::Const(0.0));
        body(vec![
            (Compute::Input(Input::Norms), Space::Group),
            (Compute::Input(Input::Tau), Space::Scalar),
            (Compute::Input(Input::Cost), Space::Group),
            (Compute::Map { expr, args: vec![0, 1, 2] }, Space::Group),
        ])
    }

    #[test]
    fn a_soft_threshold_is_found() {
        let b = soft(S::bin(BinFn::Mul, arg(1), arg(2))).soft_threshold().unwrap();
        assert_eq!(b.verify(), Ok(()));
        assert_eq!(b.values.len(), 3, "{b}");
        assert_eq!(b.values.last().map(|v| v.space), Some(Space::Group));
        // Through a value of its own, and over a constant.
        let half = S::bin(BinFn::Div, arg(0), S::Const(2.0));
        let expr = S::bin(BinFn::Max, S::Const(0.0), S::bin(BinFn::Sub, arg(0), arg(1)));
        let b = body(vec![
            (Compute::Input(Input::Norms), Space::Group),
            (Compute::Input(Input::Tau), Space::Scalar),
            (Compute::Map { expr: half, args: vec![1] }, Space::Scalar),
            (Compute::Map { expr, args: vec![0, 2] }, Space::Group),
        ]);
        let b = b.soft_threshold().unwrap();
        assert_eq!(b.values.last().map(|v| v.space), Some(Space::Scalar));
    }

    #[test]
    fn other_bodies_are_not_soft_thresholds() {
        for cut in [
            arg(2),
            S::bin(BinFn::Mul, arg(1), arg(1)),
            S::bin(BinFn::Mul, arg(1), arg(0)),
            S::bin(BinFn::Div, arg(2), arg(1)),
            S::bin(BinFn::Add, arg(1), arg(2)),
        ] {
            assert_eq!(soft(cut.clone()).soft_threshold(), None, "{cut}");
        }
    }

    #[test]
    fn steps_of_groups_widen_what_they_reach() {
        let half = S::bin(BinFn::Div, arg(0), S::Const(2.0));
        let b = body(vec![
            (Compute::Input(Input::Tau), Space::Scalar),
            (Compute::Input(Input::Number(3.0)), Space::Scalar),
            (Compute::Map { expr: half, args: vec![0] }, Space::Scalar),
        ]);
        let spaces: Vec<Space> = b.with_steps_of_groups().values.iter().map(|v| v.space).collect();
        assert_eq!(spaces, [Space::Group, Space::Scalar, Space::Group]);
    }
}
