//! Operations without memory.
use super::Translator;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, I8, I8X16, I32, I32X4, I64};
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value};
use spc_base::Bug;
use spc_kernel::ir::{Cmp, FBin, FUn, IBin, LBin, Op, RedFn, Ty, Val};
use spc_kernel::math::MathFn;

impl Translator<'_, '_> {
    /// The CLIF value of `op`, which defines `v`.
    pub(super) fn op(&mut self, v: Val, op: &Op) -> Result<Value, Bug> {
        let ty = self.type_of(v)?;
        Ok(match *op {
            Op::Int(c) => self.b.ins().iconst(I64, c),
            Op::Float(c) | Op::VFloat(c) => {
                let x = self.float(c.get());
                self.splat(ty, x)
            }
            Op::Local(_) => return Err(Bug::new("memory of a kernel's own is for the wide executor")),
            Op::VInt(c) => {
                let x = self.b.ins().iconst(I32, i64::from(c));
                self.splat(ty, x)
            }
            Op::Bool(c) => self.b.ins().iconst(I8, i64::from(c)),
            Op::IBin(f, a, b) => {
                let (a, b) = (self.get(a)?, self.get(b)?);
                self.ibin(f, a, b)
            }
            Op::Shr(a, n) => {
                let a = self.get(a)?;
                self.b.ins().sshr_imm_u(a, i64::from(n))
            }
            Op::Shl(a, n) => {
                let a = self.get(a)?;
                self.b.ins().ishl_imm_u(a, i64::from(n))
            }
            Op::Dot4(acc, u, s) => self.dot4(acc, u, s)?,
            Op::Nearest(a) => self.nearest(a)?,
            Op::NearestOrLeast(a) => self.nearest_or_least(a)?,
            Op::Wrap32(a) => {
                let a = self.get(a)?;
                let low = self.b.ins().ireduce(I32, a);
                self.b.ins().sextend(I64, low)
            }
            Op::PtrAdd(p, n) => {
                let (p, n) = (self.get(p)?, self.get(n)?);
                self.b.ins().iadd(p, n)
            }
            Op::PtrDiff(a, c) => {
                let (a, c) = (self.get(a)?, self.get(c)?);
                self.b.ins().isub(a, c)
            }
            Op::PtrOff(p, n) => {
                let p = self.get(p)?;
                self.b.ins().iadd_imm_s(p, i64::from(n))
            }
            Op::Load(kind, ref a) => self.load(kind, a)?,
            Op::LoadTail(ref a, n) => self.load_tail(a, n)?,
            Op::FBin(f, a, b) => {
                let (a, b) = (self.get(a)?, self.get(b)?);
                match f {
                    FBin::Add => self.b.ins().fadd(a, b),
                    FBin::Sub => self.b.ins().fsub(a, b),
                    FBin::Mul => self.b.ins().fmul(a, b),
                    FBin::Div => self.b.ins().fdiv(a, b),
                    FBin::Max => self.b.ins().fmax(a, b),
                    FBin::Min => self.b.ins().fmin(a, b),
                }
            }
            Op::FUn(f, a) => {
                let a = self.get(a)?;
                match f {
                    FUn::Neg => self.b.ins().fneg(a),
                    FUn::Abs => self.b.ins().fabs(a),
                    FUn::Sqrt => self.b.ins().sqrt(a),
                    FUn::Floor => self.b.ins().floor(a),
                }
            }
            Op::Fma(a, b, c) => {
                let (a, b, c) = (self.get(a)?, self.get(b)?, self.get(c)?);
                self.b.ins().fma(a, b, c)
            }
            Op::Math(f, a, b) => self.math(f, a, b)?,
            Op::Splat(a) => {
                let x = self.get(a)?;
                match self.kernel.ty(a) {
                    Some(Ty::Bool) if ty == I32X4 => {
                        let wide = self.b.ins().uextend(I32, x);
                        let mask = self.b.ins().ineg(wide);
                        self.b.ins().splat(ty, mask)
                    }
                    Some(Ty::I64) => {
                        let low = self.b.ins().ireduce(I32, x);
                        self.splat(ty, low)
                    }
                    _ => self.splat(ty, x),
                }
            }
            Op::Swap(a, k) => self.swap(a, k)?,
            Op::Reduce(f, a) => self.reduce(f, a)?,
            Op::ICmp(c, a, b) => {
                let (a, b) = (self.get(a)?, self.get(b)?);
                self.b.ins().icmp(int_condition(c), a, b)
            }
            Op::FCmp(c, a, b) => {
                let (a, b) = (self.get(a)?, self.get(b)?);
                self.b.ins().fcmp(float_condition(c), a, b)
            }
            Op::Logic(f, a, b) => {
                let (a, b) = (self.get(a)?, self.get(b)?);
                if f == LBin::And { self.b.ins().band(a, b) } else { self.b.ins().bor(a, b) }
            }
            Op::Not(a) => {
                let a = self.get(a)?;
                if ty == I32X4 { self.b.ins().bnot(a) } else { self.b.ins().bxor_imm_u(a, 1) }
            }
            Op::Select(c, a, b) => self.select(ty, c, a, b)?,
            Op::IToF(a) => {
                let a = self.get(a)?;
                self.b.ins().fcvt_from_sint(ty, a)
            }
            Op::FToI(a) => {
                let a = self.get(a)?;
                self.b.ins().fcvt_to_sint_sat(I64, a)
            }
            Op::ToBits(a) => {
                let a = self.get(a)?;
                if ty == I64 {
                    let bits = self.cast(I32, a);
                    self.b.ins().sextend(I64, bits)
                } else {
                    self.cast(ty, a)
                }
            }
            Op::FromBits(a) => {
                let a = self.get(a)?;
                let low = if self.b.func.dfg.value_type(a) == I64 { self.b.ins().ireduce(I32, a) } else { a };
                self.cast(ty, low)
            }
            Op::Ones(a) => {
                let a = self.get(a)?;
                self.b.ins().popcnt(a)
            }
            Op::Expand(a, m) => self.expand(a, m)?,
            Op::Permute(a, i) => self.permute(a, i)?,
            Op::Bytes(a, i) => self.bytes(a, i)?,
            Op::PermuteBytes(..) => return self.fail("bytes are permuted in 512-bit code only"),
            Op::Zip(high, a, b) => self.zip(high, a, b)?,
            Op::Gather(ref a, i) => self.gather(a, i)?,
        })
    }

    fn ibin(&mut self, f: IBin, a: Value, b: Value) -> Value {
        match f {
            IBin::Add => self.b.ins().iadd(a, b),
            IBin::Sub => self.b.ins().isub(a, b),
            IBin::Mul => self.b.ins().imul(a, b),
            IBin::Min => self.b.ins().smin(a, b),
            IBin::Max => self.b.ins().smax(a, b),
            IBin::And => self.b.ins().band(a, b),
            IBin::Or => self.b.ins().bor(a, b),
            IBin::Xor => self.b.ins().bxor(a, b),
            IBin::Div | IBin::Rem => self.divide(f, a, b),
        }
    }

    /// Division that cannot trap: by 0 or -1 it divides by 1 instead, and the defined answer is chosen afterwards.
    fn divide(&mut self, f: IBin, a: Value, b: Value) -> Value {
        let by_zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let by_minus = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
        let odd = self.b.ins().bor(by_zero, by_minus);
        let one = self.b.ins().iconst(I64, 1);
        let zero = self.b.ins().iconst(I64, 0);
        let safe = self.b.ins().select(odd, one, b);
        if f == IBin::Div {
            let q = self.b.ins().sdiv(a, safe);
            let negative = self.b.ins().ineg(a);
            let q = self.b.ins().select(by_minus, negative, q);
            self.b.ins().select(by_zero, zero, q)
        } else {
            let r = self.b.ins().srem(a, safe);
            self.b.ins().select(by_zero, a, r)
        }
    }

    /// Calls the shared Rust function, lane by lane.
    fn math(&mut self, f: MathFn, a: Val, b: Option<Val>) -> Result<Value, Bug> {
        let callee = (self.import)(self.b.func, f)?;
        let a = self.get(a)?;
        let b = b.map(|b| self.get(b)).transpose()?;
        if !self.is_vector() || self.b.func.dfg.value_type(a) == F32 {
            let args: Vec<Value> = std::iter::once(a).chain(b).collect();
            let call = self.b.ins().call(callee, &args);
            return self.result(call);
        }
        let zero = self.float(0.0);
        let mut out = self.b.ins().splat(F32X4, zero);
        for lane in 0..self.kernel.lanes as u8 {
            let operands: Vec<Value> = std::iter::once(a).chain(b).collect();
            let args: Vec<Value> = operands.into_iter().map(|v| self.b.ins().extractlane(v, lane)).collect();
            let call = self.b.ins().call(callee, &args);
            let x = self.result(call)?;
            out = self.b.ins().insertlane(out, x, lane);
        }
        Ok(out)
    }

    fn result(&self, call: cranelift_codegen::ir::Inst) -> Result<Value, Bug> {
        match self.b.inst_results(call) {
            [x] => Ok(*x),
            _ => self.fail("a call without one result"),
        }
    }

    /// Lane i from lane `i ^ k`: a shuffle of bytes.
    fn swap(&mut self, a: Val, k: u8) -> Result<Value, Bug> {
        let a = self.get(a)?;
        let ty = self.b.func.dfg.value_type(a);
        let bytes: Vec<u8> = (0..4u8).flat_map(|i| (0..4).map(move |j| ((i ^ k) & 3) * 4 + j)).collect();
        let mask = self.b.func.dfg.immediates.push(bytes.into());
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        let x = self.b.ins().bitcast(I8X16, flags, a);
        let x = self.b.ins().shuffle(x, x, mask);
        Ok(self.b.ins().bitcast(ty, flags, x))
    }

    /// Lanes 0 and 1 meet lanes 2 and 3, then the two that are left meet.
    fn reduce(&mut self, f: RedFn, a: Val) -> Result<Value, Bug> {
        if self.kernel.ty(a) == Some(Ty::VI32) {
            return self.reduce_integers(f, a);
        }
        let a = self.get(a)?;
        if !self.is_vector() {
            return Ok(a);
        }
        let lane = |t: &mut Self, i: u8| t.b.ins().extractlane(a, i);
        let x = [lane(self, 0), lane(self, 1), lane(self, 2), lane(self, 3)];
        let both = |t: &mut Self, x: Value, y: Value| match f {
            RedFn::Add => t.b.ins().fadd(x, y),
            RedFn::Max => t.b.ins().fmax(x, y),
            RedFn::Min => t.b.ins().fmin(x, y),
        };
        let (low, high) = (both(self, x[0], x[2]), both(self, x[1], x[3]));
        Ok(both(self, low, high))
    }

    fn select(&mut self, ty: Type, c: Val, a: Val, b: Val) -> Result<Value, Bug> {
        let mask = self.get(c)?;
        let (a, b) = (self.get(a)?, self.get(b)?);
        if self.b.func.dfg.value_type(mask) != I32X4 {
            return Ok(self.b.ins().select(mask, a, b));
        }
        let mask = if ty == F32X4 {
            let flags = MemFlagsData::new().with_endianness(Endianness::Little);
            self.b.ins().bitcast(F32X4, flags, mask)
        } else {
            mask
        };
        Ok(self.b.ins().bitselect(mask, a, b))
    }
}

fn int_condition(c: Cmp) -> IntCC {
    match c {
        Cmp::Lt => IntCC::SignedLessThan,
        Cmp::Le => IntCC::SignedLessThanOrEqual,
        Cmp::Gt => IntCC::SignedGreaterThan,
        Cmp::Ge => IntCC::SignedGreaterThanOrEqual,
        Cmp::Eq => IntCC::Equal,
        Cmp::Ne => IntCC::NotEqual,
    }
}

fn float_condition(c: Cmp) -> FloatCC {
    match c {
        Cmp::Lt => FloatCC::LessThan,
        Cmp::Le => FloatCC::LessThanOrEqual,
        Cmp::Gt => FloatCC::GreaterThan,
        Cmp::Ge => FloatCC::GreaterThanOrEqual,
        Cmp::Eq => FloatCC::Equal,
        Cmp::Ne => FloatCC::NotEqual,
    }
}
