//! Statements and function bodies.
use super::Elab;
use super::value::{Frame, IndexScope, TVal, Val, axis_labels, axis_word, by_value, index_label};
use crate::cx::{Res, Stop};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{DType, Dim, Op};
use spc_syntax::ast::{self, Body, DimKind, FnItem, Idx, IdxKind, LhsKind, Stmt, TypeKind};

impl Elab<'_, '_> {
    /// Runs a body; gives the declared results in order.
    pub(super) fn body(&mut self, f: &FnItem, frame: &mut Frame) -> Res<Vec<(String, Val, Span)>> {
        let block = match &f.sig.body {
            Body::Expr(e) => {
                let v = self.expr(frame, e)?;
                let name = f.sig.results.as_ref().and_then(|r| r.list.first());
                let v = match name {
                    Some(r) => self.fit_result(frame, r, v)?,
                    None => v,
                };
                return Ok(vec![(name.map_or(&f.name, |r| &r.name).name.clone(), v, e.span)]);
            }
            Body::Block(b) => b,
        };
        if let Some(results) = &f.sig.results {
            for r in &results.list {
                if let Some(dims) = self.declared_dims(frame, r) {
                    frame.results.insert(r.name.name.clone(), dims);
                }
            }
        }
        let outcome = self.block(frame, block);
        let Some(results) = &f.sig.results else {
            return self.cx.err(
                codes::RESULT,
                f.name.span,
                "a function with a body declares its results",
                "add `-> y: ..`",
            );
        };
        let mut out = Vec::new();
        for r in &results.list {
            match frame.env.get(&r.name.name).cloned() {
                Some(v) => {
                    let v = self.fit_result(frame, r, v)?;
                    out.push((r.name.name.clone(), v, r.span));
                }
                None if outcome.is_err() => return Err(Stop),
                None => {
                    return self.cx.report(
                        Diagnostic::error(codes::RESULT, format!("the result `{}` is never assigned", r.name.name))
                            .at(r.name.span, "declared here")
                            .also(f.name.span, "in this function"),
                    );
                }
            }
        }
        outcome.map(|()| out)
    }

    /// Runs all statements; after a broken one the names it assigns are poisoned and the rest still runs.
    fn block(&mut self, frame: &mut Frame, block: &ast::Block) -> Res<()> {
        let mut outcome = Ok(());
        for s in &block.stmts {
            let done = match s {
                Stmt::Assign(a) => self.assign(frame, a),
                Stmt::For(f) => self.repeat(frame, f),
                Stmt::State(s) => self.state(frame, s),
            };
            if done.is_err() {
                outcome = Err(Stop);
                let mut names = Vec::new();
                assigned(s, &mut names);
                for n in names {
                    frame.env.insert(n.name.clone(), Val::Poison);
                }
            }
        }
        match outcome {
            Ok(()) => self.states_out(frame, block),
            stop => stop,
        }
    }

    fn repeat(&mut self, frame: &mut Frame, f: &ast::ForStmt) -> Res<()> {
        let axis = f.over.as_name().and_then(|n| frame.axes.get(&n.name).cloned());
        let Some(n) = axis.as_ref().and_then(|d| d.size.fixed()) else {
            let text = "`for` repeats over an axis of fixed size";
            return self.cx.err(codes::UNKNOWN_AXIS, f.over.span, text, "no such axis here");
        };
        let hidden = frame.env.remove(&f.index.name);
        let mut outcome = Ok(());
        for i in 0..n {
            frame.env.insert(f.index.name.clone(), Val::Static(i));
            frame.loops.push(i);
            outcome = self.cx.spend(1, f.over.span).and_then(|()| self.block(frame, &f.body));
            frame.loops.pop();
            if outcome.is_err() {
                break;
            }
        }
        frame.env.remove(&f.index.name);
        if let Some(v) = hidden {
            frame.env.insert(f.index.name.clone(), v);
        }
        outcome
    }

    fn assign(&mut self, frame: &mut Frame, a: &ast::Assign) -> Res<()> {
        match &a.lhs.kind {
            LhsKind::Tuple(names) => {
                let v = self.expr(frame, &a.value)?;
                let list = match v {
                    Val::Tuple(list) => list,
                    Val::Results(list) => list.into_iter().map(|(_, v)| v).collect(),
                    Val::Poison => return Err(Stop),
                    _ => Vec::new(),
                };
                if list.is_empty() {
                    return self.cx.err(codes::ARGUMENT, a.value.span, "one value cannot be taken apart", "one value");
                }
                if list.len() != names.len() {
                    let text = format!("{} values, {} names", list.len(), names.len());
                    return self.cx.err(codes::ARGUMENT, a.lhs.span, text, "the numbers differ");
                }
                for (n, v) in names.iter().zip(list).filter(|(n, _)| n.as_str() != "_") {
                    let v = self.named_value(frame, n, v)?;
                    self.note_type(frame, n, &v);
                    frame.env.insert(n.name.clone(), v);
                }
            }
            LhsKind::Name { name, index: None } => {
                let v = self.expr(frame, &a.value)?;
                let v = self.named_value(frame, name, v)?;
                self.note_type(frame, name, &v);
                frame.env.insert(name.name.clone(), v);
            }
            LhsKind::Name { name, index: Some(idx) } => {
                let v = self.indexed(frame, name, idx, a)?;
                let v = self.named_value(frame, name, v)?;
                self.note_type(frame, name, &v);
                frame.env.insert(name.name.clone(), v);
            }
        }
        Ok(())
    }

    /// Remembers the type of what a statement of the root file assigns.
    fn note_type(&mut self, frame: &Frame, name: &ast::Ident, v: &Val) {
        if let (None, Val::Tensor(t)) = (&frame.origin, v)
            && let Ok(ty) = self.ty(t.node)
        {
            self.cx.types.entry(name.span).or_insert(ty);
        }
    }

    /// `y[.., o] = expr`.
    fn indexed(&mut self, frame: &mut Frame, name: &ast::Ident, idx: &[Idx], a: &ast::Assign) -> Res<Val> {
        let mut lhs = Vec::new();
        let mut scope = IndexScope { on: true, sums: true, ..IndexScope::default() };
        for i in idx {
            match &i.kind {
                IdxKind::Rest => {
                    let rest = self.rest(frame, i.span)?;
                    for (n, d) in rest.iter().enumerate() {
                        let l = index_label(&format!("..{n}"));
                        scope.dims.insert(l.clone(), (d.clone(), i.span));
                        lhs.push(l);
                    }
                }
                IdxKind::Expr(e) if e.as_name().is_some() => {
                    lhs.push(index_label(e.as_name().map(|n| n.as_str()).unwrap_or_default()));
                }
                _ => {
                    return self.cx.err(
                        codes::INDEX,
                        i.span,
                        "the left side takes plain indices",
                        "expected an index name",
                    );
                }
            }
        }
        for (n, l) in lhs.iter().enumerate() {
            if lhs[..n].contains(l) {
                let text = format!("index `{}` occurs twice on the left", &l[1..]);
                return self.cx.err(codes::INDEX, a.lhs.span, text, "each index stands once");
            }
        }
        scope.lhs = lhs.clone();
        let outer = std::mem::replace(&mut self.ix, scope);
        let result = self.indexed_value(frame, &name.name, &lhs, a);
        self.ix = outer;
        result
    }

    fn indexed_value(&mut self, frame: &mut Frame, name: &str, lhs: &[String], a: &ast::Assign) -> Res<Val> {
        self.collect_dims(frame, &a.value);
        // An index that occurs only inside others ranges over the axis that the declared result has there.
        if let Some(dims) = frame.results.get(name).filter(|d| d.len() == lhs.len()) {
            for (l, d) in lhs.iter().zip(dims) {
                if let (Some(d), false) = (d, self.ix.dims.contains_key(l)) {
                    self.ix.dims.insert(l.clone(), (d.clone(), a.lhs.span));
                }
            }
        }
        let v = self.expr(frame, &a.value)?;
        let t = match v {
            Val::Tensor(t) => t,
            Val::Num(n) => {
                let node = self.add(a.value.span, Op::Const { value: n, dtype: DType::F32 }, &[])?;
                TVal { node, labels: vec![] }
            }
            Val::Poison => return Err(Stop),
            other => {
                let kind = self.kind(&other);
                return self.cx.err(codes::WRONG_KIND, a.value.span, format!("a tensor is needed, not {kind}"), "");
            }
        };
        if let Some(l) = t.labels.iter().find(|l| !lhs.contains(l)) {
            return self.left_over(l.clone(), a);
        }
        let mut dims = Vec::new();
        for l in lhs {
            match self.ix.dims.get(l) {
                Some((d, _)) => dims.push(d.clone()),
                None => {
                    let text = format!("index `{}` has no size: nothing on the right has it", &l[1..]);
                    return self.cx.err(codes::INDEX, a.lhs.span, text, "used on the left only");
                }
            }
        }
        let t = self.arrange(a.span, &t, lhs, &dims)?;
        let dims = self.ty(t.node)?.dims;
        Ok(Val::Tensor(TVal { node: t.node, labels: axis_labels(&dims) }))
    }

    /// An index of the value that the left side lacks.
    fn left_over(&mut self, l: String, a: &ast::Assign) -> Res<Val> {
        if !l.starts_with('\'') {
            let text = "a whole tensor stands among indices";
            let help = "index it, for example `x[b, i]`, or leave the indices on the left out";
            return self
                .cx
                .report(Diagnostic::error(codes::INDEX, text).at(a.value.span, format!("has axis `{l}`")).help(help));
        }
        let name = l.trim_start_matches('\'').to_string();
        let span = self.ix.dims.get(&l).map_or(a.value.span, |(_, s)| *s);
        if let Some(sum) = self.ix.summed.get(&l).copied() {
            return self.cx.report(
                Diagnostic::error(
                    codes::INDEX,
                    format!("index `{name}` is summed in a product and also stands outside it"),
                )
                .at(sum, "summed over this product")
                .also(span, format!("`{name}` ranges over its axis here"))
                .also(a.lhs.span, "not on this side")
                .help(format!("write `sum(.. over {name})` around all that is summed, or two statements")),
            );
        }
        self.cx.report(
            Diagnostic::error(codes::INDEX, format!("index `{name}` is neither on the left nor summed"))
                .at(span, "occurs here")
                .also(a.lhs.span, "not on this side")
                .help(format!(
                    "an index is summed over the innermost product in which it occurs at least twice, and may not occur \
                     outside it; otherwise write `sum(.. over {name})`, or two statements"
                )),
        )
    }

    pub(super) fn rest(&mut self, frame: &Frame, span: Span) -> Res<Vec<Dim>> {
        match &frame.rest {
            Some(r) => Ok(r.clone()),
            None => self.cx.err(codes::INDEX, span, "`..` has no meaning here", "no parameter has `..`"),
        }
    }

    /// The axes that a result declares, as far as the call has given them sizes.
    fn declared_dims(&self, frame: &Frame, r: &ast::ResultDecl) -> Option<Vec<Option<Dim>>> {
        let TypeKind::Named { shape: Some(shape), .. } = &r.ty.as_ref()?.kind else { return None };
        let mut out = Vec::new();
        for d in shape {
            match &d.kind {
                DimKind::Rest => out.extend(frame.rest.as_ref()?.iter().cloned().map(Some)),
                DimKind::Axis(a) => out.push(frame.axes.get(&a.name).cloned()),
                DimKind::Size(n) => out.push(Some(Dim::fixed(n.to_string(), *n))),
                DimKind::Composite(_) => out.push(None),
            }
        }
        Some(out)
    }

    /// Checks a result against its declared type; axes in another order are transposed.
    fn fit_result(&mut self, frame: &Frame, r: &ast::ResultDecl, v: Val) -> Res<Val> {
        let Some(TypeKind::Named { name, shape, .. }) = r.ty.as_ref().map(|t| &t.kind) else { return Ok(v) };
        let want = super::param_dtype(self.cx, name)?;
        let mut dims: Vec<Dim> = Vec::new();
        for d in shape.iter().flatten() {
            match &d.kind {
                DimKind::Rest => dims.extend(self.rest(frame, d.span)?),
                DimKind::Axis(a) => match frame.axes.get(&a.name) {
                    Some(d) => dims.push(d.clone()),
                    None => return crate::model::unknown_axis(self.cx, self.p.axes, a),
                },
                DimKind::Composite(parts) => {
                    let names: Vec<Dim> = parts.iter().filter_map(|p| frame.axes.get(&p.name).cloned()).collect();
                    dims.push(crate::model::composite(&names));
                }
                DimKind::Size(n) => dims.push(Dim::fixed(n.to_string(), *n)),
            }
        }
        let t = match v {
            Val::Tensor(t) => t,
            // A number stands for a result full of it.
            Val::Num(_) | Val::Static(_) | Val::Bool(_) => return self.full(r, want, dims, &v),
            other => return Ok(other),
        };
        let have = self.ty(t.node)?;
        if have.dtype != want {
            let text = format!("the result `{}` is {}, declared {want}", r.name.name, have.dtype);
            return self.cx.err(codes::TYPE, r.span, text, "declared here");
        }
        let labels = axis_labels(&dims);
        let t = TVal { node: t.node, labels: by_value(&t.labels, &have.dims, &labels, &dims) };
        let same_set = labels.len() == t.labels.len() && labels.iter().all(|l| t.labels.contains(l));
        if !same_set || dims.len() != have.dims.len() {
            let show = |dims: &[Dim]| dims.iter().map(axis_word).collect::<Vec<_>>().join(", ");
            let diag = Diagnostic::error(
                codes::AXIS_MISMATCH,
                format!("the result `{}` has other axes than declared", r.name.name),
            )
            .at(r.span, format!("declared with [{}]", show(&dims)))
            .note(format!("the value assigned has [{}]", show(&have.dims)));
            // The origin of each axis that is not declared.
            let stray: Vec<usize> = (0..have.dims.len()).filter(|i| !labels.contains(&t.labels[*i])).collect();
            let axes: Vec<_> = stray.iter().map(|i| (&have.dims[*i], self.origins.get(t.node, *i))).collect();
            let diag = self.with_origins(diag, &axes);
            return self.cx.report(diag);
        }
        self.arrange(r.span, &t, &labels, &dims).map(Val::Tensor)
    }

    /// A tensor of one number.
    fn full(&mut self, r: &ast::ResultDecl, want: DType, dims: Vec<Dim>, v: &Val) -> Res<Val> {
        let value = match (v, want) {
            (Val::Bool(b), DType::Bool) => f64::from(u8::from(*b)),
            (Val::Num(n), DType::F32) => *n,
            (Val::Num(n), DType::I32) if n.fract() == 0.0 && n.abs() < 2_147_483_648.0 => *n,
            (Val::Static(n), DType::F32 | DType::I32) => *n as f64,
            _ => {
                let kind = self.kind(v);
                let text = format!("the result `{}` is {kind}, declared {want}", r.name.name);
                return self.cx.err(codes::TYPE, r.span, text, "declared here");
            }
        };
        let node = self.add(r.span, Op::Const { value, dtype: want }, &[])?;
        if dims.is_empty() {
            return self.whole(node);
        }
        let node = self.add(r.span, Op::Broadcast { dims, at: Vec::new() }, &[node])?;
        self.whole(node)
    }
}

/// Names that a statement assigns, also inside a repetition.
fn assigned<'s>(s: &'s Stmt, out: &mut Vec<&'s ast::Ident>) {
    match s {
        Stmt::Assign(a) => match &a.lhs.kind {
            LhsKind::Tuple(list) => out.extend(list),
            LhsKind::Name { name, .. } => out.push(name),
        },
        Stmt::For(f) => f.body.stmts.iter().for_each(|s| assigned(s, out)),
        Stmt::State(s) => out.push(&s.name),
    }
}
