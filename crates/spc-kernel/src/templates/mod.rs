//! Kernels as Rust functions of shapes, layouts and lanes.
//!
//! Every kernel takes its part of the outermost loop as the parameters `lo` and `hi`; any cut of the whole range into
//! parts gives the same bits.

mod blocks8;
pub mod cases;
mod channels;
mod choose;
mod convert;
mod epilogue;
pub mod expr;
mod feature_major;
mod few;
mod functions;
mod gather;
mod groups;
pub mod limits;
mod list;
mod map;
mod nest;
mod panel;
mod pick8;
mod reduce;
mod round8;
mod rowblock;
mod rowlist;
mod runs;
mod span;
mod strips8;
mod tile;
mod tiles8;
mod tuning;
mod unfold;
mod window;

pub use blocks8::{SCRATCH, blocks8, place, round_in_place, round_tokens};
pub use channels::channels_first;
pub use choose::{EMPTY, ScoreSpec, UNORDERED, argmax, countable, rank, top};
pub use convert::{feature_blocks, part_to_feature_major, to_feature_major, to_row_major};
pub use epilogue::beside_name;
pub use feature_major::{TILE, TOKEN_PAD, padded_tokens, position};
pub use few::few;
pub use gather::{GatherSpec, gather};
pub use groups::groups;
pub use map::{MapSpec, Operand, Part, extent, iota, map};
pub(crate) use nest::collapse;
pub use nest::{contiguous, element_bytes};
pub use panel::panel;
pub use pick8::{pick8, round_rows, row_bytes};
pub use reduce::{Factor, Fold, ReduceSpec, reduce};
pub use rowblock::{rowblock, rowblock_tuned};
pub use rowlist::rowlist;
pub use tiles8::{ORDER, round_tokens16, tile_place, tiles_pay, tiles8};
pub use tuning::Tuning;
pub use unfold::{UnfoldSpec, unfold};
pub use window::{Term, WindowSpec, window};

use crate::ir::LoadKind;
use spc_base::Bug;
use spc_formats::{Form, Layout};
use spc_ir::{Beside, ScalarExpr};

/// A linear kernel: the shape and layout of its weight, what follows the sum, and the lanes.
#[derive(Clone, Copy, Debug)]
pub struct LinearSpec<'a> {
    pub layout: Layout,
    /// Outputs, O.
    pub rows: usize,
    /// Inputs, K.
    pub cols: usize,
    pub bias: bool,
    /// Of the sum with its bias and of what is in `beside`, in that order; all f32, giving f32.
    pub act: Option<&'a ScalarExpr>,
    /// What the kernel reads beside its activations: parameters named by [`beside_name`].
    pub beside: &'a [Beside],
    pub lanes: usize,
}

impl LinearSpec<'_> {
    /// The layout, or that of which it stores the values in 16 bits.
    pub fn base(&self) -> Layout {
        match self.layout {
            Layout::Half { of, .. } => of.layout(),
            other => other,
        }
    }

    /// How a vector of values is read, and the bytes of each.
    pub(crate) fn values(&self) -> (LoadKind, usize) {
        match self.layout {
            Layout::Half { form: Form::Bf16, .. } => (LoadKind::VBf16, 2),
            Layout::Half { form: Form::F16, .. } => (LoadKind::VF16, 2),
            _ => (LoadKind::VF32, 4),
        }
    }

    /// Rows of one block of the layout.
    pub fn block_rows(&self) -> usize {
        match self.base() {
            Layout::Dense { panel } => panel as usize,
            Layout::Vx1 { v } | Layout::Vnm16 { v, .. } => v as usize,
            Layout::Bsr { r, .. } | Layout::I8 { r } => r as usize,
            Layout::Nm16 { .. } | Layout::Bitmap => 16,
            Layout::I8Nm { .. } | Layout::I8Csr { .. } | Layout::I4Nm { .. } => 16,
            Layout::Nm { .. } | Layout::Csr | Layout::Csr16 | Layout::Groups { .. } | Layout::Half { .. } => 1,
            Layout::Mma24 | Layout::Mma32 { .. } | Layout::Mma1 { .. } | Layout::Vnm { .. } => 1,
        }
    }

    /// Number of row blocks: the whole range of `lo..hi`.
    pub fn blocks(&self) -> usize {
        self.rows.div_ceil(self.block_rows())
    }

    /// Lanes of the row-major kernel: as asked, or as many of narrower code as divide a block that those do not fit.
    pub fn panel_lanes(&self) -> usize {
        let divides = |lanes: &usize| self.block_rows().is_multiple_of(*lanes);
        if matches!(self.layout, Layout::Csr16 | Layout::Groups { .. }) {
            return self.lanes;
        }
        [self.lanes, 8, 4].into_iter().filter(|n| *n <= self.lanes).find(divides).unwrap_or(1)
    }

    fn check(&self) -> Result<(), Bug> {
        self.layout.check().map_err(|r| Bug::new(r.0))?;
        let bytes = self.rows.checked_add(256).and_then(|r| r.checked_mul(self.cols.checked_add(256)?));
        match bytes.and_then(|n| i64::try_from(n).ok()?.checked_mul(8)) {
            Some(_) => Ok(()),
            None => Err(Bug::new(format!("a matrix of {} x {} is too large", self.rows, self.cols))),
        }
    }

    fn name(&self, family: &str) -> String {
        let layout: String =
            self.layout.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let bias = if self.bias { "_b" } else { "" };
        let act = if self.act.is_some() { "_a" } else { "" };
        let beside: String = self
            .beside
            .iter()
            .map(|k| match k {
                Beside::Residual => 'r',
                Beside::Channel => 'c',
                Beside::Scalar => 's',
            })
            .collect();
        format!("{family}_{}_{}x{}{bias}{act}{beside}", layout.trim_end_matches('_'), self.rows, self.cols)
    }
}
