//! Templates, run by the interpreter, against plain f64 arithmetic with derived bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_kernel::ir::interp::{Arg, run};
use spc_kernel::ir::parse;
use spc_kernel::ir::random::Rng;
use spc_kernel::templates::cases::{
    Case, channels, contract, converted, gathered, linear, linear_in_units, long_linear, long_rounded_linear, mapped,
    rounded_linear, rounding, tiled_linear, unfolded,
};

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
}

/// Output after running the range in the parts that begin at `cuts`.
fn output(case: &Case, cuts: &[i64]) -> Vec<f32> {
    let mut buffers = case.buffers.clone();
    let ends = cuts.iter().skip(1).copied().chain([case.range]);
    for (lo, hi) in cuts.iter().copied().zip(ends) {
        let mut args = case.args.clone();
        args[case.lo_param] = Arg::Int(lo);
        args[case.hi_param] = Arg::Int(hi);
        run(&case.kernel, &args, &mut buffers).unwrap_or_else(|e| panic!("{e}\n{}", case.kernel));
    }
    floats(&buffers[case.output])
}

fn check(case: &Case, rng: &mut Rng) {
    let whole = output(case, &[0]);
    for (i, (got, want)) in whole.iter().zip(&case.want).enumerate() {
        if let Some((want, bound)) = want {
            let got = f64::from(*got);
            let error = (got - want).abs();
            let absent = case.or_nan.get(i).is_some_and(|may| *may) && got.is_nan();
            let fine = error <= *bound || got == *want || (got.is_nan() && want.is_nan()) || absent;
            assert!(fine, "{}: float {i} is {got}, not {want}: {error} > {bound}", case.kernel.name);
        }
    }
    let cut = rng.below(case.range as usize + 1) as i64;
    let parts = output(case, &[0, cut]);
    let bits =
        |v: &[f32]| v.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect::<Vec<_>>();
    assert_eq!(bits(&whole), bits(&parts), "{} cut at {cut}", case.kernel.name);
    assert_eq!(parse(&case.kernel.to_string()).unwrap(), case.kernel);
}

#[test]
fn linears_are_within_the_derived_bound() {
    let mut rng = Rng::new(1);
    let mut ran = 0;
    for _ in 0..250 {
        let lanes = [1, 4, 4, 8, 16][rng.below(5)];
        if let Some(case) = linear(&mut rng, lanes, true).unwrap() {
            check(&case, &mut rng);
            ran += 1;
        }
    }
    assert!(ran > 200, "only {ran} cases");
}

/// Lists of one and two rows in units, by length, cut at whole units.
#[test]
fn linears_of_lists_in_units() {
    let mut rng = Rng::new(7);
    let ran =
        (0..60).filter_map(|i| linear_in_units(&mut rng, i % 3 > 0).unwrap()).map(|c| check(&c, &mut Rng::new(8)));
    assert!(ran.count() > 50);
}

/// Long batches of small shapes: whole and partial tiles, the last of many.
#[test]
fn linears_of_up_to_512_tokens() {
    let mut rng = Rng::new(12);
    let mut ran = 0;
    for i in 0..18 {
        let (lanes, tokens) = ([4, 8, 16][i % 3], [257, 384, 511, 512][rng.below(4)]);
        let float = long_linear(&mut rng, lanes, tokens).unwrap();
        let rounded = long_rounded_linear(&mut rng, lanes, tokens, lanes == 16 && i % 2 == 0).unwrap();
        for case in [float, rounded].into_iter().flatten() {
            check(&case, &mut rng);
            ran += 1;
        }
    }
    assert!(ran > 24, "only {ran} cases");
}

/// Absent weights next to NaN and infinity: the sum without them, or NaN, and nothing else.
#[test]
fn linears_of_special_values() {
    let mut rng = Rng::new(6);
    for _ in 0..150 {
        let lanes = [1, 4, 4, 16][rng.below(4)];
        if let Some(case) = linear(&mut rng, lanes, false).unwrap() {
            check(&case, &mut rng);
        }
    }
}

#[test]
fn linears_of_integers_are_exact_up_to_scaling() {
    let mut rng = Rng::new(7);
    let mut ran = 0;
    for _ in 0..150 {
        let lanes = [4, 8, 16][rng.below(3)];
        if let Some(case) = rounded_linear(&mut rng, lanes).unwrap() {
            check(&case, &mut rng);
            ran += 1;
        }
    }
    assert!(ran > 120, "only {ran} cases");
}

/// The same linear on tiles and on vectors: the same bits, and those within the bound.
#[test]
fn linears_on_tiles_give_the_bits_of_vectors() {
    let mut ran = 0;
    for seed in 0..60 {
        let (mut rng, mut again) = (Rng::new(900 + seed), Rng::new(900 + seed));
        if let (Some(tiles), Some(plain)) =
            (tiled_linear(&mut rng, true).unwrap(), tiled_linear(&mut again, false).unwrap())
        {
            assert!(tiles.kernel.uses_tiles() && !plain.kernel.uses_tiles());
            check(&tiles, &mut rng);
            let bits = |c: &Case| output(c, &[0]).into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(&tiles), bits(&plain), "{}", tiles.kernel.name);
            ran += 1;
        }
    }
    assert!(ran > 50, "only {ran} cases");
}

#[test]
fn tokens_are_rounded_as_documented() {
    let mut rng = Rng::new(8);
    for _ in 0..100 {
        let lanes = [4, 8, 16][rng.below(3)];
        let (case, integers) = rounding(&mut rng, lanes).unwrap();
        check(&case, &mut rng);
        let mut buffers = case.buffers.clone();
        run(&case.kernel, &case.args, &mut buffers).unwrap();
        for (at, want) in integers {
            assert_eq!(buffers[1][at], want, "{} byte {at}", case.kernel.name);
        }
    }
}

#[test]
fn reductions_and_products_are_within_the_derived_bound() {
    let mut rng = Rng::new(2);
    for _ in 0..400 {
        let lanes = [1, 4, 4, 8, 16][rng.below(5)];
        let case = contract(&mut rng, lanes).unwrap();
        check(&case, &mut rng);
    }
}

#[test]
fn gathers_copy_rows_and_report_ids_out_of_range() {
    let mut rng = Rng::new(3);
    for _ in 0..200 {
        let lanes = [1, 4, 8, 16][rng.below(4)];
        let case = gathered(&mut rng, lanes).unwrap();
        check(&case, &mut rng);
    }
}

#[test]
fn pointwise_kernels_stay_inside_their_buffers_and_may_be_cut() {
    let mut rng = Rng::new(4);
    for _ in 0..400 {
        let lanes = [1, 4, 8, 16][rng.below(4)];
        let case = mapped(&mut rng, lanes).unwrap();
        check(&case, &mut rng);
    }
}

#[test]
fn conversions_transpose_and_clear_the_pads() {
    let mut rng = Rng::new(5);
    for _ in 0..120 {
        let lanes = [1, 4, 8, 16][rng.below(4)];
        let case = converted(&mut rng, lanes).unwrap();
        check(&case, &mut rng);
    }
}

#[test]
fn windows_become_matrices_and_matrices_images() {
    let mut rng = Rng::new(6);
    for _ in 0..200 {
        let lanes = [1, 4, 8, 16][rng.below(4)];
        check(&unfolded(&mut rng, lanes).unwrap(), &mut rng);
        check(&channels(&mut rng, lanes).unwrap(), &mut rng);
    }
}
