//! Sizes that are multiples of nothing, with short tiles at the edges.
use std.nn
axis B = 1..77
model net { axes { I = 37, N = 53, O = 7 } w1: f32[N, I]  b1: f32[N]  w2: f32[O, N]  b2: f32[O] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.silu(nn.linear(x, net.w1, net.b1)), net.w2, net.b2) }
require cols: keep 40% of tile(out: 16, in: 1) per tensor by norm2 on net.w1 ragged
require few: keep 2 of 4 of elements per tile(in: 4) by abs on net.w2 ragged
