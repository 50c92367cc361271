//! Who combines the elements of a value along one of its axes: what a choice among them can spare, and where a softmax is
//! taken over them.
use crate::{Graph, NodeId, Op, ReduceFn};
use spc_base::Bug;
use std::collections::BTreeMap;

/// A softmax over the axis, by the greatest element that it subtracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// The logits.
    pub logits: NodeId,
    /// Their dimension that carries the axis.
    pub dim: u32,
    /// The product that made logits of the value, and which of its operands the value is.
    pub product: Option<(NodeId, u32)>,
}

/// Readers of an axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Along {
    /// In order of the graph.
    pub softmaxes: Vec<Softmax>,
    /// Products that are summed over the axis, and not behind a softmax over it.
    pub products: Vec<NodeId>,
    /// Other reductions over it, not behind a softmax over it.
    pub reductions: Vec<NodeId>,
    /// Results that carry it.
    pub outputs: usize,
}

#[derive(Clone, Copy)]
struct Carried {
    dim: u32,
    product: Option<(NodeId, u32)>,
    /// A softmax over the axis was taken on the way.
    behind: bool,
}

/// Follows dimension `dim` of a value through the graph.
pub fn along(g: &Graph, value: NodeId, dim: u32) -> Result<Along, Bug> {
    let mut out = Along::default();
    let mut carried: BTreeMap<NodeId, Carried> = BTreeMap::new();
    carried.insert(value, Carried { dim, product: None, behind: false });
    for id in g.order()? {
        for (slot, input) in (0u32..).zip(g.inputs(id)) {
            let Some(c) = carried.get(&input).copied() else { continue };
            let behind = c.behind || is_softmaxed(g, input, c.dim)?;
            match step(g, id, slot, c.dim)? {
                Step::Passes(dim) => {
                    let product = match &g.node(id)?.op {
                        Op::Contract { .. } => Some((id, slot)),
                        _ => c.product,
                    };
                    carried.entry(id).or_insert(Carried { dim, product, behind });
                }
                Step::Greatest if !c.behind => {
                    let s = Softmax { logits: input, dim: c.dim, product: c.product };
                    if !out.softmaxes.contains(&s) {
                        out.softmaxes.push(s);
                    }
                }
                Step::Summed if !behind => out.products.push(id),
                Step::Reduced if !behind => out.reductions.push(id),
                _ => {}
            }
        }
    }
    out.outputs = g.outputs.iter().filter(|(_, o)| carried.contains_key(o)).count();
    Ok(out)
}

fn is_softmaxed(g: &Graph, id: NodeId, dim: u32) -> Result<bool, Bug> {
    for r in g.readers(id) {
        if matches!(&g.node(r)?.op, Op::Reduce { f: ReduceFn::Max, dims } if dims.contains(&dim)) {
            return Ok(true);
        }
    }
    Ok(false)
}

enum Step {
    Passes(u32),
    Greatest,
    Summed,
    Reduced,
    Ends,
}

/// What a reader does with dimension `dim` of its operand number `slot`.
fn step(g: &Graph, id: NodeId, slot: u32, dim: u32) -> Result<Step, Bug> {
    let place = |list: &[u32], v: u32| list.iter().position(|x| *x == v).map(|i| i as u32);
    let pick = |list: &[u32]| list.get(dim as usize).copied();
    let passes = |p: Option<u32>| p.map_or(Step::Ends, Step::Passes);
    Ok(match &g.node(id)?.op {
        Op::Map { at, .. } => passes(at.get(slot as usize).and_then(|a| pick(a))),
        Op::Broadcast { at, .. } => passes(pick(at)),
        Op::Transpose { perm } => passes(place(perm, dim)),
        Op::Gather { dim: d } if slot == 0 && dim != *d => {
            let ids = g.inputs(id).get(1).copied().ok_or_else(|| Bug::new("a gather without ids"))?;
            let grown = g.ty(ids)?.rank() as u32;
            Step::Passes(if dim < *d { dim } else { dim + grown - 1 })
        }
        Op::Window { dim: d, into, .. } if dim != *d => {
            Step::Passes(if dim < *d { dim } else { dim + into.len() as u32 - 1 })
        }
        Op::Split { dim: d, into } if dim != *d => {
            Step::Passes(if dim < *d { dim } else { dim + into.len() as u32 - 1 })
        }
        Op::Merge { dim: d, count } if dim < *d || dim >= d + count || *count == 1 => {
            Step::Passes(if dim < *d + 1 { dim } else { dim + 1 - count })
        }
        Op::Concat { .. } => Step::Passes(dim),
        Op::Reduce { f, dims } if dims.contains(&dim) => {
            if *f == ReduceFn::Max {
                Step::Greatest
            } else {
                Step::Reduced
            }
        }
        Op::Reduce { dims, .. } => Step::Passes(dim - dims.iter().filter(|d| **d < dim).count() as u32),
        Op::Contract { lhs, rhs, out } => {
            let label = pick(if slot == 0 { lhs } else { rhs });
            match label.map(|l| place(out, l)) {
                Some(Some(p)) => Step::Passes(p),
                Some(None) => Step::Summed,
                None => Step::Ends,
            }
        }
        Op::Linear { .. } if slot == 0 => {
            let rank = g.ty(id)?.rank() as u32;
            if dim + 1 == rank { Step::Summed } else { Step::Passes(dim) }
        }
        Op::Top(t) if !t.dims.contains(&dim) => Step::Passes(dim),
        Op::Round { last } if (dim + last) < g.ty(id)?.rank() as u32 => Step::Passes(dim),
        Op::Rank { dims, .. } if !dims.contains(&dim) => Step::Passes(dim),
        _ => Step::Ends,
    })
}

impl Graph {
    /// Every reader of `old` but `new`, and every result that is `old`, reads `new` instead. `new` may read `old`.
    pub fn divert(&mut self, old: NodeId, new: NodeId) -> Result<(), Bug> {
        if self.ty(old)?.sizes() != self.ty(new)?.sizes() || self.ty(old)?.dtype != self.ty(new)?.dtype {
            return Err(Bug::new(format!("{new} cannot stand for {old}: it has another type")));
        }
        self.redirect_but(old, new, Some(new));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTENTION: &str = r#"
graph "f" {
  %0 = input "q" : f32[H=2, T=3, C=4]
  %1 = input "k" : f32[H=2, S=5, C=4]
  %2 = input "v" : f32[H=2, S=5, C=4]
  %3 = contract [0 1 2] [0 3 2] -> [0 1 3] (%0, %1) : f32[H=2, T=3, S=5]
  %4 = map (mul a0 0.5) at [0 1 2] (%3) : f32[H=2, T=3, S=5]
  %5 = reduce max [2] (%4) : f32[H=2, T=3]
  %6 = map (exp (sub a0 a1)) at [0 1 2] [0 1] (%4, %5) : f32[H=2, T=3, S=5]
  %7 = reduce sum [2] (%6) : f32[H=2, T=3]
  %8 = map (div a0 a1) at [0 1 2] [0 1] (%6, %7) : f32[H=2, T=3, S=5]
  %9 = contract [0 1 2] [0 2 3] -> [0 1 3] (%8, %2) : f32[H=2, T=3, C=4]
  output "o" = %9
}
"#;

    #[test]
    fn attention_is_a_softmax_over_its_keys_and_a_product_with_its_values() {
        let g = Graph::parse(ATTENTION).unwrap();
        let keys = along(&g, NodeId(1), 1).unwrap();
        let site = Softmax { logits: NodeId(4), dim: 2, product: Some((NodeId(3), 1)) };
        assert_eq!((keys.softmaxes, keys.products, keys.reductions), (vec![site], vec![], vec![]));
        let values = along(&g, NodeId(2), 1).unwrap();
        assert_eq!((values.softmaxes, values.products), (vec![], vec![NodeId(9)]));
        let heads = along(&g, NodeId(1), 0).unwrap();
        assert_eq!((heads.softmaxes.len(), heads.products.len(), heads.outputs), (0, 0, 1));
    }

    #[test]
    fn readers_are_diverted_but_not_the_new_value() {
        let mut g = Graph::parse(ATTENTION).unwrap();
        let op = Op::Map { expr: crate::ScalarExpr::Arg(0), at: vec![vec![0, 1, 2]] };
        let new = g.add(op, &[NodeId(4)]).unwrap();
        g.divert(NodeId(4), new).unwrap();
        assert_eq!(g.inputs(new), [NodeId(4)]);
        assert_eq!(g.readers(NodeId(4)), [new]);
        assert_eq!(g.readers(new), [NodeId(5), NodeId(6)]);
        g.compact().unwrap().verify().unwrap();
        assert!(g.divert(NodeId(0), NodeId(1)).is_err());
    }
}
