//! Weights split into two and axes in another order, against the interpreter: the same sums in another order, and nothing where
//! it would be another program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use ndarray::ArrayD;
use proptest::prelude::*;
use spc_interp::testing::Rng;
use spc_interp::{Value, run};
use spc_ir::couple::Coupling;
use spc_ir::structure::{
    Fit, Move, Order, REORDER, Recipe, Restructure, Split, moved_name, moves, moves_of, order_choices, order_fold,
    reordered, split, split_name, splittable, take, with_folds,
};
use spc_ir::{Graph, NodeId, Op};
use std::collections::{BTreeMap, BTreeSet};

type W = BTreeMap<String, Vec<f32>>;

/// `y = f(x up' + b) down' + x`: the hidden axis H has no order, the axis K of input and output has one. `after` is what reads
/// the first product.
fn net(hidden: u64, after: &str) -> Graph {
    let text = format!(
        r#"graph "f" {{
  sym B = 1..8
  %0 = input "x" : f32[B=?B, K=10]
  %1 = weight "m.up" : f32[H={hidden}, K=10]
  %2 = weight "m.b" : f32[H={hidden}]
  %3 = linear bias (%0, %1, %2) : f32[B=?B, H={hidden}]
  %4 = map ({after}) at [0 1] (%3) : f32[B=?B, H={hidden}]
  %5 = weight "m.down" : f32[K=10, H={hidden}]
  %6 = linear (%4, %5) : f32[B=?B, K=10]
  %7 = map (add a0 a1) at [0 1] [0 1] (%6, %0) : f32[B=?B, K=10]
  output "y" = %7
}}
"#
    );
    Graph::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn numbers(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| if rng.chance(1, 2) { 0.0 } else { (rng.below(2001) as f32 - 1000.0) / 777.0 }).collect()
}

fn weights(g: &Graph, rng: &mut Rng) -> W {
    let size = |n: NodeId| g.ty(n).unwrap().shape(&[]).unwrap().iter().product::<usize>();
    g.weights().into_iter().map(|(name, n)| (name, numbers(rng, size(n)))).collect()
}

fn results(g: &Graph, w: &W, tokens: usize) -> Vec<f64> {
    let mut rng = Rng::new(5);
    let x = numbers(&mut rng, tokens * 10).into_iter().map(f64::from).collect();
    let x = Value::F(ArrayD::from_shape_vec(vec![tokens, 10], x).unwrap());
    let out = run::<f64>(g, &[tokens as u64], &BTreeMap::from([("x".to_string(), x)]), w).unwrap();
    out.iter().flat_map(|(_, v)| v.floats().unwrap().iter().copied().collect::<Vec<f64>>()).collect()
}

fn near(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs().max(1.0))
}

fn linear_of(g: &Graph, weight: &str) -> NodeId {
    let w = g.weights().into_iter().find(|(n, _)| n == weight).unwrap().1;
    g.readers(w)[0]
}

fn parts(w: &mut W, weight: &str, cols: usize, fit: Fit) {
    for structured in [true, false] {
        let part = fit.part(cols, &w[weight], structured);
        w.insert(split_name(weight, &fit, structured), part);
    }
}

/// Everything at the weight's places in another order, element by element.
fn moved(values: &[f32], shape: &[usize], moves: &[Move]) -> Vec<f32> {
    let mut values = values.to_vec();
    for m in moves {
        for p in &m.places {
            let below: usize = shape[p.dim as usize + 1..].iter().product();
            let n = shape[p.dim as usize];
            let old = values.clone();
            for (i, v) in values.iter_mut().enumerate() {
                let at = i / below % n;
                *v = old[i + p.source(at as u64, m.order.places()) as usize * below - at * below];
            }
        }
    }
    values
}

fn fits() -> impl Strategy<Value = Fit> {
    let tiles = (1u32..6, 1u32..5, 1u32..8).prop_map(|(rows, cols, least)| Fit::Tiles { rows, cols, least });
    let of = (1u32..3, 3u32..6).prop_map(|(n, m)| Fit::OutOf { n, m });
    prop_oneof![tiles, of].prop_filter("numbers that a plan may have", |f| f.check().is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn two_products_sum_to_the_one(hidden in 1u64..20, fit in fits(), other in fits(), tokens in 1usize..6, seed in 0u64..1000) {
        for after in ["neg a0", "mul a0 (tanh a0)"] {
            let g = net(hidden, after);
            let mut w = weights(&g, &mut Rng::new(seed));
            let list = [("m.up", fit), ("m.down", other)].map(|(weight, fit)| {
                Split { linear: linear_of(&g, weight), weight: weight.into(), fit }
            });
            parts(&mut w, "m.up", 10, fit);
            parts(&mut w, "m.down", hidden as usize, other);
            let want = results(&g, &w, tokens);
            for taken in [&list[..1], &list[1..], &list[..]] {
                let s = split(&g, taken).unwrap();
                prop_assert!(near(&results(&s, &w, tokens), &want));
                // The sum goes where the product was read, so there is no pointwise node more than before.
                let maps = |g: &Graph| g.ids().iter().filter(|n| matches!(g.node(**n).unwrap().op, Op::Map { .. })).count();
                prop_assert_eq!(maps(&s), maps(&g));
                prop_assert_eq!(Graph::parse(&s.to_string()).unwrap(), s);
            }
        }
    }

    #[test]
    fn axes_without_an_order_may_have_any(hidden in 1u64..20, tokens in 1usize..6, seed in 0u64..1000) {
        let g = net(hidden, "mul a0 (tanh a0)");
        let mut rng = Rng::new(seed);
        let mut w = weights(&g, &mut rng);
        let mut order: Vec<u32> = (0..hidden as u32).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, rng.below(i + 1));
        }
        let c = Coupling::of(&[&g]).unwrap();
        let free: Vec<usize> = (0..c.sets.len()).filter(|s| c.ordered(&[&g], *s).unwrap().is_empty()).collect();
        prop_assert_eq!(free.len(), 1, "the hidden axis alone");
        let order = Order::new(order).unwrap();
        let list = moves(&c, &BTreeMap::from([(free[0], order.clone())]));
        prop_assert_eq!(list.keys().map(String::as_str).collect::<Vec<_>>(), ["m.b", "m.down", "m.up"]);
        let want = results(&g, &w, tokens);
        for (name, node) in g.weights() {
            let shape = g.ty(node).unwrap().shape(&[]).unwrap();
            let values = moved(&w[&name], &shape, &list[&name]);
            w.insert(moved_name(&name, &list[&name]), values);
        }
        let r = reordered(&g, &list).unwrap();
        prop_assert!(near(&results(&r, &w, tokens), &want));
        // On offer beside what is there: nothing changes until it is taken, and then it is that graph, or one of its weights is split.
        prop_assert_eq!(order_choices(&c, &free), vec![vec![0]]);
        let chosen = BTreeMap::from([(free[0], order.clone())]);
        let fold = order_fold(&g, &c, &chosen).unwrap().unwrap();
        let mut folded = with_folds(&g, std::slice::from_ref(&fold)).unwrap();
        let ends: BTreeSet<NodeId> = fold.replaced.iter().map(|r| r.0).collect();
        prop_assert_eq!(&take(&folded, &[fold], &BTreeSet::new()).unwrap(), &g.compact().unwrap());
        let taken = take(&folded, &[], &ends).unwrap();
        prop_assert!(near(&results(&taken, &w, tokens), &want));
        prop_assert_eq!(folded.reads(&ends), r.weights().into_iter().map(|(n, _)| n).collect());
        let world = folded.with(&|_| true);
        let up = moved_name("m.up", &list["m.up"]);
        let fit = Fit::Tiles { rows: 2, cols: 2, least: 2 };
        let split = Split { linear: linear_of(&world, &up), weight: up.clone(), fit };
        let inner = split.fold(&world).unwrap();
        folded.add(Some(0), std::slice::from_ref(&inner)).unwrap();
        parts(&mut w, &up, 10, fit);
        let both = ends.into_iter().chain(inner.replaced.iter().map(|r| r.0)).collect();
        prop_assert!(near(&results(&take(&folded, &[], &both).unwrap(), &w, tokens), &want));
        prop_assert!(!folded.reads(&both).contains(&up) && folded.with(&|i| i == 1).weights().len() == r.weights().len() + 1);
        let steps: Vec<Restructure> = list.iter().map(|(name, moves)| step(name, moves)).collect();
        let all: Vec<&Restructure> = steps.iter().collect();
        prop_assert_eq!(moves_of(&g, &all).unwrap(), Ok(list));
    }
}

fn step(name: &str, moves: &[Move]) -> Restructure {
    Restructure {
        rule: REORDER.into(),
        from: vec![name.into()],
        rows: vec![],
        made: Some(moved_name(name, moves)),
        how: Some(Recipe::Reorder { moves: moves.to_vec() }),
        because: String::new(),
    }
}

#[test]
fn what_is_read_twice_or_has_more_dimensions_is_not_split() {
    let g = net(4, "neg a0");
    assert_eq!(splittable(&g, linear_of(&g, "m.up")).unwrap(), Ok("m.up".into()));
    let twice = r#"graph "f" {
  %0 = input "x" : f32[B=2, K=6]
  %1 = weight "a" : f32[O=6, K=6]
  %2 = linear (%0, %1) : f32[B=2, O=6]
  %3 = linear (%2, %1) : f32[B=2, O=6]
  output "y" = %3
}
"#;
    let g = Graph::parse(twice).unwrap();
    assert!(splittable(&g, linear_of(&g, "a")).unwrap().unwrap_err().contains("more than once"));
}

#[test]
fn a_product_that_is_a_result_or_has_a_function_of_its_own_gets_a_sum_of_its_own() {
    for (word, act) in [("linear", ""), ("linear act (neg a0)", "")] {
        let text = format!(
            "graph \"f\" {{\n  sym B = 1..8\n  %0 = input \"x\" : f32[B=?B, K=10]\n  %1 = weight \"a\" : f32[O=6, K=10]\n  %2 = {word}{act} (%0, %1) : f32[B=?B, O=6]\n  output \"y\" = %2\n}}\n"
        );
        let g = Graph::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let mut w = weights(&g, &mut Rng::new(3));
        let fit = Fit::OutOf { n: 1, m: 4 };
        parts(&mut w, "a", 10, fit);
        let s = split(&g, &[Split { linear: linear_of(&g, "a"), weight: "a".into(), fit }]).unwrap();
        assert!(near(&results(&s, &w, 3), &results(&g, &w, 3)), "{s}");
    }
}

#[test]
fn orders_that_do_not_belong_are_refused() {
    let g = net(6, "neg a0");
    let c = Coupling::of(&[&g]).unwrap();
    let hidden = c.sets.iter().position(|s| s.size == 6).unwrap();
    let outer = c.sets.iter().position(|s| s.size == 10).unwrap();
    let order = |n: u32| Order::new((0..n).rev().collect()).unwrap();
    let good = moves(&c, &BTreeMap::from([(hidden, order(6))]));
    let refused = |steps: &[Restructure]| moves_of(&g, &steps.iter().collect::<Vec<_>>()).unwrap().is_err();
    let steps: Vec<Restructure> = good.iter().map(|(n, m)| step(n, m)).collect();
    assert!(!refused(&steps) && !refused(&[]));
    // One weight of the axis is left out, moves otherwise, twice, under another name, or is stacked.
    assert!((0..3).all(|i| refused(&[&steps[..i], &steps[i + 1..]].concat())));
    let mut other = good.clone();
    other.get_mut("m.b").unwrap()[0].order = Order::new(vec![1, 0, 2, 3, 4, 5]).unwrap();
    assert!(refused(&other.iter().map(|(n, m)| step(n, m)).collect::<Vec<_>>()));
    assert!(refused(&[steps.clone(), steps[..1].to_vec()].concat()));
    let mut renamed = steps.clone();
    renamed[0].made = Some("m.c".into());
    assert!(refused(&renamed));
    let mut stacked = steps.clone();
    stacked[0].how = None;
    assert!(refused(&stacked));
    // Places of no axis, an order of another length, and an axis that inputs and results carry.
    let mut odd = good.clone();
    odd.get_mut("m.up").unwrap()[0].places[0].dim = 1;
    assert!(refused(&odd.iter().map(|(n, m)| step(n, m)).collect::<Vec<_>>()));
    let short = moves(&c, &BTreeMap::from([(hidden, order(5))]));
    assert!(refused(&short.iter().map(|(n, m)| step(n, m)).collect::<Vec<_>>()));
    let out = moves(&c, &BTreeMap::from([(outer, order(10))]));
    assert!(refused(&out.iter().map(|(n, m)| step(n, m)).collect::<Vec<_>>()));
}
