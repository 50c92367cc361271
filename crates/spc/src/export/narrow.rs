//! Quantised tensors as they are written to a file.
use crate::failure::Res;
use crate::load::Source;
use crate::weights::WeightSet;
use spc_base::{Bug, Diagnostic, codes};
use spc_io::{StoredType, WeightFile};
use spc_sema::{Model, Quantize, QuantizeTensor, StoredAs};
use std::collections::BTreeMap;

/// A quantised tensor: integers as `I8` (of 4 bits too) with a second tensor `NAME.scale`, F32, one scale for each tile in the
/// order of the tiles, so that a value is integer times scale; or `F16` or `BF16`.
pub struct Narrow {
    pub dtype: StoredType,
    pub bytes: Vec<u8>,
    /// Name, shape and values.
    pub scales: Option<(String, Vec<usize>, Vec<f32>)>,
    form: QuantizeTensor,
}

/// The number of its tile for each element, row-major.
fn tiles(t: &QuantizeTensor) -> (Vec<usize>, Vec<usize>) {
    let counts: Vec<usize> = t.shape.iter().zip(&t.tile).map(|(n, t)| n.div_ceil(*t) as usize).collect();
    let elements: u64 = t.shape.iter().product();
    let of = |mut e: u64| {
        let (mut number, mut step) = (0, 1);
        for ((n, tile), c) in t.shape.iter().zip(&t.tile).zip(&counts).rev() {
            number += (e % n / tile) as usize * step;
            step *= c;
            e /= n;
        }
        number
    };
    ((0..elements).map(of).collect(), counts)
}

/// The scale whose whole multiples the values of a tile are, none if there is no normal one.
fn scale(values: &[f32], top: f32) -> Option<f32> {
    let most = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    if most == 0.0 {
        return Some(0.0);
    }
    let s = most / top;
    let near = [s, f32::from_bits(s.to_bits().saturating_add(1)), f32::from_bits(s.to_bits().saturating_sub(1))];
    let fits = |s: &f32| s.is_normal() && values.iter().all(|v| (v / s).round_ties_even() * s == *v);
    near.into_iter().find(fits)
}

/// Bits of an f16 number with this value, which one has.
pub fn half(v: f32) -> u16 {
    let sign = ((v.to_bits() >> 16) & 0x8000) as u16;
    let a = v.abs();
    if a < 2f32.powi(-14) {
        return sign | (a * 2f32.powi(24)) as u16;
    }
    let bits = a.to_bits();
    sign | ((((bits >> 23) - 112) as u16) << 10) | ((bits >> 13) & 0x3ff) as u16
}

fn one(q: &Quantize, t: &QuantizeTensor, name: &str, values: &[f32]) -> Res<Narrow> {
    let form = t.clone();
    let words = |f: &dyn Fn(f32) -> u16| values.iter().flat_map(|v| f(*v).to_le_bytes()).collect();
    let bits = match q.to {
        StoredAs::F16 => return Ok(Narrow { dtype: StoredType::F16, bytes: words(&half), scales: None, form }),
        StoredAs::Bf16 => {
            let bytes = words(&|v| (v.to_bits() >> 16) as u16);
            return Ok(Narrow { dtype: StoredType::BF16, bytes, scales: None, form });
        }
        StoredAs::Int { bits } => bits,
    };
    let (tile, counts) = tiles(t);
    if tile.len() != values.len() {
        return Err(Bug::new(format!("`{name}` has another shape than was checked")).into());
    }
    let mut members = vec![Vec::new(); counts.iter().product()];
    for (i, v) in tile.iter().zip(values) {
        members[*i].push(*v);
    }
    let top = ((1u32 << (bits - 1)) - 1) as f32;
    let scales: Option<Vec<f32>> = members.iter().map(|m| scale(m, top)).collect();
    let Some(scales) = scales else {
        let text = format!("`{}` holds values too small to be whole multiples of a scale", t.weight);
        return Err(Diagnostic::error(codes::NOT_FINITE, text).at(q.span, "stored as this").into());
    };
    let code = |(i, v): (&usize, &f32)| if *v == 0.0 { 0u8 } else { ((v / scales[*i]).round_ties_even() as i8) as u8 };
    let bytes = tile.iter().zip(values).map(code).collect();
    Ok(Narrow { dtype: StoredType::I8, bytes, scales: Some((format!("{name}.scale"), counts, scales)), form })
}

/// The quantised tensors of a model by stored name. `weights` are rounded already.
pub fn tensors(model: &Model, source: &Source, weights: &WeightSet) -> Res<BTreeMap<String, Narrow>> {
    let mut out = BTreeMap::new();
    for q in &source.module.quantizes {
        for form in &q.tensors {
            let Some(t) = model.tensors.iter().find(|t| t.path == form.weight) else { continue };
            let name = if t.stored.is_empty() { &t.path } else { &t.stored };
            out.insert(name.clone(), one(q, form, name, weights.want(&t.path)?.values())?);
        }
    }
    Ok(out)
}

impl Narrow {
    /// The values that the file holds for this tensor.
    pub fn read(&self, file: &WeightFile, name: &str) -> Res<Vec<f32>> {
        let Some((scale, ..)) = &self.scales else { return Ok(file.f32(name)?.to_vec()) };
        let (tile, _) = tiles(&self.form);
        let scales = file.f32(scale)?;
        let codes = file.bytes(name)?;
        let value = |(c, i): (&u8, &usize)| scales.get(*i).map(|s| f32::from(*c as i8) * s);
        let values: Option<Vec<f32>> = codes.iter().zip(&tile).map(value).collect();
        Ok(values.ok_or_else(|| Bug::new(format!("`{scale}` is too short")))?)
    }
}
