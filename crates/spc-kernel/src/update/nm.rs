//! N of every M neighbouring weights, by rank: how many of its group come before each weight, greatest magnitude first and
//! equal ones by their place. Ranks are counted by compares of the vector with itself, its lanes swapped; groups of a vector or more
//! are sorted by a network.
use super::{Array, IOTA, Kind, Pass, chain::number, frame::Frame};
use crate::ir::{Addr, Builder, Cmp, FBin, IBin, LoadKind, Op, RedFn, StoreKind, Val};
use spc_base::Bug;

/// Greatest M of [`nm_pass`].
pub const MOST: usize = 32;

/// Arrays: weights, mask (written), and with `view` the weights as the mask leaves them (written). Number `n` is N.
/// M is a power of two up to 32. The fold is the greatest magnitude as the bits of a float: NaN or infinity where a weight is.
///
/// A weight that is 0 counts as the smallest number there is, so exactly N are chosen.
///
/// # Errors
/// A bug for another M.
pub fn nm_pass(m: usize, n: usize, view: bool, lanes: usize) -> Result<Pass, Bug> {
    made(m, n, if view { Out::View } else { Out::Mask }, lanes)
}

/// The same in place: weights (written) that are left out become +0, and so do those that are -0; there is no mask.
///
/// # Errors
/// A bug for another M.
pub fn nm_in_place(m: usize, n: usize, lanes: usize) -> Result<Pass, Bug> {
    made(m, n, Out::InPlace, lanes)
}

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Out {
    Mask,
    /// The mask, and the weights under it.
    View,
    InPlace,
}

fn made(m: usize, n: usize, to: Out, lanes: usize) -> Result<Pass, Bug> {
    if !m.is_power_of_two() || m > MOST || lanes == 1 {
        return Err(Bug::new(format!("no kernel for groups of {m} in vectors of {lanes}")));
    }
    if m >= lanes && m >= 16 {
        return across(m, n, to, lanes);
    }
    let unit = m.max(lanes);
    let vectors = unit / lanes;
    let (mut b, h) = Head::new(m, n, to, lanes);
    let Head { w, keep, .. } = h;
    let zero = b.vint(0);
    let less = b.isub(zero, keep);
    // 1 in the lanes whose number has bit h: their swapped partner stands before them and wins ties.
    let iota = b.load(LoadKind::VF32, Addr::new(h.numbers));
    let bits: Vec<Val> = (0..lanes.trailing_zeros())
        .map(|h| {
            let place = b.op(Op::Nearest(iota));
            let moved = if h == 0 { place } else { b.op(Op::Shr(place, h as u8)) };
            let one = b.vint(1);
            b.ibin(IBin::And, moved, one)
        })
        .collect();
    h.pass(b, unit, &|b, at| {
        let disp = |v: usize| (v * lanes) as i32;
        let all: Vec<Val> =
            (0..vectors).map(|v| b.load(LoadKind::VI32, Addr::indexed(w, at, 4).plus(4 * disp(v)))).collect();
        let keys: Vec<Val> = all
            .iter()
            .map(|x| {
                let (abs, tiny) = (b.vint(i32::MAX), b.vint(1));
                let x = b.ibin(IBin::And, *x, abs);
                b.ibin(IBin::Max, x, tiny)
            })
            .collect();
        // Of each vector: the lanes swapped across quarters of 4, shared by the swaps inside.
        let inside = m.min(lanes);
        let quarters: Vec<Vec<Val>> = keys
            .iter()
            .map(|k| {
                let far = |b: &mut Builder, q: usize| if q == 0 { *k } else { b.swap(*k, (4 * q) as u8) };
                (0..inside.div_ceil(4)).map(|q| far(b, q)).collect()
            })
            .collect();
        let swapped = |b: &mut Builder, v: usize, k: usize| {
            let q = quarters[v][k / 4];
            if k.is_multiple_of(4) { q } else { b.swap(q, (k % 4) as u8) }
        };
        for v in 0..vectors {
            // Minus the number of those that come before.
            let mut rank = b.vint(0);
            let own: Vec<Val> = bits.iter().map(|bit| b.isub(keys[v], *bit)).collect();
            let one = b.vint(1);
            let later = b.isub(keys[v], one);
            for other in 0..vectors {
                for k in 0..inside {
                    if other == v && k == 0 {
                        continue;
                    }
                    let partner = swapped(b, other, k);
                    let mine = match other.cmp(&v) {
                        std::cmp::Ordering::Less => later,
                        std::cmp::Ordering::Equal => own[k.ilog2() as usize],
                        std::cmp::Ordering::Greater => keys[v],
                    };
                    let gap = b.isub(mine, partner);
                    let before = b.op(Op::Shr(gap, 31));
                    rank = b.iadd(rank, before);
                }
            }
            // All ones where fewer than N come before.
            let room = b.isub(less, rank);
            let kept = b.op(Op::Shr(room, 31));
            h.write(b, (at, disp(v)), kept, Some(all[v]));
        }
        keys.iter().skip(1).fold(keys[0], |a, k| b.ibin(IBin::Max, a, *k))
    })
}

/// Rows of a square of vectors become columns, and back.
fn transpose(b: &mut Builder, mut rows: Vec<Val>) -> Vec<Val> {
    let half = rows.len() / 2;
    for _ in 0..rows.len().trailing_zeros() {
        rows = (0..rows.len()).map(|i| b.op(Op::Zip(i % 2 == 1, rows[i / 2], rows[half + i / 2]))).collect();
    }
    rows
}

/// [`nm_pass`] for groups of a vector or more: as many groups as there are lanes, transposed, so that a vector holds the same place
/// of each. A sorting network over the places gives the least magnitude that stays. Where equal ones are more than there is room
/// for, those of lower places stay.
fn across(m: usize, n: usize, to: Out, lanes: usize) -> Result<Pass, Bug> {
    let (b, h) = Head::new(m, n, to, lanes);
    let Head { w, keep, .. } = h;
    h.pass(b, m * lanes, &|b, at| {
        // Element `part * lanes` on of group g.
        let place = |g: usize, part: usize| (g * m + part * lanes) as i32;
        let (abs, tiny) = (b.vint(i32::MAX), b.vint(1));
        let mut keys = Vec::new();
        for part in 0..m / lanes {
            let load = |b: &mut Builder, g| b.load(LoadKind::VF32, Addr::indexed(w, at, 4).plus(4 * place(g, part)));
            let rows: Vec<Val> = (0..lanes).map(|g| load(b, g)).collect();
            for x in transpose(b, rows) {
                let x = b.op(Op::ToBits(x));
                let x = b.ibin(IBin::And, x, abs);
                keys.push(b.ibin(IBin::Max, x, tiny));
            }
        }
        let mut sorted = keys.clone();
        for (i, j) in network(m) {
            let (x, y) = (sorted[i], sorted[j]);
            sorted[i] = b.ibin(IBin::Max, x, y);
            sorted[j] = b.ibin(IBin::Min, x, y);
        }
        // Number N of them: the least of those before; the others count as more than all.
        let mut least = abs;
        for (j, x) in sorted.iter().enumerate() {
            let number = b.vint(j as i32 + 1);
            let room = b.isub(keep, number);
            let out = b.op(Op::Shr(room, 31));
            let out = b.ibin(IBin::And, out, abs);
            let x = b.ibin(IBin::Max, *x, out);
            least = b.ibin(IBin::Min, least, x);
        }
        let write = |b: &mut Builder, kept: &[Val]| {
            for part in 0..m / lanes {
                let rows = kept[part * lanes..(part + 1) * lanes].iter().map(|k| b.op(Op::FromBits(*k))).collect();
                for (g, kept) in transpose(b, rows).into_iter().enumerate() {
                    let kept = b.op(Op::ToBits(kept));
                    // In place this reads what an earlier, larger choice of the group has left.
                    h.write(b, (at, place(g, part)), kept, None);
                }
            }
        };
        // All ones where a key is not below the least; minus their number. Keys are above 0, so nothing overflows.
        let (below, mut count) = (b.vint(1), keep);
        let below = b.isub(least, below);
        let kept: Vec<Val> = (keys.iter())
            .map(|k| {
                let gap = b.isub(below, *k);
                let kept = b.op(Op::Shr(gap, 31));
                count = b.iadd(count, kept);
                kept
            })
            .collect();
        write(b, &kept);
        // Too many somewhere: equal ones fill what those above leave, from the first place on.
        let many = b.op(Op::Shr(count, 31));
        let (many, one) = (b.op(Op::IToF(many)), b.vfloat(-1.0));
        let many = b.fbin(FBin::Mul, many, one);
        let many = b.reduce(RedFn::Max, many);
        let none = b.float(0.0);
        let tied = b.fcmp(Cmp::Gt, many, none);
        let (yes, no) = (b.int(1), b.int(0));
        let times = b.select(tied, yes, no);
        b.repeat(times, &[], |b, _, _| {
            let above: Vec<Val> = keys
                .iter()
                .map(|k| {
                    let gap = b.isub(least, *k);
                    b.op(Op::Shr(gap, 31))
                })
                .collect();
            let mut room = above.iter().fold(keep, |r, a| b.iadd(r, *a));
            let zero = b.vint(0);
            let exact: Vec<Val> = (above.iter().zip(&kept))
                .map(|(above, kept)| {
                    // Minus 1 where it is equal, and where there is room.
                    let equal = b.isub(*kept, *above);
                    let free = b.isub(zero, room);
                    let free = b.op(Op::Shr(free, 31));
                    let takes = b.ibin(IBin::And, equal, free);
                    room = b.iadd(room, takes);
                    b.iadd(*above, takes)
                })
                .collect();
            write(b, &exact);
            Vec::new()
        });
        sorted[0]
    })
}

/// Batcher's merge exchange for a power of two: pairs of places, the greater value to the first of a pair.
fn network(n: usize) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut p = n / 2;
    while p > 0 {
        let (mut q, mut r, mut d) = (n / 2, 0, p);
        loop {
            out.extend((0..n - d).filter(|i| i & p == r).map(|i| (i, i + d)));
            if q == p {
                break;
            }
            (d, q, r) = (q - p, q / 2, p);
        }
        p /= 2;
    }
    out
}

/// What both kernels begin with.
struct Head {
    w: Val,
    to: Out,
    mask: Option<Val>,
    out: Option<Val>,
    numbers: Val,
    folds: Val,
    lo: Val,
    hi: Val,
    /// N in all lanes.
    keep: Val,
    n: usize,
}

impl Head {
    fn new(m: usize, n: usize, to: Out, lanes: usize) -> (Builder, Head) {
        let mut b = Builder::new(format!("nm_{m}"), lanes);
        let arrays = match to {
            Out::InPlace => 1,
            Out::Mask => 2,
            Out::View => 3,
        };
        let Frame { arrays, numbers, folds, lo, hi, .. } = Frame::new(&mut b, arrays);
        let w = arrays[0];
        let out = if to == Out::InPlace { Some(w) } else { arrays.get(2).copied() };
        let mask = arrays.get(1).copied();
        let keep = number(&mut b, numbers, n);
        let keep = b.op(Op::Nearest(keep));
        (b, Head { w, to, mask, out, numbers, folds, lo, hi, keep, n })
    }

    /// Writes what becomes of a vector of weights `x`, which are read again where they are not given; `kept` is all ones where
    /// they stay.
    fn write(&self, b: &mut Builder, (at, disp): (Val, i32), kept: Val, x: Option<Val>) {
        if let Some(mask) = self.mask {
            let one = b.vint(1);
            let byte = b.ibin(IBin::And, kept, one);
            b.store(StoreKind::VU8, Addr::indexed(mask, at, 1).plus(disp), byte);
        }
        if let Some(out) = self.out {
            let x = x.unwrap_or_else(|| b.load(LoadKind::VI32, Addr::indexed(self.w, at, 4).plus(4 * disp)));
            let x = if self.to == Out::InPlace {
                let (x, none) = (b.op(Op::FromBits(x)), b.vfloat(0.0));
                let x = b.fbin(FBin::Add, x, none);
                b.op(Op::ToBits(x))
            } else {
                x
            };
            let x = b.ibin(IBin::And, x, kept);
            b.store(StoreKind::VI32, Addr::indexed(out, at, 4).plus(4 * disp), x);
        }
    }

    /// The pass that does the same with each unit; `body` gets its first entry and gives magnitudes of which the greatest is the
    /// fold.
    fn pass(&self, mut b: Builder, unit: usize, body: &dyn Fn(&mut Builder, Val) -> Val) -> Result<Pass, Bug> {
        let count = b.isub(self.hi, self.lo);
        let top = b.vint(0);
        let top = b.repeat(count, &[top], |b, i, top| {
            let at = b.iadd(self.lo, i);
            let at = b.scale(at, unit as i64);
            let most = body(b, at);
            vec![b.ibin(IBin::Max, top[0], most)]
        });
        let top = b.reduce(RedFn::Max, top[0]);
        b.store(StoreKind::I32, Addr::new(self.folds), top);
        let array = |kind, written: bool| Array { kind, written, read: !written };
        let weights = Array { read: true, ..array(Kind::F32, self.to == Out::InPlace) };
        let mut arrays = vec![weights];
        arrays.extend(self.mask.map(|_| array(Kind::Bytes, true)));
        if self.to == Out::View {
            arrays.push(array(Kind::F32, true));
        }
        Ok(Pass { kernel: b.finish()?, arrays, unit, numbers: self.n + 1, folds: 1, cut: true })
    }
}

const _: () = assert!(IOTA >= 16);

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that sorts all zeros and ones sorts everything.
    #[test]
    fn the_network_sorts() {
        for n in [2usize, 4, 8, 16] {
            for bits in 0..1u32 << n {
                let mut v: Vec<u32> = (0..n).map(|i| bits >> i & 1).collect();
                for (i, j) in network(n) {
                    if v[i] < v[j] {
                        v.swap(i, j);
                    }
                }
                assert!(v.is_sorted_by(|a, b| a >= b), "{n} {bits:b}");
            }
        }
        assert_eq!((network(16).len(), network(32).len()), (63, 191));
        // Of 32: every single one, and pseudo-random patterns.
        let mut s = 1u64;
        for _ in 0..20_000 {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let mut v: Vec<u64> = (0..32).map(|i| s >> (32 + i % 32) & 1).collect();
            for (i, j) in network(32) {
                if v[i] < v[j] {
                    v.swap(i, j);
                }
            }
            assert!(v.is_sorted_by(|a, b| a >= b));
        }
    }
}
