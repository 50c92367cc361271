//! Calls: arguments to parameters, axes of the call to axes of the signature.
use super::Elab;
use super::value::{Frame, TVal, Val};
use crate::cx::{Res, Stop};
use crate::scope::Origin;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::Dim;
use spc_syntax::ast::{self, Arg, DimKind, Expr, ExprKind, FnItem, Param, TensorDecl, TypeKind};
use std::collections::BTreeMap;

/// Deepest chain of calls.
const MAX_CALLS: usize = 64;

impl Elab<'_, '_> {
    pub(super) fn call(&mut self, frame: &mut Frame, span: Span, callee: &Expr, args: &[Arg]) -> Res<Val> {
        match &callee.kind {
            ExprKind::Name(n) => match self.p.names.function(&frame.origin, &n.name) {
                Some((origin, f)) => self.call_fn(frame, span, origin, f, args),
                None => self.builtin(frame, span, n, args),
            },
            ExprKind::Member { base, name } => {
                let module = base.as_name().filter(|n| frame.origin.is_none() && self.p.names.is_module(&n.name));
                let Some(module) = module else {
                    if let Some(n) = base.as_name()
                        && spc_stdlib::modules().contains(&n.as_str())
                        && frame.origin.is_none()
                    {
                        return self.cx.report(
                            Diagnostic::error(codes::UNKNOWN_NAME, format!("`{}` is not in scope", n.name))
                                .at(n.span, "unknown here")
                                .help(format!("add `use std.{}`", n.name)),
                        );
                    }
                    return self.cx.err(codes::WRONG_KIND, callee.span, "this is no function", "called here");
                };
                match self.p.names.module_function(&module.name, &name.name) {
                    Some((origin, f)) => self.call_fn(frame, span, origin, f, args),
                    None => {
                        let lib = self.p.names.lib;
                        self.cx.unknown(
                            name.span,
                            &format!("function in `{}`", module.name),
                            &name.name,
                            lib.names(&module.name),
                        )
                    }
                }
            }
            _ => self.cx.err(codes::WRONG_KIND, callee.span, "this is no function", "called here"),
        }
    }

    fn call_fn(&mut self, frame: &mut Frame, span: Span, origin: Origin, f: &FnItem, args: &[Arg]) -> Res<Val> {
        let key = (origin.clone(), f.name.name.clone());
        if self.stack.contains(&key) || self.stack.len() >= MAX_CALLS {
            return self.cx.report(
                Diagnostic::error(codes::RECURSION, format!("`{}` calls itself", f.name.name))
                    .at(span, "this call never ends")
                    .also(f.name.span, "the function"),
            );
        }
        self.cx.spend(1 + self.p.axes.len() as u64, span)?;
        let given = self.bind_args(frame, span, f, args)?;
        let reported = self.cx.diags.len();
        self.stack.push(key);
        let site = self.site;
        self.site = site.or(Some(span));
        let pointwise = f.sig.params.iter().all(|p| p.ty.is_none());
        let result = if pointwise {
            let sums = std::mem::replace(&mut self.ix.sums, false);
            let r = self.run_fn(span, origin, f, given);
            self.ix.sums = sums;
            r
        } else {
            let outer = std::mem::take(&mut self.ix);
            let r = if outer.on && given.values().any(has_index_labels) {
                self.cx.report(
                    Diagnostic::error(codes::INDEX, format!("`{}` takes whole tensors", f.name.name))
                        .at(span, "called inside index notation")
                        .help("call it in a statement of its own, without indices"),
                )
            } else {
                self.run_fn(span, origin, f, given)
            };
            self.ix = outer;
            r
        };
        self.stack.pop();
        self.site = site;
        for d in self.cx.diags.iter_mut().skip(reported) {
            let elsewhere = d.primary.as_ref().is_some_and(|p| p.span.file != span.file);
            if elsewhere && !d.secondary.iter().any(|l| l.span.file == span.file) {
                *d = d.clone().also(span, format!("in this call of `{}`", f.name.name));
            }
        }
        result
    }

    /// Values by parameter name; parameters left out are absent.
    fn bind_args(&mut self, frame: &mut Frame, span: Span, f: &FnItem, args: &[Arg]) -> Res<BTreeMap<String, Val>> {
        let mut given: BTreeMap<String, Val> = BTreeMap::new();
        let params = &f.sig.params;
        let mut position = 0;
        let mut failed = false;
        for a in args {
            if !a.is_plain() {
                return self.cx.err(codes::ARGUMENT, a.span, format!("`{}` takes plain values", f.name.name), "here");
            }
            let param = match &a.label {
                Some(l) => match params.iter().find(|p| p.name.name == l.name) {
                    Some(p) => p,
                    None => {
                        let known: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();
                        let mut d = Diagnostic::error(
                            codes::ARGUMENT,
                            format!("`{}` has no parameter `{}`", f.name.name, l.name),
                        )
                        .at(l.span, "no parameter of this name");
                        if let Some(near) = crate::cx::closest(&l.name, known) {
                            d = d.help(format!("did you mean `{near}`?")).fix(l.span, near);
                        }
                        return self.cx.report(d);
                    }
                },
                None => {
                    position += 1;
                    match params.get(position - 1) {
                        Some(p) => p,
                        None => {
                            let text = format!("`{}` takes {} arguments", f.name.name, params.len());
                            return self.cx.err(codes::ARGUMENT, a.span, text, "one too many");
                        }
                    }
                }
            };
            match self.expr(frame, &a.value) {
                Ok(v) => {
                    if given.insert(param.name.name.clone(), v).is_some() {
                        let text = format!("`{}` is given twice", param.name.name);
                        return self.cx.err(codes::ARGUMENT, a.span, text, "given again here");
                    }
                }
                Err(Stop) => failed = true,
            }
        }
        if failed {
            return Err(Stop);
        }
        for p in params {
            if !given.contains_key(&p.name.name) && p.default.is_none() {
                return self.cx.report(
                    Diagnostic::error(codes::ARGUMENT, format!("`{}` needs `{}`", f.name.name, p.name.name))
                        .at(span, "an argument is missing")
                        .also(p.span, "this parameter has no default"),
                );
            }
        }
        Ok(given)
    }

    fn run_fn(&mut self, span: Span, origin: Origin, f: &FnItem, mut given: BTreeMap<String, Val>) -> Res<Val> {
        let mut inner = if origin.is_none() { self.root_frame() } else { Frame::default() };
        inner.origin = origin;
        if !f.sig.sizes.is_empty() {
            return self.cx.not_yet(f.name.span, "a computed size");
        }
        for p in &f.sig.params {
            if let Some(v) = given.remove(&p.name.name) {
                let v = self.fit_param(&mut inner, p, v, span)?;
                inner.env.insert(p.name.name.clone(), v);
            }
        }
        for p in &f.sig.params {
            if let (None, Some(d)) = (inner.env.get(&p.name.name), &p.default) {
                let v = self.expr(&mut inner, d)?;
                inner.env.insert(p.name.name.clone(), v);
            }
        }
        let mut results = self.body(f, &mut inner)?;
        if results.len() == 1 {
            return results.pop().map(|r| r.1).ok_or(Stop);
        }
        if let Some((_, _, at)) = results.iter().find(|r| matches!(r.1, Val::Tuple(_))) {
            return self.cx.err(codes::WRONG_KIND, *at, "several values as one result", "one value is needed");
        }
        Ok(Val::Tuple(results.into_iter().map(|r| r.1).collect()))
    }

    fn fit_param(&mut self, inner: &mut Frame, p: &Param, v: Val, span: Span) -> Res<Val> {
        match &p.ty {
            None => Ok(v),
            Some(ty) => self.fit_type(inner, &p.name.name, ty, v, span),
        }
    }

    fn fit_type(&mut self, inner: &mut Frame, name: &str, ty: &ast::Type, v: Val, span: Span) -> Res<Val> {
        match &ty.kind {
            TypeKind::Record(members) => self.fit_record(inner, name, members, &v, span),
            TypeKind::Like { .. } => self.cx.not_yet(ty.span, "this parameter type"),
            TypeKind::Named { name: t, shape, .. } => {
                if t.as_str() == "int" {
                    return match v {
                        Val::Num(n) if n.fract() == 0.0 => Ok(v),
                        Val::Static(_) => Ok(v),
                        _ => self.cx.err(codes::TYPE, span, format!("`{name}` is an integer"), "in this call"),
                    };
                }
                let want = crate::model::dtype(self.cx, t)?;
                match v {
                    Val::Tensor(x) => {
                        let have = self.ty(x.node)?;
                        if have.dtype != want {
                            let text = format!("`{name}` is {want}, found {}", have.dtype);
                            return self.cx.err(codes::TYPE, span, text, "in this call");
                        }
                        let dims = shape.as_deref().unwrap_or_default();
                        self.fit_shape(inner, name, dims, &x, span)?;
                        Ok(Val::Tensor(x))
                    }
                    Val::Num(_) | Val::Bool(_) | Val::Static(_) => Ok(v),
                    Val::Poison => Err(Stop),
                    other => {
                        let kind = self.kind(&other);
                        self.cx.err(
                            codes::WRONG_KIND,
                            span,
                            format!("`{name}` is a tensor, found {kind}"),
                            "in this call",
                        )
                    }
                }
            }
        }
    }

    fn fit_record(&mut self, inner: &mut Frame, name: &str, members: &[TensorDecl], v: &Val, span: Span) -> Res<Val> {
        if !matches!(v, Val::Place(..) | Val::Record(_)) {
            let kind = self.kind(v);
            let text = format!("`{name}` is a group of tensors, found {kind}");
            return self.cx.err(codes::WRONG_KIND, span, text, "in this call");
        }
        let mut map = BTreeMap::new();
        for m in members {
            let has = match v {
                Val::Record(r) => r.contains_key(&m.name.name),
                Val::Place(at, steps) => {
                    let mut s = steps.clone();
                    s.push(super::value::Step::Name(m.name.name.clone()));
                    self.place(self.p.models, *at, &s).is_some()
                }
                _ => false,
            };
            let value = match (&m.value, has) {
                (_, true) => {
                    let x = self.member_of(v, &m.name)?;
                    self.fit_type(inner, &m.name.name, &m.ty, x, span)?
                }
                (Some(d), false) => self.expr(inner, d)?,
                (None, false) => {
                    return self.cx.report(
                        Diagnostic::error(codes::UNKNOWN_MEMBER, format!("`{name}` needs a member `{}`", m.name.name))
                            .at(span, "in this call")
                            .also(m.span, "this member has no default"),
                    );
                }
            };
            map.insert(m.name.name.clone(), value);
        }
        Ok(Val::Record(map))
    }

    /// Matches a tensor's dimensions to a signature; axis parameters take the axes they meet first.
    fn fit_shape(&mut self, inner: &mut Frame, name: &str, want: &[ast::Dim], x: &TVal, span: Span) -> Res<()> {
        let have = self.ty(x.node)?.dims;
        let named = want.iter().filter(|d| !matches!(d.kind, DimKind::Rest)).count();
        let has_rest = named < want.len();
        if have.len() < named || (!has_rest && have.len() != named) {
            let axes = have.iter().map(|d| d.axis.clone()).collect::<Vec<_>>().join(", ");
            let text = format!("`{name}` has {named} axes{}, found [{axes}]", if has_rest { " or more" } else { "" });
            return self.cx.err(codes::RANK, span, text, "in this call");
        }
        let mut at = 0;
        for d in want {
            match &d.kind {
                DimKind::Rest => {
                    let rest = have[at..at + have.len() - named].to_vec();
                    at += rest.len();
                    match &inner.rest {
                        Some(r) if *r != rest => {
                            let text = format!("`..` of `{name}` stands for other axes than before");
                            return self.cx.err(codes::AXIS_MISMATCH, span, text, "in this call");
                        }
                        _ => inner.rest = Some(rest),
                    }
                }
                DimKind::Size(n) => {
                    if have[at].size.fixed() != Some(*n) {
                        return self.cx.err(
                            codes::AXIS_MISMATCH,
                            span,
                            format!("`{name}` has an axis of size {n}"),
                            "",
                        );
                    }
                    at += 1;
                }
                DimKind::Axis(a) => {
                    self.bind_axis(inner, name, a, &have[at], span)?;
                    at += 1;
                }
                DimKind::Composite(parts) => {
                    let d = have[at].clone();
                    let Some(of) = self.composites.get(&d.axis).filter(|p| p.len() == parts.len()).cloned() else {
                        let text = format!("`{name}` has an axis made of {} axes, found `{}`", parts.len(), d.axis);
                        return self.cx.err(codes::AXIS_MISMATCH, span, text, "in this call");
                    };
                    for (a, p) in parts.iter().zip(&of) {
                        self.bind_axis(inner, name, a, p, span)?;
                    }
                    at += 1;
                }
            }
        }
        Ok(())
    }

    fn bind_axis(&mut self, inner: &mut Frame, name: &str, a: &ast::Ident, d: &Dim, span: Span) -> Res<()> {
        match inner.axes.get(&a.name) {
            Some(e) if e.axis == d.axis && e.size == d.size => Ok(()),
            Some(e) => {
                let (e, d) = (e.clone(), d.clone());
                let size = |d: &Dim| d.size.fixed().map(|n| format!(" of size {n}")).unwrap_or_default();
                let text = format!("axis `{}` of `{name}` is `{}`, found `{}`", a.name, e.axis, d.axis);
                let mut diag = Diagnostic::error(codes::AXIS_MISMATCH, text)
                    .at(span, format!("`{}`{} meets `{}`{} here", e.axis, size(&e), d.axis, size(&d)));
                for n in [&e.axis, &d.axis] {
                    if let Some(axis) = self.p.axes.get(n) {
                        diag = diag.also(axis.span, format!("`{n}` is declared here"));
                    }
                }
                self.cx.report(diag.note("axes are nominal: equal size is not enough"))
            }
            None => {
                inner.axes.insert(a.name.clone(), d.clone());
                Ok(())
            }
        }
    }
}

fn has_index_labels(v: &Val) -> bool {
    matches!(v, Val::Tensor(t) if t.labels.iter().any(|l| l.starts_with('\'')))
}
