//! What is different between two plan files, in words, in the order of the files.
use super::Plans;
use crate::explain::{done_word, is_second_part};
use serde::Serialize;
use spc_ir::structure::{Restructure, joined_name};
use spc_ir::{Act, LinearPlan, Plan, Why};
use spc_report::{Align, Table, percent, picoseconds};
use std::collections::BTreeMap;

/// One line that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where: a function, or nothing for the whole file.
    pub function: Option<String>,
    pub weight: Option<String>,
    /// Which property.
    pub what: String,
    /// Its value on either side, in words; nothing where that side has none.
    pub a: Option<String>,
    pub b: Option<String>,
    /// What is known of the cause.
    pub because: Vec<String>,
}

impl Difference {
    pub fn whole(what: &str, a: Option<String>, b: Option<String>) -> Difference {
        Difference { function: None, weight: None, what: what.into(), a, b, because: Vec::new() }
    }

    /// One side as a line.
    pub fn line(&self, side: Option<&String>) -> Option<String> {
        let value = side?;
        let at = |name: &Option<String>| name.as_ref().map_or(String::new(), |n| format!("{n}: "));
        let weight = self.weight.as_ref().map_or(String::new(), |w| format!("{w} "));
        Some(format!("{}{weight}{} {value}", at(&self.function), self.what))
    }
}

/// Everything that differs; empty for equal plans, seals aside.
pub fn differences(a: &Plans, b: &Plans) -> Vec<Difference> {
    let mut out = Vec::new();
    if a.kind != b.kind {
        out.push(Difference::whole("kind of target", Some(a.kind.clone()), Some(b.kind.clone())));
    }
    let find = |list: &[Plan], name: &str| list.iter().position(|p| p.function == name);
    for p in &a.functions {
        match find(&b.functions, &p.function) {
            Some(i) => functions(p, &b.functions[i], &mut out),
            None => out.push(Difference::whole("function", Some(p.function.clone()), None)),
        }
    }
    for p in b.functions.iter().filter(|p| find(&a.functions, &p.function).is_none()) {
        out.push(Difference::whole("function", None, Some(p.function.clone())));
    }
    out
}

fn sizes(p: &Plan) -> String {
    let list: Vec<String> = p.tuned_for.iter().map(|(n, v)| format!("{n} = {v}")).collect();
    if list.is_empty() { "nothing".into() } else { list.join(", ") }
}

fn table(p: &Plan) -> String {
    format!("{} ({})", p.cost_table.name, p.cost_table.hash)
}

/// What the steps that change a plan's structure do, in words, each once.
fn steps(p: &Plan) -> Vec<(String, &Restructure)> {
    let done = p.structure.iter().filter(|s| s.made.is_some() && !is_second_part(s));
    done.map(|s| {
        let what = match (done_word(s), &s.made, s.from.as_slice()) {
            ("folded", Some(made), _) => made.clone(),
            (_, _, [one]) => one.clone(),
            (_, _, list) => joined_name(list),
        };
        (format!("{} {what}", done_word(s)), s)
    })
    .collect()
}

/// What was made of the program's weights.
fn made(p: &Plan) -> String {
    let list: Vec<String> = steps(p).into_iter().map(|(words, _)| words).collect();
    if list.is_empty() { "as in the program".into() } else { list.join(", ") }
}

/// Why two plans have another structure: what either says of the steps that only one of them takes.
fn steps_apart(a: &Plan, b: &Plan) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for (here, there, side, other) in [(a, b, "first", "second"), (b, a, "second", "first")] {
        let theirs = steps(there);
        let mut told: Vec<&str> = Vec::new();
        for (words, step) in steps(here).into_iter().filter(|(w, _)| theirs.iter().all(|(t, _)| t != w)) {
            if told.contains(&step.because.as_str()) {
                continue;
            }
            told.push(&step.because);
            let mut text = format!("{words} in the {side} plan: {}", step.because);
            let left = there
                .structure
                .iter()
                .find(|s| s.made.is_none() && s.rule == step.rule && s.from.iter().any(|f| step.from.contains(f)));
            if let Some(left) = left {
                text += &format!("; not so in the {other}: {}", left.because);
            }
            out.push(text);
        }
    }
    out
}

/// Which linears of the other plan, the one of that side, have the weights of one that it lacks.
fn instead(weight: &str, own: &Plan, other: &Plan, side: &str) -> Vec<String> {
    let from = own.sources(weight);
    let has = |l: &&LinearPlan| other.sources(&l.weight).iter().any(|w| from.contains(w));
    let mut list: Vec<&str> = other.linears.iter().filter(has).map(|l| l.weight.as_str()).collect();
    list.dedup();
    if list.is_empty() { Vec::new() } else { vec![format!("in the {side} plan it is {}", list.join(", "))] }
}

fn zeros(w: &Why) -> String {
    let all = w.rows.saturating_mul(w.cols).max(1);
    format!("{} ({} of {} present)", percent(1.0 - w.nonzeros as f64 / all as f64), w.nonzeros, all)
}

/// The linears of a plan by weight, and by number where a weight is read several times.
fn by_weight(p: &Plan) -> BTreeMap<(String, usize), (&LinearPlan, Option<&Why>)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut out = BTreeMap::new();
    for l in &p.linears {
        let n = seen.entry(&l.weight).or_default();
        let why = p.why.iter().find(|w| w.node == l.node);
        out.insert((l.weight.clone(), *n), (l, why));
        *n += 1;
    }
    out
}

fn functions(a: &Plan, b: &Plan, out: &mut Vec<Difference>) {
    let before = out.len();
    let name = Some(a.function.clone());
    let mut say = |weight: Option<&str>, what: &str, x: Option<String>, y: Option<String>, because: Vec<String>| {
        if x != y {
            let weight = weight.map(Into::into);
            out.push(Difference { function: name.clone(), weight, what: what.into(), a: x, b: y, because });
        }
    };
    type Words = fn(&Plan) -> String;
    let general: Vec<(&str, Words)> = vec![
        ("target", |p| p.target.clone()),
        ("tuned for", sizes),
        ("cost table", table),
        ("computation and constraints", |p| p.graph.clone()),
        ("predicted", |p| picoseconds(p.total_ps)),
        ("all dense", |p| picoseconds(p.dense_ps)),
        ("search", |p| if p.exact { "complete".into() } else { "stopped by a bound".into() }),
        ("bounds", |p| p.bounds.join("; ")),
        ("rules", |p| p.rules.join(", ")),
    ];
    for (what, f) in general {
        say(None, what, Some(f(a)), Some(f(b)), Vec::new());
    }
    say(None, "structure", Some(made(a)), Some(made(b)), steps_apart(a, b));
    let (mine, other) = (by_weight(a), by_weight(b));
    for (key, (l, why)) in &mine {
        let weight = Some(key.0.as_str());
        let Some((m, because)) = other.get(key) else {
            say(weight, "linear", Some(l.layout.clone()), None, instead(&key.0, a, b, "second"));
            continue;
        };
        if let (Some(v), Some(w)) = (why, because) {
            let shape = |w: &Why| Some(format!("{} x {}", w.rows, w.cols));
            say(weight, "shape", shape(v), shape(w), Vec::new());
            say(weight, "zeros", Some(zeros(v)), Some(zeros(w)), Vec::new());
        }
        let causes = why.zip(*because).map_or_else(Vec::new, |(v, w)| causes(v, w));
        say(weight, "layout", Some(l.layout.clone()), Some(m.layout.clone()), causes);
        let act = |l: &LinearPlan| Some(if l.x == Act::Fm { "feature-major" } else { "token-major" }.to_string());
        say(weight, "activations", act(l), act(m), Vec::new());
        let fused = |l: &LinearPlan| Some(if l.epilogue.is_some() { "fused" } else { "apart" }.to_string());
        say(weight, "function after it", fused(l), fused(m), Vec::new());
        let time = |l: &LinearPlan| Some(picoseconds(l.predicted_ps));
        say(weight, "predicted", time(l), time(m), Vec::new());
    }
    for (key, (m, _)) in other.iter().filter(|(k, _)| !mine.contains_key(*k)) {
        say(Some(&key.0), "linear", None, Some(m.layout.clone()), instead(&key.0, b, a, "first"));
    }
    let converts = |p: &Plan| Some(p.converts.len().to_string());
    say(None, "conversions", converts(a), converts(b), Vec::new());
    if out.len() == before && a != b {
        let what = if (&a.linears, &a.values, &a.converts) == (&b.linears, &b.values, &b.converts) {
            "reasons"
        } else {
            "places in the computation"
        };
        let (a, b) = (Some("these".into()), Some("others".into()));
        let d = Difference { function: name, weight: None, what: what.into(), a, b, because: Vec::new() };
        out.push(d);
    }
}

/// Why two plans hold a weight in different layouts: what became of either winner on the other side.
fn causes(a: &Why, b: &Why) -> Vec<String> {
    let mut out = Vec::new();
    for (word, here, there, side) in [(&a.winner, a, b, "second"), (&b.winner, b, a, "first")] {
        let find = |w: &Why| w.candidates.iter().find(|c| c.layout == *word).cloned();
        let text = match (find(here), find(there)) {
            (_, None) => format!("{word} was not considered in the {side} plan"),
            (_, Some(c)) if c.refused.is_some() => {
                format!("{word} is refused in the {side} plan: {}", c.refused.unwrap_or_default())
            }
            (Some(x), Some(y)) => match (x.kernel_ps, y.kernel_ps) {
                (Some(x), Some(y)) => {
                    let other = if side == "second" { "first" } else { "second" };
                    format!("{word} takes {} in the {other} plan, {} in the {side}", picoseconds(x), picoseconds(y))
                }
                _ => format!("no plan within the bounds uses {word} in the {side} plan"),
            },
            (None, Some(_)) => format!("{word} is chosen without a reason in the other plan"),
        };
        out.push(text);
    }
    out
}

/// The differences for a person; one sentence where there are none.
pub fn show(list: &[Difference]) -> String {
    if list.is_empty() {
        return "the plans are the same\n".into();
    }
    let mut out = String::new();
    let mut parts: Vec<Option<&String>> = Vec::new();
    for d in list {
        if !parts.contains(&d.function.as_ref()) {
            parts.push(d.function.as_ref());
        }
    }
    for part in parts {
        let mut t = Table::new([
            (part.map_or("whole file", String::as_str), Align::Left),
            ("", Align::Left),
            ("first", Align::Left),
            ("second", Align::Left),
        ]);
        let mine: Vec<&Difference> = list.iter().filter(|d| d.function.as_ref() == part).collect();
        for d in &mine {
            let side = |s: &Option<String>| s.clone().unwrap_or_else(|| "none".into());
            t.row([d.weight.clone().unwrap_or_default(), d.what.clone(), side(&d.a), side(&d.b)]);
        }
        out += &t.render();
        for d in mine.iter().filter(|d| !d.because.is_empty()) {
            out += &format!("  {}: {}\n", d.weight.as_deref().unwrap_or(&d.what), d.because.join("; "));
        }
    }
    out
}
