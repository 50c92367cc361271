//! Training steps through the embedding API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

const TEXT: &str = "
use std.updates.sr_ste
use std.penalties.l1
axis B = 1..8
model net { axes { I = 4, O = 1 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
require nm24: keep 2 of 4 of elements per tile(in: 4) via sr_ste(lambda: 0.5)
penalize thin: 0.1 * l1() of elements
";

#[test]
fn rules_are_listed_and_steps_are_taken() {
    let checked = spc::Compiler::new().compile_str(TEXT).unwrap();
    assert_eq!(checked.rules(), ["nm24: via sr_ste, 0%..100%, on net.w", "thin: l1 via prox, 0%..100%, on net.w"]);
    let weights = [("net.w".to_string(), vec![4.0f32, -3.0, 2.0, 1.0])].into();
    let mut u = checked.updater(weights, spc::Optimiser::SGD, 3).unwrap();
    assert_eq!(u.forward().unwrap()["net.w"], [4.0, -3.0, 0.0, 0.0]);
    let seen = u.step(&[("net.w".to_string(), vec![1.0f32, 0.0, 0.0, 0.0])].into(), 1.0).unwrap();
    assert_eq!((seen[0].rule.as_str(), seen[0].name.as_str(), seen[0].value), ("nm24", "sad", 0.0));
    // Gradient, decay of what is masked, then the prox with the learning rate.
    let want = [4.0f32 - 1.0 - 0.1, -3.0 + 0.1, 2.0 - 1.0 - 0.1, 1.0 - 0.5 - 0.1];
    assert!(u.weights()["net.w"].iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", u.weights());
    let few = checked.updater([("net.w".to_string(), vec![1.0f32])].into(), spc::Optimiser::SGD, 3).unwrap_err();
    assert_eq!(few.codes(), ["SP0404"]);
}

#[test]
fn dials_are_set_before_the_program_is_checked() {
    let text = format!("const pull = dial(0.5)\n{}", TEXT.replace("0.1 * l1()", "pull * l1()"));
    let stepped = |c: spc::Compiler| {
        let weights = [("net.w".to_string(), vec![4.0f32, -3.0, 2.0, 1.0])].into();
        let mut u = c.compile_str(&text).unwrap().updater(weights, spc::Optimiser::SGD, 1).unwrap();
        u.step(&[("net.w".to_string(), vec![0.0f32; 4])].into(), 1.0).unwrap();
        u.weights()["net.w"][0]
    };
    assert_eq!(stepped(spc::Compiler::new()), 3.5);
    assert_eq!(stepped(spc::Compiler::new().dial("pull", "0.25")), 3.75);
    assert_eq!(spc::Compiler::new().dial("push", "1").compile_str(&text).unwrap_err().codes(), ["SP0101"]);
}
