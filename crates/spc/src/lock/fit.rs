//! Whether a plan from a file is one for this program: the same computation, target and structure of the weights.
use super::{Difference, Plans, kind_word};
use crate::failure::Res;
use crate::plan::{Planned, linear_weights, tuned};
use crate::session::Session;
use crate::structure;
use crate::weights::WeightSet;
use spc_base::{Bug, Diagnostic, codes};
use spc_formats::{Layout, Pattern};
use spc_ir::{Graph, Plan};
use spc_layout::{WeightFacts, holds, tuned_sizes};
use spc_sema::Target;
use std::collections::BTreeMap;
use std::path::Path;

/// Lines of differences that a message shows.
const MOST_LINES: usize = 12;

/// Adds what differs to a message, a line for each side.
pub fn differing_lines(mut d: Diagnostic, a: &str, b: &str, list: &[Difference]) -> Diagnostic {
    if list.is_empty() {
        return d;
    }
    d = d.note(format!("lines with - are of {a}, lines with + of {b}"));
    for x in list.iter().take(MOST_LINES) {
        let lines = [("-", x.line(x.a.as_ref())), ("+", x.line(x.b.as_ref()))];
        for (sign, line) in lines.into_iter().filter_map(|(s, l)| Some((s, l?))) {
            d = d.note(format!("{sign} {line}"));
        }
    }
    if list.len() > MOST_LINES {
        d = d.note(format!("{} more differences; `spc diff` lists all", list.len() - MOST_LINES));
    }
    d
}

/// The plan of an optimised function from a plan file.
///
/// # Errors
/// SP0661 with the differing lines where the file was made for something else; SP0660 where the plan cannot be carried out
/// at all.
pub fn fit(
    s: &Session<'_>,
    plans: &Plans,
    path: &Path,
    graph: Graph,
    weights: &WeightSet,
    target: &Target,
) -> Res<Planned> {
    let stale = |list: &[Difference]| {
        let text = format!("`{}` was made for something else than `{}` is now", path.display(), graph.name);
        differing_lines(Diagnostic::error(codes::PLAN_DIFFERS, text), "the plan", "the program", list)
            .help("`spc compile FILE.sp --emit=plan > plan.json` makes a new one; `spc diff` compares the two")
    };
    let Some(plan) = plans.functions.iter().find(|p| p.function == graph.name) else {
        let known: Vec<&str> = plans.functions.iter().map(|p| p.function.as_str()).collect();
        let line = Difference::whole("functions", Some(known.join(", ")), Some(graph.name.clone()));
        return Err(stale(&[line]).into());
    };
    let (graph, weights) = match structure::apply(&graph, &plan.structure)? {
        Ok(g) => (g, structure::with_made([plan], weights)?),
        Err(step) => {
            let found = Some(format!("{} {}", step.rule, step.made.clone().unwrap_or_default()));
            return Err(stale(&[line(&plan.function, None, "structure", found, None)]).into());
        }
    };
    let weights = &weights;
    let mut list = about(plans, plan, &graph, target);
    let facts = structure(plan, &graph, weights, &mut list)?;
    if !list.is_empty() {
        return Err(stale(&list).into());
    }
    let costs = crate::constants::costs(s, target)?;
    holds(&graph, &facts, costs.machine(), &tuned(&graph, target), plan).map_err(|why| {
        let text = format!("`{}` cannot be used as a plan: {why}", path.display());
        Diagnostic::error(codes::PLAN_FILE, text).help("write it again with `spc compile FILE.sp --emit=plan`")
    })?;
    Ok(Planned { plan: plan.clone(), graph, interp: false })
}

fn line(function: &str, weight: Option<&str>, what: &str, a: Option<String>, b: Option<String>) -> Difference {
    let (function, weight) = (Some(function.to_string()), weight.map(Into::into));
    Difference { function, weight, what: what.into(), a, b, because: Vec::new() }
}

/// Target and computation.
fn about(plans: &Plans, plan: &Plan, graph: &Graph, target: &Target) -> Vec<Difference> {
    let mut out = Vec::new();
    let mut say = |what: &str, a: String, b: String| {
        if a != b {
            out.push(line(&plan.function, None, what, Some(a), Some(b)));
        }
    };
    say("kind of target", plans.kind.clone(), kind_word(target.kind).into());
    say("target", plan.target.clone(), target.name.clone());
    let sizes = |m: &BTreeMap<String, u64>| {
        let list: Vec<String> = m.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        if list.is_empty() { "nothing".into() } else { list.join(", ") }
    };
    say("tuned for", sizes(&plan.tuned_for), sizes(&tuned_sizes(graph, &tuned(graph, target))));
    say("computation and constraints", plan.graph.clone(), graph.fingerprint());
    out
}

/// Compares what the plan says of each weight with the weights, and gives the facts of the layouts that it uses.
fn structure(
    plan: &Plan,
    graph: &Graph,
    weights: &WeightSet,
    out: &mut Vec<Difference>,
) -> Res<BTreeMap<String, WeightFacts>> {
    let shapes = linear_weights(graph)?;
    let name = plan.function.as_str();
    let mut facts = BTreeMap::new();
    for l in plan.linears.iter().filter(|l| !shapes.contains_key(&l.weight)) {
        out.push(line(name, Some(&l.weight), "linear in", Some(l.layout.clone()), None));
    }
    for (weight, (rows, cols)) in &shapes {
        let pattern = Pattern::new(*rows, *cols, weights.want(weight)?.values());
        let pattern = pattern.map_err(|r| Bug::new(format!("`{weight}`: {r}")))?;
        let mut list = Vec::new();
        let mut linears = plan.linears.iter().filter(|l| l.weight == *weight).peekable();
        if linears.peek().is_none() {
            out.push(line(name, Some(weight), "linear of", None, Some(format!("{rows} x {cols}"))));
        }
        for l in linears {
            let Some(why) = plan.why.iter().find(|w| w.node == l.node && w.weight == *weight) else {
                out.push(line(name, Some(weight), "reasons", None, Some("needed".into())));
                continue;
            };
            let mut say = |what: &str, a: String, b: String| {
                if a != b && !out.iter().any(|d| d.weight.as_ref() == Some(weight) && d.what == what) {
                    out.push(line(name, Some(weight), what, Some(a), Some(b)));
                }
            };
            say("shape", format!("{} x {}", why.rows, why.cols), format!("{rows} x {cols}"));
            say("present elements", why.nonzeros.to_string(), pattern.present().to_string());
            let own = why.candidates.iter().find(|c| c.layout == l.layout);
            let promised =
                own.and_then(|c| Some(format!("{} bytes, {} multiply-adds", c.stored_bytes?, c.multiplies?)));
            let layout: Result<Layout, _> = l.layout.parse();
            let found = layout.clone().and_then(|x| pattern.stats(&x));
            let now = match &found {
                Ok(f) => format!("{} bytes, {} multiply-adds", f.stored_bytes, f.multiplies),
                Err(r) => format!("does not hold it: {r}"),
            };
            say(&format!("in {}:", l.layout), promised.unwrap_or_else(|| "not considered".into()), now);
            if let Ok(layout) = layout {
                list.push((layout, found));
            }
        }
        if !list.iter().any(|(l, _)| *l == Layout::DENSE) {
            list.push((Layout::DENSE, pattern.stats(&Layout::DENSE)));
        }
        facts.insert(weight.clone(), WeightFacts { rows: *rows as u64, cols: *cols as u64, candidates: list });
    }
    Ok(facts)
}
