//! Axis terms and their unification. A dimension of a value is a term: an axis nobody has taken apart (a leaf), an ordered
//! product of axes merged into one dimension (outer first), or a sum of axes joined end to end.
//!
//! Equating two terms refines leaves until both sides agree: `F = (A B)` makes the leaf F a product. Two terms that no
//! refinement makes equal, such as `(2 3)` and `(3 2)`, are *tangled*: nothing is known of how their positions correspond.
use crate::Size;

/// Number of a term.
pub(super) type Var = u32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Leaf,
    /// At least two factors, outer first, none of size 1.
    Product(Vec<Var>),
    /// At least two segments in order, none of size 0.
    Sum(Vec<Var>),
}

/// Where a leaf lies in a term: as [`crate::Part`] says it of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub leaf: Var,
    pub start: u64,
    pub end: u64,
    pub inner: u64,
    pub size: u64,
}

/// Steps that one table may take. Honest programs need a few for each dimension of each node.
const MAX_WORK: usize = 20_000_000;

/// Most places that one term may consist of.
const MAX_PLACES: usize = 4096;

#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    parent: Vec<Var>,
    shape: Vec<Shape>,
    size: Vec<Size>,
    work: usize,
}

impl Terms {
    fn push(&mut self, shape: Shape, size: Size) -> Var {
        let v = self.parent.len() as Var;
        self.parent.push(v);
        self.shape.push(shape);
        self.size.push(size);
        v
    }

    pub fn leaf(&mut self, size: Size) -> Var {
        self.push(Shape::Leaf, size)
    }

    /// The product of these axes, outer first.
    pub fn product(&mut self, factors: &[Var]) -> Var {
        let kept: Vec<Var> = factors.iter().copied().filter(|f| self.size(*f) != Size::Fixed(1)).collect();
        match (kept.as_slice(), factors) {
            ([one], _) => *one,
            ([], [first, ..]) => *first,
            ([], []) => self.leaf(Size::Fixed(1)),
            _ => match kept.iter().try_fold(1u64, |n, f| n.checked_mul(self.size(*f).fixed()?)) {
                Some(n) if n > 0 => self.push(Shape::Product(kept), Size::Fixed(n)),
                n => self.leaf(Size::Fixed(n.unwrap_or(u64::MAX))),
            },
        }
    }

    /// These axes joined end to end.
    pub fn sum(&mut self, segments: &[Var], size: Size) -> Var {
        let kept: Vec<Var> = segments.iter().copied().filter(|f| self.size(*f) != Size::Fixed(0)).collect();
        let total = kept.iter().try_fold(0u64, |n, f| n.checked_add(self.size(*f).fixed()?));
        match (kept.as_slice(), total) {
            ([one], _) if self.size(*one) == size => *one,
            (_, Some(n)) if n > 0 && kept.len() > 1 => self.push(Shape::Sum(kept), Size::Fixed(n)),
            _ => self.leaf(size),
        }
    }

    /// The term that stands for all terms equated with `v`.
    pub fn find(&self, v: Var) -> Var {
        let mut v = v;
        while let Some(p) = self.parent.get(v as usize).copied()
            && p != v
        {
            v = p;
        }
        v
    }

    pub fn size(&self, v: Var) -> Size {
        self.size.get(self.find(v) as usize).copied().unwrap_or(Size::Fixed(0))
    }

    pub fn shape(&self, v: Var) -> &Shape {
        self.shape.get(self.find(v) as usize).unwrap_or(&Shape::Leaf)
    }

    fn join(&mut self, from: Var, to: Var) {
        if let Some(p) = self.parent.get_mut(from as usize) {
            *p = to;
        }
    }

    fn spend(&mut self, n: usize) {
        self.work = self.work.saturating_add(n);
    }

    /// Factors (or segments) that are no products (sums) themselves, in order. A term of another shape is its only part.
    pub fn parts(&self, v: Var, sum: bool) -> Vec<Var> {
        let mut out = Vec::new();
        let mut stack = vec![self.find(v)];
        while let Some(v) = stack.pop() {
            match (self.shape(v), sum) {
                (Shape::Product(p), false) | (Shape::Sum(p), true) => {
                    stack.extend(p.iter().rev().map(|f| self.find(*f)));
                }
                _ => out.push(v),
            }
        }
        out
    }

    /// Makes two terms equal by refining leaves. What comes back is tangled: nothing may be said of these terms.
    pub fn equate(&mut self, a: Var, b: Var) -> Vec<Var> {
        let mut todo = vec![(a, b)];
        let mut tangled = Vec::new();
        while let Some((a, b)) = todo.pop() {
            let (a, b) = (self.find(a), self.find(b));
            if a == b {
                continue;
            }
            self.spend(1);
            if self.work > MAX_WORK || self.size(a) != self.size(b) {
                tangled.extend([a, b]);
                continue;
            }
            match (self.shape(a), self.shape(b)) {
                (Shape::Leaf, Shape::Leaf) => self.join(a.max(b), a.min(b)),
                (Shape::Leaf, _) => self.join(a, b),
                (_, Shape::Leaf) => self.join(b, a),
                (Shape::Product(_), Shape::Product(_)) => tangled.extend(self.align(a, b, false, &mut todo)),
                (Shape::Sum(_), Shape::Sum(_)) => tangled.extend(self.align(a, b, true, &mut todo)),
                (Shape::Product(_), Shape::Sum(_)) => tangled.extend(self.rows(a, b, &mut todo)),
                (Shape::Sum(_), Shape::Product(_)) => tangled.extend(self.rows(b, a, &mut todo)),
            }
        }
        tangled
    }

    /// Two products, from the innermost factor on, or two sums, from the first segment on: leaves are cut where the other
    /// side has a border. Gives what is left where that fails; the pairs found before are equal all the same.
    fn align(&mut self, a: Var, b: Var, sum: bool, todo: &mut Vec<(Var, Var)>) -> Vec<Var> {
        let (mut left, mut right) = (self.parts(a, sum), self.parts(b, sum));
        if sum {
            left.reverse();
            right.reverse();
        }
        self.spend(left.len() + right.len());
        loop {
            let (x, y) = match (left.pop(), right.pop()) {
                (Some(x), Some(y)) => (self.find(x), self.find(y)),
                (None, None) => {
                    self.join(a, b);
                    return Vec::new();
                }
                (x, y) => return [left, right, x.into_iter().chain(y).collect()].concat(),
            };
            let open = |s: &Shape| if sum { matches!(s, Shape::Sum(_)) } else { matches!(s, Shape::Product(_)) };
            // A leaf met before in this walk may have been cut since.
            if open(self.shape(x)) || open(self.shape(y)) {
                for (v, list) in [(x, &mut left), (y, &mut right)] {
                    let mut parts = self.parts(v, sum);
                    if sum {
                        parts.reverse();
                    }
                    list.extend(parts);
                }
                self.spend(1);
                continue;
            }
            let sizes = (self.size(x).fixed().unwrap_or(0), self.size(y).fixed().unwrap_or(0));
            if sizes.0 == sizes.1 {
                todo.push((x, y));
                continue;
            }
            let (big, small) = if sizes.0 > sizes.1 { (x, y) } else { (y, x) };
            let (large, part) = (sizes.0.max(sizes.1), sizes.0.min(sizes.1));
            let cut = if sum { large.checked_sub(part) } else { large.checked_div(part).filter(|n| n * part == large) };
            let Some(rest) = cut.filter(|_| *self.shape(big) == Shape::Leaf && self.work <= MAX_WORK) else {
                return [left, right, vec![x, y]].concat();
            };
            let rest = self.leaf(Size::Fixed(rest));
            let shape = if sum { Shape::Sum(vec![small, rest]) } else { Shape::Product(vec![rest, small]) };
            if let Some(s) = self.shape.get_mut(big as usize) {
                *s = shape;
            }
            if big == x {
                left.push(rest)
            } else {
                right.push(rest)
            }
            self.spend(1);
        }
    }

    /// A product `(A B)` against segments that are whole rows of B. Each segment is a number of rows; which row belongs to
    /// which segment is lost, so the outer factors are tangled.
    fn rows(&mut self, product: Var, sum: Var, todo: &mut Vec<(Var, Var)>) -> Vec<Var> {
        let mut factors = self.parts(product, false);
        let segments = self.parts(sum, true);
        self.spend(factors.len() + segments.len());
        let sizes: Vec<u64> = segments.iter().filter_map(|s| self.size(*s).fixed()).collect();
        let mut inner: Vec<Var> = Vec::new();
        let mut size = 1u64;
        while let Some(f) = factors.last() {
            let Some(next) = self.size(*f).fixed().and_then(|n| size.checked_mul(n)) else { break };
            if sizes.len() != segments.len() || sizes.iter().any(|s| s % next.max(1) != 0) {
                break;
            }
            size = next;
            inner.insert(0, *f);
            factors.pop();
        }
        if inner.is_empty() {
            return [factors, segments].concat();
        }
        let row = self.product(&inner);
        for (s, n) in segments.iter().zip(sizes) {
            let rows = self.leaf(Size::Fixed(n / size.max(1)));
            let whole = self.product(&[rows, row]);
            todo.push((*s, whole));
            factors.push(rows);
        }
        factors
    }

    /// All leaves below a term.
    pub fn leaves(&self, v: Var) -> Vec<Var> {
        let mut out = std::collections::BTreeSet::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut stack = vec![self.find(v)];
        while let Some(v) = stack.pop() {
            if !seen.insert(v) {
                continue;
            }
            match self.shape(v) {
                Shape::Leaf => {
                    out.insert(v);
                }
                Shape::Product(p) | Shape::Sum(p) => stack.extend(p.iter().map(|f| self.find(*f))),
            }
        }
        out.into_iter().collect()
    }

    /// Where the leaves of a term lie in it, in order of position; none when they are too scattered.
    pub fn places(&self, v: Var) -> Option<Vec<Place>> {
        // (term, start, repetitions, period, inner): the term lies at `start + i * period` for each repetition i, each of
        // its positions `inner` wide.
        let mut stack = vec![(self.find(v), 0u64, 1u64, u64::MAX, 1u64)];
        let mut out = Vec::new();
        while let Some((v, start, times, period, inner)) = stack.pop() {
            if out.len() + stack.len() > MAX_PLACES {
                return None;
            }
            let size = match self.size(v) {
                Size::Fixed(n) => n,
                // A free axis is never part of a term.
                Size::Free(_) => {
                    out.push(Place { leaf: v, start: 0, end: u64::MAX, inner: 1, size: u64::MAX });
                    continue;
                }
            };
            let width = size.checked_mul(inner)?;
            match self.shape(v) {
                Shape::Leaf if times == 1 || period == width => {
                    let end = start.checked_add(width.checked_mul(times)?)?;
                    out.push(Place { leaf: v, start, end, inner, size });
                }
                Shape::Leaf => {
                    for i in 0..times.min(MAX_PLACES as u64 + 1) {
                        let start = start + i * period;
                        out.push(Place { leaf: v, start, end: start + width, inner, size });
                    }
                }
                Shape::Product(factors) => {
                    let mut at = inner;
                    let mut outer = size;
                    for f in factors.iter().rev() {
                        let n = self.size(*f).fixed()?;
                        outer /= n.max(1);
                        let step = at.checked_mul(n)?;
                        if times == 1 || period == width {
                            stack.push((self.find(*f), start, outer.checked_mul(times)?, step, at));
                        } else {
                            for i in 0..times.min(MAX_PLACES as u64 + 1) {
                                stack.push((self.find(*f), start + i * period, outer, step, at));
                            }
                        }
                        at = step;
                    }
                }
                Shape::Sum(segments) => {
                    let mut at = start;
                    let period = if times == 1 { width } else { period };
                    for s in segments {
                        stack.push((self.find(*s), at, times, period, inner));
                        at = at.checked_add(self.size(*s).fixed()?.checked_mul(inner)?)?;
                    }
                }
            }
        }
        out.sort_unstable_by_key(|p| (p.start, p.inner, p.leaf));
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(t: &mut Terms, sizes: &[u64]) -> Vec<Var> {
        sizes.iter().map(|n| t.leaf(Size::Fixed(*n))).collect()
    }

    fn places(t: &Terms, v: Var) -> Vec<(u64, u64, u64, u64)> {
        t.places(v).unwrap().into_iter().map(|p| (p.start, p.end, p.inner, p.size)).collect()
    }

    #[test]
    fn a_leaf_is_cut_where_the_other_side_is() {
        let mut t = Terms::default();
        let l = leaves(&mut t, &[24, 2, 12, 6, 4]);
        let (ab, cd) = (t.product(&l[1..3]), t.product(&[l[3], l[4]]));
        assert!(t.equate(l[0], ab).is_empty());
        // (2 12) and (6 4): 12 is (3 4), and 6 is (2 3).
        assert!(t.equate(l[0], cd).is_empty());
        assert_eq!(places(&t, l[0]), [(0, 24, 1, 4), (0, 24, 4, 3), (0, 24, 12, 2)]);
        assert_eq!(places(&t, l[3]), [(0, 6, 1, 3), (0, 6, 3, 2)]);
        assert_eq!(t.find(t.parts(l[3], false)[0]), t.find(l[1]));
    }

    #[test]
    fn what_no_cut_makes_equal_is_tangled() {
        let mut t = Terms::default();
        let l = leaves(&mut t, &[2, 3, 5, 3, 2, 5]);
        let (a, b) = (t.product(&l[..3]), t.product(&l[3..]));
        let tangled = t.equate(a, b);
        assert_eq!(tangled.len(), 4);
        // The innermost factors are the same all the same.
        assert_eq!(t.find(l[2]), t.find(l[5]));
        assert!(!tangled.contains(&l[2]));
    }

    #[test]
    fn joined_axes_lie_one_after_the_other() {
        let mut t = Terms::default();
        let l = leaves(&mut t, &[3, 4, 7, 2, 5]);
        let (ab, cd) = (t.sum(&l[..2], Size::Fixed(7)), t.sum(&l[3..], Size::Fixed(7)));
        assert!(t.equate(l[2], ab).is_empty() && t.equate(cd, l[2]).is_empty());
        assert_eq!(places(&t, l[2]), [(0, 2, 1, 2), (2, 3, 1, 1), (3, 7, 1, 4)]);
        assert_eq!(places(&t, l[4]), [(0, 1, 1, 1), (1, 5, 1, 4)]);
        let two = t.leaf(Size::Fixed(2));
        let rows = t.product(&[two, l[2]]);
        assert_eq!(places(&t, rows)[..2], [(0, 2, 1, 2), (0, 14, 7, 2)]);
        assert_eq!(places(&t, rows).len(), 7);
    }

    #[test]
    fn rows_of_a_joined_axis() {
        let mut t = Terms::default();
        let l = leaves(&mut t, &[3, 6, 3, 3]);
        let joined = t.sum(&l[..2], Size::Fixed(9));
        let split = t.product(&l[2..]);
        let tangled = t.equate(joined, split);
        assert!(tangled.contains(&l[2]) && !tangled.contains(&l[3]));
        assert_eq!(t.find(l[0]), t.find(l[3]));
        assert_eq!(places(&t, l[1]), [(0, 6, 1, 3), (0, 6, 3, 2)]);
    }

    #[test]
    fn free_and_empty_axes() {
        let mut t = Terms::default();
        let free = t.leaf(Size::Free(crate::SymId(0)));
        let other = t.leaf(Size::Free(crate::SymId(1)));
        assert_eq!(t.equate(free, other).len(), 2);
        let l = leaves(&mut t, &[0, 4, 1, 4]);
        let empty = t.product(&l[..2]);
        assert_eq!(t.size(empty), Size::Fixed(0));
        assert_eq!(t.product(&l[1..3]), l[1]);
        assert_eq!(t.sum(&[l[0], l[1]], Size::Fixed(4)), l[1]);
        assert!(t.equate(l[1], l[3]).is_empty());
    }
}
