//! Methods as plain data: schedules, penalties, updates. All of it is checked; nothing refers to a syntax tree.

mod ratio;
mod schedule;
mod serial;

pub use ratio::Ratio;
pub use schedule::{Moment, NeedsLength, Quantity, Schedule, TimeExpr, Unit};
