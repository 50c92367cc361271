//! Optimisers for tests and for `spc step`.
use crate::Real;

/// A rule from gradients to steps. Weight decay is decoupled: `w -= rate * weight_decay * w`, beside the moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimiser {
    /// `b = momentum * b + g; w -= rate * b`. Without momentum there is no moment.
    Sgd { momentum: f64, weight_decay: f64 },
    /// Kingma and Ba 2014, arXiv 1412.6980; Loshchilov and Hutter 2017, arXiv 1711.05101.
    AdamW { beta1: f64, beta2: f64, eps: f64, weight_decay: f64 },
    /// The caller's own, between the two halves of a step. It remembers `moments` numbers for each weight, which the caller
    /// gives to the second half, since masks clear them. `square`: its step is divided by the root of moment 1, which is an
    /// average of squares that started at 0 with the run, by beta2, beside eps, as of Adam.
    Outside { moments: usize, square: Option<(f64, f64)> },
}

impl Optimiser {
    pub const SGD: Optimiser = Optimiser::Sgd { momentum: 0.0, weight_decay: 0.0 };
    pub const ADAM: Optimiser = Optimiser::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };

    /// Numbers that it remembers for each weight here, and not with the caller.
    pub fn moments(&self) -> usize {
        match self {
            Optimiser::Outside { .. } => 0,
            Optimiser::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            Optimiser::AdamW { .. } => 2,
        }
    }

    /// Numbers for each weight that masks clear, wherever they are kept.
    pub fn cleared(&self) -> usize {
        if let Optimiser::Outside { moments, .. } = self { *moments } else { self.moments() }
    }

    /// beta2 and eps, where moment 1 is an average of squares whose root divides steps.
    pub fn square(&self) -> Option<(f64, f64)> {
        match *self {
            Optimiser::AdamW { beta2, eps, .. } => Some((beta2, eps)),
            Optimiser::Outside { square, .. } => square,
            Optimiser::Sgd { .. } => None,
        }
    }

    /// What the step of each weight has been divided by after step `step`, which counts from 0: the diagonal of the metric in
    /// which the step is along the gradient. None where all have the same rate.
    pub fn diagonal<R: Real>(&self, step: u64, moments: &[Vec<R>]) -> Option<Vec<R>> {
        let ((beta2, eps), [_, square]) = (self.square()?, moments) else { return None };
        let fix = R::from_f64(1.0) - R::from_f64(beta2).pow(R::from_f64(step as f64 + 1.0));
        Some(square.iter().map(|v| (*v / fix).square_root() + R::from_f64(eps)).collect())
    }

    /// One step on one tensor; `step` counts from 0.
    pub(crate) fn step<R: Real>(&self, step: u64, rate: R, w: &mut [R], g: &[R], moments: &mut [Vec<R>]) {
        let r = R::from_f64;
        let one = r(1.0);
        match (*self, moments) {
            (Optimiser::Sgd { momentum, weight_decay }, moments) => {
                for (i, (w, g)) in w.iter_mut().zip(g).enumerate() {
                    let mut b = *g;
                    if let Some(m) = moments.first_mut().and_then(|m| m.get_mut(i)) {
                        b = r(momentum) * *m + *g;
                        *m = b;
                    }
                    *w = *w - rate * r(weight_decay) * *w - rate * b;
                }
            }
            (Optimiser::AdamW { beta1, beta2, eps, weight_decay }, [mean, square]) => {
                let t = r(step as f64 + 1.0);
                let (b1, b2) = (r(beta1), r(beta2));
                let (fix1, fix2) = (one - b1.pow(t), one - b2.pow(t));
                for (((w, g), m), v) in w.iter_mut().zip(g).zip(mean).zip(square) {
                    *m = b1 * *m + (one - b1) * *g;
                    *v = b2 * *v + (one - b2) * *g * *g;
                    let step = (*m / fix1) / ((*v / fix2).square_root() + r(eps));
                    *w = *w - rate * r(weight_decay) * *w - rate * step;
                }
            }
            // Moments are made in the right number by the updater.
            (Optimiser::AdamW { .. } | Optimiser::Outside { .. }, _) => {}
        }
    }
}
