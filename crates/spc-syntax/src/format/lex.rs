//! Words and comments with what stood between them.
use super::roles::{self, Roles};
use crate::scan::{BOM, line_end, word_at};

/// A place in the source.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub line: usize,
    /// In characters.
    pub column: usize,
    /// Blanks before it on its line, in characters.
    pub blanks: usize,
    /// Line ends before it, back to the last word or comment.
    pub line_ends: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    pub text: &'a str,
    /// In characters.
    pub width: usize,
    /// See [`roles`].
    pub roles: u16,
    pub place: Place,
    /// Comments before it: indices into [`Source::comments`].
    pub comments: (usize, usize),
}

impl Token<'_> {
    pub fn is(&self, role: u16) -> bool {
        self.roles & role != 0
    }

    pub fn opens(&self) -> bool {
        matches!(self.text, "(" | "[" | "{")
    }

    pub fn closes(&self) -> bool {
        matches!(self.text, ")" | "]" | "}")
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Comment<'a> {
    pub text: &'a str,
    pub place: Place,
    /// It stands on the line of the word before it.
    pub trails: bool,
}

/// The last token is empty and stands for the end of the text.
pub struct Source<'a> {
    pub tokens: Vec<Token<'a>>,
    pub comments: Vec<Comment<'a>>,
}

const PAIRS: [&str; 9] = ["->", "=>", "..", "&&", "||", "<=", ">=", "==", "!="];

/// Splits a text that has no errors.
pub fn lex<'a>(text: &'a str, roles: &Roles) -> Source<'a> {
    let bytes = text.as_bytes();
    let mut out = Source { tokens: Vec::new(), comments: Vec::new() };
    let mut at = if text.starts_with(BOM) { BOM.len() } else { 0 };
    let (mut line, mut column, mut from) = (0, 0, 0);
    loop {
        let mut place = Place { line, column, blanks: 0, line_ends: 0 };
        while at < bytes.len() && matches!(bytes[at], b' ' | b'\t' | b'\n' | b'\r') {
            if bytes[at] == b'\n' || (bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
                place = Place { line: place.line + 1, column: 0, blanks: 0, line_ends: place.line_ends + 1 };
            } else {
                (place.column, place.blanks) = (place.column + 1, place.blanks + 1);
            }
            at += 1;
        }
        let rest = text.get(at..).unwrap_or_default();
        let end = at + length(text, at, rest, roles);
        let piece = text.get(at..end).unwrap_or_default();
        let width = piece.chars().count();
        (line, column) = (place.line, place.column + width);
        if piece.starts_with("//") {
            let trails = place.line_ends == 0 && !(out.tokens.is_empty() && out.comments.is_empty());
            out.comments.push(Comment { text: piece.trim_end(), place, trails });
        } else {
            let comments = (from, out.comments.len());
            out.tokens.push(Token { text: piece, width, roles: roles.at(at), place, comments });
            from = comments.1;
        }
        if piece.is_empty() {
            return out;
        }
        at = end;
    }
}

/// Bytes of the word, mark or comment at `at`; 0 only at the end.
fn length(text: &str, at: usize, rest: &str, roles: &Roles) -> usize {
    if rest.starts_with("//") {
        return line_end(text.as_bytes(), at) - at;
    }
    if let Some(end) = roles.end(at) {
        return end - at;
    }
    let word = word_at(text, at).len();
    if word > 0 {
        return word;
    }
    if PAIRS.iter().any(|p| rest.starts_with(p)) {
        return 2;
    }
    rest.chars().next().map_or(0, char::len_utf8)
}

/// Blanks between two tokens on one line.
pub fn blanks(before: &Token<'_>, token: &Token<'_>, entry: bool, in_pick: bool) -> usize {
    let (left, right) = (before.text, token.text);
    let range = |t: &Token<'_>| t.text == ".." && !t.is(roles::REST);
    let power = |t: &Token<'_>| t.text == "^";
    if before.opens() || token.closes() {
        let brace = if before.opens() { left == "{" } else { right == "}" };
        return usize::from(brace && !in_pick);
    }
    if entry && left != "," {
        return 3;
    }
    let sticks = matches!(right, "," | ":" | "." | "@")
        || matches!(left, "." | "@")
        || (right == "(" && token.is(roles::STICKS))
        || (right == "[" && !token.is(roles::LIST))
        || before.is(roles::PREFIX)
        || range(before)
        || range(token)
        || power(before)
        || power(token);
    if sticks {
        return 0;
    }
    // A number would take a unit for its own across a single blank.
    let number = left.starts_with(|c: char| c.is_ascii_digit()) && !left.contains([' ', '%']);
    if number && spc_grammar::UNITS.contains(&right) { 2 } else { 1 }
}
