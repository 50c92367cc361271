//! Updates of weights of no element or of one, and of groups of one weight: a diagnostic with a code, or the plain meaning.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use spc::{Compiler, Optimiser};

/// A program over `w` of `o` rows and `i` columns, beside a weight that is always there.
fn program(o: usize, i: usize, rules: &str) -> String {
    format!(
        "
use std.updates.{{sr_ste, dropgrow, frozen, adams}}
use std.penalties.{{l1, group_l2, wgsef}}
axis B = 1..8
model net {{ axes {{ I = {i}, O = {o}, N = 2 }}  w: f32[O, I]  v: f32[N, O] }}
fn f(x: f32[B, I]) -> z: f32[B, N] {{
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, n] = net.v[n, o] * y[b, o]
}}
{rules}
"
    )
}

const RULES: &[&str] = &[
    "require r: keep 50% of elements per tensor on net.w via sr_ste()",
    "require r: keep 50% of elements per model on net.{w, v} via dropgrow(interval: 1)",
    "require r: keep 50% of elements per tile(in: 1) on net.v via dropgrow(interval: 1)",
    "require r: keep 50% of tile(out: 1, in: all) per tensor by norm2 on net.w via frozen()",
    "require r: keep 50% of slices(O) of net per model via dropgrow(interval: 1)",
    "require r: keep 2 of 4 of elements per tile(in: 4) on net.w pad via sr_ste()",
    "require r: keep 2 of 4 of elements per tile(in: 4) on net.w ragged via adams()",
    "require r: keep above 0.5 of elements per tensor on net.w min 1 per tensor",
    "require r: keep 40% of flops of slices(O) of net per model",
    "penalize p: 0.1 * l1() of elements on net.w via prox",
    "penalize p: 0.1 * group_l2() of tile(out: 1, in: all) on net.w via prox",
    "penalize p: 0.1 * group_l2() of slices(O) of net via prox",
    "penalize p: 0.1 * wgsef(keep: 50%) of tile(out: 1, in: 1) on net.w via prox",
];

/// Starts, steps, ends and projects; weights stay finite and constraints hold, or every error has a code.
fn run(o: usize, i: usize, rule: &str, optimiser: Optimiser) -> Result<(), Vec<String>> {
    let codes = |e: spc::Error| e.codes().iter().map(ToString::to_string).collect::<Vec<_>>();
    let checked = Compiler::new().compile_str(&program(o, i, rule)).map_err(codes)?;
    let plan = checked.update_plan(optimiser, 3).map_err(codes)?;
    let (mut w, mut v) = (vec![1.0f32; o * i], vec![-0.75f32; 2 * o]);
    let mut state = plan.start(&mut [("net.w", &mut w), ("net.v", &mut v)]).map_err(codes)?;
    let (gw, gv) = (vec![0.5f32; o * i], vec![0.25f32; 2 * o]);
    for step in 0..3 {
        let params: &mut [(&str, &mut [f32])] = &mut [("net.w", &mut w), ("net.v", &mut v)];
        plan.update(step, params, &[("net.w", &gw), ("net.v", &gv)], 0.1, &mut state).map_err(codes)?;
    }
    let once = (w.clone(), v.clone());
    plan.project(&mut [("net.w", &mut w), ("net.v", &mut v)]).map_err(codes)?;
    // What a run ends with meets the constraints already.
    assert_eq!((&w, &v), (&once.0, &once.1), "{o}x{i} {rule}");
    assert!(w.iter().chain(&v).all(|x| x.is_finite()), "{o}x{i} {rule}");
    Ok(())
}

/// Which rules are refused for weights of `o` rows and `i` columns, with codes.
fn refused(o: usize, i: usize) -> Vec<(&'static str, Vec<String>)> {
    let both = |rule: &&'static str| {
        let sgd = run(o, i, rule, Optimiser::SGD).err();
        assert_eq!(sgd, run(o, i, rule, Optimiser::ADAM).err(), "{rule}");
        sgd.map(|codes| (*rule, codes))
    };
    RULES.iter().filter_map(both).collect()
}

/// An axis of no element is refused where it is declared, so that no plan has a weight or group of none.
#[test]
fn weights_of_no_element_are_refused() {
    for (o, i) in [(0, 4), (4, 0), (0, 0)] {
        let all = refused(o, i);
        assert_eq!(all.len(), RULES.len());
        assert!(all.iter().all(|(_, codes)| codes.first().is_some_and(|c| c == "SP0203")), "{all:?}");
    }
}

/// Groups of one weight, one group, and one weight at all take their steps, end with what the constraint says, and stay so.
#[test]
fn weights_of_one_element_take_their_steps() {
    for (o, i) in [(1, 1), (1, 4), (4, 1)] {
        for (rule, codes) in refused(o, i) {
            // Sizes of 1 do not tell which axis the groups are slices of.
            assert!(o == 1 && rule.contains("slices(O)") && codes == ["SP0214"], "{o}x{i} {rule}: {codes:?}");
        }
    }
}

#[test]
fn groups_of_no_element_are_refused() {
    for rule in [
        "require r: keep 50% of tile(out: 0, in: 4) per tensor by norm2 on net.w via frozen()",
        "require r: keep 2 of 4 of elements per tile(in: 0) on net.w via sr_ste()",
        "require r: keep 50% of slices(O by 0) of net per model",
        "penalize p: 0.1 * group_l2() of tile(out: 0, in: all) on net.w via prox",
        "penalize p: 0.1 * group_l2() of slices(O by 0) of net via prox",
    ] {
        let codes = run(4, 4, rule, Optimiser::SGD).unwrap_err();
        assert!(!codes.is_empty() && codes.iter().all(|c| c.starts_with("SP0")), "{rule}: {codes:?}");
    }
}

#[test]
fn arrays_of_no_element_are_not_the_weights() {
    let plan = Compiler::new().compile_str(&program(4, 4, RULES[0])).unwrap().update_plan(Optimiser::SGD, 3).unwrap();
    let (mut w, mut v) = (vec![1.0f32; 16], vec![1.0f32; 8]);
    let none: &mut [f32] = &mut [];
    let e = plan.project(&mut [("net.w", none), ("net.v", &mut v)]).unwrap_err();
    assert_eq!(e.codes(), ["SP0404"]);
    assert_eq!(plan.project(&mut []).unwrap_err().codes(), ["SP0403"]);
    assert_eq!(plan.start(&mut []).unwrap_err().codes(), ["SP0403"]);
    let mut state = plan.start(&mut [("net.w", &mut w), ("net.v", &mut v)]).unwrap();
    let before = (w.clone(), v.clone());
    let params: &mut [(&str, &mut [f32])] = &mut [("net.w", &mut w), ("net.v", &mut v)];
    let e = plan.update(0, params, &[("net.w", &[]), ("net.v", &[])], 0.1, &mut state).unwrap_err();
    assert_eq!(e.codes(), ["SP0404"]);
    assert_eq!((w, v), before);
}
