//! Methods: `update`, `penalty` and `score` items, checked whether used or not, and what a clause makes of them.
//!
//! [`resolve_update`] and [`resolve_penalty`] give plain data with every argument filled in and every call inlined.
//! The language of hooks is total: names are assigned before they are used, and nothing refers to itself.

mod builder;
mod call;
mod expr;
mod helper;
mod params;
mod penalty;
mod root;
pub(crate) mod rules;
pub(crate) mod train;
mod update;
mod uses;

#[cfg(test)]
mod tests;

pub(crate) use builder::Ex;
pub(crate) use uses::scores_weights;
pub use uses::{check_methods, resolve_penalize, resolve_penalty, resolve_update};

use crate::scope::Origin;
use spc_ir::method::Schedule;
use spc_syntax::ast::Expr;

/// What stands for a parameter.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// Nothing yet: a definition is checked without a use.
    Open,
    Number(Schedule),
    Bool(bool),
    /// The name of a constraint; empty for the one that the method is used on.
    Constraint(String),
    /// A score, weight or amount in the words of a file.
    Words {
        expr: Expr,
        origin: Origin,
    },
    /// A value of the body that is being built.
    Ready(Ex),
}
