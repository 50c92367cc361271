//! The training steps of a program in the folder of a GPU's target: text, images, and their part of the manifest.
use crate::check::Stage;
use crate::failure::{Failure, Res};
use crate::project::without_links;
use crate::session::Session;
use crate::train::GpuUpdates;
use serde_json::Value;
use spc_base::{Bug, Diagnostic, codes};
use spc_cuda::nvrtc::{self, DEFAULT_ARCHS, NvrtcError};
use spc_interp::method::{MethodError, Optimiser};
use spc_ir::DType;
use spc_ir::method::Does;
use spc_report::{Align, Table};
use spc_sema::{Module, Target, TargetKind};

/// Folder of the files: no function can be called so.
pub const FOLDER: &str = "training-steps";
/// Length of a run where nothing says it.
const USUAL_STEPS: u64 = 1000;

/// The run whose steps are compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Training {
    /// Without one, plain gradient descent.
    pub optimiser: Option<Optimiser>,
    /// Without it, that of the program's `train`, else 1000.
    pub steps: Option<u64>,
}

/// The f32 weights of a program and their shapes.
pub fn trained(module: &Module) -> Vec<(String, Vec<usize>)> {
    let all = module.models.iter().flat_map(|m| &m.tensors).filter(|t| t.dtype == DType::F32);
    let size = |d: &spc_ir::Dim| d.size.fixed().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    all.map(|t| (t.path.clone(), t.dims.iter().map(size).collect())).collect()
}

/// The steps of a program with updates or penalties, or why they have no form here; of others there is nothing to compile.
pub fn steps(module: &Module, what: &Training) -> Res<Option<Result<GpuUpdates, String>>> {
    let trains = |d: &Does| matches!(d, Does::Penalize { .. } | Does::Keep { update: Some(_), .. });
    if !module.rules.list.iter().any(|r| trains(&r.does)) || without_links(module).is_err() {
        return Ok(None);
    }
    let steps = what.steps.or(module.rules.steps).unwrap_or(USUAL_STEPS);
    let optimiser = what.optimiser.unwrap_or(Optimiser::SGD);
    match GpuUpdates::new(module.rules.clone(), optimiser, steps, &trained(module)) {
        Ok(u) => Ok(Some(Ok(u))),
        Err(e @ (MethodError::Bug(_) | MethodError::Step { .. })) => Err(e.into()),
        // Compiling for inference does not depend on it.
        Err(e) => Ok(Some(Err(format!("training steps stay on the host: {e}\n")))),
    }
}

/// Whether there is a use for the run that was asked for.
pub fn fits(target: &Target, what: &Training) -> Res<()> {
    if *what == Training::default() || target.kind == TargetKind::Cuda {
        return Ok(());
    }
    let text = format!("training steps are compiled for a GPU, and the target `{}` is a CPU", target.name);
    let help = "compile with `--target cuda`; `spc step` and `update_plan` of the API take steps on a CPU";
    Err(Failure::usage(Diagnostic::error(codes::ARGUMENT, text).help(help)))
}

/// Files by name, a member of the manifest, and lines for the person.
type Made = (Vec<(String, Vec<u8>)>, Value, String);

/// Text and images, by file name, what the manifest says under `training`, and lines for the person. Images as for functions.
pub fn files(s: &mut Session<'_>, updates: &GpuUpdates, build_images: bool, emit: &[Stage]) -> Res<Made> {
    let mut manifest = updates.manifest()?;
    let mut files = Vec::new();
    let mut images = Vec::new();
    if !updates.kernels().is_empty() {
        files.push((format!("{FOLDER}/{}", Stage::Cuda.file()), updates.module.text.clone().into_bytes()));
        let (ptx, cubin) = (emit.contains(&Stage::Ptx), emit.contains(&Stage::Cubin));
        let wanted = |a: &&str| ptx == cubin || a.starts_with("compute_") == ptx;
        let archs: Vec<&str> = DEFAULT_ARCHS.iter().copied().filter(wanted).collect();
        s.progress.step("compiling training steps", 0, 1);
        // Where NVRTC is missing the functions' text has said so.
        let built = if build_images { nvrtc::images(&updates.module.text, &archs).map_err(failed)? } else { None };
        for i in built.into_iter().flat_map(|b| b.images) {
            let file = format!("{FOLDER}/{}", i.file);
            images.push(serde_json::json!({"file": file, "arch": i.arch, "kind": i.kind.name()}));
            files.push((file, i.bytes));
        }
        s.progress.step("compiling training steps", 1, 1);
    }
    if let Value::Object(m) = &mut manifest {
        m.insert("images".into(), Value::Array(images));
    }
    Ok((files, manifest, notes(updates)))
}

fn failed(e: NvrtcError) -> Failure {
    if e.is_bug() { Bug::new(e.to_string()).into() } else { Diagnostic::error(codes::NO_IMAGES, e.to_string()).into() }
}

/// What was made, and which rules stay on the host.
fn notes(u: &GpuUpdates) -> String {
    let (weights, kernels) = (u.weights().count(), u.kernels().len());
    let mut out = format!("training steps on the GPU: {weights} weights, {kernels} CUDA kernels\n");
    if !u.left_out.is_empty() {
        let columns = [("rule on the host", Align::Left), ("weights", Align::Left), ("reason", Align::Left)];
        let mut t = Table::new(columns);
        for l in &u.left_out {
            t.row([l.rule.clone(), l.weights.join(", "), l.reason.clone()]);
        }
        out += &t.render();
    }
    if !u.observers.is_empty() {
        out += &format!("observers on the host: {}\n", u.observers.join(", "));
    }
    out
}
