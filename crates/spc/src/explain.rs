//! `spc explain`: what a code means, and for every layer which layouts were considered and why each won or lost.
use crate::build::{Constraints, build};
use crate::failure::{Failure, Res};
use crate::load::{listing, load_file};
use crate::plan::{Planned, fall_back};
use crate::rotate::offer;
use crate::run::Done;
use crate::session::Session;
use crate::target::target;
use crate::weights::WeightSet;
use serde_json::json;
use spc_base::{Bug, Diagnostic, codes};
use spc_ir::method::{Does, InMetric, Metric, Term, Via};
use spc_ir::structure::{REORDER, Recipe, Restructure, SPLIT, joined_name};
use spc_ir::{Beside, Candidate, Epilogue, Op, Plan, Why};
use spc_report::{Align, Table, bytes, percent, picoseconds};
use spc_sema::{Module, Quantize, QuantizeTensor, StoredAs};
use std::path::{Path, PathBuf};

/// The page of a diagnostic code, or nothing if there is no such code.
pub fn explain_code(name: &str) -> Option<String> {
    spc_base::lookup(name).map(|e| e.page.to_string())
}

/// Whether a word looks like a diagnostic code.
pub fn looks_like_code(name: &str) -> bool {
    let (head, digits) = name.split_at_checked(2).unwrap_or_default();
    head.eq_ignore_ascii_case("sp") && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// What to explain of a file.
#[derive(Clone, Debug, Default)]
pub struct Explain {
    pub target: Option<String>,
    /// One weight only, with everything known of it.
    pub tensor: Option<String>,
    pub json: bool,
    /// A page to write, as HTML.
    pub report: Option<PathBuf>,
}

/// Explains the plan of a file.
pub fn explain_file(s: &mut Session<'_>, path: &Path, what: &Explain) -> Res<Done> {
    if !s.world.is_file(path) && path.to_str().is_some_and(looks_like_code) {
        let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no code `{}`", path.display()));
        return Err(Failure::usage(d));
    }
    let source = load_file(s, path)?;
    let t = target(&source.module, what.target.as_deref())?;
    let names = source.functions(&[])?;
    let graphs = names.iter().map(|n| source.graph(n)).collect::<Result<Vec<_>, _>>()?;
    fall_back(s, graphs, &t)?;
    let built = build(s, &source, t.clone(), &names, &WeightSet::default(), Constraints::Applied)?;
    if let Some(name) = &what.tensor {
        let known: Vec<&str> = built.functions.iter().flat_map(|f| &f.plan.why).map(|w| w.weight.as_str()).collect();
        let merged = |f: &Planned| f.plan.structure.iter().any(|s| s.made.is_some() && s.from.contains(name));
        if !known.contains(&name.as_str()) && !built.functions.iter().any(merged) {
            let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("no linear reads a weight `{name}`"));
            return Err(Failure::usage(listing(d, "weight of a linear", &known)));
        }
    }
    if let Some(file) = &what.report {
        let title = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let code = (t.kind == spc_sema::TargetKind::Cpu).then(|| s.cpu(1).isa.target());
        let page = crate::report::page(&title, &built, crate::constants::costs(s, &t)?.machine(), code)?;
        s.world.write(file, page.as_bytes())?;
        return Ok(format!("wrote {}\n", file.display()).into());
    }
    let wanted = |p: &Plan, w: &Why| {
        what.tensor.as_ref().is_none_or(|t| *t == w.weight || p.sources(&w.weight).contains(&t.as_str()))
    };
    let turn = offer(s, &source, path)?;
    if what.json {
        let plans: Vec<serde_json::Value> = built
            .functions
            .iter()
            .map(|f| {
                let why: Vec<&Why> = f.plan.why.iter().filter(|w| wanted(&f.plan, w)).collect();
                json!({
                    "function": f.plan.function,
                    "target": f.plan.target,
                    "cost_table": f.plan.cost_table,
                    "tuned_for": f.plan.tuned_for,
                    "total_ps": f.plan.total_ps,
                    "dense_ps": f.plan.dense_ps,
                    "exact": f.plan.exact,
                    "bounds": f.plan.bounds,
                    "rules": f.plan.rules,
                    "structure": f.plan.structure,
                    "layers": why,
                    "removed": removed_json(&built.axes),
                    "quantize": quantized_json(&source.module.quantizes, f),
                    "rotation": turn,
                })
            })
            .collect();
        return Ok(format!("{:#}\n", json!(plans)).into());
    }
    // What belongs together does not depend on what is chosen at run time.
    let mut dense = source.graphs.clone();
    dense.extend(source.dense.clone());
    let mut out = projection(&built.projected) + &crate::groups::coupled(&source.module, &dense);
    out += &choices(&source.module, &built.functions)?;
    if !built.axes.is_empty() {
        out += &format!("left out, because every weight is zero there: {}\n\n", crate::cut::words(&built.axes));
    }
    for f in &built.functions {
        if f.interp {
            out += &format!("{}: run by the interpreter\n", f.graph.name);
            continue;
        }
        out += &function(f, &wanted);
    }
    out += &quantized(&source.module.quantizes);
    out += &turn.map_or_else(String::new, |o| o.words());
    if has_methods(&source) {
        out += &format!("\nin training\n  {}\n", crate::step::rule_lines(&source).join("\n  "));
    }
    Ok(out.into())
}

/// Axes without their dead positions.
fn removed_json(axes: &[crate::cut::Axis]) -> Vec<serde_json::Value> {
    axes.iter().map(|a| json!({ "axis": a.name, "size": a.size, "kept": a.kept })).collect()
}

/// The weights of a function that are stored rounded: how, and the tile that shares a scale.
fn quantized_json(list: &[Quantize], f: &crate::plan::Planned) -> Vec<serde_json::Value> {
    let read: Vec<String> = f.graph.weights().into_iter().map(|(n, _)| n).collect();
    let tensors = list.iter().flat_map(|q| q.tensors.iter().map(move |t| (q, t)));
    let mine = tensors.filter(|(_, t)| read.contains(&t.weight));
    mine.map(|(q, t)| {
        let scale = matches!(q.to, StoredAs::Int { .. }).then_some(&t.tile);
        json!({ "name": q.name, "weight": t.weight, "to": q.to.to_string(), "scale_per": scale, "scale_f16": q.half_scales })
    })
    .collect()
}

/// One line for each `quantize`: which tensors, to what, and what shares a scale.
fn quantized(list: &[Quantize]) -> String {
    let line = |q: &Quantize| {
        let scaled = matches!(q.to, StoredAs::Int { .. });
        let one = |t: &QuantizeTensor| match t.tile == t.shape {
            _ if !scaled => t.weight.clone(),
            true => format!("{} (one scale)", t.weight),
            false => {
                let tile: Vec<String> = t.tile.iter().map(u64::to_string).collect();
                format!("{} (a scale per {})", t.weight, tile.join(" x "))
            }
        };
        let tensors: Vec<String> = q.tensors.iter().map(one).collect();
        let halves = if q.half_scales { ", scales in f16" } else { "" };
        let inputs = if q.inputs { ", inputs of their products to int8" } else { "" };
        format!("quantize {}: to {} {}{halves}{inputs}\n", q.name, q.to, tensors.join(", "))
    };
    list.iter().map(line).collect()
}

/// Whether anything happens in training beside projection.
fn has_methods(source: &crate::load::Source) -> bool {
    let list = &source.module.rules.list;
    list.iter().any(|r| !matches!(r.does, spc_ir::method::Does::Keep { update: None, .. }))
}

/// What each constraint did to the weights.
fn projection(list: &[spc_interp::Projected]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let columns =
        [("require", Align::Left), ("groups", Align::Right), ("kept", Align::Right), ("set to zero", Align::Right)];
    let mut t = Table::new(columns);
    for p in list {
        let then = if p.sentence > 0 { " (then)" } else { "" };
        t.row([format!("{}{then}", p.require), p.groups.to_string(), p.kept.to_string(), p.zeroed.to_string()]);
    }
    t.render() + "\n"
}

/// Approximate steps (class A), each with its cause: choices among run-time values that constraints ask for, and proxes that are
/// not exact in the metric of an Adam-like optimiser.
fn choices(module: &Module, functions: &[Planned]) -> Result<String, Bug> {
    let columns =
        [("approximate step", Align::Left), ("in", Align::Left), ("places", Align::Right), ("because of", Align::Left)];
    let mut t = Table::new(columns);
    for c in &module.choices {
        for f in functions {
            // By what is kept, in order.
            let mut kinds: Vec<(String, usize)> = Vec::new();
            for n in f.graph.ids() {
                let Op::Top(top) = &f.graph.node(n)?.op else { continue };
                if top.name != c.name {
                    continue;
                }
                let mut text = format!("keeps {} of `{}.{}`", top.amount, c.function, c.value);
                for (word, n) in [("first", top.first), ("last", top.last)] {
                    if n > 0 {
                        text += &format!(", always {word} {n}");
                    }
                }
                match kinds.iter_mut().find(|(k, _)| *k == text) {
                    Some((_, n)) => *n += 1,
                    None => kinds.push((text, 1)),
                }
            }
            for (text, n) in kinds {
                t.row([text, f.graph.name.clone(), n.to_string(), format!("require {}", c.name)]);
            }
        }
    }
    for r in &module.rules.list {
        let Does::Penalize { penalty, via: Via::Prox(Metric::Optimiser), .. } = &r.does else { continue };
        let mut said: Vec<InMetric> = Vec::new();
        for form in penalty.terms.iter().filter_map(Term::in_metric) {
            let steps = match form {
                InMetric::Exact => continue,
                InMetric::ByGroup => "one step length for each group",
                InMetric::Whole => "one step length for all weights",
            };
            if !said.contains(&form) {
                let text = format!("beside Adam: the prox of `{}` with {steps}", penalty.name);
                t.row([text, "training".into(), "1".into(), format!("penalize {}", r.name)]);
                said.push(form);
            }
        }
    }
    Ok(if t.is_empty() { String::new() } else { t.render() + "\n" })
}

fn function(f: &Planned, wanted: &dyn Fn(&Plan, &Why) -> bool) -> String {
    let p = &f.plan;
    let tuned: Vec<String> = p.tuned_for.iter().map(|(n, v)| format!("{n} = {v}")).collect();
    let mut out = format!(
        "{} on {}, tuned for {}, cost table {} ({})\npredicted: {} dense, {} chosen\n",
        p.function,
        p.target,
        if tuned.is_empty() { "nothing".to_string() } else { tuned.join(", ") },
        p.cost_table.name,
        p.cost_table.hash,
        picoseconds(p.dense_ps),
        picoseconds(p.total_ps),
    );
    for b in &p.bounds {
        out += &format!("bound: {b}\n");
    }
    if !p.rules.is_empty() {
        out += &format!("rules: {}\n", p.rules.join(", "));
    }
    out += &structure(&p.structure);
    // Layers with much the same reasons are shown once.
    let mut groups: Vec<(&Why, String, Vec<&str>)> = Vec::new();
    for w in p.why.iter().filter(|w| wanted(p, w)) {
        let end = fused(f, w);
        match groups.iter_mut().find(|(first, e, _)| *e == end && alike(first, w)) {
            Some((.., names)) => names.push(&w.weight),
            None => groups.push((w, end, vec![&w.weight])),
        }
    }
    for (why, end, names) in groups {
        out += "\n";
        out += &layer(p, why, &names);
        out += &end;
    }
    out
}

/// What the kernel of a layer does to its sums, as a line; nothing where it stores them.
fn fused(f: &Planned, w: &Why) -> String {
    let map = f.plan.linears.iter().find(|l| l.node == w.node).and_then(|l| l.epilogue);
    let found = map.and_then(|m| Epilogue::fused(&f.graph, w.node, m).ok().flatten());
    let Some(found) = found else { return String::new() };
    let what = |kind: &Beside| match kind {
        Beside::Residual => "a value of its shape",
        Beside::Channel => "a number for each output",
        Beside::Scalar => "a number",
    };
    let read = found.beside.iter().enumerate().map(|(i, (_, kind))| format!(", a{} is {}", i + 1, what(kind)));
    format!("  fused: {}, where a0 is the sum{}\n", found.expr, read.collect::<String>())
}

/// What a step does to its weights.
pub fn done_word(step: &Restructure) -> &'static str {
    match step.rule.as_str() {
        REORDER => "reordered",
        SPLIT => "split",
        r if r.starts_with("fold-") => "folded",
        _ => "merged",
    }
}

/// Whether a step makes the rest of a split, whose other part says all there is to say.
pub fn is_second_part(step: &Restructure) -> bool {
    matches!(step.how, Some(Recipe::Split { structured: false, .. }))
}

/// Weights that were changed and those that were not, each with the reason; what has the same reason is told once.
fn structure(steps: &[Restructure]) -> String {
    structure_lines(steps).iter().map(|l| format!("{l}\n")).collect()
}

/// The same, line by line.
pub fn structure_lines(steps: &[Restructure]) -> Vec<String> {
    let mut told: Vec<(String, String, usize)> = Vec::new();
    // A split is told of once, not for each of its parts.
    for s in steps.iter().filter(|s| !is_second_part(s)) {
        let done = done_word(s);
        let text = match (&s.made, s.from.as_slice()) {
            (Some(made), _) if done == "folded" => format!("folded: {made}"),
            (Some(_), [one]) => format!("{done}: {one}"),
            (Some(_), list) => format!("{done}: {}", joined_name(list)),
            (None, [one]) if done != "folded" => format!("not {done}: {one}"),
            (None, list) => format!("not {done}: {}", joined_name(list)),
        };
        match told.iter_mut().find(|(_, because, _)| *because == s.because) {
            Some((_, _, more)) => *more += 1,
            None => told.push((text, s.because.clone(), 0)),
        }
    }
    let more = |n: usize| if n > 0 { format!(" and {n} more") } else { String::new() };
    told.into_iter().map(|(text, because, n)| format!("{text}{}: {because}", more(n))).collect()
}

/// Whether two layers are told of as one: the same shape and winner, about as many zeros, and predictions within 2 % for
/// the layouts that hold both.
pub fn alike(a: &Why, b: &Why) -> bool {
    let near = |x: u64, y: u64| x.abs_diff(y) <= x.max(y) / 50;
    let same = |(x, y): (&Candidate, &Candidate)| {
        x.layout == y.layout && x.kernel_ps.zip(y.kernel_ps).is_none_or(|(x, y)| near(x, y))
    };
    (a.rows, a.cols, &a.winner) == (b.rows, b.cols, &b.winner)
        && near(a.nonzeros, b.nonzeros)
        && a.candidates.len() == b.candidates.len()
        && a.candidates.iter().zip(&b.candidates).all(same)
}

fn layer(p: &Plan, w: &Why, names: &[&str]) -> String {
    let elements = w.rows.saturating_mul(w.cols).max(1);
    let mut out = format!(
        "{} [{}, {}], {} zeros: {}\n",
        w.weight,
        w.rows,
        w.cols,
        percent(1.0 - w.nonzeros as f64 / elements as f64),
        w.winner
    );
    if names.len() > 1 {
        let others: Vec<&str> = names.iter().skip(1).copied().collect();
        out += &format!("  much the same (within 2 %): {}\n", others.join(", "));
    }
    let columns = [
        ("  layout", Align::Left),
        ("stored", Align::Right),
        ("multiplies", Align::Right),
        ("this layer", Align::Right),
        ("whole plan", Align::Right),
        ("", Align::Left),
    ];
    // A column of its own where something was measured.
    let measured = w.candidates.iter().any(|c| c.measured_ps.is_some());
    let mut columns = columns.to_vec();
    if measured {
        columns.insert(4, ("measured", Align::Right));
    }
    let mut t = Table::new(columns);
    for c in &w.candidates {
        let show = |n: Option<u64>, f: &dyn Fn(u64) -> String| n.map_or(String::new(), f);
        let verdict = if c.layout == w.winner {
            "chosen".to_string()
        } else if let Some(why) = &c.refused {
            format!("refused: {why}")
        } else if measured && c.measured_ps.is_none() {
            "not measured: others are predicted to be faster".into()
        } else {
            match c.plan_ps {
                Some(ps) if ps >= p.total_ps => format!("loses by {}", picoseconds(ps - p.total_ps)),
                Some(_) => "not chosen".into(),
                None => "no plan within the bounds uses it".into(),
            }
        };
        let mut row = vec![
            format!("  {}", c.layout),
            show(c.stored_bytes, &bytes),
            show(c.multiplies, &|n| n.to_string()),
            show(c.kernel_ps, &picoseconds),
            show(c.plan_ps, &picoseconds),
            verdict,
        ];
        if measured {
            row.insert(4, show(c.measured_ps, &picoseconds));
        }
        t.row(row);
    }
    out += &t.render();
    if let Some(margin) = w.margin_permille {
        out += &format!("  margin: the next best whole plan takes {} % more\n", margin as f64 / 10.0);
    }
    if !w.flips.is_empty() {
        out += &format!("  would flip it: {}\n", w.flips.join("; "));
    }
    out
}

/// Why a weight stays dense; nothing where it does not.
pub fn why_dense(p: &Plan, weight: &str) -> Option<String> {
    let w = p.why.iter().find(|w| w.weight == weight && w.winner.starts_with("dense"))?;
    if w.nonzeros == w.rows.saturating_mul(w.cols) {
        return Some("it has no zeros".into());
    }
    let own = w.candidates.iter().find(|c| c.layout == w.winner);
    let rivals = w.candidates.iter().filter(|c| !c.layout.starts_with("dense"));
    let best = rivals.clone().filter(|c| c.plan_ps.is_some()).min_by_key(|c| c.plan_ps);
    match (best, own.and_then(|c| c.kernel_ps)) {
        (Some(c), Some(dense)) => {
            let other = c.kernel_ps.map(|ps| format!("{} predicted, dense {}", picoseconds(ps), picoseconds(dense)));
            let slower = c.plan_ps.map(|ps| picoseconds(ps.saturating_sub(p.total_ps)));
            Some(format!(
                "next is {}: {}, {} more in all",
                c.layout,
                other.unwrap_or_default(),
                slower.unwrap_or_default()
            ))
        }
        _ => {
            let why = rivals.clone().find_map(|c| c.refused.clone()).unwrap_or_else(|| "none was tried".into());
            Some(format!("no sparse layout holds it: {why}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spc_ir::NodeId;

    fn candidate(layout: &str, kernel: Option<u64>, plan: Option<u64>, refused: Option<&str>) -> Candidate {
        Candidate {
            layout: layout.into(),
            stored_bytes: Some(64),
            multiplies: Some(16),
            kernel_ps: kernel,
            plan_ps: plan,
            refused: refused.map(Into::into),
            measured_ps: None,
        }
    }

    fn why(nonzeros: u64, winner: &str, candidates: Vec<Candidate>) -> Why {
        let (node, weight) = (NodeId(1), "m.w".to_string());
        let winner = winner.into();
        Why { node, weight, rows: 4, cols: 4, nonzeros, winner, candidates, margin_permille: Some(25), flips: vec![] }
    }

    fn plan(w: Why) -> Plan {
        let g = spc_ir::Graph::new("f");
        Plan { why: vec![w], total_ps: 1_000_000, ..Plan::all_dense(&g, "cpu", "dense(16)").unwrap() }
    }

    #[test]
    fn dense_winners_say_why() {
        let dense = || candidate("dense(16)", Some(500_000), Some(1_000_000), None);
        assert_eq!(why_dense(&plan(why(16, "dense(16)", vec![dense()])), "m.w").unwrap(), "it has no zeros");
        let csr = candidate("csr", Some(700_000), Some(1_250_000), None);
        let text = why_dense(&plan(why(8, "dense(16)", vec![dense(), csr.clone()])), "m.w").unwrap();
        assert_eq!(text, "next is csr: 700 ns predicted, dense 500 ns, 250 ns more in all");
        let refused = candidate("nm(2,4)", None, None, Some("row 0, group 0 keeps 3 of 4"));
        let text = why_dense(&plan(why(8, "dense(16)", vec![dense(), refused])), "m.w").unwrap();
        assert_eq!(text, "no sparse layout holds it: row 0, group 0 keeps 3 of 4");
        assert!(why_dense(&plan(why(8, "csr", vec![dense(), csr])), "m.w").is_none());
    }

    #[test]
    fn a_layer_lists_every_candidate_with_its_fate() {
        let list = vec![
            candidate("dense(16)", Some(900_000), Some(1_500_000), None),
            candidate("nm(2,4)", Some(400_000), Some(1_000_000), None),
            candidate("bsr(8,8)", None, None, Some("8 rows do not fit")),
        ];
        let w = why(8, "nm(2,4)", list);
        let text = layer(&plan(w.clone()), &w, &["m.w", "m.v"]);
        for part in [
            "m.w [4, 4], 50.0 % zeros: nm(2,4)",
            "m.v",
            "chosen",
            "loses by 500 ns",
            "refused: 8 rows do not fit",
            "2.5 %",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn codes_have_pages() {
        assert!(explain_code("sp0201").unwrap().starts_with("# SP0201: "));
        assert!(
            looks_like_code("sp9999")
                && !looks_like_code("SP")
                && !looks_like_code("sparse.sp")
                && !looks_like_code("ä")
        );
        assert!(explain_code("SP9999").is_none() && explain_code("digits.sp").is_none());
    }
}
