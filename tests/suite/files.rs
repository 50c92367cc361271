//! One test a `.sp` file. The folder says what is shown; the snapshot beside the file has the input above the output.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use std::fmt::Write;
use support::{front, optimised, render, root, sound};

include!(concat!(env!("OUT_DIR"), "/files.rs"));

fn file_test(path: &str) {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let kind = path.split('/').next().unwrap();
    let output = match kind {
        "ui" => ui(path, &text),
        "ir" => ir(path, &text),
        "samples" => return sample(path, &text),
        other => panic!("no test for the folder {other}"),
    };
    let shown = format!("{text}\n{output}");
    let folder = root().join(path).parent().unwrap().join("snapshots");
    let name = path.split('/').next_back().unwrap().trim_end_matches(".sp");
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, shown);
    });
}

fn section(out: &mut String, title: &str, body: &str) {
    writeln!(out, "// ---- {title}\n{}", body.trim_end()).unwrap();
}

/// Diagnostics as a person sees them. A program here has at least one.
fn ui(path: &str, text: &str) -> String {
    let (_, diags) = front(text);
    assert!(!diags.is_empty(), "{path} checks without a diagnostic");
    let mut out = String::new();
    section(&mut out, "diagnostics", &render(path, text, &diags));
    out
}

/// Syntax tree, core form, and the graph before and after the passes.
fn ir(path: &str, text: &str) -> String {
    let checked = sound(path, text);
    let mut out = String::new();
    section(&mut out, "ast", &spc_syntax::dump(&checked.module.ast));
    let core = spc_syntax::print(&checked.module.core);
    section(&mut out, "core", &core);
    for (name, g) in &checked.graphs {
        section(&mut out, &format!("ir of {name}"), &g.to_string());
        let parsed = spc_ir::Graph::parse(&g.to_string()).unwrap();
        assert_eq!(&parsed, g, "the text form parses back to itself");
    }
    section(&mut out, "after the passes", &optimised(&checked).to_string());

    // The core form is valid `.sp` and checks to the same graphs.
    let again = sound(path, &core);
    let texts = |c: &spc_sema::Checked| c.graphs.values().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&again), texts(&checked), "the core form checks to another program");
    out
}

/// Programs of the whole language: they parse, print and parse back to the same tree. What cannot be checked yet says so.
fn sample(path: &str, text: &str) {
    let limits = spc_base::Limits::default();
    let (ast, diags) = spc_syntax::parse(text, spc_base::FileId(0), &limits);
    assert!(diags.is_empty(), "{}", render(path, text, &diags));
    let printed = spc_syntax::print(&ast);
    let (again, diags) = spc_syntax::parse(&printed, spc_base::FileId(0), &limits);
    assert!(diags.is_empty(), "{}", render(path, &printed, &diags));
    assert!(again.same(&ast), "{path} prints as another program");
}
