//! Habits from other languages, and what to write instead.
use crate::scan::word_at;

/// Where the grammar refused a word.
pub(crate) struct Refused<'a> {
    /// The word that starts the item.
    pub item: &'a str,
    /// What was found, and the tokens before it and after it; empty at an end.
    pub found: &'a str,
    pub before: &'a str,
    /// The line up to there.
    pub line: &'a str,
    pub after: &'a str,
    /// An expression could have stood there, or a name to assign to.
    pub wants_expr: bool,
    pub wants_place: bool,
}

/// A help for the most frequent of them.
pub(crate) fn hint(at: &Refused<'_>) -> Option<&'static str> {
    word(at).or_else(|| mark(at)).or_else(|| sum_of_nothing(at))
}

/// `sum(i) x[i]`, as on paper.
fn sum_of_nothing(at: &Refused<'_>) -> Option<&'static str> {
    let opened = ["sum(", "mean(", "product(", "max(", "min("].iter().filter_map(|w| Some(at.line.rfind(w)? + w.len()));
    let rest = at.line.get(opened.max()?..)?;
    let (axis, more) = rest.split_once(')')?;
    let name = !axis.is_empty() && axis.chars().all(|c| c.is_alphanumeric() || c == '_');
    let apart = more.starts_with([' ', '\t']) && (!more.trim().is_empty() || word_at(at.found, 0) == at.found);
    (name && apart).then_some("what is summed stands inside: `sum(x[i] * w[i] over i)`")
}

fn word(at: &Refused<'_>) -> Option<&'static str> {
    Some(match (at.before, at.found) {
        ("not", _) => "`not` is written `!`",
        ("return" | "let" | "var" | "val", _) => "a statement is `name = ..`; a result is assigned by its name",
        ("multiple", "of") => "write `multiple 64`, without `of`",
        (_, "and") => "`and` is written `&&`",
        (_, "or") => "`or` is written `||`",
        (_, "if") if at.wants_place && matches!(at.item, "penalty" | "update") => {
            "an `if` is an expression, and a block gives a result by its name: `prox(x, tau) -> y { y = if c { a } else { b } }`"
        }
        (_, "if") if at.wants_place => {
            "an `if` is an expression: write `y = if c { a } else { b }`, with `-> y` before the block"
        }
        (_, "then") if at.item != "require" && at.item != "penalize" => "write `if c { a } else { b }`",
        (_, "then") if at.item == "require" => "a chain of sentences starts with `keep`, not with a pattern",
        (_, "along") => "name the axis in the scope: `per tile(in: 4)`",
        (_, "as") if at.item == "use" => "a module keeps its own name",
        (_, "in") if at.item == "axis" => "a range is written `axis B = 1..512`",
        (_, "in") if at.item == "require" => "what a constraint acts on is written `on net.w`",
        (_, "on" | "except") if at.item == "group" => "a group is `.. of` what it slices: `tile(in: 4) of net.w`",
        ("keep", _) if at.found == "at" => MOST,
        ("most", _) => MOST,
        _ => return None,
    })
}

const MOST: &str = "an amount is the most that is kept: write `keep 4 of ..`";

fn mark(at: &Refused<'_>) -> Option<&'static str> {
    let number = at.before.starts_with(|c: char| c.is_ascii_digit());
    Some(match at.found {
        ";" => "a blank or a line end separates statements; leave `;` out",
        "%" if number => "a percentage has no blank before its `%`: `25%`",
        "*" if at.before == "*" => "a power is written `x^2`",
        "@" => "a product of matrices is written with indices: `y[i] = w[i, j] * x[j]`",
        "'" => "a text stands in double quotes",
        "?" => "a choice is written `if c { a } else { b }`",
        "+" if at.wants_expr && at.after.starts_with(|c: char| c.is_ascii_digit()) => "a number has no sign `+`",
        "+" | "-" | "*" | "/" if at.after == "=" => "write `x = x + 1`: a name is assigned as a whole",
        "." if at.wants_expr && at.after.starts_with(|c: char| c.is_ascii_digit()) => {
            "write `0.5`, with a digit before the point"
        }
        ":" if at.item == "axis" => "a size or a range is written `axis B = 1..512`",
        ":" if at.item == "const" => "a constant has no type: write `const x = 3`",
        ":" if at.item == "fn" && at.before == ")" => "a result is written `-> y: f32[B]`",
        ":" if at.item == "fn" && at.wants_expr => "all of an axis is written by its index: `x[b, 0]`",
        "," => return comma(at),
        _ if at.found.starts_with('"') && at.before == "from" => {
            "name the format first: `from safetensors \"w.safetensors\"`"
        }
        "(" if matches!(at.item, "model" | "data") && word_at(at.before, 0) == at.before => {
            "the path stands in quotes after the format: `from safetensors \"w.safetensors\"`"
        }
        _ => return None,
    })
}

fn comma(at: &Refused<'_>) -> Option<&'static str> {
    Some(match at.item {
        "require" | "penalize" | "quantize" => {
            "clauses have no commas between them; several tensors are written `net.{a, b}`"
        }
        "model" | "data" => "members have no commas between them: a blank or a line end is enough",
        "train" => "settings have no commas between them: a blank or a line end is enough",
        "fn" | "score" | "update" | "penalty" if !at.wants_expr => "several names are assigned as `(y, z) = ..`",
        _ => return None,
    })
}
