//! Operators without a kernel.
use crate::templates::Fold;
use spc_base::Bug;
use spc_ir::{NodeId, Op};

/// What an operator is for, in the words of a program, if no kernel computes it. [`super::schedule()`] takes graphs in which
/// there is none.
pub fn missing(op: &Op) -> Option<&'static str> {
    match op {
        Op::Reduce { f, .. } if Fold::of(*f).is_none() => Some("a reduction other than sum, mean, max and min"),
        Op::Concat { .. } => Some("joining values along an axis"),
        Op::Window { .. } => Some("reading at a shifted or strided index"),
        Op::Size { .. } => Some("the size of a free axis as a number"),
        Op::Top(_) => Some("a choice among run-time values"),
        Op::Rank { .. } => Some("the rank of run-time values"),
        _ => None,
    }
}

pub(super) fn no_kernel(node: NodeId, op: &Op) -> Bug {
    Bug::new(format!("{node} is scheduled and has no kernel: {}", missing(op).unwrap_or(op.name())))
}
