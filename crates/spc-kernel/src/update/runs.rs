//! Sums of squares and scaling of tiles that are short runs of whole vectors. As many runs as there are lanes are summed at once:
//! a tree of interleaved halves adds across lanes and leaves one sum in each.
use super::frame::{Factor, Frame, beside};
use super::{Grid, Pass};
use crate::ir::{Addr, Builder, FBin, LoadKind, Op, RedFn, StoreKind, Val};
use spc_base::Bug;

/// Most vectors of a run.
const VECTORS: usize = 4;
/// Runs that are scaled at once.
const WAYS: usize = 4;

/// Whether tiles are handled here.
pub(super) fn is_run(grid: Grid, lanes: usize) -> bool {
    let g = grid.flat();
    lanes > 1 && g.tile == g.cols && g.tile.is_multiple_of(lanes) && (1..=VECTORS).contains(&(g.tile / lanes))
}

struct Runs {
    /// Floats of a run.
    run: usize,
    lanes: usize,
    w: Val,
    side: Val,
}

/// As [`group_pass`](super::group_pass) for [`Work::Squares`](super::Work) (`squares`) and [`Work::Scale`](super::Work).
pub(super) fn run_pass(grid: Grid, squares: bool, lanes: usize) -> Result<Pass, Bug> {
    let mut b = Builder::new(if squares { "run_squares" } else { "run_scale" }, lanes);
    let f = Frame::new(&mut b, 2);
    let t = Runs { run: grid.unit(), lanes, w: f.arrays[0], side: f.arrays[1] };
    let count = b.isub(f.hi, f.lo);
    let ways = if squares { lanes } else { WAYS };
    let times = b.op(Op::Shr(count, ways.trailing_zeros() as u8));
    let none = b.vfloat(0.0);
    let top = b.repeat(times, &[none], |b, i, top| {
        let at = b.scale(i, ways as i64);
        let at = b.iadd(f.lo, at);
        if squares {
            let sums = t.sums(b, at);
            b.store(StoreKind::VF32, Addr::indexed(t.side, at, 4), sums);
            return vec![b.fbin(FBin::Max, top[0], sums)];
        }
        (0..ways).for_each(|k| t.scale(b, at, k));
        vec![top[0]]
    });
    let done = b.scale(times, ways as i64);
    let (rest, begin) = (b.isub(count, done), b.iadd(f.lo, done));
    let top = b.repeat(rest, &top, |b, i, top| {
        let at = b.iadd(begin, i);
        if squares {
            let x = t.square(b, at, 0);
            let sum = b.reduce(RedFn::Add, x);
            b.store(StoreKind::F32, Addr::indexed(t.side, at, 4), sum);
            let sum = b.splat(sum);
            return vec![b.fbin(FBin::Max, top[0], sum)];
        }
        t.scale(b, at, 0);
        vec![top[0]]
    });
    f.pass(b, top[0], (beside(1, squares), grid.unit(), 0))
}

impl Runs {
    fn place(&self, b: &mut Builder, at: Val, run: usize, vector: usize) -> Addr {
        let first = b.scale(at, self.run as i64);
        Addr::indexed(self.w, first, 4).plus(4 * (run * self.run + vector * self.lanes) as i32)
    }

    /// Sums of squares over the vectors of run `k` from run `at` on, lane by lane.
    fn square(&self, b: &mut Builder, at: Val, k: usize) -> Val {
        let mut sum = b.vfloat(0.0);
        for v in 0..self.run / self.lanes {
            let from = self.place(b, at, k, v);
            let x = b.load(LoadKind::VF32, from);
            sum = b.fma(x, x, sum);
        }
        sum
    }

    /// The sums of as many runs as there are lanes, each added up as [`RedFn::Add`] does.
    fn sums(&self, b: &mut Builder, at: Val) -> Val {
        let n = self.lanes;
        let bits = n.trailing_zeros();
        // Interleaving leaves run j where the bits of j are turned round.
        let turned = |j: usize| (0..bits).fold(0, |r, i| r | (j >> i & 1) << (bits - 1 - i));
        // One after the other, so that few vectors are alive at once.
        let mut open: Vec<(u32, Val)> = Vec::new();
        for j in 0..n {
            let mut x = self.square(b, at, turned(j));
            let mut level = 0;
            while let Some((l, y)) = open.pop() {
                if l != level {
                    open.push((l, y));
                    break;
                }
                let (low, high) = (b.op(Op::Zip(false, y, x)), b.op(Op::Zip(true, y, x)));
                x = b.fbin(FBin::Add, low, high);
                level += 1;
            }
            open.push((level, x));
        }
        open.pop().map_or_else(|| b.vfloat(0.0), |x| x.1)
    }

    fn scale(&self, b: &mut Builder, at: Val, k: usize) {
        let f = b.load(LoadKind::Splat, Addr::indexed(self.side, at, 4).plus(4 * k as i32));
        let f = Factor::new(b, f);
        for v in 0..self.run / self.lanes {
            let place = self.place(b, at, k, v);
            let x = b.load(LoadKind::VF32, place);
            let y = f.times(b, x);
            b.store(StoreKind::VF32, place, y);
        }
    }
}
