//! The operations that math functions are made of.

/// f64 and i64 arithmetic of some machine: this one ([`Native`]), or the machine that code is generated for. A function
/// written once for any `Arith` computes the same bits on all of them. Integers wrap; shifts are by 0 to 63.
pub trait Arith {
    /// An f64.
    type F: Copy;
    /// An i64.
    type I: Copy;
    type B: Copy;

    fn float(&mut self, x: f64) -> Self::F;
    fn int(&mut self, x: i64) -> Self::I;
    fn add(&mut self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(&mut self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(&mut self, a: Self::F, b: Self::F) -> Self::F;
    fn div(&mut self, a: Self::F, b: Self::F) -> Self::F;
    fn iadd(&mut self, a: Self::I, b: Self::I) -> Self::I;
    fn isub(&mut self, a: Self::I, b: Self::I) -> Self::I;
    fn imul(&mut self, a: Self::I, b: Self::I) -> Self::I;
    fn iand(&mut self, a: Self::I, b: Self::I) -> Self::I;
    fn ior(&mut self, a: Self::I, b: Self::I) -> Self::I;
    fn shl(&mut self, a: Self::I, n: Self::I) -> Self::I;
    /// Logical shift right.
    fn shr(&mut self, a: Self::I, n: Self::I) -> Self::I;
    fn bits(&mut self, x: Self::F) -> Self::I;
    fn float_of(&mut self, x: Self::I) -> Self::F;
    fn to_float(&mut self, x: Self::I) -> Self::F;
    /// Truncates and saturates; NaN gives 0.
    fn to_int(&mut self, x: Self::F) -> Self::I;
    /// False if either is NaN.
    fn lt(&mut self, a: Self::F, b: Self::F) -> Self::B;
    /// False if either is NaN.
    fn eq(&mut self, a: Self::F, b: Self::F) -> Self::B;
    /// Signed.
    fn ilt(&mut self, a: Self::I, b: Self::I) -> Self::B;
    fn ieq(&mut self, a: Self::I, b: Self::I) -> Self::B;
    fn and(&mut self, a: Self::B, b: Self::B) -> Self::B;
    fn not(&mut self, a: Self::B) -> Self::B;
    fn select(&mut self, c: Self::B, a: Self::F, b: Self::F) -> Self::F;
    fn iselect(&mut self, c: Self::B, a: Self::I, b: Self::I) -> Self::I;
}

/// The arithmetic of the machine that spc runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

impl Arith for Native {
    type F = f64;
    type I = i64;
    type B = bool;

    #[inline(always)]
    fn float(&mut self, x: f64) -> f64 {
        x
    }

    #[inline(always)]
    fn int(&mut self, x: i64) -> i64 {
        x
    }

    #[inline(always)]
    fn add(&mut self, a: f64, b: f64) -> f64 {
        a + b
    }

    #[inline(always)]
    fn sub(&mut self, a: f64, b: f64) -> f64 {
        a - b
    }

    #[inline(always)]
    fn mul(&mut self, a: f64, b: f64) -> f64 {
        a * b
    }

    #[inline(always)]
    fn div(&mut self, a: f64, b: f64) -> f64 {
        a / b
    }

    #[inline(always)]
    fn iadd(&mut self, a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    #[inline(always)]
    fn isub(&mut self, a: i64, b: i64) -> i64 {
        a.wrapping_sub(b)
    }

    #[inline(always)]
    fn imul(&mut self, a: i64, b: i64) -> i64 {
        a.wrapping_mul(b)
    }

    #[inline(always)]
    fn iand(&mut self, a: i64, b: i64) -> i64 {
        a & b
    }

    #[inline(always)]
    fn ior(&mut self, a: i64, b: i64) -> i64 {
        a | b
    }

    #[inline(always)]
    fn shl(&mut self, a: i64, n: i64) -> i64 {
        a.wrapping_shl(n as u32)
    }

    #[inline(always)]
    fn shr(&mut self, a: i64, n: i64) -> i64 {
        (a as u64).wrapping_shr(n as u32) as i64
    }

    #[inline(always)]
    fn bits(&mut self, x: f64) -> i64 {
        x.to_bits() as i64
    }

    #[inline(always)]
    fn float_of(&mut self, x: i64) -> f64 {
        f64::from_bits(x as u64)
    }

    #[inline(always)]
    fn to_float(&mut self, x: i64) -> f64 {
        x as f64
    }

    #[inline(always)]
    fn to_int(&mut self, x: f64) -> i64 {
        x as i64
    }

    #[inline(always)]
    fn lt(&mut self, a: f64, b: f64) -> bool {
        a < b
    }

    #[inline(always)]
    fn eq(&mut self, a: f64, b: f64) -> bool {
        a == b
    }

    #[inline(always)]
    fn ilt(&mut self, a: i64, b: i64) -> bool {
        a < b
    }

    #[inline(always)]
    fn ieq(&mut self, a: i64, b: i64) -> bool {
        a == b
    }

    #[inline(always)]
    fn and(&mut self, a: bool, b: bool) -> bool {
        a & b
    }

    #[inline(always)]
    fn not(&mut self, a: bool) -> bool {
        !a
    }

    #[inline(always)]
    fn select(&mut self, c: bool, a: f64, b: f64) -> f64 {
        if c { a } else { b }
    }

    #[inline(always)]
    fn iselect(&mut self, c: bool, a: i64, b: i64) -> i64 {
        if c { a } else { b }
    }
}
