//! Tree-sitter against the grammar that the compiler parses with.
use super::corpus::{Dice, Text, blocks, mutant, pairs_of_items, programs};
use std::collections::BTreeMap;
use tree_sitter::{Node, Parser, Tree};

/// One-token mutants that the two grammars are compared on.
const MUTANTS: usize = 12_000;

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
    let seed = std::env::var("SPC_SEED").ok().map_or(1, |s| s.parse().unwrap());
    let count = std::env::var("SPC_MUTANTS").ok().map_or(MUTANTS, |s| s.parse().unwrap());
    let items: Vec<String> = programs().iter().flat_map(|p| pairs_of_items(&p.text)).collect();
    assert!(items.len() > 500, "{}", items.len());
    let mut parser = parser();
    let mut dice = Dice::new(seed);
    let mut counts: BTreeMap<(bool, bool), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for _ in 0..count {
        let item = &items[dice.below(items.len())];
        let text = mutant(item, &mut dice);
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
    assert!(accepted * 20 > count, "only {accepted} mutants are programs");
}
