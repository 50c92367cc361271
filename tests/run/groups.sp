//! Weights of 4 and 8 bits with a scale for each group of inputs: of all groups, and of half of them, for one token. Sizes are no
//! multiples of the groups.
use std.nn
axis B = 1..9
model net { axes { I = 300, N = 160, M = 130, O = 21 } w1: f32[N, I]  b1: f32[N]  w2: f32[M, N]  b2: f32[M]  w3: f32[O, M] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  y = nn.linear(nn.gelu(nn.linear(nn.relu(nn.linear(x, net.w1, net.b1)), net.w2, net.b2)), net.w3)
}
require half: keep 50% of tile(in: 16) per tensor by norm2 on net.w2
quantize all: net.w1 to int4(per: tile(in: 32), scale: f16) ragged
quantize kept: net.w2 to int4(per: tile(in: 16), scale: f16)
quantize last: net.w3 to int8(per: tile(in: 64)) ragged
target t = cpu(threads: 1) { B = 1 }
