//! The standard library: `.sp` files embedded in the binary. A folder is a module; its files are one namespace.

/// One embedded file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibFile {
    /// Module name: `nn` for `use std.nn`.
    pub module: &'static str,
    /// Path as messages show it: `std/nn/linear.sp`.
    pub path: &'static str,
    pub text: &'static str,
}

macro_rules! files {
    ($($module:literal / $file:literal),* $(,)?) => {
        /// Every file, in a fixed order.
        pub const FILES: &[LibFile] = &[$(LibFile {
            module: $module,
            path: concat!("std/", $module, "/", $file),
            text: include_str!(concat!("../", $module, "/", $file)),
        }),*];
    };
}

files! {
    "nn" / "linear.sp",
    "nn" / "pointwise.sp",
    "nn" / "norm.sp",
    "nn" / "attention.sp",
    "nn" / "rotary.sp",
    "nn" / "conv.sp",
    "nn" / "pool.sp",
    "nn" / "loss.sp",
    "patterns" / "nm.sp",
    "patterns" / "blocks.sp",
    "patterns" / "vnm.sp",
    "patterns" / "global.sp",
    "patterns" / "erk.sp",
    "models" / "mlp.sp",
    "models" / "lenet.sp",
    "models" / "resnet.sp",
    "models" / "bert.sp",
    "models" / "llama.sp",
    "schedule" / "shapes.sp",
    "attention" / "double_sparsity.sp",
    "attention" / "sparsed.sp",
    "attention" / "streaming.sp",
    "attention" / "heavy_hitters.sp",
    "score" / "keys.sp",
    "moe" / "route.sp",
    "tokens" / "skip.sp",
    "penalties" / "scalar.sp",
    "penalties" / "mcp.sp",
    "penalties" / "sparse_group.sp",
    "penalties" / "masked_l1.sp",
    "penalties" / "wgsef.sp",
    "updates" / "sr_ste.sp",
    "updates" / "dropgrow.sp",
    "updates" / "adams.sp",
    "updates" / "mdgf.sp",
    "updates" / "learned_score.sp",
    "updates" / "prune_grow.sp",
    "updates" / "subnetwork.sp",
    "updates" / "sparse_loco.sp",
    "score" / "weights.sp",
}

/// Module names, in order of first appearance.
pub fn modules() -> Vec<&'static str> {
    let mut v: Vec<&'static str> = Vec::new();
    for f in FILES {
        if !v.contains(&f.module) {
            v.push(f.module);
        }
    }
    v
}
