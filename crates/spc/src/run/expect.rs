//! What the program promises with `expect`.
use crate::build::Build;
use crate::failure::Res;
use crate::load::Source;
use spc_base::{Diagnostic, Span, codes};
use spc_report::{bytes, percent};
use spc_sema::{Compare, DataRef, Expect, Measure, Report, Run};

/// An expectation and what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The words as written.
    pub text: String,
    pub span: Span,
    /// Bytes, or a share between 0 and 1.
    pub value: f64,
    /// The value for people.
    pub shown: String,
    /// SP0501, where it does not hold.
    pub failure: Option<Diagnostic>,
}

impl Outcome {
    pub fn of(e: &Expect, value: f64) -> Outcome {
        let holds = match e.compare {
            Compare::AtLeast => value >= e.value,
            Compare::AtMost => value <= e.value,
            Compare::Above => value > e.value,
            Compare::Below => value < e.value,
            Compare::Equal => value == e.value,
        };
        let shown = match e.measure {
            // Only exact where it is a whole number, which sizes are.
            Measure::Size { .. } => bytes(value as u64),
            Measure::Sparsity { .. } | Measure::Accuracy { .. } | Measure::Later { .. } => percent(value),
        };
        let failure = (!holds).then(|| {
            Diagnostic::error(codes::EXPECT_FAILED, format!("expected {}, found {shown}", e.text))
                .at(e.span, "does not hold")
        });
        Outcome { text: e.text.clone(), span: e.span, value, shown, failure }
    }
}

/// The expectations that need no data: size and sparsity.
pub fn static_expects(source: &Source, build: &Build) -> Res<Vec<Outcome>> {
    let mut out = Vec::new();
    for e in &source.module.expects {
        match &e.measure {
            Measure::Size { model } => {
                let Some(m) = source.module.model(model) else { continue };
                out.push(Outcome::of(e, build.model_bytes(m)? as f64));
            }
            Measure::Sparsity { weights } => {
                let (mut zeros, mut all) = (0u64, 0u64);
                for w in weights {
                    let w = build.stored_values(w)?;
                    zeros += w.zeros();
                    all += w.values().len() as u64;
                }
                out.push(Outcome::of(e, zeros as f64 / all.max(1) as f64));
            }
            Measure::Accuracy { .. } | Measure::Later { .. } => {}
        }
    }
    Ok(out)
}

/// What the program asks for and this version cannot measure: one warning for each kind.
pub fn not_measured(source: &Source, run: &Run) -> Vec<Diagnostic> {
    let reports = run.reports.iter().filter_map(|r| match r {
        Report::Later { what, span } => Some((what, *span)),
        _ => None,
    });
    let expects = source.module.expects.iter().filter_map(|e| match &e.measure {
        Measure::Later { what } => Some((what, e.span)),
        _ => None,
    });
    let mut seen: Vec<&String> = Vec::new();
    let mut out = Vec::new();
    for (what, span) in reports.chain(expects) {
        if !seen.contains(&what) {
            seen.push(what);
            let text = format!("{what} is checked, but not measured yet");
            out.push(Diagnostic::warning(codes::NOT_YET, text).at(span, "left out"));
        }
    }
    out
}

/// The run that says what the inputs and labels of a function on some data are.
pub fn labelled_run<'a>(source: &'a Source, e: &Expect, function: &str, data: &str) -> Res<(&'a Run, &'a DataRef)> {
    let found = source.module.runs.iter().filter(|r| r.function == function).find_map(|r| {
        let labels = r.reports.iter().find_map(|p| match p {
            Report::Accuracy(labels) if labels.data == data => Some(labels),
            _ => None,
        });
        let reads = r.args.iter().all(|(_, a)| a.data == data);
        labels.filter(|_| reads).map(|l| (r, l))
    });
    found.ok_or_else(|| {
        let text = format!("no `run` says what the inputs and labels of `{function}` on `{data}` are");
        Diagnostic::error(codes::REPORT, text)
            .at(e.span, "cannot be measured")
            .help(format!("add a `run` that calls `{function}` on `{data}` and reports `accuracy(..)`"))
            .into()
    })
}
