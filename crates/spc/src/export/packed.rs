//! `--emit=packed`: the weights that a plan stores in a sparse layout, packed; everything else as it is. Names, shapes and values
//! are those of the model: what a plan merges, folds, splits or orders is packed as the model has it.
use super::{Job, stored_name, write};
use crate::build::{Build, build_in_shape, check_weights};
use crate::failure::Res;
use crate::packed::{self, LAYOUTS, StoredLayout};
use crate::plan::PackedSet;
use crate::project::requires;
use crate::session::Session;
use crate::weights::{Weight, WeightSet};
use spc_base::{Bug, Diagnostic, codes};
use spc_formats::{Array, Layout};
use spc_io::{Stored, Values};
use spc_report::bytes;
use spc_sema::{ModelTensor, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The packed weights of the model in the layouts of the plan. Of those that a plan file makes other weights of, or removes
/// positions from, in the layouts that a search without changes of structure chooses.
fn built(s: &mut Session<'_>, job: &Job<'_>, target: &Target) -> Res<PackedSet> {
    let names = job.source.functions(&[])?;
    let Build { mut packed, functions, removed, .. } =
        build_in_shape(s, job.source, target.clone(), &names, job.weights.clone())?;
    packed.retain(|(weight, _), p| job.weights.get(weight).is_some_and(|w| w.shape() == [p.rows(), p.cols()]));
    if !removed.is_empty() || functions.iter().any(|f| f.plan.structure.iter().any(|s| s.made.is_some())) {
        let file = s.options.plan.take();
        let whole = build_in_shape(s, job.source, target.clone(), &names, job.weights.clone());
        s.options.plan = file;
        let there: BTreeSet<String> = packed.keys().map(|(weight, _)| weight.clone()).collect();
        packed.extend(whole?.packed.into_iter().filter(|((weight, _), _)| !there.contains(weight)));
    }
    Ok(packed)
}

/// Writes the file, reads it back and compares every weight. The layouts are those that `compile` would choose for `target` if
/// it left the structure as it is.
pub fn packed(s: &mut Session<'_>, job: Job<'_>, target: Target, out: &Path) -> Res<String> {
    let all = built(s, &job, &target)?;
    let by_path: BTreeMap<&str, &ModelTensor> = job.model.tensors.iter().map(|t| (t.path.as_str(), t)).collect();
    let mut list = Vec::new();
    let mut forms = Vec::new();
    for ((weight, layout), p) in &all {
        let Some(t) = by_path.get(weight.as_str()) else { continue };
        if matches!(p.layout(), Layout::Dense { .. }) {
            continue;
        }
        let name = stored_name(t);
        let again = list.iter().any(|l: &StoredLayout| l.weight == name);
        let prefix = if again { format!("{name}.{layout}") } else { name.to_string() };
        let (weight, layout) = (name.to_string(), layout.clone());
        list.push(StoredLayout { weight, layout, rows: p.rows(), cols: p.cols(), prefix });
        forms.push(p);
    }
    let gone: BTreeSet<&str> = list.iter().map(|l| l.weight.as_str()).collect();
    let quantised: BTreeMap<&str, &ModelTensor> = job.quantised();
    let mut stored = Vec::new();
    for t in job.tensors()? {
        match quantised.get(t.name) {
            _ if gone.contains(t.name) => {}
            Some(q) => {
                let values = Values::F32(job.weights.want(&q.path)?.values());
                stored.push(Stored { values, ..t });
            }
            None => stored.push(t),
        }
    }
    let mut arrays: Vec<(String, [usize; 1], Values<'_>)> = Vec::new();
    for (l, p) in list.iter().zip(&forms) {
        for (name, array) in &p.packed().arrays {
            let values = match array {
                Array::F32(v) => Values::F32(v),
                Array::U32(v) => Values::U32(v),
                Array::U8(v) => Values::U8(v),
            };
            arrays.push((format!("{}.{name}", l.prefix), [array.len()], values));
        }
    }
    let mut taken: BTreeSet<&str> = stored.iter().map(|t| t.name).collect();
    for (name, shape, values) in &arrays {
        if !taken.insert(name) {
            let text = format!("an array would be called `{name}`, which the file has already");
            return Err(Diagnostic::error(codes::WRITE, text).into());
        }
        stored.push(Stored { name, shape, values: *values });
    }
    let mut metadata = job.original.header().metadata().clone();
    let text = serde_json::to_string(&list).map_err(|e| Bug::new(e.to_string()))?;
    metadata.insert(LAYOUTS.into(), text);
    write(s, &stored, &metadata, out)?;

    let written = s.world.weights(out)?;
    let mut found = WeightSet::default();
    for l in packed::entries(written.header()).map_err(Bug::new)? {
        let t = job.model.tensors.iter().find(|t| stored_name(t) == l.weight);
        let t = t.ok_or_else(|| Bug::new(format!("`{}` was written and is no weight", l.weight)))?;
        let values = packed::load(&written, &l).and_then(|p| p.unpack()).map_err(Bug::new)?;
        if job.weights.want(&t.path)?.values() != values.as_slice() {
            return Err(Bug::new(format!("`{}` was packed as other values", l.weight)).into());
        }
        found.insert(&t.path, Weight::new(vec![l.rows, l.cols], values.into())?);
    }
    for (name, w) in job.weights.iter() {
        if found.get(name).is_none() {
            found.insert(name, w.clone());
        }
    }
    check_weights(&requires(&job.source.module), &found)?;
    let (dense, small) = forms.iter().fold((0u64, 0u64), |(d, s), p| {
        let dense = (p.rows() as u64).saturating_mul(p.cols() as u64).saturating_mul(4);
        (d.saturating_add(dense), s.saturating_add(p.packed().bytes()))
    });
    let plain = stored.len() - arrays.len();
    Ok(format!(
        "{} weights packed ({} instead of {}), {plain} tensors as they are",
        gone.len(),
        bytes(small),
        bytes(dense)
    ))
}
