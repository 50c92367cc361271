//! `nm16(N,M)`: as `nm(N,M)` with M up to 16, sixteen rows side by side, so that vectors run over rows.
//!
//! ```text
//! idx u32[nb][W][16], values f32[nb][G][N][16]; nb = ceil(O/16), G = ceil(K/M)
//! ```
//!
//! A lane of `idx` holds the positions of its row, in fields of 2 bits (M up to 4) or 4 bits, the first in the lowest: those of
//! as many whole groups as fit 32 bits, or of one group in as many words as it needs ([`Fields`]). Bits that no field needs
//! are zero.
//!
//! In a group the present weights come first, by ascending position. What is left of the N entries is padding: value zero
//! and the first absent position of the group. Rows past the last have zeros everywhere. A short group that has fewer than N
//! columns, all present, is refused.
use crate::format::{Format, Matrix, length, present, too_large};
use crate::nm::Nm;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// Rows of a block.
const ROWS: usize = 16;

/// How `nm16` packs positions into 32-bit words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Bits of one position.
    pub bits: u32,
    /// Whole groups that share [`Fields::words`] words.
    pub groups: usize,
    pub words: usize,
}

impl Fields {
    /// Of groups of `n` kept of `m`.
    pub fn of(n: usize, m: usize) -> Fields {
        let bits = if m <= 4 { 2 } else { 4 };
        let per_word = (32 / bits) as usize;
        Fields { bits, groups: (per_word / n.max(1)).max(1), words: n.div_ceil(per_word) }
    }

    /// Positions in one word.
    pub fn per_word(self) -> usize {
        (32 / self.bits) as usize
    }

    /// Words of a row of that many groups.
    pub fn row_words(self, groups: usize) -> usize {
        groups.div_ceil(self.groups) * self.words
    }
}

pub(crate) struct Nm16 {
    pub n: usize,
    pub m: usize,
}

impl Nm16 {
    fn fields(&self) -> Fields {
        Fields::of(self.n, self.m)
    }

    fn groups(&self, cols: usize) -> usize {
        cols.div_ceil(self.m)
    }

    /// Index into `values` of entry `e` of group `g` of a row.
    fn value(&self, cols: usize, row: usize, g: usize, e: usize) -> usize {
        ((row / ROWS * self.groups(cols) + g) * self.n + e) * ROWS + row % ROWS
    }

    /// Index into `idx`, and the lowest bit of the field.
    fn field(&self, cols: usize, row: usize, g: usize, e: usize) -> (usize, u32) {
        let f = self.fields();
        let within = g % f.groups * self.n + e;
        let word = g / f.groups * f.words + within / f.per_word();
        let at = (row / ROWS * f.row_words(self.groups(cols)) + word) * ROWS + row % ROWS;
        (at, (within % f.per_word()) as u32 * f.bits)
    }

    fn position(&self, p: &Packed, row: usize, g: usize, e: usize) -> usize {
        let (at, shift) = self.field(p.cols, row, g, e);
        (p.words("idx")[at] >> shift & ((1 << self.fields().bits) - 1)) as usize
    }
}

impl Format for Nm16 {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("idx", ArrayKind::U32), ("values", ArrayKind::F32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        let facts = Nm { n: self.n, m: self.m }.stats(p)?;
        let (blocks, groups) = (p.rows().div_ceil(ROWS) as u64, self.groups(p.cols()) as u64);
        let units = blocks.checked_mul(groups).ok_or_else(too_large)?;
        let multiplies = units.checked_mul((self.n * ROWS) as u64).ok_or_else(too_large)?;
        let words = self.fields().row_words(self.groups(p.cols())) as u64;
        let words = words.checked_mul(blocks).and_then(|w| w.checked_mul(ROWS as u64));
        let stored_bytes = words.and_then(|w| w.checked_add(multiplies)?.checked_mul(4)).ok_or_else(too_large)?;
        Ok(CostFacts { stored_bytes, multiplies, activation_loads: units, row_blocks: blocks, units, ..facts })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (rows, cols) = (m.rows(), m.cols());
        let (blocks, groups) = (rows.div_ceil(ROWS), self.groups(cols));
        let mut idx = vec![0u32; blocks * self.fields().row_words(groups) * ROWS];
        let mut values = vec![0.0; blocks * groups * self.n * ROWS];
        if cols > 0 {
            for (row, line) in m.weights.chunks_exact(cols).enumerate() {
                for (g, group) in line.chunks(self.m).enumerate() {
                    let absent = group.iter().position(|w| !present(*w)).unwrap_or(0);
                    let mut kept = group.iter().enumerate().filter(|(_, w)| present(**w));
                    for e in 0..self.n {
                        let (position, w) = kept.next().map_or((absent, 0.0), |(i, w)| (i, *w));
                        values[self.value(cols, row, g, e)] = w;
                        let (at, shift) = self.field(cols, row, g, e);
                        idx[at] |= (position as u32) << shift;
                    }
                }
            }
        }
        vec![Array::U32(idx), Array::F32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (idx, values, groups) = (p.words("idx"), p.values(), self.groups(p.cols));
        let blocks = p.rows.div_ceil(ROWS);
        length("idx", idx.len(), &[blocks, self.fields().row_words(groups), ROWS])?;
        length("values", values.len(), &[blocks, groups, self.n, ROWS])?;
        // Every bit of the fields that are read is taken off; nothing may be left.
        let mut rest = idx.to_vec();
        let mut kept = Vec::with_capacity(self.n);
        // Without groups there is nothing to look at, however many rows.
        let rows = if groups == 0 { 0 } else { blocks * ROWS };
        for row in 0..rows {
            for g in 0..groups {
                let fault = |text: &str| Err(format!("row {row}, group {g}: {text}"));
                let width = self.m.min(p.cols - g * self.m);
                kept.clear();
                let mut pads = false;
                for e in 0..self.n {
                    let position = self.position(p, row, g, e);
                    let (at, shift) = self.field(p.cols, row, g, e);
                    rest[at] &= !(((1 << self.fields().bits) - 1) << shift);
                    if position >= width {
                        return fault("a position is out of range");
                    }
                    let w = values.at(self.value(p.cols, row, g, e));
                    if !present(w) {
                        pads = true;
                        if kept.binary_search(&position).is_ok() {
                            return fault("padding takes the place of a weight");
                        }
                        continue;
                    }
                    if row >= p.rows {
                        return Err("a padding row is not zero".into());
                    }
                    if pads {
                        return fault("padding stands before a weight");
                    }
                    if kept.last().is_some_and(|last| *last >= position) {
                        return fault("positions do not ascend");
                    }
                    kept.push(position);
                }
            }
        }
        if rest.iter().any(|w| *w != 0) {
            return Err("a bit that no position needs is not zero".into());
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let g = col / self.m;
        let entries = (0..self.n).map(|e| (self.position(p, row, g, e), p.values().at(self.value(p.cols, row, g, e))));
        let mut found = entries.filter(|(x, w)| *x == col % self.m && present(*w));
        found.next().map_or(0.0, |(_, w)| w)
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let groups = self.groups(p.cols);
        for (i, w) in p.values().iter().enumerate().filter(|(_, w)| present(*w)) {
            let (slot, lane) = (i / ROWS, i % ROWS);
            let (e, g, block) = (slot % self.n, slot / self.n % groups, slot / self.n / groups);
            let row = block * ROWS + lane;
            f(row, g * self.m + self.position(p, row, g, e), w);
        }
    }
}
