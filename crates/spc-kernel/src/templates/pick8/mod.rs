//! Linears of 8-bit and 4-bit weights in steps of sixteen rows by four codes (`i8nm(N,M)`, `i8csr(C)`, `i4nm(N,M,G,S)`) and 8-bit activations, of which each
//! row picks its own by a permutation of bytes; and the rounding of activations that they read.
//!
//! Rounded activations lie as unsigned bytes, integer plus 128, token by token: see [`row_bytes`].
mod scaled;

use super::LinearSpec;
use super::blocks8::token_scale;
use super::epilogue::{Columns, Epilogue, put};
use super::tile::WIDE;
use crate::ir::{Addr, Builder, FBin, IBin, Kernel, LoadKind, Op, StoreKind, Ty, Val};
use scaled::Scales;
use spc_base::Bug;
use spc_formats::{Layout, Steps};

/// Rows of a block, and codes of a row in a step.
const ROWS: usize = 16;
const CODES: usize = 4;
/// Bytes of a step of a block.
const STEP: usize = ROWS * CODES;
/// Inputs from which a step of `i8csr` picks.
const WINDOW: usize = 64;
/// Row blocks whose weights are read for one tile of tokens after the other.
const BLOCKS: i64 = 16;
/// Vectors of codes of `i8csr` that a round takes.
const UNROLL: usize = 2;
/// Bytes of weights that are asked for ahead of their use.
const AHEAD: i32 = 2 << 10;

/// Bytes from one token's integers to the next: what is read from any input on lies inside.
pub fn row_bytes(cols: usize) -> usize {
    cols.div_ceil(WINDOW) * WINDOW + WINDOW
}

/// As `round_tokens`, with the integers of each token in a row of [`row_bytes`] bytes.
///
/// Parameters: `x` `[n][K]`, `q`, `scales` `[n]`, `lo`, `hi`.
pub fn round_rows(cols: usize, lanes: usize) -> Result<Kernel, Bug> {
    let mut b = Builder::new(format!("round_rows_{cols}"), lanes);
    let (x, q, scales) = (b.param("x", Ty::CPtr), b.param("q", Ty::Ptr), b.param("scales", Ty::Ptr));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let (whole, rest) = (b.int((cols / lanes) as i64), cols % lanes);
    let count = b.isub(hi, lo);
    b.repeat(count, &[], |b, i, _| {
        let t = b.iadd(lo, i);
        let skip = b.scale(t, (4 * cols) as i64);
        let row = b.ptr_add(x, skip);
        let (inverse, scale) = token_scale(b, row, cols);
        let at = b.scale(t, 4);
        let at = b.ptr_add(scales, at);
        b.store(StoreKind::F32, Addr::new(at), scale);
        let skip = b.scale(t, row_bytes(cols) as i64);
        let to = b.ptr_add(q, skip);
        let inverse = b.splat(inverse);
        let offset = b.vint(128);
        let write = |b: &mut Builder, v: Val, to: Val| {
            let v = b.fbin(FBin::Mul, v, inverse);
            // No product leaves the range of a byte but NaN, whose low byte is that of 0.
            let v = b.op(if lanes >= WIDE { Op::NearestOrLeast(v) } else { Op::Nearest(v) });
            let v = b.iadd(v, offset);
            b.store(StoreKind::VU8, Addr::new(to), v);
        };
        let s = b.repeat(whole, &[row, to], |b, _, s| {
            let v = b.load(LoadKind::VF32, Addr::new(s[0]));
            write(b, v, s[1]);
            let lanes = b.lanes() as i32;
            vec![b.ptr_off(s[0], 4 * lanes), b.ptr_off(s[1], lanes)]
        });
        if rest > 0 {
            // A whole vector is written: the row is longer.
            let n = b.int(rest as i64);
            let v = b.load_tail(Addr::new(s[0]), n);
            write(b, v, s[1]);
        }
        Vec::new()
    });
    b.finish()
}

/// `y[t][o] = act(scale[o] * s[t] * sum of products + bias[o])` for the row blocks `lo..hi` and all `n` tokens.
///
/// Parameters: the arrays of the layout, `q` and `s` from [`round_rows`], `y` `[n][O]`, `bias` `[O]` if there is one, `n`, `lo`,
/// `hi`.
pub fn pick8(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    spec.check()?;
    let steps = match spec.layout {
        Layout::I8Nm { n, m } | Layout::I4Nm { n, m, .. } => Some(Steps::of(n as usize, m as usize)),
        Layout::I8Csr { .. } => None,
        other => return Err(Bug::new(format!("{other} has no steps of four codes"))),
    };
    let lanes = spec.lanes;
    if !ROWS.is_multiple_of(lanes) || lanes < 4 {
        return Err(Bug::new(format!("{lanes} lanes do not fit blocks of {ROWS}")));
    }
    let mut b = Builder::new(spec.name("pick8"), lanes);
    let mut array = |name: &str, there: bool| there.then(|| b.param(name, Ty::CPtr));
    let (ptr, idx, places) = (array("ptr", steps.is_none()), array("idx", true), array("places", steps.is_none()));
    let scales = match spec.layout {
        Layout::I4Nm { group, scale, .. } => Some(Scales { group: group as usize, half: scale == 16 }),
        _ => None,
    };
    let (codes, start) = (array("codes", true), array("start", scales.is_none()));
    let scale = b.param("scale", Ty::CPtr);
    let (q, s, y) = (b.param("q", Ty::CPtr), b.param("s", Ty::CPtr), b.param("y", Ty::Ptr));
    let (epilogue, columns) = Epilogue::declare(&mut b, spec, y);
    let (n, lo, hi) = (b.param("n", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    // What a layout lacks is not read.
    let [ptr, idx, places, codes, start] = [ptr, idx, places, codes, start].map(|p| p.unwrap_or(scale));
    let far = |_| Bug::new("a matrix is too large for 8-bit codes");
    let row = i32::try_from(16 * row_bytes(spec.cols)).map_err(far)? / 16;
    i32::try_from(64 * spec.rows).map_err(far)?;
    let per = if let Layout::I8Csr { c } = spec.layout { c as usize / CODES } else { 1 };
    let p = Picked { spec, steps, scales, per, row, ptr, idx, places, codes, start, scale, y, columns, epilogue };

    let (more, at_once) = (b.int(BLOCKS - 1), b.int(BLOCKS));
    let count = b.isub(hi, lo);
    let groups = b.iadd(count, more);
    let groups = b.ibin(IBin::Div, groups, at_once);
    let mut result = Ok(());
    b.repeat(groups, &[lo], |b, _, at| {
        let end = b.iadd(at[0], at_once);
        let end = b.ibin(IBin::Min, end, hi);
        let blocks = b.isub(end, at[0]);
        let most = most(lanes, p.scales.is_some());
        let (size, zero) = (b.int(most as i64), b.int(0));
        let whole = b.ibin(IBin::Div, n, size);
        let left = b.ibin(IBin::Rem, n, size);
        let mut state = b.repeat(whole, &[q, s, zero], |b, _, st| {
            let tile = Tile { q: st[0], s: st[1], first: st[2], tokens: most };
            result = result.clone().and(p.tile(b, at[0], blocks, tile));
            p.advance(b, tile)
        });
        // What is left, by its binary digits.
        let mut tokens = most.next_power_of_two() / 2;
        while tokens > 0 {
            let bit = b.op(Op::Shr(left, tokens.trailing_zeros() as u8));
            let one = b.int(1);
            let here = b.ibin(IBin::And, bit, one);
            state = b.repeat(here, &state, |b, _, st| {
                let tile = Tile { q: st[0], s: st[1], first: st[2], tokens };
                result = result.clone().and(p.tile(b, at[0], blocks, tile));
                p.advance(b, tile)
            });
            tokens /= 2;
        }
        vec![end]
    });
    result?;
    b.finish()
}

/// Tokens of the largest tile: their sums, with scales of groups those of a group, too, and what is picked stay in registers.
fn most(lanes: usize, scaled: bool) -> usize {
    match (lanes, scaled) {
        (16, _) => 8,
        (8, false) => 4,
        _ => 2,
    }
}

struct Picked<'a> {
    spec: &'a LinearSpec<'a>,
    /// Of `i8nm` and `i4nm`.
    steps: Option<Steps>,
    /// Of `i4nm`.
    scales: Option<Scales>,
    /// Vectors of codes of a step of `i8csr`.
    per: usize,
    /// Bytes from one token to the next.
    row: i32,
    ptr: Val,
    idx: Val,
    places: Val,
    codes: Val,
    start: Val,
    scale: Val,
    y: Val,
    columns: Columns,
    epilogue: Epilogue<'a>,
}

/// Tokens that are computed together: their integers, their scales, the number of the first.
#[derive(Clone, Copy)]
struct Tile {
    q: Val,
    s: Val,
    first: Val,
    tokens: usize,
}

/// One vector of the rows of a block.
#[derive(Clone, Copy)]
struct Strip {
    /// Rows of the block before it; nothing where there are none.
    before: Option<Val>,
}

impl Strip {
    /// A pointer to what the block has for this vector, of so many bytes a row.
    fn of(self, b: &mut Builder, p: Val, bytes: i64) -> Val {
        match self.before {
            Some(rows) => {
                let skip = b.scale(rows, bytes);
                b.ptr_add(p, skip)
            }
            None => p,
        }
    }
}

impl Picked<'_> {
    fn advance(&self, b: &mut Builder, tile: Tile) -> Vec<Val> {
        let n = tile.tokens as i32;
        let count = b.int(i64::from(n));
        vec![b.ptr_off(tile.q, self.row * n), b.ptr_off(tile.s, 4 * n), b.iadd(tile.first, count)]
    }

    /// A tile of tokens for `blocks` row blocks from `from` on.
    fn tile(&self, b: &mut Builder, from: Val, blocks: Val, tile: Tile) -> Result<(), Bug> {
        let mut result = Ok(());
        let skip = b.scale(tile.first, 4 * self.spec.rows as i64);
        let y = b.ptr_add(self.y, skip);
        b.repeat(blocks, &[], |b, i, _| {
            let block = b.iadd(from, i);
            let ends = b.scale(block, 4 * ROWS as i64);
            let mut one = |b: &mut Builder, strip: Strip| {
                let sums = match (self.steps, self.scales) {
                    (Some(steps), Some(scales)) => self.scaled(b, block, tile, strip, (steps, scales)),
                    (Some(steps), None) => self.regular(b, block, tile, strip, steps),
                    (None, _) => self.listed(b, block, tile, strip),
                };
                result = result.clone().and(self.finish(b, (block, ends), (y, tile), strip, &sums));
            };
            let strips = ROWS / b.lanes();
            if b.lanes() >= WIDE {
                for strip in 0..strips {
                    let before = (strip > 0).then(|| b.int((strip * b.lanes()) as i64));
                    one(b, Strip { before });
                }
            } else {
                // Portable code takes long to compile: it is there once.
                let strips = b.int(strips as i64);
                b.repeat(strips, &[], |b, i, _| {
                    let before = b.scale(i, b.lanes() as i64);
                    one(b, Strip { before: Some(before) });
                    Vec::new()
                });
            }
            Vec::new()
        });
        result
    }

    /// The sums with which a block begins.
    fn starts(&self, b: &mut Builder, block: Val, strip: Strip, tokens: usize) -> Vec<Val> {
        let at = b.scale(block, 4 * ROWS as i64);
        let start = b.ptr_add(self.start, at);
        let start = strip.of(b, start, 4);
        let v = b.load(LoadKind::VI32, Addr::new(start));
        vec![v; tokens]
    }

    fn ahead(&self, b: &mut Builder, p: Val, at: i32, strip: Strip) {
        if b.lanes() >= WIDE && strip.before.is_none() {
            b.prefetch(Addr::at(p, AHEAD + at));
        }
    }

    /// Sums of `i8nm`.
    fn regular(&self, b: &mut Builder, block: Val, tile: Tile, strip: Strip, steps: Steps) -> Vec<Val> {
        let cols = self.spec.cols;
        let (count, words) = (steps.count(cols), steps.words(cols));
        let skip = b.scale(block, (STEP * words) as i64);
        let idx = b.ptr_add(self.idx, skip);
        let idx = strip.of(b, idx, 4);
        let skip = b.scale(block, (STEP * count) as i64);
        let codes = b.ptr_add(self.codes, skip);
        let codes = strip.of(b, codes, 4);
        // A round has whole units and whole words.
        let (unit, word) = (steps.per_unit(), steps.per_word());
        let round = (1..).map(|i| i * unit).find(|n| n.is_multiple_of(word)).unwrap_or(unit);
        let inputs = steps.m * steps.groups * (round / unit);
        let acc = self.starts(b, block, strip, tile.tokens);
        let state: Vec<Val> = [idx, codes, tile.q].into_iter().chain(acc).collect();
        let rounds = b.int((count / round) as i64);
        let state = b.repeat(rounds, &state, |b, _, s| {
            for line in 0..round {
                self.ahead(b, s[1], (STEP * line) as i32, strip);
                if line.is_multiple_of(word) {
                    self.ahead(b, s[0], (STEP * line / word) as i32, strip);
                }
            }
            let acc = self.steps(b, [s[0], s[1], s[2]], &s[3..], steps, 0..round);
            let head = [(0, STEP * round / word), (1, STEP * round), (2, inputs)];
            head.map(|(i, n)| b.ptr_off(s[i], n as i32)).into_iter().chain(acc).collect()
        });
        self.steps(b, [state[0], state[1], state[2]], &state[3..], steps, 0..count % round)
    }

    /// The steps `range` behind positions, codes and integers `at`.
    fn steps(
        &self,
        b: &mut Builder,
        at: [Val; 3],
        acc: &[Val],
        steps: Steps,
        range: std::ops::Range<usize>,
    ) -> Vec<Val> {
        let [idx, codes, q] = at;
        let mut acc = acc.to_vec();
        let mut word = None;
        for step in range {
            let field = step % steps.per_word();
            if field == 0 || word.is_none() {
                let place = (STEP * (step / steps.per_word())) as i32;
                word = Some(b.load(LoadKind::VI32, Addr::at(idx, place)));
            }
            let Some(word) = word else { continue };
            let w = b.load(LoadKind::VI32, Addr::at(codes, (STEP * step) as i32));
            let numbers = self.numbers(b, steps, step, word);
            for (t, sum) in acc.iter_mut().enumerate() {
                let x = self.picked(b, q, &numbers, t);
                *sum = b.dot4(*sum, x, w);
            }
        }
        acc
    }

    /// For a step whose positions are in `word`: the first inputs of its tables, and which bytes of them its codes meet.
    fn numbers(&self, b: &mut Builder, steps: Steps, step: usize, word: Val) -> Vec<(i32, Val)> {
        let shift = (step % steps.per_word()) as u32 * steps.bits;
        let position = if shift > 0 { b.op(Op::Shr(word, shift as u8)) } else { word };
        let every = u32::from_le_bytes([(1u8 << steps.bits) - 1; 4]);
        let mask = b.vint(every as i32);
        let position = b.ibin(IBin::And, position, mask);
        let one = |(input, offsets): (usize, [u8; CODES])| {
            let offsets = b.vint(i32::from_le_bytes(offsets));
            (input as i32, b.iadd(position, offsets))
        };
        parts(steps, step).into_iter().map(one).collect()
    }

    /// The integers of a token that the codes of a step meet.
    fn picked(&self, b: &mut Builder, q: Val, numbers: &[(i32, Val)], t: usize) -> Val {
        let one = |b: &mut Builder, (input, numbers): (i32, Val)| {
            let table = b.load(LoadKind::QuadI32, Addr::at(q, input + self.row * t as i32));
            b.bytes(table, numbers)
        };
        // There is a table for each code at least.
        let first = one(b, numbers[0]);
        numbers[1..].iter().fold(first, |others, n| {
            let here = one(b, *n);
            b.ibin(IBin::Or, others, here)
        })
    }

    /// Sums of `i8csr`.
    fn listed(&self, b: &mut Builder, block: Val, tile: Tile, strip: Strip) -> Vec<Val> {
        let at = Addr::indexed(self.ptr, block, 4);
        let (from, to) = (b.load(LoadKind::U32, at), b.load(LoadKind::U32, at.plus(4)));
        let count = b.isub(to, from);
        let per = self.per;
        let (four, step) = (b.scale(from, 4), b.scale(from, (STEP * per) as i64));
        let idx = b.ptr_add(self.idx, four);
        let places = b.ptr_add(self.places, step);
        let codes = b.ptr_add(self.codes, step);
        let (places, codes) = (strip.of(b, places, 4), strip.of(b, codes, 4));
        let one = |b: &mut Builder, s: &[Val], u: usize| -> Vec<Val> {
            let first = b.load(LoadKind::U32, Addr::at(s[0], 4 * u as i32));
            let mut acc = s[3..].to_vec();
            let parts: Vec<(Val, Val, Vec<Val>)> = (0..per)
                .map(|part| {
                    let place = (STEP * (per * u + part)) as i32;
                    self.ahead(b, s[1], place, strip);
                    self.ahead(b, s[2], place, strip);
                    let numbers = b.load(LoadKind::VI32, Addr::at(s[1], place));
                    let w = b.load(LoadKind::VI32, Addr::at(s[2], place));
                    let narrow = b.lanes() < ROWS;
                    let masks = if narrow { [4, 5].map(|bit| bit_mask(b, numbers, bit)).to_vec() } else { Vec::new() };
                    let low = if narrow {
                        let low = b.vint(0x0f0f_0f0f);
                        b.ibin(IBin::And, numbers, low)
                    } else {
                        numbers
                    };
                    (low, w, masks)
                })
                .collect();
            for (t, sum) in acc.iter_mut().enumerate() {
                let from = Addr::indexed(tile.q, first, 1).plus(self.row * t as i32);
                if b.lanes() == ROWS {
                    let table = b.load(LoadKind::VI32, from);
                    for (numbers, w, _) in &parts {
                        let x = b.permute_bytes(table, *numbers);
                        *sum = b.dot4(*sum, x, *w);
                    }
                    continue;
                }
                for (low, w, masks) in &parts {
                    let quarter = |b: &mut Builder, k: i32| {
                        let table = b.load(LoadKind::QuadI32, from.plus(16 * k));
                        b.bytes(table, *low)
                    };
                    let (a, c) = (quarter(b, 0), quarter(b, 1));
                    let lower_half = choose(b, masks[0], c, a);
                    let (a, c) = (quarter(b, 2), quarter(b, 3));
                    let upper_half = choose(b, masks[0], c, a);
                    let x = choose(b, masks[1], upper_half, lower_half);
                    *sum = b.dot4(*sum, x, *w);
                }
            }
            acc
        };
        let acc = self.starts(b, block, strip, tile.tokens);
        let state: Vec<Val> = [idx, places, codes].into_iter().chain(acc).collect();
        let unroll = UNROLL / per;
        let rounds = b.op(Op::Shr(count, unroll.trailing_zeros() as u8));
        let round = |b: &mut Builder, s: &[Val], n: usize| -> Vec<Val> {
            let mut acc = s[3..].to_vec();
            for u in 0..n {
                let state: Vec<Val> = s[..3].iter().copied().chain(acc).collect();
                acc = one(b, &state, u);
            }
            let head = [(0, 4 * n), (1, STEP * per * n), (2, STEP * per * n)].map(|(i, n)| b.ptr_off(s[i], n as i32));
            head.into_iter().chain(acc).collect()
        };
        let state = b.repeat(rounds, &state, |b, _, s| round(b, s, unroll));
        let mask = b.int(unroll as i64 - 1);
        let left = b.ibin(IBin::And, count, mask);
        b.repeat(left, &state, |b, _, s| round(b, s, 1))[3..].to_vec()
    }

    /// Scales, bias, activation and stores.
    fn finish(
        &self,
        b: &mut Builder,
        (block, ends): (Val, Val),
        (y, tile): (Val, Tile),
        strip: Strip,
        sums: &[Val],
    ) -> Result<(), Bug> {
        let rows = self.spec.rows;
        let epilogue = &self.epilogue;
        let scale = self.scales.is_none().then(|| {
            let scale = b.ptr_add(self.scale, ends);
            let scale = strip.of(b, scale, 4);
            b.load(LoadKind::VF32, Addr::new(scale))
        });
        // Outputs that exist, where the last block is not whole.
        let tail = (!rows.is_multiple_of(ROWS)).then(|| {
            let done = b.scale(block, -(ROWS as i64));
            let left = b.int(rows as i64);
            let left = b.iadd(done, left);
            strip.before.map_or(left, |before| b.isub(left, before))
        });
        let columns = self.columns.skip(b, ends);
        let columns = columns.map(|p| strip.of(b, p, 4));
        let c = epilogue.early(columns).load(b, 0, tail);
        let y = b.ptr_add(y, ends);
        let y = strip.of(b, y, 4);
        let there = epilogue.there(b, y);
        for (t, sum) in sums.iter().enumerate() {
            let s = b.load(LoadKind::Splat, Addr::at(tile.s, 4 * t as i32));
            let v = match scale {
                Some(scale) => {
                    let both = b.fbin(FBin::Mul, scale, s);
                    let sum = b.op(Op::IToF(*sum));
                    b.fbin(FBin::Mul, sum, both)
                }
                None => b.fbin(FBin::Mul, *sum, s),
            };
            let at = (4 * rows * t) as i32;
            let v = epilogue.value(b, v, c, Addr::at(there, at), tail)?;
            put(b, Addr::at(y, at), v, tail);
        }
        let mut result = Ok(());
        if epilogue.deferred() {
            // An activation that calls functions runs over what is stored, so that its code is there once.
            let tokens = b.int(sums.len() as i64);
            let c = epilogue.late(columns).load(b, 0, tail);
            b.repeat(tokens, &[y], |b, _, s| {
                let there = epilogue.there(b, s[0]);
                let at = Addr::new(s[0]);
                let v = match tail {
                    Some(n) => b.load_tail(at, n),
                    None => b.load(LoadKind::VF32, at),
                };
                result = epilogue.activated(b, v, c, Addr::new(there), tail).map(|v| put(b, at, v, tail));
                vec![b.ptr_off(s[0], 4 * rows as i32)]
            });
        }
        result
    }
}

/// The tables of 16 inputs from which the codes of a step are picked: the first input behind that of the round, and for each
/// code the place of its group in the table, with the top bit where another table has it.
fn parts(steps: Steps, step: usize) -> Vec<(usize, [u8; CODES])> {
    let mut out: Vec<(usize, [u8; CODES])> = Vec::new();
    for code in 0..CODES {
        let group = steps.group(step, code);
        let input = group * steps.m;
        let fits = out.last().is_some_and(|(first, _)| input + steps.m <= first + 16);
        if !fits {
            out.push((input, [0x80; CODES]));
        }
        if let Some((first, offsets)) = out.last_mut() {
            offsets[code] = (input - *first) as u8;
        }
    }
    out
}

/// All bits of each byte whose bit `bit` is set.
fn bit_mask(b: &mut Builder, v: Val, bit: u8) -> Val {
    let ones = b.vint(0x0101_0101);
    let x = b.op(Op::Shr(v, bit));
    let x = b.ibin(IBin::And, x, ones);
    let up = b.op(Op::Shl(x, 8));
    b.isub(up, x)
}

/// Bits of `a` where `mask` has them, else of `c`.
fn choose(b: &mut Builder, mask: Val, a: Val, c: Val) -> Val {
    let differ = b.ibin(IBin::Xor, a, c);
    let differ = b.ibin(IBin::And, differ, mask);
    b.ibin(IBin::Xor, c, differ)
}
