//! Exports: masks, and files without the slices that are zero everywhere; a small encoder gives the same values either way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
mod common;

use common::{Folder, numbers, session};
use ndarray::{Array3, ArrayD};
use spc::driver::{Emit, Options, export_file};
use spc::{Compiler, Program};
use spc_io::WeightFile;
use std::process::Command;

const TEXT: &str = include_str!("../../../examples/lean_encoder/net.sp");
const D: usize = 8;
const F: usize = 16;

/// The example with random weights. Their order in the file is not that of the program.
fn folder() -> Folder {
    let f = Folder::new();
    f.text("net.sp", TEXT);
    let mut all: Vec<(String, Vec<usize>, Vec<f32>)> = vec![("pooler".into(), vec![3], vec![1.0, 0.0, 2.0])];
    for l in (0..2).rev() {
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
            let values = numbers(7 + 100 * l + i, shape.iter().product());
            all.push((format!("layer.{l}.{name}"), shape.to_vec(), values));
        }
    }
    let list: Vec<(&str, &[usize], &[f32])> =
        all.iter().map(|(n, s, v)| (n.as_str(), s.as_slice(), v.as_slice())).collect();
    f.weights("net.safetensors", &list);
    f
}

fn export(f: &Folder, emit: Emit, out: &str) -> String {
    session(Options::default(), |s| export_file(s, &f.path("net.sp"), None, emit, &f.path(out))).0.unwrap().text
}

/// The program over `neurons` of each layer, with the weights of a file as they are.
fn program(f: &Folder, file: &str, neurons: usize) -> Program {
    let text = TEXT.replace(" from safetensors \"net.safetensors\"", "").replace(" = \"layer.{l}\"", "");
    let text = text.replace("F = 16", &format!("F = {neurons}"));
    let text = text.split("group neuron").next().unwrap();
    let weights = WeightFile::open(&f.path(file)).unwrap();
    let mut c = Compiler::new().compile_str(text).unwrap();
    for (name, shape) in c.weights().into_iter().map(|(n, s)| (n.to_string(), s)).collect::<Vec<_>>() {
        let stored = name.strip_prefix("net.").unwrap();
        let values = weights.f32(stored).unwrap().to_vec();
        let shape: Vec<usize> = shape.to_vec();
        c = c.bind(&name, ArrayD::from_shape_vec(shape, values).unwrap()).unwrap();
    }
    c.build().unwrap()
}

fn encode(p: &Program, x: &Array3<f32>) -> ArrayD<f32> {
    p.call("encode", &[("x", x)]).unwrap().f32("y").unwrap().to_owned()
}

#[test]
fn without_a_quarter_of_the_neurons_the_values_are_those_of_zeros() {
    let f = folder();
    assert!(export(&f, Emit::Zeros, "zeroed.safetensors").contains("25 tensors, 6 constrained"));
    let text = export(&f, Emit::Shrunk, "small.safetensors");
    assert!(text.contains("6 of 25 tensors smaller (F 16 to 12, F 16 to 12)"), "{text}");
    let (zeroed, small) = ("zeroed.safetensors", "small.safetensors");
    let open = |name: &str| WeightFile::open(&f.path(name)).unwrap();
    let (old, new) = (open("net.safetensors"), open(small));
    assert_eq!(new.header().metadata(), old.header().metadata());
    let shape = |n: &str| new.header().get(n).unwrap().shape.clone();
    assert_eq!((shape("layer.1.up"), shape("layer.0.bu"), shape("layer.1.down")), (vec![12, 8], vec![12], vec![8, 12]));
    for name in ["pooler", "layer.0.wq", "layer.1.bd"] {
        assert_eq!(old.bytes(name).unwrap(), new.bytes(name).unwrap(), "{name}");
    }
    let x = Array3::from_shape_vec((2, 5, D), numbers(3, 80)).unwrap();
    let (a, b) = (encode(&program(&f, zeroed, 16), &x), encode(&program(&f, small, 12), &x));
    let worst = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(worst < 1e-5, "{worst}");
    let dense = encode(&program(&f, "net.safetensors", 16), &x);
    assert!(a.iter().zip(&dense).any(|(a, b)| (a - b).abs() > 1e-3), "something was removed");
    // numpy, where it is, agrees on its own.
    let has = Command::new("python3").args(["-c", "import numpy"]).output().is_ok_and(|o| o.status.success());
    if !has {
        spc_base::skipped("no python3 with numpy, so no independent check of the shrunk file");
        return;
    }
    for (name, values) in [("x.npy", x.clone().into_dyn()), ("y.npy", b)] {
        let shape = values.shape().to_vec();
        let tensor = spc_io::Tensor::new(shape, values.iter().copied().collect::<Vec<f32>>()).unwrap();
        spc_io::write_npy(&f.path(name), &tensor).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/lean_encoder/check.py");
    let files = [zeroed, small, "x.npy", "y.npy"].map(|n| f.path(n));
    let out = Command::new("python3").arg(script).args(&files).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && text.contains("neurons 16 and 12"),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn the_map_says_which_positions_are_left() {
    let f = folder();
    export(&f, Emit::Shrunk, "small.safetensors");
    let map: serde_json::Value = serde_json::from_slice(&std::fs::read(f.path("small.shrink.json")).unwrap()).unwrap();
    assert_eq!((&map["format"], &map["model"]), (&1.into(), &"net".into()));
    assert_eq!(map["axes"].as_array().unwrap().len(), 2);
    let tensors = map["tensors"].as_object().unwrap();
    assert_eq!(tensors.len(), 6);
    let (old, new) = (
        WeightFile::open(&f.path("net.safetensors")).unwrap(),
        WeightFile::open(&f.path("small.safetensors")).unwrap(),
    );
    let kept = |v: &serde_json::Value| -> Vec<usize> {
        v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
    };
    for l in 0..2 {
        let at = |n: &str| format!("layer.{l}.{n}");
        let rows = kept(&tensors[&at("up")]["kept"][0]);
        assert_eq!(rows.len(), 12);
        assert!(tensors[&at("up")]["kept"][1].is_null());
        assert_eq!(kept(&tensors[&at("down")]["kept"][1]), rows);
        assert_eq!(kept(&tensors[&at("bu")]["kept"][0]), rows);
        let (up, small) = (old.f32(&at("up")).unwrap(), new.f32(&at("up")).unwrap());
        let (down, narrow) = (old.f32(&at("down")).unwrap(), new.f32(&at("down")).unwrap());
        for (to, from) in rows.iter().enumerate() {
            assert_eq!(small[to * D..(to + 1) * D], up[from * D..(from + 1) * D], "row {from}");
            for o in 0..D {
                assert_eq!(narrow[o * 12 + to], down[o * F + from], "column {from}");
            }
        }
    }
}

#[test]
fn an_axis_whose_positions_a_mean_counts_stays_whole() {
    let f = Folder::new();
    let text = |h: &str| {
        format!(
            "use std.nn\naxis B = 1..4\nmodel net from safetensors \"net.safetensors\" {{\n  axes {{ D = 4, F = 6 }}\n  \
             up: f32[F, D]   down: f32[D, F]   scale: f32[F]   shift: f32[F]\n}}\nfn f(x: f32[B, D]) -> y: f32[B, D] {{\n  \
             h = {h}\n  y = nn.linear(h, net.down)\n}}\ngroup neuron = slices(F) of net\n\
             require half: keep 50% of neuron per model by norm2\n"
        )
    };
    let (a, b, c) = (numbers(1, 24), numbers(2, 24), numbers(3, 6));
    f.weights(
        "net.safetensors",
        &[("up", &[6, 4], &a), ("down", &[4, 6], &b), ("scale", &[6], &c), ("shift", &[6], &c)],
    );
    // The norm divides by 6, also where three of them are zero: over three it would be another norm.
    f.text("net.sp", &text("nn.layernorm(nn.linear(x, net.up), net.scale, net.shift)"));
    let said = export(&f, Emit::Shrunk, "small.safetensors");
    assert!(said.contains("no axis has a slice"), "{said}");
    f.text("net.sp", &text("nn.linear(x, net.up) * net.scale + net.shift"));
    let said = export(&f, Emit::Shrunk, "small.safetensors");
    assert!(said.contains("4 of 4 tensors smaller (F 6 to 3)"), "{said}");
    let map = std::fs::read_to_string(f.path("small.shrink.json")).unwrap();
    assert!(map.contains("\"old_shape\"") && map.contains("\"shift\""), "{map}");
}

#[test]
fn a_slice_goes_only_where_all_weights_are_zero() {
    let f = folder();
    let open = WeightFile::open(&f.path("net.safetensors")).unwrap();
    f.text("net.sp", TEXT.split("group neuron").next().unwrap());
    let mut all: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for t in open.header().tensors() {
        all.push((t.name.clone(), t.shape.clone(), open.f32(&t.name).unwrap().to_vec()));
    }
    let mut set = |name: &str, at: &mut dyn Iterator<Item = usize>| {
        let values = &mut all.iter_mut().find(|t| t.0 == name).unwrap().2;
        at.for_each(|i| values[i] = 0.0);
        let list: Vec<(&str, &[usize], &[f32])> =
            all.iter().map(|(n, s, v)| (n.as_str(), s.as_slice(), v.as_slice())).collect();
        f.weights("net.safetensors", &list);
        export(&f, Emit::Shrunk, "small.safetensors")
    };
    // Neuron 5 of layer 1, weight by weight.
    for (name, mut at) in [("layer.1.bu", 5..6), ("layer.1.up", 5 * D..6 * D)] {
        let said = set(name, &mut at);
        assert!(said.contains("no axis has a slice"), "{said}");
    }
    let said = set("layer.1.down", &mut (0..D).map(|o| o * F + 5));
    assert!(said.contains("3 of 25 tensors smaller (F 16 to 15)"), "{said}");
}

#[test]
fn masks_say_what_stays() {
    let f = folder();
    let text = export(&f, Emit::Masks, "masks.safetensors");
    assert!(text.contains("6 masks"), "{text}");
    export(&f, Emit::Zeros, "zeroed.safetensors");
    let (masks, zeroed) = (
        WeightFile::open(&f.path("masks.safetensors")).unwrap(),
        WeightFile::open(&f.path("zeroed.safetensors")).unwrap(),
    );
    assert_eq!(masks.header().tensors().len(), 6);
    for name in ["layer.0.up", "layer.1.down", "layer.1.bu"] {
        let expected: Vec<bool> = zeroed.f32(name).unwrap().iter().map(|v| *v != 0.0).collect();
        assert_eq!(masks.bool(name).unwrap(), expected);
        assert_eq!(masks.header().get(name).unwrap().shape, zeroed.header().get(name).unwrap().shape);
        assert_eq!(expected.iter().filter(|m| !**m).count() * 4, expected.len(), "{name}");
    }
}
