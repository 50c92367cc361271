//! Weights that are whole multiples of scales: what `quantize` leaves behind, read from the values themselves.
//!
//! A grid gives each weight as `code * scale` in f32, bit for bit, so that a layout which stores codes and scales loses
//! nothing. One scale holds for a whole row, or for each group of consecutive inputs of a row.
use crate::Layout;
use crate::format::present;

/// Sizes of groups that are tried, besides whole rows: what a large one holds, small ones do.
const GROUPS: [usize; 4] = [128, 64, 32, 16];

/// Greatest codes that are tried: 4 and 8 bits, symmetric.
const TOPS: [i32; 2] = [7, 127];

/// `weight[row][col] = code * scale(row, col / group)` with `|code| <= top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Inputs that share a scale; at least the number of inputs where a row has one.
    pub group: usize,
    /// Greatest absolute code: 7 or 127.
    pub top: i32,
    /// True if every scale is an f16 number.
    pub half: bool,
    per_row: usize,
    /// Bits of the scales, row by row.
    scales: Vec<u32>,
}

/// True if every value is `c * s` for a whole `c` of at most `top`.
fn fits(values: &[f32], s: f32, top: i32) -> bool {
    s.is_normal()
        && values.iter().all(|v| {
            let c = (v / s).round_ties_even();
            c.abs() <= top as f32 && c * s == *v
        })
}

/// The next numbers on either side of the quotient, which rounding may have missed.
fn around(largest: f32, top: i32) -> [f32; 3] {
    let s = largest / top as f32;
    [s, f32::from_bits(s.to_bits().saturating_add(1)), f32::from_bits(s.to_bits().saturating_sub(1))]
}

/// The scale of values, 0 if all are zero.
fn scale(values: &[f32], top: i32, hints: &[f32]) -> Option<f32> {
    let largest = values.iter().fold(0.0f32, |m, v| if v.is_nan() { f32::NAN } else { m.max(v.abs()) });
    if !largest.is_finite() {
        return None;
    }
    if largest == 0.0 {
        return Some(0.0);
    }
    around(largest, top).into_iter().chain(hints.iter().copied()).find(|s| fits(values, *s, top))
}

/// True if an f16 number has this value.
pub(crate) fn is_half(s: f32) -> bool {
    half_bits(s).is_some()
}

/// The f16 number of this value: positive and normal, or zero.
pub(crate) fn half_bits(s: f32) -> Option<u16> {
    let bits = s.to_bits();
    if bits == 0 {
        return Some(0);
    }
    let exponent = (bits >> 23) as i32 - 127;
    let fits = (-14..=15).contains(&exponent) && bits & 0x1fff == 0;
    fits.then(|| (((exponent + 15) as u16) << 10) | ((bits >> 13) & 0x3ff) as u16)
}

/// The value of a positive f16 number that is normal or zero; NaN for any other.
pub(crate) fn half_value(bits: u16) -> f32 {
    match bits >> 10 {
        1..=30 => f32::from_bits((u32::from(bits) << 13) + ((127 - 15) << 23)),
        0 if bits == 0 => 0.0,
        // A subnormal, an infinity, a NaN or a negative number is no scale.
        _ => f32::NAN,
    }
}

impl Grid {
    /// The coarsest grid of few bits that holds `weights`, if there is one: whole rows before groups, 4 bits before 8.
    pub(crate) fn find(cols: usize, weights: &[f32]) -> Option<Grid> {
        if cols == 0 || !weights.iter().any(|w| present(*w)) {
            return None;
        }
        let groups = GROUPS.into_iter().filter(|g| *g < cols);
        std::iter::once(cols)
            .chain(groups)
            .flat_map(|g| TOPS.map(|top| (g, top)))
            .find_map(|(group, top)| Grid::of(cols, weights, group, top))
    }

    fn of(cols: usize, weights: &[f32], group: usize, top: i32) -> Option<Grid> {
        let per_row = cols.div_ceil(group);
        let mut scales = Vec::new();
        // A scale may hold for more than a row: that of the tensor, of a block of 16 rows, or of the row before.
        let mut all: Option<f32> = None;
        let most = |values: &[f32]| values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let mut hints = Vec::new();
        for (r, row) in weights.chunks_exact(cols).enumerate() {
            let own = (group < cols).then_some(&[] as &[f32]);
            for values in row.chunks(group) {
                let found = scale(values, top, own.unwrap_or(&hints)).or_else(|| {
                    if group < cols {
                        return None;
                    }
                    let first = r / 16 * 16 * cols;
                    let block = &weights[first..weights.len().min(first + 16 * cols)];
                    let all = *all.get_or_insert_with(|| most(weights));
                    hints = around(all, top).into_iter().chain(around(most(block), top)).collect();
                    scale(values, top, &hints)
                });
                scales.push(found?.to_bits());
            }
        }
        let half = scales.iter().all(|s| is_half(f32::from_bits(*s)));
        Some(Grid { group, top, half, per_row, scales })
    }

    /// Layouts of codes with a scale for each group that hold such weights: as few bits as will do.
    pub(crate) fn layouts(&self, cols: usize) -> impl Iterator<Item = Layout> + '_ {
        let (bits, scale) = (if self.top <= 7 { 4 } else { 8 }, if self.half { 16 } else { 32 });
        let fits = move |g: &u32| self.joins(*g as usize, cols);
        let groups = [64, 32, 16].into_iter().filter(fits);
        groups.flat_map(move |group| [false, true].map(|kept| Layout::Groups { bits, group, scale, kept }))
    }

    /// True if each row has one scale.
    pub fn by_row(&self) -> bool {
        self.per_row == 1
    }

    /// Scale of the weights of `row` in group `g`; 0 where all are zero.
    pub(crate) fn scale(&self, row: usize, g: usize) -> f32 {
        self.scales.get(row * self.per_row + g).map_or(0.0, |s| f32::from_bits(*s))
    }

    /// The scale that holds for the columns `from..to` of `row` (0 where all are zero), if it is one.
    pub(crate) fn over(&self, row: usize, from: usize, to: usize) -> Option<f32> {
        let mut found = 0.0;
        for g in from / self.group..to.div_ceil(self.group) {
            let s = self.scale(row, g);
            if s != 0.0 && found != 0.0 && s != found {
                return None;
            }
            found = if s == 0.0 { found } else { s };
        }
        Some(found)
    }

    /// True if one scale holds for each `group` consecutive inputs of the `cols` of every row.
    pub(crate) fn joins(&self, group: usize, cols: usize) -> bool {
        let rows = self.scales.len().checked_div(self.per_row).unwrap_or(0);
        let whole = |row: usize| (0..cols).step_by(group).all(|c| self.over(row, c, (c + group).min(cols)).is_some());
        self.by_row() || self.group.is_multiple_of(group) || (0..rows).all(whole)
    }

    /// The code of the weight `w` at `(row, col)`.
    pub(crate) fn code(&self, row: usize, col: usize, w: f32) -> i8 {
        let s = self.scale(row, col / self.group);
        if s == 0.0 { 0 } else { (w / s).round_ties_even() as i8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(values: &mut [f32], top: f32) {
        let s = values.iter().fold(0.0f32, |m, v| m.max(v.abs())) / top;
        values.iter_mut().for_each(|v| *v = (*v / s).round_ties_even() * s);
    }

    fn noise(n: usize) -> Vec<f32> {
        let mut x = 88_172_645_463_325_252u64;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 40) as f32 / 8_388_608.0 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn scales_are_found_and_reproduce_every_bit() {
        for (group, top) in [(96usize, 127.0f32), (96, 7.0), (32, 7.0), (16, 127.0)] {
            let mut w = noise(40 * 96);
            w.chunks_mut(96).flat_map(|r| r.chunks_mut(group)).for_each(|g| rounded(g, top));
            w[96..192].fill(0.0);
            let g = Grid::find(96, &w).unwrap();
            assert_eq!((g.group, g.top), (group, top as i32));
            for (i, v) in w.iter().enumerate() {
                let (row, col) = (i / 96, i % 96);
                let back = f32::from(g.code(row, col, *v)) * g.scale(row, col / g.group);
                assert_eq!(back, *v);
            }
        }
    }

    #[test]
    fn one_scale_of_a_tensor_or_a_block_of_rows() {
        let mut w = noise(64 * 20);
        rounded(&mut w, 127.0);
        assert!(Grid::find(20, &w).is_some_and(|g| g.by_row()));
        let mut w = noise(64 * 20);
        w.chunks_mut(16 * 20).for_each(|b| rounded(b, 127.0));
        assert!(Grid::find(20, &w).is_some_and(|g| g.by_row()));
    }

    #[test]
    fn other_weights_have_none() {
        assert_eq!(Grid::find(64, &noise(64 * 8)), None);
        assert_eq!(Grid::find(4, &[0.0; 8]), None);
        assert_eq!(Grid::find(2, &[1.0, f32::NAN]), None);
        assert_eq!(Grid::find(2, &[1.0, f32::INFINITY]), None);
        assert_eq!(Grid::find(0, &[]), None);
        // Scales below the normal range are no scales.
        assert_eq!(Grid::find(1, &[1e-44]), None);
    }

    #[test]
    fn halves() {
        assert_eq!(half_bits(1.0), Some(0x3c00));
        assert_eq!(half_bits(65504.0), Some(0x7bff));
        assert_eq!(half_bits(2f32.powi(-14)), Some(0x0400));
        assert_eq!(half_bits(0.0), Some(0));
        for no in [1.0 + 2f32.powi(-11), 65536.0, 2f32.powi(-15), -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(half_bits(no), None, "{no}");
        }
        for bits in 0..=u16::MAX {
            let v = half_value(bits);
            assert!(
                if v.is_nan() { bits >> 10 == 0 || bits >= 0x7c00 } else { half_bits(v) == Some(bits) },
                "{bits:x}"
            );
        }
    }
}
