//! Tables of text: a line of headings, then rows.
use annotate_snippets::normalize_untrusted_str;
use comfy_table::{Cell, CellAlignment, ContentArrangement};

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Align {
    #[default]
    Left,
    Right,
}

/// A table. Rows shorter than the heading are filled with empty cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

/// A rule below the headings and nothing else.
const PRESET: &str = "     -              ";

impl Table {
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = (S, Align)>) -> Table {
        Table { columns: columns.into_iter().map(|(s, a)| (s.into(), a)).collect(), rows: Vec::new() }
    }

    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, each line ending with a line feed and without trailing blanks. Cells are not wrapped.
    pub fn render(&self) -> String {
        let mut t = comfy_table::Table::new();
        t.load_preset(PRESET).set_content_arrangement(ContentArrangement::Disabled);
        let align = |a: Align| if a == Align::Left { CellAlignment::Left } else { CellAlignment::Right };
        let cell = |text: &str, a: Align| Cell::new(normalize_untrusted_str(text)).set_alignment(align(a));
        t.set_header(self.columns.iter().map(|(c, a)| cell(c, *a)));
        for row in &self.rows {
            let text = |i: usize| row.get(i).map_or("", String::as_str);
            t.add_row(self.columns.iter().enumerate().map(|(i, (_, a))| cell(text(i), *a)));
        }
        for i in 0..self.columns.len() {
            if let Some(c) = t.column_mut(i) {
                c.set_padding((if i == 0 { 0 } else { 1 }, 1));
            }
        }
        t.lines().map(|l| l.trim_end().to_string() + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut t = Table::new([("layer", Align::Left), ("bytes", Align::Right), ("why", Align::Left)]);
        t.row(["mlp.w1", "65536", ""]);
        t.row(["w2", "8"]);
        assert_eq!(
            t.render(),
            "\
layer   bytes  why
-------------------
mlp.w1  65536
w2          8
"
        );
    }

    #[test]
    fn control_characters_are_shown() {
        let mut t = Table::new([("a", Align::Left)]);
        t.row(["x\u{1b}[31m"]);
        assert!(!t.render().contains('\u{1b}'));
    }
}
