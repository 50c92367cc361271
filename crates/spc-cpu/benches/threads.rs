//! Threads and compile times. `cargo bench -p spc-cpu --bench threads`
//!
//! * How long a job of nothing takes on a pool of two threads, one right after the other and after pauses that send the
//!   worker to sleep; and how long until the worker has begun.
//! * Two threads against one, of multiply-adds on registers and of a kernel, in turns: the share of the first ratio that the
//!   second reaches.
//! * Compile time of kernels, wide and portable, and the greatest number of Cranelift's instructions.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use spc_cpu::{AlignedBuf, Isa, Limits, Pool, Split, clif_text, compile, compile_wide, machine_code, supported};
use spc_formats::{Array, Layout, pack, validate};
use spc_kernel::ir::Kernel;
use spc_kernel::templates::cases::{LAYOUTS, every};
use spc_kernel::templates::{LinearSpec, Tuning, padded_tokens, rowblock_tuned};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn quantile(v: &[f64], q: f64) -> f64 {
    let mut v = v.to_vec();
    v.sort_by(f64::total_cmp);
    v[((v.len() - 1) as f64 * q).round() as usize]
}

fn seconds(f: impl FnOnce()) -> f64 {
    let t = Instant::now();
    f();
    t.elapsed().as_secs_f64()
}

fn wake_ups() {
    let pool = Pool::new(2);
    println!(
        "| pause before the job, us | job of two empty parts, us: median | best decile | worker begins after, us: median | best decile |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for pause in [0u64, 5, 50, 1000] {
        let (mut whole, mut begun) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            let until = Instant::now() + Duration::from_micros(pause);
            if pause >= 1000 {
                std::thread::sleep(Duration::from_micros(pause));
            }
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            let start = Instant::now();
            let (me, other) = (std::thread::current().id(), AtomicU64::new(u64::MAX));
            // The caller's part waits for the worker's, so that both threads have one.
            pool.run(2, &|_| {
                if std::thread::current().id() == me {
                    while other.load(Ordering::Acquire) == u64::MAX {
                        std::hint::spin_loop();
                    }
                } else {
                    other.store(start.elapsed().as_nanos() as u64, Ordering::Release);
                }
            });
            whole.push(start.elapsed().as_secs_f64() * 1e6);
            begun.push(other.load(Ordering::Acquire) as f64 / 1e3);
        }
        println!(
            "| {pause} | {:.2} | {:.2} | {:.2} | {:.2} |",
            quantile(&whole, 0.5),
            quantile(&whole, 0.1),
            quantile(&begun, 0.5),
            quantile(&begun, 0.1)
        );
    }
}

/// A matrix with about three of four column vectors zero.
fn weights(o: usize, k: usize, v: usize) -> Vec<f32> {
    let kept = |r: usize, c: usize| ((r / v) * 31 + c * 17 + (c * c) % 13).is_multiple_of(4);
    (0..o * k).map(|i| if kept(i / k, i % k) { 1.0 + (i % 7) as f32 / 8.0 } else { 0.0 }).collect()
}

fn two_threads() {
    let (isa, layout, o, k, n) = (Isa::native(), Layout::Vx1 { v: 8 }, 2048usize, 1024usize, 48u64);
    let packed = validate(pack(&layout, o, k, &weights(o, k, 8)).unwrap()).unwrap();
    let spec = LinearSpec { layout, rows: o, cols: k, bias: false, act: None, beside: &[], lanes: isa.lanes() };
    let tuning = Tuning::of(&spec, n);
    let kernel = rowblock_tuned(&spec, tuning).unwrap();
    let module = compile_wide(std::slice::from_ref(&kernel), isa, false).unwrap();
    let np = padded_tokens(n).unwrap() as usize;
    let x = AlignedBuf::from_f32(&vec![0.5; np * k]);
    let mut y = AlignedBuf::zeroed(4 * np * o);
    let buffer = |name: &str| {
        let array = tuning.blocks(&spec).and_then(|b| packed.arranged(name, b));
        match array.as_ref().or(packed.packed().array(name)).unwrap() {
            Array::F32(a) => AlignedBuf::from_f32(a),
            Array::U32(a) => AlignedBuf::from_bytes(&a.iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<_>>()),
            Array::U8(a) => AlignedBuf::from_bytes(a),
        }
    };
    let (values, ptr, idx) = (buffer("values"), buffer("ptr"), buffer("idx"));
    let counts = ptr.u32s().to_vec();
    let words: Vec<u64> = (kernel.params.iter())
        .map(|p| match p.name.as_str() {
            "values" => values.bytes().as_ptr() as u64,
            "ptr" => ptr.bytes().as_ptr() as u64,
            "idx" => idx.bytes().as_ptr() as u64,
            "x" => x.bytes().as_ptr() as u64,
            "y" => y.bytes_mut().as_mut_ptr() as u64,
            "np" => np as u64,
            _ => 0,
        })
        .collect();
    let at = |name: &str| kernel.params.iter().position(|p| p.name == name).unwrap();
    let split = Split { lo_param: at("lo"), hi_param: at("hi"), lo: 0, hi: tuning.range(&spec) as i64 };
    let (pools, limits) = ([Pool::new(1), Pool::new(2)], [1, 2].map(|t| Limits::new(isa, t, 1 << 12).unwrap()));
    let rate = |l: &Limits| {
        let mut done = l.multiply_adds(1_000).unwrap();
        let t = seconds(|| done = l.multiply_adds(500_000).unwrap());
        done as f64 / t
    };
    // The first call wakes the worker and finds the caches as the other loop left them.
    let call = |p: &Pool| unsafe {
        // SAFETY: the words are buffers of the sizes that the kernel documents.
        module.run_split_by(0, &words, split, Some(&counts), p).unwrap()
    };
    let time = |p: &Pool| {
        call(p);
        seconds(|| (0..8).for_each(|_| call(p)))
    };
    let (mut peak, mut own, mut share) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..80 {
        let a = rate(&limits[1]) / rate(&limits[0]);
        let b = time(&pools[0]) / time(&pools[1]);
        peak.push(a);
        own.push(b);
        share.push(b / a);
    }
    println!("two threads, vx1(8) of {o} x {k}, 75 % zeros, {n} tokens, and multiply-adds on registers");
    println!("| | median | best decile |\n| --- | --- | --- |");
    for (what, v) in [("multiply-adds, two to one", &peak), ("kernel, two to one", &own), ("share", &share)] {
        println!("| {what} | {:.2} | {:.2} |", quantile(v, 0.5), quantile(v, 0.9));
    }
}

fn kernels(lanes: usize) -> Vec<(String, Kernel)> {
    let of = |name: &&str| {
        let layout: Layout = name.parse().unwrap();
        every(&LinearSpec { layout, rows: 1000, cols: 1000, bias: true, act: None, beside: &[], lanes }).unwrap()
    };
    LAYOUTS.iter().flat_map(of).collect()
}

fn compile_times() {
    println!("| kernel | {} us | bytes | clif us | instructions of Cranelift |", Isa::native().name());
    println!("| --- | --- | --- | --- | --- |");
    let portable = kernels(Isa::Clif.lanes());
    let own = kernels(Isa::native().lanes()).into_iter().filter(|(_, k)| supported(k, Isa::native()).is_ok());
    for (name, k) in own {
        let times = |f: &dyn Fn()| quantile(&(0..9).map(|_| seconds(f) * 1e6).collect::<Vec<_>>(), 0.1);
        let wide = times(&|| drop(machine_code(&k, Isa::native(), false).unwrap()));
        let bytes = machine_code(&k, Isa::native(), false).unwrap().bytes.len();
        let same = portable.iter().find(|(n, _)| *n == name).map(|(_, k)| {
            let own = times(&|| drop(compile(std::slice::from_ref(k)).unwrap()));
            let text = clif_text(k).unwrap();
            (own, text.lines().filter(|l| l.starts_with("    ")).count())
        });
        let (own, count) = same.map_or(("".into(), "".into()), |(t, n)| (format!("{t:.0}"), n.to_string()));
        println!("| {name} | {wide:.0} | {bytes} | {own} | {count} |");
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let wanted = |name: &str| args.is_empty() || args.iter().any(|a| a == name);
    if wanted("wake") {
        wake_ups();
    }
    if wanted("two") {
        two_threads();
    }
    if wanted("compile") {
        compile_times();
    }
}
