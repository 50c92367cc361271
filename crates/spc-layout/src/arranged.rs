//! Splits and orders of axes as offers: the rules that take them, their proofs, and the best plan against every choice of
//! {split, whole} for each weight and {order, none} for each axis, each as a graph of its own in which nothing is on offer.
use crate::exhaustive::cheapest_of;
use crate::model::Model;
use crate::proof::{applied_of, prove_all};
use crate::testing::{All, F, Net, Zeros, matrix, tables, union_of};
use crate::{CostTable, Options, WeightFacts, groups_with, offered_with};
use proptest::prelude::*;
use spc_ir::couple::Coupling;
use spc_ir::structure::{
    Fit, Fold, Order, Siblings, Split, merge, moved, moved_name, moves, order_choices, order_fold, reordered, siblings,
    split, split_name, splittable, with_folds,
};
use spc_ir::{Graph, NodeId, Op};
use std::collections::{BTreeMap, BTreeSet};

const FIT: Fit = Fit::Tiles { rows: 16, cols: 1, least: 8 };
const LAYOUTS: [&str; 3] = ["dense(16)", "vx1(16)", "csr"];

/// How the elements of a weight lie: what its blocks are, whether rows of two blocks stand in turns, and whether there are
/// elements beyond the blocks.
#[derive(Clone, Copy, Debug)]
struct Kind {
    zeros: Zeros,
    shuffled: bool,
    outliers: bool,
}

const KINDS: [Kind; 5] = [
    Kind { zeros: Zeros::None, shuffled: false, outliers: false },
    Kind { zeros: Zeros::Loose, shuffled: false, outliers: false },
    Kind { zeros: Zeros::Vectors, shuffled: true, outliers: false },
    Kind { zeros: Zeros::Vectors, shuffled: false, outliers: true },
    Kind { zeros: Zeros::Vectors, shuffled: true, outliers: true },
];

const N: usize = F as usize;

/// Rows of the second half stand between those of the first.
fn place(row: usize) -> usize {
    if row < N / 2 { 2 * row } else { 2 * (row - N / 2) + 1 }
}

fn values(k: Kind) -> Vec<f32> {
    let mut w = matrix(k.zeros, N, N);
    if k.outliers {
        // One in every column of each block.
        (0..2 * N).for_each(|i| w[i / 2 * N + (i * 11 + 3) % N] = 0.5);
    }
    let mut out = w.clone();
    if k.shuffled {
        (0..N).for_each(|i| out[place(i) * N..(place(i) + 1) * N].copy_from_slice(&w[i * N..(i + 1) * N]));
    }
    out
}

/// The order that brings shuffled rows back.
fn back() -> Order {
    Order::new((0..N).map(|i| place(i) as u32).collect()).unwrap()
}

fn facts(w: &[f32]) -> WeightFacts {
    let mut f = WeightFacts::of(N, N, w, &[]).unwrap();
    f.candidates.retain(|(l, _)| LAYOUTS.contains(&l.to_string().as_str()));
    f
}

/// A net and what its weights hold.
struct Valued {
    net: Net,
    kinds: BTreeMap<String, Kind>,
}

impl Valued {
    fn linear(&mut self, x: NodeId, k: Kind) -> NodeId {
        let name = format!("w{}", self.net.facts.len());
        let y = self.net.linear(x, k.zeros);
        self.net.facts.insert(name.clone(), facts(&values(k)));
        self.kinds.insert(name, k);
        y
    }

    fn new() -> Valued {
        Valued { net: Net::new(), kinds: BTreeMap::new() }
    }

    fn output(mut self, y: NodeId) -> Valued {
        self.net = self.net.output(y);
        self.net.g = self.net.g.compact().unwrap();
        let read: BTreeSet<String> = self.net.g.weights().into_iter().map(|(n, _)| n).collect();
        self.net.facts.retain(|n, _| read.contains(n));
        self.kinds.retain(|n, _| read.contains(n));
        self
    }

    /// Axes along the shuffled rows of a weight that may have another order.
    fn axes(&self, c: &Coupling) -> Vec<usize> {
        let along = |s: usize| {
            let rows = |m: &spc_ir::couple::Carrier| {
                m.places.iter().any(|p| p.dim == 0) && self.kinds.get(&m.weight).is_some_and(|k| k.shuffled)
            };
            c.sets[s].size == F && c.sets[s].members.iter().any(rows)
        };
        (0..c.sets.len()).filter(|s| along(*s) && c.ordered(&[&self.net.g], *s).unwrap().is_empty()).collect()
    }

    /// Splits of the weights with outliers; `of` says which weight of the program stands behind a name.
    fn splits(&self, g: &Graph, of: &BTreeMap<String, String>) -> Vec<Split> {
        let mut out = Vec::new();
        for n in g.order().unwrap() {
            if !matches!(g.node(n).unwrap().op, Op::Linear { .. }) {
                continue;
            }
            let Ok(weight) = splittable(g, n).unwrap() else { continue };
            let first = of.get(&weight).unwrap_or(&weight);
            if self.kinds.get(first).is_some_and(|k| k.outliers) {
                out.push(Split { linear: n, weight, fit: FIT });
            }
        }
        out
    }
}

type Made = (BTreeMap<String, WeightFacts>, BTreeMap<String, Vec<f32>>, BTreeMap<String, String>);

/// Facts and values of the weights that these orders make, and which weight each is made of.
fn made(v: &Valued, c: &Coupling, chosen: &BTreeMap<usize, Order>) -> Made {
    let mut out = Made::default();
    for (name, list) in moves(c, chosen) {
        let w = moved(&[N, N], &values(v.kinds[&name]), &list).unwrap();
        let new = moved_name(&name, &list);
        out.0.insert(new.clone(), facts(&w));
        out.1.insert(new.clone(), w);
        out.2.insert(new, name);
    }
    out
}

fn parts(s: &Split, w: &[f32]) -> [(String, WeightFacts); 2] {
    [true, false].map(|kept| (split_name(&s.weight, &s.fit, kept), facts(&s.fit.part(N, w, kept))))
}

/// The graph with every order, and every split of what is there and of what the orders make.
fn offers(v: &Valued) -> All {
    let g = &v.net.g;
    let c = Coupling::of(&[g]).unwrap();
    let axes = v.axes(&c);
    let mut all = v.net.facts.clone();
    let (mut list, mut orders): (Vec<Fold>, Vec<Made>) = (Vec::new(), Vec::new());
    for choice in order_choices(&c, &axes) {
        let chosen = choice.iter().map(|i| (axes[*i], back())).collect();
        if let Some(f) = order_fold(g, &c, &chosen).unwrap() {
            list.push(f);
            let m = made(v, &c, &chosen);
            all.extend(m.0.clone());
            orders.push(m);
        }
    }
    let mut folded = with_folds(g, &list).unwrap();
    let mut names = BTreeSet::new();
    for within in std::iter::once(None).chain((0..orders.len()).map(Some)) {
        let world = within.map_or_else(|| g.clone(), |k| folded.with(&|i| i == k));
        let none = Made::default();
        let (_, ws, of) = within.map_or(&none, |k| &orders[k]);
        for s in v.splits(&world, of) {
            if within.is_some() && !of.contains_key(&s.weight) {
                continue;
            }
            let w = ws.get(&s.weight).cloned().unwrap_or_else(|| values(v.kinds[&s.weight]));
            let f = s.fold(&world).unwrap();
            names.extend(parts(&s, &w).map(|(n, _)| n));
            all.extend(parts(&s, &w));
            folded.add(within, std::slice::from_ref(&f)).unwrap();
            list.push(f);
        }
    }
    let whole = |s: &Siblings| !s.weights.iter().any(|w| names.contains(w));
    let groups = groups_with(g, &folded).unwrap().into_iter().filter(whole).collect();
    union_of(folded, list, groups, all)
}

/// The cheapest of all ways to order, split, merge and lay out, each as a graph of its own; the numbers of orders and splits in
/// it. Nothing where there are more than `limit` assignments of layouts.
fn cheapest(v: &Valued, table: &CostTable, tuned: &BTreeMap<String, u64>, limit: usize) -> Option<(u64, u32, u32)> {
    let g = &v.net.g;
    let c = Coupling::of(&[g]).unwrap();
    let axes = v.axes(&c);
    let mut best: Option<(u64, u32, u32)> = None;
    for order in 0..1u32 << axes.len() {
        let some = axes.iter().enumerate().filter(|(i, _)| order >> i & 1 == 1);
        let chosen: BTreeMap<usize, Order> = some.map(|(_, s)| (*s, back())).collect();
        let g = reordered(g, &moves(&c, &chosen)).unwrap();
        let (new, ws, of) = made(v, &c, &chosen);
        let mut facts = v.net.facts.clone();
        facts.extend(new);
        let (groups, _) = siblings(&g).unwrap();
        for merged in 0..1u32 << groups.len() {
            let some: Vec<&Siblings> =
                groups.iter().enumerate().filter(|(i, _)| merged >> i & 1 == 1).map(|(_, s)| s).collect();
            let linears: Vec<NodeId> = some.iter().flat_map(|s| s.linears.clone()).collect();
            if linears.iter().collect::<BTreeSet<_>>().len() != linears.len() {
                continue;
            }
            let mut facts = facts.clone();
            for s in &some {
                let list: Vec<_> = s.weights.iter().map(|w| (w.as_str(), &facts[w])).collect();
                let stacked = WeightFacts::stacked(&list);
                facts.insert(s.made(), stacked);
            }
            let list: Vec<_> = some.iter().map(|s| (*s, s.linears.as_slice())).collect();
            let g = if some.is_empty() { g.clone() } else { merge(&g, &list).unwrap() };
            let able = v.splits(&g, &of);
            for mask in 0..1u32 << able.len() {
                let taken: Vec<Split> =
                    able.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, s)| s.clone()).collect();
                let mut facts = facts.clone();
                for s in &taken {
                    let w = ws.get(&s.weight).cloned().unwrap_or_else(|| values(v.kinds[&s.weight]));
                    facts.extend(parts(s, &w));
                }
                let g = split(&g, &taken).unwrap();
                let Ok(model) = Model::new(&g, &facts, tuned) else { continue };
                let found = (cheapest_of(&model, table, limit, false)?, order.count_ones(), mask.count_ones());
                best = Some(best.map_or(found, |b| b.min(found)));
            }
        }
    }
    best
}

/// Random graphs of up to `ops` operators over weights of all kinds.
fn valued(ops: usize) -> impl Strategy<Value = Valued> {
    let op = (0u8..9, 0usize..KINDS.len(), 0usize..2, 0usize..3);
    prop::collection::vec(op, 2..=ops).prop_map(|list| {
        let mut v = Valued::new();
        let mut all = vec![v.net.x];
        for (kind, k, a, b) in list {
            let near = |back: usize| all[all.len() - 1 - back % all.len()];
            let (a, b) = (near(a), near(b));
            let y = match kind {
                0..=5 => v.linear(a, KINDS[k]),
                6 => v.net.relu(a),
                7 => v.net.plus(a, b),
                _ => v.net.centre(a),
            };
            all.push(y);
        }
        let last = all[all.len() - 1];
        v.output(last)
    })
}

impl std::fmt::Debug for Valued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}{:?}", self.net, self.kinds)
    }
}

/// What came of comparing random graphs.
#[derive(Debug, Default)]
struct Tally {
    solved: usize,
    too_large: usize,
    different: usize,
    /// Graphs with something on offer, and those whose best plan has orders, splits, and both.
    with_offers: usize,
    ordered: usize,
    split: usize,
    both: usize,
}

fn tally(graphs: usize, limit: usize) -> Tally {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let each = (valued(5), tables(), prop_oneof![Just(1u64), Just(24), Just(300)]);
    let mut out = Tally::default();
    while out.solved < graphs {
        let (v, table, b) = each.new_tree(&mut runner).unwrap().current();
        let tuned = BTreeMap::from([("B".to_string(), b)]);
        let Some((best, orders, splits)) = cheapest(&v, &table, &tuned, limit) else {
            out.too_large += 1;
            continue;
        };
        out.solved += 1;
        let all = offers(&v);
        let options = Options { why: false, ..Options::default() };
        let found = offered_with(&all.folded, &all.list, &all.groups, &all.facts, &table, &tuned, &options).unwrap();
        if found.total_ps != best || !found.exact {
            out.different += 1;
            eprintln!("{} and not {best}, folds {:?}\n{v:?}", found.total_ps, found.folds);
        }
        out.with_offers += usize::from(!all.list.is_empty());
        out.ordered += usize::from(orders > 0);
        out.split += usize::from(splits > 0);
        out.both += usize::from(orders > 0 && splits > 0);
    }
    out
}

#[test]
fn arranged_plans_of_random_graphs_are_the_best_ones() {
    let t = tally(120, 2_000);
    assert_eq!((t.solved, t.different), (120, 0), "{t:?}");
    assert!(t.ordered > 5 && t.split > 5 && t.both > 0, "{t:?}");
}

/// `cargo test --release -p spc-layout arranged_plans_of_ten_thousand -- --ignored --nocapture` prints the tally.
#[test]
#[ignore = "minutes; run in release"]
#[allow(clippy::print_stdout)]
fn arranged_plans_of_ten_thousand_random_graphs_are_the_best_ones() {
    let t = tally(10_000, 20_000);
    println!("{t:?}");
    assert_eq!((t.solved, t.different), (10_000, 0), "{t:?}");
}

/// A hidden axis between two linears, or the same axis as a result; outliers in a weight that is read once, or twice.
#[test]
fn the_rules_apply_where_they_should_and_only_there() {
    let hidden = |result: bool, k: Kind| {
        let mut v = Valued::new();
        let h = v.linear(v.net.x, k);
        let r = v.net.relu(h);
        let y = v.linear(r, KINDS[1]);
        let out = v.output(y);
        if result {
            let first =
                out.net.g.ids().into_iter().find(|n| matches!(out.net.g.node(*n).unwrap().op, Op::Linear { .. }));
            return out.output(first.unwrap());
        }
        out
    };
    let rules = |v: &Valued| applied_of(&offers(v));
    assert!(rules(&hidden(false, KINDS[2])).contains("reorder-axis"));
    assert!(!rules(&hidden(true, KINDS[2])).contains("reorder-axis"), "a result carries the axis");
    assert!(!rules(&hidden(false, KINDS[0])).contains("reorder-axis"), "nothing is out of order");
    assert!(rules(&hidden(false, KINDS[3])).contains("split-residual"));
    assert!(!rules(&hidden(false, KINDS[2])).contains("split-residual"), "nothing lies beyond the blocks");
    let mut twice = Valued::new();
    let h = twice.linear(twice.net.x, KINDS[3]);
    let w = twice.net.g.inputs(h)[1];
    let y = twice.net.g.add(Op::Linear { bias: false, act: None }, &[h, w]).unwrap();
    assert!(!rules(&twice.output(y)).contains("split-residual"), "the weight is read twice");
    let both = rules(&hidden(false, KINDS[4]));
    assert!(both.contains("split-residual") && both.contains("reorder-axis"), "{both:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn arranged_plans_are_proved_again(v in valued(4), table in tables()) {
        let steps = prove_all(&offers(&v), &table).map_err(TestCaseError::fail)?;
        prop_assert!(steps > 1);
    }
}
