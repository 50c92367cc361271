//! Calls: arguments to parameters, axes of the call to axes of the signature.
use super::Elab;
use super::origin::From;
use super::value::{Frame, TVal, Val, axis_word, same_axis};
use crate::cx::{Res, Stop};
use crate::scope::Origin;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::Dim;
use spc_syntax::ast::{self, Arg, DimKind, Expr, ExprKind, FnItem, Item, ItemKind, Param, TensorDecl, TypeKind};
use std::collections::BTreeMap;

/// Deepest chain of calls.
const MAX_CALLS: usize = 64;

impl Elab<'_, '_> {
    pub(super) fn call(&mut self, frame: &mut Frame, span: Span, callee: &Expr, args: &[Arg]) -> Res<Val> {
        match &callee.kind {
            ExprKind::Name(n) => match frame.env.get(&n.name).cloned() {
                Some(Val::Func(f)) => self.call_func(frame, span, &f, args),
                Some(Val::Poison) => Err(Stop),
                Some(other) => {
                    let kind = self.kind(&other);
                    let text = format!("`{}` is {kind}, not a function", n.name);
                    self.cx.err(codes::WRONG_KIND, n.span, text, "called here")
                }
                // Functions take plain values: `softmax(a over S)` is the language's own.
                None if args.iter().any(|a| !a.is_plain()) => self.builtin(frame, span, n, args),
                None => match self.p.names.item(&frame.origin, &n.name) {
                    Some((origin, item)) => self.call_item(frame, span, n, origin, item, args),
                    None => self.builtin(frame, span, n, args),
                },
            },
            ExprKind::Member { base, name } => {
                let module = base.as_name().filter(|n| !frame.env.contains_key(&n.name));
                let Some(module) = module.filter(|n| self.p.names.module(&frame.origin, n.as_str()).is_some()) else {
                    if let Some(n) = base.as_name()
                        && !frame.env.contains_key(&n.name)
                        && self.p.names.lib.has_module(n.as_str())
                    {
                        return self.cx.report(
                            Diagnostic::error(codes::UNKNOWN_NAME, format!("`{}` is not in scope", n.name))
                                .at(n.span, "unknown here")
                                .help(format!("add `use std.{}`", n.name)),
                        );
                    }
                    return self.cx.err(codes::WRONG_KIND, callee.span, "this is no function", "called here");
                };
                match self.p.names.module_item(&frame.origin, module.as_str(), name.as_str()) {
                    Some((origin, item)) => self.call_item(frame, span, name, origin, item, args),
                    None => {
                        let known = self.known_in(&frame.origin, module.as_str());
                        let kind = format!("function in `{}`", module.name);
                        self.cx.unknown(name.span, &kind, &name.name, known.iter().map(String::as_str))
                    }
                }
            }
            _ => self.cx.err(codes::WRONG_KIND, callee.span, "this is no function", "called here"),
        }
    }

    /// Names that a module in scope defines.
    pub(super) fn known_in(&self, from: &Origin, module: &str) -> Vec<String> {
        let module = self.p.names.module(from, module).unwrap_or_default();
        self.p.names.lib.names(module).into_iter().map(str::to_string).collect()
    }

    fn call_item(
        &mut self,
        frame: &mut Frame,
        span: Span,
        name: &ast::Ident,
        origin: Origin,
        item: &Item,
        args: &[Arg],
    ) -> Res<Val> {
        match &item.kind {
            ItemKind::Fn(f) => self.call_fn(frame, span, origin, f, args),
            ItemKind::Mask(m) => self.call_mask(frame, span, origin, m, args),
            ItemKind::Score(s) => {
                let f = FnItem { name: s.name.clone(), sig: s.sig.clone() };
                self.call_fn(frame, span, origin, &f, args)
            }
            other => {
                let text = format!("`{}` is a {}, not a function", name.name, other.word());
                self.cx.err(codes::WRONG_KIND, name.span, text, "called here")
            }
        }
    }

    pub(super) fn call_fn(
        &mut self,
        frame: &mut Frame,
        span: Span,
        origin: Origin,
        f: &FnItem,
        args: &[Arg],
    ) -> Res<Val> {
        let key = (origin.clone(), f.name.name.clone());
        if self.stack.contains(&key) || self.stack.len() >= MAX_CALLS {
            return self.cx.report(
                Diagnostic::error(codes::RECURSION, format!("`{}` calls itself", f.name.name))
                    .at(span, "this call never ends")
                    .also(f.name.span, "the function"),
            );
        }
        self.cx.spend(1 + self.p.free.len() as u64, span)?;
        if origin.is_none() {
            self.cx.reached.insert(f.name.name.clone());
        }
        let given = self.bind_args(frame, span, f, args)?;
        let shapes = self.shapes(&given);
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
        let matched = self.matched(f, &shapes);
        for d in self.cx.diags.iter_mut().skip(reported) {
            let elsewhere = d.primary.as_ref().is_some_and(|p| p.span.file != span.file);
            if !elsewhere && d.primary.as_ref().is_some_and(|p| p.span == span) && d.message.starts_with("`..`") {
                d.notes.extend(matched.clone());
            }
            if elsewhere && !d.secondary.iter().any(|l| l.span.file == span.file) {
                *d = d.clone().also(span, format!("in this call of `{}`", f.name.name));
                if matches!(d.code, codes::AXIS_MISMATCH | codes::INDEX | codes::RANK) {
                    d.notes.extend(matched.clone());
                }
            }
        }
        result
    }

    /// The axes of the arguments that are tensors, by parameter.
    fn shapes(&self, given: &BTreeMap<String, Val>) -> BTreeMap<String, Vec<String>> {
        let one = |v: &Val| match v {
            Val::Tensor(t) => Some(self.g.ty(t.node).ok()?.dims.iter().map(axis_word).collect()),
            _ => None,
        };
        given.iter().filter_map(|(n, v)| Some((n.clone(), one(v)?))).collect()
    }

    /// Which axis of each argument stands where in the signature, where `..` makes their order count.
    fn matched(&self, f: &FnItem, shapes: &BTreeMap<String, Vec<String>>) -> Option<String> {
        let mut parts = Vec::new();
        for p in &f.sig.params {
            let (Some(TypeKind::Named { shape: Some(want), .. }), Some(have)) =
                (p.ty.as_ref().map(|t| &t.kind), shapes.get(&p.name.name))
            else {
                continue;
            };
            if !want.iter().any(|d| matches!(d.kind, DimKind::Rest)) {
                continue;
            }
            let word = |d: &ast::Dim| match &d.kind {
                DimKind::Rest => "..".to_string(),
                DimKind::Axis(a) => a.name.clone(),
                DimKind::Size(n) => n.to_string(),
                DimKind::Composite(c) => format!("({})", c.iter().map(|a| a.as_str()).collect::<Vec<_>>().join(" ")),
            };
            let want = want.iter().map(word).collect::<Vec<_>>().join(", ");
            parts.push(format!("`{}` is [{want}], given [{}]", p.name.name, have.join(", ")));
        }
        (!parts.is_empty()).then(|| format!("in the call {}; beside `..`, the order of axes counts", parts.join("; ")))
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
                        let d = Diagnostic::error(
                            codes::ARGUMENT,
                            format!("`{}` has no parameter `{}`", f.name.name, l.name),
                        )
                        .at(l.span, "no parameter of this name");
                        return self.cx.report(crate::cx::offer(d, l.span, &l.name, known));
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
        for p in &f.sig.params {
            if let Some(v) = given.remove(&p.name.name) {
                let v = self.fit_param(&mut inner, p, v, span)?;
                inner.env.insert(p.name.name.clone(), v);
            }
        }
        self.defaults(&mut inner, f)?;
        self.computed_sizes(&mut inner, f)?;
        self.note_full(&mut inner, f);
        let mut results = self.body(f, &mut inner)?;
        if results.len() == 1 {
            return results.pop().map(|r| r.1).ok_or(Stop);
        }
        if let Some((_, _, at)) = results.iter().find(|r| matches!(r.1, Val::Tuple(_) | Val::Results(_))) {
            return self.cx.err(codes::WRONG_KIND, *at, "several values as one result", "one value is needed");
        }
        Ok(Val::Results(results.into_iter().map(|(n, v, _)| (n, v)).collect()))
    }

    fn fit_param(&mut self, inner: &mut Frame, p: &Param, v: Val, span: Span) -> Res<Val> {
        match &p.ty {
            None => Ok(v),
            Some(ty) => self.fit_type(inner, &p.name.name, ty, v, span),
        }
    }

    pub(super) fn fit_type(&mut self, inner: &mut Frame, name: &str, ty: &ast::Type, v: Val, span: Span) -> Res<Val> {
        match &ty.kind {
            TypeKind::Record(members) => self.fit_record(inner, name, members, &v, span),
            TypeKind::Like { .. } => self.cx.not_yet(ty.span, "this parameter type"),
            TypeKind::Named { name: t, shape, .. } => {
                if t.as_str() == "cache" {
                    return self.fit_cache(inner, name, shape.as_deref().unwrap_or_default(), v, span);
                }
                if let Some(v) = self.fit_kind(name, t, &v, span)? {
                    return Ok(v);
                }
                let want = super::param_dtype(self.cx, t)?;
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
                    Val::Bool(_) if want == spc_ir::DType::F32 => {
                        self.cx.err(codes::TYPE, span, format!("`{name}` is {want}, found bool"), "in this call")
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
    pub(super) fn fit_shape(
        &mut self,
        inner: &mut Frame,
        name: &str,
        want: &[ast::Dim],
        x: &TVal,
        span: Span,
    ) -> Res<()> {
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
                    // An operand may lack some of the leading axes: it is repeated along them.
                    let known = inner.rest.take().unwrap_or_default();
                    let kept = if within(&rest, &known) {
                        known
                    } else if within(&known, &rest) {
                        rest
                    } else {
                        let show = |d: &[Dim]| d.iter().map(axis_word).collect::<Vec<_>>().join(", ");
                        let text = format!("`..` of `{name}` stands for other axes than before");
                        let note = format!("[{}] here, [{}] before", show(&rest), show(&known));
                        return self
                            .cx
                            .report(Diagnostic::error(codes::AXIS_MISMATCH, text).at(span, "in this call").note(note));
                    };
                    inner.rest = Some(kept);
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
                    let from = self.origins.get(x.node, at);
                    self.bind_axis(inner, name, a, (&have[at], from), span)?;
                    at += 1;
                }
                DimKind::Composite(parts) => {
                    let d = have[at].clone();
                    let Some(of) = self.composites.get(&d.axis).filter(|p| p.len() == parts.len()).cloned() else {
                        let text = format!("`{name}` has an axis made of {} axes, found `{}`", parts.len(), d.axis);
                        return self.cx.err(codes::AXIS_MISMATCH, span, text, "in this call");
                    };
                    let from = self.origins.get(x.node, at);
                    for (a, p) in parts.iter().zip(&of) {
                        self.bind_axis(inner, name, a, (p, from), span)?;
                    }
                    at += 1;
                }
            }
        }
        Ok(())
    }

    fn bind_axis(&mut self, inner: &mut Frame, name: &str, a: &ast::Ident, d: (&Dim, From), span: Span) -> Res<()> {
        let (d, from) = d;
        let Some(e) = inner.axes.get(&a.name).cloned() else {
            inner.axes.insert(a.name.clone(), d.clone());
            inner.from.insert(a.name.clone(), from);
            return Ok(());
        };
        if same_axis(&e, d) {
            return Ok(());
        }
        let (have, found) = (axis_word(&e), axis_word(d));
        let text = if have == a.name {
            format!("`{name}` has axis `{have}`, found `{found}`")
        } else {
            format!("axis `{}` of `{name}` is `{have}`, found `{found}`", a.name)
        };
        let diag = Diagnostic::error(codes::AXIS_MISMATCH, text)
            .at(span, format!("`{have}`{} meets `{found}`{} here", self.size_text(&e), self.size_text(d)));
        let first = inner.from.get(&a.name).copied().flatten();
        let diag = self.with_origins(diag, &[(&e, first), (d, from)]);
        self.cx.report(diag.note("axes are nominal: equal size is not enough"))
    }
}

/// True when these axes occur in those, in the same order.
fn within(some: &[Dim], all: &[Dim]) -> bool {
    let mut rest = all.iter();
    some.iter().all(|d| rest.any(|e| same_axis(e, d)))
}

fn has_index_labels(v: &Val) -> bool {
    matches!(v, Val::Tensor(t) if t.labels.iter().any(|l| l.starts_with('\'')))
}
