//! Leaf crate: source spans, diagnostics as plain data, diagnostic codes, limits, and the type of our own bugs.
//!
//! Every other crate speaks of user mistakes as [`Diagnostic`] and of our own mistakes as [`Bug`]; the two never convert
//! into each other.

pub mod codes;
mod diagnostic;
mod fix;
mod limits;
mod near;
mod skip;
mod span;

pub use codes::{Code, lookup};
pub use diagnostic::{Bug, Diagnostic, Fix, Label, Level, has_errors, join};
pub use fix::{Fixed, apply_fixes};
pub use limits::Limits;
pub use near::{closest, edits, one_edit};
pub use skip::skipped;
pub use span::{FileId, Span};
