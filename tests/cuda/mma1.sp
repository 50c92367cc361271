//! One linear whose weight is stored as mma1: columns of rows that share them, of bf16 numbers.
use std.nn
axis B = 1..64
model net { axes { I = 12, O = 8 } w: f32[O, I]  b: f32[O] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.relu(nn.linear(x, net.w, net.b)) }
require pattern: keep 50% of tile(out: 8, in: 1) per tensor
quantize half: net.w to bf16
