//! Where a matrix is present: one bit an element.
use crate::format::present;
use crate::{CostFacts, Form, Grid, Layout, Refusal};

/// Bitmap of present weights, rows padded to whole 64-bit words (unused bits are zero), and their grid if they have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    rows: usize,
    cols: usize,
    words: usize,
    bits: Vec<u64>,
    present: u64,
    grid: Option<Grid>,
    bf16: bool,
    f16: bool,
}

impl Pattern {
    /// Scans `weights` (`[rows, cols]`, row-major) once.
    ///
    /// # Errors
    /// When the length is not `rows * cols`, or an axis does not fit 32 bits.
    pub fn new(rows: usize, cols: usize, weights: &[f32]) -> Result<Pattern, Refusal> {
        if rows.checked_mul(cols) != Some(weights.len()) {
            return Err(Refusal(format!("{} values are not a matrix of {rows} x {cols}", weights.len())));
        }
        if u32::try_from(rows).is_err() || u32::try_from(cols).is_err() {
            return Err(Refusal(format!("{rows} x {cols} is too large: an axis must fit 32 bits")));
        }
        let words = cols.div_ceil(64);
        let mut bits = Vec::with_capacity(rows.saturating_mul(words).min(weights.len()));
        let mut count = 0u64;
        if cols > 0 {
            for row in weights.chunks_exact(cols) {
                for chunk in row.chunks(64) {
                    let mut word = 0u64;
                    for (i, w) in chunk.iter().enumerate() {
                        word |= u64::from(present(*w)) << i;
                    }
                    count += u64::from(word.count_ones());
                    bits.push(word);
                }
            }
        }
        let bf16 = weights.iter().all(|w| Form::Bf16.narrow(*w).is_some());
        let f16 = weights.iter().all(|w| Form::F16.narrow(*w).is_some());
        Ok(Pattern { rows, cols, words, bits, present: count, grid: Grid::find(cols, weights), bf16, f16 })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of present weights.
    pub fn present(&self) -> u64 {
        self.present
    }

    /// The scales of which all weights are whole multiples, if there are any.
    pub fn grid(&self) -> Option<&Grid> {
        self.grid.as_ref()
    }

    /// True if every weight is a bf16 number.
    pub fn bf16(&self) -> bool {
        self.bf16
    }

    /// As the pattern of bf16 numbers at the same places.
    pub(crate) fn as_if_bf16(&self) -> Pattern {
        Pattern { bf16: true, ..self.clone() }
    }

    /// True if every weight is a number of this form.
    pub fn has(&self, form: Form) -> bool {
        match form {
            Form::Bf16 => self.bf16,
            Form::F16 => self.f16,
        }
    }

    /// Cost facts in `layout`.
    ///
    /// # Errors
    /// Why the layout cannot hold a matrix of this pattern.
    pub fn stats(&self, layout: &Layout) -> Result<CostFacts, Refusal> {
        layout.check()?;
        layout.with(|f| f.stats(self))
    }

    /// Words of one row.
    pub(crate) fn row(&self, row: usize) -> &[u64] {
        &self.bits[row * self.words..(row + 1) * self.words]
    }

    /// Writes the union of the rows `first..first + n` (those that exist) into `out`.
    pub(crate) fn union(&self, first: usize, n: usize, out: &mut Vec<u64>) {
        out.clear();
        out.resize(self.words, 0);
        for row in first..first.saturating_add(n).min(self.rows) {
            for (a, b) in out.iter_mut().zip(self.row(row)) {
                *a |= b;
            }
        }
    }
}

/// Number of set bits in `start..end` of a row of words.
pub(crate) fn count(words: &[u64], start: usize, end: usize) -> u32 {
    if start >= end {
        return 0;
    }
    let (first, last) = (start / 64, (end - 1) / 64);
    let low = u64::MAX << (start % 64);
    let high = u64::MAX >> (63 - (end - 1) % 64);
    if first == last {
        return (words[first] & low & high).count_ones();
    }
    let middle: u32 = words[first + 1..last].iter().map(|w| w.count_ones()).sum();
    (words[first] & low).count_ones() + middle + (words[last] & high).count_ones()
}

/// Positions of set bits, ascending.
pub(crate) fn positions(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(i, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let bit = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            Some(i * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_agrees_with_looking_at_each_bit() {
        let words = [0xF00F_1234_5678_9ABC_u64, 0, u64::MAX, 1 << 63];
        let bit = |i: usize| (words[i / 64] >> (i % 64)) & 1 == 1;
        for start in (0..256).step_by(7).chain([63, 64, 65, 127, 255]) {
            for end in [start, start + 1, start + 3, 63, 64, 65, 128, 200, 256] {
                let slow = (start..end.min(256)).filter(|i| bit(*i)).count() as u32;
                assert_eq!(count(&words, start, end.min(256)), slow, "{start}..{end}");
            }
        }
        assert_eq!(positions(&words).collect::<Vec<_>>(), (0..256).filter(|i| bit(*i)).collect::<Vec<_>>());
    }

    #[test]
    fn a_wrong_length_is_refused_and_nan_is_present() {
        assert!(Pattern::new(2, 3, &[0.0; 5]).is_err());
        assert!(Pattern::new(usize::MAX, 2, &[]).is_err());
        let p = Pattern::new(1, 5, &[0.0, -0.0, f32::NAN, f32::INFINITY, 1.0]).unwrap();
        assert_eq!(p.present(), 3);
    }
}
