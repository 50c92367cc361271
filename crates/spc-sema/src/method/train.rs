//! `train` items: settings, phases, and what each applies. They are checked; nothing here runs them.
use super::resolve_update;
use crate::cx::{Cx, Res};
use crate::module::{Phase, Train};
use crate::scope::Names;
use crate::time;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::method::Ratio;
use spc_syntax::ast::{Arg, Ast, Expr, ExprKind, IdxKind, ItemKind, LhsKind, TrainItem, TrainStmt};
use std::collections::BTreeMap;

/// Optimisers with the names of their arguments, all numbers or schedules but the last three.
const OPTIMISERS: [(&str, &[&str]); 4] = [
    ("sgd", &["lr", "momentum", "weight_decay"]),
    ("adam", &["lr", "beta1", "beta2", "eps", "weight_decay"]),
    ("adamw", &["lr", "beta1", "beta2", "eps", "weight_decay"]),
    ("fista", &["lr", "tol", "restart"]),
];

const SETTINGS: [&str; 6] = ["loss", "optimizer", "batch", "steps", "epochs", "seed"];

/// Functions that a loss may call beside those of the program.
const LOSSES: [&str; 20] = [
    "cross_entropy",
    "mse",
    "kl",
    "cosine",
    "hinge",
    "relu",
    "sum",
    "mean",
    "max",
    "min",
    "abs",
    "sqrt",
    "exp",
    "log",
    "size",
    "softmax",
    "logsumexp",
    "sigmoid",
    "accuracy",
    "clip",
];

/// What the lines before have named.
#[derive(Default)]
struct Locals {
    values: Vec<String>,
    phases: Vec<String>,
}

/// Every `train` of the root file. Names that can be applied are known with the word of their item.
pub(crate) fn trains(cx: &mut Cx, names: &Names<'_>, ast: &Ast) -> Vec<Train> {
    let known: Vec<(&str, &str)> = ast
        .items
        .iter()
        .filter_map(|i| match &i.kind {
            ItemKind::Require(r) => r.name.as_ref().map(|n| (n.name.as_str(), "require")),
            ItemKind::Penalize(p) => p.name.as_ref().map(|n| (n.name.as_str(), "penalize")),
            ItemKind::Quantize(q) => q.name.as_ref().map(|n| (n.name.as_str(), "quantize")),
            _ => None,
        })
        .collect();
    let (mut out, mut written) = (Vec::new(), 0);
    for item in &ast.items {
        if let ItemKind::Train(t) = &item.kind {
            written += 1;
            let _ = train(cx, names, t, &known, item.span).map(|t| out.push(t));
        }
    }
    // What a broken one applies is not known.
    if !out.is_empty() && out.len() == written {
        not_applied(cx, ast, &out);
    }
    out
}

/// Warns of what no phase of any `train` applies.
fn not_applied(cx: &mut Cx, ast: &Ast, trains: &[Train]) {
    for item in &ast.items {
        let (name, what) = match &item.kind {
            ItemKind::Require(r) => (r.name.as_ref(), "it is projected once at the end"),
            ItemKind::Penalize(p) => (p.name.as_ref(), "it has no effect"),
            _ => continue,
        };
        let Some(n) = name else { continue };
        // Constraints on run-time values hold in every call; phases do not matter to them.
        if !trains.iter().flat_map(|t| &t.phases).any(|p| p.applies.contains(&n.name)) {
            let text = format!("no phase applies `{}`", n.name);
            cx.diags.push(
                Diagnostic::warning(codes::NOT_APPLIED, text)
                    .at(n.span, what)
                    .help(format!("write `apply {}` in a phase", n.name)),
            );
        }
    }
}

fn train(cx: &mut Cx, names: &Names<'_>, t: &TrainItem, known: &[(&str, &str)], span: Span) -> Res<Train> {
    let mut out = Train { name: t.name.name.clone(), steps: None, epochs: None, seed: None, phases: Vec::new(), span };
    let mut at = Ratio::ZERO;
    let mut settings: BTreeMap<&str, Span> = BTreeMap::new();
    let mut locals = Locals::default();
    for s in &t.body {
        match s {
            TrainStmt::Setting(s) => {
                let name = s.name.as_str();
                if !SETTINGS.contains(&name) {
                    return unknown_setting(cx, s.name.span, name);
                }
                if let Some(first) = settings.insert(name, s.name.span) {
                    let d = Diagnostic::error(codes::DUPLICATE, format!("`{name}` is given twice"));
                    return cx.report(d.at(s.name.span, "again here").also(first, "first here"));
                }
                setting(cx, names, name, &s.value, &locals, &mut out)?;
            }
            TrainStmt::Assign(a) => {
                words(cx, names, &a.value, &locals)?;
                assigned(&a.lhs.kind, &mut locals.values);
            }
            TrainStmt::Phase(p) => {
                let Some(share) = Ratio::new(i128::from(p.share.num), i128::from(p.share.den)) else {
                    return cx.err(codes::PHASES, p.share.span, "this share is too fine", "not a usable percentage");
                };
                let end = at.checked_add(share).filter(|e| *e <= Ratio::ONE);
                let Some(end) = end else {
                    let d = Diagnostic::error(codes::PHASES, "the phases take more than the whole run")
                        .at(p.share.span, format!("{}% are left here", left(at)))
                        .help("the shares of all phases add up to at most 100%");
                    return cx.report(d);
                };
                let mut phase = Phase {
                    name: p.name.name.clone(),
                    from: at,
                    to: end,
                    applies: Vec::new(),
                    vias: Vec::new(),
                    freeze: false,
                };
                // What a phase assigns is known to what follows in it, and nowhere else.
                let outer = locals.values.len();
                for s in &p.body {
                    statement(cx, names, s, known, &locals, Some(&mut phase))?;
                    if let TrainStmt::Assign(a) = s {
                        assigned(&a.lhs.kind, &mut locals.values);
                    }
                }
                locals.values.truncate(outer);
                locals.phases.push(p.name.name.clone());
                out.phases.push(phase);
                at = end;
            }
            other => statement(cx, names, other, known, &locals, None)?,
        }
    }
    for (need, what) in [("loss", "a loss"), ("optimizer", "an optimizer")] {
        if !settings.contains_key(need) {
            let d = Diagnostic::error(codes::TRAIN, format!("the training `{}` has no {need}", t.name.name))
                .at(t.name.span, format!("{what} is missing"))
                .help(format!("write `{need}: ..`"));
            return cx.report(d);
        }
    }
    let sweeps = t.body.iter().any(|s| matches!(s, TrainStmt::Sweep(_)));
    if out.steps.is_none() && out.epochs.is_none() && !sweeps {
        let d = Diagnostic::error(codes::TRAIN, format!("the training `{}` has no length", t.name.name))
            .at(t.name.span, "how long does it run?")
            .help("write `steps: 2000` or `epochs: 30`");
        return cx.report(d);
    }
    Ok(out)
}

/// The names that a statement assigns.
fn assigned(lhs: &LhsKind, locals: &mut Vec<String>) {
    match lhs {
        LhsKind::Tuple(list) => locals.extend(list.iter().map(|n| n.name.clone())),
        LhsKind::Name { name, .. } => locals.push(name.name.clone()),
    }
}

fn left(at: Ratio) -> String {
    Ratio::ONE.checked_sub(at).map_or_else(String::new, |r| format!("{}", r.to_f64() * 100.0))
}

fn unknown_setting<T>(cx: &mut Cx, span: Span, name: &str) -> Res<T> {
    let mut d = Diagnostic::error(codes::TRAIN, format!("a training has no setting `{name}`"))
        .at(span, "unknown setting")
        .help(format!("its settings are: {}", SETTINGS.join(", ")));
    if let Some(near) = crate::cx::closest(name, SETTINGS) {
        d = d.fix(span, near);
    }
    cx.report(d)
}

fn setting(cx: &mut Cx, names: &Names<'_>, name: &str, e: &Expr, locals: &Locals, out: &mut Train) -> Res<()> {
    let wrong = |cx: &mut Cx, need: &str| {
        let text = format!("`{name}` is {need}");
        cx.err(codes::TRAIN, e.span, text, "something else")
    };
    match name {
        "loss" => words(cx, names, e, locals),
        "optimizer" => optimiser(cx, names, e),
        "batch" if e.as_name().is_some_and(|n| n.as_str() == "all") => Ok(()),
        "seed" => match e.as_int() {
            Some(n) => {
                out.seed = Some(n);
                Ok(())
            }
            None => wrong(cx, "a whole number"),
        },
        _ => match time::count(e) {
            Some(n) if n < 1 << 62 => {
                match name {
                    "steps" => out.steps = Some(n),
                    "epochs" => out.epochs = Some(n),
                    _ => {}
                }
                Ok(())
            }
            _ => wrong(cx, "a positive whole number"),
        },
    }
}

fn optimiser(cx: &mut Cx, names: &Names<'_>, e: &Expr) -> Res<()> {
    let (name, args): (_, &[Arg]) = match &e.kind {
        ExprKind::Call { callee, args } => (callee.as_name(), args),
        _ => (e.as_name(), &[]),
    };
    let known = OPTIMISERS.iter().map(|(n, _)| *n);
    let Some(name) = name else {
        return cx.err(codes::TRAIN, e.span, "an optimizer is needed here", "expected for example `adamw(lr: 1e-3)`");
    };
    let Some((_, params)) = OPTIMISERS.iter().find(|(n, _)| *n == name.as_str()) else {
        return cx.unknown(name.span, "optimizer", name.as_str(), known);
    };
    for a in args {
        match &a.label {
            Some(l) if params.contains(&l.as_str()) => {
                if l.as_str() != "restart" {
                    time::lower(cx, names, &a.value)?;
                }
            }
            _ => {
                let d = Diagnostic::error(codes::ARGUMENT, format!("`{}` has no such argument", name.name))
                    .at(a.span, "unknown, or without its name")
                    .help(format!("its arguments are: {}", params.join(", ")));
                return cx.report(d);
            }
        }
    }
    Ok(())
}

fn statement(
    cx: &mut Cx,
    names: &Names<'_>,
    s: &TrainStmt,
    known: &[(&str, &str)],
    locals: &Locals,
    phase: Option<&mut Phase>,
) -> Res<()> {
    match (s, phase) {
        (TrainStmt::Apply(a), phase) => {
            let (mut applies, mut vias) = (Vec::new(), Vec::new());
            for one in &a.list {
                let Some(n) = one.what.as_name() else {
                    return cx.err(
                        codes::WRONG_KIND,
                        one.what.span,
                        "the name of a constraint or penalty is needed here",
                        "not a name",
                    );
                };
                let Some((_, word)) = known.iter().find(|(k, _)| *k == n.as_str()) else {
                    return cx.unknown(n.span, "constraint or penalty", n.as_str(), known.iter().map(|(k, _)| *k));
                };
                if let Some(via) = &one.via {
                    if *word != "require" {
                        let text = format!("`{}` is a `{word}`, and only a `require` has an update", n.name);
                        return cx.err(codes::WRONG_KIND, via.span, text, "this cannot be said here");
                    }
                    vias.push((n.name.clone(), resolve_update(cx, names, via)?, via.span));
                }
                applies.push(n.name.clone());
            }
            match phase {
                Some(p) => {
                    p.applies.extend(applies);
                    p.vias.extend(vias);
                }
                None => return cx.err(codes::TRAIN, a.span, "`apply` stands in a phase", "outside a phase"),
            }
            Ok(())
        }
        (TrainStmt::Freeze(f), Some(p)) if f.what.as_str() == "masks" => {
            p.freeze = true;
            Ok(())
        }
        (TrainStmt::Freeze(f), Some(_)) => {
            cx.err(codes::TRAIN, f.what.span, "only masks can be frozen", "expected `freeze masks`")
        }
        (TrainStmt::Setting(s), Some(_)) if s.name.as_str() == "loss" => words(cx, names, &s.value, locals),
        (TrainStmt::Setting(s), Some(_)) => {
            cx.err(codes::TRAIN, s.span, "a phase has no setting but `loss`", "outside of phases")
        }
        (TrainStmt::Sweep(s), _) => {
            if !matches!(names.items.get(s.name.as_str()).map(|i| &i.kind), Some(ItemKind::Const(_))) {
                let consts = names.items.iter().filter(|(_, i)| matches!(i.kind, ItemKind::Const(_))).map(|(n, _)| *n);
                let consts: Vec<&str> = consts.collect();
                return cx.unknown(s.name.span, "constant", s.name.as_str(), consts);
            }
            time::lower(cx, names, &s.value).map(|_| ())
        }
        (TrainStmt::Restart(_), Some(_)) => Ok(()),
        (TrainStmt::Assign(a), Some(_)) => words(cx, names, &a.value, locals),
        (TrainStmt::Phase(p), Some(_)) => cx.err(codes::PHASES, p.span, "a phase stands in no other", "inside a phase"),
        (other, None) => cx.err(codes::TRAIN, other.span(), "this stands in a phase", "outside a phase"),
    }
}

/// `weights: initial`, or `weights: best(dense)` with the name of an earlier phase.
fn weights(cx: &mut Cx, e: &Expr, locals: &Locals) -> Res<()> {
    match &e.kind {
        ExprKind::Name(n) if n.as_str() == "initial" => Ok(()),
        ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "best") => {
            match args.as_slice() {
                [a] if a.is_plain() => match a.value.as_name() {
                    Some(n) if locals.phases.contains(&n.name) => Ok(()),
                    Some(n) => {
                        let known: Vec<&str> = locals.phases.iter().map(String::as_str).collect();
                        cx.unknown(n.span, "earlier phase", &n.name, known)
                    }
                    None => cx.err(codes::ARGUMENT, a.span, "`best` takes the name of a phase", "not a name"),
                },
                _ => cx.err(codes::ARGUMENT, e.span, "`best` takes the name of a phase", "expected one"),
            }
        }
        _ => {
            let text = "`weights` are those of an earlier moment";
            cx.err(codes::ARGUMENT, e.span, text, "expected `initial` or `best(PHASE)`")
        }
    }
}

/// Every name of a loss is known: data, models, functions, values assigned before.
fn words(cx: &mut Cx, names: &Names<'_>, e: &Expr, locals: &Locals) -> Res<()> {
    cx.spend(1, e.span)?;
    let mut sub = |e: &Expr| words(cx, names, e, locals);
    match &e.kind {
        ExprKind::Name(n) => {
            let word = n.as_str();
            let fixed = ["inf", "pi", "true", "false", "initial", "progress", "step", "steps"];
            if locals.values.iter().any(|l| l == word)
                || names.find(&None, word).is_some()
                || names.module(&None, word).is_some()
                || fixed.contains(&word)
            {
                return Ok(());
            }
            // An axis in `size(E)`, or an index.
            if word.chars().next().is_some_and(char::is_uppercase) || word.len() == 1 {
                return Ok(());
            }
            let known: Vec<&str> = names.known().into_iter().chain(locals.values.iter().map(String::as_str)).collect();
            cx.unknown(n.span, "value", word, known)
        }
        ExprKind::Call { callee, args } => {
            match &callee.kind {
                ExprKind::Name(n) => {
                    let word = n.as_str();
                    let schedule = names.lib.item("schedule", word).is_some();
                    if !LOSSES.contains(&word) && word != "best" && names.find(&None, word).is_none() && !schedule {
                        let known: Vec<&str> = names.known().into_iter().chain(LOSSES).collect();
                        return cx.unknown(n.span, "function", word, known);
                    }
                }
                _ => sub(callee)?,
            }
            for a in args {
                match a.label.as_ref().is_some_and(|l| l.as_str() == "weights") {
                    true => weights(cx, &a.value, locals)?,
                    false => words(cx, names, &a.value, locals)?,
                }
            }
            Ok(())
        }
        ExprKind::Binary { lhs, rhs, .. } => {
            sub(lhs)?;
            sub(rhs)
        }
        ExprKind::Unary { arg, .. } => sub(arg),
        ExprKind::Member { base, .. } | ExprKind::Star { base } | ExprKind::Pick { base, .. } => sub(base),
        ExprKind::Index { base, idx } => {
            sub(base)?;
            idx.iter().try_for_each(|i| if let IdxKind::Expr(e) = &i.kind { sub(e) } else { Ok(()) })
        }
        ExprKind::If(i) => {
            for arm in &i.arms {
                sub(&arm.cond)?;
                sub(&arm.value)?;
            }
            sub(&i.otherwise)
        }
        ExprKind::Tuple(list) | ExprKind::List(list) => list.iter().try_for_each(sub),
        ExprKind::Arrow { from, to } | ExprKind::Range { from, to } => {
            sub(from)?;
            sub(to)
        }
        _ => Ok(()),
    }
}
