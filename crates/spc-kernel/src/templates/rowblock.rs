//! Linear kernels from feature-major to feature-major: lanes run over tokens.
//!
//! `y[o][t] = act(sum over stored (o, k) of w * x[k][t] + bias[o])` for the row blocks `lo..hi` and all `np` tokens.
//!
//! Parameters: `values`, then `ptr` and `idx` as the layout has them, `x` `[K][np]`, `y` `[O][np]`, `bias` `[O]` if there is
//! one, `np` (a multiple of 16), `lo`, `hi`. A row block is P, V, R, 1 or 1 rows of `dense(P)`, `vx1(V)`, `bsr(R,C)`,
//! `nm(N,M)`, `csr`.
//!
//! Order of loops: groups of row blocks whose weights fit the second-level cache, tiles of tokens, row blocks, passes of
//! a few rows, stored entries. Every sum runs over its entries in storage order in one accumulator.
use super::LinearSpec;
use super::tile::{Count, Epilogue, Tile, accumulators, unrolled};
use crate::ir::{Addr, Builder, IBin, Kernel, LoadKind, Op, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_formats::Layout;

/// Tokens are padded to a multiple of this.
pub const TOKEN_PAD: usize = 16;

/// Padded number of tokens of a feature-major value of `n` tokens: a multiple of [`TOKEN_PAD`], and from 8 tiles on an odd
/// one, so that the rows of one tile of tokens fall into different cache sets. `None` when it does not fit.
pub fn padded_tokens(n: u64) -> Option<u64> {
    let tiles = n.div_ceil(TOKEN_PAD as u64);
    let tiles = if tiles >= 8 { tiles | 1 } else { tiles };
    tiles.checked_mul(TOKEN_PAD as u64)
}

/// Weights of a group of row blocks, in bytes.
const GROUP_BYTES: usize = 256 << 10;

pub fn rowblock(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    spec.check()?;
    let mut b = Builder::new(spec.name("rowblock"), spec.lanes);
    let values = b.param("values", Ty::CPtr);
    let ptr =
        matches!(spec.layout, Layout::Vx1 { .. } | Layout::Bsr { .. } | Layout::Csr).then(|| b.param("ptr", Ty::CPtr));
    let idx = (!matches!(spec.layout, Layout::Dense { .. })).then(|| b.param("idx", Ty::CPtr));
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let bias = spec.bias.then(|| b.param("bias", Ty::CPtr));
    let (np, lo, hi) = (b.param("np", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let stride = b.scale(np, 4);
    let none = values;
    let r = Rows {
        spec,
        values,
        ptr: ptr.unwrap_or(none),
        idx: idx.unwrap_or(none),
        bias,
        stride,
        height: spec.block_rows(),
    };
    r.nest(&mut b, x, y, np, lo, hi)?;
    b.finish()
}

/// Vectors of tokens in one tile for blocks of `rows` rows, largest first; the last divides [`TOKEN_PAD`].
fn token_tiles(rows: usize, lanes: usize) -> Vec<usize> {
    match (lanes, rows) {
        (16, 1 | 2) => vec![8, 4, 1],
        (16, 3 | 4) => vec![6, 3, 1],
        (16, _) => vec![3, 2, 1],
        (8, 1) => vec![8, 2],
        (8, 2) => vec![6, 2],
        (8, _) => vec![2],
        (4, 1) => vec![8, 4],
        (4, 2) => vec![4],
        _ => vec![(TOKEN_PAD / lanes).min(2)],
    }
}

/// Rows of a pass over a block of `height` rows, so that passes are about as high as each other.
fn pass_rows(height: usize, vectors: usize, lanes: usize) -> usize {
    let most = match lanes {
        16 => (accumulators(lanes) / vectors).clamp(1, 16),
        8 => (accumulators(lanes) / vectors).clamp(1, 6),
        _ => 4,
    };
    height.div_ceil(height.div_ceil(most))
}

/// Blocks of `inner` steps that fit into `steps`: a power of two.
fn share(steps: usize, inner: usize) -> usize {
    if inner >= steps { 1 } else { 1 << (steps / inner.max(1)).ilog2() }
}

struct Rows<'a> {
    spec: &'a LinearSpec<'a>,
    values: Val,
    ptr: Val,
    idx: Val,
    bias: Option<Val>,
    /// Bytes from one feature of an activation to the next.
    stride: Val,
    /// Rows of a block.
    height: usize,
}

/// A multiply-add step: accumulators, address of the weights, pointer to the activations.
type Step<'a> = &'a dyn Fn(&mut Builder, &[Val], Addr, Val) -> Vec<Val>;

/// Where a tile of tokens lies.
#[derive(Clone, Copy)]
struct At {
    x: Val,
    y: Val,
    vectors: usize,
}

/// The stored entries of a block: pointer to its values, to its indices, and how many.
#[derive(Clone, Copy)]
struct Entries {
    values: Val,
    idx: Val,
    count: Count,
}

impl Rows<'_> {
    fn nest(&self, b: &mut Builder, x: Val, y: Val, np: Val, lo: Val, hi: Val) -> Result<(), Bug> {
        let full = self.spec.rows / self.height;
        let left = self.spec.rows % self.height;
        let full_end = b.int(full as i64);
        let block_bytes = (self.height * self.spec.cols * 4).max(1);
        let group = b.int((GROUP_BYTES / block_bytes).max(1) as i64);
        let (span, one) = (b.isub(hi, lo), b.int(1));
        let padded = b.iadd(span, group);
        let padded = b.isub(padded, one);
        let groups = b.ibin(IBin::Div, padded, group);
        let mut failed = Ok(());
        b.repeat(groups, &[], |b, g, _| {
            let skip = b.imul(g, group);
            let from = b.iadd(lo, skip);
            let to = b.iadd(from, group);
            let to = b.ibin(IBin::Min, to, hi);
            let whole = b.ibin(IBin::Min, to, full_end);
            let blocks = b.isub(whole, from);
            let partial = b.isub(to, full_end);
            failed = self.tiles(b, x, y, np, |b, at| {
                let mut r = Ok(());
                b.repeat(blocks, &[], |b, i, _| {
                    let block = b.iadd(from, i);
                    r = self.block(b, block, self.height, at);
                    Vec::new()
                });
                if left > 0 {
                    // `to` is at most one more than the number of full blocks.
                    b.repeat(partial, &[], |b, _, _| {
                        r = r.clone().and(self.block(b, full_end, left, at));
                        Vec::new()
                    });
                }
                r
            });
            Vec::new()
        });
        failed
    }

    /// All tiles of tokens, of the greatest width first.
    fn tiles(
        &self,
        b: &mut Builder,
        x: Val,
        y: Val,
        np: Val,
        body: impl Fn(&mut Builder, At) -> Result<(), Bug>,
    ) -> Result<(), Bug> {
        let (mut x, mut y, mut left, mut result) = (x, y, np, Ok(()));
        for vectors in token_tiles(self.height, b.lanes()) {
            let tokens = vectors * b.lanes();
            let count = if tokens.is_power_of_two() {
                b.op(Op::Shr(left, tokens.trailing_zeros() as u8))
            } else {
                let tokens = b.int(tokens as i64);
                b.ibin(IBin::Div, left, tokens)
            };
            let bytes = 4 * tokens as i32;
            let r = b.repeat(count, &[x, y], |b, _, s| {
                result = result.clone().and(body(b, At { x: s[0], y: s[1], vectors }));
                vec![b.ptr_off(s[0], bytes), b.ptr_off(s[1], bytes)]
            });
            (x, y) = (r[0], r[1]);
            let done = b.scale(count, tokens as i64);
            left = b.isub(left, done);
        }
        result
    }

    /// The first `rows` rows of a block, a few at a time.
    fn block(&self, b: &mut Builder, block: Val, rows: usize, at: At) -> Result<(), Bug> {
        let entries = self.entries(b, block);
        let first = b.scale(block, self.height as i64);
        let skip = b.imul(first, self.stride);
        let mut y = b.ptr_add(at.y, skip);
        let mut bias = self.bias.map(|p| {
            let skip = b.scale(first, 4);
            b.ptr_add(p, skip)
        });
        let most = pass_rows(self.height, at.vectors, b.lanes());
        let mut row = 0;
        while row < rows {
            let tile = Tile { splats: (rows - row).min(most), vectors: at.vectors };
            let acc = self.sum(b, entries, row, tile, at.x);
            self.finish(b, tile, &acc, y, bias)?;
            row += tile.splats;
            if row < rows {
                let bytes = b.scale(self.stride, tile.splats as i64);
                y = b.ptr_add(y, bytes);
                bias = bias.map(|p| b.ptr_off(p, 4 * tile.splats as i32));
            }
        }
        Ok(())
    }

    fn entries(&self, b: &mut Builder, block: Val) -> Entries {
        let cols = self.spec.cols;
        let fixed = |b: &mut Builder, values: usize, indices: usize, count: usize| {
            let v = b.scale(block, 4 * values as i64);
            let i = b.scale(block, indices as i64);
            Entries {
                values: b.ptr_add(self.values, v),
                idx: if indices > 0 { b.ptr_add(self.idx, i) } else { self.idx },
                count: Count::Fixed(count),
            }
        };
        let listed = |b: &mut Builder, width: usize| {
            let at = Addr::indexed(self.ptr, block, 4);
            let (from, to) = (b.load(LoadKind::U32, at), b.load(LoadKind::U32, at.plus(4)));
            let count = Count::Runtime(b.isub(to, from));
            let (v, i) = (b.scale(from, 4 * width as i64), b.scale(from, 4));
            Entries { values: b.ptr_add(self.values, v), idx: b.ptr_add(self.idx, i), count }
        };
        match self.spec.layout {
            Layout::Dense { .. } => fixed(b, cols * self.height, 0, cols),
            Layout::Nm { n, m } => {
                let groups = cols.div_ceil(m as usize);
                fixed(b, groups * n as usize, groups * n as usize, groups)
            }
            Layout::Vx1 { v } => listed(b, v as usize),
            Layout::Bsr { r, c } => listed(b, (r * c) as usize),
            Layout::Csr => listed(b, 1),
        }
    }

    /// The sums of a tile that begins at row `row` of its block.
    fn sum(&self, b: &mut Builder, e: Entries, row: usize, tile: Tile, x: Val) -> Vec<Val> {
        let lane_bytes = 4 * b.lanes() as i32;
        let (height, skip) = (self.height, 4 * row as i32);
        // One multiply-add step with the weights at `w` (of this block's first row) and the activations at `xr`.
        let step = |b: &mut Builder, acc: &[Val], w: Addr, xr: Val| {
            tile.step(b, acc, &|i| w.plus(skip + 4 * i as i32), &|j| Addr::at(xr, lane_bytes * j as i32))
        };
        // State: values, then a pointer of the index source, then the accumulators.
        let with = |head: [Val; 2], acc: Vec<Val>| head.into_iter().chain(acc).collect::<Vec<Val>>();
        let (acc, steps) = (tile.zeros(b), tile.steps(b.lanes()));
        let stride = self.stride;
        let state = match self.spec.layout {
            Layout::Dense { .. } => unrolled(b, e.count, steps, with([e.values, x], acc), &|b, s| {
                let acc = step(b, &s[2..], Addr::new(s[0]), s[1]);
                with([b.ptr_off(s[0], 4 * height as i32), b.ptr_add(s[1], stride)], acc)
            }),
            Layout::Vx1 { .. } | Layout::Csr => unrolled(b, e.count, steps, with([e.values, e.idx], acc), &|b, s| {
                let xr = self.row(b, x, Addr::new(s[1]), LoadKind::U32);
                let acc = step(b, &s[2..], Addr::new(s[0]), xr);
                with([b.ptr_off(s[0], 4 * height as i32), b.ptr_off(s[1], 4)], acc)
            }),
            Layout::Bsr { c, .. } => {
                let c = c as usize;
                unrolled(b, e.count, share(steps, c), with([e.values, e.idx], acc), &|b, s| {
                    let xr = self.row(b, x, Addr::new(s[1]), LoadKind::U32);
                    let inner = with([s[0], xr], s[2..].to_vec());
                    let inner = unrolled(b, Count::Fixed(c), steps, inner, &|b, s| self.column(b, s, &step));
                    with([inner[0], b.ptr_off(s[1], 4)], inner[2..].to_vec())
                })
            }
            Layout::Nm { n, m } => {
                let n = n as usize;
                let group = b.scale(stride, i64::from(m));
                // One more pointer: the activations of the group.
                let state: Vec<Val> = [e.values, e.idx, x].into_iter().chain(acc).collect();
                let state = unrolled(b, e.count, share(steps, n), state, &|b, s| {
                    let xg = s[2];
                    let entry = |b: &mut Builder, s: &[Val]| {
                        let xr = self.row(b, xg, Addr::new(s[1]), LoadKind::U8);
                        let acc = step(b, &s[2..], Addr::new(s[0]), xr);
                        with([b.ptr_off(s[0], 4), b.ptr_off(s[1], 1)], acc)
                    };
                    let inner = with([s[0], s[1]], s[3..].to_vec());
                    let inner = unrolled(b, Count::Fixed(n), steps, inner, &entry);
                    let head = [inner[0], inner[1], b.ptr_add(xg, group)];
                    head.into_iter().chain(inner[2..].iter().copied()).collect()
                });
                return state[3..].to_vec();
            }
        };
        state[2..].to_vec()
    }

    /// One column of a block; state is values, activations, accumulators.
    fn column(&self, b: &mut Builder, s: &[Val], step: Step<'_>) -> Vec<Val> {
        let acc = step(b, &s[2..], Addr::new(s[0]), s[1]);
        let head = [b.ptr_off(s[0], 4 * self.height as i32), b.ptr_add(s[1], self.stride)];
        head.into_iter().chain(acc).collect()
    }

    /// Activations of the column whose number is at `idx`, counted from `x`.
    fn row(&self, b: &mut Builder, x: Val, idx: Addr, kind: LoadKind) -> Val {
        let k = b.load(kind, idx);
        let bytes = b.imul(k, self.stride);
        b.ptr_add(x, bytes)
    }

    /// Bias, activation, stores.
    fn finish(&self, b: &mut Builder, tile: Tile, acc: &[Val], y: Val, bias: Option<Val>) -> Result<(), Bug> {
        let epilogue = Epilogue { act: self.spec.act };
        let lane_bytes = 4 * b.lanes() as i32;
        let mut row = y;
        for i in 0..tile.splats {
            let c = bias.map(|p| b.load(LoadKind::Splat, Addr::at(p, 4 * i as i32)));
            for j in 0..tile.vectors {
                let v = epilogue.value(b, acc[tile.at(i, j)], c)?;
                b.store(StoreKind::VF32, Addr::at(row, lane_bytes * j as i32), v);
            }
            if i + 1 < tile.splats {
                row = b.ptr_add(row, self.stride);
            }
        }
        epilogue.pass(b, y, self.stride, tile.splats, tile.vectors, None)
    }
}
