//! Derivatives of bodies, backwards: how much a result changes with each value that it was computed from.
//!
//! At a kink the derivative is that of the branch that was taken, with 0 for `abs` and `sqrt` at 0: one of the subgradients.
//! Choices, counts and `floor` do not change with what they read.
use super::Data;
use super::MethodError;
use super::body::{Env, Seen};
use super::cover::Cover;
use crate::Real;
use spc_base::Bug;
use spc_ir::method::{Body, Compute, Fold, Input, Kind, Moment, Space, Target, Value};
use spc_ir::{BinFn, ScalarExpr, UnFn};

/// The derivative of the sum of a body's result by each norm.
pub(super) fn by_norms<R: Real>(body: &Body, cover: &Cover, m: Moment, seen: &Seen<R>) -> Result<Vec<R>, MethodError> {
    let env = Env::of_groups(cover, m, seen, &[]);
    let values = env.run(body)?;
    let slopes = backwards(&env, body, &values, &[], R::ZERO)?;
    let mut out = vec![R::ZERO; seen.norms.len()];
    for (v, s) in body.values.iter().zip(slopes) {
        if v.compute == Compute::Input(Input::Norms) {
            out.iter_mut().zip(s).for_each(|(o, s)| *o += s);
        }
    }
    Ok(out)
}

/// The derivative of the sum of the result by every value; empty where it is 0.
fn backwards<R: Real>(
    env: &Env<'_, R>,
    body: &Body,
    values: &[Data<R>],
    outer: &[Data<R>],
    unknown: R,
) -> Result<Vec<Vec<R>>, MethodError> {
    let lost = || Bug::new("a body without a result");
    let mut slopes: Vec<Vec<R>> = vec![Vec::new(); values.len()];
    let result = body.result(&Target::Result).ok_or_else(lost)? as usize;
    *slopes.get_mut(result).ok_or_else(lost)? = vec![R::from_f64(1.0); values.get(result).map_or(0, Data::len)];
    let space = |id: u32| body.values.get(id as usize).map_or(Space::Scalar, |v| v.space);
    for (i, v) in body.values.iter().enumerate().rev() {
        let own = slopes.get(i).cloned().unwrap_or_default();
        if own.is_empty() {
            continue;
        }
        let mut give = |id: u32, part: Vec<R>| {
            let (from, to) = (v.space, space(id));
            let n = values.get(id as usize).map_or(0, Data::len);
            let Some(slot) = slopes.get_mut(id as usize) else { return };
            if slot.is_empty() {
                *slot = vec![R::ZERO; n];
            }
            for (j, p) in part.into_iter().enumerate() {
                // A part over more positions than the value has adds up; one over fewer repeats.
                let at = if from >= to { env.place(from, to, j) } else { j };
                if let Some(s) = slot.get_mut(at) {
                    *s += p;
                }
            }
        };
        match &v.compute {
            Compute::Map { expr, args } => {
                for (k, a) in args.iter().enumerate() {
                    let float = body.values.get(*a as usize).is_some_and(|v| v.kind == Kind::Float);
                    let Some(d) = float.then(|| derive(expr, k as u8)).flatten() else { continue };
                    let compute = Compute::Map { expr: d, args: args.clone() };
                    let d = Value { name: None, compute, space: v.space, kind: Kind::Float };
                    let d = env.value(body, &d, values, outer, unknown)?;
                    let d = d.floats().ok_or_else(|| Bug::new("a derivative that is no number"))?;
                    // What does not depend adds nothing, whatever the other factor is.
                    let part =
                        own.iter().zip(d).map(|(s, d)| if *s == R::ZERO || *d == R::ZERO { R::ZERO } else { *s * *d });
                    give(*a, part.collect());
                }
            }
            Compute::Fold { fold, arg, guard } => {
                let Some(x) = values.get(*arg as usize).and_then(Data::floats) else { continue };
                let here = |j: usize| match guard.and_then(|g| values.get(g as usize)) {
                    Some(g) => g.truths().and_then(|g| g.get(j).copied()).unwrap_or(false),
                    None => true,
                };
                let count = (0..x.len()).filter(|j| here(*j)).count();
                let total = own.first().copied().unwrap_or(R::ZERO);
                let best = values.get(i).and_then(Data::floats).and_then(|v| v.first().copied());
                let first = (0..x.len()).find(|j| here(*j) && x.get(*j).copied() == best);
                let one = |j: usize| match fold {
                    _ if !here(j) => R::ZERO,
                    Fold::Sum => total,
                    Fold::Mean => total / R::from_f64(count as f64),
                    Fold::Max | Fold::Min if first == Some(j) => total,
                    _ => R::ZERO,
                };
                let part: Vec<R> = (0..x.len()).map(one).collect();
                if let Some(slot) = slopes.get_mut(*arg as usize) {
                    if slot.is_empty() {
                        *slot = vec![R::ZERO; part.len()];
                    }
                    slot.iter_mut().zip(part).for_each(|(s, p)| *s += p);
                }
            }
            Compute::RootOfClips { sum, less, .. } => {
                let n = env.count(Space::Group);
                let t = one(values.get(i))?;
                let column = |id: u32| -> Vec<f64> {
                    let v = values.get(id as usize).and_then(Data::floats).unwrap_or_default();
                    let at = |j: usize| v.get(env.place(Space::Group, space(id), j)).map_or(f64::NAN, |x| x.to_f64());
                    (0..n).map(at).collect()
                };
                let (a, b, c) = (column(sum.factor), column(sum.slope), column(sum.offset));
                let (low, high) = (column(sum.low), column(sum.high));
                let line: Vec<f64> = (0..n).map(|j| b[j] * t + c[j]).collect();
                let inside = |j: usize| line[j] > low[j] && line[j] < high[j];
                let rate: f64 = (0..n).filter(|j| inside(*j)).map(|j| a[j] * b[j]).sum();
                let total = one_of(&own).to_f64();
                if rate == 0.0 || !rate.is_finite() || total == 0.0 {
                    continue;
                }
                let by = -total / rate;
                let parts: [(u32, &dyn Fn(usize) -> f64); 5] = [
                    (sum.factor, &|j| line[j].max(low[j]).min(high[j])),
                    (sum.slope, &|j| if inside(j) { a[j] * t } else { 0.0 }),
                    (sum.offset, &|j| if inside(j) { a[j] } else { 0.0 }),
                    (sum.low, &|j| if line[j] <= low[j] { a[j] } else { 0.0 }),
                    (sum.high, &|j| if line[j] >= high[j] { a[j] } else { 0.0 }),
                ];
                for (id, f) in parts {
                    add(env, &mut slopes, values, id, space(id), (0..n).map(|j| R::from_f64(by * f(j))).collect());
                }
                add(env, &mut slopes, values, *less, space(*less), vec![R::from_f64(-by)]);
            }
            Compute::Root { body: inner, .. } => {
                let t = R::from_f64(one(values.get(i))?);
                let within = env.values(inner, values, t)?;
                let parts = backwards(env, inner, &within, values, t)?;
                let rate = inner.values.iter().zip(&parts).filter(|(v, _)| v.compute == Compute::Input(Input::Unknown));
                let rate = rate.map(|(_, s)| one_of(s).to_f64()).sum::<f64>();
                let total = one_of(&own).to_f64();
                if rate == 0.0 || !rate.is_finite() || total == 0.0 {
                    continue;
                }
                let by = R::from_f64(-total / rate);
                for (v, s) in inner.values.iter().zip(parts) {
                    let Compute::Outer(o) = v.compute else { continue };
                    let part: Vec<R> = s.into_iter().map(|x| x * by).collect();
                    if let Some(slot) = slopes.get_mut(o as usize).filter(|_| !part.is_empty()) {
                        if slot.is_empty() {
                            *slot = vec![R::ZERO; part.len()];
                        }
                        slot.iter_mut().zip(part).for_each(|(s, p)| *s += p);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(slopes)
}

/// Adds what each group gives to a value of this space.
fn add<R: Real>(env: &Env<'_, R>, slopes: &mut [Vec<R>], values: &[Data<R>], id: u32, space: Space, part: Vec<R>) {
    let n = values.get(id as usize).map_or(0, Data::len);
    let Some(slot) = slopes.get_mut(id as usize) else { return };
    if slot.is_empty() {
        *slot = vec![R::ZERO; n];
    }
    for (j, p) in part.into_iter().enumerate() {
        if let Some(s) = slot.get_mut(env.place(Space::Group, space, j)) {
            *s += p;
        }
    }
}

fn one_of<R: Real>(v: &[R]) -> R {
    v.first().copied().unwrap_or(R::ZERO)
}

fn one<R: Real>(d: Option<&Data<R>>) -> Result<f64, MethodError> {
    let v = d.and_then(Data::floats).and_then(|v| v.first());
    v.map(|x| x.to_f64()).ok_or_else(|| Bug::new("a root that is no number").into())
}

/// The derivative by one argument; nothing where it is 0 everywhere.
fn derive(e: &ScalarExpr, k: u8) -> Option<ScalarExpr> {
    use ScalarExpr as S;
    let number = S::Const;
    let mul = |a: S, b: S| S::bin(BinFn::Mul, a, b);
    let div = |a: S, b: S| S::bin(BinFn::Div, a, b);
    let cmp = |f: BinFn, a: &S, b: S| S::bin(f, a.clone(), b);
    match e {
        S::Arg(i) => (*i == k).then_some(number(1.0)),
        S::Const(_) | S::Cast(..) => None,
        S::Un(f, a) => {
            let d = derive(a, k)?;
            let x = (**a).clone();
            let own = match f {
                UnFn::Neg => number(-1.0),
                UnFn::Abs => {
                    let less = S::select(cmp(BinFn::Lt, &x, number(0.0)), number(-1.0), number(0.0));
                    S::select(cmp(BinFn::Gt, &x, number(0.0)), number(1.0), S::Cast(spc_ir::DType::F32, Box::new(less)))
                }
                UnFn::Sqrt => {
                    let up = cmp(BinFn::Gt, &x, number(0.0));
                    S::select(up, div(number(0.5), S::un(UnFn::Sqrt, x)), number(0.0))
                }
                UnFn::Exp => S::un(UnFn::Exp, x),
                UnFn::Log => div(number(1.0), x),
                UnFn::Tanh => {
                    let t = S::un(UnFn::Tanh, x);
                    S::bin(BinFn::Sub, number(1.0), mul(t.clone(), t))
                }
                UnFn::Sin => S::un(UnFn::Cos, x),
                UnFn::Cos => S::un(UnFn::Neg, S::un(UnFn::Sin, x)),
                UnFn::Erf => {
                    let bell = S::un(UnFn::Exp, S::un(UnFn::Neg, mul(x.clone(), x)));
                    mul(number(std::f64::consts::FRAC_2_SQRT_PI), bell)
                }
                UnFn::Floor | UnFn::Not => return None,
            };
            Some(mul(own, d))
        }
        S::Bin(f, a, b) => {
            let (x, y) = ((**a).clone(), (**b).clone());
            let (da, db) = (derive(a, k), derive(b, k));
            if da.is_none() && db.is_none() {
                return None;
            }
            let zero = || S::Const(0.0);
            let both = |a: Option<S>, b: Option<S>, f: BinFn| match (a, b) {
                (Some(a), Some(b)) => Some(S::bin(f, a, b)),
                (Some(a), None) => Some(a),
                (None, Some(b)) if f == BinFn::Sub => Some(S::un(UnFn::Neg, b)),
                (None, b) => b,
            };
            match f {
                BinFn::Add | BinFn::Sub => both(da, db, *f),
                BinFn::Mul => both(da.map(|d| mul(d, y)), db.map(|d| mul(x, d)), BinFn::Add),
                BinFn::Div => {
                    let left = da.map(|d| div(d, y.clone()));
                    both(left, db.map(|d| div(mul(x, d), mul(y.clone(), y))), BinFn::Sub)
                }
                BinFn::Max | BinFn::Min => {
                    let first = if *f == BinFn::Max { BinFn::Ge } else { BinFn::Le };
                    Some(S::select(cmp(first, &x, y), da.unwrap_or_else(zero), db.unwrap_or_else(zero)))
                }
                BinFn::Pow => {
                    let less = S::bin(BinFn::Sub, y.clone(), number(1.0));
                    let left = da.map(|d| mul(mul(y.clone(), S::bin(BinFn::Pow, x.clone(), less)), d));
                    let right = db.map(|d| mul(mul(S::bin(BinFn::Pow, x.clone(), y), S::un(UnFn::Log, x)), d));
                    both(left, right, BinFn::Add)
                }
                _ => None,
            }
        }
        S::Select(c, a, b) => {
            let (da, db) = (derive(a, k), derive(b, k));
            if da.is_none() && db.is_none() {
                return None;
            }
            Some(S::Select(c.clone(), Box::new(da.unwrap_or(S::Const(0.0))), Box::new(db.unwrap_or(S::Const(0.0)))))
        }
    }
}
