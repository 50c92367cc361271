//! Addresses, loads, stores.
use super::super::vcode::{MOp, Mem};
use super::{Place, Selector};
use crate::host::Isa;
use regalloc2::Operand;
use spc_base::Bug;
use spc_kernel::ir::{Addr, LoadKind, Near, StoreKind, TileOp, Val};

impl Selector<'_> {
    /// The memory operand, whose registers are appended to `operands`.
    pub(super) fn mem(&mut self, a: &Addr, operands: &mut Vec<Operand>) -> Result<Mem, Bug> {
        operands.push(self.operand(a.base)?);
        let mut mem = Mem { index: false, scale: 1, disp: a.disp, broadcast: false };
        if let Some((i, scale)) = a.index {
            let fixed = match self.place(i) {
                Place::Int(c) => c.checked_mul(i64::from(scale)).and_then(|c| c.checked_add(i64::from(a.disp))),
                _ => None,
            };
            match fixed.and_then(|c| i32::try_from(c).ok()) {
                Some(disp) => mem.disp = disp,
                None => {
                    operands.push(self.operand(i)?);
                    (mem.index, mem.scale) = (true, scale);
                }
            }
        }
        Ok(mem)
    }

    pub(super) fn lea(&mut self, d: Val, a: Addr) -> Result<(), Bug> {
        let mut tail = Vec::new();
        let mem = self.mem(&a, &mut tail)?;
        self.with_memory(MOp::Lea, d, tail, mem);
        Ok(())
    }

    fn with_memory(&mut self, op: MOp, d: Val, tail: Vec<Operand>, mem: Mem) {
        let r = self.define(d);
        let operands: Vec<Operand> = std::iter::once(Operand::reg_def(r)).chain(tail).collect();
        self.code.emit(op, &operands, Some(mem));
    }

    pub(super) fn load(&mut self, d: Val, kind: LoadKind, a: &Addr) -> Result<(), Bug> {
        let mut tail = Vec::new();
        let mem = self.mem(a, &mut tail)?;
        let op = match kind {
            LoadKind::F32 => MOp::LoadF(true),
            LoadKind::VF32 | LoadKind::VI32 => MOp::LoadF(false),
            LoadKind::Splat | LoadKind::SplatI32 => MOp::LoadSplat,
            LoadKind::Quad | LoadKind::QuadI32 => MOp::LoadQuad,
            LoadKind::I32 | LoadKind::U32 | LoadKind::U16 | LoadKind::U8 | LoadKind::I8 | LoadKind::Bool => {
                MOp::LoadInt(kind)
            }
            LoadKind::VI8 | LoadKind::VU8 | LoadKind::VI16 | LoadKind::VU16 | LoadKind::VF16 | LoadKind::VBf16 => {
                MOp::LoadNarrow(kind)
            }
            LoadKind::F16 => {
                let (r, t) = (self.define(d), self.int_vreg());
                let operands: Vec<Operand> =
                    [Operand::reg_def(r), Operand::reg_temp(t)].into_iter().chain(tail).collect();
                self.code.emit(MOp::LoadHalf, &operands, Some(mem));
                return Ok(());
            }
        };
        self.with_memory(op, d, tail, mem);
        Ok(())
    }

    pub(super) fn store(&mut self, kind: StoreKind, a: &Addr, v: Val) -> Result<(), Bug> {
        let mut operands = vec![self.operand(v)?];
        if kind == StoreKind::VU8 && !self.isa.is_512() {
            operands.push(Operand::reg_temp(self.vector_vreg()));
        }
        let mem = self.mem(a, &mut operands)?;
        let op = match kind {
            StoreKind::F32 => MOp::StoreF(true),
            StoreKind::VF32 | StoreKind::VI32 => MOp::StoreF(false),
            StoreKind::I32 | StoreKind::U16 | StoreKind::U8 | StoreKind::Bool => MOp::StoreInt(kind),
            StoreKind::VU8 => MOp::StoreBytes,
        };
        self.code.emit(op, &operands, Some(mem));
        Ok(())
    }

    fn tail_temps(&mut self) -> Vec<Operand> {
        let mut temps = vec![self.int_vreg(), self.int_vreg()];
        if self.isa == Isa::Avx2 {
            temps.push(self.vector_vreg());
        }
        temps.into_iter().map(Operand::reg_temp).collect()
    }

    pub(super) fn load_tail(&mut self, d: Val, a: &Addr, n: Val) -> Result<(), Bug> {
        let n = self.operand(n)?;
        let temps = self.tail_temps();
        let mut tail = Vec::new();
        let mem = self.mem(a, &mut tail)?;
        let r = self.define(d);
        let operands: Vec<Operand> = [Operand::reg_def(r), n].into_iter().chain(temps).chain(tail).collect();
        self.code.emit(MOp::LoadTail, &operands, Some(mem));
        Ok(())
    }

    pub(super) fn gather(&mut self, d: Val, a: &Addr, i: Val) -> Result<(), Bug> {
        // The address has no index of its own, which is where the lanes go.
        let (base, disp) = match a.index {
            None => (self.operand(a.base)?, a.disp),
            Some(_) => {
                let mut tail = Vec::new();
                let mem = self.mem(a, &mut tail)?;
                let p = self.int_vreg();
                let operands: Vec<Operand> = std::iter::once(Operand::reg_def(p)).chain(tail).collect();
                self.code.emit(MOp::Lea, &operands, Some(mem));
                (Operand::reg_use(p), 0)
            }
        };
        let i = self.operand(i)?;
        let t = (self.isa == Isa::Avx2).then(|| Operand::reg_temp(self.vector_vreg()));
        let r = self.define(d);
        let mut operands = vec![Operand::reg_def_at_start(r), i];
        operands.extend(t);
        operands.push(base);
        let mem = Mem { index: false, scale: 1, disp, broadcast: false };
        self.code.emit(MOp::Gather, &operands, Some(mem));
        Ok(())
    }

    pub(super) fn prefetch(&mut self, near: Near, a: &Addr) -> Result<(), Bug> {
        let mut operands = Vec::new();
        let mem = self.mem(a, &mut operands)?;
        self.code.emit(MOp::Prefetch(near), &operands, Some(mem));
        Ok(())
    }

    /// Loads and stores take the distance between rows in the place of an index.
    pub(super) fn tile(&mut self, op: &TileOp) -> Result<(), Bug> {
        const ROW: i64 = 64;
        let (op, addr) = match *op {
            TileOp::Zero(t) => (MOp::TileZero(t), None),
            TileOp::Load(t, a) => (MOp::TileLoad(t), Some(a)),
            TileOp::Store(t, a) => (MOp::TileStore(t), Some(a)),
            TileOp::Dot(c, s, u) => (MOp::TileDot(c, s, u), None),
        };
        let Some(a) = addr else {
            self.code.emit(op, &[], None);
            return Ok(());
        };
        let base = self.operand(a.base)?;
        let row = self.int_vreg();
        self.code.emit(MOp::Int(ROW), &[Operand::reg_def(row)], None);
        let mem = Mem { index: true, scale: 1, disp: a.disp, broadcast: false };
        self.code.emit(op, &[base, Operand::reg_use(row)], Some(mem));
        Ok(())
    }

    pub(super) fn store_tail(&mut self, a: &Addr, v: Val, n: Val) -> Result<(), Bug> {
        let mut operands = vec![self.operand(v)?, self.operand(n)?];
        operands.extend(self.tail_temps());
        let mem = self.mem(a, &mut operands)?;
        self.code.emit(MOp::StoreTail, &operands, Some(mem));
        Ok(())
    }
}
