//! Pointwise expressions ([`ScalarExpr`]) as loop IR. Values are f32 as `f32` or `vf32`, i32 as sign-extended `i64`, bool
//! as `bool` or `vbool`.
use super::functions::function;
use crate::ir::{Bits, Builder, Cmp, FBin, FUn, IBin, LBin, Op, Val};
use crate::math::MathFn;
use spc_base::Bug;
use spc_ir::{BinFn, DType, ScalarExpr, UnFn};

/// True if the expression can be computed lane by lane: arguments are f32 or bool and no i32 occurs.
pub fn vectorises(e: &ScalarExpr, args: &[DType]) -> bool {
    let types_fit = match e {
        ScalarExpr::Arg(n) => matches!(args.get(usize::from(*n)), Some(DType::F32 | DType::Bool)),
        ScalarExpr::Cast(t, _) => *t != DType::I32,
        _ => true,
    };
    types_fit && e.children().into_iter().all(|c| vectorises(c, args))
}

/// True if the expression has a function that is called or a long sequence, so that it should be emitted once and in a loop
/// of its own.
pub fn calls(e: &ScalarExpr) -> bool {
    let own = match e {
        ScalarExpr::Un(f, _) => math_fn(*f).is_some(),
        ScalarExpr::Bin(f, ..) => *f == BinFn::Pow,
        _ => false,
    };
    own || e.children().into_iter().any(calls)
}

fn math_fn(f: UnFn) -> Option<MathFn> {
    Some(match f {
        UnFn::Exp => MathFn::Exp,
        UnFn::Log => MathFn::Log,
        UnFn::Erf => MathFn::Erf,
        UnFn::Tanh => MathFn::Tanh,
        UnFn::Sin => MathFn::Sin,
        UnFn::Cos => MathFn::Cos,
        UnFn::Neg | UnFn::Abs | UnFn::Sqrt | UnFn::Floor | UnFn::Not => return None,
    })
}

/// Emits an expression over arguments that are values of the kernel being built.
pub struct Emitter<'a> {
    pub args: &'a [Val],
    pub types: &'a [DType],
    /// Vectors instead of scalars; needs [`vectorises`].
    pub vector: bool,
}

impl Emitter<'_> {
    fn own(&self, e: &ScalarExpr) -> Result<Option<DType>, Bug> {
        e.dtype(self.types).map_err(Bug::new)
    }

    /// `e` as a value of type `t`.
    pub fn emit(&self, b: &mut Builder, e: &ScalarExpr, t: DType) -> Result<Val, Bug> {
        if self.own(e)?.is_some_and(|own| own != t) {
            return Err(Bug::new(format!("`{e}` is no expression of type {t}")));
        }
        match e {
            ScalarExpr::Arg(n) => {
                let v = self.args.get(usize::from(*n)).copied();
                v.ok_or_else(|| Bug::new(format!("no argument a{n}")))
            }
            ScalarExpr::Const(c) => Ok(self.constant(b, *c, t)),
            ScalarExpr::Select(c, x, y) => {
                let c = self.emit(b, c, DType::Bool)?;
                let (x, y) = (self.emit(b, x, t)?, self.emit(b, y, t)?);
                Ok(b.select(c, x, y))
            }
            ScalarExpr::Cast(_, a) => {
                let from = self.own(a)?.unwrap_or(if t == DType::Bool { DType::F32 } else { t });
                let from = if t == DType::I32 && self.own(a)?.is_none() { DType::F32 } else { from };
                let v = self.emit(b, a, from)?;
                Ok(self.cast(b, v, from, t))
            }
            ScalarExpr::Un(UnFn::Not, a) => {
                let a = self.emit(b, a, DType::Bool)?;
                Ok(b.op(Op::Not(a)))
            }
            ScalarExpr::Un(f, a) => match t {
                DType::F32 => {
                    let a = self.emit(b, a, t)?;
                    Ok(self.float_un(b, *f, a))
                }
                DType::I32 if matches!(f, UnFn::Neg | UnFn::Abs) => {
                    let a = self.emit(b, a, t)?;
                    let zero = b.int(0);
                    let negative = b.isub(zero, a);
                    let v = if *f == UnFn::Abs { b.ibin(IBin::Max, a, negative) } else { negative };
                    Ok(b.op(Op::Wrap32(v)))
                }
                // A function of literals that only floats have.
                _ => self.through_float(b, e, t),
            },
            ScalarExpr::Bin(f, x, y) if f.is_logic() => {
                let (x, y) = (self.emit(b, x, DType::Bool)?, self.emit(b, y, DType::Bool)?);
                Ok(b.logic(if *f == BinFn::And { LBin::And } else { LBin::Or }, x, y))
            }
            ScalarExpr::Bin(f, x, y) if f.is_comparison() => self.compare(b, *f, x, y),
            ScalarExpr::Bin(f, x, y) => match t {
                DType::F32 => {
                    let (x, y) = (self.emit(b, x, t)?, self.emit(b, y, t)?);
                    float_bin(b, *f, x, y)
                }
                DType::I32 => {
                    let (x, y) = (self.emit(b, x, t)?, self.emit(b, y, t)?);
                    int_bin(b, *f, x, y)
                }
                DType::Bool => self.through_float(b, e, t),
            },
        }
    }

    fn through_float(&self, b: &mut Builder, e: &ScalarExpr, t: DType) -> Result<Val, Bug> {
        let v = self.emit(b, e, DType::F32)?;
        Ok(self.cast(b, v, DType::F32, t))
    }

    fn constant(&self, b: &mut Builder, c: f64, t: DType) -> Val {
        match t {
            DType::F32 => self.float(b, c as f32),
            DType::I32 => b.int(i64::from(c as i32)),
            DType::Bool => {
                let v = b.op(Op::Bool(c != 0.0));
                if self.vector { b.splat(v) } else { v }
            }
        }
    }

    fn float(&self, b: &mut Builder, c: f32) -> Val {
        b.op(if self.vector { Op::VFloat(Bits::of(c)) } else { Op::Float(Bits::of(c)) })
    }

    fn cast(&self, b: &mut Builder, v: Val, from: DType, to: DType) -> Val {
        match (from, to) {
            (DType::F32, DType::F32) | (DType::I32, DType::I32) | (DType::Bool, DType::Bool) => v,
            (DType::I32, DType::F32) => b.op(Op::IToF(v)),
            (DType::Bool, DType::F32) => {
                let (one, zero) = (self.float(b, 1.0), self.float(b, 0.0));
                b.select(v, one, zero)
            }
            (DType::F32, DType::I32) => {
                let wide = b.op(Op::FToI(v));
                let (low, high) = (b.int(i64::from(i32::MIN)), b.int(i64::from(i32::MAX)));
                let v = b.ibin(IBin::Max, wide, low);
                b.ibin(IBin::Min, v, high)
            }
            (DType::Bool, DType::I32) => {
                let (one, zero) = (b.int(1), b.int(0));
                b.select(v, one, zero)
            }
            (DType::F32, DType::Bool) => {
                let zero = self.float(b, 0.0);
                b.fcmp(Cmp::Ne, v, zero)
            }
            (DType::I32, DType::Bool) => {
                let zero = b.int(0);
                b.icmp(Cmp::Ne, v, zero)
            }
        }
    }

    fn float_un(&self, b: &mut Builder, f: UnFn, a: Val) -> Val {
        match f {
            UnFn::Neg => b.fun(FUn::Neg, a),
            UnFn::Abs => b.fun(FUn::Abs, a),
            UnFn::Sqrt => b.fun(FUn::Sqrt, a),
            UnFn::Floor => b.fun(FUn::Floor, a),
            _ => match math_fn(f) {
                Some(m) => function(b, m, a).unwrap_or_else(|| b.math(m, a, None)),
                None => a,
            },
        }
    }

    fn compare(&self, b: &mut Builder, f: BinFn, x: &ScalarExpr, y: &ScalarExpr) -> Result<Val, Bug> {
        let own = self.own(x)?;
        let t = own.or(self.own(y)?).unwrap_or(DType::F32);
        let (x, y) = (self.emit(b, x, t)?, self.emit(b, y, t)?);
        let c = match f {
            BinFn::Lt => Cmp::Lt,
            BinFn::Le => Cmp::Le,
            BinFn::Gt => Cmp::Gt,
            BinFn::Ge => Cmp::Ge,
            BinFn::Eq => Cmp::Eq,
            _ => Cmp::Ne,
        };
        Ok(match t {
            DType::F32 => b.fcmp(c, x, y),
            DType::I32 => b.icmp(c, x, y),
            DType::Bool => {
                let both = b.logic(LBin::And, x, y);
                let some = b.logic(LBin::Or, x, y);
                let none = b.op(Op::Not(some));
                let equal = b.logic(LBin::Or, both, none);
                if c == Cmp::Eq { equal } else { b.op(Op::Not(equal)) }
            }
        })
    }
}

fn float_bin(b: &mut Builder, f: BinFn, x: Val, y: Val) -> Result<Val, Bug> {
    let f = match f {
        BinFn::Add => FBin::Add,
        BinFn::Sub => FBin::Sub,
        BinFn::Mul => FBin::Mul,
        BinFn::Div => FBin::Div,
        BinFn::Max => FBin::Max,
        BinFn::Min => FBin::Min,
        BinFn::Pow => return Ok(b.math(MathFn::Pow, x, Some(y))),
        _ => return Err(Bug::new(format!("{} is no function of floats", f.name()))),
    };
    Ok(b.fbin(f, x, y))
}

fn int_bin(b: &mut Builder, f: BinFn, x: Val, y: Val) -> Result<Val, Bug> {
    let f = match f {
        BinFn::Add => IBin::Add,
        BinFn::Sub => IBin::Sub,
        BinFn::Mul => IBin::Mul,
        BinFn::Div => IBin::Div,
        BinFn::Max => IBin::Max,
        BinFn::Min => IBin::Min,
        BinFn::Pow => return Ok(int_pow(b, x, y)),
        _ => return Err(Bug::new(format!("{} is no function of integers", f.name()))),
    };
    let v = b.ibin(f, x, y);
    Ok(b.op(Op::Wrap32(v)))
}

/// Wrapping power by repeated squaring. A negative power is the reciprocal, truncated: 0 unless the base is 1 or -1.
fn int_pow(b: &mut Builder, base: Val, e: Val) -> Val {
    let (one, zero, rounds) = (b.int(1), b.int(0), b.int(31));
    let r = b.repeat(rounds, &[one, base, e], |b, _, s| {
        let bit = b.ibin(IBin::And, s[2], one);
        let odd = b.icmp(Cmp::Eq, bit, one);
        let with = b.imul(s[0], s[1]);
        let with = b.op(Op::Wrap32(with));
        let result = b.select(odd, with, s[0]);
        let square = b.imul(s[1], s[1]);
        let square = b.op(Op::Wrap32(square));
        vec![result, square, b.op(Op::Shr(s[2], 1))]
    });
    // For a negative power: 1 to any power is 1, -1 to an odd power is -1 and to an even one 1.
    let minus = b.int(-1);
    let bit = b.ibin(IBin::And, e, one);
    let odd = b.icmp(Cmp::Eq, bit, one);
    let of_minus = b.select(odd, minus, one);
    let is_minus = b.icmp(Cmp::Eq, base, minus);
    let is_one = b.icmp(Cmp::Eq, base, one);
    let other = b.select(is_one, one, zero);
    let negative = b.select(is_minus, of_minus, other);
    let below = b.icmp(Cmp::Lt, e, zero);
    b.select(below, negative, r[0])
}
