//! Proxes of tiles in the metric `diag(d)`: `d` is an array beside the weights.
use super::tiles::{At, Tiles, any};
use super::{Array, Chain, Grid, Kind, NodeId, Pass};
use crate::ir::{Builder, Cmp, FBin, FUn, LBin, Val};
use spc_base::Bug;

/// Most steps towards the root of a tile; four are usual.
const STEPS: i64 = 40;

/// What is done with each tile.
#[derive(Clone, Copy, Debug)]
pub enum MetricWork<'a> {
    /// Arrays: weights (written), d. The chain has no arrays and gives the cut of the norm: the weights become the minimiser of
    /// `sum(d (x - w)^2) / 2 + cut * |x|`. A cut of 0 changes nothing.
    Shrink(&'a Chain, NodeId),
    /// Arrays: weights (written), d. The chain has two arrays, the norm and the mean of d, and gives the new norm.
    Prox(&'a Chain, NodeId),
    /// Arrays: d, its sum (side, written).
    Sums,
    /// Arrays: weights, d, and of each tile (side) r, the cut, `sum(t^2)` (written) and `sum(t^2 d / (d r + cut))` (written) with
    /// `t = d w / (d r + cut)`: one step of the root for groups that lie in several tensors.
    Secular,
    /// Arrays: weights, d, and of each tile (side) the cut and, written, `sum((d w / cut)^2)` and the greatest
    /// `|w| - cut / d`: whether there is a root, and where it starts.
    Begin,
    /// Arrays: weights (written), d, r and the cut (side): `w d r / (d r + cut)`, +0 where r is 0.
    Apply,
}

/// The fold is the greatest norm, NaN where a weight is, of [`MetricWork::Shrink`] and [`MetricWork::Prox`].
///
/// # Errors
/// A bug for a grid that does not [fit](Grid::fits).
pub fn metric_pass(grid: Grid, work: MetricWork<'_>, lanes: usize) -> Result<Pass, Bug> {
    let side = Kind::Side(grid.entries(lanes));
    let (name, kinds, chain): (&str, &[(Kind, bool)], Option<&Chain>) = match work {
        MetricWork::Shrink(c, _) => ("metric_shrink", &[(Kind::F32, true), (Kind::F32, false)], Some(c)),
        MetricWork::Prox(c, _) => ("metric_prox", &[(Kind::F32, true), (Kind::F32, false)], Some(c)),
        MetricWork::Sums => ("metric_sums", &[(Kind::F32, false), (side, true)], None),
        MetricWork::Secular => (
            "metric_secular",
            &[(Kind::F32, false), (Kind::F32, false), (side, false), (side, false), (side, true), (side, true)],
            None,
        ),
        MetricWork::Begin => {
            ("metric_begin", &[(Kind::F32, false), (Kind::F32, false), (side, false), (side, true), (side, true)], None)
        }
        MetricWork::Apply => {
            ("metric_apply", &[(Kind::F32, true), (Kind::F32, false), (side, false), (side, false)], None)
        }
    };
    let arrays = kinds.iter().map(|(kind, written)| Array { kind: *kind, written: *written, read: true }).collect();
    let numbers = chain.map_or(0, Chain::numbers);
    Tiles::pass(name, grid, lanes, arrays, numbers, &|b, t, at| {
        let a = &t.arrays;
        match work {
            MetricWork::Shrink(c, result) => {
                let cut = value(b, t, c, result, &[])?;
                let norm = t.norm(b, at);
                let r = t.root(b, at, cut, norm);
                t.apply(b, at, r, cut);
                return Ok(Some(norm));
            }
            MetricWork::Prox(c, result) => {
                let norm = t.norm(b, at);
                let [sum] = t.over(b, &[a[1]], at, [FBin::Add], &|b, [s], x| [b.fbin(FBin::Add, s, x[0])]);
                let size = b.vfloat((grid.rows * grid.tile) as f32);
                let mean = b.fbin(FBin::Div, sum, size);
                let to = value(b, t, c, result, &[norm, mean])?;
                t.resize(b, at, norm, to);
                return Ok(Some(norm));
            }
            MetricWork::Sums => {
                let [sum] = t.over(b, &[a[0]], at, [FBin::Add], &|b, [s], x| [b.fbin(FBin::Add, s, x[0])]);
                t.store_side(b, a[1], at, sum);
            }
            MetricWork::Secular => {
                let (r, cut) = (t.load_side(b, a[2], at), t.load_side(b, a[3], at));
                let [sum, slope] = t.secular(b, at, r, cut);
                t.store_side(b, a[4], at, sum);
                t.store_side(b, a[5], at, slope);
            }
            MetricWork::Begin => {
                let cut = t.load_side(b, a[2], at);
                let [sum, least] = t.begin(b, at, cut);
                t.store_side(b, a[3], at, sum);
                t.store_side(b, a[4], at, least);
            }
            MetricWork::Apply => {
                let (r, cut) = (t.load_side(b, a[2], at), t.load_side(b, a[3], at));
                t.apply(b, at, r, cut);
            }
        }
        Ok(None)
    })
}

fn value(b: &mut Builder, t: &Tiles, c: &Chain, result: NodeId, arrays: &[Val]) -> Result<Val, Bug> {
    let values = c.emit(b, t.numbers, arrays)?;
    values.get(result).copied().ok_or_else(|| Bug::new("a prox without a result"))
}

impl Tiles {
    /// `sum((d w / cut)^2)` and the greatest `|w| - cut / d`, at least 0.
    fn begin(&self, b: &mut Builder, at: At, cut: Val) -> [Val; 2] {
        self.over(b, &self.arrays[..2], at, [FBin::Add, FBin::Max], &|b, [sum, least], x| {
            let size = b.fun(FUn::Abs, x[0]);
            let scaled = b.fbin(FBin::Mul, size, x[1]);
            let scaled = b.fbin(FBin::Div, scaled, cut);
            let by = b.fbin(FBin::Div, cut, x[1]);
            let left = b.fbin(FBin::Sub, size, by);
            [b.fma(scaled, scaled, sum), b.fbin(FBin::Max, least, left)]
        })
    }

    /// `sum(t^2)` and `sum(t^2 d / (d r + cut))` with `t = d w / (d r + cut)`.
    fn secular(&self, b: &mut Builder, at: At, r: Val, cut: Val) -> [Val; 2] {
        self.over(b, &self.arrays[..2], at, [FBin::Add, FBin::Add], &|b, [sum, slope], x| {
            let below = b.fma(x[1], r, cut);
            let part = b.fbin(FBin::Div, x[1], below);
            let t = b.fbin(FBin::Mul, part, x[0]);
            let square = b.fbin(FBin::Mul, t, t);
            [b.fbin(FBin::Add, sum, square), b.fma(square, part, slope)]
        })
    }

    /// The norm of the minimiser, by Newton's method from the left on `1 / sqrt(sum) - 1`, which is concave and grows. `most` is
    /// a bound.
    fn root(&self, b: &mut Builder, at: At, cut: Val, most: Val) -> Val {
        let [all, least] = self.begin(b, at, cut);
        let (zero, one) = (b.vfloat(0.0), b.vfloat(1.0));
        // Not where it is NaN: the norm is, too.
        let there = b.fcmp(Cmp::Gt, all, one);
        let active = b.select(there, one, zero);
        let steps = b.int(STEPS);
        let out = b.repeat(steps, &[least, least, most, active], |b, _, state| {
            let times = any(b, state[3]);
            b.repeat(times, state, |b, _, state| {
                let (r, low, high, active) = (state[0], state[1], state[2], state[3]);
                let (zero, one) = (b.vfloat(0.0), b.vfloat(1.0));
                let [sum, slope] = self.secular(b, at, r, cut);
                let left = b.fcmp(Cmp::Ge, sum, one);
                let (low, high) = (b.select(left, r, low), b.select(left, high, r));
                let root = b.fun(FUn::Sqrt, sum);
                let gap = b.fbin(FBin::Sub, root, one);
                let step = b.fbin(FBin::Div, sum, slope);
                let newton = b.fma(gap, step, r);
                let (above, below) = (b.fcmp(Cmp::Le, low, newton), b.fcmp(Cmp::Le, newton, high));
                let inside = b.logic(LBin::And, above, below);
                let half = b.vfloat(0.5);
                let wide = b.fbin(FBin::Sub, high, low);
                let middle = b.fma(wide, half, low);
                let next = b.select(inside, newton, middle);
                let moved = b.fbin(FBin::Sub, next, r);
                let moved = b.fun(FUn::Abs, moved);
                let small = b.vfloat(1e-7);
                let small = b.fbin(FBin::Mul, small, r);
                let done = b.fcmp(Cmp::Le, moved, small);
                let still = b.select(done, zero, active);
                let idle = b.fcmp(Cmp::Eq, active, zero);
                vec![b.select(idle, r, next), low, high, still]
            })
        });
        b.select(there, out[0], zero)
    }

    fn apply(&self, b: &mut Builder, at: At, r: Val, cut: Val) {
        let zero = b.vfloat(0.0);
        let (gone, still) = (b.fcmp(Cmp::Eq, r, zero), b.fcmp(Cmp::Eq, cut, zero));
        self.change(b, &self.arrays[..2], at, &|b, x| {
            let scaled = b.fbin(FBin::Mul, x[1], r);
            let below = b.fbin(FBin::Add, scaled, cut);
            let f = b.fbin(FBin::Div, scaled, below);
            let y = b.fbin(FBin::Mul, x[0], f);
            let empty = b.fcmp(Cmp::Eq, x[0], zero);
            let nothing = b.logic(LBin::Or, gone, empty);
            let y = b.select(nothing, zero, y);
            b.select(still, x[0], y)
        });
    }
}
