//! Masks, lambdas, and functions as values. A mask or a lambda is written out where it is called, on the indices that it is
//! called with, so it is never stored.
use super::Elab;
use super::value::{Frame, Func, Lambda, TVal, Val, index_label};
use crate::cx::{Res, Stop};
use crate::scope::Origin;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{DType, Op};
use spc_syntax::ast::{Arg, Expr, Ident, Item, ItemKind, MaskItem};
use std::rc::Rc;

impl Elab<'_, '_> {
    pub(super) fn lambda(&self, frame: &Frame, params: &[Ident], body: &Expr) -> Val {
        let params = params.iter().map(|p| p.name.clone()).collect();
        Val::Func(Func::Lambda(Rc::new(Lambda { params, body: body.clone(), frame: frame.clone() })))
    }

    /// An index as a number: 0, 1, .. along its axis.
    pub(super) fn number_of_index(&mut self, label: String, span: Span) -> Res<Val> {
        let Some((dim, _)) = self.ix.dims.get(&label).cloned() else {
            if self.ix.broken {
                return Err(Stop);
            }
            let text = format!("index `{}` has no axis here", label.trim_start_matches('\''));
            return self.cx.err(codes::INDEX, span, text, "no tensor is indexed by it in this statement");
        };
        let node = self.add(span, Op::Iota { dim }, &[])?;
        Ok(Val::Tensor(TVal { node, labels: vec![label] }))
    }

    /// Calls a value.
    pub(super) fn call_func(&mut self, frame: &mut Frame, span: Span, f: &Func, args: &[Arg]) -> Res<Val> {
        match f {
            Func::All => {
                self.operands(frame, args)?;
                Ok(Val::Bool(true))
            }
            Func::Item(origin, name) => match self.p.names.item(origin, name) {
                Some((origin, Item { kind: ItemKind::Fn(f), .. })) => self.call_fn(frame, span, origin, f, args),
                Some((origin, Item { kind: ItemKind::Mask(m), .. })) => self.call_mask(frame, span, origin, m, args),
                _ => Err(Stop),
            },
            Func::Relation(t) => {
                let values = self.operands(frame, args)?;
                self.ask_relation(span, t, &values)
            }
            Func::Lambda(l) => {
                let values = self.operands(frame, args)?;
                if values.len() != l.params.len() {
                    let text = format!("the lambda takes {} values, {} given", l.params.len(), values.len());
                    return self.cx.err(codes::ARGUMENT, span, text, "here");
                }
                self.cx.spend(1 + l.frame.env.len() as u64, span)?;
                let mut inner = l.frame.clone();
                inner.lambda = true;
                inner.env.extend(l.params.iter().cloned().zip(values));
                self.written_out(&mut inner, &l.body)
            }
        }
    }

    /// A mask on the indices (or numbers) that it is called with.
    pub(super) fn call_mask(
        &mut self,
        frame: &mut Frame,
        span: Span,
        origin: Origin,
        m: &MaskItem,
        args: &[Arg],
    ) -> Res<Val> {
        let key = (origin.clone(), m.name.name.clone());
        if self.stack.contains(&key) {
            return self.cx.report(
                Diagnostic::error(codes::RECURSION, format!("`{}` calls itself", m.name.name))
                    .at(span, "this call never ends")
                    .also(m.name.span, "the mask"),
            );
        }
        self.cx.spend(1 + self.p.free.len() as u64, span)?;
        let mut inner = if origin.is_none() { self.root_frame() } else { Frame::default() };
        inner.origin = origin;
        let mut position = 0;
        for a in args {
            let param = match &a.label {
                Some(l) => m.params.iter().find(|p| p.name.name == l.name),
                None => {
                    position += 1;
                    m.params.get(position - 1)
                }
            };
            let Some(p) = param else {
                let text = format!("the mask `{}` has no such parameter", m.name.name);
                return self.cx.err(codes::ARGUMENT, a.span, text, "one too many, or an unknown name");
            };
            let v = self.operand_of(frame, a)?;
            let v = match &p.ty {
                Some(ty) => self.fit_type(&mut inner, &p.name.name, ty, v, a.span)?,
                None => v,
            };
            if inner.env.insert(p.name.name.clone(), v).is_some() {
                let text = format!("`{}` is given twice", p.name.name);
                return self.cx.err(codes::ARGUMENT, a.span, text, "given again here");
            }
        }
        for p in &m.params {
            match (&p.default, inner.env.contains_key(&p.name.name)) {
                (_, true) => {}
                (Some(d), false) => {
                    let v = self.expr(&mut inner, d)?;
                    inner.env.insert(p.name.name.clone(), v);
                }
                (None, false) => {
                    return self.cx.report(
                        Diagnostic::error(codes::ARGUMENT, format!("`{}` needs `{}`", m.name.name, p.name.name))
                            .at(span, "an argument is missing")
                            .also(p.span, "this parameter has no default"),
                    );
                }
            }
        }
        if inner.origin.is_none() {
            self.cx.reached.insert(m.name.name.clone());
        }
        self.stack.push(key);
        let v = self.mask_value(&mut inner, m);
        self.stack.pop();
        v
    }

    /// The predicate of a mask with its parameters bound.
    pub(super) fn mask_value(&mut self, inner: &mut Frame, m: &MaskItem) -> Res<Val> {
        let v = self.written_out(inner, &m.value)?;
        let logical = match &v {
            Val::Bool(_) => true,
            Val::Tensor(t) => self.ty(t.node)?.dtype == DType::Bool,
            _ => false,
        };
        if logical {
            return Ok(v);
        }
        let text = format!("the mask `{}` gives no truth value", m.name.name);
        self.cx.err(codes::TYPE, m.value.span, text, "a comparison or a combination of them is needed")
    }

    /// A body in the middle of the caller's index notation. No index is written in it that could be summed.
    fn written_out(&mut self, inner: &mut Frame, body: &Expr) -> Res<Val> {
        let sums = std::mem::replace(&mut self.ix.sums, false);
        let v = self.expr(inner, body);
        self.ix.sums = sums;
        v
    }

    fn operands(&mut self, frame: &mut Frame, args: &[Arg]) -> Res<Vec<Val>> {
        args.iter().map(|a| self.operand_of(frame, a)).collect()
    }

    /// An argument of a mask or a lambda: an index stays one.
    fn operand_of(&mut self, frame: &mut Frame, a: &Arg) -> Res<Val> {
        if !a.is_plain() {
            return self.cx.err(codes::ARGUMENT, a.span, "a plain value is needed", "here");
        }
        if let Some(n) = a.value.as_name() {
            match frame.env.get(&n.name) {
                Some(v @ Val::Index(_)) => return Ok(v.clone()),
                None if self.ix.on && self.ix.dims.contains_key(&index_label(&n.name)) => {
                    return Ok(Val::Index(index_label(&n.name)));
                }
                _ => {}
            }
        }
        self.expr(frame, &a.value)
    }

    /// A parameter of a kind that is no tensor; `None` for tensors and numbers.
    pub(super) fn fit_kind(&mut self, name: &str, kind: &Ident, v: &Val, span: Span) -> Res<Option<Val>> {
        let fits = match (kind.as_str(), v) {
            (_, Val::Poison) => return Err(Stop),
            ("int", Val::Num(n)) => n.fract() == 0.0,
            ("int", Val::Static(_)) => true,
            ("pct" | "amount", Val::Num(n)) => n.is_finite(),
            ("pct" | "amount", Val::Static(_) | Val::Pct(..)) => true,
            ("mask" | "fn", Val::Func(_)) => true,
            ("mask", Val::Bool(_)) => true,
            ("mask", Val::Tensor(t)) => self.ty(t.node)?.dtype == DType::Bool,
            ("int" | "pct" | "amount" | "mask" | "fn", _) => false,
            _ => return Ok(None),
        };
        if fits {
            return Ok(Some(match v {
                Val::Bool(true) => Val::Func(Func::All),
                Val::Tensor(t) if kind.as_str() == "mask" => Val::Func(Func::Relation(t.clone())),
                v => v.clone(),
            }));
        }
        let want = match kind.as_str() {
            "int" => "an integer",
            "pct" => "a percentage",
            "amount" => "an amount",
            "mask" => "a mask",
            _ => "a function",
        };
        let found = self.kind(v);
        self.cx.err(codes::TYPE, span, format!("`{name}` is {want}, found {found}"), "in this call")
    }
}
