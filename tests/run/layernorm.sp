use std.nn
axis B = 1..512, T = 1..64
model net { axes { D = 6 } s: f32[D]  t: f32[D] }
fn f(x: f32[B, T, D]) -> y: f32[B, T, D] { y = nn.layernorm(x, net.s, net.t, eps: 1e-12) }
