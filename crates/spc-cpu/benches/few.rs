//! Linears of one to eight tokens against dense ones and against plain reading, in one run. `cargo bench -p spc-cpu --bench few
//! [-- ISA --o=OUTPUTS --cols=INPUTS]`; with `same`, one matrix in several layouts: `few -- same --gib=1 --n=1 free 50`
//!
//! Each of 60 rounds calls the dense kernel of the same number of tokens, the sparse one, and a loop that reads as many bytes
//! as the sparse one has stored; the ratios of a round are what is printed (median and best decile).
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use spc_cpu::{AlignedBuf, Isa, JitModule, compile_wide};
use spc_formats::{Array, Layout, pack, validate};
use spc_kernel::templates::LinearSpec;
use spc_kernel::templates::cases::token_major;
use spc_kernel::templates::limits::{READ_ROUND, read_stream};
use std::time::Instant;

const ROUNDS: usize = 60;

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

/// A compiled kernel with what it reads and writes.
struct Ready {
    module: JitModule,
    arrays: Vec<(String, AlignedBuf)>,
    _x: AlignedBuf,
    _y: AlignedBuf,
    words: Vec<u64>,
}

impl Ready {
    fn new(layout: Layout, (o, k): (usize, usize), w: &[f32], tokens: usize, isa: Isa) -> Ready {
        let packed = validate(pack(&layout, o, k, w).unwrap()).unwrap();
        let spec = LinearSpec { layout, rows: o, cols: k, bias: false, act: None, beside: &[], lanes: isa.lanes() };
        let kernel = token_major(&spec).unwrap();
        let buffer = |a: &Array| match a {
            Array::F32(a) => AlignedBuf::from_f32(a),
            Array::U32(a) => AlignedBuf::from_bytes(&a.iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<_>>()),
            Array::U8(a) => AlignedBuf::from_bytes(a),
        };
        let arrays: Vec<(String, AlignedBuf)> =
            packed.packed().arrays.iter().map(|(n, a)| (n.to_string(), buffer(a))).collect();
        let x = AlignedBuf::from_f32(&(0..tokens * k).map(|i| (i % 17) as f32 - 8.0).collect::<Vec<_>>());
        let mut y = AlignedBuf::zeroed(4 * tokens * o);
        let word = |name: &str| match name {
            "x" => x.bytes().as_ptr() as u64,
            "n" => tokens as u64,
            "lo" => 0,
            "hi" => spec.blocks() as u64,
            _ => arrays.iter().find(|(n, _)| n == name).unwrap().1.bytes().as_ptr() as u64,
        };
        let at = y.bytes_mut().as_mut_ptr() as u64;
        let words = kernel.params.iter().map(|p| if p.name == "y" { at } else { word(&p.name) }).collect();
        let module = compile_wide(std::slice::from_ref(&kernel), isa, false).unwrap();
        Ready { module, arrays, _x: x, _y: y, words }
    }

    fn call(&self) {
        // SAFETY: the words are buffers of the sizes that the kernel documents.
        unsafe { self.module.call(0, &self.words).unwrap() }
    }

    fn bytes(&self) -> usize {
        self.arrays.iter().map(|(_, b)| b.len()).sum()
    }
}

/// Weights of which `layout` holds about `permille` without fill.
fn weights(layout: Layout, (o, k): (usize, usize), permille: u64) -> Vec<f32> {
    let mut s = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        s >> 11
    };
    let height = match layout {
        Layout::Vx1 { v } => v as usize,
        _ => 1,
    };
    let mut w = vec![0.0f32; o * k];
    for top in (0..o).step_by(height) {
        for col in 0..k {
            if next() % 1000 < permille {
                (top..(top + height).min(o)).for_each(|r| w[r * k + col] = (next() % 2000) as f32 / 1000.0 + 0.5);
            }
        }
    }
    if let Layout::Nm16 { n, m } = layout {
        for group in w.chunks_mut(m as usize) {
            let from = next() as usize;
            for (i, v) in group.iter_mut().enumerate() {
                *v = if (i + from) % (m as usize) < n as usize { 1.0 + (i as f32) / 8.0 } else { 0.0 };
            }
        }
    }
    w
}

/// One matrix in several layouts, which are called in turns. With `--gib`, so many copies that they do not stay in any cache.
fn same(args: &[String], isa: Isa, shape: (usize, usize)) {
    let option = |name: &str| -> Option<usize> { args.iter().find_map(|a| a.strip_prefix(name)?.parse().ok()) };
    let kinds: [(&str, u64, &[&str]); 9] = [
        ("free 40 %", 600, &["csr16", "bitmap"]),
        ("free 50 %", 500, &["csr16", "bitmap"]),
        ("free 60 %", 400, &["csr16", "bitmap"]),
        ("free 75 %", 250, &["csr16", "bitmap"]),
        ("free 90 %", 100, &["csr16", "bitmap"]),
        ("shared 8", 250, &["csr16", "nm16(2,8)", "vx1(64)", "vnm16(64,8)"]),
        ("shared 16", 125, &["csr16", "nm16(2,16)", "vx1(64)", "vnm16(64,16)"]),
        ("shared 32", 63, &["csr16", "vx1(64)", "vnm16(64,32)"]),
        ("shared 64", 31, &["csr16", "vx1(64)", "vnm16(64,64)"]),
    ];
    let filters: Vec<&String> = args.iter().filter(|a| a.starts_with("free") || a.starts_with("shared")).collect();
    println!("| zeros, tokens | layout | MiB | us | dense / it, median | best decile | first / it, median |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, permille, layouts) in kinds {
        if !filters.is_empty() && !filters.iter().any(|f| name.starts_with(f.as_str())) {
            continue;
        }
        let mut w = weights(Layout::Csr, shape, permille);
        if let Some(m) = name.strip_prefix("shared ").map(|m| m.parse::<usize>().unwrap()) {
            w = vec![0.0; shape.0 * shape.1];
            for (i, v) in w.iter_mut().enumerate() {
                let (row, col) = (i / shape.1, i % shape.1);
                // Four columns of each group, others in each 64 rows; of those each row has two.
                let place = (col % m + m - (row / 64 * 7 + col / m * 5) % m) % m;
                if place == row % 4 || place == (row + 1) % 4 {
                    *v = 1.0 + (i % 8) as f32;
                }
            }
        }
        for tokens in option("--n=").map_or(vec![1, 2, 4, 8, 16], |n| vec![n]) {
            let names = std::iter::once(&"dense(16)").chain(layouts);
            let copies: Vec<(&str, Vec<Ready>)> = names
                .map(|text| {
                    let one = || {
                        let w = if *text == "dense(16)" { &vec![1.5; w.len()] } else { &w };
                        Ready::new(text.parse().unwrap(), shape, w, tokens, isa)
                    };
                    let first = one();
                    let wanted = option("--gib=").map_or(1, |g| (g << 30).div_ceil(first.bytes()));
                    (*text, std::iter::once(first).chain((1..wanted).map(|_| one())).collect())
                })
                .collect();
            let mut times: Vec<Vec<f64>> = vec![Vec::new(); copies.len()];
            for round in 0..ROUNDS {
                for ((_, list), times) in copies.iter().zip(&mut times) {
                    // Of one copy the second call in a row: the nearest there is.
                    if list.len() == 1 {
                        list[0].call();
                    }
                    times.push(seconds(|| list[round % list.len()].call()));
                }
            }
            for (i, (text, list)) in copies.iter().enumerate() {
                let over = |j: usize| times[j].iter().zip(&times[i]).map(|(a, b)| a / b).collect::<Vec<f64>>();
                let (dense, first) = (over(0), over(1.min(times.len() - 1)));
                println!(
                    "| {name}, {tokens} | {text} | {:.1} | {:.0} | {:.2} | {:.2} | {:.2} |",
                    list[0].bytes() as f64 / (1 << 20) as f64,
                    1e6 * quantile(&times[i], 0.5),
                    quantile(&dense, 0.5),
                    quantile(&dense, 0.9),
                    quantile(&first, 0.5),
                );
            }
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let isa = args.iter().find_map(|a| Isa::from_name(a)).unwrap_or(Isa::native());
    let option = |name: &str| -> Option<usize> { args.iter().find_map(|a| a.strip_prefix(name)?.parse().ok()) };
    let shape = (option("--o=").unwrap_or(4096), option("--cols=").unwrap_or(4096));
    if args.iter().any(|a| a == "same") {
        return same(&args, isa, shape);
    }
    let lanes = isa.lanes();
    let read = compile_wide(&[read_stream(lanes).unwrap()], isa, false).unwrap();
    let (source, mut sink) = (AlignedBuf::zeroed(4 * shape.0 * shape.1 + READ_ROUND), AlignedBuf::zeroed(4 * lanes));
    let sink = sink.bytes_mut().as_mut_ptr() as u64;
    println!("{}; W {} x {}; {ROUNDS} rounds of dense, sparse, reading", isa.name(), shape.0, shape.1);
    println!(
        "| layout, kept, tokens | us | dense us | dense / sparse, median | best decile | reading / sparse, median |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let cells = [
        ("nm16(2,4)", 500),
        ("nm16(1,4)", 250),
        ("nm16(4,8)", 500),
        ("nm16(2,8)", 250),
        ("vx1(16)", 250),
        ("csr16", 100),
    ];
    for (name, permille) in cells {
        let layout: Layout = name.parse().unwrap();
        let w = weights(layout, shape, permille);
        for tokens in [1, 2, 4, 8] {
            let dense = Ready::new(Layout::DENSE, shape, &vec![1.5; shape.0 * shape.1], tokens, isa);
            let sparse = Ready::new(layout, shape, &w, tokens, isa);
            let words = [source.bytes().as_ptr() as u64, sink, (sparse.bytes() / READ_ROUND) as u64];
            // SAFETY: the words are buffers of the sizes that the kernel documents.
            let plain = || unsafe { read.call(0, &words).unwrap() };
            // What was called last is the nearest: each is called twice and timed the second time.
            let time = |f: &dyn Fn()| {
                f();
                seconds(f)
            };
            let rounds: Vec<[f64; 3]> =
                (0..ROUNDS).map(|_| [time(&|| dense.call()), time(&|| sparse.call()), time(&plain)]).collect();
            let of = |f: &dyn Fn(&[f64; 3]) -> f64| rounds.iter().map(f).collect::<Vec<f64>>();
            let (gain, reading) = (of(&|r| r[0] / r[1]), of(&|r| r[2] / r[1]));
            println!(
                "| {name}, {} %, {tokens} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
                permille / 10,
                1e6 * quantile(&of(&|r| r[1]), 0.5),
                1e6 * quantile(&of(&|r| r[0]), 0.5),
                quantile(&gain, 0.5),
                quantile(&gain, 0.9),
                quantile(&reading, 0.5),
            );
        }
    }
}
