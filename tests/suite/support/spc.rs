//! The command `spc`, built once, run on files in a folder of its own.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The binary, built in the profile of the tests.
fn binary() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let out = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "-p", "spc-cli", "--message-format", "json"])
            .current_dir(super::root())
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        let path = text.lines().rev().find_map(|l| {
            let v: serde_json::Value = serde_json::from_str(l).ok()?;
            v["executable"].as_str().map(PathBuf::from)
        });
        path.expect("cargo names the binary")
    })
}

/// What one run did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn spc<S: AsRef<std::ffi::OsStr>>(folder: &Path, args: impl IntoIterator<Item = S>) -> Ran {
    Ran::of(&spc_command().args(args).current_dir(folder).output().unwrap())
}

/// The command without arguments.
pub fn spc_command() -> Command {
    let mut command = Command::new(binary());
    command.env("NO_COLOR", "1").env("SPC_CONSTANTS", "").env_remove("SPC_NVRTC").env_remove("SPC_STD");
    command
}

impl Ran {
    pub fn of(out: &Output) -> Ran {
        Ran {
            code: out.status.code().expect("spc was killed"),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }
}

/// Everything in a folder, names relative to it, to see that nothing was left behind.
pub fn listing(folder: &Path) -> Vec<String> {
    let mut out: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    out.sort();
    out
}
