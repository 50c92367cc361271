//! Expansion of sugar: `nm(2, 4) on net.*` becomes the sentence that the pattern stands for.
use crate::cx::{Cx, Res};
use crate::scope::Names;
use spc_base::{Diagnostic, Span, codes};
use spc_syntax::ast::{
    Always, Amount, AmountKind, Arg, By, Clause, Clauses, Every, Expr, ExprKind, Floor, GroupRef, Ident, If, IfArm,
    ItemKind, Num, PatternItem, Per, Require, Scope, ScopeKind, Sentence, ShareOf,
};
use std::collections::BTreeMap;

/// The sentence of a `require`, without sugar.
pub fn expand(cx: &mut Cx, names: &Names<'_>, what: &Require) -> Res<Sentence> {
    let (pattern, clauses) = match what {
        Require::Sentence(s) => return Ok(s.clone()),
        Require::Sugar { pattern, clauses } => (pattern, clauses),
    };
    let (callee, args): (&Expr, &[Arg]) = match &pattern.kind {
        ExprKind::Call { callee, args } => (callee, args),
        _ => (pattern, &[]),
    };
    let (origin, item) = match &callee.kind {
        ExprKind::Name(n) => match names.pattern(&n.name) {
            Some(found) => found,
            None => {
                let known: Vec<&str> = names.known();
                let mut d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no pattern `{}`", n.name))
                    .at(n.span, "no pattern of this name");
                if let Some(near) = crate::cx::closest(&n.name, known.iter().copied()) {
                    d = d.help(format!("did you mean `{near}`?")).fix(n.span, near);
                } else if names.lib.pattern("patterns", &n.name).is_some() {
                    d = d.help(format!("add `use std.patterns.{}`", n.name));
                }
                return cx.report(d);
            }
        },
        ExprKind::Member { base, name } => {
            let module = base.as_name().map(|n| n.name.clone()).unwrap_or_default();
            match names.module_pattern(&module, &name.name) {
                Some(found) => found,
                None => return cx.unknown(name.span, "pattern", &name.name, names.lib.names(&module)),
            }
        }
        _ => return cx.err(codes::WRONG_KIND, callee.span, "this is no pattern", "a pattern or `keep ..` is needed"),
    };
    let values = bind(cx, item, args, pattern.span)?;
    let mut s = sentence(&item.sentence, &values, pattern.span);
    if let (Some(module), Some(e)) = (origin, s.clauses.by.as_mut().and_then(|b| b.score.as_mut())) {
        of_module(names, &module, &values, e);
    }
    replace(&mut s.clauses, clauses);
    Ok(s)
}

/// Names a score of the library with its module, so that a program need not import it beside the pattern that ranks by it.
fn of_module(names: &Names<'_>, module: &str, values: &Values, e: &mut Expr) {
    let name = match &mut e.kind {
        ExprKind::Name(n) => n,
        ExprKind::Call { callee, .. } => match &mut callee.kind {
            ExprKind::Name(n) => n,
            _ => return,
        },
        _ => return,
    };
    let given = values.values().any(|v| v.as_name().is_some_and(|n| n.name == name.name));
    if let (false, Some((Some(home), ItemKind::Score(_)))) = (given, names.find(&Some(module.into()), &name.name)) {
        name.name = format!("{home}.{}", name.name);
    }
}

fn bind(cx: &mut Cx, item: &PatternItem, args: &[Arg], span: Span) -> Res<BTreeMap<String, Expr>> {
    let mut values = BTreeMap::new();
    let mut position = 0;
    for a in args {
        let param = match &a.label {
            Some(l) => item.params.iter().find(|p| p.name.name == l.name),
            None => {
                position += 1;
                item.params.get(position - 1)
            }
        };
        let Some(param) = param else {
            let names = item.params.iter().map(|p| p.name.name.clone()).collect::<Vec<_>>().join(", ");
            return cx.report(
                Diagnostic::error(codes::ARGUMENT, format!("`{}` has no such parameter", item.name.name))
                    .at(a.span, "one too many, or an unknown name")
                    .help(format!("its parameters are: {names}")),
            );
        };
        if values.insert(param.name.name.clone(), a.value.clone()).is_some() {
            return cx.err(codes::ARGUMENT, a.span, format!("`{}` is given twice", param.name.name), "again here");
        }
    }
    for p in &item.params {
        if !values.contains_key(&p.name.name) {
            match &p.default {
                Some(d) => {
                    values.insert(p.name.name.clone(), expr(d, &BTreeMap::new(), span));
                }
                None => {
                    let text = format!("`{}` needs `{}`", item.name.name, p.name.name);
                    return cx.err(codes::ARGUMENT, span, text, "an argument is missing");
                }
            }
        }
    }
    Ok(values)
}

type Values = BTreeMap<String, Expr>;

/// A copy with parameters replaced; every span becomes that of the use, where the user can change something.
fn sentence(s: &Sentence, v: &Values, span: Span) -> Sentence {
    Sentence {
        amount: Amount {
            kind: match &s.amount.kind {
                AmountKind::Plain(e) => match expr(e, v, span) {
                    Expr { kind: ExprKind::Share { part, of }, .. } => AmountKind::Of { part: *part, of },
                    e => AmountKind::Plain(e),
                },
                AmountKind::Of { part, of } => AmountKind::Of { part: expr(part, v, span), of: share(of, v, span) },
                AmountKind::Above(e) => AmountKind::Above(expr(e, v, span)),
            },
            span,
        },
        group: GroupRef {
            group: expr(&s.group.group, v, span),
            of: s.group.of.as_ref().map(|e| expr(e, v, span)),
            span,
        },
        clauses: clauses(&s.clauses, v, span),
        then: s.then.as_ref().map(|t| Box::new(sentence(t, v, span))),
        span,
    }
}

fn share(of: &ShareOf, v: &Values, span: Span) -> ShareOf {
    match of {
        ShareOf::Name(n) => match v.get(&n.name).map(|e| &e.kind) {
            Some(ExprKind::Num(num)) => ShareOf::Count(Num { span, ..num.clone() }),
            Some(ExprKind::Name(m)) => ShareOf::Name(Ident { name: m.name.clone(), span }),
            _ => ShareOf::Name(Ident { name: n.name.clone(), span }),
        },
        ShareOf::Count(n) => ShareOf::Count(Num { span, ..n.clone() }),
    }
}

fn expr(e: &Expr, v: &Values, span: Span) -> Expr {
    let sub = |e: &Expr| Box::new(expr(e, v, span));
    let kind = match &e.kind {
        ExprKind::Name(n) => match v.get(&n.name) {
            Some(value) => return value.clone(),
            None => ExprKind::Name(Ident { name: n.name.clone(), span }),
        },
        ExprKind::Call { callee, args } => ExprKind::Call {
            callee: Box::new(expr(callee, &BTreeMap::new(), span)),
            args: args.iter().map(|a| arg(a, v, span)).collect(),
        },
        ExprKind::Share { part, of } => ExprKind::Share { part: sub(part), of: share(of, v, span) },
        ExprKind::Binary { op, lhs, rhs, .. } => {
            ExprKind::Binary { op: *op, op_span: span, lhs: sub(lhs), rhs: sub(rhs) }
        }
        ExprKind::Unary { op, arg } => ExprKind::Unary { op: *op, arg: sub(arg) },
        ExprKind::Arrow { from, to } => ExprKind::Arrow { from: sub(from), to: sub(to) },
        ExprKind::Range { from, to } => ExprKind::Range { from: sub(from), to: sub(to) },
        ExprKind::Tuple(list) => ExprKind::Tuple(list.iter().map(|e| expr(e, v, span)).collect()),
        ExprKind::List(list) => ExprKind::List(list.iter().map(|e| expr(e, v, span)).collect()),
        ExprKind::Member { base, name } => ExprKind::Member { base: sub(base), name: name.clone() },
        ExprKind::Star { base } => ExprKind::Star { base: sub(base) },
        ExprKind::Pick { base, names } => ExprKind::Pick { base: sub(base), names: names.clone() },
        ExprKind::If(f) => ExprKind::If(Box::new(If {
            arms: f
                .arms
                .iter()
                .map(|a| IfArm { cond: expr(&a.cond, v, span), value: expr(&a.value, v, span), span })
                .collect(),
            otherwise: expr(&f.otherwise, v, span),
        })),
        other => other.clone(),
    };
    Expr { kind, span }
}

fn arg(a: &Arg, v: &Values, span: Span) -> Arg {
    let label = a.label.as_ref().map(|l| match v.get(&l.name).map(|e| &e.kind) {
        Some(ExprKind::Name(n)) => Ident { name: n.name.clone(), span },
        _ => Ident { name: l.name.clone(), span },
    });
    Arg { label, value: expr(&a.value, v, span), span, ..a.clone() }
}

fn scope(s: &Scope, v: &Values, span: Span) -> Scope {
    let kind = match &s.kind {
        ScopeKind::Expr(e) => ScopeKind::Expr(expr(e, v, span)),
        other => other.clone(),
    };
    Scope { kind, span }
}

fn clauses(c: &Clauses, v: &Values, span: Span) -> Clauses {
    let clause = |c: &Option<Clause<Expr>>| c.as_ref().map(|c| Clause { value: expr(&c.value, v, span), span });
    Clauses {
        per: c.per.as_ref().map(|p| Per { scope: scope(&p.scope, v, span), span }),
        floor: c.floor.as_ref().map(|f| Floor {
            amount: expr(&f.amount, v, span),
            scope: scope(&f.scope, v, span),
            span,
        }),
        by: c.by.as_ref().map(|b| By { joint: b.joint, score: b.score.as_ref().map(|e| expr(e, v, span)), span }),
        on: clause(&c.on),
        except: clause(&c.except),
        at: clause(&c.at),
        multiple: clause(&c.multiple),
        via: clause(&c.via),
        every: c.every.as_ref().map(|e| Every {
            count: expr(&e.count, v, span),
            unit: e.unit.clone(),
            until: e.until.as_ref().map(|u| expr(u, v, span)),
            span,
        }),
        always: c.always.as_ref().map(|a| Clause {
            value: a.value.iter().map(|k| Always { end: k.end, count: expr(&k.count, v, span), span }).collect(),
            span,
        }),
        on_overlap: c.on_overlap.clone(),
        tail: c.tail.clone(),
    }
}

/// Clauses written after the sugar replace the sugar's own.
fn replace(own: &mut Clauses, written: &Clauses) {
    macro_rules! take {
        ($($f:ident),*) => { $(if written.$f.is_some() { own.$f = written.$f.clone(); })* };
    }
    take!(per, floor, by, on, except, at, every, via, always, multiple, on_overlap, tail);
}
