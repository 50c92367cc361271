//! A check that knows the version before says exactly what a fresh check says, after any edit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_base::{FileId, Limits};
use spc_sema::{Checked, Library, Memory, check_read, check_read_knowing};
use std::sync::OnceLock;

const FILE: FileId = FileId(0);

const TEXT: &str = "\
//! Two models, helpers that entries share, constants, masks.
edition 1
use std.nn
use std.patterns.nm

axis B = 1..64, T = 1..128
const scale = 2
const twice = scale * 2

model net {
  axes { D = 8, F = 16, L = 2 }
  layer[l: L] {
    up: f32[F, D]   bu: f32[F]
    down: f32[D, F]   bd: f32[D]
    n1: f32[D]
  }
}

model other {
  axes { E = 6 }
  w: f32[E, D]
}

mask lower(i, j) = j <= i

/// Doubled.
fn double(x: f32[B, T, D]) -> y: f32[B, T, D] {
  y = x * twice
}

fn inner(x) = x * 3 + scale

fn block(x: f32[B, T, D]) -> y: f32[B, T, D] {
  for l in L {
    p = net.layer[l]
    h = nn.linear(x, p.up, p.bu)  // wide
    h = nn.gelu(h)
    x = nn.rmsnorm(x + nn.linear(h, p.down, p.bd), p.n1)
  }
  y = x
}

fn second(x: f32[B, T, D], z: f32[B, T, D]) -> y: f32[B, T, E] {
  h = block(x) + inner(z)
  y[b, t, e] = other.w[e, d] * h[b, t, d]
}

fn third(x: f32[B, T, D]) -> y: f32[B, T] {
  s[b, t] = sum(x[b, t, d]^2 over d)
  y[b, t] = sqrt(s[b, t] + 1) * scale
}

fn fourth(x: f32[B, T, D]) -> y: f32[B, T, T] {
  y[b, t, s] = x[b, t, d] * x[b, s, d]
}

require pairs: nm(2, 4) on net.layer.*.up
require half: keep 50% of elements per tensor by abs on other.w
target laptop = cpu(threads: 1) { B = 4, T = 8 }
";

/// Words that edits put in, in place of others or between them.
const WORDS: [&str; 28] = [
    "x",
    "y",
    "h",
    "p",
    "block",
    "third",
    "inner",
    "net",
    "other",
    "scale",
    "twice",
    "E",
    "D",
    "F",
    "T",
    "\n",
    "(",
    ")",
    ",",
    "+ x",
    "fn",
    "= 3",
    "nn",
    "lower",
    "// ",
    "}",
    "axis Q = 4\n",
    "fn gelu(x) = x\n",
];

#[derive(Clone, Debug)]
enum Edit {
    /// A word of the text gives way to another.
    Word(usize, usize),
    Insert(usize, usize),
    Delete(usize, usize),
    /// A line moves.
    Line(usize, usize),
    /// A part between blank lines moves.
    Part(usize, usize),
    Undo,
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0usize..4000;
    prop_oneof![
        4 => (at.clone(), 0..WORDS.len()).prop_map(|(a, w)| Edit::Word(a, w)),
        2 => (at.clone(), 0..WORDS.len()).prop_map(|(a, w)| Edit::Insert(a, w)),
        2 => (at.clone(), 1usize..12).prop_map(|(a, n)| Edit::Delete(a, n)),
        1 => (at.clone(), at.clone()).prop_map(|(a, b)| Edit::Line(a, b)),
        2 => (at.clone(), at).prop_map(|(a, b)| Edit::Part(a, b)),
        5 => Just(Edit::Undo),
    ]
}

/// `list` with one element at another place.
fn moved<'t>(text: &'t str, by: &str, from: usize, to: usize) -> String {
    let mut list: Vec<&'t str> = text.split(by).collect();
    let one = list.remove(from % list.len());
    list.insert(to % (list.len() + 1), one);
    list.join(by)
}

fn apply(text: &str, e: &Edit) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    match e {
        Edit::Word(at, new) => {
            let starts: Vec<usize> =
                (0..text.len()).filter(|&i| text[i..].starts_with(is_word) && !text[..i].ends_with(is_word)).collect();
            let Some(&from) = starts.get(at % starts.len().max(1)) else { return text.to_string() };
            let len = text[from..].find(|c| !is_word(c)).unwrap_or(text.len() - from);
            format!("{}{}{}", &text[..from], WORDS[*new], &text[from + len..])
        }
        Edit::Insert(at, new) => {
            let at = at % (text.len() + 1);
            format!("{} {} {}", &text[..at], WORDS[*new], &text[at..])
        }
        Edit::Delete(at, n) => {
            let from = at % (text.len() + 1);
            format!("{}{}", &text[..from], &text[(from + n).min(text.len())..])
        }
        Edit::Line(from, to) => moved(text, "\n", *from, *to),
        Edit::Part(from, to) => moved(text, "\n\n", *from, *to),
        Edit::Undo => text.to_string(),
    }
}

fn library() -> &'static Library {
    static LIB: OnceLock<Library> = OnceLock::new();
    LIB.get_or_init(Library::load)
}

/// Everything that checking says, places included.
fn said(c: &Checked) -> String {
    let sources: Vec<_> = c.graphs.iter().map(|(n, g)| (n, &g.sources)).collect();
    format!("{:#?}\n{:?}\n{:?}\n{:?}", c.diagnostics, c.types, sources, c.module)
}

fn both(text: &str, memory: &mut Memory) -> (Checked, Checked) {
    let limits = Limits::default();
    let (ast, refused) = spc_syntax::parse(text, FILE, &limits);
    let known = check_read_knowing(&ast, refused.clone(), text, library(), &limits, memory);
    (known, check_read(&ast, refused, text, library(), &limits))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn after_any_edits_it_says_what_a_fresh_check_says(edits in prop::collection::vec(edit(), 1..14)) {
        let mut memory = Memory::default();
        let mut texts = vec![TEXT.to_string()];
        both(TEXT, &mut memory);
        for e in edits {
            if matches!(e, Edit::Undo) && texts.len() > 1 {
                texts.pop();
            } else {
                texts.push(apply(texts.last().unwrap(), &e));
            }
            let text = texts.last().unwrap();
            let (known, fresh) = both(text, &mut memory);
            prop_assert_eq!(said(&known), said(&fresh), "{}", text);
            prop_assert_eq!(&known.graphs, &fresh.graphs);
            prop_assert_eq!(&known.dense, &fresh.dense);
        }
    }
}

#[test]
fn an_edit_elaborates_only_what_it_can_change() {
    let mut memory = Memory::default();
    let (first, _) = both(TEXT, &mut memory);
    assert_eq!(first.diagnostics, []);
    let all = memory.elaborated();
    assert_eq!(all, 5, "double, block, second, third and fourth");
    let mut after = |from: &str, to: &str| {
        assert!(TEXT.contains(from));
        both(&TEXT.replace(from, to), &mut memory);
        let n = memory.elaborated();
        both(TEXT, &mut memory);
        n
    };
    assert_eq!(after("/// Doubled.\n", "/// Doubled.\n\n\n// And more.\n"), 0, "all move, none changes");
    assert_eq!(after("s[b, t] + 1", "s[b, t] + 2"), 1);
    assert_eq!(after("const scale = 2", "const scale = 5"), 3, "double through twice, second through inner, third");
    assert_eq!(after("  // wide", "  // narrow"), 2, "block, and second that calls it");
    assert_eq!(after("T = 1..128", "T = 1..256"), all, "every function sees the axes");
}
