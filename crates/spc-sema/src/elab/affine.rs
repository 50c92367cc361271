//! Affine indices: `x[b, c, s * h + r - p]` reads outside its axis as 0.
use super::Elab;
use super::value::{Frame, TVal, Val, index_label};
use crate::cx::Res;
use spc_base::{Span, codes};
use spc_ir::{BinFn, Dim, NodeId, Op};
use spc_syntax::ast::{BinaryOp, Expr, ExprKind, UnaryOp};

/// Numbers in an affine index stay below this.
const MAX_NUMBER: f64 = 1e9;

/// A sum of indices, each times a number, and a number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Affine {
    /// Label, its use, its factor.
    pub terms: Vec<(String, Span, i64)>,
    pub offset: i64,
}

impl Affine {
    fn number(offset: i64) -> Affine {
        Affine { terms: Vec::new(), offset }
    }

    fn scaled(mut self, by: i64) -> Option<Affine> {
        self.offset = self.offset.checked_mul(by)?;
        for t in &mut self.terms {
            t.2 = t.2.checked_mul(by)?;
        }
        Some(self)
    }

    fn plus(mut self, other: Affine) -> Option<Affine> {
        self.offset = self.offset.checked_add(other.offset)?;
        for t in other.terms {
            match self.terms.iter_mut().find(|u| u.0 == t.0) {
                Some(u) => u.2 = u.2.checked_add(t.2)?,
                None => self.terms.push(t),
            }
        }
        Some(self)
    }
}

impl Elab<'_, '_> {
    /// The affine form of an index, where it has one and names at least one index.
    pub(super) fn affine(&mut self, frame: &mut Frame, e: &Expr) -> Option<Affine> {
        if !self.ix.on || matches!(e.kind, ExprKind::Name(_)) {
            return None;
        }
        let reported = self.cx.diags.len();
        let a = self.affine_part(frame, e);
        self.cx.diags.truncate(reported);
        a.filter(|a| !a.terms.is_empty())
    }

    fn affine_part(&mut self, frame: &mut Frame, e: &Expr) -> Option<Affine> {
        match &e.kind {
            ExprKind::Name(n) => match frame.env.get(&n.name) {
                None if self.p.consts.get(self.p.names, &frame.origin, &n.name).is_none() => {
                    Some(Affine { terms: vec![(index_label(&n.name), n.span, 1)], offset: 0 })
                }
                Some(Val::Index(l)) => Some(Affine { terms: vec![(l.clone(), n.span, 1)], offset: 0 }),
                _ => self.affine_number(frame, e),
            },
            ExprKind::Unary { op: UnaryOp::Neg, arg } => self.affine_part(frame, arg)?.scaled(-1),
            ExprKind::Binary { op, lhs, rhs, .. } => {
                let (a, b) = (self.affine_part(frame, lhs)?, self.affine_part(frame, rhs)?);
                match op {
                    BinaryOp::Add => a.plus(b),
                    BinaryOp::Sub => a.plus(b.scaled(-1)?),
                    BinaryOp::Mul if b.terms.is_empty() => a.scaled(b.offset),
                    BinaryOp::Mul if a.terms.is_empty() => b.scaled(a.offset),
                    _ => None,
                }
            }
            ExprKind::Num(_) | ExprKind::Member { .. } | ExprKind::Call { .. } => self.affine_number(frame, e),
            _ => None,
        }
    }

    fn affine_number(&mut self, frame: &mut Frame, e: &Expr) -> Option<Affine> {
        if let ExprKind::Call { callee, .. } = &e.kind
            && callee.as_name().is_none_or(|n| n.as_str() != "size")
        {
            return None;
        }
        match self.expr(frame, e).ok()? {
            Val::Num(n) if n.fract() == 0.0 && n.abs() < MAX_NUMBER => Some(Affine::number(n as i64)),
            Val::Static(n) if (n as f64) < MAX_NUMBER => Some(Affine::number(n as i64)),
            _ => None,
        }
    }

    /// Reads dimension `dim` of a value at an affine index: new labels in place of the dimension, 0 outside it.
    pub(super) fn window(&mut self, span: Span, node: NodeId, dim: usize, d: &Dim, a: &Affine) -> Res<TVal> {
        let Some(size) = d.size.fixed() else {
            return self.cx.not_yet(span, "an affine index over a free axis");
        };
        let mut at: Option<Val> = None;
        let (mut low, mut high) = (a.offset, a.offset);
        for (l, use_span, by) in &a.terms {
            let Some((td, _)) = self.ix.dims.get(l).cloned() else {
                let name = l.trim_start_matches('\'');
                let text = format!("index `{name}` has no size: it occurs only inside other indices");
                return self.cx.err(codes::INDEX, *use_span, text, "give it an axis in the declared result");
            };
            let Some(n) = td.size.fixed() else {
                return self.cx.not_yet(*use_span, "an affine index over a free axis");
            };
            let reach = by.saturating_mul(n as i64 - 1);
            low = low.saturating_add(reach.min(0));
            high = high.saturating_add(reach.max(0));
            let number = self.number_of_index(l.clone(), *use_span)?;
            let part = self.binary(span, BinFn::Mul, &number, &Val::Num(*by as f64))?;
            at = Some(match at {
                Some(v) => self.binary(span, BinFn::Add, &v, &part)?,
                None => part,
            });
        }
        let Some(at) = at else { return Err(crate::cx::Stop) };
        let at = self.binary(span, BinFn::Add, &at, &Val::Num(a.offset as f64))?;
        let inside = low >= 0 && high < size as i64;
        let ids = if inside {
            self.tensor(&at, span)?
        } else {
            let floor = self.binary(span, BinFn::Max, &at, &Val::Num(0.0))?;
            let both = self.binary(span, BinFn::Min, &floor, &Val::Num(size as f64 - 1.0))?;
            self.tensor(&both, span)?
        };
        let mut labels: Vec<String> = (0..self.ty(node)?.rank()).map(|i| format!("\"{i}")).collect();
        labels.splice(dim..=dim, ids.labels.iter().cloned());
        let got = self.add(span, Op::Gather { dim: dim as u32 }, &[node, ids.node])?;
        let got = TVal { node: got, labels };
        if inside {
            return Ok(TVal { node: got.node, labels: ids.labels });
        }
        let first = self.binary(span, BinFn::Ge, &at, &Val::Num(0.0))?;
        let last = self.binary(span, BinFn::Lt, &at, &Val::Num(size as f64))?;
        let fits = self.binary(span, BinFn::And, &first, &last)?;
        let dims = self.ty(got.node)?.dims;
        let labels = got.labels.clone();
        let v = self.select(span, &fits, &Val::Tensor(got), &Val::Num(0.0))?;
        let t = self.tensor(&v, span)?;
        let t = self.arrange(span, &t, &labels, &dims)?;
        Ok(TVal { node: t.node, labels: ids.labels })
    }
}
