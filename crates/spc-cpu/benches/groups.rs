//! Linears of codes with a scale for each group, one token and a few, with weights that come from memory. `cargo bench -p spc-cpu
//! --bench groups [-- ISA --o=OUTPUTS --cols=INPUTS --tokens=N --gib=G]`
//!
//! Each kernel goes through copies of its weights that together take more than `G` GiB (1 unless said; 0 for one copy, called
//! twice and timed the second time). Each of 60 rounds calls the dense kernel of 4-bit codes in groups of 32, the kernel of the
//! cell, and a loop that reads as many bytes as the cell has stored, from as many places.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use spc_cpu::{AlignedBuf, Isa, JitModule, compile_wide};
use spc_formats::{Array, Layout, pack, validate};
use spc_kernel::templates::limits::{READ_ROUND, read_stream};
use spc_kernel::templates::{LinearSpec, groups};
use std::time::Instant;

const ROUNDS: usize = 60;

fn quantile(v: &[f64], q: f64) -> f64 {
    let mut v = v.to_vec();
    v.sort_by(f64::total_cmp);
    v[((v.len() - 1) as f64 * q).round() as usize]
}

/// A compiled kernel with what it reads and writes, its weights in several places.
struct Ready {
    module: JitModule,
    _memory: AlignedBuf,
    /// Bytes of the weight.
    bytes: usize,
    _x: AlignedBuf,
    _y: AlignedBuf,
    words: Vec<Vec<u64>>,
}

impl Ready {
    fn new(layout: Layout, (o, k): (usize, usize), w: &[f32], tokens: usize, isa: Isa, total: usize) -> Ready {
        let packed = validate(pack(&layout, o, k, w).unwrap()).unwrap();
        let spec = LinearSpec { layout, rows: o, cols: k, bias: false, act: None, beside: &[], lanes: isa.lanes() };
        let kernel = groups(&spec).unwrap();
        let buffer = |a: &Array| match a {
            Array::F32(a) => AlignedBuf::from_f32(a),
            Array::U32(a) => AlignedBuf::from_bytes(&a.iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<_>>()),
            Array::U8(a) => AlignedBuf::from_bytes(a),
        };
        let arrays: Vec<(&str, AlignedBuf)> = packed.packed().arrays.iter().map(|(n, a)| (&**n, buffer(a))).collect();
        // One piece of memory, as that of the loop that reads: it lies in large pages but for its ends.
        let one: usize = arrays.iter().map(|(_, a)| a.len().next_multiple_of(64)).sum();
        let copies = (total / one + 1).max(1);
        let mut memory = AlignedBuf::zeroed(one * copies);
        let mut places = vec![Vec::new(); copies];
        let mut at = 0;
        for place in &mut places {
            for (_, a) in &arrays {
                memory.bytes_mut()[at..at + a.len()].copy_from_slice(a.bytes());
                place.push(at);
                at += a.len().next_multiple_of(64);
            }
        }
        let base = memory.bytes().as_ptr() as u64;
        let x = AlignedBuf::from_f32(&(0..tokens * k).map(|i| (i % 17) as f32 - 8.0).collect::<Vec<_>>());
        let mut y = AlignedBuf::zeroed(4 * tokens * o);
        let to = y.bytes_mut().as_mut_ptr() as u64;
        let word = |place: &[usize], name: &str| match name {
            "x" => x.bytes().as_ptr() as u64,
            "y" => to,
            "n" => tokens as u64,
            "lo" => 0,
            "hi" => spec.blocks() as u64,
            _ => base + place[arrays.iter().position(|(n, _)| *n == name).unwrap()] as u64,
        };
        let words = places.iter().map(|p| kernel.params.iter().map(|k| word(p, &k.name)).collect()).collect();
        let module = compile_wide(std::slice::from_ref(&kernel), isa, false).unwrap();
        Ready { module, _memory: memory, bytes: arrays.iter().map(|(_, a)| a.len()).sum(), _x: x, _y: y, words }
    }

    /// Seconds of call number `i`.
    fn call(&self, i: usize) -> f64 {
        let words = &self.words[i % self.words.len()];
        if self.words.len() == 1 {
            // SAFETY: the words are buffers of the sizes that the kernel documents.
            unsafe { self.module.call(0, words).unwrap() }
        }
        let t = Instant::now();
        // SAFETY: as above.
        unsafe { self.module.call(0, words).unwrap() }
        t.elapsed().as_secs_f64()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Codes of `bits` bits with f16 scales for each `group`; of each two groups one is kept, where `half` is said.
fn weights((o, k): (usize, usize), bits: u32, group: usize, half: bool) -> Vec<f32> {
    let mut s = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 33) as usize
    };
    let top = if bits == 4 { 7 } else { 127 };
    let mut w = vec![0.0f32; o * k];
    for row in w.chunks_mut(k) {
        for pair in row.chunks_mut(2 * group) {
            let only = half.then(|| next() % 2);
            for (i, g) in pair.chunks_mut(group).enumerate().filter(|(i, _)| only.is_none_or(|o| o == *i)) {
                let scale = (1 + next() % 1000 + i) as f32 / 1024.0;
                g.iter_mut().for_each(|v| *v = (next() % (2 * top + 1)) as f32 * scale - top as f32 * scale);
                g[0] = top as f32 * scale;
            }
        }
    }
    w
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let isa = args.iter().find_map(|a| Isa::from_name(a)).unwrap_or(Isa::native());
    let option = |name: &str| -> Option<usize> { args.iter().find_map(|a| a.strip_prefix(name)?.parse().ok()) };
    let shape = (option("--o=").unwrap_or(4096), option("--cols=").unwrap_or(4096));
    let total = option("--gib=").unwrap_or(1) << 30;
    let lanes = isa.lanes();
    let read = compile_wide(&[read_stream(lanes).unwrap()], isa, false).unwrap();
    // Written, so that its pages are there.
    let source = AlignedBuf::from_bytes(&vec![1; total.max(4 * shape.0 * shape.1) + READ_ROUND]);
    let mut sink = AlignedBuf::zeroed(4 * lanes);
    let sink = sink.bytes_mut().as_mut_ptr() as u64;
    println!("{}; W {} x {}; {ROUNDS} rounds; weights take {} GiB", isa.name(), shape.0, shape.1, total >> 30);
    println!(
        "| layout, kept, tokens | us | GB/s | q4(32,16) / it, median | best decile | bound | reading / it, median | best decile |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let cells = [
        ("q4(32,16)", false),
        ("kept4(32,16)", true),
        ("kept4(16,16)", true),
        ("kept4(64,16)", true),
        ("q8(32,16)", false),
        ("kept8(32,16)", true),
    ];
    let only = args.iter().find_map(|a| a.strip_prefix("--only="));
    for (name, half) in cells.into_iter().filter(|(n, _)| only.is_none_or(|o| n.starts_with(o))) {
        let layout: Layout = name.parse().unwrap();
        let Layout::Groups { bits, group, .. } = layout else { continue };
        let w = weights(shape, bits, group as usize, half);
        for tokens in option("--tokens=").map_or(vec![1, 2, 4, 8], |t| vec![t]) {
            let base: Layout = "q4(32,16)".parse().unwrap();
            let dense = Ready::new(base, shape, &weights(shape, 4, 32, false), tokens, isa, total);
            let own = Ready::new(layout, shape, &w, tokens, isa, total);
            let rounds_of_reading = own.bytes() / READ_ROUND;
            let places = (source.len() / own.bytes()).max(1);
            let mut rounds: Vec<[f64; 3]> = Vec::new();
            for i in 0..ROUNDS + 3 {
                let from = (i % if total == 0 { 1 } else { places }) * (own.bytes() / 64 * 64);
                let words = [source.bytes().as_ptr() as u64 + from as u64, sink, rounds_of_reading as u64];
                if total == 0 {
                    // SAFETY: the words are buffers of the sizes that the kernel documents.
                    unsafe { read.call(0, &words).unwrap() }
                }
                let t = Instant::now();
                // SAFETY: as above.
                unsafe { read.call(0, &words).unwrap() }
                let reading = t.elapsed().as_secs_f64();
                rounds.push([dense.call(i), own.call(i), reading]);
            }
            let of = |f: &dyn Fn(&[f64; 3]) -> f64| rounds[3..].iter().map(f).collect::<Vec<f64>>();
            let (gain, reading) = (of(&|r| r[0] / r[1]), of(&|r| r[2] / r[1]));
            println!(
                "| {name}, {}, {tokens} | {:.0} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
                if half { "50 %" } else { "all" },
                1e6 * quantile(&of(&|r| r[1]), 0.5),
                1e-9 * own.bytes() as f64 / quantile(&of(&|r| r[1]), 0.5),
                quantile(&gain, 0.5),
                quantile(&gain, 0.9),
                dense.bytes() as f64 / own.bytes() as f64,
                quantile(&reading, 0.5),
                quantile(&reading, 0.9),
            );
        }
    }
}
