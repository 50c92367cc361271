//! Channels by their batch-norm scales: l1 on all of them, strong for half of the run, then one threshold for each group of
//! layers, with at least four channels in every layer. After group channel pruning for detectors (2021) and network slimming
//! (Liu et al. 2017).
edition 1
use std.nn
use std.penalties.l1

axis B = 1..8

model net {
  axes { I = 16, C = 24, D = 32, O = 8 }
  w1: f32[C, I] = kaiming()   g1: f32[C] = ones()   b1: f32[C] = zeros()
  w2: f32[D, C] = kaiming()   g2: f32[D] = ones()   b2: f32[D] = zeros()
  w3: f32[C, D] = kaiming()   g3: f32[C] = ones()   b3: f32[C] = zeros()
  w4: f32[O, C] = kaiming()
}

fn scaled(x: f32[.., N], gain: f32[N], shift: f32[N]) -> y: f32[.., N] { y[.., n] = gain[n] * x[.., n] + shift[n] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  a = nn.relu(scaled(nn.linear(x, net.w1), net.g1, net.b1))
  b = nn.relu(scaled(nn.linear(a, net.w2), net.g2, net.b2))
  c = nn.relu(scaled(nn.linear(b, net.w3), net.g3, net.b3))
  y = nn.linear(c, net.w4)
}

penalize slim: steps([1e-2, 1e-4], at: [50%]) * l1() of elements on net.{g1, g2, g3}

require early: keep 50% of elements per model min 4 per tensor by abs on net.{g1, g2}
require late:  keep 25% of elements per model min 4 per tensor by abs on net.g3
