//! What a constraint keeps, in plain words and numbers.
use crate::analysis::grouped;
use spc_ir::{Amount, Cover, Keep, Member, Scope, Tail};
use spc_sema::{Module, Require};
use std::collections::BTreeMap;

/// Size of one group along each dimension, where groups are tiles.
fn group(m: &Member) -> Option<&[u64]> {
    m.group()
}

/// How many tiles of this size cover a shape.
fn tiles(shape: &[u64], tile: &[u64]) -> u64 {
    shape.iter().zip(tile).fold(1u64, |n, (s, t)| n.saturating_mul(s.div_ceil((*t).max(1))))
}

fn elements(shape: &[u64]) -> u64 {
    shape.iter().fold(1u64, |n, s| n.saturating_mul(*s))
}

/// How many of `n` groups are kept; `None` where that depends on the weights.
fn kept(k: &Keep, n: u64) -> Option<u64> {
    let plain = match &k.amount {
        Amount::Count(c) => *c,
        Amount::OutOf { n: kept, m } if n == *m || k.tail == Tail::Pad => *kept,
        // A short scope keeps its share, rounded up.
        Amount::OutOf { n: kept, m } => n.saturating_mul(*kept).div_ceil((*m).max(1)),
        Amount::Share { num, den } => {
            let share = u128::from(n) * u128::from(*num);
            u64::try_from(share.div_ceil(u128::from((*den).max(1)))).unwrap_or(u64::MAX).max(1)
        }
        Amount::Above(_) | Amount::Budget { .. } => return None,
    };
    let up = plain.div_ceil(k.multiple.max(1)).saturating_mul(k.multiple.max(1));
    Some(up.min(n))
}

/// Numbers for some tensors together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub kept: u64,
    pub all: u64,
    /// What is counted: `elements`, or `slices` of coupled weights.
    pub unit: &'static str,
}

const WHOLE: &str = "all of it";

/// Groups that are slices of coupled weights: a family is one set of groups, however many weights carry it.
fn of_slices(k: &Keep) -> Option<BTreeMap<String, Kept>> {
    let mut families: BTreeMap<u32, (u64, &str)> = BTreeMap::new();
    for m in &k.members {
        let Cover::Slices(s) = &m.cover else { return None };
        families.entry(s.family).or_insert((s.groups(), m.layer.as_str()));
    }
    let mut groups: BTreeMap<String, u64> = BTreeMap::new();
    for (n, layer) in families.values() {
        let key = match k.scope {
            Scope::Layer => layer,
            Scope::Model => WHOLE,
            Scope::Tile | Scope::Tensor => return None,
        };
        *groups.entry(key.to_string()).or_default() += n;
    }
    groups.into_iter().map(|(key, all)| Some((key, Kept { kept: kept(k, all)?, all, unit: "slices" }))).collect()
}

/// Kept and all elements by tensor, or by layer or model where the amount is counted over several tensors; `None` where
/// the number depends on the weights.
fn of_sentence(k: &Keep, before: Option<&BTreeMap<String, Kept>>) -> Option<BTreeMap<String, Kept>> {
    if k.floor.is_some() || k.members.iter().any(|m| m.amount.is_some()) {
        return None;
    }
    if k.members.iter().any(|m| matches!(m.cover, Cover::Slices(_))) {
        return of_slices(k).filter(|_| before.is_none());
    }
    let mut out: BTreeMap<String, Kept> = BTreeMap::new();
    let mut together: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for m in &k.members {
        let tile = group(m)?;
        let (size, all) = (elements(tile), elements(&m.shape));
        // Groups at an edge that are not whole hold fewer elements, and which are kept is not known.
        let whole = m.shape.iter().zip(tile).all(|(s, t)| *t > 0 && s % t == 0);
        match k.scope {
            Scope::Tile => {
                let ragged = m.shape.iter().zip(&m.scope).any(|(s, t)| *t == 0 || s % t != 0);
                if !whole || ragged {
                    return None;
                }
                let scopes = tiles(&m.shape, &m.scope);
                let each = kept(k, tiles(&m.scope, tile))?;
                let kept = scopes.saturating_mul(each).saturating_mul(size);
                out.insert(m.weight.clone(), Kept { kept, all, unit: "elements" });
            }
            Scope::Tensor if whole => {
                let kept = kept(k, tiles(&m.shape, tile))?.saturating_mul(size);
                out.insert(m.weight.clone(), Kept { kept, all, unit: "elements" });
            }
            Scope::Layer | Scope::Model if whole => {
                let key = if k.scope == Scope::Layer { m.layer.clone() } else { WHOLE.to_string() };
                let t = together.entry(key).or_insert((0, 0, size));
                if t.2 != size {
                    return None;
                }
                (t.0, t.1) = (t.0 + tiles(&m.shape, tile), t.1 + all);
            }
            _ => return None,
        }
    }
    for (key, (groups, all, size)) in together {
        out.insert(key, Kept { kept: kept(k, groups)?.saturating_mul(size), all, unit: "elements" });
    }
    // What an earlier sentence left bounds what a later one can keep.
    if let Some(before) = before {
        for (key, v) in &mut out {
            v.kept = v.kept.min(before.get(key)?.kept);
        }
    }
    Some(out)
}

/// Kept and all elements of a constraint.
pub fn of_require(r: &Require) -> Option<BTreeMap<String, Kept>> {
    let mut last: Option<BTreeMap<String, Kept>> = None;
    for k in &r.keeps {
        last = Some(of_sentence(k, last.as_ref())?);
    }
    last
}

/// `50 %`, `6.25 %`, `33.3 %`
pub fn percent(part: u64, whole: u64) -> String {
    let p = 100.0 * part as f64 / (whole as f64).max(1.0);
    let text = if (p * 100.0).fract().abs() < 1e-9 { format!("{p:.2}") } else { format!("{p:.1}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

/// The axis along which tiles of size `m` lie, of the first tensor.
fn along(k: &Keep, module: &Module) -> Option<String> {
    let first = k.members.first()?;
    let tile = group(first)?;
    let long: Vec<usize> = (0..first.scope.len()).filter(|d| first.scope.get(*d) != tile.get(*d)).collect();
    let [dim] = long.as_slice() else { return None };
    module.tensor(&first.weight)?.dims.get(*dim).map(|d| d.axis.clone())
}

/// One line a sentence: `keeps 2 of every 4 elements along I`.
fn sentence(k: &Keep, module: &Module) -> String {
    let tile = k.members.first().and_then(group).map(<[u64]>::to_vec);
    let unit = match &tile {
        Some(t) if t.iter().all(|n| *n == 1) => "elements".to_string(),
        Some(t) => {
            let sizes: Vec<String> = t.iter().map(ToString::to_string).collect();
            format!("blocks of {}", sizes.join(" x "))
        }
        None if k.members.iter().any(|m| matches!(m.cover, Cover::Slices(_))) => "slices".to_string(),
        None => "groups".to_string(),
    };
    let scope = match k.scope {
        Scope::Tile => along(k, module).map(|a| format!(" along {a}")).unwrap_or(" in each tile".to_string()),
        Scope::Tensor => " of each tensor".to_string(),
        Scope::Layer => " of each layer".to_string(),
        Scope::Model => " of the model".to_string(),
    };
    match &k.amount {
        Amount::Count(n) => format!("keeps {} {unit}{scope}", grouped(*n)),
        Amount::OutOf { n, m } => format!("keeps {n} of every {m} {unit}{scope}"),
        Amount::Share { num, den } => format!("keeps {} of the {unit}{scope}", percent(*num, *den)),
        Amount::Above(t) => format!("keeps the {unit}{scope} whose score is above {t}"),
        Amount::Budget { num, den, of } => {
            format!("keeps {unit}{scope} that cost at most {} of all {of}", percent(*num, *den))
        }
    }
}

/// What a constraint keeps: its sentences in words, then the numbers.
pub fn describe(r: &Require, module: &Module) -> Vec<String> {
    let mut out: Vec<String> = r.keeps.iter().map(|k| sentence(k, module)).collect();
    for later in out.iter_mut().skip(1) {
        *later = format!("of what is left, {later}");
    }
    match of_require(r) {
        Some(numbers) => {
            const SHOWN: usize = 6;
            for (key, n) in numbers.iter().take(SHOWN) {
                let (kept, all) = (grouped(n.kept), grouped(n.all));
                let unit = if n.unit == "elements" { String::new() } else { format!(" {}", n.unit) };
                let key = if key == WHOLE { key.clone() } else { format!("`{key}`") };
                out.push(format!("{} of {key}, {kept} of {all}{unit}", percent(n.kept, n.all)));
            }
            if numbers.len() > SHOWN {
                let (kept, all) = numbers.values().fold((0, 0), |(a, b), n| (a + n.kept, b + n.all));
                let rest = numbers.len() - SHOWN;
                out.push(format!("and {rest} more; in all {} of {}", grouped(kept), grouped(all)));
            }
        }
        None => out.push("how many depends on the weights".to_string()),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_short() {
        assert_eq!(percent(1, 2), "50 %");
        assert_eq!(percent(1, 16), "6.25 %");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(0, 0), "0 %");
        assert_eq!(percent(10, 10), "100 %");
    }
}
