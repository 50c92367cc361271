//! Projections without a run, beside the reference and beside a sort.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::train::{Named, Rng, SHAPE, named, sizes, views};
use spc::{Compiler, Isa, Optimiser};

fn program(rules: &str) -> String {
    common::train::program(SHAPE, rules)
}

fn draw(f: &mut dyn FnMut(usize) -> Vec<f32>) -> Named {
    named(&sizes(SHAPE), f)
}

/// Weights after a projection are those of a run of one step that moves nothing; and again they stay.
#[test]
fn projections_are_the_end_of_a_run_that_moves_nothing() {
    for rules in [
        "require r: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()",
        "require r: keep 7 of 32 of elements per tile(in: 32) on net.w",
        "require r: keep 30% of elements per tensor",
        "require r: keep cubic(100% -> 20%, 10%..80% of steps) of elements per model via sr_ste()",
        "require r: keep 50% of tile(out: 4, in: 4) per tensor on net.w",
        "require r: keep 30% of elements per tile(out: 1, in: all)",
        "require r: keep 50% of elements per tensor on net.w\nrequire s: keep 25% of slices(O) of net per model",
    ] {
        for coarse in [true, false] {
            let checked = Compiler::new().threads(2).compile_str(&program(rules)).unwrap();
            let plan = checked.update_plan(Optimiser::SGD, 1).unwrap();
            let mut r = Rng(8);
            let mut params = draw(&mut |n| if coarse { r.coarse(n) } else { r.fine(n) });
            params.get_mut("net.w").unwrap()[3] = -0.0;
            let mut u = checked.updater(params.clone(), Optimiser::SGD, 1).unwrap();
            let still = draw(&mut |n| vec![0.0; n]);
            u.step(&still, 0.0).unwrap();
            plan.project(&mut views(&mut params)).unwrap();
            let want = u.finish().unwrap();
            let bits = |m: &Named| -> Vec<u32> { m.values().flatten().map(|x| x.to_bits()).collect() };
            assert!(bits(&params) == bits(&want), "{rules}");
            plan.project(&mut views(&mut params)).unwrap();
            assert!(bits(&params) == bits(&want), "{rules}: again");
        }
    }
}

#[test]
fn projections_of_what_cannot_be_are_refused() {
    let plan =
        |rules: &str| Compiler::new().compile_str(&program(rules)).unwrap().update_plan(Optimiser::SGD, 1).unwrap();
    let mut params = draw(&mut |n| vec![1.0; n]);
    let p = plan("require r: keep 30% of elements per tensor by abs(w * g) on net.w");
    assert_eq!(p.project(&mut views(&mut params)).unwrap_err().codes(), ["SP0006"]);
    for rules in
        ["require r: keep 2 of 4 of elements per tile(in: 4) on net.w", "require r: keep 30% of elements per model"]
    {
        let mut bad = params.clone();
        bad.get_mut("net.w").unwrap()[77] = f32::NAN;
        let e = plan(rules).project(&mut views(&mut bad)).unwrap_err();
        assert_eq!(e.codes(), ["SP0406"]);
        assert!(e.to_string().contains("`net.w` is not finite at index 77"), "{e}");
    }
    params.get_mut("net.v").unwrap().pop();
    let p = plan("require r: keep 30% of elements per tensor");
    assert_eq!(p.project(&mut views(&mut params)).unwrap_err().codes(), ["SP0404"]);
}

/// The greatest `k` magnitudes stay, of equal ones those that come first; all else is +0.
fn sorted(w: &[f32], k: usize) -> Vec<u32> {
    let mut order: Vec<usize> = (0..w.len()).collect();
    order.sort_unstable_by_key(|i| (!w[*i].abs().to_bits(), *i));
    let mut out = vec![0; w.len()];
    for i in order.into_iter().take(k).filter(|i| w[*i] != 0.0) {
        out[i] = w[i].to_bits();
    }
    out
}

fn matrix(o: usize, i: usize, rule: &str) -> String {
    format!(
        "axis B = 1..8\nmodel net {{ axes {{ I = {i}, O = {o} }} w: f32[O, I] }}\n\
         fn f(x: f32[B, I]) -> y: f32[B, O] {{ y[b, o] = net.w[o, i] * x[b, i] }}\n{rule}"
    )
}

/// So many weights that a sample tells nearly where the threshold is: one in 89 lines of 16 is in it. It may tell too little or the
/// wrong thing; what is kept is the same.
#[test]
fn samples_that_mislead_change_nothing() {
    let (o, i) = (514, 511);
    let n = o * i;
    let text = matrix(o, i, "require r: keep 10% of elements per tensor");
    let k = n.div_ceil(10);
    let sampled = |j: usize| (j / 16).is_multiple_of(89);
    let mut r = Rng(21);
    let fine = r.fine(n);
    let cases: Vec<(&str, Vec<f32>)> = vec![
        ("fine", fine.clone()),
        ("coarse", fine.iter().map(|x| (x * 8.0).round() / 8.0).collect()),
        ("all equal", fine.iter().map(|x| 0.5f32.copysign(*x)).collect()),
        ("zeros of both signs", fine.iter().map(|x| 0.0f32.copysign(*x)).collect()),
        ("few that are not zero", fine.iter().map(|x| if x.abs() > 0.97 { *x } else { -0.0 }).collect()),
        ("denormal", fine.iter().map(|x| x * 1e-40).collect()),
        ("huge and tiny", fine.iter().map(|x| if x.abs() > 0.5 { x * 3e38 } else { x * 1e-38 }).collect()),
        ("the sample is too great", (0..n).map(|j| fine[j] * if sampled(j) { 1e6 } else { 1e-3 }).collect()),
        ("the sample is too small", (0..n).map(|j| fine[j] * if sampled(j) { 1e-6 } else { 1e3 }).collect()),
        ("the sample is one number", (0..n).map(|j| if sampled(j) { 0.9 } else { fine[j] }).collect()),
        ("rising", (0..n).map(|j| j as f32).collect()),
        ("falling", (0..n).map(|j| -((n - j) as f32)).collect()),
    ];
    let want: Vec<Vec<u32>> = cases.iter().map(|(_, w)| sorted(w, k)).collect();
    for (isa, threads, every) in [(Isa::native(), 1, 1), (Isa::native(), 3, 4), (Isa::Clif, 2, 5)] {
        let plan = Compiler::new().isa(isa).threads(threads).compile_str(&text).unwrap();
        let plan = plan.update_plan(Optimiser::SGD, 1).unwrap();
        for ((name, w), want) in cases.iter().zip(&want).step_by(every) {
            let mut got = w.clone();
            plan.project(&mut [("net.w", &mut got)]).unwrap();
            assert!(got.iter().zip(want).all(|(x, y)| x.to_bits() == *y), "{name}, {threads} threads");
        }
        for bad in [f32::NAN, f32::NEG_INFINITY] {
            let mut w = fine.clone();
            w[n - 3] = bad;
            let before: Vec<u32> = w.iter().map(|x| x.to_bits()).collect();
            let e = plan.project(&mut [("net.w", &mut w)]).unwrap_err();
            assert!(e.to_string().contains(&format!("`net.w` is not finite at index {}", n - 3)), "{e}");
            assert!(w.iter().map(|x| x.to_bits()).eq(before), "nothing has changed");
        }
    }
}

/// Sizes around those of vectors, and amounts from one to all but one.
#[test]
fn any_number_of_weights_is_cut_at_any_place() {
    let mut r = Rng(4);
    for n in [2usize, 15, 16, 17, 33, 97] {
        for k in [1, n / 2, n - 1] {
            let text = matrix(1, n, &format!("require r: keep {k} of elements per tensor"));
            let plan = Compiler::new().compile_str(&text).unwrap().update_plan(Optimiser::SGD, 1).unwrap();
            for w in [r.fine(n), r.coarse(n), vec![-1.0; n], vec![-0.0; n]] {
                let mut got = w.clone();
                plan.project(&mut [("net.w", &mut got)]).unwrap();
                assert!(got.iter().map(|x| x.to_bits()).eq(sorted(&w, k)), "{k} of {n}: {w:?}");
            }
        }
    }
}
