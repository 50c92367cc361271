//! The constants of the cost model: shipped, or of a file; and `spc calibrate`, which writes one.
use crate::failure::Res;
use crate::run::Done;
use crate::session::Session;
use spc_base::{Diagnostic, codes};
use spc_cpu::Isa;
use spc_layout::{Constants, CostTable};
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

/// The constants that price plans for a target: of the file that the session names, else those that come with spc. A file is
/// about CPUs; there are no constants for GPUs yet, and their plans are priced like portable CPU code.
pub fn cost_table(s: &Session<'_>, target: &Target) -> Res<CostTable> {
    let isa = s.cpu(1).isa;
    if let (Some(path), TargetKind::Cpu) = (&s.options.constants, target.kind) {
        let own = read_constants(s, path)?;
        return Ok(own.tables.get(isa.name()).cloned().ok_or_else(|| {
            let text = format!("`{}` has no constants for `{}`", path.display(), isa.name());
            let help = format!("`spc calibrate --isa {} -o FILE` measures them", isa.name());
            Diagnostic::error(codes::CONSTANTS, text).help(help)
        })?);
    }
    Ok(match (target.kind, isa) {
        (TargetKind::Cuda, _) | (_, Isa::Clif) => CostTable::clif_x86_64_v1(),
        (TargetKind::Cpu, Isa::Avx2 | Isa::Avx512) => CostTable::wide_x86_64_v1(),
        (TargetKind::Cpu, Isa::Avx512Vnni) => CostTable::vnni_x86_64_v1(),
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
            t.row([isa.name().to_string(), e.family.to_string(), e.samples.to_string(), percent(e.error)]);
        }
        tables.insert(isa.name().to_string(), table);
    }
    let text = Constants::new(tables).to_json().map_err(spc_base::Bug::new)?;
    let Some(path) = out else { return Ok(text.into()) };
    s.world.write(path, text.as_bytes())?;
    Ok(format!("{}wrote {}\n", t.render(), path.display()).into())
}
