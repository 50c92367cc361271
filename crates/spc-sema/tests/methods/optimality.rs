//! Proxes of the library against global searches and certificates that are written here by hand: ties, zeros, scales from 1e-30 to
//! 1e30. The suite runs a part of the cases; all of them:
//! `cargo test --release -p spc-sema --test methods -- --ignored --nocapture optimality`
use super::{Rng, penalty, program};
use spc_interp::method::{Cover, penalty_prox, penalty_prox_in, penalty_value};
use spc_ir::method::{Moment, Penalty};

type Parts = (Penalty, Vec<Cover>);

const SOME: usize = 1_500;
const ALL: usize = 100_000;

fn on(words: &str, n: usize, of: &str) -> Parts {
    penalty(&program(1, n as u64, &format!("use std.penalties\npenalize p: penalties.{words} of {of}")))
}

fn prox(p: &Parts, v: &[f64], tau: f64) -> Vec<f64> {
    let mut w = v.to_vec();
    penalty_prox(&p.0, &p.1, &[], &mut w, tau, Moment::END).unwrap();
    w
}

fn prox_in(p: &Parts, v: &[f64], d: &[f64], tau: f64) -> Vec<f64> {
    let mut w = v.to_vec();
    penalty_prox_in(&p.0, &p.1, &[], &mut w, d, tau, Moment::END).unwrap();
    w
}

fn value(p: &Parts, w: &[f64]) -> f64 {
    penalty_value(&p.0, &p.1, &[], w, Moment::END).unwrap()
}

/// A scalar penalty: its words, and what they mean.
type Scalar = (&'static str, fn(f64) -> f64);

const L: f64 = 0.7;

fn mcp(x: f64, l: f64, g: f64) -> f64 {
    if x <= g * l { l * x - x * x / (2.0 * g) } else { g * l * l / 2.0 }
}

fn scad(x: f64, l: f64, a: f64) -> f64 {
    if x <= l {
        l * x
    } else if x <= a * l {
        (2.0 * a * l * x - x * x - l * l) / (2.0 * (a - 1.0))
    } else {
        l * l * (a + 1.0) / 2.0
    }
}

fn cel0(x: f64, l: f64, c: f64) -> f64 {
    // l - (c^2 / 2) (x - end)^2 without its cancellation near 0.
    let end = (2.0 * l).sqrt() / c;
    if x <= end { c * (2.0 * l).sqrt() * x - 0.5 * c * c * x * x } else { l }
}

const SCALARS: [Scalar; 14] = [
    ("l1(0.7)", |x| L * x),
    ("l0(0.7)", |x| if x > 0.0 { L } else { 0.0 }),
    ("lhalf(0.7)", |x| L * x.sqrt()),
    ("lq(0.7, 0.3)", |x| L * x.powf(0.3)),
    ("lq(0.7, 0.8)", |x| L * x.powf(0.8)),
    ("mcp(0.7)", |x| mcp(x, L, 3.0)),
    ("mcp(0.7, 0.4)", |x| mcp(x, L, 0.4)),
    ("scad(0.7)", |x| scad(x, L, 3.7)),
    ("scad(0.7, 2.1)", |x| scad(x, L, 2.1)),
    ("cel0(0.7, 2)", |x| cel0(x, L, 2.0)),
    ("cel0(0.7, 0.5)", |x| cel0(x, L, 0.5)),
    ("log_sum(0.7)", |x| L * (x / 0.1).ln_1p()),
    ("log_sum(0.7, 1)", |x| L * x.ln_1p()),
    ("capped_l1(0.7, 1.3)", |x| L * x.min(1.3)),
];

/// The least of `(x - v)^2 / 2 + tau p(x)` over `0..=v`: a grid, its four best cells refined down to the last bits, and
/// cells that halve towards both ends.
fn search(f: &dyn Fn(f64) -> f64, v: f64) -> f64 {
    let even = (0..=200).map(|i| v * f64::from(i) / 200.0);
    let small = (1..110).flat_map(|k| [v * 0.5f64.powi(k), v * (1.0 - 0.5f64.powi(k.min(50)))]);
    let mut points: Vec<f64> = even.chain(small).collect();
    points.sort_by(f64::total_cmp);
    points.dedup();
    let mut best: Vec<(f64, usize)> = points.iter().enumerate().map(|(i, x)| (f(*x), i)).collect();
    best.sort_by(|x, y| x.0.total_cmp(&y.0));
    let mut least = best[0].0;
    for (_, i) in best.iter().take(4) {
        let (mut lo, mut hi) = (points[i.saturating_sub(1)], points[(i + 1).min(points.len() - 1)]);
        for _ in 0..90 {
            let (p, q) = (lo + (hi - lo) / 3.0, hi - (hi - lo) / 3.0);
            let (x, y) = (f(p), f(q));
            least = least.min(x).min(y);
            if x <= y { hi = q } else { lo = p }
        }
    }
    least
}

/// A magnitude: of the penalty's own size, or huge or tiny, now and then 0.
fn wild(rng: &mut Rng) -> f64 {
    let v = match rng.unit() {
        u if u < 0.05 => 0.0,
        u if u < 0.6 => rng.range(0.0, 5.0),
        u if u < 0.7 => (rng.range(0.0, 5.0) * 4.0).round() / 4.0,
        _ => 10f64.powf(rng.range(-30.0, 30.0)),
    };
    if rng.unit() < 0.5 { -v } else { v }
}

/// By how much `got` is above `least`, relative to it.
fn above(got: f64, least: f64) -> f64 {
    (got - least) / least.max(f64::MIN_POSITIVE)
}

fn scalars(cases: usize) -> f64 {
    let mut worst = 0.0f64;
    for (words, p) in SCALARS {
        let n = 50;
        let (many, rng) = (on(words, n, "elements"), &mut Rng(words.len() as u64 + cases as u64));
        let mut mine = 0.0f64;
        for _ in 0..cases.div_ceil(n) {
            let tau = 10f64.powf(rng.range(-1.5, 1.5));
            let v: Vec<f64> = (0..n).map(|_| wild(rng)).collect();
            for (v, x) in v.iter().zip(prox(&many, &v, tau)) {
                assert!(x == 0.0 || x.signum() == v.signum(), "{words}: {v} -> {x}");
                let f = |x: f64| (x - v.abs()) * (x - v.abs()) / 2.0 + tau * p(x);
                let by = above(f(x.abs()), search(&f, v.abs()));
                assert!(by <= 1e-12, "{words}: v {v} tau {tau}: {by:e} above the search at {x}");
                mine = mine.max(by);
            }
            let x = v[0].abs().min(1e6);
            let mut at = vec![0.0; n];
            at[0] = x;
            let got = value(&many, &at) - (n - 1) as f64 * p(0.0);
            assert!((got - p(x)).abs() <= 1e-12 * (1.0 + p(x)), "{words} at {x}: {got}, by hand {}", p(x));
        }
        worst = worst.max(mine);
    }
    worst
}

/// Half the greatest `sum(u y^2 / e)` with `0 <= u <= 1` and `sum(c u) <= k`: a knapsack of parts.
fn conjugate(y: &[f64], e: f64, c: f64, k: f64) -> f64 {
    let mut s: Vec<f64> = y.iter().map(|y| y * y / e).collect();
    s.sort_by(|a, b| b.total_cmp(a));
    let (mut left, mut sum) = (k, 0.0);
    for x in s {
        let u = (left / c).clamp(0.0, 1.0);
        sum += u * x;
        left -= u * c;
    }
    sum / 2.0
}

fn wgsef(cases: usize) -> f64 {
    let mut worst = 0.0f64;
    let rng = &mut Rng(cases as u64);
    let kinds: Vec<(Parts, usize, f64, f64, f64)> =
        [(1, 1.0, 1.0), (2, 1.0, 1.0), (5, 1.0, 1.0), (3, 2.5, 1.0), (4, 0.3, 2.0)]
            .iter()
            .flat_map(|(k, e, c)| {
                [6usize, 9].map(|n| {
                    let words = format!("wgsef(keep: {k}, energy: {e}, cost: {c})");
                    (on(&words, n, "elements"), n, *e, *c, f64::from(*k))
                })
            })
            .collect();
    for round in 0..cases {
        let (p, n, e, c, k) = &kinds[round % kinds.len()];
        let scale = if round % 3 == 0 { 10f64.powf(rng.range(-100.0, 100.0)) } else { 1.0 };
        let v: Vec<f64> = (0..*n)
            .map(|_| match rng.unit() {
                u if u < 0.1 => 0.0,
                u if u < 0.4 => (rng.range(-3.0, 3.0)).round() * scale,
                u if u < 0.5 => 10f64.powf(rng.range(-8.0, 0.0)) * scale,
                _ => rng.range(-3.0, 3.0) * scale,
            })
            .collect();
        let tau = 10f64.powf(rng.range(-2.0, 2.0));
        let x = prox(p, &v, tau);
        let y: Vec<f64> = v.iter().zip(&x).map(|(v, x)| (v - x) / tau).collect();
        let inner: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
        let gap = value(p, &x) + conjugate(&y, *e, *c, *k) - inner;
        let by = gap.abs() / inner.abs().max(f64::MIN_POSITIVE);
        assert!(by <= 1e-12 || gap == 0.0, "k {k} e {e} c {c} {v:?} tau {tau}: gap {by:e} at {x:?}");
        worst = worst.max(if gap == 0.0 { 0.0 } else { by });
    }
    worst
}

fn norm(v: &[f64]) -> f64 {
    let top = v.iter().fold(0.0f64, |a, x| a.max(x.abs()));
    if top == 0.0 { 0.0 } else { v.iter().map(|x| (x / top) * (x / top)).sum::<f64>().sqrt() * top }
}

/// Groups and their weights, the smallest first.
type Nested = Vec<(std::ops::Range<usize>, f64)>;

/// The lasso of nested groups, from the smallest on, by hand.
fn nested(y: &[f64], groups: &[(std::ops::Range<usize>, f64)]) -> Vec<f64> {
    let mut z = y.to_vec();
    for (g, w) in groups {
        let n = norm(&z[g.clone()]);
        let f = if n > *w { (n - w) / n } else { 0.0 };
        z[g.clone()].iter_mut().for_each(|x| *x *= f);
    }
    z
}

/// Sums of norms of nested groups by their certificate: `y = (v - x) / tau` is in the dual ball, and `<x, y>` is the value.
fn norms(cases: usize) -> f64 {
    let root = |n: usize| (n as f64).sqrt();
    let singles = |w: f64| (0..6).map(move |i| (i..i + 1, w));
    let kinds: [(&str, Nested); 4] = [
        ("group_l2(scale: 0.7)", vec![(0..3, 0.7), (3..6, 0.7)]),
        ("group_l2()", vec![(0..3, root(3)), (3..6, root(3))]),
        ("l1(0.4)", vec![(0..3, 0.4), (3..6, 0.4)]),
        ("sparse_group(mix: 40%, scale: 1)", singles(0.4).chain([(0..3, 0.6), (3..6, 0.6)]).collect()),
    ];
    let mut worst = 0.0f64;
    for (words, groups) in kinds {
        let (p, rng) = (on(words, 6, "tile(in: 3)"), &mut Rng(3));
        for round in 0..cases {
            let scale = if round % 3 == 0 { 10f64.powf(rng.range(-60.0, 60.0)) } else { 1.0 };
            let v: Vec<f64> = (0..6)
                .map(|_| if rng.unit() < 0.15 { 0.0 } else { (rng.range(-2.0, 2.0) * 8.0).round() / 8.0 * scale })
                .collect();
            let tau = 10f64.powf(rng.range(-2.0, 0.5)) * scale;
            let x = prox(&p, &v, tau);
            let y: Vec<f64> = v.iter().zip(&x).map(|(v, x)| (v - x) / tau).collect();
            // Outside of the dual ball by as much as is left of it.
            let outside = norm(&nested(&y, &groups)) / norm(&y).max(f64::MIN_POSITIVE);
            let omega: f64 = groups.iter().map(|(g, w)| w * norm(&x[g.clone()])).sum();
            let inner: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
            let gap = (omega - inner).abs() / (omega + norm(&v)).max(f64::MIN_POSITIVE);
            assert!(outside <= 1e-12 && gap <= 1e-12, "{words}: {v:?} tau {tau}: {outside:e} {gap:e} at {x:?}");
            worst = worst.max(outside).max(gap);
        }
    }
    worst
}

/// Functions of one norm of each group: the search goes along the direction of the group.
fn radial(cases: usize) -> f64 {
    let mut worst = 0.0f64;
    for (words, f) in [SCALARS[1], SCALARS[2], SCALARS[5], SCALARS[7], SCALARS[11], SCALARS[13]] {
        let groups = 20;
        let (p, rng) = (on(words, 3 * groups, "tile(in: 3)"), &mut Rng(5));
        for _ in 0..cases.div_ceil(groups) {
            let tau = 10f64.powf(rng.range(-1.5, 1.0));
            let v: Vec<f64> = (0..3 * groups).map(|_| wild(rng)).collect();
            let x = prox(&p, &v, tau);
            for (v, x) in v.chunks(3).zip(x.chunks(3)) {
                let (from, to) = (norm(v), norm(x));
                let g = |r: f64| (r - from) * (r - from) / 2.0 + tau * f(r);
                // As far as the three numbers can say their norm.
                let slack = 4.0 * f64::EPSILON * from * (from - to).abs() + 4.0 * f64::EPSILON * tau * f(to);
                let by = above(g(to) - slack, search(&g, from));
                assert!(by <= 1e-12, "{words}: {v:?} tau {tau}: {by:e} at {x:?}");
                for (v, x) in v.iter().zip(x) {
                    assert!(
                        (x - v * (to / from.max(f64::MIN_POSITIVE))).abs() <= 1e-12 * v.abs(),
                        "{words}: another direction"
                    );
                }
                worst = worst.max(by);
            }
        }
    }
    worst
}

/// In the metric of an optimiser: single weights by the search, norms by the gap to the dual problem
/// `<y, v> - sum(y^2 / d) / 2` over `|y| <= cut`.
fn metric(cases: usize) -> f64 {
    let mut worst = 0.0f64;
    let n = 50;
    for (words, p) in [SCALARS[0], SCALARS[1], SCALARS[3], SCALARS[5], SCALARS[7], SCALARS[11]] {
        let (many, rng) = (on(words, n, "elements"), &mut Rng(7));
        for _ in 0..cases.div_ceil(n) {
            let tau = 10f64.powf(rng.range(-1.5, 1.0));
            let v: Vec<f64> = (0..n).map(|_| wild(rng)).collect();
            let d: Vec<f64> = (0..n).map(|_| 10f64.powf(rng.range(-6.0, 2.0))).collect();
            for ((v, d), x) in v.iter().zip(&d).zip(prox_in(&many, &v, &d, tau)) {
                let f = |x: f64| d * (x - v.abs()) * (x - v.abs()) / 2.0 + tau * p(x);
                let by = above(f(x.abs()), search(&f, v.abs()));
                assert!(by <= 1e-8, "{words}: v {v} d {d} tau {tau}: {by:e} at {x}");
                worst = worst.max(by);
            }
        }
    }
    let (p, rng) = (on("group_l2(scale: 1)", 5, "tile(in: 5)"), &mut Rng(8));
    for round in 0..cases {
        let scale = if round % 3 == 0 { 10f64.powf(rng.range(-60.0, 60.0)) } else { 1.0 };
        let v: Vec<f64> = (0..5).map(|_| if rng.unit() < 0.1 { 0.0 } else { rng.range(-2.0, 2.0) * scale }).collect();
        let spread = if round % 2 == 0 { 8.0 } else { 1.0 };
        let d: Vec<f64> = (0..5).map(|_| 10f64.powf(rng.range(-spread, 0.0))).collect();
        let size = norm(&v.iter().zip(&d).map(|(v, d)| v * d).collect::<Vec<_>>());
        let tau = size * rng.range(0.01, 1.3);
        if tau == 0.0 {
            continue;
        }
        let x = prox_in(&p, &v, &d, tau);
        let mut y: Vec<f64> = (0..5).map(|i| d[i] * (v[i] - x[i])).collect();
        let shrink = (tau / norm(&y).max(f64::MIN_POSITIVE)).min(1.0);
        y.iter_mut().for_each(|y| *y *= shrink);
        let primal = (0..5).map(|i| d[i] * (x[i] - v[i]).powi(2)).sum::<f64>() / 2.0 + tau * norm(&x);
        let dual = (0..5).map(|i| y[i] * v[i] - y[i] * y[i] / d[i] / 2.0).sum::<f64>();
        let by = (primal - dual).abs() / primal.max(f64::MIN_POSITIVE);
        assert!(by <= 1e-8, "{v:?} {d:?} cut {tau}: {by:e} at {x:?}");
        worst = worst.max(by);
    }
    worst
}

#[test]
fn scalar_proxes_are_global_minima() {
    scalars(SOME);
}

#[test]
fn wgsef_has_no_gap() {
    wgsef(SOME);
}

#[test]
fn norms_have_certificates() {
    norms(SOME);
}

#[test]
fn norms_of_groups_are_moved_as_single_weights_are() {
    radial(SOME);
}

#[test]
fn proxes_in_a_metric_are_minima() {
    metric(SOME);
}

#[test]
#[ignore = "minutes; run it in release"]
#[allow(clippy::print_stdout)]
fn optimality_of_all_cases() {
    println!("{ALL} cases each; worst relative distance from the optimum:");
    println!("scalar penalties {:e}", scalars(ALL));
    println!("wgsef, Fenchel gap {:e}", wgsef(ALL));
    println!("norms of groups, certificate {:e}", norms(ALL));
    println!("functions of norms {:e}", radial(ALL));
    println!("in a metric {:e}", metric(ALL));
}
