//! Conversions of activations between row-major `[n][F]` and feature-major (see [`super::feature_major`]).
use super::feature_major::TILE;
use crate::ir::{Addr, Builder, IBin, Kernel, LoadKind, StoreKind, Ty, Val};
use spc_base::Bug;

/// The features `lo..hi` of `y` from those of `x`; pad tokens become zero.
///
/// Parameters: `x` `[n][F]`, `y` feature-major, `n`, `np`, `lo`, `hi`.
pub fn to_feature_major(features: usize) -> Result<Kernel, Bug> {
    let mut b = Builder::new(format!("rm_to_fm_{features}"), 1);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (n, np) = (b.param("n", Ty::I64), b.param("np", Ty::I64));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let tokens = b.int(TILE as i64);
    let padded = b.int(TILE as i64 - 1);
    let padded = b.iadd(np, padded);
    let tiles = b.ibin(IBin::Div, padded, tokens);
    let tile_bytes = b.int(4 * (TILE * features) as i64);
    let from_stride = b.int(4 * features as i64);
    let (zero, none) = (b.float(0.0), b.int(0));
    let count = b.isub(hi, lo);
    b.repeat(tiles, &[x, y, n, np], |b, _, s| {
        let (there, width) = (b.ibin(IBin::Min, s[2], tokens), b.ibin(IBin::Min, s[3], tokens));
        let there = b.ibin(IBin::Max, there, none);
        let pads = b.isub(width, there);
        let to_stride = b.scale(width, 4);
        b.repeat(count, &[], |b, i, _| {
            let f = b.iadd(lo, i);
            let (from, to) = (b.scale(f, 4), b.imul(f, to_stride));
            let (from, to) = (b.ptr_add(s[0], from), b.ptr_add(s[1], to));
            let end = copy(b, from, from_stride, to, there);
            b.repeat(pads, &[], |b, i, _| {
                b.store(StoreKind::F32, Addr::indexed(end, i, 4), zero);
                Vec::new()
            });
            Vec::new()
        });
        vec![b.ptr_add(s[0], tile_bytes), b.ptr_add(s[1], tile_bytes), b.isub(s[2], tokens), b.isub(s[3], tokens)]
    });
    b.finish()
}

/// `y[t][f] = x[f][t]` for the tokens `lo..hi`.
///
/// Parameters: `x` feature-major, `y` `[n][F]`, `np`, `lo`, `hi`.
pub fn to_row_major(features: usize) -> Result<Kernel, Bug> {
    let mut b = Builder::new(format!("fm_to_rm_{features}"), 1);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (np, lo, hi) = (b.param("np", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let (tokens, row_bytes) = (b.int(TILE as i64), b.int(4 * features as i64));
    let features = b.int(features as i64);
    let count = b.isub(hi, lo);
    b.repeat(count, &[], |b, i, _| {
        let t = b.iadd(lo, i);
        let within = b.ibin(IBin::Rem, t, tokens);
        let first = b.isub(t, within);
        let left = b.isub(np, first);
        let width = b.ibin(IBin::Min, left, tokens);
        let skip = b.imul(first, row_bytes);
        let (at, to) = (b.scale(within, 4), b.imul(t, row_bytes));
        let from = b.ptr_add(x, skip);
        let (from, to) = (b.ptr_add(from, at), b.ptr_add(y, to));
        let stride = b.scale(width, 4);
        copy(b, from, stride, to, features);
        Vec::new()
    });
    b.finish()
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
