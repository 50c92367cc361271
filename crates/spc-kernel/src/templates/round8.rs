//! Rounding of activations to 8 bits in code of 16 lanes, a tile of tokens at a time: the integers of a token lie side by side at
//! first, in memory of the kernel's own, then four inputs of each token are dealt to where products read them. Values are read
//! once from afar: a token is rounded as soon as its scale is known, where its integers find room.
use super::blocks8::{tile_width, token_scale};
use super::tile::{Count, unrolled};
use crate::ir::{Addr, Builder, Cmp, FBin, IBin, Kernel, LoadKind, Op, StoreKind, Ty, Val};
use spc_base::Bug;

/// Lanes, and tokens that are dealt together.
const LANES: usize = 16;

/// Inputs that are dealt together.
const COLUMNS: usize = 64;

/// Inputs whose integers the kernel keeps.
const PANEL: usize = 2816;

/// From this many tokens on they are dealt together, else word by word.
const TOGETHER: i64 = 4;

/// How the tiles of tokens lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tiles {
    /// Of 12 tokens, the last as narrow as [`super::blocks8::width`] allows.
    Narrow,
    /// Of 16 tokens; those past the last are as the last one.
    Whole,
}

impl Tiles {
    fn tokens(self) -> usize {
        if self == Tiles::Narrow { super::blocks8::TOKENS } else { LANES }
    }
}

/// As [`super::round_tokens`], in such tiles, those whose first token is among `lo..hi`.
///
/// Parameters: `x` `[n][K]`, `q`, `scales` `[n]`, `n`, `lo`, `hi`.
pub(super) fn round_tiles(name: String, cols: usize, tiles: Tiles) -> Result<Kernel, Bug> {
    let mut b = Builder::new(name, LANES);
    let (x, q, scales) = (b.param("x", Ty::CPtr), b.param("q", Ty::Ptr), b.param("scales", Ty::Ptr));
    let (n, lo, hi) = (b.param("n", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let panel = cols.next_multiple_of(COLUMNS).min(PANEL);
    // Rows of a length that puts them into different sets of cache.
    let stride = panel + 64;
    let (codes, inverses) = (b.op(Op::Local((LANES * stride) as u32)), b.op(Op::Local(4 * LANES as u32)));
    let (one, tokens, spare) = (b.int(1), b.int(tiles.tokens() as i64), b.int(tiles.tokens() as i64 - 1));
    let last = b.isub(n, one);
    let [from, to] = [lo, hi].map(|v| {
        let v = b.iadd(v, spare);
        b.ibin(IBin::Div, v, tokens)
    });
    let count = b.isub(to, from);
    b.repeat(count, &[], |b, i, _| {
        let tile = b.iadd(from, i);
        let first = b.imul(tile, tokens);
        let (mut here, mut step) = (tokens, b.int(4 * LANES as i64));
        if tiles == Tiles::Narrow {
            let left = b.isub(n, first);
            here = b.ibin(IBin::Min, left, tokens);
            let width = tile_width(b, left);
            step = b.scale(width, 4);
        }
        let run = Run { tiles, x, codes, inverses, first, last, here, step, stride, cols };
        let at_once = cols <= panel;
        b.repeat(here, &[codes], |b, t, s| {
            let (number, row) = run.token(b, t);
            let (inverse, scale) = token_scale(b, row, cols);
            b.store(StoreKind::F32, Addr::indexed(scales, number, 4), scale);
            if at_once {
                let inverse = b.splat(inverse);
                values(b, row, inverse, s[0], cols);
            } else {
                b.store(StoreKind::F32, Addr::indexed(inverses, t, 4), inverse);
            }
            vec![b.ptr_off(s[0], stride as i32)]
        });
        let skip = b.scale(first, 4 * cols.div_ceil(4) as i64);
        let q = b.ptr_add(q, skip);
        if at_once {
            run.deal(b, q, cols);
            return Vec::new();
        }
        let (panels, zero, groups) = (b.int((cols / panel) as i64), b.int(0), b.int((panel / 4) as i64));
        let bytes = b.imul(groups, run.step);
        let s = b.repeat(panels, &[q, zero], |b, _, s| {
            run.panel(b, s[1], panel);
            run.deal(b, s[0], panel);
            let done = b.int(4 * panel as i64);
            vec![b.ptr_add(s[0], bytes), b.iadd(s[1], done)]
        });
        if !cols.is_multiple_of(panel) {
            run.panel(b, s[1], cols % panel);
            run.deal(b, s[0], cols % panel);
        }
        Vec::new()
    });
    b.finish()
}

/// A tile of tokens that is being rounded.
struct Run {
    tiles: Tiles,
    x: Val,
    /// Integers, token by token, `stride` bytes apart.
    codes: Val,
    /// What tokens are multiplied by, where they are not rounded at once.
    inverses: Val,
    first: Val,
    last: Val,
    /// Tokens of the tile.
    here: Val,
    /// Bytes from four inputs to the next four.
    step: Val,
    stride: usize,
    cols: usize,
}

impl Run {
    /// Number and values of the tile's token `t`; past the last it is the last.
    fn token(&self, b: &mut Builder, t: Val) -> (Val, Val) {
        let number = b.iadd(self.first, t);
        let number = b.ibin(IBin::Min, number, self.last);
        let skip = b.scale(number, 4 * self.cols as i64);
        (number, b.ptr_add(self.x, skip))
    }

    /// Rounds `count` inputs of all tokens, `skip` bytes from their first.
    fn panel(&self, b: &mut Builder, skip: Val, count: usize) {
        b.repeat(self.here, &[self.codes], |b, t, s| {
            let (_, row) = self.token(b, t);
            let row = b.ptr_add(row, skip);
            let inverse = b.load(LoadKind::Splat, Addr::indexed(self.inverses, t, 4));
            values(b, row, inverse, s[0], count);
            vec![b.ptr_off(s[0], self.stride as i32)]
        });
    }

    /// Writes the first `count` inputs of all tokens to `to`.
    fn deal(&self, b: &mut Builder, to: Val, count: usize) {
        if self.tiles == Tiles::Whole {
            return self.together(b, to, count);
        }
        let least = b.int(TOGETHER);
        let (many, few) = (b.icmp(Cmp::Ge, self.here, least), b.icmp(Cmp::Lt, self.here, least));
        b.when(many, |b| self.together(b, to, count));
        b.when(few, |b| {
            b.repeat(self.here, &[self.codes, to], |b, _, s| {
                unrolled(b, Count::Fixed(count.div_ceil(4)), 4, vec![s[0], s[1]], &|b, s| {
                    let word = b.load(LoadKind::I32, Addr::new(s[0]));
                    b.store(StoreKind::I32, Addr::new(s[1]), word);
                    vec![b.ptr_off(s[0], 4), b.ptr_add(s[1], self.step)]
                });
                vec![b.ptr_off(s[0], self.stride as i32), b.ptr_off(s[1], 4)]
            });
        });
    }

    /// Sixteen groups of four inputs of all tokens at a time.
    fn together(&self, b: &mut Builder, to: Val, count: usize) {
        let some = |b: &mut Builder, from: Val, to: Val, count: usize| {
            let mut to = to;
            for v in columns(b, Addr::new(from), self.stride).into_iter().take(count.div_ceil(4)) {
                match self.tiles {
                    Tiles::Whole => b.store(StoreKind::VF32, Addr::new(to), v),
                    Tiles::Narrow => b.store_tail(Addr::new(to), v, self.here),
                }
                to = b.ptr_add(to, self.step);
            }
            to
        };
        let rounds = b.int((count / COLUMNS) as i64);
        let s = b.repeat(rounds, &[self.codes, to], |b, _, s| {
            let to = some(b, s[0], s[1], COLUMNS);
            vec![b.ptr_off(s[0], COLUMNS as i32), to]
        });
        if !count.is_multiple_of(COLUMNS) {
            some(b, s[0], s[1], count % COLUMNS);
        }
    }
}

/// Rounds `count` values at `from` and writes a byte for each to `to`; up to the next 16 bytes are written.
fn values(b: &mut Builder, from: Val, inverse: Val, to: Val, count: usize) {
    let some = |b: &mut Builder, from: Val, to: Val, count: usize| {
        for at in (0..count).step_by(LANES) {
            let from = Addr::at(from, 4 * at as i32);
            let v = if count - at < LANES {
                let n = b.int((count - at) as i64);
                b.load_tail(from, n)
            } else {
                b.load(LoadKind::VF32, from)
            };
            let v = b.fbin(FBin::Mul, v, inverse);
            // No product leaves the range of a byte but NaN, whose low byte is that of 0.
            let i = b.op(Op::NearestOrLeast(v));
            let offset = b.vint(128);
            let i = b.iadd(i, offset);
            b.store(StoreKind::VU8, Addr::at(to, at as i32), i);
        }
    };
    let rounds = b.int((count / COLUMNS) as i64);
    let s = b.repeat(rounds, &[from, to], |b, _, s| {
        some(b, s[0], s[1], COLUMNS);
        vec![b.ptr_off(s[0], 4 * COLUMNS as i32), b.ptr_off(s[1], COLUMNS as i32)]
    });
    some(b, s[0], s[1], count % COLUMNS);
}

/// The columns of 16 by 16 words in memory, whose rows are `stride` bytes apart. Four times the first half of the vectors in turn
/// with the second half.
pub(super) fn columns(b: &mut Builder, from: Addr, stride: usize) -> Vec<Val> {
    let mut x: Vec<Val> = (0..LANES).map(|i| b.load(LoadKind::VF32, from.plus((stride * i) as i32))).collect();
    for _ in 0..LANES.ilog2() {
        let (first, second) = x.split_at(LANES / 2);
        x = first
            .iter()
            .zip(second)
            .flat_map(|(a, c)| [false, true].map(|high| (high, *a, *c)))
            .map(|(high, a, c)| b.op(Op::Zip(high, a, c)))
            .collect();
    }
    x
}
