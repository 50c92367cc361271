//! Definitions checked on their own, and uses: `via sr_ste(lambda: ..)`, `2e-3 * mcp(0.5) of neuron via prox`.
use super::expr::Elab;
use super::params::{argument, given};
use super::penalty::{Call, callee, find, penalty, split};
use super::update::update;
use crate::cx::{Cx, Res};
use crate::scope::{Names, Origin};
use crate::time;
use spc_base::{Diagnostic, codes};
use spc_ir::method::{Body, Compute, Guard, Input, Kind, Lift, Metric, Penalty, Space, Target, Update, Value, Via};
use spc_ir::{BinFn, ScalarExpr};
use spc_syntax::ast::{Arg, Ast, Expr, ExprKind, ItemKind, PenalizeItem, ScoreItem, TypeKind, UnaryOp, UpdateItem};

/// Checks every `update`, `penalty` and `score` item of the root file.
pub fn check_methods(cx: &mut Cx, names: &Names<'_>, ast: &Ast) {
    for item in &ast.items {
        let _ = check_item(cx, names, &None, &item.kind);
    }
}

/// Checks one definition with its parameters left open; nothing for other items.
pub(crate) fn check_item(cx: &mut Cx, names: &Names<'_>, origin: &Origin, item: &ItemKind) -> Res<()> {
    match item {
        ItemKind::Update(u) => {
            defaults(cx, names, origin, &u.params)?;
            update(cx, names, origin, u, None).map(|_| ())
        }
        ItemKind::Penalty(p) => {
            defaults(cx, names, origin, &p.params)?;
            let call = Call { origin: origin.clone(), item: p, given: None };
            penalty(cx, names, &call, Lift::Groups).map(|_| ())
        }
        ItemKind::Score(s) if scores_weights(s) => score(cx, names, origin, s),
        _ => Ok(()),
    }
}

/// Defaults of parameters, and that each has a known kind.
fn defaults(cx: &mut Cx, names: &Names<'_>, origin: &Origin, params: &[spc_syntax::ast::Param]) -> Res<()> {
    for p in params {
        let k = super::params::kind(cx, p)?;
        if let Some(d) = &p.default {
            let g = argument(cx, names, origin, d, k)?;
            let mut e = Elab::new(names, origin.clone());
            e.bind(cx, std::slice::from_ref(p), Some(&[(p.name.name.clone(), g)].into()))?;
        }
    }
    Ok(())
}

/// A score of weights, `abs(w) * input_norm(x)`; scores of other tensors are functions.
pub(crate) fn scores_weights(s: &ScoreItem) -> bool {
    let is_data = |t: &TypeKind| matches!(t, TypeKind::Named { name, shape: None, .. } if super::params::KINDS.contains(&name.as_str()));
    s.sig.results.is_none()
        && matches!(s.sig.body, spc_syntax::ast::Body::Expr(_))
        && s.sig.params.iter().all(|p| p.ty.as_ref().is_some_and(|t| is_data(&t.kind)))
}

fn score(cx: &mut Cx, names: &Names<'_>, origin: &Origin, s: &ScoreItem) -> Res<()> {
    let spc_syntax::ast::Body::Expr(value) = &s.sig.body else { return Ok(()) };
    let mut e = Elab::new(names, origin.clone());
    e.bind(cx, &s.sig.params, None)?;
    for (word, input) in [("w", Input::Weight), ("g", Input::Grad)] {
        let x = e.b.input(input, Space::Element, Kind::Float);
        e.vars.insert(word.into(), x);
    }
    let x = e.float(cx, value)?;
    e.b.result(cx, Target::Result, &x, value.span)
}

/// The update that `via UPDATE` names, on the constraint that the clause stands in.
pub fn resolve_update(cx: &mut Cx, names: &Names<'_>, e: &Expr) -> Res<Update> {
    let (f, args) = callee(e);
    let (origin, item) = find_update(cx, names, f)?;
    let mut user = |cx: &mut Cx, e: &Expr, kind: &str| argument(cx, names, &None, e, kind);
    let values = given(cx, names, (&item.name, &origin, &item.params), args, e.span, &mut user, true)?;
    let u = update(cx, names, &origin, item, Some(&values))?;
    verify(cx, e, &u.bodies())?;
    Ok(u)
}

fn find_update<'a>(cx: &mut Cx, names: &Names<'a>, f: &Expr) -> Res<(Origin, &'a UpdateItem)> {
    let (found, name) = match &f.kind {
        ExprKind::Name(n) => (names.find(&None, n.as_str()), n),
        ExprKind::Member { base, name } => {
            let module = base.as_name().map(|n| n.name.clone()).unwrap_or_default();
            (names.find_member(&module, name.as_str()), name)
        }
        _ => return cx.err(codes::WRONG_KIND, f.span, "this is no update", "the name of an update is needed"),
    };
    match found {
        Some((origin, ItemKind::Update(u))) => Ok((origin, u)),
        Some((_, other)) => {
            let text = format!("`{}` is a {}, not an update", name.name, other.word());
            cx.err(codes::WRONG_KIND, name.span, text, "an update is needed here")
        }
        None => {
            let mut d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no update `{}`", name.name))
                .at(name.span, "no update of this name");
            let known = names.known().into_iter().chain(names.lib.names("updates"));
            if names.lib.item("updates", name.as_str()).is_some() {
                d = d.help(format!("add `use std.updates.{}`", name.name));
            } else if let Some(near) = crate::cx::closest(name.as_str(), known) {
                d = d.help(format!("did you mean `{near}`?")).fix(name.span, near);
            }
            cx.report(d)
        }
    }
}

/// A penalty with a number before it, `2e-3 * mcp(0.5)`, on groups lifted like this.
pub fn resolve_penalty(cx: &mut Cx, names: &Names<'_>, e: &Expr, lift: Lift) -> Res<Penalty> {
    let (call, factors) = split(cx, names, &None, e)?;
    let (f, args) = callee(call);
    let (origin, item) = find(cx, names, &None, f)?;
    let mut user = |cx: &mut Cx, e: &Expr, kind: &str| argument(cx, names, &None, e, kind);
    let values = given(cx, names, (&item.name, &origin, &item.params), args, call.span, &mut user, false)?;
    let call = Call { origin, item, given: Some(values) };
    let mut p = penalty(cx, names, &call, lift)?;
    for f in factors {
        let s = time::lower(cx, names, f)?;
        if s.unit == spc_ir::method::Unit::Truth {
            return cx.err(codes::SCHEDULE, f.span, "a number is needed here", "this is a condition");
        }
        p.terms.iter_mut().for_each(|t| times(&mut t.weight, &s));
    }
    verify(cx, e, &p.bodies())?;
    Ok(p)
}

/// Multiplies the result of a scalar body by a schedule.
fn times(b: &mut Body, s: &spc_ir::method::Schedule) {
    let Some(old) = b.result(&Target::Result) else { return };
    let scalar = |compute| Value { name: None, compute, space: Space::Scalar, kind: Kind::Float };
    let n = b.values.len() as u32;
    let constant = s.at(&spc_ir::method::Moment::END).ok().filter(|_| s.expr.is_constant());
    b.values.push(scalar(Compute::Input(match constant {
        Some(q) => Input::Number(q.value),
        None => Input::Schedule(s.clone()),
    })));
    let expr = ScalarExpr::bin(BinFn::Mul, ScalarExpr::Arg(0), ScalarExpr::Arg(1));
    b.values.push(scalar(Compute::Map { expr, args: vec![n, old] }));
    b.results = vec![(Target::Result, n + 1)];
}

/// The penalty of a `penalize` item and how it acts. Groups are not looked at, but for `elements`.
pub fn resolve_penalize(cx: &mut Cx, names: &Names<'_>, item: &PenalizeItem) -> Res<(Penalty, Via)> {
    let mut all = Penalty::default();
    for (over, t) in item.terms.iter().enumerate() {
        let elements = t.group.group.as_name().is_some_and(|n| n.as_str() == "elements");
        // Said here, or by the group.
        let of_group = t.group.group.as_name().and_then(|n| names.group(n.as_str()));
        let overlap = item.clauses.on_overlap.as_ref().or_else(|| of_group.and_then(|g| g.on_overlap.as_ref()));
        let lift = match (elements, overlap.map(|c| c.value.as_str())) {
            (true, _) => Lift::Elements,
            (_, Some("tree")) => Lift::Tree,
            (_, Some("sum")) => Lift::Sum,
            (_, Some("latent")) => Lift::Latent,
            _ => Lift::Groups,
        };
        let mut p = resolve_penalty(cx, names, &t.value, lift)?;
        p.terms.iter_mut().for_each(|t| t.over = over);
        if let Some(g) = &t.guard {
            let (inner, kept) = match &g.kind {
                ExprKind::Unary { op: UnaryOp::Not, arg } => (&**arg, false),
                _ => (g, true),
            };
            let (f, args) = callee(inner);
            match args {
                [a] if f.as_name().is_some_and(|n| n.as_str() == "select") && a.value.as_name().is_some() => {
                    let constraint = a.value.as_name().map(|n| n.name.clone()).unwrap_or_default();
                    p.terms.iter_mut().for_each(|t| t.guard = Some(Guard { constraint: constraint.clone(), kept }));
                }
                _ => {
                    let d = Diagnostic::error(codes::WRONG_KIND, "a penalty is limited by what a constraint keeps")
                        .at(g.span, "something else")
                        .help("write `where select(NAME)` or `where !select(NAME)`");
                    return cx.report(d);
                }
            }
        }
        if all.name.is_empty() {
            all.name.clone_from(&p.name);
        }
        all.terms.extend(p.terms);
    }
    let via = match &item.clauses.via {
        None => Via::Prox(Metric::Optimiser),
        Some(c) => way(cx, &c.value)?,
    };
    let latent = all.terms.iter().any(|t| t.lift == Lift::Latent);
    if !via.is_prox() && latent {
        let span = item.clauses.via.as_ref().map_or(item.terms[0].value.span, |c| c.span);
        let d = Diagnostic::error(codes::OVERLAP, "a penalty of latent groups has no gradient of its own")
            .at(span, "needs the value at every point")
            .help("write `via prox`, or `on_overlap sum`");
        return cx.report(d);
    }
    if via.is_prox() && !all.has_prox() {
        let span = item.clauses.via.as_ref().map_or(item.terms[0].value.span, |c| c.span);
        let d = Diagnostic::error(codes::NO_PROX, format!("the penalty `{}` has no prox", all.name))
            .at(span, "needs a prox")
            .help("define `prox(x, tau)` in the penalty, or write `via subgrad`");
        return cx.report(d);
    }
    Ok((all, via))
}

/// `prox`, `prox(metric: euclid)`, `subgrad`, `decay` or `probe`.
fn way(cx: &mut Cx, e: &Expr) -> Res<Via> {
    let (name, args) = callee(e);
    let found = name.as_name().and_then(|n| Via::ALL.iter().find(|(w, _)| *w == n.as_str()));
    let Some((_, via)) = found else {
        let d = Diagnostic::error(codes::WRONG_KIND, "a penalty acts `via prox`, `subgrad`, `decay` or `probe`")
            .at(name.span, "not one of these");
        return cx.report(d);
    };
    let metric = |a: &Arg| match (a.label.as_ref().map(|n| n.as_str()), a.value.as_name().map(|n| n.as_str())) {
        (Some("metric"), Some("euclid")) => Some(Metric::Euclid),
        (Some("metric"), Some("optimizer")) => Some(Metric::Optimiser),
        _ => None,
    };
    match args {
        [] => Ok(*via),
        [a] if via.is_prox() && metric(a).is_some() => Ok(Via::Prox(metric(a).unwrap_or_default())),
        [a, ..] => {
            let d = Diagnostic::error(codes::WRONG_KIND, "the only setting of a way is the metric of a prox")
                .at(a.value.span, "not known here")
                .help("write `via prox(metric: euclid)` or `via prox(metric: optimizer)`");
            cx.report(d)
        }
    }
}

/// What the checker made is sound.
fn verify(cx: &mut Cx, e: &Expr, bodies: &[&Body]) -> Res<()> {
    for b in bodies {
        if let Err(text) = b.verify() {
            return cx.err(codes::TYPE, e.span, format!("the parts of this method do not fit: {text}"), "used here");
        }
    }
    Ok(())
}
