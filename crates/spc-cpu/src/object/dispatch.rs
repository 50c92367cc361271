//! Which instruction set the processor has, found when the program runs.
use super::module::Maker;
use crate::host::Isa;
use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_module::{FuncId, Linkage, Module};
use spc_base::Bug;

/// `void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])`
const CPUID: [u8; 28] = [
    0x53, // push rbx
    0x89, 0xf8, // mov eax, edi
    0x89, 0xf1, // mov ecx, esi
    0x49, 0x89, 0xd0, // mov r8, rdx
    0x0f, 0xa2, // cpuid
    0x41, 0x89, 0x00, // mov [r8], eax
    0x41, 0x89, 0x58, 0x04, // mov [r8 + 4], ebx
    0x41, 0x89, 0x48, 0x08, // mov [r8 + 8], ecx
    0x41, 0x89, 0x50, 0x0c, // mov [r8 + 12], edx
    0x5b, // pop rbx
    0xc3, // ret
    0xcc, // never reached
];

/// `uint64_t xgetbv(void)`, of register 0.
const XGETBV: [u8; 13] = [
    0x31, 0xc9, // xor ecx, ecx
    0x0f, 0x01, 0xd0, // xgetbv
    0x48, 0xc1, 0xe2, 0x20, // shl rdx, 32
    0x48, 0x09, 0xd0, // or rax, rdx
    0xc3, // ret
];

const fn bits(list: &[u32]) -> i64 {
    let (mut all, mut i) = (0, 0);
    while i < list.len() {
        all |= 1 << list[i];
        i += 1;
    }
    all
}

/// Leaf 1, ecx: FMA, OSXSAVE, AVX, F16C.
const LEAF_1: i64 = bits(&[12, 27, 28, 29]);
/// Leaf 7, ebx: BMI1, AVX2, BMI2.
const AVX2: i64 = bits(&[3, 5, 8]);
/// Leaf 7, ebx: F, DQ, BW and VL of AVX-512.
const AVX512: i64 = bits(&[16, 17, 30, 31]);
/// Leaf 7, ecx: VBMI and VNNI of AVX-512.
const VNNI: i64 = bits(&[1, 11]);
/// What the system must save: the lower parts of the vector registers, or all of them and the mask registers.
const SAVED_256: i64 = 0x06;
const SAVED_512: i64 = 0xe6;

/// The functions that tell the level: the place of an instruction set in [`super::Arch::variants`].
pub(super) struct Level {
    pub get: FuncId,
}

/// Adds `level()`, and the exported `PREFIX_isa(limit)`, which sets the highest level that is used (none below 0) and returns
/// the one that is.
pub(super) fn add(m: &mut Maker, prefix: &str) -> Result<Level, Bug> {
    let detect = if m.arch.variants().len() > 1 { detect(m)? } else { lowest(m)? };
    let cache = m.word("spc_object_level")?;
    let get = m.local("spc_object_isa", &[], Some(I64), |f, _| {
        let at = f.address_of(cache);
        // One more than the level, so that 0 says that it is not known yet.
        let known = f.load(at, 0);
        f.when(known, |f| {
            let level = f.b.ins().iadd_imm_s(known, -1);
            f.give(level);
            true
        });
        let level = f.call(detect, &[]).ok_or_else(|| Bug::new("object: no level"))?;
        let next = f.b.ins().iadd_imm_s(level, 1);
        f.store(next, at, 0);
        f.give(level);
        Ok(())
    })?;
    m.function(&format!("{prefix}_isa"), Linkage::Export, &[I32], Some(I32), |f, args| {
        let at = f.address_of(cache);
        let found = f.call(detect, &[]).ok_or_else(|| Bug::new("object: no level"))?;
        let limit = f.b.ins().sextend(I64, args[0]);
        let zero = f.int(0);
        let none = f.compare(IntCC::SignedLessThan, limit, zero);
        let less = f.b.ins().smin(found, limit);
        let level = f.b.ins().select(none, found, less);
        let next = f.b.ins().iadd_imm_s(level, 1);
        f.store(next, at, 0);
        let level = f.b.ins().ireduce(I32, level);
        f.give(level);
        Ok(())
    })?;
    Ok(Level { get })
}

fn lowest(m: &mut Maker) -> Result<FuncId, Bug> {
    m.local("spc_object_detect", &[], Some(I64), |f, _| {
        let zero = f.int(0);
        f.give(zero);
        Ok(())
    })
}

fn machine_code(
    m: &mut Maker,
    name: &str,
    params: &[cranelift_codegen::ir::Type],
    result: Option<cranelift_codegen::ir::Type>,
    bytes: &[u8],
) -> Result<FuncId, Bug> {
    let s = super::module::signature(m, params, result);
    let id = m.declare(name, Linkage::Local, &s)?;
    let done = m.module.define_function_bytes(id, 16, bytes, &[]);
    done.map_err(|e| Bug::new(format!("object: {name}: {e}")))?;
    Ok(id)
}

fn detect(m: &mut Maker) -> Result<FuncId, Bug> {
    let cpuid = machine_code(m, "spc_object_cpuid", &[I32, I32, I64], None, &CPUID)?;
    let xgetbv = machine_code(m, "spc_object_xgetbv", &[], Some(I64), &XGETBV)?;
    m.local("spc_object_detect", &[], Some(I64), |f, _| {
        let out = f.stack(16);
        let (zero, sub) = (f.int(0), f.b.ins().iconst(I32, 0));
        let leaf = |f: &mut super::module::Body<'_>, n: i64| {
            let n = f.b.ins().iconst(I32, n);
            f.call(cpuid, &[n, sub, out]);
        };
        let lacks = |f: &mut super::module::Body<'_>, word, mask: i64| {
            let got = f.b.ins().band_imm_u(word, mask);
            f.b.ins().icmp_imm_u(IntCC::NotEqual, got, mask)
        };
        let lowest = |f: &mut super::module::Body<'_>, c| {
            f.when(c, |f| {
                f.give(zero);
                true
            });
        };
        leaf(f, 0);
        let most = f.load_as(I32, out, 0);
        let old = f.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, most, 7);
        lowest(f, old);
        leaf(f, 1);
        let word = f.load_as(I32, out, 8);
        let word = f.b.ins().uextend(I64, word);
        let c = lacks(f, word, LEAF_1);
        lowest(f, c);
        let saved = f.call(xgetbv, &[]).ok_or_else(|| Bug::new("object: xgetbv"))?;
        leaf(f, 7);
        let word = f.load_as(I32, out, 4);
        let word = f.b.ins().uextend(I64, word);
        let (a, b) = (lacks(f, word, AVX2), lacks(f, saved, SAVED_256));
        let c = f.any(&[a, b]);
        lowest(f, c);
        let (a, b) = (lacks(f, word, AVX512), lacks(f, saved, SAVED_512));
        let c = f.any(&[a, b]);
        let (one, two, three) = (f.int(1), f.int(2), f.int(3));
        let word = f.load_as(I32, out, 8);
        let word = f.b.ins().uextend(I64, word);
        let no_dot = lacks(f, word, VNNI);
        let level = f.b.ins().select(no_dot, two, three);
        let level = f.b.ins().select(c, one, level);
        f.give(level);
        Ok(())
    })
}

/// Calls that one of `functions`, by level from 0 on, which the processor can run; all take the arguments and return
/// the type of the function that is being made.
pub(super) fn forward(
    f: &mut super::module::Body<'_>,
    level: &Level,
    functions: &[(Isa, FuncId)],
    args: &[cranelift_codegen::ir::Value],
) -> Result<(), Bug> {
    let missing = || Bug::new("object: a function without variants");
    let give = |f: &mut super::module::Body<'_>, id: FuncId| {
        let x = f.call(id, args);
        f.b.ins().return_(x.as_slice());
    };
    let (first, wider) = functions.split_first().ok_or_else(missing)?;
    if !wider.is_empty() {
        let found = f.call(level.get, &[]).ok_or_else(missing)?;
        for (isa, id) in wider.iter().rev() {
            let place = Isa::ALL.iter().position(|i| i == isa).ok_or_else(missing)?;
            let c = f.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, found, place as i64);
            f.when(c, |f| {
                give(f, *id);
                true
            });
        }
    }
    give(f, first.1);
    Ok(())
}
