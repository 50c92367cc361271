//! Random scalar expressions whose values stay moderate: finite arguments give finite values.
use super::Rng;
use spc_ir::{BinFn, DType, ScalarExpr, UnFn};

fn argument(rng: &mut Rng, args: &[DType], t: DType) -> Option<ScalarExpr> {
    let hits: Vec<u8> = (0u8..=u8::MAX).zip(args).filter(|(_, a)| **a == t).map(|(i, _)| i).collect();
    rng.pick(&hits).map(ScalarExpr::Arg)
}

fn bounded(e: ScalarExpr) -> ScalarExpr {
    ScalarExpr::bin(BinFn::Min, ScalarExpr::bin(BinFn::Max, e, ScalarExpr::Const(-4.0)), ScalarExpr::Const(4.0))
}

/// A float expression of at most this depth (some functions add two levels).
pub fn float_expr(rng: &mut Rng, args: &[DType], depth: usize) -> ScalarExpr {
    let sub = |rng: &mut Rng| float_expr(rng, args, depth - 1);
    let un = ScalarExpr::un;
    let bin = ScalarExpr::bin;
    let one = || ScalarExpr::Const(1.0);
    if depth == 0 || rng.chance(1, 4) {
        let leaf = if rng.chance(3, 4) { argument(rng, args, DType::F32) } else { None };
        return leaf.unwrap_or_else(|| ScalarExpr::Const(f64::from(rng.eighth())));
    }
    match rng.below(17) {
        0 => un(UnFn::Neg, sub(rng)),
        1 => un(UnFn::Sqrt, un(UnFn::Abs, sub(rng))),
        2 => un(UnFn::Exp, bounded(sub(rng))),
        3 => un(UnFn::Log, bin(BinFn::Add, one(), un(UnFn::Abs, sub(rng)))),
        4 => un(UnFn::Erf, sub(rng)),
        5 => un(UnFn::Tanh, sub(rng)),
        6 => un(UnFn::Sin, sub(rng)),
        7 => un(UnFn::Cos, sub(rng)),
        8 => un(UnFn::Floor, bounded(sub(rng))),
        9 => bin(BinFn::Sub, sub(rng), sub(rng)),
        10 => bin(BinFn::Mul, bounded(sub(rng)), sub(rng)),
        11 => bin(BinFn::Div, sub(rng), bin(BinFn::Add, one(), un(UnFn::Abs, sub(rng)))),
        12 => bin(if rng.chance(1, 2) { BinFn::Max } else { BinFn::Min }, sub(rng), sub(rng)),
        13 => bin(BinFn::Pow, bin(BinFn::Add, one(), un(UnFn::Abs, bounded(sub(rng)))), bounded(sub(rng))),
        14 => ScalarExpr::select(bool_expr(rng, args, depth - 1), sub(rng), sub(rng)),
        15 => ScalarExpr::cast(DType::F32, int_expr(rng, args, depth - 1)),
        _ => bin(BinFn::Add, sub(rng), sub(rng)),
    }
}

/// An i32 expression.
pub fn int_expr(rng: &mut Rng, args: &[DType], depth: usize) -> ScalarExpr {
    let sub = |rng: &mut Rng| int_expr(rng, args, depth - 1);
    if depth == 0 || rng.chance(1, 4) {
        let literal = ScalarExpr::Const(rng.below(9) as f64 - 4.0);
        return argument(rng, args, DType::I32).unwrap_or(ScalarExpr::cast(DType::I32, literal));
    }
    match rng.below(6) {
        0 => ScalarExpr::un(if rng.chance(1, 2) { UnFn::Neg } else { UnFn::Abs }, sub(rng)),
        1 => ScalarExpr::select(bool_expr(rng, args, depth - 1), sub(rng), sub(rng)),
        2 => ScalarExpr::cast(DType::I32, float_expr(rng, args, depth - 1)),
        3 => ScalarExpr::cast(DType::I32, bool_expr(rng, args, depth - 1)),
        4 => ScalarExpr::bin(BinFn::Mul, sub(rng), ScalarExpr::Const(rng.below(5) as f64 - 2.0)),
        _ => {
            let f = [BinFn::Add, BinFn::Sub, BinFn::Max, BinFn::Min, BinFn::Div];
            ScalarExpr::bin(f[rng.below(f.len())], sub(rng), sub(rng))
        }
    }
}

/// A bool expression.
pub fn bool_expr(rng: &mut Rng, args: &[DType], depth: usize) -> ScalarExpr {
    let compare = [BinFn::Lt, BinFn::Le, BinFn::Gt, BinFn::Ge, BinFn::Eq, BinFn::Ne];
    let f = compare[rng.below(compare.len())];
    let below = depth.saturating_sub(1);
    if depth > 0 {
        let sub = |rng: &mut Rng| bool_expr(rng, args, depth - 1);
        match rng.below(6) {
            0 => return ScalarExpr::un(UnFn::Not, sub(rng)),
            1 => return ScalarExpr::bin(if rng.chance(1, 2) { BinFn::And } else { BinFn::Or }, sub(rng), sub(rng)),
            2 => return ScalarExpr::bin(f, int_expr(rng, args, below), int_expr(rng, args, below)),
            3 => return ScalarExpr::cast(DType::Bool, int_expr(rng, args, below)),
            _ => {}
        }
    }
    match argument(rng, args, DType::Bool) {
        Some(a) if rng.chance(1, 2) => a,
        _ => ScalarExpr::bin(f, float_expr(rng, args, below), float_expr(rng, args, below)),
    }
}
