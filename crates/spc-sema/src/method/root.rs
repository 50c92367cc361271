//! `root((t) => f, 0..inf)`: sums of clips are recognised, because they have an exact solution.
use super::Ex;
use super::expr::Elab;
use crate::cx::{Cx, Res};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::BinFn;
use spc_ir::UnFn;
use spc_ir::method::{Clips, Compute, Input, Kind, Space, Target};
use spc_syntax::ast::{Arg, BinaryOp, Expr, ExprKind, UnaryOp};
use std::collections::BTreeMap;

/// Whether a name occurs.
fn mentions(e: &Expr, t: &str) -> bool {
    match &e.kind {
        ExprKind::Name(n) => n.as_str() == t,
        ExprKind::Unary { arg, .. } => mentions(arg, t),
        ExprKind::Binary { lhs, rhs, .. } => mentions(lhs, t) || mentions(rhs, t),
        ExprKind::Index { base, .. } | ExprKind::Member { base, .. } => mentions(base, t),
        ExprKind::Call { callee, args } => mentions(callee, t) || args.iter().any(|a| mentions(&a.value, t)),
        ExprKind::If(i) => {
            i.arms.iter().any(|a| mentions(&a.cond, t) || mentions(&a.value, t)) || mentions(&i.otherwise, t)
        }
        _ => false,
    }
}

impl Elab<'_> {
    pub fn root(&mut self, cx: &mut Cx, args: &[Arg], span: Span) -> Res<Ex> {
        let parts = match args {
            [f, r] if f.is_plain() && r.is_plain() => match (&f.value.kind, &r.value.kind) {
                (ExprKind::Lambda { params, body }, ExprKind::Range { from, to }) if params.len() == 1 => {
                    Some((&params[0], body, from, to))
                }
                _ => None,
            },
            _ => None,
        };
        let Some((t, body, from, to)) = parts else {
            return cx.report(
                Diagnostic::error(codes::ARGUMENT, "`root` takes a function of one number and a range")
                    .at(span, "not those")
                    .help("write `root((t) => f(t), 0..inf)`"),
            );
        };
        let (from, to) = (self.float(cx, from)?, self.float(cx, to)?);
        if from.space.max(to.space) > Space::Scalar {
            return cx.err(codes::TYPE, span, "the range of `root` is two numbers", "not two numbers");
        }
        let (from, to) = (self.b.value(cx, &from, span)?, self.b.value(cx, &to, span)?);
        if let Some((sum, less)) = self.clips(cx, body, t.as_str())? {
            let compute = Compute::RootOfClips { sum, less, from, to };
            return Ok(self.b.push(compute, Space::Scalar, Kind::Float));
        }
        // Any other function: a body of its own, which reads this one's values.
        let mut inner = Elab::new(self.names, self.origin.clone());
        inner.index.clone_from(&self.index);
        inner.times.clone_from(&self.times);
        let mut vars = BTreeMap::new();
        for (name, x) in self.vars.clone() {
            let id = self.b.value(cx, &x, span)?;
            vars.insert(name, inner.b.push(Compute::Outer(id), x.space, x.kind));
        }
        inner.vars = vars;
        let unknown = inner.b.input(Input::Unknown, Space::Scalar, Kind::Float);
        inner.vars.insert(t.name.clone(), unknown);
        let f = inner.float(cx, body)?;
        if f.space != Space::Scalar {
            let d = Diagnostic::error(codes::TYPE, "the function of `root` gives one number for all groups")
                .at(body.span, "one for each group");
            return cx.report(match &self.index {
                Some(j) => d.help(format!("sum over the groups: `sum(.. over {j})`")),
                None => d
                    .note("a radial penalty computes all groups side by side, each with its own `x`; `root` has one unknown for all")
                    .help("write the steps of an iteration, such as Newton's, in a block: `prox(x, tau) -> y { .. }`"),
            });
        }
        inner.b.result(cx, Target::Result, &f, body.span)?;
        let compute = Compute::Root { body: Box::new(inner.b.finish()), from, to };
        Ok(self.b.push(compute, Space::Scalar, Kind::Float))
    }

    /// `sum(factor * clip(slope * t + offset, low, high) over j) - less`, or nothing.
    fn clips(&mut self, cx: &mut Cx, e: &Expr, t: &str) -> Res<Option<(Clips, u32)>> {
        let (sum, less) = match &e.kind {
            ExprKind::Binary { op: BinaryOp::Sub, lhs, rhs, .. } if !mentions(rhs, t) => (&**lhs, Some(&**rhs)),
            _ => (e, None),
        };
        let ExprKind::Call { callee, args } = &sum.kind else { return Ok(None) };
        let [arg] = args.as_slice() else { return Ok(None) };
        if callee.as_name().is_none_or(|n| n.as_str() != "sum") || arg.over.len() != 1 || arg.guard.is_some() {
            return Ok(None);
        }
        let (mut factors, mut clip) = (Vec::new(), None);
        let mut todo = vec![&arg.value];
        while let Some(e) = todo.pop() {
            match &e.kind {
                ExprKind::Binary { op: BinaryOp::Mul, lhs, rhs, .. } => todo.extend([&**lhs, &**rhs]),
                _ if !mentions(e, t) => factors.push(e),
                _ if clip.is_none() => clip = Some(e),
                _ => return Ok(None),
            }
        }
        let Some(Expr { kind: ExprKind::Call { callee, args }, span }) = clip else { return Ok(None) };
        let plain: Vec<&Expr> = args.iter().filter(|a| a.is_plain() && a.label.is_none()).map(|a| &a.value).collect();
        let name = callee.as_name().map(|n| n.as_str()).unwrap_or_default();
        let (inner, low, high) = match (name, plain.as_slice()) {
            ("clip", [x, a, b]) if !mentions(a, t) && !mentions(b, t) => (*x, Some(*a), Some(*b)),
            ("min", [x, b]) if !mentions(b, t) => (*x, None, Some(*b)),
            ("min", [b, x]) if !mentions(b, t) => (*x, None, Some(*b)),
            ("max", [x, a]) if !mentions(a, t) => (*x, Some(*a), None),
            ("max", [a, x]) if !mentions(a, t) => (*x, Some(*a), None),
            _ => return Ok(None),
        };
        let span = *span;
        let Some((slope, offset)) = self.affine(cx, inner, t)? else { return Ok(None) };
        let mut factor = Ex::literal(1.0);
        for f in factors.into_iter().rev() {
            let f = self.float(cx, f)?;
            factor = if factor.as_literal() == Some(1.0) { f } else { Ex::bin(BinFn::Mul, &factor, &f) };
        }
        let mut bound = |s: &mut Self, e: Option<&Expr>, none: f64| match e {
            Some(e) => s.float(cx, e),
            None => Ok(Ex::literal(none)),
        };
        let (low, high) = (bound(self, low, f64::NEG_INFINITY)?, bound(self, high, f64::INFINITY)?);
        let less = bound(self, less, 0.0)?;
        if less.space > Space::Scalar
            || [&factor, &slope, &offset, &low, &high].iter().any(|x| x.space == Space::Element)
        {
            return Ok(None);
        }
        let mut id = |s: &mut Self, x: &Ex| s.b.value(cx, x, span);
        let sum = Clips {
            factor: id(self, &factor)?,
            slope: id(self, &slope)?,
            offset: id(self, &offset)?,
            low: id(self, &low)?,
            high: id(self, &high)?,
        };
        let less = id(self, &less)?;
        Ok(Some((sum, less)))
    }

    /// Slope and offset of an expression in `t`, when it is a straight line.
    fn affine(&mut self, cx: &mut Cx, e: &Expr, t: &str) -> Res<Option<(Ex, Ex)>> {
        let zero = || Ex::literal(0.0);
        if !mentions(e, t) {
            return Ok(Some((zero(), self.float(cx, e)?)));
        }
        let nothing = |x: &Ex| x.as_literal() == Some(0.0);
        let add = |a: Ex, b: Ex| match (nothing(&a), nothing(&b)) {
            (true, _) => b,
            (_, true) => a,
            _ => Ex::bin(BinFn::Add, &a, &b),
        };
        let sub = |a: Ex, b: Ex| match (nothing(&a), nothing(&b)) {
            (_, true) => a,
            (true, _) => Ex::un(UnFn::Neg, &b),
            _ => Ex::bin(BinFn::Sub, &a, &b),
        };
        let scale = |a: &Ex, by: &Ex| match (nothing(a), a.as_literal()) {
            (true, _) => zero(),
            (_, Some(1.0)) => by.clone(),
            _ => Ex::bin(BinFn::Mul, a, by),
        };
        Ok(match &e.kind {
            ExprKind::Name(_) => Some((Ex::literal(1.0), zero())),
            ExprKind::Unary { op: UnaryOp::Neg, arg } => {
                self.affine(cx, arg, t)?.map(|(s, o)| (sub(zero(), s), sub(zero(), o)))
            }
            ExprKind::Binary { op: op @ (BinaryOp::Add | BinaryOp::Sub), lhs, rhs, .. } => {
                let (Some(a), Some(b)) = (self.affine(cx, lhs, t)?, self.affine(cx, rhs, t)?) else { return Ok(None) };
                Some(if *op == BinaryOp::Add { (add(a.0, b.0), add(a.1, b.1)) } else { (sub(a.0, b.0), sub(a.1, b.1)) })
            }
            ExprKind::Binary { op: BinaryOp::Mul, lhs, rhs, .. } => {
                let (line, by) = match (mentions(lhs, t), mentions(rhs, t)) {
                    (true, false) => (lhs, rhs),
                    (false, true) => (rhs, lhs),
                    _ => return Ok(None),
                };
                let Some((s, o)) = self.affine(cx, line, t)? else { return Ok(None) };
                let by = self.float(cx, by)?;
                Some((scale(&s, &by), scale(&o, &by)))
            }
            ExprKind::Binary { op: BinaryOp::Div, lhs, rhs, .. } if !mentions(rhs, t) => {
                let Some((s, o)) = self.affine(cx, lhs, t)? else { return Ok(None) };
                let by = self.float(cx, rhs)?;
                let over = |x: Ex| if nothing(&x) { x } else { Ex::bin(BinFn::Div, &x, &by) };
                Some((over(s), over(o)))
            }
            _ => None,
        })
    }
}
