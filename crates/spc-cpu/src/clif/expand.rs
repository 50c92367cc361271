//! Packed lanes, spread over those that a mask names.
use super::Translator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32X4, I8X16, I32, I32X4, I64};
use cranelift_codegen::ir::{ConstantData, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Value};
use spc_base::Bug;
use spc_kernel::ir::Val;

/// For each of the four lowest bits a byte of 0 or 1: four copies of a nibble, one shifted by seven bits from the next.
const SPREAD: i64 = 0x0020_4081;
const ONES: i64 = 0x0101_0101;

impl Translator<'_, '_> {
    /// The lanes of `a` in order, over the lanes whose bits in `m` are one; zero in the others.
    pub(super) fn expand(&mut self, a: Val, m: Val) -> Result<Value, Bug> {
        let (a, m) = (self.get(a)?, self.get(m)?);
        if !self.is_vector() {
            let zero = self.float(0.0);
            let bit = self.b.ins().band_imm_u(m, 1);
            let there = self.b.ins().icmp_imm_u(IntCC::NotEqual, bit, 0);
            return Ok(self.b.ins().select(there, a, zero));
        }
        let bits = self.b.ins().ireduce(I32, m);
        let bits = self.b.ins().band_imm_u(bits, 15);
        let bits = self.b.ins().imul_imm_u(bits, SPREAD);
        // Byte i: whether lane i is there; then how many are before it.
        let there = self.b.ins().band_imm_u(bits, ONES);
        let sums = self.b.ins().imul_imm_u(there, ONES);
        let before = self.b.ins().ishl_imm_u(sums, 8);
        if !self.target.swizzle {
            return Ok(self.expand_in_memory(a, there, before));
        }
        let first = self.b.ins().ishl_imm_u(before, 2);
        let absent = self.b.ins().bxor_imm_u(there, ONES);
        let absent = self.b.ins().ishl_imm_u(absent, 7);
        let numbers = self.b.ins().bor(first, absent);
        let numbers = self.b.ins().splat(I32X4, numbers);
        let numbers = self.cast(I8X16, numbers);
        let own = self.bytes_of(std::array::from_fn(|i| i as u8 / 4));
        let numbers = self.b.ins().swizzle(numbers, own);
        let within = self.bytes_of(std::array::from_fn(|i| i as u8 % 4));
        let numbers = self.b.ins().iadd(numbers, within);
        let a = self.cast(I8X16, a);
        // Numbers of 16 and more give zero.
        let x = self.b.ins().swizzle(a, numbers);
        Ok(self.cast(F32X4, x))
    }

    pub(super) fn bytes_of(&mut self, bytes: [u8; 16]) -> Value {
        let constant = self.b.func.dfg.constants.insert(ConstantData::from(&bytes[..]));
        self.b.ins().vconst(I8X16, constant)
    }

    /// [`Translator::expand`] where no instruction chooses bytes by number.
    fn expand_in_memory(&mut self, a: Value, there: Value, before: Value) -> Value {
        let slot = self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4));
        self.b.ins().stack_store(I64, a, slot, 0);
        let base = self.b.ins().stack_addr(I64, slot, 0);
        let flags = MemFlagsData::new().with_notrap();
        let zero = self.b.ins().iconst(I32, 0);
        let mut out = self.b.ins().splat(I32X4, zero);
        for lane in 0..4u8 {
            let byte = |t: &mut Self, of: Value| {
                let x = t.b.ins().ushr_imm_u(of, 8 * i64::from(lane));
                t.b.ins().band_imm_u(x, 3)
            };
            let (own, number) = (byte(self, there), byte(self, before));
            let number = self.b.ins().uextend(I64, number);
            let skip = self.b.ins().ishl_imm_u(number, 2);
            let at = self.b.ins().iadd(base, skip);
            let x = self.b.ins().load(I32, flags, at, 0);
            let kept = self.b.ins().ineg(own);
            let x = self.b.ins().band(x, kept);
            out = self.b.ins().insertlane(out, x, lane);
        }
        self.cast(F32X4, out)
    }
}
