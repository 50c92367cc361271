//! The linear kernels of every layout that a processor has kernels of.
use crate::ir::Kernel;
use crate::templates::{LinearSpec, Tuning, blocks8, few, groups, panel, pick8, rowblock_tuned, rowlist};
use spc_base::Bug;
use spc_formats::Layout;

/// At least one layout of each kind and shape of code.
pub const LAYOUTS: &[&str] = &[
    "dense(16)",
    "dense(4)",
    "vx1(1)",
    "vx1(2)",
    "vx1(4)",
    "vx1(8)",
    "vx1(16)",
    "bsr(4,4)",
    "bsr(8,8)",
    "bsr(16,4)",
    "bsr(16,16)",
    "nm(1,4)",
    "nm(2,4)",
    "nm(4,8)",
    "csr",
    "nm16(1,4)",
    "nm16(2,4)",
    "nm16(4,8)",
    "nm16(8,16)",
    "csr16",
    "bitmap",
    "vnm16(64,8)",
    "vnm16(32,16)",
    "i8(16)",
    "i8(32)",
    "i8nm(1,4)",
    "i8nm(2,4)",
    "i8nm(4,8)",
    "i4nm(2,4,32,16)",
    "i8csr(4)",
    "i8csr(8)",
    "q4(32,16)",
    "q8(32,16)",
    "kept4(16,16)",
    "kept4(32,16)",
    "kept8(32,16)",
    "dense_bf16(16)",
    "vx1_f16(16)",
    "bsr_f16(16,4)",
    "nm16_bf16(2,4)",
];

/// The token-major kernel of a layout that has one.
pub fn token_major(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    let spec = LinearSpec { lanes: spec.panel_lanes(), ..*spec };
    match spec.base() {
        Layout::Dense { .. } => panel(&spec),
        Layout::Csr16 => rowlist(&spec),
        Layout::Groups { .. } => groups(&spec),
        l if l.needs_integer_rows() => pick8(&spec),
        l if l.needs_integers() => blocks8(&spec),
        _ => few(&spec),
    }
}

/// The kernels of one layout with a name each: feature-major ones for few tokens and for many, and the token-major one.
pub fn every(spec: &LinearSpec<'_>) -> Result<Vec<(String, Kernel)>, Bug> {
    let mut all = Vec::new();
    for n in [16, 128].into_iter().filter(|_| spec.layout.feature_major()) {
        all.push((format!("{}, {n} tokens", spec.layout), rowblock_tuned(spec, Tuning::of(spec, n))?));
    }
    if spec.layout.row_major() {
        all.push((format!("{}, by token", spec.layout), token_major(spec)?));
    }
    Ok(all)
}
