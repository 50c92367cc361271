//! Weights of every layout, drawn from a seed.
use spc_formats::Layout;

pub struct Random(pub u64);

impl Random {
    pub fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn value(&mut self) -> f32 {
        let v = (self.unit() * 2.0 - 1.0) as f32;
        // A bf16 number, never zero.
        f32::from_bits((v.to_bits() & 0xffff_0000) | 0x0001_0000)
    }
}

pub fn weights(layout: Layout, o: usize, k: usize, kept: f64) -> Vec<f32> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut w: Vec<f32> = (0..o * k).map(|_| random.value()).collect();
    match layout.with_bf16() {
        // Blocks of R x R, of which two or four are stored side by side.
        Layout::Mma32 { r } if kept < 1.0 => {
            let (r, across) = (r as usize, k.div_ceil(r as usize));
            let draws: Vec<bool> = (0..o.div_ceil(r) * across).map(|_| random.unit() < kept).collect();
            for (i, w) in w.iter_mut().enumerate() {
                if !draws[i / k / r * across + i % k / r] {
                    *w = 0.0;
                }
            }
        }
        Layout::Mma1 { r } => {
            let draws: Vec<bool> = (0..o.div_ceil(r as usize) * k).map(|_| random.unit() < kept).collect();
            for (i, w) in w.iter_mut().enumerate() {
                if !draws[i / k / r as usize * k + i % k] {
                    *w = 0.0;
                }
            }
        }
        // Of each M columns four that V rows share, and two of those in a row.
        Layout::Vnm { v, m } => {
            let (v, m) = (v as usize, m as usize);
            let first: Vec<usize> =
                (0..o.div_ceil(v) * k.div_ceil(m)).map(|_| (random.unit() * (m - 3) as f64) as usize).collect();
            for (i, w) in w.iter_mut().enumerate() {
                let (row, col) = (i / k, i % k);
                let at = (col % m).wrapping_sub(first[row / v * k.div_ceil(m) + col / m]);
                if at >= 4 || (at + row) % 4 >= 2 {
                    *w = 0.0;
                }
            }
        }
        // Groups of 32 codes, all of one scale, so that its greatest code tells it.
        Layout::Groups { bits, group, .. } => {
            let most = if bits == 4 { 7.0 } else { 127.0 };
            for row in w.chunks_mut(k) {
                for g in row.chunks_mut(group as usize) {
                    let keep = random.unit() < kept;
                    for (i, w) in g.iter_mut().enumerate() {
                        let code = if i == 0 { most } else { (*w * most).round() };
                        *w = if keep { code * 0.125 } else { 0.0 };
                    }
                }
            }
        }
        Layout::Csr | Layout::Vx1 { .. } | Layout::Bsr { .. } | Layout::I8 { .. } => {
            let (r, c) = match layout {
                Layout::Vx1 { v } => (v as usize, 1),
                Layout::Bsr { r, c } => (r as usize, c as usize),
                _ => (1, 1),
            };
            let across = k.div_ceil(c);
            let draws: Vec<bool> = (0..o.div_ceil(r) * across).map(|_| random.unit() < kept).collect();
            for (i, w) in w.iter_mut().enumerate() {
                // Blocks of a matrix that they do not divide overlap at its end.
                let last = !k.is_multiple_of(c) && i % k / c + 1 >= k / c;
                if last || !draws[i / k / r * across + i % k / c] {
                    *w = 0.0;
                }
            }
            if let Layout::I8 { .. } = layout {
                // Whole multiples of a scale, which the greatest code of a row tells.
                w.iter_mut().for_each(|w| *w = (*w * 100.0).round() * 0.5);
                w.chunks_mut(k).for_each(|row| row[0] = 63.5);
            }
        }
        Layout::Nm { .. } | Layout::Mma24 => {
            for row in w.chunks_mut(k) {
                for group in row.chunks_mut(4) {
                    let first = (random.unit() * 4.0) as usize;
                    let second = (first + 1 + (random.unit() * 3.0) as usize) % 4;
                    for (i, w) in group.iter_mut().enumerate() {
                        if i != first && i != second {
                            *w = 0.0;
                        }
                    }
                }
            }
        }
        _ => {}
    }
    if layout != layout.with_bf16() {
        // Numbers that f16 has, too.
        w.iter_mut().for_each(|w| *w = (*w * 64.0).round() / 64.0);
    }
    w
}

/// Whole numbers that tell their place, where there are weights: neighbours differ, and all are bf16 numbers.
pub fn numbered(w: &mut [f32], k: usize) {
    for (i, w) in w.iter_mut().enumerate().filter(|(_, w)| **w != 0.0) {
        let (row, col) = (i / k, i % k);
        *w = (1 + (row * 37 + col * 5) % 251) as f32;
    }
}
