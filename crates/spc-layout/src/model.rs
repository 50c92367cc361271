//! What the search knows of a graph: its values in order, what each one is, and which layouts its weight may have.
use crate::WeightFacts;
use crate::machine::Machine;
use spc_base::Bug;
use spc_formats::{CostFacts, Layout};
use spc_ir::structure::{is_rest, part_of, scaled_weights};
use spc_ir::{Act, Beside, DType, Epilogue, Graph, NodeId, Op, Size, Type, channels_of, is_unfolded};
use std::collections::{BTreeMap, BTreeSet};

/// A linear: its weight and the layouts that can hold it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear {
    pub weight: String,
    /// Position of the input among the values.
    pub x: usize,
    /// Usable layouts, as indices into `Model::layouts`, in the order of the candidates.
    pub layouts: Vec<(u32, CostFacts)>,
}

impl Linear {
    pub fn facts(&self, layout: u32) -> Option<&CostFacts> {
        self.layouts.iter().find(|(l, _)| *l == layout).map(|(_, f)| f)
    }
}

/// How a value is made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Linear(Linear),
    /// Pointwise over `inputs` of its own shape and `scalars`; runs in either activation layout, or row-major only where it reads
    /// numbers for each feature, too, which are among the scalars where they are values.
    Map {
        inputs: Vec<usize>,
        scalars: Vec<usize>,
        by_row: bool,
    },
    /// A range of the features of a linear, seen in place; row-major.
    Part {
        of: usize,
    },
    /// Anything else: reads row-major, writes row-major.
    Opaque {
        inputs: Vec<usize>,
    },
    /// The end of the graph: reads every output row-major.
    Root {
        inputs: Vec<usize>,
    },
}

/// What an operator that reads and writes row-major can also do, by copying runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moves {
    /// Write a matrix of windows feature-major.
    Unfold,
    /// Read a feature-major matrix and put its features before its tokens.
    Channels,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    /// `None` for the root.
    pub node: Option<NodeId>,
    pub kind: Kind,
    /// Whether the value is a matrix of tokens and features, so that it can be feature-major.
    pub matrix: bool,
    /// Linears (values) into whose kernels this pointwise value may be fused.
    pub fuses: Vec<usize>,
    /// Only of [`Kind::Opaque`], and never on a GPU.
    pub moves: Option<Moves>,
    /// Linears on offer (values) of which this linear may be a part instead.
    pub merged: Vec<usize>,
    /// Values that may be read in the place of this one, each with its rule.
    pub folds: Vec<(&'static str, usize)>,
    /// Values that this pointwise one reads, each with the linear that takes its place and into whose kernel this may be fused.
    pub fuses_folded: Vec<(usize, usize)>,
}

impl Value {
    /// Values that a pointwise one reads.
    pub fn operands(&self) -> usize {
        match &self.kind {
            Kind::Map { inputs, scalars, .. } => inputs.len() + scalars.len(),
            _ => 0,
        }
    }
}

/// What may take the place of linears: one linear whose ranges they are. The graph has all of its nodes, and nothing reads the
/// ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub merged: NodeId,
    /// Each linear, and the range that would be read instead.
    pub replaced: Vec<(NodeId, NodeId)>,
}

/// Values that may be read in the place of others. The graph has all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folds {
    /// The rule, what it replaces, and what would be read instead.
    pub list: Vec<(&'static str, NodeId, NodeId)>,
    /// For each fold the graph with it alone taken, numbered alike. Whatever else is taken, as many values read what it reads.
    pub worlds: Vec<Graph>,
}

/// A graph as the search sees it. Values stand in order, operands before readers, the root last.
#[derive(Clone, Debug)]
pub(crate) struct Model<'a> {
    pub graph: &'a Graph,
    pub values: Vec<Value>,
    pub layouts: Vec<Layout>,
    /// Size of each free axis that the plan is tuned for.
    pub syms: Vec<u64>,
    /// Bytes of all weights of linears, and of products that may become linears, together when dense.
    pub weight_bytes: u64,
    /// On a GPU every value lies token by token, and only some layouts have kernels.
    pub machine_is_gpu: bool,
}

/// Tuning size of a free axis about which nothing was said.
const DEFAULT_SIZE: u64 = 32;

/// Sizes of the free axes: what was asked for, else 32, always within the axis's range.
pub(crate) fn bind(graph: &Graph, tuned_for: &BTreeMap<String, u64>) -> Vec<u64> {
    let size = |s: &spc_ir::Sym| {
        let wanted = tuned_for.get(&s.name).copied().unwrap_or(DEFAULT_SIZE);
        wanted.min(s.hi).max(s.lo)
    };
    let mut sizes: Vec<u64> = graph.syms.iter().map(size).collect();
    graph.complete(&mut sizes);
    sizes
}

fn is_matrix(ty: &Type) -> bool {
    ty.dtype == DType::F32 && ty.dims.last().is_some_and(|d| matches!(d.size, Size::Fixed(_)))
}

fn is_identity(at: &[u32], rank: usize) -> bool {
    at.iter().copied().eq(0..rank as u32)
}

/// Operands before readers, smallest id first; what is on offer before what it may replace.
fn order(graph: &Graph, offers: &[Offer], folds: &Folds) -> Result<Vec<NodeId>, Bug> {
    if offers.is_empty() && folds.list.is_empty() {
        return graph.order();
    }
    let mut before: BTreeMap<NodeId, Vec<NodeId>> = graph.ids().into_iter().map(|n| (n, graph.inputs(n))).collect();
    for o in offers {
        for (old, _) in &o.replaced {
            before.entry(*old).or_default().push(o.merged);
        }
    }
    for (_, old, new) in &folds.list {
        before.entry(*old).or_default().push(*new);
    }
    let mut after: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    for (n, list) in &before {
        list.iter().for_each(|b| after.entry(*b).or_default().push(*n));
    }
    let mut missing: BTreeMap<NodeId, usize> = before.iter().map(|(n, list)| (*n, list.len())).collect();
    let mut ready: BTreeSet<NodeId> = missing.iter().filter(|(_, n)| **n == 0).map(|(n, _)| *n).collect();
    let mut out = Vec::with_capacity(before.len());
    while let Some(n) = ready.pop_first() {
        out.push(n);
        for r in after.get(&n).into_iter().flatten() {
            if let Some(m) = missing.get_mut(r) {
                *m -= 1;
                if *m == 0 {
                    ready.insert(*r);
                }
            }
        }
    }
    if out.len() == before.len() { Ok(out) } else { Err(Bug::new("what is on offer reads what it would replace")) }
}

/// Values that some result needs, as long as nothing on offer is used.
fn needed(graph: &Graph) -> BTreeSet<NodeId> {
    let mut out = BTreeSet::new();
    let mut stack: Vec<NodeId> = graph.outputs.iter().map(|(_, o)| *o).collect();
    while let Some(n) = stack.pop() {
        if out.insert(n) {
            stack.extend(graph.inputs(n));
        }
    }
    out
}

/// Who reads a value once what is on offer is used, or is not.
struct Readers<'a> {
    graph: &'a Graph,
    old: &'a BTreeSet<NodeId>,
    folds: &'a Folds,
}

impl Readers<'_> {
    /// Whether nothing but `node` needs the value: what is new looks at the graph with the fold taken that makes it, what is old at
    /// the graph without any.
    fn only(&self, value: NodeId, node: NodeId) -> bool {
        if self.folds.worlds.is_empty() {
            return self.graph.readers(value) == [node] && !self.graph.is_output(value);
        }
        if self.old.contains(&node) {
            let all = self.graph.readers(value).into_iter();
            return all.filter(|r| self.old.contains(r)).eq([node]) && !self.graph.is_output(value);
        }
        let world = self.folds.worlds.iter().find(|w| w.node(node).is_ok());
        world.is_some_and(|w| w.readers(value) == [node] && !w.is_output(value))
    }
}

impl<'a> Model<'a> {
    pub fn new(
        graph: &'a Graph,
        facts: &BTreeMap<String, WeightFacts>,
        tuned_for: &BTreeMap<String, u64>,
    ) -> Result<Model<'a>, Bug> {
        Model::with_offers(graph, facts, tuned_for, &[])
    }

    /// The model of a graph with linears that may be used or not.
    pub fn with_offers(
        graph: &'a Graph,
        facts: &BTreeMap<String, WeightFacts>,
        tuned_for: &BTreeMap<String, u64>,
        offers: &[Offer],
    ) -> Result<Model<'a>, Bug> {
        Model::with_folds(graph, facts, tuned_for, offers, &Folds::default())
    }

    /// The same with values that may be read in the place of others.
    pub fn with_folds(
        graph: &'a Graph,
        facts: &BTreeMap<String, WeightFacts>,
        tuned_for: &BTreeMap<String, u64>,
        offers: &[Offer],
        folds: &Folds,
    ) -> Result<Model<'a>, Bug> {
        let syms = bind(graph, tuned_for);
        let mut m =
            Model { graph, values: Vec::new(), layouts: Vec::new(), syms, weight_bytes: 0, machine_is_gpu: false };
        let mut index: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut seen_weights = BTreeSet::new();
        let ranges: BTreeSet<NodeId> = offers.iter().flat_map(|o| o.replaced.iter().map(|r| r.1)).collect();
        let offered: BTreeSet<NodeId> = offers.iter().map(|o| o.merged).collect();
        // Matrices of products that become linears once factors have moved into them: the same bytes before and after.
        for (name, (rows, cols)) in scaled_weights(graph)? {
            if seen_weights.insert(name) {
                let dense = (rows as u64).saturating_mul(cols as u64).saturating_mul(4);
                m.weight_bytes = m.weight_bytes.saturating_add(dense);
            }
        }
        let order = order(graph, offers, folds)?;
        let old = needed(graph);
        let readers = Readers { graph, old: &old, folds };
        let data = |n: NodeId| graph.node(n).map(|n| matches!(n.op, Op::Weight { .. } | Op::Const { .. }));
        for node in order.iter().copied() {
            if ranges.contains(&node) || data(node)? && !m.weight_is_read_as_value(node)? {
                continue;
            }
            let op = &graph.node(node)?.op;
            let kind = match op {
                Op::Linear { .. } => {
                    let linear = m.linear(node, facts, &index)?;
                    // What is on offer holds weights that are counted already, and so does the rest of a split.
                    let new = !folds.list.is_empty() && !old.contains(&node);
                    let counted = offered.contains(&node) || new || is_rest(&linear.weight);
                    if !counted && seen_weights.insert(linear.weight.clone()) {
                        let dense = facts.get(&linear.weight).map_or(0, |f| f.dense_bytes());
                        m.weight_bytes = m.weight_bytes.saturating_add(dense);
                    }
                    Kind::Linear(linear)
                }
                _ => m.other(node, &index)?,
            };
            let matrix = is_matrix(graph.ty(node)?) && !data(node)?;
            let fuses = m.fuses(node, &readers, &index)?;
            let fuses_folded = m.fuses_folded(node, &readers, &index)?;
            let kind = match kind {
                Kind::Opaque { .. } if !fuses.is_empty() || !fuses_folded.is_empty() => m.by_row(node, &index)?,
                other => other,
            };
            let own = folds.list.iter().filter(|(_, replaced, _)| *replaced == node);
            let folds = own.filter_map(|(rule, _, new)| Some((*rule, index.get(new).copied()?))).collect();
            let mine = offers.iter().filter(|o| o.replaced.iter().any(|r| r.0 == node));
            let merged = mine.filter_map(|o| index.get(&o.merged).copied()).collect();
            index.insert(node, m.values.len());
            let moves = m.moves(node, &kind)?;
            m.values.push(Value { node: Some(node), kind, matrix, fuses, moves, merged, folds, fuses_folded });
        }
        let instead: BTreeSet<NodeId> = folds.list.iter().map(|f| f.2).collect();
        let unread = |n: NodeId| graph.readers(n).is_empty() && !instead.contains(&n);
        let ends = order.iter().filter(|n| graph.is_output(**n) || unread(**n));
        let inputs = ends.filter_map(|n| index.get(n).copied()).collect();
        m.values.push(Value {
            node: None,
            kind: Kind::Root { inputs },
            matrix: false,
            fuses: Vec::new(),
            moves: None,
            merged: Vec::new(),
            folds: Vec::new(),
            fuses_folded: Vec::new(),
        });
        Ok(m)
    }

    /// The same for one machine: without layouts that it has no kernel for.
    pub fn on(mut self, machine: Machine<'_>) -> Model<'a> {
        self.machine_is_gpu = machine.is_gpu();
        let there = |layout: &Layout| machine.has(*layout, Act::Rm) || machine.has(*layout, Act::Fm);
        let layouts = self.layouts.clone();
        for value in &mut self.values {
            value.moves = value.moves.filter(|_| !machine.is_gpu());
            // Kernels of GPUs end with what reads nothing but the sum.
            if machine.is_gpu() && value.node.is_some_and(|n| self.graph.inputs(n).len() > 1) {
                value.fuses.clear();
                value.fuses_folded.clear();
                if let Kind::Map { inputs, scalars, by_row: true } = &value.kind {
                    let mut inputs = [inputs.as_slice(), scalars.as_slice()].concat();
                    inputs.sort_unstable();
                    value.kind = Kind::Opaque { inputs };
                }
            }
            if let Kind::Linear(l) = &mut value.kind {
                l.layouts.retain(|(i, _)| layouts.get(*i as usize).is_some_and(there));
            }
        }
        self
    }

    /// Weights and constants have no layout of their own to choose, except where one is used like an activation.
    fn weight_is_read_as_value(&self, node: NodeId) -> Result<bool, Bug> {
        if self.graph.is_output(node) {
            return Ok(true);
        }
        for r in self.graph.readers(node) {
            let linear = matches!(self.graph.node(r)?.op, Op::Linear { .. });
            if linear && self.graph.inputs(r).first() == Some(&node) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn linear(
        &mut self,
        node: NodeId,
        facts: &BTreeMap<String, WeightFacts>,
        index: &BTreeMap<NodeId, usize>,
    ) -> Result<Linear, Bug> {
        let inputs = self.graph.inputs(node);
        let (Some(x), Some(w)) = (inputs.first(), inputs.get(1)) else {
            return Err(Bug::new(format!("{node}: a linear without operands")));
        };
        let Op::Weight { name, .. } = &self.graph.node(*w)?.op else {
            return Err(Bug::new(format!("{node}: the second operand of a linear is no weight")));
        };
        let f = facts.get(name).ok_or_else(|| Bug::new(format!("no facts about weight {name}")))?;
        if self.graph.ty(*w)?.matrix().is_none_or(|(rows, cols)| (rows as u64, cols as u64) != (f.rows, f.cols)) {
            return Err(Bug::new(format!("the facts about weight {name} are of another shape")));
        }
        let mut layouts = Vec::new();
        let rounded = self.graph.rounded(*x)?.is_some();
        for (layout, result) in &f.candidates {
            if layout.needs_integers() && !rounded {
                continue;
            }
            if let Ok(facts) = result {
                layouts.push((self.layout(*layout), *facts));
            }
        }
        if !layouts.iter().any(|(l, _)| self.is_dense(*l)) {
            return Err(Bug::new(format!("dense is no candidate for weight {name}")));
        }
        let x = index.get(x).copied().ok_or_else(|| Bug::new(format!("{node}: the input has no value")))?;
        Ok(Linear { weight: name.clone(), x, layouts })
    }

    fn other(&self, node: NodeId, index: &BTreeMap<NodeId, usize>) -> Result<Kind, Bug> {
        let inputs = self.graph.inputs(node);
        let opaque = || {
            let mut list: Vec<usize> = inputs.iter().filter_map(|i| index.get(i).copied()).collect();
            list.sort_unstable();
            list.dedup();
            Kind::Opaque { inputs: list }
        };
        let n = self.graph.node(node)?;
        if let Some((of, _)) = part_of(self.graph, node)?
            && let Some(of) = index.get(&of).copied()
        {
            return Ok(Kind::Part { of });
        }
        let Op::Map { at, .. } = &n.op else { return Ok(opaque()) };
        if !is_matrix(&n.ty) {
            return Ok(opaque());
        }
        let (mut full, mut scalars) = (Vec::new(), Vec::new());
        for (i, places) in inputs.iter().zip(at) {
            let operand = self.graph.node(*i)?;
            let value = index.get(i).copied();
            if operand.ty.dtype == DType::F32 && operand.ty.rank() == 0 {
                scalars.extend(value);
            } else if let Some(v) = value
                && self.values.get(v).is_some_and(|v| v.matrix)
                && is_identity(places, n.ty.rank())
                && operand.ty.sizes() == n.ty.sizes()
            {
                full.push(v);
            } else {
                return Ok(opaque());
            }
        }
        for list in [&mut full, &mut scalars] {
            list.sort_unstable();
            list.dedup();
        }
        Ok(if full.is_empty() { opaque() } else { Kind::Map { inputs: full, scalars, by_row: false } })
    }

    /// The linears as whose epilogue a pointwise node may run: nothing else sees the linear, and the kernel can read what else the
    /// node reads.
    fn fuses(&self, node: NodeId, readers: &Readers<'_>, index: &BTreeMap<NodeId, usize>) -> Result<Vec<usize>, Bug> {
        let mut out = Vec::new();
        for operand in self.fusable(node, index)? {
            let plain = matches!(self.graph.node(operand)?.op, Op::Linear { act: None, .. });
            if plain && readers.only(operand, node) {
                out.extend(index.get(&operand).copied());
            }
        }
        Ok(out)
    }

    /// The same for linears that take the place of what the node reads.
    fn fuses_folded(
        &self,
        node: NodeId,
        readers: &Readers<'_>,
        index: &BTreeMap<NodeId, usize>,
    ) -> Result<Vec<(usize, usize)>, Bug> {
        let mut out = Vec::new();
        if readers.folds.list.is_empty() {
            return Ok(out);
        }
        for operand in self.fusable(node, index)? {
            for (_, _, new) in readers.folds.list.iter().filter(|(_, o, _)| *o == operand) {
                let linear = matches!(self.graph.node(*new)?.op, Op::Linear { act: None, .. });
                // Who read the one reads the other.
                if linear && readers.only(operand, node) {
                    out.extend(index.get(&operand).copied().zip(index.get(new).copied()));
                }
            }
        }
        Ok(out)
    }

    /// Operands of a pointwise node of which it may be the epilogue, if a kernel makes them.
    fn fusable(&self, node: NodeId, index: &BTreeMap<NodeId, usize>) -> Result<Vec<NodeId>, Bug> {
        let mut out = Vec::new();
        if !matches!(self.graph.node(node)?.op, Op::Map { .. }) || !is_matrix(self.graph.ty(node)?) {
            return Ok(out);
        }
        let mut operands = self.graph.inputs(node);
        operands.sort_unstable();
        operands.dedup();
        let whole = |n: &NodeId| index.get(n).and_then(|v| self.values.get(*v)).is_some_and(|v| v.matrix);
        for operand in operands.into_iter().filter(whole) {
            let Some(found) = Epilogue::of(self.graph, operand, node)? else { continue };
            if found.beside.iter().all(|(n, kind)| *kind != Beside::Residual || whole(n)) {
                out.push(operand);
            }
        }
        Ok(out)
    }

    /// A pointwise node that may be an epilogue although it reads numbers for each feature.
    fn by_row(&self, node: NodeId, index: &BTreeMap<NodeId, usize>) -> Result<Kind, Bug> {
        let shape = self.graph.ty(node)?.sizes();
        let (mut inputs, mut scalars) = (Vec::new(), Vec::new());
        for i in self.graph.inputs(node) {
            let list = if self.graph.ty(i)?.sizes() == shape { &mut inputs } else { &mut scalars };
            list.extend(index.get(&i).copied());
        }
        for list in [&mut inputs, &mut scalars] {
            list.sort_unstable();
            list.dedup();
        }
        Ok(Kind::Map { inputs, scalars, by_row: true })
    }

    /// Whether an operator can write or read a feature-major matrix.
    fn moves(&self, node: NodeId, kind: &Kind) -> Result<Option<Moves>, Bug> {
        let Kind::Opaque { inputs } = kind else { return Ok(None) };
        if is_unfolded(self.graph, node)? {
            return Ok(Some(Moves::Unfold));
        }
        let of = channels_of(self.graph, node)?;
        let matrix = inputs.first().and_then(|x| self.values.get(*x)).is_some_and(|x| x.matrix);
        Ok(of.filter(|_| matrix).map(|_| Moves::Channels))
    }

    /// Index of a layout in the table of layouts.
    fn layout(&mut self, layout: Layout) -> u32 {
        let at = self.layouts.iter().position(|l| *l == layout).unwrap_or_else(|| {
            self.layouts.push(layout);
            self.layouts.len() - 1
        });
        at as u32
    }

    pub fn is_dense(&self, layout: u32) -> bool {
        matches!(self.layouts.get(layout as usize), Some(Layout::Dense { .. }))
    }

    pub fn as_linear(&self, value: usize) -> Option<&Linear> {
        match self.values.get(value).map(|v| &v.kind) {
            Some(Kind::Linear(l)) => Some(l),
            _ => None,
        }
    }

    /// Values of all linears, in order.
    pub fn linears(&self) -> impl Iterator<Item = (usize, &Linear)> {
        (0..self.values.len()).filter_map(|v| Some((v, self.as_linear(v)?)))
    }

    pub fn root(&self) -> usize {
        self.values.len() - 1
    }

    pub fn node(&self, value: usize) -> Result<NodeId, Bug> {
        let node = self.values.get(value).and_then(|v| v.node);
        node.ok_or_else(|| Bug::new(format!("value {value} has no node")))
    }
}
