//! `spc inspect`: what a safetensors file holds, where its zeros lie, and whether what `export` wrote is whole.
mod map;
mod scan;

use crate::failure::Res;
use crate::packed::{self, StoredLayout};
use crate::run::Done;
use crate::session::Session;
use scan::{Dead, Matrix, Zeros, zeros};
use serde_json::{Value, json};
use spc_base::{Diagnostic, codes};
use spc_io::WeightFile;
use spc_report::{Align, Table, bytes, percent};
use std::collections::BTreeSet;
use std::path::Path;

/// A packed weight that was read and proved whole.
struct Whole {
    entry: StoredLayout,
    stored: u64,
    present: u64,
}

/// Lists what a file holds. What is wrong with packed weights or with the map of a shrunk file is a finding, SP0402.
///
/// # Errors
/// SP0401 and SP0402 where the file cannot be read at all.
pub fn inspect_file(s: &mut Session<'_>, path: &Path, as_json: bool) -> Res<Done> {
    let file = s.world.weights(path)?;
    let mut findings = Vec::new();
    let mut wrong = |what: String| {
        findings.push(Diagnostic::error(codes::BAD_FILE, format!("`{}`: {what}", path.display())));
    };
    let entries = packed::entries(file.header()).unwrap_or_else(|e| {
        wrong(e);
        Vec::new()
    });
    let mut arrays: BTreeSet<String> = BTreeSet::new();
    let mut whole = Vec::new();
    let total = (file.header().tensors().len() + entries.len()) as u64;
    for (done, entry) in (0u64..).zip(entries) {
        s.progress.step("inspecting", done, total);
        if let Ok((_, names)) = entry.arrays() {
            arrays.extend(names.into_iter().map(|(_, stored, _)| stored));
        }
        match packed::load(&file, &entry) {
            Ok(p) => {
                let mut present = 0u64;
                p.for_each(|_, _, _| present += 1);
                whole.push(Whole { stored: p.packed().bytes(), entry, present });
            }
            Err(e) => wrong(e),
        }
    }
    let shown = |name: &str| !arrays.contains(name) && !name.starts_with("__pad_");
    let mut tensors = Vec::new();
    for (done, t) in (whole.len() as u64..).zip(file.header().tensors()) {
        s.progress.step("inspecting", done, total);
        if shown(&t.name) {
            let z = t.dtype.presence().map(|how| file.bytes(&t.name).map(|b| zeros(t, b, how))).transpose()?;
            tensors.push((t, z));
        }
    }
    s.progress.step("inspecting", total, total);
    let map = map::beside(s, path, file.header(), &mut wrong);
    let text = if as_json {
        let list: Vec<Value> = tensors.iter().map(|(t, z)| tensor_json(t, z.as_ref())).collect();
        let value = json!({
            "file": path.display().to_string(),
            "metadata": file.header().metadata(),
            "tensors": list,
            "packed": whole.iter().map(packed_json).collect::<Vec<Value>>(),
            "shrunk": map,
            "wrong": findings.iter().map(|d| d.message.clone()).collect::<Vec<String>>(),
        });
        format!("{value:#}\n")
    } else {
        table(&file, &tensors, &whole) + &map.map_or_else(String::new, |m| format!("{m}\n"))
    };
    Ok(Done { text, findings, differs: false })
}

fn dead_json(d: &Dead) -> Value {
    json!({ "count": d.count, "ranges": d.ranges })
}

fn tensor_json(t: &spc_io::StoredTensor, z: Option<&Zeros>) -> Value {
    let mut v = json!({ "name": t.name, "dtype": t.dtype.to_string(), "shape": t.shape, "bytes": t.end - t.start });
    let Some(z) = z else { return v };
    v["elements"] = z.elements.into();
    v["present"] = z.present.into();
    v["not_finite"] = z.not_finite.into();
    if let Some(m) = &z.matrix {
        v["matrix"] = json!({
            "rows": m.rows,
            "cols": m.cols,
            "dead_rows": dead_json(&m.dead_rows),
            "dead_cols": dead_json(&m.dead_cols),
            "n_of_m": m.groups,
            "block": [m.block.0, m.block.1],
            "nearly": m.near.map(|n| json!({ "block": [n.rows, n.cols], "fill": n.fill })),
        });
    }
    v
}

fn packed_json(w: &Whole) -> Value {
    let e = &w.entry;
    json!({
        "weight": e.weight,
        "layout": e.layout,
        "shape": [e.rows, e.cols],
        "bytes": w.stored,
        "present": w.present,
    })
}

/// The pattern in words; nothing for a tensor without zeros.
fn patterns(z: &Zeros, m: &Matrix) -> String {
    let mut out = Vec::new();
    if z.present == z.elements {
        return String::new();
    }
    if z.present == 0 {
        return "all zero".into();
    }
    for (n, m) in &m.groups {
        out.push(format!("{n}:{m}"));
    }
    if m.block != (1, 1) {
        out.push(format!("blocks of {} x {}", m.block.0, m.block.1));
    }
    if let Some(n) = m.near {
        out.push(format!("nearly blocks of {} x {} ({} full)", n.rows, n.cols, percent(n.fill)));
    }
    for (d, one, many) in [(&m.dead_rows, "row", "rows"), (&m.dead_cols, "column", "columns")] {
        if d.count > 0 {
            out.push(format!("{} dead {}", d.count, if d.count == 1 { one } else { many }));
        }
    }
    out.join(", ")
}

fn table(file: &WeightFile, tensors: &[(&spc_io::StoredTensor, Option<Zeros>)], whole: &[Whole]) -> String {
    use Align::{Left, Right};
    let columns =
        [("tensor", Left), ("type", Left), ("shape", Left), ("stored", Right), ("zeros", Right), ("pattern", Left)];
    let mut t = Table::new(columns);
    let share = |present: u64, all: u64| percent(1.0 - present as f64 / all.max(1) as f64);
    for (tensor, z) in tensors {
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        let mut words = z.as_ref().and_then(|z| Some(patterns(z, z.matrix.as_ref()?))).unwrap_or_default();
        if let Some(z) = z.as_ref().filter(|z| z.not_finite > 0) {
            let comma = if words.is_empty() { "" } else { ", " };
            words += &format!("{comma}{} NaN or infinite", z.not_finite);
        }
        t.row([
            tensor.name.clone(),
            tensor.dtype.to_string(),
            if shape.is_empty() { "one number".into() } else { shape.join(" x ") },
            bytes(tensor.end - tensor.start),
            z.as_ref().map_or_else(|| "not looked at".into(), |z| share(z.present, z.elements)),
            words,
        ]);
    }
    for w in whole {
        let e = &w.entry;
        let all = (e.rows as u64).saturating_mul(e.cols as u64);
        t.row([
            e.weight.clone(),
            "packed".to_string(),
            format!("{} x {}", e.rows, e.cols),
            bytes(w.stored),
            share(w.present, all),
            format!("{} (whole)", e.layout),
        ]);
    }
    let size: u64 = file.header().tensors().iter().map(|t| t.end - t.start).sum();
    let body = if t.is_empty() { String::new() } else { t.render() };
    format!("{body}{} tensors, {} packed, {} of data\n", tensors.len(), whole.len(), bytes(size))
}
