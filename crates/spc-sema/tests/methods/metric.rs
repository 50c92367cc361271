//! Proxes in the metric of an optimiser, against searches that know only the objective.
use super::{Rng, penalty, program, rules};
use spc_interp::method::{Cover, Optimiser, Updater, penalty_prox, penalty_prox_in, penalty_value};
use spc_ir::method::{Does, InMetric, Metric, Moment, Penalty, Via};

type Parts = (Penalty, Vec<Cover>);

fn on(words: &str, n: u64, of: &str) -> Parts {
    penalty(&program(1, n, &format!("use std.penalties\npenalize p: penalties.{words} of {of} via prox")))
}

fn prox(p: &Parts, v: &[f64], d: &[f64], tau: f64) -> Vec<f64> {
    let mut w = v.to_vec();
    penalty_prox_in(&p.0, &p.1, &[], &mut w, d, tau, Moment::END).unwrap();
    w
}

fn objective(p: &Parts, v: &[f64], d: &[f64], tau: f64, x: &[f64]) -> f64 {
    let near: f64 = x.iter().zip(v).zip(d).map(|((x, v), d)| d * (x - v).powi(2)).sum();
    near / 2.0 + tau * penalty_value(&p.0, &p.1, &[], x, Moment::END).unwrap()
}

/// Each weight alone: the prox with the step length tau / d.
#[test]
fn single_weights_have_step_lengths_of_their_own() {
    let mut rng = Rng(1);
    for words in ["l1(0.7)", "l0(0.7)", "lhalf(0.7)", "mcp(0.7)", "scad(0.7)", "log_sum(0.7)", "capped_l1(0.7, 1.3)"] {
        let (many, one) = (on(words, 5, "elements"), on(words, 1, "elements"));
        for _ in 0..40 {
            let v: Vec<f64> = (0..5).map(|_| rng.wild()).collect();
            let d: Vec<f64> = (0..5).map(|_| 10f64.powf(rng.range(-3.0, 1.0))).collect();
            let tau = 10f64.powf(rng.range(-1.5, 1.0));
            let got = prox(&many, &v, &d, tau);
            for i in 0..5 {
                let mut w = vec![v[i]];
                penalty_prox(&one.0, &one.1, &[], &mut w, tau / d[i], Moment::END).unwrap();
                assert_eq!(got[i], w[0], "{words}");
            }
        }
    }
}

/// Nothing near the prox of a norm, and no point of a coarse grid, is better in the metric.
#[test]
fn norms_of_groups_are_exact() {
    let mut rng = Rng(2);
    for words in ["group_l2(scale: 0.8)", "group_l2()", "l1(0.6)", "sparse_group(mix: 40%)"] {
        let p = on(words, 6, "tile(in: 3)");
        let mut gone = 0;
        for _ in 0..150 {
            let v: Vec<f64> = (0..6).map(|_| if rng.unit() < 0.15 { 0.0 } else { rng.range(-2.0, 2.0) }).collect();
            let d: Vec<f64> = (0..6).map(|_| 10f64.powf(rng.range(-2.0, 1.0))).collect();
            let tau = rng.range(0.01, 1.5);
            let x = prox(&p, &v, &d, tau);
            gone += usize::from(x[..3].iter().all(|x| *x == 0.0));
            let best = objective(&p, &v, &d, tau, &x);
            let slack = 1e-13 * (1.0 + best);
            for round in 0..80 {
                let size = 10f64.powf(-f64::from(round % 8));
                let near: Vec<f64> =
                    (x.iter()).map(|a| if rng.unit() < 0.2 { 0.0 } else { a + size * rng.range(-1.0, 1.0) }).collect();
                assert!(
                    best <= objective(&p, &v, &d, tau, &near) + slack,
                    "{words}: {v:?} {d:?} {tau}: {x:?} {near:?}"
                );
            }
            let grid = |k: u32| -> Vec<f64> {
                v.iter().enumerate().map(|(i, v)| v * f64::from(k >> (2 * i) & 3) / 3.0).collect()
            };
            for k in (0..4096).step_by(7) {
                assert!(best <= objective(&p, &v, &d, tau, &grid(k)) + slack, "{words}");
            }
        }
        assert!((10..140).contains(&gone), "{words}: {gone} of 150 groups are 0");
    }
}

#[test]
fn others_take_the_mean_of_their_group_or_of_all() {
    let mut rng = Rng(3);
    for (words, of, whole) in [
        ("mcp(0.7)", "tile(in: 3)", false),
        ("l0(0.4)", "tile(in: 3)", false),
        ("wgsef(keep: 1)", "tile(in: 3)", true),
        ("wgsef(keep: 2)", "elements", true),
    ] {
        let p = on(words, 6, of);
        for _ in 0..50 {
            let v: Vec<f64> = (0..6).map(|_| rng.range(-2.0, 2.0)).collect();
            let d: Vec<f64> = (0..6).map(|_| rng.range(0.1, 2.0)).collect();
            let tau = rng.range(0.05, 1.0);
            let mean = |d: &[f64]| d.iter().sum::<f64>() / d.len() as f64;
            let means = if whole { [mean(&d); 2] } else { [mean(&d[..3]), mean(&d[3..])] };
            let got = prox(&p, &v, &d, tau);
            for (k, m) in means.iter().enumerate() {
                let mut w = v.clone();
                penalty_prox(&p.0, &p.1, &[], &mut w, tau / m, Moment::END).unwrap();
                assert_eq!(got[3 * k..3 * k + 3], w[3 * k..3 * k + 3], "{words}");
            }
        }
    }
}

#[test]
fn programs_say_the_metric() {
    let via = |words: &str| {
        let text = program(1, 4, &format!("use std.penalties\npenalize p: penalties.{words}"));
        let r = rules(&text);
        let Does::Penalize { via, penalty, .. } = r.list[0].does.clone() else { panic!() };
        (via, penalty.terms.iter().map(|t| t.in_metric().unwrap()).collect::<Vec<_>>())
    };
    assert_eq!(via("l1() of elements"), (Via::Prox(Metric::Optimiser), vec![InMetric::Exact]));
    assert_eq!(via("l1() of elements via prox(metric: euclid)").0, Via::Prox(Metric::Euclid));
    assert_eq!(via("group_l2() of tile(in: 2) via prox").1, [InMetric::Exact]);
    assert_eq!(via("sparse_group() of tile(in: 2)").1, [InMetric::Exact; 2]);
    assert_eq!(via("mcp(1) of tile(in: 2)").1, [InMetric::ByGroup]);
    assert_eq!(via("wgsef(keep: 1) of tile(in: 2)").1, [InMetric::Whole]);
    assert_eq!(via("tree_l2() of tile(in: 2)").1, [InMetric::Whole]);
    assert_eq!(Via::Prox(Metric::Euclid).to_string(), "prox(metric: euclid)");
}

/// The first step of Adam is the sign of the gradient times the rate, whatever its size, and d is the size: large gradients make
/// the penalty weak. In the usual metric all weights shrink alike.
#[test]
fn adam_has_its_metric_unless_told_otherwise() {
    let run = |way: &str, o: Optimiser| {
        let text = program(1, 2, &format!("use std.penalties\npenalize p: penalties.l1(1) of elements via {way}"));
        let w = [("net.w".to_string(), vec![1.0f64, 1.0])].into();
        let mut u = Updater::new(rules(&text), w, o, 3).unwrap();
        u.step(&[("net.w".to_string(), vec![4.0, 0.5])].into(), 0.1).unwrap();
        u.weights()["net.w"].clone()
    };
    let near = |got: Vec<f64>, want: [f64; 2]| {
        got.iter().zip(want).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{got:?}"))
    };
    near(run("prox", Optimiser::ADAM), [0.9 - 0.1 / 4.0, 0.9 - 0.1 / 0.5]);
    near(run("prox(metric: euclid)", Optimiser::ADAM), [0.8, 0.8]);
    near(run("prox", Optimiser::SGD), [1.0 - 0.4 - 0.1, 1.0 - 0.05 - 0.1]);
}
