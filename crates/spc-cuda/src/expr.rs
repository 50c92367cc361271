//! Scalar expressions as C, over the prelude's functions.
use spc_ir::{BinFn, DType, ScalarExpr, UnFn};

/// An f32 expression of one f32 argument, `a0`.
///
/// # Errors
/// Why the kernels cannot compute it: they have no integer arithmetic, and write f32.
pub(crate) fn to_c(e: &ScalarExpr) -> Result<String, String> {
    match e.dtype(&[DType::F32])? {
        None | Some(DType::F32) => print(e, DType::F32),
        Some(t) => Err(format!("the activation gives {t}")),
    }
}

fn dtype(e: &ScalarExpr) -> Result<Option<DType>, String> {
    e.dtype(&[DType::F32])
}

/// Prints `e`, whose literals take the type `want` where nothing else decides it. The text is an operand: a name, a
/// literal, a call, or in parentheses.
fn print(e: &ScalarExpr, want: DType) -> Result<String, String> {
    match e {
        ScalarExpr::Arg(0) => Ok("a0".into()),
        ScalarExpr::Arg(n) => Err(format!("no argument a{n}")),
        ScalarExpr::Const(c) => match want {
            DType::F32 => Ok(literal(*c)),
            DType::Bool => Ok(if *c != 0.0 { "true" } else { "false" }.into()),
            DType::I32 => integers(),
        },
        ScalarExpr::Un(f, a) => {
            let a = print(a, if *f == UnFn::Not { DType::Bool } else { want })?;
            Ok(match f {
                UnFn::Neg => format!("(-{a})"),
                UnFn::Not => format!("(!{a})"),
                _ => format!("spc_{}({a})", f.name()),
            })
        }
        ScalarExpr::Bin(f, a, b) => {
            let own = dtype(a)?.or(dtype(b)?);
            let operands = if f.is_logic() { DType::Bool } else { own.unwrap_or(DType::F32) };
            let (a, b) = (print(a, operands)?, print(b, operands)?);
            let sign = match f {
                BinFn::Add => "+",
                BinFn::Sub => "-",
                BinFn::Mul => "*",
                BinFn::Div => "/",
                BinFn::Lt => "<",
                BinFn::Le => "<=",
                BinFn::Gt => ">",
                BinFn::Ge => ">=",
                BinFn::Eq => "==",
                BinFn::Ne => "!=",
                BinFn::And => "&&",
                BinFn::Or => "||",
                BinFn::Max | BinFn::Min | BinFn::Pow => return Ok(format!("spc_{}({a}, {b})", f.name())),
            };
            Ok(format!("({a} {sign} {b})"))
        }
        ScalarExpr::Select(c, a, b) => {
            let kind = dtype(a)?.or(dtype(b)?).unwrap_or(want);
            Ok(format!("({} ? {} : {})", print(c, DType::Bool)?, print(a, kind)?, print(b, kind)?))
        }
        ScalarExpr::Cast(to, a) => match (to, dtype(a)?) {
            (DType::F32, Some(DType::Bool)) => Ok(format!("({} ? 1.0f : 0.0f)", print(a, DType::Bool)?)),
            (DType::F32, None | Some(DType::F32)) => print(a, DType::F32),
            (DType::Bool, Some(DType::Bool)) => print(a, DType::Bool),
            (DType::Bool, _) => Err("the activation converts a number to bool".into()),
            _ => integers(),
        },
    }
}

fn integers() -> Result<String, String> {
    Err("the activation computes with integers".into())
}

/// A C literal with exactly the f32 value that `c` rounds to.
fn literal(c: f64) -> String {
    let v = c as f32;
    if !v.is_finite() {
        format!("spc_bits({:#010x}u)", v.to_bits())
    } else if v.is_sign_negative() {
        format!("({v:?}f)")
    } else {
        format!("{v:?}f")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(text: &str) -> Result<String, String> {
        to_c(&ScalarExpr::parse(text).unwrap())
    }

    #[test]
    fn expressions_print_as_c() {
        assert_eq!(c("(max a0 0)").unwrap(), "spc_max(a0, 0.0f)");
        assert_eq!(
            c("(mul (mul 0.5 a0) (add 1 (erf (div a0 1.4142135623730951))))").unwrap(),
            "((0.5f * a0) * (1.0f + spc_erf((a0 / 1.4142135f))))"
        );
        assert_eq!(c("(neg (neg -2))").unwrap(), "(-(-(-2.0f)))");
        assert_eq!(c("(select (not (lt a0 0)) a0 (mul 1e-20 a0))").unwrap(), "((!(a0 < 0.0f)) ? a0 : (1e-20f * a0))");
        assert_eq!(c("(f32 (and (le a0 1) (ge a0 -1)))").unwrap(), "(((a0 <= 1.0f) && (a0 >= (-1.0f))) ? 1.0f : 0.0f)");
        assert_eq!(c("(add a0 1e300)").unwrap(), "(a0 + spc_bits(0x7f800000u))");
        assert_eq!(c("7").unwrap(), "7.0f");
    }

    #[test]
    fn what_kernels_cannot_compute_is_refused_in_words() {
        assert_eq!(c("(lt a0 0)").unwrap_err(), "the activation gives bool");
        assert_eq!(c("(f32 (i32 a0))").unwrap_err(), "the activation computes with integers");
        assert_eq!(c("(f32 (add (i32 a0) 1))").unwrap_err(), "the activation computes with integers");
        assert!(c("(add a0 a1)").is_err());
    }
}
