//! The fuzz bodies on mutated programs for two seconds each (at least 20 cases), and the core form of every program of the repository.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_base::{FileId, Limits, codes};
use spc_sema::{Library, front};
use spc_tests::fuzz::{BODIES, assert_core, cases, corpus, packed_seeds, packed_weights, programs};
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

/// Tests run unoptimised on busy machines; an honest case takes milliseconds.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs a body on a fixed row of cases, as far as two seconds go. The row is the same each time, its length is not.
fn two_seconds(name: &str) {
    let (_, body) = BODIES.iter().find(|(n, _)| *n == name).unwrap();
    let start = Instant::now();
    let mut step = cases(name, 7);
    let mut count = 0;
    while count < 20 || start.elapsed() < Duration::from_secs(2) {
        let (text, before) = (step(), Instant::now());
        if catch_unwind(|| body(&text)).is_err() || before.elapsed() > LONGEST {
            panic!("case {count} fails, or took {:?}:\n{}", before.elapsed(), String::from_utf8_lossy(&text));
        }
        count += 1;
    }
}

#[test]
fn any_text_parses_or_is_refused() {
    two_seconds("parse");
}

#[test]
fn any_text_checks_or_is_refused() {
    two_seconds("check");
}

#[test]
fn any_text_formats_or_is_refused() {
    two_seconds("format");
}

#[test]
fn any_file_of_packed_weights_runs_or_is_refused() {
    // Four layouts are for GPUs alone.
    let seeds = packed_seeds();
    assert_eq!(seeds.iter().map(|s| packed_weights(s)).sum::<usize>(), seeds.len() - 4);
    two_seconds("packed");
}

/// The programs themselves, unchanged, through every body.
#[test]
fn every_program_survives_every_body() {
    for text in corpus() {
        for (name, body) in BODIES {
            if catch_unwind(|| body(&text)).is_err() {
                panic!("{name} fails for\n{}", String::from_utf8_lossy(&text));
            }
        }
    }
}

#[test]
fn the_core_form_of_every_program_is_the_program() {
    let lib = Library::load();
    let (mut checked, mut sugar) = (0, 0);
    for (path, text) in programs() {
        let c = front(&text, FileId(0), &lib, &Limits::default());
        if c.has_errors() {
            continue;
        }
        checked += 1;
        sugar += usize::from(!c.module.core.same(&c.module.ast));
        if catch_unwind(|| assert_core(&text, &c, &Library::load())).is_err() {
            panic!("{}", path.display());
        }
    }
    assert!(checked >= 40, "only {checked} programs check");
    assert!(sugar >= 6, "only {sugar} programs have sugar");
}

#[test]
fn a_text_at_the_limits_is_refused_with_a_code() {
    let limits = Limits::default();
    assert_eq!((limits.nesting, limits.source_bytes), (256, 16 << 20));
    let first = |text: &str| front(text, FileId(0), &Library::load(), &limits).diagnostics.first().map(|d| d.code);
    let deep = |n: usize| format!("fn f(x) = {}x{}\n", "(".repeat(n), ")".repeat(n));
    assert_eq!(first(&deep(256)), None);
    assert_eq!(first(&deep(257)), Some(codes::TOO_DEEP));
    let long = |n: usize| "// a comment of thirty-two bytes\n"[..32].repeat(n / 32).replace("bytes", "byte\n");
    assert_eq!(first(&long(16 << 20)), None);
    assert_eq!(first(&(long(16 << 20) + " ")), Some(codes::TOO_LARGE));
}

/// The program that speed is measured with is sound, and work does not add up with its length.
#[test]
fn a_long_program_checks() {
    let lib = Library::load();
    for lines in [1000, 4000] {
        let text = spc_tests::program::program(lines);
        let found = text.lines().count();
        assert!(found.abs_diff(lines) <= 50, "{found} lines");
        let checked = front(&text, FileId(0), &lib, &Limits::default());
        assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
    }
}
