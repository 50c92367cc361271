//! Random images as matrices of windows, and matrices as images.
use super::nest::{bind_sizes, extent};
use super::{Binder, Case, f32_bytes};
use crate::extent::Extent;
use crate::ir::random::Rng;
use crate::templates::{Term, UnfoldSpec, WindowSpec, channels_first, contiguous, padded_tokens, position, unfold};
use spc_base::Bug;
use spc_ir::DType;

/// Images `[B, C, H, W]` as a feature-major matrix of their windows, tokens `(B, P, Q)` and features `(C, R, S)`: with padding,
/// steps and gaps; as terms, or as strides where all places lie inside; sometimes with rows and columns changed round, or
/// read from right to left. The result is exact, pads included.
pub fn unfolded(rng: &mut Rng, lanes: usize) -> Result<Case, Bug> {
    let mut one = |list: &[usize]| list[rng.below(list.len())];
    let (images, channels) = (one(&[1, 1, 2, 3]), one(&[1, 2, 3, 19]));
    let size = [one(&[1, 2, 5, 8, 17]), one(&[1, 3, 4, 7, 19, 60])];
    let kernel = [one(&[1, 1, 2, 3]), one(&[1, 1, 2, 3, 5])];
    let (step, gap) = ([one(&[1, 1, 2]), one(&[1, 1, 2, 3])], [one(&[1, 1, 2]), one(&[1, 1, 1, 2])]);
    let pad = [one(&[0, 1, 2]), one(&[0, 1, 2, 20])];
    let (turned, falling, base) = (one(&[0, 0, 0, 1]) == 1, one(&[0, 0, 0, 0, 1]) == 1, one(&[0, 0, 3]));
    let places = |d: usize| {
        let reach = gap[d] * (kernel[d] - 1) + 1;
        (size[d] + 2 * pad[d]).checked_sub(reach).map_or(0, |n| n / step[d] + 1)
    };
    let out = [places(0), places(1)];
    let inside = pad == [0, 0] && !falling;
    let as_view = inside && rng.below(2) == 0;

    let mut sizes = Vec::new();
    let mut e = |n: usize| extent(rng, &mut sizes, n);
    let image = [e(images), Extent::fixed(channels as u64), e(size[0]), e(size[1])];
    let stored = contiguous(&image)?;
    let fixed = |n: usize| Extent::fixed(n as u64);
    let times = |s: &Extent, n: usize| s.times(&fixed(n)).ok_or_else(|| Bug::new("too large"));
    let mut dims = vec![image[0].clone(), e(out[0]), e(out[1]), fixed(channels), fixed(kernel[0]), fixed(kernel[1])];
    let none = fixed(0);
    let mut strides = vec![stored[0].clone(), none.clone(), none.clone(), stored[1].clone(), none.clone(), none];
    let mut terms = Vec::new();
    for d in 0..2 {
        let (s, g) = (step[d] as i64, gap[d] as i64);
        let mut coeff = vec![0; 6];
        (coeff[1 + d], coeff[4 + d]) = (s, g);
        let mut offset = -(pad[d] as i64);
        if falling && d == 1 {
            coeff[2] = -s;
            offset += s * (out[1] as i64 - 1);
        }
        if as_view {
            strides[1 + d] = times(&stored[2 + d], step[d])?;
            strides[4 + d] = times(&stored[2 + d], gap[d])?;
        } else {
            terms.push(Term { size: image[2 + d].clone(), stride: stored[2 + d].clone(), offset, coeff });
        }
    }
    if turned {
        dims.swap(1, 2);
        strides.swap(1, 2);
        terms.iter_mut().for_each(|t| t.coeff.swap(1, 2));
    }
    let window =
        WindowSpec { name: "unfold".into(), dtype: DType::F32, dims, strides, base: base as u64, terms, lanes };
    let made = unfold(&UnfoldSpec { window, tokens: 3 })?;

    let x: Vec<f32> = (0..base + images * channels * size[0] * size[1]).map(|i| 1.0 + i as f32).collect();
    let (tokens, features) = (images * out[0] * out[1], channels * kernel[0] * kernel[1]);
    let np = padded_tokens(tokens as u64).unwrap_or(0) as usize;
    let mut y = vec![0.0f32; np * features];
    for t in 0..tokens {
        let (i, rest) = (t / (out[0] * out[1]), t % (out[0] * out[1]));
        let (p, q) = if turned { (rest % out[0], rest / out[0]) } else { (rest / out[1], rest % out[1]) };
        let q = if falling { out[1] - 1 - q } else { q };
        for f in 0..features {
            let (c, r, s) = (f / (kernel[0] * kernel[1]), f / kernel[1] % kernel[0], f % kernel[1]);
            let row = (step[0] * p + gap[0] * r).checked_sub(pad[0]).filter(|h| *h < size[0]);
            let col = (step[1] * q + gap[1] * s).checked_sub(pad[1]).filter(|w| *w < size[1]);
            if let (Some(h), Some(w)) = (row, col) {
                y[position(t, f, features, np)] = x[base + ((i * channels + c) * size[0] + h) * size[1] + w];
            }
        }
    }
    let mut b = Binder::new();
    bind_sizes(&mut b, &sizes);
    b.buffer("x", f32_bytes(&x));
    let to = b.buffer("y", f32_bytes(&vec![-1.0; y.len()]));
    b.int("n", tokens);
    b.int("np", np);
    b.case(made, np, to, y.iter().map(|v| Some((f64::from(*v), 0.0))).collect())
}

/// A feature-major matrix as `[outer][features][inner]`. The result is exact.
pub fn channels(rng: &mut Rng, lanes: usize) -> Result<Case, Bug> {
    let mut one = |list: &[usize]| list[rng.below(list.len())];
    let (outer, inner, features) = (one(&[1, 1, 2, 3, 5]), one(&[1, 2, 7, 16, 33, 49, 100]), one(&[1, 2, 5, 17]));
    let mut sizes = Vec::new();
    let along = extent(rng, &mut sizes, inner);
    let kernel = channels_first(features, &along, lanes)?;
    let tokens = outer * inner;
    let np = padded_tokens(tokens as u64).unwrap_or(0) as usize;
    let (mut x, mut want) = (vec![f32::NAN; np * features], Vec::new());
    for (o, f, i) in (0..outer).flat_map(|o| (0..features).flat_map(move |f| (0..inner).map(move |i| (o, f, i)))) {
        let v = (want.len() + 1) as f32;
        x[position(o * inner + i, f, features, np)] = v;
        want.push(Some((f64::from(v), 0.0)));
    }
    let mut b = Binder::new();
    bind_sizes(&mut b, &sizes);
    b.buffer("x", f32_bytes(&x));
    let y = b.buffer("y", f32_bytes(&vec![-1.0; want.len()]));
    b.int("n", tokens);
    b.int("np", np);
    b.case(kernel, features, y, want)
}
