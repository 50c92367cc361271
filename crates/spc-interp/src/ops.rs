//! The operators that move, pick or fold elements.
use crate::map::{Elements, Operand};
use crate::top::argmax;
use crate::{Real, RunError, Value};
use ndarray::{ArrayD, IxDyn};
use spc_base::Bug;
use spc_ir::ReduceFn;

/// Number of elements of a shape.
pub(crate) fn elements(shape: &[usize]) -> Result<usize, RunError> {
    // Counted without empty dimensions too, as ndarray does.
    let some = shape.iter().filter(|n| **n > 0).try_fold(1usize, |n, d| n.checked_mul(*d));
    let some = some.filter(|n| *n < isize::MAX as usize / 16);
    let some = some.ok_or_else(|| RunError::TooLarge { what: format!("a value of shape {shape:?}") })?;
    Ok(if shape.contains(&0) { 0 } else { some })
}

/// An empty vector with room for `n` elements.
pub(crate) fn with_capacity<T>(n: usize) -> Result<Vec<T>, RunError> {
    let mut v = Vec::new();
    v.try_reserve_exact(n).map_err(|_| RunError::TooLarge { what: format!("a value of {n} elements") })?;
    Ok(v)
}

pub(crate) fn filled<T: Clone>(n: usize, value: T) -> Result<Vec<T>, RunError> {
    let mut v = with_capacity(n)?;
    v.resize(n, value);
    Ok(v)
}

pub(crate) fn array<T>(shape: &[usize], v: Vec<T>) -> Result<ArrayD<T>, RunError> {
    ArrayD::from_shape_vec(IxDyn(shape), v).map_err(|e| Bug::new(format!("shape {shape:?}: {e}")).into())
}

/// `Op::Iota`.
pub(crate) fn iota<R>(shape: &[usize]) -> Result<Value<R>, RunError> {
    let n = elements(shape)?;
    let end = i32::try_from(n).map_err(|_| RunError::TooLarge { what: format!("a count of {n} in i32") })?;
    Ok(Value::I(array(shape, (0..end).collect())?))
}

/// Folds the removed dimensions into `start`, in row-major order of the operand.
fn fold<T: Copy>(
    x: &[T],
    (dims, shape, out): (&[u32], &[usize], &[usize]),
    start: T,
    f: impl Fn(T, T) -> T,
) -> Result<Vec<T>, RunError> {
    // Step in the result for each dimension of the operand; 0 for the removed ones.
    let mut steps = vec![0usize; shape.len()];
    let mut step = 1usize;
    for d in (0..shape.len()).rev().filter(|d| !dims.contains(&(*d as u32))) {
        steps[d] = step;
        step = step.saturating_mul(shape[d]);
    }
    let mut v = filled(elements(out)?, start)?;
    let mut position = vec![0usize; shape.len()];
    let mut to = 0usize;
    for value in x {
        v[to] = f(v[to], *value);
        for d in (0..shape.len()).rev() {
            position[d] += 1;
            to += steps[d];
            if position[d] < shape[d] {
                break;
            }
            position[d] = 0;
            to -= steps[d] * shape[d];
        }
    }
    Ok(v)
}

/// `Op::Reduce`, in row-major order of the operand.
pub(crate) fn reduce<R: Real>(f: ReduceFn, dims: &[u32], x: &Operand<R>, out: &[usize]) -> Result<Value<R>, RunError> {
    let places = (dims, x.shape, out);
    let (x, shape) = match (&x.elements, f) {
        (Elements::F(_), ReduceFn::ArgMax) => return argmax(dims, x, out),
        (Elements::B(b), ReduceFn::Any) => return Ok(Value::B(array(out, fold(b, places, false, |a, b| a || b)?)?)),
        (Elements::B(b), ReduceFn::All) => return Ok(Value::B(array(out, fold(b, places, true, |a, b| a && b)?)?)),
        (Elements::F(v), _) => (v, x.shape),
        _ => return Err(Bug::new("a reduction of another type").into()),
    };
    let v = match f {
        ReduceFn::Max => fold(x, places, R::from_f64(f64::NEG_INFINITY), Real::maximum)?,
        ReduceFn::Min => fold(x, places, R::from_f64(f64::INFINITY), Real::minimum)?,
        ReduceFn::Product => fold(x, places, R::from_f64(1.0), |a, b| a * b)?,
        ReduceFn::Sum => fold(x, places, R::ZERO, |a, b| a + b)?,
        ReduceFn::Mean => {
            let n: usize = dims.iter().filter_map(|d| shape.get(*d as usize)).product();
            let mut v = fold(x, places, R::ZERO, |a, b| a + b)?;
            v.iter_mut().for_each(|s| *s = *s / R::from_f64(n as f64));
            v
        }
        ReduceFn::Any | ReduceFn::All | ReduceFn::ArgMax => return Err(Bug::new("a reduction of another type").into()),
    };
    Ok(Value::F(array(out, v)?))
}

/// `Op::Gather`; `axis` names the gathered dimension in the error.
pub(crate) fn gather<R: Real>(
    table: &Operand<R>,
    dim: usize,
    ids: &[i32],
    axis: &str,
    out: &[usize],
) -> Result<Value<R>, RunError> {
    let Some(&size) = table.shape.get(dim) else { return Err(Bug::new("gathered dimension out of range").into()) };
    let mut rows = with_capacity(ids.len())?;
    for (position, id) in ids.iter().enumerate() {
        let row = usize::try_from(*id).ok().filter(|i| *i < size);
        rows.push(row.ok_or_else(|| RunError::IndexRange { axis: axis.to_string(), size, id: *id, position })?);
    }
    let inner = elements(&table.shape[dim + 1..])?;
    let outer = elements(&table.shape[..dim])?;
    let n = elements(out)?;
    let pick = |from: usize, row: usize| (from * size + row) * inner..(from * size + row + 1) * inner;
    fn collect<T: Copy>(
        x: &[T],
        outer: usize,
        rows: &[usize],
        n: usize,
        pick: impl Fn(usize, usize) -> std::ops::Range<usize>,
    ) -> Result<Vec<T>, RunError> {
        let mut v = with_capacity(n)?;
        for from in 0..outer {
            for row in rows {
                v.extend_from_slice(&x[pick(from, *row)]);
            }
        }
        Ok(v)
    }
    Ok(match &table.elements {
        Elements::F(f) => Value::F(array(out, collect(f, outer, &rows, n, pick)?)?),
        Elements::I(i) => Value::I(array(out, collect(i, outer, &rows, n, pick)?)?),
        Elements::B(b) => Value::B(array(out, collect(b, outer, &rows, n, pick)?)?),
    })
}

/// Dimension j of the result is dimension `perm[j]` of the operand.
pub(crate) fn permute<T: Copy>(x: &[T], shape: &[usize], perm: &[usize]) -> Result<ArrayD<T>, RunError> {
    let view = ndarray::ArrayViewD::from_shape(IxDyn(shape), x).map_err(|e| Bug::new(e.to_string()))?;
    Ok(view.permuted_axes(IxDyn(perm)).as_standard_layout().into_owned())
}

/// `Op::Transpose`.
pub(crate) fn transpose<R: Real>(x: &Operand<R>, perm: &[u32]) -> Result<Value<R>, RunError> {
    let perm: Vec<usize> = perm.iter().map(|p| *p as usize).collect();
    Ok(match &x.elements {
        Elements::F(f) => Value::F(permute(f, x.shape, &perm)?),
        Elements::I(i) => Value::I(permute(i, x.shape, &perm)?),
        Elements::B(b) => Value::B(permute(b, x.shape, &perm)?),
    })
}

/// `Op::Split` and `Op::Merge`: the same elements under another shape.
pub(crate) fn reshape<R: Real>(x: &Operand<R>, out: &[usize]) -> Result<Value<R>, RunError> {
    Ok(match &x.elements {
        Elements::F(f) => Value::F(array(out, f.to_vec())?),
        Elements::I(i) => Value::I(array(out, i.to_vec())?),
        Elements::B(b) => Value::B(array(out, b.to_vec())?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn reduced(f: ReduceFn, dims: &[u32], x: &[f64], shape: &[usize], out: &[usize]) -> Vec<f64> {
        let x = Operand { shape, elements: Elements::F(Cow::Borrowed(x)) };
        reduce(f, dims, &x, out).unwrap().floats().unwrap().iter().copied().collect()
    }

    #[test]
    fn reductions_fold_the_removed_dimensions() {
        let x: Vec<f64> = (1..=12).map(f64::from).collect();
        let s = &[2, 3, 2][..];
        assert_eq!(reduced(ReduceFn::Sum, &[1], &x, s, &[2, 2]), [9.0, 12.0, 27.0, 30.0]);
        assert_eq!(reduced(ReduceFn::Mean, &[0, 2], &x, s, &[3]), [4.5, 6.5, 8.5]);
        assert_eq!(reduced(ReduceFn::Max, &[0, 1, 2], &x, s, &[]), [12.0]);
        assert_eq!(reduced(ReduceFn::Min, &[2], &x, s, &[2, 3]), [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
        assert!(reduced(ReduceFn::Max, &[0], &[1.0, f64::NAN, 2.0], &[3], &[])[0].is_nan());
    }

    #[test]
    fn empty_reductions() {
        assert_eq!(reduced(ReduceFn::Sum, &[1], &[], &[2, 0], &[2]), [0.0, 0.0]);
        assert!(reduced(ReduceFn::Mean, &[1], &[], &[1, 0], &[1])[0].is_nan());
        assert_eq!(reduced(ReduceFn::Max, &[0], &[], &[0], &[]), [f64::NEG_INFINITY]);
        assert_eq!(reduced(ReduceFn::Min, &[0], &[], &[0], &[]), [f64::INFINITY]);
        assert_eq!(reduced(ReduceFn::Min, &[0], &[], &[0, 0], &[0]), [0.0; 0]);
        assert_eq!(reduced(ReduceFn::Product, &[0], &[], &[0], &[]), [1.0]);
    }

    #[test]
    fn products_and_truth() {
        assert_eq!(reduced(ReduceFn::Product, &[1], &[2., 3., -1., 4.], &[2, 2], &[2]), [6.0, -4.0]);
        let x = Operand::<f32> { shape: &[3, 2], elements: Elements::B(&[true, false, true, true, false, false]) };
        for (f, want) in [(ReduceFn::Any, [true, true, false]), (ReduceFn::All, [false, true, false])] {
            assert_eq!(reduce(f, &[1], &x, &[3]).unwrap(), Value::B(array(&[3], want.to_vec()).unwrap()));
        }
        let none = Operand::<f32> { shape: &[0], elements: Elements::B(&[]) };
        assert_eq!(reduce(ReduceFn::Any, &[0], &none, &[]).unwrap(), Value::B(array(&[], vec![false]).unwrap()));
        assert_eq!(reduce(ReduceFn::All, &[0], &none, &[]).unwrap(), Value::B(array(&[], vec![true]).unwrap()));
        assert!(reduce(ReduceFn::Sum, &[0], &none, &[]).is_err());
    }

    #[test]
    fn sums_go_in_index_order() {
        let x = [1e8f32, 1.0, -1e8, 1.0];
        let x = Operand { shape: &[4], elements: Elements::F(Cow::Borrowed(&x[..])) };
        let v = reduce(ReduceFn::Sum, &[0], &x, &[]).unwrap();
        assert_eq!(v.floats().unwrap().iter().copied().collect::<Vec<_>>(), [((1e8f32 + 1.0) - 1e8) + 1.0]);
    }

    #[test]
    fn gathers_replace_a_dimension() {
        let x: Vec<f32> = (0..12u8).map(f32::from).collect();
        let t = Operand { shape: &[2, 3, 2], elements: Elements::F(Cow::Borrowed(&x[..])) };
        let v = gather(&t, 1, &[2, 0], "V", &[2, 2, 2]).unwrap();
        assert_eq!(v.floats().unwrap().iter().copied().collect::<Vec<_>>(), [4., 5., 0., 1., 10., 11., 6., 7.]);
        for (ids, bad) in [([0, 3], (3, 1)), ([-1, 0], (-1, 0))] {
            let e = gather(&t, 1, &ids, "V", &[2, 2, 2]).unwrap_err();
            assert_eq!(e, RunError::IndexRange { axis: "V".into(), size: 3, id: bad.0, position: bad.1 });
        }
    }

    #[test]
    fn shapes_beyond_memory_are_refused() {
        assert!(elements(&[usize::MAX, 2]).is_err());
        assert!(elements(&[usize::MAX, 0]).is_err());
        assert_eq!(elements(&[3, 0, 2]).unwrap(), 0);
        assert_eq!(elements(&[]).unwrap(), 1);
    }
}
