//! Affine indices: `x[b, c, s * h + r - p]` reads outside its axis as 0.
use super::Elab;
use super::value::{Frame, TVal, Val, index_label};
use crate::cx::Res;
use spc_base::{Span, codes};
use spc_ir::{NodeId, Op};
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
    pub(super) fn window(&mut self, span: Span, node: NodeId, dim: usize, a: &Affine) -> Res<TVal> {
        let (mut into, mut labels) = (Vec::new(), Vec::new());
        for (l, at, _) in &a.terms {
            let Some((d, _)) = self.ix.dims.get(l).cloned() else {
                if self.ix.broken {
                    return Err(crate::cx::Stop);
                }
                let name = l.trim_start_matches('\'');
                let text = format!("index `{name}` has no size: it occurs only inside other indices");
                return self.cx.err(
                    codes::INDEX,
                    *at,
                    text,
                    "give it an axis: in the declared result, or `over p in P`",
                );
            };
            into.push(d);
            labels.push(l.clone());
        }
        let coeff = a.terms.iter().map(|t| t.2).collect();
        let node = self.add(span, Op::Window { dim: dim as u32, into, coeff, offset: a.offset }, &[node])?;
        Ok(TVal { node, labels })
    }
}
