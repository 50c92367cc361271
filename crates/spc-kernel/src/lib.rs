//! The loop IR, kernels written in it, and scheduling from a graph and a plan.
//!
//! * [`ir`]: a small typed IR of structured loops, its text, verifier and interpreter (which is its meaning).
//! * [`math`]: the scalar functions that all executors call.
//! * [`templates`]: kernels as Rust functions of shapes, layouts and lanes.
//! * [`schedule()`]: from a graph and a plan to a [`Program`] of kernels and buffers, which [`interpret`] runs.

mod extent;
pub mod ir;
pub mod math;
mod program;
mod run;
mod schedule;
pub mod templates;
pub mod update;

pub use extent::Extent;
pub use program::{Amount, Buffer, PackedPort, Port, Program, Role, Step, StepArg};
pub use run::{Fault, Slice, SliceMut, Sources, Tensor, arguments, constant_bytes, interpret};
pub use schedule::{Target, missing, schedule};
