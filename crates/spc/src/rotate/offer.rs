//! Where turning the residual streams would help: weights that a program rounds to codes, whose error it lowers.
use super::{allowed, stored_name, streams, turned};
use crate::bind;
use crate::export::{choose, weight_file_of};
use crate::failure::Res;
use crate::load::Source;
use crate::session::Session;
use crate::weights::WeightSet;
use serde::Serialize;
use spc_io::StoredType;
use spc_report::percent;
use spc_sema::StoredAs;
use std::path::Path;

/// Elements that are turned to see what it does; tensors beyond are taken to behave alike.
const MOST_ELEMENTS: usize = 1 << 21;

/// It is offered where the error falls by at least this share (of 100).
const WORTH: f64 = 5.0;

/// What turning would do to the weights that a program rounds to codes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offer {
    /// The error of rounding them as they are and turned, relative to their size (root of the mean square).
    pub before: f64,
    pub after: f64,
    /// Tensors that it was computed on, and all that are rounded and would be turned.
    pub tried: usize,
    pub tensors: usize,
    /// What does it.
    pub command: String,
}

impl Offer {
    /// One line.
    pub fn words(&self) -> String {
        let on =
            if self.tried < self.tensors { format!(" (computed on {} of them)", self.tried) } else { String::new() };
        format!(
            "the residual streams can be turned: rounding then changes {} tensors by {} and not by {}{on}: `{}`\n",
            self.tensors,
            percent(self.after),
            percent(self.before),
            self.command
        )
    }
}

/// What turning would do, where the command would carry it out and it helps; nothing elsewhere. `path` is the program.
///
/// # Errors
/// As for reading the weights.
pub fn offer(s: &mut Session<'_>, source: &Source, path: &Path) -> Res<Option<Offer>> {
    let coded = source.module.quantizes.iter().filter_map(|q| match q.to {
        StoredAs::Int { bits } => Some((q, bits)),
        _ => None,
    });
    let coded: Vec<_> = coded.flat_map(|(q, bits)| q.tensors.iter().map(move |t| (t, bits, q.half_scales))).collect();
    if coded.is_empty() || s.options.interp {
        return Ok(None);
    }
    let (Ok(model), Ok(found)) = (choose(source, None), streams(s, source)) else { return Ok(None) };
    let mine: Vec<_> = coded.iter().filter(|(t, ..)| found.weights.contains_key(&t.weight)).collect();
    if mine.is_empty() {
        return Ok(None);
    }
    let Ok(file) = weight_file_of(s, source, model, path, &[]) else { return Ok(None) };
    let weights = bind::weights(s, source, &WeightSet::default())?;
    if allowed(&source.module, model, &found, &weights).is_err() {
        return Ok(None);
    }
    let stored = s.world.weights(&file)?;
    for name in found.weights.keys() {
        let name = stored_name(model, name)?;
        if stored.header().get(&name).is_ok_and(|t| t.dtype != StoredType::F32) {
            return Ok(None);
        }
    }
    let mut sums = [(0.0f64, 0.0f64); 2];
    let (mut tried, mut elements) = (0usize, 0usize);
    for (t, bits, half) in &mine {
        let w = weights.want(&t.weight)?;
        if tried > 0 && elements.saturating_add(w.values().len()) > MOST_ELEMENTS {
            break;
        }
        let Some(how) = found.weights.get(&t.weight) else { continue };
        (tried, elements) = (tried + 1, elements.saturating_add(w.values().len()));
        let after = turned(w.shape(), w.values(), how, &weights, 0)?;
        for (sum, values) in sums.iter_mut().zip([w.values(), &after]) {
            let mut codes = values.to_vec();
            spc_interp::quantize_int(&mut codes, &t.shape, &t.tile, *bits, *half)?;
            for (v, c) in values.iter().zip(&codes) {
                *sum = (sum.0 + f64::from(v - c).powi(2), sum.1 + f64::from(*v).powi(2));
            }
        }
    }
    let [before, after] = sums.map(|(e, all)| if all > 0.0 { (e / all).sqrt() } else { 0.0 });
    if !(after.is_finite() && after * 100.0 <= before * (100.0 - WORTH)) {
        return Ok(None);
    }
    let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    let command = format!("spc rotate {name} -o FILE.safetensors");
    Ok(Some(Offer { before, after, tried, tensors: mine.len(), command }))
}
