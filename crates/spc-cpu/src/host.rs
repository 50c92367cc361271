//! The instruction set that code is made for.
use cranelift_codegen::isa::{OwnedTargetIsa, TargetFrontendConfig, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use spc_base::Bug;

/// Which instructions compiled code may use. Results are the same bits with either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// All that this machine has.
    Host,
    /// Only those that every machine of this architecture has.
    Baseline,
}

/// What the translation needs to know of the target.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub config: TargetFrontendConfig,
    /// False where a vector load must not become the memory operand of another instruction. Without AVX, x86 memory
    /// operands of 16 bytes must be aligned, and Cranelift 0.135 folds unaligned loads into `cmpps` all the same.
    pub fold_loads: bool,
}

impl Target {
    pub(crate) fn of(isa: &dyn TargetIsa) -> Target {
        let avx = isa.isa_flags().into_iter().find(|f| f.name == "has_avx").and_then(|f| f.as_bool());
        Target { config: isa.frontend_config(), fold_loads: avx != Some(false) }
    }
}

pub(crate) fn isa(features: Features) -> Result<OwnedTargetIsa, Bug> {
    let fail = |e: &dyn std::fmt::Display| Bug::new(format!("cranelift: {e}"));
    let mut flags = settings::builder();
    for (name, value) in [("opt_level", "speed"), ("is_pic", "false"), ("use_colocated_libcalls", "false")] {
        flags.set(name, value).map_err(|e| fail(&e))?;
    }
    let builder = cranelift_native::builder_with_options(features == Features::Host).map_err(|e| fail(&e))?;
    builder.finish(settings::Flags::new(flags)).map_err(|e| fail(&e))
}
