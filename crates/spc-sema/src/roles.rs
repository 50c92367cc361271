//! Which axes of a weight its operators sum over (`in`) and which they keep (`out`).
use spc_base::Bug;
use spc_ir::view::trace;
use spc_ir::{BinFn, Graph, NodeId, Op, ScalarExpr};
use std::collections::BTreeMap;

/// Uses of one dimension of a weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    pub summed: bool,
    pub kept: bool,
}

/// Roles per dimension, by weight name. Weights that take part in no product are absent.
pub type Roles = BTreeMap<String, Vec<Role>>;

/// Adds the uses in one graph. What is multiplied into a factor before it is summed is a factor, too.
pub fn collect(g: &Graph, roles: &mut Roles) -> Result<(), Bug> {
    let mut factors: BTreeMap<NodeId, Vec<Role>> = BTreeMap::new();
    // Readers come before what they read.
    for n in g.order()?.into_iter().rev() {
        match &g.node(n)?.op {
            Op::Contract { lhs, rhs, out } => {
                let role = |l: &u32| Role { summed: !out.contains(l), kept: out.contains(l) };
                for (operand, labels) in g.inputs(n).into_iter().zip([lhs, rhs]) {
                    add(g, operand, &labels.iter().map(role).collect::<Vec<_>>(), &mut factors)?;
                }
            }
            Op::Map { expr, at } if is_product(expr) => {
                let Some(own) = factors.get(&n).cloned() else { continue };
                let role = |p: &u32| own.get(*p as usize).copied().unwrap_or_default();
                for (operand, at) in g.inputs(n).into_iter().zip(at) {
                    add(g, operand, &at.iter().map(role).collect::<Vec<_>>(), &mut factors)?;
                }
            }
            Op::Weight { name, .. } => {
                let Some(own) = factors.get(&n) else { continue };
                merge(roles.entry(name.clone()).or_insert_with(|| vec![Role::default(); own.len()]), own.iter());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Adds the uses of the dimensions of a factor to the value that it is a view of.
fn add(g: &Graph, id: NodeId, uses: &[Role], factors: &mut BTreeMap<NodeId, Vec<Role>>) -> Result<(), Bug> {
    let (base, view) = trace(g, id)?;
    let rank = g.ty(base)?.rank();
    let own = factors.entry(base).or_insert_with(|| vec![Role::default(); rank]);
    for (d, u) in view.iter().zip(uses) {
        merge(own.get_mut(d.base as usize), std::iter::once(u));
    }
    Ok(())
}

fn merge<'r>(to: impl IntoIterator<Item = &'r mut Role>, from: impl Iterator<Item = &'r Role>) {
    for (r, u) in to.into_iter().zip(from) {
        r.summed |= u.summed;
        r.kept |= u.kept;
    }
}

/// True for a product of arguments and literals.
fn is_product(e: &ScalarExpr) -> bool {
    match e {
        ScalarExpr::Arg(_) | ScalarExpr::Const(_) => true,
        ScalarExpr::Bin(BinFn::Mul, a, b) => is_product(a) && is_product(b),
        _ => false,
    }
}
