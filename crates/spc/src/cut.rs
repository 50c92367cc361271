//! Removal of dead channels before layouts are chosen: positions of an axis at which every weight that carries it is zero
//! are left out of all functions and weights of a program, where that is the same for finite values (class F).
//!
//! A plan over the smaller program competes with one over the whole program, and the cheaper one is taken.
use crate::failure::Res;
use crate::load::Source;
use crate::shrink::{Kept, gather_items, stays_of};
use crate::weights::{Weight, WeightSet};
use serde::{Deserialize, Serialize};
use spc_ir::Graph;
use spc_ir::couple::{Coupling, NoShrink};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the rule in plans, with its exactness class.
pub const RULE: &str = "cut-dead F";

/// What is left of one weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub shape: Vec<usize>,
    /// Positions that stay along each dimension, ascending; nothing where all do.
    pub kept: Kept,
}

/// One axis that got smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    pub name: String,
    pub size: u64,
    pub kept: u64,
}

/// A program without its dead channels.
pub struct Cut {
    /// All functions that can be called, without constraints: those speak of the whole.
    pub graphs: BTreeMap<String, Graph>,
    pub weights: WeightSet,
    pub removed: BTreeMap<String, Removed>,
    pub axes: Vec<Axis>,
}

impl Removed {
    /// The whole weight again, zero where something was removed.
    ///
    /// # Errors
    /// Where `small` is not what was left, in words.
    pub fn whole(&self, small: &Weight) -> Result<Weight, String> {
        let left: Vec<usize> =
            self.shape.iter().zip(&self.kept).map(|(n, k)| k.as_ref().map_or(*n, Vec::len)).collect();
        let inside = |(n, k): (&usize, &Option<Vec<usize>>)| {
            k.as_ref().is_none_or(|k| k.windows(2).all(|w| w[0] < w[1]) && k.last().is_none_or(|l| l < n))
        };
        let count = self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        // Far more than a weight has: shapes come from files.
        let count = count.filter(|n| *n <= 1 << 32);
        let (Some(count), true) = (count, self.shape.iter().zip(&self.kept).all(inside)) else {
            return Err("kept positions lie outside the weight".into());
        };
        if self.kept.len() != self.shape.len() || left != small.shape() {
            return Err(format!("shape {:?} is not what is left of {:?}", small.shape(), self.shape));
        }
        let mut out: Vec<f32> = Vec::new();
        out.try_reserve_exact(count).map_err(|_| format!("{:?} values do not fit memory", self.shape))?;
        out.resize(count, 0.0);
        for (at, v) in small.values().iter().enumerate() {
            let (mut rest, mut place, mut step) = (at, 0, 1);
            for ((n, kept), left) in self.shape.iter().zip(&self.kept).zip(&left).rev() {
                let i = rest % left.max(&1);
                rest /= left.max(&1);
                place += step * kept.as_ref().and_then(|k| k.get(i).copied()).unwrap_or(i);
                step *= n;
            }
            if let Some(o) = out.get_mut(place) {
                *o = *v;
            }
        }
        Weight::new(self.shape.clone(), out.into()).map_err(|b| b.0)
    }

    /// What is left of a vector along its rows.
    pub fn of_rows(&self) -> Removed {
        let first = |n: usize| self.shape.iter().copied().take(n).collect();
        Removed { shape: first(1), kept: self.kept.iter().take(1).cloned().collect() }
    }

    /// Leaves out more: `next` are positions among those that are left.
    fn then(&mut self, next: &Kept) {
        for (old, new) in self.kept.iter_mut().zip(next) {
            let Some(new) = new else { continue };
            *old = Some(match &old {
                None => new.clone(),
                Some(list) => new.iter().filter_map(|i| list.get(*i).copied()).collect(),
            });
        }
    }
}

/// The program without its dead channels; nothing where it has none that can be left out. An axis stays whole where an input
/// carries it, where a slice that is zero is something else than one that is not there, and where a weight has no values.
pub fn dead_channels(source: &Source, weights: &WeightSet) -> Res<Option<Cut>> {
    let dead = weights.iter().filter(|(_, w)| w.has_dead()).map(|(n, _)| n.to_string()).collect();
    let mut search = Search { dead, refused: BTreeSet::new() };
    if search.dead.is_empty() {
        return Ok(None);
    }
    let (graphs, weights) = (source.graphs.clone(), weights.clone());
    let mut out = Cut { graphs, weights, removed: BTreeMap::new(), axes: Vec::new() };
    while let Some(axis) = search.one(&mut out)? {
        out.axes.push(axis);
    }
    Ok((!out.axes.is_empty()).then_some(out))
}

/// What is known while axes are looked at one after the other.
struct Search {
    /// Weights with a position that is zero throughout. An axis has dead positions only where all of its weights have.
    dead: BTreeSet<String>,
    /// Axes that were looked at.
    refused: BTreeSet<String>,
}

impl Search {
    /// Leaves out the dead positions of one axis, or notes that it cannot be done.
    fn one(&mut self, c: &mut Cut) -> Res<Option<Axis>> {
        let graphs: Vec<&Graph> = c.graphs.values().collect();
        let coupling = Coupling::of(&graphs)?;
        for (number, set) in coupling.sets.iter().enumerate() {
            let key = format!("{:?}", set.members);
            let may = set.members.iter().all(|m| self.dead.contains(&m.weight));
            if !set.refusals.is_empty() || !set.inputs.is_empty() || !may || self.refused.contains(&key) {
                continue;
            }
            let mut stays = stays_of(set, &c.weights)?;
            if stays.iter().all(|s| *s) {
                continue;
            }
            // A dimension without positions is none that kernels know.
            if !stays.contains(&true)
                && let Some(first) = stays.first_mut()
            {
                *first = true;
            }
            let kept: Vec<u64> = (0..).zip(&stays).filter(|(_, s)| **s).map(|(i, _)| i).collect();
            self.refused.insert(key);
            if kept.len() == stays.len() {
                continue;
            }
            let mut smaller = Vec::new();
            for which in 0..graphs.len() {
                match coupling.shrink(&graphs, which, number, &kept) {
                    Ok(s) => smaller.push(s),
                    Err(NoShrink::Bug(b)) => return Err(b.into()),
                    Err(_) => break,
                }
            }
            if smaller.len() < graphs.len() {
                continue;
            }
            let mut lists: BTreeMap<String, Kept> = BTreeMap::new();
            for s in &smaller {
                for (name, dims) in s.kept.iter().filter(|(n, _)| c.weights.get(n).is_some()) {
                    let list = |d: &Option<Vec<u64>>| d.as_ref().map(|k| k.iter().map(|i| *i as usize).collect());
                    lists.insert(name.clone(), dims.iter().map(list).collect());
                }
            }
            let names: Vec<String> = c.graphs.keys().cloned().collect();
            let first = set.members.first();
            let place = first.and_then(|m| Some((m.weight.clone(), m.places.first()?.dim as usize)));
            let name = place.and_then(|(w, d)| axis_name(&graphs, &w, d)).unwrap_or_default();
            let axis = Axis { name, size: set.size, kept: kept.len() as u64 };
            for (name, kept) in &lists {
                let w = c.weights.want(name)?;
                let (shape, values) = gather_items(w.values(), 1, w.shape(), kept)?;
                let whole = || Removed { shape: w.shape().to_vec(), kept: vec![None; w.shape().len()] };
                c.removed.entry(name.clone()).or_insert_with(whole).then(kept);
                let small = Weight::new(shape, values.into())?;
                if !small.has_dead() {
                    self.dead.remove(name);
                }
                c.weights.insert(name, small);
            }
            c.graphs = names.into_iter().zip(smaller.into_iter().map(|s| s.graph)).collect();
            return Ok(Some(axis));
        }
        Ok(None)
    }
}

/// What a graph calls a dimension of a weight.
fn axis_name(graphs: &[&Graph], weight: &str, dim: usize) -> Option<String> {
    let found = graphs.iter().find_map(|g| {
        let (_, node) = g.weights().into_iter().find(|(n, _)| n == weight)?;
        g.ty(node).ok()?.dims.get(dim).map(|d| d.axis.clone())
    });
    found.filter(|n| !n.is_empty())
}

/// All weights as they were: `small` where nothing was removed, whole ones with zeros where something was.
pub fn restore(removed: &BTreeMap<String, Removed>, small: &WeightSet) -> Result<WeightSet, String> {
    let mut out = small.clone();
    for (name, r) in removed {
        let w = small.get(name).ok_or_else(|| format!("`{name}` is missing"))?;
        out.insert(name, r.whole(w).map_err(|e| format!("`{name}`: {e}"))?);
    }
    Ok(out)
}

/// Axes that got smaller, in words: `F 1536 to 1152`.
pub fn words(axes: &[Axis]) -> String {
    let mut seen: Vec<(String, usize)> = Vec::new();
    for a in axes {
        let text = format!("{} {} to {}", a.name, a.size, a.kept);
        match seen.iter_mut().find(|(t, _)| *t == text) {
            Some((_, n)) => *n += 1,
            None => seen.push((text, 1)),
        }
    }
    let list: Vec<String> = seen.into_iter().map(|(t, n)| if n > 1 { format!("{t} ({n} times)") } else { t }).collect();
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(shape: &[usize], values: &[f32]) -> Weight {
        Weight::new(shape.to_vec(), values.to_vec().into()).unwrap()
    }

    #[test]
    fn what_was_removed_comes_back_as_zeros() {
        let mut r = Removed { shape: vec![3, 4], kept: vec![None, None] };
        r.then(&vec![None, Some(vec![0, 2, 3])]);
        r.then(&vec![Some(vec![0, 2]), Some(vec![1, 2])]);
        assert_eq!(r.kept, [Some(vec![0, 2]), Some(vec![2, 3])]);
        let whole = r.whole(&weight(&[2, 2], &[1.0, 2.0, 3.0, 4.0])).unwrap();
        assert_eq!(whole.values(), [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0]);
        assert!(r.whole(&weight(&[4], &[1.0; 4])).is_err());
        let bad = Removed { shape: vec![2], kept: vec![Some(vec![1, 2])] };
        assert!(bad.whole(&weight(&[2], &[1.0; 2])).unwrap_err().contains("outside"));
        let huge = Removed { shape: vec![usize::MAX, 3], kept: vec![None, None] };
        assert!(huge.whole(&weight(&[1], &[1.0])).is_err());
    }

    #[test]
    fn equal_axes_are_told_once() {
        let a = |name: &str, kept| Axis { name: name.into(), size: 8, kept };
        assert_eq!(words(&[a("F", 6), a("F", 6), a("H", 1)]), "F 8 to 6 (2 times), H 8 to 1");
    }
}
