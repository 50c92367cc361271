//! The programs of `examples/methods`: what their papers promise, counted here from the weights alone.
use super::{Named, Rng, slices, views};
use spc::{Compiler, Optimiser, UpdatePlan};
use std::path::Path;

fn plan(file: &str, set: &[(&str, &str)], steps: u64) -> UpdatePlan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/methods").join(file);
    let compiler = set.iter().fold(Compiler::new(), |c, (name, value)| c.dial(name, value));
    compiler.compile_file(path).unwrap().update_plan(Optimiser::SGD, steps).unwrap()
}

/// Values of the parameters, by a rule.
fn named(p: &UpdatePlan, mut f: impl FnMut(&str, usize) -> Vec<f32>) -> Named {
    p.shapes().map(|(n, shape)| (n.to_string(), f(n, shape.iter().product()))).collect()
}

/// Runs all steps with the gradients of a rule; `seen` looks at the weights before and after each step, and its gradients.
fn run(
    p: &UpdatePlan,
    steps: u64,
    rate: f32,
    w: &mut Named,
    mut g: impl FnMut(u64) -> Named,
    mut seen: impl FnMut(u64, &Named, &Named, &Named),
) {
    let mut state = p.start(&mut views(w)).unwrap();
    for k in 0..steps {
        let (old, grads) = (w.clone(), g(k));
        p.update(k, &mut views(w), &slices(&grads), rate, &mut state).unwrap();
        seen(k, &old, w, &grads);
    }
}

/// The squares of a 32 x 32 matrix in blocks of 8 x 8, added up.
fn blocks(w: &[f32]) -> Vec<f64> {
    let mut out = vec![0.0; 16];
    for (i, v) in w.iter().enumerate() {
        out[i / 256 * 4 + i % 32 / 8] += f64::from(*v) * f64::from(*v);
    }
    out
}

#[test]
fn a_locality_of_nothing_is_plain_training() {
    let p = plan("semantic_blocks.sp", &[("locality", "0")], 20);
    let mut rng = Rng(1);
    let mut w = named(&p, |_, n| rng.floats(n, 1.0));
    let shapes = w.clone();
    let mut plain = w.clone();
    let grads = |k: u64| {
        let mut rng = Rng(100 + k);
        shapes.iter().map(|(n, v)| (n.clone(), rng.floats(v.len(), 1.0))).collect::<Named>()
    };
    run(&p, 20, 0.1, &mut w, grads, |_, _, _, g| {
        for (n, v) in &mut plain {
            v.iter_mut().zip(&g[n]).for_each(|(w, g)| *w -= 0.1 * g);
        }
    });
    assert_eq!(w, plain);
}

/// A block of zeros stays one exactly while the norm of its gradient is at most the strength times the root of its size.
#[test]
fn semantic_blocks_obey_their_threshold() {
    let p = plan("semantic_blocks.sp", &[], 1);
    let limit = 0.05 * 8.0;
    let mut w = named(&p, |_, n| vec![0.0; n]);
    // The norm of block k is (k + 1) / 8 of the limit.
    let of = |i: usize| (i / 256 * 4 + i % 32 / 8 + 1) as f64 / 8.0 * limit / 8.0;
    let grads = |_| w_like(&p, |i| of(i) as f32);
    run(&p, 1, 0.5, &mut w, grads, |_, _, new, _| {
        for name in ["net.wq", "net.wk"] {
            for (k, left) in blocks(&new[name]).into_iter().enumerate() {
                // At the limit itself rounding decides.
                assert!(k == 7 || (left == 0.0) == (k < 7), "{name}: {k}: {left}");
            }
        }
        assert!(new["net.wv"].iter().all(|v| *v != 0.0), "values have no penalty");
    });
}

fn w_like(p: &UpdatePlan, f: impl Fn(usize) -> f32) -> Named {
    named(p, |_, n| (0..n).map(&f).collect())
}

#[test]
fn lora_pairs_vanish_together_and_only_after_a_fifth_of_the_run() {
    let p = plan("lora_groups.sp", &[], 50);
    let mut rng = Rng(3);
    // One layer's pairs are small, another's large.
    let mut w = named(&p, |n, len| rng.floats(len, if n.contains(".1.") { 0.001 } else { 0.2 }));
    let names: Vec<String> = w.keys().cloned().collect();
    let lengths = w.clone();
    let norm = |w: &Named, l: usize, m: &str| {
        let of =
            |part: &str| w[&format!("net.layer.{l}.{m}_{part}")].iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        (of("a") + of("b")).sqrt()
    };
    let grads = |k: u64| {
        let mut rng = Rng(900 + k);
        lengths.iter().map(|(n, v)| (n.clone(), rng.floats(v.len(), 1e-4))).collect::<Named>()
    };
    run(&p, 50, 0.1, &mut w, grads, |k, old, new, g| {
        for n in &names {
            let moved: Vec<f32> = old[n].iter().zip(&g[n]).map(|(w, g)| w - 0.1 * g).collect();
            let is_lora = n.ends_with("_a") || n.ends_with("_b");
            if k < 10 || !is_lora {
                assert_eq!(new[n], moved, "step {k}: {n}");
            }
        }
        for (l, m) in (0..3).flat_map(|l| [(l, "up"), (l, "down")]) {
            let before: f64 = ["a", "b"]
                .into_iter()
                .map(|part| format!("net.layer.{l}.{m}_{part}"))
                .flat_map(|n| {
                    old[&n].iter().zip(&g[&n]).map(|(w, g)| f64::from(w - 0.1 * g).powi(2)).collect::<Vec<_>>()
                })
                .sum::<f64>()
                .sqrt();
            let after = norm(new, l, m);
            if k < 10 {
                continue;
            }
            // The joint norm shrinks by rate times strength, to exactly 0.
            let want = (before - 0.1 * 0.02).max(0.0);
            assert!((after - want).abs() <= 1e-5 * before + 1e-9, "step {k}, {m} of {l}: {after} {want}");
            assert!(want > 0.0 || after == 0.0);
        }
    });
    let gone: Vec<usize> = (0..3).filter(|l| norm(&w, *l, "up") == 0.0 && norm(&w, *l, "down") == 0.0).collect();
    assert_eq!(gone, [1]);
}

#[test]
fn the_pull_of_unlearning_fades_and_the_rest_is_pruned() {
    let p = plan("unlearning.sp", &[], 50);
    let mut rng = Rng(4);
    let mut w = named(&p, |_, n| rng.floats(n, 1.0));
    let zero = w_like(&p, |_| 0.0);
    run(
        &p,
        50,
        0.1,
        &mut w,
        |_| zero.clone(),
        |k, old, new, _| {
            assert_eq!(old["net.b1"], new["net.b1"], "biases are free");
            let pull = 0.1 * 5e-3 * (1.0 - k as f64 / 40.0).max(0.0);
            if k < 39 {
                for (a, b) in old["net.w1"].iter().zip(&new["net.w1"]) {
                    let want = (f64::from(a.abs()) - pull).max(0.0);
                    assert!((f64::from(b.abs()) - want).abs() < 1e-6, "step {k}: {a} {b}");
                }
            } else if k > 39 {
                let kept = |n: &str| new[n].iter().zip(&old[n]).all(|(b, a)| *b == 0.0 || a == b);
                assert!(kept("net.w1") && kept("net.w2"), "step {k}: nothing pulls any more");
            }
        },
    );
    let left = |n: &str| w[n].iter().filter(|v| **v != 0.0).count();
    let all = w["net.w1"].len() + w["net.w2"].len();
    assert_eq!(left("net.w1") + left("net.w2"), (all * 3).div_ceil(10));
    assert!(["net.w1", "net.w2"].iter().all(|n| left(n) >= all.div_ceil(100)));
}

#[test]
fn each_group_of_layers_has_one_threshold_and_every_layer_its_least() {
    let p = plan("channel_groups.sp", &[], 40);
    let mut rng = Rng(5);
    // The scales of the second layer are so small that the floor must hold them.
    let mut w = named(&p, |n, len| {
        let scale = if n == "net.g2" { 0.01 } else { 1.0 };
        rng.floats(len, 0.2 * scale).iter().map(|v| if n.starts_with("net.g") { v + scale } else { *v }).collect()
    });
    let start = w.clone();
    let zero = w_like(&p, |_| 0.0);
    run(
        &p,
        40,
        0.01,
        &mut w,
        |_| zero.clone(),
        |k, old, new, _| {
            let pull = 0.01 * if k < 20 { 1e-2 } else { 1e-4 };
            for n in ["net.g1", "net.g3"] {
                for (a, b) in old[n].iter().zip(&new[n]).filter(|(_, b)| **b != 0.0) {
                    assert!((a - b - pull).abs() < 2e-7, "step {k}: {n} {a} {b}");
                }
            }
            assert_eq!(old["net.w1"], new["net.w1"]);
        },
    );
    let kept = |n: &str| (0..w[n].len()).filter(|i| w[n][*i] != 0.0).collect::<Vec<_>>();
    let (one, two, late) = (kept("net.g1"), kept("net.g2"), kept("net.g3"));
    assert_eq!((one.len() + two.len(), two.len(), late.len()), (28, 4, 6));
    for (n, kept) in [("net.g1", &one), ("net.g2", &two), ("net.g3", &late)] {
        let least = kept.iter().map(|i| start[n][*i]).fold(f32::INFINITY, f32::min);
        let most = (0..start[n].len()).filter(|i| !kept.contains(i)).map(|i| start[n][i]).fold(0.0, f32::max);
        assert!(least >= most, "{n}: {least} {most}");
    }
}
