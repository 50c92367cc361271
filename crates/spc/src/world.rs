//! Everything outside the process: files and the clock. The driver reaches them through [`World`] only.
use spc_base::{Diagnostic, codes};
use spc_io::{Folder, Header, Npz, Safetensors, Table, Tensor, Tokenizer, WeightFile};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the driver needs of the outside.
///
/// Reading errors are SP0401 (the file is not there or cannot be read), SP0402 (malformed), SP0408 (does not fit its
/// declaration) and SP0410 (tokenizers); writing errors are SP0409. A failed write leaves nothing behind.
pub trait World {
    /// Whether there is a folder of this name.
    fn is_folder(&self, path: &Path) -> bool;
    /// Whether there is a file of this name.
    fn is_file(&self, path: &Path) -> bool;
    /// Whether both paths lead to one file.
    fn same_file(&self, a: &Path, b: &Path) -> bool;
    /// Relative paths of all files in a folder and the folders in it, links not followed; `None` where they cannot be
    /// listed or are more than `limit`.
    fn files(&self, folder: &Path, limit: usize) -> Option<Vec<PathBuf>>;
    /// The bytes of a file, of at most `limit` bytes; of a larger one, `limit + 1` bytes.
    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, Diagnostic>;
    fn header(&self, path: &Path) -> Result<Header, Diagnostic>;
    fn weights(&self, path: &Path) -> Result<WeightFile, Diagnostic>;
    fn csv(&self, path: &Path) -> Result<Table, Diagnostic>;
    fn npy(&self, path: &Path) -> Result<Tensor, Diagnostic>;
    fn npz(&self, path: &Path) -> Result<Npz, Diagnostic>;
    fn lines(&self, path: &Path) -> Result<Vec<String>, Diagnostic>;
    fn tokenizer(&self, path: &Path) -> Result<Tokenizer, Diagnostic>;
    /// Row numbers below `rows`, one a line.
    fn row_list(&self, path: &Path, rows: usize) -> Result<Vec<usize>, Diagnostic>;
    /// SHA-256 of a file, in hexadecimal digits.
    fn sha256(&self, path: &Path) -> Result<String, Diagnostic>;
    /// Starts a folder of outputs. One that is there is replaced only if it is empty or `ours` says so.
    fn create(&self, path: &Path, ours: &dyn Fn(&Path) -> bool) -> Result<Folder, Diagnostic>;
    fn write_safetensors(&self, path: &Path, file: &Safetensors<'_>) -> Result<(), Diagnostic>;
    fn write_npy(&self, path: &Path, tensor: &Tensor) -> Result<(), Diagnostic>;
    /// Time since some fixed moment. Used for measurements only, never for decisions.
    fn now(&self) -> Duration;
}

/// The file system and the clock of this machine.
#[derive(Clone, Copy, Debug)]
pub struct DiskWorld {
    start: Instant,
}

impl Default for DiskWorld {
    fn default() -> DiskWorld {
        DiskWorld { start: Instant::now() }
    }
}

impl World for DiskWorld {
    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn same_file(&self, a: &Path, b: &Path) -> bool {
        matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
    }

    fn files(&self, folder: &Path, limit: usize) -> Option<Vec<PathBuf>> {
        let mut out = Vec::new();
        let mut open = vec![PathBuf::new()];
        while let Some(at) = open.pop() {
            for entry in std::fs::read_dir(folder.join(&at)).ok()? {
                let entry = entry.ok()?;
                let path = at.join(entry.file_name());
                let list = if entry.file_type().ok()?.is_dir() { &mut open } else { &mut out };
                list.push(path);
            }
            if out.len() + open.len() > limit {
                return None;
            }
        }
        Some(out)
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, Diagnostic> {
        let fail = |e: std::io::Error| {
            let why = match e.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".to_string(),
                std::io::ErrorKind::PermissionDenied => "permission denied".to_string(),
                std::io::ErrorKind::IsADirectory => "it is a folder".to_string(),
                _ => e.to_string(),
            };
            Diagnostic::error(codes::NO_FILE, format!("cannot read `{}`: {why}", path.display()))
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(fail)?;
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
        Ok(bytes)
    }

    fn header(&self, path: &Path) -> Result<Header, Diagnostic> {
        spc_io::read_header(path)
    }

    fn weights(&self, path: &Path) -> Result<WeightFile, Diagnostic> {
        WeightFile::open(path)
    }

    fn csv(&self, path: &Path) -> Result<Table, Diagnostic> {
        spc_io::read_csv(path)
    }

    fn npy(&self, path: &Path) -> Result<Tensor, Diagnostic> {
        spc_io::read_npy(path)
    }

    fn npz(&self, path: &Path) -> Result<Npz, Diagnostic> {
        Npz::open(path)
    }

    fn lines(&self, path: &Path) -> Result<Vec<String>, Diagnostic> {
        spc_io::read_lines(path)
    }

    fn tokenizer(&self, path: &Path) -> Result<Tokenizer, Diagnostic> {
        Tokenizer::open(path)
    }

    fn row_list(&self, path: &Path, rows: usize) -> Result<Vec<usize>, Diagnostic> {
        spc_io::read_row_list(path, rows)
    }

    fn sha256(&self, path: &Path) -> Result<String, Diagnostic> {
        spc_io::sha256_file(path)
    }

    fn create(&self, path: &Path, ours: &dyn Fn(&Path) -> bool) -> Result<Folder, Diagnostic> {
        Folder::create(path, ours)
    }

    fn write_safetensors(&self, path: &Path, file: &Safetensors<'_>) -> Result<(), Diagnostic> {
        file.write_file(path)
    }

    fn write_npy(&self, path: &Path, tensor: &Tensor) -> Result<(), Diagnostic> {
        spc_io::write_npy(path, tensor)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
