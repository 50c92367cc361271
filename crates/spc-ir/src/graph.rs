//! The graph of one entry function: operators over petgraph, free axes, named outputs, and the constraints that hold on
//! its weights.
use crate::{Formula, Op, Require, Size, Sym, SymId, Type, infer};
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::{EdgeRef, NodeIndexable};
use spc_base::{Bug, Span};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;

/// Dense id of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl NodeId {
    fn index(self) -> NodeIndex<u32> {
        NodeIndex::new(self.0 as usize)
    }
}

/// An operator and the type of its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub op: Op,
    pub ty: Type,
}

/// Where the words stand that a node was made from: the operator itself, and the call in the root file that led there
/// (equal to `at` when the operator stands in the root file).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub at: Span,
    pub site: Span,
}

/// One entry function as a graph. An edge carries the operand position.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Name of the function.
    pub name: String,
    /// Free axes, indexed by [`SymId`].
    pub syms: Vec<Sym>,
    /// Free axes whose size follows from earlier ones. No input binds them.
    pub formulas: BTreeMap<SymId, Formula>,
    /// Named results, in declared order.
    pub outputs: Vec<(String, NodeId)>,
    /// Constraints on weights, in file order.
    pub requires: Vec<Require>,
    /// Sources of nodes, as far as known. Messages use them; they are no part of the graph's value or text.
    pub sources: BTreeMap<NodeId, Source>,
    g: StableDiGraph<Node, u32, u32>,
}

impl Graph {
    pub fn new(name: impl Into<String>) -> Graph {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// Adds a node; its type follows from the operator and the operands.
    pub fn add(&mut self, op: Op, inputs: &[NodeId]) -> Result<NodeId, Bug> {
        let types = inputs.iter().map(|i| self.node(*i).map(|n| &n.ty)).collect::<Result<Vec<_>, _>>()?;
        let ty = infer(&op, &types).map_err(|e| Bug::new(format!("{}: {e}", op.name())))?;
        Ok(self.add_typed(Node { op, ty }, inputs))
    }

    pub fn node(&self, id: NodeId) -> Result<&Node, Bug> {
        self.g.node_weight(id.index()).ok_or_else(|| Bug::new(format!("no node {id}")))
    }

    pub fn ty(&self, id: NodeId) -> Result<&Type, Bug> {
        self.node(id).map(|n| &n.ty)
    }

    /// Operands, in order of position.
    pub fn inputs(&self, id: NodeId) -> Vec<NodeId> {
        let mut v: Vec<(u32, NodeId)> = self
            .g
            .edges_directed(id.index(), Direction::Incoming)
            .map(|e| (*e.weight(), NodeId(e.source().index() as u32)))
            .collect();
        v.sort_unstable();
        v.into_iter().map(|(_, n)| n).collect()
    }

    /// Readers, ascending; a node that reads a value twice is listed twice.
    pub fn readers(&self, id: NodeId) -> Vec<NodeId> {
        let mut v: Vec<NodeId> =
            self.g.neighbors_directed(id.index(), Direction::Outgoing).map(|n| NodeId(n.index() as u32)).collect();
        v.sort_unstable();
        v
    }

    pub fn is_output(&self, id: NodeId) -> bool {
        self.outputs.iter().any(|(_, o)| *o == id)
    }

    pub fn len(&self) -> usize {
        self.g.node_count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All nodes, operands before readers, smallest id first among those that are ready.
    pub fn order(&self) -> Result<Vec<NodeId>, Bug> {
        let mut missing = vec![0usize; self.g.node_bound()];
        let mut ready = BinaryHeap::new();
        for n in self.g.node_indices() {
            let count = self.g.edges_directed(n, Direction::Incoming).count();
            if let Some(m) = missing.get_mut(n.index()) {
                *m = count;
            }
            if count == 0 {
                ready.push(Reverse(n));
            }
        }
        let mut out = Vec::with_capacity(self.len());
        while let Some(Reverse(n)) = ready.pop() {
            out.push(NodeId(n.index() as u32));
            for r in self.g.neighbors_directed(n, Direction::Outgoing) {
                if let Some(m) = missing.get_mut(r.index()) {
                    *m -= 1;
                    if *m == 0 {
                        ready.push(Reverse(r));
                    }
                }
            }
        }
        if out.len() == self.len() { Ok(out) } else { Err(Bug::new("the graph has a cycle")) }
    }

    /// Nodes by id, ascending.
    pub fn ids(&self) -> Vec<NodeId> {
        self.g.node_indices().map(|n| NodeId(n.index() as u32)).collect()
    }

    /// Named inputs with their types, in order of id.
    pub fn named_inputs(&self) -> Vec<(String, NodeId)> {
        self.pick(|op| if let Op::Input { name, .. } = op { Some(name.clone()) } else { None })
    }

    /// Named weights, in order of id.
    pub fn weights(&self) -> Vec<(String, NodeId)> {
        self.pick(|op| if let Op::Weight { name, .. } = op { Some(name.clone()) } else { None })
    }

    fn pick(&self, f: impl Fn(&Op) -> Option<String>) -> Vec<(String, NodeId)> {
        let all = self.g.node_indices();
        all.filter_map(|n| Some((f(&self.g.node_weight(n)?.op)?, NodeId(n.index() as u32)))).collect()
    }

    pub fn sym(&self, id: SymId) -> Result<&Sym, Bug> {
        self.syms.get(id.0 as usize).ok_or_else(|| Bug::new(format!("no free axis {}", id.0)))
    }

    /// Keeps the free axes that are `kept`, under the numbers that `number` gives.
    pub(crate) fn renumber_axes(mut self, number: &dyn Fn(SymId) -> SymId, kept: &[bool]) -> Graph {
        let is_kept = |i: usize| kept.get(i).copied().unwrap_or(false);
        let syms = std::mem::take(&mut self.syms);
        self.syms = syms.into_iter().enumerate().filter(|(i, _)| is_kept(*i)).map(|(_, s)| s).collect();
        let formulas = std::mem::take(&mut self.formulas);
        for (s, mut f) in formulas.into_iter().filter(|(s, _)| is_kept(s.0 as usize)) {
            f.terms.iter_mut().for_each(|t| t.1 = number(t.1));
            self.formulas.insert(number(s), f);
        }
        for n in self.g.node_weights_mut() {
            n.op = n.op.clone().renumbered(number);
            for d in &mut n.ty.dims {
                if let Size::Free(s) = &mut d.size {
                    *s = number(*s);
                }
            }
        }
        self
    }

    /// Operand `slot` of `node` becomes `new`, which has the same sizes.
    pub(crate) fn set_operand(&mut self, node: NodeId, slot: usize, new: NodeId) -> Result<(), Bug> {
        let edges = self.g.edges_directed(node.index(), Direction::Incoming);
        let edge = edges.map(|e| (e.id(), *e.weight())).find(|(_, s)| *s as usize == slot);
        let (edge, weight) = edge.ok_or_else(|| Bug::new(format!("{node} has no operand {slot}")))?;
        self.g.remove_edge(edge);
        self.g.add_edge(new.index(), node.index(), weight);
        Ok(())
    }

    /// Makes every reader of `old` (and every output that is `old`) read `new` instead.
    pub(crate) fn redirect(&mut self, old: NodeId, new: NodeId) {
        self.redirect_but(old, new, None);
    }

    /// As [`Graph::redirect`], but one reader keeps reading `old`.
    pub(crate) fn redirect_but(&mut self, old: NodeId, new: NodeId, but: Option<NodeId>) {
        let edges: Vec<_> = self
            .g
            .edges_directed(old.index(), Direction::Outgoing)
            .map(|e| (e.id(), e.target(), *e.weight()))
            .filter(|(_, target, _)| but.is_none_or(|b| b.index() != *target))
            .collect();
        for (e, target, slot) in edges {
            self.g.remove_edge(e);
            self.g.add_edge(new.index(), target, slot);
        }
        for (_, o) in &mut self.outputs {
            if *o == old {
                *o = new;
            }
        }
    }

    /// Removes what no output needs and no call gives; what is left keeps its ids.
    pub(crate) fn drop_unread(&mut self) {
        loop {
            let unread = |n: &NodeIndex<u32>| {
                let id = NodeId(n.index() as u32);
                let input = self.g.node_weight(*n).is_some_and(|n| matches!(n.op, Op::Input { .. }));
                !input && !self.is_output(id) && self.g.neighbors_directed(*n, Direction::Outgoing).next().is_none()
            };
            let gone: Vec<NodeIndex<u32>> = self.g.node_indices().filter(unread).collect();
            if gone.is_empty() {
                return;
            }
            gone.into_iter().for_each(|n| drop(self.g.remove_node(n)));
        }
    }

    /// The same name and free axes, and nothing else.
    pub(crate) fn without_nodes(&self) -> Graph {
        let (syms, formulas) = (self.syms.clone(), self.formulas.clone());
        Graph { name: self.name.clone(), syms, formulas, ..Graph::default() }
    }

    /// Drops nodes that no output needs (named inputs stay, they are the signature) and renumbers the rest densely in
    /// [`Graph::order`]. Types are inferred again, since operands may have been replaced.
    pub fn compact(&self) -> Result<Graph, Bug> {
        self.clone().packed(|out, node, inputs| out.add(node.op, inputs))
    }

    /// As [`Graph::compact`], of a graph in which no operand was replaced: types stay as they are.
    pub fn into_compact(self) -> Result<Graph, Bug> {
        self.packed(|out, node, inputs| Ok(out.add_typed(node, inputs)))
    }

    fn packed(mut self, add: impl Fn(&mut Graph, Node, &[NodeId]) -> Result<NodeId, Bug>) -> Result<Graph, Bug> {
        let mut live = vec![false; self.g.node_bound()];
        let mut stack: Vec<NodeIndex<u32>> = self.outputs.iter().map(|(_, o)| o.index()).collect();
        let inputs = |n: &NodeIndex<u32>| self.g.node_weight(*n).is_some_and(|n| matches!(n.op, Op::Input { .. }));
        stack.extend(self.g.node_indices().filter(inputs));
        while let Some(n) = stack.pop() {
            if let Some(l) = live.get_mut(n.index())
                && !std::mem::replace(l, true)
            {
                stack.extend(self.g.neighbors_directed(n, Direction::Incoming));
            }
        }
        let mut out = Graph {
            name: std::mem::take(&mut self.name),
            syms: std::mem::take(&mut self.syms),
            formulas: std::mem::take(&mut self.formulas),
            requires: std::mem::take(&mut self.requires),
            ..Graph::default()
        };
        let mut map: Vec<Option<NodeId>> = vec![None; live.len()];
        let new = |map: &[Option<NodeId>], n: NodeId| map.get(n.0 as usize).copied().flatten();
        let kept = self.order()?.into_iter().filter(|n| live.get(n.0 as usize).copied().unwrap_or(false));
        let rows: Vec<(NodeId, Vec<NodeId>)> = kept.map(|n| (n, self.inputs(n))).collect();
        for (id, inputs) in rows {
            let inputs: Vec<NodeId> = inputs.into_iter().filter_map(|i| new(&map, i)).collect();
            let node = self.g.remove_node(id.index()).ok_or_else(|| Bug::new(format!("no node {id}")))?;
            let to = add(&mut out, node, &inputs)?;
            if let Some(source) = self.sources.get(&id) {
                out.sources.insert(to, *source);
            }
            if let Some(m) = map.get_mut(id.0 as usize) {
                *m = Some(to);
            }
        }
        for (name, o) in std::mem::take(&mut self.outputs) {
            let to = new(&map, o).ok_or_else(|| Bug::new(format!("output {name} has no node")))?;
            out.outputs.push((name, to));
        }
        Ok(out)
    }

    /// Adds a node whose type is known.
    fn add_typed(&mut self, node: Node, inputs: &[NodeId]) -> NodeId {
        let id = self.g.add_node(node);
        for (slot, i) in (0u32..).zip(inputs) {
            self.g.add_edge(i.index(), id, slot);
        }
        NodeId(id.index() as u32)
    }
}

impl PartialEq for Graph {
    /// Equal when the numbered nodes, operands, outputs, free axes and constraints are equal.
    fn eq(&self, other: &Graph) -> bool {
        let rows = |g: &Graph| -> Vec<_> {
            g.ids().into_iter().map(|n| (n, g.node(n).ok().cloned(), g.inputs(n))).collect::<Vec<_>>()
        };
        self.name == other.name
            && self.syms == other.syms
            && self.formulas == other.formulas
            && self.outputs == other.outputs
            && self.requires == other.requires
            && rows(self) == rows(other)
    }
}
