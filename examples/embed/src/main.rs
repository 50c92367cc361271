//! Compiles a program, binds its weights and calls it, from Rust.
use ndarray::Array;
use std::io::Write;

const TEXT: &str = "
use std.nn
use std.patterns.nm
axis B = 1..64
model net { axes { I = 8, N = 16, O = 2 }  w1: f32[N, I]  w2: f32[O, N]  b2: f32[O] }
fn score(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.relu(nn.linear(x, net.w1)), net.w2, net.b2) }
require half: nm(2, 4) on net.w1
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wave = |(i, j): (usize, usize)| ((3 * i + 5 * j) % 7) as f32 - 3.0;
    let program = spc::Compiler::new()
        .compile_str(TEXT)?
        .bind("net.w1", Array::from_shape_fn((16, 8), wave))?
        .bind("net.w2", Array::from_shape_fn((2, 16), wave))?
        .bind("net.b2", Array::from_vec(vec![0.5, -0.5]))?
        .build()?;
    let x = Array::from_shape_fn((3, 8), |(b, i)| (b + i) as f32 / 8.0);
    let results = program.call("score", &[("x", &x)])?;
    let y = results.f32("y").ok_or("`score` has no f32 result `y`")?;
    Ok(writeln!(std::io::stdout(), "{y}")?)
}
