//! Zeroing a coupled group and deleting it are the same, on random graphs with random weights; a group with a member left
//! out is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod net;

use ndarray::{ArrayD, Axis};
use net::Net;
use spc_interp::testing::{Options, Rng, random_case};
use spc_interp::{Absent, Value, bind_syms, run, run_all};
use spc_ir::Graph;
use spc_ir::couple::{CoupledSet, Coupling, NoShrink};
use std::collections::BTreeMap;

type Weights = BTreeMap<String, Vec<f32>>;
type Inputs = BTreeMap<String, Value<f64>>;

fn shape(g: &Graph, weight: &str) -> Vec<usize> {
    let id = g.weights().into_iter().find(|(n, _)| n == weight).unwrap().1;
    g.ty(id).unwrap().shape(&[]).unwrap()
}

/// The members' slices that are not kept, set to zero; those of `except` stay.
fn zeroed(g: &Graph, weights: &Weights, set: &CoupledSet, kept: &[u64], except: &[String]) -> Weights {
    let mut out = weights.clone();
    for m in set.members.iter().filter(|m| !except.contains(&m.weight)) {
        let mut a = ArrayD::from_shape_vec(shape(g, &m.weight), out[&m.weight].clone()).unwrap();
        for p in &m.places {
            for (i, mut slice) in a.axis_iter_mut(Axis(p.dim as usize)).enumerate() {
                let i = i as u64;
                if (p.start..p.end).contains(&i) && !kept.contains(&((i - p.start) / p.inner % set.size)) {
                    slice.fill(0.0);
                }
            }
        }
        out.insert(m.weight.clone(), a.into_raw_vec_and_offset().0);
    }
    out
}

fn sliced<T: Clone>(a: ArrayD<T>, kept: &[Option<Vec<u64>>]) -> ArrayD<T> {
    let mut a = a;
    for (d, k) in kept.iter().enumerate() {
        if let Some(k) = k {
            a = a.select(Axis(d), &k.iter().map(|i| *i as usize).collect::<Vec<_>>());
        }
    }
    a
}

fn smaller(
    g: &Graph,
    weights: &Weights,
    inputs: &Inputs,
    kept: &BTreeMap<String, Vec<Option<Vec<u64>>>>,
) -> (Weights, Inputs) {
    let (mut w, mut i) = (weights.clone(), inputs.clone());
    for (name, dims) in kept {
        if let Some(v) = weights.get(name) {
            let a = sliced(ArrayD::from_shape_vec(shape(g, name), v.clone()).unwrap(), dims);
            w.insert(name.clone(), a.iter().copied().collect());
        }
        if let Some(v) = inputs.get(name) {
            let v = match v {
                Value::F(a) => Value::F(sliced(a.clone(), dims)),
                Value::I(a) => Value::I(sliced(a.clone(), dims)),
                Value::B(a) => Value::B(sliced(a.clone(), dims)),
            };
            i.insert(name.clone(), v);
        }
    }
    (w, i)
}

fn finite(v: &Value<f64>) -> bool {
    v.floats().is_none_or(|a| a.iter().all(|x| x.is_finite() && x.abs() < 1e6))
}

fn close(a: &[(String, Value<f64>)], b: &[(String, Value<f64>)]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| match (&a.1, &b.1) {
            (Value::F(x), Value::F(y)) => {
                x.shape() == y.shape()
                    && x.iter().zip(y).all(|(x, y)| (x - y).abs() <= 1e-6 * x.abs().max(y.abs()).max(1.0))
            }
            (x, y) => x == y,
        })
}

/// A random part of the axis, never all of it.
fn some(rng: &mut Rng, size: u64) -> Vec<u64> {
    let mut kept: Vec<u64> = (0..size).filter(|_| rng.chance(1, 2)).collect();
    if kept.len() as u64 == size {
        kept.remove(rng.below(kept.len()));
    }
    kept
}

fn eval(g: &Graph, inputs: &Inputs, weights: &Weights) -> Vec<(String, Value<f64>)> {
    let shapes = inputs.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
    let syms = bind_syms(g, &shapes).unwrap();
    run(g, &syms, inputs, weights).unwrap()
}

/// Checks every set of a network; how many were deleted, and how many controls ran. `kinds` counts the members deleted by
/// the kind of weight.
fn check(seed: u64, kinds: &mut BTreeMap<String, usize>) -> (usize, usize) {
    let mut net = Net::random(seed);
    let c = Coupling::of(&[&net.graph]).unwrap();
    let (mut deleted, mut controls) = (0, 0);
    for (i, set) in c.sets.iter().enumerate().filter(|(_, s)| s.size > 1) {
        let kept = some(&mut net.rng, set.size);
        let small = match c.shrink(&[&net.graph], 0, i, &kept) {
            Ok(s) => s,
            Err(NoShrink::Refused(_) | NoShrink::Mixed(_)) => continue,
            Err(e) => panic!("seed {seed}: {e:?}\n{}", net.graph),
        };
        let zero = zeroed(&net.graph, &net.weights, set, &kept, &[]);
        let want = eval(&net.graph, &net.inputs, &zero);
        let (w, x) = smaller(&net.graph, &net.weights, &net.inputs, &small.kept);
        let got = eval(&small.graph, &x, &w);
        assert!(
            close(&want, &got),
            "seed {seed} set {i} {set:?}\nkept {kept:?}\n{want:?}\n{got:?}\n{}\n{}",
            net.graph,
            small.graph
        );
        deleted += 1;
        for m in &set.members {
            let kind = m.weight.split_once('.').map_or(m.weight.as_str(), |(_, k)| k);
            *kinds.entry(kind.trim_end_matches(".bias").to_string()).or_default() += 1;
        }
        let first = |n: &String| set.members.iter().any(|m| m.weight == *n && m.places[0].dim == 0);
        for (_, out) in net.needed.iter().filter(|(axis, _)| first(axis)) {
            let wrong = eval(&net.graph, &net.inputs, &zeroed(&net.graph, &net.weights, set, &kept, out));
            assert!(!close(&wrong, &got), "seed {seed} set {i}: {out:?} may be left out\n{}", net.graph);
            controls += 1;
        }
    }
    (deleted, controls)
}

#[test]
fn zeroing_a_coupled_group_is_deleting_it() {
    let (mut deleted, mut controls) = (0, 0);
    let mut kinds = BTreeMap::new();
    for seed in 0..250 {
        let (d, c) = check(seed, &mut kinds);
        deleted += d;
        controls += c;
    }
    assert!(deleted > 1500 && controls > 200, "{deleted} sets deleted, {controls} controls");
}

/// The same law on graphs of all operators in all combinations, as far as they compute numbers.
#[test]
fn what_is_not_refused_can_be_deleted_from_any_graph() {
    let mut deleted = 0;
    for seed in 0..1200 {
        let case = random_case(seed, Options { steps: 10, zeros: 0, special: false, choices: false }).unwrap();
        let g = &case.graph;
        let c = Coupling::of(&[g]).unwrap();
        let mut rng = Rng::new(seed);
        let inputs: Inputs = case.inputs.iter().map(|(n, v)| (n.clone(), v.convert())).collect();
        for (i, set) in c.sets.iter().enumerate().filter(|(_, s)| s.size > 1) {
            let kept = some(&mut rng, set.size);
            let small = match c.shrink(&[g], 0, i, &kept) {
                Ok(s) => s,
                Err(NoShrink::Refused(_) | NoShrink::Mixed(_)) => continue,
                Err(e) => panic!("seed {seed}: {e:?}\n{g}"),
            };
            let zero = zeroed(g, &case.weights, set, &kept, &[]);
            let Ok(all) = run_all::<f64>(g, &case.syms, &inputs, &zero, Absent::Nan) else { continue };
            if !all.values().all(finite) {
                continue;
            }
            let want = run(g, &case.syms, &inputs, &zero).unwrap();
            let (w, x) = smaller(g, &case.weights, &inputs, &small.kept);
            let got = run(&small.graph, &case.syms, &x, &w).unwrap();
            assert!(
                close(&want, &got),
                "seed {seed} set {i} {set:?}\nkept {kept:?}\n{want:?}\n{got:?}\n{g}\n{}",
                small.graph
            );
            deleted += 1;
        }
    }
    assert!(deleted > 150, "{deleted} sets deleted");
}
