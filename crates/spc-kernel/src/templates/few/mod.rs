//! Linear kernels from row-major to row-major for few tokens: lanes run over the outputs of a block, so that no token is
//! padding.
//!
//! `y[t][o] = act(sum over stored (o, k) of w * x[t][k] + bias[o])` for the row blocks `lo..hi` and all `n` tokens.
//!
//! Parameters: `values`, then `ptr` and `idx` as the layout (`vx1(V)`, `bsr(R,C)`, `nm16(N,M)`, `bitmap`, whose masks are `mask` in place of `idx`, `vnm16(V,M)` with `pick` in
//! place of `ptr`) has them, `x` `[n][K]`, `y`
//! `[n][O]`, `bias` `[O]` if there is one, `n`, `lo`, `hi`. The rows of a block are whole vectors.
//!
//! The weights of a block are read once for a tile of tokens (at most 8). Where that leaves few sums, each is dealt to
//! several accumulators, which are added at the end.
mod bits;
mod groups;
mod shared;

use super::LinearSpec;
use super::epilogue::{Columns, Epilogue, Lanes, Stored, put};
use super::tile::{WIDE, accumulators};
use crate::ir::{Addr, Builder, FBin, IBin, Kernel, LoadKind, Op, Ty, Val};
use spc_base::Bug;
use spc_formats::{Fields, Layout};

/// Tokens of the largest tile.
const MOST: usize = 8;
/// Vectors of the widest strip of a block.
const STRIP: usize = 4;
/// Rows of a block of `nm16` and `bitmap`.
const ROWS: usize = 16;
/// Bytes of weights, and of indices, that are asked for ahead of their use.
const AHEAD: i32 = 2 << 10;
/// Columns of a block that are written out in wide code, four times those in portable code.
const COLUMNS: usize = 16;

pub fn few(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    spec.check()?;
    let height = spec.block_rows();
    let listed = matches!(spec.base(), Layout::Vx1 { .. } | Layout::Bsr { .. });
    if !listed && !matches!(spec.base(), Layout::Nm16 { .. } | Layout::Bitmap | Layout::Vnm16 { .. }) {
        return Err(Bug::new(format!("{} has no kernel for few tokens", spec.layout)));
    }
    if !height.is_multiple_of(spec.lanes) {
        return Err(Bug::new(format!("blocks of {height} rows do not fit {} lanes", spec.lanes)));
    }
    let mut b = Builder::new(spec.name("few"), spec.lanes);
    let values = b.param("values", Ty::CPtr);
    let ptr = match spec.base() {
        Layout::Nm16 { .. } => None,
        Layout::Vnm16 { .. } => Some(b.param("pick", Ty::CPtr)),
        _ => Some(b.param("ptr", Ty::CPtr)),
    };
    let idx = b.param(if spec.base() == Layout::Bitmap { "mask" } else { "idx" }, Ty::CPtr);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (epilogue, columns) = Epilogue::declare(&mut b, spec, y);
    let (n, lo, hi) = (b.param("n", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let f = Few { spec, height, values, ptr: ptr.unwrap_or(values), idx, x, y, columns, epilogue, n };

    let count = b.isub(hi, lo);
    let mut result = Ok(());
    b.repeat(count, &[], |b, i, _| {
        let block = b.iadd(lo, i);
        result = f.outputs(b, block);
        Vec::new()
    });
    result?;
    b.finish()
}

struct Few<'a> {
    spec: &'a LinearSpec<'a>,
    height: usize,
    values: Val,
    ptr: Val,
    idx: Val,
    x: Val,
    y: Val,
    columns: Columns,
    epilogue: Epilogue<'a>,
    n: Val,
}

/// The vectors of a block that are computed together.
#[derive(Clone, Copy)]
struct Strip {
    /// First weight of the strip in the block's first entry, and the block's indices (of the strip, for `nm16`).
    values: Val,
    idx: Val,
    /// Entries, where the layout lists them; for `vnm16` the positions that the rows pick.
    count: Val,
    y: Val,
    columns: Columns,
    vectors: usize,
    /// Outputs from the strip's first on, which may be more than it has; nothing where all strips are whole.
    left: Option<Val>,
}

/// Sums of a tile: `sets` accumulators for each of `tokens * vectors`.
#[derive(Clone, Copy)]
struct Sums {
    tokens: usize,
    vectors: usize,
    sets: usize,
}

impl Sums {
    fn of(tokens: usize, vectors: usize, lanes: usize) -> Sums {
        let sets = match tokens * vectors {
            1 | 2 if lanes >= WIDE => 4,
            1..=4 => 2,
            _ => 1,
        };
        Sums { tokens, vectors, sets }
    }

    fn size(self) -> usize {
        self.tokens * self.vectors
    }

    /// Position of a sum in the list of accumulators.
    fn at(self, set: usize, token: usize, vector: usize) -> usize {
        (set % self.sets * self.tokens + token) * self.vectors + vector
    }

    /// The sums of all sets.
    fn total(self, b: &mut Builder, acc: &[Val]) -> Vec<Val> {
        let one = |b: &mut Builder, i: usize| {
            let parts: Vec<Val> = acc.iter().skip(i).step_by(self.size()).copied().collect();
            parts[1..].iter().fold(parts[0], |sum, p| b.fbin(FBin::Add, sum, *p))
        };
        (0..self.size()).map(|i| one(b, i)).collect()
    }
}

impl Few<'_> {
    /// All outputs of a block, for all tokens. The code of a strip is there once, which compiles sooner, and counts the outputs that
    /// exist as it runs.
    fn outputs(&self, b: &mut Builder, block: Val) -> Result<(), Bug> {
        let (lanes, spec) = (b.lanes(), self.spec);
        let (values, idx, count) = self.entries(b, block);
        let most = self.strip(lanes);
        let vectors = (1..=most).rev().find(|n| (self.height / lanes).is_multiple_of(*n)).unwrap_or(1);
        let width = vectors * lanes;
        let skip = b.scale(block, 4 * self.height as i64);
        let y = b.ptr_add(self.y, skip);
        let columns = self.columns.skip(b, skip);
        let mut strips = b.int((self.height / width) as i64);
        let mut left = None;
        if !spec.rows.is_multiple_of(self.height) {
            let (rows, done) = (b.int(spec.rows as i64), b.scale(block, self.height as i64));
            let here = b.isub(rows, done);
            let more = b.int(width as i64 - 1);
            let there = b.iadd(here, more);
            let size = b.int(width as i64);
            let there = b.ibin(IBin::Div, there, size);
            strips = b.ibin(IBin::Min, strips, there);
            left = Some(here).filter(|_| !spec.rows.is_multiple_of(width));
        }
        let mut result = Ok(());
        b.repeat(strips, &[], |b, i, _| {
            let done = b.scale(i, width as i64);
            let bytes = b.scale(done, 4);
            // Of blocks of sixteen rows their number and the row within.
            let (sixteen, low) = (b.op(Op::Shr(done, 4)), b.int(ROWS as i64 - 1));
            let within = b.ibin(IBin::And, done, low);
            let part = |b: &mut Builder, p: Val, of_block: usize, of_row: usize| {
                let (far, near) = (b.scale(sixteen, of_block as i64), b.scale(within, of_row as i64));
                let p = b.ptr_add(p, far);
                b.ptr_add(p, near)
            };
            let mut strip = Strip {
                values,
                idx,
                count,
                y: b.ptr_add(y, bytes),
                columns: columns.skip(b, bytes),
                vectors,
                left: left.map(|n| b.isub(n, done)),
            };
            match spec.base() {
                Layout::Vnm16 { m, .. } => {
                    let groups = spec.cols.div_ceil(m as usize);
                    strip.values = part(b, values, 128 * groups, 4);
                    strip.count = part(b, count, 32 * groups.div_ceil(4), 2);
                }
                // One strip has all rows.
                Layout::Bitmap => {}
                base => {
                    let skip = b.scale(done, spec.values().1 as i64);
                    strip.values = b.ptr_add(values, skip);
                    if matches!(base, Layout::Nm16 { .. }) {
                        strip.idx = b.ptr_add(idx, bytes);
                    }
                }
            }
            result = self.tokens(b, strip);
            Vec::new()
        });
        result
    }

    /// Vectors of the widest strip.
    fn strip(&self, lanes: usize) -> usize {
        match self.spec.base() {
            Layout::Nm16 { .. } => 1,
            Layout::Bitmap => ROWS / lanes,
            // Whole blocks, or parts of one.
            Layout::Vnm16 { .. } if lanes >= WIDE => STRIP * lanes / ROWS,
            Layout::Vnm16 { .. } => 1,
            _ if lanes >= WIDE => STRIP,
            _ => 2,
        }
    }

    /// Values, indices and number of the entries of a block.
    fn entries(&self, b: &mut Builder, block: Val) -> (Val, Val, Val) {
        if let Layout::Nm16 { n, m } = self.spec.base() {
            let (n, m) = (n as usize, m as usize);
            let groups = self.spec.cols.div_ceil(m);
            let words = Fields::of(n, m).row_words(groups);
            let size = self.spec.values().1;
            let (v, i) = (b.scale(block, (size * ROWS * groups * n) as i64), b.scale(block, (4 * ROWS * words) as i64));
            return (b.ptr_add(self.values, v), b.ptr_add(self.idx, i), block);
        }
        if let Layout::Vnm16 { m, .. } = self.spec.base() {
            // A panel has its columns, and of each of its blocks the positions and values.
            let groups = self.spec.cols.div_ceil(m as usize);
            let (windows, blocks) = (groups.div_ceil(4), self.height / ROWS);
            let first = b.scale(block, blocks as i64);
            let (v, i) = (b.scale(first, (128 * groups) as i64), b.scale(block, (32 * windows) as i64));
            let picks = b.scale(first, (32 * windows) as i64);
            return (b.ptr_add(self.values, v), b.ptr_add(self.idx, i), b.ptr_add(self.ptr, picks));
        }
        let bitmap = self.spec.base() == Layout::Bitmap;
        let per = match self.spec.base() {
            Layout::Bitmap => 1,
            Layout::Bsr { r, c } => (r * c) as i64,
            _ => self.height as i64,
        };
        let at = Addr::indexed(self.ptr, block, 4);
        let (from, to) = (b.load(LoadKind::U32, at), b.load(LoadKind::U32, at.plus(4)));
        let count = b.isub(to, from);
        let v = b.scale(from, self.spec.values().1 as i64 * per);
        let i = if bitmap { b.scale(block, 2 * self.spec.cols as i64) } else { b.scale(from, 4) };
        (b.ptr_add(self.values, v), b.ptr_add(self.idx, i), count)
    }

    /// All tokens of a strip: whole tiles, then one that fits what is left.
    fn tokens(&self, b: &mut Builder, strip: Strip) -> Result<(), Bug> {
        let most = match self.spec.base() {
            // Beside each sum, the inputs of its group are held.
            Layout::Nm16 { .. } if b.lanes() >= WIDE => MOST / 2,
            Layout::Vnm16 { .. } if b.lanes() == ROWS => MOST / 2,
            Layout::Nm16 { .. } | Layout::Vnm16 { .. } => 2,
            // Code for scalars keeps all sixteen rows already.
            Layout::Bitmap if b.lanes() < 4 => 1,
            _ => (accumulators(b.lanes()) / strip.vectors).clamp(1, MOST),
        };
        let most = 1 << most.ilog2();
        let mut result = Ok(());
        let (xs, ys) = ((4 * most * self.spec.cols) as i64, (4 * most * self.spec.rows) as i64);
        let count = b.op(Op::Shr(self.n, most.trailing_zeros() as u8));
        let r = b.repeat(count, &[self.x, strip.y], |b, _, s| {
            result = self.tile(b, strip, s[0], s[1], most);
            let (xs, ys) = (b.int(xs), b.int(ys));
            vec![b.ptr_add(s[0], xs), b.ptr_add(s[1], ys)]
        });
        let mask = b.int(most as i64 - 1);
        let mut state = r;
        let left = b.ibin(IBin::And, self.n, mask);
        // What is left by its binary digits; in portable code one by one.
        let mut tokens = if b.lanes() >= WIDE { most / 2 } else { most.min(2) / 2 };
        while tokens > 0 {
            let mut here = left;
            if b.lanes() >= WIDE {
                let (digit, one) = (b.op(Op::Shr(left, tokens.trailing_zeros() as u8)), b.int(1));
                here = b.ibin(IBin::And, digit, one);
            }
            let (xs, ys) = ((4 * tokens * self.spec.cols) as i64, (4 * tokens * self.spec.rows) as i64);
            state = b.repeat(here, &state, |b, _, s| {
                result = result.clone().and(self.tile(b, strip, s[0], s[1], tokens));
                let (xs, ys) = (b.int(xs), b.int(ys));
                vec![b.ptr_add(s[0], xs), b.ptr_add(s[1], ys)]
            });
            tokens /= 2;
        }
        result
    }

    fn tile(&self, b: &mut Builder, strip: Strip, x: Val, y: Val, tokens: usize) -> Result<(), Bug> {
        let far = || Bug::new("a matrix is too wide for a kernel of few tokens");
        let to_i32 = |n: usize| i32::try_from(n).map_err(|_| far());
        let x_row = to_i32((4 * self.spec.cols + 64) * tokens)? / tokens as i32 - 64;
        let y_row = to_i32((4 * self.spec.rows + 64) * tokens)? / tokens as i32 - 64;
        let sums = Sums::of(tokens, strip.vectors, b.lanes());
        let acc = match self.spec.base() {
            Layout::Nm16 { n, m } => self.groups(b, strip, sums, x, x_row, (n as usize, m as usize)),
            Layout::Bitmap => self.bits(b, strip, sums, x, x_row),
            Layout::Vnm16 { m, .. } => self.shared(b, strip, sums, x, x_row, m as usize),
            Layout::Bsr { c, .. } => self.listed(b, strip, sums, x, x_row, c as usize),
            _ => self.listed(b, strip, sums, x, x_row, 1),
        };
        let epilogue = &self.epilogue;
        let there = epilogue.there(b, y);
        let lane_bytes = 4 * b.lanes() as i32;
        for j in 0..strip.vectors {
            let at = lane_bytes * j as i32;
            let short = strip.left.map(|n| {
                let before = b.int((b.lanes() * j) as i64);
                if j > 0 { b.isub(n, before) } else { n }
            });
            let c = epilogue.early(strip.columns).load(b, at, short);
            for t in 0..tokens {
                let place = y_row * t as i32 + at;
                let v = epilogue.value(b, acc[sums.at(0, t, j)], c, Addr::at(there, place), short)?;
                put(b, Addr::at(y, place), v, short);
            }
        }
        let stride = b.int(i64::from(y_row));
        match strip.left {
            Some(n) if epilogue.deferred() => self.deferred(b, y, stride, tokens, strip, n),
            Some(_) => Ok(()),
            None => {
                let stored = Stored { base: y, stride, rows: tokens, vectors: strip.vectors, tail: None };
                epilogue.pass(b, stored, strip.columns, Lanes::Outputs)
            }
        }
    }

    /// An activation that calls functions, of what is stored: of each token `left` outputs, at most those of the strip.
    fn deferred(
        &self,
        b: &mut Builder,
        y: Val,
        stride: Val,
        tokens: usize,
        strip: Strip,
        left: Val,
    ) -> Result<(), Bug> {
        let (epilogue, columns) = (&self.epilogue, self.epilogue.late(strip.columns));
        let (tokens, vectors, lanes) = (b.int(tokens as i64), b.int(strip.vectors as i64), b.lanes() as i64);
        let mut result = Ok(());
        b.repeat(tokens, &[y], |b, _, s| {
            let there = epilogue.there(b, s[0]);
            b.repeat(vectors, &[], |b, j, _| {
                let done = b.scale(j, lanes);
                let n = b.isub(left, done);
                let at = Addr::indexed(s[0], done, 4);
                let v = b.load_tail(at, n);
                let c = columns.map(|p| b.load_tail(Addr::indexed(p, done, 4), n));
                let there = Addr::indexed(there, done, 4);
                result = epilogue.activated(b, v, c, there, Some(n)).map(|v| b.store_tail(at, v, n));
                Vec::new()
            });
            vec![b.ptr_add(s[0], stride)]
        });
        result
    }

    /// Asks for the lines of `bytes` bytes at a distance behind `p`.
    fn ahead(&self, b: &mut Builder, p: Val, bytes: usize) {
        if b.lanes() >= WIDE {
            (0..bytes.div_ceil(64)).for_each(|i| b.prefetch(Addr::at(p, AHEAD + 64 * i as i32)));
        }
    }

    /// Sums over listed entries of `width` columns each.
    fn listed(&self, b: &mut Builder, strip: Strip, sums: Sums, x: Val, x_row: i32, width: usize) -> Vec<Val> {
        let (kind, size) = self.spec.values();
        let column = (size * self.height) as i32;
        let columns = if b.lanes() >= WIDE { COLUMNS } else { COLUMNS / 4 };
        let entry_bytes = column * width as i32;
        // Column `c` of an entry whose weights begin `at` bytes behind `values` and whose activations are at `from`.
        let step = |b: &mut Builder, acc: &mut [Val], set: usize, values: Val, at: i32, from: Addr| {
            let weights: Vec<Val> =
                (0..sums.vectors).map(|j| b.load(kind, Addr::at(values, at + (size * b.lanes() * j) as i32))).collect();
            for t in 0..sums.tokens {
                let v = b.load(LoadKind::Splat, from.plus(x_row * t as i32));
                for (j, w) in weights.iter().enumerate() {
                    let place = sums.at(set, t, j);
                    acc[place] = b.fma(*w, v, acc[place]);
                }
            }
        };
        let entry = |b: &mut Builder, acc: &mut Vec<Val>, u: usize, values: Val, idx: Val| {
            let k = b.load(LoadKind::U32, Addr::at(idx, 4 * u as i32));
            let from = Addr::indexed(x, k, 4);
            let at = entry_bytes * u as i32;
            if width <= columns {
                for c in 0..width {
                    step(b, acc, u * width + c, values, at + column * c as i32, from.plus(4 * c as i32));
                }
                return;
            }
            let bytes = b.scale(k, 4);
            let head = [b.ptr_off(values, at), b.ptr_add(x, bytes)];
            let state: Vec<Val> = head.into_iter().chain(acc.iter().copied()).collect();
            let rounds = b.int(width as i64);
            let out = b.repeat(rounds, &state, |b, _, s| {
                let mut acc = s[2..].to_vec();
                step(b, &mut acc, 0, s[0], 0, Addr::new(s[1]));
                [b.ptr_off(s[0], column), b.ptr_off(s[1], 4)].into_iter().chain(acc).collect()
            });
            acc.copy_from_slice(&out[2..]);
        };
        // Entries of one round.
        let by = if width > columns { 1 } else { (sums.sets / width).max(1).next_power_of_two() };
        let zero = b.vfloat(0.0);
        let mut state = vec![zero; 2 + sums.sets * sums.size()];
        (state[0], state[1]) = (strip.values, strip.idx);
        let rounds = b.op(Op::Shr(strip.count, by.trailing_zeros() as u8));
        let state = b.repeat(rounds, &state, |b, _, s| {
            let mut acc = s[2..].to_vec();
            self.ahead(b, s[0], by * entry_bytes as usize);
            (0..by).for_each(|u| entry(b, &mut acc, u, s[0], s[1]));
            let head = [b.ptr_off(s[0], entry_bytes * by as i32), b.ptr_off(s[1], 4 * by as i32)];
            head.into_iter().chain(acc).collect()
        });
        let mut acc = state[2..].to_vec();
        if by > 1 {
            let done = b.scale(rounds, by as i64);
            let rest = b.isub(strip.count, done);
            let last = b.repeat(rest, &state, |b, _, s| {
                let mut acc = s[2..].to_vec();
                entry(b, &mut acc, 0, s[0], s[1]);
                let head = [b.ptr_off(s[0], entry_bytes), b.ptr_off(s[1], 4)];
                head.into_iter().chain(acc).collect()
            });
            acc.copy_from_slice(&last[2..]);
        }
        sums.total(b, &acc)
    }
}
