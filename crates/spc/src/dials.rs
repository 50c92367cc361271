//! `--set NAME=VALUE`: another value of a `const NAME = dial(DEFAULT)`.
use crate::failure::{Failure, Res};
use crate::load::listing;
use spc_base::{Diagnostic, FileId, Limits, Span, codes};
use spc_syntax::ast::{Ast, Expr, ExprKind, ItemKind, UnaryOp};
use std::collections::BTreeMap;

/// Puts values in the places of defaults. A value is a number or a percentage, of the kind that the default is.
///
/// # Errors
/// Usage errors: SP0101 for a name that is no dial, SP0104 for a value that is not of its kind.
pub fn set(ast: &mut Ast, values: &BTreeMap<String, String>) -> Res<()> {
    for (name, text) in values {
        let Some(default) = dial(ast, name) else {
            let known = names(ast);
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("the program has no dial `{name}`"));
            let d = d.help("a dial is a constant: `const strength = dial(0.05)`");
            return Err(Failure::usage(listing(d, "dial", &known)));
        };
        let kind = if matches!(default.kind, ExprKind::Pct(_)) { "a percentage" } else { "a number" };
        let wrong = || {
            let text = format!("`{text}` is not {kind}, which the dial `{name}` is");
            Failure::usage(Diagnostic::error(codes::ARGUMENT, text).at(default.span, "its default"))
        };
        let value = literal(text, default.span).ok_or_else(wrong)?;
        if matches!(value.kind, ExprKind::Pct(_)) != (kind == "a percentage") {
            return Err(wrong());
        }
        *default = value;
    }
    Ok(())
}

/// The names of a program's dials, in file order.
pub fn names(ast: &Ast) -> Vec<String> {
    let dials = ast.items.iter().filter_map(|i| match &i.kind {
        ItemKind::Const(c) if argument(&c.value).is_some() => Some(c.name.name.clone()),
        _ => None,
    });
    dials.collect()
}

fn argument(e: &Expr) -> Option<&Expr> {
    match &e.kind {
        ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "dial") => {
            args.first().map(|a| &a.value)
        }
        _ => None,
    }
}

fn dial<'a>(ast: &'a mut Ast, name: &str) -> Option<&'a mut Expr> {
    ast.items.iter_mut().find_map(|i| match &mut i.kind {
        ItemKind::Const(c) if c.name.as_str() == name && argument(&c.value).is_some() => match &mut c.value.kind {
            ExprKind::Call { args, .. } => args.first_mut().map(|a| &mut a.value),
            _ => None,
        },
        _ => None,
    })
}

/// A number with or without a sign, or a percentage, as if it stood at `span`.
fn literal(text: &str, span: Span) -> Option<Expr> {
    if text.len() > 64 {
        return None;
    }
    let (ast, found) = spc_syntax::parse(&format!("const value = {text}"), FileId(0), &Limits::default());
    let [item] = &ast.items[..] else { return None };
    let ItemKind::Const(c) = &item.kind else { return None };
    let mut e = c.value.clone();
    e.span = span;
    match &mut e.kind {
        ExprKind::Num(n) => n.span = span,
        ExprKind::Pct(p) => p.span = span,
        ExprKind::Unary { op: UnaryOp::Neg, arg } => match &mut arg.kind {
            ExprKind::Num(n) => (arg.span, n.span) = (span, span),
            _ => return None,
        },
        _ => return None,
    }
    found.is_empty().then_some(e)
}
