//! From a tensor to the bytes of an npy file.
use crate::atomic::write_elements;
use crate::{Tensor, TensorData};
use std::io::{self, Write};

/// Version 1, data at a multiple of 64 bytes, little-endian, row-major.
pub fn encode(tensor: &Tensor, out: &mut dyn Write) -> io::Result<()> {
    let descr = match tensor.data() {
        TensorData::F32(_) => "<f4",
        TensorData::I32(_) => "<i4",
        TensorData::Bool(_) => "|b1",
    };
    let sizes: Vec<String> = tensor.shape().iter().map(|n| format!("{n},")).collect();
    // One comma after a single size, none after the last of several: as NumPy writes it.
    let mut shape = sizes.join(" ");
    if sizes.len() > 1 {
        shape.pop();
    }
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let padded = (10 + text.len() + 1).next_multiple_of(64) - 10;
    while text.len() + 1 < padded {
        text.push(' ');
    }
    text.push('\n');
    let length = u16::try_from(text.len()).map_err(|_| io::Error::other("too many axes for an npy file"))?;
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(text.as_bytes())?;
    match tensor.data() {
        TensorData::F32(v) => write_elements(v, out, |x| x.to_le_bytes()),
        TensorData::I32(v) => write_elements(v, out, |x| x.to_le_bytes()),
        TensorData::Bool(v) => write_elements(v, out, |x| [u8::from(x)]),
    }
}
