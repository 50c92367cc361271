//! Coupling: which slices of which weights belong together, because they lie along one axis.
//!
//! Operators equate the axes of their operands (`axes`, `walk`). What is left is a set of *axis instances*: `F` of layer 0
//! and `F` of layer 1 are two, `D` of a residual stream is one. For each instance that a weight carries there is a
//! [`CoupledSet`]: every weight that carries it and where, and the reasons, if any, why setting slice i of all of these to
//! zero would be something else than deleting position i of the axis (`zero`).
//!
//! # When deleting equals zeroing
//!
//! Let slice i of all members be zero. Every value that carries the axis then has, at position i, either a known constant
//! (found by evaluating the operators on constants), or something that does not depend on i, or, where an input of the
//! function carries the axis, something unknown. Operators that work on each position alone need nothing. An operator that
//! combines positions of the axis is exact when what position i gives it is its neutral element: 0 for sums and products of
//! two tensors, 1 for `product`, -inf for `max`, true for `all`. `mean` divides by the original count, so it is exact
//! whenever position i is not unknown. So a softmax over the axis is refused at its `max` and its sum, an attention whose
//! values are zero is not, and a normalisation keeps its count. Values are taken to be finite: 0 times anything is 0.
//!
//! Numbering the axis (`iota`), reading it by an index, a window that overlaps itself, an order over the axis and a reshape
//! that cuts across it are refused, and so is an axis that reaches an output. An input that carries the axis is part of what
//! is deleted.
mod axes;
mod order;
mod shrink;
mod walk;
mod zero;

use crate::{Graph, NodeId};
use axes::{Terms, Var};
use serde::{Deserialize, Serialize};
pub use shrink::{NoShrink, Shrunk};
use spc_base::Bug;
use std::collections::BTreeMap;
use walk::Walk;
use zero::Held;

/// A node of one of the graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Number of the graph in the list that was given.
    pub graph: usize,
    pub node: NodeId,
}

/// Why an axis cannot be deleted slice by slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The named output carries it.
    Output(String),
    /// An input carries it. Stands only against another order.
    Input,
    /// The greatest, the least or the place of one: an order over the axis.
    Order,
    /// A sum, or another reduction, to which a zero slice would contribute.
    Reduction,
    /// A product of two tensors is summed over the axis and neither is zero where the slice is.
    Contraction,
    /// A mean over positions that an input fills.
    Mean,
    /// The axis is read by an index.
    Index,
    /// The positions of the axis are numbered.
    Number,
    /// A window reads several positions.
    Window,
    /// A reshape cuts across the axis.
    Reshape,
    /// A value carries the axis twice.
    Twice,
    /// The axis lies in too many pieces.
    Scattered,
    /// A tensor that is not f32 carries it.
    DType,
}

/// A refusal and the operator that causes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub at: At,
    pub why: Why,
}

/// Where an axis lies in one dimension of a weight: position i of it stands at `((i - start) / inner) % size` of the
/// axis, for i in `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub dim: u32,
    pub start: u64,
    pub end: u64,
    pub inner: u64,
}

/// A weight that carries the axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    pub weight: String,
    /// At least one; in order of dimension, then position.
    pub places: Vec<Place>,
}

/// Everything that carries one axis instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoupledSet {
    pub size: u64,
    /// In order of name; never empty.
    pub members: Vec<Carrier>,
    /// Values other than weights that carry the axis.
    pub activations: Vec<At>,
    /// Inputs among them.
    pub inputs: Vec<At>,
    /// Means over the axis, which keep the original count. True where the removed positions still contribute (the variance
    /// of a layer normalisation): those cannot be written as a smaller program of the same operators.
    pub means: Vec<(At, bool)>,
    /// Empty: zeroing equals deleting. In order of graph and node.
    pub refusals: Vec<Refusal>,
}

/// One axis of a weight as groups of neighbouring positions of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Index into [`Coupling::sets`].
    pub set: usize,
    /// Positions of the instance for each position of the axis.
    pub by: u64,
}

/// Why words that name an axis of a weight name no instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAxis {
    /// No graph reads the weight.
    Unread,
    /// Operators take the axis apart; the node is one that sees a part alone.
    Split(Option<At>),
    /// The weight's dimension is not made of such an axis.
    Unaligned,
}

/// The coupled sets of functions that share weights.
#[derive(Clone, Debug)]
pub struct Coupling {
    /// One for each instance that a weight carries, in order of the first weight (by name) and its position there.
    pub sets: Vec<CoupledSet>,
    of_leaf: BTreeMap<Var, usize>,
    /// By set: what each value that carries it holds at a removed position.
    held: BTreeMap<usize, BTreeMap<At, Held>>,
    walk: Walk,
}

impl Coupling {
    /// Couples the axes of all graphs together: a weight that two functions read is one weight.
    pub fn of(graphs: &[&Graph]) -> Result<Coupling, Bug> {
        let walk = Walk::new(graphs)?;
        let mut sets: Vec<CoupledSet> = Vec::new();
        let mut of_leaf = BTreeMap::new();
        let mut scattered = Vec::new();
        for (name, dims) in &walk.weights {
            for (dim, v) in (0u32..).zip(dims) {
                let Some(places) = walk.terms.places(*v) else {
                    scattered.push((walk.terms.leaves(*v), name.clone()));
                    continue;
                };
                for p in places {
                    let set = *of_leaf.entry(p.leaf).or_insert_with(|| {
                        sets.push(CoupledSet {
                            size: p.size,
                            members: Vec::new(),
                            activations: Vec::new(),
                            inputs: Vec::new(),
                            means: Vec::new(),
                            refusals: Vec::new(),
                        });
                        sets.len() - 1
                    });
                    let members = &mut sets[set].members;
                    if members.last().is_none_or(|m| m.weight != *name) {
                        members.push(Carrier { weight: name.clone(), places: Vec::new() });
                    }
                    if let Some(m) = members.last_mut() {
                        m.places.push(Place { dim, start: p.start, end: p.end, inner: p.inner });
                    }
                }
            }
        }
        let mut c = Coupling { sets, of_leaf, held: BTreeMap::new(), walk };
        zero::analyse(&mut c, graphs)?;
        for (leaves, weight) in scattered {
            let at = graphs.iter().enumerate().find_map(|(graph, g)| {
                let node = g.weights().into_iter().find(|(n, _)| *n == weight)?.1;
                Some(At { graph, node })
            });
            for set in leaves.iter().filter_map(|l| c.of_leaf.get(l)) {
                if let (Some(at), Some(s)) = (at, c.sets.get_mut(*set)) {
                    s.refusals.push(Refusal { at, why: Why::Scattered });
                }
            }
        }
        for s in &mut c.sets {
            s.refusals.sort();
            s.refusals.dedup();
        }
        Ok(c)
    }

    fn terms(&self) -> &Terms {
        &self.walk.terms
    }

    /// The instances that make up an axis of this size inside a dimension of a weight, with `inner` positions of the
    /// dimension for each position of the axis. Several when the axis is joined from others; they follow each other on it.
    pub fn axis(&self, weight: &str, dim: u32, size: u64, inner: u64) -> Result<Vec<Family>, NoAxis> {
        let dims = self.walk.weights.get(weight).ok_or(NoAxis::Unread)?;
        let v = *dims.get(dim as usize).ok_or(NoAxis::Unaligned)?;
        let terms = self.terms();
        let mut factors = terms.parts(v, false);
        let mut inside = 1u64;
        let width = |f: Var| terms.size(f).fixed().unwrap_or(0);
        // Factors inside of the axis.
        while let Some(f) = factors.last().copied() {
            let next = inside.saturating_mul(width(f));
            if next > inner || inside == inner {
                break;
            }
            inside = next;
            factors.pop();
        }
        let by = match inner.checked_div(inside) {
            Some(by) if by * inside == inner => by,
            _ => return Err(NoAxis::Unaligned),
        };
        let want = size.checked_mul(by).ok_or(NoAxis::Unaligned)?;
        let mut whole = Vec::new();
        let mut have = 1u64;
        while let (true, Some(f)) = (have < want, factors.pop()) {
            have = have.saturating_mul(width(f));
            whole.push(f);
        }
        match whole.as_slice() {
            [one] if have == want => {
                let mut families = Vec::new();
                for segment in terms.parts(*one, true) {
                    let set = self.of_leaf.get(&segment).copied();
                    let set = set.ok_or_else(|| NoAxis::Split(self.alone(&terms.leaves(segment))))?;
                    if width(segment) % by != 0 {
                        return Err(NoAxis::Unaligned);
                    }
                    let family = Family { set, by };
                    if !families.contains(&family) {
                        families.push(family);
                    }
                }
                Ok(families)
            }
            [] | [_] => Err(NoAxis::Unaligned),
            several => Err(NoAxis::Split(self.alone(several))),
        }
    }

    /// A node that has one of these leaves as a dimension of its own.
    fn alone(&self, leaves: &[Var]) -> Option<At> {
        let dims = self.walk.dims.iter();
        dims.filter(|(_, d)| d.iter().any(|v| leaves.contains(&self.terms().find(*v)))).map(|(at, _)| *at).next()
    }

    /// The dimensions of a value that carry an instance.
    pub fn carried(&self, at: At, set: usize) -> Vec<u32> {
        let leaf = self.of_leaf.iter().find(|(_, s)| **s == set).map(|(l, _)| *l);
        let (Some(leaf), Some(dims)) = (leaf, self.walk.dims.get(&at)) else { return Vec::new() };
        (0u32..).zip(dims).filter(|(_, v)| self.terms().leaves(**v).contains(&leaf)).map(|(i, _)| i).collect()
    }
}
