//! Machine code of the emitted text, where NVRTC, ptxas and nvdisasm are installed: nothing is spilled, and the instructions
//! that the kernels are written for are there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#[path = "support/cases.rs"]
mod cases;
mod support;

use cases::{Act, Case, Linear, Pattern, graph};
use spc_cuda::nvrtc::images;
use spc_cuda::{Activations, CudaModule, EmitOptions, emit_with};
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
        eprintln!("{message}");
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
            eprintln!("NO NVRTC: MACHINE CODE IS NOT TESTED");
            return;
        };
        for arch in ["sm_80", "sm_90"] {
            let code = machine_code(&ptxas, &nvdisasm, &built.images[0].bytes, arch, &module);
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
        let code = machine_code(&ptxas, &nvdisasm, &built.images[0].bytes, "sm_90a", &own);
        let tokens = if activations == Activations::Bf16 { 256 } else { 128 };
        assert!(code.contains(&format!("HGMMA.SP.64x{tokens}x32.F32.BF16")), "no wgmma.sp");
    }
}

/// What ptxas makes of PTX, as text: every kernel without a spill, and no product waits for the one before.
fn machine_code(ptxas: &Path, nvdisasm: &Path, ptx: &[u8], arch: &str, module: &CudaModule) -> String {
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
    let names: BTreeSet<&str> = module.kernels.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(seen, names.len(), "{said}");
    let code = Command::new(nvdisasm).arg(&cubin).output().unwrap();
    let code = String::from_utf8_lossy(&code.stdout).into_owned();
    assert!(!code.contains(" STL") && !code.contains(" LDL"), "{arch}: local memory");
    code
}
