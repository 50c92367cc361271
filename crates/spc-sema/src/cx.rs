//! What every step of checking shares: the diagnostics collected so far, and small helpers for messages.
pub use spc_base::closest;
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
