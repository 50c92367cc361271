//! Expressions: a Pratt parser over the flat list of operands and operators.
use super::{Builder, Built, Kids, Pair, Stop, odd};
use crate::ast::*;
use spc_base::{Diagnostic, Span, codes};
use spc_grammar::Rule;
use std::iter::Peekable;
use std::vec::IntoIter;

/// What an infix operator makes of its operands.
#[derive(Clone, Copy)]
enum Infix {
    Arrow,
    Range,
    Binary(BinaryOp),
}

/// Binding powers (left, right) from loose to tight: `->`, `..`, `||`, `&&`, comparisons, `&`, `+ -`, `* /`, prefix, `^`.
fn infix(text: &str) -> Option<(Infix, u8, u8)> {
    use BinaryOp::{Add, And, Div, Eq, Ge, Gt, Join, Le, Lt, Mul, Ne, Or, Pow, Sub};
    let binary = |op, left, right| Some((Infix::Binary(op), left, right));
    match text {
        "->" => Some((Infix::Arrow, 1, 2)),
        ".." => Some((Infix::Range, 3, 4)),
        "||" => binary(Or, 5, 6),
        "&&" => binary(And, 7, 8),
        "==" => binary(Eq, 9, 10),
        "!=" => binary(Ne, 9, 10),
        "<" => binary(Lt, 9, 10),
        "<=" => binary(Le, 9, 10),
        ">" => binary(Gt, 9, 10),
        ">=" => binary(Ge, 9, 10),
        "&" => binary(Join, 11, 12),
        "+" => binary(Add, 13, 14),
        "-" => binary(Sub, 13, 14),
        "*" => binary(Mul, 15, 16),
        "/" => binary(Div, 15, 16),
        "^" => binary(Pow, 20, 19),
        _ => None,
    }
}

const PREFIX_POWER: u8 = 17;

/// A sentence inside an expression counts for this many levels: it is a large node, and nobody nests them deeply.
const SENTENCE_LEVELS: usize = 16;

impl Builder<'_> {
    /// Rules `expr` and `cond`.
    pub fn expr(&mut self, pair: Pair<'_>) -> Built<Expr> {
        let span = self.span(&pair);
        let tokens: Vec<Pair<'_>> = Kids::of(pair).collect();
        // A chain of n operators makes a tree at most n deep, whatever their precedence.
        let operators = tokens.iter().filter(|t| matches!(t.as_rule(), Rule::op | Rule::prefix)).count();
        self.deeper(operators, span, |b| {
            let mut tokens = tokens.into_iter().peekable();
            let expr = b.pratt(&mut tokens, 0)?;
            match tokens.next() {
                None => Ok(expr),
                Some(rest) => odd("expr", &rest),
            }
        })
    }

    fn pratt(&mut self, tokens: &mut Peekable<IntoIter<Pair<'_>>>, min: u8) -> Built<Expr> {
        let first = tokens.next().ok_or_else(|| Stop::Bug("expr: an operand is missing".into()))?;
        let mut lhs = match first.as_rule() {
            Rule::prefix => {
                let op = if first.as_str() == "!" { UnaryOp::Not } else { UnaryOp::Neg };
                let arg = self.pratt(tokens, PREFIX_POWER)?;
                let span = self.span(&first).to(arg.span);
                Expr { kind: ExprKind::Unary { op, arg: Box::new(arg) }, span }
            }
            Rule::post | Rule::cond_post => self.post(first)?,
            _ => return odd("expr", &first),
        };
        let mut compared: Option<Span> = None;
        while let Some(token) = tokens.peek() {
            let Some((op, left, right)) = infix(token.as_str()) else { return odd("expr", token) };
            if left < min {
                break;
            }
            let op_span = self.span(token);
            tokens.next();
            let compares = matches!(op, Infix::Binary(b) if b.is_comparison()).then_some(op_span);
            if let (Some(first), Some(_)) = (compared, compares) {
                self.diagnostics.push(
                    Diagnostic::error(codes::SYNTAX, "comparisons do not chain")
                        .at(op_span, "a second comparison")
                        .also(first, "the first one")
                        .help("write `a < b && b < c`, or parentheses"),
                );
            }
            compared = compares;
            let rhs = self.pratt(tokens, right)?;
            let span = lhs.span.to(rhs.span);
            let (lhs_box, rhs_box) = (Box::new(lhs), Box::new(rhs));
            let kind = match op {
                Infix::Arrow => ExprKind::Arrow { from: lhs_box, to: rhs_box },
                Infix::Range => ExprKind::Range { from: lhs_box, to: rhs_box },
                Infix::Binary(op) => ExprKind::Binary { op, op_span, lhs: lhs_box, rhs: rhs_box },
            };
            lhs = Expr { kind, span };
        }
        Ok(lhs)
    }

    fn post(&mut self, pair: Pair<'_>) -> Built<Expr> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let atom = kids.need(Rule::atom)?;
        let suffixes: Vec<Pair<'_>> = kids.collect();
        self.deeper(suffixes.len(), span, |b| {
            let mut base = b.atom(atom)?;
            for suffix in suffixes {
                base = b.suffix(base, suffix)?;
            }
            Ok(base)
        })
    }

    fn suffix(&mut self, base: Expr, pair: Pair<'_>) -> Built<Expr> {
        let span = base.span.to(self.span(&pair));
        let base = Box::new(base);
        let kind = match pair.as_rule() {
            Rule::args => ExprKind::Call { callee: base, args: self.args(pair)? },
            Rule::axis_slice => ExprKind::Slice { base, args: self.args(pair)? },
            Rule::index => ExprKind::Index { base, idx: self.index(pair)? },
            Rule::field_get => {
                let what = Kids::of(pair).first()?;
                match what.as_rule() {
                    Rule::name => ExprKind::Member { base, name: self.ident(&what) },
                    Rule::star => ExprKind::Star { base },
                    Rule::pick => ExprKind::Pick { base, names: Kids::of(what).map(|n| self.ident(&n)).collect() },
                    _ => return odd("field_get", &what),
                }
            }
            _ => return odd("suffix", &pair),
        };
        Ok(Expr { kind, span })
    }

    fn args(&mut self, pair: Pair<'_>) -> Built<Vec<Arg>> {
        Kids::of(pair).map(|arg| self.arg(arg)).collect()
    }

    pub fn index(&mut self, pair: Pair<'_>) -> Built<Vec<Idx>> {
        Kids::of(pair).map(|idx| self.idx(idx)).collect()
    }

    fn idx(&mut self, pair: Pair<'_>) -> Built<Idx> {
        let span = self.span(&pair);
        let what = Kids::of(pair).first()?;
        let kind = match what.as_rule() {
            Rule::rest => IdxKind::Rest,
            Rule::composite => IdxKind::Composite(Kids::of(what).map(|n| self.ident(&n)).collect()),
            _ => IdxKind::Expr(self.expr(what)?),
        };
        Ok(Idx { kind, span })
    }

    fn atom(&mut self, pair: Pair<'_>) -> Built<Expr> {
        let span = self.span(&pair);
        let what = Kids::of(pair).first()?;
        let kind = match what.as_rule() {
            Rule::num => ExprKind::Num(self.num(&what)),
            Rule::pct => ExprKind::Pct(self.pct(&what)),
            Rule::qty => return self.qty(what),
            Rule::str => ExprKind::Str(self.text(&what)),
            Rule::id | Rule::role_in => ExprKind::Name(self.ident(&what)),
            Rule::paren => return self.paren(what, span),
            Rule::list => {
                let items = self.deeper(1, span, |b| Kids::of(what).map(|e| b.expr(e)).collect());
                ExprKind::List(items?)
            }
            Rule::if_expr => self.deeper(1, span, |b| b.if_expr(what))?,
            _ => return odd("atom", &what),
        };
        Ok(Expr { kind, span })
    }

    /// Parentheses around one expression only widen its span.
    fn paren(&mut self, pair: Pair<'_>, span: Span) -> Built<Expr> {
        let mut kids = Kids::of(pair);
        let first = kids.need(Rule::expr)?;
        let Some(rest) = kids.opt(Rule::tuple_rest) else {
            let inner = self.expr(first)?;
            return Ok(Expr { kind: inner.kind, span });
        };
        self.deeper(1, span, |b| {
            let mut items = vec![b.expr(first)?];
            for item in Kids::of(rest) {
                items.push(b.expr(item)?);
            }
            Ok(Expr { kind: ExprKind::Tuple(items), span })
        })
    }

    fn if_expr(&mut self, pair: Pair<'_>) -> Built<ExprKind> {
        let mut kids = Kids::of(pair);
        let mut arms = Vec::new();
        while let Some(arm) = kids.opt(Rule::if_arm) {
            let span = self.span(&arm);
            let mut parts = Kids::of(arm);
            let cond = self.expr(parts.need(Rule::cond)?)?;
            let value = self.expr(parts.need(Rule::expr)?)?;
            arms.push(IfArm { cond, value, span });
        }
        let otherwise = self.expr(kids.need(Rule::expr)?)?;
        Ok(ExprKind::If(Box::new(If { arms, otherwise })))
    }

    /// One of the rules of `value`: `lambda`, `share`, `expr`; in arguments `sentence` too.
    pub fn value(&mut self, pair: Pair<'_>) -> Built<Expr> {
        let span = self.span(&pair);
        match pair.as_rule() {
            Rule::lambda => self.deeper(1, span, |b| {
                let mut kids = Kids::of(pair);
                let mut params = Vec::new();
                while let Some(id) = kids.opt(Rule::id) {
                    params.push(b.ident(&id));
                }
                let body = Box::new(b.expr(kids.need(Rule::expr)?)?);
                Ok(Expr { kind: ExprKind::Lambda { params, body }, span })
            }),
            Rule::share => {
                let mut kids = Kids::of(pair);
                let part = kids.first()?;
                let part_span = self.span(&part);
                let kind = match part.as_rule() {
                    Rule::num => ExprKind::Num(self.num(&part)),
                    Rule::pct => ExprKind::Pct(self.pct(&part)),
                    Rule::range => {
                        let mut ends = Kids::of(part);
                        let (from, to) = (ends.need(Rule::pct)?, ends.need(Rule::pct)?);
                        ExprKind::Range { from: Box::new(self.pct_expr(&from)), to: Box::new(self.pct_expr(&to)) }
                    }
                    _ => return odd("share", &part),
                };
                let of = self.out_of(kids.need(Rule::out_of)?)?;
                let part = Box::new(Expr { kind, span: part_span });
                Ok(Expr { kind: ExprKind::Share { part, of }, span })
            }
            Rule::sentence => self.deeper(SENTENCE_LEVELS, span, |b| {
                Ok(Expr { kind: ExprKind::Keep(Box::new(b.sentence(pair)?)), span })
            }),
            _ => self.expr(pair),
        }
    }

    pub fn pct_expr(&mut self, pair: &Pair<'_>) -> Expr {
        Expr { kind: ExprKind::Pct(self.pct(pair)), span: self.span(pair) }
    }

    pub fn out_of(&mut self, pair: Pair<'_>) -> Built<ShareOf> {
        let what = Kids::of(pair).first()?;
        Ok(match what.as_rule() {
            Rule::num => ShareOf::Count(self.num(&what)),
            _ => ShareOf::Name(self.ident(&what)),
        })
    }

    fn arg(&mut self, pair: Pair<'_>) -> Built<Arg> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let label = kids.opt(Rule::name).map(|n| self.ident(&n));
        let value = self.value(kids.first()?)?;
        let mut arg = Arg { label, value, over: Vec::new(), by: None, guard: None, within: None, per: None, span };
        for part in kids {
            match part.as_rule() {
                Rule::arg_over => {
                    for binding in Kids::of(part) {
                        arg.over.push(self.binding(binding)?);
                    }
                }
                Rule::arg_by => arg.by = Some(self.only_expr(part)?),
                Rule::guard => arg.guard = Some(self.only_expr(part)?),
                Rule::arg_in => arg.within = Some(self.only_expr(part)?),
                Rule::per => arg.per = Some(self.scope(Kids::of(part).need(Rule::scope)?)?),
                _ => return odd("arg", &part),
            }
        }
        Ok(arg)
    }

    fn binding(&mut self, pair: Pair<'_>) -> Built<Binding> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let name = self.ident(&kids.need(Rule::id)?);
        let within = kids.opt(Rule::expr).map(|e| self.expr(e)).transpose()?;
        Ok(Binding { name, within, span })
    }

    /// The expression of a rule that is a keyword and one expression.
    pub fn only_expr(&mut self, pair: Pair<'_>) -> Built<Expr> {
        self.expr(Kids::of(pair).need(Rule::expr)?)
    }

    /// The next child, if it is an expression.
    pub fn maybe_expr(&mut self, kids: &mut Kids<'_>) -> Built<Option<Expr>> {
        kids.opt(Rule::expr).map(|e| self.expr(e)).transpose()
    }
}
