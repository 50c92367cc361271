//! Expressions inside hooks.
use super::Ex;
use super::builder::Builder;
use crate::cx::{Cx, Res};
use crate::operator::bin_fn;
use crate::scope::{Names, Origin};
use crate::time::Bound;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::method::{Input, Kind, Space};
use spc_ir::{BinFn, UnFn};
use spc_syntax::ast::{BinaryOp, Expr, ExprKind, Ident, Idx, IdxKind, If, UnaryOp};
use std::collections::BTreeMap;

/// What is being elaborated: a body, with the names in scope.
pub(crate) struct Elab<'a> {
    pub names: &'a Names<'a>,
    pub origin: Origin,
    pub b: Builder,
    pub vars: BTreeMap<String, Ex>,
    /// Parameters as values over time, for `every N steps until P`.
    pub times: BTreeMap<String, Bound>,
    /// Parameters that are constraints, and what they stand for.
    pub constraints: BTreeMap<String, String>,
    /// Masks and states of the update, with their kinds.
    pub memory: BTreeMap<String, Memory>,
    /// Definitions of the update that all its hooks share, not yet read.
    pub shared: BTreeMap<String, &'a Expr>,
    /// The index of the groups: j in `a[j]`.
    pub index: Option<String>,
    /// Penalties being inlined.
    pub stack: Vec<(Origin, String)>,
    /// Only a mask's own rule chooses.
    pub may_choose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Mask,
    State(Kind),
}

impl<'a> Elab<'a> {
    pub fn new(names: &'a Names<'a>, origin: Origin) -> Elab<'a> {
        Elab {
            names,
            origin,
            b: Builder::default(),
            vars: BTreeMap::new(),
            times: BTreeMap::new(),
            constraints: BTreeMap::new(),
            memory: BTreeMap::new(),
            shared: BTreeMap::new(),
            index: None,
            stack: Vec::new(),
            may_choose: false,
        }
    }

    pub fn float(&mut self, cx: &mut Cx, e: &Expr) -> Res<Ex> {
        Ok(self.expr(cx, e)?.float())
    }

    pub fn truth(&mut self, cx: &mut Cx, e: &Expr) -> Res<Ex> {
        let x = self.expr(cx, e)?;
        match x.kind {
            Kind::Bool => Ok(x),
            Kind::Float => cx.err(codes::TYPE, e.span, "a condition or a mask is needed here", "this is a number"),
        }
    }

    pub fn expr(&mut self, cx: &mut Cx, e: &Expr) -> Res<Ex> {
        cx.spend(1, e.span)?;
        match &e.kind {
            ExprKind::Num(n) => Ok(Ex::literal(n.value)),
            ExprKind::Pct(p) => Ok(Ex::literal(p.fraction())),
            ExprKind::Qty { num, unit } if matches!(unit.as_str(), "step" | "steps") => Ok(Ex::literal(num.value)),
            ExprKind::Name(n) => self.name(cx, n),
            ExprKind::If(i) => self.branch(cx, i),
            ExprKind::Unary { op: UnaryOp::Neg, arg } => Ok(Ex::un(UnFn::Neg, &self.float(cx, arg)?)),
            ExprKind::Unary { op: UnaryOp::Not, arg } => Ok(Ex::un(UnFn::Not, &self.truth(cx, arg)?)),
            ExprKind::Binary { op, lhs, rhs, op_span } => self.binary(cx, *op, lhs, rhs, *op_span),
            ExprKind::Index { base, idx } => {
                self.check_index(cx, idx, e.span)?;
                let x = self.expr(cx, base)?;
                if x.space == Space::Element {
                    return cx.err(codes::INDEX, e.span, "weights have no index here", "drop the brackets");
                }
                Ok(x)
            }
            ExprKind::Call { callee, args } => self.call(cx, callee, args, e.span),
            _ => cx.err(codes::WRONG_KIND, e.span, "this cannot stand in a hook", "not a number, a mask or a call"),
        }
    }

    /// The index that the hook declared.
    pub fn check_index(&mut self, cx: &mut Cx, idx: &[Idx], span: Span) -> Res<()> {
        let one = match idx {
            [Idx { kind: IdxKind::Expr(i), .. }] => i.as_name(),
            _ => None,
        };
        match (&self.index, one) {
            (Some(j), Some(n)) if j == n.as_str() => Ok(()),
            (Some(j), _) => {
                let text = format!("the groups are numbered by `{j}` here");
                cx.err(codes::INDEX, span, text, format!("expected `[{j}]`"))
            }
            (None, _) => cx.err(codes::INDEX, span, "there is no index here", "a hook over `a[j]` has one"),
        }
    }

    fn name(&mut self, cx: &mut Cx, n: &Ident) -> Res<Ex> {
        if let Some(x) = self.vars.get(n.as_str()) {
            return Ok(x.clone());
        }
        if let Some(e) = self.shared.remove(n.as_str()) {
            let x = self.expr(cx, e)?;
            let x = self.b.named(cx, &x, n.as_str(), e.span)?;
            self.vars.insert(n.name.clone(), x.clone());
            return Ok(x);
        }
        if let Some(m) = self.memory.get(n.as_str()) {
            return Ok(match m {
                Memory::Mask => self.b.input(Input::Mask(n.name.clone()), Space::Element, Kind::Bool),
                Memory::State(kind) => self.b.input(Input::State(n.name.clone()), Space::Element, *kind),
            });
        }
        let scalar = |s: &mut Self, i| Ok(s.b.input(i, Space::Scalar, Kind::Float));
        match n.as_str() {
            "step" => scalar(self, Input::Step),
            "steps" => scalar(self, Input::Steps),
            "progress" => scalar(self, Input::Progress),
            "pi" => Ok(Ex::literal(std::f64::consts::PI)),
            "inf" => Ok(Ex::literal(f64::INFINITY)),
            "true" => Ok(Ex::truth(true)),
            "false" => Ok(Ex::truth(false)),
            _ if self.constraints.contains_key(n.as_str()) => {
                let text = format!("`{}` is a constraint", n.name);
                cx.report(
                    Diagnostic::error(codes::WRONG_KIND, text)
                        .at(n.span, "a number or a mask is needed")
                        .help(format!("`select({})` is the mask of what it keeps", n.name)),
                )
            }
            // A constant or a schedule of the file.
            _ if self.names.find(&self.origin, n.as_str()).is_some() => {
                let e = Expr { kind: ExprKind::Name(n.clone()), span: n.span };
                let s = self.time(cx, &e)?;
                Ok(self.scheduled(&s))
            }
            "g" if self.may_choose => {
                let d = Diagnostic::error(codes::UNKNOWN_NAME, "a mask does not see the gradient `g`")
                    .at(n.span, "no gradient yet")
                    .note("a mask is made before the forward pass, and the gradient comes after it")
                    .help("choose in `step` or `refresh`, which see `g` and may assign the mask, or rank the constraint by a score with `g`");
                cx.report(d)
            }
            _ => {
                let words = ["step", "steps", "progress", "pi", "inf", "true", "false"];
                let own: Vec<String> = self.known();
                cx.unknown(n.span, "value", &n.name, own.iter().map(String::as_str).chain(words))
            }
        }
    }

    /// Names in scope.
    pub fn known(&self) -> Vec<String> {
        let vars = self.vars.keys().chain(self.memory.keys()).chain(self.constraints.keys());
        vars.chain(self.shared.keys()).cloned().collect()
    }

    fn branch(&mut self, cx: &mut Cx, i: &If) -> Res<Ex> {
        let mut arms = Vec::new();
        for arm in &i.arms {
            let c = self.truth(cx, &arm.cond)?;
            arms.push((c, self.expr(cx, &arm.value)?));
        }
        let mut out = self.expr(cx, &i.otherwise)?;
        for (c, v) in arms.into_iter().rev() {
            out = if v.kind == out.kind { Ex::select(&c, &v, &out) } else { Ex::select(&c, &v.float(), &out.float()) };
        }
        Ok(out)
    }

    fn binary(&mut self, cx: &mut Cx, op: BinaryOp, lhs: &Expr, rhs: &Expr, span: Span) -> Res<Ex> {
        let f = match op {
            BinaryOp::Or | BinaryOp::And => {
                let f = if op == BinaryOp::Or { BinFn::Or } else { BinFn::And };
                let a = self.truth(cx, lhs)?;
                return Ok(Ex::bin(f, &a, &self.truth(cx, rhs)?));
            }
            _ => match bin_fn(op) {
                Some(f) => f,
                None => return cx.err(codes::TYPE, span, "`&` joins groups, not numbers", "write `&&`"),
            },
        };
        let (a, b) = (self.expr(cx, lhs)?, self.expr(cx, rhs)?);
        let equal = matches!(f, BinFn::Eq | BinFn::Ne);
        Ok(match (a.kind, b.kind) {
            (Kind::Bool, Kind::Bool) if equal => Ex::bin(f, &a, &b),
            (Kind::Bool, Kind::Bool) if f.is_comparison() => {
                return cx.err(codes::TYPE, span, "masks have no order", "between two masks");
            }
            // A mask times a number selects: what is not selected is exactly 0, whatever it was.
            (Kind::Bool, Kind::Float) if f == BinFn::Mul => Ex::select(&a, &b, &Ex::literal(0.0)),
            (Kind::Float, Kind::Bool) if f == BinFn::Mul => Ex::select(&b, &a, &Ex::literal(0.0)),
            // Squares are exact products; a power is not.
            _ if f == BinFn::Pow && b.as_literal() == Some(2.0) => Ex::bin(BinFn::Mul, &a.float(), &a.float()),
            _ => Ex::bin(f, &a.float(), &b.float()),
        })
    }
}
