//! `spc export --emit=safetensors`: the model's file with every `require` applied once.
mod narrow;

use crate::bind;
use crate::build::check_weights;
use crate::failure::{Failure, Res};
use crate::load::{Source, listing, load_file};
use crate::project::{project, requires};
use crate::run::Done;
use crate::session::Session;
use crate::weights::{Weight, WeightSet};
use narrow::Narrow;
use spc_base::{Bug, Diagnostic, codes};
use spc_io::{Safetensors, Stored, Values, WeightFile};
use spc_sema::Model;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Writes the weight file of a model with the constraints applied: the same names, types, metadata and bytes, except that
/// removed elements are exactly zero and quantised tensors have their narrow form ([`Narrow`]). The file is read back and checked.
pub fn export_file(s: &mut Session<'_>, path: &Path, model: Option<&str>, out: &Path) -> Res<Done> {
    let source = load_file(s, path)?;
    let model = choose(&source, model)?;
    let file = weight_file_of(s, &source, model, path, out)?;
    let stored = bind::weights(s, &source, &WeightSet::default())?;
    let (weights, reports) = project(s, &source.module, &stored)?;
    let original = s.world.weights(&file)?;
    let zeroed = zero_bytes(model, &source, &original, &weights)?;
    let narrow = narrow::tensors(model, &source, &weights)?;
    write(s, &original, &zeroed, &narrow, out)?;

    let written = s.world.weights(out)?;
    let mut found = WeightSet::default();
    for t in &model.tensors {
        let name = if t.stored.is_empty() { &t.path } else { &t.stored };
        let shape = written.header().get(name)?.shape.clone();
        let values = match narrow.get(name) {
            Some(n) => n.read(&written, name)?.into(),
            None => written.f32(name)?,
        };
        if narrow.contains_key(name) && weights.want(&t.path)?.values() != &*values {
            return Err(Bug::new(format!("`{name}` was written as other values")).into());
        }
        found.insert(&t.path, Weight::new(shape, values)?);
    }
    // Constraints that reach into other models are checked on those models' projected weights.
    for (name, w) in weights.iter() {
        if found.get(name).is_none() {
            found.insert(name, w.clone());
        }
    }
    check_weights(&requires(&source.module), &found)?;

    let removed: u64 = reports.iter().map(|r| r.zeroed).sum();
    Ok(format!(
        "{}: {} tensors, {} constrained, {removed} elements set to zero, verified\n",
        out.display(),
        written.header().tensors().len(),
        zeroed.len()
    )
    .into())
}

/// The weight file of a model that is to be written anew as `out`.
///
/// # Errors
/// SP0401 where it names none, SP0409 where `out` is one of the inputs.
pub(crate) fn weight_file_of(
    s: &Session<'_>,
    source: &Source,
    model: &Model,
    program: &Path,
    out: &Path,
) -> Res<PathBuf> {
    let file = source.weight_file(s, model).ok_or_else(|| {
        Diagnostic::error(codes::NO_FILE, format!("the model `{}` names no weight file", model.name))
            .at(model.span, "declared here")
            .help(format!("give it one with `--bind {}=FILE`", model.name))
    })?;
    for (input, what) in [(file.as_path(), "the weight file"), (program, "the program")] {
        if s.world.same_file(input, out) {
            let text = format!("`{}` is {what} itself: what is in it would be lost", out.display());
            return Err(Diagnostic::error(codes::WRITE, text).help("choose another name with `-o`").into());
        }
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

/// New bytes of the constrained tensors of a model, by stored name: the old ones, with zeros where elements were removed.
fn zero_bytes(
    model: &Model,
    source: &Source,
    original: &WeightFile,
    weights: &WeightSet,
) -> Res<BTreeMap<String, Vec<u8>>> {
    let list = requires(&source.module);
    let constrained: Vec<&str> = list.iter().flat_map(|r| r.weights()).collect();
    let mut out = BTreeMap::new();
    for t in model.tensors.iter().filter(|t| constrained.contains(&t.path.as_str())) {
        let name = if t.stored.is_empty() { &t.path } else { &t.stored };
        let mut bytes = original.bytes(name)?.to_vec();
        let values = weights.want(&t.path)?.values();
        let size = bytes.len() / values.len().max(1);
        if size.checked_mul(values.len()) != Some(bytes.len()) {
            return Err(Bug::new(format!("`{name}`: {} bytes for {} values", bytes.len(), values.len())).into());
        }
        for (element, v) in bytes.chunks_exact_mut(size.max(1)).zip(values) {
            if *v == 0.0 {
                element.fill(0);
            }
        }
        out.insert(name.clone(), bytes);
    }
    Ok(out)
}

fn write(
    s: &Session<'_>,
    original: &WeightFile,
    zeroed: &BTreeMap<String, Vec<u8>>,
    narrow: &BTreeMap<String, Narrow>,
    out: &Path,
) -> Res<()> {
    let header = original.header();
    let mut tensors = Vec::new();
    for t in header.tensors() {
        if let Some(n) = narrow.get(&t.name) {
            tensors.push(Stored { name: &t.name, shape: &t.shape, values: Values::Raw(n.dtype, &n.bytes) });
            if let Some((name, shape, scales)) = &n.scales {
                if header.tensors().iter().any(|x| x.name == *name) {
                    let text =
                        format!("the scales of `{}` would be called `{name}`, which the file has already", t.name);
                    return Err(Diagnostic::error(codes::WRITE, text).into());
                }
                tensors.push(Stored { name, shape, values: Values::F32(scales) });
            }
            continue;
        }
        let bytes = match zeroed.get(&t.name) {
            Some(new) => new.as_slice(),
            None => original.bytes(&t.name)?,
        };
        tensors.push(Stored { name: &t.name, shape: &t.shape, values: Values::Raw(t.dtype, bytes) });
    }
    s.progress.step("writing", 0, 1);
    let file = Safetensors::new(&tensors, header.metadata(), 8)?;
    s.world.write_safetensors(out, &file)?;
    s.progress.step("writing", 1, 1);
    Ok(())
}
