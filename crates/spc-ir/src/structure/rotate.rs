//! Where an orthogonal matrix may be put into a program without changing what it computes: on a stream of features that only
//! linears and tables write, that only norms without a mean and linears read, and that is added to itself. QuaRot (Ashkboos et
//! al. 2024) and SliceGPT (Ashkboos et al. 2024) rest on this.
use super::affine::{gained, is_zero};
use super::fold::weight;
use crate::{BinFn, DType, Graph, NodeId, Op, ReduceFn, ScalarExpr, UnFn};
use spc_base::Bug;
use std::collections::{BTreeMap, BTreeSet};

/// What happens to one weight when streams are turned: `x` becomes `x Q`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// It writes a stream of this size: each of its columns (a bias: itself) is turned.
    pub rows: Option<u64>,
    /// It reads a stream of this size, or is a table of one: each of its rows is turned.
    pub cols: Option<u64>,
    /// Gains that move into its columns first.
    pub gains: Vec<String>,
}

/// What can be turned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    pub weights: BTreeMap<String, Turned>,
    /// Gains that become 1.
    pub gains: BTreeSet<String>,
    /// Streams that cannot be turned: the first weight that writes or reads them, and the reason.
    pub refused: Vec<(String, String)>,
}

struct Streams<'a> {
    g: &'a Graph,
    parent: BTreeMap<NodeId, NodeId>,
    broken: BTreeMap<NodeId, String>,
    /// Values that are a stream times gains along it.
    gains: BTreeMap<NodeId, Vec<String>>,
}

/// How an expression depends on some arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depends {
    Not,
    Linearly,
    Otherwise,
}

fn depends(e: &ScalarExpr, of: &dyn Fn(u8) -> bool) -> Depends {
    use Depends::{Linearly, Not, Otherwise};
    match e {
        ScalarExpr::Arg(a) if of(*a) => Linearly,
        ScalarExpr::Un(UnFn::Neg, a) => depends(a, of),
        ScalarExpr::Bin(f, a, b) => match (f, depends(a, of), depends(b, of)) {
            (_, Not, Not) => Not,
            (BinFn::Add | BinFn::Sub, Linearly, Linearly) => Linearly,
            (BinFn::Mul, Linearly, Not) | (BinFn::Mul, Not, Linearly) | (BinFn::Div, Linearly, Not) => Linearly,
            _ => Otherwise,
        },
        _ if e.children().into_iter().all(|c| depends(c, of) == Not) => Not,
        _ => Otherwise,
    }
}

impl Streams<'_> {
    fn find(&self, n: NodeId) -> NodeId {
        let mut at = n;
        while let Some(p) = self.parent.get(&at).filter(|p| **p != at) {
            at = *p;
        }
        at
    }

    fn join(&mut self, a: NodeId, b: NodeId) {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return;
        }
        let (low, high) = (a.min(b), a.max(b));
        self.parent.insert(high, low);
        if let Some(why) = self.broken.remove(&high) {
            self.broken.entry(low).or_insert(why);
        }
    }

    fn refuse(&mut self, n: NodeId, why: &str) {
        let n = self.find(n);
        self.broken.entry(n).or_insert_with(|| why.to_string());
    }

    /// Whether a value is squares of another, whose sum or mean along the features is all that is read of it.
    fn squares(&self, n: NodeId) -> Result<Option<NodeId>, Bug> {
        let Op::Map { expr, .. } = &self.g.node(n)?.op else { return Ok(None) };
        let inputs = self.g.inputs(n);
        let last = (self.g.ty(n)?.rank() as u32).saturating_sub(1);
        let arg = || Box::new(ScalarExpr::Arg(0));
        let square = *expr == ScalarExpr::Bin(BinFn::Mul, arg(), arg())
            || *expr == ScalarExpr::Bin(BinFn::Pow, arg(), Box::new(ScalarExpr::Const(2.0)));
        let mut summed = !self.g.readers(n).is_empty() && !self.g.is_output(n);
        for r in self.g.readers(n) {
            summed &= matches!(&self.g.node(r)?.op, Op::Reduce { f: ReduceFn::Sum | ReduceFn::Mean, dims } if dims == &[last]);
        }
        Ok(inputs.first().copied().filter(|_| square && summed && inputs.len() == 1))
    }

    fn map(&mut self, n: NodeId, expr: &ScalarExpr, at: &[Vec<u32>]) -> Result<(), Bug> {
        if self.squares(n)?.is_some() {
            return Ok(());
        }
        let (inputs, ty) = (self.g.inputs(n), self.g.ty(n)?.clone());
        let last = (ty.rank() as u32).saturating_sub(1);
        let mut stream = Vec::new();
        let mut along: BTreeMap<u8, String> = BTreeMap::new();
        let mut other = None;
        for (i, (x, places)) in inputs.iter().zip(at).enumerate() {
            let from = self.g.ty(*x)?;
            let identity = places.iter().copied().eq(0..ty.rank() as u32);
            if identity && from.dtype == DType::F32 && ty.rank() > 0 && weight(self.g, *x)?.is_none() {
                stream.push((i as u8, *x));
            } else if !places.contains(&last) {
                // Its own last axis is another one here.
                self.refuse(*x, "its features are used like tokens");
            } else if let Some((name, w)) = weight(self.g, *x)?
                && w.rank() == 1
            {
                along.insert(i as u8, name.to_string());
            } else {
                other = Some(*x);
            }
        }
        let parts = gained(expr, &|a| along.contains_key(&a));
        let uses = |e: &ScalarExpr| along.keys().any(|a| e.uses(*a) > 0);
        let linear = depends(&parts.rest, &|a| stream.iter().any(|s| s.0 == a)) == Depends::Linearly;
        let why = if !is_zero(&parts.shift) {
            Some("a weight is added along it")
        } else if !linear || uses(&parts.rest) || other.is_some() || ty.dtype != DType::F32 {
            Some("a function is applied to it element by element")
        } else {
            None
        };
        if let Some(why) = why {
            let all = stream.iter().map(|s| s.1).chain(other).chain([n]);
            all.collect::<Vec<_>>().into_iter().for_each(|v| self.refuse(v, why));
            return Ok(());
        }
        for (_, x) in &stream {
            self.join(n, *x);
        }
        let named: Vec<String> =
            along.iter().filter(|(a, _)| parts.gain.uses(**a) > 0).map(|(_, n)| n.clone()).collect();
        if !named.is_empty() {
            let simple = matches!(parts.gain, ScalarExpr::Arg(_)) && named.len() == 1;
            let mut ok = simple && !self.g.is_output(n);
            for r in self.g.readers(n) {
                ok &= matches!(self.g.node(r)?.op, Op::Linear { .. }) && self.g.inputs(r).first() == Some(&n);
            }
            if ok {
                self.gains.insert(n, named);
            } else {
                self.refuse(n, "a gain along it is read by something else than linears");
            }
        }
        Ok(())
    }

    fn node(&mut self, n: NodeId) -> Result<(), Bug> {
        let node = self.g.node(n)?;
        let inputs = self.g.inputs(n);
        let first = inputs.first().copied();
        let rank = |x: NodeId| self.g.ty(x).map(|t| (t.rank() as u32).saturating_sub(1));
        let op = node.op.clone();
        match &op {
            Op::Input { .. } => self.refuse(n, "an input carries it"),
            Op::Map { expr, at } => self.map(n, expr, at)?,
            Op::Linear { act, .. } => {
                if act.is_some() {
                    self.refuse(n, "a function is applied to it element by element");
                }
            }
            Op::Gather { dim } => {
                let table = first.map(|t| weight(self.g, t)).transpose()?.flatten();
                if *dim != 0 || table.is_none_or(|(_, ty)| ty.rank() != 2) {
                    inputs.iter().chain([&n]).for_each(|v| self.refuse(*v, "it is read at places that a value gives"));
                }
            }
            Op::Reduce { f, dims } => {
                let Some(x) = first else { return Ok(()) };
                if self.squares(x)?.is_some() {
                    self.refuse(n, "it has other features");
                    return Ok(());
                }
                let keeps = !dims.contains(&rank(x)?) && matches!(f, ReduceFn::Sum | ReduceFn::Mean);
                if keeps {
                    self.join(n, x);
                } else {
                    [x, n].into_iter().for_each(|v| self.refuse(v, "its features are put together"));
                }
            }
            Op::Transpose { perm } if first.is_some() && perm.last().copied() == Some(rank(n)?) => {
                first.into_iter().for_each(|x| self.join(n, x));
            }
            Op::Split { dim, .. } if first.is_some_and(|x| rank(x).is_ok_and(|r| *dim < r)) => {
                first.into_iter().for_each(|x| self.join(n, x));
            }
            Op::Merge { dim, count } if first.is_some_and(|x| rank(x).is_ok_and(|r| dim + count <= r)) => {
                first.into_iter().for_each(|x| self.join(n, x));
            }
            Op::Weight { .. } => {}
            _ => {
                for v in inputs.iter().chain([&n]) {
                    self.refuse(*v, &format!("a {} reads or writes it", op.name()));
                }
            }
        }
        if self.g.is_output(n) {
            self.refuse(n, "it is a result");
        }
        Ok(())
    }
}

/// What can be turned of a function whose linears have been found.
///
/// # Errors
/// Only our own mistakes.
pub fn rotation(g: &Graph) -> Result<Rotation, Bug> {
    let (parent, broken, gains) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut s = Streams { g, parent, broken, gains };
    let order = g.order()?;
    for n in &order {
        s.node(*n)?;
    }
    // Streams that a norm reads.
    let mut normed = BTreeSet::new();
    for n in &order {
        if let Some(x) = s.squares(*n)? {
            normed.insert(s.find(x));
        }
    }
    let mut out = Rotation::default();
    let mut told = BTreeSet::new();
    let mut uses: BTreeMap<String, Vec<Turned>> = BTreeMap::new();
    let mut put = |name: &str, t: Turned| uses.entry(name.to_string()).or_default().push(t);
    let size = |n: NodeId| g.ty(n).ok().and_then(|t| t.dims.last()?.size.fixed());
    for n in &order {
        let inputs = g.inputs(*n);
        let turned = |v: NodeId| {
            let c = s.find(v);
            if normed.contains(&c) && !s.broken.contains_key(&c) { size(v) } else { None }
        };
        let named = |v: Option<&NodeId>| -> Result<String, Bug> {
            let w = v.map(|v| weight(g, *v)).transpose()?.flatten();
            Ok(w.map_or(String::new(), |(n, _)| n.to_string()))
        };
        match &g.node(*n)?.op {
            Op::Linear { .. } => {
                let x = *inputs.first().ok_or_else(|| Bug::new("a linear without an input"))?;
                let name = named(inputs.get(1))?;
                let (rows, cols) = (turned(*n), turned(x));
                let gains = if cols.is_some() { s.gains.get(&x).cloned().unwrap_or_default() } else { vec![] };
                out.gains.extend(gains.iter().cloned());
                put(&name, Turned { rows, cols, gains });
                if inputs.len() > 2 {
                    put(&named(inputs.get(2))?, Turned { rows, ..Turned::default() });
                }
                for v in [*n, x] {
                    let c = s.find(v);
                    if normed.contains(&c)
                        && let Some(why) = s.broken.get(&c)
                        && told.insert(c)
                    {
                        out.refused.push((name.clone(), why.clone()));
                    }
                }
            }
            Op::Gather { .. } => put(&named(inputs.first())?, Turned { cols: turned(*n), ..Turned::default() }),
            // A gain is named by what it scales; what else reads a weight sees it as it was.
            _ => {
                for i in &inputs {
                    if let Some((name, _)) = weight(g, *i)?
                        && !s.gains.get(n).is_some_and(|list| list.iter().any(|l| l == name) && turned(*n).is_some())
                    {
                        put(name, Turned::default());
                    }
                }
            }
        }
    }
    for (name, list) in uses {
        let Some(first) = list.first() else { continue };
        if list.iter().any(|t| t != first) {
            let refused = vec![(name, "it is read in two ways that want two turns".into())];
            return Ok(Rotation { refused, ..Rotation::default() });
        }
        if out.gains.contains(&name) {
            return Ok(Rotation {
                refused: vec![(name, "it is a gain, and something else".into())],
                ..Rotation::default()
            });
        }
        out.weights.insert(name, first.clone());
    }
    out.weights.retain(|_, t| *t != Turned::default());
    if out.weights.is_empty() {
        out.gains.clear();
    }
    Ok(out)
}
