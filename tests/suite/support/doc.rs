//! Fenced blocks of the documents in `docs/`.
//!
//! | fence | what it holds |
//! | --- | --- |
//! | `sp base` | a program that the document's later blocks stand on |
//! | `sp` | items that check together with the base before them |
//! | `sp alone` | a whole program |
//! | `sp file=NAME` | a whole program that later commands find as NAME |
//! | `sp fails CODE` | items that, with the base, give exactly that code |
//! | `console` | commands after `$ `, run in order, each with lines that its output holds; `..` stands for any words |
//!
//! Other blocks are not run.
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Base,
    Items,
    Alone,
    File(String),
    Fails(String),
    Console,
}

#[derive(Clone, Debug)]
pub struct Block {
    pub kind: Kind,
    pub text: String,
    /// Line of the fence, from 1.
    pub line: usize,
}

/// All blocks of a document that are run, in order.
pub fn blocks(path: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(path).unwrap();
    let (mut out, mut open): (Vec<Block>, Option<Option<Block>>) = (Vec::new(), None);
    for (i, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(info), None) => {
                let block = kind(info).map(|kind| Block { kind, text: String::new(), line: i + 1 });
                open = Some(block);
            }
            (Some(_), Some(_)) => out.extend(open.take().flatten()),
            (None, Some(Some(b))) => {
                b.text.push_str(line);
                b.text.push('\n');
            }
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "{}: a block is not closed", path.display());
    out
}

fn kind(info: &str) -> Option<Kind> {
    let words: Vec<&str> = info.split_whitespace().collect();
    match words.as_slice() {
        ["console"] => Some(Kind::Console),
        ["sp"] => Some(Kind::Items),
        ["sp", "base"] => Some(Kind::Base),
        ["sp", "alone"] => Some(Kind::Alone),
        ["sp", "fails", code] => Some(Kind::Fails(code.to_string())),
        ["sp", file] => Some(Kind::File(file.strip_prefix("file=").expect("a known word after `sp`").to_string())),
        ["sp", ..] => panic!("unknown fence `{info}`"),
        _ => None,
    }
}

/// A command and the lines that its output holds.
pub fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), out.last_mut()) {
            (Some(command), _) => out.push((command.to_string(), Vec::new())),
            (None, Some((_, want))) if !line.trim().is_empty() => want.push(line.to_string()),
            (None, _) => {}
        }
    }
    out
}

/// True if `line` is `pattern`, blanks squeezed, where `..` in the pattern stands for any words.
pub fn matches(pattern: &str, line: &str) -> bool {
    let squeeze = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
    let (pattern, line) = (squeeze(pattern), squeeze(line));
    let parts: Vec<&str> = pattern.split("..").map(str::trim).collect();
    let mut rest = line.as_str();
    for (i, p) in parts.iter().enumerate() {
        let found = if i == 0 && !p.is_empty() { rest.starts_with(p).then_some(0) } else { rest.find(p) };
        match found {
            Some(at) => rest = &rest[at + p.len()..],
            None => return false,
        }
    }
    parts.last().is_some_and(|p| p.is_empty() || rest.is_empty() || line.ends_with(p))
}

#[test]
fn patterns() {
    assert!(matches("a .. c", "a  b b c"));
    assert!(matches("| w1 | .. |", "| w1 | dense | 3 |"));
    assert!(!matches("a .. c", "a b d"));
    assert!(!matches("a", "a b"));
    assert!(matches("a ..", "a b"));
    assert!(!matches("b ..", "a b c"));
}
