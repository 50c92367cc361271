//! Compiled updates against the reference interpreter, step by step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::train::{Named, Rng, SHAPE, named, sizes, slices, views};
use spc::{Compiler, Isa, Optimiser};

fn program(rules: &str) -> String {
    common::train::program(SHAPE, rules)
}

fn random(r: &mut Rng) -> Named {
    named(&sizes(SHAPE), |n| r.floats(n))
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
    compare_in(&program(rules), &sizes(SHAPE), o, steps, isa, threads)
}

fn compare_in(text: &str, sizes: &[(&str, usize)], o: Optimiser, steps: u64, isa: Isa, threads: usize) -> f32 {
    let rules = text;
    let random = |r: &mut Rng| named(sizes, |n| r.floats(n));
    let checked = Compiler::new().isa(isa).threads(threads).compile_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
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
        assert!(d.is_finite(), "{rules}: step {step} {isa:?}\n{params:?}\n{view:?}");
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
        "group neuron = slices(O) of net\npenalize p: 0.3 * group_l2() of neuron",
        "group neuron = slices(O) of net\npenalize p: 0.3 * mcp(2) of neuron",
        "group row = tile(out: 1, in: all)\npenalize p: 0.5 * wgsef(keep: 40%) of row on net.{w, v}",
        "group block = tile(out: 4, in: 4)\npenalize p: 0.5 * wgsef(keep: 25%) of block on net.w",
        "group neuron = slices(O) of net\npenalize p: 0.7 * wgsef(keep: 30%) of neuron",
        "group neuron = slices(O) of net cost: size\npenalize p: 0.7 * wgsef(keep: 50% of cost, cost: cost) of neuron",
        "penalize p: 0.1 * lhalf() of elements\npenalize q: 0.01 * log_sum() of elements",
        "require r: keep 1 of 4 of elements per tile(in: 4) via mdgf(scaled: true)",
        "require r: keep 2 of 4 of elements per tile(in: 4) via adams(lambda: 1e-2, refresh: 3)",
        "require r: keep 20% of elements per tensor via dropgrow(interval: 3)",
        "require r: keep 20% of elements per model via dropgrow(interval: 2)",
    ] {
        everywhere(rules, 2e-5);
    }
}

/// Constraints that rank by gradients wait for the first step, and then follow each step's.
#[test]
fn gradients_rank_in_compiled_steps() {
    for rules in [
        "require r: keep 30% of elements per tensor by abs(w * g) on net.w via sr_ste(lambda: 0.05)",
        "require r: keep 30% of elements per model by abs(w * g)",
        "require r: keep 2 of 4 of elements per tile(in: 4) by abs(g) on net.w via frozen()",
        "require r: keep cubic(100% -> 20%, 10%..80% of steps) of elements per tensor by abs(w * g) on net.v",
        "require r: keep 50% of tile(out: 4, in: 4) per tensor by abs(w * g) on net.w via sr_ste()",
        "require r: keep 1 of 4 of elements per tile(in: 4) by abs(w * g) via mdgf()",
    ] {
        everywhere(rules, if rules.contains("mdgf") { 2e-5 } else { 0.0 });
    }
}

/// Penalties that no pass takes: the reference takes their part of a step, and the rest is compiled.
#[test]
fn penalties_without_passes_are_taken_between_them() {
    for rules in [
        "penalize p: 0.1 * l1() of elements via subgrad",
        "penalize p: 0.1 * l1() of elements on net.w via decay\npenalize q: 0.1 * log_sum() of elements on net.v via probe",
        "group row = tile(out: 1, in: all)\npenalize p: 0.3 * group_l2() of row on net.w via subgrad\n\
         require r: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste(lambda: 0.05)",
        "require r: keep 30% of elements per tensor\n\
         penalty outside(c: constraint) = group_l2() of groups where !select(c)\n\
         penalize p: 0.3 * outside(r) of tile(out: 1, in: all)",
        "penalty ball(k: f32) of groups {\n  value(a[j]) = if sum(a[j] over j) > k { inf } else { 0 }\n\
         prox(a[j], tau) -> b[j] {\n t = root((t) => k - sum(max(a[j] - t, 0) * max(a[j] - t, 0) over j), 0..inf)\n\
         b[j] = max(a[j] - t, 0)\n }\n}\npenalize p: 1 * ball(9) of tile(out: 1, in: all) on net.w",
        "penalize p: 0.2 * tree_l2() of tile(in: 4) on net.w",
    ] {
        for o in [SGD, ADAMW] {
            let d = compare(rules, o, 4, Isa::native(), 2);
            assert!(d <= 2e-5, "{rules}: {d}");
        }
    }
    for how in ["sum", "latent"] {
        let text = format!(
            "use std.penalties.{{group_l2, l1}}\nuse std.updates.sr_ste\naxis B = 1..8\n\
             model net {{ axes {{ F = 4, O = 5 }} w: f32[F, F]  v: f32[O, F] }}\n\
             fn f(x: f32[B, F]) -> y: f32[B, O] {{\n  h[b, g] = net.w[g, k] * x[b, k]\n  y[b, o] = net.v[o, g] * h[b, g]\n}}\n\
             group s = slices(F) of net\npenalize p: 0.3 * group_l2() of s on_overlap {how}\n\
             require r: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()\n"
        );
        for o in [SGD, ADAMW] {
            let d = compare_in(&text, &[("net.w", 16), ("net.v", 20)], o, 4, Isa::native(), 2);
            assert!(d <= 2e-5, "{how}: {d}");
        }
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

fn plan_of(rules: &str) -> spc::UpdatePlan {
    Compiler::new().compile_str(&program(rules)).unwrap().update_plan(SGD, 3).unwrap()
}

const SPARSE: &str = "require r: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()";

/// Mistakes of the caller have codes, and leave parameters and state as they were.
#[test]
fn bad_arguments_are_refused_and_change_nothing() {
    let plan = plan_of(SPARSE);
    let mut r = Rng(1);
    let (mut params, good) = (random(&mut r), random(&mut r));
    let mut state = plan.start(&mut views(&mut params)).unwrap();
    plan.update(0, &mut views(&mut params), &slices(&good), 0.1, &mut state).unwrap();
    let (before, saved) = (params.clone(), plan.save(&state).unwrap());
    let mut refused = |step: u64, params: &mut Named, grads: &Named, code: &str, words: &str| {
        let e = plan.update(step, &mut views(params), &slices(grads), 0.1, &mut state).unwrap_err();
        assert_eq!(e.codes(), [code], "{e}");
        assert!(e.to_string().contains(words), "{e}");
        assert_eq!(plan.save(&state).unwrap(), saved);
    };
    refused(0, &mut params, &good, "SP0338", "step 0");
    refused(2, &mut params, &good, "SP0338", "is at step 1");
    refused(3, &mut params, &good, "SP0338", "a run of 3 steps");
    for bad in [f32::NAN, f32::INFINITY] {
        let mut g = good.clone();
        g.get_mut("net.v").unwrap()[239] = bad;
        refused(1, &mut params, &g, "SP0406", "gradient of `net.v` is not finite at index 239");
    }
    let mut g = good.clone();
    g.get_mut("net.w").unwrap().pop();
    refused(1, &mut params, &g, "SP0404", "767 values where 768");
    let mut g = good.clone();
    g.remove("net.w");
    refused(1, &mut params, &g, "SP0403", "gradient of `net.w`, on which `r` acts");
    g.insert("net.other".into(), vec![0.0]);
    refused(1, &mut params, &g, "SP0403", "net.other");
    let mut p = params.clone();
    p.get_mut("net.b").unwrap().push(0.0);
    refused(1, &mut p, &good, "SP0404", "25 values where 24");
    p.remove("net.b");
    refused(1, &mut p, &good, "SP0403", "net.b");
    assert_eq!(params, before);
    let mut twice = params.clone();
    let mut again = twice["net.b"].clone();
    let mut list = views(&mut twice);
    list.push(("net.b", &mut again));
    assert_eq!(plan.update(1, &mut list, &slices(&good), 0.1, &mut state).unwrap_err().codes(), ["SP0337"]);
    // A weight that a rule does not need may go without a gradient: it stays.
    let mut few = good.clone();
    few.remove("net.b");
    plan.update(1, &mut views(&mut params), &slices(&few), 0.1, &mut state).unwrap();
    assert_eq!(params["net.b"], before["net.b"]);
    assert_ne!(params["net.v"], before["net.v"]);
}

#[test]
fn weights_that_overflow_stop_the_step() {
    let plan = plan_of(SPARSE);
    let mut params = random(&mut Rng(1));
    let mut state = plan.start(&mut views(&mut params)).unwrap();
    let mut g = random(&mut Rng(2));
    g.get_mut("net.w").unwrap()[5] = 3e38;
    let e = plan.update(0, &mut views(&mut params), &slices(&g), 100.0, &mut state).unwrap_err();
    assert_eq!(e.codes(), ["SP0406"]);
    assert!(e.to_string().contains("`net.w` is not finite at index 5"), "{e}");
    let mut params = random(&mut Rng(1));
    params.get_mut("net.v").unwrap()[7] = f32::NAN;
    let e = plan.start(&mut views(&mut params)).unwrap_err();
    assert!(e.to_string().contains("`net.v` is not finite at index 7"), "{e}");
}

#[test]
fn states_of_other_plans_are_refused() {
    let (a, b) = (plan_of(SPARSE), plan_of("require r: keep 50% of elements per tensor on net.v via frozen()"));
    let mut params = random(&mut Rng(1));
    let g = random(&mut Rng(2));
    let mut state = a.start(&mut views(&mut params)).unwrap();
    let e = b.update(0, &mut views(&mut params), &slices(&g), 0.1, &mut state).unwrap_err();
    assert_eq!(e.codes(), ["SP0337"]);
    let file = std::env::temp_dir().join(format!("spc-other-{}", std::process::id()));
    std::fs::write(&file, a.save(&state).unwrap()).unwrap();
    assert_eq!(b.load(&file).unwrap_err().codes(), ["SP0337"]);
    assert_eq!(a.load(&file).unwrap().done(), 0);
    std::fs::write(&file, b"no tensors").unwrap();
    assert_eq!(a.load(&file).unwrap_err().codes(), ["SP0402"]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(a.load(&file).unwrap_err().codes(), ["SP0401"]);
    let none = Compiler::new().compile_str(&program("")).unwrap();
    assert_eq!(none.update_plan(SGD, 0).err().unwrap().codes(), ["SP0338"]);
}

/// Warm-up, ramp, hold and heal: masks begin with their phase, and never change once they are frozen.
#[test]
fn phases_act_in_their_time() {
    let rules = "require r: keep 25% of elements per tensor on net.w via sr_ste(lambda: 0.1)
penalize p: ramp(0.5, 0%..50%) * l1() of elements on net.v
train main {
  loss: mean(f(noise.x)^2)   optimizer: sgd(lr: 0.1)   batch: 4   steps: 20
  phase warm 25% { }
  phase hold 25% { apply r  apply p }
  phase heal 50% { apply r  freeze masks }
}
data noise from npy \"x.npy\" { x: f32[I] }";
    everywhere(rules, 0.0);
    let checked = Compiler::new().compile_str(&program(rules)).unwrap();
    let plan = checked.update_plan(SGD, 20).unwrap();
    let mut r = Rng(3);
    let mut params = random(&mut r);
    let mut state = plan.start(&mut views(&mut params)).unwrap();
    let mut last: Option<Vec<bool>> = None;
    for step in 0..20 {
        let zeros = params["net.w"].iter().filter(|v| **v == 0.0).count();
        // Before step 5 nothing is left out on purpose; from then on exactly three of four.
        assert_eq!(zeros >= 576, step >= 5, "step {step}: {zeros}");
        let mask: Vec<bool> = params["net.w"].iter().map(|v| *v != 0.0).collect();
        if step >= 10 {
            assert!(last.as_ref().is_none_or(|l| *l == mask), "step {step}");
            last = Some(mask);
        }
        let g = random(&mut r);
        plan.update(step, &mut views(&mut params), &slices(&g), 0.03, &mut state).unwrap();
    }
}

/// One pass over memory where one is enough: hooks, optimiser, penalty and N of M in a single sweep.
#[test]
fn a_step_is_one_sweep_where_no_choice_goes_over_all_weights() {
    let rules = "require r: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()
penalize p: 0.1 * l1() of elements on net.w";
    let plan = Compiler::new().compile_str(&program(rules)).unwrap().update_plan(SGD, 3).unwrap();
    let passes = plan.passes().unwrap();
    // The view, the gradient, the weights, the moment, the mask and the mask before.
    assert_eq!(passes.iter().filter(|p| p.0 == "net.w").map(|p| p.1).collect::<Vec<_>>(), [6]);
    assert_eq!(passes.len(), 3, "{passes:?}");
}

/// A step that drops and grows goes three times over the weights: the optimiser, the choice of what is dropped, and the new
/// masks; and three times over the gradients. Nothing else is an array of floats but the moment.
#[test]
fn dropping_and_growing_goes_over_the_weights_three_times() {
    for rules in ["per tensor on net.w via dropgrow(interval: 2)", "per model on net.{w, v} via recommend(interval: 3)"]
    {
        let rules = format!("require r: keep 25% of elements {rules}");
        let text = program(&rules);
        let plan = Compiler::new().compile_str(&text).unwrap().update_plan(SGD, 3).unwrap();
        let passes = plan.refresh_passes().unwrap();
        let sweeps = passes.iter().filter(|p| p.0 == "net.w").count();
        let choices: Vec<&str> =
            passes.iter().filter(|p| p.0.starts_with("choice in net.w")).map(|p| p.0.as_str()).collect();
        // One choice reads weights, the other gradients. A sweep that only turns a mask round reads no floats.
        assert_eq!(choices.len(), 2, "{passes:?}");
        let masks_only = passes.iter().filter(|p| p.0 == "net.w" && p.1 == 2).count();
        assert!(sweeps - masks_only == 2 && masks_only <= 2, "{passes:?}");
    }
}

/// So many weights that choices are made from a sample: masks, moments and what comes next follow the reference.
#[test]
fn dropping_and_growing_among_many_weights_follows_the_reference() {
    let text = "
use std.updates.dropgrow
axis B = 1..8
model net { axes { I = 512, O = 600 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
require r: keep 20% of elements per tensor via dropgrow(interval: 1)";
    for o in [SGD, Optimiser::ADAM] {
        let d = compare_in(text, &[("net.w", 512 * 600)], o, 4, Isa::native(), 2);
        assert_eq!(d, 0.0);
    }
}

/// What a hard constraint, a frozen one or a moving mask leaves out has no moments, as in the reference.
#[test]
fn moments_of_absent_weights_are_zero() {
    let file = std::env::temp_dir().join(format!("spc-moments-{}", std::process::id()));
    for rules in [
        "require r: keep 25% of elements per tensor on net.w",
        "require r: keep 25% of elements per tensor on net.w via dropgrow(interval: 1)",
    ] {
        let checked = Compiler::new().compile_str(&program(rules)).unwrap();
        let plan = checked.update_plan(ADAMW, 6).unwrap();
        let mut r = Rng(3);
        let mut params = random(&mut r);
        let mut u = checked.updater(params.clone(), ADAMW, 6).unwrap();
        let mut state = plan.start(&mut views(&mut params)).unwrap();
        for step in 0..5 {
            let g = random(&mut r);
            plan.update(step, &mut views(&mut params), &slices(&g), 0.05, &mut state).unwrap();
            u.step(&g, 0.05).unwrap();
        }
        std::fs::write(&file, plan.save(&state).unwrap()).unwrap();
        let saved = spc_io::WeightFile::open(&file).unwrap();
        for (k, want) in u.moments()["net.w"].iter().enumerate() {
            let got = saved.f32(&format!("moments/{k}/net.w")).unwrap();
            assert_eq!(got.to_vec(), *want, "{rules}");
            assert!(got.iter().filter(|x| **x == 0.0).count() >= 576, "{rules}");
        }
    }
    std::fs::remove_file(&file).unwrap();
}

/// So many weights that the threshold is found from a sample; ties across it, and a weight that is not finite.
#[test]
fn thresholds_of_many_weights_are_those_of_the_reference() {
    let text = "
use std.updates.sr_ste
axis B = 1..8
model net { axes { I = 512, O = 600 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
require r: keep 10% of elements per tensor via sr_ste()";
    let n = 512 * 600;
    for coarse in [false, true] {
        let mut r = Rng(11);
        let mut draw = |k: f32| -> Vec<f32> {
            let x = r.floats(n);
            if coarse { x.iter().map(|x| (x * 8.0).round() / 8.0).collect() } else { x.iter().map(|x| x * k).collect() }
        };
        let (mut w, g) = (draw(1.0), draw(0.1));
        let checked = Compiler::new().compile_str(text).unwrap();
        let plan = checked.update_plan(Optimiser::SGD, 3).unwrap();
        let mut u = checked.updater([("net.w".to_string(), w.clone())].into(), Optimiser::SGD, 3).unwrap();
        let mut state = plan.start(&mut [("net.w", &mut w)]).unwrap();
        assert!(w == u.forward().unwrap()["net.w"]);
        assert!(w.iter().filter(|x| **x != 0.0).count() <= n.div_ceil(10));
        plan.update(0, &mut [("net.w", &mut w)], &[("net.w", &g)], 0.5, &mut state).unwrap();
        u.step(&[("net.w".to_string(), g.clone())].into(), 0.5).unwrap();
        assert!(w == u.forward().unwrap()["net.w"]);
        let mut g = g;
        g[300_000] = -3e38;
        let e = plan.update(1, &mut [("net.w", &mut w)], &[("net.w", &g)], 1e3, &mut state).unwrap_err();
        assert!(e.to_string().contains("`net.w` is not finite at index 300000"), "{e}");
    }
}

/// Each tensor steps by its own rate, proxes included; what is treated together needs one.
#[test]
fn parameters_may_have_rates_of_their_own() {
    let rules = "penalize p: 0.5 * l1() of elements on net.w\ngroup row = tile(out: 1, in: all)\npenalize q: 0.2 * group_l2() of row on net.v";
    let checked = Compiler::new().compile_str(&program(rules)).unwrap();
    let plan = checked.update_plan(ADAMW, 4).unwrap();
    let rates = [("net.w", 0.01), ("net.v", 0.03), ("net.b", 0.1)];
    let (mut params, grads) = (random(&mut Rng(7)), random(&mut Rng(8)));
    let first = params.clone();
    let mut state = plan.start(&mut views(&mut params)).unwrap();
    plan.update_each(0, &mut views(&mut params), &slices(&grads), &rates, &mut state).unwrap();
    for (name, rate) in rates {
        let mut alone = first.clone();
        let mut state = plan.start(&mut views(&mut alone)).unwrap();
        plan.update(0, &mut views(&mut alone), &slices(&grads), rate, &mut state).unwrap();
        assert_eq!(params[name], alone[name], "{name}");
        assert_ne!(params[name], first[name]);
    }
    let mut code = |rates: &[(&str, f32)]| {
        plan.update_each(1, &mut views(&mut params), &slices(&grads), rates, &mut state).unwrap_err()
    };
    assert_eq!(code(&rates[..2]).codes(), ["SP0403"]);
    assert_eq!(code(&[rates[0], rates[1], rates[2], ("net.x", 1.0)]).codes(), ["SP0403"]);
    let joint = "group neuron = slices(O) of net\npenalize p: 0.3 * group_l2() of neuron";
    let plan = Compiler::new().compile_str(&program(joint)).unwrap().update_plan(ADAMW, 4).unwrap();
    let mut state = plan.start(&mut views(&mut params)).unwrap();
    let e = plan.update_each(0, &mut views(&mut params), &slices(&grads), &rates, &mut state).unwrap_err();
    assert_eq!(e.codes(), ["SP0006"]);
    assert!(e.to_string().contains("net.w, "), "{e}");
    let one = rates.map(|(n, _)| (n, 0.02));
    plan.update_each(0, &mut views(&mut params), &slices(&grads), &one, &mut state).unwrap();
}

/// `via prox(metric: euclid)` beside Adam is another step than the default, and also that of the reference.
#[test]
fn the_usual_metric_on_request() {
    let group = "group row = tile(out: 1, in: all)\ngroup neuron = slices(O) of net";
    for (rules, most) in [
        ("penalize p: 0.1 * l1() of elements via prox(metric: euclid)", 0.0),
        ("penalize p: 0.2 * group_l2() of row on net.w via prox(metric: euclid)", 2e-5),
        ("penalize p: 0.3 * group_l2() of neuron via prox(metric: euclid)", 2e-5),
        ("penalize p: 0.3 * mcp(2) of row on net.w via prox(metric: euclid)", 2e-5),
    ] {
        let rules = format!("{group}\n{rules}");
        for isa in [Isa::Clif, Isa::native()] {
            let d = compare(&rules, ADAMW, 8, isa, 2);
            assert!(d <= most, "{rules}: {d} on {isa:?}");
        }
        let run = |rules: &str| {
            let checked = Compiler::new().compile_str(&program(rules)).unwrap();
            let plan = checked.update_plan(ADAMW, 1).unwrap();
            let mut params = random(&mut Rng(7));
            let mut state = plan.start(&mut views(&mut params)).unwrap();
            plan.update(0, &mut views(&mut params), &slices(&random(&mut Rng(8))), 0.02, &mut state).unwrap();
            params
        };
        assert!(run(&rules) != run(&rules.replace(" via prox(metric: euclid)", "")), "{rules}");
    }
}
