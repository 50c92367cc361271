//! 8-bit linears against the limits of the core, both in one run. `cargo bench -p spc-cpu --bench int8 [-- ISA] [-- FILTER ..]`
//!
//! Each cell interleaves calls of the kernel with calls of the limiting loop (dot products of bytes on registers) and prints
//! the median and the best decile of the paired ratios.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use spc_cpu::{AlignedBuf, Isa, JitModule, compile_wide};
use spc_formats::{Array, Layout, pack, validate};
use spc_kernel::templates::limits::{dot_peak, dot_peak_round};
use spc_kernel::templates::{LinearSpec, SCRATCH, blocks8, padded_tokens, place, round_tokens};
use std::time::Instant;

const PAIRS: usize = 60;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }
}

fn seconds(f: impl FnOnce()) -> f64 {
    let t = Instant::now();
    f();
    t.elapsed().as_secs_f64()
}

fn quantile(v: &[f64], q: f64) -> f64 {
    let mut v = v.to_vec();
    v.sort_by(f64::total_cmp);
    v[((v.len() - 1) as f64 * q).round() as usize]
}

fn buffer(a: &Array) -> AlignedBuf {
    match a {
        Array::F32(a) => AlignedBuf::from_f32(a),
        Array::U32(a) => AlignedBuf::from_bytes(&a.iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<_>>()),
        Array::U8(a) => AlignedBuf::from_bytes(a),
    }
}

fn words(params: &[spc_kernel::ir::Param], list: &[(&str, u64)]) -> Vec<u64> {
    params.iter().map(|p| list.iter().find(|(n, _)| *n == p.name).unwrap().1).collect()
}

fn call(m: &JitModule, words: &[u64]) {
    // SAFETY: the words are buffers of the sizes that the kernel documents.
    unsafe { m.call(0, words).unwrap() }
}

/// Blocks of `r` x 4 of which about `zeros` per cent are absent; codes times one scale.
fn weights(o: usize, k: usize, r: usize, zeros: u64) -> Vec<f32> {
    let mut rng = Random(0x9e37_79b9_7f4a_7c15);
    let (down, across) = (o.div_ceil(r), k.div_ceil(4));
    let kept: Vec<bool> = (0..down * across).map(|_| rng.next() % 100 >= zeros).collect();
    let mut w: Vec<f32> = (0..o * k)
        .map(|i| if kept[(i / k / r) * across + i % k / 4] { (rng.next() % 254) as f32 - 127.0 } else { 0.0 })
        .collect();
    w.chunks_mut(k).filter_map(|row| row.iter_mut().find(|v| **v != 0.0)).for_each(|v| *v = 127.0);
    w
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let isa = args.iter().find_map(|a| Isa::from_name(a)).unwrap_or(Isa::native());
    let filters: Vec<&String> = args.iter().filter(|a| Isa::from_name(a).is_none()).collect();
    let lanes = isa.lanes();
    let peak = compile_wide(&[dot_peak(lanes).unwrap()], isa, false).unwrap();
    let ones = AlignedBuf::from_bytes(&vec![1u8; 8 * lanes]);
    let mut sink = AlignedBuf::zeroed(4 * lanes);
    let sink = sink.bytes_mut().as_mut_ptr() as u64;
    println!("{}; median and best decile of {PAIRS} pairs", isa.name());
    println!(
        "| layout, shape, zeros, tokens | us | GOP/s useful | % of dot peak | best decile | stored GB/s | rounding us |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (r, o, k) in
        [(32u32, 4096usize, 4096usize), (16, 4096, 4096), (32, 1536, 384), (32, 576, 1536), (32, 384, 1536)]
    {
        for zeros in [0u64, 50, 80, 90] {
            for n in [1usize, 4, 12, 16, 48, 128] {
                let cell = format!("i8({r}) {o}x{k} {zeros} {n}");
                if !filters.is_empty() && !filters.iter().any(|f| cell.contains(f.as_str())) {
                    continue;
                }
                let layout = Layout::I8 { r };
                let w = weights(o, k, r as usize, zeros);
                let packed = validate(pack(&layout, o, k, &w).unwrap()).unwrap();
                let stored = packed.packed().array("codes").unwrap().len();
                let spec = LinearSpec { layout, rows: o, cols: k, bias: false, act: None, lanes };
                let kernel = blocks8(&spec).unwrap();
                let module = compile_wide(std::slice::from_ref(&kernel), isa, false).unwrap();
                let convert = round_tokens(k, lanes).unwrap();
                let conversion = compile_wide(std::slice::from_ref(&convert), isa, false).unwrap();
                let mut rng = Random(77);
                let np = padded_tokens(n as u64).unwrap() as usize;
                let x: Vec<f32> = (0..n * k).map(|_| (rng.next() % 2001) as f32 / 1000.0 - 1.0).collect();
                let x = AlignedBuf::from_f32(&x);
                let mut q = AlignedBuf::zeroed(np * k.div_ceil(4) * 4);
                for i in 0..n * k {
                    q.bytes_mut()[place(i / k, i % k, n, k)] = (rng.next() % 255) as u8 + 1;
                }
                let mut scales = AlignedBuf::from_f32(&vec![0.01; np]);
                let mut scratch = AlignedBuf::zeroed(np * SCRATCH);
                let mut y = AlignedBuf::zeroed(4 * np * o);
                let arrays: Vec<(&str, AlignedBuf)> =
                    packed.packed().arrays.iter().map(|(n, a)| (*n, buffer(a))).collect();
                let (qp, sp) = (q.bytes_mut().as_mut_ptr() as u64, scales.bytes_mut().as_mut_ptr() as u64);
                let mut list: Vec<(&str, u64)> = arrays.iter().map(|(n, b)| (*n, b.bytes().as_ptr() as u64)).collect();
                list.extend([
                    ("q", qp),
                    ("s", sp),
                    ("y", y.bytes_mut().as_mut_ptr() as u64),
                    ("n", n as u64),
                    ("lo", 0),
                    ("hi", spec.blocks() as u64),
                ]);
                let run = words(&kernel.params, &list);
                let round = words(
                    &convert.params,
                    &[
                        ("x", x.bytes().as_ptr() as u64),
                        ("q", qp),
                        ("scales", sp),
                        ("scratch", scratch.bytes_mut().as_mut_ptr() as u64),
                        ("n", n as u64),
                        ("lo", 0),
                        ("hi", n as u64),
                    ],
                );
                let useful = 2.0 * stored as f64 * n as f64;
                let once = seconds(|| call(&module, &run)).min(seconds(|| call(&module, &run)));
                let rounds = (once.min(0.01) * 300e9 / dot_peak_round(lanes) as f64).max(1e3) as u64;
                let peak_words = [ones.bytes().as_ptr() as u64, sink, rounds];
                let peak_ops = 2.0 * (rounds as usize * dot_peak_round(lanes)) as f64;
                let (mut times, mut ratios, mut conversions) = (Vec::new(), Vec::new(), Vec::new());
                for _ in 0..PAIRS {
                    let a = seconds(|| call(&peak, &peak_words));
                    let t = seconds(|| call(&module, &run));
                    let b = seconds(|| call(&peak, &peak_words));
                    conversions.push(seconds(|| call(&conversion, &round)));
                    times.push(t);
                    ratios.push((useful / t) / (peak_ops / a.min(b)));
                }
                let t = quantile(&times, 0.5);
                let bytes: usize = arrays.iter().map(|(_, b)| b.len()).sum();
                println!(
                    "| {cell} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
                    t * 1e6,
                    useful / t / 1e9,
                    100.0 * quantile(&ratios, 0.5),
                    100.0 * quantile(&ratios, 0.9),
                    bytes as f64 / t / 1e9,
                    quantile(&conversions, 0.5) * 1e6,
                );
            }
        }
    }
}
