//! Norms, batch-norm and constants that the compiler folds into weights: the same results in all that a plan goes through, the
//! same zeros, and the reason where nothing is folded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{Folder, build, explained, goes_round, made, numbers, result, session};
use spc::driver::{Compile, Explain, Options, Verify, compile_file, explain_file, verify_path};
use spc::{Compiler, Program};

const D: usize = 32;
const F: usize = 64;

/// A gated feed-forward layer after a norm, with a scaled result.
const TEXT: &str = "
edition 1
use std.nn
use std.patterns.nm
axis B = 1..64
model m from safetensors \"m.safetensors\" {
  axes { D = 32, F = 64 }
  norm: f32[D]     shift: f32[D]
  gate: f32[F, D]  bg: f32[F]
  up: f32[F, D]    bu: f32[F]
  down: f32[D, F]  mu: f32[D]  var: f32[D]
}
fn f(x: f32[B, D]) -> y: f32[B, D] {
  h = nn.layernorm(x, m.norm, m.shift)
  g = nn.silu(nn.linear(h, m.gate, m.bg))
  u = nn.linear(h, m.up, m.bu)
  z = nn.linear(g * u, m.down)
  y[b, d] = (z[b, d] - m.mu[d]) / sqrt(m.var[d] + 0.01) * 0.5
}
target one = cpu(threads: 1) { B = 1 }
";

fn positive(seed: u64, n: usize) -> Vec<f32> {
    numbers(seed, n).into_iter().map(|v| v.abs() + 0.5).collect()
}

fn folder_with(text: &str, norm: Vec<f32>) -> Folder {
    let f = Folder::new();
    f.text("net.sp", text);
    let all: Vec<(&str, Vec<usize>, Vec<f32>)> = vec![
        ("norm", vec![D], norm),
        ("shift", vec![D], numbers(7, D)),
        ("gate", vec![F, D], numbers(1, F * D)),
        ("bg", vec![F], numbers(2, F)),
        ("up", vec![F, D], numbers(3, F * D)),
        ("bu", vec![F], numbers(4, F)),
        ("down", vec![D, F], numbers(5, D * F)),
        ("mu", vec![D], numbers(8, D)),
        ("var", vec![D], positive(9, D)),
    ];
    let list: Vec<(&str, &[usize], &[f32])> = all.iter().map(|(n, s, v)| (*n, s.as_slice(), v.as_slice())).collect();
    f.weights("m.safetensors", &list);
    f
}

fn folder(requires: &str) -> Folder {
    folder_with(&(TEXT.to_string() + requires), positive(6, D))
}

/// As [`folder`], with a product of gate and up that no kernel of theirs can end with: merging them is then cheapest.
fn apart(requires: &str) -> Folder {
    let f = folder(requires);
    f.edit("g * u", "nn.softmax(g) * nn.softmax(u)");
    f.edit("nn.silu(nn.linear(h, m.gate, m.bg))", "nn.linear(h, m.gate, m.bg)");
    f
}

#[test]
fn a_norm_and_a_batch_norm_fold_and_what_reads_them_is_merged() {
    for requires in ["", "require r: nm(2, 4) on m.{gate, up}\n"] {
        let f = apart(requires);
        let p = build(&f, Compiler::new());
        let names = made(&p);
        for name in [
            "m.up*norm",
            "m.bu+shift",
            "m.gate*norm",
            "m.bg+shift",
            "m.down*var",
            "m.down+var",
            "m.{gate*norm,up*norm}",
        ] {
            assert!(names.contains(&name.to_string()), "{name}: {names:?}\n{}", explained(&f));
        }
        let plain = build(&f, Compiler::new().interpret(true));
        for tokens in [1, 3, 17, 64] {
            let (a, b) = (result(&p, D, tokens), result(&plain, D, tokens));
            let most = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(most < 1e-4, "{tokens} tokens: {most}");
        }
        let text = explained(&f);
        assert!(
            text.contains("folded: m.down*var") && text.contains("fold-norm R, ") && text.contains("merge-siblings B"),
            "{text}"
        );
        assert!(text.contains("less than with `m.norm`, `m.shift` computed apart"), "{text}");
        let done = session(Options::default(), |s| verify_path(s, &f.path("net.sp"), &Verify::default())).0.unwrap();
        assert!(done.findings.is_empty() && done.text.contains("2 linears within the bound"), "{}", done.text);
        let one = Explain { tensor: Some("m.up".into()), ..Explain::default() };
        let text = session(Options::default(), |s| explain_file(s, &f.path("net.sp"), &one)).0.unwrap().text;
        assert!(text.contains("m.{gate*norm,up*norm} [128, 32]") && !text.contains("m.down*var ["), "{text}");
    }
}

#[test]
fn a_norm_that_is_read_by_something_else_stays_and_says_why() {
    let f = folder("");
    f.edit("y[b, d] = (z[b, d]", "y[b, d] = (h[b, d] + z[b, d]");
    let p = build(&f, Compiler::new());
    let text = explained(&f);
    assert!(made(&p).iter().all(|n| !n.contains("norm")), "{text}");
    let line = text.lines().find(|l| l.starts_with("not folded: m.{norm,shift}")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("is read by a map too"), "{line}");
}

#[test]
fn factors_of_zero_and_codes_are_not_folded() {
    let mut norm = positive(6, D);
    norm[3] = 0.0;
    let f = folder_with(TEXT, norm);
    let text = explained(&f);
    assert!(text.contains("a factor is zero, or a product too small for f32"), "{text}");
    let mut norm = positive(6, D);
    norm[3] = f32::MAX;
    let f = folder_with(TEXT, norm);
    f.edit("target one", "quantize q: m.up to int4(per: tile(in: 16))\ntarget one");
    let text = explained(&f);
    assert!(text.contains("the values of `m.up` are codes, and products of them are not"), "{text}");
    let p = build(&f, Compiler::new());
    assert!(made(&p).iter().all(|n| !n.contains("norm")), "{text}");
}

#[test]
fn a_folder_and_a_plan_file_know_what_was_folded() {
    let f = folder("require r: nm(2, 4) on m.{gate, up, down}\n");
    let what = Compile { out: Some(f.path("out")), ..Compile::default() };
    let text = session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &what)).0.unwrap().text;
    assert!(text.contains("m.down*var"), "{text}");
    let done = session(Options::default(), |s| verify_path(s, &f.path("out"), &Verify::default())).0.unwrap();
    assert!(done.findings.is_empty() && done.text.contains("holds for 3 tensors"), "{}", done.text);
    let (loaded, built) = (Compiler::new().load(f.path("out")).unwrap(), build(&f, Compiler::new()));
    assert_eq!(result(&loaded, D, 5), result(&built, D, 5));
    let again = build(&f, Compiler::new().plan_file(f.path("out/plan.json")));
    assert_eq!((again.plan(), result(&again, D, 5)), (built.plan(), result(&built, D, 5)));
    // A plan of another structure is not taken: the norm is now read by something else.
    let text = std::fs::read_to_string(f.path("net.sp")).unwrap();
    f.text("net.sp", &text.replace("y[b, d] = (z[b, d]", "y[b, d] = (h[b, d] + z[b, d]"));
    let stale = Compiler::new().plan_file(f.path("out/plan.json"));
    let Err(e) = stale.compile_file(f.path("net.sp")).unwrap().build() else { panic!("it should be stale") };
    let text = e.to_string();
    assert!(text.contains("SP0661") && text.contains("*norm"), "{text}");
}

#[test]
fn dead_neurons_are_left_out_before_anything_is_folded() {
    let f = folder("require r: keep 50% of slices(F) per model on m\n");
    let p = build(&f, Compiler::new());
    let plain = build(&f, Compiler::new().interpret(true));
    let (a, b) = (result(&p, D, 5), result(&plain, D, 5));
    let most = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(most < 1e-4, "{most}");
    // The biases of the neurons are what the constraint is about: the norm stays, and the channels of the result fold.
    let names = made(&p);
    assert!(p.plan().contains("\"cut-dead F\"") && names.contains(&"m.down*var".to_string()), "{names:?}");
    assert!(!names.contains(&"m.bu+shift".to_string()), "{names:?}");
    goes_round(&f, &p, D);
}

#[test]
fn what_is_left_of_dead_neurons_is_folded() {
    let f = folder("");
    let dead = |i: usize| i % 4 == 1;
    let rows = |seed: u64, each: usize| {
        let mut v = numbers(seed, F * each);
        (0..F).filter(|i| dead(*i)).for_each(|i| v[i * each..(i + 1) * each].fill(0.0));
        v
    };
    let mut down = numbers(5, D * F);
    down.iter_mut().enumerate().filter(|(i, _)| dead(i % F)).for_each(|(_, v)| *v = 0.0);
    let all: Vec<(&str, Vec<usize>, Vec<f32>)> = vec![
        ("norm", vec![D], positive(6, D)),
        ("shift", vec![D], numbers(7, D)),
        ("gate", vec![F, D], rows(1, D)),
        ("bg", vec![F], rows(2, 1)),
        ("up", vec![F, D], rows(3, D)),
        ("bu", vec![F], rows(4, 1)),
        ("down", vec![D, F], down),
        ("mu", vec![D], numbers(8, D)),
        ("var", vec![D], positive(9, D)),
    ];
    let list: Vec<(&str, &[usize], &[f32])> = all.iter().map(|(n, s, v)| (*n, s.as_slice(), v.as_slice())).collect();
    f.weights("m.safetensors", &list);
    let p = build(&f, Compiler::new());
    let names = made(&p);
    assert!(p.plan().contains("\"cut-dead F\""), "{names:?}\n{}", explained(&f));
    for name in ["m.up*norm", "m.bu+shift", "m.down*var"] {
        assert!(names.contains(&name.to_string()), "{name}: {names:?}\n{}", explained(&f));
    }
    agrees(&f, &p);
    goes_round(&f, &p, D);
}

/// A product with half of a matrix, and one with rows that have gains; the matrices are read by nothing else.
const HALVES: &str = "
edition 1
use std.nn
use std.patterns.nm
axis B = 1..64
model m from safetensors \"m.safetensors\" {
  axes { D = 32, F = 64 }
  up: f32[F, D]   gain: f32[F]
  down: f32[D, F]
}
fn f(x: f32[B, D]) -> y: f32[B, D] {
  up[f, d] = m.up[f, d] * m.gain[f]
  h = nn.linear(x, up)
  half = m.down * 0.5
  y = nn.linear(nn.relu(h), half)
}
target one = cpu(threads: 1) { B = 1 }
";

fn halves(text: &str) -> Folder {
    let f = Folder::new();
    f.text("net.sp", text);
    let weights: [(&str, &[usize], Vec<f32>); 3] =
        [("up", &[F, D], numbers(1, F * D)), ("gain", &[F], positive(2, F)), ("down", &[D, F], numbers(5, D * F))];
    let list: Vec<(&str, &[usize], &[f32])> = weights.iter().map(|(n, s, v)| (*n, *s, v.as_slice())).collect();
    f.weights("m.safetensors", &list);
    f
}

fn agrees(f: &Folder, p: &Program) {
    let plain = build(f, Compiler::new().interpret(true));
    for tokens in [1, 3, 17, 64] {
        let (a, b) = (result(p, D, tokens), result(&plain, D, tokens));
        let most = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(most < 1e-4, "{tokens} tokens: {most}");
    }
}

fn layout(p: &Program, weight: &str) -> String {
    let v: serde_json::Value = serde_json::from_str(p.plan()).unwrap();
    let list = v["functions"][0]["linears"].as_array().cloned().unwrap();
    let found = list.iter().find(|l| l["weight"] == weight).unwrap_or_else(|| panic!("{weight}: {list:?}"));
    found["layout"].as_str().unwrap().into()
}

#[test]
fn a_matrix_with_factors_becomes_the_weight_of_a_linear() {
    for requires in ["", "require r: nm(1, 4) on m.{up, down}\n"] {
        let f = halves(&(HALVES.to_string() + requires));
        let p = build(&f, Compiler::new());
        let text = explained(&f);
        let names = made(&p);
        assert!(["m.up*gain", "m.down*constant"].iter().all(|n| names.contains(&n.to_string())), "{names:?}\n{text}");
        assert!(text.contains("folded: m.down*constant") && text.contains("fold-constant R"), "{text}");
        // It has the zeros of what it was made of, and the layouts that hold them.
        assert_eq!(layout(&p, "m.down*constant").starts_with("nm"), !requires.is_empty(), "{text}");
        agrees(&f, &p);
        goes_round(&f, &p, D);
        let done = session(Options::default(), |s| verify_path(s, &f.path("out"), &Verify::default())).0.unwrap();
        assert!(done.text.contains("2 linears within the bound"), "{}", done.text);
    }
    // What is also a result, or is read again, is computed.
    let f = halves(
        &HALVES.replace("nn.linear(nn.relu(h), half)", "nn.linear(nn.relu(h), half) + nn.linear(nn.relu(h), m.down)"),
    );
    let p = build(&f, Compiler::new());
    let text = explained(&f);
    assert!(!made(&p).contains(&"m.down*constant".to_string()), "{text}");
    assert!(text.contains("`m.down`, which it would move into, is read more than once"), "{text}");
    agrees(&f, &p);
}

#[test]
fn values_of_16_bits_stay_what_they_are_times_a_power_of_two() {
    let text = HALVES.replace("target one", "quantize q: m.{up, down} to bf16\ntarget one");
    let f = halves(&text);
    let p = build(&f, Compiler::new());
    let text = explained(&f);
    assert_eq!(layout(&p, "m.down*constant"), "dense_bf16(16)", "{text}");
    // Gains are no powers of two: the product is no number of 16 bits, and says so where it is a weight.
    if made(&p).contains(&"m.up*gain".to_string()) {
        assert_eq!(layout(&p, "m.up*gain"), "dense(16)");
        let one = Explain { tensor: Some("m.up*gain".into()), ..Explain::default() };
        let text = session(Options::default(), |s| explain_file(s, &f.path("net.sp"), &one)).0.unwrap().text;
        assert!(text.contains("products are no numbers of dense_bf16"), "{text}");
    }
    agrees(&f, &p);
    // Times three they are none either.
    let f =
        halves(&HALVES.replace("* 0.5", "* 3").replace("target one", "quantize q: m.{up, down} to bf16\ntarget one"));
    assert_eq!(layout(&build(&f, Compiler::new()), "m.down*constant"), "dense(16)");
}

/// What `run` and `bench` compare with has its norms folded and its siblings merged, too.
#[test]
fn the_dense_program_is_the_best_one_and_its_price_is_told() {
    let f = apart("require r: nm(2, 4) on m.{gate, up, down}\n");
    let (dense, p) = (build(&f, Compiler::new().dense()), build(&f, Compiler::new()));
    let names = made(&dense);
    for name in ["m.up*norm", "m.bu+shift", "m.down*var", "m.{gate*norm,up*norm}"] {
        assert!(names.contains(&name.to_string()), "{name}: {names:?}");
    }
    let of = |p: &Program, what: &str| -> u64 {
        let v: serde_json::Value = serde_json::from_str(p.plan()).unwrap();
        v["functions"][0][what].as_u64().unwrap()
    };
    assert_eq!(of(&p, "dense_ps"), of(&dense, "total_ps"));
    assert!(of(&p, "total_ps") <= of(&p, "dense_ps"));
    let plain = build(&f, Compiler::new().dense().interpret(true));
    let most = result(&dense, D, 5).iter().zip(&result(&plain, D, 5)).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(most < 1e-4, "{most}");
}
