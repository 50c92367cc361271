//! From programs to an object file.
use super::dispatch;
use super::entry::{self, Common};
use super::header::{Signature, header};
use super::math::{self, MathIds};
use super::module::{Arch, Maker, signature, target_isa};
use super::steps;
use super::weights::collect;
use crate::clif::translate;
use crate::host::{Isa, Target};
use crate::wide;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_frontend::FunctionBuilderContext;
use cranelift_module::{FuncId, Linkage, Module, ModuleReloc};
use spc_base::Bug;
use spc_kernel::ir::{Kernel, Op, Stmt};
use spc_kernel::math::MathFn;
use spc_kernel::{Program, Sources};
use std::collections::{BTreeMap, HashMap};

/// A function and its programs, one for each of [`Arch::variants`], scheduled for its lanes.
#[derive(Clone, Debug)]
pub struct Function {
    /// Name in C, without the prefix.
    pub name: String,
    pub programs: Vec<(Isa, Program)>,
}

impl Function {
    /// False if sizes within the declared ranges need more memory than any machine addresses.
    pub fn fits(&self) -> bool {
        self.programs.iter().all(|(_, p)| entry::fits(p))
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    /// First part of every exported name, a C identifier.
    pub prefix: String,
    pub arch: Arch,
    /// Puts the weights into the object; the file of weights is then not needed.
    pub embed_weights: bool,
    /// Proves every register allocation right.
    pub check: bool,
}

/// An object file and what belongs to it.
#[derive(Clone, Debug)]
pub struct Object {
    pub bytes: Vec<u8>,
    /// The block of weights that its functions take.
    pub weights: Vec<u8>,
    /// C declarations of all that it exports.
    pub header: String,
}

/// Bytes, and the calls in them.
type WideCode = (Vec<u8>, Vec<(usize, MathFn)>);

/// Machine code of a kernel for each instruction set, and wide code by its bytes: two instruction sets may share it.
#[derive(Default)]
struct Kernels {
    ids: HashMap<(Isa, Kernel), FuncId>,
    wide: HashMap<WideCode, FuncId>,
}

/// Makes an object file.
pub fn object(functions: &[Function], sources: &dyn Sources, options: &Options) -> Result<Object, Bug> {
    let programs = || functions.iter().flat_map(|f| &f.programs);
    let weights = collect(programs().map(|(_, p)| p), sources)?;
    let mut m = Maker::new(&options.prefix, options.arch)?;
    let wanted: Vec<MathFn> = programs().flat_map(|(_, p)| p.kernels()).flat_map(|k| calls(&k.body)).collect();
    let ids = math::add(&mut m, wanted.into_iter())?;
    let isas: BTreeMap<Isa, OwnedTargetIsa> = (options.arch.variants().iter())
        .map(|i| Ok((*i, target_isa(options.arch, *i)?)))
        .collect::<Result<_, Bug>>()?;
    let mut kernels = Kernels::default();
    for (isa, p) in programs() {
        for k in p.kernels() {
            if !kernels.ids.contains_key(&(*isa, k.clone())) {
                let id = kernel(&mut m, k, *isa, &isas, &ids, &mut kernels, options.check)?;
                kernels.ids.insert((*isa, k.clone()), id);
            }
        }
    }
    let most_args = programs().flat_map(|(_, p)| p.kernels()).map(|k| k.params.len()).max().unwrap_or(0);
    let embedded = match options.embed_weights {
        true => Some(m.data("spc_object_weights", weights.bytes.clone(), &[])?),
        false => None,
    };
    let level = dispatch::add(&mut m, &options.prefix)?;
    let runner = steps::runner(&mut m, most_args)?;
    let common = Common { prefix: &options.prefix, weights: &weights, embedded, runner, level };
    let mut signatures = Vec::new();
    for f in functions {
        let missing = || Bug::new("object: a kernel is missing");
        let mut variants: Vec<(Isa, &Program, Vec<FuncId>)> = Vec::new();
        for (isa, p) in &f.programs {
            let own: Option<Vec<FuncId>> =
                p.kernels().iter().map(|k| kernels.ids.get(&(*isa, k.clone())).copied()).collect();
            let own = own.ok_or_else(missing)?;
            // The narrower one serves both where they are the same.
            if variants.last().is_none_or(|(_, q, ids)| (*q, ids) != (p, &own)) {
                variants.push((*isa, p, own));
            }
        }
        entry::function(&mut m, &common, &format!("{}_{}", options.prefix, f.name), &variants)?;
        let (_, p, _) = variants.first().ok_or_else(missing)?;
        signatures.push(Signature::of(&f.name, p));
    }
    entry::check_weights(&mut m, &common)?;
    entry::version(&mut m)?;
    let bytes = m.module.finish().emit().map_err(|e| Bug::new(format!("object: {e}")))?;
    let header = header(options, &signatures, weights.bytes.len());
    Ok(Object { bytes, weights: weights.bytes, header })
}

/// An object of kernels alone, as the portable variant of an object has them: whether a processor's code generator takes them.
pub fn kernels_object(list: &[Kernel], arch: Arch) -> Result<Vec<u8>, Bug> {
    let mut m = Maker::new("kernels", arch)?;
    let ids = math::add(&mut m, list.iter().flat_map(|k| calls(&k.body)))?;
    let isas = BTreeMap::from([(Isa::Clif, target_isa(arch, Isa::Clif)?)]);
    for (i, k) in list.iter().enumerate() {
        let mut kernels = Kernels::default();
        let named = Kernel { name: format!("{}_{i}", k.name), ..k.clone() };
        kernel(&mut m, &named, Isa::Clif, &isas, &ids, &mut kernels, false)?;
    }
    m.module.finish().emit().map_err(|e| Bug::new(format!("object: {e}")))
}

/// Functions that a body calls.
fn calls(body: &[Stmt]) -> Vec<MathFn> {
    let mut out = Vec::new();
    for s in body {
        match s {
            Stmt::Let(_, Op::Math(f, ..)) => out.push(*f),
            Stmt::Loop(l) => out.extend(calls(&l.body)),
            _ => {}
        }
    }
    out
}

fn kernel(
    m: &mut Maker,
    k: &Kernel,
    isa: Isa,
    isas: &BTreeMap<Isa, OwnedTargetIsa>,
    ids: &MathIds,
    kernels: &mut Kernels,
    check: bool,
) -> Result<FuncId, Bug> {
    let s = signature(m, &[I64], None);
    let name = format!("{}_{}_{}", k.name, isa.name(), kernels.ids.len());
    let unknown = || Bug::new("object: unknown math function");
    if wide::supported(k, isa).is_ok() {
        let machine = wide::machine_code_near(k, isa, check)?;
        let code = (machine.bytes.clone(), machine.calls.clone());
        if let Some(id) = kernels.wide.get(&code) {
            return Ok(*id);
        }
        let id = m.declare(&name, Linkage::Local, &s)?;
        kernels.wide.insert(code, id);
        let mut relocs = Vec::new();
        for (at, f) in &machine.calls {
            let name = *ids.lanes.get(f).ok_or_else(unknown)?;
            let kind = Reloc::X86CallPCRel4;
            relocs.push(ModuleReloc { offset: *at as u32, kind, name: name.into(), addend: -4 });
        }
        let done = m.module.define_function_bytes(id, 64, &machine.bytes, &relocs);
        done.map_err(|e| Bug::new(format!("object: {name}: {e}")))?;
        return Ok(id);
    }
    let id = m.declare(&name, Linkage::Local, &s)?;
    let own = isas.get(&isa).ok_or_else(|| Bug::new("object: an instruction set of another processor"))?;
    let mut ctx = m.module.make_context();
    ctx.func.signature = s;
    let mut import = |func: &mut cranelift_codegen::ir::Function, f: MathFn| {
        Ok(m.module.declare_func_in_func(*ids.scalar.get(&f).ok_or_else(unknown)?, func))
    };
    let target = Target::of(own.as_ref());
    translate(k, target, &mut ctx.func, &mut FunctionBuilderContext::new(), &mut import)?;
    m.define_for(id, &mut ctx, own)?;
    Ok(id)
}
