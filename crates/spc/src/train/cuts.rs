//! Groups as tiles of tensors, and what they count for.
use super::core::Core;
use super::program::Builder;
use super::work::{Missing, Ref, missing};
use spc_base::Bug;
use spc_ir::method::{Does, GroupWeight};
use spc_ir::{Cover, Member, Require};
use spc_kernel::update::Grid;
use std::collections::BTreeMap;

/// The tiles of one tensor that are groups, in order from `first` on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub weight: Ref,
    pub side: Ref,
    pub grid: Grid,
    pub len: usize,
    pub first: usize,
}

impl Part {
    fn across(&self) -> usize {
        self.grid.cols / self.grid.tile.max(1)
    }

    pub fn tiles(&self) -> usize {
        self.len / self.grid.unit().max(1) * self.across()
    }

    /// Entries of the side array that belong to one tile.
    pub fn spread(&self, lanes: usize) -> usize {
        let one = self.across().max(1);
        (self.grid.entries(lanes) / one).max(1)
    }

    /// Calls with group, first entry and tile.
    pub fn each(&self, lanes: usize, f: &mut dyn FnMut(usize, usize, usize)) {
        let (across, entries) = (self.across().max(1), self.grid.entries(lanes));
        for tile in 0..self.tiles() {
            let (strip, t) = (tile / across, tile % across);
            f(self.first + tile, strip * entries + self.grid.entry(t, lanes), tile);
        }
    }

    /// The sum of squares of a tile, in f64.
    pub fn squares(&self, w: &[f32], tile: usize) -> f64 {
        let (g, across) = (self.grid, self.across().max(1));
        let at = tile / across * g.unit() + tile % across * g.tile;
        let row = |r: usize| w.get(at + r * g.cols..at + r * g.cols + g.tile).unwrap_or_default();
        (0..g.rows).flat_map(row).map(|x| f64::from(*x) * f64::from(*x)).sum()
    }
}

/// The groups of a tensor as tiles of a matrix.
pub(super) fn grid(m: &Member) -> Option<Grid> {
    let shape: Vec<usize> = m.shape.iter().map(|d| *d as usize).collect();
    let tile: Vec<usize> = match &m.cover {
        Cover::Tile(t) => t.iter().map(|d| *d as usize).collect(),
        Cover::Slices(s) => match &s.parts[..] {
            [p] if p.start == 0 && p.inner == 1 && p.end == p.size => {
                let mut t = shape.clone();
                *t.get_mut(p.dim as usize)? = s.by as usize;
                (shape.get(p.dim as usize) == Some(&(p.size as usize))).then_some(t)?
            }
            _ => return None,
        },
        Cover::Pairs { .. } => return None,
    };
    // From the last dimension on, those that tiles span whole are one.
    let mut dims: Vec<(usize, usize)> = shape.into_iter().zip(tile).collect();
    if dims.iter().any(|(d, t)| *t == 0 || d % t != 0) {
        return None;
    }
    let (mut cols, mut wide) = dims.pop()?;
    while cols == wide
        && let Some((d, t)) = dims.pop()
    {
        (cols, wide) = (d * cols, t * wide);
    }
    let (mut rows, mut high) = (1, 1);
    while high == rows
        && let Some((d, t)) = dims.pop()
    {
        (rows, high) = (d * rows, t * high);
    }
    // Tiles within one row are runs, wherever rows end.
    let run = high == 1 && !(wide < 16 && wide.is_power_of_two());
    let cols = if run { wide } else { cols };
    dims.iter().all(|(_, t)| *t == 1).then_some(Grid { rows: high, cols, tile: wide })
}

/// A member with its tiles and the number of its first group.
pub(super) struct Cut {
    pub tensor: usize,
    pub grid: Grid,
    pub first: usize,
    pub groups: usize,
}

pub(super) struct Cuts {
    pub list: Vec<Cut>,
    /// Groups of all members, each once.
    pub groups: usize,
    /// Some groups have parts in several tensors.
    pub shared: bool,
}

pub(super) fn cuts(core: &Core, r: &Require) -> Result<Cuts, Missing> {
    let Some(k) = r.keeps.last() else { return Err(Bug::new("a penalty of nothing").into()) };
    let mut out = Cuts { list: Vec::new(), groups: 0, shared: false };
    let mut families: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for m in &k.members {
        let t = core.index(&m.weight).ok_or_else(|| Bug::new("a penalty of a tensor that is not there"))?;
        if out.list.iter().any(|c| c.tensor == t) {
            return missing("a penalty of groups that share weights");
        }
        let Some(g) = grid(m).filter(|g| g.fits(core.lanes)) else {
            return missing(format!("a penalty of these groups of `{}`", m.weight));
        };
        let groups = core.tensors[t].len / g.unit().max(1) * (g.cols / g.tile);
        let first = match &m.cover {
            Cover::Slices(s) => match families.get(&s.family) {
                Some((first, n)) if *n == groups => {
                    out.shared = true;
                    *first
                }
                Some(_) => return missing("slices of several sizes"),
                None => {
                    families.insert(s.family, (out.groups, groups));
                    out.groups += groups;
                    out.groups - groups
                }
            },
            _ => {
                out.groups += groups;
                out.groups - groups
            }
        };
        out.list.push(Cut { tensor: t, grid: g, first, groups });
    }
    Ok(out)
}

/// Size, cost and energy of a part of a group.
pub(super) fn weigh(b: &Builder<'_>, i: usize, over: usize, c: &Cut) -> Result<[f64; 3], Missing> {
    let Does::Penalize { weighing, .. } = &b.core.rules.list[i].does else {
        return Err(Bug::new("a penalty that is none").into());
    };
    let w = weighing.get(over).cloned().unwrap_or_default();
    let size = (c.grid.rows * c.grid.tile) as f64;
    let name = &b.core.tensors[c.tensor].name;
    let one = |w: &GroupWeight| match w {
        GroupWeight::Number(x) => *x,
        GroupWeight::Size => size,
        GroupWeight::SqrtSize => size.sqrt(),
        GroupWeight::PerElement(costs) => size * costs.get(name).copied().unwrap_or(1) as f64,
    };
    Ok([size, one(&w.cost), one(&w.energy)])
}

/// Which of size, cost and energy are one number for each group, however many parts it has.
pub(super) fn fixed(b: &Builder<'_>, i: usize, over: usize) -> [bool; 3] {
    let Does::Penalize { weighing, .. } = &b.core.rules.list[i].does else { return [false; 3] };
    let w = weighing.get(over).cloned().unwrap_or_default();
    [false, matches!(w.cost, GroupWeight::Number(_)), matches!(w.energy, GroupWeight::Number(_))]
}

/// Roots of sizes are roots of the whole group's.
pub(super) fn roots(b: &Builder<'_>, i: usize, over: usize, weights: &mut [[f64; 3]]) {
    let Does::Penalize { weighing, .. } = &b.core.rules.list[i].does else { return };
    let w = weighing.get(over).cloned().unwrap_or_default();
    for (k, by) in [(1, &w.cost), (2, &w.energy)] {
        if *by == GroupWeight::SqrtSize {
            weights.iter_mut().for_each(|g| g[k] = g[0].sqrt());
        }
    }
}

impl Builder<'_> {
    /// The tiles of a tensor with a side array of their own.
    pub(super) fn part(&mut self, c: &Cut) -> Part {
        let (weight, len) = (self.dense(c.tensor), self.core.tensors[c.tensor].len);
        let side = self.new_side(c.tensor, len / c.grid.unit().max(1) * c.grid.entries(self.core.lanes));
        Part { weight, side, grid: c.grid, len, first: c.first }
    }
}
