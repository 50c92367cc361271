//! Which axes of a weight its operators sum over (`in`) and which they keep (`out`).
use spc_base::Bug;
use spc_ir::view::trace;
use spc_ir::{Graph, Op};
use std::collections::BTreeMap;

/// Uses of one dimension of a weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    pub summed: bool,
    pub kept: bool,
}

/// Roles per dimension, by weight name. Weights that take part in no product are absent.
pub type Roles = BTreeMap<String, Vec<Role>>;

/// Adds the uses in one graph.
pub fn collect(g: &Graph, roles: &mut Roles) -> Result<(), Bug> {
    for n in g.order()? {
        let Op::Contract { lhs, rhs, out } = &g.node(n)?.op else { continue };
        for (operand, labels) in g.inputs(n).into_iter().zip([lhs, rhs]) {
            let (base, dims) = trace(g, operand)?;
            let Op::Weight { name, ty } = &g.node(base)?.op else { continue };
            let uses = roles.entry(name.clone()).or_insert_with(|| vec![Role::default(); ty.rank()]);
            for (d, l) in dims.iter().zip(labels) {
                if let Some(r) = uses.get_mut(d.base as usize) {
                    if out.contains(l) { r.kept = true } else { r.summed = true }
                }
            }
        }
    }
    Ok(())
}
