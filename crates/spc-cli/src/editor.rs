//! `spc lsp`: the language server with the files of this machine.
use spc::driver::{DiskWorld, World};
use spc_lsp::{Diagnostic, Host, Stored};
use std::path::{Path, PathBuf};

/// Files of this machine. Pages for editors to open lie in a cache folder of the user, one for each version of spc.
pub struct Files {
    world: DiskWorld,
}

/// Serves an editor over standard input and output. Exit code 0 when the editor ended the session in order, else 1.
pub fn serve() -> u8 {
    let files = Files { world: DiskWorld::default() };
    u8::from(!spc_lsp::serve(&files).unwrap_or(false))
}

/// Where pages are kept.
fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME")
        .or_else(|| set("LOCALAPPDATA"))
        .or_else(|| set("HOME").map(|h| h.join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    base.join("spc").join(env!("CARGO_PKG_VERSION"))
}

impl Host for Files {
    fn stored(&self, path: &Path) -> Option<Result<Vec<Stored>, Diagnostic>> {
        let tensors = self.world.header(path).map(|header| {
            let list = header.tensors().iter();
            list.map(|t| Stored {
                name: t.name.clone(),
                dtype: t.dtype.to_string(),
                shape: t.shape.iter().map(|n| *n as u64).collect(),
            })
            .collect()
        });
        Some(tensors)
    }

    fn page(&self, name: &str, text: &str) -> Option<PathBuf> {
        let path = cache().join(name);
        let limit = text.len() as u64;
        if self.world.read(&path, limit).is_ok_and(|old| old == text.as_bytes()) {
            return Some(path);
        }
        std::fs::create_dir_all(path.parent()?).ok()?;
        self.world.write(&path, text.as_bytes()).ok()?;
        Some(path)
    }
}
