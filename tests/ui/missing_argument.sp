use std.nn
axis B = 1..8, I = 4
fn f(x: f32[B, I]) -> y: f32[B, I] { y = nn.layernorm(x) }
