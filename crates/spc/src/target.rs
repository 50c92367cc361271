//! Which target a command compiles for.
use crate::failure::{Failure, Res};
use crate::load::listing;
use spc_base::{Diagnostic, codes};
use spc_sema::{Module, Target, TargetKind};
use std::collections::BTreeMap;

fn default_of(kind: TargetKind) -> Target {
    let name = match kind {
        TargetKind::Cpu => "cpu",
        TargetKind::Cuda => "cuda",
    };
    let span = spc_base::Span::default();
    Target { name: name.into(), kind, threads: 1, arch: None, tune: BTreeMap::new(), span }
}

/// The target of that name: a declared one, or `cpu` and `cuda`, which mean the only declared one of that kind, else the
/// default of that kind. Without a name, `cpu`.
///
/// # Errors
/// A usage error SP0601 for an unknown name.
pub fn target(module: &Module, name: Option<&str>) -> Res<Target> {
    let name = name.unwrap_or("cpu");
    if let Some(t) = module.targets.iter().find(|t| t.name == name) {
        return Ok(t.clone());
    }
    let kind = match name {
        "cpu" => TargetKind::Cpu,
        "cuda" => TargetKind::Cuda,
        _ => {
            let known: Vec<&str> = module.targets.iter().map(|t| t.name.as_str()).chain(["cpu", "cuda"]).collect();
            let d = Diagnostic::error(codes::TARGET, format!("there is no target `{name}`"));
            return Err(Failure::usage(listing(d, "target", &known)));
        }
    };
    let mut of_kind = module.targets.iter().filter(|t| t.kind == kind);
    match (of_kind.next(), of_kind.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => Ok(default_of(kind)),
    }
}
