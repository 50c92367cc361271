//! Scalar functions that the loop IR calls lane by lane.
//!
//! Every executor computes these same sequences of f64 operations ([`functions`]) and rounds once to f32, so that the
//! interpreter, compiled code and object files agree bit for bit on every machine. The result is within one f32 ulp of the
//! true value.

mod arith;
mod functions;
mod trigonometry;

pub use arith::{Arith, Native};
pub use functions::{evaluate, fused};

/// A function that the loop IR can call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MathFn {
    Exp,
    Log,
    Erf,
    Tanh,
    Sin,
    Cos,
    Pow,
}

impl MathFn {
    pub const ALL: [MathFn; 7] =
        [MathFn::Exp, MathFn::Log, MathFn::Erf, MathFn::Tanh, MathFn::Sin, MathFn::Cos, MathFn::Pow];

    pub fn name(self) -> &'static str {
        match self {
            MathFn::Exp => "exp",
            MathFn::Log => "log",
            MathFn::Erf => "erf",
            MathFn::Tanh => "tanh",
            MathFn::Sin => "sin",
            MathFn::Cos => "cos",
            MathFn::Pow => "pow",
        }
    }

    pub fn from_name(name: &str) -> Option<MathFn> {
        MathFn::ALL.into_iter().find(|f| f.name() == name)
    }

    /// Number of arguments.
    pub fn arity(self) -> usize {
        if self == MathFn::Pow { 2 } else { 1 }
    }
}

/// Value of `f` at `a`, and `b` where `f` takes two arguments (else `b` is ignored).
pub fn call(f: MathFn, a: f32, b: f32) -> f32 {
    evaluate(&mut Native, f, f64::from(a), f64::from(b)) as f32
}

/// `a * b + c`, rounded once.
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    fused(&mut Native, f64::from(a), f64::from(b), f64::from(c)) as f32
}

/// The error function, within a few f64 ulp.
pub fn erf(x: f64) -> f64 {
    functions::erf(&mut Native, x)
}

/// The value of a half-precision float (IEEE 754 binary16). Exact; a NaN stays a NaN.
pub fn f16_to_f32(bits: u16) -> f32 {
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    // As an f32 with the exponent of an f16, which a power of two then corrects; exact for subnormal numbers too.
    let value = f32::from_bits(rest << 13) * f32::from_bits(0x7780_0000);
    let value = if rest >= 0x7c00 { f32::from_bits((rest << 13) | 0x7f80_0000) } else { value };
    f32::from_bits(value.to_bits() | sign)
}

/// How a token of activations is rounded to 8 bits: `integer * scale` for each value.
///
/// With m the largest absolute value (NaN if any is), the scale is `m / 127` and a value's integer the nearest to
/// `x * (127 / m)`, ties to even. A scale below the normal range of f32 is 0 with integers 0; one that is not finite makes
/// every product NaN.
#[derive(Clone, Copy, Debug)]
pub struct RoundedToken {
    pub scale: f32,
    inverse: f32,
}

impl RoundedToken {
    pub fn of(values: impl Iterator<Item = f32>) -> RoundedToken {
        let most = values.fold(0.0, |m, v| maximum(m, v.abs()));
        let scale = most / 127.0;
        if scale >= f32::MIN_POSITIVE {
            RoundedToken { scale, inverse: 127.0 / most }
        } else {
            RoundedToken { scale: scale * 0.0, inverse: 0.0 }
        }
    }

    /// In `-127..=127`.
    pub fn integer(&self, x: f32) -> i32 {
        (x * self.inverse).round_ties_even() as i32
    }
}

/// IEEE 754 `maximum`: NaN if either is NaN, and +0 is greater than -0.
pub fn maximum(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else if a == b {
        f32::from_bits(a.to_bits() & b.to_bits())
    } else if a > b {
        a
    } else {
        b
    }
}

/// IEEE 754 `minimum`: NaN if either is NaN, and -0 is less than +0.
pub fn minimum(a: f32, b: f32) -> f32 {
    -maximum(-a, -b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf by its Maclaurin series in the form with positive terms only, which loses no digits.
    fn series(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..400 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
    }

    #[test]
    fn erf_agrees_with_its_series() {
        for i in -650..=650 {
            let x = f64::from(i) / 100.0;
            let (got, want) = (erf(x), series(x));
            assert!((got - want).abs() <= 4e-15 * want.abs(), "erf({x}) = {got}, series {want}");
            assert_eq!(erf(-x), -got);
        }
        assert_eq!(erf(f64::INFINITY), 1.0);
        assert_eq!(erf(f64::NEG_INFINITY), -1.0);
        assert!(erf(f64::NAN).is_nan());
        assert_eq!(erf(-0.0).to_bits(), (-0.0f64).to_bits());
    }

    #[test]
    fn half_floats_widen() {
        for (bits, want) in [
            (0x0000u16, 0.0f32),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 2f32.powi(-14)),
            (0x0001, 2f32.powi(-24)),
            (0x83ff, -1023.0 * 2f32.powi(-24)),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(f16_to_f32(bits).to_bits(), want.to_bits(), "{bits:#06x}");
        }
        assert!(f16_to_f32(0x7c01).is_nan() && f16_to_f32(0xfe00).is_nan());
    }

    #[test]
    fn maximum_and_minimum_follow_ieee() {
        assert!(maximum(f32::NAN, 1.0).is_nan() && maximum(1.0, f32::NAN).is_nan());
        assert!(minimum(f32::NAN, 1.0).is_nan() && minimum(1.0, f32::NAN).is_nan());
        assert_eq!(maximum(-0.0, 0.0).to_bits(), 0.0f32.to_bits());
        assert_eq!(minimum(0.0, -0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(maximum(-0.0, -0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(minimum(0.0, 0.0).to_bits(), 0.0f32.to_bits());
        assert_eq!((maximum(2.0, -1.0), minimum(2.0, -1.0)), (2.0, -1.0));
        assert_eq!(maximum(f32::NEG_INFINITY, f32::MIN), f32::MIN);
    }

    /// Bits by which two floats of one sign differ; NaN equals NaN.
    fn ulps(a: f32, b: f32) -> u32 {
        if a.is_nan() || b.is_nan() {
            return if a.is_nan() && b.is_nan() { 0 } else { u32::MAX };
        }
        if a.is_sign_positive() != b.is_sign_positive() { u32::MAX } else { a.to_bits().abs_diff(b.to_bits()) }
    }

    /// The system's f64 functions are the other opinion. Both are far more exact than f32, so that they differ only where
    /// the true value lies next to the middle between two floats.
    #[test]
    fn functions_agree_with_those_of_the_system() {
        let other = |f: MathFn, x: f64, y: f64| match f {
            MathFn::Exp => x.exp(),
            MathFn::Log => x.ln(),
            MathFn::Erf => {
                if x.abs() < 6.5 {
                    series(x)
                } else {
                    1f64.copysign(x)
                }
            }
            MathFn::Tanh => x.tanh(),
            MathFn::Sin => x.sin(),
            MathFn::Cos => x.cos(),
            MathFn::Pow => x.powf(y),
        };
        let special = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            2.0,
            -2.0,
            0.5,
            -0.5,
            3.0,
            -3.0,
            1e-45,
            -1e-45,
            16_777_216.0,
            65_536.0,
            1e38,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            88.7,
            89.0,
            -103.0,
            -104.0,
        ];
        let mut rng = crate::ir::random::Rng::new(9);
        for f in MathFn::ALL {
            let (mut off, mut all) = (0, 0);
            let mut check = |x: f32, y: f32| {
                if f == MathFn::Erf && x.is_nan() {
                    return assert!(call(f, x, y).is_nan());
                }
                let (got, want) = (call(f, x, y), other(f, f64::from(x), f64::from(y)) as f32);
                let d = ulps(got, want);
                assert!(d <= 1, "{} of {x:e} and {y:e} is {got:e}, the system says {want:e}", f.name());
                (off, all) = (off + d, all + 1);
            };
            for x in special {
                special.iter().for_each(|y| check(x, *y));
            }
            for _ in 0..40_000 {
                let word = |rng: &mut crate::ir::random::Rng| f32::from_bits(rng.below(1 << 32) as u32);
                let near =
                    |rng: &mut crate::ir::random::Rng| (rng.below(1 << 24) as f32 / (1 << 20) as f32 - 8.0) * 1.37;
                let (x, y) = (word(&mut rng), word(&mut rng));
                check(x, y);
                let (x, y) = (near(&mut rng), near(&mut rng));
                check(x, y);
                check(x.abs(), y.round());
            }
            assert!(off <= 3, "{}: {off} of {all} differ by an ulp", f.name());
        }
    }

    #[test]
    fn a_fused_sum_is_rounded_once() {
        let mut rng = crate::ir::random::Rng::new(10);
        let check = |a: f32, b: f32, c: f32| {
            let (got, want) = (fma(a, b, c), a.mul_add(b, c));
            let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
            assert!(same, "{a:e} * {b:e} + {c:e} is {got:e}, the machine says {want:e}");
        };
        for _ in 0..200_000 {
            let mut word = || f32::from_bits(rng.below(1 << 32) as u32);
            let (a, b, c) = (word(), word(), word());
            check(a, b, c);
            // Near cancellation, and where a tie of f32 hides below the last bit of f64.
            let bits = (a * b).to_bits() ^ (c.to_bits() & 3);
            check(a, b, -f32::from_bits(bits));
            let tiny = f32::from_bits((a.to_bits() & 0x007f_ffff) | 0x3f80_0000);
            check(tiny, tiny, f32::from_bits(c.to_bits() & 0x01ff_ffff));
            check(1.0 + f32::EPSILON, tiny, c);
        }
        for a in [0.0, -0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, 1e-45, f32::MAX] {
            for b in [0.0, -0.0, -1.0, f32::INFINITY, f32::MAX, 1e-45] {
                [0.0, -0.0, 1.0, f32::NEG_INFINITY, f32::MAX, -1e-45].into_iter().for_each(|c| check(a, b, c));
            }
        }
    }
}
