//! Reductions by vectors along a reduced dimension.
use super::{Fold, Reduce};
use crate::extent::Extent;
use crate::ir::{Addr, Builder, LoadKind, Op, RedFn, Val};
use spc_base::Bug;

impl Reduce<'_> {
    /// `width` neighbouring outputs by vectors along the innermost reduced dimension. State: a vector for each output,
    /// then a scalar for each for what is left over.
    pub(super) fn horizontal(&self, b: &mut Builder, ptrs: &[Val], width: usize) -> Result<(), Bug> {
        let n = self.reds.len();
        let lanes = b.lanes();
        let Some(last) = self.red.last() else { return self.scalar(b, ptrs) };
        let count = self.sizes.value(b, last)?;
        let full = b.op(Op::Shr(count, lanes.trailing_zeros() as u8));
        let done = b.scale(full, lanes as i64);
        let left = b.isub(count, done);
        let exact = last.known().is_some_and(|c| c.is_multiple_of(lanes as u64));
        // Pointers of the outputs, operand by operand; an operand that repeats has one.
        let mut moved: Vec<Vec<Val>> = Vec::new();
        for (i, ptr) in ptrs.iter().enumerate() {
            let stride = self.stride(i);
            let several = if stride.is_zero() && i < n { 1 } else { width };
            let mut list = Vec::with_capacity(several);
            for o in 0..several {
                let o = b.int(o as i64);
                list.push(self.sizes.advance(b, *ptr, o, &stride, 4)?);
            }
            moved.push(list);
        }
        let heads: Vec<Val> = moved[..n].iter().flatten().copied().collect();
        let widths: Vec<usize> = moved[..n].iter().map(Vec::len).collect();
        let (vstart, start) = (b.vfloat(self.start()), b.float(self.start()));
        let state: Vec<Val> = vec![vstart; width].into_iter().chain(vec![start; width]).collect();
        // One multiply-add for each output from the pointers `p`, laid out like `heads`.
        let step = |b: &mut Builder, kind: LoadKind, at: Val, p: &[Val], acc: &[Val]| -> Vec<Val> {
            let mut loaded: Vec<Vec<Val>> = Vec::new();
            let mut next = 0;
            for w in &widths {
                loaded.push(if *w == 1 && width > 1 {
                    vec![b.load(kind, Addr::indexed(p[next], at, 4))]
                } else {
                    Vec::new()
                });
                next += w;
            }
            let mut out = Vec::with_capacity(width);
            for (o, a) in acc.iter().enumerate() {
                let mut factors = Vec::with_capacity(n);
                let mut next = 0;
                for (i, w) in widths.iter().enumerate() {
                    let shared = loaded[i].first().copied();
                    factors.push(shared.unwrap_or_else(|| b.load(kind, Addr::indexed(p[next + o.min(w - 1)], at, 4))));
                    next += w;
                }
                out.push(self.accumulate(b, *a, &factors));
            }
            out
        };
        // The outer reduced dimensions move every operand's pointers alike, so they are walked by offsets.
        let zero = b.int(0);
        let zeros = vec![zero; n];
        let sums = self.offsets(b, 0, &zeros, state, &mut |b, offsets, s| {
            let mut p = Vec::with_capacity(heads.len());
            let mut next = 0;
            for (i, w) in widths.iter().enumerate() {
                for _ in 0..*w {
                    p.push(b.ptr_add(heads[next], offsets[i]));
                    next += 1;
                }
            }
            let vectors = b.repeat(full, &s[..width], |b, i, acc| {
                let at = b.scale(i, lanes as i64);
                step(b, LoadKind::VF32, at, &p, acc)
            });
            let scalars = if exact {
                s[width..].to_vec()
            } else {
                b.repeat(left, &s[width..], |b, i, acc| {
                    let at = b.iadd(done, i);
                    step(b, LoadKind::F32, at, &p, acc)
                })
            };
            Ok(vectors.into_iter().chain(scalars).collect())
        })?;
        for o in 0..width {
            let f = match self.f {
                // There is none of products: `choose` gives them another form.
                Fold::Sum | Fold::Mean | Fold::Product => RedFn::Add,
                Fold::Max => RedFn::Max,
                Fold::Min => RedFn::Min,
            };
            let mut v = b.reduce(f, sums[o]);
            if !exact {
                v = self.combine(b, v, sums[width + o]);
            }
            self.store(b, v, moved[n][o], false);
        }
        Ok(())
    }

    /// Whether as many neighbouring outputs as there are lanes can be computed by [`Self::square`].
    pub(super) fn squares(&self, lanes: usize) -> bool {
        let n = self.reds.len();
        let whole = |e: &Extent| e.known().is_some_and(|c| c.is_multiple_of(lanes as u64));
        let near = |i: usize| self.stride(i).known().is_some_and(|s| s < (1 << 24) / lanes as u64);
        self.red.last().is_some_and(whole) && (0..n).all(near) && self.stride(n).is_one()
    }

    /// As many neighbouring outputs as there are lanes: a vector of sums for each, which then fold into one vector of totals
    /// in the order of a horizontal reduction.
    pub(super) fn square(&self, b: &mut Builder, ptrs: &[Val]) -> Result<(), Bug> {
        let (n, lanes) = (self.reds.len(), b.lanes());
        let steps: Vec<i32> = (0..n).map(|i| 4 * self.stride(i).known().unwrap_or(0) as i32).collect();
        let count = self.red.last().and_then(Extent::known).unwrap_or(0) / lanes as u64;
        let (count, start) = (b.int(count as i64), b.vfloat(self.start()));
        let mut sums = self.outer(b, &ptrs[..n], vec![start; lanes], &mut |b, p, s| {
            Ok(b.repeat(count, &s, |b, i, acc| {
                let at = b.scale(i, lanes as i64);
                let place = |k: usize, o: usize| Addr::indexed(p[k], at, 4).plus(steps[k] * o as i32);
                let shared: Vec<Option<Val>> =
                    (0..n).map(|k| (steps[k] == 0).then(|| b.load(LoadKind::VF32, place(k, 0)))).collect();
                let one = |b: &mut Builder, o: usize| {
                    let factors: Vec<Val> =
                        (0..n).map(|k| shared[k].unwrap_or_else(|| b.load(LoadKind::VF32, place(k, o)))).collect();
                    self.accumulate(b, acc[o], &factors)
                };
                (0..lanes).map(|o| one(b, o)).collect()
            }))
        })?;
        while sums.len() > 1 {
            let half = sums.len() / 2;
            let fold = |b: &mut Builder, i: usize| {
                let low = b.op(Op::Zip(false, sums[i], sums[i + half]));
                let high = b.op(Op::Zip(true, sums[i], sums[i + half]));
                self.combine(b, low, high)
            };
            sums = (0..half).map(|i| fold(b, i)).collect();
        }
        self.store(b, sums[0], ptrs[n], true);
        Ok(())
    }
}
