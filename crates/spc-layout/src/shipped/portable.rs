//! Portable 128-bit code.
use crate::table::{CostTable, Level, Rates};

/// Portable 128-bit code.
pub(crate) fn table() -> CostTable {
    CostTable {
        name: "clif-x86_64-v1".into(),
        source: "measured by `spc calibrate` on one core of an x86-64 server with AVX-512, i8 and groups estimated".into(),
        token_tile: 16,
        pass_fm: 48,
        again_bytes_per_us: 93_723,
        dense_rm: Rates { mul_fs: 31_078, slower_permille: [[6_107, 6_672, 7_303, 1_883, 1_924, 2_009], [6_107, 6_672, 7_303, 1_883, 1_924, 2_009], [6_107, 6_672, 7_303, 1_883, 1_924, 2_009], [2_910, 3_370, 1_083, 1_121, 1_180, 1_242], [1_083, 1_000, 1_178, 1_186, 1_227, 1_266]], load_fs: [1, 200, 400, 800], unit_ps: 20, block_ps: 632, overlap_permille: 521, read_permille: 893 },
        dense_fm: Rates { mul_fs: 36_749, slower_permille: [[1_000, 1_030, 1_071, 2_620, 2_620, 2_620], [1_000, 1_030, 1_071, 2_620, 2_620, 2_620], [1_000, 1_030, 1_071, 2_620, 2_620, 2_620], [1_007, 1_036, 1_122, 2_706, 2_706, 2_706], [1_003, 1_071, 1_118, 1_347, 1_347, 1_347]], load_fs: [1, 200, 400, 800], unit_ps: 20, block_ps: 1_826, overlap_permille: 599, read_permille: 1_555 },
        vx1: Rates { mul_fs: 38_957, slower_permille: [[1_481, 1_520, 1_563, 1_573, 1_573, 1_573], [1_000, 1_060, 1_057, 1_129, 1_129, 1_129], [1_072, 1_088, 1_079, 1_127, 1_127, 1_127], [1_112, 1_041, 1_083, 1_106, 1_106, 1_106], [1_077, 1_152, 1_077, 1_108, 1_108, 1_108]], load_fs: [1, 200, 400, 800], unit_ps: 21, block_ps: 148, overlap_permille: 217, read_permille: 1_123 },
        bsr: Rates { mul_fs: 37_015, slower_permille: [[1_000, 1_027, 1_010, 1_065, 1_065, 1_065], [1_000, 1_027, 1_010, 1_065, 1_065, 1_065], [1_079, 1_115, 1_115, 1_155, 1_155, 1_155], [1_052, 1_056, 1_073, 1_068, 1_068, 1_068], [1_134, 1_154, 1_154, 1_152, 1_152, 1_152]], load_fs: [1, 200, 400, 800], unit_ps: 27, block_ps: 223, overlap_permille: 137, read_permille: 1_115 },
        nm: Rates { mul_fs: 56_443, slower_permille: [[1_000, 1_041, 1_023, 1_064, 1_064, 1_064], [1_000, 1_041, 1_023, 1_064, 1_064, 1_064], [1_000, 1_041, 1_023, 1_064, 1_064, 1_064], [1_000, 1_041, 1_023, 1_064, 1_064, 1_064], [1_000, 1_041, 1_023, 1_064, 1_064, 1_064]], load_fs: [1, 341, 9_377, 9_377], unit_ps: 8, block_ps: 129, overlap_permille: 429, read_permille: 1_705 },
        csr: Rates { mul_fs: 30_506, slower_permille: [[1_000, 1_403, 1_624, 1_687, 1_687, 1_687], [1_000, 1_403, 1_624, 1_687, 1_687, 1_687], [1_000, 1_403, 1_624, 1_687, 1_687, 1_687], [1_000, 1_403, 1_624, 1_687, 1_687, 1_687], [1_000, 1_403, 1_624, 1_687, 1_687, 1_687]], load_fs: [1, 200, 4_827, 4_827], unit_ps: 300, block_ps: 199, overlap_permille: 896, read_permille: 2_000 },
        lists_rm: Rates { mul_fs: 40_699, slower_permille: [[1_943, 1_432, 1_365, 1_440, 1_497, 1_573], [1_943, 1_432, 1_365, 1_440, 1_497, 1_573], [1_943, 1_432, 1_365, 1_440, 1_497, 1_573], [1_152, 1_000, 1_209, 1_254, 1_282, 1_334], [1_342, 1_205, 1_185, 1_221, 1_121, 1_257]], load_fs: [1, 200, 400, 800], unit_ps: 201, block_ps: 493, overlap_permille: 150, read_permille: 990 },
        nm16: Rates { mul_fs: 300_225, slower_permille: [[1_000, 1_020, 1_186, 1_231, 1_252, 1_332], [1_000, 1_020, 1_186, 1_231, 1_252, 1_332], [1_000, 1_020, 1_186, 1_231, 1_252, 1_332], [1_000, 1_020, 1_186, 1_231, 1_252, 1_332], [1_000, 1_020, 1_186, 1_231, 1_252, 1_332]], load_fs: [1, 200, 400, 800], unit_ps: 1_735, block_ps: 6_904, overlap_permille: 439, read_permille: 1_159 },
        csr16: Rates { mul_fs: 411_511, slower_permille: [[1_000, 1_025, 1_033, 1_049, 1_116, 1_252], [1_000, 1_025, 1_033, 1_049, 1_116, 1_252], [1_000, 1_025, 1_033, 1_049, 1_116, 1_252], [1_000, 1_025, 1_033, 1_049, 1_116, 1_252], [1_000, 1_025, 1_033, 1_049, 1_116, 1_252]], load_fs: [1, 200, 400, 800], unit_ps: 20, block_ps: 1_280, overlap_permille: 401, read_permille: 426 },
        // Estimates: the others are measured.
        i8: Rates::flat(160_000, 12_000, 300, 10_000),
        groups: Rates::flat(60_000, 0, 3_000, 20_000),
        levels: vec![Level { up_to_bytes: 16_384, bytes_per_us: 118_253 }, Level { up_to_bytes: 262_144, bytes_per_us: 105_469 }, Level { up_to_bytes: 1_048_576, bytes_per_us: 93_723 }, Level { up_to_bytes: 2_097_152, bytes_per_us: 57_006 }, Level { up_to_bytes: 4_194_304, bytes_per_us: 30_617 }, Level { up_to_bytes: 8_388_608, bytes_per_us: 29_849 }, Level { up_to_bytes: 16_777_216, bytes_per_us: 29_849 }, Level { up_to_bytes: 67_108_864, bytes_per_us: 24_981 }, Level { up_to_bytes: 268_435_456, bytes_per_us: 13_615 }, Level { up_to_bytes: u64::MAX, bytes_per_us: 13_615 }],
        activation_bytes_per_us: 46_862,
        convert_bytes_per_us: 36_902,
        launch_ps: 115_000,
        element_ps: 22,
        call_ps: 861,
        contract_fs: 62_039,
    }
}
