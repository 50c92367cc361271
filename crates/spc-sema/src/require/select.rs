//! Selectors: from `net.layer.*.{gate, up}` to tensors.
use super::Resolver;
use crate::cx::{Cx, Res};
use crate::module::Member;
use spc_base::{Diagnostic, codes};
use spc_ir::DType;
use spc_syntax::ast::{self, Expr, ExprKind, IdxKind};

impl Resolver<'_> {
    /// What a wildcard means: f32, two or more axes, read by a product.
    pub fn prunable(&self, m: usize, t: usize) -> bool {
        let t = &self.models[m].tensors[t];
        t.dtype == DType::F32 && t.dims.len() >= 2 && self.roles.contains_key(&t.path)
    }

    /// Tensors under a selector: those named are taken as they are, those under a wildcard if they are prunable.
    pub fn select(&self, cx: &mut Cx, e: &Expr) -> Res<Vec<(usize, usize)>> {
        let mut out = Vec::new();
        for (m, member) in self.walk(cx, e)? {
            let exact = matches!(member, Member::Tensor(_));
            let mut all = Vec::new();
            tensors_below(member, &mut all);
            out.extend(all.into_iter().filter(|t| exact || self.prunable(m, *t)).map(|t| (m, t)));
        }
        Ok(out)
    }

    pub fn walk(&self, cx: &mut Cx, e: &Expr) -> Res<Vec<(usize, &Member)>> {
        match &e.kind {
            ExprKind::Name(n) => match self.models.iter().position(|m| m.name == n.name) {
                Some(m) => Ok(vec![(m, &self.models[m].root)]),
                None => {
                    let known: Vec<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
                    cx.unknown(n.span, "model", &n.name, known)
                }
            },
            ExprKind::Member { base, name } => self.children(cx, base, std::slice::from_ref(name)),
            ExprKind::Pick { base, names } => self.children(cx, base, names),
            ExprKind::Star { base } => {
                let mut out = Vec::new();
                for (m, member) in self.walk(cx, base)? {
                    match member {
                        Member::Record(map) => {
                            for child in map.values() {
                                // A tensor reached by `*` counts as under a wildcard.
                                match child {
                                    Member::Tensor(t) if !self.prunable(m, *t) => {}
                                    _ => out.push((m, child)),
                                }
                            }
                        }
                        Member::Family { items, .. } => out.extend(items.iter().map(|i| (m, i))),
                        Member::Tensor(_) => {}
                    }
                }
                Ok(out)
            }
            ExprKind::Index { base, idx } => {
                let mut out = Vec::new();
                for (m, member) in self.walk(cx, base)? {
                    let Member::Family { items, .. } = member else {
                        return cx.err(codes::WRONG_KIND, e.span, "only a repeated group is indexed", "not repeated");
                    };
                    match idx.as_slice() {
                        [ast::Idx { kind: IdxKind::Expr(i), .. }] => match i.as_int() {
                            Some(n) => match items.get(n as usize) {
                                Some(item) => out.push((m, item)),
                                None => return cx.err(codes::INDEX, i.span, "the index is out of range", "here"),
                            },
                            None => out.extend(items.iter().map(|i| (m, i))),
                        },
                        _ => return cx.err(codes::RANK, e.span, "one index is needed", "here"),
                    }
                }
                Ok(out)
            }
            _ => cx.err(codes::WRONG_KIND, e.span, "this selects no tensors", "expected `net.layer.*.{a, b}`"),
        }
    }

    fn children(&self, cx: &mut Cx, base: &Expr, names: &[ast::Ident]) -> Res<Vec<(usize, &Member)>> {
        let mut out = Vec::new();
        for (m, member) in self.walk(cx, base)? {
            let Member::Record(map) = member else {
                let help = matches!(member, Member::Family { .. });
                let mut d = Diagnostic::error(codes::UNKNOWN_MEMBER, "this has no members")
                    .at(base.span, "not a group of named tensors");
                if help {
                    d = d.help("a repeated group is taken whole by `.*`, or by index: `layer.*.up`");
                }
                return cx.report(d);
            };
            for n in names {
                match map.get(&n.name) {
                    Some(child) => out.push((m, child)),
                    None => {
                        let mut d = Diagnostic::error(
                            codes::NOTHING_MATCHED,
                            format!("no tensor `{}` is declared here", n.name),
                        )
                        .at(n.span, "matches nothing");
                        if let Some(near) = crate::cx::closest(&n.name, map.keys().map(String::as_str)) {
                            d = d.help(format!("did you mean `{near}`?")).fix(n.span, near);
                        }
                        return cx.report(d);
                    }
                }
            }
        }
        Ok(out)
    }
}

/// Numbers of all tensors below a member.
pub fn tensors_below(m: &Member, out: &mut Vec<usize>) {
    match m {
        Member::Tensor(t) => out.push(*t),
        Member::Record(map) => map.values().for_each(|c| tensors_below(c, out)),
        Member::Family { items, .. } => items.iter().for_each(|c| tensors_below(c, out)),
    }
}
