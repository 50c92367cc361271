//! The runtime on the stand-in driver, which runs the PTX of the kernels in the interpreter; and its refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#[path = "support/cases.rs"]
mod cases;
mod support;

use cases::{Act, Case, Linear, Pattern, Random, graph};
use spc_cuda::nvrtc::NOT_FOUND_HELP;
use spc_cuda::runtime::{Device, DeviceProgram, DriverSearch, ImageChoice, RuntimeError, Weights};
use spc_cuda::{Activations, EmitOptions, emit, emit_with};
use spc_formats::{Validated, validate};
use std::collections::BTreeMap;
use std::path::PathBuf;
use support::{f32_bytes, have_gxx, shared_library};

/// The stand-in: cargo puts it beside the test.
fn stand_in() -> DriverSearch {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let file = folder.join("libspc_stand_in.so");
    assert!(file.is_file(), "{} is missing", file.display());
    DriverSearch { file: Some(file) }
}

struct Given(Vec<(Validated, Vec<f32>)>);

impl Weights for Given {
    fn packed(&self, weight: &str, layout: &str) -> Option<&Validated> {
        let i: usize = weight.strip_prefix("layer.")?.strip_suffix(".w")?.parse().ok()?;
        self.0.get(i).map(|g| &g.0).filter(|v| v.layout().to_string() == layout)
    }
    fn plain(&self, weight: &str) -> Option<&[f32]> {
        let i: usize = weight.strip_prefix("layer.")?.strip_suffix(".b")?.parse().ok()?;
        self.0.get(i).map(|g| g.1.as_slice())
    }
}

fn linears() -> Vec<Linear> {
    let case = |layout: &str, outputs, inputs, bias, act| {
        let (layout, pattern, tokens) = (layout.parse().unwrap(), Pattern::Full, vec![]);
        Case { layout, outputs, inputs, pattern, bias, act, separate: bias, tokens }
    };
    let cases = [
        case("mma24", 45, 70, true, Act::Gelu),
        case("nm(2,4)", 9, 33, false, Act::Relu),
        case("dense(16)", 20, 12, true, Act::None),
        case("csr", 7, 64, true, Act::Relu),
    ];
    cases.into_iter().zip(1..).map(|(c, seed)| Linear::new(c, seed)).collect()
}

/// `None`, with a loud message, where there is no NVRTC.
fn load(linears: &[Linear], activations: Activations) -> Option<DeviceProgram> {
    let (graph, plan) = graph(linears);
    let module = emit_with(&graph, &plan, &EmitOptions { activations, ..EmitOptions::default() }).unwrap();
    let device = Device::open(&stand_in()).unwrap();
    assert_eq!((device.name(), device.capability()), ("PTX interpreter", (8, 0)));
    let given = linears.iter().map(|l| (validate(l.packed.clone()).unwrap(), l.bias.clone())).collect();
    match DeviceProgram::new(&device, &graph, &module, &[], ImageChoice::Ptx, &Given(given)) {
        Ok(p) => Some(p),
        Err(RuntimeError::NoImage { images, .. }) if images == ["no NVRTC"] => {
            let message = format!("NO NVRTC: THE RUNTIME IS NOT TESTED; {NOT_FOUND_HELP}");
            assert!(std::env::var_os("SPC_NEEDS_NVRTC").is_none(), "{message}");
            spc_base::skipped(&message);
            None
        }
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn a_program_runs_on_the_device_again_and_again() {
    for activations in [Activations::Exact, Activations::Bf16] {
        let linears = linears();
        let Some(program) = load(&linears, activations) else { return };
        let mut random = Random::new(3);
        for tokens in [1usize, 40, 9, 1] {
            let x: Vec<Vec<f32>> =
                linears.iter().map(|l| (0..tokens * l.case.inputs).map(|_| random.value()).collect()).collect();
            let inputs: BTreeMap<String, Vec<u8>> =
                x.iter().enumerate().map(|(i, x)| (format!("x{i}"), f32_bytes(x))).collect();
            let results = program.call(&[tokens as u64], &inputs).unwrap();
            for ((l, x), y) in linears.iter().zip(&x).zip(&results) {
                let y: Vec<f32> = y.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
                l.check(x, tokens, &y, activations);
            }
            let times = program.timed(&[tokens as u64], &inputs).unwrap();
            assert_eq!(times.len(), linears.len() + 1, "every linear, and the terms of one");
            assert!(times.iter().all(|t| t.milliseconds >= 0.0));
        }
        // Calls of the sizes of the one before are recorded: the third and later ones are one launch, with other inputs.
        for _ in 0..5 {
            let tokens = 3usize;
            let x: Vec<Vec<f32>> =
                linears.iter().map(|l| (0..tokens * l.case.inputs).map(|_| random.value()).collect()).collect();
            let inputs: BTreeMap<String, Vec<u8>> =
                x.iter().enumerate().map(|(i, x)| (format!("x{i}"), f32_bytes(x))).collect();
            let results = program.call(&[tokens as u64], &inputs).unwrap();
            for ((l, x), y) in linears.iter().zip(&x).zip(&results) {
                let y: Vec<f32> = y.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
                l.check(x, tokens, &y, activations);
            }
            let times = program.rounds(&[3], &inputs, 2).unwrap();
            assert_eq!(times.len(), 2);
        }
        assert!(program.call(&[2], &BTreeMap::new()).is_err(), "inputs are missing");
    }
}

#[test]
fn without_a_driver_there_is_an_error_and_no_panic() {
    let open = |file: PathBuf| Device::open(&DriverSearch { file: Some(file) }).map(|_| ()).unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    let e = open(folder.path().join("libcuda.so.1"));
    assert!(matches!(e, RuntimeError::NoDriver(_)) && e.is_absence(), "{e}");
    std::fs::write(folder.path().join("text.so"), "no library").unwrap();
    assert!(matches!(open(folder.path().join("text.so")), RuntimeError::NoDriver(_)));
    if !have_gxx() {
        return;
    }
    let e = open(shared_library(folder.path(), "libhollow.so", ""));
    assert!(e.to_string().ends_with("libhollow.so is no CUDA driver: it has no function cuInit") && e.is_absence());
    let e = open(shared_library(folder.path(), "libhalf.so", "extern \"C\" int cuInit(unsigned) { return 0; }"));
    assert!(e.to_string().contains("cuGetErrorName"), "{e}");
}

#[test]
fn what_has_no_kernel_or_no_image_is_refused() {
    let linears = linears();
    let (graph, plan) = graph(&linears);
    let mut module = emit(&graph, &plan).unwrap();
    let device = Device::open(&stand_in()).unwrap();
    let given = Given(linears.iter().map(|l| (validate(l.packed.clone()).unwrap(), l.bias.clone())).collect());
    let image = |arch: &str, kind, bytes: &[u8]| spc_cuda::nvrtc::Image {
        arch: arch.into(),
        kind,
        file: format!("{arch}.image"),
        bytes: bytes.to_vec(),
        ptx_version: None,
        lowered_from: None,
    };
    use spc_cuda::nvrtc::ImageKind::{Cubin, Ptx};
    let images = [
        image("sm_90", Cubin, b"\x7fELF"),
        image("compute_80", Ptx, b".version 8.5\n.entry k( {"),
        image("sm_80", Cubin, b"\x7fELF"),
    ];
    // A stranger's text, so that NVRTC does not help where it is installed.
    module.text = "nonsense".into();
    let refused =
        DeviceProgram::new(&device, &graph, &module, &images, ImageChoice::Best, &given).map(|_| ()).unwrap_err();
    match refused {
        RuntimeError::NoImage { images, has: (8, 0), .. } => {
            let text = images.join("; ");
            assert!(text.contains("sm_80.image, refused with CUDA_ERROR_INVALID_IMAGE (200)"), "{text}");
            assert!(text.contains("compute_80.image, refused with CUDA_ERROR_INVALID_PTX (218)"), "{text}");
            assert!(!text.contains("sm_90.image, refused"), "another architecture is not tried: {text}");
        }
        RuntimeError::Nvrtc(e) => assert!(e.is_bug(), "{e}"),
        other => panic!("{other}"),
    }
    module.host.push(spc_cuda::HostOp { node: spc_ir::NodeId(0), op: "reduce".into(), reason: "none yet".into() });
    let refused = DeviceProgram::new(&device, &graph, &module, &[], ImageChoice::Best, &given).map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "`reduce` cannot run on the device: none yet");
}
