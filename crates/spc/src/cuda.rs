//! CUDA text, images and their part of the manifest.
use crate::build::Build;
use crate::check::Stage;
use crate::failure::{Failure, Res};
use crate::session::Session;
use serde_json::{Map, Value};
use spc_base::{Bug, Diagnostic, codes};
use spc_cuda::nvrtc::{self, DEFAULT_ARCHS, NvrtcError};
use spc_cuda::{CudaModule, EmitOptions, emit_with};
use spc_report::{Align, Table};
use spc_sema::{Target, TargetKind};
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the text in an output folder.
const TEXT: &str = "kernels.cu";

/// Files of one function lie in a folder of its name where there are several functions.
fn place(b: &Build, function: &str, file: &str) -> String {
    if b.functions.len() > 1 { format!("{function}/{file}") } else { file.to_string() }
}

/// The module of each function, its kernels attributed to the lines of the program.
fn modules(s: &Session<'_>, b: &Build) -> Res<Vec<(String, CudaModule)>> {
    let mut out = Vec::new();
    for f in &b.functions {
        let mut module = emit_with(
            &f.graph,
            &f.plan,
            &EmitOptions { activations: s.options.activations, ..EmitOptions::default() },
        )?;
        module.text = module.text_with_lines(&|node| {
            let place = s.sources.place(f.graph.sources.get(&node)?.site)?;
            let file = Path::new(place.path).file_name()?.to_str()?;
            Some((file.to_string(), place.line))
        });
        out.push((f.graph.name.clone(), module));
    }
    Ok(out)
}

/// The text of every function, by file name.
pub fn texts(s: &Session<'_>, b: &Build) -> Res<Vec<(String, String)>> {
    Ok(modules(s, b)?.into_iter().map(|(name, m)| (place(b, &name, TEXT), m.text)).collect())
}

/// Whether stages of a GPU can be had: of a GPU's target, and what is no text in a folder.
pub fn fits(target: &Target, emit: &[Stage], folder: bool) -> Res<()> {
    for stage in emit.iter().filter(|e| matches!(e, Stage::Ptx | Stage::Cubin)) {
        let name = stage.name();
        let d = if target.kind != TargetKind::Cuda {
            let text = format!("`{name}` is code of a GPU, and the target `{}` is a CPU", target.name);
            Diagnostic::error(codes::ARGUMENT, text).help("compile with `--target cuda`")
        } else if *stage == Stage::Cubin && !folder {
            let text = format!("`{name}` is not text: it needs a folder to be written to");
            Diagnostic::error(codes::ARGUMENT, text).help("name one with `-o DIR`")
        } else {
            continue;
        };
        return Err(Failure::usage(d));
    }
    Ok(())
}

/// The PTX of every function, by file name.
pub fn ptx(s: &Session<'_>, b: &Build) -> Res<Vec<(String, String)>> {
    let mut out = Vec::new();
    for (name, module) in modules(s, b)? {
        let built = nvrtc::images(&module.text, &["compute_80"]).map_err(|e| failed(b, e))?;
        let Some(image) = built.and_then(|i| i.images.into_iter().next()) else {
            let text = "there is no PTX, because NVRTC was not found";
            return Err(Diagnostic::error(codes::NO_IMAGES, text).help(nvrtc::NOT_FOUND_HELP).into());
        };
        out.push((place(b, &name, &image.file), String::from_utf8_lossy(&image.bytes).into_owned()));
    }
    Ok(out)
}

/// Files by name, members of the manifest, and lines for the person.
pub type Images = (Vec<(String, Vec<u8>)>, Map<String, Value>, String);

/// Text and images of every function, what the manifest says of them, and the operators that stay on the host. Images are
/// built only when they will be written; those that `emit` asks for, or all where it asks for none. Without NVRTC the
/// warning SP0604 is given.
pub fn images(s: &mut Session<'_>, b: &Build, build_images: bool, emit: &[Stage]) -> Res<Images> {
    let all = modules(s, b)?;
    let mut archs: Vec<&str> = DEFAULT_ARCHS.to_vec();
    if let Some(a) = b.target.arch.as_deref().filter(|a| !DEFAULT_ARCHS.contains(a)) {
        archs.push(a);
    }
    for own in all.iter().flat_map(|(_, m)| m.own_archs()) {
        if !archs.contains(&own) {
            archs.push(own);
        }
    }
    let (ptx, cubin) = (emit.contains(&Stage::Ptx), emit.contains(&Stage::Cubin));
    if ptx != cubin {
        archs.retain(|a| a.starts_with("compute_") == ptx);
    }
    let (mut files, mut manifest, mut notes) = (Vec::new(), Map::new(), String::new());
    let total = all.len() as u64;
    for (done, (name, module)) in (0u64..).zip(&all) {
        files.push((place(b, name, TEXT), module.text.clone().into_bytes()));
        s.progress.step("compiling CUDA", done, total);
        let built = if build_images { nvrtc::images(&module.text, &archs).map_err(|e| failed(b, e))? } else { None };
        if build_images && built.is_none() && done == 0 {
            let text =
                "no CUDA images were built, because NVRTC was not found: only text and packed weights are written";
            if s.options.require_images {
                return Err(Diagnostic::error(codes::NO_IMAGES, text).help(nvrtc::NOT_FOUND_HELP).into());
            }
            s.warn(Diagnostic::warning(codes::NO_IMAGES, text).help(nvrtc::NOT_FOUND_HELP));
        }
        for i in built.iter().flat_map(|i| &i.images) {
            files.push((place(b, name, &i.file), i.bytes.clone()));
        }
        for (key, mut list) in spc_cuda::manifest(module, built.as_ref())? {
            for entry in list.as_array_mut().into_iter().flatten() {
                annotate(b, name, entry);
            }
            append(&mut manifest, key, list);
        }
        notes += &host(name, module);
    }
    s.progress.step("compiling CUDA", total, total);
    Ok((files, manifest, notes))
}

/// Says whose an entry is, and where its file lies.
fn annotate(b: &Build, function: &str, entry: &mut Value) {
    if let Value::Object(map) = entry {
        map.insert("function".into(), function.into());
        if let Some(Value::String(file)) = map.get_mut("file") {
            *file = place(b, function, file);
        }
    }
}

fn append(manifest: &mut Map<String, Value>, key: String, list: Value) {
    match (manifest.get_mut(&key), list) {
        (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
        (_, list) => {
            manifest.insert(key, list);
        }
    }
}

/// Operators without a kernel, by reason.
fn host(function: &str, module: &CudaModule) -> String {
    if module.host.is_empty() {
        return String::new();
    }
    let mut by_reason: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for h in &module.host {
        *by_reason.entry((&h.op, &h.reason)).or_default() += 1;
    }
    let mut t = Table::new([("on the host", Align::Left), ("count", Align::Right), ("reason", Align::Left)]);
    for ((op, reason), count) in by_reason {
        t.row([op.to_string(), count.to_string(), reason.to_string()]);
    }
    format!("{function}: {} CUDA kernels\n{}", module.kernels.len(), t.render())
}

fn failed(b: &Build, e: NvrtcError) -> Failure {
    if e.is_bug() {
        return Bug::new(e.to_string()).into();
    }
    match &e {
        NvrtcError::Arch(_) => {
            let d = Diagnostic::error(codes::TARGET, e.to_string());
            if b.target.arch.is_some() { d.at(b.target.span, "in this target").into() } else { d.into() }
        }
        _ => Diagnostic::error(codes::NO_IMAGES, e.to_string()).into(),
    }
}
