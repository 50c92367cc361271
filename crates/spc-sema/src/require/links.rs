//! Sentences over the links of a data source, `pairs(graph.link, undirected)`: names, kinds and clauses are checked; choosing
//! among links is left to a later version.
use super::Resolver;
use super::group::Kind;
use crate::cx::{Cx, Res};
use crate::module::LinkChoice;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{Scope, Score};
use spc_syntax::ast::{Expr, ExprKind, GroupRef, Ident, ItemKind, Member, Sentence, TensorDecl, Type, TypeKind};

impl Resolver<'_> {
    /// The data source and the member, if an expression starts with the name of a data source.
    fn data_member<'e>(&self, e: &'e Expr) -> Option<(&Ident, Option<&'e Ident>)> {
        let (base, member) = match &e.kind {
            ExprKind::Member { base, name } => (&**base, Some(name)),
            _ => (e, None),
        };
        let mut root = base;
        while let ExprKind::Member { base, .. } | ExprKind::Index { base, .. } | ExprKind::Star { base } = &root.kind {
            root = base;
        }
        let n = root.as_name()?;
        let ItemKind::Data(d) = &self.names.items.get(n.as_str())?.kind else { return None };
        Some((&d.name, member.filter(|_| base.as_name().is_some())))
    }

    pub fn is_links(&self, e: &Expr) -> bool {
        self.data_member(e).is_some()
    }

    /// Checks that `e` names stored pairs of a data source; undirected ones are of one axis.
    pub fn links(&self, cx: &mut Cx, e: &Expr, undirected: bool) -> Res<()> {
        let Some((data, Some(member))) = self.data_member(e) else {
            return cx.err(codes::DATA, e.span, "a member of a data source is needed here", "expected `data.member`");
        };
        let Some(ItemKind::Data(item)) = self.names.items.get(data.as_str()).map(|i| &i.kind) else { return Ok(()) };
        let Some(t) = tensors(item.members.iter().flatten()).find(|t| t.name.name == member.name) else {
            let known = tensors(item.members.iter().flatten()).map(|t| t.name.as_str());
            return cx.unknown(member.span, "member", &member.name, known.collect::<Vec<_>>());
        };
        let known = self.data.iter().find(|d| d.name == data.name);
        let dims = known.and_then(|d| d.members.iter().find(|m| m.name == member.name)).map(|m| m.dims.as_slice());
        if !is_relation(&t.ty) {
            let d = Diagnostic::error(codes::WRONG_KIND, format!("`{}` has no links", member.name))
                .at(e.span, "no stored pairs")
                .also(t.ty.span, "its type")
                .help("stored pairs have the type `relation[N, N]`");
            return cx.report(d);
        }
        // A member that is broken in itself was reported.
        let Some(dims) = dims else { return Ok(()) };
        let [a, b] = dims else {
            let d = Diagnostic::error(codes::RANK, format!("`{}` is no set of pairs", member.name));
            return cx.report(d.at(e.span, "pairs need two axes").also(t.ty.span, "its type"));
        };
        if undirected && a != b {
            let d = Diagnostic::error(codes::RANK, format!("links of `{}` join two different axes", member.name))
                .at(e.span, "(i, j) and (j, i) are of one axis")
                .also(t.ty.span, "its type");
            return cx.report(d);
        }
        Ok(())
    }

    /// Checks a group that is made of links.
    pub fn check_links(&self, cx: &mut Cx, g: &GroupRef) -> Res<()> {
        match self.quiet_kind(g).map(|f| f.kind) {
            Ok(Kind::Pairs(e, undirected)) if self.is_links(e) => self.links(cx, e, undirected),
            _ => Ok(()),
        }
    }

    /// The constraint, if its sentence chooses among links.
    pub fn link_choice(&self, cx: &mut Cx, s: &Sentence, name: &str, span: Span) -> Res<Option<LinkChoice>> {
        let Ok(found) = self.quiet_kind(&s.group) else { return Ok(None) };
        let Kind::Pairs(e, undirected) = found.kind else { return Ok(None) };
        if !self.is_links(e) {
            return Ok(None);
        }
        self.links(cx, e, undirected)?;
        self.check_clauses(cx, s)?;
        let c = &s.clauses;
        let over = self.scope(cx, c.per.as_ref().map(|p| &p.scope), s.span)?;
        self.shared_pairs(cx, s, over.tile.is_none() && matches!(over.scope, Scope::Model | Scope::Tensor))?;
        self.amount(cx, &s.amount)?;
        let Some(score) = c.by.as_ref().and_then(|b| b.score.as_ref()) else {
            let d = Diagnostic::error(codes::WRONG_KIND, "links have no values, so they need a score")
                .at(s.span, "no `by`");
            return cx.report(d.help("say what ranks them: `by degree(graph.link)`, `by random(7)`"));
        };
        self.link_score(cx, score)?;
        if let Some(m) = &c.multiple {
            self.positive(cx, &m.value)?;
        }
        if let Some(clause) = c.on.as_ref().or(c.except.as_ref()) {
            return cx.err(
                codes::WRONG_KIND,
                clause.value.span,
                "links are no weights",
                "`on` and `except` name weights",
            );
        }
        if let Some(then) = &s.then {
            return cx.err(codes::WRONG_KIND, then.span, "`then keep` follows a choice of weights", "not of links");
        }
        Ok(Some(LinkChoice { name: name.to_string(), span }))
    }

    /// The kind of a group; what is wrong with it is said where it is resolved.
    fn quiet_kind<'e>(&'e self, g: &'e GroupRef) -> Res<super::group::Found<'e>> {
        self.kind(&mut Cx::default(), g)
    }

    fn shared_pairs(&self, cx: &mut Cx, s: &Sentence, fits: bool) -> Res<()> {
        if fits {
            return Ok(());
        }
        let span = s.clauses.per.as_ref().map_or(s.span, |p| p.scope.span);
        cx.err(codes::WRONG_KIND, span, "links are counted per model", "expected `model`")
    }

    /// `random(7)`, or a `score` item that computes one: links have no weight and no gradient.
    fn link_score(&self, cx: &mut Cx, e: &Expr) -> Res<()> {
        let score = self.score(cx, e)?;
        if matches!(score, Score::Random(_)) {
            return Ok(());
        }
        if let ExprKind::Call { callee, args } = &e.kind
            && let Some((_, ItemKind::Score(s))) = callee.as_name().and_then(|n| self.names.find(&None, &n.name))
            && crate::elab::is_value_score(s)
        {
            for (i, a) in args.iter().enumerate() {
                let param = match &a.label {
                    Some(l) => s.sig.params.iter().find(|p| p.name.name == l.name),
                    None => s.sig.params.get(i),
                };
                let ty = param.and_then(|p| p.ty.as_ref());
                if ty.is_some_and(is_relation) {
                    self.links(cx, &a.value, false)?;
                }
            }
            return Ok(());
        }
        let d = Diagnostic::error(codes::WRONG_KIND, "links have no values to score").at(e.span, "a score of weights");
        cx.report(d.help("a `score` item with a result may rank them: `by degree(graph.link)`"))
    }
}

fn is_relation(t: &Type) -> bool {
    matches!(&t.kind, TypeKind::Named { name, .. } if name.as_str() == "relation")
}

fn tensors<'a>(members: impl Iterator<Item = &'a Member>) -> impl Iterator<Item = &'a TensorDecl> {
    members.filter_map(|m| if let Member::Tensor(t) = m { Some(t) } else { None })
}
