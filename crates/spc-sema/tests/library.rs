//! The standard library: every function and mask of it checks by itself, and what it computes agrees with independent values.
//! The values come from `reference.py`, which needs numpy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use ndarray::ArrayD;
use spc_base::{FileId, Limits};
use spc_interp::{Value, bind_syms};
use spc_sema::{Library, check, check_library};
use std::collections::BTreeMap;

#[test]
fn every_function_of_the_library_checks_by_itself() {
    let (lib, limits) = (Library::load(), Limits::default());
    for (file, ast) in lib.sources() {
        let (_, diags) = spc_syntax::parse(&file.text, ast.file, &limits);
        assert!(diags.is_empty(), "{}: {diags:#?}", file.path);
    }
    let all = check_library(&lib, &limits);
    assert!(all.len() > 30, "{} functions", all.len());
    for (module, name, diags) in &all {
        assert!(diags.is_empty(), "{module}.{name}: {diags:#?}");
    }
}

/// The numbers that `reference.py` calls `ar`.
fn ar(n: usize, k: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * k * 7) % 11) as f64 / 4.0 - 1.25).collect()
}

/// Runs `f` of a program in the interpreter on inputs of these shapes, filled by [`ar`] with these factors.
fn run(text: &str, inputs: &[(&str, &[usize], usize)], ints: &[(&str, &[i32])]) -> Vec<Vec<f64>> {
    let limits = Limits::default();
    let (ast, diags) = spc_syntax::parse(text, FileId(0), &limits);
    assert!(diags.is_empty(), "{text}\n{diags:#?}");
    let checked = check(&ast, text, &Library::load(), &limits);
    assert!(checked.diagnostics.is_empty(), "{text}\n{:#?}", checked.diagnostics);
    let g = &checked.graphs["f"];
    let mut values: BTreeMap<String, Value<f64>> = BTreeMap::new();
    for (n, shape, k) in inputs {
        let len = shape.iter().product();
        values.insert((*n).into(), Value::F(ArrayD::from_shape_vec(*shape, ar(len, *k)).unwrap()));
    }
    for (n, v) in ints {
        values.insert((*n).into(), Value::I(ArrayD::from_shape_vec(vec![v.len()], v.to_vec()).unwrap()));
    }
    let shapes = values.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
    let syms = bind_syms(g, &shapes).unwrap();
    let weights: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    let out = spc_interp::run::<f64>(g, &syms, &values, &weights).unwrap();
    let floats = |v: Value<f64>| match v {
        Value::F(a) => a.iter().copied().collect(),
        Value::I(a) => a.iter().map(|x| f64::from(*x)).collect(),
        Value::B(a) => a.iter().map(|x| f64::from(u8::from(*x))).collect(),
    };
    out.into_iter().map(|(_, v)| floats(v)).collect()
}

#[track_caller]
fn near(have: &[f64], want: &[f64]) {
    assert_eq!(have.len(), want.len(), "{have:?}");
    for (a, b) in have.iter().zip(want) {
        assert!((a - b).abs() < 1e-6 * (1.0 + b.abs()), "{have:?}, expected {want:?}");
    }
}

const IMAGE: &str = "use std.nn\naxis B = 1..4, C = 2, O = 2, H = 4, W = 5, K = 3\n";

#[test]
fn convolutions() {
    let conv = "fn f(x: f32[B, C, H, W], w: f32[O, C, K, K], b: f32[O]) -> y: f32[B, O, P, Q] where P = (H + 2 - K) / 2 + 1, \
                Q = (W + 2 - K) / 2 + 1 { y = nn.conv2d(x, w, b, stride: 2, pad: 1) }";
    let x = ("x", [1, 2, 4, 5].as_slice(), 1);
    let out = run(&format!("{IMAGE}{conv}"), &[x, ("w", &[2, 2, 3, 3], 3), ("b", &[2], 1)], &[]);
    near(&out[0], &[-1.1875, -1.5625, 0.25, -3.4375, -4.8125, -0.5, 4.125, 3.0, -2.625, -0.75, -0.125, 1.25]);

    let deep = "fn f(x: f32[B, C, H, W], w: f32[C, K, K], b: f32[C]) -> y: f32[B, C, P, Q] where P = H - K + 1, Q = W - K + 1 \
                { y = nn.conv2d_depthwise(x, w, b) }";
    let out = run(&format!("{IMAGE}{deep}"), &[x, ("w", &[2, 3, 3], 5), ("b", &[2], 1)], &[]);
    near(&out[0], &[1.5, -1.8125, -1.6875, -1.3125, -2.5625, -0.375, 1.4375, 0.25, -0.9375, 3.75, -0.1875, 0.0]);
}

#[test]
fn pooling_and_batch_normalisation() {
    let x = ("x", [1, 2, 4, 5].as_slice(), 1);
    let f = |name: &str| {
        let text = format!(
            "{IMAGE}fn f(x: f32[B, C, H, W]) -> y: f32[B, C, P, Q] where P = (H - 2) / 2 + 1, Q = (W - 2) / 2 + 1 \
             {{ y = nn.{name}(x) }}"
        );
        run(&text, &[x], &[]).remove(0)
    };
    near(&f("max_pool2d"), &[1.0, 1.25, 0.25, 1.0, 1.25, 1.0, 1.25, 0.25]);
    near(&f("avg_pool2d"), &[-0.125, -0.0625, -0.5, 0.25, 0.5, -0.125, 0.125, -0.5]);
    let text = format!(
        "{IMAGE}fn f(x: f32[B, C, H, W], m: f32[C]) -> y: f32[B, C, H, W] {{ y = nn.batchnorm(x, m, 0.5, scale: 2, shift: 1) }}"
    );
    let y = &run(&text, &[x, ("m", &[2], 1)], &[])[0];
    near(&y[..5], &[1.0, 5.94969797, 3.12129913, 8.0709971, 5.24259826]);
    near(&y[20..23], &[1.70709971, -1.12129913, -3.94969797]);
}

#[test]
fn attention_with_masks_and_its_log_sum_exp() {
    let head = "use std.nn\naxis T = 1..9, S = 1..9, C = 2\nfn f(q: f32[T, C], k: f32[S, C], v: f32[S, C])";
    let inputs = [("q", [3, 2].as_slice(), 1), ("k", &[4, 2], 3), ("v", &[4, 2], 5)];
    let o = [-1.25, -0.75, -1.02511755, -0.525117549, 0.000309468038, 0.500309468];
    let lse = [1.54679608, 1.80153667, 0.775502642];
    let out = run(
        &format!("{head} -> (o: f32[T, C], lse: f32[T]) {{ (o, lse) = nn.attend(q, k, v, allow: nn.causal) }}"),
        &inputs,
        &[],
    );
    near(&out[0], &o);
    near(&out[1], &lse);
    // The same through a lambda, and merged from two halves of the keys.
    let halves = "a = nn.attend(q, k, v, allow: (t, s) => nn.causal(t, s) && s < 2)
      b = nn.attend(q, k, v, allow: (t, s) => s <= t && s >= 2)
      (o, lse) = nn.merge_lse(a.o, a.lse, b.o, b.lse)";
    let out = run(&format!("{head} -> (o: f32[T, C], lse: f32[T]) {{ {halves} }}"), &inputs, &[]);
    near(&out[0], &o);
    near(&out[1], &lse);
}

#[test]
fn rotary_positions_and_grouped_queries() {
    let text = "use std.nn\naxis T = 1..9, C = 4\nfn f(x: f32[T, C]) -> y: f32[T, C] { y = nn.rotate(x, base: 100, start: 2) }";
    let want = [
        0.974832259,
        0.241696625,
        -0.928548365,
        1.32441789,
        -0.388618132,
        -0.716502367,
        -0.954712495,
        -0.221640155,
        0.464442997,
        1.17756867,
        0.920213401,
        -0.859262486,
    ];
    near(&run(text, &[("x", &[3, 4], 1)], &[])[0], &want);
    let text = "use std.nn
axis B = 1..4, T = 1..9, D = 4, KV = 2, G = 2, C = 2
fn f(x: f32[B, T, D], wq: f32[(KV G C), D], wk: f32[(KV C), D], wv: f32[(KV C), D], wo: f32[D, (KV G C)])
  -> y: f32[B, T, D] {
  q[b, kv, g, t, c] = wq[(kv g c), d] * x[b, t, d]
  k[b, kv, t, c]    = wk[(kv c), d] * x[b, t, d]
  v[b, kv, t, c]    = wv[(kv c), d] * x[b, t, d]
  o                 = nn.attend(nn.rotate(q), nn.rotate(k), v, allow: nn.causal).o
  y[b, t, d]        = wo[d, (kv g c)] * o[b, kv, g, t, c]
}";
    let want = [
        0.6875,
        -1.578125,
        4.40625,
        0.9375,
        0.590811785,
        0.974461924,
        1.75342579,
        0.220959347,
        -1.5261237,
        -0.485355299,
        -2.78432273,
        -1.65855571,
    ];
    let inputs = [
        ("x", [1, 3, 4].as_slice(), 1),
        ("wq", &[8, 4], 1),
        ("wk", &[4, 4], 3),
        ("wv", &[4, 4], 5),
        ("wo", &[4, 8], 2),
    ];
    near(&run(text, &inputs, &[])[0], &want);
}

#[test]
fn gated_layers_and_losses() {
    let text = "use std.nn\naxis B = 1..4, K = 4\nfn f(x: f32[B, K], label: i32[B]) -> y: f32 { y = nn.cross_entropy(x, label) }";
    near(&run(text, &[("x", &[3, 4], 1)], &[("label", &[1, 0, 3])])[0], &[1.75474253]);
    let text = "use std.nn\naxis B = 1..4, K = 4\nfn f(x: f32[B, K], z: f32[B, K]) -> y: f32 { y = nn.mse(x, z) }";
    let (a, b) = (ar(8, 1), ar(8, 3));
    let want = a.iter().zip(&b).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / 8.0;
    near(&run(text, &[("x", &[2, 4], 1), ("z", &[2, 4], 3)], &[])[0], &[want]);
}

/// Image models have no CPU kernels yet, so they are checked and run here.
#[test]
fn image_models_check_on_whole_programs() {
    let text = "use std.{models, nn}
axis B = 1..4
model net {
  axes { H = 12, W = 12, K = 5, M = 2, N = 3, P = 1, Q = 1, F = 4, E = 3, O = 2, S = 3 }
  c1: f32[M, 1, K, K] = kaiming()  c2: f32[N, M, K, K] = kaiming()
  w1: f32[F, (N P Q)] = kaiming()  w2: f32[E, F] = kaiming()  w3: f32[O, E] = kaiming()
  a: f32[M, 1, S, S] = kaiming()  b: f32[1, M, S, S] = kaiming()
}
fn f(x: f32[B, 1, H, W]) -> y: f32[B, O] { y = models.lenet(models.basic_block(x, net), net) }";
    let text = text.replace("use std.{models, nn}", "use std.models");
    let limits = Limits::default();
    let (ast, diags) = spc_syntax::parse(&text, FileId(0), &limits);
    assert!(diags.is_empty(), "{diags:#?}");
    let checked = check(&ast, &text, &Library::load(), &limits);
    assert!(checked.diagnostics.is_empty(), "{:#?}", checked.diagnostics);
    let fans: Vec<_> = checked.module.models[0].tensors.iter().filter_map(|t| t.init).collect();
    let want = [25, 50, 3, 4, 3, 9, 18].map(|fan_in| spc_sema::Init::Kaiming { fan_in });
    assert_eq!(fans, want, "the inputs of a weight are the axes that its product sums over");
}
