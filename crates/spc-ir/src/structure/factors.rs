//! Factors of a weight that stand before its product move into it: `x (a W diag g)^T` becomes `x V^T` with `V = a W diag g` made
//! once. The product then is a linear, which it is not while something is computed between the weight and it.
use super::Restructure;
use super::affine::{is_one, times};
use super::fold::{FOLD_CONSTANT, Fold, Made, constrained, refusal, tail, text, weight};
use super::recipe::{Recipe, usable};
use crate::passes::linear_form::side;
use crate::{BinFn, DType, Graph, NodeId, Op, Patch, ScalarExpr, UnFn};
use spc_base::Bug;
use std::collections::BTreeMap;

/// What an operand of the map is to the matrix.
enum Operand {
    /// The matrix itself.
    Matrix,
    /// A weight along its rows, and one along its columns.
    Rows(String),
    Cols(String),
    /// A scalar weight.
    Scalar(String),
    Literal(f64),
    Other,
}

/// A map that gives a matrix times factors of its rows and columns.
struct Scaled {
    name: String,
    /// The weight.
    node: NodeId,
    operands: Vec<Operand>,
    rows: ScalarExpr,
    cols: ScalarExpr,
}

/// The factors of argument `matrix` in an expression, by rows and by columns; what is of neither stands with the rows. None where
/// it is anything else than factors and the argument, once.
fn factors(e: &ScalarExpr, matrix: u8, kinds: &[Operand]) -> Option<(ScalarExpr, ScalarExpr)> {
    let one = || ScalarExpr::Const(1.0);
    let of = |e: &ScalarExpr| -> Option<(ScalarExpr, ScalarExpr)> {
        let used = |f: &dyn Fn(&Operand) -> bool| kinds.iter().enumerate().any(|(i, k)| f(k) && e.uses(i as u8) > 0);
        if !usable(e) || used(&|k| matches!(k, Operand::Other | Operand::Matrix)) {
            return None;
        }
        match (used(&|k| matches!(k, Operand::Rows(_))), used(&|k| matches!(k, Operand::Cols(_)))) {
            (true, true) => None,
            (false, true) => Some((one(), e.clone())),
            _ => Some((e.clone(), one())),
        }
    };
    match e {
        ScalarExpr::Arg(a) if *a == matrix => Some((one(), one())),
        ScalarExpr::Un(UnFn::Neg, a) if a.uses(matrix) > 0 => {
            let (r, c) = factors(a, matrix, kinds)?;
            Some((times(ScalarExpr::Const(-1.0), r), c))
        }
        ScalarExpr::Bin(BinFn::Mul, a, b) => match (a.uses(matrix) > 0, b.uses(matrix) > 0) {
            (true, true) => None,
            (false, false) => of(e).or_else(|| {
                let ((r, c), (s, d)) = (factors(a, matrix, kinds)?, factors(b, matrix, kinds)?);
                Some((times(r, s), times(c, d)))
            }),
            _ => {
                let ((r, c), (s, d)) = (factors(a, matrix, kinds)?, factors(b, matrix, kinds)?);
                Some((times(r, s), times(c, d)))
            }
        },
        ScalarExpr::Bin(BinFn::Div, a, b) if a.uses(matrix) > 0 && b.uses(matrix) == 0 => {
            let ((r, c), (s, d)) = (factors(a, matrix, kinds)?, of(b)?);
            let over = |x: ScalarExpr, y: ScalarExpr| {
                if is_one(&y) { x } else { ScalarExpr::bin(BinFn::Div, x, y) }
            };
            Some((over(r, s), over(c, d)))
        }
        _ if e.uses(matrix) == 0 => of(e),
        _ => None,
    }
}

/// The scaled matrix that a map is, if it is one.
fn scaled(g: &Graph, n: NodeId) -> Result<Option<Scaled>, Bug> {
    let node = g.node(n)?;
    let Op::Map { expr, at } = &node.op else { return Ok(None) };
    let (rank, sizes) = (node.ty.rank() as u32, node.ty.sizes());
    if rank < 2 || node.ty.dtype != DType::F32 || node.ty.matrix().is_none() {
        return Ok(None);
    }
    let (mut operands, mut matrix) = (Vec::new(), None);
    for (i, (x, places)) in (0u8..).zip(g.inputs(n).iter().zip(at)) {
        let kind = match (&g.node(*x)?.op, weight(g, *x)?) {
            (Op::Const { value, dtype: DType::F32 }, _) => Operand::Literal(*value),
            (_, Some((name, ty))) => match (ty.rank(), places.as_slice()) {
                (0, _) => Operand::Scalar(name.to_string()),
                (1, [0]) => Operand::Rows(name.to_string()),
                (1, [p]) if rank == 2 && *p == 1 => Operand::Cols(name.to_string()),
                _ if places.iter().copied().eq(0..rank) && ty.sizes() == sizes && matrix.is_none() => {
                    matrix = Some((i, *x, name.to_string()));
                    Operand::Matrix
                }
                _ => Operand::Other,
            },
            _ => Operand::Other,
        };
        operands.push(kind);
    }
    let Some((at, node, name)) = matrix.filter(|(i, ..)| expr.uses(*i) == 1) else { return Ok(None) };
    let found = factors(expr, at, &operands);
    Ok(found.map(|(rows, cols)| Scaled { name, node, operands, rows, cols }))
}

/// Weights that nothing but factors stands between and a product, with rows and columns: what a fold makes of them is read by a
/// linear.
///
/// # Errors
/// Only our own mistakes.
pub fn scaled_weights(g: &Graph) -> Result<BTreeMap<String, (usize, usize)>, Bug> {
    let mut out = BTreeMap::new();
    for n in g.ids() {
        let stands = |base: NodeId| Ok(scaled(g, base)?.is_some());
        let Some(form) = side(g, n, &stands)? else { continue };
        if let (Some(s), Some(shape)) = (scaled(g, form.base)?, g.ty(form.base)?.matrix()) {
            out.insert(s.name, shape);
        }
    }
    Ok(out)
}

/// What can be folded of a product's matrix, if it has factors.
pub(super) fn fold(g: &Graph, n: NodeId) -> Result<Option<Result<Fold, Restructure>>, Bug> {
    let stands = |base: NodeId| Ok(scaled(g, base)?.is_some());
    let Some(form) = side(g, n, &stands)? else { return Ok(None) };
    let Some(s) = scaled(g, form.base)? else { return Ok(None) };
    let names = |e: &ScalarExpr| -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for (_, k) in s.operands.iter().enumerate().filter(|(i, _)| e.uses(*i as u8) > 0) {
            if let Operand::Rows(name) | Operand::Cols(name) | Operand::Scalar(name) = k
                && !out.contains(name)
            {
                out.push(name.clone());
            }
        }
        out
    };
    let mut by = names(&s.rows);
    for name in names(&s.cols) {
        if !by.contains(&name) {
            by.push(name);
        }
    }
    let told = if by.is_empty() { vec![s.name.clone()] } else { by.clone() };
    let refuse = |because: String| Ok(Some(Err(refusal(FOLD_CONSTANT, told.clone(), because))));
    // From the weight to the product each value has one reader.
    let mut at = form.weight;
    loop {
        if g.readers(at).len() != 1 || g.is_output(at) {
            return refuse(format!("what is computed of `{}` is read by something else, too", s.name));
        }
        if at == form.base {
            break;
        }
        at = g.inputs(at).first().copied().ok_or_else(|| Bug::new("a view without an operand"))?;
    }
    if g.readers(s.node) != [form.base] || g.is_output(s.node) {
        return refuse(format!("`{}`, which it would move into, is read more than once", s.name));
    }
    if let Some(w) = constrained(g, &by) {
        return refuse(format!("a constraint is about `{w}`"));
    }
    let mut from = vec![s.name.clone()];
    from.extend(by.iter().cloned());
    let place = |a: u8| match s.operands.get(usize::from(a)) {
        Some(Operand::Rows(name) | Operand::Cols(name) | Operand::Scalar(name)) => {
            ScalarExpr::Arg(by.iter().position(|n| n == name).unwrap_or(0) as u8 + 1)
        }
        Some(Operand::Literal(v)) => ScalarExpr::Const(*v),
        _ => ScalarExpr::Arg(a),
    };
    let of = |e: &ScalarExpr| (!is_one(e)).then(|| text(e, &place));
    let how = Recipe::Scaled { rows: of(&s.rows), cols: of(&s.cols) };
    let mark = by.iter().map(|n| tail(n)).collect::<Vec<_>>().join("*");
    let mark = if mark.is_empty() { "constant" } else { &mark };
    let name = format!("{}*{mark}", s.name);
    let mut p = Patch::new("fold-constant");
    let made = p.add(g, Op::Weight { name: name.clone(), ty: g.ty(s.node)?.clone() }, &[])?;
    let y = form.linear(g, &mut p, made)?;
    p.replace(g, n, y)?;
    Ok(Some(Ok(Fold::new(FOLD_CONSTANT, told, vec![(n, vec![Made { name, from, how }])], p))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(e: &str) -> Option<(String, String)> {
        let kinds = [
            Operand::Matrix,
            Operand::Rows("r".into()),
            Operand::Cols("c".into()),
            Operand::Scalar("s".into()),
            Operand::Other,
        ];
        factors(&ScalarExpr::parse(e).unwrap(), 0, &kinds).map(|(r, c)| (r.to_string(), c.to_string()))
    }

    #[test]
    fn factors_are_told_by_rows_and_columns() {
        let both = |r: &str, c: &str| Some((r.to_string(), c.to_string()));
        assert_eq!(parts("(mul a0 0.5)"), both("0.5", "1"));
        assert_eq!(parts("(mul (mul a0 a1) a2)"), both("a1", "a2"));
        assert_eq!(parts("(mul a0 (mul a1 a2))"), both("a1", "a2"));
        assert_eq!(parts("(div (mul a0 a2) (sqrt a1))"), both("(div 1 (sqrt a1))", "a2"));
        assert_eq!(parts("(neg (mul a0 a3))"), both("(mul -1 a3)", "1"));
        assert_eq!(parts("(mul (add a1 1) a0)"), both("(add a1 1)", "1"));
        assert_eq!(parts("a0"), both("1", "1"));
        for not in ["(add a0 1)", "(mul a0 a0)", "(mul a0 a4)", "(mul a0 (add a1 a2))", "(div 1 a0)", "(exp a0)"] {
            assert_eq!(parts(not), None, "{not}");
        }
    }
}
