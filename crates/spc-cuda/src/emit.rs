//! One kernel or more for each linear of a graph, in the layout of the plan.
use crate::host::{self, HostOp};
use crate::linear::Linear;
use crate::shape::Family;
use crate::{CudaModule, KernelInfo};
use spc_base::Bug;
use spc_ir::{Graph, NodeId, Op, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// What the text depends on besides the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmitOptions {
    pub activations: Activations,
}

/// What tensor cores take an activation as. Kernels without tensor cores always take f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activations {
    /// The sum of three bf16 numbers that it equals: products are those of f32.
    #[default]
    Exact,
    /// One bf16 number, rounded to nearest.
    Bf16,
}

impl Activations {
    /// Number of bf16 numbers.
    pub fn terms(self) -> u32 {
        match self {
            Activations::Exact => 3,
            Activations::Bf16 => 1,
        }
    }
}

/// [`emit_with`] and the default options.
///
/// # Errors
/// As [`emit_with`].
pub fn emit(graph: &Graph, plan: &Plan) -> Result<CudaModule, Bug> {
    emit_with(graph, plan, &EmitOptions::default())
}

/// Emits the kernels of `plan`. The text depends on nothing but the arguments.
///
/// # Errors
/// The plan does not fit the graph, or names a layout that does not exist.
pub fn emit_with(graph: &Graph, plan: &Plan, options: &EmitOptions) -> Result<CudaModule, Bug> {
    plan.verify(graph).map_err(|e| Bug::new(format!("CUDA text of a wrong plan: {e}")))?;
    let mut out = Emitter { graph, options: *options, ..Emitter::new(graph) };
    for linear in &plan.linears {
        let l = Linear::new(graph, linear)?;
        match l.specialise(options.activations.terms()) {
            Ok((shapes, act)) => {
                if shapes.iter().any(|s| s.family == Family::Mma24) {
                    out.terms(&l)?;
                }
                let range = l.token_range(graph)?;
                let mut from = 1;
                for shape in shapes {
                    let to = u64::from(shape.up_to);
                    // A kernel for numbers of tokens that never come is left out.
                    if (to == 0 || range.0 <= to) && from <= range.1 {
                        let info = l.info(graph, &shape, from)?;
                        l.write(&mut out.bodies, &info, &shape, &act)?;
                        out.kernels.push(info);
                    }
                    from = to + 1;
                    out.families.insert(shape.family);
                }
                out.fused.extend(linear.epilogue);
            }
            Err(why) => {
                out.refused.insert(linear.node, why);
            }
        }
    }
    out.finish()
}

struct Emitter<'a> {
    graph: &'a Graph,
    options: EmitOptions,
    kernels: Vec<KernelInfo>,
    bodies: String,
    families: BTreeSet<Family>,
    refused: BTreeMap<NodeId, String>,
    fused: BTreeSet<NodeId>,
    /// Values whose terms are made.
    split: BTreeSet<NodeId>,
}

impl<'a> Emitter<'a> {
    fn new(graph: &'a Graph) -> Emitter<'a> {
        Emitter {
            graph,
            options: EmitOptions::default(),
            kernels: Vec::new(),
            bodies: String::new(),
            families: BTreeSet::new(),
            refused: BTreeMap::new(),
            fused: BTreeSet::new(),
            split: BTreeSet::new(),
        }
    }

    /// The kernel that makes the terms of a linear's input, once for each value.
    fn terms(&mut self, l: &Linear<'_>) -> Result<(), Bug> {
        if self.split.insert(l.x) {
            let info = l.terms_info(self.graph, self.options.activations.terms())?;
            l.write_terms(&mut self.bodies, &info, self.options.activations.terms())?;
            self.kernels.push(info);
        }
        Ok(())
    }

    fn finish(self) -> Result<CudaModule, Bug> {
        let mut text = format!(
            "// Linear layers of {}. Complete: compiles with NVRTC or nvcc for sm_80 and later, without other headers.\n",
            crate::linear::quoted(&self.graph.name)
        );
        text += include_str!("device/prelude.cuh");
        let mut written: Vec<&str> = Vec::new();
        for part in self.families.iter().flat_map(|f| f.texts()) {
            if !written.contains(part) {
                text += "\n";
                text += part;
                written.push(part);
            }
        }
        text += &self.bodies;
        let mut host = Vec::new();
        for node in self.graph.order()? {
            let op = &self.graph.node(node)?.op;
            let why = self.refused.get(&node).map(String::as_str).or(host::reason(op));
            if let Some(why) = why.filter(|_| !self.fused.contains(&node)) {
                host.push(HostOp { node, op: op.name().into(), reason: why.into() });
            }
        }
        if self.kernels.iter().any(|k| self.kernels.iter().filter(|o| o.name == k.name).count() > 1) {
            return Err(Bug::new("two kernels of one name"));
        }
        debug_assert!(
            self.kernels.iter().all(|k| matches!(self.graph.node(k.node).map(|n| &n.op), Ok(Op::Linear { .. })))
        );
        Ok(CudaModule { text, kernels: self.kernels, host })
    }
}
