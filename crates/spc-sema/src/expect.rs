//! `expect` items: what is promised about a number.
use crate::cx::{Cx, Res};
use crate::jobs::Jobs;
use crate::module::{Compare, Expect, Measure};
use crate::require::Resolver;
use crate::require::words;
use spc_base::codes;
use spc_syntax::ast::{self, Arg, BinaryOp, Expr, ExprKind, Ident, ItemKind};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    Share,
    /// A share or a count.
    Count,
    Number,
    Time,
}

/// Measures, what they count, and an example.
const MEASURES: [(&str, Unit, &str); 10] = [
    ("size", Unit::Bytes, "size(net, on: disk)"),
    ("sparsity", Unit::Share, "sparsity(net.w1)"),
    ("accuracy", Unit::Share, "accuracy(classify, data.test)"),
    ("kept", Unit::Count, "kept(neuron)"),
    ("cosine", Unit::Number, "cosine(embed, on: eval, over: dense)"),
    ("spearman", Unit::Number, "spearman(embed, on: eval, over: dense)"),
    ("perplexity", Unit::Number, "perplexity(decode, on: eval)"),
    ("time", Unit::Time, "time(classify, on: laptop)"),
    ("speedup", Unit::Number, "speedup(classify, on: laptop, over: dense)"),
    ("flops", Unit::Share, "flops(classify, over: dense)"),
];

impl Jobs<'_> {
    pub fn expect(&self, cx: &mut Cx, item: &ast::ExpectItem, resolver: &Resolver<'_>) -> Res<Expect> {
        let e = &item.value;
        let ExprKind::Binary { op, lhs, rhs, .. } = &e.kind else {
            return cx.err(codes::WRONG_KIND, e.span, "an expectation compares", "expected `size(net) <= 60 MiB`");
        };
        let compare = match op {
            BinaryOp::Ge => Compare::AtLeast,
            BinaryOp::Le => Compare::AtMost,
            BinaryOp::Gt => Compare::Above,
            BinaryOp::Lt => Compare::Below,
            BinaryOp::Eq => Compare::Equal,
            _ => {
                let text = "an expectation compares a measure with a bound";
                return cx.err(codes::WRONG_KIND, e.span, text, "expected `size(net) <= 60 MiB`");
            }
        };
        let ExprKind::Call { callee, args } = &lhs.kind else {
            return cx.err(codes::WRONG_KIND, lhs.span, "a measure stands on the left", "expected `size(net)`");
        };
        let (measure, unit) = self.measure(cx, lhs, callee, args, resolver)?;
        let (measure, value) = match self.bound(cx, rhs, unit, resolver)? {
            Some(v) => (measure, v),
            // Compared with another measurement.
            None => {
                let what = callee.as_name().map(|n| format!("`{}` beside another measure", n.name)).unwrap_or_default();
                (Measure::Later { what }, 0.0)
            }
        };
        Ok(Expect { measure, compare, value, span: e.span, text: words(e) })
    }

    fn measure(
        &self,
        cx: &mut Cx,
        whole: &Expr,
        callee: &Expr,
        args: &[Arg],
        resolver: &Resolver<'_>,
    ) -> Res<(Measure, Unit)> {
        let name = callee.as_name().map(Ident::as_str).unwrap_or_default();
        let Some((_, unit, example)) = MEASURES.iter().find(|m| m.0 == name) else {
            return cx.unknown(callee.span, "measure", name, MEASURES.map(|m| m.0));
        };
        let plain: Vec<&Arg> = args.iter().filter(|a| a.label.is_none()).collect();
        let labels: Vec<&str> = args.iter().filter_map(|a| a.label.as_ref()).map(Ident::as_str).collect();
        let allowed: &[&str] = match name {
            "size" => &["on"],
            "cosine" | "spearman" | "speedup" => &["on", "over"],
            "perplexity" => &["on", "of"],
            "time" => &["on", "of"],
            "flops" => &["over"],
            _ => &[],
        };
        if let Some(bad) = args.iter().find(|a| a.label.as_ref().is_some_and(|l| !allowed.contains(&l.as_str()))) {
            let text = format!("`{name}` has no such argument");
            return cx.err(codes::ARGUMENT, bad.span, text, format!("expected `{example}`"));
        }
        let needed = match name {
            "cosine" | "spearman" | "speedup" => 2,
            "perplexity" | "time" | "flops" => 1,
            _ => 0,
        };
        let count = if name == "accuracy" { 2 } else { 1 };
        if plain.len() != count || labels.len() < needed {
            let text = format!("arguments do not fit `{name}`");
            return cx.err(codes::ARGUMENT, whole.span, text, format!("expected `{example}`"));
        }
        for a in args {
            if let Some(l) = &a.label {
                self.labelled(cx, name, l.as_str(), &a.value)?;
            }
        }
        let first = &plain[0].value;
        let later = Measure::Later { what: format!("the measure `{name}`") };
        let measure = match name {
            "size" => match first.as_name() {
                Some(n) if self.models.iter().any(|m| m.name == n.name) => Measure::Size { model: n.name.clone() },
                Some(n) => {
                    let known: Vec<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
                    return cx.unknown(n.span, "model", &n.name, known);
                }
                None => return cx.err(codes::WRONG_KIND, first.span, "`size` takes a model", "not a model"),
            },
            "sparsity" => {
                let chosen = resolver.select(cx, first)?;
                if chosen.is_empty() {
                    return cx.err(codes::NOTHING_MATCHED, first.span, "no tensor is matched", "matches nothing");
                }
                let weights = chosen.into_iter().map(|(m, t)| self.models[m].tensors[t].path.clone()).collect();
                Measure::Sparsity { weights }
            }
            "kept" => match first.as_name() {
                Some(n) if self.names.group(n.as_str()).is_some() => later,
                Some(n) => {
                    let groups = self.names.items.iter().filter(|(_, i)| matches!(i.kind, ItemKind::Group(_)));
                    return cx.unknown(n.span, "group", &n.name, groups.map(|(n, _)| *n).collect::<Vec<_>>());
                }
                None => return cx.err(codes::WRONG_KIND, first.span, "`kept` takes a group", "not a group"),
            },
            _ => {
                let Some(n) = first.as_name() else {
                    let text = format!("`{name}` takes a function");
                    return cx.err(codes::WRONG_KIND, first.span, text, "not a function");
                };
                self.function(cx, n)?;
                match plain.get(1) {
                    Some(d) => {
                        let (data, split) = self.data_split(cx, &d.value)?;
                        Measure::Accuracy { function: n.name.clone(), data, split }
                    }
                    None => later,
                }
            }
        };
        Ok((measure, *unit))
    }

    /// `on: disk`, `on: laptop`, `on: eval`, `over: dense`.
    fn labelled(&self, cx: &mut Cx, measure: &str, label: &str, value: &Expr) -> Res<()> {
        let name = value.as_name().map(Ident::as_str).unwrap_or_default();
        match (measure, label) {
            (_, "over" | "of") => match name {
                "dense" | "dense_best" => Ok(()),
                _ => cx.err(codes::ARGUMENT, value.span, "compared with what", "expected `dense` or `dense_best`"),
            },
            ("size", _) => match name {
                "disk" => Ok(()),
                _ => cx.not_yet(value.span, "this argument of `size`"),
            },
            ("time" | "speedup", _) => {
                let targets = self.names.items.iter().filter(|(_, i)| matches!(i.kind, ItemKind::Target(_)));
                let known: Vec<&str> = targets.map(|(n, _)| *n).collect();
                if known.contains(&name) { Ok(()) } else { cx.unknown(value.span, "target", name, known) }
            }
            _ => self.data_split(cx, value).map(|_| ()),
        }
    }

    /// The number on the right; `None` where it depends on a measurement.
    fn bound(&self, cx: &mut Cx, e: &Expr, unit: Unit, resolver: &Resolver<'_>) -> Res<Option<f64>> {
        match (&e.kind, unit) {
            (ExprKind::Pct(p), Unit::Share | Unit::Count | Unit::Number) => Ok(Some(p.fraction())),
            (ExprKind::Num(n), Unit::Number | Unit::Count) => Ok(Some(n.value)),
            (ExprKind::Name(n), _) => match self.consts.get(self.names, &None, n.as_str()) {
                Some(v) if unit != Unit::Bytes && unit != Unit::Time && v.number().is_some() => Ok(v.number()),
                _ => cx.err(codes::TYPE, e.span, "a number is needed here", "not one that fits the measure"),
            },
            (ExprKind::Qty { num, unit: u }, Unit::Bytes) => match u.as_str() {
                "bytes" => Ok(Some(num.value)),
                "KiB" => Ok(Some(num.value * 1024.0)),
                "MiB" => Ok(Some(num.value * 1_048_576.0)),
                "GiB" => Ok(Some(num.value * 1_073_741_824.0)),
                _ => cx.err(codes::TYPE, u.span, "a size is in bytes, KiB, MiB or GiB", "another unit"),
            },
            (ExprKind::Qty { num, unit: u }, Unit::Time) => match u.as_str() {
                "ms" => Ok(Some(num.value / 1e3)),
                "us" => Ok(Some(num.value / 1e6)),
                _ => cx.err(codes::TYPE, u.span, "a time is in ms or us", "another unit"),
            },
            (
                ExprKind::Binary {
                    op: BinaryOp::Mul | BinaryOp::Add | BinaryOp::Sub | BinaryOp::Div, lhs, rhs, ..
                },
                _,
            ) => {
                for part in [lhs, rhs] {
                    match &part.kind {
                        ExprKind::Num(_) | ExprKind::Pct(_) => {}
                        _ => {
                            self.bound(cx, part, unit, resolver)?;
                        }
                    }
                }
                Ok(None)
            }
            (ExprKind::Call { callee, args }, _) => {
                let (_, other) = self.measure(cx, e, callee, args, resolver)?;
                if other != unit {
                    return cx.err(codes::TYPE, e.span, "the measures count different things", "another unit");
                }
                Ok(None)
            }
            (_, Unit::Bytes) => cx.err(codes::TYPE, e.span, "a size is needed here", "expected for example `60 MiB`"),
            (_, Unit::Time) => cx.err(codes::TYPE, e.span, "a time is needed here", "expected for example `800 us`"),
            (_, Unit::Share) => {
                cx.err(codes::TYPE, e.span, "a percentage is needed here", "expected for example `95%`")
            }
            (_, Unit::Count) => {
                cx.err(codes::TYPE, e.span, "a percentage or a count is needed here", "expected `40%` or `20`")
            }
            (_, Unit::Number) => cx.err(codes::TYPE, e.span, "a number is needed here", "expected for example `1.5`"),
        }
    }
}
