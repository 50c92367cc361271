//! Penalties on groups that share weights, with costs and energies, and by their gradients.
use super::{Rng, checked, one, penalty, program, rules, updater};
use spc_interp::method::{Cover, MethodError, Optimiser, penalty_prox, penalty_slope, penalty_value};
use spc_ir::method::{Does, Moment};

/// A square weight whose row and column of one index are one slice, so slices cross everywhere.
fn crossing(n: u64, rest: &str) -> String {
    format!(
        "use std.penalties.{{group_l2, l1, mcp, wgsef}}\naxis B = 1..8\nmodel net {{ axes {{ F = {n}, O = 2 }} w: f32[F, F]  v: f32[O, F] }}\n\
         fn f(x: f32[B, F]) -> y: f32[B, O] {{\n  h[b, g] = net.w[g, k] * x[b, k]\n  y[b, o] = net.v[o, g] * h[b, g]\n}}\n{rest}\n"
    )
}

fn prox(p: &(spc_ir::method::Penalty, Vec<Cover>), v: &[f64], tau: f64) -> Vec<f64> {
    let mut w = v.to_vec();
    penalty_prox(&p.0, &p.1, &[], &mut w, tau, Moment::END).unwrap();
    w
}

/// Three groups in a row that overlap at their ends.
fn chain(how: &str) -> (spc_ir::method::Penalty, Vec<Vec<u32>>, Cover) {
    let text =
        crossing(2, &format!("group s = slices(F) of net\npenalize p: group_l2(1) of s on_overlap {how} via prox"));
    let groups = vec![vec![0, 1, 2], vec![2, 3, 4], vec![4, 5, 0]];
    (penalty(&text).0, groups.clone(), Cover::nested(&[("net.w", 6)], groups))
}

fn norm(w: &[f64], l: &[u32]) -> f64 {
    l.iter().map(|e| w[*e as usize].powi(2)).sum::<f64>().sqrt()
}

#[test]
fn a_sum_of_overlapping_norms_is_minimised() {
    let (p, groups, cover) = chain("sum");
    let mut rng = Rng(11);
    for _ in 0..60 {
        let v: Vec<f64> = (0..6).map(|_| rng.range(-2.0, 2.0)).collect();
        let tau = rng.range(0.1, 1.0);
        let got = prox(&(p.clone(), vec![cover.clone()]), &v, tau);
        let cost = |x: &[f64]| {
            let fit: f64 = x.iter().zip(&v).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 2.0;
            fit + tau * groups.iter().map(|g| norm(x, g)).sum::<f64>()
        };
        let best = cost(&got);
        for _ in 0..300 {
            let size = 10f64.powf(rng.range(-5.0, 0.0));
            let other: Vec<f64> = got.iter().map(|x| x + size * rng.range(-1.0, 1.0)).collect();
            assert!(cost(&other) >= best - 1e-12, "{v:?} {tau}: {got:?}");
        }
        // One group after the other is no solution.
        let mut once = v.clone();
        for g in &groups {
            let n = norm(&once, g);
            g.iter().for_each(|e| once[*e as usize] *= (1.0 - tau / n).max(0.0));
        }
        assert!(cost(&once) >= best);
    }
}

#[test]
fn latent_groups_keep_unions_of_groups() {
    let (p, groups, cover) = chain("latent");
    let mut rng = Rng(12);
    for _ in 0..60 {
        let v: Vec<f64> = (0..6).map(|_| rng.range(-2.0, 2.0)).collect();
        let tau = rng.range(0.1, 2.0);
        let got = prox(&(p.clone(), vec![cover.clone()]), &v, tau);
        // Optimality (Obozinski, Jacob and Vert 2011): the residual has norm at most tau on each group, and the part that is
        // removed is the projection onto the intersection of these balls.
        let r: Vec<f64> = v.iter().zip(&got).map(|(a, b)| a - b).collect();
        for g in &groups {
            assert!(norm(&r, g) <= tau * (1.0 + 1e-6), "{v:?} {tau}: {got:?}");
        }
        // r is the nearest point of that set to v: no move towards another point of it comes nearer.
        for _ in 0..200 {
            let mut q: Vec<f64> = r.iter().map(|x| x + 0.3 * rng.range(-1.0, 1.0)).collect();
            for _ in 0..50 {
                for g in &groups {
                    let n = norm(&q, g);
                    if n > tau {
                        g.iter().for_each(|e| q[*e as usize] *= tau / n);
                    }
                }
            }
            let far = |x: &[f64]| x.iter().zip(&v).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            assert!(far(&q) >= far(&r) - 1e-7, "{v:?} {tau}: {got:?}");
        }
    }
}

#[test]
fn groups_of_a_program_that_cross_are_solved_or_refused() {
    let sum = crossing(3, "group s = slices(F) of net on_overlap sum\npenalize p: group_l2(1) of s via prox");
    let (p, c) = penalty(&sum);
    let n = c[0].elements();
    let mut w: Vec<f64> = (0..n).map(|i| (i as f64 - 4.0) / 5.0).collect();
    penalty_prox(&p, &c, &[], &mut w, 0.2, Moment::END).unwrap();
    assert!(w.iter().all(|x| x.is_finite()));
    // A tree needs nested groups, and an envelope looks at all groups together.
    let tree = crossing(3, "group s = slices(F) of net\npenalize p: group_l2(1) of s on_overlap tree via prox");
    assert!(checked(&tree).diagnostics.iter().any(|d| d.code == spc_base::codes::OVERLAP));
    let (p, _) = penalty(&program(1, 4, "use std.penalties\npenalize p: penalties.tree_l2() of tile(in: 4) via prox"));
    let c = vec![Cover::nested(&[("net.w", 6)], chain("sum").1)];
    let e = penalty_prox(&p, &c, &[], &mut [1.0; 6], 0.2, Moment::END);
    assert!(matches!(e, Err(MethodError::NotNested { .. })), "{e:?}");
    let all = crossing(3, "group s = slices(F) of net\npenalize p: wgsef(keep: 1) of s on_overlap sum via prox");
    let (p, c) = penalty(&all);
    let e = penalty_prox(&p, &c, &[], &mut w, 0.2, Moment::END);
    assert!(matches!(e, Err(MethodError::Coupled { .. })), "{e:?}");
    let soft = crossing(3, "group s = slices(F) of net\npenalize p: group_l2(1) of s on_overlap latent via subgrad");
    assert!(checked(&soft).diagnostics.iter().any(|d| d.code == spc_base::codes::OVERLAP));
}

#[test]
fn bodies_see_the_cost_and_energy_of_their_groups() {
    let weighed = |words: &str| {
        let text = format!(
            "penalty p(k: weight = 1) of groups {{\n  value(a[j]) = sum(k[j] * a[j] over j)\n  prox(a[j], tau) = max(a[j] - tau * k[j], 0)\n}}\n\
             const price = 3\ngroup s = slices(F) of net {words} on_overlap sum\npenalize q: p(cost) of s via prox\n"
        );
        let rules = rules(&crossing(3, &text));
        let Some(Does::Penalize { penalty, over, weighing, .. }) = rules.list.last().map(|r| r.does.clone()) else {
            panic!()
        };
        let covers: Vec<Cover> = over.iter().zip(&weighing).map(|(r, w)| Cover::of(r).unwrap().weighed(w)).collect();
        // Element (0, 0) of w lies in a row with column 0 of v, 5 elements, and in a column of 3.
        let mut w = vec![0.0; covers[0].elements()];
        w[0] = 2.0;
        penalty_value(&penalty, &covers, &[], &w, Moment::END).unwrap()
    };
    assert_eq!(weighed(""), 4.0);
    assert_eq!(weighed("cost: price"), 12.0);
    assert_eq!(weighed("cost: size"), 16.0);
    assert_eq!(weighed("cost: params"), 16.0);
    assert_eq!(weighed("cost: bytes"), 64.0);
    assert!((weighed("cost: sqrt(size)") - 2.0 * (5f64.sqrt() + 3f64.sqrt())).abs() < 1e-12);
}

#[test]
fn gradients_of_penalties_agree_with_differences() {
    let mut rng = Rng(13);
    for words in [
        "l1(0.7)",
        "lhalf(0.7)",
        "lq(0.7, 0.8)",
        "mcp(0.7)",
        "scad(0.7)",
        "log_sum(0.7)",
        "capped_l1(0.7, 0.9)",
        "group_l2()",
        "wgsef(keep: 2)",
        "wgsef_exact(keep: 2)",
        "wgsef(keep: 40%)",
    ] {
        let (p, c) = penalty(&program(
            1,
            12,
            &format!("use std.penalties\npenalize p: 1.5 * penalties.{words} of tile(in: 2) via subgrad"),
        ));
        for _ in 0..10 {
            let w: Vec<f64> = (0..12).map(|_| rng.range(-2.0, 2.0)).collect();
            let got = penalty_slope(&p, &c, &[], &w, Moment::END).unwrap();
            for i in 0..12 {
                let at = |d: f64| {
                    let mut x = w.clone();
                    x[i] += d;
                    penalty_value(&p, &c, &[], &x, Moment::END).unwrap()
                };
                let want = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((got[i] - want).abs() < 1e-4 * (1.0 + want.abs()), "{words} {w:?} {i}: {} {want}", got[i]);
            }
        }
        // A group that is 0 has no direction.
        let flat = penalty_slope(&p, &c, &[], &[0.0; 12], Moment::END).unwrap();
        assert!(flat.iter().all(|v| *v == 0.0), "{words}: {flat:?}");
    }
}

/// One step with weights and gradients chosen so that each way gives another result.
fn step(via: &str, o: Optimiser) -> Vec<f32> {
    let text = program(1, 2, &format!("use std.penalties.l1\npenalize p: 0.5 * l1(1) of elements via {via}"));
    let mut u = updater(&text, vec![0.03, -2.0], o, 2);
    u.step(&one(vec![3.0, 4.0]), 0.1).unwrap();
    u.step(&one(vec![3.0, 4.0]), 0.1).unwrap();
    u.weights()["net.w"].clone()
}

#[test]
fn soft_penalties_join_the_gradient_or_the_step() {
    let momentum = Optimiser::Sgd { momentum: 0.5, weight_decay: 0.0 };
    let by_hand = |joins: &dyn Fn([f32; 2], usize) -> f32, decay: bool| {
        let (mut w, mut b) = ([0.03f32, -2.0], [0.0f32; 2]);
        for _ in 0..2 {
            let start = w;
            for i in 0..2 {
                let s = joins(start, i);
                let g = [3.0, 4.0][i] + if decay { 0.0 } else { s };
                b[i] = 0.5 * b[i] + g;
                w[i] -= 0.1 * b[i];
                if decay {
                    w[i] -= 0.1 * s;
                }
            }
        }
        w
    };
    let sign = |x: f32| {
        if x > 0.0 {
            0.5
        } else if x < 0.0 {
            -0.5
        } else {
            0.0
        }
    };
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).for_each(|(x, y)| assert!((x - y).abs() < 1e-6, "{a:?} {b:?}"));
    near(&step("subgrad", momentum), &by_hand(&|w, i| sign(w[i]), false));
    near(&step("decay", momentum), &by_hand(&|w, i| sign(w[i]), true));
    // Taken 0.05 along the gradient (3, 4) / 5.
    near(&step("probe", momentum), &by_hand(&|w, i| sign(w[i] + 0.05 * [0.6, 0.8][i]), false));
    assert_ne!(step("subgrad", momentum), step("decay", momentum));
    // A weight that the first step takes from -0.02 to +0.01.
    assert_ne!(by_hand(&|w, i| sign(w[i]), false), by_hand(&|w, i| sign(w[i] - 0.05), false));
}

#[test]
fn scores_with_gradients_wait_for_the_first_gradient() {
    let text = program(
        1,
        4,
        "use std.updates.sr_ste\nrequire r: keep 2 of 4 of elements per tile(in: 4) by abs(w * g) via sr_ste(lambda: 0)",
    );
    let mut u = updater(&text, vec![1.0, 2.0, 3.0, 4.0], Optimiser::SGD, 3);
    assert_eq!(u.forward().unwrap()["net.w"], [1.0, 2.0, 3.0, 4.0]);
    u.step(&one(vec![9.0, 0.1, 4.0, 0.0]), 0.0).unwrap();
    // |w g| of the step before: 9, 0.2, 12, 0.
    assert_eq!(u.forward().unwrap()["net.w"], [1.0, 0.0, 3.0, 0.0]);
    // Saved and restored, the same mask comes of the same gradients.
    let saved = u.save();
    assert!(saved.tensors.contains_key("gradients/net.w"));
    let mut again = updater(&text, u.weights()["net.w"].clone(), Optimiser::SGD, 3);
    again.restore(&saved).unwrap();
    let g = one(vec![0.0, 5.0, 0.1, 9.0]);
    u.step(&g, 0.0).unwrap();
    again.step(&g, 0.0).unwrap();
    assert_eq!(again.forward().unwrap(), u.forward().unwrap());
    assert_eq!(u.forward().unwrap()["net.w"], [0.0, 2.0, 0.0, 4.0]);
}

#[test]
fn penalties_call_functions_and_share_names() {
    let text = program(
        1,
        3,
        "fn twice(x) = 2 * x\nfn shrink(x: f32, less: f32 = 1) -> y: f32 {\n  low = x - less\n  y = max(low, 0)\n}\n\
         penalty p(k: f32) radial {\n  mu = twice(k)\n  value(x) = mu * x\n  prox(x, tau) = shrink(x, less: tau * mu)\n}\n\
         penalize q: p(0.25) of elements via prox",
    );
    let p = penalty(&text);
    assert_eq!(prox(&p, &[3.0, -2.0, 0.1], 1.0), [2.5, -1.5, 0.0]);
    assert_eq!(penalty_value(&p.0, &p.1, &[], &[3.0, -2.0, 0.0], Moment::END).unwrap(), 2.5);
}

#[test]
fn keep_all_names_groups_and_keeps_everything() {
    let text = program(
        1,
        8,
        "update only(c: constraint) {\n  mask m = select(c)\n  forward(w) = w\n  step(w, g, lr) -> w {\n    best = top(1, by: abs(g), per: c)\n    w = w - lr * g * best\n  }\n}\n\
         require chunk: keep all of elements per tile(in: 4) via only()",
    );
    let mut u = updater(&text, vec![1.0; 8], Optimiser::SGD, 1);
    u.step(&one(vec![0.1, 0.2, 0.9, 0.3, -0.5, 0.1, 0.2, 0.0]), 1.0).unwrap();
    assert_eq!(u.weights()["net.w"], [1.0, 1.0, 1.0 - 0.9, 1.0, 1.5, 1.0, 1.0, 1.0]);
    assert_eq!(u.finish().unwrap()["net.w"].iter().filter(|w| **w != 0.0).count(), 8);
}

#[test]
fn a_latent_constraint_keeps_the_union_of_its_groups() {
    use std::collections::BTreeMap;
    let text = crossing(4, "require r: keep 3 of slices(F) of net per model by norm2 on_overlap latent");
    let c = checked(&text);
    assert!(c.diagnostics.iter().all(|d| !d.is_error()), "{:?}", c.diagnostics);
    let requires: Vec<spc_ir::Require> =
        c.module.requires.iter().map(|r| spc_ir::Require { name: r.name.clone(), keeps: r.keeps.clone() }).collect();
    let mut rng = Rng(14);
    for _ in 0..50 {
        let start: BTreeMap<String, Vec<f32>> =
            [("net.w".to_string(), rng.floats(16)), ("net.v".to_string(), rng.floats(8))].into();
        let mut w = start.clone();
        let report = spc_interp::project(&requires, &mut w).unwrap();
        assert_eq!(report[0].kept, 3);
        spc_interp::verify_requires(&requires, &w).unwrap();
        // The same by hand: squared norms of the four hidden slices (a row, and a column of v) and the four columns.
        let (m, v) = (&start["net.w"], &start["net.v"]);
        let sq = |x: f32| f64::from(x) * f64::from(x);
        let hidden =
            |i: usize| (0..4).map(|k| sq(m[i * 4 + k])).sum::<f64>() + (0..2).map(|o| sq(v[o * 4 + i])).sum::<f64>();
        let column = |k: usize| (0..4).map(|i| sq(m[i * 4 + k])).sum::<f64>();
        let mut all: Vec<(f64, bool, usize)> =
            (0..4).map(|i| (hidden(i), true, i)).chain((0..4).map(|k| (column(k), false, k))).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let kept = |h: bool, i: usize| all[..3].iter().any(|x| x.1 == h && x.2 == i);
        for i in 0..4 {
            for k in 0..4 {
                let want = if kept(true, i) || kept(false, k) { m[i * 4 + k] } else { 0.0 };
                assert_eq!(w["net.w"][i * 4 + k], want);
            }
            for o in 0..2 {
                assert_eq!(w["net.v"][o * 4 + i], if kept(true, i) { v[o * 4 + i] } else { 0.0 });
            }
        }
        // Whatever the values are, the same places pass; one more does not.
        let mut other = w.clone();
        other.values_mut().flatten().filter(|x| **x != 0.0).for_each(|x| *x = rng.range(0.1, 1.0) as f32);
        spc_interp::verify_requires(&requires, &other).unwrap();
        if let Some(at) = (0..16)
            .find(|at| (0..4).all(|k| w["net.w"][at / 4 * 4 + k] == 0.0 || k != at % 4) && w["net.w"][*at] == 0.0)
        {
            let mut more = w.clone();
            more.get_mut("net.w").unwrap()[at] = 1.0;
            assert!(spc_interp::verify_requires(&requires, &more).is_err(), "{at}: {w:?}");
        }
    }
}
