//! `i8csr(C)`: any pattern in 8-bit codes with one scale a row, sixteen rows side by side, for activations that are 8-bit integers
//! too.
//!
//! ```text
//! ptr u32[nb+1], idx u32[n] (first input), places u8[n][C/4][16][4], codes i8[n][C/4][16][4], start i32[nb*16], scale f32[nb*16]
//! ```
//!
//! with `nb = ceil(O/16)` and C 4 or 8. A step takes from each of sixteen rows its next weights: at most C, all among the 64 inputs from
//! `idx` on, which is the first input that any of the rows still needs. A place is the distance from there. What is left of the
//! C is padding: place and code zero, as in rows past the last.
use crate::codes8::{STEP_CODES, STEP_ROWS, byte, check_ends, check_row, ends, facts, grid, signed};
use crate::format::{Format, Matrix, ascending, fits_pointer, length, pointers, span, to_u32};
use crate::pattern::positions;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// Inputs of a window.
pub(crate) const WINDOW: usize = 64;

pub(crate) struct Pick8 {
    /// Codes of a row in a step.
    pub codes: usize,
}

impl Pick8 {
    /// Bytes of a step.
    fn step(&self) -> usize {
        STEP_ROWS * self.codes
    }

    /// Where a step has code `k` of a row.
    fn at(&self, lane: usize, k: usize) -> usize {
        (k / STEP_CODES * STEP_ROWS + lane) * STEP_CODES + k % STEP_CODES
    }

    /// Calls `step` with the first input of each step of the row block from `first` on, and the inputs of each row.
    fn steps(&self, p: &Pattern, first: usize, step: &mut dyn FnMut(usize, &[Vec<usize>])) {
        let last = p.rows().min(first + STEP_ROWS);
        let mut rows: Vec<_> = (first..last).map(|r| positions(p.row(r)).peekable()).collect();
        let mut taken = vec![Vec::new(); rows.len()];
        while let Some(from) = rows.iter_mut().filter_map(|r| r.peek().copied()).min() {
            for (row, list) in rows.iter_mut().zip(&mut taken) {
                list.clear();
                while let Some(col) = row.next_if(|col| list.len() < self.codes && *col < from + WINDOW) {
                    list.push(col);
                }
            }
            step(from, &taken);
        }
    }
}

impl Format for Pick8 {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[
            ("ptr", ArrayKind::U32),
            ("idx", ArrayKind::U32),
            ("places", ArrayKind::U8),
            ("codes", ArrayKind::U8),
            ("start", ArrayKind::U32),
            ("scale", ArrayKind::F32),
        ]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        grid(p)?;
        let mut n = 0u64;
        for first in (0..p.rows()).step_by(STEP_ROWS) {
            self.steps(p, first, &mut |_, _| n += 1);
        }
        fits_pointer(n)?;
        let pointers = 4 * (p.rows().div_ceil(STEP_ROWS) as u64 + 1);
        // A step is stored for a weight at least, so that this fits.
        let facts = facts(p, n * (self.codes / STEP_CODES) as u64, n * (4 + self.step() as u64) + pointers)?;
        Ok(CostFacts { activation_loads: n * WINDOW as u64, ..facts })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        // `stats` has found a grid.
        let Ok(grid) = grid(m.pattern) else { return Vec::new() };
        let blocks = m.rows().div_ceil(STEP_ROWS);
        let (mut ptr, mut idx, mut places, mut codes) = (vec![0], Vec::new(), Vec::new(), Vec::new());
        let mut sums = vec![0i32; blocks * STEP_ROWS];
        for block in 0..blocks {
            let first = block * STEP_ROWS;
            self.steps(m.pattern, first, &mut |from, taken| {
                let base = codes.len();
                idx.push(to_u32(from));
                codes.resize(base + self.step(), 0);
                places.resize(base + self.step(), 0);
                for (lane, list) in taken.iter().enumerate() {
                    for (k, col) in list.iter().enumerate() {
                        let code = grid.code(first + lane, *col, m.at(first + lane, *col));
                        sums[first + lane] += i32::from(code);
                        codes[base + self.at(lane, k)] = byte(code);
                        places[base + self.at(lane, k)] = (col - from) as u8;
                    }
                }
            });
            ptr.push(to_u32(idx.len()));
        }
        let (start, scale) = ends(grid, m.rows(), &sums);
        let (places, codes) = (Array::U8(places), Array::U8(codes));
        vec![Array::U32(ptr), Array::U32(idx), places, codes, Array::U32(start), Array::F32(scale)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (ptr, idx) = (p.words("ptr"), p.words("idx"));
        let (places, codes) = (p.small("places"), p.small("codes"));
        let blocks = p.rows.div_ceil(STEP_ROWS);
        pointers(ptr, blocks, idx.len())?;
        length("places", places.len(), &[idx.len(), self.step()])?;
        length("codes", codes.len(), &[idx.len(), self.step()])?;
        ascending(ptr, idx, p.cols)?;
        check_ends(p, blocks, STEP_ROWS)?;
        for b in 0..blocks {
            for lane in 0..STEP_ROWS {
                let row = b * STEP_ROWS + lane;
                let (mut sum, mut next) = (0i32, 0usize);
                for i in span(ptr, b) {
                    let mut pads = false;
                    for k in 0..self.codes {
                        let at = i * self.step() + self.at(lane, k);
                        let (code, place) = (&codes[at], &places[at]);
                        let fault = |text: &str| Err(format!("row {row}, step {i}: {text}"));
                        let (code, col) = (signed(*code), idx[i] as usize + usize::from(*place));
                        if code == 0 {
                            if *place != 0 {
                                return fault("padding has a place");
                            }
                            pads = true;
                            continue;
                        }
                        if usize::from(*place) >= WINDOW || col >= p.cols {
                            return fault("a place is out of range");
                        }
                        if pads {
                            return fault("padding stands before a weight");
                        }
                        if col < next {
                            return fault("inputs do not ascend");
                        }
                        if code == i8::MIN {
                            return fault("a code is -128");
                        }
                        next = col + 1;
                        sum += i32::from(code);
                    }
                }
                check_row(p, row, sum, next > 0)?;
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let (idx, places, codes) = (p.words("idx"), p.small("places"), p.small("codes"));
        let list = span(p.words("ptr"), row / STEP_ROWS);
        // Steps whose windows hold the input.
        let from = list.start + idx[list.clone()].partition_point(|i| *i as usize + WINDOW <= col);
        for (i, first) in idx.iter().enumerate().take(list.end).skip(from) {
            if *first as usize > col {
                break;
            }
            let places_of = (0..self.codes).map(|k| i * self.step() + self.at(row % STEP_ROWS, k));
            let here = |k: &usize| codes[*k] != 0 && *first as usize + usize::from(places[*k]) == col;
            if let Some(k) = places_of.into_iter().find(here) {
                return f32::from(signed(codes[k])) * p.floats("scale")[row];
            }
        }
        0.0
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let (ptr, idx, scale) = (p.words("ptr"), p.words("idx"), p.floats("scale"));
        let (places, codes) = (p.small("places"), p.small("codes"));
        for b in 0..ptr.len().saturating_sub(1) {
            let step = self.step();
            for k in span(ptr, b).flat_map(|i| i * step..(i + 1) * step).filter(|k| codes[*k] != 0) {
                let row = b * STEP_ROWS + k % (STEP_ROWS * STEP_CODES) / STEP_CODES;
                f(row, idx[k / step] as usize + usize::from(places[k]), f32::from(signed(codes[k])) * scale[row]);
            }
        }
    }
}
