//! Runs kernels of the loop IR on this machine: translation to CLIF, machine code in memory, threads.
//!
//! Unsafe code is confined to this crate. Compiled code is trusted to stay inside its buffers because the same kernel,
//! run by the interpreter of the loop IR, checks every access; the tests run both.

mod buffer;
mod clif;
mod collect;
mod exec;
mod host;
mod jit;
mod limits;
mod listing;
mod math;
pub mod object;
mod pool;
mod share;
mod stream;
mod sweep;
mod tiles;
mod wide;

pub use buffer::{ALIGN, AlignedBuf};
pub use clif::clif_text;
pub use collect::{Between, between};
pub use exec::Executor;
pub use host::{Features, Isa};
pub use jit::{JitModule, Split, assembly, compile, compile_for, compile_wide};
pub use limits::Limits;
pub use listing::listing;
pub use pool::Pool;
pub use share::Threads;
pub use sweep::{Call, Slot, Sweeps};
pub use wide::{Machine, Stats, machine_code, machine_code_near, supported};
