//! Compiles a program, binds its weights and calls it, from Rust.
use ndarray::{Array, ArrayD};
use std::io::Write;

const TEXT: &str = "
use std.nn
use std.patterns.nm
axis B = 1..64
model net { axes { I = 8, O = 2 }  w: f32[O, I]  b: f32[O] }
fn classify(x: f32[B, I]) -> y: f32[B, O] { y = nn.relu(nn.linear(x, net.w, net.b)) }
require half: nm(2, 4) on net.w
";

fn classify() -> Result<ArrayD<f32>, Box<dyn std::error::Error>> {
    let program = spc::Compiler::new()
        .compile_str(TEXT)?
        .bind("net.w", Array::from_shape_fn((2, 8), |(o, i)| (o + 1) as f32 * (i as f32 - 2.0)))?
        .bind("net.b", Array::from_vec(vec![0.5, -0.5]))?
        .build()?;
    let x = Array::from_shape_fn((3, 8), |(b, i)| (b * i) as f32 / 8.0);
    let results = program.call("classify", &[("x", &x)])?;
    Ok(results.f32("y").ok_or("`classify` has no f32 result `y`")?.to_owned())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(writeln!(std::io::stdout(), "{}", classify()?)?)
}

#[test]
fn it_computes_with_the_kept_weights() {
    // Rows are o + 1 times -2 -1 0 1 | 2 3 4 5; of each four the two largest in absolute value are kept, ties to the left.
    let sum = (-2.0 * 0.0 - 1.0 + 4.0 * 6.0 + 5.0 * 7.0) / 8.0;
    let row = |b: f32| [b * sum + 0.5, b * 2.0 * sum - 0.5].map(|v| v.max(0.0));
    assert_eq!(classify().unwrap(), ndarray::arr2(&[row(0.0), row(1.0), row(2.0)]).into_dyn());
}
