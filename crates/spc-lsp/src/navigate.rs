//! From a name to its definition and its uses; new names.
use crate::analysis::{Analysis, Shared};
use crate::lines::Lines;
use crate::server::Pages;
use lsp_types::{DocumentHighlight, DocumentHighlightKind, Location, Position, Range, TextEdit, Uri};
use spc_base::{FileId, Span};
use spc_sema::index::{DefKind, Place, To, Use};

/// A span of this file or of the library as a location.
pub fn location(a: &Analysis, shared: &Shared, pages: &Pages<'_>, uri: &Uri, span: Span) -> Option<Location> {
    if span.file == a.index.file {
        return Some(Location { uri: uri.clone(), range: a.range(span) });
    }
    let (_, text) = shared.library_file(span.file)?;
    let uri = pages.library(shared, span.file)?;
    Some(Location { uri, range: Lines::of(text).range(text, span) })
}

fn used(a: &Analysis, at: Position) -> Option<&Use> {
    a.index.at(a.offset(at))
}

/// Where a name is declared: an axis may be declared in several places.
pub fn definition(a: &Analysis, shared: &Shared, pages: &Pages<'_>, uri: &Uri, at: Position) -> Vec<Location> {
    let Some(u) = used(a, at) else { return Vec::new() };
    let spans: Vec<Span> = match &u.to {
        To::Builtin(_) => Vec::new(),
        To::Module(m) => module_start(m, shared).into_iter().collect(),
        To::Def(p) => {
            let Some(def) = a.def(*p, shared) else { return Vec::new() };
            if def.kind == DefKind::Axis && p.file == a.index.file {
                let own = a.index.uses.iter().filter(|x| x.writes && x.to == u.to);
                own.map(|x| x.span).collect()
            } else {
                vec![def.span]
            }
        }
    };
    spans.into_iter().filter_map(|s| location(a, shared, pages, uri, s)).collect()
}

/// The first file of a module.
fn module_start(module: &str, shared: &Shared) -> Option<Span> {
    let (_, ast) = shared.library.sources().find(|(f, _)| f.module == module)?;
    Some(Span::new(ast.file, 0, 0))
}

/// Uses of a name in this file, and, for a name of the library, in the library.
pub fn references(
    a: &Analysis,
    shared: &Shared,
    pages: &Pages<'_>,
    uri: &Uri,
    at: Position,
    declaration: bool,
) -> Vec<Location> {
    let Some(u) = used(a, at) else { return Vec::new() };
    let mut spans: Vec<Span> = Vec::new();
    let declared = match &u.to {
        To::Def(p) => a.def(*p, shared).map(|d| d.span),
        _ => None,
    };
    let mut add =
        |list: Vec<&Use>| spans.extend(list.iter().map(|x| x.span).filter(|s| declaration || Some(*s) != declared));
    add(a.index.uses_of(&u.to));
    let in_library = matches!(&u.to, To::Def(p) if p.file != FileId(0));
    if in_library {
        for ix in shared.modules.files().filter(|ix| ix.file != a.index.file) {
            add(ix.uses_of(&u.to));
        }
    }
    spans.into_iter().filter_map(|s| location(a, shared, pages, uri, s)).collect()
}

pub fn highlight(a: &Analysis, at: Position) -> Vec<DocumentHighlight> {
    let Some(u) = used(a, at) else { return Vec::new() };
    let kind = |x: &Use| if x.writes { DocumentHighlightKind::WRITE } else { DocumentHighlightKind::READ };
    let own = a.index.uses_of(&u.to).into_iter();
    own.map(|x| DocumentHighlight { range: a.range(x.span), kind: Some(kind(x)) }).collect()
}

/// The name at a place if this file owns it.
fn owned(a: &Analysis, at: Position) -> Result<(&Use, Place), &'static str> {
    let u = used(a, at).ok_or("there is no name here")?;
    if a.library {
        return Err("the standard library is not changed from here");
    }
    match &u.to {
        To::Builtin(_) => Err("this name belongs to the language"),
        To::Module(_) => Err("this name belongs to the standard library"),
        To::Def(p) if p.file != a.index.file => Err("this name belongs to the standard library"),
        To::Def(p) => match a.index.def(p.def).map(|d| d.kind) {
            Some(DefKind::Hook) => Err("hooks have the names that the language gives them"),
            Some(_) => Ok((u, *p)),
            None => Err("there is no name here"),
        },
    }
}

pub fn prepare_rename(a: &Analysis, at: Position) -> Result<(Range, String), &'static str> {
    let (u, p) = owned(a, at)?;
    let name = a.index.def(p.def).map(|d| d.name.clone()).unwrap_or_default();
    Ok((a.range(u.span), name))
}

/// Edits that give a name of this file another one.
pub fn rename(a: &Analysis, shared: &Shared, at: Position, new: &str) -> Result<Vec<TextEdit>, String> {
    let (_, p) = owned(a, at).map_err(str::to_string)?;
    let word = new.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && new.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !word {
        return Err(format!("`{new}` is no name: letters, digits and underscores, not a digit first"));
    }
    if spc_syntax::is_reserved(new) {
        return Err(format!("`{new}` is a word of the language"));
    }
    let def = a.index.def(p.def).ok_or("there is no name here")?;
    if def.name == new {
        return Ok(Vec::new());
    }
    let taken = if def.kind.is_plain() {
        // In whichever of its places the name is used, the new one must mean nothing yet.
        let spans = a.index.uses_of(&To::Def(p)).into_iter().map(|u| u.span.start);
        spans.filter_map(|s| a.index.plain(new, s)).next().is_some() || a.index.imports.contains_key(new)
    } else {
        def.parent.is_some_and(|parent| a.index.child(parent, new).is_some())
    };
    if taken {
        return Err(format!("there is a `{new}` already"));
    }
    let uses = a.index.uses_of(&To::Def(p));
    let mut edits: Vec<TextEdit> =
        uses.iter().map(|u| TextEdit { range: a.range(u.span), new_text: new.to_string() }).collect();
    // A stored tensor without a stored name of its own is found in the file by this one.
    let bare = def.kind == DefKind::Tensor && def.required;
    let stored = bare && a.tensors(def.whole, shared).first().is_some_and(|t| !t.stored.is_empty());
    if stored {
        let end = a.lines.position(&a.text, def.whole.end as usize);
        edits.push(TextEdit { range: Range { start: end, end }, new_text: format!(" = \"{}\"", def.name) });
    }
    Ok(edits)
}
