//! The constants of the cost model: shipped, or of a file; and `spc calibrate`, which writes one.
use crate::failure::{Failure, Res};
use crate::run::Done;
use crate::session::Session;
use spc_base::{Diagnostic, codes};
use spc_cpu::Isa;
use spc_cpu::object::Arch;
use spc_cuda::Activations;
use spc_layout::{Constants, CostTable, GPUS, GpuTable, Machine};
use spc_report::{Align, Table, percent};
use spc_sema::{Target, TargetKind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest file of constants that is read.
const LIMIT: u64 = 1 << 20;

/// Reads a file of constants.
///
/// # Errors
/// SP0401 where it cannot be read, SP0640 where it cannot be used.
pub fn read_constants(s: &Session<'_>, path: &Path) -> Res<Constants> {
    let bad = |why: String| {
        let text = format!("`{}` cannot be used as constants: {why}", path.display());
        Diagnostic::error(codes::CONSTANTS, text).help("`spc calibrate -o FILE` writes a new one")
    };
    let bytes = s.world.read(path, LIMIT)?;
    if bytes.len() as u64 > LIMIT {
        return Err(bad("it is larger than 1 MiB".into()).into());
    }
    let text = String::from_utf8(bytes).map_err(|_| bad("it is no text".into()))?;
    Ok(Constants::parse(&text).map_err(bad)?)
}

/// The constants that price plans for a target.
#[derive(Clone, Debug)]
pub enum Costs {
    Cpu(Box<CostTable>),
    Gpu(GpuTable),
}

impl Costs {
    pub fn machine(&self) -> Machine<'_> {
        match self {
            Costs::Cpu(t) => Machine::Cpu(t),
            Costs::Gpu(t) => t.into(),
        }
    }
}

/// The constants of a target: for a CPU as [`cost_table`] says, for a GPU those of the one that the session names, else of
/// the one that the target's architecture suggests.
pub fn costs(s: &Session<'_>, target: &Target) -> Res<Costs> {
    if target.kind == TargetKind::Cpu {
        return Ok(Costs::Cpu(Box::new(cost_table(s)?)));
    }
    let old = target.arch.as_deref().is_some_and(|a| a.starts_with("sm_8") || a.starts_with("compute_8"));
    let name = s.options.gpu.as_deref().unwrap_or(if old { "a100" } else { "h200" });
    let table = GpuTable::named(name).ok_or_else(|| {
        let text = format!("there are no constants for the GPU `{name}`");
        Failure::usage(Diagnostic::error(codes::ARGUMENT, text).help(format!("those known are {}", GPUS.join(", "))))
    })?;
    let terms = match s.options.activations {
        Activations::Exact => 3,
        Activations::Bf16 => 1,
    };
    Ok(Costs::Gpu(table.with_terms(terms)))
}

/// The constants that price plans for CPUs of the session's processor family: of the file that the session names, else those
/// that come with spc. For another family than this machine's they are those of the code that all its processors run.
pub fn cost_table(s: &Session<'_>) -> Res<CostTable> {
    let isa = if s.other_arch().is_some() { Isa::Clif } else { s.cpu(1).isa };
    if let Some(path) = &s.options.constants {
        let own = read_constants(s, path)?;
        return Ok(own.tables.get(isa.name()).cloned().ok_or_else(|| {
            let text = format!("`{}` has no constants for `{}`", path.display(), isa.name());
            let help = format!("`spc calibrate --isa {} -o FILE` measures them", isa.name());
            Diagnostic::error(codes::CONSTANTS, text).help(help)
        })?);
    }
    Ok(match isa {
        // Portable code is all that other processors than x86-64 have.
        Isa::Clif if s.options.arch.or_else(Arch::host) == Some(Arch::Aarch64) => CostTable::neon_aarch64_v1(),
        _ => spc_bench::shipped(isa),
    })
}

/// Measures the machine for these instruction sets and writes a file of constants; into the text where there is none to write.
pub fn calibrate_machine(s: &mut Session<'_>, isas: &[Isa], quick: bool, out: Option<&PathBuf>) -> Res<Done> {
    use Align::{Left, Right};
    let mut tables = BTreeMap::new();
    let mut t = Table::new([("code", Left), ("kernels", Left), ("measured", Right), ("median error", Right)]);
    for isa in isas {
        if !isa.is_available() {
            let text = format!("this machine cannot run `{}` code, so it cannot be measured", isa.name());
            return Err(Diagnostic::error(codes::UNSUPPORTED, text).into());
        }
        let task = format!("measuring {}", isa.name());
        let world = s.world;
        let heard = |done, total| s.progress.step(&task, done, total);
        let (table, explained) = spc_bench::calibrate(*isa, quick, &|| world.now(), &heard)?;
        for e in explained {
            t.row([
                isa.name().to_string(),
                e.family.to_string(),
                e.samples.to_string(),
                if e.samples == 0 { "not measured".into() } else { percent(e.error) },
            ]);
        }
        tables.insert(isa.name().to_string(), table);
    }
    let text = Constants::new(tables).to_json().map_err(spc_base::Bug::new)?;
    let Some(path) = out else { return Ok(text.into()) };
    s.world.write(path, text.as_bytes())?;
    Ok(format!("{}wrote {}\n", t.render(), path.display()).into())
}
