//! `wq@(H: h) & wo@(H: h)`: slices that the program puts together itself.
use super::Found;
use super::names::{Within, axes_of};
use crate::cx::{Cx, Res};
use crate::module::{Member as Tree, ModelTensor};
use crate::require::Resolver;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{Member, Part, Slices};
use spc_syntax::ast::{Arg, BinaryOp, Expr, ExprKind, Ident};
use std::collections::BTreeMap;

/// `wq@(H: h)`
struct Term<'e> {
    base: &'e Expr,
    args: &'e [Arg],
    span: Span,
}

fn terms<'e>(cx: &mut Cx, e: &'e Expr, out: &mut Vec<Term<'e>>) -> Res<()> {
    let mut todo = vec![e];
    while let Some(e) = todo.pop() {
        match &e.kind {
            ExprKind::Binary { op: BinaryOp::Join, lhs, rhs, .. } => todo.extend([rhs.as_ref(), lhs.as_ref()]),
            ExprKind::Slice { base, args } => out.push(Term { base, args, span: e.span }),
            _ => {
                return cx.err(
                    codes::WRONG_KIND,
                    e.span,
                    "`&` joins slices of tensors",
                    "expected for example `wq@(H: h)`",
                );
            }
        }
    }
    Ok(())
}

/// The first name of a path such as `net.layer[l].wq`.
pub(super) fn root(e: &Expr) -> Option<&Ident> {
    match &e.kind {
        ExprKind::Name(n) => Some(n),
        ExprKind::Member { base, .. }
        | ExprKind::Index { base, .. }
        | ExprKind::Star { base }
        | ExprKind::Pick { base, .. } => root(base),
        _ => None,
    }
}

impl Resolver<'_> {
    /// The members of all families of an explicit join, one family for each repetition that the paths run through.
    pub fn join(&self, cx: &mut Cx, found: &Found<'_>, on: Option<&Expr>) -> Res<Vec<Member>> {
        let mut list = Vec::new();
        terms(cx, found.expr, &mut list)?;
        let places = match on.or(found.of) {
            Some(e) => self.walk(cx, e)?,
            None => Vec::new(),
        };
        let mut sizes: BTreeMap<String, (u64, Span)> = BTreeMap::new();
        let mut out: Vec<Member> = Vec::new();
        let mut count: Option<(usize, Span)> = None;
        for term in &list {
            let tensors = self.tensors_of(cx, term, &places)?;
            match count {
                Some((n, first)) if n != tensors.len() => {
                    let text = format!("these slices repeat {n} and {} times", tensors.len());
                    let d = Diagnostic::error(codes::GROUP_INDEX, text).at(term.span, "joined here");
                    return cx.report(d.also(first, "with this"));
                }
                _ => count = count.or(Some((tensors.len(), term.span))),
            }
            for (family, t) in (0u32..).zip(tensors) {
                cx.spend(1, term.span)?;
                let part = self.part(cx, term, t)?;
                let index = term
                    .args
                    .iter()
                    .filter_map(|a| a.value.as_name())
                    .map(|n| n.as_str())
                    .collect::<Vec<_>>()
                    .join(", ");
                match sizes.get(&index) {
                    Some((n, first)) if *n != part.size => {
                        let text = format!("`{index}` runs over axes of {n} and {} positions", part.size);
                        let d = Diagnostic::error(codes::GROUP_INDEX, text).at(term.span, "joined here");
                        return cx.report(d.also(*first, "with this"));
                    }
                    Some(_) => {}
                    None if sizes.is_empty() => {
                        sizes.insert(index, (part.size, term.span));
                    }
                    None => {
                        let text = "slices that are joined have the same index";
                        return cx.err(codes::GROUP_INDEX, term.span, text, "another index than before");
                    }
                }
                let same = |m: &&mut Member| {
                    m.weight == t.path && matches!(&m.cover, spc_ir::Cover::Slices(s) if s.family == family)
                };
                if let Some(m) = out.iter_mut().find(same) {
                    if let spc_ir::Cover::Slices(s) = &mut m.cover {
                        s.parts.push(part);
                    }
                    continue;
                }
                let shape: Vec<u64> = t.dims.iter().map(|d| d.size.fixed().unwrap_or(0)).collect();
                out.push(Member::slices(&t.path, &shape, Slices { family, by: 1, parts: vec![part] }, &t.layer));
            }
        }
        Ok(out)
    }

    /// The tensors that a term means, in order of repetition.
    fn tensors_of(&self, cx: &mut Cx, term: &Term<'_>, places: &[(usize, &Tree)]) -> Res<Vec<&ModelTensor>> {
        let absolute = root(term.base).is_some_and(|n| self.models.iter().any(|m| m.name == n.name));
        let found = if absolute || places.is_empty() {
            self.walk(cx, term.base)?
        } else {
            let mut found = Vec::new();
            for (m, tree) in places {
                match within(tree, term.base) {
                    Some(t) => found.push((*m, t)),
                    None => {
                        let text = "the selection has no such tensor";
                        return cx.err(codes::NOTHING_MATCHED, term.base.span, text, "matches nothing");
                    }
                }
            }
            found
        };
        let mut out = Vec::new();
        for (m, tree) in found {
            let Tree::Tensor(t) = tree else {
                return cx.err(codes::WRONG_KIND, term.base.span, "slices are cut from a tensor", "a group of tensors");
            };
            out.extend(self.models.get(m).and_then(|m| m.tensors.get(*t)));
        }
        Ok(out)
    }

    /// Where the axes of a term lie in a tensor. Several must be neighbours in one dimension.
    fn part(&self, cx: &mut Cx, term: &Term<'_>, t: &ModelTensor) -> Res<Part> {
        let mut hits: Vec<(u32, Within)> = Vec::new();
        for a in term.args {
            let (Some(axis), Some(_)) = (&a.label, a.value.as_name()) else {
                return cx.err(codes::ARGUMENT, a.span, "a slice names an axis and an index", "expected `H: h`");
            };
            let mut here =
                (0u32..).zip(&t.dims).flat_map(|(i, d)| axes_of(d, self.axes).into_iter().map(move |w| (i, w)));
            let mut here: Vec<(u32, Within)> = here.by_ref().filter(|(_, w)| w.axis == axis.name).collect();
            match (here.pop(), here.is_empty()) {
                (Some(one), true) => hits.push(one),
                (Some(_), false) => {
                    let text = format!("axis `{}` occurs twice in `{}`", axis.name, t.path);
                    return cx.err(codes::REPEATED_AXIS, axis.span, text, "which one is meant?");
                }
                (None, _) => {
                    self.dims_of(cx, t, axis)?;
                    let text = format!("`{}` has no axis `{}`", t.path, axis.name);
                    return cx.err(codes::UNKNOWN_AXIS, axis.span, text, "named here");
                }
            }
        }
        hits.sort_by_key(|(_, w)| w.inner);
        let Some((dim, first)) = hits.first().cloned() else {
            return cx.err(codes::ARGUMENT, term.span, "a slice names an axis", "expected `wq@(H: h)`");
        };
        let mut size = 1u64;
        for (d, w) in &hits {
            if *d != dim || w.inner != first.inner.saturating_mul(size) {
                return cx.not_yet(term.span, "a slice along axes that are not neighbours in one dimension");
            }
            size = size.saturating_mul(w.size);
        }
        let end = t.dims.get(dim as usize).and_then(|d| d.size.fixed()).unwrap_or(0);
        Ok(Part { dim, start: 0, end, inner: first.inner, size })
    }
}

/// A path below a place: `wq`, `mlp.up`.
fn within<'t>(tree: &'t Tree, e: &Expr) -> Option<&'t Tree> {
    let (below, name) = match &e.kind {
        ExprKind::Name(n) => (tree, n),
        ExprKind::Member { base, name } => (within(tree, base)?, name),
        _ => return None,
    };
    match below {
        Tree::Record(map) => map.get(&name.name),
        _ => None,
    }
}
