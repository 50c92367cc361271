//! How the weights that a constraint keeps are found.
use spc_base::Bug;
use spc_interp::method::MethodError;
use spc_interp::project_with;
use spc_ir::{Amount, Cover, Keep, Member, Require, Scope, Score};
use std::collections::BTreeMap;

/// A part of a member: its number, from, to.
pub(super) type Part = (usize, usize, usize);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice {
    /// So many of every M neighbours along the last axis, by magnitude.
    Nm(usize),
    /// By magnitude; each set of parts is counted together.
    Sets(Vec<Vec<Part>>),
    /// The reference projection.
    Reference,
}

pub(super) fn reads_gradients(r: &Require) -> bool {
    r.keeps.iter().any(|k| k.score.needs_gradients())
}

/// Groups are single weights.
pub(super) fn of_elements(k: &Keep) -> bool {
    k.members.iter().all(|m| matches!(&m.cover, Cover::Tile(t) if t.iter().all(|n| *n == 1)))
}

pub(super) fn size(m: &Member) -> usize {
    m.shape.iter().product::<u64>() as usize
}

/// The sets of weights that a sentence over single weights counts in, if they are parts of the tensors.
pub(super) fn sets(k: &Keep) -> Option<Vec<Vec<Part>>> {
    let whole = |i: usize, m: &Member| (i, 0, size(m));
    let each = || k.members.iter().enumerate();
    Some(match k.scope {
        Scope::Tensor => each().map(|(i, m)| vec![whole(i, m)]).collect(),
        Scope::Model => vec![each().map(|(i, m)| whole(i, m)).collect()],
        Scope::Layer => {
            let mut layers: Vec<(&str, Vec<Part>)> = Vec::new();
            for (i, m) in each() {
                match layers.iter_mut().find(|(n, _)| *n == m.layer) {
                    Some((_, list)) => list.push(whole(i, m)),
                    None => layers.push((&m.layer, vec![whole(i, m)])),
                }
            }
            layers.into_iter().map(|(_, list)| list).collect()
        }
        Scope::Tile => {
            let mut out = Vec::new();
            for (i, m) in each() {
                let run = run(m)?;
                out.extend((0..size(m) / run).map(|j| vec![(i, j * run, (j + 1) * run)]));
            }
            out
        }
    })
}

/// Length of the scope tiles where they are whole and lie in one piece.
fn run(m: &Member) -> Option<usize> {
    let mut run = 1u64;
    let mut whole = true;
    for (d, t) in m.shape.iter().zip(&m.scope).rev() {
        if *t == 0 || d % t != 0 || (!whole && *t != 1) {
            return None;
        }
        run *= t;
        whole &= d == t;
    }
    usize::try_from(run).ok().filter(|r| *r > 0)
}

impl Choice {
    pub fn of(r: &Require) -> Choice {
        let [k] = &r.keeps[..] else { return Choice::Reference };
        let by_size = matches!(k.score, Score::Abs | Score::Norm1 | Score::Norm2);
        let counted = !matches!(k.amount, Amount::Above(_) | Amount::Budget { .. });
        let mut names: Vec<&str> = k.members.iter().map(|m| m.weight.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let plain = !k.joint && k.floor.is_none() && names.len() == k.members.len();
        if !by_size || !counted || !plain || !of_elements(k) {
            return Choice::Reference;
        }
        if k.scope == Scope::Tile {
            let last = |m: &Member| m.scope.split_last().map(|(l, rest)| (*l, rest.iter().all(|t| *t == 1)));
            let nm = k.members.iter().map(|m| match last(m) {
                Some((n, true)) if m.shape.last().is_some_and(|d| d % n.max(1) == 0) && m.amount.is_none() => {
                    n as usize
                }
                _ => 0,
            });
            let mut nm: Vec<usize> = nm.collect();
            nm.dedup();
            if let [m @ (2 | 4 | 8 | 16 | 32)] = nm[..] {
                return Choice::Nm(m);
            }
        }
        match sets(k) {
            Some(s) => Choice::Sets(s),
            None => Choice::Reference,
        }
    }
}

/// How many of `groups` a sentence keeps, where it counts.
pub(super) fn count(k: &Keep, member: usize, groups: u64) -> Result<u64, Bug> {
    let own = matches!(k.scope, Scope::Tile | Scope::Tensor);
    let amount = k.members.get(member).and_then(|m| m.amount).filter(|_| own).unwrap_or(k.amount);
    let n = match amount {
        Amount::Count(n) => n,
        Amount::OutOf { n, m } if m == groups => n,
        Amount::Share { num, den } => {
            let exact = (u128::from(num) * u128::from(groups)).div_ceil(u128::from(den.max(1)));
            u64::try_from(exact).unwrap_or(u64::MAX).max(1)
        }
        _ => return Err(Bug::new("an amount that is no count")),
    };
    Ok(n.div_ceil(k.multiple.max(1)).saturating_mul(k.multiple.max(1)).min(groups))
}

/// True where [`count`] knows the amount of every set.
pub(super) fn counts(k: &Keep, sets: &[Vec<Part>]) -> bool {
    let size = |s: &Vec<Part>| s.iter().map(|(_, a, b)| (b - a) as u64).sum::<u64>();
    sets.iter().all(|s| count(k, s.first().map_or(0, |p| p.0), size(s)).is_ok())
}

/// The mask by the reference projection: exactly the amount, a weight that is 0 counting as the smallest of all unless
/// `among` leaves it out.
pub(super) fn reference(
    r: &Require,
    names: &[&str],
    values: &[&[f32]],
    among: Option<&[&[u8]]>,
    last: &BTreeMap<String, Vec<f32>>,
) -> Result<Vec<Vec<u8>>, MethodError> {
    let tiny = f32::from_bits(1);
    let mut all = BTreeMap::new();
    for (i, (n, v)) in names.iter().zip(values).enumerate() {
        let here = |j: usize| among.is_none_or(|a| a[i][j] != 0);
        let value = |(j, x): (usize, &f32)| {
            if !here(j) {
                0.0
            } else if *x == 0.0 {
                tiny
            } else {
                *x
            }
        };
        all.insert((*n).to_string(), v.iter().enumerate().map(value).collect::<Vec<f32>>());
    }
    let last = (!last.is_empty()).then_some(last as &dyn spc_interp::Weights);
    project_with(std::slice::from_ref(r), &mut all, last)?;
    let mask = |n: &&str| all.get(*n).map(|v| v.iter().map(|x| u8::from(*x != 0.0)).collect()).unwrap_or_default();
    Ok(names.iter().map(mask).collect())
}
