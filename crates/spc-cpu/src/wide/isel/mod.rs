//! Instruction selection: loop IR to machine instructions over virtual registers, in program order.
//!
//! Constants are made anew at each use, because the allocator cannot; a load with one use becomes the memory operand of
//! its user where [`fold`] says so.

mod flow;
mod fold;
mod memory;
mod ops;

use super::vcode::{MOp, Mem, RDI, VCode, int_reg};
use crate::host::Isa;
use regalloc2::{Operand, RegClass, VReg};
use spc_base::Bug;
use spc_kernel::ir::{Addr, Kernel, LoadKind, Ty, Val};

/// Where the value of the loop IR is.
#[derive(Clone, Copy)]
enum Place {
    None,
    Reg(VReg),
    Int(i64),
    /// A float, or a vector of it.
    Float(u32),
    /// A load that its only user does.
    Memory(Addr, LoadKind),
}

pub(super) struct Selector<'a> {
    kernel: &'a Kernel,
    isa: Isa,
    code: VCode,
    places: Vec<Place>,
    /// Number of uses of each value.
    uses: Vec<u32>,
    /// Line of the kernel's text, from 0.
    line: usize,
}

/// Machine instructions of a kernel that [`super::supported`] accepts.
pub(super) fn select(kernel: &Kernel, isa: Isa) -> Result<VCode, Bug> {
    let mut s = Selector {
        kernel,
        isa,
        code: VCode::new(kernel.lanes),
        places: vec![Place::None; kernel.tys.len()],
        uses: fold::count_uses(kernel),
        line: 0,
    };
    s.code.start(Vec::new());
    let block = s.code.vreg(RegClass::Int);
    s.code.emit(MOp::Args, &[Operand::reg_fixed_def(block, int_reg(RDI))], None);
    for i in 0..kernel.params.len() {
        if s.uses[i] > 0 {
            let r = s.define(Val(i as u32));
            let mem = Mem { index: false, scale: 1, disp: 8 * i as i32, broadcast: false };
            s.code.emit(MOp::Load64, &[Operand::reg_def(r), Operand::reg_use(block)], Some(mem));
        }
    }
    s.body(&kernel.body)?;
    s.code.emit(MOp::Ret, &[], None);
    s.code.end();
    Ok(s.code)
}

fn class(ty: Ty) -> RegClass {
    match ty {
        Ty::I64 | Ty::Ptr | Ty::CPtr | Ty::Bool => RegClass::Int,
        Ty::F32 | Ty::VF32 | Ty::VI32 | Ty::VBool => RegClass::Float,
    }
}

impl Selector<'_> {
    fn fail<T>(&self, v: Val, e: &str) -> Result<T, Bug> {
        Err(Bug::new(format!("kernel {}: {v} {e}", self.kernel.name)))
    }

    fn ty(&self, v: Val) -> Ty {
        self.kernel.ty(v).unwrap_or(Ty::I64)
    }

    fn is_scalar(&self, v: Val) -> bool {
        self.ty(v) == Ty::F32
    }

    fn place(&self, v: Val) -> Place {
        self.places.get(v.index()).copied().unwrap_or(Place::None)
    }

    fn set(&mut self, v: Val, p: Place) {
        if let Some(slot) = self.places.get_mut(v.index()) {
            *slot = p;
        }
    }

    fn int_vreg(&mut self) -> VReg {
        self.code.vreg(RegClass::Int)
    }

    fn vector_vreg(&mut self) -> VReg {
        self.code.vreg(RegClass::Float)
    }

    /// A new register for a value.
    fn define(&mut self, v: Val) -> VReg {
        let r = self.code.vreg(class(self.ty(v)));
        self.set(v, Place::Reg(r));
        r
    }

    /// The register of a value; makes constants.
    fn reg(&mut self, v: Val) -> Result<VReg, Bug> {
        match self.place(v) {
            Place::Reg(r) => Ok(r),
            Place::Int(c) => {
                let r = self.int_vreg();
                self.code.emit(MOp::Int(c), &[Operand::reg_def(r)], None);
                Ok(r)
            }
            Place::Float(bits) => {
                let r = self.vector_vreg();
                let op = if bits == 0 { MOp::Zero } else { MOp::Const(bits) };
                self.code.emit(op, &[Operand::reg_def(r)], None);
                Ok(r)
            }
            Place::Memory(..) | Place::None => self.fail(v, "has no register"),
        }
    }

    fn operand(&mut self, v: Val) -> Result<Operand, Bug> {
        Ok(Operand::reg_use(self.reg(v)?))
    }

    /// `d = op(uses)`, the result in any register.
    fn simple(&mut self, op: MOp, d: Val, uses: &[Val]) -> Result<(), Bug> {
        let uses = uses.iter().map(|v| self.operand(*v)).collect::<Result<Vec<_>, _>>()?;
        let r = self.define(d);
        let operands: Vec<Operand> = std::iter::once(Operand::reg_def(r)).chain(uses).collect();
        self.code.emit(op, &operands, None);
        Ok(())
    }

    /// As [`Self::simple`], the result in the register of the first use.
    fn tied(&mut self, op: MOp, d: Val, uses: &[Val]) -> Result<(), Bug> {
        let uses = uses.iter().map(|v| self.operand(*v)).collect::<Result<Vec<_>, _>>()?;
        let r = self.define(d);
        let operands: Vec<Operand> = std::iter::once(Operand::reg_reuse_def(r, 1)).chain(uses).collect();
        self.code.emit(op, &operands, None);
        Ok(())
    }

    /// The integer constant in `v`, if it is one that fits an instruction.
    fn immediate(&self, v: Val) -> Option<i32> {
        match self.place(v) {
            Place::Int(c) => i32::try_from(c).ok(),
            _ => None,
        }
    }
}
