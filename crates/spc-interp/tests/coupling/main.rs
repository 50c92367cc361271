//! Zeroing a coupled group and deleting it are the same, on random graphs with random weights; a group with a member left
//! out is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod net;

use net::Net;
use spc_interp::testing::{Options, Rng, close, delete, random_case, zeroed};
use spc_interp::{Absent, Value, run, run_all};
use spc_ir::couple::{CoupledSet, Coupling};
use std::collections::BTreeMap;

type Inputs = BTreeMap<String, Value<f64>>;

fn finite(v: &Value<f64>) -> bool {
    v.floats().is_none_or(|a| a.iter().all(|x| x.is_finite() && x.abs() < 1e6))
}

/// A random part of the axis, never all of it.
fn some(rng: &mut Rng, size: u64) -> Vec<u64> {
    let mut kept: Vec<u64> = (0..size).filter(|_| rng.chance(1, 2)).collect();
    if kept.len() as u64 == size {
        kept.remove(rng.below(kept.len()));
    }
    kept
}

/// Checks every set of a network; how many were deleted, and how many controls ran. `kinds` counts the members deleted by
/// the kind of weight.
fn check(seed: u64, kinds: &mut BTreeMap<String, usize>) -> (usize, usize) {
    let mut net = Net::random(seed);
    let c = Coupling::of(&[&net.graph]).unwrap();
    let (mut deleted, mut controls) = (0, 0);
    for (i, set) in c.sets.iter().enumerate().filter(|(_, s)| s.size > 1) {
        let kept = some(&mut net.rng, set.size);
        let both = delete(&c, &net.graph, &net.syms, i, &kept, (&net.weights, &net.inputs));
        let Some(both) = both.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", net.graph)) else { continue };
        assert!(close(&both.zeroed, &both.smaller), "seed {seed} {set:?}\nkept {kept:?}\n{}\n{both:?}", net.graph);
        deleted += 1;
        for m in &set.members {
            let kind = m.weight.split_once('.').map_or(m.weight.as_str(), |(_, k)| k);
            *kinds.entry(kind.trim_end_matches(".bias").to_string()).or_default() += 1;
        }
        let first = |n: &String| set.members.iter().any(|m| m.weight == *n && m.places[0].dim == 0);
        for (_, out) in net.needed.iter().filter(|(axis, _)| first(axis)) {
            let wrong = zeroed(&net.graph, &net.weights, set, &kept, out).unwrap();
            let wrong = run(&net.graph, &net.syms, &net.inputs, &wrong).unwrap();
            assert!(!close(&wrong, &both.smaller), "seed {seed} set {i}: {out:?} may be left out\n{}", net.graph);
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
            let zero = zeroed(g, &case.weights, set, &kept, &[]).unwrap();
            let Ok(all) = run_all::<f64>(g, &case.syms, &inputs, &zero, Absent::Nan) else { continue };
            if !all.values().all(finite) {
                continue;
            }
            let both = delete(&c, g, &case.syms, i, &kept, (&case.weights, &inputs));
            let Some(both) = both.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{g}")) else { continue };
            assert!(close(&both.zeroed, &both.smaller), "seed {seed} {set:?}\nkept {kept:?}\n{g}\n{both:?}");
            deleted += 1;
        }
    }
    assert!(deleted > 150, "{deleted} sets deleted");
}

/// A random order that is not the first one.
fn shuffled(rng: &mut Rng, size: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..size as u32).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, rng.below(i + 1));
    }
    if order.is_sorted() {
        order.rotate_left(1);
    }
    order
}

/// The weights with the positions of a set in another order, in all members but those in `out`.
fn reordered(
    g: &spc_ir::Graph,
    weights: &BTreeMap<String, Vec<f32>>,
    set: &CoupledSet,
    order: &[u32],
    out: Option<&str>,
) -> BTreeMap<String, Vec<f32>> {
    let mut new = weights.clone();
    for m in set.members.iter().filter(|m| out != Some(m.weight.as_str())) {
        let id = g.weights().into_iter().find(|(n, _)| *n == m.weight).unwrap().1;
        let dims: Vec<u64> = g.ty(id).unwrap().dims.iter().map(|d| d.size.fixed().unwrap()).collect();
        for p in &m.places {
            let old = new[&m.weight].clone();
            let (n, inner) = (dims[p.dim as usize], dims[p.dim as usize + 1..].iter().product::<u64>());
            for (at, v) in new.get_mut(&m.weight).unwrap().iter_mut().enumerate() {
                let at = at as u64;
                let (before, i, rest) = (at / (n * inner), at / inner % n, at % inner);
                *v = old[((before * n + p.source(i, order)) * inner + rest) as usize];
            }
        }
    }
    new
}

/// Positions of an axis without an order may stand in any; leaving a member behind changes the result.
#[test]
fn an_axis_without_an_order_may_have_any() {
    let (mut same, mut controls) = (0, 0);
    for seed in 0..250 {
        let mut net = Net::random(seed);
        let c = Coupling::of(&[&net.graph]).unwrap();
        let plain = run(&net.graph, &net.syms, &net.inputs, &net.weights).unwrap();
        for (i, set) in c.sets.iter().enumerate().filter(|(_, s)| s.size > 1) {
            if !c.ordered(&[&net.graph], i).unwrap().is_empty() {
                continue;
            }
            let order = shuffled(&mut net.rng, set.size);
            let weights = reordered(&net.graph, &net.weights, set, &order, None);
            let other = run(&net.graph, &net.syms, &net.inputs, &weights).unwrap();
            assert!(close(&plain, &other), "seed {seed} {set:?}\norder {order:?}\n{}", net.graph);
            same += 1;
            let first = |n: &String| set.members.iter().any(|m| m.weight == *n && m.places[0].dim == 0);
            for name in net.needed.iter().filter(|(axis, _)| first(axis)).flat_map(|(_, out)| out) {
                let weights = reordered(&net.graph, &net.weights, set, &order, Some(name));
                let wrong = run(&net.graph, &net.syms, &net.inputs, &weights).unwrap();
                controls += usize::from(!close(&plain, &wrong));
            }
        }
    }
    assert!(same > 1000 && controls > 200, "{same} orders, {controls} controls");
}

/// The same law on graphs of all operators in all combinations.
#[test]
fn what_is_not_called_ordered_has_no_order() {
    let mut same = 0;
    for seed in 0..1200 {
        let case = random_case(seed, Options { steps: 10, zeros: 0, special: false, choices: false }).unwrap();
        let g = &case.graph;
        let c = Coupling::of(&[g]).unwrap();
        let mut rng = Rng::new(seed);
        let inputs: Inputs = case.inputs.iter().map(|(n, v)| (n.clone(), v.convert())).collect();
        let Ok(all) = run_all::<f64>(g, &case.syms, &inputs, &case.weights, Absent::Nan) else { continue };
        if !all.values().all(finite) {
            continue;
        }
        let plain = run(g, &case.syms, &inputs, &case.weights).unwrap();
        for (i, set) in c.sets.iter().enumerate().filter(|(_, s)| s.size > 1) {
            if !c.ordered(&[g], i).unwrap().is_empty() {
                continue;
            }
            let order = shuffled(&mut rng, set.size);
            let other = run(g, &case.syms, &inputs, &reordered(g, &case.weights, set, &order, None)).unwrap();
            assert!(close(&plain, &other), "seed {seed} {set:?}\norder {order:?}\n{g}");
            same += 1;
        }
    }
    assert!(same > 150, "{same} orders");
}
