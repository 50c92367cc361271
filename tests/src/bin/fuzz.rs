//! Runs a fuzz body on mutated programs: `fuzz parse|check|format|packed EXECUTIONS [SEED]`. A case that fails is printed, and
//! saved as `fuzz-failure` in the current folder. `fuzz seeds FOLDER` writes whole files of packed weights, one of each layout.
#![allow(clippy::print_stdout, clippy::print_stderr)]
use spc_tests::fuzz::{BODIES, cases, packed_seeds};
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [what, folder] = args.as_slice()
        && what == "seeds"
    {
        let seeds = packed_seeds();
        let write = |(i, s): (usize, &Vec<u8>)| std::fs::write(format!("{folder}/{i}.safetensors"), s);
        let done = std::fs::create_dir_all(folder).and_then(|()| seeds.iter().enumerate().try_for_each(write));
        println!("{} files: {done:?}", seeds.len());
        return if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    }
    let body = BODIES.iter().find(|(name, _)| args.first().is_some_and(|a| a == name));
    let (Some((name, body)), Some(Ok(count))) = (body, args.get(1).map(|n| n.parse::<u64>())) else {
        eprintln!("usage: fuzz parse|check|format|packed EXECUTIONS [SEED], or fuzz seeds FOLDER");
        return ExitCode::from(2);
    };
    let seed = args.get(2).and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut step = cases(name, seed);
    let (start, mut slowest, mut bytes) = (Instant::now(), (Duration::ZERO, 0), 0usize);
    for case in 0..count {
        let text = step();
        bytes += text.len();
        let before = Instant::now();
        if catch_unwind(|| body(&text)).is_err() {
            let _ = std::fs::write("fuzz-failure", &text);
            eprintln!("case {case} of seed {seed} fails; it is in fuzz-failure");
            return ExitCode::from(1);
        }
        slowest = slowest.max((before.elapsed(), text.len()));
    }
    let took = start.elapsed().as_secs_f64();
    println!(
        "{name}: {count} executions, {:.1} MB, {took:.1} s, {:.0} a second; the slowest took {:.1} ms for {} bytes",
        bytes as f64 / 1e6,
        count as f64 / took,
        slowest.0.as_secs_f64() * 1e3,
        slowest.1
    );
    ExitCode::SUCCESS
}
