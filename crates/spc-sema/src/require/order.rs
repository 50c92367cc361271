//! Several constraints on one tensor: an order in which a later one can break an earlier one is refused.
//!
//! Constraints act in file order, each on what is left, and remove only. What a sentence says with "at most" can therefore
//! never be broken by a later one. Three things can: a floor, a `multiple`, and `n of m`, which says how many of every m
//! stay. They break when a later constraint takes away a whole group that the earlier one kept. It cannot do that where, in
//! some tensor that the group lies in, it does not act at all, or counts in scopes that each lie inside one group: then
//! something of the group stays in each scope. So coarse comes before fine: blocks and then `2 of 4` inside them, never the
//! other way round.
use crate::cx::Cx;
use crate::module::Require;
use spc_base::{Diagnostic, codes};
use spc_ir::{Amount, Cover, Keep, Member, Scope};
use std::collections::{BTreeMap, BTreeSet};

/// The constraints that act on each weight, ascending.
pub fn by_weight(requires: &[Require]) -> BTreeMap<&str, Vec<usize>> {
    let mut out: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, r) in requires.iter().enumerate() {
        for m in r.keeps.iter().flat_map(|k| &k.members) {
            let on = out.entry(m.weight.as_str()).or_default();
            if on.last() != Some(&i) {
                on.push(i);
            }
        }
    }
    out
}

/// Reports each pair of constraints in which the later can break the earlier. Only constraints that share a weight can.
pub fn check_order(cx: &mut Cx, requires: &[Require]) {
    let on = by_weight(requires);
    for (i, later) in requires.iter().enumerate() {
        let weights = later.keeps.iter().flat_map(|k| &k.members).map(|m| m.weight.as_str());
        let sharing: BTreeSet<usize> =
            weights.filter_map(|w| on.get(w)).flatten().copied().filter(|e| *e < i).collect();
        for earlier in sharing.into_iter().filter_map(|e| requires.get(e)) {
            let broken = breaks(earlier, later);
            if let Some((promise, weight)) = broken {
                let help = match breaks(later, earlier) {
                    None => format!("coarse before fine: write `{}` first", later.name),
                    Some(_) => "no order helps: leave out the `min`, the `multiple` or one of the two".to_string(),
                };
                cx.diags.push(
                    Diagnostic::error(codes::CONFLICT, format!("`{}` can break `{}`", later.name, earlier.name))
                        .at(later.span, format!("takes away what `{}` keeps in `{weight}`", earlier.name))
                        .also(earlier.span, promise)
                        .help(help),
                );
            }
        }
    }
}

/// What the earlier constraint says that the later one can break, and a tensor where it can.
fn breaks(earlier: &Require, later: &Require) -> Option<(String, String)> {
    earlier.keeps.iter().find_map(|a| {
        let promise = promise(a)?;
        let by = later.keeps.iter().find(|b| takes_groups(a, b))?;
        let shared = by.members.iter().find(|m| a.members.iter().any(|x| x.weight == m.weight))?;
        Some((promise, shared.weight.clone()))
    })
}

/// What a sentence promises to stay.
fn promise(k: &Keep) -> Option<String> {
    if let Amount::OutOf { n, m } = k.amount {
        return Some(format!("says that {n} of {m} stay"));
    }
    if k.floor.is_some() {
        return Some("its floor says that some stay".into());
    }
    (k.multiple > 1).then(|| format!("keeps a multiple of {}", k.multiple))
}

/// Whether sentence `b` can remove a whole group that sentence `a` kept.
fn takes_groups(a: &Keep, b: &Keep) -> bool {
    let spared = |m: &Member| {
        let on: Vec<&Member> = b.members.iter().filter(|x| x.weight == m.weight).collect();
        on.is_empty() || (b.scope == Scope::Tile && on.iter().all(|x| scope_inside(x, m)))
    };
    let touched = |m: &Member| b.members.iter().any(|x| x.weight == m.weight);
    let mut families: Vec<u32> = Vec::new();
    a.members.iter().any(|m| match &m.cover {
        Cover::Slices(s) => {
            if families.contains(&s.family) {
                return false;
            }
            families.push(s.family);
            let family = |x: &&Member| matches!(&x.cover, Cover::Slices(y) if y.family == s.family);
            let mut all = a.members.iter().filter(family);
            all.clone().any(touched) && !all.any(spared)
        }
        _ => touched(m) && !spared(m),
    })
}

/// Whether each scope tile of `inner` lies inside one group of `outer`.
fn scope_inside(inner: &Member, outer: &Member) -> bool {
    match &outer.cover {
        Cover::Tile(group) => inner.scope.iter().zip(group).zip(&outer.shape).all(|((s, g), n)| g % s == 0 || g >= n),
        // One position, or positions of one group, along the axis.
        Cover::Slices(s) => s.parts.iter().any(|p| {
            let run = p.inner.saturating_mul(s.by);
            let scope = inner.scope.get(p.dim as usize).copied().unwrap_or(u64::MAX);
            let whole = p.start == 0 && outer.shape.get(p.dim as usize) == Some(&p.end);
            whole && run % scope.max(1) == 0
        }),
        Cover::Pairs { .. } => inner.scope.iter().all(|s| *s == 1),
    }
}
