//! Deletes slices of an axis for real: the same function over a smaller axis.
//!
//! Every dimension that carries the axis loses the positions that are not kept. A mean over the axis keeps the original
//! count: it becomes a sum, plus what the removed positions contribute, divided by that count.
use super::axes::{Terms, Var};
use super::zero::Held;
use super::{At, Coupling, Refusal};
use crate::{BinFn, Dim, Graph, NodeId, Op, ReduceFn, ScalarExpr, Size, Type};
use spc_base::Bug;
use std::collections::BTreeMap;

/// A function over the kept positions of one axis.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// Without constraints: those speak of the old shapes.
    pub graph: Graph,
    /// For each weight and input that carries the axis: which positions of each dimension are kept, ascending; `None` is all.
    pub kept: BTreeMap<String, Vec<Option<Vec<u64>>>>,
}

/// Why an axis cannot be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoShrink {
    Refused(Refusal),
    /// This mean needs what removed positions contribute, and other axes lie in the same dimension.
    Mixed(At),
    Bug(Bug),
}

impl From<Bug> for NoShrink {
    fn from(b: Bug) -> NoShrink {
        NoShrink::Bug(b)
    }
}

fn bug<T>(what: &str) -> Result<T, Bug> {
    Err(Bug::new(format!("shrink: {what}")))
}

impl Coupling {
    /// Keeps these positions (ascending, without repetition) of a set's axis in graph number `which` of those that were
    /// coupled.
    pub fn shrink(&self, graphs: &[&Graph], which: usize, set: usize, kept: &[u64]) -> Result<Shrunk, NoShrink> {
        let (Some(g), Some(s)) = (graphs.get(which), self.sets.get(set)) else { return Ok(bug("no such axis")?) };
        if let Some(r) = s.refusals.first() {
            return Err(NoShrink::Refused(r.clone()));
        }
        let ascending = kept.windows(2).all(|w| w[0] < w[1]) && kept.last().is_none_or(|k| *k < s.size);
        let leaf = self.of_leaf.iter().find(|(_, n)| **n == set).map(|(l, _)| *l);
        let (true, Some(leaf), Some(held)) = (ascending, leaf, self.held.get(&set)) else {
            return Ok(bug("the kept positions are not ascending")?);
        };
        let mut b = Builder {
            c: self,
            g,
            which,
            leaf,
            held,
            full: s.size,
            kept: kept.len() as u64,
            out: g.without_nodes(),
            main: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            named: BTreeMap::new(),
        };
        for n in g.order()? {
            let new = b.main(n)?;
            b.main.insert(n, new);
            b.remember(n, kept)?;
        }
        for (name, o) in &g.outputs {
            let new = b.find(*o)?;
            b.out.outputs.push((name.clone(), new));
        }
        let graph = b.out.compact()?;
        graph.verify()?;
        Ok(Shrunk { graph, kept: b.named })
    }
}

/// Which positions of a term are kept when only these of a leaf in it are; `None` is all.
fn positions(terms: &Terms, v: Var, leaf: Var, kept: &[u64]) -> Option<Vec<u64>> {
    let places = terms.places(v)?;
    let mine: Vec<_> = places.into_iter().filter(|p| p.leaf == leaf).collect();
    if mine.is_empty() {
        return None;
    }
    let size = terms.size(v).fixed()?;
    let stays = |i: &u64| {
        mine.iter().all(|p| {
            *i < p.start
                || *i >= p.end
                || kept.binary_search(&((*i - p.start) / p.inner.max(1) % p.size.max(1))).is_ok()
        })
    };
    Some((0..size).filter(stays).collect())
}

struct Builder<'a> {
    c: &'a Coupling,
    g: &'a Graph,
    which: usize,
    leaf: Var,
    held: &'a BTreeMap<At, Held>,
    /// Size of the axis, and how much of it is kept.
    full: u64,
    kept: u64,
    out: Graph,
    main: BTreeMap<NodeId, NodeId>,
    /// A value where the axis has one position, a removed one.
    ghosts: BTreeMap<NodeId, NodeId>,
    named: BTreeMap<String, Vec<Option<Vec<u64>>>>,
}

impl Builder<'_> {
    fn at(&self, node: NodeId) -> At {
        At { graph: self.which, node }
    }

    fn find(&self, n: NodeId) -> Result<NodeId, Bug> {
        self.main.get(&n).copied().map_or_else(|| bug("an operand is missing"), Ok)
    }

    fn terms(&self, n: NodeId) -> Vec<Var> {
        self.c.walk.dims.get(&self.at(n)).cloned().unwrap_or_default()
    }

    fn remember(&mut self, n: NodeId, kept: &[u64]) -> Result<(), Bug> {
        let (Op::Weight { name, .. } | Op::Input { name, .. }) = &self.g.node(n)?.op else { return Ok(()) };
        if self.held.contains_key(&self.at(n)) {
            let terms = self.terms(n);
            let dims = terms.iter().map(|v| positions(&self.c.walk.terms, *v, self.leaf, kept));
            self.named.insert(name.clone(), dims.collect());
        }
        Ok(())
    }

    /// Size of a term when the axis has `n` positions.
    fn size(&self, v: Var, n: u64) -> Result<Size, Bug> {
        let terms = &self.c.walk.terms;
        let Size::Fixed(all) = terms.size(v) else { return Ok(terms.size(v)) };
        let Some(places) = terms.places(v) else { return bug("a dimension of too many pieces") };
        let gone = |p: &super::axes::Place| (p.end - p.start) / self.full.max(1) * (self.full - n.min(self.full));
        let removed: u64 = places.iter().filter(|p| p.leaf == self.leaf).map(gone).sum();
        Ok(Size::Fixed(all.saturating_sub(removed)))
    }

    fn dims(&self, n: NodeId, axis: u64) -> Result<Vec<Dim>, Bug> {
        let old = &self.g.ty(n)?.dims;
        let dims = old.iter().zip(self.terms(n)).map(|(d, v)| {
            let size = self.size(v, axis)?;
            Ok(Dim { axis: d.axis.clone(), size })
        });
        dims.collect()
    }

    /// The operator with the sizes that it names changed to those of an axis with `n` positions.
    fn resized(&self, id: NodeId, n: u64) -> Result<Op, Bug> {
        let dims = self.dims(id, n)?;
        let ty = |t: &Type| Type::new(t.dtype, dims.clone());
        Ok(match &self.g.node(id)?.op {
            Op::Input { name, ty: t } => Op::Input { name: name.clone(), ty: ty(t) },
            Op::Weight { name, ty: t } => Op::Weight { name: name.clone(), ty: ty(t) },
            Op::Broadcast { at, .. } => Op::Broadcast { dims, at: at.clone() },
            Op::Split { dim, into } => {
                let d = *dim as usize;
                Op::Split { dim: *dim, into: dims.get(d..d + into.len()).unwrap_or_default().to_vec() }
            }
            Op::Concat { dim, axis } => {
                Op::Concat { dim: *dim, axis: dims.get(*dim as usize).cloned().unwrap_or_else(|| axis.clone()) }
            }
            Op::Window { dim, into, coeff, offset } => {
                let d = *dim as usize;
                let new = dims.get(d..d + into.len()).unwrap_or_default().to_vec();
                let Some(before) = self.c.walk.cuts.get(&self.at(id)).copied() else {
                    return Ok(Op::Window { dim: *dim, into: new, coeff: coeff.clone(), offset: *offset });
                };
                let number = |n: u64| i64::try_from(n).or_else(|_| bug("a window is too large"));
                let mut steps = Vec::new();
                let mut step = 1u64;
                for d in new.iter().rev() {
                    steps.insert(0, number(step)?);
                    step = step.saturating_mul(d.size.fixed().unwrap_or(1));
                }
                let offset = number(self.size(before, n)?.fixed().unwrap_or(0))?;
                Op::Window { dim: *dim, into: new, coeff: steps, offset }
            }
            op => op.clone(),
        })
    }

    fn main(&mut self, id: NodeId) -> Result<NodeId, NoShrink> {
        let inputs = self.g.inputs(id);
        let args = inputs.iter().map(|i| self.find(*i)).collect::<Result<Vec<_>, _>>()?;
        if let Op::Reduce { f: ReduceFn::Mean, dims } = &self.g.node(id)?.op
            && let Some(from) = inputs.first()
        {
            let over: Vec<u32> = dims.iter().copied().filter(|d| self.carries(*from, *d)).collect();
            if !over.is_empty() {
                let rest = dims.iter().filter(|d| !over.contains(d));
                let rest: Vec<u32> = rest.map(|d| d - over.iter().filter(|o| *o < d).count() as u32).collect();
                return self.mean(*from, &over, rest);
            }
        }
        let op = self.resized(id, self.kept)?;
        Ok(self.out.add(op, &args)?)
    }

    fn carries(&self, n: NodeId, dim: u32) -> bool {
        let v = self.terms(n).get(dim as usize).copied();
        v.is_some_and(|v| self.c.walk.terms.leaves(v).contains(&self.leaf))
    }

    /// The mean over these dimensions of `from`, all of which carry the axis, and then over `rest` of what is left.
    fn mean(&mut self, from: NodeId, over: &[u32], rest: Vec<u32>) -> Result<NodeId, NoShrink> {
        let sum = |dims: &[u32]| Op::Reduce { f: ReduceFn::Sum, dims: dims.to_vec() };
        let x = self.find(from)?;
        let mut total = self.out.add(sum(over), &[x])?;
        let same: Vec<u32> = (0..self.out.ty(total)?.rank() as u32).collect();
        let both = || vec![same.clone(), same.clone()];
        let arg = ScalarExpr::Arg;
        let removed = self.full - self.kept;
        let zero = matches!(self.held.get(&self.at(from)), Some(Held::Known(c)) if *c == 0.0);
        if !zero && removed > 0 {
            let ghost = self.ghost(from)?;
            let one = self.out.add(sum(over), &[ghost])?;
            let expr = ScalarExpr::bin(BinFn::Mul, arg(1), ScalarExpr::Const(removed as f64));
            let expr = ScalarExpr::bin(BinFn::Add, arg(0), expr);
            total = self.out.add(Op::Map { expr, at: both() }, &[total, one])?;
        }
        let sizes = over.iter().map(|d| self.g.ty(from).ok()?.dims.get(*d as usize)?.size.fixed());
        let Some(count) = sizes.product::<Option<u64>>() else { return Ok(bug("a mean over a free axis")?) };
        let expr = ScalarExpr::bin(BinFn::Div, arg(0), ScalarExpr::Const(count as f64));
        let mean = self.out.add(Op::Map { expr, at: vec![same.clone()] }, &[total])?;
        if rest.is_empty() {
            return Ok(mean);
        }
        Ok(self.out.add(Op::Reduce { f: ReduceFn::Mean, dims: rest }, &[mean])?)
    }

    /// The value where the axis has one position, a removed one: members are zero.
    fn ghost(&mut self, id: NodeId) -> Result<NodeId, NoShrink> {
        let mut todo = vec![id];
        while let Some(next) = todo.last().copied() {
            if self.ghosts.contains_key(&next) || !self.held.contains_key(&self.at(next)) {
                todo.pop();
                continue;
            }
            let node = self.g.node(next)?;
            if !self.whole(next) {
                return Err(NoShrink::Mixed(self.at(next)));
            }
            if let Some(Held::Known(value)) = self.held.get(&self.at(next)).copied() {
                let scalar = self.out.add(Op::Const { value, dtype: node.ty.dtype }, &[])?;
                let new = self.out.add(Op::Broadcast { dims: self.dims(next, 1)?, at: vec![] }, &[scalar])?;
                self.ghosts.insert(next, new);
                continue;
            }
            let inputs = self.g.inputs(next);
            let missing = |i: &NodeId| self.held.contains_key(&self.at(*i)) && !self.ghosts.contains_key(i);
            let before = todo.len();
            todo.extend(inputs.iter().copied().filter(missing));
            if todo.len() > before {
                continue;
            }
            let args = inputs.iter().map(|i| match self.ghosts.get(i) {
                Some(g) => Ok(*g),
                None => self.find(*i),
            });
            let args = args.collect::<Result<Vec<_>, _>>()?;
            if matches!(node.op, Op::Input { .. }) {
                return Ok(bug("what an input holds is needed at removed positions")?);
            }
            let op = self.resized(next, 1)?;
            let new = self.out.add(op, &args)?;
            self.ghosts.insert(next, new);
        }
        Ok(match self.ghosts.get(&id) {
            Some(g) => *g,
            None => self.find(id)?,
        })
    }

    /// True when every dimension that carries the axis holds nothing else, so that what is known holds for all elements.
    fn whole(&self, n: NodeId) -> bool {
        let terms = &self.c.walk.terms;
        self.terms(n).iter().all(|v| {
            !terms.leaves(*v).contains(&self.leaf)
                || terms.parts(*v, true).len() == 1
                    && terms.parts(*v, false).iter().all(|f| terms.parts(*f, true).len() == 1)
        })
    }
}
