//! Random programs of the language, random weights and patterns: the interpreter, the loop IR and machine code agree under
//! every layout, and absent weights next to NaN and infinity follow their rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use proptest::prelude::*;
use spc_formats::{DEFAULT_CANDIDATES, Layout};
use spc_interp::{Absent, Value, gamma, linear_alternatives, run_all, sum_abs};
use spc_ir::{Graph, Op};
use spc_kernel::Tensor;
use std::collections::BTreeMap;
use support::{Rng, Weights, declared, exec, optimised, plans, projected, random_weights, sound};

/// A random chain of linears as `.sp` text.
#[derive(Clone, Debug)]
struct Net {
    sizes: Vec<u64>,
    bias: Vec<bool>,
    act: Vec<&'static str>,
    constraints: Vec<Option<String>>,
    residual: bool,
}

impl Net {
    fn text(&self) -> String {
        let n = self.sizes.len() - 1;
        let mut t = String::from("use std.nn\naxis N = 1..37\nmodel m {\n  axes { ");
        let axes: Vec<String> = self.sizes.iter().enumerate().map(|(i, s)| format!("A{i} = {s}")).collect();
        t += &format!("{} }}\n", axes.join(", "));
        for i in 0..n {
            t += &format!("  w{i}: f32[A{}, A{i}]  b{i}: f32[A{}]\n", i + 1, i + 1);
        }
        t += "}\n";
        t += &format!("fn f(x: f32[N, A0]) -> y: f32[N, A{n}] {{\n  h = x\n");
        for i in 0..n {
            let bias = if self.bias[i] { format!(", m.b{i}") } else { String::new() };
            let call = format!("nn.linear(h, m.w{i}{bias})");
            let call = if self.act[i].is_empty() { call } else { format!("nn.{}({call})", self.act[i]) };
            t += &format!("  h = {call}\n");
        }
        t += if self.residual { "  y = h * 0.5 + h\n}\n" } else { "  y = h\n}\n" };
        // Three of three elements are everything, which is refused (SP0303).
        let small = |i: usize| self.sizes[i] * self.sizes[i + 1] <= 3;
        let constraints = self.constraints.iter().enumerate();
        for (i, c) in
            constraints.filter(|(i, c)| !(small(*i) && c.as_ref().is_some_and(|c| c.starts_with("keep 3 of elements"))))
        {
            if let Some(c) = c {
                t += &format!("require c{i}: {c} on m.w{i} ragged\n");
            }
        }
        t
    }
}

fn constraint() -> impl Strategy<Value = Option<String>> {
    let text = |s: &str| Just(Some(s.to_string()));
    prop_oneof![
        Just(None),
        text("keep 25% of tile(out: 16, in: 1) per tensor"),
        text("keep 50% of tile(out: 4, in: 1) per tile(out: 4, in: all)"),
        text("keep 30% of tile(out: 4, in: 4) per tensor by norm1"),
        text("keep 2 of 4 of elements per tile(in: 4) by abs"),
        text("keep 1 of 4 of elements per tile(in: 4) by abs"),
        text("keep 3 of 8 of elements per tile(in: 8) by abs"),
        text("keep 10% of elements per tensor by abs"),
        text("keep 3 of elements per tensor by random(5)"),
    ]
}

fn net() -> impl Strategy<Value = Net> {
    (1usize..=3).prop_flat_map(|n| {
        let act = prop_oneof![Just(""), Just("relu"), Just("gelu"), Just("silu")];
        (
            prop::collection::vec(1u64..=45, n + 1),
            prop::collection::vec(any::<bool>(), n),
            prop::collection::vec(act, n),
            prop::collection::vec(constraint(), n),
            any::<bool>(),
        )
            .prop_map(|(sizes, bias, act, constraints, residual)| Net {
                sizes,
                bias,
                act,
                constraints,
                residual,
            })
    })
}

/// Some rows empty, some full, whatever the constraint left.
fn empty_and_full_rows(g: &Graph, weights: &mut Weights, rng: &mut Rng) {
    for l in plans::linears(g) {
        let (name, rows, cols) = plans::weight_of(g, l);
        let w = weights.get_mut(&name).unwrap();
        for row in 0..rows {
            match rng.below(8) {
                0 => w[row * cols..(row + 1) * cols].fill(0.0),
                1 => w[row * cols..(row + 1) * cols].iter_mut().for_each(|v| *v = rng.float() + 1.5),
                _ => {}
            }
        }
    }
}

fn layouts(g: &Graph) -> Vec<Layout> {
    let mut all = DEFAULT_CANDIDATES.to_vec();
    all.extend(declared(g).into_iter().filter(|l| l.check().is_ok() && !DEFAULT_CANDIDATES.contains(l)));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_layout_gives_the_same_results(net in net(), seed in any::<u64>(), extreme in any::<bool>()) {
        let text = net.text();
        let g = optimised(&sound("random.sp", &text));
        let mut rng = Rng(seed);
        let mut weights = projected(&g, &random_weights(&g, seed));
        if extreme {
            empty_and_full_rows(&g, &mut weights, &mut rng);
        }
        let sizes = exec::random_sizes(&g, &mut rng);
        let inputs = exec::random_inputs(&g, &sizes, &mut rng);
        let mut plan_list: Vec<(String, spc_ir::Plan)> = layouts(&g)
            .into_iter()
            .map(|l| (format!("{l}\n{text}"), plans::forced(&g, &weights, l, rng.below(2) == 0)))
            .collect();
        let tuned: BTreeMap<String, u64> = [("N".to_string(), 1 + rng.below(37))].into_iter().collect();
        plan_list.push((format!("chosen\n{text}"), plans::chosen(&g, &weights, &declared(&g), &tuned)));
        for (what, plan) in plan_list {
            let packs = exec::Packs::new(&g, &plan, &weights);
            for isa in exec::isas() {
                let code = exec::jit(&g, &plan, &packs, &sizes, &inputs, isa);
                let slow = exec::loops(&g, &plan, &packs, &sizes, &inputs, isa);
                prop_assert!(exec::same_bits(&code, &slow), "{} and loop IR differ: {}", isa.name(), what);
                exec::check(&g, &weights, &inputs, &code, &what);
            }
        }
    }

    /// One linear whose input holds NaN and infinities: each element is the sum without the absent terms, or NaN.
    #[test]
    fn absent_weights_next_to_nan_follow_the_rule(
        o in 1u64..=40, k in 1u64..=40, c in constraint(), seed in any::<u64>(), bias in any::<bool>(),
    ) {
        let net = Net { sizes: vec![k, o], bias: vec![bias], act: vec![""], constraints: vec![c], residual: false };
        let g = optimised(&sound("random.sp", &net.text()));
        let mut rng = Rng(seed);
        let weights = projected(&g, &random_weights(&g, seed));
        let sizes = exec::random_sizes(&g, &mut rng);
        let mut inputs = exec::random_inputs(&g, &sizes, &mut rng);
        let Some(Value::F(x)) = inputs.get_mut("x") else { unreachable!() };
        for v in x.iter_mut() {
            match rng.below(12) {
                0 => *v = f32::NAN,
                1 => *v = f32::INFINITY,
                2 => *v = f32::NEG_INFINITY,
                _ => {}
            }
        }
        let x = x.mapv(f64::from);
        let b = bias.then(|| weights["m.b0"].as_slice());
        let (skip, nan) = linear_alternatives::<f64>(&x, &weights["m.w0"], b, None).unwrap();
        let bound = sum_abs(&x, &weights["m.w0"], b).unwrap().mapv(|s| 2.0 * gamma(k as usize + 2) * s + 1e-30);
        for layout in layouts(&g) {
            let plan = plans::forced(&g, &weights, layout, true);
            let packs = exec::Packs::new(&g, &plan, &weights);
            let all = exec::isas();
            let isa = all[rng.below(all.len() as u64) as usize];
            let got = exec::jit(&g, &plan, &packs, &sizes, &inputs, isa);
            let Tensor::F32(y) = &got[0].1 else { unreachable!() };
            for (i, ((s, n), (y, tol))) in skip.iter().zip(&nan).zip(y.iter().zip(&bound)).enumerate() {
                let y = f64::from(*y);
                let is = |w: f64| (w.is_nan() && y.is_nan()) || w == y || (w - y).abs() <= *tol;
                prop_assert!(is(*s) || is(*n), "{}: element {} is {}, allowed are {} and {}", layout, i, y, s, n);
            }
        }
    }
}

/// The passes keep the value of every output of the programs under `tests/run`, to rounding.
#[test]
fn passes_keep_the_values_of_the_file_programs() {
    for e in std::fs::read_dir(support::root().join("run")).unwrap() {
        let path = e.unwrap().path();
        if path.extension().is_none_or(|e| e != "sp") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let checked = sound(&path.display().to_string(), &text);
        let before = checked.graphs.values().next().unwrap();
        let after = optimised(&checked);
        let weights = projected(before, &random_weights(before, 9));
        let mut rng = Rng(9);
        let sizes = exec::random_sizes(before, &mut rng);
        let inputs = exec::double(&exec::random_inputs(before, &sizes, &mut rng));
        let outputs = |g: &Graph| -> Vec<Value<f64>> {
            let all = run_all::<f64>(g, &sizes, &inputs, &weights, Absent::Skip).unwrap();
            g.outputs.iter().map(|(_, o)| all[o].clone()).collect()
        };
        for (a, b) in outputs(before).into_iter().zip(outputs(&after)) {
            match (a, b) {
                (Value::F(a), Value::F(b)) => {
                    let scale = a.iter().fold(1.0f64, |m, v| m.max(v.abs()));
                    let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(worst <= 1e-12 * scale, "{}: {worst:e}", path.display());
                }
                (a, b) => assert_eq!(a, b, "{}", path.display()),
            }
        }
        let left =
            after.ids().into_iter().filter(|n| matches!(after.node(*n).unwrap().op, Op::Contract { .. })).count();
        let attention = text.contains("attention");
        // A convolution in groups is no matrix product.
        let grouped = text.contains("in groups");
        assert!(
            grouped || attention || text.contains("einsum") || left == 0 || !text.contains("nn.linear"),
            "{}",
            path.display()
        );
    }
}
