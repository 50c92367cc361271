//! Loops over the stored entries of a list, several in a round, and what is asked for ahead of its use.
//!
//! Of a block that takes several passes the first alone would wait for weights from the third level, so all passes ask for an
//! equal part of the next block, in the second level.
use super::tile::{Count, WIDE};
use crate::ir::{Addr, Builder, FBin, IBin, Op, Val};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes of indices that are asked for ahead of their use, where weights are.
const INDICES: i32 = 512;

/// Entries of fewer bytes use indices as fast as weights, and ask for both equally far ahead.
const FEW: usize = 16;

/// Bytes of weights ahead of their use where the passes over the block before have asked for them.
const NEXT: i32 = 1 << 10;

/// How weights are asked for ahead of their use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    /// Bytes from the use to the line that is asked for where one pass reads all; 0 for no requests at all.
    pub far: i32,
    /// Passes over the same weights; if they are several, each asks for its part of what follows the block.
    pub passes: usize,
    /// Bytes from an entry's first weight to the first that this pass reads.
    pub skip: i32,
}

impl Ahead {
    /// Asks for the weights ahead of `entries` entries of `width` bytes at `values`; gives the next line of the next block.
    fn weights(self, b: &mut Builder, values: Val, next: Option<Val>, entries: usize, width: usize) -> Option<Val> {
        if self.far <= 0 {
            return next;
        }
        let bytes = entries * width;
        let lines = |bytes: usize, step: usize| (0..bytes.max(1)).step_by(step).map(|n| n as i32);
        let Some(next) = next else {
            for n in lines(bytes, LINE) {
                b.prefetch(Addr::at(values, n + self.far));
            }
            return None;
        };
        let part = bytes / self.passes;
        for n in lines(part, LINE) {
            b.prefetch_l2(Addr::at(next, n));
        }
        for n in lines(bytes, LINE.max(width)) {
            b.prefetch(Addr::at(values, n + self.skip + NEXT));
        }
        Some(b.ptr_off(next, part as i32))
    }
}

/// The order of the entries of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    /// Entries of a round.
    pub by: usize,
    /// Sums for each accumulator to which entries are dealt in turn; they are added at the end. It divides `by`.
    pub sets: usize,
    /// Entries by which activations are asked for ahead; 0 for none.
    pub look: i64,
    /// Bytes of an entry's weights.
    pub width: usize,
    /// Bytes from one entry to the next of the second pointer.
    pub second: i32,
    /// Whether that one points to indices.
    pub listed: bool,
    pub ahead: Ahead,
}

impl Rounds {
    /// Entries of a round: two where passes share requests; in 256-bit code, where the loop's own instructions take the ports of
    /// multiply-adds, four.
    pub fn entries(passes: usize, lanes: usize) -> usize {
        match lanes {
            16 if passes > 1 => 2,
            WIDE => 4,
            _ => 1,
        }
    }
}

/// Where a list begins, and what it adds to.
pub(super) struct From {
    pub values: Val,
    /// Indices, or activations where entries are neighbours.
    pub second: Val,
    /// The next line of the next block that is to be asked for, if passes share that.
    pub next: Option<Val>,
    pub acc: Vec<Val>,
}

/// The sums after an entry: the two pointers, the sums before, the entry's number from the pointers on.
type Nth<'a> = &'a dyn Fn(&mut Builder, [Val; 2], &[Val], usize) -> Vec<Val>;

/// What a list's loop calls.
pub(super) struct Calls<'a> {
    /// Asks for the activations of the entry whose index is there.
    pub look: &'a dyn Fn(&mut Builder, Addr),
    pub nth: Nth<'a>,
}

/// `count` rounds of `body` over `state`; no loop where there is at most one.
fn times(
    b: &mut Builder,
    count: Count,
    state: Vec<Val>,
    body: impl FnOnce(&mut Builder, &[Val]) -> Vec<Val>,
) -> Vec<Val> {
    let n = match count {
        Count::Fixed(0) => return state,
        Count::Fixed(1) => return body(b, &state),
        Count::Fixed(n) => b.int(n as i64),
        Count::Runtime(n) => n,
    };
    b.repeat(n, &state, |b, _, s| body(b, s))
}

/// Rounds of `by` entries of which each has `look` entries after it, and the entries that are left.
fn cut(b: &mut Builder, count: Count, by: usize, look: i64) -> (Count, Count) {
    let n = match count {
        Count::Fixed(n) => return (Count::Fixed(n / by), Count::Fixed(n % by)),
        Count::Runtime(n) => n,
    };
    let mut early = n;
    if look > 0 {
        let (far, zero) = (b.int(look), b.int(0));
        early = b.isub(n, far);
        early = b.ibin(IBin::Max, early, zero);
    } else if by == 1 {
        return (count, Count::Fixed(0));
    }
    let rounds = if by > 1 { b.op(Op::Shr(early, by.trailing_zeros() as u8)) } else { early };
    let done = b.scale(rounds, by as i64);
    (Count::Runtime(rounds), Count::Runtime(b.isub(n, done)))
}

/// The sums over `count` entries, and the pointers after them: rounds of `by`, then the rest one by one. Pointers move once
/// in a round. Entries that look ahead, of a list whose length only the call tells, are followed by `look` that do not.
pub(super) fn list(b: &mut Builder, r: Rounds, count: Count, from: From, calls: &Calls<'_>) -> From {
    let (size, width) = (from.acc.len(), r.width as i32);
    let look = if matches!(count, Count::Runtime(_)) { r.look } else { 0 };
    let head = 2 + from.next.iter().count();
    let mut state: Vec<Val> = [from.values, from.second].into_iter().chain(from.next).chain(from.acc).collect();
    if r.sets > 1 {
        let zero = b.vfloat(0.0);
        state.resize(head + r.sets * size, zero);
    }
    let asks = |s: &[Val]| (head > 2).then(|| s[2]);
    let moved = |b: &mut Builder, s: &mut [Val], next: Option<Val>, n: usize| {
        (s[0], s[1]) = (b.ptr_off(s[0], width * n as i32), b.ptr_off(s[1], r.second * n as i32));
        if let Some(next) = next {
            s[2] = next;
        }
    };
    let (rounds, rest) = cut(b, count, r.by, look);
    let state = times(b, rounds, state, |b, s| {
        let mut s = s.to_vec();
        if r.ahead.far > 0 && r.listed && r.second > 2 {
            b.prefetch(Addr::at(s[1], if r.width < FEW { r.ahead.far } else { INDICES }));
        }
        let next = r.ahead.weights(b, s[0], asks(&s), r.by, r.width);
        for n in 0..r.by {
            if look > 0 {
                (calls.look)(b, Addr::at(s[1], 4 * (look as i32 + n as i32)));
            }
            let own = head + n % r.sets * size..head + (n % r.sets + 1) * size;
            let out = (calls.nth)(b, [s[0], s[1]], &s[own.clone()], n);
            s[own].copy_from_slice(&out);
        }
        moved(b, &mut s, next, r.by);
        s
    });
    // No line is left out where requests are less than a line apart.
    let few = look == 0 && (2 * r.by - 1) * r.width <= LINE;
    let last = times(b, rest, state[..head + size].to_vec(), |b, s| {
        let mut s = s.to_vec();
        let next = if few { asks(&s) } else { r.ahead.weights(b, s[0], asks(&s), 1, r.width) };
        let out = (calls.nth)(b, [s[0], s[1]], &s[head..], 0);
        s[head..].copy_from_slice(&out);
        moved(b, &mut s, next, 1);
        s
    });
    let all = [&last[head..], &state[head + size..]].concat();
    let sum = |b: &mut Builder, i: usize| {
        let parts: Vec<Val> = all.iter().skip(i).step_by(size).copied().collect();
        parts[1..].iter().fold(parts[0], |sum, p| b.fbin(FBin::Add, sum, *p))
    };
    let acc = (0..size).map(|i| sum(b, i)).collect();
    From { values: last[0], second: last[1], next: asks(&last), acc }
}
