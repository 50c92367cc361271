//! Conversions of activations between row-major `[n][F]` and feature-major `[F][np]`.
use crate::ir::{Addr, Builder, Kernel, LoadKind, StoreKind, Ty, Val};
use spc_base::Bug;

/// `y[f][t] = x[t][f]` for the features `lo..hi`; the pads `y[f][n..np]` become zero.
///
/// Parameters: `x` `[n][F]`, `y` `[F][np]`, `n`, `np`, `lo`, `hi`.
pub fn to_feature_major(features: usize) -> Result<Kernel, Bug> {
    let mut b = Builder::new(format!("rm_to_fm_{features}"), 1);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (n, np) = (b.param("n", Ty::I64), b.param("np", Ty::I64));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let from_stride = b.int(4 * features as i64);
    let to_stride = b.scale(np, 4);
    let pads = b.isub(np, n);
    let zero = b.float(0.0);
    rows(&mut b, x, y, to_stride, lo, hi, |b, from, to| {
        let end = copy(b, from, from_stride, to, n);
        b.repeat(pads, &[], |b, i, _| {
            b.store(StoreKind::F32, Addr::indexed(end, i, 4), zero);
            Vec::new()
        });
    });
    b.finish()
}

/// `y[t][f] = x[f][t]` for the tokens `lo..hi`.
///
/// Parameters: `x` `[F][np]`, `y` `[n][F]`, `np`, `lo`, `hi`.
pub fn to_row_major(features: usize) -> Result<Kernel, Bug> {
    let mut b = Builder::new(format!("fm_to_rm_{features}"), 1);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (np, lo, hi) = (b.param("np", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let from_stride = b.scale(np, 4);
    let to_stride = b.int(4 * features as i64);
    let count = b.int(features as i64);
    rows(&mut b, x, y, to_stride, lo, hi, |b, from, to| {
        copy(b, from, from_stride, to, count);
    });
    b.finish()
}

/// For each output row in `lo..hi`: the pointer to the first element of the input's column, and to the row.
fn rows(b: &mut Builder, x: Val, y: Val, stride: Val, lo: Val, hi: Val, body: impl Fn(&mut Builder, Val, Val)) {
    let count = b.isub(hi, lo);
    b.repeat(count, &[], |b, i, _| {
        let row = b.iadd(lo, i);
        let (from, to) = (b.scale(row, 4), b.imul(row, stride));
        let (from, to) = (b.ptr_add(x, from), b.ptr_add(y, to));
        body(b, from, to);
        Vec::new()
    });
}

/// Copies `count` floats that lie `stride` bytes apart to contiguous memory. Gives the end of what was written.
fn copy(b: &mut Builder, from: Val, stride: Val, to: Val, count: Val) -> Val {
    let r = b.repeat(count, &[from, to], |b, _, s| {
        let v = b.load(LoadKind::F32, Addr::new(s[0]));
        b.store(StoreKind::F32, Addr::new(s[1]), v);
        vec![b.ptr_add(s[0], stride), b.ptr_off(s[1], 4)]
    });
    r[1]
}
