//! The kernel of warp groups: 2:4 weights times many tokens on compute capability 9.0a, from the arrays of `mma24`.
use crate::Grid;
use crate::mma::padded;
use crate::shape::{Family, Shape};
use std::fmt::Write;

/// The architecture whose images have it.
pub(crate) const ARCH: &str = "sm_90a";
/// Fewest tokens of a call that it is for.
pub(crate) const LEAST_TOKENS: u64 = 256;
/// Outputs of a block of threads: two groups of four warps, each of 16 rows.
const ROWS: u64 = 128;
const STAGES: u32 = 4;

/// Tokens of a block: as many as the sums of 128 registers, or three terms of four stages of shared memory allow.
fn tokens(terms: u32) -> u32 {
    if terms == 1 { 256 } else { 128 }
}

/// The constants of its kernel.
pub(crate) fn shape(outputs: u64, inputs: u64, terms: u32) -> Shape {
    let (tokens, small) = (tokens(terms), |n: u64| u32::try_from(n).unwrap_or(u32::MAX));
    // A pattern of the swizzle starts at a multiple of 1024 bytes.
    let stages = 1024 + STAGES * terms * tokens * 128;
    let sums = tokens * (ROWS as u32 + 4) * 4;
    Shape {
        family: Family::Wgmma,
        outputs,
        inputs,
        step: 64,
        grid: Grid { tokens, tiles: small(outputs.div_ceil(ROWS)) },
        constants: vec![
            ("KP", small(padded(inputs))),
            ("TERMS", terms),
            ("TILES_K", small(inputs.div_ceil(32))),
            ("ROWS_STORED", small(outputs.div_ceil(32) * 32)),
            ("H", 1),
            ("WK", 1),
            ("NT", tokens / 8),
            ("SPLIT", 1),
        ],
        shared_bytes: stages.max(sums),
        threads: 256,
        up_to: 0,
        split: 1,
        parts: 0,
    }
}

/// The inline PTX of one product, `d[64][8 * nt] += a[64][32] * b[32][8 * nt]`, 2 of 4 of a kept.
fn product(nt: u32) -> String {
    let (sums, n) = (4 * nt, 8 * nt);
    let list = |from: u32, count: u32| (from..from + count).map(|i| format!("%{i}")).collect::<Vec<_>>().join(",");
    let registers = (0..sums).map(|i| format!("\"+f\"(d[{}][{}])", i / 4, i % 4)).collect::<Vec<_>>();
    let registers = registers.chunks(8).map(|c| c.join(", ")).collect::<Vec<_>>().join(",\n        ");
    let mut t = format!(
        "// d[64][{n}] += a[64][32] * b[32][{n}], a with 2 of 4 kept, its positions in the first two lanes of a quad.\n"
    );
    let _ = write!(
        t,
        "SPC_FN void spc_product24(float (&d)[{nt}][4], const spc_w4& a, u64 b, u32 meta) {{\n  asm volatile(\n      \"{{\\n.reg .pred \
         %%spc_add;\\nsetp.ne.b32 %%spc_add, %{add}, 0;\\n\"\n      \"wgmma.mma_async.sp.sync.aligned.m64n{n}k32.f32.bf16.bf16 \
         {{{d}}},\"\n      \"{{{a}}},%{b},%{meta},0,%%spc_add,1,1,0;\\n}}\\n\"\n      : {registers}\n      : \"r\"(a.x), \"r\"(a.y), \
         \"r\"(a.z), \"r\"(a.w), \"l\"(b), \"r\"(meta), \"r\"(1));\n}}\n",
        d = list(0, sums),
        a = list(sums, 4),
        b = sums + 4,
        meta = sums + 5,
        add = sums + 6,
    );
    t
}

/// The template, with the products of blocks of so many terms.
pub(crate) fn text(terms: u32) -> String {
    include_str!("device/wgmma.cuh").replace("@PRODUCTS@", &product(tokens(terms) / 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_fit_the_device() {
        for terms in [1, 3] {
            let s = shape(14_336, 4096, terms);
            assert!(s.shared_bytes <= 227 << 10, "{terms} terms: {} bytes", s.shared_bytes);
            assert_eq!(s.grid.tiles, 112);
            let text = text(terms);
            assert!(text.contains(&format!(".m64n{}k32.", tokens(terms))) && !text.contains('@'));
        }
    }
}
