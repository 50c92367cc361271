//! Finds the magnitudes between two bounds among very many, in one pass that reads and writes nothing else.
#![allow(unsafe_code)]
use crate::share::Threads;
use std::sync::{Mutex, PoisonError};

/// Values of one task.
const BLOCK: usize = 1 << 15;
/// Most values of a task that are found; where more lie in between, bounds this wide are of no use.
const MOST: usize = BLOCK / 4;
/// Values that are looked at together: only where one of them lies between are they looked at one by one.
const RUN: usize = 16;

/// What lies between two magnitudes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Between {
    /// How many are greater.
    pub above: u64,
    /// Magnitude as the bits of a float, part and index of each in between, in order.
    pub found: Vec<(u32, (usize, usize))>,
    /// One, wherever it lies, is NaN or infinite.
    pub odd: bool,
    /// So many lie in between that not all are in `found`.
    pub many: bool,
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
    threads.run(blocks.len(), &|i| {
        let Some((p, from)) = blocks.get(i).copied() else { return };
        let Some(part) = parts.get(p) else { return };
        let to = part.len().min(from + BLOCK);
        let mask = among.get(p).copied().flatten().map(|m| m.get(from..to).unwrap_or_default());
        let b = Block { part: p, from, low, high };
        let found = b.look(&part[from..to], mask);
        out.lock().unwrap_or_else(PoisonError::into_inner).push((i, found));
    });
    let mut all = out.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_unstable_by_key(|(i, _)| *i);
    let mut sum = Between::default();
    for (_, b) in all {
        sum.above += b.above;
        sum.odd |= b.odd;
        sum.many |= b.many;
        sum.found.extend(b.found);
    }
    sum
}

struct Block {
    part: usize,
    from: usize,
    low: i32,
    high: i32,
}

impl Block {
    fn look(&self, v: &[f32], mask: Option<&[u8]>) -> Between {
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512bw") {
                // SAFETY: the processor has the instructions.
                return unsafe { self.look_512(v, mask) };
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has the instructions.
                return unsafe { self.look_256(v, mask) };
            }
        }
        self.any(v, mask)
    }

    /// # Safety
    /// On a processor with AVX-512 F and BW.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn look_512(&self, v: &[f32], mask: Option<&[u8]>) -> Between {
        self.any(v, mask)
    }

    /// # Safety
    /// On a processor with AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn look_256(&self, v: &[f32], mask: Option<&[u8]>) -> Between {
        self.any(v, mask)
    }

    #[inline(always)]
    fn any(&self, v: &[f32], mask: Option<&[u8]>) -> Between {
        // Two loops: the usual one has no mask to read.
        match mask {
            None => self.each(v, &[]),
            Some(m) => self.each(v, m),
        }
    }

    #[inline(always)]
    fn each(&self, v: &[f32], mask: &[u8]) -> Between {
        let mut out = Between::default();
        let masked = !mask.is_empty();
        let (runs, rest) = v.as_chunks::<RUN>();
        let (marks, last) = mask.as_chunks::<RUN>();
        let (mut above, mut odd) = ([0i32; RUN], [0i32; RUN]);
        for (c, run) in runs.iter().enumerate() {
            let keys = match marks.get(c).filter(|_| masked) {
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
                self.take(&keys, c * RUN, &mut out);
            }
        }
        out.above = above.iter().map(|x| *x as u64).sum();
        out.odd = odd.iter().any(|x| *x != 0);
        let mut keys = [-1i32; RUN];
        for (i, (k, x)) in keys.iter_mut().zip(rest).enumerate() {
            if !masked || last.get(i).is_some_and(|m| *m != 0) {
                *k = key(*x);
            }
        }
        out.above += keys.iter().filter(|k| **k > self.high).count() as u64;
        out.odd |= keys.iter().any(|k| *k >= INFINITE);
        self.take(&keys, runs.len() * RUN, &mut out);
        out
    }

    fn take(&self, keys: &[i32; RUN], at: usize, out: &mut Between) {
        if out.found.len() > MOST {
            out.many = true;
            return;
        }
        for (i, k) in keys.iter().enumerate() {
            if *k >= self.low && *k <= self.high {
                out.found.push((*k as u32, (self.part, self.from + at + i)));
            }
        }
    }
}

const INFINITE: i32 = 0x7f80_0000;

/// The magnitude as an integer; 0 is the smallest magnitude there is.
#[inline(always)]
fn key(x: f32) -> i32 {
    ((x.to_bits() & 0x7fff_ffff) as i32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;

    /// Against a plain loop: any length, masks, bounds that are equal or hold everything, zeros, infinities.
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
                    let (low, high) = (low.to_bits().max(1), high.to_bits());
                    let mut want = Between::default();
                    let masks = [None, Some(&marks[..])];
                    for (p, part) in [&a, &b].into_iter().enumerate() {
                        for (i, x) in part.iter().enumerate().filter(|(i, _)| masks[p].is_none_or(|m| m[*i] != 0)) {
                            let k = x.abs().to_bits().max(1);
                            want.above += u64::from(k > high);
                            want.odd |= !x.is_finite();
                            if (low..=high).contains(&k) {
                                want.found.push((k, (p, i)));
                            }
                        }
                    }
                    for threads in [1, 3] {
                        let got = between(&[&a, &b], &masks, (low, high), &Pool::new(threads));
                        assert_eq!((got.above, got.odd), (want.above, want.odd), "{n}");
                        assert_eq!(got.many, want.found.len() > 100_000, "{n}");
                        assert!(got.many || got.found == want.found, "{n}");
                    }
                    if n > MOST {
                        continue;
                    }
                    let block = Block { part: 0, from: 0, low: low as i32, high: high as i32 };
                    assert_eq!(block.any(&a, None).found.len(), want.found.iter().filter(|f| f.1.0 == 0).count());
                }
            }
        }
    }
}
