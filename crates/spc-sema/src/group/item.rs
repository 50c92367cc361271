//! `group` items on their own: what can be said of them whether or not a sentence uses them.
use super::{Found, is_slices, look};
use crate::cx::{Cx, Res};
use crate::module::{Group, GroupWeight};
use crate::require::Resolver;
use spc_base::{Diagnostic, codes};
use spc_ir::{Cost, Tail};
use spc_syntax::ast::{Ast, Clause, Expr, ExprKind, GroupItem, IdxKind, ItemKind};

/// Checks every `group` item; those that are slices of weights are resolved.
pub fn check_items(cx: &mut Cx, r: &Resolver<'_>, ast: &Ast) -> Vec<Group> {
    let mut out = Vec::new();
    for item in &ast.items {
        let ItemKind::Group(g) = &item.kind else { continue };
        let before = cx.diags.len();
        if let Ok(group) = one(cx, r, g) {
            out.extend(group);
        }
        // A sentence that uses the group has said the same already.
        let fresh = cx.diags.split_off(before);
        let (said, fresh): (Vec<Diagnostic>, Vec<Diagnostic>) = fresh.into_iter().partition(|d| cx.diags.contains(d));
        drop(said);
        cx.diags.extend(fresh);
    }
    out
}

fn one(cx: &mut Cx, r: &Resolver<'_>, g: &GroupItem) -> Res<Option<Group>> {
    for (i, b) in g.binder.iter().enumerate() {
        if let Some(first) = g.binder[..i].iter().find(|a| a.index.name == b.index.name) {
            let text = format!("the index `{}` is declared twice", b.index.name);
            let d = Diagnostic::error(codes::DUPLICATE, text).at(b.index.span, "declared again here");
            return cx.report(d.also(first.index.span, "first declared here"));
        }
    }
    let cost = g.cost.as_ref().map(|c| weighting(cx, r, c)).transpose()?;
    let energy = g.energy.as_ref().map(|c| weighting(cx, r, c)).transpose()?;
    if let Some(o) = &g.on_overlap
        && !matches!(o.value.as_str(), "sum" | "latent" | "tree")
    {
        return cx.unknown(o.value.span, "way to treat overlap", &o.value.name, ["sum", "latent", "tree"]);
    }
    let found = look(cx, r.names, &g.group)?;
    r.check_links(cx, &g.group)?;
    if !is_slices(found.expr) || found.of.is_some_and(|e| r.is_run_time(e)) {
        return Ok(None);
    }
    indices(cx, g, &found)?;
    let members = r.slice_members(cx, &found, None, None, Tail::Ragged)?;
    Ok(Some(Group { name: g.name.name.clone(), members, cost, energy, span: g.name.span }))
}

/// Indices in the selection are those of the binder, and each index with an axis is one that the group runs over.
fn indices(cx: &mut Cx, g: &GroupItem, found: &Found<'_>) -> Res<()> {
    let declared: Vec<&str> = g.binder.iter().map(|b| b.index.as_str()).collect();
    let mut todo: Vec<&Expr> = g.group.of.iter().chain([&g.group.group]).collect();
    let mut axes: Vec<&str> = Vec::new();
    while let Some(e) = todo.pop() {
        match &e.kind {
            ExprKind::Index { base, idx } => {
                todo.push(base);
                for i in idx {
                    if let IdxKind::Expr(e) = &i.kind
                        && let Some(n) = e.as_name()
                        && !declared.contains(&n.as_str())
                    {
                        return cx.report(
                            Diagnostic::error(codes::GROUP_INDEX, format!("the group has no index `{}`", n.name))
                                .at(n.span, "not declared")
                                .help(format!(
                                    "write `group {}[{}] = ..`",
                                    g.name.name,
                                    [&declared[..], &[n.as_str()]].concat().join(", ")
                                )),
                        );
                    }
                }
            }
            ExprKind::Slice { base, args } => {
                todo.push(base);
                for a in args {
                    axes.extend(a.label.as_ref().map(|l| l.as_str()));
                    if let Some(n) = a.value.as_name()
                        && !declared.contains(&n.as_str())
                    {
                        return cx.report(
                            Diagnostic::error(codes::GROUP_INDEX, format!("the group has no index `{}`", n.name))
                                .at(n.span, "not declared")
                                .also(g.name.span, "declare it in brackets after the name"),
                        );
                    }
                }
            }
            ExprKind::Call { args, .. } => {
                axes.extend(args.iter().filter_map(|a| a.value.as_name()).map(|n| n.as_str()))
            }
            ExprKind::Binary { lhs, rhs, .. } => todo.extend([lhs.as_ref(), rhs.as_ref()]),
            ExprKind::Member { base, .. } | ExprKind::Star { base } | ExprKind::Pick { base, .. } => todo.push(base),
            _ => {}
        }
    }
    if found.items.len() > 1 {
        return Ok(());
    }
    for b in &g.binder {
        if let Some(axis) = &b.axis
            && !axes.contains(&axis.as_str())
        {
            let text = format!("the group does not run over axis `{}`", axis.name);
            return cx.err(codes::GROUP_INDEX, axis.span, text, "not an axis of this group");
        }
    }
    Ok(())
}

/// What a group's `cost:` or `energy:` comes to over these weights.
pub fn weight_of(
    cx: &mut Cx,
    r: &Resolver<'_>,
    c: &Clause<Expr>,
    over: &spc_ir::Require,
) -> Res<spc_ir::method::GroupWeight> {
    use spc_ir::method::GroupWeight as Out;
    Ok(match weighting(cx, r, c)? {
        GroupWeight::Number(x) => Out::Number(x),
        GroupWeight::Size => Out::Size,
        GroupWeight::SqrtSize => Out::SqrtSize,
        GroupWeight::Named(_) => {
            let q = crate::time::at(cx, r.names, &c.value, r.moment)?;
            Out::Number(q.value)
        }
        GroupWeight::Cost(of) => {
            let mut members = over.keeps.last().map(|k| k.members.clone()).unwrap_or_default();
            r.price(cx, &mut members, of)?;
            Out::PerElement(members.into_iter().map(|m| (m.weight, m.cost)).collect())
        }
    })
}

/// `cost: flops`, `energy: 2`, `energy: sqrt(size)`, `energy: e`.
fn weighting(cx: &mut Cx, r: &Resolver<'_>, c: &Clause<Expr>) -> Res<GroupWeight> {
    let e = &c.value;
    match &e.kind {
        ExprKind::Num(n) => Ok(GroupWeight::Number(n.value)),
        ExprKind::Name(n) => match n.as_str() {
            "size" => Ok(GroupWeight::Size),
            "params" => Ok(GroupWeight::Cost(Cost::Params)),
            "bytes" => Ok(GroupWeight::Cost(Cost::Bytes)),
            "flops" => Ok(GroupWeight::Cost(Cost::Flops)),
            other if r.names.items.contains_key(other) => Ok(GroupWeight::Named(other.to_string())),
            other => {
                let known = ["size", "params", "bytes", "flops"].into_iter().chain(r.names.known());
                cx.unknown(n.span, "weight of a group", other, known.collect::<Vec<_>>())
            }
        },
        ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "sqrt") => {
            match args.as_slice() {
                [a] if a.value.as_name().is_some_and(|n| n.as_str() == "size") => Ok(GroupWeight::SqrtSize),
                _ => cx.not_yet(e.span, "this weight of a group"),
            }
        }
        _ => cx.not_yet(e.span, "this weight of a group"),
    }
}
