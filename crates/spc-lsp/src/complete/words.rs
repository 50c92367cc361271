//! Words of the language that completion offers, with their forms.

pub struct Snippet {
    pub word: &'static str,
    pub detail: &'static str,
    /// In the protocol's snippet syntax.
    pub text: &'static str,
}

const fn s(word: &'static str, detail: &'static str, text: &'static str) -> Snippet {
    Snippet { word, detail, text }
}

/// Every item, in the order in which programs have them.
pub const ITEMS: &[Snippet] = &[
    s("edition", "the language's edition", "edition 1"),
    s("use", "names of the standard library", "use std.${1:nn}"),
    s("const", "a named value", "const ${1:NAME} = $0"),
    s("axis", "an axis of the file", "axis ${1:B} = ${2:1..512}"),
    s(
        "model",
        "weights by name",
        "model ${1:net} from safetensors \"${2:model.safetensors}\" {\n  axes { ${3:I = 64, O = 10} }\n  ${4:w}: f32[${5:O, I}]$0\n}",
    ),
    s("data", "data by name", "data ${1:name} from ${2:csv} \"${3:file}\" {\n  $0\n}"),
    s("fn", "a function", "fn ${1:name}(${2:x: f32[B, I]}) -> ${3:y: f32[B, O]} {\n  $0\n}"),
    s("group", "a family of slices", "group ${1:name} = slices(${2:F}) of ${3:net}"),
    s("mask", "a predicate on positions", "mask ${1:causal}(q, k) = ${2:k <= q}"),
    s("score", "a number for each group", "score ${1:name} = $0"),
    s("schedule", "a value in time", "schedule ${1:name} = $0"),
    s("pattern", "a sentence with a name", "pattern ${1:name}(${2:n: int}) =\n  keep $0"),
    s(
        "penalty",
        "a penalty method",
        "penalty ${1:name}(${2:lambda: f32}) radial {\n  value(x) = $0\n  prox(x, tau) = \n}",
    ),
    s(
        "update",
        "a training method",
        "update ${1:name}(c: constraint) {\n  mask m = select(c)\n  forward(w) = w * m$0\n}",
    ),
    s(
        "require",
        "a hard constraint",
        "require ${1:name}: keep ${2:50%} of ${3:elements} per ${4:tensor} by ${5:abs} on $0",
    ),
    s("penalize", "a soft constraint", "penalize ${1:name}: ${2:1e-3} * ${3:l1()} of ${4:elements} via prox$0"),
    s("quantize", "storage of fewer bits", "quantize ${1:net.*} to ${2:int8}($0)"),
    s(
        "train",
        "what happens in time",
        "train ${1:main} {\n  loss: $0\n  optimizer: adamw(lr: 1e-3)\n  batch: 64   steps: 1000\n}",
    ),
    s("run", "a job", "run ${1:test} { call: ${2:f}($0)   report: [size, time] }"),
    s("target", "where it runs", "target ${1:laptop} = cpu(threads: 1) { ${2:B = 64} }"),
    s("plan", "choices of layouts", "plan ${1:name} for ${2:target} { $0 }"),
    s("expect", "a promise", "expect $0"),
];

pub const KEEP: Snippet = s("keep", "the sentence", "keep ${1:50%} of ${2:elements} per ${3:tensor} by ${4:abs} on $0");

pub struct ClauseWord {
    pub word: &'static str,
    pub form: &'static str,
    /// The items that take it.
    pub items: &'static [&'static str],
}

const SENTENCES: &[&str] = &["require", "pattern"];
const ALL: &[&str] = &["require", "pattern", "penalize", "quantize"];
const TIMED: &[&str] = &["require", "penalize", "quantize"];

const fn c(word: &'static str, form: &'static str, items: &'static [&'static str]) -> ClauseWord {
    ClauseWord { word, form, items }
}

/// The tail of a sentence.
pub const CLAUSES: &[ClauseWord] = &[
    c("per", "per SCOPE", ALL),
    c("by", "by SCORE", SENTENCES),
    c("on", "on SELECTOR", TIMED),
    c("except", "except SELECTOR", TIMED),
    c("then", "then keep .. | then PENALTY of GROUP", ALL),
    c("min", "min N per SCOPE", SENTENCES),
    c("multiple", "multiple N", SENTENCES),
    c("always", "always first N, last N", SENTENCES),
    c("pad", "as if padded with zeros", SENTENCES),
    c("ragged", "a short scope keeps its share", SENTENCES),
    c("on_overlap", "on_overlap sum | latent | tree", ALL),
    c("via", "via UPDATE", TIMED),
    c("at", "at TIME", TIMED),
    c("every", "every N steps", TIMED),
];
