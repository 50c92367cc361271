//! NumPy's `.npy`: one array with its type and shape.
//!
//! The header is the text of a Python dictionary. It is read by a parser of its own, which knows the three keys and does
//! not recurse, because a general reader of Python literals can be made to overflow the stack.
mod header;
mod read;
mod write;

use crate::Tensor;
use crate::atomic::write_with;
use crate::source::{MAX_BYTES, read_plain};
use spc_base::Diagnostic;
use std::path::Path;

pub(crate) use read::decode;
pub(crate) use write::encode;

/// Reads an array as `f32`, `i32` or `bool`. Types that widen exactly are converted: `f2` to `f32`; `i1`, `u1`, `i2`, `u2`
/// to `i32`. Both byte orders and both orders of axes are read. Errors: SP0401; SP0402 for damage and for files over
/// 1 GiB; SP0405 for other types (`f8` and `i8`, NumPy's defaults, among them).
pub fn read_npy(path: &Path) -> Result<Tensor, Diagnostic> {
    let bytes = read_plain(path, MAX_BYTES)?;
    decode(&bytes).map_err(|e| e.diagnostic(path, ""))
}

/// Writes `<f4`, `<i4` or `|b1` in row-major order. Errors: SP0409.
pub fn write_npy(path: &Path, tensor: &Tensor) -> Result<(), Diagnostic> {
    write_with(path, |out| encode(tensor, out))
}
