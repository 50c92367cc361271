//! The smallest sizes there are.
use std.nn
axis B = 1..3
model net { axes { I = 1, O = 1 } w: f32[O, I]  b: f32[O] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, net.w, net.b) }
