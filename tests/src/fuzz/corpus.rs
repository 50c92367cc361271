//! The programs of this repository.
use std::path::{Path, PathBuf};

/// The folder of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every `.sp` file of the repository, by path, in order.
pub fn programs() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    for place in ["tests", "examples", "stdlib", "grammar"] {
        collect(&root().join(place), &mut paths);
    }
    paths.sort();
    paths.into_iter().filter_map(|p| Some((p.clone(), std::fs::read_to_string(&p).ok()?))).collect()
}

fn collect(folder: &Path, out: &mut Vec<PathBuf>) {
    for e in std::fs::read_dir(folder).unwrap() {
        let p = e.unwrap().path();
        if p.is_dir() && !p.ends_with("node_modules") {
            collect(&p, out);
        } else if p.extension().is_some_and(|e| e == "sp") {
            out.push(p);
        }
    }
}

/// What mutations start from: the programs, the examples on the pages of diagnostic codes, and a few awkward texts.
pub fn corpus() -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = programs().into_iter().map(|(_, t)| t.into_bytes()).collect();
    let mut pages: Vec<PathBuf> =
        std::fs::read_dir(root().join("docs/errors")).unwrap().map(|e| e.unwrap().path()).collect();
    pages.sort();
    for page in pages {
        let text = std::fs::read_to_string(page).unwrap();
        out.extend(text.split("```sp ").skip(1).filter_map(|b| {
            let body = b.split("```").next()?.split_once('\n')?.1;
            Some(body.as_bytes().to_vec())
        }));
    }
    out.extend(
        ["", "\u{feff}edition 1\n", "//", "fn f(x) =", "\"", "model m {", "axis A = 1..", "\r\n\r\n"].map(Into::into),
    );
    out
}
