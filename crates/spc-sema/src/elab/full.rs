//! Numbers that stand for tensors full of them: the default of a parameter with axes, such as `b: f32[O] = 0`.
//!
//! They stay numbers, so that an absent bias costs nothing, except where an index of theirs is summed: there the sum needs
//! the axis, and the number becomes the tensor that it stands for.
use super::Elab;
use super::value::{Frame, TVal, Val, axis_labels, index_label};
use crate::cx::Res;
use spc_base::Span;
use spc_ir::{DType, Dim, Op};
use spc_syntax::ast::{self, DimKind, Expr, ExprKind, FnItem, Idx, IdxKind, TypeKind};

/// `b` or `p.bias`.
fn path(e: &Expr) -> Option<String> {
    match &e.kind {
        ExprKind::Name(n) => Some(n.name.clone()),
        ExprKind::Member { base, name } => Some(format!("{}.{}", path(base)?, name.name)),
        _ => None,
    }
}

impl Elab<'_, '_> {
    /// Remembers the axes of all parameters and members that stand for tensors of one number.
    pub(super) fn note_full(&mut self, frame: &mut Frame, f: &FnItem) {
        for p in &f.sig.params {
            match (&p.ty.as_ref().map(|t| &t.kind), frame.env.get(&p.name.name)) {
                (Some(TypeKind::Named { shape: Some(shape), .. }), Some(Val::Num(_) | Val::Bool(_))) => {
                    if let Some(dims) = full_dims(frame, shape) {
                        frame.full.insert(p.name.name.clone(), dims);
                    }
                }
                (Some(TypeKind::Record(members)), Some(Val::Record(given))) => {
                    let number =
                        |m: &&ast::TensorDecl| matches!(given.get(&m.name.name), Some(Val::Num(_) | Val::Bool(_)));
                    let found: Vec<(String, Vec<Dim>)> = members
                        .iter()
                        .filter(number)
                        .filter_map(|m| match &m.ty.kind {
                            TypeKind::Named { shape: Some(s), .. } => {
                                Some((format!("{}.{}", p.name.name, m.name.name), full_dims(frame, s)?))
                            }
                            _ => None,
                        })
                        .collect();
                    frame.full.extend(found);
                }
                _ => {}
            }
        }
    }

    /// The indexed number as the tensor that it stands for.
    pub(super) fn in_full(
        &mut self,
        frame: &mut Frame,
        span: Span,
        v: &Val,
        base: &Expr,
        idx: &[Idx],
    ) -> Res<Option<Val>> {
        let Some(dims) = path(base).and_then(|p| frame.full.get(&p)).cloned() else { return Ok(None) };
        let (value, dtype) = match v {
            Val::Num(n) => (*n, DType::F32),
            Val::Bool(b) => (f64::from(u8::from(*b)), DType::Bool),
            _ => return Ok(None),
        };
        let node = self.add(span, Op::Const { value, dtype }, &[])?;
        let labels = axis_labels(&dims);
        let node = self.add(span, Op::Broadcast { dims, at: Vec::new() }, &[node])?;
        self.index_tensor(frame, span, &TVal { node, labels }, idx).map(Some)
    }

    /// The indices between the brackets that are plain names here.
    pub(super) fn plain_labels(&self, frame: &Frame, idx: &[Idx]) -> Vec<String> {
        let one = |i: &Idx| match &i.kind {
            IdxKind::Expr(e) => {
                e.as_name().filter(|n| !frame.env.contains_key(&n.name)).map(|n| vec![index_label(&n.name)])
            }
            IdxKind::Composite(parts) => Some(parts.iter().map(|p| index_label(&p.name)).collect()),
            IdxKind::Rest => None,
        };
        idx.iter().filter_map(one).flatten().collect()
    }
}

fn full_dims(frame: &Frame, shape: &[ast::Dim]) -> Option<Vec<Dim>> {
    let mut out = Vec::new();
    for d in shape {
        match &d.kind {
            DimKind::Axis(a) => out.push(frame.axes.get(&a.name)?.clone()),
            DimKind::Size(n) => out.push(Dim::fixed(n.to_string(), *n)),
            DimKind::Rest => out.extend(frame.rest.as_ref()?.iter().cloned()),
            DimKind::Composite(parts) => {
                let parts: Option<Vec<Dim>> = parts.iter().map(|p| frame.axes.get(&p.name).cloned()).collect();
                let parts = parts.filter(|p| p.iter().all(|d| d.size.fixed().is_some()))?;
                out.push(crate::model::composite(&parts));
            }
        }
    }
    Some(out)
}
