//! The grammars for editors against the one that the compiler parses with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
use std::path::{Path, PathBuf};

#[path = "grammars/corpus.rs"]
mod corpus;
#[path = "grammars/trees.rs"]
mod trees;

/// The folder of the repository.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}
