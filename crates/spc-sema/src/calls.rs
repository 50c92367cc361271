//! Which functions the functions of a file call.
use spc_syntax::ast::{Ast, Block, Body, Expr, ExprKind, Idx, IdxKind, ItemKind, Stmt};
use std::collections::BTreeSet;

/// Names that stand where a function is called, in the bodies of all functions. Depth is bounded by the parser.
pub fn called(ast: &Ast) -> BTreeSet<&str> {
    let mut out = BTreeSet::new();
    for item in &ast.items {
        if let ItemKind::Fn(f) = &item.kind {
            match &f.sig.body {
                Body::Block(b) => block(b, &mut out),
                Body::Expr(e) => expr(e, &mut out),
            }
        }
    }
    out
}

/// Functions that are called from outside: those that no other calls, and those that a `run` or an `expect` names.
pub fn roots(ast: &Ast) -> BTreeSet<&str> {
    let inner = called(ast);
    let mut named = BTreeSet::new();
    let mut out = BTreeSet::new();
    for item in &ast.items {
        match &item.kind {
            ItemKind::Fn(f) if !inner.contains(f.name.as_str()) => {
                out.insert(f.name.as_str());
            }
            ItemKind::Run(r) => {
                let calls = r.fields.iter().filter(|f| f.name.as_str() == "call");
                calls.for_each(|f| expr(&f.value, &mut named));
            }
            ItemKind::Expect(e) => arguments(&e.value, &mut named),
            _ => {}
        }
    }
    out.extend(named);
    out
}

/// Plain names among the arguments of calls: `accuracy(classify, digits.test) >= 95%`.
fn arguments<'a>(e: &'a Expr, out: &mut BTreeSet<&'a str>) {
    match &e.kind {
        ExprKind::Binary { lhs, rhs, .. } => {
            arguments(lhs, out);
            arguments(rhs, out);
        }
        ExprKind::Call { args, .. } => out.extend(args.iter().filter_map(|a| a.value.as_name()).map(|n| n.as_str())),
        _ => {}
    }
}

fn block<'a>(b: &'a Block, out: &mut BTreeSet<&'a str>) {
    for s in &b.stmts {
        match s {
            Stmt::For(f) => block(&f.body, out),
            Stmt::State(s) => expr(&s.value, out),
            Stmt::Assign(a) => expr(&a.value, out),
        }
    }
}

fn expr<'a>(e: &'a Expr, out: &mut BTreeSet<&'a str>) {
    match &e.kind {
        ExprKind::Call { callee, args } => {
            match callee.as_name() {
                Some(name) => {
                    out.insert(name.as_str());
                }
                None => expr(callee, out),
            }
            args.iter().for_each(|a| expr(&a.value, out));
        }
        ExprKind::Slice { base, args } => {
            expr(base, out);
            args.iter().for_each(|a| expr(&a.value, out));
        }
        ExprKind::Index { base, idx } => {
            expr(base, out);
            idx.iter().for_each(|i: &Idx| {
                if let IdxKind::Expr(e) = &i.kind {
                    expr(e, out);
                }
            });
        }
        ExprKind::Tuple(list) | ExprKind::List(list) => list.iter().for_each(|e| expr(e, out)),
        ExprKind::If(f) => {
            for arm in &f.arms {
                expr(&arm.cond, out);
                expr(&arm.value, out);
            }
            expr(&f.otherwise, out);
        }
        ExprKind::Lambda { body: inner, .. }
        | ExprKind::Member { base: inner, .. }
        | ExprKind::Star { base: inner }
        | ExprKind::Pick { base: inner, .. }
        | ExprKind::Unary { arg: inner, .. }
        | ExprKind::Share { part: inner, .. } => expr(inner, out),
        ExprKind::Binary { lhs, rhs, .. } => {
            expr(lhs, out);
            expr(rhs, out);
        }
        ExprKind::Range { from, to } | ExprKind::Arrow { from, to } => {
            expr(from, out);
            expr(to, out);
        }
        ExprKind::Num(_)
        | ExprKind::Pct(_)
        | ExprKind::Qty { .. }
        | ExprKind::Str(_)
        | ExprKind::Name(_)
        | ExprKind::Keep(_) => {}
    }
}
