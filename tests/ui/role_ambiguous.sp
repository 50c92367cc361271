axis B = 1..8
model net { axes { I = 32, O = 32 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
fn back(z: f32[B, O]) -> y: f32[B, I] { y[b, i] = net.w[o, i] * z[b, o] }
require half: keep 50% of tile(in: 4) per tensor
