//! One linear of a plan: its kernels' constants, launches and text.
use crate::expr::to_c;
use crate::shape::{Family, Shape, THREADS};
use crate::{EmitOptions, KernelInfo, Operand, Param, ParamKind, mma, wgmma};
use spc_base::Bug;
use spc_formats::{ArrayKind, Layout};
use spc_ir::{Graph, LinearPlan, NodeId, Op, ScalarExpr, Size};
use std::fmt::Write;

/// Compute capability that the kernels need: that of the oldest image that is built.
pub(crate) const CC: u32 = 80;

/// A planned linear and what it reads.
pub(crate) struct Linear<'a> {
    plan: &'a LinearPlan,
    layout: Layout,
    pub(crate) x: NodeId,
    bias: Option<NodeId>,
    outputs: u64,
    inputs: u64,
    /// The activation, and whether it keeps every element in its place.
    act: Option<ScalarExpr>,
    in_place: bool,
}

impl Linear<'_> {
    pub(crate) fn new<'a>(graph: &Graph, plan: &'a LinearPlan) -> Result<Linear<'a>, Bug> {
        let bug = |what: &str| Bug::new(format!("linear {}: {what}", plan.node));
        let layout = plan.layout.parse::<Layout>().map_err(|e| bug(&e.0))?.for_many();
        let Op::Linear { bias, act } = &graph.node(plan.node)?.op else { return Err(bug("it is none")) };
        let operands = graph.inputs(plan.node);
        let operand = |i: usize| operands.get(i).copied().ok_or_else(|| bug("an operand is missing"));
        let (x, w) = (operand(0)?, operand(1)?);
        let (outputs, inputs) = graph.ty(w)?.matrix().ok_or_else(|| bug("its weight is no matrix"))?;
        let (outputs, inputs) = (outputs as u64, inputs as u64);
        let bias = if *bias { Some(operand(2)?) } else { None };
        let (mut act, mut in_place) = (act.clone(), true);
        if let Some(map) = plan.epilogue {
            let Op::Map { expr, at } = &graph.node(map)?.op else { return Err(bug("its epilogue is no map")) };
            in_place = at.len() == 1 && at[0].iter().copied().eq(0..graph.ty(plan.node)?.rank() as u32);
            act = Some(expr.clone());
        }
        Ok(Linear { plan, layout, x, bias, outputs, inputs, act, in_place })
    }

    /// The constants of its kernels and its activation in C, or why there is no kernel.
    pub(crate) fn specialise(&self, terms: u32) -> Result<(Vec<Shape>, String), String> {
        if !self.in_place {
            return Err("its epilogue moves elements".into());
        }
        let act = self.act.as_ref().map_or_else(|| Ok("a0".into()), to_c)?;
        Ok((Shape::all(self.layout, self.outputs, self.inputs, terms)?, act))
    }

    /// The constants of its kernel for warp groups, where it has one.
    pub(crate) fn warp_groups(&self, options: &EmitOptions) -> Option<Shape> {
        let large = self.outputs.saturating_mul(self.inputs) >= options.warp_groups_from;
        let shape = || wgmma::shape(self.outputs, self.inputs, options.activations.terms());
        (self.layout == Layout::Mma24 && large).then(shape)
    }

    /// The launch of the kernel of one shape, for `from` tokens and more.
    pub(crate) fn info(&self, graph: &Graph, shape: &Shape, from: u64) -> Result<KernelInfo, Bug> {
        let mut params = Vec::new();
        let mut add = |name: &str, kind, of| params.push(Param { name: name.into(), kind, of });
        for &(name, kind) in self.layout.schema() {
            let kind = match kind {
                ArrayKind::F32 => ParamKind::F32In,
                ArrayKind::U32 => ParamKind::U32In,
                ArrayKind::U8 => ParamKind::U8In,
            };
            // What says where rows begin is the same in both orders.
            let dealt = shape.is_dealt() && name != "ptr";
            add(name, kind, if dealt { Operand::Dealt } else { Operand::Packed });
        }
        if self.bias.is_some() && shape.parts == 0 {
            add("bias", ParamKind::F32In, Operand::Bias);
        }
        let terms = shape.constants.iter().find(|(n, _)| *n == "TERMS");
        match terms {
            Some((_, terms)) => {
                add("xb", ParamKind::U32In, Operand::Terms { terms: *terms, turned: self.turned() });
            }
            None => add("x", ParamKind::F32In, Operand::X),
        }
        match shape.parts {
            0 => add("y", ParamKind::F32Out, Operand::Y),
            parts => add("parts", ParamKind::F32Out, Operand::Parts { parts }),
        }
        add("n", ParamKind::I32, Operand::Tokens);
        let groups = shape.family == Family::Wgmma;
        let few = if groups {
            format!("_n{}_wgmma", shape.grid.tokens)
        } else if matches!(shape.family, Family::Groups | Family::Csr) || (terms.is_some() && shape.split == 1) {
            format!("_n{}", shape.grid.tokens)
        } else if terms.is_some() {
            format!("_n{}_split", shape.grid.tokens)
        } else {
            String::new()
        };
        Ok(KernelInfo {
            name: format!(
                "linear_{}_{}_{}{few}",
                self.plan.node.0,
                identifier(&self.plan.weight),
                identifier(self.layout.to_string().trim_end_matches(')'))
            ),
            family: shape.family.name().into(),
            node: self.plan.node,
            writes: self.plan.epilogue.unwrap_or(self.plan.node),
            weight: self.plan.weight.clone(),
            layout: self.layout.to_string(),
            outputs: self.outputs,
            inputs: self.inputs,
            x: self.x,
            bias: self.bias,
            tokens: tokens(graph, self.plan.node)?,
            from_tokens: from,
            to_tokens: (shape.up_to > 0).then_some(u64::from(shape.up_to)),
            params,
            grid: shape.grid,
            block: shape.threads,
            shared_bytes: shape.shared_bytes,
            cc: if groups { 90 } else { CC },
            only: groups.then(|| wgmma::ARCH.to_string()),
        })
    }

    /// The launch of the kernel that adds the sums of the blocks of [`Linear::info`].
    pub(crate) fn parts_info(&self, graph: &Graph, shape: &Shape, from: u64) -> Result<KernelInfo, Bug> {
        let param = |name: &str, kind, of| Param { name: name.into(), kind, of };
        let mut params = vec![param("parts", ParamKind::F32In, Operand::Parts { parts: shape.parts })];
        // Which sums belong to a row is in its list.
        if shape.family == Family::Groups && self.layout.schema().iter().any(|(n, _)| *n == "ptr") {
            params.insert(0, param("ptr", ParamKind::U32In, Operand::Packed));
        }
        if self.bias.is_some() {
            params.push(param("bias", ParamKind::F32In, Operand::Bias));
        }
        params.push(param("y", ParamKind::F32Out, Operand::Y));
        params.push(param("n", ParamKind::I32, Operand::Tokens));
        let main = self.info(graph, shape, from)?;
        Ok(KernelInfo {
            name: format!("parts_{}_{}", shape.parts, main.name),
            family: "parts".into(),
            params,
            grid: mma::parts_grid(self.outputs),
            block: THREADS,
            shared_bytes: 0,
            ..main
        })
    }

    /// Appends the kernel that adds the sums of several blocks.
    pub(crate) fn write_parts(&self, out: &mut String, info: &KernelInfo, shape: &Shape, act: &str) -> Result<(), Bug> {
        let (name, o, tiles) = (&info.name, self.outputs, info.grid.tiles);
        let bias = if self.bias.is_some() { "bias" } else { "nullptr" };
        let list: Vec<String> = info.params.iter().map(Param::declaration).collect();
        let mut constants = vec![format!("O = {o}"), format!("TILES = {tiles}")];
        let call = if shape.family == Family::Groups {
            let wanted = ["KEPT", "UNITS", "WARPS", "STRIDE"];
            let own = shape.constants.iter().filter(|(n, _)| wanted.contains(n));
            constants.extend(own.map(|(n, v)| format!("{n} = {v}")));
            let ptr = if info.params.iter().any(|p| p.name == "ptr") { "ptr" } else { "nullptr" };
            format!("spc_groups_sum<{name}_shape>({ptr}, parts, {bias}, y, n)")
        } else {
            constants.push(format!("SPLIT = {}", shape.split));
            format!("spc_parts<{name}_shape>(parts, {bias}, y, n)")
        };
        write!(
            out,
            "\n// kernel {name}, node {}: y[n][o] = act(the sum of what parts has of [n][o]{})\n//   launch {} blocks of {THREADS} \
             threads\nstruct {name}_shape {{\n  static constexpr int {};\n  static constexpr bool BIAS = {};\n  \
             SPC_FN float act(float a0) {{ {}return {act}; }}\n}};\n\
             extern \"C\" __global__ void __launch_bounds__({THREADS}) {name}(\n    {}) {{\n  {call};\n}}\n",
            self.plan.node,
            if self.bias.is_some() { " + bias[o]" } else { "" },
            info.grid,
            constants.join(", "),
            self.bias.is_some(),
            self.unused(),
            list.join(", "),
        )
        .map_err(|e| Bug::new(e.to_string()))
    }

    /// A statement for an activation that ignores its argument.
    fn unused(&self) -> &'static str {
        if self.act.as_ref().is_some_and(|e| e.uses(0) == 0) { "(void)a0; " } else { "" }
    }

    /// Whether its kernels take activations turned.
    pub(crate) fn turned(&self) -> bool {
        mma::turned(self.layout)
    }

    /// The launch of the kernel that makes the terms of `x`.
    pub(crate) fn terms_info(&self, graph: &Graph, terms: u32) -> Result<KernelInfo, Bug> {
        let param = |name: &str, kind, of| Param { name: name.into(), kind, of };
        let turned = self.turned();
        Ok(KernelInfo {
            name: format!("{}_{}", if turned { "turned" } else { "terms" }, self.x.0),
            family: "terms".into(),
            node: self.plan.node,
            writes: self.x,
            weight: self.plan.weight.clone(),
            layout: self.layout.to_string(),
            outputs: self.outputs,
            inputs: self.inputs,
            x: self.x,
            bias: None,
            tokens: tokens(graph, self.plan.node)?,
            from_tokens: 1,
            to_tokens: None,
            params: vec![
                param("x", ParamKind::F32In, Operand::X),
                param("xb", ParamKind::U32Out, Operand::Terms { terms, turned }),
                param("n", ParamKind::I32, Operand::Tokens),
            ],
            grid: if turned { mma::turned_grid(self.inputs) } else { mma::terms_grid(self.inputs) },
            block: THREADS,
            shared_bytes: 0,
            cc: CC,
            only: None,
        })
    }

    /// Appends the kernel that makes the terms of `x`.
    pub(crate) fn write_terms(&self, out: &mut String, info: &KernelInfo, terms: u32) -> Result<(), Bug> {
        let (name, tiles, k) = (&info.name, info.grid.tiles, self.inputs);
        let (family, how) = if self.turned() { ("turned", ", column by column") } else { ("terms", "") };
        write!(
            out,
            "\n// kernel {name}, node {}: x[N][{k}] as {terms} bf16 numbers an element{how}\n//   launch {} blocks of \
             {THREADS} threads\nstruct {name}_shape {{\n  static constexpr int K = {k}, KP = {}, TERMS = {terms}, TILES = \
             {tiles};\n}};\nextern \"C\" __global__ void __launch_bounds__({THREADS}) {name}(\n    const float* \
             __restrict__ x, u32* __restrict__ xb, int n) {{\n  spc_{family}<{name}_shape>(x, xb, n);\n}}\n",
            self.x,
            info.grid,
            mma::padded(k)
        )
        .map_err(|e| Bug::new(e.to_string()))
    }

    /// Least and greatest number of tokens of any call.
    pub(crate) fn token_range(&self, graph: &Graph) -> Result<(u64, u64), Bug> {
        let sizes = graph.ty(self.plan.node)?.sizes();
        let (mut least, mut most) = (1u64, 1u64);
        for size in sizes.iter().rev().skip(1) {
            let (lo, hi) = match size {
                Size::Fixed(n) => (*n, *n),
                Size::Free(s) => (graph.sym(*s)?.lo, graph.sym(*s)?.hi),
            };
            (least, most) = (least.saturating_mul(lo), most.saturating_mul(hi));
        }
        Ok((least, most))
    }

    /// Appends the kernel with its shape. The comment's first line starts with `// kernel`: `nvrtc::blame` looks for it.
    pub(crate) fn write(&self, out: &mut String, info: &KernelInfo, shape: &Shape, act: &str) -> Result<(), Bug> {
        let bias = if self.bias.is_some() { " + bias[o]" } else { "" };
        let fused = match (self.plan.epilogue, &self.act) {
            (Some(map), Some(e)) => format!("{e}, the map {map}"),
            (None, Some(e)) => e.to_string(),
            _ => "none".into(),
        };
        let (o, k) = (self.outputs, self.inputs);
        let what = match shape.parts {
            0 => format!("y[n][o] = act(sum_k w[o][k] * x[n][k]{bias})"),
            _ if shape.family == Family::Groups => "pieces of sum_k w[o][k] * x[n][k]".into(),
            parts => format!("parts[s][n][o] = sum of part s of {parts} of w[o][k] * x[n][k]"),
        };
        let mut t = format!("\n// kernel {}, node {}: {what}\n", info.name, self.plan.node);
        let mut line =
            |head: &str, text: String| writeln!(t, "//   {head:<7}{text}").map_err(|e| Bug::new(e.to_string()));
        line("weight", format!("{} [{o}, {k}] in {}: {}", quoted(&info.weight), info.layout, arrays(self.layout)))?;
        match (info.from_tokens, info.to_tokens) {
            (1, None) => {}
            (from, None) => line("N", format!("{from} and more"))?,
            (from, Some(to)) => line("N", format!("{from} to {to}"))?,
        }
        line(
            "x, y",
            format!("[N][{k}] and [N][{o}], token-major f32, N = {}", quoted(&info.tokens).trim_matches('"')),
        )?;
        if shape.parts == 0 {
            line("act", fused)?;
        }
        line(
            "launch",
            format!("{} blocks of {} threads, {} bytes of shared memory", info.grid, info.block, info.shared_bytes),
        )?;
        let mut constants = vec![("O", o), ("K", k)];
        constants.extend(shape.constants.iter().map(|(n, v)| (*n, u64::from(*v))));
        let tiles = shape.grid.tiles / shape.split;
        let tile = [("TOKENS", shape.grid.tokens), ("STEP", shape.step), ("TILES", tiles)];
        constants.extend(tile.map(|(n, v)| (n, u64::from(v))));
        let constants: Vec<String> = constants.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        let list: Vec<String> = info.params.iter().map(Param::declaration).collect();
        let mut arguments: Vec<&str> = info.params.iter().map(|p| p.name.as_str()).collect();
        if shape.family == Family::Mma {
            // One template for several layouts: it takes what any of them has.
            let given = |name| if arguments.contains(&name) { name } else { "nullptr" };
            let result = if shape.parts == 0 { "y" } else { "parts" };
            arguments = ["ptr", "idx", "values", "meta", "bias", "xb", result, "n"].map(given).to_vec();
        } else if shape.family == Family::Wgmma {
            let given = |name| if arguments.contains(&name) { name } else { "nullptr" };
            arguments = ["values", "meta", "bias", "xb", "y", "n"].map(given).to_vec();
        } else if shape.family == Family::Groups {
            let given = |name| if arguments.contains(&name) { name } else { "nullptr" };
            arguments = ["ptr", "skip", "codes", "scale", "x", "parts", "n"].map(given).to_vec();
        } else if self.bias.is_none() {
            arguments.insert(arguments.len() - 3, "nullptr");
        }
        let (name, family) = (&info.name, &info.family);
        // Left alone, ptxas saves registers of these kernels until some spill.
        let bounds = if matches!(shape.family, Family::Mma | Family::Groups | Family::Wgmma) {
            format!("{}, 1", info.block)
        } else {
            info.block.to_string()
        };
        // Floats for the codes are for CPUs.
        let unread = if info.params.iter().any(|p| p.name == "levels") { "  (void)levels;\n" } else { "" };
        let (constants, list, arguments) = (constants.join(", "), list.join(", "), arguments.join(", "));
        let has_bias = self.bias.is_some() && shape.parts == 0;
        let (act, used) = if shape.parts == 0 { (act, self.unused()) } else { ("a0", "") };
        // Only images of one architecture have it.
        let (guard, end) =
            if shape.family == Family::Wgmma { ("#if defined(SPC_WGMMA)\n", "\n#endif") } else { ("", "") };
        writeln!(
            t,
            "{guard}struct {name}_shape {{\n  static constexpr int {constants};\n  static constexpr bool BIAS = {has_bias};\n  \
             SPC_FN float act(float a0) {{ {used}return {act}; }}\n}};\n\
             extern \"C\" __global__ void __launch_bounds__({bounds}) {name}(\n    {list}) {{\n  \
             SPC_SMEM(smem);\n{unread}  spc_{family}<{name}_shape>({arguments}, (float*)smem);\n}}{end}"
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
    match layout.with_bf16() {
        Layout::Dense { .. } => "values[ceil(O/P)][K][P]",
        Layout::Vx1 { .. } => "ptr[ceil(O/R)+1], idx[count] = column, values[count][R]",
        Layout::Bsr { .. } => "ptr[ceil(O/R)+1], idx[count] = first column, values[count][C][R]",
        Layout::Nm { .. } => "idx[O][ceil(K/M)][NN] = position in the group, values[O][ceil(K/M)][NN]",
        // Refused by `Shape::new`.
        Layout::Nm16 { .. } | Layout::Csr16 | Layout::Vnm16 { .. } | Layout::Bitmap | Layout::Half { .. } => "",
        Layout::I8Nm { .. } | Layout::I8Csr { .. } | Layout::I4Nm { .. } => "",
        Layout::Groups { .. } => {
            "codes[units][BYTES], scale[units][P], and where only some groups are kept ptr[O+1], skip[units][P]"
        }
        Layout::I8 { .. } => "ptr[ceil(O/R)+1], idx[count] = column / 4, codes[count][R][4], start[O], scale[O]",
        Layout::Mma32 { .. } => "ptr[ceil(O/R)+1], idx[count] = column / 32, values[count][R/16][2][32][4]",
        Layout::Mma24 => "values[ceil(O/32)][ceil(K/32)][2][32][4], meta[ceil(O/32)][ceil(K/32)][32]",
        Layout::Csr => "ptr[O+1], idx[count] = column, values[count]",
        Layout::Mma1 { .. } => "ptr[ceil(O/R)+1], idx[count][32] = column, values[count][R/16][2][32][4]",
        Layout::Vnm { .. } => {
            "idx[ceil(O/V)][T][32] = column, values[ceil(O/V)*V/32][T][2][32][4], meta[ceil(O/V)*V/32][T][32]"
        }
    }
}

/// A name in quotes, in ASCII: it cannot end a comment's line or continue it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.escape_default())
}

/// The letters, digits and underscores of a name, others as underscores, at most 96 of them. Not unique by itself.
fn identifier(name: &str) -> String {
    name.chars().take(96).map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
