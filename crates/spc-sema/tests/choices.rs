//! Choices among run-time values: what programs choose, counted and against plain loops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use ndarray::{Array, ArrayD, IxDyn};
use spc_base::{FileId, Limits};
use spc_interp::testing::Rng;
use spc_interp::{Absent, Value, bind_syms, run, run_all};
use spc_ir::{Graph, Op};
use spc_sema::{Checked, Library, check};
use std::collections::BTreeMap;

type Inputs = BTreeMap<String, Value<f64>>;
type Weights = BTreeMap<String, Vec<f32>>;

fn checked(text: &str) -> Checked {
    let limits = Limits::default();
    let (ast, diags) = spc_syntax::parse(text, FileId(0), &limits);
    assert!(diags.is_empty(), "{text}\n{diags:#?}");
    let checked = check(&ast, text, &Library::load(), &limits);
    assert!(checked.diagnostics.is_empty(), "{text}\n{:#?}", checked.diagnostics);
    for g in checked.graphs.values().chain(checked.dense.values()) {
        g.verify().unwrap();
        assert_eq!(Graph::parse(&g.to_string()).unwrap(), *g);
    }
    checked
}

/// Few different numbers, so that ties are common.
fn tensor(rng: &mut Rng, shape: &[usize]) -> ArrayD<f64> {
    Array::from_shape_fn(IxDyn(shape), |_| rng.below(9) as f64 / 4.0 - 1.0)
}

fn inputs(list: &[(&str, &ArrayD<f64>)]) -> Inputs {
    list.iter().map(|(n, a)| ((*n).to_string(), Value::F((*a).clone()))).collect()
}

fn call(g: &Graph, inputs: &Inputs, weights: &Weights) -> Vec<ArrayD<f64>> {
    let shapes = inputs.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
    let syms = bind_syms(g, &shapes).unwrap();
    let number = |v: Value<f64>| match v {
        Value::F(a) => a,
        Value::I(a) => a.mapv(f64::from),
        Value::B(a) => a.mapv(|b| f64::from(u8::from(b))),
    };
    run::<f64>(g, &syms, inputs, weights).unwrap().into_iter().map(|(_, v)| number(v)).collect()
}

/// Counts what every `top` of a graph chose; a scope keeps `most` at most. Gives the number of scopes that keep something.
fn counted(g: &Graph, inputs: &Inputs, weights: &Weights, most: impl Fn(usize) -> usize) -> usize {
    let shapes = inputs.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
    let syms = bind_syms(g, &shapes).unwrap();
    let all = run_all(g, &syms, inputs, weights, Absent::Skip).unwrap();
    let mut scopes = 0;
    for id in g.ids() {
        let Op::Top(t) = &g.node(id).unwrap().op else { continue };
        let Value::B(kept) = &all[&id] else { panic!() };
        let mut by: BTreeMap<Vec<usize>, (usize, usize)> = BTreeMap::new();
        for (i, k) in kept.indexed_iter() {
            let outer = (0..kept.ndim()).filter(|d| !t.dims.contains(&(*d as u32))).map(|d| i[d]).collect();
            let e: &mut (usize, usize) = by.entry(outer).or_default();
            e.0 += usize::from(*k);
            e.1 += 1;
        }
        for (kept, of) in by.values() {
            assert!(*kept <= most(*of), "{kept} of {of} kept by {t:?}");
            scopes += usize::from(*kept > 0);
        }
    }
    scopes
}

/// The places of the greatest, the lower place first.
fn best(x: &[f64], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|a, b| x[*b].partial_cmp(&x[*a]).unwrap().then(a.cmp(b)));
    order.truncate(n);
    order
}

/// Attention of one query over the keys in `read`.
fn attend(q: &[f64], k: &[Vec<f64>], v: &[Vec<f64>], read: &[usize]) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let e: Vec<f64> = read.iter().map(|s| (dot(q, &k[*s]) / (q.len() as f64).sqrt()).exp()).collect();
    let z: f64 = e.iter().sum();
    (0..v[0].len()).map(|c| read.iter().zip(&e).map(|(s, e)| e / z * v[*s][c]).sum()).collect()
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= 1e-9 * x.abs().max(1.0), "{a:?}\n{b:?}");
    }
}

#[test]
fn the_best_of_each_row_and_always_the_last() {
    let text = "
axis B = 1..8, S = 0..64, C = 4
fn f(q: f32[B, C], k: f32[B, S, C]) -> y: bool[B, S] {
  a[b, s] = q[b, c] * k[b, s, c]
  y = select(keep 3 of slices(S) per B by a always last 1)
}";
    let c = checked(text);
    let mut rng = Rng::new(1);
    for s in [0, 1, 2, 3, 7, 12] {
        let (q, k) = (tensor(&mut rng, &[3, 4]), tensor(&mut rng, &[3, s, 4]));
        let given = inputs(&[("q", &q), ("k", &k)]);
        let y = &call(&c.graphs["f"], &given, &Weights::new())[0];
        for b in 0..3 {
            let a: Vec<f64> = (0..s).map(|s| (0..4).map(|c| q[[b, c]] * k[[b, s, c]]).sum()).collect();
            let mut want = vec![0.0; s];
            if s > 0 {
                want[s - 1] = 1.0;
                best(&a[..s - 1], 2).into_iter().for_each(|i| want[i] = 1.0);
            }
            let got: Vec<f64> = (0..s).map(|s| y[[b, s]]).collect();
            assert_eq!(got, want, "{a:?}");
        }
        counted(&c.graphs["f"], &given, &Weights::new(), |_| 3);
    }
}

#[test]
fn pages_are_chosen_by_their_best_key_and_read_whole() {
    let text = "
use std.nn
axis B = 1..8, S = 1..64, C = 4, T = 1..4
fn f(q: f32[B, T, C], k: f32[B, S, C], v: f32[B, S, C]) -> o: f32[B, T, C] {
  a[b, t, s] = q[b, t, c] * k[b, s, c]
  near = select(keep 50% of tile(S: 3) per (B, T) by a)
  o = nn.attend(q, k, v, within: near).o
}
fn all(q: f32[B, T, C], k: f32[B, S, C], v: f32[B, S, C]) -> (o: f32[B, T, C], d: f32[B, T, C]) {
  a[b, t, s] = q[b, t, c] * k[b, s, c]
  near = select(keep 100% of tile(S: 3) per (B, T) by a)
  o = nn.attend(q, k, v, within: near).o
  d = nn.attend(q, k, v).o
}";
    let c = checked(text);
    let mut rng = Rng::new(2);
    for s in [1, 2, 3, 4, 8, 13] {
        let (b, t) = (2, 3);
        let (q, k, v) = (tensor(&mut rng, &[b, t, 4]), tensor(&mut rng, &[b, s, 4]), tensor(&mut rng, &[b, s, 4]));
        let given = inputs(&[("q", &q), ("k", &k), ("v", &v)]);
        let o = &call(&c.graphs["f"], &given, &Weights::new())[0];
        let row = |x: &ArrayD<f64>, i: usize, j: usize| (0..4).map(|c| x[[i, j, c]]).collect::<Vec<f64>>();
        for i in 0..b {
            let (ks, vs): (Vec<_>, Vec<_>) = (0..s).map(|s| (row(&k, i, s), row(&v, i, s))).unzip();
            for j in 0..t {
                let qr = row(&q, i, j);
                let a: Vec<f64> = ks.iter().map(|k| k.iter().zip(&qr).map(|(x, y)| x * y).sum()).collect();
                let pages: Vec<f64> =
                    a.chunks(3).map(|p| p.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
                let chosen = best(&pages, pages.len().div_ceil(2));
                let read: Vec<usize> = (0..s).filter(|s| chosen.contains(&(s / 3))).collect();
                close(&row(o, i, j), &attend(&qr, &ks, &vs, &read));
            }
        }
        counted(&c.graphs["f"], &given, &Weights::new(), |pages| pages.div_ceil(2));
        let both = call(&c.graphs["all"], &given, &Weights::new());
        close(both[0].as_slice().unwrap(), both[1].as_slice().unwrap());
    }
}

const MOE: &str = "
use std.nn
axis B = 1..4, T = 1..8
const EARLY = [3, 1]
schedule active[l: L] = if progress < 90% { 4 } else { EARLY[l] }
model moe from safetensors \"none\" {
  axes { D = 4, F = 3, E = 6, L = 2 }
  layer[l: L] = \"l{l}\" { router: f32[E, D]  gate: f32[E, F, D]  down: f32[E, D, F] }
}
fn ffn(x: f32[B, T, D]) -> (y: f32[B, T, D], first: f32[B, T, E], second: f32[B, T, E], balance: f32[B, T]) {
  for l in L {
    p = moe.layer[l]
    prob[b, t, e] = softmax(p.router[e, d] * x[b, t, d] over e)
    mix = prob
    h[b, t, e, f] = p.gate[e, f, d] * x[b, t, d]
    o[b, t, d] = mix[b, t, e] * p.down[e, d, f] * nn.relu(h[b, t, e, f])
    x = x + o
    first = if l == 0 { mix } else { first }
    second = mix
    balance[b, t] = sum(prob[b, t, e] over e)
  }
  y = x
}
";

#[test]
fn experts_are_chosen_for_each_token_and_only_their_readers_see_it() {
    let sparse = format!(
        "{MOE}
group expert[l, e: E] = slices(E) of ffn.mix[l]
require few: keep active[l] of expert per (B, T) by abs
"
    );
    // `first` reads itself before it is assigned; write it without the condition.
    let text = |s: &str| s.replace("    first = if l == 0 { mix } else { first }\n", "    first = mix\n");
    let (c, plain) = (checked(&text(&sparse)), checked(&text(MOE)));
    assert_eq!(c.dense["ffn"], plain.graphs["ffn"], "dense is the same file without the constraint");
    assert!(plain.dense.is_empty());
    assert_eq!(c.module.choices.len(), 1);
    let mut rng = Rng::new(3);
    let mut weights = Weights::new();
    for l in 0..2 {
        for (name, n) in [("router", 24), ("gate", 72), ("down", 72)] {
            let v = (0..n).map(|_| rng.below(9) as f32 / 4.0 - 1.0).collect();
            weights.insert(format!("moe.layer.{l}.{name}"), v);
        }
    }
    let x = tensor(&mut rng, &[2, 5, 4]);
    let given = inputs(&[("x", &x)]);
    let (kept, dense) = (call(&c.graphs["ffn"], &given, &weights), call(&c.dense["ffn"], &given, &weights));
    // The second layer keeps one expert for each token; the balance sees all of them.
    for b in 0..2 {
        for t in 0..5 {
            let on = (0..6).filter(|e| kept[2][[b, t, *e]] != 0.0).count();
            assert_eq!(on, 1);
            assert!((kept[3][[b, t]] - 1.0).abs() < 1e-12);
        }
    }
    assert_ne!(kept[0], dense[0]);
    let tops: Vec<String> = c.graphs["ffn"]
        .ids()
        .into_iter()
        .filter_map(|n| {
            if let Op::Top(t) = &c.graphs["ffn"].node(n).unwrap().op { Some(t.amount.to_string()) } else { None }
        })
        .collect();
    assert_eq!(tops, ["3", "1"]);
    assert_eq!(counted(&c.graphs["ffn"], &given, &weights, |_| 3), 20);
    // By hand: the first layer of one token.
    let w = |l: usize, n: &str, i: usize| f64::from(weights[&format!("moe.layer.{l}.{n}")][i]);
    let mut v: Vec<f64> = (0..4).map(|d| x[[1, 4, d]]).collect();
    for (l, n) in [(0, 3), (1, 1)] {
        let logits: Vec<f64> = (0..6).map(|e| (0..4).map(|d| w(l, "router", e * 4 + d) * v[d]).sum()).collect();
        let z: f64 = logits.iter().map(|x| x.exp()).sum();
        let prob: Vec<f64> = logits.iter().map(|x| x.exp() / z).collect();
        let mut o = v.clone();
        for e in best(&prob, n) {
            for (d, o) in o.iter_mut().enumerate() {
                for f in 0..3 {
                    let h: f64 = (0..4).map(|d| w(l, "gate", (e * 3 + f) * 4 + d) * v[d]).sum();
                    *o += prob[e] * w(l, "down", (e * 4 + d) * 3 + f) * h.max(0.0);
                }
            }
        }
        v = o;
    }
    close(&v, &(0..4).map(|d| kept[0][[1, 4, d]]).collect::<Vec<_>>());
}

const DECODE: &str = "
use std.nn
axis B = 1..4, T = 1..8, S = 0..64
model net from safetensors \"none\" {
  axes { D = 8, KV = 2, G = 2, Dh = 4, L = 2 }
  layer[l: L] = \"l{l}\" { wq: f32[(KV G Dh), D]  wk: f32[(KV Dh), D]  wv: f32[(KV Dh), D]  wo: f32[D, (KV G Dh)] }
}
fn decode(x: f32[B, T, D], kv: cache[L, B, KV, S, Dh]) -> y: f32[B, T, D] {
  for l in L {
    x = x + nn.gqa(x, net.layer[l], rope: 100, cache: kv[l])
  }
  y = x
}
";

fn decode_weights(rng: &mut Rng) -> Weights {
    let mut weights = Weights::new();
    for l in 0..2 {
        for (name, n) in [("wq", 128), ("wk", 64), ("wv", 64), ("wo", 128)] {
            weights.insert(format!("net.layer.{l}.{name}"), (0..n).map(|_| rng.below(9) as f32 / 8.0 - 0.5).collect());
        }
    }
    weights
}

#[test]
fn pages_of_a_cache_are_chosen_by_a_score_of_query_and_key() {
    let text = format!(
        "{DECODE}
score logit(q: f32[B, KV, G, T, C], k: f32[B, KV, P, C]) -> s: f32[B, KV, T, P] {{
  a[b, kv, g, t, p] = q[b, kv, g, t, c] * k[b, kv, p, c]
  s = max(a over G)
}}
group page = tile(S: 4) of decode.kv
require pages: keep AMOUNT of page per (KV, T) by logit() always first 1, last 1
"
    );
    let half = checked(&text.replace("AMOUNT", "50%"));
    let all = checked(&text.replace("AMOUNT", "100%"));
    let mut rng = Rng::new(4);
    let weights = decode_weights(&mut rng);
    for (s, t) in [(0, 1), (1, 1), (5, 1), (23, 1), (9, 3), (0, 7)] {
        let x = tensor(&mut rng, &[2, t, 8]);
        let (k, v) = (tensor(&mut rng, &[2, 2, 2, s, 4]), tensor(&mut rng, &[2, 2, 2, s, 4]));
        let given = inputs(&[("x", &x), ("kv.k", &k), ("kv.v", &v)]);
        let dense = call(&half.dense["decode"], &given, &weights);
        close(call(&all.graphs["decode"], &given, &weights)[0].as_slice().unwrap(), dense[0].as_slice().unwrap());
        let y = call(&half.graphs["decode"], &given, &weights);
        assert!(y[0].iter().all(|v| v.is_finite()));
        let scopes = counted(&half.graphs["decode"], &given, &weights, |pages| pages.div_ceil(2).max(2));
        assert_eq!(scopes, 2 * 2 * 2 * t, "every query of every head and layer");
    }
}

#[test]
fn the_softmax_is_over_what_is_chosen() {
    // One head, and the whole attention by hand: pages of two keys, one kept, seen by a causal mask.
    let text = "
use std.nn
axis T = 1..16, C = 4
fn f(q: f32[T, C], k: f32[T, C], v: f32[T, C]) -> o: f32[T, C] {
  o = nn.attend(q, k, v, allow: nn.causal).o
}
score dots(q: f32[T, C], k: f32[S, C]) -> s: f32[T, S] { s[t, s] = q[t, c] * k[s, c] }
require one: keep 1 of tile(T: 2) of f.k per T by dots()
";
    let text = text.replace("per T by", "by");
    let c = checked(&text);
    let mut rng = Rng::new(5);
    for n in [1, 2, 5, 9] {
        let (q, k, v) = (tensor(&mut rng, &[n, 4]), tensor(&mut rng, &[n, 4]), tensor(&mut rng, &[n, 4]));
        let given = inputs(&[("q", &q), ("k", &k), ("v", &v)]);
        let o = &call(&c.graphs["f"], &given, &Weights::new())[0];
        let row = |x: &ArrayD<f64>, i: usize| (0..4).map(|c| x[[i, c]]).collect::<Vec<f64>>();
        let (ks, vs): (Vec<_>, Vec<_>) = (0..n).map(|s| (row(&k, s), row(&v, s))).unzip();
        for t in 0..n {
            let qr = row(&q, t);
            let a: Vec<f64> = ks.iter().map(|k| k.iter().zip(&qr).map(|(x, y)| x * y).sum()).collect();
            let pages: Vec<f64> = a.chunks(2).map(|p| p.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
            // Only pages that the query may see are chosen among.
            let page = best(&pages[..=t / 2], 1)[0];
            let read: Vec<usize> = (0..=t).filter(|s| s / 2 == page).collect();
            close(&row(o, t), &attend(&qr, &ks, &vs, &read));
        }
    }
}

#[test]
fn decoding_with_a_cache_is_attention_over_everything_so_far() {
    let c = checked(DECODE);
    let mut rng = Rng::new(6);
    let weights = decode_weights(&mut rng);
    // Two steps with a cache of the first layer's keys: compare the last token with one call on all tokens. The cache of
    // a layer is what `nn.gqa` would have appended, so it is taken from the graph itself.
    let x = tensor(&mut rng, &[1, 6, 8]);
    let empty = tensor(&mut rng, &[2, 1, 2, 0, 4]);
    let g = &c.graphs["decode"];
    let whole = inputs(&[("x", &x), ("kv.k", &empty), ("kv.v", &empty)]);
    let want = call(g, &whole, &weights);
    let shapes = whole.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
    let syms = bind_syms(g, &shapes).unwrap();
    let all = run_all(g, &syms, &whole, &weights, Absent::Skip).unwrap();
    let joined: Vec<&Value<f64>> =
        g.ids().iter().filter(|n| matches!(g.node(**n).unwrap().op, Op::Concat { .. })).map(|n| &all[n]).collect();
    assert_eq!(joined.len(), 4);
    let cut = |v: &Value<f64>| v.floats().unwrap().slice(ndarray::s![.., .., ..4, ..]).to_owned();
    let stack = |a: usize, b: usize| {
        ndarray::stack(ndarray::Axis(0), &[cut(joined[a]).view(), cut(joined[b]).view()]).unwrap().into_dyn()
    };
    let is_key: Vec<bool> = g
        .ids()
        .iter()
        .filter(|n| matches!(g.node(**n).unwrap().op, Op::Concat { .. }))
        .map(|n| {
            let gather = g.inputs(*n)[0];
            let from = g.inputs(gather)[0];
            matches!(&g.node(from).unwrap().op, Op::Input { name, .. } if name == "kv.k")
        })
        .collect();
    let pick = |key: bool| -> Vec<usize> { (0..4).filter(|i| is_key[*i] == key).collect() };
    let (k, v) = (pick(true), pick(false));
    let rest = x.slice(ndarray::s![.., 4.., ..]).to_owned().into_dyn();
    let got = call(g, &inputs(&[("x", &rest), ("kv.k", &stack(k[0], k[1])), ("kv.v", &stack(v[0], v[1]))]), &weights);
    let want = want[0].slice(ndarray::s![.., 4.., ..]).to_owned();
    close(&got[0].iter().copied().collect::<Vec<_>>(), &want.iter().copied().collect::<Vec<_>>());
}

#[test]
fn a_plain_sum_sees_zeros() {
    let text = "
axis B = 1..4, N = 1..16
fn f(x: f32[B, N], w: f32[N]) -> (y: f32[B], kept: f32[B, N]) {
  h = max(x, 0)
  y[b] = h[b, n] * w[n]
  kept = h
}
require neurons: keep 25% of slices(N) of f.h per B by abs
";
    let c = checked(text);
    let mut rng = Rng::new(7);
    for n in [1, 3, 8] {
        let (x, w) = (tensor(&mut rng, &[3, n]), tensor(&mut rng, &[n]));
        let given = inputs(&[("x", &x), ("w", &w)]);
        let out = call(&c.graphs["f"], &given, &Weights::new());
        for b in 0..3 {
            let h: Vec<f64> = (0..n).map(|i| x[[b, i]].max(0.0)).collect();
            let on = best(&h, n.div_ceil(4));
            let want: f64 = on.iter().map(|i| h[*i] * w[[*i]]).sum();
            assert!((out[0][[b]] - want).abs() < 1e-12);
            for i in 0..n {
                assert_eq!(out[1][[b, i]], if on.contains(&i) { h[i] } else { 0.0 });
            }
        }
    }
}

/// Rows of the last axis at two leading places.
fn row(x: &ArrayD<f64>, at: &[usize]) -> Vec<f64> {
    let n = *x.shape().last().unwrap();
    (0..n).map(|c| x[&[at, &[c]].concat()[..]]).collect()
}

#[test]
fn label_channels_find_the_tokens_that_all_channels_attend_to() {
    let text = "
use std.attention
axis B = 1..4, KV = 2, G = 2, S = 0..64, C = 4, N = 1..32
fn labels(q: f32[N, KV, G, C], k: f32[N, KV, C]) -> label: bool[KV, C] {
  label = attention.labels(q, k, channels: 2)
}
fn step(q: f32[B, KV, G, C], past: cache[B, KV, S, C], label: bool[KV, C]) -> (o: f32[B, KV, G, C], d: f32[B, KV, G, C]) {
  o = attention.attend_labelled(q, past, label, tokens: 25%, recent: 2, min_context: 0)
  d = attention.attend_labelled(q, past, label, tokens: 25%, recent: 2, min_context: 100)
}
fn whole(q: f32[B, KV, G, C], past: cache[B, KV, S, C], label: bool[KV, C]) -> o: f32[B, KV, G, C] {
  o = attention.attend_labelled(q, past, label, tokens: 100%, min_context: 0)
}";
    let c = checked(text);
    let mut rng = Rng::new(8);
    let (n, b, s) = (9, 2, 11);
    let (q, k) = (tensor(&mut rng, &[n, 2, 2, 4]), tensor(&mut rng, &[n, 2, 4]));
    let label = &call(&c.graphs["labels"], &inputs(&[("q", &q), ("k", &k)]), &Weights::new())[0];
    let mut table: Vec<Vec<usize>> = Vec::new();
    for kv in 0..2 {
        let weight = |ch: usize| -> f64 {
            let one = |i: usize, g: usize| (q[[i, kv, g, ch]] * k[[i, kv, ch]]).abs();
            (0..n).flat_map(|i| (0..2).map(move |g| (i, g))).map(|(i, g)| one(i, g)).sum::<f64>() / (n * 2) as f64
        };
        let want = best(&(0..4).map(weight).collect::<Vec<_>>(), 2);
        let got: Vec<usize> = (0..4).filter(|ch| label[[kv, *ch]] != 0.0).collect();
        assert!(got.len() == 2 && want.iter().all(|w| got.contains(w)), "{got:?} {want:?}");
        table.push(got);
    }
    let (q, k) = (tensor(&mut rng, &[b, 2, 2, 4]), tensor(&mut rng, &[b, 2, s, 4]));
    let v = tensor(&mut rng, &[b, 2, s, 4]);
    let mut given = inputs(&[("q", &q), ("past.k", &k), ("past.v", &v)]);
    given.insert("label".into(), Value::B(label.mapv(|x| x != 0.0)));
    let out = call(&c.graphs["step"], &given, &Weights::new());
    let whole = call(&c.graphs["whole"], &given, &Weights::new());
    close(whole[0].as_slice().unwrap(), out[1].as_slice().unwrap());
    counted(&c.graphs["step"], &given, &Weights::new(), |n| n.div_ceil(4));
    for i in 0..b {
        for kv in 0..2 {
            let score = |t: usize| -> f64 {
                let dot = |g: usize| table[kv].iter().map(|c| q[[i, kv, g, *c]] * k[[i, kv, t, *c]]).sum::<f64>();
                dot(0).max(dot(1))
            };
            let scores: Vec<f64> = (0..s - 2).map(score).collect();
            let mut read = best(&scores, s.div_ceil(4) - 2);
            read.extend([s - 2, s - 1]);
            read.sort_unstable();
            let (ks, vs): (Vec<_>, Vec<_>) = (0..s).map(|t| (row(&k, &[i, kv, t]), row(&v, &[i, kv, t]))).unzip();
            for g in 0..2 {
                close(&row(&out[0], &[i, kv, g]), &attend(&row(&q, &[i, kv, g]), &ks, &vs, &read));
            }
        }
    }
}

#[test]
fn block_patterns_keep_a_share_of_each_region() {
    let text = "
use std.attention
use std.nn
axis B = 1..2, H = 2, T = 10, S = 10, C = 4
fn f(q: f32[B, H, T, C], k: f32[B, H, S, C], v: f32[B, H, S, C]) -> (r: bool[B, H, T, S], o: f32[B, H, T, C], e: f32[B, H, T, C]) {
  r = attention.block_pattern(q, k, 4, density: 40%, block: 3)
  o = attention.attend_pattern(q, k, v, r)
  e = attention.attend_pattern(q, k, v, attention.block_pattern(q, k, 0, density: 100%, block: 3))
}
fn dense(q: f32[B, H, T, C], k: f32[B, H, S, C], v: f32[B, H, S, C]) -> o: f32[B, H, T, C] {
  o = nn.attend(q, k, v).o
}";
    let c = checked(text);
    let mut rng = Rng::new(9);
    let (q, k, v) =
        (tensor(&mut rng, &[1, 2, 10, 4]), tensor(&mut rng, &[1, 2, 10, 4]), tensor(&mut rng, &[1, 2, 10, 4]));
    let given = inputs(&[("q", &q), ("k", &k), ("v", &v)]);
    let out = call(&c.graphs["f"], &given, &Weights::new());
    close(out[2].as_slice().unwrap(), call(&c.graphs["dense"], &given, &Weights::new())[0].as_slice().unwrap());
    // Four blocks of keys, two kept from each region; blocks of queries share a pattern.
    for h in 0..2 {
        let probability = |t: usize, region: std::ops::Range<usize>, s: usize| -> f64 {
            let e = |s: usize| ((0..4).map(|c| q[[0, h, t, c]] * k[[0, h, s, c]]).sum::<f64>() / 2.0).exp();
            if region.contains(&s) { e(s) / region.map(e).sum::<f64>() } else { 0.0 }
        };
        for tb in 0..4 {
            let rows = || tb * 3..(tb * 3 + 3).min(10);
            let block = |region: std::ops::Range<usize>| -> Vec<usize> {
                let sums: Vec<f64> = (0..4)
                    .map(|sb| {
                        rows()
                            .flat_map(|t| (sb * 3..(sb * 3 + 3).min(10)).map(move |s| (t, s)))
                            .map(|(t, s)| probability(t, region.clone(), s))
                            .sum()
                    })
                    .collect();
                best(&sums, 2)
            };
            let kept: Vec<usize> = [block(0..4), block(4..10)].concat();
            for t in rows() {
                for s in 0..10 {
                    assert_eq!(out[0][[0, h, t, s]] != 0.0, kept.contains(&(s / 3)), "{h} {t} {s}");
                }
            }
        }
    }
}

#[test]
fn a_pattern_is_computed_once_and_read_by_later_steps() {
    let text = "
use std.attention
use std.nn
axis B = 1..2, H = 2, T = 1..16, S = 1..16, C = 4
fn step(q: f32[B, H, T, C], k: f32[B, H, S, C], v: f32[B, H, S, C], now: i32) -> o: f32[B, H, T, C] {
  o = attention.sparsed(q, k, v, now, 4, steps: 10, density: 40%, block: 3)
}
fn dense(q: f32[B, H, T, C], k: f32[B, H, S, C], v: f32[B, H, S, C]) -> o: f32[B, H, T, C] {
  o = nn.attend(q, k, v).o
}
fn blocks(q: f32[B, H, T, C], k: f32[B, H, S, C], v: f32[B, H, S, C], r: relation[B, H, T, S]) -> (p: bool[B, H, T, S], o: f32[B, H, T, C]) {
  p = attention.block_pattern(q, k, 4, density: 40%, block: 3)
  o = attention.attend_pattern(q, k, v, r)
}";
    let c = checked(text);
    let mut rng = Rng::new(19);
    let number = |n: i32| Value::I(ArrayD::from_elem(IxDyn(&[]), n));
    let mut r = ArrayD::from_elem(IxDyn(&[1, 2, 10, 12]), false);
    for now in 1..6 {
        let (q, k, v) =
            (tensor(&mut rng, &[1, 2, 10, 4]), tensor(&mut rng, &[1, 2, 12, 4]), tensor(&mut rng, &[1, 2, 12, 4]));
        let plain = inputs(&[("q", &q), ("k", &k), ("v", &v)]);
        let mut given = plain.clone();
        given.insert("now".into(), number(now));
        given.insert("r".into(), Value::B(r.clone()));
        let out = call(&c.graphs["step"], &given, &Weights::new());
        let mut with = plain.clone();
        with.insert("r".into(), Value::B(r.clone()));
        let fresh = call(&c.graphs["blocks"], &with, &Weights::new());
        let dense = &call(&c.graphs["dense"], &plain, &Weights::new())[0];
        // floor(10 * 20%) + 1 is 3: dense until then, computed there, read after.
        close(out[0].as_slice().unwrap(), if now <= 3 { dense } else { &fresh[1] }.as_slice().unwrap());
        let left = out[1].mapv(|x| x != 0.0);
        assert_eq!(left, if now == 3 { fresh[0].mapv(|x| x != 0.0) } else { r.clone() }, "{now}");
        r = left;
    }
    assert!(r.iter().any(|x| *x) && r.iter().any(|x| !*x));
}

#[test]
fn sinks_heavy_hitters_routes_and_skipped_tokens() {
    let text = "
use std.attention
use std.moe
use std.tokens
axis B = 1..4, H = 1, KV = 1, G = 2, T = 1..16, S = 1..32, C = 4, D = 3, E = 5
fn stream(q: f32[B, H, T, C], k: f32[B, H, T, C], v: f32[B, H, T, C]) -> o: f32[B, H, T, C] {
  o = attention.streaming(q, k, v, sinks: 1, window: 2)
}
fn heavy(q: f32[B, KV, G, C], past: cache[B, KV, S, C], received: f32[B, KV, S]) -> (o: f32[B, KV, G, C], seen: f32[B, KV, S]) {
  (o, seen) = attention.attend_heavy(q, past, received, tokens: 4, recent: 1)
}
fn route(x: f32[B, T, E]) -> (mix: f32[B, T, E], scaled: f32[B, T, E]) {
  (mix, _) = moe.route(x, experts: 2)
  scaled = moe.route_scaled(x, experts: 2)
}
fn skip(x: f32[B, T, D], y: f32[B, T, D], importance: f32[B, T]) -> z: f32[B, T, D] {
  z = tokens.skip(x, y, importance, share: 50%)
}";
    let c = checked(text);
    let mut rng = Rng::new(10);
    let none = Weights::new();
    let (q, k, v) = (tensor(&mut rng, &[1, 1, 6, 4]), tensor(&mut rng, &[1, 1, 6, 4]), tensor(&mut rng, &[1, 1, 6, 4]));
    let o = &call(&c.graphs["stream"], &inputs(&[("q", &q), ("k", &k), ("v", &v)]), &none)[0];
    let (ks, vs): (Vec<_>, Vec<_>) = (0..6).map(|s| (row(&k, &[0, 0, s]), row(&v, &[0, 0, s]))).unzip();
    for t in 0..6 {
        let read: Vec<usize> = (0..=t).filter(|s| *s < 1 || t - s < 2).collect();
        close(&row(o, &[0, 0, t]), &attend(&row(&q, &[0, 0, t]), &ks, &vs, &read));
    }
    let (q, r) = (tensor(&mut rng, &[1, 1, 2, 4]), tensor(&mut rng, &[1, 1, 6]));
    let out = call(&c.graphs["heavy"], &inputs(&[("q", &q), ("past.k", &k), ("past.v", &v), ("received", &r)]), &none);
    let mut read = best(&row(&r, &[0, 0])[..5], 3);
    read.push(5);
    read.sort_unstable();
    for g in 0..2 {
        close(&row(&out[0], &[0, 0, g]), &attend(&row(&q, &[0, 0, g]), &ks, &vs, &read));
    }
    for s in 0..6 {
        assert_eq!(out[1][[0, 0, s]] > 0.0, read.contains(&s));
    }
    let x = tensor(&mut rng, &[2, 3, 5]);
    let out = call(&c.graphs["route"], &inputs(&[("x", &x)]), &none);
    for (b, t) in (0..2).flat_map(|b| (0..3).map(move |t| (b, t))) {
        let on = best(&row(&x, &[b, t]), 2);
        let mix = row(&out[0], &[b, t]);
        assert!((0..5).all(|e| (mix[e] > 0.0) == on.contains(&e)));
        assert!((row(&out[1], &[b, t]).iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    let (x, y, a) = (tensor(&mut rng, &[2, 7, 3]), tensor(&mut rng, &[2, 7, 3]), tensor(&mut rng, &[2, 7]));
    let z = &call(&c.graphs["skip"], &inputs(&[("x", &x), ("y", &y), ("importance", &a)]), &none)[0];
    for b in 0..2 {
        let mut pass: Vec<usize> = best(&row(&a, &[b])[1..6], 2).into_iter().map(|i| i + 1).collect();
        pass.extend([0, 6]);
        for t in 0..7 {
            assert_eq!(row(z, &[b, t]), row(if pass.contains(&t) { &y } else { &x }, &[b, t]));
        }
    }
}

#[test]
fn scores_of_pages_in_the_library() {
    let text = format!(
        "use std.score.{{label_dot}}
{DECODE}
require pages: keep 50% of tile(S: 3) of decode.kv per (KV, T) by SCORE always last 1
"
    );
    let mut rng = Rng::new(11);
    let weights = decode_weights(&mut rng);
    for score in ["label_dot(channels: 2)", "label_dot(channels: 4)"] {
        let c = checked(&text.replace("SCORE", score));
        let (s, t) = (14, 1);
        let x = tensor(&mut rng, &[1, t, 8]);
        let (k, v) = (tensor(&mut rng, &[2, 1, 2, s, 4]), tensor(&mut rng, &[2, 1, 2, s, 4]));
        let given = inputs(&[("x", &x), ("kv.k", &k), ("kv.v", &v)]);
        // Five pages, and four channels to choose labels from.
        counted(&c.graphs["decode"], &given, &weights, |n| if n == 5 { 3 } else { 4 });
    }
    let bound = "
use std.score.page_bound
axis B = 1..2, KV = 1, G = 2, T = 1..3, P = 7, C = 3
fn f(q: f32[B, KV, G, T, C], k: f32[B, KV, P, C]) -> r: bool[B, KV, T, P] {
  r = select(keep 1 of tile(P: 3) per (B, KV, T) by page_bound(q, k, page: 3))
}";
    let c = checked(bound);
    let (q, k) = (tensor(&mut rng, &[1, 1, 2, 2, 3]), tensor(&mut rng, &[1, 1, 7, 3]));
    let r = &call(&c.graphs["f"], &inputs(&[("q", &q), ("k", &k)]), &Weights::new())[0];
    for t in 0..2 {
        let bound = |p: usize| -> f64 {
            let keys = || p * 3..(p * 3 + 3).min(7);
            let one = |g: usize| -> f64 {
                (0..3)
                    .map(|c| keys().map(|s| q[[0, 0, g, t, c]] * k[[0, 0, s, c]]).fold(f64::NEG_INFINITY, f64::max))
                    .sum()
            };
            one(0).max(one(1))
        };
        let page = best(&(0..3).map(bound).collect::<Vec<_>>(), 1)[0];
        for s in 0..7 {
            assert_eq!(r[[0, 0, t, s]] != 0.0, s / 3 == page);
        }
    }
}
