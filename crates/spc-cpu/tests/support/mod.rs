//! What several tests share.
#![allow(dead_code, unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[cfg(unix)]
pub mod guard;

use spc_formats::{Layout, Validated, pack, validate};
use spc_interp::Value;
use spc_interp::testing::Rng;
use spc_ir::{Act, Beside, Convert, Epilogue, Graph, NodeId, Plan};
use spc_kernel::{PackedPort, Program, Slice, Sources, Tensor};
use std::collections::{BTreeMap, BTreeSet};

pub struct Weights<'a> {
    pub raw: &'a BTreeMap<String, Vec<f32>>,
    pub packed: BTreeMap<PackedPort, Validated>,
}

impl Sources for Weights<'_> {
    fn weight(&self, name: &str) -> Option<&[f32]> {
        self.raw.get(name).map(Vec::as_slice)
    }

    fn packed(&self, port: &PackedPort) -> Option<&Validated> {
        self.packed.get(port)
    }
}

pub fn sources<'a>(p: &Program, raw: &'a BTreeMap<String, Vec<f32>>) -> Weights<'a> {
    let one = |port: &PackedPort| {
        let packed = pack(&port.layout, port.rows, port.cols, &raw[&port.weight]).unwrap();
        (port.clone(), validate(packed).unwrap())
    };
    Weights { raw, packed: p.packed().iter().map(one).collect() }
}

pub const LAYOUTS: [&str; 13] = [
    "dense(4)",
    "dense(16)",
    "vx1(1)",
    "vx1(4)",
    "vx1(16)",
    "bsr(4,2)",
    "bsr(2,1)",
    "nm(2,3)",
    "csr",
    "nm16(2,3)",
    "csr16",
    "bitmap",
    "vnm16(16,5)",
];

/// Every linear in a random layout that holds its weight, feature-major where it can or must be.
pub fn random_plan(g: &Graph, weights: &BTreeMap<String, Vec<f32>>, rng: &mut Rng) -> Plan {
    let mut plan = Plan::all_dense(g, "cpu", "dense(16)").unwrap();
    let (mut linears, mut ends) = (plan.linears.clone(), BTreeSet::new());
    for l in &mut linears {
        let (rows, cols) = g.ty(g.inputs(l.node)[1]).unwrap().matrix().unwrap();
        let fits = |t: &&str| pack(&t.parse::<Layout>().unwrap(), rows, cols, &weights[&l.weight]).is_ok();
        let held: Vec<&str> = LAYOUTS.iter().copied().filter(|t| fits(t)).collect();
        l.layout = rng.pick(&held).unwrap().to_string();
        if let [m] = g.readers(l.node)[..]
            && !ends.contains(&m)
            && Epilogue::fused(g, l.node, m).unwrap().is_some()
        {
            l.epilogue = Some(m);
            ends.insert(m);
        }
        let layout: Layout = l.layout.parse().unwrap();
        if layout.feature_major() && (!layout.row_major() || rng.chance(1, 2)) {
            (l.x, l.y) = (Act::Fm, Act::Fm);
            plan.values.insert(l.epilogue.unwrap_or(l.node), Act::Fm);
        }
    }
    let mut converts: Vec<Convert> = Vec::new();
    let mut convert = |node: NodeId, to: Act, own: Act| {
        if own != to && !converts.iter().any(|c| c.node == node && c.to == to) {
            converts.push(Convert { node, to, predicted_ps: 0 });
        }
    };
    for l in &linears {
        let x = g.inputs(l.node)[0];
        // A matrix of windows may be written feature-major at once.
        let read_by_linears = g.readers(x).iter().all(|r| linears.iter().any(|l| l.node == *r && g.inputs(*r)[0] == x));
        if l.x == Act::Fm
            && spc_ir::is_unfolded(g, x).unwrap()
            && read_by_linears
            && !g.is_output(x)
            && rng.chance(2, 3)
        {
            plan.values.insert(x, Act::Fm);
        }
    }
    for l in &linears {
        let x = g.inputs(l.node)[0];
        convert(x, l.x, plan.values.get(&x).copied().unwrap_or(Act::Rm));
        let y = l.epilogue.unwrap_or(l.node);
        convert(y, Act::Rm, l.y);
        for (r, kind) in l.epilogue.map_or(Vec::new(), |m| Epilogue::fused(g, l.node, m).unwrap().unwrap().beside) {
            if kind == Beside::Residual {
                convert(r, l.y, plan.values.get(&r).copied().unwrap_or(Act::Rm));
            }
        }
    }
    plan.linears = linears;
    plan.converts = converts;
    plan
}

pub fn tensors(p: &Program, inputs: &BTreeMap<String, Value<f32>>) -> Vec<Tensor> {
    let own = |v: &Value<f32>| match v {
        Value::F(a) => Tensor::F32(a.iter().copied().collect()),
        Value::I(a) => Tensor::I32(a.iter().copied().collect()),
        Value::B(a) => Tensor::Bool(a.iter().copied().collect()),
    };
    p.inputs().iter().map(|port| own(&inputs[&port.name])).collect()
}

pub fn borrowed(all: &[Tensor]) -> Vec<Slice<'_>> {
    fn one(t: &Tensor) -> Slice<'_> {
        match t {
            Tensor::F32(v) => Slice::F32(v),
            Tensor::I32(v) => Slice::I32(v),
            Tensor::Bool(v) => Slice::Bool(v),
        }
    }
    all.iter().map(one).collect()
}

pub fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    match (a, b) {
        (Tensor::F32(a), Tensor::F32(b)) => {
            let same = |(x, y): (&f32, &f32)| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
            a.len() == b.len() && a.iter().zip(b).all(same)
        }
        _ => a == b,
    }
}
