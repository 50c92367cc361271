//! Loop IR to CLIF. A vector of 4 lanes is `f32x4`, a vector of 1 lane is `f32`; other lane counts are refused.
//!
//! | loop IR | CLIF |
//! | --- | --- |
//! | `i64`, `ptr`, `cptr` | `i64` |
//! | `f32` | `f32` |
//! | `vf32` | `f32x4`, or `f32` with one lane |
//! | `vi32` | `i32x4`, or `i32` with one lane |
//! | `bool` | `i8`, 0 or 1 |
//! | `vbool` | `i32x4`, 0 or -1 in each lane, or `i8` with one lane |

mod expand;
mod flow;
mod memory;
mod movable;
mod narrow;
mod ops;

use crate::host::{Features, Target, isa};
use cranelift_codegen::ir::types::{F32, F32X4, I8, I32, I32X4, I64};
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, MemFlagsData, Signature, Type, UserFuncName,
    Value,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use movable::Depths;
use spc_base::Bug;
use spc_kernel::ir::{Kernel, Ty, Val};
use spc_kernel::math::MathFn;

/// Gives the function reference of a math function inside the function being built.
pub(crate) type Import<'a> = &'a mut dyn FnMut(&mut Function, MathFn) -> Result<FuncRef, Bug>;

/// Signature of every kernel: one pointer to an argument block of 64-bit words.
pub(crate) fn kernel_signature(call_conv: CallConv) -> Signature {
    let mut s = Signature::new(call_conv);
    s.params.push(AbiParam::new(I64));
    s
}

/// Signature of a math function.
pub(crate) fn math_signature(f: MathFn, call_conv: CallConv) -> Signature {
    let mut s = Signature::new(call_conv);
    s.params.extend((0..f.arity()).map(|_| AbiParam::new(F32)));
    s.returns.push(AbiParam::new(F32));
    s
}

struct Translator<'a, 'f> {
    kernel: &'a Kernel,
    b: FunctionBuilder<'f>,
    values: Vec<Option<Value>>,
    depths: Depths,
    /// Number of open loops.
    depth: u32,
    /// Line of the kernel's text, from 0.
    line: u32,
    target: Target,
    import: Import<'a>,
}

/// Fills `func`, whose signature is [`kernel_signature`].
pub(crate) fn translate(
    kernel: &Kernel,
    target: Target,
    func: &mut Function,
    scratch: &mut FunctionBuilderContext,
    import: Import<'_>,
) -> Result<(), Bug> {
    let fail = |e: &str| Bug::new(format!("kernel {}: {e}", kernel.name));
    kernel.verify().map_err(|e| fail(&e))?;
    if !matches!(kernel.lanes, 1 | 4) {
        return Err(fail(&format!("CLIF has no vectors of {} lanes", kernel.lanes)));
    }
    let mut b = FunctionBuilder::new(func, scratch);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let block = b.block_params(entry).first().copied().ok_or_else(|| fail("no argument block"))?;
    let mut values = vec![None; kernel.tys.len()];
    for (i, slot) in values.iter_mut().enumerate().take(kernel.params.len()) {
        let flags = MemFlagsData::trusted().with_readonly().with_can_move();
        *slot = Some(b.ins().load(I64, flags, block, 8 * i as i32));
    }
    let depths = Depths::of(kernel);
    let mut t = Translator { kernel, b, values, depths, depth: 0, line: 0, target, import };
    t.body(&kernel.body)?;
    t.b.ins().return_(&[]);
    t.b.seal_all_blocks();
    t.b.finalize(target.config);
    Ok(())
}

/// The function as CLIF text, before optimisation, the same on every host.
pub fn clif_text(kernel: &Kernel) -> Result<String, Bug> {
    let call_conv = CallConv::SystemV;
    let name = UserFuncName::testcase(&kernel.name);
    let mut func = Function::with_name_signature(name, kernel_signature(call_conv));
    let target = Target { fold_loads: true, swizzle: true, ..Target::of(isa(Features::Baseline)?.as_ref()) };
    let mut import = |func: &mut Function, f: MathFn| {
        let signature = func.import_signature(math_signature(f, call_conv));
        let name = ExternalName::testcase(f.name());
        Ok(func.import_function(ExtFuncData { name, signature, colocated: false, patchable: false }))
    };
    translate(kernel, target, &mut func, &mut FunctionBuilderContext::new(), &mut import)?;
    // Lines of the kernel would be printed before each instruction.
    func.srclocs.clear();
    Ok(func.display().to_string())
}

impl Translator<'_, '_> {
    fn fail<T>(&self, e: &str) -> Result<T, Bug> {
        Err(Bug::new(format!("kernel {}: {e}", self.kernel.name)))
    }

    fn get(&self, v: Val) -> Result<Value, Bug> {
        match self.values.get(v.index()).copied().flatten() {
            Some(x) => Ok(x),
            None => self.fail(&format!("{v} has no CLIF value")),
        }
    }

    fn set(&mut self, v: Val, x: Value) {
        if let Some(slot) = self.values.get_mut(v.index()) {
            *slot = Some(x);
        }
    }

    fn is_vector(&self) -> bool {
        self.kernel.lanes > 1
    }

    fn clif_type(&self, ty: Ty) -> Type {
        match ty {
            Ty::I64 | Ty::Ptr | Ty::CPtr => I64,
            Ty::VF32 if self.is_vector() => F32X4,
            Ty::VBool | Ty::VI32 if self.is_vector() => I32X4,
            Ty::VI32 => I32,
            Ty::F32 | Ty::VF32 => F32,
            Ty::Bool | Ty::VBool => I8,
        }
    }

    /// CLIF type of a value.
    fn type_of(&self, v: Val) -> Result<Type, Bug> {
        match self.kernel.ty(v) {
            Some(t) => Ok(self.clif_type(t)),
            None => self.fail(&format!("{v} has no type")),
        }
    }

    fn float(&mut self, x: f32) -> Value {
        self.b.ins().f32const(x)
    }

    fn splat(&mut self, ty: Type, x: Value) -> Value {
        if ty.is_vector() { self.b.ins().splat(ty, x) } else { x }
    }
}
