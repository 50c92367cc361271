use std.nn
axis B = 1..512
model net { axes { I = 256, O = 256 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, net.w) }
require few: keep 5% of elements per tensor
target t = cpu(threads: 1) { B = 128 }
