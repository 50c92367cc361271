//! What the cards of published methods promise, of modules that have no loop by hand in `updates.rs`.
use super::{Rng, one, program, updater};
use spc_interp::method::{Optimiser, Tensors, Updater};

fn grads(rng: &mut Rng, n: usize) -> Tensors<f32> {
    one(rng.floats(n))
}

fn mask(u: &Updater<f32>, name: &str) -> Vec<bool> {
    u.mask("r", name).unwrap().to_vec()
}

fn count(m: &[bool]) -> usize {
    m.iter().filter(|b| **b).count()
}

#[test]
fn prune_and_grow_keeps_its_amount_and_moves_the_sharpest() {
    let rest = "use std.updates\nrequire r: keep 50% of elements per tensor via \
        updates.prune_grow(spare: steps([25%, 0%], at: [60%]), interval: 6, refine: 2, moving: 25%)";
    let mut rng = Rng(21);
    let mut u = updater(&program(8, 8, rest), rng.floats(64), Optimiser::ADAM, 60);
    u.forward().unwrap();
    assert_eq!((count(&mask(&u, "m")), mask(&u, "m")), (32, mask(&u, "sharp")), "at first all that is there moves");
    let mut moved = 0;
    for k in 0..60u64 {
        let (m, sharp, w) = (mask(&u, "m"), mask(&u, "sharp"), u.weights()["net.w"].clone());
        let view = u.forward().unwrap()["net.w"].clone();
        let g = grads(&mut rng, 64);
        u.step(&g, 0.01).unwrap();
        let (new, now) = (mask(&u, "m"), mask(&u, "sharp"));
        assert_eq!(count(&new), 32, "step {k}");
        assert!(now.iter().zip(&new).all(|(s, m)| !s || *m), "step {k}: what moves is there");
        if (k + 1) % 2 == 0 {
            assert_eq!(count(&now), 8, "step {k}");
            let size = |i: &usize| g["net.w"][*i].abs();
            let least = (0..64).filter(|i| now[*i]).map(|i| size(&i)).fold(f32::INFINITY, f32::min);
            let most = (0..64).filter(|i| new[*i] && !now[*i]).map(|i| size(&i)).fold(0.0, f32::max);
            assert!(least >= most, "step {k}");
        } else {
            assert_eq!(sharp, now, "step {k}: chosen every second step only");
        }
        if new == m {
            continue;
        }
        moved += 1;
        assert!((k + 1) % 6 == 0 && k < 36, "step {k}");
        // Growing alone leaves the function as it was, and what was dropped does not come back at once.
        for i in 0..64 {
            if new[i] && !m[i] {
                assert_eq!((view[i], u.weights()["net.w"][i]), (0.0, 0.0));
            }
        }
        let dropped: Vec<usize> = (0..64).filter(|i| m[*i] && !new[*i]).collect();
        assert_eq!(dropped.len(), 8);
        assert!(dropped.iter().all(|i| u.weights()["net.w"][*i] == 0.0));
        assert!(u.moments()["net.w"].iter().all(|v| dropped.iter().all(|i| v[*i] == 0.0)), "step {k}");
        let _ = w;
    }
    assert_eq!(moved, 6);
}

#[test]
fn prune_and_grow_ranks_by_weight_and_gradient() {
    let text = |lambda: &str| {
        let rest = format!(
            "use std.updates\nrequire r: keep 4 of 8 of elements per tile(in: 8) via \
             updates.prune_grow(spare: 25%, interval: 1, refine: 1, moving: 100%, lambda: {lambda})"
        );
        program(1, 8, &rest)
    };
    // The smallest weight that is there has the largest gradient.
    let w = vec![4.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3, 0.2];
    let g = one(vec![0.0, 0.0, 0.0, 100.0, 0.0, 0.0, 0.0, 0.0]);
    for (lambda, goes) in [("0", 3), ("0.5", 2)] {
        let mut u = updater(&text(lambda), w.clone(), Optimiser::SGD, 4);
        u.step(&g, 1e-6).unwrap();
        let m = mask(&u, "m");
        let gone: Vec<usize> = (0..4).filter(|i| !m[*i]).collect();
        assert_eq!(gone, [goes], "{lambda}");
    }
}

#[test]
fn recommendation_keeps_its_count_to_the_end_and_clears_moments() {
    let rest = "use std.updates\nrequire r: keep 50% of elements per tensor via updates.recommend(interval: 4)";
    let mut rng = Rng(22);
    let mut u = updater(&program(5, 5, rest), rng.floats(25), Optimiser::ADAM, 40);
    u.forward().unwrap();
    let (mut tried, mut sizes) = (mask(&u, "tried"), Vec::new());
    for k in 0..40u64 {
        let old = mask(&u, "m");
        u.step(&grads(&mut rng, 25), 0.01).unwrap();
        let new = mask(&u, "m");
        assert_eq!(count(&new), 13, "step {k}");
        let changed: Vec<usize> = (0..25).filter(|i| new[*i] != old[*i]).collect();
        if (k + 1) % 4 == 0 {
            sizes.push(changed.len());
            assert!(changed.iter().all(|i| u.weights()["net.w"][*i] == 0.0));
            assert!(u.moments()["net.w"].iter().all(|v| changed.iter().all(|i| v[*i] == 0.0)), "step {k}");
        } else {
            assert!(changed.is_empty(), "step {k}");
        }
        let now = mask(&u, "tried");
        assert!(tried.iter().zip(&now).all(|(a, b)| !a || *b) && new.iter().zip(&now).all(|(a, b)| !a || *b));
        tried = now;
    }
    // As many come as go; half of them at first, one at the end.
    assert!(sizes.iter().all(|n| n % 2 == 0) && sizes[0] >= 12 && sizes[9] == 2, "{sizes:?}");
}

#[test]
fn a_subnetwork_is_what_moved_and_only_it_moves() {
    let rest = "use std.updates\nrequire r: keep all of elements per tensor via updates.subnetwork(dense: 5, tolerance: 0.001)";
    let mut rng = Rng(23);
    let w0 = rng.floats(16);
    let decaying = Optimiser::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1 };
    // Half of the gradients are 0: those weights move by the decay alone, less than the tolerance in five steps.
    let g = |rng: &mut Rng| one((0..16).map(|i| if i % 2 == 0 { rng.range(0.5, 1.0) as f32 } else { 0.0 }).collect());
    let mut u = updater(&program(2, 8, rest), w0.clone(), decaying, 20);
    for k in 0..20 {
        u.forward().unwrap();
        let seen = u.step(&g(&mut rng), 1e-3).unwrap();
        let w = &u.weights()["net.w"];
        if k < 4 {
            assert!((0..16).filter(|i| i % 2 == 0).all(|i| w[i] != w0[i]), "step {k}: everything moves");
        } else if k == 4 {
            assert_eq!(w, &w0, "back to where they began");
            assert!(u.moments()["net.w"].iter().all(|v| v.iter().all(|x| *x == 0.0)));
        } else {
            assert!((0..16).filter(|i| i % 2 == 1).all(|i| w[i].to_bits() == w0[i].to_bits()), "step {k}");
            assert!((0..16).filter(|i| i % 2 == 0).all(|i| w[i] != w0[i]), "step {k}");
        }
        if k == 10 {
            assert_eq!((seen[0].name.as_str(), seen[0].value), ("update_sparsity", 0.5));
        }
    }
    // Everything in the subnetwork is plain fine-tuning from the start again.
    let wide =
        "use std.updates\nrequire r: keep all of elements per tensor via updates.subnetwork(dense: 2, tolerance: -1)";
    let (mut a, mut b) = (
        updater(&program(2, 8, wide), w0.clone(), Optimiser::ADAM, 10),
        updater(&program(2, 8, ""), w0, Optimiser::ADAM, 8),
    );
    for k in 0..10 {
        let g = grads(&mut rng, 16);
        a.step(&g, 0.01).unwrap();
        if k >= 2 {
            b.step(&g, 0.01).unwrap();
        }
    }
    let near = |(x, y): (&f32, &f32)| (x - y).abs() < 0.03;
    assert!(a.weights()["net.w"].iter().zip(&b.weights()["net.w"]).all(near));
}

fn loco(n: usize, more: &str) -> String {
    let rest = format!(
        "use std.updates\nrequire r: keep all of elements per tile(in: 16) via updates.sparse_loco(n: {n}{more})"
    );
    program(4, 16, &rest)
}

#[test]
fn replicas_send_few_entries_and_lose_nothing() {
    let mut rng = Rng(24);
    let w0 = rng.floats(64);
    let mut replicas: Vec<_> = (0..3).map(|_| updater(&loco(4, ""), w0.clone(), Optimiser::SGD, 12)).collect();
    let mut shared = w0;
    for _ in 0..12 {
        let mut sent = Vec::new();
        for u in &mut replicas {
            let rest = |u: &Updater<f32>| match &u.save().tensors["rule/r/state/rest"] {
                spc_interp::method::Data::F(v) => v.clone(),
                spc_interp::method::Data::B(_) => panic!("a state of numbers"),
            };
            let (old, before) = (rest(u), u.weights()["net.w"].clone());
            let g = grads(&mut rng, 64);
            u.step(&g, 1.0).unwrap();
            let (new, after) = (rest(u), &u.weights()["net.w"]);
            let out: Vec<f32> = before.iter().zip(after).map(|(a, b)| a - b).collect();
            for i in 0..64 {
                // What is sent and what waits is what was fed.
                let fed = 0.95f64 as f32 * old[i] + g["net.w"][i];
                assert!((new[i] + out[i] - fed).abs() <= 1e-6 * (1.0 + fed.abs()), "{i}");
            }
            for chunk in out.chunks(16) {
                assert!(chunk.iter().filter(|v| **v != 0.0).count() <= 4);
            }
            let mut values: Vec<i64> = (0..64)
                .filter(|i| new[*i] != 0.95f64 as f32 * old[*i] + g["net.w"][*i])
                .map(|i| (out[i] * 1e5).round() as i64)
                .collect();
            values.sort_unstable();
            values.dedup_by(|a, b| (*a - *b).abs() <= 1);
            assert!(values.len() <= 5, "two bits: {values:?}");
            sent.push(out);
        }
        // The outer step: every replica goes on from the mean.
        for (i, w) in shared.iter_mut().enumerate() {
            *w -= sent.iter().map(|s| s[i]).sum::<f32>() / 3.0;
        }
        let mean: Vec<f32> =
            (0..64).map(|i| replicas.iter().map(|u| u.weights()["net.w"][i]).sum::<f32>() / 3.0).collect();
        assert!(shared.iter().zip(&mean).all(|(a, b)| (a - b).abs() < 1e-4), "the mean of replicas is the outer step");
    }
}

#[test]
fn one_replica_that_sends_all_is_plain_descent() {
    let mut rng = Rng(25);
    let w0 = rng.floats(64);
    let mut u = updater(&loco(16, ", quantised: false"), w0.clone(), Optimiser::SGD, 5);
    let mut w = w0;
    for _ in 0..5 {
        let g = grads(&mut rng, 64);
        u.step(&g, 0.7).unwrap();
        w.iter_mut().zip(&g["net.w"]).for_each(|(w, g)| *w -= 0.7 * g);
        assert_eq!(u.weights()["net.w"], w);
    }
    // Nothing to send, and everything alike: no division by a spread of 0.
    for v in [0.0, 2.0] {
        let mut u = updater(&loco(4, ""), vec![1.0; 64], Optimiser::SGD, 2);
        u.step(&one(vec![v; 64]), 1.0).unwrap();
        let moved = u.weights()["net.w"].iter().filter(|x| **x != 1.0).count();
        assert_eq!(moved, if v == 0.0 { 0 } else { 16 });
        assert!(u.weights()["net.w"].iter().all(|x| *x == 1.0 || *x == -1.0));
    }
}

#[test]
fn the_plain_envelope_is_the_weighted_one_with_equal_weights() {
    use super::penalty;
    let of = |name: &str| {
        penalty(&program(
            4,
            8,
            &format!("use std.penalties\npenalize p: 1 * penalties.{name}(keep: 50%) of tile(in: 4)"),
        ))
    };
    let ((sef, covers), (wgsef, _)) = (of("sef"), of("wgsef"));
    let same =
        |p: &spc_ir::method::Penalty| p.terms.iter().map(|t| (t.value.clone(), t.prox.clone())).collect::<Vec<_>>();
    assert_eq!(same(&sef), same(&wgsef));
    assert_eq!(covers.len(), 1);
}

#[test]
fn learned_scores_choose_among_frozen_weights() {
    let rest = "use std.updates\n\
        require r: keep cubic(100% -> 10%, 10%..70%) of elements per tensor via updates.learned_score(alpha: 2)";
    let mut rng = Rng(31);
    let w0 = rng.floats(100);
    let mut u = updater(&program(10, 10, rest), w0.clone(), Optimiser::ADAM, 50);
    let mut s = vec![0.0f32; 100];
    let (mut before, mut other) = (100, 0);
    for k in 0..50u64 {
        let view = u.forward().unwrap()["net.w"].clone();
        let left = (0..100).filter(|i| view[*i] != 0.0).count();
        // The schedule, by hand: all until a tenth of the run has passed, a tenth from seven tenths on.
        let x = ((k as f64 / 50.0 - 0.1) / 0.6).clamp(0.0, 1.0);
        let share = 0.1 + 0.9 * (1.0 - x).powi(3);
        assert!((left as f64 - (share * 100.0).ceil()).abs() <= 1.0 && left <= before, "step {k}: {left}");
        before = left;
        // What is kept has the greatest scores, and is what it was.
        let score = |i: usize| w0[i].abs() + 2.0 * s[i];
        let least = (0..100).filter(|i| view[*i] != 0.0).map(score).fold(f32::INFINITY, f32::min);
        let most = (0..100).filter(|i| view[*i] == 0.0).map(score).fold(f32::NEG_INFINITY, f32::max);
        assert!(least >= most, "step {k}");
        assert!((0..100).all(|i| view[i] == 0.0 || view[i].to_bits() == w0[i].to_bits()), "step {k}");
        if k == 0 {
            let size = |i: usize| w0[i].abs();
            let smallest = (0..100).filter(|i| view[*i] != 0.0).map(size).fold(f32::INFINITY, f32::min);
            assert!((0..100).all(|i| view[i] != 0.0 || size(i) <= smallest), "the first mask is that of magnitudes");
        }
        let g = grads(&mut rng, 100);
        let seen = u.step(&g, 0.05).unwrap();
        other += usize::from(seen[0].value > 0.0);
        for i in 0..100 {
            s[i] -= 0.05 * 2.0 * (g["net.w"][i] * w0[i]);
        }
        assert_eq!(u.weights()["net.w"], w0, "frozen");
    }
    assert_eq!(before, 10);
    assert!(other > 20, "the scores never mattered");
    // A weight that would help comes in place of a larger one that does not.
    let rest = "use std.updates\nrequire r: keep 1 of 2 of elements per tile(in: 2) via updates.learned_score()";
    let mut u = updater(&program(1, 2, rest), vec![1.0, 0.9], Optimiser::SGD, 3);
    assert_eq!(u.forward().unwrap()["net.w"], [1.0, 0.0]);
    u.step(&one(vec![0.0, -1.0]), 1.0).unwrap();
    assert_eq!(u.forward().unwrap()["net.w"], [0.0, 0.9]);
}
