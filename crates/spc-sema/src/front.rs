//! Parsing and checking in one step, with the diagnostics that a person should see.
use crate::check::{Checked, check_at, check_knowing};
use crate::library::Library;
use crate::memory::Memory;
use spc_base::{Code, Diagnostic, FileId, Limits, codes, has_errors, join};
use spc_ir::method::Moment;
use spc_syntax::ast::Ast;
use std::collections::BTreeSet;

/// Parses and checks a text. The diagnostics of both steps are in [`Checked::diagnostics`]: an item that cannot be read is
/// reported and left out, and the rest of the file is checked, without what only says that the item is missing.
pub fn front(text: &str, file: FileId, lib: &Library, limits: &Limits) -> Checked {
    let (ast, refused) = spc_syntax::parse(text, file, limits);
    check_read(&ast, refused, text, lib, limits)
}

/// As [`front`], for a text that was parsed already, with the diagnostics of parsing.
pub fn check_read(ast: &Ast, refused: Vec<Diagnostic>, text: &str, lib: &Library, limits: &Limits) -> Checked {
    check_read_at(ast, refused, text, lib, limits, Moment::END)
}

/// As [`check_read`], with schedules at another moment of the run than its end.
pub fn check_read_at(
    ast: &Ast,
    refused: Vec<Diagnostic>,
    text: &str,
    lib: &Library,
    limits: &Limits,
    moment: Moment,
) -> Checked {
    shown(ast, refused, text, limits, check_at(ast, text, lib, limits, moment))
}

/// As [`check_read`], with what is known of an earlier version of the text.
pub fn check_read_knowing(
    ast: &Ast,
    refused: Vec<Diagnostic>,
    text: &str,
    lib: &Library,
    limits: &Limits,
    memory: &mut Memory,
) -> Checked {
    shown(ast, refused, text, limits, check_knowing(ast, text, lib, limits, Moment::END, Some(memory)))
}

/// With the diagnostics of parsing, and without what follows from them.
fn shown(ast: &Ast, refused: Vec<Diagnostic>, text: &str, limits: &Limits, mut out: Checked) -> Checked {
    if has_errors(&refused) && !out.diagnostics.is_empty() {
        let missing = Missing::of(ast, text);
        out.diagnostics.retain(|d| !missing.explains(d, text, ast.file));
    }
    let most = limits.diagnostics.max(refused.len());
    out.diagnostics = join(refused, out.diagnostics);
    out.diagnostics.truncate(most);
    out
}

/// What items that could not be read may have defined.
struct Missing<'a>(BTreeSet<&'a str>);

/// Codes that a missing definition can cause.
const UNKNOWN: [Code; 5] =
    [codes::UNKNOWN_NAME, codes::UNKNOWN_MODULE, codes::UNKNOWN_MEMBER, codes::WRONG_KIND, codes::UNKNOWN_AXIS];

/// Codes that say that something does not exist, wherever they point.
pub(crate) const ABSENT: [Code; 4] = [codes::NOTHING_MATCHED, codes::ROLE, codes::NO_RUN, codes::UNREAD];

impl<'a> Missing<'a> {
    /// The words of the text outside the items that were read. A broken `axis`, `model`, `data`, `const` or `use` may define
    /// any of its words, another item only its name.
    fn of(ast: &Ast, text: &'a str) -> Missing<'a> {
        let mut out = BTreeSet::new();
        let mut at = 0;
        let ends = ast.items.iter().map(|i| (i.span.start as usize, i.span.end as usize));
        for (start, end) in ends.chain([(text.len(), text.len())]) {
            for part in items(text.get(at..start).unwrap_or_default()) {
                let mut all = words(part);
                match all.next() {
                    Some("axis" | "model" | "data" | "const" | "use") => out.extend(all),
                    Some(word) if spc_syntax::ITEM_WORDS.contains(&word) => out.extend(all.next()),
                    first => out.extend(first.into_iter().chain(all)),
                }
            }
            at = end.max(at);
        }
        Missing(out)
    }

    /// Whether a diagnostic may only say that an item is missing. Warnings wait until the file can be read.
    fn explains(&self, d: &Diagnostic, text: &str, file: FileId) -> bool {
        let about = d.primary.as_ref().filter(|l| l.span.file == file).map(|l| l.span);
        let named = about.and_then(|s| text.get(s.start as usize..s.end as usize)).unwrap_or_default();
        !d.is_error()
            || ABSENT.contains(&d.code)
            || (UNKNOWN.contains(&d.code) && words(named).any(|w| self.0.contains(w)))
    }
}

/// A text cut before each item word in column 1.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let starts = |at: usize| words(&text[at..]).next().is_some_and(|w| spc_syntax::ITEM_WORDS.contains(&w));
    let lines = text.char_indices().filter(|(_, c)| *c == '\n').map(|(i, _)| i + 1);
    let cuts: Vec<usize> = lines.filter(|i| text[*i..].starts_with(char::is_alphabetic) && starts(*i)).collect();
    let froms: Vec<usize> = std::iter::once(0).chain(cuts).collect();
    (0..froms.len()).map(move |i| &text[froms[i]..froms.get(i + 1).copied().unwrap_or(text.len())])
}

/// Names and reserved words, in order; comments have none.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().map(|l| l.split("//").next().unwrap_or_default());
    let cut = |c: char| !(c.is_alphanumeric() || c == '_');
    code.flat_map(move |l| l.split(cut)).filter(|w| w.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}
