//! Value and prox of penalties on weights.
use super::body::{Env, Seen};
use super::cover::{Cover, NONE};
use super::{Data, MethodError};
use crate::Real;
use spc_base::Bug;
use spc_ir::method::{Body, GroupWeight, Lift, Moment, Penalty, Term};
use std::collections::BTreeMap;

/// Elements of each group of a term, and what the body sees of them.
pub(super) struct Groups {
    /// Elements in groups, ascending.
    pub lists: Vec<Vec<u32>>,
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
    let Some(groups) = cover.nested.as_ref().filter(|_| matches!(t.lift, Lift::Groups | Lift::Tree)) else {
        return Ok(());
    };
    // Nested: of two groups that share a weight, one holds the other. From the smallest on, the greatest group so far of
    // each weight of a group lies inside that group.
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|g| groups[*g].len());
    let mut inner: Vec<Option<usize>> = vec![None; cover.elements()];
    for g in order {
        let list = &groups[g];
        let mut inside: BTreeMap<usize, usize> = BTreeMap::new();
        for e in list {
            if let Some(Some(h)) = inner.get(*e as usize) {
                *inside.entry(*h).or_default() += 1;
            }
        }
        let nested = t.lift == Lift::Tree && inside.iter().all(|(h, n)| groups[*h].len() == *n);
        if !inside.is_empty() && !nested {
            return Err(match t.lift {
                Lift::Tree => MethodError::NotNested { name: name.to_string() },
                _ => MethodError::Overlap { name: name.to_string() },
            });
        }
        for e in list {
            if let Some(i) = inner.get_mut(*e as usize) {
                *i = Some(g);
            }
        }
    }
    Ok(())
}

pub(super) fn numbers<R: Real>(d: Data<R>) -> Result<Vec<R>, MethodError> {
    match d {
        Data::F(v) => Ok(v),
        Data::B(_) => Err(Bug::new("a mask where a number was checked").into()),
    }
}

pub(super) fn on_norms<R: Real>(
    b: &Body,
    cover: &Cover,
    m: Moment,
    seen: &Seen<R>,
    tau: &[R],
) -> Result<Vec<R>, MethodError> {
    numbers(Env::of_groups(cover, m, seen, tau).result(b)?)
}

pub(super) fn weight_of<R: Real>(t: &Term, cover: &Cover, m: Moment) -> Result<R, MethodError> {
    Env::of_groups(cover, m, &Seen::nothing(), &[]).scalar(&t.weight)
}

/// What a term sees of its groups at these weights.
pub(super) fn seen<R: Real>(t: &Term, cover: &Cover, groups: &Groups, w: &[R]) -> Seen<R> {
    let lists = &groups.lists;
    let weigh = |by: &GroupWeight| match t.lift {
        Lift::Elements => Vec::new(),
        _ => lists.iter().map(|l| R::from_f64(cover.group_weight(by, l))).collect(),
    };
    Seen {
        norms: lists.iter().map(|l| norm(w, l)).collect(),
        sizes: lists.iter().map(|l| R::from_f64(l.len() as f64)).collect(),
        costs: weigh(&cover.weighing.cost),
        energies: weigh(&cover.weighing.energy),
    }
}

/// What is needed of one term at weights; nothing where it has no groups.
pub(super) fn term<'a, R: Real>(
    p: &Penalty,
    (i, t): (usize, &Term),
    covers: &'a [Cover],
    guards: &[Option<Vec<bool>>],
    w: &[R],
) -> Result<Option<(&'a Cover, Groups)>, MethodError> {
    let cover = covers.get(t.over).ok_or_else(|| Bug::new("a term without groups"))?;
    finite(cover, w)?;
    overlap(cover, t, &p.name)?;
    let groups = Groups::of(t, cover, guards.get(i).and_then(|g| g.as_deref()));
    Ok((!groups.lists.is_empty()).then_some((cover, groups)))
}

/// The value of a penalty at weights. `cover(i)` has the groups of the terms over `i`, and `inside(i)` the mask of term `i`'s guard.
///
/// # Errors
/// Weights that are not finite; overlapping groups without an order; latent groups, whose value is a minimum.
pub fn penalty_value<R: Real>(
    p: &Penalty,
    covers: &[Cover],
    guards: &[Option<Vec<bool>>],
    w: &[R],
    m: Moment,
) -> Result<R, MethodError> {
    let mut total = R::ZERO;
    for (i, t) in p.terms.iter().enumerate() {
        let Some((cover, groups)) = term(p, (i, t), covers, guards, w)? else { continue };
        if t.lift == Lift::Latent && cover.nested.is_some() {
            return Err(MethodError::Overlap { name: p.name.clone() });
        }
        let v = on_norms(&t.value, cover, m, &seen(t, cover, &groups, w), &[])?;
        let sum = v.into_iter().fold(R::ZERO, |a, b| a + b);
        let weight: R = weight_of(t, cover, m)?;
        total += weight * sum;
    }
    Ok(total)
}

/// A subgradient of a penalty at weights: 0 in the direction of groups that are 0.
///
/// # Errors
/// As [`penalty_value`].
pub fn penalty_slope<R: Real>(
    p: &Penalty,
    covers: &[Cover],
    guards: &[Option<Vec<bool>>],
    w: &[R],
    m: Moment,
) -> Result<Vec<R>, MethodError> {
    let mut out = vec![R::ZERO; w.len()];
    for (i, t) in p.terms.iter().enumerate() {
        let Some((cover, groups)) = term(p, (i, t), covers, guards, w)? else { continue };
        if t.lift == Lift::Latent && cover.nested.is_some() {
            return Err(MethodError::Overlap { name: p.name.clone() });
        }
        let weight: R = weight_of(t, cover, m)?;
        let seen = seen(t, cover, &groups, w);
        let slopes = super::slope::by_norms(&t.value, cover, m, &seen)?;
        for ((l, n), s) in groups.lists.iter().zip(&seen.norms).zip(slopes) {
            if *n == R::ZERO {
                continue;
            }
            for e in l {
                if let (Some(o), Some(v)) = (out.get_mut(*e as usize), w.get(*e as usize)) {
                    *o += weight * s * (*v / *n);
                }
            }
        }
    }
    Ok(out)
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
        let prox = t.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
        let Some((cover, groups)) = term(p, (i, t), covers, guards, w)? else { continue };
        let weight: R = weight_of(t, cover, m)?;
        let tau = tau * weight;
        if tau == R::ZERO {
            continue;
        }
        prox_term(p, t, prox, cover, &groups, w, tau, m)?;
    }
    Ok(())
}

/// The prox of one term with one step length.
#[allow(clippy::too_many_arguments)]
pub(super) fn prox_term<R: Real>(
    p: &Penalty,
    t: &Term,
    prox: &Body,
    cover: &Cover,
    groups: &Groups,
    w: &mut [R],
    tau: R,
    m: Moment,
) -> Result<(), MethodError> {
    let tau = &[tau];
    let seen = seen(t, cover, groups, w);
    let single = |g: usize, w: &[R], l: &[u32]| -> Result<(R, R), MethodError> {
        let mut one = seen.one(g);
        one.norms = vec![norm(w, l)];
        let x = on_norms(prox, cover, m, &one, tau)?;
        Ok((one.norms[0], x.first().copied().unwrap_or(R::ZERO)))
    };
    let shared = matches!(t.lift, Lift::Sum | Lift::Latent) && cover.nested.is_some();
    if shared && !prox.is_separate() {
        return Err(MethodError::Coupled { name: p.name.clone() });
    }
    match t.lift {
        Lift::Tree => {
            for (g, l) in groups.lists.iter().enumerate() {
                let (from, to) = single(g, w, l)?;
                scale(w, l, from, to);
            }
        }
        Lift::Sum if shared => overlapping(w, &groups.lists, &single, false)?,
        Lift::Latent if shared => overlapping(w, &groups.lists, &single, true)?,
        _ => {
            let x = on_norms(prox, cover, m, &seen, tau)?;
            for ((l, from), to) in groups.lists.iter().zip(&seen.norms).zip(x) {
                scale(w, l, *from, to);
            }
        }
    }
    Ok(())
}

/// Most rounds over all groups.
const ROUNDS: usize = 20_000;

/// The prox of one group, by its number, its weights and where they lie.
type Single<'a, R> = &'a dyn Fn(usize, &[R], &[u32]) -> Result<(R, R), MethodError>;

/// The prox of a sum over groups that share weights, by blocks: one group after the other, until nothing moves.
///
/// The sum of norms: Dykstra's algorithm, which for norms is block-coordinate ascent on the dual. `latent`: the weights are
/// a sum of one part for each group, and each part is set to the prox of what the others leave.
fn overlapping<R: Real>(
    w: &mut [R],
    lists: &[Vec<u32>],
    single: Single<'_, R>,
    latent: bool,
) -> Result<(), MethodError> {
    let start: Vec<R> = w.to_vec();
    let largest = start.iter().fold(0.0f64, |a, v| a.max(v.to_f64().abs()));
    let tiny = if R::from_f64(1.0 + 1e-12).to_f64() == 1.0 { 1e-8 } else { 1e-16 };
    // Of each group: what it takes away (the sum), or its part (latent).
    let mut parts: Vec<Vec<R>> = lists.iter().map(|l| vec![R::ZERO; l.len()]).collect();
    let mut x = start.clone();
    let mut rest = start.clone();
    for _ in 0..ROUNDS {
        let mut moved = 0.0f64;
        for (g, l) in lists.iter().enumerate() {
            let mut y = if latent { rest.clone() } else { x.clone() };
            for (e, p) in l.iter().zip(&parts[g]) {
                y[*e as usize] += *p;
            }
            let before = y.clone();
            let (from, to) = single(g, &y, l)?;
            scale(&mut y, l, from, to);
            for (e, p) in l.iter().zip(parts[g].iter_mut()) {
                let e = *e as usize;
                let new = if latent { y[e] } else { before[e] - y[e] };
                moved = moved.max((new - *p).to_f64().abs());
                if latent {
                    rest[e] = before[e] - new;
                } else {
                    x[e] = y[e];
                }
                *p = new;
            }
        }
        if moved <= tiny * largest {
            break;
        }
    }
    if latent {
        // What no group holds stays; the rest is the sum of the parts.
        let mut held = vec![false; w.len()];
        lists.iter().flatten().for_each(|e| held[*e as usize] = true);
        x = start.iter().zip(&held).map(|(v, h)| if *h { R::ZERO } else { *v }).collect();
        for (l, p) in lists.iter().zip(&parts) {
            l.iter().zip(p).for_each(|(e, v)| x[*e as usize] += *v);
        }
    }
    for (v, x) in w.iter_mut().zip(x) {
        *v = if x == R::ZERO { R::ZERO } else { x };
    }
    Ok(())
}

/// Gives some elements another norm.
pub(super) fn scale<R: Real>(w: &mut [R], list: &[u32], from: R, to: R) {
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
