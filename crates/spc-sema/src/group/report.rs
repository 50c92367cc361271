//! Coupled sets by name, for editors and tables.
use super::names::{set_name, slice_text};
use super::refuse;
use crate::check::Checked;
use crate::module::Module;
use spc_base::{Bug, Code};
use spc_ir::couple::{Carrier, Coupling, Place};
use spc_ir::{Graph, Part, Source};
use std::collections::BTreeMap;

/// Why slices of an axis cannot be removed, in words, and where the operator stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: Code,
    pub text: String,
    pub source: Option<Source>,
}

/// One axis instance of a function with everything that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSet {
    pub function: String,
    /// The axis as its first weight declares it.
    pub axis: String,
    pub size: u64,
    /// The weights by full name, and each as text: `net.up[F, :]`.
    pub weights: Vec<String>,
    pub members: Vec<String>,
    /// Types of the values between that carry it, each once: `f32[B, T, F]`.
    pub values: Vec<String>,
    /// Empty: slices can be removed.
    pub refused: Vec<Refused>,
}

/// One axis instance, and whether its positions may stand in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisOrder {
    /// The axis as its first weight declares it.
    pub name: String,
    pub size: u64,
    pub members: Vec<Carrier>,
    /// Each member as text: `net.up[F, :]`.
    pub texts: Vec<String>,
    /// Empty: all members may be reordered together.
    pub against: Vec<Refused>,
}

/// The axes of functions that share weights, and what stands against another order of each.
pub fn axis_orders(module: &Module, graphs: &[&Graph]) -> Result<Vec<AxisOrder>, Bug> {
    let c = Coupling::of(graphs)?;
    let mut out = Vec::new();
    for (i, set) in c.sets.iter().enumerate() {
        let name = set_name(module, set);
        let against = c.ordered(graphs, i)?.into_iter().map(|r| Refused {
            code: refuse::words(&r.why, &name).0,
            text: refuse::order_words(&r.why, &name),
            source: refuse::source(graphs, r.at),
        });
        out.push(AxisOrder {
            size: set.size,
            members: set.members.clone(),
            texts: set.members.iter().map(|m| carrier_text(module, set.size, m)).collect(),
            against: against.collect(),
            name,
        });
    }
    Ok(out)
}

fn carrier_text(module: &Module, size: u64, m: &Carrier) -> String {
    let part = |p: &Place| Part { dim: p.dim, start: p.start, end: p.end, inner: p.inner, size };
    let parts: Vec<Part> = m.places.iter().map(part).collect();
    slice_text(&module.models, &module.axes, &m.weight, &parts)
}

/// The coupled sets of every entry function, in order of function name and of the first weight.
pub fn coupled_sets(checked: &Checked) -> Vec<NamedSet> {
    sets_of(&checked.module, &checked.graphs)
}

/// As [`coupled_sets`], of some functions of a module.
pub fn sets_of(module: &Module, graphs: &BTreeMap<String, Graph>) -> Vec<NamedSet> {
    let mut out = Vec::new();
    for (function, g) in graphs {
        let Ok(c) = Coupling::of(&[g]) else { continue };
        for set in &c.sets {
            let axis = set_name(module, set);
            let text = |m: &Carrier| carrier_text(module, set.size, m);
            let mut values: Vec<String> = Vec::new();
            for at in &set.activations {
                let Ok(ty) = g.ty(at.node) else { continue };
                let axes = ty.dims.iter().map(|d| d.axis.as_str()).collect::<Vec<_>>().join(", ");
                let text = format!("{}[{axes}]", ty.dtype);
                if !values.contains(&text) {
                    values.push(text);
                }
            }
            let refused = set.refusals.iter().map(|r| {
                let (code, text) = refuse::words(&r.why, &axis);
                Refused { code, text, source: refuse::source(&[g], r.at) }
            });
            out.push(NamedSet {
                function: function.clone(),
                size: set.size,
                weights: set.members.iter().map(|m| m.weight.clone()).collect(),
                members: set.members.iter().map(text).collect(),
                values,
                refused: refused.collect(),
                axis,
            });
        }
    }
    out
}
