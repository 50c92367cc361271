//! Linears of codes with a scale for each group of inputs (`q4`, `q8`, `kept4`, `kept8`), from row-major to row-major: lanes
//! run over the inputs of a group.
//!
//! `y[t][o] = act(sum over stored (o, k) of code * scale * x[t][k] + bias[o])` for the rows `lo..hi` and all `n` tokens. A code
//! becomes the weight's own f32 before it is multiplied, so that sums are those of any other layout.
//!
//! Parameters: the arrays of the layout, `x` `[n][K]`, `y` `[n][O]`, `bias` `[O]` if there is one, `n`, `lo`, `hi`. `levels` is a
//! parameter of 16 lanes only, where a permutation of the levels times a scale gives the weights.
use super::LinearSpec;
use super::epilogue::Epilogue;
use super::rowlist::activate;
use super::tile::WIDE;
use crate::ir::{Addr, Builder, FBin, IBin, Kernel, LoadKind, Op, RedFn, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_formats::{Layout, Units};

/// Codes of one part of a unit: a vector of the widest kernels.
const PART: usize = 16;

/// Bytes of codes that are asked for ahead of their use.
const AHEAD: i32 = 2 << 10;

pub fn groups(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    let Layout::Groups { bits, group, scale, kept } = spec.layout else {
        return Err(Bug::new(format!("{} has no scales of groups", spec.layout)));
    };
    spec.check()?;
    let units = Units::of(bits, group as usize);
    let mut b = Builder::new(spec.name("groups"), spec.lanes);
    let lists = kept.then(|| [b.param("ptr", Ty::CPtr), b.param("skip", Ty::CPtr)]);
    let (codes, scales) = (b.param("codes", Ty::CPtr), b.param("scale", Ty::CPtr));
    let levels = (bits == 4 && spec.lanes == PART).then(|| b.param("levels", Ty::CPtr));
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (epilogue, columns) = Epilogue::declare(&mut b, spec, y);
    let (n, lo, hi) = (b.param("n", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let levels = levels.map(|p| b.load(LoadKind::VF32, Addr::new(p)));
    let widened = (scale == 16 && spec.lanes >= WIDE).then(|| b.op(Op::Local(4 * spec.lanes as u32)));
    let g = Groups { spec, units, half: scale == 16, kept, levels, widened };
    let rows = b.isub(hi, lo);
    let row_units = g.row_units();
    let mut result = Ok(());
    b.repeat(rows, &[], |b, i, _| {
        let at = b.iadd(lo, i);
        let (from, count) = match lists {
            Some([ptr, _]) => {
                let p = Addr::indexed(ptr, at, 4);
                let (from, to) = (b.load(LoadKind::U32, p), b.load(LoadKind::U32, p.plus(4)));
                (from, b.isub(to, from))
            }
            None => (b.scale(at, row_units as i64), b.int(row_units as i64)),
        };
        let skip = |b: &mut Builder, p: Val, bytes: usize| {
            let by = b.scale(from, bytes as i64);
            b.ptr_add(p, by)
        };
        let row = Row {
            codes: skip(b, codes, units.bytes),
            scales: skip(b, scales, g.scale_bytes()),
            skips: lists.map(|[_, p]| skip(b, p, units.groups)),
            count,
        };
        let by = b.scale(at, 4);
        let to = b.ptr_add(y, by);
        let c = columns.bias().map(|p| b.load(LoadKind::F32, Addr::indexed(p, at, 4)));
        result = result.clone().and(g.tokens(b, row, x, to, c, n));
        Vec::new()
    });
    result?;
    let y_row = b.int(4 * spec.rows as i64);
    activate(&mut b, &epilogue, columns, y, n, (lo, rows), y_row)?;
    b.finish()
}

struct Groups<'a> {
    spec: &'a LinearSpec<'a>,
    units: Units,
    half: bool,
    kept: bool,
    /// The levels of 4-bit codes, where a permutation picks them.
    levels: Option<Val>,
    /// Where the scales of a round lie as floats, where each is read for all lanes.
    widened: Option<Val>,
}

/// The stored units of a row.
#[derive(Clone, Copy)]
struct Row {
    codes: Val,
    scales: Val,
    skips: Option<Val>,
    count: Val,
}

/// Where the next unit is: codes, scales, skips where there are any, and the first input that is not passed.
#[derive(Clone, Copy)]
struct At {
    codes: Val,
    scales: Val,
    skips: Option<Val>,
    input: Val,
}

impl At {
    /// What a loop carries of it.
    fn state(self) -> impl Iterator<Item = Val> {
        [self.codes, self.scales, self.input].into_iter().chain(self.skips)
    }

    /// The place that a loop carries, and what else it does.
    fn split(self, s: &[Val]) -> (At, &[Val]) {
        let n = 3 + usize::from(self.skips.is_some());
        (At { codes: s[0], scales: s[1], input: s[2], skips: self.skips.map(|_| s[3]) }, &s[n..])
    }
}

/// A tile of tokens that share the weights of a row.
#[derive(Clone, Copy)]
struct Tile {
    x: Val,
    x_row: i32,
    tokens: usize,
    /// Sums of each token, to which parts are dealt in turn.
    sets: usize,
}

impl Groups<'_> {
    /// Units of all groups of a row.
    fn row_units(&self) -> usize {
        self.units.of_row(self.spec.cols.div_ceil(self.units.group))
    }

    /// Bytes of the scales of a unit.
    fn scale_bytes(&self) -> usize {
        self.units.groups * if self.half { 2 } else { 4 }
    }

    /// All tokens of a row: whole tiles, then halves of them.
    fn tokens(&self, b: &mut Builder, row: Row, x: Val, y: Val, bias: Option<Val>, n: Val) -> Result<(), Bug> {
        let most = match b.lanes() {
            16 => 8,
            8 => 4,
            _ => 2,
        };
        let (mut x, mut y, mut left, mut size, mut result) = (x, y, n, most, Ok(()));
        while size > 0 {
            let count = b.op(Op::Shr(left, usize::ilog2(size) as u8));
            let (xs, ys) = (b.int((4 * size * self.spec.cols) as i64), b.int((4 * size * self.spec.rows) as i64));
            let s = b.repeat(count, &[x, y], |b, _, s| {
                result = result.clone().and(self.tile(b, row, s[0], s[1], bias, size));
                vec![b.ptr_add(s[0], xs), b.ptr_add(s[1], ys)]
            });
            (x, y) = (s[0], s[1]);
            let mask = b.int(size as i64 - 1);
            left = b.ibin(IBin::And, left, mask);
            size /= 2;
        }
        result
    }

    fn tile(&self, b: &mut Builder, row: Row, x: Val, y: Val, bias: Option<Val>, tokens: usize) -> Result<(), Bug> {
        let far = || Bug::new("a matrix is too wide for a kernel of groups");
        let to_i32 = |n: usize| i32::try_from(n).map_err(|_| far());
        let x_row = to_i32((4 * self.spec.cols + 1024) * tokens)? / tokens as i32 - 1024;
        let y_row = to_i32((4 * self.spec.rows + 1024) * tokens)? / tokens as i32 - 1024;
        let sets = match (b.lanes() >= WIDE, tokens) {
            (true, 1) => 4,
            (true, _) | (false, 1) => 2,
            _ => 1,
        };
        let tile = Tile { x, x_row, tokens, sets };
        let (zero, first) = (b.vfloat(0.0), b.int(0));
        let at = At { codes: row.codes, scales: row.scales, skips: row.skips, input: first };
        let acc = vec![zero; tokens * sets];
        let masked =
            !self.spec.cols.is_multiple_of(self.units.group * self.units.groups) || self.kept && self.units.groups > 1;
        // The last unit may have inputs past the last.
        let whole = match (masked, self.kept) {
            (false, _) => row.count,
            (true, false) => b.int(self.row_units() as i64 - 1),
            (true, true) => {
                let one = b.int(1);
                let least = b.isub(row.count, one);
                b.ibin(IBin::Max, least, first)
            }
        };
        let round = self.round(b.lanes(), tokens);
        let rounds = b.op(Op::Shr(whole, usize::ilog2(round) as u8));
        let (at, acc) = self.repeat(b, rounds, at, acc, &|b, at, acc| self.units_of(b, tile, at, acc, round, false));
        let done = b.scale(rounds, round as i64);
        let rest = b.isub(whole, done);
        let one = |b: &mut Builder, at: At, acc: &mut [Val]| self.units_of(b, tile, at, acc, 1, false);
        let (at, acc) = if round > 1 { self.repeat(b, rest, at, acc, &one) } else { (at, acc) };
        let mut acc = acc;
        if masked && self.kept {
            // A row may have nothing.
            let last = b.isub(row.count, whole);
            acc = b.repeat(last, &acc, |b, _, s| {
                let mut acc = s.to_vec();
                self.units_of(b, tile, at, &mut acc, 1, true);
                acc
            });
        } else if masked {
            self.units_of(b, tile, at, &mut acc, 1, true);
        }
        for (t, sums) in acc.chunks(sets).enumerate() {
            let sum = sums[1..].iter().fold(sums[0], |sum, p| b.fbin(FBin::Add, sum, *p));
            let mut sum = b.reduce(RedFn::Add, sum);
            if let Some(c) = bias {
                sum = b.fbin(FBin::Add, sum, c);
            }
            b.store(StoreKind::F32, Addr::at(y, y_row * t as i32), sum);
        }
        Ok(())
    }

    /// Units of one round of the main loop: as many as have a vector of scales, where that is worth its code.
    fn round(&self, lanes: usize, tokens: usize) -> usize {
        match (lanes >= WIDE && tokens <= 2, self.half) {
            (true, true) => lanes / self.units.groups,
            (true, false) => 4,
            _ => 1,
        }
    }

    fn repeat(
        &self,
        b: &mut Builder,
        count: Val,
        at: At,
        acc: Vec<Val>,
        body: &dyn Fn(&mut Builder, At, &mut [Val]) -> At,
    ) -> (At, Vec<Val>) {
        let state: Vec<Val> = at.state().chain(acc).collect();
        let s = b.repeat(count, &state, |b, _, s| {
            let (at, acc) = at.split(s);
            let mut acc = acc.to_vec();
            let at = body(b, at, &mut acc);
            at.state().chain(acc).collect()
        });
        let (at, acc) = at.split(&s);
        (at, acc.to_vec())
    }

    /// Adds `count` units, and gives the place behind them. `last`: inputs past the last are not read.
    fn units_of(&self, b: &mut Builder, tile: Tile, at: At, acc: &mut [Val], count: usize, last: bool) -> At {
        let (u, lanes) = (self.units, b.lanes());
        if lanes >= WIDE && !last {
            let mut ahead = |p: Val, bytes: usize, distance: i32| {
                for line in 0..bytes.div_ceil(64) {
                    b.prefetch(Addr::at(p, distance + 64 * line as i32));
                }
            };
            ahead(at.codes, count * u.bytes, AHEAD);
            // What lies beside the codes is less by these factors.
            if count * self.scale_bytes() >= 32 {
                ahead(at.scales, count * self.scale_bytes(), AHEAD / 8);
                at.skips.into_iter().for_each(|p| ahead(p, count * u.groups, AHEAD / 16));
            }
        }
        let together = self.widened.filter(|_| count * u.groups == lanes);
        if let Some(to) = together {
            let scales = b.load(LoadKind::VF16, Addr::new(at.scales));
            b.store(StoreKind::VF32, Addr::new(to), scales);
        }
        // The inputs that are passed; those of the groups before in this round stand at distances that are known.
        let (mut input, mut ahead) = (at.input, 0);
        let mut turn = 0;
        for unit in 0..count {
            let mut places = Vec::with_capacity(u.groups);
            for g in 0..u.groups {
                let slot = unit * u.groups + g;
                if let Some(skips) = at.skips {
                    let skip = b.load(LoadKind::U8, Addr::at(skips, slot as i32));
                    let skip = b.scale(skip, u.group as i64);
                    input = b.iadd(input, skip);
                }
                let scale = match together {
                    Some(all) => b.load(LoadKind::Splat, Addr::at(all, 4 * slot as i32)),
                    None if self.half => {
                        let s = b.load(LoadKind::F16, Addr::at(at.scales, 2 * slot as i32));
                        b.splat(s)
                    }
                    None => b.load(LoadKind::Splat, Addr::at(at.scales, 4 * slot as i32)),
                };
                let scale = match self.levels {
                    Some(levels) => b.fbin(FBin::Mul, levels, scale),
                    None => scale,
                };
                places.push((input, ahead, scale));
                ahead += u.group;
            }
            for (byte, parts) in self.parts().into_iter().enumerate() {
                for from in (0..PART).step_by(lanes) {
                    let at = Addr::at(at.codes, (unit * u.bytes + byte * PART + from) as i32);
                    let kind = if self.levels.is_some() { LoadKind::VU8 } else { LoadKind::VI8 };
                    let codes = b.load(kind, at);
                    for (part, (g, offset)) in parts.iter().enumerate() {
                        let (input, ahead, scale) = places[*g];
                        let w = self.weights(b, codes, part, scale);
                        self.multiply(b, tile, acc, turn, w, input, ahead + offset + from, last);
                        turn += 1;
                    }
                }
            }
        }
        let passed = b.int(ahead as i64);
        let input = b.iadd(input, passed);
        At {
            codes: b.ptr_off(at.codes, (count * u.bytes) as i32),
            scales: b.ptr_off(at.scales, (count * self.scale_bytes()) as i32),
            skips: at.skips.map(|p| b.ptr_off(p, (count * u.groups) as i32)),
            input,
        }
    }

    /// For each 16 bytes of a unit the parts that they hold: the group, and the first input in it.
    fn parts(&self) -> Vec<Vec<(usize, usize)>> {
        let u = self.units;
        (0..u.bytes / PART)
            .map(|i| match (u.bits, u.groups) {
                (4, 2) => vec![(0, 0), (1, 0)],
                (4, _) => vec![(0, 2 * PART * i), (0, 2 * PART * i + PART)],
                _ => vec![(0, PART * i)],
            })
            .collect()
    }

    /// Weights of one part of a vector of codes.
    fn weights(&self, b: &mut Builder, codes: Val, part: usize, scale: Val) -> Val {
        if self.levels.is_some() {
            // A permutation takes numbers modulo the lanes: higher bits do not count.
            let number = if part == 0 { codes } else { b.op(Op::Shr(codes, 4)) };
            return b.permute(scale, number);
        }
        let code = match (self.units.bits, part) {
            (4, 0) => {
                let top = b.op(Op::Shl(codes, 28));
                b.op(Op::Shr(top, 28))
            }
            (4, _) => b.op(Op::Shr(codes, 4)),
            _ => codes,
        };
        let code = b.op(Op::IToF(code));
        b.fbin(FBin::Mul, code, scale)
    }

    /// Adds a vector of weights times the inputs from `input + offset` on, for each token.
    #[expect(clippy::too_many_arguments, reason = "the place of the weights and of the inputs")]
    fn multiply(
        &self,
        b: &mut Builder,
        tile: Tile,
        acc: &mut [Val],
        turn: usize,
        w: Val,
        input: Val,
        offset: usize,
        last: bool,
    ) {
        let left = last.then(|| {
            let end = b.int(self.spec.cols as i64 - offset as i64);
            b.isub(end, input)
        });
        for t in 0..tile.tokens {
            let from = Addr::indexed(tile.x, input, 4).plus(4 * offset as i32 + tile.x_row * t as i32);
            let x = match left {
                Some(n) => b.load_tail(from, n),
                None => b.load(LoadKind::VF32, from),
            };
            let own = t * tile.sets + turn % tile.sets;
            acc[own] = b.fma(w, x, acc[own]);
        }
    }
}
