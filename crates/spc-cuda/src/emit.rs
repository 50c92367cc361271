//! One kernel for each linear of a graph, in the layout of the plan.
use crate::Grid;
use crate::expr::to_c;
use crate::host::{self, HostOp};
use crate::shape::{Shape, THREADS};
use serde::Serialize;
use spc_base::Bug;
use spc_formats::{ArrayKind, Layout};
use spc_ir::{Graph, LinearPlan, NodeId, Op, Plan, ScalarExpr, Size};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The text of a module and what a runtime must know to launch its kernels.
#[derive(Clone, Debug, PartialEq)]
pub struct CudaModule {
    /// Complete CUDA C++: the prelude, the templates of the families in use, then one kernel for each linear.
    pub text: String,
    /// In the order of the plan.
    pub kernels: Vec<KernelInfo>,
    /// Operators without a kernel, in the graph's order. Inputs, weights, constants, splits and merges compute nothing and
    /// are not listed; a map that runs as a kernel's epilogue is not listed either.
    pub host: Vec<HostOp>,
}

/// A kernel and its launch. Kernels that are given no tokens are not launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelInfo {
    pub name: String,
    /// The template: `dense`, `blocks` (vx1, bsr, csr) or `nm`.
    pub family: &'static str,
    /// The linear.
    pub node: NodeId,
    /// The value that the kernel writes: `node`, or the map that runs as its epilogue.
    pub writes: NodeId,
    pub weight: String,
    pub layout: String,
    /// O, the number of outputs, and K, the number of inputs.
    pub outputs: u64,
    pub inputs: u64,
    /// The value that the kernel reads, and its bias if it has one.
    pub x: NodeId,
    pub bias: Option<NodeId>,
    /// N as a product of the free axes and sizes of the leading dimensions, for example `B * 128`.
    pub tokens: String,
    /// In the order of the kernel's parameters.
    pub params: Vec<Param>,
    pub grid: Grid,
    /// Threads of a block.
    pub block: u32,
    /// Dynamic shared memory in bytes.
    pub shared_bytes: u32,
    /// Compute capability that the kernel needs, 80 for 8.0.
    pub cc: u32,
}

/// A parameter of a kernel: an array of the packed weight by its name in the layout, or `bias`, `x`, `y`, `n`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Param {
    pub name: String,
    pub kind: ParamKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// Pointer to f32 that the kernel reads.
    F32In,
    U32In,
    U8In,
    /// Pointer to f32 that the kernel writes, every element once.
    F32Out,
    /// The number of tokens.
    I32,
}

impl ParamKind {
    /// The type in C, as the kernel declares it but for `__restrict__`.
    pub fn c_type(self) -> &'static str {
        match self {
            ParamKind::F32In => "const float*",
            ParamKind::U32In => "const u32*",
            ParamKind::U8In => "const u8*",
            ParamKind::F32Out => "float*",
            ParamKind::I32 => "int",
        }
    }
}

/// Compute capability that the kernels need: that of the oldest image that is built.
const CC: u32 = 80;

/// Emits the kernels of `plan`. The text depends on nothing but the arguments.
///
/// # Errors
/// The plan does not fit the graph, or names a layout that does not exist.
pub fn emit(graph: &Graph, plan: &Plan) -> Result<CudaModule, Bug> {
    plan.verify(graph).map_err(|e| Bug::new(format!("CUDA text of a wrong plan: {e}")))?;
    let (mut kernels, mut bodies, mut families) = (Vec::new(), String::new(), BTreeSet::new());
    let (mut refused, mut fused) = (BTreeMap::new(), BTreeSet::new());
    for linear in &plan.linears {
        let l = Linear::new(graph, linear)?;
        match l.specialise() {
            Ok((shape, act)) => {
                let info = l.info(graph, &shape)?;
                l.write(&mut bodies, &info, &shape, &act)?;
                families.insert(shape.family);
                fused.extend(linear.epilogue);
                kernels.push(info);
            }
            Err(why) => {
                refused.insert(linear.node, why);
            }
        }
    }
    let mut text = format!(
        "// Linear layers of {}. Complete: compiles with NVRTC or nvcc for sm_80 and later, without other headers.\n",
        quoted(&graph.name)
    );
    text += include_str!("device/prelude.cuh");
    if families.iter().any(|f| f.stores_rows()) {
        text += "\n";
        text += include_str!("device/rows.cuh");
    }
    for family in families {
        text += "\n";
        text += family.text();
    }
    text += &bodies;
    let mut host = Vec::new();
    for node in graph.order()? {
        let op = &graph.node(node)?.op;
        let why = refused.get(&node).map(String::as_str).or(host::reason(op));
        if let Some(why) = why.filter(|_| !fused.contains(&node)) {
            host.push(HostOp { node, op: op.name().into(), reason: why.into() });
        }
    }
    Ok(CudaModule { text, kernels, host })
}

/// A planned linear and what it reads.
struct Linear<'a> {
    plan: &'a LinearPlan,
    layout: Layout,
    x: NodeId,
    bias: Option<NodeId>,
    outputs: u64,
    inputs: u64,
    /// The activation, and whether it keeps every element in its place.
    act: Option<ScalarExpr>,
    in_place: bool,
}

impl Linear<'_> {
    fn new<'a>(graph: &Graph, plan: &'a LinearPlan) -> Result<Linear<'a>, Bug> {
        let bug = |what: &str| Bug::new(format!("linear {}: {what}", plan.node));
        let layout = plan.layout.parse::<Layout>().map_err(|e| bug(&e.0))?.for_many();
        let Op::Linear { bias, act } = &graph.node(plan.node)?.op else { return Err(bug("it is none")) };
        let operands = graph.inputs(plan.node);
        let operand = |i: usize| operands.get(i).copied().ok_or_else(|| bug("an operand is missing"));
        let (x, w) = (operand(0)?, operand(1)?);
        let sizes: Vec<Option<u64>> = graph.ty(w)?.sizes().into_iter().map(Size::fixed).collect();
        let [Some(outputs), Some(inputs)] = sizes[..] else { return Err(bug("its weight is no matrix")) };
        let bias = if *bias { Some(operand(2)?) } else { None };
        let (mut act, mut in_place) = (act.clone(), true);
        if let Some(map) = plan.epilogue {
            let Op::Map { expr, at } = &graph.node(map)?.op else { return Err(bug("its epilogue is no map")) };
            in_place = at.len() == 1 && at[0].iter().copied().eq(0..graph.ty(plan.node)?.rank() as u32);
            act = Some(expr.clone());
        }
        Ok(Linear { plan, layout, x, bias, outputs, inputs, act, in_place })
    }

    /// The kernel's constants and its activation in C, or why there is no kernel.
    fn specialise(&self) -> Result<(Shape, String), String> {
        if !self.in_place {
            return Err("its epilogue moves elements".into());
        }
        let act = self.act.as_ref().map_or_else(|| Ok("a0".into()), to_c)?;
        Ok((Shape::new(self.layout, self.outputs, self.inputs)?, act))
    }

    fn info(&self, graph: &Graph, shape: &Shape) -> Result<KernelInfo, Bug> {
        let mut params = Vec::new();
        let mut add = |name: &str, kind| params.push(Param { name: name.into(), kind });
        for (name, kind) in self.layout.schema() {
            let kind = match kind {
                ArrayKind::F32 => ParamKind::F32In,
                ArrayKind::U32 => ParamKind::U32In,
                ArrayKind::U8 => ParamKind::U8In,
            };
            add(name, kind);
        }
        if self.bias.is_some() {
            add("bias", ParamKind::F32In);
        }
        add("x", ParamKind::F32In);
        add("y", ParamKind::F32Out);
        add("n", ParamKind::I32);
        Ok(KernelInfo {
            name: format!(
                "linear_{}_{}_{}",
                self.plan.node.0,
                identifier(&self.plan.weight),
                identifier(self.layout.to_string().trim_end_matches(')'))
            ),
            family: shape.family.name(),
            node: self.plan.node,
            writes: self.plan.epilogue.unwrap_or(self.plan.node),
            weight: self.plan.weight.clone(),
            layout: self.layout.to_string(),
            outputs: self.outputs,
            inputs: self.inputs,
            x: self.x,
            bias: self.bias,
            tokens: tokens(graph, self.plan.node)?,
            params,
            grid: shape.grid,
            block: THREADS,
            shared_bytes: shape.shared_bytes,
            cc: CC,
        })
    }

    /// Appends the kernel with its shape. The comment's first line starts with `// kernel`: `nvrtc::blame` looks for it.
    fn write(&self, out: &mut String, info: &KernelInfo, shape: &Shape, act: &str) -> Result<(), Bug> {
        let bias = if self.bias.is_some() { " + bias[o]" } else { "" };
        let fused = match (self.plan.epilogue, &self.act) {
            (Some(map), Some(e)) => format!("{e}, the map {map}"),
            (None, Some(e)) => e.to_string(),
            _ => "none".into(),
        };
        let (o, k) = (self.outputs, self.inputs);
        let mut t = format!(
            "\n// kernel {}, node {}: y[n][o] = act(sum_k w[o][k] * x[n][k]{bias})\n",
            info.name, self.plan.node
        );
        let mut line =
            |head: &str, text: String| writeln!(t, "//   {head:<7}{text}").map_err(|e| Bug::new(e.to_string()));
        line("weight", format!("{} [{o}, {k}] in {}: {}", quoted(&info.weight), info.layout, arrays(self.layout)))?;
        line(
            "x, y",
            format!("[N][{k}] and [N][{o}], token-major f32, N = {}", quoted(&info.tokens).trim_matches('"')),
        )?;
        line("act", fused)?;
        line(
            "launch",
            format!("{} blocks of {THREADS} threads, {} bytes of shared memory", info.grid, info.shared_bytes),
        )?;
        let mut constants = vec![("O", o), ("K", k)];
        constants.extend(shape.constants.iter().map(|(n, v)| (*n, u64::from(*v))));
        let tile = [("TOKENS", shape.grid.tokens), ("STEP", shape.step), ("TILES", shape.grid.tiles)];
        constants.extend(tile.map(|(n, v)| (n, u64::from(v))));
        let constants: Vec<String> = constants.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        let list: Vec<String> = info
            .params
            .iter()
            .map(|p| {
                format!("{} {}{}", p.kind.c_type(), if p.kind == ParamKind::I32 { "" } else { "__restrict__ " }, p.name)
            })
            .collect();
        let mut arguments: Vec<&str> = info.params.iter().map(|p| p.name.as_str()).collect();
        if self.bias.is_none() {
            arguments.insert(arguments.len() - 3, "nullptr");
        }
        let (name, family) = (&info.name, info.family);
        let (constants, list, arguments) = (constants.join(", "), list.join(", "), arguments.join(", "));
        let has_bias = self.bias.is_some();
        // An activation may ignore its argument.
        let used = if self.act.as_ref().is_some_and(|e| e.uses(0) == 0) { "(void)a0; " } else { "" };
        writeln!(
            t,
            "struct {name}_shape {{\n  static constexpr int {constants};\n  static constexpr bool BIAS = {has_bias};\n  \
             SPC_FN float act(float a0) {{ {used}return {act}; }}\n}};\n\
             extern \"C\" __global__ void __launch_bounds__({THREADS}) {name}(\n    {list}) {{\n  \
             SPC_SMEM(smem);\n  spc_{family}<{name}_shape>({arguments}, (float*)smem);\n}}"
        )
        .map_err(|e| Bug::new(e.to_string()))?;
        out.push_str(&t);
        Ok(())
    }
}

/// The product of the dimensions of `node` but the last: `B * 128`, or `1`.
fn tokens(graph: &Graph, node: NodeId) -> Result<String, Bug> {
    let sizes = graph.ty(node)?.sizes();
    let leading = sizes.split_last().map_or(&[][..], |(_, rest)| rest);
    let mut factors = Vec::new();
    for size in leading {
        factors.push(match size {
            Size::Fixed(n) => n.to_string(),
            Size::Free(s) => graph.sym(*s)?.name.clone(),
        });
    }
    Ok(if factors.is_empty() { "1".into() } else { factors.join(" * ") })
}

/// The arrays of a layout, for the comment.
fn arrays(layout: Layout) -> &'static str {
    match layout {
        Layout::Dense { .. } => "values[ceil(O/P)][K][P]",
        Layout::Vx1 { .. } => "ptr[ceil(O/R)+1], idx[count] = column, values[count][R]",
        Layout::Bsr { .. } => "ptr[ceil(O/R)+1], idx[count] = first column, values[count][C][R]",
        Layout::Nm { .. } => "idx[O][ceil(K/M)][NN] = position in the group, values[O][ceil(K/M)][NN]",
        // Refused by `Shape::new`.
        Layout::I8 { .. } => "",
        Layout::Nm16 { .. } | Layout::Csr16 => "",
        Layout::Csr => "ptr[O+1], idx[count] = column, values[count]",
    }
}

/// A name in quotes, in ASCII: it cannot end a comment's line or continue it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.escape_default())
}

/// The letters, digits and underscores of a name, others as underscores, at most 96 of them. Not unique by itself.
fn identifier(name: &str) -> String {
    name.chars().take(96).map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
