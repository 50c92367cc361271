//! Weights as safetensors files.
use crate::arrays::Read;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use spc::driver::{DiskWorld, World};
use spc_io::{Safetensors, Stored, Values};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Writes float32 arrays by name, the whole file or nothing.
#[pyfunction]
pub fn write_weights(py: Python<'_>, path: PathBuf, arrays: &Bound<'_, PyDict>) -> PyResult<()> {
    let arrays = Read::of(arrays, &[])?;
    let shapes: BTreeMap<&str, &[usize]> = arrays.shapes().collect();
    let slices = arrays.slices()?;
    let list: Vec<Stored<'_>> = (slices.iter())
        .map(|(name, v)| Stored { name, shape: shapes.get(name).copied().unwrap_or_default(), values: Values::F32(v) })
        .collect();
    let refused = |text: String| PyOSError::new_err(format!("{}: {text}", path.display()));
    let file = Safetensors::new(&list, &BTreeMap::new(), 8).map_err(|b| refused(b.to_string()))?;
    py.detach(|| DiskWorld::default().write_safetensors(&path, &file)).map_err(|d| refused(d.message))
}
