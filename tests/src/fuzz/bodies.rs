//! The three bodies.
use super::core::assert_core;
use spc_base::{Diagnostic, FileId, Limits, apply_fixes};
use spc_ir::passes;
use spc_report::{Format, Renderer, SourceMap};
use spc_sema::{FIRST_LIBRARY_FILE, Library};
use std::sync::OnceLock;

const FILE: FileId = FileId(0);

/// Words that belong to the compiler and not to the language.
pub const INTERNAL: &[&str] = &[
    "internal",
    "NodeId",
    "node ",
    "nodes ",
    "Bug",
    "egraph",
    "e-graph",
    "elaborat",
    "AST",
    "Some(",
    "None)",
    "Ok(",
    "Err(",
    "_item",
    "rule ",
    "EOI",
    "operand's",
    "position ",
    "cannot be computed",
    "cannot be elaborated",
    "unwrap",
    "panic",
    "0x",
    "::",
];

/// The first word of a message that a user cannot know.
pub fn internal_word(d: &Diagnostic) -> Option<&'static str> {
    let labels = d.primary.iter().chain(&d.secondary).map(|l| l.text.as_str());
    let all = [d.message.as_str()].into_iter().chain(labels);
    let all = all.chain(d.notes.iter().map(String::as_str)).chain(d.help.iter().map(String::as_str));
    // What stands between backticks is quoted from the program.
    let plain = |t: &str| t.split('`').step_by(2).collect::<Vec<_>>().join("`");
    all.filter_map(|t| INTERNAL.iter().find(|w| plain(t).contains(**w)).copied()).next()
}

fn limits() -> Limits {
    Limits::default()
}

/// Every place lies in the text and cuts no character.
fn places(text: &str, list: &[Diagnostic]) {
    assert!(list.len() <= limits().diagnostics.max(1), "{} diagnostics", list.len());
    for d in list {
        let spans = d.primary.iter().chain(&d.secondary).map(|l| l.span).chain(d.fix.iter().map(|f| f.span));
        for s in spans {
            let inside = s.file != FILE || text.get(s.start as usize..s.end as usize).is_some();
            assert!(inside && s.start <= s.end, "a place outside the text: {d:?}\n{text}");
        }
        assert!(spc_base::lookup(&d.code.name()).is_some(), "{d:?}");
        if let Some(w) = internal_word(d) {
            panic!("an internal word, `{w}`: {d:#?}\n{text}");
        }
    }
}

/// Parsing: total, with places in the text; what parses prints as the same program.
pub fn parse(bytes: &[u8]) {
    let (ast, list) = spc_syntax::parse_bytes(bytes, FILE, &limits());
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(ast.items.is_empty() && list.len() == 1);
        return;
    };
    places(text, &list);
    assert!(!spc_syntax::dump(&ast).is_empty());
    if list.is_empty() {
        let printed = spc_syntax::print(&ast);
        let (again, list) = spc_syntax::parse(&printed, FILE, &limits());
        assert!(list.is_empty() && ast.same(&again), "prints as another program:\n{text}\n---\n{printed}\n{list:?}");
    }
}

/// Formatting: the same program, and once is enough.
pub fn format(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (ast, list) = spc_syntax::parse(text, FILE, &limits());
    match spc_syntax::format(text, FILE, &limits()) {
        Err(found) => assert!(!found.is_empty(), "refused without a reason: {text}"),
        Ok(out) => {
            assert!(!spc_base::has_errors(&list), "formatted in spite of {list:?}\n{text}");
            let (again, list) = spc_syntax::parse(&out, FILE, &limits());
            assert!(!spc_base::has_errors(&list) && ast.same(&again), "another program:\n{text}\n---\n{out}\n{list:?}");
            assert_eq!(
                spc_syntax::format(&out, FILE, &limits()).as_deref(),
                Ok(out.as_str()),
                "twice is not once:\n{text}"
            );
        }
    }
}

/// Checking: messages that can be shown, fixes that can be applied, sound graphs, and a core form that is the program.
pub fn check(bytes: &[u8]) {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lib = LIBRARY.get_or_init(Library::load);
    let checked = spc_sema::front(text, FILE, lib, &limits());
    places(text, &checked.diagnostics);
    show(text, &checked.diagnostics);
    apply_fixes(text, FILE, &checked.diagnostics);
    for d in &checked.diagnostics {
        let own = |l: &spc_base::Label| l.span.file == FILE;
        assert!(d.primary.is_some(), "no place: {d:?}\n{text}");
        assert!(d.primary.iter().chain(&d.secondary).any(own), "no place in the user's file: {d:?}\n{text}");
    }
    for g in checked.graphs.values() {
        g.verify().unwrap_or_else(|b| panic!("a broken graph: {b}\n{text}"));
    }
    if !checked.has_errors() {
        for g in checked.graphs.values() {
            passes::run(g, None).unwrap_or_else(|b| panic!("a pass failed: {b}\n{text}"));
        }
        assert_core(text, &checked, lib);
    }
}

/// Messages in all three forms.
fn show(text: &str, list: &[Diagnostic]) {
    if list.is_empty() {
        return;
    }
    let mut map = SourceMap::default();
    map.insert(FILE, "fuzz.sp", text.to_string());
    for (id, f) in (FIRST_LIBRARY_FILE..).zip(spc_stdlib::FILES) {
        map.insert(FileId(id), f.path, f.text);
    }
    for format in [Format::Human, Format::Short, Format::Json] {
        let r = Renderer { format, ..Renderer::default() };
        for d in list {
            assert!(r.render(d, &map).ends_with('\n'));
        }
    }
}
