//! Shared helpers of the tests.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub mod programs;
use spc_base::{Code, Diagnostic, FileId, Limits};
use spc_syntax::{Ast, parse};
use std::path::{Path, PathBuf};

pub fn read(text: &str) -> (Ast, Vec<Diagnostic>) {
    parse(text, FileId(3), &Limits::default())
}

/// Parses text that must be fine.
pub fn good(text: &str) -> Ast {
    let (ast, diagnostics) = read(text);
    assert!(diagnostics.is_empty(), "{text}\n{diagnostics:#?}");
    ast
}

/// The only diagnostic: code, message, and the words it points at.
pub fn bad(text: &str) -> (Code, String, String) {
    let (_, diagnostics) = read(text);
    assert_eq!(diagnostics.len(), 1, "{text}\n{diagnostics:#?}");
    (diagnostics[0].code, diagnostics[0].message.clone(), pointed(text, &diagnostics[0]).to_owned())
}

pub fn pointed<'a>(text: &'a str, diagnostic: &Diagnostic) -> &'a str {
    let span = diagnostic.primary.as_ref().expect("a span").span;
    &text[span.start as usize..span.end as usize]
}

/// Every `.sp` file of the repository with its text, in order of paths.
pub fn all_files() -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for dir in ["stdlib", "examples", "tests"] {
        collect(&top.join(dir), &mut files);
    }
    files.sort();
    files.into_iter().map(|f| (f.clone(), std::fs::read_to_string(f).unwrap())).collect()
}

/// Every sample file with its text, in order of paths.
pub fn samples() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/samples");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() >= 23, "samples are missing: {}", files.len());
    files.into_iter().map(|f| (f.clone(), std::fs::read_to_string(f).unwrap())).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "sp") {
            files.push(path);
        }
    }
}
