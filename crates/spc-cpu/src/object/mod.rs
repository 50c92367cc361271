//! Object files: the functions of a program for a C linker, with nothing left to import.
//!
//! [`weights`] lays out the file of weights, [`entry`] makes the functions that C calls, [`steps`] what runs the kernels of a
//! program in order, [`dispatch`] chooses among instruction sets when the program runs, [`math`] brings the functions
//! that kernels call, [`header`] writes what a C compiler reads. The object is position-independent and has no state
//! but the number of the instruction set that was found.

mod build;
mod dispatch;
mod entry;
mod header;
mod math;
mod module;
mod steps;
mod weights;

pub use build::{Function, Object, Options, kernels_object, object};
pub use header::{COMMON, Signature, c_name};
pub use module::Arch;
pub use weights::HEADER_BYTES;

/// Number of the interface between objects and their callers. Raised when a header of an older object no longer describes
/// how newer code is called.
pub const ABI_VERSION: i32 = 1;

/// What functions return: numbers of the enumeration `spc_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Ok = 0,
    /// A pointer that must not be null is.
    Null = 1,
    /// A size lies outside its declared range.
    Size = 2,
    /// A pointer is not a multiple of what it must be.
    Alignment = 3,
    /// The workspace is too small.
    Workspace = 4,
    /// The weights are not those that the code was made for.
    Weights = 5,
    /// An id lies outside its axis.
    IndexRange = 6,
    /// A score is NaN, or there is nothing to choose from.
    Score = 7,
}
