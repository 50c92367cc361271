//! Nothing is sparse: dense is a candidate and wins.
use std.nn
axis B = 1..512
model net { axes { I = 32, O = 48 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, net.w) }
target t = cpu(threads: 1) { B = 32 }
