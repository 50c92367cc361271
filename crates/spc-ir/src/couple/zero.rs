//! What values hold where the weights of a slice are zero, and which operators make that something else than a deletion.
use super::axes::Var;
use super::walk::Walk;
use super::{At, CoupledSet, Coupling, Refusal, Why};
use crate::{BinFn, DType, Graph, Op, ReduceFn, ScalarExpr, UnFn};
use spc_base::Bug;
use std::collections::{BTreeMap, BTreeSet};

/// A value at a removed position of the axis, all members being zero there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Held {
    /// This number (bools are 0 and 1).
    Known(f64),
    /// The same at every removed position, computed from values that do not carry the axis.
    Same,
    /// What an input holds there has a part in it.
    Free,
}

impl Held {
    fn is(self, n: f64) -> bool {
        matches!(self, Held::Known(c) if c == n)
    }

    fn and(self, other: Held) -> Held {
        match (self, other) {
            (Held::Known(a), Held::Known(b)) if a == b => self,
            (Held::Free, _) | (_, Held::Free) => Held::Free,
            _ => Held::Same,
        }
    }

    /// Known no more.
    fn blur(self) -> Held {
        if self == Held::Free { Held::Free } else { Held::Same }
    }
}

/// Most pairs of value and axis that are looked at; far more than honest programs have.
const MAX_WORK: usize = 1_000_000;

/// Fills in activations, means and refusals of all sets.
pub(super) fn analyse(c: &mut Coupling, graphs: &[&Graph]) -> Result<(), Bug> {
    let mut carried: Vec<Vec<(At, u32)>> = vec![Vec::new(); c.sets.len()];
    let mut below: BTreeMap<Var, Vec<usize>> = BTreeMap::new();
    let mut constants = BTreeMap::new();
    let mut work = 0usize;
    for (graph, g) in graphs.iter().enumerate() {
        for node in g.order()? {
            let at = At { graph, node };
            match &g.node(node)?.op {
                Op::Const { value, .. } => {
                    constants.insert(at, rounded(*value));
                }
                Op::Broadcast { .. } => {
                    let from = g.inputs(node).first().map(|i| At { graph, node: *i });
                    if let Some(v) = from.and_then(|f| constants.get(&f).copied()) {
                        constants.insert(at, v);
                    }
                }
                _ => {}
            }
            for v in c.walk.dims.get(&at).cloned().unwrap_or_default() {
                let v = c.walk.terms.find(v);
                let sets = below.entry(v).or_insert_with(|| {
                    let leaves = c.walk.terms.leaves(v);
                    leaves.iter().filter_map(|l| c.of_leaf.get(l).copied()).collect()
                });
                for set in sets.iter() {
                    work += 1;
                    match carried[*set].last_mut() {
                        Some((last, times)) if *last == at => *times += 1,
                        _ => carried[*set].push((at, 1)),
                    }
                }
            }
            if work > MAX_WORK {
                for s in &mut c.sets {
                    s.refusals.push(Refusal { at, why: Why::Scattered });
                }
                return Ok(());
            }
        }
    }
    for (v, refusal) in std::mem::take(&mut c.walk.broken) {
        for leaf in c.walk.terms.leaves(v) {
            if let Some(set) = c.of_leaf.get(&leaf) {
                c.sets[*set].refusals.push(refusal.clone());
            }
        }
    }
    let leaves: Vec<(Var, usize)> = c.of_leaf.iter().map(|(l, s)| (*l, *s)).collect();
    for (leaf, set) in leaves {
        let (walk, out) = (&c.walk, &mut c.sets[set]);
        let mut one = One { walk, out, graphs, leaf, constants: &constants, held: BTreeMap::new() };
        for (at, times) in &carried[set] {
            one.node(*at, *times)?;
        }
        let held = one.held;
        c.held.insert(set, held);
    }
    Ok(())
}

/// The analysis of one axis.
struct One<'a> {
    walk: &'a Walk,
    out: &'a mut CoupledSet,
    graphs: &'a [&'a Graph],
    leaf: Var,
    constants: &'a BTreeMap<At, f64>,
    held: BTreeMap<At, Held>,
}

impl One<'_> {
    fn refuse(&mut self, at: At, why: Why) {
        self.out.refusals.push(Refusal { at, why });
    }

    fn carries(&self, v: Var) -> bool {
        self.walk.terms.leaves(v).contains(&self.leaf)
    }

    /// What an operand holds: at the removed position, or, where it does not carry the axis, everywhere.
    fn operand(&self, at: At) -> Held {
        match (self.held.get(&at), self.constants.get(&at)) {
            (Some(h), _) => *h,
            (None, Some(c)) => Held::Known(*c),
            (None, None) => Held::Same,
        }
    }

    /// Positions of an operand's dimensions that carry the axis.
    fn positions(&self, at: At) -> BTreeSet<u32> {
        let dims = self.walk.dims.get(&at).map(Vec::as_slice).unwrap_or_default();
        (0u32..).zip(dims).filter(|(_, v)| self.carries(**v)).map(|(i, _)| i).collect()
    }

    /// Looks at a value that carries the axis, and at the operators that take the axis away from it.
    fn node(&mut self, at: At, times: u32) -> Result<(), Bug> {
        let g = self.graphs[at.graph];
        let node = g.node(at.node)?;
        if times > 1 {
            self.refuse(at, Why::Twice);
        }
        for (name, o) in &g.outputs {
            if *o == at.node {
                self.refuse(at, Why::Output(name.clone()));
            }
        }
        let inputs: Vec<At> = g.inputs(at.node).into_iter().map(|node| At { graph: at.graph, node }).collect();
        let args: Vec<Held> = inputs.iter().map(|i| self.operand(*i)).collect();
        let arg = |i: usize| args.get(i).copied().unwrap_or(Held::Same);
        let held = match &node.op {
            Op::Weight { ty, .. } => {
                if ty.dtype != DType::F32 {
                    self.refuse(at, Why::DType);
                }
                Held::Known(0.0)
            }
            Op::Input { .. } => {
                self.out.inputs.push(at);
                Held::Free
            }
            Op::Iota { .. } => Held::Free,
            Op::Const { .. } => Held::Same,
            Op::Map { expr, .. } => {
                let int = |i: &At| g.ty(i.node).is_ok_and(|t| t.dtype == DType::I32);
                let held = eval(expr, &args);
                // Whole numbers divide and overflow in their own way.
                if inputs.iter().any(int) || makes_int(expr) { held.blur() } else { held }
            }
            Op::Broadcast { .. } | Op::Transpose { .. } | Op::Split { .. } | Op::Merge { .. } => arg(0),
            Op::Contract { .. } => {
                let [a, b] = [arg(0), arg(1)];
                let carriers = inputs.iter().zip([a, b]).filter(|(i, _)| self.held.contains_key(i));
                if carriers.into_iter().any(|(_, h)| h.is(0.0)) { Held::Known(0.0) } else { a.and(b).blur() }
            }
            Op::Reduce { f, .. } => match (f, arg(0)) {
                (ReduceFn::Sum, h) if h.is(0.0) => h,
                (ReduceFn::Mean | ReduceFn::Max | ReduceFn::Min, h @ Held::Known(_)) => h,
                (_, h) => h.blur(),
            },
            // Another id reads another row.
            Op::Gather { .. } if inputs.get(1).is_some_and(|i| self.held.contains_key(i)) => arg(0).and(arg(1)).blur(),
            Op::Gather { .. } => arg(0),
            // Outside it reads 0.
            Op::Window { .. } if arg(0).is(0.0) || self.walk.cuts.contains_key(&at) => arg(0),
            Op::Window { .. } => arg(0).blur(),
            // Along the joined axis only one operand has the position.
            Op::Concat { .. } => {
                let mut carried = inputs.iter().filter(|i| self.held.contains_key(i)).map(|i| self.operand(*i));
                let first = carried.next().unwrap_or(Held::Free);
                carried.fold(first, |a, b| if a == b { a } else { a.and(b).blur() })
            }
            Op::Size { .. } => Held::Same,
            Op::Round { .. } if arg(0).is(0.0) => arg(0),
            Op::Round { .. } => arg(0).blur(),
            Op::Top(_) | Op::Rank { .. } => args.iter().copied().fold(arg(0), Held::and).blur(),
            Op::Linear { bias, act } => {
                let sum = if arg(1).is(0.0) && self.held.contains_key(&inputs[1]) || arg(0).is(0.0) {
                    Held::Known(0.0)
                } else {
                    arg(0).and(arg(1)).blur()
                };
                let add = ScalarExpr::bin(BinFn::Add, ScalarExpr::Arg(0), ScalarExpr::Arg(1));
                let y = if *bias { eval(&add, &[sum, arg(2)]) } else { sum };
                act.as_ref().map_or(y, |e| eval(e, &[y]))
            }
        };
        self.held.insert(at, held);
        if !matches!(node.op, Op::Weight { .. } | Op::Input { .. }) {
            self.out.activations.push(at);
        }
        let mut readers = g.readers(at.node);
        readers.dedup();
        for r in readers {
            self.combined(at, At { graph: at.graph, node: r })?;
        }
        Ok(())
    }

    /// A reader that combines positions of the axis. Of a product the operand that is reached last decides.
    fn combined(&mut self, from: At, at: At) -> Result<(), Bug> {
        let g = self.graphs[at.graph];
        let places = self.positions(from);
        let inputs: Vec<At> = g.inputs(at.node).into_iter().map(|node| At { graph: at.graph, node }).collect();
        let held = self.operand(from);
        match &g.node(at.node)?.op {
            Op::Reduce { f, dims } if dims.iter().any(|d| places.contains(d)) => {
                let neutral = match f {
                    ReduceFn::Sum => held.is(0.0),
                    ReduceFn::Max => held.is(f64::NEG_INFINITY),
                    ReduceFn::Min => held.is(f64::INFINITY),
                    ReduceFn::Product | ReduceFn::All => held.is(1.0),
                    ReduceFn::Any => held.is(0.0),
                    ReduceFn::ArgMax => false,
                    ReduceFn::Mean if held == Held::Free => {
                        self.refuse(at, Why::Mean);
                        true
                    }
                    ReduceFn::Mean => {
                        self.out.means.push((at, !held.is(0.0)));
                        true
                    }
                };
                if !neutral {
                    let order = matches!(f, ReduceFn::Max | ReduceFn::Min | ReduceFn::ArgMax);
                    self.refuse(at, if order { Why::Order } else { Why::Reduction });
                }
            }
            Op::Contract { lhs, rhs, out } => {
                let summed = inputs.iter().zip([lhs, rhs]).any(|(i, labels)| {
                    let here = if *i == from { places.clone() } else { return false };
                    (0u32..).zip(labels).any(|(p, l)| here.contains(&p) && !out.contains(l))
                });
                self.product(at, summed, &inputs);
            }
            Op::Linear { .. } => {
                let last = self.walk.dims.get(&inputs[1]).is_some_and(|d| d.iter().skip(1).any(|v| self.carries(*v)));
                self.product(at, last, &inputs[..2]);
            }
            _ => {}
        }
        Ok(())
    }

    fn product(&mut self, at: At, summed: bool, inputs: &[At]) {
        let known = inputs.iter().all(|i| self.held.contains_key(i));
        if summed && known && !inputs.iter().any(|i| self.operand(*i).is(0.0)) {
            self.refuse(at, Why::Contraction);
        }
    }
}

/// Evaluates an expression on what is known of its arguments. A product with a known zero is zero: values are finite.
pub(super) fn eval(e: &ScalarExpr, args: &[Held]) -> Held {
    use Held::Known;
    let truth = |b: bool| Known(f64::from(u8::from(b)));
    match e {
        ScalarExpr::Arg(n) => args.get(usize::from(*n)).copied().unwrap_or(Held::Free),
        ScalarExpr::Const(c) => Known(rounded(*c)),
        ScalarExpr::Un(f, a) => match eval(a, args) {
            Known(x) => match f {
                UnFn::Neg => Known(-x),
                UnFn::Abs => Known(x.abs()),
                UnFn::Floor => Known(x.floor()),
                UnFn::Not => truth(x == 0.0),
                UnFn::Sqrt if x == 0.0 || x == 1.0 => Known(x),
                UnFn::Exp if x == 0.0 => Known(1.0),
                UnFn::Exp if x == f64::NEG_INFINITY => Known(0.0),
                UnFn::Log if x == 1.0 => Known(0.0),
                UnFn::Cos if x == 0.0 => Known(1.0),
                UnFn::Erf | UnFn::Tanh | UnFn::Sin if x == 0.0 => Known(x),
                // Rounding differs between machines: the value is the same everywhere, but not known to the bit.
                _ => Held::Same,
            },
            h => h,
        },
        ScalarExpr::Bin(f, a, b) => match (f, eval(a, args), eval(b, args)) {
            (BinFn::Mul, Known(0.0), _) | (BinFn::Mul, _, Known(0.0)) => Known(0.0),
            (BinFn::Div, Known(0.0), Held::Same | Held::Free) => Known(0.0),
            (BinFn::And, Known(0.0), _) | (BinFn::And, _, Known(0.0)) => Known(0.0),
            (BinFn::Or, Known(x), _) | (BinFn::Or, _, Known(x)) if x != 0.0 => Known(1.0),
            (f, Known(x), Known(y)) => binary(*f, x, y),
            (_, x, y) => x.and(y).blur(),
        },
        ScalarExpr::Select(c, a, b) => match (eval(c, args), eval(a, args), eval(b, args)) {
            (Known(c), a, b) => {
                if c == 0.0 {
                    b
                } else {
                    a
                }
            }
            (_, Known(a), Known(b)) if a == b => Known(a),
            (c, a, b) => c.and(a).and(b).blur(),
        },
        ScalarExpr::Cast(t, a) => match (t, eval(a, args)) {
            (DType::Bool, Known(x)) => truth(x != 0.0),
            (DType::I32, Known(_)) => Held::Same,
            (DType::F32, Known(x)) => Known(x),
            (_, h) => h,
        },
    }
}

fn rounded(c: f64) -> f64 {
    f64::from(c as f32)
}

fn makes_int(e: &ScalarExpr) -> bool {
    matches!(e, ScalarExpr::Cast(DType::I32, _)) || e.children().into_iter().any(makes_int)
}

/// Results that f32 and f64 agree on; others are the same at each position, but not known.
fn binary(f: BinFn, x: f64, y: f64) -> Held {
    let truth = |b: bool| Held::Known(f64::from(u8::from(b)));
    let number = |n: f64| match n {
        n if n.is_nan() => Held::Free,
        n if rounded(n) == n => Held::Known(n),
        _ => Held::Same,
    };
    match f {
        BinFn::Add => number(x + y),
        BinFn::Sub => number(x - y),
        BinFn::Mul => number(x * y),
        BinFn::Div => number(x / y),
        BinFn::Max => number(x.max(y)),
        BinFn::Min => number(x.min(y)),
        BinFn::Pow if y == 2.0 => number(x * x),
        BinFn::Pow if y == 1.0 || (x == 0.0 && y > 0.0) || x == 1.0 => number(x),
        BinFn::Pow => Held::Same,
        BinFn::Lt => truth(x < y),
        BinFn::Le => truth(x <= y),
        BinFn::Gt => truth(x > y),
        BinFn::Ge => truth(x >= y),
        BinFn::Eq => truth(x == y),
        BinFn::Ne => truth(x != y),
        BinFn::And => truth(x != 0.0 && y != 0.0),
        BinFn::Or => truth(x != 0.0 || y != 0.0),
    }
}
