//! Where NVRTC may be.
use super::NvrtcError;
use super::library::Nvrtc;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const NAMES: [&str; 2] = ["libnvrtc.so.13", "libnvrtc.so.12"];

/// Files to try for NVRTC, in order.
///
/// 1. `SPC_NVRTC`, a file: the only one tried where it is set.
/// 2. `SPC_CUDA_HOME`, `CUDA_HOME`, `CUDA_PATH`: their `lib64`, `lib` and `targets/x86_64-linux/lib`.
/// 3. `nvidia/cu13/lib` and `nvidia/cuda_nvrtc/lib` in the packages of the active Python environment (`VIRTUAL_ENV`,
///    `CONDA_PREFIX`).
/// 4. `lib64` and `lib` beside the folder of `nvcc` on `PATH`.
/// 5. The loader's own path, by bare name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The value of `SPC_NVRTC`.
    pub explicit: Option<PathBuf>,
    /// Files of steps 2 to 4 that exist.
    pub files: Vec<PathBuf>,
    /// Whether step 5 is taken.
    pub loader: bool,
}

impl Search {
    /// The search that the process's environment asks for.
    pub fn from_env() -> Search {
        Search { loader: true, ..Search::new(&|name| std::env::var_os(name)) }
    }

    /// The search for an environment given as a function, without the loader's path.
    pub fn new(var: &dyn Fn(&str) -> Option<OsString>) -> Search {
        let var = |name: &str| var(name).filter(|v| !v.is_empty());
        if let Some(file) = var("SPC_NVRTC") {
            return Search { explicit: Some(file.into()), files: Vec::new(), loader: false };
        }
        let mut folders = Vec::new();
        for home in ["SPC_CUDA_HOME", "CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(&var) {
            folders.extend(["lib64", "lib", "targets/x86_64-linux/lib"].map(|sub| Path::new(&home).join(sub)));
        }
        for environment in ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(&var) {
            for packages in packages(Path::new(&environment)) {
                folders.extend(["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"].map(|sub| packages.join(sub)));
            }
        }
        let path = var("PATH").unwrap_or_default();
        if let Some(bin) = std::env::split_paths(&path).find(|dir| dir.join("nvcc").is_file()) {
            folders.extend(["../lib64", "../lib"].map(|sub| bin.join(sub)));
        }
        let files = folders.iter().flat_map(|dir| NAMES.map(|name| dir.join(name))).filter(|f| f.is_file());
        Search { explicit: None, files: files.collect(), loader: false }
    }

    /// Opens the first NVRTC that can be used. A file of steps 2 to 5 that cannot is passed over.
    pub(super) fn open(&self) -> Result<Option<Nvrtc>, NvrtcError> {
        if let Some(path) = &self.explicit {
            let unusable = |why| NvrtcError::Unusable { path: path.clone(), why };
            if !path.is_file() {
                return Err(unusable("there is no such file".into()));
            }
            // Only a path with a slash is opened as a file.
            let file = std::path::absolute(path).map_err(|e| unusable(e.to_string()))?;
            return Nvrtc::open(&file).map(Some).map_err(unusable);
        }
        let bare = NAMES.map(PathBuf::from);
        let loader = if self.loader { &bare[..] } else { &[] };
        Ok(self.files.iter().chain(loader).find_map(|file| Nvrtc::open(file).ok()))
    }
}

/// The package folders of a Python environment, `lib/python3.N/site-packages`, by name.
fn packages(environment: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(environment.join("lib")) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    found.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python3")));
    found.sort();
    found.into_iter().map(|p| p.join("site-packages")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_order_is_kept_and_a_named_file_excludes_the_rest() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            file
        };
        let path = make("tool/lib/libnvrtc.so.12");
        make("tool/bin/nvcc");
        let python = make("venv/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13");
        let home = make("cuda/targets/x86_64-linux/lib/libnvrtc.so.13");
        let own = make("own/lib64/libnvrtc.so.13");
        let vars = |named: bool| {
            let root = root.path().to_path_buf();
            move |name: &str| -> Option<OsString> {
                Some(match name {
                    "SPC_NVRTC" if named => "/x/libnvrtc.so.13".into(),
                    "SPC_CUDA_HOME" => root.join("own").into(),
                    "CUDA_HOME" => root.join("cuda").into(),
                    "CUDA_PATH" => "".into(),
                    "VIRTUAL_ENV" => root.join("venv").into(),
                    "PATH" => std::env::join_paths([root.join("other"), root.join("tool/bin")]).unwrap(),
                    _ => return None,
                })
            }
        };
        let found = Search::new(&vars(false));
        let real = |p: &PathBuf| fs::canonicalize(p).unwrap();
        assert_eq!(
            found.files.iter().map(real).collect::<Vec<_>>(),
            [own, home, python, path].iter().map(real).collect::<Vec<_>>()
        );
        // Empty files are no libraries: they are passed over, and nothing is found.
        assert!(found.open().unwrap().is_none());
        let named = Search::new(&vars(true));
        assert_eq!((named.explicit, named.files.len()), (Some("/x/libnvrtc.so.13".into()), 0));
    }
}
