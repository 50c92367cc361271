//! Applies every `require` to the weights, once.
use crate::failure::Res;
use crate::session::Session;
use crate::weights::{Weight, WeightSet};
use spc_base::{Bug, Diagnostic, codes};
use spc_interp::Projected;
use spc_ir::Require;
use spc_sema::Module;
use std::collections::BTreeMap;

/// The constraints of a program as data, in file order.
pub fn requires(module: &Module) -> Vec<Require> {
    module.requires.iter().map(|r| Require { name: r.name.clone(), keeps: r.keeps.clone() }).collect()
}

/// Weights that satisfy every constraint, and what each sentence did. Only constrained weights are copied. A constraint
/// that removed nothing gives the warning SP0307.
pub fn project(s: &mut Session<'_>, module: &Module, weights: &WeightSet) -> Res<(WeightSet, Vec<Projected>)> {
    let all = requires(module);
    let mut copies: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for name in all.iter().flat_map(Require::weights) {
        copies.insert(name.to_string(), weights.want(name)?.values().to_vec());
    }
    // Constraints that share no weight are independent, so each can be heard of as it is done.
    let (mut reports, total) = (Vec::new(), all.len() as u64);
    for (done, r) in (0u64..).zip(&all) {
        s.progress.step("projecting", done, total);
        reports.extend(spc_interp::project(std::slice::from_ref(r), &mut copies)?);
    }
    s.progress.step("projecting", total, total);
    for r in &module.requires {
        let zeroed: u64 = reports.iter().filter(|p| p.require == r.name).map(|p| p.zeroed).sum();
        if zeroed == 0 {
            let text = format!("`{}` removed nothing: the weights already satisfy it", r.name);
            s.warn(Diagnostic::warning(codes::REMOVED_NOTHING, text).at(r.span, "every weight stays"));
        }
    }
    let mut out = weights.clone();
    for (name, values) in copies {
        let old = weights.get(&name).ok_or_else(|| Bug::new("a projected weight vanished"))?;
        out.insert(&name, Weight::new(old.shape().to_vec(), values.into())?);
    }
    Ok((out, reports))
}
