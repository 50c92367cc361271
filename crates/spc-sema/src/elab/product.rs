//! Products, and the sums that repeated indices in them mean.
use super::Elab;
use super::value::{Frame, TVal, Val};
use crate::cx::Res;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{BinFn, DType, Op, ReduceFn};
use spc_syntax::ast::{BinaryOp, Expr, ExprKind};

/// The factors of one `*`-chain, left to right. A product in parentheses is a chain of its own.
fn factors<'e>(e: &'e Expr, out: &mut Vec<&'e Expr>) {
    if let ExprKind::Binary { op: BinaryOp::Mul, lhs, rhs, .. } = &e.kind {
        let parenthesised = |x: &Expr| match &x.kind {
            ExprKind::Binary { lhs, .. } => x.span.start < lhs.span.start,
            _ => false,
        };
        if parenthesised(lhs) {
            out.push(lhs)
        } else {
            factors(lhs, out)
        }
        out.push(rhs);
    } else {
        out.push(e);
    }
}

impl Elab<'_, '_> {
    pub(super) fn product(&mut self, frame: &mut Frame, e: &Expr) -> Res<Val> {
        let mut list = Vec::new();
        factors(e, &mut list);
        let mut values = Vec::new();
        for f in &list {
            values.push((self.expr(frame, f), f.span));
        }
        self.fill(frame, &list, &mut values)?;
        let mut scale: Option<f64> = None;
        let mut tensors: Vec<(TVal, Span)> = Vec::new();
        let mut rest: Option<(Val, Span)> = None;
        for (v, span) in values {
            match v?.plain() {
                Val::Num(n) => scale = Some(scale.unwrap_or(1.0) * n),
                Val::Static(n) => scale = Some(scale.unwrap_or(1.0) * n as f64),
                Val::Tensor(t) => tensors.push((t, span)),
                // `x * true` is x, `x * false` is 0.
                Val::Bool(true) => {}
                Val::Bool(false) => scale = Some(0.0),
                other => rest = Some((other, span)),
            }
        }
        if let Some((other, span)) = rest {
            return self.binary(span, BinFn::Mul, &other, &other);
        }
        let Some(((first, _), others)) = tensors.split_first() else {
            return Ok(Val::Num(scale.unwrap_or(1.0)));
        };
        let summed = self.summed(e.span, &tensors)?;
        let mut acc = Val::Tensor(first.clone());
        for (i, (t, span)) in others.iter().enumerate() {
            let later = &others[i + 1..];
            let Val::Tensor(a) = &acc else { break };
            let a = a.clone();
            let now: Vec<String> = summed
                .iter()
                .filter(|l| a.labels.contains(l) || t.labels.contains(l))
                .filter(|l| !later.iter().any(|(o, _)| o.labels.contains(l)))
                .cloned()
                .collect();
            acc = if now.is_empty() {
                self.binary(*span, BinFn::Mul, &Val::Tensor(a), &Val::Tensor(t.clone()))?
            } else {
                self.contract(e.span, &a, t, &now)?
            };
        }
        match scale {
            Some(s) => self.binary(e.span, BinFn::Mul, &acc, &Val::Num(s)),
            None => Ok(acc),
        }
    }

    /// Makes numbers that stand for tensors these tensors, where an index of theirs is summed by this product.
    fn fill(&mut self, frame: &mut Frame, list: &[&Expr], values: &mut [(Res<Val>, Span)]) -> Res<()> {
        if !self.ix.on || !self.ix.sums || frame.full.is_empty() {
            return Ok(());
        }
        let mut labels: Vec<Vec<String>> = Vec::new();
        for (f, (v, _)) in list.iter().zip(values.iter()) {
            labels.push(match (&f.kind, v) {
                (_, Ok(Val::Tensor(t))) => t.labels.clone(),
                (ExprKind::Index { idx, .. }, Ok(Val::Num(_) | Val::Bool(_))) => self.plain_labels(frame, idx),
                _ => Vec::new(),
            });
        }
        for (i, f) in list.iter().enumerate() {
            let ExprKind::Index { base, idx } = &f.kind else { continue };
            let v = match &values[i].0 {
                Ok(v @ (Val::Num(_) | Val::Bool(_))) => v.clone(),
                _ => continue,
            };
            let summed = |l: &String| {
                let elsewhere = labels.iter().enumerate().any(|(j, o)| j != i && o.contains(l));
                elsewhere && !self.ix.lhs.contains(l) && !self.ix.bound.contains(l)
            };
            if labels[i].iter().any(summed)
                && let Some(full) = self.in_full(frame, f.span, &v, base, idx)?
            {
                values[i].0 = Ok(full);
            }
        }
        Ok(())
    }

    /// Indices that this product sums: those that occur in it at least twice and are bound nowhere else.
    fn summed(&mut self, span: Span, tensors: &[(TVal, Span)]) -> Res<Vec<String>> {
        let mut out: Vec<String> = Vec::new();
        if !self.ix.on || !self.ix.sums {
            return Ok(out);
        }
        for l in tensors.iter().flat_map(|(t, _)| &t.labels) {
            let count = tensors.iter().filter(|(t, _)| t.labels.contains(l)).count();
            let free = l.starts_with('\'') && !self.ix.lhs.contains(l) && !self.ix.bound.contains(l);
            if free && count >= 2 && !out.contains(l) {
                out.push(l.clone());
            }
        }
        for l in &out {
            if let Some(first) = self.ix.summed.get(l).copied() {
                let name = l.trim_start_matches('\'').to_string();
                return self.cx.report(
                    Diagnostic::error(codes::INDEX, format!("index `{name}` occurs in two products"))
                        .at(span, "summed here")
                        .also(first, "and here")
                        .help("write two statements, one for each sum"),
                );
            }
        }
        for l in &out {
            self.ix.summed.insert(l.clone(), span);
        }
        Ok(out)
    }

    fn contract(&mut self, span: Span, a: &TVal, b: &TVal, sum: &[String]) -> Res<Val> {
        let types = [self.ty(a.node)?.dtype, self.ty(b.node)?.dtype];
        if types.contains(&DType::I32) {
            return self.cx.not_yet(span, "a sum of i32 products");
        }
        if types != [DType::F32; 2] {
            let Val::Tensor(t) = self.binary(span, BinFn::Mul, &Val::Tensor(a.clone()), &Val::Tensor(b.clone()))?
            else {
                return Err(crate::cx::Stop);
            };
            return self.reduce(span, ReduceFn::Sum, &t, sum);
        }
        self.check_sizes(span, a, b)?;
        let all = self.union(a, b);
        self.check_rank(span, all.len())?;
        let number = |l: &String| all.iter().position(|m| m == l).unwrap_or(0) as u32;
        let labels: Vec<String> = all.iter().filter(|l| !sum.contains(l)).cloned().collect();
        let op = Op::Contract {
            lhs: a.labels.iter().map(number).collect(),
            rhs: b.labels.iter().map(number).collect(),
            out: labels.iter().map(number).collect(),
        };
        let node = self.add(span, op, &[a.node, b.node])?;
        Ok(Val::Tensor(TVal { node, labels }))
    }

    fn check_sizes(&mut self, span: Span, a: &TVal, b: &TVal) -> Res<()> {
        let (ta, tb) = (self.ty(a.node)?, self.ty(b.node)?);
        for (l, d) in a.labels.iter().zip(&ta.dims) {
            if let Some(i) = b.labels.iter().position(|m| m == l)
                && tb.dims[i].size != d.size
            {
                return self.cx.err(codes::AXIS_MISMATCH, span, format!("axis `{}` has two sizes here", d.axis), "");
            }
        }
        Ok(())
    }

    pub(super) fn reduce(&mut self, span: Span, f: ReduceFn, t: &TVal, over: &[String]) -> Res<Val> {
        let mut dims: Vec<u32> = Vec::new();
        for l in over {
            match t.labels.iter().position(|m| m == l) {
                Some(i) => dims.push(i as u32),
                None => {
                    let name = l.trim_start_matches('\'');
                    let text = format!("`{name}` does not occur in what is reduced");
                    return self.cx.err(codes::INDEX, span, text, format!("nothing here has `{name}`"));
                }
            }
        }
        dims.sort_unstable();
        dims.dedup();
        let labels: Vec<String> = t.labels.iter().filter(|l| !over.contains(l)).cloned().collect();
        let (want, _) = f.types();
        let node = match self.ty(t.node)?.dtype {
            have if have == want => t.node,
            have if want == DType::Bool => {
                let text = format!("`{}` is taken of true and false, not of {have}", f.name());
                return self.cx.err(codes::TYPE, span, text, "a condition is needed");
            }
            DType::F32 => t.node,
            DType::Bool => match self.cast(span, DType::F32, &Val::Tensor(t.clone()))? {
                Val::Tensor(t) => t.node,
                _ => return Err(crate::cx::Stop),
            },
            DType::I32 => return self.cx.not_yet(span, "a reduction of i32"),
        };
        if dims.is_empty() {
            return Ok(Val::Tensor(TVal { node, labels }));
        }
        if over.iter().any(|l| labels.iter().any(|m: &String| m.split('#').next() == Some(l.as_str()))) {
            let text = "an axis that is reduced occurs twice in the value";
            return self.cx.err(codes::REPEATED_AXIS, span, text, "use index notation here");
        }
        let node = self.add(span, Op::Reduce { f, dims }, &[node])?;
        Ok(Val::Tensor(TVal { node, labels }))
    }
}
