//! Elaboration: one entry function becomes one graph. Calls are inlined, static repetition is unrolled, index notation
//! becomes contractions, reductions, gathers and pointwise maps. Types and axes are checked on the way.
//!
//! Every value carries a *label* for each of its dimensions: the name of its axis between statements (`D`), or the index
//! that names it inside index notation (`'d`). Two dimensions meet when their labels agree.
mod affine;
mod alone;
pub(crate) mod builtin;
mod cache;
mod call;
mod choose;
mod expr;
mod full;
mod func;
mod index;
mod origin;
mod product;
mod reduce;
mod runtime;
mod select;
mod size;
mod state;
mod stmt;
mod value;

pub use alone::check_library;
pub(crate) use alone::{check_alone, check_mask_alone};
pub(crate) use runtime::Met;

use crate::consts::Consts;
use crate::cx::{Cx, Res, Stop};
use crate::model::Axes;
use crate::module::{AxisSize, Model};
use crate::runtime::RunTime;
use crate::scope::{Names, Origin};
use origin::Origins;
use spc_base::{Diagnostic, Limits, Span, codes};
use spc_ir::method::Moment;
use spc_ir::{Dim, Graph, NodeId, Op, Size, Source, Sym, SymId, Type};
use spc_syntax::ast::{self, DimKind, FnItem, TypeKind};
use std::collections::BTreeMap;
use std::rc::Rc;
use value::{Frame, IndexScope, Scope, Val};

/// What elaboration reads.
pub struct Program<'a> {
    pub names: &'a Names<'a>,
    pub axes: &'a Axes,
    /// Those of the axes that have one size, and those that have a range.
    sized: Rc<BTreeMap<String, Dim>>,
    free: Vec<String>,
    pub models: &'a [Model],
    pub consts: &'a Consts,
    pub limits: Limits,
}

impl<'a> Program<'a> {
    pub fn new(
        names: &'a Names<'a>,
        axes: &'a Axes,
        models: &'a [Model],
        consts: &'a Consts,
        limits: Limits,
    ) -> Program<'a> {
        let (mut sized, mut free) = (BTreeMap::new(), Vec::new());
        for (name, axis) in axes {
            match axis.size {
                AxisSize::Fixed(n) => _ = sized.insert(name.clone(), Dim::fixed(name, n)),
                AxisSize::Range(..) => free.push(name.clone()),
            }
        }
        Program { names, axes, sized: Rc::new(sized), free, models, consts, limits }
    }
}

pub(crate) struct Elab<'a, 'c> {
    cx: &'c mut Cx,
    p: &'a Program<'a>,
    g: Graph,
    weights: BTreeMap<String, NodeId>,
    /// Parts of composite axes by name.
    composites: BTreeMap<String, Vec<Dim>>,
    /// Functions being elaborated, outermost first.
    stack: Vec<(Origin, String)>,
    /// The call in the root file that is being elaborated, if any.
    site: Option<Span>,
    /// Expressions being evaluated, through all calls.
    depth: usize,
    /// Index notation of the statement at hand.
    ix: IndexScope,
    /// Where the axes of values come from.
    origins: Origins,
    /// True while a function is checked by itself, with sizes that stand for any.
    alone: bool,
    /// Constraints on values of functions that act here.
    run_time: &'a [RunTime],
    /// When their schedules are asked.
    moment: Moment,
    named: Vec<runtime::Named>,
    met: Met,
    states: Vec<state::State>,
    /// A size was computed.
    sized: bool,
}

/// True when every parameter of the function is a tensor or a number over axes of the file, so that it can be called from
/// outside.
pub fn is_entry(f: &FnItem, axes: &Axes) -> bool {
    let outside = |p: &ast::Param| match p.ty.as_ref().map(|t| &t.kind) {
        Some(TypeKind::Named { name, .. }) if is_tensor_type(name.as_str()) => true,
        Some(TypeKind::Named { name, shape: None, .. }) => is_static_type(name.as_str()) && p.default.is_some(),
        _ => false,
    };
    !f.sig.params.is_empty() && f.sig.params.iter().all(outside) && undeclared(f, axes).is_none()
}

/// True for a score that is computed from tensors alone, as a function is.
pub(crate) fn is_value_score(s: &ast::ScoreItem) -> bool {
    let fits = |p: &ast::Param| match p.ty.as_ref().map(|t| &t.kind) {
        Some(TypeKind::Named { name, shape, .. }) => {
            (is_tensor_type(name.as_str()) && (shape.is_some() || p.default.is_some()))
                || is_static_type(name.as_str())
                || name.as_str() == "mask"
        }
        _ => false,
    };
    s.has_params && !s.sig.params.is_empty() && s.sig.params.iter().all(fits)
}

/// Types of tensors: `f32`, `float` (any floating type), `i32`, `bool`, and stored pairs.
pub(crate) fn is_tensor_type(name: &str) -> bool {
    matches!(name, "f32" | "i32" | "bool" | "float" | "relation" | "cache")
}

/// Types of values that are known when a function is checked.
pub(crate) fn is_static_type(name: &str) -> bool {
    matches!(name, "int" | "pct" | "amount")
}

/// The first axis in the signature's parameters that the file does not declare, or the place of a `..`.
pub(crate) fn undeclared<'f>(f: &'f FnItem, axes: &Axes) -> Option<(&'f str, Span)> {
    let shapes = f.sig.params.iter().filter_map(|p| p.ty.as_ref()).filter_map(|ty| match &ty.kind {
        TypeKind::Named { shape: Some(shape), .. } => Some(shape),
        _ => None,
    });
    for d in shapes.flatten() {
        let names: &[ast::Ident] = match &d.kind {
            DimKind::Axis(a) => std::slice::from_ref(a),
            DimKind::Composite(parts) => parts,
            DimKind::Size(_) => &[],
            DimKind::Rest => return Some(("..", d.span)),
        };
        if let Some(a) = names.iter().find(|a| !axes.contains_key(&a.name)) {
            return Some((a.as_str(), a.span));
        }
    }
    None
}

/// Elaborates one function of the root file: its dense meaning.
pub fn elaborate(cx: &mut Cx, p: &Program<'_>, f: &FnItem) -> Res<Graph> {
    elaborate_with(cx, p, f, (&[], Moment::END), &mut Met::default())
}

/// Elaborates one function with constraints on values.
pub(crate) fn elaborate_with<'a>(
    cx: &mut Cx,
    p: &'a Program<'a>,
    f: &FnItem,
    (run_time, moment): (&'a [RunTime], Moment),
    met: &mut Met,
) -> Res<Graph> {
    let before = cx.diags.len();
    let mut e = Elab::new(cx, p, None, &f.name.name);
    e.run_time = run_time;
    e.moment = moment;
    let bound = e.bind_free(f);
    let done = e.entry(f).and_then(|()| e.apply_run_time());
    *met = std::mem::take(&mut e.met);
    let g = std::mem::take(&mut e.g);
    if done.is_err() || cx.diags[before..].iter().any(Diagnostic::is_error) {
        return Err(Stop);
    }
    match g.into_compact() {
        Ok(g) => {
            // Free axes that no input gives a size, and that do not follow from those.
            let unbound = |s: SymId| s.0 as usize >= bound && !g.formulas.contains_key(&s);
            let mut sizes = g.ids().into_iter().filter_map(|n| g.ty(n).ok()).flat_map(|t| &t.dims);
            let stray = sizes.find(|d| matches!(d.size, Size::Free(s) if unbound(s)));
            let axis = stray.map(|d| d.axis.clone()).or_else(|| {
                let mut terms = g.formulas.values().flat_map(|f| &f.terms);
                terms.find(|t| unbound(t.1)).and_then(|t| g.sym(t.1).ok()).map(|s| s.name.clone())
            });
            match axis {
                None => Ok(g.without_unused_axes()),
                Some(axis) => {
                    let text = format!("no input of `{}` gives axis `{axis}` a size", f.name.name);
                    cx.err(codes::FREE_AXIS, f.name.span, text, "a free axis is bound by an input")
                }
            }
        }
        Err(bug) => cx.err(codes::TYPE, f.name.span, format!("`{}` cannot be elaborated: {bug}", f.name.name), ""),
    }
}

/// The element type of a parameter: stored pairs are read as a table of true and false.
pub(crate) fn param_dtype(cx: &mut Cx, name: &ast::Ident) -> Res<spc_ir::DType> {
    match name.as_str() {
        "relation" => Ok(spc_ir::DType::Bool),
        "cache" => Ok(spc_ir::DType::F32),
        _ => crate::model::dtype(cx, name),
    }
}

/// True for an axis whose size each call chooses, or that follows from one.
pub(super) fn axis_is_free(d: &Dim) -> bool {
    d.size.fixed().is_none()
}

/// The axes that a type names.
fn axes_of(ty: &ast::Type) -> Vec<&str> {
    let TypeKind::Named { shape: Some(shape), .. } = &ty.kind else { return Vec::new() };
    let names = shape.iter().flat_map(|d| match &d.kind {
        DimKind::Axis(a) => vec![a.as_str()],
        DimKind::Composite(parts) => parts.iter().map(|a| a.as_str()).collect(),
        DimKind::Size(_) | DimKind::Rest => Vec::new(),
    });
    names.collect()
}

impl<'a, 'c> Elab<'a, 'c> {
    fn new(cx: &'c mut Cx, p: &'a Program<'a>, origin: Origin, name: &str) -> Elab<'a, 'c> {
        if origin.is_none() {
            cx.reached.insert(name.to_string());
        }
        Elab {
            cx,
            p,
            g: Graph::new(name.to_string()),
            weights: BTreeMap::new(),
            composites: BTreeMap::new(),
            stack: vec![(origin, name.to_string())],
            site: None,
            depth: 0,
            ix: IndexScope::default(),
            origins: Origins::default(),
            alone: false,
            run_time: &[],
            moment: Moment::END,
            named: Vec::new(),
            met: Met::default(),
            states: Vec::new(),
            sized: false,
        }
    }
}

impl Elab<'_, '_> {
    /// Gives the first numbers to the free axes that inputs carry, by name; returns how many there are. The file's other
    /// free axes have no size in this function.
    fn bind_free(&mut self, f: &FnItem) -> usize {
        // A state is an input, too.
        let block = if let ast::Body::Block(b) = &f.sig.body { b.stmts.as_slice() } else { &[] };
        let states = block.iter().filter_map(|s| if let ast::Stmt::State(s) = s { s.ty.as_ref() } else { None });
        let types = f.sig.params.iter().filter_map(|p| p.ty.as_ref()).chain(states);
        let mut names: Vec<&str> = types.flat_map(axes_of).collect();
        names.sort_unstable();
        for n in names {
            self.root_dim(n);
        }
        self.g.syms.len()
    }

    fn entry(&mut self, f: &FnItem) -> Res<()> {
        let mut frame = self.root_frame();
        for param in &f.sig.params {
            let Some(ty) = &param.ty else {
                return self.cx.err(codes::TYPE, param.span, "an input needs a type", "expected `x: f32[B, I]`");
            };
            if matches!(&ty.kind, TypeKind::Named { name, .. } if is_static_type(name.as_str())) {
                continue;
            }
            let is_cache = matches!(&ty.kind, TypeKind::Named { name, .. } if name.as_str() == "cache");
            let ty = self.entry_type(ty)?;
            let v = if is_cache { self.cache_input(param, ty)? } else { self.input(param, ty)? };
            let v = self.named_value(&frame, &param.name, v)?;
            frame.env.insert(param.name.name.clone(), v);
        }
        self.defaults(&mut frame, f)?;
        self.computed_sizes(&mut frame, f)?;
        self.note_full(&mut frame, f);
        let results = self.body(f, &mut frame)?;
        for (name, v, span) in results {
            let node = match v {
                Val::Tensor(t) => t.node,
                Val::Num(n) => self.add(span, Op::Const { value: n, dtype: spc_ir::DType::F32 }, &[])?,
                Val::Static(n) => self.add(span, Op::Const { value: n as f64, dtype: spc_ir::DType::F32 }, &[])?,
                Val::Poison => return Err(Stop),
                _ => {
                    return self.cx.err(codes::RESULT, span, "the result is not a tensor", "a tensor is needed here");
                }
            };
            self.g.outputs.push((name, node));
        }
        for s in std::mem::take(&mut self.states) {
            if let Some(node) = s.out {
                self.g.outputs.push((s.name, node));
            }
        }
        Ok(())
    }

    /// A parameter as an input of the graph.
    fn input(&mut self, param: &ast::Param, ty: Type) -> Res<Val> {
        let node = self.add(param.span, Op::Input { name: param.name.name.clone(), ty }, &[])?;
        self.origins.set(node, &self.g, param.name.span, format!("the input `{}`", param.name.name));
        self.whole(node)
    }

    /// Values of the parameters that no argument gave one.
    fn defaults(&mut self, frame: &mut Frame, f: &FnItem) -> Res<()> {
        for p in &f.sig.params {
            if let (None, Some(d)) = (frame.env.get(&p.name.name), &p.default) {
                let v = self.expr(frame, d)?;
                frame.env.insert(p.name.name.clone(), v);
            }
        }
        Ok(())
    }

    /// Axes of the root file are in scope by name.
    fn root_frame(&mut self) -> Frame {
        let mut frame = Frame { axes: Scope::of_root(Rc::clone(&self.p.sized)), ..Frame::default() };
        let p = self.p;
        for n in &p.free {
            if let Some(d) = self.root_dim(n) {
                frame.axes.insert(n.clone(), d);
            }
        }
        frame
    }

    fn root_dim(&mut self, name: &str) -> Option<Dim> {
        match self.p.axes.get(name)?.size {
            AxisSize::Fixed(n) => Some(Dim::fixed(name, n)),
            AxisSize::Range(lo, hi) => {
                let at = self.g.syms.iter().position(|s| s.name == name).unwrap_or_else(|| {
                    self.g.syms.push(Sym { name: name.to_string(), lo, hi });
                    self.g.syms.len() - 1
                });
                Some(Dim::free(name, SymId(at as u32)))
            }
        }
    }

    fn entry_type(&mut self, ty: &ast::Type) -> Res<Type> {
        let TypeKind::Named { name, shape, .. } = &ty.kind else {
            return self.cx.not_yet(ty.span, "an input of this type");
        };
        let dt = param_dtype(self.cx, name)?;
        let mut dims = Vec::new();
        for d in shape.iter().flatten() {
            dims.push(match &d.kind {
                DimKind::Axis(a) => self.entry_axis(a)?,
                DimKind::Composite(parts) => {
                    let parts = parts.iter().map(|a| self.entry_axis(a)).collect::<Res<Vec<_>>>()?;
                    if parts.iter().any(|d| d.size.fixed().is_none()) {
                        return self.cx.not_yet(d.span, "a split axis with a free part");
                    }
                    let c = crate::model::composite(&parts);
                    self.composites.insert(c.axis.clone(), parts);
                    c
                }
                DimKind::Size(n) => crate::model::sized(self.cx, *n, d.span)?,
                DimKind::Rest => return self.cx.not_yet(d.span, "`..` in an entry function"),
            });
        }
        crate::model::check_extent(self.cx, &dims, ty.span)?;
        Ok(Type::new(dt, dims))
    }

    fn entry_axis(&mut self, a: &ast::Ident) -> Res<Dim> {
        match self.root_dim(&a.name) {
            Some(d) => Ok(d),
            None => {
                let mut d = Diagnostic::error(codes::UNKNOWN_AXIS, format!("there is no axis `{}`", a.name))
                    .at(a.span, "an input's axes are declared")
                    .help(format!("declare it: `axis {} = 1..512` if each call binds its size", a.name));
                if let Some(near) = crate::cx::closest(&a.name, self.p.axes.keys().map(String::as_str)) {
                    d = d.help(format!("or did you mean `{near}`?"));
                }
                self.cx.report(d)
            }
        }
    }

    /// Adds a node. A refusal here that no earlier check has put into words is reported with the operator's own reason.
    fn add(&mut self, span: Span, op: Op, inputs: &[NodeId]) -> Res<NodeId> {
        if self.g.len() >= self.p.limits.graph_nodes {
            return self.cx.err(
                codes::TOO_LARGE,
                span,
                "the function is too large",
                "too many operations from here on",
            );
        }
        match self.g.add(op, inputs) {
            Ok(n) => {
                self.g.sources.insert(n, Source { at: span, site: self.site.unwrap_or(span) });
                self.origins.follow(n, &self.g, inputs);
                let dims = self.ty(n)?.dims;
                crate::model::check_extent(self.cx, &dims, span).map(|()| n)
            }
            Err(bug) => self.cx.err(codes::TYPE, span, format!("this cannot be computed: {}", bug.0), "here"),
        }
    }

    fn ty(&self, node: NodeId) -> Res<Type> {
        self.g.ty(node).cloned().map_err(|_| Stop)
    }

    /// The node of a weight; each weight is one node.
    fn weight(&mut self, model: usize, tensor: usize, span: Span) -> Res<NodeId> {
        let t = &self.p.models[model].tensors[tensor];
        if let Some(n) = self.weights.get(&t.path) {
            return Ok(*n);
        }
        let op = Op::Weight { name: t.path.clone(), ty: Type::new(t.dtype, t.dims.clone()) };
        let dims = t.dims.clone();
        let node = self.add(span, op, &[])?;
        self.origins.set(node, &self.g, t.span, format!("the weight `{}`", t.path));
        for d in dims {
            self.learn_composite(&d);
        }
        self.weights.insert(t.path.clone(), node);
        Ok(node)
    }

    /// Remembers the parts of `(H C)` from the axes of the root file.
    fn learn_composite(&mut self, d: &Dim) {
        let Some(inner) = d.axis.strip_prefix('(').and_then(|s| s.strip_suffix(')')) else { return };
        let parts: Option<Vec<Dim>> = inner.split(' ').map(|n| self.root_dim(n)).collect();
        if let Some(parts) = parts {
            self.composites.entry(d.axis.clone()).or_insert(parts);
        }
    }
}
