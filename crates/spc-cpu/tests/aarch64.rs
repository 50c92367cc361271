//! Every template has code for aarch64, and so have whole programs. Where a C compiler for aarch64 Linux and a user-mode
//! emulator are installed (`aarch64-linux-gnu-gcc`, `qemu-aarch64`), programs run and give the interpreter's bits.
#![cfg(feature = "aarch64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_cpu::Isa;
use spc_cpu::object::{Arch, Function, Options, kernels_object, object};
use spc_interp::testing::{self, random_case};
use spc_ir::{DType, passes};
use spc_kernel::ir::random::{self, Rng};
use spc_kernel::templates::cases::{
    channels, contract, converted, gathered, linear, mapped, rounded_linear, rounding, unfolded,
};
use spc_kernel::{Tensor, interpret, schedule};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use support::{borrowed, random_plan, same_bits, sources, tensors};

mod support;

/// The machine of an ELF file.
fn machine(bytes: &[u8]) -> u16 {
    assert_eq!(bytes[..4], *b"\x7fELF");
    u16::from_le_bytes([bytes[18], bytes[19]])
}

const EM_AARCH64: u16 = 183;

#[test]
fn every_template_compiles() {
    assert!(Arch::Aarch64.is_built());
    let mut rng = Rng::new(41);
    let mut kernels = Vec::new();
    for i in 0..60 {
        let lanes = if i % 4 == 0 { 1 } else { 4 };
        kernels.extend(linear(&mut rng, lanes, i % 3 > 0).unwrap().map(|c| c.kernel));
        kernels.push(contract(&mut rng, lanes).unwrap().kernel);
        kernels.push(mapped(&mut rng, lanes).unwrap().kernel);
        kernels.push(gathered(&mut rng, lanes).unwrap().kernel);
        kernels.push(converted(&mut rng, lanes).unwrap().kernel);
        kernels.push(unfolded(&mut rng, lanes).unwrap().kernel);
        kernels.push(channels(&mut rng, lanes).unwrap().kernel);
        kernels.extend(rounded_linear(&mut rng, 4).unwrap().map(|c| c.kernel));
        kernels.push(rounding(&mut rng, 4).unwrap().0.kernel);
        kernels.push(random::kernel(&mut rng, lanes).unwrap());
    }
    assert_eq!(machine(&kernels_object(&kernels, Arch::Aarch64).unwrap()), EM_AARCH64);
}

#[test]
fn whole_programs_compile() {
    for seed in 0..10 {
        let case = random_case(seed, testing::Options { steps: 12, ..Default::default() }).unwrap();
        let graph = passes::run(&case.graph, None).unwrap().0;
        let plan = random_plan(&graph, &case.weights, &mut testing::Rng::new(seed));
        let program = schedule(&graph, &plan, Isa::Clif.lanes()).unwrap();
        let weights = sources(&program, &case.weights);
        let f = Function { name: "f".into(), programs: vec![(Isa::Clif, program.clone())] };
        let options = Options { prefix: "t".into(), arch: Arch::Aarch64, embed_weights: true, check: true };
        let o = object(&[f], &weights, &options).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(machine(&o.bytes), EM_AARCH64);
        assert!(o.header.contains("aarch64") && o.header.contains("0 clif."), "{}", o.header);
    }
}

const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";

fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success())
}

/// A C program that calls `t_f` once and prints its status and the bytes of its results.
fn caller(sizes: &[u64], inputs: &[Tensor], outputs: &[u64]) -> String {
    let mut c = String::from(
        "#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n\
         uint64_t t_f_workspace_bytes();\nuint32_t t_f();\n#define AT __attribute__((aligned(64)))\n",
    );
    for (i, t) in inputs.iter().enumerate() {
        let (n, words) = match t {
            Tensor::F32(v) => (4 * v.len(), v.iter().map(|x| format!("0x{:x}u,", x.to_bits())).collect::<String>()),
            Tensor::I32(v) => (4 * v.len(), v.iter().map(|x| format!("0x{:x}u,", *x as u32)).collect()),
            Tensor::Bool(v) => (v.len(), v.iter().map(|x| format!("{},", u8::from(*x))).collect()),
        };
        let each = if matches!(t, Tensor::Bool(_)) { "uint8_t" } else { "uint32_t" };
        writeln!(c, "static const {each} AT in{i}[] = {{{words}0}}; /* {n} bytes */").unwrap();
    }
    for (i, bytes) in outputs.iter().enumerate() {
        writeln!(c, "static unsigned char AT out{i}[{}];", bytes + 1).unwrap();
    }
    let sizes: String = sizes.iter().map(|n| format!(", (uint64_t){n}u")).collect();
    let sizes_alone = sizes.trim_start_matches(", ");
    let pointers: String = (0..inputs.len())
        .map(|i| format!(", (uint64_t)in{i}"))
        .chain((0..outputs.len()).map(|i| format!(", (uint64_t)out{i}")))
        .collect();
    writeln!(c, "int main(void) {{\n  uint64_t room = t_f_workspace_bytes({sizes_alone});").unwrap();
    writeln!(c, "  void *work = aligned_alloc(64, (room + 127) / 64 * 64);").unwrap();
    writeln!(c, "  uint32_t status = t_f((uint64_t)0{sizes}{pointers}, (uint64_t)work, room, (uint64_t)0);").unwrap();
    writeln!(c, "  printf(\"%u\\n\", status);").unwrap();
    for (i, bytes) in outputs.iter().enumerate() {
        writeln!(c, "  for (uint64_t i = 0; i < {bytes}; i++) printf(\"%02x\", out{i}[i]);\n  puts(\"\");").unwrap();
    }
    c + "  return 0;\n}\n"
}

/// Links the program with nothing but the C library, and runs it.
fn emulated(object: &[u8], c: &str, dir: &Path) -> Vec<String> {
    let (o, source, program) = (dir.join("t.o"), dir.join("main.c"), dir.join("main"));
    std::fs::write(&o, object).unwrap();
    std::fs::write(&source, c).unwrap();
    let built =
        Command::new(COMPILER).args(["-static", "-w", "-o"]).args([&program, &source, &o]).arg("-lm").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let out = Command::new(EMULATOR).arg(&program).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_string).collect()
}

#[test]
fn programs_give_the_bits_of_the_interpreter() {
    if !runs(COMPILER) || !runs(EMULATOR) {
        spc_base::skipped(&format!("{COMPILER} or {EMULATOR} is not installed, so nothing was run"));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for seed in 100..124 {
        let special = seed % 4 == 3;
        let options = testing::Options { steps: 12, special, ..Default::default() };
        let case = random_case(seed, options).unwrap();
        let graph = passes::run(&case.graph, None).unwrap().0;
        let plan = random_plan(&graph, &case.weights, &mut testing::Rng::new(seed));
        let program = schedule(&graph, &plan, Isa::Clif.lanes()).unwrap();
        let weights = sources(&program, &case.weights);
        let f = Function { name: "f".into(), programs: vec![(Isa::Clif, program.clone())] };
        let options = Options { prefix: "t".into(), arch: Arch::Aarch64, embed_weights: true, check: true };
        let o = object(&[f], &weights, &options).unwrap();
        let inputs = tensors(&program, &case.inputs);
        // Calls that are refused are compared elsewhere.
        let Ok(want) = interpret(&program, &weights, &case.syms, &borrowed(&inputs)) else { continue };
        let bytes: Vec<u64> = (program.outputs().iter())
            .map(|o| {
                let n: u64 = o.dims.iter().map(|d| d.bind(&case.syms).unwrap()).product();
                n * if o.dtype == DType::Bool { 1 } else { 4 }
            })
            .collect();
        let lines = emulated(&o.bytes, &caller(&case.syms, &inputs, &bytes), dir.path());
        assert_eq!(lines[0], "0", "seed {seed}: status");
        for ((line, o), (name, w)) in lines[1..].iter().zip(program.outputs()).zip(&want) {
            let bytes: Vec<u8> =
                (0..line.len() / 2).map(|i| u8::from_str_radix(&line[2 * i..2 * i + 2], 16).unwrap()).collect();
            let got = Tensor::read(o.dtype, &bytes);
            assert!(same_bits(&got, w), "seed {seed} {name}: {got:?}, interpreted {w:?}\n{program}");
        }
        assert_eq!(lines.len(), 1 + want.len());
    }
}
