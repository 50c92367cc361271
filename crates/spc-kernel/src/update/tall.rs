//! Sums of squares and scaling of narrow tiles that are many rows high, such as columns: row after row, so that memory is read in
//! its order; the numbers of the tiles stay in the cache meanwhile.
use super::frame::{Factor, Frame, beside};
use super::{Grid, Pass};
use crate::ir::{Addr, Builder, FBin, LoadKind, Op, StoreKind, Val};
use spc_base::Bug;

/// From so many rows on.
const ROWS: usize = 64;
/// Rows that are summed at once.
const WAYS: usize = 4;
/// Vectors of one step along a row.
const WIDE: usize = 4;

/// Whether tiles are handled here.
pub(super) fn is_tall(grid: Grid, lanes: usize) -> bool {
    grid.narrow(lanes) && grid.rows >= ROWS
}

struct Tall {
    g: Grid,
    lanes: usize,
    w: Val,
    side: Val,
}

/// As [`group_pass`](super::group_pass) for [`Work::Squares`](super::Work) (`squares`) and [`Work::Scale`](super::Work).
pub(super) fn tall_pass(grid: Grid, squares: bool, lanes: usize) -> Result<Pass, Bug> {
    let mut b = Builder::new(if squares { "tall_squares" } else { "tall_scale" }, lanes);
    let f = Frame::new(&mut b, 2);
    let (w, side, count) = (f.arrays[0], f.arrays[1], b.isub(f.hi, f.lo));
    let g = grid.flat();
    b.repeat(count, &[], |b, i, _| {
        let strip = b.iadd(f.lo, i);
        let (first, entry) = (b.scale(strip, 4 * g.unit() as i64), b.scale(strip, 4 * grid.entries(lanes) as i64));
        let t = Tall { g, lanes, w: b.ptr_add(w, first), side: b.ptr_add(side, entry) };
        if squares {
            t.squares(b)
        } else {
            t.scale(b)
        }
        Vec::new()
    });
    let none = b.vfloat(0.0);
    f.pass(b, none, (beside(grid.entries(lanes), squares), grid.unit(), 0))
}

/// What is done with a vector of a row: its byte offset, as a value and a number, and how many lanes there are where it is cut.
type OfVector<'a> = &'a dyn Fn(&mut Builder, Val, i32, Option<Val>);

impl Tall {
    /// Goes over the vectors of a row.
    fn along(&self, b: &mut Builder, f: OfVector<'_>) {
        let full = self.g.cols / self.lanes;
        let bytes = 4 * self.lanes;
        let steps = b.int((full / WIDE) as i64);
        b.repeat(steps, &[], |b, c, _| {
            let at = b.scale(c, (WIDE * bytes) as i64);
            (0..WIDE).for_each(|k| f(b, at, (k * bytes) as i32, None));
            Vec::new()
        });
        let at = b.int((full / WIDE * WIDE * bytes) as i64);
        (0..full % WIDE).for_each(|k| f(b, at, (k * bytes) as i32, None));
        if !self.g.cols.is_multiple_of(self.lanes) {
            let rest = b.int((self.g.cols % self.lanes) as i64);
            f(b, at, (full % WIDE * bytes) as i32, Some(rest));
        }
    }

    fn place(b: &mut Builder, p: Val, at: Val, plus: i32) -> Addr {
        let p = b.op(Op::PtrAdd(p, at));
        Addr::new(p).plus(plus)
    }

    fn load(b: &mut Builder, p: Val, at: Val, plus: i32, rest: Option<Val>) -> Val {
        let from = Tall::place(b, p, at, plus);
        match rest {
            Some(n) => b.load_tail(from, n),
            None => b.load(LoadKind::VF32, from),
        }
    }

    fn store(b: &mut Builder, p: Val, (at, plus): (Val, i32), x: Val, rest: Option<Val>) {
        let to = Tall::place(b, p, at, plus);
        match rest {
            Some(n) => b.store_tail(to, x, n),
            None => b.store(StoreKind::VF32, to, x),
        }
    }

    fn squares(&self, b: &mut Builder) {
        self.along(b, &|b, at, plus, rest| {
            let none = b.vfloat(0.0);
            Tall::store(b, self.side, (at, plus), none, rest);
        });
        let add = |b: &mut Builder, row: Val, rows: usize| {
            let first = b.scale(row, 4 * self.g.cols as i64);
            let first = b.ptr_add(self.w, first);
            self.along(b, &|b, at, plus, rest| {
                let mut sum = Tall::load(b, self.side, at, plus, rest);
                for r in 0..rows {
                    let x = Tall::load(b, first, at, plus + (4 * r * self.g.cols) as i32, rest);
                    sum = b.fma(x, x, sum);
                }
                Tall::store(b, self.side, (at, plus), sum, rest);
            });
        };
        // Offsets within some rows stay small numbers.
        let ways = if self.g.cols < 1 << 26 { WAYS } else { 1 };
        let times = b.int((self.g.rows / ways) as i64);
        b.repeat(times, &[], |b, r, _| {
            let row = b.scale(r, ways as i64);
            add(b, row, ways);
            Vec::new()
        });
        for r in self.g.rows / ways * ways..self.g.rows {
            let row = b.int(r as i64);
            add(b, row, 1);
        }
        if self.g.tile > 1 {
            self.along(b, &|b, at, plus, rest| {
                let (mut x, mut k) = (Tall::load(b, self.side, at, plus, rest), 1);
                while k < self.g.tile {
                    let y = b.swap(x, k as u8);
                    x = b.fbin(FBin::Add, x, y);
                    k *= 2;
                }
                Tall::store(b, self.side, (at, plus), x, rest);
            });
        }
    }

    fn scale(&self, b: &mut Builder) {
        let rows = b.int(self.g.rows as i64);
        b.repeat(rows, &[], |b, r, _| {
            let first = b.scale(r, 4 * self.g.cols as i64);
            let first = b.ptr_add(self.w, first);
            self.along(b, &|b, at, plus, rest| {
                let (f, x) = (Tall::load(b, self.side, at, plus, rest), Tall::load(b, first, at, plus, rest));
                let y = Factor::new(b, f).times(b, x);
                Tall::store(b, first, (at, plus), y, rest);
            });
            Vec::new()
        });
    }
}
