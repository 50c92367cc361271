//! Column vectors of 16 outputs, a quarter of them kept.
use std.nn
axis B = 1..512
model net { axes { I = 64, N = 128, O = 10 } w1: f32[N, I]  b1: f32[N]  w2: f32[O, N]  b2: f32[O] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.relu(nn.linear(x, net.w1, net.b1)), net.w2, net.b2) }
require cols: keep 25% of tile(out: 16, in: 1) per tensor on net.w1
target t = cpu(threads: 1) { B = 360 }
