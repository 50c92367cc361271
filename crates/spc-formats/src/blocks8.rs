//! `i8(R)`: 8-bit blocks of R outputs by 4 inputs, R a multiple of 16, for activations that are 8-bit integers too.
//!
//! ```text
//! ptr u32[nb+1], idx u32[n] (block column: inputs 4*idx .. 4*idx+4), codes i8[n][R][4], start i32[nb*R], scale f32[nb*R]
//! ```
//!
//! with `nb = ceil(O/R)`. A weight is `codes * scale[row]`. Activations come as unsigned bytes, their integer plus 128, so a
//! sum starts at `start[row] = -128 * (sum of the codes of the row)`. Rows past the last and inputs past the last have zeros
//! everywhere.
use crate::codes8::{byte, check_ends, check_row, ends, grid, signed};
use crate::format::{Format, Matrix, ascending, fits_pointer, length, pointers, span, to_u32, too_large};
use crate::pattern::count;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// Inputs of a block.
const WIDTH: usize = 4;

pub(crate) struct Blocks8 {
    pub r: usize,
}

impl Blocks8 {
    /// Block columns that hold a weight of `union`.
    fn columns<'a>(&self, cols: usize, union: &'a [u64]) -> impl Iterator<Item = usize> + 'a {
        (0..cols.div_ceil(WIDTH)).filter(move |j| count(union, j * WIDTH, (j * WIDTH + WIDTH).min(cols)) > 0)
    }
}

impl Format for Blocks8 {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[
            ("ptr", ArrayKind::U32),
            ("idx", ArrayKind::U32),
            ("codes", ArrayKind::U8),
            ("start", ArrayKind::U32),
            ("scale", ArrayKind::F32),
        ]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        grid(p)?;
        let (blocks, mut n, mut union) = (p.rows().div_ceil(self.r), 0u64, Vec::new());
        for b in 0..blocks {
            p.union(b * self.r, self.r, &mut union);
            n += self.columns(p.cols(), &union).count() as u64;
        }
        fits_pointer(n)?;
        let multiplies = n.checked_mul((self.r * WIDTH) as u64).ok_or_else(too_large)?;
        let words = (blocks as u64).checked_mul(2 * self.r as u64 + 1).and_then(|x| x.checked_add(n + 1));
        let stored_bytes = words.and_then(|w| w.checked_mul(4)?.checked_add(multiplies)).ok_or_else(too_large)?;
        let row_blocks = blocks as u64;
        Ok(CostFacts { present: p.present(), stored_bytes, multiplies, activation_loads: n, row_blocks, units: n })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (mut ptr, mut idx, mut codes, mut union) = (vec![0], Vec::new(), Vec::new(), Vec::new());
        let mut all = Vec::new();
        // `stats` has found a grid.
        let Ok(grid) = grid(m.pattern) else { return Vec::new() };
        for first in (0..m.rows()).step_by(self.r) {
            m.pattern.union(first, self.r, &mut union);
            let mut sums = vec![0i32; self.r];
            for j in self.columns(m.cols(), &union) {
                idx.push(to_u32(j));
                for (i, sum) in sums.iter_mut().enumerate() {
                    for col in j * WIDTH..j * WIDTH + WIDTH {
                        let w = m.at(first + i, col);
                        let code = if w == 0.0 { 0 } else { grid.code(first + i, col, w) };
                        *sum += i32::from(code);
                        codes.push(byte(code));
                    }
                }
            }
            ptr.push(to_u32(idx.len()));
            all.extend(sums);
        }
        let (start, scale) = ends(grid, m.rows(), &all);
        vec![Array::U32(ptr), Array::U32(idx), Array::U8(codes), Array::U32(start), Array::F32(scale)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (ptr, idx, codes) = (p.words("ptr"), p.words("idx"), p.small("codes"));
        let blocks = p.rows.div_ceil(self.r);
        check_ends(p, blocks, self.r)?;
        pointers(ptr, blocks, idx.len())?;
        length("codes", codes.len(), &[idx.len(), self.r, WIDTH])?;
        ascending(ptr, idx, p.cols.div_ceil(WIDTH))?;
        for b in 0..blocks {
            let mut sums = vec![(0i32, false); self.r];
            for i in span(ptr, b) {
                let block = &codes[i * self.r * WIDTH..(i + 1) * self.r * WIDTH];
                let inside = WIDTH.min(p.cols - idx[i] as usize * WIDTH);
                for (lane, four) in block.chunks_exact(WIDTH).enumerate() {
                    if four.contains(&0x80) {
                        return Err(format!("row block {b}: a code is -128"));
                    }
                    if four[inside..].iter().any(|c| *c != 0) {
                        return Err("a padding input is not zero".into());
                    }
                    sums[lane].0 += four.iter().map(|c| i32::from(signed(*c))).sum::<i32>();
                    sums[lane].1 |= four.iter().any(|c| *c != 0);
                }
            }
            for (lane, (sum, any)) in sums.into_iter().enumerate() {
                check_row(p, b * self.r + lane, sum, any)?;
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let list = span(p.words("ptr"), row / self.r);
        match p.words("idx")[list.clone()].binary_search(&to_u32(col / WIDTH)) {
            Ok(i) => {
                let at = ((list.start + i) * self.r + row % self.r) * WIDTH + col % WIDTH;
                let code = signed(p.small("codes")[at]);
                if code == 0 { 0.0 } else { f32::from(code) * p.floats("scale")[row] }
            }
            Err(_) => 0.0,
        }
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let (ptr, idx, codes, scale) = (p.words("ptr"), p.words("idx"), p.small("codes"), p.floats("scale"));
        for b in 0..ptr.len().saturating_sub(1) {
            for i in span(ptr, b) {
                let block = &codes[i * self.r * WIDTH..(i + 1) * self.r * WIDTH];
                for (e, code) in block.iter().enumerate().filter(|(_, c)| **c != 0) {
                    let row = b * self.r + e / WIDTH;
                    f(row, idx[i] as usize * WIDTH + e % WIDTH, f32::from(signed(*code)) * scale[row]);
                }
            }
        }
    }
}
