//! Values of weights by name, shared where nothing changes them.
use spc_base::Bug;
use spc_io::Floats;
use std::collections::BTreeMap;

/// One weight, row-major. The product of the shape is the number of values.
#[derive(Clone, Debug)]
pub struct Weight {
    shape: Vec<usize>,
    values: Floats,
}

impl Weight {
    pub fn new(shape: Vec<usize>, values: Floats) -> Result<Weight, Bug> {
        let n = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        if n != Some(values.len()) {
            return Err(Bug::new(format!("{} values are no weight of shape {shape:?}", values.len())));
        }
        Ok(Weight { shape, values })
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Lets go of memory where the values lie in a file.
    pub fn forget(&self) {
        self.values.forget();
    }

    /// Size in bytes as f32.
    pub fn bytes(&self) -> u64 {
        (self.values.len() as u64).saturating_mul(4)
    }

    /// Whether a position of some dimension has no element but zeros. Stops early where none has.
    pub fn has_dead(&self) -> bool {
        let mut alive: Vec<(Vec<bool>, usize)> = self.shape.iter().map(|n| (vec![false; *n], *n)).collect();
        for (at, _) in self.values.iter().enumerate().filter(|(_, v)| **v != 0.0) {
            let (mut rest, mut missing) = (at, 0);
            for ((seen, left), n) in alive.iter_mut().zip(&self.shape).rev() {
                if let Some(s) = seen.get_mut(rest % (*n).max(1)).filter(|s| !**s) {
                    *s = true;
                    *left -= 1;
                }
                rest /= (*n).max(1);
                missing += *left;
            }
            if missing == 0 {
                return false;
            }
        }
        alive.iter().any(|(_, left)| *left > 0)
    }

    pub fn zeros(&self) -> u64 {
        self.values.iter().filter(|v| **v == 0.0).count() as u64
    }
}

/// Weights by full name (`mini.layer.0.wq`). Cloning shares the values.
#[derive(Clone, Debug, Default)]
pub struct WeightSet {
    map: BTreeMap<String, Weight>,
}

impl WeightSet {
    pub fn insert(&mut self, name: &str, weight: Weight) {
        self.map.insert(name.to_string(), weight);
    }

    pub fn get(&self, name: &str) -> Option<&Weight> {
        self.map.get(name)
    }

    /// The weight of this name; a bug where binding has let it go missing.
    pub fn want(&self, name: &str) -> Result<&Weight, Bug> {
        self.map.get(name).ok_or_else(|| Bug::new(format!("the weight `{name}` is not bound")))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Weight)> {
        self.map.iter().map(|(n, w)| (n.as_str(), w))
    }

    pub fn remove(&mut self, name: &str) -> Option<Weight> {
        self.map.remove(name)
    }
}

impl spc_interp::Weights for WeightSet {
    fn values(&self, name: &str) -> Option<&[f32]> {
        self.get(name).map(Weight::values)
    }

    fn shape(&self, name: &str) -> Option<Vec<u64>> {
        self.get(name).map(|w| w.shape.iter().map(|n| *n as u64).collect())
    }
}
