//! The map of a shrunk file, which `export` writes beside it: `small.safetensors` has `small.shrink.json`.
use crate::session::Session;
use serde::Deserialize;
use spc_io::Header;
use std::collections::BTreeMap;
use std::path::Path;

/// Largest map that is read.
const LIMIT: u64 = 256 << 20;

#[derive(Deserialize)]
struct Map {
    format: u32,
    model: String,
    tensors: BTreeMap<String, Cut>,
}

#[derive(Deserialize)]
struct Cut {
    old_shape: Vec<usize>,
    new_shape: Vec<usize>,
    kept: Vec<Option<Vec<usize>>>,
}

impl Cut {
    /// What does not fit the tensor of this shape, if anything.
    fn fault(&self, shape: &[usize]) -> Option<String> {
        if self.new_shape != shape {
            return Some(format!("the file has shape {shape:?}, its map says {:?}", self.new_shape));
        }
        if self.old_shape.len() != shape.len() || self.kept.len() != shape.len() {
            return Some("its map has another number of dimensions".into());
        }
        for ((old, new), kept) in self.old_shape.iter().zip(shape).zip(&self.kept) {
            let fits = match kept {
                None => old == new,
                Some(k) => {
                    k.len() == *new && k.windows(2).all(|w| w[0] < w[1]) && k.last().is_none_or(|last| last < old)
                }
            };
            if !fits {
                return Some(format!("its map keeps other positions than {new} of {old} in their order"));
            }
        }
        None
    }
}

/// What stands in the map beside a file, in a sentence; nothing where there is none. `wrong` hears what does not fit.
pub fn beside(s: &Session<'_>, path: &Path, header: &Header, wrong: &mut dyn FnMut(String)) -> Option<String> {
    let place = path.with_extension("shrink.json");
    if !s.world.is_file(&place) {
        return None;
    }
    let shown = place.display();
    let bytes = s.world.read(&place, LIMIT).unwrap_or_default();
    let map: Map = match serde_json::from_slice(&bytes) {
        Ok(map) => map,
        Err(e) => {
            wrong(format!("the map `{shown}` cannot be read: {e}"));
            return None;
        }
    };
    if map.format != 1 {
        wrong(format!("the map `{shown}` has format {}, expected 1", map.format));
        return None;
    }
    let mut faults = 0;
    for (name, cut) in &map.tensors {
        let fault = match header.get(name) {
            Ok(t) => cut.fault(&t.shape),
            Err(_) => Some(format!("the map `{shown}` names it, and the file does not have it")),
        };
        if let Some(fault) = fault {
            faults += 1;
            wrong(format!("`{name}`: {fault}"));
        }
    }
    (faults == 0).then(|| format!("model `{}`, {} tensors smaller as `{shown}` says", map.model, map.tensors.len()))
}
