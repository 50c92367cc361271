//! `csr`: one list of columns for each row. `ptr u32[O+1]`, `idx u32[nnz]`, `values f32[nnz]`.
use crate::format::{Format, Matrix, ascending, fits_pointer, length, pointers, present, span, to_u32, too_large};
use crate::pattern::positions;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

pub(crate) struct Csr;

impl Format for Csr {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("ptr", ArrayKind::U32), ("idx", ArrayKind::U32), ("values", ArrayKind::F32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        let (n, rows) = (p.present(), p.rows() as u64);
        fits_pointer(n)?;
        let words = n.checked_mul(2).and_then(|x| x.checked_add(rows + 1)).ok_or_else(too_large)?;
        let stored_bytes = words.checked_mul(4).ok_or_else(too_large)?;
        Ok(CostFacts { present: n, stored_bytes, multiplies: n, activation_loads: n, row_blocks: rows, units: n })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (mut ptr, mut idx, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in 0..m.rows() {
            for col in positions(m.pattern.row(row)) {
                idx.push(to_u32(col));
                values.push(m.at(row, col));
            }
            ptr.push(to_u32(idx.len()));
        }
        vec![Array::U32(ptr), Array::U32(idx), Array::F32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (ptr, idx) = (p.words("ptr"), p.words("idx"));
        pointers(ptr, p.rows, idx.len())?;
        length("values", p.floats("values").len(), &[idx.len()])?;
        ascending(ptr, idx, p.cols)
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let list = span(p.words("ptr"), row);
        match p.words("idx")[list.clone()].binary_search(&to_u32(col)) {
            Ok(i) => p.floats("values")[list.start + i],
            Err(_) => 0.0,
        }
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let (ptr, idx, values) = (p.words("ptr"), p.words("idx"), p.floats("values"));
        for row in 0..ptr.len().saturating_sub(1) {
            for i in span(ptr, row).filter(|i| present(values[*i])) {
                f(row, idx[i] as usize, values[i]);
            }
        }
    }
}
