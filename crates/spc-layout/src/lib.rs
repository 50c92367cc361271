//! Layout choice: which storage layout for which weight, which activation layout on which edge, what is fused, and why.
//!
//! [`offered`] says which linears that read one value are worth merging. [`choose`] builds an e-graph of the graph's values (`lang`, `space`), rewrites it with named rules (`rules`), prices every
//! kernel with a roofline (`cost`, `kernel`, `table`, `constants`), and extracts the cheapest plan, shared values counted once (`problem`). The plan
//! is then checked and priced again by walking the graph (`audit`), and explained (`why`). Bounds are numbers of nodes,
//! iterations and states, never time, so a plan is a function of graph, weights and cost table alone.

mod alone;
#[cfg(test)]
mod arranged;
mod audit;
mod choose;
mod constants;
mod cost;
#[cfg(test)]
mod exhaustive;
mod facts;
mod gpu;
mod kernel;
#[cfg(test)]
mod kinds;
mod lang;
mod machine;
mod model;
mod offer;
pub mod permute;
mod problem;
#[cfg(test)]
mod proof;
mod rules;
mod shipped;
mod space;
mod table;
#[cfg(test)]
mod testing;
mod why;

pub use alone::Alone;
pub use choose::{Ranked, choose, holds, ranked, tuned_sizes};
pub use constants::Constants;
pub use gpu::{Cut, GPUS, GpuTable, cuts, family, split};
pub use kernel::{Shape, height};
pub use machine::Machine;
pub use offer::{FoldVerdict, Offered, Verdict, groups_with, offered, offered_with};
pub use table::{CostTable, HEIGHTS, LOAD_BYTES, Level, MANY, Rates, TOKENS_FM, TOKENS_RM};

use spc_formats::{CostFacts, Layout, Refusal, candidates};

/// What is known of one weight matrix `[rows, cols]`: every layout with its cost facts, or why it cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightFacts {
    pub rows: u64,
    pub cols: u64,
    pub candidates: Vec<(Layout, Result<CostFacts, Refusal>)>,
}

impl WeightFacts {
    /// Facts of a matrix in the default layouts and in `extra`.
    ///
    /// # Errors
    /// When `weights` is not `[rows, cols]`.
    pub fn of(rows: usize, cols: usize, weights: &[f32], extra: &[Layout]) -> Result<WeightFacts, Refusal> {
        let candidates = candidates(rows, cols, weights, extra)?;
        Ok(WeightFacts { rows: rows as u64, cols: cols as u64, candidates })
    }

    /// Present weights.
    pub fn present(&self) -> u64 {
        self.candidates.iter().find_map(|(_, r)| r.as_ref().ok()).map_or(0, |f| f.present)
    }

    pub(crate) fn dense_bytes(&self) -> u64 {
        self.rows.saturating_mul(self.cols).saturating_mul(4)
    }
}

/// Bounds of the search, and what to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of the target, for the plan.
    pub target: String,
    /// E-nodes that each stage may add, for each value of the graph.
    pub nodes_per_value: usize,
    /// Iterations of each stage.
    pub iterations: usize,
    /// States of the extraction.
    pub width: usize,
    /// Whether to look for what would change each choice.
    pub why: bool,
    /// Sizes of free axes that are tried for that.
    pub sizes: Vec<u64>,
    /// Kernels with measured times: they take the place of predictions, and of a linear with some no others are used.
    pub measured: Vec<spc_ir::Measured>,
}

impl Default for Options {
    fn default() -> Options {
        let sizes = vec![1, 8, 64, 512];
        Options {
            target: "cpu".into(),
            nodes_per_value: 128,
            iterations: 64,
            width: 4096,
            why: true,
            sizes,
            measured: Vec::new(),
        }
    }
}
