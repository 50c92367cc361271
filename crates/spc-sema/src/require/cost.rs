//! What one element of a weight costs to compute with.
use crate::cx::{Cx, Res};
use spc_base::{Bug, Diagnostic, codes};
use spc_ir::view::trace;
use spc_ir::{Graph, Op};
use std::collections::BTreeMap;

/// Multiplications with each element of a weight, for one position of every free axis: in the function that does most.
pub fn flops(cx: &mut Cx, graphs: &BTreeMap<String, Graph>, weight: &str) -> Res<u64> {
    let mut most = 0;
    for g in graphs.values() {
        match in_graph(g, weight) {
            Ok(n) => most = most.max(n),
            Err(bug) => return cx.report(Diagnostic::error(codes::TYPE, bug.to_string())),
        }
    }
    Ok(most)
}

fn in_graph(g: &Graph, weight: &str) -> Result<u64, Bug> {
    let mut total = 0u64;
    for n in g.order()? {
        let Op::Contract { lhs, rhs, .. } = &g.node(n)?.op else { continue };
        let inputs = g.inputs(n);
        for (i, (operand, own)) in inputs.iter().zip([lhs, rhs]).enumerate() {
            let (base, _) = trace(g, *operand)?;
            if !matches!(&g.node(base)?.op, Op::Weight { name, .. } if name == weight) {
                continue;
            }
            // Every label that the weight lacks repeats it.
            let (other, labels) = (inputs.get(1 - i).copied(), if i == 0 { rhs } else { lhs });
            let Some(other) = other else { continue };
            let ty = g.ty(other)?;
            let times = labels.iter().zip(&ty.dims).filter(|(l, _)| !own.contains(l));
            let times = times.fold(1u64, |n, (_, d)| n.saturating_mul(d.size.fixed().unwrap_or(1)));
            total = total.saturating_add(times);
        }
    }
    Ok(total)
}
