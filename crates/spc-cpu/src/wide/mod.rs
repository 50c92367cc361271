//! The wide executor: loop IR to x86-64 machine code with 8 lanes (AVX2 and FMA) or 16 (AVX-512).
//!
//! [`isel`] selects instructions, [`regs`] gives them registers ([`scan`], or regalloc2), [`emit`] and [`encode`] write bytes
//! (iced-x86). The code is a System V function of one argument, like all kernels. Results are the interpreter's, bit for
//! bit (any NaN for any NaN).

mod codes;
mod emit;
mod encode;
mod isel;
mod lanes;
mod narrow;
mod regs;
mod scan;
mod vcode;

use crate::host::Isa;
use spc_base::Bug;
use spc_kernel::ir::Kernel;
use spc_kernel::math::MathFn;

/// Moves that the allocator put into the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Moves to or from the stack in innermost loops.
    pub inner_stack: usize,
    /// Moves between registers in innermost loops.
    pub inner_moves: usize,
    pub all_stack: usize,
    pub all_moves: usize,
}

impl Stats {
    fn count(&mut self, inner: bool, stack: bool) {
        if stack {
            self.all_stack += 1;
            self.inner_stack += usize::from(inner);
        } else {
            self.all_moves += 1;
            self.inner_moves += usize::from(inner);
        }
    }
}

/// Machine code of a kernel.
#[derive(Clone, Debug)]
pub struct Machine {
    pub bytes: Vec<u8>,
    /// Places of 64-bit addresses of functions, or of 32-bit distances to them.
    pub calls: Vec<(usize, MathFn)>,
    pub stats: Stats,
    /// Bytes of instructions; constants follow.
    pub code: usize,
    /// Ascending: where the code of a line of the kernel's text begins, and the number of the line from 0.
    pub lines: Vec<(usize, usize)>,
    /// Where the bodies of loops begin.
    pub heads: Vec<usize>,
}

/// What a kernel is encoded in: one of 8 lanes in AVX2 on every machine that has more.
fn encoding(kernel: &Kernel, isa: Isa) -> Isa {
    if kernel.lanes == Isa::Avx2.lanes() && isa.is_512() { Isa::Avx2 } else { isa }
}

/// Whether this executor can compile a kernel, or why not.
pub fn supported(kernel: &Kernel, isa: Isa) -> Result<(), &'static str> {
    match isa {
        Isa::Clif => Err("the instruction set is Cranelift's"),
        _ if kernel.lanes != encoding(kernel, isa).lanes() => Err("the kernel has another number of lanes"),
        _ if kernel.uses_tiles() && isa != Isa::Avx512Amx => Err("the instruction set has no tiles"),
        _ => Ok(()),
    }
}

/// Machine code of a kernel. With `check`, the register allocation is proved right for it. Calls go to 64-bit addresses.
pub fn machine_code(kernel: &Kernel, isa: Isa, check: bool) -> Result<Machine, Bug> {
    generate(kernel, isa, check, false)
}

/// As [`machine_code`], for code that lies near what it calls, wherever that is: calls go over 32-bit distances, counted from
/// their end.
pub fn machine_code_near(kernel: &Kernel, isa: Isa, check: bool) -> Result<Machine, Bug> {
    generate(kernel, isa, check, true)
}

fn generate(kernel: &Kernel, isa: Isa, check: bool, near: bool) -> Result<Machine, Bug> {
    let fail = |e: &str| Bug::new(format!("kernel {}: {e}", kernel.name));
    kernel.verify().map_err(|e| fail(&e))?;
    supported(kernel, isa).map_err(fail)?;
    let isa = encoding(kernel, isa);
    let code = isel::select(kernel, isa)?;
    let allocation = regs::allocate(&kernel.name, &code, isa, check)?;
    emit::emit(&kernel.name, &code, &allocation, isa, near)
}
