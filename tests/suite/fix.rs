//! `spc check --fix`, the forms of messages, and what is reported beside a broken item.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use std::path::Path;
use support::front;
use support::spc::{Ran, listing, spc};
use tempfile::TempDir;

fn folder(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("net.sp"), text).unwrap();
    dir
}

fn read(dir: &Path) -> String {
    assert_eq!(listing(dir), ["net.sp"], "nothing else is left behind");
    std::fs::read_to_string(dir.join("net.sp")).unwrap()
}

fn fix(dir: &Path, more: &[&str]) -> Ran {
    spc(dir, [&["check", "net.sp", "--fix"], more].concat())
}

/// Three spelling mistakes, two of them in one function, so that the second shows only after the first is mended.
const WRONG: &str = "\
// A comment that stays.
edition 2
use std.nn
axis B = 1..8, I = 4
model net { axes { O = 2 }  weight: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.lienar(nn.rleu(x), net.wieght) }   // and this one
";

#[test]
fn fixes_are_applied_until_none_is_left_and_listed() {
    let dir = folder(WRONG);
    let r = fix(dir.path(), &[]);
    assert_eq!((r.code, r.stderr.as_str()), (0, ""), "{}", r.stdout);
    let mended = WRONG.replace("edition 2", "edition 1").replace("lienar", "linear").replace("rleu", "relu");
    assert_eq!(read(dir.path()), mended.replace("wieght", "weight"));
    let lines: Vec<&str> = r.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}", r.stdout);
    assert_eq!(lines[0], "net.sp:2:9: SP0005: `2` is now `1`");
    assert!(lines.contains(&"net.sp:6:45: SP0101: `lienar` is now `linear`"), "{}", r.stdout);
    // The second call finds nothing to do.
    let r = fix(dir.path(), &[]);
    assert_eq!((r.code, r.stdout.as_str(), r.stderr.as_str()), (0, "", ""));
}

#[test]
fn a_dry_run_prints_a_patch_and_writes_nothing() {
    let dir = folder(WRONG);
    let r = fix(dir.path(), &["--dry-run"]);
    assert_eq!((r.code, r.stderr.as_str()), (0, ""));
    assert_eq!(read(dir.path()), WRONG);
    insta::assert_snapshot!("dry_run", r.stdout);
    let r = spc(dir.path(), ["check", "net.sp", "--dry-run"]);
    assert_eq!(r.code, 2, "without --fix there is nothing to try: {}", r.stderr);
}

#[test]
fn what_could_mean_two_things_is_not_changed() {
    let text = "axis B = 1..8\nmodel net { axes { I = 32, O = 2 } w: f32[O, I] }\n\
                fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }\n\
                require a: keep 0.4 of elements per tensor\n\
                require b: keep 1:4 of elements per tensor\n";
    let dir = folder(text);
    let r = fix(dir.path(), &[]);
    assert_eq!((r.code, r.stdout.as_str()), (1, ""));
    assert!(r.stderr.contains("SP0007") && r.stderr.contains("SP0001"), "{}", r.stderr);
    assert_eq!(read(dir.path()), text);
}

#[test]
fn what_is_left_is_shown_for_the_text_that_was_written() {
    let dir = folder(&format!("{WRONG}require r: keep 0% of elements per tensor\n"));
    let r = fix(dir.path(), &["--message-format", "short"]);
    assert_eq!(r.code, 1);
    assert_eq!(r.stdout.lines().count(), 4);
    assert!(r.stderr.starts_with("net.sp:7:17: error[SP0303]: "), "{}", r.stderr);
    assert!(read(dir.path()).contains("nn.linear(nn.relu(x), net.weight)"));
}

#[test]
fn a_text_that_is_not_utf8_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("net.sp"), b"edition 2\n// \xff\n").unwrap();
    let r = fix(dir.path(), &[]);
    assert_eq!((r.code, r.stdout.as_str()), (1, ""));
    assert!(r.stderr.contains("SP0004"), "{}", r.stderr);
    assert_eq!(std::fs::read(dir.path().join("net.sp")).unwrap(), b"edition 2\n// \xff\n");
}

#[test]
fn a_program_that_cannot_be_read_or_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let r = fix(dir.path(), &[]);
    assert_eq!(r.code, 4);
    assert!(r.stderr.contains("SP0401"), "{}", r.stderr);
}

/// Codes and the words that they mark, in order.
fn marks(text: &str) -> Vec<(String, String)> {
    let (_, diags) = front(text);
    let words = |d: &spc_base::Diagnostic| {
        let s = d.primary.as_ref().unwrap().span;
        text[s.start as usize..s.end as usize].to_string()
    };
    diags.iter().map(|d| (d.code.name(), words(d))).collect()
}

fn are(found: &[(String, String)], expected: &[(&str, &str)]) {
    let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn errors_in_three_items_are_three_diagnostics() {
    let text = "use std.nn\naxis B = 1..8\nmodel net { axes { I = 32, O = 2 } w: f32[O, I] }\n\
                fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.lienar(x, net.w) }\n\
                fn g(x: f32[B, I]) -> y: f32[B, I] { y = x * z }\n\
                require r: keep 0% of elements per tensor on net.w\n";
    are(&marks(text), &[("SP0101", "lienar"), ("SP0101", "z"), ("SP0303", "0%")]);
}

#[test]
fn a_broken_item_hides_no_error_elsewhere_and_causes_none() {
    let text = "use std.nn\naxis B = 1..8\nmodel net { axes { I = 32, O = 2  w: f32[O, I] }\n\
                fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, net.w) }\n\
                fn g(x: f32[B]) -> y: f32[B] { y = x * z }\n\
                target t = tpu(threads: 1)\n";
    let found = marks(text);
    are(&found[1..], &[("SP0101", "z"), ("SP0601", "tpu(threads: 1)")]);
    assert_eq!(found[0].0, "SP0001");
    // A broken function is no unknown function.
    let text = "axis B = 1..8, I = 4\nfn f(x: f32[B, I]) -> y: f32[B, I { y = x }\n\
                fn g(x: f32[B, I]) -> y: f32[B, I] { y = f(x) }\n\
                data d from csv \"d.csv\" { x: f32[I] = columns(0..4) }\nrun r { call: f(d.x)  report: [time] }\n";
    assert_eq!(marks(text).len(), 1, "{:?}", marks(text));
}
