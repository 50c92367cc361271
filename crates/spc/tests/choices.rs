//! Functions whose values are chosen at run time: compiled like all others, dense beside sparse, explained. What only the
//! interpreter can choose runs there with a warning, and is not compiled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{Folder, session};
use ndarray::{Array2, array};
use spc::Compiler;
use spc::driver::{Compile, Explain, Failure, Options, compile_file, explain_file, run_file};

/// `common::NET` with a hidden layer of which half is kept for each row.
const NET: &str = "
edition 1
use std.nn
axis B = 1..8
data d from csv \"d.csv\" {
  axes { I = 4, O = 2 }
  x: f32[I] = columns(0..4) / 2
  label: i32 = column(4)
  split { test = rows(\"rows.txt\"), train = rest }
}
model m from safetensors \"m.safetensors\" {
  axes { I = 4, O = 2 }
  w: f32[O, I]  b: f32[O]
}
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h = nn.relu(x)
  y = nn.linear(h, m.w, m.b)
}
require few: keep 1 of slices(I) of f.h per B by abs
run test { call: f(d.test.x)  report: [accuracy(d.test.label), cosine, size, time] }
";

fn folder() -> Folder {
    let f = Folder::new();
    f.text("net.sp", NET);
    f
}

/// The same with a share whose digits no kernel counts with.
fn odd_share() -> Folder {
    let f = Folder::new();
    f.text("net.sp", &NET.replace("keep 1 of", "keep 25.0000000001% of"));
    f
}

#[test]
fn what_no_kernel_counts_is_interpreted_with_a_warning() {
    let f = odd_share();
    let (done, warnings) = session(Options::default(), |s| run_file(s, &f.path("net.sp"), None, None, false));
    assert!(done.unwrap().text.contains("accuracy"));
    assert_eq!(warnings, ["SP0605"]);
}

#[test]
fn a_choice_compiles_and_holds() {
    let f = folder();
    let (done, warnings) = session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &Compile::default()));
    assert!(done.is_ok() && warnings.is_empty(), "{warnings:?}");
}

fn x() -> Array2<f32> {
    array![[1.0, 2.0, 3.0, -4.0], [0.0, -1.0, 2.0, 2.0]]
}

#[test]
fn a_choice_runs_beside_the_dense_program() {
    let f = folder();
    let (done, warnings) = session(Options::default(), |s| run_file(s, &f.path("net.sp"), None, None, false));
    let text = done.unwrap().text;
    assert!(text.contains("accuracy") && text.contains("cosine"), "{text}");
    assert!(warnings.is_empty(), "{warnings:?}");
    // The same in the interpreter.
    let options = Options { interp: true, ..Options::default() };
    let (done, warnings) = session(options, |s| run_file(s, &f.path("net.sp"), None, None, false));
    assert!(done.is_ok() && warnings.is_empty(), "{warnings:?}");
}

#[test]
fn explain_lists_the_choice_with_its_cause() {
    let f = folder();
    let (done, _) = session(Options::default(), |s| explain_file(s, &f.path("net.sp"), &Explain::default()));
    let text = done.unwrap().text;
    for words in ["approximate step", "keeps 1 of `f.h`", "require few"] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn compile_refuses_what_no_kernel_counts() {
    let f = odd_share();
    let (done, _) = session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &Compile::default()));
    let Err(Failure::User(list)) = done else { panic!() };
    assert_eq!(list[0].code.name(), "SP0605");
    assert!(list[0].message.contains("`f`"), "{}", list[0].message);
}

#[test]
fn an_embedding_program_gets_the_chosen_and_the_dense_results() {
    let f = folder();
    let text = std::fs::read_to_string(f.path("net.sp")).unwrap();
    let call = |c: Compiler| {
        let p = c.base(f.path("")).compile_str(&text).unwrap().build().unwrap();
        (p.call("f", &[("x", &x())]).unwrap().f32("y").unwrap().to_owned(), p.warnings().len())
    };
    // Of (1, 2, 3, 0) the third is kept, of (0, 0, 2, 2) the lower place.
    let (w, b) = (common::W, common::B);
    let want = |h: [f32; 4]| [0, 1].map(|o| (0..4).map(|i| w[o * 4 + i] * h[i]).sum::<f32>() + b[o]);
    let rows = |h: [[f32; 4]; 2]| ndarray::arr2(&h.map(want)).into_dyn();
    assert_eq!(call(Compiler::new()), (rows([[0., 0., 3., 0.], [0., 0., 2., 0.]]), 0));
    assert_eq!(call(Compiler::new().dense()), (rows([[1., 2., 3., 0.], [0., 0., 2., 2.]]), 0));
    assert_eq!(call(Compiler::new().interpret(true)), (rows([[0., 0., 3., 0.], [0., 0., 2., 0.]]), 0));
}
