//! The whole path against exhaustive search: every assignment of layouts, fusions and conversions to the graph itself, with
//! no e-graph and no dynamic programming.
use crate::cost::Prices;
use crate::model::{Kind, Model, Moves};
use crate::testing::{Net, Zeros, families, foldable, nets, tables, union, with_products};
use crate::{CostTable, Options, WeightFacts, choose, offered, offered_with};
use proptest::prelude::*;
use spc_ir::structure::{Siblings, folds, merge, siblings, take, with_folds};
use spc_ir::{Act, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// One way to make a value: in which layout, at what price, and whether the only reader is fused into it.
#[derive(Clone, Copy)]
struct Way {
    act: Act,
    price: u64,
    fused: bool,
    /// The layout in which an operator that is no linear and not pointwise reads.
    reads: Act,
    /// The linear on offer whose part it is.
    part: Option<usize>,
    /// Something on offer that is not used.
    unused: bool,
}

impl Way {
    fn of(act: Act, price: u64) -> Way {
        Way { act, price, fused: false, reads: Act::Rm, part: None, unused: false }
    }
}

/// Cheapest plan for a batch of `b`, or `None` when there are more than `limit` assignments.
fn cheapest(net: &Net, table: &CostTable, b: u64, limit: usize, dense_only: bool) -> Option<u64> {
    let tuned = BTreeMap::from([("B".to_string(), b)]);
    cheapest_of(&Model::new(&net.g, &net.facts, &tuned).unwrap(), table, limit, dense_only)
}

/// As [`cheapest`], where siblings may be merged.
fn cheapest_merged(net: &Net, table: &CostTable, b: u64, limit: usize) -> Option<u64> {
    let tuned = BTreeMap::from([("B".to_string(), b)]);
    let all = union(net);
    assert!(all.list.is_empty());
    cheapest_of(&all.model(&tuned), table, limit, false)
}

/// The cheapest of all ways to fold, to merge and to lay out, each as a graph of its own: nothing is on offer in it. Folds may
/// be taken for a part of what they replace.
fn cheapest_structured(net: &Net, table: &CostTable, b: u64, limit: usize) -> Option<u64> {
    let tuned = BTreeMap::from([("B".to_string(), b)]);
    let (list, _) = folds(&net.g).unwrap();
    let folded = with_folds(&net.g, &list).unwrap();
    let facts = with_products(&net.facts, &list);
    let values: Vec<NodeId> = list.iter().flat_map(|f| f.replaced.iter().map(|r| r.0)).collect();
    if values.len() > 5 {
        return None;
    }
    let mut best = None;
    for mask in 0..1usize << values.len() {
        let chosen = values.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, n)| *n).collect();
        let g = take(&folded, &list, &chosen).unwrap();
        let (groups, _) = siblings(&g).unwrap();
        if groups.len() > 5 {
            return None;
        }
        for merged in 0..1usize << groups.len() {
            let some: Vec<&Siblings> =
                groups.iter().enumerate().filter(|(i, _)| merged >> i & 1 == 1).map(|(_, s)| s).collect();
            let all: Vec<NodeId> = some.iter().flat_map(|s| s.linears.clone()).collect();
            if all.iter().collect::<BTreeSet<_>>().len() != all.len() {
                continue;
            }
            let mut facts = facts.clone();
            for s in &some {
                let parts: Vec<_> = s.weights.iter().map(|w| (w.as_str(), &facts[w])).collect();
                let stacked = WeightFacts::stacked(&parts);
                facts.insert(s.made(), stacked);
            }
            let listed: Vec<_> = some.iter().map(|s| (*s, s.linears.as_slice())).collect();
            let made = if some.is_empty() { g.clone() } else { merge(&g, &listed).unwrap() };
            let Ok(model) = Model::new(&made, &facts, &tuned) else { continue };
            let found = cheapest_of(&model, table, limit, false)?;
            best = Some(best.map_or(found, |b: u64| b.min(found)));
        }
    }
    best
}

pub(crate) fn cheapest_of(model: &Model<'_>, table: &CostTable, limit: usize, dense_only: bool) -> Option<u64> {
    let prices = Prices { model, machine: table.into(), syms: &model.syms, measured: &[] };
    let on_offer: BTreeSet<usize> = model.values.iter().flat_map(|v| v.merged.iter().copied()).collect();
    // Nothing else reads a linear that may be fused, so there is one reader at most.
    let fused_by = |v: usize| (0..model.values.len()).find(|m| model.values[*m].fuses.contains(&v));
    let ways: Vec<Vec<Way>> = (0..model.values.len())
        .map(|v| {
            let value = &model.values[v];
            let mut out = Vec::new();
            match &value.kind {
                Kind::Linear(l) => {
                    for (layout, facts) in l.layouts.iter().filter(|(l, _)| !dense_only || model.is_dense(*l)) {
                        let words = model.layouts[*layout as usize];
                        let acts = [(Act::Rm, words.row_major()), (Act::Fm, words.feature_major())];
                        for (act, _) in acts.iter().filter(|(_, there)| *there) {
                            for epilogue in [None, fused_by(v)] {
                                let node = epilogue.map(|m| model.node(m).unwrap());
                                let words = model.layouts[*layout as usize];
                                let price = prices.linear(value.node.unwrap(), words, facts, *act, node).unwrap();
                                out.push(Way { fused: epilogue.is_some(), ..Way::of(*act, price) });
                                if fused_by(v).is_none() {
                                    break;
                                }
                            }
                        }
                    }
                }
                Kind::Map { by_row: true, .. } => {
                    out.push(Way::of(Act::Rm, prices.opaque(value.node.unwrap()).unwrap()));
                }
                Kind::Map { .. } => {
                    for act in [Act::Rm, Act::Fm] {
                        out.push(Way::of(act, prices.map(value.node.unwrap(), act).unwrap()));
                    }
                }
                Kind::Part { .. } => out.push(Way::of(Act::Rm, 0)),
                Kind::Opaque { .. } => {
                    out.push(Way::of(Act::Rm, prices.moved(v, Act::Rm).unwrap()));
                    let other = prices.moved(v, Act::Fm).unwrap();
                    match value.moves {
                        Some(Moves::Unfold) => out.push(Way::of(Act::Fm, other)),
                        Some(Moves::Channels) => out.push(Way { reads: Act::Fm, ..Way::of(Act::Rm, other) }),
                        None => {}
                    }
                }
                Kind::Root { .. } => out.push(Way::of(Act::Rm, 0)),
            }
            out.extend(value.merged.iter().map(|m| Way { part: Some(*m), ..Way::of(Act::Rm, 0) }));
            if on_offer.contains(&v) {
                out.push(Way { unused: true, ..Way::of(Act::Rm, 0) });
            }
            out
        })
        .collect();
    let size = ways.iter().try_fold(1usize, |n, w| n.checked_mul(w.len()).filter(|n| *n <= limit))?;
    let mut best = u64::MAX;
    for mut number in 0..size {
        let mut pick: Vec<Way> = Vec::new();
        for w in &ways {
            pick.push(w[number % w.len()]);
            number /= w.len();
        }
        // A fused map takes the layout of its linear and costs nothing of its own.
        let mut fused = vec![None; pick.len()];
        let mut once = true;
        for (m, value) in model.values.iter().enumerate() {
            let into: Vec<usize> = value.fuses.iter().copied().filter(|l| pick[*l].fused).collect();
            once &= into.len() < 2;
            if let Some(l) = into.first() {
                fused[m] = Some(*l);
                pick[m] = Way::of(pick[*l].act, 0);
            }
        }
        let mut needs: BTreeSet<(usize, Act)> = BTreeSet::new();
        for (v, value) in model.values.iter().enumerate() {
            match &value.kind {
                Kind::Linear(_) if pick[v].unused => {}
                Kind::Linear(l) => needs.extend([match pick[v].part {
                    Some(m) => (m, Act::Rm),
                    None => (l.x, pick[v].act),
                }]),
                Kind::Part { of } => needs.extend([(*of, Act::Rm)]),
                Kind::Map { inputs, scalars, .. } => {
                    let read = inputs.iter().filter(|i| fused[v] != Some(**i));
                    needs.extend(read.map(|i| (*i, pick[v].act)));
                    needs.extend(scalars.iter().map(|i| (*i, Act::Rm)));
                }
                Kind::Opaque { inputs } | Kind::Root { inputs } => {
                    needs.extend(inputs.iter().map(|i| (*i, pick[v].reads)));
                }
            }
        }
        let mut total: u64 = pick.iter().map(|w| w.price).sum();
        let mut possible = once && needs.iter().all(|(v, _)| !pick[*v].unused);
        for (v, _) in needs.iter().filter(|(v, act)| pick[*v].act != *act) {
            possible &= model.values[*v].matrix;
            if possible {
                total += prices.convert(model.values[*v].node.unwrap()).unwrap();
            }
        }
        if possible {
            best = best.min(total);
        }
    }
    Some(best)
}

/// A value that is needed in both layouts is converted, even where computing it a second time would be cheaper: a plan has
/// one place where each value is made.
#[test]
fn a_value_is_made_once() {
    let mut net = Net::new();
    let m = net.relu(net.x);
    let (a, b, c) = (net.linear(net.x, Zeros::Loose), net.linear(m, Zeros::Loose), net.centre(m));
    let net = net.output(a).output(b).output(c).only(&["dense(16)", "csr"]);
    let mut table = CostTable::clif_x86_64_v1();
    (table.dense_rm.mul_fs, table.dense_fm.mul_fs, table.csr.mul_fs) = (1 << 40, 1 << 40, 1);
    (table.convert_bytes_per_us, table.activation_bytes_per_us, table.launch_ps) = (1_000, 80_000, 0);
    let tuned = BTreeMap::from([("B".to_string(), 64)]);
    let plan = choose(&net.g, &net.facts, &table, &tuned, &Options::default()).unwrap();
    assert!(plan.converts.iter().any(|c| c.node == m), "{:?}", plan.converts);
    assert_eq!(Some(plan.total_ps), cheapest(&net, &table, 64, 100_000, false));
}

/// What came of comparing random graphs with exhaustive search.
#[derive(Debug, Default)]
struct Tally {
    solved: usize,
    too_large: usize,
    different: usize,
    /// Greedy extraction of the same e-graph: plans that are dearer, and the dearest, in thousandths of the best.
    greedy_dearer: usize,
    greedy_worst: u64,
}

/// The cost of greedy extraction from the same e-graph.
fn greedy(model: &Model<'_>, table: &CostTable, options: &Options) -> u64 {
    let space = crate::space::explore(model, options, false).unwrap();
    let shape = crate::space::shape(model, &space).unwrap();
    let prices = Prices { model, machine: table.into(), syms: &model.syms, measured: &[] };
    crate::space::price(&shape, &prices, &|_| true).unwrap().and_then(|p| p.greedy()).unwrap().cost
}

fn tally(graphs: usize) -> Tally {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let each = (nets(8), tables(), prop_oneof![Just(1u64), Just(24), Just(300)]);
    let mut out = Tally::default();
    while out.solved < graphs {
        let (net, table, b) = each.new_tree(&mut runner).unwrap().current();
        let net = net.only(&["dense(16)", "vx1(16)", "csr"]);
        let Some(best) = cheapest(&net, &table, b, 20_000, false) else {
            out.too_large += 1;
            continue;
        };
        out.solved += 1;
        let tuned = BTreeMap::from([("B".to_string(), b)]);
        let options = Options { why: false, ..Options::default() };
        let plan = choose(&net.g, &net.facts, &table, &tuned, &options).unwrap();
        out.different += usize::from(plan.total_ps != best || !plan.exact);
        let greedy = greedy(&Model::new(&net.g, &net.facts, &tuned).unwrap(), &table, &options);
        out.greedy_dearer += usize::from(greedy > best);
        out.greedy_worst = out.greedy_worst.max(greedy.saturating_mul(1000) / best.max(1));
    }
    out
}

#[test]
fn plans_of_random_graphs_are_the_best_ones() {
    let t = tally(400);
    assert_eq!((t.solved, t.different), (400, 0), "{t:?}");
    assert!(t.greedy_dearer > 0, "the graphs are so simple that greedy extraction finds every plan: {t:?}");
}

/// `cargo test --release -p spc-layout ten_thousand -- --ignored --nocapture` prints the tally.
#[test]
#[ignore = "minutes; run in release"]
#[allow(clippy::print_stdout)]
fn plans_of_ten_thousand_random_graphs_are_the_best_ones() {
    let t = tally(10_000);
    println!("{t:?}");
    assert_eq!((t.solved, t.different), (10_000, 0), "{t:?}");
}

/// What came of comparing random graphs with folds and siblings with every way to fold, merge and lay them out.
#[derive(Debug, Default)]
struct Folds {
    solved: usize,
    too_large: usize,
    different: usize,
    /// Graphs with something to fold, and those where the best plan folds or merges something.
    with_folds: usize,
    folded: usize,
    merged: usize,
    /// Graphs with windows or planes of channels, and those whose best plan moves them by copying runs.
    with_windows: usize,
    moved: usize,
    greedy_dearer: usize,
    greedy_worst: u64,
}

fn tally_folds(graphs: usize, windows: bool) -> Folds {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let each = (foldable(if windows { 5 } else { 6 }, windows), tables(), prop_oneof![Just(1u64), Just(24), Just(300)]);
    let mut out = Folds::default();
    while out.solved < graphs {
        let (net, table, b) = each.new_tree(&mut runner).unwrap().current();
        let net = net.only(&["dense(16)", "vx1(16)", "csr"]);
        let Some(best) = cheapest_structured(&net, &table, b, 20_000) else {
            out.too_large += 1;
            continue;
        };
        out.solved += 1;
        let tuned = BTreeMap::from([("B".to_string(), b)]);
        let options = Options { why: false, ..Options::default() };
        let all = union(&net);
        let found = offered_with(&all.folded, &all.list, &all.groups, &all.facts, &table, &tuned, &options).unwrap();
        if found.total_ps != best || !found.exact {
            out.different += 1;
            eprintln!("{} and not {best}, folds {:?}\n{net:?}", found.total_ps, found.folds);
        }
        out.with_folds += usize::from(!all.list.is_empty());
        out.folded += usize::from(found.folds.iter().any(|v| !v.taken.is_empty()));
        out.merged += usize::from(found.groups.iter().any(|v| !v.replaced.is_empty()));
        let model = all.model(&tuned);
        out.with_windows += usize::from(model.values.iter().any(|v| v.moves.is_some()));
        let plan = choose(&net.g, &net.facts, &table, &tuned, &options).unwrap();
        out.moved += usize::from(plan.rules.iter().any(|r| r.starts_with("k-unfold") || r.starts_with("k-channels")));
        let greedy = greedy(&model, &table, &options);
        out.greedy_dearer += usize::from(greedy > best);
        out.greedy_worst = out.greedy_worst.max(greedy.saturating_mul(1000) / best.max(1));
    }
    out
}

#[test]
fn folded_plans_of_random_graphs_are_the_best_ones() {
    let t = tally_folds(200, false);
    assert_eq!((t.solved, t.different), (200, 0), "{t:?}");
    assert!(t.folded > 40 && t.merged > 10 && t.with_folds >= t.folded && t.with_windows == 0, "{t:?}");
}

#[test]
fn folded_plans_of_random_graphs_with_windows_are_the_best_ones() {
    let t = tally_folds(150, true);
    assert_eq!((t.solved, t.different), (150, 0), "{t:?}");
    assert!(t.folded > 25 && t.with_windows > 60 && t.moved > 10, "{t:?}");
}

/// Weights are read from the memory that holds all of them: as many bytes, whatever of the program is folded.
#[test]
fn a_matrix_with_factors_counts_among_the_weights() {
    let mut net = Net::new();
    let y = net.product(net.x, Zeros::Vectors, "(mul a0 0.5)");
    let y = net.linear(y, Zeros::None);
    let net = net.output(y);
    let (tuned, all) = (BTreeMap::new(), union(&net));
    let nodes: BTreeSet<NodeId> = all.list.iter().flat_map(|f| f.replaced.iter().map(|r| r.0)).collect();
    let taken = take(&all.folded, &all.list, &nodes).unwrap();
    assert_eq!(nodes.len(), 1);
    let bytes = |g| Model::new(g, &all.facts, &tuned).unwrap().weight_bytes;
    assert_eq!((bytes(&net.g), bytes(&taken), all.model(&tuned).weight_bytes), (8192, 8192, 8192));
}

/// What a pointwise operator reads of a folded linear may be a result, or read elsewhere, too: then it is no epilogue.
#[test]
fn a_folded_linear_that_something_else_reads_has_no_epilogue() {
    for elsewhere in [false, true] {
        let mut net = Net::new();
        let y = net.linear(net.x, Zeros::Vectors);
        let c = net.channels("(mul a0 a1)", y);
        let r = net.relu(c);
        let other = if elsewhere { net.exp(c) } else { c };
        let net = net.output(r).output(other).only(&["dense(16)", "vx1(16)", "csr"]);
        let table = CostTable::wide_x86_64_v1();
        for b in [1, 24, 300] {
            let tuned = BTreeMap::from([("B".to_string(), b)]);
            let all = union(&net);
            let options = Options { why: false, ..Options::default() };
            let found =
                offered_with(&all.folded, &all.list, &all.groups, &all.facts, &table, &tuned, &options).unwrap();
            assert_eq!(all.list.len(), 1);
            assert!(found.exact && !found.folds[0].taken.is_empty());
            assert_eq!(Some(found.total_ps), cheapest_structured(&net, &table, b, 20_000), "{b} tokens");
        }
    }
}

/// `cargo test --release -p spc-layout folded_plans_of_ten_thousand -- --ignored --nocapture` prints the tally.
#[test]
#[ignore = "minutes; run in release"]
#[allow(clippy::print_stdout)]
fn folded_plans_of_ten_thousand_random_graphs_are_the_best_ones() {
    let t = tally_folds(10_000, false);
    println!("{t:?}");
    assert_eq!((t.solved, t.different), (10_000, 0), "{t:?}");
}

/// `cargo test --release -p spc-layout windows_of_ten_thousand -- --ignored --nocapture` prints the tally.
#[test]
#[ignore = "minutes; run in release"]
#[allow(clippy::print_stdout)]
fn windows_of_ten_thousand_random_graphs_are_planned_best() {
    let t = tally_folds(10_000, true);
    println!("{t:?}");
    assert_eq!((t.solved, t.different), (10_000, 0), "{t:?}");
}

/// A hundred searches with two salts in the hash of every id of the e-graph, and other names interned in between.
#[test]
fn the_plan_depends_on_no_hash() {
    let mut net = Net::new();
    let mut x = net.x;
    for zeros in [Zeros::Vectors, Zeros::Loose, Zeros::None, Zeros::TwoOfFour] {
        let y = net.linear(x, zeros);
        let r = net.relu(y);
        let z = net.linear(r, zeros);
        x = net.plus(x, z);
    }
    let (a, b) = (net.linear(x, Zeros::Vectors), net.linear(x, Zeros::Vectors));
    let x = net.plus(a, b);
    let c = net.centre(x);
    let c = net.channels("(mul a0 a1)", c);
    let (a, b) = (net.linear(c, Zeros::Vectors), net.linear(c, Zeros::Loose));
    let (a, b) = (net.channels("(mul a0 0.5)", a), net.channels("(add (mul a0 a1) a2)", b));
    let c = net.plus(a, b);
    let net = net.output(c).output(x);
    let table = CostTable::clif_x86_64_v1();
    let mut first = None;
    for run in 0..100u32 {
        crate::lang::SALT.with(|s| s.set(if run % 2 == 0 { 0 } else { 0x9E37_79B9 }));
        let _ = egg::Symbol::from(format!("between runs {run}"));
        let plan = choose(&net.g, &net.facts, &table, &BTreeMap::new(), &Options::default()).unwrap();
        let (groups, _) = siblings(&net.g).unwrap();
        assert!(!groups.is_empty());
        let structure = offered(&net.g, &groups, &net.facts, &table, &BTreeMap::new(), &Options::default()).unwrap();
        let all = union(&net);
        let options = Options::default();
        let folded =
            offered_with(&all.folded, &all.list, &all.groups, &all.facts, &table, &BTreeMap::new(), &options).unwrap();
        assert!(folded.folds.iter().filter(|v| !v.taken.is_empty()).count() == 2, "{folded:?}");
        let found = (plan, structure, folded);
        assert_eq!(first.get_or_insert_with(|| found.clone()), &found, "run {run}");
    }
    crate::lang::SALT.with(|s| s.set(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]
    #[test]
    fn no_plan_is_cheaper_than_the_chosen_one(net in nets(8), table in tables(), b in prop_oneof![Just(1u64), Just(24), Just(300)]) {
        let net = net.only(&["dense(16)", "vx1(16)", "csr"]);
        let Some(best) = cheapest(&net, &table, b, 100_000, false) else { return Ok(()) };
        let tuned = BTreeMap::from([("B".to_string(), b)]);
        let plan = choose(&net.g, &net.facts, &table, &tuned, &Options::default()).unwrap();
        prop_assert!(plan.exact, "{:?}", plan.bounds);
        prop_assert_eq!(plan.total_ps, best);
        prop_assert_eq!(Some(plan.dense_ps), cheapest(&net, &table, b, 100_000, true));
        prop_assert!(plan.dense_ps >= plan.total_ps);
        // What `why` says of a layout is the price of the best plan when nothing else is allowed there.
        for why in &plan.why {
            for c in why.candidates.iter().filter(|c| c.refused.is_none()) {
                let mut forced = Net { g: net.g.clone(), facts: net.facts.clone(), x: net.x };
                let facts = forced.facts.get_mut(&why.weight).unwrap();
                // Dense must stay a candidate; a stored size beyond reason keeps it from winning.
                for (layout, r) in &mut facts.candidates {
                    if layout.to_string() != c.layout && let Ok(f) = r {
                        f.multiplies = 1 << 40;
                    }
                }
                let plan = choose(&forced.g, &forced.facts, &table, &tuned, &Options { why: false, ..Options::default() }).unwrap();
                prop_assert_eq!(c.plan_ps, Some(plan.total_ps), "{} {}", why.weight, c.layout);
            }
        }
    }

    #[test]
    fn the_plan_is_the_same_every_time(net in nets(8), table in tables()) {
        let run = |net: &Net| choose(&net.g, &net.facts, &table, &BTreeMap::new(), &Options::default()).unwrap();
        let plan = run(&net);
        prop_assert_eq!(&plan, &run(&net));
        plan.verify(&net.g).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn narrow_bounds_are_reported_and_give_a_plan_that_holds(net in nets(8), table in tables(), width in 1usize..3, nodes in 0usize..6) {
        let options = Options { width, nodes_per_value: nodes, iterations: 1 + nodes, ..Options::default() };
        let plan = choose(&net.g, &net.facts, &table, &BTreeMap::new(), &options).unwrap();
        let wide = choose(&net.g, &net.facts, &table, &BTreeMap::new(), &Options::default()).unwrap();
        prop_assert!(plan.total_ps >= wide.total_ps);
        prop_assert_eq!(plan.exact, plan.bounds.is_empty());
        prop_assert!(!plan.exact || plan.total_ps == wide.total_ps);
        plan.verify(&net.g).map_err(TestCaseError::fail)?;
    }

    /// Merged siblings: as cheap as the cheapest of all ways, and the graph that is made of it has a plan of that price.
    #[test]
    fn no_merged_plan_is_cheaper_than_the_chosen_one(net in families(), table in tables(), b in prop_oneof![Just(1u64), Just(24), Just(300)]) {
        let net = net.only(&["dense(16)", "vx1(16)", "csr"]);
        let Some(best) = cheapest_merged(&net, &table, b, 200_000) else { return Ok(()) };
        let tuned = BTreeMap::from([("B".to_string(), b)]);
        let (groups, _) = siblings(&net.g).unwrap();
        let options = Options { why: false, ..Options::default() };
        let found = offered(&net.g, &groups, &net.facts, &table, &tuned, &options).unwrap();
        prop_assert!(found.exact);
        prop_assert_eq!(found.total_ps, best);
        prop_assert_eq!(Some(found.apart_ps), cheapest(&net, &table, b, 200_000, false));
        let taken: Vec<_> = groups.iter().zip(&found.groups).filter(|(_, v)| !v.replaced.is_empty()).collect();
        prop_assert_eq!(taken.is_empty(), found.total_ps == found.apart_ps);
        let list: Vec<_> = taken.iter().map(|(g, v)| (*g, v.replaced.as_slice())).collect();
        let made = merge(&net.g, &list).unwrap();
        let plan = choose(&made, &union(&net).facts, &table, &tuned, &options).unwrap();
        prop_assert_eq!(plan.total_ps, best);
        plan.verify(&made).map_err(TestCaseError::fail)?;
    }
}
