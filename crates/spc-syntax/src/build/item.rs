//! Items.
use super::{Builder, Built, Kids, Pair, odd};
use crate::ast::*;
use spc_grammar::Rule;

impl Builder<'_> {
    /// Any rule of `item`. The caller adds docs.
    pub fn item(&mut self, pair: Pair<'_>) -> Built<Item> {
        let span = self.span(&pair);
        let rule = pair.as_rule();
        let mut kids = Kids::of(pair);
        let kids = &mut kids;
        let kind = match rule {
            Rule::edition_item => ItemKind::Edition(EditionItem { number: self.num(&kids.need(Rule::num)?) }),
            Rule::use_item => ItemKind::Use(self.use_path(kids.need(Rule::use_path)?)?),
            Rule::const_item => {
                let name = self.ident(&kids.need(Rule::id)?);
                ItemKind::Const(ConstItem { name, value: self.value(kids.first()?)? })
            }
            Rule::axis_item => {
                ItemKind::Axis(AxisItem { decls: kids.map(|d| self.axis_decl(d)).collect::<Built<_>>()? })
            }
            Rule::model_item => ItemKind::Model(self.model(kids)?),
            Rule::data_item => ItemKind::Data(self.model(kids)?),
            Rule::fn_item => {
                let name = self.ident(&kids.need(Rule::id)?);
                ItemKind::Fn(FnItem { name, sig: self.callable(kids)?.0 })
            }
            Rule::score_item => {
                let name = self.ident(&kids.need(Rule::id)?);
                let (sig, has_params) = self.callable(kids)?;
                ItemKind::Score(ScoreItem { name, has_params, sig })
            }
            Rule::mask_item => {
                let name = self.ident(&kids.need(Rule::id)?);
                let params = self.params(kids.need(Rule::params)?)?;
                ItemKind::Mask(MaskItem { name, params, value: self.expr(kids.need(Rule::expr)?)? })
            }
            Rule::schedule_item => {
                let name = self.ident(&kids.need(Rule::id)?);
                let params = kids.opt(Rule::params).map(|p| self.params(p)).transpose()?;
                let binder = self.maybe_binder(kids)?;
                ItemKind::Schedule(ScheduleItem { name, params, binder, value: self.expr(kids.need(Rule::expr)?)? })
            }
            Rule::group_item => ItemKind::Group(self.group(kids)?),
            Rule::pattern_item => {
                let name = self.ident(&kids.need(Rule::id)?);
                let params = self.params(kids.need(Rule::params)?)?;
                let sentence = self.sentence(kids.need(Rule::sentence)?)?;
                ItemKind::Pattern(PatternItem { name, params, sentence })
            }
            Rule::require_item => ItemKind::Require(self.require(kids)?),
            Rule::penalize_item => ItemKind::Penalize(self.penalize(kids)?),
            Rule::quantize_item => ItemKind::Quantize(self.quantize(kids)?),
            Rule::penalty_item => ItemKind::Penalty(self.penalty(kids)?),
            Rule::update_item => ItemKind::Update(self.update(kids)?),
            Rule::train_item => ItemKind::Train(self.train(kids)?),
            Rule::run_item => {
                let name = self.ident(&kids.need(Rule::id)?);
                ItemKind::Run(RunItem { name, fields: self.fields(kids.need(Rule::block_fields)?)? })
            }
            Rule::target_item => {
                let name = self.ident(&kids.need(Rule::id)?);
                let value = self.expr(kids.need(Rule::expr)?)?;
                let fields = kids.opt(Rule::block_fields).map(|f| self.fields(f)).transpose()?.unwrap_or_default();
                ItemKind::Target(TargetItem { name, value, fields })
            }
            Rule::plan_item => {
                let name = self.ident(&kids.need(Rule::id)?);
                let target = kids.opt(Rule::id).map(|t| self.ident(&t));
                ItemKind::Plan(PlanItem { name, target, fields: self.fields(kids.need(Rule::block_fields)?)? })
            }
            Rule::expect_item => ItemKind::Expect(ExpectItem { value: self.expr(kids.need(Rule::expr)?)? }),
            _ => return odd("item", &kids.first()?),
        };
        Ok(Item { docs: Vec::new(), kind, span })
    }

    fn use_path(&mut self, pair: Pair<'_>) -> Built<UseItem> {
        let path_span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let mut path = Vec::new();
        while let Some(name) = kids.opt(Rule::name) {
            path.push(self.ident(&name));
        }
        let names = match kids.opt(Rule::use_list) {
            Some(list) => Kids::of(list).map(|n| self.ident(&n)).collect(),
            None => Vec::new(),
        };
        Ok(UseItem { path, names, path_span })
    }

    fn model(&mut self, kids: &mut Kids<'_>) -> Built<ModelItem> {
        let name = self.ident(&kids.need(Rule::id)?);
        let source = match kids.opt(Rule::source) {
            Some(pair) => {
                let span = self.span(&pair);
                let mut parts = Kids::of(pair);
                let format = self.ident(&parts.need(Rule::id)?);
                Some(Source { format, path: self.text(&parts.need(Rule::str)?), span })
            }
            None => None,
        };
        let members = kids.opt(Rule::members).map(|m| self.members(m)).transpose()?;
        Ok(ModelItem { name, source, members })
    }

    fn members(&mut self, pair: Pair<'_>) -> Built<Vec<Member>> {
        Kids::of(pair).map(|m| self.member(m)).collect()
    }

    fn member(&mut self, pair: Pair<'_>) -> Built<Member> {
        let span = self.span(&pair);
        Ok(match pair.as_rule() {
            Rule::axes => Member::Axes(AxesBlock { decls: self.axis_decls(pair)?, span }),
            Rule::tensor => Member::Tensor(self.tensor(pair)?),
            Rule::family => {
                let mut kids = Kids::of(pair);
                let name = self.ident(&kids.need(Rule::id)?);
                let index = self.ident(&kids.need(Rule::id)?);
                let axis = self.ident(&kids.need(Rule::id)?);
                let path = kids.opt(Rule::str).map(|s| self.text(&s));
                let members = self.members(kids.need(Rule::members)?)?;
                Member::Family(Family { name, index, axis, path, members, span })
            }
            Rule::split => {
                let mut kids = Kids::of(pair);
                let name = self.ident(&kids.need(Rule::name)?);
                Member::Split(Split { name, fields: self.fields(kids.need(Rule::block_fields)?)?, span })
            }
            Rule::column => {
                let mut kids = Kids::of(pair);
                let mut names = Vec::new();
                while let Some(name) = kids.opt(Rule::name) {
                    names.push(self.ident(&name));
                }
                Member::Column(Column { names, value: self.expr(kids.need(Rule::expr)?)?, span })
            }
            _ => return odd("member", &pair),
        })
    }

    fn fields(&mut self, pair: Pair<'_>) -> Built<Vec<Field>> {
        Kids::of(pair).map(|f| self.field(f)).collect()
    }

    fn field(&mut self, pair: Pair<'_>) -> Built<Field> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let name = self.ident(&kids.need(Rule::name)?);
        let eq = kids.need(Rule::field_sep)?.as_str() == "=";
        let value = self.value(kids.first()?)?;
        Ok(Field { name, eq, value, span })
    }

    fn maybe_binder(&mut self, kids: &mut Kids<'_>) -> Built<Vec<Bind>> {
        Ok(kids.opt(Rule::binder).map(|b| self.binder(b)).transpose()?.unwrap_or_default())
    }

    fn group(&mut self, kids: &mut Kids<'_>) -> Built<GroupItem> {
        let name = self.ident(&kids.need(Rule::id)?);
        let binder = self.maybe_binder(kids)?;
        let group = self.target_group(kids.need(Rule::target_group)?)?;
        let mut out = GroupItem { name, binder, group, cost: None, energy: None, on_overlap: None };
        for pair in kids {
            let span = self.span(&pair);
            match pair.as_rule() {
                Rule::overlap => {
                    let policy = self.overlap(pair)?;
                    self.once(&mut out.on_overlap, policy, |c| c.span, "on_overlap");
                }
                Rule::weight => {
                    let cost = pair.as_str().starts_with("cost");
                    let value = self.only_expr(pair)?;
                    let (slot, word) = if cost { (&mut out.cost, "cost") } else { (&mut out.energy, "energy") };
                    self.once(slot, Clause { value, span }, |c| c.span, word);
                }
                _ => return odd("group", &pair),
            }
        }
        Ok(out)
    }

    pub fn label(&mut self, kids: &mut Kids<'_>) -> Built<Option<Ident>> {
        match kids.opt(Rule::label) {
            Some(label) => Ok(Some(self.ident(&Kids::of(label).need(Rule::name)?))),
            None => Ok(None),
        }
    }

    fn require(&mut self, kids: &mut Kids<'_>) -> Built<RequireItem> {
        let name = self.label(kids)?;
        let what = match kids.opt(Rule::sentence) {
            Some(sentence) => Require::Sentence(self.sentence(sentence)?),
            None => {
                let mut parts = Kids::of(kids.need(Rule::sugar)?);
                let pattern = self.expr(parts.need(Rule::expr)?)?;
                Require::Sugar { pattern, clauses: self.clauses(parts)? }
            }
        };
        Ok(RequireItem { name, what })
    }
}
