//! A compiled folder: `manifest.json`, `plan.json`, `program.ir`, `weights.safetensors`, and images where asked for.
mod read;
mod write;

pub use read::Loaded;
pub use write::{Extra, write};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the folder that is written and read.
pub const FORMAT: u32 = 1;

pub const MANIFEST: &str = "manifest.json";
pub const PLAN: &str = "plan.json";
pub const PROGRAM: &str = "program.ir";
pub const WEIGHTS: &str = "weights.safetensors";
/// The graphs before anything was removed from them, where something was.
pub const WHOLE: &str = "whole.ir";
/// The metadata key of the weights that tells what was removed from which.
pub const REMOVED: &str = "removed";

/// One constraint in the manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredRequire {
    pub name: String,
    pub weights: Vec<String>,
    /// What each sentence did: groups that it chose among, groups kept, values set to zero.
    pub sentences: Vec<[u64; 3]>,
    /// The packed weights were unpacked and checked against the constraint.
    pub holds: bool,
}

/// A named, typed value of a function, in the manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredPort {
    pub name: String,
    #[serde(rename = "type")]
    pub ty: String,
}

/// A function in the manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredFunction {
    pub name: String,
    pub inputs: Vec<StoredPort>,
    pub outputs: Vec<StoredPort>,
}

/// The part of the manifest that is read back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Version of spc that wrote it.
    pub spc: String,
    pub target: StoredTarget,
    pub functions: Vec<StoredFunction>,
    pub requires: Vec<StoredRequire>,
    /// SHA-256 of every other file of the folder.
    pub files: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredTarget {
    pub name: String,
    pub kind: String,
    pub threads: usize,
    pub arch: Option<String>,
}
