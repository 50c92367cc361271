//! Axes and models of the root file.
use crate::cx::{Cx, Res};
use crate::module::{Axis, AxisSize, Member, Model, ModelTensor, Source};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{DType, Dim};
use spc_syntax::ast::{self, AxisDecl, DimKind, ExprKind, TypeKind};
use std::collections::BTreeMap;

pub type Axes = BTreeMap<String, Axis>;

/// Sizes stay below this.
const MAX_SIZE: u64 = 1 << 40;

/// Elements of one tensor stay below this, so that no count of bytes overflows.
const MAX_ELEMENTS: u64 = 1 << 48;

/// Most copies that repetition over axes may unroll to.
const MAX_TENSORS: usize = 100_000;

/// Adds declarations; in a file one name is one axis.
pub fn declare_axes(cx: &mut Cx, axes: &mut Axes, decls: &[AxisDecl]) {
    for d in decls {
        let Ok(size) = axis_size(cx, d) else { continue };
        let new = Axis { name: d.name.name.clone(), size, span: d.name.span };
        match axes.get(&d.name.name) {
            Some(old) if old.size != size => {
                let show = |s: AxisSize| match s {
                    AxisSize::Fixed(n) => n.to_string(),
                    AxisSize::Range(a, b) => format!("{a}..{b}"),
                };
                cx.diags.push(
                    Diagnostic::error(codes::AXIS_SIZE, format!("axis `{}` has two sizes", d.name.name))
                        .at(d.span, format!("{} here", show(size)))
                        .also(old.span, format!("{} here", show(old.size)))
                        .help("in one file one name is one axis; give the other axis a name of its own"),
                );
            }
            Some(_) => {}
            None => {
                axes.insert(new.name.clone(), new);
            }
        }
    }
}

fn axis_size(cx: &mut Cx, d: &AxisDecl) -> Res<AxisSize> {
    let Some(value) = &d.value else {
        return cx.report(
            Diagnostic::error(codes::FREE_AXIS, format!("axis `{}` has neither a size nor a range", d.name.name))
                .at(d.span, "a size or a range is missing")
                .help(format!("write `{} = 64` or `{} = 1..512`", d.name.name, d.name.name)),
        );
    };
    let size = match &value.kind {
        ExprKind::Range { from, to } => match (from.as_int(), to.as_int()) {
            (Some(a), Some(b)) if a <= b && b > 0 && b < MAX_SIZE => Some(AxisSize::Range(a, b)),
            _ => None,
        },
        _ => value.as_int().filter(|n| *n > 0 && *n < MAX_SIZE).map(AxisSize::Fixed),
    };
    match size {
        Some(s) => Ok(s),
        None => cx.err(
            codes::AXIS_SIZE,
            value.span,
            format!("the size of axis `{}` is not a positive number or a range", d.name.name),
            "expected a number like `64` or a range like `1..512`",
        ),
    }
}

/// All axes of the file, from `axis` items and from the `axes` blocks of models and data.
pub fn collect_axes(cx: &mut Cx, file: &ast::Ast) -> Axes {
    let mut axes = Axes::new();
    for item in &file.items {
        match &item.kind {
            ast::ItemKind::Axis(a) => declare_axes(cx, &mut axes, &a.decls),
            ast::ItemKind::Model(m) | ast::ItemKind::Data(m) => {
                for member in m.members.iter().flatten() {
                    if let ast::Member::Axes(block) = member {
                        declare_axes(cx, &mut axes, &block.decls);
                    }
                }
            }
            _ => {}
        }
    }
    axes
}

/// The dimension that an axis name stands for in a stored tensor: its size must be fixed.
pub fn fixed_dim(cx: &mut Cx, axes: &Axes, name: &ast::Ident) -> Res<Dim> {
    match axes.get(&name.name).map(|a| (a.size, a.span)) {
        Some((AxisSize::Fixed(n), _)) => Ok(Dim::fixed(&name.name, n)),
        Some((AxisSize::Range(..), span)) => cx.report(
            Diagnostic::error(codes::FREE_AXIS, format!("`{}` is a free axis; stored tensors have sizes", name.name))
                .at(name.span, "a fixed size is needed here")
                .also(span, "declared with a range here"),
        ),
        None => unknown_axis(cx, axes, name),
    }
}

pub fn unknown_axis<T>(cx: &mut Cx, axes: &Axes, name: &ast::Ident) -> Res<T> {
    let d = Diagnostic::error(codes::UNKNOWN_AXIS, format!("there is no axis `{}`", name.name))
        .at(name.span, "no axis of this name");
    cx.report(crate::cx::offer(d, name.span, &name.name, axes.keys().map(String::as_str)))
}

pub fn dtype(cx: &mut Cx, name: &ast::Ident) -> Res<DType> {
    match name.as_str() {
        "f32" | "float" => Ok(DType::F32),
        "i32" => Ok(DType::I32),
        "bool" => Ok(DType::Bool),
        "f16" | "bf16" | "f64" | "i8" | "u8" | "i64" => cx.not_yet(name.span, &format!("the type `{}`", name.name)),
        other => cx.err(codes::TYPE, name.span, format!("`{other}` is not a type"), "expected f32, i32 or bool"),
    }
}

fn stored_type(cx: &mut Cx, axes: &Axes, ty: &ast::Type) -> Res<(DType, Vec<Dim>)> {
    typed(cx, axes, ty, &mut fixed_dim)
}

/// Element type and dimensions of a declared tensor; `axis` says what a name stands for.
pub fn typed(
    cx: &mut Cx,
    axes: &Axes,
    ty: &ast::Type,
    axis: &mut dyn FnMut(&mut Cx, &Axes, &ast::Ident) -> Res<Dim>,
) -> Res<(DType, Vec<Dim>)> {
    let TypeKind::Named { name, shape, .. } = &ty.kind else {
        return cx.err(codes::TYPE, ty.span, "a stored tensor has a plain type", "expected a type like `f32[O, I]`");
    };
    let dt = if name.as_str() == "relation" { DType::Bool } else { dtype(cx, name)? };
    let mut dims = Vec::new();
    for d in shape.iter().flatten() {
        dims.push(match &d.kind {
            DimKind::Axis(a) => axis(cx, axes, a)?,
            DimKind::Composite(parts) => {
                let parts = parts.iter().map(|p| fixed_dim(cx, axes, p)).collect::<Res<Vec<_>>>()?;
                composite(&parts)
            }
            DimKind::Size(n) => sized(cx, *n, d.span)?,
            DimKind::Rest => {
                return cx.err(codes::RANK, d.span, "`..` has no meaning in a stored tensor", "name every axis");
            }
        });
    }
    check_extent(cx, &dims, ty.span)?;
    Ok((dt, dims))
}

/// An axis given by its size alone; it is named by the number.
pub fn sized(cx: &mut Cx, n: u64, span: Span) -> Res<Dim> {
    if n == 0 || n >= MAX_SIZE {
        return cx.err(codes::AXIS_SIZE, span, format!("an axis of size {n}"), "sizes from 1 to 2^40 can be used");
    }
    Ok(Dim::fixed(n.to_string(), n))
}

/// Refuses tensors whose bytes no machine can count, and more axes than the graph holds. Free axes are bound later.
pub fn check_extent(cx: &mut Cx, dims: &[Dim], span: Span) -> Res<()> {
    let elements = dims.iter().try_fold(1u64, |n, d| n.checked_mul(d.size.fixed().unwrap_or(1)));
    if elements.is_none_or(|n| n >= MAX_ELEMENTS) {
        return cx.err(codes::TOO_LARGE, span, "the tensor is too large", "more than 2^48 elements");
    }
    if dims.len() > spc_ir::MAX_RANK {
        let text = format!("a tensor of {} axes is too large: {} are the most", dims.len(), spc_ir::MAX_RANK);
        return cx.err(codes::TOO_LARGE, span, text, "here");
    }
    Ok(())
}

/// `(H C)`: one stored axis made of several.
pub fn composite(parts: &[Dim]) -> Dim {
    let names: Vec<&str> = parts.iter().map(|d| d.axis.as_str()).collect();
    let size = parts.iter().map(|d| d.size.fixed().unwrap_or(0)).fold(1u64, u64::saturating_mul);
    Dim::fixed(format!("({})", names.join(" ")), size)
}

pub fn model(cx: &mut Cx, axes: &Axes, item: &ast::ModelItem, span: Span) -> Res<Model> {
    let format = item.source.as_ref().map(|s| &s.format);
    if let Some(f) = format.filter(|f| !["safetensors", "gguf", "onnx"].contains(&f.as_str())) {
        let text = format!("`{}` is not a format of weights", f.name);
        return cx.err(codes::WRONG_KIND, f.span, text, "expected safetensors, gguf or onnx");
    }
    let source = item.source.as_ref().map(source);
    // A file that carries its own graph declares the tensors itself.
    let open = item.members.is_none() && format.is_some_and(|f| f.as_str() != "safetensors");
    let none = Vec::new();
    let Some(members) = item.members.as_ref().or(open.then_some(&none)) else {
        let what =
            if format.is_some() { "the file has names and shapes, but no axes" } else { "nothing says what it holds" };
        let d = Diagnostic::error(codes::UNKNOWN_MEMBER, format!("the model `{}` declares no tensor", item.name.name));
        let help = "declare the tensors that the program reads: `model net from safetensors \"net.safetensors\" { w: f32[O, I] }`";
        return cx.report(d.at(span, what).help(help));
    };
    let mut m = Model {
        name: item.name.name.clone(),
        source,
        tensors: Vec::new(),
        root: Member::Record(BTreeMap::new()),
        open,
        span: item.name.span,
    };
    let at = Place { path: m.name.clone(), stored: String::new(), layer: m.name.clone() };
    m.root = record(cx, axes, &mut m, members, &at)?;
    distinct_stored(cx, &m)?;
    Ok(m)
}

/// One stored tensor is declared once: two declarations could be constrained in two ways.
fn distinct_stored(cx: &mut Cx, m: &Model) -> Res<()> {
    let mut seen: BTreeMap<&str, &ModelTensor> = BTreeMap::new();
    for t in m.tensors.iter().filter(|t| !t.stored.is_empty()) {
        if let Some(first) = seen.insert(&t.stored, t) {
            let text = format!("`{}` and `{}` are both stored as `{}`", first.path, t.path, t.stored);
            let d = Diagnostic::error(codes::DUPLICATE, text).at(t.span, "declared here");
            return cx.report(if first.span == t.span {
                d.help("the name of a repetition holds its index in braces, for example `\"layer.{l}\"`")
            } else {
                d.also(first.span, "and here").help("two names of one tensor are an alias: `head = embed`")
            });
        }
    }
    Ok(())
}

pub fn source(s: &ast::Source) -> Source {
    Source { format: s.format.name.clone(), path: s.path.value.clone(), span: s.span }
}

struct Place {
    path: String,
    stored: String,
    layer: String,
}

fn record(cx: &mut Cx, axes: &Axes, m: &mut Model, members: &[ast::Member], at: &Place) -> Res<Member> {
    let mut map = BTreeMap::new();
    let mut ok = Ok(());
    for member in members {
        if let Err(stop) = add_member(cx, axes, m, member, at, &mut map) {
            ok = Err(stop);
        }
    }
    ok.map(|()| Member::Record(map))
}

fn add_member(
    cx: &mut Cx,
    axes: &Axes,
    m: &mut Model,
    member: &ast::Member,
    at: &Place,
    map: &mut BTreeMap<String, Member>,
) -> Res<()> {
    let (name, value) = match member {
        ast::Member::Axes(_) => return Ok(()),
        ast::Member::Tensor(t) => {
            let (dt, dims) = stored_type(cx, axes, &t.ty)?;
            let path = format!("{}.{}", at.path, t.name.name);
            let stored = match (&m.source, &t.value) {
                (Some(_), Some(v)) => match v.as_str() {
                    Some(s) => format!("{}{s}", at.stored),
                    None => {
                        return cx.err(
                            codes::WRONG_KIND,
                            v.span,
                            "a tensor from a file is named by a text",
                            "expected the stored name in quotes",
                        );
                    }
                },
                (Some(_), None) => format!("{}{}", at.stored, t.name.name),
                (None, _) => String::new(),
            };
            let init = match (&m.source, &t.value) {
                (None, Some(v)) => Some(crate::init::init(cx, v, dt, &dims)?),
                _ => None,
            };
            if m.tensors.len() >= MAX_TENSORS {
                return cx.err(codes::TOO_LARGE, t.span, "the model has too many tensors", "more than 100,000 tensors");
            }
            let end = t.value.as_ref().map_or(Span { start: t.span.end, ..t.span }, |v| v.span);
            let stored_span = (m.source.is_some() && at.stored.is_empty()).then_some(end);
            let layer = at.layer.clone();
            let tensor = ModelTensor { path, stored, dtype: dt, dims, layer, init, span: t.span, stored_span };
            m.tensors.push(tensor);
            (&t.name, Member::Tensor(m.tensors.len() - 1))
        }
        ast::Member::Family(f) => {
            let n = fixed_dim(cx, axes, &f.axis)?.size.fixed().unwrap_or(0);
            if n > MAX_TENSORS as u64 {
                return cx.err(codes::TOO_LARGE, f.axis.span, "too many repetitions", "more than 100,000");
            }
            let mut items = Vec::new();
            for i in 0..n {
                cx.spend(1 + f.members.len() as u64, f.axis.span)?;
                let path = format!("{}.{}.{i}", at.path, f.name.name);
                let own = match &f.path {
                    Some(p) => p.value.replace(&format!("{{{}}}", f.index.name), &i.to_string()),
                    None => format!("{}.{i}", f.name.name),
                };
                let place = Place { layer: path.clone(), path, stored: format!("{}{own}.", at.stored) };
                items.push(record(cx, axes, m, &f.members, &place)?);
            }
            (&f.name, Member::Family { axis: f.axis.name.clone(), items })
        }
        ast::Member::Column(c) => {
            let [name] = c.names.as_slice() else {
                return cx.err(codes::WRONG_KIND, c.span, "an alias has one name", "expected `head = embed`");
            };
            let target = c.value.as_name().and_then(|n| map.get(n.as_str()).cloned());
            let Some(target) = target else {
                return cx.err(
                    codes::UNKNOWN_MEMBER,
                    c.value.span,
                    "an alias names a member declared before it",
                    "no member of this name above",
                );
            };
            (name, target)
        }
        ast::Member::Split(s) => return cx.err(codes::WRONG_KIND, s.span, "a model has no split", "only data has"),
    };
    if map.insert(name.name.clone(), value).is_some() {
        return cx.err(codes::DUPLICATE, name.span, format!("`{}` is defined twice", name.name), "defined again here");
    }
    Ok(())
}
