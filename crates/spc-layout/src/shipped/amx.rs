//! 512-bit code with tiles of 8-bit integers.
use super::vnni;
use crate::table::{CostTable, Rates};

/// 512-bit code with tiles of 8-bit integers: 8-bit blocks for eight tokens and more are on tiles, all else is as without.
pub(crate) fn table() -> CostTable {
    let i8 = Rates {
        mul_fs: 1_482,
        slower_permille: [
            [2_592, 1_545, 1_225, 3_706, 1_387, 1_000],
            [2_592, 1_545, 1_225, 3_706, 1_387, 1_000],
            [2_592, 1_545, 1_225, 3_706, 1_387, 1_000],
            [2_592, 1_545, 1_225, 3_706, 1_387, 1_000],
            [2_592, 1_545, 1_225, 3_706, 1_387, 1_000],
        ],
        load_fs: [1, 200, 400, 800],
        unit_ps: 617,
        block_ps: 577,
        overlap_permille: 292,
        read_permille: 712,
    };
    CostTable {
        name: "amx-x86_64-v1".into(),
        source: "that of vnni-x86_64-v1, with i8 of `spc calibrate` on one core of a busy x86-64 server with AMX"
            .into(),
        i8,
        ..vnni::table()
    }
}
