//! `spc export --emit=safetensors`: the model's file with every `require` applied once.
use crate::bind;
use crate::build::check_weights;
use crate::failure::{Failure, Res};
use crate::load::{Source, listing, load_file};
use crate::project::{project, requires};
use crate::run::Done;
use crate::session::Session;
use crate::weights::{Weight, WeightSet};
use spc_base::{Bug, Diagnostic, codes};
use spc_io::{Safetensors, Stored, Values, WeightFile};
use spc_sema::Model;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Writes the weight file of a model with the constraints applied: the same names, types, metadata and bytes, except that
/// removed elements are exactly zero. The file is read back and checked.
pub fn export_file(s: &mut Session<'_>, path: &Path, model: Option<&str>, out: &Path) -> Res<Done> {
    let source = load_file(s, path)?;
    let model = choose(&source, model)?;
    if let Some(q) = source.module.quantizes.first() {
        let d = Diagnostic::error(codes::NOT_YET, "quantised weights cannot be exported yet");
        return Err(d
            .at(q.span, "asks for another form of storage")
            .help("leave `quantize` out, and quantise the file later")
            .into());
    }
    let file = weight_file_of(s, &source, model, path, out)?;
    let stored = bind::weights(s, &source, &WeightSet::default())?;
    let (weights, reports) = project(s, &source.module, &stored)?;
    let original = s.world.weights(&file)?;
    let zeroed = zero_bytes(model, &source, &original, &weights)?;
    write(s, &original, &zeroed, out)?;

    let written = s.world.weights(out)?;
    let mut found = WeightSet::default();
    for t in &model.tensors {
        let name = if t.stored.is_empty() { &t.path } else { &t.stored };
        let shape = written.header().get(name)?.shape.clone();
        found.insert(&t.path, Weight::new(shape, written.f32(name)?)?);
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

fn write(s: &Session<'_>, original: &WeightFile, zeroed: &BTreeMap<String, Vec<u8>>, out: &Path) -> Res<()> {
    let header = original.header();
    let mut tensors = Vec::new();
    for t in header.tensors() {
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
