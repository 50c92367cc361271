//! One pass over the bytes before parsing: comments, and how deeply brackets nest.
use spc_grammar::ITEM_WORDS;

/// What the pass found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Byte ranges of comments, ascending, without their line ends.
    pub comments: Vec<(usize, usize)>,
    /// Most brackets open at once within one item; stops counting at the first bracket beyond the limit.
    pub depth: usize,
    /// Where the limit was passed.
    pub too_deep: Option<usize>,
}

/// Brackets in texts and comments do not count. Closing brackets close whatever is open: a mismatch can only make the
/// count larger than the depth at which a parser that stops at the mismatch would be. The count starts again at an item
/// in column 1, so that many unfinished items do not add up.
pub(crate) fn scan(text: &str, limit: usize) -> Scan {
    let bytes = text.as_bytes();
    let mut out = Scan::default();
    let (mut depth, mut i) = (0usize, 0usize);
    while i < bytes.len() {
        if (bytes[i] == b'/' && bytes.get(i + 1) == Some(&b'/')) || bytes[i] == b'"' {
            let end = if bytes[i] == b'"' { text_end(bytes, i) } else { line_end(bytes, i) };
            if bytes[i] == b'/' {
                out.comments.push((i, end));
            }
            i = end;
            continue;
        }
        match bytes[i] {
            b'(' | b'[' | b'{' => {
                depth += 1;
                out.depth = out.depth.max(depth);
                if depth > limit {
                    out.too_deep = Some(i);
                    return out;
                }
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b if b.is_ascii_lowercase() && starts_item(text, i) => depth = 0,
            _ => {}
        }
        i += 1;
    }
    out
}

/// The offset after a line's last byte.
pub(crate) fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(bytes.len(), |n| from + n)
}

/// The offset after the closing quote of the text that starts at `from`, or the end of the line.
fn text_end(bytes: &[u8], from: usize) -> usize {
    let mut i = from + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\n' | b'\r' => return i,
            b'"' => return i + 1,
            b'\\' if !matches!(bytes.get(i + 1), Some(b'\n' | b'\r')) => i += 2,
            _ => i += 1,
        }
    }
    bytes.len()
}

/// The word in ASCII letters, digits and underscores at an offset; may be empty.
pub(crate) fn word_at(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or_default();
    let end = rest.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b'_')).unwrap_or(rest.len());
    &rest[..end]
}

/// True where an item word stands in column 1.
pub(crate) fn item_in_column_1(text: &str, at: usize) -> bool {
    in_column_1(text, at) && ITEM_WORDS.contains(&word_at(text, at))
}

pub(crate) fn in_column_1(text: &str, at: usize) -> bool {
    at == 0 || matches!(text.as_bytes()[at - 1], b'\n' | b'\r') || (at == BOM.len() && text.starts_with(BOM))
}

/// A byte order mark, which is passed over at the start of a file.
pub(crate) const BOM: &str = "\u{feff}";

/// An item word in column 1 with a word after it. No construct inside parentheses or square brackets looks like that, and
/// inside braces only a hook `mask m = ..` does, so restarting the count there hides at most one level.
fn starts_item(text: &str, at: usize) -> bool {
    if !item_in_column_1(text, at) {
        return false;
    }
    let rest = &text[at + word_at(text, at).len()..];
    let word = rest.trim_start_matches([' ', '\t']);
    word.len() < rest.len() && word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

impl Scan {
    /// The offset of the first byte at or after `at` that is neither blank nor comment.
    pub fn skip_forward(&self, text: &str, mut at: usize) -> usize {
        let bytes = text.as_bytes();
        let mut next = self.comments.partition_point(|c| c.1 <= at);
        loop {
            while at < bytes.len() && matches!(bytes[at], b' ' | b'\t' | b'\n' | b'\r') {
                at += 1;
            }
            while self.comments.get(next).is_some_and(|c| c.1 <= at) {
                next += 1;
            }
            match self.comments.get(next) {
                Some(&(start, end)) if start <= at && at < end => at = end,
                _ => return at,
            }
        }
    }

    /// The offset after the last byte before `at` that is neither blank nor comment.
    pub fn skip_back(&self, text: &str, mut at: usize) -> usize {
        let bytes = text.as_bytes();
        let mut next = self.comments.partition_point(|c| c.0 < at);
        loop {
            while at > 0 && matches!(bytes[at - 1], b' ' | b'\t' | b'\n' | b'\r') {
                at -= 1;
            }
            while next > 0 && self.comments[next - 1].0 >= at {
                next -= 1;
            }
            match next.checked_sub(1).map(|n| self.comments[n]) {
                Some((start, end)) if at <= end => at = start,
                _ => return at,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_and_comments_do_not_count() {
        assert_eq!(scan("a = \"((((\" // ((((\n(b)", 10).depth, 1);
        assert_eq!(scan("a = \"\\\"((\" (", 10).depth, 1);
        assert_eq!(scan("a = \"(( \n ((", 10).depth, 2);
        assert_eq!(scan("))) ((", 10).depth, 2);
    }

    #[test]
    fn unfinished_items_do_not_add_up() {
        let text = "axis a = (\n".repeat(50);
        assert_eq!(scan(&text, 100).depth, 1);
        let text = "use: (\n".repeat(50);
        assert_eq!(scan(&text, 100).depth, 50);
    }

    #[test]
    fn the_limit_is_exact() {
        assert_eq!(scan(&"(".repeat(5), 5).too_deep, None);
        assert_eq!(scan(&"(".repeat(6), 5).too_deep, Some(5));
    }

    #[test]
    fn blanks_and_comments_are_passed_over_both_ways() {
        let text = "a // b\n // c\n d";
        let s = scan(text, 9);
        assert_eq!(s.skip_forward(text, 1), 14);
        assert_eq!(s.skip_back(text, 14), 1);
        assert_eq!(s.skip_back(text, text.len()), text.len());
        let text = "x // é";
        let s = scan(text, 9);
        assert_eq!(s.skip_back(text, text.len()), 1);
        assert_eq!(s.skip_forward(text, 1), text.len());
    }
}
