//! Penalties of the library against searches and solvers that know nothing of them.
use super::{Rng, penalty, program, rules};
use spc_interp::method::{Cover, MethodError, penalty_prox, penalty_value};
use spc_ir::method::{Does, Lift, Moment, Penalty};

/// A penalty on single elements of a row.
fn on_elements(words: &str, n: u64) -> (Penalty, Vec<Cover>) {
    penalty(&program(1, n, &format!("use std.penalties\npenalize p: penalties.{words} of elements via prox")))
}

fn on_groups(words: &str, groups: u64, size: u64) -> (Penalty, Vec<Cover>) {
    let text = format!("use std.penalties\npenalize p: penalties.{words} of tile(in: {size}) via prox");
    penalty(&program(1, groups * size, &text))
}

fn value(p: &(Penalty, Vec<Cover>), w: &[f64]) -> f64 {
    penalty_value(&p.0, &p.1, &[], w, Moment::END).unwrap()
}

fn prox(p: &(Penalty, Vec<Cover>), v: &[f64], tau: f64) -> Vec<f64> {
    let mut w = v.to_vec();
    penalty_prox(&p.0, &p.1, &[], &mut w, tau, Moment::END).unwrap();
    w
}

/// The least objective over a dense grid, refined around its best points.
fn search(f: &dyn Fn(f64) -> f64, a: f64) -> f64 {
    let n = 500;
    let mut best: Vec<(f64, f64)> = (0..=n).map(|i| a * f64::from(i) / f64::from(n)).map(|x| (f(x), x)).collect();
    best.sort_by(|x, y| x.0.total_cmp(&y.0));
    let mut least = best[0].0;
    for (_, x) in &best[..4] {
        let (mut lo, mut hi) = ((x - a / f64::from(n)).max(0.0), x + a / f64::from(n));
        for _ in 0..45 {
            let (p, q) = (lo + (hi - lo) / 3.0, hi - (hi - lo) / 3.0);
            if f(p) <= f(q) { hi = q } else { lo = p }
        }
        least = least.min(f(lo)).min(f(hi));
    }
    least
}

#[test]
fn the_prox_of_every_scalar_penalty_is_a_global_minimum() {
    let words = [
        "l1(0.7)",
        "l0(0.7)",
        "lhalf(0.7)",
        "lq(0.7, 0.3)",
        "lq(0.7, 0.8)",
        "mcp(0.7)",
        "mcp(0.7, 0.4)",
        "scad(0.7)",
        "scad(0.7, 2.1)",
        "cel0(0.7, 2)",
        "cel0(0.7, 0.5)",
        "log_sum(0.7)",
        "log_sum(0.7, 1)",
        "capped_l1(0.7, 1.3)",
    ];
    let mut rng = Rng(1);
    for w in words {
        let p = on_elements(w, 1);
        for _ in 0..50 {
            // All regimes: gamma below and above tau, huge and tiny values, zero.
            let tau = 10f64.powf(rng.range(-1.5, 1.5));
            let v = rng.wild();
            let x = prox(&p, &[v], tau)[0];
            let f = |x: f64| (x - v.abs()).powi(2) / 2.0 + tau * value(&p, &[x]);
            let (got, least) = (f(x.abs()), search(&f, v.abs() * 1.1 + 1e-9));
            assert!(got <= least + 1e-9 * (1.0 + least), "{w}: v {v} tau {tau}: {got} at {x}, {least} by search");
            assert!(x == 0.0 || x.signum() == v.signum(), "{w}: {v} -> {x}");
            assert_eq!(prox(&p, &[-v], tau)[0].abs(), x.abs(), "{w} is odd");
        }
        assert_eq!(prox(&p, &[0.0], 1.0), [0.0], "{w}");
        assert_eq!(prox(&p, &[3.0], 0.0), [3.0], "{w}: no step changes nothing");
    }
}

#[test]
fn hard_thresholding_keeps_bits_and_ties_have_a_side() {
    let p = on_elements("l0(0.5)", 4);
    // sqrt(2 tau lambda) = 1: what is exactly there goes.
    assert_eq!(prox(&p, &[1.0, -1.0, 1.0 + 1e-12, -3.0], 1.0), [0.0, 0.0, 1.0 + 1e-12, -3.0]);
    assert!(prox(&p, &[-1.0], 1.0)[0].is_sign_positive());
}

#[test]
fn cel0_is_mcp_under_another_name() {
    let (a, b) = (on_elements("cel0(0.5, 2)", 1), on_elements("mcp(2, 0.25)", 1));
    let mut rng = Rng(7);
    for _ in 0..300 {
        let (v, tau) = (rng.wild(), rng.range(0.01, 2.0));
        assert!((value(&a, &[v]) - value(&b, &[v])).abs() <= 1e-12 * (1.0 + value(&a, &[v])));
        assert!((prox(&a, &[v], tau)[0] - prox(&b, &[v], tau)[0]).abs() <= 1e-12 * (1.0 + v.abs()));
    }
}

/// Whether no small change in any direction lowers the objective.
fn is_minimum(p: &(Penalty, Vec<Cover>), v: &[f64], tau: f64, rng: &mut Rng, what: &str) {
    let x = prox(p, v, tau);
    let f = |x: &[f64]| x.iter().zip(v).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 2.0 + tau * value(p, x);
    let best = f(&x);
    for _ in 0..60 {
        let size = 10f64.powf(rng.range(-6.0, 0.0));
        let near: Vec<f64> = x
            .iter()
            .map(|a| match rng.unit() {
                u if u < 0.2 => 0.0,
                u if u < 0.4 => *a,
                _ => a + size * rng.range(-1.0, 1.0),
            })
            .collect();
        assert!(
            best <= f(&near) + 1e-12 * (1.0 + best),
            "{what}: {v:?} tau {tau}: {best} at {x:?}, {} at {near:?}",
            f(&near)
        );
    }
    assert!(best <= f(v) + 1e-12 && best <= f(&vec![0.0; v.len()]) + 1e-12, "{what}");
}

#[test]
fn group_proxes_are_minima() {
    let mut rng = Rng(2);
    let cases = [
        "group_l2()",
        "group_l2(scale: 0.5)",
        "mcp(0.7)",
        "l0(1)",
        "lhalf(0.5)",
        "sparse_group()",
        "sparse_group(mix: 60%)",
    ];
    for w in cases {
        let p = on_groups(w, 3, 2);
        for _ in 0..60 {
            let mut v: Vec<f64> = (0..6).map(|_| rng.range(-2.0, 2.0)).collect();
            if rng.unit() < 0.3 {
                v[2] = 0.0;
                v[3] = 0.0;
            }
            is_minimum(&p, &v, rng.range(0.05, 1.5), &mut rng, w);
        }
    }
}

#[test]
fn group_l2_is_block_soft_thresholding_at_any_scale() {
    let p = on_groups("group_l2(scale: 1)", 2, 2);
    assert_eq!(prox(&p, &[3.0, 4.0, 0.3, 0.4], 1.0), [3.0 * 0.8, 4.0 * 0.8, 0.0, 0.0]);
    // Norms beyond the range of squares.
    let huge = prox(&p, &[3e200, 4e200, 3e-200, 4e-200], 1.0);
    assert_eq!((huge[0], huge[2]), (3e200, 0.0));
    let tiny = prox(&p, &[3e-200, 4e-200, 0.0, 0.0], 1e-200);
    assert!((tiny[0] - 2.4e-200).abs() < 1e-212);
}

#[test]
fn elements_come_before_groups_in_sparse_group() {
    let p = on_groups("sparse_group(mix: 50%, scale: 1)", 1, 2);
    let (v, tau) = ([1.0, 0.3], 1.0);
    let soft: [f64; 2] = [0.5, 0.0];
    let norm = soft[0].hypot(soft[1]);
    let want = soft.map(|x| x * (norm - 0.5f64).max(0.0) / norm);
    assert_eq!(prox(&p, &v, tau), want);
}

/// Nested groups by a dual solver that does not know the nesting: cyclic projection, run to convergence.
fn dual(v: &[f64], groups: &[Vec<u32>], scale: &[f64], tau: f64) -> Vec<f64> {
    let mut y = vec![vec![0.0; v.len()]; groups.len()];
    for _ in 0..4000 {
        for (g, list) in groups.iter().enumerate() {
            let rest: Vec<f64> = (0..v.len()).map(|i| v[i] - y.iter().map(|y| y[i]).sum::<f64>() + y[g][i]).collect();
            let norm = list.iter().map(|e| rest[*e as usize].powi(2)).sum::<f64>().sqrt();
            let shrink = (tau * scale[g] / norm).min(1.0);
            list.iter().for_each(|e| y[g][*e as usize] = rest[*e as usize] * shrink);
        }
    }
    (0..v.len()).map(|i| v[i] - y.iter().map(|y| y[i]).sum::<f64>()).collect()
}

#[test]
fn the_tree_goes_from_the_leaves_to_the_root() {
    let (p, _) = on_groups("tree_l2()", 1, 4);
    assert_eq!(p.terms[0].lift, Lift::Tree);
    // Written root first: the order comes from the sizes.
    let groups: Vec<Vec<u32>> = vec![vec![0, 1, 2, 3], vec![0, 1], vec![2, 3], vec![0], vec![3]];
    let scale: Vec<f64> = groups.iter().map(|g| (g.len() as f64).sqrt()).collect();
    let cover = Cover::nested(&[("net.w", 4)], groups.clone());
    let mut rng = Rng(3);
    for _ in 0..40 {
        let v: Vec<f64> = (0..4).map(|_| rng.range(-3.0, 3.0)).collect();
        let tau = rng.range(0.05, 0.8);
        let got = prox(&(p.clone(), vec![cover.clone()]), &v, tau);
        let want = dual(&v, &groups, &scale, tau);
        for (a, b) in got.iter().zip(&want) {
            assert!((a - b).abs() < 1e-6, "{v:?} {tau}: {got:?} {want:?}");
        }
    }
}

#[test]
fn groups_that_overlap_need_an_order() {
    let (p, _) = on_groups("group_l2()", 1, 4);
    let cover = Cover::nested(&[("net.w", 4)], vec![vec![0, 1, 2], vec![2, 3]]);
    let mut w = vec![1.0f64; 4];
    let e = penalty_prox(&p, &[cover], &[], &mut w, 0.1, Moment::END).unwrap_err();
    assert!(matches!(e, MethodError::Overlap { .. }));
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let p = on_elements("l1()", 3);
    let mut w = vec![1.0f32, f32::NAN, 0.0];
    let e = penalty_prox(&p.0, &p.1, &[], &mut w, 0.1, Moment::END).unwrap_err();
    assert_eq!(e.to_string(), "a value of `net.w` is not finite at index 1");
}

/// Half the sum of the k greatest squares.
fn conjugate(y: &[f64], k: usize) -> f64 {
    let mut s: Vec<f64> = y.iter().map(|y| y * y).collect();
    s.sort_by(|a, b| b.total_cmp(a));
    s.iter().take(k).sum::<f64>() / 2.0
}

#[test]
fn wgsef_meets_its_conjugate() {
    // S(x) + S*(y) = <x, y> at y = (v - x) / tau exactly where x is the prox.
    let mut rng = Rng(4);
    for k in 1..=6usize {
        let p = on_elements(&format!("wgsef(keep: {k})"), 6);
        for round in 0..60 {
            let mut v: Vec<f64> = (0..6).map(|_| rng.wild()).collect();
            if round % 3 == 0 {
                // Ties, and zeros.
                v = v.iter().map(|x| x.signum() * (x.abs().min(3.0)).round()).collect();
            }
            let tau = 10f64.powf(rng.range(-2.0, 2.0));
            let x = prox(&p, &v, tau);
            let y: Vec<f64> = v.iter().zip(&x).map(|(v, x)| (v - x) / tau).collect();
            let inner: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
            let gap = value(&p, &x) + conjugate(&y, k) - inner;
            assert!(gap.abs() <= 1e-11 * (1.0 + inner.abs()), "k {k} {v:?} tau {tau}: gap {gap} at {x:?}");
        }
        // The energy alone where k-sparse already; never less.
        let mut v = vec![0.0; 6];
        v[0] = 3.0;
        assert!((value(&p, &v) - 4.5).abs() < 1e-12);
        let v: Vec<f64> = (0..6).map(|_| rng.range(-1.0, 1.0)).collect();
        assert!(value(&p, &v) >= v.iter().map(|x| x * x).sum::<f64>() / 2.0 - 1e-12);
    }
}

#[test]
fn wgsef_follows_its_formula_with_weights() {
    // Section A.3 of the derivation, by sorting, with energies and costs of one.
    let p = on_elements("wgsef(keep: 2)", 5);
    let mut rng = Rng(5);
    for _ in 0..200 {
        let v: Vec<f64> = (0..5).map(|_| rng.wild()).collect();
        let mut b: Vec<f64> = v.iter().map(|x| x.abs()).collect();
        b.sort_by(|a, b| b.total_cmp(a));
        let present = b.iter().filter(|x| **x > 0.0).count();
        let want = if present <= 2 {
            b.iter().map(|x| x * x).sum::<f64>() / 2.0
        } else {
            let rest = |p: usize| b[p..].iter().sum::<f64>();
            let p = (0..2).find(|p| b[*p] * (2 - p) as f64 <= rest(*p)).unwrap_or(1);
            (b[..p].iter().map(|x| x * x).sum::<f64>() + rest(p).powi(2) / (2 - p) as f64) / 2.0
        };
        let got = value(&p, &v);
        assert!((got - want).abs() <= 1e-10 * (1.0 + want), "{v:?}: {got} {want}");
    }
}

#[test]
fn the_exact_envelope_does_not_shrink_what_it_keeps() {
    let p = on_elements("wgsef_exact(keep: 2)", 4);
    // alpha_(k+1) <= lambda alpha_(k): 0.2 <= 0.5 * 2.
    let x = prox(&p, &[3.0, -0.2, 2.0, 0.1], 0.5);
    for (a, b) in x.iter().zip([3.0, 0.0, 2.0, 0.0]) {
        assert!((a - b).abs() < 1e-12, "{x:?}");
    }
    assert!(value(&p, &[1.0, 0.0, 2.0, 0.0]).abs() < 1e-12);
}

#[test]
fn a_term_acts_only_where_the_constraint_does_not_keep() {
    let text = "use std.penalties.masked_l1\nrequire half: keep 2 of 4 of elements per tile(in: 4)\n\
                penalize p: masked_l1(half, weight: 0.5) of elements via prox";
    let rules = rules(&program(1, 4, text));
    let Does::Penalize { penalty, guards, .. } = &rules.list[1].does else { panic!() };
    assert_eq!(guards.len(), 1);
    let g = penalty.terms[0].guard.as_ref().unwrap();
    assert_eq!((g.constraint.as_str(), g.kept), ("half", false));
}
