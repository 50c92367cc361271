//! Diagnostics in the protocol's form, with those of weight files' headers.
use crate::analysis::{Analysis, Shared};
use crate::navigate::location;
use crate::server::Pages;
use lsp_types::{
    CodeDescription, Diagnostic as Shown, DiagnosticRelatedInformation, DiagnosticSeverity, NumberOrString, Uri,
};
use spc_base::{Diagnostic, Label, Level, codes};
use spc_sema::check_stored;

/// Everything there is to say about a text, in order of place.
pub fn all(a: &Analysis, shared: &Shared, pages: &Pages<'_>, uri: &Uri) -> Vec<Diagnostic> {
    let mut out = a.diagnostics(shared);
    if !a.library && !spc_base::has_errors(&out) {
        out.extend(headers(a, shared, pages, uri));
    }
    let start = |d: &Diagnostic| d.primary.as_ref().map_or((u32::MAX, 0), |l| (l.span.file.0, l.span.start));
    out.sort_by_key(|d| (start(d), d.code));
    out
}

/// Declared tensors against the headers of the weight files.
fn headers(a: &Analysis, shared: &Shared, pages: &Pages<'_>, uri: &Uri) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for model in &a.checked(shared).module.models {
        let Some(source) = &model.source else { continue };
        match pages.stored(uri, &source.path) {
            None => {}
            Some(Ok(stored)) => out.extend(check_stored(model, &stored)),
            Some(Err(d)) if d.code == codes::NO_FILE => {
                let text = format!("`{}` is not there, so names and shapes are unchecked", source.path);
                out.push(Diagnostic::warning(codes::NOT_CHECKED, text).at(source.span, "named here"));
            }
            Some(Err(d)) => out.push(if d.primary.is_none() { d.at(source.span, "named here") } else { d }),
        }
    }
    out
}

/// One diagnostic as an editor shows it.
pub fn shown(d: &Diagnostic, a: &Analysis, shared: &Shared, pages: &Pages<'_>, uri: &Uri) -> Shown {
    let labels: Vec<&Label> = d.primary.iter().chain(&d.secondary).collect();
    // A mistake inside the library is shown at the call that led there.
    let own = labels.iter().position(|l| l.span.file == a.index.file);
    let range = own.and_then(|i| labels.get(i)).map(|l| a.range(l.span)).unwrap_or_default();
    let related: Vec<DiagnosticRelatedInformation> = labels
        .iter()
        .enumerate()
        .filter(|(i, _)| Some(*i) != own)
        .filter_map(|(_, l)| {
            let location = location(a, shared, pages, uri, l.span)?;
            Some(DiagnosticRelatedInformation { location, message: l.text.clone() })
        })
        .collect();
    let mut message = d.message.clone();
    if let Some(l) = own.and_then(|i| labels.get(i)).filter(|l| !d.message.contains(&l.text)) {
        message += &format!("\n{}", l.text);
    }
    for n in &d.notes {
        message += &format!("\nnote: {n}");
    }
    for h in &d.help {
        message += &format!("\nhelp: {h}");
    }
    Shown {
        range,
        severity: Some(match d.level {
            Level::Error => DiagnosticSeverity::ERROR,
            Level::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(d.code.name())),
        code_description: pages.code(&d.code.name()).map(|href| CodeDescription { href }),
        source: Some("spc".to_string()),
        message,
        related_information: (!related.is_empty()).then_some(related),
        tags: None,
        data: None,
    }
}
