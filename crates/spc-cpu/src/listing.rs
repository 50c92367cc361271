//! Machine code as text: each line of a kernel, then the instructions that it became; for each loop its bytes of code, and
//! what one round of an innermost loop reads and writes.
use crate::clif::{kernel_signature, math_signature, translate};
use crate::host::{Features, Isa, Target, isa as host_isa};
use crate::jit::assembly;
use crate::wide;
use cranelift_codegen::Context;
use cranelift_codegen::ir::{ExtFuncData, ExternalName, Function};
use cranelift_frontend::FunctionBuilderContext;
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic, OpKind, Register};
use spc_base::Bug;
use spc_kernel::ir::Kernel;
use spc_kernel::math::MathFn;
use std::fmt::Write as _;

/// Machine code, and which line of the kernel's text each part of it comes from.
struct Code {
    bytes: Vec<u8>,
    /// Bytes of instructions; constants follow.
    code: usize,
    /// Ascending: position of the first byte, number of the line from 0.
    lines: Vec<(usize, usize)>,
    /// Where loop bodies begin; none if every jump back is a loop.
    heads: Option<Vec<usize>>,
    calls: Vec<(usize, MathFn)>,
}

/// The machine code of a kernel as text, with its loops, the lines of the kernel and the bytes that a round moves.
pub fn listing(kernel: &Kernel, isa: Isa) -> Result<String, Bug> {
    if wide::supported(kernel, isa).is_ok() {
        let m = wide::machine_code(kernel, isa, false)?;
        let code = Code { bytes: m.bytes, code: m.code, lines: m.lines, heads: Some(m.heads), calls: m.calls };
        return Ok(render(kernel, isa.name(), &code));
    }
    if !cfg!(target_arch = "x86_64") {
        return assembly(kernel);
    }
    Ok(render(kernel, Isa::Clif.name(), &by_cranelift(kernel)?))
}

fn by_cranelift(kernel: &Kernel) -> Result<Code, Bug> {
    let fail = |e: &str| Bug::new(format!("assembly of {}: {e}", kernel.name));
    let isa = host_isa(Features::Host)?;
    let target = Target::of(isa.as_ref());
    let call_conv = target.config.default_call_conv;
    let mut ctx = Context::new();
    ctx.func.signature = kernel_signature(call_conv);
    let mut import = |func: &mut Function, f: MathFn| {
        let signature = func.import_signature(math_signature(f, call_conv));
        let name = ExternalName::testcase(f.name());
        Ok(func.import_function(ExtFuncData { name, signature, colocated: false, patchable: false }))
    };
    translate(kernel, target, &mut ctx.func, &mut FunctionBuilderContext::new(), &mut import)?;
    let code = ctx.compile(isa.as_ref(), &mut Default::default()).map_err(|e| fail(&format!("{:?}", e.inner)))?;
    let places = code.buffer.get_srclocs_sorted();
    let lines = places.iter().map(|s| (s.start as usize, s.loc.bits() as usize)).collect();
    let bytes = code.buffer.data().to_vec();
    Ok(Code { code: bytes.len(), bytes, lines, heads: None, calls: Vec::new() })
}

/// A loop in the code: from its first byte to the end of its last jump.
struct Round {
    from: usize,
    to: usize,
    depth: usize,
    innermost: bool,
}

fn rounds(code: &Code, all: &[Instruction]) -> Vec<Round> {
    let mut out: Vec<Round> = Vec::new();
    for i in all {
        let jumps = i.op0_kind() == OpKind::NearBranch64 && i.mnemonic() != Mnemonic::Call;
        let target = i.near_branch_target() as usize;
        let back = jumps && target <= i.ip() as usize;
        if back && code.heads.as_ref().is_none_or(|h| h.contains(&target)) {
            let to = i.next_ip() as usize;
            match out.iter_mut().find(|r| r.from == target) {
                Some(r) => r.to = r.to.max(to),
                None => out.push(Round { from: target, to, depth: 0, innermost: true }),
            }
        }
    }
    let inside = |a: &Round, b: &Round| (b.from, b.to) != (a.from, a.to) && b.from <= a.from && a.to <= b.to;
    let depths: Vec<(usize, bool)> = out
        .iter()
        .map(|a| (1 + out.iter().filter(|b| inside(a, b)).count(), !out.iter().any(|b| inside(b, a))))
        .collect();
    for (r, (depth, innermost)) in out.iter_mut().zip(depths) {
        (r.depth, r.innermost) = (depth, innermost);
    }
    out.sort_by_key(|r| (r.from, r.depth));
    out
}

/// What an instruction reads and writes in memory, and whether that is the stack.
fn memory(i: &Instruction) -> (usize, usize, bool) {
    let at = (0..i.op_count()).find(|n| i.op_kind(*n) == OpKind::Memory);
    let none = [Mnemonic::Prefetcht0, Mnemonic::Prefetcht1, Mnemonic::Lea, Mnemonic::Nop];
    if at.is_none() || none.contains(&i.mnemonic()) {
        return (0, 0, false);
    }
    let size = i.memory_size().size();
    let size = if i.is_broadcast() { i.memory_size().element_size() } else { size };
    let stack = i.memory_base() == Register::RSP;
    let writes = at == Some(0) && i.op_count() > 1 && ![Mnemonic::Cmp, Mnemonic::Test].contains(&i.mnemonic());
    if writes { (0, size, stack) } else { (size, 0, stack) }
}

fn summary(r: &Round, all: &[Instruction]) -> String {
    let own: Vec<&Instruction> = all.iter().filter(|i| (r.from..r.to).contains(&(i.ip() as usize))).collect();
    let mut t = format!("; loop, depth {}: {} bytes of code, {} instructions", r.depth, r.to - r.from, own.len());
    if r.innermost {
        let moved: Vec<(usize, usize, bool)> = own.iter().map(|i| memory(i)).collect();
        let sum = |f: fn(&(usize, usize, bool)) -> usize| moved.iter().map(f).sum::<usize>();
        let stack = sum(|m| usize::from(m.2));
        let _ = write!(t, "; a round reads {} bytes and writes {}", sum(|m| m.0), sum(|m| m.1));
        let _ = write!(t, ", {stack} accesses of the stack");
    }
    t
}

fn render(kernel: &Kernel, isa: &str, code: &Code) -> String {
    let text = kernel.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let instructions = code.bytes.get(..code.code).unwrap_or(&code.bytes);
    let all: Vec<Instruction> = Decoder::with_ip(64, instructions, 0, DecoderOptions::NONE).into_iter().collect();
    let rounds = rounds(code, &all);
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_space_after_operand_separator(true);
    let constants = code.bytes.len() - instructions.len();
    let mut out = format!(
        "; {isa}: {} bytes of code in {} instructions, {constants} bytes of constants\n; {}\n",
        code.code,
        all.len(),
        lines.first().unwrap_or(&"")
    );
    let mut next = code.lines.iter().peekable();
    for i in &all {
        let at = i.ip() as usize;
        for r in rounds.iter().filter(|r| r.from == at) {
            let _ = writeln!(out, "{}", summary(r, &all));
        }
        while let Some((_, line)) = next.next_if(|(from, _)| *from <= at) {
            // What belongs to no line has a number that the text lacks.
            if let Some(text) = lines.get(*line) {
                let _ = writeln!(out, "; {line:4} {text}");
            }
        }
        let mut shown = String::new();
        formatter.format(i, &mut shown);
        let called = code.calls.iter().find(|(p, _)| (at..i.next_ip() as usize).contains(p));
        let note = called.map_or_else(String::new, |(_, f)| format!("  ; {}", f.name()));
        let _ = writeln!(out, "  {at:05x}  {shown}{note}");
    }
    out
}
