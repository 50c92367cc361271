//! Placeholder docs.

mod bind;
mod calls;
mod check;
mod data;
mod engine;
mod failure;
mod job;
mod load;
mod plan;
mod project;
mod session;
mod target;
mod tensors;
mod weights;
mod world;

/// The steps behind the commands.
pub mod driver {
    pub use crate::check::{Stage, check};
    pub use crate::failure::{Failure, Res, exit_code};
    pub use crate::session::{Options, Progress, Session, Silent};
    pub use crate::world::{DiskWorld, World};
    pub use spc_report::{Format, Renderer};
}
pub use world::{DiskWorld, World};
