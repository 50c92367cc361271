//! The text of a layout.
use super::align::{BEFORE_COMMENT, Columns};
use super::layout::Layout;

pub fn write(layout: &Layout<'_>, columns: &Columns) -> String {
    let source = layout.source;
    let mut out = String::new();
    let mut line_start = 0;
    for (i, token) in source.tokens.iter().enumerate() {
        let comments = &source.comments[token.comments.0..token.comments.1];
        let closes = layout.group[i] != 0 && layout.groups[layout.group[i]].close == i;
        let indent = layout.indent[i] + if closes { 2 } else { 0 };
        for (n, comment) in comments.iter().enumerate() {
            if comment.trails {
                push_blanks(&mut out, BEFORE_COMMENT + columns.comment[line_start]);
            } else {
                new_line(&mut out, blank_before_comment(layout, i, n), indent);
            }
            out.push_str(comment.text);
        }
        if i + 1 == source.tokens.len() {
            break;
        }
        if layout.starts[i] {
            new_line(&mut out, blank_before_token(layout, i), layout.indent[i]);
            line_start = i;
        } else {
            push_blanks(&mut out, layout.blanks[i] + columns.token[i]);
        }
        out.push_str(token.text);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn push_blanks(out: &mut String, n: usize) {
    out.extend(std::iter::repeat_n(' ', n));
}

fn new_line(out: &mut String, blank: bool, indent: usize) {
    if !out.is_empty() {
        out.push_str(if blank { "\n\n" } else { "\n" });
    }
    push_blanks(out, indent);
}

/// True if a line without words stands between the line that this token starts and the line of words before it.
pub fn blank_before(layout: &Layout<'_>, i: usize) -> bool {
    let (from, to) = layout.source.tokens[i].comments;
    blank_before_token(layout, i) || (0..to - from).any(|n| blank_before_comment(layout, i, n))
}

fn blank_before_comment(layout: &Layout<'_>, i: usize, n: usize) -> bool {
    let token = &layout.source.tokens[i];
    let block = layout.groups[layout.group[i]].block;
    let last = i + 1 == layout.source.tokens.len();
    let between = layout.entry(i) || last || (block && token.closes());
    let after_opening = n == 0 && i > 0 && layout.source.tokens[i - 1].opens();
    let comment = &layout.source.comments[token.comments.0 + n];
    comment.place.line_ends > 1 && between && !after_opening
}

fn blank_before_token(layout: &Layout<'_>, i: usize) -> bool {
    let token = &layout.source.tokens[i];
    let first = i > 0 && layout.source.tokens[i - 1].opens() && token.comments.0 == token.comments.1;
    token.place.line_ends > 1 && layout.entry(i) && !first
}
