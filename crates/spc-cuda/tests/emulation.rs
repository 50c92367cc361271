//! Every family of kernels on odd shapes, run by the emulator under all its schedules, against loops in f64.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[path = "support/cases.rs"]
mod cases;
mod support;

use cases::{Act, Case, Linear, Pattern, Random, graph};
use spc_cuda::{Activations, EmitOptions, emit_with};
use support::{Program, have_gxx};

fn case(layout: &str, outputs: usize, inputs: usize, pattern: Pattern, act: Act, bias: bool, tokens: &[usize]) -> Case {
    let layout = layout.parse().unwrap();
    Case { layout, outputs, inputs, pattern, bias, act, separate: outputs % 2 == 1, tokens: tokens.to_vec() }
}

/// Emits the cases as one module, compiles it once, and runs each case on finite activations for all its numbers of
/// tokens, and once with NaN and infinities among them.
fn run(cases: Vec<Case>, activations: Activations) {
    run_of(cases, activations, "sm_80");
}

/// With the kernels of an architecture; every 2:4 matrix has a kernel for warp groups.
fn run_of(cases: Vec<Case>, activations: Activations, arch: &str) {
    if !have_gxx() {
        return;
    }
    let linears: Vec<Linear> = cases.into_iter().zip(1..).map(|(c, seed)| Linear::new(c, seed)).collect();
    let (graph, plan) = graph(&linears);
    let module = emit_with(&graph, &plan, &EmitOptions { activations, warp_groups_from: 0 }).unwrap();
    let kernels = module.kernels_of(arch);
    let program = Program::of_module(&module);
    let mut random = Random::new(99);
    let (mut jobs, mut inputs) = (Vec::new(), Vec::new());
    for (number, l) in linears.iter().enumerate() {
        let weight = format!("layer.{number}.w");
        for (i, tokens) in l.case.tokens.iter().enumerate() {
            let mut x: Vec<f32> = (0..tokens * l.case.inputs).map(|_| random.value()).collect();
            if i + 1 == l.case.tokens.len() {
                for _ in 0..tokens / 2 {
                    let at = random.below(x.len());
                    x[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][random.below(3)];
                }
            }
            let of = |k: &&spc_cuda::KernelInfo| k.weight == weight && k.is_for(*tokens as u64);
            let found: Vec<_> = kernels.iter().filter(of).filter(|k| k.family != "terms").collect();
            let (kernel, adds) = match found[..] {
                [kernel] => (kernel, None),
                [kernel, adds] if adds.family == "parts" => (kernel, Some(adds)),
                _ => panic!("{} kernels for {tokens} tokens", found.len()),
            };
            jobs.push(l.job(kernel, &x, *tokens));
            let terms = module.kernels.iter().find(|k| k.weight == weight && k.family == "terms");
            let mut want = None;
            if let Some(kernel) = terms {
                let (job, words) = l.terms_job(kernel, &x, *tokens);
                jobs.push(job);
                want = Some(words);
            }
            inputs.push((l, x, *tokens, want, adds));
        }
    }
    let mut results = program.run(&jobs).into_iter();
    let (mut second, mut shared) = (Vec::new(), Vec::new());
    for (l, x, tokens, terms, adds) in inputs {
        let result = results.next().unwrap();
        if let Some(kernel) = adds {
            second.push(l.parts_job(kernel, &result, tokens));
            shared.push((l, x, tokens));
        } else {
            l.check(&x, tokens, &result, activations);
        }
        if let Some(want) = terms {
            let got: Vec<u32> = results.next().unwrap().iter().map(|v| v.to_bits()).collect();
            assert_eq!(got, want, "terms of {tokens} tokens");
        }
    }
    for ((l, x, tokens), result) in shared.into_iter().zip(program.run(&second)) {
        l.check(&x, tokens, &result, activations);
    }
}

#[test]
fn dense_panels() {
    use Act::*;
    use Pattern::*;
    run(
        vec![
            case("dense(16)", 1, 1, Full, None, false, &[1, 2]),
            case("dense(16)", 16, 32, Random(0.5), None, true, &[64, 64]),
            case("dense(16)", 67, 70, Bands, Gelu, true, &[1, 65, 5]),
            case("dense(8)", 130, 33, Full, Relu, false, &[3, 64]),
            case("dense(5)", 13, 7, Random(0.7), Gelu, true, &[130, 31]),
            case("dense(4)", 6, 64, Empty, Relu, true, &[4, 4]),
        ],
        Activations::Exact,
    );
}

#[test]
fn column_vectors_and_csr() {
    use Act::*;
    use Pattern::*;
    run(
        vec![
            case("vx1(1)", 5, 5, Random(0.5), None, false, &[1, 3]),
            case("vx1(4)", 7, 33, Random(0.3), Gelu, true, &[5, 64, 9]),
            case("vx1(8)", 64, 64, Bands, Relu, false, &[64, 65]),
            case("vx1(16)", 50, 70, Random(0.2), Gelu, true, &[1, 130, 33]),
            case("vx1(3)", 10, 5, Full, Relu, true, &[2, 31]),
            case("vx1(33)", 70, 35, Bands, None, true, &[31, 6]),
            case("vx1(40)", 90, 40, Random(0.1), Relu, false, &[3, 66]),
            case("vx1(16)", 17, 32, Empty, Gelu, true, &[7, 7]),
            case("csr", 1, 1, Full, None, false, &[1, 2]),
            case("csr", 33, 70, Bands, Relu, true, &[65, 12]),
            case("csr", 100, 65, Random(0.1), Gelu, false, &[1, 40]),
            case("csr", 70, 13_000, Random(0.01), Relu, true, &[1, 8, 7]),
            case("csr", 33, 2000, Bands, None, true, &[5, 2]),
            case("csr", 9, 31, Empty, None, true, &[3, 3]),
            case("csr", 32, 96, Full, None, false, &[32, 8]),
        ],
        Activations::Exact,
    );
}

#[test]
fn blocks() {
    use Act::*;
    use Pattern::*;
    run(
        vec![
            case("bsr(4,4)", 12, 64, Random(0.1), None, false, &[64, 3]),
            case("bsr(4,4)", 10, 39, Bands, Gelu, true, &[1, 65, 30]),
            case("bsr(8,8)", 20, 70, Full, Relu, true, &[5, 33]),
            case("bsr(16,16)", 40, 96, Bands, Relu, false, &[63, 16]),
            case("bsr(16,4)", 33, 36, Random(0.05), Gelu, true, &[2, 70]),
            case("bsr(1,7)", 9, 50, Random(0.2), None, true, &[31, 11]),
            case("bsr(64,64)", 70, 100, Full, Relu, true, &[6, 5]),
            case("bsr(2,40)", 6, 45, Bands, None, false, &[64, 9]),
            case("bsr(3,40)", 7, 130, Bands, None, false, &[8, 9]),
            case("bsr(5,5)", 5, 5, Full, Gelu, false, &[1, 4]),
            case("bsr(4,8)", 8, 40, Empty, Relu, true, &[3, 3]),
        ],
        Activations::Exact,
    );
}

#[test]
fn codes_of_eight_bits() {
    use Act::*;
    use Pattern::*;
    run(
        vec![
            case("i8(16)", 9, 33, Random(0.2), None, true, &[1, 8, 9]),
            case("i8(32)", 150, 70, Bands, Gelu, false, &[3, 20, 5]),
        ],
        Activations::Exact,
    );
}

#[test]
fn codes_with_a_scale_for_each_group() {
    use Act::*;
    use Pattern::*;
    run(
        vec![
            case("kept4(32,16)", 9, 300, Random(1.0), None, true, &[1, 2, 5]),
            case("kept4(16,16)", 40, 530, Random(1.0), Gelu, true, &[1, 3, 3]),
            case("kept4(64,32)", 7, 200, Random(1.0), Relu, false, &[4, 9]),
            case("q4(32,16)", 33, 96, Full, None, true, &[1, 6]),
            case("q4(16,32)", 5, 40, Full, Gelu, true, &[3, 4]),
            case("q8(32,16)", 6, 64, Full, Relu, false, &[2, 2]),
            case("kept8(16,16)", 12, 100, Random(1.0), None, true, &[1, 5]),
            case("kept8(64,16)", 3, 1000, Random(1.0), None, true, &[2, 2]),
            // Rows that many warps share, and activations that do not fit shared memory.
            case("kept4(32,16)", 2, 30_000, Random(1.0), None, true, &[1, 1]),
        ],
        Activations::Exact,
    );
}

#[test]
fn n_of_m() {
    use Act::*;
    use Pattern::*;
    run(
        vec![
            case("nm(2,4)", 9, 33, Full, None, true, &[1, 65, 20]),
            case("nm(2,4)", 32, 64, Full, Relu, false, &[64, 6]),
            case("nm(1,4)", 65, 30, Bands, Gelu, true, &[3, 32]),
            case("nm(4,8)", 40, 70, Random(0.4), Gelu, true, &[31, 66]),
            case("nm(3,5)", 11, 43, Full, Relu, true, &[7, 5]),
            case("nm(4,4)", 3, 7, Bands, None, false, &[2, 3]),
            case("nm(2,64)", 9, 130, Full, None, true, &[33, 8]),
            case("nm(4,200)", 5, 410, Full, Gelu, true, &[1, 34, 4]),
            case("nm(1,1)", 4, 3, Random(0.5), None, false, &[9, 9]),
            case("nm(2,4)", 8, 12, Empty, Relu, true, &[4, 4]),
        ],
        Activations::Exact,
    );
}

fn tensor_cases() -> Vec<Case> {
    use Act::*;
    use Pattern::*;
    vec![
        case("mma24", 9, 33, Full, None, true, &[1, 8, 9, 33]),
        case("mma24", 64, 64, Full, Relu, false, &[3, 64, 65, 6]),
        case("mma24", 70, 300, Full, Gelu, true, &[1, 32, 200, 20]),
        case("mma24", 1, 5, Bands, None, false, &[2, 2]),
        case("mma24", 33, 550, Random(0.4), Relu, true, &[5, 40, 129, 12]),
        case("mma24", 130, 32, Bands, None, false, &[7, 66]),
        case("mma24", 32, 256, Empty, Gelu, true, &[4, 4]),
    ]
}

#[test]
fn blocks_on_tensor_cores() {
    use Act::*;
    use Pattern::*;
    let cases = vec![
        case("mma32(32)", 9, 33, Full, None, true, &[1, 9, 33]),
        case("mma32(32)", 70, 300, Random(0.01), Gelu, true, &[8, 40, 3]),
        case("mma32(64)", 130, 96, Bands, Relu, false, &[5, 65, 12]),
        case("mma32(128)", 129, 530, Full, None, true, &[7, 20, 130, 3]),
        case("mma32(128)", 40, 64, Empty, Relu, true, &[2, 2]),
    ];
    run(cases.clone(), Activations::Exact);
    run(cases, Activations::Bf16);
}

#[test]
fn gathered_columns_on_tensor_cores() {
    use Act::*;
    use Pattern::*;
    let cases = vec![
        case("mma1(16)", 9, 33, Random(0.2), None, true, &[1, 9, 33]),
        case("mma1(16)", 40, 300, Random(0.05), Gelu, true, &[16, 17, 3]),
        case("mma1(32)", 70, 130, Random(0.02), Relu, false, &[5, 20, 66]),
        case("mma1(64)", 130, 96, Bands, Relu, false, &[5, 65, 12]),
        case("mma1(128)", 129, 150, Full, None, true, &[7, 20, 70, 3]),
        case("mma1(128)", 40, 64, Empty, Relu, true, &[2, 2]),
        case("vnm(32,8)", 40, 70, Full, Gelu, true, &[1, 18, 40, 2]),
        case("vnm(64,8)", 65, 130, Full, None, false, &[16, 33, 5]),
        case("vnm(64,16)", 64, 515, Random(0.6), Relu, true, &[3, 3]),
        case("vnm(128,7)", 150, 94, Full, Relu, true, &[8, 70, 4]),
        case("vnm(32,5)", 3, 3, Full, None, true, &[1, 1]),
        case("vnm(64,8)", 70, 64, Empty, Gelu, false, &[2, 2]),
    ];
    run(cases.clone(), Activations::Exact);
    run(cases, Activations::Bf16);
}

#[test]
fn blocks_that_share_columns() {
    use Act::*;
    use Pattern::*;
    run(
        vec![
            case("mma24", 40, 2100, Full, Gelu, true, &[1, 20, 40, 3]),
            case("vnm(64,8)", 70, 4300, Full, Relu, true, &[2, 18, 3]),
            case("mma32(32)", 33, 4200, Random(0.004), None, true, &[4, 20, 3]),
            case("mma1(32)", 33, 4200, Random(0.02), Relu, false, &[4, 20, 3]),
        ],
        Activations::Bf16,
    );
}

#[test]
fn f16_numbers_on_tensor_cores() {
    use Act::*;
    use Pattern::*;
    let cases = vec![
        case("mma24_f16", 70, 300, Full, Gelu, true, &[1, 32, 200, 20]),
        case("mma24_f16", 33, 550, Random(0.4), Relu, true, &[5, 40, 256]),
        case("mma32_f16(64)", 130, 96, Bands, Relu, false, &[5, 65, 12]),
        case("mma1_f16(32)", 70, 130, Random(0.02), Relu, false, &[5, 20, 66]),
        case("vnm_f16(64,8)", 65, 130, Full, None, false, &[16, 33, 5]),
    ];
    run(cases.clone(), Activations::Exact);
    run(cases, Activations::Bf16);
}

#[test]
fn two_of_four_on_warp_groups() {
    use Act::*;
    use Pattern::*;
    let cases = vec![
        case("mma24", 9, 33, Full, None, true, &[256, 4]),
        case("mma24", 150, 300, Full, Gelu, true, &[300, 256]),
        case("mma24", 64, 550, Random(0.4), Relu, false, &[513, 20]),
        case("mma24", 32, 128, Bands, None, false, &[256, 300]),
    ];
    run_of(cases.clone(), Activations::Bf16, "sm_90a");
    run_of(cases, Activations::Exact, "sm_90a");
}

#[test]
fn two_of_four_on_tensor_cores_is_exact() {
    run(tensor_cases(), Activations::Exact);
}

#[test]
fn two_of_four_on_tensor_cores_of_rounded_activations() {
    run(tensor_cases(), Activations::Bf16);
}
