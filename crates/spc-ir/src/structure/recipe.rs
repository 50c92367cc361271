//! Weights that are computed from weights of the program, once, before it runs. Computed in f64 and rounded to f32 once.
use super::{Fit, Move, moved};
use crate::{BinFn, ScalarExpr, UnFn};
use serde::{Deserialize, Serialize};

/// How the elements of a derived weight follow from the weights that it is made of. Expressions are in the text form of
/// `docs/ir.md`; `a0` is the first weight, and every other one stands for its element at the row or the column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Recipe {
    /// Element (o, k) of the first weight, read as a matrix, times `rows` at o and `cols` at k.
    Scaled {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rows: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cols: Option<String>,
    },
    /// For each row o of the first weight: the sum over k of its element (o, k) times `sum` at k, plus `add` at o. The first
    /// weight itself does not occur in the expressions.
    Shift {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sum: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        add: Option<String>,
    },
    /// The elements of the one weight that fill a structure well, or all the others; zeros elsewhere.
    Split { fit: Fit, structured: bool },
    /// The elements of the one weight in another order.
    Reorder { moves: Vec<Move> },
}

/// A weight as dimensions and elements, row-major.
pub type Tensor<'a> = (&'a [usize], &'a [f32]);

/// Whether a function may stand in a recipe.
pub(crate) fn usable(e: &ScalarExpr) -> bool {
    let own = match e {
        ScalarExpr::Arg(_) | ScalarExpr::Const(_) => true,
        ScalarExpr::Un(f, _) => matches!(f, UnFn::Neg | UnFn::Abs | UnFn::Sqrt | UnFn::Exp),
        ScalarExpr::Bin(f, ..) => matches!(f, BinFn::Add | BinFn::Sub | BinFn::Mul | BinFn::Div),
        _ => false,
    };
    own && e.children().into_iter().all(usable)
}

/// The value of an expression in f64; literals are the f32 numbers that they stand for. NaN for what is not [`usable`].
fn value(e: &ScalarExpr, arg: &dyn Fn(usize) -> f64) -> f64 {
    match e {
        ScalarExpr::Arg(a) => arg(usize::from(*a)),
        ScalarExpr::Const(c) => f64::from(*c as f32),
        ScalarExpr::Un(f, a) => {
            let a = value(a, arg);
            match f {
                UnFn::Neg => -a,
                UnFn::Abs => a.abs(),
                UnFn::Sqrt => a.sqrt(),
                UnFn::Exp => a.exp(),
                _ => f64::NAN,
            }
        }
        ScalarExpr::Bin(f, a, b) => {
            let (a, b) = (value(a, arg), value(b, arg));
            match f {
                BinFn::Add => a + b,
                BinFn::Sub => a - b,
                BinFn::Mul => a * b,
                BinFn::Div => a / b,
                _ => f64::NAN,
            }
        }
        _ => f64::NAN,
    }
}

impl Recipe {
    /// Dimensions and elements of the weight.
    ///
    /// # Errors
    /// In words, where the weights do not fit the recipe or each other.
    pub fn make(&self, from: &[Tensor<'_>]) -> Result<(Vec<usize>, Vec<f32>), String> {
        let Some(((shape, w), others)) = from.split_first() else { return Err("it is made of nothing".into()) };
        match self {
            Recipe::Split { fit, structured } => {
                let [_, cols] = shape else { return Err("it is no matrix".into()) };
                return Ok((shape.to_vec(), fit.part(*cols, w, *structured)));
            }
            Recipe::Reorder { moves } => return Ok((shape.to_vec(), moved(shape, w, moves)?)),
            _ => {}
        }
        let (rows, cols) = matrix(shape).filter(|(r, c)| r * c == w.len()).ok_or("the first weight is no matrix")?;
        let vector = |text: &Option<String>, n: usize| -> Result<Option<Vec<f64>>, String> {
            let Some(text) = text else { return Ok(None) };
            let e = ScalarExpr::parse(text)?;
            if !usable(&e) || e.uses(0) > 0 {
                return Err(format!("`{text}` has no place in a recipe"));
            }
            for a in (1..e.arity()).filter(|a| e.uses(*a as u8) > 0) {
                let (s, v) = others.get(a - 1).ok_or_else(|| format!("`{text}` names a weight that is not there"))?;
                if v.len() != n && !(s.is_empty() && v.len() == 1) {
                    return Err(format!("a weight of {} elements does not go along {n}", v.len()));
                }
            }
            let at = |i: usize, a: usize| {
                let v = a.checked_sub(1).and_then(|a| others.get(a)).map_or(&[][..], |o| o.1);
                v.get(i).or_else(|| v.first()).map_or(f64::NAN, |x| f64::from(*x))
            };
            Ok(Some((0..n).map(|i| value(&e, &|a| at(i, a))).collect()))
        };
        match self {
            Recipe::Scaled { rows: r, cols: c } => {
                let (r, c) = (vector(r, rows)?, vector(c, cols)?);
                let mut out = Vec::with_capacity(w.len());
                for (o, row) in w.chunks_exact(cols.max(1)).enumerate() {
                    let by = r.as_ref().and_then(|r| r.get(o)).copied();
                    match &c {
                        Some(c) => out.extend(row.iter().zip(c).map(|(w, c)| scaled(*w, by.unwrap_or(1.0) * c))),
                        None => out.extend(row.iter().map(|w| scaled(*w, by.unwrap_or(1.0)))),
                    }
                }
                Ok((shape.to_vec(), out))
            }
            Recipe::Shift { sum, add } => {
                let (sum, add) = (vector(sum, cols)?, vector(add, rows)?);
                let one = |o: usize| {
                    let row = w.get(o * cols..(o + 1) * cols).unwrap_or_default();
                    let dot = |s: &Vec<f64>| row.iter().zip(s).map(|(w, s)| f64::from(*w) * s).sum::<f64>();
                    let all = sum.as_ref().map_or(0.0, dot);
                    (all + add.as_ref().and_then(|a| a.get(o)).copied().unwrap_or(0.0)) as f32
                };
                Ok((vec![rows], (0..rows).map(one).collect()))
            }
            Recipe::Split { .. } | Recipe::Reorder { .. } => Err("it has no factors".into()),
        }
    }

    /// Whether elements are multiplied or summed, so that those of the program cannot be had back.
    pub fn computes(&self) -> bool {
        matches!(self, Recipe::Scaled { .. } | Recipe::Shift { .. })
    }

    /// Why what was made cannot stand for what it was made of, if it cannot: a number that f32 does not hold, or another
    /// pattern of zeros.
    pub fn unfit(&self, first: &[f32], made: &[f32]) -> Option<&'static str> {
        if made.iter().any(|v| !v.is_finite()) {
            return Some("a product is too large for f32");
        }
        if let Recipe::Scaled { .. } = self {
            let lost = |(w, m): (&f32, &f32)| *w != 0.0 && !m.is_normal() && w.is_normal();
            if first.iter().zip(made).any(lost) {
                return Some("a factor is zero, or a product too small for f32");
            }
        }
        None
    }
}

/// Zeros stay zeros, whatever they are multiplied with.
fn scaled(w: f32, by: f64) -> f32 {
    if w == 0.0 { w } else { (f64::from(w) * by) as f32 }
}

/// Rows and columns: the first dimension, and the product of all others.
fn matrix(shape: &[usize]) -> Option<(usize, usize)> {
    let (rows, rest) = shape.split_first()?;
    Some((*rows, rest.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(t: &str) -> Option<String> {
        Some(t.into())
    }

    #[test]
    fn rows_columns_and_sums() {
        let w: Tensor<'_> = (&[2, 2], &[1.0, 0.0, -3.0, 4.0]);
        let g: Tensor<'_> = (&[2], &[0.5, f32::MAX]);
        let cols = Recipe::Scaled { rows: None, cols: text("a1") };
        let (shape, v) = cols.make(&[w, g]).unwrap();
        assert_eq!((shape, v[..3].to_vec()), (vec![2, 2], vec![0.5, 0.0, -1.5]));
        assert_eq!(cols.unfit(w.1, &v), Some("a product is too large for f32"));
        let rows = Recipe::Scaled { rows: text("(div 2 (sqrt a1))"), cols: None };
        let (_, v) = rows.make(&[w, (&[2], &[4.0, 16.0])]).unwrap();
        assert_eq!(v, [1.0, 0.0, -1.5, 2.0]);
        assert_eq!(rows.unfit(w.1, &v), None);
        let shift = Recipe::Shift { sum: text("a1"), add: text("a2") };
        let (shape, v) = shift.make(&[w, (&[2], &[2.0, 3.0]), (&[2], &[10.0, 20.0])]).unwrap();
        assert_eq!((shape, v), (vec![2], vec![12.0, 26.0]));
    }

    #[test]
    fn factors_that_would_change_the_pattern_are_noticed() {
        let w: Tensor<'_> = (&[1, 2], &[1.0, 0.0]);
        let by = |g: f32| {
            let r = Recipe::Scaled { rows: None, cols: text("a1") };
            let (_, v) = r.make(&[w, (&[2], &[g, 1.0])]).unwrap();
            r.unfit(w.1, &v)
        };
        assert_eq!(by(1.0), None);
        for g in [0.0, f32::MIN_POSITIVE / 2.0] {
            assert_eq!(by(g), Some("a factor is zero, or a product too small for f32"));
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let w: Tensor<'_> = (&[2, 2], &[1.0; 4]);
        let cols = |t: &str| Recipe::Scaled { rows: None, cols: text(t) };
        for (recipe, from) in [
            (cols("a1"), vec![w]),
            (cols("a0"), vec![w]),
            (cols("(floor a1)"), vec![w, w]),
            (cols("a1"), vec![w, (&[3], &[1.0; 3])]),
            (cols("a1"), vec![(&[2, 3], &[1.0; 4])]),
            (cols("a1"), vec![]),
            (cols("(mul"), vec![w]),
        ] {
            assert!(recipe.make(&from).is_err(), "{recipe:?}");
        }
    }
}
