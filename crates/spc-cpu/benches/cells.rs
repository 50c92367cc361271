//! Linear kernels against the limits of the core, both in one run. `cargo bench -p spc-cpu --bench cells [-- FILTER ..]`
//!
//! Each cell interleaves calls of the kernel with calls of the limiting loops (multiply-adds on registers, and reads of the
//! largest stored array) and prints the median and the best decile of the paired ratios. The share of the roof is the longer of
//! the two times that the limits imply, over the kernel's. For `clif` the peak is half of the 256-bit loop's.
//!
//! A word is an instruction set or a part of a cell's name. Options: `--n=` tokens, `--zeros=` per cent, `--o=` and `--cols=`
//! sizes, `--reps=` calls per time, `--gib=` weights in so many copies, each used in its turn, that they fill it, and the order of loops: `--k=` inputs of a block (0 for none), `--rows=` row blocks of a
//! group, `--unit=` row blocks whose lists come by length, `--tokens=` of a group, `--by-span=` 1 for row blocks inside spans of tokens, `--weights=` bytes and `--ahead=` entries
//! asked for ahead.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use spc_cpu::{AlignedBuf, Isa, JitModule, compile_wide};
use spc_formats::Blocking;
use spc_formats::{Array, Layout, pack, validate};
use spc_kernel::templates::limits::{READ_ROUND, fma_peak, fma_peak_round, read_stream};
use spc_kernel::templates::{LinearSpec, Tuning, few, padded_tokens, panel, rowblock_tuned, rowlist};

const PAIRS: usize = 60;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn f32(&mut self) -> f32 {
        ((self.next() >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }
}

/// Time that this thread has had a core, in seconds: what other programs take of it does not count.
fn now() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the place it is given and nowhere else.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

fn seconds(f: impl FnOnce()) -> f64 {
    let t = now();
    f();
    now() - t
}

fn quantile(v: &[f64], q: f64) -> f64 {
    let mut v = v.to_vec();
    v.sort_by(f64::total_cmp);
    v[((v.len() - 1) as f64 * q).round() as usize]
}

/// Address of every array a kernel reads, by parameter name.
struct Args<'a>(Vec<(&'a str, u64)>);

impl Args<'_> {
    fn words(&self, params: &[spc_kernel::ir::Param]) -> Vec<u64> {
        params.iter().map(|p| self.0.iter().find(|(n, _)| *n == p.name).unwrap().1).collect()
    }
}

fn buffer(a: &Array) -> AlignedBuf {
    match a {
        Array::F32(a) => AlignedBuf::from_f32(a),
        Array::U32(a) => AlignedBuf::from_bytes(&a.iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<_>>()),
        Array::U8(a) => AlignedBuf::from_bytes(a),
    }
}

fn call(m: &JitModule, words: &[u64]) {
    // SAFETY: the words are buffers of the sizes that the kernel documents.
    unsafe { m.call(0, words).unwrap() }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let isa = args.iter().find_map(|a| Isa::from_name(a)).unwrap_or(Isa::native());
    let option = |name: &str| -> Option<i64> { args.iter().find_map(|a| a.strip_prefix(name)?.parse().ok()) };
    let filters: Vec<&String> = args.iter().filter(|a| Isa::from_name(a).is_none() && !a.starts_with("--")).collect();
    let lanes = isa.lanes();
    // Loops of 128 bits are limited by half of what the same loop of 256 does.
    let limit = if isa == Isa::Clif { Isa::Avx2 } else { isa };
    let wide = limit.lanes();
    let share_of_limit = lanes as f64 / wide as f64;
    let peak = compile_wide(&[fma_peak(wide).unwrap()], limit, false).unwrap();
    let read = compile_wide(&[read_stream(wide).unwrap()], limit, false).unwrap();
    let ones = AlignedBuf::from_f32(&vec![1.0; 2 * wide]);
    let mut sink = AlignedBuf::zeroed(4 * wide);
    let sink = sink.bytes_mut().as_mut_ptr() as u64;
    let (o, k) = (option("--o=").unwrap_or(4096) as usize, option("--cols=").unwrap_or(4096) as usize);
    println!("{}; W 4096 x 4096; median and best decile of {PAIRS} pairs", isa.name());
    println!(
        "| layout, zeros, tokens | us | GFLOP/s useful | % of FMA peak | best decile | stored GB/s | % of roof | best decile |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let names =
        ["dense(16)", "vx1(4)", "vx1(6)", "vx1(8)", "vx1(12)", "vx1(16)", "bsr(16,16)", "vx1(1)", "vx1(2)", "csr"];
    // A name with `rm` is the kernel that reads and writes activations token by token.
    let few_names = ["dense(16) rm", "vx1(4) rm", "vx1(8) rm", "vx1(16) rm", "bsr(16,16) rm"];
    let of_few = ["nm16(2,4) rm", "nm16(1,4) rm", "nm16(4,8) rm", "nm16(2,8) rm", "csr16 rm"];
    for name in names.into_iter().chain(few_names).chain(of_few) {
        let row_major = name.ends_with(" rm");
        let layout: Layout = name.trim_end_matches(" rm").parse().unwrap();
        for zeros in option("--zeros=").map_or(vec![50u64, 75, 90], |z| vec![z as u64]) {
            if layout == (Layout::Dense { panel: 16 }) && zeros != 50 && option("--zeros=").is_none() {
                continue;
            }
            let sizes = if row_major { vec![1u64, 2, 4, 8] } else { vec![1, 16, 48, 128] };
            for n in option("--n=").map_or(sizes, |n| vec![n as u64]) {
                let cell = format!("{name} {zeros} {n}");
                if !filters.is_empty() && !filters.iter().any(|f| cell.contains(f.as_str())) {
                    continue;
                }
                let (r, c) = match layout {
                    Layout::Dense { .. } => (1, 1),
                    Layout::Vx1 { v } => (v as usize, 1),
                    Layout::Bsr { r, c } => (r as usize, c as usize),
                    _ => (1, 1),
                };
                let mut rng = Random(0x9e37_79b9_7f4a_7c15);
                let (down, across) = (o.div_ceil(r), k.div_ceil(c));
                let kept: Vec<bool> = (0..down * across)
                    .map(|_| matches!(layout, Layout::Dense { .. }) || rng.next() % 100 >= zeros)
                    .collect();
                let w: Vec<f32> = (0..o * k)
                    .map(|i| if kept[(i / k / r) * across + i % k / c] { rng.f32() + 1.5 } else { 0.0 })
                    .collect();
                let mut w = w;
                if let Layout::Nm16 { n, m } = layout {
                    for group in w.chunks_mut(m as usize) {
                        let from = rng.next() as usize % group.len();
                        for (i, v) in group.iter_mut().enumerate() {
                            let kept = (i + m as usize - from) % (m as usize) < n as usize;
                            *v = if kept { rng.f32() + 1.5 } else { 0.0 };
                        }
                    }
                }
                let stored = w.iter().filter(|v| **v != 0.0).count();
                let packed = validate(pack(&layout, o, k, &w).unwrap()).unwrap();
                let spec = LinearSpec { layout, rows: o, cols: k, bias: false, act: None, beside: &[], lanes };
                let mut tuning = Tuning::of(&spec, n);
                if let Some(cols) = option("--k=") {
                    let rows = option("--rows=").unwrap_or(i64::from(u32::MAX)) as u32;
                    let unit = option("--unit=").unwrap_or(0) as u32;
                    tuning.blocking = (cols > 0).then_some(Blocking { cols: cols as u32, rows, unit });
                }
                tuning.tokens = option("--tokens=").map_or(tuning.tokens, |n| n as usize);
                tuning.weights_ahead = option("--weights=").map_or(tuning.weights_ahead, |n| n as i32);
                tuning.rows_ahead = option("--ahead=").unwrap_or(tuning.rows_ahead);
                tuning.by_span = option("--by-span=").map_or(tuning.by_span, |n| n != 0);
                let by_row = LinearSpec { lanes: spec.panel_lanes(), ..spec };
                let kernel = match layout {
                    Layout::Dense { .. } if row_major => panel(&by_row).unwrap(),
                    Layout::Csr16 => rowlist(&by_row).unwrap(),
                    _ if row_major => few(&by_row).unwrap(),
                    _ => rowblock_tuned(&spec, tuning).unwrap(),
                };
                if row_major {
                    tuning.blocking = None;
                }
                if args.iter().any(|a| a == "--asm") {
                    println!("{}", spc_cpu::listing(&kernel, isa).unwrap());
                    return;
                }
                let range = tuning.range(&spec);
                let module = compile_wide(std::slice::from_ref(&kernel), isa, false).unwrap();
                let np = padded_tokens(n).unwrap() as usize;
                let x: Vec<f32> = (0..np * k).map(|_| rng.f32()).collect();
                let x = AlignedBuf::from_f32(&x);
                let mut y = AlignedBuf::zeroed(4 * np * o);
                let one = || -> Vec<(String, AlignedBuf)> {
                    let of = tuning.blocks(&spec);
                    let arrays = packed.packed().arrays.iter();
                    arrays
                        .map(|(n, a)| {
                            (n.to_string(), buffer(of.and_then(|k| packed.arranged(n, k)).as_ref().unwrap_or(a)))
                        })
                        .collect()
                };
                let mut copies = vec![one()];
                let bytes: usize = copies[0].iter().map(|(_, b)| b.len()).sum();
                let wanted = option("--gib=").map_or(1, |g| ((g as usize) << 30).div_ceil(bytes));
                copies.extend((1..wanted).map(|_| one()));
                let words: Vec<Vec<u64>> = copies
                    .iter()
                    .map(|arrays| {
                        let mut list: Vec<(&str, u64)> =
                            arrays.iter().map(|(n, b)| (n.as_str(), b.bytes().as_ptr() as u64)).collect();
                        list.extend([
                            ("x", x.bytes().as_ptr() as u64),
                            ("y", y.bytes_mut().as_mut_ptr() as u64),
                            ("np", np as u64),
                            ("n", n),
                            ("lo", 0),
                            ("hi", if row_major { spec.blocks() } else { range } as u64),
                        ]);
                        Args(list).words(&kernel.params)
                    })
                    .collect();
                // The largest array of each copy: what reading alone costs. Half of all copies lie between it and the kernel's.
                let read_words: Vec<(u64, u64)> = copies
                    .iter()
                    .map(|c| {
                        c.iter()
                            .map(|(_, b)| (b.bytes().as_ptr() as u64, b.len() as u64))
                            .max_by_key(|(_, l)| *l)
                            .unwrap()
                    })
                    .collect();
                let reads = (read_words[0].1 / READ_ROUND as u64).max(1);
                let read_bytes = (reads * READ_ROUND as u64) as f64;
                let turn = std::cell::Cell::new(0usize);
                let next = || {
                    turn.set((turn.get() + 1) % copies.len());
                    turn.get()
                };
                let flops = 2.0 * stored as f64 * n as f64;
                let once = seconds(|| call(&module, &words[0])).min(seconds(|| call(&module, &words[0])));
                let rounds = (once.min(0.02) * 80e9 / fma_peak_round(wide) as f64).max(1e3) as u64;
                let peak_words = [ones.bytes().as_ptr() as u64, sink, rounds];
                let peak_flops = 2.0 * (rounds as usize * fma_peak_round(wide)) as f64 * share_of_limit;
                let (mut times, mut ratios, mut roofs) = (Vec::new(), Vec::new(), Vec::new());
                for _ in 0..PAIRS {
                    let a = seconds(|| call(&peak, &peak_words));
                    let reps = option("--reps=").unwrap_or(1);
                    let t = seconds(|| (0..reps).for_each(|_| call(&module, &words[next()]))) / reps as f64;
                    let b = seconds(|| call(&peak, &peak_words));
                    let (from, _) = read_words[(turn.get() + copies.len() / 2) % copies.len()];
                    let r = seconds(|| call(&read, &[from, sink, reads]));
                    times.push(t);
                    ratios.push((flops / t) / (peak_flops / a.min(b)));
                    let compute = flops * a.min(b) / peak_flops;
                    roofs.push(compute.max(bytes as f64 * r / read_bytes) / t);
                }
                let t = quantile(&times, 0.5);
                println!(
                    "| {cell} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
                    t * 1e6,
                    flops / t / 1e9,
                    100.0 * quantile(&ratios, 0.5),
                    100.0 * quantile(&ratios, 0.9),
                    bytes as f64 / t / 1e9,
                    100.0 * quantile(&roofs, 0.5),
                    100.0 * quantile(&roofs, 0.9),
                );
            }
        }
    }
    let big = AlignedBuf::zeroed(512 << 20);
    for bytes in [
        32usize << 10,
        128 << 10,
        512 << 10,
        768 << 10,
        1usize << 20,
        1280 << 10,
        1536 << 10,
        1792 << 10,
        2 << 20,
        3 << 20,
        4 << 20,
        16 << 20,
        32 << 20,
        48 << 20,
        64 << 20,
        512 << 20,
    ] {
        let words = [big.bytes().as_ptr() as u64, sink, (bytes / READ_ROUND) as u64];
        let times: Vec<f64> = (0..9)
            .map(|_| {
                seconds(|| (0..1 + (8 << 20) / bytes).for_each(|_| call(&read, &words)))
                    / (1 + (8 << 20) / bytes) as f64
            })
            .collect();
        println!("read {} KiB: {:.1} GB/s", bytes >> 10, bytes as f64 / quantile(&times, 0.5) / 1e9);
    }
}
