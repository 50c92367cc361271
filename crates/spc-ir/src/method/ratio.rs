//! Exact fractions, so that `20%` at the end of a schedule is one fifth and not a float near it.
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// A fraction in lowest terms with a positive denominator. Arithmetic gives `None` where the result does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ratio {
    num: i64,
    den: i64,
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Ratio {
    pub const ZERO: Ratio = Ratio { num: 0, den: 1 };
    pub const ONE: Ratio = Ratio { num: 1, den: 1 };

    /// `num / den` in lowest terms; none for a denominator of 0 or a fraction that does not fit.
    pub fn new(num: i128, den: i128) -> Option<Ratio> {
        let (num, den) = if den < 0 { (num.checked_neg()?, den.checked_neg()?) } else { (num, den) };
        let common = i128::try_from(gcd(num.unsigned_abs(), den.unsigned_abs())).ok()?;
        if den == 0 || common == 0 {
            return None;
        }
        Some(Ratio { num: i64::try_from(num / common).ok()?, den: i64::try_from(den / common).ok()? })
    }

    pub fn int(n: i64) -> Ratio {
        Ratio { num: n, den: 1 }
    }

    pub fn num(self) -> i64 {
        self.num
    }

    /// Positive.
    pub fn den(self) -> i64 {
        self.den
    }

    pub fn is_int(self) -> bool {
        self.den == 1
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    fn wide(self) -> (i128, i128) {
        (i128::from(self.num), i128::from(self.den))
    }

    pub fn checked_add(self, b: Ratio) -> Option<Ratio> {
        let ((n, d), (m, e)) = (self.wide(), b.wide());
        Ratio::new(n.checked_mul(e)?.checked_add(m.checked_mul(d)?)?, d.checked_mul(e)?)
    }

    pub fn checked_neg(self) -> Option<Ratio> {
        Some(Ratio { num: self.num.checked_neg()?, den: self.den })
    }

    pub fn checked_sub(self, b: Ratio) -> Option<Ratio> {
        self.checked_add(b.checked_neg()?)
    }

    pub fn checked_mul(self, b: Ratio) -> Option<Ratio> {
        let ((n, d), (m, e)) = (self.wide(), b.wide());
        Ratio::new(n.checked_mul(m)?, d.checked_mul(e)?)
    }

    pub fn checked_div(self, b: Ratio) -> Option<Ratio> {
        let ((n, d), (m, e)) = (self.wide(), b.wide());
        Ratio::new(n.checked_mul(e)?, d.checked_mul(m)?)
    }

    /// The power with a whole exponent; `0^0` is 1.
    pub fn checked_pow(self, exponent: i64) -> Option<Ratio> {
        let base = if exponent < 0 { Ratio::ONE.checked_div(self)? } else { self };
        let mut out = Ratio::ONE;
        // A fraction other than 0, 1 and -1 leaves 64 bits before its 64th power.
        let times = if base.num.unsigned_abs() <= 1 && base.den == 1 && exponent.unsigned_abs() > 2 {
            exponent.unsigned_abs() % 2 + 2
        } else {
            exponent.unsigned_abs()
        };
        for _ in 0..times {
            out = out.checked_mul(base)?;
        }
        Some(out)
    }

    pub fn floor(self) -> Ratio {
        Ratio::int(self.num.div_euclid(self.den))
    }

    /// A decimal number as written (`0.05`, `1e-4`, `50_000`); none where it does not fit.
    pub fn decimal(text: &str) -> Option<Ratio> {
        let text: String = text.chars().filter(|c| *c != '_').collect();
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((d, e)) => (d, e.parse::<i32>().ok()?),
            None => (text.as_str(), 0),
        };
        let (whole, rest) = digits.split_once('.').unwrap_or((digits, ""));
        let num: i128 = format!("{whole}{rest}").parse().ok()?;
        let shift = exponent.checked_sub(i32::try_from(rest.len()).ok()?)?;
        let ten = 10i128.checked_pow(shift.unsigned_abs())?;
        if shift < 0 { Ratio::new(num, ten) } else { Ratio::new(num.checked_mul(ten)?, 1) }
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Ratio) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Ratio) -> Ordering {
        let ((n, d), (m, e)) = (self.wide(), other.wide());
        (n * e).cmp(&(m * d))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 { write!(f, "{}", self.num) } else { write!(f, "{}/{}", self.num, self.den) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_exact_or_absent() {
        let r = |n, d| Ratio::new(n, d).unwrap();
        assert_eq!(r(2, -4), r(-1, 2));
        assert_eq!(r(1, 3).checked_add(r(1, 6)), Some(r(1, 2)));
        assert_eq!(r(-7, 2).floor(), Ratio::int(-4));
        assert_eq!(r(2, 3).checked_pow(-3), Some(r(27, 8)));
        assert_eq!(Ratio::int(-1).checked_pow(i64::MAX), Some(Ratio::int(-1)));
        assert_eq!(Ratio::ZERO.checked_pow(0), Some(Ratio::ONE));
        assert_eq!(Ratio::new(1, 0), None);
        assert_eq!(Ratio::int(i64::MAX).checked_add(Ratio::ONE), None);
        assert_eq!(Ratio::int(3).checked_pow(i64::MAX), None);
        assert_eq!(Ratio::decimal("1e-4"), Some(r(1, 10_000)));
        assert_eq!(Ratio::decimal("50_000"), Some(Ratio::int(50_000)));
        assert_eq!(Ratio::decimal("0.05"), Some(r(1, 20)));
        assert_eq!(Ratio::decimal("1e-999"), None);
        assert!(r(1, 3) < r(34, 100));
    }
}
