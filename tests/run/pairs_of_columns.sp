//! Blocks of 16 rows and two columns, for one or two tokens: an odd number of blocks leaves one behind the loop over pairs.
use std.nn
axis B = 1..2
model net { axes { I = 70, N = 96, O = 48 } w1: f32[N, I]  b1: f32[N]  w2: f32[O, N] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.relu(nn.linear(x, net.w1, net.b1)), net.w2) }
require blocks: keep 30% of tile(out: 16, in: 2) per tensor
target t = cpu(threads: 1) { B = 1 }
