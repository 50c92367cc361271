//! The sentence and its clauses.
use super::{Builder, Built, Kids, Pair, Stop, odd};
use crate::ast::*;
use crate::message::bare_ratio;
use spc_base::{Diagnostic, codes};
use spc_grammar::Rule;

/// More sentences than this in one chain of `then` are refused.
const MAX_THEN: usize = 16;

impl Builder<'_> {
    pub fn sentence(&mut self, pair: Pair<'_>) -> Built<Sentence> {
        let span = self.span(&pair);
        let mut parts = Vec::new();
        for part in Kids::of(pair) {
            if parts.len() == MAX_THEN {
                let at = self.span(&part);
                let message = format!("more than {MAX_THEN} sentences are joined by `then`");
                self.diagnostics.push(Diagnostic::error(codes::TOO_DEEP, message).at(at, "one too many"));
                break;
            }
            parts.push(self.keep_part(part)?);
        }
        // Fold from the last: each sentence owns the one after its `then`, and spans reach to the end.
        let mut chain: Option<Sentence> = None;
        for mut part in parts.into_iter().rev() {
            part.span.end = span.end;
            part.then = chain.map(Box::new);
            chain = Some(part);
        }
        chain.ok_or_else(|| Stop::Bug("sentence: empty".into()))
    }

    fn keep_part(&mut self, pair: Pair<'_>) -> Built<Sentence> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let amount = self.amount(kids.need(Rule::amount)?)?;
        let group = self.target_group(kids.need(Rule::target_group)?)?;
        let clauses = self.clauses(kids)?;
        Ok(Sentence { amount, group, clauses, then: None, span })
    }

    fn amount(&mut self, pair: Pair<'_>) -> Built<Amount> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let kind = if let Some(above) = kids.opt(Rule::above) {
            AmountKind::Above(self.only_expr(above)?)
        } else {
            let part = self.expr(kids.need(Rule::expr)?)?;
            match kids.opt(Rule::out_of) {
                Some(of) => AmountKind::Of { part, of: self.out_of(of)? },
                None => {
                    self.diagnostics.extend(bare_ratio(&part));
                    AmountKind::Plain(part)
                }
            }
        };
        Ok(Amount { kind, span })
    }

    pub fn target_group(&mut self, pair: Pair<'_>) -> Built<GroupRef> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let group = self.expr(kids.need(Rule::expr)?)?;
        let of = self.maybe_expr(&mut kids)?;
        Ok(GroupRef { group, of, span })
    }

    pub fn scope(&mut self, pair: Pair<'_>) -> Built<Scope> {
        let span = self.span(&pair);
        let what = Kids::of(pair).first()?;
        let kind = match what.as_rule() {
            Rule::scope_model => ScopeKind::Model,
            _ => {
                let expr = self.expr(what)?;
                match expr.as_name().map(Ident::as_str) {
                    Some("tensor") => ScopeKind::Tensor,
                    Some("layer") => ScopeKind::Layer,
                    _ => ScopeKind::Expr(expr),
                }
            }
        };
        Ok(Scope { kind, span })
    }

    /// All remaining children, which are clauses. A clause that was there already is reported and dropped.
    pub fn clauses<'i>(&mut self, kids: impl Iterator<Item = Pair<'i>>) -> Built<Clauses> {
        let mut out = Clauses::default();
        for pair in kids {
            let span = self.span(&pair);
            match pair.as_rule() {
                Rule::per => {
                    let scope = self.scope(Kids::of(pair).need(Rule::scope)?)?;
                    self.once(&mut out.per, Per { scope, span }, |c| c.span, "per");
                }
                Rule::floor => {
                    let mut parts = Kids::of(pair);
                    let amount = self.expr(parts.need(Rule::expr)?)?;
                    self.diagnostics.extend(bare_ratio(&amount));
                    let scope = self.scope(parts.need(Rule::scope)?)?;
                    self.once(&mut out.floor, Floor { amount, scope, span }, |c| c.span, "min");
                }
                Rule::by => {
                    let mut parts = Kids::of(pair);
                    let joint = parts.opt(Rule::joint).is_some();
                    let score = self.maybe_expr(&mut parts)?;
                    self.once(&mut out.by, By { joint, score, span }, |c| c.span, "by");
                }
                Rule::every => {
                    let every = self.every(pair)?;
                    self.once(&mut out.every, every, |c| c.span, "every");
                }
                Rule::always => {
                    let list = Kids::of(pair).map(|k| self.kept(k)).collect::<Built<Vec<Always>>>()?;
                    self.once(&mut out.always, Clause { value: list, span }, |c| c.span, "always");
                }
                Rule::overlap => {
                    let policy = self.overlap(pair)?;
                    self.once(&mut out.on_overlap, policy, |c| c.span, "on_overlap");
                }
                Rule::tail => {
                    let value = if pair.as_str().starts_with("pad") { Tail::Pad } else { Tail::Ragged };
                    self.once(&mut out.tail, Clause { value, span }, |c| c.span, "pad` or `ragged");
                }
                Rule::on => self.once_expr(&mut out.on, pair, "on")?,
                Rule::except => self.once_expr(&mut out.except, pair, "except")?,
                Rule::at => {
                    let value = self.moment(pair)?;
                    self.once(&mut out.at, Clause { value, span }, |c| c.span, "at");
                }
                Rule::via => self.once_expr(&mut out.via, pair, "via")?,
                Rule::multiple => self.once_expr(&mut out.multiple, pair, "multiple")?,
                _ => return odd("clause", &pair),
            }
        }
        Ok(out)
    }

    fn once_expr(&mut self, slot: &mut Option<Clause<Expr>>, pair: Pair<'_>, word: &str) -> Built<()> {
        let span = self.span(&pair);
        let value = self.only_expr(pair)?;
        self.once(slot, Clause { value, span }, |c| c.span, word);
        Ok(())
    }

    /// Fills an empty slot; a full one keeps what it has, and the second clause is reported.
    pub fn once<T>(&mut self, slot: &mut Option<T>, value: T, span: impl Fn(&T) -> Span, word: &str) {
        match slot {
            None => *slot = Some(value),
            Some(first) => self.diagnostics.push(
                Diagnostic::error(codes::SYNTAX, format!("`{word}` is written twice"))
                    .at(span(&value), "the second one")
                    .also(span(first), "the first one"),
            ),
        }
    }

    /// `every 100 steps` reads as one quantity; count and unit are taken apart.
    pub fn every(&mut self, pair: Pair<'_>) -> Built<Every> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let mut count = self.expr(kids.need(Rule::expr)?)?;
        let mut unit = kids.opt(Rule::unit).map(|u| self.ident(&u));
        if let (None, ExprKind::Qty { num, unit: word }) = (&unit, &count.kind) {
            unit = Some(word.clone());
            count = Expr { span: num.span, kind: ExprKind::Num(num.clone()) };
        }
        let until = kids.next().map(|m| self.time(m)).transpose()?;
        Ok(Every { count, unit, until, span })
    }

    /// The time after `at`.
    pub fn moment(&mut self, pair: Pair<'_>) -> Built<Expr> {
        let time = Kids::of(pair).first()?;
        self.time(time)
    }

    /// `80% of steps` is `80%`: a share of time is always one of the run's steps.
    fn time(&mut self, pair: Pair<'_>) -> Built<Expr> {
        if pair.as_rule() != Rule::part_of_run {
            return self.expr(pair);
        }
        let pct = Kids::of(pair).need(Rule::pct)?;
        Ok(self.pct_expr(&pct))
    }

    fn kept(&mut self, pair: Pair<'_>) -> Built<Always> {
        let span = self.span(&pair);
        let end = if pair.as_str().starts_with("first") { End::First } else { End::Last };
        let count = self.only_expr(pair)?;
        Ok(Always { end, count, span })
    }

    pub fn overlap(&mut self, pair: Pair<'_>) -> Built<Clause<Ident>> {
        let span = self.span(&pair);
        let value = self.ident(&Kids::of(pair).need(Rule::id)?);
        Ok(Clause { value, span })
    }

    pub fn selector(&mut self, pair: Pair<'_>) -> Built<Selector> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let what = self.expr(kids.need(Rule::expr)?)?;
        let except = kids.opt(Rule::except).map(|e| self.only_expr(e)).transpose()?;
        Ok(Selector { what, except, span })
    }
}
