//! `bsr(R,C)`: blocks of R rows by C columns. `ptr u32[nb+1]`, `idx u32[n]` = first column of the block,
//! `values f32[n][C][R]` (column by column, the R outputs contiguous), `nb = ceil(O/R)`; needs `C <= K`.
//!
//! Blocks start at multiples of C, except that a partial last block column starts at `K - C`, so that every block has C
//! columns. The columns it shares with its neighbour belong to the neighbour and hold zeros here. Where such a zero would
//! meet the activation of a present weight of the neighbour the matrix is refused (see the crate's words on `0 * inf`).
use crate::format::{Format, Matrix, ascending, fits_pointer, length, pointers, present, span, to_u32, too_large};
use crate::pattern::count;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

pub(crate) struct Bsr {
    pub r: usize,
    pub c: usize,
}

/// A block column: where its block starts, and the columns `own..end` that belong to it.
#[derive(Clone, Copy)]
struct Column {
    start: usize,
    own: usize,
    end: usize,
}

impl Bsr {
    /// Block columns of a matrix with `cols >= C` columns, in order.
    fn columns(&self, cols: usize) -> impl Iterator<Item = Column> {
        let c = self.c;
        (0..cols.div_ceil(c)).map(move |j| {
            let (own, end) = (j * c, (j * c + c).min(cols));
            Column { start: end - c, own, end }
        })
    }

    /// The block column that starts at `start`, if one does.
    fn column(&self, cols: usize, start: usize) -> Option<Column> {
        let end = start.checked_add(self.c).filter(|end| *end <= cols)?;
        if start.is_multiple_of(self.c) {
            return Some(Column { start, own: start, end });
        }
        (end == cols).then_some(Column { start, own: cols / self.c * self.c, end })
    }
}

impl Format for Bsr {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("ptr", ArrayKind::U32), ("idx", ArrayKind::U32), ("values", ArrayKind::F32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        if self.c > p.cols() {
            return Err(Refusal(format!("blocks of {} columns do not fit {} columns", self.c, p.cols())));
        }
        let (blocks, mut n, mut union) = (p.rows().div_ceil(self.r), 0u64, Vec::new());
        for b in 0..blocks {
            p.union(b * self.r, self.r, &mut union);
            for column in self.columns(p.cols()).filter(|x| count(&union, x.own, x.end) > 0) {
                n += 1;
                if count(&union, column.start, column.own) > 0 {
                    return Err(Refusal(format!(
                        "{} columns are no multiple of {}, and row block {b} has weights in both of the last two blocks",
                        p.cols(),
                        self.c
                    )));
                }
            }
        }
        fits_pointer(n)?;
        let loads = n.checked_mul(self.c as u64).ok_or_else(too_large)?;
        let multiplies = loads.checked_mul(self.r as u64).ok_or_else(too_large)?;
        let words = multiplies.checked_add(n).and_then(|x| x.checked_add(blocks as u64 + 1)).ok_or_else(too_large)?;
        let stored_bytes = words.checked_mul(4).ok_or_else(too_large)?;
        let row_blocks = blocks as u64;
        Ok(CostFacts { present: p.present(), stored_bytes, multiplies, activation_loads: loads, row_blocks, units: n })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (mut ptr, mut idx, mut values, mut union) = (vec![0], Vec::new(), Vec::new(), Vec::new());
        for first in (0..m.rows()).step_by(self.r) {
            m.pattern.union(first, self.r, &mut union);
            for column in self.columns(m.cols()).filter(|x| count(&union, x.own, x.end) > 0) {
                idx.push(to_u32(column.start));
                for col in column.start..column.end {
                    let own = col >= column.own;
                    values.extend((first..first + self.r).map(|row| if own { m.at(row, col) } else { 0.0 }));
                }
            }
            ptr.push(to_u32(idx.len()));
        }
        vec![Array::U32(ptr), Array::U32(idx), Array::F32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        if self.c > p.cols {
            return Err(format!("blocks of {} columns do not fit {} columns", self.c, p.cols));
        }
        let (ptr, idx, values) = (p.words("ptr"), p.words("idx"), p.values());
        pointers(ptr, p.rows.div_ceil(self.r), idx.len())?;
        length("values", values.len(), &[idx.len(), self.c, self.r])?;
        ascending(ptr, idx, p.cols)?;
        // Values `from..to` of a block.
        let block =
            |i: usize, from: usize, to: usize| values.range(i * self.c * self.r + from..i * self.c * self.r + to);
        for b in 0..ptr.len() - 1 {
            let used = self.r.min(p.rows - b * self.r);
            for i in span(ptr, b) {
                let start = idx[i] as usize;
                let Some(column) = self.column(p.cols, start) else {
                    return Err(format!("row block {b}: no block starts at column {start}"));
                };
                if (0..self.c).any(|j| block(i, j * self.r + used, (j + 1) * self.r).any(present)) {
                    return Err("a padding row is not zero".into());
                }
                let shared = column.own - column.start;
                if block(i, 0, shared * self.r).any(present) {
                    return Err(format!("row block {b}: an element is stored twice"));
                }
                // A neighbour that overlaps can only be the block before: its last columns must be empty.
                if shared > 0 && i > ptr[b] as usize && idx[i - 1] as usize + self.c > start {
                    let tail = (self.c - shared) * self.r;
                    if block(i - 1, tail, self.c * self.r).any(present) {
                        return Err(format!("row block {b}: the last two blocks overlap"));
                    }
                }
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let own = col / self.c * self.c;
        let start = own.min(p.cols - self.c);
        let list = span(p.words("ptr"), row / self.r);
        match p.words("idx")[list.clone()].binary_search(&to_u32(start)) {
            Ok(i) => p.values().at(((list.start + i) * self.c + col - start) * self.r + row % self.r),
            Err(_) => 0.0,
        }
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let (ptr, idx, values) = (p.words("ptr"), p.words("idx"), p.values());
        for b in 0..ptr.len().saturating_sub(1) {
            for i in span(ptr, b) {
                for j in 0..self.c {
                    let lanes = values.range((i * self.c + j) * self.r..(i * self.c + j + 1) * self.r);
                    for (lane, w) in lanes.enumerate().filter(|(_, w)| present(*w)) {
                        f(b * self.r + lane, idx[i] as usize + j, w);
                    }
                }
            }
        }
    }
}
