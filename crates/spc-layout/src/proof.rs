//! Every rule: where it holds, where it does not, and that each extracted plan can be proved again from the rules, step by
//! step, by a checker that shares nothing with egg's matching.
use crate::facts::{Fact, Known, meaning};
use crate::lang::{In, Lay, Nn, V};
use crate::model::{Kind, Model};
use crate::rules::{Exactness, RULES, rule};
use crate::space::{Action, Space, explore, price, shape};
use crate::testing::{All, F, Net, Zeros, foldable, nets, tables, union, with_layout};
use crate::{CostTable, Options, choose, offered_with};
use egg::{ENodeOrVar, FlatTerm, Id, Language, Pattern, RecExpr};
use proptest::prelude::*;
use spc_ir::{BinFn, Op, ScalarExpr};
use std::collections::{BTreeMap, BTreeSet};

/// Names of the rules whose right side occurs in the explored space, by looking at physical nodes and fused linears.
fn applied(net: &Net) -> BTreeSet<String> {
    applied_of(&union(net))
}

/// The same for what is on offer.
pub(crate) fn applied_of(all: &All) -> BTreeSet<String> {
    let model = all.model(&BTreeMap::new());
    let space = explore(&model, &Options::default(), false).unwrap();
    assert!(space.bounds.is_empty());
    let mut out = BTreeSet::new();
    for class in space.eg.classes() {
        for n in &class.nodes {
            let fact = |id: &Id| space.eg[*id].data;
            match n {
                Nn::Linear([e, l, _]) if fact(e) != Fact::Nothing => {
                    let (Fact::Node(m), Fact::Node(l)) = (fact(e), fact(l)) else { panic!("{n:?}") };
                    let value = &model.values[m as usize];
                    let own = value.fuses.contains(&(l as usize));
                    let name = match &value.kind {
                        _ if value.operands() < 2 => {
                            if own {
                                "fuse-fun"
                            } else {
                                "fuse-folded"
                            }
                        }
                        Kind::Map { inputs, .. } => {
                            let read =
                                value.fuses_folded.iter().find(|f| f.1 == l as usize).map_or(l as usize, |f| f.0);
                            let first = inputs[0] == if own { l as usize } else { read };
                            match (first, own) {
                                (true, true) => "join-first",
                                (false, true) => "join-second",
                                (true, false) => "join-first-folded",
                                (false, false) => "join-second-folded",
                            }
                        }
                        _ => panic!("{n:?}"),
                    };
                    out.insert(name.to_string());
                }
                Nn::KMm([l, w, ..]) => {
                    let Fact::Layout(w) = fact(w) else { panic!("{n:?}") };
                    let kind = model.layouts[w as usize].kind();
                    let side = match (kind, fact(l)) {
                        ("dense", Fact::In(l)) => format!("k-dense-{l}"),
                        ("vx1" | "bsr", Fact::In(In::Rm)) => format!("k-{kind}-rm"),
                        (kind, _) if kind.ends_with("f16") => "k-half".to_string(),
                        ("q4" | "q8" | "kept4" | "kept8", _) => "k-groups".to_string(),
                        _ => format!("k-{kind}"),
                    };
                    out.insert(side);
                }
                Nn::Ref([n]) => {
                    let Fact::Node(v) = fact(n) else { panic!("{n:?}") };
                    let kind = match model.values[v as usize].kind {
                        Kind::Linear(_) => "name-linear",
                        Kind::Map { .. } => "name-map",
                        _ => "name-op",
                    };
                    out.insert(kind.into());
                }
                Nn::Same([n, y]) => {
                    let (Fact::Node(v), Fact::Value(s)) = (fact(n), fact(y)) else { panic!("{n:?}") };
                    let rule = model.values[v as usize].folds.iter().find(|f| f.1 == s as usize).unwrap().0;
                    out.insert(rule.to_string());
                }
                Nn::KSame(_) => drop(out.insert("k-same".into())),
                Nn::Part(_) => drop(out.insert("merge-siblings".into())),
                Nn::KPart(_) => drop(out.insert("k-part".into())),
                Nn::KMap(_) => drop(out.insert("k-map".into())),
                Nn::KUnfold(_) => drop(out.insert("k-unfold".into())),
                Nn::KChannels(_) => drop(out.insert("k-channels".into())),
                Nn::KOp(_) => drop(out.insert("k-op".into())),
                Nn::KCons(_) => drop(out.insert("k-cons".into())),
                Nn::KNil => drop(out.insert("k-nil".into())),
                Nn::KCvt([l, _]) => {
                    let Fact::In(l) = fact(l) else { panic!("{n:?}") };
                    out.insert(format!("cvt-{l}"));
                }
                _ => {}
            }
        }
    }
    out
}

/// For each rule a graph where it applies and one where it does not.
fn cases() -> Vec<(&'static str, Net, Net)> {
    let linear = |zeros| {
        let mut n = Net::new();
        let y = n.linear(n.x, zeros);
        n.output(y)
    };
    let relu = || {
        let mut n = Net::new();
        let y = n.relu(n.x);
        n.output(y)
    };
    let fused = || {
        let mut n = Net::new();
        let y = n.linear(n.x, Zeros::None);
        let z = n.relu(y);
        n.output(z)
    };
    // Nothing but a scalar: no matrix, so no layout to choose and nothing to convert.
    let scalar = || {
        let mut n = Net::new();
        let y = n.g.add(Op::Reduce { f: spc_ir::ReduceFn::Sum, dims: vec![0, 1] }, &[n.x]).unwrap();
        let n = n.output(y);
        let mut g = spc_ir::Graph::new("scalar");
        let ty = spc_ir::Type::scalar(spc_ir::DType::F32);
        let x = g.add(Op::Input { name: "s".into(), ty }, &[]).unwrap();
        g.outputs.push(("y".into(), x));
        Net { g, x, ..n }
    };
    let broadcast = || {
        let mut n = Net::new();
        let y = n.centre(n.x);
        n.output(y)
    };
    let unused = |zeros, without: &[&str]| {
        let mut n = linear(zeros);
        n.facts.values_mut().for_each(|f| f.candidates.retain(|(l, _)| !without.contains(&l.kind())));
        n
    };
    // A quantised matrix, read with rounded activations or with plain ones.
    let rounded = |round: bool| {
        let mut n = Net::new();
        let w = n.weight(Zeros::None);
        let values: Vec<f32> = (0..32 * 32).map(|i| 127.0 - (i % 32) as f32).collect();
        let extra = [spc_formats::Layout::I8 { r: 16 }];
        n.facts.insert("w0".into(), crate::WeightFacts::of(32, 32, &values, &extra).unwrap());
        let x = if round { n.g.add(Op::Round { last: 1 }, &[n.x]).unwrap() } else { n.x };
        let y = n.g.add(Op::Linear { bias: false, act: None }, &[x, w]).unwrap();
        n.output(y)
    };
    // Two linears of one value, or of two; the first with a bias, the second with or without one.
    let pair = |apart: bool, biases: [bool; 2]| {
        let mut n = Net::new();
        let other = if apart { n.relu(n.x) } else { n.x };
        let mut sums = Vec::new();
        for (x, bias) in [n.x, other].into_iter().zip(biases) {
            let w = n.weight(Zeros::Vectors);
            let mut operands = vec![x, w];
            if bias {
                let ty = spc_ir::Type::new(spc_ir::DType::F32, vec![spc_ir::Dim::fixed("O", F)]);
                operands.push(n.g.add(Op::Weight { name: format!("b{}", sums.len()), ty }, &[]).unwrap());
            }
            sums.push(n.g.add(Op::Linear { bias, act: None }, &operands).unwrap());
        }
        let y = n.plus(sums[0], sums[1]);
        n.output(y)
    };
    // Dimensions of windows as features, and other dimensions as features.
    let windows = |some: bool| {
        let mut n = Net::new();
        let y = if some { n.windows(n.x) } else { n.regrouped(n.x) };
        n.output(y)
    };
    // Features before tokens, and tokens changed round among themselves.
    let turned = |some: bool| {
        let mut n = Net::new();
        let y = if some { n.turned(n.x) } else { n.regrouped(n.x) };
        n.output(y)
    };
    // Two values in a row, the second a linear or something else.
    let before = |expr: &str, linear: bool| {
        let mut n = Net::new();
        let m = n.channels(expr, n.x);
        let y = if linear { n.linear(m, Zeros::Vectors) } else { n.relu(m) };
        n.output(y)
    };
    let after = |expr: &str, linear: bool| {
        let mut n = Net::new();
        let l = if linear { n.linear(n.x, Zeros::Vectors) } else { n.centre(n.x) };
        let y = n.channels(expr, l);
        n.output(y)
    };
    // Channels of a linear that a row of numbers for each token is taken from: nothing that a kernel ends with.
    let twice = |expr: &str| {
        let mut n = Net::new();
        let l = n.linear(n.x, Zeros::Vectors);
        let p = if expr.contains("mul") { n.planes(l) } else { n.channels(expr, n.x) };
        n.output(p)
    };
    // A matrix with factors, whose other factor of a product is an activation, or which is read twice.
    let product = |once: bool, expr: &str| {
        let mut n = Net::new();
        let y = n.product(n.x, Zeros::Vectors, expr);
        let m = n.g.inputs(y)[1];
        let n = n.output(y);
        if once { n } else { n.output(m) }
    };
    // Something that may be fused once the channels are folded, which another value reads or does not.
    let later = |twice: bool| {
        let mut n = Net::new();
        let l = n.linear(n.x, Zeros::Vectors);
        let c = n.channels("(mul a0 a1)", l);
        let y = n.relu(c);
        let y = if twice { n.plus(y, c) } else { y };
        n.output(y)
    };
    // A sum with a value that stands before the linear, or after it; the linear as it is, or scaled.
    let residual = |expr: &str, before: bool, read_twice: bool| {
        let mut n = Net::new();
        let mut l = n.linear(n.x, Zeros::Vectors);
        if !expr.is_empty() {
            l = n.channels(expr, l);
        }
        let after = n.centre(n.x);
        let y = n.plus(l, if before { n.x } else { after });
        let y = if read_twice { n.plus(y, l) } else { y };
        n.output(y)
    };
    // Two scaled linears, the first of which is read twice or not.
    let scaled = |read_twice: bool| {
        let mut n = Net::new();
        let [a, b] = [(); 2].map(|()| {
            let l = n.linear(n.x, Zeros::Vectors);
            n.channels("(mul a0 a1)", l)
        });
        let y = n.plus(a, b);
        let y = if read_twice { n.plus(y, a) } else { y };
        n.output(y)
    };
    let empty_list = || {
        let n = relu();
        let mut g = spc_ir::Graph::new("nothing");
        g.outputs.clear();
        Net { g, ..n }
    };
    vec![
        ("fold-norm", before("(mul (tanh a0) a1)", true), before("(mul (tanh a0) a1)", false)),
        ("fold-batch-norm", after("(add (mul a0 a1) a2)", true), after("(add (mul a0 a1) a2)", false)),
        ("fold-constant", after("(mul a0 0.5)", true), after("(max a0 0.5)", true)),
        ("fold-constant", product(true, "(mul a0 0.5)"), product(true, "(add a0 0.5)")),
        ("fold-constant", product(true, "(mul a0 a1)"), product(false, "(mul a0 a1)")),
        ("name-linear", before("(mul a0 a1)", true), before("(max a0 a1)", true)),
        ("name-map", after("(mul a0 0.5)", true), after("(mul a0 a1)", false)),
        ("name-op", twice("(mul a0 a1)"), twice("(max a0 a1)")),
        ("k-same", after("(mul a0 a1)", true), after("(max a0 a1)", true)),
        ("fuse-folded", later(false), later(true)),
        ("merge-siblings", pair(false, [true, true]), pair(true, [true, true])),
        ("k-part", pair(false, [false, false]), pair(false, [true, false])),
        ("fuse-fun", fused(), {
            let mut n = Net::new();
            let y = n.linear(n.x, Zeros::None);
            let z = n.relu(y);
            n.output(y).output(z)
        }),
        ("join-first", residual("", false, false), residual("", false, true)),
        ("join-second", residual("", true, false), residual("", true, true)),
        ("join-first-folded", scaled(false), scaled(true)),
        ("join-second-folded", residual("(mul a0 a1)", true, false), residual("(mul a0 a1)", true, true)),
        ("k-dense-rm", linear(Zeros::None), relu()),
        ("k-dense-fm", linear(Zeros::None), relu()),
        ("k-vx1", linear(Zeros::Vectors), unused(Zeros::Vectors, &["vx1"])),
        ("k-bsr", linear(Zeros::Vectors), unused(Zeros::Vectors, &["bsr"])),
        ("k-nm", linear(Zeros::TwoOfFour), linear(Zeros::None)),
        ("k-csr", linear(Zeros::Loose), unused(Zeros::Loose, &["csr"])),
        ("k-vx1-rm", linear(Zeros::Vectors), unused(Zeros::Vectors, &["vx1"])),
        ("k-bsr-rm", linear(Zeros::Vectors), unused(Zeros::Vectors, &["bsr"])),
        ("k-nm16", linear(Zeros::TwoOfFour), unused(Zeros::TwoOfFour, &["nm16"])),
        ("k-csr16", linear(Zeros::Loose), unused(Zeros::Loose, &["csr16"])),
        ("k-vnm16", linear(Zeros::Shared), linear(Zeros::Loose)),
        ("k-bitmap", linear(Zeros::Loose), unused(Zeros::Loose, &["bitmap"])),
        ("k-i8", rounded(true), rounded(false)),
        ("k-half", rounded(false), unused(Zeros::None, &["dense_f16", "vx1_f16", "bsr_f16", "nm16_f16"])),
        ("k-groups", rounded(false), unused(Zeros::None, &["q4", "q8", "kept4", "kept8"])),
        ("k-map", relu(), broadcast()),
        // Every graph ends in an operator that reads its outputs, and lists end in nil.
        ("k-op", relu(), Net { facts: BTreeMap::new(), ..empty_list() }),
        ("k-unfold", windows(true), windows(false)),
        ("k-channels", turned(true), turned(false)),
        ("k-cons", relu(), empty_list()),
        ("k-nil", relu(), empty_list()),
        ("cvt-rm", relu(), scalar()),
        ("cvt-fm", relu(), scalar()),
    ]
}

#[test]
fn each_rule_applies_where_it_should_and_only_there() {
    let cases = cases();
    let named: BTreeSet<&str> = cases.iter().map(|c| c.0).collect();
    // `k-gpu` has its own tests below, rules of what depends on values in `arranged`.
    let others = ["k-gpu", "reorder-axis", "split-residual"];
    let rules = RULES.iter().map(|r| r.name).filter(|n| !others.contains(n));
    assert_eq!(named, rules.collect::<BTreeSet<_>>(), "every rule has its case");
    // The empty graph still has its end: operator and empty list, nothing else.
    let bare: BTreeSet<String> = ["k-nil".to_string(), "k-op".to_string()].into();
    for (name, positive, negative) in cases {
        assert!(applied(&positive).contains(name), "{name} should apply");
        let other = applied(&negative);
        assert!(!other.contains(name) || other == bare, "{name} should not apply: {other:?}");
    }
}

#[test]
fn on_a_gpu_nothing_is_feature_major_and_every_kernel_is_one_that_gpus_have() {
    let gpu = crate::GpuTable::named("h200").unwrap();
    let mut n = Net::new();
    let y = n.linear(n.x, Zeros::TwoOfFour);
    let z = n.relu(y);
    let z = n.linear(z, Zeros::Loose);
    let n = n.output(z);
    let on = |machine: crate::Machine<'_>| {
        let model = Model::new(&n.g, &n.facts, &BTreeMap::new()).unwrap().on(machine);
        let space = explore(&model, &Options::default(), false).unwrap();
        let known = space.eg.analysis.known.clone();
        (known.gpu, known.matrix.contains(&true), model.layouts.iter().map(|l| l.kind()).collect::<BTreeSet<_>>())
    };
    assert_eq!((on((&gpu).into()).0, on((&gpu).into()).1), (true, false));
    let cpu = CostTable::clif_x86_64_v1();
    assert_eq!((on((&cpu).into()).0, on((&cpu).into()).1), (false, true));
    let plan = choose(&n.g, &n.facts, &gpu, &BTreeMap::new(), &Options::default()).unwrap();
    assert!(plan.converts.is_empty() && plan.values.is_empty() && plan.linears.len() == 2, "{plan:?}");
    assert_eq!(plan.rules, ["fuse-fun B", "k-gpu R"]);
    assert_eq!(plan.cost_table, crate::Machine::from(&gpu).reference());
    for w in &plan.why {
        let gone = w.candidates.iter().filter(|c| c.layout.starts_with("nm16") || c.layout.starts_with("csr16"));
        assert!(gone.clone().count() > 0 && gone.clone().all(|c| c.kernel_ps.is_none()), "{w:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Without conversions every linear is chosen by itself: the best for each is the best for all.
    #[test]
    fn on_a_gpu_each_linear_has_its_own_best_layout(net in nets(6)) {
        let gpu = crate::GpuTable::named("a100").unwrap();
        let plan = choose(&net.g, &net.facts, &gpu, &BTreeMap::new(), &Options::default()).unwrap();
        for w in &plan.why {
            let own = w.candidates.iter().find(|c| c.layout == w.winner).and_then(|c| c.kernel_ps).unwrap();
            prop_assert!(w.candidates.iter().filter_map(|c| c.kernel_ps).all(|ps| ps >= own), "{w:?}");
        }
    }
}

#[test]
fn a_linear_is_fused_only_when_nothing_else_needs_its_value() {
    let fuses = |n: &Net| applied(n).contains("fuse-fun");
    let base = || {
        let mut n = Net::new();
        let y = n.linear(n.x, Zeros::None);
        (n, y)
    };
    let (mut n, y) = base();
    let z = n.exp(y);
    assert!(fuses(&n.output(z)));
    let (mut n, y) = base();
    let (a, b) = (n.relu(y), n.exp(y));
    assert!(!fuses(&n.output(a).output(b)), "two readers");
    let (mut n, y) = base();
    let z = n.plus(y, y);
    assert!(!fuses(&n.output(z)), "one reader that reads twice");
    let (mut n, y) = base();
    let z = n.plus(y, n.x);
    assert!(!fuses(&n.output(z)), "two operands");

    let (mut n, y) = base();
    let z = n.map(ScalarExpr::bin(BinFn::Gt, ScalarExpr::Arg(0), ScalarExpr::Const(0.0)), &[y]);
    assert!(!fuses(&n.output(z)), "the result is bool");
    let (mut n, _) = base();
    let w = n.weight(Zeros::None);
    let act = Some(ScalarExpr::un(spc_ir::UnFn::Tanh, ScalarExpr::Arg(0)));
    let y = n.g.add(Op::Linear { bias: false, act }, &[n.x, w]).unwrap();
    let z = n.relu(y);
    assert!(!fuses(&n.output(z)), "an activation is there already");
    // A transposing map of a square value keeps the sizes and is no epilogue.
    let mut n = Net::new();
    let dims = vec![spc_ir::Dim::fixed("A", F), spc_ir::Dim::fixed("F", F)];
    let x = Op::Input { name: "square".into(), ty: spc_ir::Type::new(spc_ir::DType::F32, dims) };
    let x = n.g.add(x, &[]).unwrap();
    let y = n.linear(x, Zeros::None);
    let z =
        n.g.add(Op::Map { expr: ScalarExpr::un(spc_ir::UnFn::Exp, ScalarExpr::Arg(0)), at: vec![vec![1, 0]] }, &[y]);
    assert!(!fuses(&n.output(z.unwrap())), "the map transposes");
}

#[test]
fn exactness_is_what_kernels_can_keep() {
    for r in RULES {
        let structure = r.name.starts_with("fold-") || ["reorder-axis", "split-residual"].contains(&r.name);
        let sums = r.rhs.contains("k.mm") || structure;
        assert_eq!(r.class == Exactness::Reassociates, sums, "{}", r.name);
        let facts = ["?w", "?s"].iter().all(|v| !r.lhs.contains(v)) || r.name.ends_with("-folded");
        assert!(facts, "{}: layouts and what is on offer come from the facts", r.name);
    }
}

/// A list of logical terms.
fn logicals(model: &Model<'_>, items: &[usize], e: &mut RecExpr<Nn>) -> Id {
    let mut ids: Vec<Id> = items.iter().map(|i| logical(model, *i, e)).collect();
    let mut at = e.add(Nn::Nil);
    while let Some(head) = ids.pop() {
        at = e.add(Nn::Cons([head, at]));
    }
    at
}

/// The logical term of a value, as it was before any rule.
fn logical(model: &Model<'_>, v: usize, e: &mut RecExpr<Nn>) -> Id {
    let list = |items: &[usize], e: &mut RecExpr<Nn>| logicals(model, items, e);
    match &model.values[v].kind {
        Kind::Linear(l) => {
            let x = logical(model, l.x, e);
            let (none, n) = (e.add(Nn::Nothing), e.add(Nn::V(V(v as u32))));
            e.add(Nn::Linear([none, n, x]))
        }
        Kind::Map { inputs, scalars, .. } => {
            let (xs, scalars) = (list(inputs, e), list(scalars, e));
            let n = e.add(Nn::V(V(v as u32)));
            e.add(Nn::Map([n, xs, scalars]))
        }
        Kind::Part { of } => {
            let y = logical(model, *of, e);
            let n = e.add(Nn::V(V(v as u32)));
            e.add(Nn::Part([n, y]))
        }
        Kind::Opaque { inputs } | Kind::Root { inputs } => {
            let xs = list(inputs, e);
            let n = e.add(Nn::V(V(v as u32)));
            e.add(Nn::Op([n, xs]))
        }
    }
}

/// The plan as one physical term.
fn physical(
    model: &Model<'_>,
    p: &crate::space::Shape,
    s: &crate::problem::Solution,
    class: u32,
    e: &mut RecExpr<Nn>,
) -> Id {
    let n = model.values.len();
    let choice = &p.classes[class as usize][s.picks[&class]];
    let wanted = |v: usize, l: In| (4 * (n - 1 - v)) as u32 + u32::from(l == In::Fm);
    let list = |items: &[usize], l: In, e: &mut RecExpr<Nn>| {
        let mut ids: Vec<Id> = items.iter().map(|i| physical(model, p, s, wanted(*i, l), e)).collect();
        let mut at = e.add(Nn::KNil);
        while let Some(head) = ids.pop() {
            at = e.add(Nn::KCons([head, at]));
        }
        at
    };
    match choice.action {
        Action::Own => physical(model, p, s, choice.kids[0], e),
        Action::Convert { to, .. } => {
            let x = physical(model, p, s, choice.kids[0], e);
            let l = e.add(Nn::In(to));
            e.add(Nn::KCvt([l, x]))
        }
        Action::Linear { linear, layout, act, epilogue } => {
            let x = physical(model, p, s, wanted(model.as_linear(linear).unwrap().x, act), e);
            let (l, w) = (e.add(Nn::In(act)), e.add(Nn::Lay(Lay(layout))));
            let ep = match epilogue {
                None => e.add(Nn::Nothing),
                Some(m) => {
                    let value = &model.values[m];
                    let node = e.add(Nn::V(V(m as u32)));
                    if value.operands() < 2 {
                        node
                    } else {
                        // As a value it is what the graph says: the other operands are logical values.
                        let Kind::Map { inputs, scalars, .. } = &value.kind else { panic!() };
                        let read = value.fuses_folded.iter().find(|f| f.1 == linear).map_or(linear, |f| f.0);
                        let rest: Vec<usize> = inputs.iter().copied().filter(|i| *i != read).collect();
                        let (rs, others) = (logicals(model, &rest, e), logicals(model, scalars, e));
                        e.add(Nn::With([node, rs, others]))
                    }
                }
            };
            let n = e.add(Nn::V(V(linear as u32)));
            e.add(Nn::KMm([l, w, ep, n, x]))
        }
        Action::Map { value, act } => {
            let Kind::Map { inputs, scalars, .. } = &model.values[value].kind else { panic!() };
            let (xs, scalars) = (list(inputs, act, e), list(scalars, In::Rm, e));
            let (l, n) = (e.add(Nn::In(act)), e.add(Nn::V(V(value as u32))));
            e.add(Nn::KMap([l, n, xs, scalars]))
        }
        Action::Same { value, .. } => {
            let y = physical(model, p, s, choice.kids[0], e);
            let n = e.add(Nn::V(V(value as u32)));
            e.add(Nn::KSame([n, y]))
        }
        Action::Part { value, of } => {
            let y = physical(model, p, s, wanted(of, In::Rm), e);
            let n = e.add(Nn::V(V(value as u32)));
            e.add(Nn::KPart([n, y]))
        }
        Action::Unfold { value } => {
            let Kind::Opaque { inputs } = &model.values[value].kind else { panic!() };
            let xs = list(inputs, In::Rm, e);
            let n = e.add(Nn::V(V(value as u32)));
            e.add(Nn::KUnfold([n, xs]))
        }
        Action::Channels { value } => {
            let Kind::Opaque { inputs } = &model.values[value].kind else { panic!() };
            let x = physical(model, p, s, wanted(inputs[0], In::Fm), e);
            let n = e.add(Nn::V(V(value as u32)));
            e.add(Nn::KChannels([n, x]))
        }
        Action::Opaque { value } => {
            let (Kind::Opaque { inputs } | Kind::Root { inputs }) = &model.values[value].kind else { panic!() };
            let xs = list(inputs, In::Rm, e);
            let n = e.add(Nn::V(V(value as u32)));
            e.add(Nn::KOp([n, xs]))
        }
    }
}

type Term = FlatTerm<Nn>;

fn text(t: &Term) -> String {
    t.remove_rewrites().to_string()
}

fn fact(t: &Term) -> Fact {
    let kids: Vec<Fact> = t.children.iter().map(fact).collect();
    let ids = t.node.children();
    // Children of the node are to be ignored; number them anew.
    let mut fresh = t.node.clone();
    fresh.children_mut().iter_mut().enumerate().for_each(|(i, id)| *id = Id::from(i));
    assert_eq!(ids.len(), kids.len());
    meaning(&fresh, &|id| kids[usize::from(id)])
}

/// Matches a term against a pattern; every variable stands for one term.
fn matches(pattern: &RecExpr<ENodeOrVar<Nn>>, at: Id, t: &Term, bound: &mut BTreeMap<String, Term>) -> bool {
    match &pattern[at] {
        ENodeOrVar::Var(v) => match bound.get(&v.to_string()) {
            Some(old) => text(old) == text(t),
            None => bound.insert(v.to_string(), t.clone()).is_none(),
        },
        ENodeOrVar::ENode(n) => {
            n.matches(&t.node) && n.children().iter().zip(&t.children).all(|(p, c)| matches(pattern, *p, c, bound))
        }
    }
}

/// One step: exactly one place differs, and there the rule named holds, with its side condition.
fn step(known: &Known, before: &Term, after: &Term) -> bool {
    let (name, left, right) = match (after.forward_rule, after.backward_rule) {
        (Some(r), None) => (r, before, after),
        (None, Some(r)) => (r, after, before),
        (None, None) => {
            let changed: Vec<usize> = (0..before.children.len())
                .filter(|i| after.children[*i].has_rewrite_forward() || after.children[*i].has_rewrite_backward())
                .collect();
            let same = (0..before.children.len())
                .filter(|i| !changed.contains(i))
                .all(|i| text(&before.children[i]) == text(&after.children[i]));
            let [i] = changed[..] else { return false };
            return before.node.matches(&after.node) && same && step(known, &before.children[i], &after.children[i]);
        }
        _ => return false,
    };
    let Some(r) = rule(name.as_str()) else { return false };
    let (lhs, rhs): (Pattern<Nn>, Pattern<Nn>) = (r.lhs.parse().unwrap(), r.rhs.parse().unwrap());
    let mut bound = BTreeMap::new();
    if !matches(&lhs.ast, lhs.ast.root(), left, &mut bound) {
        return false;
    }
    let look = |n: &str| bound.get(n).map_or(Fact::Malformed, fact);
    let ways = (r.ways)(known, &look);
    if !matches(&rhs.ast, rhs.ast.root(), right, &mut bound) {
        return false;
    }
    let extra = ["?w", "?s"].into_iter().find(|v| r.rhs.contains(v) && !r.lhs.contains(v));
    match extra.and_then(|v| bound.get(v)).map(fact) {
        Some(Fact::Layout(n) | Fact::Node(n)) => ways.contains(&Some(n)),
        _ => ways.contains(&None),
    }
}

fn prove(model: &Model<'_>, space: &mut Space, goal: &RecExpr<Nn>, plan: &RecExpr<Nn>) -> Result<usize, String> {
    let known = space.eg.analysis.known.clone();
    let mut proof = space.eg.explain_equivalence(goal, plan);
    let flat = proof.make_flat_explanation();
    if text(&flat[0]) != goal.to_string() || text(&flat[flat.len() - 1]) != plan.to_string() {
        return Err("the proof is of something else".into());
    }
    for (i, pair) in flat.windows(2).enumerate() {
        if !step(&known, &pair[0], &pair[1]) {
            return Err(format!("step {i} of {} does not follow:\n{}\n{}", model.values.len(), pair[0], pair[1]));
        }
    }
    Ok(flat.len())
}

fn prove_plan(net: &Net, table: &CostTable) -> Result<usize, String> {
    prove_all(&union(net), table)
}

/// Proves the best plan of what is on offer again; the number of steps.
pub(crate) fn prove_all(all: &All, table: &CostTable) -> Result<usize, String> {
    let model = all.model(&BTreeMap::new());
    let mut space = explore(&model, &Options::default(), true).unwrap();
    let prices = crate::cost::Prices { model: &model, machine: table.into(), syms: &model.syms, measured: &[] };
    let p = price(&shape(&model, &space).unwrap(), &prices, &|_| true).unwrap().unwrap();
    let s = p.frontier(4096).unwrap();
    // Explanations must not change what is found.
    let options = Options::default();
    let found =
        offered_with(&all.folded, &all.list, &all.groups, &all.facts, table, &BTreeMap::new(), &options).unwrap();
    assert_eq!(found.total_ps, s.cost);
    let (mut goal, mut term) = (RecExpr::default(), RecExpr::default());
    let root = logical(&model, model.root(), &mut goal);
    let rm = goal.add(Nn::In(In::Rm));
    goal.add(Nn::At([rm, root]));
    physical(&model, &p, &s, 0, &mut term);
    prove(&model, &mut space, &goal, &term)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn extracted_plans_are_proved_again(net in nets(5), table in tables()) {
        let steps = prove_plan(&net, &table).map_err(TestCaseError::fail)?;
        prop_assert!(steps > 1);
    }

    #[test]
    fn folded_plans_are_proved_again(net in prop_oneof![foldable(5, false), foldable(4, true)], table in tables()) {
        let steps = prove_plan(&net, &table).map_err(TestCaseError::fail)?;
        prop_assert!(steps > 1);
    }
}

#[test]
fn a_false_step_is_noticed() {
    let (_, net, _) = cases().into_iter().find(|c| c.0 == "fuse-fun").unwrap();
    let model = Model::new(&net.g, &net.facts, &BTreeMap::new()).unwrap();
    let known = Known::new(&model);
    let term = |t: &str| -> Term {
        let e: RecExpr<Nn> = t.parse().unwrap();
        fn go(e: &RecExpr<Nn>, at: Id) -> Term {
            let node = e[at].clone();
            let kids = node.children().iter().map(|c| go(e, *c)).collect();
            FlatTerm::new(node, kids)
        }
        go(&e, e.root())
    };
    let marked = |t: &str, rule: &str| FlatTerm { forward_rule: Some(rule.into()), ..term(t) };
    let (lin, map) = (1, 2); // values: x, the linear, the map
    assert_eq!(known.fuses[map], [lin as u32]);
    let before = "(map v2 (cons (linear none v1 (op v0 nil)) nil) nil)";
    assert!(step(&known, &term(before), &marked("(linear v2 v1 (op v0 nil))", "fuse-fun")));
    assert!(!step(&known, &term(before), &marked("(linear v1 v1 (op v0 nil))", "fuse-fun")), "another node");
    assert!(!step(&known, &term(before), &marked("(linear v2 v1 (op v0 nil))", "k-map")), "another rule");
    let swapped = "(map v1 (cons (linear none v2 (op v0 nil)) nil) nil)";
    assert!(!step(&known, &term(swapped), &marked("(linear v1 v2 (op v0 nil))", "fuse-fun")), "side condition");
    // A value may become a part of what is on offer for it, and of nothing else.
    let offers = Known { merged: vec![vec![], vec![7], vec![]], ..known.clone() };
    let before = "(linear none v1 (op v0 nil))";
    let part = |n: u32| format!("(part v1 (linear none v{n} (op v0 nil)))");
    assert!(step(&offers, &term(before), &marked(&part(7), "merge-siblings")));
    assert!(!step(&offers, &term(before), &marked(&part(2), "merge-siblings")), "not on offer");
    assert!(!step(&known, &term(before), &marked(&part(7), "merge-siblings")), "nothing is on offer");
    // A value may be read in the place of another where the model says so, by that rule.
    let folds = Known { folds: vec![vec![], vec![("fold-norm", 7)], vec![]], ..known.clone() };
    let same = |n: u32| format!("(same v1 (ref v{n}))");
    assert!(step(&folds, &term("(ref v1)"), &marked(&same(7), "fold-norm")));
    assert!(!step(&folds, &term("(ref v1)"), &marked(&same(2), "fold-norm")), "not on offer");
    assert!(!step(&folds, &term("(ref v1)"), &marked(&same(7), "fold-batch-norm")), "another rule");
    assert!(!step(&known, &term("(ref v1)"), &marked(&same(7), "fold-norm")), "nothing is on offer");
    let at = "(at fm (linear none v1 (op v0 nil)))";
    let csr = model.layouts.iter().position(|l| l.kind() == "csr").unwrap();
    let kernel = |w: usize| format!("(k.mm fm w{w} none v1 (at fm (op v0 nil)))");
    assert!(step(&known, &term(at), &marked(&kernel(csr), "k-csr")));
    assert!(!step(&known, &term(at), &marked(&kernel(0), "k-csr")), "dense is not csr");
    assert!(!step(&known, &term(at), &marked(&kernel(999), "k-csr")), "no such layout");
}

#[test]
fn candidates_of_the_test_matrices_are_what_their_names_say() {
    let mut n = Net::new();
    n.weight(Zeros::TwoOfFour);
    n.weight(Zeros::Loose);
    let nm = "nm(2,4)".parse().unwrap();
    assert!(with_layout(&n.facts["w0"], nm) && !with_layout(&n.facts["w1"], nm));
}
