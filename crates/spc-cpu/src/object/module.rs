//! An object being made: declarations, functions in CLIF, data.
use crate::host::Isa;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::types::{I8, I64};
use cranelift_codegen::ir::{AbiParam, FuncRef, InstBuilder, LibCall, Signature, Type, Value};
use cranelift_codegen::isa::{OwnedTargetIsa, lookup_by_name};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, ir};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module, ModuleReloc, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};
use spc_base::Bug;

/// The processor family that an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    /// That of this machine.
    pub fn host() -> Option<Arch> {
        if cfg!(target_arch = "x86_64") {
            Some(Arch::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Arch::Aarch64)
        } else {
            None
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// Instruction sets that an object for it holds, the one that every processor has first.
    pub fn variants(self) -> &'static [Isa] {
        match self {
            Arch::X86_64 => &VARIANTS,
            Arch::Aarch64 => &[Isa::Clif],
        }
    }

    /// Whether this build of spc can make code for it.
    pub fn is_built(self) -> bool {
        lookup_by_name(self.triple()).is_ok()
    }

    fn triple(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-unknown-linux-gnu",
            Arch::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }
}

/// Tiles are left out: a process must ask its operating system for them before their first use, which a function of a library
/// cannot do for its caller unseen.
const VARIANTS: [Isa; 4] = [Isa::Clif, Isa::Avx2, Isa::Avx512, Isa::Avx512Vnni];

/// What Cranelift may use where a kernel of a wide program goes to it.
fn extensions(arch: Arch, isa: Isa) -> &'static [&'static str] {
    const AVX2: [&str; 11] = [
        "has_sse3",
        "has_ssse3",
        "has_sse41",
        "has_sse42",
        "has_popcnt",
        "has_avx",
        "has_avx2",
        "has_fma",
        "has_bmi1",
        "has_bmi2",
        "has_lzcnt",
    ];
    match (arch, isa) {
        (Arch::X86_64, Isa::Avx2 | Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx) => &AVX2,
        _ => &[],
    }
}

pub(super) fn target_isa(arch: Arch, isa: Isa) -> Result<OwnedTargetIsa, Bug> {
    let fail = |e: &dyn std::fmt::Display| Bug::new(format!("cranelift: {e}"));
    let mut flags = settings::builder();
    for (name, value) in [("opt_level", "speed"), ("is_pic", "true"), ("enable_probestack", "false")] {
        flags.set(name, value).map_err(|e| fail(&e))?;
    }
    let mut builder = lookup_by_name(arch.triple()).map_err(|e| fail(&e))?;
    for name in extensions(arch, isa) {
        builder.enable(name).map_err(|e| fail(&e))?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| fail(&e))
}

/// Names of the functions that stand in for instructions; those that the object defines are its own.
fn libcall(call: LibCall) -> String {
    match call {
        LibCall::FmaF32 => super::math::FMA.into(),
        LibCall::FloorF32 => super::math::FLOOR.into(),
        LibCall::NearestF32 => super::math::NEAREST.into(),
        other => default_libcall_names()(other),
    }
}

/// The object and what its functions are made with.
pub(super) struct Maker {
    pub module: ObjectModule,
    pub arch: Arch,
    scratch: FunctionBuilderContext,
}

/// Signature of the C calling convention: types of parameters and of the result.
pub(super) fn signature(m: &Maker, params: &[Type], result: Option<Type>) -> Signature {
    let mut s = m.module.make_signature();
    s.params.extend(params.iter().map(|t| AbiParam::new(*t)));
    s.returns.extend(result.map(AbiParam::new));
    s
}

impl Maker {
    pub fn new(name: &str, arch: Arch) -> Result<Maker, Bug> {
        let builder = ObjectBuilder::new(target_isa(arch, Isa::Clif)?, name, Box::new(libcall));
        let builder = builder.map_err(|e| Bug::new(format!("object: {e}")))?;
        Ok(Maker { module: ObjectModule::new(builder), arch, scratch: FunctionBuilderContext::new() })
    }

    pub fn declare(&mut self, name: &str, linkage: Linkage, s: &Signature) -> Result<FuncId, Bug> {
        self.module.declare_function(name, linkage, s).map_err(|e| Bug::new(format!("object: {name}: {e}")))
    }

    /// Declares a function that only the object calls, and defines it.
    pub fn local(
        &mut self,
        name: &str,
        params: &[Type],
        result: Option<Type>,
        body: impl FnOnce(&mut Body<'_>, &[Value]) -> Result<(), Bug>,
    ) -> Result<FuncId, Bug> {
        self.function(name, Linkage::Local, params, result, body)
    }

    pub fn function(
        &mut self,
        name: &str,
        linkage: Linkage,
        params: &[Type],
        result: Option<Type>,
        body: impl FnOnce(&mut Body<'_>, &[Value]) -> Result<(), Bug>,
    ) -> Result<FuncId, Bug> {
        let s = signature(self, params, result);
        let id = self.declare(name, linkage, &s)?;
        let mut ctx = self.module.make_context();
        ctx.func.signature = s;
        let config = self.module.isa().frontend_config();
        let mut b = FunctionBuilder::new(&mut ctx.func, &mut self.scratch);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let args = b.block_params(entry).to_vec();
        let mut f = Body { b, module: &mut self.module };
        body(&mut f, &args)?;
        f.b.seal_all_blocks();
        f.b.finalize(config);
        self.module.define_function(id, &mut ctx).map_err(|e| Bug::new(format!("object: {name}: {e:?}")))?;
        Ok(id)
    }

    /// Compiles a function for another instruction set than that of the object and defines it.
    pub fn define_for(&mut self, id: FuncId, ctx: &mut Context, isa: &OwnedTargetIsa) -> Result<(), Bug> {
        let fail = |e: String| Bug::new(format!("object: {e}"));
        ctx.compile(isa.as_ref(), &mut ControlPlane::default()).map_err(|e| fail(format!("{:?}", e.inner)))?;
        let code = ctx.compiled_code().ok_or_else(|| fail("no code".into()))?;
        let relocs: Vec<ModuleReloc> =
            code.buffer.relocs().iter().map(|r| ModuleReloc::from_mach_reloc(r, &ctx.func, id)).collect();
        let align = u64::from(code.buffer.alignment);
        let done = self.module.define_function_bytes(id, align, code.buffer.data(), &relocs);
        done.map_err(|e| fail(e.to_string()))
    }

    /// Constant data, aligned to 64 bytes, with addresses of functions at the given places.
    pub fn data(&mut self, name: &str, bytes: Vec<u8>, functions: &[(usize, FuncId)]) -> Result<DataId, Bug> {
        let fail = |e: cranelift_module::ModuleError| Bug::new(format!("object: {name}: {e}"));
        let id = self.module.declare_data(name, Linkage::Local, false, false).map_err(fail)?;
        let mut d = DataDescription::new();
        d.define(bytes.into_boxed_slice());
        d.set_align(64);
        for (at, f) in functions {
            let f = self.module.declare_func_in_data(*f, &mut d);
            d.write_function_addr(*at as u32, f);
        }
        self.module.define_data(id, &d).map_err(fail)?;
        Ok(id)
    }

    /// One writable word, 0 at first.
    pub fn word(&mut self, name: &str) -> Result<DataId, Bug> {
        let fail = |e: cranelift_module::ModuleError| Bug::new(format!("object: {name}: {e}"));
        let id = self.module.declare_data(name, Linkage::Local, true, false).map_err(fail)?;
        let mut d = DataDescription::new();
        d.define_zeroinit(8);
        d.set_align(8);
        self.module.define_data(id, &d).map_err(fail)?;
        Ok(id)
    }
}

/// The body of a function. Integers are 64 bits wide.
pub(super) struct Body<'f> {
    pub b: FunctionBuilder<'f>,
    pub module: &'f mut ObjectModule,
}

impl Body<'_> {
    pub fn int(&mut self, x: i64) -> Value {
        self.b.ins().iconst(I64, x)
    }

    pub fn load(&mut self, at: Value, offset: i32) -> Value {
        self.load_as(I64, at, offset)
    }

    pub fn load_as(&mut self, ty: Type, at: Value, offset: i32) -> Value {
        self.b.ins().load(ty, ir::MemFlagsData::trusted(), at, Offset32::new(offset))
    }

    pub fn store(&mut self, x: Value, at: Value, offset: i32) {
        self.b.ins().store(ir::MemFlagsData::trusted(), x, at, Offset32::new(offset));
    }

    /// Address of that many bytes of the stack, aligned to 16.
    pub fn stack(&mut self, bytes: usize) -> Value {
        let data = ir::StackSlotData::new(ir::StackSlotKind::ExplicitSlot, bytes.max(8) as u32, 4);
        let slot = self.b.create_sized_stack_slot(data);
        self.b.ins().stack_addr(I64, slot, 0)
    }

    pub fn callee(&mut self, id: FuncId) -> FuncRef {
        self.module.declare_func_in_func(id, self.b.func)
    }

    pub fn address_of(&mut self, data: DataId) -> Value {
        let g = self.module.declare_data_in_func(data, self.b.func);
        self.b.ins().symbol_value(I64, g)
    }

    /// Calls a function; its result, if it has one.
    pub fn call(&mut self, id: FuncId, args: &[Value]) -> Option<Value> {
        let callee = self.callee(id);
        let call = self.b.ins().call(callee, args);
        self.b.inst_results(call).first().copied()
    }

    pub fn call_pointer(&mut self, s: Signature, f: Value, args: &[Value]) {
        let s = self.b.import_signature(s);
        self.b.ins().call_indirect(s, f, args);
    }

    /// `if c { then }`; `then` may end in a return, and says so by `true`.
    pub fn when(&mut self, c: Value, then: impl FnOnce(&mut Self) -> bool) {
        let (yes, next) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(c, yes, &[], next, &[]);
        self.b.switch_to_block(yes);
        if !then(self) {
            self.b.ins().jump(next, &[]);
        }
        self.b.switch_to_block(next);
    }

    /// `body(i)` for `i` in `0..n`, n as a signed number.
    pub fn repeat(&mut self, n: Value, body: impl FnOnce(&mut Self, Value)) {
        use ir::condcodes::IntCC;
        let (head, inside, exit) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let i = self.b.append_block_param(head, I64);
        let zero = self.int(0);
        self.b.ins().jump(head, &[zero.into()]);
        self.b.switch_to_block(head);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, i, n);
        self.b.ins().brif(more, inside, &[], exit, &[]);
        self.b.switch_to_block(inside);
        body(self, i);
        let next = self.b.ins().iadd_imm_s(i, 1);
        self.b.ins().jump(head, &[next.into()]);
        self.b.switch_to_block(exit);
    }

    pub fn compare(&mut self, c: ir::condcodes::IntCC, a: Value, b: Value) -> Value {
        self.b.ins().icmp(c, a, b)
    }

    /// True (an `i8`) if any is.
    pub fn any(&mut self, list: &[Value]) -> Value {
        let mut all = self.b.ins().iconst(I8, 0);
        for x in list {
            all = self.b.ins().bor(all, *x);
        }
        all
    }

    pub fn give(&mut self, x: Value) {
        self.b.ins().return_(&[x]);
    }
}
