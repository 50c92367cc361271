//! Scalar functions that the loop IR calls lane by lane.
//!
//! Every executor calls these same functions, so that the interpreter and compiled code agree bit for bit. Each computes
//! in f64 and rounds once to f32: the result is within one f32 ulp of the true value.

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
    let x = f64::from(a);
    (match f {
        MathFn::Exp => x.exp(),
        MathFn::Log => x.ln(),
        MathFn::Erf => erf(x),
        MathFn::Tanh => x.tanh(),
        MathFn::Sin => x.sin(),
        MathFn::Cos => x.cos(),
        MathFn::Pow => x.powf(f64::from(b)),
    }) as f32
}

/// The error function, within a few f64 ulp.
///
/// Below 1, `x P(x^2)`. From 1 to 6, `1 - exp(-x^2) Q(t)` with t = (x - 2.5) / (x + 2.5); Q approximates
/// `exp(x^2) erfc(x)`. From 6 on, 1. Both polynomials are Chebyshev interpolants.
pub fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let a = x.abs();
    if a < 1.0 {
        return x * horner(&SMALL, x * x);
    }
    let value = if a < 6.0 {
        let t = (a - 2.5) / (a + 2.5);
        1.0 - (-a * a).exp() * horner(&TAIL, 2.38 * t + 0.02)
    } else {
        1.0
    };
    value.copysign(x)
}

fn horner(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

const SMALL: [f64; 14] = [
    std::f64::consts::FRAC_2_SQRT_PI,
    -0.37612638903183754,
    0.1128379167095512,
    -0.026866170645129854,
    0.005223977625423455,
    -0.0008548327021945428,
    0.00012055332903350668,
    -1.4925647581008593e-05,
    1.6462045711013026e-06,
    -1.6364645854816389e-07,
    1.479243542696247e-08,
    -1.2164764337224506e-09,
    8.709755232851789e-11,
    -4.2320376764874594e-12,
];

const TAIL: [f64; 21] = [
    0.21394805165754288,
    -0.15798058438192047,
    0.04499721517041164,
    -0.009374321292819527,
    0.0012493997404181589,
    -5.053711009571746e-05,
    -1.481986833925433e-05,
    1.9887464121882843e-06,
    2.3120237270440703e-07,
    -5.1398248863116926e-08,
    -6.15081257443639e-09,
    1.2854606096483943e-09,
    2.3597538193111703e-10,
    -2.6511397594095533e-11,
    -9.742614933796817e-12,
    5.355058356714688e-14,
    3.553038840870829e-13,
    3.751332559027184e-14,
    -8.99022135708428e-15,
    -2.203438099653011e-15,
    4.4988153821957456e-17,
];

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
}
