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
    /// As [`World::read`], from standard input.
    fn stdin(&self, limit: u64) -> Result<Vec<u8>, Diagnostic>;
    /// Every `.sp` file in a folder and the folders in it, in order of paths. Links to folders and names that start with
    /// a dot are left out.
    fn programs(&self, path: &Path) -> Result<Vec<PathBuf>, Diagnostic>;
    /// Writes a whole file, or leaves the old one.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Diagnostic>;
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
    /// Links one object that needs nothing else into a shared library of that name: the bytes of the library.
    ///
    /// # Errors
    /// SP0630.
    fn link(&self, object: &[u8], soname: &str) -> Result<Vec<u8>, Diagnostic>;
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

fn cannot_read(path: &Path, e: &std::io::Error) -> Diagnostic {
    let why = match e.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_string(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_string(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_string(),
        _ => e.to_string(),
    };
    Diagnostic::error(codes::NO_FILE, format!("cannot read `{}`: {why}", path.display()))
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
        let fail = |e| cannot_read(path, &e);
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(fail)?;
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
        Ok(bytes)
    }

    fn stdin(&self, limit: u64) -> Result<Vec<u8>, Diagnostic> {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map(|_| bytes).map_err(|e| cannot_read(Path::new("<stdin>"), &e))
    }

    fn programs(&self, path: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
        let (mut out, mut folders) = (Vec::new(), vec![path.to_path_buf()]);
        while let Some(folder) = folders.pop() {
            let fail = |e| cannot_read(&folder, &e);
            for entry in std::fs::read_dir(&folder).map_err(fail)? {
                let entry = entry.map_err(fail)?;
                let path = entry.path();
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                if entry.file_type().map_err(fail)?.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "sp") && path.is_file() {
                    out.push(path);
                }
            }
        }
        out.sort();
        Ok(out)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Diagnostic> {
        spc_io::write_bytes(path, bytes)
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

    fn link(&self, object: &[u8], soname: &str) -> Result<Vec<u8>, Diagnostic> {
        const BARE: &[&str] = &["-nostdlib"];
        let named = std::env::var("CC").ok().filter(|name| !name.is_empty());
        let all = match named {
            Some(name) => vec![(name, BARE)],
            None => vec![("cc".to_string(), BARE), ("ld".to_string(), &[])],
        };
        spc_io::link_shared(object, soname, &all)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
