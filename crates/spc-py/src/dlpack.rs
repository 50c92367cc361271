//! Arrays of other libraries without a copy: the DLPack protocol, versions 0 and 1. An object that has `__dlpack__` hands out a
//! capsule around a description of its memory, which stays there as long as the capsule.
#![allow(unsafe_code)]
use crate::error::refused;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi::c_str;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyCapsuleMethods, PyDict};
use std::ffi::{CStr, c_void};

const CPU: i32 = 1;
const FLOAT: u8 = 2;
const READ_ONLY: u64 = 1;
const OLD: &CStr = c_str!("dltensor");
const VERSIONED: &CStr = c_str!("dltensor_versioned");

/// What devices are called in messages; the numbers are those of `DLDeviceType`.
fn device_name(kind: i32) -> String {
    match kind {
        CPU => "cpu".into(),
        2 => "cuda".into(),
        3 => "cuda_host".into(),
        7 => "vulkan".into(),
        8 => "metal".into(),
        10 => "rocm".into(),
        13 => "cuda_managed".into(),
        14 => "oneapi".into(),
        n => format!("device type {n}"),
    }
}

#[repr(C)]
struct Device {
    kind: i32,
    id: i32,
}

#[repr(C)]
struct Type {
    code: u8,
    bits: u8,
    lanes: u16,
}

/// `DLTensor`.
#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device: Device,
    ndim: i32,
    dtype: Type,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

/// `DLManagedTensorVersioned`; `DLManagedTensor` begins with the tensor itself.
#[repr(C)]
struct Versioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: *const c_void,
    flags: u64,
    tensor: Tensor,
}

/// float32 values on the CPU in row-major order, lent by another library.
pub(crate) struct Lent<'py> {
    data: *mut f32,
    shape: Vec<usize>,
    len: usize,
    pub read_only: bool,
    /// Keeps the memory.
    _capsule: Bound<'py, PyCapsule>,
}

impl<'py> Lent<'py> {
    /// Whether a value speaks the protocol.
    pub fn is_spoken_by(given: &Bound<'_, PyAny>) -> bool {
        given.hasattr("__dlpack__").unwrap_or(false) && given.hasattr("__dlpack_device__").unwrap_or(false)
    }

    /// # Errors
    /// SP0504 for memory that is not on the CPU or not in row-major order, and for what its owner does not lend; TypeError for
    /// other types of elements.
    pub fn of(name: &str, given: &Bound<'py, PyAny>) -> PyResult<Lent<'py>> {
        let py = given.py();
        let nowhere = |e: PyErr| refused(py, "SP0504", &format!("`{name}` is not lent: {}", e.value(py)));
        let (kind, _): (i32, i32) = given.call_method0("__dlpack_device__").map_err(nowhere)?.extract()?;
        on_the_cpu(py, name, kind)?;
        let capsule = capsule(name, given)?;
        let versioned = capsule.is_valid_checked(Some(VERSIONED));
        let found =
            if versioned { capsule.pointer_checked(Some(VERSIONED)) } else { capsule.pointer_checked(Some(OLD)) };
        let found =
            found.map_err(|_| refused(py, "SP0504", &format!("`{name}` lends no tensor in a form that spc knows")))?;
        let (tensor, read_only) = if versioned {
            // SAFETY: a capsule of this name holds this struct, whose first field says which version of it.
            let v = unsafe { found.cast::<Versioned>().as_ref() };
            if v.major != 1 {
                let text =
                    format!("`{name}` lends a tensor by DLPack {}.{}; spc knows versions 0 and 1", v.major, v.minor);
                return Err(refused(py, "SP0504", &text));
            }
            (&v.tensor, v.flags & READ_ONLY != 0)
        } else {
            // SAFETY: a capsule of this name holds a `DLManagedTensor`, which begins with the tensor.
            (unsafe { found.cast::<Tensor>().as_ref() }, false)
        };
        on_the_cpu(py, name, tensor.device.kind)?;
        if (tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes) != (FLOAT, 32, 1) {
            return Err(PyTypeError::new_err(format!(
                "`{name}` is no array of float32 but {}",
                crate::arrays::kind(given)
            )));
        }
        let rank = usize::try_from(tensor.ndim).unwrap_or(0);
        let numbers = |p: *const i64| match (rank, p.is_null()) {
            (0, _) | (_, true) => Vec::new(),
            // SAFETY: the protocol says that there are as many numbers as dimensions.
            _ => unsafe { std::slice::from_raw_parts(p, rank) }.to_vec(),
        };
        let bad = || refused(py, "SP0504", &format!("`{name}` has a shape that is none"));
        let shape = numbers(tensor.shape).into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| bad())?;
        if shape.len() != rank {
            return Err(bad());
        }
        let len = shape.iter().try_fold(1usize, |n, s| n.checked_mul(*s)).filter(|n| *n <= isize::MAX as usize / 4);
        let len = len.ok_or_else(bad)?;
        if !row_major(&shape, &numbers(tensor.strides)) {
            let text = format!("`{name}` is not C-contiguous: pass `contiguous()` of it");
            return Err(refused(py, "SP0504", &text));
        }
        let data =
            tensor.data.cast::<u8>().wrapping_add(usize::try_from(tensor.byte_offset).map_err(|_| bad())?).cast();
        let data: *mut f32 = if len == 0 { std::ptr::NonNull::dangling().as_ptr() } else { data };
        if data.is_null() || !data.is_aligned() {
            return Err(refused(py, "SP0504", &format!("`{name}` does not lie at an address of floats")));
        }
        Ok(Lent { data, shape, len, read_only, _capsule: capsule })
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn address(&self) -> usize {
        self.data as usize
    }

    pub fn bytes(&self) -> usize {
        4 * self.len
    }

    /// The caller holds a [`Loan`](crate::lending::Loan) of the memory.
    pub fn slice(&self) -> &[f32] {
        // SAFETY: not null, aligned, that many floats, kept by the capsule; the loan keeps calls from changing it.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }

    /// The caller holds a [`Loan`](crate::lending::Loan) of the memory, to change it.
    pub fn slice_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above; the loan is of nobody else.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.len) }
    }
}

fn on_the_cpu(py: Python<'_>, name: &str, kind: i32) -> PyResult<()> {
    if kind == CPU {
        return Ok(());
    }
    let text = format!("`{name}` lies on {}; spc reads and changes arrays on the CPU only", device_name(kind));
    Err(refused(py, "SP0504", &text))
}

/// Without a copy, in the newest form that both know.
fn capsule<'py>(name: &str, given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyCapsule>> {
    let py = given.py();
    let wanted = PyDict::new(py);
    wanted.set_item("max_version", (1, 0))?;
    wanted.set_item("copy", false)?;
    let made = match given.call_method("__dlpack__", (), Some(&wanted)) {
        // Version 0 has no arguments of these names.
        Err(e) if e.is_instance_of::<PyTypeError>(py) => given.call_method0("__dlpack__"),
        other => other,
    };
    let made = made.map_err(|e| match e.is_instance_of::<PyBufferError>(py) {
        true => refused(py, "SP0504", &format!("`{name}` is not lent: {}", e.value(py))),
        false => e,
    })?;
    Ok(made.cast_into::<PyCapsule>()?)
}

/// Dimensions of one position may have any stride, and so may all of an array without elements.
fn row_major(shape: &[usize], strides: &[i64]) -> bool {
    if strides.is_empty() || shape.contains(&0) {
        return true;
    }
    let mut want = 1i64;
    for (n, s) in shape.iter().zip(strides).rev() {
        if *n != 1 && *s != want {
            return false;
        }
        want = want.saturating_mul(i64::try_from(*n).unwrap_or(i64::MAX));
    }
    true
}
