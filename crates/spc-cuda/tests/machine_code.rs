//! Machine code of the emitted text, where NVRTC, ptxas and nvdisasm are installed: nothing is spilled, and the instructions
//! that the kernels are written for are there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#[path = "support/cases.rs"]
mod cases;
mod support;

use cases::{Act, Case, Linear, Pattern, graph};
use spc_cuda::nvrtc::images;
use spc_cuda::{Activations, CudaModule, EmitOptions, PassChain, PassTiles, PassValue, Update, emit_with, updates};
use spc_ir::{DType, ScalarExpr};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tool of the CUDA toolkit: in the folder that `SPC_CUDA_TOOLS` names, else on the path.
fn tool(name: &str) -> Option<PathBuf> {
    let path = match std::env::var_os("SPC_CUDA_TOOLS") {
        Some(folder) => PathBuf::from(folder).join(name),
        None => PathBuf::from(name),
    };
    Command::new(&path).arg("--version").output().is_ok_and(|o| o.status.success()).then_some(path)
}

#[test]
fn nothing_is_spilled_and_tensor_cores_are_used() {
    let (Some(ptxas), Some(nvdisasm)) = (tool("ptxas"), tool("nvdisasm")) else {
        let message = "NO PTXAS OR NVDISASM: REGISTERS AND MACHINE CODE ARE NOT TESTED; set SPC_CUDA_TOOLS";
        assert!(std::env::var_os("SPC_NEEDS_NVRTC").is_none(), "{message}");
        spc_base::skipped(message);
        return;
    };
    let layouts = [
        "mma24",
        "i8(16)",
        "kept4(32,16)",
        "q4(16,16)",
        "kept8(64,32)",
        "mma32(32)",
        "mma32(64)",
        "mma32(128)",
        "mma1(16)",
        "mma1(32)",
        "mma1(64)",
        "mma1(128)",
        "vnm(32,8)",
        "vnm(64,8)",
        "vnm(128,16)",
        "mma24_f16",
        "mma32_f16(32)",
        "mma32_f16(128)",
        "mma1_f16(128)",
        "vnm_f16(64,8)",
        "dense(16)",
        "bsr(16,16)",
        "bsr(4,4)",
        "vx1(16)",
        "nm(2,4)",
        "csr",
    ];
    for activations in [Activations::Bf16, Activations::Exact] {
        let linears = layouts.map(|layout| {
            let (layout, pattern, act) = (layout.parse().unwrap(), Pattern::Empty, Act::Gelu);
            let (outputs, inputs, tokens) = (256, 1024, vec![]);
            Linear::new(Case { layout, outputs, inputs, pattern, bias: true, act, separate: false, tokens }, 1)
        });
        let (graph, plan) = graph(&linears);
        let module = emit_with(&graph, &plan, &EmitOptions { activations, ..EmitOptions::default() }).unwrap();
        let Some(built) = images(&module.text, &["compute_80"]).unwrap() else {
            spc_base::skipped("NO NVRTC: MACHINE CODE IS NOT TESTED");
            return;
        };
        for arch in ["sm_80", "sm_90"] {
            let code = machine_code(&ptxas, &nvdisasm, &built.images[0].bytes, arch, kernels(&module));
            for (word, what) in [
                ("HMMA.SP.16832.F32.BF16", "mma.sp"),
                ("HMMA.16816.F32.BF16", "mma"),
                ("LDSM.16", "ldmatrix"),
                ("LDGSTS.E", "cp.async"),
            ] {
                assert!(code.contains(word), "{arch}: no {what}");
            }
        }
    }
}

#[test]
fn warp_groups_multiply_sparse_matrices_without_spills() {
    let (Some(ptxas), Some(nvdisasm)) = (tool("ptxas"), tool("nvdisasm")) else { return };
    for activations in [Activations::Bf16, Activations::Exact] {
        let (layout, pattern, act) = ("mma24".parse().unwrap(), Pattern::Empty, Act::Gelu);
        let (outputs, inputs, tokens) = (256, 1024, vec![]);
        let l = Linear::new(Case { layout, outputs, inputs, pattern, bias: true, act, separate: false, tokens }, 1);
        let (graph, plan) = graph(&[l]);
        let module = emit_with(&graph, &plan, &EmitOptions { activations, warp_groups_from: 0 }).unwrap();
        let Some(built) = images(&module.text, &["compute_90a"]).unwrap() else { return };
        let own = CudaModule { kernels: module.kernels_of("sm_90a"), ..module };
        assert!(own.kernels.iter().any(|k| k.family == "wgmma"));
        let code = machine_code(&ptxas, &nvdisasm, &built.images[0].bytes, "sm_90a", kernels(&own));
        let tokens = if activations == Activations::Bf16 { 256 } else { 128 };
        assert!(code.contains(&format!("HGMMA.SP.64x{tokens}x32.F32.BF16")), "no wgmma.sp");
    }
}

/// The text that the snapshots of `tests/cuda` show: norms, attention, embeddings and the other operators of a model are in it.
fn golden() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cuda/snapshots");
    let mut out = Vec::new();
    for f in std::fs::read_dir(folder).unwrap() {
        let path = f.unwrap().path();
        let shown = std::fs::read_to_string(&path).unwrap();
        let text = shown.split("\n// ---- kernels.cu\n").nth(1).and_then(|t| t.split("\n// ---- manifest\n").next());
        out.push((path.file_name().unwrap().to_string_lossy().into_owned(), text.unwrap().to_string()));
    }
    assert!(out.len() >= 9);
    out
}

/// One of each kind of update, in the sizes that take most registers.
fn all_updates() -> String {
    let f32s = |n: usize| vec![DType::F32; n];
    let map = |text: &str, args: &[usize], dtype| PassValue::Map {
        expr: ScalarExpr::parse(text).unwrap(),
        args: args.to_vec(),
        dtype,
    };
    let name = |n: &str| n.to_string();
    let tiles = |rows, cols, tile| PassTiles { rows, cols, tile };
    let to = || PassChain {
        arrays: f32s(1),
        values: vec![PassValue::Array(0), PassValue::Number(3), map("(max (sub a0 a1) 0)", &[0, 1], DType::F32)],
        stores: vec![],
    };
    let resize = |n: &str, t| Update::Resize { name: name(n), tiles: t, to: to(), result: 2, fault: 1 };
    let adam = PassChain {
        arrays: vec![DType::F32, DType::F32, DType::F32, DType::F32, DType::Bool],
        values: vec![
            PassValue::Array(0),
            PassValue::Array(1),
            PassValue::Array(2),
            PassValue::Array(3),
            PassValue::Array(4),
            PassValue::Number(0),
            map("(add (mul 0.9 a0) (mul 0.1 a1))", &[2, 1], DType::F32),
            map("(add (mul 0.999 a0) (mul 0.001 (mul a1 a1)))", &[3, 1], DType::F32),
            map("(sub a0 (mul a1 (div a2 (add (sqrt a3) 1e-8))))", &[0, 5, 6, 7], DType::F32),
            map("(select a0 a1 0)", &[4, 8], DType::F32),
            map("(gt (abs a0) 1)", &[8], DType::Bool),
        ],
        stores: vec![(0, 9), (2, 6), (3, 7), (4, 10)],
    };
    let mut list = vec![
        Update::Chain { name: name("adam"), chain: adam },
        resize("narrow", tiles(16, 8192, 16)),
        resize("wide", tiles(16, 8192, 64)),
        resize("rows", tiles(1, 8192, 8192)),
        Update::Nm { name: name("half"), n: 2, m: 4 },
        Update::Nm { name: name("wide_groups"), n: 8, m: 32 },
        Update::Pack24 { name: name("pack"), outputs: 8192, inputs: 8192 },
        Update::GroupNorm { name: name("tiles"), outputs: 8192, inputs: 8192, rows: 16, cols: 16 },
        Update::GroupNorm { name: name("lines"), outputs: 8192, inputs: 8192, rows: 1, cols: 8192 },
        Update::Greatest { name: name("top") },
    ];
    list.extend([2, 4, 8, 16, 32].map(|m| Update::Kept { name: format!("kept{m}"), m, number: 1, fault: 1 }));
    updates(&list).unwrap().text
}

#[test]
fn operators_and_updates_are_not_spilled() {
    let (Some(ptxas), Some(nvdisasm)) = (tool("ptxas"), tool("nvdisasm")) else { return };
    for (name, text) in golden().into_iter().chain([("updates".to_string(), all_updates())]) {
        let Some(built) = images(&text, &["compute_80"]).unwrap() else { return };
        let kernels = text.matches("\nextern \"C\" __global__ ").count();
        assert!(kernels > 0, "{name}");
        for arch in ["sm_80", "sm_90"] {
            machine_code(&ptxas, &nvdisasm, &built.images[0].bytes, arch, kernels);
        }
    }
}

fn kernels(module: &CudaModule) -> usize {
    module.kernels.iter().map(|k| k.name.as_str()).collect::<BTreeSet<_>>().len()
}

/// What ptxas makes of PTX, as text: every kernel without a spill, and no product waits for the one before.
fn machine_code(ptxas: &Path, nvdisasm: &Path, ptx: &[u8], arch: &str, kernels: usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (file, cubin) = (folder.path().join("k.ptx"), folder.path().join("k.cubin"));
    std::fs::write(&file, ptx).unwrap();
    let mut ptxas = Command::new(ptxas);
    let out = ptxas.args(["-v", "-O3", &format!("-arch={arch}"), "-o"]).arg(&cubin).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && !said.contains("serialized"), "{said}");
    let (mut kernel, mut seen) = ("", 0);
    for line in said.lines() {
        kernel = line.split("Function properties for ").nth(1).unwrap_or(kernel);
        if line.contains("spill stores") {
            seen += 1;
            let clean = line.contains("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads");
            assert!(clean, "{arch} {kernel}: {line}");
        }
    }
    assert_eq!(seen, kernels, "{said}");
    let code = Command::new(nvdisasm).arg(&cubin).output().unwrap();
    let code = String::from_utf8_lossy(&code.stdout).into_owned();
    assert!(!code.contains(" STL") && !code.contains(" LDL"), "{arch}: local memory");
    code
}
