use std.penalties.l1
axis B = 1..8
model net { axes { I = 8, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
require a: keep 2 of 4 of elements per tile(in: 4) via sr_ste()
require b: keep 2 of 4 of elements per tile(in: 4) via l1()
