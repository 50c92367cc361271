//! A model of MiniLM's size: six encoder layers, 36 linears.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_ir::{Act, BinFn, DType, Dim, Graph, NodeId, Op, Plan, ReduceFn, ScalarExpr, Sym, SymId, Type, UnFn};
use spc_layout::{CostTable, Options, WeightFacts, choose};
use std::collections::BTreeMap;

const D: u64 = 384;
const FF: u64 = 1536;
const HEADS: u64 = 12;

struct Encoder {
    g: Graph,
    facts: BTreeMap<String, WeightFacts>,
    by_shape: BTreeMap<(u64, u64), WeightFacts>,
}

impl Encoder {
    fn add(&mut self, op: Op, inputs: &[NodeId]) -> NodeId {
        self.g.add(op, inputs).unwrap()
    }

    /// 2:4 for square weights, 16 x 1 vectors at 75 % zeros for the others. Equal shapes share their facts.
    fn linear(&mut self, name: &str, x: NodeId, rows: u64, cols: u64) -> NodeId {
        let facts = self.by_shape.entry((rows, cols)).or_insert_with(|| {
            let keep = |i: u64| {
                let (row, col) = (i / cols, i % cols);
                if rows == cols { (row + col) % 4 < 2 } else { (row / 16 * 3 + col) % 4 == 0 }
            };
            let w: Vec<f32> = (0..rows * cols).map(|i| f32::from(keep(i))).collect();
            WeightFacts::of(rows as usize, cols as usize, &w, &[]).unwrap()
        });
        self.facts.insert(name.into(), facts.clone());
        let ty = Type::new(DType::F32, vec![Dim::fixed("O", rows), Dim::fixed("K", cols)]);
        let w = self.add(Op::Weight { name: name.into(), ty }, &[]);
        let ty = Type::new(DType::F32, vec![Dim::fixed("O", rows)]);
        let b = self.add(Op::Weight { name: format!("{name}.b"), ty }, &[]);
        self.add(Op::Linear { bias: true, act: None }, &[x, w, b])
    }

    fn map(&mut self, expr: ScalarExpr, operands: &[(NodeId, &[u32])]) -> NodeId {
        let at = operands.iter().map(|(_, p)| p.to_vec()).collect();
        let inputs: Vec<NodeId> = operands.iter().map(|(n, _)| *n).collect();
        self.add(Op::Map { expr, at }, &inputs)
    }

    fn norm(&mut self, name: &str, x: NodeId) -> NodeId {
        let a = ScalarExpr::Arg;
        let mean = self.add(Op::Reduce { f: ReduceFn::Mean, dims: vec![2] }, &[x]);
        let c = self.map(ScalarExpr::bin(BinFn::Sub, a(0), a(1)), &[(x, &[0, 1, 2]), (mean, &[0, 1])]);
        let sq = self.map(ScalarExpr::bin(BinFn::Mul, a(0), a(0)), &[(c, &[0, 1, 2])]);
        let var = self.add(Op::Reduce { f: ReduceFn::Mean, dims: vec![2] }, &[sq]);
        let ty = Type::new(DType::F32, vec![Dim::fixed("D", D)]);
        let g = self.add(Op::Weight { name: format!("{name}.g"), ty }, &[]);
        let scaled = ScalarExpr::bin(BinFn::Div, a(0), ScalarExpr::un(UnFn::Sqrt, a(1)));
        let e = ScalarExpr::bin(BinFn::Mul, scaled, a(2));
        self.map(e, &[(c, &[0, 1, 2]), (var, &[0, 1]), (g, &[2])])
    }

    fn heads(&mut self, x: NodeId) -> NodeId {
        let into = vec![Dim::fixed("H", HEADS), Dim::fixed("C", D / HEADS)];
        self.add(Op::Split { dim: 2, into }, &[x])
    }

    fn layer(&mut self, l: usize, x: NodeId) -> NodeId {
        let a = ScalarExpr::Arg;
        let mut qkv = Vec::new();
        for n in ["q", "k", "v"] {
            let y = self.linear(&format!("{l}.{n}"), x, D, D);
            qkv.push(self.heads(y));
        }
        let scores = Op::Contract { lhs: vec![0, 1, 2, 3], rhs: vec![0, 4, 2, 3], out: vec![0, 2, 1, 4] };
        let s = self.add(scores, &[qkv[0], qkv[1]]);
        let e = self.map(ScalarExpr::un(UnFn::Exp, a(0)), &[(s, &[0, 1, 2, 3])]);
        let sum = self.add(Op::Reduce { f: ReduceFn::Sum, dims: vec![3] }, &[e]);
        let p = self.map(ScalarExpr::bin(BinFn::Div, a(0), a(1)), &[(e, &[0, 1, 2, 3]), (sum, &[0, 1, 2])]);
        let mix = Op::Contract { lhs: vec![0, 1, 2, 3], rhs: vec![0, 3, 1, 4], out: vec![0, 2, 1, 4] };
        let o = self.add(mix, &[p, qkv[2]]);
        let o = self.add(Op::Merge { dim: 2, count: 2 }, &[o]);
        let o = self.linear(&format!("{l}.o"), o, D, D);
        let full: &[u32] = &[0, 1, 2];
        let r = self.map(ScalarExpr::bin(BinFn::Add, a(0), a(1)), &[(o, full), (x, full)]);
        let h = self.norm(&format!("{l}.n1"), r);
        let u = self.linear(&format!("{l}.up"), h, FF, D);
        let gelu = ScalarExpr::bin(BinFn::Mul, a(0), ScalarExpr::un(UnFn::Erf, a(0)));
        let u = self.map(gelu, &[(u, full)]);
        let y = self.linear(&format!("{l}.down"), u, D, FF);
        let r = self.map(ScalarExpr::bin(BinFn::Add, a(0), a(1)), &[(y, full), (h, full)]);
        self.norm(&format!("{l}.n2"), r)
    }
}

fn encoder(layers: usize) -> (Graph, BTreeMap<String, WeightFacts>) {
    let mut g = Graph::new("encode");
    g.syms.push(Sym { name: "B".into(), lo: 1, hi: 512 });
    let dims = vec![Dim::free("B", SymId(0)), Dim::fixed("T", 128), Dim::fixed("D", D)];
    let mut e = Encoder { g, facts: BTreeMap::new(), by_shape: BTreeMap::new() };
    let mut x = e.add(Op::Input { name: "x".into(), ty: Type::new(DType::F32, dims) }, &[]);
    for l in 0..layers {
        x = e.layer(l, x);
    }
    e.g.outputs.push(("y".into(), x));
    e.g.verify().unwrap();
    (e.g, e.facts)
}

fn plan(layers: usize, batch: u64) -> (Graph, Plan) {
    let (g, facts) = encoder(layers);
    let tuned = BTreeMap::from([("B".to_string(), batch)]);
    let p = choose(&g, &facts, &CostTable::clif_x86_64_v1(), &tuned, &Options::default()).unwrap();
    (g, p)
}

#[test]
fn six_layers_are_planned_exactly_and_alike() {
    let (g, p) = plan(6, 8);
    p.verify(&g).unwrap();
    assert_eq!((p.linears.len(), p.why.len()), (36, 36));
    assert!(p.exact, "{:?}", p.bounds);
    assert!(p.total_ps < p.dense_ps, "{} {}", p.total_ps, p.dense_ps);
    assert_eq!(p, plan(6, 8).1);
    // Inner layers are alike, so their plans are.
    let layouts = |l: usize| p.linears[6 * l..6 * l + 6].iter().map(|x| (&x.layout, x.x, x.y)).collect::<Vec<_>>();
    assert!((1..5).all(|l| layouts(l) == layouts(1)));
    for l in &p.linears {
        let vectors = l.weight.ends_with("up") || l.weight.ends_with("down");
        // Which of the blocks, and which layout of 2:4, is a matter of a few per cent.
        let fits: &[&str] = if vectors { &["vx1(16)", "vx1(8)"] } else { &["nm(2,4)", "csr"] };
        assert!(fits.contains(&l.layout.as_str()), "{}: {}", l.weight, l.layout);
        assert_eq!((l.x, l.y), (Act::Fm, Act::Fm), "{}", l.weight);
    }
    // Every `up` has gelu in its kernel; the sum with the residual is behind `o` and `down`, and nothing is behind the others.
    for l in &p.linears {
        let ends = l.weight.rsplit('.').next().unwrap();
        if !["o", "down"].contains(&ends) {
            assert_eq!(l.epilogue.is_some(), ends == "up", "{}", l.weight);
        }
    }
    assert!(p.rules.contains(&"fuse-fun B".to_string()) && p.rules.contains(&"k-vx1 R".to_string()));
}

#[test]
fn the_table_of_reasons_is_complete() {
    let (_, p) = plan(2, 8);
    for w in &p.why {
        let winner = w.candidates.iter().find(|c| c.layout == w.winner).unwrap();
        assert_eq!(winner.plan_ps, Some(p.total_ps));
        assert_eq!(w.candidates[0].layout, "dense(16)");
        for c in &w.candidates {
            assert_eq!(c.refused.is_some(), c.plan_ps.is_none(), "{} {}", w.weight, c.layout);
            assert!(c.plan_ps.is_none_or(|ps| ps >= p.total_ps));
            assert_eq!(c.kernel_ps.is_some(), c.plan_ps.is_some());
        }
        assert!(w.margin_permille.is_some());
        let flips = w.flips.join("; ");
        assert!(flips.contains("stored x"), "{}: {flips}", w.weight);
        let (rows, cols) = (w.rows, w.cols);
        assert_eq!(w.nonzeros, if rows == cols { rows * cols / 2 } else { rows * cols / 4 });
    }
    let refusals: Vec<&str> = p.why[0].candidates.iter().filter_map(|c| c.refused.as_deref()).collect();
    // Of nm(1,4), of nm16(1,4), and of that with values of 16 bits.
    assert_eq!(refusals, ["row 0, group 0 keeps 2 of 4"; 3]);
}

#[test]
fn dense_wins_when_nothing_is_zero() {
    let (g, mut facts) = encoder(1);
    for f in facts.values_mut() {
        // No codes with a scale, and no 16-bit numbers.
        let all: Vec<f32> = (0..f.rows * f.cols).map(|i| 1.0 + (i * 7919 % 1000) as f32 / 977.0).collect();
        *f = WeightFacts::of(f.rows as usize, f.cols as usize, &all, &[]).unwrap();
    }
    let tuned = BTreeMap::from([("B".to_string(), 8)]);
    let p = choose(&g, &facts, &CostTable::clif_x86_64_v1(), &tuned, &Options::default()).unwrap();
    assert!(p.linears.iter().all(|l| l.layout.starts_with("dense(")));
    assert_eq!(p.total_ps, p.dense_ps);
}

#[test]
fn missing_or_wrong_facts_are_bugs() {
    let (g, mut facts) = encoder(1);
    let run = |facts: &BTreeMap<String, WeightFacts>| {
        choose(&g, facts, &CostTable::clif_x86_64_v1(), &BTreeMap::new(), &Options::default()).map_err(|b| b.0)
    };
    let removed = facts.remove("0.q").unwrap();
    assert_eq!(run(&facts).unwrap_err(), "no facts about weight 0.q");
    facts.insert("0.q".into(), WeightFacts { rows: 5, ..removed.clone() });
    assert_eq!(run(&facts).unwrap_err(), "the facts about weight 0.q are of another shape");
    let sparse = removed.candidates.iter().filter(|(l, _)| l.kind() != "dense").cloned().collect();
    facts.insert("0.q".into(), WeightFacts { candidates: sparse, ..removed.clone() });
    assert_eq!(run(&facts).unwrap_err(), "dense is no candidate for weight 0.q");
    facts.insert("0.q".into(), removed);
    assert!(run(&facts).is_ok());
}
