//! Values joined along an axis, and values read through affine places.
use crate::map::{Elements, Operand};
use crate::ops::{array, elements, with_capacity};
use crate::{Real, RunError, Value};
use spc_base::Bug;

/// `Op::Concat`.
pub(crate) fn concat<R: Real>(args: &[Operand<R>], dim: usize, out: &[usize]) -> Result<Value<R>, RunError> {
    fn join<T: Copy>(parts: &[(&[T], usize)], n: usize) -> Result<Vec<T>, RunError> {
        let mut v = with_capacity(n)?;
        let outer = parts.iter().map(|(x, run)| if *run == 0 { 0 } else { x.len() / run }).max().unwrap_or(0);
        for o in 0..outer {
            for (x, run) in parts {
                v.extend_from_slice(x.get(o * run..(o + 1) * run).unwrap_or_default());
            }
        }
        Ok(v)
    }
    let n = elements(out)?;
    let mut runs = Vec::new();
    for a in args {
        runs.push(elements(a.shape.get(dim..).ok_or_else(|| Bug::new("joined dimension out of range"))?)?);
    }
    let mixed = || Bug::new("joined values differ in type");
    let (mut f, mut i, mut b) = (Vec::new(), Vec::new(), Vec::new());
    for (a, run) in args.iter().zip(runs) {
        match &a.elements {
            Elements::F(x) => f.push((&x[..], run)),
            Elements::I(x) => i.push((*x, run)),
            Elements::B(x) => b.push((*x, run)),
        }
    }
    match args.len() {
        0 => Err(mixed().into()),
        n_args if n_args == f.len() => Ok(Value::F(array(out, join(&f, n)?)?)),
        n_args if n_args == i.len() => Ok(Value::I(array(out, join(&i, n)?)?)),
        n_args if n_args == b.len() => Ok(Value::B(array(out, join(&b, n)?)?)),
        _ => Err(mixed().into()),
    }
}

/// `Op::Window`. `into` are the sizes of the new dimensions.
pub(crate) fn window<R: Real>(
    x: &Operand<R>,
    dim: usize,
    coeff: &[i64],
    offset: i64,
    out: &[usize],
) -> Result<Value<R>, RunError> {
    let bad = || Bug::new("a window does not fit its operand");
    let size = *x.shape.get(dim).ok_or_else(bad)?;
    let into = out.get(dim..dim + coeff.len()).ok_or_else(bad)?;
    // Where each place of the new dimensions reads, row-major; `None` outside.
    let mut places: Vec<Option<usize>> = with_capacity(elements(into)?)?;
    if !into.contains(&0) {
        let mut position = vec![0usize; into.len()];
        'all: loop {
            let at = position.iter().zip(coeff).try_fold(i128::from(offset), |sum, (i, c)| {
                sum.checked_add(i128::from(*c).checked_mul(i128::try_from(*i).ok()?)?)
            });
            places.push(at.and_then(|a| usize::try_from(a).ok()).filter(|a| *a < size));
            for d in (0..position.len()).rev() {
                position[d] += 1;
                if position[d] < into[d] {
                    continue 'all;
                }
                position[d] = 0;
            }
            break;
        }
    }
    fn pick<T: Copy>(
        x: &[T],
        (outer, size, inner): (usize, usize, usize),
        places: &[Option<usize>],
        n: usize,
        zero: T,
    ) -> Result<Vec<T>, RunError> {
        let mut v = with_capacity(n)?;
        for o in 0..outer {
            for p in places {
                match p {
                    Some(p) => v.extend_from_slice(&x[(o * size + p) * inner..][..inner]),
                    None => v.resize(v.len() + inner, zero),
                }
            }
        }
        Ok(v)
    }
    let sizes = (elements(&x.shape[..dim])?, size, elements(&x.shape[dim + 1..])?);
    let n = elements(out)?;
    Ok(match &x.elements {
        Elements::F(f) => Value::F(array(out, pick(f, sizes, &places, n, R::ZERO)?)?),
        Elements::I(i) => Value::I(array(out, pick(i, sizes, &places, n, 0)?)?),
        Elements::B(b) => Value::B(array(out, pick(b, sizes, &places, n, false)?)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn floats<'a>(x: &'a [f64], shape: &'a [usize]) -> Operand<'a, f64> {
        Operand { shape, elements: Elements::F(Cow::Borrowed(x)) }
    }

    fn list(v: &Value<f64>) -> Vec<f64> {
        v.floats().unwrap().iter().copied().collect()
    }

    #[test]
    fn pieces_are_joined_in_order() {
        let (a, b) = ([1., 2., 3., 4.], [5., 6.]);
        let v = concat(&[floats(&a, &[2, 2]), floats(&b, &[2, 1])], 1, &[2, 3]).unwrap();
        assert_eq!(list(&v), [1., 2., 5., 3., 4., 6.]);
        let v = concat(&[floats(&a, &[2, 2]), floats(&b, &[1, 2])], 0, &[3, 2]).unwrap();
        assert_eq!(list(&v), [1., 2., 3., 4., 5., 6.]);
        let v = concat(&[floats(&[], &[2, 0]), floats(&b, &[2, 1]), floats(&[], &[2, 0])], 1, &[2, 1]).unwrap();
        assert_eq!(list(&v), [5., 6.]);
        assert_eq!(concat(&[floats(&[], &[0, 2])], 0, &[0, 2]).unwrap().shape(), [0, 2]);
        let ints = Operand { shape: &[2], elements: Elements::I(&[1, 2]) };
        assert!(concat(&[floats(&b, &[2]), ints], 0, &[4]).is_err());
    }

    #[test]
    fn windows_read_affine_places_and_zero_outside() {
        let x = [1., 2., 3., 4., 5.];
        // Stride 2, taps 3, padding 1.
        let v = window(&floats(&x, &[5]), 0, &[2, 1], -1, &[3, 3]).unwrap();
        assert_eq!(list(&v), [0., 1., 2., 2., 3., 4., 4., 5., 0.]);
        // Reversal, and a single place.
        assert_eq!(list(&window(&floats(&x, &[5]), 0, &[-1], 4, &[5]).unwrap()), [5., 4., 3., 2., 1.]);
        assert_eq!(list(&window(&floats(&x, &[5]), 0, &[], 4, &[]).unwrap()), [5.]);
        assert_eq!(list(&window(&floats(&x, &[5]), 0, &[], -4, &[]).unwrap()), [0.]);
        // Dimensions on both sides stay.
        let y: Vec<f64> = (0..12u8).map(f64::from).collect();
        let v = window(&floats(&y, &[2, 3, 2]), 1, &[1], 1, &[2, 3, 2]).unwrap();
        assert_eq!(list(&v), [2., 3., 4., 5., 0., 0., 8., 9., 10., 11., 0., 0.]);
    }

    #[test]
    fn windows_of_extreme_numbers_lie_outside() {
        let x = [1., 2.];
        for (c, offset) in [(i64::MAX, i64::MAX), (i64::MIN, i64::MIN), (i64::MAX, 1)] {
            let v = window(&floats(&x, &[2]), 0, &[c], offset, &[3]).unwrap();
            assert_eq!(list(&v)[1..], [0., 0.]);
        }
        assert!(window(&floats(&x, &[2]), 0, &[1, 1], 0, &[3]).is_err());
        assert_eq!(window(&floats(&[], &[0]), 0, &[1], 0, &[2]).unwrap().floats().unwrap().sum(), 0.0);
    }
}
