//! Items that do not parse, mended by blanking lines where that helps.
//!
//! While a line is being typed its whole item is broken. Without that line the item usually parses, and its other lines
//! keep their meaning. Brackets that are open at the end of an item are closed.
use super::token::tokens;
use spc_base::{FileId, Limits, Span};
use spc_syntax::Ast;
use spc_syntax::ast::Item;

/// Longest text whose items are mended, most items that are, and most lines that are blanked in one.
const LONGEST: usize = 512 << 10;
const MOST_ITEMS: usize = 4;
const MOST_LINES: usize = 4;

pub(super) struct Mended {
    extra: Vec<Item>,
    /// Items that do not parse.
    pub broken: Vec<Span>,
    /// Text that no tree covers.
    pub unread: Vec<Span>,
}

impl Mended {
    /// The parsed and the mended items, in order of the text.
    pub fn items<'a>(&'a self, ast: &'a Ast) -> Vec<&'a Item> {
        let mut v: Vec<&Item> = ast.items.iter().chain(&self.extra).collect();
        v.sort_by_key(|i| i.span.start);
        v
    }
}

/// Starts of lines that begin with an item word, and the end of the text.
fn starts(text: &str) -> Vec<usize> {
    let mut v = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive(['\n', '\r']) {
        let body = line.strip_prefix('\u{feff}').unwrap_or(line);
        let end = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(body.len());
        if spc_syntax::ITEM_WORDS.contains(&&body[..end]) {
            v.push(at + (line.len() - body.len()));
        }
        at += line.len();
    }
    v.push(text.len());
    v
}

pub(super) fn mend(ast: &Ast, text: &str, limits: &Limits) -> Mended {
    let mut out = Mended { extra: Vec::new(), broken: Vec::new(), unread: Vec::new() };
    let starts = starts(text);
    let mut tried = 0;
    if let Some(first) = starts.first().filter(|s| **s > 0) {
        unread(text, ast.file, 0, *first, &mut out.unread);
    }
    for w in starts.windows(2) {
        let (from, to) = (w[0], w[1]);
        let first = ast.items.partition_point(|i| (i.span.start as usize) < from);
        let inside = ast.items.get(first..).unwrap_or_default().iter().take_while(|i| (i.span.start as usize) < to);
        let ends: Vec<usize> = inside.clone().map(|i| i.span.end as usize).collect();
        if inside.clone().next().is_some_and(|i| i.span.start as usize == from) {
            // Words behind a whole item, or between two on one line.
            if let Some(end) = ends.last() {
                unread(text, ast.file, (*end).min(to), to, &mut out.unread);
            }
            continue;
        }
        out.broken.push(Span::new(ast.file, from, to));
        tried += 1;
        let mended =
            if text.len() <= LONGEST && tried <= MOST_ITEMS { one(text, ast.file, from, to, limits) } else { None };
        match mended {
            Some((item, lines)) => {
                out.extra.push(item);
                for (a, b) in lines {
                    unread(text, ast.file, a, b, &mut out.unread);
                }
            }
            None => out.unread.push(Span::new(ast.file, from, to)),
        }
    }
    out
}

/// Adds a range if it holds more than blanks and comments.
fn unread(text: &str, file: FileId, from: usize, to: usize, out: &mut Vec<Span>) {
    let words = tokens(text, file, from, to);
    if words.iter().any(|t| t.kind != super::TokenKind::Comment) {
        out.push(Span::new(file, from, to));
    }
}

/// The item of `from..to` without as few lines as are tried, and those lines.
fn one(text: &str, file: FileId, from: usize, to: usize, limits: &Limits) -> Option<(Item, Vec<(usize, usize)>)> {
    let mut lines: Vec<(usize, usize)> = Vec::new();
    let mut at = from;
    for line in text.get(from..to)?.split_inclusive('\n') {
        lines.push((at, at + line.len()));
        at += line.len();
    }
    let mut gone: Vec<usize> = Vec::new();
    for _ in 0..=MOST_LINES {
        let error = match attempt(text, file, from, to, &lines, &gone, limits) {
            Ok(item) => return Some((item, gone.iter().filter_map(|l| lines.get(*l).copied()).collect())),
            Err(at) => at,
        };
        let line = lines.partition_point(|l| l.1 <= error).min(lines.len() - 1);
        // The line of the error, or the closest one above it that is left; never the first, which names the item.
        let used =
            |l: &usize| !gone.contains(l) && text.get(lines[*l].0..lines[*l].1).is_some_and(|t| !t.trim().is_empty());
        let here = (1..=line).rev().find(used)?;
        let above = (1..here).rev().find(used);
        let with = |l: usize| gone.iter().copied().chain([l]).collect::<Vec<_>>();
        if let Some(above) = above {
            let (a, b) = (with(here), with(above));
            match (attempt(text, file, from, to, &lines, &a, limits), attempt(text, file, from, to, &lines, &b, limits))
            {
                (Ok(_), _) => gone = a,
                (_, Ok(_)) => gone = b,
                (Err(x), Err(y)) => gone = if y > x { b } else { a },
            }
        } else {
            gone = with(here);
        }
    }
    None
}

/// Parses the item alone at its place, without some of its lines and with the brackets closed that are open at its end. The offset of the first error if that fails.
fn attempt(
    text: &str,
    file: FileId,
    from: usize,
    to: usize,
    lines: &[(usize, usize)],
    gone: &[usize],
    limits: &Limits,
) -> Result<Item, usize> {
    let mut alone = " ".repeat(from.saturating_sub(1));
    if from > 0 {
        alone.push('\n');
    }
    for (n, (a, b)) in lines.iter().enumerate() {
        if gone.contains(&n) {
            alone.extend(std::iter::repeat_n(' ', b - a));
        } else {
            alone += text.get(*a..*b).ok_or(to)?;
        }
    }
    // Brackets that nobody closed yet.
    let mut open: Vec<&str> = Vec::new();
    for t in tokens(&alone, file, from, alone.len()) {
        match t.text {
            "(" => open.push(")"),
            "[" => open.push("]"),
            "{" => open.push("}"),
            ")" | "]" | "}" => {
                open.pop();
            }
            _ => {}
        }
    }
    if !open.is_empty() {
        alone.push('\n');
        open.iter().rev().for_each(|c| alone += c);
    }
    let (ast, diagnostics) = spc_syntax::parse(&alone, file, limits);
    match diagnostics.first() {
        None => {
            let mut item = ast.items.into_iter().next().ok_or(to)?;
            item.span.end = item.span.end.min(u32::try_from(to).unwrap_or(u32::MAX));
            Ok(item)
        }
        Some(d) => Err(d.primary.as_ref().map_or(to, |l| l.span.start as usize)),
    }
}
