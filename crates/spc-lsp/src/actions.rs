//! Quick fixes.
use crate::analysis::Analysis;
use lsp_types::{CodeAction, CodeActionKind, Diagnostic as Shown, Range, TextEdit, Uri, WorkspaceEdit};
use spc_base::{Diagnostic, Fix, apply_fixes};
use std::collections::HashMap;

/// Mends everything that has a fix, on saving if the editor is told so.
const FIX_ALL: CodeActionKind = CodeActionKind::new("source.fixAll.spc");

fn edit(a: &Analysis, f: &Fix) -> TextEdit {
    TextEdit { range: a.range(f.span), new_text: f.replacement.clone() }
}

// The protocol's own type for edits is a map of addresses.
#[allow(clippy::mutable_key_type)]
fn changes(uri: &Uri, edits: Vec<TextEdit>) -> WorkspaceEdit {
    WorkspaceEdit { changes: Some(HashMap::from([(uri.clone(), edits)])), ..WorkspaceEdit::default() }
}

/// Fixes of the diagnostics that meet a range, and one action for all of the file.
pub fn actions(
    a: &Analysis,
    uri: &Uri,
    list: &[Diagnostic],
    shown: &[Shown],
    range: Range,
    only: Option<&[CodeActionKind]>,
) -> Vec<CodeAction> {
    let wanted = |kind: &CodeActionKind| {
        only.is_none_or(|o| {
            o.iter().any(|k| {
                let (k, kind) = (k.as_str(), kind.as_str());
                kind == k || kind.strip_prefix(k).is_some_and(|rest| rest.starts_with('.')) || k.is_empty()
            })
        })
    };
    let own = |f: &&Fix| f.span.file == a.index.file && !a.library;
    let mut out = Vec::new();
    if wanted(&CodeActionKind::QUICKFIX) {
        for (d, shown) in list.iter().zip(shown) {
            let meets = shown.range.start <= range.end && range.start <= shown.range.end;
            let Some(fix) = d.fix.as_ref().filter(own).filter(|_| meets) else { continue };
            let words = a.text.get(fix.span.start as usize..fix.span.end as usize).unwrap_or_default();
            let title = match (words, fix.replacement.as_str()) {
                ("", new) => format!("insert `{}`", new.trim()),
                (_, "") => format!("remove `{}`", words.trim()),
                (_, new) => format!("write `{}`", new.trim()),
            };
            out.push(CodeAction {
                title,
                kind: Some(CodeActionKind::QUICKFIX),
                diagnostics: Some(vec![shown.clone()]),
                edit: Some(changes(uri, vec![edit(a, fix)])),
                is_preferred: Some(!fix.guess),
                ..CodeAction::default()
            });
        }
    }
    // The same choice as `spc check --fix` makes: no guesses, and of two that overlap the first.
    let chosen = apply_fixes(&a.text, a.index.file, list).applied;
    let all: Vec<&Fix> = chosen.iter().filter_map(|i| list.get(*i)?.fix.as_ref()).filter(own).collect();
    let asked = only.is_some() || all.len() > 1;
    if wanted(&FIX_ALL) && asked && !all.is_empty() {
        out.push(CodeAction {
            title: format!("fix all {} that can be fixed", all.len()),
            kind: Some(FIX_ALL),
            edit: Some(changes(uri, all.into_iter().map(|f| edit(a, f)).collect())),
            ..CodeAction::default()
        });
    }
    out
}
