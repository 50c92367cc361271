//! A patch: what a pass proposes. The driver applies it; nothing else changes a graph.
use crate::{Graph, NodeId, Op, Type, infer};
use spc_base::Bug;

/// A node of the graph, or the i-th node that the patch adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchRef {
    Old(NodeId),
    New(usize),
}

/// New nodes, and old nodes whose readers are to read something else.
#[derive(Clone, Debug)]
pub struct Patch {
    /// The rule that proposes it.
    pub rule: &'static str,
    nodes: Vec<(Op, Vec<PatchRef>, Type)>,
    replaced: Vec<(NodeId, PatchRef)>,
}

impl Patch {
    pub fn new(rule: &'static str) -> Patch {
        Patch { rule, nodes: Vec::new(), replaced: Vec::new() }
    }

    /// Type of a node, old or new.
    pub fn ty<'a>(&'a self, g: &'a Graph, r: PatchRef) -> Result<&'a Type, Bug> {
        match r {
            PatchRef::Old(n) => g.ty(n),
            PatchRef::New(i) => self.nodes.get(i).map(|n| &n.2).ok_or_else(|| Bug::new("patch refers ahead")),
        }
    }

    pub fn add(&mut self, g: &Graph, op: Op, inputs: &[PatchRef]) -> Result<PatchRef, Bug> {
        let types = inputs.iter().map(|r| self.ty(g, *r)).collect::<Result<Vec<_>, _>>()?;
        let ty = infer(&op, &types).map_err(|e| Bug::new(format!("{}: {}: {e}", self.rule, op.name())))?;
        self.nodes.push((op, inputs.to_vec(), ty));
        Ok(PatchRef::New(self.nodes.len() - 1))
    }

    /// Makes `old`'s readers read `new`. Refused unless element type and sizes agree.
    pub fn replace(&mut self, g: &Graph, old: NodeId, new: PatchRef) -> Result<(), Bug> {
        let (a, b) = (g.ty(old)?, self.ty(g, new)?);
        if a.dtype != b.dtype || a.sizes() != b.sizes() {
            return Err(Bug::new(format!("{}: replacement of {old} has another type", self.rule)));
        }
        self.replaced.push((old, new));
        Ok(())
    }

    /// What it replaces, in order.
    pub fn replaces(&self) -> Vec<NodeId> {
        self.replaced.iter().map(|(old, _)| *old).collect()
    }

    /// Applies the patch to a graph.
    pub fn apply(&self, g: &mut Graph) -> Result<(), Bug> {
        for (old, new) in self.offer(g)? {
            g.redirect(old, new);
        }
        Ok(())
    }

    /// Adds the new nodes beside the old ones and changes no reader. What would replace what.
    pub fn offer(&self, g: &mut Graph) -> Result<Vec<(NodeId, NodeId)>, Bug> {
        let mut ids = Vec::with_capacity(self.nodes.len());
        let find = |ids: &[NodeId], r: PatchRef| match r {
            PatchRef::Old(n) => Ok(n),
            PatchRef::New(i) => ids.get(i).copied().ok_or_else(|| Bug::new("patch refers ahead")),
        };
        for (op, inputs, _) in &self.nodes {
            let inputs = inputs.iter().map(|r| find(&ids, *r)).collect::<Result<Vec<_>, _>>()?;
            ids.push(g.add(op.clone(), &inputs)?);
        }
        // What a patch adds stands where the first thing stood that it replaces.
        if let Some(source) = self.replaced.iter().find_map(|(old, _)| g.sources.get(old)).copied() {
            g.sources.extend(ids.iter().map(|id| (*id, source)));
        }
        self.replaced.iter().map(|(old, new)| Ok((*old, find(&ids, *new)?))).collect()
    }
}
