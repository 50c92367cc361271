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
    /// The key as an integer that orders with its sign.
    #[inline(always)]
    fn signed(self, x: f32) -> i32 {
        match self {
            Keys::Magnitude => self.of(x) as i32,
            Keys::Value => (self.of(x) ^ 0x8000_0000) as i32,
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
const SAMPLE: usize = 1 << 15;

/// The pivot in one reading: a sample gives two keys around it; what lies above is counted, what lies between is collected.
/// Nothing where the pivot is not between them.
fn sampled(parts: &[&[f32]], keys: Keys, k: usize, total: usize) -> Result<Option<Pivot>, (usize, usize)> {
    let stride = total / SAMPLE;
    let mut sample: Vec<i32> = parts.iter().flat_map(|p| p.iter().step_by(stride)).map(|x| keys.signed(*x)).collect();
    let n = sample.len();
    // Where the pivot stands in the sample, and five standard deviations to either side.
    let place = (k as f64 / total as f64 * n as f64) as usize;
    let off = (5.0 * (n as f64).sqrt() / 2.0) as usize + 1;
    let descending = |a: &i32, b: &i32| b.cmp(a);
    let high = match place.checked_sub(off) {
        Some(i) => *sample.select_nth_unstable_by(i.min(n - 1), descending).1,
        None => i32::MAX,
    };
    let low = if place + off < n { *sample.select_nth_unstable_by(place + off, descending).1 } else { i32::MIN };
    let (mut above, mut most) = (0usize, i32::MIN);
    let mut found: Vec<(u32, (usize, usize))> = Vec::new();
    for (p, part) in parts.iter().enumerate() {
        for (c, run) in part.chunks(RUN).enumerate() {
            let (mut over, mut between) = (0i32, 0i32);
            for x in run {
                let key = keys.signed(*x);
                over += i32::from(key > high);
                between |= i32::from(key >= low) & i32::from(key <= high);
                most = most.max(key);
            }
            above += over as usize;
            if between != 0 {
                for (i, x) in run.iter().enumerate() {
                    let key = keys.signed(*x);
                    if key >= low && key <= high {
                        found.push((keys.of(*x), (p, c * RUN + i)));
                    }
                }
            }
        }
    }
    if keys == Keys::Magnitude && most >= 0x7f80_0000 {
        let bad = |(p, part): (usize, &&[f32])| part.iter().position(|x| !x.is_finite()).map(|i| (p, i));
        return Err(parts.iter().enumerate().find_map(bad).unwrap_or_default());
    }
    if k <= above || k > above + found.len() {
        return Ok(None);
    }
    Ok(Some(among_found(&mut found, k - above)))
}

/// Values that are looked at together.
const RUN: usize = 16;

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
    if total >= SAMPLED && among.is_empty() {
        match sampled(parts, keys, k, total)? {
            Some(p) => return Ok(Some(p)),
            // An unlucky sample, or fewer than k.
            None if k > total => return Ok(None),
            None => {}
        }
    }
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
