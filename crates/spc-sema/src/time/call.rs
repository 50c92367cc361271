//! Calls inside schedules: functions of numbers, the shapes that take lists, and schedule items.
use super::expr::{Bound, Lower, WORDS, arithmetic, same_unit, what};
use super::value::{Timed, Val};
use crate::cx::{Cx, Res};
use crate::scope::Origin;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::method::{Ratio, TimeExpr, Unit};
use spc_ir::{BinFn, UnFn};
use spc_syntax::ast::{Arg, Expr, ExprKind, Ident, ItemKind, Param, ScheduleItem, TypeKind};
use std::collections::BTreeMap;

/// Functions of numbers.
const FUNCTIONS: [&str; 13] =
    ["abs", "floor", "sqrt", "log", "sin", "cos", "min", "max", "clip", "pow", "exp", "round", "ceil"];
/// Shapes that take lists.
const LISTS: [&str; 3] = ["steps", "ladder", "halving"];
/// Longest ladder.
const MAX_RUNGS: usize = 64;

impl<'a> Lower<'a> {
    pub fn call(&mut self, cx: &mut Cx, callee: &Expr, args: &[Arg], span: Span) -> Res<Val> {
        for a in args {
            if !a.is_plain() {
                return cx.err(codes::SCHEDULE, a.span, "this cannot stand in a schedule", "expected a plain argument");
            }
        }
        let (found, name) = match &callee.kind {
            ExprKind::Name(n) => (self.names.find(&self.origin, n.as_str()), n),
            ExprKind::Member { base, name } => {
                let module = base.as_name().map(|n| n.name.clone()).unwrap_or_default();
                (self.names.find_member(&module, name.as_str()), name)
            }
            _ => return cx.err(codes::SCHEDULE, callee.span, "this is no schedule", "a name is needed"),
        };
        if let Some((origin, ItemKind::Schedule(s))) = found {
            return self.apply(cx, origin, s, name, args, span);
        }
        let builtin = callee.as_name().is_some() && found.is_none();
        if builtin && LISTS.contains(&name.as_str()) {
            return self.list(cx, name, args, span);
        }
        // `exp(100% -> 20%)` is the schedule, `exp(x)` the function.
        let changes = || args.iter().any(|a| matches!(a.value.kind, ExprKind::Arrow { .. }));
        let is_function =
            FUNCTIONS.contains(&name.as_str()) && !(name.as_str() == "exp" && (changes() || args.len() > 1));
        if builtin && is_function {
            return self.function(cx, name, args, span);
        }
        if builtin && let Some(ItemKind::Schedule(s)) = self.names.lib.item("schedule", name.as_str()) {
            return self.apply(cx, Some("schedule".into()), s, name, args, span);
        }
        let own = self.names.lib.names("schedule");
        let known: Vec<&str> = match &self.origin {
            None => self.names.known(),
            Some(m) => self.names.lib.names(m),
        };
        let bound: Vec<String> = self.env.keys().cloned().collect();
        let all = known.into_iter().chain(own).chain(FUNCTIONS).chain(LISTS).chain(WORDS);
        cx.unknown(name.span, "schedule", &name.name, all.chain(bound.iter().map(String::as_str)))
    }

    fn positional(&mut self, cx: &mut Cx, name: &Ident, args: &[Arg], span: Span, n: usize) -> Res<Vec<Timed>> {
        if args.len() != n || args.iter().any(|a| a.label.is_some()) {
            let text = format!("`{}` takes {n} argument{}", name.name, if n == 1 { "" } else { "s" });
            return cx.err(codes::ARGUMENT, span, text, format!("{} given", args.len()));
        }
        let mut out = Vec::new();
        for a in args {
            let t = self.num(cx, &a.value)?;
            if t.unit == Some(Unit::Truth) {
                return cx.err(codes::SCHEDULE, a.span, "a number is needed here", "this is a condition");
            }
            out.push(t);
        }
        Ok(out)
    }

    fn function(&mut self, cx: &mut Cx, name: &Ident, args: &[Arg], span: Span) -> Res<Val> {
        let bare = |t: Timed| Timed { unit: Some(Unit::Number), ..t };
        Ok(Val::Num(match name.as_str() {
            f @ ("min" | "max" | "pow") => {
                let a = self.positional(cx, name, args, span, 2)?;
                let f = BinFn::from_name(f).unwrap_or(BinFn::Max);
                arithmetic(cx, f, a[0].clone(), a[1].clone(), span)?
            }
            "clip" => {
                let a = self.positional(cx, name, args, span, 3)?;
                let low = arithmetic(cx, BinFn::Max, a[0].clone(), a[1].clone(), span)?;
                arithmetic(cx, BinFn::Min, low, a[2].clone(), span)?
            }
            "round" => {
                let a = self.positional(cx, name, args, span, 1)?;
                let half = Timed::exact(Ratio::new(1, 2).unwrap_or(Ratio::ZERO), Unit::Number);
                Timed::un(UnFn::Floor, &arithmetic(cx, BinFn::Add, a[0].clone(), half, span)?)
            }
            "ceil" => {
                let a = self.positional(cx, name, args, span, 1)?;
                Timed::un(UnFn::Neg, &Timed::un(UnFn::Floor, &Timed::un(UnFn::Neg, &a[0])))
            }
            f => {
                let a = self.positional(cx, name, args, span, 1)?;
                let f = UnFn::from_name(f).unwrap_or(UnFn::Abs);
                let out = Timed::un(f, &a[0]);
                if matches!(f, UnFn::Abs | UnFn::Floor) { out } else { bare(out) }
            }
        }))
    }

    fn list(&mut self, cx: &mut Cx, name: &Ident, args: &[Arg], span: Span) -> Res<Val> {
        match name.as_str() {
            "halving" => self.halving(cx, name, args, span),
            "ladder" => self.ladder(cx, args, span),
            _ => self.steps(cx, args, span),
        }
    }

    /// a, a/2, .. as long as it stays above b, then b.
    fn halving(&mut self, cx: &mut Cx, name: &Ident, args: &[Arg], span: Span) -> Res<Val> {
        let ab = self.positional(cx, name, args, span, 2)?;
        let (Some(from), Some(to)) = (ab[0].int_floor(), ab[1].int()) else {
            if ab.iter().any(|t| matches!(&*t.expr, TimeExpr::Param(_)) || t.unit.is_none()) {
                return Ok(Val::List(vec![Val::Num(ab[1].clone())]));
            }
            return cx.err(codes::SCHEDULE, span, "`halving` takes two numbers that never change", "here");
        };
        if from < to || to < 1 {
            let text = "`halving` goes from a greater number down to one of at least 1";
            return cx.err(codes::SCHEDULE, span, text, format!("from {from} to {to}"));
        }
        let mut rungs = Vec::new();
        let mut at = from;
        while at > to {
            rungs.push(Val::Num(Timed::exact(Ratio::int(at), Unit::Number)));
            at /= 2;
        }
        rungs.push(Val::Num(Timed::exact(Ratio::int(to), Unit::Number)));
        Ok(Val::List(rungs))
    }

    /// `ladder(a, [b, c], window)`: each rung for an equal share of the window; the last from its end on.
    fn ladder(&mut self, cx: &mut Cx, args: &[Arg], span: Span) -> Res<Val> {
        let zero = Timed::exact(Ratio::ZERO, Unit::Share);
        let mut window = (zero, Timed::exact(Ratio::ONE, Unit::Share));
        let mut rungs = Vec::new();
        for a in args {
            match self.val(cx, &a.value)? {
                Val::Range(from, to) => window = (from, to),
                Val::Num(t) => rungs.push(t),
                Val::List(items) => {
                    for i in items {
                        match i {
                            Val::Num(t) => rungs.push(t),
                            other => return cx.err(codes::SCHEDULE, a.span, "a rung is a number", other.what()),
                        }
                    }
                }
                other => return cx.err(codes::SCHEDULE, a.span, "a rung is a number", other.what()),
            }
        }
        let n = rungs.len();
        let Some(last) = rungs.last().filter(|_| n <= MAX_RUNGS) else {
            let text = format!("a ladder has 1 to {MAX_RUNGS} rungs");
            return cx.err(codes::SCHEDULE, span, text, format!("{n} rungs"));
        };
        // Rung i ends at from + (to - from) (i + 1) / n.
        let mut out = last.clone();
        let width = arithmetic(cx, BinFn::Sub, window.1.clone(), window.0.clone(), span)?;
        for i in (0..n - 1).rev() {
            let part = Ratio::new(i as i128 + 1, n as i128).unwrap_or(Ratio::ONE);
            let part = arithmetic(cx, BinFn::Mul, width.clone(), Timed::exact(part, Unit::Number), span)?;
            let end = arithmetic(cx, BinFn::Add, window.0.clone(), part, span)?;
            out = self.before(cx, &end, &rungs[i], &out, span)?;
        }
        Ok(Val::Num(out))
    }

    /// `steps([a, b, c], at: [20%, 60%])`
    fn steps(&mut self, cx: &mut Cx, args: &[Arg], span: Span) -> Res<Val> {
        let [values, times] = args else {
            return cx.err(
                codes::ARGUMENT,
                span,
                "`steps` takes values and times",
                "expected `steps([a, b], at: [20%])`",
            );
        };
        let (Val::List(values), Val::List(times)) = (self.val(cx, &values.value)?, self.val(cx, &times.value)?) else {
            return cx.err(codes::ARGUMENT, span, "`steps` takes two lists", "expected `steps([a, b], at: [20%])`");
        };
        if values.len() != times.len() + 1 || values.len() > MAX_RUNGS {
            let text = "`steps` takes one value more than times";
            return cx.err(codes::ARGUMENT, span, text, format!("{} values, {} times", values.len(), times.len()));
        }
        let mut nums = Vec::new();
        for v in values.iter().chain(&times) {
            match v {
                Val::Num(t) => nums.push(t.clone()),
                other => return cx.err(codes::SCHEDULE, span, "the entries are numbers", other.what()),
            }
        }
        let (values, times) = nums.split_at(values.len());
        let late: Vec<f64> = times.iter().filter_map(Timed::constant).collect();
        if late.windows(2).any(|w| w[0] >= w[1]) {
            return cx.err(codes::SCHEDULE, span, "the times of `steps` ascend", "out of order");
        }
        let mut out = values[times.len()].clone();
        for (v, t) in values.iter().zip(times).rev() {
            out = self.before(cx, t, v, &out, span)?;
        }
        Ok(Val::Num(out))
    }

    /// `if progress < time { early } else { late }`
    fn before(&mut self, cx: &mut Cx, time: &Timed, early: &Timed, late: &Timed, span: Span) -> Res<Timed> {
        let now = Timed::new(TimeExpr::Progress, Unit::Share);
        let c = arithmetic(cx, BinFn::Lt, now, time.clone(), span)?;
        let (a, b) = same_unit(cx, early.clone(), late.clone(), span)?;
        Ok(Timed::pick(&c, &a, &b, a.unit.or(b.unit)))
    }

    /// A schedule item with arguments.
    fn apply(
        &mut self,
        cx: &mut Cx,
        origin: Origin,
        s: &'a ScheduleItem,
        name: &Ident,
        args: &[Arg],
        span: Span,
    ) -> Res<Val> {
        if !s.binder.is_empty() {
            let text = format!("`{}` takes an index in brackets", name.name);
            return cx.err(
                codes::SCHEDULE,
                span,
                text,
                format!("expected `{}[{}]`", name.name, s.binder[0].index.name),
            );
        }
        let params = s.params.as_deref().unwrap_or_default();
        let mut given: BTreeMap<String, Bound> = BTreeMap::new();
        let mut position = 0;
        for a in args {
            let param = match &a.label {
                Some(l) => params.iter().find(|p| p.name.name == l.name),
                None => {
                    position += 1;
                    params.get(position - 1)
                }
            };
            let Some(p) = param else {
                let list = params.iter().map(|p| p.name.name.as_str()).collect::<Vec<_>>().join(", ");
                return cx.report(
                    Diagnostic::error(codes::ARGUMENT, format!("`{}` has no such parameter", name.name))
                        .at(a.span, "one too many, or an unknown name")
                        .help(format!("its parameters are: {list}")),
                );
            };
            let v = self.val(cx, &a.value)?;
            fits(cx, p, &v, a.value.span)?;
            if given.insert(p.name.name.clone(), Bound(v)).is_some() {
                return cx.err(codes::ARGUMENT, a.span, format!("`{}` is given twice", p.name.name), "again here");
            }
        }
        for p in params.iter().filter(|p| !args.is_empty() || p.default.is_some()) {
            if given.contains_key(&p.name.name) {
                continue;
            }
            let Some(d) = &p.default else {
                let text = format!("`{}` needs `{}`", name.name, p.name.name);
                return cx.err(codes::ARGUMENT, span, text, "an argument is missing");
            };
            let v = self.inside(cx, origin.clone(), name, BTreeMap::new(), |l, cx| l.val(cx, d))?;
            given.insert(p.name.name.clone(), Bound(v));
        }
        if let Some(p) = params.iter().find(|p| !given.contains_key(&p.name.name)) {
            let text = format!("`{}` needs `{}`", name.name, p.name.name);
            return cx.err(codes::ARGUMENT, span, text, "an argument is missing");
        }
        self.inside(cx, origin, name, given, |l, cx| l.val(cx, &s.value))
    }
}

impl Timed {
    /// The number rounded down, when it never changes: `m / 2` for an odd m too.
    fn int_floor(&self) -> Option<i64> {
        match &*self.expr {
            TimeExpr::Exact(r) => Some(r.floor().num()),
            _ => None,
        }
    }
}

/// The words that a parameter's type may be.
pub(crate) const KINDS: [&str; 9] = ["f32", "number", "int", "pct", "amount", "time", "range", "change", "schedule"];

pub(crate) fn kind(p: &Param) -> Option<&str> {
    match p.ty.as_ref().map(|t| &t.kind) {
        Some(TypeKind::Named { name, shape: None, .. }) => Some(name.as_str()),
        _ => None,
    }
}

/// Whether a value can be given for a parameter.
fn fits(cx: &mut Cx, p: &Param, v: &Val, span: Span) -> Res<()> {
    let wrong = |cx: &mut Cx, need: &str| {
        let text = format!("`{}` is {need}", p.name.name);
        cx.err(codes::WRONG_KIND, span, text, format!("this is {}", v.what()))
    };
    match (kind(p), v) {
        (Some("range"), Val::Range(..)) | (Some("change"), Val::Change(..)) => Ok(()),
        (Some("range"), _) => wrong(cx, "a range such as `10%..80%`"),
        (Some("change"), _) => wrong(cx, "a change such as `100% -> 20%`"),
        (Some("int"), Val::Num(t)) if t.constant().is_some_and(|n| n.fract() != 0.0) => wrong(cx, "a whole number"),
        (Some("f32" | "int"), Val::Num(t)) if matches!(t.unit, Some(Unit::Truth)) => wrong(cx, "a number"),
        (Some("pct"), Val::Num(t)) if !matches!(t.unit, Some(Unit::Share) | None) => {
            let found = what(t);
            let text = format!("`{}` is a percentage", p.name.name);
            cx.err(codes::WRONG_KIND, span, text, format!("this is {found}"))
        }
        (_, Val::Num(_)) => Ok(()),
        (None, _) => Ok(()),
        _ => wrong(cx, "a number"),
    }
}
