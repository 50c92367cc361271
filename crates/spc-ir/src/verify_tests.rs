//! Every rule of the verifier and of the text form refuses a graph that breaks it.
use crate::{
    Amount, Cost, Cover, DType, Dim, Floor, Formula, Graph, Keep, Member, NodeId, Op, Overlap, Part, ReduceFn, Require,
    ScalarExpr, Scope, Score, Size, Slices, Sym, SymId, Tail, Top, Type, infer,
};

fn f32s(dims: Vec<Dim>) -> Type {
    Type::new(DType::F32, dims)
}

fn input(g: &mut Graph, name: &str, dims: Vec<Dim>) -> NodeId {
    g.add(Op::Input { name: name.into(), ty: f32s(dims) }, &[]).unwrap()
}

fn map(g: &mut Graph, expr: &str, x: &[NodeId]) -> NodeId {
    let at = x.iter().map(|n| (0..g.ty(*n).unwrap().rank() as u32).collect()).collect();
    g.add(Op::Map { expr: ScalarExpr::parse(expr).unwrap(), at }, x).unwrap()
}

/// `y = -x` for x of `[B, K=3]`, with a weight of `[3, 4]` under a constraint.
fn good() -> Graph {
    let mut g = Graph::new("g");
    g.syms.push(Sym { name: "B".into(), lo: 1, hi: 8 });
    let x = input(&mut g, "x", vec![Dim::free("B", SymId(0)), Dim::fixed("K", 3)]);
    let y = map(&mut g, "(neg a0)", &[x]);
    let ty = f32s(vec![Dim::fixed("O", 3), Dim::fixed("K", 4)]);
    g.add(Op::Weight { name: "w".into(), ty }, &[]).unwrap();
    g.outputs.push(("y".into(), y));
    let member = Member::tile("w", &[3, 4], &[1, 1], &[1, 4], "");
    let keep = Keep::new(Amount::OutOf { n: 2, m: 4 }, Scope::Tile, vec![member]);
    g.requires.push(Require { name: "r".into(), keeps: vec![keep] });
    g.verify().unwrap();
    g
}

fn refused(spoil: impl FnOnce(&mut Graph), because: &str) {
    let mut g = good();
    spoil(&mut g);
    let e = g.verify().unwrap_err();
    assert!(e.0.contains(because), "`{}` does not say `{because}`", e.0);
}

#[test]
fn types_that_do_not_follow() {
    // The reader's type was computed for another operand.
    refused(
        |g| {
            let other = input(g, "z", vec![Dim::fixed("K", 7)]);
            g.redirect(NodeId(0), other);
        },
        "%1",
    );
    refused(
        |g| {
            let other = input(g, "z", vec![Dim::free("B", SymId(0)), Dim::fixed("L", 3)]);
            g.redirect(NodeId(0), other);
        },
        "the type does not follow",
    );
}

#[test]
fn cycles() {
    refused(
        |g| {
            let y = NodeId(1);
            let z = map(g, "(abs a0)", &[y]);
            g.redirect(NodeId(0), z);
        },
        "cycle",
    );
}

#[test]
fn names() {
    refused(|g| _ = input(g, "x", vec![]), "two inputs of the name x");
    refused(
        |g| _ = g.add(Op::Weight { name: "w".into(), ty: f32s(vec![]) }, &[]).unwrap(),
        "two weights of the name w",
    );
    refused(|g| g.outputs.push(("y".into(), NodeId(0))), "two outputs of the name y");
    refused(|g| g.outputs.clear(), "no output");
    refused(|g| g.outputs.push(("z".into(), NodeId(99))), "no node %99");
    // An input and a weight may share a name.
    let mut g = good();
    input(&mut g, "w", vec![]);
    g.verify().unwrap();
}

#[test]
fn free_axes() {
    refused(|g| _ = input(g, "z", vec![Dim::free("C", SymId(1))]), "no free axis 1");
    refused(|g| g.syms.push(g.syms[0].clone()), "declared twice");
    refused(|g| g.syms[0].lo = 9, "empty");
}

#[test]
fn constraints() {
    fn member(g: &mut Graph) -> &mut Member {
        &mut g.requires[0].keeps[0].members[0]
    }
    let fits = "groups do not fit w";
    refused(|g| member(g).cover = Cover::Tile(vec![1]), fits);
    refused(|g| member(g).scope = vec![1, 4, 1], fits);
    refused(|g| member(g).cover = Cover::Tile(vec![0, 1]), fits);
    refused(|g| member(g).scope = vec![1, 0], fits);
    refused(|g| member(g).floor = Some(vec![1]), fits);
    refused(|g| member(g).cover = Cover::Pairs { undirected: true }, fits);
    let slices = |by, parts: &[[u64; 5]]| {
        let part = |p: &[u64; 5]| Part { dim: p[0] as u32, start: p[1], end: p[2], inner: p[3], size: p[4] };
        Cover::Slices(Slices { family: 0, by, parts: parts.iter().map(part).collect() })
    };
    for (by, parts) in [
        (0, vec![[0, 0, 3, 1, 3]]),
        (1, vec![]),
        (1, vec![[2, 0, 3, 1, 3]]),
        (1, vec![[0, 0, 4, 1, 3]]),
        (1, vec![[0, 2, 2, 1, 3]]),
        (1, vec![[0, 0, 3, 0, 3]]),
        (1, vec![[0, 0, 3, 1, 3], [1, 0, 4, 1, 4]]),
    ] {
        refused(|g| member(g).cover = slices(by, &parts), fits);
    }
    refused(|g| member(g).shape = vec![4, 3], "another shape");
    refused(|g| g.requires.push(g.requires[0].clone()), "not the only one");
    refused(|g| g.requires[0].keeps.clear(), "empty");
    // A constraint on a weight that this function does not use is no mistake.
    let mut g = good();
    member(&mut g).weight = "elsewhere".into();
    g.verify().unwrap();
}

/// Each line of operator text that does not type.
#[test]
fn operators_that_do_not_type() {
    let head = "graph \"g\" {\n sym B = 1..8\n %0 = input \"x\" : f32[B=?B, K=6]\n %1 = input \"i\" : i32[B=?B]\n \
                %2 = weight \"w\" : f32[O=5, K=6]\n %3 = input \"b\" : bool[B=?B]\n";
    let parse = |line: &str| Graph::parse(&format!("{head} %4 = {line}\n output \"y\" = %4\n}}"));
    for good in [
        "map (neg a0) at [0 1] (%0) : f32[B=?B, K=6]",
        "map (mul a0 (f32 a1)) at [1 0] [1] (%0, %1) : f32[K=6, B=?B]",
        "broadcast [A=2, B=?B] at [1] (%1) : i32[A=2, B=?B]",
        "contract [0 1] [2 1] -> [2 0] (%0, %2) : f32[O=5, B=?B]",
        "reduce max [0 1] (%0) : f32[]",
        "gather 0 (%2, %1) : f32[B=?B, K=6]",
        "transpose [1 0] (%2) : f32[K=6, O=5]",
        "split 1 [H=2, C=3] (%0) : f32[B=?B, H=2, C=3]",
        "merge 0 2 (%2) : f32[(O K)=30]",
        "linear act (max a0 0) (%0, %2) : f32[B=?B, O=5]",
    ] {
        parse(good).unwrap_or_else(|e| panic!("{good}: {e}")).verify().unwrap();
    }
    for bad in [
        "weight \"v\" : f32[B=?B]",
        "map (neg a0) at [0 1] (%0) : f32[K=6, B=?B]",
        "map (neg a0) at [0] (%0) : f32[B=?B]",
        "map (neg a0) at [0 0] (%0) : f32[B=?B]",
        "map (neg a0) at [0 2] (%0) : f32[B=?B, Z=1, K=6]",
        "map (neg a1) at [0 1] (%0) : f32[B=?B, K=6]",
        "map (neg a0) at [0] (%3) : bool[B=?B]",
        "map (add a0 a1) at [0 1] [0] (%0, %1) : f32[B=?B, K=6]",
        "map (select a0 1 2) at [0] (%3) : f32[B=?B]",
        "map (add a0 a1) at [0 1] [1 0] (%0, %2) : f32[B=?B, K=6]",
        "map (f32 1) at : f32[]",
        "map 1 at [0 1] (%0) : f32[B=?B, K=6]",
        "broadcast [A=2] at [1] (%1) : i32[A=2, B=?B]",
        "broadcast [A=2, C=3] at [1] (%1) : i32[A=2, B=?B]",
        "contract [0 1] [2 3] -> [0 2] (%0, %2) : f32[B=?B, O=5]",
        "contract [0 1] [0 1] -> [0] (%0, %2) : f32[B=?B]",
        "contract [0 1] [2 1] -> [0 2 2] (%0, %2) : f32[B=?B, O=5, O=5]",
        "contract [0 1] [2 1] -> [0 9] (%0, %2) : f32[B=?B, O=5]",
        "contract [0] [0] -> [0] (%1, %1) : f32[B=?B]",
        "reduce sum [] (%0) : f32[B=?B, K=6]",
        "reduce sum [1 0] (%0) : f32[]",
        "reduce sum [2] (%0) : f32[B=?B, K=6]",
        "reduce sum [0] (%1) : f32[]",
        "gather 2 (%2, %1) : f32[B=?B, K=6]",
        "gather 0 (%2, %0) : f32[B=?B, K=6, K=6]",
        "transpose [0 0] (%2) : f32[O=5, O=5]",
        "transpose [0] (%2) : f32[O=5]",
        "transpose [0 2] (%2) : f32[O=5, K=6]",
        "split 1 [H=2, C=4] (%0) : f32[B=?B, H=2, C=4]",
        "split 0 [H=2, C=4] (%0) : f32[H=2, C=4, K=6]",
        "split 1 [] (%0) : f32[B=?B]",
        "split 1 [H=9223372036854775808, C=2] (%0) : f32[B=?B, H=2, C=3]",
        "merge 0 2 (%0) : f32[(B K)=6]",
        "merge 1 0 (%2) : f32[O=5]",
        "merge 1 2 (%2) : f32[O=5]",
        "merge 1 4294967295 (%2) : f32[O=5]",
        "linear bias (%0, %2) : f32[B=?B, O=5]",
        "linear (%0, %1) : f32[B=?B, O=5]",
        "linear bias (%0, %2, %2) : f32[B=?B, O=5]",
        "linear act (lt a0 0) (%0, %2) : f32[B=?B, O=5]",
        "linear act (add a0 a1) (%0, %2) : f32[B=?B, O=5]",
        "linear (%0, %2, %2) : f32[B=?B, O=5]",
        "neg (%0) : f32[B=?B, K=6]",
        "map (neg a0) at [0 1] (%4) : f32[B=?B, K=6]",
        "iota [A=2, B=3] : i32[A=2]",
    ] {
        assert!(parse(bad).is_err(), "accepted: {bad}");
    }
}

#[test]
fn names_of_any_text_survive() {
    let odd = "a \"b\"\\ \u{1}\u{1b}\u{301}\u{200b}\n\t'{}()[]%:,;= é\u{1f600}\u{7f}\u{0}";
    let mut g = good();
    g.name = odd.into();
    let z = input(&mut g, odd, vec![Dim::fixed("K", 2)]);
    g.outputs.push((odd.into(), z));
    g.requires[0].name = odd.into();
    g.requires[0].keeps[0].members[0].layer = odd.into();
    assert_eq!(Graph::parse(&g.to_string()).unwrap(), g);
}

#[test]
fn every_form_of_a_constraint_survives() {
    let mut g = good();
    let base = g.requires.remove(0).keeps.remove(0);
    let scopes = [Scope::Tile, Scope::Tensor, Scope::Layer, Scope::Model];
    let amounts = [
        Amount::Count(u64::MAX),
        Amount::OutOf { n: 0, m: 1 },
        Amount::Share { num: 1, den: u64::MAX },
        Amount::Above(f64::INFINITY),
        Amount::Above(-1e-300),
    ];
    let scores = [Score::Abs, Score::Norm1, Score::Norm2, Score::Random(u64::MAX)];
    let tails = [Tail::Exact, Tail::Pad, Tail::Ragged];
    for (i, amount) in amounts.into_iter().enumerate() {
        let keeps = (0..12).map(|j| Keep {
            amount,
            scope: scopes[j % 4],
            score: scores[(i + j) % 4].clone(),
            joint: j % 5 == 0,
            overlap: None,
            floor: (j % 2 == 0).then_some(Floor { count: j as u64, share: None, scope: scopes[(j / 3) % 4] }),
            multiple: 1 + j as u64,
            tail: tails[j % 3],
            members: vec![base.members[0].clone(); j % 3],
        });
        g.requires.push(Require { name: format!("r{i} per min multiple"), keeps: keeps.collect() });
    }
    assert_eq!(Graph::parse(&g.to_string()).unwrap(), g);
}

#[test]
fn maps_have_operands_and_not_too_many() {
    let mut g = Graph::new("g");
    let x = input(&mut g, "x", vec![]);
    let op = |n: usize| Op::Map { expr: ScalarExpr::parse("(neg a255)").unwrap(), at: vec![vec![]; n] };
    assert!(g.add(op(256), &[x; 256]).is_ok());
    assert!(g.add(op(257), &vec![x; 257]).is_err());
    assert!(g.add(Op::Map { expr: ScalarExpr::parse("(f32 1)").unwrap(), at: vec![] }, &[]).is_err());
}

#[test]
fn deep_expressions_are_refused_and_not_followed() {
    let deep = |n: usize| format!("{}a0{}", "(neg ".repeat(n), ")".repeat(n));
    assert!(ScalarExpr::parse(&deep(500)).is_ok());
    assert!(ScalarExpr::parse(&deep(100_000)).is_err());
    for bad in ["", "(", ")", "()", "(neg)", "(neg a0", "(neg a0 a1)", "(foo a0)", "a256", "a0 a1", "(add a0)", "x"] {
        assert!(ScalarExpr::parse(bad).is_err(), "{bad}");
    }
}

/// Every word of the text form of constraints parses back to itself.
#[test]
fn constraints_have_a_text_form() {
    let mut g = good();
    let part = |dim, start, end, inner, size| Part { dim, start, end, inner, size };
    let parts = vec![part(0, 1, 3, 1, 2), part(1, 0, 4, 2, 2)];
    let mut member = Member::slices("w", &[3, 4], Slices { family: 7, by: 2, parts }, "net.layer.0");
    (member.cost, member.floor, member.amount) = (9, Some(vec![1, 4]), Some(Amount::Count(3)));
    let pairs =
        |undirected| Member { cover: Cover::Pairs { undirected }, ..Member::tile("s q", &[2, 2], &[], &[2, 2], "") };
    let members = vec![member, pairs(true), pairs(false)];
    let amounts = [
        Amount::Budget { num: 2, den: 5, of: Cost::Flops },
        Amount::Share { num: 1, den: 16 },
        Amount::Above(1e-3),
        Amount::OutOf { n: 1, m: 2 },
    ];
    let scores = [
        Score::Map(ScalarExpr::parse("(abs (mul a0 a1))").unwrap()),
        Score::Map(ScalarExpr::Arg(0)),
        Score::Inputs(ScalarExpr::parse("(mul (abs a0) a2)").unwrap(), "calib.x".into()),
        Score::Data("wanda(calib \"x\")".into()),
        Score::Random(5),
    ];
    let floor = |share| Some(Floor { count: 2, share, scope: Scope::Layer });
    for (i, (amount, score)) in amounts.into_iter().zip(scores).enumerate() {
        let keep = Keep {
            score,
            joint: i % 2 == 0,
            floor: [None, floor(None), floor(Some((1, 2000)))][i % 3],
            multiple: i as u64 + 1,
            tail: Tail::ALL[i % 3],
            overlap: [None, Some(Overlap::Sum), Some(Overlap::Latent), Some(Overlap::Tree)][i],
            ..Keep::new(amount, Scope::ALL[i], members.clone())
        };
        g.requires.push(Require { name: format!("r{i}"), keeps: vec![keep.clone(), keep] });
    }
    let text = g.to_string();
    assert_eq!(Graph::parse(&text).unwrap(), g, "{text}");
    for (from, to) in [
        ("slices 7", "slice 7"),
        ("part [0", "part [0 1"),
        ("undirected", "both"),
        ("of flops", "of joules"),
        (" cost 9", " cost 9 9"),
    ] {
        assert!(Graph::parse(&text.replacen(from, to, 1)).is_err(), "{to}");
    }
}

#[test]
fn sizes_that_follow_from_others() {
    let size = |g: &mut Graph| match g.derive("J", Formula::pieces(Size::Free(SymId(0)), 3).unwrap()) {
        Some(Size::Free(s)) => s,
        other => panic!("{other:?}"),
    };
    refused(
        |g| {
            let s = size(g);
            g.syms[s.0 as usize].hi += 1;
        },
        "does not follow",
    );
    refused(
        |g| {
            let s = size(g);
            g.formulas.get_mut(&s).unwrap().terms[0].1 = s;
        },
        "does not follow",
    );
    refused(
        |g| {
            let s = size(g);
            g.add(Op::Concat { dim: 0, axis: Dim::free("J", s) }, &[NodeId(0)]).unwrap();
        },
        "is not their sum",
    );
    refused(|g| drop(g.add(Op::Size { dim: Dim::free("Q", SymId(9)) }, &[])), "no free axis");
}

#[test]
fn unused_axes_are_dropped() {
    let mut g = good();
    g.syms.push(Sym { name: "U".into(), lo: 1, hi: 8 });
    g.syms.push(Sym { name: "V".into(), lo: 1, hi: 8 });
    let formula = Formula::sum(&[Size::Free(SymId(2)), Size::Fixed(1)]).unwrap();
    let size = g.derive("J", formula).unwrap();
    g.add(Op::Size { dim: Dim { axis: "J".into(), size } }, &[]).unwrap();
    let g = g.without_unused_axes();
    let names: Vec<&str> = g.syms.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["B", "V", "J"]);
    assert_eq!(g.formulas[&SymId(2)].terms, [(1, SymId(1))]);
    g.verify().unwrap();
    assert_eq!(Graph::parse(&g.to_string()).unwrap(), g);
}

#[test]
fn operators_on_run_time_values() {
    let x = f32s(vec![Dim::fixed("A", 2), Dim::fixed("B", 3)]);
    let b = Type::new(DType::Bool, x.dims.clone());
    let top = |dims: Vec<u32>, among| {
        Op::Top(Top { dims, amount: Amount::Count(1), multiple: 1, first: 0, last: 0, among, name: String::new() })
    };
    let window = |coeff: Vec<i64>| Op::Window { dim: 1, into: vec![Dim::fixed("P", 2)], coeff, offset: 0 };
    let concat = |n| Op::Concat { dim: 1, axis: Dim::fixed("J", n) };
    let good: [(Op, &[&Type]); 4] = [
        (top(vec![1], false), &[&x]),
        (top(vec![0, 1], true), &[&x, &b]),
        (window(vec![1]), &[&b]),
        (concat(6), &[&x, &x]),
    ];
    for (op, args) in good {
        infer(&op, args).unwrap();
    }
    let turned = Type::new(DType::F32, vec![x.dims[1].clone(), x.dims[0].clone()]);
    let bad: [(Op, &[&Type]); 12] = [
        (top(vec![], false), &[&x]),
        (top(vec![1, 0], false), &[&x]),
        (top(vec![2], false), &[&x]),
        (top(vec![1], false), &[&b]),
        (top(vec![1], true), &[&x, &x]),
        (top(vec![1], true), &[&turned, &b]),
        (window(vec![1, 1]), &[&x]),
        (window(vec![]), &[&x]),
        (concat(5), &[&x, &x]),
        (concat(6), &[&x, &b]),
        (concat(5), &[&x, &turned]),
        (concat(0), &[]),
    ];
    for (op, args) in bad {
        assert!(infer(&op, args).is_err(), "{op:?}");
    }
    for (f, ty) in [(ReduceFn::Any, &x), (ReduceFn::ArgMax, &b), (ReduceFn::Product, &b)] {
        assert!(infer(&Op::Reduce { f, dims: vec![0] }, &[ty]).is_err());
    }
}
