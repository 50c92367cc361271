//! How a feature-major kernel orders its work: what it keeps in which cache, and what it asks for ahead of its use.
use super::LinearSpec;
use super::feature_major::TILE;
use super::tile::WIDE;
use spc_formats::{Blocking, Layout};

/// The order of loops of [`super::rowblock`]. Results differ by the order of sums only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Blocks of inputs, and groups of row blocks in which the sums of one block of inputs wait for the next one. Layouts
    /// with lists of columns are stored in this order.
    pub blocking: Option<Blocking>,
    /// Tokens that share a pass over the weights: whole tiles.
    pub tokens: usize,
    /// Bytes of weights that are asked for ahead of their use; 0 for none.
    pub weights_ahead: i32,
    /// Entries by which activations are asked for ahead of their use; 0 for none.
    pub rows_ahead: i64,
}

/// Bytes of activations of one block of inputs that stay in the second-level cache beside what passes through it.
const L2_BYTES: usize = 1 << 20;

impl Tuning {
    /// No blocks, one tile at a time, nothing asked for.
    pub const PLAIN: Tuning = Tuning { blocking: None, tokens: TILE, weights_ahead: 0, rows_ahead: 0 };

    /// The order for a kernel of vectors of `spec.lanes` floats.
    pub fn of(spec: &LinearSpec<'_>) -> Tuning {
        if spec.lanes < WIDE {
            return Tuning::PLAIN;
        }
        let plain = Tuning { weights_ahead: 1 << 10, rows_ahead: 6, ..Tuning::PLAIN };
        let fits = L2_BYTES / (4 * TILE);
        if spec.cols <= fits || matches!(spec.layout, Layout::Nm { .. }) {
            return plain;
        }
        let blocking = Blocking { cols: fits as u32, rows: u32::MAX };
        Tuning { blocking: Some(blocking), ..plain }
    }

    /// The blocking, where the matrix has more than one block of inputs and the layout can be cut.
    pub fn blocks(&self, spec: &LinearSpec<'_>) -> Option<Blocking> {
        let fits = !matches!(spec.layout, Layout::Nm { .. });
        self.blocking.filter(|k| fits && k.col_blocks(spec.cols) > 1)
    }
}
