//! A safetensors file through a memory map.
use super::header::{Header, StoredTensor, StoredType, header_length};
use crate::error::{malformed, no_conversion};
use crate::float16::{bf16_to_f32, f16_to_f32};
use crate::map::Map;
use crate::{Floats, Tensor, TensorData};
use spc_base::Diagnostic;
use std::path::Path;
use std::sync::Arc;

/// An open weight file. Its header is valid; its numbers are looked at only when asked for, and `f32` tensors that lie
/// aligned are handed out without a copy.
#[derive(Clone, Debug)]
pub struct WeightFile {
    header: Header,
    map: Arc<Map>,
}

impl WeightFile {
    /// Errors: SP0401, SP0402.
    pub fn open(path: &Path) -> Result<WeightFile, Diagnostic> {
        let map = Map::open(path)?;
        let bytes = map.bytes();
        let mut prefix = [0; 8];
        if let Some(first) = bytes.first_chunk::<8>() {
            prefix = *first;
        }
        let n = header_length(path, prefix, bytes.len() as u64)?;
        let header = Header::parse(path, &bytes[8..8 + n], bytes.len() as u64)?;
        Ok(WeightFile { header, map: Arc::new(map) })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The stored bytes, little-endian. Errors: SP0403.
    pub fn bytes(&self, name: &str) -> Result<&[u8], Diagnostic> {
        Ok(self.bytes_of(self.header.get(name)?))
    }

    /// F32 without a copy, F16 and BF16 widened. Errors: SP0403; SP0405 for every other stored type.
    pub fn f32(&self, name: &str) -> Result<Floats, Diagnostic> {
        let t = self.header.get(name)?;
        let bytes = self.bytes_of(t);
        Ok(match t.dtype {
            StoredType::F32 => match Floats::mapped(&self.map, t.start as usize..t.end as usize) {
                Some(floats) => floats,
                None => each(bytes, f32::from_le_bytes).into(),
            },
            StoredType::F16 => each(bytes, |b| f16_to_f32(u16::from_le_bytes(b))).into(),
            StoredType::BF16 => each(bytes, |b| bf16_to_f32(u16::from_le_bytes(b))).into(),
            _ => return Err(self.refuse(t, "f32", "F32, F16 and BF16")),
        })
    }

    /// I32, and smaller integers widened. Errors: SP0403, SP0405.
    pub fn i32(&self, name: &str) -> Result<Vec<i32>, Diagnostic> {
        let t = self.header.get(name)?;
        let bytes = self.bytes_of(t);
        Ok(match t.dtype {
            StoredType::I32 => each(bytes, i32::from_le_bytes),
            StoredType::I16 => each(bytes, |b| i16::from_le_bytes(b).into()),
            StoredType::U16 => each(bytes, |b| u16::from_le_bytes(b).into()),
            StoredType::I8 => each(bytes, |b| i8::from_le_bytes(b).into()),
            StoredType::U8 => each(bytes, |b| u8::from_le_bytes(b).into()),
            _ => return Err(self.refuse(t, "i32", "I32 and smaller integers")),
        })
    }

    /// U32, for the indices of packed layouts. Errors: SP0403, SP0405.
    pub fn u32(&self, name: &str) -> Result<Vec<u32>, Diagnostic> {
        let t = self.header.get(name)?;
        match t.dtype {
            StoredType::U32 => Ok(each(self.bytes_of(t), u32::from_le_bytes)),
            _ => Err(self.refuse(t, "u32", "U32")),
        }
    }

    /// BOOL, each byte 0 or 1. Errors: SP0402, SP0403, SP0405.
    pub fn bool(&self, name: &str) -> Result<Vec<bool>, Diagnostic> {
        let t = self.header.get(name)?;
        if t.dtype != StoredType::BOOL {
            return Err(self.refuse(t, "bool", "BOOL"));
        }
        let bytes = self.bytes_of(t);
        if let Some(at) = bytes.iter().position(|&b| b > 1) {
            return Err(malformed(self.header.path(), format!("byte {at} of bool tensor `{name}` is {}", bytes[at])));
        }
        Ok(bytes.iter().map(|&b| b == 1).collect())
    }

    /// The tensor in the computing type that its stored type widens to. Errors: SP0402, SP0403, SP0405.
    pub fn tensor(&self, name: &str) -> Result<Tensor, Diagnostic> {
        let t = self.header.get(name)?;
        let data: TensorData = match t.dtype {
            StoredType::BOOL => self.bool(name)?.into(),
            StoredType::I32 | StoredType::I16 | StoredType::U16 | StoredType::I8 | StoredType::U8 => {
                self.i32(name)?.into()
            }
            _ => TensorData::F32(self.f32(name)?),
        };
        // The header was checked, so shape and bytes agree.
        Tensor::new(t.shape.clone(), data).map_err(|bug| malformed(self.header.path(), bug.0))
    }

    fn bytes_of(&self, t: &StoredTensor) -> &[u8] {
        self.map.bytes().get(t.start as usize..t.end as usize).unwrap_or(&[])
    }

    fn refuse(&self, t: &StoredTensor, wanted: &str, accepted: &str) -> Diagnostic {
        let StoredTensor { name, dtype, .. } = t;
        let message = format!("tensor `{name}` is stored as {dtype}, which does not widen to {wanted}");
        no_conversion(self.header.path(), message).note(format!("{accepted} can be read as {wanted}"))
    }
}

/// Little-endian elements of `N` bytes each; a rest shorter than an element does not occur in a checked file.
fn each<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (whole, _) = bytes.as_chunks::<N>();
    whole.iter().map(|b| convert(*b)).collect()
}
