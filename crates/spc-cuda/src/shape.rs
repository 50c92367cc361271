//! How a layout maps to a kernel: the family of its template and the constants that specialise it.
use crate::Grid;
use spc_formats::Layout;

pub(crate) const THREADS: u32 = 128;
const WARPS: u64 = THREADS as u64 / 32;
/// Columns that a step stages, where the layout does not ask for another number.
const STEP: u32 = 32;
/// Tokens of a block.
const TOKENS: u32 = 64;
/// Outputs of a block of the dense kernel.
const DENSE_OUTPUTS: u64 = 64;
/// Rows that a warp accumulates at once, at most.
const MAX_ROWS: u32 = 32;

/// The templates, each with the text that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Dense,
    Blocks,
    Nm,
    Mma,
    I8,
    Groups,
    Wgmma,
    Csr,
}

impl Family {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::Dense => "dense",
            Family::Blocks => "blocks",
            Family::Nm => "nm",
            Family::Mma => "mma",
            Family::I8 => "i8",
            Family::Groups => "groups",
            Family::Wgmma => "wgmma",
            Family::Csr => "csr",
        }
    }

    /// Its template and those that it calls, in order; that of warp groups is made for the number of terms.
    pub(crate) fn texts(self) -> &'static [&'static str] {
        const ROWS: &str = include_str!("device/rows.cuh");
        const TENSOR: &str = include_str!("device/tensor.cuh");
        const TERMS: &str = include_str!("device/terms.cuh");
        const TILES: &str = include_str!("device/tiles.cuh");
        match self {
            Family::Dense => &[include_str!("device/dense.cuh")],
            Family::Blocks => &[ROWS, include_str!("device/blocks.cuh")],
            Family::Nm => &[ROWS, include_str!("device/nm.cuh")],
            Family::Groups => &[TENSOR, include_str!("device/groups.cuh")],
            Family::I8 => &[include_str!("device/i8.cuh")],
            Family::Mma => &[TENSOR, TERMS, TILES, include_str!("device/mma.cuh")],
            Family::Wgmma => &[TENSOR, TERMS, TILES],
            Family::Csr => &[include_str!("device/rowwise.cuh")],
        }
    }
}

/// One kernel's constants. `constants` are those of the family, in addition to O, K, TOKENS, STEP and TILES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub family: Family,
    pub outputs: u64,
    pub inputs: u64,
    pub step: u32,
    pub grid: Grid,
    pub constants: Vec<(&'static str, u32)>,
    /// Dynamic shared memory of a block, in bytes. At most 48 KiB, which every device gives without being asked, but for the
    /// families of tensor cores and of groups.
    pub shared_bytes: u32,
    pub threads: u32,
    /// Where a linear has several kernels: the most tokens that this one is for, 0 for the one without a bound.
    pub up_to: u32,
    /// Blocks that share the columns of an output. More than one: their sums are added by a kernel of their own.
    pub split: u32,
    /// Sums that are written for each output and token, to be added by a kernel of its own; 0 where the kernel writes results.
    pub parts: u32,
}

impl Shape {
    /// The kernels of a linear: those for few tokens first, the last one for any number. `terms` is the number of bf16 numbers
    /// that tensor cores take an activation as.
    ///
    /// # Errors
    /// Why no kernel can be made, in words.
    pub(crate) fn all(layout: Layout, outputs: u64, inputs: u64, terms: u32) -> Result<Vec<Shape>, String> {
        Shape::sizes(outputs, inputs)?;
        if let Some(shapes) = crate::mma::shapes(layout, outputs, inputs, terms) {
            return Ok(shapes);
        }
        if let Layout::Groups { bits, group, scale, kept } = layout {
            let shape = |most| Shape::groups(outputs, inputs, (bits, group), (scale == 16, kept), most);
            let (one, more) = (shape(1), shape(4));
            return Ok(if more.grid.tokens > 1 { vec![Shape { up_to: 1, ..one }, more] } else { vec![one] });
        }
        let many = Shape::new(layout, outputs, inputs)?;
        if layout == Layout::Csr {
            let few = |most: u32| Shape { up_to: most, ..Shape::rowwise(outputs, inputs, most) };
            return Ok(vec![few(1), few(8), many]);
        }
        Ok(vec![many])
    }

    /// Whether its kernel gathers activations from shared memory, entry by entry.
    pub(crate) fn is_dealt(&self) -> bool {
        self.family == Family::Csr && self.constants.contains(&("STAGED", 1))
    }

    fn sizes(outputs: u64, inputs: u64) -> Result<(), String> {
        // Row and column numbers are `int`, and may run past the last by less than a block.
        const LIMIT: u64 = i32::MAX as u64 - 4096;
        if outputs > LIMIT || inputs > LIMIT {
            return Err(format!("{outputs} x {inputs} weights are too large for 32-bit row and column numbers"));
        }
        if outputs == 0 {
            return Err("there are no outputs".into());
        }
        Ok(())
    }

    fn new(layout: Layout, outputs: u64, inputs: u64) -> Result<Shape, String> {
        Ok(match layout {
            Layout::Dense { panel } => {
                let floats = STEP * (TOKENS + 1) + STEP * DENSE_OUTPUTS as u32;
                let (constants, tiles) = (vec![("P", panel)], outputs.div_ceil(DENSE_OUTPUTS));
                Shape::build(Family::Dense, outputs, inputs, (TOKENS, STEP), tiles, constants, floats)
            }
            Layout::Vx1 { v } => Shape::blocks(outputs, inputs, v, 1),
            Layout::Bsr { r, c } => Shape::blocks(outputs, inputs, r, c),
            Layout::Csr => Shape::blocks(outputs, inputs, 1, 1),
            Layout::I8 { r } => {
                let tiles = outputs.div_ceil(u64::from(THREADS));
                Shape::build(Family::I8, outputs, inputs, (8, 4), tiles, vec![("R", r)], 0)
            }
            Layout::Nm { n, m } => {
                let step = if m <= STEP { STEP / m * m } else { m };
                let tokens = if m <= 128 { TOKENS } else { TOKENS / 2 };
                let constants = vec![("NN", n), ("M", m), ("R", 1), ("ROWS", 1), ("UNITS", 8)];
                Shape::rows(Family::Nm, outputs, inputs, (tokens, step), outputs, constants, 8)
            }
            // Those of tensor cores are above.
            _ => {
                return Err(format!("{layout} has no CUDA kernel yet"));
            }
        })
    }

    /// Units of groups dealt out evenly to a fixed number of warps: four blocks for each multiprocessor of a large device. A block
    /// has `most` tokens, or as many as its memory holds.
    fn groups(outputs: u64, inputs: u64, (bits, group): (u32, u32), (half, kept): (bool, bool), most: u64) -> Shape {
        const BLOCKS: u64 = 528;
        const SHARED: u64 = 64 << 10;
        const MOST_SHARED: u64 = 96 << 10;
        let units = spc_formats::Units::of(bits, group as usize);
        let (of_row, small) = (inputs.div_ceil(u64::from(group)), |n: u64| u32::try_from(n).unwrap_or(u32::MAX));
        // As the template lays out a group: rows of all banks.
        let row = of_row * u64::from(group.max(32)) * 4;
        let staged = row <= MOST_SHARED;
        let tokens = if staged { (SHARED / row.max(1)).clamp(1, most) } else { 1 };
        let blocks = outputs.div_ceil(WARPS).min(BLOCKS);
        let warps = blocks * WARPS;
        // Rows, and two pieces of a row for each warp.
        let parts = 1 + (2 * warps).div_ceil(outputs);
        let constants = vec![
            ("BITS", bits),
            ("G", group),
            ("P", small(units.groups as u64)),
            ("BYTES", small(units.bytes as u64)),
            ("UNITS", small(units.of_row(usize::try_from(of_row).unwrap_or(usize::MAX)) as u64)),
            ("HALF", u32::from(half)),
            ("KEPT", u32::from(kept)),
            ("STAGED", u32::from(staged)),
            ("WARPS", small(warps)),
            ("STRIDE", small(parts * outputs)),
        ];
        let floats = if staged { small(tokens * row / 4) } else { 0 };
        let shape = Shape::build(Family::Groups, outputs, inputs, (small(tokens), group), blocks, constants, floats);
        Shape { parts: small(parts), ..shape }
    }

    /// Whole rows of entries for few tokens, 32 outputs a block.
    fn rowwise(outputs: u64, inputs: u64, tokens: u32) -> Shape {
        const ROWS: u64 = 32;
        let (sums, x) = (u64::from(tokens) * (ROWS + 1), u64::from(tokens) * inputs);
        let staged = sums + x <= (48 << 10) / 4;
        let floats = u32::try_from(if staged { sums + x } else { sums }).unwrap_or(u32::MAX);
        let constants = vec![("STAGED", u32::from(staged))];
        Shape::build(Family::Csr, outputs, inputs, (tokens, 32), outputs.div_ceil(ROWS), constants, floats)
    }

    fn blocks(outputs: u64, inputs: u64, r: u32, c: u32) -> Shape {
        let parts = r.div_ceil(MAX_ROWS);
        let rows = r.div_ceil(parts);
        let units = (16 / rows).clamp(1, 8);
        let total = outputs.div_ceil(u64::from(r)) * u64::from(parts);
        let constants = vec![("R", r), ("C", c), ("ROWS", rows), ("UNITS", units)];
        Shape::rows(Family::Blocks, outputs, inputs, (TOKENS, STEP), total, constants, rows * units)
    }

    /// A family of warps over rows: `total` units in all, `rows_of_warp` outputs a warp.
    fn rows(
        family: Family,
        outputs: u64,
        inputs: u64,
        (tokens, step): (u32, u32),
        total: u64,
        constants: Vec<(&'static str, u32)>,
        rows_of_warp: u32,
    ) -> Shape {
        let units = constants.iter().find(|(n, _)| *n == "UNITS").map_or(1, |(_, u)| u64::from(*u));
        let width = WARPS as u32 * rows_of_warp;
        let floats = (step * (tokens + 1)).max(tokens * (width + 1));
        Shape::build(family, outputs, inputs, (tokens, step), total.div_ceil(WARPS * units), constants, floats)
    }

    fn build(
        family: Family,
        outputs: u64,
        inputs: u64,
        (tokens, step): (u32, u32),
        tiles: u64,
        constants: Vec<(&'static str, u32)>,
        floats: u32,
    ) -> Shape {
        // `tiles` is at most `outputs`, which is in range.
        let grid = Grid { tokens, tiles: u32::try_from(tiles).unwrap_or(u32::MAX) };
        Shape {
            family,
            outputs,
            inputs,
            step,
            grid,
            constants,
            shared_bytes: floats * 4,
            threads: THREADS,
            up_to: 0,
            split: 1,
            parts: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_fits_every_layout() {
        let sizes = || (1..=256u32).step_by(5).chain([2, 4, 8, 16, 32, 33, 64, 128, 256]);
        let mut layouts = vec![Layout::Csr];
        for a in sizes() {
            layouts.extend([Layout::Dense { panel: a }, Layout::Vx1 { v: a }]);
            layouts.extend(sizes().map(|c| Layout::Bsr { r: a, c }));
            layouts.extend(sizes().filter(|m| *m >= a).map(|m| Layout::Nm { n: a, m }));
        }
        for layout in layouts {
            let s = Shape::all(layout, 1000, 1000, 3).unwrap().pop().unwrap();
            assert!(s.shared_bytes <= 48 << 10, "{layout}: {} bytes", s.shared_bytes);
            assert!(s.grid.tokens.is_multiple_of(32) && s.grid.tiles > 0, "{layout}");
            if let Layout::Nm { m, .. } = layout {
                assert_eq!(s.step % m, 0, "{layout}: a step stages whole groups");
            }
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        assert!(Shape::all(Layout::Csr, 0, 4, 3).is_err());
        assert!(Shape::all(Layout::Csr, 1 << 31, 4, 3).is_err());
        assert!(Shape::all(Layout::Mma24, 4, u64::MAX, 3).is_err());
    }
}
