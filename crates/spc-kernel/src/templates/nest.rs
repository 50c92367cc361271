//! Loop nests over dimensions whose sizes may be free axes: sizes as values, collapsing of dimensions, and one flat loop
//! over all but the innermost dimension.
use crate::extent::Extent;
use crate::ir::{Builder, IBin, Ty, Val};
use spc_base::Bug;
use spc_ir::{DType, SymId};
use std::collections::BTreeMap;

/// Bytes of one element.
pub fn element_bytes(t: DType) -> u64 {
    match t {
        DType::F32 | DType::I32 => 4,
        DType::Bool => 1,
    }
}

pub(super) fn too_large() -> Bug {
    Bug::new("the size of a value overflows")
}

/// `p`, that many elements on.
pub(super) fn skip(b: &mut Builder, p: Val, elements: u64, bytes: u64) -> Result<Val, Bug> {
    if elements == 0 {
        return Ok(p);
    }
    let by = elements.checked_mul(bytes).and_then(|n| i64::try_from(n).ok()).ok_or_else(too_large)?;
    let by = b.int(by);
    Ok(b.ptr_add(p, by))
}

/// Row-major strides of contiguous dimensions, in elements.
pub fn contiguous(dims: &[Extent]) -> Result<Vec<Extent>, Bug> {
    let mut strides = vec![Extent::fixed(1); dims.len()];
    for d in (1..dims.len()).rev() {
        strides[d - 1] = strides[d].times(&dims[d]).ok_or_else(too_large)?;
    }
    Ok(strides)
}

/// Drops dimensions of size 1 and merges neighbours that every list of strides runs through without a gap.
pub(crate) fn collapse(dims: &mut Vec<Extent>, strides: &mut [&mut Vec<Extent>]) {
    let mut d = dims.len();
    while d > 0 {
        d -= 1;
        let joins = d + 1 < dims.len()
            && strides.iter().all(|s| s[d + 1].times(&dims[d + 1]).is_some_and(|whole| whole == s[d]));
        if dims[d].is_one() {
            dims.remove(d);
            strides.iter_mut().for_each(|s| drop(s.remove(d)));
        } else if joins && let Some(both) = dims[d].times(&dims[d + 1]) {
            dims[d] = both;
            dims.remove(d + 1);
            // The merged dimension has the stride of the inner one.
            strides.iter_mut().for_each(|s| drop(s.remove(d)));
        }
    }
}

/// The sizes of free axes as parameters `s0`, `s1`, .. of a kernel.
#[derive(Clone)]
pub(super) struct Sizes(BTreeMap<SymId, Val>);

impl Sizes {
    /// Adds a parameter for each free axis that occurs.
    pub fn params<'a>(b: &mut Builder, all: impl IntoIterator<Item = &'a Extent>) -> Sizes {
        let mut map: BTreeMap<SymId, Val> = BTreeMap::new();
        let used: std::collections::BTreeSet<SymId> = all.into_iter().flat_map(|e| e.syms.iter().copied()).collect();
        for s in used {
            map.insert(s, b.param(&format!("s{}", s.0), Ty::I64));
        }
        Sizes(map)
    }

    pub fn value(&self, b: &mut Builder, e: &Extent) -> Result<Val, Bug> {
        let coef = i64::try_from(e.coef).map_err(|_| too_large())?;
        let mut v = None;
        for s in &e.syms {
            let size = *self.0.get(s).ok_or_else(|| Bug::new("a free axis has no parameter"))?;
            v = Some(match v {
                Some(v) => b.imul(v, size),
                None => size,
            });
        }
        Ok(match v {
            Some(v) => b.scale(v, coef),
            None => b.int(coef),
        })
    }

    /// `index * stride` elements further on from `p`.
    pub fn advance(&self, b: &mut Builder, p: Val, index: Val, stride: &Extent, bytes: u64) -> Result<Val, Bug> {
        if stride.is_zero() {
            return Ok(p);
        }
        let step = stride.times(&Extent::fixed(bytes)).ok_or_else(too_large)?;
        let offset = match step.known().and_then(|c| i64::try_from(c).ok()) {
            Some(c) => b.scale(index, c),
            None => {
                let step = self.value(b, &step)?;
                b.imul(index, step)
            }
        };
        Ok(b.ptr_add(p, offset))
    }
}

/// A pointer with its strides along the dimensions of a nest.
#[derive(Clone)]
pub(super) struct Walk {
    pub base: Val,
    pub strides: Vec<Extent>,
    pub bytes: u64,
}

/// The part of the innermost dimension that is to be computed: pointers to its first element, and how many.
pub(super) struct Inner<'a> {
    pub ptrs: &'a [Val],
    pub count: Val,
    /// The whole of the dimension, unless the nest has one dimension only and this is a part of it.
    pub known: Option<u64>,
}

/// Iterations of [`flat`]: what `lo..hi` counts.
pub(super) fn range(dims: &[Extent]) -> Result<Extent, Bug> {
    match dims {
        [] => Ok(Extent::fixed(1)),
        [one] => Ok(one.clone()),
        [outer @ .., _] => Extent::product(outer).ok_or_else(too_large),
    }
}

/// Runs `body` for each combination of the outer dimensions in `lo..hi` (counted row-major), or once for the part
/// `lo..hi` of the only dimension.
pub(super) fn flat(
    b: &mut Builder,
    sizes: &Sizes,
    dims: &[Extent],
    walks: &[Walk],
    (lo, hi): (Val, Val),
    body: &mut dyn FnMut(&mut Builder, Inner<'_>) -> Result<(), Bug>,
) -> Result<(), Bug> {
    let count = b.isub(hi, lo);
    let Some((inner, outer)) = dims.split_last() else {
        let mut result = Ok(());
        b.repeat(count, &[], |b, _, _| {
            let ptrs: Vec<Val> = walks.iter().map(|w| w.base).collect();
            let one = b.int(1);
            result = body(b, Inner { ptrs: &ptrs, count: one, known: Some(1) });
            Vec::new()
        });
        return result;
    };
    if outer.is_empty() {
        let ptrs = walks.iter().map(|w| sizes.advance(b, w.base, lo, &w.strides[0], w.bytes));
        let ptrs = ptrs.collect::<Result<Vec<Val>, Bug>>()?;
        return body(b, Inner { ptrs: &ptrs, count, known: None });
    }
    let inner_count = sizes.value(b, inner)?;
    let extents = outer.iter().map(|d| sizes.value(b, d)).collect::<Result<Vec<Val>, Bug>>()?;
    let mut result = Ok(());
    b.repeat(count, &[], |b, i, _| {
        let mut rest = b.iadd(lo, i);
        let mut at = vec![rest; outer.len()];
        for d in (1..outer.len()).rev() {
            at[d] = b.ibin(IBin::Rem, rest, extents[d]);
            rest = b.ibin(IBin::Div, rest, extents[d]);
        }
        at[0] = rest;
        result = (|| {
            let mut ptrs = Vec::with_capacity(walks.len());
            for w in walks {
                let mut p = w.base;
                for (index, stride) in at.iter().zip(&w.strides) {
                    p = sizes.advance(b, p, *index, stride, w.bytes)?;
                }
                ptrs.push(p);
            }
            body(b, Inner { ptrs: &ptrs, count: inner_count, known: inner.known() })
        })();
        Vec::new()
    });
    result
}
