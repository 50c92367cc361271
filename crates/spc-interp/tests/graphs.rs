//! Laws of graphs, their text and the passes, on random graphs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_interp::testing::{Case, Options, Rng, random_case};
use spc_interp::{Absent, Value, bind_syms, run, run_all, run_both};
use spc_ir::{Graph, NodeId, Op, ScalarExpr, passes};
use std::collections::BTreeMap;

fn inputs64(case: &Case) -> BTreeMap<String, Value<f64>> {
    case.inputs.iter().map(|(n, v)| (n.clone(), v.convert())).collect()
}

fn options() -> impl Strategy<Value = Options> {
    (1usize..16, 0usize..8, any::<bool>()).prop_map(|(steps, zeros, special)| Options {
        steps,
        zeros,
        special,
        choices: true,
    })
}

/// Equal up to reassociation: relative to the larger of the two and 1; NaN equals NaN.
fn close(a: &Value<f64>, b: &Value<f64>, tolerance: f64) -> bool {
    match (a, b) {
        (Value::F(a), Value::F(b)) => {
            a.shape() == b.shape()
                && a.iter().zip(b).all(|(a, b)| {
                    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0)
                })
        }
        _ => a == b,
    }
}

#[test]
fn the_generator_reaches_every_operator_and_every_pass() {
    let mut ops: BTreeMap<String, usize> = BTreeMap::new();
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..400 {
        let case = random_case(seed, Options::default()).unwrap();
        let (after, log) = passes::run(&case.graph, None).unwrap();
        for g in [&case.graph, &after] {
            for id in g.ids() {
                let op = &g.node(id).unwrap().op;
                let bias = if matches!(op, Op::Linear { bias: true, .. }) { " bias" } else { "" };
                *ops.entry(format!("{}{bias}", op.name())).or_default() += 1;
            }
        }
        for (rule, n) in log.applied {
            *rules.entry(rule).or_default() += n;
        }
    }
    assert_eq!(ops.len(), 19, "{ops:?}");
    assert!(ops.values().all(|n| *n >= 20), "{ops:?}");
    assert!(rules.len() == passes::PIPELINE.len() && rules.values().all(|n| *n >= 20), "{rules:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn text_parses_back_to_itself(seed in any::<u64>(), options in options()) {
        let case = random_case(seed, options).unwrap();
        let text = case.graph.to_string();
        let back = Graph::parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(&back, &case.graph);
        prop_assert_eq!(back.to_string(), text);
        let (after, _) = passes::run(&case.graph, None).unwrap();
        prop_assert_eq!(&Graph::parse(&after.to_string()).unwrap(), &after);
    }

    #[test]
    fn passes_keep_the_values(seed in any::<u64>(), options in options(), fuel in prop::option::of(0usize..12)) {
        let case = random_case(seed, options).unwrap();
        let (after, log) = passes::run(&case.graph, fuel).unwrap();
        prop_assert!(fuel.is_none_or(|f| log.applied.iter().map(|(_, n)| n).sum::<usize>() <= f));
        after.verify().unwrap();
        let inputs = inputs64(&case);
        let a = run_both(&case.graph, &case.syms, &inputs, &case.weights).unwrap();
        let b = run_both(&after, &case.syms, &inputs, &case.weights).unwrap();
        for (a, b) in [(&a.skip, &b.skip), (&a.nan, &b.nan)] {
            prop_assert_eq!(a.len(), b.len());
            for ((na, va), (nb, vb)) in a.iter().zip(b) {
                prop_assert_eq!(na, nb);
                prop_assert!(close(va, vb, 1e-9), "{}\n{:?}\n{:?}\n{}\n{}", na, va, vb, &case.graph, &after);
            }
        }
    }

    #[test]
    fn every_node_agrees_with_its_definition(seed in any::<u64>(), options in options(), nan in any::<bool>()) {
        let case = random_case(seed, options).unwrap();
        let absent = if nan { Absent::Nan } else { Absent::Skip };
        for graph in [case.graph.clone(), passes::run(&case.graph, None).unwrap().0] {
            let mut all = run_all(&graph, &case.syms, &inputs64(&case), &case.weights, absent).unwrap();
            for (name, id) in graph.weights() {
                let shape = graph.ty(id).unwrap().shape(&[]).unwrap();
                let v = case.weights[&name].iter().map(|v| f64::from(*v)).collect();
                prop_assert!(!all.contains_key(&id));
                all.insert(id, Value::F(ndarray::ArrayD::from_shape_vec(shape, v).unwrap()));
            }
            for id in graph.ids() {
                let checker = Definition { graph: &graph, all: &all, syms: &case.syms, absent };
                prop_assert!(checker.node(id), "{} of\n{}", id, graph);
            }
            let results = run_both(&graph, &case.syms, &inputs64(&case), &case.weights).unwrap();
            let results = if nan { results.nan } else { results.skip };
            for ((name, value), (want, id)) in results.iter().zip(&graph.outputs) {
                prop_assert_eq!(name, want);
                prop_assert!(close(value, &all[id], 0.0));
            }
        }
    }

    #[test]
    fn single_precision_runs_too(seed in any::<u64>(), options in options()) {
        let case = random_case(seed, options).unwrap();
        let shapes = case.inputs.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
        if let Ok(syms) = bind_syms(&case.graph, &shapes) {
            prop_assert_eq!(&syms, &case.syms);
        }
        for (name, v) in run::<f32>(&case.graph, &case.syms, &case.inputs, &case.weights).unwrap() {
            let id = case.graph.outputs.iter().find(|(n, _)| *n == name).unwrap().1;
            prop_assert_eq!(v.dtype(), case.graph.ty(id).unwrap().dtype);
            let shape = case.graph.ty(id).unwrap().shape(&case.syms).unwrap();
            prop_assert_eq!(v.shape(), shape.as_slice());
        }
    }

    #[test]
    fn broken_text_is_an_error_and_never_a_panic(seed in any::<u64>(), edits in 1usize..6) {
        let case = random_case(seed, Options { steps: 6, ..Options::default() }).unwrap();
        let mut text: Vec<char> = case.graph.to_string().chars().collect();
        let mut rng = Rng::new(seed ^ 1);
        let bits: Vec<Vec<char>> = ["[", "]", "(", ")", "%", "99999999999999999999", "-1", "\"", " ", ":", "=?", "\\", "a0", ",",
            "\n", "18446744073709551615", "}", "é", "nan", "[64 0]", "map", "%0"]
            .iter().map(|s| s.chars().collect()).collect();
        for _ in 0..edits {
            let (a, b) = (rng.below(text.len()), rng.below(4));
            let end = (a + b).min(text.len());
            let insert = if rng.chance(2, 3) { bits[rng.below(bits.len())].clone() } else { vec![] };
            text.splice(a..end, insert);
        }
        let text: String = text.into_iter().collect();
        if let Ok(g) = Graph::parse(&text) {
            // What parses, prints and can be looked at without a panic.
            let _ = (g.verify(), g.to_string(), passes::run(&g, None));
        }
    }
}

/// A node checked against index-by-index definitions over the values of its operands.
struct Definition<'a> {
    graph: &'a Graph,
    all: &'a BTreeMap<NodeId, Value<f64>>,
    syms: &'a [u64],
    absent: Absent,
}

type At<'a> = &'a [usize];

fn float(v: &Value<f64>, at: At) -> f64 {
    v.floats().unwrap()[at]
}

/// The same element, NaN included, of any type.
fn same(a: &Value<f64>, i: At, b: &Value<f64>, j: At) -> bool {
    match (a, b) {
        (Value::F(a), Value::F(b)) => equal(a[i], b[j]),
        (Value::I(a), Value::I(b)) => a[i] == b[j],
        (Value::B(a), Value::B(b)) => a[i] == b[j],
        _ => false,
    }
}

fn equal(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// All positions of a shape, row-major.
fn positions(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![vec![]], |list, n| {
        list.into_iter().flat_map(|p| (0..*n).map(move |i| [p.clone(), vec![i]].concat())).collect()
    })
}

/// The places of the scope that holds `p`, row-major.
fn scope(dims: &[u32], shape: &[usize], p: At) -> Vec<Vec<usize>> {
    let inside = |q: &Vec<usize>| (0..p.len()).all(|d| dims.contains(&(d as u32)) || q[d] == p[d]);
    positions(shape).into_iter().filter(inside).collect()
}

/// Higher score, then lower place.
fn goes_first(score: &Value<f64>, a: At, b: At) -> bool {
    let (x, y) = (float(score, a), float(score, b));
    x > y || (x == y && a < b)
}

impl Definition<'_> {
    fn is_weight(&self, id: NodeId) -> bool {
        let inputs = self.graph.inputs(id);
        match &self.graph.node(id).unwrap().op {
            Op::Weight { .. } => true,
            Op::Map { expr: ScalarExpr::Arg(n), at } => {
                let (n, rank) = (usize::from(*n), self.graph.ty(id).unwrap().rank());
                at[n].len() == rank && self.is_weight(inputs[n])
            }
            Op::Split { .. } | Op::Merge { .. } | Op::Transpose { .. } => self.is_weight(inputs[0]),
            _ => false,
        }
    }

    fn node(&self, id: NodeId) -> bool {
        let node = self.graph.node(id).unwrap();
        let y = &self.all[&id];
        let ids = self.graph.inputs(id);
        let x: Vec<&Value<f64>> = ids.iter().map(|i| &self.all[i]).collect();
        let every = |f: &dyn Fn(At) -> bool| positions(y.shape()).iter().all(|p| f(p));
        match &node.op {
            Op::Input { .. } | Op::Weight { .. } | Op::Const { .. } => true,
            Op::Iota { .. } => matches!(y, Value::I(v) if v.iter().enumerate().all(|(i, v)| i as i32 == *v)),
            // The expression is tested on its own; here the places: a map of one element must give the same.
            Op::Map { expr, at } => every(&|p| {
                let pick = |v: &Value<f64>, at: &[u32]| {
                    let i: Vec<usize> = at.iter().map(|d| p[*d as usize]).collect();
                    match v {
                        Value::F(a) => Value::F(ndarray::arr0(a[&i[..]]).into_dyn()),
                        Value::I(a) => Value::I(ndarray::arr0(a[&i[..]]).into_dyn()),
                        Value::B(a) => Value::B(ndarray::arr0(a[&i[..]]).into_dyn()),
                    }
                };
                let mut g = Graph::new("one");
                let mut inputs = BTreeMap::new();
                let mut args = vec![];
                for (n, (v, at)) in x.iter().zip(at).enumerate() {
                    let v = pick(v, at);
                    let ty = spc_ir::Type::scalar(v.dtype());
                    args.push(g.add(Op::Input { name: n.to_string(), ty }, &[]).unwrap());
                    inputs.insert(n.to_string(), v);
                }
                let op = Op::Map { expr: expr.clone(), at: vec![vec![]; at.len()] };
                let result = g.add(op, &args).unwrap();
                g.outputs.push(("y".into(), result));
                let one = run(&g, &[], &inputs, &BTreeMap::<String, Vec<f32>>::new()).unwrap();
                same(y, p, &one[0].1, &[])
            }),
            Op::Broadcast { at, .. } => every(&|p| {
                let i: Vec<usize> = at.iter().map(|d| p[*d as usize]).collect();
                same(y, p, x[0], &i)
            }),
            Op::Transpose { perm } => every(&|p| {
                let mut i = vec![0; p.len()];
                perm.iter().zip(p).for_each(|(d, v)| i[*d as usize] = *v);
                same(y, p, x[0], &i)
            }),
            Op::Split { .. } | Op::Merge { .. } => {
                let (a, b) = (positions(x[0].shape()), positions(y.shape()));
                a.len() == b.len() && a.iter().zip(&b).all(|(i, j)| same(x[0], i, y, j))
            }
            Op::Gather { dim } => every(&|p| {
                let (d, n) = (*dim as usize, x[1].shape().len());
                let Value::I(ids) = x[1] else { return false };
                let row = ids[&p[d..d + n]] as usize;
                same(y, p, x[0], &[&p[..d], &[row], &p[d + n..]].concat())
            }),
            Op::Reduce { f, dims } => every(&|p| {
                let shape = x[0].shape();
                let inside = |q: At| {
                    let kept = q.iter().enumerate().filter(|(d, _)| !dims.contains(&(*d as u32)));
                    kept.map(|(_, v)| *v).eq(p.iter().copied())
                };
                if let Value::B(b) = x[0] {
                    let v: Vec<bool> = positions(shape).iter().filter(|q| inside(q)).map(|q| b[&q[..]]).collect();
                    let any = *f == spc_ir::ReduceFn::Any;
                    let Value::B(y) = y else { return false };
                    return y[p] == if any { v.contains(&true) } else { !v.contains(&false) };
                }
                let v: Vec<f64> = positions(shape).iter().filter(|q| inside(q)).map(|q| float(x[0], q)).collect();
                if let Value::I(y) = y {
                    let best = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    return v.iter().position(|v| *v == best) == Some(y[p] as usize);
                }
                let sum = v.iter().fold(0.0, |s, v| s + v);
                let nan = v.iter().any(|v| v.is_nan());
                let want = match f {
                    spc_ir::ReduceFn::Sum => sum,
                    spc_ir::ReduceFn::Mean => sum / v.len() as f64,
                    spc_ir::ReduceFn::Product => v.iter().fold(1.0, |s, v| s * v),
                    _ if nan => f64::NAN,
                    spc_ir::ReduceFn::Max => v.into_iter().fold(f64::NEG_INFINITY, f64::max),
                    _ => v.into_iter().fold(f64::INFINITY, f64::min),
                };
                equal(float(y, p), want)
            }),
            Op::Contract { lhs, rhs, out } => {
                let summed: Vec<u32> = lhs.iter().copied().filter(|l| !out.contains(l)).collect();
                let sizes: Vec<usize> =
                    summed.iter().map(|l| x[0].shape()[lhs.iter().position(|m| m == l).unwrap()]).collect();
                let left = self.is_weight(ids[0]);
                let right = !left && self.is_weight(ids[1]);
                every(&|p| {
                    let mut sum = 0.0;
                    for s in positions(&sizes) {
                        let at = |labels: &[u32]| -> Vec<usize> {
                            let find = |l: &u32| match out.iter().position(|m| m == l) {
                                Some(i) => p[i],
                                None => s[summed.iter().position(|m| m == l).unwrap()],
                            };
                            labels.iter().map(find).collect()
                        };
                        let (a, b) = (float(x[0], &at(lhs)), float(x[1], &at(rhs)));
                        let skip = (left && a == 0.0) || (right && b == 0.0);
                        sum += if skip && self.absent == Absent::Skip { 0.0 } else { a * b };
                    }
                    equal(float(y, p), sum)
                })
            }
            Op::Linear { bias, act: None } => every(&|p| {
                let (o, outer) = p.split_last().unwrap();
                let mut sum = 0.0;
                let inner = x[1].shape()[1..].iter().product::<usize>();
                for k in 0..inner {
                    // A weight of a higher rank is the matrix of its first dimension and all others.
                    let w = *x[1].floats().unwrap().iter().nth(o * inner + k).unwrap();
                    let v = float(x[0], &[outer, &[k]].concat());
                    sum += if w == 0.0 && self.absent == Absent::Skip { 0.0 } else { w * v };
                }
                equal(float(y, p), if *bias { sum + float(x[2], &[*o]) } else { sum })
            }),
            Op::Linear { .. } => true,
            Op::Concat { dim, .. } => every(&|p| {
                let (mut q, d) = (p.to_vec(), *dim as usize);
                for part in &x {
                    if q[d] < part.shape()[d] {
                        return same(y, p, part, &q);
                    }
                    q[d] -= part.shape()[d];
                }
                false
            }),
            Op::Window { dim, into, coeff, offset } => every(&|p| {
                let d = *dim as usize;
                let at: i64 = offset + p[d..d + into.len()].iter().zip(coeff).map(|(i, c)| *i as i64 * c).sum::<i64>();
                if at < 0 || at >= x[0].shape()[d] as i64 {
                    return match y {
                        Value::F(v) => v[p] == 0.0,
                        Value::I(v) => v[p] == 0,
                        Value::B(v) => !v[p],
                    };
                }
                same(y, p, x[0], &[&p[..d], &[at as usize], &p[d + into.len()..]].concat())
            }),
            Op::Size { dim } => matches!(y, Value::I(v) if v[[]] as u64 == dim.size.bind(self.syms).unwrap()),
            // Checked by its own test in `quantize.rs`: the value does not grow, and is within half a step.
            Op::Round { last } => every(&|p| {
                let (xs, y) = (x[0].floats().unwrap(), y.floats().unwrap());
                let split = p.len() - *last as usize;
                let row = xs.indexed_iter().filter(|(q, _)| (0..split).all(|d| q[d] == p[d]));
                let most = row.map(|(_, v)| v.abs()).fold(0.0f64, f64::max);
                (y[p] - xs[p]).abs() <= most / 127.0 * 0.5001
            }),
            Op::Rank { dims, .. } => every(&|p| {
                let before = scope(dims, x[0].shape(), p).into_iter().filter(|q| goes_first(x[0], q, p)).count();
                matches!(y, Value::I(v) if v[p] as usize == before)
            }),
            Op::Top(t) => every(&|p| {
                let Value::B(kept) = y else { return false };
                let is_there = |q: At| x.get(1).is_none_or(|a| matches!(a, Value::B(a) if a[q]));
                let list: Vec<Vec<usize>> =
                    scope(&t.dims, x[0].shape(), p).into_iter().filter(|q| is_there(q)).collect();
                let n = list.len();
                let always = |q: At| {
                    let i = list.iter().position(|o| o == q).unwrap();
                    (i as u64) < t.first || ((n - 1 - i) as u64) < t.last
                };
                let above = match t.amount {
                    spc_ir::Amount::Above(a) => list.iter().filter(|q| float(x[0], q) > a).count(),
                    _ => 0,
                };
                let amount = t.kept(n as u64, above as u64) as usize;
                // Counted, and nothing that is left out goes before anything that is chosen.
                let on: Vec<_> = list.iter().filter(|q| kept[&q[..]]).collect();
                let off: Vec<_> = list.iter().filter(|q| !kept[&q[..]]).collect();
                let ordered = on.iter().filter(|q| !always(q)).all(|a| off.iter().all(|b| goes_first(x[0], a, b)));
                on.len() == amount && off.iter().all(|q| !always(q)) && ordered && (is_there(p) || !kept[p])
            }),
        }
    }
}
