//! Numbers of a step: learning rate, schedules, and what is computed from them before the passes run.
use spc_base::Bug;
use spc_interp::Real;
use spc_ir::method::{Input, Moment};
use spc_ir::{BinFn, DType, ScalarExpr, UnFn};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Number {
    Input(Input, bool),
    /// The learning rate of a tensor.
    Rate(usize),
    Constant(f64),
    Expr(ScalarExpr, Vec<usize>),
    /// Corrections of Adam's moments: 1 - beta^t.
    Correction(f64),
    /// How many of each M a constraint keeps.
    Keep(usize, bool, u64),
    /// Set while the step runs.
    Slot,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub list: Vec<Number>,
}

impl Numbers {
    pub fn add(&mut self, n: Number) -> usize {
        if n != Number::Slot
            && let Some(i) = self.list.iter().position(|m| *m == n)
        {
            return i;
        }
        self.list.push(n);
        self.list.len() - 1
    }

    pub fn input(&mut self, i: &Input, next: bool) -> usize {
        self.add(Number::Input(i.clone(), next))
    }

    pub fn constant(&mut self, c: f64) -> usize {
        self.add(Number::Constant(c))
    }

    pub fn expr(&mut self, e: ScalarExpr, args: Vec<usize>) -> usize {
        self.add(Number::Expr(e, args))
    }

    pub fn slot(&mut self) -> usize {
        self.add(Number::Slot)
    }
}

/// What numbers are made of.
pub(super) struct Now<'a> {
    pub moment: Moment,
    pub next: Moment,
    /// Of each tensor.
    pub rates: &'a [f32],
    pub keep: &'a dyn Fn(usize, bool, u64) -> Result<f64, Bug>,
}

impl Now<'_> {
    /// All numbers; slots keep what they have.
    pub fn fill(&self, defs: &[Number], out: &mut Vec<f32>) -> Result<(), Bug> {
        out.resize(defs.len(), 0.0);
        for (i, d) in defs.iter().enumerate() {
            out[i] = match d {
                Number::Slot => continue,
                Number::Constant(c) => *c as f32,
                Number::Rate(t) => *self.rates.get(*t).ok_or_else(|| Bug::new("a rate of no tensor"))?,
                Number::Input(input, next) => self.input(input, if *next { &self.next } else { &self.moment })?,
                Number::Correction(beta) => {
                    let t = self.moment.step.unwrap_or(0) as f32 + 1.0;
                    1.0 - Real::pow(*beta as f32, t)
                }
                Number::Keep(r, next, m) => (self.keep)(*r, *next, *m)? as f32,
                Number::Expr(e, args) => {
                    let args: Vec<f32> = args.iter().map(|a| out.get(*a).copied().unwrap_or(f32::NAN)).collect();
                    scalar(e, &args)?
                }
            };
        }
        Ok(())
    }

    fn input(&self, i: &Input, m: &Moment) -> Result<f32, Bug> {
        Ok(match i {
            Input::Step => m.step.unwrap_or(0) as f32,
            Input::Steps => m.steps.unwrap_or(0) as f32,
            Input::Progress => m.progress.to_f64() as f32,
            Input::Schedule(s) => s.at(m).map_err(|_| Bug::new("a step without the length of its run"))?.value as f32,
            _ => return Err(Bug::new("no number of a step")),
        })
    }
}

/// An expression of numbers.
fn scalar(e: &ScalarExpr, args: &[f32]) -> Result<f32, Bug> {
    let odd = || Bug::new(format!("`{e}` is no number of a step"));
    Ok(match e {
        ScalarExpr::Arg(i) => args.get(usize::from(*i)).copied().ok_or_else(odd)?,
        ScalarExpr::Const(c) => *c as f32,
        ScalarExpr::Cast(DType::F32 | DType::Bool, a) => scalar(a, args)?,
        ScalarExpr::Cast(..) => return Err(odd()),
        ScalarExpr::Select(c, a, b) => {
            if scalar(c, args)? != 0.0 {
                scalar(a, args)?
            } else {
                scalar(b, args)?
            }
        }
        ScalarExpr::Un(f, a) => {
            let a = scalar(a, args)?;
            match f {
                UnFn::Neg => -a,
                UnFn::Abs => a.abs(),
                UnFn::Sqrt => a.sqrt(),
                UnFn::Exp => Real::exp(a),
                UnFn::Log => Real::ln(a),
                UnFn::Erf => Real::erf(a),
                UnFn::Tanh => Real::tanh(a),
                UnFn::Sin => Real::sin(a),
                UnFn::Cos => Real::cos(a),
                UnFn::Floor => a.floor(),
                UnFn::Not => f32::from(u8::from(a == 0.0)),
            }
        }
        ScalarExpr::Bin(f, a, b) => {
            let (a, b) = (scalar(a, args)?, scalar(b, args)?);
            let truth = |t: bool| f32::from(u8::from(t));
            match f {
                BinFn::Add => a + b,
                BinFn::Sub => a - b,
                BinFn::Mul => a * b,
                BinFn::Div => a / b,
                BinFn::Max => Real::maximum(a, b),
                BinFn::Min => Real::minimum(a, b),
                BinFn::Pow => Real::pow(a, b),
                BinFn::Lt => truth(a < b),
                BinFn::Le => truth(a <= b),
                BinFn::Gt => truth(a > b),
                BinFn::Ge => truth(a >= b),
                BinFn::Eq => truth(a == b),
                BinFn::Ne => truth(a != b),
                BinFn::And => truth(a != 0.0 && b != 0.0),
                BinFn::Or => truth(a != 0.0 || b != 0.0),
            }
        }
    })
}
