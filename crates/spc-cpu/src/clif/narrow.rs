//! Vectors of integers and narrow elements: loads that widen, stores that narrow, the dot product of bytes.
use super::Translator;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, I8, I8X16, I16, I16X8, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Type, Value};
use spc_base::Bug;
use spc_kernel::ir::{Addr, LoadKind, RedFn, Val};

impl Translator<'_, '_> {
    pub(super) fn cast(&mut self, ty: Type, x: Value) -> Value {
        if self.b.func.dfg.value_type(x) == ty {
            return x;
        }
        self.b.ins().bitcast(ty, MemFlagsData::new().with_endianness(Endianness::Little), x)
    }

    fn integers(&self) -> Type {
        if self.is_vector() { I32X4 } else { I32 }
    }

    /// An integer in every lane.
    fn every(&mut self, c: i64) -> Value {
        let x = self.b.ins().iconst(I32, c);
        self.splat(self.integers(), x)
    }

    /// Loads whose elements are narrower than 32 bits, or integers.
    pub(super) fn load_narrow(&mut self, kind: LoadKind, a: &Addr) -> Result<Value, Bug> {
        match kind {
            LoadKind::I8 => {
                let x = self.raw_load(I8, a)?;
                Ok(self.b.ins().sextend(I64, x))
            }
            LoadKind::U16 => {
                let x = self.raw_load(I16, a)?;
                Ok(self.b.ins().uextend(I64, x))
            }
            LoadKind::F16 => {
                let x = self.raw_load(I16, a)?;
                let x = self.b.ins().uextend(I32, x);
                Ok(self.half(x))
            }
            LoadKind::SplatI32 => {
                let x = self.raw_load(I32, a)?;
                Ok(self.splat(self.integers(), x))
            }
            LoadKind::QuadI32 => self.raw_load(self.integers(), a),
            LoadKind::VI8 => self.widened(a, I8, true),
            LoadKind::VU8 => self.widened(a, I8, false),
            LoadKind::VI16 => self.widened(a, I16, true),
            LoadKind::VU16 => self.widened(a, I16, false),
            LoadKind::VF16 => {
                let x = self.widened(a, I16, false)?;
                Ok(self.half(x))
            }
            LoadKind::VBf16 => {
                let x = self.widened(a, I16, false)?;
                let x = self.b.ins().ishl_imm_u(x, 16);
                let ty = if self.is_vector() { F32X4 } else { F32 };
                Ok(self.cast(ty, x))
            }
            // The others have been handled.
            _ => self.raw_load(self.integers(), a),
        }
    }

    /// An element of type `ty` for each lane, extended to 32 bits.
    fn widened(&mut self, a: &Addr, ty: Type, signed: bool) -> Result<Value, Bug> {
        if !self.is_vector() {
            let x = self.raw_load(ty, a)?;
            return Ok(if signed { self.b.ins().sextend(I32, x) } else { self.b.ins().uextend(I32, x) });
        }
        let mut x = if ty == I8 {
            let x = self.raw_load(I32, a)?;
            let x = self.b.ins().scalar_to_vector(I32X4, x);
            let x = self.cast(I8X16, x);
            if signed { self.b.ins().swiden_low(x) } else { self.b.ins().uwiden_low(x) }
        } else {
            let x = self.raw_load(I64, a)?;
            let x = self.b.ins().scalar_to_vector(I64X2, x);
            self.cast(I16X8, x)
        };
        x = if signed { self.b.ins().swiden_low(x) } else { self.b.ins().uwiden_low(x) };
        Ok(x)
    }

    /// Half-precision floats in the low 16 bits of integers: see `f16_to_f32`.
    fn half(&mut self, x: Value) -> Value {
        let ty = self.b.func.dfg.value_type(x);
        let float = if ty == I32X4 { F32X4 } else { F32 };
        let constant = |t: &mut Self, c: i64| {
            let c = t.b.ins().iconst(I32, c);
            t.splat(ty, c)
        };
        let (low, top) = (constant(self, 0x7fff), constant(self, 0x8000));
        let (rest, sign) = (self.b.ins().band(x, low), self.b.ins().band(x, top));
        let sign = self.b.ins().ishl_imm_u(sign, 16);
        let bits = self.b.ins().ishl_imm_u(rest, 13);
        let value = self.cast(float, bits);
        let scale = self.float(f32::from_bits(0x7780_0000));
        let scale = self.splat(float, scale);
        let value = self.b.ins().fmul(value, scale);
        let value = self.cast(ty, value);
        let infinite = constant(self, 0x7f80_0000);
        let special = self.b.ins().bor(bits, infinite);
        let limit = constant(self, 0x7bff);
        let large = self.b.ins().icmp(IntCC::SignedGreaterThan, rest, limit);
        let value = if ty == I32X4 {
            self.b.ins().bitselect(large, special, value)
        } else {
            self.b.ins().select(large, special, value)
        };
        let value = self.b.ins().bor(value, sign);
        self.cast(float, value)
    }

    /// The low byte of each lane, as one word (or byte).
    pub(super) fn low_bytes(&mut self, x: Value) -> Value {
        if !self.is_vector() {
            return self.b.ins().ireduce(I8, x);
        }
        let low = self.every(0xff);
        let x = self.b.ins().band(x, low);
        let x = self.b.ins().snarrow(x, x);
        let x = self.b.ins().unarrow(x, x);
        let x = self.cast(I32X4, x);
        self.b.ins().extractlane(x, 0)
    }

    /// Byte by byte: the products are exact in 32 bits.
    pub(super) fn dot4(&mut self, acc: Val, u: Val, s: Val) -> Result<Value, Bug> {
        let (mut sum, u, s) = (self.get(acc)?, self.get(u)?, self.get(s)?);
        let low = self.every(0xff);
        for byte in 0..4 {
            let x = if byte == 3 {
                self.b.ins().ushr_imm_u(u, 24)
            } else {
                let x = if byte == 0 { u } else { self.b.ins().ushr_imm_u(u, 8 * byte) };
                self.b.ins().band(x, low)
            };
            let y = if byte == 3 { s } else { self.b.ins().ishl_imm_u(s, 24 - 8 * byte) };
            let y = self.b.ins().sshr_imm_u(y, 24);
            let product = self.b.ins().imul(x, y);
            sum = self.b.ins().iadd(sum, product);
        }
        Ok(sum)
    }

    /// A float for each lane of `i`, which `one` computes from it.
    pub(super) fn each_lane(&mut self, i: Value, one: &mut dyn FnMut(&mut Self, Value) -> Value) -> Result<Value, Bug> {
        if !self.is_vector() {
            return Ok(one(self, i));
        }
        let zero = self.float(0.0);
        let mut out = self.splat(F32X4, zero);
        for lane in 0..4 {
            let own = self.b.ins().extractlane(i, lane);
            let x = one(self, own);
            out = self.b.ins().insertlane(out, x, lane);
        }
        Ok(out)
    }

    /// Lanes of `a` by number. Through memory where no instruction chooses bytes by number.
    pub(super) fn permute(&mut self, a: Val, i: Val) -> Result<Value, Bug> {
        let (a, i) = (self.get(a)?, self.get(i)?);
        if !self.is_vector() {
            return Ok(a);
        }
        if self.target.swizzle {
            let most = self.every(3);
            let i = self.b.ins().band(i, most);
            let first = self.b.ins().ishl_imm_u(i, 2);
            let first = self.cast(I8X16, first);
            let lowest = self.bytes_of(std::array::from_fn(|i| i as u8 / 4 * 4));
            let first = self.b.ins().swizzle(first, lowest);
            let within = self.bytes_of(std::array::from_fn(|i| i as u8 % 4));
            let numbers = self.b.ins().iadd(first, within);
            let a = self.cast(I8X16, a);
            let x = self.b.ins().swizzle(a, numbers);
            return Ok(self.cast(F32X4, x));
        }
        let slot = self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4));
        self.b.ins().stack_store(I64, a, slot, 0);
        let base = self.b.ins().stack_addr(I64, slot, 0);
        let flags = MemFlagsData::new().with_notrap();
        let mut one = |t: &mut Self, i: Value| {
            let low = t.b.ins().band_imm_u(i, 3);
            let wide = t.b.ins().uextend(I64, low);
            let bytes = t.b.ins().ishl_imm_u(wide, 2);
            let at = t.b.ins().iadd(base, bytes);
            t.b.ins().load(F32, flags, at, 0)
        };
        self.each_lane(i, &mut one)
    }

    /// Bytes of `a` by number, zero where the top bit of the number is set. A swizzle gives zero for numbers of 16 and more.
    pub(super) fn bytes(&mut self, a: Val, i: Val) -> Result<Value, Bug> {
        let (a, i) = (self.get(a)?, self.get(i)?);
        if self.is_vector() && !self.target.swizzle {
            return Ok(self.bytes_in_memory(a, i));
        }
        if self.is_vector() {
            let kept = self.every(i64::from(0x8f8f_8f8fu32 as i32));
            let i = self.b.ins().band(i, kept);
            let (a, i) = (self.cast(I8X16, a), self.cast(I8X16, i));
            let x = self.b.ins().swizzle(a, i);
            return Ok(self.cast(I32X4, x));
        }
        // One lane has four bytes: a shift by 32 and more, and by a number with its top bit, gives nothing.
        let wide = self.b.ins().uextend(I64, a);
        let zero = self.b.ins().iconst(I64, 0);
        let mut out = zero;
        for k in 0..4 {
            let at = self.b.ins().ushr_imm_u(i, 8 * k);
            let at = self.b.ins().band_imm_u(at, 0x8f);
            let inside = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, at, 4);
            let low = self.b.ins().band_imm_u(at, 3);
            let bits = self.b.ins().ishl_imm_u(low, 3);
            let byte = self.b.ins().ushr(wide, bits);
            let byte = self.b.ins().band_imm_u(byte, 0xff);
            let byte = self.b.ins().select(inside, byte, zero);
            let byte = self.b.ins().ishl_imm_u(byte, 8 * k);
            out = self.b.ins().bor(out, byte);
        }
        Ok(self.b.ins().ireduce(I32, out))
    }

    /// [`Translator::bytes`] of vectors, byte by byte.
    fn bytes_in_memory(&mut self, a: Value, i: Value) -> Value {
        let slots = [(); 3].map(|()| {
            let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4);
            self.b.create_sized_stack_slot(slot)
        });
        self.b.ins().stack_store(I64, a, slots[0], 0);
        self.b.ins().stack_store(I64, i, slots[1], 0);
        let [table, numbers, out] = slots.map(|slot| self.b.ins().stack_addr(I64, slot, 0));
        let flags = MemFlagsData::new().with_notrap();
        for k in 0..16 {
            let number = self.b.ins().load(I8, flags, numbers, k);
            let number = self.b.ins().uextend(I64, number);
            let low = self.b.ins().band_imm_u(number, 15);
            let at = self.b.ins().iadd(table, low);
            let byte = self.b.ins().load(I8, flags, at, 0);
            let none = self.b.ins().iconst(I8, 0);
            let there = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, number, 0x80);
            let byte = self.b.ins().select(there, byte, none);
            self.b.ins().store(flags, byte, out, k);
        }
        self.b.ins().load(I32X4, flags, out, 0)
    }

    pub(super) fn zip(&mut self, high: bool, a: Val, b: Val) -> Result<Value, Bug> {
        let (a, b) = (self.get(a)?, self.get(b)?);
        if !self.is_vector() {
            return Ok(if high { b } else { a });
        }
        let first = if high { 8 } else { 0 };
        let byte =
            |i: u8| if (i / 4).is_multiple_of(2) { first + i / 8 * 4 + i % 4 } else { 16 + first + i / 8 * 4 + i % 4 };
        let mask: Vec<u8> = (0..16).map(byte).collect();
        let mask = self.b.func.dfg.immediates.push(mask.into());
        let (a, b) = (self.cast(I8X16, a), self.cast(I8X16, b));
        let x = self.b.ins().shuffle(a, b, mask);
        Ok(self.cast(F32X4, x))
    }

    pub(super) fn nearest(&mut self, a: Val) -> Result<Value, Bug> {
        let a = self.get(a)?;
        let whole = self.b.ins().nearest(a);
        let ty = self.integers();
        Ok(self.b.ins().fcvt_to_sint_sat(ty, whole))
    }

    pub(super) fn nearest_or_least(&mut self, a: Val) -> Result<Value, Bug> {
        let (near, x) = (self.nearest(a)?, self.get(a)?);
        let (ty, end) = (self.b.func.dfg.value_type(x), self.float(2_147_483_648.0));
        let end = self.splat(ty, end);
        let fits = self.b.ins().fcmp(FloatCC::LessThan, x, end);
        let (ty, least) = (self.integers(), self.b.ins().iconst(I32, i64::from(i32::MIN)));
        let least = self.splat(ty, least);
        if self.is_vector() {
            return Ok(self.b.ins().bitselect(fits, near, least));
        }
        Ok(self.b.ins().select(fits, near, least))
    }

    /// Lanes 0 and 1 meet lanes 2 and 3, then the two that are left meet.
    pub(super) fn reduce_integers(&mut self, f: RedFn, a: Val) -> Result<Value, Bug> {
        let a = self.get(a)?;
        if !self.is_vector() {
            return Ok(self.b.ins().sextend(I64, a));
        }
        let lane = |t: &mut Self, i: u8| t.b.ins().extractlane(a, i);
        let x = [lane(self, 0), lane(self, 1), lane(self, 2), lane(self, 3)];
        let both = |t: &mut Self, x: Value, y: Value| match f {
            RedFn::Add => t.b.ins().iadd(x, y),
            RedFn::Max => t.b.ins().smax(x, y),
            RedFn::Min => t.b.ins().smin(x, y),
        };
        let (low, high) = (both(self, x[0], x[2]), both(self, x[1], x[3]));
        let all = both(self, low, high);
        Ok(self.b.ins().sextend(I64, all))
    }
}
