//! Makes one `#[test]` of every `.sp` file under `tests/`, so that the number of tests shows that none is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn collect(folder: &Path, out: &mut Vec<PathBuf>) {
    println!("cargo::rerun-if-changed={}", folder.display());
    for e in std::fs::read_dir(folder).unwrap() {
        let p = e.unwrap().path();
        if p.is_dir() {
            collect(&p, out);
        } else if p.extension().is_some_and(|e| e == "sp") {
            out.push(p);
        }
    }
}

fn main() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let mut files = Vec::new();
    for kind in ["ui", "ir", "layout", "clif", "cuda", "run", "coupling", "samples", "outsiders"] {
        collect(&root.join(kind), &mut files);
    }
    files.sort();
    let mut out = String::new();
    for f in files {
        let path = f.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let name = path.trim_end_matches(".sp").replace(['/', '-', '.'], "_");
        writeln!(out, "#[test]\nfn {name}() {{ file_test({path:?}) }}").unwrap();
    }
    std::fs::write(Path::new(&std::env::var("OUT_DIR").unwrap()).join("files.rs"), out).unwrap();
}
