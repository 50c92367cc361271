//! Which merged linears and which folds are worth it: the search over a graph with all of them on offer.
use crate::cost::Prices;
use crate::machine::Machine;
use crate::model::{Folds, Model, Offer};
use crate::space::{Action, explore, price, shape};
use crate::{Options, WeightFacts};
use spc_base::Bug;
use spc_formats::{CostFacts, Layout, Refusal};
use spc_ir::structure::{Fold, Folded, Siblings, siblings, with_folds};
use spc_ir::{Graph, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// What became of one group on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Linears that are parts of it in the best plan; none where it is not used.
    pub replaced: Vec<NodeId>,
    /// Price of the best plan that uses it, and the layout of its weight there.
    pub best: Option<(u64, Layout)>,
    /// The layout of each sibling in the best plan that uses nothing on offer.
    pub apart: Vec<Layout>,
}

/// What became of one fold on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldVerdict {
    /// Values whose place is taken in the best plan; none where it is not used.
    pub taken: Vec<NodeId>,
    /// Price of the best plan that uses it for one of them, and of the best one that does not.
    pub with_ps: Option<u64>,
    pub without_ps: Option<u64>,
}

/// What came of a search with offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Price of the best plan, and of the best one that uses nothing on offer.
    pub total_ps: u64,
    pub apart_ps: u64,
    /// Price of the best plan with dense weights only, whatever of what is on offer it uses.
    pub dense_ps: u64,
    /// For each group, in order.
    pub groups: Vec<Verdict>,
    /// For each fold, in order.
    pub folds: Vec<FoldVerdict>,
    /// False where a bound stopped the search.
    pub exact: bool,
}

impl WeightFacts {
    /// Facts of the weights stacked, each with its name: layouts that hold all of them, and of the others why not.
    pub fn stacked(parts: &[(&str, &WeightFacts)]) -> WeightFacts {
        let rows = parts.iter().map(|(_, f)| f.rows).fold(0, u64::saturating_add);
        let cols = parts.first().map_or(0, |(_, f)| f.cols);
        let mut layouts: Vec<Layout> = Vec::new();
        for (layout, _) in parts.iter().flat_map(|(_, f)| &f.candidates) {
            if !layouts.contains(layout) {
                layouts.push(*layout);
            }
        }
        let one = |layout: Layout| {
            let not_tried = Err(Refusal("it was not tried".into()));
            let own = |f: &&WeightFacts| f.candidates.iter().find(|(l, _)| *l == layout).map(|(_, r)| r.clone());
            let found: Vec<Result<CostFacts, Refusal>> =
                parts.iter().map(|(_, f)| own(f).unwrap_or_else(|| not_tried.clone())).collect();
            let list: Vec<_> = parts.iter().zip(&found).map(|((name, f), r)| (*name, f.rows, r)).collect();
            (layout, CostFacts::stacked(&layout, &list))
        };
        WeightFacts { rows, cols, candidates: layouts.into_iter().map(one).collect() }
    }

    fn has_dense(&self) -> bool {
        self.candidates.iter().any(|(l, r)| matches!(l, Layout::Dense { .. }) && r.is_ok())
    }
}

/// A graph with what is on offer, and the facts about all of its weights.
pub(crate) type Union = (Graph, BTreeMap<String, WeightFacts>, Vec<Offer>);

/// The graph with every group's merged linear beside what is there, and the facts about the merged weights.
pub(crate) fn with_offers(
    graph: &Graph,
    facts: &BTreeMap<String, WeightFacts>,
    groups: &[Siblings],
) -> Result<Union, Bug> {
    let (mut union, mut all, mut offers) = (graph.clone(), facts.clone(), Vec::new());
    for group in groups {
        let parts = group.weights.iter().map(|w| facts.get(w).map(|f| (w.as_str(), f))).collect::<Option<Vec<_>>>();
        let parts = parts.ok_or_else(|| Bug::new("a sibling without facts"))?;
        let stacked = WeightFacts::stacked(&parts);
        let replaced = if stacked.has_dense() { group.patch(graph)?.offer(&mut union)? } else { Vec::new() };
        let merged = match replaced.first() {
            Some((_, range)) => union.inputs(*range).first().copied().ok_or_else(|| Bug::new("a range of nothing"))?,
            None => NodeId(u32::MAX),
        };
        all.insert(group.made(), stacked);
        offers.push(Offer { merged, replaced });
    }
    Ok((union, all, offers))
}

/// Up to so many folds, groups are looked for with every choice of them taken.
const EVERY_CHOICE_UP_TO: usize = 4;

/// Groups of siblings of a graph with folds: those of the graph as it is, and those with a linear that a fold makes. Of many
/// folds all are taken, each alone, and all but each.
///
/// # Errors
/// As [`siblings`].
pub fn groups_with(graph: &Graph, folded: &Folded) -> Result<Vec<Siblings>, Bug> {
    let mut out = siblings(graph)?.0;
    let n = folded.pairs.len();
    let old: BTreeSet<NodeId> = graph.ids().into_iter().collect();
    let mut seen: BTreeSet<Vec<NodeId>> = out.iter().map(|g| g.linears.clone()).collect();
    let mut look = |taken: &dyn Fn(usize) -> bool| -> Result<(), Bug> {
        let found = siblings(&folded.with(taken))?.0;
        let new = found.into_iter().filter(|g| g.linears.iter().any(|n| !old.contains(n)));
        out.extend(new.filter(|g| seen.insert(g.linears.clone())));
        Ok(())
    };
    if n <= EVERY_CHOICE_UP_TO {
        for mask in 1..1usize << n {
            look(&|i| mask >> i & 1 == 1)?;
        }
        return Ok(out);
    }
    look(&|_| true)?;
    for one in 0..n {
        look(&|i| i == one)?;
        look(&|i| i != one)?;
    }
    Ok(out)
}

/// The folds as the model takes them.
pub(crate) fn as_model(folded: &Folded, folds: &[Fold]) -> Folds {
    let name = |f: &Fold| f.rule.split(' ').next().unwrap_or_default();
    let one = |(f, pairs): (&Fold, &Vec<(NodeId, NodeId)>)| {
        pairs.iter().map(|(old, new)| (name(f), *old, *new)).collect::<Vec<_>>()
    };
    let list: Vec<_> = folds.iter().zip(&folded.pairs).flat_map(one).collect();
    let worlds = (0..folded.pairs.len()).map(|k| folded.with(&|i| i == k)).collect();
    Folds { list, worlds }
}

/// Searches the plans of `graph` in which groups of siblings may be one linear.
///
/// # Errors
/// As [`crate::choose`].
pub fn offered<'m>(
    graph: &Graph,
    groups: &[Siblings],
    facts: &BTreeMap<String, WeightFacts>,
    machine: impl Into<Machine<'m>>,
    tuned_for: &BTreeMap<String, u64>,
    options: &Options,
) -> Result<Offered, Bug> {
    offered_with(&with_folds(graph, &[])?, &[], groups, facts, machine, tuned_for, options)
}

/// As [`offered`], of a graph with folds beside what they may replace. `facts` has those of the weights that the folds make.
///
/// # Errors
/// As [`crate::choose`].
pub fn offered_with<'m>(
    folded: &Folded,
    list: &[Fold],
    groups: &[Siblings],
    facts: &BTreeMap<String, WeightFacts>,
    machine: impl Into<Machine<'m>>,
    tuned_for: &BTreeMap<String, u64>,
    options: &Options,
) -> Result<Offered, Bug> {
    let machine = machine.into();
    let (union, facts, offers) = with_offers(&folded.union, facts, groups)?;
    let usable: Vec<Offer> = offers.iter().filter(|o| !o.replaced.is_empty()).cloned().collect();
    let folds = as_model(folded, list);
    let model = Model::with_folds(&union, &facts, tuned_for, &usable, &folds)?.on(machine);
    let prices = Prices { model: &model, machine, syms: &model.syms, measured: &[] };
    let space = explore(&model, options, false)?;
    let shape = shape(&model, &space)?;
    let no_plan = || Bug::new("the rules give no plan");
    let value = |n: NodeId| model.values.iter().position(|v| v.node == Some(n));
    let instead: BTreeSet<usize> = folds.list.iter().filter_map(|f| value(f.2)).collect();
    let merged: BTreeSet<usize> = usable.iter().filter_map(|o| value(o.merged)).collect();
    let apart = |a: &Action| match a {
        Action::Part { of, .. } => !merged.contains(of),
        Action::Same { .. } => false,
        Action::Linear { linear, .. } => !instead.contains(linear),
        _ => true,
    };
    let dense = |a: &Action| !matches!(a, Action::Linear { layout, .. } if !model.is_dense(*layout));
    let solve = |allow: &dyn Fn(&Action) -> bool| -> Result<_, Bug> {
        let Some(p) = price(&shape, &prices, allow)? else { return Ok(None) };
        let s = p.frontier(options.width);
        Ok(s.map(|s| (p, s)))
    };
    let (Some((priced, best)), Some((split, alone))) = (solve(&|_| true)?, solve(&apart)?) else {
        if space.bounds.is_empty() {
            return Err(no_plan());
        }
        let none = Verdict { replaced: vec![], best: None, apart: vec![] };
        let groups = vec![none; groups.len()];
        let none = FoldVerdict { taken: vec![], with_ps: None, without_ps: None };
        let folds = vec![none; list.len()];
        return Ok(Offered { total_ps: u64::MAX, apart_ps: 0, dense_ps: 0, groups, folds, exact: false });
    };
    // As cheap is not cheaper: the program then stays as it is.
    let better = best.cost < alone.cost;
    let used: BTreeSet<(usize, usize)> = best
        .picks
        .iter()
        .filter(|_| better)
        .filter_map(|(c, i)| match priced.classes[*c as usize][*i].action {
            Action::Part { value, of } => Some((value, of)),
            _ => None,
        })
        .collect();
    let mut own: BTreeMap<usize, Layout> = BTreeMap::new();
    for (c, i) in &alone.picks {
        if let Action::Linear { linear, layout, .. } = split.classes[*c as usize][*i].action {
            own.extend(model.layouts.get(layout as usize).map(|l| (linear, *l)));
        }
    }
    // For each merged linear the cheapest plan that has it.
    let mut cheapest: BTreeMap<usize, (u64, u32)> = BTreeMap::new();
    let marginals = if options.why { priced.marginals(options.width) } else { None };
    for (class, costs) in priced.classes.iter().zip(marginals.iter().flatten()) {
        for (choice, ps) in class.iter().zip(costs) {
            if let Action::Linear { linear, layout, .. } = choice.action {
                let at = cheapest.entry(linear).or_insert((*ps, layout));
                *at = (*at).min((*ps, layout));
            }
        }
    }
    let made = |a: &Action| match *a {
        Action::Linear { linear, epilogue, .. } => [Some(linear), epilogue],
        Action::Map { value, .. } | Action::Opaque { value } | Action::Part { value, .. } => [Some(value), None],
        _ => [None, None],
    };
    let computed: BTreeSet<usize> = best
        .picks
        .iter()
        .filter(|_| better)
        .flat_map(|(c, i)| made(&priced.classes[*c as usize][*i].action))
        .flatten()
        .collect();
    // The cheapest plan in which each value is computed.
    let mut cost_of: BTreeMap<usize, u64> = BTreeMap::new();
    for (class, costs) in priced.classes.iter().zip(marginals.iter().flatten()) {
        for (choice, ps) in class.iter().zip(costs).filter(|(_, ps)| **ps != u64::MAX) {
            for v in made(&choice.action).into_iter().flatten() {
                let at = cost_of.entry(v).or_insert(*ps);
                *at = (*at).min(*ps);
            }
        }
    }
    let fold = |pairs: &Vec<(NodeId, NodeId)>| {
        let new = |n: &NodeId| value(*n);
        let taken = pairs.iter().filter(|(_, n)| new(n).is_some_and(|v| computed.contains(&v))).map(|(old, _)| *old);
        FoldVerdict {
            taken: taken.collect(),
            with_ps: pairs.iter().filter_map(|(_, n)| cost_of.get(&new(n)?).copied()).min(),
            without_ps: pairs.iter().filter_map(|(old, _)| cost_of.get(&value(*old)?).copied()).min(),
        }
    };
    let fold_verdicts = folded.pairs.iter().map(fold).collect();
    let mut verdicts = Vec::new();
    for (group, offer) in groups.iter().zip(&offers) {
        let of = value(offer.merged);
        let replaced = group.linears.iter().filter(|n| value(**n).zip(of).is_some_and(|k| used.contains(&k)));
        let layout = |(ps, l): &(u64, u32)| Some((*ps, *model.layouts.get(*l as usize)?));
        verdicts.push(Verdict {
            replaced: replaced.copied().collect(),
            best: of.and_then(|v| cheapest.get(&v)).filter(|b| b.0 != u64::MAX).and_then(layout),
            apart: group.linears.iter().filter_map(|n| own.get(&value(*n)?).copied()).collect(),
        });
    }
    let dense_ps = solve(&dense)?.map_or(alone.cost, |(_, s)| s.cost);
    Ok(Offered {
        total_ps: best.cost,
        apart_ps: alone.cost,
        dense_ps,
        groups: verdicts,
        folds: fold_verdicts,
        exact: best.exact && space.bounds.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CostTable;
    use crate::testing::{Net, Zeros, union};
    use spc_ir::structure::siblings;

    /// Decoder layers with attention and a gated feed-forward, the sums of products put together pointwise.
    fn decoder(layers: usize) -> Net {
        let mut net = Net::new();
        let mut x = net.x;
        for _ in 0..layers {
            let n = net.centre(x);
            let [q, k, v] = [Zeros::TwoOfFour; 3].map(|z| net.linear(n, z));
            let a = net.mixed(q, k);
            let a = net.mixed(a, v);
            let o = net.linear(a, Zeros::TwoOfFour);
            x = net.plus(x, o);
            let n = net.centre(x);
            let [g, u] = [Zeros::Vectors; 2].map(|z| net.linear(n, z));
            let h = net.mixed(g, u);
            let d = net.linear(h, Zeros::Vectors);
            x = net.plus(x, d);
        }
        let y = net.exp(x);
        net.output(y)
    }

    /// E-nodes grow with the layers and not faster, and no bound is near: `docs/benchmarks.md` has the numbers.
    /// `cargo test -p spc-layout nodes_grow -- --nocapture` prints them.
    #[test]
    #[allow(clippy::print_stdout)]
    fn nodes_grow_with_the_layers_and_stay_below_the_bound() {
        let nodes = |layers: usize| {
            let net = decoder(layers);
            let all = union(&net);
            let model = all.model(&BTreeMap::new());
            let options = Options::default();
            let space = explore(&model, &options, false).unwrap();
            assert!(space.bounds.is_empty(), "{:?}", space.bounds);
            let (nodes, values) = (space.eg.total_number_of_nodes(), model.values.len());
            let shape = shape(&model, &space).unwrap();
            let table = CostTable::clif_x86_64_v1();
            let prices = Prices { model: &model, machine: (&table).into(), syms: &model.syms, measured: &[] };
            let solved = price(&shape, &prices, &|_| true).unwrap().unwrap().frontier(options.width).unwrap();
            assert!(solved.exact);
            println!("{layers} layers: {values} values, {nodes} e-nodes, {} states at most", solved.width);
            assert!(nodes < values * options.nodes_per_value / 4, "{nodes} nodes of {values} values");
            nodes
        };
        let (one, two, thirty) = (nodes(1), nodes(2), nodes(30));
        assert!(thirty <= 29 * (two - one) + one + 64, "{one}, {two}, {thirty}");
    }

    #[test]
    fn a_verdict_says_what_was_merged_and_what_it_costs_where_it_was_not() {
        let net = decoder(1);
        let (groups, refused) = siblings(&net.g).unwrap();
        assert!(refused.is_empty());
        let table = CostTable::clif_x86_64_v1();
        let tuned = BTreeMap::from([("B".to_string(), 1)]);
        let run = |facts: &BTreeMap<String, WeightFacts>| {
            offered(&net.g, &groups, facts, &table, &tuned, &Options::default()).unwrap()
        };
        let found = run(&net.facts);
        assert!(found.exact && found.total_ps < found.apart_ps && found.total_ps < found.dense_ps);
        let taken: Vec<usize> = found.groups.iter().map(|v| v.replaced.len()).filter(|n| *n > 0).collect();
        assert_eq!(taken, [3, 2], "{found:?}");
        // Two linears in one launch less are cheaper by it, so a launch that costs nothing and no traffic merge nothing.
        let mut free = table.clone();
        (free.launch_ps, free.activation_bytes_per_us) = (0, u64::MAX);
        let found = offered(&net.g, &groups, &net.facts, &free, &tuned, &Options::default()).unwrap();
        assert!(found.groups.iter().all(|v| v.replaced.is_empty()) && found.total_ps == found.apart_ps, "{found:?}");
        // Rows that share a block with a neighbour's: no layout is left but those of single rows.
        let (a, b) = (&net.facts["w0"], &net.facts["w1"]);
        let odd = WeightFacts { rows: 31, ..a.clone() };
        let stacked = WeightFacts::stacked(&[("a", &odd), ("b", b)]);
        let usable: Vec<String> =
            stacked.candidates.iter().filter(|(_, r)| r.is_ok()).map(|(l, _)| l.kind().to_string()).collect();
        assert!(usable.iter().all(|k| ["nm", "csr", "csr16"].contains(&k.as_str())), "{usable:?}");
        assert!(!stacked.has_dense());
    }
}
