//! Plan to CUDA C++ text, and that text to images where NVRTC is found. Nothing here needs a GPU or a CUDA toolkit.
//!
//! [`emit`] writes one kernel for each linear of a graph, in the layout that the plan chose, over a small prelude; the text
//! is complete (no include that NVRTC or nvcc would need) and also compiles as plain C++17 with `-DSPC_EMU` against
//! `emu/spc_emu.hpp`, which runs it on a CPU. [`nvrtc`] compiles it to PTX and cubins. [`manifest`] says all of it as JSON.
//!
//! Weights that are bf16 numbers and 2:4 may be stored for tensor cores (layout `mma24`). Their activations become bf16 too: as
//! three terms that add up to the f32 number, or, where [`Activations::Bf16`] is asked for, as one.
//!
//! Every kernel reads `x` token-major `[N][K]` and writes `y` token-major `[N][O]`, both f32, N = product of the leading
//! dimensions. The activation layouts of a plan (`Act`, conversions) describe feature-major buffers of the CPU kernels and
//! have no part here: the kernels turn their tiles in shared memory themselves. All buffers start at multiples of 16 bytes.

mod deal;
mod emit;
mod expr;
mod generic;
mod grid;
mod host;
mod linear;
mod lines;
mod manifest;
mod mma;
mod module;
pub mod nvrtc;
pub mod runtime;
mod shape;
mod training;
mod wgmma;

pub use deal::dealt;
pub use emit::{Activations, EmitOptions, emit, emit_with};
pub use grid::Grid;
pub use host::HostOp;
pub use lines::without_lines;
pub use manifest::manifest;
pub use module::{CudaModule, KernelInfo, Operand, Param, ParamKind};
pub use training::{
    PassChain, PassTiles, PassValue, Update, UpdateKernel, UpdateModule, UpdateParam, threshold_state, updates,
};

/// The header that stands in for the device when the text is compiled with `-DSPC_EMU`.
pub const EMU_HEADER: &str = include_str!("../emu/spc_emu.hpp");
/// The program around emulated kernels: reads a list of launches and writes their results.
pub const EMU_MAIN_HEADER: &str = include_str!("../emu/spc_emu_main.hpp");
