//! How long parsing, checking and formatting take: `cargo bench -p spc-tests --bench front`. The bars: a program of 1,000
//! lines checks within 50 ms, and each step takes at most a second for a MiB.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
use spc_base::{FileId, Limits};
use spc_sema::{Library, check};
use spc_tests::program::program;
use std::time::Instant;

/// As in the command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FILE: FileId = FileId(0);

/// The best of several runs, in milliseconds.
fn best<T>(runs: usize, mut f: impl FnMut() -> T) -> f64 {
    let time = |f: &mut dyn FnMut() -> T| {
        let start = Instant::now();
        std::hint::black_box(f());
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..runs).map(|_| time(&mut f)).fold(f64::INFINITY, f64::min)
}

fn main() {
    let limits = Limits::default();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [_, lines, path] = args.iter().filter(|a| *a != "--bench").map(String::as_str).collect::<Vec<_>>()[..] {
        // `--write LINES FILE`
        return std::fs::write(path, program(lines.parse().unwrap())).unwrap();
    }
    let sizes: Vec<usize> = args.iter().filter_map(|a| a.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![500, 1000, 2000, 4000, 26000] } else { sizes };
    let empty = best(5, || spc_sema::front("use std.nn\n", FILE, &Library::load(), &limits));
    println!("a program of one `use std.nn`, with reading the library: {empty:.1} ms");
    let lib = Library::load();
    println!("lines, KiB, parse ms, check ms, format ms, all ms for a MiB");
    for lines in sizes {
        let text = program(lines);
        let runs = (20_000 / lines).clamp(1, 10);
        let ast = spc_syntax::parse(&text, FILE, &limits).0;
        let found = check(&ast, &text, &lib, &limits).diagnostics;
        assert!(found.is_empty(), "{found:?}");
        let p = best(runs, || spc_syntax::parse(&text, FILE, &limits));
        let c = best(runs, || check(&ast, &text, &lib, &limits));
        let f = best(runs, || spc_syntax::format(&text, FILE, &limits));
        let size = text.len() as f64 / 1024.0;
        let lines = text.lines().count();
        println!("{lines}, {size:.0}, {p:.1}, {c:.1}, {f:.1}, {:.0}", (p + c + f) * 1024.0 / size);
    }
}
