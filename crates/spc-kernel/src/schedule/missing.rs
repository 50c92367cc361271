//! Operators without a kernel.
use crate::templates::countable;
use spc_ir::Op;

/// What an operator is for, in the words of a program, if no kernel computes it. [`super::schedule()`] takes graphs in which
/// there is none.
pub fn missing(op: &Op) -> Option<&'static str> {
    match op {
        Op::Top(t) if !countable(t.amount) => Some("a choice of a share of more than nine digits"),
        _ => None,
    }
}
