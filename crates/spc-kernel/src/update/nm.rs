//! N of every M neighbouring weights, by rank: how many of its group come before each weight, greatest magnitude first and
//! equal ones by their place. Ranks are counted by compares of the vector with itself, its lanes swapped; nothing is sorted.
use super::{Array, IOTA, Kind, Pass, chain::number};
use crate::ir::{Addr, Builder, IBin, LoadKind, Op, RedFn, StoreKind, Ty, Val};
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
    if !m.is_power_of_two() || m > MOST || lanes == 1 {
        return Err(Bug::new(format!("no kernel for groups of {m} in vectors of {lanes}")));
    }
    if m >= lanes && m >= 16 {
        return across(m, n, view, lanes);
    }
    let unit = m.max(lanes);
    let vectors = unit / lanes;
    let mut b = Builder::new(format!("nm_{m}"), lanes);
    let (w, mask) = (b.param("a0", Ty::Ptr), b.param("a1", Ty::Ptr));
    let out = view.then(|| b.param("a2", Ty::Ptr));
    let (numbers, folds) = (b.param("numbers", Ty::CPtr), b.param("folds", Ty::Ptr));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    b.param("end", Ty::I64);
    let keep = number(&mut b, numbers, n);
    let keep = b.op(Op::Nearest(keep));
    let zero = b.vint(0);
    let less = b.isub(zero, keep);
    // 1 in the lanes whose number has bit h: their swapped partner stands before them and wins ties.
    let iota = b.load(LoadKind::VF32, Addr::new(numbers));
    let bits: Vec<Val> = (0..lanes.trailing_zeros())
        .map(|h| {
            let place = b.op(Op::Nearest(iota));
            let moved = if h == 0 { place } else { b.op(Op::Shr(place, h as u8)) };
            let one = b.vint(1);
            b.ibin(IBin::And, moved, one)
        })
        .collect();
    let count = b.isub(hi, lo);
    let top = b.vint(0);
    let top = b.repeat(count, &[top], |b, i, carried| {
        let at = b.iadd(lo, i);
        let at = b.scale(at, unit as i64);
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
            let byte = b.ibin(IBin::And, kept, one);
            b.store(StoreKind::VU8, Addr::indexed(mask, at, 1).plus(disp(v)), byte);
            if let Some(out) = out {
                let x = b.ibin(IBin::And, all[v], kept);
                b.store(StoreKind::VI32, Addr::indexed(out, at, 4).plus(4 * disp(v)), x);
            }
        }
        vec![keys.iter().fold(carried[0], |a, k| b.ibin(IBin::Max, a, *k))]
    });
    let top = b.reduce(RedFn::Max, top[0]);
    b.store(StoreKind::I32, Addr::new(folds), top);
    let array = |kind, written| Array { kind, written };
    let mut arrays = vec![array(Kind::F32, false), array(Kind::Bytes, true)];
    if view {
        arrays.push(array(Kind::F32, true));
    }
    Ok(Pass { kernel: b.finish()?, arrays, unit, numbers: n + 1, folds: 1, cut: true })
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
/// of each. One compare of two places then counts for the ranks of both.
fn across(m: usize, n: usize, view: bool, lanes: usize) -> Result<Pass, Bug> {
    let unit = m * lanes;
    let mut b = Builder::new(format!("nm_{m}"), lanes);
    let (w, mask) = (b.param("a0", Ty::Ptr), b.param("a1", Ty::Ptr));
    let out = view.then(|| b.param("a2", Ty::Ptr));
    let (numbers, folds) = (b.param("numbers", Ty::CPtr), b.param("folds", Ty::Ptr));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    b.param("end", Ty::I64);
    let keep = number(&mut b, numbers, n);
    let keep = b.op(Op::Nearest(keep));
    let count = b.isub(hi, lo);
    let top = b.vint(0);
    let top = b.repeat(count, &[top], |b, i, carried| {
        let at = b.iadd(lo, i);
        let at = b.scale(at, unit as i64);
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
        let most = keys.iter().fold(carried[0], |a, k| b.ibin(IBin::Max, a, *k));
        // How many come before, less N: of the places before, all but those that are smaller.
        let mut ranks: Vec<Val> = (0..m)
            .map(|j| {
                let before = b.vint(j as i32);
                b.isub(before, keep)
            })
            .collect();
        for i in 0..m {
            for j in i + 1..m {
                let gap = b.isub(keys[i], keys[j]);
                // Minus 1 where j comes first.
                let first = b.op(Op::Shr(gap, 31));
                ranks[i] = b.isub(ranks[i], first);
                ranks[j] = b.iadd(ranks[j], first);
            }
        }
        for part in 0..m / lanes {
            let kept: Vec<Val> = (0..lanes)
                .map(|i| {
                    let kept = b.op(Op::Shr(ranks[part * lanes + i], 31));
                    b.op(Op::FromBits(kept))
                })
                .collect();
            for (g, kept) in transpose(b, kept).into_iter().enumerate() {
                let (kept, one) = (b.op(Op::ToBits(kept)), b.vint(1));
                let byte = b.ibin(IBin::And, kept, one);
                b.store(StoreKind::VU8, Addr::indexed(mask, at, 1).plus(place(g, part)), byte);
                if let Some(out) = out {
                    let x = b.load(LoadKind::VI32, Addr::indexed(w, at, 4).plus(4 * place(g, part)));
                    let x = b.ibin(IBin::And, x, kept);
                    b.store(StoreKind::VI32, Addr::indexed(out, at, 4).plus(4 * place(g, part)), x);
                }
            }
        }
        vec![most]
    });
    let top = b.reduce(RedFn::Max, top[0]);
    b.store(StoreKind::I32, Addr::new(folds), top);
    let array = |kind, written| Array { kind, written };
    let mut arrays = vec![array(Kind::F32, false), array(Kind::Bytes, true)];
    if view {
        arrays.push(array(Kind::F32, true));
    }
    Ok(Pass { kernel: b.finish()?, arrays, unit, numbers: n + 1, folds: 1, cut: true })
}

const _: () = assert!(IOTA >= 16);
