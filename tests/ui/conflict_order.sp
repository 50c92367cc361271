axis B = 1..8
model net { axes { I = 32, O = 32 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
require fine: keep 2 of 4 of elements per tile(in: 4)
require coarse: keep 50% of tile(out: 16, in: 16) per tensor
