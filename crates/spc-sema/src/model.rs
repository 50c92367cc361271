//! Axes, models and data sources of the root file.
use crate::cx::{Cx, Res};
use crate::module::{Axis, AxisSize, Column, Data, DataMember, Member, Model, ModelTensor, Source, SplitRows};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{DType, Dim};
use spc_syntax::ast::{self, AxisDecl, BinaryOp, DimKind, Expr, ExprKind, TypeKind};
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
fn fixed_dim(cx: &mut Cx, axes: &Axes, name: &ast::Ident) -> Res<Dim> {
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
    let TypeKind::Named { name, shape, .. } = &ty.kind else {
        return cx.err(codes::TYPE, ty.span, "a stored tensor has a plain type", "expected a type like `f32[O, I]`");
    };
    let dt = dtype(cx, name)?;
    let mut dims = Vec::new();
    for d in shape.iter().flatten() {
        dims.push(match &d.kind {
            DimKind::Axis(a) => fixed_dim(cx, axes, a)?,
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
    if let Some(s) = &item.source
        && s.format.as_str() != "safetensors"
    {
        return cx.not_yet(s.span, &format!("reading a model from `{}`", s.format.name));
    }
    let source = item.source.as_ref().map(source);
    let Some(members) = &item.members else {
        return cx.not_yet(span, "a model without declared tensors");
    };
    let mut m = Model {
        name: item.name.name.clone(),
        source,
        tensors: Vec::new(),
        root: Member::Record(BTreeMap::new()),
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

fn source(s: &ast::Source) -> Source {
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
                (None, None) => String::new(),
                (None, Some(v)) => return cx.not_yet(v.span, "an initialiser"),
            };
            if m.tensors.len() >= MAX_TENSORS {
                return cx.err(codes::TOO_LARGE, t.span, "the model has too many tensors", "more than 100,000 tensors");
            }
            let tensor = ModelTensor { path, stored, dtype: dt, dims, layer: at.layer.clone(), span: t.span };
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

pub fn data(cx: &mut Cx, axes: &Axes, item: &ast::ModelItem, span: Span) -> Res<Data> {
    let Some(s) = &item.source else {
        return cx.err(codes::DATA, item.name.span, "data comes from a file", "add `from csv \"..\"` or the like");
    };
    match s.format.as_str() {
        "csv" | "npy" | "npz" | "text" => {}
        "idx" => return cx.not_yet(s.format.span, "data from `idx`"),
        other => {
            let text = format!("`{other}` is not a data format");
            return cx.err(codes::DATA, s.format.span, text, "expected csv, npy, npz or text");
        }
    }
    let mut d = Data { name: item.name.name.clone(), source: source(s), members: Vec::new(), splits: Vec::new(), span };
    for member in item.members.iter().flatten() {
        let _ = data_member(cx, axes, &mut d, member);
    }
    Ok(d)
}

fn data_member(cx: &mut Cx, axes: &Axes, d: &mut Data, member: &ast::Member) -> Res<()> {
    match member {
        ast::Member::Axes(_) => Ok(()),
        ast::Member::Tensor(t) => {
            let (dtype, dims) = stored_type(cx, axes, &t.ty)?;
            let column = match &t.value {
                Some(v) => column(cx, v)?,
                None => Column::Own,
            };
            d.members.push(DataMember { name: t.name.name.clone(), dtype, dims, column, span: t.span });
            Ok(())
        }
        ast::Member::Column(c) => tokens(cx, axes, d, c),
        ast::Member::Split(s) => {
            for f in &s.fields {
                let rows = match &f.value.kind {
                    ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "rows") => {
                        match args.as_slice() {
                            [a] if a.is_plain() && a.value.as_str().is_some() => SplitRows::File {
                                path: a.value.as_str().unwrap_or_default().to_string(),
                                span: a.value.span,
                            },
                            _ => {
                                return cx.err(
                                    codes::DATA,
                                    f.value.span,
                                    "`rows` takes the name of a file with row numbers",
                                    "expected `rows(\"test_rows.txt\")`",
                                );
                            }
                        }
                    }
                    ExprKind::Name(n) if n.as_str() == "rest" => SplitRows::Rest,
                    ExprKind::Range { from, to } => match (from.as_int(), to.as_int()) {
                        (Some(a), Some(b)) if a < b => SplitRows::Range(a as usize, b as usize),
                        _ => return cx.err(codes::DATA, f.value.span, "not a range of rows", "expected `0..140`"),
                    },
                    _ => return cx.not_yet(f.value.span, "a split by share"),
                };
                d.splits.push((f.name.name.clone(), rows));
            }
            Ok(())
        }
        ast::Member::Family(f) => cx.err(codes::WRONG_KIND, f.span, "data has no repetition", "only models have"),
    }
}

fn tokens(cx: &mut Cx, axes: &Axes, d: &mut Data, c: &ast::Column) -> Res<()> {
    let shown = "expected `ids, real = wordpiece(\"tokenizer.json\", length: 128)`";
    let ExprKind::Call { callee, args } = &c.value.kind else {
        return cx.err(codes::DATA, c.value.span, "a text source names its tokenizer", shown);
    };
    if callee.as_name().is_none_or(|n| n.as_str() != "wordpiece") {
        return cx.not_yet(callee.span, "this tokenizer");
    }
    if d.source.format != "text" {
        return cx.err(codes::DATA, c.value.span, "a tokenizer reads a text source", "the source is not `text`");
    }
    let (mut file, mut length) = (None, None);
    for a in args {
        match a.label.as_ref().map(|l| l.as_str()) {
            None => file = a.value.as_str().map(|s| (s.to_string(), a.value.span)),
            Some("length") => length = a.value.as_int(),
            Some(other) => {
                return cx.err(codes::ARGUMENT, a.span, format!("`wordpiece` has no argument `{other}`"), shown);
            }
        }
    }
    let (Some((tokenizer, span)), Some(length)) = (file, length.filter(|n| *n > 0 && *n <= 65_536)) else {
        return cx.err(codes::ARGUMENT, c.value.span, "`wordpiece` takes a file and a length", shown);
    };
    if c.names.len() > 2 {
        return cx.err(codes::DATA, c.span, "`wordpiece` gives ids, and which positions are real", shown);
    }
    // The sequence axis: the free axis `T` of the file if there is one, else an axis of that length.
    let _ = axes;
    for (index, name) in c.names.iter().enumerate() {
        d.members.push(DataMember {
            name: name.name.clone(),
            dtype: if index == 0 { DType::I32 } else { DType::Bool },
            dims: vec![Dim::fixed("T", length)],
            column: Column::Tokens { tokenizer: tokenizer.clone(), length: length as usize, index, span },
            span: name.span,
        });
    }
    Ok(())
}

fn column(cx: &mut Cx, e: &Expr) -> Res<Column> {
    let bad = |cx: &mut Cx, span: Span| {
        cx.err(
            codes::DATA,
            span,
            "not a column of a data source",
            "expected `column(3)`, `columns(0..64)` or `field(\"name\")`, perhaps divided by a number",
        )
    };
    match &e.kind {
        ExprKind::Binary { op, lhs, rhs, .. } => {
            let op = match op {
                BinaryOp::Add => '+',
                BinaryOp::Sub => '-',
                BinaryOp::Mul => '*',
                BinaryOp::Div => '/',
                _ => return bad(cx, e.span),
            };
            let ExprKind::Num(n) = &rhs.kind else { return bad(cx, rhs.span) };
            Ok(Column::Scaled { inner: Box::new(column(cx, lhs)?), op, by: n.value })
        }
        ExprKind::Call { callee, args } => {
            let [a] = args.as_slice() else { return bad(cx, e.span) };
            match (callee.as_name().map(|n| n.as_str()), &a.value.kind) {
                (Some("column"), _) => match a.value.as_int() {
                    Some(n) if n < 1 << 24 => {
                        Ok(Column::Columns { from: n as usize, to: n as usize + 1, single: true })
                    }
                    _ => bad(cx, a.span),
                },
                (Some("columns"), ExprKind::Range { from, to }) => match (from.as_int(), to.as_int()) {
                    (Some(a), Some(b)) if a < b && b < 1 << 24 => {
                        Ok(Column::Columns { from: a as usize, to: b as usize, single: false })
                    }
                    _ => bad(cx, a.span),
                },
                (Some("field"), ExprKind::Str(s)) => Ok(Column::Field(s.value.clone())),
                _ => bad(cx, e.span),
            }
        }
        _ => bad(cx, e.span),
    }
}
