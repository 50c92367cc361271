//! Random graphs with inputs and weights, valid by construction, for differential tests of every stage after the IR.
//!
//! A case is a function of its seed, so that a failing one can be named by a number.
mod coupled;
mod expr;
mod graph;
mod rng;

pub use coupled::{Deleted, close, delete, zeroed};
pub use expr::{bool_expr, float_expr, int_expr};
pub use graph::{Case, Options, random_case};
pub use rng::{Rng, splitmix64};
