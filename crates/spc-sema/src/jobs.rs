//! `run`, `target` and `plan` items.
use crate::consts::Consts;
use crate::cx::{Cx, Res};
use crate::model::Axes;
use crate::module::{AxisSize, Data, DataRef, LayoutRule, Model, Plan, Report, Run, Target, TargetKind};
use crate::require::Resolver;
use crate::scope::Names;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::Graph;
use spc_syntax::ast::{self, Arg, Expr, ExprKind, FnItem, ItemKind};
use std::collections::BTreeMap;

/// Families of storage layouts that a `plan` may name.
pub const LAYOUTS: [&str; 5] = ["dense", "nm", "csr", "bsr", "vx1"];

pub struct Jobs<'a> {
    pub names: &'a Names<'a>,
    pub axes: &'a Axes,
    pub models: &'a [Model],
    pub data: &'a [Data],
    pub consts: &'a Consts,
    pub graphs: &'a BTreeMap<String, Graph>,
}

/// State that begins empty when a run does not give it.
fn starts_empty(p: &ast::Param) -> bool {
    matches!(p.ty.as_ref().map(|t| &t.kind), Some(ast::TypeKind::Named { name, .. }) if name.as_str() == "cache")
}

impl Jobs<'_> {
    fn data_ref(&self, cx: &mut Cx, e: &Expr) -> Res<DataRef> {
        let mut path = Vec::new();
        let mut at = e;
        while let ExprKind::Member { base, name } = &at.kind {
            path.push(name);
            at = base;
        }
        let Some(first) = at.as_name() else {
            return cx.err(
                codes::WRONG_KIND,
                e.span,
                "a member of a data source is needed",
                "expected `data.test.image`",
            );
        };
        path.push(first);
        path.reverse();
        let Some(d) = self.data.iter().find(|d| d.name == first.name) else {
            let known: Vec<&str> = self.data.iter().map(|d| d.name.as_str()).collect();
            return cx.unknown(first.span, "data source", &first.name, known);
        };
        let (split, member) = match path.as_slice() {
            [_, m] => (None, *m),
            [_, s, m] => (Some(*s), *m),
            _ => {
                return cx.err(
                    codes::WRONG_KIND,
                    e.span,
                    "not a member of a data source",
                    "expected `data.split.member`",
                );
            }
        };
        if let Some(s) = split
            && !d.splits.iter().any(|(n, _)| *n == s.name)
        {
            return cx.unknown(s.span, "split", &s.name, d.splits.iter().map(|(n, _)| n.as_str()));
        }
        if !d.members.iter().any(|m| m.name == member.name) {
            return cx.unknown(member.span, "member", &member.name, d.members.iter().map(|m| m.name.as_str()));
        }
        Ok(DataRef {
            data: d.name.clone(),
            split: split.map(|s| s.name.clone()),
            member: member.name.clone(),
            span: e.span,
        })
    }

    pub(crate) fn function(&self, cx: &mut Cx, n: &ast::Ident) -> Res<&FnItem> {
        match self.names.items.get(n.as_str()).map(|i| &i.kind) {
            Some(ItemKind::Fn(f)) => Ok(f),
            _ => cx.unknown(n.span, "function", &n.name, self.graphs.keys().map(String::as_str)),
        }
    }

    pub fn run(&self, cx: &mut Cx, item: &ast::RunItem, span: Span) -> Res<Run> {
        let (mut call, mut reports) = (None, Vec::new());
        for f in &item.fields {
            match f.name.as_str() {
                "call" => call = Some(&f.value),
                "report" => {
                    let ExprKind::List(list) = &f.value.kind else {
                        return cx.err(codes::REPORT, f.value.span, "reports are a list", "expected `[size, time]`");
                    };
                    for e in list {
                        reports.push(self.report(cx, e)?);
                    }
                }
                other => return cx.unknown(f.name.span, "setting of a run", other, ["call", "report"]),
            }
        }
        let Some(ExprKind::Call { callee, args }) = call.map(|c| &c.kind) else {
            let at = call.map_or(item.name.span, |c| c.span);
            return cx.err(codes::NO_RUN, at, "a run calls a function", "expected `call: classify(data.test.image)`");
        };
        let Some(name) = callee.as_name() else {
            return cx.err(codes::WRONG_KIND, callee.span, "a function of this file is needed", "here");
        };
        let f = self.function(cx, name)?;
        if let Some((axis, at)) = crate::elab::undeclared(f, self.axes) {
            let text = format!("`{}` cannot be called from outside: its axis `{axis}` is not declared", name.name);
            let d = Diagnostic::error(codes::UNKNOWN_AXIS, text).at(name.span, "called here");
            return cx.report(d.also(at, "an axis parameter"));
        }
        let args = self.arguments(cx, f, args, callee.span)?;
        Ok(Run { name: item.name.name.clone(), function: name.name.clone(), args, reports, span })
    }

    fn arguments(&self, cx: &mut Cx, f: &FnItem, args: &[Arg], span: Span) -> Res<Vec<(String, DataRef)>> {
        let mut out: Vec<(String, DataRef)> = Vec::new();
        let mut position = 0;
        for a in args {
            let param = match &a.label {
                Some(l) => f.sig.params.iter().find(|p| p.name.name == l.name),
                None => {
                    position += 1;
                    f.sig.params.get(position - 1)
                }
            };
            let Some(p) = param else {
                return cx.err(codes::ARGUMENT, a.span, format!("`{}` has no such parameter", f.name.name), "here");
            };
            let r = self.data_ref(cx, &a.value)?;
            self.check_arg(cx, f, &p.name.name, &r)?;
            out.push((p.name.name.clone(), r));
        }
        for p in &f.sig.params {
            if !out.iter().any(|(n, _)| *n == p.name.name) && p.default.is_none() && !starts_empty(p) {
                let text = format!("`{}` needs `{}`", f.name.name, p.name.name);
                return cx.err(codes::ARGUMENT, span, text, "an argument is missing");
            }
        }
        Ok(out)
    }

    /// A data member without a row axis that fits the parameter as a whole.
    fn fits_whole(names: &[&str], have: &[&str]) -> bool {
        names == have
    }

    /// A data member has one hidden row axis, which binds to the one free axis that the parameter has more.
    fn check_arg(&self, cx: &mut Cx, f: &FnItem, param: &str, r: &DataRef) -> Res<()> {
        let Some(g) = self.graphs.get(&f.name.name) else { return Ok(()) };
        let ty = g.named_inputs().into_iter().find(|(n, _)| n == param).and_then(|(_, n)| g.ty(n).ok().cloned());
        let member = self.data.iter().find(|d| d.name == r.data);
        let member = member.and_then(|d| d.members.iter().find(|m| m.name == r.member));
        let (Some(ty), Some(m)) = (ty, member) else { return Ok(()) };
        if ty.dtype != m.dtype {
            let text = format!("`{param}` is {}, `{}` is {}", ty.dtype, r.member, m.dtype);
            return cx
                .report(Diagnostic::error(codes::TYPE, text).at(r.span, "passed here").also(m.span, "declared here"));
        }
        let names: Vec<&str> = ty.dims.iter().map(|d| d.axis.as_str()).collect();
        let have: Vec<&str> = m.dims.iter().map(|d| d.axis.as_str()).collect();
        let row = (0..names.len()).find(|i| {
            let mut rest = names.clone();
            rest.remove(*i);
            rest == have && ty.dims[*i].size.fixed().is_none()
        });
        if row.is_none() && !Self::fits_whole(&names, &have) {
            return cx.report(
                Diagnostic::error(
                    codes::AXIS_MISMATCH,
                    format!("`{}.{}` does not fit the parameter `{param}`", r.data, r.member),
                )
                .at(r.span, format!("one row has [{}]", have.join(", ")))
                .also(m.span, "declared here")
                .note(format!(
                    "`{param}` has [{}]: the axes of one row, and one free axis for the rows",
                    names.join(", ")
                )),
            );
        }
        for d in &m.dims {
            if let (Some(n), Some(AxisSize::Range(lo, hi))) = (d.size.fixed(), self.axes.get(&d.axis).map(|a| a.size))
                && (n < lo || n > hi)
            {
                let text = format!("a size of {n} is outside axis `{}` ({lo}..{hi})", d.axis);
                return cx.err(codes::AXIS_SIZE, r.span, text, "passed here");
            }
        }
        Ok(())
    }

    fn report(&self, cx: &mut Cx, e: &Expr) -> Res<Report> {
        const KNOWN: [&str; 7] = ["accuracy", "cosine", "pairs", "size", "time", "spearman", "perplexity"];
        let later = |what: &str| Ok(Report::Later { what: what.to_string(), span: e.span });
        let (name, args) = match &e.kind {
            ExprKind::Name(n) => (n, [].as_slice()),
            ExprKind::Call { callee, args } if callee.as_name().is_some() => match callee.as_name() {
                Some(n) => (n, args.as_slice()),
                None => return Err(crate::cx::Stop),
            },
            _ => {
                let text = "this is no report";
                return cx.err(codes::REPORT, e.span, text, "expected `accuracy(..)`, `cosine`, `size` or the like");
            }
        };
        match (name.as_str(), args) {
            ("size", []) => Ok(Report::Size),
            ("time", []) => Ok(Report::Time),
            ("cosine", []) => Ok(Report::Cosine),
            ("pairs", []) => Ok(Report::Pairs),
            ("spearman", []) => later("the report `spearman`"),
            ("perplexity", [a]) if a.label.is_none() => {
                self.data_ref(cx, &a.value)?;
                later("the report `perplexity`")
            }
            ("accuracy", [a]) if a.label.is_none() => Ok(Report::Accuracy(self.data_ref(cx, &a.value)?)),
            ("accuracy", [a, rows])
                if a.label.is_none() && rows.label.as_ref().is_some_and(|l| l.as_str() == "rows") =>
            {
                self.data_ref(cx, &a.value)?;
                self.data_split(cx, &rows.value)?;
                later("`accuracy` of some rows of a whole")
            }
            ("accuracy", _) => {
                cx.err(codes::REPORT, e.span, "`accuracy` takes the labels", "expected `accuracy(data.test.label)`")
            }
            ("perplexity", _) => {
                cx.err(codes::REPORT, e.span, "`perplexity` takes the tokens", "expected `perplexity(data.tokens)`")
            }
            ("size" | "time" | "cosine" | "pairs" | "spearman", _) => {
                let text = format!("the report `{}` takes nothing", name.name);
                cx.err(codes::REPORT, e.span, text, "leave the brackets out")
            }
            (other, _) => {
                let mut d = Diagnostic::error(codes::REPORT, format!("there is no report `{other}`"))
                    .at(name.span, "unknown report")
                    .help("reports: accuracy(labels), cosine, pairs, spearman, perplexity(tokens), size, time");
                if let Some(near) = crate::cx::closest(other, KNOWN) {
                    d = d.fix(name.span, near);
                }
                cx.report(d)
            }
        }
    }

    /// `plan fast for laptop { layout: forbid(net.w1, csr)  search: egraph(nodes: 50_000) }`.
    pub fn plan(&self, cx: &mut Cx, item: &ast::PlanItem, resolver: &Resolver<'_>, span: Span) -> Res<Plan> {
        let mut plan = Plan { name: item.name.name.clone(), target: None, layouts: Vec::new(), nodes: None, span };
        if let Some(t) = &item.target {
            match self.names.items.get(t.as_str()).map(|i| &i.kind) {
                Some(ItemKind::Target(_)) => plan.target = Some(t.name.clone()),
                _ => {
                    let known = self.names.items.iter().filter(|(_, i)| matches!(i.kind, ItemKind::Target(_)));
                    return cx.unknown(t.span, "target", &t.name, known.map(|(n, _)| *n).collect::<Vec<_>>());
                }
            }
        }
        for f in &item.fields {
            match f.name.as_str() {
                "layout" => {
                    let list = match &f.value.kind {
                        ExprKind::List(list) => list.iter().collect(),
                        _ => vec![&f.value],
                    };
                    for e in list {
                        plan.layouts.push(self.layout_rule(cx, e, resolver)?);
                    }
                }
                "search" => match &f.value.kind {
                    ExprKind::Call { callee, args }
                        if callee.as_name().is_some_and(|n| n.as_str() == "egraph")
                            && args.len() == 1
                            && args[0].label.as_ref().is_some_and(|l| l.as_str() == "nodes")
                            && args[0].value.as_int().is_some_and(|n| n > 0) =>
                    {
                        plan.nodes = args[0].value.as_int();
                    }
                    _ => {
                        return cx.err(
                            codes::TARGET,
                            f.value.span,
                            "unknown search",
                            "expected `egraph(nodes: 50_000)`",
                        );
                    }
                },
                other => return cx.unknown(f.name.span, "setting of a plan", other, ["layout", "search"]),
            }
        }
        Ok(plan)
    }

    fn layout_rule(&self, cx: &mut Cx, e: &Expr, resolver: &Resolver<'_>) -> Res<LayoutRule> {
        let expected = "expected `forbid(net.w1, csr)` or `prefer(net.w1, dense)`";
        let ExprKind::Call { callee, args } = &e.kind else {
            return cx.err(codes::WRONG_KIND, e.span, "this says nothing about layouts", expected);
        };
        let prefer = match callee.as_name().map(|n| n.as_str()) {
            Some("prefer") => true,
            Some("forbid") => false,
            _ => return cx.err(codes::WRONG_KIND, callee.span, "this says nothing about layouts", expected),
        };
        let [which, layout] = args.as_slice() else {
            return cx.err(codes::ARGUMENT, e.span, "weights and a layout are needed here", expected);
        };
        let chosen = resolver.select(cx, &which.value)?;
        if chosen.is_empty() {
            return cx.err(codes::NOTHING_MATCHED, which.span, "no tensor is matched", "matches nothing");
        }
        let weights = chosen.into_iter().map(|(m, t)| self.models[m].tensors[t].path.clone()).collect();
        match layout.value.as_name() {
            Some(n) if LAYOUTS.contains(&n.as_str()) => {
                Ok(LayoutRule { prefer, weights, layout: n.name.clone(), span: e.span })
            }
            Some(n) => cx.unknown(n.span, "layout", &n.name, LAYOUTS),
            None => {
                cx.err(codes::WRONG_KIND, layout.span, "the name of a layout is needed", "expected for example `csr`")
            }
        }
    }

    pub fn target(&self, cx: &mut Cx, item: &ast::TargetItem, span: Span) -> Res<Target> {
        let (name, args): (Option<&ast::Ident>, &[Arg]) = match &item.value.kind {
            ExprKind::Call { callee, args } => (callee.as_name(), args),
            ExprKind::Name(n) => (Some(n), &[]),
            _ => (None, &[]),
        };
        let kind = match name.map(|n| n.as_str()) {
            Some("cpu") => TargetKind::Cpu,
            Some("cuda") => TargetKind::Cuda,
            _ => return cx.err(codes::TARGET, item.value.span, "a target is `cpu(..)` or `cuda(..)`", "neither"),
        };
        let mut t = Target { name: item.name.name.clone(), kind, threads: 1, arch: None, tune: BTreeMap::new(), span };
        for a in args {
            match a.label.as_ref().map(|l| l.as_str()) {
                Some("threads") => match a.value.as_int() {
                    Some(n) if (1..=1024).contains(&n) => t.threads = n as usize,
                    _ => return cx.err(codes::TARGET, a.span, "`threads` is a number from 1 to 1024", "here"),
                },
                Some("isa") if a.value.as_name().is_some_and(|n| n.as_str() == "native") => {}
                Some("isa") => return cx.not_yet(a.span, "another `isa` than `native`"),
                Some("arch") => match a.value.as_str() {
                    Some(s) => t.arch = Some(s.to_string()),
                    None => return cx.err(codes::TARGET, a.span, "`arch` is a text", "expected `\"sm_90a\"`"),
                },
                _ => {
                    return cx.err(
                        codes::ARGUMENT,
                        a.span,
                        "a target has no such setting",
                        "expected threads, isa or arch",
                    );
                }
            }
        }
        for f in &item.fields {
            match self.axes.get(&f.name.name).map(|a| a.size) {
                Some(AxisSize::Range(lo, hi)) => match f.value.as_int() {
                    Some(n) if n >= lo && n <= hi => {
                        t.tune.insert(f.name.name.clone(), n);
                    }
                    _ => {
                        let text = format!("`{}` is tuned for a size in {lo}..{hi}", f.name.name);
                        return cx.err(codes::AXIS_SIZE, f.value.span, text, "outside its range");
                    }
                },
                Some(AxisSize::Fixed(_)) => {
                    return cx.err(codes::AXIS_SIZE, f.name.span, "only free axes are tuned", "this axis has a size");
                }
                None => return crate::model::unknown_axis(cx, self.axes, &f.name),
            }
        }
        Ok(t)
    }

    pub(crate) fn data_split(&self, cx: &mut Cx, e: &Expr) -> Res<(String, Option<String>)> {
        let (first, split) = match &e.kind {
            ExprKind::Name(n) => (n, None),
            ExprKind::Member { base, name } => match base.as_name() {
                Some(n) => (n, Some(name)),
                None => return cx.err(codes::WRONG_KIND, e.span, "a data source is needed", "expected `data.test`"),
            },
            _ => return cx.err(codes::WRONG_KIND, e.span, "a data source is needed", "expected `data.test`"),
        };
        let Some(d) = self.data.iter().find(|d| d.name == first.name) else {
            let known: Vec<&str> = self.data.iter().map(|d| d.name.as_str()).collect();
            return cx.unknown(first.span, "data source", &first.name, known);
        };
        if let Some(s) = split
            && !d.splits.iter().any(|(n, _)| *n == s.name)
        {
            return cx.unknown(s.span, "split", &s.name, d.splits.iter().map(|(n, _)| n.as_str()));
        }
        Ok((d.name.clone(), split.map(|s| s.name.clone())))
    }
}
