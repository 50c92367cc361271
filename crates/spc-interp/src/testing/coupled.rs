//! Coupled slices set to zero, and cut out, for tests that compare the two.
use crate::Value;
use crate::error::RunError;
use ndarray::{ArrayD, Axis};
use spc_base::Bug;
use spc_ir::Graph;
use spc_ir::couple::{CoupledSet, Coupling, NoShrink};
use std::collections::BTreeMap;

type WeightMap = BTreeMap<String, Vec<f32>>;
type Inputs = BTreeMap<String, Value<f64>>;
type Results = Vec<(String, Value<f64>)>;

fn array(g: &Graph, weights: &WeightMap, name: &str) -> Result<ArrayD<f32>, Bug> {
    let id = g.weights().into_iter().find(|(n, _)| n == name).ok_or_else(|| Bug::new("no such weight"))?.1;
    let shape = g.ty(id)?.shape(&[]).ok_or_else(|| Bug::new("a weight with a free axis"))?;
    let values = weights.get(name).cloned().unwrap_or_default();
    ArrayD::from_shape_vec(shape, values).map_err(|e| Bug::new(e.to_string()))
}

/// The members' slices that are not in `kept` set to zero. Those of `except` stay.
pub fn zeroed(
    g: &Graph,
    weights: &WeightMap,
    set: &CoupledSet,
    kept: &[u64],
    except: &[String],
) -> Result<WeightMap, Bug> {
    let mut out = weights.clone();
    for m in set.members.iter().filter(|m| !except.contains(&m.weight) && weights.contains_key(&m.weight)) {
        let mut a = array(g, &out, &m.weight)?;
        for p in &m.places {
            for (i, mut slice) in (0u64..).zip(a.axis_iter_mut(Axis(p.dim as usize))) {
                if (p.start..p.end).contains(&i) && !kept.contains(&((i - p.start) / p.inner.max(1) % set.size.max(1)))
                {
                    slice.fill(0.0);
                }
            }
        }
        out.insert(m.weight.clone(), a.into_raw_vec_and_offset().0);
    }
    Ok(out)
}

fn sliced<T: Clone>(mut a: ArrayD<T>, kept: &[Option<Vec<u64>>]) -> ArrayD<T> {
    for (d, k) in kept.iter().enumerate() {
        if let Some(k) = k {
            a = a.select(Axis(d), &k.iter().map(|i| *i as usize).collect::<Vec<_>>());
        }
    }
    a
}

/// Results of the function with slices set to zero, and of the smaller function without them.
#[derive(Clone, Debug)]
pub struct Deleted {
    pub zeroed: Results,
    pub smaller: Results,
    pub graph: Graph,
}

/// Deletes slices of one set of graph 0, and runs both. `None` where the set cannot be deleted.
pub fn delete(
    c: &Coupling,
    g: &Graph,
    syms: &[u64],
    set: usize,
    kept: &[u64],
    (weights, inputs): (&WeightMap, &Inputs),
) -> Result<Option<Deleted>, RunError> {
    let small = match c.shrink(&[g], 0, set, kept) {
        Ok(s) => s,
        Err(NoShrink::Bug(b)) => return Err(b.into()),
        Err(_) => return Ok(None),
    };
    let members = c.sets.get(set).ok_or_else(|| Bug::new("no such set"))?;
    let zero = zeroed(g, weights, members, kept, &[])?;
    let (mut w, mut x) = (weights.clone(), inputs.clone());
    for (name, dims) in &small.kept {
        if weights.contains_key(name) {
            let a = sliced(array(g, weights, name)?, dims);
            w.insert(name.clone(), a.iter().copied().collect());
        }
        if let Some(v) = inputs.get(name) {
            let v = match v {
                Value::F(a) => Value::F(sliced(a.clone(), dims)),
                Value::I(a) => Value::I(sliced(a.clone(), dims)),
                Value::B(a) => Value::B(sliced(a.clone(), dims)),
            };
            x.insert(name.clone(), v);
        }
    }
    let zeroed = crate::run(g, syms, inputs, &zero)?;
    let smaller = crate::run(&small.graph, syms, &x, &w)?;
    Ok(Some(Deleted { zeroed, smaller, graph: small.graph }))
}

/// Equal up to reassociation: relative to the larger of the two and 1.
pub fn close(a: &Results, b: &Results) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| match (&a.1, &b.1) {
            (Value::F(x), Value::F(y)) => {
                x.shape() == y.shape()
                    && x.iter().zip(y).all(|(x, y)| (x - y).abs() <= 1e-6 * x.abs().max(y.abs()).max(1.0))
            }
            (x, y) => x == y,
        })
}
