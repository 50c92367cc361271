//! 512-bit code where the dot product of bytes is an instruction.
use crate::table::{CostTable, Level, Rates};

/// 512-bit code where the dot product of bytes is an instruction.
pub(crate) fn table() -> CostTable {
    CostTable {
        name: "vnni-x86_64-v1".into(),
        source: "measured by `spc calibrate` on one core of an x86-64 server with AVX-512, i8 and groups estimated".into(),
        token_tile: 16,
        pass_fm: 48,
        again_bytes_per_us: 172_797,
        dense_rm: Rates { mul_fs: 9_209, slower_permille: [[20_162, 20_822, 23_376, 6_217, 6_342, 6_426], [20_162, 20_822, 23_376, 6_217, 6_342, 6_426], [20_162, 20_822, 23_376, 6_217, 6_342, 6_426], [2_719, 2_854, 3_441, 1_796, 2_077, 2_128], [2_004, 2_197, 1_376, 1_538, 1_000, 1_047]], load_fs: [1, 200, 400, 800], unit_ps: 20, block_ps: 1_563, overlap_permille: 514, read_permille: 818 },
        dense_fm: Rates { mul_fs: 8_270, slower_permille: [[1_876, 1_190, 1_183, 1_230, 1_230, 1_230], [1_876, 1_190, 1_183, 1_230, 1_230, 1_230], [1_876, 1_190, 1_183, 1_230, 1_230, 1_230], [1_166, 1_110, 1_000, 1_012, 1_012, 1_012], [1_063, 1_072, 1_012, 1_028, 1_028, 1_028]], load_fs: [1, 200, 400, 800], unit_ps: 20, block_ps: 675, overlap_permille: 151, read_permille: 948 },
        vx1: Rates { mul_fs: 8_082, slower_permille: [[3_451, 2_587, 2_462, 2_746, 2_746, 2_746], [2_183, 1_834, 1_536, 1_582, 1_582, 1_582], [2_039, 1_466, 1_262, 1_214, 1_214, 1_214], [1_407, 1_209, 1_000, 1_061, 1_061, 1_061], [1_229, 1_220, 1_048, 1_069, 1_069, 1_069]], load_fs: [1, 200, 2_292, 2_292], unit_ps: 10, block_ps: 213, overlap_permille: 186, read_permille: 1_481 },
        bsr: Rates { mul_fs: 9_350, slower_permille: [[2_443, 1_706, 1_530, 1_437, 1_437, 1_437], [2_443, 1_706, 1_530, 1_437, 1_437, 1_437], [1_696, 1_233, 1_142, 1_143, 1_143, 1_143], [1_165, 1_089, 1_007, 1_000, 1_000, 1_000], [1_126, 1_109, 1_023, 1_028, 1_028, 1_028]], load_fs: [1, 199, 1_372, 1_372], unit_ps: 38, block_ps: 143, overlap_permille: 189, read_permille: 1_143 },
        nm: Rates { mul_fs: 16_680, slower_permille: [[2_611, 1_326, 1_000, 1_044, 1_044, 1_044], [2_611, 1_326, 1_000, 1_044, 1_044, 1_044], [2_611, 1_326, 1_000, 1_044, 1_044, 1_044], [2_611, 1_326, 1_000, 1_044, 1_044, 1_044], [2_611, 1_326, 1_000, 1_044, 1_044, 1_044]], load_fs: [1, 2_138, 8_666, 8_666], unit_ps: 10, block_ps: 89, overlap_permille: 400, read_permille: 3_143 },
        csr: Rates { mul_fs: 16_685, slower_permille: [[1_280, 1_022, 1_011, 1_000, 1_000, 1_000], [1_280, 1_022, 1_011, 1_000, 1_000, 1_000], [1_280, 1_022, 1_011, 1_000, 1_000, 1_000], [1_280, 1_022, 1_011, 1_000, 1_000, 1_000], [1_280, 1_022, 1_011, 1_000, 1_000, 1_000]], load_fs: [1, 1_416, 7_195, 7_195], unit_ps: 79, block_ps: 412, overlap_permille: 387, read_permille: 1_400 },
        lists_rm: Rates { mul_fs: 9_824, slower_permille: [[8_470, 6_530, 5_702, 5_951, 5_999, 6_252], [8_470, 6_530, 5_702, 5_951, 5_999, 6_252], [8_470, 6_530, 5_702, 5_951, 5_999, 6_252], [2_918, 2_078, 1_777, 1_759, 1_846, 2_149], [2_141, 1_342, 1_017, 1_000, 1_127, 1_286]], load_fs: [1, 200, 400, 800], unit_ps: 103, block_ps: 1_018, overlap_permille: 388, read_permille: 774 },
        nm16: Rates { mul_fs: 16_570, slower_permille: [[1_262, 1_016, 1_000, 1_048, 1_091, 1_117], [1_262, 1_016, 1_000, 1_048, 1_091, 1_117], [1_262, 1_016, 1_000, 1_048, 1_091, 1_117], [1_262, 1_016, 1_000, 1_048, 1_091, 1_117], [1_262, 1_016, 1_000, 1_048, 1_091, 1_117]], load_fs: [1, 200, 400, 800], unit_ps: 79, block_ps: 539, overlap_permille: 400, read_permille: 777 },
        csr16: Rates { mul_fs: 95_069, slower_permille: [[1_000, 1_292, 1_407, 1_516, 1_768, 2_575], [1_000, 1_292, 1_407, 1_516, 1_768, 2_575], [1_000, 1_292, 1_407, 1_516, 1_768, 2_575], [1_000, 1_292, 1_407, 1_516, 1_768, 2_575], [1_000, 1_292, 1_407, 1_516, 1_768, 2_575]], load_fs: [1, 200, 400, 800], unit_ps: 60, block_ps: 3_553, overlap_permille: 920, read_permille: 942 },
        // Estimates: the others are measured.
        i8: Rates::flat(2_700, 3_000, 60, 10_000),
        groups: Rates::flat(11_000, 0, 400, 15_000),
        levels: vec![Level { up_to_bytes: 16_384, bytes_per_us: 328_296 }, Level { up_to_bytes: 262_144, bytes_per_us: 174_341 }, Level { up_to_bytes: 1_048_576, bytes_per_us: 172_797 }, Level { up_to_bytes: 2_097_152, bytes_per_us: 57_239 }, Level { up_to_bytes: 4_194_304, bytes_per_us: 30_339 }, Level { up_to_bytes: 8_388_608, bytes_per_us: 29_849 }, Level { up_to_bytes: 16_777_216, bytes_per_us: 29_849 }, Level { up_to_bytes: 67_108_864, bytes_per_us: 24_981 }, Level { up_to_bytes: 268_435_456, bytes_per_us: 13_615 }, Level { up_to_bytes: u64::MAX, bytes_per_us: 13_615 }],
        activation_bytes_per_us: 86_399,
        convert_bytes_per_us: 64_274,
        launch_ps: 111_000,
        element_ps: 6,
        call_ps: 145,
        contract_fs: 24_240,
    }
}
