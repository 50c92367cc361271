//! Sine and cosine over any [`Arith`].
use super::arith::Arith;
use super::functions::{ROUNDER, abs, horner};

/// pi / 2 in two parts; products of the first with numbers below 2^20 are exact.
const HALF_PI_HIGH: f64 = f64::from_bits(0x3ff9_21fb_5440_0000);
const HALF_PI_LOW: f64 = f64::from_bits(0x3dd0_b461_1a62_6331);

/// Bits of 2 / pi after the point, in words of 32, after a word of zeros.
const TWO_OVER_PI: [u32; 8] =
    [0, 0xa2f9_836e, 0x4e44_1529, 0xfc27_57d1, 0xf534_ddc0, 0xdb62_9599, 0x3c43_9041, 0xfe51_63ab];

/// The quadrant, 0 to 3, and what is left of `x` after that many times pi / 2 (any number of turns apart).
fn reduce<M: Arith>(m: &mut M, x: M::F) -> (M::I, M::F) {
    let (near_n, near) = reduce_near(m, x);
    let (far_n, far) = reduce_far(m, x);
    let (a, limit) = (abs(m, x), m.float(65_536.0));
    let c = m.lt(a, limit);
    let (n, r) = (m.iselect(c, near_n, far_n), m.select(c, near, far));
    let three = m.int(3);
    (m.iand(n, three), r)
}

/// For arguments below 2^16.
fn reduce_near<M: Arith>(m: &mut M, x: M::F) -> (M::I, M::F) {
    let (per, rounder) = (m.float(std::f64::consts::FRAC_2_PI), m.float(ROUNDER));
    let t = m.mul(x, per);
    let t = m.add(t, rounder);
    let n = m.sub(t, rounder);
    let (high, low) = (m.float(HALF_PI_HIGH), m.float(HALF_PI_LOW));
    let a = m.mul(n, high);
    let b = m.mul(n, low);
    let r = m.sub(x, a);
    let r = m.sub(r, b);
    (m.bits(t), r)
}

/// For arguments from 2^16 on: with `x = s * 2^e`, s of 24 bits, the product of s and those 96 bits of 2 / pi that matter,
/// modulo 4 (Payne and Hanek, "Radian reduction for trigonometric functions", 1983).
fn reduce_far<M: Arith>(m: &mut M, x: M::F) -> (M::I, M::F) {
    let (bits, places, mask) = (m.bits(x), m.int(52), m.int(0x7ff));
    let e = m.shr(bits, places);
    let e = m.iand(e, mask);
    // The significand as an integer: exact, since x is an f32 value.
    let (fraction, hidden, drop) = (m.int((1 << 52) - 1), m.int(1 << 52), m.int(29));
    let s = m.iand(bits, fraction);
    let s = m.ior(s, hidden);
    let s = m.shr(s, drop);
    // The window starts 2 bits before the point of 2^(e - 23) * 2 / pi, after the word of zeros.
    let shift = m.int(1023 + 23 + 2 - 32);
    let at = m.isub(e, shift);
    let (word_bits, five) = (m.int(31), m.int(5));
    let word = m.shr(at, five);
    let bit = m.iand(at, word_bits);
    let mut words = [s; 4];
    for (i, w) in words.iter_mut().enumerate() {
        *w = m.int(i64::from(TWO_OVER_PI[i]));
        for k in 1..=4 {
            let (k, value) = (m.int(k as i64), m.int(i64::from(TWO_OVER_PI[i + k])));
            let c = m.ieq(word, k);
            *w = m.iselect(c, value, *w);
        }
    }
    let width = m.int(32);
    let down = m.isub(width, bit);
    let low = m.int(0xffff_ffff);
    let mut window = [s; 3];
    for (i, w) in window.iter_mut().enumerate() {
        let both = m.shl(words[i], width);
        let both = m.ior(both, words[i + 1]);
        let part = m.shr(both, down);
        *w = m.iand(part, low);
    }
    let a = m.imul(s, window[0]);
    let a = m.shl(a, width);
    let b = m.imul(s, window[1]);
    let c = m.imul(s, window[2]);
    let c = m.shr(c, width);
    let p = m.iadd(a, b);
    // In units of 2^-62.
    let p = m.iadd(p, c);
    let (half, top) = (m.int(1 << 61), m.int(62));
    let n = m.iadd(p, half);
    let n = m.shr(n, top);
    let whole = m.shl(n, top);
    let r = m.isub(p, whole);
    let r = m.to_float(r);
    let unit = m.float(std::f64::consts::FRAC_PI_2 / (1u64 << 62) as f64);
    let r = m.mul(r, unit);
    // -x is as far from its quadrant on the other side.
    let zero = m.float(0.0);
    let negative = m.lt(x, zero);
    let (zero_n, minus_r) = (m.int(0), m.sub(zero, r));
    let minus_n = m.isub(zero_n, n);
    (m.iselect(negative, minus_n, n), m.select(negative, minus_r, r))
}

const SIN: [f64; 9] = [
    1.0,
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5_040.0,
    1.0 / 362_880.0,
    -1.0 / 39_916_800.0,
    1.0 / 6_227_020_800.0,
    -1.0 / 1_307_674_368_000.0,
    1.0 / 355_687_428_096_000.0,
];

const COS: [f64; 9] = [
    1.0,
    -1.0 / 2.0,
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40_320.0,
    -1.0 / 3_628_800.0,
    1.0 / 479_001_600.0,
    -1.0 / 87_178_291_200.0,
    1.0 / 20_922_789_888_000.0,
];

/// The sine of an angle that lies `quarters` quarter turns on.
fn turned<M: Arith>(m: &mut M, x: M::F, quarters: i64) -> M::F {
    let (n, r) = reduce(m, x);
    let quarters = m.int(quarters);
    let n = m.iadd(n, quarters);
    let z = m.mul(r, r);
    let s = horner(m, &SIN, z);
    let s = m.mul(r, s);
    let c = horner(m, &COS, z);
    let (one, two, zero) = (m.int(1), m.int(2), m.float(0.0));
    let odd = m.iand(n, one);
    let odd = m.ieq(odd, one);
    let value = m.select(odd, c, s);
    let back = m.iand(n, two);
    let back = m.ieq(back, two);
    let minus = m.sub(zero, value);
    let value = m.select(back, minus, value);
    // Infinities have no angle.
    let (a, infinity, nan) = (abs(m, x), m.float(f64::INFINITY), m.float(f64::NAN));
    let fine = m.lt(a, infinity);
    m.select(fine, value, nan)
}

pub(super) fn sin<M: Arith>(m: &mut M, x: M::F) -> M::F {
    let value = turned(m, x, 0);
    // The sign of zero stays.
    let zero = m.float(0.0);
    let c = m.eq(x, zero);
    m.select(c, x, value)
}

pub(super) fn cos<M: Arith>(m: &mut M, x: M::F) -> M::F {
    turned(m, x, 1)
}
