//! Reading a compiled folder. Nothing in it is trusted: hashes, graphs, plans and packed arrays are all checked.
use super::{FORMAT, MANIFEST, Manifest, PLAN, PROGRAM, REMOVED, WEIGHTS, WHOLE};
use crate::build::plain_weights;
use crate::cut::{Removed, restore};
use crate::device::{self, DeviceChoice, Place};
use crate::failure::{Failure, Res};
use crate::lock::Plans;
use crate::packed;
use crate::plan::{PackedSet, Planned, linear_weights};
use crate::session::Session;
use crate::structure;
use crate::weights::{Weight, WeightSet};
use serde_json::Value;
use spc_base::{Bug, Diagnostic, codes};
use spc_cuda::nvrtc::{Image, ImageKind};
use spc_cuda::{Activations, CudaModule, EmitOptions, emit_with, without_lines};
use spc_io::{WeightFile, check_finite};
use spc_ir::{Graph, Op, Require};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Largest text file of a folder.
const TEXT_LIMIT: u64 = 256 << 20;

/// A compiled folder, checked.
#[derive(Debug)]
pub struct Loaded {
    pub functions: Vec<Planned>,
    pub plans: Plans,
    /// The functions before anything was removed from them, where something was, and what was removed.
    pub whole: Vec<Graph>,
    removed: BTreeMap<String, Removed>,
    pub packed: PackedSet,
    pub weights: WeightSet,
    /// Threads that its target asks for.
    pub threads: usize,
    pub manifest: Manifest,
    dir: PathBuf,
}

/// A folder being read; errors carry its path.
struct Reader<'a> {
    s: &'a Session<'a>,
    dir: &'a Path,
}

impl Reader<'_> {
    fn broken(&self, what: impl std::fmt::Display) -> Failure {
        Diagnostic::error(codes::ARTEFACT, format!("`{}`: {what}", self.dir.display())).into()
    }

    fn stale(&self, what: impl std::fmt::Display) -> Failure {
        Diagnostic::error(codes::STALE_PLAN, format!("`{}`: {what}", self.dir.display()))
            .help("compile it again with `spc compile`")
            .into()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A file of the folder; one that is missing makes the folder incomplete.
    fn text(&self, name: &str) -> Res<String> {
        let bytes = self.s.world.read(&self.path(name), TEXT_LIMIT).map_err(|d| self.broken(d.message))?;
        if bytes.len() as u64 > TEXT_LIMIT {
            return Err(self.broken(format!("`{name}` is too large")));
        }
        String::from_utf8(bytes).map_err(|_| self.broken(format!("`{name}` is not UTF-8 text")))
    }

    fn manifest(&self) -> Res<Manifest> {
        let text = self.text(MANIFEST)?;
        let format = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|v| v["format"].as_u64());
        match format {
            Some(f) if f == u64::from(FORMAT) => {}
            Some(f) => return Err(self.broken(format!("format {f}, this version reads {FORMAT}"))),
            None => return Err(self.broken(format!("`{MANIFEST}` is no manifest"))),
        }
        serde_json::from_str(&text).map_err(|e| self.broken(format!("`{MANIFEST}`: {e}")))
    }

    fn hashes(&self, m: &Manifest) -> Res<()> {
        for name in [PLAN, PROGRAM, WEIGHTS] {
            if !m.files.contains_key(name) {
                return Err(self.broken(format!("the manifest does not list `{name}`")));
            }
        }
        for (name, hash) in &m.files {
            let inside = !name.is_empty() && Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
            if !inside {
                return Err(self.broken(format!("the manifest names `{name}`, which lies outside the folder")));
            }
            let found = self.s.world.sha256(&self.path(name)).map_err(|d| self.broken(d.message))?;
            if found != *hash {
                return Err(self.broken(format!("`{name}` is not the file that was written: its SHA-256 differs")));
            }
        }
        Ok(())
    }

    fn graphs(&self, file: &str) -> Res<Vec<Graph>> {
        let text = self.text(file)?;
        let mut graphs = Vec::new();
        let mut start = 0;
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            at += line.len();
            if line.trim_end() == "}" {
                let part = text.get(start..at).unwrap_or_default();
                let g = Graph::parse(part).map_err(|e| self.broken(format!("`{file}`: {e}")))?;
                g.verify().map_err(|e| self.broken(format!("`{file}`: {}", e.0)))?;
                graphs.push(g);
                start = at;
            }
        }
        let rest = text.get(start..).unwrap_or_default();
        if graphs.is_empty() || !rest.trim().is_empty() {
            return Err(self.broken(format!("`{file}` is not whole")));
        }
        Ok(graphs)
    }

    fn functions(&self) -> Res<(Vec<Planned>, Plans)> {
        let graphs = self.graphs(PROGRAM)?;
        let plans = Plans::parse(&self.text(PLAN)?).map_err(|e| self.broken(format!("`{PLAN}`: {e}")))?;
        if plans.edited()? {
            return Err(self.stale(format!("`{PLAN}` was changed after it was written")));
        }
        if plans.functions.len() != graphs.len() {
            return Err(self.stale(format!("`{PLAN}` and `{PROGRAM}` do not belong together")));
        }
        let mut out: Vec<Planned> = Vec::new();
        for (graph, plan) in graphs.into_iter().zip(&plans.functions) {
            if plan.function != graph.name || out.iter().any(|f| f.graph.name == graph.name) {
                return Err(self.stale(format!("the plan of `{}` is not that of `{}`", plan.function, graph.name)));
            }
            plan.verify(&graph).map_err(|e| self.stale(e))?;
            out.push(Planned { graph, plan: plan.clone(), interp: false });
        }
        Ok((out, plans))
    }

    fn packed(&self, file: &WeightFile) -> Res<PackedSet> {
        if !file.header().metadata().contains_key(packed::LAYOUTS) {
            return Err(self.broken("the weights name no layouts"));
        }
        let mut out = PackedSet::new();
        for l in packed::entries(file.header()).map_err(|e| self.broken(e))? {
            let valid = packed::load(file, &l).map_err(|e| self.broken(e))?;
            out.insert((l.weight, valid.layout().to_string()), Arc::new(valid));
        }
        Ok(out)
    }

    /// Checks that every weight that a function reads is there, in its shape.
    fn complete(&self, f: &Planned, packed: &PackedSet, file: &WeightFile, weights: &mut WeightSet) -> Res<()> {
        let shapes = linear_weights(&f.graph).map_err(|b| self.broken(b.0))?;
        for l in &f.plan.linears {
            let found = packed.get(&(l.weight.clone(), l.layout.clone()));
            let found = found.ok_or_else(|| self.stale(format!("`{}` is not stored as {}", l.weight, l.layout)))?;
            if shapes.get(&l.weight) != Some(&(found.rows(), found.cols())) {
                return Err(self.stale(format!("`{}` has another shape than the program declares", l.weight)));
            }
        }
        let plain: BTreeSet<String> = plain_weights(&f.graph)?;
        for (name, node) in f.graph.weights() {
            if !plain.contains(&name) || weights.get(&name).is_some() {
                continue;
            }
            let Op::Weight { ty, .. } = &f.graph.node(node)?.op else { return Err(Bug::new("not a weight").into()) };
            let stored = file.header().get(&name).map_err(|d| self.broken(d.message))?;
            if ty.shape(&[]).as_ref() != Some(&stored.shape) {
                return Err(self.stale(format!("`{name}` has another shape than the program declares")));
            }
            let values = file.f32(&name).map_err(|d| self.broken(d.message))?;
            check_finite(&name, &stored.shape, &values).map_err(|d| self.broken(d.message))?;
            weights.insert(&name, Weight::new(stored.shape.clone(), values)?);
        }
        Ok(())
    }
}

impl Loaded {
    /// Reads a folder that `compile` wrote.
    ///
    /// # Errors
    /// SP0602 for a folder that is incomplete, damaged or of another format; SP0603 for parts that do not belong together.
    pub fn open(s: &Session<'_>, dir: &Path) -> Res<Loaded> {
        let r = Reader { s, dir };
        let manifest = r.manifest()?;
        r.hashes(&manifest)?;
        let (functions, plans) = r.functions()?;
        let file = s.world.weights(&r.path(WEIGHTS)).map_err(|d| r.broken(d.message))?;
        let packed = r.packed(&file)?;
        let mut weights = WeightSet::default();
        for f in &functions {
            r.complete(f, &packed, &file, &mut weights)?;
        }
        let threads = manifest.target.threads.clamp(1, 1024);
        let listed = manifest.files.contains_key(WHOLE);
        let whole = if listed { r.graphs(WHOLE)? } else { Vec::new() };
        let text = file.header().metadata().get(REMOVED);
        let removed: BTreeMap<String, Removed> = match text {
            Some(text) => {
                serde_json::from_str(text).map_err(|e| r.broken(format!("`{REMOVED}` of `{WEIGHTS}`: {e}")))?
            }
            None => BTreeMap::new(),
        };
        let merged = plans.functions.iter().flat_map(|p| &p.structure).any(|s| s.made.is_some());
        if whole.is_empty() == (merged || !removed.is_empty()) {
            return Err(r.broken(format!("`{WHOLE}` and `{REMOVED}` of `{WEIGHTS}` do not belong together")));
        }
        let dir = dir.to_path_buf();
        Ok(Loaded { functions, plans, whole, removed, packed, weights, threads, manifest, dir })
    }

    /// Where it runs: on a GPU if it was compiled for one, and there is one.
    ///
    /// # Errors
    /// SP0720 where a GPU is asked for and there is none that can be used.
    pub fn place(&self, s: &mut Session<'_>) -> Res<Place> {
        let cuda = self.manifest.target.kind == "cuda";
        if !cuda && s.options.device == DeviceChoice::Cuda {
            let text = format!("the folder was compiled for the CPU target `{}`", self.manifest.target.name);
            let d = Diagnostic::error(codes::DEVICE, text).help("compile it with `--target cuda`");
            return Err(d.into());
        }
        if cuda && let Some(mut gpu) = device::open(s, &self.manifest.target.name)? {
            for f in &self.functions {
                let name = &f.graph.name;
                let Some((text, images)) = self.images(s, name)? else { continue };
                // The folder does not say what activations its text takes: its text does.
                for activations in [Activations::Exact, Activations::Bf16] {
                    let module = emit_with(&f.graph, &f.plan, &EmitOptions { activations, ..EmitOptions::default() })?;
                    if module.text == text {
                        self.same_kernels(s, name, &module)?;
                        gpu.activations = activations;
                        break;
                    }
                }
                gpu.images.insert(name.clone(), (text, images));
            }
            return Ok(Place::Gpu(gpu));
        }
        Ok(Place::Cpu(s.cpu(self.threads)))
    }

    /// Whether the manifest lists the kernels of the text. Launches do not depend on it; a folder that says something else than
    /// it does was changed.
    fn same_kernels(&self, s: &Session<'_>, function: &str, module: &CudaModule) -> Res<()> {
        let bytes = s.world.read(&self.dir.join(MANIFEST), TEXT_LIMIT)?;
        let mut all: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let mut listed = all["kernels"].as_array_mut().map(std::mem::take).unwrap_or_default();
        listed.retain(|k| k["function"] == function);
        listed.iter_mut().filter_map(Value::as_object_mut).for_each(|k| drop(k.remove("function")));
        if spc_cuda::manifest(module, None)?.get("kernels") == Some(&Value::Array(listed)) {
            return Ok(());
        }
        let text =
            format!("`{}`: `{MANIFEST}` lists other kernels of `{function}` than `kernels.cu` has", self.dir.display());
        Err(Diagnostic::error(codes::ARTEFACT, text).into())
    }

    /// CUDA text of a function and the images in the folder.
    fn images(&self, s: &Session<'_>, function: &str) -> Res<Option<(String, Vec<Image>)>> {
        let folder = if self.functions.len() > 1 { format!("{function}/") } else { String::new() };
        let read = |name: &str| s.world.read(&self.dir.join(name), TEXT_LIMIT);
        let text = format!("{folder}kernels.cu");
        if !self.manifest.files.contains_key(&text) {
            return Ok(None);
        }
        let text = without_lines(&String::from_utf8_lossy(&read(&text)?));
        let mut images = Vec::new();
        for name in self.manifest.files.keys() {
            let Some(file) = name.strip_prefix(&folder).filter(|f| !f.contains('/')) else { continue };
            let (arch, kind) = match file.rsplit_once('.') {
                Some(("kernels", "ptx")) => ("compute_80".to_string(), ImageKind::Ptx),
                Some((arch, "ptx")) => (arch.to_string(), ImageKind::Ptx),
                Some((arch, "cubin")) => (arch.to_string(), ImageKind::Cubin),
                _ => continue,
            };
            let bytes = read(name)?;
            images.push(Image { arch, kind, file: file.into(), bytes, ptx_version: None, lowered_from: None });
        }
        Ok(Some((text, images)))
    }

    pub fn function(&self, name: &str) -> Result<&Planned, Bug> {
        self.functions.iter().find(|f| f.graph.name == name).ok_or_else(|| Bug::new(format!("no function `{name}`")))
    }

    /// Dense values of every weight: unpacked, or plain.
    pub fn dense_weights(&self) -> Result<WeightSet, Bug> {
        let mut out = self.weights.clone();
        for ((name, _), p) in &self.packed {
            if out.get(name).is_none() {
                let values = p.unpack().map_err(Bug::new)?;
                out.insert(name, Weight::new(vec![p.rows(), p.cols()], values.into())?);
            }
        }
        Ok(out)
    }

    /// All weights as they were before anything was removed.
    ///
    /// # Errors
    /// SP0602 where that does not fit what is there.
    pub fn restored(&self, dense: &WeightSet) -> Res<WeightSet> {
        let dense = &structure::restore(&self.plans.functions, dense)
            .map_err(|e| Diagnostic::error(codes::ARTEFACT, format!("what was merged of the weights: {e}")))?;
        let wrong = |e: String| Diagnostic::error(codes::ARTEFACT, format!("what was removed from the weights: {e}"));
        for g in &self.whole {
            for (name, node) in g.weights() {
                let Op::Weight { ty, .. } = &g.node(node)?.op else { continue };
                let small = dense.get(&name).map(|w| w.shape().to_vec());
                let found = self.removed.get(&name).map(|r| r.shape.clone()).or(small);
                if found.is_none() || ty.shape(&[]) != found {
                    return Err(wrong(format!("`{name}` has another shape than its graph declares")).into());
                }
            }
        }
        Ok(restore(&self.removed, dense).map_err(wrong)?)
    }

    /// The constraints that its functions carry, each once, in file order.
    pub fn requires(&self) -> Vec<Require> {
        let mut out: Vec<Require> = Vec::new();
        let graphs = self.functions.iter().map(|f| &f.graph).chain(&self.whole);
        for r in graphs.flat_map(|g| &g.requires) {
            if !out.contains(r) {
                out.push(r.clone());
            }
        }
        out.sort_by_key(|r| self.manifest.requires.iter().position(|m| m.name == r.name));
        out
    }
}
