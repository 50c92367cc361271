//! Applying the fixes of diagnostics to the text they are about.
use crate::{Diagnostic, FileId, Fix};

/// What [`apply_fixes`] made of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    pub text: String,
    /// The diagnostics whose fixes were applied, by their place in the list, in the order of the text.
    pub applied: Vec<usize>,
}

/// Applies the fixes for one file to its text. Guesses stay out. Where two overlap, the one whose diagnostic comes first
/// wins; a fix whose range is not one of the text's stays out.
pub fn apply_fixes(text: &str, file: FileId, diagnostics: &[Diagnostic]) -> Fixed {
    let range = |f: &Fix| (f.span.start as usize, f.span.end as usize);
    let mut taken: Vec<(usize, &Fix)> = Vec::new();
    for (i, d) in diagnostics.iter().enumerate() {
        let Some(fix) = d.fix.as_ref().filter(|f| !f.guess && f.span.file == file) else { continue };
        let (start, end) = range(fix);
        let unchanged = text.get(start..end).is_none_or(|old| old == fix.replacement);
        let overlaps = |other: &Fix| {
            let (from, to) = range(other);
            start == from || (start < to && from < end)
        };
        if !unchanged && !taken.iter().any(|(_, f)| overlaps(f)) {
            taken.push((i, fix));
        }
    }
    taken.sort_by_key(|(_, f)| range(f));
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (_, fix) in &taken {
        let (start, end) = range(fix);
        out += text.get(at..start).unwrap_or_default();
        out += &fix.replacement;
        at = end;
    }
    out += text.get(at..).unwrap_or_default();
    Fixed { text: out, applied: taken.into_iter().map(|(i, _)| i).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Span, codes};

    fn d(start: usize, end: usize, new: &str) -> Diagnostic {
        Diagnostic::error(codes::SYNTAX, "x").fix(Span::new(FileId(0), start, end), new)
    }

    fn applied(text: &str, list: &[Diagnostic]) -> (String, Vec<usize>) {
        let f = apply_fixes(text, FileId(0), list);
        (f.text, f.applied)
    }

    #[test]
    fn fixes_apply_in_the_order_of_the_text() {
        assert_eq!(applied("abc def", &[d(4, 7, "DEFG"), d(0, 3, "A")]), ("A DEFG".into(), vec![1, 0]));
        assert_eq!(applied("abc", &[d(3, 3, "d"), d(0, 0, "x")]), ("xabcd".into(), vec![1, 0]));
        assert_eq!(applied("abc", &[]), ("abc".into(), vec![]));
    }

    #[test]
    fn of_two_that_overlap_the_first_wins() {
        assert_eq!(applied("abcdef", &[d(2, 4, "X"), d(0, 3, "Y"), d(4, 6, "Z")]), ("abXZ".into(), vec![0, 2]));
        // Twice the same place, and an insertion where a replacement starts or inside it.
        assert_eq!(applied("abc", &[d(1, 1, "X"), d(1, 1, "Y")]).0, "aXbc");
        assert_eq!(applied("abc", &[d(1, 3, "X"), d(1, 1, "Y"), d(2, 2, "Z")]).0, "aX");
    }

    #[test]
    fn what_cannot_be_applied_stays_out() {
        let guess = Diagnostic::error(codes::SYNTAX, "x").guess(Span::new(FileId(0), 0, 2), "z");
        let library = Diagnostic::error(codes::SYNTAX, "x").fix(Span::new(FileId(7), 0, 1), "z");
        // Inside a character, past the end, and a replacement by the same words.
        let list = [guess, library, d(1, 2, "z"), d(0, 9, "z"), d(3, 3, ""), d(2, 3, "b")];
        assert_eq!(applied("äbc", &list), ("äbc".into(), vec![]));
    }
}
