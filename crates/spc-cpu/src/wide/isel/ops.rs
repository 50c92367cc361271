//! Operations.
use super::super::vcode::{ImmOp, IntOp, MOp, RAX, RDX, int_reg, reduction, vector_reg};
use super::{Place, Selector};
use crate::host::Isa;
use regalloc2::{Operand, VReg};
use spc_base::Bug;
use spc_kernel::ir::{Addr, FBin, IBin, LBin, LoadKind, Op, RedFn, Ty, Val};
use spc_kernel::math::MathFn;

impl Selector<'_> {
    pub(super) fn op(&mut self, d: Val, op: &Op) -> Result<(), Bug> {
        match *op {
            Op::Int(c) => self.set(d, Place::Int(c)),
            Op::VInt(c) => self.set(d, Place::Float(c as u32)),
            Op::Local(n) => {
                let at = self.code.local(n);
                return self.simple(MOp::Local(at), d, &[]);
            }
            Op::Bool(c) => self.set(d, Place::Int(i64::from(c))),
            Op::IBin(f, a, b) if self.ty(d) == Ty::VI32 => {
                let (a, b) = if f == IBin::Sub { (a, b) } else { self.memory_last(a, b) };
                return self.last_in_memory(MOp::Lanes(f), d, &[a], b, false);
            }
            Op::Shr(a, n) if self.ty(d) == Ty::VI32 => return self.simple(MOp::ShiftLanes(false, n), d, &[a]),
            Op::Shl(a, n) if self.ty(d) == Ty::VI32 => return self.simple(MOp::ShiftLanes(true, n), d, &[a]),
            Op::Shl(a, n) => return self.tied(MOp::ImmOp(ImmOp::Shl(n)), d, &[a]),
            Op::Dot4(acc, u, s) => return self.dot(d, acc, u, s),
            Op::NearestOrLeast(a) => return self.simple(MOp::NearestOrLeast, d, &[a]),
            Op::Nearest(a) => {
                let t = (self.isa == Isa::Avx2).then(|| self.vector_vreg());
                return self.early(MOp::Nearest, d, &[a], t);
            }
            Op::Float(c) | Op::VFloat(c) => self.set(d, Place::Float(c.0)),
            Op::IBin(f, a, b) => return self.ibin(d, f, a, b),
            Op::Shr(a, n) => return self.tied(MOp::ImmOp(ImmOp::Sar(n)), d, &[a]),
            Op::Wrap32(a) => return self.simple(MOp::Wrap32, d, &[a]),
            Op::PtrAdd(p, n) => return self.lea(d, Addr::indexed(p, n, 1)),
            Op::PtrOff(p, n) => return self.lea(d, Addr::at(p, n)),
            Op::PtrDiff(a, b) => return self.tied(MOp::IntOp(IntOp::Sub), d, &[a, b]),
            Op::Load(kind, ref a) => return self.load(d, kind, a),
            Op::LoadTail(ref a, n) => return self.load_tail(d, a, n),
            Op::FBin(f, a, b) => return self.fbin(d, f, a, b),
            Op::FUn(f, a) => return self.simple(MOp::FUn(f, self.is_scalar(d)), d, &[a]),
            Op::Fma(a, b, c) => {
                let (a, b) = self.memory_last(a, b);
                return self.last_in_memory(MOp::Fma(self.is_scalar(d)), d, &[c, a], b, true);
            }
            Op::Math(f, a, b) => return self.math(d, f, a, b),
            Op::Splat(a) if self.ty(a) == Ty::Bool => {
                let mask = self.splat_bool(a)?;
                self.set(d, Place::Reg(mask));
            }
            Op::Splat(a) if self.ty(a) == Ty::I64 => match self.place(a) {
                Place::Int(c) => self.set(d, Place::Float(c as u32)),
                _ => return self.simple(MOp::SplatInt, d, &[a]),
            },
            Op::Splat(a) => match self.place(a) {
                Place::Float(bits) => self.set(d, Place::Float(bits)),
                _ => return self.simple(MOp::SplatF, d, &[a]),
            },
            Op::Swap(a, k) => return self.simple(MOp::Swap(k), d, &[a]),
            Op::Reduce(f, a) => return self.reduce(d, f, a),
            Op::ICmp(c, a, b) => match self.immediate(b) {
                Some(n) => return self.simple(MOp::SetIntImm(c, n), d, &[a]),
                None => return self.simple(MOp::SetInt(c), d, &[a, b]),
            },
            Op::FCmp(c, a, b) if self.is_scalar(a) => {
                let (a, b) = (self.operand(a)?, self.operand(b)?);
                let (r, t) = (self.define(d), self.vector_vreg());
                self.code.emit(MOp::SetF(c), &[Operand::reg_def(r), a, b, Operand::reg_temp(t)], None);
            }
            Op::FCmp(c, a, b) => return self.simple(MOp::CompareF(c), d, &[a, b]),
            Op::Logic(f, a, b) if self.ty(d) == Ty::Bool => {
                let op = if f == LBin::And { IntOp::And } else { IntOp::Or };
                return self.tied(MOp::IntOp(op), d, &[a, b]);
            }
            Op::Logic(f, a, b) => return self.simple(MOp::Logic(f), d, &[a, b]),
            Op::Not(a) if self.ty(d) == Ty::Bool => return self.tied(MOp::ImmOp(ImmOp::Flip), d, &[a]),
            Op::Not(a) => return self.early(MOp::NotLanes, d, &[a], None),
            Op::Select(c, a, b) => return self.select(d, c, a, b),
            Op::IToF(a) if self.ty(d) == Ty::VF32 => return self.last_in_memory(MOp::LanesToF, d, &[], a, false),
            Op::IToF(a) => return self.simple(MOp::IntToF, d, &[a]),
            Op::ToBits(a) if self.ty(d) == Ty::VI32 => {
                let r = self.reg(a)?;
                self.set(d, Place::Reg(r));
            }
            Op::ToBits(a) => return self.simple(MOp::LowestInt, d, &[a]),
            Op::FromBits(a) if self.ty(d) == Ty::VF32 => {
                let r = self.reg(a)?;
                self.set(d, Place::Reg(r));
            }
            Op::FromBits(a) => return self.simple(MOp::FloatOfInt, d, &[a]),
            Op::Ones(a) => return self.simple(MOp::Ones, d, &[a]),
            Op::Expand(a, m) => {
                let uses = [self.operand(a)?, self.operand(m)?];
                let r = self.define(d);
                let temps = if self.isa == Isa::Avx2 {
                    vec![self.int_vreg(), self.int_vreg(), self.vector_vreg()]
                } else {
                    Vec::new()
                };
                let temps = temps.into_iter().map(Operand::reg_temp);
                let operands: Vec<Operand> = std::iter::once(Operand::reg_def(r)).chain(uses).chain(temps).collect();
                self.code.emit(MOp::Expand, &operands, None);
            }
            Op::Permute(a, i) => return self.simple(MOp::Permute, d, &[a, i]),
            Op::Bytes(a, i) => return self.simple(MOp::Bytes, d, &[a, i]),
            Op::PermuteBytes(a, i) if self.isa.has_vnni() => {
                return self.last_in_memory(MOp::PermuteBytes, d, &[i], a, false);
            }
            Op::PermuteBytes(a, i) => {
                let uses = [self.operand(i)?, self.operand(a)?];
                let r = self.define(d);
                let temps = [self.vector_vreg(), self.vector_vreg()].map(Operand::reg_temp);
                let first = std::iter::once(Operand::reg_def_at_start(r));
                let operands: Vec<Operand> = first.chain(uses).chain(temps).collect();
                self.code.emit(MOp::PermuteBytes, &operands, None);
            }
            Op::Zip(high, a, b) => {
                let t = (self.isa == Isa::Avx2).then(|| self.vector_vreg());
                return self.early(MOp::Zip(high), d, &[a, b], t);
            }
            Op::Gather(ref a, i) => return self.gather(d, a, i),
            Op::FToI(a) => {
                let t = self.int_vreg();
                return self.early(MOp::FToInt, d, &[a], Some(t));
            }
        }
        Ok(())
    }

    /// `d = op(uses)` with the result apart from the uses.
    fn early(&mut self, op: MOp, d: Val, uses: &[Val], temp: Option<VReg>) -> Result<(), Bug> {
        let uses = uses.iter().map(|v| self.operand(*v)).collect::<Result<Vec<_>, _>>()?;
        let r = self.define(d);
        let first = std::iter::once(Operand::reg_def_at_start(r));
        let operands: Vec<Operand> = first.chain(uses).chain(temp.map(Operand::reg_temp)).collect();
        self.code.emit(op, &operands, None);
        Ok(())
    }

    /// The factors of a commutative operation, one that is in memory last.
    fn memory_last(&self, a: Val, b: Val) -> (Val, Val) {
        if matches!(self.place(a), Place::Memory(..)) { (b, a) } else { (a, b) }
    }

    /// `d = op(first, last)` where `last` may be in memory.
    fn last_in_memory(&mut self, op: MOp, d: Val, first: &[Val], last: Val, tied: bool) -> Result<(), Bug> {
        let uses = first.iter().map(|v| self.operand(*v)).collect::<Result<Vec<_>, _>>()?;
        let mut tail = Vec::new();
        let mem = match self.place(last) {
            Place::Memory(addr, kind) => {
                let mut mem = self.mem(&addr, &mut tail)?;
                mem.broadcast = matches!(kind, LoadKind::Splat | LoadKind::SplatI32);
                Some(mem)
            }
            _ => {
                tail.push(self.operand(last)?);
                None
            }
        };
        let r = self.define(d);
        let def = if tied { Operand::reg_reuse_def(r, 1) } else { Operand::reg_def(r) };
        let operands: Vec<Operand> = std::iter::once(def).chain(uses).chain(tail).collect();
        self.code.emit(op, &operands, mem);
        Ok(())
    }

    fn dot(&mut self, d: Val, acc: Val, u: Val, s: Val) -> Result<(), Bug> {
        if self.isa.has_vnni() {
            return self.last_in_memory(MOp::Dot, d, &[acc, u], s, true);
        }
        let uses = [self.operand(acc)?, self.operand(u)?, self.operand(s)?];
        let r = self.define(d);
        let temps = [self.vector_vreg(), self.vector_vreg(), self.vector_vreg()].map(Operand::reg_temp);
        let first = std::iter::once(Operand::reg_reuse_def(r, 1));
        let operands: Vec<Operand> = first.chain(uses).chain(temps).collect();
        self.code.emit(MOp::Dot, &operands, None);
        Ok(())
    }

    fn ibin(&mut self, d: Val, f: IBin, a: Val, b: Val) -> Result<(), Bug> {
        let commutes = matches!(f, IBin::Add | IBin::Mul | IBin::And | IBin::Or | IBin::Xor);
        let (a, b) = if commutes && self.immediate(a).is_some() { (b, a) } else { (a, b) };
        let n = self.immediate(b);
        match (f, n) {
            (IBin::Add, Some(n)) => self.lea(d, Addr::at(a, n)),
            (IBin::Add, None) => self.lea(d, Addr::indexed(a, b, 1)),
            (IBin::Sub, Some(n)) if n != i32::MIN => self.lea(d, Addr::at(a, -n)),
            (IBin::Mul, Some(n)) if n > 0 && n.count_ones() == 1 => {
                self.tied(MOp::ImmOp(ImmOp::Shl(n.trailing_zeros() as u8)), d, &[a])
            }
            (IBin::Mul, Some(n)) if !self.isa.is_512() && n > 0 && matches!(n >> n.trailing_zeros(), 3 | 5 | 9) => {
                self.multiple(d, a, n)
            }
            (IBin::Mul, Some(n)) => self.simple(MOp::MulImm(n), d, &[a]),
            (IBin::And, Some(n)) => self.tied(MOp::ImmOp(ImmOp::And(n)), d, &[a]),
            (IBin::Or, Some(n)) => self.tied(MOp::ImmOp(ImmOp::Or(n)), d, &[a]),
            (IBin::Div, Some(n)) if n > 1 && n.count_ones() == 1 => self.divide(d, true, a, b),
            (IBin::Sub, _) => self.tied(MOp::IntOp(IntOp::Sub), d, &[a, b]),
            (IBin::Mul, None) => self.tied(MOp::IntOp(IntOp::Mul), d, &[a, b]),
            (IBin::And, None) => self.tied(MOp::IntOp(IntOp::And), d, &[a, b]),
            (IBin::Or, None) => self.tied(MOp::IntOp(IntOp::Or), d, &[a, b]),
            (IBin::Xor, _) => self.tied(MOp::IntOp(IntOp::Xor), d, &[a, b]),
            (IBin::Min, _) => self.tied(MOp::IntOp(IntOp::Min), d, &[a, b]),
            (IBin::Max, _) => self.tied(MOp::IntOp(IntOp::Max), d, &[a, b]),
            (IBin::Div, _) => self.divide(d, true, a, b),
            (IBin::Rem, _) => self.divide(d, false, a, b),
        }
    }

    /// `a` times 3, 5 or 9 times a power of two: an address and a shift. Multiplications of integers run on a port that those of
    /// 256-bit vectors need and those of 512 bits do not.
    fn multiple(&mut self, d: Val, a: Val, n: i32) -> Result<(), Bug> {
        let shift = n.trailing_zeros() as u8;
        let sum = Addr::indexed(a, a, ((n >> shift) - 1) as u8);
        if shift == 0 {
            return self.lea(d, sum);
        }
        let mut tail = Vec::new();
        let mem = self.mem(&sum, &mut tail)?;
        let odd = self.int_vreg();
        let operands: Vec<Operand> = std::iter::once(Operand::reg_def(odd)).chain(tail).collect();
        self.code.emit(MOp::Lea, &operands, Some(mem));
        let r = self.define(d);
        let operands = [Operand::reg_reuse_def(r, 1), Operand::reg_use(odd)];
        self.code.emit(MOp::ImmOp(ImmOp::Shl(shift)), &operands, None);
        Ok(())
    }

    fn divide(&mut self, d: Val, quotient: bool, a: Val, b: Val) -> Result<(), Bug> {
        let (a, b) = (self.reg(a)?, self.reg(b)?);
        // A register of its own, since the divisor must stay in another one.
        let dividend = self.int_vreg();
        let mem = super::Mem { index: false, scale: 1, disp: 0, broadcast: false };
        self.code.emit(MOp::Lea, &[Operand::reg_def(dividend), Operand::reg_use(a)], Some(mem));
        let r = self.define(d);
        let result = int_reg(if quotient { RAX } else { RDX });
        let operands = [
            Operand::reg_fixed_def(r, result),
            Operand::reg_fixed_use(dividend, int_reg(RAX)),
            Operand::reg_use_at_end(b),
        ];
        self.code.emit(MOp::Divide(quotient), &operands, None);
        Ok(())
    }

    fn fbin(&mut self, d: Val, f: FBin, a: Val, b: Val) -> Result<(), Bug> {
        if matches!(f, FBin::Max | FBin::Min) {
            let (a, b) = (self.reg(a)?, self.reg(b)?);
            let r = self.define(d);
            self.extreme(f, self.is_scalar(d), r, a, b);
            return Ok(());
        }
        let (a, b) = if matches!(f, FBin::Add | FBin::Mul) { self.memory_last(a, b) } else { (a, b) };
        self.last_in_memory(MOp::FBin(f, self.is_scalar(d)), d, &[a], b, false)
    }

    fn extreme(&mut self, f: FBin, scalar: bool, r: VReg, a: VReg, b: VReg) {
        let mut operands = vec![Operand::reg_def_at_start(r), Operand::reg_use(a), Operand::reg_use(b)];
        if self.isa == Isa::Avx2 {
            operands.push(Operand::reg_temp(self.vector_vreg()));
        }
        self.code.emit(MOp::Extreme(f == FBin::Max, scalar), &operands, None);
    }

    /// One call for all lanes.
    fn math(&mut self, d: Val, f: MathFn, a: Val, b: Option<Val>) -> Result<(), Bug> {
        let a = self.reg(a)?;
        let b = b.map(|b| self.reg(b)).transpose()?;
        let r = self.define(d);
        let mut operands = vec![Operand::reg_fixed_def(r, vector_reg(0)), Operand::reg_fixed_use(a, vector_reg(0))];
        operands.extend(b.map(|b| Operand::reg_fixed_use(b, vector_reg(1))));
        self.code.emit(MOp::Call(f, self.is_scalar(d)), &operands, None);
        Ok(())
    }

    fn reduce(&mut self, d: Val, f: RedFn, a: Val) -> Result<(), Bug> {
        let integers = self.ty(a) == Ty::VI32;
        let lanes = match f {
            RedFn::Add => IBin::Add,
            RedFn::Max => IBin::Max,
            RedFn::Min => IBin::Min,
        };
        let f = reduction(f);
        let (mut x, mut n) = (self.reg(a)?, self.kernel.lanes);
        while n > 1 {
            n /= 2;
            let (half, r) = (self.vector_vreg(), self.vector_vreg());
            self.code.emit(MOp::UpperHalf(n), &[Operand::reg_def(half), Operand::reg_use(x)], None);
            // Whole vectors, of which only the lowest lanes matter.
            match f {
                _ if integers => {
                    let operands = [Operand::reg_def(r), Operand::reg_use(x), Operand::reg_use(half)];
                    self.code.emit(MOp::Lanes(lanes), &operands, None);
                }
                FBin::Max | FBin::Min => self.extreme(f, false, r, x, half),
                _ => {
                    let operands = [Operand::reg_def(r), Operand::reg_use(x), Operand::reg_use(half)];
                    self.code.emit(MOp::FBin(f, false), &operands, None);
                }
            }
            x = r;
        }
        if integers {
            let r = self.define(d);
            self.code.emit(MOp::LowestInt, &[Operand::reg_def(r), Operand::reg_use(x)], None);
            return Ok(());
        }
        self.set(d, Place::Reg(x));
        Ok(())
    }

    fn splat_bool(&mut self, c: Val) -> Result<VReg, Bug> {
        let c = self.operand(c)?;
        let (r, t) = (self.vector_vreg(), self.int_vreg());
        self.code.emit(MOp::SplatBool, &[Operand::reg_def(r), c, Operand::reg_temp(t)], None);
        Ok(r)
    }

    fn select(&mut self, d: Val, c: Val, a: Val, b: Val) -> Result<(), Bug> {
        let by_lane = self.ty(c) == Ty::VBool;
        if matches!(self.ty(d), Ty::I64 | Ty::Bool) {
            if let (Place::Int(1), Place::Int(0)) = (self.place(a), self.place(b)) {
                let r = self.reg(c)?;
                self.set(d, Place::Reg(r));
                return Ok(());
            }
            return self.tied(MOp::SelectInt, d, &[b, a, c]);
        }
        let mask = if by_lane { self.reg(c)? } else { self.splat_bool(c)? };
        let (a, b) = (self.operand(a)?, self.operand(b)?);
        let r = self.define(d);
        self.code.emit(MOp::SelectF, &[Operand::reg_def(r), Operand::reg_use(mask), a, b], None);
        Ok(())
    }
}
