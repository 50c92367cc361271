//! What every step of one command shares: the world, the options, the sources for messages, the warnings so far.
use crate::device::DeviceChoice;
use crate::engine::Cpu;
use crate::failure::{Failure, Res};
use crate::world::World;
use spc_base::{Diagnostic, FileId, Limits, has_errors};
use spc_cpu::Isa;
use spc_cpu::object::Arch;
use spc_cuda::Activations;
use spc_ir::method::Moment;
use spc_report::SourceMap;
use spc_sema::Library;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What the caller chose.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub limits: Limits,
    /// Bound on the number of graph patches, for finding a wrong one; none normally.
    pub opt_limit: Option<usize>,
    /// Threads that kernels run on; `None`: as the target says.
    pub threads: Option<usize>,
    /// Instruction set of CPU kernels, one that this machine has; `None`: the widest.
    pub isa: Option<Isa>,
    /// Where functions run.
    pub device: DeviceChoice,
    /// What tensor cores take activations as.
    pub activations: Activations,
    /// Fail where no CUDA images can be built.
    pub require_images: bool,
    /// Run functions in the reference interpreter instead of compiling them.
    pub interp: bool,
    /// Weight files by model, instead of those that the program names.
    pub binds: BTreeMap<String, PathBuf>,
    /// Data files by source, instead of those that the program names.
    pub data: BTreeMap<String, PathBuf>,
    /// The moment whose value schedules have; `None`: the end of the run.
    pub at: Option<Moment>,
    /// Gradients of weights, for scores that read them.
    pub grads: Option<PathBuf>,
    /// Values of dials, as written, instead of their defaults.
    pub sets: BTreeMap<String, String>,
    /// Texts instead of those in the files of text sources.
    pub texts: Vec<String>,
    /// File of constants that price plans; those that come with spc if none.
    pub constants: Option<PathBuf>,
    /// The GPU whose constants price plans of GPUs; by the target's architecture if none.
    pub gpu: Option<String>,
    /// The processor family whose constants price plans of CPUs; this machine's if none.
    pub arch: Option<Arch>,
    /// How many candidates of each linear are measured; none: layouts are chosen by predictions alone.
    pub measure: Option<usize>,
    /// File in which measured times are kept.
    pub measured: Option<PathBuf>,
    /// File of plans to take instead of searching for layouts.
    pub plan: Option<PathBuf>,
    /// Folder of library modules that replace the embedded ones or add to them.
    pub std: Option<PathBuf>,
}

/// Hears how far a long step has come.
pub trait Progress {
    /// `done` of `total` parts of `task` are done.
    fn step(&self, task: &str, done: u64, total: u64);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: &str, _: u64, _: u64) {}
}

/// One command in progress.
pub struct Session<'w> {
    pub world: &'w dyn World,
    pub progress: &'w dyn Progress,
    pub options: Options,
    pub sources: SourceMap,
    /// Warnings of steps that went well, in order.
    pub warnings: Vec<Diagnostic>,
    /// The standard library of this session, once it was asked for.
    library: Option<Rc<Library>>,
}

impl<'w> Session<'w> {
    /// A session whose messages can quote the standard library.
    pub fn new(world: &'w dyn World, options: Options) -> Session<'w> {
        let mut sources = SourceMap::default();
        for (id, file) in (spc_sema::FIRST_LIBRARY_FILE..).zip(spc_stdlib::FILES) {
            sources.insert(FileId(id), file.path, file.text);
        }
        Session { world, progress: &Silent, options, sources, warnings: Vec::new(), library: None }
    }

    /// The standard library: the embedded modules, but for those that the folder of [`Options::std`] has.
    ///
    /// # Errors
    /// SP0401 where the folder has no modules or cannot be read; what the parser says of its files.
    pub fn library(&mut self) -> Res<Rc<Library>> {
        if let Some(library) = &self.library {
            return Ok(Rc::clone(library));
        }
        let own = match &self.options.std {
            Some(folder) => crate::library::own_sources(self.world, folder)?,
            None => Vec::new(),
        };
        let library = Library::with(own);
        let mut found = Vec::new();
        if let Some(folder) = &self.options.std {
            for (id, file) in library.files() {
                self.sources.insert(id, file.path.clone(), file.text.clone());
                if Path::new(&file.path).starts_with(folder) {
                    found.extend(spc_syntax::parse(&file.text, id, &self.options.limits).1);
                }
            }
        }
        if has_errors(&found) {
            return Err(Failure::User(found));
        }
        let library = Rc::new(library);
        self.library = Some(Rc::clone(&library));
        Ok(library)
    }

    /// What to compile for, where the target says `threads`.
    pub fn cpu(&self, threads: usize) -> Cpu {
        let isa = self.options.isa.unwrap_or_else(Isa::native);
        Cpu { threads: self.options.threads.unwrap_or(threads), isa }
    }

    /// The processor family that plans are made for, where it is not this machine's.
    pub fn other_arch(&self) -> Option<Arch> {
        self.options.arch.filter(|a| Some(*a) != Arch::host())
    }

    pub fn warn(&mut self, d: Diagnostic) {
        self.warnings.push(d);
    }
}
