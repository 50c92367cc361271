//! Writing a compiled folder. It appears whole or not at all.
use super::{
    FORMAT, MANIFEST, Manifest, PLAN, PROGRAM, REMOVED, StoredFunction, StoredPort, StoredRequire, StoredTarget,
    WEIGHTS, WHOLE,
};
use crate::build::Build;
use crate::cut::Removed;
use crate::failure::Res;
use crate::fold;
use crate::lock::{Plans, kind_word};
use crate::packed::StoredLayout;
use crate::plan::optimise;
use crate::session::Session;
use serde_json::{Map, Value};
use spc_base::Bug;
use spc_formats::Array;
use spc_io::{Safetensors, Stored, Values};
use spc_ir::structure::Recipe;
use spc_ir::{Graph, NodeId, Require};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// More files and more members of the manifest, for images.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    pub files: Vec<(String, Vec<u8>)>,
    pub manifest: Map<String, Value>,
}

fn json_bug(e: serde_json::Error) -> Bug {
    Bug::new(format!("cannot be written as JSON: {e}"))
}

/// Writes `out`. `requires` are the constraints of the program, which were checked on the packed weights.
pub fn write(s: &Session<'_>, build: &Build, requires: &[Require], extra: Extra, out: &Path) -> Res<()> {
    let ours = |old: &Path| -> bool {
        let bytes = s.world.read(&old.join(MANIFEST), 64 << 20).unwrap_or_default();
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return false };
        // A file that somebody put there is not ours to remove.
        let known = |f: &std::path::PathBuf| {
            f.as_os_str() == MANIFEST || f.to_str().is_some_and(|f| manifest.files.contains_key(f))
        };
        s.world.files(old, 1 << 16).is_some_and(|files| files.iter().all(known))
    };
    let folder = s.world.create(out, &ours)?;
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut texts: Vec<(String, Vec<u8>)> = Vec::new();

    texts.push((PLAN.into(), Plans::of(&build.target, &build.functions)?.text()?.into_bytes()));
    let program: String = build.functions.iter().map(|f| f.graph.to_string()).collect();
    texts.push((PROGRAM.into(), program.into_bytes()));
    // Products are stored, not their factors: the graphs to compare with read them, too.
    let whole = {
        let one = |g: &Graph| -> Res<Graph> {
            let plan = build.functions.iter().find(|f| f.graph.name == g.name).map(|f| &f.plan);
            let steps = plan.map(|p| p.structure.as_slice()).unwrap_or_default();
            if !steps.iter().any(|s| s.made.is_some() && s.how.as_ref().is_some_and(Recipe::computes)) {
                return Ok(g.clone());
            }
            let folded = fold::apply(&optimise(s, g)?, steps)?;
            Ok(folded.map_err(|s| Bug::new(format!("{} cannot be taken again", s.rule)))?)
        };
        build.whole.iter().map(one).collect::<Res<Vec<Graph>>>()?
    };
    if !whole.is_empty() {
        let text: String = whole.iter().map(Graph::to_string).collect();
        texts.push((WHOLE.into(), text.into_bytes()));
    }
    texts.extend(extra.files);
    for (name, bytes) in &texts {
        folder.bytes(name, bytes)?;
        files.insert(name.clone(), spc_io::sha256_hex(bytes));
    }

    s.progress.step("writing weights", 0, 1);
    weights(build, &whole, |file| folder.file(WEIGHTS, |to| file.write(to)).map_err(Into::into))?;
    files.insert(WEIGHTS.into(), s.world.sha256(&folder.path().join(WEIGHTS))?);
    s.progress.step("writing weights", 1, 1);

    let manifest = Manifest {
        format: FORMAT,
        spc: env!("CARGO_PKG_VERSION").into(),
        target: StoredTarget {
            name: build.target.name.clone(),
            kind: kind_word(build.target.kind).into(),
            threads: build.target.threads,
            arch: build.target.arch.clone(),
        },
        functions: build.functions.iter().map(|f| ports(&f.graph)).collect::<Result<_, Bug>>()?,
        requires: requires.iter().map(|r| stored_require(r, build)).collect(),
        files,
    };
    let mut value = match serde_json::to_value(&manifest).map_err(json_bug)? {
        Value::Object(map) => map,
        _ => return Err(Bug::new("a manifest that is no object").into()),
    };
    for (name, member) in extra.manifest {
        value.entry(name).or_insert(member);
    }
    folder.bytes(MANIFEST, &pretty(&value)?)?;
    Ok(folder.commit()?)
}

fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>, Bug> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(json_bug)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn ports(g: &Graph) -> Result<StoredFunction, Bug> {
    let port = |(name, n): (String, NodeId)| Ok(StoredPort { name, ty: g.type_text(g.ty(n)?) });
    Ok(StoredFunction {
        name: g.name.clone(),
        inputs: g.named_inputs().into_iter().map(port).collect::<Result<_, Bug>>()?,
        outputs: g.outputs.iter().cloned().map(port).collect::<Result<_, Bug>>()?,
    })
}

fn stored_require(r: &Require, build: &Build) -> StoredRequire {
    let mine = build.projected.iter().filter(|p| p.require == r.name);
    StoredRequire {
        name: r.name.clone(),
        weights: r.weights().into_iter().map(Into::into).collect(),
        sentences: mine.map(|p| [p.groups, p.kept, p.zeroed]).collect(),
        holds: true,
    }
}

/// What was left out of each weight that the graphs to compare with read: products stand in the place of their factors, and have
/// lost what those have.
fn removed(build: &Build, whole: &[Graph]) -> BTreeMap<String, Removed> {
    let read: BTreeSet<String> = whole.iter().flat_map(Graph::weights).map(|(name, _)| name).collect();
    let mut out = build.removed.clone();
    let steps = build.functions.iter().flat_map(|f| &f.plan.structure);
    for step in steps.filter(|s| s.how.as_ref().is_some_and(Recipe::computes)) {
        let (Some(made), Some(first)) = (&step.made, step.from.first()) else { continue };
        let lost = out.get(first).map(|r| match &step.how {
            Some(Recipe::Shift { .. }) => r.of_rows(),
            _ => r.clone(),
        });
        // A bias lies along the rows alone.
        if let Some(r) = lost.filter(|r| r.kept.iter().any(Option::is_some)) {
            out.insert(made.clone(), r);
        }
    }
    out.retain(|name, _| read.contains(name));
    out
}

/// Lays out packed and plain weights, and hands the file to `to`.
fn weights(build: &Build, whole: &[Graph], to: impl FnOnce(&Safetensors<'_>) -> Res<()>) -> Res<()> {
    let mut layouts: Vec<StoredLayout> = Vec::new();
    for ((weight, layout), p) in &build.packed {
        // A weight that two functions hold in two layouts has its second one under a longer name.
        let again = layouts.iter().any(|l| l.weight == *weight);
        let prefix = if again { format!("{weight}.{layout}") } else { weight.clone() };
        let (weight, layout) = (weight.clone(), layout.clone());
        layouts.push(StoredLayout { weight, layout, rows: p.rows(), cols: p.cols(), prefix });
    }
    let mut arrays: Vec<(String, Vec<usize>, Values<'_>)> = Vec::new();
    for (l, p) in layouts.iter().zip(build.packed.values()) {
        for (name, array) in &p.packed().arrays {
            let values = match array {
                Array::F32(v) => Values::F32(v),
                Array::U32(v) => Values::U32(v),
                Array::U8(v) => Values::U8(v),
            };
            arrays.push((format!("{}.{name}", l.prefix), vec![array.len()], values));
        }
    }
    for name in build.plain()? {
        let w = build.weights.want(&name)?;
        arrays.push((name, w.shape().to_vec(), Values::F32(w.values())));
    }
    let tensors: Vec<Stored<'_>> =
        arrays.iter().map(|(name, shape, values)| Stored { name, shape, values: *values }).collect();
    let text = serde_json::to_string(&layouts).map_err(json_bug)?;
    let mut metadata = BTreeMap::from([("format".into(), FORMAT.to_string()), ("layouts".into(), text)]);
    let removed = removed(build, whole);
    if !removed.is_empty() {
        metadata.insert(REMOVED.into(), serde_json::to_string(&removed).map_err(json_bug)?);
    }
    to(&Safetensors::new(&tensors, &metadata, 64)?)
}
