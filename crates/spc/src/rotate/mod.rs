//! `spc rotate`: the same model with its residual streams turned by an orthogonal matrix, so that outliers of single features
//! are spread over all and fewer bits hold the weights. Every weight that writes or reads a stream is turned, gains of norms move
//! into the weights behind them, and nothing is multiplied when the program runs.
//!
//! It acts on the weight file and is asked for, not found by the search: no layout of the cost model holds turned weights in less,
//! and zeros are lost. `explain` and `compile` offer it where weights are rounded ([`offer`]).
mod matrix;
mod offer;

pub use offer::offer;

use crate::bind;
use crate::export::{choose, weight_file_of};
use crate::failure::Res;
use crate::load::{Source, load_file};
use crate::plan::optimise;
use crate::run::Done;
use crate::session::Session;
use crate::weights::WeightSet;
use matrix::{LARGEST_ODD, Turn};
use serde_json::json;
use spc_base::{Bug, Diagnostic, codes};
use spc_io::{Safetensors, Stored, StoredType, Values};
use spc_ir::structure::{Rotation, Turned, rotation};
use spc_report::{Align, Table, percent};
use spc_sema::Model;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What to turn, and where to write it.
#[derive(Clone, Debug)]
pub struct Rotate {
    pub out: PathBuf,
    pub model: Option<String>,
    pub seed: u64,
    pub json: bool,
}

/// A weight with more exact zeros than this is sparse: turning would fill them.
const ZEROS: f64 = 0.1;

/// Inputs that share a scale in the errors that are reported.
const GROUP: usize = 32;

fn cannot(text: String) -> Diagnostic {
    Diagnostic::error(codes::NOT_ROTATED, text)
        .help("a stream can be turned where only linears and tables write it and only RMS norms and linears read it")
}

/// Writes the model's weight file with its residual streams turned: the same names, types, shapes and metadata. The file is read
/// back and compared.
///
/// # Errors
/// As `permute`; SP0662 where no stream can be turned, or zeros would be lost, with the reason.
pub fn rotate_file(s: &mut Session<'_>, path: &Path, what: &Rotate) -> Res<Done> {
    let source = load_file(s, path)?;
    let model = choose(&source, what.model.as_deref())?;
    let file = weight_file_of(s, &source, model, path, &[&what.out])?;
    let weights = bind::weights(s, &source, &WeightSet::default())?;
    let found = streams(s, &source)?;
    if found.weights.is_empty() {
        let d = cannot("no stream of the program can be turned".into());
        let told = found.refused.iter().take(6);
        return Err(told.fold(d, |d, (w, why)| d.note(format!("the stream at `{w}`: {why}"))).into());
    }
    allowed(&source.module, model, &found, &weights)?;

    let original = s.world.weights(&file)?;
    let mut changed: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    let total = found.weights.len() as u64;
    for (done, (name, t)) in (0u64..).zip(&found.weights) {
        s.progress.step("turning", done, total);
        let stored = stored_name(model, name)?;
        let dtype = original.header().get(&stored)?.dtype;
        if dtype != StoredType::F32 {
            let text = format!("`{stored}` is stored as {dtype}, and only F32 is turned yet");
            return Err(Diagnostic::error(codes::NOT_YET, text).into());
        }
        let w = weights.want(name)?;
        changed.insert(stored, turned(w.shape(), w.values(), t, &weights, what.seed)?);
    }
    s.progress.step("turning", total, total);
    for gain in &found.gains {
        let n = weights.want(gain)?.values().len();
        changed.insert(stored_name(model, gain)?, vec![1.0; n]);
    }
    let mut tensors = Vec::new();
    for t in original.header().tensors() {
        let values = match changed.get(&t.name) {
            Some(new) => Values::F32(new),
            None => Values::Raw(t.dtype, original.bytes(&t.name)?),
        };
        tensors.push(Stored { name: &t.name, shape: &t.shape, values });
    }
    s.world.write_safetensors(&what.out, &Safetensors::new(&tensors, original.header().metadata(), 8)?)?;
    let written = s.world.weights(&what.out)?;
    for (name, new) in &changed {
        let same = written.f32(name)?.iter().zip(new).all(|(a, b)| a.to_bits() == b.to_bits());
        if !same {
            return Err(Bug::new(format!("`{name}` was not written as it is")).into());
        }
    }
    report(model, &found, &weights, &changed, what)
}

/// What can be turned in all functions of a program together.
fn streams(s: &Session<'_>, source: &Source) -> Res<Rotation> {
    let (inner, named) = (spc_sema::called(&source.module.ast), source.functions(&[])?);
    let outer = source.module.entries.iter().filter(|f| named.contains(f) || !inner.contains(f.as_str()));
    let mut found = Rotation::default();
    let mut seen: BTreeMap<String, Turned> = BTreeMap::new();
    for f in outer {
        let g = optimise(s, source.graph(f)?)?;
        let r = rotation(&g)?;
        for (name, _) in g.weights() {
            let mine = r.weights.get(&name).cloned().unwrap_or_default();
            if seen.get(&name).is_some_and(|t| *t != mine) {
                return Err(
                    cannot(format!("functions of the program read `{name}` in two ways that want two turns")).into()
                );
            }
            seen.insert(name, mine);
        }
        found.weights.extend(r.weights);
        found.gains.extend(r.gains);
        found.refused.extend(r.refused);
    }
    Ok(found)
}

/// The name of a weight in the file.
fn stored_name(model: &Model, path: &str) -> Result<String, Bug> {
    let t = model.tensors.iter().find(|t| t.path == path);
    let t = t.ok_or_else(|| Bug::new(format!("no weight `{path}`")))?;
    Ok(if t.stored.is_empty() { t.path.clone() } else { t.stored.clone() })
}

/// Whether all of these may change.
fn allowed(module: &spc_sema::Module, model: &Model, found: &Rotation, weights: &WeightSet) -> Res<()> {
    let all: BTreeSet<&String> = found.weights.keys().chain(&found.gains).collect();
    for r in &module.requires {
        let mut about = r.keeps.iter().flat_map(|k| &k.members).map(|m| &m.weight);
        if let Some(w) = about.find(|w| all.contains(w)) {
            let text = format!("`{}` is about `{w}`, which would be turned and lose its zeros", r.name);
            return Err(cannot(text).at(r.span, "required here").into());
        }
    }
    let mut stored = BTreeSet::new();
    for name in &all {
        let Some(t) = model.tensors.iter().find(|t| t.path == **name) else {
            return Err(cannot(format!("`{name}` of another model would have to be turned, too")).into());
        };
        if !t.stored.is_empty() && !stored.insert(&t.stored) {
            return Err(cannot(format!("`{name}` is stored once for several weights")).into());
        }
    }
    for (name, t) in &found.weights {
        let w = weights.want(name)?;
        let zeros = w.zeros() as f64 / (w.values().len().max(1)) as f64;
        if w.shape().len() > 1 && zeros > ZEROS {
            return Err(cannot(format!("{} of `{name}` is zero, and turning would fill it", percent(zeros))).into());
        }
        for n in [t.rows, t.cols].into_iter().flatten() {
            if Turn::new(n as usize, 0).is_none() {
                let text = format!("a stream of {n} features: their odd part is over {LARGEST_ODD}");
                return Err(cannot(text).into());
            }
        }
    }
    Ok(())
}

/// A weight with its gains in its columns, its rows and its columns turned, in f64 and rounded once.
fn turned(shape: &[usize], values: &[f32], t: &Turned, weights: &WeightSet, seed: u64) -> Result<Vec<f32>, Bug> {
    let odd = || Bug::new("a weight of another shape than its stream");
    let rows = *shape.first().ok_or_else(odd)?;
    let cols = values.len().checked_div(rows).ok_or_else(odd)?;
    let mut v: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
    for gain in &t.gains {
        let g = weights.want(gain)?;
        for row in v.chunks_exact_mut(cols.max(1)) {
            row.iter_mut().zip(g.values()).for_each(|(v, g)| *v *= f64::from(*g));
        }
    }
    if let Some(n) = t.cols {
        let turn = Turn::new(n as usize, seed).filter(|_| n as usize == cols).ok_or_else(odd)?;
        v.chunks_exact_mut(cols.max(1)).for_each(|row| turn.apply(row));
    }
    if let Some(n) = t.rows {
        let turn = Turn::new(n as usize, seed).filter(|_| n as usize == rows).ok_or_else(odd)?;
        let mut column = vec![0.0; rows];
        for k in 0..cols {
            column.iter_mut().zip(v.iter().skip(k).step_by(cols)).for_each(|(c, v)| *c = *v);
            turn.apply(&mut column);
            v.iter_mut().skip(k).step_by(cols).zip(&column).for_each(|(v, c)| *v = *c);
        }
    }
    Ok(v.into_iter().map(|v| v as f32).collect())
}

/// Squared error and squared size of a matrix whose groups of inputs have codes up to `top` with a scale each.
fn rounding(values: &[f32], cols: usize, top: f32) -> (f64, f64) {
    let (mut error, mut size) = (0.0, 0.0);
    for group in values.chunks_exact(cols.max(1)).flat_map(|row| row.chunks(GROUP)) {
        let scale = group.iter().fold(0.0f32, |m, v| m.max(v.abs())) / top;
        for v in group {
            let code = if scale > 0.0 { (v / scale).round_ties_even() * scale } else { 0.0 };
            error += f64::from(v - code).powi(2);
            size += f64::from(*v).powi(2);
        }
    }
    (error, size)
}

fn report(
    model: &Model,
    found: &Rotation,
    weights: &WeightSet,
    changed: &BTreeMap<String, Vec<f32>>,
    what: &Rotate,
) -> Res<Done> {
    // Relative errors of int4 and int8 before and after, over all matrices that were turned.
    let mut sums = [[(0.0, 0.0); 2]; 2];
    for name in found.weights.keys() {
        let w = weights.want(name)?;
        let [_, cols] = w.shape() else { continue };
        let stored = stored_name(model, name)?;
        let after = changed.get(&stored).ok_or_else(|| Bug::new("a turned weight vanished"))?;
        for (sum, top) in sums.iter_mut().zip([7.0, 127.0]) {
            for (at, v) in sum.iter_mut().zip([w.values(), after]) {
                let (e, s) = rounding(v, *cols, top);
                *at = (at.0 + e, at.1 + s);
            }
        }
    }
    let share = |(e, s): (f64, f64)| if s > 0.0 { (e / s).sqrt() } else { 0.0 };
    let errors = sums.map(|pair| pair.map(share));
    let sizes: BTreeSet<u64> = found.weights.values().flat_map(|t| [t.rows, t.cols]).flatten().collect();
    if what.json {
        let refused = found.refused.iter().map(|(w, why)| json!({ "weight": w, "why": why }));
        let error = |e: [f64; 2]| json!({ "before": e[0], "after": e[1] });
        let out = json!({
            "file": what.out.display().to_string(), "seed": what.seed, "streams": sizes,
            "turned": found.weights.keys().collect::<Vec<_>>(), "gains": found.gains,
            "int4": error(errors[0]), "int8": error(errors[1]), "left": refused.collect::<Vec<_>>(),
        });
        return Ok(format!("{out:#}\n").into());
    }
    let mut t = Table::new([
        ("rounded in groups of 32", Align::Left),
        ("error before", Align::Right),
        ("error after", Align::Right),
    ]);
    for (word, [before, after]) in ["int4", "int8"].into_iter().zip(errors) {
        t.row([word.to_string(), format!("{:.3} %", before * 100.0), format!("{:.3} %", after * 100.0)]);
    }
    let mut out = format!("{}\n", t.render());
    for (w, why) in &found.refused {
        out += &format!("the stream at {w} stays as it is: {why}\n");
    }
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    out += &format!(
        "wrote {}, streams of {} features turned in {} tensors, {} gains moved; the functions compute what they did\n",
        what.out.display(),
        sizes.join(" and "),
        found.weights.len(),
        found.gains.len()
    );
    Ok(out.into())
}
