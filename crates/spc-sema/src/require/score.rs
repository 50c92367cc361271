//! Scores: names that this version computes, expressions of a weight and its gradient, and scores from data, which are
//! checked only.
use super::{Resolver, words};
use crate::cx::{Cx, Res};
use spc_base::{Diagnostic, codes};
use spc_ir::{BinFn, ScalarExpr, Score, UnFn};
use spc_syntax::ast::{Arg, BinaryOp, Expr, ExprKind, ItemKind, UnaryOp};
use std::collections::BTreeMap;

/// Scores that data decides: each with the least and the greatest number of arguments, and whether the first is a data
/// source.
const FROM_DATA: &[(&str, usize, usize, bool)] =
    &[("wanda", 1, 2, true), ("obs", 1, 3, true), ("router", 1, 2, false), ("label_dot", 1, 2, false)];

/// What the parameters of a score stand for.
#[derive(Default)]
struct Env {
    numbers: BTreeMap<String, f64>,
    /// Data sources, as written.
    data: BTreeMap<String, String>,
    /// The source whose inputs are measured.
    used: Option<String>,
}

impl Env {
    fn score(self, x: ScalarExpr) -> Score {
        match self.used {
            Some(data) => Score::Inputs(x, data),
            None => Score::Map(x),
        }
    }
}

/// Whether a function is called somewhere.
fn mentions(e: &Expr, name: &str) -> bool {
    match &e.kind {
        ExprKind::Unary { arg, .. } => mentions(arg, name),
        ExprKind::Binary { lhs, rhs, .. } => mentions(lhs, name) || mentions(rhs, name),
        ExprKind::Call { callee, args } => {
            callee.as_name().is_some_and(|n| n.as_str() == name) || args.iter().any(|a| mentions(&a.value, name))
        }
        _ => false,
    }
}

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
                    Some((_, ItemKind::Score(s))) => return self.defined(cx, e, s, &[]),
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
                if let (Some("wanda"), [a]) = (callee.as_name().map(|n| n.as_str()), args.as_slice()) {
                    self.data_name(cx, &a.value)?;
                    let x =
                        ScalarExpr::bin(BinFn::Mul, ScalarExpr::un(UnFn::Abs, ScalarExpr::Arg(0)), ScalarExpr::Arg(2));
                    return Ok(Score::Inputs(x, words(&a.value)));
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
        let mut env = Env::default();
        let x = self.pointwise(cx, e, &mut env)?;
        Ok(env.score(x))
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
        if crate::method::scores_weights(s)
            && let spc_syntax::ast::Body::Expr(value) = &s.sig.body
            && !mentions(value, "inverse_hessian")
        {
            return self.inlined(cx, e, s, args, value);
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

    /// A score of single weights, written out with its arguments.
    fn inlined(&self, cx: &mut Cx, e: &Expr, s: &spc_syntax::ast::ScoreItem, args: &[Arg], value: &Expr) -> Res<Score> {
        let mut env = Env::default();
        let mut position = 0;
        let mut given: BTreeMap<&str, &Expr> = BTreeMap::new();
        for a in args {
            let name = match &a.label {
                Some(l) => l.as_str(),
                None => {
                    position += 1;
                    s.sig.params.get(position - 1).map_or("", |p| p.name.as_str())
                }
            };
            given.insert(name, &a.value);
        }
        for p in &s.sig.params {
            let Some(x) = given.get(p.name.as_str()).copied().or(p.default.as_ref()) else {
                let text = format!("`{}` needs `{}`", s.name.name, p.name.name);
                return cx.err(codes::ARGUMENT, e.span, text, "an argument is missing");
            };
            match p.ty.as_ref().map(|t| &t.kind) {
                Some(spc_syntax::ast::TypeKind::Named { name, .. }) if name.as_str() == "data" => {
                    self.data_name(cx, x)?;
                    env.data.insert(p.name.name.clone(), words(x));
                }
                _ => {
                    let q = crate::time::at(cx, self.names, x, self.moment)?;
                    env.numbers.insert(p.name.name.clone(), q.value);
                }
            }
        }
        let x = self.pointwise(cx, value, &mut env)?;
        Ok(env.score(x))
    }

    /// An expression of `w`, the weight, `g`, its gradient, and the inputs that it meets.
    fn pointwise(&self, cx: &mut Cx, e: &Expr, env: &mut Env) -> Res<ScalarExpr> {
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
                other if env.numbers.contains_key(other) => Ok(ScalarExpr::Const(env.numbers[other])),
                other => cx.unknown(n.span, "value in a score", other, ["w", "g"]),
            },
            ExprKind::Unary { op: UnaryOp::Neg, arg } => Ok(ScalarExpr::un(UnFn::Neg, self.pointwise(cx, arg, env)?)),
            ExprKind::Binary { op, lhs, rhs, .. } => {
                let f = match op {
                    BinaryOp::Add => BinFn::Add,
                    BinaryOp::Sub => BinFn::Sub,
                    BinaryOp::Mul => BinFn::Mul,
                    BinaryOp::Div => BinFn::Div,
                    BinaryOp::Pow => BinFn::Pow,
                    _ => return no(cx),
                };
                Ok(ScalarExpr::bin(f, self.pointwise(cx, lhs, env)?, self.pointwise(cx, rhs, env)?))
            }
            ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "input_norm") => {
                let [a] = args.as_slice() else {
                    return cx.err(codes::ARGUMENT, e.span, "`input_norm` takes a data source", "expected one");
                };
                let data = match a.value.as_name().and_then(|n| env.data.get(n.as_str())) {
                    Some(data) => data.clone(),
                    None => {
                        self.data_name(cx, &a.value)?;
                        words(&a.value)
                    }
                };
                if env.used.as_ref().is_some_and(|u| *u != data) {
                    return cx.err(codes::ARGUMENT, a.span, "a score measures inputs over one data source", "a second");
                }
                env.used = Some(data);
                Ok(ScalarExpr::Arg(2))
            }
            ExprKind::Call { callee, args } if args.iter().all(|a| a.is_plain() && a.label.is_none()) => {
                let name = callee.as_name().map(|n| n.as_str()).unwrap_or_default();
                let arithmetic = |f: &BinFn| !f.is_comparison() && !f.is_logic();
                match (args.as_slice(), UnFn::from_name(name), BinFn::from_name(name).filter(arithmetic)) {
                    ([a], Some(f), _) if f != UnFn::Not => Ok(ScalarExpr::un(f, self.pointwise(cx, &a.value, env)?)),
                    ([a, b], _, Some(f)) => {
                        Ok(ScalarExpr::bin(f, self.pointwise(cx, &a.value, env)?, self.pointwise(cx, &b.value, env)?))
                    }
                    _ => no(cx),
                }
            }
            _ => no(cx),
        }
    }
}
