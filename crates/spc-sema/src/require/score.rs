//! Scores: names that this version computes, expressions of a weight and its gradient, and scores from data, which are
//! checked only.
use super::{Resolver, words};
use crate::cx::{Cx, Res};
use spc_base::{Diagnostic, codes};
use spc_ir::{BinFn, ScalarExpr, Score, UnFn};
use spc_syntax::ast::{Arg, BinaryOp, Expr, ExprKind, ItemKind, UnaryOp};

/// Scores that data decides: each with the least and the greatest number of arguments, and whether the first is a data
/// source.
const FROM_DATA: &[(&str, usize, usize, bool)] =
    &[("wanda", 1, 2, true), ("obs", 1, 3, true), ("router", 1, 2, false), ("label_dot", 1, 2, false)];

const KNOWN: &[&str] = &["abs", "norm1", "norm2", "random", "wanda", "obs", "router", "label_dot"];

impl Resolver<'_> {
    pub fn score(&self, cx: &mut Cx, e: &Expr) -> Res<Score> {
        match &e.kind {
            ExprKind::Name(n) => match n.as_str() {
                "abs" => return Ok(Score::Abs),
                "norm1" => return Ok(Score::Norm1),
                "norm2" => return Ok(Score::Norm2),
                "w" | "g" => {}
                name => match self.names.find(&None, name) {
                    Some((_, ItemKind::Score(_))) => return Ok(Score::Data(words(e))),
                    _ => {
                        let known: Vec<&str> = KNOWN.iter().copied().chain(self.names.known()).collect();
                        return cx.unknown(n.span, "score", name, known);
                    }
                },
            },
            ExprKind::Call { callee, args } => {
                let item = match &callee.kind {
                    ExprKind::Name(n) if n.as_str() == "random" => return self.random(cx, e, args),
                    ExprKind::Name(n) => self.names.find(&None, &n.name).map(|i| i.1),
                    ExprKind::Member { base, name } => {
                        let module = base.as_name().map(|m| m.name.as_str()).unwrap_or_default();
                        self.names.find_member(module, &name.name).map(|i| i.1)
                    }
                    _ => None,
                };
                if let Some(ItemKind::Score(s)) = item {
                    return self.defined(cx, e, s, args);
                }
                if let Some(n) = callee.as_name() {
                    if let Some(known) = FROM_DATA.iter().find(|k| k.0 == n.as_str()) {
                        return self.data_score(cx, e, *known, args);
                    }
                    let function = UnFn::from_name(n.as_str()).is_some() || BinFn::from_name(n.as_str()).is_some();
                    if !function {
                        let known: Vec<&str> = KNOWN.iter().copied().chain(self.names.known()).collect();
                        return cx.unknown(n.span, "score", &n.name, known);
                    }
                }
            }
            _ => {}
        }
        Ok(Score::Map(self.pointwise(cx, e)?))
    }

    fn random(&self, cx: &mut Cx, e: &Expr, args: &[Arg]) -> Res<Score> {
        match args {
            [a] if a.label.as_ref().is_none_or(|l| l.as_str() == "seed") => match a.value.as_int() {
                Some(seed) => Ok(Score::Random(seed)),
                None => cx.err(codes::ARGUMENT, a.span, "`random` takes a seed", "not a whole number"),
            },
            _ => cx.err(codes::ARGUMENT, e.span, "`random` takes a seed", "expected `random(7)`"),
        }
    }

    fn data_score(
        &self,
        cx: &mut Cx,
        e: &Expr,
        (name, least, most, data): (&str, usize, usize, bool),
        args: &[Arg],
    ) -> Res<Score> {
        if args.len() < least || args.len() > most {
            let what = if data { "a data source" } else { "one argument" };
            return cx.err(codes::ARGUMENT, e.span, format!("`{name}` takes {what}"), "arguments do not fit");
        }
        if let (true, Some(first)) = (data, args.first()) {
            self.data_name(cx, &first.value)?;
        }
        Ok(Score::Data(words(e)))
    }

    /// A `score` item of the program or the library: its parameters are bound, by position or name.
    fn defined(&self, cx: &mut Cx, e: &Expr, s: &spc_syntax::ast::ScoreItem, args: &[Arg]) -> Res<Score> {
        let params = &s.sig.params;
        let mut given = vec![false; params.len()];
        for (i, a) in args.iter().enumerate() {
            let at = match &a.label {
                Some(l) => params.iter().position(|p| p.name.name == l.name),
                None => (i < params.len()).then_some(i),
            };
            match at.and_then(|at| given.get_mut(at)) {
                Some(g) if !*g => *g = true,
                _ => {
                    let names: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();
                    return cx.report(
                        Diagnostic::error(codes::ARGUMENT, format!("`{}` has no such parameter", s.name.name))
                            .at(a.span, "one too many, or an unknown name")
                            .help(format!("its parameters are: {}", names.join(", "))),
                    );
                }
            }
        }
        // `w` and `g`, and what the activations of a layer are, need no argument.
        let free = |p: &spc_syntax::ast::Param| matches!(p.name.as_str(), "w" | "g" | "x");
        let missing = params.iter().zip(&given).find(|(p, g)| !**g && p.default.is_none() && !free(p));
        if let Some((p, _)) = missing {
            let text = format!("`{}` needs `{}`", s.name.name, p.name.name);
            return cx.err(codes::ARGUMENT, e.span, text, "an argument is missing");
        }
        Ok(Score::Data(words(e)))
    }

    /// An expression of `w`, the weight, and `g`, its gradient.
    fn pointwise(&self, cx: &mut Cx, e: &Expr) -> Res<ScalarExpr> {
        cx.spend(1, e.span)?;
        let no = |cx: &mut Cx| {
            cx.report(
                Diagnostic::error(codes::WRONG_KIND, "this is no score")
                    .at(e.span, "not an expression of `w` and `g`")
                    .help("`w` is the weight and `g` its gradient: `abs(w * g)`"),
            )
        };
        match &e.kind {
            ExprKind::Num(n) => Ok(ScalarExpr::Const(n.value)),
            ExprKind::Name(n) => match n.as_str() {
                "w" => Ok(ScalarExpr::Arg(0)),
                "g" => Ok(ScalarExpr::Arg(1)),
                other => cx.unknown(n.span, "value in a score", other, ["w", "g"]),
            },
            ExprKind::Unary { op: UnaryOp::Neg, arg } => Ok(ScalarExpr::un(UnFn::Neg, self.pointwise(cx, arg)?)),
            ExprKind::Binary { op, lhs, rhs, .. } => {
                let f = match op {
                    BinaryOp::Add => BinFn::Add,
                    BinaryOp::Sub => BinFn::Sub,
                    BinaryOp::Mul => BinFn::Mul,
                    BinaryOp::Div => BinFn::Div,
                    BinaryOp::Pow => BinFn::Pow,
                    _ => return no(cx),
                };
                Ok(ScalarExpr::bin(f, self.pointwise(cx, lhs)?, self.pointwise(cx, rhs)?))
            }
            ExprKind::Call { callee, args } if args.iter().all(|a| a.is_plain() && a.label.is_none()) => {
                let name = callee.as_name().map(|n| n.as_str()).unwrap_or_default();
                let arithmetic = |f: &BinFn| !f.is_comparison() && !f.is_logic();
                match (args.as_slice(), UnFn::from_name(name), BinFn::from_name(name).filter(arithmetic)) {
                    ([a], Some(f), _) if f != UnFn::Not => Ok(ScalarExpr::un(f, self.pointwise(cx, &a.value)?)),
                    ([a, b], _, Some(f)) => {
                        Ok(ScalarExpr::bin(f, self.pointwise(cx, &a.value)?, self.pointwise(cx, &b.value)?))
                    }
                    _ => no(cx),
                }
            }
            _ => no(cx),
        }
    }
}
