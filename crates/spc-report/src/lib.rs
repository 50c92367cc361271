//! What people read: diagnostics in three forms, tables, and numbers with units.
//!
//! Nothing here prints. Every function turns data into text; the command line writes it.

mod diagnostics;
mod diff;
mod human;
mod json;
mod plot;
mod source;
mod table;
mod units;

pub use diagnostics::{Format, Renderer};
pub use diff::unified_diff;
pub use plot::{Panel, plot};
pub use source::{Place, SourceMap};
pub use table::{Align, Table};
pub use units::{bytes, percent, picoseconds, seconds, times};
