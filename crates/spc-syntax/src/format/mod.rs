//! The one style of `.sp` files.
//!
//! [`format()`] changes only what stands between words: blanks, line ends and indentation. Words and comments stay, each in
//! its order, so the text reads as the same program.
//!
//! * Two blanks of indentation, one blank between words, none inside round and square brackets. `^` and `..` have no
//!   blanks around them. Members and statements that share a line have three blanks between them.
//! * The author's line ends stay where one may stand: around entries of a block, inside brackets, after a comma or an `=`,
//!   before a clause, an operator or an `else`. Elsewhere a line is joined to the one before it. Calls and indexes stick
//!   to what they follow.
//! * A bracket with a line end directly inside it has one after its opening and one before its closing.
//! * A line of more than 120 characters, trailing comment aside, is broken at the outermost of these places.
//! * Columns that the author lined up over adjacent lines stay lined up, as far left as they go.
//! * Runs of blank lines become one; there are none inside expressions, after `{` or before `}`.
//! * A comment stands alone on its line, or at the end of a line after at least two blanks.
mod align;
mod layout;
mod lex;
mod roles;
mod split;
mod write;

use crate::parse::parse_seen;
use layout::Layout;
use spc_base::{Diagnostic, FileId, Limits, has_errors};

/// The longest line, in characters.
const WIDTH: usize = 120;
/// No line is indented by more levels than this, so that deep nesting cannot make a text much larger.
const MOST_LEVELS: usize = 30;

/// The text in the one style, with `\n` at the end of every line; an empty text stays empty. Formatting the result again
/// changes nothing. A text with errors gives its diagnostics, as [`crate::parse()`] finds them.
pub fn format(text: &str, file: FileId, limits: &Limits) -> Result<String, Vec<Diagnostic>> {
    let mut roles = roles::Roles::new(text.len());
    let (_, diagnostics) = parse_seen(text, file, limits, &mut |at, item| roles.add(at, item));
    if has_errors(&diagnostics) {
        return Err(diagnostics);
    }
    let source = lex::lex(text, &roles);
    let mut layout = Layout::new(&source);
    split::split(&mut layout);
    let columns = align::align(&layout);
    Ok(write::write(&layout, &columns))
}
