//! What every step of checking shares: the diagnostics collected so far, and small helpers for messages.
use spc_base::{Code, Diagnostic, Span, codes};

/// A step stopped after reporting why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

pub type Res<T> = Result<T, Stop>;

#[derive(Debug, Default)]
pub struct Cx {
    pub diags: Vec<Diagnostic>,
}

impl Cx {
    pub fn report<T>(&mut self, d: Diagnostic) -> Res<T> {
        self.diags.push(d);
        Err(Stop)
    }

    pub fn err<T>(&mut self, code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) -> Res<T> {
        self.report(Diagnostic::error(code, message).at(span, label))
    }

    /// Valid language that this version does not check or run.
    pub fn not_yet<T>(&mut self, span: Span, what: &str) -> Res<T> {
        self.report(
            Diagnostic::error(codes::NOT_YET, format!("{what} cannot be used yet"))
                .at(span, "not built yet")
                .help("`docs/language.md` lists what this version checks and runs"),
        )
    }

    pub fn unknown<'a, T>(
        &mut self,
        span: Span,
        kind: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Res<T> {
        let mut d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no {kind} `{name}`"))
            .at(span, format!("no {kind} of this name"));
        if let Some(near) = closest(name, known) {
            d = d.help(format!("did you mean `{near}`?")).fix(span, near);
        }
        self.report(d)
    }
}

/// The closest known name, when one is near enough to be meant.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name of one or two letters is near everything; only its other case is meant.
    let limit = if name.chars().count() <= 2 { 0 } else { 1 + name.chars().count() / 3 };
    let mut best: Option<(usize, &str)> = None;
    for k in known {
        let d = if name.eq_ignore_ascii_case(k) { 0 } else { distance(name, k) };
        if d <= limit && best.is_none_or(|(b, _)| d < b) {
            best = Some((d, k));
        }
    }
    best.map(|(_, k)| k)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let next = (diagonal + usize::from(ca != *cb)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_offered_only_when_near() {
        assert_eq!(closest("lienar", ["linear", "relu"]), Some("linear"));
        assert_eq!(closest("x", ["linear", "relu"]), None);
        assert_eq!(closest("q", ["I", "O"]), None);
        assert_eq!(closest("b", ["I", "B"]), Some("B"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
