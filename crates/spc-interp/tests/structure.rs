//! Changes of structure against the interpreter: the same bits before and after, and nothing where it would be another program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use ndarray::ArrayD;
use proptest::prelude::*;
use spc_interp::testing::Rng;
use spc_interp::{Value, run};
use spc_ir::structure::{Siblings, merge, part_of, siblings};
use spc_ir::{Graph, NodeId, Op};
use std::collections::BTreeMap;

type W = BTreeMap<String, Vec<f32>>;

fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| if rng.chance(1, 3) { 0.0 } else { (rng.below(2001) as f32 - 1000.0) / 777.0 }).collect()
}

fn weights(g: &Graph) -> W {
    let size = |n: NodeId| g.ty(n).unwrap().shape(&[]).unwrap().iter().product::<usize>();
    (1..).zip(g.weights()).map(|(seed, (name, n))| (name, numbers(seed, size(n)))).collect()
}

fn stacked(w: &W, group: &Siblings) -> W {
    let mut out = w.clone();
    let join = |names: &[String]| names.iter().flat_map(|n| w[n].clone()).collect::<Vec<f32>>();
    out.insert(group.made(), join(&group.weights));
    if let Some(name) = group.made_bias() {
        out.insert(name, join(&group.biases));
    }
    out
}

fn results(g: &Graph, w: &W, tokens: usize) -> Vec<Vec<u32>> {
    let mut x = numbers(99, tokens * 6);
    (x[0], x[1]) = (f32::INFINITY, -0.0);
    let x = Value::F(ArrayD::from_shape_vec(vec![tokens, 6], x).unwrap());
    let out = run::<f32>(g, &[tokens as u64], &BTreeMap::from([("x".to_string(), x)]), w).unwrap();
    out.iter().map(|(_, v)| v.floats().unwrap().iter().map(|v| v.to_bits()).collect()).collect()
}

/// Linears of one input, each with rows, a bias or none, and whether its sums are a result as they are.
fn family(list: &[(u64, bool, bool)]) -> Graph {
    let mut text = String::from("graph \"f\" {\n  sym B = 1..8\n  %0 = input \"x\" : f32[B=?B, K=6]\n");
    let (mut at, mut outputs) = (1, String::new());
    for (i, (rows, bias, plain)) in list.iter().enumerate() {
        text += &format!("  %{at} = weight \"m.w{i}\" : f32[O={rows}, K=6]\n");
        let (mut operands, mut y) = (format!("%0, %{at}"), at + 1);
        if *bias {
            text += &format!("  %{y} = weight \"m.b{i}\" : f32[O={rows}]\n");
            operands += &format!(", %{y}");
            y += 1;
        }
        let word = if *bias { "linear bias" } else { "linear" };
        text += &format!("  %{y} = {word} ({operands}) : f32[B=?B, O={rows}]\n");
        at = y + 1;
        if !plain {
            text += &format!("  %{at} = map (neg a0) at [0 1] (%{y}) : f32[B=?B, O={rows}]\n");
            y = at;
            at += 1;
        }
        outputs += &format!("  output \"y{i}\" = %{y}\n");
    }
    let text = text + &outputs + "}\n";
    Graph::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn whole(g: &Graph) -> Siblings {
    siblings(g).unwrap().0.pop().unwrap()
}

#[test]
fn three_linears_of_one_value_become_one() {
    let g = family(&[(4, true, false), (2, true, false), (3, true, false)]);
    let (groups, refused) = siblings(&g).unwrap();
    assert_eq!((groups.len(), refused.len()), (4, 0), "three pairs and all");
    let all = whole(&g);
    assert_eq!((all.made().as_str(), all.made_bias().unwrap().as_str()), ("m.{w0,w1,w2}", "m.{b0,b1,b2}"));
    let m = merge(&g, &[(&all, &all.linears)]).unwrap();
    let linears: Vec<NodeId> =
        m.ids().into_iter().filter(|n| matches!(m.node(*n).unwrap().op, Op::Linear { .. })).collect();
    let [one] = linears[..] else { panic!("{m}") };
    let mut parts: Vec<u64> = m.readers(one).iter().map(|r| part_of(&m, *r).unwrap().unwrap().1).collect();
    parts.sort_unstable();
    assert_eq!(parts, [0, 4, 6]);
    assert_eq!(Graph::parse(&m.to_string()).unwrap(), m, "the text form reads back");
    let w = weights(&g);
    assert_eq!(results(&m, &stacked(&w, &all), 5), results(&g, &w, 5));
}

#[test]
fn what_would_be_copied_or_is_something_else_stays_apart() {
    let none = |list: &[(u64, bool, bool)], words: &str| {
        let g = family(list);
        let (groups, refused) = siblings(&g).unwrap();
        assert!(groups.is_empty(), "{g}");
        assert!(refused.iter().any(|(_, why)| why.contains(words)), "{words}: {refused:?}");
    };
    none(&[(4, true, true), (4, true, false)], "is a result");
    none(&[(4, true, false), (4, false, false)], "no other with a bias");
    assert_eq!(siblings(&family(&[(4, true, false)])).unwrap(), (vec![], vec![]));
    // The same weight twice, a bias that is used again, an activation, a reader that wants a whole, and a range that is none.
    let read = |text: &str| siblings(&Graph::parse(text).unwrap()).unwrap();
    let head = "graph \"f\" {\n  %0 = input \"x\" : f32[B=2, K=6]\n  %1 = weight \"a\" : f32[O=6, K=6]\n  %2 = weight \"b\" : f32[O=6, K=6]\n";
    let (groups, refused) = read(&format!(
        "{head}  %3 = linear (%0, %1) : f32[B=2, O=6]\n  %4 = linear (%0, %1) : f32[B=2, O=6]\n  %5 = map (add a0 a1) at [0 1] [0 1] (%3, %4) : f32[B=2, O=6]\n  output \"y\" = %5\n}}\n"
    ));
    assert!(groups.is_empty() && refused[0].1.contains("read more than once"), "{refused:?}");
    let (groups, refused) = read(&format!(
        "{head}  %3 = linear act (neg a0) (%0, %1) : f32[B=2, O=6]\n  %4 = linear (%0, %2) : f32[B=2, O=6]\n  %5 = map (add a0 a1) at [0 1] [0 1] (%3, %4) : f32[B=2, O=6]\n  output \"y\" = %5\n}}\n"
    ));
    assert!(groups.is_empty() && refused.iter().any(|r| r.1.contains("a function follows")), "{refused:?}");
    let (groups, refused) = read(&format!(
        "{head}  %3 = linear (%0, %1) : f32[B=2, O=6]\n  %4 = linear (%3, %2) : f32[B=2, O=6]\n  %5 = linear (%0, %2) : f32[B=2, O=6]\n  %6 = map (add a0 a1) at [0 1] [0 1] (%4, %5) : f32[B=2, O=6]\n  output \"y\" = %6\n}}\n"
    ));
    assert!(groups.is_empty() && refused.iter().any(|r| r.1.contains("read by a linear")), "{refused:?}");
}

#[test]
fn a_range_is_one_only_inside_the_features_of_a_linear() {
    let is = |window: &str, ty: &str| {
        let text = format!(
            "graph \"f\" {{\n  %0 = input \"x\" : f32[B=2, K=6]\n  %1 = weight \"a\" : f32[O=6, K=6]\n  %2 = linear (%0, %1) : f32[B=2, O=6]\n  %3 = {window} : {ty}\n  output \"y\" = %3\n}}\n"
        );
        let g = Graph::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        part_of(&g, g.outputs[0].1).unwrap().map(|p| p.1)
    };
    let window = |dim: u32, n: u64, coeff: i64, offset: i64| {
        let ty = if dim == 1 { format!("f32[B=2, P={n}]") } else { format!("f32[P={n}, O=6]") };
        let mut g = Graph::new("f");
        let kind = |dims| spc_ir::Type::new(spc_ir::DType::F32, dims);
        let (b, k, o) = (spc_ir::Dim::fixed("B", 2), spc_ir::Dim::fixed("K", 6), spc_ir::Dim::fixed("O", 6));
        let x = g.add(Op::Input { name: "x".into(), ty: kind(vec![b, k.clone()]) }, &[]).unwrap();
        let w = g.add(Op::Weight { name: "a".into(), ty: kind(vec![o, k]) }, &[]).unwrap();
        let y = g.add(Op::Linear { bias: false, act: None }, &[x, w]).unwrap();
        let into = vec![spc_ir::Dim::fixed("P", n)];
        let p = g.add(Op::Window { dim, into, coeff: vec![coeff], offset }, &[y]).unwrap();
        g.outputs.push(("y".into(), p));
        let line = g.to_string().lines().find(|l| l.contains("window")).unwrap().to_string();
        let words = line.split_once("= ").unwrap().1.rsplit_once(" : ").unwrap().0.to_string();
        is(&words, &ty)
    };
    assert_eq!(window(1, 2, 1, 3), Some(3));
    assert_eq!(window(1, 6, 1, 0), Some(0));
    assert_eq!(window(1, 2, 1, 5), None, "it ends past the last feature");
    assert_eq!(window(1, 2, 1, -1), None, "it starts before the first");
    assert_eq!(window(1, 2, 2, 0), None, "every second feature");
    assert_eq!(window(0, 1, 1, 0), None, "tokens are no features");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn merged_linears_keep_their_bits(
        list in prop::collection::vec((1u64..9, any::<bool>(), prop::bool::weighted(0.2)), 1..6),
        tokens in 1usize..8,
    ) {
        let g = family(&list);
        let w = weights(&g);
        for group in siblings(&g).unwrap().0 {
            // All of them, and with one that stays as it was.
            for kept in 0..group.linears.len() {
                let replaced = if kept == 0 { &group.linears[..] } else { &group.linears[kept..] };
                let m = merge(&g, &[(&group, replaced)]).unwrap();
                prop_assert_eq!(results(&m, &stacked(&w, &group), tokens), results(&g, &w, tokens));
            }
        }
    }
}
