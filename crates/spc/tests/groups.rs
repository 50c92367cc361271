//! `top` and `count` over groups in compiled steps, beside the reference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::train::{Named, Rng, SHAPE, named, sizes, slices, views};
use spc::{Compiler, Isa, Optimiser};

fn program(rules: &str) -> String {
    common::train::program(SHAPE, rules)
}

fn draw(f: &mut dyn FnMut(usize) -> Vec<f32>) -> Named {
    named(&sizes(SHAPE), f)
}

/// Every step of a program has the bits of the reference, on every instruction set and with any number of threads.
fn same_bits(rules: &str, coarse: bool) {
    let text = program(rules);
    let isas: Vec<Isa> = Isa::ALL.into_iter().filter(|i| i.is_available()).collect();
    for (isa, threads) in isas.into_iter().map(|i| (i, 1)).chain([(Isa::native(), 3)]) {
        let checked = Compiler::new().isa(isa).threads(threads).compile_str(&text).unwrap_or_else(|e| panic!("{e}"));
        let (steps, mut r) = (9, Rng(3));
        let mut next = |n| if coarse { r.coarse(n) } else { r.fine(n) };
        let plan = checked.update_plan(Optimiser::SGD, steps).unwrap();
        assert_eq!(plan.interpreted(), None, "{rules}");
        let mut params = draw(&mut next);
        let mut u = checked.updater(params.clone(), Optimiser::SGD, steps).unwrap();
        let mut state = plan.start(&mut views(&mut params)).unwrap();
        assert!(params == u.forward().unwrap(), "{rules}: the start, {isa:?}");
        for step in 0..steps {
            let grads = draw(&mut next);
            // Whole numbers stay whole.
            let seen = plan.update(step, &mut views(&mut params), &slices(&grads), 1.0, &mut state).unwrap();
            let want = u.step(&grads, 1.0).unwrap();
            assert_eq!(seen.len(), want.len());
            for (s, w) in seen.iter().zip(&want) {
                assert!((s.value - w.value).abs() <= 1e-5 * (1.0 + w.value.abs()), "{s:?} {w:?}");
            }
            let view = if step + 1 < steps { u.forward().unwrap() } else { u.finish().unwrap() };
            assert!(params == view, "{rules}: step {step}, {isa:?}");
        }
    }
}

#[test]
fn groups_are_chosen_as_the_reference_does_with_and_without_ties() {
    for rules in [
        "group row = tile(out: 1, in: all)\nrequire r: keep 40% of row per tensor on net.{w, v} via dropgrow(interval: 2)",
        "group piece = tile(in: 2)\nrequire r: keep 30% of piece per tensor on net.w via dropgrow(interval: 1)",
        "group piece = tile(in: 16)\nrequire r: keep 50% of piece per model on net.w via dropgrow(interval: 2)",
        "group block = tile(out: 4, in: 4)\nrequire r: keep 50% of block per tensor on net.w via recommend(interval: 3)",
        "group column = tile(out: all, in: 1)\nrequire r: keep 50% of column per model on net.{w, v} via dropgrow(interval: 1)",
        "group neuron = slices(O) of net\nrequire r: keep 50% of neuron per model via dropgrow(interval: 2)",
        "group row = tile(out: 1, in: all)\nrequire r: keep 50% of row per layer on net.{w, v} via dropgrow(interval: 2)",
        "require r: keep 30% of elements per layer on net.{w, v} via dropgrow(interval: 2)",
    ] {
        same_bits(rules, true);
        same_bits(rules, false);
    }
}

const ODD: &str = "
update odd(c: constraint) {
  mask m = random(c) at init
  forward(w) = w * m
  refresh(w, g, moments) -> (w, moments) every 1 steps {
    m = top(count(m per c), by: g / w, per: c)
  }
}
group piece = tile(in: 4)
require r: keep 30% of piece per tensor on net.{v, w} via odd()";

/// Masks that move within tiles, which need not lie in one piece, with counts and scores of each tile.
#[test]
fn weights_are_chosen_within_tiles_as_the_reference_does() {
    for rules in [
        "require r: keep 2 of 4 of elements per tile(in: 4) on net.{w, v} via dropgrow(interval: 1)",
        "require r: keep 5 of 16 of elements per tile(in: 16) on net.w via recommend(interval: 2)",
        "require r: keep 30% of elements per tile(out: 1, in: all) on net.{w, v} via recommend(interval: 3)",
        "require r: keep 3 of elements per tile(out: 2, in: 8) on net.{w, v} via dropgrow(interval: 1)",
        "require r: keep 25% of elements per tile(out: all, in: 1) on net.{v, w} via dropgrow(interval: 2)",
        "require r: keep 1 of 2 of elements per tile(in: 2) on net.w via dropgrow(interval: 1)",
    ] {
        same_bits(rules, true);
        same_bits(rules, false);
    }
    // Tiles that an edge cuts off are interpreted.
    let ragged = "require r: keep 2 of 5 of elements per tile(in: 5) on net.w ragged via dropgrow(interval: 1)";
    let plan = Compiler::new().compile_str(&program(ragged)).unwrap().update_plan(Optimiser::SGD, 3).unwrap();
    assert!(plan.interpreted().unwrap().contains("within tiles"));
}

/// A score that is no number is an error with its tensor and index, the reference's own.
#[test]
fn a_score_that_is_no_number_stops_the_step() {
    let checked = Compiler::new().compile_str(&program(ODD)).unwrap();
    let plan = checked.update_plan(Optimiser::SGD, 3).unwrap();
    assert_eq!(plan.interpreted(), None);
    let mut r = Rng(1);
    let mut params = draw(&mut |n| r.fine(n));
    let mut grads = draw(&mut |n| r.fine(n));
    for name in ["net.w", "net.v"] {
        for i in [17, 100] {
            params.get_mut(name).unwrap()[i] = 0.0;
            grads.get_mut(name).unwrap()[i] = 0.0;
        }
    }
    let mut u = checked.updater(params.clone(), Optimiser::SGD, 3).unwrap();
    let mut state = plan.start(&mut views(&mut params)).unwrap();
    let e = plan.update(0, &mut views(&mut params), &slices(&grads), 0.0, &mut state).unwrap_err();
    let want = u.step(&grads, 0.0).unwrap_err().to_string();
    assert_eq!(e.codes(), ["SP0406"]);
    assert!(e.to_string().contains("score of `net.") && e.to_string().contains("index 17"), "{e}");
    let place = |s: &str| s.split("`net.").nth(1).map(|s| s.chars().next().unwrap_or(' '));
    assert_eq!(place(&e.to_string()), place(&want), "{e} {want}");
}

/// The same of single weights, within tiles and over whole tensors.
#[test]
fn a_weight_whose_score_is_no_number_is_named() {
    for per in ["tile(in: 4)", "tensor"] {
        let rules = ODD
            .replace(
                "group piece = tile(in: 4)\nrequire r: keep 30% of piece per tensor",
                "require r: keep 30% of elements per PER",
            )
            .replace("PER", per);
        let checked = Compiler::new().compile_str(&program(&rules)).unwrap();
        let plan = checked.update_plan(Optimiser::SGD, 3).unwrap();
        assert_eq!(plan.interpreted(), None, "{per}");
        for (name, i) in [("net.w", 767), ("net.v", 0)] {
            let mut r = Rng(1);
            let mut params = draw(&mut |n| r.fine(n));
            let mut grads = draw(&mut |n| r.fine(n));
            params.get_mut(name).unwrap()[i] = 0.0;
            grads.get_mut(name).unwrap()[i] = 0.0;
            let mut u = checked.updater(params.clone(), Optimiser::SGD, 3).unwrap();
            let mut state = plan.start(&mut views(&mut params)).unwrap();
            let e = plan.update(0, &mut views(&mut params), &slices(&grads), 0.0, &mut state).unwrap_err();
            assert_eq!(e.codes(), ["SP0406"]);
            assert!(e.to_string().contains(&format!("the score of `{name}` is not finite at index {i}")), "{e}");
            assert!(u.step(&grads, 0.0).unwrap_err().to_string().contains(&format!("`{name}`")));
        }
    }
}

/// Norms that f32 squares cannot hold, zeros and infinities among the scores.
#[test]
fn scores_of_any_size_are_ranked() {
    let rules = ODD.replace("by: g / w", "by: g * 1e30 + w").replace("tile(in: 4)", "tile(in: 8)");
    let text = program(&rules);
    let checked = Compiler::new().compile_str(&text).unwrap();
    let plan = checked.update_plan(Optimiser::SGD, 4).unwrap();
    let mut r = Rng(5);
    let mut params = draw(&mut |n| r.fine(n));
    let mut u = checked.updater(params.clone(), Optimiser::SGD, 4).unwrap();
    let mut state = plan.start(&mut views(&mut params)).unwrap();
    for step in 0..3 {
        let mut grads = draw(&mut |n| r.fine(n));
        for (k, v) in grads.values_mut().enumerate() {
            for (i, x) in v.iter_mut().enumerate() {
                *x *= [0.0, 1e-38, 1e-20, 1.0, 1e12][(i / 8 + k) % 5];
            }
        }
        plan.update(step, &mut views(&mut params), &slices(&grads), 0.0, &mut state).unwrap();
        u.step(&grads, 0.0).unwrap();
        assert!(params == u.forward().unwrap(), "{step}");
    }
}
