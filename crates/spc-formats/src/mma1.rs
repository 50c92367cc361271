//! `mma1(R)`: columns of R rows in bf16, gathered by 32 into blocks in the fragment order of tensor cores (`mma.m16n8k16`).
//!
//! ```text
//! ptr u32[B+1], idx u32[n][32] (columns), values u32[n][R/16][2][32][4];  B = ceil(O/R), R one of 16, 32, 64, 128
//! ```
//!
//! A row block lists the columns in which any of its rows has a weight, ascending, 32 a block of values, which has the order of
//! `mma32(R)`. Where the list ends within a block, the rest of `idx` is K: no column, and zeros.
use crate::format::{Format, Matrix, fits_pointer, length, pointers, present, span, to_u32, too_large};
use crate::mma32::{place, widen, word_of};
use crate::pattern::positions;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// Columns of a block.
const WIDTH: usize = 32;

pub(crate) struct Mma1 {
    pub r: usize,
}

impl Mma1 {
    fn words(&self) -> usize {
        self.r * WIDTH / 2
    }
}

impl Format for Mma1 {
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
            n += positions(&union).count().div_ceil(WIDTH) as u64;
        }
        fits_pointer(n)?;
        let multiplies = n.checked_mul((self.r * WIDTH) as u64).ok_or_else(too_large)?;
        let rest = (blocks as u64 + 1 + n * WIDTH as u64) * 4;
        let stored_bytes = multiplies.checked_mul(2).and_then(|v| v.checked_add(rest)).ok_or_else(too_large)?;
        let activation_loads = n * WIDTH as u64;
        Ok(CostFacts {
            present: p.present(),
            stored_bytes,
            multiplies,
            activation_loads,
            row_blocks: blocks as u64,
            units: n,
        })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (mut ptr, mut idx, mut values, mut union) = (vec![0], Vec::new(), Vec::new(), Vec::new());
        for first in (0..m.rows()).step_by(self.r) {
            m.pattern.union(first, self.r, &mut union);
            let columns: Vec<usize> = positions(&union).collect();
            for list in columns.chunks(WIDTH) {
                let column = |c: usize| list.get(c).copied().unwrap_or(m.cols());
                idx.extend((0..WIDTH).map(|c| to_u32(column(c))));
                for word in 0..self.words() {
                    let (row, col) = place(word);
                    let half = |c: usize| {
                        let w = m.at(first + row, column(col + c));
                        if present(w) { w.to_bits() >> 16 } else { 0 }
                    };
                    values.push(half(0) | half(1) << 16);
                }
            }
            ptr.push(to_u32(idx.len() / WIDTH));
        }
        vec![Array::U32(ptr), Array::U32(idx), Array::U32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (ptr, idx, values) = (p.words("ptr"), p.words("idx"), p.words("values"));
        let (blocks, n) = (p.rows.div_ceil(self.r), idx.len() / WIDTH);
        pointers(ptr, blocks, n)?;
        length("idx", idx.len(), &[n, WIDTH])?;
        length("values", values.len(), &[n, self.words()])?;
        for b in 0..blocks {
            let list = &idx[ptr[b] as usize * WIDTH..ptr[b + 1] as usize * WIDTH];
            ascending_to(list, p.cols).map_err(|e| format!("row block {b}: {e}"))?;
            for i in span(ptr, b) {
                for (word, v) in values[i * self.words()..(i + 1) * self.words()].iter().enumerate() {
                    let (row, col) = place(word);
                    let outside = |h: usize| b * self.r + row >= p.rows || idx[i * WIDTH + col + h] as usize >= p.cols;
                    if (0..2).any(|h| outside(h) && present(widen(*v, h))) {
                        return Err("padding is not zero".into());
                    }
                }
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let list = span(p.words("ptr"), row / self.r);
        match p.words("idx")[list.start * WIDTH..list.end * WIDTH].binary_search(&to_u32(col)) {
            Ok(i) => {
                let (word, half) = word_of(row % self.r, i % WIDTH);
                let w = widen(p.words("values")[(list.start + i / WIDTH) * self.words() + word], half);
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
                            f(b * self.r + row, idx[i * WIDTH + col + half] as usize, w);
                        }
                    }
                }
            }
        }
    }
}

/// Checks that columns ascend strictly, and that `cols`, which is no column, stands at the end only.
pub(crate) fn ascending_to(list: &[u32], cols: usize) -> Result<(), String> {
    if let Some(i) = list.iter().find(|i| **i as usize > cols) {
        return Err(format!("index {i} is out of range"));
    }
    if list.windows(2).any(|w| w[0] > w[1] || (w[0] == w[1] && (w[0] as usize) < cols)) {
        return Err("indices do not ascend".into());
    }
    Ok(())
}
