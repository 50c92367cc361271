//! `i4nm(N,M,G,S)`: N of M in 4-bit codes with one scale of S bits (16 or 32) for each G inputs of a row (16, 32 or 64), sixteen
//! rows side by side, for activations that are 8-bit integers.
//!
//! ```text
//! idx u32[nb][W][16], codes u8[nb][C][16][4], scale [nb][ceil(K/G)][16]; nb = ceil(O/16)
//! ```
//!
//! The groups of G inputs have whole steps of four codes, cut and with positions as in `i8nm`. A byte of `codes` has a code of
//! each of two consecutive steps, the first in its low half. Scales of 16 bits are f16 numbers, two bytes each, the lower first.
//! A weight is `code * scale` in f32.
use crate::codes8::{STEP, STEP_CODES, STEP_ROWS};
use crate::format::{Format, Matrix, length, present, too_large};
use crate::grid::{half_bits, half_value};
use crate::nm::Nm;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal, Steps};

pub(crate) struct Nm4 {
    pub n: usize,
    pub m: usize,
    pub group: usize,
    /// Scales are f16 numbers.
    pub half: bool,
}

/// Where an entry lies: its byte of codes and of its word of positions, and the lowest bits of its fields.
struct Place {
    code: usize,
    half: u32,
    word: usize,
    shift: u32,
}

impl Nm4 {
    fn steps(&self) -> Steps {
        Steps::of(self.n, self.m)
    }

    /// Groups of a row.
    fn groups(&self, cols: usize) -> usize {
        cols.div_ceil(self.group)
    }

    /// Steps of a row: those of whole groups.
    fn count(&self, cols: usize) -> usize {
        self.groups(cols) * (self.group / self.m) * self.n / STEP_CODES
    }

    fn words(&self, cols: usize) -> usize {
        self.count(cols).div_ceil(self.steps().per_word())
    }

    fn place(&self, cols: usize, row: usize, slot: usize) -> Place {
        let (s, step, code) = (self.steps(), slot / STEP_CODES, slot % STEP_CODES);
        let (block, lane) = (row / STEP_ROWS, row % STEP_ROWS);
        let word = (block * self.words(cols) + step / s.per_word()) * STEP_ROWS + lane;
        let shift = 8 * code as u32 + s.bits * (step % s.per_word()) as u32;
        let pair = block * self.count(cols).div_ceil(2) + step / 2;
        Place { code: pair * STEP + lane * STEP_CODES + code, half: 4 * (step as u32 % 2), word, shift }
    }

    fn position(&self, p: &Packed, at: &Place) -> usize {
        (p.words("idx")[at.word] >> at.shift & ((1 << self.steps().bits) - 1)) as usize
    }

    fn code(&self, p: &Packed, at: &Place) -> i8 {
        // Moved to the top and back, with its sign.
        i8::from_ne_bytes([p.small("codes")[at.code] >> at.half << 4]) >> 4
    }

    fn scale(&self, p: &Packed, row: usize, g: usize) -> f32 {
        let slot = (row / STEP_ROWS * self.groups(p.cols) + g) * STEP_ROWS + row % STEP_ROWS;
        if !self.half {
            return p.floats("scale")[slot];
        }
        let s = p.small("scale");
        half_value(u16::from_le_bytes([s[2 * slot], s[2 * slot + 1]]))
    }

    /// Entries of a row.
    fn slots(&self, cols: usize) -> usize {
        self.count(cols) * STEP_CODES
    }

    /// The group of M inputs of an entry.
    fn few(&self, slot: usize) -> usize {
        slot / self.n
    }
}

impl Format for Nm4 {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        use ArrayKind::{F32, U8, U32};
        if self.half {
            &[("idx", U32), ("codes", U8), ("scale", U8)]
        } else {
            &[("idx", U32), ("codes", U8), ("scale", F32)]
        }
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        Nm { n: self.n, m: self.m }.stats(p)?;
        let no = |text: &str| Err(Refusal(text.into()));
        let Some(grid) = p.grid() else { return no("the weights are not whole multiples of scales") };
        if !grid.joins(self.group, p.cols()) {
            return Err(Refusal(format!("a scale holds for {} inputs, not for {}", grid.group, self.group)));
        }
        if grid.top > 7 {
            return no("the weights take more than 4 bits");
        }
        if self.half && !grid.half {
            return no("the scales are no f16 numbers");
        }
        let (blocks, groups) = (p.rows().div_ceil(STEP_ROWS) as u64, self.groups(p.cols()) as u64);
        let (steps, words) = (self.count(p.cols()) as u64, self.words(p.cols()) as u64);
        let scale = if self.half { 2 } else { 4 };
        // Bytes of sixteen rows.
        let of_block = words.checked_mul(64).and_then(|w| {
            steps.div_ceil(2).checked_mul(64)?.checked_add(w)?.checked_add(groups.checked_mul(16 * scale)?)
        });
        let stored_bytes = of_block.and_then(|b| b.checked_mul(blocks)).ok_or_else(too_large)?;
        let units = blocks.checked_mul(steps).ok_or_else(too_large)?;
        let multiplies = units.checked_mul(STEP as u64).ok_or_else(too_large)?;
        let activation_loads = units.checked_mul(16).ok_or_else(too_large)?;
        Ok(CostFacts { present: p.present(), stored_bytes, multiplies, activation_loads, row_blocks: blocks, units })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        // `stats` has found a grid.
        let Some(grid) = m.pattern.grid() else { return Vec::new() };
        let (rows, cols) = (m.rows(), m.cols());
        let blocks = rows.div_ceil(STEP_ROWS);
        let mut idx = vec![0u32; blocks * self.words(cols) * STEP_ROWS];
        let mut codes = vec![0u8; blocks * self.count(cols).div_ceil(2) * STEP];
        let mut scales = vec![0.0f32; blocks * self.groups(cols) * STEP_ROWS];
        for (row, line) in m.weights.chunks_exact(cols.max(1)).enumerate() {
            for (few, group) in line.chunks(self.m).enumerate() {
                let kept = group.iter().enumerate().filter(|(_, w)| present(**w));
                for (e, (position, w)) in kept.enumerate() {
                    let at = self.place(cols, row, few * self.n + e);
                    let code = grid.code(row, few * self.m + position, *w);
                    codes[at.code] |= (code.to_ne_bytes()[0] & 15) << at.half;
                    idx[at.word] |= (position as u32) << at.shift;
                }
            }
            for g in 0..self.groups(cols) {
                let slot = (row / STEP_ROWS * self.groups(cols) + g) * STEP_ROWS + row % STEP_ROWS;
                let first = g * self.group;
                scales[slot] = grid.over(row, first, (first + self.group).min(cols)).unwrap_or(0.0);
            }
        }
        let scale = if self.half {
            Array::U8(scales.iter().flat_map(|s| half_bits(*s).unwrap_or(0).to_le_bytes()).collect())
        } else {
            Array::F32(scales)
        };
        vec![Array::U32(idx), Array::U8(codes), scale]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (idx, codes) = (p.words("idx"), p.small("codes"));
        let (blocks, groups) = (p.rows.div_ceil(STEP_ROWS), self.groups(p.cols));
        length("idx", idx.len(), &[blocks, self.words(p.cols), STEP_ROWS])?;
        length("codes", codes.len(), &[blocks, self.count(p.cols).div_ceil(2), STEP])?;
        let (found, each) = if self.half { (p.small("scale").len(), 2) } else { (p.floats("scale").len(), 1) };
        length("scale", found, &[blocks, groups, STEP_ROWS, each])?;
        let bits = self.steps().bits;
        let (mut left, mut halves) = (idx.to_vec(), codes.to_vec());
        // Without groups there is nothing to look at, however many rows.
        for row in 0..if groups == 0 { 0 } else { blocks * STEP_ROWS } {
            for g in 0..groups {
                let s = self.scale(p, row, g);
                if !(s.to_bits() == 0 || s.is_normal() && s > 0.0) || row >= p.rows && s != 0.0 {
                    return Err(format!("row {row}, scale {g}: {s} is no scale"));
                }
            }
            let mut last = None;
            for slot in 0..self.slots(p.cols) {
                let few = self.few(slot);
                let fault = |text: &str| Err(format!("row {row}, group {few}: {text}"));
                let at = self.place(p.cols, row, slot);
                let (code, position) = (self.code(p, &at), self.position(p, &at));
                left[at.word] &= !(((1 << bits) - 1) << at.shift);
                halves[at.code] &= !(15 << at.half);
                if slot % self.n == 0 {
                    last = Some(None);
                }
                if code == 0 {
                    if position != 0 {
                        return fault("padding has a position");
                    }
                    last = None;
                    continue;
                }
                let col = few * self.m + position;
                if col >= p.cols || position >= self.m {
                    return fault("a position is out of range");
                }
                match last {
                    None => return fault("padding stands before a weight"),
                    Some(Some(before)) if before >= position => return fault("positions do not ascend"),
                    _ => last = Some(Some(position)),
                }
                if code == -8 {
                    return fault("a code is out of range");
                }
                if self.scale(p, row, col / self.group) == 0.0 {
                    return fault("a code without a scale");
                }
            }
        }
        if left.iter().any(|w| *w != 0) || halves.iter().any(|b| *b != 0) {
            return Err("a bit that no entry needs is not zero".into());
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let (few, position) = (col / self.m, col % self.m);
        let mut entries = (0..self.n).map(|e| self.place(p.cols, row, few * self.n + e));
        let found = entries.find(|at| self.code(p, at) != 0 && self.position(p, at) == position);
        found.map_or(0.0, |at| f32::from(self.code(p, &at)) * self.scale(p, row, col / self.group))
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        for row in 0..if self.slots(p.cols) == 0 { 0 } else { p.rows } {
            for slot in 0..self.slots(p.cols) {
                let at = self.place(p.cols, row, slot);
                let code = self.code(p, &at);
                if code != 0 {
                    let col = self.few(slot) * self.m + self.position(p, &at);
                    f(row, col, f32::from(code) * self.scale(p, row, col / self.group));
                }
            }
        }
    }
}
