//! Math functions over any [`Arith`]: straight-line code without branches, tables or fused operations.
//!
//! Arguments are f32 values as f64, so none but zero is subnormal. Relative errors are below 1e-12, which leaves the f32
//! result within one ulp.
use super::MathFn;
use super::arith::Arith;
use super::trigonometry::{cos, sin};

/// `f` at `a`, and `b` where `f` takes two arguments, before it is rounded to f32. Both are f32 values.
pub fn evaluate<M: Arith>(m: &mut M, f: MathFn, a: M::F, b: M::F) -> M::F {
    match f {
        MathFn::Exp => exp(m, a),
        MathFn::Log => log(m, a),
        MathFn::Erf => erf(m, a),
        MathFn::Tanh => tanh(m, a),
        MathFn::Sin => sin(m, a),
        MathFn::Cos => cos(m, a),
        MathFn::Pow => pow(m, a, b),
    }
}

const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
/// ln 2 less its upper part.
const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
/// Added to a number below 2^51, it leaves the nearest integer in the low bits.
pub(super) const ROUNDER: f64 = 6_755_399_441_055_744.0;
const SIGN: i64 = i64::MIN;
const MANTISSA: i64 = (1 << 52) - 1;

/// Coefficients from the constant term on.
pub(super) fn horner<M: Arith>(m: &mut M, coefficients: &[f64], x: M::F) -> M::F {
    let mut sum = m.float(0.0);
    for c in coefficients.iter().rev() {
        let c = m.float(*c);
        sum = m.mul(sum, x);
        sum = m.add(sum, c);
    }
    sum
}

pub(super) fn abs<M: Arith>(m: &mut M, x: M::F) -> M::F {
    let (bits, mask) = (m.bits(x), m.int(i64::MAX));
    let bits = m.iand(bits, mask);
    m.float_of(bits)
}

/// `x`, which is not negative, with the sign of `sign`.
pub(super) fn with_sign<M: Arith>(m: &mut M, x: M::F, sign: M::F) -> M::F {
    let (x, sign, mask) = (m.bits(x), m.bits(sign), m.int(SIGN));
    let sign = m.iand(sign, mask);
    let bits = m.ior(x, sign);
    m.float_of(bits)
}

/// `1 / n!`.
const EXP: [f64; 14] = [
    1.0,
    1.0,
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5_040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
    1.0 / 6_227_020_800.0,
];

/// The nearest power of two apart, a Taylor polynomial. Arguments are cut to -200..200, which f32 cannot hold the
/// exponentials of.
fn exp<M: Arith>(m: &mut M, x: M::F) -> M::F {
    let (low, high) = (m.float(-200.0), m.float(200.0));
    let c = m.lt(x, low);
    let x = m.select(c, low, x);
    let c = m.lt(high, x);
    let x = m.select(c, high, x);
    let (per, rounder) = (m.float(std::f64::consts::LOG2_E), m.float(ROUNDER));
    let t = m.mul(x, per);
    let t = m.add(t, rounder);
    let n = m.sub(t, rounder);
    let (high, low) = (m.float(LN2_HIGH), m.float(LN2_LOW));
    let a = m.mul(n, high);
    let b = m.mul(n, low);
    let r = m.sub(x, a);
    let r = m.sub(r, b);
    let p = horner(m, &EXP, r);
    let (t, bias) = (m.bits(t), m.float(ROUNDER));
    let bias = m.bits(bias);
    let n = m.isub(t, bias);
    let bias = m.int(1023);
    let n = m.iadd(n, bias);
    let places = m.int(52);
    let n = m.shl(n, places);
    let scale = m.float_of(n);
    m.mul(p, scale)
}

/// `2 / (2 k + 1)`.
const LOG: [f64; 12] = [
    2.0,
    2.0 / 3.0,
    2.0 / 5.0,
    2.0 / 7.0,
    2.0 / 9.0,
    2.0 / 11.0,
    2.0 / 13.0,
    2.0 / 15.0,
    2.0 / 17.0,
    2.0 / 19.0,
    2.0 / 21.0,
    2.0 / 23.0,
];

/// The exponent apart, the series of the inverse hyperbolic tangent.
fn log<M: Arith>(m: &mut M, x: M::F) -> M::F {
    let (bits, places, mask, one) = (m.bits(x), m.int(52), m.int(MANTISSA), m.float(1.0));
    let e = m.shr(bits, places);
    let fraction = m.iand(bits, mask);
    let exponent = m.bits(one);
    let y = m.ior(fraction, exponent);
    let y = m.float_of(y);
    let root = m.float(std::f64::consts::SQRT_2);
    let above = m.lt(root, y);
    let half = m.float(0.5);
    let halved = m.mul(y, half);
    let y = m.select(above, halved, y);
    let (bias, less) = (m.int(1023), m.int(1022));
    let bias = m.iselect(above, less, bias);
    let e = m.isub(e, bias);
    let e = m.to_float(e);
    let f = m.sub(y, one);
    let d = m.add(y, one);
    let s = m.div(f, d);
    let z = m.mul(s, s);
    let p = horner(m, &LOG, z);
    let p = m.mul(s, p);
    let (high, low) = (m.float(LN2_HIGH), m.float(LN2_LOW));
    let a = m.mul(e, high);
    let b = m.mul(e, low);
    let b = m.add(b, p);
    let value = m.add(a, b);
    let (zero, infinity) = (m.float(0.0), m.float(f64::INFINITY));
    let c = m.eq(x, infinity);
    let value = m.select(c, infinity, value);
    // NaN, and what is below zero, fails this and stays or becomes NaN.
    let c = m.lt(zero, x);
    let nan = m.float(f64::NAN);
    let value = m.select(c, value, nan);
    let c = m.eq(x, zero);
    let least = m.float(f64::NEG_INFINITY);
    m.select(c, least, value)
}

/// `1 - 2 / (exp(2 x) + 1)`, and near zero, where that loses digits, three terms of the series.
fn tanh<M: Arith>(m: &mut M, x: M::F) -> M::F {
    let z = m.mul(x, x);
    let p = horner(m, &[1.0, -1.0 / 3.0, 2.0 / 15.0], z);
    let small = m.mul(x, p);
    let (one, two, limit) = (m.float(1.0), m.float(2.0), m.float(1e-3));
    let e = m.mul(x, two);
    let e = exp(m, e);
    let e = m.add(e, one);
    let e = m.div(two, e);
    let value = m.sub(one, e);
    let a = abs(m, x);
    let c = m.lt(a, limit);
    m.select(c, small, value)
}

/// Below 1, `x P(x^2)`. From 1 to 6, `1 - exp(-x^2) Q(t)` with t = (x - 2.5) / (x + 2.5); Q approximates
/// `exp(x^2) erfc(x)`. From 6 on, 1. Both polynomials are Chebyshev interpolants.
pub(super) fn erf<M: Arith>(m: &mut M, x: M::F) -> M::F {
    let a = abs(m, x);
    let z = m.mul(x, x);
    let p = horner(m, &SMALL, z);
    let small = m.mul(x, p);
    let (near, one, six) = (m.float(2.5), m.float(1.0), m.float(6.0));
    let (t, d) = (m.sub(a, near), m.add(a, near));
    let t = m.div(t, d);
    let (scale, shift) = (m.float(2.38), m.float(0.02));
    let t = m.mul(scale, t);
    let t = m.add(t, shift);
    let q = horner(m, &TAIL, t);
    let (zero, square) = (m.float(0.0), m.mul(a, a));
    let minus = m.sub(zero, square);
    let e = exp(m, minus);
    let e = m.mul(e, q);
    let large = m.sub(one, e);
    let c = m.lt(a, six);
    let large = m.select(c, large, one);
    let large = with_sign(m, large, x);
    let c = m.lt(a, one);
    let value = m.select(c, small, large);
    let c = m.eq(x, x);
    m.select(c, value, x)
}

/// C's `pow`: `exp(b log |a|)` with the sign of an odd power, and the special values of IEEE 754.
fn pow<M: Arith>(m: &mut M, a: M::F, b: M::F) -> M::F {
    let size = abs(m, a);
    let l = log(m, size);
    let t = m.mul(b, l);
    let value = exp(m, t);
    let (zero, one, infinity) = (m.float(0.0), m.float(1.0), m.float(f64::INFINITY));
    // Of 1 to an infinite power the product above is NaN.
    let unit = m.eq(size, one);
    let known = m.eq(b, b);
    let c = m.and(unit, known);
    let value = m.select(c, one, value);
    let n = m.to_int(b);
    let whole = m.to_float(n);
    let distance = abs(m, b);
    // All f32 values from 2^24 on are even.
    let limit = m.float(16_777_216.0);
    let far = m.lt(distance, limit);
    let same = m.eq(whole, b);
    let fraction = m.not(same);
    let fraction = m.and(far, fraction);
    let bit = m.int(1);
    let low = m.iand(n, bit);
    let odd = m.ieq(low, bit);
    let odd = m.and(odd, far);
    let odd = m.and(odd, same);
    let signed = with_sign(m, value, a);
    let value = m.select(odd, signed, value);
    let negative = m.lt(a, zero);
    let finite = m.lt(size, infinity);
    let c = m.and(negative, finite);
    let c = m.and(c, fraction);
    let nan = m.float(f64::NAN);
    let value = m.select(c, nan, value);
    let c = m.eq(a, one);
    let value = m.select(c, one, value);
    let c = m.eq(b, zero);
    m.select(c, one, value)
}

/// `a * b + c` of f32 values, ready to be rounded to f32 once: the sum is rounded to odd, which leaves what the second
/// rounding needs to know in its last bit (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
pub fn fused<M: Arith>(m: &mut M, a: M::F, b: M::F, c: M::F) -> M::F {
    // Two f32 significands have 48 bits together: exact.
    let p = m.mul(a, b);
    let s = m.add(p, c);
    // What the addition lost, exactly.
    let back = m.sub(s, p);
    let lost_c = m.sub(c, back);
    let other = m.sub(s, back);
    let lost_p = m.sub(p, other);
    let lost = m.add(lost_p, lost_c);
    let (bits, one, zero) = (m.bits(s), m.int(1), m.float(0.0));
    let low = m.iand(bits, one);
    let even = m.int(0);
    let even = m.ieq(low, even);
    let (up, down) = (m.iadd(bits, one), m.isub(bits, one));
    // Away from zero if what was lost has the sign of the sum.
    let (lost_negative, negative) = (m.lt(lost, zero), m.lt(s, zero));
    let (minus, plus) = (m.int(-1), m.int(1));
    let x = m.iselect(lost_negative, minus, plus);
    let y = m.iselect(negative, minus, plus);
    let away = m.ieq(x, y);
    let odd = m.iselect(away, up, down);
    let odd = m.float_of(odd);
    // NaN and infinities have lost nothing, or NaN.
    let (less, more) = (m.lt(lost, zero), m.lt(zero, lost));
    let less = m.not(less);
    let more = m.not(more);
    let none = m.and(less, more);
    let some = m.not(none);
    let c = m.and(some, even);
    m.select(c, odd, s)
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
