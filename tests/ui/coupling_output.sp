axis B = 1..8
model net { axes { I = 8, O = 4 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
require half: keep 50% of slices(O) per model on net
