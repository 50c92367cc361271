//! `mma32(R)`: blocks of R rows by 32 columns in bf16, in the order in which the lanes of a warp feed tensor cores
//! (`mma.m16n8k16`). A dense matrix has all blocks.
//!
//! ```text
//! ptr u32[B+1], idx u32[n] (block column), values u32[n][R/16][2][32][4];  B = ceil(O/R), R one of 32, 64, 128
//! ```
//!
//! A block is R/16 parts of 16 rows by two parts of 16 columns. Word r of lane `4g + t` of a part holds two weights, the first
//! in the low 16 bits: row `g + 8(r & 1)`, columns `2t` and `2t + 1`, plus 8 for r of 2 and 3. Rows and columns past the last
//! have zeros.
use crate::format::{Format, Matrix, ascending, fits_pointer, length, pointers, present, span, to_u32, too_large};
use crate::pattern::count;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// Columns of a block.
const WIDTH: usize = 32;

pub(crate) struct Mma32 {
    pub r: usize,
}

/// Row and column in a block of the first weight of word `word` of its values; the second is in the next column.
pub(crate) fn place(word: usize) -> (usize, usize) {
    let (reg, lane, part) = (word % 4, word / 4 % 32, word / 128);
    (part / 2 * 16 + lane / 4 + 8 * (reg % 2), part % 2 * 16 + 2 * (lane % 4) + 8 * (reg / 2))
}

/// The word and the half of it that holds a weight of a block.
pub(crate) fn word_of(row: usize, col: usize) -> (usize, usize) {
    let reg = row % 16 / 8 + 2 * (col % 16 / 8);
    let lane = row % 8 * 4 + col % 8 / 2;
    (((row / 16 * 2 + col / 16) * 32 + lane) * 4 + reg, col % 2)
}

pub(crate) fn widen(word: u32, half: usize) -> f32 {
    f32::from_bits(if half == 0 { word << 16 } else { word & 0xffff_0000 })
}

impl Mma32 {
    fn words(&self) -> usize {
        self.r * WIDTH / 2
    }

    fn columns<'a>(&self, cols: usize, union: &'a [u64]) -> impl Iterator<Item = usize> + 'a {
        (0..cols.div_ceil(WIDTH)).filter(move |j| count(union, j * WIDTH, (j * WIDTH + WIDTH).min(cols)) > 0)
    }
}

impl Format for Mma32 {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("ptr", ArrayKind::U32), ("idx", ArrayKind::U32), ("values", ArrayKind::U32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        if !p.bf16() {
            return Err(Refusal("the weights are not all bf16 numbers".into()));
        }
        let (blocks, mut n, mut union) = (p.rows().div_ceil(self.r), 0u64, Vec::new());
        for b in 0..blocks {
            p.union(b * self.r, self.r, &mut union);
            n += self.columns(p.cols(), &union).count() as u64;
        }
        fits_pointer(n)?;
        let multiplies = n.checked_mul((self.r * WIDTH) as u64).ok_or_else(too_large)?;
        let rest = (blocks as u64 + 1 + n) * 4;
        let stored_bytes = multiplies.checked_mul(2).and_then(|v| v.checked_add(rest)).ok_or_else(too_large)?;
        let activation_loads = n * WIDTH as u64;
        let row_blocks = blocks as u64;
        Ok(CostFacts { present: p.present(), stored_bytes, multiplies, activation_loads, row_blocks, units: n })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (mut ptr, mut idx, mut values, mut union) = (vec![0], Vec::new(), Vec::new(), Vec::new());
        for first in (0..m.rows()).step_by(self.r) {
            m.pattern.union(first, self.r, &mut union);
            for j in self.columns(m.cols(), &union) {
                idx.push(to_u32(j));
                for word in 0..self.words() {
                    let (row, col) = place(word);
                    let half = |c: usize| {
                        let w = m.at(first + row, j * WIDTH + col + c);
                        if present(w) { w.to_bits() >> 16 } else { 0 }
                    };
                    values.push(half(0) | half(1) << 16);
                }
            }
            ptr.push(to_u32(idx.len()));
        }
        vec![Array::U32(ptr), Array::U32(idx), Array::U32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (ptr, idx, values) = (p.words("ptr"), p.words("idx"), p.words("values"));
        let blocks = p.rows.div_ceil(self.r);
        pointers(ptr, blocks, idx.len())?;
        length("values", values.len(), &[idx.len(), self.words()])?;
        ascending(ptr, idx, p.cols.div_ceil(WIDTH))?;
        for b in 0..blocks {
            for i in span(ptr, b) {
                let (top, left) = (b * self.r, idx[i] as usize * WIDTH);
                if top + self.r <= p.rows && left + WIDTH <= p.cols {
                    continue;
                }
                for (word, v) in values[i * self.words()..(i + 1) * self.words()].iter().enumerate() {
                    let (row, col) = place(word);
                    let outside = |half: usize| top + row >= p.rows || left + col + half >= p.cols;
                    if (0..2).any(|half| outside(half) && present(widen(*v, half))) {
                        return Err("padding is not zero".into());
                    }
                }
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let list = span(p.words("ptr"), row / self.r);
        match p.words("idx")[list.clone()].binary_search(&to_u32(col / WIDTH)) {
            Ok(i) => {
                let (word, half) = word_of(row % self.r, col % WIDTH);
                let w = widen(p.words("values")[(list.start + i) * self.words() + word], half);
                if present(w) { w } else { 0.0 }
            }
            Err(_) => 0.0,
        }
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let (ptr, idx, values) = (p.words("ptr"), p.words("idx"), p.words("values"));
        for b in 0..ptr.len().saturating_sub(1) {
            for i in span(ptr, b) {
                for (word, v) in values[i * self.words()..(i + 1) * self.words()].iter().enumerate() {
                    let (row, col) = place(word);
                    for half in 0..2 {
                        let w = widen(*v, half);
                        if present(w) {
                            f(b * self.r + row, idx[i] as usize * WIDTH + col + half, w);
                        }
                    }
                }
            }
        }
    }
}
