//! Linear kernels from feature-major to feature-major: lanes run over tokens.
//!
//! `y[o][t] = act(sum over stored (o, k) of w * x[k][t] + bias[o])` for the row blocks `lo..hi` and all `np` tokens.
//!
//! Parameters: `values`, then `ptr` and `idx` as the layout has them, `x` of K features, `y` of O features (both
//! feature-major, see [`super::feature_major`]), `bias` `[O]` if there is one, `np` (a multiple of 16), `lo`, `hi`. A row
//! block is P, V, R, 1 or 1 rows of `dense(P)`, `vx1(V)`, `bsr(R,C)`, `nm(N,M)`, `csr`.
//!
//! Order of loops: groups of tokens, groups of row blocks, blocks of inputs, row blocks, tiles of tokens, passes of a few
//! rows, stored entries (see [`Tuning`]); in narrow code groups of row blocks, then tiles of tokens. Every sum runs over
//! its entries in storage order in one accumulator (where there are few, in several in turn), which lies in `y` between
//! blocks of inputs. With several blocks of inputs the bias comes first in the sum, and `ptr`, `idx` and `values` are in
//! the order of [`Tuning::blocking`]; where that has a unit, `lo` and `hi` count units of row blocks ([`Tuning::range`]).
mod sums;

use super::LinearSpec;
use super::epilogue::{Columns, Epilogue, Lanes, Stored};
use super::feature_major::{TILE, TOKEN_PAD};
use super::list::{Ahead, Calls, From, Rounds, list};
use super::span::{At, Feature, Ptrs, Span, few_rows, spans};
use super::tile::{Count, Tile, WIDE, accumulators, unrolled};
use super::tuning::Tuning;
use crate::ir::{Addr, Builder, Cmp, IBin, Kernel, LoadKind, Op, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_formats::{Blocking, Layout};

/// Weights of a group of row blocks of narrow code, in bytes.
const GROUP_BYTES: usize = 256 << 10;

/// Rows from which on asking for all activations first costs little.
const WARM_ROWS: usize = 256;

/// The kernel in the order that suits few tokens.
pub fn rowblock(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    rowblock_tuned(spec, Tuning::of(spec, 1))
}

/// The kernel in a given order.
pub fn rowblock_tuned(spec: &LinearSpec<'_>, tuning: Tuning) -> Result<Kernel, Bug> {
    spec.check()?;
    if !spec.layout.feature_major() {
        return Err(Bug::new(format!("{} has no feature-major kernel", spec.layout)));
    }
    if tuning.tokens == 0 || !tuning.tokens.is_multiple_of(TILE) {
        return Err(Bug::new(format!("{} tokens are no whole tiles", tuning.tokens)));
    }
    if let Some(k) = tuning.blocks(spec).filter(|k| k.unit > 0) {
        let whole = k.rows.is_multiple_of(k.unit) || k.rows as usize >= spec.blocks();
        if !few_rows(spec) || spec.lanes != 16 || !k.unit.is_power_of_two() || !whole || k.cols > Blocking::MOST_COLS {
            return Err(Bug::new(format!("{} is not stored in units of {k:?}", spec.layout)));
        }
    }
    let mut b = Builder::new(spec.name("rowblock"), spec.lanes);
    let values = b.param("values", Ty::CPtr);
    let ptr =
        matches!(spec.layout, Layout::Vx1 { .. } | Layout::Bsr { .. } | Layout::Csr).then(|| b.param("ptr", Ty::CPtr));
    let idx = (!matches!(spec.layout, Layout::Dense { .. })).then(|| b.param("idx", Ty::CPtr));
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (epilogue, columns) = Epilogue::declare(&mut b, spec, y);
    let (np, lo, hi) = (b.param("np", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let none = values;
    let height = spec.block_rows();
    let unit = tuning.unit(spec);
    let sorted = tuning.blocks(spec).is_some_and(|k| k.unit > 0);
    let (mut lo, mut hi) = (lo, hi);
    if unit > 1 {
        let all = b.int(spec.blocks() as i64);
        lo = b.scale(lo, unit as i64);
        hi = b.scale(hi, unit as i64);
        hi = b.ibin(IBin::Min, hi, all);
    }
    let (ptr, idx) = (ptr.unwrap_or(none), idx.unwrap_or(none));
    let r = Rows { spec, tuning, values, ptr, idx, columns, epilogue, height, sorted };
    if spec.lanes < WIDE {
        r.narrow(&mut b, x, y, np, lo, hi)?
    } else {
        r.wide(&mut b, x, y, np, lo, hi)?
    }
    b.finish()
}

/// Vectors that are computed at a time, of the `vectors` of a span; they divide them.
fn part(rows: usize, lanes: usize, vectors: usize) -> usize {
    let most = match (lanes, rows) {
        (16, 1) => 9,
        (16, _) => accumulators(lanes) / rows.min(8),
        (8, 1 | 2) => 6,
        (8, _) => 3,
        (4, 1 | 2) => 4,
        _ => 2,
    };
    if lanes == 16 && rows <= 2 {
        return vectors.min(most);
    }
    (1..=most.min(vectors)).rev().find(|n| vectors.is_multiple_of(*n)).unwrap_or(1)
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
    tuning: Tuning,
    values: Val,
    ptr: Val,
    idx: Val,
    columns: Columns,
    epilogue: Epilogue<'a>,
    /// Rows of a block.
    height: usize,
    /// Whether lists come in units, in the order of their lengths.
    sorted: bool,
}

/// A few rows of a block and vectors of tokens that are computed together.
#[derive(Clone, Copy)]
struct Pass {
    /// First row, counted from the block's.
    row: usize,
    tile: Tile,
    at: At,
}

/// What happens to a tile: its results, bytes from one row to the next, vectors.
type EachTile<'a> = &'a dyn Fn(&mut Builder, Val, Val, usize) -> Result<(), Bug>;

/// The stored entries of a block: pointer to its values, to its indices, and how many.
#[derive(Clone, Copy)]
struct Entries {
    values: Val,
    idx: Val,
    count: Count,
    /// First input of a dense block of inputs, if it is not the first of all.
    from: Option<Val>,
    /// The row block whose list this is, where lists come in units.
    row_block: Option<Val>,
}

/// A block of inputs: which entries of a row block belong to it.
#[derive(Clone, Copy)]
struct Slab {
    blocking: Blocking,
    /// Its number.
    index: Val,
    /// What the number of a row block's segment exceeds the number of the row block by.
    skip: Val,
    /// Whether it is the last, where it is not the first.
    last: Option<Val>,
}

/// What is computed with one part of the weights: spans of tokens, and how many of each.
struct Tokens {
    spans: Vec<(Span, Val)>,
    x: Val,
    y: Val,
}

impl Rows<'_> {
    /// Groups of row blocks whose weights fit the second-level cache, tiles of tokens, parts of a tile, row blocks.
    fn narrow(&self, b: &mut Builder, x: Val, y: Val, np: Val, lo: Val, hi: Val) -> Result<(), Bug> {
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
                let mut one = |b: &mut Builder, block: Val, rows: usize| {
                    let entries = self.entries(b, block, None);
                    let done = self.block(b, entries, block, rows, at, None);
                    r = r.clone().and(done);
                };
                b.repeat(blocks, &[], |b, i, _| {
                    let block = b.iadd(from, i);
                    one(b, block, self.height);
                    Vec::new()
                });
                if left > 0 {
                    // `to` is at most one more than the number of full blocks.
                    b.repeat(partial, &[], |b, _, _| {
                        one(b, full_end, left);
                        Vec::new()
                    });
                }
                r
            });
            Vec::new()
        });
        failed
    }

    /// All tokens of narrow code, tile by tile and part by part.
    fn tiles(
        &self,
        b: &mut Builder,
        x: Val,
        y: Val,
        np: Val,
        body: impl Fn(&mut Builder, At) -> Result<(), Bug>,
    ) -> Result<(), Bug> {
        let lanes = b.lanes();
        let tile = b.int(TILE as i64);
        let padded = b.int(TILE as i64 - 1);
        let padded = b.iadd(np, padded);
        let count = b.ibin(IBin::Div, padded, tile);
        let vectors = part(self.height, lanes, TOKEN_PAD / lanes);
        let mut result = Ok(());
        b.repeat(count, &[x, y, np], |b, _, s| {
            let width = b.ibin(IBin::Min, s[2], tile);
            let stride = b.scale(width, 4);
            let parts = b.op(Op::Shr(width, (vectors * lanes).trailing_zeros() as u8));
            let ptrs = |p| Ptrs { main: p, tail: None };
            let at = At { x: ptrs(s[0]), y: ptrs(s[1]), stride, span: None, vectors };
            result = self.parts(b, Some(parts), at, &body);
            let (xs, ys) = (b.int((4 * TILE * self.spec.cols) as i64), b.int((4 * TILE * self.spec.rows) as i64));
            vec![b.ptr_add(s[0], xs), b.ptr_add(s[1], ys), b.isub(s[2], tile)]
        });
        result
    }

    /// Groups of tokens, each with all weights.
    fn wide(&self, b: &mut Builder, x: Val, y: Val, np: Val, lo: Val, hi: Val) -> Result<(), Bug> {
        let most = self.tuning.tokens;
        let (group, padded) = (b.int(most as i64), b.int(most as i64 - 1));
        let padded = b.iadd(np, padded);
        let count = b.ibin(IBin::Div, padded, group);
        let mut result = Ok(());
        b.repeat(count, &[x, y, np], |b, _, s| {
            let mut left = b.ibin(IBin::Min, s[2], group);
            let mut all = Vec::new();
            for span in spans(b.lanes(), self.spec, self.sorted).into_iter().filter(|s| s.tokens() <= most) {
                let tokens = span.tokens() as i64;
                let per = b.int(tokens);
                let n = b.ibin(IBin::Div, left, per);
                let done = b.scale(n, tokens);
                left = b.isub(left, done);
                all.push((span, n));
            }
            let here = b.ibin(IBin::Min, s[2], group);
            self.warm(b, s[0], here);
            result = self.row_groups(b, &Tokens { spans: all, x: s[0], y: s[1] }, lo, hi);
            let (xs, ys) = (b.int((4 * most * self.spec.cols) as i64), b.int((4 * most * self.spec.rows) as i64));
            vec![b.ptr_add(s[0], xs), b.ptr_add(s[1], ys), b.isub(s[2], group)]
        });
        result
    }

    /// Asks for the activations of a group of tokens in the order in which they lie, because the order in which sparse rows
    /// want them hides no latency.
    fn warm(&self, b: &mut Builder, x: Val, tokens: Val) {
        if self.tuning.weights_ahead == 0 || self.tuning.tokens > TILE || self.spec.rows < WARM_ROWS {
            return;
        }
        let per = b.int(self.spec.cols as i64);
        let floats = b.imul(tokens, per);
        // A tile's floats are a multiple of 16.
        let lines = b.op(Op::Shr(floats, 4));
        b.repeat(lines, &[x], |b, _, s| {
            b.prefetch(Addr::new(s[0]));
            vec![b.ptr_off(s[0], 64)]
        });
    }

    /// Groups of row blocks and blocks of inputs.
    fn row_groups(&self, b: &mut Builder, tokens: &Tokens, lo: Val, hi: Val) -> Result<(), Bug> {
        let Some(blocking) = self.tuning.blocks(self.spec) else {
            return self.spans(b, tokens, lo, hi, None);
        };
        let blocks = self.spec.blocks();
        let slabs = blocking.col_blocks(self.spec.cols);
        if blocking.rows as usize >= blocks {
            let (none, all) = (b.int(0), b.int(blocks as i64));
            return self.slabs(b, tokens, (lo, hi), (none, all), slabs, blocking);
        }
        let (group, padded) = (b.int(i64::from(blocking.rows)), b.int(i64::from(blocking.rows) - 1));
        let first = b.ibin(IBin::Div, lo, group);
        let end = b.iadd(hi, padded);
        let end = b.ibin(IBin::Div, end, group);
        let (count, all) = (b.isub(end, first), b.int(blocks as i64));
        let mut result = Ok(());
        b.repeat(count, &[], |b, i, _| {
            let number = b.iadd(first, i);
            let base = b.imul(number, group);
            let next = b.iadd(base, group);
            let next = b.ibin(IBin::Min, next, all);
            let size = b.isub(next, base);
            let (from, to) = (b.ibin(IBin::Max, lo, base), b.ibin(IBin::Min, hi, next));
            result = self.slabs(b, tokens, (from, to), (base, size), slabs, blocking);
            Vec::new()
        });
        result
    }

    /// The blocks of inputs of the row blocks `from..to`, which are part of the group of `size` blocks from `base` on.
    fn slabs(
        &self,
        b: &mut Builder,
        tokens: &Tokens,
        (from, to): (Val, Val),
        (base, size): (Val, Val),
        count: usize,
        blocking: Blocking,
    ) -> Result<(), Bug> {
        // Segment `base * count + index * size + (block - base)`.
        let before = b.scale(base, count as i64 - 1);
        let (rest, zero, end) = (b.int(count as i64 - 1), b.int(0), b.int(count as i64 - 1));
        self.spans(b, tokens, from, to, Some(Slab { blocking, index: zero, skip: before, last: None }))?;
        let mut result = Ok(());
        b.repeat(rest, &[], |b, i, _| {
            let one = b.int(1);
            let index = b.iadd(i, one);
            let earlier = b.imul(index, size);
            let skip = b.iadd(before, earlier);
            let last = Some(b.icmp(Cmp::Eq, index, end));
            result = self.spans(b, tokens, from, to, Some(Slab { blocking, index, skip, last }));
            Vec::new()
        });
        result
    }

    /// The tokens of each row block, in spans of known width. Where a group of tokens is one span, the row blocks run inside.
    fn spans(&self, b: &mut Builder, tokens: &Tokens, from: Val, to: Val, slab: Option<Slab>) -> Result<(), Bug> {
        if self.tuning.by_span || few_rows(self.spec) {
            return self.each_span(b, tokens, &|b, at| {
                let at = self.local(b, at, slab);
                self.row_blocks(b, from, to, &mut |b, block, rows| {
                    let entries = self.entries(b, block, slab);
                    self.block(b, entries, block, rows, at, slab)
                })
            });
        }
        self.row_blocks(b, from, to, &mut |b, block, rows| {
            let entries = self.entries(b, block, slab);
            self.each_span(b, tokens, &|b, at| self.block(b, entries, block, rows, at, slab))
        })
    }

    /// The activations of a block of inputs, where indices count from its first.
    fn local(&self, b: &mut Builder, mut at: At, slab: Option<Slab>) -> At {
        if let (true, Some(slab)) = (self.sorted, slab) {
            let cols = b.int(i64::from(slab.blocking.cols));
            let first = b.imul(slab.index, cols);
            let skip = at.features(b, first);
            at.x.main = b.ptr_add(at.x.main, skip);
        }
        at
    }

    fn each_span(
        &self,
        b: &mut Builder,
        tokens: &Tokens,
        body: &dyn Fn(&mut Builder, At) -> Result<(), Bug>,
    ) -> Result<(), Bug> {
        let lanes = b.lanes();
        let (mut x, mut y, mut result) = (tokens.x, tokens.y, Ok(()));
        for (span, count) in &tokens.spans {
            let r = b.repeat(*count, &[x, y], |b, _, s| {
                let all = span.tokens() / lanes;
                let vectors = part(self.height, lanes, all);
                let stride = b.int(4 * span.width as i64);
                let before = 4 * span.tiles * span.width;
                let ptrs = |b: &mut Builder, p: Val, features: usize| {
                    let skip = b.int((before * features) as i64);
                    Ptrs { main: p, tail: (span.tail > 0).then(|| b.ptr_add(p, skip)) }
                };
                let (px, py) = (ptrs(b, s[0], self.spec.cols), ptrs(b, s[1], self.spec.rows));
                let at = At { x: px, y: py, stride, span: Some(*span), vectors };
                let parts = (all > vectors).then(|| b.int((all / vectors) as i64));
                let done = self.parts(b, parts, at, body);
                result = result.clone().and(done);
                let bytes = 4 * span.tokens();
                let (xs, ys) = (b.int((bytes * self.spec.cols) as i64), b.int((bytes * self.spec.rows) as i64));
                vec![b.ptr_add(s[0], xs), b.ptr_add(s[1], ys)]
            });
            (x, y) = (r[0], r[1]);
        }
        result
    }

    /// The row blocks `from..to`, and how many rows each has.
    fn row_blocks(
        &self,
        b: &mut Builder,
        from: Val,
        to: Val,
        body: &mut dyn FnMut(&mut Builder, Val, usize) -> Result<(), Bug>,
    ) -> Result<(), Bug> {
        let (full, left) = (self.spec.rows / self.height, self.spec.rows % self.height);
        let full_end = b.int(full as i64);
        let whole = b.ibin(IBin::Min, to, full_end);
        let count = b.isub(whole, from);
        let mut result = Ok(());
        b.repeat(count, &[], |b, i, _| {
            let block = b.iadd(from, i);
            result = body(b, block, self.height);
            Vec::new()
        });
        if left > 0 {
            // `to` is at most one more than the number of full blocks.
            let partial = b.isub(to, full_end);
            b.repeat(partial, &[], |b, _, _| {
                result = result.clone().and(body(b, full_end, left));
                Vec::new()
            });
        }
        result
    }

    /// `parts` neighbouring parts of a tile, of which `at` is the first; nothing is one part.
    fn parts(
        &self,
        b: &mut Builder,
        parts: Option<Val>,
        at: At,
        body: &dyn Fn(&mut Builder, At) -> Result<(), Bug>,
    ) -> Result<(), Bug> {
        let Some(parts) = parts else { return body(b, at) };
        let bytes = (4 * b.lanes() * at.vectors) as i32;
        let mut result = Ok(());
        b.repeat(parts, &[at.x.main, at.y.main], |b, _, s| {
            let ptrs = |p| Ptrs { main: p, tail: None };
            result = body(b, At { x: ptrs(s[0]), y: ptrs(s[1]), ..at });
            vec![b.ptr_off(s[0], bytes), b.ptr_off(s[1], bytes)]
        });
        result
    }

    /// The first `rows` rows of a block, a few at a time.
    fn block(
        &self,
        b: &mut Builder,
        entries: Entries,
        block: Val,
        rows: usize,
        at: At,
        slab: Option<Slab>,
    ) -> Result<(), Bug> {
        let first = b.scale(entries.row_block.unwrap_or(block), self.height as i64);
        let skip = at.features(b, first);
        let mut y = Ptrs { main: b.ptr_add(at.y.main, skip), tail: None };
        if let Some(tail) = at.y.tail {
            let skip = b.scale(first, 4 * at.tail_width() as i64);
            y.tail = Some(b.ptr_add(tail, skip));
        }
        let skip = b.scale(first, 4);
        let mut columns = self.columns.skip(b, skip);
        let most = pass_rows(self.height, at.vectors, b.lanes());
        let mut row = 0;
        while row < rows {
            let tile = Tile { splats: (rows - row).min(most), vectors: at.vectors };
            let acc = match slab {
                Some(slab) => self.kept(b, tile, y, columns, at, slab),
                None => tile.zeros(b),
            };
            let acc = self.sum(b, entries, Pass { row, tile, at }, acc);
            match slab {
                Some(slab) => self.keep(b, tile, &acc, y, columns, at, slab)?,
                None => self.finish(b, tile, &acc, y, columns, at)?,
            }
            row += tile.splats;
            if row < rows {
                y = at.skip_both(b, y, tile.splats);
                columns = columns.off(b, 4 * tile.splats as i32);
            }
        }
        Ok(())
    }

    /// What a tile's sums begin with: the bias, or what the blocks of inputs before have left in `y`.
    fn kept(&self, b: &mut Builder, tile: Tile, y: Ptrs, columns: Columns, at: At, slab: Slab) -> Vec<Val> {
        let (lanes, rows) = (b.lanes(), self.spec.rows);
        let mut acc = tile.zeros(b);
        let afar = slab.blocking.rows as usize >= self.spec.blocks() || self.tuning.by_span;
        if afar && !self.sorted {
            // The results of the next row block come from afar.
            let next = at.known_stride().unwrap_or(0) as i32 * self.height as i32;
            for (i, j) in tile.all() {
                b.prefetch(at.result(y, i, j, lanes, rows).plus(next));
            }
        }
        for i in 0..tile.splats {
            let begin = columns
                .bias()
                .filter(|_| slab.last.is_none())
                .map(|p| b.load(LoadKind::Splat, Addr::at(p, 4 * i as i32)));
            for j in 0..tile.vectors {
                let place = &mut acc[tile.at(i, j)];
                match (slab.last, begin) {
                    (Some(_), _) => *place = b.load(LoadKind::VF32, at.result(y, i, j, lanes, rows)),
                    (None, Some(bias)) => *place = bias,
                    (None, None) => {}
                }
            }
        }
        acc
    }

    /// Leaves the sums in `y`; after the last block of inputs they get their activation.
    #[expect(clippy::too_many_arguments, reason = "a tile, where it lies, and what belongs to its rows")]
    fn keep(
        &self,
        b: &mut Builder,
        tile: Tile,
        acc: &[Val],
        y: Ptrs,
        columns: Columns,
        at: At,
        slab: Slab,
    ) -> Result<(), Bug> {
        for (i, j) in tile.all() {
            let place = at.result(y, i, j, b.lanes(), self.spec.rows);
            b.store(StoreKind::VF32, place, acc[tile.at(i, j)]);
        }
        let Some(last) = slab.last.filter(|_| self.epilogue.is_some()) else { return Ok(()) };
        let mut result = Ok(());
        b.when(last, |b| {
            result = self.each_tile(b, y, at, &|b, base, stride, vectors| {
                let stored = Stored { base, stride, rows: tile.splats, vectors, tail: None };
                self.epilogue.apply(b, stored, columns, Lanes::Tokens)
            })
        });
        result
    }

    /// The tiles of a span: their results, bytes from one row to the next, vectors.
    fn each_tile(&self, b: &mut Builder, y: Ptrs, at: At, body: EachTile<'_>) -> Result<(), Bug> {
        let lanes = b.lanes();
        let (_, per_tile) = at.full(lanes);
        for t in 0..at.tiles() {
            let base = b.ptr_off(y.main, at.offset(t * per_tile, lanes, self.spec.rows));
            body(b, base, at.stride, per_tile)?;
        }
        if let Some(tail) = y.tail {
            let stride = b.int(4 * at.tail_width() as i64);
            body(b, tail, stride, at.tail_width() / lanes)?;
        }
        Ok(())
    }

    /// The entries of a row block, or of its part in a block of inputs.
    fn entries(&self, b: &mut Builder, block: Val, slab: Option<Slab>) -> Entries {
        let cols = self.spec.cols;
        let fixed = |b: &mut Builder, values: usize, indices: usize, count: usize| {
            let v = b.scale(block, 4 * values as i64);
            let i = b.scale(block, indices as i64);
            Entries {
                values: b.ptr_add(self.values, v),
                idx: if indices > 0 { b.ptr_add(self.idx, i) } else { self.idx },
                count: Count::Fixed(count),
                from: None,
                row_block: None,
            }
        };
        let listed = |b: &mut Builder, width: usize| {
            let segment = slab.map_or(block, |s| b.iadd(block, s.skip));
            let at = Addr::indexed(self.ptr, segment, 4);
            let (from, to) = (b.load(LoadKind::U32, at), b.load(LoadKind::U32, at.plus(4)));
            let count = Count::Runtime(b.isub(to, from));
            let v = b.scale(from, 4 * width as i64);
            let values = b.ptr_add(self.values, v);
            if let (true, Some(s)) = (self.sorted, slab) {
                // Before each list its row block in the unit.
                let at = b.iadd(from, segment);
                let at = b.scale(at, 2);
                let head = b.ptr_add(self.idx, at);
                let within = b.load(LoadKind::U16, Addr::new(head));
                let mask = b.int(-i64::from(s.blocking.unit));
                let unit = b.ibin(IBin::And, block, mask);
                let row_block = Some(b.iadd(unit, within));
                return Entries { values, idx: b.ptr_off(head, 2), count, from: None, row_block };
            }
            let i = b.scale(from, 4);
            Entries { values, idx: b.ptr_add(self.idx, i), count, from: None, row_block: None }
        };
        match self.spec.layout {
            Layout::Dense { .. } => {
                let all = fixed(b, cols * self.height, 0, cols);
                let Some(s) = slab else { return all };
                let (most, end) = (b.int(i64::from(s.blocking.cols)), b.int(cols as i64));
                let from = b.imul(s.index, most);
                let left = b.isub(end, from);
                let count = Count::Runtime(b.ibin(IBin::Min, left, most));
                let skip = b.scale(from, 4 * self.height as i64);
                Entries { values: b.ptr_add(all.values, skip), count, from: Some(from), ..all }
            }
            Layout::Nm { n, m } => {
                let groups = cols.div_ceil(m as usize);
                fixed(b, groups * n as usize, groups * n as usize, groups)
            }
            Layout::Vx1 { v } => listed(b, v as usize),
            Layout::Bsr { r, c } => listed(b, (r * c) as usize),
            // Refused above.
            Layout::Csr
            | Layout::I8 { .. }
            | Layout::I8Nm { .. }
            | Layout::I8Csr { .. }
            | Layout::I4Nm { .. }
            | Layout::Nm16 { .. }
            | Layout::Csr16
            | Layout::Bitmap
            | Layout::Vnm16 { .. }
            | Layout::Groups { .. }
            | Layout::Half { .. }
            | Layout::Mma24
            | Layout::Mma32 { .. }
            | Layout::Mma1 { .. }
            | Layout::Vnm { .. } => listed(b, 1),
        }
    }

    /// Bias, activation, stores.
    fn finish(&self, b: &mut Builder, tile: Tile, acc: &[Val], y: Ptrs, columns: Columns, at: At) -> Result<(), Bug> {
        let (epilogue, lanes) = (&self.epilogue, b.lanes());
        let mut row = y.main;
        let beside = Ptrs { main: epilogue.there(b, y.main), tail: y.tail.map(|p| epilogue.there(b, p)) };
        for i in 0..tile.splats {
            let c = epilogue.early(columns).splat(b, 4 * i as i32);
            let mut there = beside.main;
            if at.span.is_none() && i > 0 {
                there = epilogue.there(b, row);
            }
            for j in 0..tile.vectors {
                let place = |main: Val, y: Ptrs| match at.span {
                    Some(_) => at.result(y, i, j, lanes, self.spec.rows),
                    None => Addr::at(main, at.offset(j, lanes, self.spec.rows)),
                };
                let v = epilogue.value(b, acc[tile.at(i, j)], c, place(there, beside), None)?;
                b.store(StoreKind::VF32, place(row, y), v);
            }
            if at.span.is_none() && i + 1 < tile.splats {
                row = at.skip(b, row, 1);
            }
        }
        self.each_tile(b, y, at, &|b, base, stride, vectors| {
            let stored = Stored { base, stride, rows: tile.splats, vectors, tail: None };
            epilogue.pass(b, stored, columns, Lanes::Tokens)
        })
    }
}
