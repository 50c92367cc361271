//! Every template has code for aarch64, and so have whole programs. Nothing is run.
#![cfg(feature = "aarch64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_cpu::Isa;
use spc_cpu::object::{Arch, Function, Options, kernels_object, object};
use spc_interp::testing::{self, random_case};
use spc_ir::passes;
use spc_kernel::ir::random::{self, Rng};
use spc_kernel::schedule;
use spc_kernel::templates::cases::{contract, converted, gathered, linear, mapped};
use support::{random_plan, sources};

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
        kernels.push(random::kernel(&mut rng, lanes).unwrap());
    }
    assert_eq!(machine(&kernels_object(&kernels, Arch::Aarch64).unwrap()), EM_AARCH64);
}

#[test]
fn whole_programs_compile() {
    for seed in 0..10 {
        let case = random_case(seed, testing::Options { steps: 12, choices: false, ..Default::default() }).unwrap();
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
