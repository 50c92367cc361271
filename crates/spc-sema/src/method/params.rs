//! Parameters of methods, and what is given for them.
use super::expr::Elab;
use super::{Ex, Given};
use crate::cx::{Cx, Res};
use crate::scope::{Names, Origin};
use crate::time::{self, Bound};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::BinFn;
use spc_ir::UnFn;
use spc_ir::method::{Compute, Fold, Input, Kind, Schedule, Space, Unit};
use spc_syntax::ast::{Arg, Expr, ExprKind, Ident, Param, ShareOf, TypeKind};
use std::collections::BTreeMap;

/// Kinds of parameters of updates and penalties.
pub(crate) const KINDS: [&str; 10] =
    ["constraint", "schedule", "score", "weight", "amount", "pct", "f32", "int", "bool", "data"];

/// The kind of a parameter.
pub(crate) fn kind<'p>(cx: &mut Cx, p: &'p Param) -> Res<&'p str> {
    match p.ty.as_ref().map(|t| (&t.kind, t.span)) {
        Some((TypeKind::Named { name, shape: None, .. }, _)) if KINDS.contains(&name.as_str()) => Ok(name.as_str()),
        Some((TypeKind::Named { name, shape: None, .. }, span)) => {
            cx.unknown(span, "kind of parameter", name.as_str(), KINDS)
        }
        Some((_, span)) => cx.err(codes::WRONG_KIND, span, "a method takes no tensors", "not a kind of parameter"),
        None => {
            let text = format!("the parameter `{}` of a method says its kind", p.name.name);
            cx.err(codes::WRONG_KIND, p.span, text, "expected for example `: f32`")
        }
    }
}

/// What is given for each parameter: arguments of a use, else defaults. A constraint that is not given is the one that
/// the method is used on, when `own` is set.
pub(crate) fn given(
    cx: &mut Cx,
    names: &Names<'_>,
    callee: (&Ident, &Origin, &[Param]),
    args: &[Arg],
    span: Span,
    user: &mut dyn FnMut(&mut Cx, &Expr, &str) -> Res<Given>,
    own: bool,
) -> Res<BTreeMap<String, Given>> {
    let (name, origin, params) = callee;
    let mut out = BTreeMap::new();
    let mut position = 0;
    // A constraint that is implied has no place in the list of arguments.
    let implied = |cx: &mut Cx, p: &Param| own && kind(cx, p).is_ok_and(|k| k == "constraint");
    for a in args {
        if !a.is_plain() {
            return cx.err(codes::ARGUMENT, a.span, "a plain argument is needed here", "not plain");
        }
        let param = match &a.label {
            Some(l) => params.iter().find(|p| p.name.name == l.name),
            None => {
                while params.get(position).is_some_and(|p| implied(cx, p)) {
                    position += 1;
                }
                position += 1;
                params.get(position - 1)
            }
        };
        let Some(p) = param else {
            let list = params.iter().map(|p| p.name.name.as_str()).collect::<Vec<_>>();
            let mut d = Diagnostic::error(codes::ARGUMENT, format!("`{}` has no such parameter", name.name))
                .at(a.span, "one too many, or an unknown name")
                .help(format!("its parameters are: {}", list.join(", ")));
            if let Some(l) = &a.label
                && let Some(near) = crate::cx::closest(l.as_str(), list)
            {
                d = d.fix(l.span, near);
            }
            return cx.report(d);
        };
        let k = kind(cx, p)?;
        let g = user(cx, &a.value, k)?;
        if out.insert(p.name.name.clone(), g).is_some() {
            return cx.err(codes::ARGUMENT, a.span, format!("`{}` is given twice", p.name.name), "again here");
        }
    }
    for p in params {
        if out.contains_key(&p.name.name) {
            continue;
        }
        let k = kind(cx, p)?;
        let g = match &p.default {
            Some(d) => argument(cx, names, origin, d, k)?,
            None if own && k == "constraint" => Given::Constraint(String::new()),
            None => {
                let text = format!("`{}` needs `{}`", name.name, p.name.name);
                return cx.err(codes::ARGUMENT, span, text, "an argument is missing");
            }
        };
        out.insert(p.name.name.clone(), g);
    }
    Ok(out)
}

/// An argument written in a file, for a parameter of this kind.
pub(crate) fn argument(cx: &mut Cx, names: &Names<'_>, origin: &Origin, e: &Expr, kind: &str) -> Res<Given> {
    match kind {
        "constraint" | "data" => match e.as_name() {
            Some(n) => Ok(Given::Constraint(n.name.clone())),
            None => cx.err(codes::WRONG_KIND, e.span, format!("the name of a {kind} is needed here"), "not a name"),
        },
        "score" | "weight" | "amount" => Ok(Given::Words { expr: e.clone(), origin: origin.clone() }),
        "bool" => match e.as_name().map(|n| n.as_str()) {
            Some("true") => Ok(Given::Bool(true)),
            Some("false") => Ok(Given::Bool(false)),
            _ => cx.err(codes::WRONG_KIND, e.span, "`true` or `false` is needed here", "neither"),
        },
        _ => {
            let s = time::lower_in(cx, names, origin, e)?;
            let constant = s.expr.is_constant();
            let fits = match kind {
                "pct" => s.unit == Unit::Share,
                "int" => constant && whole(&s),
                "f32" => constant || kind == "schedule",
                _ => true,
            };
            if s.unit == Unit::Truth || !fits {
                let need = match kind {
                    "pct" => "a percentage",
                    "int" => "a whole number that never changes",
                    "f32" => "a number that never changes",
                    _ => "a number",
                };
                return cx.err(codes::WRONG_KIND, e.span, format!("{need} is needed here"), "something else");
            }
            Ok(Given::Number(s))
        }
    }
}

fn whole(s: &Schedule) -> bool {
    s.at(&spc_ir::method::Moment::END).is_ok_and(|q| q.value.fract() == 0.0 && q.value >= 0.0)
}

impl Elab<'_> {
    /// Puts the parameters into scope of the body that is being built.
    pub fn bind(&mut self, cx: &mut Cx, params: &[Param], given: Option<&BTreeMap<String, Given>>) -> Res<()> {
        for p in params {
            let k = kind(cx, p)?;
            let name = &p.name.name;
            let none = Given::Open;
            let g = given.and_then(|g| g.get(name)).unwrap_or(&none);
            let ex = match (g, k) {
                (Given::Open, "constraint" | "data") => {
                    self.constraints.insert(name.clone(), name.clone());
                    continue;
                }
                (Given::Constraint(c), _) => {
                    self.constraints.insert(name.clone(), c.clone());
                    continue;
                }
                (Given::Open, _) => {
                    let (space, kind) = match k {
                        "bool" => (Space::Scalar, Kind::Bool),
                        "weight" => (Space::Group, Kind::Float),
                        "score" => (Space::Element, Kind::Float),
                        _ => (Space::Scalar, Kind::Float),
                    };
                    self.b.input(Input::Param(name.clone()), space, kind)
                }
                (Given::Bool(b), _) => Ex::truth(*b),
                (Given::Number(s), _) => self.scheduled(s),
                (Given::Ready(e), _) => e.clone(),
                (Given::Words { expr, origin }, k) => self.words(cx, expr, origin, k)?,
            };
            self.vars.insert(name.clone(), ex);
        }
        Ok(())
    }

    /// A number or schedule as a scalar.
    pub fn scheduled(&mut self, s: &Schedule) -> Ex {
        match s.at(&spc_ir::method::Moment::END) {
            Ok(q) if s.expr.is_constant() => self.b.number(q.value),
            _ => self.b.input(Input::Schedule(s.clone()), Space::Scalar, Kind::Float),
        }
    }

    /// A score, a weight or an amount, in the words of the file that wrote it.
    fn words(&mut self, cx: &mut Cx, e: &Expr, origin: &Origin, kind: &str) -> Res<Ex> {
        let mut vars = BTreeMap::new();
        if kind == "score" {
            vars.insert("w".to_string(), self.b.input(Input::Weight, Space::Element, Kind::Float));
            vars.insert("g".to_string(), self.b.input(Input::Grad, Space::Element, Kind::Float));
        } else {
            for (word, input) in
                [("size", Input::Size), ("cost", Input::Cost), ("flops", Input::Cost), ("energy", Input::Energy)]
            {
                vars.insert(word.to_string(), self.b.input(input, Space::Group, Kind::Float));
            }
        }
        let vars = std::mem::replace(&mut self.vars, vars);
        let origin = std::mem::replace(&mut self.origin, origin.clone());
        let index = self.index.take();
        let out = if kind == "amount" { self.amount(cx, e) } else { self.score(cx, e) };
        self.vars = vars;
        self.origin = origin;
        self.index = index;
        out
    }

    /// `abs`, the name of a score, or an expression.
    fn score(&mut self, cx: &mut Cx, e: &Expr) -> Res<Ex> {
        match e.as_name().map(|n| n.as_str()) {
            Some("abs") if self.vars.contains_key("w") => {
                let w = self.vars["w"].clone();
                Ok(Ex::un(UnFn::Abs, &w))
            }
            _ => Ok(self.expr(cx, e)?.float()),
        }
    }

    /// How many groups, or how much cost: `20`, `40%`, `40% of flops`.
    fn amount(&mut self, cx: &mut Cx, e: &Expr) -> Res<Ex> {
        if let ExprKind::Share { part, of: ShareOf::Name(n) } = &e.kind
            && let Some(whole) = self.vars.get(n.as_str()).cloned()
        {
            let arg = self.b.value(cx, &whole, e.span)?;
            let sum = self.b.push(Compute::Fold { fold: Fold::Sum, arg, guard: None }, Space::Scalar, Kind::Float);
            let part = self.time(cx, part)?;
            let part = self.scheduled(&part);
            return Ok(Ex::bin(BinFn::Mul, &part, &sum));
        }
        let s = self.time(cx, e)?;
        let part = self.scheduled(&s);
        if s.unit != Unit::Share {
            return Ok(part);
        }
        // ceil(p n), n groups.
        let size = self.b.input(Input::Size, Space::Group, Kind::Float);
        let any = Ex::bin(BinFn::Ge, &size, &Ex::literal(0.0));
        let arg = self.b.value(cx, &any, e.span)?;
        let n = self.b.push(Compute::Fold { fold: Fold::Count, arg, guard: None }, Space::Scalar, Kind::Float);
        let down = Ex::un(UnFn::Neg, &Ex::bin(BinFn::Mul, &part, &n));
        Ok(Ex::un(UnFn::Neg, &Ex::un(UnFn::Floor, &down)))
    }

    /// An expression over time, with the parameters in scope.
    pub fn time(&mut self, cx: &mut Cx, e: &Expr) -> Res<Schedule> {
        let env: Vec<(String, Bound)> = self.times.iter().map(|(n, b)| (n.clone(), b.clone())).collect();
        time::lower_bound(cx, self.names, &self.origin, e, env)
    }
}
