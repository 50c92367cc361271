//! Random loop nests: pointwise, reductions, products, gathers.
use super::{Binder, Case, U, f32_bytes};
use crate::extent::Extent;
use crate::ir::random::Rng;
use crate::templates::{
    Factor, Fold, GatherSpec, MapSpec, Operand, ReduceSpec, contiguous, element_bytes, gather, map, reduce,
};
use spc_base::Bug;
use spc_ir::{DType, ScalarExpr, SymId};

/// A size as an extent: a number, or the free axis of that number.
pub(super) fn extent(rng: &mut Rng, sizes: &mut Vec<usize>, n: usize) -> Extent {
    if rng.below(3) > 0 {
        return Extent::fixed(n as u64);
    }
    sizes.push(n);
    Extent { coef: 1, syms: vec![SymId(sizes.len() as u32 - 1)] }
}

fn dims(rng: &mut Rng, sizes: &mut Vec<usize>, rank: usize, all: &[usize]) -> (Vec<usize>, Vec<Extent>) {
    let plain: Vec<usize> = (0..rank).map(|_| all[rng.below(all.len())]).collect();
    let extents = plain.iter().map(|n| extent(rng, sizes, *n)).collect();
    (plain, extents)
}

pub(super) fn bind_sizes(b: &mut Binder, sizes: &[usize]) -> Vec<u64> {
    for (i, n) in sizes.iter().enumerate() {
        b.int(&format!("s{i}"), *n);
    }
    sizes.iter().map(|n| *n as u64).collect()
}

fn shuffled(rng: &mut Rng, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.below(i + 1));
    }
    order
}

/// Strides of a contiguous operand that has some of the dimensions, in some order; the others repeat.
fn strides(rng: &mut Rng, dims: &[Extent], keep: &dyn Fn(&mut Rng, usize) -> bool) -> Result<Vec<Extent>, Bug> {
    let kept: Vec<usize> = (0..dims.len()).filter(|d| keep(rng, *d)).collect();
    let order: Vec<usize> = match rng.below(3) {
        0 => shuffled(rng, kept.len()).into_iter().map(|i| kept[i]).collect(),
        _ => kept,
    };
    let own: Vec<Extent> = order.iter().map(|d| dims[*d].clone()).collect();
    let mut out = vec![Extent::fixed(0); dims.len()];
    for (d, s) in order.iter().zip(contiguous(&own)?) {
        out[*d] = s;
    }
    Ok(out)
}

/// Elements of an operand: one more than the greatest offset.
fn length(plain: &[usize], strides: &[Extent], sizes: &[u64]) -> usize {
    if plain.contains(&0) {
        return 0;
    }
    let last: u64 = plain.iter().zip(strides).map(|(n, s)| (*n as u64 - 1) * s.bind(sizes).unwrap_or(0)).sum();
    last as usize + 1
}

/// All positions of the dimensions, row-major.
fn positions(plain: &[usize]) -> Vec<Vec<usize>> {
    plain.iter().fold(vec![Vec::new()], |all, n| {
        all.into_iter().flat_map(|p| (0..*n).map(move |i| [p.clone(), vec![i]].concat())).collect()
    })
}

fn offset(at: &[usize], strides: &[Extent], sizes: &[u64]) -> usize {
    at.iter().zip(strides).map(|(i, s)| i * s.bind(sizes).unwrap_or(0) as usize).sum()
}

const EXPRESSIONS: [(&str, DType, &[DType]); 12] = [
    ("(add a0 (mul a1 a0))", DType::F32, &[DType::F32, DType::F32]),
    ("(max (min a0 1) (neg a1))", DType::F32, &[DType::F32, DType::F32]),
    ("(select (and (lt a0 a1) (not (eq a1 0))) (sqrt a0) (floor a1))", DType::F32, &[DType::F32, DType::F32]),
    ("(mul (exp (abs a0)) (f32 (ge a0 0.5)))", DType::F32, &[DType::F32]),
    ("(select a2 a0 (f32 a1))", DType::F32, &[DType::F32, DType::I32, DType::Bool]),
    ("(or (le a0 a1) a2)", DType::Bool, &[DType::F32, DType::F32, DType::Bool]),
    ("(add (mul a0 a1) (i32 a2))", DType::I32, &[DType::I32, DType::I32, DType::F32]),
    ("(div (pow a0 a1) (max a1 (abs a0)))", DType::I32, &[DType::I32, DType::I32]),
    ("(ne a0 (bool a1))", DType::Bool, &[DType::Bool, DType::I32]),
    ("a0", DType::F32, &[DType::F32]),
    ("(select a2 (div a0 a1) -inf)", DType::F32, &[DType::F32, DType::F32, DType::Bool]),
    ("(mul a0 (f32 (and a1 (not a2))))", DType::F32, &[DType::F32, DType::Bool, DType::Bool]),
];

/// A pointwise kernel. Nothing is promised of its result here.
pub fn mapped(rng: &mut Rng, lanes: usize) -> Result<Case, Bug> {
    let mut sizes = Vec::new();
    let rank = rng.below(4);
    let (plain, extents) = dims(rng, &mut sizes, rank, &[0, 1, 1, 2, 3, 5, 8, 13, 37]);
    let (text, dtype, types) = EXPRESSIONS[rng.below(EXPRESSIONS.len())];
    let expr = ScalarExpr::parse(text).map_err(Bug::new)?;
    let mut args = Vec::new();
    for t in types {
        let some = rng.below(2) == 0;
        let keep = move |rng: &mut Rng, _: usize| !some || rng.below(2) == 0;
        args.push(Operand { dtype: *t, strides: strides(rng, &extents, &keep)?, offset: 0 });
    }
    let spec = MapSpec { name: "map".into(), expr: &expr, dtype, dims: extents, args: args.clone(), to: None, lanes };
    let (kernel, range) = map(&spec)?;
    let mut b = Binder::new();
    let bound = bind_sizes(&mut b, &sizes);
    for (i, a) in args.iter().enumerate() {
        let n = length(&plain, &a.strides, &bound);
        let bytes = match a.dtype {
            DType::F32 => f32_bytes(&(0..n).map(|_| rng.float()).collect::<Vec<_>>()),
            DType::I32 => (0..n).flat_map(|_| (rng.below(9) as i32 - 4).to_le_bytes()).collect(),
            DType::Bool => (0..n).map(|_| rng.below(2) as u8).collect(),
        };
        b.buffer(&format!("a{i}"), bytes);
    }
    let count: usize = plain.iter().product();
    let y = b.buffer("y", vec![0; count * element_bytes(dtype) as usize]);
    b.case(kernel, range.bind(&bound).unwrap_or(0) as usize, y, Vec::new())
}

/// A reduction, or a product of two operands that share the reduced dimensions.
pub fn contract(rng: &mut Rng, lanes: usize) -> Result<Case, Bug> {
    let mut sizes = Vec::new();
    let (out_rank, red_rank) = (rng.below(4), rng.below(3));
    let (out_plain, out) = dims(rng, &mut sizes, out_rank, &[1, 2, 3, 4, 6, 9, 16, 35]);
    let (red_plain, red) = dims(rng, &mut sizes, red_rank, &[1, 2, 4, 5, 11, 16, 32, 0]);
    let f = Fold::ALL[rng.below(5)];
    let two = f == Fold::Sum && rng.below(3) > 0;
    let all: Vec<Extent> = out.iter().chain(&red).cloned().collect();
    let mut factors = Vec::new();
    for _ in 0..1 + usize::from(two) {
        let keep = move |rng: &mut Rng, d: usize| !two || d >= out_rank || rng.below(3) > 0;
        let s = strides(rng, &all, &keep)?;
        factors.push(Factor { out: s[..out_rank].to_vec(), red: s[out_rank..].to_vec(), offset: 0 });
    }
    let spec = ReduceSpec { name: "reduce".into(), f, out, red, factors: factors.clone(), lanes };
    let (kernel, range) = reduce(&spec)?;
    let mut b = Binder::new();
    let bound = bind_sizes(&mut b, &sizes);
    let plain: Vec<usize> = out_plain.iter().chain(&red_plain).copied().collect();
    let mut data: Vec<Vec<f32>> = Vec::new();
    for (i, a) in factors.iter().enumerate() {
        let n = length(&plain, &[a.out.clone(), a.red.clone()].concat(), &bound);
        let values: Vec<f32> = (0..n).map(|_| (rng.below(4001) as f32 - 2000.0) / 1000.0).collect();
        b.buffer(&format!("a{i}"), f32_bytes(&values));
        data.push(values);
    }
    let mut want = Vec::new();
    for at in positions(&out_plain) {
        let mut terms = Vec::new();
        for k in positions(&red_plain) {
            let value =
                |(a, v): (&Factor, &Vec<f32>)| f64::from(v[offset(&at, &a.out, &bound) + offset(&k, &a.red, &bound)]);
            terms.push(factors.iter().zip(&data).map(value).product::<f64>());
        }
        let n = terms.len() as f64;
        let sum: f64 = terms.iter().sum();
        let bound = (n + 2.0) * U * terms.iter().map(|t| t.abs()).sum::<f64>();
        want.push(match f {
            Fold::Sum => Some((sum, bound)),
            Fold::Mean if terms.is_empty() => Some((f64::NAN, 0.0)),
            Fold::Mean => Some((sum / n, bound / n + U * (sum / n).abs())),
            Fold::Max => Some((terms.iter().copied().fold(f64::NEG_INFINITY, f64::max), 0.0)),
            Fold::Min => Some((terms.iter().copied().fold(f64::INFINITY, f64::min), 0.0)),
            Fold::Product => {
                let all: f64 = terms.iter().product();
                Some((all, (n + 2.0) * U * all.abs() + (n + 1.0) * f64::from(f32::MIN_POSITIVE)))
            }
        });
    }
    let y = b.buffer("y", vec![0; 4 * want.len()]);
    b.case(kernel, range.bind(&bound).unwrap_or(0) as usize, y, want)
}

/// A gather with some ids out of range. The result begins with the status word (as the bits of a float), a gap of 60
/// bytes follows.
pub fn gathered(rng: &mut Rng, lanes: usize) -> Result<Case, Bug> {
    let mut sizes = Vec::new();
    let (plain, e) = dims(rng, &mut sizes, 4, &[0, 1, 2, 3, 6, 17]);
    let [before, rows, after, ids] = [plain[0], plain[1], plain[2], plain[3]];
    let spec = GatherSpec {
        name: "gather".into(),
        dtype: DType::F32,
        before: e[0].clone(),
        rows: e[1].clone(),
        after: e[2].clone(),
        ids: e[3].clone(),
        lanes,
    };
    let (kernel, range) = gather(&spec)?;
    let mut b = Binder::new();
    let bound = bind_sizes(&mut b, &sizes);
    let table: Vec<f32> = (0..before * rows * after).map(|i| i as f32).collect();
    let wild = rng.below(3) == 0;
    let id = |rng: &mut Rng| match rng.below(8) {
        0 if wild => -1,
        1 if wild => rows as i32,
        2 if wild => i32::MIN,
        _ => rng.below(rows.max(1)) as i32,
    };
    let ids: Vec<i32> = (0..ids).map(|_| id(rng)).collect();
    b.buffer("table", f32_bytes(&table));
    b.buffer("ids", ids.iter().flat_map(|i| i.to_le_bytes()).collect());
    let inside = |i: i32| usize::try_from(i).ok().filter(|i| *i < rows);
    let bad = before > 0 && ids.iter().any(|i| inside(*i).is_none());
    let status = f64::from(f32::from_bits(u32::from(bad)));
    let mut want = vec![None; 16];
    want[0] = Some((status, 0.0));
    for p in 0..before {
        for i in &ids {
            let row = inside(*i).map(|i| (p * rows + i) * after);
            want.extend((0..after).map(|k| Some((row.map_or(f64::NAN, |r| f64::from(table[r + k])), 0.0))));
        }
    }
    let y = b.buffer("status", vec![0; 4 * want.len()]);
    b.pointer("y", y, 64);
    b.case(kernel, range.bind(&bound).unwrap_or(0) as usize, y, want)
}
