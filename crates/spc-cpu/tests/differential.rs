//! Compiled kernels agree with the interpreter bit for bit (any NaN equals any NaN).
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_cpu::{Features, clif_text, compile_for};
use spc_kernel::ir::interp::{Arg, run};
use spc_kernel::ir::random::{self, Rng};

/// Runs both and compares the written buffer as floats.
fn check(seed: u64, lanes: usize, features: Features) {
    let mut rng = Rng::new(seed);
    let k = random::kernel(&mut rng, lanes).unwrap();
    let module = compile_for(std::slice::from_ref(&k), features).unwrap();
    for n in 0..4i64 {
        let (p, q) = (random::buffer(&mut rng), random::buffer(&mut rng));
        let mut expected = [p.clone(), q.clone()];
        run(&k, &[Arg::buffer(0), Arg::buffer(1), Arg::Int(n)], &mut expected).unwrap();
        let mut got = q;
        // SAFETY: the interpreter has just run the kernel inside these buffers.
        unsafe { module.call(0, &[p.as_ptr() as u64, got.as_mut_ptr() as u64, n as u64]).unwrap() };
        for (i, (g, w)) in got.chunks(4).zip(expected[1].chunks(4)).enumerate() {
            let (g, w) = (f32::from_le_bytes(g.try_into().unwrap()), f32::from_le_bytes(w.try_into().unwrap()));
            let same = g.to_bits() == w.to_bits() || (g.is_nan() && w.is_nan());
            assert!(same, "seed {seed} lanes {lanes} n {n} {features:?}: word {i} is {g:?}, interpreter {w:?}\n{k}");
        }
    }
}

#[test]
fn four_lanes_agree_with_the_interpreter() {
    (0..400).for_each(|seed| check(seed, 4, Features::Host));
}

#[test]
fn one_lane_agrees_with_the_interpreter() {
    (1000..1200).for_each(|seed| check(seed, 1, Features::Host));
}

#[test]
fn code_without_fma_gives_the_same_bits() {
    (2000..2150).for_each(|seed| check(seed, 4, Features::Baseline));
    (2150..2200).for_each(|seed| check(seed, 1, Features::Baseline));
}

#[test]
fn other_lane_counts_are_refused() {
    let k = random::kernel(&mut Rng::new(1), 8).unwrap();
    assert!(compile_for(std::slice::from_ref(&k), Features::Host).is_err_and(|e| e.0.contains("8 lanes")));
    assert!(clif_text(&k).is_err());
}

#[test]
fn modules_can_be_made_and_dropped_many_times() {
    let k = random::kernel(&mut Rng::new(7), 4).unwrap();
    for _ in 0..50 {
        let m = compile_for(&[k.clone(), k.clone()], Features::Host).unwrap();
        assert_eq!(m.len(), 2);
        assert!(m.code_size(1).unwrap() > 0);
        // SAFETY: refused before anything runs.
        assert!(unsafe { m.call(0, &[0]) }.is_err());
        assert!(unsafe { m.call(2, &[0, 0, 0]) }.is_err());
    }
}
