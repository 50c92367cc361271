//! Norms of tiles of a matrix, and scaling by tile. With [`Work::Prox`] a tile is read for its norm and scaled while it is
//! still in the cache, so memory is read and written once.
use super::frame::{Factor, beside};
use super::runs::{is_run, run_pass};
use super::tall::{is_tall, tall_pass};
use super::tiles::{At, Tiles};
use super::{Chain, NodeId, Pass};
use crate::ir::{Builder, Cmp, FBin, LBin, Val};
use spc_base::Bug;

/// Tiles of `rows` x `tile` in a matrix of `cols` columns. Units are strips of `rows` rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grid {
    pub rows: usize,
    pub cols: usize,
    pub tile: usize,
}

impl Grid {
    /// The same tiles as runs where they span all columns.
    pub(super) fn flat(self) -> Grid {
        if self.tile == self.cols {
            let run = self.rows * self.cols;
            return Grid { rows: 1, cols: run, tile: run };
        }
        self
    }

    /// Weights of a unit.
    pub fn unit(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether each lane of a vector is in a tile of its own, or in one with some neighbours.
    pub(super) fn narrow(&self, lanes: usize) -> bool {
        let g = self.flat();
        g.tile < lanes && g.tile != g.cols
    }

    /// True where [`group_pass`] has a kernel.
    pub fn fits(&self, lanes: usize) -> bool {
        let g = self.flat();
        let divides = g.tile > 0 && g.cols.is_multiple_of(g.tile) && g.rows > 0;
        divides && (g.tile == g.cols || g.tile.is_multiple_of(lanes) || (g.tile < lanes && g.tile.is_power_of_two()))
    }

    /// Numbers for each unit that norms are written to: one for each tile, or for each column where tiles are narrow.
    pub fn entries(&self, lanes: usize) -> usize {
        let g = self.flat();
        if self.narrow(lanes) { g.cols } else { g.cols / g.tile.max(1) }
    }

    /// Where the number of tile `t` of a unit is.
    pub fn entry(&self, t: usize, lanes: usize) -> usize {
        if self.narrow(lanes) { t * self.flat().tile } else { t }
    }
}

/// What is done with each tile.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// Arrays: weights (written). `chain` has one array, the norm, and gives the new norm.
    Prox(&'a Chain, NodeId),
    /// Arrays: weights, sums of squares (side, written).
    Squares,
    /// Arrays: weights (written), factors (side): 0 gives +0, 1 changes no bit.
    Scale,
}

/// The fold of [`Work::Prox`] is the greatest norm, NaN where a weight is.
///
/// # Errors
/// A bug for a grid that does not [fit](Grid::fits).
pub fn group_pass(grid: Grid, work: Work<'_>, lanes: usize) -> Result<Pass, Bug> {
    let name = match work {
        Work::Prox(..) => "group_prox",
        Work::Squares => "group_squares",
        Work::Scale => "group_scale",
    };
    if is_tall(grid, lanes) && grid.fits(lanes) && !matches!(work, Work::Prox(..)) {
        return tall_pass(grid, matches!(work, Work::Squares), lanes);
    }
    if is_run(grid, lanes) && !matches!(work, Work::Prox(..)) {
        return run_pass(grid, matches!(work, Work::Squares), lanes);
    }
    let mut arrays = beside(grid.entries(lanes), matches!(work, Work::Squares));
    if matches!(work, Work::Prox(..)) {
        arrays.truncate(1);
    }
    let numbers = if let Work::Prox(c, _) = work { c.numbers() } else { 0 };
    Tiles::pass(name, grid, lanes, arrays, numbers, &|b, t, at| match work {
        Work::Prox(chain, result) => t.prox(b, chain, result, at).map(Some),
        Work::Squares => {
            let squares = t.squares(b, t.arrays[0], at);
            t.store_side(b, t.arrays[1], at, squares);
            Ok(Some(squares))
        }
        Work::Scale => {
            let f = t.load_side(b, t.arrays[1], at);
            t.rescale(b, at, f);
            Ok(None)
        }
    })
}

impl Tiles {
    /// The prox of one tile; its norm before.
    fn prox(&self, b: &mut Builder, chain: &Chain, result: NodeId, at: At) -> Result<Val, Bug> {
        let from = self.norm(b, at);
        let values = chain.emit(b, self.numbers, &[from])?;
        let to = values.get(result).copied().ok_or_else(|| Bug::new("a prox without a result"))?;
        self.resize(b, at, from, to);
        Ok(from)
    }

    /// Gives the tile another norm.
    pub(super) fn resize(&self, b: &mut Builder, at: At, from: Val, to: Val) {
        let (one, none) = (b.vfloat(1.0), b.vfloat(0.0));
        let (gone, empty) = (b.fcmp(Cmp::Eq, to, none), b.fcmp(Cmp::Eq, from, none));
        let same = b.fcmp(Cmp::Eq, to, from);
        let ratio = b.fbin(FBin::Div, to, from);
        let f = b.select(same, one, ratio);
        let nothing = b.logic(LBin::Or, gone, empty);
        let f = b.select(nothing, none, f);
        self.rescale(b, at, f);
    }

    /// Multiplies the tile by a factor; 0 gives +0.
    fn rescale(&self, b: &mut Builder, at: At, f: Val) {
        let f = Factor::new(b, f);
        self.change(b, &self.arrays[..1], at, &|b, x| f.times(b, x[0]));
    }
}
