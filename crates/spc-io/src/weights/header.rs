//! The header of a safetensors file: `u64` length, JSON, then the data without holes.
use crate::error::{malformed, unreadable};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use spc_base::{Diagnostic, codes};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The bound that the format sets.
const MAX_HEADER: u64 = 100_000_000;

/// A type as the file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredType(Dtype);

impl StoredType {
    pub const F64: StoredType = StoredType(Dtype::F64);
    pub const F32: StoredType = StoredType(Dtype::F32);
    pub const F16: StoredType = StoredType(Dtype::F16);
    pub const BF16: StoredType = StoredType(Dtype::BF16);
    pub const I64: StoredType = StoredType(Dtype::I64);
    pub const I32: StoredType = StoredType(Dtype::I32);
    pub const I16: StoredType = StoredType(Dtype::I16);
    pub const I8: StoredType = StoredType(Dtype::I8);
    pub const U64: StoredType = StoredType(Dtype::U64);
    pub const U32: StoredType = StoredType(Dtype::U32);
    pub const U16: StoredType = StoredType(Dtype::U16);
    pub const U8: StoredType = StoredType(Dtype::U8);
    pub const BOOL: StoredType = StoredType(Dtype::BOOL);

    /// Size of one element in bits (some types are smaller than a byte).
    pub fn bits(self) -> usize {
        self.0.bitsize()
    }
}

/// The format's own word, for example `F32`.
impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One tensor of a file. `start..end` are bytes from the beginning of the file; the header was checked against the
/// length of the file, so they lie inside it and are as many as shape and type need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    pub name: String,
    pub dtype: StoredType,
    pub shape: Vec<usize>,
    pub start: u64,
    pub end: u64,
}

/// What a file holds, in the order in which it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    path: PathBuf,
    tensors: Vec<StoredTensor>,
    metadata: BTreeMap<String, String>,
    by_name: BTreeMap<String, usize>,
}

/// Reads the header and nothing of the data. Errors: SP0401, SP0402.
pub fn read_header(path: &Path) -> Result<Header, Diagnostic> {
    let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let kind = file.metadata().map_err(|e| unreadable(path, &e))?;
    if !kind.is_file() {
        return Err(unreadable(path, &io::Error::other("it is not a regular file")));
    }
    let mut prefix = [0; 8];
    if kind.len() >= 8 {
        file.read_exact(&mut prefix).map_err(|e| unreadable(path, &e))?;
    }
    let n = header_length(path, prefix, kind.len())?;
    let mut text = Vec::new();
    file.take(n as u64).read_to_end(&mut text).map_err(|e| unreadable(path, &e))?;
    Header::parse(path, &text, kind.len())
}

/// The length of the JSON text, checked against the length of the file.
pub(super) fn header_length(path: &Path, prefix: [u8; 8], file_length: u64) -> Result<usize, Diagnostic> {
    if file_length < 8 {
        return Err(malformed(path, format!("not safetensors: {file_length} bytes, where the length alone takes 8")));
    }
    let n = u64::from_le_bytes(prefix);
    if n > file_length - 8 {
        let rest = file_length - 8;
        return Err(malformed(path, format!("the header claims {n} bytes, the file has {rest} after the length")));
    }
    if n > MAX_HEADER {
        return Err(malformed(path, format!("a header of {n} bytes is more than the {MAX_HEADER} allowed")));
    }
    usize::try_from(n).map_err(|_| malformed(path, "the header is too large for this machine"))
}

impl Header {
    /// `text` is the JSON, padding included.
    pub(super) fn parse(path: &Path, text: &[u8], file_length: u64) -> Result<Header, Diagnostic> {
        let raw: Metadata = serde_json::from_slice(text)
            .map_err(|e| malformed(path, format!("the safetensors header is not valid: {e}")))?;
        let data_start = 8 + text.len() as u64;
        let (described, there) = (raw.data_len() as u64, file_length.saturating_sub(data_start));
        if described != there {
            let what = format!("the header describes {described} bytes of tensors, the file holds {there}");
            return Err(malformed(path, what));
        }
        let mut tensors: Vec<StoredTensor> = raw
            .tensors()
            .into_iter()
            .map(|(name, info)| StoredTensor {
                name,
                dtype: StoredType(info.dtype),
                shape: info.shape.clone(),
                start: data_start + info.data_offsets.0 as u64,
                end: data_start + info.data_offsets.1 as u64,
            })
            .collect();
        // Empty tensors share their place with others, so the name decides last.
        tensors.sort_by(|a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
        let by_name = tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        let metadata = raw.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Header { path: path.into(), tensors, metadata, by_name })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors by their place in the file.
    pub fn tensors(&self) -> &[StoredTensor] {
        &self.tensors
    }

    /// What stands under `__metadata__`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Errors: SP0403 with the closest names.
    pub fn get(&self, name: &str) -> Result<&StoredTensor, Diagnostic> {
        match self.by_name.get(name) {
            Some(&i) => Ok(&self.tensors[i]),
            None => Err(self.no_tensor(name)),
        }
    }

    fn no_tensor(&self, name: &str) -> Diagnostic {
        let path = self.path.display();
        let message = format!("`{path}` holds no tensor `{name}`");
        let mut close: Vec<(usize, &str)> =
            self.tensors.iter().map(|t| (spc_base::edits(name, &t.name), &t.name[..])).collect();
        close.sort();
        close.retain(|&(distance, _)| distance <= name.len().max(6) / 3);
        let names: Vec<String> = close.iter().take(3).map(|(_, n)| format!("`{n}`")).collect();
        let diagnostic = Diagnostic::error(codes::NO_TENSOR, message);
        match names.is_empty() {
            false => diagnostic.help(format!("the closest names are {}", names.join(", "))),
            true => diagnostic.note(format!("it holds {} tensors", self.tensors.len())),
        }
    }
}
