//! From a graph and a plan to a [`Program`].
//!
//! Splits, transposes, broadcasts, ranges of a linear's features and most merges are views: strides over another value's
//! buffer. Everything else is a kernel into a buffer of its own; buffers of values that nothing reads any more are used again.

mod choices;
mod linear;
mod liveness;
mod missing;
mod ops;
mod places;
mod round;
mod value;

pub use missing::missing;

use crate::extent::Extent;
use crate::ir::Kernel;
use crate::program::{Amount, Buffer, PackedPort, Port, Program, Role, Step, StepArg};
use crate::templates::{contiguous, element_bytes};
use spc_base::Bug;
use spc_formats::Blocking;
use spc_ir::structure::part_of;
use spc_ir::{Act, DType, Graph, LinearPlan, NodeId, Op, Plan};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use value::{Value, View};

/// What kernels may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Floats of a vector.
    pub lanes: usize,
    /// Whether there are tile registers; then vectors have 16 floats.
    pub tiles: bool,
}

impl From<usize> for Target {
    /// Vectors of so many floats, and nothing else.
    fn from(lanes: usize) -> Target {
        Target { lanes, tiles: false }
    }
}

/// The program that computes `graph` as `plan` says, for a target or for vectors of so many floats.
///
/// Errors are bugs: a graph or plan that does not verify, or a plan that asks for what no kernel does.
pub fn schedule(graph: &Graph, plan: &Plan, target: impl Into<Target>) -> Result<Program, Bug> {
    let Target { lanes, tiles } = target.into();
    graph.verify()?;
    plan.verify(graph).map_err(Bug::new)?;
    let mut s = Scheduler {
        graph,
        plan,
        lanes,
        tiles,
        linears: plan.linears.iter().map(|l| (l.node, l)).collect(),
        fused: plan.linears.iter().filter_map(|l| Some((l.epilogue?, l.node))).collect(),
        late: BTreeSet::new(),
        program: Program {
            name: graph.name.clone(),
            lanes,
            syms: graph.syms.clone(),
            formulas: graph.formulas.clone(),
            kernels: Vec::new(),
            buffers: Vec::new(),
            steps: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            packed: Vec::new(),
        },
        kernel_index: HashMap::new(),
        buffer_index: BTreeMap::new(),
        values: BTreeMap::new(),
    };
    for (map, linear) in &s.fused {
        if !s.epilogue(*linear, *map)?.beside.is_empty() {
            s.late.insert(*linear);
        }
    }
    s.inputs()?;
    for node in graph.order()? {
        s.node(node)?;
        s.conversions(node)?;
    }
    s.outputs()?;
    s.program.packed.sort();
    liveness::reuse_buffers(&mut s.program);
    Ok(s.program)
}

struct Scheduler<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    lanes: usize,
    tiles: bool,
    linears: BTreeMap<NodeId, &'a LinearPlan>,
    /// Maps that run in the epilogue of a linear, and that linear.
    fused: BTreeMap<NodeId, NodeId>,
    /// Linears whose epilogues read other values: they run where the epilogue stands, after those.
    late: BTreeSet<NodeId>,
    program: Program,
    kernel_index: HashMap<Kernel, usize>,
    /// Buffers that are shared by all readers: weights.
    buffer_index: BTreeMap<Role, usize>,
    values: BTreeMap<NodeId, Value>,
}

fn overflow() -> Bug {
    Bug::new("the size of a value overflows")
}

impl Scheduler<'_> {
    fn dims(&self, node: NodeId) -> Result<Vec<Extent>, Bug> {
        Ok(self.graph.ty(node)?.dims.iter().map(|d| Extent::from(d.size)).collect())
    }

    fn dtype(&self, node: NodeId) -> Result<DType, Bug> {
        Ok(self.graph.ty(node)?.dtype)
    }

    fn value(&self, node: NodeId) -> Result<&Value, Bug> {
        self.values.get(&node).ok_or_else(|| Bug::new(format!("{node} has no value yet")))
    }

    fn operand(&self, node: NodeId, i: usize) -> Result<NodeId, Bug> {
        let inputs = self.graph.inputs(node);
        inputs.get(i).copied().ok_or_else(|| Bug::new(format!("{node} has no operand {i}")))
    }

    fn buffer(&mut self, role: Role, bytes: Amount) -> usize {
        self.program.buffers.push(Buffer { role, bytes: vec![bytes] });
        self.program.buffers.len() - 1
    }

    /// The buffer of that role, made at its first use.
    fn shared_buffer(&mut self, role: Role, bytes: Amount) -> usize {
        if let Some(b) = self.buffer_index.get(&role) {
            return *b;
        }
        let b = self.buffer(role.clone(), bytes);
        self.buffer_index.insert(role, b);
        b
    }

    /// A new contiguous buffer for a value of these dimensions.
    fn fresh(&mut self, role: Role, dtype: DType, dims: &[Extent]) -> Result<View, Bug> {
        let of = Extent::product(dims).ok_or_else(overflow)?;
        let buffer = self.buffer(role, Amount { per: element_bytes(dtype), of, pad: false });
        Ok(View { buffer, dims: dims.to_vec(), strides: contiguous(dims)?, offset: 0 })
    }

    /// Adds a call. Parameters that `bound` lacks are sizes of free axes (`s<id>`) or the range (`lo`, `hi`).
    fn step(&mut self, node: NodeId, kernel: Kernel, range: Amount, bound: &[(&str, StepArg)]) -> Result<(), Bug> {
        let mut args = Vec::with_capacity(kernel.params.len());
        for p in &kernel.params {
            let given = bound.iter().find(|(n, _)| *n == p.name).map(|(_, a)| a.clone());
            let sym = || -> Option<StepArg> {
                let id = p.name.strip_prefix('s')?.parse().ok().filter(|i| (*i as usize) < self.graph.syms.len())?;
                let size = spc_ir::Size::Free(spc_ir::SymId(id));
                Some(StepArg::Amount(Amount::exact(Extent::from(size))))
            };
            let arg = match p.name.as_str() {
                "lo" => Some(StepArg::Lo),
                "hi" => Some(StepArg::Hi),
                _ => given.or_else(sym),
            };
            args.push(arg.ok_or_else(|| Bug::new(format!("{}: parameter {} is not bound", kernel.name, p.name)))?);
        }
        let index = match self.kernel_index.get(&kernel) {
            Some(i) => *i,
            None => {
                self.program.kernels.push(kernel.clone());
                self.kernel_index.insert(kernel, self.program.kernels.len() - 1);
                self.program.kernels.len() - 1
            }
        };
        self.program.steps.push(Step { kernel: index, args, range, node });
        Ok(())
    }

    fn inputs(&mut self) -> Result<(), Bug> {
        for (i, (name, node)) in self.graph.named_inputs().into_iter().enumerate() {
            let (dims, dtype) = (self.dims(node)?, self.dtype(node)?);
            let view = self.fresh(Role::Input(i), dtype, &dims)?;
            self.program.inputs.push(Port { name, dtype, dims, buffer: view.buffer });
            self.values.insert(node, Value::of(view));
        }
        Ok(())
    }

    fn node(&mut self, node: NodeId) -> Result<(), Bug> {
        if self.values.contains_key(&node) || self.late.contains(&node) {
            return Ok(());
        }
        let graph = self.graph;
        if let Some(linear) = self.fused.get(&node).copied() {
            let Op::Linear { bias, act } = &graph.node(linear)?.op else {
                return Err(Bug::new(format!("{linear} is no linear")));
            };
            return if self.late.contains(&linear) { self.linear(linear, *bias, act.as_ref()) } else { Ok(()) };
        }
        let n = graph.node(node)?;
        let value = match &n.op {
            Op::Input { .. } => return Err(Bug::new(format!("the input {node} has no buffer"))),
            Op::Weight { name, .. } => {
                let dims = self.dims(node)?;
                let of = Extent::product(&dims).ok_or_else(overflow)?;
                // The buffer is made when something reads the weight as it is.
                let bytes = Amount { per: 4, of, pad: false };
                Value { weight: Some((name.clone(), bytes)), ..Value::default() }
            }
            Op::Const { value, dtype } => Value { literal: Some((*value, *dtype)), ..Value::default() },
            Op::Iota { .. } => self.iota(node)?,
            Op::Map { expr, at } => self.map(node, expr, at)?,
            Op::Broadcast { at, dims } => self.broadcast(node, dims.len(), at)?,
            Op::Contract { lhs, rhs, out } => self.contract(node, lhs, rhs, out)?,
            Op::Reduce { f, dims } => self.reduce(node, *f, dims)?,
            Op::Gather { dim } => self.gather(node, *dim)?,
            Op::Transpose { perm } => self.transpose(node, perm)?,
            Op::Split { dim, into } => self.split(node, *dim, into)?,
            Op::Merge { dim, count } => self.merge(node, *dim, *count)?,
            Op::Round { last } => self.round(node, *last as usize)?,
            Op::Linear { bias, act } => return self.linear(node, *bias, act.as_ref()),
            Op::Window { .. } if let Some((of, first)) = part_of(graph, node)? => self.part(node, of, first)?,
            Op::Concat { dim, .. } => self.concat(node, *dim as usize)?,
            Op::Window { dim, coeff, offset, .. } => self.window(node, *dim as usize, coeff, *offset)?,
            Op::Size { dim } => self.size(node, dim.size)?,
            Op::Top(t) => self.top(node, t)?,
            Op::Rank { dims, .. } => self.rank(node, dims)?,
        };
        self.values.insert(node, value);
        Ok(())
    }

    /// Makes the second layout of a value where the plan asks for one.
    fn conversions(&mut self, node: NodeId) -> Result<(), Bug> {
        let late = self.fused.get(&node).is_some_and(|l| self.late.contains(l));
        if self.late.contains(&node) || (self.fused.contains_key(&node) && !late) {
            return Ok(());
        }
        let written = self.linears.get(&node).and_then(|l| l.epilogue).unwrap_or(node);
        for c in self.plan.converts.iter().filter(|c| c.node == written) {
            match c.to {
                Act::Fm => self.add_feature_major(written)?,
                Act::Rm => self.add_row_major(written)?,
            }
        }
        Ok(())
    }

    /// Every output gets a buffer of its own, contiguous and row-major.
    fn outputs(&mut self) -> Result<(), Bug> {
        for (i, (name, node)) in self.graph.outputs.clone().into_iter().enumerate() {
            let (dims, dtype) = (self.dims(node)?, self.dtype(node)?);
            let view = self.row_major(node)?;
            let free = self.program.buffers.get(view.buffer).is_some_and(|b| b.role == Role::Temp);
            // A view of the first elements of a longer value is no value of its own.
            let bytes =
                Amount { per: element_bytes(dtype), of: Extent::product(&dims).ok_or_else(overflow)?, pad: false };
            let whole = self.program.buffers.get(view.buffer).is_some_and(|b| b.bytes == [bytes.clone()]);
            let buffer = if free && whole && view.is_contiguous() {
                if let Some(b) = self.program.buffers.get_mut(view.buffer) {
                    b.role = Role::Output(i);
                }
                view.buffer
            } else {
                self.copy(node, &view, Role::Output(i))?.buffer
            };
            self.program.outputs.push(Port { name, dtype, dims, buffer });
        }
        Ok(())
    }

    /// The packed arrays of a linear's weight as buffers, by parameter name.
    fn packed_buffers(&mut self, port: PackedPort, blocking: Option<Blocking>) -> Vec<(&'static str, StepArg)> {
        let mut out = Vec::new();
        for (array, _) in port.layout.schema() {
            let role = Role::Packed { weight: port.weight.clone(), layout: port.layout, array, blocking };
            let buffer = self.shared_buffer(role, Amount::exact(Extent::fixed(0)));
            out.push((*array, StepArg::Buffer(buffer)));
        }
        if !self.program.packed.contains(&port) {
            self.program.packed.push(port);
        }
        out
    }
}
