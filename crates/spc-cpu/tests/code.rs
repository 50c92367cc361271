//! What the generated code looks like: stable CLIF text, and no vector on the stack in the tiles of linear kernels.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_cpu::{Isa, assembly, clif_text, machine_code};
use spc_formats::Layout;
use spc_kernel::ir::parse;
use spc_kernel::templates::cases::{self, LAYOUTS, every};
use spc_kernel::templates::{LinearSpec, Tuning, blocks8, few, groups, panel, pick8, rowblock, rowblock_tuned};

#[test]
fn clif_text_is_the_same_everywhere() {
    let k = parse(
        "kernel twice lanes 4 (x: cptr, y: ptr, lo: i64, hi: i64) {
           v4: i64 = isub v3, v2
           loop v5 < v4 () {
             v6: vf32 = load.vf32 [v0 + v5 * 4]
             v7: vf32 = fadd v6, v6
             store.vf32 [v1 + v5 * 4 + 16], v7
           } yield ()
         }",
    );
    let want = "function %twice(i64) system_v {
block0(v0: i64):
    v1 = load.i64 notrap aligned readonly can_move v0
    v2 = load.i64 notrap aligned readonly can_move v0+8
    v3 = load.i64 notrap aligned readonly can_move v0+16
    v4 = load.i64 notrap aligned readonly can_move v0+24
    v5 = isub v4, v3
";
    let text = clif_text(&k.unwrap()).unwrap();
    assert!(text.starts_with(want), "{text}");
    assert!(text.contains("load.f32x4 notrap readonly can_move"), "{text}");
    assert!(text.contains("+16"), "{text}");
}

/// Loads that may run although their loop does not would read outside buffers: they must not be marked.
#[test]
fn loads_that_a_loop_does_not_change_stay_in_it() {
    let k = parse(
        "kernel fixed lanes 4 (x: cptr, y: ptr, n: i64) {
           loop v3 < v2 () {
             v4: f32 = load.f32 [v0]
             store.f32 [v1 + v3 * 4], v4
           } yield ()
         }",
    );
    let text = clif_text(&k.unwrap()).unwrap();
    assert!(text.contains("load.f32 notrap v"), "{text}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn linear_kernels_keep_their_vectors_in_registers() {
    if !std::arch::is_x86_feature_detected!("fma") || !std::arch::is_x86_feature_detected!("avx") {
        return;
    }
    let layouts =
        ["dense(16)", "vx1(1)", "vx1(2)", "vx1(4)", "vx1(8)", "vx1(16)", "bsr(4,4)", "bsr(2,2)", "bsr(16,16)"];
    for text in layouts.into_iter().chain(["csr", "nm(1,4)", "nm(2,4)", "nm(4,8)"]) {
        let layout = text.parse().unwrap();
        let spec = LinearSpec { layout, rows: 64, cols: 96, bias: true, act: None, beside: &[], lanes: 4 };
        let mut kernels = vec![rowblock(&spec).unwrap()];
        if text.starts_with("dense") {
            kernels.push(panel(&spec).unwrap());
        }
        for k in kernels {
            let code = assembly(&k).unwrap();
            let spilled: Vec<&str> = code.lines().filter(|l| l.contains("rsp") && l.contains("xmm")).collect();
            assert!(spilled.is_empty(), "{}: {spilled:?}", k.name);
            assert!(code.contains("vfmadd"), "{}", k.name);
        }
    }
}

/// No tile of a linear kernel keeps anything on the stack in its innermost loops.
#[test]
fn wide_linear_kernels_keep_everything_in_registers() {
    let mut wrong = Vec::new();
    for isa in [Isa::Avx2, Isa::Avx512, Isa::Avx512Vnni] {
        let lanes = isa.lanes();
        let panel_height = lanes.max(16);
        let dense = format!("dense({panel_height})");
        let layouts =
            ["vx1(1)", "vx1(2)", "vx1(4)", "vx1(8)", "vx1(12)", "vx1(16)", "bsr(4,4)", "bsr(2,2)", "bsr(16,16)"];
        for text in layouts.into_iter().chain([
            "csr",
            "nm(1,4)",
            "nm(2,4)",
            "nm(4,8)",
            "dense(16)",
            "dense(32)",
            "dense(64)",
            &dense,
            "i8(16)",
            "i8(32)",
            "i8nm(1,4)",
            "i8nm(2,4)",
            "i8nm(5,7)",
            "i8nm(1,16)",
            "i4nm(2,4,32,16)",
            "i4nm(1,4,16,32)",
            "i8csr(4)",
            "i8csr(8)",
        ]) {
            let layout: Layout = text.parse().unwrap();
            let spec = LinearSpec { layout, rows: 132, cols: 96, bias: true, act: None, beside: &[], lanes };
            let mut kernels = match layout {
                Layout::I8 { .. } => vec![blocks8(&spec).unwrap()],
                _ if layout.needs_integers() => vec![pick8(&spec).unwrap()],
                _ => vec![rowblock(&spec).unwrap()],
            };
            if !layout.needs_integers() {
                let large = LinearSpec { rows: 4092, cols: 8000, ..spec };
                kernels.push(rowblock_tuned(&large, Tuning::of(&large, 1)).unwrap());
                kernels.push(rowblock_tuned(&large, Tuning::of(&large, 1000)).unwrap());
            }
            if text.starts_with("dense") {
                kernels.push(panel(&spec).unwrap());
                let halves = [format!("dense_bf16({panel_height})"), format!("dense_f16({})", 2 * panel_height)];
                for layout in halves.map(|l| l.parse().unwrap()) {
                    kernels.push(panel(&LinearSpec { layout, ..spec }).unwrap());
                }
                for layout in ["vx1_bf16(32)", "bsr_f16(16,4)", "nm16_bf16(2,4)"].map(|l| l.parse().unwrap()) {
                    kernels.push(few(&LinearSpec { layout, ..spec }).unwrap());
                }
                let few_tokens = ["nm16(2,4)", "nm16(4,8)", "bitmap", "vnm16(16,5)", "vnm16(32,16)", "vnm16(64,8)"];
                for layout in few_tokens.map(|l| l.parse().unwrap()) {
                    kernels.push(few(&LinearSpec { layout, ..spec }).unwrap());
                }
                for text in ["q4(32,16)", "kept4(16,16)", "kept4(64,32)", "q8(16,32)", "kept8(32,16)"] {
                    kernels.push(groups(&LinearSpec { layout: text.parse().unwrap(), cols: 1100, ..spec }).unwrap());
                }
            }
            for k in kernels {
                let machine = machine_code(&k, isa, true).unwrap();
                if machine.stats.inner_stack > 0 || machine.stats.inner_moves > 0 {
                    wrong.push(format!("{} {}: {:?}", isa.name(), k.name, machine.stats));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Instructions of Cranelift that a function may have.
const MOST: usize = 2000;

fn instructions(k: &spc_kernel::ir::Kernel) -> usize {
    clif_text(k).unwrap().lines().filter(|l| l.starts_with("    ")).count()
}

/// Compile time grows with the length of a function: none of a linear is longer, whatever its layout and epilogue.
#[test]
fn no_portable_linear_is_long() {
    let relu = spc_ir::ScalarExpr::parse("(max a0 0)").unwrap();
    let mut long = Vec::new();
    for name in LAYOUTS {
        for (cols, act) in [(1000, None), (1003, Some(&relu))] {
            let layout: Layout = name.parse().unwrap();
            let spec = LinearSpec { layout, rows: 1004, cols, bias: true, act, beside: &[], lanes: 4 };
            for (name, k) in every(&spec).unwrap() {
                let n = instructions(&k);
                if n > MOST {
                    long.push(format!("{name}, {cols} inputs: {n}"));
                }
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// The other templates, with random shapes and expressions.
#[test]
fn no_other_portable_function_is_long() {
    let mut rng = spc_kernel::ir::random::Rng::new(17);
    let mut longest = (0, String::new());
    for _ in 0..150 {
        let rng = &mut rng;
        let some = [
            cases::mapped(rng, 4),
            cases::contract(rng, 4),
            cases::gathered(rng, 4),
            cases::unfolded(rng, 4),
            cases::channels(rng, 4),
            cases::converted(rng, 4),
            cases::rounding(rng, 4).map(|(case, _)| case),
        ];
        for case in some {
            let kernel = case.unwrap().kernel;
            longest = longest.max((instructions(&kernel), kernel.name));
        }
    }
    assert!(longest.0 <= MOST, "{longest:?}");
}
