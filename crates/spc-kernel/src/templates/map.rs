//! Pointwise kernels: any expression over operands of any strides, to contiguous output. Copies, transposes, broadcasts,
//! fills and iotas are expressions too.
use super::expr::{Emitter, vectorises};
use super::nest::{Inner, Sizes, Walk, collapse, contiguous, element_bytes, flat, range, skip};
use crate::extent::Extent;
use crate::ir::{Addr, Builder, Cmp, IBin, Kernel, LoadKind, Op, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_ir::{DType, ScalarExpr};

/// An operand: its type and, for each dimension of the output, its stride in elements (0 where it repeats).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    pub dtype: DType,
    pub strides: Vec<Extent>,
    /// Elements that lie before its first.
    pub offset: u64,
}

#[derive(Clone, Debug)]
pub struct MapSpec<'a> {
    pub name: String,
    pub expr: &'a ScalarExpr,
    pub dtype: DType,
    pub dims: Vec<Extent>,
    pub args: Vec<Operand>,
    /// Where results lie in `y`; nothing: contiguous from its start.
    pub to: Option<Part>,
    pub lanes: usize,
}

/// A part of a larger value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Elements before its first one: the sum of these.
    pub before: Vec<Extent>,
    /// In elements.
    pub strides: Vec<Extent>,
}

/// `y[..] = expr(a0[..], a1[..], ..)`, and what `lo..hi` counts.
///
/// Parameters: `a0`, `a1`, .., `y`, the sizes of free axes `s<id>`, `lo`, `hi`.
pub fn map(spec: &MapSpec<'_>) -> Result<(Kernel, Extent), Bug> {
    let mut dims = spec.dims.clone();
    let mut out = match &spec.to {
        Some(part) => part.strides.clone(),
        None => contiguous(&dims)?,
    };
    let mut args = spec.args.clone();
    if out.len() != dims.len() || args.iter().any(|a| a.strides.len() != dims.len()) {
        return Err(Bug::new(format!("{}: an operand of another rank", spec.name)));
    }
    // An operand that the expression does not use is never read.
    let used: Vec<bool> = (0..args.len()).map(|i| u8::try_from(i).is_ok_and(|i| spec.expr.uses(i) > 0)).collect();
    for (a, _) in args.iter_mut().zip(&used).filter(|(_, used)| !**used) {
        a.strides = vec![Extent::fixed(0); dims.len()];
    }
    let mut strides: Vec<&mut Vec<Extent>> = args.iter_mut().map(|a| &mut a.strides).collect();
    strides.push(&mut out);
    collapse(&mut dims, &mut strides);

    let types: Vec<DType> = args.iter().map(|a| a.dtype).collect();
    let unit = |a: &Operand| a.strides.last().is_some_and(|s| s.is_zero() || s.is_one());
    let vector = spec.lanes > 1
        && spec.dtype == DType::F32
        && out.last().is_some_and(Extent::is_one)
        && args.iter().all(unit)
        && vectorises(spec.expr, &types);

    let mut b = Builder::new(spec.name.clone(), spec.lanes);
    let mut walks = Vec::new();
    for (i, a) in args.iter().enumerate() {
        let base = b.param(&format!("a{i}"), Ty::CPtr);
        walks.push(Walk { base, strides: a.strides.clone(), bytes: element_bytes(a.dtype) });
    }
    let y = b.param("y", Ty::Ptr);
    walks.push(Walk { base: y, strides: out, bytes: element_bytes(spec.dtype) });
    let before = spec.to.as_ref().map_or(&[][..], |p| &p.before);
    let sizes = Sizes::params(&mut b, dims.iter().chain(before).chain(walks.iter().flat_map(|w| &w.strides)));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    if let Some(to) = walks.last_mut() {
        for e in before {
            let one = b.int(1);
            to.base = sizes.advance(&mut b, to.base, one, e, element_bytes(spec.dtype))?;
        }
    }
    for (w, a) in walks.iter_mut().zip(&args) {
        w.base = skip(&mut b, w.base, a.offset, w.bytes)?;
    }

    let m = Map { spec, types: &types, used: &used, walks: &walks, sizes: &sizes };
    flat(&mut b, &sizes, &dims, &walks, (lo, hi), &mut |b, inner| {
        if vector { m.vectors(b, &inner) } else { m.scalars(b, inner.ptrs, inner.count) }
    })?;
    Ok((b.finish()?, range(&dims)?))
}

struct Map<'a> {
    spec: &'a MapSpec<'a>,
    types: &'a [DType],
    used: &'a [bool],
    walks: &'a [Walk],
    sizes: &'a Sizes,
}

impl Map<'_> {
    /// Stride of operand `i` along the innermost dimension.
    fn stride(&self, i: usize) -> Extent {
        self.walks[i].strides.last().cloned().unwrap_or_else(|| Extent::fixed(0))
    }

    fn scalars(&self, b: &mut Builder, ptrs: &[Val], count: Val) -> Result<(), Bug> {
        let mut result = Ok(());
        b.repeat(count, &[], |b, i, _| {
            result = self.scalar(b, ptrs, i);
            Vec::new()
        });
        result
    }

    fn scalar(&self, b: &mut Builder, ptrs: &[Val], i: Val) -> Result<(), Bug> {
        let mut args = Vec::with_capacity(self.types.len());
        for (n, t) in self.types.iter().enumerate() {
            if !self.used[n] {
                args.push(i);
                continue;
            }
            let p = self.sizes.advance(b, ptrs[n], i, &self.stride(n), self.walks[n].bytes)?;
            let kind = match t {
                DType::F32 => LoadKind::F32,
                DType::I32 => LoadKind::I32,
                DType::Bool => LoadKind::Bool,
            };
            args.push(b.load(kind, Addr::new(p)));
        }
        let emitter = Emitter { args: &args, types: self.types, vector: false };
        let v = emitter.emit(b, self.spec.expr, self.spec.dtype)?;
        let out = self.types.len();
        let p = self.sizes.advance(b, ptrs[out], i, &self.stride(out), self.walks[out].bytes)?;
        let kind = match self.spec.dtype {
            DType::F32 => StoreKind::F32,
            DType::I32 => StoreKind::I32,
            DType::Bool => StoreKind::Bool,
        };
        b.store(kind, Addr::new(p), v);
        Ok(())
    }

    /// Whole vectors, then the rest one by one.
    fn vectors(&self, b: &mut Builder, inner: &Inner<'_>) -> Result<(), Bug> {
        let lanes = b.lanes();
        let out = self.types.len();
        let repeated: Vec<Option<Val>> = (0..out)
            .map(|n| match self.used[n] {
                true => self.stride(n).is_zero().then(|| self.splat(b, n, inner)),
                false => Some(inner.count),
            })
            .collect();
        let full = b.op(Op::Shr(inner.count, lanes.trailing_zeros() as u8));
        let mut result = Ok(());
        b.repeat(full, &[], |b, i, _| {
            let at = b.scale(i, 4 * lanes as i64);
            let args: Vec<Val> = (0..out)
                .map(|n| match (repeated[n], self.types[n]) {
                    (Some(v), _) => v,
                    (None, DType::Bool) => {
                        let at = b.scale(i, lanes as i64);
                        let bytes = b.load(LoadKind::VU8, Addr::indexed(inner.ptrs[n], at, 1));
                        let (bytes, zero) = (b.op(Op::IToF(bytes)), b.vfloat(0.0));
                        b.fcmp(Cmp::Ne, bytes, zero)
                    }
                    (None, _) => b.load(LoadKind::VF32, Addr::indexed(inner.ptrs[n], at, 1)),
                })
                .collect();
            let emitter = Emitter { args: &args, types: self.types, vector: true };
            match emitter.emit(b, self.spec.expr, DType::F32) {
                Ok(v) => b.store(StoreKind::VF32, Addr::indexed(inner.ptrs[out], at, 1), v),
                Err(e) => result = Err(e),
            }
            Vec::new()
        });
        result?;
        if inner.known.is_some_and(|n| n.is_multiple_of(lanes as u64)) {
            return Ok(());
        }
        let done = b.scale(full, lanes as i64);
        let left = b.isub(inner.count, done);
        let rest = (0..=out)
            .map(|n| self.sizes.advance(b, inner.ptrs[n], done, &self.stride(n), self.walks[n].bytes))
            .collect::<Result<Vec<Val>, Bug>>()?;
        self.scalars(b, &rest, left)
    }

    /// The repeated element in every lane; not read if there is nothing to compute.
    fn splat(&self, b: &mut Builder, n: usize, inner: &Inner<'_>) -> Val {
        let (one, p) = (b.int(1), Addr::new(inner.ptrs[n]));
        let once = b.ibin(IBin::Min, inner.count, one);
        if self.types[n] == DType::Bool {
            let no = b.op(Op::Bool(false));
            let r = b.repeat(once, &[no], |b, _, _| vec![b.load(LoadKind::Bool, p)]);
            return b.splat(r[0]);
        }
        let zero = b.vfloat(0.0);
        b.repeat(once, &[zero], |b, _, _| vec![b.load(LoadKind::Splat, p)])[0]
    }
}

/// `y[i] = i` as i32 for `lo..hi`. Parameters: `y`, `lo`, `hi`.
pub fn iota() -> Result<Kernel, Bug> {
    let mut b = Builder::new("iota", 1);
    let y = b.param("y", Ty::Ptr);
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let count = b.isub(hi, lo);
    b.repeat(count, &[], |b, i, _| {
        let v = b.iadd(lo, i);
        b.store(StoreKind::I32, Addr::indexed(y, v, 4), v);
        Vec::new()
    });
    b.finish()
}

/// `y[0]` = a size, as i32. Parameters: `y`, the sizes of free axes `s<id>`, `lo`, `hi`.
pub fn extent(size: &Extent) -> Result<Kernel, Bug> {
    let mut b = Builder::new("size", 1);
    let y = b.param("y", Ty::Ptr);
    let sizes = Sizes::params(&mut b, [size]);
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let n = sizes.value(&mut b, size)?;
    let count = b.isub(hi, lo);
    b.repeat(count, &[], |b, _, _| {
        b.store(StoreKind::I32, Addr::new(y), n);
        Vec::new()
    });
    b.finish()
}
