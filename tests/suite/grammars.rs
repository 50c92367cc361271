//! The grammars for editors against the one that the compiler parses with, and the folders of the editors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
use std::path::{Path, PathBuf};

#[path = "grammars/corpus.rs"]
mod corpus;
#[path = "grammars/editors.rs"]
mod editors;
#[path = "grammars/queries.rs"]
mod queries;
// The random programs that the parser and the printer are tested on.
#[path = "../../crates/spc-syntax/tests/common/programs.rs"]
mod random;
#[path = "grammars/textmate.rs"]
mod textmate;
#[path = "grammars/trees.rs"]
mod trees;
#[path = "grammars/words.rs"]
mod words;

/// The folder of the repository.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

#[test]
fn tree_sitter_colours_of_the_sample() {
    insta::assert_snapshot!(queries::shown());
}

#[test]
fn textmate_scopes_of_the_sample() {
    insta::assert_snapshot!(textmate::shown());
}
