//! The shape of trees: precedence, spans, and printing back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;
use common::programs::program;
use common::{good, read};
use proptest::prelude::*;
use spc_syntax::ast::*;
use spc_syntax::{dump, print, print_expr, print_sentence};

fn constant(text: &str) -> Expr {
    match good(&format!("const x = {text}")).items.remove(0).kind {
        ItemKind::Const(item) => item.value,
        other => panic!("{other:?}"),
    }
}

fn sentence(text: &str) -> Sentence {
    match good(&format!("require r: {text}")).items.remove(0).kind {
        ItemKind::Require(RequireItem { what: Require::Sentence(sentence), .. }) => sentence,
        other => panic!("{other:?}"),
    }
}

/// Every operation in parentheses.
fn full(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Binary { op, lhs, rhs, .. } => format!("({} {} {})", full(lhs), op.symbol(), full(rhs)),
        ExprKind::Unary { op, arg } => format!("({}{})", op.symbol(), full(arg)),
        ExprKind::Range { from, to } => format!("({}..{})", full(from), full(to)),
        ExprKind::Arrow { from, to } => format!("({} -> {})", full(from), full(to)),
        _ => print_expr(expr),
    }
}

#[test]
fn precedence() {
    for (text, expected) in [
        ("-x^2", "(-(x ^ 2))"),
        ("2^-x^2 * 3", "((2 ^ (-(x ^ 2))) * 3)"),
        ("a^b^c", "(a ^ (b ^ c))"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b * c", "((a / b) * c)"),
        ("a + b * c < d && e || f", "((((a + (b * c)) < d) && e) || f)"),
        ("w & b & c + 1", "((w & b) & (c + 1))"),
        ("0..a + 1 -> 2", "((0..(a + 1)) -> 2)"),
        ("!a && b", "((!a) && b)"),
        ("--a", "(-(-a))"),
        ("(a + b) * c", "((a + b) * c)"),
        ("if a { 1 } else { 2 } + 3", "(if a { 1 } else { 2 } + 3)"),
    ] {
        assert_eq!(full(&constant(text)), expected, "{text}");
    }
}

#[test]
fn values() {
    let ExprKind::Pct(pct) = constant("6.25%").kind else { panic!() };
    assert_eq!((pct.num, pct.den, pct.text.as_str()), (1, 16, "6.25"));
    let ExprKind::Num(num) = constant("50_000").kind else { panic!() };
    assert_eq!((num.int, num.value), (Some(50_000), 50_000.0));
    let ExprKind::Num(num) = constant("1e-3").kind else { panic!() };
    assert_eq!((num.int, num.value), (None, 1e-3));
    let ExprKind::Str(text) = constant(r#""a\"b\\c\n""#).kind else { panic!() };
    assert_eq!(text.value, "a\"b\\c\n");
    assert!(matches!(constant("60 MiB").kind, ExprKind::Qty { unit, .. } if unit.name == "MiB"));
    assert!(matches!(constant("60 MiB == x").kind, ExprKind::Binary { .. }));
    assert!(matches!(constant("2 of 4").kind, ExprKind::Share { of: ShareOf::Count(_), .. }));
    assert!(matches!(constant("10%..80% of steps").kind, ExprKind::Share { of: ShareOf::Name(_), .. }));
}

#[test]
fn spans_include_parentheses() {
    let text = "const x = (a + b) * c";
    let ItemKind::Const(item) = &good(text).items[0].kind else { panic!() };
    let ExprKind::Binary { lhs, op_span, .. } = &item.value.kind else { panic!() };
    assert_eq!(&text[lhs.span.start as usize..lhs.span.end as usize], "(a + b)");
    assert_eq!(&text[op_span.start as usize..op_span.end as usize], "*");
    assert_eq!(&text[item.value.span.start as usize..item.value.span.end as usize], "(a + b) * c");
}

#[test]
fn a_sentence_with_every_clause() {
    let s = sentence(
        "keep 2 of m of tile(in: m) of net per (B, T) min 1 per layer by joint abs on net.* except net.fc at end \
         every 100 steps until 80% via prox always first 1, last 4 multiple 16 on_overlap sum pad",
    );
    let c = &s.clauses;
    assert!(matches!(&s.amount.kind, AmountKind::Of { of: ShareOf::Name(m), .. } if m.name == "m"));
    assert!(s.group.of.is_some());
    assert!(matches!(c.per.as_ref().unwrap().scope.kind, ScopeKind::Expr(_)));
    assert!(matches!(c.floor.as_ref().unwrap().scope.kind, ScopeKind::Layer));
    assert!(c.by.as_ref().unwrap().joint && c.by.as_ref().unwrap().score.is_some());
    assert!(c.on.is_some() && c.except.is_some() && c.at.is_some() && c.via.is_some() && c.multiple.is_some());
    let every = c.every.as_ref().unwrap();
    assert_eq!((every.count.as_int(), every.unit.as_ref().unwrap().as_str()), (Some(100), "steps"));
    assert_eq!(c.always.as_ref().unwrap().value.len(), 2);
    assert_eq!(c.on_overlap.as_ref().unwrap().value.name, "sum");
    assert_eq!(c.tail.as_ref().unwrap().value, Tail::Pad);
    assert!(
        good(&format!("require r: {}", print_sentence(&s))).same(&good(&format!("require r: {}", print_sentence(&s))))
    );
}

#[test]
fn then_and_joint() {
    let s = sentence("keep 4 of m of x by joint then keep n of 4 of elements by abs on net");
    assert!(s.clauses.by.as_ref().unwrap().joint);
    assert!(s.clauses.by.as_ref().unwrap().score.is_none());
    let inner = s.then.as_ref().unwrap();
    assert!(inner.clauses.on.is_some() && s.clauses.on.is_none());
    assert_eq!(inner.span.end, s.span.end);
    // A score may be called `joint`.
    for text in ["by (joint)", "by joint(x)"] {
        let s = sentence(&format!("keep 1 of x {text}"));
        assert!(!s.clauses.by.unwrap().joint, "{text}");
    }
}

#[test]
fn texts_that_are_easy_to_print_wrongly() {
    for text in [
        "require r: keep 50% of (neuron) of net",
        "require r: keep (above) - 1 of x",
        "require r: (keep)",
        "require keep: keep 1 of x",
        "require r: keep 1 of x by (joint)",
        "require r: keep 1 of x by joint (min) multiple 4",
        "const x = f(a over i, (y))",
        "const x = f(a over i in r, (y) by z, (i), l: 2)",
        "const x = f((keep), keep 1 of x, (keep) - 1)",
        "const x = if (if a { b } else { c }) { d } else { e }",
        "const x = if f(if a { b } else { c }) { d } else { e }",
        "const x = if a { b } else { if c { d } else { e } }",
        "const x = (if a { b } else { c })[1]",
        "const x = (1).a + (2%).b + (\"s\").c + (-x).d + [1](2) + (a, b)[1]",
        "const x = (a^b)^c - (a - (b - c)) * (-a)^2",
        "const x = (5 steps) == 3",
        "const x = a[.., (h c), ((h)), 0..3, i + 1]",
        "update u(c: constraint) { mask m = a every (n + 1) steps until 80%  state s = 1 every n }",
        "update u() { refresh(w) -> (w) every interval steps { w = 1 } }",
        "fn f(a[j + 1]: f32, b[j]: {c: f32}, d[..] = (x) => x) -> (y[j]: f32) = 1",
        "score s = 1",
        "score s() = 1",
        "schedule s[l: L, k] = 1",
        "const x = \"\\t\\r\\n\\\\ \\\"\"",
        "model m",
        "model m { }",
        "train t { restart  restart = 3  apply a via b(1), c  freeze m  loss: (x) => x }",
    ] {
        let ast = good(text);
        let printed = print(&ast);
        assert!(ast.same(&good(&printed)), "{text}\n{printed}");
    }
}

#[test]
fn trees_that_differ_are_not_the_same() {
    let ast = good("const x = 1 + 2");
    assert!(ast.same(&good("  const   x = (1 + 2) // same")));
    for other in ["const x = 1 - 2", "const y = 1 + 2", "const x = 1 + 3", "/// d\nconst x = 1 + 2", "const x = 2 + 1"]
    {
        assert!(!ast.same(&good(other)), "{other}");
    }
    assert_ne!(ast, good(" const x = 1 + 2"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Random programs print to text that reads as the same program.
    #[test]
    fn printing_keeps_programs(text in program()) {
        let (ast, diagnostics) = read(&text);
        prop_assume!(diagnostics.is_empty());
        let printed = print(&ast);
        let (again, diagnostics) = read(&printed);
        prop_assert!(diagnostics.is_empty(), "{}\n{}\n{:?}", text, printed, diagnostics);
        prop_assert!(ast.same(&again), "{}\n{}\n{}\n{}", text, printed, dump(&ast), dump(&again));
        prop_assert_eq!(print(&again), printed);
    }
}

#[test]
fn the_random_programs_are_mostly_good() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let good = (0..200).filter(|_| read(&program().new_tree(&mut runner).unwrap().current()).1.is_empty()).count();
    assert!(good > 120, "only {good} of 200 random programs parse");
}
