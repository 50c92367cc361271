//! The kernels of tensor cores: how a block is cut for a number of tokens.
use crate::Grid;
use crate::shape::{Family, Shape, THREADS};

/// Rows and columns of a stored tile.
const TILE: u64 = 32;

/// How a block computes: `32 * wm` outputs by `8 * nt * wn` tokens, `wk` warps sharing the columns, `kt` tiles of columns for
/// each in a step, `stages` steps of activations in flight.
#[derive(Clone, Copy, Debug)]
struct Cut {
    up_to: u32,
    wm: u32,
    wn: u32,
    wk: u32,
    nt: u32,
    kt: u32,
    stages: u32,
}

const fn cut(up_to: u32, (wm, wn, wk): (u32, u32, u32), nt: u32, kt: u32, stages: u32) -> Cut {
    Cut { up_to, wm, wn, wk, nt, kt, stages }
}

/// Few tokens are bound by the bytes of weights: many warps along the columns keep loads in flight. Many tokens are bound by
/// the activations that blocks read: large tiles.
const ONE_TERM: [Cut; 4] =
    [cut(8, (2, 1, 4), 1, 2, 4), cut(32, (2, 1, 4), 4, 1, 4), cut(64, (4, 1, 2), 8, 1, 4), cut(0, (4, 2, 1), 8, 2, 4)];
/// Three terms take three times the shared memory.
const THREE_TERMS: [Cut; 4] =
    [cut(8, (2, 1, 4), 1, 2, 4), cut(32, (2, 1, 4), 4, 1, 3), cut(64, (4, 1, 2), 8, 1, 3), cut(0, (4, 2, 1), 8, 1, 3)];

/// Columns with their padding.
pub(crate) fn padded(inputs: u64) -> u64 {
    inputs.div_ceil(TILE) * TILE
}

impl Cut {
    fn shape(self, family: Family, outputs: u64, inputs: u64, terms: u32) -> Shape {
        let (tokens, rows, width) = (8 * self.nt * self.wn, 32 * self.wm, self.kt * self.wk);
        let stages = self.stages * terms * tokens * (width * 16 + 4) * 4;
        let sums = tokens * (rows + 4) * 4;
        // Callers have bounded the sizes by 31 bits.
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Shape {
            family,
            outputs,
            inputs,
            step: 32 * width,
            grid: Grid { tokens, tiles: small(outputs.div_ceil(u64::from(rows))) },
            constants: vec![
                ("KP", small(padded(inputs))),
                ("TERMS", terms),
                ("WM", self.wm),
                ("WN", self.wn),
                ("WK", self.wk),
                ("NT", self.nt),
                ("KT", self.kt),
                ("STAGES", self.stages),
            ],
            shared_bytes: stages.max(sums),
            threads: 32 * self.wm * self.wn * self.wk,
            up_to: self.up_to,
        }
    }
}

pub(crate) fn shapes(outputs: u64, inputs: u64, terms: u32) -> Vec<Shape> {
    let cuts = if terms == 1 { ONE_TERM } else { THREE_TERMS };
    cuts.into_iter().map(|c| c.shape(Family::Mma24, outputs, inputs, terms)).collect()
}

/// The kernels of blocks of `r` rows by 32 columns. A block of threads has one row block: its list of columns is its own.
pub(crate) fn block_shapes(outputs: u64, inputs: u64, terms: u32, r: u32) -> Vec<Shape> {
    let (wm, stages) = (r / 32, if terms == 1 { 4 } else { 3 });
    let cuts = [
        cut(8, (wm, 1, 8 / wm), 1, 1, 4),
        cut(32, (wm, 1, if wm == 4 { 2 } else { 4 }), 4, 1, stages),
        if wm == 4 { cut(0, (4, 2, 1), 8, 1, stages) } else { cut(0, (wm, 2, 2), 4, 1, stages) },
    ];
    cuts.into_iter().map(|c| c.shape(Family::Mma32, outputs, inputs, terms)).collect()
}

/// The launch that makes terms of activations with `inputs` columns: one token a block.
pub(crate) fn terms_grid(inputs: u64) -> Grid {
    let pieces = padded(inputs).div_ceil(4 * u64::from(THREADS)).max(1);
    Grid { tokens: 1, tiles: u32::try_from(pieces).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_fit_the_smallest_device() {
        let all = |t| {
            let blocks = [32, 64, 128].map(|r| block_shapes(14_336, 4096, t, r));
            shapes(14_336, 4096, t).into_iter().chain(blocks.into_iter().flatten())
        };
        for (terms, s) in [1, 3].into_iter().flat_map(|t| all(t).map(move |s| (t, s))) {
            // Compute capability 8.6 has the least: 99 KiB a block.
            assert!(s.shared_bytes <= 99 << 10, "{terms} terms, up to {}: {} bytes", s.up_to, s.shared_bytes);
            assert!(s.threads <= 256 && s.threads.is_multiple_of(32));
            assert!(s.up_to == 0 || s.grid.tokens >= s.up_to);
        }
        assert_eq!(terms_grid(4096), Grid { tokens: 1, tiles: 8 });
    }
}
