//! `csr16`: one list of columns for each row, in 16 bits each and filled up to whole vectors. `ptr u32[O+1]`,
//! `idx u8[n][2]` (column, little-endian), `values f32[n]`; the entries of a row are a multiple of 16.
//!
//! The present weights of a row come first, by ascending column; padding has the value zero and the first absent column of
//! the row. A row that needs padding and has no absent column is refused, and so are more than 65,536 columns.
use crate::format::{Format, Matrix, fits_pointer, length, pointers, present, span, to_u32, too_large};
use crate::pattern::{count, positions};
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// Entries of a row come in multiples of this.
const WIDTH: usize = 16;

/// Columns that 16 bits tell apart.
const MAX_COLS: usize = 1 << 16;

pub(crate) struct Csr16;

fn column(idx: &[u8], i: usize) -> usize {
    usize::from(u16::from_le_bytes([idx[2 * i], idx[2 * i + 1]]))
}

impl Format for Csr16 {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("ptr", ArrayKind::U32), ("idx", ArrayKind::U8), ("values", ArrayKind::F32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        if p.cols() > MAX_COLS {
            return Err(Refusal(format!("{} columns do not fit 16 bits", p.cols())));
        }
        let mut n = 0u64;
        // Without columns there are no bits, however many rows.
        for row in 0..if p.cols() == 0 { 0 } else { p.rows() } {
            let kept = count(p.row(row), 0, p.cols()) as usize;
            if kept == p.cols() && !kept.is_multiple_of(WIDTH) {
                return Err(Refusal(format!("row {row} keeps all {kept}, so that padding has no place")));
            }
            n += kept.next_multiple_of(WIDTH) as u64;
        }
        fits_pointer(n)?;
        let rows = p.rows() as u64;
        let ptr = rows.checked_add(1).and_then(|r| r.checked_mul(4)).ok_or_else(too_large)?;
        let stored_bytes = n.checked_mul(6).and_then(|b| b.checked_add(ptr)).ok_or_else(too_large)?;
        let units = n / WIDTH as u64;
        let present = p.present();
        Ok(CostFacts { present, stored_bytes, multiplies: n, activation_loads: n, row_blocks: rows, units })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (mut ptr, mut idx, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in 0..m.rows() {
            let mut absent = 0;
            for col in positions(m.pattern.row(row)) {
                absent += usize::from(col == absent);
                // `stats` has refused columns that do not fit.
                idx.extend((col as u16).to_le_bytes());
                values.push(m.at(row, col));
            }
            while !values.len().is_multiple_of(WIDTH) {
                idx.extend((absent as u16).to_le_bytes());
                values.push(0.0);
            }
            ptr.push(to_u32(values.len()));
        }
        vec![Array::U32(ptr), Array::U8(idx), Array::F32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (ptr, idx, values) = (p.words("ptr"), p.small("idx"), p.floats("values"));
        if p.cols > MAX_COLS {
            return Err(format!("{} columns do not fit 16 bits", p.cols));
        }
        pointers(ptr, p.rows, values.len())?;
        length("idx", idx.len(), &[values.len(), 2])?;
        let mut kept = Vec::new();
        for row in 0..p.rows {
            let fault = |text: &str| Err(format!("row {row}: {text}"));
            let list = span(ptr, row);
            if !list.len().is_multiple_of(WIDTH) {
                return fault("the entries do not fill vectors");
            }
            kept.clear();
            let mut pads = 0;
            for i in list {
                let col = column(idx, i);
                if col >= p.cols {
                    return fault("a column is out of range");
                }
                if !present(values[i]) {
                    pads += 1;
                    if kept.binary_search(&col).is_ok() {
                        return fault("padding takes the place of a weight");
                    }
                } else if pads > 0 {
                    return fault("padding stands before a weight");
                } else if kept.last().is_some_and(|last| *last >= col) {
                    return fault("columns do not ascend");
                } else {
                    kept.push(col);
                }
            }
            if pads >= WIDTH {
                return fault("there is more padding than a vector holds");
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let (idx, values) = (p.small("idx"), p.floats("values"));
        let mut found = span(p.words("ptr"), row).filter(|i| column(idx, *i) == col && present(values[*i]));
        found.next().map_or(0.0, |i| values[i])
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let (ptr, idx, values) = (p.words("ptr"), p.small("idx"), p.floats("values"));
        for row in 0..ptr.len().saturating_sub(1) {
            for i in span(ptr, row).filter(|i| present(values[*i])) {
                f(row, column(idx, i), values[i]);
            }
        }
    }
}
