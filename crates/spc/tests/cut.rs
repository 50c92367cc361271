//! Removal of dead channels (`cut-dead`): where it applies the compiled program is smaller and computes what the whole one
//! does; where it would not be the same it does not apply.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{Folder, build, numbers, session};
use ndarray::{Array3, ArrayD};
use spc::driver::{Compile, Explain, Options, Verify, compile_file, explain_file, verify_path};
use spc::{Compiler, Program};

const TEXT: &str = include_str!("../../../examples/lean_encoder/net.sp");
const D: usize = 8;
const F: usize = 16;

/// The example with random weights, after `change`.
fn folder(seed: u64, change: impl Fn(&str, &mut [f32])) -> Folder {
    let f = Folder::new();
    f.text("net.sp", TEXT);
    let mut all: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for l in 0..2 {
        let shapes: [(&str, &[usize]); 12] = [
            ("down", &[D, F]),
            ("bu", &[F]),
            ("wq", &[D, D]),
            ("wk", &[D, D]),
            ("wv", &[D, D]),
            ("wo", &[D, D]),
            ("up", &[F, D]),
            ("bd", &[D]),
            ("norm1", &[D]),
            ("shift1", &[D]),
            ("norm2", &[D]),
            ("shift2", &[D]),
        ];
        for (i, (name, shape)) in (0u64..).zip(shapes) {
            let mut values = numbers(seed + 100 * l + i, shape.iter().product());
            change(name, &mut values);
            all.push((format!("layer.{l}.{name}"), shape.to_vec(), values));
        }
    }
    let list: Vec<(&str, &[usize], &[f32])> =
        all.iter().map(|(n, s, v)| (n.as_str(), s.as_slice(), v.as_slice())).collect();
    f.weights("net.safetensors", &list);
    f
}

fn is_cut(p: &Program) -> bool {
    p.plan().contains("\"cut-dead F\"")
}

fn encode(p: &Program, x: &Array3<f32>) -> ArrayD<f32> {
    p.call("encode", &[("x", x)]).unwrap().f32("y").unwrap().to_owned()
}

/// The greatest difference between the compiled program and the interpreter, which removes nothing.
fn distance(f: &Folder, seed: u64) -> f32 {
    let x = Array3::from_shape_vec((2, 5, D), numbers(seed, 80)).unwrap();
    let (a, b) = (build(f, Compiler::new()), build(f, Compiler::new().interpret(true)));
    assert!(!is_cut(&b));
    encode(&a, &x).iter().zip(&encode(&b, &x)).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

#[test]
fn dead_neurons_are_left_out_of_the_compiled_program() {
    let f = folder(7, |_, _| {});
    let p = build(&f, Compiler::new());
    assert!(is_cut(&p));
    assert!(distance(&f, 3) < 1e-5);
    let text = session(Options::default(), |s| explain_file(s, &f.path("net.sp"), &Explain::default())).0.unwrap().text;
    assert!(text.contains("every weight is zero there: F 16 to 12 (2 times)"), "{text}");
    assert!(text.contains("rules: cut-dead F"), "{text}");
    let json = Explain { json: true, ..Explain::default() };
    let text = session(Options::default(), |s| explain_file(s, &f.path("net.sp"), &json)).0.unwrap().text;
    let v: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(v[0]["removed"][1], serde_json::json!({ "axis": "F", "size": 16, "kept": 12 }));
    let up = v[0]["layers"].as_array().unwrap().iter().find(|l| l["weight"] == "net.layer.1.up").unwrap();
    assert_eq!((&up["rows"], &up["cols"]), (&12.into(), &8.into()));
    assert!(v[0]["total_ps"].as_u64() < v[0]["dense_ps"].as_u64(), "dense is the whole program");
    // No warning that nothing came of the constraint.
    let (done, codes) = session(Options::default(), |s| verify_path(s, &f.path("net.sp"), &Verify::default()));
    assert!(done.unwrap().findings.is_empty());
    assert!(!codes.contains(&"SP0308".to_string()), "{codes:?}");
}

#[test]
fn a_folder_knows_what_was_left_out() {
    let f = folder(8, |_, _| {});
    let what = Compile { out: Some(f.path("out")), ..Compile::default() };
    let text = session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &what)).0.unwrap().text;
    assert!(text.contains("F 16 to 12"), "{text}");
    assert!(f.path("out/whole.ir").is_file());
    let done = session(Options::default(), |s| verify_path(s, &f.path("out"), &Verify::default())).0.unwrap();
    assert!(done.findings.is_empty() && done.text.contains("holds for"), "{}", done.text);
    let x = Array3::from_shape_vec((1, 4, D), numbers(5, 32)).unwrap();
    let loaded = Compiler::new().load(f.path("out")).unwrap();
    assert_eq!(encode(&loaded, &x), encode(&build(&f, Compiler::new()), &x));
    // A plan file of a smaller program is about the same smaller program.
    let plan = Compiler::new().plan_file(f.path("out/plan.json"));
    assert_eq!(build(&f, plan).plan(), loaded.plan());
    // Without the graphs as they were nobody can tell what the constraints speak of.
    let manifest = std::fs::read_to_string(f.path("out/manifest.json")).unwrap();
    let start = manifest.find("\"whole.ir\"").unwrap();
    let end = start + manifest[start..].find('\n').unwrap();
    let cut = manifest[..start].trim_end().trim_end_matches(',').to_string() + &manifest[end..];
    std::fs::write(f.path("out/manifest.json"), cut).unwrap();
    let e = Compiler::new().load(f.path("out")).unwrap_err();
    assert!(e.codes() == ["SP0602"] && e.to_string().contains("do not belong together"), "{e}");
}

/// A neuron with a bias is not dead: it gives the next layer what its function makes of the bias.
#[test]
fn a_neuron_that_is_not_zero_everywhere_stays() {
    let text = TEXT.split("group neuron").next().unwrap();
    let zero_rows = |name: &str, v: &mut [f32]| match name {
        "up" => v[..4 * D].fill(0.0),
        "down" => v.chunks_mut(F).for_each(|r| r[..4].fill(0.0)),
        _ => {}
    };
    let f = folder(9, zero_rows);
    f.text("net.sp", text);
    assert!(!is_cut(&build(&f, Compiler::new())), "the bias of these neurons is not zero");
    let f = folder(9, |name, v| {
        zero_rows(name, v);
        if name == "bu" {
            v[..3].fill(0.0);
        }
    });
    f.text("net.sp", text);
    let p = build(&f, Compiler::new());
    assert!(is_cut(&p) && p.plan().contains("\"rows\": 13"), "three of the four are dead");
    assert!(distance(&f, 4) < 1e-5);
}

#[test]
fn an_axis_that_callers_see_stays() {
    let f = Folder::new();
    let text = "
use std.nn
axis B = 1..8
model m from safetensors \"m.safetensors\" { axes { I = 64, O = 64 }  w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, m.w) }
";
    f.text("net.sp", text);
    let mut w = numbers(3, 64 * 64);
    w.chunks_mut(64).for_each(|r| r[32..].fill(0.0));
    w[..32 * 64].fill(0.0);
    f.weights("m.safetensors", &[("w", &[64, 64], &w)]);
    let p = build(&f, Compiler::new());
    assert!(!is_cut(&p));
    let x = ndarray::Array2::from_shape_vec((2, 64), numbers(4, 128)).unwrap();
    let y = p.call("f", &[("x", &x)]).unwrap();
    assert_eq!(y.f32("y").unwrap().shape(), [2, 64]);
}

#[test]
fn random_dead_channels_compute_the_same() {
    for seed in 0..12u64 {
        let kept = |i: usize, l: u64| numbers(1000 + seed * 7 + l, F)[i] > -0.2;
        let f = folder(seed * 31, |name, v| match name {
            "up" => v.chunks_mut(D).enumerate().for_each(|(i, r)| {
                if !kept(i, 0) {
                    r.fill(0.0)
                }
            }),
            "bu" => v.iter_mut().enumerate().for_each(|(i, b)| {
                if !kept(i, 0) {
                    *b = 0.0
                }
            }),
            "down" => v.chunks_mut(F).for_each(|r| {
                r.iter_mut().enumerate().for_each(|(i, w)| {
                    if !kept(i, 0) {
                        *w = 0.0
                    }
                })
            }),
            _ => {}
        });
        f.text("net.sp", TEXT.split("group neuron").next().unwrap());
        let some = (0..F).any(|i| !kept(i, 0));
        assert_eq!(is_cut(&build(&f, Compiler::new())), some, "seed {seed}");
        let d = distance(&f, seed);
        assert!(d < 1e-5, "seed {seed}: {d}");
    }
}
