//! How a feature-major kernel orders its work: what it keeps in which cache, and what it asks for ahead of its use.
use super::LinearSpec;
use super::feature_major::{TILE, TOKEN_PAD, padded_tokens};
use super::span::few_rows;
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
    /// Whether row blocks run inside spans of tokens, so that the activations of a span stay in the first-level cache while
    /// the weights of a group pass by. Always so where one or two rows share a list of columns.
    pub by_span: bool,
}

/// Bytes of activations of one block of inputs that stay in the second-level cache beside what passes through it.
const L2_BYTES: usize = 1 << 20;

/// Bytes of activations of one block of inputs that stay in the first-level cache.
const L1_BYTES: usize = 36 << 10;

/// The same where one or two rows share a list of columns: a few more bytes than the cache has, because segments of few
/// entries cost more than lines that come back.
const FEW_BYTES: usize = 48 << 10;

/// The same where each row has its list and all tokens are in one tile, so that lists are long.
const TILE_BYTES: usize = 40 << 10;

/// Rows whose lists come in the order of their lengths there.
const UNIT: u32 = 64;

/// From this many tokens on, blocks of inputs that are made for three tiles pay.
const MANY: u64 = 2 * TILE as u64;

impl Tuning {
    /// No blocks, one tile at a time, nothing asked for.
    pub const PLAIN: Tuning = Tuning { blocking: None, tokens: TILE, weights_ahead: 0, rows_ahead: 0, by_span: false };

    /// The order for a kernel of vectors of `spec.lanes` floats and about `tokens` tokens; any number is right.
    pub fn of(spec: &LinearSpec<'_>, tokens: u64) -> Tuning {
        if spec.lanes < WIDE {
            return Tuning::PLAIN;
        }
        let plain = Tuning { weights_ahead: 2 << 10, rows_ahead: 12, ..Tuning::PLAIN };
        let three = Tuning { tokens: 3 * TILE, ..plain };
        let blocks = |cols: usize, rows: u32| Some(Blocking::plain(cols as u32, rows));
        match spec.layout {
            Layout::Nm { .. }
            | Layout::I8 { .. }
            | Layout::I8Nm { .. }
            | Layout::I8Csr { .. }
            | Layout::I4Nm { .. }
            | Layout::Nm16 { .. }
            | Layout::Csr16
            | Layout::Bitmap
            | Layout::Vnm16 { .. }
            | Layout::Groups { .. }
            | Layout::Half { .. } => plain,
            // One or two multiply-adds for each activation that is read: it must come from the first-level cache.
            _ if few_rows(spec) && spec.lanes == 16 => {
                let together =
                    padded_tokens(tokens).unwrap_or(u64::MAX).clamp(TOKEN_PAD as u64, 3 * TILE as u64) as usize;
                let cols = |bytes: usize| bytes / (4 * together) / 8 * 8;
                let one_tile = together <= TILE && spec.block_rows() == 1;
                let blocking = match one_tile {
                    true => Some(Blocking { cols: cols(TILE_BYTES) as u32, rows: 32 * UNIT, unit: UNIT }),
                    false => blocks(cols(FEW_BYTES), 512),
                };
                Tuning { blocking, rows_ahead: 0, by_span: true, ..three }
            }
            // Half as many registers of half the width read each activation twice as often: from the first-level cache then.
            Layout::Vx1 { .. } | Layout::Bsr { .. } | Layout::Csr if spec.lanes == WIDE => {
                Tuning { blocking: blocks(L1_BYTES / (4 * TILE), u32::MAX), rows_ahead: 0, ..plain }
            }
            // All weights are read for each group of tokens.
            Layout::Dense { .. } if tokens >= MANY => Tuning { blocking: blocks(1024, u32::MAX), ..three },
            _ if 4 * TILE * spec.cols > L2_BYTES => {
                Tuning { blocking: blocks(L2_BYTES / (4 * TILE), u32::MAX), ..plain }
            }
            _ => plain,
        }
    }

    /// The blocking, where the matrix has more than one block of inputs and the layout can be cut.
    pub fn blocks(&self, spec: &LinearSpec<'_>) -> Option<Blocking> {
        let fits = spec.layout.feature_major() && !matches!(spec.layout, Layout::Nm { .. });
        self.blocking.filter(|k| fits && k.col_blocks(spec.cols) > 1)
    }

    /// The whole range of `lo..hi`: row blocks, or units of them.
    pub fn range(&self, spec: &LinearSpec<'_>) -> usize {
        spec.blocks().div_ceil(self.unit(spec))
    }

    /// Row blocks that one step of `lo..hi` counts.
    pub(super) fn unit(&self, spec: &LinearSpec<'_>) -> usize {
        self.blocks(spec).map_or(1, |k| k.unit.max(1) as usize)
    }
}
