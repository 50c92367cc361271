//! Compiled updates against the reference interpreter, step by step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use spc::{Compiler, Isa, Optimiser};
use std::collections::BTreeMap;

pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Some values twice, some zero.
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        let one = |r: &mut Rng| match r.next() % 10 {
            0 => 0.0,
            1..=3 => (r.float() * 4.0).round() / 4.0,
            _ => r.float(),
        };
        (0..n).map(|_| one(self)).collect()
    }
}

type Named = BTreeMap<String, Vec<f32>>;

fn program(rules: &str) -> String {
    format!(
        "
use std.updates.{{sr_ste, dropgrow, mdgf, adams, frozen}}
use std.penalties.{{l1, l0, lq, lhalf, log_sum, capped_l1, mcp, scad, cel0, group_l2, sparse_group, masked_l1, wgsef}}
axis B = 1..8
model net {{ axes {{ I = 32, O = 24, N = 10 }}  w: f32[O, I]  v: f32[N, O]  b: f32[O] }}
fn f(x: f32[B, I]) -> z: f32[B, N] {{
  y[b, o] = net.w[o, i] * x[b, i] + net.b[o]
  z[b, n] = net.v[n, o] * y[b, o]
}}
{rules}
"
    )
}

fn views<'a>(m: &'a mut Named) -> Vec<(&'a str, &'a mut [f32])> {
    m.iter_mut().map(|(n, v)| (n.as_str(), &mut v[..])).collect()
}

fn slices(m: &Named) -> Vec<(&str, &[f32])> {
    m.iter().map(|(n, v)| (n.as_str(), &v[..])).collect()
}

const SIZES: [(&str, usize); 3] = [("net.w", 24 * 32), ("net.v", 240), ("net.b", 24)];

fn random(r: &mut Rng) -> Named {
    SIZES.iter().map(|(n, k)| (n.to_string(), r.floats(*k))).collect()
}

fn far(a: &Named, b: &Named) -> f32 {
    let mut worst = 0f32;
    for (n, v) in a {
        for (x, y) in v.iter().zip(&b[n]) {
            let d = (x - y).abs() / (1.0 + y.abs());
            worst = worst.max(if d.is_nan() { f32::INFINITY } else { d });
            if (*x == 0.0) != (*y == 0.0) && (x - y).abs() > 1e-5 {
                worst = f32::INFINITY;
            }
        }
    }
    worst
}

/// Runs a program compiled and by reference; the greatest difference of what the program reads, over all steps and at the end.
fn compare(rules: &str, o: Optimiser, steps: u64, isa: Isa, threads: usize) -> f32 {
    let text = program(rules);
    let checked =
        Compiler::new().isa(isa).threads(threads).compile_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let plan = checked.update_plan(o, steps).unwrap();
    assert_eq!(plan.interpreted(), None, "{rules}");
    let mut r = Rng(3);
    let mut params = random(&mut r);
    let mut u = checked.updater(params.clone(), o, steps).unwrap();
    let mut state = plan.start(&mut views(&mut params)).unwrap();
    let mut worst = far(&params, &u.forward().unwrap());
    for step in 0..steps {
        let grads = random(&mut r);
        let rate = 0.02 + 0.01 * (step % 3) as f32;
        let seen = plan.update(step, &mut views(&mut params), &slices(&grads), rate, &mut state).unwrap();
        let want = u.step(&grads, rate).unwrap();
        assert_eq!(seen.len(), want.len());
        for (s, w) in seen.iter().zip(&want) {
            assert_eq!((&s.rule, &s.name), (&w.rule, &w.name));
            assert!((s.value - w.value).abs() <= 1e-4 * (1.0 + w.value.abs()), "{rules}: {s:?} {w:?}");
        }
        let view = if step + 1 < steps { u.forward().unwrap() } else { u.finish().unwrap() };
        let d = far(&params, &view);
        assert!(d.is_finite(), "{rules}: step {step} {isa:?}\n{:?}\n{:?}", params["net.w"], view["net.w"]);
        worst = worst.max(d);
    }
    worst
}

const SGD: Optimiser = Optimiser::Sgd { momentum: 0.9, weight_decay: 0.01 };
const ADAMW: Optimiser = Optimiser::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };

fn everywhere(rules: &str, most: f32) {
    for isa in Isa::ALL.into_iter().filter(|i| i.is_available()) {
        for o in [SGD, ADAMW] {
            let d = compare(rules, o, 12, isa, 1);
            assert!(d <= most, "{rules}: {d} on {isa:?}");
        }
    }
}

/// Programs of sums, products and choices give the same bits.
#[test]
fn elementwise_rules_give_the_bits_of_the_reference() {
    for rules in [
        "penalize p: 0.1 * l1() of elements",
        "penalize p: 0.1 * l0() of elements",
        "penalize p: 0.1 * mcp(0.5) of elements on net.w\npenalize q: 0.02 * capped_l1() of elements on net.v",
        "penalize p: 0.1 * scad(0.3) of elements",
        "penalize p: 0.1 * cel0(0.1, 1) of elements",
        "require r: keep 2 of 4 of elements per tile(in: 4) via sr_ste(lambda: 0.05)",
        "require r: keep 1 of 8 of elements per tile(in: 8) via sr_ste(lambda: 0.05)\npenalize p: 0.02 * l1() of elements",
        "require r: keep 5 of 16 of elements per tile(in: 16) on net.w via sr_ste()",
        "require r: keep 7 of 32 of elements per tile(in: 32) on net.w via sr_ste()",
        "require r: keep 3 of 8 of elements per tile(in: 8) on net.w",
        "require r: keep 25% of elements per tensor via frozen()",
        "require r: keep 20% of elements per model via sr_ste()",
        "require r: keep 10% of elements per model min 20 per tensor via frozen()",
        "require r: keep 30% of elements per tile(out: 1, in: all)",
        "require r: keep 50% of tile(out: 4, in: 4) per tensor on net.w via sr_ste()",
        "require r: keep cubic(100% -> 20%, 10%..80% of steps) of elements per tensor",
        "require r: keep 30% of elements per tensor\npenalize p: 0.3 * masked_l1(r) of elements",
    ] {
        everywhere(rules, 0.0);
    }
}

#[test]
fn groups_functions_and_moving_masks_follow_the_reference() {
    for rules in [
        "group row = tile(out: 1, in: all)\npenalize p: 0.2 * group_l2() of row on net.w",
        "group block = tile(out: 4, in: 16)\npenalize p: 0.1 * group_l2() of block on net.w",
        "group block = tile(out: 4, in: 4)\npenalize p: 0.1 * group_l2() of block on net.w",
        "group column = tile(out: all, in: 1)\npenalize p: 0.1 * group_l2() of column on net.{w, v}",
        "group row = tile(out: 2, in: all)\npenalize p: 0.2 * mcp(0.9) of row on net.{w, v}",
        "group row = tile(out: 1, in: all)\npenalize p: 0.2 * sparse_group(mix: 20%) of row on net.w",
        "penalize p: 0.1 * lhalf() of elements\npenalize q: 0.01 * log_sum() of elements",
        "require r: keep 1 of 4 of elements per tile(in: 4) via mdgf(scaled: true)",
        "require r: keep 2 of 4 of elements per tile(in: 4) via adams(lambda: 1e-2, refresh: 3)",
        "require r: keep 20% of elements per tensor via dropgrow(interval: 3)",
        "require r: keep 20% of elements per model via dropgrow(interval: 2)",
    ] {
        everywhere(rules, 2e-5);
    }
}

/// Any number of threads, and stopping at any step, gives the same bits.
#[test]
fn threads_and_resuming_change_no_bit() {
    let rules = "require r: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()
require s: keep 20% of elements per tensor on net.v via dropgrow(interval: 2)
group row = tile(out: 1, in: all)
penalize p: 0.1 * group_l2() of row on net.w";
    let text = program(rules);
    let run = |threads: usize, stop: Option<u64>| {
        let checked = Compiler::new().threads(threads).compile_str(&text).unwrap();
        let mut plan = checked.update_plan(ADAMW, 10).unwrap();
        let mut r = Rng(5);
        let mut params = random(&mut r);
        let mut state = plan.start(&mut views(&mut params)).unwrap();
        for step in 0..10 {
            if stop == Some(step) {
                let dir = std::env::temp_dir().join(format!("spc-state-{}-{step}", std::process::id()));
                std::fs::write(&dir, plan.save(&state).unwrap()).unwrap();
                plan = checked.update_plan(ADAMW, 10).unwrap();
                state = plan.load(&dir).unwrap();
                std::fs::remove_file(&dir).unwrap();
                assert_eq!(state.done(), step);
            }
            let grads = random(&mut r);
            plan.update(step, &mut views(&mut params), &slices(&grads), 0.03, &mut state).unwrap();
        }
        params
    };
    let whole = run(1, None);
    assert_eq!(run(3, None), whole);
    for stop in 0..10 {
        assert_eq!(run(1, Some(stop)), whole, "stopped before step {stop}");
    }
}
