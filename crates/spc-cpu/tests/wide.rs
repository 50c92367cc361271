//! Wide machine code agrees with the interpreter bit for bit (any NaN equals any NaN), with the register allocation
//! proved right.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
use spc_cpu::{AlignedBuf, Isa, JitModule, Pool, Split, compile_wide};
use spc_kernel::ir::interp::{Arg, run};
use spc_kernel::ir::random::{self, Rng};
use spc_kernel::templates::cases::{
    Case, channels, contract, converted, gathered, linear, mapped, rounded_linear, rounding, tiled_linear, unfolded,
};

/// The wide instruction sets of this machine.
fn isas() -> Vec<Isa> {
    let wide = [Isa::Avx2, Isa::Avx512, Isa::Avx512Vnni, Isa::Avx512Amx];
    for isa in wide.iter().filter(|i| !i.is_available()) {
        spc_base::skipped(&format!("this machine has no {}", isa.name()));
    }
    wide.into_iter().filter(|i| i.is_available()).collect()
}

fn same(g: &[u8], w: &[u8]) -> bool {
    let nan = |b: &[u8]| b.try_into().is_ok_and(|b| f32::from_le_bytes(b).is_nan());
    g == w || (nan(g) && nan(w))
}

fn random_kernel(seed: u64, isa: Isa) {
    let mut rng = Rng::new(seed);
    let k = random::kernel(&mut rng, isa.lanes()).unwrap();
    let module =
        compile_wide(std::slice::from_ref(&k), isa, true).unwrap_or_else(|e| panic!("seed {seed}: {e:?}\n{k}"));
    assert_eq!(module.isa(0), Some(isa));
    for n in 0..4i64 {
        let (p, q) = (random::buffer(&mut rng), random::buffer(&mut rng));
        let mut expected = [p.clone(), q.clone()];
        run(&k, &[Arg::buffer(0), Arg::buffer(1), Arg::Int(n)], &mut expected).unwrap();
        let mut got = q;
        // SAFETY: the interpreter has just run the kernel inside these buffers.
        unsafe { module.call(0, &[p.as_ptr() as u64, got.as_mut_ptr() as u64, n as u64]).unwrap() };
        for (i, (g, w)) in got.chunks(4).zip(expected[1].chunks(4)).enumerate() {
            let isa = isa.name();
            assert!(same(g, w), "seed {seed} {isa} n {n}: word {i} is {g:?}, interpreter {w:?}\n{k}");
        }
    }
}

#[test]
fn random_kernels() {
    let seeds: u64 = std::env::var("SPC_WIDE_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(200);
    for isa in isas() {
        (0..seeds).for_each(|seed| random_kernel(seed, isa));
    }
}

fn call(module: &JitModule, case: &Case, pool: &Pool) -> Vec<u8> {
    let mut buffers: Vec<AlignedBuf> = case.buffers.iter().map(|b| AlignedBuf::from_bytes(b)).collect();
    let bases: Vec<u64> = buffers.iter_mut().map(|b| b.bytes_mut().as_mut_ptr() as u64).collect();
    let word = |a: &Arg| match a {
        Arg::Int(i) => *i as u64,
        Arg::Ptr { buffer, offset } => bases[*buffer] + *offset as u64,
    };
    let args: Vec<u64> = case.args.iter().map(word).collect();
    let split = Split { lo_param: case.lo_param, hi_param: case.hi_param, lo: 0, hi: case.range };
    // SAFETY: the interpreter has run the kernel inside these buffers.
    unsafe { module.run_split(0, &args, split, pool).unwrap() };
    buffers[case.output].bytes().to_vec()
}

fn check(case: &Case, isa: Isa, pools: &[Pool]) {
    let mut expected = case.buffers.clone();
    run(&case.kernel, &case.args, &mut expected).unwrap();
    let expected = &expected[case.output];
    let module = compile_wide(std::slice::from_ref(&case.kernel), isa, true).unwrap();
    assert_eq!(module.isa(0), Some(isa));
    for pool in pools {
        let got = call(&module, case, pool);
        assert_eq!(got.len(), expected.len());
        for (i, (g, w)) in got.chunks(4).zip(expected.chunks(4)).enumerate() {
            let on = (isa.name(), pool.threads());
            assert!(same(g, w), "{on:?}, word {i}: {g:?}, interpreter {w:?}\n{}", case.kernel);
        }
    }
}

fn every(seed: u64, count: usize, make: impl Fn(&mut Rng, usize, usize) -> Option<Case>) {
    let pools: Vec<Pool> = [1, 3].into_iter().map(Pool::new).collect();
    for isa in isas() {
        let mut rng = Rng::new(seed);
        for i in 0..count {
            if let Some(case) = make(&mut rng, isa.lanes(), i) {
                check(&case, isa, &pools);
            }
        }
    }
}

#[test]
fn linears() {
    every(21, 200, |rng, lanes, i| linear(rng, lanes, i % 3 > 0).unwrap());
}

#[test]
fn linears_of_integers() {
    every(25, 60, |rng, lanes, _| rounded_linear(rng, lanes).unwrap());
}

/// Where tiles are. Says so where they are not.
fn with_tiles() -> bool {
    let there = Isa::Avx512Amx.is_available();
    if !there {
        spc_base::skipped(&format!("this machine has no {}, or its system does not permit it", Isa::Avx512Amx.name()));
    }
    there
}

#[test]
fn linears_on_tiles() {
    if with_tiles() {
        let pools: Vec<Pool> = [1, 3].into_iter().map(Pool::new).collect();
        let mut rng = Rng::new(27);
        for _ in 0..50 {
            if let Some(case) = tiled_linear(&mut rng, true).unwrap() {
                check(&case, Isa::Avx512Amx, &pools);
            }
        }
    }
}

/// All eight tiles, extremes among their bytes, a loop of products and own memory of several pages, in threads that each come to
/// tiles for the first time and after a kernel without them.
#[test]
fn products_of_extremes_on_tiles_of_any_thread() {
    let text = "kernel products lanes 16 (a: cptr, b: cptr, y: ptr, n: i64) {
      v4: ptr = local 20000
      v5: ptr = local 1024
      tile_zero 0
      tile_load 1, [v0 + 8192]
      tile_load 2, [v1 + 4096]
      tile_zero 3
      tile_load 4, [v0]
      tile_load 5, [v0 + 1024]
      loop v6 < v3 (v7: cptr = v0 -> v8, v9: cptr = v1 -> v10) {
        tile_load 6, [v7 + 2048]
        tile_load 7, [v9]
        tile_dot 0, 6, 7
        tile_dot 1, 4, 7
        tile_dot 2, 7, 6
        tile_dot 3, 5, 7
        v11: cptr = ptr_off v7, 1024
        v12: cptr = ptr_off v9, 1024
      } yield (v11, v12)
      tile_store 1, [v4 + 18000]
      tile_store 3, [v5]
      tile_store 0, [v2]
      tile_load 0, [v4 + 18000]
      tile_store 0, [v2 + 1024]
      tile_store 2, [v2 + 2048]
      tile_load 6, [v5]
      tile_store 6, [v2 + 3072]
    }";
    let kernel = spc_kernel::ir::parse(text).unwrap();
    assert!(spc_cpu::supported(&kernel, Isa::Avx512Vnni).is_err());
    spc_cpu::machine_code(&kernel, Isa::Avx512Amx, true).unwrap();
    if !with_tiles() {
        return;
    }
    let mut rng = Rng::new(28);
    let mut bytes = |n: usize| -> Vec<u8> {
        let extreme = [0x80, 0x7f, 0xff, 0, 1];
        (0..n).map(|_| if rng.below(2) == 0 { extreme[rng.below(5)] } else { rng.below(256) as u8 }).collect()
    };
    let (a, b) = (bytes(9 << 10), bytes(6 << 10));
    let plain =
        spc_kernel::ir::parse("kernel nothing lanes 16 (y: ptr) {\n  v1: vf32 = vfloat 1.0\n  store.vf32 [v0], v1\n}")
            .unwrap();
    let module = compile_wide(&[kernel.clone(), plain], Isa::Avx512Amx, true).unwrap();
    assert_eq!(module.isa(0), Some(Isa::Avx512Amx));
    for n in [0i64, 1, 3, 5] {
        let args = [Arg::buffer(0), Arg::buffer(1), Arg::buffer(2), Arg::Int(n)];
        let mut want = [a.clone(), b.clone(), vec![0; 4096]];
        run(&kernel, &args, &mut want).unwrap();
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    for _ in 0..2 {
                        let (mut y, mut other) = (vec![0u8; 4096], [0f32; 16]);
                        let words = [a.as_ptr() as u64, b.as_ptr() as u64, y.as_mut_ptr() as u64, n as u64];
                        // SAFETY: the interpreter has run the first kernel inside these buffers; the other one writes 16 floats.
                        unsafe {
                            module.call(1, &[other.as_mut_ptr() as u64]).unwrap();
                            module.call(0, &words).unwrap();
                        }
                        assert!(y == want[2], "{n} rounds");
                        assert_eq!(other, [1.0; 16]);
                    }
                });
            }
        });
    }
}

#[test]
fn rounded_tokens() {
    every(26, 40, |rng, lanes, _| {
        let (case, _) = rounding(rng, lanes).unwrap();
        // Scales one time, integers the other.
        let output = if rng.below(2) == 0 { case.output } else { 1 };
        Some(Case { output, ..case })
    });
}

#[test]
fn reductions_and_products() {
    every(22, 200, |rng, lanes, _| Some(contract(rng, lanes).unwrap()));
}

#[test]
fn pointwise() {
    every(23, 200, |rng, lanes, _| Some(mapped(rng, lanes).unwrap()));
}

#[test]
fn conversions() {
    every(27, 30, |rng, lanes, _| Some(converted(rng, lanes).unwrap()));
}

#[test]
fn windows_and_images() {
    every(29, 60, |rng, lanes, _| Some(unfolded(rng, lanes).unwrap()));
    every(30, 30, |rng, lanes, _| Some(channels(rng, lanes).unwrap()));
}

#[test]
fn gathers() {
    every(24, 60, |rng, lanes, _| Some(gathered(rng, lanes).unwrap()));
}

/// No template keeps a value on the stack in an innermost loop, but around calls of functions.
#[test]
fn innermost_loops_do_not_touch_the_stack() {
    let mut seen = 0;
    for isa in isas() {
        let mut rng = Rng::new(29);
        for i in 0..60 {
            let lanes = isa.lanes();
            let cases = [
                linear(&mut rng, lanes, i % 3 > 0).unwrap(),
                Some(contract(&mut rng, lanes).unwrap()),
                Some(mapped(&mut rng, lanes).unwrap()),
                Some(gathered(&mut rng, lanes).unwrap()),
                Some(converted(&mut rng, lanes).unwrap()),
                Some(unfolded(&mut rng, lanes).unwrap()),
                Some(channels(&mut rng, lanes).unwrap()),
            ];
            for k in cases.into_iter().flatten().map(|c| c.kernel) {
                let machine = spc_cpu::machine_code(&k, isa, true).unwrap();
                if machine.calls.is_empty() {
                    seen += 1;
                    assert_eq!(machine.stats.inner_stack, 0, "{} {:?}\n{k}", isa.name(), machine.stats);
                    let text = spc_cpu::listing(&k, isa).unwrap();
                    let inner: Vec<&str> = text.lines().filter(|l| l.contains("accesses of the stack")).collect();
                    assert!(inner.iter().all(|l| l.ends_with(", 0 accesses of the stack")), "{inner:?}\n{text}");
                }
            }
        }
    }
    assert!(seen > 100 || isas().is_empty(), "only {seen} kernels");
}

/// What a call needs, for [`enter`].
#[cfg(target_arch = "x86_64")]
struct Call<'a> {
    module: &'a JitModule,
    args: [u64; 3],
}

#[cfg(target_arch = "x86_64")]
extern "C" fn enter(call: &Call<'_>) {
    // SAFETY: the buffers are as large as a random kernel wants.
    unsafe { call.module.call(0, &call.args).unwrap() };
}

/// Bits of the registers among rbx, r12, r13, r14, r15 that a call changed.
#[cfg(target_arch = "x86_64")]
fn changed(call: &Call<'_>) -> u64 {
    let mut out: u64;
    // SAFETY: the stack is aligned to 16 bytes at the call, and all that the ABI lets a function change is declared.
    unsafe {
        std::arch::asm!(
            "push rbx", "push r12", "push r13", "push r14", "push r15", "push rbp",
            "mov rbp, rsp", "and rsp, -16",
            "mov rbx, 0x11", "mov r12, 0x12", "mov r13, 0x13", "mov r14, 0x14", "mov r15, 0x15",
            "call {f}",
            "xor rbx, 0x11", "xor r12, 0x12", "xor r13, 0x13", "xor r14, 0x14", "xor r15, 0x15",
            "mov rax, rbx", "or rax, r12", "or rax, r13", "or rax, r14", "or rax, r15",
            "mov rsp, rbp",
            "pop rbp", "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx",
            f = sym enter,
            in("rdi") call,
            out("rax") out,
            clobber_abi("C"),
        );
    }
    out
}

#[cfg(target_arch = "x86_64")]
#[test]
fn registers_of_the_caller_are_given_back() {
    for isa in isas() {
        for seed in 0..100 {
            let mut rng = Rng::new(seed);
            let k = random::kernel(&mut rng, isa.lanes()).unwrap();
            let module = compile_wide(std::slice::from_ref(&k), isa, true).unwrap();
            let (p, mut q) = (random::buffer(&mut rng), random::buffer(&mut rng));
            let args = [p.as_ptr() as u64, q.as_mut_ptr() as u64, 2];
            assert_eq!(changed(&Call { module: &module, args }), 0, "seed {seed} {}", isa.name());
        }
    }
}

/// The count of stack accesses sees them: with more live values than registers there are some.
#[test]
fn pressure_shows_in_the_counts() {
    let mut text = String::from("kernel full lanes 16 (p: cptr, q: ptr) {\n");
    for i in 0..40 {
        text += &format!("v{}: vf32 = load.vf32 [v0 + {}]\n", i + 2, 64 * i);
    }
    for i in 0..40 {
        text += &format!("v{}: vf32 = fmax v{}, v{}\n", i + 42, 41 - i, 2 + (i * 7) % 40);
        text += &format!("store.vf32 [v1 + {}], v{}\n", 64 * i, i + 42);
    }
    let k = spc_kernel::ir::parse(&(text + "}")).unwrap();
    let machine = spc_cpu::machine_code(&k, Isa::Avx512, true).unwrap();
    assert!(machine.stats.all_stack > 0 && machine.stats.inner_stack == 0, "{:?}", machine.stats);
}
