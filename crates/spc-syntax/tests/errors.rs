//! What a user is told: code, message, the exact words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;
use common::{bad, pointed, read};
use spc_base::codes;

fn check(text: &str, message: &str, words: &str) {
    let (code, found, at) = bad(text);
    assert_eq!((code, found.as_str(), at.as_str()), (codes::SYNTAX, message, words), "{text}");
}

#[test]
fn what_was_expected_and_what_was_found() {
    check("const x 5", "expected `=`, found `5`", "5");
    check("const = 5", "expected a name, found `=`", "=");
    check("axis B = 1..", "expected an expression, found the end of the `axis` item", "..");
    check("model m from safetensors { }", "expected a text in double quotes, found `{`", "{");
    check("model m { w: f32[A }", "expected `,` or `]`, found `}`", "}");
    check("fn f(x) { x + 1 }", "expected `=`, found `+`", "+");
    check("fn f(x) = x +", "expected an expression, found the end of the `fn` item", "+");
    check("require keep 50% elements", "expected `of`, found `elements`", "elements");
    check("run test { call f }", "expected `:` or `=`, found `f`", "f");
    check("run test { call: }", "expected an expression, found `}`", "}");
    check("expect size(x) < = 4", "expected an expression, found `=`", "=");
    check("train t { phase a { } }", "expected a percentage such as `25%`, found `{`", "{");
    check("quantize net.* int8()", "expected `to` or `except`, found `int8`", "int8");
    check("fn f(x) = if a { 1 }", "expected `else`, found the end of the `fn` item", "}");
    check("const a = [1, 2", "expected `,` or `]`, found the end of the `const` item", "2");
    check("use std.", "expected `{` or a name, found the end of the `use` item", ".");
    check("axis B = é", "expected an expression, found `é`", "é");
    check("const x = \"abc", "the text is not closed", "\"abc");
    check(
        "require a: keep 50% of elements per tensor foo",
        "expected the end of the item or a clause such as `per`, `by` or `on`, found `foo`",
        "foo",
    );
}

#[test]
fn a_comment_at_the_end_is_no_part_of_the_message() {
    check("const x = // five\n// six\n", "expected an expression, found the end of the `const` item", "=");
}

#[test]
fn every_broken_item_is_reported_and_the_rest_is_read() {
    let text = "\
axis B = 1..
axis C = 4
model m { w: f32[A }
fn f(x) = x
group n = slices(F of net
const y = 2
";
    let (ast, diagnostics) = read(text);
    let words: Vec<&str> = ast.items.iter().map(|i| i.kind.word()).collect();
    assert_eq!(words, ["axis", "fn", "const"]);
    assert_eq!(diagnostics.iter().map(|d| pointed(text, d)).collect::<Vec<_>>(), ["..", "}", "of"]);
    assert!(diagnostics.iter().all(|d| d.code == codes::SYNTAX));
}

#[test]
fn a_prefix_that_parses_does_not_hide_the_rest() {
    let (ast, diagnostics) = read("group n = slices\n  (F) of net\naxis B\n");
    assert_eq!((ast.items.len(), diagnostics.len()), (1, 1));
    // A line that starts in column 1 is an item of its own, and the one before it stands.
    let (ast, diagnostics) = read("axis B = 4\nrequre a: nm(2, 4)\nhello\naxis C\n");
    assert_eq!((ast.items.len(), diagnostics.len()), (2, 1));
    assert_eq!(diagnostics[0].message, "expected an item, found `requre`");
    assert_eq!(diagnostics[0].fix.as_ref().unwrap().replacement, "require");
}

#[test]
fn an_unclosed_item_ends_at_the_next() {
    let text = "model m {\n  w: f32[A]\n\nfn f(x) = x\n";
    let (ast, diagnostics) = read(text);
    assert_eq!(ast.items.len(), 1);
    assert!(diagnostics[0].message.contains("`}`"), "{}", diagnostics[0].message);
}

#[test]
fn ratios() {
    for text in ["require a: keep 2:4 of elements", "require a: nm(2:4)"] {
        check(text, "`2:4` is no amount", "2:4");
        assert_eq!(read(text).1[0].fix.as_ref().unwrap().replacement, "2 of 4");
    }
    for (text, words, fix) in [
        ("require a: keep 0.4 of elements", "0.4", "40%"),
        ("require a: keep 0.07 of elements", "0.07", "7%"),
        ("require a: keep 1/16 of elements", "1/16", "1 of 16"),
        ("require a: keep 4e-1 of elements", "4e-1", "40%"),
        ("pattern p(d: amount = 0.25) = keep d of elements", "0.25", "25%"),
        ("require a: keep 50% of elements min 0.1 per tensor", "0.1", "10%"),
    ] {
        let (code, _, at) = bad(text);
        assert_eq!((code, at.as_str()), (codes::BARE_RATIO, words), "{text}");
        assert_eq!(read(text).1[0].fix.as_ref().unwrap().replacement, fix);
    }
    for fine in ["require a: keep 4 of elements", "require a: keep x/2 of elements", "update u(l: f32 = 0.5) { }"] {
        assert!(read(fine).1.is_empty(), "{fine}");
    }
}

#[test]
fn verbs_that_remove() {
    check("require a: drop 50% of elements", "`drop` is not a verb here: say what is kept", "drop");
    check("require a: zero 2 of 4 of elements", "`zero` is not a verb here: say what is kept", "zero");
    check("require prune 50% of elements", "`prune` is not a verb here: say what is kept", "prune");
}

#[test]
fn reserved_words_in_binding_positions() {
    for (text, word) in [
        ("const of = 5", "of"),
        ("group data = slices(F) of net", "data"),
        ("fn run(x) = x", "run"),
        ("fn f(x) { model = x }", "model"),
        ("axis B, axis = 3", "axis"),
        ("fn f(x) { for in in L { } }", "in"),
        ("fn f(x) = mask", "mask"),
    ] {
        check(text, &format!("`{word}` is a reserved word and cannot be a name"), word);
    }
    // Labels and members may be any word.
    assert!(read("fn f(model) = g(run: 1, of: x.data.mask)").1.is_empty());
}

#[test]
fn a_group_where_a_cost_is_meant() {
    let text = "group neuron = slices(F) of net\nrequire a: keep 50% of neuron of net\n";
    check(text, "`neuron` is a group, and stands where a cost would", "neuron");
    assert!(read(text).1[0].help[0].contains("on net"));
    check("require a: keep 50% of elements of net", "`elements` is a group, and stands where a cost would", "elements");
    assert!(read("require a: keep 50% of flops of neuron").1.is_empty());
}

#[test]
fn a_clause_twice() {
    check("require a: keep 1 of x per tensor by abs per layer", "`per` is written twice", "per layer");
    check("require a: nm(2, 4) pad ragged", "`pad` or `ragged` is written twice", "ragged");
    check("group g = slices(F) of net cost: a cost: b", "`cost` is written twice", "cost: b");
}

#[test]
fn editions() {
    for (text, words) in [("edition 2", "2"), ("edition 1.0", "1.0"), ("axis B\nedition 1", "edition 1")] {
        let (code, _, at) = bad(text);
        assert_eq!((code, at.as_str()), (codes::EDITION, words));
    }
    assert!(read("// first\nedition 1\n").1.is_empty());
}

#[test]
fn calls_and_texts() {
    let (_, diagnostics) = read("fn f(x) = g (x)");
    assert!(diagnostics[0].help[0].contains("without a blank"));
    check("const x = \"\\q\"", "`\\q` is no escape", "\"\\q\"");
    check("const x = 1e999", "the number is too large", "1e999");
    check("const x = 1234567890.1234567%", "the percentage has too many digits", "1234567890.1234567%");
    check("fn f(x: f32[99999999999999999999]) = x", "the size is too large", "99999999999999999999");
}

/// What sticks to a name is its index or call everywhere, also where a name is declared or assigned.
#[test]
fn blanks_before_an_index_or_a_call() {
    check("fn f(x) { y [i] = x }", "expected `=`, found `[`", "[");
    check("fn f(a [j]) = a", "expected `=`, `:`, `,` or `)`, found `[`", "[");
    for fine in [
        "fn f(a[j], b[j]: f32 = 0) -> y[j]: f32 { y[j] = a[j] }",
        "update u(c: constraint) { forward\n  (w) = w }",
        "require keep(x)",
        "const x = f(keep(1), keep[2], keep.a, keep, sum(above(1) over i))",
        "require a: keep (2) of (x)",
        "require a: keep above(1) of x",
        "train t { restart[i] = 3 restart apply a }",
        "const x = f(a over i, j, b.c)",
        "const x = f(a over i, j, k: 3)",
    ] {
        assert!(read(fine).1.is_empty(), "{fine}: {:?}", read(fine).1);
    }
    check("model m { axes { A: 4 } }", "expected `=`, `,` or `}`, found `:`", ":");
}

/// What people write who come from other languages.
#[test]
fn habits_get_a_help() {
    for (text, words) in [
        ("fn f(x) { y = x; z = y }", "leave `;` out"),
        ("fn f(x) = a and b", "`&&`"),
        ("fn f(x) = a or b", "`||`"),
        ("fn f(x) = not a", "`!`"),
        ("fn f(x) = x ** 2", "`x^2`"),
        ("fn f(x) = x @ w", "with indices"),
        ("fn f(x) = a ? 1 : 2", "`if c { a } else { b }`"),
        ("fn f(x) = if a then 1 else 2", "`if c { a } else { b }`"),
        ("fn f(x) { if a { y = 1 } else { y = 2 } }", "`y = if c"),
        ("fn f(x) { return x }", "a result is assigned by its name"),
        ("fn f(x) { let y = x }", "a statement is `name = ..`"),
        ("fn f(x) { x += 1 }", "`x = x + 1`"),
        ("fn f(x) { y, z = g(x) }", "`(y, z) = ..`"),
        ("fn f(x: f32[B]): f32[B] = x", "`-> y: f32[B]`"),
        ("fn f(x) = x[:, 0]", "by its index"),
        ("fn f(x) = .5", "`0.5`"),
        ("fn f(x) = +5", "no sign"),
        ("fn f(x) = 'a'", "double quotes"),
        ("axis B in 1..512", "`axis B = 1..512`"),
        ("axis B: 1..512", "`axis B = 1..512`"),
        ("const x: f32 = 3", "no type"),
        ("use std.nn as n", "keeps its own name"),
        ("model m from \"w.safetensors\" { w: f32[A] }", "name the format first"),
        ("model m from safetensors(\"w\") { w: f32[A] }", "after the format"),
        ("model m { w: f32[A], b: f32[A] }", "no commas"),
        ("train t { loss: f(x), steps: 10 }", "no commas"),
        ("require a: keep 25 % of elements", "`25%`"),
        ("require a: keep 25% of x on a, b", "`net.{a, b}`"),
        ("require a: keep 50% of neuron per layer, min 1 per layer", "no commas"),
        ("require a: keep 2 of 4 of elements along in", "`per tile(in: 4)`"),
        ("require a: keep 25% of elements in net.w", "`on net.w`"),
        ("require a: keep 50% of neuron multiple of 64", "`multiple 64`"),
        ("require a: keep at most 4 of neuron", "the most that is kept"),
        ("require a: nm(2, 4) then keep 50% of elements", "starts with `keep`"),
        ("quantize net.a, net.b to int8", "`net.{a, b}`"),
        ("group g = tile(in: 4) on net.w", "`tile(in: 4) of net.w`"),
    ] {
        let help = read(text).1[0].help.join(" ");
        assert!(help.contains(words), "{text}: {:?} {help}", read(text).1[0].message);
    }
}

#[test]
fn a_time_may_say_of_what_it_is_a_part() {
    let (short, long) = (
        "require a: nm(2, 4) at 90% every 10 steps until 80%",
        "require a: nm(2, 4) at 90% of steps every 10 steps until 80% of steps",
    );
    assert!(read(long).1.is_empty(), "{:?}", read(long).1);
    assert!(read(short).0.same(&read(long).0));
    assert!(read("update u(c: constraint) { state x = 0 at 20% of steps }").1.is_empty());
    check("require a: nm(2, 4) at 90% of flops", "expected `steps`, found `flops`", "flops");
}
