//! Entry by entry: any number of pointwise values in one pass.
use super::frame::Frame;
use super::{Array, IOTA, Kind, Pass};
use crate::ir::{Addr, Builder, Cmp, FBin, IBin, LBin, LoadKind, Op, RedFn, StoreKind, Val};
use crate::templates::expr::Emitter;
use spc_base::Bug;
use spc_ir::{DType, ScalarExpr};

/// Position of a value in a [`Chain`].
pub type NodeId = usize;

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// An array as it is before the pass.
    Array(usize),
    /// A number of the step.
    Number(usize),
    /// Whether the place of the entry is below a number, which holds the bits of an i32.
    Before(usize),
    Map {
        expr: ScalarExpr,
        args: Vec<NodeId>,
        dtype: DType,
    },
}

/// How a value of all entries becomes one number. Of no entries a sum is 0, `Max` is minus infinity, `Min` infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldKind {
    Sum,
    Max,
    Min,
    /// How many are true.
    Count,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    pub kind: FoldKind,
    pub value: NodeId,
    /// Only entries where it is true.
    pub guard: Option<NodeId>,
}

/// Values computed for each entry. Equal values are one value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    pub arrays: Vec<Array>,
    pub nodes: Vec<Node>,
    pub stores: Vec<(usize, NodeId)>,
    pub folds: Vec<Fold>,
}

impl Chain {
    pub fn array(&mut self, kind: Kind) -> usize {
        self.arrays.push(Array { kind, written: false, read: true });
        self.arrays.len() - 1
    }

    pub fn node(&mut self, n: Node) -> NodeId {
        if let Some(i) = self.nodes.iter().position(|m| *m == n) {
            return i;
        }
        self.nodes.push(n);
        self.nodes.len() - 1
    }

    /// `expr` of values, folded away where it is just one of them.
    pub fn map(&mut self, expr: ScalarExpr, args: Vec<NodeId>, dtype: DType) -> NodeId {
        if let ScalarExpr::Arg(i) = expr
            && let Some(a) = args.get(usize::from(i))
            && self.dtype(*a) == dtype
        {
            return *a;
        }
        self.node(Node::Map { expr, args, dtype })
    }

    pub fn dtype(&self, n: NodeId) -> DType {
        match self.nodes.get(n) {
            Some(Node::Map { dtype, .. }) => *dtype,
            Some(Node::Before(_)) => DType::Bool,
            Some(Node::Array(a)) if self.arrays.get(*a).is_some_and(|a| a.kind == Kind::Bytes) => DType::Bool,
            _ => DType::F32,
        }
    }

    /// Writes a value to an array, in place of what an earlier store says. An array that keeps its values is not written.
    pub fn store(&mut self, array: usize, value: NodeId) {
        self.stores.retain(|(a, _)| *a != array);
        let same = self.nodes.get(value) == Some(&Node::Array(array));
        if !same {
            self.stores.push((array, value));
        }
        if let Some(a) = self.arrays.get_mut(array) {
            a.written = !same;
        }
    }

    pub fn is_idle(&self) -> bool {
        self.stores.is_empty() && self.folds.is_empty()
    }

    /// One more than the greatest number that is read.
    pub(super) fn numbers(&self) -> usize {
        let of = |n: &Node| if let Node::Number(i) | Node::Before(i) = n { i + 1 } else { 0 };
        self.nodes.iter().map(of).max().unwrap_or(0)
    }

    /// Whether each value depends on numbers only.
    fn uniform(&self) -> Vec<bool> {
        let mut out: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for n in &self.nodes {
            out.push(match n {
                Node::Array(_) | Node::Before(_) => false,
                Node::Number(_) => true,
                Node::Map { args, .. } => args.iter().all(|a| out.get(*a).copied().unwrap_or(false)),
            });
        }
        out
    }

    fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        let folds = self.folds.iter().flat_map(|f| std::iter::once(f.value).chain(f.guard));
        for n in self.stores.iter().map(|(_, n)| *n).chain(folds) {
            if let Some(l) = live.get_mut(n) {
                *l = true;
            }
        }
        for i in (0..self.nodes.len()).rev() {
            if let (true, Node::Map { args, .. }) = (live[i], &self.nodes[i]) {
                args.iter().for_each(|a| live[*a] = true);
            }
        }
        live
    }

    /// Drops arrays that no fold or store depends on; gives the numbers of those that stay, in order.
    pub fn drop_idle_arrays(&mut self) -> Vec<usize> {
        let live = self.live();
        let mut used = vec![false; self.arrays.len()];
        let read = self.nodes.iter().zip(&live).filter_map(|(n, l)| match n {
            Node::Array(i) if *l => Some(*i),
            _ => None,
        });
        for i in read.chain(self.stores.iter().map(|s| s.0)) {
            if let Some(u) = used.get_mut(i) {
                *u = true;
            }
        }
        let kept: Vec<usize> = (0..used.len()).filter(|i| used[*i]).collect();
        let place = |i: usize| kept.iter().position(|k| *k == i);
        for n in &mut self.nodes {
            if let Node::Array(i) = n {
                // Nothing reads the others.
                let none = || Node::Map { expr: ScalarExpr::Const(0.0), args: vec![], dtype: DType::F32 };
                *n = place(*i).map_or_else(none, Node::Array);
            }
        }
        for (array, _) in &mut self.stores {
            *array = place(*array).unwrap_or(*array);
        }
        self.arrays = kept.iter().filter_map(|i| self.arrays.get(*i)).cloned().collect();
        kept
    }

    /// The pass.
    ///
    /// # Errors
    /// A bug where an expression has no form for vectors.
    pub fn pass(&self, name: &str, lanes: usize) -> Result<Pass, Bug> {
        let mut b = Builder::new(name, lanes);
        let Frame { arrays: ptrs, numbers, folds, lo, hi, end } = Frame::new(&mut b, self.arrays.len());
        let (uniform, live) = (self.uniform(), self.live());
        let mut values: Vec<Option<Val>> = vec![None; self.nodes.len()];
        for i in (0..self.nodes.len()).filter(|i| uniform[*i] && live[*i]) {
            values[i] = Some(self.value(&mut b, i, &values, &ptrs, numbers, lo)?);
        }
        let iota = if self.folds.is_empty() { None } else { Some(b.load(LoadKind::VF32, Addr::new(numbers))) };
        let count = b.isub(hi, lo);
        let inits: Vec<Val> = self.folds.iter().map(|f| b.vfloat(neutral(f.kind))).collect();
        let mut failed = None;
        let sums = b.repeat(count, &inits, |b, i, sums| {
            let at = b.iadd(lo, i);
            let at = b.scale(at, lanes as i64);
            let mut values = values.clone();
            for n in (0..self.nodes.len()).filter(|n| !uniform[*n] && live[*n]) {
                match self.value(b, n, &values, &ptrs, numbers, at) {
                    Ok(v) => values[n] = Some(v),
                    Err(e) => failed = Some(e),
                }
            }
            let mut out = Vec::new();
            if let Some(iota) = iota {
                let left = b.isub(end, at);
                let most = b.int(lanes as i64);
                let left = b.ibin(IBin::Min, left, most);
                let left = b.op(Op::IToF(left));
                let left = b.splat(left);
                let real = b.fcmp(Cmp::Lt, iota, left);
                for (f, sum) in self.folds.iter().zip(sums) {
                    out.push(fold(b, f, *sum, &values, real).unwrap_or(*sum));
                }
            }
            for (array, n) in &self.stores {
                let (Some(v), Some(p)) = (values.get(*n).copied().flatten(), ptrs.get(*array)) else {
                    failed = Some(Bug::new("a pass stores what it does not compute"));
                    continue;
                };
                store(b, self.arrays[*array].kind, *p, at, v);
            }
            out
        });
        if let Some(e) = failed {
            return Err(e);
        }
        for (i, (f, s)) in self.folds.iter().zip(sums).enumerate() {
            let how = match f.kind {
                FoldKind::Sum | FoldKind::Count => RedFn::Add,
                FoldKind::Max => RedFn::Max,
                FoldKind::Min => RedFn::Min,
            };
            let x = b.reduce(how, s);
            b.store(StoreKind::F32, Addr::at(folds, 4 * i as i32), x);
        }
        let mut arrays = self.arrays.clone();
        for (i, a) in arrays.iter_mut().enumerate() {
            a.read = self.nodes.iter().zip(&live).any(|(n, l)| *l && *n == Node::Array(i));
        }
        Ok(Pass {
            kernel: b.finish()?,
            arrays,
            unit: lanes,
            numbers: self.numbers(),
            folds: self.folds.len(),
            cut: true,
        })
    }

    fn value(
        &self,
        b: &mut Builder,
        n: NodeId,
        values: &[Option<Val>],
        ptrs: &[Val],
        numbers: Val,
        at: Val,
    ) -> Result<Val, Bug> {
        let lost = || Bug::new("a value of a pass is read before it is there");
        Ok(match self.nodes.get(n).ok_or_else(lost)? {
            Node::Array(a) => {
                let p = *ptrs.get(*a).ok_or_else(lost)?;
                load(b, self.arrays[*a].kind, p, at)
            }
            Node::Number(i) => number(b, numbers, *i),
            Node::Before(i) => before(b, numbers, *i, at),
            Node::Map { expr, args, dtype } => {
                let types: Vec<DType> = args.iter().map(|a| self.dtype(*a)).collect();
                let args = args
                    .iter()
                    .map(|a| values.get(*a).copied().flatten().ok_or_else(lost))
                    .collect::<Result<Vec<_>, _>>()?;
                Emitter { args: &args, types: &types, vector: true }.emit(b, expr, *dtype)?
            }
        })
    }
}

/// Number `i` of the step in all lanes.
pub(super) fn number(b: &mut Builder, numbers: Val, i: usize) -> Val {
    b.load(LoadKind::Splat, Addr::at(numbers, 4 * (IOTA + i) as i32))
}

/// Whether the entries from `at` on stand before the place that number `i` holds.
fn before(b: &mut Builder, numbers: Val, i: usize, at: Val) -> Val {
    let end = b.load(LoadKind::SplatI32, Addr::at(numbers, 4 * (IOTA + i) as i32));
    let iota = b.load(LoadKind::VF32, Addr::new(numbers));
    let (iota, at) = (b.op(Op::Nearest(iota)), b.splat(at));
    let place = b.iadd(at, iota);
    let gap = b.isub(place, end);
    let sign = b.op(Op::Shr(gap, 31));
    let (x, zero) = (b.op(Op::IToF(sign)), b.vfloat(0.0));
    b.fcmp(Cmp::Ne, x, zero)
}

pub(super) fn load(b: &mut Builder, kind: Kind, p: Val, at: Val) -> Val {
    if kind == Kind::Bytes {
        let bytes = b.load(LoadKind::VU8, Addr::indexed(p, at, 1));
        let x = b.op(Op::IToF(bytes));
        let zero = b.vfloat(0.0);
        return b.fcmp(Cmp::Ne, x, zero);
    }
    b.load(LoadKind::VF32, Addr::indexed(p, at, 4))
}

pub(super) fn store(b: &mut Builder, kind: Kind, p: Val, at: Val, v: Val) {
    if kind == Kind::Bytes {
        let (one, zero) = (b.vint(1), b.vint(0));
        let v = b.select(v, one, zero);
        b.store(StoreKind::VU8, Addr::indexed(p, at, 1), v);
    } else {
        b.store(StoreKind::VF32, Addr::indexed(p, at, 4), v);
    }
}

fn neutral(k: FoldKind) -> f32 {
    match k {
        FoldKind::Sum | FoldKind::Count => 0.0,
        FoldKind::Max => f32::NEG_INFINITY,
        FoldKind::Min => f32::INFINITY,
    }
}

fn fold(b: &mut Builder, f: &Fold, sum: Val, values: &[Option<Val>], real: Val) -> Option<Val> {
    let v = values.get(f.value).copied().flatten()?;
    let here = match f.guard {
        Some(g) => {
            let g = values.get(g).copied().flatten()?;
            b.logic(LBin::And, g, real)
        }
        None => real,
    };
    let nothing = b.vfloat(neutral(f.kind));
    Some(match f.kind {
        FoldKind::Count => {
            let here = b.logic(LBin::And, v, here);
            let (one, zero) = (b.vfloat(1.0), b.vfloat(0.0));
            let x = b.select(here, one, zero);
            b.fbin(FBin::Add, sum, x)
        }
        k => {
            let x = b.select(here, v, nothing);
            let f = match k {
                FoldKind::Max => FBin::Max,
                FoldKind::Min => FBin::Min,
                _ => FBin::Add,
            };
            b.fbin(f, sum, x)
        }
    })
}

impl Chain {
    /// The values of nodes over given values of the arrays, outside of any loop over entries.
    pub(super) fn emit(&self, b: &mut Builder, numbers: Val, arrays: &[Val]) -> Result<Vec<Val>, Bug> {
        let lost = || Bug::new("a value of a pass is read before it is there");
        let mut out: Vec<Val> = Vec::with_capacity(self.nodes.len());
        for n in &self.nodes {
            let v = match n {
                Node::Array(a) => *arrays.get(*a).ok_or_else(lost)?,
                Node::Number(i) => number(b, numbers, *i),
                Node::Before(_) => return Err(Bug::new("a place outside of a loop")),
                Node::Map { expr, args, dtype } => {
                    let types: Vec<DType> = args.iter().map(|a| self.dtype(*a)).collect();
                    let args =
                        args.iter().map(|a| out.get(*a).copied().ok_or_else(lost)).collect::<Result<Vec<_>, _>>()?;
                    Emitter { args: &args, types: &types, vector: true }.emit(b, expr, *dtype)?
                }
            };
            out.push(v);
        }
        Ok(out)
    }
}
