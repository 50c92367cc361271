//! No request fails on any text: mutated programs, every kind of request, seeded places.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{Client, PROGRAM};
use serde_json::{Value, json};

/// A small generator of pseudo-random numbers.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

const PIECES: [&str; 30] = [
    "(", ")", "[", "]", "{", "}", ".", ",", ":", "=", "\"", "//", "///", "é", "😀", "\r", "\n", "\u{feff}", "keep ",
    "of ", "per ", "model ", "fn ", "axis ", "require ", "use std.", "0.", "%", "*", "\\",
];

fn boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Inserts, removes or repeats a piece.
fn mutate(rng: &mut Rng, text: &mut String) {
    let a = boundary(text, rng.below(text.len() + 1));
    let b = boundary(text, a + rng.below(40)).max(a);
    match rng.below(4) {
        0 => text.insert_str(a, PIECES[rng.below(PIECES.len())]),
        1 => text.replace_range(a..b, ""),
        2 => {
            let piece = text[a..b].to_string();
            let to = boundary(text, rng.below(text.len() + 1));
            text.insert_str(to, &piece);
        }
        _ => text.truncate(a.max(1).min(text.len())),
    }
    if text.is_empty() {
        text.push('a');
    }
}

fn texts() -> Vec<String> {
    let mut list = vec![PROGRAM.to_string()];
    list.extend(spc_stdlib::FILES.iter().map(|f| f.text.to_string()));
    let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for f in ["examples/digits/digits.sp", "examples/minilm/minilm.sp"] {
        list.push(std::fs::read_to_string(top.join(f)).unwrap());
    }
    list
}

fn ask_everything(c: &mut Client, rng: &mut Rng) {
    let check = |method: &str, text: &str, answer: Result<Value, (i32, String)>| match answer {
        Ok(v) => v,
        // A new name may be refused.
        Err((-32803, _)) if method == "rename" => Value::Null,
        Err(e) => panic!("{method}: {e:?} on\n{text}"),
    };
    let text = c.text.clone();
    for _ in 0..3 {
        let at = match rng.below(8) {
            0 => json!({ "line": rng.below(60), "character": rng.below(200) }),
            _ => common::position(&text, boundary(&text, rng.below(text.len() + 1))),
        };
        for method in
            ["hover", "definition", "references", "documentHighlight", "prepareRename", "completion", "rename"]
        {
            let mut p = json!({ "position": at, "newName": "fresh", "context": { "includeDeclaration": false } });
            if method == "completion" {
                p["context"] = json!({ "triggerKind": 1 });
            }
            let answer = c.ask(method, p);
            check(method, &text, answer);
        }
    }
    let whole = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 9999, "character": 0 } });
    let p = json!({
        "options": { "tabSize": 2, "insertSpaces": true }, "range": whole, "context": { "diagnostics": [] },
    });
    for method in ["documentSymbol", "foldingRange", "semanticTokens/full", "formatting", "codeAction"] {
        let answer = c.ask(method, p.clone());
        let v = check(method, &text, answer);
        if method == "documentSymbol" {
            let inside =
                |s: &Value| s["range"]["start"]["line"].as_u64() <= s["selectionRange"]["start"]["line"].as_u64();
            assert!(v.as_array().unwrap().iter().all(inside), "{v} on\n{text}");
        }
    }
}

#[test]
fn no_request_fails_on_mutated_texts() {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let texts = texts();
    let mut c = Client::new();
    for round in 0..250 {
        let mut text = texts[round % texts.len()].clone();
        for _ in 0..1 + rng.below(6) {
            mutate(&mut rng, &mut text);
        }
        c.open(&text);
        ask_everything(&mut c, &mut rng);
        // A check that failed would have sent nothing.
        c.newest();
    }
    assert!(c.shut_down());
}

/// Incremental edits, byte-wise random but on characters, keep the server's text the same as the editor's.
#[test]
fn many_edits_leave_the_same_text() {
    let mut rng = Rng(7);
    let mut c = Client::with(PROGRAM);
    for _ in 0..150 {
        let a = boundary(&c.text, rng.below(c.text.len() + 1));
        let b = boundary(&c.text, a + rng.below(12)).max(a);
        let new = PIECES[rng.below(PIECES.len())];
        c.replace(a, b, new);
    }
    // Undo everything at once; a position at the end of the old text is known to both.
    let folds = c.ask("foldingRange", json!({})).unwrap();
    let mine = c.text.clone();
    let mut fresh = Client::with(&mine);
    assert_eq!(fresh.ask("foldingRange", json!({})).unwrap(), folds);
    assert_eq!(fresh.ask("documentSymbol", json!({})).unwrap(), c.ask("documentSymbol", json!({})).unwrap());
    assert_eq!(fresh.ask("semanticTokens/full", json!({})).unwrap(), c.ask("semanticTokens/full", json!({})).unwrap());
    let end = mine.len();
    c.replace(0, end, PROGRAM);
    assert_eq!(c.newest(), Vec::<String>::new());
}

/// Large and deep texts answer, within bounds.
#[test]
fn hostile_texts_are_answered() {
    let deep = format!("fn f(x) = {}", "(".repeat(300));
    let many = "require a: nm(2, 4) on mlp.\n".repeat(2000);
    let items = "fn f(x: f32[B]) -> y: f32[B] { y = x }\n".repeat(2000);
    let long = format!("const c = {}\n", "1 + ".repeat(5000));
    let open = "model m { layer[l: L] = \"".repeat(300);
    for text in [deep, many, items, long, open, "\u{feff}".into(), "\r".repeat(999), String::new()] {
        let mut c = Client::with(&text);
        let mut rng = Rng(3);
        if !text.is_empty() {
            ask_everything(&mut c, &mut rng);
        }
        assert!(c.shut_down());
    }
}
