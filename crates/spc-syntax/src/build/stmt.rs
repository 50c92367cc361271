//! Signatures and statements.
use super::{Builder, Built, Kids, Pair, odd};
use crate::ast::*;
use crate::message::bare_ratio;
use spc_grammar::Rule;

impl Builder<'_> {
    pub fn params(&mut self, pair: Pair<'_>) -> Built<Vec<Param>> {
        Kids::of(pair).map(|p| self.param(p)).collect()
    }

    fn param(&mut self, pair: Pair<'_>) -> Built<Param> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let (name, index) = self.indexed(kids.need(Rule::named)?, Rule::name)?;
        let ty = kids.opt(Rule::r#type).map(|t| self.ty(t)).transpose()?;
        let default = kids.next().map(|v| self.value(v)).transpose()?;
        if let (Some(Type { kind: TypeKind::Named { name, .. }, .. }), Some(default)) = (&ty, &default)
            && matches!(name.as_str(), "amount" | "pct")
        {
            self.diagnostics.extend(bare_ratio(default));
        }
        Ok(Param { name, ty, index, default, span })
    }

    pub fn results(&mut self, pair: Pair<'_>) -> Built<Results> {
        let span = self.span(&pair);
        let what = Kids::of(pair).first()?;
        match what.as_rule() {
            Rule::many => {
                Ok(Results { list: Kids::of(what).map(|r| self.result(r)).collect::<Built<_>>()?, tuple: true, span })
            }
            _ => Ok(Results { list: vec![self.result(what)?], tuple: false, span }),
        }
    }

    fn result(&mut self, pair: Pair<'_>) -> Built<ResultDecl> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let (name, index) = self.indexed(kids.need(Rule::named)?, Rule::name)?;
        let ty = kids.opt(Rule::r#type).map(|t| self.ty(t)).transpose()?;
        Ok(ResultDecl { name, index, ty, span })
    }

    /// A name, and the index that sticks to it.
    fn indexed(&mut self, pair: Pair<'_>, word: Rule) -> Built<(Ident, Option<Vec<Idx>>)> {
        let mut kids = Kids::of(pair);
        let name = self.ident(&kids.need(word)?);
        let index = kids.opt(Rule::index).map(|i| self.index(i)).transpose()?;
        Ok((name, index))
    }

    /// `params? result? sizes? body`, and whether parameters were written.
    pub fn callable(&mut self, kids: &mut Kids<'_>) -> Built<(Callable, bool)> {
        let params = kids.opt(Rule::params).map(|p| self.params(p)).transpose()?;
        let results = kids.opt(Rule::result).map(|r| self.results(r)).transpose()?;
        let sizes = kids.opt(Rule::sizes).map(|s| self.axis_decls(s)).transpose()?.unwrap_or_default();
        let body = self.body(kids)?;
        let has_params = params.is_some();
        Ok((Callable { params: params.unwrap_or_default(), results, sizes, body }, has_params))
    }

    pub fn body(&mut self, kids: &mut Kids<'_>) -> Built<Body> {
        match kids.opt(Rule::block) {
            Some(block) => Ok(Body::Block(self.block(block)?)),
            None => Ok(Body::Expr(self.expr(kids.need(Rule::expr)?)?)),
        }
    }

    fn block(&mut self, pair: Pair<'_>) -> Built<Block> {
        let span = self.span(&pair);
        let stmts = Kids::of(pair).map(|s| self.stmt(s)).collect::<Built<_>>()?;
        Ok(Block { stmts, span })
    }

    fn stmt(&mut self, pair: Pair<'_>) -> Built<Stmt> {
        match pair.as_rule() {
            Rule::for_stmt => {
                let span = self.span(&pair);
                let mut kids = Kids::of(pair);
                let index = self.ident(&kids.need(Rule::id)?);
                let over = self.expr(kids.need(Rule::expr)?)?;
                let body = self.block(kids.need(Rule::block)?)?;
                Ok(Stmt::For(ForStmt { index, over, body, span }))
            }
            Rule::state_stmt => Ok(Stmt::State(self.state(pair)?)),
            Rule::assign => Ok(Stmt::Assign(self.assign(pair)?)),
            _ => odd("stmt", &pair),
        }
    }

    pub fn state(&mut self, pair: Pair<'_>) -> Built<StateStmt> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let name = self.ident(&kids.need(Rule::id)?);
        let ty = kids.opt(Rule::r#type).map(|t| self.ty(t)).transpose()?;
        let value = self.expr(kids.need(Rule::expr)?)?;
        let timing = self.timing(&mut kids)?;
        Ok(StateStmt { name, ty, value, timing, span })
    }

    pub fn timing(&mut self, kids: &mut Kids<'_>) -> Built<Option<Timing>> {
        let Some(pair) = kids.next() else { return Ok(None) };
        Ok(Some(match pair.as_rule() {
            Rule::when => Timing::When(self.only_expr(pair)?),
            Rule::at => Timing::At(self.moment(pair)?),
            Rule::every => Timing::Every(self.every(pair)?),
            _ => return odd("timing", &pair),
        }))
    }

    pub fn assign(&mut self, pair: Pair<'_>) -> Built<Assign> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let lhs = self.lhs(kids.need(Rule::lhs)?)?;
        let value = self.expr(kids.need(Rule::expr)?)?;
        Ok(Assign { lhs, value, span })
    }

    fn lhs(&mut self, pair: Pair<'_>) -> Built<Lhs> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let kind = match kids.opt(Rule::tuple_lhs) {
            Some(tuple) => LhsKind::Tuple(Kids::of(tuple).map(|n| self.ident(&n)).collect()),
            None => {
                let (name, index) = self.indexed(kids.need(Rule::place)?, Rule::id)?;
                LhsKind::Name { name, index }
            }
        };
        Ok(Lhs { kind, span })
    }

    pub fn binder(&mut self, pair: Pair<'_>) -> Built<Vec<Bind>> {
        Kids::of(pair)
            .map(|bind| {
                let span = self.span(&bind);
                let mut kids = Kids::of(bind);
                let index = self.ident(&kids.need(Rule::id)?);
                let axis = kids.opt(Rule::id).map(|a| self.ident(&a));
                Ok(Bind { index, axis, span })
            })
            .collect()
    }
}
