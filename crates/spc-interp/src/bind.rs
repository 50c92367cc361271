//! Sizes of free axes from the shapes of inputs, and the check of inputs against their declarations.
use crate::{Real, RunError, Value};
use spc_base::Bug;
use spc_ir::{Graph, Op, Size, Sym, SymId};
use std::collections::BTreeMap;

/// The size of every free axis, in the order of [`Graph::syms`], from the shapes of the named inputs.
///
/// Every input must be given, and no other; ranks and fixed sizes must agree with the declaration, one axis has one
/// size, and that size lies in the declared range. A free axis that no input carries is taken from its range when that
/// holds one size only.
pub fn bind_syms(graph: &Graph, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Vec<u64>, RunError> {
    let mut sizes = Vec::with_capacity(graph.syms.len());
    for (i, size) in (0u32..).zip(unify(graph, shapes)?) {
        let sym = graph.sym(SymId(i))?;
        let size = match graph.formulas.get(&SymId(i)) {
            Some(f) => f.size(&sizes),
            None => size.or((sym.lo == sym.hi).then_some(sym.lo)),
        };
        sizes.push(in_range(sym, size.ok_or_else(|| RunError::AxisUnbound { axis: sym.name.clone() })?)?);
    }
    Ok(sizes)
}

fn in_range(sym: &Sym, size: u64) -> Result<u64, RunError> {
    if (sym.lo..=sym.hi).contains(&size) {
        Ok(size)
    } else {
        Err(RunError::AxisRange { axis: sym.name.clone(), size, lo: sym.lo, hi: sym.hi })
    }
}

/// The sizes that inputs give to free axes; none where no input carries the axis.
fn unify(graph: &Graph, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Vec<Option<u64>>, RunError> {
    let inputs = graph.named_inputs();
    if let Some(name) = shapes.keys().find(|name| !inputs.iter().any(|(n, _)| n == *name)) {
        return Err(RunError::InputUnknown { name: name.clone() });
    }
    let mut bound: Vec<Option<u64>> = vec![None; graph.syms.len()];
    for (name, id) in &inputs {
        let ty = graph.ty(*id)?;
        let got = shapes.get(name).ok_or_else(|| RunError::InputMissing { name: name.clone() })?;
        let wrong = || RunError::InputShape { name: name.clone(), want: graph.type_text(ty), got: got.clone() };
        if got.len() != ty.rank() {
            return Err(wrong());
        }
        for (d, n) in ty.dims.iter().zip(got) {
            let n = *n as u64;
            match d.size {
                Size::Fixed(want) if want != n => return Err(wrong()),
                Size::Fixed(_) => {}
                Size::Free(s) => {
                    let sym = graph.sym(s)?;
                    let slot = bound.get_mut(s.0 as usize).ok_or_else(|| Bug::new("free axis without a slot"))?;
                    match *slot {
                        Some(old) if old != n => {
                            let (axis, input) = (sym.name.clone(), name.clone());
                            return Err(RunError::AxisConflict { axis, input, sizes: (old, n) });
                        }
                        _ => *slot = Some(n),
                    }
                }
            }
        }
    }
    Ok(bound)
}

/// Checks inputs against the declarations and the sizes of the free axes.
pub(crate) fn check_inputs<R: Real>(
    graph: &Graph,
    syms: &[u64],
    inputs: &BTreeMap<String, Value<R>>,
) -> Result<(), RunError> {
    let shapes = inputs.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
    let bound = unify(graph, &shapes)?;
    if syms.len() != bound.len() {
        return Err(Bug::new(format!("{} sizes given for {} free axes", syms.len(), bound.len())).into());
    }
    for (s, f) in &graph.formulas {
        if f.size(syms) != syms.get(s.0 as usize).copied() {
            return Err(Bug::new(format!(
                "the size given for {} does not follow from the others",
                graph.sym(*s)?.name
            ))
            .into());
        }
    }
    for ((sym, given), found) in graph.syms.iter().zip(syms).zip(&bound) {
        in_range(sym, *given)?;
        if let Some(found) = found.filter(|f| f != given) {
            let (axis, input) = (sym.name.clone(), "the inputs".to_string());
            return Err(RunError::AxisConflict { axis, input, sizes: (*given, found) });
        }
    }
    for (name, id) in graph.named_inputs() {
        let (Op::Input { ty, .. }, Some(v)) = (&graph.node(id)?.op, inputs.get(&name)) else { continue };
        if v.dtype() != ty.dtype {
            return Err(RunError::InputType { name, want: ty.dtype.name(), got: v.dtype().name() });
        }
    }
    Ok(())
}
