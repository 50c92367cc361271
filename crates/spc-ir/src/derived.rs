//! Free axes whose size follows from the sizes of others: the length of two pieces joined, the number of windows.
use crate::{Graph, Size, Sym, SymId};
use std::collections::BTreeMap;
use std::fmt;

/// `max(0, floor((sum of coefficient * size + add) / div))`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formula {
    /// Coefficients of free axes, ascending by axis, none of them 0.
    pub terms: Vec<(i64, SymId)>,
    pub add: i64,
    /// At least 1.
    pub div: u64,
}

impl Formula {
    /// The sum of some sizes.
    pub fn sum(sizes: &[Size]) -> Option<Formula> {
        let mut f = Formula { terms: Vec::new(), add: 0, div: 1 };
        for s in sizes {
            match s {
                Size::Fixed(n) => f.add = f.add.checked_add(i64::try_from(*n).ok()?)?,
                Size::Free(s) => match f.terms.iter_mut().find(|t| t.1 == *s) {
                    Some(t) => t.0 = t.0.checked_add(1)?,
                    None => f.terms.push((1, *s)),
                },
            }
        }
        f.terms.sort_by_key(|t| t.1);
        Some(f)
    }

    /// How many pieces of `width` cover a size: the last one may be cut.
    pub fn pieces(size: Size, width: u64) -> Option<Formula> {
        let mut f = Formula::sum(&[size])?;
        f.add = f.add.checked_add(i64::try_from(width).ok()?.checked_sub(1)?)?;
        f.div = width;
        Some(f)
    }

    /// The exact sum, before it is rounded down.
    #[must_use]
    pub fn plus(&self, other: &Formula) -> Option<Formula> {
        let (a, b) = (self.times(1, 1)?, other.times(1, 1)?);
        let (da, db) = (i64::try_from(a.div).ok()?, i64::try_from(b.div).ok()?);
        let mut terms = BTreeMap::<SymId, i64>::new();
        for ((c, s), by) in a.terms.iter().map(|t| (t, db)).chain(b.terms.iter().map(|t| (t, da))) {
            let n = terms.entry(*s).or_default();
            *n = n.checked_add(c.checked_mul(by)?)?;
        }
        Formula {
            terms: terms.into_iter().map(|(s, c)| (c, s)).collect(),
            add: a.add.checked_mul(db)?.checked_add(b.add.checked_mul(da)?)?,
            div: a.div.checked_mul(b.div)?,
        }
        .times(1, 1)
    }

    /// The exact product with `n / d`, before it is rounded down, in lowest terms. `None` for `d` = 0.
    #[must_use]
    pub fn times(&self, n: i64, d: u64) -> Option<Formula> {
        let mut f = Formula { terms: Vec::new(), add: self.add.checked_mul(n)?, div: self.div.checked_mul(d)? };
        for (c, s) in &self.terms {
            f.terms.push((c.checked_mul(n)?, *s));
        }
        f.terms.retain(|t| t.0 != 0);
        let numbers = f.terms.iter().map(|t| t.0).chain([f.add]);
        let common = numbers.fold(f.div, |g, n| gcd(g, n.unsigned_abs()));
        if f.div == 0 || common == 0 {
            return None;
        }
        f.div = f.div.checked_div(common)?;
        let common = i64::try_from(common).ok()?;
        f.add = f.add.checked_div(common)?;
        for t in &mut f.terms {
            t.0 = t.0.checked_div(common)?;
        }
        Some(f)
    }

    fn value(&self, of: impl Fn(&i64, SymId) -> Option<u64>) -> Option<u64> {
        let mut n = i128::from(self.add);
        for (c, s) in &self.terms {
            n = n.checked_add(i128::from(*c).checked_mul(i128::from(of(c, *s)?))?)?;
        }
        u64::try_from(n.max(0).checked_div(i128::from(self.div))?).ok()
    }

    /// The size where the other axes have these sizes.
    pub fn size(&self, sizes: &[u64]) -> Option<u64> {
        self.value(|_, s| sizes.get(s.0 as usize).copied())
    }

    /// Least and greatest size over the ranges of the other axes.
    pub fn range(&self, syms: &[Sym]) -> Option<(u64, u64)> {
        let end =
            |low: bool| self.value(|c, s| syms.get(s.0 as usize).map(|y| if (*c >= 0) == low { y.lo } else { y.hi }));
        Some((end(true)?, end(false)?))
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// `(1*S + 2*T + 63) / 64`, with axes by name.
pub(crate) struct Shown<'a>(pub &'a Formula, pub &'a [Sym]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (c, s) in &self.0.terms {
            let name = self.1.get(s.0 as usize).map_or("?", |y| y.name.as_str());
            write!(f, "{c}*{name} + ")?;
        }
        write!(f, "{}) / {}", self.0.add, self.0.div)
    }
}

impl Graph {
    /// The same size over axes that are not sums themselves.
    pub(crate) fn flatten(&self, formula: &Formula) -> Option<Formula> {
        let mut out = Formula { terms: Vec::new(), add: formula.add, div: formula.div };
        for (c, s) in &formula.terms {
            // A sum of lengths is never below zero, so nothing is cut off.
            let inner = self.formulas.get(s).filter(|f| f.div == 1 && f.add >= 0 && f.terms.iter().all(|t| t.0 > 0));
            let one = [(1, *s)];
            let (terms, add) = inner.map_or((one.as_slice(), 0), |f| (f.terms.as_slice(), f.add));
            out.add = out.add.checked_add(c.checked_mul(add)?)?;
            for (d, t) in terms {
                let d = c.checked_mul(*d)?;
                match out.terms.iter_mut().find(|o| o.1 == *t) {
                    Some(o) => o.0 = o.0.checked_add(d)?,
                    None => out.terms.push((d, *t)),
                }
            }
        }
        out.terms.retain(|t| t.0 != 0);
        out.terms.sort_by_key(|t| t.1);
        Some(out)
    }

    /// The free axis whose size is `formula`: one that there is, or a new one called `name`. Its size as a number where no
    /// free axis occurs in it. `None` where a size is too large to be held.
    pub fn derive(&mut self, name: &str, formula: Formula) -> Option<Size> {
        let formula = self.flatten(&formula)?;
        if formula.terms.is_empty() {
            return formula.size(&[]).map(Size::Fixed);
        }
        if let (&[(1, s)], 0, 1) = (formula.terms.as_slice(), formula.add, formula.div) {
            return Some(Size::Free(s));
        }
        if let Some((s, _)) = self.formulas.iter().find(|(_, f)| **f == formula) {
            return Some(Size::Free(*s));
        }
        let (lo, hi) = formula.range(&self.syms)?;
        let mut unique = name.to_string();
        let mut n = 1u32;
        while self.syms.iter().any(|s| s.name == unique) {
            n = n.checked_add(1)?;
            unique = format!("{name}{n}");
        }
        let id = SymId(u32::try_from(self.syms.len()).ok()?);
        self.syms.push(Sym { name: unique, lo, hi });
        self.formulas.insert(id, formula);
        Some(Size::Free(id))
    }

    /// Fills in the sizes that follow from others. What is derived refers to earlier axes only, so one walk does it.
    pub fn complete(&self, sizes: &mut [u64]) {
        for (s, f) in &self.formulas {
            let n = f.size(sizes);
            if let (Some(slot), Some(n)) = (sizes.get_mut(s.0 as usize), n) {
                *slot = n;
            }
        }
    }

    /// Drops the free axes that no value has and no other one needs, and numbers the rest anew.
    #[must_use]
    pub fn without_unused_axes(self) -> Graph {
        let mut used = vec![false; self.syms.len()];
        let mut mark = |s: SymId| {
            if let Some(u) = used.get_mut(s.0 as usize) {
                *u = true;
            }
        };
        for d in self.ids().iter().filter_map(|n| self.ty(*n).ok()).flat_map(|t| &t.dims) {
            if let Size::Free(s) = d.size {
                mark(s);
            }
        }
        for n in self.ids() {
            if let Ok(n) = self.node(n) {
                n.op.free_axes(&mut mark);
            }
        }
        for (s, f) in self.formulas.iter().rev() {
            if used.get(s.0 as usize).copied().unwrap_or(false) {
                for (_, t) in &f.terms {
                    if let Some(u) = used.get_mut(t.0 as usize) {
                        *u = true;
                    }
                }
            }
        }
        if used.iter().all(|u| *u) {
            return self;
        }
        let mut next = 0u32;
        let map: Vec<Option<SymId>> = used
            .iter()
            .map(|u| {
                next += u32::from(*u);
                u.then(|| SymId(next - 1))
            })
            .collect();
        self.renumber_axes(&|s| map.get(s.0 as usize).copied().flatten().unwrap_or(s), &used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let mut g = Graph::new("g");
        g.syms.push(Sym { name: "S".into(), lo: 0, hi: 100 });
        g.syms.push(Sym { name: "T".into(), lo: 1, hi: 8 });
        g
    }

    #[test]
    fn lengths_of_joined_pieces_and_counts_of_tiles() {
        let mut g = graph();
        let both = g.derive("S", Formula::sum(&[Size::Free(SymId(0)), Size::Free(SymId(1)), Size::Fixed(2)]).unwrap());
        assert_eq!(both, Some(Size::Free(SymId(2))));
        assert_eq!((g.syms[2].lo, g.syms[2].hi, g.syms[2].name.as_str()), (3, 110, "S2"));
        let tiles = g.derive("P", Formula::pieces(Size::Free(SymId(2)), 4).unwrap());
        assert_eq!(tiles, Some(Size::Free(SymId(3))));
        assert_eq!(g.derive("P", Formula::pieces(Size::Free(SymId(2)), 4).unwrap()), tiles);
        assert_eq!(g.formulas[&SymId(3)].terms, [(1, SymId(0)), (1, SymId(1))]);
        let mut sizes = [7, 2, 0, 0];
        g.complete(&mut sizes);
        assert_eq!(sizes, [7, 2, 11, 3]);
        assert_eq!(g.derive("x", Formula::pieces(Size::Fixed(9), 4).unwrap()), Some(Size::Fixed(3)));
        assert_eq!(g.derive("x", Formula::sum(&[Size::Free(SymId(1))]).unwrap()), Some(Size::Free(SymId(1))));
    }

    #[test]
    fn sums_and_products_are_exact_before_rounding() {
        let one = |c: i64, add: i64, div: u64| Formula { terms: vec![(c, SymId(0))], add, div };
        // (S - 2) / 2 + 1 is S / 2.
        let p = one(1, -2, 1).times(1, 2).unwrap().plus(&Formula { terms: vec![], add: 1, div: 1 }).unwrap();
        assert_eq!(p, one(1, 0, 2));
        let third = one(1, 0, 3).plus(&one(1, 1, 2)).unwrap();
        assert_eq!((third.clone(), third.size(&[7])), (one(5, 3, 6), Some(6)));
        assert_eq!(one(1, 0, 1).plus(&one(-1, 4, 1)).unwrap(), Formula { terms: vec![], add: 4, div: 1 });
        assert_eq!(one(4, 2, 6).times(-3, 1).unwrap(), one(-2, -1, 1));
        assert!(one(1, 0, 1).times(1, 0).is_none() && one(i64::MAX, 0, 1).times(2, 1).is_none());
    }

    #[test]
    fn sizes_never_go_below_zero_or_overflow() {
        let g = graph();
        let f = Formula { terms: vec![(-2, SymId(0))], add: 5, div: 2 };
        assert_eq!((f.size(&[1, 1]), f.size(&[9, 1]), f.range(&g.syms)), (Some(1), Some(0), Some((0, 2))));
        let f = Formula { terms: vec![(i64::MAX, SymId(0)), (i64::MAX, SymId(1))], add: i64::MAX, div: 1 };
        assert_eq!(f.size(&[u64::MAX, u64::MAX]), None);
        assert!(Formula::sum(&[Size::Fixed(u64::MAX)]).is_none());
    }
}
