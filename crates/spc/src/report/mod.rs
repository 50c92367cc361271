//! `spc explain --report FILE`: a page about the plans of a program. One file, no scripts, nothing from a network.
mod pictures;

use crate::build::Build;
use crate::plan::Planned;
use pictures::{bars, densities, roofline};
use spc_base::Bug;
use spc_formats::Layout;
use spc_ir::{Candidate, LinearPlan, Why};
use spc_kernel::{Target, schedule};
use spc_layout::Machine;
use spc_report::{bytes, percent, picoseconds, times};
use std::collections::BTreeMap;

/// One linear, as the page shows it.
struct Row<'a> {
    why: &'a Why,
    plan: &'a LinearPlan,
    tokens: f64,
    /// Stored bytes and predicted time: dense, and as chosen.
    dense: (u64, u64),
    own: (u64, u64),
}

impl Row<'_> {
    fn density(&self) -> f64 {
        self.why.nonzeros as f64 / (self.why.rows.saturating_mul(self.why.cols)).max(1) as f64
    }

    /// Operations on present weights.
    fn flops(&self) -> f64 {
        2.0 * self.why.nonzeros as f64 * self.tokens
    }

    /// Operations a byte that is read or written, and 10^9 operations a second as predicted.
    fn point(&self) -> (f64, f64) {
        let moved = self.own.0 as f64 + 4.0 * self.tokens * (self.why.rows + self.why.cols) as f64;
        (self.flops() / moved.max(1.0), self.flops() / (self.own.1.max(1) as f64) * 1e3)
    }
}

/// Text for a page: markup characters as entities.
fn escape(text: &str) -> String {
    let entity = |c: char| match c {
        '&' => "&amp;".to_string(),
        '<' => "&lt;".to_string(),
        '>' => "&gt;".to_string(),
        '"' => "&quot;".to_string(),
        c => c.to_string(),
    };
    text.chars().map(entity).collect()
}

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --rule: #d1d9e0; --back: #ffffff; --a: #8c959f; --b: #0969da; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --rule: #3d444d; --back: #0d1117; --a: #6e7681; --b: #4493f8; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.n, th.n { text-align: right; white-space: nowrap; }
.wide { overflow-x: auto; } .soft { color: var(--soft); }
pre { overflow: auto; max-height: 24rem; font-size: 12.5px; line-height: 1.4; border: 1px solid var(--rule); padding: .8rem; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .soft { fill: var(--soft); }
.none { fill: var(--rule); } .before { fill: var(--a); } .after { fill: var(--b); } .line { stroke: var(--soft); fill: none; } .grid { stroke: var(--rule); }
summary { cursor: pointer; }
";

/// The page. `code` says what the CPU code is made of, whose loops are shown; without it, no loops.
pub fn page(title: &str, build: &Build, table: Machine<'_>, code: Option<Target>) -> Result<String, Bug> {
    let title = escape(title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title}: plan</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<p class=\"soft\">Times are predictions with the constants {} ({}). {}</p>\n",
        escape(table.name()),
        escape(table.source()),
        if build.functions.iter().any(|f| !f.plan.measured.is_empty()) {
            "Where a kernel was measured on this machine, its time is the measured one."
        } else {
            "<code>spc bench</code> measures them."
        }
    );
    if !build.axes.is_empty() {
        out += &format!(
            "<p>Left out, because every weight is zero there: {}.</p>\n",
            escape(&crate::cut::words(&build.axes))
        );
    }
    for f in &build.functions {
        if f.interp {
            out += &format!("<h2>{}</h2>\n<p>Run by the interpreter: there is no plan.</p>\n", escape(&f.graph.name));
            continue;
        }
        out += &function(f, table, code)?;
    }
    Ok(out + "</body>\n</html>\n")
}

fn rows(f: &Planned) -> Result<Vec<Row<'_>>, Bug> {
    let sizes: Option<Vec<u64>> = f.graph.syms.iter().map(|y| f.plan.tuned_for.get(&y.name).copied()).collect();
    let sizes = sizes.ok_or_else(|| Bug::new("a plan is not tuned for an axis"))?;
    let mut out = Vec::new();
    for l in &f.plan.linears {
        let why = f.plan.why.iter().find(|w| w.node == l.node).ok_or_else(|| Bug::new("a layer without reasons"))?;
        let elements =
            f.graph.ty(l.node)?.shape(&sizes).and_then(|d| d.iter().try_fold(1usize, |n, d| n.checked_mul(*d)));
        let tokens = elements.unwrap_or(0) as f64 / why.rows.max(1) as f64;
        let own = why.candidates.iter().find(|c| c.layout == l.layout).and_then(|c| c.stored_bytes).unwrap_or(0);
        let dense = why.candidates.iter().filter(|c| matches!(c.layout.parse(), Ok(Layout::Dense { .. })));
        // Where some were measured, they are compared with each other.
        let measured = why.candidates.iter().any(|c| c.measured_ps.is_some());
        let time = |c: &Candidate| if measured { c.measured_ps } else { c.kernel_ps };
        let best = dense.filter_map(|c| Some((time(c)?, c.stored_bytes?))).min();
        let best = best.map_or((own, l.predicted_ps), |(ps, bytes)| (bytes, ps));
        out.push(Row { why, plan: l, tokens, dense: best, own: (own, l.predicted_ps) });
    }
    Ok(out)
}

fn function(f: &Planned, table: Machine<'_>, code: Option<Target>) -> Result<String, Bug> {
    let p = &f.plan;
    let sizes: Vec<String> = p.tuned_for.iter().map(|(n, v)| format!("{n} = {v}")).collect();
    let rows = rows(f)?;
    let sum = |of: fn(&Row<'_>) -> u64| {
        // A weight that several layers read is stored once.
        let seen: BTreeMap<&String, u64> = rows.iter().map(|r| (&r.why.weight, of(r))).collect();
        seen.values().copied().fold(0u64, u64::saturating_add)
    };
    let (before, after) = (sum(|r| r.dense.0), sum(|r| r.own.0));
    let gain = |a: u64, b: u64| times(a as f64 / b.max(1) as f64);
    let mut out = format!(
        "<h2>{}</h2>\n<p>Target {}, tuned for {}. Whole call: {} dense, {} as planned ({}). Weights of linears: {} dense, {} \
         stored ({}).</p>\n",
        escape(&p.function),
        escape(&p.target),
        escape(&if sizes.is_empty() { "nothing".to_string() } else { sizes.join(", ") }),
        picoseconds(p.dense_ps),
        picoseconds(p.total_ps),
        gain(p.dense_ps, p.total_ps),
        bytes(before),
        bytes(after),
        gain(before, after),
    );
    if rows.is_empty() {
        return Ok(out + "<p>It has no linear.</p>\n");
    }
    if !p.rules.is_empty() || !p.bounds.is_empty() {
        let bounds = if p.bounds.is_empty() { "No bound was hit.".to_string() } else { p.bounds.join("; ") };
        out += &format!("<p class=\"soft\">Rules: {}. {}</p>\n", escape(&p.rules.join(", ")), escape(&bounds));
    }
    let changes = crate::explain::structure_lines(&p.structure);
    if !changes.is_empty() {
        let items: String = changes.iter().map(|l| format!("<li>{}</li>\n", escape(l))).collect();
        out += &format!("<h3>Structure</h3>\n<ul>\n{items}</ul>\n");
    }
    out += &layers(&rows);
    out += "<h3>What was considered</h3>\n";
    out += &considered(p, &rows);
    out += "<h3>Present weights of each layer</h3>\n";
    out += &densities(&rows);
    out += "<h3>Time of each layer: dense above, as planned below</h3>\n";
    out += &bars(&rows, |r| (r.dense.1, r.own.1), picoseconds);
    out += "<h3>Stored bytes of each layer: dense above, as planned below</h3>\n";
    out += &bars(&rows, |r| (r.dense.0, r.own.0), bytes);
    out += "<h3>Roofline</h3>\n";
    out += &roofline(&rows, table);
    if let Some(code) = code {
        out += "<h3>Kernels</h3>\n";
        out += &kernels(f, code)?;
    }
    Ok(out)
}

fn layers(rows: &[Row<'_>]) -> String {
    let mut out =
        "<div class=\"wide\"><table>\n<tr><th>layer</th><th class=\"n\">shape</th><th class=\"n\">present</th>\
                   <th>layout</th><th class=\"n\">dense</th><th class=\"n\">planned</th><th class=\"n\">gain</th>\
                   <th class=\"n\">margin</th><th>would flip it</th></tr>\n"
            .to_string();
    for r in rows {
        let margin = match r.why.margin_permille {
            None => String::new(),
            Some(0) => "&lt; 0.1 %".into(),
            Some(m) => format!("{} %", m as f64 / 10.0),
        };
        out += &format!(
            "<tr><td>{}</td><td class=\"n\">{} x {}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{margin}</td><td>{}</td></tr>\n",
            escape(&r.why.weight),
            r.why.rows,
            r.why.cols,
            percent(r.density()),
            escape(&r.plan.layout),
            picoseconds(r.dense.1),
            picoseconds(r.own.1),
            times(r.dense.1 as f64 / r.own.1.max(1) as f64),
            escape(&r.why.flips.join("; ")),
        );
    }
    out + "</table></div>\n"
}

/// Every layout of every layer: its cost, or why it is refused. Layers that are much the same share one.
fn considered(p: &spc_ir::Plan, rows: &[Row<'_>]) -> String {
    let mut groups: Vec<(&Row<'_>, Vec<&str>)> = Vec::new();
    for r in rows {
        match groups.iter_mut().find(|(g, _)| crate::explain::alike(g.why, r.why)) {
            Some((_, names)) => names.push(&r.why.weight),
            None => groups.push((r, vec![&r.why.weight])),
        }
    }
    let mut out = String::new();
    for (r, names) in groups {
        let refused = r.why.candidates.iter().filter(|c| c.refused.is_some()).count();
        let measured = r.why.candidates.iter().any(|c| c.measured_ps.is_some());
        out += &format!(
            "<details><summary>{} <span class=\"soft\">{}; {} layouts, {refused} refused</span></summary>\n<div class=\"wide\"><table>\n\
             <tr><th>layout</th><th class=\"n\">stored</th><th class=\"n\">this layer</th>{}<th class=\"n\">whole plan</th>\
             <th>verdict</th></tr>\n",
            escape(&names.join(", ")),
            escape(&r.why.winner),
            r.why.candidates.len(),
            if measured { "<th class=\"n\">measured</th>" } else { "" },
        );
        for c in &r.why.candidates {
            let verdict = match (&c.refused, c.plan_ps) {
                _ if c.layout == r.why.winner => "<b>chosen</b>".to_string(),
                (Some(why), _) => format!("refused: {}", escape(why)),
                _ if measured && c.measured_ps.is_none() => "not measured: others are predicted to be faster".into(),
                (None, Some(ps)) if ps >= p.total_ps => format!("loses by {}", picoseconds(ps - p.total_ps)),
                (None, Some(_)) => "not chosen".into(),
                (None, None) => "no plan within the bounds uses it".into(),
            };
            let show = |n: Option<u64>, f: fn(u64) -> String| n.map_or(String::new(), f);
            out += &format!(
                "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>{}<td class=\"n\">{}</td><td>{verdict}</td></tr>\n",
                escape(&c.layout),
                show(c.stored_bytes, bytes),
                show(c.kernel_ps, picoseconds),
                if measured {
                    format!("<td class=\"n\">{}</td>", show(c.measured_ps, picoseconds))
                } else {
                    String::new()
                },
                show(c.plan_ps, picoseconds),
            );
        }
        out += "</table></div></details>\n";
    }
    out
}

/// The loops of every kernel, and which steps run it.
fn kernels(f: &Planned, target: Target) -> Result<String, Bug> {
    let program = schedule(&f.graph, &f.plan, target)?;
    let mut out = String::new();
    for (i, k) in program.kernels().iter().enumerate() {
        let steps: Vec<String> = program.steps().iter().filter(|s| s.kernel == i).map(|s| s.node.to_string()).collect();
        let text = k.to_string();
        let (lines, n) = (text.lines().count(), steps.len());
        let shown = steps.get(..n.min(8)).unwrap_or_default().join(" ") + if n > 8 { " .." } else { "" };
        out += &format!(
            "<details><summary>{} <span class=\"soft\">{n} {}, {lines} lines: {}</span></summary>\n<pre>{}</pre></details>\n",
            escape(&k.name),
            if n == 1 { "step" } else { "steps" },
            escape(&shown),
            escape(&text)
        );
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(escape("<script>\"a\" & b"), "&lt;script&gt;&quot;a&quot; &amp; b");
    }
}
