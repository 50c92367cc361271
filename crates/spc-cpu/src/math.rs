//! The C symbols through which compiled kernels reach [`spc_kernel::math`].
#![allow(unsafe_code)]
use spc_kernel::math::{MathFn, call};

extern "C" fn exp(x: f32) -> f32 {
    call(MathFn::Exp, x, 0.0)
}

extern "C" fn log(x: f32) -> f32 {
    call(MathFn::Log, x, 0.0)
}

extern "C" fn erf(x: f32) -> f32 {
    call(MathFn::Erf, x, 0.0)
}

extern "C" fn tanh(x: f32) -> f32 {
    call(MathFn::Tanh, x, 0.0)
}

extern "C" fn sin(x: f32) -> f32 {
    call(MathFn::Sin, x, 0.0)
}

extern "C" fn cos(x: f32) -> f32 {
    call(MathFn::Cos, x, 0.0)
}

extern "C" fn pow(x: f32, y: f32) -> f32 {
    call(MathFn::Pow, x, y)
}

/// Stands in for the instruction on processors without fused multiply-add.
extern "C" fn fma(x: f32, y: f32, z: f32) -> f32 {
    x.mul_add(y, z)
}

extern "C" fn floor(x: f32) -> f32 {
    x.floor()
}

extern "C" fn nearest(x: f32) -> f32 {
    x.round_ties_even()
}

macro_rules! by_lane {
    ($($name:ident = $f:ident),* $(,)?) => {$(
        /// `data[i] = f(data[i], second[i])` for `i < n`. Functions of one argument do not read `second`.
        ///
        /// # Safety
        ///
        /// `data`, and `second` where it is read, point to `n` floats.
        unsafe extern "C" fn $name(data: *mut f32, second: *const f32, n: usize) {
            for i in 0..n {
                // SAFETY: promised by the caller.
                unsafe {
                    let y = if MathFn::$f.arity() == 2 { *second.add(i) } else { 0.0 };
                    *data.add(i) = call(MathFn::$f, *data.add(i), y);
                }
            }
        }
    )*};
}

by_lane! {
    exp_lanes = Exp, log_lanes = Log, erf_lanes = Erf, tanh_lanes = Tanh, sin_lanes = Sin, cos_lanes = Cos,
    pow_lanes = Pow,
}

/// Name of the symbol of a math function over the lanes of a vector: `void f(float *data, const float *second, size_t n)`.
pub(crate) fn lanes_symbol(f: MathFn) -> String {
    format!("spc_{}_lanes", f.name())
}

fn lanes_address(f: MathFn) -> *const u8 {
    match f {
        MathFn::Exp => exp_lanes as *const u8,
        MathFn::Log => log_lanes as *const u8,
        MathFn::Erf => erf_lanes as *const u8,
        MathFn::Tanh => tanh_lanes as *const u8,
        MathFn::Sin => sin_lanes as *const u8,
        MathFn::Cos => cos_lanes as *const u8,
        MathFn::Pow => pow_lanes as *const u8,
    }
}

/// Name of the symbol of a math function.
pub(crate) fn symbol(f: MathFn) -> String {
    format!("spc_{}", f.name())
}

fn address(f: MathFn) -> *const u8 {
    match f {
        MathFn::Exp => exp as *const u8,
        MathFn::Log => log as *const u8,
        MathFn::Erf => erf as *const u8,
        MathFn::Tanh => tanh as *const u8,
        MathFn::Sin => sin as *const u8,
        MathFn::Cos => cos as *const u8,
        MathFn::Pow => pow as *const u8,
    }
}

/// All symbols that compiled code may call: the math functions, and the library calls that Cranelift makes where the
/// processor lacks an instruction.
pub(crate) fn symbols() -> Vec<(String, *const u8)> {
    let mut all: Vec<_> = MathFn::ALL.into_iter().map(|f| (symbol(f), address(f))).collect();
    all.extend(MathFn::ALL.into_iter().map(|f| (lanes_symbol(f), lanes_address(f))));
    all.push(("fmaf".into(), fma as *const u8));
    all.push(("floorf".into(), floor as *const u8));
    all.push(("nearbyintf".into(), nearest as *const u8));
    all
}
