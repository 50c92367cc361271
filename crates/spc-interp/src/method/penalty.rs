//! Value and prox of penalties on weights.
use super::body::Env;
use super::cover::{Cover, NONE};
use super::{Data, MethodError};
use crate::Real;
use spc_base::Bug;
use spc_ir::method::{Body, Lift, Moment, Penalty, Term};

/// Elements of each group of a term, and what the body sees of them.
struct Groups {
    /// Elements in groups, ascending.
    lists: Vec<Vec<u32>>,
}

impl Groups {
    fn of(t: &Term, cover: &Cover, inside: Option<&[bool]>) -> Groups {
        let here = |e: u32| inside.is_none_or(|m| m.get(e as usize).copied().unwrap_or(false));
        if t.lift == Lift::Elements {
            let lists = (0..cover.elements() as u32).filter(|e| here(*e)).map(|e| vec![e]).collect();
            return Groups { lists };
        }
        let mut lists = match &cover.nested {
            Some(nested) => nested.clone(),
            None => {
                let mut lists = vec![Vec::new(); cover.groups()];
                for (e, g) in cover.group.iter().enumerate() {
                    if *g != NONE {
                        lists[*g as usize].push(e as u32);
                    }
                }
                lists
            }
        };
        lists.iter_mut().for_each(|l| l.retain(|e| here(*e)));
        lists.retain(|l| !l.is_empty());
        if t.lift == Lift::Tree {
            // From the leaves to the root.
            lists.sort_by_key(Vec::len);
        }
        Groups { lists }
    }
}

/// Norm of some elements; exact for one, and without overflow for many.
fn norm<R: Real>(w: &[R], list: &[u32]) -> R {
    let one = |e: &u32| w.get(*e as usize).map_or(R::ZERO, |v| v.absolute());
    if let [e] = list {
        return one(e);
    }
    let top = list.iter().map(one).fold(R::ZERO, |a, b| a.maximum(b));
    if top == R::ZERO {
        return R::ZERO;
    }
    let square = |e: &u32| {
        let v = one(e) / top;
        v * v
    };
    top * list.iter().map(square).fold(R::ZERO, |a, b| a + b).square_root()
}

fn finite<R: Real>(cover: &Cover, w: &[R]) -> Result<(), MethodError> {
    match w.iter().position(|v| !v.to_f64().is_finite()) {
        Some(i) => {
            let (weight, index) = cover.place(i);
            Err(MethodError::NotFinite { what: "a value".into(), weight: weight.into(), index })
        }
        None => Ok(()),
    }
}

fn overlap(cover: &Cover, t: &Term, name: &str) -> Result<(), MethodError> {
    let Some(groups) = cover.nested.as_ref().filter(|_| t.lift == Lift::Groups) else { return Ok(()) };
    let mut seen = vec![false; cover.elements()];
    for e in groups.iter().flatten() {
        match seen.get_mut(*e as usize) {
            Some(s) if !*s => *s = true,
            _ => return Err(MethodError::Overlap { name: name.to_string() }),
        }
    }
    Ok(())
}

fn numbers<R: Real>(d: Data<R>) -> Result<Vec<R>, MethodError> {
    match d {
        Data::F(v) => Ok(v),
        Data::B(_) => Err(Bug::new("a mask where a number was checked").into()),
    }
}

fn on_norms<R: Real>(
    b: &Body,
    cover: &Cover,
    m: Moment,
    norms: &[R],
    sizes: &[R],
    tau: R,
) -> Result<Vec<R>, MethodError> {
    numbers(Env::of_norms(cover, m, norms, sizes, tau).result(b)?)
}

fn weight_of<R: Real>(t: &Term, cover: &Cover, m: Moment) -> Result<R, MethodError> {
    Env::of_norms(cover, m, &[], &[], R::ZERO).scalar(&t.weight)
}

/// The value of a penalty at weights. `cover(i)` has the groups of the terms over `i`, and `inside(i)` the mask of term `i`'s guard.
///
/// # Errors
/// Weights that are not finite; overlapping groups without an order.
pub fn penalty_value<R: Real>(
    p: &Penalty,
    covers: &[Cover],
    guards: &[Option<Vec<bool>>],
    w: &[R],
    m: Moment,
) -> Result<R, MethodError> {
    let mut total = R::ZERO;
    for (i, t) in p.terms.iter().enumerate() {
        let cover = covers.get(t.over).ok_or_else(|| Bug::new("a term without groups"))?;
        finite(cover, w)?;
        overlap(cover, t, &p.name)?;
        let groups = Groups::of(t, cover, guards.get(i).and_then(|g| g.as_deref()));
        if groups.lists.is_empty() {
            continue;
        }
        let norms: Vec<R> = groups.lists.iter().map(|l| norm(w, l)).collect();
        let sizes: Vec<R> = groups.lists.iter().map(|l| R::from_f64(l.len() as f64)).collect();
        let v = on_norms(&t.value, cover, m, &norms, &sizes, R::ZERO)?;
        let sum = v.into_iter().fold(R::ZERO, |a, b| a + b);
        let weight: R = weight_of(t, cover, m)?;
        total += weight * sum;
    }
    Ok(total)
}

/// Replaces weights by the prox of the penalty with step `tau`: term after term. Signs and directions stay; what the prox sends
/// to 0 becomes +0, and what it leaves as it is keeps its bits.
///
/// # Errors
/// As [`penalty_value`]; a penalty without a prox is a bug.
pub fn penalty_prox<R: Real>(
    p: &Penalty,
    covers: &[Cover],
    guards: &[Option<Vec<bool>>],
    w: &mut [R],
    tau: R,
    m: Moment,
) -> Result<(), MethodError> {
    for (i, t) in p.terms.iter().enumerate() {
        let cover = covers.get(t.over).ok_or_else(|| Bug::new("a term without groups"))?;
        let prox = t.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
        finite(cover, w)?;
        overlap(cover, t, &p.name)?;
        let weight: R = weight_of(t, cover, m)?;
        let tau = tau * weight;
        let groups = Groups::of(t, cover, guards.get(i).and_then(|g| g.as_deref()));
        if groups.lists.is_empty() || tau == R::ZERO {
            continue;
        }
        let size = |l: &Vec<u32>| R::from_f64(l.len() as f64);
        if t.lift == Lift::Tree {
            for l in &groups.lists {
                let norms = [norm(w, l)];
                let x = on_norms(prox, cover, m, &norms, &[size(l)], tau)?;
                scale(w, l, norms[0], x.first().copied().unwrap_or(R::ZERO));
            }
            continue;
        }
        let norms: Vec<R> = groups.lists.iter().map(|l| norm(w, l)).collect();
        let sizes: Vec<R> = groups.lists.iter().map(size).collect();
        let x = on_norms(prox, cover, m, &norms, &sizes, tau)?;
        for ((l, from), to) in groups.lists.iter().zip(norms).zip(x) {
            scale(w, l, from, to);
        }
    }
    Ok(())
}

/// Gives some elements another norm.
fn scale<R: Real>(w: &mut [R], list: &[u32], from: R, to: R) {
    for e in list {
        let Some(v) = w.get_mut(*e as usize) else { continue };
        if to == R::ZERO || from == R::ZERO {
            *v = R::ZERO;
        } else if list.len() == 1 {
            *v = if *v < R::ZERO { -to } else { to };
        } else if to != from {
            *v = *v * (to / from);
        }
    }
}
