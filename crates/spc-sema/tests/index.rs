//! The index of names: what resolves, in whole files and in broken ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_base::{FileId, Limits};
use spc_sema::Library;
use spc_sema::index::{DefKind, Index, Modules, To, TokenKind, tokens};
use std::path::Path;

fn index(text: &str) -> Index {
    let limits = Limits::default();
    let modules = Modules::of(&Library::load());
    let (ast, _) = spc_syntax::parse(text, FileId(0), &limits);
    Index::of_root(&ast, text, &modules, &limits)
}

/// Words of a text that lead nowhere and are not reserved.
fn unresolved(ix: &Index, text: &str) -> Vec<String> {
    let list = tokens(text, ix.file, 0, text.len());
    let words = list.iter().filter(|t| t.kind == TokenKind::Word && !spc_syntax::is_reserved(t.text));
    words.filter(|t| !ix.uses.iter().any(|u| u.span == t.span)).map(|t| t.text.to_string()).collect()
}

/// Words that mean something only where they stand.
const PLACED: [&str; 30] = [
    "std",
    "from",
    "csv",
    "npy",
    "npz",
    "text",
    "safetensors",
    "axes",
    "split",
    "keep",
    "then",
    "min",
    "multiple",
    "call",
    "report",
    "threads",
    "disk",
    "KiB",
    "MiB",
    "length",
    "arch",
    "always",
    "first",
    "last",
    "pad",
    "ragged",
    "except",
    "every",
    "state",
    "pairs",
];

#[test]
fn every_name_of_the_examples_leads_somewhere() {
    for f in ["examples/digits/digits.sp", "examples/minilm/minilm.sp"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(f)).unwrap();
        let left: Vec<String> =
            unresolved(&index(&text), &text).into_iter().filter(|w| !PLACED.contains(&w.as_str())).collect();
        assert!(left.is_empty(), "{f}: {left:?}");
    }
}

#[test]
fn names_of_the_library_lead_somewhere() {
    let library = Library::load();
    let modules = Modules::of(&library);
    let (mut words, mut lost) = (0, Vec::new());
    for (file, ast) in library.sources() {
        let ix = modules.file(ast.file).unwrap();
        words += tokens(&file.text, ast.file, 0, file.text.len()).iter().filter(|t| t.kind == TokenKind::Word).count();
        lost.extend(unresolved(ix, &file.text).into_iter().filter(|w| !PLACED.contains(&w.as_str())));
    }
    assert!(lost.len() * 20 <= words, "of {words} words these lead nowhere: {lost:?}");
}

const NET: &str = "\
use std.nn
axis B = 1..8
model net { axes { I = 4, O = 2 }  w: f32[O, I]  layer[l: O] { up: f32[I, O] } }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h = nn.linear(x, net.w)
  y = nn.relu(h)
}
require a: keep 50% of elements per tensor on net.w
";

/// What the word at the `nth` occurrence of `word` leads to, by the definition's kind and name.
fn leads(ix: &Index, text: &str, word: &str, nth: usize) -> Option<(DefKind, String)> {
    let at = text.match_indices(word).nth(nth).unwrap().0 as u32;
    match &ix.at(at)?.to {
        To::Def(p) if p.file == ix.file => ix.def(p.def).map(|d| (d.kind, d.name.clone())),
        _ => None,
    }
}

#[test]
fn a_broken_line_costs_only_itself() {
    let text = NET.replace("  y = nn.relu(h)\n", "  y = nn.relu(h, net.\n");
    let ix = index(&text);
    assert_eq!(ix.broken.len(), 2, "the item, and the line that could not be read");
    // The rest of the function, and the words of the broken line too.
    assert_eq!(leads(&ix, &text, "x, net", 0), Some((DefKind::Param, "x".into())));
    assert_eq!(leads(&ix, &text, "h, net", 0), Some((DefKind::Local, "h".into())));
    assert_eq!(leads(&ix, &text, "net.\n", 0), Some((DefKind::Item("model"), "net".into())));
}

#[test]
fn a_broken_item_of_one_line_is_read_by_words() {
    let text = NET.replace("per tensor on net.w", "per of on net.layer.*.{up");
    let ix = index(&text);
    assert_eq!(leads(&ix, &text, "up\n", 0), Some((DefKind::Tensor, "up".into())));
    let text = NET.replace("w: f32[O, I] ", "w f32[O, I] ");
    let ix = index(&text);
    // What a broken model declares is still known.
    assert_eq!(leads(&ix, &text, "I])", 0), Some((DefKind::Axis, "I".into())));
}

#[test]
fn names_mean_what_their_scope_says() {
    let text = "\
axis B = 1..8
fn f(x: f32[B]) -> y: f32[B] { y[b] = x[b] * 2 }
fn g(x: f32[B]) -> y: f32[B] { y[b] = x[b] * 3 }
";
    let ix = index(text);
    let of_x: Vec<usize> = ["x: f32", "x[b]"].iter().map(|w| text.match_indices(w).count()).collect();
    assert_eq!(of_x, [2, 2]);
    let first = ix.at(text.find("x: f32").unwrap() as u32).unwrap().to.clone();
    assert_eq!(ix.uses_of(&first).len(), 2, "the parameter of `f` and its one use");
    let b = ix.at(text.find("b] =").unwrap() as u32).unwrap().to.clone();
    assert_eq!(ix.uses_of(&b).len(), 2);
    let To::Def(p) = b else { panic!("no index") };
    assert_eq!(ix.def(p.def).unwrap().detail, "B", "the index runs over an axis");
}
