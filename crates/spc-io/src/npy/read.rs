//! From the bytes of an npy file to a tensor.
use super::header::{self, Header};
use crate::error::{malformed, no_conversion};
use crate::float16::f16_to_f32;
use crate::tensor::elements;
use crate::{Tensor, TensorData};
use spc_base::Diagnostic;
use std::path::Path;

/// Why an array cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub enum NpyError {
    Malformed(String),
    Type(String),
}

impl NpyError {
    /// `place` is put before the message, for example the member of an archive.
    pub fn diagnostic(self, path: &Path, place: &str) -> Diagnostic {
        match self {
            NpyError::Malformed(what) => malformed(path, format!("{place}{what}")),
            NpyError::Type(descr) => {
                let what = format!("{place}an array of type `{descr}` does not widen to f32, i32 or bool");
                let to =
                    if descr.trim_start_matches(['<', '>', '=', '|']).starts_with('f') { "float32" } else { "int32" };
                no_conversion(path, what).help(format!("store it with `.astype(numpy.{to})`"))
            }
        }
    }
}

/// The array that `bytes` hold, whole and with nothing after it.
pub fn decode(bytes: &[u8]) -> Result<Tensor, NpyError> {
    let header = header::parse(bytes).map_err(NpyError::Malformed)?;
    let data = &bytes[header.data..];
    let mut descr = header.descr.chars();
    let big = match descr.next() {
        Some('<' | '|') => false,
        Some('>') => true,
        Some('=') => cfg!(target_endian = "big"),
        _ => return Err(NpyError::Type(header.descr)),
    };
    match descr.as_str() {
        "f4" => read(&header, data, big, f32::from_le_bytes),
        "f2" => read(&header, data, big, |b| f16_to_f32(u16::from_le_bytes(b))),
        "i4" => read(&header, data, big, i32::from_le_bytes),
        "i2" => read(&header, data, big, |b| i32::from(i16::from_le_bytes(b))),
        "u2" => read(&header, data, big, |b| i32::from(u16::from_le_bytes(b))),
        "i1" => read(&header, data, big, |b| i32::from(i8::from_le_bytes(b))),
        "u1" => read(&header, data, big, |b| i32::from(u8::from_le_bytes(b))),
        "b1" => {
            if let Some(at) = data.iter().position(|&b| b > 1) {
                return Err(NpyError::Malformed(format!("byte {at} of a bool array is {}", data[at])));
            }
            read(&header, data, big, |[b]| b == 1)
        }
        _ => Err(NpyError::Type(header.descr)),
    }
}

fn read<const N: usize, T: Copy>(
    header: &Header,
    data: &[u8],
    big: bool,
    convert: impl Fn([u8; N]) -> T,
) -> Result<Tensor, NpyError>
where
    TensorData: From<Vec<T>>,
{
    let shape = &header.shape;
    if elements(shape).and_then(|n| n.checked_mul(N)) != Some(data.len()) {
        let there = data.len();
        let what = format!("the shape {shape:?} of `{}` does not fit the {there} bytes of data", header.descr);
        return Err(NpyError::Malformed(what));
    }
    let (whole, _) = data.as_chunks::<N>();
    let mut values: Vec<T> = whole
        .iter()
        .map(|&(mut b)| {
            if big {
                b.reverse();
            }
            convert(b)
        })
        .collect();
    if header.fortran_order {
        values = row_major(&values, shape);
    }
    Tensor::new(shape.clone(), values).map_err(|bug| NpyError::Malformed(bug.0))
}

/// Reorders values whose first axis runs fastest.
fn row_major<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1usize;
    for (s, &size) in strides.iter_mut().zip(shape) {
        *s = stride;
        // Cannot overflow where there are values; where there are none it is not used.
        stride = stride.wrapping_mul(size);
    }
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}
