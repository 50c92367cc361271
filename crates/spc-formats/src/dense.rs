//! `dense(P)`: `values[ceil(O/P)][K][P]`. Panels of P rows, column by column; rows past the last are zero.
use crate::format::{Format, Matrix, length, present, too_large};
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

pub(crate) struct Dense {
    pub panel: usize,
}

impl Dense {
    fn place(&self, cols: usize, row: usize, col: usize) -> usize {
        (row / self.panel * cols + col) * self.panel + row % self.panel
    }
}

impl Format for Dense {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("values", ArrayKind::F32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        let (blocks, cols) = (p.rows().div_ceil(self.panel) as u64, p.cols() as u64);
        let loads = blocks.checked_mul(cols).ok_or_else(too_large)?;
        let multiplies = loads.checked_mul(self.panel as u64).ok_or_else(too_large)?;
        let stored_bytes = multiplies.checked_mul(4).ok_or_else(too_large)?;
        let present = p.present();
        Ok(CostFacts { present, stored_bytes, multiplies, activation_loads: loads, row_blocks: blocks, units: blocks })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (rows, cols) = (m.rows(), m.cols());
        let mut values = vec![0.0; rows.div_ceil(self.panel) * cols * self.panel];
        if cols > 0 {
            for (row, line) in m.weights.chunks_exact(cols).enumerate() {
                for (col, w) in line.iter().enumerate() {
                    values[self.place(cols, row, col)] = *w;
                }
            }
        }
        vec![Array::F32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        length("values", p.values().len(), &[p.rows.div_ceil(self.panel), p.cols, self.panel])?;
        let used = p.rows % self.panel;
        if used > 0 && p.cols > 0 {
            let last = p.rows / self.panel * p.cols * self.panel;
            let values = p.values();
            let pad = |i: &usize| (i - last) % self.panel >= used;
            if (last..values.len()).filter(pad).any(|i| present(values.at(i))) {
                return Err("a padding row is not zero".into());
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        p.values().at(self.place(p.cols, row, col))
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        if p.cols == 0 {
            return;
        }
        for (i, w) in p.values().iter().enumerate().filter(|(_, w)| present(*w)) {
            let (unit, lane) = (i / self.panel, i % self.panel);
            f(unit / p.cols * self.panel + lane, unit % p.cols, w);
        }
    }
}
