//! Bad, huge and random input: never a panic, never slow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;
use common::{read, samples};
use proptest::prelude::*;
use spc_base::{FileId, Limits, codes};
use spc_syntax::{dump, parse, parse_bytes, print};
use std::time::{Duration, Instant};

/// Far above what is measured without optimisation, far below what quadratic or exponential work would take.
const SLOW: Duration = Duration::from_secs(120);

/// The body of the fuzz tests.
fn survives(text: &str) {
    let (ast, diagnostics) = read(text);
    for diagnostic in &diagnostics {
        if let Some(label) = &diagnostic.primary {
            let (start, end) = (label.span.start as usize, label.span.end as usize);
            assert!(text.get(start..end).is_some(), "a span cuts a character or leaves the text: {start}..{end}");
        }
        assert!(!diagnostic.message.contains("internal error"), "{text:?}: {diagnostic:?}");
        assert!(!diagnostic.message.contains("_item"), "a rule's name is shown: {}", diagnostic.message);
    }
    if diagnostics.is_empty() {
        let printed = print(&ast);
        let (again, diagnostics) = read(&printed);
        assert!(diagnostics.is_empty(), "{text:?}\n{printed}\n{diagnostics:?}");
        assert!(ast.same(&again), "{text:?}\n{printed}\n{}\n{}", dump(&ast), dump(&again));
    }
    dump(&ast);
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let out = run();
    assert!(start.elapsed() < SLOW, "{what} took {:?}", start.elapsed());
    out
}

#[test]
fn nesting_is_bounded() {
    for open in ["(", "[", "{", "f(", "x[", "if a {", "{ a: ", "keep 1 of ("] {
        let text = format!("const x = {}", open.repeat(10_000));
        let (ast, diagnostics) = timed("deep nesting", || read(&text));
        assert!(ast.items.is_empty());
        assert_eq!(diagnostics.len(), 1);
        assert_eq!(diagnostics[0].code, codes::TOO_DEEP);
        let at = diagnostics[0].primary.as_ref().unwrap().span;
        assert_eq!(text[..at.start as usize].matches(['(', '[', '{']).count(), Limits::default().nesting);
    }
}

#[test]
fn the_deepest_allowed_nesting_works_on_a_small_stack() {
    let most = Limits::default().nesting;
    let (nest, more) = ("(".repeat(most) + "1" + &")".repeat(most), "(".repeat(most + 1) + "1" + &")".repeat(most + 1));
    let calls = "f(".repeat(most) + "1" + &")".repeat(most);
    let sums = "1 + f(".repeat(most / 2) + "1" + &")".repeat(most / 2);
    let lists = "[".repeat(most) + "1" + &"]".repeat(most);
    let ifs = "if a { ".repeat(most) + "1" + &" } else { 0 }".repeat(most);
    let sentences = "s(keep 1 of x by ".repeat(most) + "1" + &")".repeat(most);
    let unfinished = "f(".repeat(most);
    let families = "layer[l: L] { ".repeat(most - 1) + &"}".repeat(most - 1);
    let run = move || {
        for text in [nest, calls, sums, lists, ifs] {
            let text = format!("const x = {text}");
            let (ast, diagnostics) = timed("nesting", || read(&text));
            assert!(diagnostics.is_empty(), "{text}\n{diagnostics:?}");
            let again = read(&print(&ast));
            assert!(ast.same(&again.0));
            assert!(dump(&ast).len() > 10);
        }
        assert_eq!(read(&format!("const x = {more}")).1[0].code, codes::TOO_DEEP);
        assert!(read(&format!("model m {{ {families} }}")).1.is_empty());
        timed("sentences", || survives(&format!("const x = {sentences}")));
        timed("unfinished", || survives(&format!("const x = {unfinished}")));
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn long_chains_are_bounded() {
    for (start, step) in [
        ("1", " + 1"),
        ("1", "^1"),
        ("a", ".b"),
        ("a", "(1)"),
        ("a", "[1]"),
        ("a", " -> a"),
        ("", "-"),
        ("a", ".*"),
        ("a", "@(b)"),
    ] {
        let (last, most) = (if start.is_empty() { "1" } else { "" }, Limits::default().nesting);
        let chain = |n: usize| format!("const x = {start}{}{last}", step.repeat(n));
        assert!(read(&chain(most)).1.is_empty(), "{step}");
        survives(&chain(most));
        assert_eq!(read(&chain(most + 1)).1[0].code, codes::TOO_DEEP, "{step}");
        let long = chain(20_000);
        let (_, diagnostics) = timed(step, || read(&long));
        assert_eq!(diagnostics[0].code, codes::TOO_DEEP, "{step}");
    }
    // Chains that are flat in the tree have no bound of their own.
    let n = 5_000;
    let flat = [
        format!("const x = {}{{ 0 }}", "if a { 1 } else ".repeat(n)),
        format!("const x = [{}]", "1, ".repeat(n)),
        format!("axis {}z", "a, ".repeat(n)),
        format!("const x = f({}1)", "a, ".repeat(n)),
        format!("model m {{ {} }}", "a: f32[B, C] = zeros()\n".repeat(n)),
        format!("fn f(x) {{ {} }}", "y = x + 1\n".repeat(n)),
    ];
    for text in flat {
        assert!(timed("flat", || read(&text)).1.is_empty(), "{}", &text[..40]);
    }
    // These nest without brackets in sight; the grammar has no such recursion.
    for text in ["if ".repeat(20_000), "(a) => ".repeat(20_000), "keep 1 of a then ".repeat(20_000), "not ".repeat(9)] {
        timed("hidden recursion", || survives(&format!("const x = {text}")));
        timed("hidden recursion", || survives(&format!("require x: {text}")));
    }
    let thens = "require x: keep 1 of a".to_owned() + &" then keep 1 of a".repeat(16);
    assert_eq!(read(&thens).1[0].code, codes::TOO_DEEP);
}

#[test]
fn the_size_is_bounded() {
    let limits = Limits::default();
    let text = " ".repeat(limits.source_bytes + 1);
    assert_eq!(parse(&text, FileId(0), &limits).1[0].code, codes::TOO_LARGE);
    assert!(parse(&text[1..], FileId(0), &limits).1.is_empty());
    assert_eq!(parse_bytes(text.as_bytes(), FileId(0), &limits).1[0].code, codes::TOO_LARGE);
}

#[test]
fn text_that_is_not_utf8_is_named() {
    let limits = Limits::default();
    let (ast, diagnostics) = parse_bytes(b"axis B\naxis \xff\n", FileId(0), &limits);
    assert!(ast.items.is_empty());
    assert_eq!(diagnostics[0].code, codes::NOT_UTF8);
    assert!(diagnostics[0].notes[0].contains("byte 12 (0xff, in line 2)"), "{:?}", diagnostics[0].notes);
    assert!(parse_bytes(b"axis B\n", FileId(0), &limits).1.is_empty());
}

/// A fixed sequence of bytes that looks random.
fn noise(n: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..n).map(|_| next()).collect()
}

#[test]
fn twenty_megabytes_of_noise_are_refused_fast() {
    let big = Limits { source_bytes: 64 << 20, ..Limits::default() };
    let bytes = noise(20 << 20, 1);
    timed("bytes", || assert_eq!(parse_bytes(&bytes, FileId(0), &Limits::default()).1[0].code, codes::TOO_LARGE));
    timed("bytes", || assert_eq!(parse_bytes(&bytes, FileId(0), &big).1[0].code, codes::NOT_UTF8));
    // As text, without brackets so that nesting does not end it early, then with.
    let ascii = |bytes: &[u8]| bytes.iter().map(|b| char::from(b % 95 + 32)).collect::<String>();
    let text = ascii(&bytes);
    timed("text", || assert!(!parse(&text, FileId(0), &big).1.is_empty()));
    let flat = text.replace(['(', '[', '{'], "\n");
    let (_, diagnostics) = timed("flat text", || parse(&flat, FileId(0), &big));
    assert!(!diagnostics.is_empty() && diagnostics.len() <= big.diagnostics);
    let items = "axis B = 1..4 axis C ".repeat(20_000);
    assert!(timed("one line", || parse(&items, FileId(0), &big)).1.is_empty());
    let broken = "fn f(x) = (x +\n".repeat(20_000);
    assert_eq!(timed("broken items", || parse(&broken, FileId(0), &big)).1.len(), big.diagnostics);
    let strings = format!("const x = \"{}", "\\\"".repeat(1 << 20));
    assert_eq!(timed("an open text", || parse(&strings, FileId(0), &big)).1.len(), 1);
    let comments = "//\n".repeat(1 << 20) + "axis B";
    assert!(timed("comments", || parse(&comments, FileId(0), &big)).1.is_empty());
}

#[test]
fn one_character_mutants_of_samples_survive() {
    const INSERT: [char; 24] = [
        '(', ')', '[', ']', '{', '}', '"', ':', '=', ',', '.', '-', '>', '%', '0', 'x', ' ', '\n', '/', '\\', '*', '@',
        'é', '\0',
    ];
    let mut mutant = 0usize;
    for (_, text) in samples() {
        let places: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
        // A prime step visits all kinds of places over the files without taking minutes.
        for (n, &at) in places.iter().enumerate().step_by(97) {
            let c = INSERT[n % INSERT.len()];
            let width = text[at..].chars().next().map_or(0, char::len_utf8);
            let inserted = format!("{}{c}{}", &text[..at], &text[at..]);
            let removed = format!("{}{}", &text[..at], &text[at + width..]);
            timed("mutant", || survives(&inserted));
            timed("mutant", || survives(&removed));
            timed("cut", || survives(&text[..at]));
            mutant += 3;
        }
    }
    assert!(mutant > 1_000, "{mutant}");
}

/// Tokens of the language, for soups that get further into the grammar than random characters.
fn token() -> impl Strategy<Value = String> {
    let words: Vec<&'static str> = spc_grammar::ITEM_WORDS.iter().chain(&spc_grammar::INNER_WORDS).copied().collect();
    let marks = vec![
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "=",
        "->",
        "=>",
        "..",
        ".",
        "*",
        "+",
        "-",
        "^",
        "/",
        "&&",
        "||",
        "<=",
        "@",
        "!",
        "\n",
        "\n",
        "\"a\"",
        "\"",
        "//",
        "/// doc\n",
        "1",
        "2.5",
        "25%",
        "1 steps",
        "0x",
        "é",
        "&",
        ";",
        "_",
    ];
    let free = vec![
        "x",
        "keep",
        "then",
        "min",
        "every",
        "always first",
        "multiple",
        "joint",
        "state",
        "phase",
        "apply",
        "freeze",
        "restart",
        "radial",
        "of groups",
        "like",
        "above",
        "axes",
        "from",
        "f32",
        "cost",
        "elements",
        "tensor",
        "until",
        "when",
        "forward(w)",
        "sweep",
        "observe",
        "on_overlap",
        "pad",
        "except",
    ];
    prop_oneof![
        prop::sample::select(words).prop_map(str::to_owned),
        prop::sample::select(marks).prop_map(str::to_owned),
        prop::sample::select(free).prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_text_survives(text in "\\PC{0,200}") {
        survives(&text);
    }

    #[test]
    fn random_lines_survive(text in "[a-z0-9(){}\\[\\]:=,.%\"/@*^<>!&|\\\\ \n\r\t-]{0,300}") {
        survives(&text);
    }

    #[test]
    fn random_bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (_, diagnostics) = parse_bytes(&bytes, FileId(0), &Limits::default());
        prop_assert!(std::str::from_utf8(&bytes).is_ok() || diagnostics[0].code == codes::NOT_UTF8);
    }

    #[test]
    fn token_soup_survives(tokens in prop::collection::vec((token(), any::<bool>()), 0..60)) {
        let text: String = tokens.iter().map(|(t, glue)| format!("{t}{}", if *glue { "" } else { " " })).collect();
        survives(&text);
    }

    #[test]
    fn items_of_token_soup_survive(word in prop::sample::select(spc_grammar::ITEM_WORDS.to_vec()),
                                   tokens in prop::collection::vec(token(), 0..12)) {
        survives(&format!("{word} {}", tokens.join(" ")));
    }
}
