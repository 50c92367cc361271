//! The pages in `docs/errors` against the registry of codes: every code has one, both examples of each do what it says, and
//! every code that `check` gives has a ui test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use spc_base::codes::REGISTRY;
use std::collections::BTreeSet;
use support::pages::{Page, all, example};
use support::root;

fn codes() -> BTreeSet<String> {
    REGISTRY.iter().map(|e| e.code.name()).collect()
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let pages: BTreeSet<String> = all().into_iter().map(|p| p.code).collect();
    assert_eq!(pages, codes());
    for p in all() {
        assert_eq!(spc_base::lookup(&p.code).unwrap().title, p.title, "{}", p.code);
    }
}

/// What is wrong with the examples of a page, if anything.
fn fault(p: &Page) -> Option<String> {
    let (found, text) = example(&p.bad).run();
    let own = BTreeSet::from([p.code.clone()]);
    let fine = if p.not_yet { !found.contains(&p.code) } else { found == own };
    if !fine {
        return Some(format!("{}: the bad example gives {found:?}\n{text}", p.code));
    }
    let (found, text) = example(&p.good).run();
    (!found.is_empty()).then(|| format!("{}: the good example gives {found:?}\n{text}", p.code))
}

#[test]
fn the_bad_example_of_a_page_gives_its_code_and_the_good_one_none() {
    let faults: Vec<String> = all().iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_code_that_check_gives_has_a_ui_test() {
    let mut shown = BTreeSet::new();
    for e in std::fs::read_dir(root().join("ui/snapshots")).unwrap() {
        let text = std::fs::read_to_string(e.unwrap().path()).unwrap();
        shown.extend(text.match_indices("[SP").map(|(i, _)| text[i + 1..i + 7].to_string()));
    }
    let by_check = |p: &Page| !p.not_yet && example(&p.bad).needs_text_only();
    let missing: Vec<String> =
        all().iter().filter(|p| by_check(p) && !shown.contains(&p.code)).map(|p| p.code.clone()).collect();
    assert!(missing.is_empty(), "no ui test shows {missing:?}; {} codes are shown", shown.len());
}

#[test]
fn explain_prints_the_page() {
    let dir = tempfile::tempdir().unwrap();
    for e in REGISTRY.iter().step_by(7) {
        let r = support::spc::spc(dir.path(), ["explain", &e.code.name().to_lowercase()]);
        assert_eq!((r.code, r.stdout.as_str(), r.stderr.as_str()), (0, e.page, ""));
    }
    let r = support::spc::spc(dir.path(), ["explain", "SP9999"]);
    assert_eq!((r.code, r.stdout.as_str()), (2, ""));
}

/// A message speaks of the program, never of the compiler.
#[test]
fn no_message_has_an_internal_word() {
    let mut seen = 0;
    for (path, text) in spc_tests::fuzz::programs() {
        let (_, diags) = support::front(&text);
        for d in &diags {
            let word = spc_tests::fuzz::internal_word(d);
            assert!(word.is_none(), "{}: `{}` in {d:#?}", path.display(), word.unwrap());
        }
        seen += diags.len();
    }
    assert!(seen >= 60, "only {seen} messages were read");
    // The pages, too, but for what they quote.
    for e in REGISTRY {
        let text: String = e.page.split('`').step_by(2).collect();
        for word in ["NodeId", "egraph", "elaborat", "AST", "Some(", "panic"] {
            assert!(!text.contains(word), "{}: {word}", e.code.name());
        }
    }
}
