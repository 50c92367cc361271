//! What one linear's kernel takes, from the layout's facts, the shape and a table.
//!
//! ```text
//! kernel = longer + shorter * overlap + activations + launch
//! longer, shorter = compute, weights
//! compute = tokens * (multiplies * mul(rows, tokens) + activation_loads * load(pass)) + passes * (units * unit + row_blocks * block)
//! weights = stored / rate(level of all weights) * read + (passes - 1) * stored / rate(again)
//! ```
//!
//! Stored zeros are paid for, and feature-major work is padded to whole tiles of tokens. `mul` is a table, by the rows that
//! share an index and the tokens that are computed together: few of either leave lanes and units idle. `load` depends on the
//! bytes of activations that a pass reads: with many inputs they do not stay in the first cache.
use crate::table::{CostTable, MANY, Rates, TOKENS_FM, TOKENS_RM, between};
use spc_formats::{CostFacts, Layout};
use spc_ir::Act;

/// Sizes of a linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub tokens: u64,
    pub inputs: u64,
    pub outputs: u64,
    /// Bytes among which the weights lie: those of all weights that are read in turns.
    pub resident: u64,
}

pub(crate) fn bytes_ps(bytes: u128, rate: u64) -> u128 {
    bytes.saturating_mul(1_000_000) / u128::from(rate.max(1))
}

fn product(a: u64, b: u64) -> u128 {
    u128::from(a).saturating_mul(u128::from(b))
}

/// Tokens of a token-major kernel whose activations are read together.
const TILE_RM: u64 = 16;

/// Rows of a layout that share an index.
pub fn height(layout: Layout) -> u64 {
    match layout {
        Layout::Dense { panel } => u64::from(panel),
        Layout::Vx1 { v } => u64::from(v),
        Layout::Bsr { r, .. } | Layout::I8 { r } | Layout::Mma32 { r } | Layout::Mma1 { r } => u64::from(r),
        Layout::Vnm { v, .. } => u64::from(v),
        // Sixteen rows side by side; what stands at 4 in the rates of `i8nm` is for codes of 4 bits, those of `i8csr` stand where its
        // codes are.
        Layout::I8Nm { .. } | Layout::Vnm16 { .. } | Layout::Bitmap => 16,
        Layout::I4Nm { .. } => 4,
        Layout::I8Csr { c } => u64::from(c),
        // Sixteen rows side by side; what stands at 8 is for codes of 4 bits.
        Layout::Groups { bits, .. } => {
            if bits == 4 {
                8
            } else {
                16
            }
        }
        Layout::Half { of, .. } => height(of.layout()),
        Layout::Nm { .. } | Layout::Nm16 { .. } | Layout::Mma24 | Layout::Csr | Layout::Csr16 => 1,
    }
}

/// Femtoseconds that all tokens take for one multiply-add each.
fn token_fs(r: &Rates, rows: u64, tokens: u64, act: Act, pass: u64) -> u128 {
    let each = |n: u64, at: usize| product(n, r.mul_at(rows, at));
    match act {
        Act::Rm => {
            let knot = |i: usize| (TOKENS_RM[i], TOKENS_RM[i].saturating_mul(r.mul_at(rows, i)));
            match TOKENS_RM.iter().position(|n| tokens <= *n) {
                _ if tokens == 0 => 0,
                Some(0) => each(tokens, 0),
                Some(i) => u128::from(between(knot(i - 1), knot(i), tokens)),
                None => each(tokens, TOKENS_RM.len() - 1),
            }
        }
        Act::Fm => {
            let (full, rest) = (tokens / pass, tokens % pass);
            let at = TOKENS_FM.iter().position(|n| rest <= *n).unwrap_or(2);
            let passes = if tokens >= MANY { 3 } else { 2 };
            each(full.saturating_mul(pass), passes).saturating_add(each(rest, at))
        }
    }
}

impl CostTable {
    /// Rates of the kernels of a layout that read and write `act`.
    pub fn rates(&self, layout: Layout, act: Act) -> &Rates {
        match (layout, act) {
            (Layout::Dense { .. }, Act::Rm) => &self.dense_rm,
            (Layout::Dense { .. }, Act::Fm) => &self.dense_fm,
            (Layout::Vx1 { .. } | Layout::Bsr { .. }, Act::Rm) => &self.lists_rm,
            (Layout::Nm16 { .. }, _) => &self.nm16,
            (Layout::Csr16, _) => &self.csr16,
            (Layout::Vnm16 { .. }, _) => &self.vnm16,
            (Layout::Bitmap, _) => &self.bitmap,
            (Layout::Vx1 { .. }, _) => &self.vx1,
            (Layout::Bsr { .. }, _) => &self.bsr,
            (Layout::Nm { .. } | Layout::Mma24 | Layout::Vnm { .. }, _) => &self.nm,
            (Layout::Mma32 { .. } | Layout::Mma1 { .. }, _) => &self.bsr,
            (Layout::Csr, _) => &self.csr,
            (Layout::I8 { .. }, _) => &self.i8,
            (Layout::I8Nm { .. } | Layout::I4Nm { .. }, _) => &self.i8nm,
            (Layout::I8Csr { .. }, _) => &self.i8csr,
            (Layout::Groups { .. }, _) => &self.groups,
            (Layout::Half { of, .. }, act) => self.rates(of.layout(), act),
        }
    }

    /// Tokens that are computed for `tokens` tokens.
    pub fn padded(&self, tokens: u64, act: Act) -> u64 {
        match act {
            Act::Rm => tokens,
            // As `spc-kernel` pads: whole tiles.
            Act::Fm => {
                let tile = self.token_tile.max(1);
                tile.saturating_mul(tokens.div_ceil(tile))
            }
        }
    }

    /// Picoseconds of a linear's kernel, without what is fused into it.
    pub fn kernel_ps(&self, layout: Layout, facts: &CostFacts, act: Act, shape: Shape) -> u64 {
        let r = self.rates(layout, act);
        let tokens = self.padded(shape.tokens, act);
        let rows = height(layout);
        let pass = self.pass_fm.max(1);
        let (passes, together) = match act {
            // Token-major kernels go over the weights a few tokens at a time; `mul` has what that costs.
            Act::Rm => (1, tokens.min(TILE_RM)),
            Act::Fm => (tokens.div_ceil(pass).max(1), tokens.min(pass)),
        };
        let index = product(facts.units, r.unit_ps).saturating_add(product(facts.row_blocks, r.block_ps));
        let load = r.load_at(shape.inputs.saturating_mul(4).saturating_mul(together));
        let multiplies = u128::from(facts.multiplies).saturating_mul(token_fs(r, rows, tokens, act, pass));
        let loads = product(facts.activation_loads, load).saturating_mul(u128::from(tokens));
        let compute =
            (multiplies.saturating_add(loads) / 1000).saturating_add(u128::from(passes).saturating_mul(index));
        let read = product(self.read_ps(facts.stored_bytes, shape.resident), r.read_permille) / 1000;
        let again = product(facts.stored_bytes, passes - 1);
        let weights = read.saturating_add(bytes_ps(again, self.again_bytes_per_us));
        let (longer, shorter) = (compute.max(weights), compute.min(weights));
        let exposed = shorter.saturating_mul(u128::from(r.overlap_permille)) / 1000;
        let ends = u128::from(shape.inputs).saturating_add(u128::from(shape.outputs));
        let moved = u128::from(tokens).saturating_mul(ends).saturating_mul(4);
        let traffic = bytes_ps(moved, self.activation_bytes_per_us).saturating_add(u128::from(self.launch_ps));
        let total = longer.saturating_add(exposed).saturating_add(traffic);
        u64::try_from(total).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    fn table(r: Rates) -> CostTable {
        let mut t = CostTable::clif_x86_64_v1();
        (t.dense_rm, t.dense_fm, t.vx1, t.bsr, t.nm, t.csr) = (r, r, r, r, r, r);
        (t.lists_rm, t.nm16, t.csr16, t.vnm16, t.bitmap) = (r, r, r, r, r);
        t.levels = vec![Level { up_to_bytes: 0, bytes_per_us: 1_000_000_000 }];
        (t.activation_bytes_per_us, t.launch_ps) = (1_000_000_000, 0);
        t.pass_fm = 48;
        t
    }

    const FACTS: CostFacts =
        CostFacts { present: 0, stored_bytes: 0, multiplies: 100, activation_loads: 10, row_blocks: 2, units: 5 };

    fn ps(t: &CostTable, facts: &CostFacts, act: Act, tokens: u64) -> u64 {
        t.kernel_ps(Layout::Vx1 { v: 4 }, facts, act, Shape { tokens, inputs: 0, outputs: 0, resident: 0 })
    }

    #[test]
    fn tokens_that_do_not_fill_a_pass_cost_more_and_each_pass_reads_the_index() {
        let mut r = Rates::flat(1000, 2000, 7, 11);
        // Of four rows: token-major by tokens of a call, feature-major by those of a pass.
        r.slower_permille[2] = [3000, 2000, 1500, 1200, 1000, 1000];
        let t = table(r);
        let (load, index) = (20, 5 * 7 + 2 * 11);
        let rm = |n| ps(&t, &FACTS, Act::Rm, n) - n * load - index;
        assert_eq!([1, 2, 4, 8, 16, 32, 100].map(rm), [300, 400, 600, 960, 1600, 3200, 10_000]);
        // Between two knots, in proportion.
        assert_eq!([3, 12].map(rm), [500, 1280]);
        let fm = |n, padded, passes| ps(&t, &FACTS, Act::Fm, n) - padded * load - passes * index;
        assert_eq!((fm(1, 16, 1), fm(32, 32, 1), fm(48, 48, 1)), (4800, 6400, 7200));
        // 50 tokens are padded to 64: a pass of 48 and a narrow one of 16.
        assert_eq!(fm(50, 64, 2), 7200 + 4800);
        // Passes of many tokens are taken together; what is left of them is narrow.
        assert_eq!((fm(96, 96, 2), fm(128, 128, 3)), (96 * 120, 96 * 120 + 6400));
    }

    #[test]
    fn what_is_not_hidden_is_added_and_passes_read_again() {
        let mut t = table(Rates { overlap_permille: 250, read_permille: 2000, ..Rates::flat(1000, 0, 0, 0) });
        t.levels = vec![Level { up_to_bytes: 0, bytes_per_us: 1_000 }];
        let facts = CostFacts { stored_bytes: 4, ..FACTS };
        // 800 ps of work, 8000 ps of reading.
        assert_eq!(ps(&t, &facts, Act::Rm, 8), 8000 + 200);
        t.again_bytes_per_us = 2_000;
        assert_eq!(ps(&t, &facts, Act::Fm, 48), 8000 + 4800 / 4);
        assert_eq!(ps(&t, &facts, Act::Fm, 100), 8000 + 2 * 2000 + 11_200 / 4);
    }

    #[test]
    fn activations_far_away_cost_more() {
        let t = table(Rates { load_fs: [1000, 1000, 9000, 9000], ..Rates::flat(0, 0, 0, 0) });
        let at = |inputs| {
            let shape = Shape { tokens: 48, inputs, outputs: 0, resident: 0 };
            // Without the traffic of activations.
            t.kernel_ps(Layout::Csr, &FACTS, Act::Fm, shape) - 48 * inputs * 4 / 1000
        };
        assert_eq!((at(64), at(4096)), (48 * 10, 48 * 90));
        assert!(at(64) < at(700) && at(700) < at(4096));
    }
}
