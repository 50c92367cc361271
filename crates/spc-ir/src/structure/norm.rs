//! The gain and the shift of a norm, or of any pointwise value, move into the linears that read it: `W (x * g + s) + b` is
//! `(W diag g) x + (W s + b)`. Zeros of `W` stay zeros.
use super::Restructure;
use super::affine::{Gained, gained, is_one, is_zero};
use super::fold::{FOLD_NORM, Fold, Made, constrained, refusal, tail, text, weight};
use super::recipe::Recipe;
use crate::{DType, Graph, NodeId, Op, Patch, PatchRef, ScalarExpr, Size, Type};
use spc_base::Bug;

/// What can be folded of a map, if something looks like it.
pub(super) fn fold(g: &Graph, n: NodeId) -> Result<Option<Result<Fold, Restructure>>, Bug> {
    let node = g.node(n)?;
    let Op::Map { expr, at } = &node.op else { return Ok(None) };
    let inputs = g.inputs(n);
    let Some(last) = (node.ty.rank() as u32).checked_sub(1) else { return Ok(None) };
    if node.ty.dtype != DType::F32 {
        return Ok(None);
    }
    // Weights along the last axis.
    let mut along: Vec<Option<String>> = Vec::new();
    for (i, places) in inputs.iter().zip(at) {
        let named = weight(g, *i)?.filter(|(_, ty)| ty.rank() == 1 && places.as_slice() == [last]);
        along.push(named.map(|(name, _)| name.to_string()));
    }
    let channel = |a: u8| along.get(usize::from(a)).is_some_and(Option::is_some);
    let Gained { rest, gain, shift } = gained(expr, &channel);
    if is_one(&gain) && is_zero(&shift) {
        return Ok(None);
    }
    let names = |e: &ScalarExpr| -> Vec<String> {
        let used = along.iter().enumerate().filter(|(i, _)| e.uses(*i as u8) > 0);
        used.filter_map(|(_, n)| n.clone()).collect()
    };
    let mut what = names(&gain);
    what.extend(names(&shift));
    what.dedup();
    let readers = g.readers(n);
    let reads = |r: NodeId| -> Result<bool, Bug> {
        Ok(matches!(g.node(r)?.op, Op::Linear { .. }) && g.inputs(r).first() == Some(&n))
    };
    let mut linears = Vec::new();
    let mut other = None;
    for r in readers {
        if !reads(r)? {
            other = Some(format!("what it is a part of is read by a {} too", g.node(r)?.op.name()));
        } else if !linears.contains(&r) {
            linears.push(r);
        }
    }
    if linears.is_empty() {
        return Ok(None);
    }
    let refuse = |because: String| Ok(Some(Err(refusal(FOLD_NORM, what.clone(), because))));
    if g.is_output(n) {
        return refuse("what it is a part of is a result".into());
    }
    if let Some(why) = other {
        return refuse(why);
    }
    let mut p = Patch::new("fold-norm");
    // What is left of the map.
    let kept: Vec<usize> = (0..inputs.len()).filter(|i| rest.uses(*i as u8) > 0).collect();
    let sizes = node.ty.sizes();
    let whole = |i: usize| {
        let ty = inputs.get(i).and_then(|x| g.ty(*x).ok());
        let identity = at.get(i).is_some_and(|a| a.iter().copied().eq(0..=last));
        identity && ty.is_some_and(|t| t.dtype == DType::F32 && t.sizes() == sizes)
    };
    let x = match (&rest, kept.as_slice()) {
        (ScalarExpr::Arg(_), [i]) if whole(*i) => PatchRef::Old(inputs[*i]),
        _ => {
            let number = |a: u8| kept.iter().position(|k| *k == usize::from(a)).unwrap_or(0) as u8;
            let expr = rest.substitute(&|a| ScalarExpr::Arg(number(a)));
            let refs: Vec<PatchRef> = kept.iter().map(|i| PatchRef::Old(inputs[*i])).collect();
            let at = kept.iter().map(|i| at[*i].clone()).collect();
            match p.add(g, Op::Map { expr, at }, &refs) {
                Ok(x) if p.ty(g, x)?.sizes() == sizes => x,
                _ => return refuse("without it the value would have another shape".into()),
            }
        }
    };
    let mut replaced = Vec::new();
    for l in linears {
        let operands = g.inputs(l);
        let Op::Linear { act, .. } = &g.node(l)?.op else { return Err(Bug::new("not a linear")) };
        let w = *operands.get(1).ok_or_else(|| Bug::new("a linear without a weight"))?;
        let Some((name, ty)) = weight(g, w)? else { return Err(Bug::new("a linear reads no weight")) };
        if g.readers(w) != [l] || g.is_output(w) {
            return refuse(format!("`{name}`, which it would move into, is read more than once"));
        }
        if ty.rank() != 2 {
            return refuse(format!("`{name}`, which it would move into, has more than rows and columns"));
        }
        let bias = match operands.get(2) {
            None => None,
            Some(b) => match weight(g, *b)? {
                Some((b, _)) => Some(b.to_string()),
                None => return refuse(format!("the bias beside `{name}` is no weight of its own")),
            },
        };
        let mut touched = what.clone();
        touched.extend(bias.iter().filter(|_| !is_zero(&shift)).cloned());
        if let Some(by) = constrained(g, &touched) {
            return refuse(format!("a constraint is about `{by}`"));
        }
        let mut made = Vec::new();
        let of = |e: &ScalarExpr, from: &mut Vec<String>| {
            let list = names(e);
            let first = from.len();
            let place = |a: u8| {
                let name = along.get(usize::from(a)).and_then(|n| n.as_ref());
                let at = name.and_then(|n| list.iter().position(|m| m == n)).unwrap_or(0);
                ScalarExpr::Arg((first + at) as u8)
            };
            let t = text(e, &place);
            from.extend(list.iter().cloned());
            t
        };
        let mut weight_of = PatchRef::Old(w);
        if !is_one(&gain) {
            let mut from = vec![name.to_string()];
            let cols = Some(of(&gain, &mut from));
            let by: Vec<&str> = from.iter().skip(1).map(|n| tail(n)).collect();
            let name = format!("{name}*{}", by.join("*"));
            weight_of = p.add(g, Op::Weight { name: name.clone(), ty: ty.clone() }, &[])?;
            made.push(Made { name, from, how: Recipe::Scaled { rows: None, cols } });
        }
        let mut refs = vec![x, weight_of];
        if !is_zero(&shift) {
            let mut from = vec![name.to_string()];
            let sum = Some(of(&shift, &mut from));
            let by: Vec<&str> = from.iter().skip(1).map(|n| tail(n)).collect();
            let made_name = format!("{}+{}", bias.as_deref().unwrap_or(name), by.join("+"));
            let add = bias.as_ref().map(|b| {
                from.push(b.clone());
                format!("a{}", from.len() - 1)
            });
            let out = ty.dims.first().cloned().ok_or_else(|| Bug::new("a weight without rows"))?;
            if !matches!(out.size, Size::Fixed(_)) {
                return Err(Bug::new("a weight with a free axis"));
            }
            let ty = Type::new(DType::F32, vec![out]);
            refs.push(p.add(g, Op::Weight { name: made_name.clone(), ty }, &[])?);
            made.push(Made { name: made_name, from, how: Recipe::Shift { sum, add } });
        } else if let Some(b) = operands.get(2) {
            refs.push(PatchRef::Old(*b));
        }
        let y = p.add(g, Op::Linear { bias: refs.len() > 2, act: act.clone() }, &refs)?;
        p.replace(g, l, y)?;
        replaced.push((l, made));
    }
    Ok(Some(Ok(Fold::new(FOLD_NORM, what, replaced, p))))
}
