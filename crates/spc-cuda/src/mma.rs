//! The kernels of tensor cores: how a block is cut for a number of tokens, and what a layout asks of the one template.
use crate::Grid;
use crate::shape::{Family, Shape, THREADS};
use spc_formats::Layout;

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

/// A layout as its kernels see it.
#[derive(Clone, Copy, Debug)]
struct Form {
    sparse: bool,
    listed: bool,
    gather: bool,
    /// Rows of 16 that a warp computes.
    h: u32,
    /// Tiles of 32 columns, where every row block has as many; else at most.
    tiles_k: u64,
    /// Rows with their padding.
    rows: u64,
    /// Weights are f16 numbers.
    f16: bool,
}

/// Blocks that keep a large device busy: two for each of 132 multiprocessors.
const BUSY: u64 = 264;
/// Fewest steps that a block takes of those that several share.
const LEAST_STEPS: u64 = 4;

impl Cut {
    /// How many blocks share the columns of a tile of outputs: where there are few tiles of outputs and few tokens.
    fn split(self, form: Form, tiles: u64) -> u32 {
        let steps = form.tiles_k / u64::from(self.kt * self.wk) / if form.listed { 4 } else { 1 };
        let most = if self.up_to == 0 { 1 } else { (BUSY / tiles.max(1)).min(steps / LEAST_STEPS).min(8) };
        u32::try_from(most.max(1)).unwrap_or(1)
    }

    fn shape(self, form: Form, outputs: u64, inputs: u64, terms: u32) -> Shape {
        let (tokens, rows, width) = (8 * self.nt * self.wn, 16 * form.h * self.wm, self.kt * self.wk);
        // As the template lays out a stage.
        let (pieces, lines) = if form.gather { (tokens / 8, width * 32) } else { (width * 4, tokens) };
        let stages = self.stages * terms * lines * (pieces | 1) * 16;
        let sums = tokens * (rows + 4) * 4;
        // Callers have bounded the sizes by 31 bits.
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let tiles = outputs.div_ceil(u64::from(rows));
        let split = self.split(form, tiles);
        Shape {
            family: Family::Mma,
            outputs,
            inputs,
            step: 32 * width,
            grid: Grid { tokens, tiles: small(tiles * u64::from(split)) },
            constants: vec![
                ("KP", small(padded(inputs))),
                ("TERMS", terms),
                ("SPARSE", u32::from(form.sparse)),
                ("LISTED", u32::from(form.listed)),
                ("GATHER", u32::from(form.gather)),
                ("F16", u32::from(form.f16)),
                ("TILES_K", small(form.tiles_k)),
                ("ROWS_STORED", small(form.rows)),
                ("H", form.h),
                ("WM", self.wm),
                ("WN", self.wn),
                ("WK", self.wk),
                ("NT", self.nt),
                ("KT", self.kt),
                ("STAGES", self.stages),
                ("SPLIT", split),
            ],
            shared_bytes: stages.max(sums),
            threads: 32 * self.wm * self.wn * self.wk,
            up_to: self.up_to,
            split,
            parts: if split > 1 { split } else { 0 },
        }
    }
}

/// The kernels of a layout of tensor cores; none for other layouts. Blocks of more than 32 rows have one block of threads each:
/// their lists of columns are their own.
pub(crate) fn shapes(layout: Layout, outputs: u64, inputs: u64, terms: u32) -> Option<Vec<Shape>> {
    let stages = if terms == 1 { 4 } else { 3 };
    let blocks = |wm: u32| {
        [
            cut(8, (wm, 1, 8 / wm), 1, 1, 4),
            cut(32, (wm, 1, if wm == 4 { 2 } else { 4 }), 4, 1, stages),
            if wm == 4 { cut(0, (4, 2, 1), 8, 1, stages) } else { cut(0, (wm, 2, 2), 4, 1, stages) },
        ]
    };
    // A sector of memory holds 16 tokens of a column: fewer would not be less.
    let gathered = |wm: u32| {
        let wk = if wm == 4 { 2 } else { 4 };
        [
            cut(16, (wm, 1, wk), 2, 1, 4),
            cut(32, (wm, 1, wk), 4, 1, stages),
            if wm == 4 { cut(0, (4, 2, 1), 4, 1, stages) } else { cut(0, (wm, 2, 2), 4, 1, stages) },
        ]
    };
    let f16 = layout != layout.with_bf16();
    let stored = |r: u32| outputs.div_ceil(u64::from(r)) * u64::from(r);
    let plain = Form {
        sparse: false,
        listed: true,
        gather: false,
        h: 2,
        tiles_k: inputs.div_ceil(TILE),
        rows: stored(32),
        f16,
    };
    let all = |cuts: &[Cut], form: Form| Some(cuts.iter().map(|c| c.shape(form, outputs, inputs, terms)).collect());
    match layout.with_bf16() {
        Layout::Mma24 => {
            let cuts = if terms == 1 { ONE_TERM } else { THREE_TERMS };
            all(&cuts, Form { sparse: true, listed: false, ..plain })
        }
        Layout::Mma32 { r } => all(&blocks(r / 32), Form { rows: stored(r), ..plain }),
        Layout::Mma1 { r } => {
            all(&gathered((r / 32).max(1)), Form { gather: true, h: (r / 16).min(2), rows: stored(r), ..plain })
        }
        Layout::Vnm { v, m } => {
            let tiles_k = inputs.div_ceil(u64::from(m)).div_ceil(8);
            let rows = stored(v);
            all(&gathered(v / 32), Form { sparse: true, listed: false, gather: true, tiles_k, rows, ..plain })
        }
        _ => None,
    }
}

/// Whether the kernels of a layout take activations turned: neighbouring tokens of a column together.
pub(crate) fn turned(layout: Layout) -> bool {
    matches!(layout.with_bf16(), Layout::Mma1 { .. } | Layout::Vnm { .. })
}

/// The launch that makes turned terms: 16 tokens of 64 columns a block.
pub(crate) fn turned_grid(inputs: u64) -> Grid {
    let tiles = inputs.div_ceil(u64::from(THREADS / 2)).max(1);
    Grid { tokens: 16, tiles: u32::try_from(tiles).unwrap_or(u32::MAX) }
}

/// The launch that adds the sums of several blocks.
pub(crate) fn parts_grid(outputs: u64) -> Grid {
    let tiles = outputs.div_ceil(u64::from(THREADS)).max(1);
    Grid { tokens: 1, tiles: u32::try_from(tiles).unwrap_or(u32::MAX) }
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
        let layouts =
            ["mma24", "mma32(32)", "mma32(64)", "mma32(128)", "mma1(16)", "mma1(32)", "mma1(64)", "mma1(128)"];
        let layouts = layouts.into_iter().chain(["vnm(32,8)", "vnm(64,8)", "vnm(128,16)"]);
        let layouts: Vec<Layout> = layouts.map(|l| l.parse().unwrap()).collect();
        let all = |t| layouts.iter().flat_map(move |l| shapes(*l, 14_336, 4096, t).unwrap());
        for (terms, s) in [1, 3].into_iter().flat_map(|t| all(t).map(move |s| (t, s))) {
            // Compute capability 8.6 has the least: 99 KiB a block.
            assert!(s.shared_bytes <= 99 << 10, "{terms} terms, up to {}: {} bytes", s.up_to, s.shared_bytes);
            assert!(s.threads <= 256 && s.threads.is_multiple_of(32));
            assert!(s.up_to == 0 || s.grid.tokens >= s.up_to);
        }
        let splits =
            |o: u64, k: u64| shapes(Layout::Mma24, o, k, 1).unwrap().iter().map(|s| s.split).collect::<Vec<_>>();
        assert_eq!((splits(14_336, 4096), splits(1024, 4096)), (vec![1, 1, 2, 1], vec![4, 8, 8, 1]));
        assert_eq!(splits(64, 256), [1; 4], "a step is not shared");
        assert!(shapes(Layout::Csr, 4, 4, 1).is_none());
        assert_eq!(terms_grid(4096), Grid { tokens: 1, tiles: 8 });
    }
}
