//! Linears of many shapes in one graph, with weights of many patterns, and their reference in f64.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::support::{Argument, Job, f32_bytes, u32_bytes};
use spc_cuda::{Activations, KernelInfo, Operand, Param, dealt};
use spc_formats::{Array, Layout, Packed, pack, validate};
use spc_ir::{DType, Dim, Graph, Op, Plan, ScalarExpr, Sym, SymId, Type};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    Random(f64),
    /// Every third row (or block of rows) is empty, the next is full, the others are half full.
    Bands,
    Full,
    Empty,
    /// Every so manieth column.
    Every(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    None,
    Relu,
    Gelu,
}

impl Act {
    fn expr(self) -> Option<ScalarExpr> {
        let text = match self {
            Act::None => return None,
            Act::Relu => "(max a0 0)",
            Act::Gelu => "(mul (mul 0.5 a0) (add 1 (erf (div a0 1.4142135623730951))))",
        };
        Some(ScalarExpr::parse(text).unwrap())
    }

    fn at(self, a: f64) -> f64 {
        match self {
            Act::None => a,
            Act::Relu => {
                if a.is_nan() {
                    a
                } else {
                    a.max(0.0)
                }
            }
            Act::Gelu => 0.5 * a * (1.0 + erf(a / std::f64::consts::SQRT_2)),
        }
    }
}

/// The error function from its series with positive terms only; 1 from 6 on.
fn erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() >= 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..300 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// xorshift64*: the cases are the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// In -1..1, never zero.
    pub fn value(&mut self) -> f32 {
        let v = (self.unit() * 2.0 - 1.0) as f32;
        if v == 0.0 { 0.5 } else { v }
    }
}

#[derive(Clone, Debug)]
pub struct Case {
    pub layout: Layout,
    pub outputs: usize,
    pub inputs: usize,
    pub pattern: Pattern,
    pub bias: bool,
    pub act: Act,
    /// The activation is a map of its own that the plan fuses.
    pub separate: bool,
    pub tokens: Vec<usize>,
}

/// A case with its data.
pub struct Linear {
    pub case: Case,
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    pub packed: Packed,
}

impl Linear {
    pub fn new(case: Case, seed: u64) -> Linear {
        let mut random = Random::new(seed);
        let (o, k) = (case.outputs, case.inputs);
        let mut weights: Vec<f32> = (0..o * k).map(|_| random.value()).collect();
        for (i, w) in weights.iter_mut().enumerate() {
            let block = match case.layout {
                Layout::Vx1 { v } => v as usize,
                Layout::Bsr { r, .. } => r as usize,
                _ => 1,
            };
            let density = match case.pattern {
                Pattern::Random(d) => d,
                Pattern::Full => 1.0,
                Pattern::Every(n) => f64::from(u8::from(i % k % n == 0)),
                Pattern::Empty => 0.0,
                Pattern::Bands => [0.0, 1.0, 0.5][i / k / block % 3],
            };
            if random.unit() >= density {
                *w = if random.unit() < 0.5 { 0.0 } else { -0.0 };
            }
        }
        fit(case.layout, o, k, &mut weights, &mut random);
        if case.layout.needs_integers() {
            // Whole multiples of a scale, and the greatest code in each row.
            weights.iter_mut().for_each(|w| *w = (*w * 100.0).round() * 0.5);
            weights.chunks_mut(k).for_each(|row| row[0] = 63.5);
        }
        if let Layout::Groups { bits, group, .. } = case.layout {
            // A scale for each group that is a f16 number, and its greatest code.
            let (most, group) = (if bits == 4 { 7.0f32 } else { 127.0 }, group as usize);
            for row in weights.chunks_mut(k) {
                for (number, g) in row.chunks_mut(group).enumerate() {
                    let scale = [0.5f32, 0.375, 3.0, 0.011_718_75][random.below(4)];
                    // Of a matrix of nothing the packer knows no scales.
                    let keep = match case.pattern {
                        Pattern::Full => true,
                        Pattern::Empty => number == 0,
                        _ => random.unit() < 0.5,
                    };
                    for (i, w) in g.iter_mut().enumerate() {
                        let code = if i == 0 { most } else { (*w * most).round() };
                        *w = if keep { code * scale } else { 0.0 };
                    }
                }
            }
        }
        if case.layout != case.layout.with_bf16() {
            // f16 numbers, of which some are below the normal range.
            let tiny = |w: f32| (w * 1024.0).round() * 2f32.powi(-24);
            let small = random.below(weights.len().max(1));
            weights.iter_mut().for_each(|w| *w = (*w * 1024.0).round() / 1024.0);
            weights.iter_mut().skip(small).take(3).for_each(|w| *w = tiny(*w));
        } else if case.layout.needs_tensor_cores() {
            weights.iter_mut().for_each(|w| *w = f32::from_bits(w.to_bits() & 0xffff_0000));
        }
        let bias = (0..o).map(|_| random.value()).collect();
        let packed = pack(&case.layout, o, k, &weights).unwrap_or_else(|e| panic!("{case:?}: {e}"));
        let packed = validate(packed).unwrap().into_packed();
        Linear { case, weights, bias, packed }
    }

    /// A launch of `kernel` on `x`, with its arguments in the order that the kernel's parameters say.
    pub fn job(&self, kernel: &KernelInfo, x: &[f32], tokens: usize) -> Job {
        let argument = |p: &Param| match p.name.as_str() {
            "bias" => Argument::In(f32_bytes(&self.bias)),
            "x" => Argument::In(f32_bytes(x)),
            "xb" => Argument::In(u32_bytes(&terms(x, tokens, self.case.inputs, terms_of(kernel)))),
            "parts" => Argument::Out(kernel.parts_bytes(tokens as u64).unwrap()),
            "y" => Argument::Out((tokens * self.case.outputs * 4) as u64),
            "n" => Argument::Int(tokens as i32),
            name => {
                let other = (p.of == Operand::Dealt).then(|| dealt(&self.packed).unwrap());
                let found = match &other {
                    Some([idx, values]) => {
                        if name == "idx" {
                            idx
                        } else {
                            values
                        }
                    }
                    None => self.packed.array(name).unwrap(),
                };
                Argument::In(match found {
                    Array::F32(a) => f32_bytes(a),
                    Array::U32(a) => u32_bytes(a),
                    Array::U8(a) => a.clone(),
                })
            }
        };
        Job {
            kernel: kernel.name.clone(),
            grid: kernel.grid.blocks(tokens as u64).unwrap(),
            block: kernel.block,
            shared_bytes: kernel.shared_bytes,
            arguments: kernel.params.iter().map(argument).collect(),
        }
    }

    /// A launch of `kernel`, which adds the sums of several blocks.
    pub fn parts_job(&self, kernel: &KernelInfo, parts: &[f32], tokens: usize) -> Job {
        assert_eq!(kernel.parts_bytes(tokens as u64), Some(parts.len() as u64 * 4));
        let mut job = self.job(kernel, &[], tokens);
        let at = kernel.params.iter().position(|p| p.name == "parts").unwrap();
        job.arguments[at] = Argument::In(f32_bytes(parts));
        job
    }

    /// The launch that makes the terms of `x`, and the words that it must give.
    pub fn terms_job(&self, kernel: &KernelInfo, x: &[f32], tokens: usize) -> (Job, Vec<u32>) {
        let want = terms(x, tokens, self.case.inputs, terms_of(kernel));
        let bytes = kernel.terms_bytes(tokens as u64).unwrap();
        assert_eq!(bytes, want.len() as u64 * 4);
        let arguments = vec![Argument::In(f32_bytes(x)), Argument::Out(bytes), Argument::Int(tokens as i32)];
        let grid = kernel.grid.blocks(tokens as u64).unwrap();
        (Job { kernel: kernel.name.clone(), grid, block: kernel.block, shared_bytes: 0, arguments }, want)
    }

    /// Fails unless `y` is the reference's result within the bound of reassociation: gamma(K + 1) times the sum of
    /// magnitudes, and a few roundings for the activation. Where an absent weight meets NaN or an infinity, NaN passes.
    pub fn check(&self, x: &[f32], tokens: usize, y: &[f32], activations: Activations) {
        let (o, k) = (self.case.outputs, self.case.inputs);
        let unit = 0.5 * f64::from(f32::EPSILON);
        let gamma = |n: usize| n as f64 * unit / (1.0 - n as f64 * unit);
        // Terms are products of their own, of one sign.
        let tensor = self.case.layout.needs_tensor_cores();
        let sums = if tensor { 6 * (k + 32) } else { k };
        let rounded: Vec<f32> =
            x.iter().map(|v| if tensor && activations == Activations::Bf16 { nearest(*v) } else { *v }).collect();
        for t in 0..tokens {
            let x = &rounded[t * k..(t + 1) * k];
            for row in 0..o {
                let w = &self.weights[row * k..(row + 1) * k];
                let (mut sum, mut magnitude, mut met) = (0.0f64, 0.0f64, false);
                for (w, x) in w.iter().zip(x) {
                    if *w == 0.0 {
                        met |= !x.is_finite();
                    } else {
                        sum += f64::from(*w) * f64::from(*x);
                        magnitude += (f64::from(*w) * f64::from(*x)).abs();
                    }
                }
                if self.case.bias {
                    sum += f64::from(self.bias[row]);
                    magnitude += f64::from(self.bias[row]).abs();
                }
                let (want, got) = (self.case.act.at(sum), f64::from(y[t * o + row]));
                // The activations grow by at most 1.13 per unit; each is a few roundings of its argument and its value.
                let bound = 1.13 * gamma(sums + 1) * magnitude + 16.0 * unit * (sum.abs() + want.abs());
                let agrees = if want.is_finite() {
                    (got - want).abs() <= bound
                } else {
                    got == want || (got.is_nan() && want.is_nan())
                };
                assert!(
                    agrees || (met && got.is_nan()),
                    "{:?}: y[{t}][{row}] of {tokens} tokens is {got}, not {want} within {bound:e}",
                    self.case
                );
            }
        }
    }
}

/// x rounded to bf16, ties to even.
fn nearest(x: f32) -> f32 {
    if x.is_nan() {
        return f32::NAN;
    }
    let down = f64::from(f32::from_bits(x.to_bits() & 0xffff_0000));
    let up = f32::from_bits((x.to_bits() & 0xffff_0000).wrapping_add(0x1_0000));
    if x.is_infinite() || down == f64::from(x) {
        return x;
    }
    // Beyond the greatest bf16 number the next one would be 2^128.
    let next = if up.is_infinite() { 2f64.powi(128).copysign(f64::from(x)) } else { f64::from(up) };
    let (below, above) = ((f64::from(x) - down).abs(), (next - f64::from(x)).abs());
    let even = x.to_bits() >> 16 & 1 == 0;
    if below < above || (below == above && even) { down as f32 } else { up }
}

/// How many terms a kernel reads or writes, and whether turned.
fn terms_of(kernel: &KernelInfo) -> (usize, bool) {
    let terms = kernel.params.iter().find_map(|p| match p.of {
        Operand::Terms { terms, turned } => Some((terms as usize, turned)),
        _ => None,
    });
    terms.unwrap()
}

/// `x [tokens][k]` as bf16 numbers `[count][tokens][k rounded up to 32]`, two a word; turned, `[count][k][tokens rounded up
/// to 16]`.
fn terms(x: &[f32], tokens: usize, k: usize, (count, turned): (usize, bool)) -> Vec<u32> {
    let (padded, np) = (k.div_ceil(32) * 32, tokens.div_ceil(16) * 16);
    let mut halves = vec![0u16; if turned { count * k * np } else { count * tokens * padded }];
    for (at, v) in x.iter().enumerate() {
        let mut rest = *v;
        for t in 0..count {
            let term = match (rest.is_nan(), count) {
                (true, _) => f32::from_bits(0x7fc0_0000),
                (_, 1) => nearest(rest),
                _ => f32::from_bits(rest.to_bits() & 0xffff_0000),
            };
            let (token, column) = (at / k, at % k);
            let place = if turned { (t * k + column) * np + token } else { (t * tokens + token) * padded + column };
            halves[place] = (term.to_bits() >> 16) as u16;
            rest = if rest.is_finite() { rest - term } else { 0.0 };
        }
        if count > 1 && v.is_finite() {
            assert_eq!(rest, 0.0, "{v} is not the sum of {count} terms");
        }
    }
    halves.chunks(2).map(|p| u32::from(p[0]) | u32::from(p[1]) << 16).collect()
}

/// Takes away weights that the layout cannot hold.
fn fit(layout: Layout, o: usize, k: usize, weights: &mut [f32], random: &mut Random) {
    let layout = layout.with_bf16();
    let layout = if layout == Layout::Mma24 { Layout::Nm { n: 2, m: 4 } } else { layout };
    match layout {
        Layout::Vnm { v, m } => {
            let (v, m) = (v as usize, m as usize);
            for (first, from) in (0..o).step_by(v).flat_map(|r| (0..k).step_by(m).map(move |c| (r, c))) {
                let mut columns: Vec<usize> = (from..(from + m).min(k)).collect();
                while columns.len() > 4 {
                    let dropped = columns.remove(random.below(columns.len()));
                    (first..(first + v).min(o)).for_each(|row| weights[row * k + dropped] = 0.0);
                }
                for row in first..(first + v).min(o) {
                    while columns.iter().filter(|c| weights[row * k + **c] != 0.0).count() > 2 {
                        weights[row * k + columns[random.below(columns.len())]] = 0.0;
                    }
                }
            }
        }
        Layout::Nm { n, m } => {
            let (n, m) = (n as usize, m as usize);
            for row in weights.chunks_mut(k) {
                for group in row.chunks_mut(m) {
                    let most = if group.len() < n { group.len() - 1 } else { n };
                    while group.iter().filter(|w| **w != 0.0).count() > most {
                        let i = random.below(group.len());
                        group[i] = 0.0;
                    }
                }
            }
        }
        // The last two block columns overlap when C does not divide K: one of them must be empty.
        Layout::Bsr { r, c } if !k.is_multiple_of(c as usize) => {
            let (r, c) = (r as usize, c as usize);
            for first in (0..o).step_by(r) {
                let drop = if random.unit() < 0.5 { k / c * c..k } else { (k / c - 1) * c..k / c * c };
                for row in first..(first + r).min(o) {
                    weights[row * k..][drop.clone()].fill(0.0);
                }
            }
        }
        _ => {}
    }
}

/// One graph that computes every case from an input of its own, and its plan.
pub fn graph(linears: &[Linear]) -> (Graph, Plan) {
    let mut g = Graph::new("cases");
    g.syms.push(Sym { name: "B".into(), lo: 1, hi: 4096 });
    let mut fused = Vec::new();
    for (i, l) in linears.iter().enumerate() {
        let case = &l.case;
        let (o, k) = (Dim::fixed("O", case.outputs as u64), Dim::fixed("K", case.inputs as u64));
        let batch = Dim::free("B", SymId(0));
        let input = |name: String, dims| Op::Input { name, ty: Type::new(DType::F32, dims) };
        let weight = |name: String, dims| Op::Weight { name, ty: Type::new(DType::F32, dims) };
        let mut operands = vec![
            g.add(input(format!("x{i}"), vec![batch, k.clone()]), &[]).unwrap(),
            g.add(weight(format!("layer.{i}.w"), vec![o.clone(), k]), &[]).unwrap(),
        ];
        if case.bias {
            operands.push(g.add(weight(format!("layer.{i}.b"), vec![o]), &[]).unwrap());
        }
        let act = if case.separate { None } else { case.act.expr() };
        let mut y = g.add(Op::Linear { bias: case.bias, act }, &operands).unwrap();
        let mut epilogue = None;
        if let (true, Some(expr)) = (case.separate, case.act.expr()) {
            y = g.add(Op::Map { expr, at: vec![vec![0, 1]] }, &[y]).unwrap();
            epilogue = Some(y);
        }
        g.outputs.push((format!("y{i}"), y));
        fused.push(epilogue);
    }
    g.requires.clear();
    let mut plan = Plan::all_dense(&g, "cuda", "dense(16)").unwrap();
    for ((planned, l), epilogue) in plan.linears.iter_mut().zip(linears).zip(fused) {
        planned.layout = l.case.layout.to_string();
        planned.epilogue = epilogue;
    }
    (g, plan)
}
