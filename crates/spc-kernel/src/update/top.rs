//! The greatest k of any number of values, exactly and without a sort: a histogram of the upper bits, then the few values in the
//! bin where the count runs out. Ties go to the lower index.

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
/// One of so many cache lines is in the sample, of so many values each.
const STRIDE: usize = 89;
const LINE: usize = 16;
/// Bits of a magnitude that its place in the sample does not tell: a bin is at most 2^-8 of its values wide.
const FINE: u32 = 15;

/// Two magnitudes, as the bits of floats, between which the pivot of the `k` greatest is, nearly always: from a sample of those
/// that masks allow, five standard deviations to either side. None for few values, for which [`pivot`] is as fast.
pub fn bracket(parts: &[&[f32]], among: &[Option<&[u8]>], k: usize) -> Option<(u32, u32)> {
    let total: usize = parts.iter().map(|p| p.len()).sum();
    if total < SAMPLED || k == 0 || k > total {
        return None;
    }
    let (mut counts, mut n) = (vec![0u32; 1 << (31 - FINE)], 0usize);
    let mut see = |x: &f32, there: u32| {
        counts[(Keys::Magnitude.of(*x) >> FINE) as usize] += there;
        n += there as usize;
    };
    for (p, part) in parts.iter().enumerate() {
        let lines = part.as_chunks::<LINE>().0;
        match among.get(p).copied().flatten() {
            None => (0..lines.len()).step_by(STRIDE).for_each(|i| lines[i].iter().for_each(|x| see(x, 1))),
            Some(m) => {
                for (x, m) in lines.iter().zip(m.as_chunks::<LINE>().0).step_by(STRIDE) {
                    x.iter().zip(m).for_each(|(x, m)| see(x, u32::from(*m != 0)));
                }
            }
        }
    }
    let (place, off) = if among.iter().all(Option::is_none) {
        let share = k as f64 / total as f64;
        ((share * n as f64) as usize, (5.0 * (n as f64 * share * (1.0 - share)).sqrt()) as usize + 2)
    } else {
        // How many are allowed is not known; of those that are, the sample has as many of a stride.
        (k / STRIDE, (5.0 * ((k / STRIDE) as f64).sqrt()) as usize + 3)
    };
    let (mut low, mut high, mut seen) = (0, None, 0usize);
    for (bin, count) in counts.iter().enumerate().rev() {
        seen += *count as usize;
        if high.is_none() && seen + off > place {
            high = Some(((bin as u32) << FINE) | ((1 << FINE) - 1));
        }
        if seen > place + off {
            // Zeros may be very many: where they would all be inside, only what is greater is.
            low = (bin as u32).max(1) << FINE;
            break;
        }
    }
    let high = if place < off { None } else { high };
    Some((low, high.unwrap_or(f32::MAX.to_bits())))
}

/// Where the `k` greatest run out among magnitudes of which `above` are greater than all in `keys`, which has all others in the
/// [`bracket`] in order of their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    pub key: u32,
    /// Which of `keys` is the last that is chosen.
    pub at: usize,
    /// True where a later one is as great, and left out.
    pub cuts: bool,
}

/// None where it is not among `keys`.
pub fn last_of(keys: &[u32], above: u64, k: usize) -> Option<Last> {
    let rest = k.checked_sub(usize::try_from(above).ok()?).filter(|r| (1..=keys.len()).contains(r))?;
    let mut sorted = keys.to_vec();
    let key = *sorted.select_nth_unstable_by(rest - 1, |a, b| b.cmp(a)).1;
    // Of equal ones those that come first.
    let greater = keys.iter().filter(|k| **k > key).count();
    let mut equal = (0..keys.len()).filter(|i| keys[*i] == key).skip(rest - greater - 1);
    Some(Last { key, at: equal.next()?, cuts: equal.next().is_some() })
}

/// The pivot of the `rest` greatest of these.
fn among_found(found: &mut [(u32, (usize, usize))], rest: usize) -> Pivot {
    let order = |a: &(u32, (usize, usize)), b: &(u32, (usize, usize))| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
    let (_, (key, last), after) = found.select_nth_unstable_by(rest - 1, order);
    let cuts = after.iter().any(|(k, _)| k == key);
    Pivot { key: *key, last: *last, cuts }
}

/// Counts keys by bin, of those that masks allow.
fn tally((parts, among): (&[&[f32]], &[&[u8]]), keys: Keys, counts: &mut [u32], bin: impl Fn(u32) -> Option<u32>) {
    for (p, part) in parts.iter().enumerate() {
        let mut add = |x: &f32| {
            if let Some(c) = bin(keys.of(*x)).and_then(|b| counts.get_mut(b as usize)) {
                *c += 1;
            }
        };
        match among.get(p) {
            None => part.iter().for_each(add),
            Some(m) => part.iter().zip(*m).filter(|(_, m)| **m != 0).for_each(|(x, _)| add(x)),
        }
    }
}

/// The bin in which the greatest run out, and how many of it are left to take.
fn run_out(counts: &[u32], rest: &mut usize) -> Option<u32> {
    for (i, n) in counts.iter().enumerate().rev() {
        if *rest <= *n as usize {
            return Some(i as u32);
        }
        *rest -= *n as usize;
    }
    None
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
        tally((parts, among), keys, &mut counts, |key| Some(key >> SHIFT));
        if keys == Keys::Magnitude && counts[INFINITE..].iter().any(|n| *n != 0) {
            let bad = |(p, part): (usize, &&[f32])| {
                part.iter().enumerate().position(|(i, x)| !x.is_finite() && allowed(p, i)).map(|i| (p, i))
            };
            return Err(parts.iter().enumerate().find_map(bad).unwrap_or_default());
        }
        let Some(upper) = run_out(&counts, &mut rest) else { return Ok(None) };
        // The same of the lower bits, then the place of the last that stays: nothing is kept of any number of ties.
        counts.fill(0);
        tally((parts, among), keys, &mut counts, |key| (key >> SHIFT == upper).then_some(key & ((1 << SHIFT) - 1)));
        let Some(lower) = run_out(&counts, &mut rest) else { return Ok(None) };
        let (key, cuts) = (upper << SHIFT | lower, rest < counts[lower as usize] as usize);
        for (p, part) in parts.iter().enumerate() {
            for (c, run) in part.chunks(64).enumerate() {
                if !run.iter().fold(false, |a, x| a | (keys.of(*x) == key)) {
                    continue;
                }
                for (i, x) in run.iter().enumerate() {
                    if keys.of(*x) == key && allowed(p, c * 64 + i) {
                        rest -= 1;
                        if rest == 0 {
                            return Ok(Some(Pivot { key, last: (p, c * 64 + i), cuts }));
                        }
                    }
                }
            }
        }
        return Ok(None);
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
        for round in 0..30 {
            let n = if round == 0 {
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
                        let masks: Vec<Option<&[u8]>> =
                            if among.is_empty() { vec![None, None] } else { among.iter().map(|m| Some(*m)).collect() };
                        if let (Keys::Magnitude, Some((low, high))) = (keys, bracket(&parts, &masks, k)) {
                            let mut inside: Vec<_> =
                                all.iter().filter(|(k, _)| (low..=high).contains(k)).copied().collect();
                            inside.sort_by_key(|f| f.1);
                            let above = all.iter().filter(|(k, _)| *k > high).count();
                            let want = pivot(&parts, &among, keys, k).unwrap();
                            let keys: Vec<u32> = inside.iter().map(|f| f.0).collect();
                            let got = last_of(&keys, above as u64, k);
                            let got = got.map(|l| Pivot { key: l.key, last: inside[l.at].1, cuts: l.cuts });
                            // Not among zeros, of which a bracket has none, and not of fewer than k.
                            let zero = want.is_none_or(|p| p.key < 1 << FINE);
                            assert!(zero && got.is_none() || got == want, "{k} of {n}");
                            assert!(coarse || inside.len() < n / 8, "{} of {n}", inside.len());
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
