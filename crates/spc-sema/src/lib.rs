//! From a syntax tree to a checked [`Module`], and from a function of it to a graph.
//!
//! The steps are total: any tree gives a module (perhaps a smaller one) and a list of diagnostics. No file is read here;
//! what a weight file holds is compared by [`check_stored`], which the driver calls with the file's header.

mod bind;
mod check;
mod cx;
mod elab;
mod front;
pub mod index;
mod jobs;
mod library;
pub mod method;
mod model;
mod module;
mod pattern;
mod require;
mod roles;
mod scope;
pub mod time;

pub use bind::{Stored, check_stored};
pub use check::{Checked, check};
pub use cx::closest;
pub use front::{check_read, front};
pub use library::{FIRST_LIBRARY_FILE, Library};
pub use module::*;
