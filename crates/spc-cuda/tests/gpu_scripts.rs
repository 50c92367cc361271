//! The scripts of `tests/gpu`, on small sizes, with the stand-in for the driver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file that cargo builds beside the tests.
fn built(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let found = [deps.join(name), deps.join("../examples").join(name)].into_iter().find(|f| f.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing beside {}", deps.display()))
}

fn script(name: &str, out: &Path) -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/gpu").join(name);
    let mut c = Command::new("bash");
    c.arg(file).env("SPC_GPU_OUT", out).env("SPC_GPU_PROGRAM", built("gpu"));
    c.env("SPC_LIBCUDA", built("libspc_stand_in.so")).env("SPC_CUDA_IMAGE", "ptx");
    // The stand-in takes nothing else.
    c.env("SPC_GPU_ARCHS", "compute_80,compute_90a").env("SPC_GPU_ROUNDS", "1");
    c
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

const SIZES: [&str; 4] = ["64", "64", "33", "70"];

#[test]
fn what_is_built_is_checked_timed_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let early = script("run.sh", &out).output().unwrap();
    assert_eq!(early.status.code(), Some(1));
    assert!(text(&early).contains("run tests/gpu/build.sh first"), "{}", text(&early));
    let build = script("build.sh", &out).args(SIZES).output().unwrap();
    if text(&build).contains("there is no NVRTC") {
        assert!(std::env::var_os("SPC_NEEDS_NVRTC").is_none(), "{}", text(&build));
        eprintln!("NO NVRTC: THE SCRIPTS FOR A GPU ARE NOT TESTED");
        return;
    }
    assert!(build.status.success(), "{}", text(&build));
    // Seven layouts, two roundings, two sizes, two architectures; updates for both.
    assert!(text(&build).contains("58 images"), "{}", text(&build));
    let run = script("run.sh", &out).args(SIZES).args(["1,20", "256"]).output().unwrap();
    let said = text(&run);
    assert!(run.status.success(), "{said}");
    let parts: Vec<&str> = said.lines().filter(|l| l.starts_with("== ")).collect();
    let (first, last) = ("== orders of fragments, positions and swizzled rows", "== table for docs/benchmarks.md");
    assert_eq!((parts[0], *parts.last().unwrap()), (first, last));
    assert_eq!(said.matches(": in order\n").count(), 12, "six layouts, two numbers of tokens: {said}");
    assert!(said.contains("256 x 256: the words of the CPU, ok"), "{said}");
    for row in ["| mma24 | 1 |", "| kept4(32,16) | 1 |", "| pack24 |", "| lasso_rows |", "| lasso_16x16 |"] {
        assert!(said.split(last).nth(1).unwrap().contains(row), "{row}: {said}");
    }
    for layout in ["mma24", "mma32(128)", "mma32(64)", "mma32(32)", "mma1(64)", "vnm(64,8)", "kept4(32,16)"] {
        let right = |l: &&str| l.starts_with(layout) && l.ends_with(", ok");
        assert_eq!(said.lines().filter(right).count(), 4, "{layout}: {said}");
        let row = format!("spc {layout} ");
        let table = said.split("== times by tokens").nth(1).unwrap();
        assert_eq!(
            table.lines().filter(|l| l.starts_with(&row) && l.contains(" tokens ")).count(),
            2,
            "{layout}: {said}"
        );
    }
    assert!(!said.contains("WRONG"), "{said}");
    // On a device of 9.0 products of many tokens are those of warp groups.
    let mut groups = Command::new(out.join("gpu"));
    groups.arg("orders").arg(out.join("images")).args(["33", "70", "256"]).env("SPC_STAND_IN", "hopper");
    groups.env("SPC_LIBCUDA", built("libspc_stand_in.so")).env("SPC_CUDA_IMAGE", "ptx");
    let groups = groups.output().unwrap();
    let said = text(&groups);
    assert!(groups.status.success() && said.contains("mma24        256 tokens by wgmma: in order"), "{said}");
    // A device that computes something else, here because its kernels fail, ends the run.
    let broken = script("run.sh", &out).args(SIZES).arg("1").env("SPC_STAND_IN", "fault=mma1").output().unwrap();
    assert!(!broken.status.success() && text(&broken).contains("a kernel failed"), "{}", text(&broken));
}
