//! The texts that spans point into, and places in them as people count: lines and columns from 1.
use spc_base::{FileId, Span};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// One source text. `lines` holds the offset at which each line starts; the first is 0.
#[derive(Clone, Debug)]
struct File {
    path: Cow<'static, str>,
    text: Cow<'static, str>,
    lines: Vec<usize>,
}

/// Source texts by [`FileId`].
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: BTreeMap<FileId, File>,
}

/// A place in a file. `line` and `column` count from 1; a column is a character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub path: &'a str,
    pub line: usize,
    pub column: usize,
}

impl SourceMap {
    /// Adds a text, or replaces the one of that id. `path` is what messages show.
    pub fn insert(&mut self, id: FileId, path: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) {
        let text = text.into();
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        self.files.insert(id, File { path: path.into(), text, lines });
    }

    /// Where a span starts, or nothing when its file is not known.
    pub fn place(&self, span: Span) -> Option<Place<'_>> {
        self.places(span).map(|(start, _)| start)
    }

    /// Start and end of a span.
    pub(crate) fn places(&self, span: Span) -> Option<(Place<'_>, Place<'_>)> {
        let file = self.files.get(&span.file)?;
        let range = file.clamp(span);
        Some((file.place(range.start), file.place(range.end)))
    }

    pub(crate) fn text(&self, id: FileId) -> Option<&str> {
        self.files.get(&id).map(|f| f.text.as_ref())
    }

    /// Byte range of a span, inside its text and between characters.
    pub(crate) fn range(&self, span: Span) -> Option<Range<usize>> {
        self.files.get(&span.file).map(|f| f.clamp(span))
    }

    /// The whole lines that the ranges touch, from the first to the last of them: number of the first line, byte range.
    pub(crate) fn lines(&self, id: FileId, ranges: &[Range<usize>]) -> Option<(usize, Range<usize>)> {
        let file = self.files.get(&id)?;
        let from = file.line(ranges.iter().map(|r| r.start).min()?);
        let to = file.line(ranges.iter().map(|r| r.end).max()?);
        let start = file.lines.get(from).copied()?;
        Some((from + 1, start..file.line_end(to)))
    }

    /// Length in bytes of the longest line in a range that starts and ends at lines' ends.
    pub(crate) fn longest_line(&self, id: FileId, range: &Range<usize>) -> usize {
        let text = self.text(id).and_then(|t| t.get(range.clone())).unwrap_or_default();
        text.lines().map(str::len).max().unwrap_or(0)
    }
}

impl File {
    fn clamp(&self, span: Span) -> Range<usize> {
        let down = |at: u32| {
            let mut at = (at as usize).min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = down(span.start);
        start..down(span.end).max(start)
    }

    /// Number of the line that holds an offset, from 0.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|s| *s <= at).saturating_sub(1)
    }

    fn line_end(&self, line: usize) -> usize {
        self.lines.get(line + 1).copied().unwrap_or(self.text.len())
    }

    fn place(&self, at: usize) -> Place<'_> {
        let line = self.line(at);
        let start = self.lines.get(line).copied().unwrap_or(0);
        let column = 1 + self.text.get(start..at).map_or(0, |t| t.chars().count());
        Place { path: &self.path, line: line + 1, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let mut map = SourceMap::default();
        map.insert(FileId(3), "m.sp", "ab\nä x\n");
        let place = |start, end| {
            map.places(Span::new(FileId(3), start, end)).map(|(a, b)| (a.line, a.column, b.line, b.column))
        };
        assert_eq!(place(0, 2), Some((1, 1, 1, 3)));
        assert_eq!(place(3, 6), Some((2, 1, 2, 3)));
        // Inside the two bytes of `ä`, past the end, and backwards.
        assert_eq!(place(4, 4), Some((2, 1, 2, 1)));
        assert_eq!(place(900, 1000), Some((3, 1, 3, 1)));
        assert!(map.place(Span::new(FileId(0), 0, 0)).is_none());
        assert_eq!(map.lines(FileId(3), &[1..2, 5..6]), Some((1, 0..8)));
        assert_eq!(map.lines(FileId(3), std::slice::from_ref(&(6..7))), Some((2, 3..8)));
    }
}
