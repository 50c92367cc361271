//! Conversions of activations between row-major `[n][F]` and feature-major (see [`super::feature_major`]), by transposing
//! squares of as many tokens and features as there are lanes. The range `lo..hi` counts blocks of that many features.
use super::feature_major::TILE;
use super::nest::skip;
use crate::ir::{Addr, Builder, Cmp, IBin, Kernel, LoadKind, Op, StoreKind, Ty, Val};
use spc_base::Bug;

/// What the range of a conversion counts.
pub fn feature_blocks(features: usize, lanes: usize) -> usize {
    features.div_ceil(lanes)
}

/// Feature-major `y` from `x`; pad tokens become zero.
///
/// Parameters: `x` `[n][F]`, `y` feature-major, `n`, `np`, `lo`, `hi`.
pub fn to_feature_major(features: usize, lanes: usize) -> Result<Kernel, Bug> {
    convert(features, Pitch { row: features, offset: 0 }, lanes, true)
}

/// As [`to_feature_major`], of the features from `offset` on of an `x` `[n][row]`.
pub fn part_to_feature_major(features: usize, offset: usize, row: usize, lanes: usize) -> Result<Kernel, Bug> {
    if offset.checked_add(features).is_none_or(|end| end > row) {
        return Err(Bug::new("a range of features leaves its row"));
    }
    convert(features, Pitch { row, offset }, lanes, true)
}

/// Row-major `y` from `x`, without pad tokens.
///
/// Parameters: `x` feature-major, `y` `[n][F]`, `n`, `np`, `lo`, `hi`.
pub fn to_row_major(features: usize, lanes: usize) -> Result<Kernel, Bug> {
    convert(features, Pitch { row: features, offset: 0 }, lanes, false)
}

/// Elements from one row of the row-major side to the next, and before the first.
#[derive(Clone, Copy)]
struct Pitch {
    row: usize,
    offset: usize,
}

fn convert(features: usize, pitch: Pitch, lanes: usize, to_fm: bool) -> Result<Kernel, Bug> {
    let name = if to_fm { "rm_to_fm" } else { "fm_to_rm" };
    let of = if pitch.row == features { String::new() } else { format!("_of_{}", pitch.row) };
    let mut b = Builder::new(format!("{name}_{features}{of}"), lanes);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (n, np) = (b.param("n", Ty::I64), b.param("np", Ty::I64));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let row_bytes = i32::try_from(4 * pitch.row * lanes).map_err(|_| Bug::new("a row is too long to be converted"))?;
    let row_bytes = row_bytes / lanes as i32;
    let tokens = b.int(TILE as i64);
    let padded = b.int(TILE as i64 - 1);
    let padded = b.iadd(np, padded);
    let tiles = b.ibin(IBin::Div, padded, tokens);
    let (fm_tile, rm_tile) = (b.int(4 * (TILE * features) as i64), b.int(4 * (TILE * pitch.row) as i64));
    let none = b.int(0);
    let x = skip(&mut b, x, if to_fm { pitch.offset as u64 } else { 0 }, 4)?;
    let (x_tile, y_tile) = if to_fm { (rm_tile, fm_tile) } else { (fm_tile, rm_tile) };
    let shift = lanes.trailing_zeros() as u8;
    b.repeat(tiles, &[x, y, n, np], |b, _, s| {
        let (there, width) = (b.ibin(IBin::Min, s[2], tokens), b.ibin(IBin::Min, s[3], tokens));
        let there = b.ibin(IBin::Max, there, none);
        let stride = b.scale(width, 4);
        let c = Square { features, row_bytes, stride, lo, hi, to_fm };
        // Squares full of tokens, then those that are not.
        let full = b.op(Op::Shr(there, shift));
        let next = |b: &mut Builder, s: &[Val]| {
            let (rm, fm) = (row_bytes * lanes as i32, 4 * lanes as i32);
            let (x_step, y_step) = if to_fm { (rm, fm) } else { (fm, rm) };
            vec![b.ptr_off(s[0], x_step), b.ptr_off(s[1], y_step)]
        };
        let r = b.repeat(full, &s[..2], |b, _, s| {
            c.blocks(b, s[0], s[1], None);
            next(b, s)
        });
        let done = b.scale(full, lanes as i64);
        let left = b.isub(there, done);
        let rest = if to_fm {
            // Pads are written too.
            let all = b.op(Op::Shr(width, shift));
            b.isub(all, full)
        } else {
            let one = b.int(1);
            b.ibin(IBin::Min, left, one)
        };
        b.repeat(rest, &[r[0], r[1], left], |b, _, s| {
            c.blocks(b, s[0], s[1], Some(s[2]));
            let mut after = next(b, s);
            let lanes = b.int(lanes as i64);
            after.push(b.isub(s[2], lanes));
            after
        });
        vec![b.ptr_add(s[0], x_tile), b.ptr_add(s[1], y_tile), b.isub(s[2], tokens), b.isub(s[3], tokens)]
    });
    b.finish()
}

/// The squares of a tile's tokens: `row_bytes` from one token to the next, `stride` bytes from one feature to the next.
struct Square {
    features: usize,
    row_bytes: i32,
    stride: Val,
    lo: Val,
    hi: Val,
    to_fm: bool,
}

impl Square {
    /// The blocks `lo..hi` of features for the tokens at `x` and `y`; of the tokens only the first `left`, if not all.
    fn blocks(&self, b: &mut Builder, x: Val, y: Val, left: Option<Val>) {
        let lanes = b.lanes();
        let full_end = b.int((self.features / lanes) as i64);
        let whole = b.ibin(IBin::Min, self.hi, full_end);
        let count = b.isub(whole, self.lo);
        b.repeat(count, &[], |b, i, _| {
            let block = b.iadd(self.lo, i);
            self.one(b, x, y, block, lanes, left);
            Vec::new()
        });
        if !self.features.is_multiple_of(lanes) {
            // `hi` is at most one more than the number of full blocks.
            let partial = b.isub(self.hi, full_end);
            b.repeat(partial, &[], |b, _, _| {
                self.one(b, x, y, full_end, self.features % lanes, left);
                Vec::new()
            });
        }
    }

    /// The first `features` features of a block.
    fn one(&self, b: &mut Builder, x: Val, y: Val, block: Val, features: usize, left: Option<Val>) {
        let lanes = b.lanes();
        let first = b.scale(block, lanes as i64);
        let (across, down) = (b.scale(first, 4), b.imul(first, self.stride));
        let (rm, fm) = if self.to_fm { (x, y) } else { (y, x) };
        let (rm, fm) = (b.ptr_add(rm, across), b.ptr_add(fm, down));
        let short = (features < lanes || left.is_some()).then(|| b.int(features as i64));
        // Features of token `i`: none of those past the last.
        let here = |b: &mut Builder, i: usize| -> Option<Val> {
            let features = short?;
            let Some(left) = left else { return Some(features) };
            let (i, none) = (b.int(i as i64), b.int(0));
            let there = b.icmp(Cmp::Gt, left, i);
            Some(b.select(there, features, none))
        };
        let token = |i: usize| Addr::at(rm, self.row_bytes * i as i32);
        if self.to_fm {
            let mut rows = Vec::with_capacity(lanes);
            for i in 0..lanes {
                rows.push(match here(b, i) {
                    Some(n) => b.load_tail(token(i), n),
                    None => b.load(LoadKind::VF32, token(i)),
                });
            }
            let rows = transposed(b, rows);
            let mut to = fm;
            for row in rows.iter().take(features) {
                b.store(StoreKind::VF32, Addr::new(to), *row);
                to = b.ptr_add(to, self.stride);
            }
            return;
        }
        let zero = b.vfloat(0.0);
        let (mut rows, mut from) = (vec![zero; lanes], fm);
        for row in rows.iter_mut().take(features) {
            *row = b.load(LoadKind::VF32, Addr::new(from));
            from = b.ptr_add(from, self.stride);
        }
        for (i, row) in transposed(b, rows).into_iter().enumerate() {
            match here(b, i) {
                Some(n) => b.store_tail(token(i), row, n),
                None => b.store(StoreKind::VF32, token(i), row),
            }
        }
    }
}

/// Vector j holds the lanes number j of the vectors given, as many as there are lanes.
fn transposed(b: &mut Builder, mut rows: Vec<Val>) -> Vec<Val> {
    let half = rows.len() / 2;
    for _ in 0..rows.len().trailing_zeros() {
        rows = (0..2 * half).map(|i| b.op(Op::Zip(i % 2 == 1, rows[i / 2], rows[i / 2 + half]))).collect();
    }
    rows
}
