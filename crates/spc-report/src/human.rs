//! Diagnostics as rustc shows them, drawn by annotate-snippets.
use crate::SourceMap;
use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level as Word, Origin, Patch, Renderer, Snippet,
    normalize_untrusted_str,
};
use spc_base::{Diagnostic, FileId, Fix, Label, Level};
use std::ops::Range;

/// Longest line that is shown; a place in a longer one is only named.
const MAX_LINE: usize = 2000;

/// Most lines between two labels of one picture. What lies further away is a picture of its own.
const MAX_LINES: usize = 200;

pub fn render(d: &Diagnostic, sources: &SourceMap, colour: bool, width: usize) -> String {
    let level = match d.level {
        Level::Error => Word::ERROR,
        Level::Warning => Word::WARNING,
    };
    let labels: Vec<(&Label, AnnotationKind)> = d
        .primary
        .iter()
        .map(|l| (l, AnnotationKind::Primary))
        .chain(d.secondary.iter().map(|l| (l, AnnotationKind::Context)))
        .collect();
    let mut main = Group::with_title(level.primary_title(d.message.as_str()).id(d.code.name()));
    let mut rest = labels;
    while let Some((first, _)) = rest.first().copied() {
        let (near, far): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(l, _)| close(sources, first, l));
        main = main.elements(picture(sources, &near));
        rest = far;
    }
    for note in &d.notes {
        main = main.element(Word::NOTE.message(normalize_untrusted_str(note)));
    }
    let patch = d.fix.as_ref().and_then(|f| patch(sources, f));
    let mut help: Vec<String> = d.help.iter().map(|h| normalize_untrusted_str(h)).collect();
    let mut groups = Vec::new();
    if let Some(patch) = patch {
        let title = if help.is_empty() { "replace it".to_string() } else { help.pop().unwrap_or_default() };
        groups.push(Word::HELP.secondary_title(title).element(patch));
    }
    for h in help {
        main = main.element(Word::HELP.message(h));
    }
    groups.insert(0, main);
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = renderer.term_width(width).render(&groups);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Whether two labels are shown in one picture.
fn close(sources: &SourceMap, a: &Label, b: &Label) -> bool {
    if a.span.file != b.span.file {
        return false;
    }
    let line = |l: &Label| sources.place(l.span).map_or(0, |p| p.line);
    line(a).abs_diff(line(b)) <= MAX_LINES
}

/// The lines of some labels of one file with marks, or only their places where the lines cannot be shown.
fn picture<'a>(sources: &'a SourceMap, labels: &[(&'a Label, AnnotationKind)]) -> Vec<Element<'a>> {
    let words = |l: &Label| normalize_untrusted_str(&l.text);
    let ranges: Vec<Range<usize>> = labels.iter().filter_map(|(l, _)| sources.range(l.span)).collect();
    let file = labels.first().map_or(FileId::default(), |(l, _)| l.span.file);
    let lines = sources.lines(file, &ranges).filter(|(_, r)| sources.longest_line(file, r) <= MAX_LINE);
    let source = lines.and_then(|(n, r)| Some((n, r.start, sources.text(file)?.get(r)?)));
    let place = labels.first().and_then(|(l, _)| sources.place(l.span));
    let (Some((first, offset, text)), Some(place)) = (source, place) else {
        let mut out: Vec<Element<'_>> = Vec::new();
        for (l, _) in labels {
            if let Some(p) = sources.place(l.span) {
                out.push(Origin::path(normalize_untrusted_str(p.path)).line(p.line).char_column(p.column).into());
            }
            if !l.text.is_empty() {
                out.push(Word::NOTE.message(words(l)).into());
            }
        }
        return out;
    };
    let marks = labels.iter().zip(ranges).map(|((l, kind), r)| -> Annotation<'_> {
        let text = words(l);
        kind.span(r.start - offset..r.end - offset).label(if text.is_empty() { None } else { Some(text) })
    });
    vec![Snippet::source(text).path(normalize_untrusted_str(place.path)).line_start(first).annotations(marks).into()]
}

fn patch<'a>(sources: &'a SourceMap, fix: &'a Fix) -> Option<Snippet<'a, Patch<'a>>> {
    let range = sources.range(fix.span)?;
    let (first, lines) = sources.lines(fix.span.file, std::slice::from_ref(&range))?;
    if sources.longest_line(fix.span.file, &lines) > MAX_LINE {
        return None;
    }
    let text = sources.text(fix.span.file)?.get(lines.clone())?;
    let patch = Patch::new(range.start - lines.start..range.end - lines.start, fix.replacement.as_str());
    Some(Snippet::source(text).line_start(first).patch(patch))
}
