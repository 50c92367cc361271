//! Every pattern of weights with every update that can reach it: 50 steps on random gradients, a weight file, `spc verify`, and
//! compiled code against the interpreter. A violation planted in one element stops at `verify`.
use crate::support::{self, exec, optimised, plans, sound};
use crate::{Named, Rng, slices, views};
use ndarray::Array2;
use spc::driver::{DiskWorld, Options, Session, Verify, verify_path};
use spc::{Compiler, Optimiser};
use spc_formats::Layout;
use spc_io::{Safetensors, Stored, Values};
use std::collections::BTreeMap;
use std::path::Path;

/// Each with the layouts that are made for it.
const PATTERNS: &[(&str, &[Layout])] = &[
    ("nm(2, 4) on net.*", &[Layout::Nm { n: 2, m: 4 }, Layout::Nm16 { n: 2, m: 4 }]),
    ("nm(1, 4) on net.*", &[Layout::Nm { n: 1, m: 4 }]),
    ("nm(4, 8) on net.*", &[Layout::Nm { n: 4, m: 8 }]),
    ("nm(5, 16) on net.*", &[Layout::Nm { n: 5, m: 16 }]),
    ("nm(8, 32) on net.w1", &[Layout::Nm { n: 8, m: 32 }]),
    ("nm(2, 4, along: out) on net.*", &[Layout::Csr]),
    ("nm_shared(2, 4, 8) on net.*", &[Layout::Vx1 { v: 8 }]),
    ("blocks(50%, 8, 8) on net.*", &[Layout::Bsr { r: 8, c: 8 }]),
    ("balanced_blocks(50%, 8, 8) on net.*", &[Layout::Bsr { r: 8, c: 8 }]),
    ("one_by_n(25%) on net.*", &[Layout::Vx1 { v: 4 }]),
    ("vnm(8, 2, 8) on net.*", &[Layout::Nm { n: 2, m: 8 }]),
    ("vnm(16, 2, 16) on net.*", &[Layout::Vnm16 { v: 16, m: 16 }]),
    ("nm_ladder(2, 8) on net.*", &[Layout::Nm { n: 2, m: 8 }]),
    ("uniform(25%) on net.*", &[Layout::Csr]),
    ("global_gradual(20%) on net.*", &[Layout::Csr]),
    ("erk(30%) on net.*", &[Layout::Csr, Layout::Csr16, Layout::Bitmap]),
    ("global_floor(20%, 2%) on net.*", &[Layout::Csr]),
    ("keep 25% of elements per tensor on net.*", &[Layout::Csr]),
    ("keep 3 of elements per tile(out: 1, in: all) on net.*", &[Layout::Csr]),
    ("keep 50% of tile(out: 1, in: all) per tensor by norm2 on net.*", &[Layout::Vx1 { v: 1 }]),
    ("keep 50% of slices(N) per model by norm2 on net.*", &[Layout::Vx1 { v: 1 }]),
];

const UPDATES: &[&str] = &[
    "",
    "via frozen()",
    "via sr_ste(lambda: 1e-2)",
    "via mdgf()",
    "via adams(lambda: 1e-3)",
    "via dropgrow(interval: 7)",
    "via recommend(interval: 9)",
    "via prune_grow(interval: 8, refine: 4, grow: abs(g))",
    "via learned_score()",
];

/// From here on updates move masks as `dropgrow` does.
const MOVING: usize = 6;

const SHAPES: [(&str, [usize; 2]); 2] = [("net.w1", [48, 32]), ("net.w2", [16, 48])];

fn text(pattern: &str, update: &str) -> String {
    format!(
        "
use std.nn
use std.patterns.{{nm, nm_shared, nm_ladder, blocks, balanced_blocks, one_by_n, vnm, erk, uniform, global_floor, global_gradual}}
use std.updates.{{frozen, sr_ste, mdgf, adams, dropgrow, recommend, prune_grow, learned_score}}
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

/// Compiles the trained weights in a layout, whatever the chooser likes, and compares with the interpreter.
fn in_layout(text: &str, w: &Named, layout: Layout) {
    let g = optimised(&sound("p.sp", text));
    let plan = plans::forced(&g, w, layout, true);
    assert!(plan.linears.iter().any(|l| l.layout == layout.to_string()), "{layout} holds no weight of\n{text}");
    let packs = exec::Packs::new(&g, &plan, w);
    let mut rng = support::Rng(5);
    let sizes = exec::random_sizes(&g, &mut rng);
    let inputs = exec::random_inputs(&g, &sizes, &mut rng);
    let code = exec::jit(&g, &plan, &packs, &sizes, &inputs, spc_cpu::Isa::native());
    exec::check(&g, w, &inputs, &code, &format!("{layout} of\n{text}"));
}

#[test]
fn what_is_declared_is_trained_verified_and_computed() {
    let folder = tempfile::tempdir().unwrap();
    let (program, file) = (folder.path().join("p.sp"), folder.path().join("w.safetensors"));
    let x = Array2::from_shape_fn((5, 32), |(i, j)| ((i * 37 + j * 11) % 17) as f32 / 8.0 - 1.0);
    let mut compiled = 0;
    let mut interpreted: Vec<String> = Vec::new();
    for (p, (pattern, own)) in PATTERNS.iter().enumerate() {
        for (u, update) in UPDATES.iter().enumerate() {
            // Masks that move are alike; each kind of pattern meets one of the later ones.
            if u >= MOVING && !(p + u).is_multiple_of(MOVING - 2) {
                continue;
            }
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
            for layout in *own {
                in_layout(&text(pattern, update), &w, *layout);
            }
        }
    }
    // Masks of groups that move within tiles are the only ones without a compiled form.
    let of_groups = ["nm_shared(", "balanced_blocks(", "one_by_n("];
    let moving = |s: &str| UPDATES.iter().skip(MOVING - 1).any(|u| s.contains(u));
    let known = |s: &String| of_groups.iter().any(|p| s.starts_with(p)) && moving(s) && s.contains("within tiles");
    assert!(interpreted.iter().all(known), "{interpreted:#?}");
    assert!(compiled >= PATTERNS.len() * (MOVING - 1), "{compiled}: {interpreted:#?}");
}

#[test]
fn one_weight_too_many_stops_at_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (program, file) = (folder.path().join("p.sp"), folder.path().join("w.safetensors"));
    for (p, (pattern, _)) in PATTERNS.iter().enumerate() {
        std::fs::write(&program, text(pattern, "via frozen()")).unwrap();
        let (mut w, _) = train(&program, p as u64);
        // From row 7 on the first weight that is not there.
        let w1 = w.get_mut("net.w1").unwrap();
        let gone = (7 * 32..w1.len()).find(|i| w1[*i] == 0.0).unwrap();
        w1[gone] = 0.5;
        write(&file, &w);
        let said = verify(&program, &file).unwrap_err();
        // Of a scope over all tensors any entry may be the one too many.
        let tensor = if pattern.contains("global") || pattern.contains("model") { "`net." } else { "`net.w1`" };
        assert!(said.contains("SP0502") && said.contains(&format!("tensor {tensor}")), "{pattern}: {said}");
        // Where weights are counted in runs of a row, one of the run is named.
        if let Some(m) = pattern.strip_prefix("nm(").filter(|_| !pattern.contains("along")) {
            let m: usize = m.split([',', ')']).nth(1).unwrap().trim().parse().unwrap();
            let words = format!("tensor `net.w1`, row {}, group ", gone / 32);
            let group =
                said.split_once(&words).map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap());
            let group: usize = group.unwrap_or_else(|| panic!("{pattern}: {said} lacks {words}")).parse().unwrap();
            assert_eq!(group / m, gone / m, "{pattern}: {said}");
        }
    }
}
