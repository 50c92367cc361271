//! Checks and times the kernels of tensor cores on a GPU. `tests/gpu/build.sh` and `tests/gpu/run.sh` call it.
//!
//!     gpu build FOLDER [O K o k]       writes the images; needs NVRTC, no GPU
//!     gpu check FOLDER [o k N,N,..]    compares every kernel with sums in f64; the layouts of fragments are right if it passes
//!     gpu time FOLDER [O K N,N,..]     times them
//!
//! `SPC_GPU_ARCHS=compute_80,..` builds other images than those for compute_80, sm_80 and sm_90; `SPC_GPU_ROUNDS` is how
//! often each is timed.
//!
//! Without sizes, 14336 x 4096 is timed for 1, 16, 64, 1024 and 8192 tokens, and 200 x 530 is checked for 1, 20, 50 and 150.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used)]
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
const CASES: [(&str, f64); 7] = [
    ("mma24", 0.5),
    ("mma32(128)", 1.0),
    ("mma32(64)", 0.25),
    ("mma32(32)", 0.25),
    ("mma1(64)", 0.25),
    ("vnm(64,8)", 0.25),
    ("kept4(32,16)", 0.5),
];

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn value(&mut self) -> f32 {
        let v = (self.unit() * 2.0 - 1.0) as f32;
        // A bf16 number, never zero.
        f32::from_bits((v.to_bits() & 0xffff_0000) | 0x0001_0000)
    }
}

fn weights(layout: Layout, o: usize, k: usize, kept: f64) -> Vec<f32> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut w: Vec<f32> = (0..o * k).map(|_| random.value()).collect();
    match layout {
        Layout::Mma32 { r } if kept < 1.0 => {
            let across = k.div_ceil(32);
            let draws: Vec<bool> = (0..o.div_ceil(r as usize) * across).map(|_| random.unit() < kept).collect();
            for (i, w) in w.iter_mut().enumerate() {
                if !draws[i / k / r as usize * across + i % k / 32] {
                    *w = 0.0;
                }
            }
        }
        Layout::Mma1 { r } => {
            let draws: Vec<bool> = (0..o.div_ceil(r as usize) * k).map(|_| random.unit() < kept).collect();
            for (i, w) in w.iter_mut().enumerate() {
                if !draws[i / k / r as usize * k + i % k] {
                    *w = 0.0;
                }
            }
        }
        // Of each M columns four that V rows share, and two of those in a row.
        Layout::Vnm { v, m } => {
            let (v, m) = (v as usize, m as usize);
            let first: Vec<usize> =
                (0..o.div_ceil(v) * k.div_ceil(m)).map(|_| (random.unit() * (m - 3) as f64) as usize).collect();
            for (i, w) in w.iter_mut().enumerate() {
                let (row, col) = (i / k, i % k);
                let at = (col % m).wrapping_sub(first[row / v * k.div_ceil(m) + col / m]);
                if at >= 4 || (at + row) % 4 >= 2 {
                    *w = 0.0;
                }
            }
        }
        // Groups of 32 codes, all of one scale, so that its greatest code tells it.
        Layout::Groups { group, .. } => {
            for row in w.chunks_mut(k) {
                for g in row.chunks_mut(group as usize) {
                    let keep = random.unit() < kept;
                    for (i, w) in g.iter_mut().enumerate() {
                        let code = if i == 0 { 7.0 } else { (*w * 7.0).round() };
                        *w = if keep { code * 0.125 } else { 0.0 };
                    }
                }
            }
        }
        Layout::Mma24 => {
            for row in w.chunks_mut(k) {
                for group in row.chunks_mut(4) {
                    let first = (random.unit() * 4.0) as usize;
                    let second = (first + 1 + (random.unit() * 3.0) as usize) % 4;
                    for (i, w) in group.iter_mut().enumerate() {
                        if i != first && i != second {
                            *w = 0.0;
                        }
                    }
                }
            }
        }
        _ => {}
    }
    w
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
    let module = emit_with(&g, &plan, &EmitOptions { activations, ..EmitOptions::default() })?;
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

fn build(folder: &Path, sizes: (usize, usize), copies: usize) -> Res<()> {
    std::fs::create_dir_all(folder)?;
    let named = std::env::var("SPC_GPU_ARCHS").unwrap_or_default();
    let named: Vec<&str> = named.split(',').filter(|a| !a.is_empty()).collect();
    let archs = if named.is_empty() { DEFAULT_ARCHS.to_vec() } else { named };
    for (layout, _) in CASES {
        for activations in [Activations::Bf16, Activations::Exact] {
            let (_, m) = module(layout, sizes.0, sizes.1, copies, activations)?;
            let built = images(&m.text, &archs)?.ok_or("there is no NVRTC")?;
            for i in built.images {
                let file = format!("{}.{}", name(layout, sizes.0, sizes.1, activations), i.file);
                std::fs::write(folder.join(file), i.bytes)?;
            }
        }
    }
    Ok(())
}

fn load(
    device: &Arc<Device>,
    folder: &Path,
    (layout, kept): (&str, f64),
    (o, k): (usize, usize),
    copies: usize,
    activations: Activations,
) -> Res<(DeviceProgram, Vec<f32>, u64)> {
    let (g, m) = module(layout, o, k, copies, activations)?;
    let mut found = Vec::new();
    for (file, arch, kind) in [
        ("kernels.ptx", "compute_80", ImageKind::Ptx),
        ("sm_80.cubin", "sm_80", ImageKind::Cubin),
        ("sm_90.cubin", "sm_90", ImageKind::Cubin),
    ] {
        if let Ok(bytes) = std::fs::read(folder.join(format!("{}.{file}", name(layout, o, k, activations)))) {
            let (arch, file) = (arch.to_string(), file.to_string());
            found.push(Image { arch, kind, file, bytes, ptx_version: None, lowered_from: None });
        }
    }
    let layout: Layout = layout.parse().map_err(|r: spc_formats::Refusal| r.0)?;
    let w = weights(layout, o, k, kept);
    let packed = pack(&layout, o, k, &w).map_err(|r| r.0)?;
    let bytes = packed.bytes();
    let given = One(validate(packed)?);
    let program = DeviceProgram::new(device, &g, &m, &found, ImageChoice::from_env()?, &given)?;
    Ok((program, w, bytes))
}

fn input(n: usize, k: usize) -> (Vec<f32>, BTreeMap<String, Vec<u8>>) {
    let mut random = Random(77);
    let x: Vec<f32> = (0..n * k).map(|_| (random.unit() * 2.0 - 1.0) as f32).collect();
    let bytes = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    (x, BTreeMap::from([("x".to_string(), bytes)]))
}

fn check(device: &Arc<Device>, folder: &Path, (o, k): (usize, usize), tokens: &[usize]) -> Res<bool> {
    let mut good = true;
    for case in CASES {
        for activations in [Activations::Bf16, Activations::Exact] {
            let (program, w, _) = load(device, folder, case, (o, k), 1, activations)?;
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
                println!(
                    "{:<12} {activations:?}, {n:>3} tokens: error {worst:.1e} of the sum of products, {verdict}",
                    case.0
                );
            }
        }
    }
    Ok(good)
}

fn time(device: &Arc<Device>, folder: &Path, (o, k): (usize, usize), tokens: &[usize]) -> Res<()> {
    println!(
        "{o} x {k}, {COPIES} copies of each weight in turn; microseconds a linear, activations rounded to bf16 before it"
    );
    for case in CASES {
        let (program, _, bytes) = load(device, folder, case, (o, k), COPIES, Activations::Bf16)?;
        for n in tokens {
            let (_, given) = input(*n, k);
            let rounds = match std::env::var("SPC_GPU_ROUNDS") {
                Ok(rounds) => rounds.parse()?,
                Err(_) => {
                    if *n > 64 {
                        20
                    } else {
                        100
                    }
                }
            };
            let mut times = program.rounds(&[*n as u64], &given, rounds)?;
            times.sort_by(f32::total_cmp);
            let ms = times[times.len() / 2] / COPIES as f32;
            let rate = bytes as f64 / f64::from(ms) / 1e9;
            println!("spc {:<12} {n:>5} tokens {:>9.1} us {rate:>7.2} TB/s of weights", case.0, f64::from(ms) * 1e3);
        }
    }
    Ok(())
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
        _ => return Err("usage: gpu build|check|time FOLDER [O K N,N,..]".into()),
    };
    let pair = |at: usize, default| match args.get(at..at + 2) {
        Some([o, k]) => Ok::<_, std::num::ParseIntError>((o.parse()?, k.parse()?)),
        _ => Ok(default),
    };
    if what == "build" {
        build(folder, pair(4, CHECKED)?, 1)?;
        return build(folder, pair(2, TIMED)?, COPIES);
    }
    let tokens = |default: &[usize]| match args.get(4) {
        Some(list) => list.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>(),
        None => Ok(default.to_vec()),
    };
    let device = Device::open(&DriverSearch::from_env())?;
    println!("{device:?}");
    match what {
        "check" => {
            if check(&device, folder, pair(2, CHECKED)?, &tokens(&[1, 20, 50, 150])?)? {
                Ok(())
            } else {
                Err("the device computes something else: the layouts are not its own".into())
            }
        }
        "time" => time(&device, folder, pair(2, TIMED)?, &tokens(&[1, 16, 64, 1024, 8192])?),
        other => Err(format!("`{other}` is not build, check or time").into()),
    }
}
