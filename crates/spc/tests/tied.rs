//! Weights of a program that are one array of the caller's: one parameter, on which the rules of both names act.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::train::{Named, Rng, slices, views};
use spc::{Checked, Compiler, Optimiser};
use std::collections::BTreeMap;

fn checked(rules: &str) -> Checked {
    let text = format!(
        "
use std.updates.{{sr_ste, dropgrow}}
use std.penalties.{{l1, group_l2, wgsef}}
axis B = 1..8
model net {{ axes {{ D = 16, H = 16, V = 12 }}  e: f32[H, D]  out: f32[H, D]  v: f32[V, H] }}
fn f(x: f32[B, D]) -> y: f32[B, V] {{
  s[b, h] = net.e[h, d] * x[b, d]
  t[b, h] = net.out[h, d] * x[b, d]
  u = s + t
  y[b, v] = net.v[v, h] * u[b, h]
}}
{rules}
"
    );
    Compiler::new().compile_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn trained(c: &Checked, ties: &[(&str, &str)]) -> Named {
    let plan = c.update_plan_tied(Optimiser::Sgd { momentum: 0.9, weight_decay: 0.0 }, 7, ties).unwrap();
    let mut r = Rng(9);
    let mut draw = || -> Named {
        let both = r.floats(256);
        let all = BTreeMap::from([("net.e", both.clone()), ("net.out", both), ("net.v", r.floats(192))]);
        let there = |n: &str| plan.shapes().any(|(m, _)| m == n);
        all.into_iter().filter(|(n, _)| there(n)).map(|(n, v)| (n.to_string(), v)).collect()
    };
    let mut params = draw();
    let mut state = plan.start(&mut views(&mut params)).unwrap();
    for step in 0..7 {
        let g = draw();
        plan.update(step, &mut views(&mut params), &slices(&g), 0.05, &mut state).unwrap();
    }
    params
}

const TIE: &[(&str, &str)] = &[("net.out", "net.e")];

/// Whatever name a rule uses, it is the rule on the one array; a rule over both is not applied twice.
#[test]
fn rules_of_either_name_act_on_the_one_array() {
    for rules in [
        "require r: keep 2 of 4 of elements per tile(in: 4) on net.NAME via sr_ste(lambda: 0.1)",
        "require r: keep 30% of elements per tensor on net.NAME via dropgrow(interval: 2)",
        "require r: keep 30% of elements per tensor on net.NAME",
        "penalize p: 0.3 * l1() of elements on net.NAME",
        "penalize p: 0.3 * group_l2() of tile(out: 1, in: all) on net.NAME",
    ] {
        let of = |names: &str| checked(&rules.replace("NAME", names));
        let want = trained(&of("e"), TIE);
        assert_eq!(want.keys().collect::<Vec<_>>(), ["net.e", "net.v"]);
        assert_eq!(trained(&of("out"), TIE), want, "{rules}");
        assert_eq!(trained(&of("{e, out}"), TIE), want, "{rules}");
        // Without the tie each array is a parameter and goes the same way, unless its first mask is at random.
        let apart = trained(&of("{e, out}"), &[]);
        assert_eq!(apart["net.e"], want["net.e"], "{rules}");
        assert!(rules.contains("dropgrow") || apart["net.out"] == want["net.e"], "{rules}");
    }
    let two = checked(
        "require r: keep 2 of 4 of elements per tile(in: 4) on net.e\npenalize p: 0.2 * l1() of elements on net.out",
    );
    let w = &trained(&two, TIE)["net.e"];
    assert!(w.chunks(4).all(|g| g.iter().filter(|x| **x != 0.0).count() <= 2));
    let one = checked("require r: keep 2 of 4 of elements per tile(in: 4) on net.e");
    assert_ne!(trained(&one, TIE)["net.e"], *w, "the penalty of the other name acts, too");
}

#[test]
fn ties_that_make_no_sense_are_refused() {
    let code = |rules: &str, tie: (&str, &str)| {
        let made = checked(rules).update_plan_tied(Optimiser::SGD, 3, &[tie]);
        made.err().unwrap_or_else(|| panic!("{rules}: {tie:?} is taken")).codes().join(",")
    };
    assert_eq!(code("", ("net.x", "net.e")), "SP0403");
    assert_eq!(code("", ("net.e", "net.x")), "SP0403");
    assert_eq!(code("", ("net.e", "net.e")), "SP0006");
    assert_eq!(code("", ("net.v", "net.e")), "SP0006");
    for rules in [
        "require r: keep 30% of elements per model on net.{e, out}",
        "require r: keep 30% of elements per tensor on net.{e, out} min 1% per model",
        "penalize p: 0.1 * group_l2() of slices(H) of net",
        "penalize p: 0.1 * wgsef(keep: 50%) of tile(out: 1, in: all) on net.{e, out}",
    ] {
        assert_eq!(code(rules, TIE[0]), "SP0006", "{rules}");
    }
}
