//! Folds of a graph whose weights are known: which may be offered, what they make, and what a plan says of them.
use crate::weights::{Weight, WeightSet};
use spc_base::Bug;
use spc_formats::{Form, Layout, Refusal};
use spc_ir::structure::{Fold, Folded, Recipe, Restructure, Tensor, folds, take, with_folds};
use spc_ir::{Graph, NodeId, Require};
use spc_layout::{FoldVerdict, Offered, WeightFacts};
use spc_report::picoseconds;
use std::collections::{BTreeMap, BTreeSet};

/// Rounds of folding: each may find what only shows after the one before.
pub const ROUNDS: usize = 4;

/// Whether a layout holds codes only, whatever the pattern of the values.
fn of_codes(layout: &Layout) -> bool {
    layout.needs_integers() || ["q4", "q8", "kept4", "kept8"].contains(&layout.kind())
}

/// The weight that a recipe makes.
pub fn computed(how: &Recipe, from: &[String], weights: &impl Fn(&str) -> Result<Weight, Bug>) -> Result<Weight, Bug> {
    let list = from.iter().map(|n| weights(n)).collect::<Result<Vec<Weight>, Bug>>()?;
    let parts: Vec<Tensor<'_>> = list.iter().map(|w| (w.shape(), w.values())).collect();
    let (shape, values) = how.make(&parts).map_err(|e| Bug::new(format!("{}: {e}", from.join(", "))))?;
    Weight::new(shape, values.into())
}

/// The weight of a program, or what these steps make of its weights.
pub fn value(name: &str, steps: &[Restructure], weights: &WeightSet) -> Result<Weight, Bug> {
    if let Some(w) = weights.get(name) {
        return Ok(w.clone());
    }
    let at = steps.iter().position(|s| s.made.as_deref() == Some(name));
    let step = at.and_then(|i| steps.get(i)).ok_or_else(|| Bug::new(format!("no weight `{name}`")))?;
    // A step is made of what the ones before it make.
    let earlier = steps.get(..at.unwrap_or(0)).unwrap_or_default();
    let of = |n: &str| value(n, earlier, weights);
    match &step.how {
        Some(how) => computed(how, &step.from, &of),
        None => crate::structure::stacked(step, &of),
    }
}

/// What may be folded, with the facts of what is made, and what may not, with the reason.
pub fn possible(
    graph: &Graph,
    facts: &mut BTreeMap<String, WeightFacts>,
    steps: &[Restructure],
    (weights, requires): (&WeightSet, &[Require]),
) -> Result<(Vec<Fold>, Vec<Restructure>), Bug> {
    let (found, mut refused) = folds(graph)?;
    let about: BTreeSet<&str> = requires.iter().flat_map(Require::weights).collect();
    let mut out = Vec::new();
    for fold in found {
        // A graph without its dead channels says nothing of constraints; the values of what they are about must stay.
        let mut gone = fold.replaced.iter().flat_map(|r| &r.1).flat_map(|made| made.from.iter().skip(1));
        if let Some(by) = gone.find(|name| about.contains(name.as_str())) {
            let because = format!("a constraint is about `{by}`");
            refused.push(fold.refused(because));
            continue;
        }
        match facts_of(&fold, facts, steps, weights)? {
            Ok(new) => {
                facts.extend(new);
                out.push(fold);
            }
            Err(because) => refused.push(fold.refused(because)),
        }
    }
    Ok((out, refused))
}

type New = Vec<(String, WeightFacts)>;

/// Facts of the matrices that a fold makes, or why it cannot be offered.
fn facts_of(
    fold: &Fold,
    facts: &BTreeMap<String, WeightFacts>,
    steps: &[Restructure],
    weights: &WeightSet,
) -> Result<Result<New, String>, Bug> {
    let mut out = Vec::new();
    let of = |n: &str| value(n, steps, weights);
    for made in fold.replaced.iter().flat_map(|r| &r.1) {
        let first = made.from.first().ok_or_else(|| Bug::new("a weight made of nothing"))?;
        let scaled = matches!(made.how, Recipe::Scaled { .. });
        let before = facts.get(first);
        let codes = |f: &WeightFacts| f.candidates.iter().any(|(l, r)| r.is_ok() && of_codes(l));
        if scaled && before.is_some_and(codes) {
            return Ok(Err(format!("the values of `{first}` are codes, and products of them are not")));
        }
        let w = computed(&made.how, &made.from, &of)?;
        if let Some(why) = made.how.unfit(of(first)?.values(), w.values()) {
            return Ok(Err(format!("{why} (in `{}`)", made.name)));
        }
        if scaled {
            let mut f = before.cloned().ok_or_else(|| Bug::new(format!("no facts about `{first}`")))?;
            // Factors that are powers of two keep numbers of 16 bits what they are; most others do not.
            let holds = |form: Form| w.values().iter().all(|v| form.narrow(*v).is_some());
            let forms = Form::ALL.map(|form| (form, holds(form)));
            for (layout, result) in &mut f.candidates {
                let fits = match &*layout {
                    Layout::Half { form, .. } => forms.contains(&(*form, true)),
                    l => !of_codes(l),
                };
                if result.is_ok() && !fits {
                    *result = Err(Refusal(format!("products are no numbers of {}", layout.kind())));
                }
            }
            out.push((made.name.clone(), f));
        }
    }
    Ok(Ok(out))
}

/// Folds of which the best plan takes a part only: to compute both is never worth it, so they are not offered again.
pub fn in_part(list: &[Fold], found: &Offered) -> Vec<bool> {
    let part = |(f, v): (&Fold, &FoldVerdict)| !v.taken.is_empty() && v.taken.len() != f.replaced.len();
    list.iter().zip(&found.folds).map(part).collect()
}

/// The graph with the folds that the best plan takes, and the steps that they are.
pub fn taken(folded: &Folded, list: &[Fold], found: &Offered) -> Result<Option<(Graph, Vec<Restructure>)>, Bug> {
    let nodes: BTreeSet<NodeId> = found.folds.iter().flat_map(|v| v.taken.iter().copied()).collect();
    if nodes.is_empty() {
        return Ok(None);
    }
    let mut steps = Vec::new();
    for (f, v) in list.iter().zip(&found.folds).filter(|(_, v)| !v.taken.is_empty()) {
        let because = match v.without_ps.filter(|ps| *ps != u64::MAX) {
            Some(ps) => {
                format!("{} less than with {} computed apart", picoseconds(ps.saturating_sub(found.total_ps)), words(f))
            }
            None => format!("{} need not be computed", words(f)),
        };
        steps.extend(f.steps(&nodes, &because));
    }
    Ok(Some((take(folded, list, &nodes)?, steps)))
}

fn words(f: &Fold) -> String {
    f.what.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

/// Why folds on offer were not taken.
pub fn left(list: &[Fold], found: &Offered) -> Vec<Restructure> {
    let why = |v: &FoldVerdict| match v.with_ps {
        _ if !found.exact => "a bound stopped the search, so nothing was folded".to_string(),
        Some(ps) if ps > found.total_ps => {
            format!("the whole would take {} more", picoseconds(ps.saturating_sub(found.total_ps)))
        }
        _ => "the whole would take as long".to_string(),
    };
    let mine = list.iter().zip(&found.folds).filter(|(_, v)| v.taken.is_empty());
    mine.map(|(f, v)| f.refused(why(v))).collect()
}

/// The graph with the folds that a plan from a file asks for, or the first step that cannot be taken.
pub fn apply(graph: &Graph, steps: &[Restructure]) -> Result<Result<Graph, Restructure>, Bug> {
    let folds_of = |s: &&Restructure| s.made.is_some() && s.how.as_ref().is_some_and(Recipe::computes);
    let mut open: Vec<&Restructure> = steps.iter().filter(folds_of).collect();
    let mut g = graph.clone();
    for _ in 0..ROUNDS {
        let Some(first) = open.first().copied() else { break };
        let list = folds(&g)?.0;
        let mut nodes = BTreeSet::new();
        for f in &list {
            for (n, made) in &f.replaced {
                let asked = |m: &spc_ir::structure::Made| {
                    let same = |s: &&Restructure| s.made.as_ref() == Some(&m.name) && s.how.as_ref() == Some(&m.how);
                    open.iter().any(|s| same(s) && s.rule == f.rule && s.from == m.from)
                };
                if !made.is_empty() && made.iter().all(asked) {
                    nodes.insert(*n);
                    open.retain(|s| !made.iter().any(|m| s.made.as_ref() == Some(&m.name)));
                }
            }
        }
        if nodes.is_empty() {
            return Ok(Err(first.clone()));
        }
        g = take(&with_folds(&g, &list)?, &list, &nodes)?;
    }
    Ok(match open.first() {
        Some(s) => Err((*s).clone()),
        None => Ok(g),
    })
}
