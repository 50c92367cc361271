//! `spc permute`: the same model with the positions of its inner axes in an order in which its constraints keep more.
//!
//! Every weight that carries an axis is reordered alike (its coupled set), so the functions compute what they computed, up to
//! the order of sums, and nothing has to be moved when they run.
mod apply;
mod terms;

use crate::bind;
use crate::export::{choose, weight_file_of};
use crate::failure::Res;
use crate::load::load_file;
use crate::run::Done;
use crate::session::Session;
use crate::weights::WeightSet;
use serde_json::json;
use spc_base::{Diagnostic, codes};
use spc_io::{Safetensors, Stored, Values};
use spc_ir::Graph;
use spc_layout::permute::{Effort, Order, best_order};
use spc_report::{Align, Table, percent};
use spc_sema::AxisOrder;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What to reorder, and where to write it.
#[derive(Clone, Debug)]
pub struct Permute {
    pub out: PathBuf,
    pub model: Option<String>,
    pub json: bool,
    /// Most rounds of the search for each axis.
    pub rounds: usize,
}

/// Less than this more is not worth another order.
const WORTH: f64 = 1e-4;

/// An axis that was searched.
struct Searched {
    axis: AxisOrder,
    group: u64,
    requires: Vec<String>,
    order: Order,
}

/// Writes the model's weight file with its axes reordered: the same names, types, shapes and metadata. The constraints are
/// not applied. The file is read back and compared, element by element.
///
/// # Errors
/// As `export`; SP0307 as a warning where no order keeps more.
pub fn permute_file(s: &mut Session<'_>, path: &Path, what: &Permute) -> Res<Done> {
    let source = load_file(s, path)?;
    let model = choose(&source, what.model.as_deref())?;
    let file = weight_file_of(s, &source, model, path, &[&what.out])?;
    let weights = bind::weights(s, &source, &WeightSet::default())?;
    // All that can be called from outside must stay what it is.
    let (inner, named) = (spc_sema::called(&source.module.ast), source.functions(&[])?);
    let outer = source.module.entries.iter().filter(|f| named.contains(f) || !inner.contains(f.as_str()));
    let graphs: Vec<&Graph> = outer.map(|f| source.graph(f)).collect::<Res<_>>()?;
    let orders = spc_sema::axis_orders(&source.module, &graphs)?;

    let shared = stored_twice(model);
    let (mut done, mut left) = (Vec::new(), Vec::new());
    let wanted = terms::wanted(&source.module, &mut left);
    for (axis, groups) in terms::by_axis(&wanted, &orders, &mut left) {
        let outside = axis.members.iter().find(|m| model.tensors.iter().all(|t| t.path != m.weight));
        let twice = axis.members.iter().find(|m| shared.contains(m.weight.as_str()));
        let why = match (axis.against.first(), outside, twice) {
            (Some(why), ..) => Some(why.text.clone()),
            (None, Some(m), _) => Some(format!("`{}` of another model carries `{}` too", m.weight, axis.name)),
            (None, None, Some(m)) => Some(format!("`{}` is stored once for several weights", m.weight)),
            (None, None, None) => None,
        };
        if let Some(why) = why {
            left.extend(groups.iter().map(|(w, _)| (w.require.clone(), w.weight.clone(), why.clone())));
            continue;
        }
        done.push((axis, groups));
    }
    let total = done.len() as u64;
    let mut searched = Vec::new();
    for (i, (axis, groups)) in (0u64..).zip(done) {
        s.progress.step("searching", i, total);
        let group = terms::common_group(&groups);
        let (these, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(w, _)| w.group == group);
        let size = format!("groups of {group} along `{}` weigh more", axis.name);
        left.extend(others.iter().map(|(w, _)| (w.require.clone(), w.weight.clone(), size.clone())));
        let scores: Vec<_> = these.iter().map(|(w, p)| w.term(p, axis.size, &weights)).collect::<Res<_>>()?;
        let effort = Effort { rounds: what.rounds, ..Effort::default() };
        let order = best_order(axis.size as usize, group as usize, &scores, effort)?;
        let requires: BTreeSet<String> = these.iter().map(|(w, _)| w.require.clone()).collect();
        searched.push(Searched { axis: axis.clone(), group, requires: requires.into_iter().collect(), order });
    }
    s.progress.step("searching", total, total);

    let original = s.world.weights(&file)?;
    let mut changed: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for found in searched.iter().filter(|f| f.order.gain() > WORTH) {
        for m in &found.axis.members {
            let Some(t) = model.tensors.iter().find(|t| t.path == m.weight) else { continue };
            let name = if t.stored.is_empty() { &t.path } else { &t.stored };
            let bytes = match changed.remove(name) {
                Some(b) => b,
                None => original.bytes(name)?.to_vec(),
            };
            let shape = &original.header().get(name)?.shape;
            changed.insert(name.clone(), apply::reorder(bytes, shape, &m.places, &found.order.order)?);
        }
    }
    if changed.is_empty() {
        let d = Diagnostic::warning(codes::REMOVED_NOTHING, "no other order of an axis keeps more");
        s.warn(d.note("the file is written as it was"));
    }
    let declared: BTreeSet<&str> =
        model.tensors.iter().map(|t| if t.stored.is_empty() { t.path.as_str() } else { t.stored.as_str() }).collect();
    let stored = original.header().tensors();
    let unknown = stored.iter().filter(|t| !declared.contains(t.name.as_str())).count();
    let mut tensors = Vec::new();
    for t in stored {
        let bytes = match changed.get(&t.name) {
            Some(new) => new.as_slice(),
            None => original.bytes(&t.name)?,
        };
        tensors.push(Stored { name: &t.name, shape: &t.shape, values: Values::Raw(t.dtype, bytes) });
    }
    s.world.write_safetensors(&what.out, &Safetensors::new(&tensors, original.header().metadata(), 8)?)?;
    let written = s.world.weights(&what.out)?;
    for t in &tensors {
        if let Values::Raw(_, bytes) = t.values
            && written.bytes(t.name)? != bytes
        {
            return Err(spc_base::Bug::new(format!("`{}` was not written as it is", t.name)).into());
        }
    }
    Ok(report(&searched, &left, unknown, changed.len(), what).into())
}

/// Weights whose tensor in the file another weight is stored as, too.
fn stored_twice(model: &spc_sema::Model) -> BTreeSet<&str> {
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for t in model.tensors.iter().filter(|t| !t.stored.is_empty()) {
        by_name.entry(&t.stored).or_default().push(&t.path);
    }
    by_name.into_values().filter(|v| v.len() > 1).flatten().collect()
}

fn report(
    searched: &[Searched],
    left: &[(String, String, String)],
    unknown: usize,
    changed: usize,
    what: &Permute,
) -> String {
    if what.json {
        let axes = searched.iter().map(|f| {
            json!({
                "axis": f.axis.name, "size": f.axis.size, "group": f.group, "requires": f.requires,
                "members": f.axis.texts, "kept_before": f.order.before, "kept_after": f.order.after,
                "all": f.order.all, "rounds": f.order.rounds,
                "order": if f.order.gain() > WORTH { json!(f.order.order) } else { json!(null) },
            })
        });
        let left = left.iter().map(|(r, w, why)| json!({ "require": r, "weight": w, "why": why }));
        let out = json!({
            "file": what.out.display().to_string(), "tensors": changed, "undeclared": unknown,
            "axes": axes.collect::<Vec<_>>(), "left": left.collect::<Vec<_>>(),
        });
        return format!("{out:#}\n");
    }
    let columns = [("axis", Align::Left), ("carried by", Align::Left), ("for", Align::Left)];
    let numbers = ["kept before", "kept after", "gain"].map(|c| (c, Align::Right));
    let mut table = Table::new(columns.into_iter().chain(numbers));
    for f in searched {
        let share = |kept: f64| if f.order.all > 0.0 { percent(kept / f.order.all) } else { percent(1.0) };
        let gain = match f.order.gain() {
            g if g > WORTH => format!("{:.2} %", g * 100.0),
            _ => "none, left as it is".to_string(),
        };
        let (first, more) = (f.axis.texts.first().cloned().unwrap_or_default(), f.axis.texts.len() - 1);
        let carried = if more > 0 { format!("{first} and {more} more") } else { first };
        table.row([
            format!("{} = {}", f.axis.name, f.axis.size),
            carried,
            f.requires.join(", "),
            share(f.order.before),
            share(f.order.after),
            gain,
        ]);
    }
    let mut out = if table.is_empty() { String::new() } else { format!("{}\n", table.render()) };
    let mut alike: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (require, weight, why) in left {
        alike.entry((require, why)).or_default().push(weight);
    }
    for ((require, why), weights) in alike {
        let what = match weights.as_slice() {
            [one] => format!("{one} stays as it is"),
            all => format!("{} and {} more stay as they are", all.first().unwrap_or(&""), all.len() - 1),
        };
        out += &format!("{require}: {what}: {why}\n");
    }
    if unknown > 0 {
        out += &format!("tensors of the file that the program does not declare stay as they are: {unknown}\n");
    }
    out + &format!("wrote {}, tensors reordered: {changed}; the functions compute what they did\n", what.out.display())
}
