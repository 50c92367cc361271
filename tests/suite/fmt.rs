//! `spc fmt` from outside: what it writes, what it lists, what it leaves alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use support::root;
use support::spc::{Ran, listing, spc, spc_command};

const UGLY: &str = "//! Doc.\naxis   B=1 ..4// free\n\n\n\nfn f(x)=x +\n  1\n";
const NEAT: &str = "//! Doc.\naxis B = 1..4  // free\n\nfn f(x) = x\n  + 1\n";

fn with_stdin(args: &[&str], text: &[u8]) -> Ran {
    let mut command = spc_command();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    Ran::of(&child.wait_with_output().unwrap())
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn files_are_rewritten_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.sp"), UGLY).unwrap();
    fs::write(dir.path().join("b.sp"), NEAT).unwrap();
    let ran = spc(dir.path(), ["fmt", "--check", "a.sp", "b.sp"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (1, "a.sp\n", ""));
    assert_eq!(read(dir.path(), "a.sp"), UGLY);
    let ran = spc(dir.path(), ["fmt", "a.sp", "b.sp"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "a.sp\n", ""));
    assert_eq!(read(dir.path(), "a.sp"), NEAT);
    assert_eq!(read(dir.path(), "b.sp"), NEAT);
    let ran = spc(dir.path(), ["fmt", "--check", "a.sp", "b.sp"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert_eq!(listing(dir.path()), ["a.sp", "b.sp"]);
}

#[test]
fn folders_are_walked_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["z/y", ".hidden"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    for name in ["z/y/c.sp", "z/b.sp", "a.sp", ".hidden/d.sp", "e.txt"] {
        fs::write(dir.path().join(name), UGLY).unwrap();
    }
    let ran = spc(dir.path(), ["fmt", "."]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "./a.sp\n./z/b.sp\n./z/y/c.sp\n"));
    assert_eq!(read(dir.path(), "z/y/c.sp"), NEAT);
    assert_eq!(read(dir.path(), ".hidden/d.sp"), UGLY);
    assert_eq!(read(dir.path(), "e.txt"), UGLY);
}

#[test]
fn a_file_with_errors_is_left_alone_and_the_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let broken = "axis   B\nconst = 1\n";
    fs::write(dir.path().join("a.sp"), broken).unwrap();
    fs::write(dir.path().join("b.sp"), UGLY).unwrap();
    fs::write(dir.path().join("c.sp"), b"axis \xff").unwrap();
    let ran = spc(dir.path(), ["fmt", "--message-format", "short", "a.sp", "b.sp", "c.sp"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "b.sp\n"));
    assert!(ran.stderr.contains("a.sp:2:") && ran.stderr.contains("SP0001"), "{}", ran.stderr);
    assert!(ran.stderr.contains("SP0004"), "{}", ran.stderr);
    assert_eq!(read(dir.path(), "a.sp"), broken);
    assert_eq!(read(dir.path(), "b.sp"), NEAT);
    let ran = spc(dir.path(), ["fmt", "none.sp"]);
    assert_eq!(ran.code, 4);
    assert!(ran.stderr.contains("SP0401"), "{}", ran.stderr);
}

#[test]
fn standard_input_goes_to_standard_output() {
    let ran = with_stdin(&["fmt", "-"], UGLY.as_bytes());
    assert_eq!((ran.code, ran.stdout.as_str()), (0, NEAT));
    let ran = with_stdin(&["fmt", "--check", "-"], UGLY.as_bytes());
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "<stdin>\n"));
    let ran = with_stdin(&["fmt", "--check", "-"], NEAT.as_bytes());
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    let ran = with_stdin(&["fmt", "-"], b"const = 1");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("<stdin>"), "{}", ran.stderr);
    assert_eq!(with_stdin(&["fmt", "-", "a.sp"], b"").code, 2);
    assert_eq!(with_stdin(&["fmt"], b"").code, 2);
}

#[cfg(unix)]
#[test]
fn permissions_stay() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.sp");
    fs::write(&file, UGLY).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(spc(dir.path(), ["fmt", "a.sp"]).code, 0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_standard_library_and_the_examples_are_in_the_one_style() {
    let top = root().parent().unwrap().to_path_buf();
    let ran = spc(&top, ["fmt", "--check", "stdlib", "examples"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
}
