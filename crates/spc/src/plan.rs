//! From a function and its weights to an optimised graph and a plan, and the packed weights of that plan.
use crate::build::plain_weights;
use crate::constants::costs;
use crate::failure::Res;
use crate::lock::{Plans, fit};
use crate::measure::{Case, measured};
use crate::session::Session;
use crate::structure;
use crate::weights::WeightSet;
use spc_base::{Bug, Diagnostic, codes};
use spc_formats::{Layout, QUANTIZED_CANDIDATES, Refusal, Validated, pack, validate};
use spc_ir::structure::scaled_weights;
use spc_ir::{Amount, Graph, Keep, Op, Plan, Scope, passes};
use spc_layout::{Options, WeightFacts, choose};
use spc_sema::{Target, TargetKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Which layouts a plan may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Dense only: the best dense program, to compare with.
    Dense,
    /// All that hold the weights.
    All,
}

/// Packed weights by name and layout, shared between functions and programs.
pub type PackedSet = BTreeMap<(String, String), Arc<Validated>>;

/// An optimised function and how it is to be run.
#[derive(Clone, Debug)]
pub struct Planned {
    pub graph: Graph,
    pub plan: Plan,
    /// Run by the interpreter, as it is: nothing was optimised or chosen.
    pub interp: bool,
}

/// Runs the passes on a graph.
pub fn optimise(s: &Session<'_>, graph: &Graph) -> Res<Graph> {
    Ok(passes::run(graph, s.options.opt_limit)?.0)
}

/// Layouts that constraints on a weight suggest, beyond those that are always tried: `n of m` along the inputs, and tiles;
/// those of integers where the activations are rounded.
fn suggested(graph: &Graph, weight: &str, rounded: bool) -> Vec<Layout> {
    let mut out = BTreeSet::new();
    if rounded {
        out.extend(QUANTIZED_CANDIDATES);
    }
    for k in graph.requires.iter().flat_map(|r| &r.keeps) {
        for m in k.members.iter().filter(|m| m.weight == weight && m.shape.len() == 2) {
            let layout = m.group().and_then(|group| layout_of(k, group, &m.scope));
            out.extend(layout);
            if let (Some(Layout::Vx1 { v }), Amount::OutOf { n: 4, m: of }, [_, across]) =
                (layout, k.amount, &m.scope[..])
                && *across == of
                && let Ok(of) = u32::try_from(of)
            {
                out.insert(Layout::Vnm16 { v, m: of });
            }
            if let Some(Layout::Nm { n, m }) = layout {
                out.insert(Layout::Nm16 { n, m });
                if rounded {
                    out.insert(Layout::I8Nm { n, m });
                }
            }
        }
    }
    out.into_iter().filter(|l| l.check().is_ok()).collect()
}

/// Whether some linear reads this weight with rounded activations.
fn reads_rounded(graph: &Graph, weight: &str) -> Result<bool, Bug> {
    for (_, w) in graph.weights().into_iter().filter(|(n, _)| n == weight) {
        for r in graph.readers(w) {
            let x = graph.inputs(r).first().copied().filter(|x| *x != w);
            if matches!(graph.node(r)?.op, Op::Linear { .. })
                && let Some(x) = x
                && graph.rounded(x)?.is_some()
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn layout_of(k: &Keep, group: &[u64], scope: &[u64]) -> Option<Layout> {
    let small = |n: u64| u32::try_from(n).ok();
    match (k.amount, group, scope) {
        (Amount::OutOf { n, m }, [1, 1], [1, across]) if k.scope == Scope::Tile && *across == m => {
            Some(Layout::Nm { n: small(n)?, m: small(m)? })
        }
        (_, [r, 1], _) if *r > 1 => Some(Layout::Vx1 { v: small(*r)? }),
        (_, [r, c], _) if *r > 1 || *c > 1 => Some(Layout::Bsr { r: small(*r)?, c: small(*c)? }),
        _ => None,
    }
}

/// Names, rows and columns of the weights that linears read.
pub fn linear_weights(graph: &Graph) -> Result<BTreeMap<String, (usize, usize)>, Bug> {
    let mut out = BTreeMap::new();
    for node in graph.order()? {
        if !matches!(graph.node(node)?.op, Op::Linear { .. }) {
            continue;
        }
        let w = graph.inputs(node).get(1).copied().ok_or_else(|| Bug::new("a linear without a weight"))?;
        let Op::Weight { name, ty } = &graph.node(w)?.op else { return Err(Bug::new("a linear reads no weight")) };
        let shape = ty.matrix().ok_or_else(|| Bug::new(format!("the weight `{name}` of a linear is no matrix")))?;
        out.insert(name.clone(), shape);
    }
    Ok(out)
}

/// What a CPU has no kernel for in a function: the message, with the words that need it.
fn lacking(graph: &Graph, target: &Target) -> Result<Option<Diagnostic>, Bug> {
    if target.kind != TargetKind::Cpu {
        return Ok(None);
    }
    for n in graph.ids() {
        if let Some(what) = spc_kernel::missing(&graph.node(n)?.op) {
            let text = format!("the target `{}` cannot run `{}`: it has no kernel for {what}", target.name, graph.name);
            let d = Diagnostic::error(codes::UNSUPPORTED, text);
            return Ok(Some(match graph.sources.get(&n) {
                Some(source) => d.at(source.site, "needed here"),
                None => d,
            }));
        }
    }
    Ok(None)
}

/// Where the target has no kernel for something in these functions, they are interpreted, with a warning.
pub fn fall_back<'g>(
    s: &mut Session<'_>,
    graphs: impl IntoIterator<Item = &'g Graph>,
    target: &Target,
) -> Result<(), Bug> {
    for g in graphs {
        if s.options.interp {
            return Ok(());
        }
        if let Some(mut d) = lacking(g, target)? {
            d.level = spc_base::Level::Warning;
            s.warn(d.note("the interpreter runs it: results are exact, times say nothing about compiled code"));
            s.options.interp = true;
        }
    }
    Ok(())
}

/// The sizes that a target asks for of axes that this function has; a target may tune others.
pub fn tuned(graph: &Graph, target: &Target) -> BTreeMap<String, u64> {
    let own = |n: &String| graph.syms.iter().any(|y| y.name == *n);
    target.tune.iter().filter(|(n, _)| own(n)).map(|(n, v)| (n.clone(), *v)).collect()
}

/// Optimises a function and takes its plan from a file. See [`fit`].
pub fn plan_of_file(
    s: &Session<'_>,
    file: (&Path, &Plans),
    graph: &Graph,
    weights: &WeightSet,
    target: &Target,
) -> Res<Planned> {
    if let Some(d) = lacking(graph, target)? {
        return Err(d.help("`spc run` runs it in the interpreter").into());
    }
    fit(s, file.1, file.0, optimise(s, graph)?, weights, target)
}

/// Optimises a function, changes its structure where that pays, and chooses a dense layout of every weight: the best dense
/// program. Its packed weights, and all others that it reads.
pub fn best_dense(
    s: &Session<'_>,
    graph: &Graph,
    weights: &WeightSet,
    target: &Target,
) -> Res<(Planned, PackedSet, WeightSet)> {
    let planned = plan_like(s, graph, graph, weights, target, (Allowed::Dense, true))?;
    let mut packed = PackedSet::new();
    pack_weights(s, &planned, weights, &mut packed)?;
    let mut all = weights.clone();
    plain_made(&planned, &mut all)?;
    Ok((planned, packed, all))
}

/// Adds what a plan makes of weights and reads as it is stored: biases.
pub fn plain_made(planned: &Planned, weights: &mut WeightSet) -> Res<()> {
    let plain = plain_weights(&planned.graph)?;
    for name in planned.plan.structure.iter().filter_map(|s| s.made.as_ref()).filter(|m| plain.contains(*m)) {
        let w = crate::fold::value(name, &planned.plan.structure, weights)?;
        weights.insert(name, w);
    }
    Ok(())
}

/// Optimises a function and chooses its layouts, those among them that the constraints of `hints` suggest; with `structure` in
/// the structure that is cheapest. The same graph, weights and target give the same plan.
pub fn plan_like(
    s: &Session<'_>,
    graph: &Graph,
    hints: &Graph,
    weights: &WeightSet,
    target: &Target,
    (allowed, structure): (Allowed, bool),
) -> Res<Planned> {
    if s.options.interp {
        let graph = graph.compact()?;
        let plan = Plan::all_dense(&graph, &target.name, "dense(4)")?;
        return Ok(Planned { graph, plan, interp: true });
    }
    if let Some(d) = lacking(graph, target)? {
        return Err(d.help("`spc run` runs it in the interpreter").into());
    }
    let graph = optimise(s, graph)?;
    let mut facts = BTreeMap::new();
    let mut list = linear_weights(&graph)?;
    if structure {
        // Those of products that are linears once factors have moved into them.
        list.extend(scaled_weights(&graph)?);
    }
    let total = list.len() as u64;
    for (done, (name, (rows, cols))) in (0u64..).zip(list) {
        s.progress.step("weighing layouts", done, total);
        let values = weights.want(&name)?.values();
        let gpu = target.kind == TargetKind::Cuda;
        let mut extra =
            if allowed == Allowed::All { suggested(hints, &name, reads_rounded(&graph, &name)?) } else { Vec::new() };
        if gpu {
            extra.extend(TENSOR);
        }
        let f = WeightFacts::of(rows, cols, values, &extra);
        let mut f = f.map_err(|r| Bug::new(format!("`{name}`: {r}")))?;
        if allowed == Allowed::Dense {
            f.candidates.retain(|(l, _)| matches!(l.with_bf16(), Layout::Dense { .. } | Layout::Mma32 { .. }));
        }
        if gpu {
            on_gpu(&mut f);
        }
        facts.insert(name.clone(), f);
    }
    let tuned = tuned(&graph, target);
    let options = Options { target: target.name.clone(), why: allowed == Allowed::All, ..Options::default() };
    let costs = costs(s, target)?;
    let machine = costs.machine();
    let (graph, facts, mut plan) = if structure {
        let (dense, requires) = (allowed == Allowed::Dense, hints.requires.as_slice());
        let case =
            structure::Case { machine, tuned: &tuned, options: &options, weights: Some(weights), dense, requires };
        structure::plan(graph, facts, &case)?
    } else {
        let plan = choose(&graph, &facts, machine, &tuned, &options)?;
        (graph, facts, plan)
    };
    if let (Some(k), Allowed::All) = (s.options.measure, allowed) {
        let weights = structure::with_made([&plan], weights)?;
        let case = Case { graph: &graph, facts: &facts, costs: &costs, tuned: &tuned, target, weights: &weights };
        let predicted = plan.clone();
        plan = structure::told_again(&predicted, measured(s, &case, &options, plan, k)?);
    }
    plan.verify(&graph).map_err(|e| Bug::new(format!("the plan does not verify: {e}")))?;
    Ok(Planned { graph, plan, interp: false })
}

/// What tensor cores have kernels of.
const TENSOR: [Layout; 14] = [
    Layout::Mma32 { r: 128 },
    Layout::Mma32 { r: 64 },
    Layout::Mma32 { r: 32 },
    Layout::Mma1 { r: 128 },
    Layout::Mma1 { r: 64 },
    Layout::Mma1 { r: 32 },
    Layout::Mma1 { r: 16 },
    Layout::Vnm { v: 128, m: 8 },
    Layout::Vnm { v: 64, m: 8 },
    Layout::Vnm { v: 32, m: 8 },
    Layout::Vnm { v: 128, m: 16 },
    Layout::Vnm { v: 64, m: 16 },
    Layout::Vnm { v: 64, m: 32 },
    Layout::Mma24,
];

/// Refuses layouts that a GPU has no kernel of, and puts what is for tensor cores first.
pub fn on_gpu(facts: &mut WeightFacts) {
    for (layout, result) in &mut facts.candidates {
        if spc_layout::family(*layout).is_none() {
            *result = Err(Refusal("GPUs have no kernel of it".into()));
        }
    }
    facts.candidates.sort_by_key(|(l, _)| !l.needs_tensor_cores());
}

/// Packs the weights of a plan's linears in the layouts chosen for them, those that are not in the set yet.
pub fn pack_weights(s: &Session<'_>, planned: &Planned, weights: &WeightSet, into: &mut PackedSet) -> Res<()> {
    let shapes = linear_weights(&planned.graph)?;
    let total = planned.plan.linears.len() as u64;
    for (done, l) in (0u64..).zip(&planned.plan.linears) {
        s.progress.step("packing", done, total);
        let key = (l.weight.clone(), l.layout.clone());
        if into.contains_key(&key) {
            continue;
        }
        let (rows, cols) = *shapes.get(&l.weight).ok_or_else(|| Bug::new("a planned weight vanished"))?;
        let layout: Layout = l.layout.parse().map_err(|e| Bug::new(format!("`{}`: {e}", l.weight)))?;
        // What is made of other weights is put together here and not kept.
        let made = crate::fold::value(&l.weight, &planned.plan.structure, weights)?;
        let packed = pack(&layout, rows, cols, made.values())
            .map_err(|r| Bug::new(format!("`{}` was planned as {layout} and does not fit it: {r}", l.weight)))?;
        let valid = validate(packed).map_err(|e| Bug::new(format!("`{}` packed as {layout}: {e}", l.weight)))?;
        into.insert(key, Arc::new(valid));
    }
    s.progress.step("packing", total, total);
    Ok(())
}

/// Warns of constraints that no layout turns into less time: every weight they act on stays dense.
/// Weights that got smaller are exploited, whatever their layout.
pub fn warn_unexploited(s: &mut Session<'_>, module: &spc_sema::Module, plans: &[Planned], smaller: &BTreeSet<&str>) {
    for r in &module.requires {
        let mut names: Vec<&str> = r.keeps.iter().flat_map(|k| &k.members).map(|m| m.weight.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.iter().any(|n| smaller.contains(n)) {
            continue;
        }
        let linears = plans.iter().flat_map(|p| p.plan.linears.iter().map(|l| (p.plan.sources(&l.weight), l)));
        let mut linears = linears.filter(|(from, _)| from.iter().any(|w| names.contains(w))).peekable();
        if linears.peek().is_some() && linears.all(|(_, l)| l.layout.starts_with("dense")) {
            let text = format!("no layout makes `{}` faster than dense", r.name);
            s.warn(
                Diagnostic::warning(codes::NOT_EXPLOITED, text)
                    .at(r.span, "its weights stay dense")
                    .help("`spc explain` lists what was considered"),
            );
        }
    }
}
