//! One token at a time: kernels that read and write token by token and pad nothing.
use std.nn
use std.patterns.nm
axis B = 1..9
model net { axes { I = 75, N = 104, O = 37 } w1: f32[N, I]  b1: f32[N]  w2: f32[O, N]  b2: f32[O] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = tanh(nn.linear(nn.gelu(nn.linear(x, net.w1, net.b1)), net.w2, net.b2)) }
require cols: keep 25% of tile(out: 16, in: 1) per tensor by norm2 on net.w1 ragged
require half: nm(2, 4) on net.w2
target t = cpu(threads: 1) { B = 1 }
