//! Reordered weight files: the same functions, under constraints that keep more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{Folder, failed, session};
use ndarray::Array2;
use spc::Compiler;
use spc::driver::{Options, Permute, Res, permute_file};
use spc_io::WeightFile;

const PROGRAM: &str = "
edition 1
use std.nn
axis B = 1..8
model m from safetensors \"m.safetensors\" {
  axes { I = 6, F = 24, O = 5 }
  up: f32[F, I]  bu: f32[F]  down: f32[O, F]  bd: f32[O]
}
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.relu(nn.linear(x, m.up, m.bu)), m.down, m.bd) }
require half: keep 1 of 4 of elements per tile(in: 4) on m.down
";

/// Numbers that vary by column, so that an order matters.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((x >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * (1.0 + (x >> 20 & 7) as f32)
    };
    (0..n).map(|_| next()).collect()
}

fn folder(program: &str) -> Folder {
    let f = Folder(tempfile::tempdir().unwrap());
    f.text("net.sp", program);
    let (up, bu, down, bd) = (numbers(144, 1), numbers(24, 2), numbers(120, 3), numbers(5, 4));
    let other = numbers(24, 5);
    f.weights(
        "m.safetensors",
        &[
            ("up", &[24, 6], &up),
            ("bu", &[24], &bu),
            ("down", &[5, 24], &down),
            ("bd", &[5], &bd),
            ("other", &[24], &other),
        ],
    );
    f
}

fn permute(f: &Folder, json: bool) -> (Res<String>, Vec<String>) {
    let what = Permute { out: f.path("out.safetensors"), model: None, json, rounds: 32 };
    session(Options::default(), |s| permute_file(s, &f.path("net.sp"), &what).map(|d| d.text))
}

/// Results of the dense program on some rows, with a weight file, and the sum of squares that its constraint keeps.
fn results(f: &Folder, file: &str) -> (Array2<f32>, f64) {
    let x = Array2::from_shape_vec((3, 6), numbers(18, 9)).unwrap();
    let text = std::fs::read_to_string(f.path("net.sp")).unwrap().replace("m.safetensors", file);
    let checked = |c: Compiler| c.base(f.0.path()).compile_str(&text).unwrap();
    let dense = checked(Compiler::new().dense()).build().unwrap();
    let y = dense.call("f", &[("x", &x)]).unwrap();
    let y = y.f32("y").unwrap().to_owned().into_dimensionality().unwrap();
    let down = WeightFile::open(&f.path(file)).unwrap().f32("down").unwrap();
    let kept = down.chunks(4).map(|g| g.iter().map(|v| f64::from(v * v)).fold(0.0, f64::max)).sum();
    (y, kept)
}

#[test]
fn a_reordered_file_computes_the_same_and_keeps_more() {
    let f = folder(PROGRAM);
    let (text, codes) = permute(&f, false);
    let text = text.unwrap();
    assert!(
        codes.is_empty() && text.contains("m.bu[F] and 2 more") && text.contains("tensors reordered: 3"),
        "{text} {codes:?}"
    );
    assert!(text.contains("tensors of the file that the program does not declare stay as they are: 1"), "{text}");
    let ((before, kept), (after, more)) = (results(&f, "m.safetensors"), results(&f, "out.safetensors"));
    assert!(more > 1.05 * kept, "{kept} {more}");
    let most = before.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!((&before - &after).iter().all(|d| d.abs() <= 1e-5 * most), "{before} {after}");
    let (old, new) =
        (WeightFile::open(&f.path("m.safetensors")).unwrap(), WeightFile::open(&f.path("out.safetensors")).unwrap());
    assert_eq!(old.header().metadata(), new.header().metadata());
    for name in ["bd", "other"] {
        assert_eq!(old.bytes(name).unwrap(), new.bytes(name).unwrap());
    }
    // In columns, rows and biases alike.
    let (up, bu, down) = (new.f32("up").unwrap(), new.f32("bu").unwrap(), new.f32("down").unwrap());
    let place: Vec<usize> = {
        let bu0 = old.f32("bu").unwrap();
        bu.iter().map(|v| bu0.iter().position(|w| w == v).unwrap()).collect()
    };
    let (up0, down0) = (old.f32("up").unwrap(), old.f32("down").unwrap());
    for (p, from) in place.iter().enumerate() {
        assert_eq!(up[p * 6..p * 6 + 6], up0[from * 6..from * 6 + 6]);
        assert!((0..5).all(|o| down[o * 24 + p] == down0[o * 24 + from]));
    }
    // The same again, and once more gains nothing or little.
    let first = std::fs::read(f.path("out.safetensors")).unwrap();
    permute(&f, false).0.unwrap();
    assert_eq!(std::fs::read(f.path("out.safetensors")).unwrap(), first);
}

#[test]
fn json_has_the_order_and_what_was_kept() {
    let f = folder(PROGRAM);
    let json: serde_json::Value = serde_json::from_str(&permute(&f, true).0.unwrap()).unwrap();
    let axis = &json["axes"][0];
    assert_eq!((axis["axis"].as_str(), axis["size"].as_u64(), axis["group"].as_u64()), (Some("F"), Some(24), Some(4)));
    let mut order: Vec<u64> = axis["order"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
    let (_, kept) = results(&f, "m.safetensors");
    let (_, more) = results(&f, "out.safetensors");
    assert!((axis["kept_before"].as_f64().unwrap() / kept - 1.0).abs() < 1e-6);
    assert!((axis["kept_after"].as_f64().unwrap() / more - 1.0).abs() < 1e-6);
    order.sort_unstable();
    assert!(order.into_iter().eq(0..24));
}

/// Blocks of neighbouring outputs gain too, along the same axis.
#[test]
fn rows_move_so_that_blocks_keep_more() {
    let f = folder(&PROGRAM.replace(
        "keep 1 of 4 of elements per tile(in: 4) on m.down",
        "keep 25% of tile(out: 4, in: 1) per tensor by norm2 on m.up",
    ));
    let json: serde_json::Value = serde_json::from_str(&permute(&f, true).0.unwrap()).unwrap();
    let kept = |k: &str| json["axes"][0][k].as_f64().unwrap();
    assert!(kept("kept_after") > 1.02 * kept("kept_before"), "{json:#}");
    let (before, after) = (results(&f, "m.safetensors").0, results(&f, "out.safetensors").0);
    let most = before.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!((&before - &after).iter().all(|d| d.abs() <= 1e-5 * most), "{before} {after}");
}

#[test]
fn axes_that_callers_see_stay() {
    let f =
        folder(&PROGRAM.replace("per tile(in: 4) on m.down", "per tile(in: 2) on m.up").replace("1 of 4", "1 of 2"));
    let (text, codes) = permute(&f, false);
    assert!(text.as_ref().unwrap().contains("half: m.up stays as it is: an input carries `I`"), "{text:?}");
    assert_eq!(codes, ["SP0307"]);
    assert_eq!(results(&f, "m.safetensors"), results(&f, "out.safetensors"));
    // A second function gives the inner values away.
    let f = folder(&format!("{PROGRAM}fn h(x: f32[B, I]) -> h: f32[B, F] {{ h = nn.linear(x, m.up, m.bu) }}\n"));
    let (text, codes) = permute(&f, false);
    assert!(text.as_ref().unwrap().contains("the output `h` carries `F`"), "{text:?}");
    assert_eq!(codes, ["SP0307"]);
}

/// What the search leaves out is told, never passed over.
#[test]
fn constraints_that_are_not_searched_are_named() {
    let own = "require coarse: keep 50% of tile(in: 4) per tensor by norm2 on m.down\nrequire half";
    let two = "require long: keep 1 of 2 of elements per tile(in: 2) by random(7) on m.up\n";
    let program = format!("{}{two}", PROGRAM.replace("require half", own));
    let text = permute(&folder(&program), false).0.unwrap();
    assert!(text.contains("half: m.down stays as it is: another constraint on it is searched"), "{text}");
    assert!(text.contains("long: m.up stays as it is: only one sentence by `abs`"), "{text}");
}

#[test]
fn inputs_are_never_written_over_and_bad_files_are_refused() {
    let f = folder(PROGRAM);
    let what = |out: &str| Permute { out: f.path(out), model: None, json: false, rounds: 4 };
    let run = |out: &str| session(Options::default(), |s| permute_file(s, &f.path("net.sp"), &what(out))).0;
    assert_eq!(failed(run("m.safetensors")), (vec!["SP0409".to_string()], 4));
    assert_eq!(failed(run("net.sp")), (vec!["SP0409".to_string()], 4));
    let mut bu = numbers(24, 2);
    bu[3] = f32::NAN;
    let mut down = numbers(120, 3);
    down[7] = f32::INFINITY;
    let (up, bd) = (numbers(144, 1), numbers(5, 4));
    f.weights(
        "m.safetensors",
        &[("up", &[24, 6], &up), ("bu", &[24], &bu), ("down", &[5, 24], &down), ("bd", &[5], &bd)],
    );
    assert_eq!(failed(run("new.safetensors")), (vec!["SP0406".to_string(); 2], 4));
    assert!(!f.path("new.safetensors").exists());
}
