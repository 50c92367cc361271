//! Proxes in the metric `diag(d)` of an optimiser that divides each weight's step by a number `d` of its own.
//!
//! * Of single weights: exact, with the step length `tau / d`.
//! * Of norms of groups: exact, by one root for each group.
//! * Of other functions of one norm each: one step length for each group, by the mean of its `d`. Approximate.
//! * Of what looks at several groups together: one step length for all. Approximate.
use super::MethodError;
use super::body::Seen;
use super::cover::Cover;
use super::penalty::{Groups, on_norms, prox_term, scale, seen, term, weight_of};
use crate::Real;
use spc_base::Bug;
use spc_ir::method::{Body, Lift, Moment, Penalty, Term};

/// Most steps towards a root; a few are usual.
const STEPS: usize = 200;

/// The norm of the minimiser of `sum(d (x - v)^2) / 2 + cut * |x|`, where `d > 0`: the r at which
/// `sum((d v / (d r + cut))^2) = 1`, and 0 where the sum is at most 1 at 0.
///
/// Newton's method on `1 / sqrt(sum) - 1`, which is concave and grows, so that from the left it never goes too far; rounding is
/// guarded by a bracket.
pub fn metric_norm(d: &[f64], v: &[f64], cut: f64) -> f64 {
    let pairs = || d.iter().zip(v).map(|(d, v)| (*d, v.abs()));
    let top = pairs().fold(0.0, |a: f64, (d, v)| a.max(d * v));
    let scaled = if top > 0.0 { pairs().map(|(d, v)| (d * v / top).powi(2)).sum::<f64>().sqrt() * top } else { 0.0 };
    if scaled <= cut {
        return 0.0;
    }
    let (least, most) = d.iter().fold((f64::INFINITY, 0.0f64), |(a, b), d| (a.min(*d), b.max(*d)));
    let mut low = pairs().fold((scaled - cut) / most, |a, (d, v)| a.max(v - cut / d)).max(0.0);
    let mut high = ((scaled - cut) / least).max(low);
    let mut r = low;
    for _ in 0..STEPS {
        let (mut sum, mut slope) = (0.0, 0.0);
        for (d, v) in pairs() {
            let t = d * v / (d * r + cut);
            sum += t * t;
            slope += t * t * d / (d * r + cut);
        }
        if sum >= 1.0 {
            low = r
        } else {
            high = r
        }
        let mut next = r + (sum.sqrt() - 1.0) * sum / slope;
        if !(low <= next && next <= high) {
            next = low + (high - low) / 2.0;
        }
        let done = (next - r).abs() <= 1e-16 * r;
        r = next;
        if done {
            break;
        }
    }
    r
}

/// Replaces weights by the prox of the penalty in the metric `diag(d)`, term after term; as
/// [`penalty_prox`](super::penalty_prox) elsewhere. `d` has one positive number for each weight.
///
/// # Errors
/// As [`penalty_prox`](super::penalty_prox).
pub fn penalty_prox_in<R: Real>(
    p: &Penalty,
    covers: &[Cover],
    guards: &[Option<Vec<bool>>],
    w: &mut [R],
    d: &[R],
    tau: R,
    m: Moment,
) -> Result<(), MethodError> {
    for (i, t) in p.terms.iter().enumerate() {
        let prox = t.prox.as_ref().ok_or_else(|| Bug::new("a penalty without a prox"))?;
        let Some((cover, groups)) = term(p, (i, t), covers, guards, w)? else { continue };
        let tau = tau * weight_of(t, cover, m)?;
        if tau == R::ZERO {
            continue;
        }
        if !alone(t, cover) || !prox.is_separate() {
            let all: Vec<u32> = groups.lists.iter().flatten().copied().collect();
            prox_term(p, t, prox, cover, &groups, w, tau / mean(d, &all), m)?;
            continue;
        }
        let seen = seen(t, cover, &groups, w);
        let single = groups.lists.iter().all(|l| l.len() == 1);
        match prox.soft_threshold().filter(|_| !single) {
            Some(cut) => {
                let cuts = widened(&cut, cover, m, &seen, &[tau])?;
                for (l, cut) in groups.lists.iter().zip(cuts) {
                    shrink(w, d, l, cut);
                }
            }
            None => {
                let steps: Vec<R> = groups.lists.iter().map(|l| tau / mean(d, l)).collect();
                each(prox, cover, m, &seen, &steps, &groups, w)?;
            }
        }
    }
    Ok(())
}

/// Whether no two groups of a term share a weight.
fn alone(t: &Term, cover: &Cover) -> bool {
    t.lift == Lift::Elements || cover.nested.is_none()
}

/// The mean of some entries.
fn mean<R: Real>(d: &[R], list: &[u32]) -> R {
    let one = |e: &u32| d.get(*e as usize).copied().unwrap_or(R::ZERO);
    match list {
        [e] => one(e),
        _ => R::from_f64(list.iter().map(|e| one(e).to_f64()).sum::<f64>() / list.len() as f64),
    }
}

/// The result of a body for each group, also where it is one for all.
fn widened<R: Real>(b: &Body, cover: &Cover, m: Moment, seen: &Seen<R>, steps: &[R]) -> Result<Vec<R>, MethodError> {
    let n = seen.norms.len();
    Ok(match on_norms(b, cover, m, seen, steps)? {
        v if v.len() == 1 => vec![v[0]; n],
        v => v,
    })
}

fn each<R: Real>(
    prox: &Body,
    cover: &Cover,
    m: Moment,
    seen: &Seen<R>,
    steps: &[R],
    groups: &Groups,
    w: &mut [R],
) -> Result<(), MethodError> {
    let x = widened(&prox.with_steps_of_groups(), cover, m, seen, steps)?;
    for ((l, from), to) in groups.lists.iter().zip(&seen.norms).zip(x) {
        scale(w, l, *from, to);
    }
    Ok(())
}

/// The group lasso of one group.
fn shrink<R: Real>(w: &mut [R], d: &[R], list: &[u32], cut: R) {
    let of = |x: &[R], e: &u32| x.get(*e as usize).map_or(0.0, |v| v.to_f64());
    let ds: Vec<f64> = list.iter().map(|e| of(d, e)).collect();
    let vs: Vec<f64> = list.iter().map(|e| of(w, e)).collect();
    let cut = cut.to_f64();
    let r = metric_norm(&ds, &vs, cut);
    for ((e, d), v) in list.iter().zip(ds).zip(vs) {
        if let Some(x) = w.get_mut(*e as usize) {
            *x = if r == 0.0 || v == 0.0 { R::ZERO } else { R::from_f64(v * (d * r / (d * r + cut))) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng(s: &mut u64) -> f64 {
        *s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*s >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The optimality condition `d (x - v) + cut x / |x| = 0` holds to the last bits, over sizes, spreads and scales.
    #[test]
    fn the_gradient_at_the_root_is_zero() {
        let mut s = 11;
        for round in 0..20_000u32 {
            let n = 1 + (rng(&mut s) * 9.0) as usize;
            let scale = 10f64.powf(rng(&mut s) * 40.0 - 20.0);
            let spread = if round % 3 == 0 { 0.0 } else { rng(&mut s) * 12.0 };
            let d: Vec<f64> = (0..n).map(|_| 10f64.powf((rng(&mut s) - 0.5) * spread)).collect();
            let v: Vec<f64> =
                (0..n).map(|_| if rng(&mut s) < 0.1 { 0.0 } else { (rng(&mut s) - 0.5) * scale }).collect();
            let size = d.iter().zip(&v).map(|(d, v)| (d * v / scale).powi(2)).sum::<f64>().sqrt() * scale;
            let cut = size * rng(&mut s) * 1.2;
            let r = metric_norm(&d, &v, cut);
            if size <= cut {
                assert_eq!(r, 0.0);
                continue;
            }
            let sum: f64 = d.iter().zip(&v).map(|(d, v)| (d * v / (d * r + cut)).powi(2)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum} at {r} of {d:?} {v:?} {cut}");
        }
    }

    #[test]
    fn one_number_for_all_is_the_usual_prox() {
        let r = metric_norm(&[2.0; 2], &[3.0, -4.0], 4.0);
        assert!((r - 3.0).abs() < 1e-15, "{r}");
        assert_eq!(metric_norm(&[1.0, 1.0], &[0.0, 0.0], 0.0), 0.0);
        assert_eq!(metric_norm(&[], &[], 1.0), 0.0);
    }
}
