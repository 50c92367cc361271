//! The meaning of a graph, as code: a reference interpreter on `ndarray` for f32 and f64, and the reference projection
//! of weights onto their constraints with its checker.
//!
//! This crate is the oracle of the differential tests. It sees graphs and constraints only: no passes, no layouts, no
//! back ends. Every operator does what `docs/ir.md` says, in the plainest way, with every sum in index order.

mod bind;
mod check;
mod cover;
mod erf;
mod error;
mod groups;
mod inputs;
mod joint;
mod map;
pub mod method;
mod ops;
mod product;
mod project;
mod quantize;
mod real;
mod run;
mod scalar;
mod score;
mod select;
pub mod testing;
mod top;
mod value;
mod window;

pub use bind::bind_syms;
pub use check::{Broken, CheckError, verify_requires};
pub use error::RunError;
pub use inputs::InputNorms;
pub use product::{gamma, linear_alternatives, sum_abs};
pub use project::{ProjectError, Projected, project, project_by, project_with};
pub use quantize::{quantize_int, round_bf16, round_f16};
pub use real::Real;
pub use run::{Absent, Both, run, run_all, run_both};
pub use select::Given;
pub use value::{Value, Weights};
