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
        spc_base::skipped("NO NVRTC: THE SCRIPTS FOR A GPU ARE NOT TESTED");
        return;
    }
    assert!(build.status.success(), "{}", text(&build));
    // Two architectures, and updates for both: seventeen layouts with two roundings, and eight of another size with one.
    let count: usize = text(&build).lines().last().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_eq!(count, 86, "{}", text(&build));
    let run = script("run.sh", &out).args(SIZES).args(["1,20", "256"]).output().unwrap();
    let said = text(&run);
    assert!(run.status.success(), "{said}");
    let parts: Vec<&str> = said.lines().filter(|l| l.starts_with("== ")).collect();
    let (first, last) = ("== orders of fragments, positions and swizzled rows", "== table for docs/benchmarks.md");
    assert_eq!((parts[0], parts[parts.len() - 2], parts[parts.len() - 1]), (first, last, "== steps"));
    assert_eq!(said.matches(": in order\n").count(), 14, "seven layouts, two numbers of tokens: {said}");
    assert!(said.contains("256 x 256: the words of the CPU, ok"), "{said}");
    for row in ["| mma24 | 1 |", "| kept4(32,16) | 1 |", "| pack24 |", "| lasso_rows |", "| lasso_16x16 |"] {
        assert!(said.split(last).nth(1).unwrap().contains(row), "{row}: {said}");
    }
    let right = |l: &&str| l.contains("tokens by ") && l.ends_with(", ok");
    assert_eq!(
        said.lines().filter(right).count(),
        17 * 4,
        "seventeen layouts, two roundings, two numbers of tokens: {said}"
    );
    for layout in ["mma24", "mma32(128)", "mma32(64)", "mma32(32)", "mma1(64)", "vnm(64,8)", "kept4(32,16)", "csr"] {
        let right = |l: &&str| l.starts_with(&format!("{layout} ")) && l.ends_with(", ok");
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
    // A kernel that fails is named with its layout, and everything else goes on.
    let broken =
        script("run.sh", &out).args(SIZES).args(["1", "256"]).env("SPC_STAND_IN", "fault=mma1").output().unwrap();
    let said = text(&broken);
    assert!(!broken.status.success() && said.contains("mma1(64): FAILED: a kernel failed"), "{said}");
    for row in ["| orders |", "| results |", "| times mma24 | ", "| updates | "] {
        assert!(said.split("== steps").nth(1).unwrap().contains(row), "{row}: {said}");
    }
    assert!(said.lines().any(|l| l.starts_with("| times mma1(64) |") && l.contains("FAILED (1)")), "{said}");
    assert!(said.lines().any(|l| l.starts_with("| times mma24 |") && l.ends_with("| ok |")), "{said}");
    assert!(said.lines().any(|l| l.starts_with("| mma24 | 1 |")), "the table has what was measured: {said}");
    // So is a step that takes too long, and a program that does not start.
    let late = script("run.sh", &out).args(SIZES).args(["1", "256"]).env("SPC_GPU_LIMIT", "0.01").output().unwrap();
    let said = text(&late);
    assert!(!late.status.success() && said.contains("| orders |") && said.contains("stopped after 0.01 s"), "{said}");
    std::fs::write(out.join("gpu"), "#!/no/such/interpreter\n").unwrap();
    let other = script("run.sh", &out).output().unwrap();
    assert!(!other.status.success() && text(&other).contains("does not start here"), "{}", text(&other));
}

/// What stands for PyTorch here: every name is there, but for those in FAKE_MISSING; calls in FAKE_FAILS raise.
const FAKE_TORCH: &str = r#"
import os, sys, types
from unittest.mock import MagicMock
missing = os.environ.get("FAKE_MISSING", "").split(",")
if "torch" in missing:
    raise ImportError("No module named 'torch'")
class Fake(MagicMock):
    def __getattr__(self, name):
        if name in missing:
            raise AttributeError(f"no attribute '{name}'")
        return super().__getattr__(name)
fake = Fake()
fake.cuda.is_available.return_value = "cuda" not in missing
fake.cuda.Event.side_effect = lambda **_: types.SimpleNamespace(record=lambda: None, elapsed_time=lambda o: 0.5)
tensor = MagicMock()
tensor.shape = (64, 64)
tensor.__lt__.return_value = tensor
fake.randn.return_value = fake.rand.return_value = tensor
for name in ["torch", "torch.nn", "torch.nn.functional", "torch.sparse", "torch.sparse._triton_ops"]:
    sys.modules[name] = fake
"#;

#[test]
fn peers_are_timed_or_named_with_a_reason() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "PYTHON IS MISSING");
        spc_base::skipped("PYTHON IS MISSING: THE PEERS OF A GPU ARE NOT TESTED");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("torch.py"), FAKE_TORCH).unwrap();
    let peers = |args: &[&str], env: &[(&str, &str)]| {
        let mut c = Command::new("python3");
        c.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/gpu/peers.py")).args(args);
        c.env("PYTHONPATH", folder.path()).envs(env.iter().copied()).env("PYTHONDONTWRITEBYTECODE", "1");
        let out = c.output().unwrap();
        (out.status.success(), text(&out))
    };
    let (good, said) = peers(&["1,128", "64", "64", "64"], &[]);
    assert!(good, "{said}");
    for name in ["dense bf16, graph", "2:4, graph", "2:4, eager"] {
        assert_eq!(said.lines().filter(|l| l.contains(name) && l.ends_with(" us")).count(), 2, "{name}: {said}");
    }
    for name in ["int4, graph", "BSR 64, graph", "copy f32, graph"] {
        assert_eq!(said.lines().filter(|l| l.contains(name) && l.ends_with(" us")).count(), 1, "{name}: {said}");
    }
    // Older releases have no sparse tensors of this kind, no codes of 4 bits, no graphs.
    for (missing, of) in [
        ("to_sparse_semi_structured", "2:4, eager"),
        ("_convert_weight_to_int4pack", "int4, graph"),
        ("CUDAGraph", "dense bf16, graph"),
    ] {
        let (good, said) = peers(&["1"], &[("FAKE_MISSING", missing)]);
        let why = format!("1 tokens: no attribute '{missing}'");
        assert!(good && said.lines().any(|l| l.contains(of) && l.ends_with(&why)), "{missing}: {said}");
    }
    let (good, said) = peers(&["16"], &[("SPC_PEERS", "int4")]);
    assert!(good && said.lines().count() == 1 && said.contains("int4"), "{said}");
    for (args, env, word) in [
        (&["0"][..], &[][..], "sizes are at least 1"),
        (&["x"], &[], "peers.py [TOKENS"),
        (&["1", "2", "3", "4", "5"], &[], "too many"),
        (&["1"], &[("SPC_PEERS", "cublas")], "peers are dense"),
    ] {
        let (good, said) = peers(args, env);
        assert!(!good && said.contains(word) && !said.contains("Traceback"), "{said}");
    }
}
