//! Orthogonal matrices that are quick to apply: random signs, a small orthogonal matrix within blocks, and a Hadamard matrix across
//! them. For a power of two it is the randomised Hadamard matrix of QuaRot (Ashkboos et al. 2024).

/// The odd part of a size may be as large as this.
pub const LARGEST_ODD: usize = 1024;

/// An orthogonal matrix of some size, made from a seed.
pub struct Turn {
    signs: Vec<f64>,
    /// Size of the small matrix, and the matrix, row-major.
    odd: usize,
    small: Vec<f64>,
}

/// SplitMix64 (Steele et al. 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// About normal: a sum of twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }
}

impl Turn {
    /// None where the odd part of the size is too large, or the size 0.
    pub fn new(size: usize, seed: u64) -> Option<Turn> {
        let odd = size.checked_shr(size.trailing_zeros()).filter(|o| (1..=LARGEST_ODD).contains(o))?;
        let mut random = Random(seed ^ (size as u64).wrapping_mul(0xD1B5_4A32_D192_ED03));
        let signs = (0..size).map(|_| if random.next() >> 63 == 0 { 1.0 } else { -1.0 }).collect();
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(odd);
        while rows.len() < odd {
            let mut v: Vec<f64> = (0..odd).map(|_| random.normal()).collect();
            // Twice, so that rounding leaves nothing of the others.
            for r in rows.iter().chain(rows.iter()) {
                let dot: f64 = r.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(r).for_each(|(v, r)| *v -= dot * r);
            }
            let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            if norm > 1e-3 {
                v.iter_mut().for_each(|x| *x /= norm);
                rows.push(v);
            }
        }
        Some(Turn { signs, odd, small: rows.concat() })
    }

    /// A row vector times the matrix. `v` has the matrix's size.
    pub fn apply(&self, v: &mut [f64]) {
        v.iter_mut().zip(&self.signs).for_each(|(v, s)| *v *= s);
        let mut block = vec![0.0; self.odd];
        for part in v.chunks_exact_mut(self.odd) {
            block.fill(0.0);
            for (x, row) in part.iter().zip(self.small.chunks_exact(self.odd)) {
                block.iter_mut().zip(row).for_each(|(b, r)| *b += x * r);
            }
            part.copy_from_slice(&block);
        }
        let mut step = self.odd;
        while step < v.len() {
            for pair in v.chunks_exact_mut(2 * step) {
                let (a, b) = pair.split_at_mut(step);
                for (a, b) in a.iter_mut().zip(b) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            step *= 2;
        }
        let scale = ((v.len() / self.odd) as f64).sqrt();
        v.iter_mut().for_each(|x| *x /= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_orthogonal_and_of_length_one() {
        for size in [1usize, 2, 3, 8, 12, 20, 48] {
            let t = Turn::new(size, 7).unwrap();
            let row = |i: usize| {
                let mut v = vec![0.0; size];
                v[i] = 1.0;
                t.apply(&mut v);
                v
            };
            for i in 0..size {
                for j in 0..size {
                    let dot: f64 = row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum();
                    assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12, "{size}: {i} {j} {dot}");
                }
            }
        }
        assert!(Turn::new(0, 0).is_none() && Turn::new(2 * 1025, 0).is_none());
    }

    #[test]
    fn seeds_and_sizes_give_other_matrices() {
        let of = |seed| {
            let mut v = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
            Turn::new(6, seed).unwrap().apply(&mut v);
            v
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
