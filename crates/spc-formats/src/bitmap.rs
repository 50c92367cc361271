//! `bitmap`: any pattern, sixteen rows side by side, one bit for every weight and the values of the present ones alone.
//!
//! ```text
//! ptr u32[nb+1] (first value), mask u8[nb][K][2], values f32[n+16]; nb = ceil(O/16)
//! ```
//!
//! A mask is 16 bits of a column, little-endian, the first row of the block in the lowest; bits of rows past the last are zero. The
//! values of a block follow each other by column, and in a column by row. Sixteen zeros stand at the end, so that a whole vector
//! may be read wherever a value begins.
use crate::format::{Format, Matrix, fits_pointer, length, pointers, present, span, to_u32, too_large};
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// Rows of a block, and zeros at the end.
const ROWS: usize = 16;

pub(crate) struct Bitmap;

fn mask(masks: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([masks[2 * at], masks[2 * at + 1]])
}

impl Format for Bitmap {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("ptr", ArrayKind::U32), ("mask", ArrayKind::U8), ("values", ArrayKind::F32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        let present = p.present();
        fits_pointer(present)?;
        let row_blocks = p.rows().div_ceil(ROWS) as u64;
        let units = row_blocks.checked_mul(p.cols() as u64).ok_or_else(too_large)?;
        let multiplies = units.checked_mul(ROWS as u64).ok_or_else(too_large)?;
        let values = present.checked_add(ROWS as u64).and_then(|n| n.checked_mul(4));
        let ptr = row_blocks.checked_add(1).and_then(|n| n.checked_mul(4));
        let bytes = values.and_then(|v| v.checked_add(ptr?)?.checked_add(units.checked_mul(2)?));
        let stored_bytes = bytes.ok_or_else(too_large)?;
        Ok(CostFacts { present, stored_bytes, multiplies, activation_loads: units, row_blocks, units })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let blocks = m.rows().div_ceil(ROWS);
        let (mut ptr, mut masks, mut values) = (vec![0], Vec::new(), Vec::new());
        for block in 0..blocks {
            for col in 0..m.cols() {
                let mut bits = 0u16;
                for lane in 0..ROWS {
                    let w = m.at(block * ROWS + lane, col);
                    if present(w) {
                        bits |= 1 << lane;
                        values.push(w);
                    }
                }
                masks.extend(bits.to_le_bytes());
            }
            ptr.push(to_u32(values.len()));
        }
        values.extend([0.0; ROWS]);
        vec![Array::U32(ptr), Array::U8(masks), Array::F32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (ptr, masks, values) = (p.words("ptr"), p.small("mask"), p.floats("values"));
        let blocks = p.rows.div_ceil(ROWS);
        let n = values.len().checked_sub(ROWS).ok_or("`values` is shorter than the zeros at its end")?;
        pointers(ptr, blocks, n)?;
        length("mask", masks.len(), &[blocks, p.cols, 2])?;
        for block in 0..blocks {
            let rows = (p.rows - block * ROWS).min(ROWS);
            let past = !((1u32 << rows) - 1);
            let mut kept = 0;
            for at in block * p.cols..(block + 1) * p.cols {
                let bits = mask(masks, at);
                if u32::from(bits) & past != 0 {
                    return Err(format!("row block {block}: a row past the last has a weight"));
                }
                kept += bits.count_ones() as usize;
            }
            if kept != span(ptr, block).len() {
                return Err(format!("row block {block}: {kept} bits for {} values", span(ptr, block).len()));
            }
        }
        if let Some(i) = values[..n].iter().position(|w| !present(*w)) {
            return Err(format!("value {i} is zero"));
        }
        if values[n..].iter().any(|w| w.to_bits() != 0) {
            return Err("the end is not zero".into());
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let (block, masks) = (row / ROWS, p.small("mask"));
        let at = block * p.cols;
        let before: usize = (at..at + col).map(|i| mask(masks, i).count_ones() as usize).sum();
        let (bits, bit) = (mask(masks, at + col), 1u16 << (row % ROWS));
        if bits & bit == 0 {
            return 0.0;
        }
        let first = p.words("ptr")[block] as usize;
        p.floats("values")[first + before + (bits & (bit - 1)).count_ones() as usize]
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let (masks, mut values) = (p.small("mask"), p.floats("values").iter());
        for at in 0..masks.len() / 2 {
            let (block, col, bits) = (at / p.cols, at % p.cols, mask(masks, at));
            for lane in (0..ROWS).filter(|lane| bits >> lane & 1 == 1) {
                if let Some(w) = values.next() {
                    f(block * ROWS + lane, col, *w);
                }
            }
        }
    }
}
