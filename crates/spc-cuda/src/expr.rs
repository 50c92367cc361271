//! Scalar expressions as C, over the prelude's functions.
use spc_ir::{BinFn, DType, ScalarExpr, UnFn};

/// An f32 expression of one f32 argument, `a0`.
///
/// # Errors
/// Why the kernels cannot compute it.
pub(crate) fn to_c(e: &ScalarExpr) -> Result<String, String> {
    let args = [DType::F32];
    match e.dtype(&args)? {
        None | Some(DType::F32) => print(e, &args, DType::F32),
        Some(t) => Err(format!("the activation gives {t}")),
    }
}

/// An expression of arguments `a0`, `a1`, .. of these types (float, int, bool), in C. `want` is its type.
///
/// # Errors
/// Why the kernels cannot compute it.
pub(crate) fn typed(e: &ScalarExpr, args: &[DType], want: DType) -> Result<String, String> {
    print(e, args, want)
}

/// Prints `e`, whose literals take the type `want` where nothing else decides it. The text is an operand: a name, a
/// literal, a call, or in parentheses.
fn print(e: &ScalarExpr, args: &[DType], want: DType) -> Result<String, String> {
    let dtype = |e: &ScalarExpr| e.dtype(args);
    match e {
        ScalarExpr::Arg(n) if usize::from(*n) < args.len() => Ok(format!("a{n}")),
        ScalarExpr::Arg(n) => Err(format!("no argument a{n}")),
        ScalarExpr::Const(c) => Ok(match want {
            DType::F32 => literal(*c),
            DType::Bool => if *c != 0.0 { "true" } else { "false" }.into(),
            DType::I32 => integer(*c as i32),
        }),
        ScalarExpr::Un(f, a) => {
            let own = if *f == UnFn::Not { DType::Bool } else { dtype(a)?.unwrap_or(want) };
            let a = print(a, args, own)?;
            Ok(match (f, own) {
                (UnFn::Not, _) => format!("(!{a})"),
                (UnFn::Neg, DType::F32) => format!("(-{a})"),
                (_, DType::F32) => format!("spc_{}({a})", f.name()),
                (UnFn::Neg, DType::I32) => format!("spc_isub(0, {a})"),
                (UnFn::Abs, DType::I32) => format!("spc_iabs({a})"),
                _ => return Err(format!("`{}` of {own} has no CUDA kernel yet", f.name())),
            })
        }
        ScalarExpr::Bin(f, a, b) => {
            let own = dtype(a)?.or(dtype(b)?);
            // Literals alone are numbers.
            let operands = if f.is_logic() {
                DType::Bool
            } else {
                own.unwrap_or(if f.is_comparison() { DType::F32 } else { want })
            };
            let (a, b) = (print(a, args, operands)?, print(b, args, operands)?);
            let sign = match f {
                BinFn::Lt => "<",
                BinFn::Le => "<=",
                BinFn::Gt => ">",
                BinFn::Ge => ">=",
                BinFn::Eq => "==",
                BinFn::Ne => "!=",
                BinFn::And => "&&",
                BinFn::Or => "||",
                BinFn::Add | BinFn::Sub | BinFn::Mul | BinFn::Div | BinFn::Max | BinFn::Min | BinFn::Pow
                    if operands == DType::I32 =>
                {
                    return Ok(format!("spc_i{}({a}, {b})", f.name()));
                }
                BinFn::Add => "+",
                BinFn::Sub => "-",
                BinFn::Mul => "*",
                BinFn::Div => "/",
                BinFn::Max | BinFn::Min | BinFn::Pow if operands == DType::F32 => {
                    return Ok(format!("spc_{}({a}, {b})", f.name()));
                }
                _ => return Err(format!("`{}` of {operands} has no CUDA kernel yet", f.name())),
            };
            Ok(format!("({a} {sign} {b})"))
        }
        ScalarExpr::Select(c, a, b) => {
            let kind = dtype(a)?.or(dtype(b)?).unwrap_or(want);
            let (a, b) = (print(a, args, kind)?, print(b, args, kind)?);
            Ok(format!("({} ? {a} : {b})", print(c, args, DType::Bool)?))
        }
        ScalarExpr::Cast(to, a) => {
            let from = dtype(a)?.unwrap_or(DType::F32);
            let a = print(a, args, from)?;
            Ok(match (to, from) {
                (to, from) if *to == from => a,
                (DType::F32, DType::Bool) => format!("({a} ? 1.0f : 0.0f)"),
                (DType::F32, _) => format!("(float){a}"),
                (DType::I32, DType::Bool) => format!("({a} ? 1 : 0)"),
                (DType::I32, _) => format!("spc_to_i32({a})"),
                (DType::Bool, DType::F32) => format!("({a} != 0.0f)"),
                (DType::Bool, _) => format!("({a} != 0)"),
            })
        }
    }
}

fn integer(v: i32) -> String {
    if v == i32::MIN {
        "(-2147483647 - 1)".into()
    } else if v < 0 {
        format!("({v})")
    } else {
        v.to_string()
    }
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
    fn integers_and_truths_print_as_c() {
        let c =
            |text: &str, want| typed(&ScalarExpr::parse(text).unwrap(), &[DType::I32, DType::F32, DType::Bool], want);
        assert_eq!(c("(select a2 (f32 (add a0 1)) a1)", DType::F32).unwrap(), "(a2 ? (float)spc_iadd(a0, 1) : a1)");
        assert_eq!(c("(and a2 (lt a0 -3))", DType::Bool).unwrap(), "(a2 && (a0 < (-3)))");
        assert_eq!(c("(i32 (mul a1 2))", DType::I32).unwrap(), "spc_to_i32((a1 * 2.0f))");
        assert_eq!(c("(neg a0)", DType::I32).unwrap(), "spc_isub(0, a0)");
        assert_eq!(c("(pow a0 2)", DType::I32).unwrap(), "spc_ipow(a0, 2)");
        assert!(c("a3", DType::F32).is_err());
    }

    #[test]
    fn what_kernels_cannot_compute_is_refused_in_words() {
        assert_eq!(c("(lt a0 0)").unwrap_err(), "the activation gives bool");
        assert!(c("(add a0 a1)").is_err());
    }
}
