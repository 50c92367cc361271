//! Rounding of the activations that products with chosen weights read.
use crate::view::trace;
use crate::{Graph, NodeId, Op};
use spc_base::Bug;
use std::collections::{BTreeMap, BTreeSet};

impl Graph {
    /// Puts an [`Op::Round`] before every product that reads one of these weights, on its other factor and over the
    /// dimensions that the product sums. Products of a factor with the same sums share it. Gives the number of products;
    /// if there are any, nodes are numbered anew.
    pub fn round_inputs(&mut self, weights: &BTreeSet<String>) -> Result<usize, Bug> {
        let mut made: BTreeMap<(NodeId, Vec<u32>), NodeId> = BTreeMap::new();
        let mut count = 0;
        for n in self.order()? {
            let Op::Contract { lhs, rhs, out } = self.node(n)?.op.clone() else { continue };
            let [a, b] = self.inputs(n)[..] else { continue };
            let named = |id: NodeId| -> Result<bool, Bug> {
                let (base, _) = trace(self, id)?;
                Ok(matches!(&self.node(base)?.op, Op::Weight { name, .. } if weights.contains(name)))
            };
            let (slot, x, labels) = match (named(a)?, named(b)?) {
                (false, true) => (0, a, lhs),
                (true, false) => (1, b, rhs),
                _ => continue,
            };
            // A product of two weights has no activations.
            let (base, _) = trace(self, x)?;
            let summed: Vec<u32> = (0..labels.len() as u32).filter(|d| !out.contains(&labels[*d as usize])).collect();
            if summed.is_empty() || matches!(self.node(base)?.op, Op::Weight { .. } | Op::Const { .. }) {
                continue;
            }
            let rounded = match made.get(&(x, summed.clone())) {
                Some(r) => *r,
                None => {
                    let r = self.rounded_over(x, &summed)?;
                    made.insert((x, summed), r);
                    r
                }
            };
            self.set_operand(n, slot, rounded)?;
            count += 1;
        }
        if count > 0 {
            // Operands before their readers again.
            *self = self.compact()?;
        }
        Ok(count)
    }

    /// `x` rounded over the dimensions `summed`, in its own order.
    fn rounded_over(&mut self, x: NodeId, summed: &[u32]) -> Result<NodeId, Bug> {
        let rank = self.ty(x)?.rank() as u32;
        let outer = (0..rank).filter(|d| !summed.contains(d));
        let perm: Vec<u32> = outer.chain(summed.iter().copied()).collect();
        let source = self.sources.get(&x).cloned();
        let last = summed.len() as u32;
        let made = if perm.iter().copied().eq(0..rank) {
            self.add(Op::Round { last }, &[x])?
        } else {
            let there = self.add(Op::Transpose { perm: perm.clone() }, &[x])?;
            let rounded = self.add(Op::Round { last }, &[there])?;
            let mut back = vec![0u32; perm.len()];
            for (i, p) in (0u32..).zip(&perm) {
                back[*p as usize] = i;
            }
            self.add(Op::Transpose { perm: back }, &[rounded])?
        };
        if let Some(s) = source {
            self.sources.insert(made, s);
        }
        Ok(made)
    }

    /// The value whose rounding over all features a linear reads as `x`, behind merges of the rounded dimensions; nothing
    /// where `x` is not rounded.
    pub fn rounded(&self, x: NodeId) -> Result<Option<NodeId>, Bug> {
        let rank = self.ty(x)?.rank();
        let mut at = x;
        loop {
            let below = self.inputs(at).first().copied();
            match (&self.node(at)?.op, below) {
                (Op::Round { last }, Some(below)) => {
                    // The dimensions before the rounded ones are still there, one by one.
                    let outer = self.ty(at)?.rank().checked_sub(*last as usize);
                    return Ok((outer == rank.checked_sub(1)).then_some(below));
                }
                (Op::Merge { dim, .. }, Some(below)) if *dim as usize + 1 == rank => at = below,
                _ => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Dim, Type};

    fn graph() -> Graph {
        let mut g = Graph::new("f");
        let dims = |list: &[(&str, u64)]| list.iter().map(|(n, s)| Dim::fixed(*n, *s)).collect::<Vec<_>>();
        let x = Op::Input { name: "x".into(), ty: Type::new(DType::F32, dims(&[("I", 6), ("B", 3)])) };
        let x = g.add(x, &[]).unwrap();
        let w = Op::Weight { name: "m.w".into(), ty: Type::new(DType::F32, dims(&[("O", 4), ("I", 6)])) };
        let w = g.add(w, &[]).unwrap();
        let y = g.add(Op::Contract { lhs: vec![0, 1], rhs: vec![2, 0], out: vec![1, 2] }, &[x, w]).unwrap();
        g.outputs.push(("y".into(), y));
        g
    }

    #[test]
    fn the_other_factor_is_rounded_over_what_is_summed() {
        let mut g = graph();
        assert_eq!(g.round_inputs(&BTreeSet::from(["m.other".to_string()])).unwrap(), 0);
        assert_eq!(g.round_inputs(&BTreeSet::from(["m.w".to_string()])).unwrap(), 1);
        g.verify().unwrap();
        let y = g.outputs[0].1;
        let x = g.inputs(y)[0];
        assert!(matches!(&g.node(x).unwrap().op, Op::Transpose { perm } if perm == &[1, 0]));
        let r = g.inputs(x)[0];
        assert!(matches!(g.node(r).unwrap().op, Op::Round { last: 1 }));
        assert_eq!(Graph::parse(&g.to_string()).unwrap().to_string(), g.to_string());
        let (g, _) = crate::passes::run(&g, None).unwrap();
        let linear = g.ids().into_iter().find(|n| matches!(g.node(*n).unwrap().op, Op::Linear { .. })).unwrap();
        assert!(g.rounded(g.inputs(linear)[0]).unwrap().is_some());
    }
}
