//! States of functions: what one call leaves for the next. A state is an input and a result of the same name, so that it
//! belongs to the caller, as a cache does.
use super::Elab;
use super::value::{Frame, TVal, Val, axis_labels};
use crate::cx::{Res, Stop};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{DType, Dim, NodeId, Op, Type};
use spc_syntax::ast::{self, DimKind, Expr, ExprKind, Stmt, Timing, TypeKind};

/// A state that was met.
pub(super) struct State {
    /// Of the input and the result.
    pub name: String,
    /// The statement.
    span: Span,
    ty: Type,
    /// What the call leaves; none until its block ends.
    pub out: Option<NodeId>,
}

impl Elab<'_, '_> {
    pub(super) fn state(&mut self, frame: &mut Frame, s: &ast::StateStmt) -> Res<()> {
        if frame.env.contains_key(&s.name.name) {
            let text = format!("`{}` is declared twice", s.name.name);
            return self.cx.err(codes::DUPLICATE, s.name.span, text, "a name of this function");
        }
        match &s.timing {
            Some(Timing::When(c)) => self.renewed(frame, s, c),
            Some(Timing::At(e)) => self.cx.not_yet(e.span, "a state that is computed from calibration data"),
            Some(Timing::Every(e)) => {
                let d = Diagnostic::error(codes::WRONG_KIND, "a function does not count its calls")
                    .at(e.span, "no steps here")
                    .help("say when by an input: `state s = .. when now == first`");
                self.cx.report(d)
            }
            None => self.carried(frame, s),
        }
    }

    /// `state s = e when c`: computed in the calls in which c holds, kept in the others.
    fn renewed(&mut self, frame: &mut Frame, s: &ast::StateStmt, c: &Expr) -> Res<()> {
        let v = self.expr(frame, &s.value)?;
        let new = match v {
            Val::Tensor(t) => t,
            Val::Num(value) => {
                let node = self.add(s.value.span, Op::Const { value, dtype: DType::F32 }, &[])?;
                TVal { node, labels: Vec::new() }
            }
            Val::Poison => return Err(Stop),
            other => {
                let kind = self.kind(&other);
                let text = format!("a state is a tensor, not {kind}");
                return self.cx.err(codes::WRONG_KIND, s.value.span, text, "here");
            }
        };
        let ty = self.ty(new.node)?;
        if let Some(want) = &s.ty {
            let declared = self.state_type(frame, want)?;
            if declared != ty {
                let text = format!("the state `{}` has another type than declared", s.name.name);
                let (want, have) = (self.g.type_text(&declared), self.g.type_text(&ty));
                let d = Diagnostic::error(codes::TYPE, text).at(s.span, format!("declared {want}"));
                return self.cx.report(d.note(format!("the value is {have}")));
            }
        }
        let when = self.expr(frame, c)?;
        let truth = match &when {
            Val::Bool(_) => true,
            Val::Tensor(t) => self.ty(t.node)?.dtype == DType::Bool,
            Val::Poison => return Err(Stop),
            _ => false,
        };
        if !truth {
            return self.cx.err(codes::TYPE, c.span, "a condition is needed here", "neither true nor false");
        }
        let node = self.state_input(frame, s, ty)?;
        let old = Val::Tensor(TVal { node, labels: new.labels.clone() });
        let v = self.select(s.span, &when, &Val::Tensor(new), &old)?;
        frame.env.insert(s.name.name.clone(), v);
        Ok(())
    }

    /// `state s: f32[B, D] = 0`: 0 before the first call; what the function assigns is left for the next one.
    fn carried(&mut self, frame: &mut Frame, s: &ast::StateStmt) -> Res<()> {
        let Some(ty) = &s.ty else {
            let d = Diagnostic::error(codes::TYPE, format!("the state `{}` has no type", s.name.name))
                .at(s.name.span, "of what shape?")
                .help(format!("write `state {}: f32[B, D] = 0`, or say `when` it is computed", s.name.name));
            return self.cx.report(d);
        };
        let ty = self.state_type(frame, ty)?;
        let nothing = match (&s.value.kind, ty.dtype) {
            (ExprKind::Name(n), DType::Bool) => n.as_str() == "false",
            (ExprKind::Num(n), DType::F32 | DType::I32) => n.value == 0.0,
            _ => false,
        };
        if !nothing {
            let start = if ty.dtype == DType::Bool { "false" } else { "0" };
            let d = Diagnostic::error(codes::WRONG_KIND, "a state starts from nothing")
                .at(s.value.span, format!("expected `{start}`"))
                .help("the first call may compute another value: `s = if first { .. } else { s }`");
            return self.cx.report(d);
        }
        let node = self.state_input(frame, s, ty)?;
        let v = self.whole(node)?;
        frame.env.insert(s.name.name.clone(), v);
        Ok(())
    }

    fn state_input(&mut self, frame: &Frame, s: &ast::StateStmt, ty: Type) -> Res<NodeId> {
        let mut name = s.name.name.clone();
        for i in &frame.loops {
            name.push_str(&format!(".{i}"));
        }
        let (base, mut again) = (name.clone(), 1);
        while self.g.named_inputs().iter().any(|(n, _)| *n == name) {
            again += 1;
            name = format!("{base}.{again}");
        }
        let node = self.add(s.span, Op::Input { name: name.clone(), ty: ty.clone() }, &[])?;
        self.origins.set(node, &self.g, s.name.span, format!("the state `{name}`"));
        self.states.push(State { name, span: s.span, ty, out: None });
        Ok(node)
    }

    /// The states of a block have their last value where it ends.
    pub(super) fn states_out(&mut self, frame: &Frame, block: &ast::Block) -> Res<()> {
        for s in &block.stmts {
            let Stmt::State(s) = s else { continue };
            let Some(at) = self.states.iter().rposition(|x| x.span == s.span && x.out.is_none()) else { continue };
            let t = match frame.env.get(&s.name.name).cloned() {
                Some(Val::Tensor(t)) => t,
                Some(Val::Poison) | None => return Err(Stop),
                Some(other) => {
                    let kind = self.kind(&other);
                    let text = format!("the state `{}` ends as {kind}", s.name.name);
                    return self.cx.err(codes::TYPE, s.span, text, "a tensor is needed");
                }
            };
            let (have, want) = (self.ty(t.node)?, self.states[at].ty.clone());
            // It may have grown along a free axis.
            let root = |d: &Dim| d.axis.split(':').next().unwrap_or_default().to_string();
            let fits = |a: &Dim, b: &Dim| a == b || (root(a) == root(b) && a.size.fixed().is_none());
            let labels = axis_labels(&want.dims);
            let same = t.labels.len() == labels.len()
                && have.dims.iter().all(|d| want.dims.iter().any(|w| fits(d, w)))
                && want.dims.iter().all(|w| have.dims.iter().any(|d| fits(d, w)));
            if have.dtype != want.dtype || !same {
                let text = format!("the state `{}` ends with another type than it has", s.name.name);
                let (want, have) = (self.g.type_text(&want), self.g.type_text(&have));
                let d = Diagnostic::error(codes::TYPE, text).at(s.span, format!("is {want}"));
                return self.cx.report(d.note(format!("what is left for the next call is {have}")));
            }
            // In the order of the declaration.
            let mut order = Vec::new();
            for w in &want.dims {
                order.push(have.dims.iter().position(|d| fits(d, w)).ok_or(Stop)?);
            }
            let (labels, dims): (Vec<String>, Vec<Dim>) =
                order.iter().map(|i| (t.labels[*i].clone(), have.dims[*i].clone())).unzip();
            let t = self.arrange(s.span, &t, &labels, &dims)?;
            self.states[at].out = Some(t.node);
        }
        Ok(())
    }

    /// A declared type over axes in scope.
    fn state_type(&mut self, frame: &Frame, ty: &ast::Type) -> Res<Type> {
        let TypeKind::Named { name, shape, .. } = &ty.kind else {
            return self.cx.err(codes::TYPE, ty.span, "a state is a tensor", "expected for example `f32[B, D]`");
        };
        let dtype = super::param_dtype(self.cx, name)?;
        let mut dims = Vec::new();
        for d in shape.iter().flatten() {
            match &d.kind {
                DimKind::Axis(a) => match frame.axes.get(&a.name) {
                    Some(d) => dims.push(d.clone()),
                    None => return crate::model::unknown_axis(self.cx, self.p.axes, a),
                },
                DimKind::Rest => dims.extend(self.rest(frame, d.span)?),
                DimKind::Size(n) => dims.push(crate::model::sized(self.cx, *n, d.span)?),
                DimKind::Composite(parts) => {
                    let mut of = Vec::new();
                    for p in parts {
                        match frame.axes.get(&p.name) {
                            Some(d) if d.size.fixed().is_some() => of.push(d.clone()),
                            _ => return crate::model::unknown_axis(self.cx, self.p.axes, p),
                        }
                    }
                    dims.push(crate::model::composite(&of));
                }
            }
        }
        crate::model::check_extent(self.cx, &dims, ty.span)?;
        Ok(Type::new(dtype, dims))
    }
}
