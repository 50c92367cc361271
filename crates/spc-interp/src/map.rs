//! Pointwise nodes and repetition: walks over an output shape with one offset per operand.
use crate::ops::{array, elements, with_capacity};
use crate::scalar::{Args, Column, float, int, truth};
use crate::{Real, RunError, Value};
use spc_base::Bug;
use spc_ir::{DType, ScalarExpr};
use std::borrow::Cow;

/// The elements of an operand in row-major order.
pub(crate) enum Elements<'a, R: Clone> {
    F(Cow<'a, [R]>),
    I(&'a [i32]),
    B(&'a [bool]),
}

/// An operand with its shape.
pub(crate) struct Operand<'a, R: Clone> {
    pub shape: &'a [usize],
    pub elements: Elements<'a, R>,
}

impl<R: Real> Operand<'_, R> {
    fn column(&self) -> Column<'_, R> {
        match &self.elements {
            Elements::F(f) => Column { f, i: &[], b: &[] },
            Elements::I(i) => Column { f: &[], i, b: &[] },
            Elements::B(b) => Column { f: &[], i: &[], b },
        }
    }

    fn dtype(&self) -> DType {
        match self.elements {
            Elements::F(_) => DType::F32,
            Elements::I(_) => DType::I32,
            Elements::B(_) => DType::Bool,
        }
    }
}

/// Distance in memory, for each output position, between neighbours of an operand of this shape: 0 where it repeats.
fn strides(shape: &[usize], at: &[u32], out: &[usize]) -> Result<Vec<usize>, Bug> {
    let mut steps = vec![0; out.len()];
    let mut step = 1usize;
    for (n, p) in shape.iter().zip(at).rev() {
        let p = *p as usize;
        if at.len() != shape.len() || out.get(p) != Some(n) {
            return Err(Bug::new("an operand does not fit the shape of the result"));
        }
        steps[p] = step;
        step = step.saturating_mul(*n);
    }
    Ok(steps)
}

/// Calls `f` with the operands' offsets at every position of `shape`, row-major.
fn walk(shape: &[usize], strides: &[Vec<usize>], mut f: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut position = vec![0usize; shape.len()];
    let mut offsets = vec![0usize; strides.len()];
    loop {
        f(&offsets);
        let mut d = shape.len();
        loop {
            let Some(next) = d.checked_sub(1) else { return };
            d = next;
            position[d] += 1;
            if position[d] < shape[d] {
                offsets.iter_mut().zip(strides).for_each(|(o, s)| *o += s[d]);
                break;
            }
            position[d] = 0;
            offsets.iter_mut().zip(strides).for_each(|(o, s)| *o -= s[d] * (shape[d] - 1));
        }
    }
}

/// `Op::Map`.
pub(crate) fn map<R: Real>(
    expr: &ScalarExpr,
    at: &[Vec<u32>],
    operands: &[Operand<R>],
    dtype: DType,
    out: &[usize],
) -> Result<Value<R>, RunError> {
    let steps: Vec<Vec<usize>> =
        operands.iter().zip(at).map(|(x, at)| strides(x.shape, at, out)).collect::<Result<_, _>>()?;
    let columns: Vec<Column<R>> = operands.iter().map(Operand::column).collect();
    let types: Vec<DType> = operands.iter().map(Operand::dtype).collect();
    let n = elements(out)?;
    Ok(match dtype {
        DType::F32 => {
            let (code, mut v) = (float::<R>(expr, &types)?, with_capacity(n)?);
            walk(out, &steps, |at| v.push(code.eval(&Args { columns: &columns, at })));
            Value::F(array(out, v)?)
        }
        DType::I32 => {
            let (code, mut v) = (int::<R>(expr, &types)?, with_capacity(n)?);
            walk(out, &steps, |at| v.push(code.eval(&Args { columns: &columns, at })));
            Value::I(array(out, v)?)
        }
        DType::Bool => {
            let (code, mut v) = (truth::<R>(expr, &types)?, with_capacity(n)?);
            walk(out, &steps, |at| v.push(code.eval(&Args { columns: &columns, at })));
            Value::B(array(out, v)?)
        }
    })
}

/// `Op::Broadcast`.
pub(crate) fn broadcast<R: Real>(x: &Operand<R>, at: &[u32], out: &[usize]) -> Result<Value<R>, RunError> {
    fn repeat<T: Copy>(x: &[T], steps: Vec<usize>, out: &[usize]) -> Result<ndarray::ArrayD<T>, RunError> {
        let mut v = with_capacity(elements(out)?)?;
        walk(out, &[steps], |at| v.push(x[at[0]]));
        array(out, v)
    }
    let steps = strides(x.shape, at, out)?;
    Ok(match &x.elements {
        Elements::F(f) => Value::F(repeat(f, steps, out)?),
        Elements::I(i) => Value::I(repeat(i, steps, out)?),
        Elements::B(b) => Value::B(repeat(b, steps, out)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_repeat_and_turn() {
        let (a, b) = ([1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0, 20.0]);
        let x = [
            Operand { shape: &[3, 2], elements: Elements::F(Cow::Borrowed(&a[..])) },
            Operand { shape: &[2], elements: Elements::F(Cow::Borrowed(&b[..])) },
        ];
        let e = ScalarExpr::parse("(add a0 a1)").unwrap();
        let v = map(&e, &[vec![1, 0], vec![0]], &x, DType::F32, &[2, 3]).unwrap();
        assert_eq!(v, Value::F(array(&[2, 3], vec![11., 13., 15., 22., 24., 26.]).unwrap()));
        assert!(map(&e, &[vec![0, 1], vec![0]], &x, DType::F32, &[2, 3]).is_err());
        let v = broadcast(&x[1], &[1], &[2, 2]).unwrap();
        assert_eq!(v, Value::F(array(&[2, 2], vec![10., 20., 10., 20.]).unwrap()));
    }

    #[test]
    fn scalars_and_empty_shapes() {
        let x = [Operand { shape: &[], elements: Elements::I::<f32>(&[3]) }];
        let v = map(&ScalarExpr::parse("(mul a0 2)").unwrap(), &[vec![]], &x, DType::I32, &[]).unwrap();
        assert_eq!(v, Value::I(array(&[], vec![6]).unwrap()));
        let v = broadcast(&x[0], &[], &[2, 0]).unwrap();
        assert_eq!(v.shape(), [2, 0]);
    }
}
