//! `spc compile`: a plan, packed weights, and code for the target.
use crate::artefact::{self, Extra};
use crate::build::{Build, Constraints, build, program_requires};
use crate::check::{Stage, emit_text};
use crate::cuda;
use crate::engine::{assembly, clif};
use crate::explain::why_dense;
use crate::failure::{Failure, Res};
use crate::load::{Source, load_file};
use crate::lock::Plans;
use crate::object;
use crate::rotate::offer;
use crate::run::Done;
use crate::session::Session;
use crate::target::target;
use crate::training_text::{self, Training};
use crate::weights::WeightSet;
use spc_base::{Bug, Diagnostic, codes};
use spc_cpu::object::Arch;
use spc_report::{Align, Table, bytes, picoseconds};
use spc_sema::TargetKind;
use std::path::{Path, PathBuf};

/// What to compile, and where to.
#[derive(Clone, Debug, Default)]
pub struct Compile {
    pub target: Option<String>,
    pub out: Option<PathBuf>,
    pub emit: Vec<Stage>,
    /// Functions to compile; empty: those that the program's jobs name, else all that no other calls.
    pub functions: Vec<String>,
    /// The processor family of object files, whose constants price the plan; this machine's if not given.
    pub arch: Option<Arch>,
    /// Puts the weights into the object file.
    pub embed_weights: bool,
    /// The run whose steps are compiled for a GPU.
    pub training: Training,
}

/// Compiles a file. Emitted stages are files of the output folder, or the result where there is none.
pub fn compile_file(s: &mut Session<'_>, path: &Path, what: &Compile) -> Res<Done> {
    let source = load_file(s, path)?;
    let t = target(&source.module, what.target.as_deref())?;
    let names = source.functions(&what.functions)?;
    if what.out.is_none() {
        object::needs_folder(&what.emit)?;
    }
    cuda::fits(&t, &what.emit, what.out.is_some())?;
    training_text::fits(&t, &what.training)?;
    s.options.arch = what.arch;
    if let (Some(arch), Some(_), TargetKind::Cpu) = (s.other_arch(), s.options.measure, t.kind) {
        let text = format!("`--measure` times kernels on this machine, which runs no code of {}", arch.name());
        let d = Diagnostic::error(codes::ARGUMENT, text);
        return Err(Failure::usage(d.help("without `--measure`, layouts are chosen by predictions")));
    }
    let texts_only = what.out.is_none() && !what.emit.is_empty();
    if texts_only && what.emit.iter().all(|e| matches!(e, Stage::Ast | Stage::Core | Stage::Ir)) {
        return stages(s, &source, None, &names, &what.emit).map(|list| joined(list).into());
    }
    let mut built = build(s, &source, t, &names, &WeightSet::default(), Constraints::Applied)?;
    let requires = program_requires(&source);
    // The dense values go before the packed ones are unpacked to be checked: they need as much memory.
    built.release()?;
    built.check_requires(s, &requires)?;

    let mut extra = Extra::default();
    let mut notes = String::new();
    let mut training = None;
    if built.target.kind == TargetKind::Cuda {
        let (files, manifest, text) = cuda::images(s, &built, what.out.is_some(), &what.emit)?;
        extra.files.extend(files);
        extra.manifest = manifest;
        notes = text;
        match training_text::steps(&source.module, &what.training)? {
            Some(Ok(u)) => {
                let (files, manifest, text) = training_text::files(s, &u, what.out.is_some(), &what.emit)?;
                extra.files.extend(files);
                extra.manifest.insert("training".into(), manifest);
                notes += &text;
                training = (!u.kernels().is_empty()).then_some(u.module.text);
            }
            Some(Err(why)) => notes += &why,
            None => {}
        }
    }
    if let Some(o) = offer(s, &source, path)? {
        notes += &o.words();
    }
    let (mut objects, sizes) = object::files(s, &built, path, &what.emit, what.arch, what.embed_weights)?;
    notes += &sizes;
    // Images are among the folder's files already.
    let images = |e: &Stage| what.out.is_some() && matches!(e, Stage::Ptx | Stage::Cubin);
    let texts: Vec<Stage> = what.emit.iter().copied().filter(|e| !images(e)).collect();
    let mut emitted = stages(s, &source, Some(&built), &names, &texts)?;
    if let (Some(text), true) = (training, texts.contains(&Stage::Cuda)) {
        emitted.push((format!("{}/{}", training_text::FOLDER, Stage::Cuda.file()), text));
    }
    let Some(out) = &what.out else {
        // Only the header gets here.
        emitted.extend(objects.into_iter().map(|(name, b)| (name, String::from_utf8_lossy(&b).into_owned())));
        let text = if texts_only { joined(emitted) } else { summary(s, &built)? + &notes };
        return Ok(text.into());
    };
    let written = |name: &str| [artefact::PLAN, artefact::PROGRAM].contains(&name);
    emitted.retain(|(name, _)| !written(name) && !extra.files.iter().any(|(n, _)| n == name));
    extra.files.append(&mut objects);
    extra.files.extend(emitted.into_iter().map(|(n, t)| (n, t.into_bytes())));
    let text = summary(s, &built)? + &notes;
    artefact::write(s, &built, &requires, extra, out)?;
    Ok((text + &format!("wrote {}\n", out.display())).into())
}

fn joined(list: Vec<(String, String)>) -> String {
    list.into_iter().map(|(_, text)| text).collect()
}

/// The stages asked for, by file name.
fn stages(
    s: &Session<'_>,
    source: &Source,
    built: Option<&Build>,
    names: &[String],
    emit: &[Stage],
) -> Res<Vec<(String, String)>> {
    let mut out = Vec::new();
    for stage in emit {
        if let Some(text) = emit_text(s, source, names, *stage)? {
            out.push((stage.file().to_string(), text));
            continue;
        }
        let b = built.ok_or_else(|| Bug::new("a stage that needs weights, without weights"))?;
        match stage {
            Stage::Plan => {
                out.push((stage.file().to_string(), Plans::of(&b.target, &b.functions)?.text()?));
            }
            Stage::Clif => {
                let text: Vec<String> = b.functions.iter().map(clif).collect::<Res<_>>()?;
                out.push((stage.file().to_string(), text.join("\n")));
            }
            Stage::Asm => {
                let isa = s.cpu(1).isa;
                let text: Vec<String> = b.functions.iter().map(|f| assembly(f, isa)).collect::<Res<_>>()?;
                out.push((stage.file().to_string(), text.join("\n")));
            }
            Stage::Cuda => out.extend(cuda::texts(s, b)?),
            Stage::Ptx => out.extend(cuda::ptx(s, b)?),
            Stage::Ast | Stage::Core | Stage::Ir | Stage::Obj | Stage::Header | Stage::Shared | Stage::Cubin => {}
        }
    }
    Ok(out)
}

/// One line a layer: its layout, sizes and predicted time.
fn summary(s: &Session<'_>, b: &Build) -> Res<String> {
    let columns = [
        ("function", Align::Left),
        ("weight", Align::Left),
        ("shape", Align::Left),
        ("layout", Align::Left),
        ("dense", Align::Right),
        ("stored", Align::Right),
        ("predicted", Align::Right),
        ("why dense", Align::Left),
    ];
    let mut t = Table::new(columns);
    for f in &b.functions {
        for l in &f.plan.linears {
            let key = (l.weight.clone(), l.layout.clone());
            let p = b.packed.get(&key).ok_or_else(|| Bug::new(format!("`{}` is not packed", l.weight)))?;
            let dense = (p.rows() as u64).saturating_mul(p.cols() as u64).saturating_mul(4);
            t.row([
                f.graph.name.clone(),
                l.weight.clone(),
                format!("{} x {}", p.rows(), p.cols()),
                l.layout.clone(),
                bytes(dense),
                bytes(p.packed().bytes()),
                picoseconds(l.predicted_ps),
                why_dense(&f.plan, &l.weight).unwrap_or_default(),
            ]);
        }
    }
    let mut out = if t.is_empty() { String::new() } else { t.render() };
    if !b.axes.is_empty() {
        out += &format!("left out, because every weight is zero there: {}\n", crate::cut::words(&b.axes));
    }
    if b.target.kind == TargetKind::Cuda {
        out += &format!("predicted with the constants {}, which were not measured\n", table_name(b));
    } else if s.other_arch().is_some() {
        out += &format!("predicted with the constants {}\n", table_name(b));
    }
    for f in &b.functions {
        let (p, dense) = (picoseconds(f.plan.total_ps), picoseconds(f.plan.dense_ps));
        out += &format!("{} on {}: predicted {p}, all dense {dense}\n", f.graph.name, b.target.name);
    }
    Ok(out)
}

fn table_name(b: &Build) -> &str {
    b.functions.first().map_or("", |f| f.plan.cost_table.name.as_str())
}
