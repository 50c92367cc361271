//! What every step of one command shares: the world, the options, the sources for messages, the warnings so far.
use crate::engine::Cpu;
use crate::world::World;
use spc_base::{Diagnostic, FileId, Limits};
use spc_cpu::Isa;
use spc_ir::method::Moment;
use spc_report::SourceMap;
use std::collections::BTreeMap;
use std::path::PathBuf;

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
    /// Texts instead of those in the files of text sources.
    pub texts: Vec<String>,
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
}

impl<'w> Session<'w> {
    /// A session whose messages can quote the standard library.
    pub fn new(world: &'w dyn World, options: Options) -> Session<'w> {
        let mut sources = SourceMap::default();
        for (id, file) in (spc_sema::FIRST_LIBRARY_FILE..).zip(spc_stdlib::FILES) {
            sources.insert(FileId(id), file.path, file.text);
        }
        Session { world, progress: &Silent, options, sources, warnings: Vec::new() }
    }

    /// What to compile for, where the target says `threads`.
    pub fn cpu(&self, threads: usize) -> Cpu {
        let isa = self.options.isa.unwrap_or_else(Isa::native);
        Cpu { threads: self.options.threads.unwrap_or(threads), isa }
    }

    pub fn warn(&mut self, d: Diagnostic) {
        self.warnings.push(d);
    }
}
