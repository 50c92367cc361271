//! Choosing by score among run-time values: `Op::Top`, `Op::Rank` and the reduction `argmax`.
//!
//! The order is total: higher score first, then the lower place. `-0` and `0` are one score, infinities are scores, and
//! NaN has no place in an order.
use crate::map::Operand;
use crate::ops::{array, elements, filled, with_capacity};
use crate::{Real, RunError, Value};
use spc_base::Bug;
use spc_ir::{Amount, Top};
use std::cmp::Ordering;

/// Calls `f` with the places (offsets into the value) of each scope, row-major over `dims`; scopes in row-major order.
fn scopes(shape: &[usize], dims: &[u32], mut f: impl FnMut(&[usize]) -> Result<(), RunError>) -> Result<(), RunError> {
    elements(shape)?;
    let mut strides = vec![1usize; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d].max(1);
    }
    let part = |inside: bool| -> Result<Vec<usize>, RunError> {
        let of = (0..shape.len()).filter(|d| dims.contains(&(*d as u32)) == inside);
        let mut list = vec![0usize];
        for d in of {
            let mut next = with_capacity(list.len().saturating_mul(shape[d]))?;
            for base in &list {
                next.extend((0..shape[d]).map(|i| base + i * strides[d]));
            }
            list = next;
        }
        Ok(list)
    };
    let (inner, outer) = (part(true)?, part(false)?);
    let mut places = with_capacity(inner.len())?;
    for base in outer {
        places.clear();
        places.extend(inner.iter().map(|i| base + i));
        f(&places)?;
    }
    Ok(())
}

fn not_a_number(name: &str, position: usize) -> RunError {
    RunError::ScoreNan { name: name.to_string(), position }
}

/// Sorts places by the order of scores. None of them may be NaN.
fn sort<R: Real>(x: &[R], places: &mut [usize]) {
    places.sort_by(|a, b| x[*b].partial_cmp(&x[*a]).unwrap_or(Ordering::Equal).then(a.cmp(b)));
}

fn floats<'a, R: Real>(x: &'a Operand<R>) -> Result<&'a [R], Bug> {
    match &x.elements {
        crate::map::Elements::F(f) => Ok(f),
        _ => Err(Bug::new("a score is f32")),
    }
}

/// `Op::Top`.
pub(crate) fn top<R: Real>(t: &Top, score: &Operand<R>, among: Option<&[bool]>) -> Result<Value<R>, RunError> {
    let x = floats(score)?;
    let mut kept = filled(elements(score.shape)?, false)?;
    scopes(score.shape, &t.dims, |places| {
        let mut list: Vec<usize> = places.to_vec();
        if let Some(among) = among {
            list.retain(|p| among.get(*p).copied().unwrap_or(false));
        }
        if let Some(p) = list.iter().find(|p| x[**p].to_f64().is_nan()) {
            return Err(not_a_number(&t.name, *p));
        }
        let above = match t.amount {
            Amount::Above(limit) => list.iter().filter(|p| x[**p].to_f64() > limit).count() as u64,
            _ => 0,
        };
        let n = t.kept(list.len() as u64, above) as usize;
        let count = |wanted: u64| usize::try_from(wanted).unwrap_or(usize::MAX).min(list.len());
        let (first, last) = (count(t.first), list.len() - count(t.last));
        let always = |i: usize| i < first || i >= last;
        let mut chosen: Vec<usize> = (0..list.len()).filter(|i| always(*i)).map(|i| list[i]).collect();
        let mut rest: Vec<usize> = (0..list.len()).filter(|i| !always(*i)).map(|i| list[i]).collect();
        sort(x, &mut rest);
        chosen.extend(rest.into_iter().take(n.saturating_sub(chosen.len())));
        chosen.into_iter().for_each(|p| kept[p] = true);
        Ok(())
    })?;
    Ok(Value::B(array(score.shape, kept)?))
}

/// `Op::Rank`.
pub(crate) fn rank<R: Real>(dims: &[u32], name: &str, score: &Operand<R>) -> Result<Value<R>, RunError> {
    let x = floats(score)?;
    let mut ranks = filled(elements(score.shape)?, 0i32)?;
    scopes(score.shape, dims, |places| {
        if let Some(p) = places.iter().find(|p| x[**p].to_f64().is_nan()) {
            return Err(not_a_number(name, *p));
        }
        let mut list = places.to_vec();
        sort(x, &mut list);
        for (i, p) in list.into_iter().enumerate() {
            ranks[p] = i32::try_from(i).map_err(|_| RunError::TooLarge { what: "a rank in i32".into() })?;
        }
        Ok(())
    })?;
    Ok(Value::I(array(score.shape, ranks)?))
}

/// `argmax` over `dims`; the result has the shape `out`.
pub(crate) fn argmax<R: Real>(dims: &[u32], score: &Operand<R>, out: &[usize]) -> Result<Value<R>, RunError> {
    let x = floats(score)?;
    let mut found = with_capacity(elements(out)?)?;
    scopes(score.shape, dims, |places| {
        let mut best = 0usize;
        for (i, p) in places.iter().enumerate() {
            if x[*p].to_f64().is_nan() {
                return Err(not_a_number("argmax", *p));
            }
            if x[*p] > x[places[best]] {
                best = i;
            }
        }
        if places.is_empty() {
            return Err(RunError::NothingToChoose { name: "argmax".into() });
        }
        found.push(i32::try_from(best).map_err(|_| RunError::TooLarge { what: "a place in i32".into() })?);
        Ok(())
    })?;
    Ok(Value::I(array(out, found)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Elements;
    use std::borrow::Cow;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    fn spec(amount: Amount) -> Top {
        Top { dims: vec![0], amount, multiple: 1, first: 0, last: 0, among: false, name: "pages".into() }
    }

    fn score<'a>(x: &'a [f64], shape: &'a [usize]) -> Operand<'a, f64> {
        Operand { shape, elements: Elements::F(Cow::Borrowed(x)) }
    }

    fn kept(t: &Top, x: &[f64], among: Option<&[bool]>) -> Vec<usize> {
        let shape = [x.len()];
        let Value::B(b) = top(t, &score(x, &shape), among).unwrap() else { panic!() };
        b.iter().enumerate().filter(|(_, k)| **k).map(|(i, _)| i).collect()
    }

    #[test]
    fn the_lower_place_wins_a_tie() {
        assert_eq!(kept(&spec(Amount::Count(2)), &[1., 3., 3., 3.], None), [1, 2]);
        assert_eq!(kept(&spec(Amount::Count(1)), &[-0.0, 0.0, 0.0], None), [0]);
        assert_eq!(kept(&spec(Amount::Count(3)), &[-INF, 0., INF, INF], None), [1, 2, 3]);
        assert_eq!(kept(&spec(Amount::Count(1)), &[-INF, -INF], None), [0]);
    }

    #[test]
    fn what_is_always_kept_counts() {
        let t = Top { first: 1, last: 2, ..spec(Amount::Count(4)) };
        assert_eq!(kept(&t, &[0., 9., 8., 7., 0., 0.], None), [0, 1, 4, 5]);
        assert_eq!(kept(&t, &[0., 1.], None), [0, 1]);
        let t = Top { first: 1, last: 2, ..spec(Amount::Share { num: 1, den: 100 }) };
        assert_eq!(kept(&t, &[0., 9., 8., 7., 0., 0.], None), [0, 4, 5]);
        assert_eq!(kept(&t, &[], None), [0; 0]);
    }

    #[test]
    fn only_what_there_is_to_choose_from() {
        let t = Top { first: 1, last: 1, ..spec(Amount::Count(3)) };
        let among = [false, true, true, true, true, false];
        assert_eq!(kept(&t, &[NAN, 0., 1., 2., 0., NAN], Some(&among)), [1, 3, 4]);
        assert_eq!(kept(&spec(Amount::Share { num: 1, den: 2 }), &[5., 1., 2., 3., 4., 5.], Some(&among)), [3, 4]);
        assert_eq!(kept(&t, &[1., 2.], Some(&[false, false])), [0; 0]);
        assert_eq!(kept(&spec(Amount::Above(1.5)), &[5., 1., 2., 3., 4., 5.], Some(&among)), [2, 3, 4]);
    }

    #[test]
    fn nan_is_an_error_that_names_the_value() {
        let e = top(&spec(Amount::Count(1)), &score(&[1., NAN], &[2]), None).unwrap_err();
        assert_eq!(e, RunError::ScoreNan { name: "pages".into(), position: 1 });
        assert!(rank(&[0], "r", &score(&[NAN], &[1])).is_err());
        assert!(argmax(&[0], &score(&[1., NAN], &[2]), &[]).is_err());
        assert!(argmax(&[0], &score(&[], &[0]), &[]).is_err());
    }

    #[test]
    fn scopes_run_over_the_other_dimensions() {
        // [scope, group, scope]: scopes are (0, .., 0), (0, .., 1), (1, .., 0), (1, .., 1).
        let x = [1., 8., 3., 6., 5., 4., 7., 2., 9., 0., 1., 1.];
        let t = Top { dims: vec![1], ..spec(Amount::Count(1)) };
        let Value::B(b) = top(&t, &score(&x, &[2, 3, 2]), None).unwrap() else { panic!() };
        let at: Vec<usize> = b.iter().enumerate().filter(|(_, k)| **k).map(|(i, _)| i).collect();
        assert_eq!(at, [1, 4, 7, 8]);
        let Value::I(r) = rank(&[0, 2], "r", &score(&[1., 2., 3., 3.], &[2, 1, 2])).unwrap() else { panic!() };
        assert_eq!(r.iter().copied().collect::<Vec<_>>(), [3, 2, 0, 1]);
        let Value::I(a) = argmax(&[1], &score(&x, &[2, 3, 2]), &[2, 2]).unwrap() else { panic!() };
        assert_eq!(a.iter().copied().collect::<Vec<_>>(), [2, 0, 1, 0]);
    }
}
