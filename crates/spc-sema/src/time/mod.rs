//! Time: what a schedule is worth at a moment of a run.
//!
//! [`lower`] turns an expression over `step`, `steps` and `progress` into plain data; [`at`] evaluates one. Schedules of
//! the program, of `std.schedule` (in scope everywhere) and constants are inlined, so the data refers to no name.

mod call;
mod expr;
mod items;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use items::count;
pub use items::{check_schedules, length};

use crate::cx::{Cx, Res};
use crate::scope::Names;
use expr::Lower;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::method::{Moment, Quantity, Schedule};
use spc_syntax::ast::Expr;

pub(crate) use expr::Bound;

/// The schedule that an expression of the root file stands for.
pub fn lower(cx: &mut Cx, names: &Names<'_>, e: &Expr) -> Res<Schedule> {
    lower_with(cx, names, e, &[])
}

/// As [`lower`], with whole numbers for names that stand for an index: `active[l]` for a given `l`.
pub fn lower_with(cx: &mut Cx, names: &Names<'_>, e: &Expr, indices: &[(&str, u64)]) -> Res<Schedule> {
    let mut l = Lower::new(names, None);
    for (name, value) in indices {
        l.bind(name, Bound::index(*value));
    }
    l.schedule(cx, e)
}

/// The value of an expression of the root file at a moment. At the end of a run, [`Moment::END`], and at a share of it no
/// length is needed unless the expression reads `step` or `steps`, or mixes steps with shares.
pub fn at(cx: &mut Cx, names: &Names<'_>, e: &Expr, moment: Moment) -> Res<Quantity> {
    at_with(cx, names, e, moment, &[])
}

/// As [`at`], with whole numbers for names that stand for an index.
pub fn at_with(cx: &mut Cx, names: &Names<'_>, e: &Expr, moment: Moment, indices: &[(&str, u64)]) -> Res<Quantity> {
    let s = lower_with(cx, names, e, indices)?;
    value(cx, &s, moment, e.span)
}

/// The value of a schedule at a moment; `span` is what to blame when a length is missing.
pub fn value(cx: &mut Cx, s: &Schedule, moment: Moment, span: Span) -> Res<Quantity> {
    match s.at(&moment) {
        Ok(q) if q.value.is_nan() => cx.err(codes::SCHEDULE, span, "this schedule has no value there", "not a number"),
        Ok(q) => Ok(q),
        Err(_) => cx.report(
            Diagnostic::error(codes::NO_LENGTH, "the length of the run is not known here")
                .at(span, "reads a number of steps")
                .help("write the time as a percentage of the run, or give the length: `train { steps: N }`"),
        ),
    }
}

/// Warns when a constraint keeps less at some moment of the run than at its end.
pub fn warn_loosened(cx: &mut Cx, s: &Schedule, span: Span) {
    if s.is_loosened_at_the_end() {
        let text = "the amount at the end of the run is not the tightest";
        cx.diags.push(
            Diagnostic::warning(codes::LOOSENED, text)
                .at(span, "keeps less at an earlier moment")
                .help("what is deployed is the value at the end"),
        );
    }
}

/// The schedule that an expression of a file stands for.
pub(crate) fn lower_in(cx: &mut Cx, names: &Names<'_>, origin: &crate::scope::Origin, e: &Expr) -> Res<Schedule> {
    Lower::new(names, origin.clone()).schedule(cx, e)
}

/// As [`lower_in`], with more names in scope.
pub(crate) fn lower_bound(
    cx: &mut Cx,
    names: &Names<'_>,
    origin: &crate::scope::Origin,
    e: &Expr,
    env: impl IntoIterator<Item = (String, Bound)>,
) -> Res<Schedule> {
    let mut l = Lower::new(names, origin.clone());
    l.env.extend(env);
    l.schedule(cx, e)
}
