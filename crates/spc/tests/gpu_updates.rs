//! Steps of training runs as CUDA text, under g++ and as PTX in the interpreter, against the same steps on the CPU.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "../../spc-cuda/tests/support/mod.rs"]
mod support;

use common::{Folder, failed, session};
use spc::driver::{Compile, Options, Stage, Training, compile_file};
use spc::{Compiler, GpuArgument, GpuUpdates, Optimiser};
use spc_cuda::ParamKind;
use spc_cuda::nvrtc::images;
use spc_ptx::{Launch, Memory, Module, Schedule, launch};
use std::collections::BTreeMap;
use support::{Argument, Job, Program, have_gxx};

const SIZES: [(&str, usize); 3] = [("net.w", 24 * 32), ("net.v", 10 * 24), ("net.b", 25)];

fn program(rules: &str) -> String {
    format!(
        "
use std.updates.{{sr_ste, dropgrow, mdgf, adams, frozen, subnetwork}}
use std.penalties.{{l1, l0, lhalf, log_sum, mcp, scad, cel0, group_l2, sparse_group, wgsef}}
axis B = 1..8
model net {{ axes {{ I = 32, O = 24, N = 10, S = 25 }}  w: f32[O, I]  v: f32[N, O]  b: f32[S] }}
fn f(x: f32[B, I]) -> z: f32[B, N] {{
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, n] = net.v[n, o] * y[b, o]
}}
{rules}
"
    )
}

struct Random(u64);

impl Random {
    fn float(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let x = (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        // Ties and zeros.
        match self.0 >> 33 & 7 {
            0 => 0.0,
            1 | 2 => (x * 4.0).round() / 4.0,
            _ => x,
        }
    }

    fn all(&mut self) -> BTreeMap<String, Vec<f32>> {
        SIZES.iter().map(|(n, k)| (n.to_string(), (0..*k).map(|_| self.float()).collect())).collect()
    }
}

/// Carries out launches: gives the arrays that the kernel wrote.
type Run<'a> = &'a dyn Fn(Job) -> Vec<Vec<u8>>;

fn bytes(v: &[f32]) -> Vec<u8> {
    v.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn floats(b: &[u8]) -> Vec<f32> {
    b.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// A device's memory during a run.
struct Arrays {
    held: Vec<Vec<u8>>,
    fault: Vec<u8>,
}

impl Arrays {
    fn new(u: &GpuUpdates, weights: &BTreeMap<String, Vec<f32>>) -> Arrays {
        let held = u.arrays.iter().map(|a| {
            let kind = a.name.split('/').next().unwrap();
            match kind {
                "param" | "dense" => bytes(&weights[&a.weight]),
                _ if a.truth => vec![u8::from(!a.name.contains("/state/")); a.len as usize],
                _ => vec![0; 4 * a.len as usize],
            }
        });
        Arrays { held: held.collect(), fault: vec![0; 4] }
    }

    fn set(&mut self, u: &GpuUpdates, prefix: &str, values: &BTreeMap<String, Vec<f32>>) {
        for (a, own) in u.arrays.iter().zip(&mut self.held) {
            if a.name == format!("{prefix}/{}", a.weight) {
                *own = bytes(&values[&a.weight]);
            }
        }
    }

    fn step(&mut self, u: &GpuUpdates, step: Option<u64>, rate: f32, run: Run<'_>) {
        let (launches, numbers) = u.step(step, &|_| rate).unwrap();
        for l in launches {
            let k = u.kernels().iter().find(|k| k.name == l.kernel).unwrap();
            assert_eq!(k.params.len(), l.arguments.len());
            let mut arguments = Vec::new();
            for (p, a) in k.params.iter().zip(&l.arguments) {
                let written = matches!(p.kind, ParamKind::F32Out | ParamKind::U8Out | ParamKind::U32Out);
                arguments.push(match a {
                    GpuArgument::Array(i) if written && p.in_place => Argument::InOut(self.held[*i].clone()),
                    GpuArgument::Array(i) if written => Argument::Out(self.held[*i].len() as u64),
                    GpuArgument::Array(i) => Argument::In(self.held[*i].clone()),
                    GpuArgument::Numbers => Argument::In(bytes(&numbers)),
                    GpuArgument::Fault => Argument::InOut(self.fault.clone()),
                    GpuArgument::Count => Argument::Int(l.count as i32),
                });
            }
            let (grid, block, shared_bytes) = (k.grid.blocks(l.count).unwrap(), k.block, k.shared_bytes);
            let mut out = run(Job { kernel: l.kernel.clone(), grid, block, shared_bytes, arguments }).into_iter();
            for (p, a) in k.params.iter().zip(&l.arguments) {
                let written = matches!(p.kind, ParamKind::F32Out | ParamKind::U8Out | ParamKind::U32Out);
                match a {
                    GpuArgument::Array(i) if written => self.held[*i] = out.next().unwrap(),
                    GpuArgument::Fault => self.fault = out.next().unwrap(),
                    _ => {}
                }
            }
            assert!(out.next().is_none());
        }
    }
}

fn with_gxx(u: &GpuUpdates, f: &mut dyn FnMut(Run<'_>)) {
    let kernels: Vec<_> = u
        .kernels()
        .iter()
        .map(|k| (k.name.clone(), k.params.iter().map(|p| ParamKind::c_type(p.kind)).collect()))
        .collect();
    let program = Program::new(&u.module.text, &kernels);
    f(&|job| {
        let sizes: Vec<usize> = job.arguments.iter().filter_map(Argument::written).collect();
        let mut bytes = program.bytes(&[job]);
        sizes.into_iter().map(|n| bytes.drain(..n).collect()).collect()
    });
}

/// False, with a loud message, where there is no NVRTC.
fn with_ptx(u: &GpuUpdates, f: &mut dyn FnMut(Run<'_>)) -> bool {
    let Some(built) = images(&u.module.text, &["compute_80"]).unwrap() else {
        assert!(std::env::var_os("SPC_NEEDS_NVRTC").is_none());
        spc_base::skipped("NO NVRTC: THE PTX OF TRAINING STEPS IS NOT TESTED");
        return false;
    };
    let ptx = Module::parse(std::str::from_utf8(&built.images[0].bytes).unwrap()).unwrap();
    f(&|job| {
        let (mut memory, mut given, mut written) = (Memory::default(), Vec::new(), Vec::new());
        for a in &job.arguments {
            given.push(match a {
                Argument::In(bytes) | Argument::InOut(bytes) => memory.alloc(bytes.clone()).unwrap(),
                Argument::Out(bytes) => memory.alloc(vec![0xff; *bytes as usize]).unwrap(),
                Argument::Int(n) => u64::from(*n as u32),
            });
            if let Some(n) = a.written() {
                written.push((given[given.len() - 1], n as u64));
            }
        }
        let (grid, block, shared_bytes) = (job.grid, job.block, job.shared_bytes);
        let how = Launch { grid, block, shared_bytes, arguments: &given, schedule: Schedule::ALL[1] };
        let c = launch(ptx.kernel(&job.kernel).unwrap(), &how, &mut memory).unwrap_or_else(|f| panic!("{f}"));
        assert_eq!(c.bank_conflicts, 0);
        written.iter().map(|(at, n)| memory.read(*at, 0..*n).unwrap().to_vec()).collect()
    });
    true
}

/// Runs rules on the CPU and by the kernels; the greatest relative difference of what the program reads after any step. 0: all bits
/// are the same.
fn differ(rules: &str, o: Optimiser, steps: u64) -> f32 {
    let plan = Compiler::new().compile_str(&program(rules)).unwrap().update_plan(o, steps).unwrap();
    let u = plan.on_gpu().unwrap();
    assert_eq!(u.left_out, [], "{rules}");
    let mut worst = 0f32;
    let mut go = |run: Run<'_>| {
        let mut random = Random(11);
        let mut params = random.all();
        let mut arrays = Arrays::new(&u, &params);
        let mut state =
            plan.start(&mut params.iter_mut().map(|(n, v)| (n.as_str(), &mut v[..])).collect::<Vec<_>>()).unwrap();
        arrays.step(&u, None, 0.0, run);
        for step in 0..steps - 1 {
            let (grads, rate) = (random.all(), 0.02 + 0.01 * (step % 3) as f32);
            let slopes: Vec<(&str, &[f32])> = grads.iter().map(|(n, v)| (n.as_str(), &v[..])).collect();
            let mut own: Vec<_> = params.iter_mut().map(|(n, v)| (n.as_str(), &mut v[..])).collect();
            plan.update(step, &mut own, &slopes, rate, &mut state).unwrap();
            arrays.set(&u, "grad", &grads);
            arrays.step(&u, Some(step), rate, run);
            assert_eq!(arrays.fault, [0; 4], "{rules}");
            for (a, got) in u.arrays.iter().zip(&arrays.held).filter(|(a, _)| a.name.starts_with("param/")) {
                for (i, (x, want)) in floats(got).into_iter().zip(&params[&a.weight]).enumerate() {
                    if x.to_bits() == want.to_bits() {
                        continue;
                    }
                    let far = (x - want).abs() / (want.abs() + 1e-3);
                    assert!(far <= 1e-4, "{rules}: {} [{i}] after step {step} is {x}, not {want}", a.name);
                    worst = worst.max(far.max(1e-9));
                }
            }
        }
        assert_eq!(u.weights().count(), SIZES.len());
    };
    with_gxx(&u, &mut go);
    with_ptx(&u, &mut go);
    worst
}

const ADAM: Optimiser = Optimiser::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
const SGD: Optimiser = Optimiser::Sgd { momentum: 0.9, weight_decay: 0.01 };

#[test]
fn updates_of_n_of_m_give_the_bits_of_the_cpu() {
    if !have_gxx() {
        return;
    }
    for (rules, o) in [
        ("require r: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste(lambda: 1e-2)", ADAM),
        ("require r: keep 1 of 8 of elements per tile(in: 8) on net.{w, v} via sr_ste()", SGD),
        ("require r: keep 9 of 32 of elements per tile(in: 32) on net.w via frozen()", ADAM),
        ("require r: keep 3 of 4 of elements per tile(in: 4) on net.v", SGD),
        (
            "require r: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()\ntrain main {
  loss: mean(f(noise.x)^2)   optimizer: sgd(lr: 0.1)   batch: 4   steps: 7
  phase warm 40% { }
  phase sparse 30% { apply r }
  phase heal 30% { apply r  freeze masks }
}
data noise from npy \"x.npy\" { x: f32[I] }",
            SGD,
        ),
    ] {
        assert_eq!(differ(rules, o, 7), 0.0, "{rules}");
    }
}

#[test]
fn updates_entry_by_entry_give_the_bits_of_the_cpu() {
    if !have_gxx() {
        return;
    }
    for (rules, o) in [
        ("", ADAM),
        ("penalize p: 0.3 * l1() of elements on net.{w, b}\npenalize q: 0.02 * l0() of elements on net.v", SGD),
        ("penalize p: 0.1 * mcp(0.5) of elements on net.w\npenalize q: 0.1 * scad(0.3) of elements on net.v", SGD),
        ("penalize p: 0.1 * cel0(0.1, 1) of elements on net.b", ADAM),
        ("require r: keep all of elements per tensor on net.{w, b} via subnetwork(dense: 3, tolerance: 0.05)", SGD),
    ] {
        assert_eq!(differ(rules, o, 7), 0.0, "{rules}");
    }
    // Powers are functions of the device's own.
    for rules in [
        "require r: keep 2 of 4 of elements per tile(in: 4) on net.w via mdgf()",
        "require r: keep 2 of 4 of elements per tile(in: 4) on net.w via adams(refresh: 2)",
        "penalize p: 0.1 * lhalf() of elements on net.w",
    ] {
        assert!(differ(rules, SGD, 7) <= 1e-5, "{rules}");
    }
}

#[test]
fn norms_of_groups_agree_with_the_cpu() {
    if !have_gxx() {
        return;
    }
    for rules in [
        "group row = tile(out: 1, in: all)\npenalize p: 0.6 * group_l2() of row on net.w",
        "group block = tile(out: 8, in: 16)\npenalize p: 0.5 * group_l2() of block on net.w\npenalize q: 0.1 * l1() of elements on net.b",
        "group block = tile(out: 2, in: 4)\npenalize p: 0.4 * group_l2() of block on net.{w, v}",
        "group block = tile(out: 4, in: 8)\npenalize p: 0.9 * mcp(0.9) of block on net.w",
    ] {
        assert!(differ(rules, SGD, 7) <= 1e-5, "{rules}");
    }
}

#[test]
fn a_weight_that_is_not_finite_is_a_fault() {
    if !have_gxx() {
        return;
    }
    for rules in [
        "require r: keep 2 of 4 of elements per tile(in: 4) on net.v via sr_ste()",
        "group block = tile(out: 2, in: 4)\npenalize p: 0.4 * group_l2() of block on net.v",
    ] {
        let plan = Compiler::new().compile_str(&program(rules)).unwrap().update_plan(SGD, 9).unwrap();
        let u = plan.on_gpu().unwrap();
        let number = u.weights().position(|w| w == "net.v").unwrap() as u8 + 1;
        with_gxx(&u, &mut |run| {
            for (bad, huge) in [(f32::NAN, false), (f32::INFINITY, false), (1e30, true)] {
                let mut random = Random(5);
                let mut arrays = Arrays::new(&u, &random.all());
                arrays.step(&u, None, 0.0, run);
                let mut grads = random.all();
                grads.get_mut("net.v").unwrap()[77] = bad;
                arrays.set(&u, "grad", &grads);
                arrays.step(&u, Some(0), 0.1, run);
                arrays.step(&u, Some(1), 0.1, run);
                assert_eq!(arrays.fault[0], if huge { 0 } else { number }, "{rules}: {bad}");
            }
        });
    }
}

#[test]
fn what_has_no_form_is_left_out_with_its_weights() {
    let of = |rules: &str, o| {
        let plan = Compiler::new().compile_str(&program(rules)).unwrap().update_plan(o, 9).unwrap();
        let u = plan.on_gpu().unwrap();
        let weights: Vec<String> = u.weights().map(String::from).collect();
        let left: Vec<_> = u.left_out.iter().map(|l| (l.rule.clone(), l.reason.clone())).collect();
        (weights, left, u)
    };
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    let (weights, left, u) = of(
        "require top: keep 10% of elements per tensor on net.w via sr_ste()\nrequire nm: keep 2 of 4 of elements per tile(in: 4) on net.v via sr_ste()",
        SGD,
    );
    assert_eq!(weights, ["net.v", "net.b"]);
    assert_eq!(left, [pair("top", "an amount over whole tensors")]);
    assert_eq!(u.left_out[0].weights, ["net.w"]);
    assert_eq!(u.observers, ["top.sad", "nm.sad"]);
    // A rule that shares a weight with one that is left out is, too.
    let (weights, left, _) = of(
        "require top: keep 10% of elements per tensor on net.w via sr_ste()\npenalize p: 0.1 * l1() of elements on net.{w, v}",
        SGD,
    );
    assert_eq!(weights, ["net.b"]);
    assert!(left[1].1.starts_with("it acts on weights of a rule that is left out"), "{left:?}");
    let (_, left, _) = of("group block = tile(out: 2, in: 4)\npenalize p: 0.4 * group_l2() of block on net.w", ADAM);
    assert_eq!(left[0].1, "norms in the metric of the optimiser");
    let (_, left, _) =
        of("group block = tile(out: 2, in: 4)\npenalize p: 0.4 * wgsef(keep: 40%) of block on net.w", SGD);
    assert!(left[0].1.contains("all groups together"), "{left:?}");
    let (weights, left, u) = of("require top: keep 10% of elements per tensor on net.{w, v, b} via sr_ste()", SGD);
    assert!(weights.is_empty() && left.len() == 1 && u.kernels().is_empty(), "{weights:?} {left:?}");
    assert!(u.step(None, &|_| 0.1).unwrap().0.is_empty() && u.step(Some(3), &|_| 0.1).unwrap().0.is_empty());
    let plan = Compiler::new().compile_str(&program("")).unwrap();
    let outside = Optimiser::Outside { moments: 1, square: None };
    let said = plan.update_plan(outside, 9).unwrap().on_gpu().err().unwrap().to_string();
    assert!(said.contains("SP0006") && said.contains("on a GPU"), "{said}");
    let u = plan.update_plan(SGD, 9).unwrap().on_gpu().unwrap();
    assert!(u.step(Some(8), &|_| 0.1).is_ok() && u.step(Some(9), &|_| 0.1).is_err());
}

#[test]
fn compiling_for_a_gpu_writes_the_steps() {
    let f = Folder::new();
    let rules = "require nm: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()
require top: keep cubic(100% -> 10%, 10%..70%) of elements per tensor on net.v via sr_ste()
penalize p: 0.1 * l1() of elements on net.b";
    f.text("net.sp", &program(rules).replace("model net {", "model net from safetensors \"m.safetensors\" {"));
    let all = Random(3).all();
    f.weights(
        "m.safetensors",
        &[("w", &[24, 32], &all["net.w"]), ("v", &[10, 24], &all["net.v"]), ("b", &[25], &all["net.b"])],
    );
    let compile = |what: &Compile| session(Options::default(), |s| compile_file(s, &f.path("net.sp"), what)).0;
    let target = Some("cuda".to_string());
    let text =
        compile(&Compile { target: target.clone(), out: Some(f.path("out")), ..Compile::default() }).unwrap().text;
    assert!(text.contains("training steps on the GPU: 2 weights"), "{text}");
    assert!(text.contains("top") && text.contains("an amount over whole tensors"), "{text}");
    let manifest = std::fs::read_to_string(f.path("out/manifest.json")).unwrap();
    let m: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let t = &m["training"];
    assert_eq!((t["steps"].as_u64(), t["optimizer"]["name"].as_str()), (Some(1000), Some("sgd")));
    assert_eq!(t["host"][0]["rule"], "top");
    let kernels: Vec<&str> = t["kernels"].as_array().unwrap().iter().map(|k| k["name"].as_str().unwrap()).collect();
    let cu = std::fs::read_to_string(f.path("out/training-steps/kernels.cu")).unwrap();
    for k in &kernels {
        assert!(cu.contains(&format!(" {k}(")), "{k}");
    }
    assert!(kernels.iter().any(|k| k.starts_with("kept_of_4")), "{kernels:?}");
    for d in t["do"].as_array().unwrap() {
        for l in d["launches"].as_array().unwrap() {
            assert!(kernels.contains(&l["kernel"].as_str().unwrap()));
        }
    }
    assert!(m["files"].as_object().unwrap().contains_key("training-steps/kernels.cu"));
    // The text alone, after that of the functions.
    let what = Compile { target: target.clone(), emit: vec![Stage::Cuda], ..Compile::default() };
    assert!(compile(&what).unwrap().text.ends_with(&cu));
    let training = Training { optimiser: Some(Optimiser::ADAM), steps: Some(40) };
    let what = Compile { target, out: Some(f.path("adam")), training, ..Compile::default() };
    compile(&what).unwrap();
    let m: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(f.path("adam/manifest.json")).unwrap()).unwrap();
    assert_eq!(
        (m["training"]["steps"].as_u64(), m["training"]["optimizer"]["name"].as_str()),
        (Some(40), Some("adamw"))
    );
    let what = Compile { training, out: Some(f.path("cpu")), ..Compile::default() };
    assert_eq!(failed(compile(&what)), (vec!["SP0107".into()], 2));
}
