//! How axes, sets and slices of weights are called in messages and tables.
use crate::module::{AxisSize, Model, ModelTensor, Module};
use spc_ir::couple::{CoupledSet, Place};
use spc_ir::{Cover, Dim, Member, Part};
use std::collections::BTreeMap;

/// One axis inside a dimension: its name, its size, and the positions of the dimension for each of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Within {
    pub axis: String,
    pub size: u64,
    pub inner: u64,
}

/// The axes that a declared dimension is made of, outer first: of `(H C)` two, of `F` itself.
pub(super) fn axes_of(d: &Dim, axes: &BTreeMap<String, crate::module::Axis>) -> Vec<Within> {
    let whole = d.size.fixed().unwrap_or(0);
    let Some(names) = d.axis.strip_prefix('(').and_then(|n| n.strip_suffix(')')) else {
        return vec![Within { axis: d.axis.clone(), size: whole, inner: 1 }];
    };
    let mut out = Vec::new();
    let mut inner = 1u64;
    for name in names.split(' ').rev() {
        let size = match axes.get(name).map(|a| a.size) {
            Some(AxisSize::Fixed(n)) => n,
            _ => return Vec::new(),
        };
        out.insert(0, Within { axis: name.to_string(), size, inner });
        inner = inner.saturating_mul(size);
    }
    if inner == whole { out } else { Vec::new() }
}

fn tensor<'m>(models: &'m [Model], path: &str) -> Option<&'m ModelTensor> {
    models.iter().flat_map(|m| &m.tensors).find(|t| t.path == path)
}

/// The name of an axis that lies like this in a dimension: the declared one where it fits, else the dimension's.
fn name_in(d: &Dim, axes: &BTreeMap<String, crate::module::Axis>, inner: u64, size: u64) -> String {
    let parts = axes_of(d, axes);
    match parts.iter().find(|w| w.inner == inner && w.size == size) {
        Some(w) => w.axis.clone(),
        None => d.axis.clone(),
    }
}

/// What a coupled set's axis is called where its first member declares it.
pub fn set_name(module: &Module, set: &CoupledSet) -> String {
    let name = |weight: &str, p: &Place| {
        let d = tensor(&module.models, weight)?.dims.get(p.dim as usize)?;
        Some(name_in(d, &module.axes, p.inner, set.size))
    };
    let mut whole = None;
    for m in &set.members {
        for p in &m.places {
            match name(&m.weight, p) {
                // A name that is the axis itself is better than that of a longer axis which holds it.
                Some(n) if module.axes.get(&n).is_some_and(|a| a.size == AxisSize::Fixed(set.size)) => return n,
                n => whole = whole.or(n),
            }
        }
    }
    whole.unwrap_or_default()
}

/// `net.up[F, :]`: a weight with the places of one axis marked by its name, or by its extent in `(H :)`.
pub(super) fn slice_text(
    models: &[Model],
    axes: &BTreeMap<String, crate::module::Axis>,
    weight: &str,
    parts: &[Part],
) -> String {
    let Some(t) = tensor(models, weight) else { return weight.to_string() };
    let dims = (0u32..).zip(&t.dims).map(|(i, d)| {
        let here: Vec<&Part> = parts.iter().filter(|p| p.dim == i).collect();
        if here.is_empty() {
            return ":".to_string();
        }
        let texts = here.into_iter().map(|p| {
            let whole = p.start == 0 && Some(p.end) == d.size.fixed();
            let within = axes_of(d, axes);
            match within.iter().find(|w| w.inner == p.inner && w.size == p.size) {
                Some(w) if whole && within.len() == 1 => w.axis.clone(),
                Some(w) if whole => {
                    let mark = |v: &Within| if v.axis == w.axis { v.axis.clone() } else { ":".to_string() };
                    format!("({})", within.iter().map(mark).collect::<Vec<_>>().join(" "))
                }
                _ if whole && p.inner == 1 && p.size == p.end => d.axis.clone(),
                _ => format!("{} at {}..{}", d.axis, p.start, p.end),
            }
        });
        texts.collect::<Vec<_>>().join(" and ")
    });
    format!("{weight}[{}]", dims.collect::<Vec<_>>().join(", "))
}

/// A member of a sentence over slices as text, `net.down[:, F]`; nothing for other groups.
pub fn member_text(module: &Module, m: &Member) -> Option<String> {
    match &m.cover {
        Cover::Slices(s) => Some(slice_text(&module.models, &module.axes, &m.weight, &s.parts)),
        _ => None,
    }
}
