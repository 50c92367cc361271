//! 8-bit linears against the limits of the core and against dense ones, all in one run. `cargo bench -p spc-cpu --bench int8 [--
//! ISA] [-- FILTER ..]`
//!
//! Each round calls the limiting loop (dot products of bytes on registers), the kernel, the limiting loop again, the same linear
//! in `i8(32)` (of 4-bit codes in `q4`) with nothing absent, and a loop that reads as many bytes as are stored. Printed are the median and the best decile
//! of the ratios of a round. Times are those that the thread had a core.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use spc_cpu::{AlignedBuf, Isa, JitModule, compile_wide};
use spc_formats::{Array, Layout, pack, validate};
use spc_kernel::templates::limits::{READ_ROUND, dot_peak, dot_peak_round, read_stream};
use spc_kernel::templates::{
    LinearSpec, ORDER, SCRATCH, blocks8, groups, padded_tokens, pick8, place, round_rows, round_tokens, round_tokens16,
    row_bytes, tile_place, tiles_pay, tiles8,
};

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

/// Codes times one scale, about `zeros` per cent of them absent: in blocks, in groups or one by one, as the layout stores them.
fn weights(layout: Layout, o: usize, k: usize, zeros: u64) -> Vec<f32> {
    let mut rng = Random(0x9e37_79b9_7f4a_7c15);
    let r = if let Layout::I8 { r } = layout { r as usize } else { 1 };
    let (down, across) = (o.div_ceil(r), k.div_ceil(4));
    let kept: Vec<bool> = (0..down * across).map(|_| rng.next() % 100 >= zeros).collect();
    let mut turn = 0;
    let mut there = |i: usize, rng: &mut Random| match layout {
        Layout::I8 { .. } => kept[(i / k / r) * across + i % k / 4],
        Layout::I8Nm { n, m } | Layout::I4Nm { n, m, .. } => {
            let at = i % k % m as usize;
            if at == 0 {
                turn = rng.next() as usize;
            }
            (at + turn) % (m as usize) < n as usize
        }
        _ => rng.next() % 100 >= zeros,
    };
    let mut w: Vec<f32> =
        (0..o * k).map(|i| if there(i, &mut rng) { (rng.next() % 127) as f32 + 1.0 } else { 0.0 }).collect();
    if let Layout::I4Nm { group, .. } | Layout::Groups { group, .. } = layout {
        // Codes of 4 bits, a scale for each group.
        for (g, part) in w.chunks_mut(group as usize).enumerate() {
            let scale = (1 + g * 7 % 1000) as f32 / 1024.0;
            part.iter_mut().filter(|v| **v != 0.0).for_each(|v| *v = (*v % 7.0 + 1.0) * scale);
            part.iter_mut().find(|v| **v != 0.0).into_iter().for_each(|v| *v = 7.0 * scale);
        }
        return w;
    }
    w.chunks_mut(k).filter_map(|row| row.iter_mut().find(|v| **v != 0.0)).for_each(|v| *v = 127.0);
    w
}

/// A compiled linear with what it reads and writes.
struct Ready {
    module: JitModule,
    rounding: JitModule,
    arrays: Vec<(String, AlignedBuf)>,
    _buffers: Vec<AlignedBuf>,
    words: Vec<u64>,
    rounding_words: Vec<u64>,
    /// Codes that are stored.
    codes: usize,
    compile_us: f64,
}

impl Ready {
    fn new(layout: Layout, (o, k): (usize, usize), w: &[f32], n: usize, isa: Isa) -> Ready {
        let lanes = isa.lanes();
        let packed = validate(pack(&layout, o, k, w).unwrap()).unwrap();
        let codes = packed.packed().array("codes").unwrap().len();
        let spec = LinearSpec { layout, rows: o, cols: k, bias: false, act: None, beside: &[], lanes };
        let rows = layout.needs_integer_rows();
        let tiles = isa.target().tiles && tiles_pay(&layout, n as u64);
        let kernel = match layout {
            Layout::Groups { .. } => groups(&spec),
            _ if tiles => tiles8(&spec),
            _ if rows => pick8(&spec),
            _ => blocks8(&spec),
        };
        let kernel = kernel.unwrap();
        let compiled = |_| {
            let t = now();
            compile_wide(std::slice::from_ref(&kernel), isa, false).unwrap();
            1e6 * (now() - t)
        };
        let compile_us = quantile(&(0..9).map(compiled).collect::<Vec<f64>>(), 0.1);
        let module = compile_wide(std::slice::from_ref(&kernel), isa, false).unwrap();
        let convert = match () {
            () if rows => round_rows(k, lanes),
            () if tiles => round_tokens16(k, lanes),
            () => round_tokens(k, lanes),
        };
        let convert = convert.unwrap();
        let rounding = compile_wide(std::slice::from_ref(&convert), isa, false).unwrap();
        let mut rng = Random(77);
        let np = padded_tokens(n as u64).unwrap() as usize;
        let x: Vec<f32> = (0..n * k).map(|_| (rng.next() % 2001) as f32 / 1000.0 - 1.0).collect();
        let x = AlignedBuf::from_f32(&x);
        let mut q = AlignedBuf::zeroed(if rows { n * row_bytes(k) } else { np * k.div_ceil(4) * 4 });
        for i in 0..n * k {
            let at = match () {
                () if rows => i / k * row_bytes(k) + i % k,
                () if tiles => tile_place(i / k, i % k, k),
                () => place(i / k, i % k, n, k),
            };
            q.bytes_mut()[at] = (rng.next() % 255) as u8 + 1;
        }
        let mut scales = AlignedBuf::from_f32(&vec![0.01; np]);
        let mut scratch = AlignedBuf::zeroed(np * SCRATCH);
        let mut y = AlignedBuf::zeroed(4 * np * o);
        let arranged = |n: &str, a: &Array| if tiles { packed.arranged(n, ORDER).unwrap() } else { a.clone() };
        let arrays: Vec<(String, AlignedBuf)> =
            packed.packed().arrays.iter().map(|(n, a)| (n.to_string(), buffer(&arranged(n, a)))).collect();
        let (qp, sp) = (q.bytes_mut().as_mut_ptr() as u64, scales.bytes_mut().as_mut_ptr() as u64);
        let mut list: Vec<(&str, u64)> = arrays.iter().map(|(n, b)| (n.as_str(), b.bytes().as_ptr() as u64)).collect();
        list.extend([
            ("q", qp),
            ("x", x.bytes().as_ptr() as u64),
            ("s", sp),
            ("y", y.bytes_mut().as_mut_ptr() as u64),
            ("n", n as u64),
            ("lo", 0),
            ("hi", spec.blocks() as u64),
        ]);
        let words_ = words(&kernel.params, &list);
        let rounding_words = words(
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
        let _buffers = vec![x, q, scales, scratch, y];
        Ready { module, rounding, arrays, _buffers, words: words_, rounding_words, codes, compile_us }
    }

    fn call(&self) {
        call(&self.module, &self.words);
    }

    fn bytes(&self) -> usize {
        self.arrays.iter().map(|(_, b)| b.len()).sum()
    }
}

/// Layouts, shapes and per cent of zeros.
fn cells() -> Vec<(Layout, usize, usize, u64)> {
    let mut out = Vec::new();
    for (layout, o, k) in [
        ("i8(32)", 4096, 4096),
        ("i8(16)", 4096, 4096),
        ("i8(32)", 1536, 384),
        ("i8(32)", 576, 1536),
        ("i8(32)", 384, 1536),
    ] {
        out.extend([0, 50, 80, 90].map(|zeros| (layout.parse().unwrap(), o, k, zeros)));
    }
    for (layout, zeros) in
        [("i8nm(2,4)", 50), ("i8nm(1,4)", 75), ("i8nm(4,8)", 50), ("i8nm(3,4)", 25), ("i8nm(2,16)", 88)]
    {
        out.push((layout.parse().unwrap(), 4096, 4096, zeros));
    }
    for (layout, zeros) in [("i4nm(2,4,32,16)", 50), ("i4nm(1,4,32,16)", 75), ("i4nm(4,8,32,16)", 50)] {
        out.push((layout.parse().unwrap(), 4096, 4096, zeros));
    }
    out.extend([50, 80, 90].map(|zeros| (Layout::I8 { r: 32 }, 1024, 4096, zeros)));
    for c in [4, 8] {
        out.extend([70, 80, 90, 95].map(|zeros| (Layout::I8Csr { c }, 4096, 4096, zeros)));
        out.extend([80, 90].map(|zeros| (Layout::I8Csr { c }, 576, 1536, zeros)));
    }
    out
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let isa = args.iter().find_map(|a| Isa::from_name(a)).unwrap_or(Isa::native());
    let filters: Vec<&String> = args.iter().filter(|a| Isa::from_name(a).is_none()).collect();
    let lanes = isa.lanes();
    let peak = compile_wide(&[dot_peak(lanes).unwrap()], isa, false).unwrap();
    let read = compile_wide(&[read_stream(lanes).unwrap()], isa, false).unwrap();
    let source = AlignedBuf::from_bytes(&vec![1; (24 << 20) + READ_ROUND]);
    let ones = AlignedBuf::from_bytes(&vec![1u8; 8 * lanes]);
    let mut sink = AlignedBuf::zeroed(4 * lanes);
    let sink = sink.bytes_mut().as_mut_ptr() as u64;
    println!("{}; median and best decile of {PAIRS} rounds", isa.name());
    println!(
        "| layout, shape, zeros, tokens | us | GOP/s stored | % of dot peak | best decile | stored GB/s | reading / it | dense / it | best decile | rounding us | compile us |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (layout, o, k, zeros) in cells() {
        for n in [1usize, 2, 4, 8, 12, 16, 48, 128] {
            let cell = format!("{layout} {o}x{k} {zeros} {n}.");
            if !filters.is_empty() && !filters.iter().any(|f| cell.contains(f.as_str())) {
                continue;
            }
            let own = Ready::new(layout, (o, k), &weights(layout, o, k, zeros), n, isa);
            // Of the same codes.
            let base = match layout {
                Layout::I4Nm { group, scale, .. } => Layout::Groups { bits: 4, group, scale, kept: false },
                _ => Layout::I8 { r: 32 },
            };
            let dense = Ready::new(base, (o, k), &weights(base, o, k, 0), n, isa);
            let useful = 2.0 * own.codes as f64 * n as f64;
            own.call();
            let once = seconds(|| own.call());
            let rounds = (once.min(0.003) * 300e9 / dot_peak_round(lanes) as f64).max(1e3) as u64;
            let peak_words = [ones.bytes().as_ptr() as u64, sink, rounds];
            let peak_ops = 2.0 * (rounds as usize * dot_peak_round(lanes)) as f64;
            let read_words = [source.bytes().as_ptr() as u64, sink, (own.bytes() / READ_ROUND) as u64];
            // What was called last is the nearest: each is called twice and timed the second time.
            let twice = |f: &dyn Fn()| {
                f();
                seconds(f)
            };
            let mut rows: Vec<[f64; 5]> = Vec::new();
            for _ in 0..PAIRS {
                let a = seconds(|| call(&peak, &peak_words));
                let t = twice(&|| own.call());
                let b = seconds(|| call(&peak, &peak_words));
                let d = twice(&|| dense.call());
                let r = twice(&|| call(&read, &read_words));
                rows.push([t, a.min(b), d, r, seconds(|| call(&own.rounding, &own.rounding_words))]);
            }
            let of = |f: &dyn Fn(&[f64; 5]) -> f64, q: f64| quantile(&rows.iter().map(f).collect::<Vec<f64>>(), q);
            let t = of(&|r| r[0], 0.5);
            let share = |r: &[f64; 5]| 100.0 * (useful / r[0]) / (peak_ops / r[1]);
            println!(
                "| {cell} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} | {:.1} | {:.0} |",
                t * 1e6,
                useful / t / 1e9,
                of(&share, 0.5),
                of(&share, 0.9),
                own.bytes() as f64 / t / 1e9,
                of(&|r| r[3] / r[0], 0.5),
                of(&|r| r[2] / r[0], 0.5),
                of(&|r| r[2] / r[0], 0.9),
                of(&|r| r[4], 0.5) * 1e6,
                own.compile_us,
            );
        }
    }
}
