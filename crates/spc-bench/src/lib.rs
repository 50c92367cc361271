//! Measuring: the machine's limits, a dense peer, paired times, what may be said of them, and the constants of the cost
//! model fitted to kernels. The only crate that knows the peer.
//!
//! Times come from a clock that the caller gives. Nothing that is measured here decides anything by itself: a cost table is
//! data, and the same table gives the same plan.

mod alone;
mod calibrate;
mod cell;
mod check_model;
mod fit;
mod pairs;
mod peer;
mod roofline;
pub mod stats;
mod suite;

pub use alone::{Alone, Layer, random, repeats};
pub use calibrate::{Explained, calibrate, family, family_names, shipped};
pub use cell::{Cell, Entrants, Side, Work, measure};
pub use check_model::{Checked, Summary, check_model, summary};
pub use pairs::{Budget, Clock, Contestant, rounds};
pub use peer::{PEER, Peer};
pub use roofline::{Bound, Machine, Read, Roofline};
