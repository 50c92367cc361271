//! A default of 0 adds nothing.
use std.nn
axis B = 1..512
model net { axes { I = 12, O = 8 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.gelu(nn.linear(x, net.w)) }
