//! The rules of a program: what each `require` and `penalize` does during training, and when.
use super::{resolve_penalize, resolve_update};
use crate::cx::{Cx, Res};
use crate::module::{Require, Train};
use crate::require::Resolver;
use crate::scope::Names;
use crate::time;
use spc_base::Span;
use spc_ir::method::{Does, Ratio, Rule, Rules, Schedule, Update, Weighing};
use spc_syntax::ast::{
    Amount, AmountKind, Ast, Clauses, Expr, ExprKind, ItemKind, Pct, PenalizeItem, Per, Scope, ScopeKind, Sentence,
};

/// The update that the `via` of a sentence names.
pub(crate) fn update_of(cx: &mut Cx, names: &Names<'_>, s: &Sentence) -> Res<Option<Update>> {
    let mut update = None;
    let mut next = Some(s);
    while let Some(s) = next {
        if let Some(via) = &s.clauses.via {
            update = Some(resolve_update(cx, names, &via.value)?);
        }
        next = s.then.as_deref();
    }
    Ok(update)
}

/// The amount of each sentence over time; nothing where it never changes or is no expression over time.
pub(crate) fn amounts(r: &Resolver<'_>, s: &Sentence) -> Vec<Option<Schedule>> {
    let mut out = Vec::new();
    let mut next = Some(s);
    while let Some(s) = next {
        let e = match &s.amount.kind {
            AmountKind::Plain(e) | AmountKind::Of { part: e, .. } => e,
            AmountKind::Above(e) => e,
        };
        let timed =
            matches!(e.kind, ExprKind::Call { .. } | ExprKind::Name(_) | ExprKind::If(_) | ExprKind::Binary { .. });
        let mut quiet = Cx::default();
        let s2 = if timed { time::lower(&mut quiet, r.names, e).ok() } else { None };
        out.push(s2.filter(|s| !s.expr.is_constant()));
        next = s.then.as_deref();
    }
    out
}

/// The weights and groups that a term of a `penalize` acts on, as a constraint whose amount means nothing.
fn over(cx: &mut Cx, r: &Resolver<'_>, item: &PenalizeItem, term: usize, name: &str) -> Res<spc_ir::Require> {
    let Some(t) = item.terms.get(term) else { return Err(crate::cx::Stop) };
    let span: Span = t.span;
    let half = Expr { kind: ExprKind::Pct(Pct { text: "50".into(), num: 1, den: 2, span }), span };
    let c = &item.clauses;
    let clauses = Clauses {
        per: Some(Per { scope: Scope { kind: ScopeKind::Model, span }, span }),
        on: c.on.clone(),
        except: c.except.clone(),
        tail: c.tail.clone(),
        on_overlap: c.on_overlap.clone(),
        ..Clauses::default()
    };
    let amount = Amount { kind: AmountKind::Plain(half), span };
    let mut s = Sentence { amount, group: t.group.clone(), clauses, then: None, span };
    Ok(spc_ir::Require { name: name.to_string(), keeps: r.keeps(cx, &mut s)? })
}

/// The update of a constraint: that of the first phase that applies it, else the one of its own `via`. A later phase
/// changes nothing.
fn applied(cx: &mut Cx, trains: &[Train], name: &str, own: Option<Update>) -> Res<Option<Update>> {
    let (mut update, mut first) = (own, true);
    for p in trains.iter().flat_map(|t| &t.phases).filter(|p| p.applies.iter().any(|n| n == name)) {
        for (_, via, span) in p.vias.iter().filter(|(n, ..)| n == name) {
            if trains.len() > 1 {
                return cx.not_yet(*span, "an update of one of several trainings");
            }
            if first {
                update = Some(via.clone());
            } else if update.as_ref() != Some(via) {
                return cx.not_yet(*span, "another update than in the phase before");
            }
            first = false;
        }
        first = false;
    }
    Ok(update)
}

/// Rules in file order. `requires` are those that were resolved, with their updates.
pub(crate) fn rules(
    cx: &mut Cx,
    r: &Resolver<'_>,
    ast: &Ast,
    requires: &[Require],
    updates: &[Option<Update>],
    trains: &[Train],
) -> Rules {
    let train = if let [one] = trains { Some(one) } else { None };
    let whole = vec![(Ratio::ZERO, Ratio::ONE)];
    let frozen = train.and_then(|t| t.phases.iter().find(|p| p.freeze).map(|p| p.from));
    let mut out = Rules { list: Vec::new(), steps: train.and_then(|t| t.steps) };
    let mut penalties = 0;
    for item in &ast.items {
        match &item.kind {
            ItemKind::Require(_) => {
                let Some(at) = requires.iter().position(|q| q.span == item.span) else { continue };
                let q = &requires[at];
                let require = spc_ir::Require { name: q.name.clone(), keeps: q.keeps.clone() };
                // A constraint acts from the first phase that applies it.
                let first = train.map(|t| t.phases.iter().find(|p| p.applies.contains(&q.name)).map(|p| p.from));
                let active = match first {
                    None => whole.clone(),
                    Some(Some(from)) => vec![(from, Ratio::ONE)],
                    Some(None) => Vec::new(),
                };
                let frozen = frozen.filter(|f| active.iter().any(|(from, _)| from <= f));
                let own = updates.get(at).cloned().flatten();
                let Ok(update) = applied(cx, trains, &q.name, own) else { continue };
                let does = Does::Keep { require, amounts: amounts(r, &q.sentence), update };
                out.list.push(Rule { name: q.name.clone(), does, active, frozen });
            }
            ItemKind::Penalize(p) => {
                penalties += 1;
                let name = p.name.as_ref().map_or_else(|| format!("penalize{penalties}"), |n| n.name.clone());
                let active = match train {
                    None => whole.clone(),
                    Some(t) => {
                        let applied = t.phases.iter().filter(|p| p.applies.contains(&name));
                        applied.map(|p| (p.from, p.to)).collect()
                    }
                };
                let _ = penalize(cx, r, p, requires, &name).map(|does| {
                    out.list.push(Rule { name, does, active, frozen: None });
                });
            }
            _ => {}
        }
    }
    out
}

fn penalize(cx: &mut Cx, r: &Resolver<'_>, p: &PenalizeItem, requires: &[Require], name: &str) -> Res<Does> {
    let (penalty, via) = resolve_penalize(cx, r.names, p)?;
    let terms = (0..p.terms.len()).map(|i| over(cx, r, p, i, name)).collect::<Res<Vec<_>>>()?;
    let mut guards = Vec::new();
    for g in penalty.terms.iter().filter_map(|t| t.guard.as_ref()) {
        match requires.iter().find(|q| q.name == g.constraint) {
            Some(q) => {
                let require = spc_ir::Require { name: q.name.clone(), keeps: q.keeps.clone() };
                guards.push((g.constraint.clone(), require));
            }
            None => {
                let span = p.terms.first().map_or_else(Span::default, |t| t.span);
                let known: Vec<&str> = requires.iter().map(|q| q.name.as_str()).collect();
                return cx.unknown(span, "constraint", &g.constraint, known);
            }
        }
    }
    let weighing = (0..p.terms.len()).map(|i| weighing(cx, r, p, i, &terms)).collect::<Res<Vec<_>>>()?;
    Ok(Does::Penalize { penalty, over: terms, weighing, via, guards })
}

/// The cost and energy declared with the group of a term.
fn weighing(cx: &mut Cx, r: &Resolver<'_>, p: &PenalizeItem, term: usize, over: &[spc_ir::Require]) -> Res<Weighing> {
    let mut out = Weighing::default();
    let (Some(t), Some(over)) = (p.terms.get(term), over.get(term)) else { return Ok(out) };
    let found = crate::group::look(cx, r.names, &t.group)?;
    if let Some(c) = found.items.iter().find_map(|i| i.cost.as_ref()) {
        out.cost = crate::group::weight_of(cx, r, c, over)?;
    }
    if let Some(c) = found.items.iter().find_map(|i| i.energy.as_ref()) {
        out.energy = crate::group::weight_of(cx, r, c, over)?;
    }
    Ok(out)
}
