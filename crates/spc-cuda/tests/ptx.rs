//! The PTX that NVRTC makes of the emitted text, run by the interpreter under all its schedules: results against loops in
//! f64, and counts against budgets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#[path = "support/cases.rs"]
mod cases;
mod support;

use cases::{Act, Case, Linear, Pattern, Random, graph};
use spc_cuda::nvrtc::{NOT_FOUND_HELP, images};
use spc_cuda::{Activations, CudaModule, EmitOptions, KernelInfo, dealt, emit_with};
use spc_formats::Array;
use spc_ptx::{Counters, Launch, Memory, Module, Schedule, launch};
use std::collections::BTreeMap;
use std::fmt::Write;
use support::{Argument, Job};

fn case(layout: &str, outputs: usize, inputs: usize, pattern: Pattern, act: Act, bias: bool, tokens: &[usize]) -> Case {
    let layout = layout.parse().unwrap();
    Case { layout, outputs, inputs, pattern, bias, act, separate: false, tokens: tokens.to_vec() }
}

/// The module's PTX; `None`, with a loud message, where there is no NVRTC. Where `SPC_NEEDS_NVRTC` is set the test then fails.
fn compiled(module: &CudaModule, arch: &str) -> Option<Module> {
    let Some(built) = images(&module.text, &[arch]).unwrap() else {
        let message = format!("NO NVRTC: THE PTX OF THE EMITTED TEXT IS NOT TESTED; {NOT_FOUND_HELP}");
        assert!(std::env::var_os("SPC_NEEDS_NVRTC").is_none(), "{message}");
        spc_base::skipped(&message);
        return None;
    };
    Some(Module::parse(std::str::from_utf8(&built.images[0].bytes).unwrap()).unwrap())
}

/// The written buffers, and what was counted. All schedules must give the same of both.
fn run(module: &Module, job: &Job) -> (Vec<Vec<u8>>, Counters) {
    let mut first: Option<(Vec<Vec<u8>>, Counters)> = None;
    for schedule in Schedule::ALL {
        let mut memory = Memory::default();
        let mut arguments = Vec::new();
        let mut written = Vec::new();
        for a in &job.arguments {
            arguments.push(match a {
                Argument::In(bytes) => memory.alloc(bytes.clone()).unwrap(),
                Argument::Out(bytes) => {
                    let at = memory.alloc(vec![0xff; *bytes as usize]).unwrap();
                    written.push((at, *bytes));
                    at
                }
                Argument::InOut(_) => panic!("no kernel of a program updates in place"),
                Argument::Int(n) => u64::from(*n as u32),
            });
        }
        let (grid, block, shared_bytes) = (job.grid, job.block, job.shared_bytes);
        let how = Launch { grid, block, shared_bytes, arguments: &arguments, schedule };
        let kernel = module.kernel(&job.kernel).unwrap_or_else(|| panic!("no kernel {}", job.kernel));
        let counters = launch(kernel, &how, &mut memory).unwrap_or_else(|f| panic!("{schedule:?}: {f}"));
        let out: Vec<Vec<u8>> = written.iter().map(|(at, n)| memory.read(*at, 0..*n).unwrap().to_vec()).collect();
        match &first {
            None => first = Some((out, counters)),
            Some((bytes, _)) => assert!(*bytes == out, "{}: {schedule:?} gives another result", job.kernel),
        }
    }
    first.unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Runs each case on its numbers of tokens; counts by kernel.
fn check(cases: Vec<Case>, activations: Activations) -> Option<Vec<(KernelInfo, usize, Counters)>> {
    check_of(cases, activations, "compute_80")
}

/// As [`check`], with PTX of an architecture; every 2:4 matrix has a kernel for warp groups.
fn check_of(cases: Vec<Case>, activations: Activations, arch: &str) -> Option<Vec<(KernelInfo, usize, Counters)>> {
    let linears: Vec<Linear> = cases.into_iter().zip(1..).map(|(c, seed)| Linear::new(c, seed)).collect();
    let (graph, plan) = graph(&linears);
    let module = emit_with(&graph, &plan, &EmitOptions { activations, warp_groups_from: 0 }).unwrap();
    let ptx = compiled(&module, arch)?;
    let kernels = module.kernels_of(arch);
    let mut random = Random::new(5);
    let mut counted = Vec::new();
    for (number, l) in linears.iter().enumerate() {
        let weight = format!("layer.{number}.w");
        for tokens in &l.case.tokens {
            let x: Vec<f32> = (0..tokens * l.case.inputs).map(|_| random.value()).collect();
            let mut parts = Vec::new();
            for kernel in kernels.iter().filter(|k| k.weight == weight && k.is_for(*tokens as u64)) {
                let counters = if kernel.family == "terms" {
                    let (job, want) = l.terms_job(kernel, &x, *tokens);
                    let (out, counters) = run(&ptx, &job);
                    assert!(out[0] == support::u32_bytes(&want), "terms");
                    counters
                } else if kernel.family == "parts" {
                    let (out, counters) = run(&ptx, &l.parts_job(kernel, &parts, *tokens));
                    l.check(&x, *tokens, &floats(&out[0]), activations);
                    counters
                } else {
                    let (out, counters) = run(&ptx, &l.job(kernel, &x, *tokens));
                    if kernel.parts_bytes(1).is_some() {
                        parts = floats(&out[0]);
                    } else {
                        l.check(&x, *tokens, &floats(&out[0]), activations);
                    }
                    counters
                };
                counted.push((kernel.clone(), *tokens, counters));
            }
        }
    }
    Some(counted)
}

#[test]
fn odd_shapes_compute_what_they_say() {
    use Act::*;
    use Pattern::*;
    check(
        vec![
            case("dense(16)", 67, 70, Bands, Gelu, true, &[5]),
            case("dense(5)", 13, 7, Random(0.7), None, false, &[31]),
            case("vx1(4)", 7, 33, Random(0.3), Gelu, true, &[5, 65]),
            case("csr", 33, 70, Bands, Relu, true, &[3]),
            case("bsr(4,4)", 10, 39, Bands, Gelu, true, &[30]),
            case("nm(2,4)", 9, 33, Full, None, true, &[20]),
            case("kept4(32,16)", 40, 300, Random(1.0), Gelu, true, &[1, 5]),
            case("q4(16,16)", 9, 100, Full, None, true, &[2]),
            case("kept4(64,16)", 9, 200, Random(1.0), None, true, &[1]),
            case("kept8(16,32)", 9, 100, Random(1.0), None, true, &[2]),
            case("q8(32,16)", 9, 100, Full, None, true, &[1]),
            case("i8(16)", 20, 70, Random(0.3), Relu, true, &[3]),
            case("mma24", 9, 33, Full, None, true, &[1, 9, 33]),
            case("mma24", 70, 300, Full, Gelu, true, &[8, 20, 40, 70]),
            case("mma24", 33, 549, Random(0.4), Relu, true, &[5]),
            case("mma32(32)", 70, 300, Random(0.01), Gelu, true, &[8, 40]),
            case("mma32(128)", 129, 130, Full, None, false, &[5, 70]),
            case("mma24_f16", 33, 300, Random(0.4), Relu, true, &[5, 40, 70]),
            case("mma32_f16(32)", 70, 300, Random(0.01), Gelu, true, &[8, 40]),
            case("vnm_f16(64,8)", 70, 140, Full, Relu, true, &[3, 40]),
            case("mma1(16)", 40, 200, Random(0.1), Gelu, true, &[1, 20]),
            case("mma1(64)", 70, 100, Random(0.1), None, true, &[18, 40]),
            case("vnm(64,8)", 70, 140, Full, Relu, true, &[3, 17, 40]),
            case("vnm(128,16)", 130, 300, Full, None, false, &[9]),
            case("mma24", 40, 2100, Full, Gelu, true, &[1, 20]),
        ],
        Activations::Exact,
    );
    check(vec![case("mma24", 45, 93, Full, Relu, true, &[3, 12, 130])], Activations::Bf16);
}

fn warp_group_cases() -> Vec<Case> {
    use Act::*;
    use Pattern::*;
    vec![
        case("mma24", 9, 33, Full, None, true, &[256]),
        case("mma24", 33, 70, Full, None, true, &[256]),
        case("mma24", 70, 300, Full, Gelu, true, &[300]),
        case("mma24", 130, 550, Random(0.4), Relu, false, &[256]),
        case("mma24", 160, 64, Bands, None, false, &[520]),
    ]
}

#[test]
fn warp_groups_compute_what_they_say() {
    for activations in [Activations::Bf16, Activations::Exact] {
        let Some(counted) = check_of(warp_group_cases(), activations, "compute_90a") else { return };
        let groups: Vec<_> = counted.iter().filter(|(k, _, _)| k.family == "wgmma").collect();
        assert_eq!(groups.len(), 5, "each runs on warp groups");
        for (k, _, c) in groups {
            assert!(c.bank_conflicts == 0 && c.group_matrix > 0 && c.sparse_matrix == 0, "{}: {c:?}", k.name);
        }
    }
}

/// Passes over shared memory beyond one for each step of 32 entries: as the entries lie, and the least that any order needs.
fn passes(l: &Linear, dealt_out: bool) -> (u64, u64) {
    let [Array::U32(idx), _] = dealt(&l.packed).unwrap() else { panic!("columns are words") };
    let (Some(Array::U32(ptr)), Some(Array::U32(sorted))) = (l.packed.array("ptr"), l.packed.array("idx")) else {
        panic!("columns are words")
    };
    let (mut passes, mut least) = (0, 0);
    for row in ptr.windows(2) {
        let own = &(if dealt_out { &idx } else { sorted })[row[0] as usize..row[1] as usize];
        let fullest = |of: &[u32]| (0..32).map(|b| of.iter().filter(|c| **c % 32 == b).count()).max().unwrap() as u64;
        let steps = own.len().div_ceil(32) as u64;
        passes += own.chunks(32).map(fullest).sum::<u64>() - steps;
        least += fullest(own).max(steps) - steps;
    }
    (passes, least)
}

#[test]
fn gathers_of_rows_meet_in_banks_as_little_as_they_can() {
    use Pattern::*;
    let cases: Vec<Case> =
        [(256, Random(0.25)), (1024, Random(0.1)), (1024, Every(3)), (700, Every(7)), (1024, Every(32))]
            .into_iter()
            .map(|(k, pattern)| case("csr", 40, k, pattern, Act::None, false, &[1, 8]))
            .collect();
    let linears: Vec<Linear> = cases.iter().cloned().zip(1..).map(|(c, seed)| Linear::new(c, seed)).collect();
    let Some(counted) = check(cases, Activations::Exact) else { return };
    for ((kernel, tokens, c), l) in counted.iter().zip(linears.iter().flat_map(|l| [l, l])) {
        let ((passes, least), (sorted, _)) = (self::passes(l, true), self::passes(l, false));
        // Each token is a gather of its own from the same places.
        assert_eq!(c.bank_conflicts, *tokens as u64 * passes, "{}", kernel.name);
        match l.case.pattern {
            Every(32) => assert_eq!(passes, least, "all in one bank"),
            Every(_) => assert_eq!(passes, 0, "all banks in turn"),
            _ => {
                assert!(passes * 100 <= least * 120 && passes * 4 < sorted * 3, "{passes} of {least}, {sorted} sorted")
            }
        }
    }
}

/// Instructions of each kernel on one shape, as committed. Set `SPC_BUDGETS=write` to write what is counted now.
const BUDGETS: &str = include_str!("budgets.txt");

#[test]
fn counts_stay_in_their_budgets() {
    use Act::*;
    use Pattern::*;
    let shape = |layout: &str, tokens: &[usize]| case(layout, 128, 256, Full, Relu, true, tokens);
    let counted = check(
        vec![
            shape("mma24", &[8, 32, 64, 128]),
            shape("mma32(32)", &[8, 32, 64]),
            shape("mma32(64)", &[8, 32, 64]),
            shape("mma32(128)", &[8, 32, 128]),
            case("mma1(16)", 128, 256, Random(0.2), Relu, true, &[16, 32, 64]),
            shape("mma1(64)", &[16, 32, 64]),
            shape("vnm(64,8)", &[16, 32, 64]),
            case("mma24", 64, 2048, Full, Relu, true, &[8]),
            shape("mma24_f16", &[8, 64]),
            case("kept4(32,16)", 64, 2048, Random(1.0), Relu, true, &[1]),
            case("q4(32,16)", 64, 2048, Full, Relu, true, &[1]),
            case("kept4(32,16)", 64, 2048, Random(1.0), Relu, true, &[4]),
            case("kept4(16,16)", 64, 2048, Random(1.0), Relu, true, &[1]),
            case("kept8(16,32)", 64, 2048, Random(1.0), Relu, true, &[1]),
            case("kept8(64,32)", 64, 2048, Random(1.0), Relu, true, &[1]),
            case("vx1(16)", 64, 64, Random(0.25), None, false, &[64]),
            case("bsr(16,16)", 64, 64, Random(0.25), None, false, &[64]),
            case("nm(2,4)", 64, 64, Full, None, false, &[64]),
            case("csr", 64, 256, Random(0.25), None, false, &[1, 8, 64]),
            case("csr", 64, 1024, Every(3), None, false, &[1, 8]),
            case("csr", 64, 16_384, Random(0.05), None, false, &[1]),
            case("dense(16)", 64, 64, Full, None, false, &[64]),
        ],
        Activations::Bf16,
    );
    let Some(mut counted) = counted else { return };
    let groups = check_of(vec![shape("mma24", &[256])], Activations::Bf16, "compute_90a");
    counted.extend(groups.into_iter().flatten().filter(|(k, _, _)| k.family == "wgmma"));
    let mut now = String::new();
    for (kernel, tokens, c) in &counted {
        let (load, store) = c.sector_ratios();
        let name = &kernel.name;
        if kernel.layout.starts_with("mma") || kernel.layout.starts_with("vnm") {
            assert!(load <= 1.1 && store <= 1.1, "{name}: {load:.2} and {store:.2} of the bytes needed are moved");
        }
        // Columns and values of rows are read side by side; activations in memory are gathered.
        if kernel.family == "csr" && kernel.inputs < 1000 {
            assert!(load <= 1.1 && store <= 1.1, "{name}: {load:.2} and {store:.2} of the bytes needed are moved");
        }
        if ["mma", "vnm", "kept", "q"].iter().any(|l| kernel.layout.starts_with(l)) {
            assert_eq!(c.bank_conflicts, 0, "{name}");
        }
        writeln!(now, "{name} {tokens} {} {}", c.instructions, c.bank_conflicts).unwrap();
    }
    if std::env::var("SPC_BUDGETS").is_ok_and(|v| v == "write") {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/budgets.txt");
        std::fs::write(
            file,
            format!("# kernel, tokens, instructions of warps, passes over shared memory beyond the first\n{now}"),
        )
        .unwrap();
        return;
    }
    let read = |text: &str| -> BTreeMap<(String, String), (u64, u64)> {
        let rows =
            text.lines().filter(|l| !l.starts_with('#')).map(|l| l.split(' ').map(String::from).collect::<Vec<_>>());
        rows.map(|w| ((w[0].clone(), w[1].clone()), (w[2].parse().unwrap(), w[3].parse().unwrap()))).collect()
    };
    let (budgets, now) = (read(BUDGETS), read(&now));
    assert_eq!(budgets.keys().collect::<Vec<_>>(), now.keys().collect::<Vec<_>>());
    for (key, (instructions, conflicts)) in &now {
        let (most, passes) = budgets[key];
        let change = (*instructions as f64 - most as f64) / most as f64;
        assert!(change.abs() <= 0.02, "{key:?}: {instructions} instructions, {:+.1} % of the budget", change * 100.0);
        assert!(*conflicts <= passes, "{key:?}: {conflicts} passes, {passes} before");
    }
}
