//! Linears of 8-bit blocks (`i8(R)`) on tile registers, and the rounding of activations that they read.
//!
//! Rounded activations lie as in [`super::blocks8`], in tiles of [`TOKENS`] tokens that are all whole. The weight is in the order
//! of `spc_formats::tiles8`. A run of 16 blocks is one tile of signed bytes, 16 outputs by 16 blocks of four inputs; the same
//! inputs of 16 tokens are copied together into memory of the kernel's own, 16 blocks by 16 tokens, and are the other factor.
//! A sum is 16 outputs by 16 tokens, so it is transposed before it is scaled and stored. Copies run one run ahead of products.
use super::LinearSpec;
use super::blocks8::{Block, Blocks, Tokens, Walk};
use super::epilogue::Epilogue;
use super::round8::{columns, round_tiles};
use crate::ir::{Addr, Builder, IBin, Kernel, LoadKind, Op, StoreKind, TILE_BYTES, TileOp, Ty, Val};
use spc_base::Bug;
use spc_formats::tiles8::RUN;
use spc_formats::{Blocking, Layout};

/// Tokens of a tile.
pub const TOKENS: usize = 16;

/// Rows of a tile of weights.
const ROWS: usize = 16;

/// The order in which the weight is stored for these kernels.
pub const ORDER: Blocking = Blocking::plain(4 * RUN as u32, 1);

/// Tiles that hold sums, weights and activations.
const SUMS: usize = 4;
const WEIGHTS: u8 = 4;
const INPUTS: u8 = 6;

/// Tiles of tokens that run over all row blocks before the next ones do, where a row block has so many tiles of weights. The
/// rows of results lie far apart, often at distances that the cache keeps few of: with more tokens at a time lines of results
/// cost more than reading the weights again.
fn together(vectors: usize) -> i64 {
    if vectors == 1 { 3 } else { SUMS as i64 }
}

/// Bytes of weights that are asked for ahead of their use.
const AHEAD: i32 = 4096;

/// Bytes of the copies of one run: as many tiles of tokens as there may be sums.
const COPIES: i32 = (SUMS * TILE_BYTES) as i32;

/// From this many tokens on tiles are faster than vectors: a tile takes as long for one token as for all of its.
const LEAST: u64 = 8;

/// Whether there is a kernel for this layout.
fn takes(layout: &Layout) -> bool {
    matches!(layout, Layout::I8 { r } if *r as usize <= SUMS * ROWS)
}

/// Whether a weight of this layout is to be on tiles for about so many tokens; any number is right.
pub fn tiles_pay(layout: &Layout, tokens: u64) -> bool {
    takes(layout) && tokens >= LEAST
}

/// Position of the integer of token `t`, input `k` of tokens of `cols` inputs, in bytes.
pub fn tile_place(t: usize, k: usize, cols: usize) -> usize {
    (t / TOKENS * TOKENS * cols.div_ceil(4) + k / 4 * TOKENS + t % TOKENS) * 4 + k % 4
}

/// As `round_tokens`, in whole tiles of [`TOKENS`] tokens, those whose first token is among `lo..hi`. Tokens past the last are as the
/// last one.
///
/// Parameters: `x` `[n][K]`, `q`, `scales` `[n]`, `n`, `lo`, `hi`.
pub fn round_tokens16(cols: usize, lanes: usize) -> Result<Kernel, Bug> {
    if lanes != TOKENS {
        return Err(Bug::new(format!("{lanes} lanes do not fit tiles")));
    }
    round_tiles(format!("round_tokens16_{cols}"), cols, super::round8::Tiles::Whole)
}

/// As `blocks8`, of the arrays in [`ORDER`] and of `q` from [`round_tokens16`].
pub fn tiles8(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    let Layout::I8 { r } = spec.layout else {
        return Err(Bug::new(format!("{} has no tiles", spec.layout)));
    };
    spec.check()?;
    if !takes(&spec.layout) || spec.lanes != ROWS {
        return Err(Bug::new(format!("{} with {} lanes does not fit tiles", spec.layout, spec.lanes)));
    }
    let height = r as usize;
    let tile_bytes = TOKENS * 4 * spec.cols.div_ceil(4);
    if i32::try_from(SUMS * tile_bytes).is_err() {
        return Err(Bug::new(format!("{} inputs are too many for tiles", spec.cols)));
    }
    let mut b = Builder::new(spec.name("tiles8"), spec.lanes);
    let [ptr, idx, codes, start, scale] = ["ptr", "idx", "codes", "start", "scale"].map(|n| b.param(n, Ty::CPtr));
    let (q, s, y) = (b.param("q", Ty::CPtr), b.param("s", Ty::CPtr), b.param("y", Ty::Ptr));
    let (epilogue, columns) = Epilogue::declare(&mut b, spec, y);
    let (n, lo, hi) = (b.param("n", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let copies = b.op(Op::Local(2 * COPIES as u32));
    let sums = b.op(Op::Local(COPIES as u32));
    let p = Tiles {
        blocks: Blocks { spec, height, ptr, idx, codes, start, scale, y, columns, epilogue, n },
        vectors: height / ROWS,
        tile_bytes: tile_bytes as i32,
        copies,
        sums,
    };
    let (spare, tokens) = (b.int(TOKENS as i64 - 1), b.int(TOKENS as i64));
    let tiles = b.iadd(n, spare);
    let tiles = b.ibin(IBin::Div, tiles, tokens);
    let walk = Walk { spec, height, lo, hi, tokens: TOKENS, at_once: together(height / ROWS), apart: true };
    walk.groups(&mut b, (q, s), (tiles, tiles), |b, at, rows, group| {
        let tokens = Tokens { q: group.q, s: group.s, first: group.first };
        let block = p.blocks.block(b, at, rows, RUN);
        p.row_block(b, block, tokens, group.tiles)
    })?;
    b.finish()
}

struct Tiles<'a> {
    blocks: Blocks<'a>,
    /// Tiles of weights of a run.
    vectors: usize,
    /// Bytes from one tile of tokens to the next.
    tile_bytes: i32,
    /// The inputs of two runs.
    copies: Val,
    /// Where sums are stored to be transposed.
    sums: Val,
}

impl Tiles<'_> {
    /// One row block and `tiles` tiles of tokens, as many at a time as there are tiles for their sums.
    fn row_block(&self, b: &mut Builder, block: Block, tokens: Tokens, tiles: Val) -> Result<(), Bug> {
        let most = SUMS / self.vectors;
        let wide = b.int(most as i64);
        let (passes, left) = (b.ibin(IBin::Div, tiles, wide), b.ibin(IBin::Rem, tiles, wide));
        let mut result = Ok(());
        let bytes = b.int(most as i64 * i64::from(self.tile_bytes));
        let step = b.int((most * TOKENS) as i64);
        let s = b.repeat(passes, &[tokens.q, tokens.s, tokens.first], |b, _, s| {
            let tokens = Tokens { q: s[0], s: s[1], first: s[2] };
            result = self.pass(b, block, tokens, most);
            vec![b.ptr_add(s[0], bytes), b.ptr_off(s[1], (4 * most * TOKENS) as i32), b.iadd(s[2], step)]
        });
        result?;
        for rest in 1..most {
            let tokens = Tokens { q: s[0], s: s[1], first: s[2] };
            let mut result = Ok(());
            let n = b.int(rest as i64);
            let here = b.icmp(crate::ir::Cmp::Eq, left, n);
            b.when(here, |b| result = self.pass(b, block, tokens, rest));
            result?;
        }
        Ok(())
    }

    /// One row block and `count` tiles of tokens.
    fn pass(&self, b: &mut Builder, block: Block, tokens: Tokens, count: usize) -> Result<(), Bug> {
        let sum = |v: usize, t: usize| (t * self.vectors + v) as u8;
        for i in 0..(count * self.vectors) as u8 {
            b.tile(TileOp::Zero(i));
        }
        // The lines that results go to are far apart: they come while products run.
        let rows = 4 * self.blocks.spec.rows as i64;
        let skip = b.scale(tokens.first, rows);
        let mut y = b.ptr_add(block.y, skip);
        for _ in 0..count * TOKENS {
            for v in 0..self.vectors {
                b.prefetch(Addr::at(y, (4 * ROWS * v) as i32));
            }
            let next = b.int(rows);
            y = b.ptr_add(y, next);
        }
        self.copy(b, block.idx, tokens.q, self.copies, count);
        let zero = b.int(0);
        let run_codes = (TILE_BYTES * self.vectors) as i32;
        b.repeat(block.count, &[block.idx, block.codes, zero], |b, _, s| {
            let (idx, codes, now) = (b.ptr_off(s[0], 4 * RUN as i32), s[1], s[2]);
            let other = b.int(i64::from(COPIES));
            let other = b.ibin(IBin::Xor, now, other);
            let (from, to) = (b.ptr_add(self.copies, now), b.ptr_add(self.copies, other));
            self.copy(b, idx, tokens.q, to, count);
            for line in (0..run_codes).step_by(64) {
                b.prefetch(Addr::at(codes, AHEAD + line));
            }
            let weights = |b: &mut Builder, v: usize| {
                let tile = WEIGHTS + (v % 2) as u8;
                b.tile(TileOp::Load(tile, Addr::at(codes, (v * TILE_BYTES) as i32)));
                tile
            };
            // With one or two tiles of weights they stay while tiles of tokens pass; with more there is one of tokens.
            if self.vectors <= 2 {
                (0..self.vectors).for_each(|v| {
                    weights(b, v);
                });
            }
            for t in 0..count {
                let inputs = INPUTS + (t % 2) as u8;
                b.tile(TileOp::Load(inputs, Addr::at(from, (t * TILE_BYTES) as i32)));
                for v in 0..self.vectors {
                    let tile = if self.vectors <= 2 { WEIGHTS + v as u8 } else { weights(b, v) };
                    b.tile(TileOp::Dot(sum(v, t), tile, inputs));
                }
            }
            vec![idx, b.ptr_off(codes, run_codes), other]
        });
        for i in 0..count * self.vectors {
            b.tile(TileOp::Store(i as u8, Addr::at(self.sums, (i * TILE_BYTES) as i32)));
        }
        let mut result = Ok(());
        let tiles = b.int(count as i64);
        b.repeat(tiles, &[self.sums, tokens.s, tokens.first], |b, _, s| {
            let tokens = Tokens { q: tokens.q, s: s[1], first: s[2] };
            for v in (0..self.vectors).take_while(|v| v * ROWS < block.rows) {
                let start = b.load(LoadKind::VI32, Addr::at(block.start, (4 * ROWS * v) as i32));
                let from = Addr::at(s[0], (v * TILE_BYTES) as i32);
                let sums: Vec<Val> = transposed(b, from).into_iter().map(|x| b.iadd(x, start)).collect();
                let done = self.blocks.finish(b, block, tokens, v * ROWS, 1, 0, TOKENS, &sums);
                result = result.clone().and(done);
            }
            let tokens = b.int(TOKENS as i64);
            vec![
                b.ptr_off(s[0], (self.vectors * TILE_BYTES) as i32),
                b.ptr_off(s[1], 4 * TOKENS as i32),
                b.iadd(s[2], tokens),
            ]
        });
        result
    }

    /// The inputs of one run of `count` tiles of tokens, tile by tile.
    fn copy(&self, b: &mut Builder, idx: Val, q: Val, to: Val, count: usize) {
        for block in 0..RUN {
            let at = b.load(LoadKind::U32, Addr::at(idx, 4 * block as i32));
            for t in 0..count {
                let x = b.load(LoadKind::VI32, Addr::indexed(q, at, 1).plus(t as i32 * self.tile_bytes));
                b.store(StoreKind::VI32, Addr::at(to, (t * TILE_BYTES + 64 * block) as i32), x);
            }
        }
    }
}

/// The columns of a tile of 32-bit integers in memory.
fn transposed(b: &mut Builder, from: Addr) -> Vec<Val> {
    columns(b, from, 64).into_iter().map(|v| b.op(Op::ToBits(v))).collect()
}
