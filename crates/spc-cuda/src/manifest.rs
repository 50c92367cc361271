//! The part of an artefact's manifest that speaks of CUDA.
use crate::CudaModule;
use crate::nvrtc::Images;
use serde_json::{Map, Value, json};
use spc_base::Bug;

/// `kernels`, `images` and `host` as JSON. Without images (NVRTC not found, or not asked for) the list is empty. An
/// image's bytes are not part of it: it names the file that the caller writes them to.
///
/// # Errors
/// None for any module that `emit` made.
pub fn manifest(module: &CudaModule, images: Option<&Images>) -> Result<Map<String, Value>, Bug> {
    let bug = |e: serde_json::Error| Bug::new(format!("the CUDA manifest: {e}"));
    let list = images.map_or(&[][..], |i| &i.images);
    let images: Vec<Value> = list
        .iter()
        .map(|image| {
            json!({
                "file": image.file,
                "arch": image.arch,
                "kind": image.kind.name(),
                "ptx_version": image.ptx_version,
                "lowered_from": image.lowered_from,
                "toolchain": images.map(|i| &i.toolchain),
                "bytes": image.bytes.len(),
            })
        })
        .collect();
    let mut map = Map::new();
    map.insert("kernels".into(), serde_json::to_value(&module.kernels).map_err(bug)?);
    map.insert("images".into(), Value::Array(images));
    map.insert("host".into(), serde_json::to_value(&module.host).map_err(bug)?);
    Ok(map)
}
