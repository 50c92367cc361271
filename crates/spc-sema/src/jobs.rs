//! `run`, `target` and `expect` items.
use crate::cx::{Cx, Res};
use crate::model::Axes;
use crate::module::{AxisSize, Compare, Data, DataRef, Expect, Measure, Model, Report, Run, Target, TargetKind};
use crate::require::Resolver;
use crate::scope::Names;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::Graph;
use spc_syntax::ast::{self, Arg, BinaryOp, Expr, ExprKind, FnItem, ItemKind};
use std::collections::BTreeMap;

pub struct Jobs<'a> {
    pub names: &'a Names<'a>,
    pub axes: &'a Axes,
    pub models: &'a [Model],
    pub data: &'a [Data],
    pub graphs: &'a BTreeMap<String, Graph>,
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

    fn function(&self, cx: &mut Cx, n: &ast::Ident) -> Res<&FnItem> {
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
            if !out.iter().any(|(n, _)| *n == p.name.name) {
                let text = format!("`{}` needs `{}`", f.name.name, p.name.name);
                return cx.err(codes::ARGUMENT, span, text, "an argument is missing");
            }
        }
        Ok(out)
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
        if row.is_none() {
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
        match &e.kind {
            ExprKind::Name(n) => match n.as_str() {
                "size" => Ok(Report::Size),
                "time" => Ok(Report::Time),
                "cosine" => Ok(Report::Cosine),
                "pairs" => Ok(Report::Pairs),
                "spearman" | "perplexity" => cx.not_yet(n.span, &format!("the report `{}`", n.name)),
                other => {
                    let mut d = Diagnostic::error(codes::REPORT, format!("there is no report `{other}`"))
                        .at(n.span, "unknown report")
                        .help("reports: accuracy(labels), cosine, pairs, size, time");
                    if let Some(near) = crate::cx::closest(other, ["accuracy", "cosine", "pairs", "size", "time"]) {
                        d = d.fix(n.span, near);
                    }
                    cx.report(d)
                }
            },
            ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "accuracy") => match args
                .as_slice()
            {
                [a] if a.label.is_none() => Ok(Report::Accuracy(self.data_ref(cx, &a.value)?)),
                _ => {
                    cx.err(codes::REPORT, e.span, "`accuracy` takes the labels", "expected `accuracy(data.test.label)`")
                }
            },
            _ => cx.err(
                codes::REPORT,
                e.span,
                "this is no report",
                "expected `accuracy(..)`, `cosine`, `pairs`, `size` or `time`",
            ),
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

    pub fn expect(&self, cx: &mut Cx, item: &ast::ExpectItem, resolver: &Resolver<'_>) -> Res<Expect> {
        let e = &item.value;
        let ExprKind::Binary { op, lhs, rhs, .. } = &e.kind else {
            return cx.err(codes::WRONG_KIND, e.span, "an expectation compares", "expected `size(net) <= 60 MiB`");
        };
        let compare = match op {
            BinaryOp::Ge => Compare::AtLeast,
            BinaryOp::Le => Compare::AtMost,
            _ => return cx.not_yet(e.span, "an expectation without `>=` or `<=`"),
        };
        let ExprKind::Call { callee, args } = &lhs.kind else {
            return cx.err(codes::WRONG_KIND, lhs.span, "a measure stands on the left", "expected `size(net)`");
        };
        let name = callee.as_name().map(|n| n.as_str()).unwrap_or_default();
        let plain: Vec<&Arg> = args.iter().filter(|a| a.label.is_none()).collect();
        let measure = match (name, plain.as_slice()) {
            ("size", [m]) => {
                for a in args.iter().filter(|a| a.label.is_some()) {
                    let on_disk = a.label.as_ref().is_some_and(|l| l.as_str() == "on")
                        && a.value.as_name().is_some_and(|n| n.as_str() == "disk");
                    if !on_disk {
                        return cx.not_yet(a.span, "this argument of `size`");
                    }
                }
                match m.value.as_name() {
                    Some(n) if self.models.iter().any(|m| m.name == n.name) => Measure::Size { model: n.name.clone() },
                    Some(n) => {
                        let known: Vec<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
                        return cx.unknown(n.span, "model", &n.name, known);
                    }
                    None => return cx.err(codes::WRONG_KIND, m.span, "`size` takes a model", "not a model"),
                }
            }
            ("sparsity", [w]) => {
                let chosen = resolver.select(cx, &w.value)?;
                if chosen.is_empty() {
                    return cx.err(codes::NOTHING_MATCHED, w.span, "no tensor is matched", "matches nothing");
                }
                let weights = chosen.into_iter().map(|(m, t)| self.models[m].tensors[t].path.clone()).collect();
                Measure::Sparsity { weights }
            }
            ("accuracy", [f, d]) => {
                let Some(n) = f.value.as_name() else {
                    return cx.err(codes::WRONG_KIND, f.span, "`accuracy` takes a function", "not a function");
                };
                self.function(cx, n)?;
                let (data, split) = self.data_split(cx, &d.value)?;
                Measure::Accuracy { function: n.name.clone(), data, split }
            }
            ("size" | "sparsity" | "accuracy", _) => {
                return cx.err(codes::ARGUMENT, lhs.span, format!("arguments do not fit `{name}`"), "here");
            }
            _ => return cx.not_yet(callee.span, &format!("the expectation `{name}`")),
        };
        let value = match (&rhs.kind, &measure) {
            (ExprKind::Pct(p), Measure::Sparsity { .. } | Measure::Accuracy { .. }) => p.fraction(),
            (ExprKind::Qty { num, unit }, Measure::Size { .. }) => match unit.as_str() {
                "bytes" => num.value,
                "KiB" => num.value * 1024.0,
                "MiB" => num.value * 1_048_576.0,
                "GiB" => num.value * 1_073_741_824.0,
                _ => return cx.err(codes::TYPE, unit.span, "a size is in bytes, KiB, MiB or GiB", "another unit"),
            },
            (_, Measure::Size { .. }) => {
                return cx.err(codes::TYPE, rhs.span, "a size is needed here", "expected for example `60 MiB`");
            }
            _ => return cx.err(codes::TYPE, rhs.span, "a percentage is needed here", "expected for example `95%`"),
        };
        Ok(Expect { measure, compare, value, span: e.span, text: String::new() })
    }

    fn data_split(&self, cx: &mut Cx, e: &Expr) -> Res<(String, Option<String>)> {
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
