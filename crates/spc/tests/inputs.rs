//! Inputs are read where they lie, at any address and in any order of memory, and are never written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use ndarray::{Array2, ArrayView2, s};
use spc::Compiler;

const TEXT: &str = "use std.nn
axis B = 1..9
model net { axes { I = 37, O = 21 } w: f32[O, I] }
fn f(x: f32[B, I]) -> (y: f32[B, O], z: f32[B, I]) {
  y = nn.linear(nn.relu(x), net.w)
  z = nn.relu(x) }
target t = cpu(threads: 2) { B = 5 }
";

fn matrix(rows: usize, cols: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, cols), |(i, j)| ((i * 31 + j * 17) % 23) as f32 - 11.0)
}

#[test]
fn every_place_and_order_of_memory_gives_the_same_results() {
    let program = Compiler::new().compile_str(TEXT).unwrap().bind("net.w", matrix(21, 37)).unwrap().build().unwrap();
    let x = matrix(9, 37);
    let want = program.call("f", &[("x", &x)]).unwrap();
    // Every distance from an aligned address.
    for skip in 0..17 {
        let mut storage = vec![f32::NAN; skip];
        storage.extend(x.iter());
        storage.push(f32::NAN);
        let before: Vec<u32> = storage.iter().map(|v| v.to_bits()).collect();
        let moved = ArrayView2::from_shape((9, 37), &storage[skip..skip + 9 * 37]).unwrap();
        assert_eq!(program.call("f", &[("x", &moved)]).unwrap(), want, "{skip} elements on");
        assert_eq!(storage.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), before);
    }
    let transposed = x.t().to_owned();
    assert_eq!(program.call("f", &[("x", &transposed.t())]).unwrap(), want);
    let mut wide = Array2::zeros((9, 74));
    wide.slice_mut(s![.., ..;2]).assign(&x);
    assert_eq!(program.call("f", &[("x", &wide.slice(s![.., ..;2]))]).unwrap(), want);
    // A call of fewer rows after one of more.
    let part = program.call("f", &[("x", &x.slice(s![3..5, ..]))]).unwrap();
    assert_eq!(part.f32("y").unwrap(), want.f32("y").unwrap().slice(s![3..5, ..]).into_dyn());
}

#[test]
fn a_result_is_taken_once_and_as_what_it_is() {
    let program = Compiler::new().compile_str(TEXT).unwrap().bind("net.w", matrix(21, 37)).unwrap().build().unwrap();
    let x = matrix(2, 37);
    let mut all = program.call("f", &[("x", &x)]).unwrap();
    assert!(all.take_i32("y").is_none() && all.take_bool("y").is_none() && all.take_f32("no").is_none());
    assert_eq!(all.take_f32("z").unwrap(), x.mapv(|v| v.max(0.0)).into_dyn());
    assert_eq!(all.take_f32("y").unwrap().shape(), [2, 21]);
    assert!(all.take_f32("y").is_none() && all.names().next().is_none());
}
