//! Register allocation.
use super::scan::scan;
use super::vcode::{CALLEE_SAVED, CALLER_SAVED, VCode, int_reg, vector_reg};
use crate::host::Isa;
use regalloc2::checker::Checker;
use regalloc2::{Algorithm, MachineEnv, Output, PReg, PRegSet, RegallocOptions};
use spc_base::Bug;

pub(super) fn environment(isa: Isa) -> MachineEnv {
    let set = |regs: &mut dyn Iterator<Item = PReg>| regs.fold(PRegSet::empty(), PRegSet::with);
    let vectors = if isa.is_512() { 32 } else { 16 };
    let ints = set(&mut CALLER_SAVED.into_iter().map(int_reg));
    let saved = set(&mut CALLEE_SAVED.into_iter().map(int_reg));
    MachineEnv {
        preferred_regs_by_class: [ints, set(&mut (0..vectors).map(vector_reg)), PRegSet::empty()],
        non_preferred_regs_by_class: [saved, PRegSet::empty(), PRegSet::empty()],
        scratch_by_class: [None; 3],
        fixed_stack_slots: Vec::new(),
    }
}

/// Registers and moves for `code`. With `check`, the result is proved to compute what `code` says.
pub(super) fn allocate(name: &str, code: &VCode, isa: Isa, check: bool) -> Result<Output, Bug> {
    let env = environment(isa);
    let options = RegallocOptions { verbose_log: false, validate_ssa: check, algorithm: Algorithm::Ion };
    let out = match scan(code, isa) {
        Ok(out) => out,
        Err(_) => regalloc2::run(code, &env, &options)
            .map_err(|e| Bug::new(format!("kernel {name}: register allocation: {e:?}")))?,
    };
    if check {
        let mut checker = Checker::new(code, &env);
        checker.prepare(&out);
        checker.run().map_err(|e| Bug::new(format!("kernel {name}: register allocation is wrong: {e:?}")))?;
    }
    Ok(out)
}
