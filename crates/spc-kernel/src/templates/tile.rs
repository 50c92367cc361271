//! Pieces that the linear kernels share: unrolled loops and the multiply-add step.
use crate::ir::{Addr, Builder, LoadKind, Op, Val};

/// A number of rounds: known when the kernel is built, or at run time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Fixed(usize),
    Runtime(Val),
}

/// `count` rounds of `step` over carried values, `by` rounds in each round of the loop, and the rest one by one.
/// `by` is a power of two.
pub(super) fn unrolled(
    b: &mut Builder,
    count: Count,
    by: usize,
    mut state: Vec<Val>,
    step: &dyn Fn(&mut Builder, &[Val]) -> Vec<Val>,
) -> Vec<Val> {
    let shift = by.trailing_zeros() as u8;
    let (rounds, rest) = match count {
        Count::Fixed(n) => {
            if n <= by {
                for _ in 0..n {
                    state = step(b, &state);
                }
                return state;
            }
            let rounds = b.int((n >> shift) as i64);
            let rest = n % by;
            (rounds, (rest > 0).then(|| b.int(rest as i64)))
        }
        Count::Runtime(n) => {
            let rounds = b.op(Op::Shr(n, shift));
            let done = b.scale(rounds, by as i64);
            let rest = b.isub(n, done);
            (rounds, (by > 1).then_some(rest))
        }
    };
    state = b.repeat(rounds, &state, |b, _, s| (0..by).fold(s.to_vec(), |s, _| step(b, &s)));
    if let Some(rest) = rest {
        state = b.repeat(rest, &state, |b, _, s| step(b, s));
    }
    state
}

/// Vector registers that CLIF code may count on.
const CLIF_REGISTERS: usize = 16;

/// From this many lanes on, code runs in the order in which it is built and loads become operands.
pub(super) const WIDE: usize = 8;

/// Accumulators that a tile may have, besides which a few values are held and streamed.
pub(super) fn accumulators(lanes: usize) -> usize {
    match lanes {
        16 => 24,
        8 => 12,
        _ => 8,
    }
}

/// A register tile: `splats` values that are broadcast against `vectors` contiguous vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub splats: usize,
    pub vectors: usize,
}

impl Tile {
    pub fn size(self) -> usize {
        self.splats * self.vectors
    }

    /// Sums for each accumulator over which the entries of a list are dealt, so that enough are in flight.
    pub fn sets(self, lanes: usize) -> usize {
        match self.size() {
            1 | 2 if lanes >= WIDE => 4,
            3 if lanes >= WIDE => 2,
            _ => 1,
        }
    }

    /// Steps that one block of code may hold, a power of two. In CLIF code as many as do not spill: it is ordered by
    /// accumulator, so the held values of all steps of a block are live at once, and the streamed value of each. In wide
    /// code as many as make the cost of the loop small.
    pub fn steps(self, lanes: usize) -> usize {
        let n = if lanes >= WIDE {
            8 / self.size().max(1)
        } else {
            let held = self.splats.min(self.vectors);
            CLIF_REGISTERS.saturating_sub(self.size() + 1) / (held + 1)
        };
        1 << n.clamp(1, 4).ilog2()
    }

    /// Number of the accumulator of splat `i` and vector `j`. Those that use one streamed value are neighbours, because
    /// code comes out in the order of the accumulators.
    pub fn at(self, i: usize, j: usize) -> usize {
        if self.vectors <= self.splats { i * self.vectors + j } else { j * self.splats + i }
    }

    /// Splat and vector of every accumulator.
    pub fn all(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.splats).flat_map(move |i| (0..self.vectors).map(move |j| (i, j)))
    }

    /// Zero accumulators.
    pub fn zeros(self, b: &mut Builder) -> Vec<Val> {
        let zero = b.vfloat(0.0);
        vec![zero; self.size()]
    }

    /// Adds `splat(i) * vector(j)` to each accumulator. The smaller side is held in registers, the other streamed.
    pub fn step(
        self,
        b: &mut Builder,
        acc: &[Val],
        splat: &dyn Fn(usize) -> Addr,
        vector: &dyn Fn(usize) -> Addr,
    ) -> Vec<Val> {
        self.step_of(b, acc, splat, vector, LoadKind::VF32)
    }

    /// As [`Tile::step`], with vectors that are read as `kind`.
    pub fn step_of(
        self,
        b: &mut Builder,
        acc: &[Val],
        splat: &dyn Fn(usize) -> Addr,
        vector: &dyn Fn(usize) -> Addr,
        kind: LoadKind,
    ) -> Vec<Val> {
        let mut acc = acc.to_vec();
        if self.vectors <= self.splats {
            let held: Vec<Val> = (0..self.vectors).map(|j| b.load(kind, vector(j))).collect();
            for i in 0..self.splats {
                let s = b.load(LoadKind::Splat, splat(i));
                for (j, v) in held.iter().enumerate() {
                    let at = self.at(i, j);
                    acc[at] = b.fma(*v, s, acc[at]);
                }
            }
        } else {
            let held: Vec<Val> = (0..self.splats).map(|i| b.load(LoadKind::Splat, splat(i))).collect();
            for j in 0..self.vectors {
                let v = b.load(kind, vector(j));
                for (i, s) in held.iter().enumerate() {
                    let at = self.at(i, j);
                    acc[at] = b.fma(*s, v, acc[at]);
                }
            }
        }
        acc
    }
}
