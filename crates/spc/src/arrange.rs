//! Axes in another order, siblings as one and weights as sums of two, offered to one search: orders with all else, and with the
//! splits of what they make; then siblings and splits of the weights as they are; then splits of what was merged.
use crate::structure::{Case, Found, merged};
use crate::{reorder, split};
use spc_base::Bug;
use spc_ir::structure::{Fold, MERGE, Restructure, Siblings, Split, reordered, siblings, with_folds};
use spc_ir::{Graph, NodeId};
use spc_layout::{Offered, WeightFacts, groups_with, offered_with};
use std::collections::{BTreeMap, BTreeSet};

/// The plan of a graph in which axes are in another order, siblings merged and weights split where that is cheaper. `steps` made
/// the graph.
pub fn ordered(
    graph: Graph,
    facts: BTreeMap<String, WeightFacts>,
    case: &Case<'_>,
    groups: Vec<Siblings>,
    steps: &[Restructure],
) -> Result<Found, Bug> {
    if case.dense {
        return merged(graph, facts, case, groups, Vec::new());
    }
    let (mut orders, mut told) = reorder::offers(&graph, &facts, case, steps)?;
    let taken = if orders.is_empty() { None } else { orders_taken(&graph, &facts, case, &mut orders, steps)? };
    let Some(Taken { found, orders: chosen, left }) = taken else {
        let (g, f, mut p) = divided(graph, facts, case, groups, steps)?;
        p.structure.append(&mut told);
        return Ok((g, f, p));
    };
    told.extend(left);
    if chosen.is_empty() {
        let (g, f, mut p) = divided(graph, facts, case, groups, steps)?;
        if found.exact {
            p.dense_ps = p.dense_ps.min(found.dense_ps);
        }
        p.structure.append(&mut told);
        return Ok((g, f, p));
    }
    let mut all = facts;
    let (mut moves, mut made) = (BTreeMap::new(), Vec::new());
    for o in orders.iter().enumerate().filter(|(i, _)| chosen.contains(i)).map(|(_, o)| o) {
        all.extend(o.facts.clone());
        moves.extend(o.moves.clone());
        made.extend(o.steps.iter().cloned());
    }
    let moved = reordered(&graph, &moves)?;
    let groups = siblings(&moved)?.0;
    let (g, f, mut p) = divided(moved, all, case, groups, &[steps, &made].concat())?;
    if p.exact && p.total_ps > found.total_ps {
        let text = format!("the plan in another order costs {} ps, the search said {} ps", p.total_ps, found.total_ps);
        return Err(Bug::new(text));
    }
    p.structure.splice(0..0, made);
    p.structure.append(&mut told);
    p.dense_ps = p.dense_ps.min(found.dense_ps);
    Ok((g, f, p))
}

/// Orders that the cheapest plan takes, by their places, and what is told of the others.
struct Taken {
    found: Offered,
    orders: Vec<usize>,
    left: Vec<Restructure>,
}

/// The search with orders, merged siblings, and splits of the weights as they are and in each of the orders. An order of which
/// the best plan takes a part only, so that what carries the axis is computed twice, is not offered again. Nothing where a bound
/// stopped the search.
fn orders_taken(
    graph: &Graph,
    facts: &BTreeMap<String, WeightFacts>,
    case: &Case<'_>,
    orders: &mut Vec<reorder::Offer>,
    steps: &[Restructure],
) -> Result<Option<Taken>, Bug> {
    loop {
        let mut folds: Vec<Fold> = orders.iter().map(|o| o.fold.clone()).collect();
        let mut folded = with_folds(graph, &folds)?;
        let mut all = facts.clone();
        orders.iter().for_each(|o| all.extend(o.facts.clone()));
        // Of each part of a split the weight that it is of.
        let mut parts: BTreeMap<String, String> = BTreeMap::new();
        for within in std::iter::once(None).chain((0..orders.len()).map(Some)) {
            let order = within.and_then(|k| orders.get(k));
            let world = within.map_or_else(|| graph.clone(), |k| folded.with(&|i| i == k));
            let only = |n: &str| order.is_none_or(|o| o.facts.contains_key(n));
            let steps = [steps, order.map_or(&[][..], |o| &o.steps)].concat();
            let (splits, _) = split::offers(&world, &all, case, &steps, &only)?;
            for s in &splits {
                parts.extend(s.parts().map(|(n, _)| (n, s.split.weight.clone())));
                all.extend(s.parts());
                folded.add(within, std::slice::from_ref(&s.fold))?;
                folds.push(s.fold.clone());
            }
        }
        let whole = |g: &Siblings| !g.weights.iter().any(|w| parts.contains_key(w));
        let groups: Vec<Siblings> = groups_with(graph, &folded)?.into_iter().filter(whole).collect();
        let found = offered_with(&folded, &folds, &groups, &all, case.machine, case.tuned, case.options)?;
        if !found.exact {
            return Ok(None);
        }
        let nodes: BTreeSet<NodeId> = found.folds.iter().flat_map(|v| v.taken.iter().copied()).collect();
        let read: BTreeSet<String> =
            folded.reads(&nodes).into_iter().map(|n| parts.get(&n).cloned().unwrap_or(n)).collect();
        let made = |o: &reorder::Offer| o.steps.iter().filter_map(|s| s.made.clone()).collect::<BTreeSet<String>>();
        let mut chosen: Vec<usize> = Vec::new();
        let mut explained: BTreeSet<String> = BTreeSet::new();
        for (i, o) in orders.iter().enumerate() {
            let made = made(o);
            if made.is_subset(&read) && made.is_disjoint(&explained) && !o.moves.keys().any(|n| read.contains(n)) {
                chosen.push(i);
                explained.extend(made);
            }
        }
        let in_part = |(i, o): (usize, &reorder::Offer)| {
            !chosen.contains(&i) && made(o).iter().any(|n| read.contains(n) && !explained.contains(n))
        };
        if let Some(i) = orders.iter().enumerate().find_map(|(i, o)| in_part((i, o)).then_some(i)) {
            orders.remove(i);
            if orders.is_empty() {
                return Ok(None);
            }
            continue;
        }
        let moved: BTreeSet<&String> =
            chosen.iter().filter_map(|i| orders.get(*i)).flat_map(|o| o.moves.keys()).collect();
        let mut left = Vec::new();
        for (i, (o, v)) in orders.iter().zip(&found.folds).enumerate() {
            if o.single && !chosen.contains(&i) && !o.moves.keys().any(|n| moved.contains(n)) {
                left.extend(o.not_taken(v.with_ps.unwrap_or(found.total_ps).saturating_sub(found.total_ps)));
            }
        }
        return Ok(Some(Taken { found, orders: chosen, left }));
    }
}

/// The plan of a graph in which siblings are merged and weights split where that is cheaper, those that are merged among them.
/// `steps` made the graph.
fn divided(
    graph: Graph,
    facts: BTreeMap<String, WeightFacts>,
    case: &Case<'_>,
    groups: Vec<Siblings>,
    steps: &[Restructure],
) -> Result<Found, Bug> {
    let (splits, told) = split::offers(&graph, &facts, case, steps, &|_| true)?;
    let (graph, facts, plan) = merged(graph, facts, case, groups, splits)?;
    let merged_now = |n: &str| plan.structure.iter().any(|s| s.rule == MERGE && s.made.as_deref() == Some(n));
    let (later, more) = split::offers(&graph, &facts, case, &[steps, &plan.structure].concat(), &merged_now)?;
    let (graph, facts, mut plan) = if later.is_empty() {
        (graph, facts, plan)
    } else {
        let (g, f, mut p) = merged(graph, facts, case, Vec::new(), later)?;
        p.structure.splice(0..0, plan.structure);
        p.dense_ps = p.dense_ps.min(plan.dense_ps);
        (g, f, p)
    };
    // Of weights that stand in another one now there is nothing to tell.
    let read: BTreeSet<String> = graph.weights().into_iter().map(|(n, _)| n).collect();
    plan.structure.extend(told.into_iter().filter(|s| s.from.iter().all(|n| read.contains(n))));
    plan.structure.extend(more);
    Ok((graph, facts, plan))
}

/// Splits of the same weights in another graph.
pub fn again(graph: &Graph, splits: &[&split::Offer]) -> Result<Vec<Split>, Bug> {
    let one = |s: &&split::Offer| {
        let node = reorder::reader(graph, &s.split.weight)?;
        let linear = node.ok_or_else(|| Bug::new(format!("nothing reads `{}`", s.split.weight)))?;
        Ok(Split { linear, ..s.split.clone() })
    };
    splits.iter().map(one).collect()
}
