//! Reductions with `over`: sum, mean, max, min, product, any, all, argmax, count, softmax and logsumexp, with guards and
//! over sets.
use super::Elab;
use super::value::{Frame, IndexScope, TVal, Val, index_label};
use crate::cx::{Res, Stop};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{BinFn, DType, Dim, Op, ReduceFn, UnFn};
use spc_syntax::ast::{Arg, Expr, ExprKind, Ident, Idx, IdxKind};

/// What is computed along the named axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Along {
    Reduce(ReduceFn),
    Count,
    Softmax,
    LogSumExp,
}

impl Along {
    pub fn from_name(name: &str) -> Option<Along> {
        Some(match name {
            "count" => Along::Count,
            "softmax" => Along::Softmax,
            "logsumexp" => Along::LogSumExp,
            _ => return ReduceFn::from_name(name).map(Along::Reduce),
        })
    }
}

/// `link[n]` of `m in link[n]` with the index that ranges over it: `link[n, m]`.
fn member_of_set(set: &Expr, index: &Ident) -> Expr {
    let name = Expr { kind: ExprKind::Name(index.clone()), span: index.span };
    let last = Idx { kind: IdxKind::Expr(name), span: index.span };
    let (base, mut idx) = match &set.kind {
        ExprKind::Index { base, idx } => (base.clone(), idx.clone()),
        _ => (Box::new(set.clone()), Vec::new()),
    };
    idx.push(last);
    Expr { kind: ExprKind::Index { base, idx }, span: set.span }
}

impl Elab<'_, '_> {
    /// `sum(e over i, j where c)`, `count(m in link[n])`.
    pub(super) fn along(&mut self, frame: &mut Frame, span: Span, f: Along, word: &Ident, a: &Arg) -> Res<Val> {
        if a.by.is_some() || a.per.is_some() || a.label.is_some() {
            let text = format!("`{}` takes a value, `over` and `where`", word.name);
            return self.cx.err(codes::ARGUMENT, a.span, text, "here");
        }
        // `sum(load[e]^2 over e)` in a statement without indices: index notation inside the brackets only.
        let own = |n: &Ident| !frame.axes.contains_key(&n.name);
        if !self.ix.on
            && !a.over.is_empty()
            && a.over.iter().all(|b| own(&b.name) && b.name.name.starts_with(char::is_lowercase))
        {
            let scope = IndexScope { on: true, sums: true, ..IndexScope::default() };
            let outer = std::mem::replace(&mut self.ix, scope);
            let v = self.along(frame, span, f, word, a);
            let dims = std::mem::replace(&mut self.ix, outer).dims;
            let v = v?;
            if let Val::Tensor(t) = &v
                && let Some(l) = t.labels.first()
            {
                let name = l.trim_start_matches('\'').to_string();
                let at = dims.get(l).map_or(span, |(_, s)| *s);
                let text = format!("index `{name}` is neither on the left nor summed");
                return self.cx.err(codes::INDEX, at, text, "the statement has no indices on the left");
            }
            return Ok(v);
        }
        let mut over: Vec<&Ident> = a.over.iter().map(|b| &b.name).collect();
        let mut guards: Vec<Expr> = a.guard.iter().cloned().collect();
        // `r in R`: the index of an axis, where no value says which. Else the members of a set.
        let mut ranges: Vec<(String, Dim, Span)> = Vec::new();
        for b in &a.over {
            let Some(set) = &b.within else { continue };
            match set.as_name().filter(|n| !frame.env.contains_key(&n.name)).and_then(|n| frame.axes.get(&n.name)) {
                Some(d) => ranges.push((index_label(&b.name.name), d.clone(), b.span)),
                None => guards.push(member_of_set(set, &b.name)),
            }
        }
        if let Some(set) = &a.within {
            let (Along::Count, Some(n), true) = (f, a.value.as_name(), over.is_empty()) else {
                let text = format!("`{}` says what is taken over the set", word.name);
                let help = format!("write `{}(e over i in ..)`", word.name);
                return self.cx.report(Diagnostic::error(codes::ARGUMENT, text).at(a.span, "here").help(help));
            };
            over.push(n);
            guards.push(member_of_set(set, n));
        }
        let labels = self.over_labels(frame, &over)?;
        let keeps = f == Along::Softmax;
        let counted = a.within.is_some();
        let (guard, v) = self.bound(&labels, !keeps, |e| {
            for (l, d, at) in ranges {
                e.ix.dims.insert(l, (d, at));
            }
            if e.ix.on {
                guards.iter().for_each(|g| e.collect_dims(frame, g));
                e.collect_dims(frame, &a.value);
            }
            let guard = e.guard(frame, &guards, span)?;
            let v = if counted { Val::Bool(true) } else { e.expr(frame, &a.value)? };
            Ok((guard, v))
        })?;
        let labels = if over.is_empty() { self.all_labels(&v, guard.as_ref(), word, span)? } else { labels };
        // What is left out has no share, and is never the greatest.
        let shares = matches!(f, Along::Softmax | Along::LogSumExp | Along::Reduce(ReduceFn::ArgMax));
        let (guard, v) = match guard {
            Some(g) if shares => (None, self.select(span, &Val::Tensor(g), &v, &Val::Num(f64::NEG_INFINITY))?),
            guard => (guard, v),
        };
        match f {
            Along::Reduce(f) => self.guarded(span, f, guard.as_ref(), &v, &labels, a.span),
            Along::Count => {
                let v = match (guard, v) {
                    (Some(g), Val::Bool(true)) => Val::Tensor(g),
                    (Some(g), v) => self.binary(span, BinFn::And, &Val::Tensor(g), &v)?,
                    (None, v) => v,
                };
                let t = self.tensor(&v, a.span)?;
                if self.ty(t.node)?.dtype != DType::Bool {
                    return self.cx.err(codes::TYPE, a.span, "`count` counts where something is true", "a number");
                }
                self.reduce(span, ReduceFn::Sum, &t, &labels)
            }
            Along::Softmax => {
                let t = self.tensor(&v, a.span)?;
                let most = self.reduce(span, ReduceFn::Max, &t, &labels)?;
                let shifted = self.binary(span, BinFn::Sub, &Val::Tensor(t), &most)?;
                let e = self.unary(span, UnFn::Exp, &shifted)?;
                let total = {
                    let e = self.tensor(&e, span)?;
                    self.reduce(span, ReduceFn::Sum, &e, &labels)?
                };
                self.binary(span, BinFn::Div, &e, &total)
            }
            Along::LogSumExp => self.log_sum_exp(span, &v, &labels, a.span),
        }
    }

    /// Labels of what stands after `over`: indices inside index notation, axes outside.
    fn over_labels(&mut self, frame: &Frame, over: &[&Ident]) -> Res<Vec<String>> {
        let mut labels = Vec::new();
        for n in over {
            let l = match frame.axes.get(&n.name) {
                Some(d) if !self.ix.on => d.axis.clone(),
                _ if self.ix.on => match frame.env.get(&n.name) {
                    Some(Val::Index(l)) => l.clone(),
                    _ => index_label(&n.name),
                },
                _ => return crate::model::unknown_axis(self.cx, self.p.axes, n),
            };
            if labels.contains(&l) {
                return self.cx.err(codes::INDEX, n.span, format!("`{}` stands here twice", n.name), "again here");
            }
            labels.push(l);
        }
        Ok(labels)
    }

    /// Without `over`, outside index notation: all axes.
    fn all_labels(&mut self, v: &Val, guard: Option<&TVal>, word: &Ident, span: Span) -> Res<Vec<String>> {
        if self.ix.on {
            let text = format!("`{}` says over what", word.name);
            let help = format!("write `{}(e over i)`", word.name);
            return self.cx.report(Diagnostic::error(codes::ARGUMENT, text).at(span, "no `over`").help(help));
        }
        let mut labels: Vec<String> = guard.map(|g| g.labels.clone()).unwrap_or_default();
        if let Val::Tensor(t) = v {
            labels.extend(t.labels.iter().filter(|l| !guard.is_some_and(|g| g.labels.contains(l))).cloned());
        }
        Ok(labels)
    }

    /// Evaluates under bound indices, which no product inside sums. With `hide`, they hide outer ones of the same name.
    fn bound<T>(&mut self, labels: &[String], hide: bool, f: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        let hidden: Vec<_> = if hide {
            labels.iter().map(|l| (l.clone(), self.ix.dims.remove(l), self.ix.from.remove(l))).collect()
        } else {
            Vec::new()
        };
        let added: Vec<String> = labels.iter().filter(|l| self.ix.bound.insert((*l).clone())).cloned().collect();
        let v = f(self);
        for l in &added {
            self.ix.bound.remove(l);
        }
        for (l, d, from) in hidden {
            match (d, from) {
                (Some(d), from) => {
                    self.ix.dims.insert(l.clone(), d);
                    self.ix.from.insert(l, from.flatten());
                }
                (None, _) => {
                    self.ix.dims.remove(&l);
                    self.ix.from.remove(&l);
                }
            }
        }
        v
    }

    /// All conditions together.
    fn guard(&mut self, frame: &mut Frame, guards: &[Expr], span: Span) -> Res<Option<TVal>> {
        let mut all: Option<Val> = None;
        for g in guards {
            let v = self.expr(frame, g)?;
            let logical = match &v {
                Val::Bool(_) => true,
                Val::Tensor(t) => self.ty(t.node)?.dtype == DType::Bool,
                _ => false,
            };
            if !logical {
                let kind = self.kind(&v);
                return self.cx.err(codes::TYPE, g.span, format!("a condition is needed, not {kind}"), "here");
            }
            all = Some(match all {
                Some(a) => self.binary(g.span, BinFn::And, &a, &v)?,
                None => v,
            });
        }
        match all {
            Some(Val::Tensor(t)) => Ok(Some(t)),
            Some(Val::Bool(b)) => {
                let value = f64::from(u8::from(b));
                let node = self.add(span, Op::Const { value, dtype: DType::Bool }, &[])?;
                Ok(Some(TVal { node, labels: Vec::new() }))
            }
            _ => Ok(None),
        }
    }

    /// A reduction of the elements for which the guard holds.
    fn guarded(
        &mut self,
        span: Span,
        f: ReduceFn,
        guard: Option<&TVal>,
        v: &Val,
        labels: &[String],
        at: Span,
    ) -> Res<Val> {
        let Some(g) = guard else {
            let t = self.tensor(v, at)?;
            return self.reduce(span, f, &t, labels);
        };
        let v = match v {
            Val::Tensor(t) if self.ty(t.node)?.dtype == DType::Bool && f.types().0 == DType::F32 => {
                self.cast(span, DType::F32, v)?
            }
            _ => v.clone(),
        };
        let neutral = match f {
            ReduceFn::Sum | ReduceFn::Mean | ReduceFn::ArgMax => Val::Num(0.0),
            ReduceFn::Max => Val::Num(f64::NEG_INFINITY),
            ReduceFn::Min => Val::Num(f64::INFINITY),
            ReduceFn::Product => Val::Num(1.0),
            ReduceFn::Any => Val::Bool(false),
            ReduceFn::All => Val::Bool(true),
        };
        let chosen = self.select(span, &Val::Tensor(g.clone()), &v, &neutral)?;
        let chosen = self.tensor(&chosen, at)?;
        if f != ReduceFn::Mean {
            return self.reduce(span, f, &chosen, labels);
        }
        let total = self.reduce(span, ReduceFn::Sum, &chosen, labels)?;
        // The guard may lack an axis that the value has: count it along that one too.
        let one = self.select(span, &Val::Tensor(g.clone()), &Val::Num(1.0), &Val::Num(0.0))?;
        let one = self.tensor(&one, at)?;
        let dims = self.ty(chosen.node)?.dims;
        let one = self.arrange(span, &one, &chosen.labels, &dims)?;
        let count = self.reduce(span, ReduceFn::Sum, &one, labels)?;
        self.binary(span, BinFn::Div, &total, &count)
    }

    /// log(sum(exp(e))), shifted by the greatest; -inf where every e is -inf.
    fn log_sum_exp(&mut self, span: Span, v: &Val, labels: &[String], at: Span) -> Res<Val> {
        let t = self.tensor(v, at)?;
        let most = self.reduce(span, ReduceFn::Max, &t, labels)?;
        let none = self.binary(span, BinFn::Eq, &most, &Val::Num(f64::NEG_INFINITY))?;
        let shift = self.select(span, &none, &Val::Num(0.0), &most)?;
        let shifted = self.binary(span, BinFn::Sub, &Val::Tensor(t), &shift)?;
        let e = self.unary(span, UnFn::Exp, &shifted)?;
        let e = self.tensor(&e, span)?;
        let total = self.reduce(span, ReduceFn::Sum, &e, labels)?;
        let log = self.unary(span, UnFn::Log, &total)?;
        self.binary(span, BinFn::Add, &log, &shift)
    }

    pub(super) fn tensor(&mut self, v: &Val, span: Span) -> Res<TVal> {
        match v {
            Val::Tensor(t) => Ok(t.clone()),
            Val::Poison => Err(Stop),
            _ => self.cx.err(codes::TYPE, span, "what is reduced has no axes", "a tensor is needed here"),
        }
    }
}
