//! `spc check`: the text, and the headers of the files that it names.
use crate::bind::check_headers;
use crate::failure::{Failure, Res};
use crate::load::{Source, load_file};
use crate::plan::optimise;
use crate::session::Session;
use spc_base::{Diagnostic, codes};
use std::path::Path;

/// What `--emit` shows of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The syntax tree.
    Ast,
    /// The program with all sugar expanded, as `.sp` text.
    Core,
    /// The optimised graphs.
    Ir,
    /// Plans as JSON.
    Plan,
    /// CPU kernels as Cranelift text.
    Clif,
    /// Machine code of the CPU kernels as text.
    Asm,
    /// An object file.
    Obj,
    /// The C header of the object file.
    Header,
    /// A shared library.
    Shared,
    /// CUDA C++.
    Cuda,
    /// PTX of the CUDA C++.
    Ptx,
    /// Machine code of GPUs.
    Cubin,
}

impl Stage {
    pub const ALL: [Stage; 12] = [
        Stage::Ast,
        Stage::Core,
        Stage::Ir,
        Stage::Plan,
        Stage::Clif,
        Stage::Asm,
        Stage::Obj,
        Stage::Header,
        Stage::Shared,
        Stage::Cuda,
        Stage::Ptx,
        Stage::Cubin,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Ast => "ast",
            Stage::Core => "core",
            Stage::Ir => "ir",
            Stage::Plan => "plan",
            Stage::Clif => "clif",
            Stage::Asm => "asm",
            Stage::Obj => "obj",
            Stage::Header => "header",
            Stage::Shared => "shared",
            Stage::Cuda => "cuda",
            Stage::Ptx => "ptx",
            Stage::Cubin => "cubin",
        }
    }

    /// Name of the file in an output folder; those of an object are named after the program.
    pub fn file(self) -> &'static str {
        match self {
            Stage::Ast => "program.ast",
            Stage::Core => "core.sp",
            Stage::Ir => "program.ir",
            Stage::Plan => "plan.json",
            Stage::Clif => "kernels.clif",
            Stage::Asm => "kernels.s",
            Stage::Obj | Stage::Header | Stage::Shared => "object",
            Stage::Cuda => "kernels.cu",
            Stage::Ptx | Stage::Cubin => "kernels.ptx",
        }
    }

    pub fn from_name(name: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// Stages that need no weights.
pub fn emit_text(s: &Session<'_>, source: &Source, functions: &[String], stage: Stage) -> Res<Option<String>> {
    Ok(match stage {
        Stage::Ast => Some(spc_syntax::dump(&source.module.ast)),
        Stage::Core => Some(spc_syntax::print(&source.module.core)),
        Stage::Ir => {
            let mut out = String::new();
            for f in functions {
                out += &optimise(s, source.graph(f)?)?.to_string();
            }
            Some(out)
        }
        _ => None,
    })
}

/// Checks a file. The text is what `--emit` asked for, in order; empty when nothing was asked for.
pub fn check(s: &mut Session<'_>, path: &Path, emit: &[Stage]) -> Res<String> {
    let source = load_file(s, path)?;
    examine(s, &source, emit)
}

/// What checking does after the text: the headers of files, and what `--emit` shows.
pub fn examine(s: &mut Session<'_>, source: &Source, emit: &[Stage]) -> Res<String> {
    check_headers(s, source)?;
    let mut out = String::new();
    for stage in emit {
        let all: Vec<String> = source.graphs.keys().cloned().collect();
        match emit_text(s, source, &all, *stage)? {
            Some(text) => out += &text,
            None => {
                let text = format!("`check` does not emit `{}`, `compile` does", stage.name());
                return Err(Failure::usage(Diagnostic::error(codes::ARGUMENT, text)));
            }
        }
    }
    Ok(out)
}
