//! Finds the magnitudes between two bounds among very many, in one pass that reads and writes nothing else.
#![allow(unsafe_code)]
use crate::share::Threads;
use std::sync::{Mutex, PoisonError};

/// Values of one task.
const BLOCK: usize = 1 << 15;
/// Most values of a task that are found; where more lie in between, bounds this wide are of no use.
const MOST: usize = BLOCK / 4;
/// So many values ahead memory is asked for: the processor by itself asks for less than it could have on its way.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 1 << 10;
/// Values that are looked at together: only where one of them lies between are they looked at one by one.
const RUN: usize = 16;

/// What lies between two magnitudes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Between {
    /// How many are greater.
    pub above: u64,
    /// The magnitudes in between as the bits of floats, in order of their places.
    pub keys: Vec<u32>,
    /// One, wherever it lies, is NaN or infinite.
    pub odd: bool,
    /// So many lie in between that not all are in `keys`.
    pub many: bool,
    /// Where tasks begin, as part and index, and how many keys were found before them.
    tasks: Vec<(usize, usize, usize)>,
    bounds: (u32, u32),
}

impl Between {
    /// Part and index of key `i`, of the parts and masks that were looked at.
    pub fn place(&self, i: usize, parts: &[&[f32]], among: &[Option<&[u8]>]) -> Option<(usize, usize)> {
        let task = self.tasks.partition_point(|t| t.2 <= i).checked_sub(1)?;
        let (p, from, before) = *self.tasks.get(task).filter(|_| i < self.keys.len())?;
        let part = parts.get(p)?;
        let mask = among.get(p).copied().flatten();
        let (low, high) = self.bounds;
        let there = |j: &usize| {
            let inside = part.get(*j).is_some_and(|x| (low..=high).contains(&(key(*x) as u32)));
            inside && mask.is_none_or(|m| m.get(*j).is_some_and(|b| *b != 0))
        };
        let at = (from..part.len().min(from + BLOCK)).filter(there).nth(i - before)?;
        Some((p, at))
    }
}

/// The magnitudes from `low` to `high`, both as the bits of a float, of some parts; of a part with a mask only those that it
/// allows. Magnitudes that are not finite are `odd` in a part without a mask, and where the mask allows them.
///
/// Blocks are shared out to threads; any number of those gives the same.
pub fn between(parts: &[&[f32]], among: &[Option<&[u8]>], (low, high): (u32, u32), threads: &dyn Threads) -> Between {
    let (low, high) = (low.min(i32::MAX as u32) as i32, high.min(i32::MAX as u32) as i32);
    let blocks: Vec<(usize, usize)> =
        parts.iter().enumerate().flat_map(|(p, v)| (0..v.len()).step_by(BLOCK).map(move |from| (p, from))).collect();
    let out = Mutex::new(Vec::new());
    // A thread takes several blocks at once, and their keys go to one array.
    let several = (blocks.len() / (8 * threads.count()).max(1)).clamp(1, 64);
    threads.run(blocks.len().div_ceil(several), &|task| {
        let (mut keys, mut sums) = (Vec::new(), Vec::new());
        for (p, from) in blocks.iter().skip(task * several).take(several).copied() {
            let Some(part) = parts.get(p) else { continue };
            let to = part.len().min(from + BLOCK);
            let mask = among.get(p).copied().flatten().map(|m| m.get(from..to).unwrap_or_default());
            let b = Bounds { low, high };
            let before = keys.len();
            sums.push(((p, from, before), b.look(&part[from..to], mask, &mut keys)));
        }
        out.lock().unwrap_or_else(PoisonError::into_inner).push((task, keys, sums));
    });
    let mut all = out.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_unstable_by_key(|(i, _, _)| *i);
    let mut sum = Between { bounds: (low as u32, high as u32), ..Between::default() };
    sum.keys.reserve(all.iter().map(|(_, keys, _)| keys.len()).sum());
    for (_, keys, sums) in all {
        for ((p, from, before), s) in sums {
            sum.above += s.above;
            sum.odd |= s.odd;
            sum.many |= s.many;
            sum.tasks.push((p, from, sum.keys.len() + before));
        }
        sum.keys.extend(keys);
    }
    sum
}

/// What a block has beside its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    above: u64,
    odd: bool,
    many: bool,
}

struct Bounds {
    low: i32,
    high: i32,
}

impl Bounds {
    /// Appends the keys of a block; at most [`MOST`] and a few.
    fn look(&self, v: &[f32], mask: Option<&[u8]>, keys: &mut Vec<u32>) -> Sums {
        #[cfg(target_arch = "x86_64")]
        {
            if has_512() {
                // SAFETY: the processor has the instructions.
                return unsafe { self.look_512(v, mask, keys) };
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has the instructions.
                return unsafe { self.look_256(v, mask, keys) };
            }
        }
        self.any(v, mask, keys)
    }

    /// As [`Bounds::any`], with vectors of 16.
    ///
    /// # Safety
    /// On a processor with AVX-512 F, BW and VL.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
    unsafe fn look_512(&self, v: &[f32], mask: Option<&[u8]>, keys: &mut Vec<u32>) -> Sums {
        use std::arch::x86_64::*;
        if mask.is_some_and(|m| m.len() < v.len()) {
            return self.any(v, mask, keys);
        }
        keys.reserve(MOST + 2 * RUN);
        let (first, mut n) = (keys.len(), 0usize);
        let (size, least) = (_mm512_set1_epi32(i32::MAX), _mm512_set1_epi32(1));
        let (low, high) = (_mm512_set1_epi32(self.low), _mm512_set1_epi32(self.high));
        let (mut above, mut most) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        let runs = v.len() / RUN;
        let mut many = false;
        for i in 0..runs {
            // SAFETY: run `i` lies inside of both; what is ahead is only a hint, wherever it lies.
            let (x, there) = unsafe {
                _mm_prefetch::<_MM_HINT_T0>(v.as_ptr().wrapping_add(i * RUN + AHEAD).cast());
                let x = _mm512_loadu_si512(v.as_ptr().add(i * RUN).cast());
                let there = match mask {
                    None => u16::MAX,
                    Some(m) => {
                        let m = _mm_loadu_si128(m.as_ptr().add(i * RUN).cast());
                        _mm_cmpneq_epi8_mask(m, _mm_setzero_si128())
                    }
                };
                (x, there)
            };
            let key = _mm512_max_epi32(_mm512_and_si512(x, size), least);
            most = _mm512_mask_max_epi32(most, there, most, key);
            let over = _mm512_mask_cmpgt_epi32_mask(there, key, high);
            above = _mm512_mask_add_epi32(above, over, above, least);
            let inside = _mm512_mask_cmpge_epi32_mask(there, key, low) & !over;
            if inside != 0 {
                if n > MOST {
                    many = true;
                    continue;
                }
                // SAFETY: there is room for `MOST` and two runs behind what was there.
                unsafe {
                    _mm512_storeu_si512(
                        keys.as_mut_ptr().add(first + n).cast(),
                        _mm512_maskz_compress_epi32(inside, key),
                    )
                };
                n += inside.count_ones() as usize;
            }
        }
        // SAFETY: so many were written.
        unsafe { keys.set_len(first + n) };
        let mut s =
            Sums { above: _mm512_reduce_add_epi32(above) as u64, odd: _mm512_reduce_max_epi32(most) >= INFINITE, many };
        let at = runs * RUN;
        let rest = self.any(&v[at..], mask.map(|m| &m[at..]), keys);
        s.above += rest.above;
        s.odd |= rest.odd;
        s
    }

    /// # Safety
    /// On a processor with AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn look_256(&self, v: &[f32], mask: Option<&[u8]>, keys: &mut Vec<u32>) -> Sums {
        self.any(v, mask, keys)
    }

    #[inline(always)]
    fn any(&self, v: &[f32], mask: Option<&[u8]>, keys: &mut Vec<u32>) -> Sums {
        // Two loops: the usual one has no mask to read.
        match mask {
            None => self.each::<false>(v, &[], keys),
            Some(m) => self.each::<true>(v, m, keys),
        }
    }

    #[inline(always)]
    fn each<const MASKED: bool>(&self, v: &[f32], mask: &[u8], out: &mut Vec<u32>) -> Sums {
        let mut s = Sums::default();
        let (runs, rest) = v.as_chunks::<RUN>();
        let (marks, last) = mask.as_chunks::<RUN>();
        let (mut above, mut odd) = ([0i32; RUN], [0i32; RUN]);
        let most = out.len() + MOST;
        for (c, run) in runs.iter().enumerate() {
            let keys: [i32; RUN] = match marks.get(c).filter(|_| MASKED) {
                Some(m) => std::array::from_fn(|i| key(run[i]) | (i32::from(m[i] != 0) - 1)),
                None => std::array::from_fn(|i| key(run[i])),
            };
            let mut inside = [0i32; RUN];
            for i in 0..RUN {
                // A value that is left out has the key -1, below all.
                above[i] += i32::from(keys[i] > self.high);
                odd[i] |= i32::from(keys[i] >= INFINITE);
                inside[i] = i32::from(keys[i] >= self.low) & i32::from(keys[i] <= self.high);
            }
            if inside.iter().fold(0, |a, b| a | b) != 0 {
                if out.len() > most {
                    s.many = true;
                    continue;
                }
                self.take(&keys, out);
            }
        }
        s.above = above.iter().map(|x| *x as u64).sum();
        s.odd = odd.iter().any(|x| *x != 0);
        let mut keys = [-1i32; RUN];
        for (i, (k, x)) in keys.iter_mut().zip(rest).enumerate() {
            if !MASKED || last.get(i).is_some_and(|m| *m != 0) {
                *k = key(*x);
            }
        }
        s.above += keys.iter().filter(|k| **k > self.high).count() as u64;
        s.odd |= keys.iter().any(|k| *k >= INFINITE);
        self.take(&keys, out);
        s
    }

    fn take(&self, keys: &[i32; RUN], out: &mut Vec<u32>) {
        out.extend(keys.iter().filter(|k| **k >= self.low && **k <= self.high).map(|k| *k as u32));
    }
}

const INFINITE: i32 = 0x7f80_0000;

/// The magnitude as an integer; 0 is the smallest magnitude there is.
#[inline(always)]
fn key(x: f32) -> i32 {
    ((x.to_bits() & 0x7fff_ffff) as i32).max(1)
}

/// Whether the processor has vectors of 16 with masks.
#[cfg(target_arch = "x86_64")]
fn has_512() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512vl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;

    /// Keys with their places, above, odd.
    type Found = (Vec<(u32, (usize, usize))>, u64, bool);

    fn plain(parts: &[&[f32]], masks: &[Option<&[u8]>], (low, high): (u32, u32)) -> Found {
        let mut out: Found = (Vec::new(), 0, false);
        for (p, part) in parts.iter().enumerate() {
            for (i, x) in part.iter().enumerate().filter(|(i, _)| masks[p].is_none_or(|m| m[*i] != 0)) {
                let k = x.abs().to_bits().max(1);
                out.1 += u64::from(k > high);
                out.2 |= !x.is_finite();
                if (low..=high).contains(&k) {
                    out.0.push((k, (p, i)));
                }
            }
        }
        out
    }

    /// Against a plain loop: any length, masks, bounds that are equal or hold everything, zeros, infinities; with every form of
    /// the loop.
    #[test]
    fn what_lies_between_is_found_in_order() {
        let mut s = 3u64;
        let mut next = || {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (s >> 33) as u32
        };
        for n in [0usize, 1, 15, 16, 17, 1000, 100_003] {
            let a: Vec<f32> = (0..n).map(|_| (next() % 64) as f32 / 8.0 - 4.0).collect();
            let mut b = a.clone();
            b.reverse();
            b.push(0.0);
            let marks: Vec<u8> = (0..b.len()).map(|_| u8::from(!next().is_multiple_of(3))).collect();
            for (low, high) in [(0.5f32, 1.0f32), (0.0, 9.0), (2.0, 2.0), (1.0, 0.5)] {
                for odd in [false, true] {
                    if odd && n > 0 {
                        b[n / 2] = f32::INFINITY;
                    }
                    let bounds = (low.to_bits().max(1), high.to_bits());
                    let (parts, masks) = ([&a[..], &b[..]], [None, Some(&marks[..])]);
                    let (want, above, spoiled) = plain(&parts, &masks, bounds);
                    for threads in [1, 3] {
                        let got = between(&parts, &masks, bounds, &Pool::new(threads));
                        assert_eq!((got.above, got.odd), (above, spoiled), "{n}");
                        assert_eq!(got.many, want.len() > 100_000, "{n}");
                        if got.many {
                            continue;
                        }
                        assert!(got.keys.iter().eq(want.iter().map(|w| &w.0)), "{n}");
                        let step = (want.len() / 50).max(1);
                        for i in (0..want.len()).step_by(step).chain(want.len().checked_sub(1)) {
                            assert_eq!(got.place(i, &parts, &masks), Some(want[i].1), "{i} of {n}");
                        }
                        assert_eq!(got.place(want.len(), &parts, &masks), None);
                    }
                    if n > MOST {
                        continue;
                    }
                    for (part, mask) in parts.into_iter().zip(masks) {
                        let of = Bounds { low: bounds.0 as i32, high: bounds.1 as i32 };
                        let (mut one, mut two) = (vec![7], vec![7]);
                        let sums = [of.any(part, mask, &mut one), of.look(part, mask, &mut two)];
                        let (want, above, odd) = plain(&[part], &[mask], bounds);
                        assert!(one == two && one[1..].iter().eq(want.iter().map(|w| &w.0)), "{n}");
                        assert_eq!(sums, [Sums { above, odd, many: false }; 2]);
                    }
                }
            }
        }
    }
}
