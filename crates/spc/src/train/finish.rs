//! The weights as they are deployed: every constraint of the program holds, whether a phase applied it or not.
use super::choice::{self, Choice};
use super::core::{Core, HARD};
use super::state::State;
use super::work::Ref;
use spc_base::Bug;
use spc_interp::method::{MethodError, constraint_at};
use spc_ir::Keep;
use spc_ir::method::{Does, Moment};
use spc_kernel::update::{Keys, pivot};
use std::collections::BTreeMap;

/// Projects the weights of a finished run, in place; `weights` are in the order of the tensors.
///
/// `grads` are those of the last step, by which a constraint may rank; without them such a constraint is left out.
pub(super) fn finish(
    core: &Core,
    state: &State,
    weights: &mut [Vec<f32>],
    grads: Option<&[Option<&[f32]>]>,
) -> Result<(), MethodError> {
    (0..core.rules.list.len()).try_for_each(|i| rule(core, i, Some(state), weights, grads))
}

/// The same for one rule; without a state no mask is remembered.
pub(super) fn rule(
    core: &Core,
    i: usize,
    state: Option<&State>,
    weights: &mut [Vec<f32>],
    grads: Option<&[Option<&[f32]>]>,
) -> Result<(), MethodError> {
    let Some(rule) = core.rules.list.get(i) else { return Ok(()) };
    let Does::Keep { require, amounts, update } = &rule.does else { return Ok(()) };
    let Some(r) = constraint_at(require, amounts, &Moment::END.of(core.steps))? else { return Ok(()) };
    let info = &core.info[i];
    let flags = state.and_then(|s| s.flags.get(i).copied()).unwrap_or_default();
    let moving = update.as_ref().filter(|u| u.refresh.is_some() && flags.started).and_then(|u| u.masks.first());
    let own = if flags.frozen { Some(HARD) } else { moving.map(|m| m.name.as_str()) };
    for t in &info.members {
        let mask = own.and_then(|n| state?.truths.get(&Ref::Mask(i, n.into(), *t)));
        let Some(w) = weights.get_mut(*t) else { continue };
        if let Some(mask) = mask {
            keep(w, mask);
        }
        // What is absent is +0.
        w.iter_mut().filter(|x| **x == 0.0).for_each(|x| *x = 0.0);
    }
    let k = r.keeps.last().ok_or_else(|| Bug::new("a constraint without a sentence"))?;
    let sets: Vec<Vec<choice::Part>> = match &info.choice {
        Choice::Sets(sets) => sets.clone(),
        Choice::Nm(m) => {
            let runs =
                |(p, t): (usize, &usize)| (0..core.tensors[*t].len / m).map(move |j| vec![(p, j * m, (j + 1) * m)]);
            info.members.iter().enumerate().flat_map(runs).collect()
        }
        Choice::Reference => {
            let names: Vec<&str> = info.members.iter().map(|t| core.tensors[*t].name.as_str()).collect();
            let values: Vec<&[f32]> = info.members.iter().map(|t| &weights[*t][..]).collect();
            let there: Vec<Vec<u8>> = values.iter().map(|v| present(v)).collect();
            let there: Vec<&[u8]> = there.iter().map(Vec::as_slice).collect();
            let mut last = BTreeMap::new();
            if choice::reads_gradients(&r) {
                let Some(grads) = grads else { return Ok(()) };
                for (t, n) in info.members.iter().zip(&names) {
                    let lacks = || MethodError::MissingGradient { weight: (*n).into(), rule: rule.name.clone() };
                    let g = grads.get(*t).copied().flatten().ok_or_else(lacks)?;
                    last.insert((*n).to_string(), g.to_vec());
                }
            }
            let masks = choice::reference(&r, &names, &values, Some(&there), &last)?;
            for (t, m) in info.members.iter().zip(masks) {
                keep(&mut weights[*t], &m);
            }
            return Ok(());
        }
    };
    for set in sets {
        project(core, k, &set, &info.members, weights)?;
    }
    Ok(())
}

/// Keeps the greatest magnitudes of one set among those that are not 0.
fn project(
    core: &Core,
    k: &Keep,
    set: &[choice::Part],
    members: &[usize],
    weights: &mut [Vec<f32>],
) -> Result<(), MethodError> {
    let groups: usize = set.iter().map(|(_, a, b)| b - a).sum();
    let n = choice::count(k, set.first().map_or(0, |p| p.0), groups as u64)? as usize;
    let at = |p: &choice::Part| members.get(p.0).copied().ok_or_else(|| Bug::new("a set of another tensor"));
    let tensors = set.iter().map(at).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<&[f32]> = set.iter().zip(&tensors).map(|(p, t)| &weights[*t][p.1..p.2]).collect();
    if parts.iter().map(|p| p.iter().filter(|x| **x != 0.0).count()).sum::<usize>() <= n {
        return Ok(());
    }
    let there: Vec<Vec<u8>> = parts.iter().map(|v| present(v)).collect();
    let among: Vec<&[u8]> = there.iter().map(Vec::as_slice).collect();
    let found = pivot(&parts, &among, Keys::Magnitude, n).map_err(|(p, i)| MethodError::NotFinite {
        what: "the value".into(),
        weight: core.tensors[tensors[p]].name.clone(),
        index: set[p].1 + i,
    })?;
    let Some(found) = found else { return Ok(()) };
    for (j, (p, t)) in set.iter().zip(&tensors).enumerate() {
        for (i, x) in weights[*t][p.1..p.2].iter_mut().enumerate() {
            if !found.takes(Keys::Magnitude.of(*x), (j, i)) {
                *x = 0.0;
            }
        }
    }
    Ok(())
}

fn present(v: &[f32]) -> Vec<u8> {
    v.iter().map(|x| u8::from(*x != 0.0)).collect()
}

/// +0 wherever the mask is false.
fn keep(w: &mut [f32], mask: &[u8]) {
    w.iter_mut().zip(mask).filter(|(_, k)| **k == 0).for_each(|(x, _)| *x = 0.0);
}
