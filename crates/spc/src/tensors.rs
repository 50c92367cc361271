//! Tensors between files, the interpreter and callers, and the place of the row axis of data.
use crate::failure::Res;
use ndarray::{ArrayD, Axis, IxDyn, concatenate};
use spc_base::Bug;
use spc_interp::{Real, Value};
use spc_io::{Tensor, TensorData};

fn array<T: Clone>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, Bug> {
    ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|e| Bug::new(format!("a tensor of shape {shape:?}: {e}")))
}

/// A tensor from a file as a value of a program.
pub fn value<R: Real>(t: &Tensor) -> Result<Value<R>, Bug> {
    let shape = t.shape();
    Ok(match t.data() {
        TensorData::F32(v) => Value::F(array(shape, v.iter().map(|x| R::from_f32(*x)).collect())?),
        TensorData::I32(v) => Value::I(array(shape, v.to_vec())?),
        TensorData::Bool(v) => Value::B(array(shape, v.to_vec())?),
    })
}

/// A value of a program as a tensor for a file; row-major.
pub fn tensor(v: &Value<f32>) -> Result<Tensor, Bug> {
    let shape = v.shape().to_vec();
    match v {
        Value::F(a) => Tensor::new(shape, a.iter().copied().collect::<Vec<f32>>()),
        Value::I(a) => Tensor::new(shape, a.iter().copied().collect::<Vec<i32>>()),
        Value::B(a) => Tensor::new(shape, a.iter().copied().collect::<Vec<bool>>()),
    }
}

/// The rows `from..to` along an axis.
pub fn slice(v: &Value<f32>, axis: usize, from: usize, to: usize) -> Value<f32> {
    let at = ndarray::Slice::from(from..to);
    match v {
        Value::F(a) => Value::F(a.slice_axis(Axis(axis), at).as_standard_layout().into_owned()),
        Value::I(a) => Value::I(a.slice_axis(Axis(axis), at).as_standard_layout().into_owned()),
        Value::B(a) => Value::B(a.slice_axis(Axis(axis), at).as_standard_layout().into_owned()),
    }
}

/// Moves the first axis to position `to`.
pub fn move_rows(v: Value<f32>, to: usize) -> Value<f32> {
    fn moved<T: Clone>(a: ArrayD<T>, to: usize) -> ArrayD<T> {
        let mut order: Vec<usize> = (1..a.ndim()).collect();
        order.insert(to.min(order.len()), 0);
        a.permuted_axes(IxDyn(&order)).as_standard_layout().into_owned()
    }
    if to == 0 {
        return v;
    }
    match v {
        Value::F(a) => Value::F(moved(a, to)),
        Value::I(a) => Value::I(moved(a, to)),
        Value::B(a) => Value::B(moved(a, to)),
    }
}

/// Joins parts of one value along an axis.
pub fn join(parts: &[Value<f32>], axis: usize) -> Res<Value<f32>> {
    let bug = |e: ndarray::ShapeError| Bug::new(format!("batches do not join: {e}"));
    let mixed = || Bug::new("batches of different types");
    Ok(match parts.first() {
        Some(Value::F(_)) => {
            let views: Option<Vec<_>> = parts.iter().map(|p| p.floats().map(|a| a.view())).collect();
            Value::F(concatenate(Axis(axis), &views.ok_or_else(mixed)?).map_err(bug)?)
        }
        Some(Value::I(_)) => {
            let views: Option<Vec<_>> =
                parts.iter().map(|p| if let Value::I(a) = p { Some(a.view()) } else { None }).collect();
            Value::I(concatenate(Axis(axis), &views.ok_or_else(mixed)?).map_err(bug)?)
        }
        Some(Value::B(_)) => {
            let views: Option<Vec<_>> =
                parts.iter().map(|p| if let Value::B(a) = p { Some(a.view()) } else { None }).collect();
            Value::B(concatenate(Axis(axis), &views.ok_or_else(mixed)?).map_err(bug)?)
        }
        None => return Err(Bug::new("no batches to join").into()),
    })
}

/// Each row along an axis, flattened in row-major order. Nothing for values that are no floats.
pub fn rows(v: &Value<f32>, axis: usize) -> Option<Vec<Vec<f32>>> {
    let a = v.floats().filter(|a| axis < a.ndim())?;
    Some(a.axis_iter(Axis(axis)).map(|r| r.iter().copied().collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_move_slice_and_join() {
        let t = Tensor::new(vec![2, 3], vec![0f32, 1.0, 2.0, 10.0, 11.0, 12.0]).unwrap();
        let v = move_rows(value::<f32>(&t).unwrap(), 1);
        assert_eq!(v.shape(), [3, 2]);
        assert_eq!(rows(&v, 1).unwrap(), [[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]]);
        let parts = [slice(&v, 1, 0, 1), slice(&v, 1, 1, 2)];
        assert_eq!(join(&parts, 1).unwrap(), v);
        assert_eq!(tensor(&move_rows(v, 1)).unwrap(), t);
        assert!(rows(&Value::I(ArrayD::zeros(IxDyn(&[2]))), 0).is_none());
    }
}
