//! `require` on a named value of a function: the value's readers see what is chosen and nothing else.
//!
//! A softmax over the chosen axis is taken over what is chosen: the other logits become -inf. Every other reader sees 0.
use super::choose::{Along, Choice, Width};
use super::value::{Frame, TVal, Val};
use super::{Elab, axis_is_free};
use crate::cx::{Res, Stop};
use crate::runtime::{IndexOf, RunTime};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{BinFn, DType, NodeId, Op, ReduceFn, ScalarExpr, Softmax, UnFn};
use spc_syntax::ast::{Arg, Expr, ExprKind, Ident, ItemKind};
use std::collections::{BTreeMap, BTreeSet};

/// A value of a function by its name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub function: String,
    pub name: String,
    /// Indices of the repetitions around it, outermost first.
    pub loops: Vec<u64>,
    /// One for a tensor; keys and values of a cache.
    pub tensors: Vec<TVal>,
    pub span: Span,
}

/// What choices met in one elaboration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Met {
    /// Names of values by function.
    pub known: BTreeMap<String, BTreeSet<String>>,
    /// Constraints (by number) that act on a value here.
    pub acted: BTreeSet<usize>,
    /// Those for which some reader can leave out what is not chosen.
    pub spared: BTreeSet<usize>,
}

impl Elab<'_, '_> {
    /// Notes the name of a value of the root file's functions. One that a constraint names becomes a value of its own, so
    /// that its readers can be told from those of what it was made of.
    pub(super) fn named_value(&mut self, frame: &Frame, name: &Ident, v: Val) -> Res<Val> {
        if frame.origin.is_some() || frame.lambda {
            return Ok(v);
        }
        let Some((None, function)) = self.stack.last().cloned() else { return Ok(v) };
        self.met.known.entry(function.clone()).or_default().insert(name.name.clone());
        if !self.run_time.iter().any(|r| r.function == function && r.value == name.name) {
            return Ok(v);
        }
        let (v, tensors) = match v {
            Val::Tensor(t) => {
                let t = self.copy(&t, name.span)?;
                (Val::Tensor(t.clone()), vec![t])
            }
            Val::Record(mut members) if members.contains_key("k") && members.contains_key("v") => {
                let mut tensors = Vec::new();
                for part in ["k", "v"] {
                    if let Some(Val::Tensor(t)) = members.get(part).cloned() {
                        let t = self.copy(&t, name.span)?;
                        members.insert(part.to_string(), Val::Tensor(t.clone()));
                        tensors.push(t);
                    }
                }
                (Val::Record(members), tensors)
            }
            other => return Ok(other),
        };
        let loops = frame.loops.clone();
        self.named.push(Named { function, name: name.name.clone(), loops, tensors, span: name.span });
        Ok(v)
    }

    fn copy(&mut self, t: &TVal, span: Span) -> Res<TVal> {
        let at = (0..t.labels.len() as u32).collect();
        let node = self.add(span, Op::Map { expr: ScalarExpr::Arg(0), at: vec![at] }, &[t.node])?;
        Ok(TVal { node, labels: t.labels.clone() })
    }

    /// Makes the readers of named values see what is chosen.
    pub(super) fn apply_run_time(&mut self) -> Res<()> {
        for (number, r) in self.run_time.iter().enumerate() {
            let fits = |n: &&Named| {
                n.function == r.function
                    && n.name == r.value
                    && (r.index.is_empty() || r.index.len() == n.loops.len())
                    && r.index.iter().zip(&n.loops).all(|(i, at)| !matches!(i, IndexOf::Number(x) if x != at))
            };
            let found: Vec<Named> = self.named.iter().filter(fits).cloned().collect();
            for (i, n) in found.iter().enumerate() {
                if let Some(first) = found[..i].iter().find(|m| m.loops == n.loops && m.span != n.span) {
                    let text = format!("`{}` is assigned several times in `{}`", r.value, r.function);
                    let d = Diagnostic::error(codes::CHOICE_CLAUSE, text)
                        .at(r.value_span, "which one is meant")
                        .also(first.span, "assigned here")
                        .also(n.span, "and here")
                        .help("give the value that is meant a name of its own");
                    return self.cx.report(d);
                }
            }
            for n in found {
                self.met.acted.insert(number);
                if self.choose_value(r, &n)? {
                    self.met.spared.insert(number);
                }
            }
        }
        Ok(())
    }

    /// Applies one constraint to one value; true when a reader can leave out what is not chosen.
    fn choose_value(&mut self, r: &RunTime, n: &Named) -> Res<bool> {
        let mut frame = self.root_frame();
        for (i, at) in r.index.iter().zip(&n.loops) {
            if let IndexOf::Binder(name) = i {
                frame.env.insert(name.clone(), Val::Static(*at));
            }
        }
        let Some(first) = n.tensors.first() else { return Ok(false) };
        let choice = self.choice_of(&mut frame, &r.sentence, Some(first), r.name.clone())?;
        let Some(group) = choice.groups.first().cloned() else { return Err(Stop) };
        let mut spared = false;
        if choice.groups.len() == 1 {
            let mut sites: Vec<Softmax> = Vec::new();
            for t in &n.tensors {
                let Some(dim) = t.labels.iter().position(|l| *l == group.label) else { continue };
                let a = spc_ir::along(&self.g, t.node, dim as u32).map_err(|_| Stop)?;
                spared |= !a.products.is_empty();
                sites.extend(a.softmaxes);
            }
            sites.dedup();
            if !sites.is_empty() {
                for s in sites {
                    self.choose_logits(&mut frame, r, &choice, &group, s)?;
                }
                return Ok(true);
            }
        }
        for t in &n.tensors {
            self.choose_elements(&mut frame, r, &choice, t)?;
        }
        Ok(spared)
    }

    /// Adds the free axes of a value to the scopes of a choice: each of their indices is a scope.
    fn with_free_axes(&mut self, c: &Choice, t: &TVal) -> Res<Choice> {
        let mut c = c.clone();
        let mut scope = c.scope.take().unwrap_or_default();
        for (l, dim) in t.labels.iter().zip(self.ty(t.node)?.dims) {
            let known = scope.iter().chain(&c.groups).any(|a| a.label == *l);
            if !known && axis_is_free(&dim) {
                scope.push(Along { label: l.clone(), dim, width: Width::Each(1), span: c.span });
            }
        }
        for a in &scope {
            if !t.labels.contains(&a.label) {
                let text = format!("the value has no axis `{}` to count over", a.dim.axis);
                let have = super::select::axis_list(&self.ty(t.node)?.dims);
                return self.cx.err(codes::SCORE_AXES, a.span, text, format!("it has [{have}]"));
            }
        }
        c.scope = Some(scope);
        Ok(c)
    }

    /// A plain value: 0 where nothing is chosen.
    fn choose_elements(&mut self, frame: &mut Frame, r: &RunTime, c: &Choice, t: &TVal) -> Res<()> {
        let original = self.g.inputs(t.node).first().copied().ok_or(Stop)?;
        let x = TVal { node: original, labels: t.labels.clone() };
        let c = self.with_free_axes(c, &x)?;
        let score = self.score_of(frame, r, &c, &x, &[("x", &x)])?;
        let mask = self.choose(&c, score, None, r.score_span())?;
        let nothing = if self.ty(original)?.dtype == DType::Bool { Val::Bool(false) } else { Val::Num(0.0) };
        self.replace(t.node, &x, mask, &nothing, r.span)
    }

    /// Logits of a softmax: -inf where nothing is chosen.
    fn choose_logits(&mut self, frame: &mut Frame, r: &RunTime, c: &Choice, group: &Along, s: Softmax) -> Res<()> {
        let Val::Tensor(x) = self.whole(s.logits)? else { return Err(Stop) };
        // From here on the program reads the copy, and the choice the logits themselves.
        let copy = self.copy(&x, r.span)?;
        self.g.divert(s.logits, copy.node).map_err(|_| Stop)?;
        let dim = self.ty(x.node)?.dims[s.dim as usize].clone();
        let mut c = c.clone();
        let label = x.labels[s.dim as usize].clone();
        c.groups = vec![Along { label, dim, width: group.width, span: group.span }];
        let c = self.with_free_axes(&c, &x)?;
        let operands = match s.product {
            Some((node, slot)) => {
                let inputs = self.g.inputs(node);
                let at = |i: usize| inputs.get(i).copied().ok_or(Stop);
                Some((at(1 - slot as usize)?, at(slot as usize)?))
            }
            None => None,
        };
        let score = match operands {
            Some((q, k)) => {
                let (Val::Tensor(q), Val::Tensor(k)) = (self.whole(q)?, self.whole(k)?) else { return Err(Stop) };
                self.score_of(frame, r, &c, &x, &[("q", &q), ("k", &k), ("x", &x)])?
            }
            None => self.score_of(frame, r, &c, &x, &[("x", &x)])?,
        };
        let among = self.visible(&c, &x, r.span)?;
        let mask = self.choose(&c, score, Some(among), r.score_span())?;
        self.replace(copy.node, &x, mask, &Val::Num(f64::NEG_INFINITY), r.span)
    }

    /// True where a query may read a key: the logit is not -inf. Axes that the choice does not tell apart are joined.
    fn visible(&mut self, c: &Choice, x: &TVal, span: Span) -> Res<TVal> {
        let v = self.binary(span, BinFn::Ne, &Val::Tensor(x.clone()), &Val::Num(f64::NEG_INFINITY))?;
        let t = self.tensor(&v, span)?;
        let told = |l: &String| c.groups.iter().chain(c.scope.iter().flatten()).any(|a| a.label == *l);
        let dims: Vec<u32> = (0u32..).zip(&t.labels).filter(|(_, l)| !told(l)).map(|(i, _)| i).collect();
        if dims.is_empty() {
            return Ok(t);
        }
        let labels = t.labels.iter().filter(|l| told(l)).cloned().collect();
        let node = self.add(span, Op::Reduce { f: ReduceFn::Any, dims }, &[t.node])?;
        Ok(TVal { node, labels })
    }

    /// Lets the readers of `copy` read `x` where the mask is true, and `nothing` elsewhere.
    fn replace(&mut self, copy: NodeId, x: &TVal, mask: TVal, nothing: &Val, span: Span) -> Res<()> {
        let dims = self.ty(x.node)?.dims;
        let mask = self.arrange(span, &mask, &x.labels, &dims)?;
        let v = match nothing {
            Val::Bool(_) => self.binary(span, BinFn::And, &Val::Tensor(mask), &Val::Tensor(x.clone()))?,
            _ => self.select(span, &Val::Tensor(mask), &Val::Tensor(x.clone()), nothing)?,
        };
        let v = self.tensor(&v, span)?;
        let v = self.arrange(span, &v, &x.labels, &dims)?;
        self.g.divert(copy, v.node).map_err(|_| Stop)
    }

    /// The score of a constraint. A score of the program or the library takes `q`, `k` or `x` by name from the value's reader,
    /// unless they are given.
    fn score_of(&mut self, frame: &mut Frame, r: &RunTime, c: &Choice, x: &TVal, given: &[(&str, &TVal)]) -> Res<TVal> {
        let by = r.sentence.clauses.by.as_ref().and_then(|b| b.score.as_ref());
        let word = by.map_or("norm2", |e| e.as_name().map_or("", |n| n.as_str())).to_string();
        if matches!(word.as_str(), "abs" | "norm1" | "norm2") {
            return self.norm(&word, c, x, r.score_span());
        }
        let Some(e) = by else { return Err(Stop) };
        let (callee, args) = match &e.kind {
            ExprKind::Call { callee, args } => ((**callee).clone(), args.clone()),
            _ => (e.clone(), Vec::new()),
        };
        let item = match &callee.kind {
            ExprKind::Name(n) => self.p.names.item(&None, n.as_str()).map(|(_, i)| i),
            ExprKind::Member { base, name } => {
                base.as_name().and_then(|m| self.p.names.module_item(&None, m.as_str(), name.as_str())).map(|(_, i)| i)
            }
            _ => None,
        };
        let sig = match item.map(|i| &i.kind) {
            Some(ItemKind::Score(s)) => &s.sig,
            Some(ItemKind::Fn(f)) => &f.sig,
            _ => {
                let text =
                    "a score of run-time values is `abs`, `norm1`, `norm2`, or a `score` of the program or a module";
                return self.cx.err(codes::SCORE_AXES, e.span, text, "no such score");
            }
        };
        let mut args = args;
        let plain = args.iter().filter(|a| a.label.is_none()).count();
        for p in sig.params.iter().skip(plain) {
            let is_given = args.iter().any(|a| a.label.as_ref().is_some_and(|l| l.name == p.name.name));
            let Some((name, t)) = given.iter().find(|(n, _)| *n == p.name.as_str()).filter(|_| !is_given) else {
                continue;
            };
            let hidden = format!("{name} of the reader");
            frame.env.insert(hidden.clone(), Val::Tensor((*t).clone()));
            let value = Expr { kind: ExprKind::Name(Ident { name: hidden, span: e.span }), span: e.span };
            args.push(Arg {
                label: Some(p.name.clone()),
                value,
                over: Vec::new(),
                by: None,
                guard: None,
                within: None,
                per: None,
                span: e.span,
            });
        }
        let v = self.call(frame, e.span, &callee, &args)?;
        self.tensor(&v, e.span)
    }

    /// A norm of each group: over the axes that neither the group nor the scope names.
    fn norm(&mut self, word: &str, c: &Choice, x: &TVal, at: Span) -> Res<TVal> {
        let told = |l: &String| c.groups.iter().chain(c.scope.iter().flatten()).any(|a| a.label == *l);
        let rest: Vec<String> = x.labels.iter().filter(|l| !told(l)).cloned().collect();
        let x = Val::Tensor(x.clone());
        let (v, f) = match word {
            "abs" => (self.unary(at, UnFn::Abs, &x)?, ReduceFn::Max),
            "norm1" => (self.unary(at, UnFn::Abs, &x)?, ReduceFn::Sum),
            _ => (self.binary(at, BinFn::Mul, &x, &x)?, ReduceFn::Sum),
        };
        let t = self.tensor(&v, at)?;
        let v = self.reduce(at, f, &t, &rest)?;
        let v = if word == "norm2" { self.unary(at, UnFn::Sqrt, &v)? } else { v };
        self.tensor(&v, at)
    }
}
