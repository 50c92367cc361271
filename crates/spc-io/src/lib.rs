//! Files in and out: safetensors, csv, npy, npz and text through a tokenizer in; safetensors, npy, npz and whole
//! artefact folders out.
//!
//! Every file is untrusted. A malformed one gives a [`spc_base::Diagnostic`] without a span (the driver knows which
//! words named the file and adds it), never a panic, and nothing is allocated because a header claims a size: sizes
//! are first compared with the bytes that are there. What is written appears whole or not at all.

// A Diagnostic is large, made once and then printed: boxing it would help nobody.
#![allow(clippy::result_large_err)]

mod atomic;
mod digest;
mod error;
mod float16;
mod folder;
mod link;
mod map;
mod npy;
mod npz;
mod rows;
mod source;
mod table;
mod tensor;
mod text;
mod weights;

pub use atomic::{write_bytes, write_with};
pub use digest::{sha256_file, sha256_hex};
pub use folder::Folder;
pub use link::link_shared;
pub use npy::{read_npy, write_npy};
pub use npz::{Npz, write_npz};
pub use rows::{read_row_list, rest_of_rows};
pub use source::MAX_BYTES;
pub use table::{Table, read_csv};
pub use tensor::{DataType, Floats, Tensor, TensorData, check_finite};
pub use text::{Encoding, Tokenizer, read_lines};
pub use weights::{Header, Presence, Safetensors, Stored, StoredTensor, StoredType, Values, WeightFile, read_header};
