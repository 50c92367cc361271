//! Slices of axes that are zero in every weight which carries them, and tensors without these slices.
use crate::failure::Res;
use crate::load::Source;
use crate::weights::{Weight, WeightSet};
use serde_json::json;
use spc_base::Bug;
use spc_ir::couple::{CoupledSet, Coupling, Place};
use spc_sema::Model;
use std::collections::BTreeMap;

/// Positions that stay along each dimension of a tensor, ascending; `None` is all.
pub type Kept = Vec<Option<Vec<usize>>>;

/// One axis that gets smaller.
#[derive(Clone, Debug)]
pub struct Axis {
    /// As its first weight declares it.
    pub axis: String,
    pub size: u64,
    /// Positions that stay, ascending; never none.
    pub kept: Vec<u64>,
    pub weights: Vec<String>,
}

/// What can be left out of the weights of a model without changing what its functions compute.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    pub axes: Vec<Axis>,
    /// By full name, of the weights that get smaller.
    pub kept: BTreeMap<String, Kept>,
}

impl Cuts {
    /// Looks at all functions that are called from outside together. An axis stays whole where removing a slice is something
    /// else than setting it to zero: it has refusals, a mean counts its positions, an input or another model carries it.
    pub fn of(source: &Source, model: &Model, weights: &WeightSet) -> Res<Cuts> {
        let roots = spc_sema::roots(&source.module.ast);
        let graphs: Vec<_> = source.graphs.iter().filter(|(n, _)| roots.contains(n.as_str())).map(|(_, g)| g).collect();
        let coupling = Coupling::of(&graphs)?;
        let mut out = Cuts::default();
        let mut alive: BTreeMap<&str, Vec<Vec<bool>>> = BTreeMap::new();
        for set in &coupling.sets {
            let own = |w: &str| model.tensors.iter().find(|t| t.path == w);
            let whole = set.refusals.is_empty() && set.means.is_empty() && set.inputs.is_empty();
            if !whole || set.members.iter().any(|m| own(&m.weight).is_none()) {
                continue;
            }
            for m in &set.members {
                if !alive.contains_key(m.weight.as_str()) {
                    alive.insert(&m.weight, alive_along(weights.want(&m.weight)?));
                }
            }
            let mut stays = stays(set, &alive)?;
            if stays.iter().all(|s| *s) {
                continue;
            }
            // A tensor of no elements is nothing that every tool loads.
            if !stays.contains(&true)
                && let Some(first) = stays.first_mut()
            {
                *first = true;
            }
            for m in &set.members {
                let shape = weights.want(&m.weight)?.shape();
                let kept = out.kept.entry(m.weight.clone()).or_insert_with(|| vec![None; shape.len()]);
                for p in &m.places {
                    let d = p.dim as usize;
                    let (Some(list), Some(n)) = (kept.get_mut(d), shape.get(d)) else { continue };
                    let list = list.get_or_insert_with(|| (0..*n).collect());
                    list.retain(|i| position(p, set.size, *i).is_none_or(|at| stays.get(at).copied().unwrap_or(true)));
                }
            }
            let axis = set.members.first().and_then(|m| {
                let dims = &own(&m.weight)?.dims;
                Some(dims.get(m.places.first()?.dim as usize)?.axis.clone())
            });
            out.axes.push(Axis {
                axis: axis.unwrap_or_default(),
                size: set.size,
                kept: (0..).zip(&stays).filter(|(_, s)| **s).map(|(i, _)| i).collect(),
                weights: set.members.iter().map(|m| m.weight.clone()).collect(),
            });
        }
        Ok(out)
    }

    /// The map from new to old positions: `docs/commands.md` describes it. `names` are the stored names of the weights.
    pub fn text(&self, model: &str, names: &BTreeMap<&str, &str>, weights: &WeightSet) -> Res<String> {
        let name = |path: &str| names.get(path).copied().unwrap_or(path).to_string();
        let axes: Vec<_> = self
            .axes
            .iter()
            .map(|a| {
                let carried: Vec<String> = a.weights.iter().map(|w| name(w)).collect();
                json!({ "axis": a.axis, "size": a.size, "kept": a.kept, "tensors": carried })
            })
            .collect();
        let mut tensors = BTreeMap::new();
        for (path, kept) in &self.kept {
            let old = weights.want(path)?.shape();
            let new: Vec<usize> = old.iter().zip(kept).map(|(n, k)| k.as_ref().map_or(*n, Vec::len)).collect();
            tensors.insert(name(path), json!({ "old_shape": old, "new_shape": new, "kept": kept }));
        }
        let all = json!({ "format": 1, "model": model, "axes": axes, "tensors": tensors });
        let text = serde_json::to_string_pretty(&all).map_err(|e| Bug::new(e.to_string()))?;
        Ok(text + "\n")
    }
}

/// Which positions of the axis hold something that is not zero in some of these weights.
pub fn stays_of(set: &CoupledSet, weights: &WeightSet) -> Result<Vec<bool>, Bug> {
    let mut alive: BTreeMap<&str, Vec<Vec<bool>>> = BTreeMap::new();
    for m in &set.members {
        alive.insert(&m.weight, alive_along(weights.want(&m.weight)?));
    }
    stays(set, &alive)
}

/// Which positions of the axis hold something that is not zero in some weight.
fn stays(set: &CoupledSet, alive: &BTreeMap<&str, Vec<Vec<bool>>>) -> Result<Vec<bool>, Bug> {
    let size = usize::try_from(set.size).map_err(|_| Bug::new("an axis of a weight has no such size"))?;
    let mut out = vec![false; size];
    for m in &set.members {
        for p in &m.places {
            let along = alive.get(m.weight.as_str()).and_then(|a| a.get(p.dim as usize));
            let along = along.ok_or_else(|| Bug::new(format!("`{}` has no such dimension", m.weight)))?;
            for (i, _) in along.iter().enumerate().filter(|(_, a)| **a) {
                if let Some(stay) = position(p, set.size, i).and_then(|at| out.get_mut(at)) {
                    *stay = true;
                }
            }
        }
    }
    Ok(out)
}

/// The position of an axis at index `i` of a dimension, if it lies there.
fn position(p: &Place, size: u64, i: usize) -> Option<usize> {
    let i = i as u64;
    let inside = i >= p.start && i < p.end;
    inside.then(|| ((i - p.start) / p.inner.max(1) % size.max(1)) as usize)
}

/// For each dimension, which indices hold an element that is not zero.
fn alive_along(w: &Weight) -> Vec<Vec<bool>> {
    let shape = w.shape();
    let mut out: Vec<Vec<bool>> = shape.iter().map(|n| vec![false; *n]).collect();
    for (at, _) in w.values().iter().enumerate().filter(|(_, v)| **v != 0.0) {
        let mut rest = at;
        for (alive, n) in out.iter_mut().zip(shape).rev() {
            if let Some(a) = alive.get_mut(rest % (*n).max(1)) {
                *a = true;
            }
            rest /= (*n).max(1);
        }
    }
    out
}

/// The elements of a row-major tensor at the kept positions, and its shape.
pub fn gather(bytes: &[u8], shape: &[usize], kept: &Kept) -> Result<(Vec<usize>, Vec<u8>), Bug> {
    let count: usize = shape.iter().product();
    gather_items(bytes, bytes.len() / count.max(1), shape, kept)
}

/// As [`gather`], where an element is `size` items.
pub fn gather_items<T: Copy>(
    items: &[T],
    size: usize,
    shape: &[usize],
    kept: &Kept,
) -> Result<(Vec<usize>, Vec<T>), Bug> {
    let count: usize = shape.iter().product();
    if size * count != items.len() || kept.len() != shape.len() {
        return Err(Bug::new(format!("{} items are no tensor of shape {shape:?}", items.len())));
    }
    // From the last dimension on: one dimension loses its positions, in each of the blocks before it.
    let (mut shape, mut items) = (shape.to_vec(), items.to_vec());
    for (d, keep) in kept.iter().enumerate().rev() {
        let Some(keep) = keep else { continue };
        let block = size * shape.get(d + 1..).unwrap_or_default().iter().product::<usize>();
        let n = shape.get(d).copied().unwrap_or_default();
        let mut new = Vec::with_capacity(items.len() / n.max(1) * keep.len());
        for whole in items.chunks_exact((block * n).max(1)) {
            for k in keep {
                new.extend_from_slice(whole.get(k * block..(k + 1) * block).unwrap_or_default());
            }
        }
        if let Some(s) = shape.get_mut(d) {
            *s = keep.len();
        }
        items = new;
    }
    Ok((shape, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_any_dimension_are_left_out() {
        let bytes: Vec<u8> = (0..24).collect();
        let (shape, all) = gather(&bytes, &[2, 3, 4], &vec![None, None, None]).unwrap();
        assert_eq!((shape, all), (vec![2, 3, 4], bytes.clone()));
        let kept = vec![Some(vec![1]), Some(vec![0, 2]), Some(vec![0, 3])];
        let (shape, some) = gather(&bytes, &[2, 3, 4], &kept).unwrap();
        assert_eq!((shape, some), (vec![1, 2, 2], vec![12, 15, 20, 23]));
        // Elements of two bytes.
        let (shape, some) = gather(&bytes, &[3, 4], &vec![None, Some(vec![1, 2])]).unwrap();
        assert_eq!((shape, some), (vec![3, 2], vec![2, 3, 4, 5, 10, 11, 12, 13, 18, 19, 20, 21]));
        assert!(gather(&bytes, &[5, 5], &vec![None, None]).is_err());
    }

    #[test]
    fn an_axis_lies_in_runs() {
        let p = Place { dim: 0, start: 4, end: 16, inner: 2 };
        assert_eq!((position(&p, 3, 3), position(&p, 3, 4), position(&p, 3, 7)), (None, Some(0), Some(1)));
        assert_eq!((position(&p, 3, 10), position(&p, 3, 15), position(&p, 3, 16)), (Some(0), Some(2), None));
    }
}
