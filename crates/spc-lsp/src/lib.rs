//! The language server of `.sp`: what editors show while a program is written.
//!
//! [`serve`] speaks the protocol over standard input and output; [`run`] does so over any connection, for tests. The
//! server keeps the texts of open files in memory and looks at the outside only through its [`Host`].
//!
//! Everything works on broken files: the parser gives the items that can be read, [`spc_sema::index`] mends the others
//! line by line. A program is parsed and checked once for each change, the standard library once in a lifetime.

// Answers are made once and then sent: boxing them would help nobody.
#![allow(clippy::result_large_err)]

mod actions;
mod amounts;
mod analysis;
mod colours;
mod complete;
mod diagnostics;
mod document;
mod hover;
mod lines;
mod navigate;
mod outline;
mod server;
mod transport;
mod uri;

pub use analysis::{Analysis, Shared};
pub use lines::Lines;
pub use lsp_server::Connection;
pub use server::run;
pub use transport::serve;

pub use spc_base::Diagnostic;
pub use spc_sema::{LibrarySource, Stored};
use std::path::{Path, PathBuf};

/// What the server needs of the outside.
pub trait Host {
    /// The tensors of a weight file, from its header; `None` where files cannot be reached at all.
    fn stored(&self, path: &Path) -> Option<Result<Vec<Stored>, Diagnostic>>;
    /// A file that holds this text, for editors to open: a file of the standard library or a page about a code. `name` is
    /// a relative path such as `std/nn/linear.sp`. `None` where none can be written.
    fn page(&self, name: &str, text: &str) -> Option<PathBuf>;
    /// Modules that replace those of the standard library or add to it.
    fn own_library(&self) -> Vec<LibrarySource> {
        Vec::new()
    }
}

/// A host without files.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Host for NoFiles {
    fn stored(&self, _: &Path) -> Option<Result<Vec<Stored>, Diagnostic>> {
        None
    }

    fn page(&self, _: &str, _: &str) -> Option<PathBuf> {
        None
    }
}
