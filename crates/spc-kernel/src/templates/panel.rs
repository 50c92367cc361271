//! The dense linear kernel from row-major to row-major: lanes run over outputs.
//!
//! `y[t][o] = act(sum over k of w[o][k] * x[t][k] + bias[o])` for the panels `lo..hi` and all `n` tokens. Parallel over
//! panels, so that one token can use several threads.
//!
//! Parameters: `values` `[ceil(O/P)][K][P]`, `x` `[n][K]`, `y` `[n][O]`, `bias` `[O]` if there is one, `n`, `lo`, `hi`.
//! Lanes past the last output of a short panel are computed (their weights are zeros) and not stored.
use super::LinearSpec;
use super::epilogue::{Columns, Epilogue, Lanes, Stored, put};
use super::tile::{Count, Tile, WIDE, accumulators, unrolled};
use crate::ir::{Addr, Builder, FBin, IBin, Kernel, Op, Ty, Val};
use spc_base::Bug;
use spc_formats::Layout;

/// Weights are asked for ahead of their use by tiles of at most so many sums, by so many bytes.
const FEW: usize = 8;
const AHEAD: i32 = 2 << 10;

/// Tokens in one tile of that many vectors, largest first: powers of two down to 1.
fn token_tiles(vectors: usize, lanes: usize) -> Vec<usize> {
    let most = accumulators(lanes) / vectors.next_power_of_two();
    let most = 1 << most.max(1).ilog2();
    match most {
        1 => vec![1],
        16 if lanes >= WIDE => vec![16, 4, 1],
        _ => vec![most, 1],
    }
}

pub fn panel(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    let Layout::Dense { panel } = spec.base() else {
        return Err(Bug::new(format!("{} has no row-major kernel", spec.layout)));
    };
    spec.check()?;
    let panel = panel as usize;
    if !panel.is_multiple_of(spec.lanes) {
        return Err(Bug::new(format!("panels of {panel} rows do not fit {} lanes", spec.lanes)));
    }
    let mut b = Builder::new(spec.name("panel"), spec.lanes);
    let values = b.param("values", Ty::CPtr);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (epilogue, columns) = Epilogue::declare(&mut b, spec, y);
    let (n, lo, hi) = (b.param("n", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let p = Panel { spec, height: panel, values, x, y, columns, epilogue, n };

    let (full, left) = (spec.rows / panel, spec.rows % panel);
    let full_end = b.int(full as i64);
    let whole = b.ibin(IBin::Min, hi, full_end);
    let count = b.isub(whole, lo);
    let mut result = Ok(());
    b.repeat(count, &[], |b, i, _| {
        let at = b.iadd(lo, i);
        result = p.outputs(b, at, panel);
        Vec::new()
    });
    if left > 0 {
        // `hi` is at most one more than the number of full panels.
        let partial = b.isub(hi, full_end);
        b.repeat(partial, &[], |b, _, _| {
            result = result.clone().and(p.outputs(b, full_end, left));
            Vec::new()
        });
    }
    result?;
    b.finish()
}

struct Panel<'a> {
    spec: &'a LinearSpec<'a>,
    height: usize,
    values: Val,
    x: Val,
    y: Val,
    columns: Columns,
    epilogue: Epilogue<'a>,
    n: Val,
}

/// A strip of a panel: where its first weight, output and columns lie, and how wide it is.
#[derive(Clone, Copy)]
struct Strip {
    values: Val,
    y: Val,
    columns: Columns,
    vectors: usize,
    /// Outputs of the last vector, where it is not full.
    tail: Option<usize>,
}

impl Panel<'_> {
    /// The first `rows` outputs of panel `at`, for all tokens, a strip of a few vectors at a time.
    fn outputs(&self, b: &mut Builder, at: Val, rows: usize) -> Result<(), Bug> {
        let lanes = b.lanes();
        let size = self.spec.values().1;
        let skip = b.scale(at, (size * self.spec.cols * self.height) as i64);
        let values = b.ptr_add(self.values, skip);
        let skip = b.scale(at, 4 * self.height as i64);
        let y = b.ptr_add(self.y, skip);
        let columns = self.columns.skip(b, skip);
        let mut done = 0;
        while done < rows {
            let outputs = (rows - done).min(4 * lanes);
            let bytes = 4 * done as i32;
            let strip = Strip {
                values: b.ptr_off(values, (size * done) as i32),
                y: b.ptr_off(y, bytes),
                columns: columns.off(b, bytes),
                vectors: outputs.div_ceil(lanes),
                tail: Some(outputs % lanes).filter(|n| *n > 0),
            };
            self.tokens(b, strip)?;
            done += outputs;
        }
        Ok(())
    }

    /// All tokens of a strip: full tiles, then one by one.
    fn tokens(&self, b: &mut Builder, strip: Strip) -> Result<(), Bug> {
        let (mut x, mut y, mut left, mut result) = (self.x, strip.y, self.n, Ok(()));
        for tokens in token_tiles(strip.vectors, b.lanes()) {
            let count = b.op(Op::Shr(left, tokens.trailing_zeros() as u8));
            let r = b.repeat(count, &[x, y], |b, _, s| {
                result = result.clone().and(self.tile(b, strip, s[0], s[1], tokens));
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

    fn tile(&self, b: &mut Builder, strip: Strip, x: Val, y: Val, tokens: usize) -> Result<(), Bug> {
        let (cols, rows) = (self.spec.cols, self.spec.rows);
        let lane_bytes = 4 * b.lanes() as i32;
        let tile = Tile { splats: tokens, vectors: strip.vectors };
        let to_i32 = |n: usize| i32::try_from(n).map_err(|_| Bug::new("a matrix is too wide for a panel kernel"));
        let (x_row, y_row) = (to_i32(4 * cols * tokens)? / tokens as i32, to_i32(4 * rows * tokens)? / tokens as i32);
        // Where there are few sums, columns are dealt to several of each in turn.
        let (sets, size) = (tile.sets(b.lanes()).min(cols.max(1)), tile.size());
        let (kind, size_of) = self.spec.values();
        let (column, vector) = ((size_of * self.height) as i32, (size_of * b.lanes()) as i32);
        let step = |b: &mut Builder, acc: &[Val], [w, x]: [Val; 2], c: usize| {
            let (w_at, x_at) = (column * c as i32, 4 * c as i32);
            let from = |t: usize| Addr::at(x, x_row * t as i32 + x_at);
            tile.step_of(b, acc, &from, &|j| Addr::at(w, vector * j as i32 + w_at), kind)
        };
        let zero = b.vfloat(0.0);
        let mut state = vec![zero; 2 + sets * size];
        (state[0], state[1]) = (strip.values, x);
        let by = (tile.steps(b.lanes()) / sets).max(1);
        let mut state = unrolled(b, Count::Fixed(cols / sets), by, state, &|b, s| {
            if b.lanes() >= WIDE && size <= FEW {
                for line in 0..(column as usize * sets).div_ceil(64) {
                    b.prefetch(Addr::at(s[0], AHEAD + 64 * line as i32));
                }
            }
            let acc: Vec<Val> =
                s[2..].chunks(size).enumerate().flat_map(|(c, acc)| step(b, acc, [s[0], s[1]], c)).collect();
            [b.ptr_off(s[0], column * sets as i32), b.ptr_off(s[1], 4 * sets as i32)].into_iter().chain(acc).collect()
        });
        for c in 0..cols % sets {
            let first = step(b, &state[2..2 + size], [state[0], state[1]], c);
            state[2..2 + size].copy_from_slice(&first);
        }
        for set in 1..sets {
            for i in 2..2 + size {
                state[i] = b.fbin(FBin::Add, state[i], state[i + set * size]);
            }
        }
        let epilogue = &self.epilogue;
        let tail = strip.tail.map(|n| b.int(n as i64));
        let there = epilogue.there(b, y);
        for j in 0..tile.vectors {
            let at = lane_bytes * j as i32;
            let short = tail.filter(|_| j + 1 == tile.vectors);
            let c = epilogue.early(strip.columns).load(b, at, short);
            for t in 0..tokens {
                let place = y_row * t as i32 + at;
                let v = epilogue.value(b, state[2 + tile.at(t, j)], c, Addr::at(there, place), short)?;
                put(b, Addr::at(y, place), v, short);
            }
        }
        let stride = b.int(i64::from(y_row));
        let stored = Stored { base: y, stride, rows: tokens, vectors: tile.vectors, tail: strip.tail };
        epilogue.pass(b, stored, strip.columns, Lanes::Outputs)
    }
}
