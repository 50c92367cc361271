//! Weights: headers against declarations, and the values of every tensor of a program.
use crate::failure::{Failure, Res};
use crate::load::Source;
use crate::packed::{self, StoredLayout};
use crate::session::Session;
use crate::weights::WeightSet;
use spc_base::{Diagnostic, Level, codes};
use spc_io::{Floats, Header, WeightFile, check_finite};
use spc_ir::DType;
use spc_sema::{Model, ModelTensor, Stored, check_stored};
use std::path::Path;

/// The declared tensors as a weight file lists them. A tensor of a model without a file is listed by its full name.
fn as_stored(model: &Model) -> Model {
    let mut m = model.clone();
    for t in &mut m.tensors {
        if t.stored.is_empty() {
            t.stored.clone_from(&t.path);
        }
    }
    m
}

fn compare(model: &Model, header: &Header) -> Vec<Diagnostic> {
    let mut stored: Vec<Stored> = header
        .tensors()
        .iter()
        .map(|t| Stored {
            name: t.name.clone(),
            dtype: t.dtype.to_string(),
            shape: t.shape.iter().map(|n| *n as u64).collect(),
        })
        .collect();
    let path = header.path().display().to_string();
    match packed::entries(header) {
        // A weight in several layouts counts once.
        Ok(list) => {
            for l in list {
                if stored.iter().all(|t| t.name != l.weight) {
                    let shape = vec![l.rows as u64, l.cols as u64];
                    stored.push(Stored { name: l.weight, dtype: "F32".into(), shape });
                }
            }
        }
        Err(e) => return vec![Diagnostic::error(codes::BAD_FILE, format!("`{path}`: {e}"))],
    }
    check_stored(model, &stored).into_iter().map(|d| d.note(format!("the weight file is `{path}`"))).collect()
}

/// Adds the words that name the file.
fn named(d: Diagnostic, model: &Model) -> Diagnostic {
    match &model.source {
        Some(source) if d.primary.is_none() => d.at(source.span, "named here"),
        _ => d,
    }
}

/// SP0006 for a weight file of a format that this version does not read, unless the caller binds another.
fn not_read(s: &Session<'_>, model: &Model) -> Option<Diagnostic> {
    let source = model.source.as_ref().filter(|f| f.format != "safetensors")?;
    if s.options.binds.contains_key(&model.name) && !model.open {
        return None;
    }
    let text = format!("a model from `{}` is checked, but not read yet", source.format);
    let d = Diagnostic::error(codes::NOT_YET, text).at(source.span, "named here");
    Some(if model.open {
        d
    } else {
        d.help(format!("`--bind {}=FILE.safetensors` gives the same tensors", model.name))
    })
}

/// What `check` looks at: names, shapes and types in the headers of the weight files. A file that is not there is a
/// warning.
pub fn check_headers(s: &mut Session<'_>, source: &Source) -> Res<()> {
    let mut found = Vec::new();
    for model in &source.module.models {
        let Some(path) = source.weight_file(s, model) else { continue };
        if let Some(d) = not_read(s, model) {
            s.warn(Diagnostic { code: codes::NOT_CHECKED, level: Level::Warning, ..d });
            continue;
        }
        match s.world.header(&path) {
            Ok(header) => found.extend(compare(&as_stored(model), &header)),
            Err(d)
                if d.code == codes::NO_FILE
                    && !s.world.is_file(&path)
                    && !s.options.binds.contains_key(&model.name) =>
            {
                let text = format!("`{}` is not there, so names and shapes are unchecked", path.display());
                s.warn(named(Diagnostic::warning(codes::NOT_CHECKED, text), model));
            }
            Err(d) => found.push(named(d, model)),
        }
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::User(found)) }
}

/// The weights of all models of a program, as stored. `given` holds arrays that the caller bound by name; a model all of
/// whose tensors are given needs no file.
///
/// # Errors
/// SP0401 for a missing file, SP0402 to SP0406 for what is in it.
pub fn weights(s: &Session<'_>, source: &Source, given: &WeightSet) -> Res<WeightSet> {
    let mut out = WeightSet::default();
    let mut found = Vec::new();
    for model in &source.module.models {
        if let Err(Failure::User(list)) = one(s, source, model, given, &mut out) {
            found.extend(list);
        }
    }
    if found.is_empty() { Ok(out) } else { Err(Failure::User(found)) }
}

fn one(s: &Session<'_>, source: &Source, model: &Model, given: &WeightSet, out: &mut WeightSet) -> Res<()> {
    if let Some(t) = model.tensors.iter().find(|t| t.dtype != DType::F32) {
        let text = format!("the weight `{}` is {}, and only f32 weights can be used yet", t.path, t.dtype);
        return Err(Diagnostic::error(codes::UNSUPPORTED, text).at(t.span, "declared here").into());
    }
    let mut missing = Vec::new();
    for t in &model.tensors {
        match given.get(&t.path) {
            Some(w) => {
                fits(t, w.shape())?;
                check_finite(&t.path, w.shape(), w.values()).map_err(|d| d.at(t.span, "declared here"))?;
                out.insert(&t.path, w.clone());
            }
            None => match t.init {
                Some(init) if !s.options.binds.contains_key(&model.name) => {
                    out.insert(&t.path, crate::init::values(t, init)?)
                }
                _ => missing.push(t),
            },
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if let Some(d) = not_read(s, model) {
        return Err(d.into());
    }
    let Some(path) = source.weight_file(s, model) else {
        let names: Vec<String> = missing.iter().take(6).map(|t| format!("`{}`", t.path)).collect();
        let text =
            format!("the model `{}` names no file, and no values were given for {}", model.name, names.join(", "));
        return Err(Diagnostic::error(codes::NO_TENSOR, text).at(model.span, "declared here").into());
    };
    from_file(s, model, &path, &missing, out)
}

fn from_file(s: &Session<'_>, model: &Model, path: &Path, wanted: &[&ModelTensor], out: &mut WeightSet) -> Res<()> {
    let file = s.world.weights(path).map_err(|d| named(d, model))?;
    let mut declared = as_stored(model);
    declared.tensors.retain(|t| wanted.iter().any(|w| w.path == t.path));
    let found = compare(&declared, file.header());
    if !found.is_empty() {
        return Err(Failure::User(found));
    }
    let mut bad = Vec::new();
    // `compare` has read the list.
    let packed = packed::entries(file.header()).unwrap_or_default();
    for t in &declared.tensors {
        let (shape, values) = match packed.iter().find(|l| l.weight == t.stored) {
            Some(l) if file.header().get(&t.stored).is_err() => (vec![l.rows, l.cols], unpacked(&file, l)?),
            _ => {
                let shape = file.header().get(&t.stored)?.shape.clone();
                (shape, file.f32(&t.stored).map_err(|d| d.at(t.span, "declared here"))?)
            }
        };
        match check_finite(&t.stored, &shape, &values) {
            Ok(()) => out.insert(&t.path, crate::weights::Weight::new(shape, values)?),
            Err(d) => {
                bad.push(d.at(t.span, format!("declared as `{}`", t.path)).note(format!("in `{}`", path.display())))
            }
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(Failure::User(bad)) }
}

/// The values of a packed weight whose shape is the declared one.
fn unpacked(file: &WeightFile, entry: &StoredLayout) -> Res<Floats> {
    let values = packed::load(file, entry).and_then(|p| p.unpack());
    let wrong = |e| Diagnostic::error(codes::BAD_FILE, format!("`{}`: {e}", file.header().path().display()));
    Ok(values.map_err(wrong)?.into())
}

/// SP0404 unless the shape is the declared one.
pub fn fits(t: &ModelTensor, shape: &[usize]) -> Res<()> {
    let want: Vec<u64> = t.dims.iter().map(|d| d.size.fixed().unwrap_or(0)).collect();
    if want.len() == shape.len() && want.iter().zip(shape).all(|(a, b)| *a == *b as u64) {
        return Ok(());
    }
    let axes: Vec<String> = t.dims.iter().zip(&want).map(|(d, n)| format!("{}={n}", d.axis)).collect();
    let text = format!("the array bound to `{}` has shape {shape:?}", t.path);
    Err(Diagnostic::error(codes::SHAPE, text).at(t.span, format!("declared as [{}]", axes.join(", "))).into())
}
