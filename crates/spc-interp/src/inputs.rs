//! Norms of the inputs that the elements of weights meet, measured while a function runs on data.
use crate::{Absent, RunError, Value, Weights, run_all};
use ndarray::{ArrayD, IxDyn};
use spc_base::Bug;
use spc_ir::{Graph, NodeId, Op};
use std::collections::{BTreeMap, BTreeSet};

/// Sums of squares, for each element of each weight: of all values that a product multiplies the element by. A weight
/// that several products read has the sum over all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputNorms {
    squares: BTreeMap<String, Vec<f64>>,
}

impl InputNorms {
    /// Runs a function and adds what the named weights meet in it.
    ///
    /// # Errors
    /// As [`run_all`].
    pub fn add(
        &mut self,
        g: &Graph,
        syms: &[u64],
        inputs: &BTreeMap<String, Value<f32>>,
        weights: &dyn Weights,
        names: &BTreeSet<&str>,
    ) -> Result<(), RunError> {
        let all = run_all::<f32>(g, syms, inputs, weights, Absent::Skip)?;
        for id in g.ids() {
            let Op::Contract { lhs, rhs, .. } = &g.node(id)?.op else { continue };
            let [a, b] = g.inputs(id)[..] else { continue };
            for ((w, lw), (x, lx)) in [((a, lhs), (b, rhs)), ((b, rhs), (a, lhs))] {
                let (Some((name, places)), Some(Value::F(x))) = (view(g, w)?, all.get(&x)) else { continue };
                if names.contains(name.as_str()) {
                    self.meet(name, &places, lw, (x, lx))?;
                }
            }
        }
        Ok(())
    }

    fn meet(
        &mut self,
        name: String,
        places: &ArrayD<usize>,
        lw: &[u32],
        (x, lx): (&ArrayD<f32>, &[u32]),
    ) -> Result<(), Bug> {
        let lost = || Bug::new("a product whose dimensions have no labels");
        // Squares summed over what the weight does not have, with the dimensions that it has in its order.
        let shared: Vec<usize> = (0..lw.len()).filter(|i| lx.contains(&lw[*i])).collect();
        let shape: Vec<usize> = shared.iter().map(|i| places.shape()[*i]).collect();
        let at: Vec<usize> = shared.iter().filter_map(|i| lx.iter().position(|l| *l == lw[*i])).collect();
        let mut sums = ArrayD::<f64>::zeros(IxDyn(&shape));
        for (i, v) in x.indexed_iter() {
            let to: Vec<usize> = at.iter().map(|d| i[*d]).collect();
            *sums.get_mut(IxDyn(&to)).ok_or_else(lost)? += f64::from(*v) * f64::from(*v);
        }
        let own = self.squares.entry(name).or_insert_with(|| vec![0.0; places.len()]);
        for (i, place) in places.indexed_iter() {
            let from: Vec<usize> = shared.iter().map(|d| i[*d]).collect();
            let sum = sums.get(IxDyn(&from)).copied().ok_or_else(lost)?;
            *own.get_mut(*place).ok_or_else(lost)? += sum;
        }
        Ok(())
    }

    /// The norms by name of weight, of its shape. Weights that no product reads are not there.
    pub fn finish(self) -> BTreeMap<String, Vec<f32>> {
        let root = |v: Vec<f64>| v.into_iter().map(|x| x.sqrt() as f32).collect();
        self.squares.into_iter().map(|(n, v)| (n, root(v))).collect()
    }
}

/// The weight that a value is a view of, and which of its elements stands at each place of the view.
fn view(g: &Graph, id: NodeId) -> Result<Option<(String, ArrayD<usize>)>, Bug> {
    let mut chain = Vec::new();
    let mut at = id;
    let name = loop {
        match &g.node(at)?.op {
            Op::Weight { name, .. } => break name.clone(),
            Op::Split { .. } | Op::Transpose { .. } => chain.push(at),
            _ => return Ok(None),
        }
        at = *g.inputs(at).first().ok_or_else(|| Bug::new("a view without an operand"))?;
    };
    let sizes = |id: NodeId| -> Result<Option<Vec<usize>>, Bug> {
        Ok(g.ty(id)?.dims.iter().map(|d| d.size.fixed().map(|n| n as usize)).collect())
    };
    let Some(shape) = sizes(at)? else { return Ok(None) };
    let n = shape.iter().product();
    let bad = |_| Bug::new("a view of another size than its weight");
    let mut places = ArrayD::from_shape_vec(IxDyn(&shape), (0..n).collect()).map_err(bad)?;
    for id in chain.into_iter().rev() {
        match &g.node(id)?.op {
            Op::Transpose { perm } => {
                let axes: Vec<usize> = perm.iter().map(|p| *p as usize).collect();
                places = places.permuted_axes(IxDyn(&axes));
            }
            _ => {
                let Some(shape) = sizes(id)? else { return Ok(None) };
                let flat = places.iter().copied().collect();
                places = ArrayD::from_shape_vec(IxDyn(&shape), flat).map_err(bad)?;
            }
        }
    }
    Ok(Some((name, places)))
}
