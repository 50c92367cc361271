//! Applies every `require` to the weights, once.
use crate::calibrate::input_norms;
use crate::failure::{Failure, Res};
use crate::load::Source;
use crate::session::Session;
use crate::weights::{Weight, WeightSet};
use spc_base::{Diagnostic, codes};
use spc_interp::{Given, ProjectError, Projected};
use spc_ir::{Require, independent};
use spc_sema::{Module, StoredAs};
use std::collections::{BTreeMap, btree_map};

/// The constraints of a program as data, in file order.
pub fn requires(module: &Module) -> Vec<Require> {
    module.requires.iter().map(|r| Require { name: r.name.clone(), keeps: r.keeps.clone() }).collect()
}

/// Refuses (SP0006) a program that chooses among the links of a data source: leaving such a constraint out would give
/// another program.
pub fn without_links(module: &Module) -> Result<(), Diagnostic> {
    match module.links.first() {
        Some(l) => {
            let d = Diagnostic::error(codes::NOT_YET, "choosing among the links of a data source cannot be run yet");
            Err(d.at(l.span, "checked, but not run"))
        }
        None => Ok(()),
    }
}

/// Weights that satisfy every constraint, and what each sentence did. Only constrained weights are copied. A constraint
/// that removed nothing gives the warning SP0307. What is quantised has the values that its stored form can hold.
pub fn project(s: &mut Session<'_>, source: &Source, weights: &WeightSet) -> Res<(WeightSet, Vec<Projected>)> {
    let module = &source.module;
    without_links(module)?;
    let all = requires(module);
    let grads = gradients(s, module)?;
    let apply = |s: &mut Session<'_>, list: &[Require]| {
        let mut copies: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for name in list.iter().flat_map(Require::weights) {
            let stored = weights.want(name)?;
            copies.insert(name.to_string(), stored.values().to_vec());
            stored.forget();
        }
        let mut reports = Vec::new();
        for r in list {
            let norms = input_norms(s, source, r, weights)?;
            let given = Given {
                gradients: grads.as_ref().map(|g| g as &dyn spc_interp::Weights),
                input_norms: norms.as_ref().map(|n| n as &dyn spc_interp::Weights),
            };
            let done = spc_interp::project_by(std::slice::from_ref(r), &mut copies, given);
            reports.extend(done.map_err(|e| blamed(e, module, &r.name))?);
        }
        Ok::<_, Failure>((copies, reports))
    };
    // What depends on nothing else is done alone: it then needs memory for itself only.
    let parts = independent(&all);
    let (mut out, mut sums) = (weights.clone(), BTreeMap::<(usize, usize), Projected>::new());
    let total = parts.len() as u64;
    for (done, part) in (0u64..).zip(&parts) {
        s.progress.step("projecting", done, total);
        let found = apply(s, part);
        // In file order another mistake may come first.
        let (copies, reports) = if found.is_err() && parts.len() > 1 { apply(s, &all).and(found)? } else { found? };
        for (name, values) in copies {
            let old = weights.want(&name)?;
            out.insert(&name, Weight::new(old.shape().to_vec(), values.into())?);
        }
        for p in reports {
            let place = all.iter().position(|r| r.name == p.require).unwrap_or(all.len());
            match sums.entry((place, p.sentence)) {
                btree_map::Entry::Vacant(e) => drop(e.insert(p)),
                btree_map::Entry::Occupied(mut e) => {
                    let sum = e.get_mut();
                    sum.groups += p.groups;
                    sum.kept += p.kept;
                    sum.zeroed += p.zeroed;
                    sum.over_budget += p.over_budget;
                }
            }
        }
    }
    let reports: Vec<Projected> = sums.into_values().collect();
    s.progress.step("projecting", total, total);
    for r in &module.requires {
        let zeroed: u64 = reports.iter().filter(|p| p.require == r.name).map(|p| p.zeroed).sum();
        if reports.iter().any(|p| p.require == r.name && p.over_budget > 0) {
            let text = format!("the floor of `{}` costs more than its budget", r.name);
            s.warn(Diagnostic::warning(codes::OVER_BUDGET, text).at(r.span, "the floor is kept, the budget is not"));
        }
        // `keep all` is there for its groups.
        let all = r.keeps.iter().all(|k| k.amount == spc_ir::Amount::Share { num: 1, den: 1 });
        if zeroed == 0 && !all {
            let text = format!("`{}` removed nothing: the weights already satisfy it", r.name);
            s.warn(Diagnostic::warning(codes::REMOVED_NOTHING, text).at(r.span, "every weight stays"));
        }
    }
    for q in &module.quantizes {
        for t in &q.tensors {
            let old = out.want(&t.weight)?;
            let (shape, mut values) = (old.shape().to_vec(), old.values().to_vec());
            match q.to {
                StoredAs::Int { bits } => {
                    spc_interp::quantize_int(&mut values, &t.shape, &t.tile, bits, q.half_scales)?
                }
                StoredAs::F16 => spc_interp::round_f16(&mut values),
                StoredAs::Bf16 => spc_interp::round_bf16(&mut values),
            }
            if values.iter().any(|v| !v.is_finite()) {
                let text = format!("`{}` holds a value beyond the range of its stored form", t.weight);
                return Err(Diagnostic::error(codes::NOT_FINITE, text).at(q.span, "stored as this").into());
            }
            out.insert(&t.weight, Weight::new(shape, values.into())?);
        }
    }
    Ok((out, reports))
}

/// What went wrong, with the constraint that asked for it.
fn blamed(e: ProjectError, module: &Module, name: &str) -> Failure {
    let span = module.requires.iter().find(|r| r.name == name).map(|r| r.span);
    match (e.diagnostic(), span) {
        (Ok(d), Some(span)) if d.primary.is_none() => d.at(span, "asked for here").into(),
        (Ok(d), _) => d.into(),
        (Err(bug), _) => bug.into(),
    }
}

/// The gradients that the caller gave, by full name of weight, where a score reads any. A tensor of the file has the name
/// that the weight has in its own file, or its full name.
fn gradients(s: &Session<'_>, module: &Module) -> Res<Option<WeightSet>> {
    let needed = module.requires.iter().flat_map(|r| &r.keeps).filter(|k| k.score.needs_gradients());
    let names: Vec<&str> = needed.flat_map(|k| &k.members).map(|m| m.weight.as_str()).collect();
    let Some(path) = s.options.grads.as_ref().filter(|_| !names.is_empty()) else { return Ok(None) };
    let file = s.world.weights(path)?;
    let mut out = WeightSet::default();
    for t in module.models.iter().flat_map(|m| &m.tensors).filter(|t| names.contains(&t.path.as_str())) {
        let header = file.header();
        let found = [&t.stored, &t.path].into_iter().find(|n| header.tensors().iter().any(|x| x.name == **n));
        // One that is missing is reported with the constraint that needs it.
        let Some(name) = found else { continue };
        let shape = header.get(name)?.shape.clone();
        let want: Vec<Option<u64>> = t.dims.iter().map(|d| d.size.fixed()).collect();
        if !shape.iter().map(|n| Some(*n as u64)).eq(want) {
            let text = format!("the gradient `{name}` has another shape than the weight `{}`", t.path);
            let d = Diagnostic::error(codes::SHAPE, text).at(t.span, "the weight is declared here");
            return Err(d.note(format!("`{}` has {shape:?}", path.display())).into());
        }
        out.insert(&t.path, Weight::new(shape, file.f32(name)?)?);
    }
    Ok(Some(out))
}
