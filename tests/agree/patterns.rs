//! Every pattern of weights with every update that can reach it: 50 steps on random gradients, a weight file, `spc verify`, and
//! compiled code against the interpreter. A violation planted in one element stops at `verify`.
use crate::{Named, Rng, slices, views};
use ndarray::Array2;
use spc::driver::{DiskWorld, Options, Session, Verify, verify_path};
use spc::{Compiler, Optimiser};
use spc_io::{Safetensors, Stored, Values};
use std::collections::BTreeMap;
use std::path::Path;

const PATTERNS: &[&str] = &[
    "nm(2, 4) on net.*",
    "nm(1, 4) on net.*",
    "nm(4, 8) on net.*",
    "nm(5, 16) on net.*",
    "nm(8, 32) on net.w1",
    "nm(2, 4, along: out) on net.*",
    "nm_shared(2, 4, 8) on net.*",
    "blocks(50%, 8, 8) on net.*",
    "balanced_blocks(50%, 8, 8) on net.*",
    "one_by_n(25%) on net.*",
    "vnm(8, 2, 8) on net.*",
    "erk(30%) on net.*",
    "global_floor(20%, 2%) on net.*",
    "keep 25% of elements per tensor on net.*",
    "keep 3 of elements per tile(out: 1, in: all) on net.*",
    "keep 50% of tile(out: 1, in: all) per tensor by norm2 on net.*",
    "keep 50% of slices(N) per model by norm2 on net.*",
];

const UPDATES: &[&str] = &[
    "",
    "via frozen()",
    "via sr_ste(lambda: 1e-2)",
    "via mdgf()",
    "via adams(lambda: 1e-3)",
    "via dropgrow(interval: 7)",
];

const SHAPES: [(&str, [usize; 2]); 2] = [("net.w1", [48, 32]), ("net.w2", [16, 48])];

fn text(pattern: &str, update: &str) -> String {
    format!(
        "
use std.nn
use std.patterns.{{nm, nm_shared, blocks, balanced_blocks, one_by_n, vnm, erk, global_floor}}
use std.updates.{{frozen, sr_ste, mdgf, adams, dropgrow}}
axis B = 1..16
model net from safetensors \"w.safetensors\" {{ axes {{ I = 32, N = 48, O = 16 }}  w1: f32[N, I]  w2: f32[O, N] }}
fn f(x: f32[B, I]) -> y: f32[B, O] {{ y = nn.linear(nn.relu(nn.linear(x, net.w1)), net.w2) }}
require c: {pattern} {update}
"
    )
}

fn random(r: &mut Rng) -> Named {
    SHAPES.iter().map(|(n, s)| (n.to_string(), r.floats(s[0] * s[1], 1.0))).collect()
}

fn write(path: &Path, w: &Named) {
    let list: Vec<Stored<'_>> = SHAPES
        .iter()
        .map(|(n, s)| Stored { name: n.strip_prefix("net.").unwrap(), shape: s, values: Values::F32(&w[*n]) })
        .collect();
    Safetensors::new(&list, &BTreeMap::new(), 8).unwrap().write_file(path).unwrap();
}

/// What `spc verify program --bind net=file` says of a file: nothing, or codes and messages.
fn verify(program: &Path, file: &Path) -> Result<(), String> {
    let world = DiskWorld::default();
    let mut options = Options::default();
    options.binds.insert("net".into(), file.to_path_buf());
    let mut s = Session::new(&world, options);
    match verify_path(&mut s, program, &Verify { rounds: 1, ..Verify::default() }) {
        Ok(_) => Ok(()),
        Err(f) => Err(f.diagnostics().iter().map(|d| format!("{} {d:?}", d.code.name())).collect()),
    }
}

/// Trains under a declaration; the deployed weights, and whether the updates were compiled.
fn train(program: &Path, seed: u64) -> (Named, Option<String>) {
    let checked = Compiler::new().compile_file(program).unwrap_or_else(|e| panic!("{e}"));
    let plan = checked.update_plan(Optimiser::ADAM, 50).unwrap();
    let mut r = Rng(seed);
    let mut params = random(&mut r);
    let mut state = plan.start(&mut views(&mut params)).unwrap();
    for step in 0..50 {
        let grads = random(&mut r);
        plan.update(step, &mut views(&mut params), &slices(&grads), 0.01, &mut state).unwrap();
    }
    (params, plan.interpreted().map(str::to_string))
}

fn computed(program: &Path, file: &Path, interpret: bool, x: &Array2<f32>) -> Array2<f32> {
    let p = Compiler::new().interpret(interpret).compile_file(program).unwrap().bind_file("net", file).build().unwrap();
    let y = p.call("f", &[("x", x)]).unwrap();
    y.f32("y").unwrap().to_owned().into_dimensionality().unwrap()
}

#[test]
fn what_is_declared_is_trained_verified_and_computed() {
    let folder = tempfile::tempdir().unwrap();
    let (program, file) = (folder.path().join("p.sp"), folder.path().join("w.safetensors"));
    let x = Array2::from_shape_fn((5, 32), |(i, j)| ((i * 37 + j * 11) % 17) as f32 / 8.0 - 1.0);
    let mut compiled = 0;
    let mut interpreted: Vec<String> = Vec::new();
    for (p, pattern) in PATTERNS.iter().enumerate() {
        for update in UPDATES {
            std::fs::write(&program, text(pattern, update)).unwrap();
            let (w, why) = train(&program, p as u64);
            match why {
                None => compiled += 1,
                Some(why) => interpreted.push(format!("{pattern} {update}: {why}")),
            }
            write(&file, &w);
            verify(&program, &file).unwrap_or_else(|e| panic!("{pattern} {update}: {e}"));
            let kept: usize = w.values().flatten().filter(|v| **v != 0.0).count();
            assert!(kept > 0 && w.values().any(|v| v.contains(&0.0)), "{pattern} {update}: {kept} left");
            let (a, b) = (computed(&program, &file, false, &x), computed(&program, &file, true, &x));
            let far = a.iter().zip(&b).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f32::max);
            assert!(far < 1e-4, "{pattern} {update}: {far}");
        }
    }
    // Moving masks over groups are the only ones without a compiled form.
    assert!(interpreted.iter().all(|s| s.contains("dropgrow")), "{interpreted:#?}");
    assert!(compiled >= PATTERNS.len() * (UPDATES.len() - 1), "{compiled}: {interpreted:#?}");
}

#[test]
fn one_weight_too_many_stops_at_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (program, file) = (folder.path().join("p.sp"), folder.path().join("w.safetensors"));
    for (pattern, words) in [
        ("nm(2, 4) on net.*", ["net.w1", "row 7", "kept, 2"]),
        ("keep 50% of tile(out: 1, in: all) per tensor by norm2 on net.*", ["net.w1", "", "24"]),
    ] {
        std::fs::write(&program, text(pattern, "via sr_ste()")).unwrap();
        let (mut w, _) = train(&program, 1);
        let row = 7 * 32;
        let w1 = w.get_mut("net.w1").unwrap();
        let gone = (row..w1.len()).find(|i| w1[*i] == 0.0).unwrap();
        w1[gone] = 0.5;
        write(&file, &w);
        let said = verify(&program, &file).unwrap_err();
        assert!(said.contains("SP0502"), "{said}");
        for word in words {
            assert!(said.contains(word) || word.contains("kept"), "{said} lacks {word}");
        }
    }
}
