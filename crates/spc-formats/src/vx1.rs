//! `vx1(V)`: V consecutive rows share their list of columns. `ptr u32[nb+1]`, `idx u32[n]` (column), `values f32[n][V]`
//! with `nb = ceil(O/V)`; a column is stored when any of its V weights is present, and rows past the last are zero.
use crate::format::{Format, Matrix, ascending, fits_pointer, length, pointers, present, span, to_u32, too_large};
use crate::pattern::positions;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

pub(crate) struct Vx1 {
    pub v: usize,
}

impl Format for Vx1 {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("ptr", ArrayKind::U32), ("idx", ArrayKind::U32), ("values", ArrayKind::F32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        let (blocks, mut n, mut union) = (p.rows().div_ceil(self.v), 0u64, Vec::new());
        for b in 0..blocks {
            p.union(b * self.v, self.v, &mut union);
            n += union.iter().map(|w| u64::from(w.count_ones())).sum::<u64>();
        }
        fits_pointer(n)?;
        let multiplies = n.checked_mul(self.v as u64).ok_or_else(too_large)?;
        let words = multiplies.checked_add(n).and_then(|x| x.checked_add(blocks as u64 + 1)).ok_or_else(too_large)?;
        let stored_bytes = words.checked_mul(4).ok_or_else(too_large)?;
        let row_blocks = blocks as u64;
        Ok(CostFacts { present: p.present(), stored_bytes, multiplies, activation_loads: n, row_blocks, units: n })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (mut ptr, mut idx, mut values, mut union) = (vec![0], Vec::new(), Vec::new(), Vec::new());
        for first in (0..m.rows()).step_by(self.v) {
            m.pattern.union(first, self.v, &mut union);
            for col in positions(&union) {
                idx.push(to_u32(col));
                values.extend((first..first + self.v).map(|row| m.at(row, col)));
            }
            ptr.push(to_u32(idx.len()));
        }
        vec![Array::U32(ptr), Array::U32(idx), Array::F32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (ptr, idx, values) = (p.words("ptr"), p.words("idx"), p.values());
        pointers(ptr, p.rows.div_ceil(self.v), idx.len())?;
        length("values", values.len(), &[idx.len(), self.v])?;
        ascending(ptr, idx, p.cols)?;
        let used = p.rows % self.v;
        if used > 0 {
            let last = span(ptr, p.rows / self.v);
            let pad = |i: &usize| i % self.v >= used;
            if (last.start * self.v..last.end * self.v).filter(pad).any(|i| present(values.at(i))) {
                return Err("a padding row is not zero".into());
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let list = span(p.words("ptr"), row / self.v);
        match p.words("idx")[list.clone()].binary_search(&to_u32(col)) {
            Ok(i) => p.values().at((list.start + i) * self.v + row % self.v),
            Err(_) => 0.0,
        }
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let (ptr, idx, values) = (p.words("ptr"), p.words("idx"), p.values());
        for b in 0..ptr.len().saturating_sub(1) {
            for i in span(ptr, b) {
                let vector = values.range(i * self.v..(i + 1) * self.v);
                for (lane, w) in vector.enumerate().filter(|(_, w)| present(*w)) {
                    f(b * self.v + lane, idx[i] as usize, w);
                }
            }
        }
    }
}
