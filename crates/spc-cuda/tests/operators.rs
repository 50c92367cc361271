//! Operators that choose, count places and round, emulated by g++ and through the runtime, against loops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
mod support;

use spc_cuda::runtime::{Device, DeviceProgram, DriverSearch, ImageChoice, RuntimeError, Weights};
use spc_cuda::{CudaModule, Operand, ParamKind, emit};
use spc_formats::Validated;
use spc_ir::{Amount, DType, Dim, Graph, NodeId, Op, Plan, ReduceFn, ScalarExpr, Top, Type};
use std::collections::BTreeMap;
use support::{Argument, Job, Program, f32_bytes, have_gxx, u32_bytes};

const SHAPE: [usize; 3] = [3, 7, 2];

struct Nothing;

impl Weights for Nothing {
    fn packed(&self, _: &str, _: &str) -> Option<&Validated> {
        None
    }
    fn plain(&self, _: &str) -> Option<&[f32]> {
        None
    }
}

fn top(amount: Amount, first: u64, last: u64, multiple: u64, among: bool) -> Top {
    Top { dims: vec![1], amount, multiple, first, last, among, name: "pages".into() }
}

fn tops() -> Vec<Top> {
    vec![
        top(Amount::Count(3), 0, 0, 1, false),
        top(Amount::Share { num: 1, den: 3 }, 1, 1, 2, false),
        top(Amount::OutOf { n: 2, m: 4 }, 0, 2, 1, true),
        top(Amount::Above(0.1), 0, 0, 1, true),
        top(Amount::Budget { num: 1, den: 2, of: spc_ir::Cost::Bytes }, 1, 0, 1, false),
    ]
}

/// Inputs `x`, `among`, `n`; outputs: the choices of [`tops`], ranks along two dimensions, argmax, powers, rounded values.
fn graph() -> Graph {
    let mut g = Graph::new("choose");
    let dims: Vec<Dim> = ["A", "B", "C"].into_iter().zip(SHAPE).map(|(n, s)| Dim::fixed(n, s as u64)).collect();
    let input = |g: &mut Graph, name: &str, dtype| {
        g.add(Op::Input { name: name.into(), ty: Type::new(dtype, dims.clone()) }, &[]).unwrap()
    };
    let (x, among, n) =
        (input(&mut g, "x", DType::F32), input(&mut g, "among", DType::Bool), input(&mut g, "n", DType::I32));
    let out = |g: &mut Graph, op: Op, operands: &[NodeId]| {
        let node = g.add(op, operands).unwrap();
        g.outputs.push((format!("y{}", g.outputs.len()), node));
    };
    for t in tops() {
        let operands = if t.among { vec![x, among] } else { vec![x] };
        out(&mut g, Op::Top(t), &operands);
    }
    out(&mut g, Op::Rank { dims: vec![0, 2], name: "r".into() }, &[x]);
    out(&mut g, Op::Reduce { f: ReduceFn::ArgMax, dims: vec![1] }, &[x]);
    let expr = ScalarExpr::parse("(pow a0 (sub a0 2))").unwrap();
    out(&mut g, Op::Map { expr, at: vec![vec![0, 1, 2]] }, &[n]);
    out(&mut g, Op::Round { last: 2 }, &[x]);
    g
}

/// Ties, both zeros and infinities among the scores.
fn values() -> Vec<f32> {
    let noise = |i: usize| ((i * 37 + 11) % 23) as f32 / 7.0 - 1.5;
    (0..42).map(|i| [noise(i), 0.1, 0.0, -0.0, noise(i / 2)][i % 5]).collect()
}

fn scopes(dims: &[usize]) -> Vec<Vec<usize>> {
    let place = |i: usize| [i / 14, i / 2 % 7, i % 2];
    let mut found: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for i in 0..42 {
        let key = (0..3).filter(|d| !dims.contains(d)).map(|d| place(i)[d]).collect();
        found.entry(key).or_default().push(i);
    }
    found.into_values().collect()
}

fn by_score(x: &[f32], mut places: Vec<usize>) -> Vec<usize> {
    places.sort_by(|a, b| x[*b].partial_cmp(&x[*a]).unwrap().then(a.cmp(b)));
    places
}

fn want(x: &[f32], among: &[bool], n: &[i32]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for t in tops() {
        let mut kept = vec![0u8; 42];
        for scope in scopes(&[1]) {
            let list: Vec<usize> = scope.into_iter().filter(|p| !t.among || among[*p]).collect();
            let above = list.iter().filter(|p| f64::from(x[**p]) > 0.1).count() as u64;
            let n = t.kept(list.len() as u64, above) as usize;
            let (first, last) = ((t.first as usize).min(list.len()), list.len().saturating_sub(t.last as usize));
            let always: Vec<usize> = (0..list.len()).filter(|i| *i < first || *i >= last).map(|i| list[i]).collect();
            let rest = list.iter().copied().filter(|p| !always.contains(p)).collect();
            let chosen =
                by_score(x, rest).into_iter().take(n.saturating_sub(always.len())).chain(always.iter().copied());
            chosen.for_each(|p| kept[p] = 1);
        }
        out.push(kept);
    }
    let mut ranks = vec![0u32; 42];
    for scope in scopes(&[0, 2]) {
        by_score(x, scope).into_iter().zip(0..).for_each(|(p, r)| ranks[p] = r);
    }
    out.push(u32_bytes(&ranks));
    let best = |s: Vec<usize>| s.iter().position(|p| *p == by_score(x, s.clone())[0]).unwrap() as u32;
    out.push(u32_bytes(&scopes(&[1]).into_iter().map(best).collect::<Vec<_>>()));
    let power = |a: i32| if a >= 2 { a.wrapping_pow(a as u32 - 2) } else { [0, 1, -1, 0][(a + 2) as usize] };
    // (-2)^-4, (-1)^-3, 0^-2, 1^-1.
    let power = |a: i32| if a >= 2 { power(a) } else { [0, -1, 0, 1][(a + 2) as usize] };
    out.push(u32_bytes(&n.iter().map(|a| power(*a) as u32).collect::<Vec<_>>()));
    let mut rounded = Vec::new();
    for row in x.chunks(14) {
        let most = row.iter().fold(0.0f32, |m, v| if m.is_nan() || v.is_nan() { f32::NAN } else { m.max(v.abs()) });
        let scale = most / 127.0;
        rounded.extend(row.iter().map(|v| {
            if !scale.is_finite() {
                f32::NAN
            } else if scale < f32::MIN_POSITIVE {
                0.0
            } else {
                (v * (127.0 / most)).round_ties_even() * scale
            }
        }));
    }
    out.push(f32_bytes(&rounded));
    out
}

/// Equal bytes, any NaN for another, a zero for the other zero.
fn same(dtype: DType, got: &[u8], want: &[u8]) -> bool {
    let words = |b: &[u8]| -> Vec<f32> { b.chunks(4).map(|w| f32::from_le_bytes(w.try_into().unwrap())).collect() };
    dtype == DType::F32 && words(got).iter().zip(words(want)).all(|(a, b)| *a == b || (a.is_nan() && b.is_nan()))
        || got == want
}

/// All kernels one after the other in the emulator.
fn emulate(g: &Graph, module: &CudaModule, inputs: &BTreeMap<String, Vec<u8>>) -> Vec<Vec<u8>> {
    let held = g.named_inputs().into_iter().map(|(name, node)| (node, inputs[&name].clone()));
    emulate_from(g, module, held.collect())
}

/// Those kernels whose values are not there yet.
fn emulate_from(g: &Graph, module: &CudaModule, mut held: BTreeMap<NodeId, Vec<u8>>) -> Vec<Vec<u8>> {
    let program = Program::of_module(module);
    for k in &module.kernels {
        if held.contains_key(&k.writes) {
            continue;
        }
        let ty = g.ty(k.writes).unwrap();
        let elements: u64 = ty.sizes().iter().map(|s| s.fixed().unwrap()).product();
        let bytes = elements * if ty.dtype == DType::Bool { 1 } else { 4 };
        let n: u64 = k.tokens.split(" * ").map(|w| w.parse::<u64>().unwrap()).product();
        let argument = |p: &spc_cuda::Param| match p.of {
            Operand::Value { node } => Argument::In(held[&node].clone()),
            Operand::Y => Argument::Out(bytes),
            // The emulator's results are words.
            Operand::Fault => Argument::Out(4),
            Operand::Tokens => Argument::Int(n as i32),
            other => panic!("{other:?}"),
        };
        let arguments = k.params.iter().map(argument).collect();
        let (grid, block, shared_bytes) = (k.grid.blocks(n).unwrap(), k.block, k.shared_bytes);
        let job = Job { kernel: k.name.clone(), grid, block, shared_bytes, arguments };
        let out: Vec<u8> = program.bytes(&[job]);
        assert_eq!(
            k.params.iter().filter(|p| p.kind == ParamKind::U32Out && p.of == Operand::Fault).count() * 4
                + bytes as usize,
            out.len()
        );
        held.insert(k.writes, out[..bytes as usize].to_vec());
    }
    g.outputs.iter().map(|(_, n)| held[n].clone()).collect()
}

fn given(x: &[f32]) -> (BTreeMap<String, Vec<u8>>, Vec<bool>, Vec<i32>) {
    let among: Vec<bool> = (0..42).map(|i| i % 3 != 1).collect();
    let n: Vec<i32> = (0..42).map(|i| i % 16 - 2).collect();
    let bytes = [
        ("x".to_string(), f32_bytes(x)),
        ("among".to_string(), among.iter().map(|b| u8::from(*b)).collect()),
        ("n".to_string(), n.iter().flat_map(|v| v.to_le_bytes()).collect()),
    ];
    (bytes.into(), among, n)
}

fn check(results: &[Vec<u8>], want: &[Vec<u8>], g: &Graph) {
    for ((got, want), (name, node)) in results.iter().zip(want).zip(&g.outputs) {
        assert!(same(g.ty(*node).unwrap().dtype, got, want), "{name}: {got:?} is not {want:?}");
    }
    assert_eq!(results.len(), want.len());
}

#[test]
fn the_text_orders_and_rounds() {
    if !have_gxx() {
        return;
    }
    let g = graph();
    let module = emit(&g, &Plan::all_dense(&g, "cuda", "csr").unwrap()).unwrap();
    assert!(module.host.is_empty(), "{:?}", module.host);
    let mut x = values();
    let (inputs, among, n) = given(&x);
    check(&emulate(&g, &module, &inputs), &want(&x, &among, &n), &g);
    x[20] = f32::INFINITY;
    x[2] = f32::NEG_INFINITY;
    check(&emulate(&g, &module, &given(&x).0), &want(&x, &among, &n), &g);
    x.iter_mut().for_each(|v| *v = 1e-40);
    check(&emulate(&g, &module, &given(&x).0), &want(&x, &among, &n), &g);
}

#[test]
fn the_device_orders_and_rounds_and_refuses_nan() {
    let g = graph();
    let module = emit(&g, &Plan::all_dense(&g, "cuda", "csr").unwrap()).unwrap();
    let device = Device::open(&stand_in()).unwrap();
    let program = match DeviceProgram::new(&device, &g, &module, &[], ImageChoice::Ptx, &Nothing) {
        Ok(p) => p,
        Err(RuntimeError::NoImage { images, .. }) if images == ["no NVRTC"] => {
            assert!(std::env::var_os("SPC_NEEDS_NVRTC").is_none());
            spc_base::skipped("NO NVRTC: CHOOSING ON THE DEVICE IS NOT TESTED");
            return;
        }
        Err(e) => panic!("{e}"),
    };
    let mut x = values();
    let (inputs, among, n) = given(&x);
    check(&program.call(&[], &inputs).unwrap(), &want(&x, &among, &n), &g);
    x[5] = f32::NAN;
    let e = program.call(&[], &given(&x).0).unwrap_err();
    assert!(matches!(&e, RuntimeError::Score { .. }), "{e}");
    x[5] = 1.0;
    let (inputs, ..) = given(&x);
    check(&program.call(&[], &inputs).unwrap(), &want(&x, &among, &n), &g);
}

fn stand_in() -> DriverSearch {
    let file = std::env::current_exe().unwrap().parent().unwrap().join("libspc_stand_in.so");
    assert!(file.is_file(), "{} is missing", file.display());
    DriverSearch { file: Some(file) }
}

/// Ranges of a linear's features, as merged siblings are read: pointwise, summed, multiplied and turned, each where it lies; what
/// is reshaped is copied.
#[test]
fn ranges_of_features_are_read_where_they_lie() {
    let text = r#"graph "f" {
  %0 = input "x" : f32[B=5, K=6]
  %1 = weight "{a,b,c}" : f32[O=9, K=6]
  %2 = linear (%0, %1) : f32[B=5, O=9]
  %3 = window 1 [P=3] coeff [1] offset 0 (%2) : f32[B=5, P=3]
  %4 = window 1 [P=3] coeff [1] offset 3 (%2) : f32[B=5, P=3]
  %5 = window 1 [P=3] coeff [1] offset 6 (%2) : f32[B=5, P=3]
  %6 = map (sub a0 (mul a1 a2)) at [0 1] [0 1] [0 1] (%3, %4, %5) : f32[B=5, P=3]
  output "y" = %6
}
"#;
    let base = Graph::parse(text).map(|g| (g.outputs[0].1, g));
    let (_, mut g) = base.unwrap_or_else(|e| panic!("{e}"));
    let node = |g: &Graph, offset: i64| {
        let is = |n: &NodeId| matches!(&g.node(*n).unwrap().op, Op::Window { offset: o, .. } if *o == offset);
        g.ids().into_iter().find(is).unwrap()
    };
    let (a, b) = (node(&g, 3), node(&g, 6));
    let out = |g: &mut Graph, op: Op, operands: &[NodeId]| {
        let node = g.add(op, operands).unwrap();
        g.outputs.push((format!("y{}", g.outputs.len()), node));
    };
    out(&mut g, Op::Reduce { f: ReduceFn::Sum, dims: vec![1] }, &[a]);
    out(&mut g, Op::Contract { lhs: vec![0, 1], rhs: vec![2, 1], out: vec![0, 2] }, &[a, b]);
    out(&mut g, Op::Transpose { perm: vec![1, 0] }, &[b]);
    let linear = g.ids().into_iter().find(|n| matches!(g.node(*n).unwrap().op, Op::Linear { .. })).unwrap();
    let plan = Plan::all_dense(&g, "cuda", "dense(16)").unwrap();
    let module = emit(&g, &plan).unwrap();
    assert!(module.host.is_empty() && module.kernels.iter().all(|k| k.family != "window"), "{}", module.text);
    if have_gxx() {
        let v: Vec<f32> = (0..45).map(|i| ((i * 7) % 11) as f32 - 4.0).collect();
        let at = |i: usize, j: usize| v[i * 9 + j];
        let rows = |f: &dyn Fn(usize) -> Vec<f32>| (0..5).flat_map(f).collect::<Vec<f32>>();
        let want = [
            rows(&|i| (0..3).map(|j| at(i, j) - at(i, j + 3) * at(i, j + 6)).collect()),
            rows(&|i| vec![(3..6).map(|j| at(i, j)).sum()]),
            rows(&|i| (0..5).map(|k| (0..3).map(|j| at(i, j + 3) * at(k, j + 6)).sum()).collect()),
            (6..9).flat_map(|j| (0..5).map(move |i| (i, j))).map(|(i, j)| at(i, j)).collect(),
        ];
        let got = emulate_from(&g, &module, BTreeMap::from([(linear, f32_bytes(&v))]));
        assert_eq!(got, want.map(|w| f32_bytes(&w)));
    }
    // A reshape sees bytes side by side.
    out(&mut g, Op::Split { dim: 1, into: vec![Dim::fixed("H", 1), Dim::fixed("P", 3)] }, &[b]);
    let plan = Plan::all_dense(&g, "cuda", "dense(16)").unwrap();
    let module = emit(&g, &plan).unwrap();
    assert_eq!(module.kernels.iter().filter(|k| k.family == "window").count(), 1);
}
