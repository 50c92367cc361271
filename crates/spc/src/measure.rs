//! `--measure K`: the most promising kernels of each linear, timed on this machine, and the plan that follows from them.
//!
//! Of each linear the way of the predicted plan is timed against the next best ones, in pairs of runs next to each other. A
//! rival that is not proved to be faster is priced as slower: what noise gives, noise takes away. Times are kept in a file by
//! everything that they depend on (code, threads, shape, tokens, epilogue, and what each candidate stores and multiplies), so
//! that the same program with the same file gives the same plan.
use crate::constants::Costs;
use crate::failure::{Failure, Res};
use crate::session::Session;
use crate::weights::WeightSet;
use serde::{Deserialize, Serialize};
use spc_base::{Bug, Diagnostic, codes};
use spc_bench::stats::{Verdict, compare};
use spc_bench::{Alone, Budget, Contestant, Layer, random, repeats, rounds};
use spc_formats::{Layout, pack, validate};
use spc_ir::{Act, Epilogue, Graph, Measured, NodeId, Op, Plan};
use spc_layout::{Options, Ranked, WeightFacts, choose, ranked};
use spc_sema::{Target, TargetKind};
use std::collections::BTreeMap;
use std::path::Path;

/// What is planned.
pub struct Case<'a> {
    pub graph: &'a Graph,
    pub facts: &'a BTreeMap<String, WeightFacts>,
    pub costs: &'a Costs,
    pub tuned: &'a BTreeMap<String, u64>,
    pub target: &'a Target,
    pub weights: &'a WeightSet,
}

/// Pairs of each candidate, and the time after which a linear has had enough.
const BUDGET: Budget = Budget { pairs: 31, seconds: 4.0 };

/// Greatest file of measured times that is read.
const LIMIT: u64 = 16 << 20;

/// The form of the file.
const FORMAT: u32 = 1;

/// Measured times by what they depend on: for each candidate of a linear its time in picoseconds, a rival that is not
/// proved to be faster than the first never less than that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    format: u32,
    times: BTreeMap<String, Vec<u64>>,
}

/// Activations of more numbers than this are not measured.
const MOST: u64 = 1 << 28;

fn unusable(path: &Path, why: &str) -> Diagnostic {
    let text = format!("`{}` cannot be used as measured times: {why}", path.display());
    Diagnostic::error(codes::MEASURED, text).help("remove it, and what it held is measured again")
}

/// The file, or an empty one where there is none.
fn read(s: &Session<'_>) -> Res<Times> {
    let empty = Times { format: FORMAT, times: BTreeMap::new() };
    let Some(path) = s.options.measured.as_deref().filter(|p| s.world.is_file(p)) else { return Ok(empty) };
    let bytes = s.world.read(path, LIMIT)?;
    if bytes.len() as u64 > LIMIT {
        return Err(unusable(path, "it is larger than 16 MiB").into());
    }
    let t: Times = serde_json::from_slice(&bytes).map_err(|e| unusable(path, &e.to_string()))?;
    if t.format != FORMAT {
        return Err(unusable(path, &format!("its format is {}, and this version reads {FORMAT}", t.format)).into());
    }
    Ok(t)
}

/// One linear's kernels.
struct Job {
    nodes: Vec<NodeId>,
    weight: String,
    layer: Layer,
    tokens: u64,
    ways: Vec<(Layout, Act)>,
}

/// The plan that follows from measured times of the `k` most promising ways to run each linear, and of its best dense one.
///
/// # Errors
/// A usage error for a target that is no CPU; SP0670 for a file of measured times that cannot be used.
pub fn measured(s: &Session<'_>, case: &Case<'_>, options: &Options, plan: Plan, k: usize) -> Res<Plan> {
    if case.target.kind != TargetKind::Cpu {
        let text = format!("`--measure` times kernels of this CPU, and `{}` is a GPU", case.target.name);
        return Err(Failure::usage(Diagnostic::error(codes::ARGUMENT, text).help("leave `--measure` out")));
    }
    let machine = case.costs.machine();
    let ranks = ranked(case.graph, case.facts, machine, case.tuned, options, &plan)?;
    let mut jobs: BTreeMap<String, Job> = BTreeMap::new();
    for l in &plan.linears {
        let Some(list) = ranks.get(&l.node) else { continue };
        let ways = promising(list, k);
        if ways.len() < 2 {
            continue;
        }
        let Some((layer, tokens)) = layer(case, l.node, l.epilogue, &plan.tuned_for)? else { continue };
        let key = key(s, case, &l.weight, &layer, tokens, &ways)?;
        let job = || Job { nodes: Vec::new(), weight: l.weight.clone(), layer, tokens, ways };
        jobs.entry(key).or_insert_with(job).nodes.push(l.node);
    }
    let mut known = read(s)?;
    let (mut out, mut new, total) = (Vec::new(), false, jobs.len() as u64);
    for (done, (key, job)) in (0u64..).zip(&jobs) {
        s.progress.step("measuring layouts", done, total);
        let times = match known.times.get(key).filter(|t| t.len() == job.ways.len()) {
            Some(times) => times.clone(),
            None => {
                let times = time(s, case, job)?;
                known.times.insert(key.clone(), times.clone());
                new = true;
                times
            }
        };
        for node in &job.nodes {
            for ((layout, act), ps) in job.ways.iter().zip(&times) {
                out.push(Measured { node: *node, layout: layout.to_string(), act: *act, ps: *ps });
            }
        }
    }
    s.progress.step("measuring layouts", total, total);
    if let (true, Some(path)) = (new, &s.options.measured) {
        let text = serde_json::to_string_pretty(&known).map_err(|e| Bug::new(e.to_string()))?;
        s.world.write(path, (text + "\n").as_bytes())?;
    }
    out.sort();
    let options = Options { measured: out, ..options.clone() };
    Ok(choose(case.graph, case.facts, machine, case.tuned, &options)?)
}

/// The first `k` ways, and the best dense one.
fn promising(list: &[Ranked], k: usize) -> Vec<(Layout, Act)> {
    let way = |r: &Ranked| (r.layout, r.act);
    let mut ways: Vec<(Layout, Act)> = list.iter().take(k.max(1)).map(way).collect();
    let dense = list.iter().find(|r| matches!(r.layout, Layout::Dense { .. })).map(way);
    ways.extend(dense.filter(|d| !ways.contains(d)));
    ways
}

/// A linear as a layer of its own, and its tokens; nothing where it cannot stand alone.
fn layer(
    case: &Case<'_>,
    node: NodeId,
    epilogue: Option<NodeId>,
    sizes: &BTreeMap<String, u64>,
) -> Result<Option<(Layer, u64)>, Bug> {
    let graph = case.graph;
    let Op::Linear { bias, act } = &graph.node(node)?.op else { return Err(Bug::new("not a linear")) };
    // What reads other values is left out: it takes as long behind any kernel.
    let act = match epilogue.map(|m| Epilogue::fused(graph, node, m)).transpose()?.flatten() {
        Some(found) => Some(found.expr).filter(|_| found.beside.is_empty()),
        None => act.clone(),
    };
    let syms: Option<Vec<u64>> = graph.syms.iter().map(|y| sizes.get(&y.name).copied()).collect();
    let shape = syms.and_then(|s| graph.ty(node).ok()?.shape(&s));
    let Some([leading @ .., rows]) = shape.as_deref() else { return Ok(None) };
    let tokens = leading.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
    let x = graph.inputs(node).first().copied();
    let cols = x.and_then(|x| graph.ty(x).ok()?.dims.last()?.size.fixed());
    let (Some(tokens), Some(cols)) = (tokens, cols.and_then(|c| usize::try_from(c).ok())) else { return Ok(None) };
    let wide = tokens.saturating_mul((*rows).max(cols) as u64);
    let alone = act.as_ref().is_none_or(|e| e.arity() <= 1) && (1..=MOST).contains(&wide);
    Ok(alone.then_some((Layer { rows: *rows, cols, bias: *bias, act }, tokens)))
}

/// Everything that the times of a job depend on, but for the machine.
fn key(
    s: &Session<'_>,
    case: &Case<'_>,
    weight: &str,
    layer: &Layer,
    tokens: u64,
    ways: &[(Layout, Act)],
) -> Result<String, Bug> {
    let on = s.cpu(case.target.threads);
    let f = case.facts.get(weight).ok_or_else(|| Bug::new("facts vanished"))?;
    let act = layer.act.as_ref().map_or_else(String::new, |e| format!(", {e}"));
    let bias = if layer.bias { ", bias" } else { "" };
    let mut out = format!(
        "spc {} {}, {} threads: {} x {}, {tokens} tokens{bias}{act}",
        env!("CARGO_PKG_VERSION"),
        on.isa.name(),
        on.threads,
        layer.rows,
        layer.cols
    );
    for (layout, act) in ways {
        let facts = f.candidates.iter().find(|(l, _)| l == layout).and_then(|(_, r)| r.as_ref().ok());
        let facts = facts.ok_or_else(|| Bug::new("a layout without facts"))?;
        let act = if *act == Act::Fm { "fm" } else { "rm" };
        out += &format!("; {layout} {act} {} {} {}", facts.stored_bytes, facts.multiplies, facts.units);
    }
    Ok(out)
}

/// Times the ways of a job in turns, each against the first.
fn time(s: &Session<'_>, case: &Case<'_>, job: &Job) -> Res<Vec<u64>> {
    let on = s.cpu(case.target.threads);
    let (rows, cols) = (job.layer.rows, job.layer.cols);
    let values = case.weights.want(&job.weight)?.values();
    let elements = usize::try_from(job.tokens).ok().and_then(|n| n.checked_mul(cols));
    let x = random(elements.ok_or_else(|| Bug::new("too many tokens"))?, 1);
    let mut alone = Vec::new();
    for (layout, act) in &job.ways {
        let packed = pack(layout, rows, cols, values).map_err(|r| Bug::new(format!("`{}`: {r}", job.weight)))?;
        let packed = validate(packed).map_err(Bug::new)?;
        alone.push(Alone::new(&job.layer, &packed, Some(*act), &x, on.threads, on.isa)?);
    }
    let now = || s.world.now();
    let mut list: Vec<Contestant<'_>> = Vec::new();
    for a in &alone {
        let n = repeats(a.run(&now)?.0.min(a.run(&now)?.0));
        let now = &now;
        list.push(Box::new(move || {
            let mut sum = 0.0;
            for _ in 0..n {
                sum += a.run(now)?.0;
            }
            Ok(sum / n as f64)
        }));
    }
    Ok(priced(&rounds(&mut list, BUDGET, &now)?))
}

/// The times that a plan may count on: the median of the first, and of each rival the first's divided by their ratio, if the
/// rival is proved to be faster, else what it took, and more than the first.
fn priced(times: &[Vec<f64>]) -> Vec<u64> {
    let Some((base, rivals)) = times.split_first() else { return Vec::new() };
    let ps = |seconds: f64| (seconds * 1e12).clamp(1.0, 1e18) as u64;
    let first = spc_bench::stats::median(base);
    let one = |rival: &Vec<f64>| {
        let ratio = compare(base, rival);
        match ratio.verdict {
            Verdict::Faster => ps(first / ratio.median),
            _ => ps(first / ratio.median).max(ps(first).saturating_add(1)),
        }
    };
    std::iter::once(ps(first)).chain(rivals.iter().map(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around a level, within a tenth, different for each seed.
    fn noisy(level: f64, seed: u64) -> Vec<f64> {
        let mut s = seed;
        let mut next = || {
            s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (s >> 40) as f64 / (1u64 << 24) as f64
        };
        (0..31).map(|_| level * (0.95 + 0.1 * next())).collect()
    }

    #[test]
    fn only_proved_wins_count() {
        let base = noisy(100e-6, 1);
        let (faster, same, slower) = (noisy(50e-6, 2), noisy(100e-6, 3), noisy(200e-6, 4));
        let p = priced(&[base.clone(), faster, same, slower]);
        assert!(p[1] < p[0] * 6 / 10, "{p:?}");
        assert!(p[2] > p[0] && p[3] > p[0] * 17 / 10, "{p:?}");
        // Half a per cent, however steady, is noise; and so are few pairs.
        let steady = vec![100e-6; 31];
        assert_eq!(priced(&[steady.clone(), vec![99.5e-6; 31]]), [100_000_000, 100_000_001]);
        let few = priced(&[vec![100e-6; 5], vec![50e-6; 5]]);
        assert!(few[1] > few[0], "{few:?}");
        assert!(priced(&[]).is_empty());
    }

    #[test]
    fn the_first_ways_and_a_dense_one_are_measured() {
        let way = |name: &str, act| Ranked { layout: name.parse().unwrap(), act, plan_ps: 0 };
        let list = [way("vx1(16)", Act::Fm), way("csr", Act::Fm), way("dense(16)", Act::Rm), way("dense(8)", Act::Rm)];
        let names = |k| promising(&list, k).into_iter().map(|(l, _)| l.to_string()).collect::<Vec<_>>();
        assert_eq!(names(1), ["vx1(16)", "dense(16)"]);
        assert_eq!(names(3), ["vx1(16)", "csr", "dense(16)"]);
        assert_eq!(names(16).len(), 4);
    }
}
