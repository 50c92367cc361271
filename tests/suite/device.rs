//! Commands on a GPU, with the stand-in for its driver: it runs the PTX of the kernels in an interpreter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
mod support;

use spc_cuda::runtime::{Device, DeviceProgram, DriverSearch, ImageChoice};
use spc_interp::Value;
use spc_ir::DType;
use spc_kernel::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::spc::spc_command;
use support::{exec, plans};

/// The stand-in: cargo puts it beside the test.
fn stand_in() -> PathBuf {
    let file = std::env::current_exe().unwrap().parent().unwrap().join("libspc_stand_in.so");
    assert!(file.is_file(), "{} is missing", file.display());
    file
}

/// NVRTC as `SPC_NVRTC` names it; `None`, with a loud message, where it does not.
fn nvrtc() -> Option<PathBuf> {
    let found = std::env::var_os("SPC_NVRTC").map(PathBuf::from).filter(|f| f.is_file());
    if found.is_none() {
        let message = "SPC_NVRTC NAMES NO NVRTC: THE COMMANDS ON A GPU ARE NOT TESTED";
        assert!(std::env::var_os("SPC_NEEDS_NVRTC").is_none(), "{message}");
        spc_base::skipped(message);
    }
    found
}

fn spc(folder: &Path, nvrtc: &Path, settings: &str) -> Command {
    let mut c = spc_command();
    c.current_dir(folder).env("SPC_LIBCUDA", stand_in()).env("SPC_CUDA_IMAGE", "ptx").env("SPC_NVRTC", nvrtc);
    c.env("SPC_STAND_IN", settings);
    c
}

fn text(out: &Output) -> (String, String) {
    (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr).into_owned())
}

fn ok(c: &mut Command) -> String {
    let out = c.output().unwrap();
    let (stdout, stderr) = text(&out);
    assert!(out.status.success(), "{c:?}\n{stdout}{stderr}");
    stdout
}

fn fails(c: &mut Command, words: &[&str], code: i32) {
    let out = c.output().unwrap();
    let (stdout, stderr) = text(&out);
    assert_eq!(out.status.code(), Some(code), "{c:?}\n{stdout}{stderr}");
    for w in words {
        assert!(stderr.contains(w), "no `{w}` in {stderr}");
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits")
}

/// The digits program; with `more` at its end.
fn digits(more: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for f in std::fs::read_dir(examples()).unwrap() {
        let f = f.unwrap();
        if f.path().is_file() {
            std::fs::copy(f.path(), dir.path().join(f.file_name())).unwrap();
        }
    }
    let file = dir.path().join("digits.sp");
    // Timed calls and large batches would take long here.
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(", size, time]", ", size]").replace("B = 1..512", "B = 1..40").replace("B = 360", "B = 40");
    let text = text + more;
    std::fs::write(&file, text).unwrap();
    dir
}

/// A row of the report, by its first two columns.
fn row(report: &str, what: &str, of: &str) -> String {
    let starts = |l: &&str| l.split_whitespace().take(2).eq([what, of]);
    let found = report.lines().find(starts).unwrap_or_else(|| panic!("no {what} of {of} in {report}"));
    found.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn digits_run_on_the_device_and_leave_nothing_behind() {
    let Some(nvrtc) = nvrtc() else { return };
    let dir = digits("");
    let log = dir.path().join("log");
    let settings = format!("log={}", log.display());
    let gpu = ok(spc(dir.path(), &nvrtc, &settings).args(["run", "digits.sp", "--device", "cuda"]));
    let cpu = ok(spc(dir.path(), &nvrtc, "").args(["run", "digits.sp", "--device", "cpu"]));
    assert!(gpu.contains("target cuda") && !cpu.contains("target cuda"), "{gpu}");
    assert_eq!(row(&gpu, "accuracy", "360"), row(&cpu, "accuracy", "360"));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("mlp_w1_nm_2_4") && log.contains("mlp_w2_"), "{log}");
    // Batches of one size: the second one is recorded, and those after it are one launch each.
    assert!(log.contains("graph: "), "{log}");
    let last = log.lines().last().unwrap();
    assert!(last.starts_with("released: 0 buffers left after "), "{last}");
    // The same bits under another schedule.
    let other = ok(spc(dir.path(), &nvrtc, "order=4").args(["verify", "digits.sp", "--device", "cuda"]));
    assert!(other.contains("3 linears within the bound of their sums"), "{other}");
}

/// One layer that is large enough for the kernel which splits activations to pay.
fn wide() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = "use std.nn\naxis B = 1..8\n\
                model net from safetensors \"net.safetensors\" { axes { I = 1024, O = 512, P = 1024 } w: f32[O, I]  \
                v: f32[P, O] }\n\
                fn f(x: f32[B, I]) -> y: f32[B, P] { y = nn.linear(nn.relu(nn.linear(x, net.w)), net.v) }\n\
                require half: keep 2 of 4 of elements per tile(in: 4) on net.w\n\
                require cols: keep 25% of tile(out: 16, in: 1) per tensor on net.v\n\
                quantize short: net.{w, v} to bf16\n\
                target gpu = cuda(arch: \"sm_90\") { B = 8 }\n";
    std::fs::write(dir.path().join("net.sp"), text).unwrap();
    let mut rng = support::Rng(5);
    let mut bytes = || -> Vec<u8> { (0..1024 * 512).flat_map(|_| rng.float().to_le_bytes()).collect() };
    let (w, v) = (bytes(), bytes());
    let view = |shape: [usize; 2], bytes| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap()
    };
    let file = safetensors::tensor::serialize([("w", view([512, 1024], &w)), ("v", view([1024, 512], &v))], None);
    let file = file.unwrap();
    std::fs::write(dir.path().join("net.safetensors"), file).unwrap();
    dir
}

/// A 2:4 layer of enough rows for every multiprocessor is stored in 1.125 bytes a weight and computed by `mma.sp`.
#[test]
fn two_of_four_takes_sparse_tensor_cores() {
    let Some(nvrtc) = nvrtc() else { return };
    for (form, layout) in [("bf16", "mma24"), ("f16", "mma24_f16")] {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "use std.nn\naxis B = 1..8\nmodel net {{ axes {{ I = 256, O = 8448 }} w: f32[O, I] = kaiming() }}\n\
             fn f(x: f32[B, I]) -> y: f32[B, O] {{ y = nn.linear(x, net.w) }}\n\
             require half: keep 2 of 4 of elements per tile(in: 4)\nquantize short: net.w to {form}\n\
             target gpu = cuda(arch: \"sm_90\") {{ B = 8 }}\n"
        );
        std::fs::write(dir.path().join("net.sp"), text).unwrap();
        let table = ok(spc(dir.path(), &nvrtc, "").args(["compile", "net.sp", "--target", "gpu"]));
        let line = table.lines().find(|l| l.contains("net.w")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.contains(&layout) && line.contains("8.2 MiB") && line.contains("2.3 MiB"), "{table}");
        let ptx = ok(spc(dir.path(), &nvrtc, "").args(["compile", "net.sp", "--target", "gpu", "--emit=ptx"]));
        assert!(ptx.contains("mma.sp::ordered_metadata"), "{ptx}");
        let log = dir.path().join("log");
        let mut run = spc(dir.path(), &nvrtc, &format!("log={}", log.display()));
        let said = ok(run.args(["verify", "net.sp", "--target", "gpu", "--device", "cuda", "--activations", "bf16"]));
        assert!(said.contains("1 linears within the bound of their sums"), "{said}");
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains(&format!("net_w_{layout}_n")) && log.contains("terms_"), "{log}");
    }
}

/// A large 2:4 layer for many tokens has kernels for warp groups, in images for `sm_90a` alone.
#[test]
fn many_tokens_of_a_large_layer_have_an_image_for_warp_groups() {
    let Some(nvrtc) = nvrtc() else { return };
    let dir = tempfile::tempdir().unwrap();
    for (most, there) in [(512, true), (255, false)] {
        let text = format!(
            "use std.nn\naxis B = 1..{most}\nmodel net {{ axes {{ I = 512, O = 8448 }} w: f32[O, I] = kaiming() }}\n\
             fn f(x: f32[B, I]) -> y: f32[B, O] {{ y = nn.linear(x, net.w) }}\n\
             require half: keep 2 of 4 of elements per tile(in: 4)\nquantize short: net.w to bf16\n\
             target gpu = cuda(arch: \"sm_90\") {{ B = {most} }}\n"
        );
        std::fs::write(dir.path().join("net.sp"), text).unwrap();
        let out = most.to_string();
        ok(spc(dir.path(), &nvrtc, "").args(["compile", "net.sp", "--target", "gpu", "-o", &out]));
        let read = |file: &str| std::fs::read_to_string(dir.path().join(&out).join(file)).unwrap();
        assert_eq!(dir.path().join(&out).join("sm_90a.cubin").exists(), there, "{most}");
        assert_eq!(read("kernels.cu").contains("wgmma.mma_async.sp"), there, "{most}");
        assert_eq!(read("manifest.json").contains("\"only\": \"sm_90a\""), there, "{most}");
        assert!(!read("kernels.ptx").contains("wgmma"), "other images are without");
    }
}

/// Gate and up are one kernel, and what reads them reads their ranges where they lie: two launches of linears, one of a map.
/// Where a part is read by what needs it in one piece, a copy is one more launch, which is priced.
#[test]
fn siblings_are_one_kernel_on_the_device() {
    let Some(nvrtc) = nvrtc() else { return };
    let dir = tempfile::tempdir().unwrap();
    let text = "use std.nn\naxis B = 1..8\n\
                model net { axes { I = 64, F = 96 } gate: f32[F, I] = kaiming()  bg: f32[F] = normal(std: 0.5)\n\
                up: f32[F, I] = kaiming()  bu: f32[F] = normal(std: 0.5)  down: f32[I, F] = kaiming() }\n\
                fn f(x: f32[B, I]) -> y: f32[B, I] {\n\
                y = nn.linear(nn.silu(nn.linear(x, net.gate, net.bg)) * nn.linear(x, net.up, net.bu), net.down) }\n\
                target gpu = cuda(arch: \"sm_90\") { B = 8 }\n";
    std::fs::write(dir.path().join("net.sp"), text).unwrap();
    let said = ok(spc(dir.path(), &nvrtc, "").args(["explain", "net.sp", "--target", "gpu"]));
    assert!(said.contains("merged: net.{up,gate}: one kernel in ") && said.contains("merge-siblings B"), "{said}");
    let log = dir.path().join("log");
    let mut run = spc(dir.path(), &nvrtc, &format!("log={}", log.display()));
    let said = ok(run.args(["verify", "net.sp", "--target", "gpu", "--device", "cuda"]));
    assert!(said.contains("2 linears within the bound of their sums"), "{said}");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("up_gate") && !log.contains("window_"), "{log}");
    // The folder runs, too, and its constraints are looked at on the weights of the program.
    ok(spc(dir.path(), &nvrtc, "").args(["compile", "net.sp", "--target", "gpu", "-o", "out"]));
    let said = ok(spc(dir.path(), &nvrtc, "").args(["verify", "out", "--device", "cuda"]));
    assert!(said.contains("3 random calls"), "{said}");
}

/// Blocks whose rows were shuffled: the axis has another order on the device, where nothing moves it.
#[test]
fn an_axis_in_another_order_runs_on_the_device() {
    let Some(nvrtc) = nvrtc() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (i, f) = (256usize, 1024usize);
    let text = "use std.nn\naxis B = 1..8\n\
                model net from safetensors \"net.safetensors\" { axes { I = 256, F = 1024 } up: f32[F, I]  down: f32[I, F] }\n\
                fn f(x: f32[B, I]) -> y: f32[B, I] { y = nn.linear(nn.relu(nn.linear(x, net.up)), net.down) }\n\
                target gpu = cuda(arch: \"sm_90\") { B = 1 }\n";
    std::fs::write(dir.path().join("net.sp"), text).unwrap();
    let mut rng = support::Rng(7);
    let blocks: Vec<bool> = (0..f / 16 * i).map(|_| rng.float() > 0.5).collect();
    // Row r lies where the blocks have row 5 r.
    let kept = |r: usize, k: usize| blocks[r * 5 % f / 16 * i + k];
    let up: Vec<u8> = (0..f * i)
        .flat_map(|at| {
            let v = rng.float();
            if kept(at / i, at % i) { v } else { 0.0 }.to_le_bytes()
        })
        .collect();
    let down: Vec<u8> = (0..f * i).flat_map(|_| rng.float().to_le_bytes()).collect();
    let view = |shape: [usize; 2], bytes| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap()
    };
    let file = safetensors::tensor::serialize([("up", view([f, i], &up)), ("down", view([i, f], &down))], None);
    std::fs::write(dir.path().join("net.safetensors"), file.unwrap()).unwrap();
    let said = ok(spc(dir.path(), &nvrtc, "").args(["explain", "net.sp", "--target", "gpu"]));
    assert!(
        said.contains("reordered: net.up: alike rows are neighbours now") && said.contains("reorder-axis R"),
        "{said}"
    );
    let said = ok(spc(dir.path(), &nvrtc, "").args(["verify", "net.sp", "--target", "gpu", "--device", "cuda"]));
    assert!(said.contains("2 linears within the bound of their sums"), "{said}");
    ok(spc(dir.path(), &nvrtc, "").args(["compile", "net.sp", "--target", "gpu", "-o", "out"]));
    let said = ok(spc(dir.path(), &nvrtc, "").args(["verify", "out", "--device", "cuda"]));
    assert!(said.contains("3 random calls"), "{said}");
}

#[test]
fn bf16_weights_take_the_tensor_cores() {
    let Some(nvrtc) = nvrtc() else { return };
    let dir = wide();
    for activations in ["exact", "bf16"] {
        let log = dir.path().join(activations);
        let settings = format!("log={}", log.display());
        let on = ["--device", "cuda", "--activations", activations];
        let said = ok(spc(dir.path(), &nvrtc, &settings).args(["verify", "net.sp"]).args(on));
        assert!(said.contains("2 linears within the bound of their sums"), "{said}");
        let log = std::fs::read_to_string(log).unwrap();
        // Which layout is a matter of prices.
        assert!(log.contains("net_w_mma"), "{log}");
        assert!(log.contains("net_v_mma1_") && log.contains("turned_"), "{log}");
    }
    let table = ok(spc(dir.path(), &nvrtc, "").args(["compile", "net.sp", "--target", "gpu"]));
    assert!(table.contains("mma"), "{table}");
    assert!(table.contains("predicted with the constants h200-v1, which were not measured"), "{table}");
    // On the digits, whose layers are small, it would cost more than it saves.
    let small = digits("\nquantize half: mlp.w1 to bf16\n");
    let table = ok(spc(small.path(), &nvrtc, "").args(["compile", "digits.sp", "--target", "cuda"]));
    assert!(!table.contains("mma24"), "{table}");
}

#[test]
fn a_compiled_folder_runs_from_its_images() {
    let Some(nvrtc) = nvrtc() else { return };
    let dir = wide();
    ok(spc(dir.path(), &nvrtc, "").args([
        "compile",
        "net.sp",
        "--target",
        "cuda",
        "--activations",
        "bf16",
        "-o",
        "out",
    ]));
    let manifest = std::fs::read_to_string(dir.path().join("out/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let files: Vec<&str> = manifest["images"].as_array().unwrap().iter().map(|i| i["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["kernels.ptx", "sm_80.cubin", "sm_90.cubin"]);
    let terms = manifest["kernels"][0].clone();
    assert_eq!(
        (&terms["family"], &terms["params"][1]["of"]["terms"]["terms"]),
        (&"terms".into(), &serde_json::json!(1))
    );
    let text = std::fs::read_to_string(dir.path().join("out/kernels.cu")).unwrap();
    let source = std::fs::read_to_string(dir.path().join("net.sp")).unwrap();
    let line = 1 + source.lines().position(|l| l.contains("nn.linear(x, net.w)")).unwrap();
    assert!(text.contains(&format!("#line {line} \"net.sp\"\nextern")), "line {line}");
    let part = ["compile", "net.sp", "--target", "cuda", "--emit=cubin", "-o", "part"];
    ok(spc(dir.path(), &nvrtc, "").args(part));
    let files = |d: &str| {
        support::spc::listing(&dir.path().join(d)).into_iter().filter(|f| f.contains("sm_") || f.contains("ptx"))
    };
    assert_eq!(files("part").collect::<Vec<_>>(), ["sm_80.cubin", "sm_90.cubin"]);
    let ptx = ok(spc(dir.path(), &nvrtc, "").args(["compile", "net.sp", "--target", "cuda", "--emit=ptx"]));
    assert!(ptx.contains(".version 8.5") && ptx.contains("mma.sync.aligned"), "{ptx}");
    // Without NVRTC, the folder's own PTX is what runs.
    let nowhere = Path::new("/none/libnvrtc.so");
    let said = ok(spc(dir.path(), nowhere, "").args(["verify", "out", "--device", "cuda"]));
    assert!(said.contains("3 random calls"), "{said}");
    fails(spc(dir.path(), nowhere, "").args(["verify", "out", "--device", "cpu"]), &["SP0605", "tensor cores"], 4);
    // An edited image is noticed, as every file is.
    let image = dir.path().join("out/kernels.ptx");
    let edited = std::fs::read_to_string(&image).unwrap().replacen("add.rn.f32", "sub.rn.f32", 1);
    std::fs::write(&image, edited).unwrap();
    fails(spc(dir.path(), nowhere, "").args(["verify", "out", "--device", "cuda"]), &["SP0602", "kernels.ptx"], 4);
}

#[test]
fn what_the_device_does_not_do_is_said() {
    let nowhere = Path::new("/none/libnvrtc.so");
    let dir = digits("");
    let run = |settings: &str, nvrtc: &Path| {
        let mut c = spc(dir.path(), nvrtc, settings);
        c.args(["run", "digits.sp", "--device", "cuda"]);
        c
    };
    fails(&mut run("none", nowhere), &["SP0720", "the CUDA driver has no device: CUDA_ERROR_NO_DEVICE"], 4);
    fails(&mut run("old", nowhere), &["SP0720", "compute capability 7.0, the kernels need 8.0"], 4);
    fails(run("", nowhere).env("SPC_LIBCUDA", "/none/libcuda.so"), &["SP0720", "there is no CUDA driver"], 4);
    fails(run("", nowhere).env("SPC_CUDA_IMAGE", "elf"), &["SP0720", "SPC_CUDA_IMAGE is `elf`"], 4);
    fails(&mut run("", nowhere), &["SP0720", "SPC_NVRTC"], 4);
    // Where it need not be a GPU, the CPU takes over and says so.
    let mut auto = spc(dir.path(), nowhere, "none");
    let out = auto.args(["run", "digits.sp", "--target", "cuda"]).output().unwrap();
    let (stdout, stderr) = text(&out);
    assert!(out.status.success() && stdout.contains("98.1 %"), "{stderr}");
    assert!(stderr.contains("warning[SP0720]: the target `cuda` runs on the CPU here"), "{stderr}");
    let mut asked = spc(dir.path(), nowhere, "");
    fails(asked.args(["run", "digits.sp", "--target", "laptop", "--device", "cuda"]), &["is a CPU"], 2);
    let mut images = spc(dir.path(), nowhere, "");
    fails(images.args(["compile", "digits.sp", "--target", "cuda", "--require-images", "-o", "o"]), &["SP0604"], 4);
    assert!(!dir.path().join("o").exists());
    let asks = |args: &[&str]| {
        let mut c = spc(dir.path(), nowhere, "");
        c.args(["compile", "digits.sp"]).args(args);
        c
    };
    fails(&mut asks(&["--emit=ptx"]), &["the target `laptop` is a CPU"], 2);
    fails(&mut asks(&["--emit=cubin", "--target", "cuda"]), &["needs a folder"], 2);
    fails(&mut asks(&["--emit=ptx", "--target", "cuda"]), &["SP0604"], 4);
    let Some(nvrtc) = nvrtc() else { return };
    fails(&mut run("memory=100000", &nvrtc), &["SP0720", "the device has no"], 4);
    let words = ["SP0720", "linear_7_mlp_w1_", ", of `mlp.w1` (CUDA_ERROR_LAUNCH_FAILED (719))"];
    fails(&mut run("fault=mlp_w1", &nvrtc), &words, 4);
    // On a device, a fault shows when somebody waits: then the layer is one of several, but for who waits after each kernel.
    let words =
        ["SP0720", "CUDA_ERROR_LAUNCH_FAILED", "one of those of `mlp.w1`, `mlp.w2`", "SPC_CUDA_WAIT=1 says which"];
    fails(&mut run("fault=mlp_w1,late", &nvrtc), &words, 4);
    let words = ["SP0720", "linear_7_mlp_w1_", ", of `mlp.w1`"];
    fails(run("fault=mlp_w1,late", &nvrtc).env("SPC_CUDA_WAIT", "1"), &words, 4);
    // Whatever fails, nothing stays allocated.
    for (number, setting) in
        ["memory=100000", "memory=300000", "fault=mlp_w1", "fault=mlp_w1,late"].into_iter().enumerate()
    {
        let log = dir.path().join(format!("log{number}"));
        let out = run(&format!("{setting},log={}", log.display()), &nvrtc).output().unwrap();
        assert_eq!(out.status.code(), Some(4), "{setting}");
        let log = std::fs::read_to_string(log).unwrap();
        let last = log.lines().last().unwrap();
        assert!(last.starts_with("released: 0 buffers left after "), "{setting}: {last}");
    }
}

#[test]
fn folders_that_were_changed_are_refused() {
    let Some(nvrtc) = nvrtc() else { return };
    let dir = digits("");
    let compile = |to: &str, more: &[&str]| {
        let mut c = spc(dir.path(), &nvrtc, "");
        ok(c.args(["compile", "digits.sp", "--target", "cuda", "-o", to]).args(more));
    };
    compile("out", &["--emit=cubin"]);
    let verify = |folder: &str| {
        let mut c = spc(dir.path(), Path::new("/none"), "");
        c.env_remove("SPC_NVRTC").env("SPC_CUDA_IMAGE", "cubin").args(["verify", folder, "--device", "cuda"]);
        c
    };
    // Cubins run on the devices that they are for; the stand-in takes none.
    let words =
        ["SP0720", "no image runs on the device", "sm_80.cubin, refused with CUDA_ERROR_INVALID_IMAGE", "sm_90.cubin"];
    fails(&mut verify("out"), &words, 4);
    // The manifest.
    let path = dir.path().join("out/manifest.json");
    let good = std::fs::read_to_string(&path).unwrap();
    for (from, to, words) in [
        ("\"block\": 128", "\"block\": 64", "lists other kernels of `classify` than `kernels.cu` has"),
        ("\"weights.safetensors\"", "\"weights.safetensor\"", "does not list `weights.safetensors`"),
        ("\"format\": ", "\"format\": 9", "this version reads"),
        ("sm_80.cubin\": \"", "../sm_80.cubin\": \"", "outside the folder"),
    ] {
        assert!(good.contains(from), "{from} in {good}");
        std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
        fails(&mut verify("out"), &["SP0602", words], 4);
    }
    std::fs::write(&path, good).unwrap();
    // Weights that belong to another plan.
    let file = dir.path().join("digits.sp");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "\nquantize half: mlp.w1 to bf16\n").unwrap();
    compile("other", &["--emit=cubin"]);
    std::fs::copy(dir.path().join("other/weights.safetensors"), dir.path().join("out/weights.safetensors")).unwrap();
    fails(&mut verify("out"), &["SP0602", "`weights.safetensors` is not the file that was written"], 4);
}

fn bytes(v: &Value<f32>) -> Vec<u8> {
    match v {
        Value::F(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Value::I(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Value::B(a) => a.iter().map(|x| u8::from(*x)).collect(),
    }
}

fn tensor(dtype: DType, bytes: &[u8]) -> Tensor {
    let words = bytes.chunks_exact(4).map(|b| <[u8; 4]>::try_from(b).unwrap());
    match dtype {
        DType::F32 => Tensor::F32(words.map(f32::from_le_bytes).collect()),
        DType::I32 => Tensor::I32(words.map(i32::from_le_bytes).collect()),
        DType::Bool => Tensor::Bool(bytes.iter().map(|b| *b != 0).collect()),
    }
}

#[test]
fn whole_models_run_on_the_device() {
    if nvrtc().is_none() {
        return;
    }
    let device = Device::open(&DriverSearch { file: Some(stand_in()) }).unwrap();
    let folder = support::root().join("run");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "sp"));
    files.sort();
    for (number, file) in (0u64..).zip(&files) {
        let path = file.display().to_string();
        let g = support::optimised(&support::sound(&path, &std::fs::read_to_string(file).unwrap()));
        let weights = support::projected(&g, &support::random_weights(&g, 1));
        let plan = plans::chosen(&g, &weights, &support::declared(&g), &BTreeMap::new());
        let module = spc_cuda::emit(&g, &plan).unwrap();
        assert_eq!(module.host, [], "{path}");
        let packs = exec::Packs::new(&g, &plan, &weights);
        let program = DeviceProgram::new(&device, &g, &module, &[], ImageChoice::Ptx, &packs);
        let program = program.unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut rng = support::Rng(number);
        let sizes = exec::random_sizes(&g, &mut rng);
        let inputs = exec::random_inputs(&g, &sizes, &mut rng);
        let sizes = exec::sizes_of(&g, &inputs);
        let given = inputs.iter().map(|(n, v)| (n.clone(), bytes(v))).collect();
        let results = program.call(&sizes, &given).unwrap_or_else(|e| panic!("{path}: {e}"));
        let typed = g.outputs.iter().zip(&results).map(|((n, o), b)| (n.clone(), tensor(g.ty(*o).unwrap().dtype, b)));
        exec::check(&g, &weights, &inputs, &typed.collect(), &path);
    }
}

/// A token-id matrix as a npy file.
fn npy(file: &Path, descr: &str, shape: [usize; 2], data: &[u8]) {
    let mut head = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}, {}), }}", shape[0], shape[1]);
    while !(head.len() + 11).is_multiple_of(64) {
        head.push(' ');
    }
    head.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.as_bytes());
    bytes.extend(data);
    std::fs::write(file, bytes).unwrap();
}

/// Needs what `examples/minilm/get.sh` downloads; without it nothing is tested, and it is said.
#[test]
#[ignore = "minutes: MiniLM in an interpreter of PTX"]
fn minilm_runs_on_the_device() {
    let Some(nvrtc) = nvrtc() else { return };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/minilm/minilm.sp");
    if !program.with_file_name("model.safetensors").is_file() {
        spc_base::skipped("NO MODEL IN examples/minilm: IT IS NOT TESTED ON THE DEVICE");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ids: Vec<u8> = [101i32, 1037, 4937, 102, 101, 2158, 102, 0].iter().flat_map(|i| i.to_le_bytes()).collect();
    npy(&dir.path().join("ids.npy"), "<i4", [2, 4], &ids);
    npy(&dir.path().join("real.npy"), "|b1", [2, 4], &[1, 1, 1, 1, 1, 1, 1, 0]);
    let call = |device: &str| {
        let out = dir.path().join(format!("{device}.npy"));
        let mut c = spc(dir.path(), &nvrtc, "");
        c.arg("run").arg(&program).args(["--fn", "embed", "--in", "ids=ids.npy", "--in", "real=real.npy"]);
        ok(c.arg("--out").arg(format!("sentence={}", out.display())).args(["--device", device]));
        let bytes = std::fs::read(out).unwrap();
        bytes[bytes.len() - 2 * 384 * 4..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let (gpu, cpu): (Vec<f32>, Vec<f32>) = (call("cuda"), call("cpu"));
    let worst = gpu.iter().zip(&cpu).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    // Unit vectors; f32 products in another order.
    assert!(worst <= 1e-5, "{worst}");
}
