//! `spc verify`: the compiled program against the reference interpreter on random inputs, and the weights against every
//! `require`.
use crate::artefact::Loaded;
use crate::bind;
use crate::build::{Build, Constraints, build, build_from, check_weights, program_requires};
use crate::device::{Place, place};
use crate::engine::{Engine, Inputs, Outputs};
use crate::failure::{Failure, Res};
use crate::kernel_check;
use crate::load::load_file;
use crate::plan::{PackedSet, Planned};
use crate::random::{fits, inputs, sizes};
use crate::run::{Done, static_expects};
use crate::session::Session;
use crate::structure::with_made;
use crate::weights::WeightSet;
use spc_base::{Diagnostic, codes};
use spc_cuda::Activations;
use spc_interp::{Value, gamma};
use spc_ir::{Graph, Op};
use spc_report::{Align, Table};
use std::path::Path;

/// How to verify.
#[derive(Clone, Debug)]
pub struct Verify {
    pub target: Option<String>,
    pub seed: u64,
    /// Random calls of each function.
    pub rounds: u64,
}

impl Default for Verify {
    fn default() -> Verify {
        Verify { target: None, seed: 1, rounds: 3 }
    }
}

/// Verifies a `.sp` file or a compiled folder.
pub fn verify_path(s: &mut Session<'_>, path: &Path, what: &Verify) -> Res<Done> {
    if s.world.is_folder(path) {
        return verify_folder(s, path, what);
    }
    let source = load_file(s, path)?;
    let (t, on) = place(s, &source.module, what.target.as_deref())?;
    let names = source.functions(&[])?;
    let requires = program_requires(&source);
    // A weight file that the caller names is looked at as it is; the program's own is projected first.
    let built: Build = if s.options.binds.is_empty() {
        build(s, &source, t, &names, &WeightSet::default(), Constraints::Applied)?
    } else {
        let stored = bind::weights(s, &source, &WeightSet::default())?;
        check_weights(&requires, &stored)?;
        build_from(s, &source, t, &names, stored, Vec::new())?
    };
    built.check_requires(s, &requires)?;
    let mut table = table();
    for r in &requires {
        table.row(["require".to_string(), r.name.clone(), format!("holds for {} tensors", r.weights().len())]);
    }
    let weights = with_made(built.functions.iter().map(|f| &f.plan), &built.weights)?;
    for f in &built.functions {
        let reference = built.reference(f)?;
        function(s, f, &built.packed, (&weights, &reference), &on, what, &mut table)?;
    }
    let outcomes = static_expects(&source, &built)?;
    let findings = outcomes.iter().filter_map(|o| o.failure.clone()).collect();
    for o in outcomes {
        let verdict = if o.failure.is_none() { "holds" } else { "FAILS" };
        table.row(["expect".to_string(), o.text, format!("{verdict}: {}", o.shown)]);
    }
    Ok(Done { text: table.render(), findings, differs: false })
}

fn table() -> Table {
    Table::new([("verified", Align::Left), ("what", Align::Left), ("result", Align::Left)])
}

fn verify_folder(s: &mut Session<'_>, path: &Path, what: &Verify) -> Res<Done> {
    let loaded = Loaded::open(s, path)?;
    let dense = loaded.dense_weights()?;
    let on = loaded.place(s)?;
    let all = loaded.restored(&dense)?;
    let requires = loaded.requires();
    check_weights(&requires, &all)?;
    let mut table = table();
    table.row([
        "folder".to_string(),
        path.display().to_string(),
        format!("{} files as written", loaded.manifest.files.len()),
    ]);
    for r in &requires {
        table.row(["require".to_string(), r.name.clone(), format!("holds for {} tensors", r.weights().len())]);
    }
    for f in &loaded.functions {
        let whole = loaded.whole.iter().find(|g| g.name == f.graph.name);
        let reference = match whole {
            Some(g) => (g.clone(), all.clone()),
            None => (f.graph.clone(), dense.clone()),
        };
        function(s, f, &loaded.packed, (&dense, &reference), &on, what, &mut table)?;
    }
    Ok(table.render().into())
}

/// Compares one function: each linear's kernel alone within its derived bound, then the whole with the reference, a graph
/// from which nothing was removed and its weights.
fn function(
    s: &Session<'_>,
    f: &Planned,
    packed: &PackedSet,
    (weights, reference): (&WeightSet, &(Graph, WeightSet)),
    on: &Place,
    what: &Verify,
    table: &mut Table,
) -> Res<()> {
    let engine = Engine::at(f, packed, weights, on)?;
    let from_images = matches!(on, Place::Gpu(gpu) if gpu.images.contains_key(&f.graph.name));
    let (mut worst, mut distance, mut checked) = (0.0f64, 0.0f64, 0usize);
    for round in 0..what.rounds {
        s.progress.step("verifying", round, what.rounds);
        let syms = sizes(&f.graph, what.seed, round);
        if !fits(&f.graph, &syms) {
            let text = format!("the values of `{}` are too large to be computed on random inputs", f.graph.name);
            let d =
                Diagnostic::error(codes::INPUT, text).note("a value has more than 2^30 elements at the least sizes");
            return Err(d.into());
        }
        let given = inputs(&f.graph, &syms, what.seed, round)?;
        let found = engine.call(&given)?;
        let (share, most) = compare(&reference.0, &syms, &given, &reference.1, &found, rounds(f, on))?;
        (worst, distance) = (worst.max(share), distance.max(most));
        // Kernels alone are other text than that of a folder, whose images may be all there is.
        if round == 0 && !from_images {
            checked = kernel_check::linears(f, packed, weights, on, &syms, &given)?;
        }
    }
    s.progress.step("verifying", what.rounds, what.rounds);
    let name = f.graph.name.clone();
    if checked > 0 {
        table.row(["kernels".to_string(), name.clone(), format!("{checked} linears within the bound of their sums")]);
    }
    let share = format!(
        "{} random calls, greatest error {distance:.1e}, {:.1} % of what is allowed",
        what.rounds,
        worst * 100.0
    );
    table.row(["results".to_string(), name, share]);
    Ok(())
}

/// The share of a result that rounding activations to bf16 may change: half a unit in the last of 8 bits for each linear on the
/// way.
fn rounds(f: &Planned, on: &Place) -> f64 {
    let tensor =
        |l: &&spc_ir::LinearPlan| l.layout.parse::<spc_formats::Layout>().is_ok_and(|l| l.needs_tensor_cores());
    let count = f.plan.linears.iter().filter(tensor).count();
    if on.activations() == Some(Activations::Bf16) { count as f64 / 256.0 } else { 0.0 }
}

/// What a result may differ from the f64 reference by, as a multiple of what the reference in f32 differs by.
///
/// Errors of a deep program have no useful bound in advance, so the f32 interpreter, which sums in index order, is the
/// yardstick: another order of the same sums gives errors of the same size.
const YARDSTICK: f64 = 32.0;

/// The greatest error as a share of what is allowed, and as a difference; SP0502 where one is more than allowed.
fn compare(
    g: &Graph,
    syms: &[u64],
    given: &Inputs,
    weights: &WeightSet,
    found: &Outputs,
    rounding: f64,
) -> Res<(f64, f64)> {
    let wide = given.iter().map(|(n, v)| (n.clone(), v.convert::<f64>())).collect();
    let exact = spc_interp::run::<f64>(g, syms, &wide, weights)?;
    let narrow = spc_interp::run::<f32>(g, syms, given, weights)?;
    let terms = kernel_check::longest_sum(g)?;
    let step = rounding + if rounds_computed(g)? { 1.0 / 127.0 } else { 0.0 };
    let (mut worst, mut distance) = (0.0f64, 0.0f64);
    for (((name, e), (_, n)), (_, y)) in exact.iter().zip(&narrow).zip(found) {
        match (e, n, y) {
            (Value::F(e), Value::F(n), Value::F(y)) if e.shape() == y.shape() => {
                let scale = e.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
                let spread = e.iter().zip(n).fold(0.0f64, |m, (e, n)| {
                    let d = (e - f64::from(*n)).abs();
                    if d.is_finite() { m.max(d) } else { m }
                });
                let allowed = YARDSTICK * spread + (gamma(terms + 2) + step) * scale + f64::from(f32::MIN_POSITIVE);
                for (i, (e, y)) in e.iter().zip(y).enumerate() {
                    let difference = error(*e, f64::from(*y));
                    let share = difference / allowed;
                    if share > 1.0 {
                        return Err(differs(g, name, i, &format!("{y:?}"), &format!("{e:?}"), allowed));
                    }
                    (worst, distance) = (worst.max(share), distance.max(difference));
                }
            }
            (Value::I(e), _, Value::I(y)) if e == y => {}
            (Value::B(e), _, Value::B(y)) if e == y => {}
            _ => return Err(differs(g, name, 0, "another value", "the reference", 0.0)),
        }
    }
    Ok((worst, distance))
}

/// Whether something is rounded to 8 bits that was computed before: values on either side of a tie between two integers are
/// then as close as any, and their integers differ by one.
fn rounds_computed(g: &Graph) -> Result<bool, spc_base::Bug> {
    for n in g.ids() {
        if let Op::Round { .. } = g.node(n)?.op
            && let Some(x) = g.inputs(n).first()
            && !matches!(g.node(*x)?.op, Op::Input { .. })
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Distance of two values; equal infinities and two NaN have none, other values that are not finite have no bound.
fn error(exact: f64, found: f64) -> f64 {
    if (exact.is_nan() && found.is_nan()) || exact == found {
        return 0.0;
    }
    let d = (exact - found).abs();
    if d.is_finite() { d } else { f64::INFINITY }
}

fn differs(g: &Graph, result: &str, at: usize, found: &str, exact: &str, allowed: f64) -> Failure {
    let text = format!("`{}` differs from the reference in its result `{result}`", g.name);
    Diagnostic::error(codes::VERIFY_FAILED, text)
        .note(format!("element {at}: compiled {found}, reference {exact}, allowed difference {allowed:.3e}"))
        .into()
}
