//! The reference projection: applies constraints to weights, once, in file order.
use crate::Weights;
use crate::select::{Masks, Ranking, Sentence, Values};
use spc_base::{Bug, Code, Diagnostic, codes};
use spc_ir::{Overlap, Require};
use std::collections::BTreeMap;
use std::fmt;

/// What one sentence did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projected {
    /// Name of the constraint.
    pub require: String,
    /// Which of its sentences, from 0.
    pub sentence: usize,
    /// Groups it chose among: of the first sentence all, of a later one those that the one before kept.
    pub groups: u64,
    /// Groups that still hold a value that is not zero.
    pub kept: u64,
    /// Values that this sentence set to zero.
    pub zeroed: u64,
    /// Scopes in which the groups that a floor keeps cost more than the budget.
    pub over_budget: u64,
}

/// Why weights could not be projected or checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectError {
    Missing {
        require: String,
        weight: String,
    },
    /// The number of values is not that of the declared shape.
    Length {
        weight: String,
        want: u64,
        got: u64,
    },
    /// A value is NaN or infinite; `index` is row-major.
    NotFinite {
        weight: String,
        index: usize,
    },
    /// Groups or scope tiles do not fit the tensor.
    Tile {
        require: String,
        weight: String,
        message: String,
    },
    /// `n of m` in a scope that does not hold m groups.
    Scope {
        require: String,
        weight: String,
        groups: usize,
        m: u64,
    },
    /// An element is in several groups, and no policy that a projection can follow says what that means.
    Overlap {
        require: String,
        weight: String,
    },
    /// The score needs data.
    NeedsData {
        require: String,
        score: String,
    },
    /// The score needs gradients, and there are none for this weight.
    NeedsGradients {
        require: String,
        weight: String,
    },
    /// The number of gradients is not that of the weight's values.
    GradientLength {
        weight: String,
        want: u64,
        got: u64,
    },
    /// The score of an element is NaN or infinite; `index` is row-major.
    ScoreNotFinite {
        require: String,
        weight: String,
        index: usize,
    },
    Bug(Bug),
}

impl ProjectError {
    /// The diagnostic code; none for a bug.
    pub fn code(&self) -> Option<Code> {
        Some(match self {
            ProjectError::Missing { .. } => codes::NO_TENSOR,
            ProjectError::Length { .. } => codes::SHAPE,
            ProjectError::NotFinite { .. } => codes::NOT_FINITE,
            ProjectError::Tile { .. } => codes::TILE,
            ProjectError::Scope { .. } => codes::AMOUNT,
            ProjectError::Overlap { .. } => codes::OVERLAP,
            ProjectError::NeedsData { .. } | ProjectError::NeedsGradients { .. } => codes::SCORE_INPUT,
            ProjectError::GradientLength { .. } => codes::SHAPE,
            ProjectError::ScoreNotFinite { .. } => codes::NOT_FINITE,
            ProjectError::Bug(_) => return None,
        })
    }

    /// The user's mistake as a diagnostic, or the bug.
    pub fn diagnostic(self) -> Result<Diagnostic, Bug> {
        match (self.code(), self) {
            (_, ProjectError::Bug(b)) => Err(b),
            (Some(code), e) => Ok(Diagnostic::error(code, e.to_string())),
            (None, e) => Err(Bug::new(e.to_string())),
        }
    }
}

impl From<Bug> for ProjectError {
    fn from(b: Bug) -> ProjectError {
        ProjectError::Bug(b)
    }
}

impl fmt::Display for ProjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProjectError::Missing { require, weight } => {
                write!(f, "`{require}` needs the weight `{weight}`, which is missing")
            }
            ProjectError::Length { weight, want, got } => {
                write!(f, "the weight `{weight}` holds {got} values, declared {want}")
            }
            ProjectError::NotFinite { weight, index } => {
                write!(f, "the weight `{weight}` is not finite at index {index}")
            }
            ProjectError::Tile { require, weight, message } => write!(f, "`{require}` on `{weight}`: {message}"),
            ProjectError::Scope { require, weight, groups, m } => {
                write!(f, "`{require}` on `{weight}`: a scope holds {groups} groups where {m} are needed")
            }
            ProjectError::Overlap { require, weight } => {
                write!(f, "`{require}` on `{weight}`: an element is in several groups; say `on_overlap sum`")
            }
            ProjectError::NeedsData { require, score } => {
                write!(f, "`{require}` chooses by `{score}`, which needs data and cannot be computed yet")
            }
            ProjectError::NeedsGradients { require, weight } => {
                write!(f, "`{require}` chooses by gradients, and none are given for `{weight}`")
            }
            ProjectError::GradientLength { weight, want, got } => {
                write!(f, "the gradient of `{weight}` holds {got} values, the weight {want}")
            }
            ProjectError::ScoreNotFinite { require, weight, index } => {
                write!(f, "`{require}` on `{weight}`: the score at index {index} is not finite")
            }
            ProjectError::Bug(b) => b.fmt(f),
        }
    }
}

impl std::error::Error for ProjectError {}

/// Checks weights against the declarations of all constraints; the elements that are present (not zero), by weight.
pub(crate) fn present(requires: &[Require], weights: &dyn Weights) -> Result<Masks, ProjectError> {
    let mut alive = Masks::new();
    for r in requires {
        for (i, k) in r.keeps.iter().enumerate() {
            let none = Masks::new();
            let sentence = Sentence::new(r, i, &none)?;
            for (m, cut) in k.members.iter().zip(&sentence.cuts) {
                let missing = || ProjectError::Missing { require: r.name.clone(), weight: m.weight.clone() };
                let values = weights.values(&m.weight).ok_or_else(missing)?;
                let (want, got) = (cut.elements() as u64, values.len() as u64);
                if want != got {
                    return Err(ProjectError::Length { weight: m.weight.clone(), want, got });
                }
                if alive.contains_key(&m.weight) {
                    continue;
                }
                if let Some(index) = values.iter().position(|v| !v.is_finite()) {
                    return Err(ProjectError::NotFinite { weight: m.weight.clone(), index });
                }
                alive.insert(m.weight.clone(), values.iter().map(|v| *v != 0.0).collect());
            }
        }
    }
    Ok(alive)
}

/// Which elements a sentence keeps: those in a group, all of whose groups are chosen (with `latent`: one of them), and that
/// the sentence before kept.
pub(crate) fn kept_masks(s: &Sentence, chosen: &[Vec<bool>]) -> Masks {
    let mut masks = Masks::new();
    let latent = s.keep.overlap == Some(Overlap::Latent);
    for (i, (m, cut)) in s.keep.members.iter().zip(&s.cuts).enumerate() {
        let chosen = &chosen[s.space_of[i]];
        // 0 in no group yet, 1 in chosen groups only, 2 in another.
        let mut state = vec![0u8; cut.elements()];
        cut.each(|e, g| {
            state[e] = match (chosen[g], latent) {
                (true, true) => 1,
                (true, false) => state[e].max(1),
                (false, true) if state[e] == 1 => 1,
                (false, _) => 2,
            }
        });
        let before = s.inside.get(&m.weight);
        let kept = |e: usize, v: u8| v == 1 && before.is_none_or(|b| b[e]);
        let mask: Vec<bool> = state.iter().enumerate().map(|(e, v)| kept(e, *v)).collect();
        match masks.get_mut(&m.weight) {
            // Another axis of the same tensor: in both.
            Some(other) => {
                for (o, (m, v)) in other.iter_mut().zip(mask.iter().zip(&state)) {
                    *o = match (*v, latent) {
                        (0, _) => *o,
                        (_, true) => *o || *m,
                        (_, false) => *o && *m,
                    };
                }
            }
            None => _ = masks.insert(m.weight.clone(), mask),
        }
    }
    masks
}

/// Empty marks for the groups of each space.
pub(crate) fn no_groups(s: &Sentence) -> Vec<Vec<bool>> {
    s.spaces.iter().map(|s| vec![false; s.groups]).collect()
}

/// Applies the constraints in file order to the weights they name; the meaning of each word is in `docs/ir.md`.
///
/// Each sentence keeps at most its amount of groups in each scope: those of the highest score, ties to the lower index.
/// Values that are not kept become +0; kept ones keep their bits; zeros of either sign count as absent, never come back,
/// and are stored as +0. When it fails, no weight has changed. One report for each sentence.
///
/// Projecting again changes nothing, with two exceptions: `above` followed by a sentence that lowers scores, and a
/// sentence after `then` whose scopes do not always hold the same number of groups that the one before left.
pub fn project(requires: &[Require], weights: &mut BTreeMap<String, Vec<f32>>) -> Result<Vec<Projected>, ProjectError> {
    project_with(requires, weights, None)
}

/// [`project`] with gradients, for scores that read them. They are by name of weight and of its shape.
pub fn project_with(
    requires: &[Require],
    weights: &mut BTreeMap<String, Vec<f32>>,
    gradients: Option<&dyn Weights>,
) -> Result<Vec<Projected>, ProjectError> {
    let mut alive = present(requires, weights)?;
    let mut reports = Vec::new();
    for r in requires {
        let mut inside = Masks::new();
        for i in 0..r.keeps.len() {
            let (report, kept) = one(r, i, &inside, Values { weights: &*weights, gradients }, &mut alive)?;
            reports.push(report);
            inside = kept;
        }
    }
    for (name, mask) in &alive {
        let values = weights.get_mut(name).ok_or_else(|| Bug::new("weight lost"))?;
        values.iter_mut().zip(mask).filter(|(_, alive)| !**alive).for_each(|(v, _)| *v = 0.0);
    }
    Ok(reports)
}

fn one(
    r: &Require,
    i: usize,
    inside: &Masks,
    values: Values<'_>,
    alive: &mut Masks,
) -> Result<(Projected, Masks), ProjectError> {
    let s = Sentence::new(r, i, inside)?;
    let mut report = Projected { require: r.name.clone(), sentence: i, groups: 0, kept: 0, zeroed: 0, over_budget: 0 };
    let mut chosen = no_groups(&s);
    s.choose(values, alive, Ranking::Score, &mut |c| {
        report.groups += c.ranked.len() as u64;
        report.over_budget += u64::from(c.over_budget);
        // Present groups rank first, so they are the first `present` of the ranking.
        report.kept += c.chosen[..c.present].iter().filter(|c| **c).count() as u64;
        for ((m, g), _) in c.ranked.iter().zip(c.chosen).filter(|(_, c)| **c) {
            chosen[*m as usize][*g as usize] = true;
        }
        Ok(())
    })?;
    // With `latent`, one chosen group is enough, also where another member of the same weight has it.
    let held = if s.keep.overlap == Some(Overlap::Latent) { kept_masks(&s, &chosen) } else { Masks::new() };
    for (i, (m, cut)) in s.keep.members.iter().zip(&s.cuts).enumerate() {
        let chosen = &chosen[s.space_of[i]];
        let held = held.get(&m.weight);
        let mask = alive.get_mut(&m.weight).ok_or_else(|| Bug::new("mask lost"))?;
        cut.each(|e, g| {
            if mask[e] && !chosen[g] && !held.is_some_and(|h| h[e]) {
                mask[e] = false;
                report.zeroed += 1;
            }
        });
    }
    // Only a sentence that follows asks for it.
    let kept = if i + 1 < r.keeps.len() { kept_masks(&s, &chosen) } else { Masks::new() };
    Ok((report, kept))
}
