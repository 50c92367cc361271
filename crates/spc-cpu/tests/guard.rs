//! No kernel reads or writes outside its buffers: every buffer lies against a page that nothing may touch, at its end and at
//! its start, and what is only read cannot be written. A kernel that strays ends this test's process.
#![cfg(unix)]
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_cpu::{Isa, JitModule, compile, compile_wide};
use spc_kernel::ir::interp::{Arg, run};
use spc_kernel::ir::random::Rng;
use spc_kernel::templates::cases::{
    Case, channels, contract, converted, gathered, linear, mapped, rounded_linear, rounding, tiled_linear, unfolded,
};
use support::guard::Guarded;

mod support;

fn call(module: &JitModule, case: &Case, end: bool) -> Vec<u8> {
    let written: Vec<usize> = (case.kernel.params.iter().zip(&case.args))
        .filter_map(|(p, a)| match a {
            Arg::Ptr { buffer, .. } if p.ty == spc_kernel::ir::Ty::Ptr => Some(*buffer),
            _ => None,
        })
        .collect();
    let buffers: Vec<Guarded> = case
        .buffers
        .iter()
        .enumerate()
        .map(|(i, b)| {
            let g = Guarded::new(b, end);
            if written.contains(&i) { g } else { g.read_only() }
        })
        .collect();
    let word = |a: &Arg| match a {
        Arg::Int(i) => *i as u64,
        Arg::Ptr { buffer, offset } => buffers[*buffer].address() + *offset as u64,
    };
    let args: Vec<u64> = case.args.iter().map(word).collect();
    // SAFETY: the interpreter has run the kernel inside these buffers.
    unsafe { module.call(0, &args).unwrap() };
    buffers[case.output].bytes().to_vec()
}

fn check(case: &Case, isa: Isa) {
    let mut expected = case.buffers.clone();
    run(&case.kernel, &case.args, &mut expected).unwrap();
    let kernels = std::slice::from_ref(&case.kernel);
    let module = if isa == Isa::Clif { compile(kernels) } else { compile_wide(kernels, isa, true) }.unwrap();
    for end in [true, false] {
        let got = call(&module, case, end);
        for (i, (g, w)) in got.chunks(4).zip(expected[case.output].chunks(4)).enumerate() {
            let nan = |b: &[u8]| b.try_into().is_ok_and(|b| f32::from_le_bytes(b).is_nan());
            assert!(g == w || (nan(g) && nan(w)), "{} word {i}: {g:?}, interpreter {w:?}\n{}", isa.name(), case.kernel);
        }
    }
}

fn every(seed: u64, count: usize, make: impl Fn(&mut Rng, usize, usize) -> Option<Case>) {
    for isa in Isa::ALL.into_iter().filter(|i| i.is_available()) {
        let mut rng = Rng::new(seed);
        for i in 0..count {
            let lanes = if isa == Isa::Clif && i % 4 == 0 { 1 } else { isa.lanes() };
            if let Some(case) = make(&mut rng, lanes, i) {
                check(&case, isa);
            }
        }
    }
}

#[test]
fn linears_stay_inside() {
    every(31, 120, |rng, lanes, i| linear(rng, lanes, i % 3 > 0).unwrap());
}

#[test]
fn linears_of_integers_stay_inside() {
    every(36, 60, |rng, lanes, _| rounded_linear(rng, lanes.max(4)).unwrap());
    if Isa::Avx512Amx.is_available() {
        let mut rng = Rng::new(38);
        for _ in 0..30 {
            if let Some(case) = tiled_linear(&mut rng, true).unwrap() {
                check(&case, Isa::Avx512Amx);
            }
        }
    }
    every(37, 30, |rng, lanes, _| Some(rounding(rng, lanes.max(4)).unwrap().0));
}

#[test]
fn reductions_and_products_stay_inside() {
    every(32, 80, |rng, lanes, _| Some(contract(rng, lanes).unwrap()));
}

#[test]
fn pointwise_kernels_stay_inside() {
    every(33, 80, |rng, lanes, _| Some(mapped(rng, lanes).unwrap()));
}

#[test]
fn gathers_stay_inside() {
    every(34, 60, |rng, lanes, _| Some(gathered(rng, lanes).unwrap()));
}

#[test]
fn conversions_stay_inside() {
    every(35, 60, |rng, lanes, _| Some(converted(rng, lanes).unwrap()));
}

#[test]
fn windows_and_images_stay_inside() {
    every(36, 120, |rng, lanes, _| Some(unfolded(rng, lanes).unwrap()));
    every(37, 60, |rng, lanes, _| Some(channels(rng, lanes).unwrap()));
}

/// The pages are what they are said to be: a child that reads one byte too far dies of it.
#[test]
fn the_pages_are_out_of_reach() {
    for (end, offset) in [(true, 100), (false, -1)] {
        let g = Guarded::new(&[7; 100], end);
        assert_eq!(g.bytes(), [7; 100]);
        // SAFETY: the child touches its own copy of the mapping only and leaves at once.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let x = (g.address() as *const u8).offset(offset).read_volatile();
                libc::_exit(i32::from(x) & 1);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV, "{status}");
        }
    }
}
