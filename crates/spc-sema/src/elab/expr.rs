//! Expressions.
use super::Elab;
use super::value::{Frame, Func, Step, Val};
use crate::consts::ConstValue;
use crate::cx::{Res, Stop};
use crate::module::Member;
use crate::operator::bin_fn;
use spc_base::{Span, codes};
use spc_ir::UnFn;
use spc_syntax::ast::{BinaryOp, Expr, ExprKind, Ident, IfArm, Item, ItemKind, UnaryOp};

/// A constant as a value.
fn constant(v: &ConstValue) -> Val {
    match v {
        ConstValue::Num(n) => Val::Num(*n),
        ConstValue::Pct { num, den } => Val::Pct(*num, *den),
        ConstValue::Bool(b) => Val::Bool(*b),
        ConstValue::List(l) => Val::List(l.iter().map(constant).collect()),
    }
}

/// Deepest nesting of expressions, counted through calls. One expression alone is at most 256 deep.
const MAX_DEPTH: usize = 400;

impl Elab<'_, '_> {
    pub(super) fn expr(&mut self, frame: &mut Frame, e: &Expr) -> Res<Val> {
        self.cx.spend(1, e.span)?;
        if self.depth >= MAX_DEPTH {
            let text = "calls and expressions are nested too deeply";
            return self.cx.err(codes::TOO_DEEP, e.span, text, format!("more than {MAX_DEPTH} levels from the entry"));
        }
        self.depth += 1;
        let value = self.expr_kind(frame, e);
        self.depth -= 1;
        value
    }

    fn expr_kind(&mut self, frame: &mut Frame, e: &Expr) -> Res<Val> {
        match &e.kind {
            ExprKind::Num(n) => Ok(Val::Num(n.value)),
            ExprKind::Pct(p) => Ok(Val::Pct(p.num, p.den)),
            ExprKind::Name(n) => self.name(frame, n),
            ExprKind::Unary { op: UnaryOp::Neg, arg } => {
                let v = self.expr(frame, arg)?;
                self.unary(e.span, UnFn::Neg, &v)
            }
            ExprKind::Unary { op: UnaryOp::Not, arg } => {
                let v = self.expr(frame, arg)?;
                self.unary(e.span, UnFn::Not, &v)
            }
            ExprKind::Binary { op: BinaryOp::Mul, .. } => self.product(frame, e),
            ExprKind::Binary { op, op_span, lhs, rhs } => {
                let Some(f) = bin_fn(*op) else {
                    return self.cx.err(
                        codes::WRONG_KIND,
                        *op_span,
                        "`&` joins slices of a group",
                        "not a number operator",
                    );
                };
                let a = self.expr(frame, lhs);
                let b = self.expr(frame, rhs)?;
                let (a, reported) = (a?, self.cx.diags.len());
                let out = self.binary(*op_span, f, &a, &b);
                if out.is_err() {
                    self.show_operands(reported, [(lhs.span, &a), (rhs.span, &b)]);
                }
                out
            }
            ExprKind::If(i) => self.choice(frame, &i.arms, &i.otherwise),
            ExprKind::Call { callee, args } => self.call(frame, e.span, callee, args),
            ExprKind::Index { base, idx } => self.index(frame, e.span, base, idx),
            ExprKind::Member { base, name } => self.member(frame, base, name),
            ExprKind::Tuple(list) => {
                let mut out = Vec::new();
                for x in list {
                    let v = self.expr(frame, x)?;
                    if matches!(v, Val::Tuple(_) | Val::Results(_)) {
                        return self.cx.err(
                            codes::WRONG_KIND,
                            x.span,
                            "several values inside others",
                            "one value is needed",
                        );
                    }
                    out.push(v);
                }
                Ok(Val::Tuple(out))
            }
            ExprKind::Lambda { params, body } => Ok(self.lambda(frame, params, body)),
            ExprKind::List(list) => list.iter().map(|x| self.expr(frame, x)).collect::<Res<Vec<_>>>().map(Val::List),
            ExprKind::Qty { .. } | ExprKind::Share { .. } | ExprKind::Range { .. } | ExprKind::Arrow { .. } => {
                self.cx.err(codes::WRONG_KIND, e.span, "this is no number", "a number or a tensor is needed here")
            }
            ExprKind::Str(_) => {
                self.cx.err(codes::WRONG_KIND, e.span, "a text is no number", "a number or a tensor is needed")
            }
            ExprKind::Slice { .. } | ExprKind::Star { .. } | ExprKind::Pick { .. } | ExprKind::Keep(_) => {
                self.cx.not_yet(e.span, "a selection inside a function")
            }
        }
    }

    /// `if c { a } else { b }`: where c is known now, only one side is looked at; else element by element.
    fn choice(&mut self, frame: &mut Frame, arms: &[IfArm], otherwise: &Expr) -> Res<Val> {
        let Some((arm, rest)) = arms.split_first() else { return self.expr(frame, otherwise) };
        match self.expr(frame, &arm.cond)? {
            Val::Bool(true) => self.expr(frame, &arm.value),
            Val::Bool(false) => self.choice(frame, rest, otherwise),
            c => {
                let a = self.expr(frame, &arm.value);
                let b = self.choice(frame, rest, otherwise)?;
                self.select(arm.span, &c, &a?, &b)
            }
        }
    }

    pub(super) fn name(&mut self, frame: &Frame, n: &Ident) -> Res<Val> {
        match frame.env.get(&n.name) {
            Some(Val::Poison) => return Err(Stop),
            Some(Val::Index(l)) => return self.number_of_index(l.clone(), n.span),
            Some(v) => return Ok(v.clone()),
            None => {}
        }
        match n.as_str() {
            "inf" => return Ok(Val::Num(f64::INFINITY)),
            "true" => return Ok(Val::Bool(true)),
            "false" => return Ok(Val::Bool(false)),
            _ => {}
        }
        if let Some(v) = self.p.consts.get(self.p.names, &frame.origin, n.as_str()) {
            return Ok(constant(v));
        }
        match self.p.names.item(&frame.origin, n.as_str()) {
            Some((origin, Item { kind: ItemKind::Fn(f), .. })) => {
                return Ok(Val::Func(Func::Item(origin, f.name.name.clone())));
            }
            Some((origin, Item { kind: ItemKind::Mask(m), .. })) => {
                return Ok(Val::Func(Func::Item(origin, m.name.name.clone())));
            }
            // A broken constant has its message.
            Some((_, Item { kind: ItemKind::Const(_), .. })) => return Err(Stop),
            _ => {}
        }
        if n.as_str() == "all" {
            return Ok(Val::Func(Func::All));
        }
        if frame.origin.is_none()
            && let Some(m) = self.p.models.iter().position(|m| m.name == n.name)
        {
            return Ok(Val::Place(m, Vec::new()));
        }
        if self.ix.on && self.ix.dims.contains_key(&super::value::index_label(&n.name)) {
            let text = format!("index `{}` is no value", n.name);
            let help = format!("`int({})` is the number of an index", n.name);
            return self
                .cx
                .report(spc_base::Diagnostic::error(codes::INDEX, text).at(n.span, "used as a value").help(help));
        }
        let mut known: Vec<&str> = frame.env.keys().map(String::as_str).collect();
        known.extend(self.p.names.known_from(&frame.origin));
        self.cx.unknown(n.span, "value", &n.name, known)
    }

    /// What stands at a place of a model.
    pub(super) fn place<'m>(
        &self,
        models: &'m [crate::module::Model],
        at: usize,
        steps: &[Step],
    ) -> Option<&'m Member> {
        let mut m = &models.get(at)?.root;
        for s in steps {
            m = match (m, s) {
                (Member::Record(map), Step::Name(n)) => map.get(n)?,
                (Member::Family { items, .. }, Step::Index(i)) => items.get(*i as usize)?,
                _ => return None,
            };
        }
        Some(m)
    }

    /// A place becomes a tensor where it is one.
    pub(super) fn resolve_place(&mut self, at: usize, steps: Vec<Step>, span: Span) -> Res<Val> {
        match self.place(self.p.models, at, &steps) {
            Some(Member::Tensor(t)) => {
                let node = self.weight(at, *t, span)?;
                self.whole(node)
            }
            _ => Ok(Val::Place(at, steps)),
        }
    }

    fn member(&mut self, frame: &mut Frame, base: &Expr, name: &Ident) -> Res<Val> {
        if let Some(module) = base.as_name().filter(|n| !frame.env.contains_key(&n.name))
            && self.p.names.module(&frame.origin, module.as_str()).is_some()
        {
            return match self.p.names.module_item(&frame.origin, module.as_str(), name.as_str()) {
                Some((origin, Item { kind: ItemKind::Fn(_) | ItemKind::Mask(_), .. })) => {
                    Ok(Val::Func(Func::Item(origin, name.name.clone())))
                }
                Some((origin, Item { kind: ItemKind::Const(_), .. })) => {
                    match self.p.consts.get(self.p.names, &origin, name.as_str()) {
                        Some(v) => Ok(constant(v)),
                        None => Err(Stop),
                    }
                }
                Some(_) => {
                    let text = format!("`{}` is no value", name.name);
                    self.cx.err(codes::WRONG_KIND, name.span, text, "a function, a mask or a constant is needed")
                }
                None => {
                    let known = self.known_in(&frame.origin, module.as_str());
                    let kind = format!("item in `{}`", module.name);
                    self.cx.unknown(name.span, &kind, &name.name, known.iter().map(String::as_str))
                }
            };
        }
        let v = self.expr(frame, base)?;
        self.member_of(&v, name)
    }

    pub(super) fn member_of(&mut self, v: &Val, name: &Ident) -> Res<Val> {
        let known: Vec<String> = match v {
            Val::Record(map) => match map.get(&name.name) {
                Some(Val::Poison) => return Err(Stop),
                Some(v) => return Ok(v.clone()),
                None => map.keys().cloned().collect(),
            },
            Val::Place(at, steps) => match self.place(self.p.models, *at, steps) {
                Some(Member::Record(map)) if map.contains_key(&name.name) => {
                    let mut steps = steps.clone();
                    steps.push(Step::Name(name.name.clone()));
                    return self.resolve_place(*at, steps, name.span);
                }
                Some(Member::Record(map)) => map.keys().cloned().collect(),
                Some(Member::Family { .. }) => {
                    let text = "a repeated group is indexed first";
                    return self.cx.err(codes::UNKNOWN_MEMBER, name.span, text, "expected `[l]` before the dot");
                }
                _ => Vec::new(),
            },
            Val::Results(list) => match list.iter().find(|(n, _)| *n == name.name) {
                Some((_, Val::Poison)) => return Err(Stop),
                Some((_, v)) => return Ok(v.clone()),
                None => list.iter().map(|(n, _)| n.clone()).collect(),
            },
            Val::Poison => return Err(Stop),
            other => {
                let kind = self.kind(other);
                return self.cx.err(
                    codes::UNKNOWN_MEMBER,
                    name.span,
                    format!("{kind} has no members"),
                    "no member here",
                );
            }
        };
        let d = spc_base::Diagnostic::error(codes::UNKNOWN_MEMBER, format!("there is no member `{}`", name.name))
            .at(name.span, "no member of this name");
        self.cx.report(crate::cx::offer(d, name.span, &name.name, known.iter().map(String::as_str)))
    }
}
