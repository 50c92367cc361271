//! Linear kernels from feature-major to feature-major: lanes run over tokens.
//!
//! `y[o][t] = act(sum over stored (o, k) of w * x[k][t] + bias[o])` for the row blocks `lo..hi` and all `np` tokens.
//!
//! Parameters: `values`, then `ptr` and `idx` as the layout has them, `x` of K features, `y` of O features (both
//! feature-major, see [`super::feature_major`]), `bias` `[O]` if there is one, `np` (a multiple of 16), `lo`, `hi`. A row
//! block is P, V, R, 1 or 1 rows of `dense(P)`, `vx1(V)`, `bsr(R,C)`, `nm(N,M)`, `csr`.
//!
//! Order of loops: groups of row blocks whose weights fit the second-level cache, tiles of tokens, row blocks, parts of
//! a tile, passes of a few rows, stored entries. Every sum runs over its entries in storage order in one accumulator.
use super::LinearSpec;
use super::feature_major::{TILE, TOKEN_PAD, remainders};
use super::tile::{Count, Epilogue, Tile, WIDE, accumulators, unrolled};
use crate::ir::{Addr, Builder, IBin, Kernel, LoadKind, Op, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_formats::Layout;

/// Weights of a group of row blocks, in bytes.
const GROUP_BYTES: usize = 256 << 10;

/// Bytes of weights that wide code asks for ahead of their use.
const WEIGHTS_AHEAD: i32 = 1 << 10;

/// Entries by which wide code asks for activations ahead of their use.
const ROWS_AHEAD: i64 = 6;

pub fn rowblock(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    spec.check()?;
    if spec.layout.needs_integers() {
        return Err(Bug::new(format!("{} has no feature-major kernel", spec.layout)));
    }
    let mut b = Builder::new(spec.name("rowblock"), spec.lanes);
    let values = b.param("values", Ty::CPtr);
    let ptr =
        matches!(spec.layout, Layout::Vx1 { .. } | Layout::Bsr { .. } | Layout::Csr).then(|| b.param("ptr", Ty::CPtr));
    let idx = (!matches!(spec.layout, Layout::Dense { .. })).then(|| b.param("idx", Ty::CPtr));
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let bias = spec.bias.then(|| b.param("bias", Ty::CPtr));
    let (np, lo, hi) = (b.param("np", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let none = values;
    let r = Rows { spec, values, ptr: ptr.unwrap_or(none), idx: idx.unwrap_or(none), bias, height: spec.block_rows() };
    r.nest(&mut b, x, y, np, lo, hi)?;
    b.finish()
}

/// Tiles of tokens that one pass over the weights computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    tiles: usize,
    /// Tokens of each.
    width: usize,
}

impl Span {
    fn tokens(self) -> usize {
        self.tiles * self.width
    }
}

/// Spans of wide code for blocks of `rows` rows, largest first. A pattern that few rows share needs several tiles at once
/// to have enough sums in flight.
fn spans(rows: usize, lanes: usize, spec: &LinearSpec<'_>) -> Vec<Span> {
    let one = |width| Span { tiles: 1, width };
    let far = 4 * TILE * spec.cols.max(spec.rows) * 2 >= i32::MAX as usize;
    let several = (lanes == 16 && rows <= 2 && !far).then_some(Span { tiles: 3, width: TILE });
    several.into_iter().chain([one(TILE)]).chain(remainders().map(one)).collect()
}

/// Vectors that are computed at a time, of the `vectors` of a span; they divide them.
fn part(rows: usize, lanes: usize, vectors: usize) -> usize {
    let most = match (lanes, rows) {
        (16, 1) => 9,
        (16, _) => accumulators(lanes) / rows.min(8),
        (8, 1 | 2) => 6,
        (8, 3 | 4) => 3,
        (4, 1 | 2) => 4,
        _ => 2,
    };
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
    values: Val,
    ptr: Val,
    idx: Val,
    bias: Option<Val>,
    /// Rows of a block.
    height: usize,
}

/// A multiply-add step: accumulators, address of the weights, pointer to the activations.
type Step<'a> = &'a dyn Fn(&mut Builder, &[Val], Addr, Val) -> Vec<Val>;

/// Vectors of tokens that are computed together.
#[derive(Clone, Copy)]
struct At {
    /// First token, feature 0.
    x: Val,
    y: Val,
    /// Bytes from one feature to the next.
    stride: Val,
    /// The tiles that the vectors fill; nothing if they are part of a tile whose width only the call tells.
    span: Option<Span>,
    /// Those of one tile, or all of several.
    vectors: usize,
}

impl At {
    fn known_stride(self) -> Option<i64> {
        self.span.map(|s| 4 * s.width as i64)
    }

    /// Bytes of `count` features.
    fn features(self, b: &mut Builder, count: Val) -> Val {
        match self.known_stride() {
            Some(s) => b.scale(count, s),
            None => b.imul(count, self.stride),
        }
    }

    /// The same tokens `count` features on.
    fn skip(self, b: &mut Builder, p: Val, count: usize) -> Val {
        match self.known_stride().map(|s| i32::try_from(s * count as i64)) {
            Some(Ok(bytes)) => b.ptr_off(p, bytes),
            _ if count == 1 => b.ptr_add(p, self.stride),
            _ => {
                let bytes = b.scale(self.stride, count as i64);
                b.ptr_add(p, bytes)
            }
        }
    }

    fn tiles(self) -> usize {
        self.span.map_or(1, |s| s.tiles)
    }

    /// Vectors in each tile.
    fn per_tile(self) -> usize {
        self.vectors / self.tiles()
    }

    /// Bytes from the first token to vector `j`, in a value of `features` features.
    fn offset(self, j: usize, lanes: usize, features: usize) -> i32 {
        let token = j * lanes;
        let Some(span) = self.span else { return 4 * token as i32 };
        let (tile, within) = (token / span.width, token % span.width);
        (4 * (tile * span.width * features + within)) as i32
    }
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

    /// All tokens, in spans of known width in wide code, tile by tile else.
    fn tiles(
        &self,
        b: &mut Builder,
        x: Val,
        y: Val,
        np: Val,
        body: impl Fn(&mut Builder, At) -> Result<(), Bug>,
    ) -> Result<(), Bug> {
        let (mut x, mut y, mut left, mut result) = (x, y, np, Ok(()));
        let lanes = b.lanes();
        if lanes < WIDE {
            let tile = b.int(TILE as i64);
            let padded = b.int(TILE as i64 - 1);
            let padded = b.iadd(np, padded);
            let count = b.ibin(IBin::Div, padded, tile);
            let vectors = part(self.height, lanes, TOKEN_PAD / lanes);
            b.repeat(count, &[x, y, left], |b, _, s| {
                let width = b.ibin(IBin::Min, s[2], tile);
                let stride = b.scale(width, 4);
                let parts = b.op(Op::Shr(width, (vectors * lanes).trailing_zeros() as u8));
                result = self.parts(b, parts, At { x: s[0], y: s[1], stride, span: None, vectors }, &body);
                let (xs, ys) = (b.int((4 * TILE * self.spec.cols) as i64), b.int((4 * TILE * self.spec.rows) as i64));
                vec![b.ptr_add(s[0], xs), b.ptr_add(s[1], ys), b.isub(s[2], tile)]
            });
            return result;
        }
        for span in spans(self.height, lanes, self.spec) {
            let tokens = span.tokens();
            let count = if tokens.is_power_of_two() {
                b.op(Op::Shr(left, tokens.trailing_zeros() as u8))
            } else {
                let tokens = b.int(tokens as i64);
                b.ibin(IBin::Div, left, tokens)
            };
            let r = b.repeat(count, &[x, y], |b, _, s| {
                let vectors = part(self.height, lanes, tokens / lanes);
                let parts = b.int((tokens / lanes / vectors) as i64);
                let stride = b.int(4 * span.width as i64);
                let at = At { x: s[0], y: s[1], stride, span: Some(span), vectors };
                let done = self.parts(b, parts, at, &body);
                result = result.clone().and(done);
                let (xs, ys) =
                    (b.int((4 * tokens * self.spec.cols) as i64), b.int((4 * tokens * self.spec.rows) as i64));
                vec![b.ptr_add(s[0], xs), b.ptr_add(s[1], ys)]
            });
            (x, y) = (r[0], r[1]);
            let done = b.scale(count, tokens as i64);
            left = b.isub(left, done);
        }
        result
    }

    /// `parts` neighbouring parts of a tile, of which `at` is the first; or all of several tiles at once.
    fn parts(
        &self,
        b: &mut Builder,
        parts: Val,
        at: At,
        body: &dyn Fn(&mut Builder, At) -> Result<(), Bug>,
    ) -> Result<(), Bug> {
        let bytes = (4 * b.lanes() * at.vectors) as i32;
        let mut result = Ok(());
        b.repeat(parts, &[at.x, at.y], |b, _, s| {
            result = body(b, At { x: s[0], y: s[1], ..at });
            vec![b.ptr_off(s[0], bytes), b.ptr_off(s[1], bytes)]
        });
        result
    }

    /// The first `rows` rows of a block, a few at a time.
    fn block(&self, b: &mut Builder, block: Val, rows: usize, at: At) -> Result<(), Bug> {
        let entries = self.entries(b, block);
        let first = b.scale(block, self.height as i64);
        let skip = at.features(b, first);
        let mut y = b.ptr_add(at.y, skip);
        let mut bias = self.bias.map(|p| {
            let skip = b.scale(first, 4);
            b.ptr_add(p, skip)
        });
        let most = pass_rows(self.height, at.vectors, b.lanes());
        let mut row = 0;
        while row < rows {
            let tile = Tile { splats: (rows - row).min(most), vectors: at.vectors };
            let acc = self.sum(b, entries, row, tile, at);
            self.finish(b, tile, &acc, y, bias, at)?;
            row += tile.splats;
            if row < rows {
                y = at.skip(b, y, tile.splats);
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
            // Refused above.
            Layout::Csr | Layout::I8 { .. } => listed(b, 1),
        }
    }

    /// The sums of a tile that begins at row `row` of its block.
    fn sum(&self, b: &mut Builder, e: Entries, row: usize, tile: Tile, at: At) -> Vec<Val> {
        let lanes = b.lanes();
        let (height, skip, x) = (self.height, 4 * row as i32, at.x);
        let ahead = (lanes >= WIDE).then_some(WEIGHTS_AHEAD);
        // One multiply-add step with the weights at `w` (of this block's first row) and the activations at `xr`.
        let step = |b: &mut Builder, acc: &[Val], w: Addr, xr: Val| {
            if let Some(ahead) = ahead {
                b.prefetch(w.plus(skip + ahead));
            }
            tile.step(b, acc, &|i| w.plus(skip + 4 * i as i32), &|j| Addr::at(xr, at.offset(j, lanes, self.spec.cols)))
        };
        // State: values, then a pointer of the index source, then the accumulators.
        let with = |head: [Val; 2], acc: Vec<Val>| head.into_iter().chain(acc).collect::<Vec<Val>>();
        let (acc, steps) = (tile.zeros(b), tile.steps(lanes));
        let state = match self.spec.layout {
            Layout::Dense { .. } => unrolled(b, e.count, steps, with([e.values, x], acc), &|b, s| {
                let acc = step(b, &s[2..], Addr::new(s[0]), s[1]);
                with([b.ptr_off(s[0], 4 * height as i32), at.skip(b, s[1], 1)], acc)
            }),
            Layout::Vx1 { .. } | Layout::Csr | Layout::I8 { .. } => {
                let entry = |b: &mut Builder, s: &[Val]| {
                    let xr = self.row(b, at, Addr::new(s[1]), LoadKind::U32);
                    let acc = step(b, &s[2..], Addr::new(s[0]), xr);
                    with([b.ptr_off(s[0], 4 * height as i32), b.ptr_off(s[1], 4)], acc)
                };
                let (early, late) = self.ahead(b, e.count, height > 2);
                let state = unrolled(b, early, steps, with([e.values, e.idx], acc), &|b, s| {
                    let next = self.row(b, at, Addr::at(s[1], 4 * ROWS_AHEAD as i32), LoadKind::U32);
                    self.prefetch_row(b, next, at);
                    entry(b, s)
                });
                unrolled(b, late, steps, state, &entry)
            }
            Layout::Bsr { c, .. } => {
                let c = c as usize;
                unrolled(b, e.count, share(steps, c), with([e.values, e.idx], acc), &|b, s| {
                    let xr = self.row(b, at, Addr::new(s[1]), LoadKind::U32);
                    let inner = with([s[0], xr], s[2..].to_vec());
                    let inner = unrolled(b, Count::Fixed(c), steps, inner, &|b, s| self.column(b, s, at, &step));
                    with([inner[0], b.ptr_off(s[1], 4)], inner[2..].to_vec())
                })
            }
            Layout::Nm { n, m } => {
                let n = n as usize;
                let group = b.scale(at.stride, i64::from(m));
                // One more pointer: the activations of the group.
                let state: Vec<Val> = [e.values, e.idx, x].into_iter().chain(acc).collect();
                let state = unrolled(b, e.count, share(steps, n), state, &|b, s| {
                    let group_at = At { x: s[2], ..at };
                    let entry = |b: &mut Builder, s: &[Val]| {
                        let xr = self.row(b, group_at, Addr::new(s[1]), LoadKind::U8);
                        let acc = step(b, &s[2..], Addr::new(s[0]), xr);
                        with([b.ptr_off(s[0], 4), b.ptr_off(s[1], 1)], acc)
                    };
                    let inner = with([s[0], s[1]], s[3..].to_vec());
                    let inner = unrolled(b, Count::Fixed(n), steps, inner, &entry);
                    let head = [inner[0], inner[1], b.ptr_add(s[2], group)];
                    head.into_iter().chain(inner[2..].iter().copied()).collect()
                });
                return state[3..].to_vec();
            }
        };
        state[2..].to_vec()
    }

    /// Cuts a number of entries into those that look ahead and the last ones, which have nothing ahead.
    fn ahead(&self, b: &mut Builder, count: Count, useful: bool) -> (Count, Count) {
        match count {
            Count::Runtime(n) if useful && b.lanes() >= WIDE => {
                let (far, zero) = (b.int(ROWS_AHEAD), b.int(0));
                let early = b.isub(n, far);
                let early = b.ibin(IBin::Max, early, zero);
                (Count::Runtime(early), Count::Runtime(b.isub(n, early)))
            }
            n => (Count::Fixed(0), n),
        }
    }

    /// Asks for the activations of one feature.
    fn prefetch_row(&self, b: &mut Builder, row: Val, at: At) {
        let lanes = b.lanes();
        let mut lines: Vec<i32> = (0..at.vectors).map(|j| at.offset(j, lanes, self.spec.cols) / 64).collect();
        lines.dedup();
        for l in lines {
            b.prefetch(Addr::at(row, 64 * l));
        }
    }

    /// One column of a block; state is values, activations, accumulators.
    fn column(&self, b: &mut Builder, s: &[Val], at: At, step: Step<'_>) -> Vec<Val> {
        let acc = step(b, &s[2..], Addr::new(s[0]), s[1]);
        let head = [b.ptr_off(s[0], 4 * self.height as i32), at.skip(b, s[1], 1)];
        head.into_iter().chain(acc).collect()
    }

    /// Activations of the column whose number is at `idx`, counted from the span's start.
    fn row(&self, b: &mut Builder, at: At, idx: Addr, kind: LoadKind) -> Val {
        let k = b.load(kind, idx);
        let bytes = at.features(b, k);
        b.ptr_add(at.x, bytes)
    }

    /// Bias, activation, stores.
    fn finish(&self, b: &mut Builder, tile: Tile, acc: &[Val], y: Val, bias: Option<Val>, at: At) -> Result<(), Bug> {
        let epilogue = Epilogue { act: self.spec.act };
        let lanes = b.lanes();
        let mut row = y;
        for i in 0..tile.splats {
            let c = bias.map(|p| b.load(LoadKind::Splat, Addr::at(p, 4 * i as i32)));
            for j in 0..tile.vectors {
                let v = epilogue.value(b, acc[tile.at(i, j)], c)?;
                b.store(StoreKind::VF32, Addr::at(row, at.offset(j, lanes, self.spec.rows)), v);
            }
            if i + 1 < tile.splats {
                row = at.skip(b, row, 1);
            }
        }
        for t in 0..at.tiles() {
            let base = b.ptr_off(y, at.offset(t * at.per_tile(), lanes, self.spec.rows));
            epilogue.pass(b, base, at.stride, tile.splats, at.per_tile(), None)?;
        }
        Ok(())
    }
}
