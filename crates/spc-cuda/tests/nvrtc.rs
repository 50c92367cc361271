//! NVRTC where it is installed, and refusals where it is not what it seems.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#[path = "support/cases.rs"]
mod cases;
mod support;

use cases::{Act, Case, Linear, Pattern, graph};
use spc_cuda::nvrtc::{DEFAULT_ARCHS, ImageKind, NOT_FOUND_HELP, NvrtcError, Search, images, images_from};
use spc_cuda::{emit, manifest};
use std::path::Path;
use support::{have_gxx, shared_library};

const LAYOUTS: [&str; 15] = [
    "dense(16)",
    "dense(5)",
    "vx1(4)",
    "vx1(33)",
    "bsr(4,4)",
    "bsr(16,16)",
    "bsr(2,40)",
    "nm(2,4)",
    "nm(4,200)",
    "csr",
    "mma24",
    "mma32(64)",
    "kept4(32,16)",
    "mma1(16)",
    "vnm(64,8)",
];

#[test]
fn every_family_compiles_to_images() {
    let acts = [Act::None, Act::Relu, Act::Gelu];
    let linears: Vec<Linear> = LAYOUTS
        .iter()
        .enumerate()
        .map(|(i, layout)| {
            let layout = layout.parse().unwrap();
            let (pattern, act) = (Pattern::Empty, acts[i % 3]);
            let case = Case {
                layout,
                outputs: 70,
                inputs: 420,
                pattern,
                bias: i % 2 == 0,
                act,
                separate: false,
                tokens: vec![],
            };
            Linear::new(case, 1)
        })
        .collect();
    let (graph, plan) = graph(&linears);
    let module = emit(&graph, &plan).unwrap();
    let Some(built) = images(&module.text, DEFAULT_ARCHS).unwrap() else {
        spc_base::skipped(&format!("no NVRTC, so the text was not compiled to images; {NOT_FOUND_HELP}"));
        return;
    };
    eprintln!("images by {}", built.toolchain);
    let files: Vec<(&str, ImageKind)> = built.images.iter().map(|i| (i.file.as_str(), i.kind)).collect();
    use ImageKind::*;
    assert_eq!(files, [("kernels.ptx", Ptx), ("sm_80.cubin", Cubin), ("sm_90.cubin", Cubin)]);
    let ptx = std::str::from_utf8(&built.images[0].bytes).unwrap();
    assert!(ptx.lines().any(|l| l == ".version 8.5"));
    assert!(ptx.lines().any(|l| l.starts_with(".target sm_80")));
    for k in module.kernels.iter().filter(|k| k.only.is_none()) {
        assert!(ptx.contains(&format!(".entry {}(", k.name)), "{}", k.name);
    }
    assert!(!ptx.contains(".local"), "no array of a kernel lies in memory");
    for word in ["mma.sp::ordered_metadata", "ldmatrix.sync", "cp.async.cg"] {
        assert!(ptx.contains(word), "no {word}");
    }
    if let Some(folder) = std::env::var_os("SPC_DUMP") {
        for i in &built.images {
            std::fs::write(Path::new(&folder).join(&i.file), &i.bytes).unwrap();
        }
        std::fs::write(Path::new(&folder).join("kernels.cu"), &module.text).unwrap();
    }
    assert!(built.images[1..].iter().all(|i| i.bytes.starts_with(b"\x7fELF") && i.ptx_version.is_none()));
    assert_eq!(images(&module.text, DEFAULT_ARCHS).unwrap().unwrap(), built, "the same bytes again");
    let json = manifest(&module, Some(&built)).unwrap();
    assert_eq!(json["images"][0]["ptx_version"], "8.5");
    assert_eq!(json["images"][2]["arch"], "sm_90");
    assert_eq!(json["images"][1]["toolchain"], built.toolchain);

    let word = "return spc_max(a0, 0.0f);";
    let before = &module.text[..module.text.find(word).unwrap()];
    let name = before.rsplit("// kernel ").next().unwrap().split(',').next().unwrap();
    let relu = module.kernels.iter().find(|k| k.name == name).unwrap();
    let broken = module.text.replacen(word, "return nonsense(a0);", 1);
    let Err(e) = images(&broken, &["compute_80"]) else { panic!("NVRTC takes nonsense") };
    assert!(e.is_bug() && e.to_string().contains("nonsense"), "{e}");
    let NvrtcError::Refused { kernel: Some(kernel), .. } = &e else { panic!("no kernel is blamed: {e}") };
    assert!(kernel.contains(&relu.name) && kernel.contains(&relu.node.to_string()), "{kernel}");
}

fn named(file: &Path) -> Search {
    let value = file.as_os_str().to_os_string();
    Search::new(&move |name| (name == "SPC_NVRTC").then(|| value.clone()))
}

fn refusal(file: &Path) -> String {
    match images_from(&named(file), "", &["compute_80"]) {
        Err(NvrtcError::Unusable { path, why }) => {
            assert_eq!(path, file);
            why
        }
        other => panic!("{}: {other:?}", file.display()),
    }
}

#[test]
fn a_named_file_that_is_no_nvrtc_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(&folder.path().join("missing.so")).contains("no such file"));
    assert!(refusal(folder.path()).contains("no such file"));
    let text = folder.path().join("libnvrtc.so.13");
    std::fs::write(&text, "not a library").unwrap();
    assert!(!refusal(&text).is_empty());
}

#[test]
fn hollow_libraries_are_refused_without_a_panic() {
    if !have_gxx() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hollow = shared_library(folder.path(), "libnvrtc.so.13", "");
    assert_eq!(refusal(&hollow), "it has no function nvrtcVersion");
    // Found rather than named: it is passed over.
    let found = Search { explicit: None, files: vec![hollow], loader: false };
    assert_eq!(images_from(&found, "", &["compute_80"]), Ok(None));
    let half = "extern \"C\" int nvrtcVersion(int*, int*) { return 0; }\n\
                extern \"C\" const char* nvrtcGetErrorString(int) { return nullptr; }\n";
    let half = shared_library(folder.path(), "libhalf.so", half);
    assert_eq!(refusal(&half), "it has no function nvrtcCreateProgram");
}

/// A library with all functions, each of which fails.
#[test]
fn an_nvrtc_that_fails_is_an_error() {
    if !have_gxx() {
        return;
    }
    let functions = [
        "nvrtcVersion",
        "nvrtcCreateProgram",
        "nvrtcDestroyProgram",
        "nvrtcCompileProgram",
        "nvrtcGetProgramLogSize",
        "nvrtcGetProgramLog",
        "nvrtcGetPTXSize",
        "nvrtcGetPTX",
        "nvrtcGetCUBINSize",
        "nvrtcGetCUBIN",
    ];
    let mut text = String::from("extern \"C\" const char* nvrtcGetErrorString(int) { return nullptr; }\n");
    for f in functions {
        text += &format!("extern \"C\" int {f}() {{ return 7; }}\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = shared_library(folder.path(), "libfails.so", &text);
    let e = images_from(&named(&file), "", &["compute_80"]).unwrap_err();
    assert_eq!(e, NvrtcError::Failed("its version: error 7".into()));
    // Succeeds at everything but the compiling, and has no log.
    let text = text
        .replace("nvrtcVersion() { return 7", "nvrtcVersion() { return 0")
        .replace("nvrtcCreateProgram() { return 7", "nvrtcCreateProgram() { return 0");
    let file = shared_library(folder.path(), "librefuses.so", &text);
    let e = images_from(&named(&file), "", &["sm_90"]).unwrap_err();
    assert!(
        matches!(&e, NvrtcError::Refused { arch, code, kernel: None, log } if arch == "sm_90" && code == "error 7" && log.is_empty()),
        "{e}"
    );
}
