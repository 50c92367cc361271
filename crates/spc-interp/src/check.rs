//! Checks weights against their constraints, without projecting them.
use crate::project::{kept_masks, no_groups, present};
use crate::select::{Choice, Masks, Place, Ranking, Sentence, Values};
use crate::{ProjectError, Weights};
use spc_base::Bug;
use spc_ir::{Amount, Overlap, Require, Score};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A scope in which more groups hold values than the constraint allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub require: String,
    pub weight: String,
    /// Index along dimension 0 of the first value that is too many.
    pub row: usize,
    /// The group it lies in: its number in the tensor, row-major.
    pub group: usize,
    /// Groups of that scope that hold a value; under a budget, their cost.
    pub kept: u64,
    pub allowed: u64,
    pub message: String,
}

/// Why weights do not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckError {
    Broken(Broken),
    /// They could not be looked at.
    Project(ProjectError),
}

impl From<ProjectError> for CheckError {
    fn from(e: ProjectError) -> CheckError {
        CheckError::Project(e)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckError::Broken(b) => b.fmt(f),
            CheckError::Project(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for CheckError {}

/// Checks that in every scope of every sentence no more groups hold a value than the amount (with floors and multiples)
/// allows, in file order; names the first tensor, row and group that break it.
///
/// Which groups are kept is not looked at, only how many: any projection by any score passes. A group that was kept may
/// have become empty since; a sentence after `then` is given the benefit of that doubt. `above` is checked by score, and
/// only where no later sentence acts on the same weight (a later one may lower the score of what it leaves).
pub fn verify_requires(requires: &[Require], weights: &dyn Weights) -> Result<(), CheckError> {
    let alive = present(requires, weights)?;
    for (n, r) in requires.iter().enumerate() {
        let mut inside = Masks::new();
        for (i, k) in r.keeps.iter().enumerate() {
            let names: Vec<&str> = k.members.iter().map(|m| m.weight.as_str()).collect();
            let mut later = r.keeps[i + 1..].iter().chain(requires[n + 1..].iter().flat_map(|r| &r.keeps));
            let touched = later.any(|k| k.members.iter().any(|m| names.contains(&m.weight.as_str())));
            let known = !matches!(k.score, Score::Data(_)) && !k.score.needs_gradients();
            let by_score = matches!(k.amount, Amount::Above(_)) && known && !touched;
            let ranking = if by_score { Ranking::Score } else { Ranking::Present };
            let s = Sentence::new(r, i, &inside)?;
            let (mut chosen, mut broken) = (no_groups(&s), None);
            let cover = match k.overlap {
                Some(Overlap::Latent) => Some(latent(&s, weights, &alive)?),
                _ => None,
            };
            s.choose(Values { weights, gradients: None }, &alive, ranking, &mut |c| {
                if let Some(cover) = &cover {
                    let mut spent = 0u64;
                    for p in cover.iter().filter(|p| c.ranked.contains(p)) {
                        chosen[p.0 as usize][p.1 as usize] = true;
                        let at = c.ranked.iter().position(|r| r == p);
                        spent = spent.saturating_add(at.and_then(|i| c.costs.get(i)).copied().unwrap_or(1));
                        if spent > c.allowed && broken.is_none() {
                            broken = Some(blame(&s, *p, (spent, c.allowed), &alive)?);
                        }
                    }
                    return Ok(());
                }
                if c.broken && broken.is_none() {
                    broken = Some(describe(&s, c, &alive)?);
                }
                // Where places are left over, any of the empty groups may have been kept.
                let spare = c.allowed > c.kept;
                for (i, (m, g)) in c.ranked.iter().enumerate() {
                    chosen[*m as usize][*g as usize] = c.chosen[i] || (spare && i >= c.present);
                }
                Ok(())
            })?;
            if let Some(b) = broken {
                return Err(CheckError::Broken(b));
            }
            let kept = kept_masks(&s, &chosen);
            drop(s);
            inside = kept;
        }
    }
    Ok(())
}

fn describe(s: &Sentence, c: &Choice, alive: &Masks) -> Result<Broken, ProjectError> {
    let lost = || Bug::new("a group that broke a constraint cannot be found");
    // Of the groups that hold a value, the first that is not allowed any more, in the order of groups.
    let mut present: Vec<usize> = (0..c.present).collect();
    present.sort_unstable_by_key(|i| c.ranked[*i]);
    let budget = !c.costs.is_empty();
    let mut spent = 0u64;
    let over = present.into_iter().find(|i| {
        spent = spent.saturating_add(if budget { c.costs[*i] } else { 1 });
        spent > c.allowed
    });
    blame(s, c.ranked[over.ok_or_else(lost)?], (c.kept, c.allowed), alive)
}

/// Groups whose union holds every value that is present, in the order in which they were found: those that the score
/// chooses where that is enough, else always the one with most values that no other has.
fn latent(s: &Sentence, weights: &dyn Weights, alive: &Masks) -> Result<Vec<Place>, ProjectError> {
    // For each element of each member, in one line: which groups hold it.
    let mut at: BTreeMap<(&str, usize), Vec<Place>> = BTreeMap::new();
    for (i, (m, cut)) in s.keep.members.iter().zip(&s.cuts).enumerate() {
        let mask = alive.get(&m.weight).ok_or_else(|| Bug::new("mask lost"))?;
        cut.each(|e, g| {
            if mask[e] {
                at.entry((m.weight.as_str(), e)).or_default().push((s.space_of[i] as u32, g as u32));
            }
        });
    }
    let known = !matches!(s.keep.score, Score::Data(_)) && !s.keep.score.needs_gradients();
    if known {
        let mut best: Vec<Place> = Vec::new();
        s.choose(Values { weights, gradients: None }, alive, Ranking::Score, &mut |c| {
            best.extend(c.ranked.iter().zip(c.chosen).filter(|(_, chosen)| **chosen).map(|(p, _)| *p));
            Ok(())
        })?;
        let set: BTreeSet<&Place> = best.iter().collect();
        if at.values().all(|list| list.iter().any(|p| set.contains(p))) {
            return Ok(best);
        }
    }
    let mut left: Vec<&Vec<Place>> = at.values().collect();
    let mut cover = Vec::new();
    // Values of one group only name it.
    let forced: BTreeSet<Place> = left.iter().filter(|l| l.len() == 1).filter_map(|l| l.first().copied()).collect();
    cover.extend(&forced);
    left.retain(|l| !l.iter().any(|p| forced.contains(p)));
    while !left.is_empty() {
        let mut count: BTreeMap<Place, usize> = BTreeMap::new();
        left.iter().flat_map(|l| l.iter()).for_each(|p| *count.entry(*p).or_default() += 1);
        let most = count.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        let Some((p, _)) = most else { break };
        cover.push(*p);
        left.retain(|l| !l.contains(p));
    }
    Ok(cover)
}

/// The group that is too much: its first value.
fn blame(s: &Sentence, at: Place, (kept, allowed): (u64, u64), alive: &Masks) -> Result<Broken, ProjectError> {
    let lost = || Bug::new("a group that broke a constraint cannot be found");
    let (space, group) = at;
    let (mut first, mut member) = (None, 0);
    for i in &s.spaces[space as usize].members {
        let mask = alive.get(&s.keep.members[*i].weight).ok_or_else(lost)?;
        s.cuts[*i].each(|e, g| {
            if g == group as usize && mask[e] && first.is_none() {
                (first, member) = (Some(e), *i);
            }
        });
    }
    let (m, row) = (s.keep.members.get(member).ok_or_else(lost)?, s.cuts[member].row(first.ok_or_else(lost)?));
    let (require, weight) = (s.require.to_string(), m.weight.clone());
    let what = match s.keep.amount {
        Amount::Budget { of, .. } => format!("{kept} {of} where {allowed} are allowed"),
        _ => format!("{kept} groups where {allowed} are allowed"),
    };
    let scope = s.keep.scope;
    let message =
        format!("`{require}` does not hold: in `{weight}`, row {row}, group {group}, a scope ({scope}) keeps {what}");
    Ok(Broken { require, weight, row, group: group as usize, kept, allowed, message })
}
