//! Time of one linear in every layout, dense beside sparse, measured and predicted. `cargo bench -p spc-tests --bench layers`
//!
//! Weights are random; 75 % of the 16 x 1 vectors (16 x 4 tiles for BSR, three of four elements for CSR and 1:4, two of
//! four for 2:4) are zero. Times are medians of 25 calls on one thread, conversions between token-major and feature-major
//! listed apart. `-- avx512`, `-- avx2` or `-- clif` chooses the instruction set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use spc_cpu::{Executor, Isa};
use spc_formats::{Layout, Validated, pack, validate};
use spc_ir::{Act, Convert, DType, Dim, Graph, Op, Plan, Sym, SymId, Type};
use spc_kernel::{PackedPort, Slice, Sources, schedule};
use spc_layout::{CostTable, Options, WeightFacts, choose};
use std::collections::BTreeMap;
use std::time::Instant;

/// (outputs, inputs, tokens)
const SHAPES: &[(usize, usize, usize)] = &[
    (256, 64, 360),
    (128, 256, 360),
    (1536, 384, 256),
    (384, 1536, 256),
    (384, 384, 256),
    (1536, 384, 8),
    (256, 64, 1),
];

/// Layout, and whether the value at (row, column) is kept.
type Case = (&'static str, fn(usize, usize) -> bool);

const CASES: &[Case] = &[
    ("dense(16)", |_, _| true),
    ("vx1(4)", |r, c| (c * 7 + r / 16).is_multiple_of(4)),
    ("vx1(8)", |r, c| (c * 7 + r / 16).is_multiple_of(4)),
    ("vx1(16)", |r, c| (c * 7 + r / 16).is_multiple_of(4)),
    ("bsr(4,4)", |r, c| (c / 4 * 7 + r / 16).is_multiple_of(4)),
    ("bsr(16,4)", |r, c| (c / 4 * 7 + r / 16).is_multiple_of(4)),
    ("nm(2,4)", |r, c| (c + r) % 4 < 2),
    ("nm(1,4)", |r, c| (c + r).is_multiple_of(4)),
    ("csr", |r, c| (c + r).is_multiple_of(4)),
];

struct One(Validated);

impl Sources for One {
    fn weight(&self, _: &str) -> Option<&[f32]> {
        None
    }

    fn packed(&self, _: &PackedPort) -> Option<&Validated> {
        Some(&self.0)
    }
}

fn linear(o: usize, k: usize) -> Graph {
    let mut g = Graph::new("linear");
    g.syms.push(Sym { name: "N".into(), lo: 1, hi: 4096 });
    let x = Type::new(DType::F32, vec![Dim::free("N", SymId(0)), Dim::fixed("K", k as u64)]);
    let w = Type::new(DType::F32, vec![Dim::fixed("O", o as u64), Dim::fixed("K", k as u64)]);
    let x = g.add(Op::Input { name: "x".into(), ty: x }, &[]).unwrap();
    let w = g.add(Op::Weight { name: "w".into(), ty: w }, &[]).unwrap();
    let y = g.add(Op::Linear { bias: false, act: None }, &[x, w]).unwrap();
    g.outputs.push(("y".into(), y));
    g
}

fn table(isa: Isa) -> CostTable {
    if isa == Isa::Clif { CostTable::clif_x86_64_v1() } else { CostTable::wide_x86_64_v1() }
}

fn main() {
    let start = Instant::now();
    let isa = std::env::args().find_map(|a| Isa::from_name(&a)).unwrap_or(Isa::native());
    println!("{}\n", isa.name());
    println!(
        "| O x K, tokens | layout | kernel us | conversions us | against dense | dense-equivalent GFLOP/s | predicted us |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for &(o, k, n) in SHAPES {
        let mut dense_us = f64::NAN;
        for (name, kept) in CASES {
            let mut state = 1u64;
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) as f32 / (1u64 << 23) as f32) - 1.0
            };
            let w: Vec<f32> = (0..o * k).map(|i| if kept(i / k, i % k) { random() + 1.5 } else { 0.0 }).collect();
            let g = linear(o, k);
            let y = g.outputs[0].1;
            let mut plan = Plan::all_dense(&g, "cpu", name).unwrap();
            if *name != "dense(16)" {
                plan.linears[0].x = Act::Fm;
                plan.linears[0].y = Act::Fm;
                plan.values.insert(y, Act::Fm);
                plan.converts = vec![
                    Convert { node: g.inputs(y)[0], to: Act::Fm, predicted_ps: 0 },
                    Convert { node: y, to: Act::Rm, predicted_ps: 0 },
                ];
            }
            let facts = [("w".to_string(), WeightFacts::of(o, k, &w, &[]).unwrap())].into_iter().collect();
            let tuned: BTreeMap<String, u64> = [("N".to_string(), n as u64)].into_iter().collect();
            let chosen = choose(&g, &facts, &table(isa), &tuned, &Options::default()).unwrap();
            let predicted = chosen.why[0].candidates.iter().find(|c| c.layout == *name).and_then(|c| c.kernel_ps);
            let layout: Layout = name.parse().unwrap();
            let packed = One(validate(pack(&layout, o, k, &w).unwrap()).unwrap());
            let e = Executor::new(schedule(&g, &plan, isa.target()).unwrap(), &packed, 1, isa).unwrap();
            let x: Vec<f32> = (0..n * k).map(|_| random()).collect();
            let (mut kernel, mut conversions) = (Vec::new(), Vec::new());
            for _ in 0..25 {
                let (_, times) = e.call_timed(&[n as u64], &[Slice::F32(&x)], &|| start.elapsed()).unwrap();
                let us: Vec<f64> = times.iter().map(|(_, d)| d.as_secs_f64() * 1e6).collect();
                let at = usize::from(us.len() > 1);
                kernel.push(us[at]);
                conversions.push(us.iter().sum::<f64>() - us[at]);
            }
            let median = |v: &mut Vec<f64>| {
                v.sort_by(f64::total_cmp);
                v[v.len() / 2]
            };
            let (kernel, conversions) = (median(&mut kernel), median(&mut conversions));
            if *name == "dense(16)" {
                dense_us = kernel;
            }
            println!(
                "| {o} x {k}, {n} | {name} | {kernel:.1} | {conversions:.1} | {:.2} | {:.1} | {:.1} |",
                dense_us / kernel,
                2.0 * (o * k * n) as f64 / kernel / 1e3,
                predicted.unwrap_or(0) as f64 / 1e6
            );
        }
    }
}
