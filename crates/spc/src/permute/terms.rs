//! Which constraints gain from an order of which axis, and the scores that they choose by.
use crate::failure::Res;
use crate::weights::WeightSet;
use spc_base::{Bug, Diagnostic, codes};
use spc_ir::couple::Place;
use spc_ir::{Amount, Cover, Keep, Member, Scope, Score};
use spc_layout::permute::{Keeps, Term};
use spc_sema::{AxisOrder, Module};

/// A weight under a constraint whose groups are made of neighbours along one dimension.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub require: String,
    pub weight: String,
    dim: u32,
    /// Neighbours along `dim` that compete, or that are kept together.
    pub group: u64,
    /// Elements along each other dimension that are kept together; 1 along `dim`.
    tile: Vec<u64>,
    shape: Vec<u64>,
    keeps: How,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    OutOf(u64),
    Share { num: u64, den: u64 },
}

impl Wanted {
    fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// All that the constraints ask for. What is not searched goes to `left`, with the reason.
pub(super) fn wanted(module: &Module, left: &mut Vec<(String, String, String)>) -> Vec<Wanted> {
    let mut out: Vec<Wanted> = Vec::new();
    for r in &module.requires {
        let first = r.keeps.first();
        let plain = |k: &&Keep| {
            r.keeps.len() == 1 && k.floor.is_none() && matches!(k.score, Score::Abs | Score::Norm1 | Score::Norm2)
        };
        for m in first.into_iter().flat_map(|k| &k.members) {
            let found = first.filter(plain).and_then(|k| along(k, m));
            let why = match found {
                None => "only one sentence by `abs`, `norm1` or `norm2` over neighbours of a tensor is searched",
                Some(_) if out.iter().any(|w| w.weight == m.weight) => "another constraint on it is searched",
                Some((dim, group, tile, keeps)) => {
                    let (require, weight) = (r.name.clone(), m.weight.clone());
                    out.push(Wanted { require, weight, dim, group, tile, shape: m.shape.clone(), keeps });
                    continue;
                }
            };
            left.push((r.name.clone(), m.weight.clone(), why.to_string()));
        }
    }
    out
}

/// The one dimension of more than one, and its size.
fn only(sizes: &[u64]) -> Option<(u32, u64)> {
    let mut long = (0u32..).zip(sizes).filter(|(_, n)| **n > 1);
    match (long.next(), long.next()) {
        (Some((d, n)), None) => Some((d, *n)),
        _ => None,
    }
}

fn along(keep: &Keep, m: &Member) -> Option<(u32, u64, Vec<u64>, How)> {
    let Cover::Tile(tile) = &m.cover else { return None };
    let amount = m.amount.unwrap_or(keep.amount);
    if tile.iter().all(|n| *n == 1) && keep.scope == Scope::Tile {
        let (dim, group) = only(&m.scope)?;
        let n = match amount {
            Amount::OutOf { n, m } if m == group => n,
            Amount::Count(n) => n,
            _ => return None,
        };
        return (n > 0 && n < group).then(|| (dim, group, tile.clone(), How::OutOf(n)));
    }
    // Rows are grouped before columns: a block of several in both is ordered along its outputs.
    let (dim, group) = (0u32..).zip(tile).find(|(_, n)| **n > 1).map(|(d, n)| (d, *n))?;
    let Amount::Share { num, den } = amount else { return None };
    if keep.scope == Scope::Tile {
        return None;
    }
    let mut tile = tile.clone();
    *tile.get_mut(dim as usize)? = 1;
    let whole = m.shape.iter().zip(&tile).all(|(n, t)| *t > 0 && n % t == 0);
    whole.then_some((dim, group, tile, How::Share { num, den }))
}

/// The constraints by the axis whose order they gain from, where it lies whole and in whole groups.
pub(super) fn by_axis<'a>(
    wanted: &'a [Wanted],
    orders: &'a [AxisOrder],
    left: &mut Vec<(String, String, String)>,
) -> Vec<(&'a AxisOrder, Vec<(&'a Wanted, Place)>)> {
    let mut out: Vec<(&AxisOrder, Vec<(&Wanted, Place)>)> = orders.iter().map(|o| (o, Vec::new())).collect();
    for w in wanted {
        let mut found = false;
        for (axis, groups) in &mut out {
            let places = axis.members.iter().filter(|m| m.weight == w.weight).flat_map(|m| &m.places);
            for p in places.filter(|p| p.dim == w.dim) {
                let whole = p.inner == 1 && p.end - p.start == axis.size;
                if whole && p.start % w.group == 0 && axis.size % w.group == 0 {
                    groups.push((w, *p));
                    found = true;
                }
            }
        }
        if !found {
            let why = "its groups do not lie along one inner axis of the functions".to_string();
            left.push((w.require.clone(), w.weight.clone(), why));
        }
    }
    out.retain(|(_, groups)| !groups.is_empty());
    out
}

/// The group size under which most elements lie; of equals, the smaller.
pub(super) fn common_group(groups: &[(&Wanted, Place)]) -> u64 {
    let elements = |size: u64| groups.iter().filter(|(w, _)| w.group == size).map(|(w, _)| w.elements()).sum::<u64>();
    let mut sizes: Vec<u64> = groups.iter().map(|(w, _)| w.group).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.into_iter().rev().max_by_key(|s| elements(*s)).unwrap_or(1)
}

impl Wanted {
    /// Squared weights along the axis at `place`, summed over what is kept together.
    pub fn term(&self, place: &Place, size: u64, weights: &WeightSet) -> Res<Term> {
        let values = weights.want(&self.weight)?.values();
        let dim = self.dim as usize;
        let counts: Vec<u64> = self.shape.iter().zip(&self.tile).map(|(n, t)| n / t).collect();
        let rows: u64 = counts.iter().enumerate().filter(|(d, _)| *d != dim).map(|(_, n)| n).product();
        let cells = size.checked_mul(rows).and_then(|n| usize::try_from(n).ok());
        let cells = cells.filter(|n| *n <= values.len()).ok_or_else(|| Bug::new("an axis larger than its weight"))?;
        let mut scores = vec![0f32; cells];
        let mut at = vec![0u64; self.shape.len()];
        for v in values {
            if !v.is_finite() {
                let text = format!("`{}` holds NaN or infinity", self.weight);
                return Err(Diagnostic::error(codes::NOT_FINITE, text).into());
            }
            let i = at[dim];
            if i >= place.start && i < place.end {
                let row = (0..at.len()).filter(|d| *d != dim).fold(0, |n, d| n * counts[d] + at[d] / self.tile[d]);
                if let Some(s) = scores.get_mut(((i - place.start) * rows + row) as usize) {
                    *s += v * v;
                }
            }
            for d in (0..at.len()).rev() {
                at[d] += 1;
                if at[d] < self.shape[d] {
                    break;
                }
                at[d] = 0;
            }
        }
        // Squares of large weights may leave the range; so large, they are kept in any order.
        scores.iter_mut().for_each(|s| *s = s.min(f32::MAX / (4.0 * cells as f32)));
        let keeps = match self.keeps {
            How::OutOf(n) => Keeps::OutOf(n as usize),
            How::Share { num, den } => {
                let groups = u128::from(size / self.group) * u128::from(rows);
                let kept = (groups * u128::from(num)).div_ceil(u128::from(den.max(1))).max(1);
                Keeps::Groups(usize::try_from(kept).unwrap_or(usize::MAX))
            }
        };
        Ok(Term { rows: rows as usize, scores, keeps })
    }
}
