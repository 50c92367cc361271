//! Cost tables: the constants of the roofline as plain data. Integers, so that sums do not depend on order or machine.
use crate::shipped::{amx, avx2, avx512, portable, vnni};
use serde::{Deserialize, Serialize};

/// Rates of one kernel family. A kernel goes over its tokens in passes; see [`CostTable::kernel_ps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// One multiply-add of one token at its best, in femtoseconds.
    pub mul_fs: u64,
    /// What it takes in thousandths of `mul_fs`: by rows that share an index (those of [`HEIGHTS`]), then by tokens
    /// ([`TOKENS_RM`] of a call, [`TOKENS_FM`] of a pass). Few rows or tokens leave lanes and multiply-add units idle.
    pub slower_permille: [[u32; 6]; 5],
    /// One activation load of one token where the activations of a pass take the bytes of [`LOAD_BYTES`]; between those
    /// sizes, in proportion. In femtoseconds.
    pub load_fs: [u64; 4],
    /// Reading the index of one stored unit in one pass.
    pub unit_ps: u64,
    /// Starting and finishing one block of rows in one pass.
    pub block_ps: u64,
    /// The share of the shorter of computing and reading weights that the longer one does not hide, in thousandths.
    pub overlap_permille: u64,
    /// Reading weights takes so many thousandths of what plain reading takes.
    pub read_permille: u64,
}

/// Bytes of the activations of one pass at which [`Rates::load_fs`] are given.
pub const LOAD_BYTES: [u64; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Rows that share an index, at which [`Rates::slower_permille`] is given: a layout takes the greatest that it has.
pub const HEIGHTS: [u64; 5] = [1, 2, 4, 8, 16];

/// Tokens of a token-major call at which [`Rates::slower_permille`] is given; between them, in proportion.
pub const TOKENS_RM: [u64; 6] = [1, 2, 4, 8, 16, 32];

/// Tokens of a pass of a feature-major kernel at which it is given: narrow passes, a full one, and the full passes of
/// [`MANY`] tokens and more. What is left of six is not used.
pub const TOKENS_FM: [u64; 4] = [16, 32, 48, 144];

/// From here on feature-major kernels take several passes together.
pub const MANY: u64 = 96;

impl Rates {
    /// The same rates wherever activations lie and however full a pass is; computing hides reading entirely.
    pub fn flat(mul_fs: u64, load_fs: u64, unit_ps: u64, block_ps: u64) -> Rates {
        let load_fs = [load_fs; 4];
        let slower_permille = [[1000; 6]; 5];
        Rates { mul_fs, slower_permille, load_fs, unit_ps, block_ps, overlap_permille: 0, read_permille: 1000 }
    }

    /// One multiply-add of one token of blocks of `rows` rows, in femtoseconds, at the knot of tokens `at`.
    pub fn mul_at(&self, rows: u64, at: usize) -> u64 {
        let height = HEIGHTS.iter().rposition(|h| *h <= rows).unwrap_or(0);
        let permille = self.slower_permille.get(height).and_then(|r| r.get(at)).copied().unwrap_or(1000);
        let fs = u128::from(self.mul_fs).saturating_mul(u128::from(permille)) / 1000;
        u64::try_from(fs).unwrap_or(u64::MAX)
    }

    /// One load of one token where a pass reads `bytes` bytes of activations.
    pub fn load_at(&self, bytes: u64) -> u64 {
        let knots = LOAD_BYTES.iter().copied().zip(self.load_fs);
        let mut below: Option<(u64, u64)> = None;
        for (size, fs) in knots {
            if bytes <= size {
                return below.map_or(fs, |b| between(b, (size, fs), bytes));
            }
            below = Some((size, fs));
        }
        below.map_or(0, |(_, f)| f)
    }
}

/// FNV-1a, 64 bits, as 16 hexadecimal digits.
pub(crate) fn fnv(text: &str) -> String {
    let step = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The value at `x` on the line through two points, `a.0 < x <= b.0`.
pub(crate) fn between(a: (u64, u64), b: (u64, u64), x: u64) -> u64 {
    let (part, whole) = (i128::from(x) - i128::from(a.0), i128::from(b.0) - i128::from(a.0));
    let at = i128::from(a.1) + (i128::from(b.1) - i128::from(a.1)) * part / whole.max(1);
    u64::try_from(at).unwrap_or(0)
}

/// Weights that together take `up_to_bytes` are read at `bytes_per_us`: those that take less, at a rate between this and
/// that of the level before; those beyond the last level but one of a table that ends with `u64::MAX`, at the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    pub up_to_bytes: u64,
    pub bytes_per_us: u64,
}

/// What one machine and executor need for each kind of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostTable {
    pub name: String,
    /// Where the numbers come from.
    pub source: String,
    /// Feature-major kernels compute whole tiles of this many tokens.
    pub token_tile: u64,
    /// Tokens of a full pass over the weights of feature-major kernels.
    pub pass_fm: u64,
    /// Rate at which further passes read the weights again, from the caches.
    pub again_bytes_per_us: u64,
    pub dense_rm: Rates,
    pub dense_fm: Rates,
    pub vx1: Rates,
    pub bsr: Rates,
    pub nm: Rates,
    pub csr: Rates,
    /// Token-major kernels of `vx1` and `bsr`, and the layouts for few tokens.
    pub lists_rm: Rates,
    pub nm16: Rates,
    pub csr16: Rates,
    pub vnm16: Rates,
    pub bitmap: Rates,
    pub i8: Rates,
    /// Codes of which some of each group are kept, by rows: `i4nm` at four, `i8nm` at sixteen; and any, `i8csr` by its codes.
    pub i8nm: Rates,
    pub i8csr: Rates,
    /// Codes with a scale for each group: loads and units are vectors of 16 codes.
    pub groups: Rates,
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

/// Greatest rate of any table, in bytes a microsecond.
pub(crate) const MOST_RATE: u64 = 1_000_000_000;

impl CostTable {
    /// Cranelift's 128-bit code on one core of an x86-64 server.
    pub fn clif_x86_64_v1() -> CostTable {
        portable::table()
    }

    /// 512-bit code.
    pub fn wide_x86_64_v1() -> CostTable {
        avx512::table()
    }

    /// 256-bit code.
    pub fn avx2_x86_64_v1() -> CostTable {
        avx2::table()
    }

    /// 128-bit code on one core of an aarch64 server, derived and not measured: the table of [`CostTable::clif_x86_64_v1`],
    /// whose kernels are the same, with twice the vector rate (such cores start four 128-bit multiply-adds a cycle where
    /// that one starts two).
    pub fn neon_aarch64_v1() -> CostTable {
        let base = CostTable::clif_x86_64_v1();
        let half = |r: Rates| Rates { mul_fs: r.mul_fs / 2, ..r };
        CostTable {
            name: "neon-aarch64-v1".into(),
            source: "derived from clif-x86_64-v1 at twice the rate of multiply-adds, not measured".into(),
            dense_rm: half(base.dense_rm),
            dense_fm: half(base.dense_fm),
            vx1: half(base.vx1),
            bsr: half(base.bsr),
            nm: half(base.nm),
            csr: half(base.csr),
            lists_rm: half(base.lists_rm),
            nm16: half(base.nm16),
            csr16: half(base.csr16),
            vnm16: half(base.vnm16),
            bitmap: half(base.bitmap),
            groups: half(base.groups),
            i8: half(base.i8),
            i8nm: half(base.i8nm),
            i8csr: half(base.i8csr),
            ..base
        }
    }

    /// 512-bit code where the dot product of bytes is an instruction (VNNI).
    pub fn vnni_x86_64_v1() -> CostTable {
        vnni::table()
    }

    /// The same with tiles of 8-bit integers (AMX).
    pub fn amx_x86_64_v1() -> CostTable {
        amx::table()
    }

    /// Hash of all fields, 16 hexadecimal digits (FNV-1a, 64 bits): the version of the table.
    pub fn hash(&self) -> String {
        fnv(&format!("{self:?}"))
    }

    /// Picoseconds of reading `bytes` bytes of weights that lie among `resident` bytes.
    pub fn read_ps(&self, bytes: u64, resident: u64) -> u64 {
        let ps = |rate: u64| {
            let ps = u128::from(bytes).saturating_mul(1_000_000) / u128::from(rate.max(1));
            u64::try_from(ps).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
        };
        let mut below: Option<(u64, u64)> = None;
        for l in &self.levels {
            let here = ps(l.bytes_per_us);
            if resident <= l.up_to_bytes {
                return match below {
                    Some(b) if l.up_to_bytes < u64::MAX => between(b, (l.up_to_bytes, here), resident),
                    _ => here,
                };
            }
            below = Some((l.up_to_bytes, here));
        }
        below.map_or(0, |(_, ps)| ps)
    }
}

/// All tables that come with spc.
#[cfg(test)]
pub(crate) fn shipped() -> [CostTable; 6] {
    let (clif, neon) = (CostTable::clif_x86_64_v1(), CostTable::neon_aarch64_v1());
    let (avx2, avx512) = (CostTable::avx2_x86_64_v1(), CostTable::wide_x86_64_v1());
    [clif, neon, avx2, avx512, CostTable::vnni_x86_64_v1(), CostTable::amx_x86_64_v1()]
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
    fn shipped_tables_are_sound_and_differ() {
        let all = shipped();
        let named: std::collections::BTreeMap<String, CostTable> =
            all.iter().map(|t| (t.name.clone(), t.clone())).collect();
        assert_eq!(named.len(), all.len());
        let text = crate::Constants::new(named.clone()).to_json().unwrap();
        assert_eq!(crate::Constants::parse(&text), Ok(crate::Constants::new(named)));
        let hashes: std::collections::BTreeSet<String> = all.iter().map(CostTable::hash).collect();
        assert_eq!(hashes.len(), all.len());
        for t in &all {
            // More bytes are never read faster.
            assert!(t.levels.windows(2).all(|w| w[0].bytes_per_us >= w[1].bytes_per_us), "{}", t.name);
            let made = ["spc calibrate", "derived"].iter().any(|w| t.source.contains(w));
            assert!(made && t.levels.last().is_some_and(|l| l.up_to_bytes == u64::MAX));
        }
    }

    #[test]
    fn wider_code_is_faster_where_a_pass_is_full() {
        let at = |t: &CostTable| t.dense_fm.mul_at(16, 2);
        let [clif, neon, avx2, avx512, vnni, amx] = shipped();
        assert!(at(&clif) > at(&avx2) && at(&avx2) > at(&avx512) && at(&neon) < at(&clif));
        assert!(vnni.i8.mul_fs * 3 < avx512.i8.mul_fs);
        // Blocks on tiles from eight tokens on: below, the code is the same, and a tile is made for sixteen.
        let i8 = |t: &CostTable, at| t.i8.mul_at(16, at);
        assert!((0..3).all(|at| i8(&amx, at).abs_diff(i8(&vnni, at)) * 4 < i8(&vnni, at)));
        assert!(i8(&amx, 4) < i8(&vnni, 4) && i8(&amx, 5) * 3 < i8(&vnni, 5) * 2);
    }

    #[test]
    fn loads_cost_more_the_farther_activations_lie() {
        let r = Rates { load_fs: [10, 20, 60, 100], ..Rates::flat(1, 0, 0, 0) };
        let k = 1024;
        let at = [0, 16 * k, 40 * k, 64 * k, 65 * k, 256 * k, 640 * k, 1024 * k, u64::MAX].map(|b| r.load_at(b));
        assert_eq!(at, [10, 10, 15, 20, 20, 60, 80, 100, 100]);
        // A table may also fall.
        assert_eq!(Rates { load_fs: [30, 10, 10, 10], ..r }.load_at(40 * k), 20);
    }

    #[test]
    fn reading_slows_down_from_level_to_level() {
        let level = |up_to_bytes, bytes_per_us| Level { up_to_bytes, bytes_per_us };
        let levels = vec![level(1000, 1_000_000), level(3000, 500_000), level(u64::MAX, 250_000)];
        let t = CostTable { levels, ..CostTable::clif_x86_64_v1() };
        let at = [0, 1000, 2000, 3000, 3001, u64::MAX].map(|resident| t.read_ps(1000, resident));
        assert_eq!(at, [1000, 1000, 1500, 2000, 4000, 4000]);
        assert_eq!(CostTable { levels: vec![], ..t.clone() }.read_ps(5, 5), 0);
        assert_eq!(t.read_ps(u64::MAX, 0), u64::MAX / 4);
    }

    #[test]
    fn few_rows_and_tokens_cost_what_their_knot_says() {
        let mut r = Rates::flat(1000, 0, 0, 0);
        r.slower_permille = [[8000; 6], [7000; 6], [4000, 3000, 2000, 1500, 1000, 1000], [1100; 6], [1000; 6]];
        assert_eq!(
            [1, 2, 3, 4, 7, 8, 16, 256].map(|h| r.mul_at(h, 0)),
            [8000, 7000, 7000, 4000, 4000, 1100, 1000, 1000]
        );
        assert_eq!([0, 1, 5].map(|at| r.mul_at(4, at)), [4000, 3000, 1000]);
        assert_eq!((r.mul_at(0, 0), r.mul_at(4, 9)), (8000, 1000));
    }
}
