//! Sizes known when a program is made, up to the free axes: a number times sizes of free axes.
use spc_ir::{Size, SymId};
use std::fmt;

/// `coef * product of syms`. Zero has no syms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    pub coef: u64,
    /// Ascending; an axis that occurs twice is listed twice.
    pub syms: Vec<SymId>,
}

impl Extent {
    pub fn fixed(n: u64) -> Extent {
        Extent { coef: n, syms: Vec::new() }
    }

    pub fn is_zero(&self) -> bool {
        self.coef == 0
    }

    pub fn is_one(&self) -> bool {
        *self == Extent::fixed(1)
    }

    /// The number, where no free axis is involved.
    pub fn known(&self) -> Option<u64> {
        self.syms.is_empty().then_some(self.coef)
    }

    /// `None` when the number does not fit.
    pub fn times(&self, other: &Extent) -> Option<Extent> {
        let coef = self.coef.checked_mul(other.coef)?;
        if coef == 0 {
            return Some(Extent::fixed(0));
        }
        let mut syms: Vec<SymId> = self.syms.iter().chain(&other.syms).copied().collect();
        syms.sort_unstable();
        Some(Extent { coef, syms })
    }

    pub fn product<'a>(all: impl IntoIterator<Item = &'a Extent>) -> Option<Extent> {
        all.into_iter().try_fold(Extent::fixed(1), |p, e| p.times(e))
    }

    /// The size when free axis `s` has size `sizes[s]`.
    pub fn bind(&self, sizes: &[u64]) -> Option<u64> {
        self.syms.iter().try_fold(self.coef, |n, s| n.checked_mul(*sizes.get(s.0 as usize)?))
    }
}

impl From<Size> for Extent {
    fn from(s: Size) -> Extent {
        match s {
            Size::Fixed(n) => Extent::fixed(n),
            Size::Free(s) => Extent { coef: 1, syms: vec![s] },
        }
    }
}

impl fmt::Display for Extent {
    /// `6*s0*s2`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let syms: Vec<String> = self.syms.iter().map(|s| format!("s{}", s.0)).collect();
        match (self.coef, syms.is_empty()) {
            (c, true) => write!(f, "{c}"),
            (1, false) => f.write_str(&syms.join("*")),
            (c, false) => write!(f, "{c}*{}", syms.join("*")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_bind_and_overflow() {
        let s = |n| Extent::from(Size::Free(SymId(n)));
        let e = s(1).times(&Extent::fixed(6)).and_then(|e| e.times(&s(0))).unwrap();
        assert_eq!(e.to_string(), "6*s0*s1");
        assert_eq!(e.bind(&[5, 7]), Some(210));
        assert_eq!(e.bind(&[5]), None);
        assert_eq!(e.bind(&[u64::MAX, 2]), None);
        assert_eq!(Extent::fixed(u64::MAX).times(&Extent::fixed(2)), None);
        assert_eq!(e.times(&Extent::fixed(0)), Some(Extent::fixed(0)));
        assert!(Extent::product(&[]).unwrap().is_one());
    }
}
