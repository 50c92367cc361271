//! Rules about the repository itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn files(folder: &Path, extension: &str, out: &mut Vec<PathBuf>) {
    for e in std::fs::read_dir(folder).unwrap() {
        let p = e.unwrap().path();
        let name = p.file_name().unwrap().to_string_lossy().into_owned();
        if p.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&p, extension, out);
            }
        } else if p.extension().is_some_and(|e| e == extension) {
            out.push(p);
        }
    }
}

/// Workspace packages and the workspace packages they depend on (normal dependencies only).
fn workspace() -> BTreeMap<String, BTreeSet<String>> {
    let out = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(top())
        .output()
        .unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = meta["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    let mut map = BTreeMap::new();
    for p in packages {
        let deps = p["dependencies"].as_array().unwrap().iter();
        let normal = deps.filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().unwrap());
        let own = normal.filter(|n| names.contains(n)).map(str::to_string).collect();
        map.insert(p["name"].as_str().unwrap().to_string(), own);
    }
    map
}

/// `docs/architecture.md`, table of crates: package to allowed packages; `None` is "all above".
fn table() -> Vec<(String, Option<BTreeSet<String>>)> {
    let text = std::fs::read_to_string(top().join("docs/architecture.md")).unwrap();
    let mut rows = Vec::new();
    for line in text.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let place = cells[0].trim_matches('`');
        let manifest = std::fs::read_to_string(top().join(place).join("Cargo.toml")).unwrap();
        let name = manifest.lines().find_map(|l| l.strip_prefix("name = ")).unwrap().trim_matches('"').to_string();
        let long = |w: &str| match w {
            "spc" => "spc".to_string(),
            w => format!("spc-{w}"),
        };
        let allowed = match cells[2] {
            "-" => Some(BTreeSet::new()),
            "all above" => None,
            list => Some(list.split(", ").map(long).collect()),
        };
        rows.push((name, allowed));
    }
    rows
}

#[test]
fn the_crate_table_is_true() {
    let (real, table) = (workspace(), table());
    let listed: BTreeSet<&String> = table.iter().map(|(n, _)| n).collect();
    assert_eq!(real.keys().collect::<BTreeSet<_>>(), listed, "packages of the workspace against the table");
    for (i, (name, allowed)) in table.iter().enumerate() {
        let above: BTreeSet<String> = table[..i].iter().map(|(n, _)| n.clone()).collect();
        let allowed = allowed.clone().unwrap_or(above);
        let extra: Vec<&String> = real[name].difference(&allowed).collect();
        assert!(extra.is_empty(), "{name} depends on {extra:?}, which docs/architecture.md does not allow");
    }
}

#[test]
fn the_oracle_knows_no_layouts() {
    let real = workspace();
    for (a, b) in [("spc-interp", "spc-layout"), ("spc-interp", "spc-formats"), ("spc-layout", "spc-interp")] {
        assert!(!real[a].contains(b), "{a} must not know {b}");
    }
}

/// The peer is measured against and nothing else: no code of ours can come to rest on it.
#[test]
fn one_crate_knows_the_peer() {
    let mut manifests = Vec::new();
    files(&top(), "toml", &mut manifests);
    let names = |m: &PathBuf| std::fs::read_to_string(m).unwrap().lines().any(|l| l.starts_with("gemm"));
    let found: Vec<PathBuf> =
        manifests.into_iter().filter(names).map(|m| m.strip_prefix(top()).unwrap().to_path_buf()).collect();
    let allowed = ["Cargo.toml", "crates/spc-bench/Cargo.toml"].map(PathBuf::from);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), allowed.into_iter().collect());
}

#[test]
fn no_crate_is_an_empty_shell() {
    for place in ["grammar", "stdlib"].map(String::from).into_iter().chain(crates()) {
        let mut list = Vec::new();
        files(&top().join(&place).join("src"), "rs", &mut list);
        let lines: usize = list.iter().map(|f| std::fs::read_to_string(f).unwrap().lines().count()).sum();
        assert!(lines >= 20, "{place} has {lines} lines");
    }
}

fn crates() -> Vec<String> {
    let list = std::fs::read_dir(top().join("crates")).unwrap();
    list.map(|e| format!("crates/{}", e.unwrap().file_name().to_string_lossy())).collect()
}

#[test]
fn files_are_not_too_long() {
    let mut list = Vec::new();
    for place in ["crates", "tests", "grammar", "stdlib", "examples"] {
        files(&top().join(place), "rs", &mut list);
    }
    let long: Vec<String> = list
        .into_iter()
        .map(|f| (std::fs::read_to_string(&f).unwrap().lines().count(), f))
        .filter(|(n, _)| *n > 800)
        .map(|(n, f)| format!("{}: {n} lines", f.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// The command knows programs by path only: no name of an example, a model or a data set stands in its sources.
#[test]
fn no_example_is_known_by_name() {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for e in std::fs::read_dir(top().join("examples")).unwrap() {
        let folder = e.unwrap().path();
        let mut programs = Vec::new();
        files(&folder, "sp", &mut programs);
        for p in programs {
            names.insert(folder.file_name().unwrap().to_string_lossy().into_owned());
            for line in std::fs::read_to_string(p).unwrap().lines() {
                let mut words = line.split_whitespace();
                if let (Some("model" | "data"), Some(n)) = (words.next(), words.next()) {
                    names.insert(n.to_string());
                }
            }
        }
    }
    assert!(names.len() >= 4, "{names:?}");
    // `eval` and `net` are common words of code; the others are not.
    names.remove("eval");
    names.remove("net");
    let mut sources = Vec::new();
    files(&top().join("crates"), "rs", &mut sources);
    let product =
        |s: &&std::path::PathBuf| s.components().all(|c| c.as_os_str() != "tests" && c.as_os_str() != "benches");
    for s in sources.iter().filter(product) {
        let text = std::fs::read_to_string(s).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for n in &names {
            // In a text: alone, as part of a path, or as the owner of a member. The plain word may stand in a sentence.
            let known = |l: &str| {
                l.split('"').skip(1).step_by(2).any(|text| {
                    text == n
                        || text
                            .split(|c: char| c.is_whitespace() || c == '`')
                            .any(|w| w != n.as_str() && w.split(['.', '/']).any(|part| part == n) && !w.ends_with('.'))
                })
            };
            let hit = code.lines().filter(|l| !l.trim_start().starts_with("//")).find(|l| known(l));
            assert!(hit.is_none(), "{} knows `{n}`: {}", s.display(), hit.unwrap());
        }
    }
}

/// Every diagnostic code that a snapshot shows exists. Its page is tested by the suite `errors`.
#[test]
fn codes_are_documented() {
    let mut shown = BTreeSet::new();
    let mut snaps = Vec::new();
    files(&top().join("tests"), "snap", &mut snaps);
    for s in snaps {
        let text = std::fs::read_to_string(s).unwrap();
        for (i, _) in text.match_indices("[SP") {
            let code = &text[i + 1..i + 7];
            if code[2..].bytes().all(|b| b.is_ascii_digit()) {
                shown.insert(code.to_string());
            }
        }
    }
    assert!(shown.len() >= 20, "{shown:?}");
    for code in shown {
        assert!(spc_base::lookup(&code).is_some(), "{code} is not in the registry");
    }
}

/// A snapshot without its `.sp` file tests nothing.
#[test]
fn no_snapshot_is_left_over() {
    let mut snaps = Vec::new();
    files(&top().join("tests"), "snap", &mut snaps);
    for s in snaps {
        let folder = s.parent().unwrap().parent().unwrap();
        let sp = folder.join(s.file_name().unwrap()).with_extension("sp");
        let named_by_a_suite = folder.ends_with("suite") || folder.join("main.rs").exists();
        assert!(named_by_a_suite || sp.exists(), "{} has no program", s.display());
    }
}
