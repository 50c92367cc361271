//! Words, numbers, texts and marks of any text, for places where there is no tree.
use spc_base::{FileId, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Word,
    /// Digits with what sticks to them: `25%`, `1e-3`.
    Number,
    /// A quoted text, perhaps unfinished at the end of its line.
    Text,
    Comment,
    /// One mark, or a pair such as `->`.
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
    pub span: Span,
}

impl Token<'_> {
    pub fn is(&self, text: &str) -> bool {
        self.kind != TokenKind::Comment && self.kind != TokenKind::Text && self.text == text
    }
}

const PAIRS: [&str; 9] = ["->", "=>", "..", "&&", "||", "<=", ">=", "==", "!="];

/// The tokens that start in `from..to`. Both must lie on character boundaries; otherwise nothing is found.
pub fn tokens(text: &str, file: FileId, from: usize, to: usize) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut at = from;
    while at < to {
        let Some(rest) = text.get(at..) else { break };
        let Some(c) = rest.chars().next() else { break };
        if c.is_whitespace() || c == '\u{feff}' {
            at += c.len_utf8();
            continue;
        }
        let (kind, len) = token(rest, c);
        out.push(Token { kind, text: &rest[..len], span: Span::new(file, at, at + len) });
        at += len;
    }
    out
}

fn token(rest: &str, c: char) -> (TokenKind, usize) {
    let run = |ok: &dyn Fn(char) -> bool| rest.find(|c| !ok(c)).unwrap_or(rest.len());
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if rest.starts_with("//") {
        return (TokenKind::Comment, run(&|c| c != '\n' && c != '\r'));
    }
    if c == '"' {
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            match c {
                '\n' | '\r' => return (TokenKind::Text, i),
                '"' if !escaped => return (TokenKind::Text, i + 1),
                _ => escaped = c == '\\' && !escaped,
            }
        }
        return (TokenKind::Text, rest.len());
    }
    if c.is_ascii_digit() {
        let mut end = run(&word);
        if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
            end += 1;
            end += rest[end..].find(|c| !word(c)).unwrap_or(rest.len() - end);
        }
        if rest[..end].ends_with(['e', 'E']) && rest[end..].starts_with(['-', '+']) {
            end += 1;
            end += rest[end..].find(|c| !word(c)).unwrap_or(rest.len() - end);
        }
        let end = end + usize::from(rest[end..].starts_with('%'));
        return (TokenKind::Number, end);
    }
    if word(c) {
        return (TokenKind::Word, run(&word));
    }
    let len = if PAIRS.iter().any(|p| rest.starts_with(p)) { 2 } else { c.len_utf8() };
    (TokenKind::Mark, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_splits() {
        let text = "keep 25% of é \"a\\\"b\" 0..64 1e-3 // x\n\"open\ny.z";
        let words: Vec<&str> = tokens(text, FileId(0), 0, text.len()).iter().map(|t| t.text).collect();
        assert_eq!(
            words,
            ["keep", "25%", "of", "é", "\"a\\\"b\"", "0", "..", "64", "1e-3", "// x", "\"open", "y", ".", "z"]
        );
    }
}
