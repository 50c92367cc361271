//! Methods of the language, checked and then run by the interpreter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod library;
mod metric;
mod optimality;
mod overlap;
mod penalties;
mod updates;

use spc_base::{FileId, Limits};
use spc_interp::method::{Cover, Optimiser, Tensors, Updater};
use spc_interp::testing::splitmix64;
use spc_ir::method::{Does, Penalty, Rules};
use spc_sema::{Checked, Library, check};

pub fn checked(text: &str) -> Checked {
    let limits = Limits::default();
    let (ast, diags) = spc_syntax::parse(text, FileId(0), &limits);
    assert!(diags.is_empty(), "{text}\n{diags:?}");
    check(&ast, text, &Library::load(), &limits)
}

/// The rules of a program without mistakes.
pub fn rules(text: &str) -> Rules {
    let c = checked(text);
    let shown: Vec<String> = c.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{text}\n{shown:?}");
    c.module.rules
}

/// A model with one weight `net.w` of these sizes and what else the text says.
pub fn program(out: u64, inn: u64, rest: &str) -> String {
    format!(
        "axis B = 1..8\nmodel net {{ axes {{ I = {inn}, O = {out} }} w: f32[O, I] }}\n\
         fn f(x: f32[B, I]) -> y: f32[B, O] {{ y[b, o] = net.w[o, i] * x[b, i] }}\n{rest}\n"
    )
}

/// The penalty of the only rule, with its groups.
pub fn penalty(text: &str) -> (Penalty, Vec<Cover>) {
    let rules = rules(text);
    let Some(Does::Penalize { penalty, over, weighing, .. }) = rules.list.last().map(|r| r.does.clone()) else {
        panic!("{text}")
    };
    let covers = over.iter().zip(&weighing).map(|(r, w)| Cover::of(r).unwrap().weighed(w)).collect();
    (penalty, covers)
}

/// Pseudo-random numbers.
pub struct Rng(pub u64);

impl Rng {
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (splitmix64(self.0) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn range(&mut self, a: f64, b: f64) -> f64 {
        a + (b - a) * self.unit()
    }

    /// Of any size, now and then exactly 0.
    pub fn wild(&mut self) -> f64 {
        let size = 10f64.powf(self.range(-3.0, 3.0));
        let v = self.range(-1.0, 1.0) * size;
        if self.unit() < 0.1 { 0.0 } else { v }
    }

    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.range(-1.0, 1.0) as f32).collect()
    }
}

pub fn one(w: Vec<f32>) -> Tensors<f32> {
    [("net.w".to_string(), w)].into()
}

pub fn updater(text: &str, w: Vec<f32>, o: Optimiser, steps: u64) -> Updater<f32> {
    Updater::new(rules(text), one(w), o, steps).unwrap()
}
