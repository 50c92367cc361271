//! Values read at affine places: convolutions and pooling, with zeros outside.
use super::gather::copy;
use super::nest::{Sizes, contiguous, element_bytes, skip, too_large};
use crate::extent::Extent;
use crate::ir::{Addr, Builder, Cmp, IBin, Kernel, LBin, LoadKind, Op, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_ir::DType;

/// One dimension of the operand, read at `offset + sum over output dimensions of coeff * position`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub size: Extent,
    /// In elements.
    pub stride: Extent,
    pub offset: i64,
    /// One for each dimension of the output.
    pub coeff: Vec<i64>,
}

/// The output's dimensions with their strides in the operand (0 for those that only terms read), and the dimensions that are
/// read through terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    pub name: String,
    pub dtype: DType,
    pub dims: Vec<Extent>,
    pub strides: Vec<Extent>,
    /// Elements that lie before the first.
    pub base: u64,
    pub terms: Vec<Term>,
    pub lanes: usize,
}

impl WindowSpec {
    /// Drops dimensions of size 1; what is left has at least two.
    fn normal(&self) -> WindowSpec {
        let mut s = self.clone();
        for d in (0..s.dims.len()).rev().filter(|d| self.dims[*d].is_one()) {
            s.dims.remove(d);
            s.strides.remove(d);
            for t in &mut s.terms {
                t.coeff.remove(d);
            }
        }
        while s.dims.len() < 2 {
            s.dims.insert(0, Extent::fixed(1));
            s.strides.insert(0, Extent::fixed(0));
            s.terms.iter_mut().for_each(|t| t.coeff.insert(0, 0));
        }
        s
    }

    /// Outer dimensions that `lo..hi` counts.
    fn outer(&self) -> usize {
        if self.dims.len() > 3 { 2 } else { 1 }
    }
}

/// `y` (contiguous) of the elements of `x` at those places, 0 (false) outside, and what `lo..hi` counts.
///
/// Parameters: `x`, `y`, the sizes of free axes `s<id>`, `lo`, `hi`.
pub fn window(spec: &WindowSpec) -> Result<(Kernel, Extent), Bug> {
    let rank = spec.dims.len();
    if spec.strides.len() != rank || spec.terms.iter().any(|t| t.coeff.len() != rank) {
        return Err(Bug::new(format!("{}: places of another rank", spec.name)));
    }
    let spec = &spec.normal();
    let mut b = Builder::new(spec.name.clone(), spec.lanes);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let to = contiguous(&spec.dims)?;
    let of_terms = spec.terms.iter().flat_map(|t| [&t.size, &t.stride]);
    let sizes = Sizes::params(&mut b, spec.dims.iter().chain(&spec.strides).chain(&to).chain(of_terms));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let x = skip(&mut b, x, spec.base, element_bytes(spec.dtype))?;
    let counts = spec.dims.iter().map(|d| sizes.value(&mut b, d)).collect::<Result<Vec<Val>, Bug>>()?;
    let ends = spec.terms.iter().map(|t| sizes.value(&mut b, &t.size)).collect::<Result<Vec<Val>, Bug>>()?;
    let w = Window { spec, to, sizes, counts, ends };
    let outer = spec.outer();
    let count = b.isub(hi, lo);
    let mut result = Ok(());
    b.repeat(count, &[], |b, i, _| {
        let mut at = vec![b.iadd(lo, i)];
        if outer == 2 {
            let (low, high) = (b.ibin(IBin::Rem, at[0], w.counts[1]), b.ibin(IBin::Div, at[0], w.counts[1]));
            at = vec![high, low];
        }
        result = w.start(b, x, y).and_then(|mut place| {
            for (d, i) in at.iter().enumerate() {
                place = w.moved(b, &place, d, *i)?;
            }
            w.dims(b, outer, &place)
        });
        Vec::new()
    });
    result?;
    let range = Extent::product(&spec.dims[..outer]).ok_or_else(too_large)?;
    Ok((b.finish()?, range))
}

/// The positions `from..to` of `0..whole` whose places `at + step * i` lie in `0..end`; `step` is above 0.
pub(super) fn within(b: &mut Builder, at: Val, end: Val, step: i64, whole: Val) -> (Val, Val) {
    let zero = b.int(0);
    // Smallest i with `at + step * i >= 0`, and with `>= end`.
    let ceil = |b: &mut Builder, v: Val| {
        let none = b.ibin(IBin::Max, v, zero);
        if step == 1 {
            return none;
        }
        let (more, by) = (b.int(step - 1), b.int(step));
        let up = b.iadd(none, more);
        b.ibin(IBin::Div, up, by)
    };
    let (before, left) = (b.isub(zero, at), b.isub(end, at));
    let (start, end) = (ceil(b, before), ceil(b, left));
    let from = b.ibin(IBin::Min, start, whole);
    let end = b.ibin(IBin::Min, end, whole);
    (from, b.ibin(IBin::Max, end, from))
}

struct Window<'a> {
    spec: &'a WindowSpec,
    /// Strides of the output.
    to: Vec<Extent>,
    sizes: Sizes,
    counts: Vec<Val>,
    /// Sizes of the dimensions that terms read.
    ends: Vec<Val>,
}

/// Pointers at some position of the outer dimensions, and the place of each term.
#[derive(Clone)]
struct Place {
    x: Val,
    y: Val,
    terms: Vec<Val>,
}

impl Window<'_> {
    fn start(&self, b: &mut Builder, x: Val, y: Val) -> Result<Place, Bug> {
        Ok(Place { x, y, terms: self.spec.terms.iter().map(|t| b.int(t.offset)).collect() })
    }

    fn bytes(&self) -> u64 {
        element_bytes(self.spec.dtype)
    }

    /// At position `i` of dimension `d`.
    fn moved(&self, b: &mut Builder, p: &Place, d: usize, i: Val) -> Result<Place, Bug> {
        let mut terms = p.terms.clone();
        for (v, t) in terms.iter_mut().zip(&self.spec.terms).filter(|(_, t)| t.coeff[d] != 0) {
            let by = b.scale(i, t.coeff[d]);
            *v = b.iadd(*v, by);
        }
        let bytes = self.bytes();
        Ok(Place {
            x: self.sizes.advance(b, p.x, i, &self.spec.strides[d], bytes)?,
            y: self.sizes.advance(b, p.y, i, &self.to[d], bytes)?,
            terms,
        })
    }

    /// All positions of the dimensions from `d` on.
    fn dims(&self, b: &mut Builder, d: usize, p: &Place) -> Result<(), Bug> {
        if d + 1 == self.spec.dims.len() {
            return self.run(b, d, p);
        }
        let mut result = Ok(());
        b.repeat(self.counts[d], &[], |b, i, _| {
            result = self.moved(b, p, d, i).and_then(|p| self.dims(b, d + 1, &p));
            Vec::new()
        });
        result
    }

    fn inside(&self, b: &mut Builder, t: usize, at: Val) -> Val {
        let zero = b.int(0);
        let (low, high) = (b.icmp(Cmp::Ge, at, zero), b.icmp(Cmp::Lt, at, self.ends[t]));
        b.logic(LBin::And, low, high)
    }

    /// The pointer to an element whose terms stand at these places.
    fn element(&self, b: &mut Builder, x: Val, terms: &[Val]) -> Result<Val, Bug> {
        let mut p = x;
        for (t, at) in self.spec.terms.iter().zip(terms) {
            p = self.sizes.advance(b, p, *at, &t.stride, self.bytes())?;
        }
        Ok(p)
    }

    /// The last dimension.
    fn run(&self, b: &mut Builder, d: usize, p: &Place) -> Result<(), Bug> {
        let along: Vec<usize> = (0..self.spec.terms.len()).filter(|t| self.spec.terms[*t].coeff[d] != 0).collect();
        let (step, first) = match along[..] {
            [] => (1, None),
            [t] if self.spec.terms[t].coeff[d] > 0 => (self.spec.terms[t].coeff[d], Some(t)),
            _ => return self.elements(b, d, p),
        };
        let (n, zero) = (self.counts[d], b.int(0));
        let mut all = b.op(Op::Bool(true));
        for t in (0..self.spec.terms.len()).filter(|t| Some(*t) != first) {
            let one = self.inside(b, t, p.terms[t]);
            all = b.logic(LBin::And, all, one);
        }
        let whole = b.select(all, n, zero);
        let (mut from, mut to, mut terms) = (zero, whole, p.terms.clone());
        if let Some(t) = first {
            (from, to) = within(b, p.terms[t], self.ends[t], step, whole);
            let skip = b.scale(from, step);
            terms[t] = b.iadd(terms[t], skip);
        }
        let x = self.sizes.advance(b, p.x, from, &self.spec.strides[d], self.bytes())?;
        let x = self.element(b, x, &terms)?;
        let stride = match first {
            Some(t) => self.spec.terms[t].stride.times(&Extent::fixed(step as u64)).ok_or_else(too_large)?,
            None => self.spec.strides[d].clone(),
        };
        let size = self.bytes() as i64;
        let begin = b.scale(from, size);
        let end = b.scale(to, size);
        let (head, tail) = (b.ptr_add(p.y, begin), b.ptr_add(p.y, end));
        let (count, after) = (b.isub(to, from), b.isub(n, to));
        if first.is_some() || !self.spec.terms.is_empty() {
            self.zeros(b, p.y, from);
        }
        self.copied(b, x, head, count, &stride, self.spec.dims[d].known())?;
        if first.is_some() || !self.spec.terms.is_empty() {
            self.zeros(b, tail, after);
        }
        Ok(())
    }

    fn copied(&self, b: &mut Builder, x: Val, y: Val, n: Val, stride: &Extent, most: Option<u64>) -> Result<(), Bug> {
        let lanes = b.lanes();
        if stride.is_one() {
            if self.spec.dtype != DType::Bool && most.is_some_and(|n| n <= lanes as u64) {
                let v = b.load_tail(Addr::new(x), n);
                b.store_tail(Addr::new(y), v, n);
            } else {
                copy(b, self.spec.dtype, x, y, n);
            }
            return Ok(());
        }
        let mut result = Ok(());
        b.repeat(n, &[], |b, i, _| {
            result = self.sizes.advance(b, x, i, stride, self.bytes()).map(|p| {
                let v = self.load(b, p);
                self.store(b, y, i, v);
            });
            Vec::new()
        });
        result
    }

    fn load(&self, b: &mut Builder, p: Val) -> Val {
        // 32-bit elements are moved as floats, which keeps their bits.
        b.load(if self.spec.dtype == DType::Bool { LoadKind::U8 } else { LoadKind::F32 }, Addr::new(p))
    }

    fn store(&self, b: &mut Builder, y: Val, i: Val, v: Val) {
        let (kind, scale) = if self.spec.dtype == DType::Bool { (StoreKind::U8, 1) } else { (StoreKind::F32, 4) };
        b.store(kind, Addr::indexed(y, i, scale), v);
    }

    fn zeros(&self, b: &mut Builder, y: Val, n: Val) {
        let zero = if self.spec.dtype == DType::Bool { b.int(0) } else { b.float(0.0) };
        b.repeat(n, &[], |b, i, _| {
            self.store(b, y, i, zero);
            Vec::new()
        });
    }

    /// The last dimension element by element, for places that several terms or a falling one decide.
    fn elements(&self, b: &mut Builder, d: usize, p: &Place) -> Result<(), Bug> {
        let mut result = Ok(());
        b.repeat(self.counts[d], &[], |b, i, _| {
            result = (|| {
                let at = self.moved(b, p, d, i)?;
                let mut all = b.op(Op::Bool(true));
                for (t, v) in at.terms.iter().enumerate() {
                    let one = self.inside(b, t, *v);
                    all = b.logic(LBin::And, all, one);
                }
                let from = self.element(b, at.x, &at.terms)?;
                let zero = b.int(0);
                let (one, none) = (b.int(1), b.op(Op::Not(all)));
                self.zeros_if(b, none, at.y);
                let count = b.select(all, one, zero);
                self.copied(b, from, at.y, count, &Extent::fixed(0), None)
            })();
            Vec::new()
        });
        result
    }

    fn zeros_if(&self, b: &mut Builder, cond: Val, y: Val) {
        let (one, zero) = (b.int(1), b.int(0));
        let n = b.select(cond, one, zero);
        self.zeros(b, y, n);
    }
}
