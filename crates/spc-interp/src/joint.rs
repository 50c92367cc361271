//! `by joint`: the groups of a scope are chosen together, by what the next sentence can keep of the choice.
//!
//! For V:N:M the first sentence keeps k of m columns of a block and the second n of those k in each row. The best k columns
//! are those for which the kept rows' scores sum to the most; sums of whole columns do not find them. Every choice is
//! looked at, so the result is exact (VENOM, Castro et al. 2023, arXiv 2310.02065, section on second-order selection, uses
//! an approximation for larger blocks).
use crate::project::ProjectError;
use crate::select::{ABSENT, Masks, Place, Ranking, Sentence, Values, part};
use spc_base::Bug;
use spc_ir::{Amount, Tail};
use std::collections::BTreeMap;

/// Most choices that one scope may have.
const MAX_CHOICES: u64 = 1 << 20;

/// A group of the next sentence: the group of this one that it lies in, its score, and whether it is present.
#[derive(Clone, Copy)]
struct Inner {
    owner: u32,
    rank: f64,
}

/// One scope of the next sentence, best groups first.
struct Row {
    groups: Vec<Inner>,
    /// Groups of it in each group of this sentence.
    each: u64,
}

/// For each group of this sentence's first member scope, what the next sentence sees.
pub(crate) struct Joint {
    /// By space and the first group of each scope of this sentence.
    rows: BTreeMap<(u32, u32), Vec<Row>>,
    /// The scope's key of each group, by space.
    scope_of: Vec<Vec<u32>>,
    amount: Amount,
    tail: Tail,
}

impl Joint {
    pub fn new(
        s: &Sentence<'_>,
        next: &Sentence<'_>,
        values: Values<'_>,
        alive: &Masks,
    ) -> Result<Joint, ProjectError> {
        let refuse = |member: usize, message: &str| ProjectError::Tile {
            require: s.require.into(),
            weight: s.weight(member),
            message: message.into(),
        };
        let plain = next.keep.floor.is_none() && next.keep.multiple == 1 && !next.keep.joint;
        if !plain || s.keep.floor.is_some() || !matches!(next.keep.amount, Amount::Count(_) | Amount::OutOf { .. }) {
            return Err(refuse(
                0,
                "`by joint` goes with a plain count in the next sentence, without floor or multiple",
            ));
        }
        let ranks = next.ranks(values, alive, Ranking::Score)?;
        let mut joint =
            Joint { rows: BTreeMap::new(), scope_of: Vec::new(), amount: next.keep.amount, tail: next.keep.tail };
        for (i, space) in s.spaces.iter().enumerate() {
            let fits = |m: usize| s.keep.members[m].weight == next.weight(m) && s.space_of[m] == next.space_of[m];
            let ([member], true) = (space.members.as_slice(), s.spaces.len() == next.spaces.len()) else {
                return Err(refuse(0, "`by joint` needs two sentences on the same tensors, in tiles"));
            };
            let (Some(outer), Some(inner), true) =
                (s.cuts[*member].grid(), next.cuts.get(*member).and_then(|c| c.grid()), fits(*member))
            else {
                return Err(refuse(*member, "`by joint` needs two sentences on the same tensors, in tiles"));
            };
            // Where each group of the next sentence lies, by its elements.
            let mut of = vec![0u32; outer.elements()];
            outer.each(|e, g| of[e] = g as u32);
            let mut owner = vec![u32::MAX; inner.groups()];
            let mut split = false;
            inner.each(|e, g| {
                split |= owner[g] != u32::MAX && owner[g] != of[e];
                owner[g] = of[e];
            });
            let (mut firsts, mut scope_of) = (vec![u32::MAX; outer.tiles()], Vec::with_capacity(outer.groups()));
            for g in 0..outer.groups() {
                let tile = outer.tile_of(g);
                firsts[tile] = firsts[tile].min(g as u32);
                scope_of.push(firsts[tile]);
            }
            for t in 0..inner.tiles() {
                let list = inner.tile(t);
                let Some(first) = list.first() else { continue };
                let scope = scope_of[owner[*first] as usize];
                split |= list.iter().any(|g| scope_of[owner[*g] as usize] != scope);
                let mut groups: Vec<Inner> =
                    list.iter().map(|g| Inner { owner: owner[*g], rank: ranks[i][*g] }).collect();
                let mut count: BTreeMap<u32, u64> = BTreeMap::new();
                groups.iter().for_each(|g| *count.entry(g.owner).or_default() += 1);
                let each = count.values().copied().next().unwrap_or(0);
                split |= count.values().any(|n| *n != each);
                groups.retain(|g| g.rank != ABSENT);
                groups.sort_by(|a, b| b.rank.total_cmp(&a.rank));
                joint.rows.entry((i as u32, scope)).or_default().push(Row { groups, each });
            }
            if split {
                return Err(refuse(*member, "the groups and scopes after `then` do not lie inside those before it"));
            }
            joint.scope_of.push(scope_of);
        }
        Ok(joint)
    }

    /// Marks the best `count` groups of one scope; among equals the choice with the lower indices.
    pub fn choose(
        &self,
        s: &Sentence<'_>,
        ranked: &[Place],
        count: u64,
        chosen: &mut [bool],
    ) -> Result<(), ProjectError> {
        let Some((space, group)) = ranked.first().copied() else { return Ok(()) };
        let lost = || Bug::new("the scope of a joint choice is lost");
        let mut order: Vec<usize> = (0..ranked.len()).collect();
        order.sort_by_key(|i| ranked[*i]);
        let (n, k) = (order.len(), count as usize);
        if k >= n {
            chosen.fill(true);
            return Ok(());
        }
        if n > 64 || choices(n as u64, k as u64) > MAX_CHOICES {
            let (require, weight) = (s.require.to_string(), s.weight(0));
            let message = format!("`by joint` would look at too many choices of {k} among {n} (at most {MAX_CHOICES})");
            return Err(ProjectError::Tile { require, weight, message });
        }
        let scope = *self.scope_of.get(space as usize).and_then(|v| v.get(group as usize)).ok_or_else(lost)?;
        let none = Vec::new();
        let rows = self.rows.get(&(space, scope)).unwrap_or(&none);
        // Groups by their place in index order, which is the bit of a choice.
        let bit: BTreeMap<u32, u32> = (0u32..).zip(&order).map(|(b, i)| (ranked[*i].1, b)).collect();
        let mut table: Vec<(usize, Vec<(u64, f64)>)> = Vec::with_capacity(rows.len());
        for r in rows {
            let left = r.each.saturating_mul(count);
            let keeps = match (self.amount, self.tail) {
                (Amount::OutOf { n, m }, Tail::Ragged) if left < m => part(n, left, m),
                (Amount::Count(n) | Amount::OutOf { n, .. }, _) => n,
                _ => return Err(Bug::new("a joint choice by another amount").into()),
            };
            let list = r.groups.iter().filter_map(|g| bit.get(&g.owner).map(|b| (1u64 << b, g.rank))).collect();
            table.push((usize::try_from(keeps).unwrap_or(usize::MAX), list));
        }
        let mut best: Option<(f64, usize, u64)> = None;
        let mut choice: Vec<usize> = (0..k).collect();
        loop {
            let mask = choice.iter().fold(0u64, |m, c| m | 1 << c);
            let (mut value, mut present) = (0.0f64, 0usize);
            for (keeps, list) in &table {
                for (_, rank) in list.iter().filter(|(b, _)| b & mask != 0).take(*keeps) {
                    value += rank;
                    present += 1;
                }
            }
            if best.is_none_or(|(v, p, _)| value > v || (value == v && present > p)) {
                best = Some((value, present, mask));
            }
            if !following(&mut choice, n) {
                break;
            }
        }
        let (_, _, mask) = best.ok_or_else(lost)?;
        for (b, i) in (0u32..).zip(&order) {
            chosen[*i] = mask & (1 << b) != 0;
        }
        Ok(())
    }
}

/// The next choice in lexicographic order; false after the last.
fn following(choice: &mut [usize], n: usize) -> bool {
    let k = choice.len();
    let Some(i) = (0..k).rev().find(|i| choice[*i] < n - k + i) else { return false };
    choice[i] += 1;
    for j in i + 1..k {
        choice[j] = choice[j - 1] + 1;
    }
    true
}

/// Number of choices of k among n, saturating.
fn choices(n: u64, k: u64) -> u64 {
    let k = k.min(n - k.min(n));
    (0..k)
        .try_fold(1u128, |c, i| c.checked_mul(u128::from(n - i)).map(|c| c / u128::from(i + 1)))
        .map_or(u64::MAX, |c| u64::try_from(c).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_choices_once_in_order() {
        let mut c = vec![0, 1];
        let mut seen = vec![c.clone()];
        while following(&mut c, 4) {
            seen.push(c.clone());
        }
        assert_eq!(seen, [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]);
        assert_eq!((choices(4, 2), choices(32, 4), choices(8, 8), choices(8, 0)), (6, 35_960, 1, 1));
        assert_eq!(choices(64, 32), 1_832_624_140_942_590_534);
    }
}
