//! Cost tables: the constants of the roofline as plain data. Integers, so that sums do not depend on order or machine.
use serde::{Deserialize, Serialize};

/// Rates of one kernel family. A kernel on `t` tokens takes
/// `t * (multiplies * mul_fs + activation_loads * load_fs)` femtoseconds plus, for each tile of tokens,
/// `units * unit_ps + row_blocks * block_ps` picoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// One multiply-add of one token.
    pub mul_fs: u64,
    /// One activation load of one token.
    pub load_fs: u64,
    /// Reading the index of one stored unit.
    pub unit_ps: u64,
    /// Starting and finishing one block of rows.
    pub block_ps: u64,
}

/// Weights that together take at most `up_to_bytes` are read at `bytes_per_us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    pub up_to_bytes: u64,
    pub bytes_per_us: u64,
}

/// What one machine and executor need for each kind of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostTable {
    pub name: String,
    /// Feature-major kernels compute whole tiles of this many tokens.
    pub token_tile: u64,
    pub dense_rm: Rates,
    pub dense_fm: Rates,
    pub vx1: Rates,
    pub bsr: Rates,
    pub nm: Rates,
    pub csr: Rates,
    pub i8: Rates,
    /// Memory levels, smallest first; the last one holds what exceeds it, too.
    pub levels: Vec<Level>,
    pub activation_bytes_per_us: u64,
    pub convert_bytes_per_us: u64,
    /// Starting one kernel.
    pub launch_ps: u64,
    /// One cheap pointwise operation on one element, and one that calls a function (exp, erf, division).
    pub element_ps: u64,
    pub call_ps: u64,
    /// One multiply-add of a contraction that is no linear.
    pub contract_fs: u64,
}

impl CostTable {
    /// Cranelift's 128-bit code on one core of an x86-64 server. The kernel rates are fitted to kernels of 64 x 256 to
    /// 1536 x 384 at 256 and 360 tokens (`docs/benchmarks.md`); the other constants are estimates. At full density no sparse
    /// layout is cheaper than dense.
    pub fn clif_x86_64_v1() -> CostTable {
        let rates = |mul_fs, load_fs, unit_ps, block_ps| Rates { mul_fs, load_fs, unit_ps, block_ps };
        CostTable {
            name: "clif-x86_64-v1".into(),
            token_tile: 16,
            dense_rm: rates(36_500, 8_000, 0, 10_000),
            dense_fm: rates(41_000, 12_000, 0, 10_000),
            vx1: rates(41_000, 20_000, 200, 10_000),
            bsr: rates(41_000, 12_000, 300, 10_000),
            nm: rates(41_000, 21_000, 0, 4_000),
            csr: rates(41_000, 12_000, 150, 4_000),
            // The dot product of bytes is a score of instructions here.
            i8: rates(160_000, 12_000, 300, 10_000),
            levels: vec![
                Level { up_to_bytes: 1 << 20, bytes_per_us: 60_000 },
                Level { up_to_bytes: 32 << 20, bytes_per_us: 25_000 },
                Level { up_to_bytes: u64::MAX, bytes_per_us: 12_500 },
            ],
            activation_bytes_per_us: 40_000,
            convert_bytes_per_us: 12_000,
            launch_ps: 300_000,
            element_ps: 150,
            call_ps: 4_000,
            contract_fs: 250_000,
        }
    }

    /// 256- and 512-bit code on one core of an AVX-512 server, its kernel rates fitted as those of
    /// [`CostTable::clif_x86_64_v1`]; conversions and calls of functions run the same scalar code. AVX2 takes about twice the
    /// time in every kernel, so its choices are the same.
    pub fn wide_x86_64_v1() -> CostTable {
        let rates = |mul_fs, load_fs, unit_ps, block_ps| Rates { mul_fs, load_fs, unit_ps, block_ps };
        CostTable {
            name: "wide-x86_64-v1".into(),
            dense_rm: rates(10_800, 5_000, 0, 10_000),
            dense_fm: rates(10_800, 6_000, 0, 10_000),
            vx1: rates(10_800, 8_000, 30, 10_000),
            bsr: rates(10_800, 6_000, 60, 10_000),
            nm: rates(10_800, 15_500, 0, 4_000),
            csr: rates(10_800, 10_000, 60, 4_000),
            i8: rates(25_000, 3_000, 60, 10_000),
            ..CostTable::clif_x86_64_v1()
        }
    }

    /// 512-bit code where the dot product of bytes is an instruction (VNNI): see the table of 8-bit cells in
    /// `docs/benchmarks.md`.
    pub fn vnni_x86_64_v1() -> CostTable {
        CostTable {
            name: "vnni-x86_64-v1".into(),
            i8: Rates { mul_fs: 2_700, load_fs: 3_000, unit_ps: 60, block_ps: 10_000 },
            ..CostTable::wide_x86_64_v1()
        }
    }

    /// Hash of all fields, 16 hexadecimal digits (FNV-1a, 64 bits): the version of the table.
    pub fn hash(&self) -> String {
        let text = format!("{self:?}");
        let step = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
        format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// Read rate of weights that together take `bytes`.
    pub fn weight_rate(&self, bytes: u64) -> u64 {
        let level = self.levels.iter().find(|l| bytes <= l.up_to_bytes).or(self.levels.last());
        level.map_or(1, |l| l.bytes_per_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_version_of_the_table() {
        let table = CostTable::clif_x86_64_v1();
        assert_eq!(table.hash(), CostTable::clif_x86_64_v1().hash());
        let other = CostTable { launch_ps: 1, ..table.clone() };
        assert_ne!(table.hash(), other.hash());
    }

    #[test]
    fn dense_is_the_cheapest_way_to_store_everything() {
        for t in [CostTable::clif_x86_64_v1(), CostTable::wide_x86_64_v1()] {
            let each = |r: Rates| (r.mul_fs, r.load_fs, r.unit_ps);
            for s in [t.vx1, t.bsr, t.nm, t.csr].map(each) {
                for d in [t.dense_rm, t.dense_fm].map(each) {
                    assert!(d.0 <= s.0 && d.1 <= s.1 && d.2 <= s.2 && d != s);
                }
            }
        }
    }

    #[test]
    fn levels_are_found_by_size() {
        let table = CostTable::clif_x86_64_v1();
        assert_eq!(table.weight_rate(0), 60_000);
        assert_eq!(table.weight_rate((1 << 20) + 1), 25_000);
        assert_eq!(table.weight_rate(u64::MAX), 12_500);
        assert_eq!(CostTable { levels: vec![], ..table }.weight_rate(5), 1);
    }
}
