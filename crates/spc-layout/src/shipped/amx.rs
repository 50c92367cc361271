//! 512-bit code with tiles of 8-bit integers.
use super::vnni;
use crate::table::{CostTable, Rates};

/// 512-bit code with tiles of 8-bit integers: 8-bit blocks for eight tokens and more are on tiles, all else is as without.
pub(crate) fn table() -> CostTable {
    let base = vnni::table();
    let mut slower_permille = base.i8.slower_permille;
    // Blocks of 16 rows: a tile takes as long for one token as for 16.
    slower_permille[4] = [3_600, 2_000, 1_400, 1_050, 530, 400];
    CostTable {
        name: "amx-x86_64-v1".into(),
        source: "derived from vnni-x86_64-v1; i8 on tiles from `cargo bench -p spc-cpu --bench int8` on one core of a busy x86-64 \
                 server with AMX"
            .into(),
        i8: Rates { slower_permille, ..base.i8 },
        ..base
    }
}
