//! `spc lsp`: the language server with the files of this machine.
use spc::driver::{DiskWorld, World, own_sources};
use spc_lsp::{Diagnostic, Host, LibrarySource, Stored};
use std::path::{Path, PathBuf};

/// Files of this machine. Pages for editors to open lie in a cache folder of the user, one for each version of spc.
pub struct Files {
    world: DiskWorld,
    /// Modules instead of the embedded ones, by their whole paths.
    library: Vec<LibrarySource>,
}

/// Serves an editor over standard input and output. Exit code 0 when the editor ended the session in order, else 1.
///
/// # Errors
/// The folder of library modules cannot be read.
pub fn serve(std: Option<&Path>) -> Result<u8, Diagnostic> {
    let world = DiskWorld::default();
    let library = match std {
        Some(folder) => own_sources(&world, &std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf()))?,
        None => Vec::new(),
    };
    Ok(u8::from(!spc_lsp::serve(&Files { world, library }).unwrap_or(false)))
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

    fn own_library(&self) -> Vec<LibrarySource> {
        self.library.clone()
    }

    fn page(&self, name: &str, text: &str) -> Option<PathBuf> {
        if self.library.iter().any(|f| f.path == name) {
            return Some(name.into());
        }
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
