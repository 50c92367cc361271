//! One linear as a program of its own, in any layout, and its epilogue as another one for peers that only multiply.
use crate::pairs::Clock;
use spc_base::Bug;
use spc_cpu::{Executor, Isa};
use spc_formats::{Layout, Validated};
use spc_ir::{Act, BinFn, Convert, DType, Dim, Graph, NodeId, Op, Plan, ScalarExpr, Sym, SymId, Type};
use spc_kernel::{PackedPort, Slice, Sources, schedule};
use std::time::Duration;

/// A layer: a linear with its bias and what is fused into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub rows: usize,
    pub cols: usize,
    pub bias: bool,
    pub act: Option<ScalarExpr>,
}

/// A layer in one layout, compiled.
pub struct Alone {
    executor: Executor,
    x: Vec<f32>,
    bias: Option<Vec<f32>>,
    /// Size of the only free axis, if there is one.
    tokens: Option<u64>,
    /// For each step, whether it converts activations and is not the layer's own work.
    converts: Vec<bool>,
}

struct One<'a>(Option<&'a Validated>);

impl Sources for One<'_> {
    fn weight(&self, _: &str) -> Option<&[f32]> {
        None
    }

    fn packed(&self, _: &PackedPort) -> Option<&Validated> {
        self.0
    }
}

/// Numbers in -1..1, the same for the same seed.
pub fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut s = seed;
    let mut next = || {
        s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (s >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn matrix(graph: &mut Graph, name: &str, features: usize) -> Result<NodeId, Bug> {
    let ty = Type::new(DType::F32, vec![Dim::free("N", SymId(0)), Dim::fixed("F", features as u64)]);
    graph.add(Op::Input { name: name.into(), ty }, &[])
}

fn start(tokens: u64) -> Graph {
    let mut g = Graph::new("layer");
    g.syms.push(Sym { name: "N".into(), lo: 1, hi: tokens.max(1) });
    g
}

/// Dense kernels, those of integers and those for few tokens alone read and write token-major, all others feature-major.
fn own_act(layout: Layout) -> Act {
    if matches!(layout, Layout::Dense { .. }) || !layout.feature_major() { Act::Rm } else { Act::Fm }
}

impl Alone {
    /// Compiles a layer whose weight is packed in the layout that `packed` has, for inputs of `tokens` tokens. `act` is how
    /// activations lie; nothing: as the layout has it by itself.
    pub fn new(
        layer: &Layer,
        packed: &Validated,
        act: Option<Act>,
        x: &[f32],
        threads: usize,
        isa: Isa,
    ) -> Result<Alone, Bug> {
        let tokens = x.len().checked_div(layer.cols).unwrap_or(0) as u64;
        let mut g = start(tokens);
        let xs = matrix(&mut g, "x", layer.cols)?;
        let (o, k) = (Dim::fixed("O", layer.rows as u64), Dim::fixed("F", layer.cols as u64));
        let w = g.add(Op::Weight { name: "w".into(), ty: Type::new(DType::F32, vec![o.clone(), k]) }, &[])?;
        let mut operands = vec![xs, w];
        if layer.bias {
            operands.push(g.add(Op::Input { name: "b".into(), ty: Type::new(DType::F32, vec![o]) }, &[])?);
        }
        let layout = packed.layout();
        if layout.needs_integers() {
            operands[0] = g.add(Op::Round { last: 1 }, &[xs])?;
        }
        let y = g.add(Op::Linear { bias: layer.bias, act: layer.act.clone() }, &operands)?;
        g.outputs.push(("y".into(), y));
        let mut plan = Plan::all_dense(&g, "cpu", &layout.to_string())?;
        if act.unwrap_or(own_act(layout)) == Act::Fm {
            for l in &mut plan.linears {
                (l.x, l.y) = (Act::Fm, Act::Fm);
            }
            plan.values.insert(y, Act::Fm);
            plan.converts = vec![
                Convert { node: xs, to: Act::Fm, predicted_ps: 0 },
                Convert { node: y, to: Act::Rm, predicted_ps: 0 },
            ];
        }
        Alone::compile(&g, plan, Some(packed), (x, layer.bias.then_some(layer.rows)), threads, isa)
    }

    /// What a layer does beside the product, on products that are there already; nothing where it does nothing.
    pub fn epilogue(layer: &Layer, products: &[f32], threads: usize, isa: Isa) -> Result<Option<Alone>, Bug> {
        let sum = |a: u8| {
            if layer.bias {
                ScalarExpr::bin(BinFn::Add, ScalarExpr::Arg(a), ScalarExpr::Arg(1))
            } else {
                ScalarExpr::Arg(a)
            }
        };
        let expr = match &layer.act {
            Some(e) => e.substitute(&sum),
            None if layer.bias => sum(0),
            None => return Ok(None),
        };
        let tokens = products.len().checked_div(layer.rows).unwrap_or(0) as u64;
        let mut g = start(tokens);
        let xs = matrix(&mut g, "x", layer.rows)?;
        let (mut operands, mut at) = (vec![xs], vec![vec![0, 1]]);
        if layer.bias {
            let ty = Type::new(DType::F32, vec![Dim::fixed("F", layer.rows as u64)]);
            operands.push(g.add(Op::Input { name: "b".into(), ty }, &[])?);
            at.push(vec![1]);
        }
        let y = g.add(Op::Map { expr, at }, &operands)?;
        g.outputs.push(("y".into(), y));
        let plan = Plan::all_dense(&g, "cpu", "dense(16)")?;
        Alone::compile(&g, plan, None, (products, layer.bias.then_some(layer.rows)), threads, isa).map(Some)
    }

    /// The products of all pairs of tokens of `x`, of `features` features each: a contraction that is no linear.
    pub fn contract(features: usize, x: &[f32], isa: Isa) -> Result<Alone, Bug> {
        let tokens = x.len().checked_div(features).unwrap_or(0) as u64;
        let mut g = Graph::new("products");
        let ty = |n: &str| Type::new(DType::F32, vec![Dim::fixed(n, tokens), Dim::fixed("F", features as u64)]);
        let xs = g.add(Op::Input { name: "x".into(), ty: ty("N") }, &[])?;
        let y = g.add(Op::Contract { lhs: vec![0, 2], rhs: vec![1, 2], out: vec![0, 1] }, &[xs, xs])?;
        g.outputs.push(("y".into(), y));
        let plan = Plan::all_dense(&g, "cpu", "dense(16)")?;
        Alone::compile(&g, plan, None, (x, None), 1, isa)
    }

    fn compile(
        g: &Graph,
        mut plan: Plan,
        packed: Option<&Validated>,
        (x, bias): (&[f32], Option<usize>),
        threads: usize,
        isa: Isa,
    ) -> Result<Alone, Bug> {
        // As a program that is made for so many tokens.
        plan.tuned_for.extend(g.syms.first().map(|s| (s.name.clone(), s.hi)));
        let executor = Executor::new(schedule(g, &plan, isa.target())?, &One(packed), threads, isa)?;
        let program = executor.program();
        let named = |k: usize| program.kernels().get(k).map_or("", |k| k.name.as_str());
        let converts = program.steps().iter().map(|s| {
            let name = named(s.kernel);
            // Rounding is shared by all that read a value, and priced by itself.
            ["rm_to_fm", "fm_to_rm", "round_"].iter().any(|p| name.starts_with(p))
        });
        let converts = converts.collect();
        let tokens = g.syms.first().map(|s| s.hi);
        let bias = bias.map(|n| random(n, 77));
        Ok(Alone { executor, x: x.to_vec(), bias, tokens, converts })
    }

    fn inputs(&self) -> Vec<Slice<'_>> {
        let mut list = vec![Slice::F32(&self.x)];
        list.extend(self.bias.as_deref().map(Slice::F32));
        list
    }

    /// Seconds of the layer's own steps, and those of conversions, in one call.
    pub fn run(&self, now: Clock<'_>) -> Result<(f64, f64), Bug> {
        let wrong = |f| Bug::new(format!("a layer alone does not run: {f:?}"));
        let (_, times) = self.executor.call_timed(self.tokens.as_slice(), &self.inputs(), now).map_err(wrong)?;
        let (mut own, mut around) = (Duration::ZERO, Duration::ZERO);
        for ((_, time), converts) in times.iter().zip(&self.converts) {
            if *converts { around += *time } else { own += *time }
        }
        Ok((own.as_secs_f64(), around.as_secs_f64()))
    }

    /// The result of one call, `[tokens, rows]`.
    pub fn result(&self) -> Result<Vec<f32>, Bug> {
        let wrong = |f| Bug::new(format!("a layer alone does not run: {f:?}"));
        let out = self.executor.call(self.tokens.as_slice(), &self.inputs()).map_err(wrong)?;
        match out.into_iter().next() {
            Some((_, spc_kernel::Tensor::F32(v))) => Ok(v),
            _ => Err(Bug::new("a layer alone has no result")),
        }
    }
}

/// How often to repeat what takes `seconds` once, so that a sample is long against the clock's own time.
pub fn repeats(seconds: f64) -> usize {
    ((30e-6 / seconds.max(1e-9)).ceil() as usize).clamp(1, 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Peer;
    use spc_formats::{pack, validate};
    use spc_ir::UnFn;

    /// A layer alone has the kernel that a program for so many tokens has.
    #[test]
    fn a_layer_is_made_for_its_tokens() {
        let isa = Isa::Avx512Amx;
        if !isa.is_available() {
            spc_base::skipped(&format!("this machine cannot run `{}` code", isa.name()));
            return;
        }
        let layer = Layer { rows: 32, cols: 64, bias: false, act: None };
        let w: Vec<f32> = (0..32 * 64).map(|i| (i % 255) as f32 - 127.0).collect();
        let packed = pack(&Layout::I8 { r: 32 }, 32, 64, &w).unwrap();
        let packed = validate(packed).unwrap();
        for (n, tiles) in [(1, false), (64, true)] {
            let a = Alone::new(&layer, &packed, None, &random(n * 64, 2), 1, isa).unwrap();
            let names: Vec<&str> = a.executor.program().kernels().iter().map(|k| k.name.as_str()).collect();
            assert_eq!(names.iter().any(|n| n.starts_with("round_tokens16")), tiles, "{n} tokens: {names:?}");
        }
    }

    /// Peer and epilogue, dense kernels and sparse ones, all compute the same layer.
    #[test]
    fn all_contestants_compute_the_same_layer() {
        let start = std::time::Instant::now();
        let relu = ScalarExpr::bin(BinFn::Max, ScalarExpr::Arg(0), ScalarExpr::Const(0.0));
        let soft = ScalarExpr::un(UnFn::Exp, ScalarExpr::Arg(0));
        let cases = [(false, None), (true, None), (false, Some(relu)), (true, Some(soft))];
        for (o, k, n) in [(5usize, 7usize, 3usize), (32, 48, 1), (17, 33, 50)] {
            for (bias, act) in cases.clone() {
                let layer = Layer { rows: o, cols: k, bias, act };
                let mut w = random(o * k, 1);
                w.iter_mut().enumerate().filter(|(i, _)| i % 3 == 0).for_each(|(_, w)| *w = 0.0);
                let x = random(n * k, 2);
                let mut peer = Peer::new(o, k, &w, &x, 1).unwrap();
                peer.run();
                let products = peer.result().to_vec();
                let isa = Isa::native();
                let wanted = match Alone::epilogue(&layer, &products, 1, isa).unwrap() {
                    Some(e) => e.result().unwrap(),
                    None => products,
                };
                for (name, act) in
                    [("dense(16)", None), ("dense(16)", Some(Act::Fm)), ("vx1(4)", None), ("csr", Some(Act::Fm))]
                {
                    let layout: Layout = name.parse().unwrap();
                    let packed = validate(pack(&layout, o, k, &w).unwrap()).unwrap();
                    let a = Alone::new(&layer, &packed, act, &x, 1, isa).unwrap();
                    let found = a.result().unwrap();
                    assert_eq!(found.len(), n * o);
                    for (i, (f, e)) in found.iter().zip(&wanted).enumerate() {
                        assert!((f - e).abs() <= 1e-4 * (1.0 + e.abs()), "{name} {o} x {k}, {n}: {i}: {f} and {e}");
                    }
                    let (own, around) = a.run(&|| start.elapsed()).unwrap();
                    let fm = act.unwrap_or(own_act(layout)) == Act::Fm;
                    assert!(own > 0.0 && (around > 0.0) == fm, "{name}: {own} {around}");
                }
            }
        }
    }
}
