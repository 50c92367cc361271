//! Schedules: pure functions of the step and of the length of the run.
use super::Ratio;
use crate::{BinFn, UnFn};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A point in time of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Share of the run that has passed, 0 to 1.
    pub progress: Ratio,
    /// Number of the step, from 0; known when the length is, or at the start.
    pub step: Option<u64>,
    /// Length of the run in steps.
    pub steps: Option<u64>,
}

impl Moment {
    /// The end of a run of unknown length: what deployment means.
    pub const END: Moment = Moment { progress: Ratio::ONE, step: None, steps: None };

    /// Step `step` of `steps`, counted from 0. `step` equal to `steps` is the end. None for a run of no steps, a step
    /// behind its end, or numbers beyond 2^62.
    pub fn step(step: u64, steps: u64) -> Option<Moment> {
        let within = step <= steps && steps < 1 << 62;
        let progress = Ratio::new(i128::from(step), i128::from(steps)).filter(|_| within)?;
        Some(Moment { progress, step: Some(step), steps: Some(steps) })
    }

    /// A share of the run, of unknown length. The share is clamped to 0..1.
    pub fn share(progress: Ratio) -> Moment {
        let progress = progress.clamp(Ratio::ZERO, Ratio::ONE);
        Moment { progress, step: if progress == Ratio::ZERO { Some(0) } else { None }, steps: None }
    }

    /// The same moment of a run of this length.
    #[must_use]
    pub fn of(self, steps: u64) -> Moment {
        let at =
            i128::from(self.progress.num()).checked_mul(i128::from(steps)).map(|n| n / i128::from(self.progress.den()));
        Moment { step: at.and_then(|n| u64::try_from(n).ok()), steps: Some(steps), ..self }
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Number,
    /// A share of some whole, written as a percentage.
    Share,
    /// A number of steps of a run.
    Steps,
    Truth,
}

/// A schedule's value at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    pub value: f64,
    /// The value as a fraction, where only exact arithmetic led to it.
    pub exact: Option<Ratio>,
    pub unit: Unit,
}

/// A schedule was asked for a step number at a moment of a run of unknown length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsLength;

/// An expression over time. Every function of [`UnFn`] and [`BinFn`] has its usual meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeExpr {
    Exact(Ratio),
    Value(#[serde(with = "super::serial::number")] f64),
    /// Number of the step, from 0.
    Step,
    /// Length of the run.
    Steps,
    /// Step by steps: 0 to 1.
    Progress,
    /// A parameter whose value is not known yet. Its value is NaN.
    Param(String),
    Un(UnFn, Box<TimeExpr>),
    Bin(BinFn, Box<TimeExpr>, Box<TimeExpr>),
    /// Only the branch that is taken is computed.
    If(Box<TimeExpr>, Box<TimeExpr>, Box<TimeExpr>),
}

/// A checked schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    pub expr: TimeExpr,
    pub unit: Unit,
}

/// A value with its exact form where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Num {
    value: f64,
    exact: Option<Ratio>,
}

impl Num {
    fn exact(r: Ratio) -> Num {
        Num { value: r.to_f64(), exact: Some(r) }
    }

    fn truth(b: bool) -> Num {
        Num::exact(if b { Ratio::ONE } else { Ratio::ZERO })
    }

    fn is_true(self) -> bool {
        self.value != 0.0
    }
}

impl TimeExpr {
    /// True when the value is the same at every moment of every run.
    pub fn is_constant(&self) -> bool {
        match self {
            TimeExpr::Exact(_) | TimeExpr::Value(_) => true,
            TimeExpr::Step | TimeExpr::Steps | TimeExpr::Progress | TimeExpr::Param(_) => false,
            TimeExpr::Un(_, a) => a.is_constant(),
            TimeExpr::Bin(_, a, b) => a.is_constant() && b.is_constant(),
            TimeExpr::If(c, a, b) => c.is_constant() && a.is_constant() && b.is_constant(),
        }
    }

    fn num(&self, m: &Moment) -> Result<Num, NeedsLength> {
        let count = |n: Option<u64>| {
            let n = n.and_then(|n| i64::try_from(n).ok()).ok_or(NeedsLength)?;
            Ok(Num::exact(Ratio::int(n)))
        };
        match self {
            TimeExpr::Exact(r) => Ok(Num::exact(*r)),
            TimeExpr::Value(value) => Ok(Num { value: *value, exact: None }),
            TimeExpr::Step => count(m.step),
            TimeExpr::Steps => count(m.steps),
            TimeExpr::Progress => Ok(Num::exact(m.progress)),
            TimeExpr::Param(_) => Ok(Num { value: f64::NAN, exact: None }),
            TimeExpr::Un(f, a) => Ok(unary(*f, a.num(m)?)),
            TimeExpr::Bin(f @ (BinFn::And | BinFn::Or), a, b) => {
                let a = a.num(m)?;
                if a.is_true() == (*f == BinFn::Or) { Ok(a) } else { b.num(m) }
            }
            TimeExpr::Bin(BinFn::Mul, a, b) => {
                // A share of nothing is nothing, however long the run is.
                let a = a.num(m)?;
                match b.num(m) {
                    Ok(b) => Ok(binary(BinFn::Mul, a, b)),
                    Err(_) if a.exact == Some(Ratio::ZERO) => Ok(a),
                    Err(e) => Err(e),
                }
            }
            TimeExpr::Bin(f, a, b) => Ok(binary(*f, a.num(m)?, b.num(m)?)),
            TimeExpr::If(c, a, b) => {
                if c.num(m)?.is_true() {
                    a.num(m)
                } else {
                    b.num(m)
                }
            }
        }
    }
}

fn unary(f: UnFn, a: Num) -> Num {
    let v = a.value;
    let value = match f {
        UnFn::Neg => -v,
        UnFn::Abs => v.abs(),
        UnFn::Sqrt => v.sqrt(),
        UnFn::Exp => v.exp(),
        UnFn::Log => v.ln(),
        UnFn::Tanh => v.tanh(),
        UnFn::Sin => v.sin(),
        UnFn::Cos => v.cos(),
        UnFn::Floor => v.floor(),
        UnFn::Not => return Num::truth(!a.is_true()),
        // No schedule can be written with another function; the checker offers only those above.
        _ => f64::NAN,
    };
    let exact = a.exact.and_then(|r| match f {
        UnFn::Neg => r.checked_neg(),
        UnFn::Abs => {
            if r < Ratio::ZERO {
                r.checked_neg()
            } else {
                Some(r)
            }
        }
        UnFn::Floor => Some(r.floor()),
        UnFn::Exp | UnFn::Cos if r == Ratio::ZERO => Some(Ratio::ONE),
        _ => None,
    });
    exact.map_or(Num { value, exact: None }, Num::exact)
}

fn binary(f: BinFn, a: Num, b: Num) -> Num {
    let (x, y) = (a.value, b.value);
    let both = a.exact.zip(b.exact);
    let order = match both {
        Some((a, b)) => Some(a.cmp(&b)),
        None => x.partial_cmp(&y),
    };
    if f.is_comparison() {
        return Num::truth(match f {
            BinFn::Lt => order.is_some_and(|o| o.is_lt()),
            BinFn::Le => order.is_some_and(|o| o.is_le()),
            BinFn::Gt => order.is_some_and(|o| o.is_gt()),
            BinFn::Ge => order.is_some_and(|o| o.is_ge()),
            BinFn::Eq => order.is_some_and(|o| o.is_eq()),
            _ => !order.is_some_and(|o| o.is_eq()),
        });
    }
    let value = match f {
        BinFn::Add => x + y,
        BinFn::Sub => x - y,
        BinFn::Mul => x * y,
        BinFn::Div => x / y,
        BinFn::Pow => x.powf(y),
        BinFn::Max => return if order.is_some_and(|o| o.is_lt()) { b } else { a },
        BinFn::Min => return if order.is_some_and(|o| o.is_gt()) { b } else { a },
        _ => f64::NAN,
    };
    let exact = both.and_then(|(a, b)| match f {
        BinFn::Add => a.checked_add(b),
        BinFn::Sub => a.checked_sub(b),
        BinFn::Mul => a.checked_mul(b),
        BinFn::Div => a.checked_div(b),
        BinFn::Pow if b.is_int() => a.checked_pow(b.num()),
        _ => None,
    });
    // 0 times any number is exactly 0.
    let nothing = f == BinFn::Mul && (a.exact == Some(Ratio::ZERO) || b.exact == Some(Ratio::ZERO)) && value == 0.0;
    match exact {
        Some(r) => Num::exact(r),
        None if nothing => Num::exact(Ratio::ZERO),
        None => Num { value, exact: None },
    }
}

impl Schedule {
    /// Always this number.
    pub fn constant(value: f64) -> Schedule {
        Schedule { expr: TimeExpr::Value(value), unit: Unit::Number }
    }

    /// The value at a moment.
    ///
    /// # Errors
    /// When a step number is needed and the moment has none.
    pub fn at(&self, m: &Moment) -> Result<Quantity, NeedsLength> {
        let n = self.expr.num(m)?;
        Ok(Quantity { value: n.value, exact: n.exact, unit: self.unit })
    }

    /// True when the value is smaller at some moment than at the end: the end is not the tightest. Looked for at 200
    /// moments, in a run of 1000 steps where a length is needed.
    pub fn is_loosened_at_the_end(&self) -> bool {
        let at = |m: Moment| self.at(&m).ok().or_else(|| self.at(&m.of(1000)).ok()).map(|q| q.value);
        let Some(end) = at(Moment::END) else { return false };
        let earlier = (0..200).filter_map(|i| Ratio::new(i, 200)).filter_map(|r| at(Moment::share(r)));
        earlier.into_iter().any(|v| v < end * (1.0 - 1e-9))
    }
}

impl fmt::Display for TimeExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeExpr::Exact(r) => write!(f, "{r}"),
            TimeExpr::Value(v) => write!(f, "{v}"),
            TimeExpr::Step => f.write_str("step"),
            TimeExpr::Steps => f.write_str("steps"),
            TimeExpr::Progress => f.write_str("progress"),
            TimeExpr::Param(p) => f.write_str(p),
            TimeExpr::Un(u, a) => write!(f, "({} {a})", u.name()),
            TimeExpr::Bin(o, a, b) => write!(f, "({} {a} {b})", o.name()),
            TimeExpr::If(c, a, b) => write!(f, "(if {c} {a} {b})"),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}
