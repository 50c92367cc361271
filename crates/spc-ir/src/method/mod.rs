//! Methods as plain data: schedules, penalties, updates. All of it is checked; nothing refers to a syntax tree.
//!
//! Penalties and updates are [`Body`]s, which stay close to loops: pointwise maps in one of four spaces, and a value of its
//! own for everything that looks at more than one position. They are kept in files as JSON and shown as text.

mod body;
mod metric;
mod ratio;
mod rules;
mod schedule;
mod serial;
mod text;

pub use body::{Body, Clips, Compute, Fold, Input, Kind, Space, Target, Value, ValueId};
pub use metric::InMetric;
pub use ratio::Ratio;
pub use rules::{
    Does, GroupWeight, Guard, Lift, Mask, Metric, Penalty, Refresh, Rule, Rules, State, Term, Timing, Update, Via,
    Weighing,
};
pub use schedule::{Moment, NeedsLength, Quantity, Schedule, TimeExpr, Unit};
