//! Checks and times the kernels of tensor cores and of updates on a GPU. `tests/gpu/build.sh` and `tests/gpu/run.sh` call it.
//!
//!     gpu build FOLDER [O K o k]       writes the images; needs NVRTC, no GPU
//!     gpu orders FOLDER [o k N,N,..]   multiplies by columns of the identity: every weight must come out at its place
//!     gpu check FOLDER [o k N,N,..]    compares every kernel with sums in f64
//!     gpu time FOLDER [O K N,N,..]     times them
//!     gpu updates FOLDER [S]           checks and times the updates of weights of S x S
//!     gpu table TIMES PEERS            the table of what `time`, `updates` and `tests/gpu/peers.py` printed
//!     gpu layouts .                    the layouts that are checked and timed
//!
//! `SPC_GPU_ARCHS=compute_80,..` builds other images than those for compute_80, sm_80, sm_90 and sm_90a; `SPC_GPU_ROUNDS` is
//! how often each is timed; `SPC_GPU_ONLY=mma24` takes one layout only. What fails is said with its layout, and the others go on.
//!
//! Without sizes, 14336 x 4096 is timed for 1, 16, 64, 1024 and 8192 tokens, 200 x 530 is checked for 1, 20, 50, 150 and 300,
//! and updates are those of 8192 x 8192.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used)]
mod cases;
mod table;
mod updates;

use cases::{Random, numbered, weights};
use spc_cuda::nvrtc::{DEFAULT_ARCHS, Image, ImageKind, images};
use spc_cuda::runtime::{Device, DeviceProgram, DriverSearch, ImageChoice, Weights};
use spc_cuda::{Activations, CudaModule, EmitOptions, emit_with};
use spc_formats::{Layout, Validated, pack, validate};
use spc_ir::{DType, Dim, Graph, Op, Plan, Sym, SymId, Type};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

type Res<T> = Result<T, Box<dyn std::error::Error>>;

/// Copies of a weight, used in turn, so that none is in a cache when its turn comes.
const COPIES: usize = 4;
const CHECKED: (usize, usize) = (200, 530);
const TIMED: (usize, usize) = (14_336, 4096);

/// What is packed, and the share of blocks or groups that is kept.
const CASES: [(&str, f64); 8] = [
    ("mma24", 0.5),
    ("mma32(128)", 1.0),
    ("mma32(64)", 0.25),
    ("mma32(32)", 0.25),
    ("mma1(64)", 0.25),
    ("vnm(64,8)", 0.25),
    ("kept4(32,16)", 0.5),
    ("csr", 0.05),
];

/// Layouts that are checked and not timed: with those above there is one of every family of kernels.
const ALSO_CHECKED: [(&str, f64); 9] = [
    ("dense(16)", 1.0),
    ("vx1(16)", 0.25),
    ("bsr(16,16)", 0.25),
    ("nm(2,4)", 0.5),
    ("q4(32,16)", 1.0),
    ("kept8(32,16)", 0.5),
    ("i8(16)", 0.25),
    ("mma24_f16", 0.5),
    ("vnm_f16(64,8)", 0.25),
];

fn cases() -> impl Iterator<Item = (&'static str, f64)> {
    let only = std::env::var("SPC_GPU_ONLY").unwrap_or_default();
    CASES.into_iter().filter(move |c| only.is_empty() || only == c.0)
}

/// Whether it went well; what did not is said.
fn went_well(layout: &str, done: Res<bool>) -> bool {
    done.unwrap_or_else(|e| {
        println!("{layout}: FAILED: {e}");
        false
    })
}

/// Whether all went well, none left out after one that did not.
fn all(done: impl Iterator<Item = bool>) -> bool {
    let mut good = true;
    done.for_each(|d| good &= d);
    good
}

/// `copies` linears of one input.
fn module(layout: &str, o: usize, k: usize, copies: usize, activations: Activations) -> Res<(Graph, CudaModule)> {
    let mut g = Graph::new("gpu");
    g.syms.push(Sym { name: "N".into(), lo: 1, hi: 1 << 20 });
    let ty = Type::new(DType::F32, vec![Dim::free("N", SymId(0)), Dim::fixed("K", k as u64)]);
    let x = g.add(Op::Input { name: "x".into(), ty }, &[])?;
    for i in 0..copies {
        let ty = Type::new(DType::F32, vec![Dim::fixed("O", o as u64), Dim::fixed("K", k as u64)]);
        let w = g.add(Op::Weight { name: format!("w{i}"), ty }, &[])?;
        let y = g.add(Op::Linear { bias: false, act: None }, &[x, w])?;
        g.outputs.push((format!("y{i}"), y));
    }
    let plan = Plan::all_dense(&g, "cuda", layout)?;
    let module = emit_with(&g, &plan, &EmitOptions { activations, warp_groups_from: 0 })?;
    Ok((g, module))
}

struct One(Validated);

impl Weights for One {
    fn packed(&self, _: &str, _: &str) -> Option<&Validated> {
        Some(&self.0)
    }
    fn plain(&self, _: &str) -> Option<&[f32]> {
        None
    }
}

fn name(layout: &str, o: usize, k: usize, activations: Activations) -> String {
    let word: String = layout.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("{word}{o}x{k}t{}", activations.terms())
}

/// Files of images: name, architecture and kind.
const FILES: [(&str, &str, ImageKind); 5] = [
    ("kernels.ptx", "compute_80", ImageKind::Ptx),
    ("compute_90a.ptx", "compute_90a", ImageKind::Ptx),
    ("sm_80.cubin", "sm_80", ImageKind::Cubin),
    ("sm_90.cubin", "sm_90", ImageKind::Cubin),
    ("sm_90a.cubin", "sm_90a", ImageKind::Cubin),
];

/// Images of a text, which are called `name`.
fn write(folder: &Path, name: &str, text: &str, own: &[&str]) -> Res<()> {
    let named = std::env::var("SPC_GPU_ARCHS").unwrap_or_default();
    let mut archs: Vec<&str> = named.split(',').filter(|a| !a.is_empty()).collect();
    if archs.is_empty() {
        archs = DEFAULT_ARCHS.iter().chain(own).copied().collect();
    }
    for i in images(text, &archs)?.ok_or("there is no NVRTC")?.images {
        std::fs::write(folder.join(format!("{name}.{}", i.file)), i.bytes)?;
    }
    Ok(())
}

/// The images that were written.
fn read(folder: &Path, name: &str) -> Vec<Image> {
    let mut found = Vec::new();
    for (file, arch, kind) in FILES {
        if let Ok(bytes) = std::fs::read(folder.join(format!("{name}.{file}"))) {
            let (arch, file) = (arch.to_string(), file.to_string());
            found.push(Image { arch, kind, file, bytes, ptx_version: None, lowered_from: None });
        }
    }
    found
}

fn build(folder: &Path, sizes: (usize, usize), copies: usize, also: &[(&str, f64)]) -> Res<()> {
    std::fs::create_dir_all(folder)?;
    for (layout, _) in CASES.iter().chain(also) {
        // Times are those of rounded activations.
        let both = [Activations::Bf16, Activations::Exact];
        for activations in both.into_iter().take(if copies > 1 { 1 } else { 2 }) {
            let (_, m) = module(layout, sizes.0, sizes.1, copies, activations)?;
            write(folder, &name(layout, sizes.0, sizes.1, activations), &m.text, &m.own_archs())?;
        }
    }
    Ok(())
}

/// A case on the device, with its weights and their bytes.
struct Case {
    program: DeviceProgram,
    weights: Vec<f32>,
    bytes: u64,
}

fn load(
    (device, folder): (&Arc<Device>, &Path),
    (layout, kept): (&str, f64),
    (o, k): (usize, usize),
    copies: usize,
    activations: Activations,
    change: fn(&mut [f32], usize),
) -> Res<Case> {
    let (g, m) = module(layout, o, k, copies, activations)?;
    let found = read(folder, &name(layout, o, k, activations));
    let layout: Layout = layout.parse().map_err(|r: spc_formats::Refusal| r.0)?;
    let mut weights = weights(layout, o, k, kept);
    change(&mut weights, k);
    let packed = pack(&layout, o, k, &weights).map_err(|r| r.0)?;
    let bytes = packed.bytes();
    let given = One(validate(packed)?);
    let program = DeviceProgram::new(device, &g, &m, &found, ImageChoice::from_env()?, &given)?;
    Ok(Case { program, weights, bytes })
}

/// What computes a linear for `n` tokens: the family of its kernel.
fn family(program: &DeviceProgram, n: usize) -> String {
    let of = program.kernels().find(|k| k.family != "terms" && k.family != "parts" && k.is_for(n as u64));
    of.map_or_else(|| "nothing".into(), |k| k.family.clone())
}

fn input(n: usize, k: usize) -> (Vec<f32>, BTreeMap<String, Vec<u8>>) {
    let mut random = Random(77);
    let x: Vec<f32> = (0..n * k).map(|_| (random.unit() * 2.0 - 1.0) as f32).collect();
    let bytes = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    (x, BTreeMap::from([("x".to_string(), bytes)]))
}

/// Whether products by columns of the identity are the weights: the order of fragments, positions and rows of shared memory. What
/// differs is said with its place.
fn orders(at: (&Arc<Device>, &Path), sizes: (usize, usize), tokens: &[usize]) -> Res<bool> {
    let cases = cases().filter(|c| !c.0.starts_with("kept"));
    Ok(all(cases.map(|case| went_well(case.0, order(at, case, sizes, tokens)))))
}

fn order(at: (&Arc<Device>, &Path), case: (&str, f64), sizes: (usize, usize), tokens: &[usize]) -> Res<bool> {
    let ((o, k), mut good) = (sizes, true);
    let Case { program, weights, .. } = load(at, case, sizes, 1, Activations::Bf16, numbered)?;
    for n in tokens.iter().copied() {
        let mut wrong = None;
        for first in (0..k).step_by(n.max(1)).take(64) {
            let mut x = vec![0f32; n * k];
            (0..n).for_each(|i| x[i * k + (first + i) % k] = 1.0);
            let bytes = x.iter().flat_map(|v| v.to_le_bytes()).collect();
            let y = program.call(&[n as u64], &BTreeMap::from([("x".to_string(), bytes)]))?;
            for (i, got) in y[0].chunks_exact(4).enumerate() {
                let (row, column) = (i % o, (first + i / o) % k);
                let (got, want) = (f32::from_le_bytes(got.try_into()?), weights[row * k + column]);
                if got != want && wrong.is_none() {
                    wrong = Some(format!("WRONG: {got} where {want} is, row {row}, column {column}"));
                }
            }
        }
        good &= wrong.is_none();
        let verdict = wrong.as_deref().unwrap_or("in order");
        println!("{:<12} {n:>3} tokens by {}: {verdict}", case.0, family(&program, n));
    }
    Ok(good)
}

fn check(at: (&Arc<Device>, &Path), sizes: (usize, usize), tokens: &[usize]) -> Res<bool> {
    let also = ALSO_CHECKED.into_iter().filter(|_| std::env::var_os("SPC_GPU_ONLY").is_none());
    Ok(all(cases().chain(also).map(|case| went_well(case.0, compare(at, case, sizes, tokens)))))
}

fn compare(at: (&Arc<Device>, &Path), case: (&str, f64), sizes: (usize, usize), tokens: &[usize]) -> Res<bool> {
    let ((o, k), mut good) = (sizes, true);
    for activations in [Activations::Bf16, Activations::Exact] {
        let Case { program, weights: w, .. } = load(at, case, sizes, 1, activations, |_, _| {})?;
        for n in tokens.iter().copied() {
            let (x, given) = input(n, k);
            let y = program.call(&[n as u64], &given)?;
            let mut worst = 0f64;
            for (i, got) in y[0].chunks_exact(4).enumerate() {
                let (x, w) = (&x[i / o * k..][..k], &w[i % o * k..][..k]);
                let (mut sum, mut size) = (0f64, 0f64);
                for (x, w) in x.iter().zip(w) {
                    sum += f64::from(*x) * f64::from(*w);
                    size += (f64::from(*x) * f64::from(*w)).abs();
                }
                let got = f64::from(f32::from_le_bytes(got.try_into().unwrap_or_default()));
                let error = (got - sum).abs() / size.max(f64::MIN_POSITIVE);
                worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
            }
            let bound = if activations == Activations::Exact { 2e-4 } else { 4.2e-3 };
            let verdict = if worst <= bound { "ok" } else { "WRONG" };
            good &= worst <= bound;
            let by = family(&program, n);
            println!(
                "{:<12} {activations:?}, {n:>3} tokens by {by}: error {worst:.1e} of the sum of products, {verdict}",
                case.0
            );
        }
    }
    Ok(good)
}

/// How often each is timed.
fn rounds(default: usize) -> Res<usize> {
    Ok(match std::env::var("SPC_GPU_ROUNDS") {
        Ok(rounds) => rounds.parse()?,
        Err(_) => default,
    })
}

/// The middle of times, in microseconds for each of the copies.
fn middle(mut times: Vec<f32>) -> f64 {
    times.sort_by(f32::total_cmp);
    f64::from(times[times.len() / 2]) * 1e3 / COPIES as f64
}

fn time(at: (&Arc<Device>, &Path), (o, k): (usize, usize), tokens: &[usize]) -> Res<bool> {
    println!(
        "{o} x {k}, {COPIES} copies of each weight in turn; microseconds a linear, activations rounded to bf16 before it"
    );
    let one = |case: (&str, f64)| -> Res<bool> {
        let Case { program, bytes, .. } = load(at, case, (o, k), COPIES, Activations::Bf16, |_, _| {})?;
        let of = |n: usize| -> Res<bool> {
            let (_, given) = input(n, k);
            let us = middle(program.rounds(&[n as u64], &given, rounds(if n > 64 { 20 } else { 100 })?)?);
            let rate = bytes as f64 / us / 1e6;
            println!("spc {:<24} {n:>5} tokens {us:>9.1} us {rate:>7.2} TB/s of weights", case.0);
            Ok(true)
        };
        Ok(all(tokens.iter().map(|n| went_well(&format!("{}, {n}", case.0), of(*n)))))
    };
    Ok(all(cases().map(|case| went_well(case.0, one(case)))))
}

fn main() -> ExitCode {
    match done() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("gpu: {e}");
            ExitCode::FAILURE
        }
    }
}

fn done() -> Res<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (what, folder) = match &args[..] {
        [what, folder, ..] => (what.as_str(), Path::new(folder)),
        _ => return Err("usage: gpu build|orders|check|time|updates FOLDER [O K N,N,..]".into()),
    };
    let pair = |at: usize, default| match args.get(at..at + 2) {
        Some([o, k]) => Ok::<_, std::num::ParseIntError>((o.parse()?, k.parse()?)),
        _ => Ok(default),
    };
    if what == "build" {
        build(folder, pair(4, CHECKED)?, 1, &ALSO_CHECKED)?;
        build(folder, pair(2, TIMED)?, COPIES, &[])?;
        let text = updates::module(updates::SIZE)?.text;
        return write(folder, "updates", &text, &[]);
    }
    if what == "table" {
        let peers = args.get(2).ok_or("usage: gpu table TIMES PEERS")?;
        print!("{}", table::table(&std::fs::read_to_string(folder)?, &std::fs::read_to_string(peers)?));
        return Ok(());
    }
    if what == "layouts" {
        CASES.iter().for_each(|c| println!("{}", c.0));
        return Ok(());
    }
    let tokens = |default: &[usize]| match args.get(4) {
        Some(list) => list.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>(),
        None => Ok(default.to_vec()),
    };
    let device = Device::open(&DriverSearch::from_env())?;
    println!("{device:?}");
    let at = (&device, folder);
    let checked = [1, 20, 50, 150, 300];
    match what {
        "orders" if orders(at, pair(2, CHECKED)?, &tokens(&checked)?)? => Ok(()),
        "orders" => Err("weights come out at other places: the layouts are not the device's".into()),
        "check" if check(at, pair(2, CHECKED)?, &tokens(&checked)?)? => Ok(()),
        "check" => Err("the device computes something else".into()),
        "time" if time(at, pair(2, TIMED)?, &tokens(&[1, 16, 64, 1024, 8192])?)? => Ok(()),
        "time" => Err("not everything was timed".into()),
        "updates" => updates::run(at, args.get(2).map_or(Ok(updates::SIZE), |s| s.parse())?),
        other => Err(format!("`{other}` is not build, orders, check, time, updates, table or layouts").into()),
    }
}
