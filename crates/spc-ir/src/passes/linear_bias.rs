//! Moves `linear(x, w) + b` into the linear, through the views in between.
//! Needs: b is a weight of rank 1, laid exactly along the linear's output axis; nothing else reads the linear.
//! Keeps: the value, bit for bit (the bias is added after the sum in both).
use super::{PassCx, Rule};
use crate::view::{ViewDim, trace};
use crate::{BinFn, Graph, NodeId, Op, Patch, PatchRef, ScalarExpr};
use spc_base::Bug;

pub const LINEAR_BIAS: Rule = Rule { name: "linear-bias", apply };

fn apply(g: &Graph, n: NodeId, _: &PassCx) -> Result<Option<Patch>, Bug> {
    let Op::Map { expr, at } = &g.node(n)?.op else { return Ok(None) };
    let inputs = g.inputs(n);
    for y in 0..inputs.len() {
        for b in 0..inputs.len() {
            if y != b
                && let Some(rest) = without_bias(expr, y as u8, b as u8)
                && let Some(p) = try_pair(g, n, &inputs, at, (y, b), &rest)?
            {
                return Ok(Some(p));
            }
        }
    }
    Ok(None)
}

/// `expr` with `a_y + a_b` replaced by `a_y`, if those two occur in no other way.
fn without_bias(expr: &ScalarExpr, y: u8, b: u8) -> Option<ScalarExpr> {
    fn walk(e: &ScalarExpr, y: u8, b: u8, hits: &mut usize) -> ScalarExpr {
        if let ScalarExpr::Bin(BinFn::Add, l, r) = e {
            let pair = [l.as_ref(), r.as_ref()];
            if pair == [&ScalarExpr::Arg(y), &ScalarExpr::Arg(b)] || pair == [&ScalarExpr::Arg(b), &ScalarExpr::Arg(y)]
            {
                *hits += 1;
                return ScalarExpr::Arg(y);
            }
        }
        match e {
            ScalarExpr::Arg(_) | ScalarExpr::Const(_) => e.clone(),
            ScalarExpr::Un(f, a) => ScalarExpr::un(*f, walk(a, y, b, hits)),
            ScalarExpr::Cast(t, a) => ScalarExpr::cast(*t, walk(a, y, b, hits)),
            ScalarExpr::Bin(f, l, r) => ScalarExpr::bin(*f, walk(l, y, b, hits), walk(r, y, b, hits)),
            ScalarExpr::Select(c, l, r) => {
                ScalarExpr::select(walk(c, y, b, hits), walk(l, y, b, hits), walk(r, y, b, hits))
            }
        }
    }
    let mut hits = 0;
    let rest = walk(expr, y, b, &mut hits);
    (hits > 0 && expr.uses(y) == hits && expr.uses(b) == hits).then_some(rest)
}

fn try_pair(
    g: &Graph,
    n: NodeId,
    inputs: &[NodeId],
    at: &[Vec<u32>],
    (y, b): (usize, usize),
    rest: &ScalarExpr,
) -> Result<Option<Patch>, Bug> {
    let (lin, ydims) = trace(g, inputs[y])?;
    let (bias, bdims) = trace(g, inputs[b])?;
    if !matches!(g.node(lin)?.op, Op::Linear { bias: false, act: None })
        || !matches!(g.node(bias)?.op, Op::Weight { .. })
        || g.ty(bias)?.rank() != 1
    {
        return Ok(None);
    }
    // Every value between the linear and this node has one reader.
    let mut v = inputs[y];
    loop {
        if g.readers(v).len() != 1 || g.is_output(v) {
            return Ok(None);
        }
        if v == lin {
            break;
        }
        v = g.inputs(v).first().copied().ok_or_else(|| Bug::new("a view without an operand"))?;
    }
    let channel = g.ty(lin)?.rank() as u32 - 1;
    let parts: Vec<(u32, u32)> = bdims.iter().map(|d| (d.part, d.parts)).collect();
    let fits = bdims.iter().zip(&at[b]).all(|(bd, place)| {
        let wanted = ViewDim { base: channel, part: bd.part, parts: bd.parts };
        at[y].iter().position(|q| q == place).is_some_and(|i| ydims[i] == wanted)
    });
    let whole = ydims.iter().filter(|d| d.base == channel).count() == parts.len();
    let sizes_agree = {
        let size = |id: NodeId, dims: &[ViewDim], base: u32| -> Result<Vec<_>, Bug> {
            let t = g.ty(id)?;
            let mut v: Vec<_> = dims.iter().zip(&t.dims).filter(|(d, _)| d.base == base).collect();
            v.sort_by_key(|(d, _)| d.part);
            Ok(v.into_iter().map(|(_, d)| d.size).collect())
        };
        size(inputs[y], &ydims, channel)? == size(inputs[b], &bdims, 0)?
    };
    if !fits || !whole || !sizes_agree {
        return Ok(None);
    }
    let mut p = Patch::new(LINEAR_BIAS.name);
    let li = g.inputs(lin);
    let mut value = p.add(
        g,
        Op::Linear { bias: true, act: None },
        &[PatchRef::Old(li[0]), PatchRef::Old(li[1]), PatchRef::Old(bias)],
    )?;
    // The same views again, from the linear outwards.
    let mut chain = Vec::new();
    let mut v = inputs[y];
    while v != lin {
        chain.push(v);
        v = g.inputs(v).first().copied().ok_or_else(|| Bug::new("a view without an operand"))?;
    }
    for view in chain.into_iter().rev() {
        value = p.add(g, g.node(view)?.op.clone(), &[value])?;
    }
    let identity = at[y].iter().copied().eq(0..at[y].len() as u32);
    if *rest == ScalarExpr::Arg(y as u8) && identity && at[y].len() == g.ty(n)?.rank() {
        p.replace(g, n, value)?;
        return Ok(Some(p));
    }
    // Drop operand b, renumber the others.
    let keep: Vec<usize> = (0..inputs.len()).filter(|i| *i != b).collect();
    let number = |a: u8| keep.iter().position(|k| *k == a as usize).unwrap_or(0) as u8;
    let expr = rest.substitute(&|a| ScalarExpr::Arg(number(a)));
    let refs: Vec<PatchRef> = keep.iter().map(|i| if *i == y { value } else { PatchRef::Old(inputs[*i]) }).collect();
    let at = keep.iter().map(|i| at[*i].clone()).collect();
    let m = p.add(g, Op::Map { expr, at }, &refs)?;
    p.replace(g, n, m)?;
    Ok(Some(p))
}
