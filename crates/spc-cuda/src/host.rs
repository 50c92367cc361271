//! What has no kernel, and why.
use serde::Serialize;
use spc_ir::{NodeId, Op};

/// An operator of the graph that no kernel computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostOp {
    pub node: NodeId,
    /// The operator's word in the text form of a graph.
    pub op: String,
    pub reason: String,
}

/// Inputs, weights, and changes of shape that leave the data in place.
pub(crate) fn computes_nothing(op: &Op) -> bool {
    matches!(op, Op::Input { .. } | Op::Weight { .. } | Op::Split { .. } | Op::Merge { .. })
}
