//! Sums of products, and reductions: `y[out] = finish(combine over red of a0[out, red] * a1[out, red])`, any strides.
//!
//! One of three forms is chosen: vectors over the innermost output dimension (where every operand is contiguous or
//! repeats along it), vectors over a reduced dimension (where every operand is contiguous along it) with one horizontal
//! reduction at the end, or scalars. The order of a sum does not depend on `lo..hi`.
mod horizontal;

use super::nest::{Inner, Sizes, Walk, collapse, contiguous, flat, range, skip, too_large};
use super::tile::{Count, unrolled};
use crate::extent::Extent;
use crate::ir::{Addr, Builder, FBin, Kernel, LoadKind, Op, StoreKind, Ty, Val};
use spc_base::Bug;

/// What a reduction computes: those of the graph that give f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    Sum,
    Mean,
    Max,
    Min,
    Product,
}

impl Fold {
    pub const ALL: [Fold; 5] = [Fold::Sum, Fold::Mean, Fold::Max, Fold::Min, Fold::Product];

    pub fn of(f: spc_ir::ReduceFn) -> Option<Fold> {
        Some(match f {
            spc_ir::ReduceFn::Sum => Fold::Sum,
            spc_ir::ReduceFn::Mean => Fold::Mean,
            spc_ir::ReduceFn::Max => Fold::Max,
            spc_ir::ReduceFn::Min => Fold::Min,
            spc_ir::ReduceFn::Product => Fold::Product,
            _ => return None,
        })
    }
}

/// Strides of an operand in elements, along the output and along the reduced dimensions (0 where it repeats).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    pub out: Vec<Extent>,
    pub red: Vec<Extent>,
    /// Elements that lie before its first.
    pub offset: u64,
}

/// A reduction of one operand, or with `Sum` of the product of two.
#[derive(Clone, Debug)]
pub struct ReduceSpec {
    pub name: String,
    pub f: Fold,
    pub out: Vec<Extent>,
    pub red: Vec<Extent>,
    pub factors: Vec<Factor>,
    pub lanes: usize,
}

/// The kernel, and what `lo..hi` counts.
///
/// Parameters: `a0`, `a1` if there is one, `y` (contiguous), the sizes of free axes `s<id>`, `lo`, `hi`. All f32.
pub fn reduce(spec: &ReduceSpec) -> Result<(Kernel, Extent), Bug> {
    let fits = |f: &Factor| f.out.len() == spec.out.len() && f.red.len() == spec.red.len();
    let arity = if spec.f == Fold::Sum { 1..=2 } else { 1..=1 };
    if !arity.contains(&spec.factors.len()) || !spec.factors.iter().all(fits) {
        return Err(Bug::new(format!("{}: operands do not fit", spec.name)));
    }
    let (mut out, mut red) = (spec.out.clone(), spec.red.clone());
    let mut y_strides = contiguous(&out)?;
    let mut outs: Vec<Vec<Extent>> = spec.factors.iter().map(|f| f.out.clone()).collect();
    let mut reds: Vec<Vec<Extent>> = spec.factors.iter().map(|f| f.red.clone()).collect();
    collapse(&mut out, &mut outs.iter_mut().chain([&mut y_strides]).collect::<Vec<_>>());
    collapse(&mut red, &mut reds.iter_mut().collect::<Vec<_>>());
    let form = match choose(spec.lanes, &out, &outs, &red, &reds) {
        // Lanes have no horizontal product.
        Form::Reduced(_) if spec.f == Fold::Product => Form::Scalar,
        form => form,
    };
    if let Form::Reduced(d) = form {
        // The dimension that vectors run along becomes the innermost.
        for list in reds.iter_mut().chain([&mut red]) {
            let e = list.remove(d);
            list.push(e);
        }
    }

    let mut b = Builder::new(spec.name.clone(), spec.lanes);
    let mut walks = Vec::new();
    for (i, strides) in outs.into_iter().enumerate() {
        walks.push(Walk { base: b.param(&format!("a{i}"), Ty::CPtr), strides, bytes: 4 });
    }
    walks.push(Walk { base: b.param("y", Ty::Ptr), strides: y_strides, bytes: 4 });
    let used = out.iter().chain(&red).chain(&spec.red).chain(walks.iter().flat_map(|w| &w.strides));
    let sizes = Sizes::params(&mut b, used.chain(reds.iter().flatten()));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    for (w, f) in walks.iter_mut().zip(&spec.factors) {
        w.base = skip(&mut b, w.base, f.offset, w.bytes)?;
    }
    let mean = match spec.f {
        Fold::Mean => {
            let n = Extent::product(&spec.red).ok_or_else(too_large)?;
            let n = sizes.value(&mut b, &n)?;
            Some(b.op(Op::IToF(n)))
        }
        _ => None,
    };
    let r = Reduce { f: spec.f, form, walks: &walks, red: &red, reds: &reds, sizes: &sizes, mean };
    flat(&mut b, &sizes, &out, &walks, (lo, hi), &mut |b, inner| r.inner(b, &inner))?;
    Ok((b.finish()?, range(&out)?))
}

/// What vectors run along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Outputs,
    /// The reduced dimension of that number.
    Reduced(usize),
    Scalar,
}

fn choose(lanes: usize, out: &[Extent], outs: &[Vec<Extent>], red: &[Extent], reds: &[Vec<Extent>]) -> Form {
    let wide = |e: &Extent| e.known().is_none_or(|n| n >= lanes as u64);
    if lanes == 1 {
        return Form::Scalar;
    }
    if out.last().is_some_and(wide) {
        let last = || outs.iter().filter_map(|s| s.last());
        if last().all(|s| s.is_zero() || s.is_one()) && last().any(Extent::is_one) {
            return Form::Outputs;
        }
    }
    let contiguous = |d: &usize| wide(&red[*d]) && reds.iter().all(|s| s[*d].is_one());
    (0..red.len()).rev().find(contiguous).map_or(Form::Scalar, Form::Reduced)
}

/// What is done for each combination of outer reduced dimensions: operands, state, new state.
type Rounds<'a> = &'a mut dyn FnMut(&mut Builder, &[Val], Vec<Val>) -> Result<Vec<Val>, Bug>;
/// What is done for each element: pointers of the operands, state, new state.
type Element<'a> = &'a dyn Fn(&mut Builder, &[Val], &[Val]) -> Vec<Val>;

struct Reduce<'a> {
    f: Fold,
    form: Form,
    /// The operands and the output.
    walks: &'a [Walk],
    red: &'a [Extent],
    reds: &'a [Vec<Extent>],
    sizes: &'a Sizes,
    /// Number of reduced elements, for a mean.
    mean: Option<Val>,
}

impl Reduce<'_> {
    fn stride(&self, i: usize) -> Extent {
        self.walks[i].strides.last().cloned().unwrap_or_else(|| Extent::fixed(0))
    }

    fn start(&self) -> f32 {
        match self.f {
            Fold::Sum | Fold::Mean => 0.0,
            Fold::Max => f32::NEG_INFINITY,
            Fold::Min => f32::INFINITY,
            Fold::Product => 1.0,
        }
    }

    fn combine(&self, b: &mut Builder, acc: Val, v: Val) -> Val {
        let f = match self.f {
            Fold::Sum | Fold::Mean => FBin::Add,
            Fold::Max => FBin::Max,
            Fold::Min => FBin::Min,
            Fold::Product => FBin::Mul,
        };
        b.fbin(f, acc, v)
    }

    /// Accumulates the product of the loaded operands.
    fn accumulate(&self, b: &mut Builder, acc: Val, factors: &[Val]) -> Val {
        match factors {
            [x, y] => b.fma(*x, *y, acc),
            [x] => self.combine(b, acc, *x),
            _ => acc,
        }
    }

    fn store(&self, b: &mut Builder, v: Val, p: Val, vector: bool) {
        let v = match self.mean {
            Some(n) => {
                let n = if vector { b.splat(n) } else { n };
                b.fbin(FBin::Div, v, n)
            }
            None => v,
        };
        b.store(if vector { StoreKind::VF32 } else { StoreKind::F32 }, Addr::new(p), v);
    }

    /// A part of the innermost output dimension: tiles of several outputs, widest first.
    fn inner(&self, b: &mut Builder, inner: &Inner<'_>) -> Result<(), Bug> {
        let lanes = b.lanes();
        let tiles: Vec<(usize, bool)> = match self.form {
            Form::Outputs => vec![(8 * lanes, true), (2 * lanes, true), (lanes, true), (1, false)],
            Form::Reduced(_) if self.squares(lanes) => vec![(lanes, true), (4, false), (1, false)],
            Form::Reduced(_) => vec![(4, false), (1, false)],
            Form::Scalar => vec![(1, false)],
        };
        let (mut ptrs, mut left, mut known) = (inner.ptrs.to_vec(), inner.count, inner.known);
        for (width, vector) in tiles {
            if known.is_some_and(|n| n < width as u64) {
                continue;
            }
            let count = b.op(Op::Shr(left, width.trailing_zeros() as u8));
            let mut result = Ok(());
            ptrs = b.repeat(count, &ptrs, |b, _, p| {
                let body = match (vector, self.form) {
                    (true, Form::Reduced(_)) => self.square(b, p),
                    (true, _) => self.output_vectors(b, p, width / lanes),
                    (false, Form::Reduced(_)) => self.horizontal(b, p, width),
                    (false, _) => self.scalar(b, p),
                };
                let next = body.and_then(|()| {
                    let by = b.int(width as i64);
                    (0..p.len()).map(|i| self.sizes.advance(b, p[i], by, &self.stride(i), 4)).collect()
                });
                next.unwrap_or_else(|e: Bug| {
                    result = Err(e);
                    p.to_vec()
                })
            });
            result?;
            let done = b.scale(count, width as i64);
            left = b.isub(left, done);
            known = known.map(|n| n % width as u64);
            if known == Some(0) {
                break;
            }
        }
        Ok(())
    }

    /// Loops over all reduced dimensions but the innermost. `state` is carried; `body` gets the operands' pointers, moved
    /// to the start of the innermost dimension.
    fn outer(&self, b: &mut Builder, ptrs: &[Val], state: Vec<Val>, body: Rounds<'_>) -> Result<Vec<Val>, Bug> {
        let zero = b.int(0);
        self.offsets(b, 0, &vec![zero; self.reds.len()], state, &mut |b, offsets, s| {
            let p: Vec<Val> = ptrs.iter().zip(offsets).map(|(p, o)| b.ptr_add(*p, *o)).collect();
            body(b, &p, s)
        })
    }

    /// The innermost reduced dimension element by element: `step` gets the pointers and the state.
    fn along(&self, b: &mut Builder, ptrs: &[Val], state: Vec<Val>, step: Element<'_>) -> Result<Vec<Val>, Bug> {
        let Some(last) = self.red.last() else { return Ok(step(b, ptrs, &state)) };
        let count = match last.known().and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Count::Fixed(n),
            None => Count::Runtime(self.sizes.value(b, last)?),
        };
        let n = ptrs.len();
        let mut steps = Vec::with_capacity(n);
        for s in self.reds {
            let bytes = s[self.red.len() - 1].times(&Extent::fixed(4)).ok_or_else(too_large)?;
            steps.push(self.sizes.value(b, &bytes)?);
        }
        let all: Vec<Val> = ptrs.iter().copied().chain(state).collect();
        let r = unrolled(b, count, 2, all, &|b, s| {
            let out = step(b, &s[..n], &s[n..]);
            let next: Vec<Val> = (0..n).map(|i| b.ptr_add(s[i], steps[i])).collect();
            next.into_iter().chain(out).collect()
        });
        Ok(r[n..].to_vec())
    }

    /// `vectors` vectors of outputs.
    fn output_vectors(&self, b: &mut Builder, ptrs: &[Val], vectors: usize) -> Result<(), Bug> {
        let n = self.reds.len();
        let bytes = 4 * b.lanes() as i32;
        let splat: Vec<bool> = (0..n).map(|i| self.stride(i).is_zero()).collect();
        let start = b.vfloat(self.start());
        let acc = self.outer(b, &ptrs[..n], vec![start; vectors], &mut |b, p, acc| {
            self.along(b, p, acc, &|b, p, acc| {
                let held: Vec<Option<Val>> =
                    (0..n).map(|i| splat[i].then(|| b.load(LoadKind::Splat, Addr::new(p[i])))).collect();
                let one = |b: &mut Builder, v: usize| {
                    let at = bytes * v as i32;
                    let factors: Vec<Val> =
                        (0..n).map(|i| held[i].unwrap_or_else(|| b.load(LoadKind::VF32, Addr::at(p[i], at)))).collect();
                    self.accumulate(b, acc[v], &factors)
                };
                (0..vectors).map(|v| one(b, v)).collect()
            })
        })?;
        for (v, x) in acc.into_iter().enumerate() {
            let p = b.ptr_off(ptrs[n], bytes * v as i32);
            self.store(b, x, p, true);
        }
        Ok(())
    }

    /// One output by scalars.
    fn scalar(&self, b: &mut Builder, ptrs: &[Val]) -> Result<(), Bug> {
        let n = self.reds.len();
        let start = b.float(self.start());
        let acc = self.outer(b, &ptrs[..n], vec![start], &mut |b, p, acc| {
            self.along(b, p, acc, &|b, p, acc| {
                let factors: Vec<Val> = p.iter().map(|p| b.load(LoadKind::F32, Addr::new(*p))).collect();
                vec![self.accumulate(b, acc[0], &factors)]
            })
        })?;
        self.store(b, acc[0], ptrs[n], false);
        Ok(())
    }

    /// As [`Reduce::outer`] from dimension number `d` on, but `body` gets byte offsets of the operands.
    fn offsets(
        &self,
        b: &mut Builder,
        d: usize,
        offsets: &[Val],
        state: Vec<Val>,
        body: Rounds<'_>,
    ) -> Result<Vec<Val>, Bug> {
        if d + 1 >= self.red.len() {
            return body(b, offsets, state);
        }
        let count = self.sizes.value(b, &self.red[d])?;
        let mut result = Ok(());
        let state = b.repeat(count, &state, |b, i, s| {
            let moved: Result<Vec<Val>, Bug> = (0..self.reds.len())
                .map(|n| {
                    let bytes = self.reds[n][d].times(&Extent::fixed(4)).ok_or_else(too_large)?;
                    let bytes = self.sizes.value(b, &bytes)?;
                    let by = b.imul(i, bytes);
                    Ok(b.iadd(offsets[n], by))
                })
                .collect();
            moved.and_then(|o| self.offsets(b, d + 1, &o, s.to_vec(), body)).unwrap_or_else(|e| {
                result = Err(e);
                s.to_vec()
            })
        });
        result.map(|()| state)
    }
}
