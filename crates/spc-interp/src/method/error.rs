use crate::ProjectError;
use spc_base::{Bug, Code, Diagnostic, codes};
use std::fmt;

/// Why a step could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodError {
    Project(ProjectError),
    /// A weight or gradient is not there.
    Missing {
        weight: String,
    },
    /// A rule acts on a weight without a gradient.
    MissingGradient {
        weight: String,
        rule: String,
    },
    /// Something holds another number of values than the weight has.
    Length {
        what: String,
        want: usize,
        got: usize,
    },
    /// A value is NaN or infinite.
    NotFinite {
        what: String,
        weight: String,
        index: usize,
    },
    /// A step at or behind the end of the run, or not the next one.
    Step {
        step: u64,
        steps: u64,
        next: u64,
    },
    /// A saved state of another program.
    State {
        name: String,
        problem: String,
    },
    /// Penalties act on groups that share weights.
    Overlap {
        name: String,
    },
    /// Groups along a tree that are not nested.
    NotNested {
        name: String,
    },
    /// A penalty that looks at all groups together, on groups that share weights.
    Coupled {
        name: String,
    },
    /// A function whose root was asked for falls.
    Falls,
    /// Valid, but not run by this version.
    NotYet {
        what: String,
    },
    Bug(Bug),
}

impl MethodError {
    /// The diagnostic code; none for a bug.
    pub fn code(&self) -> Option<Code> {
        Some(match self {
            MethodError::Project(e) => return e.code(),
            MethodError::Missing { .. } | MethodError::MissingGradient { .. } => codes::NO_TENSOR,
            MethodError::Length { .. } => codes::SHAPE,
            MethodError::NotFinite { .. } => codes::NOT_FINITE,
            MethodError::Step { .. } => codes::STEP,
            MethodError::State { .. } => codes::STATE,
            MethodError::Overlap { .. } | MethodError::NotNested { .. } | MethodError::Coupled { .. } => codes::OVERLAP,
            MethodError::Falls => codes::HOOK,
            MethodError::NotYet { .. } => codes::NOT_YET,
            MethodError::Bug(_) => return None,
        })
    }

    /// The user's mistake as a diagnostic, or the bug.
    ///
    /// # Errors
    /// The bug.
    pub fn diagnostic(self) -> Result<Diagnostic, Bug> {
        match (self.code(), self) {
            (_, MethodError::Bug(b)) => Err(b),
            (_, MethodError::Project(e)) => e.diagnostic(),
            (Some(code), e) => Ok(Diagnostic::error(code, e.to_string())),
            (None, e) => Err(Bug::new(e.to_string())),
        }
    }
}

impl From<Bug> for MethodError {
    fn from(b: Bug) -> MethodError {
        MethodError::Bug(b)
    }
}

impl From<ProjectError> for MethodError {
    fn from(e: ProjectError) -> MethodError {
        MethodError::Project(e)
    }
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MethodError::Project(e) => e.fmt(f),
            MethodError::Missing { weight } => write!(f, "nothing is given for the weight `{weight}`"),
            MethodError::MissingGradient { weight, rule } => {
                write!(f, "nothing is given for the gradient of `{weight}`, on which `{rule}` acts")
            }
            MethodError::Length { what, want, got } => write!(f, "`{what}` holds {got} values where {want} are needed"),
            MethodError::NotFinite { what, weight, index } => {
                write!(f, "{what} of `{weight}` is not finite at index {index}")
            }
            MethodError::Step { step, steps, next } if step >= steps => {
                write!(f, "step {step} of a run of {steps} steps, which are numbered from 0; next is {next}")
            }
            MethodError::Step { step, next, .. } => write!(f, "step {step} cannot follow: the state is at step {next}"),
            MethodError::State { name, problem } => write!(f, "the state does not fit: `{name}` {problem}"),
            MethodError::Overlap { name } => {
                write!(f, "`{name}` acts on groups that share weights; say `on_overlap sum` or `latent`")
            }
            MethodError::NotNested { name } => {
                write!(
                    f,
                    "`{name}` acts along a tree, and one of its groups lies neither inside nor outside of another"
                )
            }
            MethodError::Coupled { name } => {
                write!(f, "`{name}` looks at all groups together, so it has no meaning on groups that share weights")
            }
            MethodError::Falls => f.write_str("the function whose root is asked for falls"),
            MethodError::NotYet { what } => write!(f, "{what} cannot be used yet"),
            MethodError::Bug(b) => b.fmt(f),
        }
    }
}

impl std::error::Error for MethodError {}
