//! Goes over the tiles of a matrix and the vectors of a tile.
use super::frame::Frame;
use super::{Array, Grid, Pass};
use crate::ir::{Addr, Builder, Cmp, FBin, FUn, LBin, LoadKind, Op, RedFn, StoreKind, Val};
use spc_base::Bug;

/// Norms whose squares lie beyond are computed again, scaled by the largest magnitude.
const LOW: f32 = 1e-30;
const HIGH: f32 = 1e30;

pub(super) struct Tiles {
    g: Grid,
    lanes: usize,
    narrow: bool,
    /// Pointers to the arrays of the pass.
    pub arrays: Vec<Val>,
    pub numbers: Val,
}

/// Where a tile is: its first weight, how many columns there are from here on (where tiles are narrow), and its number among
/// the entries of side arrays.
#[derive(Clone, Copy)]
pub(super) struct At {
    first: Val,
    left: Val,
    entry: Val,
}

/// What a tile does; it may give a value of which the greatest is the fold.
pub(super) type Body<'a> = &'a dyn Fn(&mut Builder, &Tiles, At) -> Result<Option<Val>, Bug>;

/// What is done with a vector of each array: new results from those so far.
pub(super) type OfVectors<'a, const N: usize> = &'a dyn Fn(&mut Builder, [Val; N], &[Val]) -> [Val; N];

impl Tiles {
    /// A pass that does the same with each tile.
    ///
    /// # Errors
    /// A bug for a grid that does not [fit](Grid::fits).
    pub fn pass(
        name: &str,
        grid: Grid,
        lanes: usize,
        arrays: Vec<Array>,
        numbers: usize,
        body: Body<'_>,
    ) -> Result<Pass, Bug> {
        if !grid.fits(lanes) {
            return Err(Bug::new(format!("no kernel for tiles of {grid:?}")));
        }
        let mut b = Builder::new(name, lanes);
        let f = Frame::new(&mut b, arrays.len());
        let (params, words) = (f.arrays.clone(), f.numbers);
        let t = Tiles { g: grid.flat(), lanes, narrow: grid.narrow(lanes), arrays: params, numbers: words };
        let count = b.isub(f.hi, f.lo);
        let top = b.vfloat(0.0);
        let mut failed = None;
        // A narrow tile is handled with its neighbours in one vector of columns.
        let step = if t.narrow { lanes } else { t.g.tile };
        let entries = grid.entries(lanes);
        let top = b.repeat(count, &[top], |b, i, top| {
            let strip = b.iadd(f.lo, i);
            let first = b.scale(strip, t.g.unit() as i64);
            let entry = b.scale(strip, entries as i64);
            let all = b.int(t.g.cols.div_ceil(step) as i64);
            b.repeat(all, &[top[0]], |b, c, top| {
                let col = b.scale(c, step as i64);
                let cols = b.int(t.g.cols as i64);
                let left = b.isub(cols, col);
                let first = b.iadd(first, col);
                let entry = b.iadd(entry, if t.narrow { col } else { c });
                match body(b, &t, At { first, left, entry }) {
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
        f.pass(b, top[0], (arrays, grid.unit(), numbers))
    }

    /// The number of a tile in all lanes; where tiles are narrow, those of the tiles that the lanes lie in.
    pub fn load_side(&self, b: &mut Builder, p: Val, at: At) -> Val {
        if self.narrow {
            let p = addr(b, p, at.entry);
            return b.load_tail(p, at.left);
        }
        b.load(LoadKind::Splat, Addr::indexed(p, at.entry, 4))
    }

    pub fn store_side(&self, b: &mut Builder, p: Val, at: At, x: Val) {
        if self.narrow {
            let p = addr(b, p, at.entry);
            b.store_tail(p, x, at.left);
        } else {
            let one = b.reduce(RedFn::Max, x);
            b.store(StoreKind::F32, Addr::indexed(p, at.entry, 4), one);
        }
    }

    /// The sum of squares of an array over the tile.
    pub fn squares(&self, b: &mut Builder, p: Val, at: At) -> Val {
        self.over(b, &[p], at, [FBin::Add], &|b, [sum], x| [b.fma(x[0], x[0], sum)])[0]
    }

    /// The norm of the first array; exact also where squares are too large or too small.
    pub fn norm(&self, b: &mut Builder, at: At) -> Val {
        let w = self.arrays[0];
        let squares = self.squares(b, w, at);
        let (low, high) = (b.vfloat(LOW), b.vfloat(HIGH));
        let above = b.fcmp(Cmp::Gt, squares, low);
        let below = b.fcmp(Cmp::Lt, squares, high);
        let usual = b.logic(LBin::And, above, below);
        let plain = b.fun(FUn::Sqrt, squares);
        let (one, zero) = (b.vfloat(1.0), b.vfloat(0.0));
        let odd = b.select(usual, zero, one);
        let times = any(b, odd);
        let out = b.repeat(times, &[plain], |b, _, norm| {
            let zero = b.vfloat(0.0);
            let [top] = self.over(b, &[w], at, [FBin::Max], &|b, [top], x| {
                let x = b.fun(FUn::Abs, x[0]);
                [b.fbin(FBin::Max, top, x)]
            });
            let [sum] = self.over(b, &[w], at, [FBin::Add], &|b, [sum], x| {
                let x = b.fbin(FBin::Div, x[0], top);
                [b.fma(x, x, sum)]
            });
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

    /// Goes over the vectors of the tile in some arrays, from 0 on. Results meet by sum or greatest, each in all lanes. Behind
    /// the end of a row `f` sees zeros.
    pub fn over<const N: usize>(
        &self,
        b: &mut Builder,
        arrays: &[Val],
        at: At,
        meet: [FBin; N],
        f: OfVectors<'_, N>,
    ) -> [Val; N] {
        let init = b.vfloat(0.0);
        let rows = b.int(self.g.rows as i64);
        let (full, rest) = self.width();
        let tail = |b: &mut Builder, at: Val, left: Val| -> Vec<Val> {
            let one = |p: &Val| {
                let p = addr(b, *p, at);
                b.load_tail(p, left)
            };
            arrays.iter().map(one).collect()
        };
        let part = |s: &[Val], k: usize| std::array::from_fn(|i| s[k * N + i]);
        // Several sums at once hide the latency of one.
        let ways = if full.is_multiple_of(4) && full > 0 { 4 } else { 1 };
        let sums = b.repeat(rows, &vec![init; ways * N], |b, r, sums| {
            let row = b.scale(r, self.g.cols as i64);
            let row = b.iadd(at.first, row);
            if self.narrow {
                let x = tail(b, row, at.left);
                return f(b, part(sums, 0), &x).to_vec();
            }
            let count = b.int((full / ways) as i64);
            let mut sums = b.repeat(count, sums, |b, v, sums| {
                let v = b.scale(v, (ways * self.lanes) as i64);
                let at = b.iadd(row, v);
                let mut out = Vec::new();
                for k in 0..ways {
                    let place = |p: &Val| Addr::indexed(*p, at, 4).plus((4 * k * self.lanes) as i32);
                    let x: Vec<Val> = arrays.iter().map(|p| b.load(LoadKind::VF32, place(p))).collect();
                    out.extend(f(b, part(sums, k), &x));
                }
                out
            });
            if rest > 0 {
                let behind = b.int((full * self.lanes) as i64);
                let (at, n) = (b.iadd(row, behind), b.int(rest as i64));
                let x = tail(b, at, n);
                let new = f(b, part(&sums, 0), &x);
                sums.splice(0..N, new);
            }
            sums
        });
        std::array::from_fn(|i| {
            let all = (1..ways).fold(sums[i], |x, k| b.fbin(meet[i], x, sums[k * N + i]));
            self.together(b, all, meet[i])
        })
    }

    /// Whole vectors of a row of the tile, and what is left.
    fn width(&self) -> (usize, usize) {
        (self.g.tile / self.lanes, self.g.tile % self.lanes)
    }

    /// Replaces the first of some arrays by a function of all.
    pub fn change(&self, b: &mut Builder, arrays: &[Val], at: At, new: &dyn Fn(&mut Builder, &[Val]) -> Val) {
        let Some(w) = arrays.first().copied() else { return };
        let rows = b.int(self.g.rows as i64);
        let (full, rest) = self.width();
        let tail = |b: &mut Builder, at: Val, n: Val| {
            let place: Vec<Addr> = arrays.iter().map(|p| addr(b, *p, at)).collect();
            let x: Vec<Val> = place.iter().map(|p| b.load_tail(*p, n)).collect();
            let y = new(b, &x);
            if let Some(p) = place.first() {
                b.store_tail(*p, y, n);
            }
        };
        b.repeat(rows, &[], |b, r, _| {
            let row = b.scale(r, self.g.cols as i64);
            let row = b.iadd(at.first, row);
            if self.narrow {
                tail(b, row, at.left);
                return Vec::new();
            }
            let count = b.int(full as i64);
            b.repeat(count, &[], |b, v, _| {
                let v = b.scale(v, self.lanes as i64);
                let at = b.iadd(row, v);
                let x: Vec<Val> = arrays.iter().map(|p| b.load(LoadKind::VF32, Addr::indexed(*p, at, 4))).collect();
                let y = new(b, &x);
                b.store(StoreKind::VF32, Addr::indexed(w, at, 4), y);
                Vec::new()
            });
            if rest > 0 {
                let behind = b.int((full * self.lanes) as i64);
                let (at, n) = (b.iadd(row, behind), b.int(rest as i64));
                tail(b, at, n);
            }
            Vec::new()
        });
    }
}

/// 1 where a lane is not 0, else 0: how often something is done for the vector.
pub(super) fn any(b: &mut Builder, x: Val) -> Val {
    let x = b.reduce(RedFn::Max, x);
    let none = b.float(0.0);
    let some = b.fcmp(Cmp::Ne, x, none);
    let (yes, no) = (b.int(1), b.int(0));
    b.select(some, yes, no)
}

fn addr(b: &mut Builder, p: Val, at: Val) -> Addr {
    let bytes = b.scale(at, 4);
    Addr::new(b.op(Op::PtrAdd(p, bytes)))
}
