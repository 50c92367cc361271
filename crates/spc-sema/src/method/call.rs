//! Functions inside hooks.
use super::Ex;
use super::expr::{Elab, Memory};
use crate::cx::{Cx, Res};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::method::{Compute, Fold, Input, Kind, Space};
use spc_ir::{BinFn, UnFn};
use spc_syntax::ast::{Arg, Expr, ExprKind, Ident, ItemKind, Scope, ScopeKind};

/// Functions of one number, of two, and those of their own kind.
const UNARY: [&str; 9] = ["abs", "sqrt", "exp", "log", "tanh", "sin", "cos", "floor", "erf"];
const OTHER: [&str; 18] = [
    "min",
    "max",
    "pow",
    "clip",
    "sign",
    "sum",
    "mean",
    "count",
    "top",
    "select",
    "random",
    "previous",
    "unbias",
    "root",
    "ceil",
    "round",
    "input_norm",
    "inverse_hessian",
];

impl Elab<'_> {
    pub fn call(&mut self, cx: &mut Cx, callee: &Expr, args: &[Arg], span: Span) -> Res<Ex> {
        let name = match &callee.kind {
            ExprKind::Name(n) => n,
            // `wgsef(keep).prox(a, tau)`
            ExprKind::Member { base, name } => {
                let module = base.as_name().map(|n| n.name.clone()).unwrap_or_default();
                if let Some((origin, ItemKind::Fn(f))) = self.names.find_member(&module, name.as_str()) {
                    return self.inline(cx, origin, f, args, span);
                }
                return self.part(cx, base, name, args, span);
            }
            _ => return cx.err(codes::WRONG_KIND, callee.span, "only a name can be called", "not a name"),
        };
        let f = name.as_str();
        if UNARY.contains(&f) {
            let [a] = self.plain(cx, name, args, span)?;
            return Ok(Ex::un(UnFn::from_name(f).unwrap_or(UnFn::Abs), &a));
        }
        match f {
            "min" | "max" if args.len() == 2 => {
                let [a, b] = self.plain(cx, name, args, span)?;
                Ok(Ex::bin(if f == "min" { BinFn::Min } else { BinFn::Max }, &a, &b))
            }
            "pow" => {
                let [a, b] = self.plain(cx, name, args, span)?;
                Ok(Ex::bin(BinFn::Pow, &a, &b))
            }
            "clip" => {
                let [x, low, high] = self.plain(cx, name, args, span)?;
                Ok(Ex::bin(BinFn::Min, &Ex::bin(BinFn::Max, &x, &low), &high))
            }
            "ceil" => {
                let [a] = self.plain(cx, name, args, span)?;
                Ok(Ex::un(UnFn::Neg, &Ex::un(UnFn::Floor, &Ex::un(UnFn::Neg, &a))))
            }
            "round" => {
                let [a] = self.plain(cx, name, args, span)?;
                Ok(Ex::un(UnFn::Floor, &Ex::bin(BinFn::Add, &a, &Ex::literal(0.5))))
            }
            "sign" => {
                let [a] = self.plain(cx, name, args, span)?;
                let zero = Ex::literal(0.0);
                let less = Ex::select(&Ex::bin(BinFn::Lt, &a, &zero), &Ex::literal(-1.0), &zero);
                Ok(Ex::select(&Ex::bin(BinFn::Gt, &a, &zero), &Ex::literal(1.0), &less))
            }
            // The first step has t = 1.
            "unbias" => {
                let [a, beta] = self.plain(cx, name, args, span)?;
                let step = self.b.input(Input::Step, Space::Scalar, Kind::Float);
                let one = Ex::literal(1.0);
                let power = Ex::bin(BinFn::Pow, &beta, &Ex::bin(BinFn::Add, &step, &one));
                Ok(Ex::bin(BinFn::Div, &a, &Ex::bin(BinFn::Sub, &one, &power)))
            }
            "sum" | "mean" | "min" | "max" | "count" => self.fold(cx, name, args, span),
            "previous" => match args {
                [a] if a.value.as_name().is_some_and(|n| self.memory.get(n.as_str()) == Some(&Memory::Mask)) => {
                    let n = a.value.as_name().map(|n| n.name.clone()).unwrap_or_default();
                    Ok(self.b.input(Input::Previous(n), Space::Element, Kind::Bool))
                }
                _ => cx.err(codes::ARGUMENT, span, "`previous` takes the name of a mask of the update", "here"),
            },
            "select" | "random" => self.choice(cx, name, args, span),
            "top" => self.top(cx, args, span),
            "root" => self.root(cx, args, span),
            "input_norm" | "inverse_hessian" => match args {
                [a] if a.value.as_name().is_some_and(|n| self.constraints.contains_key(n.as_str())) => {
                    Ok(self.b.input(Input::Param(f.to_string()), Space::Element, Kind::Float))
                }
                _ => cx.err(codes::ARGUMENT, span, format!("`{f}` takes a parameter of kind `data`"), "here"),
            },
            _ => {
                if let Some((_, ItemKind::Schedule(_))) = self.names.find(&self.origin, f) {
                    let e =
                        Expr { kind: ExprKind::Call { callee: Box::new(callee.clone()), args: args.to_vec() }, span };
                    let s = self.time(cx, &e)?;
                    return Ok(self.scheduled(&s));
                }
                if let Some((origin, ItemKind::Fn(item))) = self.names.find(&self.origin, f) {
                    return self.inline(cx, origin, item, args, span);
                }
                let own = self.known();
                let all = UNARY.into_iter().chain(OTHER).chain(own.iter().map(String::as_str));
                cx.unknown(name.span, "function", f, all)
            }
        }
    }

    /// `n` numbers, by position.
    fn plain<const N: usize>(&mut self, cx: &mut Cx, name: &Ident, args: &[Arg], span: Span) -> Res<[Ex; N]> {
        let mut out = Vec::new();
        for a in args {
            if a.label.is_some() || !a.is_plain() {
                let text = format!("`{}` takes plain arguments", name.name);
                return cx.err(codes::ARGUMENT, a.span, text, "not plain");
            }
            out.push(self.float(cx, &a.value)?);
        }
        let n = out.len();
        match out.try_into() {
            Ok(out) => Ok(out),
            Err(_) => {
                let text = format!("`{}` takes {N} argument{}", name.name, if N == 1 { "" } else { "s" });
                cx.err(codes::ARGUMENT, span, text, format!("{n} given"))
            }
        }
    }

    /// `sum(e over j)`, `mean(abs(w) where !m)`, `count(m)`, `count(m per c)`.
    fn fold(&mut self, cx: &mut Cx, name: &Ident, args: &[Arg], span: Span) -> Res<Ex> {
        let [a] = args else {
            return cx.err(codes::ARGUMENT, span, format!("`{}` takes one argument", name.name), "here");
        };
        if a.label.is_some() || a.by.is_some() || a.within.is_some() {
            return cx.err(codes::ARGUMENT, a.span, "this cannot stand here", "expected `over` or `where`");
        }
        for b in &a.over {
            let declared = self.index.as_deref() == Some(b.name.as_str());
            if !declared || b.within.is_some() {
                let text = format!("there is no index `{}` here", b.name.name);
                return cx.err(codes::INDEX, b.span, text, "not an index of this hook");
            }
        }
        let fold = match name.as_str() {
            "sum" => Fold::Sum,
            "mean" => Fold::Mean,
            "max" => Fold::Max,
            "min" => Fold::Min,
            _ => Fold::Count,
        };
        let x = if fold == Fold::Count { self.truth(cx, &a.value)? } else { self.float(cx, &a.value)? };
        if let Some(scope) = &a.per {
            self.scope(cx, scope)?;
            if fold != Fold::Count || x.space != Space::Element || a.guard.is_some() {
                return cx.err(codes::ARGUMENT, a.span, "only a mask is counted `per` a constraint", "here");
            }
            let mask = self.b.value(cx, &x, a.span)?;
            return Ok(self.b.push(Compute::CountPer { mask }, Space::Scope, Kind::Float));
        }
        let guard = match &a.guard {
            Some(g) => Some((self.truth(cx, g)?, g.span)),
            None => None,
        };
        let space = guard.as_ref().map_or(x.space, |(g, _)| g.space.max(x.space));
        if space == Space::Scalar && self.index.is_some() {
            return cx.err(codes::ARGUMENT, a.span, "there is nothing to run over", "the same for every group");
        }
        // Both range over the same positions.
        let x = if x.space == space { x } else { self.widen(&x, space) };
        let arg = self.b.value(cx, &x, a.span)?;
        let guard = match guard {
            Some((g, at)) => {
                let g = if g.space == space { g } else { self.widen_truth(&g, space) };
                Some(self.b.value(cx, &g, at)?)
            }
            None => None,
        };
        Ok(self.b.push(Compute::Fold { fold, arg, guard }, Space::Scalar, Kind::Float))
    }

    /// The same value in a wider space.
    pub fn widen(&mut self, x: &Ex, space: Space) -> Ex {
        let wide = match space {
            Space::Element => self.b.input(Input::Weight, Space::Element, Kind::Float),
            _ => self.b.input(Input::Norms, Space::Group, Kind::Float),
        };
        // A condition on the wide value that is always true.
        let above = Ex::bin(BinFn::Ge, &wide, &Ex::literal(0.0));
        let always = Ex::bin(BinFn::Or, &above, &Ex::un(UnFn::Not, &above));
        Ex::select(&always, x, x)
    }

    fn widen_truth(&mut self, x: &Ex, space: Space) -> Ex {
        self.widen(x, space)
    }

    /// `per c`
    fn scope(&mut self, cx: &mut Cx, s: &Scope) -> Res<()> {
        let name = match &s.kind {
            ScopeKind::Expr(e) => e.as_name(),
            _ => None,
        };
        match name {
            Some(n) if self.constraints.contains_key(n.as_str()) => Ok(()),
            _ => cx.err(
                codes::ARGUMENT,
                s.span,
                "`per` names a constraint here",
                "expected a parameter of kind `constraint`",
            ),
        }
    }

    fn constraint(&mut self, cx: &mut Cx, e: &Expr) -> Res<()> {
        match e.as_name() {
            Some(n) if self.constraints.contains_key(n.as_str()) => Ok(()),
            Some(n) => {
                let known: Vec<String> = self.constraints.keys().cloned().collect();
                cx.unknown(n.span, "constraint", n.as_str(), known.iter().map(String::as_str))
            }
            None => cx.err(codes::WRONG_KIND, e.span, "the name of a constraint is needed here", "not a name"),
        }
    }

    /// `select(c)`, `random(c)`, `random(c, seed: 7)`; as a score, `random(7)`.
    fn choice(&mut self, cx: &mut Cx, name: &Ident, args: &[Arg], span: Span) -> Res<Ex> {
        let seed = |a: &Arg| a.value.as_int();
        if name.as_str() == "random"
            && let [a] = args
            && let Some(seed) = seed(a)
        {
            return Ok(self.b.push(Compute::Noise { seed }, Space::Element, Kind::Float));
        }
        let (first, rest) = match args {
            [first, rest @ ..] if rest.len() <= 1 => (first, rest.first()),
            _ => return cx.err(codes::ARGUMENT, span, format!("`{}` takes a constraint", name.name), "here"),
        };
        self.constraint(cx, &first.value)?;
        if !self.may_choose {
            return cx.report(
                Diagnostic::error(codes::HOOK, format!("`{}` stands in a mask of the update", name.name))
                    .at(span, "a choice is made once for all hooks")
                    .help("write `mask m = select(c)` and use `m`"),
            );
        }
        match (name.as_str(), rest) {
            ("select", None) => Ok(self.b.push(Compute::Select, Space::Element, Kind::Bool)),
            ("random", None) => Ok(self.b.push(Compute::RandomChoice { seed: 0 }, Space::Element, Kind::Bool)),
            ("random", Some(a)) if seed(a).is_some() && a.label.as_ref().is_none_or(|l| l.as_str() == "seed") => {
                let seed = seed(a).unwrap_or_default();
                Ok(self.b.push(Compute::RandomChoice { seed }, Space::Element, Kind::Bool))
            }
            _ => cx.err(codes::ARGUMENT, span, format!("`{}` takes a constraint", name.name), "too many arguments"),
        }
    }

    /// `top(n, by: abs(w), among: m, per: c)`
    fn top(&mut self, cx: &mut Cx, args: &[Arg], span: Span) -> Res<Ex> {
        let (mut n, mut by, mut among, mut per) = (None, None, None, false);
        for a in args {
            let label = a.label.as_ref().map(|l| l.as_str());
            match label {
                None if n.is_none() => n = Some(self.float(cx, &a.value)?),
                Some("by") => by = Some(self.float(cx, &a.value)?),
                Some("among") => among = Some(self.truth(cx, &a.value)?),
                Some("per") => {
                    self.constraint(cx, &a.value)?;
                    per = true;
                }
                _ => {
                    let d = Diagnostic::error(codes::ARGUMENT, "`top` has no such argument")
                        .at(a.span, "unknown")
                        .help("write `top(n, by: abs(w), among: m, per: c)`");
                    return cx.report(d);
                }
            }
        }
        let (Some(n), Some(by), true) = (n, by, per) else {
            let d = Diagnostic::error(codes::ARGUMENT, "`top` needs a number, `by:` and `per:`")
                .at(span, "an argument is missing")
                .help("write `top(n, by: abs(w), per: c)`, and `among: m` to choose only where a mask is true");
            return cx.report(match self.constraints.is_empty() {
                true => d.note("`per:` takes the update's parameter of kind `constraint`, whose scopes it counts in: `update u(c: constraint)`"),
                false => d.note("`per:` takes the parameter of kind `constraint`, whose scopes it counts in"),
            });
        };
        if n.space > Space::Scope {
            return cx.err(codes::TYPE, span, "the number is one for each scope", "not one number");
        }
        let by = if by.space == Space::Element { by } else { self.widen(&by, Space::Element) };
        let n = self.b.value(cx, &n, span)?;
        let by = self.b.value(cx, &by, span)?;
        let among = match among {
            Some(a) => {
                let a = if a.space == Space::Element { a } else { self.widen_truth(&a, Space::Element) };
                Some(self.b.value(cx, &a, span)?)
            }
            None => None,
        };
        Ok(self.b.push(Compute::Top { n, by, among }, Space::Element, Kind::Bool))
    }
}
