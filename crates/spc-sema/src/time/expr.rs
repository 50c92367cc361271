//! Expressions over time.
use super::value::{Timed, Val};
use crate::cx::{Cx, Res};
use crate::operator::bin_fn;
use crate::scope::{Names, Origin};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::method::{Ratio, Schedule, TimeExpr, Unit};
use spc_ir::{BinFn, UnFn};
use spc_syntax::ast::{BinaryOp, Expr, ExprKind, Ident, IdxKind, If, ItemKind, ShareOf, UnaryOp};
use std::collections::BTreeMap;

/// A name in scope of a schedule.
#[derive(Clone, Debug)]
pub(crate) struct Bound(pub Val);

impl Bound {
    pub fn index(n: u64) -> Bound {
        let r = i64::try_from(n).ok().map_or(Ratio::ZERO, Ratio::int);
        Bound(Val::Num(Timed::exact(r, Unit::Number)))
    }

    /// A percentage as an exact fraction.
    pub fn share(num: u64, den: u64) -> Option<Bound> {
        let r = Ratio::new(i128::from(num), i128::from(den))?;
        Some(Bound(Val::Num(Timed::exact(r, Unit::Share))))
    }

    /// A number that never changes.
    pub fn number(x: f64) -> Bound {
        let whole = (x.fract() == 0.0 && x.abs() < 9e15).then_some(x as i64);
        let expr = whole.map_or(TimeExpr::Value(x), |n| TimeExpr::Exact(Ratio::int(n)));
        Bound(Val::Num(Timed::new(expr, Unit::Number)))
    }

    /// A schedule that is known already.
    pub fn schedule(s: &Schedule) -> Bound {
        Bound(Val::Num(Timed::new(s.expr.clone(), s.unit)))
    }

    /// A parameter without a value.
    pub fn open(name: &str) -> Bound {
        Bound(Val::Num(Timed::param(name, None)))
    }
}

/// Largest schedule as data.
const MAX_NODES: usize = 20_000;

pub(crate) struct Lower<'a> {
    pub names: &'a Names<'a>,
    /// The file whose words are read.
    pub origin: Origin,
    pub env: BTreeMap<String, Bound>,
    /// Schedules and constants being inlined.
    pub stack: Vec<(Origin, String)>,
}

/// Names that mean the same in every schedule.
pub(crate) const WORDS: [&str; 7] = ["step", "steps", "progress", "pi", "inf", "true", "false"];

impl<'a> Lower<'a> {
    pub fn new(names: &'a Names<'a>, origin: Origin) -> Lower<'a> {
        Lower { names, origin, env: BTreeMap::new(), stack: Vec::new() }
    }

    pub fn bind(&mut self, name: &str, b: Bound) {
        self.env.insert(name.to_string(), b);
    }

    pub fn schedule(&mut self, cx: &mut Cx, e: &Expr) -> Res<Schedule> {
        let t = self.num(cx, e)?;
        if t.size(MAX_NODES) == MAX_NODES {
            return cx.err(codes::TOO_LARGE, e.span, "the schedule is too large", "stands for too many steps");
        }
        Ok(Schedule { expr: (*t.expr).clone(), unit: t.unit.unwrap_or(Unit::Number) })
    }

    /// An expression that is one number.
    pub fn num(&mut self, cx: &mut Cx, e: &Expr) -> Res<Timed> {
        match self.val(cx, e)? {
            Val::Num(t) => Ok(t),
            other => cx.err(codes::SCHEDULE, e.span, "a number is needed here", format!("this is {}", other.what())),
        }
    }

    fn truth(&mut self, cx: &mut Cx, e: &Expr) -> Res<Timed> {
        let t = self.num(cx, e)?;
        match t.unit {
            Some(Unit::Truth) | None => Ok(t),
            _ => cx.err(codes::SCHEDULE, e.span, "a condition is needed here", "this is no condition"),
        }
    }

    fn number(&mut self, cx: &mut Cx, e: &Expr) -> Res<Timed> {
        let t = self.num(cx, e)?;
        match t.unit {
            Some(Unit::Truth) => cx.err(codes::SCHEDULE, e.span, "a number is needed here", "this is a condition"),
            _ => Ok(t),
        }
    }

    pub fn val(&mut self, cx: &mut Cx, e: &Expr) -> Res<Val> {
        cx.spend(1, e.span)?;
        match &e.kind {
            ExprKind::Num(n) => {
                let expr = Ratio::decimal(&n.text).map_or(TimeExpr::Value(n.value), TimeExpr::Exact);
                Ok(Val::Num(Timed::new(expr, Unit::Number)))
            }
            ExprKind::Pct(p) => {
                let r = Ratio::new(i128::from(p.num), i128::from(p.den));
                let expr = r.map_or(TimeExpr::Value(p.fraction()), TimeExpr::Exact);
                Ok(Val::Num(Timed::new(expr, Unit::Share)))
            }
            ExprKind::Qty { num, unit } => {
                if !matches!(unit.as_str(), "step" | "steps") {
                    let text = format!("time counts in steps, not in {}", unit.name);
                    return cx.err(codes::SCHEDULE, e.span, text, "expected `100 steps` or `10%`");
                }
                let expr = Ratio::decimal(&num.text).map_or(TimeExpr::Value(num.value), TimeExpr::Exact);
                Ok(Val::Num(Timed::new(expr, Unit::Steps)))
            }
            ExprKind::Name(n) => self.name(cx, n),
            ExprKind::List(items) => Ok(Val::List(items.iter().map(|i| self.val(cx, i)).collect::<Res<_>>()?)),
            ExprKind::Range { from, to } => {
                let (a, b) = (self.number(cx, from)?, self.number(cx, to)?);
                let (a, b) = same_unit(cx, a, b, e.span)?;
                Ok(Val::Range(a, b))
            }
            ExprKind::Arrow { from, to } => {
                let (a, b) = (self.number(cx, from)?, self.number(cx, to)?);
                if a.unit.is_some() && b.unit.is_some() && a.unit != b.unit {
                    let text = "a change goes between two values of one kind";
                    return cx.err(codes::SCHEDULE, e.span, text, format!("{} and {}", what(&a), what(&b)));
                }
                Ok(Val::Change(a, b))
            }
            ExprKind::Share { part, of: ShareOf::Name(n) } if matches!(n.as_str(), "steps" | "run") => {
                self.val(cx, part)
            }
            ExprKind::If(i) => self.branch(cx, i, e.span),
            ExprKind::Unary { op: UnaryOp::Neg, arg } => Ok(Val::Num(Timed::un(UnFn::Neg, &self.number(cx, arg)?))),
            ExprKind::Unary { op: UnaryOp::Not, arg } => Ok(Val::Num(Timed::un(UnFn::Not, &self.truth(cx, arg)?))),
            ExprKind::Binary { op, lhs, rhs, op_span } => self.binary(cx, *op, lhs, rhs, *op_span),
            ExprKind::Member { base, name } => self.member(cx, base, name),
            ExprKind::Index { base, idx } => {
                let [spc_syntax::ast::Idx { kind: IdxKind::Expr(i), .. }] = idx.as_slice() else {
                    return cx.err(codes::SCHEDULE, e.span, "one index is needed", "here");
                };
                self.index(cx, base, i, e.span)
            }
            ExprKind::Call { callee, args } => self.call(cx, callee, args, e.span),
            _ => cx.report(
                Diagnostic::error(codes::SCHEDULE, "this cannot stand in a schedule")
                    .at(e.span, "not a function of time")
                    .help("a schedule is an expression over `step`, `steps` and `progress`"),
            ),
        }
    }

    fn name(&mut self, cx: &mut Cx, n: &Ident) -> Res<Val> {
        if let Some(Bound(v)) = self.env.get(n.as_str()) {
            return Ok(v.clone());
        }
        Ok(Val::Num(match n.as_str() {
            "step" => Timed::new(TimeExpr::Step, Unit::Steps),
            "steps" => Timed::new(TimeExpr::Steps, Unit::Steps),
            "progress" => Timed::new(TimeExpr::Progress, Unit::Share),
            "pi" => Timed::new(TimeExpr::Value(std::f64::consts::PI), Unit::Number),
            "inf" => Timed::new(TimeExpr::Value(f64::INFINITY), Unit::Number),
            "true" => Timed::exact(Ratio::ONE, Unit::Truth),
            "false" => Timed::exact(Ratio::ZERO, Unit::Truth),
            _ => return self.item(cx, n),
        }))
    }

    /// A constant, or a schedule without parameters.
    fn item(&mut self, cx: &mut Cx, n: &Ident) -> Res<Val> {
        match self.names.find(&self.origin, n.as_str()) {
            Some((origin, ItemKind::Const(c))) => {
                let value = &c.value;
                self.inside(cx, origin, n, BTreeMap::new(), |l, cx| l.val(cx, value))
            }
            _ => self.call(cx, &Expr { kind: ExprKind::Name(n.clone()), span: n.span }, &[], n.span),
        }
    }

    /// Reads words of another item, with other names in scope.
    pub fn inside<T>(
        &mut self,
        cx: &mut Cx,
        origin: Origin,
        name: &Ident,
        env: BTreeMap<String, Bound>,
        f: impl FnOnce(&mut Lower<'a>, &mut Cx) -> Res<T>,
    ) -> Res<T> {
        let key = (origin.clone(), name.name.clone());
        if self.stack.contains(&key) || self.stack.len() > 64 {
            let text = format!("`{}` is defined by itself", name.name);
            return cx.err(codes::RECURSION, name.span, text, "refers to itself, directly or through others");
        }
        self.stack.push(key);
        let origin = std::mem::replace(&mut self.origin, origin);
        let env = std::mem::replace(&mut self.env, env);
        let out = f(self, cx);
        self.origin = origin;
        self.env = env;
        self.stack.pop();
        out
    }

    fn branch(&mut self, cx: &mut Cx, i: &If, span: Span) -> Res<Val> {
        let mut arms = Vec::new();
        for arm in &i.arms {
            let c = self.truth(cx, &arm.cond)?;
            match c.constant() {
                // A branch that is never taken is not read further: `if l < 8 { TABLE[l] } else { 1 }`.
                Some(0.0) => {}
                Some(_) => return self.join(cx, arms, &arm.value, span),
                None => arms.push((c, self.number(cx, &arm.value)?)),
            }
        }
        self.join(cx, arms, &i.otherwise, span)
    }

    fn join(&mut self, cx: &mut Cx, arms: Vec<(Timed, Timed)>, last: &Expr, span: Span) -> Res<Val> {
        if arms.is_empty() {
            return self.val(cx, last);
        }
        let mut out = self.number(cx, last)?;
        for (c, v) in arms.into_iter().rev() {
            let (a, b) = same_unit(cx, v, out, span)?;
            out = Timed::pick(&c, &a, &b, a.unit.or(b.unit));
        }
        Ok(Val::Num(out))
    }

    fn binary(&mut self, cx: &mut Cx, op: BinaryOp, lhs: &Expr, rhs: &Expr, span: Span) -> Res<Val> {
        let f = match op {
            BinaryOp::Or | BinaryOp::And => {
                let (f, decided) = if op == BinaryOp::Or { (BinFn::Or, 1.0) } else { (BinFn::And, 0.0) };
                let a = self.truth(cx, lhs)?;
                if a.constant() == Some(decided) {
                    return Ok(Val::Num(a));
                }
                let b = self.truth(cx, rhs)?;
                return Ok(Val::Num(Timed::bin(f, &a, &b, Some(Unit::Truth))));
            }
            _ => match bin_fn(op) {
                Some(f) => f,
                None => return cx.err(codes::SCHEDULE, span, "`&` joins groups, not numbers", "write `&&`"),
            },
        };
        let (a, b) = (self.number(cx, lhs)?, self.number(cx, rhs)?);
        arithmetic(cx, f, a, b, span).map(Val::Num)
    }

    fn member(&mut self, cx: &mut Cx, base: &Expr, name: &Ident) -> Res<Val> {
        let v = self.val(cx, base)?;
        match (&v, name.as_str()) {
            (Val::Range(a, _) | Val::Change(a, _), "from") => Ok(Val::Num(a.clone())),
            (Val::Range(_, b) | Val::Change(_, b), "to") => Ok(Val::Num(b.clone())),
            (Val::Range(..) | Val::Change(..), _) => cx.unknown(name.span, "member", &name.name, ["from", "to"]),
            _ => cx.err(codes::UNKNOWN_MEMBER, name.span, format!("{} has no members", v.what()), "not a member"),
        }
    }

    fn index(&mut self, cx: &mut Cx, base: &Expr, i: &Expr, span: Span) -> Res<Val> {
        let at = self.number(cx, i)?;
        // `active[l]`: a schedule with an index.
        if let ExprKind::Name(n) = &base.kind
            && !self.env.contains_key(n.as_str())
            && let Some((origin, ItemKind::Schedule(s))) = self.names.find(&self.origin, n.as_str())
        {
            let [b] = s.binder.as_slice() else {
                return cx.err(codes::SCHEDULE, span, format!("`{}` takes no index", n.name), "not indexed");
            };
            let env = BTreeMap::from([(b.index.name.clone(), Bound(Val::Num(at)))]);
            return self.inside(cx, origin, n, env, |l, cx| l.val(cx, &s.value));
        }
        let list = match self.val(cx, base)? {
            Val::List(list) => list,
            // A parameter in a check of a definition.
            Val::Num(t) if t.unit.is_none() => return Ok(Val::Num(t)),
            other => return cx.err(codes::SCHEDULE, base.span, "only a list is indexed", other.what()),
        };
        match (at.int(), at.expr.is_constant()) {
            (Some(n), _) => match usize::try_from(n).ok().and_then(|n| list.get(n)) {
                Some(v) => Ok(v.clone()),
                None => {
                    let text = format!("the list has {} entries, numbered from 0", list.len());
                    cx.err(codes::INDEX, i.span, text, format!("entry {n} is not there"))
                }
            },
            (None, false) if matches!(&*at.expr, TimeExpr::Param(_)) => Ok(Val::Num(Timed::param("entry", None))),
            _ => cx.err(codes::SCHEDULE, i.span, "an index of a list is a whole number", "not one"),
        }
    }
}

pub(crate) fn what(t: &Timed) -> &'static str {
    Val::Num(t.clone()).what()
}

/// Both sides in one unit: a share of the run and a number of steps meet as steps. Nothing is nothing in any unit.
pub(crate) fn same_unit(cx: &mut Cx, a: Timed, b: Timed, span: Span) -> Res<(Timed, Timed)> {
    let steps = |t: &Timed| {
        let length = Timed::new(TimeExpr::Steps, Unit::Steps);
        Timed::bin(BinFn::Mul, t, &length, Some(Unit::Steps))
    };
    // `progress` of a run in steps is the step itself.
    let as_steps = |t: &Timed| match &*t.expr {
        TimeExpr::Progress => Timed::new(TimeExpr::Step, Unit::Steps),
        _ => steps(t),
    };
    match (a.unit, b.unit) {
        (None, _) | (_, None) => Ok((a, b)),
        (x, y) if x == y => Ok((a, b)),
        _ if a.is_zero() => Ok((Timed { unit: b.unit, ..a }, b)),
        _ if b.is_zero() => Ok((Timed { unit: a.unit, ..a.clone() }, Timed { unit: a.unit, ..b })),
        (Some(Unit::Share), Some(Unit::Steps)) => Ok((as_steps(&a), b)),
        (Some(Unit::Steps), Some(Unit::Share)) => {
            let b = as_steps(&b);
            Ok((a, b))
        }
        // A bare number next to steps counts steps; next to a share it is the share: `progress <= 1`.
        (Some(Unit::Number), Some(Unit::Steps | Unit::Share)) => Ok((Timed { unit: b.unit, ..a }, b)),
        (Some(Unit::Steps | Unit::Share), Some(Unit::Number)) => Ok((a.clone(), Timed { unit: a.unit, ..b })),
        _ => cx.err(
            codes::SCHEDULE,
            span,
            "the two sides do not count the same",
            format!("{} and {}", what(&a), what(&b)),
        ),
    }
}

/// `+ - * / ^`, comparisons, `min` and `max` with their units.
pub(crate) fn arithmetic(cx: &mut Cx, f: BinFn, a: Timed, b: Timed, span: Span) -> Res<Timed> {
    match f {
        BinFn::Mul => {
            let unit = match (a.unit, b.unit) {
                (Some(Unit::Share), Some(Unit::Share)) => Some(Unit::Share),
                (Some(Unit::Number), u) | (u, Some(Unit::Number)) => u,
                (Some(Unit::Share), u) | (u, Some(Unit::Share)) => u,
                (u, None) | (None, u) => u,
                _ => Some(Unit::Number),
            };
            Ok(Timed::bin(f, &a, &b, unit))
        }
        BinFn::Div => {
            if b.unit == Some(Unit::Number) {
                let unit = a.unit;
                return Ok(Timed::bin(f, &a, &b, unit));
            }
            let (a, b) = same_unit(cx, a, b, span)?;
            Ok(Timed::bin(f, &a, &b, Some(Unit::Number)))
        }
        BinFn::Pow => {
            let unit = a.unit;
            Ok(Timed::bin(f, &a, &b, unit))
        }
        _ => {
            let (a, b) = same_unit(cx, a, b, span)?;
            let unit = if f.is_comparison() { Some(Unit::Truth) } else { a.unit.or(b.unit) };
            Ok(Timed::bin(f, &a, &b, unit))
        }
    }
}
