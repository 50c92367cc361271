//! `include/spc.h` against the library: the same functions and numbers, and a program in C that uses them all, for good and for
//! ill. The C part is skipped with a message where there is no C compiler.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header() -> String {
    std::fs::read_to_string(here().join("include/spc.h")).unwrap()
}

fn no_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        out += before;
        rest = after.split_once("*/").unwrap().1;
    }
    out + rest
}

fn parameters(list: &str) -> usize {
    let list = list.trim().trim_end_matches(',');
    if list.is_empty() || list == "void" { 0 } else { list.split(',').count() }
}

#[test]
fn the_header_declares_what_the_library_exports() {
    let text = no_comments(&header());
    let mut declared = BTreeMap::new();
    for part in text.split(';').filter(|p| p.contains("spc_") && !p.contains("(*")) {
        if let Some((head, rest)) = part.split_once('(')
            && let Some(name) = head.split([' ', '*', '\n']).next_back().filter(|n| n.starts_with("spc_"))
        {
            declared.insert(name.to_string(), parameters(rest.rsplit_once(')').unwrap().0));
        }
    }
    let mut exported = BTreeMap::new();
    for file in ["lib.rs", "error.rs", "array.rs", "train.rs", "halves.rs"] {
        let text = std::fs::read_to_string(here().join("src").join(file)).unwrap();
        for part in text.split("#[unsafe(no_mangle)]").skip(1) {
            let (name, rest) = part.split_once("fn ").unwrap().1.split_once('(').unwrap();
            exported.insert(name.to_string(), parameters(rest.split_once(')').unwrap().0));
        }
    }
    assert_eq!(declared, exported);
    assert!(exported.len() >= 18);
}

#[test]
fn the_header_has_the_numbers_of_the_library() {
    use spc_capi::{Status, Type};
    let text = no_comments(&header());
    let number = |name: &str| -> i32 {
        let rest = text.split(&format!("{name} = ")).nth(1).unwrap_or_else(|| panic!("no {name}"));
        rest.split([',', '\n', ' ']).next().unwrap().parse().unwrap()
    };
    for (name, status) in [
        ("SPC_OK", Status::Ok),
        ("SPC_NULL", Status::Null),
        ("SPC_SIZE", Status::Size),
        ("SPC_ALIGNMENT", Status::Alignment),
        ("SPC_INDEX_RANGE", Status::IndexRange),
        ("SPC_SCORE", Status::Score),
        ("SPC_PROGRAM", Status::Program),
        ("SPC_NAME", Status::Name),
        ("SPC_PROMISE", Status::Promise),
        ("SPC_INPUT", Status::Input),
        ("SPC_UTF8", Status::Utf8),
        ("SPC_HANDLE", Status::Handle),
        ("SPC_BUG", Status::Bug),
    ] {
        assert_eq!(number(name), status as i32, "{name}");
    }
    for (name, ty) in [("SPC_F32", Type::F32), ("SPC_I32", Type::I32), ("SPC_BOOL", Type::Bool)] {
        assert_eq!(number(name), ty as i32, "{name}");
    }
    for (name, kind) in [
        ("SPC_SGD", spc_capi::Kind::Sgd),
        ("SPC_ADAMW", spc_capi::Kind::AdamW),
        ("SPC_OUTSIDE", spc_capi::Kind::Outside),
    ] {
        assert_eq!(number(name), kind as i32, "{name}");
    }
    assert!(text.contains(&format!("#define SPC_ABI_VERSION {}\n", spc_capi::spc_abi_version())));
    // Objects bring the same declarations with their headers.
    let shared = header();
    let (from, to) = (shared.find("#ifndef SPC_STATUS").unwrap(), shared.find("/* What the functions below").unwrap());
    assert_eq!(shared[from..to].trim(), spc_cpu::object::COMMON.trim());
}

/// The shared library, which cargo puts where the tests are.
fn library() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().to_path_buf()
}

/// Builds a program of `tests/` and runs it.
fn c_program(name: &str) {
    if !cfg!(target_os = "linux") || !Command::new("cc").arg("--version").output().is_ok_and(|o| o.status.success()) {
        spc_base::skipped("no C compiler");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join(name);
    let out = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(here().join("include"))
        .arg(here().join("tests").join(format!("{name}.c")))
        .arg("-L")
        .arg(library())
        .arg(format!("-Wl,-rpath,{}", library().display()))
        .args(["-lspc_capi", "-lpthread", "-lm", "-o"])
        .arg(&program)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let out = Command::new(&program).current_dir(dir.path()).output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said == "fine\n" && wrong.is_empty(), "{:?}\n{said}\n{wrong}", out.status);
}

#[test]
fn a_c_program_compiles_binds_and_calls() {
    c_program("use");
}

#[test]
fn a_c_program_trains_and_resumes() {
    c_program("train");
}

#[test]
fn a_c_program_steps_around_its_own_optimiser_and_logs() {
    c_program("halves");
}
