//! Kernels to machine code in memory.
#![allow(unsafe_code)]
use crate::clif::{kernel_signature, math_signature, translate};
use crate::host::{Features, Isa, Target, isa};
use crate::math;
use crate::share::{self, Threads};
use crate::wide;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AbiParam, Function, Signature};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilderContext;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleReloc, default_libcall_names};
use spc_base::Bug;
use spc_kernel::ir::Kernel;
use spc_kernel::math::MathFn;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Compiled kernels. Owns the machine code and frees it when dropped.
pub struct JitModule {
    /// `None` only while dropping.
    module: Option<JITModule>,
    functions: Vec<*const u8>,
    arity: Vec<usize>,
    sizes: Vec<usize>,
    isas: Vec<Isa>,
}

// SAFETY: after construction the machine code is never changed, and `JITModule` is only touched again by `drop`.
unsafe impl Send for JitModule {}
// SAFETY: as above; shared use reads function addresses only.
unsafe impl Sync for JitModule {}

/// Compiles kernels for this machine with Cranelift, function `i` from kernel `i`.
pub fn compile(kernels: &[Kernel]) -> Result<JitModule, Bug> {
    compile_for(kernels, Features::Host)
}

/// As [`compile`], with a choice of instructions.
pub fn compile_for(kernels: &[Kernel], features: Features) -> Result<JitModule, Bug> {
    build(kernels, features, Isa::Clif, false)
}

/// Compiles kernels for `isa`, function `i` from kernel `i`; those that [`wide::supported`] refuses, with Cranelift.
/// [`JitModule::isa`] tells which it was. With `check`, register allocations are proved right.
pub fn compile_wide(kernels: &[Kernel], isa: Isa, check: bool) -> Result<JitModule, Bug> {
    if !isa.is_available() {
        return Err(Bug::new(format!("this machine has no {}", isa.name())));
    }
    build(kernels, Features::Host, isa, check)
}

fn build(kernels: &[Kernel], features: Features, wide: Isa, check: bool) -> Result<JitModule, Bug> {
    let mut builder = JITBuilder::with_isa(isa(features)?, default_libcall_names());
    builder.symbols(math::symbols());
    let mut module = JITModule::new(builder);
    match define_all(&mut module, kernels, wide, check) {
        Ok(defined) => {
            let functions = defined.iter().map(|d| module.get_finalized_function(d.id)).collect();
            Ok(JitModule {
                module: Some(module),
                functions,
                arity: kernels.iter().map(|k| k.params.len()).collect(),
                sizes: defined.iter().map(|d| d.size).collect(),
                isas: defined.iter().map(|d| d.isa).collect(),
            })
        }
        Err(e) => {
            // SAFETY: no function of the module was handed out.
            unsafe { module.free_memory() };
            Err(e)
        }
    }
}

struct Defined {
    id: FuncId,
    size: usize,
    isa: Isa,
}

fn define_all(module: &mut JITModule, kernels: &[Kernel], wide: Isa, check: bool) -> Result<Vec<Defined>, Bug> {
    if kernels.iter().any(Kernel::uses_tiles) {
        // Asked for before the first of them runs. Whether the machine has them the caller knows, as for all instruction sets.
        crate::tiles::permitted();
    }
    let fail = |e: String| Bug::new(format!("jit: {e}"));
    let target = Target::of(module.isa());
    let config = target.config;
    let (mut imports, mut by_lane) = (BTreeMap::new(), BTreeMap::new());
    for f in MathFn::ALL {
        let signature = math_signature(f, config.default_call_conv);
        let id = module.declare_function(&math::symbol(f), Linkage::Import, &signature);
        imports.insert(f, id.map_err(|e| fail(e.to_string()))?);
        let id = module.declare_function(&math::lanes_symbol(f), Linkage::Import, &lanes_signature());
        by_lane.insert(f, id.map_err(|e| fail(e.to_string()))?);
    }
    let mut scratch = FunctionBuilderContext::new();
    let mut ctx = module.make_context();
    let mut defined = Vec::new();
    for k in kernels {
        let narrow = wide::supported(k, wide).is_err();
        let call_conv = if narrow { config.default_call_conv } else { CallConv::SystemV };
        let signature = kernel_signature(call_conv);
        let id = module.declare_anonymous_function(&signature).map_err(|e| fail(e.to_string()))?;
        if !narrow {
            let size = define_wide(module, id, k, wide, check, &by_lane)?;
            defined.push(Defined { id, size, isa: wide });
            continue;
        }
        module.clear_context(&mut ctx);
        ctx.func.signature = signature;
        let mut import = |func: &mut Function, f: MathFn| {
            let id = imports.get(&f).ok_or_else(|| Bug::new("jit: unknown math function"))?;
            Ok(module.declare_func_in_func(*id, func))
        };
        translate(k, target, &mut ctx.func, &mut scratch, &mut import)?;
        module.define_function(id, &mut ctx).map_err(|e| fail(format!("kernel {}: {e}", k.name)))?;
        let size = ctx.compiled_code().map_or(0, |c| c.code_buffer().len());
        defined.push(Defined { id, size, isa: Isa::Clif });
    }
    module.finalize_definitions().map_err(|e| fail(e.to_string()))?;
    Ok(defined)
}

/// Signature of [`math::lanes_symbol`].
fn lanes_signature() -> Signature {
    let mut s = Signature::new(CallConv::SystemV);
    s.params.extend([AbiParam::new(I64); 3]);
    s
}

/// Defines a kernel by the wide executor's bytes and gives their number.
fn define_wide(
    module: &mut JITModule,
    id: FuncId,
    k: &Kernel,
    isa: Isa,
    check: bool,
    by_lane: &BTreeMap<MathFn, FuncId>,
) -> Result<usize, Bug> {
    let machine = wide::machine_code(k, isa, check)?;
    let reloc = |(at, f): &(usize, MathFn)| {
        let name = by_lane.get(f).ok_or_else(|| Bug::new("jit: unknown math function"))?;
        Ok(ModuleReloc { offset: *at as u32, kind: Reloc::Abs8, name: (*name).into(), addend: 0 })
    };
    let relocs = machine.calls.iter().map(reloc).collect::<Result<Vec<_>, Bug>>()?;
    let done = module.define_function_bytes(id, 64, &machine.bytes, &relocs);
    done.map_err(|e| Bug::new(format!("jit: kernel {}: {e}", k.name)))?;
    Ok(machine.bytes.len())
}

/// The machine code of one kernel for this machine as assembly text, for people and tests.
pub fn assembly(kernel: &Kernel) -> Result<String, Bug> {
    let isa = isa(Features::Host)?;
    let fail = |e: String| Bug::new(format!("assembly of {}: {e}", kernel.name));
    let mut builder = JITBuilder::with_isa(isa.clone(), default_libcall_names());
    builder.symbols(math::symbols());
    let mut module = JITModule::new(builder);
    let target = Target::of(module.isa());
    let config = target.config;
    let mut ctx = module.make_context();
    ctx.func.signature = kernel_signature(config.default_call_conv);
    let mut import = |func: &mut Function, f: MathFn| {
        let signature = math_signature(f, config.default_call_conv);
        let id = module.declare_function(&math::symbol(f), Linkage::Import, &signature);
        id.map(|id| module.declare_func_in_func(id, func)).map_err(|e| fail(e.to_string()))
    };
    let built = translate(kernel, target, &mut ctx.func, &mut FunctionBuilderContext::new(), &mut import);
    let text = built.and_then(|()| {
        ctx.set_disasm(true);
        let code = ctx.compile(isa.as_ref(), &mut Default::default()).map_err(|e| fail(format!("{:?}", e.inner)))?;
        code.vcode.clone().ok_or_else(|| fail("no text".into()))
    });
    // SAFETY: the module holds no finished function.
    unsafe { module.free_memory() };
    text
}

impl JitModule {
    /// Number of compiled kernels.
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Bytes of machine code of a kernel.
    pub fn code_size(&self, kernel: usize) -> Option<usize> {
        self.sizes.get(kernel).copied()
    }

    /// What compiled a kernel.
    pub fn isa(&self, kernel: usize) -> Option<Isa> {
        self.isas.get(kernel).copied()
    }

    /// Calls kernel number `kernel` with one word for each parameter: integers as they are, pointers as addresses.
    ///
    /// # Safety
    ///
    /// Run by the interpreter on buffers of the same sizes and contents, the kernel must stay inside them; the memory
    /// behind `cptr` arguments must not be written and the memory behind `ptr` arguments not be used by others meanwhile.
    pub unsafe fn call(&self, kernel: usize, args: &[u64]) -> Result<(), Bug> {
        let (Some(f), Some(n)) = (self.functions.get(kernel), self.arity.get(kernel)) else {
            return Err(Bug::new(format!("jit: no kernel {kernel}")));
        };
        if args.len() != *n {
            return Err(Bug::new(format!("jit: {} arguments for {n} parameters", args.len())));
        }
        // SAFETY: `f` was compiled with this signature and lives as long as `self`.
        let f = unsafe { std::mem::transmute::<*const u8, extern "C" fn(*const u64)>(*f) };
        f(args.as_ptr());
        Ok(())
    }
}

/// An outermost loop to be shared out: the parameters `lo` and `hi` of a kernel, by position, and the whole range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    pub lo_param: usize,
    pub hi_param: usize,
    pub lo: i64,
    pub hi: i64,
}

/// Parts for each thread, so that threads that meet fewer stored elements take more parts.
pub(crate) const PARTS_PER_THREAD: usize = 4;

impl JitModule {
    /// Calls a kernel on consecutive parts of a range, on the threads of `pool`. Each index of the range is computed in
    /// the same way whatever part it falls in, so the bits of the result do not depend on the number of threads.
    ///
    /// # Safety
    ///
    /// As for [`JitModule::call`], for the whole range; and different indices of the range must write different memory.
    pub unsafe fn run_split(&self, kernel: usize, args: &[u64], split: Split, pool: &dyn Threads) -> Result<(), Bug> {
        // SAFETY: promised by the caller.
        unsafe { self.run_split_by(kernel, args, split, None, pool) }
    }

    /// As [`JitModule::run_split`], for a range from 0 on with the numbers of stored elements before each index and at the end:
    /// parts hold about as many each.
    ///
    /// # Safety
    ///
    /// As for [`JitModule::run_split`].
    pub unsafe fn run_split_by(
        &self,
        kernel: usize,
        args: &[u64],
        split: Split,
        stored: Option<&[u32]>,
        pool: &dyn Threads,
    ) -> Result<(), Bug> {
        if split.lo_param >= args.len() || split.hi_param >= args.len() {
            return Err(Bug::new("jit: the range of a kernel is not among its parameters"));
        }
        let n = usize::try_from(i128::from(split.hi) - i128::from(split.lo)).unwrap_or(0);
        let parts = if pool.count() <= 1 { n.min(1) } else { n.min(pool.count().saturating_mul(PARTS_PER_THREAD)) };
        let failed = Mutex::new(None);
        pool.run(parts, &|part| {
            // The whole range fits i64, so the cuts do too.
            let cut = |i: usize| (i128::from(split.lo) + share::cut(n, i, parts, stored) as i128) as i64;
            let mut args = args.to_vec();
            args[split.lo_param] = cut(part) as u64;
            args[split.hi_param] = cut(part + 1) as u64;
            // SAFETY: promised by the caller.
            if let Err(e) = unsafe { self.call(kernel, &args) } {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }
}

impl Drop for JitModule {
    fn drop(&mut self) {
        if let Some(m) = self.module.take() {
            // SAFETY: calls borrow `self`, so none is running, and no function address leaves this type.
            unsafe { m.free_memory() };
        }
    }
}
