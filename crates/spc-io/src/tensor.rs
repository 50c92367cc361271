//! The plain container in which tensors travel from files to the compiler and back.
use crate::map::Map;
use spc_base::{Bug, Diagnostic, codes};
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The three types that programs compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    F32,
    I32,
    Bool,
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DataType::F32 => "f32",
            DataType::I32 => "i32",
            DataType::Bool => "bool",
        })
    }
}

/// Shared `f32` numbers, owned or in a mapped file. Cloning shares; reads as a slice.
#[derive(Clone)]
pub struct Floats(Storage);

#[derive(Clone)]
enum Storage {
    Owned(Arc<Vec<f32>>),
    /// `range` was checked by [`Floats::mapped`] to be viewable as `f32`.
    Mapped {
        map: Arc<Map>,
        range: Range<usize>,
    },
}

impl Floats {
    /// The bytes of `range` without a copy, or `None` where they cannot be seen as `f32` in place.
    pub(crate) fn mapped(map: &Arc<Map>, range: Range<usize>) -> Option<Floats> {
        map.view::<f32>(range.clone())?;
        Some(Floats(Storage::Mapped { map: Arc::clone(map), range }))
    }

    /// Lets go of the memory that a mapped file takes up here. The numbers stay: they are read again when they are needed.
    pub fn forget(&self) {
        if let Storage::Mapped { map, range } = &self.0 {
            map.forget(range.clone());
        }
    }

    /// True when the numbers lie in a mapped file.
    pub fn is_mapped(&self) -> bool {
        matches!(self.0, Storage::Mapped { .. })
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Storage::Owned(values) => values,
            Storage::Mapped { map, range } => map.view(range.clone()).unwrap_or(&[]),
        }
    }
}

impl From<Vec<f32>> for Floats {
    fn from(values: Vec<f32>) -> Floats {
        Floats(Storage::Owned(Arc::new(values)))
    }
}

impl PartialEq for Floats {
    fn eq(&self, other: &Floats) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Floats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The numbers of a tensor in row-major order. Cloning shares.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    F32(Floats),
    I32(Arc<Vec<i32>>),
    Bool(Arc<Vec<bool>>),
}

impl TensorData {
    pub fn len(&self) -> usize {
        match self {
            TensorData::F32(v) => v.len(),
            TensorData::I32(v) => v.len(),
            TensorData::Bool(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<f32>> for TensorData {
    fn from(values: Vec<f32>) -> TensorData {
        TensorData::F32(values.into())
    }
}

impl From<Vec<i32>> for TensorData {
    fn from(values: Vec<i32>) -> TensorData {
        TensorData::I32(Arc::new(values))
    }
}

impl From<Vec<bool>> for TensorData {
    fn from(values: Vec<bool>) -> TensorData {
        TensorData::Bool(Arc::new(values))
    }
}

/// A dense row-major tensor. Invariant: the product of `shape` is the number of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}

impl Tensor {
    /// A [`Bug`] where shape and values do not fit together.
    pub fn new(shape: Vec<usize>, data: impl Into<TensorData>) -> Result<Tensor, Bug> {
        let data = data.into();
        if elements(&shape) != Some(data.len()) {
            return Err(Bug::new(format!("a tensor of shape {shape:?} cannot hold {} values", data.len())));
        }
        Ok(Tensor { shape, data })
    }

    /// For values that were produced from the shape itself.
    pub(crate) fn of_rows(rows: usize, row_shape: &[usize], data: impl Into<TensorData>) -> Tensor {
        let shape: Vec<usize> = std::iter::once(rows).chain(row_shape.iter().copied()).collect();
        let data = data.into();
        debug_assert_eq!(elements(&shape), Some(data.len()));
        Tensor { shape, data }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn data(&self) -> &TensorData {
        &self.data
    }

    pub fn into_parts(self) -> (Vec<usize>, TensorData) {
        (self.shape, self.data)
    }

    pub fn dtype(&self) -> DataType {
        match self.data {
            TensorData::F32(_) => DataType::F32,
            TensorData::I32(_) => DataType::I32,
            TensorData::Bool(_) => DataType::Bool,
        }
    }

    pub fn as_f32(&self) -> Option<&[f32]> {
        if let TensorData::F32(v) = &self.data { Some(v) } else { None }
    }

    pub fn as_i32(&self) -> Option<&[i32]> {
        if let TensorData::I32(v) = &self.data { Some(v) } else { None }
    }

    pub fn as_bool(&self) -> Option<&[bool]> {
        if let TensorData::Bool(v) = &self.data { Some(v) } else { None }
    }

    /// The slices along the first axis that `rows` names, in that order, copied. A [`Bug`] where a row is outside or
    /// the tensor has no axes.
    pub fn take_rows(&self, rows: &[usize]) -> Result<Tensor, Bug> {
        let Some((&count, row_shape)) = self.shape.split_first() else {
            return Err(Bug::new("a tensor without axes has no rows"));
        };
        if let Some(row) = rows.iter().find(|&&r| r >= count) {
            return Err(Bug::new(format!("row {row} of {count}")));
        }
        // It fits wherever there is a row; where there is none it is not used.
        let width = elements(row_shape).unwrap_or(0);
        fn gather<T: Copy>(values: &[T], rows: &[usize], width: usize) -> Vec<T> {
            rows.iter().flat_map(|r| &values[r * width..(r + 1) * width]).copied().collect()
        }
        let data: TensorData = match &self.data {
            TensorData::F32(v) => gather(v, rows, width).into(),
            TensorData::I32(v) => gather(v, rows, width).into(),
            TensorData::Bool(v) => gather(v, rows, width).into(),
        };
        Ok(Tensor::of_rows(rows.len(), row_shape, data))
    }
}

/// The product of the sizes, or `None` where it does not fit.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    // A zero anywhere makes the product zero, whatever the order.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size))
}

/// SP0406 with the first index where a weight is NaN or infinite.
pub fn check_finite(name: &str, shape: &[usize], values: &[f32]) -> Result<(), Diagnostic> {
    let Some(at) = values.iter().position(|v| !v.is_finite()) else { return Ok(()) };
    let mut index = vec![0; shape.len()];
    let mut left = at;
    for (i, &size) in shape.iter().enumerate().rev() {
        index[i] = left % size.max(1);
        left /= size.max(1);
    }
    let value = values[at];
    Err(Diagnostic::error(codes::NOT_FINITE, format!("tensor `{name}` holds {value} at {index:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_values_must_fit() {
        assert!(Tensor::new(vec![2, 3], vec![0f32; 6]).is_ok());
        assert!(Tensor::new(vec![2, 3], vec![0f32; 5]).is_err());
        assert!(Tensor::new(vec![], vec![1i32]).is_ok());
        assert!(Tensor::new(vec![0, usize::MAX, 2], Vec::<bool>::new()).is_ok());
        assert!(Tensor::new(vec![usize::MAX, 2], vec![false]).is_err());
    }

    #[test]
    fn rows_are_gathered_in_the_order_asked() {
        let t = Tensor::new(vec![3, 2], vec![0, 1, 10, 11, 20, 21]).unwrap();
        let picked = t.take_rows(&[2, 0, 2]).unwrap();
        assert_eq!(picked.shape(), [3, 2]);
        assert_eq!(picked.as_i32().unwrap(), [20, 21, 0, 1, 20, 21]);
        assert!(t.take_rows(&[3]).is_err());
        assert_eq!(t.take_rows(&[]).unwrap().shape(), [0, 2]);
    }

    #[test]
    fn the_first_bad_weight_is_named() {
        let mut w = vec![0.5; 24];
        assert!(check_finite("w", &[2, 3, 4], &w).is_ok());
        w[12 + 4 + 2] = f32::NEG_INFINITY;
        w[23] = f32::NAN;
        let d = check_finite("w", &[2, 3, 4], &w).unwrap_err();
        assert_eq!(d.message, "tensor `w` holds -inf at [1, 1, 2]");
    }
}
