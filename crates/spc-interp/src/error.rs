//! Why a graph could not be run.
use spc_base::{Bug, Code, Diagnostic, codes};
use std::fmt;

/// All but [`RunError::Bug`] are the caller's mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    InputMissing {
        name: String,
    },
    InputUnknown {
        name: String,
    },
    InputType {
        name: String,
        want: &'static str,
        got: &'static str,
    },
    /// `want` is the declared type in text form.
    InputShape {
        name: String,
        want: String,
        got: Vec<usize>,
    },
    /// Two inputs give one free axis two sizes.
    AxisConflict {
        axis: String,
        input: String,
        sizes: (u64, u64),
    },
    AxisRange {
        axis: String,
        size: u64,
        lo: u64,
        hi: u64,
    },
    /// No input carries the free axis.
    AxisUnbound {
        axis: String,
    },
    /// An id of a gather lies outside the gathered axis. `position` counts the ids row by row.
    IndexRange {
        axis: String,
        size: usize,
        id: i32,
        position: usize,
    },
    /// A score by which run-time values are chosen is NaN. `position` counts the scores row by row.
    ScoreNan {
        name: String,
        position: usize,
    },
    /// The best of no values was asked for.
    NothingToChoose {
        name: String,
    },
    WeightMissing {
        name: String,
    },
    WeightShape {
        name: String,
        want: Vec<u64>,
        got: Vec<u64>,
    },
    /// A value does not fit into memory.
    TooLarge {
        what: String,
    },
    Bug(Bug),
}

impl RunError {
    /// The diagnostic code; none for a bug.
    pub fn code(&self) -> Option<Code> {
        Some(match self {
            RunError::IndexRange { .. } => codes::INDEX_RANGE,
            RunError::ScoreNan { .. } | RunError::NothingToChoose { .. } => codes::SCORE_NAN,
            RunError::WeightMissing { .. } => codes::NO_TENSOR,
            RunError::WeightShape { .. } => codes::SHAPE,
            RunError::Bug(_) => return None,
            _ => codes::INPUT,
        })
    }

    /// The user's mistake as a diagnostic, or the bug.
    pub fn diagnostic(self) -> Result<Diagnostic, Bug> {
        match (self.code(), self) {
            (Some(code), e) => Ok(Diagnostic::error(code, e.to_string())),
            (None, RunError::Bug(b)) => Err(b),
            (None, e) => Err(Bug::new(e.to_string())),
        }
    }
}

impl From<Bug> for RunError {
    fn from(b: Bug) -> RunError {
        RunError::Bug(b)
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::InputMissing { name } => write!(f, "the input `{name}` is missing"),
            RunError::InputUnknown { name } => write!(f, "there is no input `{name}`"),
            RunError::InputType { name, want, got } => write!(f, "the input `{name}` is {got}, declared {want}"),
            RunError::InputShape { name, want, got } => {
                write!(f, "the input `{name}` has the shape {got:?}, declared {want}")
            }
            RunError::AxisConflict { axis, input, sizes } => {
                write!(f, "the axis {axis} has the size {} in `{input}` and {} in another input", sizes.1, sizes.0)
            }
            RunError::AxisRange { axis, size, lo, hi } => {
                write!(f, "the axis {axis} has the size {size}, declared {lo}..{hi}")
            }
            RunError::AxisUnbound { axis } => write!(f, "no input gives the axis {axis} a size"),
            RunError::IndexRange { axis, size, id, position } => {
                write!(f, "id {id} (number {position}) lies outside the axis {axis} of size {size}")
            }
            RunError::ScoreNan { name, position } => {
                write!(f, "a score of `{name}` is NaN (number {position}), and NaN has no place in an order")
            }
            RunError::NothingToChoose { name } => write!(f, "`{name}` has nothing to choose from"),
            RunError::WeightMissing { name } => write!(f, "the weight `{name}` is missing"),
            RunError::WeightShape { name, want, got } => {
                write!(f, "the weight `{name}` has the shape {got:?}, declared {want:?}")
            }
            RunError::TooLarge { what } => write!(f, "{what} does not fit into memory"),
            RunError::Bug(b) => b.fmt(f),
        }
    }
}

impl std::error::Error for RunError {}
