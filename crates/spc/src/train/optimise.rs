//! The optimiser's step, and the metric that it makes.
use super::number::{Number, Numbers};
use super::program::Builder;
use super::work::{Ref, Work};
use spc_interp::method::Optimiser;
use spc_ir::method::Metric;
use spc_ir::{BinFn, DType, ScalarExpr as S, UnFn};
use spc_kernel::update::NodeId;

impl Builder<'_> {
    /// As the optimiser of the reference interpreter, operation by operation.
    pub(super) fn optimise(&mut self, t: usize, g: NodeId) {
        let rate = self.numbers.add(Number::Rate(t));
        let (dense, numbers, w) = (self.dense(t), &mut self.numbers, &mut self.works[t]);
        let bin = |w: &mut Work, f, a, b| w.map(S::bin(f, S::Arg(0), S::Arg(1)), vec![a, b], DType::F32);
        let (lr, x) = (w.number(rate), w.get(&dense));
        let decayed = |w: &mut Work, numbers: &mut Numbers, decay: f64, step: NodeId| {
            let by = numbers.constant(decay);
            let by = numbers.expr(S::bin(BinFn::Mul, S::Arg(0), S::Arg(1)), vec![rate, by]);
            let by = w.number(by);
            let lost = bin(w, BinFn::Mul, by, x);
            let left = bin(w, BinFn::Sub, x, lost);
            let step = bin(w, BinFn::Mul, lr, step);
            bin(w, BinFn::Sub, left, step)
        };
        let new = match self.core.optimiser {
            // It moves them between the two halves of a step.
            Optimiser::Outside { .. } => return,
            Optimiser::Sgd { momentum, weight_decay } => {
                let mut b = g;
                if momentum != 0.0 {
                    let (r, m) = (Ref::Moment(0, t), w.constant(momentum));
                    let old = w.get(&r);
                    let kept = bin(w, BinFn::Mul, m, old);
                    b = bin(w, BinFn::Add, kept, g);
                    w.set(&r, b);
                }
                decayed(w, numbers, weight_decay, b)
            }
            Optimiser::AdamW { beta1, beta2, eps, weight_decay } => {
                self.scaled[t] = true;
                let (first, second) = (Ref::Moment(0, t), Ref::Moment(1, t));
                let ema = |w: &mut Work, beta: f64, r: &Ref, square: bool| {
                    let old = w.get(r);
                    let (b, rest) = (w.constant(beta), w.constant(f64::from(1.0 - beta as f32)));
                    let kept = bin(w, BinFn::Mul, b, old);
                    let mut new = bin(w, BinFn::Mul, rest, g);
                    if square {
                        new = bin(w, BinFn::Mul, new, g);
                    }
                    let sum = bin(w, BinFn::Add, kept, new);
                    w.set(r, sum);
                    sum
                };
                let (m, v) = (ema(w, beta1, &first, false), ema(w, beta2, &second, true));
                let fix = [beta1, beta2].map(|b| numbers.add(Number::Correction(b)));
                let (f1, f2) = (w.number(fix[0]), w.number(fix[1]));
                let (m, v) = (bin(w, BinFn::Div, m, f1), bin(w, BinFn::Div, v, f2));
                let root = w.map(S::un(UnFn::Sqrt, S::Arg(0)), vec![v], DType::F32);
                let eps = w.constant(eps);
                let below = bin(w, BinFn::Add, root, eps);
                let step = bin(w, BinFn::Div, m, below);
                decayed(w, numbers, weight_decay, step)
            }
        };
        w.set(&dense, new);
    }

    /// What the optimiser divides the step of each weight by, where a prox is to be in that metric.
    pub(super) fn diagonal(&mut self, t: usize, metric: Metric) -> Option<NodeId> {
        let known = metric == Metric::Optimiser && self.scaled.get(t) == Some(&true);
        let (beta2, eps) = self.core.optimiser.square().filter(|_| known)?;
        let fix = self.numbers.add(Number::Correction(beta2));
        let w = &mut self.works[t];
        let (v, fix, eps) = (w.get(&Ref::Moment(1, t)), w.number(fix), w.constant(eps));
        let v = w.map(S::bin(BinFn::Div, S::Arg(0), S::Arg(1)), vec![v, fix], DType::F32);
        let root = w.map(S::un(UnFn::Sqrt, S::Arg(0)), vec![v], DType::F32);
        Some(w.map(S::bin(BinFn::Add, S::Arg(0), S::Arg(1)), vec![root, eps], DType::F32))
    }
}
