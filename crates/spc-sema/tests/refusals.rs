//! Programs that must be refused: soon, with one message, about what the person wrote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_base::{Diagnostic, FileId, Limits};
use spc_sema::{Library, check};
use std::fmt::Write;

fn diagnostics(text: &str) -> Vec<Diagnostic> {
    let limits = Limits::default();
    let (ast, diags) = spc_syntax::parse(text, FileId(0), &limits);
    if diags.is_empty() { check(&ast, text, &Library::load(), &limits).diagnostics } else { diags }
}

/// The only diagnostic of `body` below a few axes and a model: its code and words of its message.
#[track_caller]
fn refused(body: &str, code: u16, words: &str) {
    let text = format!("axis B = 1..9, K = 4, H = 2, C = 2\nmodel net {{ w: f32[K, H]  e: f32[(H C), K] }}\n{body}");
    let diags = diagnostics(&text);
    let shown: Vec<String> = diags.iter().map(|d| format!("{} {}", d.code.name(), d.message)).collect();
    assert_eq!(diags.len(), 1, "{body}: {shown:#?}");
    assert_eq!(diags[0].code.0, code, "{body}: {shown:#?}");
    assert!(diags[0].message.contains(words), "{body}: {shown:#?}");
    assert!(diags[0].primary.as_ref().is_some_and(|p| p.span.end > p.span.start), "{body}: no place");
}

/// A function of one input with this body.
#[track_caller]
fn body_refused(body: &str, code: u16, words: &str) {
    let head = "fn f(x: f32[B, K], n: i32[B, K], m: bool[B, K])";
    refused(&format!("{head} -> y: f32[B, K] {{ y = {body} }}"), code, words);
}

#[test]
fn work_that_the_text_does_not_bound() {
    let one = "fn f(x: f32[B]) -> y: f32[B]";
    let huge = "axis P = 1000000000000, Q = 1000000000\n";
    refused(&format!("{huge}{one} {{ y = x  for i in P {{ for j in Q {{ z = 1 }} }} }}"), 2, "too much work");
    refused(&format!("{huge}{one} {{ y = x  for i in P {{ }} }}"), 2, "too much work");
    let nested = "axis P = 90000, Q = 90000\nmodel m { a[i: P] { b[j: Q] { } } }\n";
    refused(&format!("{nested}{one} {{ y = x }}"), 2, "too much work");

    let mut doubling = String::from("fn f0(x) = x + 1\n");
    let mut deep = doubling.clone();
    let mut pairs = String::from("fn p0(t) = t\n");
    for i in 1..60 {
        let before = i - 1;
        writeln!(doubling, "fn f{i}(x) = f{before}(x) + f{before}(x)").unwrap();
        let (open, close) = ("-(".repeat(100), ")".repeat(100));
        writeln!(deep, "fn f{i}(x) = {open}f{before}(x){close}").unwrap();
        writeln!(pairs, "fn p{i}(t) -> (a, b) {{ u = p{before}(t)  a = u  b = u }}").unwrap();
    }
    refused(&format!("{doubling}{one} {{ y = x + f59(1) }}"), 2, "too much work");
    refused(&format!("{deep}{one} {{ y = f59(x) }}"), 3, "nested too deeply");
    refused(&format!("{pairs}{one} {{ (a, b) = p59(x)  y = a }}"), 105, "several values");
    body_refused("(x, (x, x))", 105, "several values");
}

#[test]
fn many_mistakes_take_no_long_time() {
    let mut body = String::new();
    (0..20_000).for_each(|i| writeln!(body, "name{i} = unknown{i}").unwrap());
    let text = format!("axis B = 1..9\nfn f(x: f32[B]) -> y: f32[B] {{\n{body}y = x }}");
    let started = std::time::Instant::now();
    assert_eq!(diagnostics(&text).len(), Limits::default().diagnostics);
    let long = "a".repeat(100_000);
    refused(
        &format!("axis {long} = 4\nfn f(x: f32[B, {long}b]) -> y: f32[B] {{ y = sum(x over {long}b) }}"),
        220,
        "no axis",
    );
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

#[test]
fn sizes_that_no_machine_has() {
    refused("axis P = 1000000000, Q = 1000000000\nmodel m { a: f32[P, Q] }", 2, "too large");
    refused("axis P = 1000000000, Q = 1000000000, R = 1000000000\nmodel m { a: f32[(P Q R)] }", 2, "too large");
    let outer = "axis P = 1000000000, Q = 1000000000, R = 1000000000\nfn f(x: f32[P], z: f32[Q], u: f32[R])";
    refused(&format!("{outer} -> y: f32[P] {{ y[p] = sum(x[p] + z[q] + u[r] over q, r) }}"), 2, "too large");
    refused("axis P = 3, Q = 3\nfn f(x: f32[P], z: f32[Q]) -> y: f32[P, Q] { y = x + z }", 201, "share no axis");
    refused("model m { a: f32[0] }", 203, "size 0");
    refused(
        "fn f(x: f32[B, 18446744073709551615]) -> y: f32[B] { y = sum(x over B) }",
        203,
        "size 18446744073709551615",
    );
    let names: Vec<String> = (0..70).map(|i| format!("A{i}")).collect();
    let axes = format!("axis {}\n", names.iter().map(|n| format!("{n} = 1")).collect::<Vec<_>>().join(", "));
    let inputs = names.iter().map(|n| format!("x{n}: f32[{n}]")).collect::<Vec<_>>().join(", ");
    let sum = names.iter().map(|n| format!("x{n}[{n}]")).collect::<Vec<_>>().join(" + ").replace("[A", "[a");
    let over = names.join(", ").replace('A', "a");
    refused(
        &format!("{axes}fn f({inputs}, v: f32[B]) -> y: f32[B] {{ y[b] = v[b] + sum({sum} over {over}) }}"),
        2,
        "65 axes",
    );
    refused(&format!("{axes}fn f(x: f32[{}]) -> y: f32[B] {{ y = x }}", names.join(", ")), 2, "70 axes");
}

#[test]
fn literals_of_another_type() {
    body_refused("x * (true + 1)", 205, "`add` does not take true or false and a number");
    body_refused("x + exp(true)", 205, "`exp` does not take true or false");
    body_refused("x * !3", 205, "`not` does not take a number");
    body_refused("x + true", 205, "do not mix");
    body_refused("x + (if 1 && 2 { 1 } else { 2 })", 205, "`and` does not take a number and a number");
    body_refused("if true && x { 1 } else { 2 }", 205, "do not mix");
    body_refused("if m == 2 { x } else { 2 }", 205, "do not mix");
    body_refused("if m { true } else { x }", 205, "one choice is true or false");
    body_refused("float(n + 0.5)", 205, "`0.5` is no i32");
    body_refused("if n > 0.5 { x } else { 1 }", 205, "`0.5` is no i32");
    body_refused("float(n * 3000000000)", 205, "`3000000000` is no i32");
}

#[test]
fn comparisons_in_a_row() {
    body_refused("if 0 < x < 1 { x } else { 0 }", 1, "comparisons do not chain");
    body_refused("if x > 0 == m { x } else { 0 }", 1, "comparisons do not chain");
    assert!(diagnostics("axis B = 2\nfn f(x: f32[B], m: bool[B]) -> c: bool[B] { c = (x > 0) == m }").is_empty());
    assert!(diagnostics("axis B = 2\nfn f(x: f32[B]) -> c: bool[B] { c = x > 0 && x < 1 || x > 5 }").is_empty());
}

#[test]
fn numbers_that_are_no_index() {
    let f = "fn f(x: f32[B, K]) -> y: f32[B]";
    refused(&format!("{f} {{ y[b] = x[b, -1] }}"), 204, "`-1` is no index");
    refused(&format!("{f} {{ y[b] = x[b, 1.5] }}"), 204, "`1.5` is no index");
    refused(&format!("{f} {{ y[b] = x[b, 1e30] }}"), 204, "is no index");
    refused(&format!("{f} {{ y[b] = x[b, 4] }}"), 204, "index 4 is outside axis `K`");
}

#[test]
fn names_declared_twice() {
    refused("fn f(x: f32[B, K], x: f32[B, K]) -> y: f32[B, K] { y = x }", 102, "the parameter `x`");
    refused("fn f(x: f32[B, K]) -> (y: f32[B, K], y: f32[B, K]) { y = x }", 102, "the result `y`");
}

#[test]
fn one_stored_tensor_has_one_declaration() {
    let from = "model m from safetensors \"none\"";
    refused(&format!("{from} {{ a: f32[K] = \"n\"  b: f32[K] = \"n\" }}"), 102, "both stored as `n`");
    refused(&format!("{from} {{ p[l: H] = \"fixed\" {{ a: f32[K] }} }}"), 102, "both stored as `fixed.a`");
}

#[test]
fn whole_tensors_among_indices() {
    refused("fn f(x: f32[B, K]) -> y: f32[B, K] { y[b, k] = x }", 204, "a whole tensor");
    refused("fn f(x: f32[B, K], z: f32[B]) -> y: f32[B, K] { y[b, k] = x[b, k] + z }", 204, "a whole tensor");
}

#[test]
fn a_misspelt_type_is_not_passed_over() {
    refused("fn f(x: flaot[B, K]) -> y: f32[B, K] { y = x }", 205, "`flaot` is not a type");
    refused("fn f(x: f64[B, K]) -> y: f32[B, K] { y = x }", 6, "`f64`");
    refused("fn f(p: { w: f23[B] }) -> y: f32[B, K] { y = p.w }", 205, "`f23` is not a type");
}

#[test]
fn one_mistake_gives_one_message() {
    // A model that this version refuses does not make the functions that read it wrong, too.
    refused(
        "model m from pickle \"a\" { v: f32[K] }\nfn f(x: f32[B, K]) -> y: f32[B, K] { y = x + m.v }",
        105,
        "pickle",
    );
    // Names assigned by a broken repetition are unknown, not missing.
    refused("fn f(x: f32[B, K]) -> y: f32[B, K] { for i in H { y = x + q } y = y + 1 }", 101, "`q`");
}
