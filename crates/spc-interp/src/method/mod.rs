//! Training steps by reference: updates and penalties as plain data, run in the plainest way in f32 or f64.
//!
//! Choices go through the projection of this crate, so a mask chosen in training is the one that is deployed.

mod body;
mod cover;
mod error;
mod metric;
mod optimiser;
mod penalty;
mod root;
mod rule;
mod slope;
mod state;
mod updater;

pub use cover::{Cover, at as constraint_at};
pub use error::MethodError;
pub use metric::{metric_norm, penalty_prox_in};
pub use optimiser::Optimiser;
pub use penalty::{penalty_prox, penalty_slope, penalty_value};
pub use rule::{prox_of_term, slope_of_penalty};
pub use state::Saved;
pub use updater::{Observed, PROBE, Tensors, Updater};

use crate::Real;
use spc_ir::method::Kind;

/// The positions of one value.
#[derive(Clone, Debug, PartialEq)]
pub enum Data<R> {
    F(Vec<R>),
    B(Vec<bool>),
}

impl<R> Data<R> {
    pub fn len(&self) -> usize {
        match self {
            Data::F(v) => v.len(),
            Data::B(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn kind(&self) -> Kind {
        match self {
            Data::F(_) => Kind::Float,
            Data::B(_) => Kind::Bool,
        }
    }

    pub fn floats(&self) -> Option<&[R]> {
        if let Data::F(v) = self { Some(v) } else { None }
    }

    pub fn truths(&self) -> Option<&[bool]> {
        if let Data::B(v) = self { Some(v) } else { None }
    }
}

impl<R: Real> Data<R> {
    /// One value for all positions, or the values themselves.
    fn spread(self, n: usize) -> Data<R> {
        match self {
            Data::F(v) if v.len() == 1 && n != 1 => Data::F(vec![v[0]; n]),
            Data::B(v) if v.len() == 1 && n != 1 => Data::B(vec![v[0]; n]),
            other => other,
        }
    }
}
