//! What every step of checking shares: the diagnostics collected so far, and small helpers for messages.
use crate::memory::Gave;
pub use spc_base::closest;
use spc_base::{Code, Diagnostic, Span, codes};
use spc_ir::Graph;
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
    /// Messages of what this is a part of.
    before: usize,
}

/// Most steps that checking one program may take: expressions evaluated, repetitions unrolled, calls entered. The
/// largest honest programs take some ten thousand.
const MAX_WORK: u64 = 4_000_000;

/// After this many messages functions are not read further; more are never shown.
const MAX_DIAGNOSTICS: usize = 200;

impl Cx {
    /// For a part of the program, to be joined when it is done.
    pub fn part(&self) -> Cx {
        Cx { work: self.work, before: self.before + self.diags.len(), ..Cx::default() }
    }

    pub fn join(&mut self, part: Cx) {
        self.work = part.work;
        self.diags.extend(part.diags);
        self.reached.extend(part.reached);
        for (span, ty) in part.types {
            self.types.entry(span).or_insert(ty);
        }
    }

    /// Adds what one function gave when it was elaborated.
    pub(crate) fn add(&mut self, gave: Gave) -> Graph {
        self.work = self.work.saturating_add(gave.work);
        self.reached.extend(gave.reached);
        for (span, ty) in gave.types {
            self.types.entry(span).or_insert(ty);
        }
        gave.graph
    }

    /// Steps of a part.
    pub fn spent_in(&self, part: &Cx) -> u64 {
        part.work.saturating_sub(self.work)
    }

    /// Whether so many steps are left.
    pub fn can_spend(&self, steps: u64) -> bool {
        self.work.saturating_add(steps) <= MAX_WORK
    }

    /// No more messages would be shown.
    pub fn is_full(&self) -> bool {
        self.before + self.diags.len() >= MAX_DIAGNOSTICS
    }

    /// Counts steps whose number the length of the text does not bound. The first step too many is reported.
    pub fn spend(&mut self, steps: u64, span: Span) -> Res<()> {
        if self.is_full() {
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
