//! Sizes that follow from free axes, defaults that stand for tensors, and states: programs against plain loops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use ndarray::ArrayD;
use spc_base::{FileId, Limits};
use spc_interp::{RunError, Value, bind_syms, run};
use spc_ir::{Graph, passes};
use spc_sema::{Library, check};
use std::collections::BTreeMap;

type Inputs = BTreeMap<String, Value<f64>>;

fn graph(text: &str) -> Graph {
    let limits = Limits::default();
    let (ast, diags) = spc_syntax::parse(text, FileId(0), &limits);
    assert!(diags.is_empty(), "{text}\n{diags:#?}");
    let checked = check(&ast, text, &Library::load(), &limits);
    assert!(checked.diagnostics.is_empty(), "{text}\n{:#?}", checked.diagnostics);
    let g = checked.graphs["f"].clone();
    g.verify().unwrap();
    assert_eq!(Graph::parse(&g.to_string()).unwrap(), g);
    g
}

fn floats(shape: &[usize], f: impl Fn(usize) -> f64) -> Value<f64> {
    let n = shape.iter().product();
    Value::F(ArrayD::from_shape_vec(shape, (0..n).map(f).collect()).unwrap())
}

fn call(g: &Graph, list: &[(&str, Value<f64>)]) -> Result<BTreeMap<String, Value<f64>>, RunError> {
    let inputs: Inputs = list.iter().map(|(n, v)| ((*n).to_string(), v.clone())).collect();
    let shapes = inputs.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
    let syms = bind_syms(g, &shapes)?;
    let plain = run::<f64>(g, &syms, &inputs, &BTreeMap::<String, Vec<f32>>::new())?;
    let (after, _) = passes::run(g, None).unwrap();
    let again = run::<f64>(&after, &syms, &inputs, &BTreeMap::<String, Vec<f32>>::new())?;
    for ((_, a), (_, b)) in plain.iter().zip(&again) {
        assert_eq!(numbers(a), numbers(b));
    }
    Ok(plain.into_iter().collect())
}

fn numbers(v: &Value<f64>) -> Vec<f64> {
    match v {
        Value::F(a) => a.iter().copied().collect(),
        Value::I(a) => a.iter().map(|x| f64::from(*x)).collect(),
        Value::B(a) => a.iter().map(|x| f64::from(u8::from(*x))).collect(),
    }
}

#[test]
fn windows_over_a_free_axis_are_as_many_as_fit() {
    let g = graph(
        "axis T = 1..40\n\
         fn sums(x: f32[T], width: int, step: int) -> y: f32[P] where P = (T - width) / step + 1, R = width {\n\
           y[p] = sum(x[step * p + r] over r in R)\n}\n\
         fn f(x: f32[T]) -> (y: f32[P], z: f32[P], n: f32) where P = (T - 4) / 3 + 1 {\n\
           y = sums(x, 4, 3)\n  z = sums(x, 4, 3) * 2 + y\n  n = sum(y)\n}",
    );
    for t in [4usize, 5, 6, 7, 17, 40] {
        let out = call(&g, &[("x", floats(&[t], |i| (i * i) as f64))]).unwrap();
        let want: Vec<f64> =
            (0..).map(|p| 3 * p).take_while(|s| s + 4 <= t).map(|s| (s..s + 4).map(|i| (i * i) as f64).sum()).collect();
        assert_eq!(numbers(&out["y"]), want, "{t}");
        assert_eq!(numbers(&out["z"]), want.iter().map(|x| 3.0 * x).collect::<Vec<_>>());
        assert_eq!(numbers(&out["n"]), [want.iter().sum::<f64>()]);
    }
    // Where no window fits there is none.
    for t in 1..4 {
        let out = call(&g, &[("x", floats(&[t], |_| 1.0))]).unwrap();
        assert_eq!((numbers(&out["y"]).len(), numbers(&out["n"])), (0, vec![0.0]));
    }
}

#[test]
fn convolutions_take_images_of_any_size() {
    let g = graph(
        "use std.nn\naxis B = 1..4, H = 1..32, W = 1..32\n\
         fn f(x: f32[B, 1, H, W], w: f32[2, 1, 3, 3]) -> y: f32[B, 2] {\n\
           y = nn.global_avg_pool(nn.max_pool2d(nn.conv2d(x, w, stride: 2, pad: 1)))\n}",
    );
    for (h, w) in [(9usize, 12usize), (4, 4), (31, 8)] {
        let pixel = |i: usize, j: usize| ((i * 7 + j * 3) % 11) as f64;
        let x = floats(&[1, 1, h, w], |n| pixel(n / w, n % w));
        let kernel = |n: usize| (n % 5) as f64 - 1.5;
        let out = call(&g, &[("x", x), ("w", floats(&[2, 1, 3, 3], kernel))]).unwrap();
        let (p, q) = ((h + 2 - 3) / 2 + 1, (w + 2 - 3) / 2 + 1);
        let conv = |o: usize, a: usize, b: usize| -> f64 {
            let mut sum = 0.0;
            for r in 0..3 {
                for s in 0..3 {
                    let (i, j) = (2 * a + r, 2 * b + s);
                    if i >= 1 && j >= 1 && i - 1 < h && j - 1 < w {
                        sum += kernel(o * 9 + r * 3 + s) * pixel(i - 1, j - 1);
                    }
                }
            }
            sum
        };
        for o in 0..2 {
            let mut all = Vec::new();
            for a in 0..p / 2 {
                for b in 0..q / 2 {
                    let four = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(r, s)| conv(o, 2 * a + r, 2 * b + s));
                    all.push(four.into_iter().fold(f64::NEG_INFINITY, f64::max));
                }
            }
            let want = all.iter().sum::<f64>() / all.len() as f64;
            assert!((numbers(&out["y"])[o] - want).abs() < 1e-9, "{h} {w} {o}");
        }
    }
}

#[test]
fn a_default_stands_for_a_tensor_full_of_it() {
    let text = |given: &str| {
        format!(
            "axis B = 1..4\nmodel net {{ axes {{ K = 2, R = 3 }} w: f32[K, R] }}\n\
             fn weigh(w: f32[K, R], e: f32[R] = 2, p: {{ q: f32[R] = 3 }}) -> y: f32[K] {{\n\
               a[k] = w[k, r] * e[r]\n  t[k] = w[k, r] * p.q[r] * e[r]\n\
               n = sum(e[r] over r) + mean(p.q[r] * e[r] over r)\n  y = a + 25% * t + n\n}}\n\
             fn f(x: f32[B], w: f32[K, R], e: f32[R]) -> y: f32[B, K] {{\n\
               s = weigh(w, {given}p: net)\n  y[b, k] = x[b] * s[k]\n}}"
        )
    };
    let w = |i: usize| i as f64 + 1.0;
    let inputs =
        [("x", floats(&[2], |i| i as f64 + 1.0)), ("w", floats(&[2, 3], w)), ("e", floats(&[3], |i| i as f64))];
    for (given, e) in [("", [2.0, 2.0, 2.0]), ("e: e, ", [0.0, 1.0, 2.0])] {
        let mut list = inputs.to_vec();
        let g = graph(&text(given));
        list.retain(|(n, _)| g.named_inputs().iter().any(|(m, _)| m == n));
        let out = call(&g, &list).unwrap();
        let row = |k: usize| (0..3).map(|r| w(k * 3 + r) * e[r]).sum::<f64>();
        let n = e.iter().sum::<f64>() + e.iter().map(|e| 3.0 * e).sum::<f64>() / 3.0;
        let s = |k: usize| row(k) + 0.25 * 3.0 * row(k) + n;
        assert_eq!(numbers(&out["y"]), [s(0), s(1), 2.0 * s(0), 2.0 * s(1)], "{given}");
    }
}

#[test]
fn a_state_is_chosen_in_some_calls_and_kept_in_the_others() {
    let g = graph(
        "axis B = 1..2, T = 1..9\n\
         fn f(x: f32[B, T], now: i32) -> y: f32[B, T] {\n\
           state best = select(keep 1 of slices(T) per B by x) when now == 2\n  y = gather(x, best)\n}",
    );
    let names: Vec<String> = g.outputs.iter().map(|(n, _)| n.clone()).collect();
    assert_eq!(names, ["y", "best"]);
    let now = |n: i32| Value::I(ArrayD::from_shape_vec(vec![], vec![n]).unwrap());
    let mut best = Value::B(ArrayD::from_elem(vec![1, 3], false));
    let mut seen = Vec::new();
    for (n, x) in [(1, [1.0, 2.0, 3.0]), (2, [1.0, 5.0, 3.0]), (3, [7.0, 8.0, 9.0])] {
        let out = call(&g, &[("x", floats(&[1, 3], |i| x[i])), ("now", now(n)), ("best", best.clone())]).unwrap();
        best = out["best"].clone();
        seen.push(numbers(&out["y"]));
    }
    assert_eq!(seen, [vec![0.0, 0.0, 0.0], vec![0.0, 5.0, 0.0], vec![0.0, 8.0, 0.0]]);
}

#[test]
fn a_state_that_is_assigned_carries_over() {
    let g = graph(
        "axis B = 1..2, T = 1..9, S = 0..99\n\
         fn f(x: f32[B, T]) -> mean: f32[B] {\n\
           state total: f32[B] = 0\n  state count: i32 = 0\n  state past: f32[B, S] = 0\n\
           total = total + sum(x over T)\n  count = count + 2\n  past = concat(past, x, along: S)\n\
           mean = total / float(count)\n}",
    );
    let x = floats(&[1, 2], |i| i as f64 + 1.0);
    let count = |n: i32| Value::I(ArrayD::from_shape_vec(vec![], vec![n]).unwrap());
    let out = call(
        &g,
        &[("x", x.clone()), ("total", floats(&[1], |_| 0.0)), ("count", count(0)), ("past", floats(&[1, 0], |_| 0.0))],
    )
    .unwrap();
    assert_eq!(
        (numbers(&out["mean"]), numbers(&out["total"]), numbers(&out["count"])),
        (vec![1.5], vec![3.0], vec![2.0])
    );
    let again = call(
        &g,
        &[("x", x), ("total", out["total"].clone()), ("count", out["count"].clone()), ("past", out["past"].clone())],
    )
    .unwrap();
    assert_eq!((numbers(&again["mean"]), numbers(&again["past"])), (vec![1.5], vec![1.0, 2.0, 1.0, 2.0]));
}
