//! Results are written to arrays of the caller's, at any address and in any order of memory, and nowhere else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use ndarray::{Array1, Array2, ArrayViewMut2, s};
use spc::{Compiler, Program};

const TEXT: &str = "use std.nn
axis B = 1..64
model net { axes { I = 37, O = 21 } w: f32[O, I] }
fn f(x: f32[B, I]) -> (y: f32[B, O], z: f32[B, I], best: i32[B], pos: bool[B, I]) {
  y = nn.linear(nn.relu(x), net.w)
  z = nn.relu(x)
  best[b] = argmax(y[b, o] over o)
  pos[b, i] = x[b, i] > 0 }
target t = cpu(threads: 2) { B = 5 }
";

fn matrix(rows: usize, cols: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, cols), |(i, j)| ((i * 31 + j * 17) % 23) as f32 - 11.0)
}

fn program(interpret: bool) -> Program {
    let c = Compiler::new().interpret(interpret);
    c.compile_str(TEXT).unwrap().bind("net.w", matrix(21, 37)).unwrap().build().unwrap()
}

#[test]
fn every_place_and_order_of_memory_takes_the_same_results() {
    for (interpret, rows) in [(false, 1), (false, 9), (false, 64), (true, 3)] {
        let (program, x) = (program(interpret), matrix(rows, 37));
        let want = program.call("f", &[("x", &x)]).unwrap();
        for skip in (0..17).chain([64]) {
            const MARK: f32 = 1234.5;
            let mut storage = vec![MARK; skip + rows * 21 + 40];
            let mut y = ArrayViewMut2::from_shape((rows, 21), &mut storage[skip..skip + rows * 21]).unwrap();
            let mut best = Array1::from_elem(rows, -1);
            let left = program.call_into("f", &[("x", &x)], &mut [("y", &mut y), ("best", &mut best)]).unwrap();
            assert_eq!(y.view().into_dyn(), want.f32("y").unwrap(), "{rows} rows, {skip} elements on");
            assert_eq!(best.view().into_dyn(), want.i32("best").unwrap());
            assert_eq!(left.names().collect::<Vec<_>>(), ["z", "pos"]);
            assert_eq!((left.f32("z"), left.bool("pos")), (want.f32("z"), want.bool("pos")));
            let around = storage[..skip].iter().chain(&storage[skip + rows * 21..]);
            assert!(around.into_iter().all(|v| *v == MARK), "{skip}");
        }
        let mut wide = Array2::from_elem((rows, 42), 7.0f32);
        let mut turned = Array2::<f32>::zeros((37, rows));
        let mut pair = wide.slice_mut(s![.., ..;2]);
        let mut t = turned.view_mut().reversed_axes();
        program.call_into("f", &[("x", &x)], &mut [("y", &mut pair), ("z", &mut t)]).unwrap();
        assert_eq!(wide.slice(s![.., ..;2]).into_dyn(), want.f32("y").unwrap());
        assert!(wide.slice(s![.., 1..;2]).iter().all(|v| *v == 7.0));
        assert_eq!(turned.t().into_dyn(), want.f32("z").unwrap());
    }
}

#[test]
fn arrays_that_do_not_fit_are_refused_and_left_alone() {
    for interpret in [false, true] {
        let (program, x) = (program(interpret), matrix(4, 37));
        let code = |name: &str, y: &mut dyn spc::Output| {
            let e = program.call_into("f", &[("x", &x)], &mut [(name, y)]).unwrap_err();
            e.codes().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let mut small = Array2::from_elem((4, 20), 3.0f32);
        assert_eq!(code("y", &mut small), ["SP0504"]);
        assert_eq!(code("y", &mut Array1::<f32>::zeros(84)), ["SP0504"]);
        assert_eq!(code("y", &mut Array2::<i32>::zeros((4, 21))), ["SP0504"]);
        assert_eq!(code("pos", &mut Array2::<f32>::zeros((4, 37))), ["SP0504"]);
        assert_eq!(code("no", &mut Array2::<f32>::zeros((4, 21))), ["SP0504"]);
        assert!(small.iter().all(|v| *v == 3.0));
        let (mut a, mut b) = (Array2::<f32>::zeros((4, 21)), Array2::<f32>::zeros((4, 21)));
        let twice = program.call_into("f", &[("x", &x)], &mut [("y", &mut a), ("y", &mut b)]);
        assert_eq!(twice.unwrap_err().codes(), ["SP0504"]);
    }
}
