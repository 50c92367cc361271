//! The type of a node from its operator and the types of its operands: the one place where typing rules stand.
use crate::{DType, Dim, Op, Size, Type};
use std::collections::BTreeMap;

/// Arguments of expressions are numbered with 8 bits.
const MAX_MAP_OPERANDS: usize = 256;

/// Most axes of a tensor.
pub const MAX_RANK: usize = 64;

fn arity(op: &Op, got: usize, want: usize) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{} has {got} operands, needs {want}", op.name())) }
}

fn want_f32(op: &Op, t: &Type) -> Result<(), String> {
    if t.dtype == DType::F32 { Ok(()) } else { Err(format!("{} takes f32, not {}", op.name(), t.dtype)) }
}

fn dim_at(t: &Type, i: u32) -> Result<&Dim, String> {
    t.dims.get(i as usize).ok_or_else(|| format!("no dimension {i} in a value of rank {}", t.rank()))
}

fn distinct(list: &[u32]) -> bool {
    let mut sorted = list.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).all(|w| w[0] != w[1])
}

/// Type of `op` applied to operands of these types, or why there is none.
pub fn infer(op: &Op, args: &[&Type]) -> Result<Type, String> {
    match op {
        Op::Input { ty, .. } => arity(op, args.len(), 0).map(|()| ty.clone()),
        Op::Weight { ty, name } => {
            arity(op, args.len(), 0)?;
            match ty.dims.iter().find(|d| d.size.fixed().is_none()) {
                Some(d) => Err(format!("weight {name} has the free axis {}", d.axis)),
                None => Ok(ty.clone()),
            }
        }
        Op::Const { dtype, .. } => arity(op, args.len(), 0).map(|()| Type::scalar(*dtype)),
        Op::Iota { dim } => arity(op, args.len(), 0).map(|()| Type::new(DType::I32, vec![dim.clone()])),
        Op::Map { expr, at } => {
            arity(op, args.len(), at.len())?;
            if args.is_empty() || args.len() > MAX_MAP_OPERANDS {
                return Err(format!("a map has {} operands", args.len()));
            }
            if expr.arity() > args.len() {
                return Err(format!("the expression needs {} operands", expr.arity()));
            }
            let dtypes: Vec<DType> = args.iter().map(|t| t.dtype).collect();
            let dtype = expr.dtype(&dtypes)?.ok_or("the expression has no operand that decides its type")?;
            Ok(Type::new(dtype, place(args, at, &[])?))
        }
        Op::Broadcast { dims, at } => {
            arity(op, args.len(), 1)?;
            if at.iter().any(|p| *p as usize >= dims.len()) {
                return Err("a position lies outside the dimensions of the result".into());
            }
            Ok(Type::new(args[0].dtype, place(args, std::slice::from_ref(at), dims)?))
        }
        Op::Contract { lhs, rhs, out } => contract(op, args, lhs, rhs, out),
        Op::Reduce { f, dims } => {
            arity(op, args.len(), 1)?;
            let (from, to) = f.types();
            if args[0].dtype != from {
                return Err(format!("reduce {} takes {from}, not {}", f.name(), args[0].dtype));
            }
            ascending(args[0], dims)?;
            let kept = (0u32..).zip(&args[0].dims).filter(|(i, _)| !dims.contains(i)).map(|(_, d)| d.clone());
            Ok(Type::new(to, kept.collect()))
        }
        Op::Gather { dim } => {
            arity(op, args.len(), 2)?;
            if args[1].dtype != DType::I32 {
                return Err("ids are not i32".into());
            }
            dim_at(args[0], *dim)?;
            let mut dims = args[0].dims.clone();
            dims.splice(*dim as usize..=*dim as usize, args[1].dims.iter().cloned());
            Ok(Type::new(args[0].dtype, dims))
        }
        Op::Transpose { perm } => {
            arity(op, args.len(), 1)?;
            if perm.len() != args[0].rank() || !distinct(perm) {
                return Err("not a permutation of the dimensions".into());
            }
            let dims = perm.iter().map(|p| dim_at(args[0], *p).cloned()).collect::<Result<_, _>>()?;
            Ok(Type::new(args[0].dtype, dims))
        }
        Op::Split { dim, into } => {
            arity(op, args.len(), 1)?;
            let old = dim_at(args[0], *dim)?.size.fixed().ok_or("a free axis cannot be split")?;
            let product = into.iter().try_fold(1u64, |n, d| n.checked_mul(d.size.fixed()?));
            if into.is_empty() || product != Some(old) {
                return Err(format!("parts of an axis of size {old} do not multiply to it"));
            }
            let mut dims = args[0].dims.clone();
            dims.splice(*dim as usize..=*dim as usize, into.iter().cloned());
            Ok(Type::new(args[0].dtype, dims))
        }
        Op::Merge { dim, count } => {
            arity(op, args.len(), 1)?;
            let end = dim.checked_add(*count).filter(|e| *count > 0 && *e as usize <= args[0].rank());
            let end = end.ok_or("merged dimensions are out of range")? as usize;
            let parts = &args[0].dims[*dim as usize..end];
            let size = parts.iter().try_fold(1u64, |n, d| n.checked_mul(d.size.fixed()?));
            let size = size.ok_or("merged dimensions must be fixed")?;
            let names: Vec<&str> = parts.iter().map(|d| d.axis.as_str()).collect();
            let axis = if names.len() == 1 { names[0].to_string() } else { format!("({})", names.join(" ")) };
            let mut dims = args[0].dims.clone();
            dims.splice(*dim as usize..end, [Dim::fixed(axis, size)]);
            Ok(Type::new(args[0].dtype, dims))
        }
        Op::Concat { dim, axis } => concat(args, *dim, axis),
        Op::Window { dim, into, coeff, .. } => {
            arity(op, args.len(), 1)?;
            dim_at(args[0], *dim)?;
            if coeff.len() != into.len() {
                return Err("a window has one coefficient for each dimension".into());
            }
            let mut dims = args[0].dims.clone();
            dims.splice(*dim as usize..=*dim as usize, into.iter().cloned());
            if dims.len() > MAX_RANK {
                return Err(format!("rank {} is too large", dims.len()));
            }
            Ok(Type::new(args[0].dtype, dims))
        }
        Op::Size { .. } => arity(op, args.len(), 0).map(|()| Type::scalar(DType::I32)),
        Op::Top(t) => {
            arity(op, args.len(), 1 + usize::from(t.among))?;
            want_f32(op, args[0])?;
            ascending(args[0], &t.dims)?;
            if let Some(among) = args.get(1)
                && (among.dtype != DType::Bool || among.sizes() != args[0].sizes())
            {
                return Err("what is chosen from is not a bool of the score's shape".into());
            }
            Ok(Type::new(DType::Bool, args[0].dims.clone()))
        }
        Op::Rank { dims, .. } => {
            arity(op, args.len(), 1)?;
            want_f32(op, args[0])?;
            ascending(args[0], dims)?;
            Ok(Type::new(DType::I32, args[0].dims.clone()))
        }
        Op::Round { last } => {
            arity(op, args.len(), 1)?;
            want_f32(op, args[0])?;
            if *last == 0 || *last as usize > args[0].rank() {
                return Err(format!("{last} dimensions of {} cannot be rounded together", args[0].rank()));
            }
            Ok(args[0].clone())
        }
        Op::Linear { bias, act } => linear(op, args, *bias, act.as_ref()),
    }
}

/// Positions of one operand: at least one, ascending, none out of range.
fn ascending(t: &Type, dims: &[u32]) -> Result<(), String> {
    match dims.last() {
        Some(last) if dims.windows(2).all(|w| w[0] < w[1]) => dim_at(t, *last).map(drop),
        _ => Err("positions are not ascending".into()),
    }
}

/// The result has the size given; where all sizes are numbers, it must be their sum.
fn concat(args: &[&Type], dim: u32, axis: &Dim) -> Result<Type, String> {
    let Some(first) = args.first() else { return Err("a concat without operands".into()) };
    let mut sum = Some(0u64);
    for t in args {
        let along = dim_at(t, dim)?;
        sum = along.size.fixed().and_then(|n| sum?.checked_add(n));
        let same = (0u32..).zip(t.dims.iter().zip(&first.dims)).all(|(i, (a, b))| i == dim || a.size == b.size);
        if t.dtype != first.dtype || t.rank() != first.rank() || !same {
            return Err("joined values differ in another axis or in type".into());
        }
    }
    if let Some(n) = axis.size.fixed()
        && sum != Some(n)
    {
        return Err(format!("the joined sizes do not add up to {n}"));
    }
    let mut dims = first.dims.clone();
    if let Some(d) = dims.get_mut(dim as usize) {
        *d = axis.clone();
    }
    Ok(Type::new(first.dtype, dims))
}

/// Output dimensions of operands whose dimension j lies at output position `at[i][j]`.
fn place(args: &[&Type], at: &[Vec<u32>], given: &[Dim]) -> Result<Vec<Dim>, String> {
    let rank = at.iter().flatten().map(|p| *p as usize + 1).max().unwrap_or(0).max(given.len());
    if rank > MAX_RANK {
        return Err(format!("rank {rank} is too large"));
    }
    let mut dims: Vec<Option<Dim>> = vec![None; rank];
    for (slot, d) in dims.iter_mut().zip(given) {
        *slot = Some(d.clone());
    }
    for (t, places) in args.iter().zip(at) {
        if places.len() != t.rank() || !distinct(places) {
            return Err("an operand's positions do not fit its rank".into());
        }
        for (d, p) in t.dims.iter().zip(places) {
            match &mut dims[*p as usize] {
                Some(e) if e.size != d.size => {
                    return Err(format!("axes {} and {} of different size meet", e.axis, d.axis));
                }
                Some(_) => {}
                slot => *slot = Some(d.clone()),
            }
        }
    }
    dims.into_iter().collect::<Option<Vec<Dim>>>().ok_or_else(|| "an output position has no operand".into())
}

fn contract(op: &Op, args: &[&Type], lhs: &[u32], rhs: &[u32], out: &[u32]) -> Result<Type, String> {
    arity(op, args.len(), 2)?;
    let mut sizes: BTreeMap<u32, (Size, u8)> = BTreeMap::new();
    for ((t, labels), side) in args.iter().zip([lhs, rhs]).zip([1u8, 2]) {
        want_f32(op, t)?;
        if labels.len() != t.rank() || !distinct(labels) {
            return Err("labels do not fit the operand's rank".into());
        }
        for (d, l) in t.dims.iter().zip(labels) {
            let e = sizes.entry(*l).or_insert((d.size, 0));
            if e.0 != d.size {
                return Err(format!("label {l} has two sizes"));
            }
            e.1 |= side;
        }
    }
    if !distinct(out) || out.iter().any(|l| !sizes.contains_key(l)) {
        return Err("output labels are repeated or unknown".into());
    }
    if sizes.iter().any(|(l, (_, sides))| !out.contains(l) && *sides != 3) {
        return Err("a summed label occurs in one operand only".into());
    }
    let find = |l: &u32| {
        let hit = |labels: &[u32], t: &Type| labels.iter().position(|m| m == l).map(|i| t.dims[i].clone());
        hit(lhs, args[0]).or_else(|| hit(rhs, args[1]))
    };
    let dims = out.iter().map(find).collect::<Option<Vec<Dim>>>().ok_or("unknown output label")?;
    Ok(Type::new(DType::F32, dims))
}

fn linear(op: &Op, args: &[&Type], bias: bool, act: Option<&crate::ScalarExpr>) -> Result<Type, String> {
    arity(op, args.len(), 2 + usize::from(bias))?;
    for t in args {
        want_f32(op, t)?;
    }
    let (x, w) = (args[0], args[1]);
    let Some((o, inner)) = w.dims.split_first().filter(|(_, inner)| !inner.is_empty()) else {
        return Err("the weight of a linear has rank 2 or more".into());
    };
    let same = match inner {
        [k] => x.dims.last().map(|d| d.size) == Some(k.size),
        _ => x.dims.last().and_then(|d| d.size.fixed()).is_some_and(|n| w.matrix().is_some_and(|m| m.1 as u64 == n)),
    };
    if !same {
        return Err("the inner sizes of a linear differ".into());
    }
    if let Some(b) = args.get(2)
        && (b.rank() != 1 || b.dims[0].size != o.size)
    {
        return Err("the bias of a linear does not fit".into());
    }
    if let Some(e) = act
        && (e.arity() > 1 || e.dtype(&[DType::F32])?.is_some_and(|t| t != DType::F32))
    {
        return Err("the activation of a linear takes and gives one f32".into());
    }
    let mut dims = x.dims[..x.rank() - 1].to_vec();
    dims.push(o.clone());
    Ok(Type::new(DType::F32, dims))
}
