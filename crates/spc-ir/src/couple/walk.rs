//! One term for every dimension of every value: the operators' equations between axes.
use super::axes::{Terms, Var};
use super::{At, Refusal, Why};
use crate::{Dim, Graph, NodeId, Op, Size, Type};
use spc_base::Bug;
use std::collections::BTreeMap;

/// Terms of all graphs. Weights of one name are one value in all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    pub terms: Terms,
    pub dims: BTreeMap<At, Vec<Var>>,
    /// Terms that cannot be coupled, and where that was found.
    pub broken: Vec<(Var, Refusal)>,
    /// Windows that read a range, each position once: what lies before the range.
    pub cuts: BTreeMap<At, Var>,
    pub weights: BTreeMap<String, Vec<Var>>,
}

/// Where a window reads a range of its dimension once, each position in order: how many lie before, inside and after.
fn range(into: &[Dim], coeff: &[i64], offset: i64, size: Size) -> Option<(u64, u64, u64)> {
    let mut inside = 1u64;
    for (d, c) in into.iter().zip(coeff).rev() {
        let n = d.size.fixed()?;
        if n != 1 && u64::try_from(*c) != Ok(inside) {
            return None;
        }
        inside = inside.checked_mul(n)?;
    }
    let before = u64::try_from(offset).ok()?;
    let after = size.fixed()?.checked_sub(before.checked_add(inside)?)?;
    (inside > 0).then_some((before, inside, after))
}

fn bug(what: &str) -> Bug {
    Bug::new(format!("coupling: {what}"))
}

impl Walk {
    pub fn new(graphs: &[&Graph]) -> Result<Walk, Bug> {
        let mut w = Walk::default();
        for (i, g) in graphs.iter().enumerate() {
            for n in g.order()? {
                w.node(i, g, n)?;
            }
        }
        Ok(w)
    }

    fn leaves(&mut self, ty: &[Dim]) -> Vec<Var> {
        ty.iter().map(|d| self.terms.leaf(d.size)).collect()
    }

    fn equate(&mut self, at: At, a: Var, b: Var) {
        for v in self.terms.equate(a, b) {
            self.broken.push((v, Refusal { at, why: Why::Reshape }));
        }
    }

    fn refuse(&mut self, at: At, v: Var, why: Why) {
        self.broken.push((v, Refusal { at, why }));
    }

    fn node(&mut self, graph: usize, g: &Graph, n: NodeId) -> Result<(), Bug> {
        let at = At { graph, node: n };
        let node = g.node(n)?;
        let inputs = g.inputs(n);
        let args: Vec<Vec<Var>> = inputs
            .iter()
            .map(|i| self.dims.get(&At { graph, node: *i }).cloned().ok_or_else(|| bug("an operand is missing")))
            .collect::<Result<_, _>>()?;
        let first = || args.first().cloned().ok_or_else(|| bug("no operand"));
        let dims = match &node.op {
            Op::Input { ty, .. } => self.leaves(&ty.dims),
            Op::Weight { name, ty } => match self.weights.get(name) {
                Some(v) if v.len() == ty.rank() => v.clone(),
                _ => {
                    let v = self.leaves(&ty.dims);
                    self.weights.insert(name.clone(), v.clone());
                    v
                }
            },
            Op::Const { .. } => Vec::new(),
            Op::Iota { dim } => {
                let v = self.terms.leaf(dim.size);
                self.refuse(at, v, Why::Number);
                vec![v]
            }
            Op::Map { at: places, .. } => self.place(at, &node.ty, &args, places, None)?,
            Op::Broadcast { dims, at: place } => {
                self.place(at, &node.ty, &args, std::slice::from_ref(place), Some(dims))?
            }
            Op::Contract { lhs, rhs, out } => {
                let mut by: BTreeMap<u32, Var> = BTreeMap::new();
                for (labels, dims) in [lhs, rhs].into_iter().zip(&args) {
                    for (l, v) in labels.iter().zip(dims) {
                        match by.get(l).copied() {
                            Some(u) => self.equate(at, u, *v),
                            None => {
                                by.insert(*l, *v);
                            }
                        }
                    }
                }
                out.iter().map(|l| by.get(l).copied().ok_or_else(|| bug("unknown label"))).collect::<Result<_, _>>()?
            }
            Op::Reduce { dims, .. } => {
                (0u32..).zip(first()?).filter(|(i, _)| !dims.contains(i)).map(|(_, v)| v).collect()
            }
            Op::Gather { dim } => {
                let mut table = first()?;
                let ids = args.get(1).cloned().unwrap_or_default();
                let d = *dim as usize;
                if let Some(v) = table.get(d).copied() {
                    self.refuse(at, v, Why::Index);
                    table.splice(d..=d, ids);
                }
                table
            }
            Op::Transpose { perm } => {
                let x = first()?;
                perm.iter()
                    .map(|p| x.get(*p as usize).copied().ok_or_else(|| bug("transpose")))
                    .collect::<Result<_, _>>()?
            }
            Op::Split { dim, into } => {
                let mut x = first()?;
                let parts = self.leaves(into);
                let whole = self.terms.product(&parts);
                let d = *dim as usize;
                if let Some(v) = x.get(d).copied() {
                    self.equate(at, v, whole);
                    x.splice(d..=d, parts);
                }
                x
            }
            Op::Merge { dim, count } => {
                let mut x = first()?;
                let d = *dim as usize;
                let end = d + *count as usize;
                let whole = self.terms.product(x.get(d..end).unwrap_or_default());
                if end <= x.len() {
                    x.splice(d..end, [whole]);
                }
                x
            }
            Op::Concat { dim, axis } => {
                let mut x = first()?;
                let d = *dim as usize;
                for other in args.get(1..).unwrap_or_default() {
                    for (_, (a, b)) in x.iter().zip(other).enumerate().filter(|(i, _)| *i != d) {
                        self.equate(at, *a, *b);
                    }
                }
                let segments: Vec<Var> = args.iter().filter_map(|a| a.get(d).copied()).collect();
                if segments.len() > 1 && axis.size.fixed().is_none() {
                    // Where a part lies depends on the call.
                    for s in &segments {
                        self.refuse(at, *s, Why::Scattered);
                    }
                }
                let joined = self.terms.sum(&segments, axis.size);
                if let Some(v) = x.get_mut(d) {
                    *v = joined;
                }
                x
            }
            Op::Window { dim, into, coeff, offset } => {
                let mut x = first()?;
                let d = *dim as usize;
                let parts = self.leaves(into);
                if let Some(v) = x.get(d).copied() {
                    match range(into, coeff, *offset, self.terms.size(v)) {
                        Some((before, inside, after)) => {
                            let ends = [before, after].map(|n| self.terms.leaf(Size::Fixed(n)));
                            let mid = self.terms.product(&parts);
                            let size = Size::Fixed(before + inside + after);
                            let whole = self.terms.sum(&[ends[0], mid, ends[1]], size);
                            self.equate(at, v, whole);
                            self.cuts.insert(at, ends[0]);
                        }
                        None => {
                            self.refuse(at, v, Why::Window);
                            for p in &parts {
                                self.refuse(at, *p, Why::Window);
                            }
                        }
                    }
                    x.splice(d..=d, parts);
                }
                x
            }
            // Zeros change neither the largest value nor what others round to.
            Op::Round { .. } => first()?,
            Op::Size { .. } => Vec::new(),
            Op::Top(crate::Top { dims, .. }) | Op::Rank { dims, .. } => {
                let x = first()?;
                for v in args.get(1).into_iter().flatten().zip(&x) {
                    self.equate(at, *v.0, *v.1);
                }
                for d in dims {
                    if let Some(v) = x.get(*d as usize).copied() {
                        self.refuse(at, v, Why::Order);
                    }
                }
                x
            }
            Op::Linear { bias, .. } => {
                let (mut x, w) = (first()?, args.get(1).cloned().unwrap_or_default());
                let Some((o, inner)) = w.split_first() else { return Err(bug("the weight of a linear")) };
                match (x.pop(), inner) {
                    (Some(last), [k]) => self.equate(at, last, *k),
                    (Some(last), _) => {
                        let whole = self.terms.product(inner);
                        self.equate(at, last, whole);
                    }
                    (None, _) => return Err(bug("the value that a linear reads")),
                }
                if let (true, Some([b])) = (*bias, args.get(2).map(Vec::as_slice)) {
                    self.equate(at, *o, *b);
                }
                x.push(*o);
                x
            }
        };
        if dims.len() != node.ty.rank() {
            return Err(bug(&format!("{} {n} has another rank", node.op.name())));
        }
        self.dims.insert(at, dims);
        Ok(())
    }

    /// Dimensions of operands that lie at output positions: those that share a position are one axis.
    fn place(
        &mut self,
        at: At,
        ty: &Type,
        args: &[Vec<Var>],
        places: &[Vec<u32>],
        given: Option<&[Dim]>,
    ) -> Result<Vec<Var>, Bug> {
        let mut out: Vec<Option<Var>> = vec![None; ty.rank()];
        for (dims, places) in args.iter().zip(places) {
            for (v, p) in dims.iter().zip(places) {
                match out.get(*p as usize).copied().ok_or_else(|| bug("a position out of range"))? {
                    Some(u) => self.equate(at, u, *v),
                    None => {
                        if let Some(slot) = out.get_mut(*p as usize) {
                            *slot = Some(*v);
                        }
                    }
                }
            }
        }
        let sizes: Vec<Size> = given.unwrap_or(&ty.dims).iter().map(|d| d.size).collect();
        Ok(out.into_iter().zip(sizes).map(|(v, s)| v.unwrap_or_else(|| self.terms.leaf(s))).collect())
    }
}
