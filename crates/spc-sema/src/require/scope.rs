//! Scopes and floors.
use super::Resolver;
use super::group::Kind;
use super::tile::TileSpec;
use crate::cx::{Cx, Res};
use crate::module::Member as Tree;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{Floor, Member, Scope, Tail};
use spc_syntax::ast::{self, Expr, ExprKind, Ident, ScopeKind};

/// Scope tiles as written.
pub enum Tiles<'e> {
    Tile(TileSpec<'e>),
    /// One position of each of these axes, whole along the others.
    Axes(Vec<&'e Ident>, Span),
}

/// Over which set an amount is counted.
pub struct Over<'e> {
    pub scope: Scope,
    pub tile: Option<Tiles<'e>>,
}

impl Resolver<'_> {
    pub fn scope<'e>(&self, cx: &mut Cx, s: Option<&'e ast::Scope>, span: Span) -> Res<Over<'e>> {
        let Some(s) = s else {
            return cx.report(
                Diagnostic::error(codes::AMOUNT, "the sentence does not say over which set the amount is counted")
                    .at(span, "no `per`")
                    .help("add `per tensor`, `per layer`, `per model` or `per tile(in: 4)`"),
            );
        };
        let plain = |scope| Ok(Over { scope, tile: None });
        match &s.kind {
            ScopeKind::Tensor => plain(Scope::Tensor),
            ScopeKind::Layer => plain(Scope::Layer),
            ScopeKind::Model => plain(Scope::Model),
            ScopeKind::Expr(e) => match &e.kind {
                ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "tile") => {
                    let tile = Tiles::Tile(TileSpec { args, span: e.span });
                    Ok(Over { scope: Scope::Tile, tile: Some(tile) })
                }
                ExprKind::Name(n) if self.is_layer_axis(n) => plain(Scope::Layer),
                ExprKind::Name(n) => self.axes_scope(cx, vec![n], e.span),
                ExprKind::Tuple(list) => {
                    let mut names = Vec::new();
                    for e in list {
                        match e.as_name() {
                            Some(n) => names.push(n),
                            None => return cx.err(codes::WRONG_KIND, e.span, "this is no axis", "not a name"),
                        }
                    }
                    self.axes_scope(cx, names, e.span)
                }
                _ => cx.err(codes::WRONG_KIND, e.span, "this is no scope", "expected for example `tensor`"),
            },
        }
    }

    fn axes_scope<'e>(&self, cx: &mut Cx, names: Vec<&'e Ident>, span: Span) -> Res<Over<'e>> {
        for n in &names {
            if !matches!(n.as_str(), "in" | "out") && !self.axes.contains_key(n.as_str()) {
                let words = ["tensor", "layer", "model", "tile", "in", "out"];
                let known: Vec<&str> = words.into_iter().chain(self.axes.keys().map(String::as_str)).collect();
                return cx.unknown(n.span, "scope", &n.name, known);
            }
        }
        Ok(Over { scope: Scope::Tile, tile: Some(Tiles::Axes(names, span)) })
    }

    /// Whether an axis numbers the repetitions of a model.
    fn is_layer_axis(&self, n: &Ident) -> bool {
        fn holds(t: &Tree, name: &str) -> bool {
            match t {
                Tree::Tensor(_) => false,
                Tree::Record(map) => map.values().any(|c| holds(c, name)),
                Tree::Family { axis, items } => axis == name || items.first().is_some_and(|i| holds(i, name)),
            }
        }
        self.models.iter().any(|m| holds(&m.root, n.as_str()))
    }

    /// `min 4 per layer`, `min 0.05% per tensor`, `min 1 per tile(out: 1, in: all)`. A percentage is of the groups over which
    /// the amount is counted.
    pub fn floor(
        &self,
        cx: &mut Cx,
        f: &ast::Floor,
        kind: &Kind<'_>,
        members: &mut [Member],
        tail: Tail,
    ) -> Res<Floor> {
        let over = self.scope(cx, Some(&f.scope), f.span)?;
        if let Some(tiles) = &over.tile {
            if !matches!(kind, Kind::Elements | Kind::Tile(_)) {
                let text = "only elements and tiles have a floor per tile";
                return cx.err(codes::WRONG_KIND, f.scope.span, text, "expected `tensor`, `layer` or `model`");
            }
            for m in members.iter_mut() {
                let all = self.models.iter().flat_map(|x| &x.tensors);
                let Some(t) = all.into_iter().find(|t| t.path == m.weight) else { continue };
                let tile = match tiles {
                    Tiles::Tile(spec) => self.tile(cx, t, spec)?,
                    Tiles::Axes(axes, _) => self.slab(cx, t, axes)?,
                };
                self.divides(cx, t, &tile, f.scope.span, tail)?;
                let group = m.group().unwrap_or_default();
                if tile.iter().zip(group).any(|(a, b)| a % b != 0) {
                    let text = "the groups do not divide the scope of the floor";
                    return cx.err(codes::TILE, f.scope.span, text, "group and scope do not fit");
                }
                m.floor = Some(tile);
            }
        }
        let (count, share) = match &f.amount {
            Expr { kind: ExprKind::Pct(p), .. } if p.num > 0 && p.num < p.den => (0, Some((p.num, p.den))),
            e => (self.positive(cx, e)?, None),
        };
        Ok(Floor { count, share, scope: over.scope })
    }
}
