//! `spc bench`: every layer and the whole program against the best dense way, measured in turns.
mod model;
mod show;

pub use model::check_model_here;

use crate::bind;
use crate::build::build_from;
use crate::engine::{Cpu, Engine};
use crate::failure::{Failure, Res};
use crate::load::{listing, load_file};
use crate::plan::{PackedSet, Planned, best_dense, fall_back};
use crate::project::project;
use crate::random;
use crate::run::Done;
use crate::session::Session;
use crate::target::target;
use crate::weights::WeightSet;
use serde::Serialize;
use spc_base::{Bug, Diagnostic, codes};
use spc_bench::stats::{Ratio, compare};
use spc_bench::{
    Alone, Budget, Cell, Contestant, Entrants, Machine, Peer, Roofline, Side, Work, measure, repeats, rounds,
};
use spc_formats::{Layout, Validated, pack, validate};
use spc_ir::{Act, Epilogue, Graph, LinearPlan, Op, ScalarExpr};
use spc_sema::{Target, TargetKind};
use std::collections::BTreeMap;
use std::path::Path;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Bench {
    pub target: Option<String>,
    /// Functions; those that `compile` would compile if empty.
    pub functions: Vec<String>,
    /// Sizes of the first free axis, one measurement each; the target's if empty.
    pub batches: Vec<u64>,
    /// Sizes of free axes by name.
    pub sizes: Vec<(String, u64)>,
    pub budget: Budget,
    pub json: bool,
}

/// One layer, and those that are like it.
#[derive(Clone, Debug, Serialize)]
struct LayerReport {
    weight: String,
    /// Other weights of the same shape and layout with as many elements (within 2 %), not measured again.
    alike: Vec<String>,
    rows: usize,
    cols: usize,
    tokens: u64,
    nonzeros: u64,
    layout: String,
    dense_layout: String,
    stored_bytes: u64,
    dense_bytes: u64,
    predicted_seconds: f64,
    #[serde(flatten)]
    cell: Cell,
}

/// A function at some sizes.
#[derive(Clone, Debug, Serialize)]
struct FunctionReport {
    function: String,
    sizes: BTreeMap<String, u64>,
    layers: Vec<LayerReport>,
    whole: Whole,
}

/// The whole call, dense against planned.
#[derive(Clone, Debug, Serialize)]
struct Whole {
    dense: Side,
    ours: Side,
    ratio: Ratio,
    dense_bytes: u64,
    stored_bytes: u64,
}

/// Everything that one command measured.
#[derive(Clone, Debug, Serialize)]
struct Report {
    isa: &'static str,
    threads: usize,
    peer: &'static str,
    roofline: Roofline,
    functions: Vec<FunctionReport>,
}

/// Measures the functions of a file.
///
/// # Errors
/// SP0605 for what has no compiled code; a usage error for axes and sizes that there are not.
pub fn bench_file(s: &mut Session<'_>, path: &Path, what: &Bench) -> Res<Done> {
    let source = load_file(s, path)?;
    let t = target(&source.module, what.target.as_deref())?;
    if t.kind == TargetKind::Cuda {
        let text = format!("`bench` measures CPU code, and `{}` is a GPU", t.name);
        return Err(Diagnostic::error(codes::UNSUPPORTED, text).help("measure on the target `cpu`").into());
    }
    let names = source.functions(&what.functions)?;
    let graphs = names.iter().map(|n| source.graph(n)).collect::<Result<Vec<_>, _>>()?;
    fall_back(s, graphs.iter().copied(), &t)?;
    if s.options.interp {
        let text = "there is nothing to measure: the program runs in the interpreter";
        return Err(Diagnostic::error(codes::UNSUPPORTED, text).into());
    }
    known_axes(&graphs, &what.sizes)?;
    let on = s.cpu(t.threads);
    let stored = bind::weights(s, &source, &WeightSet::default())?;
    let (weights, projected) = project(s, &source, &stored)?;
    let world = s.world;
    let heard = |done, total| s.progress.step("measuring the machine", done, total);
    let machine = Machine::measure(on.isa, on.threads, &|| world.now(), &heard)?;
    let mut report = Report {
        isa: on.isa.name(),
        threads: on.threads,
        peer: spc_bench::PEER,
        roofline: machine.roofline.clone(),
        functions: Vec::new(),
    };
    let batches: Vec<Option<u64>> =
        if what.batches.is_empty() { vec![None] } else { what.batches.iter().map(|n| Some(*n)).collect() };
    for batch in batches {
        for name in &names {
            let graph = source.graph(name)?;
            let t = tuned(graph, &t, batch, &what.sizes)?;
            let (dense, packed, all) = best_dense(s, source.dense_graph(name)?, &stored, &t)?;
            let dense = Version { engine: Engine::new(&dense, &packed, &all, on)?, planned: dense, packed };
            let built = build_from(s, &source, t, std::slice::from_ref(name), weights.clone(), projected.clone())?;
            let planned = built.function(name)?.clone();
            let engine = Engine::new(&planned, &built.packed, &built.weights, on)?;
            let ours = Version { planned, engine, packed: built.packed };
            report.functions.push(function(s, &dense, &ours, &machine, on, what)?);
        }
    }
    let text = if what.json { show::json(&report)? } else { show::table(&report) };
    Ok(text.into())
}

/// A program, ready to run.
struct Version {
    planned: Planned,
    engine: Engine,
    packed: PackedSet,
}

impl Version {
    fn bytes(&self) -> u64 {
        self.packed.values().map(|p| p.packed().bytes()).fold(0, u64::saturating_add)
    }
}

/// Refuses sizes of axes that no function has.
fn known_axes(graphs: &[&Graph], sizes: &[(String, u64)]) -> Res<()> {
    let mut known: Vec<&str> = graphs.iter().flat_map(|g| &g.syms).map(|y| y.name.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    match sizes.iter().find(|(n, _)| !known.contains(&n.as_str())) {
        None => Ok(()),
        Some((n, _)) => {
            let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("no function has a free axis `{n}`"));
            Err(Failure::usage(listing(d, "free axis", &known)))
        }
    }
}

/// The target with the sizes that were asked for.
fn tuned(graph: &Graph, t: &Target, batch: Option<u64>, sizes: &[(String, u64)]) -> Res<Target> {
    let mut t = t.clone();
    let first = graph.syms.first().map(|y| y.name.clone());
    let wanted = batch.and_then(|n| Some((first?, n))).into_iter().chain(sizes.iter().cloned());
    for (name, n) in wanted {
        let Some(y) = graph.syms.iter().find(|y| y.name == name) else { continue };
        if n < y.lo || n > y.hi {
            let text = format!("the axis `{name}` cannot be {n}: it is {}..{}", y.lo, y.hi);
            return Err(Failure::usage(Diagnostic::error(codes::INPUT, text)));
        }
        t.tune.insert(name, n);
    }
    Ok(t)
}

fn function(
    s: &Session<'_>,
    dense: &Version,
    ours: &Version,
    machine: &Machine,
    on: Cpu,
    what: &Bench,
) -> Res<FunctionReport> {
    let graph = &ours.planned.graph;
    let sizes = ours.planned.plan.tuned_for.clone();
    let syms: Option<Vec<u64>> = graph.syms.iter().map(|y| sizes.get(&y.name).copied()).collect();
    let syms = syms.ok_or_else(|| Bug::new("a plan is not tuned for an axis"))?;
    if !random::fits(graph, &syms) {
        let text = format!("the values of `{}` at these sizes are too large to be measured", graph.name);
        return Err(Diagnostic::error(codes::INPUT, text).help("choose smaller sizes with `--size`").into());
    }
    let mut layers: Vec<(LayerReport, LinearPlan)> = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    for l in &ours.planned.plan.linears {
        let g = Group::new(l, ours, dense, &syms)?;
        match groups.iter_mut().find(|o| o.alike(&g)) {
            Some(first) => first.weights.extend(g.weights),
            None => groups.push(g),
        }
    }
    let total = groups.len() as u64 + 1;
    for (done, g) in (0u64..).zip(groups) {
        s.progress.step("measuring layers", done, total);
        layers.push(g.measure(s, ours, machine, on, what.budget)?);
    }
    s.progress.step("measuring layers", total - 1, total);
    let whole = whole(s, dense, ours, &syms, what.budget)?;
    s.progress.step("measuring layers", total, total);
    let layers = layers.into_iter().map(|(l, _)| l).collect();
    Ok(FunctionReport { function: graph.name.clone(), sizes, layers, whole })
}

/// Layers that are measured once.
struct Group {
    plan: LinearPlan,
    weights: Vec<String>,
    layer: spc_bench::Layer,
    tokens: u64,
    nonzeros: u64,
    dense: (Layout, Act),
}

impl Group {
    fn new(l: &LinearPlan, ours: &Version, dense: &Version, syms: &[u64]) -> Res<Group> {
        let graph = &ours.planned.graph;
        let p = packed(ours, l)?;
        let mut nonzeros = 0u64;
        p.for_each(|_, _, _| nonzeros += 1);
        let Op::Linear { bias, act } = &graph.node(l.node)?.op else { return Err(Bug::new("not a linear").into()) };
        // What reads other values is left out, on all sides.
        let act = match l.epilogue.map(|m| Epilogue::fused(graph, l.node, m)).transpose()?.flatten() {
            Some(found) => Some(found.expr).filter(|_| found.beside.is_empty()),
            None => act.clone(),
        };
        let tokens = graph.ty(l.node)?.shape(syms).and_then(|d| {
            let (_, leading) = d.split_last()?;
            leading.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64))
        });
        let from = ours.planned.plan.sources(&l.weight);
        let same = |d: &&LinearPlan| from.first().is_some_and(|w| dense.planned.plan.sources(&d.weight).contains(w));
        let other = dense.planned.plan.linears.iter().find(same);
        let other = other.and_then(|d| Some((d.layout.parse().ok()?, d.x)));
        Ok(Group {
            plan: l.clone(),
            weights: vec![l.weight.clone()],
            layer: spc_bench::Layer { rows: p.rows(), cols: p.cols(), bias: *bias, act: act.filter(closed) },
            tokens: tokens.ok_or_else(|| Bug::new("a linear without tokens"))?,
            nonzeros,
            dense: other.unwrap_or((Layout::DENSE, Act::Rm)),
        })
    }

    fn alike(&self, o: &Group) -> bool {
        (&self.layer, self.tokens, &self.plan.layout, self.plan.x, self.dense)
            == (&o.layer, o.tokens, &o.plan.layout, o.plan.x, o.dense)
            && self.nonzeros.abs_diff(o.nonzeros) <= self.nonzeros.max(o.nonzeros) / 50
    }

    fn measure(
        self,
        s: &Session<'_>,
        ours: &Version,
        machine: &Machine,
        on: Cpu,
        budget: Budget,
    ) -> Res<(LayerReport, LinearPlan)> {
        let p = packed(ours, &self.plan)?;
        let (rows, cols) = (p.rows(), p.cols());
        let w = p.unpack().map_err(Bug::new)?;
        let elements = usize::try_from(self.tokens).ok().and_then(|n| n.checked_mul(cols));
        let x = spc_bench::random(elements.ok_or_else(|| Bug::new("too many tokens"))?, 1);
        let plain = pack(&self.dense.0, rows, cols, &w).map_err(|r| Bug::new(format!("dense: {r}")))?;
        let plain = validate(plain).map_err(Bug::new)?;
        let dense = Alone::new(&self.layer, &plain, Some(self.dense.1), &x, on.threads, on.isa)?;
        let own = Alone::new(&self.layer, p, Some(self.plan.x), &x, on.threads, on.isa)?;
        let peer = Peer::new(rows, cols, &w, &x, on.threads)?;
        let products = usize::try_from(self.tokens).ok().and_then(|n| n.checked_mul(rows));
        let products = spc_bench::random(products.ok_or_else(|| Bug::new("too many tokens"))?, 2);
        let epilogue = Alone::epilogue(&self.layer, &products, on.threads, on.isa)?;
        let activations = u64::try_from(rows + cols).unwrap_or(u64::MAX).saturating_mul(self.tokens).saturating_mul(4);
        let stored = p.packed().bytes();
        let work =
            Work { flops: 2.0 * self.nonzeros as f64 * self.tokens as f64, bytes: stored.saturating_add(activations) };
        let entrants = Entrants { layer: &self.layer, dense: &dense, ours: &own, peer, epilogue };
        let cell = measure(entrants, work, machine, budget, &|| s.world.now())?;
        let report = LayerReport {
            weight: self.plan.weight.clone(),
            alike: self.weights[1..].to_vec(),
            rows,
            cols,
            tokens: self.tokens,
            nonzeros: self.nonzeros,
            layout: self.plan.layout.clone(),
            dense_layout: self.dense.0.to_string(),
            stored_bytes: stored,
            dense_bytes: plain.packed().bytes(),
            predicted_seconds: self.plan.predicted_ps as f64 * 1e-12,
            cell,
        };
        Ok((report, self.plan))
    }
}

/// Whether an expression needs nothing but the value that it is applied to.
fn closed(e: &ScalarExpr) -> bool {
    e.arity() <= 1
}

fn packed<'a>(v: &'a Version, l: &LinearPlan) -> Res<&'a Validated> {
    let p = v.packed.get(&(l.weight.clone(), l.layout.clone()));
    Ok(p.ok_or_else(|| Bug::new(format!("`{}` is not packed", l.weight)))?)
}

/// Whole calls of both programs, in turns.
fn whole(s: &Session<'_>, dense: &Version, ours: &Version, syms: &[u64], budget: Budget) -> Res<Whole> {
    let given = random::inputs(&ours.planned.graph, syms, 1, 0)?;
    let now = || s.world.now();
    let once = |v: &Version| -> Res<f64> {
        let begin = now();
        v.engine.call(&given)?;
        Ok(now().saturating_sub(begin).as_secs_f64())
    };
    // A call that fails fails here, with its own message.
    once(dense)?;
    let n = repeats(once(ours)?);
    let many = |v: &Version| -> Result<f64, Bug> {
        let mut sum = 0.0;
        for _ in 0..n {
            sum += once(v).map_err(|_| Bug::new("a call that worked fails"))?;
        }
        Ok(sum / n as f64)
    };
    let mut list: Vec<Contestant<'_>> = vec![Box::new(|| many(dense)), Box::new(|| many(ours))];
    let seconds = budget.seconds * 4.0;
    let times = rounds(&mut list, Budget { seconds, ..budget }, &now)?;
    Ok(Whole {
        dense: Side::of(&times[0]),
        ours: Side::of(&times[1]),
        ratio: compare(&times[0], &times[1]),
        dense_bytes: dense.bytes(),
        stored_bytes: ours.bytes(),
    })
}
