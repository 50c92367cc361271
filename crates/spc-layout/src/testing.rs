//! Small graphs and weights for tests.
use crate::model::{Folds, Model, Offer};
use crate::offer::{as_model, groups_with, with_offers};
use crate::{CostTable, WeightFacts};
use proptest::prelude::*;
use spc_formats::Layout;
use spc_ir::structure::{Fold, Folded, Recipe, Siblings, folds, with_folds};
use spc_ir::{BinFn, DType, Dim, Graph, NodeId, Op, ReduceFn, ScalarExpr, Sym, SymId, Type, UnFn};
use std::collections::BTreeMap;

/// Features of every value in these graphs.
pub(crate) const F: u64 = 32;

/// How the weights of a matrix lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zeros {
    None,
    Vectors,
    TwoOfFour,
    Loose,
    /// Two of the first four of each eight columns.
    Shared,
}

pub(crate) fn matrix(zeros: Zeros, rows: usize, cols: usize) -> Vec<f32> {
    let keep = |i: usize| {
        let (row, col) = (i / cols, i % cols);
        match zeros {
            Zeros::None => true,
            Zeros::Vectors => (row / 16 * 7 + col * 5) % 4 == 0,
            Zeros::TwoOfFour => (col + row) % 4 < 2,
            Zeros::Shared => col % 8 < 4 && (col + row) % 4 < 2,
            Zeros::Loose => {
                let h = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                ((h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40).is_multiple_of(4)
            }
        }
    };
    (0..rows * cols).map(|i| if keep(i) { 1.0 + i as f32 } else { 0.0 }).collect()
}

/// A graph under construction, with the facts about its weights.
pub(crate) struct Net {
    pub g: Graph,
    pub facts: BTreeMap<String, WeightFacts>,
    pub x: NodeId,
}

impl Net {
    /// One input `x: f32[B, F]` with a free axis B in 1..1024.
    pub fn new() -> Net {
        let mut g = Graph::new("f");
        g.syms.push(Sym { name: "B".into(), lo: 1, hi: 1024 });
        let ty = Type::new(DType::F32, vec![Dim::free("B", SymId(0)), Dim::fixed("F", F)]);
        let x = g.add(Op::Input { name: "x".into(), ty }, &[]).unwrap();
        Net { g, facts: BTreeMap::new(), x }
    }

    pub fn weight(&mut self, zeros: Zeros) -> NodeId {
        let name = format!("w{}", self.facts.len());
        let n = F as usize;
        // What no weight has by itself, as a constraint would suggest it.
        let shared = [spc_formats::Layout::Vnm16 { v: 16, m: 8 }];
        let extra: &[_] = if zeros == Zeros::Shared { &shared } else { &[] };
        self.facts.insert(name.clone(), WeightFacts::of(n, n, &matrix(zeros, n, n), extra).unwrap());
        let ty = Type::new(DType::F32, vec![Dim::fixed("O", F), Dim::fixed("F", F)]);
        self.g.add(Op::Weight { name, ty }, &[]).unwrap()
    }

    pub fn linear(&mut self, x: NodeId, zeros: Zeros) -> NodeId {
        let w = self.weight(zeros);
        self.g.add(Op::Linear { bias: false, act: None }, &[x, w]).unwrap()
    }

    pub fn map(&mut self, expr: ScalarExpr, inputs: &[NodeId]) -> NodeId {
        let at = vec![vec![0, 1]; inputs.len()];
        self.g.add(Op::Map { expr, at }, inputs).unwrap()
    }

    pub fn relu(&mut self, x: NodeId) -> NodeId {
        self.map(ScalarExpr::bin(BinFn::Max, ScalarExpr::Arg(0), ScalarExpr::Const(0.0)), &[x])
    }

    pub fn exp(&mut self, x: NodeId) -> NodeId {
        self.map(ScalarExpr::un(UnFn::Exp, ScalarExpr::Arg(0)), &[x])
    }

    pub fn plus(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.map(ScalarExpr::bin(BinFn::Add, ScalarExpr::Arg(0), ScalarExpr::Arg(1)), &[a, b])
    }

    /// `x - mean(x)` over features: an operator that only works row-major.
    pub fn centre(&mut self, x: NodeId) -> NodeId {
        let m = self.g.add(Op::Reduce { f: ReduceFn::Mean, dims: vec![1] }, &[x]).unwrap();
        let expr = ScalarExpr::bin(BinFn::Sub, ScalarExpr::Arg(0), ScalarExpr::Arg(1));
        self.g.add(Op::Map { expr, at: vec![vec![0, 1], vec![0]] }, &[x, m]).unwrap()
    }

    /// A sum that no kernel of `a` or `b` can end with: each is read for its mean, too.
    pub fn mixed(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let (a, b) = (self.centre(a), self.centre(b));
        self.plus(a, b)
    }

    /// `x` read at `place + step - 1` of its features: a window of 16 places and 2 steps, as a matrix again.
    pub fn windows(&mut self, x: NodeId) -> NodeId {
        let into = vec![Dim::fixed("P", F / 2), Dim::fixed("S", 2)];
        let w = self.g.add(Op::Window { dim: 1, into, coeff: vec![1, 1], offset: -1 }, &[x]).unwrap();
        self.g.add(Op::Merge { dim: 1, count: 2 }, &[w]).unwrap()
    }

    /// The features in another order, by a transpose of parts that is no window.
    pub fn regrouped(&mut self, x: NodeId) -> NodeId {
        let into = vec![Dim::fixed("P", F / 2), Dim::fixed("S", 2)];
        let s = self.g.add(Op::Split { dim: 1, into }, &[x]).unwrap();
        let t = self.g.add(Op::Transpose { perm: vec![1, 0, 2] }, &[s]).unwrap();
        let t = self.g.add(Op::Transpose { perm: vec![1, 0, 2] }, &[t]).unwrap();
        self.g.add(Op::Merge { dim: 1, count: 2 }, &[t]).unwrap()
    }

    /// Features before tokens and back again.
    pub fn turned(&mut self, x: NodeId) -> NodeId {
        let t = self.g.add(Op::Transpose { perm: vec![1, 0] }, &[x]).unwrap();
        let e = self.exp(t);
        self.g.add(Op::Transpose { perm: vec![1, 0] }, &[e]).unwrap()
    }

    /// A product with a matrix times what `expr` says of it (`a0`) and of weights along its rows: no linear as it stands.
    pub fn product(&mut self, x: NodeId, zeros: Zeros, expr: &str) -> NodeId {
        let expr = ScalarExpr::parse(expr).unwrap();
        let mut inputs = vec![self.weight(zeros)];
        inputs.extend((1..expr.arity()).map(|_| self.vector()));
        let at = (0..inputs.len()).map(|i| if i == 0 { vec![0, 1] } else { vec![0] }).collect();
        let w = self.g.add(Op::Map { expr, at }, &inputs).unwrap();
        self.g.add(Op::Contract { lhs: vec![0, 1], rhs: vec![2, 1], out: vec![0, 2] }, &[x, w]).unwrap()
    }

    /// Channels of a value whose features stand before its tokens, and back again.
    pub fn planes(&mut self, x: NodeId) -> NodeId {
        let t = self.g.add(Op::Transpose { perm: vec![1, 0] }, &[x]).unwrap();
        let v = self.vector();
        let expr = ScalarExpr::parse("(mul a0 a1)").unwrap();
        let m = self.g.add(Op::Map { expr, at: vec![vec![0, 1], vec![0]] }, &[t, v]).unwrap();
        self.g.add(Op::Transpose { perm: vec![1, 0] }, &[m]).unwrap()
    }

    /// A weight along the features.
    pub fn vector(&mut self) -> NodeId {
        let name = format!("v{}", self.g.weights().len());
        let ty = Type::new(DType::F32, vec![Dim::fixed("F", F)]);
        self.g.add(Op::Weight { name, ty }, &[]).unwrap()
    }

    /// `expr` of a value and weights along its features: `a1`, `a2`, ..
    pub fn channels(&mut self, expr: &str, x: NodeId) -> NodeId {
        let expr = ScalarExpr::parse(expr).unwrap();
        let mut inputs = vec![x];
        inputs.extend((1..expr.arity()).map(|_| self.vector()));
        let at = (0..inputs.len()).map(|i| if i == 0 { vec![0, 1] } else { vec![1] }).collect();
        self.g.add(Op::Map { expr, at }, &inputs).unwrap()
    }

    pub fn output(mut self, y: NodeId) -> Net {
        let name = format!("y{}", self.g.outputs.len());
        self.g.outputs.push((name, y));
        self
    }

    /// Keeps only these kinds of candidates.
    pub fn only(mut self, layouts: &[&str]) -> Net {
        for f in self.facts.values_mut() {
            f.candidates.retain(|(l, _)| layouts.contains(&l.to_string().as_str()));
        }
        self
    }
}

/// A graph with everything on offer that it has.
pub(crate) struct All {
    pub g: Graph,
    /// Of all weights, those that are made among them.
    pub facts: BTreeMap<String, WeightFacts>,
    pub offers: Vec<Offer>,
    pub folds: Folds,
    pub folded: Folded,
    pub list: Vec<Fold>,
    pub groups: Vec<Siblings>,
}

impl All {
    pub fn model(&self, tuned: &BTreeMap<String, u64>) -> Model<'_> {
        Model::with_folds(&self.g, &self.facts, tuned, &self.offers, &self.folds).unwrap()
    }
}

/// The facts with those of the weights that these folds make: products of factors that are not 0.
pub(crate) fn with_products(facts: &BTreeMap<String, WeightFacts>, list: &[Fold]) -> BTreeMap<String, WeightFacts> {
    let mut out = facts.clone();
    for made in list.iter().flat_map(|f| &f.replaced).flat_map(|r| &r.1) {
        if let Recipe::Scaled { .. } = made.how {
            out.insert(made.name.clone(), out[&made.from[0]].clone());
        }
    }
    out
}

/// The graph with everything on offer that it has, the facts about it, and what is on offer.
pub(crate) fn union(net: &Net) -> All {
    let (list, _) = folds(&net.g).unwrap();
    let folded = with_folds(&net.g, &list).unwrap();
    let groups = groups_with(&net.g, &folded).unwrap();
    let facts = with_products(&net.facts, &list);
    union_of(folded, list, groups, facts)
}

/// The same of what is on offer.
pub(crate) fn union_of(
    folded: Folded,
    list: Vec<Fold>,
    groups: Vec<Siblings>,
    facts: BTreeMap<String, WeightFacts>,
) -> All {
    let (g, facts, offers) = with_offers(&folded.union, &facts, &groups).unwrap();
    let offers = offers.into_iter().filter(|o| !o.replaced.is_empty()).collect();
    let folds = as_model(&folded, &list);
    All { g, facts, offers, folds, folded, list, groups }
}

pub(crate) fn with_layout(facts: &WeightFacts, layout: Layout) -> bool {
    facts.candidates.iter().any(|(l, r)| *l == layout && r.is_ok())
}

/// Random graphs of up to `ops` operators; the last value and sometimes another one are outputs.
pub(crate) fn nets(ops: usize) -> impl Strategy<Value = Net> {
    let zeros = prop_oneof![Just(Zeros::None), Just(Zeros::Vectors), Just(Zeros::TwoOfFour), Just(Zeros::Loose)];
    let op = (0u8..12, zeros, 0usize..3, 0usize..3);
    (prop::collection::vec(op, 1..=ops), any::<bool>()).prop_map(|(list, second)| {
        let mut net = Net::new();
        let mut values = vec![net.x];
        for (kind, zeros, a, b) in list {
            let near = |back: usize| values[values.len() - 1 - back % values.len()];
            let (a, b) = (near(a), near(b));
            let v = match kind {
                0..=4 => net.linear(a, zeros),
                5 => net.relu(a),
                6 => net.exp(a),
                7 | 8 => net.plus(a, b),
                9 => net.windows(a),
                10 => net.turned(a),
                _ => net.centre(a),
            };
            values.push(v);
        }
        let last = values[values.len() - 1];
        let mut net = net.output(last);
        if second && values.len() > 2 {
            net = net.output(values[values.len() - 2]);
        }
        net.g = net.g.compact().unwrap();
        net.facts.retain(|name, _| net.g.weights().iter().any(|(n, _)| n == name));
        net
    })
}

/// Random graphs of two or three linears that read one value, with something before and after them.
pub(crate) fn families() -> impl Strategy<Value = Net> {
    let zeros = prop_oneof![Just(Zeros::None), Just(Zeros::Vectors), Just(Zeros::Vectors), Just(Zeros::Loose)];
    (prop::collection::vec((zeros, 0u8..5), 2..=3), 0u8..3).prop_map(|(list, before)| {
        let mut net = Net::new();
        let x = match before {
            0 => net.x,
            1 => net.relu(net.x),
            _ => net.centre(net.x),
        };
        let mut sum = None;
        for (zeros, after) in list {
            let y = net.linear(x, zeros);
            let y = match after {
                0 | 1 => y,
                2 => net.relu(y),
                3 => net.centre(y),
                _ => net.linear(y, zeros),
            };
            sum = Some(sum.map_or(y, |s| net.plus(s, y)));
        }
        let sum = sum.unwrap_or(x);
        // A result of its own, so that nothing but operators reads the linears.
        let y = net.exp(sum);
        let mut net = net.output(y);
        net.g = net.g.compact().unwrap();
        net
    })
}

/// Random graphs of up to `ops` operators with what may be folded and merged: gains and shifts before linears, channels and
/// constants after them, products of matrices with factors, and linears that read one value; with windows and planes of
/// channels, too, where they are asked for.
pub(crate) fn foldable(ops: usize, windows: bool) -> impl Strategy<Value = Net> {
    let zeros = prop_oneof![Just(Zeros::None), Just(Zeros::Vectors), Just(Zeros::Loose)];
    let op = (0u8..if windows { 25 } else { 20 }, zeros, 0usize..2, 0usize..3);
    prop::collection::vec(op, 2..=ops).prop_map(|list| {
        let mut net = Net::new();
        let mut values = vec![net.x];
        for (kind, zeros, a, b) in list {
            let near = |back: usize| values[values.len() - 1 - back % values.len()];
            let (a, b) = (near(a), near(b));
            let v = match kind {
                0..=3 => net.linear(a, zeros),
                4 => net.relu(a),
                5 => net.plus(a, b),
                6 => net.centre(a),
                7 => net.channels("(mul a0 a1)", a),
                8 => net.channels("(add (mul (max a0 0) a1) a2)", a),
                9 => net.channels("(mul (tanh a0) a1)", a),
                10 => net.channels("(add (mul (sub a0 a1) a2) a3)", a),
                11 => net.channels("(mul a0 0.5)", a),
                12 => net.channels("(max 0 (add a0 a1))", a),
                13 => {
                    let g = net.channels("(mul (tanh a0) a1)", a);
                    net.linear(g, zeros)
                }
                14 => {
                    let n = net.centre(a);
                    let g = net.channels("(add (mul a0 a1) a2)", n);
                    net.linear(g, zeros)
                }
                15 => {
                    let y = net.linear(a, zeros);
                    net.channels("(max 0 (add (mul (sub a0 a1) a2) a3))", y)
                }
                16 => {
                    let y = net.linear(a, zeros);
                    net.channels("(mul a0 0.5)", y)
                }
                17 => {
                    let (x, y) = (net.linear(a, zeros), net.linear(a, zeros));
                    net.mixed(x, y)
                }
                18 => net.product(a, zeros, "(mul a0 0.5)"),
                19 => net.product(a, zeros, "(mul a0 a1)"),
                20 => net.windows(a),
                21 => net.turned(a),
                22 => {
                    let w = net.windows(a);
                    net.linear(w, zeros)
                }
                _ => {
                    // A convolution and what is done to its channels.
                    let w = net.windows(a);
                    let y = net.linear(w, zeros);
                    net.planes(y)
                }
            };
            values.push(v);
        }
        let last = values[values.len() - 1];
        let mut net = net.output(last);
        net.g = net.g.compact().unwrap();
        net.facts.retain(|name, _| net.g.weights().iter().any(|(n, _)| n == name));
        net
    })
}

/// Random tables in which conversions, launches and kernels weigh about the same for these graphs.
pub(crate) fn tables() -> impl Strategy<Value = CostTable> {
    let rate = || 20_000u64..400_000;
    (rate(), rate(), rate(), rate(), 0u64..400_000, 2_000u64..80_000, 2_000u64..80_000, 0u64..9_000).prop_map(
        |(dense_rm, dense_fm, vx1, csr, launch_ps, activations, converts, call_ps)| {
            let mut t = CostTable::clif_x86_64_v1();
            t.name = "random".into();
            (t.dense_rm.mul_fs, t.dense_fm.mul_fs, t.vx1.mul_fs, t.csr.mul_fs) = (dense_rm, dense_fm, vx1, csr);
            (t.activation_bytes_per_us, t.convert_bytes_per_us) = (activations, converts);
            (t.launch_ps, t.call_ps) = (launch_ps, call_ps);
            t
        },
    )
}

/// A failing case is printed as the graph's text.
impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.g)
    }
}
