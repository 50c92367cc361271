//! safetensors: the header alone, the whole file through a memory map, and writing.
mod file;
mod header;
mod presence;
mod write;

pub use file::WeightFile;
pub use header::{Header, StoredTensor, StoredType, read_header};
pub use presence::Presence;
pub use write::{Safetensors, Stored, Values};
