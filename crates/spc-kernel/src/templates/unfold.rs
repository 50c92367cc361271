//! Windows side by side as a feature-major matrix (see [`super::feature_major`]), without a row-major copy on the way.
//!
//! The tokens of a tile fall into runs along their last dimension; of each run every feature is one copy of neighbouring
//! elements. What the places of a run have to do with the ends of the operand is decided once for all features that only
//! move along dimensions which no term reads (channels).
use super::feature_major::TILE;
use super::nest::{Sizes, contiguous, element_bytes, skip, too_large};
use super::runs::{Line, Lines, near};
use super::window::{WindowSpec, within};
use crate::extent::Extent;
use crate::ir::{Addr, Builder, Cmp, IBin, Kernel, LBin, LoadKind, Op, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_ir::DType;

/// Channels that are copied together for all places of a window: their rows are then still in the first cache and their pages
/// known when the next place reads them.
const BLOCK: u64 = 16;

/// Places, of which the first `tokens` dimensions count tokens and the others features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfoldSpec {
    pub window: WindowSpec,
    pub tokens: usize,
}

/// `y`, feature-major, of the elements of `x` at those places; 0 outside and for pad tokens.
///
/// The range `lo..hi` counts padded tokens. Parameters: `x`, `y`, the sizes of free axes `s<id>`, `n`, `np`, `lo`, `hi`.
///
/// # Errors
/// Values that are no f32, features of unknown number, places of another rank.
pub fn unfold(spec: &UnfoldSpec) -> Result<Kernel, Bug> {
    let spec = &normal(spec)?;
    let w = &spec.window;
    let fixed = |e: &Extent| e.known().and_then(|n| i64::try_from(n).ok()).ok_or_else(too_large);
    let below = contiguous(&w.dims[spec.tokens..])?;
    let features = fixed(&Extent::product(&w.dims[spec.tokens..]).ok_or_else(too_large)?)?;
    let mut b = Builder::new(w.name.clone(), w.lanes);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let of_terms = w.terms.iter().flat_map(|t| [&t.size, &t.stride]);
    let sizes = Sizes::params(&mut b, w.dims.iter().chain(&w.strides).chain(of_terms));
    let (n, np) = (b.param("n", Ty::I64), b.param("np", Ty::I64));
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let bytes = element_bytes(w.dtype);
    let x = skip(&mut b, x, w.base, bytes)?;
    let step = |b: &mut Builder, e: &Extent| sizes.value(b, &e.times(&Extent::fixed(bytes)).ok_or_else(too_large)?);
    let along = spec.along();
    // From one token of a run to the next.
    let pace = match along {
        Some(t) => {
            let by = u64::try_from(w.terms[t].coeff[spec.tokens - 1]).map_err(|_| too_large())?;
            w.terms[t].stride.times(&Extent::fixed(by)).ok_or_else(too_large)?
        }
        None => w.strides[spec.tokens - 1].clone(),
    };
    let u = Unfold {
        counts: w.dims.iter().map(|d| sizes.value(&mut b, d)).collect::<Result<_, Bug>>()?,
        steps: w.strides.iter().map(|s| step(&mut b, s)).collect::<Result<_, Bug>>()?,
        ends: w.terms.iter().map(|t| sizes.value(&mut b, &t.size)).collect::<Result<_, Bug>>()?,
        paces: w.terms.iter().map(|t| step(&mut b, &t.stride)).collect::<Result<_, Bug>>()?,
        below: below.iter().map(fixed).collect::<Result<_, Bug>>()?,
        next: (!pace.is_one()).then(|| step(&mut b, &pace)).transpose()?,
        along,
        spec,
    };
    let (tile, more, zero) = (b.int(TILE as i64), b.int(TILE as i64 - 1), b.int(0));
    let first = b.ibin(IBin::Div, lo, tile);
    let last = b.iadd(hi, more);
    let last = b.ibin(IBin::Div, last, tile);
    let count = b.isub(last, first);
    b.repeat(count, &[], |b, i, _| {
        let start = b.iadd(first, i);
        let start = b.imul(start, tile);
        let left = b.isub(np, start);
        let width = b.ibin(IBin::Min, left, tile);
        let wide = b.scale(width, 4);
        let end = b.iadd(start, tile);
        let (begin, end) = (b.ibin(IBin::Max, lo, start), b.ibin(IBin::Min, hi, end));
        let from = b.scale(start, 4 * features);
        let base = b.ptr_add(y, from);
        let there = b.ibin(IBin::Min, end, n);
        let real = b.isub(there, begin);
        let real = b.ibin(IBin::Max, real, zero);
        u.runs(b, x, (base, start, wide), (begin, real));
        // Pad tokens.
        let after = b.ibin(IBin::Max, begin, n);
        let pads = b.isub(end, after);
        let at = b.isub(after, start);
        let at = b.scale(at, 4);
        let to = b.ptr_add(base, at);
        let all = b.int(features);
        Lines { count: pads, nest: vec![Line { rounds: all, x: zero, y: wide }] }.zeros(b, to);
        Vec::new()
    });
    b.finish()
}

/// Without dimensions of size 1, neighbouring tokens that lie in a row as one dimension, and at least one dimension of tokens
/// whose places go up one after the other.
fn normal(spec: &UnfoldSpec) -> Result<UnfoldSpec, Bug> {
    let w = &spec.window;
    let rank = w.dims.len();
    let odd = w.strides.len() != rank || w.terms.iter().any(|t| t.coeff.len() != rank) || spec.tokens > rank;
    if odd || w.dtype != DType::F32 {
        return Err(Bug::new(format!("{}: places of another rank or type", w.name)));
    }
    let mut s = spec.clone();
    let gone = |s: &mut UnfoldSpec, d: usize| {
        s.window.dims.remove(d);
        s.window.strides.remove(d);
        for t in &mut s.window.terms {
            t.coeff.remove(d);
        }
        s.tokens -= usize::from(d < s.tokens);
    };
    for d in (0..rank).rev().filter(|d| w.dims[*d].is_one()) {
        gone(&mut s, d);
    }
    for d in (1..s.tokens).rev() {
        let w = &s.window;
        let moved = w.terms.iter().any(|t| t.coeff[d] != 0 || t.coeff[d - 1] != 0);
        let joins = w.strides[d].times(&w.dims[d]).is_some_and(|all| all == w.strides[d - 1]);
        if !moved && joins {
            s.window.dims[d] = w.dims[d].times(&w.dims[d - 1]).ok_or_else(too_large)?;
            gone(&mut s, d - 1);
        }
    }
    // A last dimension that several terms read, or one term backwards, is taken token by token.
    let mixed = s.tokens.checked_sub(1).is_none_or(|d| {
        let coeffs: Vec<i64> = s.window.terms.iter().map(|t| t.coeff[d]).filter(|c| *c != 0).collect();
        let both = !coeffs.is_empty() && !s.window.strides[d].is_zero();
        both || coeffs.len() > 1 || coeffs.iter().any(|c| *c < 0)
    });
    if mixed {
        s.window.dims.insert(s.tokens, Extent::fixed(1));
        s.window.strides.insert(s.tokens, Extent::fixed(1));
        s.window.terms.iter_mut().for_each(|t| t.coeff.insert(s.tokens, 0));
        s.tokens += 1;
    }
    Ok(s)
}

impl UnfoldSpec {
    /// The term that the last dimension of tokens moves.
    fn along(&self) -> Option<usize> {
        self.window.terms.iter().position(|t| t.coeff[self.tokens - 1] != 0)
    }
}

struct Unfold<'a> {
    spec: &'a UnfoldSpec,
    counts: Vec<Val>,
    /// Bytes of a step along each dimension, where no term says otherwise.
    steps: Vec<Val>,
    /// Sizes of the dimensions that terms read, and bytes of a step along them.
    ends: Vec<Val>,
    paces: Vec<Val>,
    /// Features of a step along each dimension of features.
    below: Vec<i64>,
    /// Bytes from one token of a run to the next, unless they are neighbours.
    next: Option<Val>,
    along: Option<usize>,
}

/// Pointers at some position, and the place of each term.
#[derive(Clone)]
struct Place {
    x: Val,
    y: Val,
    terms: Vec<Val>,
}

impl Unfold<'_> {
    /// `real` tokens from `begin` on, of a tile at `base` that starts at token `start` and has features of `wide` bytes.
    fn runs(&self, b: &mut Builder, x: Val, (base, start, wide): (Val, Val, Val), (begin, real): (Val, Val)) {
        let m = self.spec.tokens;
        let line = self.counts[m - 1];
        let (one, zero) = (b.int(1), b.int(0));
        let before = b.ibin(IBin::Rem, begin, line);
        let all = b.iadd(before, real);
        let up = b.isub(line, one);
        let all = b.iadd(all, up);
        let runs = b.ibin(IBin::Div, all, line);
        let some = b.icmp(Cmp::Gt, real, zero);
        let runs = b.select(some, runs, zero);
        b.repeat(runs, &[begin, real], |b, _, s| {
            let (mut rest, q) = (b.ibin(IBin::Div, s[0], line), b.ibin(IBin::Rem, s[0], line));
            let left = b.isub(line, q);
            let run = b.ibin(IBin::Min, left, s[1]);
            let at = b.isub(s[0], start);
            let by = b.scale(at, 4);
            let y = b.ptr_add(base, by);
            let terms = self.spec.window.terms.iter().map(|t| b.int(t.offset)).collect();
            let mut p = self.moved(b, &Place { x, y, terms }, m - 1, q);
            for d in (0..m - 1).rev() {
                let i = if d == 0 { rest } else { b.ibin(IBin::Rem, rest, self.counts[d]) };
                if d > 0 {
                    rest = b.ibin(IBin::Div, rest, self.counts[d]);
                }
                p = self.moved(b, &p, d, i);
            }
            // Dimensions of features that move a term first, so that the others are copied in one nest.
            let features = m..self.counts.len();
            let (moving, still): (Vec<usize>, Vec<usize>) =
                features.partition(|d| self.spec.window.terms.iter().any(|t| t.coeff[*d] != 0));
            self.blocks(b, &moving, &still, &p, wide, run);
            vec![b.iadd(s[0], run), b.isub(s[1], run)]
        });
    }

    /// At position `i` of dimension `d` in the operand.
    fn moved(&self, b: &mut Builder, p: &Place, d: usize, i: Val) -> Place {
        let mut terms = p.terms.clone();
        for (v, t) in terms.iter_mut().zip(&self.spec.window.terms).filter(|(_, t)| t.coeff[d] != 0) {
            let by = b.scale(i, t.coeff[d]);
            *v = b.iadd(*v, by);
        }
        if self.spec.window.strides[d].is_zero() {
            return Place { terms, ..p.clone() };
        }
        let by = b.imul(i, self.steps[d]);
        Place { x: b.ptr_add(p.x, by), terms, ..p.clone() }
    }

    /// [`BLOCK`] positions of the first dimension that moves no term at a time.
    fn blocks(&self, b: &mut Builder, moving: &[usize], still: &[usize], p: &Place, wide: Val, run: Val) {
        let mut nest: Vec<Line> = Vec::with_capacity(still.len());
        for d in still {
            let y = b.scale(wide, self.below[*d - self.spec.tokens]);
            nest.push(Line { rounds: self.counts[*d], x: self.steps[*d], y });
        }
        let many = |d: &usize| self.spec.window.dims[*d].known().is_some_and(|n| n > BLOCK);
        if moving.is_empty() || !still.first().is_some_and(many) {
            return self.features(b, moving, &nest, p, wide, run);
        }
        let (all, block, more) = (nest[0].rounds, b.int(BLOCK as i64), b.int(BLOCK as i64 - 1));
        let blocks = b.iadd(all, more);
        let blocks = b.ibin(IBin::Div, blocks, block);
        b.repeat(blocks, &[p.x, p.y, all], |b, _, s| {
            nest[0].rounds = b.ibin(IBin::Min, s[2], block);
            let p = Place { x: s[0], y: s[1], ..p.clone() };
            self.features(b, moving, &nest, &p, wide, run);
            let (dx, dy) = (b.imul(nest[0].x, block), b.imul(nest[0].y, block));
            vec![b.ptr_add(s[0], dx), b.ptr_add(s[1], dy), b.isub(s[2], block)]
        });
    }

    fn features(&self, b: &mut Builder, moving: &[usize], nest: &[Line], p: &Place, wide: Val, run: Val) {
        let Some((d, rest)) = moving.split_first() else {
            return self.run(b, p, nest.to_vec(), run);
        };
        b.repeat(self.counts[*d], &[], |b, i, _| {
            let step = b.scale(wide, self.below[*d - self.spec.tokens]);
            let by = b.imul(i, step);
            let mut p = self.moved(b, p, *d, i);
            p.y = b.ptr_add(p.y, by);
            self.features(b, rest, nest, &p, wide, run);
            Vec::new()
        });
    }

    /// One run of all features of a nest.
    fn run(&self, b: &mut Builder, p: &Place, nest: Vec<Line>, run: Val) {
        let zero = b.int(0);
        let spec = &self.spec.window;
        let mut all = b.op(Op::Bool(true));
        for t in (0..spec.terms.len()).filter(|t| Some(*t) != self.along) {
            let (low, high) = (b.icmp(Cmp::Ge, p.terms[t], zero), b.icmp(Cmp::Lt, p.terms[t], self.ends[t]));
            let inside = b.logic(LBin::And, low, high);
            all = b.logic(LBin::And, all, inside);
        }
        let whole = if spec.terms.is_empty() { run } else { b.select(all, run, zero) };
        let (mut from, mut to, mut terms) = (zero, whole, p.terms.clone());
        if let Some(t) = self.along {
            let step = spec.terms[t].coeff[self.spec.tokens - 1];
            (from, to) = within(b, p.terms[t], self.ends[t], step, whole);
            let skipped = b.scale(from, step);
            terms[t] = b.iadd(terms[t], skipped);
        }
        let mut x = p.x;
        for (pace, at) in self.paces.iter().zip(&terms) {
            let by = b.imul(*at, *pace);
            x = b.ptr_add(x, by);
        }
        let (head, tail) = (b.scale(from, 4), b.scale(to, 4));
        let (head, tail) = (b.ptr_add(p.y, head), b.ptr_add(p.y, tail));
        let (count, after) = (b.isub(to, from), b.isub(run, to));
        if !spec.terms.is_empty() {
            Lines { count: from, nest: nest.clone() }.zeros(b, p.y);
            Lines { count: after, nest: nest.clone() }.zeros(b, tail);
        }
        let lines = Lines { count, nest };
        match self.next {
            None => lines.copy(b, x, head),
            Some(next) => lines.each(b, x, head, &mut |b, x, y| {
                let (count, next) = (near(b, count), near(b, next));
                b.repeat(count, &[x, y], |b, _, s| {
                    let v = b.load(LoadKind::F32, Addr::new(s[0]));
                    b.store(StoreKind::F32, Addr::new(s[1]), v);
                    vec![b.ptr_add(s[0], next), b.ptr_off(s[1], 4)]
                });
            }),
        }
    }
}
