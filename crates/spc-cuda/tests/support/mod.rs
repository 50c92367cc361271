//! Compiles emitted text with g++ against the emulation headers and runs launches on it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
use spc_cuda::{CudaModule, EMU_HEADER, EMU_MAIN_HEADER, KernelInfo, ParamKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a launch passes for one parameter.
pub enum Argument {
    /// A buffer to read, little-endian.
    In(Vec<u8>),
    /// A buffer of so many bytes to write.
    Out(u64),
    /// A buffer to read and write.
    InOut(Vec<u8>),
    Int(i32),
}

impl Argument {
    /// Bytes of a buffer that is written.
    pub fn written(&self) -> Option<usize> {
        match self {
            Argument::Out(n) => Some(*n as usize),
            Argument::InOut(bytes) => Some(bytes.len()),
            _ => None,
        }
    }
}

pub struct Job {
    pub kernel: String,
    pub grid: u32,
    pub block: u32,
    pub shared_bytes: u32,
    pub arguments: Vec<Argument>,
}

pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn u32_bytes(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// False, with a loud message, when g++ is missing. Where `CI` is set the test then fails.
pub fn have_gxx() -> bool {
    let found = Command::new("g++").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        let message = "g++ IS MISSING: the emitted CUDA text is NOT tested";
        assert!(std::env::var_os("CI").is_none(), "{message}");
        spc_base::skipped(message);
    }
    found
}

/// Each kernel with its parameters' C types, for the table of the program.
fn table(kernels: &[(String, Vec<&'static str>)]) -> String {
    let mut text = String::from("static const spc_emu::Kernel kernels[] = {\n");
    for (name, types) in kernels {
        let arguments = types.iter().enumerate().map(|(i, t)| match t.ends_with('*') {
            true => format!("({t})a[{i}]"),
            false => format!("*(const {t}*)a[{i}]"),
        });
        let arguments: Vec<String> = arguments.collect();
        text += &format!("  {{\"{name}\", [](void* const* a) {{ {name}({}); }}}},\n", arguments.join(", "));
    }
    text + &format!("}};\nint main(int c, char** v) {{ return spc_emu::run(kernels, {}, c, v); }}\n", kernels.len())
}

/// A compiled program of kernels, in its own folder.
pub struct Program {
    folder: tempfile::TempDir,
}

impl Program {
    pub fn of_module(module: &CudaModule) -> Program {
        let types = |k: &KernelInfo| k.params.iter().map(|p: &spc_cuda::Param| ParamKind::c_type(p.kind)).collect();
        let kernels: Vec<_> = module.kernels.iter().map(|k| (k.name.clone(), types(k))).collect();
        Program::new(&module.text, &kernels)
    }

    pub fn new(text: &str, kernels: &[(String, Vec<&'static str>)]) -> Program {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("spc_emu.hpp", EMU_HEADER);
        write("spc_emu_main.hpp", EMU_MAIN_HEADER);
        write("kernels.cu", text);
        write("main.cpp", &format!("#include \"kernels.cu\"\n#include \"spc_emu_main.hpp\"\n{}", table(kernels)));
        let flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-DSPC_EMU"];
        // Trapping needs no library of the sanitizer.
        let sanitize = ["-fsanitize=signed-integer-overflow,bounds", "-fsanitize-undefined-trap-on-error"];
        let mut gxx = Command::new("g++");
        gxx.args(flags).args(sanitize).args(["-o", "program", "main.cpp"]).current_dir(folder.path());
        let built = gxx.output().unwrap();
        assert!(built.status.success(), "g++ refuses the text:\n{}", String::from_utf8_lossy(&built.stderr));
        Program { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn launch(&self, jobs: &[Job]) -> Output {
        std::fs::write(self.file("jobs"), encode(jobs)).unwrap();
        Command::new(self.file("program")).args([self.file("jobs"), self.file("results")]).output().unwrap()
    }

    /// The written buffers of all jobs.
    pub fn bytes(&self, jobs: &[Job]) -> Vec<u8> {
        let ran = self.launch(jobs);
        assert!(ran.status.success(), "{:?}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
        std::fs::read(self.file("results")).unwrap()
    }

    /// The written buffers of each job, as f32 (bit for bit, whatever they are).
    pub fn run(&self, jobs: &[Job]) -> Vec<Vec<f32>> {
        let bytes = self.bytes(jobs);
        let mut words = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let size =
            |job: &Job| -> u64 { job.arguments.iter().filter_map(Argument::written).map(|n| n as u64 / 4).sum() };
        let results: Vec<Vec<f32>> = jobs.iter().map(|job| words.by_ref().take(size(job) as usize).collect()).collect();
        assert!(words.next().is_none());
        for (job, result) in jobs.iter().zip(&results) {
            assert_eq!(result.len() as u64, size(job), "{}", job.kernel);
        }
        results
    }

    /// What the emulator says when it refuses to go on.
    pub fn run_to_fault(&self, job: Job) -> String {
        let name = job.kernel.clone();
        let ran = self.launch(&[job]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(3), "{name}: {said}");
        said
    }
}

fn encode(jobs: &[Job]) -> Vec<u8> {
    let mut b = (jobs.len() as u32).to_le_bytes().to_vec();
    for job in jobs {
        b.extend((job.kernel.len() as u32).to_le_bytes());
        b.extend(job.kernel.as_bytes());
        for n in [job.grid, job.block, job.shared_bytes, job.arguments.len() as u32] {
            b.extend(n.to_le_bytes());
        }
        for a in &job.arguments {
            match a {
                Argument::In(bytes) => {
                    b.extend(0u32.to_le_bytes());
                    b.extend((bytes.len() as u64).to_le_bytes());
                    b.extend(bytes);
                }
                Argument::Out(bytes) => {
                    b.extend(1u32.to_le_bytes());
                    b.extend(bytes.to_le_bytes());
                }
                Argument::InOut(bytes) => {
                    b.extend(3u32.to_le_bytes());
                    b.extend((bytes.len() as u64).to_le_bytes());
                    b.extend(bytes);
                }
                Argument::Int(n) => {
                    b.extend(2u32.to_le_bytes());
                    b.extend(n.to_le_bytes());
                }
            }
        }
    }
    b
}

/// Builds a shared library from C++ text.
pub fn shared_library(folder: &Path, name: &str, text: &str) -> PathBuf {
    let (source, file) = (folder.join(format!("{name}.cpp")), folder.join(name));
    std::fs::write(&source, text).unwrap();
    let soname = format!("-Wl,-soname,{name}");
    let built = Command::new("g++").args(["-shared", "-fPIC", &soname, "-o"]).arg(&file).arg(&source).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    file
}
