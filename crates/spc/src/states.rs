//! States of functions: inputs that are results, too. One that the caller does not give is that of the first call.
use crate::engine::Inputs;
use ndarray::{ArrayD, IxDyn};
use spc_base::Bug;
use spc_interp::Value;
use spc_ir::{DType, Graph, Op, Size, Type};
use std::collections::BTreeMap;

/// Names of the states of a function.
pub fn states(graph: &Graph) -> Vec<String> {
    let inputs = graph.named_inputs();
    let is_input = |n: &String| inputs.iter().any(|(m, _)| m == n);
    graph.outputs.iter().map(|(n, _)| n.clone()).filter(is_input).collect()
}

/// The states that inputs of these shapes leave out: all 0, over axes of the sizes that other inputs have, and no position of
/// an axis that nothing else has.
pub fn missing_states(graph: &Graph, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Inputs, Bug> {
    let missing: Vec<String> = states(graph).into_iter().filter(|n| !shapes.contains_key(n)).collect();
    if missing.is_empty() {
        return Ok(Inputs::new());
    }
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    let types: BTreeMap<String, Type> = graph
        .named_inputs()
        .into_iter()
        .filter_map(|(n, id)| match &graph.node(id).ok()?.op {
            Op::Input { ty, .. } => Some((n, ty.clone())),
            _ => None,
        })
        .collect();
    for (name, shape) in shapes {
        let Some(ty) = types.get(name) else { continue };
        for (d, n) in ty.dims.iter().zip(shape) {
            if let Size::Free(s) = d.size {
                sizes.entry(s.0).or_insert(*n);
            }
        }
    }
    // Sizes that follow from others.
    let mut all: Vec<u64> = (0u32..).zip(&graph.syms).map(|(i, y)| sizes.get(&i).map_or(y.lo, |n| *n as u64)).collect();
    graph.complete(&mut all);
    let mut out = Inputs::new();
    for name in missing {
        let ty = types.get(&name).ok_or_else(|| Bug::new("a state without a type"))?;
        let shape: Vec<usize> = ty
            .dims
            .iter()
            .map(|d| match d.size {
                Size::Fixed(n) => n as usize,
                Size::Free(s) => all.get(s.0 as usize).copied().unwrap_or(0) as usize,
            })
            .collect();
        let n: usize = shape.iter().product();
        let lost = |_| Bug::new("a state of another size than its shape");
        let shape = IxDyn(&shape);
        let v = match ty.dtype {
            DType::F32 => Value::F(ArrayD::from_shape_vec(shape, vec![0.0; n]).map_err(lost)?),
            DType::I32 => Value::I(ArrayD::from_shape_vec(shape, vec![0; n]).map_err(lost)?),
            _ => Value::B(ArrayD::from_shape_vec(shape, vec![false; n]).map_err(lost)?),
        };
        out.insert(name, v);
    }
    Ok(out)
}
