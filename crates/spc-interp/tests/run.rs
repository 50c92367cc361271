//! Runs of small graphs, absent weights, error bounds, and every mistake a caller can make.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use ndarray::{ArrayD, arr0, arr1, arr2};
use proptest::prelude::*;
use spc_base::codes;
use spc_interp::testing::Rng;
use spc_interp::{Real, RunError, Value, Weights, bind_syms, gamma, linear_alternatives, run, run_both, sum_abs};
use spc_ir::{Graph, ScalarExpr};
use std::collections::BTreeMap;

type Inputs<R> = BTreeMap<String, Value<R>>;
type W = BTreeMap<String, Vec<f32>>;

fn weights(list: &[(&str, &[f32])]) -> W {
    list.iter().map(|(n, v)| (n.to_string(), v.to_vec())).collect()
}

fn inputs<R: Real>(list: Vec<(&str, Value<R>)>) -> Inputs<R> {
    list.into_iter().map(|(n, v)| (n.to_string(), v)).collect()
}

fn f64s(v: &Value<f64>) -> Vec<f64> {
    v.floats().unwrap().iter().copied().collect()
}

const MLP: &str = r#"
graph "mlp" {
  sym B = 1..3
  %0 = input "x" : f32[B=?B, K=3]
  %1 = weight "w" : f32[O=2, K=3]
  %2 = weight "b" : f32[O=2]
  %3 = linear bias act (max a0 0) (%0, %1, %2) : f32[B=?B, O=2]
  output "y" = %3
}
"#;

fn mlp(x: [[f64; 3]; 2], w: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let g = Graph::parse(MLP).unwrap();
    let both = run_both(
        &g,
        &[2],
        &inputs(vec![("x", Value::F(arr2(&x).into_dyn()))]),
        &weights(&[("w", w), ("b", &[1., 2.])]),
    )
    .unwrap();
    (f64s(&both.skip[0].1), f64s(&both.nan[0].1))
}

#[test]
fn a_linear_with_bias_and_activation() {
    let (skip, nan) = mlp([[1., 2., 3.], [-1., -1., -1.]], &[1., 0., 2., 0., 0.5, -0.]);
    assert_eq!(skip, [8., 3., 0., 1.5]);
    assert_eq!(nan, skip);
}

#[test]
fn absent_weights_next_to_nan_and_infinity() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let w = &[1., 0., 2., 0., 0.5, -0.];
    // Absent weights meet them: either the sum without the term or NaN.
    let (skip, other) = mlp([[1., nan, 3.], [inf, 2., -inf]], w);
    assert_eq!(skip[0], 8.0);
    assert!(skip[1].is_nan() && skip[2].is_nan());
    assert_eq!(skip[3], 3.0);
    assert!(other.iter().all(|v| v.is_nan()));
    // Present weights: as in any arithmetic, and both agree.
    let (skip, other) = mlp([[inf, 1., 1.], [-inf, 1., 1.]], &[1., 1., 1., 2., 1., 1.]);
    assert_eq!(skip, [inf, inf, 0., 0.]);
    assert_eq!(other, skip);
}

#[test]
fn only_stored_weights_have_absent_elements() {
    let text = r#"
graph "g" {
  %0 = input "x" : f32[K=2]
  %1 = weight "w" : f32[K=2, O=2]
  %2 = transpose [1 0] (%1) : f32[O=2, K=2]
  %3 = contract [0] [1 0] -> [1] (%0, %2) : f32[O=2]
  %4 = map (mul a0 1) at [0 1] (%2) : f32[O=2, K=2]
  %5 = contract [0] [1 0] -> [1] (%0, %4) : f32[O=2]
  output "seen" = %3
  output "made" = %5
}
"#;
    let g = Graph::parse(text).unwrap();
    let x = Value::F(arr1(&[f32::NAN, 3.0]).into_dyn());
    let r = run(&g, &[], &inputs(vec![("x", x)]), &weights(&[("w", &[0., 1., 2., 3.])])).unwrap();
    let seen = r[0].1.floats().unwrap();
    assert!(seen[[0]] == 6.0 && seen[[1]].is_nan());
    assert!(r[1].1.floats().unwrap().iter().all(|v| v.is_nan()));
}

#[test]
fn literals_and_constants_are_single_precision() {
    let text = r#"
graph "g" {
  %0 = const f32 0.1 : f32[]
  %1 = const i32 3 : i32[]
  %2 = map (add (mul a0 0.1) (f32 a1)) at [] [] (%0, %1) : f32[]
  output "y" = %2
}
"#;
    let g = Graph::parse(text).unwrap();
    let r = run::<f64>(&g, &[], &Inputs::new(), &W::new()).unwrap();
    let tenth = f64::from(0.1f32);
    assert_eq!(f64s(&r[0].1), [tenth * tenth + 3.0]);
}

#[test]
fn inputs_in_any_memory_order() {
    let g = Graph::parse(MLP).unwrap();
    let turned = arr2(&[[1f32, -1.], [2., -1.], [3., -1.]]).reversed_axes().into_dyn();
    assert!(!turned.is_standard_layout());
    let w = weights(&[("w", &[1., 0., 2., 0., 0.5, 0.]), ("b", &[1., 2.])]);
    let r = run(&g, &[2], &inputs(vec![("x", Value::F(turned))]), &w).unwrap();
    assert_eq!(r[0].1, Value::F(arr2(&[[8f32, 3.], [0., 1.5]]).into_dyn()));
}

#[test]
fn sums_go_in_index_order() {
    let text = r#"
graph "g" {
  %0 = input "x" : f32[K=4]
  %1 = weight "w" : f32[O=1, K=4]
  %2 = linear (%0, %1) : f32[O=1]
  output "y" = %2
}
"#;
    let g = Graph::parse(text).unwrap();
    let x = Value::F(arr1(&[1e8f32, 1.0, -1e8, 1.0]).into_dyn());
    let r = run(&g, &[], &inputs(vec![("x", x)]), &weights(&[("w", &[1.0; 4])])).unwrap();
    assert_eq!(r[0].1.floats().unwrap()[[0]], ((1e8f32 + 1.0) - 1e8) + 1.0);
}

const TWO: &str = r#"
graph "two" {
  sym B = 1..3
  %0 = input "x" : f32[B=?B, K=2]
  %1 = input "ids" : i32[B=?B]
  %2 = weight "w" : f32[V=5, K=2]
  %3 = gather 0 (%2, %1) : f32[B=?B, K=2]
  %4 = map (add a0 a1) at [0 1] [0 1] (%0, %3) : f32[B=?B, K=2]
  output "y" = %4
}
"#;

fn shapes(list: &[(&str, &[usize])]) -> BTreeMap<String, Vec<usize>> {
    list.iter().map(|(n, s)| (n.to_string(), s.to_vec())).collect()
}

#[test]
fn binding_of_free_axes() {
    let g = Graph::parse(TWO).unwrap();
    let bind = |x: &[usize], ids: &[usize]| bind_syms(&g, &shapes(&[("x", x), ("ids", ids)]));
    assert_eq!(bind(&[3, 2], &[3]), Ok(vec![3]));
    assert_eq!(
        bind(&[2, 2], &[3]),
        Err(RunError::AxisConflict { axis: "B".into(), input: "ids".into(), sizes: (2, 3) })
    );
    for n in [0, 4] {
        assert_eq!(bind(&[n, 2], &[n]), Err(RunError::AxisRange { axis: "B".into(), size: n as u64, lo: 1, hi: 3 }));
    }
    assert!(matches!(bind(&[2, 3], &[2]), Err(RunError::InputShape { .. })));
    assert!(matches!(bind(&[2], &[2]), Err(RunError::InputShape { .. })));
    assert_eq!(bind_syms(&g, &shapes(&[("x", &[2, 2])])), Err(RunError::InputMissing { name: "ids".into() }));
    let more = shapes(&[("x", &[2, 2]), ("ids", &[2]), ("z", &[])]);
    assert_eq!(bind_syms(&g, &more), Err(RunError::InputUnknown { name: "z".into() }));
    let free = |hi| {
        let text = format!("graph \"g\" {{\n sym N = 4..{hi}\n %0 = iota [N=?N] : i32[N=?N]\n output \"y\" = %0\n}}");
        bind_syms(&Graph::parse(&text).unwrap(), &BTreeMap::new())
    };
    assert_eq!(free(5), Err(RunError::AxisUnbound { axis: "N".into() }));
    assert_eq!(free(4), Ok(vec![4]));
}

#[test]
fn mistakes_at_run_time_have_codes() {
    let g = Graph::parse(TWO).unwrap();
    let w = weights(&[("w", &[1.0; 10])]);
    let go = |x: Value<f32>, ids: Value<f32>, w: &dyn Weights| {
        run(&g, &[2], &inputs(vec![("x", x), ("ids", ids)]), w).map(|r| r[0].1.clone())
    };
    let x = || Value::F(ArrayD::from_elem(vec![2, 2], 1f32));
    let ids = |a: i32, b: i32| Value::I(arr1(&[a, b]).into_dyn());
    assert_eq!(go(x(), ids(0, 4), &w), Ok(Value::F(ArrayD::from_elem(vec![2, 2], 2f32))));
    for bad in [5, -1, i32::MIN, i32::MAX] {
        let e = go(x(), ids(1, bad), &w).unwrap_err();
        assert_eq!(e, RunError::IndexRange { axis: "V".into(), size: 5, id: bad, position: 1 });
        assert_eq!(e.diagnostic().unwrap().code, codes::INDEX_RANGE);
    }
    let e = go(x(), Value::F(arr1(&[0f32, 1.0]).into_dyn()), &w).unwrap_err();
    assert!(matches!(&e, RunError::InputType { name, .. } if name == "ids") && e.code() == Some(codes::INPUT));
    let e = go(x(), ids(0, 1), &W::new()).unwrap_err();
    assert_eq!((e.code(), e), (Some(codes::NO_TENSOR), RunError::WeightMissing { name: "w".into() }));
    let e = go(x(), ids(0, 1), &weights(&[("w", &[1.0; 9])])).unwrap_err();
    assert_eq!(e.code(), Some(codes::SHAPE));
    let turned: BTreeMap<String, ArrayD<f32>> = [("w".to_string(), ArrayD::zeros(vec![2, 5]))].into();
    assert!(matches!(go(x(), ids(0, 1), &turned), Err(RunError::WeightShape { .. })));
    let e = run(&g, &[], &inputs(vec![("x", x()), ("ids", ids(0, 1))]), &w).unwrap_err();
    assert!(e.code().is_none() && e.diagnostic().is_err());
    let e = run(&g, &[3], &inputs(vec![("x", x()), ("ids", ids(0, 1))]), &w).unwrap_err();
    assert!(matches!(e, RunError::AxisConflict { .. }));
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let text = "graph \"g\" {\n %0 = const f32 1 : f32[]\n %1 = broadcast [A=4294967296, B=4294967296] at [] (%0) : \
                f32[A=4294967296, B=4294967296]\n output \"y\" = %1\n}";
    let r = run::<f32>(&Graph::parse(text).unwrap(), &[], &Inputs::new(), &W::new());
    assert!(matches!(r, Err(RunError::TooLarge { .. })));
    let text = "graph \"g\" {\n %0 = iota [A=4294967296] : i32[A=4294967296]\n output \"y\" = %0\n}";
    let r = run::<f32>(&Graph::parse(text).unwrap(), &[], &Inputs::new(), &W::new());
    assert!(matches!(r, Err(RunError::TooLarge { .. })));
}

#[test]
fn gamma_is_the_bound_of_higham() {
    let u = 2f64.powi(-24);
    assert_eq!(gamma(1), u / (1.0 - u));
    assert!(gamma(1 << 24).is_infinite() && gamma(usize::MAX).is_infinite());
    assert_eq!(gamma(0), 0.0);
}

#[test]
fn ill_fitting_linears_are_bugs() {
    let x = arr0(1f32).into_dyn();
    assert!(matches!(sum_abs(&x, &[1.0], None), Err(RunError::Bug(_))));
    let x = ArrayD::<f32>::zeros(vec![2, 3]);
    assert!(matches!(sum_abs(&x, &[1.0; 4], None), Err(RunError::Bug(_))));
    assert!(matches!(linear_alternatives(&x, &[1.0; 6], Some(&[0.0]), None), Err(RunError::Bug(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// f32 lies within the derived bound of f64, whatever the sizes; both alternatives obey the rule, term by term.
    #[test]
    fn linears(seed in any::<u64>(), n in 0usize..40, o in 0usize..6, k in 1usize..70, zeros in 0usize..9) {
        let mut rng = Rng::new(seed);
        let real = |rng: &mut Rng| (rng.below(1 << 20) as f32 / 1e5 - 5.0) * if rng.chance(1, 3) { 1e3 } else { 1.0 };
        let x: Vec<f32> = (0..n * k).map(|_| real(&mut rng)).collect();
        let w: Vec<f32> = (0..o * k).map(|_| if rng.chance(zeros, 8) { -0.0 } else { real(&mut rng) }).collect();
        let b: Vec<f32> = (0..o).map(|_| real(&mut rng)).collect();
        let x32 = ArrayD::from_shape_vec(vec![n, k], x).unwrap();
        let x64 = x32.mapv(f64::from);
        let (y32, same) = linear_alternatives(&x32, &w, Some(&b), None).unwrap();
        prop_assert_eq!(&y32, &same);
        let (y64, _) = linear_alternatives(&x64, &w, Some(&b), None).unwrap();
        let bound = sum_abs(&x32, &w, Some(&b)).unwrap();
        prop_assert_eq!(bound.shape(), &[n, o][..]);
        for ((a, e), s) in y32.iter().zip(&y64).zip(&bound) {
            prop_assert!((f64::from(*a) - e).abs() <= gamma(k + 1) * s);
        }
        // Now with values that are not finite.
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let x: Vec<f64> = x64.iter().map(|v| if rng.chance(1, 2 * k) { odd[rng.below(3)] } else { *v }).collect();
        let x64 = ArrayD::from_shape_vec(vec![n, k], x.clone()).unwrap();
        let act = ScalarExpr::parse("(select (ne a0 a0) -1 (neg a0))").unwrap();
        let (skip, nan) = linear_alternatives(&x64, &w, Some(&b), Some(&act)).unwrap();
        for t in 0..n {
            for j in 0..o {
                let terms = || (0..k).map(|i| (f64::from(w[j * k + i]), x[t * k + i]));
                let sum = terms().filter(|(w, _)| *w != 0.0).fold(0.0, |s, (w, x)| s + w * x) + f64::from(b[j]);
                let act = |v: f64| if v.is_nan() { -1.0 } else { -v };
                prop_assert_eq!(skip[[t, j]], act(sum));
                let meets = terms().any(|(w, x)| w == 0.0 && !x.is_finite());
                prop_assert_eq!(nan[[t, j]], if meets { -1.0 } else { act(sum) });
            }
        }
    }
}
