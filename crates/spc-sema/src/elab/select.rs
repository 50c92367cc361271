//! `select(keep AMOUNT of GROUP per SCOPE by SCORE)` in a function, and `gather(x, r)`: relations are true and false along
//! named axes.
use super::Elab;
use super::choose::{Along, Choice, Width};
use super::value::{Frame, Val};
use crate::cx::{Res, Stop};
use crate::time::Bound;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::method::Unit;
use spc_ir::{Amount, DType, Dim};
use spc_syntax::ast::{
    self, AmountKind, Arg, Clauses, End, Expr, ExprKind, GroupRef, Scope, ScopeKind, Sentence, ShareOf,
};

/// Widest tile.
const MAX_WIDTH: f64 = 1e9;

impl Elab<'_, '_> {
    /// `select(keep ..)`.
    pub(super) fn select_keep(&mut self, frame: &mut Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let [Arg { value: Expr { kind: ExprKind::Keep(s), .. }, label: None, .. }] = args else {
            let text = "`select` takes a sentence";
            let help = "write `select(keep 4 of slices(S) per B by score(q, k))`";
            return self.cx.report(Diagnostic::error(codes::ARGUMENT, text).at(span, "here").help(help));
        };
        if self.ix.on {
            let text = "`select` chooses among whole tensors";
            let help = "call it in a statement of its own, without indices";
            return self.cx.report(Diagnostic::error(codes::INDEX, text).at(span, "inside index notation").help(help));
        }
        let of = match &s.group.of {
            Some(of) => match self.expr(frame, of)? {
                Val::Tensor(t) => Some(t),
                Val::Poison => return Err(Stop),
                other => {
                    let kind = self.kind(&other);
                    return self.cx.err(codes::WRONG_KIND, of.span, format!("a tensor is needed, not {kind}"), "here");
                }
            },
            None => None,
        };
        let Some(score) = s.clauses.by.as_ref().and_then(|b| b.score.as_ref()).cloned() else {
            let text = "a choice among run-time values says by which score";
            return self.cx.err(codes::CHOICE_CLAUSE, s.span, text, "add `by ..`");
        };
        let mut choice = self.choice_of(frame, s, of.as_ref(), String::new())?;
        choice.name = format!("select of {}", choice.groups.iter().map(Along::text).collect::<Vec<_>>().join(", "));
        let v = match (score.as_name().map(|n| n.as_str()), of) {
            (Some("abs"), Some(t)) => self.unary(score.span, spc_ir::UnFn::Abs, &Val::Tensor(t))?,
            _ => self.expr(frame, &score)?,
        };
        let t = match v {
            Val::Tensor(t) => t,
            Val::Poison => return Err(Stop),
            other => {
                let kind = self.kind(&other);
                let text = format!("a score is a tensor with one number for each group, not {kind}");
                return self.cx.err(codes::SCORE_AXES, score.span, text, "here");
            }
        };
        self.choose(&choice, t, None, score.span).map(Val::Tensor)
    }

    /// `gather(x, r)`: x where r is true, 0 elsewhere.
    pub(super) fn gather_of(&mut self, frame: &mut Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let [x, r] = args else {
            return self.cx.err(codes::ARGUMENT, span, "`gather` takes a value and a relation", "here");
        };
        let (x, r) = (self.expr(frame, &x.value)?, self.expr(frame, &r.value)?);
        match &r {
            Val::Tensor(t) if self.ty(t.node)?.dtype == DType::Bool => self.select(span, &r, &x, &Val::Num(0.0)),
            Val::Poison => Err(Stop),
            other => {
                let kind = self.kind(other);
                let text = format!("`gather` takes a relation (true and false along axes), not {kind}");
                self.cx.err(codes::TYPE, span, text, "here")
            }
        }
    }

    /// The words of a sentence about run-time values. `of` is the value that is chosen from, where one is named.
    pub(super) fn choice_of(
        &mut self,
        frame: &mut Frame,
        s: &Sentence,
        of: Option<&super::value::TVal>,
        name: String,
    ) -> Res<Choice> {
        self.fitting_clauses(&s.clauses, s.then.as_deref())?;
        let groups = self.groups_of(frame, &s.group, of)?;
        let scope = match &s.clauses.per {
            Some(p) => Some(self.scopes_of(frame, &p.scope)?),
            None => None,
        };
        if let Some(a) = scope.iter().flatten().find(|a| groups.iter().any(|g| g.label == a.label)) {
            let text = format!("axis `{}` is in the group and in the scope", a.dim.axis);
            return self.cx.err(codes::SCORE_AXES, a.span, text, "a scope holds whole groups");
        }
        let amount = self.amount_of(frame, &s.amount)?;
        let multiple = match &s.clauses.multiple {
            Some(m) => self.count_of(frame, &m.value)?.max(1),
            None => 1,
        };
        let (mut first, mut last) = (0, 0);
        for a in s.clauses.always.iter().flat_map(|c| &c.value) {
            let n = self.count_of(frame, &a.count)?;
            match a.end {
                End::First => first = n,
                End::Last => last = n,
            }
        }
        if let (Amount::Count(n), Some(c)) = (amount, &s.clauses.always)
            && first.saturating_add(last) > n
        {
            let text = format!("{} groups are always kept, and {n} are kept at most", first.saturating_add(last));
            let d = Diagnostic::error(codes::ALWAYS, text).at(c.span, "these count toward the amount");
            return self.cx.report(d.also(s.amount.span, "the amount"));
        }
        Ok(Choice { groups, scope, amount, multiple, first, last, name, span: s.span })
    }

    /// Refuses the clauses that only weights have.
    fn fitting_clauses(&mut self, c: &Clauses, then: Option<&Sentence>) -> Res<()> {
        let mut wrong: Vec<(&str, Span)> = Vec::new();
        let mut add = |word: &'static str, span: Option<Span>| wrong.extend(span.map(|s| (word, s)));
        add("min", c.floor.as_ref().map(|c| c.span));
        add("on", c.on.as_ref().map(|c| c.span));
        add("except", c.except.as_ref().map(|c| c.span));
        add("at", c.at.as_ref().map(|c| c.span));
        add("every", c.every.as_ref().map(|c| c.span));
        add("via", c.via.as_ref().map(|c| c.span));
        add("on_overlap", c.on_overlap.as_ref().map(|c| c.span));
        add("pad", c.tail.as_ref().filter(|t| t.value == ast::Tail::Pad).map(|c| c.span));
        add("ragged", c.tail.as_ref().filter(|t| t.value == ast::Tail::Ragged).map(|c| c.span));
        add("joint", c.by.as_ref().filter(|b| b.joint).map(|b| b.span));
        add("then", then.map(|s| s.span));
        match wrong.first() {
            None => Ok(()),
            Some((word, span)) => {
                let text = format!("`{word}` has no meaning for run-time values");
                let note = "a choice at run time has `per`, `by`, `always` and `multiple`";
                self.cx.report(Diagnostic::error(codes::CHOICE_CLAUSE, text).at(*span, "here").note(note))
            }
        }
    }

    fn groups_of(&mut self, frame: &mut Frame, g: &GroupRef, of: Option<&super::value::TVal>) -> Res<Vec<Along>> {
        match &g.group.kind {
            ExprKind::Call { callee, args }
                if matches!(callee.as_name().map(|n| n.as_str()), Some("tile" | "slices")) =>
            {
                let groups = self.axes_of_call(frame, g.group.span, callee, args)?;
                if let Some(t) = of
                    && let Some(a) = groups.iter().find(|a| !t.labels.contains(&a.label))
                {
                    let text = format!("the value has no axis `{}`", a.dim.axis);
                    return self.cx.err(codes::UNKNOWN_AXIS, a.span, text, "not an axis of what is chosen from");
                }
                Ok(groups)
            }
            _ => {
                let text = "groups of run-time values are `slices(S)` or `tile(S: 64)`";
                self.cx.err(codes::CHOICE_CLAUSE, g.span, text, "expected slices or tiles of an axis")
            }
        }
    }

    /// The axes of `tile(S: 64, T: all)` and `slices(F)`, `slices(F by 64)`.
    fn axes_of_call(&mut self, frame: &mut Frame, span: Span, callee: &Expr, args: &[Arg]) -> Res<Vec<Along>> {
        let tile = callee.as_name().is_some_and(|n| n.as_str() == "tile");
        let mut out = Vec::new();
        for a in args {
            let (axis, width) = match (&a.label, tile) {
                (Some(l), true) => (l.clone(), Some(&a.value)),
                (None, false) if a.value.as_name().is_some() => {
                    (a.value.as_name().cloned().ok_or(Stop)?, a.by.as_ref())
                }
                _ => {
                    let text = if tile { "expected `tile(S: 64)`" } else { "expected `slices(S)`" };
                    return self.cx.err(codes::CHOICE_CLAUSE, a.span, text, "here");
                }
            };
            let width = match width {
                None => Width::Each(1),
                Some(w) if w.as_name().is_some_and(|n| n.as_str() == "all") => Width::All,
                Some(w) => Width::Each(self.count_of(frame, w)?.max(1)),
            };
            out.push(self.axis_along(frame, &axis, width)?);
        }
        match out.is_empty() {
            true => self.cx.err(codes::CHOICE_CLAUSE, span, "a group names an axis", "expected `slices(S)`"),
            false => Ok(out),
        }
    }

    fn axis_along(&mut self, frame: &Frame, axis: &ast::Ident, width: Width) -> Res<Along> {
        match frame.axes.get(&axis.name).cloned() {
            Some(dim) => Ok(Along { label: dim.axis.clone(), dim, width, span: axis.span }),
            None => crate::model::unknown_axis(self.cx, self.p.axes, axis),
        }
    }

    fn scopes_of(&mut self, frame: &mut Frame, s: &Scope) -> Res<Vec<Along>> {
        let ScopeKind::Expr(e) = &s.kind else {
            let text = "the scope of a choice at run time is made of axes";
            return self.cx.err(codes::CHOICE_CLAUSE, s.span, text, "expected `per B` or `per (B, T)`");
        };
        let parts: Vec<&Expr> = match &e.kind {
            ExprKind::Tuple(list) => list.iter().collect(),
            _ => vec![e],
        };
        let mut out: Vec<Along> = Vec::new();
        for p in parts {
            let along = match &p.kind {
                ExprKind::Name(n) => vec![self.axis_along(frame, n, Width::Each(1))?],
                ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "tile") => {
                    self.axes_of_call(frame, p.span, callee, args)?
                }
                _ => {
                    let text = "a scope is an axis, a tile of one, or several in parentheses";
                    return self.cx.err(codes::CHOICE_CLAUSE, p.span, text, "here");
                }
            };
            if let Some(a) = along.iter().find(|a| out.iter().any(|o| o.label == a.label)) {
                let text = format!("axis `{}` stands twice in the scope", a.dim.axis);
                return self.cx.err(codes::CHOICE_CLAUSE, a.span, text, "again here");
            }
            out.extend(along);
        }
        Ok(out)
    }

    pub(super) fn count_of(&mut self, frame: &mut Frame, e: &Expr) -> Res<u64> {
        match self.expr(frame, e)? {
            Val::Static(n) => Ok(n),
            Val::Num(n) if n >= 0.0 && n.fract() == 0.0 && n <= MAX_WIDTH => Ok(n as u64),
            Val::Poison => Err(Stop),
            other => {
                let kind = self.kind(&other);
                let text = format!("a count is a whole number that is known now, not {kind}");
                self.cx.err(codes::AMOUNT, e.span, text, "here")
            }
        }
    }

    /// True for `active[l]` and `cubic(..)`: a schedule of the file.
    fn is_schedule(&self, e: &Expr) -> bool {
        let head = match &e.kind {
            ExprKind::Index { base, .. } => base.as_name(),
            ExprKind::Call { callee, .. } => callee.as_name(),
            _ => e.as_name(),
        };
        let item = head.and_then(|n| self.p.names.items.get(n.as_str()));
        matches!(item.map(|i| &i.kind), Some(ast::ItemKind::Schedule(_)))
    }

    /// The value of a schedule at the end of the run.
    fn scheduled(&mut self, frame: &Frame, e: &Expr) -> Res<Amount> {
        let bound = |v: &Val| match v {
            Val::Static(n) => Some(Bound::index(*n)),
            Val::Pct(num, den) => Bound::share(*num, *den),
            Val::Num(x) => Some(Bound::number(*x)),
            _ => None,
        };
        let env: Vec<(String, Bound)> = frame.env.iter().filter_map(|(n, v)| Some((n.clone(), bound(v)?))).collect();
        let s = crate::time::lower_bound(self.cx, self.p.names, &frame.origin, e, env)?;
        let q = crate::time::value(self.cx, &s, self.moment, e.span)?;
        match (q.unit, q.exact) {
            (Unit::Share, Some(r)) if (0..=r.den()).contains(&r.num()) => {
                Ok(Amount::Share { num: r.num() as u64, den: r.den() as u64 })
            }
            (Unit::Number, _) if q.value >= 0.0 && q.value.fract() == 0.0 && q.value <= MAX_WIDTH => {
                Ok(Amount::Count(q.value as u64))
            }
            _ => {
                self.cx.err(codes::AMOUNT, e.span, "an amount is a count or a percentage", "a schedule of another kind")
            }
        }
    }

    pub(super) fn amount_of(&mut self, frame: &mut Frame, a: &ast::Amount) -> Res<Amount> {
        let amount = match &a.kind {
            AmountKind::Plain(e) if self.is_schedule(e) || is_arithmetic(e) => self.scheduled(frame, e)?,
            AmountKind::Plain(e) => match self.expr(frame, e)? {
                Val::Pct(num, den) => Amount::Share { num, den },
                Val::Static(n) => Amount::Count(n),
                Val::Num(n) if n >= 0.0 && n.fract() == 0.0 && n <= MAX_WIDTH => Amount::Count(n as u64),
                Val::Poison => return Err(Stop),
                _ => {
                    let text = "an amount is a count or a percentage";
                    return self.cx.err(codes::AMOUNT, e.span, text, "expected `4` or `25%`");
                }
            },
            AmountKind::Of { part, of } => {
                let n = self.count_of(frame, part)?;
                let m = match of {
                    ShareOf::Count(m) => m.int.unwrap_or(0),
                    ShareOf::Name(name) => {
                        let e = Expr { kind: ExprKind::Name(name.clone()), span: name.span };
                        self.count_of(frame, &e)?
                    }
                };
                if n > m || m == 0 {
                    let text = format!("{n} of {m} cannot be kept");
                    return self.cx.err(codes::AMOUNT, a.span, text, "here");
                }
                Amount::OutOf { n, m }
            }
            AmountKind::Above(e) => match self.expr(frame, e)? {
                Val::Num(t) if !t.is_nan() => Amount::Above(t),
                Val::Static(t) => Amount::Above(t as f64),
                Val::Poison => return Err(Stop),
                _ => return self.cx.err(codes::AMOUNT, e.span, "a threshold is a number", "here"),
            },
        };
        let nothing = matches!(amount, Amount::Count(0) | Amount::OutOf { n: 0, .. } | Amount::Share { num: 0, .. });
        if nothing {
            return self.cx.err(codes::KEEPS_NOTHING, a.span, "nothing is kept", "here");
        }
        Ok(amount)
    }
}

/// True for `100% - 25%`, which is computed exactly.
fn is_arithmetic(e: &Expr) -> bool {
    matches!(e.kind, ExprKind::Binary { .. } | ExprKind::Unary { .. } | ExprKind::If(_))
}

/// The axes of a list, for messages.
pub(super) fn axis_list(dims: &[Dim]) -> String {
    dims.iter().map(|d| d.axis.clone()).collect::<Vec<_>>().join(", ")
}
