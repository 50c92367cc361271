//! The code blocks of the documents do what the documents say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use support::doc::{Kind, blocks, commands, matches};
use support::{front, render, root};

fn document(name: &str) -> PathBuf {
    root().join("../docs").join(name)
}

/// Codes of a program's diagnostics, and the diagnostics as people see them.
fn codes(name: &str, text: &str) -> (BTreeSet<String>, String) {
    let (_, diags) = front(text);
    (diags.iter().map(|d| d.code.name()).collect(), render(name, text, &diags))
}

/// The documents' programs name the digits' files, which commands find under the same path.
fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("examples/digits");
    std::fs::create_dir_all(&to).unwrap();
    for e in std::fs::read_dir(root().join("../examples/digits")).unwrap() {
        let e = e.unwrap();
        if e.file_type().unwrap().is_file() {
            std::fs::copy(e.path(), to.join(e.file_name())).unwrap();
        }
    }
    dir
}

fn console(at: &str, text: &str, place: &Path, cwd: &mut PathBuf, faults: &mut Vec<String>) {
    for (command, want) in commands(text) {
        let words = split(&command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let shown = match words.as_slice() {
            ["cd", to] => {
                *cwd = place.join(to);
                continue;
            }
            ["spc", args @ ..] => {
                let r = support::spc::spc(cwd, args);
                format!("{}\n{}", r.stdout, r.stderr)
            }
            _ => panic!("{at}: only `cd` and `spc` are run, not `{command}`"),
        };
        for w in want.iter().filter(|w| !shown.lines().any(|l| matches(w, l))) {
            faults.push(format!("{at}: `{command}` does not print `{w}`:\n{shown}"));
        }
    }
}

/// Words of a command; a part in double quotes is one word.
fn split(command: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (i, part) in command.split('"').enumerate() {
        if i % 2 == 1 {
            out.push(part.to_string());
        } else {
            out.extend(part.split_whitespace().map(str::to_string));
        }
    }
    out
}

fn faults(name: &str) -> Vec<String> {
    let (mut base, mut faults) = (String::new(), Vec::new());
    let place = workplace();
    let mut cwd = place.path().to_path_buf();
    let blocks = blocks(&document(name));
    assert!(!blocks.is_empty(), "{name} has no blocks");
    for b in blocks {
        let at = format!("docs/{name}:{}", b.line);
        let together = format!("{base}\n{}", b.text);
        let mut clean = |text: &str| {
            let (found, shown) = codes(&at, text);
            if !found.is_empty() {
                faults.push(format!("{at}: {shown}"));
            }
        };
        match &b.kind {
            Kind::Base => {
                clean(&b.text);
                base.clone_from(&b.text);
            }
            Kind::Items => clean(&together),
            Kind::Alone => clean(&b.text),
            Kind::File(file) => {
                clean(&b.text);
                std::fs::write(cwd.join(file), &b.text).unwrap();
            }
            Kind::Fails(code) => {
                let (found, shown) = codes(&at, &together);
                if found != BTreeSet::from([code.clone()]) {
                    faults.push(format!("{at}: wanted {code} alone, found {found:?}\n{shown}"));
                }
            }
            Kind::Console => console(&at, &b.text, place.path(), &mut cwd, &mut faults),
        }
    }
    faults
}

#[test]
fn the_language_reference_is_true() {
    let faults = faults("language.md");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_tour_is_true() {
    let faults = faults("tour.md");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_page_on_training_is_true() {
    let faults = faults("training.md");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// An update, penalty or pattern that no example of the page uses is hard to find.
#[test]
fn every_method_of_the_library_has_an_example() {
    let page: String = blocks(&document("training.md")).into_iter().map(|b| b.text).collect();
    let mut seen = 0;
    for folder in ["updates", "penalties", "patterns"] {
        for e in std::fs::read_dir(root().join("../stdlib").join(folder)).unwrap() {
            let text = std::fs::read_to_string(e.unwrap().path()).unwrap();
            for line in text.lines() {
                let words: Vec<&str> = line.split([' ', '(']).collect();
                if let ["update" | "penalty" | "pattern", name, ..] = words.as_slice() {
                    seen += 1;
                    assert!(page.contains(&format!(" {name}(")), "`{name}` has no example in docs/training.md");
                }
            }
        }
    }
    assert!(seen > 35, "{seen}");
}
