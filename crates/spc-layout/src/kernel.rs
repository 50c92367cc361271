//! What one linear's kernel takes, from the layout's facts, the shape and a table.
//!
//! ```text
//! kernel = longer + shorter * overlap + activations + launch
//! longer, shorter = compute, weights
//! compute = tokens * (multiplies * mul + activation_loads * load(pass)) + passes * (units * unit + row_blocks * block)
//! weights = stored / rate(level of all weights) + (passes - 1) * stored / rate(again)
//! ```
//!
//! Stored zeros are paid for, and feature-major work is padded to whole tiles of tokens. Tokens that do not fill a pass cost
//! `narrow` times as much each. `load` depends on the bytes of activations that a pass reads: with many inputs they do not
//! stay in the first cache.
use crate::table::{CostTable, Rates};
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

impl CostTable {
    /// Rates of the kernels of a layout that read and write `act`.
    pub fn rates(&self, layout: Layout, act: Act) -> &Rates {
        match (layout, act) {
            (Layout::Dense { .. }, Act::Rm) => &self.dense_rm,
            (Layout::Dense { .. }, Act::Fm) => &self.dense_fm,
            (Layout::Vx1 { .. } | Layout::Bsr { .. }, Act::Rm) => &self.lists_rm,
            (Layout::Nm16 { .. }, _) => &self.nm16,
            (Layout::Csr16, _) => &self.csr16,
            (Layout::Vx1 { .. }, _) => &self.vx1,
            (Layout::Bsr { .. }, _) => &self.bsr,
            (Layout::Nm { .. } | Layout::Mma24 | Layout::Vnm { .. }, _) => &self.nm,
            (Layout::Mma32 { .. } | Layout::Mma1 { .. }, _) => &self.bsr,
            (Layout::Csr, _) => &self.csr,
            (Layout::I8 { .. }, _) => &self.i8,
            (Layout::Groups { .. }, _) => &self.groups,
        }
    }

    /// Tokens that are computed for `tokens` tokens.
    pub fn padded(&self, tokens: u64, act: Act) -> u64 {
        match act {
            Act::Rm => tokens,
            // As `spc-kernel` pads: whole tiles, from 8 on an odd number of them.
            Act::Fm => {
                let tile = self.token_tile.max(1);
                let tiles = tokens.div_ceil(tile);
                tile.saturating_mul(if tiles >= 8 { tiles | 1 } else { tiles })
            }
        }
    }

    /// Picoseconds of a linear's kernel, without what is fused into it.
    pub fn kernel_ps(&self, layout: Layout, facts: &CostFacts, act: Act, shape: Shape) -> u64 {
        let r = self.rates(layout, act);
        let tokens = self.padded(shape.tokens, act);
        let pass = match act {
            Act::Rm => self.pass_rm,
            Act::Fm => self.pass_fm,
        };
        let pass = pass.max(1);
        let (full, rest) = (tokens / pass, tokens % pass);
        let passes = u128::from(full) + u128::from(rest > 0);
        let index = product(facts.units, r.unit_ps).saturating_add(product(facts.row_blocks, r.block_ps));
        let each = |tokens: u64| {
            let load = r.load_at(shape.inputs.saturating_mul(4).saturating_mul(tokens));
            product(facts.multiplies, r.mul_fs).saturating_add(product(facts.activation_loads, load))
        };
        let wide = u128::from(full.saturating_mul(pass)).saturating_mul(each(pass)) / 1000;
        let narrow =
            u128::from(rest).saturating_mul(each(rest)).saturating_mul(u128::from(r.narrow_permille)) / 1_000_000;
        let compute = wide.saturating_add(narrow).saturating_add(passes.saturating_mul(index));
        let stored = u128::from(facts.stored_bytes);
        let again = stored.saturating_mul(passes.saturating_sub(1));
        let weights =
            bytes_ps(stored, self.weight_rate(shape.resident)).saturating_add(bytes_ps(again, self.again_bytes_per_us));
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
        (t.lists_rm, t.nm16, t.csr16) = (r, r, r);
        t.levels = vec![Level { up_to_bytes: 0, bytes_per_us: 1_000_000_000 }];
        (t.activation_bytes_per_us, t.launch_ps) = (1_000_000_000, 0);
        (t.pass_rm, t.pass_fm) = (8, 48);
        t
    }

    const FACTS: CostFacts =
        CostFacts { present: 0, stored_bytes: 0, multiplies: 100, activation_loads: 10, row_blocks: 2, units: 5 };

    fn ps(t: &CostTable, facts: &CostFacts, act: Act, tokens: u64) -> u64 {
        t.kernel_ps(Layout::Vx1 { v: 4 }, facts, act, Shape { tokens, inputs: 0, outputs: 0, resident: 0 })
    }

    #[test]
    fn tokens_that_do_not_fill_a_pass_cost_more_and_each_pass_reads_the_index() {
        let r = Rates { narrow_permille: 3000, ..Rates::flat(1000, 2000, 7, 11) };
        let t = table(r);
        let (token, index) = (100 + 20, 5 * 7 + 2 * 11);
        assert_eq!(ps(&t, &FACTS, Act::Rm, 8), 8 * token + index);
        assert_eq!(ps(&t, &FACTS, Act::Rm, 1), 3 * token + index);
        assert_eq!(ps(&t, &FACTS, Act::Rm, 19), 16 * token + 9 * token + 3 * index);
        // 50 tokens are padded to 64: one pass of 48 and a narrow one of 16.
        assert_eq!(ps(&t, &FACTS, Act::Fm, 50), 48 * token + 48 * token + 2 * index);
    }

    #[test]
    fn what_is_not_hidden_is_added_and_passes_read_again() {
        let mut t = table(Rates { overlap_permille: 250, ..Rates::flat(1000, 0, 0, 0) });
        t.levels = vec![Level { up_to_bytes: 0, bytes_per_us: 1_000 }];
        let facts = CostFacts { stored_bytes: 4, ..FACTS };
        // 800 ps of work, 4000 ps of reading.
        assert_eq!(ps(&t, &facts, Act::Rm, 8), 4000 + 200);
        t.again_bytes_per_us = 2_000;
        assert_eq!(ps(&t, &facts, Act::Rm, 17), 4000 + 2 * 2000 + 1700 / 4);
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
