//! The floats that the interpreter computes with.
use crate::erf::erf;
use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// f32 or f64. Transcendental functions are computed in f64 and rounded once to the type.
pub trait Real:
    Copy
    + Debug
    + Display
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    const ZERO: Self;

    fn from_f64(v: f64) -> Self;
    fn from_f32(v: f32) -> Self;
    fn to_f64(self) -> f64;
    fn to_f32(self) -> f32;
    /// Truncates; values outside i32 give its nearest end, NaN gives 0.
    fn to_i32(self) -> i32;
    fn absolute(self) -> Self;
    fn square_root(self) -> Self;
    fn floored(self) -> Self;

    fn exp(self) -> Self {
        Self::from_f64(self.to_f64().exp())
    }

    fn ln(self) -> Self {
        Self::from_f64(self.to_f64().ln())
    }

    fn erf(self) -> Self {
        Self::from_f64(erf(self.to_f64()))
    }

    fn tanh(self) -> Self {
        Self::from_f64(self.to_f64().tanh())
    }

    fn sin(self) -> Self {
        Self::from_f64(self.to_f64().sin())
    }

    fn cos(self) -> Self {
        Self::from_f64(self.to_f64().cos())
    }

    fn pow(self, e: Self) -> Self {
        Self::from_f64(self.to_f64().powf(e.to_f64()))
    }

    /// IEEE 754 `maximum`: NaN if either is NaN, and +0 is greater than -0.
    fn maximum(self, b: Self) -> Self {
        match self.partial_cmp(&b) {
            None if self.to_f64().is_nan() => self,
            None => b,
            Some(std::cmp::Ordering::Greater) => self,
            Some(std::cmp::Ordering::Less) => b,
            Some(std::cmp::Ordering::Equal) if self.to_f64().is_sign_negative() => b,
            Some(std::cmp::Ordering::Equal) => self,
        }
    }

    /// IEEE 754 `minimum`: NaN if either is NaN, and -0 is less than +0.
    fn minimum(self, b: Self) -> Self {
        -(-self).maximum(-b)
    }
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            const ZERO: $t = 0.0;

            fn from_f64(v: f64) -> $t {
                v as $t
            }
            fn from_f32(v: f32) -> $t {
                v as $t
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn to_i32(self) -> i32 {
                self as i32
            }
            fn absolute(self) -> $t {
                self.abs()
            }
            fn square_root(self) -> $t {
                self.sqrt()
            }
            fn floored(self) -> $t {
                self.floor()
            }
        }
    };
}
real!(f32);
real!(f64);

#[cfg(test)]
mod tests {
    use super::*;

    fn rules<R: Real>() {
        let (nan, zero, one) = (R::from_f64(f64::NAN), R::ZERO, R::from_f64(1.0));
        for (a, b) in [(nan, one), (one, nan), (nan, nan)] {
            assert!(a.maximum(b).to_f64().is_nan() && a.minimum(b).to_f64().is_nan());
        }
        for (a, b) in [(zero, -zero), (-zero, zero)] {
            assert!(a.maximum(b).to_f64().is_sign_positive());
            assert!(a.minimum(b).to_f64().is_sign_negative());
        }
        assert_eq!((one.maximum(zero), one.minimum(zero)), (one, zero));
        assert_eq!(
            [nan, R::from_f64(3e9), R::from_f64(-3e9), R::from_f64(-1.9)].map(R::to_i32),
            [0, i32::MAX, i32::MIN, -1]
        );
    }

    #[test]
    fn max_min_and_conversion() {
        rules::<f32>();
        rules::<f64>();
    }
}
