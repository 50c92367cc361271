//! Loads, stores and tails.
use super::Translator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F32X4, I8, I16, I32, I32X4, I64};
use cranelift_codegen::ir::{BlockArg, Endianness, InstBuilder, MemFlagsData, Type, Value};
use spc_base::Bug;
use spc_kernel::ir::{Addr, LoadKind, StoreKind, Val};

impl Translator<'_, '_> {
    /// Base address and displacement.
    pub(super) fn addr(&mut self, a: &Addr) -> Result<(Value, i32), Bug> {
        let mut p = self.get(a.base)?;
        if let Some((i, scale)) = a.index {
            let mut i = self.get(i)?;
            if scale > 1 {
                i = self.b.ins().ishl_imm_u(i, i64::from(scale.trailing_zeros()));
            }
            p = self.b.ins().iadd(p, i);
        }
        Ok((p, a.disp))
    }

    pub(super) fn raw_load(&mut self, ty: Type, a: &Addr) -> Result<Value, Bug> {
        let (p, disp) = self.addr(a)?;
        let mut flags = MemFlagsData::new().with_notrap();
        if self.depths.movable(self.kernel, a, self.depth) {
            flags = flags.with_readonly().with_can_move();
        }
        if ty == F32X4 && !self.target.fold_loads {
            let x = self.b.ins().load(I32X4, flags, p, disp);
            return Ok(self.b.ins().bitcast(F32X4, MemFlagsData::new().with_endianness(Endianness::Little), x));
        }
        Ok(self.b.ins().load(ty, flags, p, disp))
    }

    pub(super) fn load(&mut self, kind: LoadKind, a: &Addr) -> Result<Value, Bug> {
        let vector = self.clif_type(LoadKind::VF32.result());
        match kind {
            LoadKind::F32 => self.raw_load(F32, a),
            // Four lanes, or one.
            LoadKind::VF32 | LoadKind::Quad => self.raw_load(vector, a),
            LoadKind::Splat => {
                let x = self.raw_load(F32, a)?;
                Ok(self.splat(vector, x))
            }
            LoadKind::I32 => {
                let x = self.raw_load(I32, a)?;
                Ok(self.b.ins().sextend(I64, x))
            }
            LoadKind::U32 => {
                let x = self.raw_load(I32, a)?;
                Ok(self.b.ins().uextend(I64, x))
            }
            LoadKind::U8 => {
                let x = self.raw_load(I8, a)?;
                Ok(self.b.ins().uextend(I64, x))
            }
            LoadKind::Bool => {
                let x = self.raw_load(I8, a)?;
                Ok(self.b.ins().icmp_imm_u(IntCC::NotEqual, x, 0))
            }
            _ => self.load_narrow(kind, a),
        }
    }

    pub(super) fn store(&mut self, kind: StoreKind, a: &Addr, v: Val) -> Result<(), Bug> {
        let (p, disp) = self.addr(a)?;
        let mut x = self.get(v)?;
        match kind {
            StoreKind::I32 => x = self.b.ins().ireduce(I32, x),
            StoreKind::U8 => x = self.b.ins().ireduce(I8, x),
            StoreKind::U16 => x = self.b.ins().ireduce(I16, x),
            StoreKind::VU8 => x = self.low_bytes(x),
            StoreKind::F32 | StoreKind::VF32 | StoreKind::VI32 | StoreKind::Bool => {}
        }
        self.b.ins().store(MemFlagsData::new().with_notrap(), x, p, disp);
        Ok(())
    }

    /// The first lanes of a vector from memory. One block for each lane, entered if the lane is among the first `n`.
    pub(super) fn load_tail(&mut self, a: &Addr, n: Val) -> Result<Value, Bug> {
        let ty = self.clif_type(LoadKind::VF32.result());
        let (p, disp) = self.addr(a)?;
        let n = self.get(n)?;
        let zero = self.float(0.0);
        let mut sum = self.splat(ty, zero);
        let flags = MemFlagsData::new().with_notrap();
        for lane in 0..self.kernel.lanes {
            let (then, join) = (self.b.create_block(), self.b.create_block());
            let out = self.b.append_block_param(join, ty);
            let inside = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, n, lane as i64);
            self.b.ins().brif(inside, then, &[], join, &[BlockArg::from(sum)]);
            self.b.switch_to_block(then);
            let x = self.b.ins().load(F32, flags, p, disp.wrapping_add(4 * lane as i32));
            let with = if ty == F32X4 { self.b.ins().insertlane(sum, x, lane as u8) } else { x };
            self.b.ins().jump(join, &[BlockArg::from(with)]);
            self.b.switch_to_block(join);
            sum = out;
        }
        Ok(sum)
    }

    /// A float from behind the address for each lane.
    pub(super) fn gather(&mut self, a: &Addr, i: Val) -> Result<Value, Bug> {
        let (p, disp) = self.addr(a)?;
        let i = self.get(i)?;
        let flags = MemFlagsData::new().with_notrap();
        let mut one = |t: &mut Self, i: Value| {
            let wide = t.b.ins().sextend(I64, i);
            let bytes = t.b.ins().ishl_imm_u(wide, 2);
            let at = t.b.ins().iadd(p, bytes);
            t.b.ins().load(F32, flags, at, disp)
        };
        self.each_lane(i, &mut one)
    }

    pub(super) fn store_tail(&mut self, a: &Addr, v: Val, n: Val) -> Result<(), Bug> {
        let (p, disp) = self.addr(a)?;
        let (v, n) = (self.get(v)?, self.get(n)?);
        let flags = MemFlagsData::new().with_notrap();
        for lane in 0..self.kernel.lanes {
            let (then, join) = (self.b.create_block(), self.b.create_block());
            let inside = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, n, lane as i64);
            self.b.ins().brif(inside, then, &[], join, &[]);
            self.b.switch_to_block(then);
            let x = if self.is_vector() { self.b.ins().extractlane(v, lane as u8) } else { v };
            self.b.ins().store(flags, x, p, disp.wrapping_add(4 * lane as i32));
            self.b.ins().jump(join, &[]);
            self.b.switch_to_block(join);
        }
        Ok(())
    }
}
