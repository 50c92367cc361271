//! The greatest k of any number of values, exactly and without a sort: a histogram of the upper bits, then the few values in the
//! bin where the count runs out. Ties go to the lower index.

use super::{Chain, Fold, FoldKind, Kind, Node, Pass};
use spc_base::Bug;
use spc_ir::{BinFn, DType, ScalarExpr as S, UnFn};

/// How floats are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// By magnitude; 0 is the smallest magnitude there is.
    Magnitude,
    /// By value; -0 is 0.
    Value,
}

impl Keys {
    /// An integer that orders as the float does.
    #[inline(always)]
    pub fn of(self, x: f32) -> u32 {
        match self {
            Keys::Magnitude => (x.to_bits() & 0x7fff_ffff).max(1),
            Keys::Value => {
                let bits = (x + 0.0).to_bits();
                // All bits of negative numbers turned round, the sign of others set.
                bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000)
            }
        }
    }
}

impl Keys {
    /// The float of a key; of magnitude 0 the least number.
    pub fn float(self, key: u32) -> f32 {
        match self {
            Keys::Magnitude => f32::from_bits(key),
            Keys::Value if key >> 31 == 1 => f32::from_bits(key ^ 0x8000_0000),
            Keys::Value => f32::from_bits(!key),
        }
    }
}

/// Which values are chosen: those of a greater key, and those of this key up to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pivot {
    pub key: u32,
    /// Values of the key itself that are chosen have places up to this one; the part and the index in it.
    pub last: (usize, usize),
    /// True where values of the key are left out.
    pub cuts: bool,
}

impl Pivot {
    /// Nothing is chosen.
    pub const NONE: Pivot = Pivot { key: u32::MAX, last: (0, 0), cuts: true };

    /// Whether the value of this key at this place is chosen.
    #[inline(always)]
    pub fn takes(&self, key: u32, place: (usize, usize)) -> bool {
        key > self.key || (key == self.key && (!self.cuts || (self != &Pivot::NONE && place <= self.last)))
    }
}

const SHIFT: u32 = 16;
/// The bin of infinity.
const INFINITE: usize = 0x7f80;
/// From here on a histogram of 2^16 bins is smaller than what it counts.
const LARGE: usize = 1 << 15;

/// From here on a sample tells between which values the pivot is, nearly always.
const SAMPLED: usize = 1 << 18;
/// One of so many values is in the sample.
const STRIDE: usize = 89;

/// Two magnitudes between which the pivot of the `k` greatest is, nearly always: from a sample, five standard deviations to
/// either side. None for few values, for which [`pivot`] is as fast.
pub fn bracket(parts: &[&[f32]], k: usize) -> Option<(f32, f32)> {
    let total: usize = parts.iter().map(|p| p.len()).sum();
    if total < SAMPLED || k == 0 || k > total {
        return None;
    }
    let keys = Keys::Magnitude;
    let mut sample: Vec<u32> = parts.iter().flat_map(|p| p.iter().step_by(STRIDE)).map(|x| keys.of(*x)).collect();
    let n = sample.len();
    let share = k as f64 / total as f64;
    let place = (share * n as f64) as usize;
    let off = (5.0 * (n as f64 * share * (1.0 - share)).sqrt()) as usize + 2;
    let mut at = |i: usize| f32::from_bits(*sample.select_nth_unstable_by(i, |a, b| b.cmp(a)).1);
    let high = place.checked_sub(off).map_or(f32::INFINITY, |i| at(i.min(n - 1)));
    let low = if place + off < n { at(place + off) } else { 0.0 };
    // The least number stands for 0, too.
    Some((if low <= f32::from_bits(1) { 0.0 } else { low }, high))
}

/// The same among the values that masks allow, however many these are.
pub fn bracket_among(parts: &[&[f32]], among: &[&[u8]], k: usize) -> Option<(f32, f32)> {
    let total: usize = parts.iter().map(|p| p.len()).sum();
    if total < SAMPLED || k == 0 || k > total {
        return None;
    }
    let one = |(p, a): (&&[f32], &&[u8])| -> Vec<u32> {
        let both = p.iter().zip(*a).step_by(STRIDE);
        both.filter(|(_, a)| **a != 0).map(|(x, _)| Keys::Magnitude.of(*x)).collect()
    };
    let mut sample: Vec<u32> = parts.iter().zip(among).flat_map(one).collect();
    let place = k / STRIDE;
    let off = (5.0 * (place as f64).sqrt()) as usize + 3;
    let n = sample.len();
    let mut at = |i: usize| f32::from_bits(*sample.select_nth_unstable_by(i, |a, b| b.cmp(a)).1);
    let high = place.checked_sub(off).map_or(f32::INFINITY, |i| if i < n { at(i) } else { 0.0 });
    let low = if place + off < n { at(place + off) } else { 0.0 };
    Some((if low <= f32::from_bits(1) { 0.0 } else { low }, high))
}

/// The pivot of the `k` greatest magnitudes, given which values are in the [`bracket`] and how many are above it. None where it
/// is not inside.
pub fn pivot_between(parts: &[&[f32]], inside: &[&[u8]], above: usize, k: usize) -> Option<Pivot> {
    let mut found: Vec<(u32, (usize, usize))> = Vec::new();
    for (p, (part, flags)) in parts.iter().zip(inside).enumerate() {
        let (runs, rest) = flags.as_chunks::<16>();
        let mut take = |i: usize, f: u8| {
            if let (true, Some(x)) = (f != 0, part.get(i)) {
                found.push((Keys::Magnitude.of(*x), (p, i)));
            }
        };
        for (c, run) in runs.iter().enumerate() {
            if u128::from_ne_bytes(*run) != 0 {
                run.iter().zip(c * 16..).for_each(|(f, i)| take(i, *f));
            }
        }
        rest.iter().zip(runs.len() * 16..).for_each(|(f, i)| take(i, *f));
    }
    let rest = k.checked_sub(above).filter(|r| (1..=found.len()).contains(r))?;
    Some(among_found(&mut found, rest))
}

/// Which magnitudes are between numbers 0 and 1. Arrays: values, flags (written), and, where `among`, the mask of those that
/// count. Folds: how many are above, and the greatest of all.
///
/// # Errors
/// A bug where the kernel does not verify.
pub fn between_pass(lanes: usize, among: bool) -> Result<Pass, Bug> {
    let mut c = Chain::default();
    let (x, flags) = (c.array(Kind::F32), c.array(Kind::Bytes));
    let allowed = among.then(|| c.array(Kind::Bytes)).map(|a| c.node(Node::Array(a)));
    let (x, low, high) = (c.node(Node::Array(x)), c.node(Node::Number(0)), c.node(Node::Number(1)));
    let size = c.map(S::un(UnFn::Abs, S::Arg(0)), vec![x], DType::F32);
    let inside = S::bin(BinFn::And, S::bin(BinFn::Ge, S::Arg(0), S::Arg(1)), S::bin(BinFn::Le, S::Arg(0), S::Arg(2)));
    let mut inside = c.map(inside, vec![size, low, high], DType::Bool);
    let mut above = c.map(S::bin(BinFn::Gt, S::Arg(0), S::Arg(1)), vec![size, high], DType::Bool);
    if let Some(a) = allowed {
        let both = S::bin(BinFn::And, S::Arg(0), S::Arg(1));
        inside = c.map(both.clone(), vec![inside, a], DType::Bool);
        above = c.map(both, vec![above, a], DType::Bool);
    }
    c.store(flags, inside);
    c.folds.push(Fold { kind: FoldKind::Count, value: above, guard: None });
    c.folds.push(Fold { kind: FoldKind::Max, value: size, guard: None });
    c.pass(if among { "between_among" } else { "between" }, lanes)
}

/// The pivot of the `rest` greatest of these.
fn among_found(found: &mut [(u32, (usize, usize))], rest: usize) -> Pivot {
    let order = |a: &(u32, (usize, usize)), b: &(u32, (usize, usize))| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
    let (_, (key, last), after) = found.select_nth_unstable_by(rest - 1, order);
    let cuts = after.iter().any(|(k, _)| k == key);
    Pivot { key: *key, last: *last, cuts }
}

/// The pivot of the `k` greatest of several parts, of those that `among` allows (all, where it is empty). Places are ordered by
/// part, then by index. Nothing where fewer than k are there: all are chosen.
///
/// # Errors
/// The place of a magnitude that is NaN or infinite, among those allowed.
pub fn pivot(parts: &[&[f32]], among: &[&[u8]], keys: Keys, k: usize) -> Result<Option<Pivot>, (usize, usize)> {
    let allowed = |p: usize, i: usize| among.get(p).is_none_or(|m| m.get(i).is_some_and(|b| *b != 0));
    if k == 0 {
        return Ok(Some(Pivot::NONE));
    }
    let total: usize = parts.iter().map(|p| p.len()).sum();
    let mut found: Vec<(u32, (usize, usize))> = Vec::new();
    let mut rest = k;
    if total < LARGE {
        for (p, part) in parts.iter().enumerate() {
            for (i, x) in part.iter().enumerate() {
                if allowed(p, i) {
                    if keys == Keys::Magnitude && !x.is_finite() {
                        return Err((p, i));
                    }
                    found.push((keys.of(*x), (p, i)));
                }
            }
        }
    } else {
        let mut counts = vec![0u32; 1 << SHIFT];
        for (p, part) in parts.iter().enumerate() {
            match among.get(p) {
                None => part.iter().for_each(|x| counts[(keys.of(*x) >> SHIFT) as usize] += 1),
                Some(m) => {
                    part.iter().zip(*m).for_each(|(x, b)| counts[(keys.of(*x) >> SHIFT) as usize] += u32::from(*b != 0))
                }
            }
        }
        if keys == Keys::Magnitude && counts[INFINITE..].iter().any(|n| *n != 0) {
            let bad = |(p, part): (usize, &&[f32])| {
                part.iter().enumerate().position(|(i, x)| !x.is_finite() && allowed(p, i)).map(|i| (p, i))
            };
            return Err(parts.iter().enumerate().find_map(bad).unwrap_or_default());
        }
        let mut bin = None;
        for (i, n) in counts.iter().enumerate().rev() {
            if rest <= *n as usize {
                bin = Some(i as u32);
                break;
            }
            rest -= *n as usize;
        }
        let Some(bin) = bin else { return Ok(None) };
        for (p, part) in parts.iter().enumerate() {
            for (c, run) in part.chunks(64).enumerate() {
                let here = run.iter().fold(false, |a, x| a | (keys.of(*x) >> SHIFT == bin));
                if !here {
                    continue;
                }
                for (i, x) in run.iter().enumerate() {
                    let (key, i) = (keys.of(*x), c * 64 + i);
                    if key >> SHIFT == bin && allowed(p, i) {
                        found.push((key, (p, i)));
                    }
                }
            }
        }
    }
    if found.len() < rest {
        return Ok(None);
    }
    Ok(Some(among_found(&mut found, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(s: &mut u64) -> u32 {
        *s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*s >> 33) as u32
    }

    /// Against a sort, with many ties, both sizes, both orders, with and without a mask.
    #[test]
    fn the_pivot_is_that_of_a_sort() {
        let mut s = 7;
        for round in 0..60 {
            let n = if round % 30 == 0 {
                300_000
            } else if round % 10 == 0 {
                40_000
            } else {
                1 + next(&mut s) as usize % 300
            };
            let coarse = round % 2 == 0;
            let value = |s: &mut u64| {
                let x = next(s) as f32 / (1u32 << 30) as f32 - 1.0;
                if coarse { (x * 4.0).round() / 4.0 } else { x }
            };
            let a: Vec<f32> = (0..n / 3).map(|_| value(&mut s)).collect();
            let b: Vec<f32> = (0..n - n / 3).map(|_| value(&mut s)).collect();
            let masks: Vec<Vec<u8>> = [&a, &b]
                .iter()
                .map(|p| p.iter().map(|_| u8::from(!next(&mut s).is_multiple_of(3))).collect())
                .collect();
            for keys in [Keys::Magnitude, Keys::Value] {
                for among in [Vec::new(), masks.iter().map(Vec::as_slice).collect::<Vec<_>>()] {
                    let parts = [&a[..], &b[..]];
                    let mut all: Vec<(u32, (usize, usize))> = Vec::new();
                    for (p, part) in parts.iter().enumerate() {
                        for (i, x) in part.iter().enumerate() {
                            if among.get(p).is_none_or(|m| m[i] != 0) {
                                all.push((keys.of(*x), (p, i)));
                            }
                        }
                    }
                    all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
                    for k in [0, 1, all.len() / 3, all.len(), all.len() + 1] {
                        if let (Keys::Magnitude, true, Some((low, high))) = (keys, among.is_empty(), bracket(&parts, k))
                        {
                            let inside =
                                |p: &[f32]| p.iter().map(|x| u8::from(x.abs() >= low && x.abs() <= high)).collect();
                            let flags: Vec<Vec<u8>> = parts.iter().map(|p| inside(p)).collect();
                            let flags: Vec<&[u8]> = flags.iter().map(Vec::as_slice).collect();
                            let above = a.iter().chain(&b).filter(|x| x.abs() > high).count();
                            assert_eq!(pivot_between(&parts, &flags, above, k), pivot(&parts, &[], keys, k).unwrap());
                        }
                        if let (Keys::Magnitude, [m, q], Some((low, high))) =
                            (keys, &among[..], bracket_among(&parts, &among, k))
                        {
                            let inside = |(x, m): (&f32, &u8)| u8::from(*m != 0 && x.abs() >= low && x.abs() <= high);
                            let flags =
                                [(&a, m), (&b, q)].map(|(p, m)| p.iter().zip(*m).map(inside).collect::<Vec<u8>>());
                            let flags: Vec<&[u8]> = flags.iter().map(Vec::as_slice).collect();
                            let over = |(x, m): (&f32, &u8)| *m != 0 && x.abs() > high;
                            let above = a.iter().zip(*m).chain(b.iter().zip(*q)).filter(|p| over(*p)).count();
                            let want = pivot(&parts, &among, keys, k).unwrap();
                            let got = pivot_between(&parts, &flags, above, k);
                            // Of fewer than k all are chosen, which the bracket cannot say.
                            assert!(want.is_none() && got.is_none() || got == want, "{k} of {n}");
                        }
                        let found = pivot(&parts, &among, keys, k).unwrap();
                        assert_eq!(found.is_none(), k > all.len());
                        let Some(pivot) = found else { continue };
                        for (i, (key, place)) in all.iter().enumerate() {
                            assert_eq!(pivot.takes(*key, *place), i < k, "{keys:?} {k} of {n}: {pivot:?}");
                        }
                    }
                }
            }
        }
        assert_eq!(Keys::Value.of(-0.0), Keys::Value.of(0.0));
        assert!(Keys::Value.of(-1.0) < Keys::Value.of(-0.5) && Keys::Value.of(0.0) < Keys::Value.of(1e-40));
    }
}
