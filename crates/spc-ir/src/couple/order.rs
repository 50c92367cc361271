//! Which axes have no order: putting their positions in another order, in every weight that carries them, changes nothing.
use super::{Coupling, Place, Refusal, Why};
use crate::{Graph, Op, ReduceFn};
use spc_base::Bug;

impl Coupling {
    /// What stands against putting the positions of a set in another order, in every member alike; empty: nothing does, and
    /// all outputs stay what they are, up to the order of sums. `graphs` are those that the coupling was made of.
    ///
    /// Operators that combine all positions alike (sums, means, extremes, products) see no order. Outputs, indices, windows,
    /// numbers, reshapes across the axis and places in an order (`argmax`, `top`, `rank`) do.
    pub fn ordered(&self, graphs: &[&Graph], set: usize) -> Result<Vec<Refusal>, Bug> {
        let s = self.sets.get(set).ok_or_else(|| Bug::new("there is no such coupled set"))?;
        let mut out: Vec<Refusal> = s.inputs.iter().map(|at| Refusal { at: *at, why: Why::Input }).collect();
        for r in &s.refusals {
            let op = match graphs.get(r.at.graph) {
                Some(g) => &g.node(r.at.node)?.op,
                None => return Err(Bug::new("the coupling was made of other graphs")),
            };
            let alike = match r.why {
                Why::Reduction | Why::Contraction | Why::Mean => true,
                Why::Order => matches!(op, Op::Reduce { f: ReduceFn::Max | ReduceFn::Min, .. }),
                _ => false,
            };
            if !alike {
                out.push(r.clone());
            }
        }
        Ok(out)
    }
}

impl Place {
    /// Where the element at position `i` of the dimension comes from when position p of the axis, of `order.len()` positions,
    /// receives what stood at `order[p]`.
    pub fn source(&self, i: u64, order: &[u32]) -> u64 {
        let (inner, size) = (self.inner.max(1), (order.len() as u64).max(1));
        if i < self.start || i >= self.end {
            return i;
        }
        let within = i - self.start;
        let (copy, p, rest) = (within / (inner * size), within / inner % size, within % inner);
        let from = order.get(p as usize).copied().map_or(p, u64::from);
        self.start + copy * inner * size + from * inner + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_move_as_blocks_inside_their_range() {
        // Two copies of an axis of 3 with 2 elements for each position, after one element of something else.
        let p = Place { dim: 0, start: 1, end: 13, inner: 2 };
        let order = [2, 0, 1];
        let from: Vec<u64> = (0..14).map(|i| p.source(i, &order)).collect();
        assert_eq!(from, [0, 5, 6, 1, 2, 3, 4, 11, 12, 7, 8, 9, 10, 13]);
    }
}
