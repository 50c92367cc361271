//! Groups: which kind of slices a sentence chooses among.
use super::Resolver;
use super::scope::Over;
use super::tile::{TileSpec, shape};
use crate::cx::{Cx, Res};
use spc_base::{Diagnostic, codes};
use spc_ir::{Cover, Member, Overlap, Scope, Tail};
use spc_syntax::ast::{BinaryOp, Clause, Expr, ExprKind, GroupItem, GroupRef, Ident, Sentence};

/// What a sentence chooses among.
pub enum Kind<'e> {
    Elements,
    Tile(TileSpec<'e>),
    Tensors,
    /// The matrix, and whether (i, j) and (j, i) are one.
    Pairs(&'e Expr, bool),
    Slices(&'e Expr),
}

/// A group with the names of `group` items looked through.
pub struct Found<'e> {
    pub kind: Kind<'e>,
    /// The selection: the outermost `of`.
    pub of: Option<&'e Expr>,
    pub on_overlap: Option<&'e Clause<Ident>>,
}

impl Resolver<'_> {
    /// The kind of a group.
    pub fn kind<'e>(&'e self, cx: &mut Cx, g: &'e GroupRef) -> Res<Found<'e>> {
        let (mut expr, mut of, mut on_overlap) = (&g.group, g.of.as_ref(), None);
        let mut seen: Vec<&GroupItem> = Vec::new();
        loop {
            let kind = match &expr.kind {
                ExprKind::Name(n) => match n.as_str() {
                    "elements" => Kind::Elements,
                    "tensors" => Kind::Tensors,
                    name => {
                        let Some(item) = self.names.group(name) else {
                            let known: Vec<&str> =
                                ["elements", "tensors"].into_iter().chain(self.names.known()).collect();
                            return cx.unknown(n.span, "group", name, known);
                        };
                        if seen.iter().any(|i| std::ptr::eq(*i, item)) {
                            let text = format!("group `{name}` is made of itself");
                            return cx.err(codes::RECURSION, n.span, text, "used here");
                        }
                        seen.push(item);
                        (expr, of) = (&item.group.group, of.or(item.group.of.as_ref()));
                        on_overlap = on_overlap.or(item.on_overlap.as_ref());
                        continue;
                    }
                },
                ExprKind::Call { callee, args } => match callee.as_name().map(|n| n.as_str()) {
                    Some("tile") => Kind::Tile(TileSpec { args, span: expr.span }),
                    Some("slices") => Kind::Slices(expr),
                    Some("pairs") => match args.as_slice() {
                        [a] if a.is_plain() => Kind::Pairs(&a.value, false),
                        [a, b] if a.is_plain() && b.value.as_name().is_some_and(|n| n.as_str() == "undirected") => {
                            Kind::Pairs(&a.value, true)
                        }
                        _ => {
                            let text = "`pairs` takes a square matrix, and perhaps `undirected`";
                            return cx.err(codes::ARGUMENT, expr.span, text, "expected `pairs(net.w, undirected)`");
                        }
                    },
                    Some(other) => {
                        let span = callee.span;
                        return cx.unknown(span, "group", other, ["tile", "slices", "pairs", "elements", "tensors"]);
                    }
                    None => return cx.err(codes::WRONG_KIND, expr.span, "this is no group", "expected `elements`"),
                },
                ExprKind::Slice { .. } | ExprKind::Binary { op: BinaryOp::Join, .. } => Kind::Slices(expr),
                _ => {
                    return cx.err(codes::WRONG_KIND, expr.span, "this is no group", "expected for example `elements`");
                }
            };
            return Ok(Found { kind, of, on_overlap });
        }
    }

    /// Members of a sentence over slices.
    pub fn slices_of(
        &self,
        cx: &mut Cx,
        e: &Expr,
        s: &Sentence,
        _: (Option<&Expr>, Option<&Expr>),
        _: Tail,
        over: &Over<'_>,
    ) -> Res<Vec<Member>> {
        self.shared_scope(
            cx,
            s,
            over,
            "a slice lies in several tensors, so slices are counted per layer or per model",
        )?;
        cx.not_yet(e.span, "slices")
    }

    /// Refuses scopes smaller than groups that several tensors share.
    pub fn shared_scope(&self, cx: &mut Cx, s: &Sentence, over: &Over<'_>, text: &str) -> Res<()> {
        if over.tile.is_none() && matches!(over.scope, Scope::Layer | Scope::Model) {
            return Ok(());
        }
        let span = s.clauses.per.as_ref().map_or(s.span, |p| p.scope.span);
        cx.report(
            Diagnostic::error(codes::WRONG_KIND, text)
                .at(span, "expected `layer` or `model`")
                .also(s.group.span, "the groups"),
        )
    }

    /// The member of a sentence over pairs.
    pub fn pairs_of(&self, cx: &mut Cx, e: &Expr, undirected: bool, s: &Sentence, over: &Over<'_>) -> Res<Vec<Member>> {
        let mut root = e;
        while let ExprKind::Member { base, .. } | ExprKind::Index { base, .. } | ExprKind::Star { base } = &root.kind {
            root = base;
        }
        if root.as_name().is_some_and(|n| self.data.iter().any(|d| d.name == n.name)) {
            return cx.not_yet(e.span, "choosing among the links of a data source");
        }
        if over.tile.is_some() {
            return cx.err(codes::WRONG_KIND, s.span, "pairs are counted per tensor, layer or model", "not per tile");
        }
        let tensors = self.select(cx, e)?;
        let [(m, t)] = tensors.as_slice() else {
            return cx.err(codes::NOTHING_MATCHED, e.span, "`pairs` takes one tensor", "selects another number");
        };
        let tensor = &self.models[*m].tensors[*t];
        let shape = shape(tensor);
        match shape.as_slice() {
            [a, b] if a == b => {}
            _ => {
                let text = format!("`{}` is no square matrix", tensor.path);
                let d = Diagnostic::error(codes::RANK, text).at(e.span, "pairs need two axes of one size");
                return cx.report(d.also(tensor.span, "declared here"));
            }
        }
        let tile = Member::tile(&tensor.path, &shape, &shape, &shape, &tensor.layer);
        Ok(vec![Member { cover: Cover::Pairs { undirected }, ..tile }])
    }

    /// The words after `on_overlap`.
    pub fn overlap(&self, cx: &mut Cx, clause: Option<&Clause<Ident>>) -> Res<Option<Overlap>> {
        let Some(c) = clause else { return Ok(None) };
        match Overlap::from_name(c.value.as_str()) {
            Some(Overlap::Latent) => cx.not_yet(c.span, "`on_overlap latent` in a constraint"),
            Some(o) => Ok(Some(o)),
            None => cx.unknown(c.value.span, "way to treat overlap", &c.value.name, ["sum", "latent", "tree"]),
        }
    }
}
