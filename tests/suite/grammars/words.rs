//! The lists of words: one set in the compiler's grammar, in tree-sitter, in its scanner, and in the TextMate grammar.
use super::textmate::pattern_of;
use std::collections::BTreeSet;

type Words = BTreeSet<String>;

fn set<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> Words {
    list.into_iter().map(|w| w.as_ref().to_string()).collect()
}

/// The words in quotes of a text.
fn quoted(text: &str, quote: char) -> Words {
    let parts = text.split(quote).skip(1).step_by(2);
    set(parts.filter(|w| !w.is_empty() && w.chars().all(|c| c.is_ascii_alphabetic() || c == '_')))
}

fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    let rest = text.split_once(from).unwrap_or_else(|| panic!("no {from}")).1;
    rest.split_once(to).unwrap_or_else(|| panic!("no {to}")).0
}

fn pest() -> String {
    std::fs::read_to_string(crate::top().join("grammar/spc.pest")).unwrap()
}

fn reserved() -> Words {
    set(spc_grammar::ITEM_WORDS.iter().chain(&spc_grammar::INNER_WORDS))
}

#[test]
fn the_lists_are_those_of_the_compilers_grammar() {
    let pest = pest();
    assert_eq!(quoted(between(&pest, "kw_item =", "kw_inner"), '"'), set(spc_grammar::ITEM_WORDS));
    assert_eq!(quoted(between(&pest, "kw_inner =", "kw "), '"'), set(spc_grammar::INNER_WORDS));
    assert_eq!(quoted(between(&pest, "\nunit =", "!idc"), '"'), set(spc_grammar::UNITS));
    assert_eq!(quoted(between(&pest, "\nhandler_name =", "&("), '"'), set(spc_grammar::HOOKS));
    // Every rule `K_` is a word, and so is `joint`.
    let mut words = Words::new();
    for rule in
        pest.split("K_").skip(1).filter(|r| r.split_once('=').is_some_and(|(n, _)| !n.trim().contains([' ', '~', ')'])))
    {
        words.extend(quoted(between(rule, "{", "!idc"), '"').into_iter().take(1));
    }
    words.insert("joint".into());
    let all: Words = reserved().union(&set(spc_grammar::PLACE_WORDS)).cloned().collect();
    assert_eq!(words, all);
}

#[test]
fn tree_sitter_has_the_same() {
    let grammar = tree_sitter_spc::GRAMMAR;
    assert_eq!(quoted(between(grammar, "const RESERVED = [", "]"), '\''), reserved());
    assert_eq!(quoted(between(grammar, "const HANDLERS = [", "]"), '\''), set(spc_grammar::HOOKS));
    // Words that the generated parser knows, and those that the scanner tells apart.
    let types: serde_json::Value = serde_json::from_str(tree_sitter_spc::NODE_TYPES).unwrap();
    let unnamed = types.as_array().unwrap().iter().filter(|t| t["named"] == false).map(|t| t["type"].as_str().unwrap());
    let mut words = set(unnamed.filter(|w| w.chars().all(|c| c.is_ascii_alphabetic() || c == '_')));
    words.extend(["joint", "model", "in", "restart", "pad", "ragged"].map(String::from));
    let all: Words = reserved().union(&set(spc_grammar::PLACE_WORDS)).cloned().collect();
    assert_eq!(&(&words - &set(spc_grammar::HOOKS)) - &set(spc_grammar::UNITS), all);
    let scanner = std::fs::read_to_string(crate::top().join("grammar/tree-sitter-spc/src/scanner.c")).unwrap();
    let list = |name: &str| quoted(between(&scanner, &format!("{name}[] = {{"), "}"), '"');
    assert_eq!(list("UNITS"), set(spc_grammar::UNITS));
    assert_eq!(list("ITEMS"), set(spc_grammar::ITEM_WORDS));
    assert_eq!(&set(spc_grammar::INNER_WORDS) - &list("INNER"), set(["in", "if"]), "words that start an expression");
    let clauses = between(&pest(), "clause_word = @{ (", ")").to_string();
    assert_eq!(list("CLAUSES"), quoted(&clauses, '"'));
}

#[test]
fn textmate_has_the_same() {
    let words = |rule: &str, nth: usize| {
        let pattern = pattern_of(rule, nth);
        let lists = pattern.split('(').filter(|p| p.contains('|'));
        let longest =
            lists.map(|p| p.split(')').next().unwrap().trim_start_matches("?:")).max_by_key(|p| p.len()).unwrap();
        set(longest.split('|'))
    };
    assert_eq!(words("items", 6), set(spc_grammar::ITEM_WORDS));
    assert_eq!(
        words("reserved", 0).union(&words("reserved", 1)).cloned().collect::<Words>(),
        set(spc_grammar::INNER_WORDS)
    );
    assert_eq!(words("contextual", 0), set(spc_grammar::PLACE_WORDS));
    assert_eq!(words("hooks", 1), set(spc_grammar::HOOKS));
    assert_eq!(words("numbers", 1), set(spc_grammar::UNITS));
}

/// The formatter keeps a number and a unit apart that are no quantity, and together where they are one.
#[test]
fn the_formatter_knows_the_units() {
    for unit in spc_grammar::UNITS {
        for text in [format!("const x = 3 {unit}\n"), format!("require a: nm(2, 4) every (3) {unit}\n")] {
            let file = spc_base::FileId(0);
            let (ast, diagnostics) = spc_syntax::parse(&text, file, &spc_base::Limits::default());
            assert!(diagnostics.is_empty(), "{text}");
            let new = spc_syntax::format(&text, file, &spc_base::Limits::default()).unwrap();
            let (again, _) = spc_syntax::parse(&new, file, &spc_base::Limits::default());
            assert!(ast.same(&again), "{text}{new}");
        }
    }
}
