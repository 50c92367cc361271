//! What a call costs beside its kernels: `cargo bench -p spc-tests --bench calls`.
//!
//! A layer of 16 x 16 takes a few nanoseconds, so the time of its call is that of checking the input, choosing sizes, and
//! giving the result away; each further layer adds what a step costs.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
use ndarray::Array2;
use spc::Compiler;
use std::hint::black_box;
use std::time::Instant;

const BATCHES: usize = 301;
const CALLS: usize = 200;

fn quantile(v: &mut [f64], q: f64) -> f64 {
    v.sort_by(f64::total_cmp);
    v[((v.len() - 1) as f64 * q).round() as usize]
}

fn main() {
    println!("| layers | tokens | ns a call, median | best decile |");
    println!("| --- | --- | --- | --- |");
    for layers in [1, 8] {
        run(layers);
    }
}

/// A row of linears of 16 x 16, one token.
fn run(layers: usize) {
    let mut steps = String::new();
    let mut last = "x".to_string();
    for i in 0..layers {
        steps += &format!("  h{i} = nn.linear({last}, net.w{i})\n");
        last = format!("h{i}");
    }
    let names: Vec<String> = (0..layers).map(|i| format!("w{i}: f32[A{}, A{i}]", i + 1)).collect();
    let axes: Vec<String> = (0..=layers).map(|i| format!("A{i} = 16")).collect();
    let text = format!(
        "use std.nn\naxis B = 1..8\nmodel net {{ axes {{ {} }} {} }}\nfn f(x: f32[B, A0]) -> y: f32[B, A{layers}] {{\n{steps}  y = {last}\n}}\ntarget t = cpu(threads: 1) {{ B = 1 }}\n",
        axes.join(", "),
        names.join("  ")
    );
    let mut checked = Compiler::new().compile_str(&text).unwrap();
    for i in 0..layers {
        let w = Array2::from_shape_fn((16, 16), |(a, b)| (a * 16 + b) as f32 / 256.0 + i as f32 / 8.0 + 0.1);
        checked = checked.bind(&format!("net.w{i}"), w).unwrap();
    }
    let program = checked.build().unwrap();
    let x = Array2::from_elem((1, 16), 0.5f32);
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                black_box(program.call("f", &[("x", black_box(&x))]).unwrap());
            }
            start.elapsed().as_secs_f64() * 1e9 / CALLS as f64
        })
        .collect();
    println!("| {layers} | 1 | {:.0} | {:.0} |", quantile(&mut times, 0.5), quantile(&mut times, 0.1));
}
