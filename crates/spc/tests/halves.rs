//! Steps in two halves around an optimiser of the caller's: the same bits as whole steps with that optimiser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::train::{Named, Rng, named, sizes, slices, views};
use spc::{Compiler, Optimiser};
use std::collections::BTreeMap;

const SHAPE: [usize; 3] = [16, 12, 5];

fn program(rules: &str) -> String {
    common::train::program(SHAPE, rules)
}

fn random(r: &mut Rng) -> Named {
    named(&sizes(SHAPE), |n| r.floats(n))
}

/// The optimiser as a caller would write it, in f32.
fn moved(o: Optimiser, step: u64, rate: f32, w: &mut [f32], g: &[f32], moments: &mut [Vec<f32>]) {
    for i in 0..w.len() {
        match o {
            Optimiser::Sgd { momentum, weight_decay } => {
                let b = momentum as f32 * moments[0][i] + g[i];
                moments[0][i] = b;
                w[i] = w[i] - rate * weight_decay as f32 * w[i] - rate * b;
            }
            Optimiser::AdamW { beta1, beta2, eps, weight_decay } => {
                let (b1, b2, t) = (beta1 as f32, beta2 as f32, step as f32 + 1.0);
                let m = b1 * moments[0][i] + (1.0 - b1) * g[i];
                let v = b2 * moments[1][i] + (1.0 - b2) * g[i] * g[i];
                (moments[0][i], moments[1][i]) = (m, v);
                let by = (m / (1.0 - b1.powf(t))) / ((v / (1.0 - b2.powf(t))).sqrt() + eps as f32);
                w[i] = w[i] - rate * weight_decay as f32 * w[i] - rate * by;
            }
            Optimiser::Outside { .. } => panic!("no optimiser"),
        }
    }
}

const RULES: [&str; 11] = [
    "require r: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()",
    "require r: keep 50% of elements per tensor on net.{w, v}",
    "require r: keep 30% of elements per tensor on net.{w, v} via sr_ste(lambda: 0.05)",
    "require r: keep 20% of elements per model on net.{w, v} via sr_ste()\n\
     penalize p: 0.05 * l1 of elements on net.w",
    "require r: keep 25% of elements per tensor on net.w via dropgrow()",
    "penalize p: 0.05 * l1 of elements on net.{w, v}",
    "penalize p: 0.05 * group_l2 of tile(in: 16) of net.w",
    "penalize p: 0.05 * tree_l2 of tile(in: 16) of net.w",
    "penalize p: 0.05 * l1 of elements on net.{w, v} via subgrad",
    "require r: keep 25% of elements per tensor by abs(w * g) on net.w via sr_ste()",
    "require r: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()\n\
     require s: keep 50% of elements per tensor on net.v\npenalize p: 0.01 * l1 of elements on net.b",
];

#[test]
fn two_halves_are_a_whole_step() {
    let steps = 12;
    let optimisers = [
        Optimiser::Sgd { momentum: 0.9, weight_decay: 0.01 },
        Optimiser::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 },
    ];
    for rules in RULES {
        for o in optimisers {
            let text = program(rules);
            let checked = Compiler::new().compile_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let whole = checked.update_plan(o, steps).unwrap();
            let halves =
                checked.update_plan(Optimiser::Outside { moments: o.cleared(), square: o.square() }, steps).unwrap();
            let mut r = Rng(11);
            let mut a = random(&mut r);
            let mut b = a.clone();
            let (mut sa, mut sb) =
                (whole.start(&mut views(&mut a)).unwrap(), halves.start(&mut views(&mut b)).unwrap());
            let mut moments: BTreeMap<&str, Vec<Vec<f32>>> =
                sizes(SHAPE).iter().map(|(n, k)| (*n, vec![vec![0.0; *k]; o.cleared()])).collect();
            let mut mapped_any = false;
            for step in 0..steps {
                assert_eq!(a, b, "{rules}: before step {step}");
                let (g, rate) = (random(&mut r), 0.05);
                whole.update(step, &mut views(&mut a), &slices(&g), rate, &mut sa).unwrap();
                let mut mapped: Named = g.clone();
                mapped.retain(|n, _| halves.maps_gradient(n));
                mapped.values_mut().for_each(|v| v.fill(f32::NAN));
                mapped_any |= !mapped.is_empty();
                halves.before(step, &mut views(&mut b), &slices(&g), &mut views(&mut mapped), &mut sb).unwrap();
                for (n, w) in &mut b {
                    let g = mapped.get(n).unwrap_or(&g[n]);
                    moved(o, step, rate, w, g, moments.get_mut(n.as_str()).unwrap());
                }
                let mut given: Vec<(&str, Vec<&mut [f32]>)> =
                    moments.iter_mut().map(|(n, l)| (*n, l.iter_mut().map(|v| &mut v[..]).collect())).collect();
                halves.after(step, &mut views(&mut b), &slices(&g), &mut given, rate, &mut sb).unwrap();
            }
            assert_eq!(a, b, "{rules}: at the end");
            assert_eq!(mapped_any, rules.contains(" via "), "{rules}");
        }
    }
}

#[test]
fn halves_come_in_turn() {
    let text = program(RULES[0]);
    let checked = Compiler::new().compile_str(&text).unwrap();
    let plan = checked.update_plan(Optimiser::Outside { moments: 1, square: None }, 2).unwrap();
    let mut r = Rng(5);
    let (mut p, g) = (random(&mut r), random(&mut r));
    let mut state = plan.start(&mut views(&mut p)).unwrap();
    let mut mapped: Named = BTreeMap::from([("net.w".to_string(), vec![0.0; 192])]);
    let mut moments: Vec<Vec<f32>> = sizes(SHAPE).iter().map(|(_, k)| vec![0.0; *k]).collect();
    let before = p.clone();
    let code = |r: Result<(), spc::Error>| r.err().map_or(String::new(), |e| e.codes().join(","));
    macro_rules! after {
        ($step:expr, $n:expr) => {{
            let mut m: Vec<(&str, Vec<&mut [f32]>)> =
                sizes(SHAPE).iter().zip(&mut moments).map(|((n, _), v)| (*n, vec![&mut v[..]])).take($n).collect();
            code(plan.after($step, &mut views(&mut p), &slices(&g), &mut m, 0.1, &mut state).map(|_| ()))
        }};
    }
    assert_eq!(after!(0, 3), "SP0337");
    assert_eq!(code(plan.before(0, &mut views(&mut p), &slices(&g), &mut [], &mut state)), "SP0403");
    assert_eq!(code(plan.update(0, &mut views(&mut p), &slices(&g), 0.1, &mut state).map(|_| ())), "SP0006");
    assert_eq!(code(plan.before(1, &mut views(&mut p), &slices(&g), &mut views(&mut mapped), &mut state)), "SP0338");
    assert_eq!(p, before);
    assert_eq!(code(plan.before(0, &mut views(&mut p), &slices(&g), &mut views(&mut mapped), &mut state)), "");
    assert_ne!(p, before, "the weights behind the mask");
    assert_eq!(code(plan.before(0, &mut views(&mut p), &slices(&g), &mut views(&mut mapped), &mut state)), "SP0337");
    assert_eq!(after!(0, 0), "SP0403", "without moments");
    assert_eq!(after!(0, 3), "");
    assert_eq!(after!(0, 3), "SP0338");
    // An update that steps by itself leaves no place for another optimiser.
    let own = program("require r: keep 2 of 4 of elements per tile(in: 4) on net.w via adams()");
    let e = Compiler::new()
        .compile_str(&own)
        .unwrap()
        .update_plan(Optimiser::Outside { moments: 2, square: None }, 9)
        .err()
        .unwrap();
    assert_eq!(e.codes(), ["SP0006"]);
}
