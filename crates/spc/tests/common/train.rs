//! Weights by name, numbers for them, and programs with rules.
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

    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    pub fn float(&mut self) -> f32 {
        (self.draw() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// -1..1.
    pub fn fine(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// Some values twice, some zero.
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        let one = |r: &mut Rng| match r.below(10) {
            0 => 0.0,
            1..=3 => (r.float() * 4.0).round() / 4.0,
            _ => r.float(),
        };
        (0..n).map(|_| one(self)).collect()
    }

    /// -2, .., 2: groups have few norms, and the same numbers in other orders.
    pub fn coarse(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.below(5) as f32 - 2.0).collect()
    }
}

pub fn views(m: &mut Named) -> Vec<(&str, &mut [f32])> {
    m.iter_mut().map(|(n, v)| (n.as_str(), &mut v[..])).collect()
}

pub fn slices(m: &Named) -> Vec<(&str, &[f32])> {
    m.iter().map(|(n, v)| (n.as_str(), &v[..])).collect()
}

pub fn named(sizes: &[(&str, usize)], mut f: impl FnMut(usize) -> Vec<f32>) -> Named {
    sizes.iter().map(|(n, k)| (n.to_string(), f(*k))).collect()
}

/// Inputs, outputs of the first weight, outputs of the second one.
pub const SHAPE: [usize; 3] = [32, 24, 10];

/// Sizes of the weights of [`program`].
pub fn sizes([i, o, n]: [usize; 3]) -> [(&'static str, usize); 3] {
    [("net.w", o * i), ("net.v", n * o), ("net.b", o)]
}

/// Two linears and a bias.
pub fn program([i, o, n]: [usize; 3], rules: &str) -> String {
    format!(
        "
use std.updates.{{sr_ste, dropgrow, recommend, mdgf, adams, frozen}}
use std.penalties.{{l1, l0, lq, lhalf, log_sum, capped_l1, mcp, scad, cel0, group_l2, tree_l2, sparse_group, masked_l1, wgsef}}
axis B = 1..8
model net {{ axes {{ I = {i}, O = {o}, N = {n} }}  w: f32[O, I]  v: f32[N, O]  b: f32[O] }}
fn f(x: f32[B, I]) -> z: f32[B, N] {{
  y[b, o] = net.w[o, i] * x[b, i] + net.b[o]
  z[b, n] = net.v[n, o] * y[b, o]
}}
{rules}
"
    )
}
