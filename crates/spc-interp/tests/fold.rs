//! Folds against the interpreter: the same values before and after up to one rounding of each weight, the same zeros, and nothing
//! where it would be another program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use ndarray::ArrayD;
use proptest::prelude::*;
use spc_interp::testing::Rng;
use spc_interp::{Value, run};
use spc_ir::structure::{
    FOLD_BATCH_NORM, FOLD_CONSTANT, FOLD_NORM, Fold, Recipe, folds, scaled_weights, take, with_folds,
};
use spc_ir::{Graph, NodeId, Op};
use std::collections::{BTreeMap, BTreeSet};

type W = BTreeMap<String, Vec<f32>>;

fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| (rng.below(2001) as f32 - 1000.0) / 777.0).collect()
}

/// Matrices with zeros, and vectors without; variances are positive.
fn weights(g: &Graph) -> W {
    let one = |(seed, (name, n)): (u64, (String, NodeId))| {
        let shape = g.ty(n).unwrap().shape(&[]).unwrap();
        let mut v = numbers(seed, shape.iter().product());
        if shape.len() > 1 {
            v.iter_mut().step_by(3).for_each(|v| *v = 0.0);
        } else {
            v.iter_mut().for_each(|v| *v = if name.starts_with("var") { v.abs() + 0.1 } else { *v + 2.0 });
        }
        (name, v)
    };
    (1..).zip(g.weights()).map(one).collect()
}

fn shape_of(g: &Graph, name: &str) -> Vec<usize> {
    let (_, n) = g.weights().into_iter().find(|(n, _)| n == name).unwrap();
    g.ty(n).unwrap().shape(&[]).unwrap()
}

/// The weights with everything that these folds make.
fn with_made(g: &Graph, w: &W, list: &[Fold]) -> W {
    let mut out = w.clone();
    for made in list.iter().flat_map(|f| &f.replaced).flat_map(|r| &r.1) {
        let shapes: Vec<Vec<usize>> = made.from.iter().map(|n| shape_of(g, n)).collect();
        let from: Vec<(&[usize], &[f32])> =
            shapes.iter().zip(&made.from).map(|(s, n)| (s.as_slice(), w[n].as_slice())).collect();
        let (_, v) = made.how.make(&from).unwrap();
        if let Recipe::Scaled { .. } = made.how {
            let zeros = |v: &[f32]| v.iter().map(|v| *v == 0.0).collect::<Vec<_>>();
            assert_eq!(zeros(&v), zeros(&w[&made.from[0]]), "{}", made.name);
        }
        out.insert(made.name.clone(), v);
    }
    out
}

fn results(g: &Graph, w: &W, tokens: usize) -> Vec<Vec<f64>> {
    let inputs = g.named_inputs().into_iter().map(|(name, n)| {
        let shape = g.ty(n).unwrap().shape(&vec![tokens as u64; g.syms.len()]).unwrap();
        let x = numbers(99, shape.iter().product());
        (name, Value::F(ArrayD::from_shape_vec(shape, x.into_iter().map(f64::from).collect()).unwrap()))
    });
    let syms = vec![tokens as u64; g.syms.len()];
    let out = run::<f64>(g, &syms, &inputs.collect(), w).unwrap();
    out.iter().map(|(_, v)| v.floats().unwrap().iter().copied().collect()).collect()
}

/// Takes these folds and compares; what is left has no map that was folded away.
fn compare(g: &Graph, list: &[Fold], taken: &BTreeSet<NodeId>, tokens: usize) -> Graph {
    let w = weights(g);
    let folded = take(&with_folds(g, list).unwrap(), list, taken).unwrap();
    let (before, after) = (results(g, &w, tokens), results(&folded, &with_made(g, &w, list), tokens));
    for (a, b) in before.iter().flatten().zip(after.iter().flatten()) {
        assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} is {b} after folding\n{g}\n{folded}");
    }
    assert_eq!(Graph::parse(&folded.to_string()).unwrap(), folded, "the text form reads back");
    folded
}

fn all(list: &[Fold]) -> BTreeSet<NodeId> {
    list.iter().flat_map(|f| f.replaced.iter().map(|r| r.0)).collect()
}

fn maps(g: &Graph) -> Vec<String> {
    let of = |n: NodeId| match &g.node(n).unwrap().op {
        Op::Map { expr, .. } => Some(expr.to_string()),
        _ => None,
    };
    g.ids().into_iter().filter_map(of).collect()
}

/// A norm with a gain and perhaps a shift, and linears that read it, each with rows and a bias or none.
fn normed(linears: &[(u64, bool)], shift: bool, extra: &str) -> Graph {
    let mut t = String::from("graph \"f\" {\n  sym B = 1..8\n  %0 = input \"x\" : f32[B=?B, K=6]\n");
    t += "  %1 = map (mul a0 a0) at [0 1] (%0) : f32[B=?B, K=6]\n  %2 = reduce mean [1] (%1) : f32[B=?B]\n";
    t += "  %3 = weight \"m.gain\" : f32[K=6]\n  %4 = weight \"m.shift\" : f32[K=6]\n";
    let norm = "(mul (div a0 (sqrt (add a1 0.001))) a2)";
    t += &match shift {
        true => format!("  %5 = map (add {norm} a3) at [0 1] [0] [1] [1] (%0, %2, %3, %4) : f32[B=?B, K=6]\n"),
        false => format!("  %5 = map {norm} at [0 1] [0] [1] (%0, %2, %3) : f32[B=?B, K=6]\n"),
    };
    let (mut at, mut outputs) = (6, String::new());
    for (i, (rows, bias)) in linears.iter().enumerate() {
        t += &format!("  %{at} = weight \"m.w{i}\" : f32[O={rows}, K=6]\n");
        let (mut operands, mut y) = (format!("%5, %{at}"), at + 1);
        if *bias {
            t += &format!("  %{y} = weight \"m.b{i}\" : f32[O={rows}]\n");
            operands += &format!(", %{y}");
            y += 1;
        }
        let word = if *bias { "linear bias" } else { "linear" };
        t += &format!("  %{y} = {word} ({operands}) : f32[B=?B, O={rows}]\n");
        outputs += &format!("  output \"y{i}\" = %{y}\n");
        at = y + 1;
    }
    if !extra.is_empty() {
        t += &format!("  %{at} = {extra}\n");
        outputs += &format!("  output \"extra\" = %{at}\n");
    }
    let t = t + &outputs + "}\n";
    Graph::parse(&t).unwrap_or_else(|e| panic!("{e}\n{t}"))
}

#[test]
fn a_gain_moves_into_columns_and_a_shift_into_biases() {
    for shift in [false, true] {
        let g = normed(&[(4, true), (3, false)], shift, "");
        let (list, refused) = folds(&g).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        let [norm] = &list[..] else { panic!("{list:?}") };
        assert_eq!(norm.rule, FOLD_NORM);
        let made: Vec<&str> = norm.replaced.iter().flat_map(|r| &r.1).map(|m| m.name.as_str()).collect();
        let (with, without) =
            (vec!["m.w0*gain", "m.b0+shift", "m.w1*gain", "m.w1+shift"], vec!["m.w0*gain", "m.w1*gain"]);
        assert_eq!(made, if shift { with } else { without });
        let after = compare(&g, &list, &all(&list), 5);
        assert!(maps(&after).contains(&"(div a0 (sqrt (add a1 0.001)))".to_string()), "{after}");
        assert!(after.weights().iter().all(|(n, _)| n != "m.gain" && n != "m.shift" && n != "m.w0"), "{after}");
        // One of the two only: both norms are there.
        let one: BTreeSet<NodeId> = [norm.replaced[0].0].into();
        assert_eq!(maps(&compare(&g, &list, &one, 3)).len(), 3);
    }
}

#[test]
fn a_norm_that_something_else_reads_stays_and_says_why() {
    let none = |g: &Graph, words: &str| {
        let (list, refused) = folds(g).unwrap();
        assert!(list.is_empty(), "{list:?}");
        assert!(refused.iter().any(|r| r.because.contains(words)), "{words}: {refused:?}");
        assert!(refused.iter().all(|r| r.rule == FOLD_NORM && r.made.is_none() && r.how.is_none()));
    };
    none(&normed(&[(4, true)], false, "map (neg a0) at [0 1] (%5) : f32[B=?B, K=6]"), "read by a map too");
    let mut g = normed(&[(4, true)], false, "");
    g.outputs.push(("norm".into(), NodeId(5)));
    none(&g, "is a result");
    // The weight is read by something else as well.
    none(&normed(&[(4, false)], false, "map (neg a0) at [0 1] (%6) : f32[O=4, K=6]"), "read more than once");
    // Nothing to move: no gain, or one that is not along the inputs, or no linear.
    let text = normed(&[(4, true)], false, "").to_string();
    let plain = text.replace("(mul (div a0 (sqrt (add a1 0.001))) a2)", "(max (div a0 (sqrt (add a1 0.001))) a2)");
    assert!(folds(&Graph::parse(&plain).unwrap()).unwrap().0.is_empty(), "a maximum is no product");
    assert!(folds(&normed(&[], false, "map (neg a0) at [0 1] (%5) : f32[B=?B, K=6]")).unwrap().1.is_empty());
}

#[test]
fn what_a_constraint_is_about_stays() {
    let text = normed(&[(4, true)], false, "").to_string();
    let (about, found) = ("m.gain", "a constraint is about `m.gain`");
    let mut g = Graph::parse(&text).unwrap();
    let member = spc_ir::Member {
        weight: about.into(),
        shape: vec![6],
        cover: spc_ir::Cover::Tile(vec![1]),
        scope: vec![6],
        layer: String::new(),
        floor: None,
        amount: None,
        cost: 1,
    };
    let keep = spc_ir::Keep::new(spc_ir::Amount::OutOf { n: 1, m: 2 }, spc_ir::Scope::Tensor, vec![member]);
    g.requires.push(spc_ir::Require { name: "r".into(), keeps: vec![keep] });
    let (list, refused) = folds(&g).unwrap();
    assert!(list.is_empty() && refused[0].because == found, "{refused:?}");
}

/// A linear or a convolution, and what is done to its channels; `rest` stands around the value that is `a0`.
fn channelled(expr: &str, conv: bool, others: &str, names: &[&str]) -> Graph {
    let mut t = String::from("graph \"f\" {\n  sym B = 1..8\n");
    if conv {
        t += "  %0 = input \"x\" : f32[B=?B, P=3, Q=2, K=4]\n  %1 = weight \"w\" : f32[O=5, K=4]\n";
        t += "  %2 = linear (%0, %1) : f32[B=?B, P=3, Q=2, O=5]\n";
        t += "  %3 = transpose [0 3 1 2] (%2) : f32[B=?B, O=5, P=3, Q=2]\n";
    } else {
        t += "  %0 = input \"x\" : f32[B=?B, K=4]\n  %1 = weight \"w\" : f32[O=5, K=4]\n  %2 = weight \"b\" : f32[O=5]\n";
        t += "  %3 = linear bias (%0, %1, %2) : f32[B=?B, O=5]\n";
    }
    for (i, n) in names.iter().enumerate() {
        t += &format!("  %{} = weight \"{n}\" : f32[O=5]\n", i + 4);
    }
    let operands: String = (0..names.len()).map(|i| format!(", %{}", i + 4)).collect();
    let ty = if conv { "f32[B=?B, O=5, P=3, Q=2]" } else { "f32[B=?B, O=5]" };
    let own = if conv { "[0 1 2 3]" } else { "[0 1]" };
    let last = names.len() + 4;
    t += &format!("  %{last} = map {expr} at {own}{} (%3{operands}) : {ty}\n{others}", " [1]".repeat(names.len()));
    t += &format!("  output \"y\" = %{last}\n}}\n");
    Graph::parse(&t).unwrap_or_else(|e| panic!("{e}\n{t}"))
}

const BATCH_NORM: &str = "(add (mul (div (sub a0 a1) (sqrt (add a2 0.00001))) a3) a4)";
const STATISTICS: [&str; 4] = ["mu", "var", "scale", "shift"];

#[test]
fn batch_norm_moves_into_rows_and_the_bias() {
    for conv in [false, true] {
        let g = channelled(BATCH_NORM, conv, "", &STATISTICS);
        let (list, refused) = folds(&g).unwrap();
        assert!(refused.is_empty() && list.len() == 1 && list[0].rule == FOLD_BATCH_NORM, "{list:?} {refused:?}");
        let after = compare(&g, &list, &all(&list), 4);
        assert!(maps(&after).is_empty(), "{after}");
        // A function around it stays.
        let g = channelled(&format!("(max 0 {BATCH_NORM})"), conv, "", &STATISTICS);
        let list = folds(&g).unwrap().0;
        assert_eq!(maps(&compare(&g, &list, &all(&list), 4)), ["(max 0 a0)"]);
    }
}

#[test]
fn constants_move_into_rows_and_the_bias() {
    for (expr, left) in
        [("(mul a0 0.5)", None), ("(sub 1 (div a0 3))", None), ("(exp (add (mul 2 a0) 1))", Some("(exp a0)"))]
    {
        for conv in [false, true] {
            let g = channelled(expr, conv, "", &[]);
            let list = folds(&g).unwrap().0;
            assert!(list.len() == 1 && list[0].rule == FOLD_CONSTANT, "{list:?}");
            assert_eq!(maps(&compare(&g, &list, &all(&list), 4)), left.into_iter().collect::<Vec<_>>());
        }
    }
    for expr in ["(max a0 0)", "(mul a0 a0)", "(exp a0)"] {
        assert!(folds(&channelled(expr, false, "", &[])).unwrap().0.is_empty(), "{expr}");
    }
}

#[test]
fn a_product_that_something_else_reads_is_not_scaled() {
    let text = channelled(BATCH_NORM, false, "", &STATISTICS).to_string();
    let text = text.replace("  output \"y\"", "  output \"raw\" = %3\n  output \"y\"");
    let (list, refused) = folds(&Graph::parse(&text).unwrap()).unwrap();
    assert!(list.is_empty() && refused[0].because.contains("read by something else"), "{refused:?}");
    // Along the tokens nothing is a channel.
    let text = channelled(BATCH_NORM, true, "", &STATISTICS).to_string();
    let tokens = text.replace("[1] [1] [1] [1]", "[2] [2] [2] [2]").replace("P=3", "P=5");
    assert!(folds(&Graph::parse(&tokens).unwrap()).unwrap().0.is_empty());
}

/// A product with a matrix of `sizes` (outputs first) times what `expr` says of it, of weights along its rows (`r`, `a1`) and columns
/// (`c`, `a2`) and of a scalar (`s`, `a3`); `x first` or the matrix first; the outputs as one axis or as two.
fn product(expr: &str, x_first: bool, heads: bool) -> Graph {
    let mut t = String::from("graph \"f\" {\n  sym B = 1..8\n  %0 = input \"x\" : f32[B=?B, K=5]\n");
    t += "  %1 = weight \"w\" : f32[O=6, K=5]\n  %2 = weight \"r\" : f32[O=6]\n  %3 = weight \"c\" : f32[K=5]\n";
    t += "  %4 = weight \"s\" : f32[]\n";
    t += &format!("  %5 = map {expr} at [0 1] [0] [1] [] (%1, %2, %3, %4) : f32[O=6, K=5]\n");
    let (w, labels, ty) = if heads {
        t += "  %6 = split 0 [H=2, J=3] (%5) : f32[H=2, J=3, K=5]\n";
        (6, ["[2 3 1]", "[0 2 3]"], "f32[B=?B, H=2, J=3]")
    } else {
        (5, ["[2 1]", "[0 2]"], "f32[B=?B, O=6]")
    };
    let (a, b) = (format!("%{w}"), "%0".to_string());
    let pair = if x_first { (("[0 1]", &b), (labels[0], &a)) } else { ((labels[0], &a), ("[0 1]", &b)) };
    let ((la, a), (lb, b)) = pair;
    let y = w + 1;
    t += &format!("  %{y} = contract {la} {lb} -> {} ({a}, {b}) : {ty}\n  output \"y\" = %{y}\n}}\n", labels[1]);
    Graph::parse(&t).unwrap_or_else(|e| panic!("{e}\n{t}"))
}

fn contracts(g: &Graph) -> usize {
    g.ids().into_iter().filter(|n| matches!(g.node(*n).unwrap().op, Op::Contract { .. })).count()
}

#[test]
fn factors_of_a_matrix_move_into_it_and_the_product_is_a_linear() {
    for expr in ["(mul a0 0.5)", "(mul (mul a2 a0) a1)", "(neg (div a0 (sqrt a1)))", "(mul a0 (div a3 4))"] {
        for (x_first, heads) in [(true, false), (false, false), (true, true), (false, true)] {
            let g = product(expr, x_first, heads);
            let (list, refused) = folds(&g).unwrap();
            assert!(refused.is_empty() && list.len() == 1 && list[0].rule == FOLD_CONSTANT, "{list:?} {refused:?}");
            assert_eq!(scaled_weights(&g).unwrap(), [("w".to_string(), (6, 5))].into());
            let after = compare(&g, &list, &all(&list), 3);
            assert!(maps(&after).is_empty() && contracts(&after) == 0, "{after}");
            assert!(scaled_weights(&after).unwrap().is_empty());
        }
    }
    // What is added, what occurs twice, and what is a function of it is no factor.
    for expr in ["(add a0 a1)", "(mul a0 a0)", "(exp a0)", "(mul a0 (add a1 a2))", "(div 1 a0)"] {
        assert!(folds(&product(expr, true, false)).unwrap().0.is_empty(), "{expr}");
    }
}

#[test]
fn a_matrix_with_factors_that_something_else_reads_stays_and_says_why() {
    let refused = |text: &str| {
        let g = Graph::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let (list, refused) = folds(&g).unwrap();
        assert!(list.is_empty() && refused.len() == 1, "{list:?} {refused:?}");
        refused[0].because.clone()
    };
    let text = product("(mul a0 a1)", true, false).to_string();
    let scaled = text.replace("  output", "  output \"v\" = %5\n  output");
    assert!(refused(&scaled).contains("what is computed of `w` is read by something else"));
    let raw = text.replace("  output", "  output \"raw\" = %1\n  output");
    assert!(refused(&raw).contains("`w`, which it would move into, is read more than once"));
    // Sums along the outputs are no linear of the matrix.
    let turned = text.replace("f32[B=?B, K=5]", "f32[B=?B, O=6]").replace("-> [0 2]", "-> [0 3]");
    let turned = turned
        .replace("contract [0 1] [2 1]", "contract [0 1] [1 3]")
        .replace("(%0, %5) : f32[B=?B, O=6]", "(%0, %5) : f32[B=?B, K=5]");
    let g = Graph::parse(&turned).unwrap_or_else(|e| panic!("{e}\n{turned}"));
    assert!(folds(&g).unwrap().0.is_empty() && scaled_weights(&g).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn folded_factors_keep_their_values(
        steps in prop::collection::vec((0u8..4, 1u8..5), 1..6),
        x_first in any::<bool>(),
        heads in any::<bool>(),
        tokens in 1usize..6,
    ) {
        let mut e = "a0".to_string();
        for (step, arg) in steps {
            let other = if arg == 4 { "(sqrt 2.5)".to_string() } else { format!("a{arg}") };
            e = match step {
                0 => format!("(mul {e} {other})"),
                1 => format!("(mul {other} {e})"),
                2 => format!("(div {e} {other})"),
                _ => format!("(neg (mul 0.25 {e}))"),
            };
        }
        let g = product(&e, x_first, heads);
        let list = folds(&g).unwrap().0;
        prop_assert_eq!(list.len(), 1, "{}", g);
        let after = compare(&g, &list, &all(&list), tokens);
        prop_assert!(maps(&after).is_empty() && contracts(&after) == 0, "{}", after);
    }

    #[test]
    fn folded_programs_keep_their_values(
        linears in prop::collection::vec((1u64..7, any::<bool>()), 1..4),
        shift in any::<bool>(),
        tokens in 1usize..8,
        kept in 0usize..4,
    ) {
        let g = normed(&linears, shift, "");
        let list = folds(&g).unwrap().0;
        let taken: BTreeSet<NodeId> = all(&list).into_iter().skip(kept.min(linears.len() - 1)).collect();
        compare(&g, &list, &taken, tokens);
    }

    #[test]
    fn folded_channels_keep_their_values(
        steps in prop::collection::vec((0u8..6, 1u8..4), 1..5),
        around in 0u8..3,
        conv in any::<bool>(),
        tokens in 1usize..5,
    ) {
        let mut e = "a0".to_string();
        for (step, arg) in steps {
            let other = if step % 2 == 0 { format!("a{arg}") } else { format!("{}", f32::from(arg) / 4.0) };
            e = match step {
                0 | 1 => format!("(mul {e} {other})"),
                2 | 3 => format!("(add {other} {e})"),
                4 => format!("(sub {other} {e})"),
                _ => format!("(div (neg {e}) {other})"),
            };
        }
        let e = match around {
            0 => e,
            1 => format!("(max 0 {e})"),
            _ => format!("(select (lt a1 2) {e} (tanh {e}))"),
        };
        let g = channelled(&e, conv, "", &["var", "scale", "shift"]);
        let list = folds(&g).unwrap().0;
        prop_assert!(around == 2 || list.len() == 1, "{}", g);
        compare(&g, &list, &all(&list), tokens);
    }
}
