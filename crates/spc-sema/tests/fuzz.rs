//! Mutated programs: whatever a person breaks, checking ends soon, with a message about the program and a place in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_base::{FileId, Limits};
use spc_ir::passes;
use spc_sema::{Library, check};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Tests run unoptimised on busy machines; an honest case takes a few milliseconds.
const LONGEST: Duration = Duration::from_secs(10);

/// Words of a program that mutations put in place of others.
const WORDS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "7",
    "64",
    "4096",
    "4294967296",
    "1000000000000",
    "18446744073709551615",
    "1e300",
    "0.5",
    "50%",
    "100%",
    "B",
    "I",
    "O",
    "K",
    "L",
    "x",
    "y",
    "w",
    "net",
    "nn",
    "max",
    "sum",
    "over",
    "f32",
    "i32",
    "bool",
    "int",
    "float",
    "all",
    "elements",
    "tile",
    "tensor",
    "model",
    "layer",
    "in",
    "out",
    "random",
    "+",
    "-",
    "*",
    "/",
    "<",
    "==",
    "&&",
    "!",
    "^",
    "..",
    ".",
    ",",
    "=",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "if",
    "else",
    "for",
    "per",
    "of",
    "on",
    "then",
    "keep",
    "multiple",
    "min",
    "pad",
    "ragged",
    "except",
    "\"\"",
    "true",
];

struct Rng(u64);

impl Rng {
    /// SplitMix64.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}

fn programs(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for p in entries {
        if p.is_dir() {
            programs(&p, out);
        } else if p.extension().is_some_and(|e| e == "sp") {
            out.push(p);
        }
    }
}

/// Words, numbers, texts and single signs, with the blanks between them.
fn tokens(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let kind = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => 1,
        c if c.is_whitespace() => 2,
        _ => 0,
    };
    let mut last = 0;
    for c in text.chars() {
        let k = kind(c);
        match out.last_mut() {
            Some(t) if k != 0 && k == last => t.push(c),
            _ => out.push(c.to_string()),
        }
        last = k;
    }
    out
}

fn mutate(rng: &mut Rng, source: &[String]) -> String {
    let mut t = source.to_vec();
    for _ in 0..=rng.below(3) {
        let solid: Vec<usize> = (0..t.len()).filter(|i| !t[*i].trim().is_empty()).collect();
        if solid.is_empty() {
            break;
        }
        let a = solid[rng.below(solid.len())];
        let b = solid[rng.below(solid.len())];
        match rng.below(8) {
            0 => t[a].clear(),
            1 => t.insert(a, t[a].clone()),
            2 => t.swap(a, b),
            3 | 4 => t[a] = WORDS[rng.below(WORDS.len())].to_string(),
            5 => t[a] = t[b].clone(),
            6 => t.insert(a, format!(" {} ", WORDS[rng.below(WORDS.len())])),
            _ => {
                // One line moved or repeated.
                let line = |at: usize| t[..at].iter().rposition(|x| x.contains('\n')).map_or(0, |i| i + 1);
                let from = line(a);
                let to = t[a..].iter().position(|x| x.contains('\n')).map_or(t.len(), |i| a + i + 1);
                let part: Vec<String> = t[from..to].to_vec();
                let at = line(b);
                t.splice(at..at, part);
            }
        }
    }
    t.concat()
}

/// Why this program shows a defect, if it does.
fn defect(text: &str, lib: &Library) -> Option<String> {
    let started = Instant::now();
    let limits = Limits::default();
    let (ast, mut diags) = spc_syntax::parse(text, FileId(0), &limits);
    if !diags.iter().any(spc_base::Diagnostic::is_error) {
        let checked = check(&ast, text, lib, &limits);
        for g in checked.graphs.values() {
            if let Err(bug) = g.verify() {
                return Some(format!("the graph is broken: {bug}"));
            }
            if !checked.has_errors()
                && let Err(bug) = passes::run(g, None)
            {
                return Some(format!("a pass refused: {bug}"));
            }
        }
        diags = checked.diagnostics;
    }
    let internal = [
        "cannot be computed",
        "cannot be elaborated",
        "internal",
        "operand's",
        "label ",
        "labels ",
        "node",
        "position",
    ];
    for d in &diags {
        if d.primary.as_ref().is_none_or(|p| p.span.start > p.span.end) {
            return Some(format!("no place: {}", d.message));
        }
        if d.primary.as_ref().is_some_and(|p| p.span.file == FileId(0) && p.span.end as usize > text.len()) {
            return Some(format!("a place outside the file: {}", d.message));
        }
        // Words of the program stand in quotes.
        let own: String = d.message.split('`').step_by(2).collect();
        if let Some(w) = internal.iter().find(|w| own.contains(**w)) {
            return Some(format!("an internal word ({w}): {}", d.message));
        }
        let abroad = d.primary.as_ref().is_some_and(|p| p.span.file != FileId(0));
        if abroad && !d.secondary.iter().any(|l| l.span.file == FileId(0)) {
            return Some(format!("no place in the user's file: {}", d.message));
        }
    }
    let took = started.elapsed();
    (took > LONGEST).then(|| format!("took {took:?}"))
}

#[test]
fn a_broken_program_gets_a_message_about_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    programs(&root.join("tests"), &mut files);
    programs(&root.join("examples"), &mut files);
    let sources: Vec<(PathBuf, Vec<String>)> =
        files.into_iter().map(|p| (p.clone(), tokens(&std::fs::read_to_string(p).unwrap()))).collect();
    assert!(sources.len() > 50, "the programs of the test suite are found");
    let lib = Library::load();
    // `SPC_FUZZ=SEED:CASES` looks further than the suite does.
    let setting = std::env::var("SPC_FUZZ").unwrap_or_else(|_| "1:1500".to_string());
    let (seed, cases) = setting.split_once(':').unwrap();
    let mut rng = Rng(seed.parse().unwrap());
    let mut seen: Vec<String> = Vec::new();
    for case in 0..cases.parse::<usize>().unwrap() {
        let (path, source) = &sources[rng.below(sources.len())];
        let text = mutate(&mut rng, source);
        if let Some(why) = defect(&text, &lib)
            && !seen.contains(&why)
        {
            println!("== case {case} from {}: {why}\n{text}", path.display());
            seen.push(why);
        }
    }
    assert!(seen.is_empty(), "{} defects: {seen:#?}", seen.len());
}
