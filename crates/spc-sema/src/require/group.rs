//! Groups: which kind of slices a sentence chooses among.
use super::Resolver;
use super::scope::Over;
use super::tile::{TileSpec, shape};
use crate::cx::{Cx, Res};
use crate::group as slices;
use spc_base::{Diagnostic, codes};
use spc_ir::{Cover, Member, Scope, Tail};
use spc_syntax::ast::{Clause, Expr, ExprKind, GroupRef, Ident, Sentence};

/// What a sentence chooses among.
pub enum Kind<'e> {
    Elements,
    Tile(TileSpec<'e>),
    Tensors,
    /// The matrix, and whether (i, j) and (j, i) are one.
    Pairs(&'e Expr, bool),
    Slices(slices::Found<'e>),
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
        let look = slices::look(cx, self.names, g)?;
        let (expr, of, on_overlap) = (look.expr, look.of, look.on_overlap());
        let kind = match &expr.kind {
            ExprKind::Name(n) => match n.as_str() {
                "elements" => Kind::Elements,
                "tensors" => Kind::Tensors,
                name => {
                    let known: Vec<&str> = ["elements", "tensors"].into_iter().chain(self.names.known()).collect();
                    return cx.unknown(n.span, "group", name, known);
                }
            },
            _ if slices::is_slices(expr) => Kind::Slices(look),
            ExprKind::Call { callee, args } => match callee.as_name().map(|n| n.as_str()) {
                Some("tile") => Kind::Tile(TileSpec { args, span: expr.span }),
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
                    let known = ["tile", "slices", "pairs", "elements", "tensors"];
                    return cx.unknown(callee.span, "group", other, known);
                }
                None => return cx.err(codes::WRONG_KIND, expr.span, "this is no group", "expected `elements`"),
            },
            ExprKind::Num(_) => {
                return cx.report(
                    Diagnostic::error(codes::WRONG_KIND, "a number is no group")
                        .at(expr.span, "expected for example `elements`")
                        .help("2 of each 4 is written `keep 2 of elements per tile(in: 4)`, or `nm(2, 4)` from `std.patterns.nm`"),
                );
            }
            _ => return cx.err(codes::WRONG_KIND, expr.span, "this is no group", "expected for example `elements`"),
        };
        Ok(Found { kind, of, on_overlap })
    }

    /// Members of a sentence over slices.
    pub fn slices_of(
        &self,
        cx: &mut Cx,
        found: &slices::Found<'_>,
        s: &Sentence,
        (on, except): (Option<&Expr>, Option<&Expr>),
        tail: Tail,
        over: &Over<'_>,
    ) -> Res<Vec<Member>> {
        let text = "a slice lies in several tensors, so slices are counted per layer or per model";
        self.shared_scope(cx, s, over, text)?;
        self.slice_members(cx, found, on, except, tail)
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
        if self.is_links(e) {
            self.links(cx, e, undirected)?;
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
}
