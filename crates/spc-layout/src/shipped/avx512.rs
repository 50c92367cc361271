//! 512-bit code.
use crate::table::{CostTable, Level, Rates};

/// 512-bit code.
pub(crate) fn table() -> CostTable {
    CostTable {
        name: "wide-x86_64-v1".into(),
        source: "measured by `spc calibrate` on one core of an x86-64 server with AVX-512, i8 and groups estimated".into(),
        token_tile: 16,
        pass_fm: 48,
        again_bytes_per_us: 162_482,
        dense_rm: Rates { mul_fs: 10_291, slower_permille: [[19_167, 19_784, 20_720, 5_763, 6_008, 6_217], [19_167, 19_784, 20_720, 5_763, 6_008, 6_217], [19_167, 19_784, 20_720, 5_763, 6_008, 6_217], [2_641, 2_814, 3_109, 1_780, 1_944, 2_003], [1_800, 2_865, 1_314, 1_477, 1_000, 1_073]], load_fs: [1, 200, 400, 800], unit_ps: 20, block_ps: 1_555, overlap_permille: 508, read_permille: 893 },
        dense_fm: Rates { mul_fs: 9_193, slower_permille: [[1_800, 1_227, 1_203, 1_249, 1_249, 1_249], [1_800, 1_227, 1_203, 1_249, 1_249, 1_249], [1_800, 1_227, 1_203, 1_249, 1_249, 1_249], [1_253, 1_080, 1_000, 1_077, 1_077, 1_077], [1_140, 1_146, 1_039, 1_080, 1_080, 1_080]], load_fs: [1, 200, 400, 800], unit_ps: 20, block_ps: 974, overlap_permille: 32, read_permille: 698 },
        vx1: Rates { mul_fs: 10_111, slower_permille: [[2_880, 2_589, 2_183, 2_203, 2_203, 2_203], [2_088, 1_609, 1_349, 1_456, 1_456, 1_456], [1_888, 1_395, 1_216, 1_209, 1_209, 1_209], [1_397, 1_073, 1_000, 1_001, 1_001, 1_001], [1_213, 1_116, 1_015, 1_051, 1_051, 1_051]], load_fs: [1, 202, 3_634, 3_634], unit_ps: 3, block_ps: 163, overlap_permille: 209, read_permille: 1_394 },
        bsr: Rates { mul_fs: 10_232, slower_permille: [[2_434, 1_619, 1_522, 1_495, 1_495, 1_495], [2_434, 1_619, 1_522, 1_495, 1_495, 1_495], [1_597, 1_234, 1_131, 1_159, 1_159, 1_159], [1_222, 1_077, 1_005, 1_000, 1_000, 1_000], [1_105, 1_073, 1_003, 1_035, 1_035, 1_035]], load_fs: [1, 201, 1_425, 1_425], unit_ps: 60, block_ps: 150, overlap_permille: 243, read_permille: 998 },
        nm: Rates { mul_fs: 17_385, slower_permille: [[2_498, 1_341, 1_000, 1_033, 1_033, 1_033], [2_498, 1_341, 1_000, 1_033, 1_033, 1_033], [2_498, 1_341, 1_000, 1_033, 1_033, 1_033], [2_498, 1_341, 1_000, 1_033, 1_033, 1_033], [2_498, 1_341, 1_000, 1_033, 1_033, 1_033]], load_fs: [1, 2_227, 9_301, 9_301], unit_ps: 12, block_ps: 89, overlap_permille: 538, read_permille: 2_776 },
        csr: Rates { mul_fs: 19_319, slower_permille: [[1_603, 1_314, 1_000, 1_091, 1_091, 1_091], [1_603, 1_314, 1_000, 1_091, 1_091, 1_091], [1_603, 1_314, 1_000, 1_091, 1_091, 1_091], [1_603, 1_314, 1_000, 1_091, 1_091, 1_091], [1_603, 1_314, 1_000, 1_091, 1_091, 1_091]], load_fs: [1, 343, 5_345, 12_376], unit_ps: 5, block_ps: 62, overlap_permille: 141, read_permille: 1_000 },
        lists_rm: Rates { mul_fs: 12_425, slower_permille: [[8_640, 5_789, 5_084, 5_024, 5_072, 5_346], [8_640, 5_789, 5_084, 5_024, 5_072, 5_346], [8_640, 5_789, 5_084, 5_024, 5_072, 5_346], [2_931, 2_019, 1_584, 1_539, 1_584, 1_758], [2_299, 1_344, 1_012, 1_000, 1_076, 1_170]], load_fs: [1, 200, 400, 800], unit_ps: 112, block_ps: 576, overlap_permille: 59, read_permille: 1_057 },
        nm16: Rates { mul_fs: 17_983, slower_permille: [[1_447, 1_163, 1_044, 1_000, 1_051, 1_066], [1_447, 1_163, 1_044, 1_000, 1_051, 1_066], [1_447, 1_163, 1_044, 1_000, 1_051, 1_066], [1_447, 1_163, 1_044, 1_000, 1_051, 1_066], [1_447, 1_163, 1_044, 1_000, 1_051, 1_066]], load_fs: [1, 200, 400, 800], unit_ps: 71, block_ps: 1_227, overlap_permille: 182, read_permille: 1_030 },
        csr16: Rates { mul_fs: 103_405, slower_permille: [[1_000, 1_239, 1_352, 1_439, 1_666, 2_360], [1_000, 1_239, 1_352, 1_439, 1_666, 2_360], [1_000, 1_239, 1_352, 1_439, 1_666, 2_360], [1_000, 1_239, 1_352, 1_439, 1_666, 2_360], [1_000, 1_239, 1_352, 1_439, 1_666, 2_360]], load_fs: [1, 200, 400, 800], unit_ps: 386, block_ps: 2_340, overlap_permille: 537, read_permille: 893 },
        // Estimates: the others are measured.
        i8: Rates::flat(25_000, 3_000, 60, 10_000),
        groups: Rates::flat(11_000, 0, 400, 15_000),
        levels: vec![Level { up_to_bytes: 16_384, bytes_per_us: 333_888 }, Level { up_to_bytes: 262_144, bytes_per_us: 162_936 }, Level { up_to_bytes: 1_048_576, bytes_per_us: 162_482 }, Level { up_to_bytes: 2_097_152, bytes_per_us: 68_496 }, Level { up_to_bytes: 4_194_304, bytes_per_us: 30_339 }, Level { up_to_bytes: 8_388_608, bytes_per_us: 29_849 }, Level { up_to_bytes: 16_777_216, bytes_per_us: 29_849 }, Level { up_to_bytes: 67_108_864, bytes_per_us: 24_981 }, Level { up_to_bytes: 268_435_456, bytes_per_us: 13_615 }, Level { up_to_bytes: u64::MAX, bytes_per_us: 13_615 }],
        activation_bytes_per_us: 81_241,
        convert_bytes_per_us: 58_278,
        launch_ps: 119_000,
        element_ps: 6,
        call_ps: 256,
        contract_fs: 25_767,
    }
}
