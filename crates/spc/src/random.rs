//! Random inputs of a function: the same seed gives the same values.
use crate::engine::Inputs;
use ndarray::{ArrayD, IxDyn};
use spc_base::Bug;
use spc_interp::{Value, testing::splitmix64};
use spc_ir::{DType, Graph, NodeId, Op};

/// Most elements of one value that is computed on random inputs.
const MOST_ELEMENTS: usize = 1 << 30;

/// A stream of numbers.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        splitmix64(self.0)
    }

    /// In `0..n`; 0 when n is 0.
    fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }

    /// In -1..1, zero now and then.
    fn float(&mut self) -> f32 {
        if self.below(16) == 0 {
            return 0.0;
        }
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

fn stream(seed: u64, round: u64, salt: u64) -> Stream {
    Stream(splitmix64(seed ^ splitmix64(round.wrapping_mul(1 << 20) ^ salt)))
}

/// Sizes of the free axes: small, odd where the range allows, different for each round.
pub fn sizes(g: &Graph, seed: u64, round: u64) -> Vec<u64> {
    let mut s = stream(seed, round, 1);
    let mut sizes: Vec<u64> = g.syms.iter().map(|y| (3 + 2 * s.below(4)).clamp(y.lo, y.hi.max(y.lo))).collect();
    g.complete(&mut sizes);
    sizes
}

/// How many different ids an i32 input may hold: the size of the smallest axis that it indexes, through changes of shape.
fn bound(g: &Graph, input: NodeId, syms: &[u64]) -> Result<u64, Bug> {
    let mut least = u64::MAX;
    let mut stack = vec![input];
    while let Some(n) = stack.pop() {
        for r in g.readers(n) {
            match &g.node(r)?.op {
                Op::Gather { dim } => {
                    let operands = g.inputs(r);
                    if let (Some(table), Some(ids)) = (operands.first(), operands.get(1))
                        && *ids == n
                        && let Some(size) = g.ty(*table)?.dims.get(*dim as usize).and_then(|d| d.size.bind(syms))
                    {
                        least = least.min(size);
                    }
                }
                Op::Split { .. } | Op::Merge { .. } | Op::Transpose { .. } | Op::Broadcast { .. } => stack.push(r),
                _ => {}
            }
        }
    }
    Ok(if least == u64::MAX { 8 } else { least })
}

/// Whether the values of a function for these sizes can be made and computed again by the interpreter in a reasonable
/// time.
pub fn fits(g: &Graph, syms: &[u64]) -> bool {
    let elements = |n: NodeId| g.ty(n).ok()?.shape(syms)?.into_iter().try_fold(1usize, usize::checked_mul);
    let weight = |n: NodeId| matches!(g.node(n).map(|n| &n.op), Ok(Op::Weight { .. }));
    g.ids().into_iter().filter(|n| !weight(*n)).all(|n| elements(n).is_some_and(|e| e <= MOST_ELEMENTS))
}

/// Inputs of these sizes. The first element along the last axis of a bool input is true, so that no row of a mask is
/// empty.
pub fn inputs(g: &Graph, syms: &[u64], seed: u64, round: u64) -> Result<Inputs, Bug> {
    let mut out = Inputs::new();
    for (salt, (name, node)) in (2u64..).zip(g.named_inputs()) {
        let mut s = stream(seed, round, salt);
        let ty = g.ty(node)?;
        let shape = ty.shape(syms).ok_or_else(|| Bug::new(format!("the input {name} has no shape")))?;
        let n = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).ok_or_else(|| Bug::new("too large"))?;
        let wrong = |e: ndarray::ShapeError| Bug::new(e.to_string());
        let last = shape.last().copied().unwrap_or(1).max(1);
        let value = match ty.dtype {
            DType::F32 => {
                Value::F(ArrayD::from_shape_vec(IxDyn(&shape), (0..n).map(|_| s.float()).collect()).map_err(wrong)?)
            }
            DType::I32 => {
                let most = bound(g, node, syms)?.min(i32::MAX as u64);
                let ids = (0..n).map(|_| s.below(most) as i32).collect();
                Value::I(ArrayD::from_shape_vec(IxDyn(&shape), ids).map_err(wrong)?)
            }
            DType::Bool => {
                let bits = (0..n).map(|i| i % last == 0 || s.below(3) > 0).collect();
                Value::B(ArrayD::from_shape_vec(IxDyn(&shape), bits).map_err(wrong)?)
            }
        };
        out.insert(name, value);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        Graph::parse(
            "graph \"f\" {\n  sym B = 1..4\n  %0 = input \"x\" : f32[B=?B, I=3]\n  %1 = input \"ids\" : i32[B=?B]\n  \
             %2 = weight \"t\" : f32[V=5, I=3]\n  %3 = gather 0 (%2, %1) : f32[B=?B, I=3]\n  output \"y\" = %3\n}\n",
        )
        .unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_ids_stay_in_range() {
        let g = graph();
        for round in 0..20 {
            let syms = sizes(&g, 7, round);
            assert!(syms.iter().all(|n| (1..=4).contains(n)));
            let a = inputs(&g, &syms, 7, round).unwrap();
            assert_eq!(a, inputs(&g, &syms, 7, round).unwrap());
            let Value::I(ids) = &a["ids"] else { panic!("ids are i32") };
            assert!(ids.iter().all(|i| (0..5).contains(i)));
        }
        assert_ne!(inputs(&g, &[3], 7, 0).unwrap(), inputs(&g, &[3], 8, 0).unwrap());
    }
}
