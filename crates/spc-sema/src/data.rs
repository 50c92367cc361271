//! Data sources of the root file.
use crate::cx::{Cx, Res};
use crate::model::{Axes, fixed_dim, source, typed};
use crate::module::{AxisSize, Column, Data, DataMember, SplitRows};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{DType, Dim, SymId};
use spc_syntax::ast::{self, BinaryOp, Expr, ExprKind, TypeKind};

/// A `data` item. `models` are the names of the file's models: one may hold a tokenizer.
pub fn data(cx: &mut Cx, axes: &Axes, models: &[&str], item: &ast::ModelItem, span: Span) -> Res<Data> {
    let Some(s) = &item.source else {
        return cx.err(codes::DATA, item.name.span, "data comes from a file", "add `from csv \"..\"` or the like");
    };
    if !["csv", "npy", "npz", "idx", "text"].contains(&s.format.as_str()) {
        let text = format!("`{}` is not a data format", s.format.name);
        return cx.err(codes::DATA, s.format.span, text, "expected csv, npy, npz, idx or text");
    }
    let mut d = Data {
        name: item.name.name.clone(),
        source: source(s),
        members: Vec::new(),
        splits: Vec::new(),
        seed: 0,
        by: None,
        span,
    };
    for member in item.members.iter().flatten() {
        let _ = data_member(cx, axes, models, &mut d, member);
    }
    if let Some((by, span)) = by_of(item) {
        match d.members.iter().find(|m| m.name == by) {
            Some(m) if m.dtype == DType::I32 && m.dims.is_empty() => d.by = Some(by),
            Some(m) => {
                let text = format!("a split by `{by}` needs one i32 a row");
                let label = Diagnostic::error(codes::DATA, text).at(span, "not one i32 a row");
                return cx.report(label.also(m.span, "declared here"));
            }
            None => return cx.unknown(span, "member", &by, d.members.iter().map(|m| m.name.as_str())),
        }
    }
    Ok(d)
}

fn data_member(cx: &mut Cx, axes: &Axes, models: &[&str], d: &mut Data, member: &ast::Member) -> Res<()> {
    match member {
        ast::Member::Axes(_) => Ok(()),
        ast::Member::Tensor(t) => {
            let (dtype, dims) = typed(cx, axes, &t.ty, &mut data_dim)?;
            if let TypeKind::Named { name, .. } = &t.ty.kind
                && name.as_str() == "relation"
                && dims.len() < 2
            {
                return cx.err(codes::RANK, t.ty.span, "stored pairs have two axes", "expected `relation[N, N]`");
            }
            let column = match &t.value {
                Some(v) => column(cx, v)?,
                None => Column::Own,
            };
            d.members.push(DataMember { name: t.name.name.clone(), dtype, dims, column, span: t.span });
            Ok(())
        }
        ast::Member::Column(c) => tokens(cx, d, models, c),
        ast::Member::Split(s) => split(cx, d, s),
        ast::Member::Family(f) => cx.err(codes::WRONG_KIND, f.span, "data has no repetition", "only models have"),
    }
}

fn tokens(cx: &mut Cx, d: &mut Data, models: &[&str], c: &ast::Column) -> Res<()> {
    let shown = "expected `ids, real = wordpiece(\"tokenizer.json\", length: 128)` or `ids = bpe(net, length: 128)`";
    let ExprKind::Call { callee, args } = &c.value.kind else {
        return cx.err(codes::DATA, c.value.span, "a text source names its tokenizer", shown);
    };
    let kind = callee.as_name().map(|n| n.as_str()).unwrap_or_default();
    if !["wordpiece", "bpe"].contains(&kind) {
        return cx.unknown(callee.span, "tokenizer", kind, ["wordpiece", "bpe"]);
    }
    if d.source.format != "text" {
        return cx.err(codes::DATA, c.value.span, "a tokenizer reads a text source", "the source is not `text`");
    }
    let (mut file, mut length) = (None, None);
    for a in args {
        match a.label.as_ref().map(|l| l.as_str()) {
            None => file = Some(&a.value),
            Some("length") => length = a.value.as_int(),
            Some(other) => {
                return cx.err(codes::ARGUMENT, a.span, format!("`{kind}` has no argument `{other}`"), shown);
            }
        }
    }
    let (Some(from), Some(length)) = (file, length.filter(|n| *n > 0 && *n <= 65_536)) else {
        return cx.err(codes::ARGUMENT, c.value.span, format!("`{kind}` takes a tokenizer and a length"), shown);
    };
    let path = match (&from.kind, from.as_name()) {
        (ExprKind::Str(s), _) => Some(s.value.clone()),
        // A model file that holds its own vocabulary.
        (_, Some(n)) if kind == "bpe" => match models.contains(&n.as_str()) {
            true => None,
            false => return cx.unknown(n.span, "model", &n.name, models.iter().copied()),
        },
        _ => return cx.err(codes::ARGUMENT, from.span, format!("`{kind}` takes a tokenizer and a length"), shown),
    };
    let most = if kind == "bpe" { 1 } else { 2 };
    if c.names.len() > most {
        let what =
            if kind == "bpe" { "`bpe` gives ids" } else { "`wordpiece` gives ids, and which positions are real" };
        return cx.err(codes::DATA, c.span, what, shown);
    }
    // The sequence axis: the free axis `T` of the file if there is one, else an axis of that length.
    for (index, name) in c.names.iter().enumerate() {
        let column = match &path {
            Some(p) if kind == "wordpiece" => {
                Column::Tokens { tokenizer: p.clone(), length: length as usize, index, span: from.span }
            }
            _ => Column::Later { what: "byte-pair tokens".to_string(), span: c.value.span },
        };
        d.members.push(DataMember {
            name: name.name.clone(),
            dtype: if index == 0 { DType::I32 } else { DType::Bool },
            dims: vec![Dim::fixed("T", length)],
            column,
            span: name.span,
        });
    }
    Ok(())
}

/// `split { train = 80%, test = 20%, seed = 7, by = label }`.
fn split(cx: &mut Cx, d: &mut Data, s: &ast::Split) -> Res<()> {
    let mut total = 0.0;
    for f in &s.fields {
        let rows = match &f.value.kind {
            ExprKind::Num(_) if f.name.as_str() == "seed" => match f.value.as_int() {
                Some(n) => {
                    d.seed = n;
                    continue;
                }
                None => return cx.err(codes::DATA, f.value.span, "a seed is a whole number", "here"),
            },
            ExprKind::Name(_) if f.name.as_str() == "by" => continue,
            ExprKind::Pct(p) => {
                total += p.fraction();
                if p.num == 0 || total > 1.0 + 1e-12 {
                    let text = "the shares of a split are above 0% and add up to at most 100%";
                    return cx.err(codes::DATA, f.value.span, text, format!("{}% so far", (total * 1e4).round() / 1e2));
                }
                SplitRows::Share { num: p.num, den: p.den }
            }
            ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "rows") => {
                match args.as_slice() {
                    [a] if a.is_plain() && a.value.as_str().is_some() => {
                        SplitRows::File { path: a.value.as_str().unwrap_or_default().to_string(), span: a.value.span }
                    }
                    _ => {
                        let text = "`rows` takes the name of a file with row numbers";
                        return cx.err(codes::DATA, f.value.span, text, "expected `rows(\"test_rows.txt\")`");
                    }
                }
            }
            ExprKind::Name(n) if n.as_str() == "rest" => SplitRows::Rest,
            ExprKind::Range { from, to } => match (from.as_int(), to.as_int()) {
                (Some(a), Some(b)) if a < b => SplitRows::Range(a as usize, b as usize),
                _ => return cx.err(codes::DATA, f.value.span, "not a range of rows", "expected `0..140`"),
            },
            _ => {
                let text = "rows are a share, a range, a file of row numbers, or the rest";
                return cx.err(codes::DATA, f.value.span, text, "expected for example `80%` or `0..140`");
            }
        };
        if d.splits.iter().any(|(n, _)| *n == f.name.name) {
            let text = format!("the split `{}` is named twice", f.name.name);
            return cx.err(codes::DUPLICATE, f.name.span, text, "again here");
        }
        d.splits.push((f.name.name.clone(), rows));
    }
    Ok(())
}

/// The member that a split by share keeps balanced.
fn by_of(item: &ast::ModelItem) -> Option<(String, Span)> {
    let splits =
        item.members.iter().flatten().filter_map(|m| if let ast::Member::Split(s) = m { Some(s) } else { None });
    let field = splits.flat_map(|s| &s.fields).find(|f| f.name.as_str() == "by")?;
    field.value.as_name().map(|n| (n.name.clone(), n.span))
}

/// An axis of a data member. A free one has the size that the file says.
fn data_dim(cx: &mut Cx, axes: &Axes, name: &ast::Ident) -> Res<Dim> {
    match axes.get(&name.name).map(|a| a.size) {
        // The number of the free axis means nothing outside a graph.
        Some(AxisSize::Range(..)) => Ok(Dim::free(&name.name, SymId(0))),
        _ => fixed_dim(cx, axes, name),
    }
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
                (Some("standardise"), _) => {
                    column(cx, &a.value)?;
                    Ok(Column::Later { what: "standardised columns".to_string(), span: e.span })
                }
                (Some("field"), ExprKind::Str(s)) => Ok(Column::Field(s.value.clone())),
                _ => bad(cx, e.span),
            }
        }
        _ => bad(cx, e.span),
    }
}
