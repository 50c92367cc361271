//! Turned weight files: the same functions, outliers spread over all features, and nothing where it would be another program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{Folder, session};
use ndarray::ArrayD;
use spc::Compiler;
use spc::driver::{Failure, Options, Res, Rotate, rotate_file};
use spc_io::WeightFile;

/// Two layers of a gated feed-forward on a residual stream of D features, between a table and a head.
const PROGRAM: &str = "
edition 1
use std.nn
axis B = 1..8
model m from safetensors \"m.safetensors\" {
  axes { V = 11, D = 24, F = 16, O = 5, L = 2 }
  table: f32[V, D]
  layer[l: L] { norm: f32[D]  gate: f32[F, D]  up: f32[F, D]  down: f32[D, F]  bd: f32[D] }
  last: f32[D]  head: f32[O, D]  bh: f32[O]
}
fn f(ids: i32[B]) -> y: f32[B, O] {
  x[b, d] = m.table[ids[b], d]
  for l in L {
    h = nn.rmsnorm(x, m.layer[l].norm)
    x = x + nn.linear(nn.silu(nn.linear(h, m.layer[l].gate)) * nn.linear(h, m.layer[l].up), m.layer[l].down, m.layer[l].bd)
  }
  y = nn.linear(nn.rmsnorm(x, m.last), m.head, m.bh)
}
";

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Matrices with one feature far larger than the others, as trained models have.
fn folder(program: &str) -> Folder {
    let f = Folder::new();
    f.text("net.sp", program);
    let outlier = |v: Vec<f32>, cols: usize| -> Vec<f32> {
        v.into_iter().enumerate().map(|(i, v)| if i % cols == 3 { v * 30.0 } else { v }).collect()
    };
    let mut all: Vec<(String, Vec<usize>, Vec<f32>)> = vec![
        ("table".into(), vec![11, 24], numbers(264, 1)),
        ("last".into(), vec![24], numbers(24, 2).iter().map(|v| v + 2.0).collect()),
        ("head".into(), vec![5, 24], outlier(numbers(120, 3), 24)),
        ("bh".into(), vec![5], numbers(5, 4)),
    ];
    for l in 0..2u64 {
        let name = |n: &str| format!("layer.{l}.{n}");
        all.push((name("norm"), vec![24], numbers(24, 5 + l).iter().map(|v| v + 2.0).collect()));
        all.push((name("gate"), vec![16, 24], outlier(numbers(384, 7 + l), 24)));
        all.push((name("up"), vec![16, 24], outlier(numbers(384, 9 + l), 24)));
        all.push((name("down"), vec![24, 16], numbers(384, 11 + l)));
        all.push((name("bd"), vec![24], numbers(24, 13 + l)));
    }
    let list: Vec<(&str, &[usize], &[f32])> =
        all.iter().map(|(n, s, v)| (n.as_str(), s.as_slice(), v.as_slice())).collect();
    f.weights("m.safetensors", &list);
    f
}

fn rotate(f: &Folder, seed: u64, json: bool) -> Res<String> {
    let what = Rotate { out: f.path("out.safetensors"), model: None, seed, json };
    session(Options::default(), |s| rotate_file(s, &f.path("net.sp"), &what).map(|d| d.text)).0
}

fn refusal(r: Res<String>) -> String {
    let Err(Failure::User(list)) = r else { panic!("{r:?}") };
    list.iter().map(|d| format!("{} {} {}", d.code.name(), d.message, d.notes.join(" "))).collect()
}

fn results(f: &Folder, file: &str) -> ArrayD<f32> {
    let ids = ndarray::Array1::from_vec((0..8).map(|i| i * 7 % 11).collect::<Vec<i32>>());
    let text = std::fs::read_to_string(f.path("net.sp")).unwrap().replace("m.safetensors", file);
    let checked = Compiler::new().dense().base(f.0.path()).compile_str(&text).unwrap();
    let y = checked.build().unwrap().call("f", &[("ids", &ids)]).unwrap();
    y.f32("y").unwrap().to_owned()
}

#[test]
fn a_turned_file_computes_the_same_and_rounds_better() {
    let f = folder(PROGRAM);
    let text = rotate(&f, 0, true).unwrap();
    let v: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(v["streams"], serde_json::json!([24]));
    // The table, head, and of each layer gate, up, down and its bias; three gains.
    assert_eq!((v["turned"].as_array().unwrap().len(), v["gains"].as_array().unwrap().len()), (10, 3), "{v}");
    for bits in ["int4", "int8"] {
        let (before, after) = (v[bits]["before"].as_f64().unwrap(), v[bits]["after"].as_f64().unwrap());
        assert!(after < 0.8 * before && after > 0.0, "{bits}: {before} {after}");
    }
    let (a, b) = (results(&f, "m.safetensors"), results(&f, "out.safetensors"));
    let size = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let most = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(most < 1e-5 * size, "{most} of {size}");
    let read = |file: &str, name: &str| WeightFile::open(&f.path(file)).unwrap().f32(name).unwrap().to_vec();
    assert_eq!(read("out.safetensors", "layer.0.norm"), vec![1.0; 24]);
    assert_eq!(read("out.safetensors", "bh"), read("m.safetensors", "bh"), "the head's results are not turned");
    assert_ne!(read("out.safetensors", "layer.1.bd"), read("m.safetensors", "layer.1.bd"));
    // Lengths stay: a row of the table is what it was, seen from elsewhere.
    let length = |v: &[f32]| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let (x, y) = (read("m.safetensors", "table"), read("out.safetensors", "table"));
    for (x, y) in x.chunks(24).zip(y.chunks(24)) {
        assert!((length(x) - length(y)).abs() < 1e-5 * length(x));
    }
    // Another seed, another file; the same one, the same bytes.
    let first = std::fs::read(f.path("out.safetensors")).unwrap();
    rotate(&f, 1, false).unwrap();
    assert_ne!(std::fs::read(f.path("out.safetensors")).unwrap(), first);
    let text = rotate(&f, 0, false).unwrap();
    assert_eq!(std::fs::read(f.path("out.safetensors")).unwrap(), first);
    assert!(text.contains("streams of 24 features turned in 10 tensors, 3 gains moved"), "{text}");
}

#[test]
fn what_cannot_be_turned_is_refused_with_the_reason() {
    let refused = |from: &str, to: &str, words: &str| {
        let f = folder(&PROGRAM.replace(from, to));
        let text = refusal(rotate(&f, 0, false));
        assert!(text.contains("SP0662") && text.contains(words), "{words}: {text}");
        assert!(!f.path("out.safetensors").exists());
    };
    refused("x = x + nn.linear", "x = nn.relu(x) + nn.linear", "a function is applied to it element by element");
    refused("nn.rmsnorm(x, m.last)", "nn.layernorm(x, m.last)", "its features are put together");
    refused("fn f(ids: i32[B]) -> y: f32[B, O]", "fn f(ids: i32[B]) -> (y: f32[B, O], x: f32[B, D])", "it is a result");
    let half = "require half: keep 50% of elements per tensor on m.head\nfn f(ids";
    refused("fn f(ids", half, "`half` is about `m.head`");
}

#[test]
fn zeros_are_not_filled() {
    let f = folder(PROGRAM);
    let mut head = numbers(120, 3);
    head.iter_mut().step_by(2).for_each(|v| *v = 0.0);
    let old = WeightFile::open(&f.path("m.safetensors")).unwrap();
    let all: Vec<(String, Vec<usize>, Vec<f32>)> = (old.header().tensors().iter())
        .map(|t| (t.name.clone(), t.shape.clone(), old.f32(&t.name).unwrap().to_vec()))
        .map(|(n, s, v)| if n == "head" { (n, s, head.clone()) } else { (n, s, v) })
        .collect();
    let list: Vec<(&str, &[usize], &[f32])> =
        all.iter().map(|(n, s, v)| (n.as_str(), s.as_slice(), v.as_slice())).collect();
    f.weights("m.safetensors", &list);
    let text = refusal(rotate(&f, 0, false));
    assert!(text.contains("50") && text.contains("of `m.head` is zero, and turning would fill it"), "{text}");
}

/// What `explain` and `compile` say of a program whose layers are rounded.
#[test]
fn turning_is_offered_where_it_lowers_the_error_of_rounding() {
    use spc::driver::{Compile, Explain, compile_file, explain_file};
    let said = |program: &str| {
        let f = folder(program);
        let explain = |json| {
            let what = Explain { json, ..Explain::default() };
            session(Options::default(), |s| explain_file(s, &f.path("net.sp"), &what)).0.unwrap().text
        };
        let compile =
            session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &Compile::default())).0.unwrap();
        (explain(false), explain(true), compile.text, f)
    };
    let rounded = PROGRAM.to_string() + "quantize q: m.layer.*.{gate, up} to int4(per: tile(in: 24))\n";
    let (text, json, compiled, f) = said(&rounded);
    let line =
        text.lines().find(|l| l.starts_with("the residual streams can be turned")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("4 tensors") && line.contains("`spc rotate net.sp -o FILE.safetensors`"), "{line}");
    assert!(compiled.contains(line), "{compiled}");
    let v: serde_json::Value = serde_json::from_str(&json).unwrap();
    let number = |what: &str| v[0]["rotation"][what].as_f64().unwrap();
    let (before, after) = (number("before"), number("after"));
    assert!(after > 0.0 && after < 0.8 * before, "{before} {after}");
    // The error is that of the values that the program then has.
    rotate(&f, 0, false).unwrap();
    let read = |file: &str, name: &str| WeightFile::open(&f.path(file)).unwrap().f32(name).unwrap().to_vec();
    let error = |file: &str| {
        let (mut e, mut all) = (0.0f64, 0.0f64);
        for name in ["layer.0.gate", "layer.1.gate", "layer.0.up", "layer.1.up"] {
            for row in read(file, name).chunks(24) {
                let scale = row.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 7.0;
                e += row.iter().map(|v| f64::from(v - (v / scale).round_ties_even() * scale).powi(2)).sum::<f64>();
                all += row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            }
        }
        (e / all).sqrt()
    };
    for (said, file) in [(before, "m.safetensors"), (after, "out.safetensors")] {
        assert!((error(file) - said).abs() < 0.02 * said, "{file}: {} and not {said}", error(file));
    }
    // Nothing is rounded to codes; zeros would be lost; no stream; turned already.
    let zeros = rounded.clone() + "use std.patterns.nm\nrequire r: nm(2, 4) on m.layer.*.up\n";
    for other in [
        PROGRAM.to_string(),
        PROGRAM.to_string() + "quantize q: m.layer.*.{gate, up} to bf16\n",
        zeros,
        rounded.replace("nn.rmsnorm(x, m.layer[l].norm)", "nn.layernorm(x, m.layer[l].norm, m.layer[l].bd)"),
        rounded.replace("m.safetensors", "out.safetensors"),
    ] {
        let f = folder(PROGRAM);
        rotate(&f, 0, false).unwrap();
        f.text("net.sp", &other);
        let text = session(Options::default(), |s| explain_file(s, &f.path("net.sp"), &Explain::default()));
        let text = text.0.unwrap().text;
        assert!(!text.contains("can be turned"), "{other}\n{text}");
    }
}
