//! Indexing: labels for dimensions, split axes, constant indices, and index tensors.
use super::Elab;
use super::affine::Affine;
use super::origin::From;
use super::value::{Frame, Step, TVal, Val, axis_word, index_label, same_axis};
use crate::cx::{Res, Stop};
use crate::module::Member;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{BinFn, DType, Dim, NodeId, Op, ReduceFn};
use spc_syntax::ast::{Expr, ExprKind, Idx, IdxKind};

/// Above this, f64 does not hold every whole number.
const MAX_INDEX: f64 = 9_007_199_254_740_992.0;

/// What one entry between the brackets does to its dimension.
enum Action {
    Keep(String),
    Split(Vec<String>, Vec<Dim>),
    Gather(TVal),
    At(u64),
    Window(Affine),
}

impl Elab<'_, '_> {
    pub(super) fn index(&mut self, frame: &mut Frame, span: Span, base: &Expr, idx: &[Idx]) -> Res<Val> {
        match self.expr(frame, base)? {
            Val::Place(at, steps) => self.index_family(frame, span, at, steps, idx),
            Val::Tensor(t) => self.index_tensor(frame, span, &t, idx),
            // A default such as `b = 0` stands for a tensor full of it.
            v @ (Val::Num(_) | Val::Pct(..) | Val::Bool(_)) => {
                if self.plain_labels(frame, idx).iter().any(|l| self.ix.bound.contains(l))
                    && let Some(full) = self.in_full(frame, span, &v, base, idx)?
                {
                    return Ok(full);
                }
                Ok(v)
            }
            Val::List(list) => self.index_list(frame, span, &list, idx),
            Val::Record(members) => self.index_cache(frame, span, members, idx),
            Val::Poison => Err(Stop),
            other => {
                let kind = self.kind(&other);
                self.cx.err(codes::WRONG_KIND, span, format!("{kind} has no axes to index"), "indexed here")
            }
        }
    }

    /// An entry of a constant list, by an index that is known now.
    fn index_list(&mut self, frame: &mut Frame, span: Span, list: &[Val], idx: &[Idx]) -> Res<Val> {
        let [Idx { kind: IdxKind::Expr(e), .. }] = idx else {
            return self.cx.err(codes::RANK, span, "a list has one index", "indexed here");
        };
        match self.expr(frame, e)? {
            Val::Static(n) => crate::consts::pick(self.cx, e.span, list, n as f64).cloned(),
            Val::Num(n) => crate::consts::pick(self.cx, e.span, list, n).cloned(),
            Val::Poison => Err(Stop),
            _ => {
                let text = "a list is indexed by a number or by the index of a `for`";
                self.cx.err(codes::INDEX, e.span, text, "not known at compile time")
            }
        }
    }

    fn index_family(&mut self, frame: &mut Frame, span: Span, at: usize, steps: Vec<Step>, idx: &[Idx]) -> Res<Val> {
        let Some(Member::Family { items, axis }) = self.place(self.p.models, at, &steps) else {
            return self.cx.err(codes::WRONG_KIND, span, "this group of tensors is not repeated", "cannot be indexed");
        };
        let (count, axis) = (items.len() as u64, axis.clone());
        let [Idx { kind: IdxKind::Expr(e), .. }] = idx else {
            return self.cx.err(codes::RANK, span, format!("one index over `{axis}` is needed"), "here");
        };
        let i = match self.expr(frame, e)? {
            Val::Static(i) => i,
            Val::Num(n) if n >= 0.0 && n.fract() == 0.0 && n < MAX_INDEX => n as u64,
            _ => {
                let text = "a repeated group is indexed by a number or by the index of a `for`";
                return self.cx.err(codes::INDEX, e.span, text, "not known at compile time");
            }
        };
        if i >= count {
            return self.cx.err(
                codes::INDEX,
                e.span,
                format!("index {i} is outside `{axis}` (0..{count})"),
                "out of range",
            );
        }
        let mut steps = steps;
        steps.push(Step::Index(i));
        self.resolve_place(at, steps, span)
    }

    pub(super) fn index_tensor(&mut self, frame: &mut Frame, span: Span, t: &TVal, idx: &[Idx]) -> Res<Val> {
        let dims = self.ty(t.node)?.dims;
        let explicit = idx.iter().filter(|i| !matches!(i.kind, IdxKind::Rest)).count();
        let has_rest = explicit < idx.len();
        if explicit > dims.len() || (!has_rest && explicit != dims.len()) {
            let axes = dims.iter().map(|d| d.axis.clone()).collect::<Vec<_>>().join(", ");
            return self.cx.report(
                Diagnostic::error(
                    codes::RANK,
                    format!("{} for {}", count(explicit, "index", "indices"), count(dims.len(), "axis", "axes")),
                )
                .at(span, format!("the tensor has [{axes}]")),
            );
        }
        let free = dims.len() - explicit;
        // Which of the axes of `..` the value has: it may lack some.
        let mut places = Vec::new();
        if has_rest {
            let rest = self.rest(frame, span)?;
            let mut next = rest.iter().enumerate();
            let lead = idx.iter().take_while(|i| !matches!(i.kind, IdxKind::Rest)).count();
            for d in dims.get(lead..lead + free).unwrap_or_default() {
                match next.find(|(_, e)| same_axis(e, d)) {
                    Some((n, _)) => places.push(n),
                    None => {
                        let show = |d: &[Dim]| d.iter().map(axis_word).collect::<Vec<_>>().join(", ");
                        let text = format!(
                            "`..` stands for [{}], but [{}] is left here",
                            show(&rest),
                            show(&dims[lead..lead + free])
                        );
                        return self.cx.err(codes::RANK, span, text, "too many or too few indices");
                    }
                }
            }
        }
        let mut actions: Vec<(Action, Span)> = Vec::new();
        for i in idx {
            match &i.kind {
                IdxKind::Rest => {
                    for n in places.clone() {
                        let l = index_label(&format!("..{n}"));
                        let at = actions.len();
                        self.bind_label(&l, &dims[at], self.origins.get(t.node, at), i.span)?;
                        actions.push((Action::Keep(l), i.span));
                    }
                }
                IdxKind::Composite(parts) => {
                    let d = &dims[actions.len()];
                    let Some(into) = self.composites.get(&d.axis).filter(|p| p.len() == parts.len()).cloned() else {
                        let text = format!("axis `{}` is not made of {} axes", d.axis, parts.len());
                        return self.cx.err(codes::AXIS_MISMATCH, i.span, text, "split here");
                    };
                    let product = into.iter().try_fold(1u64, |n, d| n.checked_mul(d.size.fixed()?));
                    if product.is_none() || product != d.size.fixed() {
                        let show = |d: &Dim| d.size.fixed().map_or("any".to_string(), |n| n.to_string());
                        let sizes = into.iter().map(show).collect::<Vec<_>>().join(" x ");
                        let text = format!("axis `{}` has size {}, and its parts {sizes}", d.axis, show(d));
                        return self.cx.err(codes::AXIS_MISMATCH, i.span, text, "split here");
                    }
                    let labels: Vec<String> = parts.iter().map(|p| index_label(&p.name)).collect();
                    let from = self.origins.get(t.node, actions.len());
                    for (l, (d, p)) in labels.iter().zip(into.iter().zip(parts)) {
                        self.bind_label(l, d, from, p.span)?;
                    }
                    actions.push((Action::Split(labels, into), i.span));
                }
                IdxKind::Expr(e) => {
                    let d = dims[actions.len()].clone();
                    let from = self.origins.get(t.node, actions.len());
                    let a = self.index_entry(frame, e, &d, from)?;
                    actions.push((a, i.span));
                }
            }
        }
        self.apply_actions(span, t.node, actions)
    }

    fn index_entry(&mut self, frame: &mut Frame, e: &Expr, d: &Dim, from: From) -> Res<Action> {
        if let ExprKind::Name(n) = &e.kind {
            let own = match frame.env.get(&n.name) {
                Some(Val::Index(l)) => Some(l.clone()),
                Some(_) => None,
                // A constant is a number, not an index.
                None if self.p.consts.get(self.p.names, &frame.origin, &n.name).is_some() => None,
                None if !self.ix.on => {
                    return self.cx.report(
                        Diagnostic::error(codes::INDEX, format!("index `{}` stands for nothing here", n.name))
                            .at(n.span, "not inside index notation")
                            .help("name the indices on the left too: `y[i] = x[i]`"),
                    );
                }
                None if frame.lambda => Some(self.surrounding(&n.name, d, n.span)?),
                None => Some(index_label(&n.name)),
            };
            if let Some(l) = own {
                self.bind_label(&l, d, from, n.span)?;
                return Ok(Action::Keep(l));
            }
        }
        if let Some(a) = self.affine(frame, e) {
            return Ok(Action::Window(a));
        }
        match self.expr(frame, e)? {
            Val::Static(i) => self.at(i, d, e.span),
            Val::Num(n) if n >= 0.0 && n.fract() == 0.0 && n < MAX_INDEX => self.at(n as u64, d, e.span),
            Val::Num(n) => {
                let text = format!("`{n}` is no index: a whole number from 0 on is needed");
                self.cx.err(codes::INDEX, e.span, text, "used as an index")
            }
            Val::Tensor(t) if self.ty(t.node)?.dtype == DType::I32 => Ok(Action::Gather(t)),
            Val::Tensor(t) => {
                let have = self.ty(t.node)?.dtype;
                let d = match e.as_name() {
                    Some(n) => Diagnostic::error(codes::TYPE, format!("`{}` is a value here, not an index", n.name))
                        .at(e.span, format!("the name of a value of type {have}"))
                        .help("an index has a name that no parameter and no value has; a value that indexes is i32"),
                    None => Diagnostic::error(codes::TYPE, "an index tensor is i32").at(e.span, have.to_string()),
                };
                self.cx.report(d)
            }
            Val::Poison => Err(Stop),
            other => {
                let kind = self.kind(&other);
                let text = format!("{kind} is no index");
                self.cx.err(codes::INDEX, e.span, text, "an index, a number or an i32 tensor is needed")
            }
        }
    }

    /// The index of the surrounding computation that ranges over this axis.
    fn surrounding(&mut self, name: &str, d: &Dim, span: Span) -> Res<String> {
        let found: Vec<String> =
            self.ix.dims.iter().filter(|(_, (e, _))| same_axis(e, d)).map(|(l, _)| l.clone()).collect();
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => {
                let text =
                    format!("index `{name}` ranges over axis `{}`, which is not there where this is called", d.axis);
                self.cx.err(codes::INDEX, span, text, "neither a parameter nor an index of the caller")
            }
            _ => {
                let text = format!("index `{name}` could be each of several indices over axis `{}`", d.axis);
                self.cx.err(codes::INDEX, span, text, "make it a parameter")
            }
        }
    }

    fn at(&mut self, i: u64, d: &Dim, span: Span) -> Res<Action> {
        match d.size.fixed() {
            Some(n) if i >= n => {
                let text = format!("index {i} is outside axis `{}` (0..{n})", d.axis);
                self.cx.err(codes::INDEX, span, text, "out of range")
            }
            _ => Ok(Action::At(i)),
        }
    }

    /// Applies the entries from the last dimension to the first, so that positions stay valid.
    fn apply_actions(&mut self, span: Span, node: NodeId, actions: Vec<(Action, Span)>) -> Res<Val> {
        let mut node = node;
        let mut labels: Vec<Vec<String>> = Vec::new();
        for (i, (a, at)) in actions.into_iter().enumerate().rev() {
            let dim = i as u32;
            match a {
                Action::Keep(l) => labels.push(vec![l]),
                Action::Split(ls, into) => {
                    node = self.add(at, Op::Split { dim, into }, &[node])?;
                    labels.push(ls);
                }
                Action::Window(a) => {
                    let t = self.window(at, node, i, &a)?;
                    node = t.node;
                    labels.push(t.labels);
                }
                Action::Gather(ids) => {
                    node = self.add(at, Op::Gather { dim }, &[node, ids.node])?;
                    labels.push(ids.labels);
                }
                Action::At(k) => {
                    let c = self.add(at, Op::Const { value: k as f64, dtype: DType::I32 }, &[])?;
                    node = self.add(at, Op::Gather { dim }, &[node, c])?;
                    labels.push(Vec::new());
                }
            }
        }
        labels.reverse();
        let labels: Vec<String> = labels.into_iter().flatten().collect();
        self.check_rank(span, labels.len())?;
        self.diagonal(span, TVal { node, labels }).map(Val::Tensor)
    }

    /// An index that occurs twice in one tensor takes the elements where both places agree.
    fn diagonal(&mut self, span: Span, t: TVal) -> Res<TVal> {
        let Some(at) = (0..t.labels.len()).find(|n| t.labels[..*n].contains(&t.labels[*n])) else { return Ok(t) };
        let ty = self.ty(t.node)?;
        let f = match ty.dtype {
            DType::F32 => ReduceFn::Sum,
            DType::Bool => ReduceFn::Any,
            DType::I32 => return self.cx.not_yet(span, "an index that occurs twice in one i32 tensor"),
        };
        let label = t.labels[at].clone();
        let mut labels = t.labels.clone();
        let other = format!("{label}\"");
        labels[at].clone_from(&other);
        let number = |e: &mut Self, l: &String, dim: &Dim| -> Res<Val> {
            let node = e.add(span, Op::Iota { dim: dim.clone() }, &[])?;
            Ok(Val::Tensor(TVal { node, labels: vec![l.clone()] }))
        };
        let (a, b) = (number(self, &label, &ty.dims[at])?, number(self, &other, &ty.dims[at])?);
        let agree = self.binary(span, BinFn::Eq, &a, &b)?;
        let none = if ty.dtype == DType::Bool { Val::Bool(false) } else { Val::Num(0.0) };
        let all = Val::Tensor(TVal { node: t.node, labels: labels.clone() });
        let chosen = self.select(span, &agree, &all, &none)?;
        let chosen = self.tensor(&chosen, span)?;
        let chosen = self.reduce(span, f, &chosen, &[other])?;
        let chosen = self.tensor(&chosen, span)?;
        self.diagonal(span, chosen)
    }

    /// An index ranges over one axis in the whole statement.
    fn bind_label(&mut self, l: &str, d: &Dim, from: From, span: Span) -> Res<()> {
        match self.ix.dims.get(l).cloned() {
            Some((e, _)) if same_axis(&e, d) => Ok(()),
            Some((e, first)) => {
                let name = l.trim_start_matches('\'');
                let what = if name.starts_with("..") { "`..`".to_string() } else { format!("index `{name}`") };
                let diag = Diagnostic::error(codes::AXIS_MISMATCH, format!("{what} ranges over two axes"))
                    .at(span, format!("axis `{}`{} here", axis_word(d), self.size_text(d)))
                    .also(first, format!("axis `{}`{} here", axis_word(&e), self.size_text(&e)));
                let known = self.ix.from.get(l).copied().flatten();
                let diag = self.with_origins(diag, &[(&e, known), (d, from)]);
                self.cx.report(diag.note("axes are nominal: equal size is not enough"))
            }
            None => {
                self.ix.dims.insert(l.to_string(), (d.clone(), span));
                self.ix.from.insert(l.to_string(), from);
                Ok(())
            }
        }
    }

    /// Finds the axes of indices ahead of evaluation, so that `int(t)` may stand before another use of `t`.
    pub(super) fn collect_dims(&mut self, frame: &mut Frame, e: &Expr) {
        match &e.kind {
            ExprKind::Index { base, idx } => {
                let plain = matches!(base.kind, ExprKind::Name(_) | ExprKind::Member { .. });
                let reported = self.cx.diags.len();
                let base = if plain { self.expr(frame, base).ok() } else { None };
                self.cx.diags.truncate(reported);
                self.ix.broken |= plain && base.is_none();
                if let Some(Val::Tensor(t)) = base {
                    self.collect_entries(frame, &t, idx);
                }
                for i in idx {
                    if let IdxKind::Expr(e) = &i.kind {
                        self.collect_dims(frame, e);
                    }
                }
            }
            ExprKind::Call { args, .. } => {
                // Indices bound by an inner `over` are another matter.
                for a in args.iter().filter(|a| a.over.is_empty() && a.within.is_none()) {
                    self.collect_dims(frame, &a.value);
                }
            }
            ExprKind::Unary { arg, .. } => self.collect_dims(frame, arg),
            ExprKind::Binary { lhs, rhs, .. } => {
                self.collect_dims(frame, lhs);
                self.collect_dims(frame, rhs);
            }
            ExprKind::If(i) => {
                for arm in &i.arms {
                    self.collect_dims(frame, &arm.cond);
                    self.collect_dims(frame, &arm.value);
                }
                self.collect_dims(frame, &i.otherwise);
            }
            _ => {}
        }
    }

    /// Axes of the plain indices of one tensor.
    fn collect_entries(&mut self, frame: &Frame, t: &TVal, idx: &[Idx]) {
        let Ok(ty) = self.ty(t.node) else { return };
        let rests = idx.iter().filter(|i| matches!(i.kind, IdxKind::Rest)).count();
        let Some(free) = (ty.rank() + rests).checked_sub(idx.len()) else { return };
        if rests > 1 || (rests == 0 && free > 0) {
            return;
        }
        let mut at = 0;
        for i in idx {
            match &i.kind {
                IdxKind::Rest => at += free,
                IdxKind::Composite(parts) => {
                    let into = self.composites.get(&ty.dims[at].axis).cloned().unwrap_or_default();
                    for (p, d) in parts.iter().zip(into) {
                        self.learn_label(index_label(&p.name), &d, self.origins.get(t.node, at), p.span);
                    }
                    at += 1;
                }
                IdxKind::Expr(e) => {
                    if let ExprKind::Name(n) = &e.kind
                        && !frame.env.contains_key(&n.name)
                        && !frame.lambda
                    {
                        self.learn_label(index_label(&n.name), &ty.dims[at], self.origins.get(t.node, at), n.span);
                    }
                    at += 1;
                }
            }
        }
    }

    fn learn_label(&mut self, l: String, d: &Dim, from: From, span: Span) {
        if !self.ix.dims.contains_key(&l) {
            self.ix.dims.insert(l.clone(), (d.clone(), span));
            self.ix.from.insert(l, from);
        }
    }
}

/// `1 axis`, `2 axes`.
fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
