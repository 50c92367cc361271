//! The queries of the tree-sitter grammar on the sample that shows every item and clause.
use super::trees::tree;
use std::collections::BTreeMap;
use tree_sitter::{Language, Node, Query, QueryCursor, StreamingIterator};

pub fn sample() -> String {
    std::fs::read_to_string(crate::top().join("grammar/sample.sp")).unwrap()
}

fn language() -> Language {
    tree_sitter_spc::LANGUAGE.into()
}

/// Captures of a query: byte range, name, and the number of the pattern, in order.
fn captures(query: &str, text: &str) -> Vec<(usize, usize, String, usize)> {
    let query = Query::new(&language(), query).unwrap();
    let tree = tree(text);
    let mut cursor = QueryCursor::new();
    let mut found = cursor.captures(&query, tree.root_node(), text.as_bytes());
    let mut out = Vec::new();
    while let Some((found, index)) = found.next() {
        let capture = found.captures()[*index];
        let range = capture.node.byte_range();
        let name = query.capture_names()[capture.index as usize].to_string();
        out.push((range.start, range.end, name, found.pattern_index));
    }
    out
}

/// The colour of every token: the last pattern that captures the node of exactly this place.
fn colours(text: &str) -> Vec<(usize, usize, Option<String>)> {
    let mut best: BTreeMap<(usize, usize), (usize, String)> = BTreeMap::new();
    for (start, end, name, pattern) in captures(tree_sitter_spc::HIGHLIGHTS, text) {
        let slot = best.entry((start, end)).or_insert((pattern, name.clone()));
        if pattern >= slot.0 {
            *slot = (pattern, name);
        }
    }
    fn leaves<'t>(node: Node<'t>, out: &mut Vec<Node<'t>>) {
        let mut cursor = node.walk();
        if node.child_count() == 0 {
            out.push(node);
        }
        for child in node.children(&mut cursor) {
            leaves(child, out);
        }
    }
    let tree = tree(text);
    let mut list = Vec::new();
    leaves(tree.root_node(), &mut list);
    list.iter()
        .map(|n| {
            (n.start_byte(), n.end_byte(), best.get(&(n.start_byte(), n.end_byte())).map(|(_, name)| name.clone()))
        })
        .collect()
}

/// One line per line of the sample: its text, then each token with its colour.
pub fn shown() -> String {
    let text = sample();
    let colours = colours(&text);
    let mut out = String::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        out.push_str(line);
        for (start, stop, name) in colours.iter().filter(|c| c.0 >= at && c.0 < end) {
            if stop > start {
                let name = name.as_deref().unwrap_or("-");
                out.push_str(&format!("    {} {name}\n", &text[*start..*stop]));
            }
        }
        at = end;
    }
    out
}

#[test]
fn every_token_of_the_sample_has_a_colour() {
    let text = sample();
    let bare: Vec<&str> =
        colours(&text).iter().filter(|c| c.2.is_none() && c.1 > c.0).map(|c| &text[c.0..c.1]).collect();
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn kinds_of_words_have_their_colours() {
    let text = sample();
    let colours = colours(&text);
    let of = |word: &str| -> Vec<&str> {
        colours.iter().filter(|c| &text[c.0..c.1] == word).map(|c| c.2.as_deref().unwrap()).collect()
    };
    for word in spc_grammar::ITEM_WORDS {
        assert!(of(word).iter().any(|c| c.starts_with("keyword")), "{word}: {:?}", of(word));
    }
    for word in spc_grammar::INNER_WORDS.iter().chain(&spc_grammar::PLACE_WORDS) {
        assert!(of(word).iter().any(|c| c.starts_with("keyword")), "{word}: {:?}", of(word));
    }
    let all: BTreeMap<&str, &str> = [
        ("25%", "number"),
        ("1e-3", "number"),
        ("50_000", "number"),
        ("MiB", "type.builtin"),
        ("\"blk.{l}\"", "string"),
        ("// Axes are upper-case.", "comment"),
        ("/// Names that clauses use too.", "comment.documentation"),
        ("ffn", "function"),
        ("attend", "function.call"),
        ("sum", "function.call"),
        ("F", "type"),
        ("f32", "type.builtin"),
        ("thin", "label"),
        ("length", "variable.parameter"),
        ("->", "operator"),
        ("{", "punctuation.bracket"),
    ]
    .into();
    for (word, colour) in all {
        assert!(of(word).contains(&colour), "{word}: {:?}", of(word));
    }
    // Named arguments and members are no keywords, whatever they are called.
    let text = "const x = f(group: 1, keep: 2, of: 3).data.mask + keep - min\n";
    for (start, end, name) in self::colours(text) {
        let word = &text[start..end];
        if ["group", "keep", "of", "data", "mask", "min"].contains(&word) {
            assert!(!name.clone().unwrap().starts_with("keyword"), "{word}: {name:?}");
        }
    }
}

#[test]
fn folds_are_blocks() {
    let text = sample();
    let folds = captures(tree_sitter_spc::FOLDS, &text);
    let many: Vec<&str> =
        folds.iter().map(|f| &text[f.0..f.1]).filter(|t| t.contains('\n') && t.starts_with('{')).collect();
    // model, its inner family, the axes on one line are none, fn body, loop, update, train.
    assert_eq!(many.len(), 6, "{many:#?}");
    assert!(folds.iter().any(|f| text[f.0..f.1].starts_with("pattern vnm")));
}

#[test]
fn names_find_their_definitions() {
    let text = "axis B\nfn f(x: f32[B], k) = sum(x[b] over b) + g((t, s) => t)\nfn g(x) { for l in L { y = x } }\n";
    let all = captures(tree_sitter_spc::LOCALS, text);
    let with =
        |end: &str| -> Vec<&str> { all.iter().filter(|c| c.2.ends_with(end)).map(|c| &text[c.0..c.1]).collect() };
    assert_eq!(with("definition.function"), ["f", "g"]);
    assert_eq!(with("definition.type"), ["B"]);
    assert_eq!(with("definition.parameter"), ["x", "k", "t", "s", "t", "x"]);
    assert_eq!(with("definition.var"), ["b", "l", "y"]);
    assert!(with("scope").len() >= 5);
    assert!(with("reference").contains(&"x"));
}

#[test]
fn indents_are_a_query() {
    assert!(Query::new(&language(), tree_sitter_spc::INDENTS).is_ok());
}
