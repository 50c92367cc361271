//! From a syntax tree to a checked [`Module`], and from a function of it to a graph.
//!
//! The steps are total: any tree gives a module (perhaps a smaller one) and a list of diagnostics. No file is read here;
//! what a weight file holds is compared by [`check_stored`], which the driver calls with the file's header.

mod bind;
mod calls;
mod check;
mod consts;
mod cx;
mod data;
mod elab;
mod expect;
mod front;
mod group;
pub mod index;
mod init;
mod jobs;
mod library;
mod memory;
pub mod method;
mod model;
mod module;
mod operator;
mod pattern;
mod require;
mod roles;
mod runtime;
mod scope;
pub mod time;

pub use bind::{Stored, check_stored};
pub use calls::{called, roots};
pub use check::{Checked, check, check_at, check_knowing};
pub use consts::{ConstValue, Constant};
pub use cx::closest;
pub use elab::check_library;
pub use front::{check_read, check_read_at, check_read_knowing, front};
pub use group::{AxisOrder, NamedSet, Refused, axis_orders, coupled_sets, member_text, sets_of};
pub use jobs::LAYOUTS;
pub use library::{FIRST_LIBRARY_FILE, Library, LibrarySource};
pub use memory::Memory;
pub use module::*;
