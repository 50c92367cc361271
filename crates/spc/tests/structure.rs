//! Linears that read one value, merged by the compiler: the same results in all that a plan goes through, and the program as
//! it was where the patterns do not go together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{Folder, build, explained, made, numbers, result, session};
use spc::Compiler;
use spc::driver::{Compile, Explain, Options, Verify, compile_file, explain_file, verify_path};

const D: usize = 32;
const F: usize = 64;

/// A gated feed-forward layer; gate and up have a bias each.
const TEXT: &str = "
edition 1
use std.nn
use std.patterns.nm
axis B = 1..64
model m from safetensors \"m.safetensors\" {
  axes { D = 32, F = 64 }
  gate: f32[F, D]  bg: f32[F]
  up: f32[F, D]    bu: f32[F]
  down: f32[D, F]
}
fn f(x: f32[B, D]) -> y: f32[B, D] {
  g = nn.silu(nn.linear(x, m.gate, m.bg))
  u = nn.linear(x, m.up, m.bu)
  y = nn.linear(g * u, m.down)
}
target one = cpu(threads: 1) { B = 1 }
";

fn folder(requires: &str) -> Folder {
    let f = Folder::new();
    f.text("net.sp", &(TEXT.to_string() + requires));
    let all: Vec<(&str, Vec<usize>, Vec<f32>)> = vec![
        ("gate", vec![F, D], numbers(1, F * D)),
        ("bg", vec![F], numbers(2, F)),
        ("up", vec![F, D], numbers(3, F * D)),
        ("bu", vec![F], numbers(4, F)),
        ("down", vec![D, F], numbers(5, D * F)),
    ];
    let list: Vec<(&str, &[usize], &[f32])> = all.iter().map(|(n, s, v)| (*n, s.as_slice(), v.as_slice())).collect();
    f.weights("m.safetensors", &list);
    f
}

/// As [`folder`], with a product of gate and up that no kernel of theirs can end with: merging them is then cheapest.
fn apart(requires: &str) -> Folder {
    let f = folder(requires);
    f.edit("g * u", "nn.softmax(g) * nn.softmax(u)");
    f.edit("nn.silu(nn.linear(x, m.gate, m.bg))", "nn.linear(x, m.gate, m.bg)");
    f
}

#[test]
fn gate_and_up_become_one_weight_and_one_kernel() {
    for requires in ["", "require r: nm(2, 4) on m.{gate, up}\n"] {
        let f = apart(requires);
        let p = build(&f, Compiler::new());
        assert_eq!(made(&p), ["m.{gate,up}", "m.{bg,bu}"], "{requires}");
        let plain = build(&f, Compiler::new().interpret(true));
        for tokens in [1, 3, 17, 64] {
            let (a, b) = (result(&p, D, tokens), result(&plain, D, tokens));
            let most = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(most < 1e-4, "{tokens} tokens: {most}");
        }
        let text = explained(&f);
        assert!(text.contains("merged: m.{gate,up}: one kernel in "), "{text}");
        assert!(text.contains("merge-siblings B") && text.contains("k-part B"), "{text}");
        let done = session(Options::default(), |s| verify_path(s, &f.path("net.sp"), &Verify::default())).0.unwrap();
        assert!(done.findings.is_empty() && done.text.contains("2 linears within the bound"), "{}", done.text);
        let one = Explain { tensor: Some("m.up".into()), ..Explain::default() };
        let text = session(Options::default(), |s| explain_file(s, &f.path("net.sp"), &one)).0.unwrap().text;
        assert!(text.contains("m.{gate,up} [128, 32]") && !text.contains("m.down ["), "{text}");
    }
}

#[test]
fn patterns_that_do_not_go_together_stay_apart_and_say_why() {
    // 2:4 beside a whole matrix of four times the work: one dense kernel for both would cost more.
    let f = folder("require r: keep 1 of elements per tile(in: 16) by abs on m.gate\n");
    f.edit("{ B = 1 }", "{ B = 64 }");
    let p = build(&f, Compiler::new());
    let text = explained(&f);
    assert!(made(&p).is_empty(), "{text}");
    let line = text.lines().find(|l| l.starts_with("not merged: m.{up,gate}")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("the whole would take") && line.contains("more; apart they are"), "{line}");
    assert!(!text.contains("merge-siblings B"), "{text}");
}

#[test]
fn a_folder_and_a_plan_file_know_what_was_merged() {
    let f = apart("require r: nm(2, 4) on m.{gate, up, down}\n");
    let what = Compile { out: Some(f.path("out")), ..Compile::default() };
    let text = session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &what)).0.unwrap().text;
    assert!(text.contains("m.{gate,up}"), "{text}");
    let done = session(Options::default(), |s| verify_path(s, &f.path("out"), &Verify::default())).0.unwrap();
    assert!(done.findings.is_empty() && done.text.contains("holds for 3 tensors"), "{}", done.text);
    let (loaded, built) = (Compiler::new().load(f.path("out")).unwrap(), build(&f, Compiler::new()));
    assert_eq!(result(&loaded, D, 5), result(&built, D, 5));
    let again = build(&f, Compiler::new().plan_file(f.path("out/plan.json")));
    assert_eq!((again.plan(), result(&again, D, 5)), (built.plan(), result(&built, D, 5)));
    // A plan of another structure is not taken: one product is now a result, which a part cannot be.
    let text = std::fs::read_to_string(f.path("net.sp")).unwrap();
    f.text("net.sp", &text.replace("-> y: f32[B, D] {", "-> (y: f32[B, D], u: f32[B, F]) {"));
    let stale = Compiler::new().plan_file(f.path("out/plan.json"));
    let Err(e) = stale.compile_file(f.path("net.sp")).unwrap().build() else { panic!("it should be stale") };
    let text = e.to_string();
    assert!(text.contains("SP0661") && text.contains("m.{gate,up}"), "{text}");
    let fresh = build(&f, Compiler::new());
    assert!(made(&fresh).is_empty());
    assert!(explained(&f).contains("its product is a result"));
}
