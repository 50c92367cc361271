//! spc as a library: compile a `.sp` program, bind weights, call its functions.
//!
//! ```
//! use ndarray::array;
//!
//! let text = "
//! use std.nn
//! use std.patterns.nm
//! axis B = 1..64
//! model m { axes { I = 4, O = 2 }  w: f32[O, I] }
//! fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, m.w) }
//! require half: nm(2, 4) on m.w
//! ";
//! let program = spc::Compiler::new()
//!     .compile_str(text)?
//!     .bind("m.w", array![[1.0_f32, -4.0, 3.0, 0.5], [2.0, 2.0, 2.0, 2.0]])?
//!     .build()?;
//! let y = program.call("f", &[("x", &array![[1.0_f32, 1.0, 1.0, 1.0]])])?;
//! // Each row kept its two largest weights; ties go to the lower index.
//! assert_eq!(y.f32("y").unwrap(), array![[-1.0, 4.0]].into_dyn());
//! # Ok::<(), spc::Error>(())
//! ```
//!
//! [`Compiler`], [`DeviceChoice`], [`Activations`], [`Checked`], [`Program`], [`Results`], [`Input`], [`Output`], [`Updater`], [`UpdatePlan`], [`UpdateState`], [`Optimiser`], [`Observed`] and [`Error`] are the stable API. [`driver`] holds the
//! steps behind the commands and may change in any version.

// A failure is made once and then printed: boxing it would help nobody.
#![allow(clippy::result_large_err)]

mod api;
mod arrange;
mod artefact;
mod average;
mod bench;
mod bind;
mod build;
mod calibrate;
mod check;
mod compile;
mod constants;
mod cuda;
mod cut;
mod data;
mod device;
mod dials;
mod engine;
mod explain;
mod export;
mod failure;
mod fix;
mod fold;
mod format;
mod groups;
mod init;
mod inspect;
mod job;
mod kernel_check;
mod library;
mod load;
mod lock;
mod measure;
mod object;
mod packed;
mod permute;
mod plan;
mod plot;
mod project;
mod random;
mod reorder;
mod report;
mod rotate;
mod run;
mod session;
mod share;
mod shrink;
mod split;
mod states;
mod step;
mod structure;
mod sweep;
mod target;
mod tensors;
mod train;
mod training_text;
mod value;
mod verify;
mod weights;
mod world;

pub use api::{Checked, Compiler, Error, Program};
pub use device::DeviceChoice;
pub use spc_cpu::Isa;
pub use spc_cuda::Activations;
pub use spc_interp::method::{Observed, Optimiser, Updater};
pub use train::{GpuArgument, GpuArray, GpuLaunch, GpuUpdates, LeftOut, RunLog, UpdatePlan, UpdateState};
pub use value::{Input, Output, Results};

/// The steps behind the commands, and the [`World`](driver::World) through which they reach files and the clock. For the
/// `spc` command and tests; no promise of stability.
pub mod driver {
    pub use crate::average::{Average, Zeros, average_files};
    pub use crate::bench::{Bench, bench_file, check_model_here};
    pub use crate::check::{Stage, check};
    pub use crate::compile::{Compile, compile_file};
    pub use crate::constants::{calibrate_machine, read_constants};
    pub use crate::device::DeviceChoice;
    pub use crate::explain::{Explain, explain_code, explain_file};
    pub use crate::export::{Emit, export_file};
    pub use crate::failure::{Failure, Res, exit_code};
    pub use crate::fix::fix_file;
    pub use crate::format::{Format as FormatFiles, format_paths};
    pub use crate::inspect::inspect_file;
    pub use crate::library::{own_sources, show_library};
    pub use crate::lock::diff_files;
    pub use crate::packed::{LAYOUTS, StoredLayout, entries as packed_entries, load as load_packed};
    pub use crate::permute::{Permute, permute_file};
    pub use crate::plot::plot_file;
    pub use crate::rotate::{Rotate, rotate_file};
    pub use crate::run::{Call, Done, call_file, run_file};
    pub use crate::session::{Options, Progress, Session, Silent};
    pub use crate::step::{Step, rule_lines, step_file};
    pub use crate::sweep::{Sweep, sweep_file, values as sweep_values};
    pub use crate::training_text::Training;
    pub use crate::verify::{Verify, verify_path};
    pub use crate::world::{DiskWorld, World};
    pub use spc_base::Diagnostic;
    pub use spc_bench::Budget;
    pub use spc_cpu::object::Arch;
    pub use spc_cuda::Activations;
    pub use spc_ir::method::{Moment, Ratio};
    pub use spc_report::{Format, Renderer};
}
