//! What is done to the outputs of a linear or a convolution channel by channel moves into its rows and its bias: inference
//! batch-norm, scales, constants. `s * (W x + b) + t` is `(diag s W) x + (s * b + t)`. Zeros of `W` stay zeros.
use super::Restructure;
use super::affine::{Scaled, is_one, is_zero, plus, scaled, times};
use super::fold::{FOLD_BATCH_NORM, FOLD_CONSTANT, Fold, Made, constrained, refusal, tail, text, weight};
use super::recipe::Recipe;
use crate::view::{ViewDim, trace};
use crate::{DType, Graph, NodeId, Op, Patch, PatchRef, ScalarExpr, Type};
use spc_base::Bug;

/// What an operand of a map is to a linear below another operand.
enum Operand {
    /// A weight along the channels, or a scalar weight.
    Weight(String),
    Literal(f64),
    Other,
}

/// What can be folded of a map into a linear below it, if something looks like it.
pub(super) fn fold(g: &Graph, n: NodeId) -> Result<Option<Result<Fold, Restructure>>, Bug> {
    let inputs = g.inputs(n);
    for y in 0..inputs.len() {
        if let Some(found) = below(g, n, &inputs, y)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn operands(g: &Graph, inputs: &[NodeId], at: &[Vec<u32>], channel: Option<u32>) -> Result<Vec<Operand>, Bug> {
    let mut out = Vec::new();
    for (i, places) in inputs.iter().zip(at) {
        let named = weight(g, *i)?.filter(|(_, ty)| match ty.rank() {
            0 => true,
            1 => channel.is_some() && places.first().copied() == channel,
            _ => false,
        });
        out.push(match (&g.node(*i)?.op, named) {
            (Op::Const { value, dtype: DType::F32 }, _) => Operand::Literal(*value),
            (_, Some((name, _))) => Operand::Weight(name.to_string()),
            _ => Operand::Other,
        });
    }
    Ok(out)
}

fn below(g: &Graph, n: NodeId, inputs: &[NodeId], y: usize) -> Result<Option<Result<Fold, Restructure>>, Bug> {
    let Op::Map { expr, at } = &g.node(n)?.op else { return Ok(None) };
    let (Some(value), Some(places)) = (inputs.get(y).copied(), at.get(y)) else { return Ok(None) };
    let (lin, dims) = trace(g, value)?;
    let Op::Linear { act: None, .. } = &g.node(lin)?.op else { return Ok(None) };
    let whole = ViewDim { base: (g.ty(lin)?.rank() as u32).saturating_sub(1), part: 0, parts: 1 };
    let channel = dims.iter().position(|d| *d == whole).and_then(|i| places.get(i).copied());
    let kinds = operands(g, inputs, at, channel)?;
    let is_channel = |a: u8| !matches!(kinds.get(usize::from(a)), Some(Operand::Other) | None);
    let Some(Scaled { rest, scale, shift }) = scaled(expr, y as u8, &is_channel) else { return Ok(None) };
    let names = |e: &ScalarExpr| -> Vec<String> {
        let used = kinds.iter().enumerate().filter(|(i, _)| e.uses(*i as u8) > 0);
        let mut out: Vec<String> = Vec::new();
        for (_, k) in used {
            if let Operand::Weight(name) = k
                && !out.contains(name)
            {
                out.push(name.clone());
            }
        }
        out
    };
    let mut what = names(&scale);
    what.extend(names(&shift));
    what.sort();
    what.dedup();
    let rule = if what.is_empty() { FOLD_CONSTANT } else { FOLD_BATCH_NORM };
    let operands = g.inputs(lin);
    let w = *operands.get(1).ok_or_else(|| Bug::new("a linear without a weight"))?;
    let Some((name, ty)) = weight(g, w)? else { return Err(Bug::new("a linear reads no weight")) };
    let told = if what.is_empty() { vec![name.to_string()] } else { what.clone() };
    let refuse = |because: String| Ok(Some(Err(refusal(rule, told.clone(), because))));
    // Every value between the linear and this node has one reader.
    let mut chain = Vec::new();
    let mut v = value;
    loop {
        if g.readers(v).len() != 1 || g.is_output(v) {
            return refuse(format!("the product of `{name}` is read by something else, too"));
        }
        if v == lin {
            break;
        }
        chain.push(v);
        v = g.inputs(v).first().copied().ok_or_else(|| Bug::new("a view without an operand"))?;
    }
    let bias = match operands.get(2) {
        None => None,
        Some(b) => match weight(g, *b)? {
            Some((b, _)) => Some(b.to_string()),
            None => return refuse(format!("the bias beside `{name}` is no weight of its own")),
        },
    };
    if !is_one(&scale) && (g.readers(w) != [lin] || g.is_output(w)) {
        return refuse(format!("`{name}`, which it would move into, is read more than once"));
    }
    let mut touched = what.clone();
    touched.extend(bias.clone());
    if let Some(by) = constrained(g, &touched) {
        return refuse(format!("a constraint is about `{by}`"));
    }
    let mut p = Patch::new("fold-batch-norm");
    // Expressions over the weights of a recipe: literals as they are, weights by their number.
    let of = |e: &ScalarExpr, from: &mut Vec<String>| {
        from.extend(names(e));
        let place = |a: u8| match kinds.get(usize::from(a)) {
            Some(Operand::Weight(name)) => {
                ScalarExpr::Arg(from.iter().skip(1).position(|n| n == name).unwrap_or(0) as u8 + 1)
            }
            Some(Operand::Literal(v)) => ScalarExpr::Const(*v),
            _ => ScalarExpr::Arg(a),
        };
        text(e, &place)
    };
    let mark = what.iter().find(|n| names(&scale).contains(n)).or(what.first());
    let mark = mark.map_or("constant".to_string(), |n| tail(n).to_string());
    let mut made = Vec::new();
    let mut weight_of = PatchRef::Old(w);
    if !is_one(&scale) {
        let mut from = vec![name.to_string()];
        let rows = Some(of(&scale, &mut from));
        let made_name = format!("{name}*{mark}");
        weight_of = p.add(g, Op::Weight { name: made_name.clone(), ty: ty.clone() }, &[])?;
        made.push(Made { name: made_name, from, how: Recipe::Scaled { rows, cols: None } });
    }
    let mut refs =
        vec![PatchRef::Old(*operands.first().ok_or_else(|| Bug::new("a linear without an input"))?), weight_of];
    if bias.is_some() || !is_zero(&shift) {
        // scale * b + shift, the bias being the last of the recipe's weights.
        let mut from = vec![name.to_string()];
        let (s, t) = (names(&scale), names(&shift));
        from.extend(s.iter().chain(t.iter().filter(|n| !s.contains(n))).cloned());
        let b = bias.as_ref().map(|b| {
            from.push(b.clone());
            ScalarExpr::Arg((from.len() - 1) as u8)
        });
        let place = |a: u8| match kinds.get(usize::from(a)) {
            Some(Operand::Weight(name)) => {
                ScalarExpr::Arg(from.iter().skip(1).position(|n| n == name).unwrap_or(0) as u8 + 1)
            }
            Some(Operand::Literal(v)) => ScalarExpr::Const(*v),
            _ => ScalarExpr::Arg(a),
        };
        let (scale, shift) = (scale.substitute(&place), shift.substitute(&place));
        let add = match b {
            Some(b) => plus(times(b, scale), shift),
            None => shift,
        };
        let made_name = format!("{}+{mark}", bias.as_deref().unwrap_or(name));
        let out = ty.dims.first().cloned().ok_or_else(|| Bug::new("a weight without rows"))?;
        let ty = Type::new(DType::F32, vec![out]);
        refs.push(p.add(g, Op::Weight { name: made_name.clone(), ty }, &[])?);
        made.push(Made { name: made_name, from, how: Recipe::Shift { sum: None, add: Some(add.to_string()) } });
    }
    let mut new = p.add(g, Op::Linear { bias: refs.len() > 2, act: None }, &refs)?;
    for view in chain.into_iter().rev() {
        new = p.add(g, g.node(view)?.op.clone(), &[new])?;
    }
    let rank = g.ty(n)?.rank();
    if rest != ScalarExpr::Arg(y as u8) || places.len() != rank || !places.iter().copied().eq(0..rank as u32) {
        let kept: Vec<usize> = (0..inputs.len()).filter(|i| rest.uses(*i as u8) > 0).collect();
        let number = |a: u8| kept.iter().position(|k| *k == usize::from(a)).unwrap_or(0) as u8;
        let expr = rest.substitute(&|a| ScalarExpr::Arg(number(a)));
        let refs: Vec<PatchRef> = kept.iter().map(|i| if *i == y { new } else { PatchRef::Old(inputs[*i]) }).collect();
        let at = kept.iter().map(|i| at[*i].clone()).collect();
        new = match p.add(g, Op::Map { expr, at }, &refs) {
            Ok(m) => m,
            Err(_) => return refuse("without it the value would have another shape".into()),
        };
    }
    if p.ty(g, new)?.sizes() != g.ty(n)?.sizes() {
        return refuse("without it the value would have another shape".into());
    }
    p.replace(g, n, new)?;
    Ok(Some(Ok(Fold::new(rule, told, vec![(n, made)], p))))
}
