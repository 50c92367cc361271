//! What a call is made of: buffers by what they hold, buffers that are free, and launches with their arguments.
use super::device::{Buffer, Function};
use spc_ir::NodeId;
use std::collections::BTreeMap;

/// What a buffer holds in one call: a value, or a value as terms for tensor cores, turned or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Held {
    Value(NodeId),
    Terms(NodeId, bool),
    /// Sums of blocks that share the columns.
    Parts(NodeId),
}

/// Free buffers by size.
#[derive(Default)]
pub(super) struct Pool(BTreeMap<u64, Vec<Buffer>>);

impl Pool {
    pub fn take(&mut self, bytes: u64) -> Option<Buffer> {
        self.0.get_mut(&bytes).and_then(Vec::pop)
    }

    pub fn give(&mut self, buffer: Buffer) {
        self.0.entry(buffer.bytes()).or_default().push(buffer);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// A launch: blocks, threads and bytes of shared memory, and a value for each parameter.
pub(super) struct Call {
    pub function: Function,
    pub size: (u32, u32, u32),
    pub arguments: Vec<u64>,
}
