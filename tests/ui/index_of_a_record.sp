axis B = 1..8, I = 4
model net { p: f32[I] }
fn f(x: f32[B, I]) -> y: f32[B] { y[b] = sum(x[b, net] over i) }
