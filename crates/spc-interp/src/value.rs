//! Values of nodes, and where weights come from.
use crate::Real;
use ndarray::ArrayD;
use spc_ir::DType;
use std::collections::BTreeMap;

/// The value of a node. Axis 0 is the outermost.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<R> {
    F(ArrayD<R>),
    I(ArrayD<i32>),
    B(ArrayD<bool>),
}

impl<R: Real> Value<R> {
    pub fn shape(&self) -> &[usize] {
        match self {
            Value::F(a) => a.shape(),
            Value::I(a) => a.shape(),
            Value::B(a) => a.shape(),
        }
    }

    pub fn dtype(&self) -> DType {
        match self {
            Value::F(_) => DType::F32,
            Value::I(_) => DType::I32,
            Value::B(_) => DType::Bool,
        }
    }

    /// The floats, if these are floats.
    pub fn floats(&self) -> Option<&ArrayD<R>> {
        if let Value::F(a) = self { Some(a) } else { None }
    }

    /// The same value with its floats converted to another type of float.
    pub fn convert<S: Real>(&self) -> Value<S> {
        match self {
            Value::F(a) => Value::F(a.mapv(|v| S::from_f64(v.to_f64()))),
            Value::I(a) => Value::I(a.clone()),
            Value::B(a) => Value::B(a.clone()),
        }
    }

    /// The same value with its elements in row-major order in memory.
    pub(crate) fn row_major(self) -> Value<R> {
        match self {
            Value::F(a) if !a.is_standard_layout() => Value::F(a.as_standard_layout().into_owned()),
            Value::I(a) if !a.is_standard_layout() => Value::I(a.as_standard_layout().into_owned()),
            Value::B(a) if !a.is_standard_layout() => Value::B(a.as_standard_layout().into_owned()),
            other => other,
        }
    }

    pub(crate) fn is_row_major(&self) -> bool {
        match self {
            Value::F(a) => a.is_standard_layout(),
            Value::I(a) => a.is_standard_layout(),
            Value::B(a) => a.is_standard_layout(),
        }
    }
}

/// The stored values of weights, borrowed, row-major.
pub trait Weights {
    /// The values of the weight of this name.
    fn values(&self, name: &str) -> Option<&[f32]>;

    /// Its shape, where the source knows it. Without one, the number of values must fit the declared shape.
    fn shape(&self, _name: &str) -> Option<Vec<u64>> {
        None
    }
}

impl Weights for BTreeMap<String, Vec<f32>> {
    fn values(&self, name: &str) -> Option<&[f32]> {
        self.get(name).map(Vec::as_slice)
    }
}

/// Arrays in row-major order; one in another order is as good as missing.
impl Weights for BTreeMap<String, ArrayD<f32>> {
    fn values(&self, name: &str) -> Option<&[f32]> {
        self.get(name).and_then(|a| a.as_slice())
    }

    fn shape(&self, name: &str) -> Option<Vec<u64>> {
        self.get(name).map(|a| a.shape().iter().map(|n| *n as u64).collect())
    }
}
