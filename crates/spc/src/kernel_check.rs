//! The kernel of every linear alone, against its sum in f64, within the bound that any order of summation keeps.
use crate::device::Place;
use crate::engine::{Engine, Inputs};
use crate::failure::Res;
use crate::plan::{PackedSet, Planned};
use crate::weights::{Weight, WeightSet};
use ndarray::{ArrayD, IxDyn};
use spc_base::{Bug, Diagnostic, codes};
use spc_cuda::Activations;
use spc_interp::{Absent, Value, gamma, run_all, sum_abs};
use spc_ir::{Act, Convert, DType, Dim, Graph, LinearPlan, NodeId, Op, Plan, Size, Sym, SymId, Type};
use std::collections::BTreeMap;

/// Longest sum of any linear, contraction or reduction over fixed axes.
pub fn longest_sum(g: &Graph) -> Result<usize, Bug> {
    let mut most = 1u64;
    for node in g.order()? {
        let Some(operand) = g.inputs(node).first().copied() else { continue };
        let dims = &g.ty(operand)?.dims;
        let summed = |d: usize| match &g.node(node).map(|n| &n.op) {
            Ok(Op::Linear { .. }) => d + 1 == dims.len(),
            Ok(Op::Contract { lhs, out, .. }) => lhs.get(d).is_some_and(|l| !out.contains(l)),
            Ok(Op::Reduce { dims, .. }) => dims.contains(&(d as u32)),
            _ => false,
        };
        let sizes = dims.iter().enumerate().filter(|(d, _)| summed(*d)).filter_map(|(_, dim)| dim.size.fixed());
        most = most.max(sizes.fold(1, u64::saturating_mul));
    }
    Ok(usize::try_from(most).unwrap_or(usize::MAX))
}

/// Compares every linear on the values that reach it in one call; how many there are.
///
/// # Errors
/// SP0502 names the first weight, layout, token and output that differ by more than `gamma(K + 1)` (`gamma(K + 8)` for integers)
/// times the sum of absolute products.
pub fn linears(
    f: &Planned,
    packed: &PackedSet,
    weights: &WeightSet,
    on: &Place,
    syms: &[u64],
    given: &Inputs,
) -> Res<usize> {
    let wide = given.iter().map(|(n, v)| (n.clone(), v.convert::<f64>())).collect();
    let values = run_all::<f64>(&f.graph, syms, &wide, weights, Absent::Skip)?;
    for l in &f.plan.linears {
        let operands = f.graph.inputs(l.node);
        let Op::Linear { bias, .. } = f.graph.node(l.node)?.op else { return Err(Bug::new("not a linear").into()) };
        let x = operands.first().and_then(|x| values.get(x)).and_then(Value::floats);
        let x = x.ok_or_else(|| Bug::new("a linear whose input has no value"))?;
        let k = x.shape().last().copied().unwrap_or(0);
        if k == 0 || x.is_empty() {
            continue;
        }
        let x: Vec<f32> = x.iter().map(|v| *v as f32).collect();
        let x = ArrayD::from_shape_vec(IxDyn(&[x.len() / k, k]), x).map_err(|e| Bug::new(e.to_string()))?;
        let b =
            if bias { operands.get(2).map(|b| bias_values(&f.graph, *b, &values, weights)).transpose()? } else { None };
        one(l, packed, weights, on, &x, b.as_deref())?;
    }
    Ok(f.plan.linears.len())
}

fn bias_values(
    g: &Graph,
    node: NodeId,
    values: &BTreeMap<NodeId, Value<f64>>,
    weights: &WeightSet,
) -> Result<Vec<f32>, Bug> {
    if let Op::Weight { name, .. } = &g.node(node)?.op {
        return Ok(weights.want(name)?.values().to_vec());
    }
    let v = values.get(&node).and_then(Value::floats).ok_or_else(|| Bug::new("a bias without a value"))?;
    Ok(v.iter().map(|v| *v as f32).collect())
}

const BIAS: &str = "bias";

fn integers(l: &LinearPlan) -> Result<bool, Bug> {
    let layout: spc_formats::Layout = l.layout.parse().map_err(|e| Bug::new(format!("`{}`: {e}", l.weight)))?;
    Ok(layout.needs_integers())
}

/// `y = linear(x, w)` alone, in the layouts of the plan.
fn alone(l: &LinearPlan, rows: usize, cols: usize, tokens: usize, bias: bool) -> Result<Planned, Bug> {
    let mut g = Graph::new("linear");
    g.syms.push(Sym { name: "N".into(), lo: 1, hi: tokens as u64 });
    let k = Dim::fixed("K", cols as u64);
    let x = g.add(
        Op::Input {
            name: "x".into(),
            ty: Type::new(DType::F32, vec![Dim { axis: "N".into(), size: Size::Free(SymId(0)) }, k.clone()]),
        },
        &[],
    )?;
    let o = Dim::fixed("O", rows as u64);
    let w = g.add(Op::Weight { name: l.weight.clone(), ty: Type::new(DType::F32, vec![o.clone(), k]) }, &[])?;
    let mut operands = vec![x, w];
    if bias {
        operands.push(g.add(Op::Input { name: BIAS.into(), ty: Type::new(DType::F32, vec![o]) }, &[])?);
    }
    // Kernels of integers round what they read.
    if integers(l)? {
        operands[0] = g.add(Op::Round { last: 1 }, &[x])?;
    }
    let y = g.add(Op::Linear { bias, act: None }, &operands)?;
    g.outputs.push(("y".into(), y));
    let mut plan = Plan::all_dense(&g, "cpu", &l.layout)?;
    for p in &mut plan.linears {
        (p.x, p.y) = (l.x, l.y);
    }
    if l.x == Act::Fm {
        plan.converts.push(Convert { node: x, to: Act::Fm, predicted_ps: 0 });
    }
    if l.y == Act::Fm {
        plan.values.insert(y, Act::Fm);
        plan.converts.push(Convert { node: y, to: Act::Rm, predicted_ps: 0 });
    }
    plan.verify(&g).map_err(Bug::new)?;
    Ok(Planned { graph: g, plan, interp: false })
}

fn one(
    l: &LinearPlan,
    packed: &PackedSet,
    weights: &WeightSet,
    on: &Place,
    x: &ArrayD<f32>,
    bias: Option<&[f32]>,
) -> Res<()> {
    let p = packed.get(&(l.weight.clone(), l.layout.clone())).ok_or_else(|| Bug::new("a linear is not packed"))?;
    let (rows, cols, tokens) = (p.rows(), p.cols(), x.shape()[0]);
    let planned = alone(l, rows, cols, tokens, bias.is_some())?;
    let engine = Engine::at(&planned, packed, weights, on)?;
    let mut given = Inputs::from([("x".to_string(), Value::F(x.clone()))]);
    if let Some(b) = bias {
        let b = ArrayD::from_shape_vec(IxDyn(&[b.len()]), b.to_vec()).map_err(|e| Bug::new(e.to_string()))?;
        given.insert(BIAS.into(), Value::F(b));
    }
    let found = engine.call(&given)?;
    let found = found.first().and_then(|(_, v)| v.floats()).ok_or_else(|| Bug::new("a linear without a result"))?;

    let wide = given.iter().map(|(n, v)| (n.clone(), v.convert::<f64>())).collect();
    // The weight as the packed layout holds it: what is checked is the kernel, not the packing.
    let mut own = WeightSet::default();
    own.insert(&l.weight, Weight::new(vec![rows, cols], p.unpack().map_err(Bug::new)?.into())?);
    let exact = spc_interp::run::<f64>(&planned.graph, &[tokens as u64], &wide, &own)?;
    let exact = exact.first().and_then(|(_, v)| v.floats()).ok_or_else(|| Bug::new("a linear without a result"))?;
    // A sum of integers is exact; a few roundings scale it, and weights and activations are rounded products themselves.
    let tensor = l.layout.parse::<spc_formats::Layout>().is_ok_and(|l| l.needs_tensor_cores());
    // Tensor cores add three products for each, and their sums are cut off rather than rounded to nearest.
    let terms = if tensor { 6 * (cols + 32) } else { cols };
    let rounding = if tensor && on.activations() == Some(Activations::Bf16) { 1.0 / 256.0 } else { 0.0 };
    let roundings = if integers(l)? { 8 } else { 1 };
    let size = sum_abs(x, own.want(&l.weight)?.values(), bias)?;
    for (i, ((y, e), s)) in found.iter().zip(exact).zip(&size).enumerate() {
        let allowed = (gamma(terms + roundings) + rounding) * s + f64::from(f32::MIN_POSITIVE) * cols as f64;
        let error = (f64::from(*y) - e).abs();
        // Also refuses NaN where the sum is finite.
        if e.is_finite() && (error > allowed || error.is_nan()) {
            let (token, output) = (i / rows.max(1), i % rows.max(1));
            let text = format!("the kernel of `{}` in {} differs from the reference", l.weight, l.layout);
            return Err(Diagnostic::error(codes::VERIFY_FAILED, text)
                .note(format!(
                    "token {token}, output {output}: compiled {y:?}, reference {e:?}, allowed difference {allowed:.3e}"
                ))
                .into());
        }
    }
    Ok(())
}
