//! Texts that are nearly programs: changes of bytes, words, lines and parts of other programs.

/// Words that changes put in place of others.
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
    "-1",
    "0.5",
    "50%",
    "100%",
    "1..8",
    "60 MiB",
    "3 steps",
    "A",
    "B",
    "I",
    "O",
    "K",
    "L",
    "H",
    "x",
    "y",
    "w",
    "net",
    "nn",
    "max",
    "sum",
    "mean",
    "over",
    "f32",
    "f16",
    "i32",
    "bool",
    "int",
    "float",
    "all",
    "elements",
    "tensors",
    "slices",
    "tile",
    "tensor",
    "model",
    "layer",
    "in",
    "out",
    "by",
    "via",
    "at",
    "every",
    "always",
    "first",
    "last",
    "random",
    "select",
    "mask",
    "fn",
    "const",
    "group",
    "score",
    "schedule",
    "pattern",
    "penalty",
    "update",
    "require",
    "penalize",
    "quantize",
    "train",
    "run",
    "expect",
    "target",
    "axis",
    "data",
    "use",
    "std",
    "edition",
    "state",
    "where",
    "as",
    "joint",
    "cost",
    "energy",
    "+",
    "-",
    "*",
    "/",
    "<",
    "==",
    "&&",
    "&",
    "@",
    "!",
    "^",
    "->",
    "=>",
    "..",
    ".",
    ",",
    ":",
    ";",
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
    "on_overlap",
    "except",
    "\"\"",
    "\"a\\\"b\"",
    "true",
    "//",
    "///",
    "\n",
    "é",
    "\u{feff}",
    "\t",
    "\r\n",
];

/// SplitMix64: the same numbers everywhere.
#[derive(Clone, Debug)]
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}

/// An endless row of changed programs; equal seeds and corpora give equal rows.
pub struct Mutator {
    rng: Rng,
    corpus: Vec<Vec<u8>>,
}

/// Longest text that is made; long ones only cost time.
const LONGEST: usize = 1 << 14;

impl Mutator {
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Mutator {
        Mutator { rng: Rng(seed), corpus }
    }

    fn pick(&mut self) -> Vec<u8> {
        let at = self.rng.below(self.corpus.len());
        self.corpus.get(at).cloned().unwrap_or_default()
    }

    /// The next text: mostly valid UTF-8 with changed words, sometimes with changed bytes.
    pub fn step(&mut self) -> Vec<u8> {
        let source = self.pick();
        let mut out = match std::str::from_utf8(&source) {
            Ok(text) if self.rng.below(6) > 0 => self.words(text).into_bytes(),
            _ => self.bytes(source),
        };
        if self.rng.below(16) == 0 {
            out = self.splice(out);
        }
        out.truncate(LONGEST);
        out
    }

    fn bytes(&mut self, mut t: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.rng.below(4) {
            let at = self.rng.below(t.len());
            if t.is_empty() {
                return t;
            }
            match self.rng.below(5) {
                0 => t[at] ^= 1 << self.rng.below(8),
                1 => t[at] = self.rng.below(256) as u8,
                2 => {
                    let end = (at + 1 + self.rng.below(40)).min(t.len());
                    t.drain(at..end);
                }
                3 => {
                    let end = (at + 1 + self.rng.below(40)).min(t.len());
                    let part = t[at..end].to_vec();
                    for _ in 0..=self.rng.below(40) {
                        t.splice(at..at, part.iter().copied());
                    }
                }
                _ => t.insert(
                    at,
                    *[b'(', b'[', b'{', b'"', b'\n', b'/', b' ', b'~', b'0'].get(self.rng.below(9)).unwrap(),
                ),
            }
        }
        t
    }

    /// The head of one text and the tail of another.
    fn splice(&mut self, mut head: Vec<u8>) -> Vec<u8> {
        let tail = self.pick();
        head.truncate(self.rng.below(head.len() + 1));
        head.extend(&tail[self.rng.below(tail.len() + 1).min(tail.len())..]);
        head
    }

    fn words(&mut self, text: &str) -> String {
        let mut t = tokens(text);
        for _ in 0..=self.rng.below(3) {
            let solid: Vec<usize> = (0..t.len()).filter(|i| !t[*i].trim().is_empty()).collect();
            if solid.is_empty() {
                break;
            }
            let (a, b) = (solid[self.rng.below(solid.len())], solid[self.rng.below(solid.len())]);
            let word = WORDS[self.rng.below(WORDS.len())];
            match self.rng.below(8) {
                0 => t[a].clear(),
                1 => t.insert(a, t[a].clone()),
                2 => t.swap(a, b),
                3 | 4 => t[a] = word.to_string(),
                5 => t[a] = t[b].clone(),
                6 => t.insert(a, format!(" {word} ")),
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
}

/// Words, numbers, blanks and single signs.
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
