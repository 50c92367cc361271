//! One kernel or more for each linear of a graph, in the layout of the plan.
use crate::generic;
use crate::host::{self, HostOp};
use crate::linear::Linear;
use crate::shape::{Family, THREADS};
use crate::{CudaModule, KernelInfo, wgmma};
use spc_base::Bug;
use spc_ir::structure::range_in_place;
use spc_ir::{Graph, LinearPlan, NodeId, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// What the text depends on besides the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmitOptions {
    pub activations: Activations,
    /// Weights of a 2:4 matrix from which on it has a kernel for warp groups as well.
    pub warp_groups_from: u64,
}

impl Default for EmitOptions {
    fn default() -> EmitOptions {
        EmitOptions { activations: Activations::default(), warp_groups_from: 1 << 22 }
    }
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
    // These kernels end with what reads nothing but the sum; other maps are kernels of their own.
    let mut plan = plan.clone();
    for l in &mut plan.linears {
        l.epilogue = l.epilogue.filter(|m| graph.inputs(*m).len() == 1);
    }
    let mut out = Emitter { graph, options: *options, ..Emitter::new(graph) };
    out.fused.extend(plan.linears.iter().filter_map(|l| l.epilogue));
    for node in graph.order()? {
        if let Some(linear) = plan.linears.iter().find(|l| l.node == node) {
            out.linear(linear)?;
        } else if !out.fused.contains(&node) {
            out.generic(node)?;
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
    /// Values whose terms are made, and whether turned.
    split: BTreeSet<(NodeId, bool)>,
    /// Names of operators' kernels by their text.
    texts: BTreeMap<String, String>,
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
            texts: BTreeMap::new(),
        }
    }

    fn linear(&mut self, plan: &LinearPlan) -> Result<(), Bug> {
        let l = Linear::new(self.graph, plan)?;
        let (shapes, act) = match l.specialise(self.options.activations.terms()) {
            Ok(found) => found,
            Err(why) => {
                self.refused.insert(plan.node, why);
                // Its epilogue is a map like others then.
                if let Some(map) = plan.epilogue {
                    self.fused.remove(&map);
                }
                return Ok(());
            }
        };
        if shapes.iter().any(|s| s.family == Family::Mma) {
            self.terms(&l)?;
        }
        let range = l.token_range(self.graph)?;
        let mut from = 1;
        for shape in shapes {
            let to = u64::from(shape.up_to);
            // A kernel for numbers of tokens that never come is left out.
            if (to == 0 || range.0 <= to) && from <= range.1 {
                let info = l.info(self.graph, &shape, from)?;
                let mut text = String::new();
                l.write(&mut text, &info, &shape, &act)?;
                self.push(info, &text);
                if shape.parts > 0 {
                    let info = l.parts_info(self.graph, &shape, from)?;
                    let mut text = String::new();
                    l.write_parts(&mut text, &info, &shape, &act)?;
                    self.push(info, &text);
                }
            }
            from = to + 1;
            self.families.insert(shape.family);
        }
        if let Some(shape) = l.warp_groups(&self.options)
            && range.1 >= wgmma::LEAST_TOKENS
        {
            let info = l.info(self.graph, &shape, wgmma::LEAST_TOKENS)?;
            let mut text = String::new();
            l.write(&mut text, &info, &shape, &act)?;
            self.push(info, &text);
            self.families.insert(Family::Wgmma);
        }
        Ok(())
    }

    /// Takes up a kernel. Linears of one shape share one, whose text differs by its name and comment alone.
    fn push(&mut self, mut info: KernelInfo, text: &str) {
        let code = text.find("\nstruct ").map_or(text, |at| &text[at..]).replace(&info.name, "@");
        if let Some(name) = self.texts.get(&code) {
            info.name.clone_from(name);
        } else {
            self.texts.insert(code, info.name.clone());
            self.bodies += text;
        }
        self.kernels.push(info);
    }

    /// The kernel of another operator. Operators that are computed alike share one text.
    fn generic(&mut self, node: NodeId) -> Result<(), Bug> {
        if host::computes_nothing(&self.graph.node(node)?.op) || range_in_place(self.graph, node)?.is_some() {
            return Ok(());
        }
        let mut kernel = match generic::emit(self.graph, node)? {
            Ok(k) => k,
            Err(why) => {
                self.refused.insert(node, why);
                return Ok(());
            }
        };
        if let Some(name) = self.texts.get(&kernel.text) {
            kernel.info.name.clone_from(name);
        } else {
            let (name, text, grid) = (&kernel.info.name, &kernel.text, kernel.info.grid);
            let head =
                format!("\n// kernel {name}, {}\n//   launch {grid} blocks of {THREADS} threads\n", kernel.comment);
            self.bodies += &format!("{head}extern \"C\" __global__ void __launch_bounds__({THREADS}) {name}{text}");
            self.texts.insert(kernel.text.clone(), name.clone());
        }
        self.kernels.push(kernel.info);
        Ok(())
    }

    /// The kernel that makes the terms of a linear's input, once for each value.
    fn terms(&mut self, l: &Linear<'_>) -> Result<(), Bug> {
        if self.split.insert((l.x, l.turned())) {
            let info = l.terms_info(self.graph, self.options.activations.terms())?;
            let mut text = String::new();
            l.write_terms(&mut text, &info, self.options.activations.terms())?;
            self.push(info, &text);
        }
        Ok(())
    }

    fn finish(self) -> Result<CudaModule, Bug> {
        let mut text = format!(
            "// Kernels of {}. Complete: compiles with NVRTC or nvcc for sm_80 and later, without other headers.\n",
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
        if self.families.contains(&Family::Wgmma) {
            text += "\n";
            text += &wgmma::text(self.options.activations.terms());
        }
        text += &self.bodies;
        let mut host = Vec::new();
        for node in self.graph.order()? {
            if let Some(reason) = self.refused.get(&node) {
                let op = self.graph.node(node)?.op.name().into();
                host.push(HostOp { node, op, reason: reason.clone() });
            }
        }
        Ok(CudaModule { text, kernels: self.kernels, host })
    }
}
