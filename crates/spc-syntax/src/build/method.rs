//! Methods and what applies them in time.
use super::{Builder, Built, Kids, Pair, odd};
use crate::ast::*;
use spc_grammar::Rule;

impl Builder<'_> {
    fn term(&mut self, pair: Pair<'_>) -> Built<Term> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let value = self.expr(kids.need(Rule::expr)?)?;
        let group = self.target_group(kids.need(Rule::target_group)?)?;
        let guard = kids.opt(Rule::guard).map(|g| self.only_expr(g)).transpose()?;
        Ok(Term { value, group, guard, span })
    }

    pub fn penalize(&mut self, kids: &mut Kids<'_>) -> Built<PenalizeItem> {
        let name = self.label(kids)?;
        let mut terms = vec![self.term(kids.need(Rule::term)?)?];
        while let Some(term) = kids.opt(Rule::term) {
            terms.push(self.term(term)?);
        }
        Ok(PenalizeItem { name, terms, clauses: self.clauses(kids)? })
    }

    pub fn quantize(&mut self, kids: &mut Kids<'_>) -> Built<QuantizeItem> {
        let name = self.label(kids)?;
        let what = self.selector(kids.need(Rule::selector)?)?;
        let to = self.expr(kids.need(Rule::expr)?)?;
        Ok(QuantizeItem { name, what, to, clauses: self.clauses(kids)? })
    }

    pub fn penalty(&mut self, kids: &mut Kids<'_>) -> Built<PenaltyItem> {
        let name = self.ident(&kids.need(Rule::id)?);
        let params = self.params(kids.need(Rule::params)?)?;
        let kind = kids
            .opt(Rule::kind)
            .map(|k| if k.as_str().starts_with("radial") { PenaltyKind::Radial } else { PenaltyKind::OfGroups });
        let pair = kids.first()?;
        let body = match pair.as_rule() {
            Rule::hooks => PenaltyBody::Hooks(self.hooks(pair)?),
            Rule::terms => PenaltyBody::Terms(Kids::of(pair).map(|t| self.term(t)).collect::<Built<_>>()?),
            _ => PenaltyBody::Expr(self.expr(pair)?),
        };
        Ok(PenaltyItem { name, params, kind, body })
    }

    pub fn update(&mut self, kids: &mut Kids<'_>) -> Built<UpdateItem> {
        let name = self.ident(&kids.need(Rule::id)?);
        let params = self.params(kids.need(Rule::params)?)?;
        Ok(UpdateItem { name, params, hooks: self.hooks(kids.need(Rule::hooks)?)? })
    }

    fn hooks(&mut self, pair: Pair<'_>) -> Built<Vec<Hook>> {
        Kids::of(pair).map(|h| self.hook(h)).collect()
    }

    fn hook(&mut self, pair: Pair<'_>) -> Built<Hook> {
        let span = self.span(&pair);
        Ok(match pair.as_rule() {
            Rule::state_stmt => Hook::State(self.state(pair)?),
            Rule::assign => Hook::Assign(self.assign(pair)?),
            Rule::mask_hook => {
                let mut kids = Kids::of(pair);
                let name = self.ident(&kids.need(Rule::id)?);
                let value = self.expr(kids.need(Rule::expr)?)?;
                Hook::Mask(MaskHook { name, value, timing: self.timing(&mut kids)?, span })
            }
            Rule::observe => {
                let (name, value) = self.name_and_expr(pair)?;
                Hook::Observe(Observe { name, value, span })
            }
            Rule::handler => {
                let mut kids = Kids::of(pair);
                let name = self.ident(&kids.need(Rule::handler_name)?);
                let params = self.params(kids.need(Rule::params)?)?;
                let results = kids.opt(Rule::result).map(|r| self.results(r)).transpose()?;
                let every = kids.opt(Rule::every).map(|e| self.every(e)).transpose()?;
                Hook::Handler(Handler { name, params, results, every, body: self.body(&mut kids)?, span })
            }
            _ => return odd("hook", &pair),
        })
    }

    fn name_and_expr(&mut self, pair: Pair<'_>) -> Built<(Ident, Expr)> {
        let mut kids = Kids::of(pair);
        let name = self.ident(&kids.need(Rule::id)?);
        Ok((name, self.expr(kids.need(Rule::expr)?)?))
    }

    pub fn train(&mut self, kids: &mut Kids<'_>) -> Built<TrainItem> {
        let name = self.ident(&kids.need(Rule::id)?);
        Ok(TrainItem { name, body: self.train_body(kids.need(Rule::train_body)?)? })
    }

    fn train_body(&mut self, pair: Pair<'_>) -> Built<Vec<TrainStmt>> {
        Kids::of(pair).map(|s| self.train_stmt(s)).collect()
    }

    fn train_stmt(&mut self, pair: Pair<'_>) -> Built<TrainStmt> {
        let span = self.span(&pair);
        Ok(match pair.as_rule() {
            Rule::phase => {
                let mut kids = Kids::of(pair);
                let name = self.ident(&kids.need(Rule::name)?);
                let share = self.pct(&kids.need(Rule::pct)?);
                TrainStmt::Phase(Phase { name, share, body: self.train_body(kids.need(Rule::train_body)?)?, span })
            }
            Rule::apply => {
                TrainStmt::Apply(Apply { list: Kids::of(pair).map(|a| self.applied(a)).collect::<Built<_>>()?, span })
            }
            Rule::freeze => TrainStmt::Freeze(Freeze { what: self.ident(&Kids::of(pair).need(Rule::id)?), span }),
            Rule::restart => TrainStmt::Restart(span),
            Rule::sweep => {
                let (name, value) = self.name_and_expr(pair)?;
                TrainStmt::Sweep(Sweep { name, value, span })
            }
            Rule::setting => {
                let mut kids = Kids::of(pair);
                let name = self.ident(&kids.need(Rule::name)?);
                TrainStmt::Setting(Setting { name, value: self.value(kids.first()?)?, span })
            }
            Rule::assign => TrainStmt::Assign(self.assign(pair)?),
            _ => return odd("train_stmt", &pair),
        })
    }

    fn applied(&mut self, pair: Pair<'_>) -> Built<Applied> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let what = self.expr(kids.need(Rule::expr)?)?;
        let via = kids.opt(Rule::via).map(|v| self.only_expr(v)).transpose()?;
        Ok(Applied { what, via, span })
    }
}
