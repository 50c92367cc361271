//! Numbers of groups, within a step: from tiles to a list of groups and back, and roots over the list.
use super::cuts::Part;
use super::metric::{Means, Newton};
use super::program::Operand;
use super::run::{Held, Run, spoiled, tensor};
use super::work::{Ref, Step};
use spc_base::Bug;
use spc_cpu::{Pool, Sweeps};
use spc_interp::method::MethodError;
use spc_kernel::update::{Column, Lines};

impl Run<'_, '_, '_> {
    /// Norms of groups, in f64 from sums of squares; those that are too large or too small for f32 squares again from the
    /// weights.
    pub(super) fn gather(
        &mut self,
        parts: &[Part],
        norms: &Ref,
        weights: &[[f64; 3]],
        of: &[Option<Ref>; 3],
    ) -> Result<(), MethodError> {
        let Held::F32(mut out) = self.take(norms) else { return Err(Bug::new("norms that are no numbers").into()) };
        let mut sums = vec![0f64; out.len()];
        for p in parts {
            let (w, side) = (self.floats(&p.weight), self.floats(&p.side));
            p.each(self.core.lanes, &mut |group, entry, tile| {
                let x = side.get(entry).copied().unwrap_or(0.0);
                let usual = x > 1e-30 && x < 1e30;
                if let Some(s) = sums.get_mut(group) {
                    *s += if usual { f64::from(x) } else { p.squares(w, tile) };
                }
            });
        }
        for (o, s) in out.iter_mut().zip(&sums) {
            *o = s.sqrt() as f32;
        }
        let bad = out.iter().any(|x| !x.is_finite());
        self.give(norms, Held::F32(out));
        if bad {
            for p in parts {
                let (t, w) = (tensor(&p.weight), self.floats(&p.weight));
                if w.iter().any(|x| !x.is_finite()) {
                    return Err(spoiled(self.core, t, w));
                }
            }
        }
        for (k, r) in of.iter().enumerate() {
            let Some(r) = r else { continue };
            let v = weights.iter().map(|w| w[k] as f32).collect();
            self.give(r, Held::F32(v));
        }
        Ok(())
    }

    pub(super) fn scatter(&mut self, parts: &[Part], factors: &Ref) -> Result<(), MethodError> {
        let f = self.floats(factors).to_vec();
        for p in parts {
            let Held::F32(mut side) = self.take(&p.side) else { return Err(Bug::new("no factors").into()) };
            let spread = p.spread(self.core.lanes);
            p.each(self.core.lanes, &mut |group, entry, _| {
                if let (Some(to), Some(f)) = (side.get_mut(entry..entry + spread), f.get(group)) {
                    to.fill(*f);
                }
            });
            self.give(&p.side, Held::F32(side));
        }
        Ok(())
    }

    pub(super) fn root(
        &self,
        sum: &[Operand; 5],
        n: usize,
        numbers: &[f32],
        (less, from, to): (usize, usize, usize),
    ) -> Result<f32, MethodError> {
        let of = std::array::from_fn(|k| match &sum[k] {
            Operand::Array(r) => Column::Array(self.floats(r)),
            Operand::Number(i) => Column::Number(f64::from(numbers[*i])),
        });
        let number = |i: usize| f64::from(numbers[i]);
        let t = Lines { n, of }.root(number(less), number(from), number(to));
        Ok(t.ok_or(MethodError::Falls)? as f32)
    }

    /// What passes wrote for the tiles of each group, one value for each group.
    fn collect(&self, parts: &[&Part], groups: usize, meet: &dyn Fn(f64, f64) -> f64) -> Vec<f64> {
        let mut out = vec![0.0; groups];
        for p in parts {
            let side = self.floats(&p.side);
            p.each(self.core.lanes, &mut |group, entry, _| {
                let x = side.get(entry).map_or(0.0, |x| f64::from(*x));
                if let Some(o) = out.get_mut(group) {
                    *o = meet(*o, x);
                }
            });
        }
        out
    }

    pub(super) fn means(&mut self, parts: &[Part], means: &Means, numbers: &mut [f32]) -> Result<(), MethodError> {
        let parts: Vec<&Part> = parts.iter().collect();
        match means {
            Means::Groups(into, sizes) => {
                let sums = self.collect(&parts, sizes.len(), &|a, b| a + b);
                let Held::F32(mut out) = self.take(into) else { return Err(Bug::new("no means").into()) };
                out.iter_mut().zip(sums.iter().zip(sizes)).for_each(|(o, (s, n))| *o = (s / n) as f32);
                self.give(into, Held::F32(out));
            }
            Means::All(slot, n) => {
                let groups = parts.iter().map(|p| p.first + p.tiles()).max().unwrap_or(0);
                let sum: f64 = self.collect(&parts, groups, &|a, b| a + b).iter().sum();
                numbers[*slot] = (sum / n) as f32;
            }
        }
        Ok(())
    }

    /// The norms of groups after the group lasso in a metric, by Newton's method from the left as in
    /// `spc_interp::method::metric_norm`.
    pub(super) fn newton(
        &mut self,
        n: &Newton,
        sweeps: &Sweeps,
        numbers: &[f32],
        pool: &Pool,
    ) -> Result<(), MethodError> {
        let most = self.floats(&n.norms).to_vec();
        let cuts = self.floats(&n.cuts).to_vec();
        let groups = most.len();
        let parts = |k: usize| n.sides.iter().map(|s| &s[k]).collect::<Vec<_>>();
        let own = |k: usize| n.sides.iter().map(|s| s[k].clone()).collect::<Vec<_>>();
        let run = |r: &mut Self, list: &[(usize, Step)]| {
            list.iter().try_for_each(|(t, s)| r.sweep(sweeps, *t, std::slice::from_ref(s), numbers, pool))
        };
        self.scatter(&own(1), &n.cuts)?;
        run(self, &n.begin)?;
        let all = self.collect(&parts(2), groups, &|a, b| a + b);
        let mut low = self.collect(&parts(3), groups, &f64::max);
        let mut high: Vec<f64> = most.iter().zip(&low).map(|(m, l)| f64::from(*m).max(*l)).collect();
        let mut r: Vec<f64> = (0..groups).map(|g| if all[g] > 1.0 { low[g] } else { 0.0 }).collect();
        let mut active: Vec<bool> = (0..groups).map(|g| all[g] > 1.0 && cuts[g] > 0.0).collect();
        for _ in 0..ROUNDS {
            if !active.iter().any(|a| *a) {
                break;
            }
            self.put(&n.norms, &r)?;
            self.scatter(&own(0), &n.norms)?;
            run(self, &n.round)?;
            let sum = self.collect(&parts(2), groups, &|a, b| a + b);
            let slope = self.collect(&parts(3), groups, &|a, b| a + b);
            for g in 0..groups {
                if !active[g] {
                    continue;
                }
                if sum[g] >= 1.0 {
                    low[g] = r[g]
                } else {
                    high[g] = r[g]
                }
                let mut next = r[g] + (sum[g].sqrt() - 1.0) * sum[g] / slope[g];
                if !(low[g] <= next && next <= high[g]) {
                    next = low[g] + (high[g] - low[g]) / 2.0;
                }
                // As far as numbers of the passes tell.
                active[g] = (next - r[g]).abs() > 1e-7 * r[g];
                r[g] = next;
            }
        }
        self.put(&n.norms, &r)?;
        self.scatter(&own(0), &n.norms)
    }

    fn put(&mut self, into: &Ref, values: &[f64]) -> Result<(), MethodError> {
        let Held::F32(mut out) = self.take(into) else { return Err(Bug::new("norms that are no numbers").into()) };
        out.iter_mut().zip(values).for_each(|(o, v)| *o = *v as f32);
        self.give(into, Held::F32(out));
        Ok(())
    }
}

/// Most rounds towards the roots of a list of groups; about five are usual.
const ROUNDS: usize = 40;
