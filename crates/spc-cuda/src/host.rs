//! What runs on the host, and why.
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

/// Why `op` has no kernel. `None` for what computes nothing: inputs, weights, constants and changes of shape that leave
/// the data in place. A linear has a kernel, unless its caller found a reason of its own.
pub(crate) fn reason(op: &Op) -> Option<&'static str> {
    match op {
        Op::Input { .. } | Op::Weight { .. } | Op::Const { .. } | Op::Split { .. } | Op::Merge { .. } => None,
        Op::Linear { .. } => None,
        Op::Contract { .. } => Some("sums of products other than a linear (attention) have no CUDA kernel yet"),
        Op::Map { .. } => Some("pointwise operators that are not fused into a linear have no CUDA kernel yet"),
        Op::Reduce { .. } => Some("reductions (softmax, layer norm, pooling) have no CUDA kernel yet"),
        Op::Gather { .. } => Some("gathers (embeddings) have no CUDA kernel yet"),
        Op::Transpose { .. } => Some("transposes have no CUDA kernel yet"),
        Op::Broadcast { .. } => Some("broadcasts that are not fused have no CUDA kernel yet"),
        Op::Iota { .. } | Op::Size { .. } => Some("index vectors and sizes are made on the host"),
        Op::Concat { .. } | Op::Window { .. } => Some("joined and shifted values have no CUDA kernel yet"),
        Op::Round { .. } => Some("rounded activations have no CUDA kernel yet"),
        Op::Top(_) | Op::Rank { .. } => Some("choices among run-time values have no CUDA kernel yet"),
    }
}
