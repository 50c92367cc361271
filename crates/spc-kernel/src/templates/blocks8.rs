//! Linears of 8-bit weights and 8-bit activations (`i8(R)`), and the rounding of activations that they read.
//!
//! Rounded activations lie as unsigned bytes, integer plus 128, in tiles of [`TOKENS`] tokens, four inputs of a token side by
//! side: `[tile][ceil(K/4)][width][4]`. The last tile is as narrow as its tokens allow: see [`width`].
use super::LinearSpec;
use super::epilogue::{Columns, Epilogue, Lanes, Stored, put};
use super::tile::WIDE;
use crate::ir::{Addr, Builder, Cmp, FBin, IBin, Kernel, LoadKind, RedFn, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_formats::Layout;

/// Tokens of a whole tile.
pub const TOKENS: usize = 12;

/// Widths that the last tile may have, ascending.
pub(super) const WIDTHS: [usize; 5] = [1, 2, 4, 8, TOKENS];

/// Bytes of weights that are asked for ahead of their use.
const AHEAD: i32 = 2048;

/// Blocks by which activations are asked for ahead of their use.
const COLUMNS_AHEAD: i32 = 4;

/// Bytes of values that are asked for ahead of their use.
const VALUES_AHEAD: i32 = 3072;

/// Width of the tile of `left` tokens.
pub fn width(left: usize) -> usize {
    WIDTHS.into_iter().find(|w| *w >= left).unwrap_or(TOKENS)
}

/// Position of the integer of token `t`, input `k` among `n` tokens of `cols` inputs, in bytes.
pub fn place(t: usize, k: usize, n: usize, cols: usize) -> usize {
    let first = t / TOKENS * TOKENS;
    let width = width(n - first);
    (first * cols.div_ceil(4) + k / 4 * width + (t - first)) * 4 + k % 4
}

/// Lanes from which on the tiles of whole row blocks are written out.
const LONGEST: usize = 16;

/// Tiles that run over all row blocks before the next ones do: their activations stay in the second level of cache.
const TILES: i64 = 4;

/// Bytes of scratch memory of a token in [`round_tokens`].
pub const SCRATCH: usize = 16;

/// Largest value to scale, as a factor.
const TOP: f32 = 127.0;

/// Rounds the tokens `lo..hi` to 8 bits: with m the largest absolute value of a token (NaN if any is), its scale is
/// `m / 127`, its integers `nearest(x * (127 / m))`. A scale below the normal range of f32 is 0 with integers 0, and one that
/// is not finite makes the whole token NaN.
///
/// Parameters: `x` `[n][K]`, `q` as above, `scales` `[n]`, `scratch` `[n][16]`, `n`, `lo`, `hi`.
pub fn round_tokens(cols: usize, lanes: usize) -> Result<Kernel, Bug> {
    if lanes == 16 {
        return super::round8::round_tiles(format!("round_tokens_{cols}"), cols, super::round8::Tiles::Narrow);
    }
    let mut b = Builder::new(format!("round_tokens_{cols}"), lanes);
    let (x, q) = (b.param("x", Ty::CPtr), b.param("q", Ty::Ptr));
    let (scales, scratch) = (b.param("scales", Ty::Ptr), b.param("scratch", Ty::Ptr));
    let (n, lo, hi) = (b.param("n", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let (row_bytes, group_bytes) = ((4 * cols) as i64, (4 * cols.div_ceil(4)) as i64);
    let whole = b.int((cols / lanes) as i64);
    let rest = cols % lanes;
    let count = b.isub(hi, lo);
    b.repeat(count, &[], |b, i, _| {
        let t = b.iadd(lo, i);
        let skip = b.scale(t, row_bytes);
        let row = b.ptr_add(x, skip);
        let (inverse, scale) = token_scale(b, row, cols);
        let at = b.scale(t, 4);
        let at = b.ptr_add(scales, at);
        b.store(StoreKind::F32, Addr::new(at), scale);
        // Where the token's integers go: its tile, and the distance from one group of four to the next.
        let tokens = b.int(TOKENS as i64);
        let within = b.ibin(IBin::Rem, t, tokens);
        let first = b.isub(t, within);
        let left = b.isub(n, first);
        let width = tile_width(b, left);
        let step = b.scale(width, 4);
        let skip = b.scale(first, group_bytes);
        let to = b.ptr_add(q, skip);
        let skip = b.scale(within, 4);
        let to = b.ptr_add(to, skip);
        let skip = b.scale(t, SCRATCH as i64);
        let own = b.ptr_add(scratch, skip);
        let inverse = b.splat(inverse);
        let words = (lanes / 4).max(1);
        let state = b.repeat(whole, &[row, to], |b, _, s| {
            let v = b.load(LoadKind::VF32, Addr::new(s[0]));
            let to = round_vector(b, v, inverse, own, s[1], step, words);
            vec![b.ptr_off(s[0], 4 * b.lanes() as i32), to]
        });
        if rest > 0 {
            let r = b.int(rest as i64);
            let v = b.load_tail(Addr::new(state[0]), r);
            round_vector(b, v, inverse, own, state[1], step, rest.div_ceil(4));
        }
        Vec::new()
    });
    b.finish()
}

/// The values of [`round_tokens`] as floats again, integer times scale, for kernels that do not read integers.
///
/// Parameters: `x` and `y` `[n][K]`, `lo`, `hi`.
pub fn round_in_place(cols: usize, lanes: usize) -> Result<Kernel, Bug> {
    let mut b = Builder::new(format!("round_in_place_{cols}"), lanes);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let (row_bytes, rest) = ((4 * cols) as i64, cols % lanes);
    let whole = b.int((cols / lanes) as i64);
    let count = b.isub(hi, lo);
    b.repeat(count, &[], |b, i, _| {
        let t = b.iadd(lo, i);
        let skip = b.scale(t, row_bytes);
        let (from, to) = (b.ptr_add(x, skip), b.ptr_add(y, skip));
        let (inverse, scale) = token_scale(b, from, cols);
        let (inverse, scale) = (b.splat(inverse), b.splat(scale));
        let rounded = |b: &mut Builder, v: Val| {
            let v = b.fbin(FBin::Mul, v, inverse);
            let i = b.op(crate::ir::Op::Nearest(v));
            let v = b.op(crate::ir::Op::IToF(i));
            b.fbin(FBin::Mul, v, scale)
        };
        let bytes = 4 * b.lanes() as i32;
        let s = b.repeat(whole, &[from, to], |b, _, s| {
            let v = b.load(LoadKind::VF32, Addr::new(s[0]));
            let v = rounded(b, v);
            b.store(StoreKind::VF32, Addr::new(s[1]), v);
            vec![b.ptr_off(s[0], bytes), b.ptr_off(s[1], bytes)]
        });
        if rest > 0 {
            let n = b.int(rest as i64);
            let v = b.load_tail(Addr::new(s[0]), n);
            let v = rounded(b, v);
            b.store_tail(Addr::new(s[1]), v, n);
        }
        Vec::new()
    });
    b.finish()
}

/// The reciprocal and the scale of one token.
pub(super) fn token_scale(b: &mut Builder, row: Val, cols: usize) -> (Val, Val) {
    // Several maxima side by side: one alone waits for itself. Without signs floats lie in the order of their bits, NaN above all.
    const SIDE: usize = 4;
    let (lanes, bytes) = (b.lanes(), 4 * b.lanes() as i32);
    let (zero, size) = (b.vint(0), b.vint(i32::MAX));
    let greater = |b: &mut Builder, v: Val, most: Val| {
        let v = b.ibin(IBin::And, v, size);
        b.ibin(IBin::Max, most, v)
    };
    let next = |b: &mut Builder, p: Val, at: i32, most: Val| {
        let v = b.load(LoadKind::VI32, Addr::at(p, at));
        greater(b, v, most)
    };
    let (many, few) = (b.int((cols / (SIDE * lanes)) as i64), b.int((cols / lanes % SIDE) as i64));
    let state: Vec<Val> = std::iter::once(row).chain([zero; SIDE]).collect();
    let s = b.repeat(many, &state, |b, _, s| {
        for line in (0..bytes * SIDE as i32).step_by(64) {
            b.prefetch(Addr::at(s[0], VALUES_AHEAD + line));
        }
        let most: Vec<Val> = (0..SIDE).map(|i| next(b, s[0], bytes * i as i32, s[1 + i])).collect();
        std::iter::once(b.ptr_off(s[0], bytes * SIDE as i32)).chain(most).collect()
    });
    let (first, second) = (b.ibin(IBin::Max, s[1], s[2]), b.ibin(IBin::Max, s[3], s[4]));
    let both = b.ibin(IBin::Max, first, second);
    let s = b.repeat(few, &[s[0], both], |b, _, s| vec![b.ptr_off(s[0], bytes), next(b, s[0], 0, s[1])]);
    let (mut most, rest) = (s[1], cols % lanes);
    if rest > 0 {
        let n = b.int(rest as i64);
        let v = b.load_tail(Addr::new(s[0]), n);
        let v = b.op(crate::ir::Op::ToBits(v));
        most = greater(b, v, most);
    }
    let most = b.reduce(RedFn::Max, most);
    let most = b.op(crate::ir::Op::FromBits(most));
    let (top, least, none) = (b.float(TOP), b.float(f32::MIN_POSITIVE), b.float(0.0));
    let scale = b.fbin(FBin::Div, most, top);
    let inverse = b.fbin(FBin::Div, top, most);
    let normal = b.fcmp(Cmp::Ge, scale, least);
    let nothing = b.fbin(FBin::Mul, scale, none);
    (b.select(normal, inverse, none), b.select(normal, scale, nothing))
}

/// Rounds one vector and writes its groups of four bytes `step` apart, the first `words` of them. Gives the place of the next.
fn round_vector(b: &mut Builder, v: Val, inverse: Val, own: Val, to: Val, step: Val, words: usize) -> Val {
    let v = b.fbin(FBin::Mul, v, inverse);
    let i = b.op(crate::ir::Op::Nearest(v));
    let offset = b.vint(128);
    let i = b.iadd(i, offset);
    b.store(StoreKind::VU8, Addr::new(own), i);
    let mut to = to;
    for word in 0..words {
        let v = b.load(LoadKind::I32, Addr::at(own, 4 * word as i32));
        b.store(StoreKind::I32, Addr::new(to), v);
        to = b.ptr_add(to, step);
    }
    to
}

/// [`width`] of a number that is known at run time only.
pub(super) fn tile_width(b: &mut Builder, left: Val) -> Val {
    let mut w = b.int(TOKENS as i64);
    for narrow in WIDTHS.into_iter().rev().skip(1) {
        let n = b.int(narrow as i64);
        let fits = b.icmp(Cmp::Le, left, n);
        w = b.select(fits, n, w);
    }
    w
}

/// `y[t][o] = act(scale[o] * s[t] * sum of products + bias[o])` for the row blocks `lo..hi` and all `n` tokens.
///
/// Parameters: the arrays of `i8(R)`, `q` and `s` from [`round_tokens`], `y` `[n][O]`, `bias` `[O]` if there is one, `n`,
/// `lo`, `hi`. `s` has room for a whole tile more.
pub fn blocks8(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    let Layout::I8 { r } = spec.layout else {
        return Err(Bug::new(format!("{} has no 8-bit blocks", spec.layout)));
    };
    spec.check()?;
    let height = r as usize;
    let mut b = Builder::new(spec.name("blocks8"), spec.lanes);
    if !height.is_multiple_of(spec.lanes) || spec.lanes < 4 {
        return Err(Bug::new(format!("{} lanes do not fit blocks of {height}", spec.lanes)));
    }
    let [ptr, idx, codes, start, scale] = ["ptr", "idx", "codes", "start", "scale"].map(|n| b.param(n, Ty::CPtr));
    let (q, s, y) = (b.param("q", Ty::CPtr), b.param("s", Ty::CPtr), b.param("y", Ty::Ptr));
    let (epilogue, columns) = Epilogue::declare(&mut b, spec, y);
    let (n, lo, hi) = (b.param("n", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let p = Blocks { spec, height, ptr, idx, codes, start, scale, y, columns, epilogue, n };
    // Tiles of 9 to 11 tokens are whole.
    let (spare, tokens, one) = (b.int((TOKENS - 1 - WIDTHS[3]) as i64), b.int(TOKENS as i64), b.int(1));
    let rounded = b.iadd(n, spare);
    let tiles = b.ibin(IBin::Div, rounded, tokens);
    let at_least_one = b.ibin(IBin::Max, tiles, one);
    let apart = spec.lanes >= LONGEST;
    let walk = Walk { spec, height, lo, hi, tokens: TOKENS, at_once: TILES, apart };
    walk.groups(&mut b, (q, s), (tiles, at_least_one), |b, at, rows, group| {
        if apart && rows == height { p.rows(b, at, group) } else { p.strips(b, at, group) }
    })?;
    b.finish()
}

/// The row blocks `lo..hi`, all of them for some tiles of tokens before the next tiles.
pub(super) struct Walk<'a> {
    pub spec: &'a LinearSpec<'a>,
    /// Outputs of a row block.
    pub height: usize,
    pub lo: Val,
    pub hi: Val,
    /// Tokens of a tile.
    pub tokens: usize,
    /// Tiles at a time.
    pub at_once: i64,
    /// A last row block that lacks outputs has code of its own.
    pub apart: bool,
}

impl Walk<'_> {
    /// Calls `rows` with the number of a row block, the outputs that it has, and the tiles. `tiles` are the tiles of tokens, and
    /// the same number but for those that are to be gone through where there is no whole one.
    pub(super) fn groups(
        &self,
        b: &mut Builder,
        (q, s): (Val, Val),
        (tiles, passes): (Val, Val),
        mut rows: impl FnMut(&mut Builder, Val, usize, Group) -> Result<(), Bug>,
    ) -> Result<(), Bug> {
        let Walk { spec, height, tokens, at_once, apart, .. } = *self;
        let (full, left) = if apart { (spec.rows / height, spec.rows % height) } else { (spec.blocks(), 0) };
        let full_end = b.int(full as i64);
        let whole = b.ibin(IBin::Min, self.hi, full_end);
        let count = b.isub(whole, self.lo);
        let partial = b.isub(self.hi, full_end);
        let (more, most, zero) = (b.int(at_once - 1), b.int(at_once), b.int(0));
        let groups = b.iadd(passes, more);
        let groups = b.ibin(IBin::Div, groups, most);
        let tile_bytes = (4 * tokens * spec.cols.div_ceil(4)) as i64;
        let mut result = Ok(());
        b.repeat(groups, &[q, s, zero, tiles], |b, _, state| {
            let group = Group { q: state[0], s: state[1], first: state[2], tiles: b.ibin(IBin::Min, state[3], most) };
            b.repeat(count, &[], |b, i, _| {
                let at = b.iadd(self.lo, i);
                result = result.clone().and_then(|()| rows(b, at, height, group));
                Vec::new()
            });
            if left > 0 {
                b.repeat(partial, &[], |b, _, _| {
                    result = result.clone().and_then(|()| rows(b, full_end, left, group));
                    Vec::new()
                });
            }
            let (bytes, done) = (b.int(at_once * tile_bytes), b.int(at_once * tokens as i64));
            vec![
                b.ptr_add(state[0], bytes),
                b.ptr_off(state[1], (4 * tokens) as i32 * at_once as i32),
                b.iadd(state[2], done),
                b.isub(state[3], most),
            ]
        });
        result
    }
}

/// A linear of 8-bit blocks: its arrays and its activations.
pub(super) struct Blocks<'a> {
    pub spec: &'a LinearSpec<'a>,
    pub height: usize,
    pub ptr: Val,
    pub idx: Val,
    pub codes: Val,
    pub start: Val,
    pub scale: Val,
    pub y: Val,
    pub columns: Columns,
    pub epilogue: Epilogue<'a>,
    pub n: Val,
}

/// Tiles of tokens that run together: integers, scales, the first token, the number of whole tiles.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub q: Val,
    pub s: Val,
    pub first: Val,
    pub tiles: Val,
}

/// One row block: its stored blocks, and pointers to what belongs to its first row.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub idx: Val,
    pub codes: Val,
    pub count: Val,
    pub start: Val,
    pub scale: Val,
    pub y: Val,
    pub columns: Columns,
    /// Outputs that exist.
    pub rows: usize,
}

/// A tile of tokens: its integers, its scales, its first token.
#[derive(Clone, Copy)]
pub(super) struct Tokens {
    pub q: Val,
    pub s: Val,
    pub first: Val,
}

/// A register tile of a block and a tile of tokens.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub row: usize,
    pub vectors: usize,
    pub token: usize,
    pub tokens: usize,
}

impl Blocks<'_> {
    /// The row block number `at`, whose lists have entries of `run` blocks.
    pub(super) fn block(&self, b: &mut Builder, at: Val, rows: usize, run: usize) -> Block {
        let p4 = b.scale(at, 4);
        let p = b.ptr_add(self.ptr, p4);
        let (from, to) = (b.load(LoadKind::U32, Addr::new(p)), b.load(LoadKind::U32, Addr::at(p, 4)));
        let skip = b.scale(from, 4 * run as i64);
        let idx = b.ptr_add(self.idx, skip);
        let skip = b.scale(from, (4 * self.height * run) as i64);
        let codes = b.ptr_add(self.codes, skip);
        let count = b.isub(to, from);
        let skip = b.scale(at, 4 * self.height as i64);
        Block {
            idx,
            codes,
            count,
            start: b.ptr_add(self.start, skip),
            scale: b.ptr_add(self.scale, skip),
            y: b.ptr_add(self.y, skip),
            columns: self.columns.skip(b, skip),
            rows,
        }
    }

    /// A whole row block.
    fn rows(&self, b: &mut Builder, at: Val, group: Group) -> Result<(), Bug> {
        let block = self.block(b, at, self.height, 1);
        let tile_bytes = b.int((4 * TOKENS * self.spec.cols.div_ceil(4)) as i64);
        let mut result = Ok(());
        let s = b.repeat(group.tiles, &[group.q, group.s, group.first], |b, _, s| {
            let tokens = Tokens { q: s[0], s: s[1], first: s[2] };
            result = result.clone().and(self.tokens(b, block, tokens, TOKENS));
            let twelve = b.int(TOKENS as i64);
            vec![b.ptr_add(s[0], tile_bytes), b.ptr_off(s[1], 4 * TOKENS as i32), b.iadd(s[2], twelve)]
        });
        // More than a narrow tile is left where another group follows.
        let left = b.isub(self.n, s[2]);
        let mut below = 0;
        for width in WIDTHS.into_iter().take(4) {
            let (least, most) = (b.int(below as i64), b.int(width as i64));
            let (more, fits) = (b.icmp(Cmp::Gt, left, least), b.icmp(Cmp::Le, left, most));
            let here = b.logic(crate::ir::LBin::And, more, fits);
            let tokens = Tokens { q: s[0], s: s[1], first: s[2] };
            b.when(here, |b| result = result.clone().and(self.tokens(b, block, tokens, width)));
            below = width;
        }
        result
    }

    /// A tile of tokens, two vectors of outputs at a time.
    fn tokens(&self, b: &mut Builder, block: Block, tile: Tokens, width: usize) -> Result<(), Bug> {
        let lanes = b.lanes();
        let group = b.int(4 * width as i64);
        let mut done = 0;
        while done < block.rows {
            let vectors = ((block.rows - done) / lanes).min(2);
            let part = Part { row: done, vectors, token: 0, tokens: width };
            self.part(b, block, tile, group, part)?;
            done += vectors * lanes;
        }
        Ok(())
    }

    /// Sums of a register tile, and all that follows them. `group`: bytes from four inputs of the tile to the next four.
    pub(super) fn part(&self, b: &mut Builder, block: Block, tile: Tokens, group: Val, part: Part) -> Result<(), Bug> {
        let Part { row, vectors, token, tokens } = part;
        let lanes = b.lanes();
        let bytes = 4 * lanes as i32;
        let at = |j: usize| 4 * row as i32 + bytes * j as i32;
        let starts: Vec<Val> = (0..vectors).map(|j| b.load(LoadKind::VI32, Addr::at(block.start, at(j)))).collect();
        let acc: Vec<Val> = (0..tokens).flat_map(|_| starts.iter().copied()).collect();
        let state: Vec<Val> = [block.codes, block.idx].into_iter().chain(acc).collect();
        let block_bytes = 4 * self.height as i32;
        // The index is read ahead only where there is one.
        let (early, late) = if b.lanes() >= WIDE {
            let n = b.int(i64::from(COLUMNS_AHEAD));
            let n = b.ibin(IBin::Min, n, block.count);
            (Some(b.isub(block.count, n)), n)
        } else {
            (None, block.count)
        };
        let body = |b: &mut Builder, s: &[Val], fetch: bool| {
            let mut acc = s[2..].to_vec();
            if fetch {
                let next = b.load(LoadKind::U32, Addr::at(s[1], 4 * COLUMNS_AHEAD));
                let next = b.imul(next, group);
                let from = Addr::indexed(tile.q, next, 1).plus(4 * token as i32);
                b.prefetch(from);
                b.prefetch(from.plus(4 * tokens as i32 - 4));
            }
            let column = b.load(LoadKind::U32, Addr::new(s[1]));
            let column = b.imul(column, group);
            if token == 0 {
                for line in (0..bytes * vectors as i32).step_by(64) {
                    b.prefetch(Addr::at(s[0], AHEAD + at(0) + line));
                }
            }
            let w: Vec<Val> = (0..vectors).map(|j| b.load(LoadKind::VI32, Addr::at(s[0], at(j)))).collect();
            for t in 0..tokens {
                let from = Addr::indexed(tile.q, column, 1).plus(4 * (token + t) as i32);
                let x = b.load(LoadKind::SplatI32, from);
                for (j, w) in w.iter().enumerate() {
                    acc[t * vectors + j] = b.dot4(acc[t * vectors + j], x, *w);
                }
            }
            [b.ptr_off(s[0], block_bytes), b.ptr_off(s[1], 4)].into_iter().chain(acc).collect()
        };
        let mut out = state;
        if let Some(early) = early {
            out = b.repeat(early, &out, |b, _, s| body(b, s, true));
        }
        let out = b.repeat(late, &out, |b, _, s| body(b, s, false));
        self.finish(b, block, tile, row, vectors, token, tokens, &out[2..])
    }

    /// Scales, bias, activation and stores. Tokens past the last write where the last one does, before it.
    #[expect(clippy::too_many_arguments, reason = "a part of a tile in two directions")]
    pub(super) fn finish(
        &self,
        b: &mut Builder,
        block: Block,
        tile: Tokens,
        row: usize,
        vectors: usize,
        token: usize,
        tokens: usize,
        sums: &[Val],
    ) -> Result<(), Bug> {
        let lanes = b.lanes();
        let epilogue = &self.epilogue;
        let (one, y_row) = (b.int(1), (4 * self.spec.rows) as i64);
        let last = b.isub(self.n, one);
        let tail = |j: usize| Some(block.rows - row - j * lanes).filter(|left| *left < lanes);
        let bytes = |j: usize| 4 * (row + j * lanes) as i32;
        let mut columns = Vec::with_capacity(vectors);
        for j in 0..vectors {
            let scale = b.load(LoadKind::VF32, Addr::at(block.scale, bytes(j)));
            let n = tail(j).map(|n| b.int(n as i64));
            columns.push((scale, epilogue.early(block.columns).load(b, bytes(j), n)));
        }
        for t in (0..tokens).rev() {
            let number = b.int((token + t) as i64);
            let number = b.iadd(tile.first, number);
            let number = b.ibin(IBin::Min, number, last);
            let skip = b.scale(number, y_row);
            let y = b.ptr_add(block.y, skip);
            let s = b.load(LoadKind::Splat, Addr::at(tile.s, 4 * (token + t) as i32));
            let there = epilogue.there(b, y);
            for (j, (scale, columns)) in columns.iter().enumerate() {
                let both = b.fbin(FBin::Mul, *scale, s);
                let sum = b.op(crate::ir::Op::IToF(sums[t * vectors + j]));
                let v = b.fbin(FBin::Mul, sum, both);
                let n = tail(j).map(|n| b.int(n as i64));
                let v = epilogue.value(b, v, *columns, Addr::at(there, bytes(j)), n)?;
                put(b, Addr::at(y, bytes(j)), v, n);
            }
            if epilogue.deferred() {
                // An activation that calls functions runs over what lies in memory, one token at a time, so that each is
                // stored and activated once: the tokens past the last are skipped.
                let own = b.int((token + t) as i64);
                let own = b.iadd(tile.first, own);
                let there = b.icmp(Cmp::Le, own, last);
                let stride = b.int(0);
                let first = b.ptr_off(y, bytes(0));
                let stored = Stored { base: first, stride, rows: 1, vectors, tail: tail(vectors - 1) };
                let mut result = Ok(());
                b.when(there, |b| {
                    let columns = block.columns.off(b, bytes(0));
                    result = epilogue.pass(b, stored, columns, Lanes::Outputs);
                });
                result?;
            }
        }
        Ok(())
    }
}
