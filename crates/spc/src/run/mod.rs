//! `spc run`: a job of the program, dense beside sparse, or one call of a function on files.
mod call;
mod expect;
mod measure;
mod show;

pub use call::{Call, call_file};
pub use expect::{Outcome, static_expects};

use crate::bind;
use crate::build::{Build, build_from, plain_weights};
use crate::data::DataCache;
use crate::device::{Place, place};
use crate::engine::{Engine, Outputs};
use crate::explain::why_dense;
use crate::failure::{Failure, Res};
use crate::job::Job;
use crate::load::{Source, listing, load_file};
use crate::plan::{PackedSet, Planned, best_dense, fall_back};
use crate::project::{project, requires};
use crate::session::Session;
use crate::tensors::rows;
use crate::weights::WeightSet;
use spc_base::{Bug, Diagnostic, codes};
use spc_ir::structure::Restructure;
use spc_sema::{Report, Run};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// What a command found: the text for stdout, and what is wrong although the command could go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    pub text: String,
    pub findings: Vec<Diagnostic>,
    /// The text lists what a check refuses: exit code 1.
    pub differs: bool,
}

impl From<String> for Done {
    fn from(text: String) -> Done {
        Done { text, ..Done::default() }
    }
}

/// A linear, by its weight; or all that is not one.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The weight; `None` for the rest of the program.
    pub weight: Option<String>,
    /// Bytes of the weight, or of all other weights.
    pub bytes: Beside<u64>,
    /// Median time of one call on one batch.
    pub time: Option<Beside<Duration>>,
    pub layout: String,
    /// Why dense won, where it did.
    pub why: Option<String>,
}

/// A number of the dense program and the same of the sparse one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Beside<T> {
    pub dense: T,
    pub sparse: T,
}

/// Cosine of two rows of results.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub rows: (usize, usize),
    pub cosine: Beside<f64>,
}

/// Everything that a job reports.
#[derive(Clone, Debug, PartialEq)]
pub struct JobReport {
    pub run: String,
    pub function: String,
    pub target: String,
    pub threads: usize,
    pub rows: usize,
    /// Rows of one timed call.
    pub batch: usize,
    /// Share of the constrained weights that is not 0; 1 without constraints.
    pub density: f64,
    pub accuracy: Option<Beside<f64>>,
    /// Mean and least.
    pub cosine: Option<(f64, f64)>,
    pub pairs: Vec<Pair>,
    pub size: bool,
    pub time: bool,
    pub layers: Vec<Layer>,
    pub expects: Vec<Outcome>,
}

/// Most rows of results of which every pair is reported.
const MAX_PAIR_ROWS: usize = 16;

/// Runs a job of a file: the one named, or the only one.
pub fn run_file(
    s: &mut Session<'_>,
    path: &Path,
    name: Option<&str>,
    target_name: Option<&str>,
    json: bool,
) -> Res<Done> {
    let source = load_file(s, path)?;
    let run = choose_run(&source, name)?.clone();
    let report = run_job(s, &source, &run, target_name)?;
    let findings = report.expects.iter().filter_map(|o| o.failure.clone()).collect();
    let text = if json { show::json(&report) } else { show::table(&report) };
    Ok(Done { text, findings, differs: false })
}

fn choose_run<'a>(source: &'a Source, name: Option<&str>) -> Res<&'a Run> {
    let runs = &source.module.runs;
    let known: Vec<&str> = runs.iter().map(|r| r.name.as_str()).collect();
    let missing = |text: String| Failure::usage(listing(Diagnostic::error(codes::NO_RUN, text), "run", &known));
    // Asking for a training is asking for what is not there yet.
    if let Some(t) = source.module.trains.iter().find(|t| name == Some(t.name.as_str())) {
        let d = Diagnostic::error(codes::NOT_YET, format!("the training `{}` cannot be run yet", t.name));
        return Err(d.at(t.span, "checked, but not run").help("`spc step` takes single steps").into());
    }
    match (name, runs.as_slice()) {
        (Some(n), _) => runs.iter().find(|r| r.name == n).ok_or_else(|| missing(format!("there is no run `{n}`"))),
        (None, [only]) => Ok(only),
        (None, []) => Err(Failure::usage(
            Diagnostic::error(codes::NO_RUN, "the program has no `run`")
                .help("call a function: `--fn NAME --in PARAMETER=FILE.npy`")
                .help("`spc verify` evaluates the `expect` items, which need no `run`"),
        )),
        (None, _) => Err(missing("the program has several runs, and none was chosen".into())),
    }
}

/// A planned function, ready to run, and the bytes of its packed weights.
struct Version {
    planned: Planned,
    bytes: BTreeMap<String, u64>,
    /// Of all other weights that it reads.
    rest: u64,
    engine: Engine,
}

impl Version {
    fn new(planned: Planned, packed: &PackedSet, weights: WeightSet, on: &Place) -> Res<Version> {
        let engine = Engine::at(&planned, packed, &weights, on)?;
        let mut bytes = BTreeMap::new();
        for l in &planned.plan.linears {
            let p = packed.get(&(l.weight.clone(), l.layout.clone()));
            let p = p.ok_or_else(|| Bug::new(format!("`{}` is not packed", l.weight)))?;
            bytes.insert(l.weight.clone(), p.packed().bytes());
        }
        let mut rest = 0u64;
        for name in plain_weights(&planned.graph)? {
            rest = rest.saturating_add(weights.want(&name)?.bytes());
        }
        Ok(Version { planned, bytes, rest, engine })
    }

    /// The weights of the program that are one below the other in a planned weight, and their rows before and with each.
    fn parts<'a>(&'a self, weight: &'a str) -> Vec<(&'a str, u64, u64)> {
        let plan = &self.planned.plan;
        let stacked = |s: &&Restructure| s.made.as_deref() == Some(weight) && s.how.is_none();
        let Some(step) = plan.structure.iter().find(stacked) else {
            return plan.sources(weight).into_iter().map(|w| (w, 0, 1)).collect();
        };
        let mut end = 0u64;
        let mut one = |(from, rows): (&'a String, &u64)| {
            let before = end;
            end = end.saturating_add(*rows);
            plan.sources(from).into_iter().map(|w| (w, before, end)).collect::<Vec<_>>()
        };
        step.from.iter().zip(&step.rows).flat_map(&mut one).collect()
    }

    /// `amount` of a planned weight, dealt out to the weights of the program in it by their rows. The shares add up.
    fn shared<'a>(&'a self, weight: &'a str, amount: u64) -> Vec<(&'a str, u64)> {
        let parts = self.parts(weight);
        let all = parts.iter().map(|p| p.2).max().unwrap_or(1).max(1);
        let upto = |rows: u64| u64::try_from(u128::from(amount) * u128::from(rows) / u128::from(all)).unwrap_or(amount);
        parts.into_iter().map(|(w, before, end)| (w, upto(end) - upto(before))).collect()
    }
}

fn run_job(s: &mut Session<'_>, source: &Source, run: &Run, target_name: Option<&str>) -> Res<JobReport> {
    let (t, on) = place(s, &source.module, target_name)?;
    for d in expect::not_measured(source, run) {
        s.warn(d);
    }
    let graph = source.graph(&run.function)?;
    // Data first: a mistake there should not wait for the weights.
    let mut cache = DataCache::default();
    let job = Job::new(s, source, &mut cache, graph, &run.args)?;

    let mut names = source.functions(&[])?;
    if !names.contains(&run.function) {
        names.push(run.function.clone());
    }
    let graphs = names.iter().map(|n| source.graph(n)).collect::<Result<Vec<_>, _>>()?;
    fall_back(s, graphs, &t)?;
    let stored = bind::weights(s, source, &WeightSet::default())?;
    // One program after the other, so that only one set of dense copies is in memory at a time.
    let dense = {
        let (planned, packed, weights) = best_dense(s, source.dense_graph(&run.function)?, &stored, &t)?;
        Version::new(planned, &packed, weights, &on)?
    };
    let (weights, projected) = project(s, source, &stored)?;
    let density = density(source, &weights)?;
    let mut build = build_from(s, source, t.clone(), &names, weights, projected)?;
    let promised = static_expects(source, &build)?;
    build.release()?;
    let planned = build.function(&run.function)?.clone();
    let sparse = Version::new(planned, &build.packed, build.weights.clone(), &on)?;

    let results = Beside {
        dense: job.call(s, &dense.engine, &dense.planned.graph, "running dense")?,
        sparse: job.call(s, &sparse.engine, &sparse.planned.graph, "running sparse")?,
    };
    let axis = job.result_rows(&sparse.planned.graph)?;
    let mut report = JobReport {
        run: run.name.clone(),
        function: run.function.clone(),
        target: t.name.clone(),
        threads: on.threads(),
        rows: job.rows,
        batch: job.batches().first().map_or(0, |(a, b)| b - a),
        density,
        accuracy: None,
        cosine: None,
        pairs: Vec::new(),
        size: run.reports.contains(&Report::Size),
        time: run.reports.contains(&Report::Time),
        layers: Vec::new(),
        expects: Vec::new(),
    };
    for r in &run.reports {
        match r {
            Report::Accuracy(labels) => {
                let labels = cache.member(s, source, labels)?;
                let labels = labels.as_i32().ok_or_else(|| {
                    Diagnostic::error(codes::REPORT, "`accuracy` needs i32 labels").at(run.span, "reported here")
                })?;
                let of = |o: &Outputs| {
                    first(o).and_then(|v| {
                        Ok(measure::accuracy(v, axis.unwrap_or(0), labels)
                            .map_err(|d| d.at(run.span, "reported here"))?)
                    })
                };
                report.accuracy = Some(Beside { dense: of(&results.dense)?, sparse: of(&results.sparse)? });
            }
            Report::Cosine => {
                let (d, p) = (result_rows(&results.dense, axis, run)?, result_rows(&results.sparse, axis, run)?);
                report.cosine = Some(measure::cosines(&d, &p));
            }
            Report::Pairs => {
                let (d, p) = (result_rows(&results.dense, axis, run)?, result_rows(&results.sparse, axis, run)?);
                if d.len() > MAX_PAIR_ROWS {
                    let text = format!("`pairs` shows the first {MAX_PAIR_ROWS} of {} rows", d.len());
                    s.warn(Diagnostic::warning(codes::REPORT, text).at(run.span, "reported here"));
                }
                let n = d.len().min(MAX_PAIR_ROWS);
                for (i, j) in (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))) {
                    let of = |r: &[Vec<f32>]| measure::cosine(&r[i], &r[j]);
                    report.pairs.push(Pair { rows: (i, j), cosine: Beside { dense: of(&d), sparse: of(&p) } });
                }
            }
            Report::Size | Report::Time | Report::Later { .. } => {}
        }
    }
    report.layers = layers(&dense, &sparse)?;
    if report.time {
        times(s, &job, &dense, &sparse, &mut report.layers)?;
    }
    report.expects = promised;
    report.expects.extend(accuracies(s, source, &build, &mut cache, &on, (run, &results.sparse, axis))?);
    report.expects.sort_by_key(|o| source.module.expects.iter().position(|e| e.span == o.span));
    Ok(report)
}

/// What a job says of quality.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub run: String,
    pub density: f64,
    pub accuracy: Option<Beside<f64>>,
    pub cosine: Option<(f64, f64)>,
}

/// Runs a job for its quality alone: nothing is timed.
pub fn measure_run(s: &mut Session<'_>, source: &Source, name: Option<&str>, target: Option<&str>) -> Res<Measured> {
    let mut run = choose_run(source, name)?.clone();
    run.reports.retain(|r| matches!(r, Report::Accuracy(_) | Report::Cosine));
    let JobReport { run, density, accuracy, cosine, .. } = run_job(s, source, &run, target)?;
    Ok(Measured { run, density, accuracy, cosine })
}

/// Share of the constrained weights that is not 0.
fn density(source: &Source, weights: &WeightSet) -> Res<f64> {
    let all = requires(&source.module);
    let names: BTreeSet<&str> = all.iter().flat_map(|r| r.weights()).collect();
    let (mut left, mut total) = (0u64, 0u64);
    for name in names {
        let values = weights.want(name)?;
        left += values.values().iter().filter(|v| **v != 0.0).count() as u64;
        total += values.values().len() as u64;
    }
    Ok(if total == 0 { 1.0 } else { left as f64 / total as f64 })
}

fn first(o: &Outputs) -> Res<&spc_interp::Value<f32>> {
    o.first().map(|(_, v)| v).ok_or_else(|| Bug::new("a function without results").into())
}

fn result_rows(o: &Outputs, axis: Option<usize>, run: &Run) -> Res<Vec<Vec<f32>>> {
    let found = axis.and_then(|a| rows(o.first().map(|(_, v)| v)?, a));
    found.ok_or_else(|| {
        let text =
            "this report compares rows of results, and the first result is not f32 with one row for each row of data";
        Diagnostic::error(codes::REPORT, text).at(run.span, "reported here").into()
    })
}

/// Bytes of every linear's weight, and of all others together.
fn layers(dense: &Version, sparse: &Version) -> Res<Vec<Layer>> {
    let whole: BTreeMap<&str, u64> = dense.bytes.iter().flat_map(|(w, n)| dense.shared(w, *n)).collect();
    let mut out: Vec<Layer> = Vec::new();
    for l in &sparse.planned.plan.linears {
        if out.iter().any(|o| o.weight.as_deref() == Some(&l.weight)) {
            continue;
        }
        let missing = || Bug::new("two plans of one graph differ");
        // What was merged stands beside all that it was made of.
        let apart = sparse.planned.plan.sources(&l.weight);
        // What was split stands beside the first of its parts.
        let again = |o: &Layer| o.weight.as_ref().is_some_and(|w| sparse.planned.plan.sources(w) == apart);
        let beside = if out.iter().any(again) { Vec::new() } else { apart.clone() };
        let of = |w: &&str| whole.get(w).copied().ok_or_else(missing);
        let before = beside.iter().map(of).sum::<Result<u64, Bug>>()?;
        let bytes = Beside { dense: before, sparse: sparse.bytes.get(&l.weight).copied().ok_or_else(missing)? };
        let why = why_dense(&sparse.planned.plan, &l.weight);
        out.push(Layer { weight: Some(l.weight.clone()), bytes, time: None, layout: l.layout.clone(), why });
    }
    let bytes = Beside { dense: dense.rest, sparse: sparse.rest };
    out.push(Layer { weight: None, bytes, time: None, layout: String::new(), why: None });
    Ok(out)
}

/// Measures both programs in turns and takes the median of each step.
fn times(s: &Session<'_>, job: &Job, dense: &Version, sparse: &Version, layers: &mut [Layer]) -> Res<()> {
    let (from, to) = job.batches().first().copied().unwrap_or((0, 0));
    let inputs = job.batch(from, to);
    let now = || s.world.now();
    // The first calls warm caches and say how long one takes; they are not counted.
    let start = now();
    dense.engine.timed(&inputs, &now)?;
    sparse.engine.timed(&inputs, &now)?;
    let once = (now() - start).as_secs_f64();
    let repeats = ((2.0 / once.max(1e-9)) as usize).clamp(3, 101);
    let mut found: BTreeMap<(bool, Option<String>), Vec<Duration>> = BTreeMap::new();
    for i in 0..repeats {
        s.progress.step("measuring", i as u64, repeats as u64);
        for (v, is_dense) in [(dense, true), (sparse, false)] {
            let mut by_layer: BTreeMap<Option<String>, Duration> = BTreeMap::new();
            for step in v.engine.timed(&inputs, &now)? {
                let linear =
                    v.planned.plan.linears.iter().find(|l| l.node == step.node || l.epilogue == Some(step.node));
                let Some(d) = linear else {
                    *by_layer.entry(None).or_default() += step.time;
                    continue;
                };
                if !is_dense {
                    *by_layer.entry(Some(d.weight.clone())).or_default() += step.time;
                    continue;
                }
                // The dense program's layers count where the sparse one has what was made of them.
                let nanos = u64::try_from(step.time.as_nanos()).unwrap_or(u64::MAX);
                for (weight, share) in v.shared(&d.weight, nanos) {
                    let mine = |l: &&spc_ir::LinearPlan| sparse.planned.plan.sources(&l.weight).contains(&weight);
                    let made = sparse.planned.plan.linears.iter().find(mine);
                    let layer = made.map_or_else(|| weight.to_string(), |l| l.weight.clone());
                    *by_layer.entry(Some(layer)).or_default() += Duration::from_nanos(share);
                }
            }
            for (layer, time) in by_layer {
                found.entry((is_dense, layer)).or_default().push(time);
            }
        }
    }
    s.progress.step("measuring", repeats as u64, repeats as u64);
    for layer in layers {
        let mut of = |is_dense| measure::median(found.remove(&(is_dense, layer.weight.clone())).unwrap_or_default());
        layer.time = Some(Beside { dense: of(true), sparse: of(false) });
    }
    Ok(())
}

/// Expectations on accuracy, for the sparse program. `known` are the results of the job that was just run.
fn accuracies(
    s: &mut Session<'_>,
    source: &Source,
    build: &Build,
    cache: &mut DataCache,
    on: &Place,
    known: (&Run, &Outputs, Option<usize>),
) -> Res<Vec<Outcome>> {
    let mut out = Vec::new();
    for e in &source.module.expects {
        let spc_sema::Measure::Accuracy { function, data, split } = &e.measure else { continue };
        let (run, labels) = expect::labelled_run(source, e, function, data)?;
        let mut labels = labels.clone();
        labels.split.clone_from(split);
        let mut args = run.args.clone();
        args.iter_mut().for_each(|(_, r)| r.split.clone_from(split));
        let labels = cache.member(s, source, &labels)?;
        let labels = labels.as_i32().ok_or_else(|| Diagnostic::error(codes::REPORT, "`accuracy` needs i32 labels"))?;
        let same = |a: &[(String, spc_sema::DataRef)], b: &[(String, spc_sema::DataRef)]| {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((n, x), (m, y))| n == m && (&x.data, &x.split, &x.member) == (&y.data, &y.split, &y.member))
        };
        let value = if run.function == known.0.function && same(&args, &known.0.args) {
            measure::accuracy(first(known.1)?, known.2.unwrap_or(0), labels)
        } else {
            let job = Job::new(s, source, cache, source.graph(function)?, &args)?;
            let planned = build.function(function)?;
            let engine = Engine::at(planned, &build.packed, &build.weights, on)?;
            let results = job.call(s, &engine, &planned.graph, "expectations")?;
            measure::accuracy(first(&results)?, job.result_rows(&planned.graph)?.unwrap_or(0), labels)
        };
        out.push(Outcome::of(e, value.map_err(|d| d.at(e.span, "expected here"))?));
    }
    Ok(out)
}
