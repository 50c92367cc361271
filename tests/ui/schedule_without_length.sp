axis B = 1..8
model net { axes { I = 32, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
require half: keep cubic(100% -> 50%, 0..100 steps) of elements per tensor
