//! Sums of products: `contract` and `linear`, absent weights, and the error bound of a linear.
use crate::ops::{array, elements, filled, permute};
use crate::run::Absent;
use crate::{Real, RunError, Value};
use ndarray::ArrayD;
use spc_base::Bug;
use spc_ir::ScalarExpr;

/// Rows of x that are summed side by side.
const LANES: usize = 16;

/// `y[n][o] = sum_k w(o * K + k) * x[n][k]`, k ascending from +0, one rounding per product and per addition. With
/// `skip`, terms whose weight is 0 are left out.
fn rows_dot<R: Real>(
    w: impl Fn(usize) -> R,
    (o, k): (usize, usize),
    x: &[R],
    n: usize,
    skip: bool,
) -> Result<Vec<R>, RunError> {
    let mut y = filled(elements(&[n, o])?, R::ZERO)?;
    let mut pack = filled(elements(&[k, LANES])?, R::ZERO)?;
    for first in (0..n).step_by(LANES) {
        let live = LANES.min(n - first);
        for (lane, row) in x[first * k..(first + live) * k].chunks_exact(k.max(1)).enumerate() {
            row.iter().enumerate().for_each(|(j, v)| pack[j * LANES + lane] = *v);
        }
        for row in 0..o {
            let mut sum = [R::ZERO; LANES];
            for (j, lanes) in pack.chunks_exact(LANES).enumerate() {
                let v = w(row * k + j);
                if skip && v == R::ZERO {
                    continue;
                }
                for (s, x) in sum.iter_mut().zip(lanes) {
                    *s += v * *x;
                }
            }
            for (lane, s) in sum[..live].iter().enumerate() {
                y[(first + lane) * o + row] = *s;
            }
        }
    }
    Ok(y)
}

/// N rows of x, O outputs, K inputs.
pub(crate) type Sizes = (usize, usize, usize);

/// The weight of a linear: borrowed as stored, or computed by the graph.
#[derive(Clone, Copy)]
pub(crate) enum Matrix<'a, R> {
    Stored(&'a [f32]),
    Computed(&'a [R]),
}

/// `Op::Linear` without its activation: x is `[N, K]`, w is `[O, K]`, the result `[N, O]`.
pub(crate) fn linear<R: Real>(
    x: &[R],
    w: Matrix<R>,
    (n, o, k): Sizes,
    bias: Option<&[R]>,
    absent: Absent,
) -> Result<Vec<R>, RunError> {
    let size = match w {
        Matrix::Stored(w) => w.len(),
        Matrix::Computed(w) => w.len(),
    };
    if x.len() != elements(&[n, k])? || size != elements(&[o, k])? || bias.is_some_and(|b| b.len() != o) {
        return Err(Bug::new("the operands of a linear do not fit").into());
    }
    let skip = absent == Absent::Skip;
    let mut y = match w {
        Matrix::Stored(w) => rows_dot(|i| R::from_f32(w[i]), (o, k), x, n, skip)?,
        Matrix::Computed(w) => rows_dot(|i| w[i], (o, k), x, n, skip)?,
    };
    if let Some(b) = bias {
        for row in y.chunks_exact_mut(o.max(1)) {
            row.iter_mut().zip(b).for_each(|(y, b)| *y += *b);
        }
    }
    Ok(y)
}

/// One operand of a contract.
pub(crate) struct Side<'a, R> {
    pub x: &'a [R],
    pub shape: &'a [usize],
    pub labels: &'a [u32],
    /// It is a stored weight, perhaps seen through views: its zeros are absent.
    pub weight: bool,
}

/// `Op::Contract`. Sums run over the summed labels in the order of the left operand, row-major.
pub(crate) fn contract<R: Real>(
    lhs: &Side<R>,
    rhs: &Side<R>,
    out: &[u32],
    absent: Absent,
) -> Result<Value<R>, RunError> {
    let bug = || Bug::new("a contract without the labels of its operands");
    // The side whose zeros may be absent takes the place of the weight.
    let (w, x) = if lhs.weight { (lhs, rhs) } else { (rhs, lhs) };
    let pick = |from: &[u32], keep: &dyn Fn(&u32) -> bool| from.iter().copied().filter(keep).collect::<Vec<u32>>();
    let batch = pick(out, &|l| w.labels.contains(l) && x.labels.contains(l));
    let w_free = pick(w.labels, &|l| !x.labels.contains(l));
    let x_free = pick(x.labels, &|l| !w.labels.contains(l));
    let summed = pick(lhs.labels, &|l| !out.contains(l));
    let size = |l: &u32| {
        let hit = |s: &Side<R>| s.labels.iter().position(|m| m == l).and_then(|i| s.shape.get(i).copied());
        hit(lhs).or_else(|| hit(rhs)).ok_or_else(bug)
    };
    let sizes = |list: &[u32]| list.iter().map(size).collect::<Result<Vec<usize>, Bug>>();
    let rows = |s: &Side<R>, free: &[u32]| -> Result<ArrayD<R>, RunError> {
        let want = batch.iter().chain(free).chain(&summed);
        let perm = want.map(|l| s.labels.iter().position(|m| m == l)).collect::<Option<Vec<usize>>>();
        permute(s.x, s.shape, &perm.filter(|p| p.len() == s.labels.len()).ok_or_else(bug)?)
    };
    let (wr, xr) = (rows(w, &w_free)?, rows(x, &x_free)?);
    let (wv, xv) = (wr.as_slice().ok_or_else(bug)?, xr.as_slice().ok_or_else(bug)?);
    let (b, o) = (elements(&sizes(&batch)?)?, elements(&sizes(&w_free)?)?);
    let (n, k) = (elements(&sizes(&x_free)?)?, elements(&sizes(&summed)?)?);
    let skip = w.weight && absent == Absent::Skip;
    let mut v = Vec::new();
    for i in 0..b {
        let wb = &wv[i * o * k..(i + 1) * o * k];
        v.extend(rows_dot(|j| wb[j], (o, k), &xv[i * n * k..(i + 1) * n * k], n, skip)?);
    }
    let have: Vec<u32> = batch.iter().chain(&x_free).chain(&w_free).copied().collect();
    let perm = out.iter().map(|l| have.iter().position(|h| h == l)).collect::<Option<Vec<usize>>>();
    Ok(Value::F(permute(&v, &sizes(&have)?, &perm.ok_or_else(bug)?)?))
}

/// Both results that a linear may have where absent weights meet activations that are not finite: the sum without the
/// absent terms, and the sum with them (NaN where one meets NaN or infinity). The activation is applied to either.
///
/// x is `[.., K]`, w is `[O, K]`. They are equal wherever no absent weight meets such an activation.
pub fn linear_alternatives<R: Real>(
    x: &ArrayD<R>,
    w: &[f32],
    bias: Option<&[f32]>,
    act: Option<&ScalarExpr>,
) -> Result<(ArrayD<R>, ArrayD<R>), RunError> {
    let (shape, size) = linear_shape(x.shape(), w)?;
    let x = x.as_standard_layout();
    let x = x.as_slice().ok_or_else(|| Bug::new("not row-major"))?;
    let bias: Option<Vec<R>> = bias.map(|b| b.iter().map(|v| R::from_f32(*v)).collect());
    let one = |absent| -> Result<ArrayD<R>, RunError> {
        let mut y = linear(x, Matrix::Stored(w), size, bias.as_deref(), absent)?;
        activate(&mut y, act)?;
        array(&shape, y)
    };
    Ok((one(Absent::Skip)?, one(Absent::Nan)?))
}

/// Applies the activation of a linear.
pub(crate) fn activate<R: Real>(y: &mut [R], act: Option<&ScalarExpr>) -> Result<(), RunError> {
    use crate::scalar::{Args, Column, float};
    let Some(act) = act else { return Ok(()) };
    let code = float::<R>(act, &[spc_ir::DType::F32])?;
    for v in y {
        let f = [*v];
        *v = code.eval(&Args { columns: &[Column { f: &f, i: &[], b: &[] }], at: &[0] });
    }
    Ok(())
}

/// Shape of the result, and (N, O, K), of a linear of `x [.., K]` with `w [O, K]`.
fn linear_shape(x: &[usize], w: &[f32]) -> Result<(Vec<usize>, Sizes), RunError> {
    let bad = || RunError::from(Bug::new("the operands of a linear do not fit"));
    let (k, outer) = x.split_last().ok_or_else(bad)?;
    let o = w.len().checked_div(*k).filter(|o| o * k == w.len()).ok_or_else(bad)?;
    let mut shape = outer.to_vec();
    shape.push(o);
    Ok((shape, (elements(outer)?, o, *k)))
}

/// `sum_k |w[o,k] x[..,k]| + |b[o]|` in f64, absent weights left out: what the error of a linear is measured against.
/// Any order of summation in precision u gives a result within [`gamma`]`(K + 1)` times this of the exact one.
///
/// x is `[.., K]` with K > 0, w is `[O, K]`; the result is `[.., O]`.
pub fn sum_abs<R: Real>(x: &ArrayD<R>, w: &[f32], bias: Option<&[f32]>) -> Result<ArrayD<f64>, RunError> {
    let (shape, (n, o, k)) = linear_shape(x.shape(), w)?;
    let x: Vec<f64> = x.iter().map(|v| v.to_f64().abs()).collect();
    let mut y = rows_dot(|i| f64::from(w[i]).abs(), (o, k), &x, n, true)?;
    for (i, y) in y.iter_mut().enumerate() {
        *y += bias.and_then(|b| b.get(i % o.max(1))).map_or(0.0, |b| f64::from(*b).abs());
    }
    array(&shape, y)
}

/// `n u / (1 - n u)` with u = 2^-24, the unit roundoff of f32: the relative error of a sum of n products (Higham,
/// Accuracy and Stability of Numerical Algorithms, section 3.1). Infinite once n u reaches 1.
pub fn gamma(n: usize) -> f64 {
    let nu = n as f64 / f64::from(1u32 << 24);
    if nu < 1.0 { nu / (1.0 - nu) } else { f64::INFINITY }
}
