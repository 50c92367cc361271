axis B = 1..8, I = 4, O = 2
model net { w: f32[O, I]  c: f32[I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] + net.c[i] }
