use std.nn
axis B = 1..4, T = 1..16, D = 3
fn f(x: f32[B, T, D], real: bool[B, T]) -> y: f32[B, D] { y = nn.normalize(nn.mean_pool(x, real)) }
