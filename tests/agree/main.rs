//! The central promise: a declaration gives the training update that reaches it, the file that `spc verify` accepts, and the
//! kernel that computes what the interpreter says. And that training so reaches its accuracy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod digits;
mod methods;
mod patterns;
#[path = "../suite/support/mod.rs"]
mod support;

use std::collections::BTreeMap;

pub type Named = BTreeMap<String, Vec<f32>>;

pub struct Rng(pub u64);

impl Rng {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in -1..1.
    pub fn float(&mut self) -> f32 {
        (self.draw() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.float() * scale).collect()
    }
}

pub fn views(m: &mut Named) -> Vec<(&str, &mut [f32])> {
    m.iter_mut().map(|(n, v)| (n.as_str(), &mut v[..])).collect()
}

pub fn slices(m: &Named) -> Vec<(&str, &[f32])> {
    m.iter().map(|(n, v)| (n.as_str(), &v[..])).collect()
}
