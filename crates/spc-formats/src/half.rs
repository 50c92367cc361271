//! Layouts whose values are stored in 16 bits: `dense_bf16(P)`, `vx1_f16(V)` and so on. All arrays are those of the layout with
//! f32 values but `values u8[..][2]`, the lower byte first. Only weights that are bf16 (f16) numbers can be stored so, and are
//! read as the same f32.
//!
//! Layouts of tensor cores hold bf16 numbers by themselves; with f16 numbers (`mma24_f16`, `mma32_f16(R)`, ..) all their arrays are
//! the same, the halves of the words of `values` are f16.
use crate::format::{Format, Matrix};
use crate::{Array, ArrayKind, CostFacts, Layout, Packed, Pattern, Refusal};

/// A 16-bit form of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    Bf16,
    F16,
}

/// A layout whose values may have 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wide {
    Dense { panel: u32 },
    Vx1 { v: u32 },
    Bsr { r: u32, c: u32 },
    Nm16 { n: u32, m: u32 },
    Mma24,
    Mma32 { r: u32 },
    Mma1 { r: u32 },
    Vnm { v: u32, m: u32 },
}

impl Wide {
    /// The layout with f32 values.
    pub fn layout(self) -> Layout {
        match self {
            Wide::Dense { panel } => Layout::Dense { panel },
            Wide::Vx1 { v } => Layout::Vx1 { v },
            Wide::Bsr { r, c } => Layout::Bsr { r, c },
            Wide::Nm16 { n, m } => Layout::Nm16 { n, m },
            Wide::Mma24 => Layout::Mma24,
            Wide::Mma32 { r } => Layout::Mma32 { r },
            Wide::Mma1 { r } => Layout::Mma1 { r },
            Wide::Vnm { v, m } => Layout::Vnm { v, m },
        }
    }

    /// Whether the layout with wide values is one of tensor cores: its values are then bf16, and may be f16 instead.
    pub fn on_tensor_cores(self) -> bool {
        matches!(self, Wide::Mma24 | Wide::Mma32 { .. } | Wide::Mma1 { .. } | Wide::Vnm { .. })
    }

    /// Those of a layout, where its values may have 16 bits of this form.
    pub fn of(layout: Layout, form: Form) -> Option<Wide> {
        let f16 = form == Form::F16;
        Some(match layout {
            Layout::Mma24 if f16 => Wide::Mma24,
            Layout::Mma32 { r } if f16 => Wide::Mma32 { r },
            Layout::Mma1 { r } if f16 => Wide::Mma1 { r },
            Layout::Vnm { v, m } if f16 => Wide::Vnm { v, m },
            Layout::Dense { panel } => Wide::Dense { panel },
            Layout::Vx1 { v } => Wide::Vx1 { v },
            Layout::Bsr { r, c } => Wide::Bsr { r, c },
            Layout::Nm16 { n, m } => Wide::Nm16 { n, m },
            _ => return None,
        })
    }
}

impl Form {
    pub const ALL: [Form; 2] = [Form::Bf16, Form::F16];

    pub fn name(self) -> &'static str {
        match self {
            Form::Bf16 => "bf16",
            Form::F16 => "f16",
        }
    }

    /// The bits of a number that has this form.
    pub fn narrow(self, w: f32) -> Option<u16> {
        let bits = w.to_bits();
        let high = (bits >> 16) as u16;
        match self {
            Form::Bf16 => (bits & 0xffff == 0).then_some(high),
            Form::F16 => {
                let (sign, a) = (high & 0x8000, bits & 0x7fff_ffff);
                let exponent = (a >> 23) as i32 - 127;
                match exponent {
                    _ if a == 0 => Some(sign),
                    -14..=15 => (a & 0x1fff == 0).then(|| sign | ((a >> 13) - (112 << 10)) as u16),
                    // Below the normal range the leading one is written out.
                    -24..=-15 => {
                        let (m, shift) = ((a & 0x7f_ffff) | 0x80_0000, (-1 - exponent) as u32);
                        (m & ((1 << shift) - 1) == 0).then(|| sign | (m >> shift) as u16)
                    }
                    _ if a == 0x7f80_0000 => Some(sign | 0x7c00),
                    _ => None,
                }
            }
        }
    }

    /// The number with these bits.
    pub fn widen(self, bits: u16) -> f32 {
        let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
        match self {
            Form::Bf16 => f32::from_bits(u32::from(bits) << 16),
            Form::F16 if rest < 0x400 => f32::from_bits((rest as f32 / 16_777_216.0).to_bits() | sign),
            Form::F16 if rest >= 0x7c00 => f32::from_bits(sign | 0x7f80_0000 | (rest & 0x3ff) << 13),
            Form::F16 => f32::from_bits(sign | ((rest << 13) + (112 << 23))),
        }
    }
}

/// The values of a packed matrix, as f32 whatever they are stored as.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    Half(Form, &'a [u8]),
}

impl<'a> Values<'a> {
    pub fn len(self) -> usize {
        match self {
            Values::F32(v) => v.len(),
            // An odd byte is a value too many.
            Values::Half(_, v) => v.len().div_ceil(2),
        }
    }

    pub fn at(self, i: usize) -> f32 {
        match self {
            Values::F32(v) => v[i],
            Values::Half(form, v) => form.widen(u16::from_le_bytes([v[2 * i], v[2 * i + 1]])),
        }
    }

    pub fn range(self, range: std::ops::Range<usize>) -> impl Iterator<Item = f32> + 'a {
        range.map(move |i| self.at(i))
    }

    pub fn iter(self) -> impl Iterator<Item = f32> + 'a {
        self.range(0..self.len())
    }
}

/// The bf16 number with the bits of an f16 number: what a layout of bf16 numbers stores is then that one. Zeros are zeros in both.
fn disguised(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

fn revealed(w: f32) -> u16 {
    (w.to_bits() >> 16) as u16
}

pub(crate) struct Half {
    pub of: Wide,
    pub form: Form,
}

impl Format for Half {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        match self.of {
            Wide::Dense { .. } => &[("values", ArrayKind::U8)],
            Wide::Vx1 { .. } | Wide::Bsr { .. } => {
                &[("ptr", ArrayKind::U32), ("idx", ArrayKind::U32), ("values", ArrayKind::U8)]
            }
            Wide::Nm16 { .. } => &[("idx", ArrayKind::U32), ("values", ArrayKind::U8)],
            core => core.layout().schema(),
        }
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        if !p.has(self.form) {
            return Err(Refusal(format!("a weight is no {} number", self.form.name())));
        }
        if self.of.on_tensor_cores() {
            return self.of.layout().with(|f| f.stats(&p.as_if_bf16()));
        }
        let facts = self.of.layout().with(|f| f.stats(p))?;
        Ok(CostFacts { stored_bytes: facts.stored_bytes - 2 * facts.multiplies, ..facts })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        if self.of.on_tensor_cores() {
            let weights: Vec<f32> = m.weights.iter().map(|w| disguised(self.form.narrow(*w).unwrap_or(0))).collect();
            return self.of.layout().with(|f| f.pack(&Matrix { weights: &weights, pattern: m.pattern }));
        }
        let mut arrays = self.of.layout().with(|f| f.pack(m));
        for a in &mut arrays {
            if let Array::F32(values) = a {
                // `stats` has found that all have this form.
                let bytes = values.iter().flat_map(|w| self.form.narrow(*w).unwrap_or(0).to_le_bytes()).collect();
                *a = Array::U8(bytes);
            }
        }
        arrays
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        if !self.of.on_tensor_cores() && !p.small("values").len().is_multiple_of(2) {
            return Err("`values` ends inside a value".into());
        }
        self.of.layout().with(|f| f.validate(p))
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let w = self.of.layout().with(|f| f.get(p, row, col));
        if self.of.on_tensor_cores() { self.form.widen(revealed(w)) } else { w }
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        if self.of.on_tensor_cores() {
            let mut own = |row: usize, col: usize, w: f32| f(row, col, self.form.widen(revealed(w)));
            return self.of.layout().with(|format| format.for_each(p, &mut own));
        }
        self.of.layout().with(|format| format.for_each(p, f));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        for form in Form::ALL {
            for bits in 0..=u16::MAX {
                let w = form.widen(bits);
                match form.narrow(w) {
                    Some(b) => assert_eq!(b, bits),
                    None => assert!(w.is_nan(), "{bits:x}"),
                }
            }
        }
        assert_eq!(Form::F16.widen(0x3c01), 1.0 + 2f32.powi(-10));
        assert_eq!(Form::F16.widen(1), 2f32.powi(-24));
        assert_eq!(Form::F16.widen(0xfc00), f32::NEG_INFINITY);
        for no in [1.0 + 2f32.powi(-11), 65536.0, 2f32.powi(-25), 1.5 * 2f32.powi(-24), f32::NAN, 1e-40] {
            assert_eq!(Form::F16.narrow(no), None, "{no}");
        }
        assert_eq!(Form::Bf16.narrow(1.0 + 2f32.powi(-8)), None);
    }
}
