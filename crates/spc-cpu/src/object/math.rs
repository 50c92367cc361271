//! The functions that kernels call, as code of the object: the same operations as [`spc_kernel::math`], so the same bits.
use super::module::{Body, Maker};
use crate::math::{lanes_symbol, symbol};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F64, I64};
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Value};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{FuncId, Linkage};
use spc_base::Bug;
use spc_kernel::math::{Arith, MathFn, evaluate, fused};
use std::collections::BTreeMap;

/// Stand-ins for instructions that the oldest processors lack.
pub(super) const FMA: &str = "spc_object_fma";
pub(super) const FLOOR: &str = "spc_object_floor";
pub(super) const NEAREST: &str = "spc_object_nearest";

/// Functions by what they compute: of one value, and over lanes.
#[derive(Default)]
pub(super) struct MathIds {
    pub scalar: BTreeMap<MathFn, FuncId>,
    pub lanes: BTreeMap<MathFn, FuncId>,
}

/// Adds those functions that are wanted.
pub(super) fn add(m: &mut Maker, wanted: impl Iterator<Item = MathFn>) -> Result<MathIds, Bug> {
    let mut ids = MathIds::default();
    m.local(FMA, &[F32, F32, F32], Some(F32), |f, args| {
        let wide: Vec<Value> = args.iter().map(|x| f.b.ins().fpromote(F64, *x)).collect();
        let sum = fused(&mut Emit { b: &mut f.b }, wide[0], wide[1], wide[2]);
        let x = f.b.ins().fdemote(F32, sum);
        f.give(x);
        Ok(())
    })?;
    m.local(FLOOR, &[F32], Some(F32), floor)?;
    m.local(NEAREST, &[F32], Some(F32), nearest)?;
    for f in wanted {
        if ids.scalar.contains_key(&f) {
            continue;
        }
        let scalar = define(m, f)?;
        ids.scalar.insert(f, scalar);
        ids.lanes.insert(f, by_lane(m, f, scalar)?);
    }
    Ok(ids)
}

fn define(m: &mut Maker, f: MathFn) -> Result<FuncId, Bug> {
    m.local(&symbol(f), &vec![F32; f.arity()], Some(F32), |body, args| {
        let a = body.b.ins().fpromote(F64, args[0]);
        let b = match args.get(1) {
            Some(b) => body.b.ins().fpromote(F64, *b),
            None => body.b.ins().f64const(0.0),
        };
        let x = evaluate(&mut Emit { b: &mut body.b }, f, a, b);
        let x = body.b.ins().fdemote(F32, x);
        body.give(x);
        Ok(())
    })
}

/// `data[i] = f(data[i], second[i])` for `i < n`.
fn by_lane(m: &mut Maker, f: MathFn, scalar: FuncId) -> Result<FuncId, Bug> {
    m.function(&lanes_symbol(f), Linkage::Local, &[I64, I64, I64], None, |body, args| {
        let (data, second, n) = (args[0], args[1], args[2]);
        body.repeat(n, |body, i| {
            let at = body.b.ins().ishl_imm_u(i, 2);
            let p = body.b.ins().iadd(data, at);
            let mut operands = vec![body.load_as(F32, p, 0)];
            if f.arity() == 2 {
                let q = body.b.ins().iadd(second, at);
                operands.push(body.load_as(F32, q, 0));
            }
            if let Some(x) = body.call(scalar, &operands) {
                body.store(x, p, 0);
            }
        });
        body.b.ins().return_(&[]);
        Ok(())
    })
}

fn floor(f: &mut Body<'_>, args: &[Value]) -> Result<(), Bug> {
    let x = args[0];
    let n = f.b.ins().fcvt_to_sint_sat(I64, x);
    let cut = f.b.ins().fcvt_from_sint(F32, n);
    let above = f.b.ins().fcmp(FloatCC::GreaterThan, cut, x);
    let one = f.b.ins().f32const(1.0);
    let less = f.b.ins().fsub(cut, one);
    let whole = f.b.ins().select(above, less, cut);
    // From 2^23 on all are whole; NaN fails the comparison; zeros keep their sign.
    let (size, limit) = (f.b.ins().fabs(x), f.b.ins().f32const(8_388_608.0));
    let small = f.b.ins().fcmp(FloatCC::LessThan, size, limit);
    let zero = f.b.ins().f32const(0.0);
    let is_zero = f.b.ins().fcmp(FloatCC::Equal, x, zero);
    let value = f.b.ins().select(small, whole, x);
    let value = f.b.ins().select(is_zero, x, value);
    f.give(value);
    Ok(())
}

/// Ties to even. Between 2^23 and 2^24 floats are the integers.
fn nearest(f: &mut Body<'_>, args: &[Value]) -> Result<(), Bug> {
    let x = args[0];
    let (size, limit) = (f.b.ins().fabs(x), f.b.ins().f32const(8_388_608.0));
    let up = f.b.ins().fadd(size, limit);
    let whole = f.b.ins().fsub(up, limit);
    let whole = f.b.ins().fcopysign(whole, x);
    // Larger ones are whole, and NaN fails the comparison.
    let small = f.b.ins().fcmp(FloatCC::LessThan, size, limit);
    let value = f.b.ins().select(small, whole, x);
    f.give(value);
    Ok(())
}

/// Emits CLIF for each operation.
struct Emit<'a, 'f> {
    b: &'a mut FunctionBuilder<'f>,
}

impl Arith for Emit<'_, '_> {
    type F = Value;
    type I = Value;
    type B = Value;

    fn float(&mut self, x: f64) -> Value {
        self.b.ins().f64const(x)
    }

    fn int(&mut self, x: i64) -> Value {
        self.b.ins().iconst(I64, x)
    }

    fn add(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().fadd(a, b)
    }

    fn sub(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().fsub(a, b)
    }

    fn mul(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().fmul(a, b)
    }

    fn div(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().fdiv(a, b)
    }

    fn iadd(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().iadd(a, b)
    }

    fn isub(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().isub(a, b)
    }

    fn imul(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().imul(a, b)
    }

    fn iand(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().band(a, b)
    }

    fn ior(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().bor(a, b)
    }

    fn shl(&mut self, a: Value, n: Value) -> Value {
        self.b.ins().ishl(a, n)
    }

    fn shr(&mut self, a: Value, n: Value) -> Value {
        self.b.ins().ushr(a, n)
    }

    fn bits(&mut self, x: Value) -> Value {
        self.b.ins().bitcast(I64, MemFlagsData::new().with_endianness(Endianness::Little), x)
    }

    fn float_of(&mut self, x: Value) -> Value {
        self.b.ins().bitcast(F64, MemFlagsData::new().with_endianness(Endianness::Little), x)
    }

    fn to_float(&mut self, x: Value) -> Value {
        self.b.ins().fcvt_from_sint(F64, x)
    }

    fn to_int(&mut self, x: Value) -> Value {
        self.b.ins().fcvt_to_sint_sat(I64, x)
    }

    fn lt(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().fcmp(FloatCC::LessThan, a, b)
    }

    fn eq(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().fcmp(FloatCC::Equal, a, b)
    }

    fn ilt(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().icmp(IntCC::SignedLessThan, a, b)
    }

    fn ieq(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().icmp(IntCC::Equal, a, b)
    }

    fn and(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().band(a, b)
    }

    fn not(&mut self, a: Value) -> Value {
        self.b.ins().bxor_imm_u(a, 1)
    }

    fn select(&mut self, c: Value, a: Value, b: Value) -> Value {
        self.b.ins().select(c, a, b)
    }

    fn iselect(&mut self, c: Value, a: Value, b: Value) -> Value {
        self.b.ins().select(c, a, b)
    }
}
