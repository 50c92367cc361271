//! Weights and activations of 8 bits with zeros that are no blocks: N of M in each row, in 8 and in 4 bits, and single weights.
use std.nn
use std.patterns.nm
axis B = 1..40
model net { axes { I = 262, N = 205, M = 96, O = 64, P = 10 } w1: f32[N, I]  b1: f32[N]  w2: f32[M, N]  b2: f32[M]  w3: f32[O, M]  w4: f32[P, O] }
fn f(x: f32[B, I]) -> y: f32[B, P] {
  y = nn.linear(nn.linear(tanh(nn.linear(nn.relu(nn.linear(x, net.w1, net.b1)), net.w2, net.b2)), net.w3), net.w4)
}
require few: keep 8% of elements per tensor on net.w1
require half: nm(2, 4) on net.w2 ragged
require narrow: nm(2, 4) on net.w3
quantize both: net.{w1, w2} to int8(per: tile(in: all), inputs: int8)
quantize codes: net.w3 to int4(per: tile(in: 32), scale: f16, inputs: int8)
target t = cpu(threads: 1) { B = 1 }
