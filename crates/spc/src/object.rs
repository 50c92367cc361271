//! Object files, headers and shared libraries of compiled programs.
use crate::build::Build;
use crate::check::Stage;
use crate::engine::Bound;
use crate::failure::{Failure, Res};
use crate::session::Session;
use spc_base::{Diagnostic, codes};
use spc_cpu::object::{Arch, Function, Object, Options, c_name, object};
use spc_kernel::schedule;
use spc_sema::TargetKind;
use std::path::Path;

/// Files by name.
type Files = Vec<(String, Vec<u8>)>;

fn refusal(text: impl Into<String>) -> Diagnostic {
    Diagnostic::error(codes::NO_OBJECT, text)
}

/// First part of the names that C sees: the file's name without its ending.
fn prefix(path: &Path) -> String {
    c_name(&path.file_stem().map_or_else(|| "program".into(), |s| s.to_string_lossy()).to_lowercase())
}

/// What of `emit` concerns object files.
pub fn asked(emit: &[Stage]) -> Vec<Stage> {
    emit.iter().copied().filter(|s| matches!(s, Stage::Obj | Stage::Header | Stage::Shared)).collect()
}

fn make(b: &Build, prefix: &str, arch: Option<Arch>, embed_weights: bool) -> Res<Object> {
    if b.target.kind != TargetKind::Cpu {
        let text = format!("the target `{}` is not a CPU, and object files hold CPU code", b.target.name);
        return Err(refusal(text).into());
    }
    let arch =
        arch.or_else(Arch::host).ok_or_else(|| refusal("there is no object code for this machine's processor"))?;
    if !arch.is_built() {
        let text = format!("this spc was built without code for {}", arch.name());
        return Err(refusal(text).help(format!("build it with the cargo feature `{}`", arch.name())).into());
    }
    let mut functions: Vec<Function> = Vec::new();
    for f in &b.functions {
        let name = c_name(&f.graph.name);
        let programs = (arch.variants().iter())
            .map(|isa| Ok((*isa, schedule(&f.graph, &f.plan, isa.lanes())?)))
            .collect::<Res<_>>()?;
        let function = Function { name, programs };
        if !function.fits() {
            let text = format!("`{}` may need more memory than a processor addresses", f.graph.name);
            return Err(refusal(text).help("give its free axes smaller ranges").into());
        }
        if functions.iter().any(|g| g.name == function.name) {
            return Err(refusal(format!("two functions are called `{}` in C", function.name)).into());
        }
        functions.push(function);
    }
    let from = Bound { packed: &b.packed, weights: &b.weights };
    // Debug builds prove every register allocation.
    let options = Options { prefix: prefix.into(), arch, embed_weights, check: cfg!(debug_assertions) };
    Ok(object(&functions, &from, &options)?)
}

/// The files that `--emit` asked for, and lines for the person. Nothing without `obj`, `header` or `shared` among them.
pub fn files(
    s: &mut Session<'_>,
    b: &Build,
    path: &Path,
    emit: &[Stage],
    arch: Option<Arch>,
    embed_weights: bool,
) -> Res<(Files, String)> {
    let wanted = asked(emit);
    if wanted.is_empty() {
        return Ok((Vec::new(), String::new()));
    }
    let prefix = prefix(path);
    s.progress.step("compiling", 0, 1);
    let o = make(b, &prefix, arch, embed_weights)?;
    let mut files = Files::new();
    let mut shared = None;
    if wanted.contains(&Stage::Shared) {
        if arch.is_some_and(|a| Some(a) != Arch::host()) {
            let text = "a shared library for another processor than this one cannot be linked here";
            return Err(refusal(text).help("emit `obj`, and link it with that processor's linker").into());
        }
        shared = Some(s.world.link(&o.bytes, &format!("{prefix}.so"))?);
    }
    s.progress.step("compiling", 1, 1);
    if wanted.contains(&Stage::Header) {
        files.push((format!("{prefix}.h"), o.header.into_bytes()));
    }
    if wanted.iter().any(|s| *s != Stage::Header) && !embed_weights {
        files.push((format!("{prefix}.weights"), o.weights));
    }
    if wanted.contains(&Stage::Obj) {
        files.push((format!("{prefix}.o"), o.bytes));
    }
    files.extend(shared.map(|bytes| (format!("{prefix}.so"), bytes)));
    let sizes: Vec<String> = files.iter().map(|(n, b)| format!("{n} {}", spc_report::bytes(b.len() as u64))).collect();
    Ok((files, sizes.join(", ") + "\n"))
}

/// Refuses what cannot be printed.
pub fn needs_folder(emit: &[Stage]) -> Res<()> {
    match asked(emit).iter().find(|s| **s != Stage::Header) {
        None => Ok(()),
        Some(stage) => {
            let text = format!("`{}` is not text: it needs a folder to be written to", stage.name());
            Err(Failure::usage(Diagnostic::error(codes::ARGUMENT, text).help("name one with `-o DIR`")))
        }
    }
}
