//! What may follow the sums of random linear kernels.
use super::{Binder, U, f32_bytes};
use crate::ir::random::Rng;
use crate::math::erf;
use crate::templates::beside_name;
use spc_base::Bug;
use spc_ir::{Beside, ScalarExpr};

type Function = fn(f64, [f64; 3]) -> f64;

/// The text of what follows a sum, what it reads beside it, the same as a function, and its greatest slope.
type Row = (&'static str, &'static [Beside], Function, f64);

const R: Beside = Beside::Residual;
const C: Beside = Beside::Channel;
const S: Beside = Beside::Scalar;

const GELU: &str = "(mul (mul 0.5 a0) (add 1 (erf (mul a0 0.7071067811865476))))";

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Operands are within 2. Those that call functions run over what is stored, the others before.
const ROWS: [Row; 12] = [
    ("(max a0 0)", &[], |x, _| x.max(0.0), 1.0),
    (GELU, &[], |x, _| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)), 1.2),
    ("(div 1 (add 1 (exp (neg a0))))", &[], |x, _| sigmoid(x), 0.25),
    ("(select (lt a0 0) (mul a0 0.25) a0)", &[], |x, _| if x < 0.0 { 0.25 * x } else { x }, 1.0),
    ("(add a0 a1)", &[R], |x, [r, ..]| x + r, 1.0),
    ("(max (add a1 a0) 0)", &[R], |x, [r, ..]| (r + x).max(0.0), 1.0),
    ("(mul a0 a1)", &[C], |x, [c, ..]| x * c, 2.0),
    ("(add a1 (mul a2 a0))", &[R, C], |x, [r, c, _]| r + c * x, 2.0),
    ("(add (mul a1 a0) (mul a2 a3))", &[C, C, R], |x, [c, d, r]| c * x + d * r, 2.0),
    ("(sub (mul a1 a0) a2)", &[S, R], |x, [s, r, _]| s * x - r, 2.0),
    ("(mul (mul a0 (div 1 (add 1 (exp (neg a0))))) a1)", &[R], |x, [r, ..]| x * sigmoid(x) * r, 2.4),
    ("(add (mul (tanh a0) a1) a2)", &[C, R], |x, [c, r, _]| x.tanh() * c + r, 2.0),
];

/// What follows a sum, with the numbers that it reads.
pub(super) struct Ending {
    pub expr: ScalarExpr,
    pub beside: &'static [Beside],
    function: Function,
    slope: f64,
    operands: Vec<Vec<f32>>,
    rows: usize,
}

impl Ending {
    /// One for results of `tokens` tokens and `rows` outputs, or none.
    pub fn random(rng: &mut Rng, tokens: usize, rows: usize) -> Result<Option<Ending>, Bug> {
        let Some((text, beside, function, slope)) = ROWS.get(rng.below(ROWS.len() + 4)).copied() else {
            return Ok(None);
        };
        let mut operands = Vec::new();
        for kind in beside {
            let n = match kind {
                Beside::Residual => tokens * rows,
                Beside::Channel => rows,
                Beside::Scalar => 1,
            };
            operands.push((0..n).map(|_| (rng.below(4001) as f32 - 2000.0) / 1000.0).collect());
        }
        let expr = ScalarExpr::parse(text).map_err(Bug::new)?;
        Ok(Some(Ending { expr, beside, function, slope, operands, rows }))
    }

    /// Binds the operands; a result of `len` floats has token t, output o at `at(t, o)`, and nothing reads what lies between.
    pub fn bind(&self, b: &mut Binder, len: usize, at: &dyn Fn(usize, usize) -> usize) -> Result<(), Bug> {
        for (i, (kind, values)) in self.beside.iter().zip(&self.operands).enumerate() {
            let name = beside_name(i).ok_or_else(|| Bug::new("too many operands"))?;
            let mut stored = values.clone();
            if *kind == Beside::Residual {
                stored = vec![f32::NAN; len];
                for (i, v) in values.iter().enumerate() {
                    stored[at(i / self.rows, i % self.rows)] = *v;
                }
            }
            b.buffer(name, f32_bytes(&stored));
        }
        Ok(())
    }

    /// The result for a sum that is off by at most `error`, and how far off it may be.
    pub fn of(&self, sum: f64, error: f64, token: usize, output: usize) -> (f64, f64) {
        let mut args = [0.0; 3];
        for ((arg, kind), values) in args.iter_mut().zip(self.beside).zip(&self.operands) {
            *arg = f64::from(match kind {
                Beside::Residual => values[token * self.rows + output],
                Beside::Channel => values[output],
                Beside::Scalar => values[0],
            });
        }
        // A few roundings of its own.
        ((self.function)(sum, args), self.slope * error + 16.0 * U * (sum.abs() + 2.0))
    }
}
