//! `i8nm(N,M)`: N of M in 8-bit codes with one scale a row, M up to 16, sixteen rows side by side, for activations that are
//! 8-bit integers too.
//!
//! ```text
//! idx u32[nb][W][16], codes i8[nb][S][16][4], start i32[nb*16], scale f32[nb*16]; nb = ceil(O/16)
//! ```
//!
//! The entries of a row, N for each group of M inputs, are cut into steps of four codes; [`Steps`] says how many groups fill
//! whole steps. Byte i of a lane of `idx` holds the positions of code i in as many consecutive steps as it has fields of 2 bits
//! (M up to 4) or 4, the first in the lowest.
//!
//! In a group the present weights come first, by ascending position. What is left is padding: code and position zero, as
//! everything in rows past the last and groups past the last.
use crate::codes8::{STEP, STEP_CODES, STEP_ROWS, byte, check_ends, check_row, ends, facts, grid, signed};
use crate::format::{Format, Matrix, length, present, too_large};
use crate::nm::Nm;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// How `i8nm` cuts the entries of a row into steps of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Kept of each group.
    pub n: usize,
    /// Inputs of a group.
    pub m: usize,
    /// Bits of a position.
    pub bits: u32,
    /// Groups whose entries fill whole steps, the fewest.
    pub groups: usize,
}

impl Steps {
    /// Of groups of `n` kept of `m`; both are at least 1.
    pub fn of(n: usize, m: usize) -> Steps {
        let groups = [1, 2, 4].into_iter().find(|g| (g * n).is_multiple_of(STEP_CODES)).unwrap_or(4);
        Steps { n, m, bits: if m <= 4 { 2 } else { 4 }, groups }
    }

    /// Steps that [`Steps::groups`] fill.
    pub fn per_unit(self) -> usize {
        self.groups * self.n / STEP_CODES
    }

    /// Steps whose positions share a word.
    pub fn per_word(self) -> usize {
        (8 / self.bits) as usize
    }

    /// Steps of a row of so many inputs.
    pub fn count(self, cols: usize) -> usize {
        cols.div_ceil(self.m).div_ceil(self.groups) * self.per_unit()
    }

    /// Words of positions of a row of so many inputs.
    pub fn words(self, cols: usize) -> usize {
        self.count(cols).div_ceil(self.per_word())
    }

    /// The group of a code of a step.
    pub fn group(self, step: usize, code: usize) -> usize {
        (step * STEP_CODES + code) / self.n
    }
}

pub(crate) struct Nm8 {
    pub n: usize,
    pub m: usize,
}

/// Where the entry of a row lies: its code, its word of positions, and the lowest bit of its field.
struct Place {
    code: usize,
    word: usize,
    shift: u32,
}

impl Nm8 {
    fn steps(&self) -> Steps {
        Steps::of(self.n, self.m)
    }

    fn place(&self, cols: usize, row: usize, step: usize, code: usize) -> Place {
        let s = self.steps();
        let (block, lane) = (row / STEP_ROWS, row % STEP_ROWS);
        let word = (block * s.words(cols) + step / s.per_word()) * STEP_ROWS + lane;
        let shift = 8 * code as u32 + s.bits * (step % s.per_word()) as u32;
        Place { code: (block * s.count(cols) + step) * STEP + lane * STEP_CODES + code, word, shift }
    }

    fn position(&self, p: &Packed, at: &Place) -> usize {
        (p.words("idx")[at.word] >> at.shift & ((1 << self.steps().bits) - 1)) as usize
    }

    /// The entry `e` of group `g`.
    fn entry(&self, cols: usize, row: usize, g: usize, e: usize) -> Place {
        let slot = g * self.n + e;
        self.place(cols, row, slot / STEP_CODES, slot % STEP_CODES)
    }
}

impl Format for Nm8 {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("idx", ArrayKind::U32), ("codes", ArrayKind::U8), ("start", ArrayKind::U32), ("scale", ArrayKind::F32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        Nm { n: self.n, m: self.m }.stats(p)?;
        grid(p)?;
        let blocks = p.rows().div_ceil(STEP_ROWS) as u64;
        let (s, bytes) = (self.steps(), 4 * STEP_ROWS as u64);
        let steps = blocks.checked_mul(s.count(p.cols()) as u64).ok_or_else(too_large)?;
        let words = (s.words(p.cols()) as u64).checked_mul(bytes).and_then(|w| w.checked_mul(blocks));
        let facts = facts(p, steps, words.ok_or_else(too_large)?)?;
        // Tables of 16 inputs.
        let activation_loads = steps.checked_mul(16).ok_or_else(too_large)?;
        Ok(CostFacts { activation_loads, ..facts })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        // `stats` has found a grid.
        let Ok(grid) = grid(m.pattern) else { return Vec::new() };
        let (rows, cols, s) = (m.rows(), m.cols(), self.steps());
        let blocks = rows.div_ceil(STEP_ROWS);
        let mut idx = vec![0u32; blocks * s.words(cols) * STEP_ROWS];
        let mut codes = vec![0u8; blocks * s.count(cols) * STEP];
        let mut sums = vec![0i32; blocks * STEP_ROWS];
        for (row, line) in m.weights.chunks_exact(cols.max(1)).enumerate() {
            for (g, group) in line.chunks(self.m).enumerate() {
                let kept = group.iter().enumerate().filter(|(_, w)| present(**w));
                for (e, (position, w)) in kept.enumerate() {
                    let at = self.entry(cols, row, g, e);
                    let code = grid.code(row, g * self.m + position, *w);
                    codes[at.code] = byte(code);
                    idx[at.word] |= (position as u32) << at.shift;
                    sums[row] += i32::from(code);
                }
            }
        }
        let (start, scale) = ends(grid, rows, &sums);
        vec![Array::U32(idx), Array::U8(codes), Array::U32(start), Array::F32(scale)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (idx, codes, s) = (p.words("idx"), p.small("codes"), self.steps());
        let blocks = p.rows.div_ceil(STEP_ROWS);
        length("idx", idx.len(), &[blocks, s.words(p.cols), STEP_ROWS])?;
        length("codes", codes.len(), &[blocks, s.count(p.cols), STEP])?;
        check_ends(p, blocks, STEP_ROWS)?;
        // Every bit of the fields that are read is taken off; nothing may be left.
        let mut rest = idx.to_vec();
        let mask = (1 << s.bits) - 1;
        for row in 0..blocks * STEP_ROWS {
            let (mut sum, mut any) = (0i32, false);
            let mut last = None;
            for slot in 0..s.count(p.cols) * STEP_CODES {
                let (g, e) = (slot / self.n, slot % self.n);
                let fault = |text: &str| Err(format!("row {row}, group {g}: {text}"));
                let at = self.entry(p.cols, row, g, e);
                let (code, position) = (signed(codes[at.code]), self.position(p, &at));
                rest[at.word] &= !(mask << at.shift);
                if e == 0 {
                    last = Some(None);
                }
                if code == 0 {
                    if position != 0 {
                        return fault("padding has a position");
                    }
                    last = None;
                    continue;
                }
                // Positions lie in the group, and a group past the last has none.
                if g * self.m + position >= p.cols || position >= self.m {
                    return fault("a position is out of range");
                }
                match last {
                    None => return fault("padding stands before a weight"),
                    Some(Some(before)) if before >= position => return fault("positions do not ascend"),
                    _ => last = Some(Some(position)),
                }
                if code == i8::MIN {
                    return fault("a code is -128");
                }
                sum += i32::from(code);
                any = true;
            }
            check_row(p, row, sum, any)?;
        }
        if rest.iter().any(|w| *w != 0) {
            return Err("a bit that no position needs is not zero".into());
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let (g, position) = (col / self.m, col % self.m);
        let mut entries = (0..self.n).map(|e| self.entry(p.cols, row, g, e));
        let found = entries.find(|at| p.small("codes")[at.code] != 0 && self.position(p, at) == position);
        found.map_or(0.0, |at| f32::from(signed(p.small("codes")[at.code])) * p.floats("scale")[row])
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let (s, scale) = (self.steps(), p.floats("scale"));
        for (i, code) in p.small("codes").iter().enumerate().filter(|(_, c)| **c != 0) {
            let (step, lane, k) = (i / STEP, i % STEP / STEP_CODES, i % STEP_CODES);
            let (block, step) = (step / s.count(p.cols), step % s.count(p.cols));
            let row = block * STEP_ROWS + lane;
            let position = self.position(p, &self.place(p.cols, row, step, k));
            f(row, s.group(step, k) * self.m + position, f32::from(signed(*code)) * scale[row]);
        }
    }
}
