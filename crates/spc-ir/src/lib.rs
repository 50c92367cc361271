//! The data that every later stage shares: [`Graph`] over petgraph, [`ScalarExpr`] for pointwise maths, resolved
//! sparsity constraints, [`Patch`]es and the passes that propose them, and the data of a [`Plan`].
//!
//! Everything here is plain data: `Clone + PartialEq + Send`, dense ids instead of pointers, a text form that parses
//! back to itself ([`Graph::parse`], `Display`), and a [`Graph::verify`]. The meaning of each operator is in
//! `docs/ir.md`; the reference interpreter (`spc-interp`) is that text as code.

mod along;
mod constraint;
mod constraint_text;
pub mod couple;
mod derived;
mod epilogue;
mod expr;
mod graph;
mod independent;
mod infer;
pub mod method;
mod op;
pub mod passes;
mod patch;
mod plan;
mod round;
mod select;
pub mod structure;
mod text;
mod ty;
mod unfold;
mod verify;
#[cfg(test)]
mod verify_tests;
pub mod view;

pub use along::{Along, Softmax, along};
pub use constraint::{Amount, Cost, Cover, Floor, Keep, Member, Overlap, Part, Require, Scope, Score, Slices, Tail};
pub use derived::Formula;
pub use epilogue::{Beside, Epilogue};
pub use expr::{BinFn, ScalarExpr, UnFn};
pub use graph::{Graph, Node, NodeId, Source};
pub use independent::independent;
pub use infer::{MAX_RANK, infer};
pub use op::{Op, ReduceFn};
pub use patch::{Patch, PatchRef};
pub use plan::{Act, Candidate, Convert, CostTableRef, LinearPlan, Measured, PLAN_FORMAT, Plan, Why};
pub use select::Top;
pub use ty::{DType, Dim, Size, Sym, SymId, Type};
pub use unfold::{channels_of, is_unfolded};
