//! Kernels of the operators other than linears: one thread an element, or one warp a reduced element. They are made to run
//! whole models on the device; the time of a model is in its linears.
use crate::expr::typed;
use crate::{Grid, KernelInfo, Operand, Param, ParamKind};
use spc_base::Bug;
use spc_ir::structure::range_in_place;
use spc_ir::{DType, Graph, NodeId, Op, ReduceFn, ScalarExpr, Size, Type};
use std::collections::BTreeSet;
use std::fmt::Write;

mod choose;

const THREADS: u32 = crate::shape::THREADS;

/// The text of a kernel: its body, and what it computes in words; or why there is none.
type Body = Result<String, String>;

/// A kernel under construction.
struct Kernel<'a> {
    graph: &'a Graph,
    ty: &'a Type,
    operands: Vec<(NodeId, &'a Type)>,
    /// Of operands that are ranges of a linear's features: all of its features, and the first of the range.
    ranges: Vec<Option<(u64, u64)>>,
    /// Free axes whose sizes the text uses.
    axes: BTreeSet<u32>,
    /// The text may report an id out of range.
    fault: bool,
}

fn c_type(t: DType) -> &'static str {
    match t {
        DType::F32 => "float",
        DType::I32 => "int",
        DType::Bool => "bool",
    }
}

/// A name for each dimension of a value.
fn names(prefix: &str, rank: usize) -> Vec<String> {
    (0..rank).map(|i| format!("{prefix}{i}")).collect()
}

impl Kernel<'_> {
    fn size(&mut self, s: Size) -> String {
        match s {
            Size::Fixed(n) => n.to_string(),
            Size::Free(s) => {
                self.axes.insert(s.0);
                format!("s{}", s.0)
            }
        }
    }

    /// Declares `names[i]` as the place along dimension i of element `element` of a value of these sizes.
    fn places(&mut self, element: &str, names: &[String], sizes: &[Size]) -> String {
        let mut out = format!("  int r = {element};\n");
        for (i, (name, size)) in names.iter().zip(sizes).enumerate().rev() {
            if i == 0 {
                let _ = writeln!(out, "  const int {name} = r;");
            } else {
                let size = self.size(*size);
                let _ = writeln!(out, "  const int {name} = r % {size};\n  r /= {size};");
            }
        }
        if names.is_empty() { String::from("  (void)i;\n") } else { out }
    }

    /// As [`Kernel::places`], of element `j` in the body of a loop.
    fn inner_places(&mut self, names: &[String], sizes: &[Size]) -> String {
        if names.is_empty() {
            return "    (void)j;\n".into();
        }
        self.places("j", names, sizes).replace("  int r", "    int t").replace("r ", "t ").replace("= r;", "= t;")
    }

    /// The number of the element of operand `number` at these places.
    fn at(&mut self, number: usize, places: &[String]) -> String {
        let sizes = self.operands[number].1.sizes();
        let mut text = String::from("0LL");
        let last = places.len().saturating_sub(1);
        for (i, (place, size)) in places.iter().zip(sizes).enumerate() {
            let range = self.ranges.get(number).copied().flatten().filter(|_| i == last);
            let place = range.map_or_else(|| place.clone(), |(_, first)| format!("({place} + {first})"));
            text = if i == 0 {
                format!("(long long){place}")
            } else {
                let size = range.map_or_else(|| self.size(size), |(all, _)| all.to_string());
                format!("({text} * {size} + {place})")
            };
        }
        text
    }

    /// The element of operand `number` at these places, in its own type.
    fn element(&mut self, number: usize, places: &[String]) -> String {
        let at = self.at(number, places);
        match self.operands[number].1.dtype {
            DType::F32 => format!("spc_ldg(x{number} + {at})"),
            DType::I32 => format!("(int)spc_ldg(x{number} + {at})"),
            DType::Bool => format!("(spc_ldg(x{number} + {at}) != 0u)"),
        }
    }

    fn store(&self, value: &str) -> String {
        match self.ty.dtype {
            DType::F32 => format!("  y[i] = {value};\n"),
            DType::I32 => format!("  y[i] = (u32)({value});\n"),
            DType::Bool => format!("  y[i] = ({value}) ? 1 : 0;\n"),
        }
    }

    /// One thread an element; the places of the result are p0, p1, ..
    fn pointwise(&mut self, value: impl FnOnce(&mut Self, &[String]) -> Result<String, String>) -> Body {
        let places = names("p", self.ty.rank());
        let head = self.places("i", &places, &self.ty.sizes());
        let value = value(self, &places)?;
        Ok(format!(
            "  const int i = blockIdx.x * SPC_THREADS + threadIdx.x;\n  if (i >= n) return;\n{head}{}{}",
            used(&places),
            self.store(&value)
        ))
    }

    fn map(&mut self, expr: &ScalarExpr, at: &[Vec<u32>]) -> Body {
        let args: Vec<DType> = self.operands.iter().map(|o| o.1.dtype).collect();
        let want = self.ty.dtype;
        let value = typed(expr, &args, want)?;
        let mut loads = String::new();
        let places = names("p", self.ty.rank());
        for (i, at) in at.iter().enumerate() {
            let own: Vec<String> = at.iter().map(|p| places[*p as usize].clone()).collect();
            let element = self.element(i, &own);
            let _ = writeln!(loads, "  const {} a{i} = {element};\n  (void)a{i};", c_type(args[i]));
        }
        let head = self.places("i", &places, &self.ty.sizes());
        Ok(format!(
            "  const int i = blockIdx.x * SPC_THREADS + threadIdx.x;\n  if (i >= n) return;\n{head}{}{loads}{}",
            used(&places),
            self.store(&value)
        ))
    }

    /// One warp an element: its lanes take every 32nd of the reduced elements, and their parts are joined in a fixed order.
    fn reduce(&mut self, f: ReduceFn, dims: &[u32], node: NodeId) -> Body {
        if f == ReduceFn::ArgMax {
            return self.greatest(dims, node);
        }
        let sizes = self.operands[0].1.sizes();
        let reduced: Vec<Size> = dims.iter().map(|d| sizes[*d as usize]).collect();
        let (kept, inner) = (names("p", self.ty.rank()), names("q", reduced.len()));
        let (mut k, mut q) = (kept.iter(), inner.iter());
        let all: Vec<String> = (0u32..)
            .zip(&sizes)
            .filter_map(|(i, _)| if dims.contains(&i) { q.next() } else { k.next() }.cloned())
            .collect();
        let count: Vec<String> = reduced.iter().map(|s| self.size(*s)).collect();
        let head = self.places("i", &kept, &self.ty.sizes());
        let body = self.inner_places(&inner, &reduced);
        let element = self.element(0, &all);
        let element =
            if self.operands[0].1.dtype == DType::Bool { format!("({element} ? 1.0f : 0.0f)") } else { element };
        let (start, join) = match f {
            ReduceFn::Sum | ReduceFn::Mean => ("0.0f", "sum + v"),
            ReduceFn::Product => ("1.0f", "sum * v"),
            ReduceFn::Max | ReduceFn::Any => ("spc_bits(0xff800000u)", "spc_max(sum, v)"),
            _ => ("spc_bits(0x7f800000u)", "spc_min(sum, v)"),
        };
        let value = match f {
            ReduceFn::Mean => "(sum / (float)m)",
            ReduceFn::Any => "sum > 0.0f",
            ReduceFn::All => "sum != 0.0f",
            _ => "sum",
        };
        Ok(format!(
            "  const int lane = threadIdx.x & 31, i = blockIdx.x * SPC_WARPS + (int)(threadIdx.x >> 5), m = {};\n  \
             if (i >= n) return;\n{head}{}  float sum = {start};\n  SPC_ROLLED\n  for (int j = lane; j < m; j += 32) {{\n{body}\
             {}    const float v = {element};\n    sum = {join};\n  }}\n  SPC_UNROLL\n  \
             for (int d = 16; d > 0; d /= 2) {{\n    const float v = spc_lane_xor(sum, d);\n    sum = {join};\n  }}\n  \
             if (lane == 0) {}",
            count.join(" * "),
            used(&kept),
            used(&inner),
            self.store(value).trim_start()
        ))
    }

    fn contract(&mut self, lhs: &[u32], rhs: &[u32], out: &[u32]) -> Body {
        let label = |l: &u32| format!("l{l}");
        let summed: Vec<u32> = lhs.iter().copied().filter(|l| !out.contains(l)).collect();
        let (left, right): (Vec<String>, Vec<String>) =
            (lhs.iter().map(label).collect(), rhs.iter().map(label).collect());
        let places: Vec<String> = out.iter().map(label).collect();
        let head = self.places("i", &places, &self.ty.sizes());
        let (mut open, mut close) = (String::new(), String::new());
        for l in &summed {
            let at = lhs.iter().position(|m| m == l).unwrap_or(0);
            let size = self.operands[0].1.sizes()[at];
            let size = self.size(size);
            let _ = writeln!(open, "  SPC_UNROLL_4\n  for (int l{l} = 0; l{l} < {size}; ++l{l}) {{");
            close += "  }\n";
        }
        let (a, b) = (self.element(0, &left), self.element(1, &right));
        Ok(format!(
            "  const int i = blockIdx.x * SPC_THREADS + threadIdx.x;\n  if (i >= n) return;\n{head}{}  float sum = 0.0f;\n\
             {open}  sum = spc_fma({a}, {b}, sum);\n{close}{}",
            used(&places),
            self.store("sum")
        ))
    }

    /// Ids that are inputs are checked before the call. Of others, one out of range leaves the number of its operator, plus
    /// one, in `fault`.
    fn gather(&mut self, dim: u32, node: NodeId) -> Body {
        let ids = self.operands[1];
        let computed = !matches!(self.graph.node(ids.0).map(|n| &n.op), Ok(Op::Input { .. }));
        let (dim, rank) = (dim as usize, ids.1.rank());
        let size = self.operands[0].1.sizes()[dim];
        let size = self.size(size);
        self.fault = computed;
        self.pointwise(|k, p| {
            let id = k.element(1, &p[dim..dim + rank]);
            let mut from = p[..dim].to_vec();
            from.push("id".into());
            from.extend_from_slice(&p[dim + rank..]);
            let element = k.element(0, &from);
            let zero = if k.ty.dtype == DType::F32 { "0.0f" } else { "0" };
            let check =
                format!(" if (id < 0 || id >= {size}) {{ *fault = {}u; return {zero}; }}", u64::from(node.0) + 1);
            let check = if computed { check.as_str() } else { "" };
            let element = if k.ty.dtype == DType::Bool { format!("({element} ? 1 : 0)") } else { element };
            let value = format!("[&] {{ const int id = {id};{check} return {element}; }}()");
            Ok(if k.ty.dtype == DType::Bool { format!("{value} != 0") } else { value })
        })
    }

    fn concat(&mut self, dim: usize) -> Body {
        self.pointwise(|k, p| {
            let (mut text, mut before) = (String::new(), String::from("0"));
            let last = k.operands.len() - 1;
            for i in 0..=last {
                let mut from = p.to_vec();
                from[dim] = format!("({} - ({before}))", p[dim]);
                let element = k.element(i, &from);
                let size = k.operands[i].1.sizes()[dim];
                before = format!("{before} + {}", k.size(size));
                text += &if i == last { element } else { format!("{} < {before} ? {element} : ", p[dim]) };
            }
            Ok(format!("({text})"))
        })
    }

    fn window(&mut self, dim: usize, count: usize, coeff: &[i64], offset: i64) -> Body {
        self.pointwise(|k, p| {
            let terms: Vec<String> =
                coeff.iter().zip(&p[dim..dim + count]).map(|(c, p)| format!("{c}LL * {p}")).collect();
            let place = [vec![format!("{offset}LL")], terms].concat().join(" + ");
            let mut from = p[..dim].to_vec();
            from.push("w".into());
            from.extend_from_slice(&p[dim + count..]);
            let element = k.element(0, &from);
            let size = k.operands[0].1.sizes()[dim];
            let size = k.size(size);
            let zero = if k.ty.dtype == DType::F32 { "0.0f" } else { "0" };
            let inside =
                format!("[&] {{ const long long w = {place}; return w >= 0 && w < {size} ? {element} : {zero}; }}()");
            Ok(if k.ty.dtype == DType::Bool { inside.replace(": 0;", ": false;") } else { inside })
        })
    }

    fn body(&mut self, op: &Op, node: NodeId) -> Body {
        match op {
            Op::Map { expr, at } => self.map(expr, at),
            Op::Reduce { f, dims } => self.reduce(*f, dims, node),
            Op::Contract { lhs, rhs, out } => self.contract(lhs, rhs, out),
            Op::Top(t) => self.order(&t.dims, Some(t), node),
            Op::Rank { dims, .. } => self.order(dims, None, node),
            Op::Round { last } => self.round(*last as usize),
            Op::Gather { dim } => self.gather(*dim, node),
            Op::Concat { dim, .. } => self.concat(*dim as usize),
            Op::Window { dim, into, coeff, offset } => self.window(*dim as usize, into.len(), coeff, *offset),
            Op::Broadcast { at, .. } => self.pointwise(|k, p| {
                let own: Vec<String> = at.iter().map(|a| p[*a as usize].clone()).collect();
                Ok(k.element(0, &own))
            }),
            Op::Transpose { perm } => self.pointwise(|k, p| {
                let mut own = p.to_vec();
                for (place, from) in p.iter().zip(perm) {
                    own[*from as usize].clone_from(place);
                }
                Ok(k.element(0, &own))
            }),
            Op::Iota { .. } => self.pointwise(|_, p| Ok(p[0].clone())),
            Op::Size { dim } => self.pointwise(|k, _| Ok(k.size(dim.size))),
            Op::Const { value, .. } => {
                let want = self.ty.dtype;
                self.pointwise(|_, _| typed(&ScalarExpr::Const(*value), &[], want))
            }
            _ => Err("it has no CUDA kernel yet".into()),
        }
    }
}

/// Statements that keep compilers silent about places that a body does not need.
fn used(names: &[String]) -> String {
    let list: Vec<String> = names.iter().map(|n| format!("(void){n};")).collect();
    if list.is_empty() { String::new() } else { format!("  {}\n", list.join(" ")) }
}

/// An emitted kernel: its launch, and its text from the parameters on, which does not depend on its name.
pub(crate) struct Emitted {
    pub info: KernelInfo,
    /// Its first comment, which names the operator.
    pub comment: String,
    pub text: String,
}

/// The kernel of an operator, or why there is none.
pub(crate) fn emit(graph: &Graph, node: NodeId) -> Result<Result<Emitted, String>, Bug> {
    let n = graph.node(node)?;
    let inputs = graph.inputs(node);
    let mut operands = inputs.iter().map(|i| Ok((*i, graph.ty(*i)?))).collect::<Result<Vec<_>, Bug>>()?;
    let mut ranges = vec![None; operands.len()];
    for (operand, range) in operands.iter_mut().zip(&mut ranges) {
        if let Some((of, first)) = range_in_place(graph, operand.0)? {
            let all = graph.ty(of)?.dims.last().and_then(|d| d.size.fixed());
            *range = Some((all.ok_or_else(|| Bug::new("a linear without features"))?, first));
            operand.0 = of;
        }
    }
    let mut kernel = Kernel { graph, ty: &n.ty, operands, ranges, axes: BTreeSet::new(), fault: false };
    let body = match kernel.body(&n.op, node) {
        Ok(b) => b,
        Err(why) => return Ok(Err(why)),
    };
    let mut params = Vec::new();
    let mut add = |name: String, kind, of| params.push(Param { name, kind, of });
    for (i, (id, ty)) in kernel.operands.iter().enumerate() {
        let kind = match ty.dtype {
            DType::F32 => ParamKind::F32In,
            DType::I32 => ParamKind::U32In,
            DType::Bool => ParamKind::U8In,
        };
        add(format!("x{i}"), kind, Operand::Value { node: *id });
    }
    let out = match n.ty.dtype {
        DType::F32 => ParamKind::F32Out,
        DType::I32 => ParamKind::U32Out,
        DType::Bool => ParamKind::U8Out,
    };
    add("y".into(), out, Operand::Y);
    add("n".into(), ParamKind::I32, Operand::Tokens);
    for s in &kernel.axes {
        add(format!("s{s}"), ParamKind::I32, Operand::Axis { sym: *s });
    }
    if kernel.fault {
        add("fault".into(), ParamKind::U32Out, Operand::Fault);
    }
    let mut factors = Vec::new();
    // Rounding has a warp for all elements that share a scale.
    let counted = match n.op {
        Op::Round { last } => n.ty.rank().saturating_sub(last as usize),
        _ => n.ty.rank(),
    };
    for d in n.ty.dims.iter().take(counted) {
        factors.push(match d.size {
            Size::Fixed(n) => n.to_string(),
            Size::Free(s) => graph.sym(s)?.name.clone(),
        });
    }
    let list: Vec<String> = params.iter().map(Param::declaration).collect();
    let warps = matches!(&n.op, Op::Reduce { f, .. } if *f != ReduceFn::ArgMax) || matches!(n.op, Op::Round { .. });
    let tokens = if warps { THREADS / 32 } else { THREADS };
    let info = KernelInfo {
        name: format!("{}_{}", n.op.name(), node.0),
        family: n.op.name().into(),
        node,
        writes: node,
        weight: String::new(),
        layout: String::new(),
        outputs: 0,
        inputs: 0,
        x: node,
        bias: None,
        tokens: if factors.is_empty() { "1".into() } else { factors.join(" * ") },
        from_tokens: 1,
        to_tokens: None,
        params,
        grid: Grid { tokens, tiles: 1 },
        block: THREADS,
        shared_bytes: 0,
        cc: crate::linear::CC,
        only: None,
    };
    let comment = format!("node {node}: {}", n.op.name());
    Ok(Ok(Emitted { info, comment, text: format!("({}) {{\n{body}}}\n", list.join(", ")) }))
}
