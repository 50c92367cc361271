//! exp, erf and tanh as sequences of f32 operations against f64, over the whole range of f32.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_ir::{DType, ScalarExpr};
use spc_kernel::ir::interp::{Arg, run};
use spc_kernel::ir::{Addr, Builder, Kernel, LoadKind, StoreKind, Ty};
use spc_kernel::templates::expr::Emitter;

/// `y[i] = e(x[i])` for the lanes of one vector, or for one float.
fn kernel(e: &str, lanes: usize, vector: bool) -> Kernel {
    let e = ScalarExpr::parse(e).unwrap();
    let mut b = Builder::new("f", lanes);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let kind = if vector { LoadKind::VF32 } else { LoadKind::F32 };
    let v = b.load(kind, Addr::new(x));
    let v = Emitter { args: &[v], types: &[DType::F32], vector }.emit(&mut b, &e, DType::F32).unwrap();
    b.store(if vector { StoreKind::VF32 } else { StoreKind::F32 }, Addr::new(y), v);
    b.finish().unwrap()
}

fn call(k: &Kernel, x: &[f32]) -> Vec<f32> {
    let bytes = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut buffers = vec![bytes, vec![0; 4 * x.len()]];
    run(k, &[Arg::buffer(0), Arg::buffer(1)], &mut buffers).unwrap();
    buffers[1].chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
}

/// Distance of the neighbours of a result, at least the least subnormal number.
fn ulp(want: f64) -> f64 {
    let e = want.abs().log2().floor().clamp(-126.0, 127.0);
    2f64.powf(e - 23.0)
}

/// Every `step`-th float, and those around zeros, one, infinities, NaN and the places where the sequences change.
fn arguments(step: u32) -> Vec<f32> {
    let around =
        [0.0f32, 1.0, 0.632, 4.0, 10.0, 88.722_84, 89.0, 103.972_08, 104.0, 87.336_54, f32::MAX, f32::INFINITY];
    let near = around.iter().flat_map(|v| (0..41u32).map(|i| f32::from_bits((v.to_bits() + i).saturating_sub(20))));
    let near: Vec<f32> = near.chain([f32::NAN, f32::MIN_POSITIVE, f32::from_bits(1)]).collect();
    let both = near.iter().flat_map(|v| [*v, -*v]);
    let all = (0..=u32::MAX / step).map(|i| f32::from_bits(i * step));
    let mut list: Vec<f32> = both.chain(all).collect();
    list.resize(list.len().next_multiple_of(16), 0.5);
    list
}

fn worst(e: &str, f: fn(f64) -> f64, bound: f64) {
    let vectors = kernel(e, 16, true);
    let one = kernel(e, 16, false);
    let mut worst = (0.0, 0.0f32);
    for (n, x) in arguments(30_011).chunks_exact(16).enumerate() {
        let got = call(&vectors, x);
        for (x, y) in x.iter().zip(&got) {
            let want = f(f64::from(*x));
            if want.is_nan() {
                assert!(y.is_nan(), "{e} of {x:e} is {y:e}");
                continue;
            }
            // What lies beyond the largest float by less than half of its last place may be either.
            let most = f64::from(f32::MAX);
            if y.is_infinite() || want.abs() > most {
                let fine = y.is_infinite() && want.abs() > most * (1.0 - 1e-7) && f64::from(*y) * want > 0.0;
                assert!(fine || (*y == f32::MAX && want < most * (1.0 + 1e-7)), "{e} of {x:e} is {y:e}, not {want:e}");
                continue;
            }
            let error = (f64::from(*y) - want).abs() / ulp(want);
            if error > worst.0 {
                worst = (error, *x);
            }
            if want == 0.0 && *x == 0.0 {
                assert_eq!(y.to_bits(), x.to_bits(), "{e} keeps the sign of zero");
            }
        }
        if n % 64 == 0 {
            // The same bits for a float alone.
            let y = call(&one, &x[..1])[0];
            assert!(y.to_bits() == got[0].to_bits() || (y.is_nan() && got[0].is_nan()), "{e} of {:e}", x[0]);
        }
    }
    assert!(worst.0 <= bound, "{e} of {:e} is {:.3} ulp off, more than {bound}", worst.1, worst.0);
    assert!(worst.0 >= bound - 0.6, "{e} is within {:.3} ulp: {bound} says too little", worst.0);
}

fn erf(x: f64) -> f64 {
    if x.is_nan() { x } else { spc_kernel::math::erf(x) }
}

#[test]
fn exp_is_within_its_bound() {
    worst("(exp a0)", f64::exp, 1.1);
}

#[test]
fn erf_is_within_its_bound() {
    worst("(erf a0)", erf, 1.9);
}

#[test]
fn tanh_is_within_its_bound() {
    worst("(tanh a0)", f64::tanh, 1.4);
}
