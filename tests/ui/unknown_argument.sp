use std.nn
axis B = 1..8, I = 4
model net { s: f32[I] }
fn f(x: f32[B, I]) -> y: f32[B, I] { y = nn.layernorm(x, net.s, epsilon: 1e-3) }
