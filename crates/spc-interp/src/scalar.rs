//! Scalar expressions with every type decided, ready to be evaluated element by element.
//!
//! One tree type for each element type, with functions as pointers: an expression that was compiled cannot meet a value
//! of the wrong type.
use crate::Real;
use spc_base::Bug;
use spc_ir::{BinFn, DType, ScalarExpr, UnFn};

/// One operand: its elements, in the slice of its type; the others are empty.
pub(crate) struct Column<'a, R> {
    pub f: &'a [R],
    pub i: &'a [i32],
    pub b: &'a [bool],
}

/// Operands, and which element of each is meant.
pub(crate) struct Args<'a, 'b, R> {
    pub columns: &'b [Column<'a, R>],
    pub at: &'b [usize],
}

/// A float expression.
pub(crate) enum Float<R> {
    Arg(usize),
    Literal(R),
    Un(fn(R) -> R, Box<Float<R>>),
    Bin(fn(R, R) -> R, Box<Float<R>>, Box<Float<R>>),
    Select(Box<Truth<R>>, Box<Float<R>>, Box<Float<R>>),
    FromInt(Box<Int<R>>),
    FromTruth(Box<Truth<R>>),
}

/// An i32 expression.
pub(crate) enum Int<R> {
    Arg(usize),
    Literal(i32),
    Un(fn(i32) -> i32, Box<Int<R>>),
    Bin(fn(i32, i32) -> i32, Box<Int<R>>, Box<Int<R>>),
    Select(Box<Truth<R>>, Box<Int<R>>, Box<Int<R>>),
    FromFloat(Box<Float<R>>),
    FromTruth(Box<Truth<R>>),
}

/// A bool expression.
pub(crate) enum Truth<R> {
    Arg(usize),
    Literal(bool),
    Not(Box<Truth<R>>),
    Bin(fn(bool, bool) -> bool, Box<Truth<R>>, Box<Truth<R>>),
    OfFloats(fn(R, R) -> bool, Box<Float<R>>, Box<Float<R>>),
    OfInts(fn(i32, i32) -> bool, Box<Int<R>>, Box<Int<R>>),
    Select(Box<Truth<R>>, Box<Truth<R>>, Box<Truth<R>>),
    FromFloat(Box<Float<R>>),
    FromInt(Box<Int<R>>),
}

impl<R: Real> Float<R> {
    pub fn eval(&self, x: &Args<R>) -> R {
        match self {
            Float::Arg(n) => x.columns[*n].f[x.at[*n]],
            Float::Literal(v) => *v,
            Float::Un(f, a) => f(a.eval(x)),
            Float::Bin(f, a, b) => f(a.eval(x), b.eval(x)),
            Float::Select(c, a, b) => (if c.eval(x) { a } else { b }).eval(x),
            // An i32 becomes the nearest f32 in either precision.
            Float::FromInt(a) => R::from_f32(a.eval(x) as f32),
            Float::FromTruth(a) => R::from_f32(f32::from(u8::from(a.eval(x)))),
        }
    }
}

impl<R: Real> Int<R> {
    pub fn eval(&self, x: &Args<R>) -> i32 {
        match self {
            Int::Arg(n) => x.columns[*n].i[x.at[*n]],
            Int::Literal(v) => *v,
            Int::Un(f, a) => f(a.eval(x)),
            Int::Bin(f, a, b) => f(a.eval(x), b.eval(x)),
            Int::Select(c, a, b) => (if c.eval(x) { a } else { b }).eval(x),
            Int::FromFloat(a) => a.eval(x).to_i32(),
            Int::FromTruth(a) => i32::from(a.eval(x)),
        }
    }
}

impl<R: Real> Truth<R> {
    pub fn eval(&self, x: &Args<R>) -> bool {
        match self {
            Truth::Arg(n) => x.columns[*n].b[x.at[*n]],
            Truth::Literal(v) => *v,
            Truth::Not(a) => !a.eval(x),
            Truth::Bin(f, a, b) => f(a.eval(x), b.eval(x)),
            Truth::OfFloats(f, a, b) => f(a.eval(x), b.eval(x)),
            Truth::OfInts(f, a, b) => f(a.eval(x), b.eval(x)),
            Truth::Select(c, a, b) => (if c.eval(x) { a } else { b }).eval(x),
            Truth::FromFloat(a) => a.eval(x) != R::ZERO,
            Truth::FromInt(a) => a.eval(x) != 0,
        }
    }
}

/// The type of an expression: its own, or for one of literals only that of the context.
fn own(e: &ScalarExpr, args: &[DType]) -> Result<Option<DType>, Bug> {
    e.dtype(args).map_err(Bug::new)
}

fn no(e: &ScalarExpr, t: DType) -> Bug {
    Bug::new(format!("`{e}` is no expression of type {t}"))
}

fn fits(e: &ScalarExpr, args: &[DType], t: DType) -> Result<(), Bug> {
    if own(e, args)?.is_none_or(|o| o == t) { Ok(()) } else { Err(no(e, t)) }
}

/// `e` as a float expression, over arguments of these types.
pub(crate) fn float<R: Real>(e: &ScalarExpr, args: &[DType]) -> Result<Float<R>, Bug> {
    fits(e, args, DType::F32)?;
    let sub = |e: &ScalarExpr| float::<R>(e, args).map(Box::new);
    Ok(match e {
        ScalarExpr::Arg(n) => Float::Arg(usize::from(*n)),
        // Literals are f32 values in either precision.
        ScalarExpr::Const(c) => Float::Literal(R::from_f32(*c as f32)),
        ScalarExpr::Un(f, a) => Float::Un(float_un(*f).ok_or_else(|| no(e, DType::F32))?, sub(a)?),
        ScalarExpr::Bin(f, a, b) => Float::Bin(float_bin(*f).ok_or_else(|| no(e, DType::F32))?, sub(a)?, sub(b)?),
        ScalarExpr::Select(c, a, b) => Float::Select(Box::new(truth(c, args)?), sub(a)?, sub(b)?),
        ScalarExpr::Cast(_, a) => match own(a, args)? {
            Some(DType::I32) => Float::FromInt(Box::new(int(a, args)?)),
            Some(DType::Bool) => Float::FromTruth(Box::new(truth(a, args)?)),
            Some(DType::F32) | None => float(a, args)?,
        },
    })
}

/// `e` as an i32 expression.
pub(crate) fn int<R: Real>(e: &ScalarExpr, args: &[DType]) -> Result<Int<R>, Bug> {
    fits(e, args, DType::I32)?;
    let sub = |e: &ScalarExpr| int::<R>(e, args).map(Box::new);
    Ok(match e {
        ScalarExpr::Arg(n) => Int::Arg(usize::from(*n)),
        ScalarExpr::Const(c) => Int::Literal(*c as i32),
        ScalarExpr::Un(UnFn::Neg, a) => Int::Un(i32::wrapping_neg, sub(a)?),
        ScalarExpr::Un(UnFn::Abs, a) => Int::Un(i32::wrapping_abs, sub(a)?),
        // A function of literals that only floats have.
        ScalarExpr::Un(..) => Int::FromFloat(Box::new(float(e, args)?)),
        ScalarExpr::Bin(f, a, b) => Int::Bin(int_bin(*f).ok_or_else(|| no(e, DType::I32))?, sub(a)?, sub(b)?),
        ScalarExpr::Select(c, a, b) => Int::Select(Box::new(truth(c, args)?), sub(a)?, sub(b)?),
        ScalarExpr::Cast(_, a) => match own(a, args)? {
            Some(DType::I32) => int(a, args)?,
            Some(DType::Bool) => Int::FromTruth(Box::new(truth(a, args)?)),
            Some(DType::F32) | None => Int::FromFloat(Box::new(float(a, args)?)),
        },
    })
}

/// `e` as a bool expression.
pub(crate) fn truth<R: Real>(e: &ScalarExpr, args: &[DType]) -> Result<Truth<R>, Bug> {
    fits(e, args, DType::Bool)?;
    let sub = |e: &ScalarExpr| truth::<R>(e, args).map(Box::new);
    Ok(match e {
        ScalarExpr::Arg(n) => Truth::Arg(usize::from(*n)),
        ScalarExpr::Const(c) => Truth::Literal(*c != 0.0),
        ScalarExpr::Un(UnFn::Not, a) => Truth::Not(sub(a)?),
        ScalarExpr::Bin(BinFn::And, a, b) => Truth::Bin(|a, b| a & b, sub(a)?, sub(b)?),
        ScalarExpr::Bin(BinFn::Or, a, b) => Truth::Bin(|a, b| a | b, sub(a)?, sub(b)?),
        ScalarExpr::Bin(f, a, b) if f.is_comparison() => match own(a, args)?.or(own(b, args)?) {
            Some(DType::Bool) if *f == BinFn::Eq => Truth::Bin(|a, b| a == b, sub(a)?, sub(b)?),
            Some(DType::Bool) => Truth::Bin(|a, b| a != b, sub(a)?, sub(b)?),
            Some(DType::I32) => {
                let f = compare(*f).ok_or_else(|| no(e, DType::Bool))?;
                Truth::OfInts(f, Box::new(int(a, args)?), Box::new(int(b, args)?))
            }
            Some(DType::F32) | None => {
                let f = compare(*f).ok_or_else(|| no(e, DType::Bool))?;
                Truth::OfFloats(f, Box::new(float(a, args)?), Box::new(float(b, args)?))
            }
        },
        // Arithmetic of literals where a bool is wanted.
        ScalarExpr::Un(..) | ScalarExpr::Bin(..) => Truth::FromFloat(Box::new(float(e, args)?)),
        ScalarExpr::Select(c, a, b) => Truth::Select(sub(c)?, sub(a)?, sub(b)?),
        ScalarExpr::Cast(_, a) => match own(a, args)? {
            Some(DType::I32) => Truth::FromInt(Box::new(int(a, args)?)),
            Some(DType::Bool) => truth(a, args)?,
            Some(DType::F32) | None => Truth::FromFloat(Box::new(float(a, args)?)),
        },
    })
}

fn float_un<R: Real>(f: UnFn) -> Option<fn(R) -> R> {
    Some(match f {
        UnFn::Neg => |a| -a,
        UnFn::Abs => R::absolute,
        UnFn::Sqrt => R::square_root,
        UnFn::Exp => R::exp,
        UnFn::Log => R::ln,
        UnFn::Erf => R::erf,
        UnFn::Tanh => R::tanh,
        UnFn::Sin => R::sin,
        UnFn::Cos => R::cos,
        UnFn::Floor => R::floored,
        UnFn::Not => return None,
    })
}

fn float_bin<R: Real>(f: BinFn) -> Option<fn(R, R) -> R> {
    Some(match f {
        BinFn::Add => |a, b| a + b,
        BinFn::Sub => |a, b| a - b,
        BinFn::Mul => |a, b| a * b,
        BinFn::Div => |a, b| a / b,
        BinFn::Max => R::maximum,
        BinFn::Min => R::minimum,
        BinFn::Pow => R::pow,
        _ => return None,
    })
}

fn int_bin(f: BinFn) -> Option<fn(i32, i32) -> i32> {
    Some(match f {
        BinFn::Add => i32::wrapping_add,
        BinFn::Sub => i32::wrapping_sub,
        BinFn::Mul => i32::wrapping_mul,
        BinFn::Div => |a, b| if b == 0 { 0 } else { a.wrapping_div(b) },
        BinFn::Max => i32::max,
        BinFn::Min => i32::min,
        BinFn::Pow => int_pow,
        _ => return None,
    })
}

/// `a` to the power of `e`, wrapping. A negative power is the reciprocal, truncated: 0 unless a is 1 or -1.
fn int_pow(a: i32, e: i32) -> i32 {
    match (u32::try_from(e), a) {
        (Ok(e), _) => a.wrapping_pow(e),
        (Err(_), 1) => 1,
        (Err(_), -1) => 1 - 2 * (e & 1),
        (Err(_), _) => 0,
    }
}

fn compare<T: PartialOrd>(f: BinFn) -> Option<fn(T, T) -> bool> {
    Some(match f {
        BinFn::Lt => |a, b| a < b,
        BinFn::Le => |a, b| a <= b,
        BinFn::Gt => |a, b| a > b,
        BinFn::Ge => |a, b| a >= b,
        BinFn::Eq => |a, b| a == b,
        BinFn::Ne => |a, b| a != b,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns<'a>(f: &'a [f64], i: &'a [i32], b: &'a [bool]) -> Vec<Column<'a, f64>> {
        let empty = || Column { f: &[], i: &[], b: &[] };
        vec![Column { f, ..empty() }, Column { i, ..empty() }, Column { b, ..empty() }]
    }

    const TYPES: [DType; 3] = [DType::F32, DType::I32, DType::Bool];

    fn f(text: &str, a0: f64) -> f64 {
        let c = columns(&[0.0], &[7], &[true]);
        let v = [a0];
        let c: Vec<Column<f64>> =
            std::iter::once(Column { f: &v, i: &[], b: &[] }).chain(c.into_iter().skip(1)).collect();
        float::<f64>(&ScalarExpr::parse(text).unwrap(), &TYPES).unwrap().eval(&Args { columns: &c, at: &[0; 3] })
    }

    fn i(text: &str, a1: i32) -> i32 {
        let a1 = [a1];
        let c = columns(&[2.5], &a1, &[true]);
        int::<f64>(&ScalarExpr::parse(text).unwrap(), &TYPES).unwrap().eval(&Args { columns: &c, at: &[0; 3] })
    }

    fn b(text: &str, a0: f64) -> bool {
        let a0 = [a0];
        let c = columns(&a0, &[7], &[true]);
        truth::<f64>(&ScalarExpr::parse(text).unwrap(), &TYPES).unwrap().eval(&Args { columns: &c, at: &[0; 3] })
    }

    #[test]
    fn floats() {
        assert_eq!(f("(mul a0 0.1)", 1.0), f64::from(0.1f32));
        assert!(f("(max a0 1)", f64::NAN).is_nan() && f("(min 1 a0)", f64::NAN).is_nan());
        assert_eq!(f("(select (lt a0 0) (sqrt a0) 3)", 1.0), 3.0);
        assert_eq!(f("(mul (select a2 1 a0) 2)", f64::NAN), 2.0);
        assert_eq!(f("(f32 a2)", 0.0), 1.0);
        assert_eq!(f("(f32 a1)", 0.0), 7.0);
        assert_eq!(f("(add (floor a0) (abs (neg a0)))", -1.5), -0.5);
        assert_eq!(f("(f32 (i32 a0))", -1.9), -1.0);
        assert_eq!(f("(add a0 (sqrt 4))", 1.0), 3.0);
    }

    #[test]
    fn ints_wrap_and_never_trap() {
        assert_eq!(i("(add a1 1)", i32::MAX), i32::MIN);
        assert_eq!(i("(div a1 0)", 5), 0);
        assert_eq!(i("(div a1 -1)", i32::MIN), i32::MIN);
        assert_eq!(i("(div a1 2)", -7), -3);
        assert_eq!(i("(abs a1)", i32::MIN), i32::MIN);
        assert_eq!(
            (i("(pow a1 -3)", -1), i("(pow a1 -2)", -1), i("(pow a1 -1)", 2), i("(pow a1 3)", -2)),
            (-1, 1, 0, -8)
        );
        assert_eq!(i("(i32 a0)", 0), 2);
        assert_eq!(i("(i32 -1.9)", 0), -1);
        assert_eq!(i("(i32 (i32 inf))", 0), i32::MAX);
        // A literal takes the type of the other operand; what only floats have is computed as float.
        assert_eq!(i("(add a1 1.9)", 1), 2);
        assert_eq!(i("(add a1 (sqrt 10))", 1), 4);
    }

    #[test]
    fn truths() {
        for op in ["lt", "le", "gt", "ge", "eq"] {
            assert!(!b(&format!("({op} a0 a0)"), f64::NAN), "{op}");
        }
        assert!(b("(ne a0 a0)", f64::NAN) && !b("(ne a0 a0)", 1.0));
        assert!(b("(bool a0)", f64::NAN) && !b("(bool a0)", -0.0) && b("(bool a1)", 0.0));
        assert!(b("(and a2 (or (not a2) (eq a1 7)))", 0.0));
        assert!(b("(eq a2 (lt 1 2))", 0.0) && b("(ne a2 0)", 0.0));
        assert!(b("(eq a2 (add 0 1))", 0.0));
    }

    #[test]
    fn wrong_types_are_refused() {
        for text in ["a1", "(not a0)", "(lt a0 1)", "a9", "(add a0 a1)"] {
            assert!(float::<f32>(&ScalarExpr::parse(text).unwrap(), &TYPES).is_err(), "{text}");
        }
        assert!(int::<f32>(&ScalarExpr::parse("a0").unwrap(), &TYPES).is_err());
        assert!(truth::<f32>(&ScalarExpr::parse("(lt a2 a2)").unwrap(), &TYPES).is_err());
    }
}
