//! `spc export`: the model's file with every `require` applied once, in a form that other tools load.
mod narrow;
mod packed;

use crate::bind;
use crate::build::check_weights;
use crate::failure::{Failure, Res};
use crate::load::{Source, listing, load_file};
use crate::project::{project, requires};
use crate::run::Done;
use crate::session::Session;
use crate::shrink::{Cuts, gather};
use crate::target::target;
use crate::weights::{Weight, WeightSet};
use narrow::Narrow;
pub use narrow::half;
use spc_base::{Bug, Diagnostic, codes};
use spc_io::{Safetensors, Stored, Values, WeightFile};
use spc_sema::{Model, ModelTensor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emit {
    /// The same names, types, metadata and bytes, except that removed elements are exactly zero and quantised tensors have
    /// their narrow form.
    Zeros,
    /// As `Zeros`, without the slices of axes that are zero in all weights which carry them; and a map from new to old
    /// positions.
    Shrunk,
    /// For each constrained tensor, under its name and with its shape: true where an element is not zero.
    Masks,
    /// As `Zeros`, but weights that a plan for this target (`cpu` if none) stores in a sparse layout are packed so.
    Packed { target: Option<String> },
}

/// Writes what is asked for of one model. Every file appears whole or not at all, and is read back and checked.
pub fn export_file(s: &mut Session<'_>, path: &Path, model: Option<&str>, emit: Emit, out: &Path) -> Res<Done> {
    let source = load_file(s, path)?;
    let model = choose(&source, model)?;
    if let Some(q) = source.module.quantizes.first().filter(|_| matches!(emit, Emit::Shrunk | Emit::Masks)) {
        let d = Diagnostic::error(codes::NOT_YET, "quantised weights cannot be exported in this form yet");
        return Err(d
            .at(q.span, "asks for another form of storage")
            .help("export with `--emit=safetensors` or `--emit=packed`, or leave `quantize` out")
            .into());
    }
    let map = map_path(out);
    let file = weight_file_of(s, &source, model, path, &[out, &map])?;
    let stored = bind::weights(s, &source, &WeightSet::default())?;
    let (weights, reports) = project(s, &source, &stored)?;
    drop(stored);
    let original = s.world.weights(&file)?;
    let removed: u64 = reports.iter().map(|r| r.zeroed).sum();
    let job = Job { source: &source, model, weights, original };
    let text = match emit {
        Emit::Zeros => zeros(s, job, removed, out)?,
        Emit::Shrunk => shrunk(s, &job, out, &map)?,
        Emit::Masks => masks(s, &job, out)?,
        Emit::Packed { target: name } => {
            let t = target(&source.module, name.as_deref())?;
            packed::packed(s, job, t, out)?
        }
    };
    Ok(format!("{}: {text}, verified\n", out.display()).into())
}

/// What every kind of export starts from.
struct Job<'a> {
    source: &'a Source,
    model: &'a Model,
    /// Projected.
    weights: WeightSet,
    original: WeightFile,
}

impl<'a> Job<'a> {
    /// The tensors of the model that a constraint acts on, by stored name.
    fn constrained(&self) -> BTreeMap<&'a str, &'a ModelTensor> {
        let list = requires(&self.source.module);
        let names: BTreeSet<&str> = list.iter().flat_map(|r| r.weights()).collect();
        let own = self.model.tensors.iter().filter(|t| names.contains(t.path.as_str()));
        own.map(|t| (stored_name(t), t)).collect()
    }

    /// The tensors of the model that `quantize` names, by stored name.
    fn quantised(&self) -> BTreeMap<&'a str, &'a ModelTensor> {
        let named = self.source.module.quantizes.iter().flat_map(|q| &q.tensors);
        let names: BTreeSet<&str> = named.map(|t| t.weight.as_str()).collect();
        let own = self.model.tensors.iter().filter(|t| names.contains(t.path.as_str()));
        own.map(|t| (stored_name(t), t)).collect()
    }

    /// Each tensor of the file, with zeros where elements were removed.
    fn tensors(&self) -> Res<Vec<Stored<'_>>> {
        let constrained = self.constrained();
        let mut out = Vec::new();
        for t in self.original.header().tensors() {
            let bytes = self.original.bytes(&t.name)?;
            let values = match constrained.get(t.name.as_str()) {
                Some(c) => Values::Zeroed(t.dtype, bytes, self.weights.want(&c.path)?.values()),
                None => Values::Raw(t.dtype, bytes),
            };
            out.push(Stored { name: &t.name, shape: &t.shape, values });
        }
        Ok(out)
    }
}

fn stored_name(t: &ModelTensor) -> &str {
    if t.stored.is_empty() { &t.path } else { &t.stored }
}

/// Where the map of a shrunk file stands: `small.safetensors` has `small.shrink.json`.
fn map_path(out: &Path) -> PathBuf {
    out.with_extension("shrink.json")
}

fn zeros(s: &Session<'_>, job: Job<'_>, removed: u64, out: &Path) -> Res<String> {
    let constrained = job.constrained().len();
    let narrow = narrow::tensors(job.model, job.source, &job.weights)?;
    write(s, &narrowed(job.tensors()?, &narrow)?, job.original.header().metadata(), out)?;
    // What was read before is given back: only what was written is looked at.
    let Job { source, model, weights, original } = job;
    drop(original);
    let mut found = WeightSet::default();
    let own: BTreeSet<&str> = model.tensors.iter().map(|t| t.path.as_str()).collect();
    // Constraints that reach into other models are checked on those models' projected weights.
    for (name, w) in weights.iter().filter(|(n, _)| !own.contains(n)) {
        found.insert(name, w.clone());
    }
    let written = s.world.weights(out)?;
    for t in &model.tensors {
        let name = stored_name(t);
        let values = match narrow.get(name) {
            Some(n) => n.read(&written, name)?.into(),
            None => written.f32(name)?,
        };
        if narrow.contains_key(name) && weights.want(&t.path)?.values() != &*values {
            return Err(Bug::new(format!("`{name}` was written as other values")).into());
        }
        found.insert(&t.path, Weight::new(written.header().get(name)?.shape.clone(), values)?);
    }
    drop(weights);
    check_weights(&requires(&source.module), &found)?;
    let all = written.header().tensors().len();
    Ok(format!("{all} tensors, {constrained} constrained, {removed} elements set to zero"))
}

/// The tensors with those that are quantised in their narrow form, followed by their scales.
fn narrowed<'a>(tensors: Vec<Stored<'a>>, narrow: &'a BTreeMap<String, Narrow>) -> Res<Vec<Stored<'a>>> {
    let names: BTreeSet<&str> = tensors.iter().map(|t| t.name).collect();
    let mut out = Vec::with_capacity(tensors.len());
    for t in tensors {
        let Some(n) = narrow.get(t.name) else {
            out.push(t);
            continue;
        };
        out.push(Stored { name: t.name, shape: t.shape, values: Values::Raw(n.dtype, &n.bytes) });
        if let Some((name, shape, scales)) = &n.scales {
            if names.contains(name.as_str()) {
                let text = format!("the scales of `{}` would be called `{name}`, which the file has already", t.name);
                return Err(Diagnostic::error(codes::WRITE, text).into());
            }
            out.push(Stored { name, shape, values: Values::F32(scales) });
        }
    }
    Ok(out)
}

fn masks(s: &Session<'_>, job: &Job<'_>, out: &Path) -> Res<String> {
    let mut kept: Vec<(&str, Vec<usize>, Vec<bool>)> = Vec::new();
    for (name, t) in job.constrained() {
        let w = job.weights.want(&t.path)?;
        kept.push((name, w.shape().to_vec(), w.values().iter().map(|v| *v != 0.0).collect()));
    }
    let list: Vec<Stored<'_>> =
        kept.iter().map(|(name, shape, mask)| Stored { name, shape, values: Values::Bool(mask) }).collect();
    write(s, &list, job.original.header().metadata(), out)?;
    let written = s.world.weights(out)?;
    let mut stays = 0;
    for (name, _, mask) in &kept {
        if written.bool(name)? != *mask {
            return Err(Bug::new(format!("the mask `{name}` was read back as another")).into());
        }
        stays += mask.iter().filter(|m| **m).count();
    }
    Ok(format!("{} masks, {stays} elements stay", kept.len()))
}

fn shrunk(s: &Session<'_>, job: &Job<'_>, out: &Path, map: &Path) -> Res<String> {
    let cuts = Cuts::of(job.source, job.model, &job.weights)?;
    let paths: BTreeMap<&str, &ModelTensor> = job.model.tensors.iter().map(|t| (stored_name(t), t)).collect();
    let mut list = Vec::new();
    // Those that lose something are laid out anew, the others pass through.
    for t in job.tensors()? {
        let cut = paths.get(t.name).and_then(|p| cuts.kept.get(p.path.as_str()));
        let small = cut.map(|kept| -> Res<(Vec<usize>, Vec<u8>)> {
            let mut bytes = Vec::new();
            t.values.write(&mut bytes).map_err(|e| Bug::new(e.to_string()))?;
            Ok(gather(&bytes, t.shape, kept)?)
        });
        list.push((t, small.transpose()?));
    }
    let tensors: Vec<Stored<'_>> = list
        .iter()
        .map(|(t, small)| match small {
            Some((shape, bytes)) => Stored { name: t.name, shape, values: Values::Raw(t.values.dtype(), bytes) },
            None => *t,
        })
        .collect();
    write(s, &tensors, job.original.header().metadata(), out)?;
    let written = s.world.weights(out)?;
    for (t, small) in &list {
        let Some((shape, bytes)) = small else { continue };
        let whole = written.header().get(t.name)?.shape == *shape && written.bytes(t.name)? == bytes.as_slice();
        let path = paths.get(t.name).map_or(t.name, |p| p.path.as_str());
        let before = job.weights.want(path)?.values().iter().filter(|v| **v != 0.0).count();
        let after = written.f32(t.name)?.iter().filter(|v| **v != 0.0).count();
        if !whole || before != after {
            return Err(Bug::new(format!("`{}` lost more than zeros", t.name)).into());
        }
    }
    let names = paths.iter().map(|(name, t)| (t.path.as_str(), *name)).collect();
    s.world.write(map, cuts.text(&job.model.name, &names, &job.weights)?.as_bytes())?;
    let smaller = list.iter().filter(|(_, small)| small.is_some()).count();
    let sizes: Vec<String> = cuts.axes.iter().map(|a| format!("{} {} to {}", a.axis, a.size, a.kept.len())).collect();
    let sizes =
        if sizes.is_empty() { "no axis has a slice that is zero in all weights".into() } else { sizes.join(", ") };
    Ok(format!("{smaller} of {} tensors smaller ({sizes}), map in {}", list.len(), map.display()))
}

/// The weight file of a model from which these outputs are to be written.
///
/// # Errors
/// SP0401 where it names none, SP0409 where an output is one of the inputs.
pub(crate) fn weight_file_of(
    s: &Session<'_>,
    source: &Source,
    model: &Model,
    program: &Path,
    outputs: &[&Path],
) -> Res<PathBuf> {
    let file = source.weight_file(s, model).ok_or_else(|| {
        Diagnostic::error(codes::NO_FILE, format!("the model `{}` names no weight file", model.name))
            .at(model.span, "declared here")
            .help(format!("give it one with `--bind {}=FILE`", model.name))
    })?;
    for (input, what) in [(file.as_path(), "the weight file"), (program, "the program")] {
        if let Some(out) = outputs.iter().find(|out| s.world.same_file(input, out)) {
            let text = format!("`{}` is {what} itself: what is in it would be lost", out.display());
            return Err(Diagnostic::error(codes::WRITE, text).help("choose another name with `-o`").into());
        }
    }
    let header = s.world.header(&file)?;
    if header.metadata().contains_key(crate::packed::LAYOUTS) {
        let text = format!("`{}` is packed, and files are not written from packed ones yet", file.display());
        let d = Diagnostic::error(codes::NOT_YET, text).help("use the file that it was exported from");
        return Err(d.at(model.span, "declared here").into());
    }
    Ok(file)
}

pub(crate) fn choose<'a>(source: &'a Source, name: Option<&str>) -> Res<&'a Model> {
    let models = &source.module.models;
    let known: Vec<&str> = models.iter().map(|m| m.name.as_str()).collect();
    let wrong = |text: String| Failure::usage(listing(Diagnostic::error(codes::UNKNOWN_NAME, text), "model", &known));
    match (name, models.as_slice()) {
        (Some(n), _) => source.module.model(n).ok_or_else(|| wrong(format!("the program has no model `{n}`"))),
        (None, [only]) => Ok(only),
        (None, []) => Err(wrong("the program has no model to export".into())),
        (None, _) => Err(wrong("the program has several models; choose one with `--model NAME`".into())),
    }
}

fn write(s: &Session<'_>, tensors: &[Stored<'_>], metadata: &BTreeMap<String, String>, out: &Path) -> Res<()> {
    s.progress.step("writing", 0, 1);
    let file = Safetensors::new(tensors, metadata, 8)?;
    s.world.write_safetensors(out, &file)?;
    s.progress.step("writing", 1, 1);
    Ok(())
}
