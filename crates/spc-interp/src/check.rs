//! Checks weights against their constraints, without projecting them.
use crate::project::{kept_masks, no_groups, present};
use crate::select::{Choice, Masks, Ranking, Sentence};
use crate::{ProjectError, Weights};
use spc_base::Bug;
use spc_ir::{Amount, Require};
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
    /// Groups of that scope that hold a value.
    pub kept: usize,
    pub allowed: usize,
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
            let by_score = matches!(k.amount, Amount::Above(_)) && !touched;
            let ranking = if by_score { Ranking::Score } else { Ranking::Present };
            let s = Sentence::new(r, i, &inside)?;
            let (mut chosen, mut broken) = (no_groups(&s), None);
            s.choose(weights, &alive, ranking, &mut |c| {
                if c.present > c.allowed && broken.is_none() {
                    broken = Some(describe(&s, c, &alive)?);
                }
                // Where places are left over, any of the empty groups may have been kept.
                let spare = c.allowed > c.present;
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
    // Of the groups that hold a value, the one after the last that is allowed, in the order of groups.
    let mut present = c.ranked[..c.present].to_vec();
    present.sort_unstable();
    let (member, group) = *present.get(c.allowed).ok_or_else(lost)?;
    let m = s.keep.members.get(member as usize).ok_or_else(lost)?;
    let grid = s.grids.get(member as usize).ok_or_else(lost)?;
    let mask = alive.get(&m.weight).ok_or_else(lost)?;
    let mut first = None;
    grid.each(|e, g| {
        if g == group as usize && mask[e] && first.is_none() {
            first = Some(e);
        }
    });
    let row = grid.row(first.ok_or_else(lost)?);
    let (require, weight, kept, allowed) = (s.require.to_string(), m.weight.clone(), c.present, c.allowed);
    let message = format!(
        "`{require}` does not hold: in `{weight}`, row {row}, group {group}, a scope ({}) keeps {kept} groups where \
         {allowed} are allowed",
        s.keep.scope
    );
    Ok(Broken { require, weight, row, group: group as usize, kept, allowed, message })
}
