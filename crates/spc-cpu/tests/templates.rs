//! Every template, compiled, agrees with the interpreter bit for bit on any number of threads (any NaN equals any NaN).
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_cpu::{AlignedBuf, Pool, Split, compile};
use spc_kernel::ir::interp::{Arg, run};
use spc_kernel::ir::random::Rng;
use spc_kernel::templates::cases::{
    Case, channels, contract, converted, gathered, linear, mapped, rounded_linear, rounding, unfolded,
};

/// The result buffer after running the compiled kernel on a pool.
fn compiled(case: &Case, pool: &Pool) -> Vec<u8> {
    let module = compile(std::slice::from_ref(&case.kernel)).unwrap();
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

fn check(case: &Case, pools: &[Pool]) {
    let mut expected = case.buffers.clone();
    run(&case.kernel, &case.args, &mut expected).unwrap();
    let expected = &expected[case.output];
    for pool in pools {
        let got = compiled(case, pool);
        assert_eq!(got.len(), expected.len());
        for (i, (g, w)) in got.chunks(4).zip(expected.chunks(4)).enumerate() {
            let nan = |b: &[u8]| b.try_into().is_ok_and(|b| f32::from_le_bytes(b).is_nan());
            let same = g == w || (nan(g) && nan(w));
            assert!(same, "{} threads, word {i}: {g:?}, interpreter {w:?}\n{}", pool.threads(), case.kernel);
        }
    }
}

fn pools() -> Vec<Pool> {
    [1, 2, 5].into_iter().map(Pool::new).collect()
}

#[test]
fn linears() {
    let (mut rng, pools) = (Rng::new(11), pools());
    for i in 0..300 {
        let lanes = [1, 4, 4][rng.below(3)];
        if let Some(case) = linear(&mut rng, lanes, i % 3 > 0).unwrap() {
            check(&case, &pools);
        }
    }
}

#[test]
fn reductions_and_products() {
    let (mut rng, pools) = (Rng::new(12), pools());
    for _ in 0..300 {
        let lanes = [1, 4, 4][rng.below(3)];
        check(&contract(&mut rng, lanes).unwrap(), &pools);
    }
}

#[test]
fn pointwise() {
    let (mut rng, pools) = (Rng::new(13), pools());
    for _ in 0..300 {
        let lanes = [1, 4, 4][rng.below(3)];
        check(&mapped(&mut rng, lanes).unwrap(), &pools);
    }
}

#[test]
fn windows_and_images() {
    let (mut rng, pools) = (Rng::new(15), pools());
    for _ in 0..60 {
        let lanes = [1, 4][rng.below(2)];
        check(&unfolded(&mut rng, lanes).unwrap(), &pools);
        check(&channels(&mut rng, lanes).unwrap(), &pools);
    }
}

#[test]
fn gathers_conversions_and_integers() {
    let (mut rng, pools) = (Rng::new(14), pools());
    for _ in 0..80 {
        let lanes = [1, 4][rng.below(2)];
        check(&gathered(&mut rng, lanes).unwrap(), &pools);
        check(&rounding(&mut rng, 4).unwrap().0, &pools);
        // One in four: the interpreter takes its time.
        if rng.below(4) == 0
            && let Some(case) = rounded_linear(&mut rng, 4).unwrap()
        {
            check(&case, &pools);
        }
        check(&converted(&mut rng, lanes).unwrap(), &pools);
    }
}
