//! Messages for words that the grammar refuses, and for ratios that it accepts but nobody can read.
use crate::ast::{BinaryOp, Expr, ExprKind, Span};
use crate::hint::{Refused, hint};
use crate::scan::{Scan, in_column_1, line_end, word_at};
use pest::error::{Error, ErrorVariant, InputLocation};
use spc_base::{Diagnostic, FileId, codes};
use spc_grammar::{ITEM_WORDS, Phrase, Rule, is_reserved, phrase};

/// Words that other tools use for the opposite of `keep`.
const REMOVERS: [&str; 5] = ["zero", "drop", "prune", "remove", "sparsity"];

/// Where a message is about.
pub(crate) struct Source<'a> {
    /// The whole file.
    pub text: &'a str,
    pub file: FileId,
    pub scan: &'a Scan,
}

/// One token of the source, cut out for a message.
struct Token<'a> {
    text: &'a str,
    start: usize,
}

impl<'a> Source<'a> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    /// The token at an offset: a word, a number, a text, a mark of one or two characters. Empty at the end.
    fn token(&self, at: usize) -> Token<'a> {
        let rest = self.text.get(at..).unwrap_or_default();
        let mut len = word_at(self.text, at).len();
        if len == 0 {
            len = match rest.as_bytes() {
                [] => 0,
                [b'"', ..] => quoted_len(rest),
                [b'-', b'>', ..] | [b'.', b'.', ..] | [b'=', b'=' | b'>', ..] | [b'<' | b'>' | b'!', b'=', ..] => 2,
                [b'&', b'&', ..] | [b'|', b'|', ..] => 2,
                _ => rest.chars().next().map_or(0, char::len_utf8),
            };
        } else if rest.as_bytes()[0].is_ascii_digit() {
            let more = rest[len..].bytes().position(|b| !(b.is_ascii_digit() || b == b'.')).unwrap_or(rest.len() - len);
            let number = &rest[..len + more];
            // `1..4` is three tokens, and a point at the end is no part of a number.
            len = number.find("..").unwrap_or(number.trim_end_matches('.').len());
            if rest[len..].starts_with('%') {
                len += 1;
            }
        }
        Token { text: &rest[..len], start: at }
    }

    /// The last token before an offset, found from the start of its line.
    fn token_before(&self, at: usize) -> Option<Token<'a>> {
        let end = self.scan.skip_back(self.text, at);
        let line = self.text[..end].rfind(['\n', '\r']).map_or(0, |n| n + 1);
        let mut pos = self.scan.skip_forward(self.text, line);
        let mut last = None;
        while pos < end {
            let token = self.token(pos);
            pos = self.scan.skip_forward(self.text, pos + token.text.len().max(1));
            last = Some(token);
        }
        last
    }

    /// The message for an item that was refused. `from..to` is the item, without trailing blanks and comments.
    pub fn refused(&self, from: usize, to: usize, error: &Error<Rule>) -> Diagnostic {
        let InputLocation::Pos(offset) = error.location else {
            return self.too_deep_here(from, to);
        };
        let ErrorVariant::ParsingError { positives, .. } = &error.variant else {
            return self.too_deep_here(from, to);
        };
        let at = self.scan.skip_forward(self.text, from + offset).min(to);
        let expected = expected(positives);
        if at >= to {
            return self.ends_early(from, to, &expected);
        }
        let found = self.token(at);
        let before = self.token_before(at).filter(|t| t.start >= from);
        let here = self.span(at, at + found.text.len());
        if let Some(special) = self.special(from, &found, before.as_ref(), positives) {
            return special;
        }
        let shown = shown(found.text);
        let mut out = Diagnostic::error(codes::SYNTAX, format!("expected {expected}, found {shown}"))
            .at(here, format!("expected {expected}"));
        let glued = self.text[..at].ends_with([' ', '\t']);
        if let Some(help) = self.habit(from, &found, before.as_ref(), positives) {
            out = out.help(help);
        } else if glued && matches!(found.text, "(" | "[") && before.is_some_and(|t| word_at(t.text, 0) == t.text) {
            out = out.help("a call or an index stands right after its name, without a blank");
        }
        out
    }

    /// A help where the words look like another language's.
    fn habit(
        &self,
        from: usize,
        found: &Token<'_>,
        before: Option<&Token<'_>>,
        wanted: &[Rule],
    ) -> Option<&'static str> {
        let wants = |rules: &[Rule]| wanted.iter().any(|r| rules.contains(r));
        hint(&Refused {
            item: word_at(self.text, from),
            found: found.text,
            before: before.map_or("", |t| t.text),
            line: line_before(self.text, found.start),
            after: self.token(found.start + found.text.len()).text,
            wants_expr: wants(&[Rule::expr, Rule::value, Rule::arg, Rule::idx]),
            wants_place: wants(&[Rule::lhs, Rule::place, Rule::assign]),
        })
    }

    /// Known mistakes with a better message than the list of what was expected.
    fn special(
        &self,
        from: usize,
        found: &Token<'_>,
        before: Option<&Token<'_>>,
        wanted: &[Rule],
    ) -> Option<Diagnostic> {
        let here = self.span(found.start, found.start + found.text.len());
        if found.text.starts_with('"') && !(found.text.len() > 1 && found.text.ends_with('"')) {
            let help = "a text ends with `\"` on the line where it starts";
            return Some(Diagnostic::error(codes::SYNTAX, "the text is not closed").at(here, "starts here").help(help));
        }
        let names =
            wanted.iter().any(|r| matches!(r, Rule::id | Rule::expr | Rule::lhs | Rule::axis_decl | Rule::bind));
        let habit = self.habit(from, found, before, wanted);
        if is_reserved(found.text) && names && habit.is_none() && !in_column_1(self.text, found.start) {
            let message = format!("`{}` is a reserved word and cannot be a name", found.text);
            return Some(
                Diagnostic::error(codes::SYNTAX, message)
                    .at(here, "reserved")
                    .help(format!("choose another name, for example `{}_`", found.text)),
            );
        }
        let before = before?;
        if found.text == ":" && is_digits(before.text) && before.start + before.text.len() == found.start {
            let after = self.token(found.start + 1);
            if is_digits(after.text) {
                let span = self.span(before.start, after.start + after.text.len());
                let fix = format!("{} of {}", before.text, after.text);
                return Some(
                    Diagnostic::error(codes::SYNTAX, format!("`{}:{}` is no amount", before.text, after.text))
                        .at(span, format!("write `{fix}`"))
                        .note("elsewhere N:M may mean kept or removed; `keep N of M` says what is kept")
                        .guess(span, fix),
                );
            }
        }
        let starts_amount = found.text == "(" || found.text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if REMOVERS.contains(&before.text) && starts_amount && word_at(self.text, from) == "require" {
            let span = self.span(before.start, before.start + before.text.len());
            return Some(
                Diagnostic::error(codes::SYNTAX, format!("`{}` is not a verb here: say what is kept", before.text))
                    .at(span, "expected `keep`")
                    .help("write `keep AMOUNT of GROUP`; to remove 80%, keep 20%"),
            );
        }
        None
    }

    fn ends_early(&self, from: usize, to: usize, expected: &str) -> Diagnostic {
        let last = self.token_before(to).filter(|t| t.start >= from);
        let span = last.map_or(self.span(from, to), |t| self.span(t.start, (t.start + t.text.len()).min(to)));
        let word = word_at(self.text, from);
        Diagnostic::error(codes::SYNTAX, format!("expected {expected}, found the end of the `{word}` item"))
            .at(span, format!("expected {expected} after this"))
    }

    fn too_deep_here(&self, from: usize, to: usize) -> Diagnostic {
        Diagnostic::error(codes::TOO_DEEP, "the item is nested too deeply to be read")
            .at(self.span(from, to), "this item")
    }

    /// The message for text that starts no item. `from..to` has no trailing blanks.
    pub fn no_item(&self, from: usize, to: usize) -> Diagnostic {
        let found = self.token(from);
        let end = (from + found.text.len()).min(to).max(from);
        let out = Diagnostic::error(codes::SYNTAX, format!("expected an item, found {}", shown(found.text)));
        if !in_column_1(self.text, from) {
            return out.at(self.span(from, end), "an item starts with its word, in column 1");
        }
        let out = out.at(self.span(from, end), "no item starts like this");
        match closest(found.text) {
            Some(word) => out.help(format!("did you mean `{word}`?")).fix(self.span(from, end), word),
            None => out.help("items start with a word such as `model`, `fn`, `group`, `require` or `run`"),
        }
    }
}

/// `0.4` or `1/16` as an amount.
pub(crate) fn bare_ratio(amount: &Expr) -> Option<Diagnostic> {
    let fix = match &amount.kind {
        ExprKind::Num(num) if num.int.is_none() && num.value <= 1.0 => {
            let text = format!("{:.10}", num.value * 100.0);
            Some(format!("{}%", text.trim_end_matches('0').trim_end_matches('.')))
        }
        ExprKind::Num(num) if num.int.is_none() => None,
        ExprKind::Binary { op: BinaryOp::Div, lhs, rhs, .. } => match (&lhs.kind, &rhs.kind) {
            (ExprKind::Num(n), ExprKind::Num(m)) => Some(format!("{} of {}", n.text, m.text)),
            _ => return None,
        },
        _ => return None,
    };
    let out = Diagnostic::error(codes::BARE_RATIO, "a bare ratio could mean kept or removed")
        .at(amount.span, "neither a count nor a percentage");
    Some(match fix {
        Some(fix) => out.help(format!("write what is kept: `{fix}`")).guess(amount.span, fix),
        None => out.help("write what is kept: a count, `40%` or `2 of 4`"),
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Bytes of the quoted text at the start, closing quote included, or of the rest of the line.
fn quoted_len(text: &str) -> usize {
    let line = &text[..line_end(text.as_bytes(), 0)];
    let mut escaped = false;
    for (i, c) in line.char_indices().skip(1) {
        match c {
            '"' if !escaped => return i + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    line.len()
}

/// A token in backticks, long ones cut, control characters escaped.
fn shown(token: &str) -> String {
    const MOST: usize = 40;
    let mut out: String = token.chars().take(MOST).flat_map(char::escape_debug).collect();
    if token.starts_with('"') || token == "'" {
        out = token.chars().take(MOST).filter(|c| !c.is_control()).collect();
    }
    if token.chars().count() > MOST {
        out.push_str("..");
    }
    format!("`{out}`")
}

/// "`,`, `)` or a type": the phrases of the rules, each once, things first; clauses and long lists are summed up.
fn expected(rules: &[Rule]) -> String {
    const MOST: usize = 5;
    let (mut things, mut marks, mut words, mut clauses) = (vec![], vec![], vec![], vec![]);
    for rule in rules {
        let (list, text) = match phrase(*rule) {
            Phrase::Thing(text) => (&mut things, text.to_owned()),
            Phrase::Mark(text) => (&mut marks, format!("`{text}`")),
            Phrase::Word(text) => (&mut words, format!("`{text}`")),
            Phrase::Clause(text) => (&mut clauses, format!("`{text}`")),
            Phrase::Hidden => continue,
        };
        if !list.contains(&text) {
            list.push(text);
        }
    }
    let mut all: Vec<String> = marks.into_iter().chain(things).chain(words).collect();
    if clauses.len() > 3 {
        all.push("a clause such as `per`, `by` or `on`".to_owned());
    } else {
        all.extend(clauses);
    }
    all.truncate(MOST);
    match all.split_last() {
        None => "something else".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// The item word within two edits, one for words of up to four letters.
fn closest(word: &str) -> Option<&'static str> {
    if word.len() < 2 || word.len() > 12 {
        return None;
    }
    let allowed = if word.len() <= 4 { 1 } else { 2 };
    let best = ITEM_WORDS.iter().map(|item| (spc_base::edits(word, item), *item)).min()?;
    (best.0 <= allowed).then_some(best.1)
}

/// The words of a line before an offset, 200 bytes at most.
fn line_before(text: &str, at: usize) -> &str {
    let from = text[..at].rfind(['\n', '\r']).map_or(0, |n| n + 1).max(at.saturating_sub(200));
    text.get(from..at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn typing_mistakes_are_recognised() {
        assert_eq!(closest("requre"), Some("require"));
        assert_eq!(closest("fun"), Some("fn"));
        assert_eq!(closest("banana"), None);
    }
}
