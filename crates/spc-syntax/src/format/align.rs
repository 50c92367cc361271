//! Columns that the author lined up.
//!
//! A word is *linked* to one in the line above or below if both stood at the same column and at least one had more blanks
//! before it than the style asks. Linked words get one column again: the first that all can have. So one of them has no
//! more blanks than the style asks, and a second pass finds each word where it would put it.
use super::WIDTH;
use super::layout::Layout;

/// What may be lined up: a token or the comment at the end of a line.
#[derive(Clone, Copy, Debug)]
struct Cell {
    line: usize,
    /// Column in the source.
    column: usize,
    /// More blanks in the source than the style asks.
    wide: bool,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Token(usize),
    Comment,
}

/// Extra blanks.
#[derive(Debug, Default)]
pub struct Columns {
    /// Before each token.
    pub token: Vec<usize>,
    /// Before the comment that trails the line which this token starts.
    pub comment: Vec<usize>,
}

/// Blanks before a comment at the end of a line.
pub const BEFORE_COMMENT: usize = 2;

pub fn align(layout: &Layout<'_>) -> Columns {
    let lines = layout.lines();
    let mut cells: Vec<Vec<Cell>> = lines.iter().enumerate().map(|(n, &l)| cells(layout, n, l)).collect();
    loop {
        let columns = place(layout, &lines, &cells);
        let mut changed = false;
        for (n, &(from, to)) in lines.iter().enumerate() {
            let extra: usize = columns.token[from..to].iter().sum();
            if extra > 0 && layout.width(from, to) + extra > WIDTH {
                cells[n].retain(|c| c.what == What::Comment);
                changed = true;
            }
        }
        if !changed {
            return columns;
        }
    }
}

/// The comment at the end of a line, with the token after it.
fn trailing<'a>(layout: &Layout<'a>, to: usize) -> Option<super::lex::Comment<'a>> {
    let (from, end) = layout.source.tokens[to].comments;
    layout.source.comments.get(from).filter(|c| from < end && c.trails).copied()
}

fn cells(layout: &Layout<'_>, line: usize, (from, to): (usize, usize)) -> Vec<Cell> {
    let tokens = &layout.source.tokens;
    let home = tokens[from].place.line;
    let mut out: Vec<Cell> = (from + 1..to)
        .filter(|&i| layout.blanks[i] > 0 && tokens[i].place.line == home)
        .map(|i| {
            let place = tokens[i].place;
            Cell { line, column: place.column, wide: place.blanks > layout.blanks[i], what: What::Token(i) }
        })
        .collect();
    if let Some(comment) = trailing(layout, to).filter(|c| c.place.line == home) {
        let wide = comment.place.blanks > BEFORE_COMMENT;
        out.push(Cell { line, column: comment.place.column, wide, what: What::Comment });
    }
    out
}

/// Columns of linked cells, from left to right.
fn place(layout: &Layout<'_>, lines: &[(usize, usize)], cells: &[Vec<Cell>]) -> Columns {
    let n = layout.source.tokens.len();
    let mut columns = Columns { token: vec![0; n], comment: vec![0; n] };
    let mut groups = linked(layout, lines, cells);
    groups.sort_by_key(|g| (g[0].column, g[0].line));
    // Per line: where measuring stopped, and the column there.
    let mut done: Vec<(usize, usize)> = lines.iter().map(|&(from, _)| (from, layout.indent[from])).collect();
    for group in groups {
        let natural: Vec<usize> = group
            .iter()
            .map(|cell| {
                let (from, to) = lines[cell.line];
                let (mut i, mut column) = done[cell.line];
                let until = if let What::Token(at) = cell.what { at } else { to };
                while i < until {
                    column +=
                        layout.source.tokens[i].width + if i > from { layout.blanks[i] + columns.token[i] } else { 0 };
                    i += 1;
                }
                done[cell.line] = (i, column);
                column + if let What::Token(at) = cell.what { layout.blanks[at] } else { BEFORE_COMMENT }
            })
            .collect();
        let Some(&most) = natural.iter().max() else { continue };
        for (cell, natural) in group.iter().zip(natural) {
            match cell.what {
                What::Token(at) => columns.token[at] = most - natural,
                What::Comment => columns.comment[lines[cell.line].0] = most - natural,
            }
        }
    }
    columns
}

/// Runs of linked cells, each over adjacent lines.
fn linked(layout: &Layout<'_>, lines: &[(usize, usize)], cells: &[Vec<Cell>]) -> Vec<Vec<Cell>> {
    let mut done: Vec<Vec<Cell>> = Vec::new();
    let mut open: Vec<Vec<Cell>> = Vec::new();
    for (n, row) in cells.iter().enumerate() {
        let adjacent = n > 0 && !super::write::blank_before(layout, lines[n].0);
        let mut above = std::mem::take(&mut open).into_iter().peekable();
        for &cell in row {
            // Both lists ascend by column.
            let column = |g: &Vec<Cell>| g.last().map_or(0, |c| c.column);
            while let Some(group) = above.next_if(|g| column(g) < cell.column) {
                done.push(group);
            }
            let fits = |g: &Vec<Cell>| {
                let same = |c: &Cell| (c.what == What::Comment) == (cell.what == What::Comment);
                adjacent && g.last().is_some_and(|c| c.column == cell.column && (c.wide || cell.wide) && same(c))
            };
            match above.next_if(fits) {
                Some(mut group) => {
                    group.push(cell);
                    open.push(group);
                }
                None => open.push(vec![cell]),
            }
        }
        done.extend(above);
    }
    done.extend(open);
    done.retain(|g| g.len() > 1);
    done
}
