//! Norms of tiles of a matrix, and scaling by tile. With [`Work::Prox`] a tile is read for its norm and scaled while it is
//! still in the cache, so memory is read and written once.
use super::{Array, Chain, Kind, NodeId, Pass};
use crate::ir::{Addr, Builder, Cmp, FBin, FUn, LBin, LoadKind, Op, RedFn, StoreKind, Ty, Val};
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
    fn flat(self) -> Grid {
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
    fn narrow(&self, lanes: usize) -> bool {
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

/// Norms whose squares lie beyond are computed again, scaled by the largest magnitude.
const LOW: f32 = 1e-30;
const HIGH: f32 = 1e30;

struct Tiles {
    g: Grid,
    lanes: usize,
    narrow: bool,
    w: Val,
}

/// The fold is the greatest norm, NaN where a weight is (not with [`Work::Scale`]).
///
/// # Errors
/// A bug for a grid that does not [fit](Grid::fits).
pub fn group_pass(grid: Grid, work: Work<'_>, lanes: usize) -> Result<Pass, Bug> {
    if !grid.fits(lanes) {
        return Err(Bug::new(format!("no kernel for tiles of {grid:?}")));
    }
    let name = match work {
        Work::Prox(..) => "group_prox",
        Work::Squares => "group_squares",
        Work::Scale => "group_scale",
    };
    let mut b = Builder::new(name, lanes);
    let w = b.param("a0", Ty::Ptr);
    let side = (!matches!(work, Work::Prox(..))).then(|| b.param("a1", Ty::Ptr));
    let (numbers, folds) = (b.param("numbers", Ty::CPtr), b.param("folds", Ty::Ptr));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    b.param("end", Ty::I64);
    let t = Tiles { g: grid.flat(), lanes, narrow: grid.narrow(lanes), w };
    let count = b.isub(hi, lo);
    let top = b.vfloat(0.0);
    let mut failed = None;
    // A narrow tile is handled with its neighbours in one vector of columns.
    let step = if t.narrow { lanes } else { t.g.tile };
    let entries = grid.entries(lanes);
    let top = b.repeat(count, &[top], |b, i, top| {
        let strip = b.iadd(lo, i);
        let first = b.scale(strip, t.g.unit() as i64);
        let side = side.map(|p| {
            let bytes = b.scale(strip, 4 * entries as i64);
            b.ptr_add(p, bytes)
        });
        let all = b.int(t.g.cols.div_ceil(step) as i64);
        b.repeat(all, &[top[0]], |b, c, top| {
            let col = b.scale(c, step as i64);
            let cols = b.int(t.g.cols as i64);
            // How many columns there are from here on, where tiles are narrow.
            let left = b.isub(cols, col);
            let at = b.iadd(first, col);
            match t.tile(b, work, numbers, at, left, side.map(|s| (s, if t.narrow { col } else { c }))) {
                Ok(Some(n)) => vec![b.fbin(FBin::Max, top[0], n)],
                Ok(None) => vec![top[0]],
                Err(e) => {
                    failed = Some(e);
                    vec![top[0]]
                }
            }
        })
    });
    if let Some(e) = failed {
        return Err(e);
    }
    let top = b.reduce(RedFn::Max, top[0]);
    b.store(StoreKind::F32, Addr::new(folds), top);
    let numbers = if let Work::Prox(c, _) = work { c.numbers() } else { 0 };
    let array = |kind, written| Array { kind, written };
    let mut arrays = vec![array(Kind::F32, !matches!(work, Work::Squares))];
    if side.is_some() {
        arrays.push(array(Kind::Side(entries), matches!(work, Work::Squares)));
    }
    Ok(Pass { kernel: b.finish()?, arrays, unit: grid.unit(), numbers, folds: 1, cut: false })
}

impl Tiles {
    /// The new norm's greatest, for the fold.
    fn tile(
        &self,
        b: &mut Builder,
        work: Work<'_>,
        numbers: Val,
        at: Val,
        left: Val,
        side: Option<(Val, Val)>,
    ) -> Result<Option<Val>, Bug> {
        let factor = match (work, side) {
            (Work::Scale, Some((p, i))) if self.narrow => {
                let p = addr(b, p, i);
                Some(b.load_tail(p, left))
            }
            (Work::Scale, Some((p, i))) => Some(b.load(LoadKind::Splat, Addr::indexed(p, i, 4))),
            _ => None,
        };
        if let Some(f) = factor {
            self.scale(b, at, left, f);
            return Ok(None);
        }
        let squares = self.over(b, (at, left), FBin::Add, &|b, sum, x| b.fma(x, x, sum));
        let squares = self.together(b, squares, FBin::Add);
        if let (Work::Squares, Some((p, i))) = (work, side) {
            if self.narrow {
                let p = addr(b, p, i);
                b.store_tail(p, squares, left);
            } else {
                let one = b.reduce(RedFn::Max, squares);
                b.store(StoreKind::F32, Addr::indexed(p, i, 4), one);
            }
            return Ok(Some(squares));
        }
        let Work::Prox(chain, result) = work else { return Err(Bug::new("a pass without its numbers")) };
        let from = self.norm(b, at, left, squares);
        let values = chain.emit(b, numbers, &[from])?;
        let to = values.get(result).copied().ok_or_else(|| Bug::new("a prox without a result"))?;
        let (one, none) = (b.vfloat(1.0), b.vfloat(0.0));
        let (gone, empty) = (b.fcmp(Cmp::Eq, to, none), b.fcmp(Cmp::Eq, from, none));
        let same = b.fcmp(Cmp::Eq, to, from);
        let ratio = b.fbin(FBin::Div, to, from);
        let f = b.select(same, one, ratio);
        let nothing = b.logic(LBin::Or, gone, empty);
        let f = b.select(nothing, none, f);
        self.scale(b, at, left, f);
        Ok(Some(from))
    }

    /// The norm from the sum of squares; exact also where squares are too large or too small.
    fn norm(&self, b: &mut Builder, at: Val, left: Val, squares: Val) -> Val {
        let (low, high) = (b.vfloat(LOW), b.vfloat(HIGH));
        let above = b.fcmp(Cmp::Gt, squares, low);
        let below = b.fcmp(Cmp::Lt, squares, high);
        let usual = b.logic(LBin::And, above, below);
        let plain = b.fun(FUn::Sqrt, squares);
        let (one, zero) = (b.vfloat(1.0), b.vfloat(0.0));
        let odd = b.select(usual, zero, one);
        let odd = b.reduce(RedFn::Max, odd);
        let none = b.float(0.0);
        let odd = b.fcmp(Cmp::Ne, odd, none);
        let (yes, no) = (b.int(1), b.int(0));
        let times = b.select(odd, yes, no);
        let out = b.repeat(times, &[plain], |b, _, norm| {
            let zero = b.vfloat(0.0);
            let top = self.over(b, (at, left), FBin::Max, &|b, top, x| {
                let x = b.fun(FUn::Abs, x);
                b.fbin(FBin::Max, top, x)
            });
            let top = self.together(b, top, FBin::Max);
            let sum = self.over(b, (at, left), FBin::Add, &|b, sum, x| {
                let x = b.fbin(FBin::Div, x, top);
                b.fma(x, x, sum)
            });
            let sum = self.together(b, sum, FBin::Add);
            let root = b.fun(FUn::Sqrt, sum);
            let scaled = b.fbin(FBin::Mul, top, root);
            let empty = b.fcmp(Cmp::Eq, top, zero);
            let scaled = b.select(empty, zero, scaled);
            vec![b.select(usual, norm[0], scaled)]
        });
        out[0]
    }

    /// A sum or greatest over the lanes of one tile, in all of its lanes.
    fn together(&self, b: &mut Builder, x: Val, f: FBin) -> Val {
        if !self.narrow {
            let one = b.reduce(if f == FBin::Add { RedFn::Add } else { RedFn::Max }, x);
            return b.splat(one);
        }
        let (mut x, mut k) = (x, 1);
        while k < self.g.tile {
            let y = b.swap(x, k as u8);
            x = b.fbin(f, x, y);
            k *= 2;
        }
        x
    }

    /// Goes over the vectors of the tile, from 0 on; partial results meet by `meet`.
    fn over(
        &self,
        b: &mut Builder,
        (at, left): (Val, Val),
        meet: FBin,
        f: &dyn Fn(&mut Builder, Val, Val) -> Val,
    ) -> Val {
        let init = b.vfloat(0.0);
        let rows = b.int(self.g.rows as i64);
        let (full, rest) = self.width();
        // Several sums at once hide the latency of one.
        let ways = if full.is_multiple_of(4) && full > 0 { 4 } else { 1 };
        let inits = vec![init; ways];
        let sums = b.repeat(rows, &inits, |b, r, sums| {
            let row = b.scale(r, self.g.cols as i64);
            let at = b.iadd(at, row);
            if self.narrow {
                let p = addr(b, self.w, at);
                let x = b.load_tail(p, left);
                return vec![f(b, sums[0], x)];
            }
            let count = b.int((full / ways) as i64);
            let mut sums = b.repeat(count, sums, |b, v, sums| {
                let v = b.scale(v, (ways * self.lanes) as i64);
                let at = b.iadd(at, v);
                let one = |b: &mut Builder, k: usize| {
                    let x = b.load(LoadKind::VF32, Addr::indexed(self.w, at, 4).plus((4 * k * self.lanes) as i32));
                    f(b, sums[k], x)
                };
                (0..ways).map(|k| one(b, k)).collect()
            });
            if rest > 0 {
                let behind = b.int((full * self.lanes) as i64);
                let at = b.iadd(at, behind);
                let (p, n) = (addr(b, self.w, at), b.int(rest as i64));
                let x = b.load_tail(p, n);
                sums[0] = f(b, sums[0], x);
            }
            sums
        });
        sums[1..].iter().fold(sums[0], |x, y| b.fbin(meet, x, *y))
    }

    /// Whole vectors of a row of the tile, and what is left.
    fn width(&self) -> (usize, usize) {
        (self.g.tile / self.lanes, self.g.tile % self.lanes)
    }

    fn scale(&self, b: &mut Builder, at: Val, left: Val, f: Val) {
        let zero = b.vfloat(0.0);
        let gone = b.fcmp(Cmp::Eq, f, zero);
        let rows = b.int(self.g.rows as i64);
        let (full, rest) = self.width();
        b.repeat(rows, &[], |b, r, _| {
            let row = b.scale(r, self.g.cols as i64);
            let at = b.iadd(at, row);
            let one = |b: &mut Builder, x: Val| {
                let y = b.fbin(FBin::Mul, x, f);
                b.select(gone, zero, y)
            };
            if self.narrow {
                let p = addr(b, self.w, at);
                let x = b.load_tail(p, left);
                let y = one(b, x);
                b.store_tail(p, y, left);
                return Vec::new();
            }
            let count = b.int(full as i64);
            b.repeat(count, &[], |b, v, _| {
                let v = b.scale(v, self.lanes as i64);
                let at = b.iadd(at, v);
                let x = b.load(LoadKind::VF32, Addr::indexed(self.w, at, 4));
                let y = one(b, x);
                b.store(StoreKind::VF32, Addr::indexed(self.w, at, 4), y);
                Vec::new()
            });
            if rest > 0 {
                let behind = b.int((full * self.lanes) as i64);
                let at = b.iadd(at, behind);
                let (p, n) = (addr(b, self.w, at), b.int(rest as i64));
                let x = b.load_tail(p, n);
                let y = one(b, x);
                b.store_tail(p, y, n);
            }
            Vec::new()
        });
    }
}

fn addr(b: &mut Builder, p: Val, at: Val) -> Addr {
    let bytes = b.scale(at, 4);
    Addr::new(b.op(Op::PtrAdd(p, bytes)))
}
