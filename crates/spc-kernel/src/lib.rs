//! The loop IR, kernels written in it, and scheduling from a graph and a plan.
//!
//! * [`ir`]: a small typed IR of structured loops, its text, verifier and interpreter (which is its meaning).
//! * [`math`]: the scalar functions that all executors call.
//! * [`templates`]: kernels as Rust functions of shapes, layouts and lanes.

mod extent;
pub mod ir;
pub mod math;
pub mod templates;

pub use extent::Extent;
