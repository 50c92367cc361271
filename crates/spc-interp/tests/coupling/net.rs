//! Random networks of the kinds whose axes couple, with weights and one input.
use ndarray::ArrayD;
use spc_interp::Value;
use spc_interp::testing::Rng;
use spc_ir::{BinFn, DType, Dim, Graph, NodeId, Op, ReduceFn, ScalarExpr, Sym, SymId, Type, UnFn};
use std::collections::BTreeMap;

pub struct Net {
    pub graph: Graph,
    pub weights: BTreeMap<String, Vec<f32>>,
    pub inputs: BTreeMap<String, Value<f64>>,
    pub syms: Vec<u64>,
    /// Members that, left out of the zeroed set of the first axis of the weight named, change the result.
    pub needed: Vec<(String, Vec<String>)>,
    pub rng: Rng,
    d: u64,
}

fn arg(n: u8) -> ScalarExpr {
    ScalarExpr::Arg(n)
}

fn num(n: f64) -> ScalarExpr {
    ScalarExpr::Const(n)
}

fn bin(f: BinFn, a: ScalarExpr, b: ScalarExpr) -> ScalarExpr {
    ScalarExpr::bin(f, a, b)
}

fn sigmoid() -> ScalarExpr {
    let e = ScalarExpr::un(UnFn::Exp, ScalarExpr::un(UnFn::Neg, arg(0)));
    bin(BinFn::Div, num(1.0), bin(BinFn::Add, num(1.0), e))
}

impl Net {
    /// `y = head(blocks(x W))` over a free number of tokens.
    pub fn random(seed: u64) -> Net {
        let mut rng = Rng::new(seed);
        let d = [4, 6, 8, 12][rng.below(4)];
        let mut graph = Graph::new("f");
        graph.syms.push(Sym { name: "T".into(), lo: 1, hi: 8 });
        let tokens = 1 + rng.below(3) as u64;
        let mut n = Net {
            graph,
            weights: BTreeMap::new(),
            inputs: BTreeMap::new(),
            needed: vec![],
            syms: vec![tokens],
            rng,
            d,
        };
        let ty = Type::new(DType::F32, vec![Dim::free("T", SymId(0)), Dim::fixed("I", 3)]);
        let values = (0..tokens * 3).map(|_| f64::from(n.rng.eighth())).collect();
        let shape = [tokens as usize, 3];
        n.inputs.insert("x".into(), Value::F(ArrayD::from_shape_vec(shape.to_vec(), values).unwrap()));
        let x = n.add(Op::Input { name: "x".into(), ty }, &[]);
        let mut x = n.project(x, "embed", 3, d, true);
        for block in 0..1 + n.rng.below(4) {
            x = n.block(x, block);
        }
        let y = n.project(x, "head", d, 2, true);
        n.graph.outputs.push(("y".into(), y));
        n.graph = n.graph.compact().unwrap();
        n.graph.verify().unwrap();
        n
    }

    fn add(&mut self, op: Op, inputs: &[NodeId]) -> NodeId {
        self.graph.add(op, inputs).unwrap()
    }

    fn weight(&mut self, name: &str, dims: &[u64]) -> NodeId {
        if let Some((_, n)) = self.graph.weights().into_iter().find(|(n, _)| n == name) {
            return n;
        }
        let count: u64 = dims.iter().product();
        // Never zero, so that a slice that is not zeroed matters.
        let values = (0..count)
            .map(|_| (self.rng.below(15) as f32 + 1.0) / 16.0 * if self.rng.chance(1, 2) { 1.0 } else { -1.0 });
        let values = values.collect();
        self.weights.insert(name.into(), values);
        let dims = dims.iter().map(|n| Dim::fixed("N", *n)).collect();
        self.add(Op::Weight { name: name.into(), ty: Type::new(DType::F32, dims) }, &[])
    }

    fn map(&mut self, expr: ScalarExpr, args: &[(NodeId, Vec<u32>)]) -> NodeId {
        let at = args.iter().map(|a| a.1.clone()).collect();
        let inputs: Vec<NodeId> = args.iter().map(|a| a.0).collect();
        self.add(Op::Map { expr, at }, &inputs)
    }

    fn each(&mut self, x: NodeId, expr: ScalarExpr) -> NodeId {
        let all = (0..self.graph.ty(x).unwrap().rank() as u32).collect();
        self.map(expr, &[(x, all)])
    }

    fn plus(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let all: Vec<u32> = (0..self.graph.ty(a).unwrap().rank() as u32).collect();
        self.map(bin(BinFn::Add, arg(0), arg(1)), &[(a, all.clone()), (b, all)])
    }

    /// `x[t, i] w[o, i] + b[o]`
    fn project(&mut self, x: NodeId, name: &str, i: u64, o: u64, bias: bool) -> NodeId {
        let w = self.weight(name, &[o, i]);
        let y = self.add(Op::Contract { lhs: vec![0, 1], rhs: vec![2, 1], out: vec![0, 2] }, &[x, w]);
        if !bias {
            return y;
        }
        let b = self.weight(&format!("{name}.bias"), &[o]);
        self.map(bin(BinFn::Add, arg(0), arg(1)), &[(y, vec![0, 1]), (b, vec![1])])
    }

    /// Scales by a root mean square, or to mean 0 and variance 1, over the last axis of `[T, n]`.
    fn norm(&mut self, x: NodeId, name: &str, n: u64) -> NodeId {
        let scale = self.weight(name, &[n]);
        let mean = |net: &mut Net, x| net.add(Op::Reduce { f: ReduceFn::Mean, dims: vec![1] }, &[x]);
        let square = bin(BinFn::Mul, arg(0), arg(0));
        let x = if self.rng.chance(1, 2) {
            let mu = mean(self, x);
            self.map(bin(BinFn::Sub, arg(0), arg(1)), &[(x, vec![0, 1]), (mu, vec![0])])
        } else {
            x
        };
        let squares = self.each(x, square);
        let ms = mean(self, squares);
        let root = ScalarExpr::un(UnFn::Sqrt, bin(BinFn::Add, arg(1), num(0.1)));
        let expr = bin(BinFn::Mul, bin(BinFn::Div, arg(0), root), arg(2));
        self.map(expr, &[(x, vec![0, 1]), (ms, vec![0]), (scale, vec![1])])
    }

    fn block(&mut self, x: NodeId, number: usize) -> NodeId {
        let d = self.d;
        let n = format!("b{number}");
        let h = if self.rng.chance(1, 3) { self.norm(x, &format!("{n}.norm"), d) } else { x };
        let y = match self.rng.below(9) {
            0 => self.mlp(h, &n),
            1 => self.gated(h, &n),
            2 => self.tied(h, &n),
            3 => self.grouped(h, &n),
            4 => self.joined(h, &n),
            5 => self.fused(h, &n),
            6 => self.convolved(h, &n),
            _ => self.attention(h, &n),
        };
        if self.rng.chance(3, 4) { self.plus(x, y) } else { y }
    }

    fn mlp(&mut self, x: NodeId, n: &str) -> NodeId {
        let f = 2 + self.rng.below(6) as u64;
        let (up, down) = (format!("{n}.up"), format!("{n}.down"));
        let h = self.project(x, &up, self.d, f, true);
        let open = self.rng.chance(1, 2);
        let leaky = bin(BinFn::Max, arg(0), bin(BinFn::Mul, num(0.125), arg(0)));
        let h = self.each(h, if open { sigmoid() } else { leaky });
        let h = if self.rng.chance(1, 3) { self.norm(h, &format!("{n}.inner"), f) } else { h };
        if open && !self.weights.contains_key(&format!("{n}.inner")) {
            self.needed.push((up.clone(), vec![down.clone()]));
        }
        let y = self.project(h, &down, f, self.d, true);
        if self.rng.chance(1, 4) {
            // A mean over the inner axis.
            let mean = self.add(Op::Reduce { f: ReduceFn::Mean, dims: vec![1] }, &[h]);
            return self.map(bin(BinFn::Add, arg(0), arg(1)), &[(y, vec![0, 1]), (mean, vec![0])]);
        }
        y
    }

    fn gated(&mut self, x: NodeId, n: &str) -> NodeId {
        let f = 2 + self.rng.below(6) as u64;
        let gate = self.project(x, &format!("{n}.gate"), self.d, f, false);
        let up = self.project(x, &format!("{n}.up"), self.d, f, false);
        let expr = bin(BinFn::Mul, sigmoid(), arg(1));
        let h = self.map(expr, &[(gate, vec![0, 1]), (up, vec![0, 1])]);
        self.needed.push((format!("{n}.up"), vec![format!("{n}.up"), format!("{n}.down")]));
        self.project(h, &format!("{n}.down"), f, self.d, false)
    }

    /// One weight in both directions.
    fn tied(&mut self, x: NodeId, n: &str) -> NodeId {
        let f = 2 + self.rng.below(6) as u64;
        let h = self.project(x, n, self.d, f, true);
        let h = self.each(h, sigmoid());
        self.needed.push((n.to_string(), vec![n.to_string()]));
        let w = self.weight(n, &[f, self.d]);
        let w = self.add(Op::Transpose { perm: vec![1, 0] }, &[w]);
        self.add(Op::Contract { lhs: vec![0, 1], rhs: vec![2, 1], out: vec![0, 2] }, &[h, w])
    }

    /// Groups of channels with a matrix each, between two projections.
    fn grouped(&mut self, x: NodeId, n: &str) -> NodeId {
        let (g, a, b) = (2 + self.rng.below(2) as u64, 1 + self.rng.below(3) as u64, 1 + self.rng.below(3) as u64);
        let h = self.project(x, &format!("{n}.in"), self.d, g * a, true);
        let into = vec![Dim::fixed("G", g), Dim::fixed("A", a)];
        let h = self.add(Op::Split { dim: 1, into }, &[h]);
        let w = self.weight(&format!("{n}.each"), &[g, b, a]);
        let h = self.add(Op::Contract { lhs: vec![0, 1, 2], rhs: vec![1, 3, 2], out: vec![0, 1, 3] }, &[h, w]);
        let h = self.add(Op::Merge { dim: 1, count: 2 }, &[h]);
        let h = if self.rng.chance(1, 2) { self.each(h, sigmoid()) } else { h };
        self.project(h, &format!("{n}.out"), g * b, self.d, false)
    }

    fn concat(&mut self, parts: &[NodeId]) -> NodeId {
        let sizes = parts.iter().map(|p| self.graph.ty(*p).unwrap().dims[1].size.fixed().unwrap());
        let axis = Dim::fixed("J", sizes.sum());
        self.add(Op::Concat { dim: 1, axis }, parts)
    }

    /// Two inner axes joined into one, or two parts joined into the residual stream.
    fn joined(&mut self, x: NodeId, n: &str) -> NodeId {
        let inner = self.rng.chance(1, 2);
        let a = 1 + self.rng.below(3) as u64;
        let b = if inner { 1 + self.rng.below(4) as u64 } else { self.d - a };
        let left = self.project(x, &format!("{n}.left"), self.d, a, true);
        let right = self.project(x, &format!("{n}.right"), self.d, b, false);
        let left = self.each(left, sigmoid());
        if !inner {
            return self.concat(&[left, right]);
        }
        let parts = if self.rng.chance(1, 3) { vec![left, right, left] } else { vec![left, right] };
        let width = if parts.len() == 3 { 2 * a + b } else { a + b };
        self.needed.push((format!("{n}.left"), vec![format!("{n}.out")]));
        let h = self.concat(&parts);
        self.project(h, &format!("{n}.out"), width, self.d, true)
    }

    /// Three projections in one weight, taken apart by ranges.
    fn fused(&mut self, x: NodeId, n: &str) -> NodeId {
        let f = 1 + self.rng.below(5) as u64;
        let h = self.project(x, &format!("{n}.in"), self.d, 3 * f, true);
        let part = |net: &mut Net, i: u64| {
            let op = Op::Window { dim: 1, into: vec![Dim::fixed("F", f)], coeff: vec![1], offset: (i * f) as i64 };
            net.add(op, &[h])
        };
        let (a, b, c) = (part(self, 0), part(self, 1), part(self, 2));
        let all = vec![0, 1];
        let expr = bin(BinFn::Add, bin(BinFn::Mul, sigmoid(), arg(1)), arg(2));
        let h = self.map(expr, &[(a, all.clone()), (b, all.clone()), (c, all)]);
        self.project(h, &format!("{n}.out"), f, self.d, false)
    }

    /// A convolution along the tokens between two projections, every channel with all or each with itself.
    fn convolved(&mut self, x: NodeId, n: &str) -> NodeId {
        let c = 2 + self.rng.below(4) as u64;
        let deep = self.rng.chance(1, 2);
        let o = if deep { c } else { 1 + self.rng.below(4) as u64 };
        let h = self.project(x, &format!("{n}.in"), self.d, c, true);
        let into = vec![Dim::free("T", SymId(0)), Dim::fixed("R", 3)];
        let h = self.add(Op::Window { dim: 0, into, coeff: vec![1, 1], offset: -1 }, &[h]);
        let h = if deep {
            let w = self.weight(&format!("{n}.each"), &[c, 3]);
            self.add(Op::Contract { lhs: vec![0, 1, 2], rhs: vec![2, 1], out: vec![0, 2] }, &[h, w])
        } else {
            let w = self.weight(&format!("{n}.all"), &[o, c, 3]);
            self.add(Op::Contract { lhs: vec![0, 1, 2], rhs: vec![3, 2, 1], out: vec![0, 3] }, &[h, w])
        };
        let h = self.each(h, sigmoid());
        let last = if deep { format!("{n}.each") } else { format!("{n}.all") };
        self.needed.push((last, vec![format!("{n}.out")]));
        self.project(h, &format!("{n}.out"), o, self.d, true)
    }

    /// Attention with KV groups of G queries each: `(KV G C)` against `(KV C)`.
    fn attention(&mut self, x: NodeId, n: &str) -> NodeId {
        let (kv, g, c) = (1 + self.rng.below(3) as u64, 1 + self.rng.below(3) as u64, 2);
        let bias = self.rng.chance(1, 2);
        let q = self.project(x, &format!("{n}.wq"), self.d, kv * g * c, bias);
        let k = self.project(x, &format!("{n}.wk"), self.d, kv * c, bias);
        let v = self.project(x, &format!("{n}.wv"), self.d, kv * c, bias);
        let dims = |l: &[(&str, u64)]| l.iter().map(|(a, n)| Dim::fixed(*a, *n)).collect::<Vec<_>>();
        let q = self.add(Op::Split { dim: 1, into: dims(&[("KV", kv), ("G", g), ("C", c)]) }, &[q]);
        let k = self.add(Op::Split { dim: 1, into: dims(&[("KV", kv), ("C", c)]) }, &[k]);
        let v = self.add(Op::Split { dim: 1, into: dims(&[("KV", kv), ("C", c)]) }, &[v]);
        // q[t, kv, g, c] k[s, kv, c] -> a[kv, g, t, s]
        let a = Op::Contract { lhs: vec![0, 1, 2, 3], rhs: vec![4, 1, 3], out: vec![1, 2, 0, 4] };
        let a = self.add(a, &[q, k]);
        let max = self.add(Op::Reduce { f: ReduceFn::Max, dims: vec![3] }, &[a]);
        let all: Vec<u32> = vec![0, 1, 2, 3];
        let e = ScalarExpr::un(UnFn::Exp, bin(BinFn::Sub, arg(0), arg(1)));
        let e = self.map(e, &[(a, all.clone()), (max, vec![0, 1, 2])]);
        let sum = self.add(Op::Reduce { f: ReduceFn::Sum, dims: vec![3] }, &[e]);
        let m = self.map(bin(BinFn::Div, arg(0), arg(1)), &[(e, all), (sum, vec![0, 1, 2])]);
        // m[kv, g, t, s] v[s, kv, c] -> o[t, kv, g, c]
        let o = Op::Contract { lhs: vec![0, 1, 2, 3], rhs: vec![3, 0, 4], out: vec![2, 0, 1, 4] };
        let o = self.add(o, &[m, v]);
        let o = self.add(Op::Merge { dim: 1, count: 3 }, &[o]);
        self.project(o, &format!("{n}.wo"), kv * g * c, self.d, bias)
    }
}
