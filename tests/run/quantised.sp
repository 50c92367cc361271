//! Weights and activations of 8 bits: a layer in blocks of 16 outputs by 4 inputs, a dense one, and one whose weights alone
//! are rounded.
use std.nn
axis B = 1..64
model net { axes { I = 70, N = 96, M = 48, O = 10 } w1: f32[N, I]  b1: f32[N]  w2: f32[M, N]  b2: f32[M]  w3: f32[O, M] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  y = nn.linear(nn.relu(nn.linear(nn.relu(nn.linear(x, net.w1, net.b1)), net.w2, net.b2)), net.w3)
}
require blocks: keep 30% of tile(out: 16, in: 2) per tensor on net.w1
quantize both: net.{w1, w2} to int8(per: tile(in: all), inputs: int8)
quantize last: net.w3 to int8
target t = cpu(threads: 1) { B = 30 }
