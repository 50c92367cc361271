//! The command `spc`, built once, run on files in a folder of its own.
#![allow(clippy::print_stderr)]
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The binary, in a place where it is at all times: a build beside the tests takes away for a moment the one that cargo names.
fn binary() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (own, new) = (folder.join("spc"), folder.join("spc.new"));
        // Test programs that run at once build one after the other.
        let lock = File::create(folder.join("spc.lock")).unwrap();
        lock.lock().unwrap();
        let built = build().unwrap_or_else(|first| {
            eprintln!("{first}the build of spc failed and is tried once more");
            build().unwrap_or_else(|e| panic!("{e}"))
        });
        let _ = std::fs::remove_file(&new);
        std::fs::hard_link(built, &new).unwrap();
        std::fs::rename(&new, &own).unwrap();
        own
    })
}

/// The path of the binary as cargo builds it, or what cargo says.
fn build() -> Result<PathBuf, String> {
    let out = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "-p", "spc-cli", "--message-format", "json-render-diagnostics"])
        .current_dir(super::root())
        .output()
        .unwrap();
    if !out.status.success() {
        return Err(format!("cargo: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr)));
    }
    let text = String::from_utf8(out.stdout).unwrap();
    let path = text.lines().rev().find_map(|l| {
        let v: serde_json::Value = serde_json::from_str(l).ok()?;
        v["executable"].as_str().map(PathBuf::from)
    });
    Ok(path.expect("cargo names the binary"))
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
