//! Lines of a text, and positions in the protocol's way: line and UTF-16 column.
use lsp_types::{Position, Range};
use spc_base::Span;

/// Where lines start. Lines end in `\n`, `\r\n` or `\r`.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub fn of(text: &str) -> Lines {
        let bytes = text.as_bytes();
        let mut starts = vec![0];
        for (i, b) in bytes.iter().enumerate() {
            if *b == b'\n' || (*b == b'\r' && bytes.get(i + 1) != Some(&b'\n')) {
                starts.push(i + 1);
            }
        }
        Lines { starts }
    }

    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// The line of an offset.
    pub fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|s| *s <= offset).saturating_sub(1)
    }

    /// Offset of the first byte of a line; of a line too far, the end of the text.
    pub fn start(&self, line: usize, text: &str) -> usize {
        self.starts.get(line).copied().unwrap_or(text.len())
    }

    /// Offset behind the last byte of a line, its end mark not counted.
    pub fn end(&self, line: usize, text: &str) -> usize {
        let next = self.start(line + 1, text);
        let body = text.get(self.start(line, text)..next).unwrap_or_default();
        next - (body.len() - body.trim_end_matches(['\n', '\r']).len())
    }

    /// The offset of a position. A column behind the end of its line is the end of the line; a column inside a character
    /// is its start; a line too far is the end of the text.
    pub fn offset(&self, text: &str, at: Position) -> usize {
        let line = at.line as usize;
        let (start, end) = (self.start(line, text), self.end(line, text));
        let mut units = 0usize;
        for (i, c) in text.get(start..end).unwrap_or_default().char_indices() {
            if units + c.len_utf16() > at.character as usize {
                return start + i;
            }
            units += c.len_utf16();
        }
        end
    }

    /// The position of an offset; one inside a character is the character's start.
    pub fn position(&self, text: &str, offset: usize) -> Position {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line(offset);
        let before = text.get(self.start(line, text)..offset).unwrap_or_default();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position { line: number(line), character: number(before.encode_utf16().count()) }
    }

    pub fn range(&self, text: &str, span: Span) -> Range {
        Range { start: self.position(text, span.start as usize), end: self.position(text, span.end as usize) }
    }

    pub fn whole(&self, text: &str) -> Range {
        Range { start: Position::default(), end: self.position(text, text.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, character: u32) -> Position {
        Position { line, character }
    }

    #[test]
    fn columns_count_utf16_units() {
        let text = "a\u{e9}\u{1f600}z\nb";
        let l = Lines::of(text);
        // One unit for each of a and é, two for the face.
        assert_eq!(l.position(text, text.find('z').unwrap_or(0)), at(0, 4));
        assert_eq!(l.offset(text, at(0, 4)), 7);
        assert_eq!(l.offset(text, at(0, 3)), 3, "inside the face is its start");
        for (i, _) in text.char_indices() {
            assert_eq!(l.offset(text, l.position(text, i)), i);
        }
    }

    #[test]
    fn positions_out_of_range_are_the_nearest() {
        let text = "ab\r\ncd\re";
        let l = Lines::of(text);
        assert_eq!(l.count(), 3);
        assert_eq!(l.offset(text, at(0, 9)), 2);
        assert_eq!(l.offset(text, at(1, 1)), 5);
        assert_eq!(l.offset(text, at(9, 0)), text.len());
        assert_eq!(l.offset(text, at(2, u32::MAX)), text.len());
        assert_eq!(l.position(text, 999), at(2, 1));
    }
}
