//! A feature-major matrix with its features before the last dimensions of its tokens, `[outer][F][inner]`: what a convolution
//! gives. Tokens that lie side by side stay so, so that whole runs are copied.
use super::feature_major::TILE;
use super::nest::{Sizes, too_large};
use super::runs::{Line, Lines};
use crate::extent::Extent;
use crate::ir::{Builder, IBin, Kernel, Ty};
use spc_base::Bug;

/// `y[a][f][c]` of a feature-major `x` of tokens `a * inner + c`. The range `lo..hi` counts features.
///
/// Parameters: `x`, `y`, the sizes of free axes `s<id>`, `n`, `np`, `lo`, `hi`.
pub fn channels_first(features: usize, inner: &Extent, lanes: usize) -> Result<Kernel, Bug> {
    let mut b = Builder::new(format!("fm_to_channels_{features}"), lanes);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let sizes = Sizes::params(&mut b, [inner]);
    let (n, np) = (b.param("n", Ty::I64), b.param("np", Ty::I64));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let features = i64::try_from(features).map_err(|_| too_large())?;
    let inner = sizes.value(&mut b, inner)?;
    let plane = b.scale(inner, 4);
    let (tile, more, one, zero) = (b.int(TILE as i64), b.int(TILE as i64 - 1), b.int(1), b.int(0));
    let rounds = b.isub(hi, lo);
    let skipped = b.imul(plane, lo);
    let y = b.ptr_add(y, skipped);
    let tiles = b.iadd(n, more);
    let tiles = b.ibin(IBin::Div, tiles, tile);
    b.repeat(tiles, &[], |b, i, _| {
        let start = b.imul(i, tile);
        let left = b.isub(np, start);
        let width = b.ibin(IBin::Min, left, tile);
        let wide = b.scale(width, 4);
        let there = b.isub(n, start);
        let there = b.ibin(IBin::Min, there, tile);
        let from = b.scale(start, 4 * features);
        let base = b.ptr_add(x, from);
        let by = b.imul(wide, lo);
        let base = b.ptr_add(base, by);
        // Runs up to the end of a plane.
        let before = b.ibin(IBin::Rem, start, inner);
        let all = b.iadd(before, there);
        let up = b.isub(inner, one);
        let all = b.iadd(all, up);
        let runs = b.ibin(IBin::Div, all, inner);
        b.repeat(runs, &[zero], |b, _, s| {
            let at = b.iadd(start, s[0]);
            let (outer, c) = (b.ibin(IBin::Div, at, inner), b.ibin(IBin::Rem, at, inner));
            let (whole, left) = (b.isub(inner, c), b.isub(there, s[0]));
            let run = b.ibin(IBin::Min, whole, left);
            let across = b.scale(s[0], 4);
            let from = b.ptr_add(base, across);
            let planes = b.scale(outer, features);
            let by = b.imul(planes, plane);
            let to = b.ptr_add(y, by);
            let by = b.scale(c, 4);
            let to = b.ptr_add(to, by);
            Lines { count: run, nest: vec![Line { rounds, x: wide, y: plane }] }.copy(b, from, to);
            vec![b.iadd(s[0], run)]
        });
        Vec::new()
    });
    b.finish()
}
