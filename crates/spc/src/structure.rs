//! Changes of structure before layouts are chosen: what folds into weights, axes in another order, linears that read one value
//! as one, and weights as sums of two; each where that is cheaper. Everything is offered to the e-graph of `spc-layout`, which
//! decides: folds with merged linears in rounds, then orders with merged linears and splits at once.
use crate::failure::Res;
use crate::weights::{Weight, WeightSet};
use crate::{arrange, fold, split};
use spc_base::Bug;
use spc_formats::Layout;
use spc_ir::structure::{
    Fold, MERGE, Move, REORDER, Recipe, Restructure, SPLIT, Siblings, Split, merge, moves_of, reordered, siblings,
    splittable, with_folds,
};
use spc_ir::{Graph, NodeId, Op, Plan, Require};
use spc_layout::{Machine, Offered, Options, Verdict, WeightFacts, choose, groups_with, offered_with};
use spc_report::picoseconds;
use std::collections::{BTreeMap, BTreeSet};

/// What a plan is made of.
pub struct Case<'a> {
    pub machine: Machine<'a>,
    pub tuned: &'a BTreeMap<String, u64>,
    pub options: &'a Options,
    /// Values of the weights, where folds, orders and splits may be offered.
    pub weights: Option<&'a WeightSet>,
    /// Whether weights are dense whatever they hold: then no order and no split leaves out any work.
    pub dense: bool,
    /// Constraints of the program, whatever was left out of it since.
    pub requires: &'a [Require],
}

impl Case<'_> {
    /// The values of a weight of the program, or of one that these steps make; nothing where they are not at hand.
    pub fn value(&self, name: &str, steps: &[Restructure]) -> Option<Weight> {
        self.weights.and_then(|w| fold::value(name, steps, w).ok())
    }
}

/// A graph in some structure, the facts about its weights, and its plan.
pub type Found = (Graph, BTreeMap<String, WeightFacts>, Plan);

/// The plan of a graph in the structure that is cheapest, and the graph in that structure.
///
/// Folds come first: a round takes those that the cheapest plan takes, whatever it merges, and the next one looks at what is
/// then there. Siblings are merged in the last round, which takes none.
///
/// # Errors
/// As [`choose`].
pub fn plan(graph: Graph, mut facts: BTreeMap<String, WeightFacts>, case: &Case<'_>) -> Result<Found, Bug> {
    let (mut graph, mut steps, mut told, mut dense) = (graph, Vec::new(), Vec::new(), u64::MAX);
    for round in 0..=fold::ROUNDS {
        let (mut list, refused) = match case.weights.filter(|_| round < fold::ROUNDS) {
            Some(w) => fold::possible(&graph, &mut facts, &steps, (w, case.requires))?,
            None => (Vec::new(), Vec::new()),
        };
        told.extend(refused);
        let (folded, groups, found) = loop {
            let folded = with_folds(&graph, &list)?;
            let groups = groups_with(&graph, &folded)?;
            if list.is_empty() {
                break (folded, groups, None);
            }
            let found = offered_with(&folded, &list, &groups, &facts, case.machine, case.tuned, case.options)?;
            let part = fold::in_part(&list, &found);
            if !part.contains(&true) {
                break (folded, groups, Some(found));
            }
            for (f, _) in list.iter().zip(&part).filter(|(_, p)| **p) {
                told.push(f.refused("only a part of what reads it would take less time".into()));
            }
            let mut kept = part.iter().map(|p| !p);
            list.retain(|_| kept.next().unwrap_or(false));
        };
        if let Some(found) = &found {
            told.extend(fold::left(&list, found));
            if found.exact {
                dense = dense.min(found.dense_ps);
            }
            if found.exact
                && let Some((g, new)) = fold::taken(&folded, &list, found)?
            {
                steps.extend(new);
                graph = g;
                continue;
            }
        }
        if !steps.is_empty() {
            // Constraints speak of the weights as they were.
            graph.requires.clear();
        }
        let bound = found.as_ref().is_some_and(|f| !f.exact);
        let (graph, facts, mut plan) = arrange::ordered(graph, facts, case, groups, &steps)?;
        if bound {
            plan.bounds.push("structure: a bound stopped the search, so nothing was folded".into());
            plan.exact = false;
        }
        let mut rules: Vec<String> = Vec::new();
        for s in &steps {
            if !rules.contains(&s.rule) {
                rules.push(s.rule.clone());
            }
        }
        plan.rules.splice(0..0, rules);
        plan.dense_ps = plan.dense_ps.min(dense);
        steps.extend(told);
        steps.append(&mut plan.structure);
        plan.structure = steps;
        with_rules(&mut plan);
        return Ok((graph, facts, plan));
    }
    Err(Bug::new("folding does not come to an end"))
}

/// Names the rules of what is made, first.
fn with_rules(plan: &mut Plan) {
    let mut rules: Vec<String> = Vec::new();
    for s in plan.structure.iter().filter(|s| s.made.is_some()) {
        if !rules.contains(&s.rule) && !plan.rules.contains(&s.rule) {
            rules.push(s.rule.clone());
        }
    }
    plan.rules.splice(0..0, rules);
}

/// The plan of a graph in which siblings are merged and weights split where that is cheaper.
pub fn merged(
    graph: Graph,
    facts: BTreeMap<String, WeightFacts>,
    case: &Case<'_>,
    groups: Vec<Siblings>,
    splits: Vec<split::Offer>,
) -> Result<Found, Bug> {
    let old: BTreeSet<NodeId> = graph.ids().into_iter().collect();
    // Without folds, which are taken or refused by now.
    let groups: Vec<Siblings> = groups.into_iter().filter(|g| g.linears.iter().all(|n| old.contains(n))).collect();
    let (_, refused) = siblings(&graph)?;
    let layouts =
        |g: &Graph, facts: &BTreeMap<String, WeightFacts>| choose(g, facts, case.machine, case.tuned, case.options);
    let mut steps: Vec<Restructure> = Vec::new();
    for (weight, because) in refused {
        let from = vec![weight];
        steps.push(Restructure { rule: MERGE.into(), from, rows: vec![], made: None, because, how: None });
    }
    if groups.is_empty() && splits.is_empty() {
        let mut plan = layouts(&graph, &facts)?;
        plan.structure = steps;
        return Ok((graph, facts, plan));
    }
    let folds: Vec<Fold> = splits.iter().map(|s| s.fold.clone()).collect();
    let mut all = facts.clone();
    splits.iter().for_each(|s| all.extend(s.parts()));
    let folded = with_folds(&graph, &folds)?;
    let found = offered_with(&folded, &folds, &groups, &all, case.machine, case.tuned, case.options)?;
    let parted: Vec<&split::Offer> =
        splits.iter().zip(&found.folds).filter(|(_, v)| found.exact && !v.taken.is_empty()).map(|(s, _)| s).collect();
    let stay = |taken: &[&split::Offer]| {
        let left = splits.iter().zip(&found.folds).filter(|(s, _)| !taken.iter().any(|t| t.split == s.split));
        let more = |ps: Option<u64>| ps.unwrap_or(found.total_ps).saturating_sub(found.total_ps);
        left.map(|(s, v)| s.not_taken(more(v.with_ps))).collect::<Vec<_>>()
    };
    let whole = |(g, v): &(&Siblings, &Verdict)| found.exact && v.replaced.len() == g.linears.len();
    let taken: Vec<(&Siblings, &Verdict)> = groups.iter().zip(&found.groups).filter(whole).collect();
    let apart = |because: String, g: &Siblings| Restructure {
        rule: MERGE.into(),
        from: g.weights.clone(),
        rows: g.rows.clone(),
        made: None,
        because,
        how: None,
    };
    if !taken.is_empty() || !parted.is_empty() {
        let mut all = facts.clone();
        for (g, _) in &taken {
            let parts: Option<Vec<_>> = g.weights.iter().map(|w| Some((w.as_str(), facts.get(w)?))).collect();
            let stacked = WeightFacts::stacked(&parts.ok_or_else(|| Bug::new("a sibling without facts"))?);
            all.insert(g.made(), stacked);
        }
        parted.iter().for_each(|s| all.extend(s.parts()));
        let list: Vec<(&Siblings, &[NodeId])> = taken.iter().map(|(g, v)| (*g, v.replaced.as_slice())).collect();
        let stacked = if list.is_empty() { graph.clone() } else { merge(&graph, &list)? };
        let made_of = if parted.is_empty() {
            stacked
        } else {
            spc_ir::structure::split(&stacked, &arrange::again(&stacked, &parted)?)?
        };
        let mut plan = layouts(&made_of, &all)?;
        let every = found.groups.iter().filter(|v| !v.replaced.is_empty()).count() == taken.len();
        if every && plan.exact && plan.total_ps != found.total_ps {
            let text = format!("the merged plan costs {} ps, the search said {} ps", plan.total_ps, found.total_ps);
            return Err(Bug::new(text));
        }
        let part = |w: &str| parted.iter().any(|s| s.parts().any(|(n, _)| n == w));
        if plan.linears.iter().any(|l| part(&l.weight) && l.layout.starts_with("dense")) {
            // A dense part would store zeros where the other one has values.
            let (g, f, mut p) = merged(graph, facts, case, groups.clone(), Vec::new())?;
            p.structure.extend(stay(&[]));
            return Ok((g, f, p));
        }
        if plan.total_ps < found.apart_ps {
            for (g, v) in &taken {
                steps.extend(made(g, v, &plan));
            }
            let used: BTreeSet<NodeId> = taken.iter().flat_map(|(g, _)| g.linears.clone()).collect();
            let rest = widest(&groups, &found).into_iter().filter(|(g, _)| !g.linears.iter().any(|n| used.contains(n)));
            steps.extend(rest.map(|(g, v)| apart(why_apart(v, &found), g)));
            parted.iter().for_each(|s| steps.extend(s.steps()));
            let merged_now = |s: &Restructure| !taken.iter().any(|(g, _)| s.from.iter().any(|n| g.weights.contains(n)));
            steps.extend(stay(&parted).into_iter().filter(merged_now));
            plan.structure = steps;
            if !taken.is_empty() {
                plan.rules.insert(0, MERGE.into());
            }
            // What the program takes at best when dense.
            plan.dense_ps = found.dense_ps;
            return Ok((made_of, all, plan));
        }
    }
    let mut plan = layouts(&graph, &facts)?;
    if found.exact {
        plan.dense_ps = plan.dense_ps.min(found.dense_ps);
    } else {
        plan.bounds.push("structure: a bound stopped the search, so nothing was merged or split".into());
        plan.exact = false;
    }
    steps.extend(widest(&groups, &found).into_iter().map(|(g, v)| apart(why_apart(v, &found), g)));
    steps.extend(stay(&[]));
    plan.structure = steps;
    Ok((graph, facts, plan))
}

/// A plan of the same graph made anew, with what `before` says of the structure.
pub fn told_again(before: &Plan, plan: Plan) -> Plan {
    let mut out = Plan { structure: before.structure.clone(), ..plan };
    if out.structure.iter().any(|s| s.made.is_some()) {
        let made = |r: &&String| before.structure.iter().any(|s| s.made.is_some() && s.rule == **r);
        out.rules.splice(0..0, before.rules.iter().filter(made).cloned().collect::<Vec<_>>());
        out.dense_ps = before.dense_ps;
    }
    with_rules(&mut out);
    out
}

/// Of groups that share a linear the widest.
fn widest<'a>(groups: &'a [Siblings], found: &'a Offered) -> Vec<(&'a Siblings, &'a Verdict)> {
    let within = |g: &Siblings, o: &Siblings| {
        g.linears.len() < o.linears.len() && g.linears.iter().all(|n| o.linears.contains(n))
    };
    groups.iter().zip(&found.groups).filter(|(g, _)| !groups.iter().any(|o| within(g, o))).collect()
}

fn words(list: &[Layout]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn why_apart(v: &Verdict, found: &Offered) -> String {
    if !found.exact {
        return "a bound stopped the search, so nothing was merged".into();
    }
    match &v.best {
        Some((ps, layout)) => format!(
            "as one in {layout} the whole would take {} more; apart they are {}",
            picoseconds(ps.saturating_sub(found.total_ps)),
            words(&v.apart)
        ),
        None => format!("no layout holds them as one; apart they are {}", words(&v.apart)),
    }
}

/// The steps that a merged group is: its weight, and its bias if it has one.
fn made(g: &Siblings, v: &Verdict, plan: &Plan) -> Vec<Restructure> {
    let name = g.made();
    let layout = plan.linears.iter().find(|l| l.weight == name).map_or("", |l| l.layout.as_str());
    let because = format!("one kernel in {layout}; apart they would be {}", words(&v.apart));
    let step = |from: &[String], made: String, because: String| Restructure {
        rule: MERGE.into(),
        from: from.to_vec(),
        rows: g.rows.clone(),
        made: Some(made),
        because,
        how: None,
    };
    let mut out = vec![step(&g.weights, name, because)];
    if let Some(bias) = g.made_bias() {
        out.push(step(&g.biases, bias, "biases of what is merged".into()));
    }
    out
}

/// The graph with the structure that a plan from a file asks for, or the first step that cannot be taken.
pub fn apply(graph: &Graph, steps: &[Restructure]) -> Res<Result<Graph, Restructure>> {
    // What one name stands for is made in one way.
    let mut by_name: BTreeMap<&str, &Restructure> = BTreeMap::new();
    for (name, step) in steps.iter().filter_map(|s| Some((s.made.as_deref()?, s))) {
        let first = *by_name.entry(name).or_insert(step);
        if (&first.rule, &first.from, &first.rows, &first.how) != (&step.rule, &step.from, &step.rows, &step.how) {
            return Ok(Err(step.clone()));
        }
    }
    let mut graph = match fold::apply(graph, steps)? {
        Ok(g) => g,
        Err(step) => return Ok(Err(step)),
    };
    let made = |s: &&Restructure| s.made.is_some();
    if steps.iter().any(|s| made(&s)) {
        graph.requires.clear();
    }
    let taken: Vec<&Restructure> = steps.iter().filter(made).collect();
    // In the order in which a search takes them.
    let place = |s: &Restructure| match s.rule.as_str() {
        REORDER => 1,
        MERGE => 2,
        SPLIT => 3,
        _ => 0,
    };
    if let Some([_, late]) = taken.windows(2).find(|w| place(w[0]) > place(w[1])) {
        return Ok(Err((*late).clone()));
    }
    let of = |k: usize| taken.iter().copied().filter(|s| place(s) == k).collect::<Vec<_>>();
    // What is no fold, whatever its rule says it is.
    if let Some(odd) = of(0).into_iter().find(|s| !s.how.as_ref().is_some_and(Recipe::computes)) {
        return Ok(Err(odd.clone()));
    }
    let (orders, merges, splits) = (of(1), of(2), of(3));
    let graph = match moves_of(&graph, &orders)? {
        Ok(moves) if moves.is_empty() => graph,
        Ok(moves) => reordered(&graph, &moves)?,
        Err(i) => return Ok(Err(orders.get(i).copied().cloned().ok_or_else(|| Bug::new("a step vanished"))?)),
    };
    let graph = match stack(&graph, &merges)? {
        Ok(g) => g,
        Err(step) => return Ok(Err(step)),
    };
    Ok(apply_splits(&graph, &splits)?)
}

/// Merges what steps of a plan ask for.
fn stack(graph: &Graph, taken: &[&Restructure]) -> Result<Result<Graph, Restructure>, Bug> {
    if taken.is_empty() {
        return Ok(Ok(graph.clone()));
    }
    let (groups, _) = siblings(graph)?;
    let mut list: Vec<(&Siblings, &[NodeId])> = Vec::new();
    for step in taken {
        let is_bias = groups.iter().any(|g| g.biases == step.from && g.made_bias() == step.made);
        let group = groups.iter().find(|g| g.weights == step.from && Some(g.made()) == step.made);
        let fits = group.filter(|g| step.rule == MERGE && step.how.is_none() && g.rows == step.rows);
        // No linear twice.
        let free = |g: &&Siblings| !list.iter().any(|(o, _)| o.linears.iter().any(|n| g.linears.contains(n)));
        match fits.filter(free) {
            Some(g) => list.push((g, &g.linears)),
            None if is_bias && step.how.is_none() => {}
            None => return Ok(Err((*step).clone())),
        }
    }
    Ok(Ok(merge(graph, &list)?))
}

/// Splits what steps of a plan ask for: two of each weight, the structured part first.
fn apply_splits(graph: &Graph, steps: &[&Restructure]) -> Result<Result<Graph, Restructure>, Bug> {
    let mut list: Vec<Split> = Vec::new();
    for pair in steps.chunks(2) {
        let first = pair.first().ok_or_else(|| Bug::new("an empty pair"))?;
        let odd = Ok(Err((*first).clone()));
        let Some(Recipe::Split { fit, .. }) = first.how else { return odd };
        let [weight] = first.from.as_slice() else { return odd };
        let mut node = None;
        for (_, w) in graph.weights().into_iter().filter(|(n, _)| n == weight) {
            for r in graph.readers(w) {
                let reads = matches!(graph.node(r)?.op, Op::Linear { .. }) && graph.inputs(r).get(1) == Some(&w);
                node = node.or(reads.then_some((r, w)));
            }
        }
        let Some((linear, w)) = node else { return odd };
        let again = list.iter().any(|s| s.linear == linear);
        if again || fit.check().is_err() || splittable(graph, linear)?.is_err() {
            return odd;
        }
        let rows = graph.ty(w)?.dims.first().and_then(|d| d.size.fixed()).unwrap_or(0);
        let split = Split { linear, weight: weight.clone(), fit };
        // All but the reasons is what it would say itself.
        let want = split.steps(rows, [String::new(), String::new()]);
        let said: Vec<Restructure> =
            pair.iter().map(|s| Restructure { because: String::new(), ..(*s).clone() }).collect();
        if want != said {
            return odd;
        }
        list.push(split);
    }
    if list.is_empty() {
        return Ok(Ok(graph.clone()));
    }
    Ok(Ok(spc_ir::structure::split(graph, &list)?))
}

/// The tensor that a step makes of others, one below the other.
pub fn stacked(step: &Restructure, weights: &dyn Fn(&str) -> Result<Weight, Bug>) -> Result<Weight, Bug> {
    let (mut shape, mut values) = (Vec::new(), Vec::new());
    for (name, rows) in step.from.iter().zip(&step.rows) {
        let w = weights(name)?;
        let Some((n, rest)) = w.shape().split_first() else { return Err(Bug::new(format!("`{name}` is a scalar"))) };
        if *n as u64 != *rows || shape.get(1..).is_some_and(|s| s != rest) {
            return Err(Bug::new(format!("`{name}` has another shape than it was merged with")));
        }
        match shape.first_mut() {
            Some(sum) => *sum += n,
            None => shape = w.shape().to_vec(),
        }
        values.extend_from_slice(w.values());
    }
    Weight::new(shape, values.into())
}

/// The part of a made tensor that is `name`. Of a split weight it is one of two, see [`original`].
pub fn part(step: &Restructure, name: &str, made: &Weight) -> Result<Weight, String> {
    let odd = || format!("`{name}` is no part of what it was merged into");
    match (&step.how, step.from.as_slice()) {
        (None, _) => {}
        (Some(_), [from]) if from != name => return Err(odd()),
        (Some(Recipe::Split { .. }), [_]) => return Ok(made.clone()),
        (Some(Recipe::Reorder { moves }), [_]) => {
            let back = |m: &Move| Move { places: m.places.clone(), order: m.order.inverse() };
            let moves: Vec<Move> = moves.iter().rev().map(back).collect();
            let values = spc_ir::structure::moved(made.shape(), made.values(), &moves)?;
            return Weight::new(made.shape().to_vec(), values.into()).map_err(|b| b.0);
        }
        _ => return Err(odd()),
    }
    let (total, rest) = made.shape().split_first().ok_or_else(odd)?;
    let each = rest.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).ok_or_else(odd)?;
    let mut first = 0usize;
    let mut found = None;
    for (other, rows) in step.from.iter().zip(&step.rows) {
        let rows = usize::try_from(*rows).map_err(|_| odd())?;
        let end = first.checked_add(rows).filter(|e| e <= total).ok_or_else(odd)?;
        if other == name {
            let range = first * each..end * each;
            let shape = [&[rows], rest].concat();
            let values = made.values().get(range).ok_or_else(odd)?.to_vec();
            found = Some(Weight::new(shape, values.into()).map_err(|b| b.0)?);
        }
        first = end;
    }
    found.ok_or_else(odd)
}

/// The step of these plans that multiplies `name`.
pub fn step_of<'a>(plans: impl IntoIterator<Item = &'a Plan>, name: &str) -> Option<&'a Restructure> {
    let mut all = plans.into_iter().flat_map(|p| &p.structure);
    let holds = |s: &&Restructure| match &s.how {
        Some(Recipe::Scaled { .. }) => s.from.first().is_some_and(|f| f == name),
        _ => false,
    };
    all.find(|s| s.made.is_some() && holds(s))
}

/// Weights that the steps of a plan put into others, so that they need not be kept.
pub fn absorbed(plan: &Plan) -> impl Iterator<Item = &String> {
    plan.structure.iter().filter(|s| s.made.is_some()).flat_map(|s| {
        s.from.iter().take(match &s.how {
            None => s.from.len(),
            Some(Recipe::Shift { .. }) => 0,
            Some(_) => 1,
        })
    })
}

/// Adds everything that the steps of these plans make.
pub fn with_made<'a>(plans: impl IntoIterator<Item = &'a Plan>, weights: &WeightSet) -> Result<WeightSet, Bug> {
    let mut out = weights.clone();
    for plan in plans {
        for name in plan.structure.iter().filter_map(|s| s.made.as_ref()) {
            out.insert(name, fold::value(name, &plan.structure, &out)?);
        }
    }
    Ok(out)
}

/// Two parts of a weight of which one is 0 wherever the other is not.
fn sum(name: &str, a: &Weight, b: &Weight) -> Result<Weight, String> {
    let one = |(a, b): (&f32, &f32)| match (*a == 0.0, *b == 0.0) {
        (true, _) => Some(*b),
        (_, true) => Some(*a),
        _ => None,
    };
    let values: Option<Vec<f32>> = a.values().iter().zip(b.values()).map(one).collect();
    match values {
        Some(v) if a.shape() == b.shape() => Weight::new(a.shape().to_vec(), v.into()).map_err(|b| b.0),
        _ => Err(format!("the parts of `{name}` overlap")),
    }
}

/// A weight from what the steps made of it; `get` gives weights that are there. Nothing where they made nothing of it that
/// it can be had back from: products stay as they are.
///
/// # Errors
/// Where a made tensor is not there or has another shape, in words.
pub fn original(
    steps: &[Restructure],
    name: &str,
    get: &dyn Fn(&str) -> Option<Weight>,
) -> Result<Option<Weight>, String> {
    if let Some(w) = get(name) {
        return Ok(Some(w));
    }
    let mut out: Option<Weight> = None;
    let holds = |s: &Restructure| !s.how.as_ref().is_some_and(Recipe::computes) && s.from.iter().any(|f| f == name);
    for (i, step) in steps.iter().enumerate().filter(|(_, s)| holds(s)) {
        let (Some(made), Some(after)) = (&step.made, steps.get(i + 1..)) else { continue };
        let made = original(after, made, get)?.ok_or_else(|| format!("`{made}` is missing"))?;
        let p = part(step, name, &made)?;
        out = Some(match (out, &step.how) {
            (None, _) => p,
            (Some(w), Some(Recipe::Split { .. })) => sum(name, &w, &p)?,
            (Some(w), _) => w,
        });
    }
    Ok(out)
}

/// Adds everything that the steps of these plans put together, order or split, from what they make. Products stay as they are.
///
/// # Errors
/// Where a made tensor is not there or has another shape, in words.
pub fn restore<'a>(plans: impl IntoIterator<Item = &'a Plan>, weights: &WeightSet) -> Result<WeightSet, String> {
    let mut out = weights.clone();
    for plan in plans {
        let kept = |s: &&Restructure| s.made.is_some() && !s.how.as_ref().is_some_and(Recipe::computes);
        for name in plan.structure.iter().filter(kept).flat_map(|s| &s.from) {
            if out.get(name).is_none() {
                let found = original(&plan.structure, name, &|n| weights.get(n).cloned())?;
                out.insert(name, found.ok_or_else(|| format!("`{name}` is missing"))?);
            }
        }
    }
    Ok(out)
}

/// Bytes that a weight takes in what the steps made of it; a merged weight's rows share those of the whole, the last has what is
/// left.
pub fn made_bytes(steps: &[Restructure], name: &str, packed: &dyn Fn(&str) -> Vec<u64>) -> Vec<u64> {
    let mut out = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        if step.how.as_ref().is_some_and(Recipe::computes) {
            continue;
        }
        let (Some(made), Some(at)) = (&step.made, step.from.iter().position(|w| w == name)) else { continue };
        let all = step.rows.iter().sum::<u64>().max(1);
        let before = step.rows.iter().take(at).sum::<u64>();
        let end = before + step.rows.get(at).copied().unwrap_or(0);
        let share = |bytes: u64| bytes.saturating_mul(end) / all - bytes.saturating_mul(before) / all;
        let after = steps.get(i + 1..).unwrap_or_default();
        out.extend(packed(made).into_iter().chain(made_bytes(after, made, packed)).map(share));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use spc_ir::couple::Place;
    use spc_ir::structure::Order;
    use spc_layout::CostTable;

    /// Two linears of one input, and the difference of their sums, which no kernel of theirs can end with.
    fn pair() -> (Graph, BTreeMap<String, WeightFacts>) {
        let text = r#"graph "f" {
  sym B = 1..8
  %0 = input "x" : f32[B=?B, K=16]
  %1 = weight "a" : f32[O=16, K=16]
  %2 = weight "b" : f32[O=16, K=16]
  %3 = linear (%0, %1) : f32[B=?B, O=16]
  %4 = linear (%0, %2) : f32[B=?B, O=16]
  %5 = reduce sum [1] (%3) : f32[B=?B]
  %6 = reduce sum [1] (%4) : f32[B=?B]
  %7 = map (sub a0 a1) at [0] [0] (%5, %6) : f32[B=?B]
  output "y" = %7
}
"#;
        let facts = |_| WeightFacts::of(16, 16, &[1.0; 256], &[]).unwrap();
        (Graph::parse(text).unwrap(), ["a", "b"].map(|n| (n.to_string(), facts(n))).into())
    }

    #[test]
    fn a_bound_is_told_and_leaves_the_program_as_it_is() {
        let (g, facts) = pair();
        let (table, tuned) = (CostTable::clif_x86_64_v1(), BTreeMap::from([("B".to_string(), 1)]));
        let run = |options: &Options| {
            let case =
                Case { machine: (&table).into(), tuned: &tuned, options, weights: None, dense: false, requires: &[] };
            let (graph, _, p) = plan(g.clone(), facts.clone(), &case).unwrap();
            (graph, p)
        };
        let (graph, best) = run(&Options::default());
        assert!(best.exact && best.bounds.is_empty() && graph != g);
        assert_eq!(best.structure[0].made.as_deref(), Some("{a,b}"));
        for options in [Options { iterations: 0, ..Options::default() }, Options { width: 1, ..Options::default() }] {
            let (graph, p) = run(&options);
            assert!(!p.exact && graph == g, "{:?}", p.bounds);
            assert!(p.bounds.iter().any(|b| b.contains("nothing was merged")), "{:?}", p.bounds);
            assert!(p.structure.iter().all(|s| s.made.is_none()));
            assert!(p.total_ps >= best.total_ps);
        }
        // What a plan says is taken again; what it cannot say of this program is not.
        let again = apply(&g, &best.structure).unwrap().unwrap();
        assert_eq!(again, graph);
        let mut other = best.structure.clone();
        other[0].from.reverse();
        assert_eq!(apply(&g, &other).unwrap(), Err(other[0].clone()));
        let twice = [best.structure.clone(), best.structure.clone()].concat();
        assert!(apply(&g, &twice).unwrap().is_err());
    }

    #[test]
    fn parts_are_what_was_stacked() {
        let step = Restructure {
            rule: MERGE.into(),
            from: vec!["a".into(), "b".into()],
            rows: vec![1, 2],
            made: Some("{a,b}".into()),
            because: String::new(),
            how: None,
        };
        let mut set = WeightSet::default();
        set.insert("a", Weight::new(vec![1, 2], vec![1.0, 2.0].into()).unwrap());
        set.insert("b", Weight::new(vec![2, 2], vec![3.0, 4.0, 5.0, 6.0].into()).unwrap());
        let of = |set: &WeightSet, name: &str| set.want(name).cloned();
        let made = stacked(&step, &|n| of(&set, n)).unwrap();
        assert_eq!((made.shape(), made.values()), (&[3usize, 2][..], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]));
        let b = part(&step, "b", &made).unwrap();
        assert_eq!((b.shape(), b.values()), (&[2usize, 2][..], &[3.0, 4.0, 5.0, 6.0][..]));
        assert!(part(&step, "c", &made).is_err());
        let short = Weight::new(vec![2, 2], vec![0.0; 4].into()).unwrap();
        assert!(part(&step, "b", &short).is_err());
        set.insert("b", Weight::new(vec![2, 3], vec![0.0; 6].into()).unwrap());
        assert!(stacked(&step, &|n| of(&set, n)).is_err());
    }
    #[test]
    fn an_order_is_turned_back() {
        // No order that is its own inverse, along rows and along a part of the columns.
        let order = |o: &[u32]| Order::new(o.to_vec()).unwrap();
        let place = |dim, start, end| Place { dim, start, end, inner: 1 };
        let moves = vec![
            Move { places: vec![place(0, 0, 3)], order: order(&[1, 2, 0]) },
            Move { places: vec![place(1, 1, 5)], order: order(&[2, 0, 3, 1]) },
        ];
        let w = Weight::new(vec![3, 5], (0..15u8).map(f32::from).collect::<Vec<_>>().into()).unwrap();
        let values = spc_ir::structure::moved(w.shape(), w.values(), &moves).unwrap();
        let made = Weight::new(vec![3, 5], values.into()).unwrap();
        let step = Restructure {
            rule: REORDER.into(),
            from: vec!["a".into()],
            rows: vec![3],
            made: Some("a{order}".into()),
            because: String::new(),
            how: Some(Recipe::Reorder { moves }),
        };
        assert_ne!(made.values(), w.values());
        assert_eq!(part(&step, "a", &made).unwrap().values(), w.values());
        let found = original(&[step], "a", &|n| (n == "a{order}").then(|| made.clone())).unwrap().unwrap();
        assert_eq!((found.shape(), found.values()), (w.shape(), w.values()));
    }
}
