//! Clauses that act in time, and those that weights do not take.
use super::Resolver;
use crate::cx::{Cx, Res};
use spc_base::{Diagnostic, codes};
use spc_syntax::ast::{Every, Expr, ExprKind, ItemKind, Sentence};

impl Resolver<'_> {
    /// Checks the clauses of all sentences that say how and when a constraint acts in training. They do not change what it
    /// keeps, so nothing of them is left in the data.
    pub fn check_clauses(&self, cx: &mut Cx, s: &Sentence) -> Res<()> {
        let mut next = Some(s);
        while let Some(s) = next {
            let c = &s.clauses;
            if let Some(a) = &c.always {
                return cx.report(
                    Diagnostic::error(codes::WRONG_KIND, "`always` is for values of a running program")
                        .at(a.span, "weights have no first and last")
                        .help("tokens, pages and experts have an order: `keep 25% of page per (KV, T) always first 1`"),
                );
            }
            if let Some(by) = c.by.as_ref().filter(|b| b.joint && s.then.is_none()) {
                return cx.err(
                    codes::WRONG_KIND,
                    by.span,
                    "`by joint` looks at what the next sentence keeps",
                    "no `then keep` follows",
                );
            }
            if let Some(v) = &c.via {
                self.update(cx, &v.value)?;
            }
            if let Some(at) = &c.at {
                self.time(cx, &at.value)?;
            }
            if let Some(every) = &c.every {
                self.every(cx, every)?;
            }
            next = s.then.as_deref();
        }
        Ok(())
    }

    /// `via sr_ste(lambda: 2e-4)` names an update.
    fn update(&self, cx: &mut Cx, e: &Expr) -> Res<()> {
        let callee = match &e.kind {
            ExprKind::Call { callee, .. } => callee,
            _ => e,
        };
        let (name, item) = match &callee.kind {
            ExprKind::Name(n) => (n, self.names.find(&None, &n.name)),
            ExprKind::Member { base, name } => {
                let module = base.as_name().map(|m| m.name.as_str()).unwrap_or_default();
                (name, self.names.find_member(module, &name.name))
            }
            _ => return cx.err(codes::WRONG_KIND, e.span, "this is no update", "expected for example `sr_ste()`"),
        };
        match item {
            Some((_, ItemKind::Update(_))) => Ok(()),
            Some(_) => cx.err(codes::WRONG_KIND, name.span, format!("`{}` is no update", name.name), "of another kind"),
            None if self.names.lib.names("updates").contains(&name.as_str()) => cx.report(
                Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no update `{}`", name.name))
                    .at(name.span, "not imported")
                    .help(format!("add `use std.updates.{}`", name.name)),
            ),
            None => {
                let known: Vec<&str> = self.names.known();
                cx.unknown(name.span, "update", &name.name, known)
            }
        }
    }

    /// `at end`, `at 40%`, `at 100 steps`, `at calibration(calib)`.
    pub fn time(&self, cx: &mut Cx, e: &Expr) -> Res<()> {
        match &e.kind {
            ExprKind::Name(n) if matches!(n.as_str(), "start" | "end") => Ok(()),
            ExprKind::Name(n) => cx.unknown(n.span, "time", &n.name, ["start", "end", "calibration"]),
            ExprKind::Pct(_) | ExprKind::Qty { .. } => Ok(()),
            ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "calibration") => {
                match args.as_slice() {
                    [a] => self.data_name(cx, &a.value),
                    _ => cx.err(codes::ARGUMENT, e.span, "`calibration` takes a data source", "expected one"),
                }
            }
            _ => cx.err(codes::WRONG_KIND, e.span, "this is no time", "expected `end`, `40%` or `100 steps`"),
        }
    }

    fn every(&self, cx: &mut Cx, e: &Every) -> Res<()> {
        self.positive(cx, &e.count)?;
        if let Some(unit) = &e.unit
            && !matches!(unit.as_str(), "step" | "steps" | "epochs")
        {
            let text = "`every` counts steps or epochs";
            return cx.err(codes::WRONG_KIND, unit.span, text, "another unit");
        }
        match &e.until {
            Some(u) => self.time(cx, u),
            None => Ok(()),
        }
    }

    /// The name of a data source, or of a part of one.
    pub fn data_name(&self, cx: &mut Cx, e: &Expr) -> Res<()> {
        let mut root = e;
        while let ExprKind::Member { base, .. } = &root.kind {
            root = base;
        }
        let Some(n) = root.as_name() else {
            return cx.err(codes::WRONG_KIND, e.span, "a data source is needed here", "not one");
        };
        match self.names.find(&None, &n.name) {
            Some((_, ItemKind::Data(_))) => Ok(()),
            Some(_) => cx.err(codes::WRONG_KIND, n.span, format!("`{}` is no data source", n.name), "of another kind"),
            None => {
                let known: Vec<&str> = self
                    .names
                    .items
                    .iter()
                    .filter(|(_, i)| matches!(i.kind, ItemKind::Data(_)))
                    .map(|(n, _)| *n)
                    .collect();
                cx.unknown(n.span, "data source", &n.name, known)
            }
        }
    }
}
