//! Conversions of activations between token by token and feature by feature, against copies of as many bytes, in turns. `cargo bench -p
//! spc-cpu --bench convert [-- ISA]`
//!
//! Arrays are used in turn that together take 32 MiB, so that they come from the third level of cache; `hot` rows use one pair. The share is
//! the time of the copy over that of the conversion: median and best decile of 60 pairs.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use spc_cpu::{AlignedBuf, Isa, compile_wide};
use spc_kernel::templates::{feature_blocks, padded_tokens, to_feature_major, to_row_major};
use std::time::Instant;

const ROUNDS: usize = 60;

fn quantile(v: &[f64], q: f64) -> f64 {
    let mut v = v.to_vec();
    v.sort_by(f64::total_cmp);
    v[((v.len() - 1) as f64 * q).round() as usize]
}

fn row(isa: Isa, n: usize, features: usize, to_fm: bool, hot: bool) {
    let lanes = isa.lanes();
    let kernel = if to_fm { to_feature_major(features, lanes) } else { to_row_major(features, lanes) }.unwrap();
    let module = compile_wide(std::slice::from_ref(&kernel), isa, false).unwrap();
    let np = padded_tokens(n as u64).unwrap() as usize;
    let (rm, fm) = (4 * n * features, 4 * np * features);
    let sets = if hot { 1 } else { ((32 << 20) / (rm + fm)).max(1) };
    let values: Vec<f32> = (0..np * features).map(|i| (i % 17) as f32 - 8.0).collect();
    let (from, to) = if to_fm { (rm, fm) } else { (fm, rm) };
    let x: Vec<AlignedBuf> = (0..sets).map(|_| AlignedBuf::from_f32(&values[..from / 4])).collect();
    let mut y: Vec<AlignedBuf> = (0..sets).map(|_| AlignedBuf::zeroed(to)).collect();
    let mut turn = 0;
    let (mut own, mut copy) = (Vec::new(), Vec::new());
    let reps = ((4 << 20) / (rm + fm)).max(1);
    for _ in 0..ROUNDS {
        let t = Instant::now();
        for _ in 0..reps {
            turn = (turn + 1) % sets;
            let words: Vec<u64> = (kernel.params.iter())
                .map(|p| match p.name.as_str() {
                    "x" => x[turn].bytes().as_ptr() as u64,
                    "y" => y[turn].bytes_mut().as_mut_ptr() as u64,
                    "n" => n as u64,
                    "np" => np as u64,
                    "lo" => 0,
                    _ => feature_blocks(features, lanes) as u64,
                })
                .collect();
            // SAFETY: the words are buffers of the sizes that the kernel documents.
            unsafe { module.call(0, &words).unwrap() }
        }
        own.push(t.elapsed().as_secs_f64() / reps as f64);
        let t = Instant::now();
        for _ in 0..reps {
            turn = (turn + 1) % sets;
            let n = from.min(to);
            y[turn].bytes_mut()[..n].copy_from_slice(&x[turn].bytes()[..n]);
        }
        copy.push(t.elapsed().as_secs_f64() / reps as f64);
    }
    let share: Vec<f64> = own.iter().zip(&copy).map(|(a, b)| b / a).collect();
    println!(
        "| {} {n} x {features}{} | {:.1} | {:.1} | {:.0} | {:.0} |",
        if to_fm { "to features" } else { "to tokens" },
        if hot { ", hot" } else { "" },
        1e6 * quantile(&own, 0.5),
        1e6 * quantile(&copy, 0.5),
        100.0 * quantile(&share, 0.5),
        100.0 * quantile(&share, 0.9),
    );
}

fn main() {
    let named = std::env::args().skip(1).find_map(|a| Isa::from_name(&a));
    let isa = named.unwrap_or_else(Isa::native);
    println!("{}", isa.name());
    println!("| conversion | us | copy us | share of copy, % | best decile |\n| --- | --- | --- | --- | --- |");
    for (n, features) in [(16, 4096), (48, 4096), (128, 4096), (128, 384), (128, 1536), (512, 1000)] {
        for to_fm in [true, false] {
            row(isa, n, features, to_fm, false);
            row(isa, n, features, to_fm, true);
        }
    }
}
