//! `schedule` items, used or not.
use super::call::{KINDS, kind};
use super::expr::{Bound, Lower};
use super::value::{Timed, Val};
use crate::cx::{Cx, Res};
use crate::scope::{Names, Origin};
use spc_base::codes;
use spc_ir::method::Unit;
use spc_syntax::ast::{Ast, Expr, ExprKind, ItemKind, Param, ScheduleItem, TrainStmt};

/// Checks every `schedule` item of the root file.
pub fn check_schedules(cx: &mut Cx, names: &Names<'_>, ast: &Ast) {
    for item in &ast.items {
        if let ItemKind::Schedule(s) = &item.kind {
            let _ = check_schedule(cx, names, &None, s);
        }
    }
}

/// Checks one definition with its parameters left open.
pub(crate) fn check_schedule(cx: &mut Cx, names: &Names<'_>, origin: &Origin, s: &ScheduleItem) -> Res<()> {
    let mut l = Lower::new(names, origin.clone());
    for p in s.params.iter().flatten() {
        let v = open(cx, p)?;
        if let Some(d) = &p.default {
            l.val(cx, d)?;
        }
        l.bind(&p.name.name, Bound(v));
    }
    for b in &s.binder {
        l.bind(&b.index.name, Bound(Val::Num(Timed::param(&b.index.name, Some(Unit::Number)))));
    }
    let value = &s.value;
    let env = std::mem::take(&mut l.env);
    l.inside(cx, origin.clone(), &s.name, env, |l, cx| l.schedule(cx, value)).map(|_| ())
}

/// A parameter without a value.
pub(crate) fn open(cx: &mut Cx, p: &Param) -> Res<Val> {
    let num = |unit| Timed::param(&p.name.name, unit);
    Ok(match kind(p) {
        Some("range") => Val::Range(num(Some(Unit::Share)), num(Some(Unit::Share))),
        Some("change") => Val::Change(num(None), num(None)),
        Some("f32" | "int") => Val::Num(num(Some(Unit::Number))),
        Some("pct") => Val::Num(num(Some(Unit::Share))),
        Some("time" | "number" | "amount" | "schedule") => Val::Num(num(None)),
        Some(other) => {
            let span = p.ty.as_ref().map_or(p.span, |t| t.span);
            return cx.unknown(span, "kind of parameter", other, KINDS);
        }
        None => {
            let text = format!("the parameter `{}` of a schedule says its kind", p.name.name);
            return cx.err(codes::WRONG_KIND, p.span, text, "expected for example `: f32`");
        }
    })
}

/// The length of the run in steps, when the file's only `train` gives it as a plain number.
pub fn length(ast: &Ast) -> Option<u64> {
    let mut trains = ast.items.iter().filter_map(|i| if let ItemKind::Train(t) = &i.kind { Some(t) } else { None });
    let (Some(train), None) = (trains.next(), trains.next()) else { return None };
    train.body.iter().find_map(|s| match s {
        TrainStmt::Setting(s) if s.name.as_str() == "steps" => count(&s.value),
        _ => None,
    })
}

/// `2000` or `2000 steps`.
pub(crate) fn count(e: &Expr) -> Option<u64> {
    match &e.kind {
        ExprKind::Qty { num, unit } if matches!(unit.as_str(), "step" | "steps") => num.int,
        _ => e.as_int(),
    }
    .filter(|n| *n > 0)
}
