//! `q4(G,S)`, `q8(G,S)`: codes of 4 or 8 bits, one scale of S bits (16 or 32) for each G consecutive inputs of a row (16, 32
//! or 64). `kept4(G,S)`, `kept8(G,S)`: the same of those groups that hold a weight.
//!
//! ```text
//! q:    codes u8[O][U][B], scale [O][U * P], levels f32[16] (4 bits only)
//! kept: ptr u32[O+1], skip u8[n * P], codes u8[n][B], scale [n * P], levels f32[16] (4 bits only)
//! ```
//!
//! Groups lie in units of P groups and B bytes: two groups of 16 codes of 4 bits (16 bytes), else one group. A byte of 4-bit
//! codes has two: code j and code 16 + j of 32 consecutive ones, or code j of the first and of the second group. `U` is the
//! number of units of all `ceil(K/G)` groups; `ptr` counts units. `skip` is the number of groups left out since the stored
//! group before. A unit that has no second group is filled with one that begins past the last input; its codes and its scale
//! are zero, as those of inputs past the last. Scales of 16 bits are f16 numbers, two bytes each, the lower first.
//!
//! A weight is `code * scale` in f32, and `levels` the codes as floats: `0 .. 7, -8 .. -1`.
use crate::format::{Format, Matrix, fits_pointer, length, pointers, present, span, to_u32, too_large};
use crate::grid::{half_bits, half_value};
use crate::pattern::count;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// Codes that a vector of the widest kernels holds.
const VECTOR: usize = 16;

/// Groups that `skip` can leave out.
const MOST_SKIPPED: usize = 255;

/// The codes of four bits as floats, by their bits.
const LEVELS: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0];

/// How codes of groups lie in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// Bits of a code.
    pub bits: u32,
    /// Inputs of a group.
    pub group: usize,
    /// Groups of a unit.
    pub groups: usize,
    /// Bytes of a unit.
    pub bytes: usize,
}

impl Units {
    pub fn of(bits: u32, group: usize) -> Units {
        if bits == 4 && group == VECTOR {
            return Units { bits, group, groups: 2, bytes: VECTOR };
        }
        Units { bits, group, groups: 1, bytes: group * bits as usize / 8 }
    }

    /// Units of a row of that many groups.
    pub fn of_row(self, groups: usize) -> usize {
        groups.div_ceil(self.groups)
    }

    /// Byte and lowest bit, in a unit, of code `i` of its group `g`.
    fn place(self, g: usize, i: usize) -> (usize, u32) {
        match (self.bits, self.groups) {
            (4, 2) => (i, 4 * g as u32),
            (4, _) => (i / 32 * 16 + i % 16, (i / 16 % 2) as u32 * 4),
            _ => (i, 0),
        }
    }

    /// The code in a unit.
    fn code(self, unit: &[u8], g: usize, i: usize) -> i8 {
        let (byte, shift) = self.place(g, i);
        match self.bits {
            // Moved to the top and back, with its sign.
            4 => i8::from_ne_bytes([unit[byte] >> shift << 4]) >> 4,
            _ => i8::from_ne_bytes([unit[byte]]),
        }
    }

    fn set(self, unit: &mut [u8], g: usize, i: usize, code: i8) {
        let (byte, shift) = self.place(g, i);
        let bits = if self.bits == 4 { code.to_ne_bytes()[0] & 15 } else { code.to_ne_bytes()[0] };
        unit[byte] |= bits << shift;
    }
}

pub(crate) struct Groups {
    pub bits: u32,
    pub group: usize,
    /// Scales are f16 numbers.
    pub half: bool,
    /// Only groups that hold a weight are stored.
    pub kept: bool,
}

/// Where a stored group is.
struct Stored {
    row: usize,
    /// Its number in the row: inputs from `number * group` on.
    number: usize,
    /// Its place among all stored ones.
    slot: usize,
}

impl Groups {
    fn units(&self) -> Units {
        Units::of(self.bits, self.group)
    }

    fn of_row(&self, cols: usize) -> usize {
        cols.div_ceil(self.group)
    }

    fn keeps<'a>(&'a self, words: &'a [u64], cols: usize) -> impl Iterator<Item = usize> + 'a {
        let holds = move |g: usize| count(words, g * self.group, ((g + 1) * self.group).min(cols)) > 0;
        (0..self.of_row(cols)).filter(move |g| !self.kept || holds(*g))
    }

    /// The kept groups of a row, filled up to whole units, and the groups that are left out before each.
    fn listed(&self, row: usize, words: &[u64], cols: usize) -> Result<Vec<(usize, usize)>, Refusal> {
        let mut list: Vec<usize> = self.keeps(words, cols).collect();
        while !list.len().is_multiple_of(self.units().groups) {
            let past = list.last().map_or(0, |g| g + 1).max(self.of_row(cols));
            list.push(past);
        }
        let mut next = 0;
        let mut out = Vec::with_capacity(list.len());
        for g in list {
            let skip = g - next;
            if self.kept && skip > MOST_SKIPPED {
                let text =
                    format!("row {row} leaves out {skip} groups in a row, and at most {MOST_SKIPPED} fit a byte");
                return Err(Refusal(text));
            }
            out.push((g, skip));
            next = g + 1;
        }
        Ok(out)
    }

    fn scale(&self, p: &Packed, slot: usize) -> f32 {
        if !self.half {
            return p.floats("scale")[slot];
        }
        let s = p.small("scale");
        half_value(u16::from_le_bytes([s[2 * slot], s[2 * slot + 1]]))
    }

    fn unit<'a>(&self, p: &'a Packed, slot: usize) -> &'a [u8] {
        let u = self.units();
        &p.small("codes")[slot / u.groups * u.bytes..][..u.bytes]
    }

    fn code(&self, p: &Packed, slot: usize, i: usize) -> i8 {
        let u = self.units();
        u.code(self.unit(p, slot), slot % u.groups, i)
    }

    /// Stored units of a row.
    fn row_units(&self, p: &Packed, row: usize) -> std::ops::Range<usize> {
        if self.kept {
            return span(p.words("ptr"), row);
        }
        let n = self.units().of_row(self.of_row(p.cols));
        row * n..(row + 1) * n
    }

    /// Calls `f` for each stored group of a row, fill included.
    fn row_groups(
        &self,
        p: &Packed,
        row: usize,
        mut f: impl FnMut(Stored) -> Result<(), String>,
    ) -> Result<(), String> {
        let per = self.units().groups;
        let units = self.row_units(p, row);
        let mut next = 0usize;
        for slot in units.start * per..units.end * per {
            let number = next + if self.kept { usize::from(p.small("skip")[slot]) } else { 0 };
            f(Stored { row, number, slot })?;
            next = number + 1;
        }
        Ok(())
    }
}

impl Format for Groups {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        use ArrayKind::{F32, U8, U32};
        match (self.bits, self.half, self.kept) {
            (4, true, false) => &[("codes", U8), ("scale", U8), ("levels", F32)],
            (4, false, false) => &[("codes", U8), ("scale", F32), ("levels", F32)],
            (4, true, true) => &[("ptr", U32), ("skip", U8), ("codes", U8), ("scale", U8), ("levels", F32)],
            (4, false, true) => &[("ptr", U32), ("skip", U8), ("codes", U8), ("scale", F32), ("levels", F32)],
            (_, true, false) => &[("codes", U8), ("scale", U8)],
            (_, false, false) => &[("codes", U8), ("scale", F32)],
            (_, true, true) => &[("ptr", U32), ("skip", U8), ("codes", U8), ("scale", U8)],
            (_, false, true) => &[("ptr", U32), ("skip", U8), ("codes", U8), ("scale", F32)],
        }
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        let no = |text: &str| Err(Refusal(text.into()));
        let Some(grid) = p.grid() else { return no("the weights are not whole multiples of scales") };
        if !grid.joins(self.group, p.cols()) {
            return Err(Refusal(format!("a scale holds for {} inputs, not for {}", grid.group, self.group)));
        }
        if grid.top > 7 && self.bits == 4 {
            return no("the weights take more than 4 bits");
        }
        if self.half && !grid.half {
            return no("the scales are no f16 numbers");
        }
        let (units, rows) = (self.units(), p.rows() as u64);
        let mut n = 0u64;
        if self.kept {
            for row in 0..if p.cols() == 0 { 0 } else { p.rows() } {
                n += units.of_row(self.listed(row, p.row(row), p.cols())?.len()) as u64;
            }
        } else {
            n = rows.checked_mul(units.of_row(self.of_row(p.cols())) as u64).ok_or_else(too_large)?;
        }
        fits_pointer(n)?;
        let groups = n.checked_mul(units.groups as u64).ok_or_else(too_large)?;
        let multiplies = groups.checked_mul(self.group as u64).ok_or_else(too_large)?;
        let scale = if self.half { 2 } else { 4 };
        let lists = if self.kept { rows.saturating_add(1).saturating_mul(4).saturating_add(groups) } else { 0 };
        let levels = if self.bits == 4 { 64 } else { 0 };
        let stored_bytes = n
            .checked_mul(units.bytes as u64)
            .and_then(|b| b.checked_add(groups * scale)?.checked_add(lists)?.checked_add(levels))
            .ok_or_else(too_large)?;
        let present = p.present();
        let units = multiplies / VECTOR as u64;
        Ok(CostFacts { present, stored_bytes, multiplies, activation_loads: groups, row_blocks: rows, units })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let units = self.units();
        let (mut ptr, mut skips, mut codes, mut halves, mut scales) = (vec![0u32], vec![], vec![], vec![], vec![]);
        // `stats` has found a grid, and no gap too wide.
        let Some(grid) = m.pattern.grid() else { return Vec::new() };
        for row in 0..m.rows() {
            let listed = if m.cols() == 0 {
                Vec::new()
            } else {
                self.listed(row, m.pattern.row(row), m.cols()).unwrap_or_default()
            };
            for unit in listed.chunks(units.groups) {
                let from = codes.len();
                codes.resize(from + units.bytes, 0u8);
                for (i, (g, skip)) in unit.iter().enumerate() {
                    let first = g * self.group;
                    for col in first..(first + self.group).min(m.cols()) {
                        let w = m.at(row, col);
                        let code = if present(w) { grid.code(row, col, w) } else { 0 };
                        units.set(&mut codes[from..], i, col - first, code);
                    }
                    let end = (first + self.group).min(m.cols());
                    let s = if first < end { grid.over(row, first, end).unwrap_or(0.0) } else { 0.0 };
                    halves.extend(half_bits(s).unwrap_or(0).to_le_bytes());
                    scales.push(s);
                    // Never more than fits, where it is read.
                    skips.push(u8::try_from(*skip).unwrap_or(0));
                }
            }
            ptr.push(to_u32(codes.len() / units.bytes));
        }
        let mut out = if self.kept { vec![Array::U32(ptr), Array::U8(skips)] } else { Vec::new() };
        out.push(Array::U8(codes));
        out.push(if self.half { Array::U8(halves) } else { Array::F32(scales) });
        if self.bits == 4 {
            out.push(Array::F32(LEVELS.to_vec()));
        }
        out
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let u = self.units();
        let codes = p.small("codes");
        let n = codes.len() / u.bytes;
        if self.kept {
            pointers(p.words("ptr"), p.rows, n)?;
            length("skip", p.small("skip").len(), &[n, u.groups])?;
            length("codes", codes.len(), &[n, u.bytes])?;
        } else {
            length("codes", codes.len(), &[p.rows, u.of_row(self.of_row(p.cols)), u.bytes])?;
        }
        let scales = if self.half { p.small("scale").len() } else { p.floats("scale").len() };
        let each = if self.half { 2 } else { 1 };
        length("scale", scales, &[n, u.groups, each])?;
        let same = |a: &f32, b: &f32| a.to_bits() == b.to_bits();
        let levels = p.floats("levels");
        if self.bits == 4 && !(levels.len() == LEVELS.len() && levels.iter().zip(&LEVELS).all(|(a, b)| same(a, b))) {
            return Err("`levels` are not the codes as floats".into());
        }
        let groups = self.of_row(p.cols);
        // Without anything stored there is nothing to look at, however many rows.
        for row in 0..if n == 0 { 0 } else { p.rows } {
            let last = self.row_units(p, row).end * u.groups;
            self.row_groups(p, row, |g| {
                let fault = |text: &str| Err(format!("row {row}, group {}: {text}", g.number));
                let s = self.scale(p, g.slot);
                if !(s.to_bits() == 0 || s.is_normal() && s > 0.0) {
                    return fault("that is no scale");
                }
                let fill = g.number >= groups;
                if fill && !(u.groups == 2 && g.slot % 2 == 1 && g.slot + 1 == last) {
                    return fault("the group is out of range");
                }
                if fill && s != 0.0 {
                    return fault("fill has a scale");
                }
                // Inputs that there are; those past the last have the code zero, as all have where the scale is.
                let width = if fill || s == 0.0 { 0 } else { self.group.min(p.cols - g.number * self.group) };
                if (width..self.group).any(|i| self.code(p, g.slot, i) != 0) {
                    return fault("a code that no weight has is not zero");
                }
                if (0..width).any(|i| self.code(p, g.slot, i) == if self.bits == 4 { -8 } else { -128 }) {
                    return fault("a code is out of range");
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let mut found = 0.0;
        let looked = self.row_groups(p, row, |g| {
            if g.number == col / self.group {
                let code = self.code(p, g.slot, col % self.group);
                found = if code == 0 { 0.0 } else { f32::from(code) * self.scale(p, g.slot) };
            }
            Ok(())
        });
        if looked.is_ok() { found } else { 0.0 }
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        for row in 0..if p.small("codes").is_empty() { 0 } else { p.rows } {
            let looked = self.row_groups(p, row, |g| {
                let s = self.scale(p, g.slot);
                for i in 0..self.group {
                    let code = self.code(p, g.slot, i);
                    if code != 0 {
                        f(g.row, g.number * self.group + i, f32::from(code) * s);
                    }
                }
                Ok(())
            });
            debug_assert!(looked.is_ok());
        }
    }
}
