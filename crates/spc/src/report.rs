//! `spc explain --report FILE`: a page about the plans of a program. One file, no scripts, nothing from a network.
use crate::plan::Planned;
use spc_base::Bug;
use spc_formats::Layout;
use spc_ir::{LinearPlan, Why};
use spc_kernel::schedule;
use spc_layout::CostTable;
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
.before { fill: var(--a); } .after { fill: var(--b); } .line { stroke: var(--soft); fill: none; } .grid { stroke: var(--rule); }
summary { cursor: pointer; }
";

/// The page. `lanes` are those of the CPU code whose loops are shown; without them, no loops.
pub fn page(title: &str, functions: &[Planned], table: &CostTable, lanes: Option<usize>) -> Result<String, Bug> {
    let title = escape(title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title}: plan</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<p class=\"soft\">Times are predictions with the constants {} ({}). <code>spc bench</code> measures \
         them.</p>\n",
        escape(&table.name),
        escape(&table.source)
    );
    for f in functions {
        if f.interp {
            out += &format!("<h2>{}</h2>\n<p>Run by the interpreter: there is no plan.</p>\n", escape(&f.graph.name));
            continue;
        }
        out += &function(f, table, lanes)?;
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
        let best = dense.filter_map(|c| Some((c.kernel_ps?, c.stored_bytes?))).min();
        let best = best.map_or((own, l.predicted_ps), |(ps, bytes)| (bytes, ps));
        out.push(Row { why, plan: l, tokens, dense: best, own: (own, l.predicted_ps) });
    }
    Ok(out)
}

fn function(f: &Planned, table: &CostTable, lanes: Option<usize>) -> Result<String, Bug> {
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
    out += &layers(&rows);
    out += "<h3>Time of each layer: dense above, as planned below</h3>\n";
    out += &bars(&rows, |r| (r.dense.1, r.own.1), picoseconds);
    out += "<h3>Stored bytes of each layer: dense above, as planned below</h3>\n";
    out += &bars(&rows, |r| (r.dense.0, r.own.0), bytes);
    out += "<h3>Roofline</h3>\n";
    out += &roofline(&rows, table);
    if let Some(lanes) = lanes {
        out += "<h3>Kernels</h3>\n";
        out += &kernels(f, lanes)?;
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
        let margin = r.why.margin_permille.map_or(String::new(), |m| format!("{} %", m as f64 / 10.0));
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

/// Two bars a layer.
fn bars(rows: &[Row<'_>], of: fn(&Row<'_>) -> (u64, u64), show: fn(u64) -> String) -> String {
    let most = rows.iter().map(|r| of(r).0.max(of(r).1)).max().unwrap_or(1).max(1) as f64;
    let (label, width, line) = (260.0, 560.0, 34.0);
    let height = rows.len() as f64 * line + 8.0;
    let mut out = format!("<svg viewBox=\"0 0 1000 {height:.0}\" width=\"100%\" role=\"img\">\n");
    for (i, r) in rows.iter().enumerate() {
        let (before, after) = of(r);
        let y = i as f64 * line + 4.0;
        out += &format!(
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            label - 8.0,
            y + 18.0,
            escape(&shorten(&r.why.weight))
        );
        for (value, class, dy) in [(before, "before", 0.0), (after, "after", 14.0)] {
            let w = value as f64 / most * width;
            out += &format!(
                "<rect class=\"{class}\" x=\"{label:.0}\" y=\"{:.1}\" width=\"{w:.1}\" height=\"12\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" class=\"soft\">{}</text>\n",
                y + dy,
                label + w + 6.0,
                y + dy + 10.5,
                show(value)
            );
        }
    }
    out + "</svg>\n"
}

fn shorten(name: &str) -> String {
    let n = name.chars().count();
    if n <= 34 { name.to_string() } else { format!("..{}", name.chars().skip(n - 32).collect::<String>()) }
}

/// Fastest rate at which the table prices multiply-adds, in 10^9 operations a second: sixteen to a load.
fn peak(t: &CostTable) -> f64 {
    let each = |r: &spc_layout::Rates| r.mul_fs as f64 + r.load_fs[0] as f64 / 16.0;
    let least = [&t.dense_rm, &t.dense_fm, &t.vx1, &t.bsr].map(each).into_iter().fold(f64::INFINITY, f64::min);
    2e6 / least.max(1e-3)
}

/// Every kernel between the lines of the table: operations a byte against operations a second, both logarithmic.
fn roofline(rows: &[Row<'_>], table: &CostTable) -> String {
    let peak = peak(table);
    let points: Vec<(f64, f64)> = rows.iter().map(Row::point).filter(|(x, y)| *x > 0.0 && *y > 0.0).collect();
    let least_x = points.iter().map(|p| p.0).fold(0.1, f64::min).log10().floor();
    let most_x = points.iter().map(|p| p.0).fold(100.0, f64::max).log10().ceil();
    let least_y = points.iter().map(|p| p.1).fold(peak / 100.0, f64::min).log10().floor();
    let most_y = points.iter().map(|p| p.1).fold(peak, f64::max).log10().ceil();
    let (left, top, width, height) = (70.0, 10.0, 900.0, 380.0);
    let px = |x: f64| left + (x.log10() - least_x) / (most_x - least_x) * width;
    let py = |y: f64| top + height - (y.log10() - least_y) / (most_y - least_y) * height;
    let mut out = "<svg viewBox=\"0 0 1000 440\" width=\"100%\" role=\"img\">\n".to_string();
    for e in least_x as i32..=most_x as i32 {
        let x = px(10f64.powi(e));
        out += &format!(
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{:.1}\"/><text class=\"soft\" x=\"{x:.1}\" \
             y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            top + height,
            top + height + 18.0,
            10f64.powi(e)
        );
    }
    for e in least_y as i32..=most_y as i32 {
        let y = py(10f64.powi(e));
        out += &format!(
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"soft\" x=\"{:.1}\" \
             y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            left + width,
            left - 6.0,
            y + 4.0,
            10f64.powi(e)
        );
    }
    let end = 10f64.powf(most_x);
    let start = 10f64.powf(least_x);
    for l in &table.levels {
        // 10^9 bytes a second.
        let rate = l.bytes_per_us as f64 / 1e3;
        let from = start.max(10f64.powf(least_y) / rate);
        let to = (peak / rate).min(end);
        if from < to {
            out += &format!(
                "<path class=\"line\" d=\"M{:.1} {:.1} L{:.1} {:.1}\"><title>{rate:.1} GB/s</title></path>\n",
                px(from),
                py(from * rate),
                px(to),
                py(to * rate)
            );
        }
    }
    out += &format!(
        "<path class=\"line\" d=\"M{:.1} {y:.1} L{:.1} {y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{peak:.0} \
         GFLOP/s, the fastest that the table knows</text>\n",
        px((peak / (table.levels.first().map_or(1.0, |l| l.bytes_per_us as f64 / 1e3))).max(start)),
        left + width,
        left + width - 4.0,
        py(peak) - 6.0,
        y = py(peak)
    );
    for r in rows {
        let (x, y) = r.point();
        if x > 0.0 && y > 0.0 {
            out += &format!(
                "<circle class=\"after\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"><title>{}, {}: {y:.1} GFLOP/s at {x:.1} \
                 operations a byte</title></circle>\n",
                px(x),
                py(y),
                escape(&r.why.weight),
                escape(&r.plan.layout)
            );
        }
    }
    out += &format!(
        "<text class=\"soft\" x=\"{:.1}\" y=\"432\" text-anchor=\"middle\">operations on present weights a byte, against 10^9 \
         operations a second</text>\n</svg>\n",
        left + width / 2.0
    );
    out
}

/// The loops of every kernel, and which steps run it.
fn kernels(f: &Planned, lanes: usize) -> Result<String, Bug> {
    let program = schedule(&f.graph, &f.plan, lanes)?;
    let mut out = String::new();
    for (i, k) in program.kernels().iter().enumerate() {
        let steps: Vec<String> = program.steps().iter().filter(|s| s.kernel == i).map(|s| s.node.to_string()).collect();
        let text = k.to_string();
        out += &format!(
            "<details><summary>{} <span class=\"soft\">{} steps, {} lines: {}</span></summary>\n<pre>{}</pre></details>\n",
            escape(&k.name),
            steps.len(),
            text.lines().count(),
            escape(&shorten(&steps.join(" "))),
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
        assert_eq!(shorten("net.w"), "net.w");
        assert_eq!(shorten(&"ä".repeat(50)).chars().count(), 34);
    }

    #[test]
    fn the_peak_of_a_table_is_its_fastest_family() {
        let r = spc_layout::Rates::flat;
        let mut t = CostTable::clif_x86_64_v1();
        (t.dense_rm, t.dense_fm, t.vx1, t.bsr) =
            (r(99_000, 0, 0, 0), r(90_000, 0, 0, 0), r(9_000, 16_000, 0, 0), r(50_000, 0, 0, 0));
        assert!((peak(&t) - 200.0).abs() < 1e-9);
    }
}
