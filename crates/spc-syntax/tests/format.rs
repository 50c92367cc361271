//! The formatter: the same program, the same comments, the same text when done twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;
use common::programs::program;
use common::{all_files, read, samples};
use proptest::prelude::*;
use spc_base::{FileId, Limits};
use std::time::{Duration, Instant};

fn format(text: &str) -> String {
    spc_syntax::format(text, FileId(3), &Limits::default()).unwrap_or_else(|d| panic!("{text}\n{d:#?}"))
}

/// Comments without the blanks at their ends, sorted. Texts hold no `//` in the tests' programs.
fn comments(text: &str) -> Vec<&str> {
    let lines = text.split(['\n', '\r']);
    let mut out: Vec<&str> = lines.filter_map(|l| l.find("//").map(|at| l[at..].trim_end())).collect();
    out.sort_unstable();
    out
}

/// The properties that hold for every text; the text in the one style if it has no errors.
fn holds(text: &str) -> Option<String> {
    let result = spc_syntax::format(text, FileId(3), &Limits::default());
    let (ast, diagnostics) = read(text);
    let out = match result {
        Ok(out) => out,
        Err(found) => {
            assert_eq!(found, diagnostics);
            return None;
        }
    };
    assert!(diagnostics.is_empty());
    let (again, diagnostics) = read(&out);
    assert!(diagnostics.is_empty(), "{text}\n=>\n{out}\n{diagnostics:?}");
    assert!(ast.same(&again), "{text}\n=>\n{out}");
    assert_eq!(comments(text), comments(&out), "{text}\n=>\n{out}");
    assert_eq!(format(&out), out, "not stable:\n{text}");
    assert!(out.is_empty() || (out.ends_with('\n') && !out.ends_with("\n\n") && !out.starts_with('\n')), "{out:?}");
    for line in out.lines() {
        assert!(
            line.trim_end() == line && (!line.contains('\t') || line.contains('"') || line.contains("//")),
            "{line:?}"
        );
    }
    assert!(!out.contains("\n\n\n") && !out.contains("{\n\n") && !out.contains('\r'), "{out}");
    Some(out)
}

#[track_caller]
fn becomes(text: &str, expected: &str) {
    let out = holds(text).unwrap_or_else(|| panic!("{text} does not parse: {:?}", read(text).1));
    assert_eq!(out, expected, "\n{out}");
}

#[test]
fn every_file_of_the_repository_keeps_its_meaning_and_comments() {
    let mut formatted = 0;
    for (path, text) in all_files() {
        let out = holds(&text);
        formatted += usize::from(out.is_some());
        for line in out.iter().flat_map(|o| o.lines()) {
            let code = line.split("//").next().unwrap_or_default().trim_end();
            assert!(code.chars().count() <= 120, "{}: {line}", path.display());
        }
    }
    assert!(formatted > 90, "{formatted}");
}

#[test]
fn blanks_and_line_ends() {
    becomes("", "");
    becomes(" \n\n", "");
    becomes(
        "\u{feff}axis   B=1 ..  4 ,C\r\n\r\n\r\n\r\nconst x=( 1+ - 2 ) ^ 2\r\n",
        "axis B = 1..4, C\n\nconst x = (1 + -2)^2\n",
    );
    becomes("axis B axis C\tconst x = [ 1,2 ]", "axis B\naxis C\nconst x = [1, 2]\n");
    becomes("use std.{a ,b}", "use std.{a, b}\n");
    becomes(
        "fn f ( x:f32 [..,(H C)] )->y : f32{ y=x[ 0 ]*! x }",
        "fn f(x: f32[.., (H C)]) -> y: f32 { y = x[0] * !x }\n",
    );
    becomes(
        "train t {a:1\n\n\n  phase p 5%{}   b: 2  c : 3\n\n}",
        "train t {\n  a: 1\n\n  phase p 5% { }   b: 2   c: 3\n}\n",
    );
    becomes("run r { a: 1, b: 2 c: 3 }", "run r { a: 1, b: 2   c: 3 }\n");
    becomes("const x =\n\n  a.b", "const x =\n  a.b\n");
}

#[test]
fn lines_end_only_where_the_style_lets_them() {
    becomes("const\nx = a +\nb", "const x = a\n  + b\n");
    becomes("const x = f(a,\nb)", "const x = f(\n  a,\n  b\n)\n");
    becomes("const x = f(g(\na))", "const x = f(g(\n  a\n))\n");
    becomes("fn f(x) { y = x\nz = x }", "fn f(x) {\n  y = x\n  z = x\n}\n");
    becomes("run r { a: f(\n1) }", "run r {\n  a: f(\n    1\n  )\n}\n");
    becomes(
        "const x = if a { 1 }\nelse if b { 2 } else\n{ 3 }",
        "const x = if a { 1 }\n  else if b { 2 } else { 3 }\n",
    );
    becomes("const x =\nif a { 1 }\nelse { 3 }", "const x =\n  if a { 1 }\n  else { 3 }\n");
    becomes("fn f(x) -> y\nwhere P = 1, Q = 2 { y = x }", "fn f(x) -> y\n  where P = 1, Q = 2\n{\n  y = x\n}\n");
}

#[test]
fn a_number_keeps_away_from_a_unit_that_is_not_its_own() {
    let text = "update u(c: constraint) { mask m = a every 3\nsteps }";
    becomes(text, "update u(c: constraint) { mask m = a every 3  steps }\n");
    becomes("run r { batch: 64   epochs: 3 }", "run r { batch: 64   epochs: 3 }\n");
}

#[test]
fn comments_stay_where_they_are() {
    becomes("//a\n\n\n//! b\n///c\naxis B //d\n//e", "//a\n\n//! b\n///c\naxis B  //d\n//e\n");
    becomes("axis B, // b\n\n// c\nC// d\n\n// e", "axis B,  // b\n  // c\n  C  // d\n\n// e\n");
    becomes(
        "run r {// a\n\n// b\n\ncall: x // c\n\n// d\n\n}",
        "run r {  // a\n\n  // b\n\n  call: x  // c\n\n  // d\n}\n",
    );
    becomes("const x = f // a\n", "const x = f  // a\n");
    becomes("const x = - // a\n  b", "const x = -  // a\n  b\n");
    becomes("const x = f(// a\n)", "const x = f(  // a\n)\n");
    becomes("const x = [1 // a\n, 2]", "const x = [\n  1  // a\n    , 2\n]\n");
}

#[test]
fn columns_stay_lined_up_as_far_left_as_they_go() {
    becomes("axis   B = 1     // a\naxis LONG = 2    // b\n", "axis B = 1     // a\naxis LONG = 2  // b\n");
    becomes("const x   =  1\nconst yy  =  2\n", "const x  = 1\nconst yy = 2\n");
    becomes("const x  = 1\n\nconst yy = 2\n", "const x = 1\n\nconst yy = 2\n");
    becomes("const x  = 1\n// c\nconst yy = 2\n", "const x  = 1\n// c\nconst yy = 2\n");
    becomes(
        "model m {\n  w: f32[A] = z()   v: f32\n  long: f32[A, B] = z()\n  x: f32[A]       = z()\n}",
        "model m {\n  w: f32[A] = z()   v: f32\n  long: f32[A, B] = z()\n  x: f32[A]       = z()\n}\n",
    );
}

#[test]
fn long_lines_are_broken_at_the_outermost_places() {
    let name = "a".repeat(30);
    let run = format!("run r {{ call: {name}   b: {name}   cdefgh: {name} }}");
    becomes(&run, &format!("run r {{\n  call: {name}   b: {name}   cdefgh: {name}\n}}\n"));
    let run = format!("run r {{ call: {name}   {name}: {name}   {name}: {name} }}");
    becomes(&run, &format!("run r {{\n  call: {name}\n  {name}: {name}\n  {name}: {name}\n}}\n"));
    let sum = format!("const x = {}1", format!("{name} * 2 + ").repeat(4));
    becomes(&sum, &format!("const x = {name} * 2 + {name} * 2 + {name} * 2\n  + {name} * 2 + 1\n"));
    let call = format!("fn f(p: f32[{name}], q: f32[{name}], r: f32[{name}], s: f32) -> y {{ y = p }}");
    becomes(
        &call,
        &format!("fn f(\n  p: f32[{name}], q: f32[{name}],\n  r: f32[{name}], s: f32\n) -> y {{\n  y = p\n}}\n"),
    );
    let sentence = format!("require {name}: keep 2 of 4 of elements per tile(in: 4) by {name} on {name} via {name}");
    becomes(
        &sentence,
        &format!("require {name}: keep 2 of 4 of elements per tile(in: 4) by {name}\n  on {name} via {name}\n"),
    );
    // A comment never breaks the line before it.
    becomes(&format!("axis B // {}", "c".repeat(200)), &format!("axis B  // {}\n", "c".repeat(200)));
}

#[test]
fn a_text_with_errors_is_refused_with_its_diagnostics() {
    assert!(holds("axis B\nconst = 1\n").is_none());
    assert!(holds(&"(".repeat(300)).is_none());
}

#[test]
fn large_and_deep_texts_take_no_time() {
    let deep = |n: usize| format!("const x = {}1{}\n", "f(a, [".repeat(n), "])".repeat(n));
    let texts = [
        deep(120).repeat(50),
        format!("const x = [{}1]", "abc, ".repeat(50_000)),
        format!("const x = f({}1)\n", "a + ".repeat(250)).repeat(100),
        "const x  = 1 // c\nconst yyy = 2   // d\n".repeat(10_000),
        format!("axis {}z", "a, ".repeat(50_000)),
    ];
    for text in texts {
        // A few seconds on a free machine; work that grows with the square of these sizes takes hours on any.
        let start = Instant::now();
        holds(&text).unwrap();
        assert!(start.elapsed() < Duration::from_secs(300), "{:?} for {} bytes", start.elapsed(), text.len());
    }
}

/// What a mutation puts in the place of blanks.
const BETWEEN: [&str; 9] =
    ["\n  ", " // c\n ", "  ", "\n\n\n ", "\n // d\n // e\n\n ", "\r\n ", "\t", "     ", "\n/// f\n "];

/// Replaces blanks, and puts some after marks, as the numbers say. Most results are programs still.
fn respace(text: &str, choice: &[usize]) -> String {
    let mut out = String::new();
    let (mut n, mut quoted, mut comment, mut last) = (0, false, false, ' ');
    for c in text.chars() {
        comment = c != '\n' && (comment || (!quoted && c == '/' && last == '/'));
        quoted ^= c == '"' && last != '\\' && !comment;
        last = c;
        if quoted || comment || !matches!(c, ' ' | ',' | '=' | '(' | ')' | '{' | '}' | '*') {
            out.push(c);
            continue;
        }
        let with = choice[n % choice.len()];
        n += 1;
        match (c, BETWEEN.get(with)) {
            (' ', Some(between)) => out.push_str(between),
            (c, Some(between)) if with.is_multiple_of(2) => {
                out.push(c);
                out.push_str(between);
            }
            (c, _) => out.push(c),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_with_random_blanks_and_comments(
        text in program(), choice in prop::collection::vec(0usize..40, 1..40)
    ) {
        holds(&text);
        holds(&respace(&text, &choice));
    }

    #[test]
    fn random_lines(text in "[a-z0-9(){}\\[\\]:=,.%\"/@*^<>!&|\\\\ \n\r\t-]{0,300}") {
        holds(&text);
    }

    #[test]
    fn random_items(text in "(axis [A-C](,\n? *//[a-z ]{0,3}\n *[D-F]){0,3} *(//[a-z ]{0,9})?\n{1,3}){0,6}") {
        prop_assert!(holds(&text).is_some());
    }

    #[test]
    fn samples_with_random_blanks_and_comments(
        n in 0usize..23, choice in prop::collection::vec(0usize..200, 100..400)
    ) {
        holds(&respace(&samples()[n].1, &choice));
    }
}

#[test]
fn most_mutated_programs_are_still_programs() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let choice = prop::collection::vec(0usize..40, 1..40);
    let mut commented = 0;
    for _ in 0..100 {
        let text = program().new_tree(&mut runner).unwrap().current();
        let text = respace(&text, &choice.new_tree(&mut runner).unwrap().current());
        commented += usize::from(text.contains("//") && holds(&text).is_some());
    }
    assert!(commented > 25, "{commented}");
}
