//! 256-bit code.
use crate::table::{CostTable, Level, Rates};

/// 256-bit code.
pub(crate) fn table() -> CostTable {
    CostTable {
        name: "avx2-x86_64-v1".into(),
        source: "measured by `spc calibrate` on one core of an x86-64 server with AVX-512, i8 and groups estimated".into(),
        token_tile: 16,
        pass_fm: 48,
        again_bytes_per_us: 104_771,
        dense_rm: Rates { mul_fs: 14_502, slower_permille: [[13_663, 14_149, 15_654, 4_152, 4_207, 4_294], [13_663, 14_149, 15_654, 4_152, 4_207, 4_294], [13_663, 14_149, 15_654, 4_152, 4_207, 4_294], [1_782, 1_817, 2_400, 1_203, 1_314, 1_421], [1_705, 2_595, 1_000, 1_094, 1_117, 1_148]], load_fs: [1, 200, 400, 800], unit_ps: 20, block_ps: 600, overlap_permille: 480, read_permille: 928 },
        dense_fm: Rates { mul_fs: 15_843, slower_permille: [[1_000, 1_059, 1_045, 1_073, 1_073, 1_073], [1_000, 1_059, 1_045, 1_073, 1_073, 1_073], [1_000, 1_059, 1_045, 1_073, 1_073, 1_073], [1_008, 1_129, 1_124, 1_135, 1_135, 1_135], [1_050, 1_079, 1_070, 1_112, 1_112, 1_112]], load_fs: [1, 200, 682, 800], unit_ps: 20, block_ps: 600, overlap_permille: 287, read_permille: 999 },
        vx1: Rates { mul_fs: 16_957, slower_permille: [[1_861, 1_413, 1_479, 1_509, 1_509, 1_509], [1_537, 1_000, 1_108, 1_116, 1_116, 1_116], [1_068, 1_128, 1_080, 1_077, 1_077, 1_077], [1_100, 1_172, 1_290, 1_214, 1_214, 1_214], [1_072, 1_076, 1_111, 1_091, 1_091, 1_091]], load_fs: [1, 686, 8_557, 8_557], unit_ps: 29, block_ps: 105, overlap_permille: 319, read_permille: 1_966 },
        bsr: Rates { mul_fs: 16_340, slower_permille: [[1_704, 1_181, 1_210, 1_206, 1_206, 1_206], [1_704, 1_181, 1_210, 1_206, 1_206, 1_206], [1_143, 1_199, 1_127, 1_119, 1_119, 1_119], [1_103, 1_128, 1_153, 1_148, 1_148, 1_148], [1_040, 1_000, 1_147, 1_108, 1_108, 1_108]], load_fs: [1, 200, 5_345, 5_345], unit_ps: 60, block_ps: 113, overlap_permille: 123, read_permille: 1_663 },
        nm: Rates { mul_fs: 20_796, slower_permille: [[1_993, 1_000, 1_009, 1_045, 1_045, 1_045], [1_993, 1_000, 1_009, 1_045, 1_045, 1_045], [1_993, 1_000, 1_009, 1_045, 1_045, 1_045], [1_993, 1_000, 1_009, 1_045, 1_045, 1_045], [1_993, 1_000, 1_009, 1_045, 1_045, 1_045]], load_fs: [1, 4_614, 11_325, 11_325], unit_ps: 3, block_ps: 114, overlap_permille: 565, read_permille: 5_288 },
        csr: Rates { mul_fs: 21_512, slower_permille: [[1_670, 1_096, 1_000, 1_042, 1_042, 1_042], [1_670, 1_096, 1_000, 1_042, 1_042, 1_042], [1_670, 1_096, 1_000, 1_042, 1_042, 1_042], [1_670, 1_096, 1_000, 1_042, 1_042, 1_042], [1_670, 1_096, 1_000, 1_042, 1_042, 1_042]], load_fs: [1, 7_259, 13_497, 13_700], unit_ps: 5, block_ps: 97, overlap_permille: 118, read_permille: 1_007 },
        lists_rm: Rates { mul_fs: 16_782, slower_permille: [[6_480, 4_125, 3_747, 3_793, 3_786, 4_029], [6_480, 4_125, 3_747, 3_793, 3_786, 4_029], [6_480, 4_125, 3_747, 3_793, 3_786, 4_029], [1_914, 1_330, 1_139, 1_090, 1_187, 1_331], [1_527, 1_101, 1_000, 1_017, 1_075, 1_101]], load_fs: [1, 200, 400, 800], unit_ps: 88, block_ps: 1_210, overlap_permille: 323, read_permille: 670 },
        nm16: Rates { mul_fs: 26_730, slower_permille: [[1_197, 1_000, 1_029, 1_117, 1_138, 1_205], [1_197, 1_000, 1_029, 1_117, 1_138, 1_205], [1_197, 1_000, 1_029, 1_117, 1_138, 1_205], [1_197, 1_000, 1_029, 1_117, 1_138, 1_205], [1_197, 1_000, 1_029, 1_117, 1_138, 1_205]], load_fs: [1, 200, 400, 800], unit_ps: 145, block_ps: 2_096, overlap_permille: 339, read_permille: 971 },
        csr16: Rates { mul_fs: 161_480, slower_permille: [[1_082, 1_046, 1_023, 1_000, 1_086, 1_645], [1_082, 1_046, 1_023, 1_000, 1_086, 1_645], [1_082, 1_046, 1_023, 1_000, 1_086, 1_645], [1_082, 1_046, 1_023, 1_000, 1_086, 1_645], [1_082, 1_046, 1_023, 1_000, 1_086, 1_645]], load_fs: [1, 200, 400, 800], unit_ps: 20, block_ps: 548, overlap_permille: 187, read_permille: 391 },
        // Estimates: the others are measured.
        i8: Rates::flat(50_000, 3_000, 60, 10_000),
        groups: Rates::flat(22_000, 0, 800, 15_000),
        levels: vec![Level { up_to_bytes: 16_384, bytes_per_us: 231_806 }, Level { up_to_bytes: 262_144, bytes_per_us: 154_202 }, Level { up_to_bytes: 1_048_576, bytes_per_us: 104_771 }, Level { up_to_bytes: 2_097_152, bytes_per_us: 82_588 }, Level { up_to_bytes: 4_194_304, bytes_per_us: 30_339 }, Level { up_to_bytes: 8_388_608, bytes_per_us: 29_941 }, Level { up_to_bytes: 16_777_216, bytes_per_us: 29_849 }, Level { up_to_bytes: 67_108_864, bytes_per_us: 24_981 }, Level { up_to_bytes: 268_435_456, bytes_per_us: 13_615 }, Level { up_to_bytes: u64::MAX, bytes_per_us: 13_615 }],
        activation_bytes_per_us: 52_386,
        convert_bytes_per_us: 25_965,
        launch_ps: 92_000,
        element_ps: 8,
        call_ps: 415,
        contract_fs: 29_975,
    }
}
