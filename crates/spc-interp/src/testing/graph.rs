//! Random graphs.
use super::{Rng, bool_expr, float_expr, int_expr};
use crate::Value;
use ndarray::{ArrayD, IxDyn};
use spc_base::Bug;
use spc_ir::{
    Amount, BinFn, DType, Dim, Floor, Formula, Graph, Keep, Member, NodeId, Op, ReduceFn, Require, ScalarExpr, Scope,
    Score, Size, Sym, SymId, Tail, Top, Type, UnFn, infer,
};
use std::collections::BTreeMap;

/// What random graphs hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Steps; a step adds one node or a few.
    pub steps: usize,
    /// How many weights in eight are zero.
    pub zeros: usize,
    /// NaN and infinities among the float inputs.
    pub special: bool,
    /// Operators that join, slice and choose run-time values, and reductions to other types than f32.
    pub choices: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { steps: 8, zeros: 2, special: false, choices: true }
    }
}

/// A graph and everything that a run of it needs.
#[derive(Clone, Debug)]
pub struct Case {
    pub graph: Graph,
    /// Sizes of the free axes.
    pub syms: Vec<u64>,
    pub inputs: BTreeMap<String, Value<f32>>,
    pub weights: BTreeMap<String, Vec<f32>>,
}

/// Largest rank, and number of elements, of a value.
const MAX_RANK: usize = 4;
const MAX_ELEMENTS: usize = 2000;

const SIZES: [(&str, u64); 7] = [("I", 1), ("H", 2), ("C", 3), ("D", 4), ("O", 5), ("E", 6), ("Z", 12)];

/// A graph with at least one output; inputs are multiples of 1/8, so that sums of a few products are exact.
pub fn random_case(seed: u64, options: Options) -> Result<Case, Bug> {
    let mut b = Builder { rng: Rng::new(seed), options, case: empty(), values: vec![], count: 0 };
    let g = &mut b.case.graph;
    for (name, lo, hi) in [("B", 0, 4), ("T", 1, 5)] {
        g.syms.push(Sym { name: name.into(), lo, hi });
    }
    b.case.syms = vec![if b.rng.chance(1, 12) { 0 } else { 1 + b.rng.below(4) as u64 }, 1 + b.rng.below(5) as u64];
    b.input(DType::F32)?;
    b.weight()?;
    for _ in 0..options.steps {
        b.step()?;
    }
    b.finish()
}

fn empty() -> Case {
    Case { graph: Graph::new("random"), syms: vec![], inputs: BTreeMap::new(), weights: BTreeMap::new() }
}

struct Builder {
    rng: Rng,
    options: Options,
    case: Case,
    values: Vec<NodeId>,
    count: usize,
}

impl Builder {
    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{}", self.count)
    }

    fn ty(&self, id: NodeId) -> Result<Type, Bug> {
        self.case.graph.ty(id).cloned()
    }

    fn shape(&self, t: &Type) -> Vec<usize> {
        t.shape(&self.case.syms).unwrap_or_default()
    }

    fn small(&self, t: &Type) -> bool {
        t.rank() <= MAX_RANK && self.shape(t).iter().product::<usize>() <= MAX_ELEMENTS
    }

    /// Adds a node unless its value would be too large.
    fn add(&mut self, op: Op, inputs: &[NodeId]) -> Result<Option<NodeId>, Bug> {
        let types = inputs.iter().map(|i| self.case.graph.ty(*i)).collect::<Result<Vec<_>, _>>()?;
        let ty = infer(&op, &types).map_err(Bug::new)?;
        if !self.small(&ty) {
            return Ok(None);
        }
        let id = self.case.graph.add(op, inputs)?;
        self.values.push(id);
        Ok(Some(id))
    }

    fn dim(&mut self, free: bool) -> Dim {
        if free && self.rng.chance(1, 3) {
            let s = self.rng.below(2) as u32;
            return Dim::free(if s == 0 { "B" } else { "T" }, SymId(s));
        }
        let (name, n) = SIZES[self.rng.below(SIZES.len())];
        Dim::fixed(name, n)
    }

    fn dims(&mut self, free: bool) -> Vec<Dim> {
        (0..self.rng.below(MAX_RANK)).map(|_| self.dim(free)).collect()
    }

    fn floats(&mut self, n: usize, special: bool) -> Vec<f32> {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, 1e-40];
        let value = |rng: &mut Rng| if special && rng.chance(1, 8) { odd[rng.below(odd.len())] } else { rng.eighth() };
        (0..n).map(|_| value(&mut self.rng)).collect()
    }

    fn input(&mut self, dtype: DType) -> Result<Option<NodeId>, Bug> {
        let dims = self.dims(true);
        self.input_of(Type::new(dtype, dims), 4)
    }

    /// A named input; i32 values lie in `0..below`.
    fn input_of(&mut self, ty: Type, below: usize) -> Result<Option<NodeId>, Bug> {
        if !self.small(&ty) {
            return Ok(None);
        }
        let name = self.name("x");
        let shape = self.shape(&ty);
        let n = shape.iter().product();
        fn fit<T>(shape: &[usize], v: Vec<T>) -> Result<ArrayD<T>, Bug> {
            ArrayD::from_shape_vec(IxDyn(shape), v).map_err(|e| Bug::new(e.to_string()))
        }
        let value = match ty.dtype {
            DType::F32 => Value::F(fit(&shape, self.floats(n, self.options.special))?),
            DType::I32 => Value::I(fit(&shape, (0..n).map(|_| self.rng.below(below) as i32).collect())?),
            DType::Bool => Value::B(fit(&shape, (0..n).map(|_| self.rng.chance(1, 2)).collect())?),
        };
        self.case.inputs.insert(name.clone(), value);
        self.add(Op::Input { name, ty }, &[])
    }

    fn weight(&mut self) -> Result<Option<NodeId>, Bug> {
        let dims = self.dims(false);
        self.weight_of(dims)
    }

    fn weight_of(&mut self, dims: Vec<Dim>) -> Result<Option<NodeId>, Bug> {
        let ty = Type::new(DType::F32, dims);
        if !self.small(&ty) {
            return Ok(None);
        }
        let name = self.name("w");
        let mut v = self.floats(self.shape(&ty).iter().product(), false);
        for w in &mut v {
            if self.rng.chance(self.options.zeros, 8) {
                *w = if self.rng.chance(1, 4) { -0.0 } else { 0.0 };
            }
        }
        self.case.weights.insert(name.clone(), v);
        self.add(Op::Weight { name, ty }, &[])
    }

    /// Some node that fits.
    fn any(&mut self, fits: impl Fn(&Type) -> bool) -> Result<Option<NodeId>, Bug> {
        let mut hits = Vec::new();
        for v in &self.values {
            if fits(self.case.graph.ty(*v)?) {
                hits.push(*v);
            }
        }
        // Later values more often, so that graphs are deep.
        let (a, b) = (self.rng.below(hits.len()), self.rng.below(hits.len()));
        Ok(hits.get(a.max(b)).copied())
    }

    fn float(&mut self) -> Result<Option<NodeId>, Bug> {
        self.any(|t| t.dtype == DType::F32)
    }

    fn step(&mut self) -> Result<(), Bug> {
        match self.rng.below(21) {
            0 => {
                let dtype = DType::ALL[self.rng.below(3)];
                self.input(dtype)?;
            }
            1 => {
                self.weight()?;
            }
            2 => {
                let dim = self.dim(true);
                self.add(Op::Iota { dim }, &[])?;
            }
            3 => {
                let (value, dtype) = (f64::from(self.rng.eighth()), DType::ALL[self.rng.below(3)]);
                self.add(Op::Const { value, dtype }, &[])?;
            }
            4 => self.broadcast()?,
            5 => self.reduce()?,
            6 => self.gather()?,
            7 => self.view()?,
            8 | 9 => self.contract()?,
            10..=12 => self.projection()?,
            13 if self.options.choices => self.concat()?,
            14 if self.options.choices => self.window()?,
            15 if self.options.choices => self.top()?,
            16 if self.options.choices => {
                let dim = self.dim(true);
                self.add(Op::Size { dim }, &[])?;
            }
            _ => self.map()?,
        }
        Ok(())
    }

    /// Places the dimensions of operands among output positions, one to one within an operand; the number of positions.
    fn place(&mut self, operands: &[Type]) -> (Vec<Vec<u32>>, usize) {
        let mut sizes: Vec<Size> = Vec::new();
        let mut at: Vec<Vec<u32>> = Vec::new();
        for t in operands {
            let mut mine: Vec<u32> = Vec::new();
            for d in &t.dims {
                let hit = (0u32..).zip(&sizes).find(|(p, s)| **s == d.size && !mine.contains(p)).map(|(p, _)| p);
                let p = hit.unwrap_or_else(|| {
                    sizes.push(d.size);
                    sizes.len() as u32 - 1
                });
                mine.push(p);
            }
            at.push(mine);
        }
        let mut order: Vec<u32> = (0..sizes.len() as u32).collect();
        if self.rng.chance(1, 3) {
            self.rng.shuffle(&mut order);
        }
        (at.into_iter().map(|v| v.into_iter().map(|p| order[p as usize]).collect()).collect(), sizes.len())
    }

    fn map(&mut self) -> Result<(), Bug> {
        let mut operands = Vec::new();
        for _ in 0..1 + self.rng.below(3) {
            operands.extend(self.any(|_| true)?);
        }
        let types = operands.iter().map(|o| self.ty(*o)).collect::<Result<Vec<_>, _>>()?;
        let (at, rank) = self.place(&types);
        if rank > MAX_RANK {
            return Ok(());
        }
        let dtypes: Vec<DType> = types.iter().map(|t| t.dtype).collect();
        let depth = 1 + self.rng.below(3);
        let (want, mut expr) = match self.rng.below(8) {
            0 => (DType::Bool, bool_expr(&mut self.rng, &dtypes, depth)),
            1 => (DType::I32, int_expr(&mut self.rng, &dtypes, depth)),
            _ => (DType::F32, float_expr(&mut self.rng, &dtypes, depth)),
        };
        if expr.dtype(&dtypes).map_err(Bug::new)?.is_none() {
            expr = ScalarExpr::cast(want, expr);
        }
        self.add(Op::Map { expr, at }, &operands).map(drop)
    }

    fn broadcast(&mut self) -> Result<(), Bug> {
        let Some(x) = self.any(|t| t.rank() < 3)? else { return Ok(()) };
        let mut dims = self.ty(x)?.dims;
        let mut at: Vec<u32> = (0..dims.len() as u32).collect();
        for _ in 0..1 + self.rng.below(2) {
            let p = self.rng.below(dims.len() + 1);
            dims.insert(p, self.dim(true));
            at.iter_mut().filter(|a| **a as usize >= p).for_each(|a| *a += 1);
        }
        self.add(Op::Broadcast { dims, at }, &[x]).map(drop)
    }

    fn reduce(&mut self) -> Result<(), Bug> {
        let all = if self.options.choices { &ReduceFn::ALL[..] } else { &ReduceFn::NUMBERS[..4] };
        let f = self.rng.pick(all).unwrap_or(ReduceFn::Sum);
        // The order of NaN is an error, and so is the best of nothing.
        let best = f == ReduceFn::ArgMax;
        if best && (self.options.special || self.case.syms.contains(&0)) {
            return Ok(());
        }
        let fits = |t: &Type| t.dtype == f.types().0 && t.rank() > 0;
        let Some(x) = (if best { self.ordered(fits)? } else { self.any(fits)? }) else { return Ok(()) };
        let rank = self.ty(x)?.rank() as u32;
        let mut dims: Vec<u32> = (0..rank).filter(|_| self.rng.chance(1, 2)).collect();
        if dims.is_empty() {
            dims.push(self.rng.below(rank as usize) as u32);
        }
        self.add(Op::Reduce { f, dims }, &[x]).map(drop)
    }

    fn gather(&mut self) -> Result<(), Bug> {
        let fixed = |d: &Dim| d.size.fixed().is_some();
        let Some(table) = self.any(|t| t.dims.iter().any(fixed))? else { return Ok(()) };
        let t = self.ty(table)?;
        let mut places: Vec<usize> = (0..t.rank()).filter(|i| fixed(&t.dims[*i])).collect();
        self.rng.shuffle(&mut places);
        let Some(dim) = places.first().copied() else { return Ok(()) };
        let n = t.dims[dim].size.fixed().unwrap_or(1) as usize;
        let dims = (0..self.rng.below(3)).map(|_| self.dim(true)).collect();
        let Some(ids) = self.input_of(Type::new(DType::I32, dims), n)? else { return Ok(()) };
        self.add(Op::Gather { dim: dim as u32 }, &[table, ids]).map(drop)
    }

    /// An f32 value without NaN: an input or a weight, or one of them with its axes moved.
    fn ordered(&mut self, fits: impl Fn(&Type) -> bool) -> Result<Option<NodeId>, Bug> {
        let mut hits = Vec::new();
        for v in &self.values {
            let mut base = *v;
            while let Op::Transpose { .. } | Op::Split { .. } | Op::Merge { .. } | Op::Broadcast { .. } =
                self.case.graph.node(base)?.op
            {
                base = *self.case.graph.inputs(base).first().ok_or_else(|| Bug::new("a view without an operand"))?;
            }
            let stored = matches!(self.case.graph.node(base)?.op, Op::Input { .. } | Op::Weight { .. });
            if stored && fits(self.case.graph.ty(*v)?) {
                hits.push(*v);
            }
        }
        Ok(self.rng.pick(&hits))
    }

    /// A free axis that follows from others, with its size in this case.
    fn derive(&mut self, name: &str, formula: Option<Formula>) -> Option<Size> {
        let size = self.case.graph.derive(name, formula?)?;
        self.case.syms.resize(self.case.graph.syms.len(), 0);
        self.case.graph.complete(&mut self.case.syms);
        Some(size)
    }

    fn concat(&mut self) -> Result<(), Bug> {
        let Some(a) = self.any(|t| t.rank() > 0)? else { return Ok(()) };
        let t = self.ty(a)?;
        let dim = self.rng.below(t.rank());
        let fits = |o: &Type| {
            let same = o.dims.iter().zip(&t.dims).enumerate().all(|(i, (x, y))| i == dim || x.size == y.size);
            o.dtype == t.dtype && o.rank() == t.rank() && same
        };
        let mut parts = vec![a];
        for _ in 0..1 + self.rng.below(2) {
            parts.extend(self.any(fits)?);
        }
        let mut sizes = Vec::new();
        for p in &parts {
            sizes.extend(self.ty(*p)?.dims.get(dim).map(|d| d.size));
        }
        let Some(size) = self.derive("J", Formula::sum(&sizes)) else { return Ok(()) };
        self.add(Op::Concat { dim: dim as u32, axis: Dim { axis: "J".into(), size } }, &parts).map(drop)
    }

    fn window(&mut self) -> Result<(), Bug> {
        let Some(x) = self.any(|t| t.rank() > 0)? else { return Ok(()) };
        let t = self.ty(x)?;
        let dim = self.rng.below(t.rank());
        let mut into: Vec<Dim> = (0..self.rng.below(3)).map(|_| self.dim(true)).collect();
        if self.rng.chance(1, 3) {
            let width = 1 + self.rng.below(3) as u64;
            let Some(size) = self.derive("P", Formula::pieces(t.dims[dim].size, width)) else { return Ok(()) };
            into = vec![Dim { axis: "P".into(), size }, Dim::fixed("R", width)];
        }
        let coeff = into.iter().map(|_| self.rng.below(6) as i64 - 2).collect();
        let offset = self.rng.below(6) as i64 - 2;
        self.add(Op::Window { dim: dim as u32, into, coeff, offset }, &[x]).map(drop)
    }

    fn top(&mut self) -> Result<(), Bug> {
        if self.options.special {
            return Ok(());
        }
        let Some(x) = self.ordered(|t| t.dtype == DType::F32 && t.rank() > 0)? else { return Ok(()) };
        let t = self.ty(x)?;
        let rank = t.rank();
        let mut dims: Vec<u32> = (0..rank as u32).filter(|_| self.rng.chance(1, 2)).collect();
        if dims.is_empty() {
            dims.push(self.rng.below(rank) as u32);
        }
        if self.rng.chance(1, 4) {
            return self.add(Op::Rank { dims, name: "ranked".into() }, &[x]).map(drop);
        }
        let (n, m) = (self.rng.below(5) as u64, 1 + self.rng.below(9) as u64);
        let amount = match self.rng.below(4) {
            0 => Amount::Count(n),
            1 => Amount::OutOf { n, m },
            2 => Amount::Share { num: n, den: m },
            _ => Amount::Above(f64::from(self.rng.eighth())),
        };
        let among = self.any(|o| o.dtype == DType::Bool && o.sizes() == t.sizes())?;
        let top = Top {
            dims,
            amount,
            multiple: 1 + self.rng.below(3) as u64,
            first: self.rng.below(3) as u64,
            last: self.rng.below(3) as u64,
            among: among.is_some(),
            name: "kept \"words\"".into(),
        };
        let operands: Vec<NodeId> = [x].into_iter().chain(among).collect();
        self.add(Op::Top(top), &operands).map(drop)
    }

    fn view(&mut self) -> Result<(), Bug> {
        let Some(x) = self.any(|t| t.rank() > 0)? else { return Ok(()) };
        let t = self.ty(x)?;
        let dim = self.rng.below(t.rank());
        match (self.rng.below(3), t.dims[dim].size) {
            (0, Size::Fixed(n)) if t.rank() < MAX_RANK => {
                let parts: Vec<u64> = [1, 2, 3, 4, 6].into_iter().filter(|p| n % p == 0).collect();
                let p = self.rng.pick(&parts).unwrap_or(1);
                let into = vec![Dim::fixed("P", p), Dim::fixed("Q", n / p)];
                self.add(Op::Split { dim: dim as u32, into }, &[x])?;
            }
            (1, _) => {
                let run = t.dims[dim..].iter().take_while(|d| d.size.fixed().is_some()).count();
                if run > 0 {
                    let count = 1 + self.rng.below(run) as u32;
                    self.add(Op::Merge { dim: dim as u32, count }, &[x])?;
                }
            }
            _ => {
                let mut perm: Vec<u32> = (0..t.rank() as u32).collect();
                self.rng.shuffle(&mut perm);
                self.add(Op::Transpose { perm }, &[x])?;
            }
        }
        Ok(())
    }

    fn contract(&mut self) -> Result<(), Bug> {
        let (Some(a), Some(b)) = (self.float()?, self.float()?) else { return Ok(()) };
        let (ta, tb) = (self.ty(a)?, self.ty(b)?);
        let lhs: Vec<u32> = (0..ta.rank() as u32).collect();
        let mut rhs: Vec<u32> = Vec::new();
        let mut next = ta.rank() as u32;
        for d in &tb.dims {
            let hits: Vec<u32> =
                lhs.iter().copied().filter(|l| ta.dims[*l as usize].size == d.size && !rhs.contains(l)).collect();
            let hit = if self.rng.chance(4, 5) { self.rng.pick(&hits) } else { None };
            rhs.push(hit.unwrap_or(next));
            next += u32::from(hit.is_none());
        }
        let shared = |l: &u32| lhs.contains(l) && rhs.contains(l);
        let mut out: Vec<u32> = (0..next).filter(|l| !shared(l) || self.rng.chance(1, 4)).collect();
        self.rng.shuffle(&mut out);
        self.add(Op::Contract { lhs, rhs, out }, &[a, b]).map(drop)
    }

    /// `act(x W + b)` as index notation makes it: a weight whose output axis, or whose input axis too, is stored as one
    /// and seen split, with a bias and an activation now and then.
    fn projection(&mut self) -> Result<(), Bug> {
        let last = |t: &Type| t.dims.last().and_then(|d| d.size.fixed());
        let Some(mut x) = self.any(|t| t.dtype == DType::F32 && t.rank() > 0 && last(t).is_some())? else {
            return Ok(());
        };
        let mut summed = vec![self.ty(x)?.dims[self.ty(x)?.rank() - 1].clone()];
        let size = summed[0].size.fixed().unwrap_or(1);
        if self.rng.chance(1, 3) && size % 2 == 0 && self.ty(x)?.rank() < MAX_RANK {
            summed = vec![Dim::fixed("K1", 2), Dim::fixed("K2", size / 2)];
            let dim = self.ty(x)?.rank() as u32 - 1;
            let Some(v) = self.add(Op::Split { dim, into: summed.clone() }, &[x])? else { return Ok(()) };
            x = v;
        }
        let heads = self.rng.chance(1, 2);
        let rows = if heads { vec![Dim::fixed("H", 2), Dim::fixed("C", 3)] } else { vec![self.dim(false)] };
        let total = |dims: &[Dim]| dims.iter().filter_map(|d| d.size.fixed()).product::<u64>();
        let stored = vec![Dim::fixed("R", total(&rows)), Dim::fixed("K", size)];
        let Some(mut w) = self.weight_of(stored)? else { return Ok(()) };
        for (dim, into) in [(1, &summed), (0, &rows)] {
            if into.len() > 1 {
                let Some(v) = self.add(Op::Split { dim, into: into.clone() }, &[w])? else { return Ok(()) };
                w = v;
            }
        }
        // Labels: x is [outer.., summed..], w is [rows.., summed..].
        let outer = self.ty(x)?.rank() - summed.len();
        let label = |from: usize, n: usize| (from as u32..(from + n) as u32).collect::<Vec<u32>>();
        let (o, r, k) = (label(0, outer), label(10, rows.len()), label(20, summed.len()));
        let (xl, wl) = ([o.clone(), k.clone()].concat(), [r.clone(), k].concat());
        let mut out = [o, r.clone()].concat();
        if self.rng.chance(1, 3) {
            self.rng.shuffle(&mut out);
        }
        let (op, args) = if self.rng.chance(1, 2) {
            (Op::Contract { lhs: xl, rhs: wl, out: out.clone() }, [x, w])
        } else {
            (Op::Contract { lhs: wl, rhs: xl, out: out.clone() }, [w, x])
        };
        let Some(y) = self.add(op, &args)? else { return Ok(()) };
        self.epilogue(y, &out, &r, &rows)
    }

    /// A bias along the row axes of a projection and an activation, each now and then.
    fn epilogue(&mut self, mut y: NodeId, out: &[u32], r: &[u32], rows: &[Dim]) -> Result<(), Bug> {
        let size = rows.iter().filter_map(|d| d.size.fixed()).product();
        let whole: Vec<u32> = (0..out.len() as u32).collect();
        if self.rng.chance(2, 3) {
            let Some(mut b) = self.weight_of(vec![Dim::fixed("R", size)])? else { return Ok(()) };
            if rows.len() > 1 {
                let Some(v) = self.add(Op::Split { dim: 0, into: rows.to_vec() }, &[b])? else { return Ok(()) };
                b = v;
            }
            let at = r.iter().filter_map(|l| out.iter().position(|m| m == l)).map(|p| p as u32).collect();
            let expr = ScalarExpr::bin(BinFn::Add, ScalarExpr::Arg(0), ScalarExpr::Arg(1));
            let Some(v) = self.add(Op::Map { expr, at: vec![whole.clone(), at] }, &[y, b])? else { return Ok(()) };
            y = v;
        }
        if self.rng.chance(1, 2) {
            let arg = || ScalarExpr::Arg(0);
            let expr = if self.rng.chance(1, 2) {
                ScalarExpr::bin(BinFn::Max, arg(), ScalarExpr::Const(0.0))
            } else {
                let scaled = ScalarExpr::bin(BinFn::Div, arg(), ScalarExpr::Const(std::f64::consts::SQRT_2));
                let half = ScalarExpr::bin(BinFn::Mul, ScalarExpr::Const(0.5), arg());
                let one = ScalarExpr::Const(1.0);
                ScalarExpr::bin(BinFn::Mul, half, ScalarExpr::bin(BinFn::Add, one, ScalarExpr::un(UnFn::Erf, scaled)))
            };
            let Some(v) = self.add(Op::Map { expr, at: vec![whole.clone()] }, &[y])? else { return Ok(()) };
            y = v;
        }
        if self.rng.chance(1, 3) {
            // A sum with another value of its shape, scaled by a number for each of the last axis.
            let ty = self.ty(y)?.clone();
            let Some(last) = ty.dims.last().cloned().filter(|d| d.size.fixed().is_some()) else { return Ok(()) };
            let (Some(r), Some(c)) = (self.input_of(ty, 4)?, self.weight_of(vec![last])?) else { return Ok(()) };
            let at = vec![whole.clone(), whole.clone(), vec![whole.len() as u32 - 1]];
            let scaled = ScalarExpr::bin(BinFn::Mul, ScalarExpr::Arg(0), ScalarExpr::Arg(2));
            self.add(Op::Map { expr: ScalarExpr::bin(BinFn::Add, ScalarExpr::Arg(1), scaled), at }, &[y, r, c])?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Case, Bug> {
        let mut results = vec![*self.values.last().ok_or_else(|| Bug::new("no value"))?];
        for _ in 0..self.rng.below(3) {
            results.extend(self.rng.pick(&self.values));
        }
        for (i, id) in results.into_iter().enumerate() {
            self.case.graph.outputs.push((format!("y{i}"), id));
        }
        for (i, (name, id)) in self.case.graph.weights().into_iter().enumerate() {
            if self.rng.chance(1, 2) {
                let shape: Vec<u64> = self.ty(id)?.dims.iter().filter_map(|d| d.size.fixed()).collect();
                let require = self.require(format!("require {i}"), name, shape);
                self.case.graph.requires.push(require);
            }
        }
        self.case.graph.verify()?;
        Ok(self.case)
    }

    /// A constraint for its text; it need not be one that can be met.
    fn require(&mut self, name: String, weight: String, shape: Vec<u64>) -> Require {
        let keeps = (0..1 + self.rng.below(2)).map(|_| {
            let scopes = [Scope::Tile, Scope::Tensor, Scope::Layer, Scope::Model];
            let (n, m) = (self.rng.below(4) as u64, 1 + self.rng.below(9) as u64);
            let amount = match self.rng.below(4) {
                0 => Amount::Count(n),
                1 => Amount::OutOf { n, m },
                2 => Amount::Share { num: n, den: m },
                _ => Amount::Above(f64::from(self.rng.eighth())),
            };
            let score = [Score::Abs, Score::Norm1, Score::Norm2, Score::Random(self.rng.next_u64())];
            let floor = Floor { count: n, share: None, scope: scopes[self.rng.below(4)] };
            let ones = vec![1; shape.len()];
            let scope = if self.rng.chance(1, 2) { ones.clone() } else { shape.clone() };
            let layer = format!("net.layer.{}", self.rng.below(3));
            let member = Member::tile(weight.clone(), &shape, &ones, &scope, &layer);
            Keep {
                score: score[self.rng.below(4)].clone(),
                floor: self.rng.chance(1, 3).then_some(floor),
                multiple: 1 + self.rng.below(3) as u64,
                tail: [Tail::Exact, Tail::Pad, Tail::Ragged][self.rng.below(3)],
                ..Keep::new(amount, scopes[self.rng.below(4)], vec![member])
            }
        });
        Require { name, keeps: keeps.collect() }
    }
}
