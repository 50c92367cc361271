//! Tree-sitter against the grammar that the compiler parses with.
use super::corpus::{Dice, Text, blocks, mutant, pairs_of_items, programs};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tree_sitter::{Node, Parser, Tree};

/// One-token mutants that the two grammars are compared on.
const MUTANTS: u64 = 12_000;

pub fn parser() -> Parser {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_spc::LANGUAGE.into()).unwrap();
    parser
}

pub fn tree(text: &str) -> Tree {
    parser().parse(text, None).unwrap()
}

fn both(parser: &mut Parser, text: &str) -> (bool, bool) {
    (spc_grammar::accepts(text), !parser.parse(text, None).unwrap().root_node().has_error())
}

fn where_broken(node: Node<'_>) -> String {
    if node.is_error() || node.is_missing() {
        return format!("{} at {}", node.to_sexp(), node.start_position());
    }
    let mut cursor = node.walk();
    let broken = node.children(&mut cursor).find(|c| c.has_error());
    broken.map_or_else(String::new, where_broken)
}

#[test]
fn whole_texts_are_accepted_by_both_or_by_neither() {
    let mut parser = parser();
    let (mut good, mut bad) = (0, 0);
    let mut wrong = Vec::new();
    for Text { from, text } in programs().into_iter().chain(blocks()) {
        let (compiler, editor) = both(&mut parser, &text);
        if compiler != editor {
            let at = where_broken(parser.parse(&text, None).unwrap().root_node());
            wrong.push(format!("{from}: the compiler {compiler}, tree-sitter {editor} {at}"));
        }
        *(if compiler { &mut good } else { &mut bad }) += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(good >= 150 && bad >= 10, "{good} good texts, {bad} others");
    println!("{good} texts accepted by both, {bad} by neither");
}

#[test]
fn one_token_mutants_are_accepted_by_both_or_by_neither() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |s| s.parse().unwrap());
    let (seed, count, changes) = (number("SPC_SEED", 1), number("SPC_MUTANTS", MUTANTS), number("SPC_CHANGES", 1));
    let items: Vec<String> = programs().iter().flat_map(|p| pairs_of_items(&p.text)).collect();
    assert!(items.len() > 500, "{}", items.len());
    let mut parser = parser();
    let mut dice = Dice::new(seed);
    let mut counts: BTreeMap<(bool, bool), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for _ in 0..count {
        let item = &items[dice.below(items.len())];
        let text = (0..changes).fold(item.clone(), |text, _| mutant(&text, &mut dice));
        let (compiler, editor) = both(&mut parser, &text);
        *counts.entry((compiler, editor)).or_default() += 1;
        if compiler != editor {
            wrong.push(format!("--- the compiler {compiler}, tree-sitter {editor}\n{text}"));
        }
    }
    println!("(compiler, tree-sitter): {counts:?}");
    assert!(
        wrong.is_empty(),
        "{} of {count} differ\n{}",
        wrong.len(),
        wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
    );
    let accepted = counts.get(&(true, true)).copied().unwrap_or_default();
    assert!(accepted as u64 * 20 > count, "only {accepted} mutants are programs");
}

/// Places where the two could differ, each with what both must say.
#[test]
fn hard_places() {
    let mut parser = parser();
    let mut wrong = Vec::new();
    for (good, text) in [
        (true, "train t { batch: 64 epochs: 30 }"),
        (true, "train t { batch: 64 steps = 30 }"),
        (false, "train t { batch: 64 steps == 30 30 }"),
        (true, "const x = 64 steps == 30"),
        (false, "const x = 64  steps"),
        (true, "require a: nm(2, 4) every 64  steps"),
        (false, "const x = 4x"),
        (false, "const x = 1_"),
        (true, "const x = 1_0.5e-3 + 1.x"),
        (true, "const x = 25%of y"),
        (true, "const x = f(10%..80% of steps, 10%..x, 2 of 4)"),
        (true, "const x = a..b..c.*..d"),
        (true, "fn f(x) { y = g(x)\n(a, b) = h }"),
        (false, "fn f(x) { y = g\n(x) }"),
        (false, "fn f(x) { y [i] = x }"),
        (true, "fn f(x) { state s = a every n until = 3 }"),
        (false, "fn f(x) { state s = a every n\nsteps = 3 }"),
        (true, "fn f(x) { state s = a\nevery = 3\nwhen = 4 }"),
        (true, "require a: keep keep of 4 of keep by joint min(a) min 1 per then"),
        (true, "require a: keep except of min by joint pad"),
        (true, "require keep: keep above of x"),
        (false, "require a: keep(2) of x"),
        (true, "require a: keep 1 of x by joint if a { 1 } else { 2 }"),
        (false, "const x = if if a { b } else { c } { 1 } else { 2 }"),
        (true, "const x = if (if a { b } else { c }) { 1 } else { 2 }(3).y"),
        (true, "const x = f(in: in, if: 1, of: a in in per in) + in[in]"),
        (true, "const x = f(a over i, j in s, k: 3, (t) => t, l)"),
        (true, "const x = f(keep - 1, keep -1 of x, keep in x, (keep, a) => b)"),
        (true, "const x = select(keep 1 of x always first 1, last 4, last: 3)"),
        (true, "model m { axes: f32 axes = b like: f32 like w of, in = c of { of = x } }"),
        (false, "model m { axes { A: 4 } }"),
        (true, "update u(of, in: of like w) {\nmask m = x\n}"),
        (true, "penalty p() of groups = a of b where c then d of e"),
        (true, "train t { restart restart = 3 phase = 1 phase a 5% { } apply a, b freeze: 3 }"),
        (true, "axis A, B = 1 axis C"),
        (true, "require a: nm(2, 4) per\nmodel at end"),
        (true, "//// no doc\n///\n//!\n//"),
        (true, "\u{feff}axis A\r\naxis B\raxis C"),
        (false, "const x = \"a\\\"\n"),
        (false, "const é = 1"),
    ] {
        if both(&mut parser, text) != (good, good) {
            wrong.push((good, both(&mut parser, text), text));
        }
    }
    assert!(wrong.is_empty(), "expected, (compiler, tree-sitter): {wrong:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_are_accepted_by_both_or_by_neither(text in super::random::program()) {
        let (compiler, editor) = both(&mut parser(), &text);
        prop_assert_eq!(compiler, editor, "{}", text);
    }
}

/// `(a b: (c))` without the names of fields and with single blanks.
fn plain(sexp: &str) -> String {
    let words = sexp.replace('(', " ( ").replace(')', " ) ");
    words.split_whitespace().filter(|w| !w.ends_with(':')).collect::<Vec<_>>().join(" ")
}

/// The corpus that the generator's own test reads: title, text and tree of each case.
#[test]
fn the_corpus_gives_the_trees_written_beside_it() {
    let mut count = 0;
    for name in ["items", "functions", "sentences", "methods"] {
        let file = std::fs::read_to_string(folder().join(format!("test/corpus/{name}.txt"))).unwrap();
        let bar = "=".repeat(60);
        let parts: Vec<&str> = file.split(&format!("{bar}\n")).skip(1).collect();
        for case in parts.chunks(2) {
            let (text, sexp) = case[1].split_once(&format!("\n{}\n", "-".repeat(60))).unwrap();
            let found = tree(text).root_node().to_sexp();
            assert_eq!(plain(&found), plain(sexp), "{name}: {}", case[0]);
            count += 1;
        }
    }
    assert!(count >= 20, "{count}");
}

/// One item of a program is broken by one token: all items before it, and all after it that start a line, stay as they are.
#[test]
fn a_mutant_of_one_item_leaves_the_others_whole() {
    let texts: Vec<String> = programs().into_iter().map(|p| p.text).filter(|t| spc_grammar::accepts(t)).collect();
    let mut dice = Dice::new(5);
    let (mut broken, mut hurt) = (0, Vec::<String>::new());
    while broken < 1_000 {
        let text = &texts[dice.below(texts.len())];
        let items: Vec<(usize, usize)> = {
            let tree = tree(text);
            let root = tree.root_node();
            let mut cursor = root.walk();
            root.children(&mut cursor)
                .filter(|n| n.kind().ends_with("_item"))
                .map(|n| (n.start_byte(), n.end_byte()))
                .collect()
        };
        let (start, end) = items[dice.below(items.len())];
        let new = mutant(&text[start..end], &mut dice);
        // Its own first word stays: without it the text is the end of the item before.
        let word = |text: &str| text.split([' ', '\t']).next().unwrap_or_default().to_string();
        if spc_grammar::accepts(&new) || new.contains('"') || word(&new) != word(&text[start..end]) {
            continue;
        }
        broken += 1;
        let text = format!("{}{new}{}", &text[..start], &text[end..]);
        let tree = tree(&text);
        let root = tree.root_node();
        let mut cursor = root.walk();
        let found: Vec<(usize, usize)> = root
            .children(&mut cursor)
            .filter(|n| n.kind().ends_with("_item") && !n.has_error())
            .map(|n| (n.start_byte(), n.end_byte()))
            .collect();
        let moved = |at: usize| if at < end { at } else { at + new.len() - (end - start) };
        let others = items.iter().filter(|i| i.0 != start).map(|i| (moved(i.0), moved(i.1)));
        if others.filter(|i| !found.contains(i)).count() > 0 {
            hurt.push(new);
        }
    }
    assert!(hurt.len() * 100 <= broken, "{} of {broken}\n{}", hurt.len(), hurt.join("\n---\n"));
}

/// Kinds of the items below the root that have no error in them.
fn whole_items(text: &str) -> Vec<String> {
    let tree = tree(text);
    let root = tree.root_node();
    let mut cursor = root.walk();
    root.children(&mut cursor)
        .filter(|n| n.kind().ends_with("_item") && !n.has_error())
        .map(|n| n.kind().into())
        .collect()
}

/// One broken item between whole ones: whatever it is, the ones before and after it stay.
#[test]
fn a_broken_item_leaves_the_others_whole() {
    let before = "axis B = 1..4\nfn f(x: f32[B]) -> y: f32[B] {\n  y = x\n}\n";
    let after = "\nconst c = 25%\nrequire r: keep 2 of 4 of elements per tile(in: 4)\nmodel n {\n  w: f32[B]\n}\n";
    for broken in [
        "axis B = 1..",
        "model m { w: f32[A }",
        "model m {\n  w: f32[A]\n",
        "group n = slices(F of net",
        "require a: keep 2:4 of elements",
        "require keep 50% elements per",
        "fn f(x) = (x +",
        "fn f(x) {\n  y = x +\n",
        "fn f(x) {\n  y = g (x)\n}",
        "const x = \"abc",
        "const = 5",
        "update u(c) {\n  mask m = \n  forward(w) = w *\n}",
        "train t {\n  phase a {\n  }\n}",
        "run test { call f }",
        "penalize 1e-3 * of x",
        "pattern p( = keep",
        "data d from csv { x }",
        "expect size(x) < = 4",
    ] {
        let text = format!("{before}{broken}{after}");
        assert!(tree(&text).root_node().has_error(), "{broken}");
        let items = whole_items(&text);
        assert!(items.starts_with(&["axis_item".into(), "fn_item".into()]), "{broken}: {items:?}");
        let last = ["const_item", "require_item", "model_item"].map(String::from);
        assert!(items.ends_with(&last), "{broken}: {items:?}\n{}", tree(&text).root_node().to_sexp());
    }
}

/// An edit gives the tree that the whole text gives.
#[test]
fn edits_give_the_tree_of_the_whole_text() {
    let mut parser = parser();
    let mut dice = Dice::new(3);
    let texts: Vec<Text> = programs().into_iter().filter(|p| p.text.len() < 3_000).collect();
    for _ in 0..300 {
        let old = &texts[dice.below(texts.len())].text;
        let new = mutant(old, &mut dice);
        let start = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
        let most = old.len().min(new.len()) - start;
        let same = old.bytes().rev().zip(new.bytes().rev()).take(most).take_while(|(a, b)| a == b).count();
        let point = |text: &str, at: usize| {
            let line = text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count();
            let start = text.as_bytes()[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
            tree_sitter::Point::new(line, at - start)
        };
        let edit = tree_sitter::InputEdit {
            start_byte: start,
            old_end_byte: old.len() - same,
            new_end_byte: new.len() - same,
            start_position: point(old, start),
            old_end_position: point(old, old.len() - same),
            new_end_position: point(&new, new.len() - same),
        };
        let mut before = parser.parse(old, None).unwrap();
        before.edit(&edit);
        let again = parser.parse(&new, Some(&before)).unwrap();
        let whole = parser.parse(&new, None).unwrap();
        // Ways out of an error may differ; what is right may not.
        assert_eq!(again.root_node().has_error(), whole.root_node().has_error(), "{new}");
        if !whole.root_node().has_error() {
            assert_eq!(again.root_node().to_sexp(), whole.root_node().to_sexp(), "{new}");
        }
    }
}

fn folder() -> std::path::PathBuf {
    crate::top().join("grammar/tree-sitter-spc")
}

/// Without the generator: the hash of the source beside the generated parser, and the versions written into it.
#[test]
fn the_generated_parser_is_of_this_grammar() {
    use sha2::Digest;
    let stored = std::fs::read_to_string(folder().join("src/grammar.js.sha256")).unwrap();
    let hash: String = sha2::Sha256::digest(tree_sitter_spc::GRAMMAR).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(stored.trim(), hash, "grammar.js has changed: run grammar/tree-sitter-spc/regenerate.sh");
    let size = std::fs::metadata(folder().join("src/parser.c")).unwrap().len();
    assert!(size < 3 << 20, "the generated parser has {size} bytes; compiling it would slow every build");
}

/// With the generator, where the pinned one is found: everything generated is what it would write now.
#[test]
fn generating_again_changes_nothing() {
    let version = std::process::Command::new("tree-sitter").arg("--version").output();
    let version = version.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    if !version.starts_with("tree-sitter 0.27.1") {
        spc_base::skipped("no tree-sitter 0.27.1 on the path, so the generated parser is checked by its hash only");
        return;
    }
    let fresh = tempfile::tempdir().unwrap();
    for name in ["grammar.js", "tree-sitter.json"] {
        std::fs::copy(folder().join(name), fresh.path().join(name)).unwrap();
    }
    let ran = std::process::Command::new("tree-sitter").arg("generate").current_dir(fresh.path()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    for name in ["parser.c", "grammar.json", "node-types.json", "tree_sitter/parser.h"] {
        let read = |at: &std::path::Path| std::fs::read_to_string(at.join("src").join(name)).unwrap();
        assert!(read(fresh.path()) == read(&folder()), "src/{name} is not what grammar.js gives: run regenerate.sh");
    }
}
