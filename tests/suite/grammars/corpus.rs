//! Texts for the grammars: every program of the repository, every block of the documents, and one-token mutants of their items.
use crate::top;
use std::path::{Path, PathBuf};

/// A text with where it is from.
pub struct Text {
    pub from: String,
    pub text: String,
}

/// Every `.sp` file below the usual folders, then every block of the documents that the compiler's grammar accepts or that
/// is marked as `.sp`.
pub fn programs() -> Vec<Text> {
    let mut files = Vec::new();
    for folder in ["examples", "stdlib", "tests", "grammar"] {
        collect(&top().join(folder), "sp", &mut files);
    }
    files.sort();
    files
        .into_iter()
        .map(|f| Text { from: f.display().to_string(), text: std::fs::read_to_string(f).unwrap() })
        .collect()
}

/// Blocks of the documents: fenced ones, and indented ones.
pub fn blocks() -> Vec<Text> {
    let mut files = vec![top().join("README.md")];
    for folder in ["docs", "tests", "stdlib", "examples", "editors"] {
        collect(&top().join(folder), "md", &mut files);
    }
    files.sort();
    let mut out = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (i, block) in blocks_of(&text).into_iter().enumerate() {
            out.push(Text { from: format!("{} block {i}", file.display()), text: block });
        }
    }
    out
}

fn blocks_of(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut block = String::new();
    let mut fenced = false;
    for line in text.lines().chain([""]) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            if !block.trim().is_empty() {
                out.push(std::mem::take(&mut block));
            }
            block.clear();
        } else if fenced || line.starts_with("    ") {
            block.push_str(if fenced { line } else { &line[4..] });
            block.push('\n');
        } else if line.is_empty() && !block.is_empty() {
            block.push('\n');
        } else if !block.is_empty() {
            if !block.trim().is_empty() {
                out.push(std::mem::take(&mut block));
            }
            block.clear();
        }
    }
    if !block.trim().is_empty() {
        out.push(block);
    }
    out
}

fn collect(folder: &Path, extension: &str, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, extension, out);
        } else if path.extension().is_some_and(|e| e == extension) {
            out.push(path);
        }
    }
}

/// The items of a program, each with the one after it, so that what joins two items is there to be mutated.
pub fn pairs_of_items(text: &str) -> Vec<String> {
    let mut starts: Vec<usize> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let word: &str = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap();
        if spc_grammar::ITEM_WORDS.contains(&word) {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(text.len());
    let end = |i: usize| starts[(i + 2).min(starts.len() - 1)];
    (0..starts.len() - 1).map(|i| text[starts[i]..end(i)].to_string()).filter(|t| t.len() < 4_000).collect()
}

/// A fixed sequence of numbers that looks random.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % n.max(1) as u64) as usize
    }

    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

/// Names, and words that are names where they mean nothing.
const NAMES: [&str; 9] = ["x", "w1", "F", "net", "_", "elements", "tensor", "layer", "f32"];

/// Words of the grammar, and names: reserved words, words that mean something only in their place, units, hooks.
fn vocabulary() -> Vec<&'static str> {
    let grammar = spc_grammar::INNER_WORDS.iter().chain(&spc_grammar::PLACE_WORDS);
    grammar.chain(&spc_grammar::UNITS).chain(&spc_grammar::HOOKS).chain(&NAMES).chain(&["model"]).copied().collect()
}

const MARKS: [&str; 34] = [
    "(", ")", "[", "]", "{", "}", ",", ":", "=", "->", "=>", "..", ".", "*", "+", "-", "^", "/", "&&", "||", "<=",
    "==", "!=", "<", "@", "!", "&", "%", "\"a\"", "// c\n", "/// d\n", "\n", " ", ";",
];

const NUMBERS: [&str; 14] =
    ["1", "2.5", "25%", "100 steps", "60 MiB", "1e-3", "5_000", "0..4", "10%..80%", "2 of 4", "4x", "1_", "1.", "1e"];

/// Words, numbers, texts, comments, blanks and marks of a text, so that together they are the text.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let run = |f: &dyn Fn(char) -> bool| rest.find(|c| !f(c)).unwrap_or(rest.len());
        let n = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c == '"' {
            rest[1..].find(['"', '\n']).map_or(rest.len(), |n| n + 2)
        } else if c.is_ascii_alphanumeric() || c == '_' {
            run(&|c| c.is_ascii_alphanumeric() || c == '_')
        } else if c.is_whitespace() {
            run(&|c| c.is_whitespace())
        } else if ["->", "=>", "..", "&&", "||", "<=", ">=", "==", "!="].iter().any(|p| rest.starts_with(p)) {
            2
        } else {
            c.len_utf8()
        };
        out.push(&rest[..n]);
        rest = &rest[n..];
    }
    out
}

fn blank(token: &str) -> bool {
    token.trim().is_empty()
}

/// Changes one token: leaves it out, doubles it, puts another in its place or before it, swaps it with a neighbour, or
/// adds or removes a blank.
pub fn mutant(text: &str, dice: &mut Dice) -> String {
    let list = tokens(text);
    let words: Vec<usize> = (0..list.len()).filter(|&i| !blank(list[i])).collect();
    let at = words[dice.below(words.len())];
    let fresh = |dice: &mut Dice| match dice.below(9) {
        0 | 1 => dice.pick(&MARKS),
        2 => dice.pick(&NUMBERS),
        3 => dice.pick(&spc_grammar::ITEM_WORDS),
        4 => dice.pick(&spc_grammar::INNER_WORDS),
        5 | 6 => dice.pick(&vocabulary()),
        _ => list[words[dice.below(words.len())]],
    };
    let mut out: Vec<String> = list.iter().map(|t| (*t).to_string()).collect();
    match dice.below(10) {
        0 | 1 => out[at].clear(),
        2 => out[at] = format!("{0} {0}", list[at]),
        3 | 4 => out[at] = fresh(dice).to_string(),
        5 => out[at] = format!("{} {}", fresh(dice), list[at]),
        6 => out[at] = format!("{}{}", fresh(dice), list[at]),
        7 => {
            let other = words[(words.iter().position(|&w| w == at).unwrap() + 1) % words.len()];
            out.swap(at, other);
        }
        8 => out[at] = format!("{}{}", dice.pick(&[" ", "\n", "\t", "  "]), list[at]),
        _ => {
            if let Some(gap) = (0..at).rev().find(|&i| blank(list[i])) {
                out[gap].clear();
            }
        }
    }
    out.concat()
}
