//! What programs compute, by the words of `docs/language.md`: small programs against numbers worked out by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use ndarray::ArrayD;
use spc_base::{FileId, Limits};
use spc_interp::{Value, bind_syms, run};
use spc_ir::passes;
use spc_sema::{Library, check};
use std::collections::BTreeMap;

type Inputs = BTreeMap<String, Value<f64>>;

fn floats(shape: &[usize], v: &[f64]) -> Value<f64> {
    Value::F(ArrayD::from_shape_vec(shape, v.to_vec()).unwrap())
}

fn ints(shape: &[usize], v: &[i32]) -> Value<f64> {
    Value::I(ArrayD::from_shape_vec(shape, v.to_vec()).unwrap())
}

fn bools(shape: &[usize], v: &[i32]) -> Value<f64> {
    Value::B(ArrayD::from_shape_vec(shape, v.iter().map(|x| *x != 0).collect()).unwrap())
}

/// All elements as numbers, in order, from the graph as elaborated and from the optimised one.
fn results(text: &str, inputs: &[(&str, Value<f64>)], weights: &[(&str, &[f32])]) -> Vec<Vec<f64>> {
    let limits = Limits::default();
    let (ast, diags) = spc_syntax::parse(text, FileId(0), &limits);
    assert!(diags.is_empty(), "{text}\n{diags:#?}");
    let checked = check(&ast, text, &Library::load(), &limits);
    assert!(checked.diagnostics.is_empty(), "{text}\n{:#?}", checked.diagnostics);
    let g = &checked.graphs["f"];
    let inputs: Inputs = inputs.iter().map(|(n, v)| ((*n).to_string(), v.clone())).collect();
    let weights: BTreeMap<String, Vec<f32>> = weights.iter().map(|(n, v)| ((*n).to_string(), v.to_vec())).collect();
    let value = |g: &spc_ir::Graph| -> Vec<Vec<f64>> {
        let shapes = inputs.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
        let syms = bind_syms(g, &shapes).unwrap();
        run::<f64>(g, &syms, &inputs, &weights)
            .unwrap()
            .into_iter()
            .map(|(_, v)| match v {
                Value::F(a) => a.iter().copied().collect(),
                Value::I(a) => a.iter().map(|x| f64::from(*x)).collect(),
                Value::B(a) => a.iter().map(|x| f64::from(u8::from(*x))).collect(),
            })
            .collect()
    };
    let plain = value(g);
    let (optimised, _) = passes::run(g, None).unwrap();
    let after = value(&optimised);
    for (a, b) in plain.iter().flatten().zip(after.iter().flatten()) {
        assert!(a == b || (a - b).abs() < 1e-9 || (a.is_nan() && b.is_nan()), "the passes changed a value\n{text}");
    }
    plain
}

#[track_caller]
fn gives(text: &str, inputs: &[(&str, Value<f64>)], want: &[&[f64]]) {
    gives_with(text, inputs, &[], want);
}

#[track_caller]
fn gives_with(text: &str, inputs: &[(&str, Value<f64>)], weights: &[(&str, &[f32])], want: &[&[f64]]) {
    let have = results(text, inputs, weights);
    assert_eq!(have.len(), want.len(), "{text}");
    for (h, w) in have.iter().zip(want) {
        assert_eq!(h.len(), w.len(), "{text}: {h:?}, expected {w:?}");
        for (a, b) in h.iter().zip(*w) {
            assert!(a == b || (a - b).abs() < 1e-6 || (a.is_nan() && b.is_nan()), "{text}: {h:?}, expected {w:?}");
        }
    }
}

const AXES: &str = "axis B = 1..9, K = 3, J = 2\n";

fn x() -> (&'static str, Value<f64>) {
    ("x", floats(&[2, 3], &[1., 2., 3., 4., 5., 6.]))
}

#[test]
fn an_index_twice_in_a_product_is_summed_over_that_product_only() {
    let f = |body: &str| format!("{AXES}fn f(x: f32[B, K], z: f32[K]) -> y: f32[B] {{ {body} }}");
    let z = ("z", floats(&[3], &[1., 10., 100.]));
    let inputs = [x(), z];
    gives(&f("y[b] = x[b, k] * z[k] + 1"), &inputs, &[&[322., 655.]]);
    gives(&f("y[b] = 2 * x[b, k] * z[k]"), &inputs, &[&[642., 1308.]]);
    gives(&f("y[b] = x[b, k] * z[k] * z[k]"), &inputs, &[&[30201., 60504.]]);
    gives(&f("y[b] = (x[b, k] * z[k])^2"), &inputs, &[&[321. * 321., 654. * 654.]]);
    gives(&f("y[b] = x[b, k] * z[k] / 2 - x[b, 0]"), &inputs, &[&[159.5, 323.]]);
    gives(&f("y[b] = -x[b, k] * z[k]"), &inputs, &[&[-321., -654.]]);
    gives(&f("y[b] = sum(x[b, k] over k) * sum(z[k] over k)"), &inputs, &[&[666., 1665.]]);
    gives(&f("y[b] = sum(x[b, k] * z[k] over k)"), &inputs, &[&[321., 654.]]);
    gives(&f("y[b] = sum((x[b, k] - z[k]) * z[k] over k)"), &inputs, &[&[321. - 10101., 654. - 10101.]]);
}

#[test]
fn a_reduction_hides_an_outer_index_of_its_name() {
    let text = format!("{AXES}fn f(x: f32[B, K]) -> y: f32[B, K] {{ y[b, k] = x[b, k] / sum(x[b, k] over k) }}");
    gives(&text, &[x()], &[&[1. / 6., 2. / 6., 3. / 6., 4. / 15., 5. / 15., 6. / 15.]]);
    let text = format!("{AXES}fn f(x: f32[B, K]) -> y: f32[B, K] {{ y[b, k] = x[b, k] - max(x[b, k] over b) }}");
    gives(&text, &[x()], &[&[-3., -3., -3., 0., 0., 0.]]);
    // The hidden index may even run over another axis.
    let text =
        format!("{AXES}fn f(x: f32[B, K], v: f32[J]) -> y: f32[B, K] {{ y[b, k] = x[b, k] + sum(v[k] over k) }}");
    gives(&text, &[x(), ("v", floats(&[2], &[10., 20.]))], &[&[31., 32., 33., 34., 35., 36.]]);
}

#[test]
fn reductions_over_several_axes() {
    let f = |body: &str| format!("{AXES}fn f(x: f32[B, K], w: f32[J]) -> y: f32[J] {{ {body} }}");
    let inputs = [x(), ("w", floats(&[2], &[1., 2.]))];
    gives(&f("y[j] = w[j] * mean(x[b, k] over b, k)"), &inputs, &[&[3.5, 7.]]);
    gives(&f("y[j] = w[j] * mean(x[b, k] over k, b)"), &inputs, &[&[3.5, 7.]]);
    gives(&f("y = w * mean(x over B, K)"), &inputs, &[&[3.5, 7.]]);
    gives(&f("y = w * mean(mean(x over B) over K)"), &inputs, &[&[3.5, 7.]]);
    gives(&f("y = w + min(x over B, K) + max(x over K, B)"), &inputs, &[&[8., 9.]]);
}

#[test]
fn whole_tensors_match_axes_by_name() {
    let text = format!("{AXES}fn f(x: f32[B, K], t: f32[K, B]) -> y: f32[B, K] {{ y = x - t }}");
    let t = ("t", floats(&[3, 2], &[1., 2., 3., 4., 5., 6.]));
    gives(&text, &[x(), t.clone()], &[&[0., -1., -2., 2., 1., 0.]]);
    // The result is declared in another order than its value has, or lacks no axis.
    let text = format!("{AXES}fn f(x: f32[B, K], v: f32[K, J]) -> y: f32[J, K, B] {{ y = x * v }}");
    let v = ("v", floats(&[3, 2], &[1., -1., 1., -1., 1., -1.]));
    gives(&text, &[x(), v], &[&[1., 4., 2., 5., 3., 6., -1., -4., -2., -5., -3., -6.]]);
    // Two axes of the same size are two axes.
    let text = "axis P = 2, Q = 2\nfn f(x: f32[P], z: f32[Q]) -> y: f32[Q, P] { y[q, p] = x[p] - z[q] }";
    gives(text, &[("x", floats(&[2], &[1., 2.])), ("z", floats(&[2], &[10., 20.]))], &[&[-9., -8., -19., -18.]]);
}

#[test]
fn defaults_records_and_results_of_functions() {
    let lib = "\
fn two(v, s = 3) -> (a, b) { a = v + s  b = v * s }
fn mix(x: float[.., I], p: { w: float[I], s: float[I] = 10 }) -> y: float[.., I] { y[.., i] = x[.., i] * p.w[i] + p.s[i] }
model net { w: f32[K]  u: f32[K] }
model other { axes { L = 2 } part[l: L] { w: f32[K]  s: f32[K] } }
";
    let f = |body: &str| format!("{AXES}{lib}fn f(x: f32[B, K]) -> y: f32[B, K] {{ {body} }}");
    let weights: &[(&str, &[f32])] = &[
        ("net.w", &[1., 0., 2.]),
        ("net.u", &[9., 9., 9.]),
        ("other.part.0.w", &[1., 1., 1.]),
        ("other.part.0.s", &[0., 1., 0.]),
        ("other.part.1.w", &[2., 2., 2.]),
        ("other.part.1.s", &[0., 0., 1.]),
    ];
    let go = |body: &str, want: &[f64]| gives_with(&f(body), &[x()], weights, &[want]);
    go("(a, b) = two(x)  y = a - b", &[1., -1., -3., -5., -7., -9.]);
    go("(_, b) = two(x, 2)  y = b", &[2., 4., 6., 8., 10., 12.]);
    go("(a, b) = two(s: x, v: 2)  y = a + b", &[5., 8., 11., 14., 17., 20.]);
    go("y = mix(x, net)", &[11., 10., 16., 14., 10., 22.]);
    go("y = mix(x, other.part[1])", &[2., 4., 7., 8., 10., 13.]);
    // Carried: ((x + s0) * 2 + s1); `l` is free again after the loop.
    go("h = x  for l in L { h = mix(h, other.part[l]) }  y = h", &[2., 6., 7., 8., 12., 13.]);
    go("h = x  for l in L { h = h * 10 + l }  y = h", &[101., 201., 301., 401., 501., 601.]);
    go("h = x  for l in L { for k in J { h = h + other.part[k].s } }  y = h", &[1., 4., 5., 4., 7., 8.]);
}

#[test]
fn choices_and_types() {
    let f =
        |body: &str| format!("{AXES}fn f(x: f32[B, K], n: i32[B, K], m: bool[B, K]) -> y: f32[B, K] {{ y = {body} }}");
    let inputs = [x(), ("n", ints(&[2, 3], &[-7, -1, 0, 1, 7, 2])), ("m", bools(&[2, 3], &[1, 0, 1, 0, 1, 0]))];
    let go = |body: &str, want: &[f64]| gives(&f(body), &inputs, &[want]);
    go("if x > 4 { 1 } else if x > 2 { if m { 2 } else { 3 } } else { 4 }", &[4., 4., 2., 3., 1., 1.]);
    go("m * x", &[1., 0., 3., 0., 5., 0.]);
    go("x * m * 2", &[2., 0., 6., 0., 10., 0.]);
    go("x * (m * m)", &[1., 0., 3., 0., 5., 0.]);
    go("m * float(n)", &[-7., 0., 0., 0., 7., 0.]);
    go("float(m) + x", &[2., 2., 4., 4., 6., 6.]);
    go("float(n / 2)", &[-3., 0., 0., 0., 3., 1.]);
    go("float(int(x / 2) * n)", &[0., -1., 0., 2., 14., 6.]);
    go("if !m || x > 5 && n == 2 { x } else { -x }", &[-1., 2., -3., 4., -5., 6.]);
    go("x * (1 < 2)", &[1., 2., 3., 4., 5., 6.]);
    go("x * (true && 2 < 1)", &[0., 0., 0., 0., 0., 0.]);
    go("if m == true { x } else { 0 }", &[1., 0., 3., 0., 5., 0.]);
    go("float(if m { true } else { false })", &[1., 0., 1., 0., 1., 0.]);
    go("-x^2", &[-1., -4., -9., -16., -25., -36.]);
    go("2^x", &[2., 4., 8., 16., 32., 64.]);
    go("x - 1 - 1", &[-1., 0., 1., 2., 3., 4.]);
    go("12 / x / 2", &[6., 3., 2., 1.5, 1.2, 1.]);
    // A product with NaN that a bool leaves out is 0.
    go("m * log(-x) + x * 0", &[f64::NAN, 0., f64::NAN, 0., f64::NAN, 0.]);
}

#[test]
fn literals_are_computed_like_tensors() {
    let text = format!("{AXES}fn f(x: f32[B, K]) -> y: f32[B, K] {{ y = x + erf(1) }}");
    let e = 0.842_700_792_949_714_9;
    gives(&text, &[x()], &[&[1. + e, 2. + e, 3. + e, 4. + e, 5. + e, 6. + e]]);
    let text = format!("{AXES}fn f(x: f32[B, K]) -> y: f32[B, K] {{ y = x * (exp(0) + size(K)) }}");
    gives(&text, &[x()], &[&[4., 8., 12., 16., 20., 24.]]);
}

#[test]
fn a_pointwise_function_inside_index_notation_sums_nothing_itself() {
    let lib = "fn sq(a) = a * a\nfn dist(a, b) = (a - b) * (a - b)\n";
    let f = |body: &str| format!("{AXES}{lib}fn f(x: f32[B, K], z: f32[J, K]) -> y: f32[B, J] {{ {body} }}");
    let inputs = [x(), ("z", floats(&[2, 3], &[0., 0., 0., 1., 1., 1.]))];
    gives(&f("y[b, j] = sum(dist(x[b, k], z[j, k]) over k)"), &inputs, &[&[14., 5., 77., 50.]]);
    gives(&f("y[b, j] = sq(x[b, k] * z[j, k])"), &inputs, &[&[0., 36., 0., 225.]]);
    gives(&f("y[b, j] = sq(x[b, k]) * z[j, k]"), &inputs, &[&[0., 14., 0., 77.]]);
    gives(&f("y[b, j] = sq(x[b, 0]) + sq(z[j, 1])"), &inputs, &[&[1., 2., 16., 17.]]);
}

#[test]
fn indices_that_are_tensors_numbers_and_parts() {
    let text = format!("{AXES}fn f(t: f32[K, J], n: i32[B]) -> y: f32[J, B] {{ y[j, b] = t[n[b], j] }}");
    let t = ("t", floats(&[3, 2], &[1., 2., 3., 4., 5., 6.]));
    gives(&text, &[t.clone(), ("n", ints(&[2], &[2, 0]))], &[&[5., 1., 6., 2.]]);
    let text = format!("{AXES}fn f(t: f32[K, J], n: i32[B]) -> y: f32[B] {{ y[b] = t[n[b], 1] * t[0, 0] }}");
    gives(&text, &[t.clone(), ("n", ints(&[2], &[2, 0]))], &[&[6., 2.]]);
    let text = format!("{AXES}fn f(t: f32[K, J]) -> y: f32[K, J] {{ y[k, j] = t[k, j] * int(k) }}");
    let text = text.replace("int(k)", "float(int(k)) + float(int(j))");
    gives(&text, &[t], &[&[0., 1., 3., 5., 10., 13.]]);
    let text = "axis B = 1..9, H = 2, C = 3\nfn f(t: f32[B, (H C)]) -> y: f32[C, H, B] { y[c, h, b] = t[b, (h c)] }";
    gives(text, &[("t", floats(&[1, 6], &[0., 1., 2., 3., 4., 5.]))], &[&[0., 3., 1., 4., 2., 5.]]);
    let text = "axis B = 1..9, H = 2, C = 3\nmodel net { w: f32[(C H)] }\n\
                fn f(t: f32[B, (H C)]) -> y: f32[B] { y[b] = t[b, (h c)] * net.w[(c h)] }";
    let w: &[(&str, &[f32])] = &[("net.w", &[1., 2., 4., 8., 16., 32.])];
    gives_with(text, &[("t", floats(&[1, 6], &[1., 0., 1., 0., 1., 0.]))], w, &[&[1. + 16. + 8.]]);
}

#[test]
fn a_weight_used_both_ways() {
    let text = "axis B = 1..9, O = 2, K = 3\nmodel net { w: f32[O, K] }\n\
                fn f(x: f32[B, K]) -> y: f32[B, K] { z[b, o] = net.w[o, k] * x[b, k]  y[b, k] = net.w[o, k] * z[b, o] }";
    let w: &[(&str, &[f32])] = &[("net.w", &[1., 2., 3., 0., 1., 0.])];
    gives_with(text, &[x()], w, &[&[14., 30., 42., 32., 69., 96.]]);
}

#[test]
fn reductions_with_guards_over_sets_and_without_indices_around() {
    let f = |body: &str| format!("{AXES}fn f(x: f32[B, K], ok: bool[B, K]) -> y: f32[B] {{ {body} }}");
    let ok = ("ok", bools(&[2, 3], &[1, 0, 1, 0, 0, 0]));
    let inputs = [x(), ok];
    gives(&f("y[b] = sum(x[b, k] over k where ok[b, k])"), &inputs, &[&[4., 0.]]);
    gives(&f("y[b] = max(x[b, k] over k where ok[b, k])"), &inputs, &[&[3., f64::NEG_INFINITY]]);
    gives(&f("y[b] = mean(x[b, k] over k where ok[b, k])"), &inputs, &[&[2., f64::NAN]]);
    gives(&f("y[b] = count(ok[b, k] over k)"), &inputs, &[&[2., 0.]]);
    gives(&f("y[b] = count(k in ok[b])"), &inputs, &[&[2., 0.]]);
    gives(&f("y[b] = sum(x[b, k] over k in ok[b])"), &inputs, &[&[4., 0.]]);
    gives(&f("y[b] = product(x[b, k] over k)"), &inputs, &[&[6., 120.]]);
    gives(&f("z = sum(x[b, k]^2 over b, k)  y[b] = x[b, 0] * 0 + z"), &inputs, &[&[91., 91.]]);
    gives(&f("y = sum(x over K) * 0 + sum(x)"), &inputs, &[&[21., 21.]]);
    gives(&f("y[b] = float(argmax(x[b, k] over k))"), &inputs, &[&[2., 2.]]);
    gives(&f("y[b] = sum(softmax(x[b, k] over k) over k)"), &inputs, &[&[1., 1.]]);
    gives(
        &f("y[b] = logsumexp(if ok[b, k] { 0 * x[b, k] } else { -inf } over k)"),
        &inputs,
        &[&[2f64.ln(), f64::NEG_INFINITY]],
    );
    gives(&f("y = last(x, along: K)"), &inputs, &[&[3., 6.]]);
    gives(&f("y[b] = clip(x[b, 0], 2, 3) + sign(x[b, 1] - 5)"), &inputs, &[&[1., 3.]]);
}

#[test]
fn constants_masks_and_lists() {
    let text = format!(
        "{AXES}const LIMITS = [1, 2.5]\nconst TOP = dial(LIMITS[1] * 2)\nmask near(q, k, w: int = 1) = q - k <= w && k - q <= w\n\
         fn pick(x: float[T, S], allow: mask(T, S) = all) -> y: float[T] {{ y[t] = sum(if allow(t, s) {{ x[t, s] }} else {{ 0 }} over s) }}\n\
         fn f(x: f32[B, K], keep: bool[K]) -> (a: f32[B], b: f32[B], c: f32[B], d: f32[B, K]) {{\n\
           a = pick(x)\n  b = pick(x, allow: near)\n  c = pick(x, allow: (t, s) => near(t, s, 0) || keep[s])\n  d = min(x, TOP)\n}}"
    );
    let keep = ("keep", bools(&[3], &[0, 0, 1]));
    gives(&text, &[x(), keep], &[&[6., 15.], &[3., 15.], &[4., 11.], &[1., 2., 3., 4., 5., 5.]]);
}

#[test]
fn computed_sizes_and_shifted_indices() {
    let text = format!(
        "{AXES}fn f(x: f32[B, K]) -> (y: f32[B, P], z: f32[B, K]) where P = K + 2 {{ y[b, p] = x[b, p - 1]  z[b, k] = x[b, 2 * k - 1] }}"
    );
    gives(&text, &[x()], &[&[0., 1., 2., 3., 0., 0., 4., 5., 6., 0.], &[0., 2., 0., 0., 5., 0.]]);
    let text =
        format!("{AXES}fn f(x: f32[B, K], z: f32[B, J]) -> y: f32[B, P] where P = 5 {{ y = concat(x, z, along: K) }}");
    gives(&text, &[x(), ("z", floats(&[2, 2], &[7., 8., 9., 10.]))], &[&[1., 2., 3., 7., 8., 4., 5., 6., 9., 10.]]);
}

/// A sentence without `on` takes every weight that a product reads, wherever it stands in the product.
#[test]
fn every_factor_of_a_product_is_chosen_from() {
    let factors = ["gain[p]", "net.phi[k, p]", "x[n, p]"];
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 2, 1]] {
        let product = order.map(|i: usize| factors[i]).join(" * ");
        let text = format!(
            "axis N = 1..4\nmodel net {{ axes {{ K = 4, P = 8 }} phi: f32[K, P] }}\n\
             fn f(gain: f32[P], x: f32[N, P]) -> y: f32[N, K] {{ y[n, k] = {product} }}\n\
             require half: keep 2 of 4 of elements per tile(in: 4) by abs"
        );
        let (ast, _) = spc_syntax::parse(&text, FileId(0), &Limits::default());
        let lib = Library::load();
        let checked = check(&ast, &text, &lib, &Limits::default());
        assert!(checked.diagnostics.is_empty(), "{product}: {:?}", checked.diagnostics);
        let member = &checked.module.requires[0].keeps[0].members[0];
        assert_eq!((member.weight.as_str(), member.scope.as_slice()), ("net.phi", &[1, 4][..]), "{product}");
    }
}

/// Of two definitions of one name the first is meant everywhere, so that graphs and constraints speak of one tensor.
#[test]
fn the_first_of_two_models_is_meant() {
    let model = |inputs: &str| format!("model net {{ axes {{ I = 12, O = 8 }} w: f32[O, {inputs}] }}\n");
    for (first, second) in [("I", "2"), ("2", "I")] {
        let text = format!(
            "use std.nn\naxis B = 1..64\n{}{}fn f(x: f32[B, I]) -> y: f32[B, O] {{ y = nn.linear(x, net.w, 0) }}\n\
             require few: keep 10% of elements per tensor",
            model(first),
            model(second)
        );
        let (ast, _) = spc_syntax::parse(&text, FileId(0), &Limits::default());
        let checked = check(&ast, &text, &Library::load(), &Limits::default());
        assert!(checked.diagnostics.iter().any(|d| d.code == spc_base::codes::DUPLICATE), "{:?}", checked.diagnostics);
        assert_eq!(checked.module.models.len(), 1, "{text}");
        for g in checked.graphs.values() {
            g.verify().unwrap();
        }
    }
}
