//! What every step of checking shares: the diagnostics collected so far, and small helpers for messages.
pub use spc_base::closest;
use spc_base::{Code, Diagnostic, Span, codes};
use std::collections::BTreeMap;

/// A step stopped after reporting why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

pub type Res<T> = Result<T, Stop>;

#[derive(Debug, Default)]
pub struct Cx {
    pub diags: Vec<Diagnostic>,
    /// Functions of the root file that were elaborated or called.
    pub reached: std::collections::BTreeSet<String>,
    /// Types of the values that statements of the root file assign, by the span of the name; of a repetition, the first.
    pub types: BTreeMap<Span, spc_ir::Type>,
    /// Steps taken so far; see [`Cx::spend`].
    work: u64,
}

/// Most steps that checking one program may take: expressions evaluated, repetitions unrolled, calls entered. The
/// largest honest programs take some ten thousand.
const MAX_WORK: u64 = 4_000_000;

/// After this many messages functions are not read further; more are never shown.
const MAX_DIAGNOSTICS: usize = 200;

impl Cx {
    /// Counts steps whose number the length of the text does not bound. The first step too many is reported.
    pub fn spend(&mut self, steps: u64, span: Span) -> Res<()> {
        if self.diags.len() >= MAX_DIAGNOSTICS {
            return Err(Stop);
        }
        let before = self.work;
        self.work = self.work.saturating_add(steps);
        if self.work <= MAX_WORK {
            return Ok(());
        }
        if before > MAX_WORK {
            return Err(Stop);
        }
        self.err(
            codes::TOO_LARGE,
            span,
            "the program stands for too much work",
            "the repetitions and calls add up here",
        )
    }

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
        // "function in `nn`": there is no function `x` in `nn`.
        let (what, place) = kind.split_once(" in ").map_or((kind, String::new()), |(k, p)| (k, format!(" in {p}")));
        let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no {what} `{name}`{place}"))
            .at(span, format!("no {what} of this name"));
        self.report(offer(d, span, name, known))
    }
}

/// Most names that a message lists.
const FEW: usize = 8;

/// Adds the closest of the known names as a fix; where none is close, all of them if they are few.
pub fn offer<'a>(d: Diagnostic, span: Span, name: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = closest(name, known.iter().copied()).filter(|near| *near != name) {
        return d.help(format!("did you mean `{near}`?")).fix(span, near);
    }
    match known.as_slice() {
        [one] => d.help(format!("the only one is `{one}`")),
        [rest @ .., last] if known.len() <= FEW => {
            let rest: Vec<String> = rest.iter().map(|n| format!("`{n}`")).collect();
            d.help(format!("there are {} and `{last}`", rest.join(", ")))
        }
        _ => d,
    }
}
